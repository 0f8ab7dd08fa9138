//! What a template may use: it is a program that comes with a file, and nobody has read it.
//! Steps bound its time, bytes that are alive its memory. Both are counted per thread, since a
//! rendering has one to itself.

use std::cell::Cell;

/// Steps of a rendering: about a second. A fuzzer, whose build takes many times as long for each and
/// which finds every endless loop, is to try others as well.
const STEPS: u64 = if cfg!(fuzzing) { 200_000 } else { 10_000_000 };
/// Bytes that values and texts may hold at once, beside what `CHARGE_PER_INPUT_BYTE` adds.
const BYTES: usize = 64 << 20;
/// A conversation is copied, cut and joined on its way.
const CHARGE_PER_INPUT_BYTE: usize = 8;
/// Bytes of memory for each byte of the budget: lists and texts double as they grow.
const MEMORY: usize = 4;
/// The budget is a quarter where the system has no memory for it, and so on down to this one.
const LEAST_BYTES: usize = 1 << 20;
/// Bytes that are copied or looked at in a step.
const BYTES_PER_STEP: usize = 256;
/// The same where each character is asked for its kind, or is a digit.
const CHARACTERS_PER_STEP: usize = 16;
/// Arguments that are copied, names that are compared in a step.
const ENTRIES_PER_STEP: usize = 8;
/// What an error shows of a name, which may be any text.
const SHOWN: usize = 40;
/// Namespaces in namespaces, when they are written.
const NAMESPACES: usize = 20;

thread_local! {
    static STEPS_LEFT: Cell<u64> = const { Cell::new(0) };
    static BYTES_LEFT: Cell<usize> = const { Cell::new(0) };
    /// What was left at first.
    static BYTES_GIVEN: Cell<usize> = const { Cell::new(0) };
}

/// Why a template ended before its end.
#[derive(Debug)]
pub(in crate::chat) struct Halt {
    /// Whether the template itself says so, with `raise_exception`.
    pub refused: bool,
    pub what: String,
}

pub(super) type Bounded<T> = Result<T, Halt>;

/// An error of this text.
pub(super) fn fault<T>(what: impl Into<String>) -> Bounded<T> {
    Err(Halt {
        refused: false,
        what: what.into(),
    })
}

/// Fills this thread's budgets, for inputs of so many bytes: what the budget may come to of memory is
/// there, for a value of a template's that has none would end the process.
pub(super) fn begin(input: usize) -> Bounded<()> {
    let input = input.saturating_mul(CHARGE_PER_INPUT_BYTE);
    STEPS_LEFT.set(STEPS.saturating_add(input as u64));
    let mut bytes = BYTES.saturating_add(input);
    while !has_memory(bytes.saturating_mul(MEMORY)) {
        bytes /= 4;
        if bytes < LEAST_BYTES {
            return fault("the system has no memory for it");
        }
    }
    BYTES_GIVEN.set(bytes);
    BYTES_LEFT.set(bytes);
    Ok(())
}

/// Whether the system has so much memory for who asks for it next.
pub(super) fn has_memory(bytes: usize) -> bool {
    Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
}

/// Takes steps.
pub(super) fn spend(steps: usize) -> Bounded<()> {
    match STEPS_LEFT.get().checked_sub(steps as u64) {
        Some(left) => {
            STEPS_LEFT.set(left);
            Ok(())
        }
        None => fault(format!("it does not end within {STEPS} steps")),
    }
}

/// Takes the steps of looking at so many bytes.
pub(super) fn look(bytes: usize) -> Bounded<()> {
    spend(1 + bytes / BYTES_PER_STEP)
}

/// Takes the steps of looking at so many characters one by one.
pub(super) fn look_closely(characters: usize) -> Bounded<()> {
    spend(1 + characters / CHARACTERS_PER_STEP)
}

/// Takes the steps of going through a list.
pub(super) fn walk(entries: usize) -> Bounded<()> {
    spend(entries / ENTRIES_PER_STEP)
}

/// The beginning of a name, to be said in an error.
pub(super) fn shown(name: &str) -> &str {
    let end = name
        .char_indices()
        .nth(SHOWN)
        .map_or(name.len(), |(at, _)| at);
    name.get(..end).unwrap_or_default()
}

/// Bytes taken from the budget, given back when what holds them is dropped.
#[derive(Debug)]
pub(super) struct Charge(usize);

impl Charge {
    pub(super) fn new(bytes: usize) -> Bounded<Charge> {
        let mut charge = Charge(0);
        charge.grow(bytes)?;
        Ok(charge)
    }

    /// Takes more bytes, before they are allocated, and the steps of filling them.
    pub(super) fn grow(&mut self, bytes: usize) -> Bounded<()> {
        match BYTES_LEFT.get().checked_sub(bytes) {
            Some(left) => {
                look(bytes)?;
                BYTES_LEFT.set(left);
                self.0 += bytes;
                Ok(())
            }
            None => {
                let given = BYTES_GIVEN.get() >> 20;
                fault(format!("it needs more than {given} MiB of memory"))
            }
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        BYTES_LEFT.set(BYTES_LEFT.get().saturating_add(self.0));
    }
}

/// A text that is being written.
pub(super) struct TextWriter {
    text: String,
    charge: Charge,
    /// Namespaces in namespaces that are being written.
    level: usize,
}

impl TextWriter {
    pub(super) fn new() -> TextWriter {
        TextWriter {
            text: String::new(),
            charge: Charge(0),
            level: 0,
        }
    }

    /// Writes a namespace, which may be in one that is being written, or be that one.
    pub(super) fn deeper(
        &mut self,
        write: impl FnOnce(&mut TextWriter) -> Bounded<()>,
    ) -> Bounded<()> {
        if self.level == NAMESPACES {
            return fault("a namespace contains itself, or many more");
        }
        self.level += 1;
        write(self)?;
        self.level -= 1;
        Ok(())
    }

    pub(super) fn push(&mut self, text: &str) -> Bounded<()> {
        self.charge.grow(text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    pub(super) fn push_char(&mut self, char: char) -> Bounded<()> {
        self.push(char.encode_utf8(&mut [0; 4]))
    }

    /// Writes a text so many times.
    pub(super) fn repeat(&mut self, text: &str, times: usize) -> Bounded<()> {
        self.charge.grow(text.len().saturating_mul(times))?;
        (0..times).for_each(|_| self.text.push_str(text));
        Ok(())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn into_parts(self) -> (String, Charge) {
        (self.text, self.charge)
    }
}
