//! JSON through `serde_json`, streamed into visitors: no tree of values is ever built. Depth is
//! limited (by `serde_json` to 128, by visitors to less), errors carry their byte offset.

use alloc::borrow::{Cow, ToOwned};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt::{self, Display};
use core::ops::Range;

use serde::de::{self, DeserializeSeed, Deserializer, Visitor};
use serde_json::error::Category;

use crate::error::{ErrorKind, FormatError};

/// How a text is written that is none in plain UTF-8, as JSON has to be, if it is not.
pub fn other_text(bytes: &[u8]) -> Option<&'static str> {
    const WIDE: &str = "is UTF-16: save it as UTF-8";
    match bytes {
        [0xEF, 0xBB, 0xBF, ..] => {
            Some("begins with a byte order mark: save it as UTF-8 without one")
        }
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => Some("is UTF-32: save it as UTF-8"),
        // No JSON begins with a zero, nor with a sign before one.
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => Some(WIDE),
        [first, second, ..] if (*first == 0) != (*second == 0) => Some(WIDE),
        _ => None,
    }
}

/// Carries the class of a visitor's refusal past serde, which knows only text.
#[derive(Default)]
pub(crate) struct Context {
    kind: Cell<Option<ErrorKind>>,
}

impl Context {
    /// A visitor's error.
    pub(crate) fn refuse<E: de::Error>(&self, kind: ErrorKind, what: impl Display) -> E {
        self.kind.set(Some(kind));
        E::custom(what)
    }
}

/// Runs `seed` over all of `bytes`, which lie at `base` in their file; `name` is what the text
/// is, for errors.
pub(crate) fn parse<'de, S: DeserializeSeed<'de>>(
    bytes: &'de [u8],
    base: u64,
    name: &str,
    context: &Context,
    seed: S,
) -> Result<S::Value, FormatError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    seed.deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| {
            let kind = context.kind.get().unwrap_or(match error.classify() {
                Category::Eof => ErrorKind::Truncated,
                Category::Data => ErrorKind::Type,
                Category::Syntax | Category::Io => ErrorKind::Syntax,
            });
            let place = format!(" at line {} column {}", error.line(), error.column());
            let text = error.to_string();
            let text = text.strip_suffix(&place).unwrap_or(&text);
            let offset = offset(bytes, error.line(), error.column());
            let what = format!("{name}: {text}");
            FormatError::new(
                kind,
                offset.and_then(|offset| base.checked_add(offset)),
                what,
            )
        })
}

/// The byte at which line and column (both from one, columns in bytes) lie.
fn offset(bytes: &[u8], line: usize, column: usize) -> Option<u64> {
    let before = line.checked_sub(1)?;
    let mut start = 0usize;
    for text in bytes.split(|byte| *byte == b'\n').take(before) {
        start = start.checked_add(text.len())?.checked_add(1)?;
    }
    u64::try_from(start.checked_add(column.saturating_sub(1))?).ok()
}

/// Stand-ins for the numbers that Python writes and JSON lacks. U+FDD0 is a noncharacter, so no
/// text has it by accident; a text that has it on purpose yields the number.
const NOT_JSON: [(&[u8], &str, f64); 3] = [
    (b"-Infinity", "\u{fdd0}-", f64::NEG_INFINITY),
    (b"Infinity", "\u{fdd0}+", f64::INFINITY),
    (b"NaN", "\u{fdd0}?", f64::NAN),
];

/// The number a stand-in stands for.
pub(crate) fn stand_in(text: &str) -> Option<f64> {
    let found = NOT_JSON.iter().find(|(_, stand_in, _)| *stand_in == text);
    found.map(|(_, _, number)| *number)
}

/// The number that Python writes so.
pub(crate) fn python_number(text: &str) -> Option<f64> {
    let found = NOT_JSON.iter().find(|(name, ..)| *name == text.as_bytes());
    found.map(|(_, _, number)| *number)
}

/// Puts a stand-in where Python's `json` wrote `Infinity`, `-Infinity` or `NaN`.
pub(crate) fn without_python_numbers(bytes: &[u8]) -> Cow<'_, [u8]> {
    const QUOTES: usize = 2;
    // Two passes over the text, since a list of places could be larger than the text.
    let longer: usize = python_numbers(bytes)
        .map(|(_, stand_in)| stand_in.len() + QUOTES)
        .sum();
    if longer == 0 {
        return Cow::Borrowed(bytes);
    }
    let mut output = Vec::with_capacity(bytes.len().saturating_add(longer));
    let mut done = 0;
    for (place, stand_in) in python_numbers(bytes) {
        output.extend_from_slice(bytes.get(done..place.start).unwrap_or_default());
        output.push(b'"');
        output.extend_from_slice(stand_in.as_bytes());
        output.push(b'"');
        done = place.end;
    }
    output.extend_from_slice(bytes.get(done..).unwrap_or_default());
    Cow::Owned(output)
}

/// The places of Python's numbers outside strings, with their stand-ins.
fn python_numbers(bytes: &[u8]) -> impl Iterator<Item = (Range<usize>, &'static str)> {
    let mut quoted = false;
    let mut at = 0usize;
    core::iter::from_fn(move || {
        while let Some(byte) = bytes.get(at) {
            let start = at;
            at += 1;
            match byte {
                b'"' => quoted = !quoted,
                // What is escaped ends no string.
                b'\\' if quoted => at += 1,
                b'-' | b'I' | b'N' if !quoted => {
                    let rest = bytes.get(start..).unwrap_or_default();
                    let found = NOT_JSON.iter().find(|(text, _, _)| rest.starts_with(text));
                    if let Some((text, stand_in, _)) = found {
                        at = start + text.len();
                        return Some((start..at, *stand_in));
                    }
                }
                _ => {}
            }
        }
        None
    })
}

/// A string of at most `limit` bytes; `what` says which, for errors.
pub(crate) struct Text<'a> {
    pub context: &'a Context,
    pub limit: u64,
    pub what: &'a dyn Display,
}

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Text<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to be a string", self.what)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        if text.len() as u64 > self.limit {
            let what = format!(
                "{} has {} bytes, at most {} are accepted",
                self.what,
                text.len(),
                self.limit
            );
            return Err(self.context.refuse(ErrorKind::Limit, what));
        }
        Ok(text.to_owned())
    }
}

/// An integer that is not negative; `what` says which, for errors.
pub(crate) struct Unsigned<'a> {
    pub what: &'a dyn Display,
}

impl<'de> DeserializeSeed<'de> for Unsigned<'_> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_u64(self)
    }
}

impl Visitor<'_> for Unsigned<'_> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to be a whole number from 0 to 2^64 - 1", self.what)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }
}
