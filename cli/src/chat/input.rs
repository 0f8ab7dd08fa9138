//! What the user says: lines with an editor and a history where people type, plain lines elsewhere.

use super::CliError;
use super::commands::COMMANDS;
use crate::history::History;
use crate::input::{without_last_newline, without_mark};
use crate::interrupt;
use crate::output::bytes;
use crate::terminal::say;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
#[cfg(unix)]
use rustyline::error::Signal;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, Editor, Helper};
use std::io::{self, BufRead, Read};
use std::path::PathBuf;

/// What begins and ends a turn of several lines.
const QUOTES: &str = "\"\"\"";

/// Bytes of a turn that is piped in: what has no end must not take all memory.
const LONGEST_TURN: u64 = 16 << 20;

/// What comes of asking for a turn.
pub enum Turn {
    /// What is said.
    Text(String),
    /// It is no text: why not. Those before and behind it are no matter.
    Refused(String),
    /// There are no more.
    End,
}

/// Where turns come from.
pub struct Input {
    editor: Option<Editor<Completions, MemHistory>>,
    history: Option<History>,
    /// Whether Ctrl-C was pressed at the last prompt.
    pressed: bool,
    /// Whether a line has been read without an editor.
    begun: bool,
}

impl Input {
    /// With an editor if people are at both ends, and with a history of what they typed before if
    /// they want one.
    pub fn new(terminal: bool, keeps_history: bool) -> Input {
        let mut editor = None;
        let mut history = None;
        if terminal {
            let config = Config::builder().max_history_size(History::ENTRIES);
            let made = config.and_then(|config| {
                let config = config.build();
                let history = MemHistory::with_config(&config);
                Editor::with_history(config, history)
            });
            // Without one, lines are read as they come.
            editor = made.ok();
        }
        if let Some(editor) = &mut editor {
            editor.set_helper(Some(Completions));
            history = keeps_history.then(History::open).flatten();
            for entry in history.iter_mut().flat_map(History::take) {
                // What is the same as the one before is left out.
                let _ = editor.add_history_entry(entry);
            }
        }
        Input {
            editor,
            history,
            pressed: false,
            begun: false,
        }
    }

    /// A turn of the user's.
    pub fn turn(&mut self) -> Result<Turn, CliError> {
        let Some(editor) = &mut self.editor else {
            return plain_turn(!std::mem::replace(&mut self.begun, true));
        };
        let read = editor.readline("> ").map_err(|error| match error {
            // By another program, where the key is a character.
            #[cfg(unix)]
            ReadlineError::Signal(Signal::Interrupt) => ReadlineError::Interrupted,
            other => other,
        });
        match read {
            Ok(text) => {
                self.pressed = false;
                if !text.trim().is_empty() {
                    // As above.
                    let _ = editor.add_history_entry(text.as_str());
                    if let Some(history) = &mut self.history {
                        history.add(&text);
                    }
                }
                Ok(Turn::Text(unwrapped(&text)))
            }
            Err(ReadlineError::Eof) => Ok(Turn::End),
            Err(ReadlineError::Interrupted) if self.pressed => interrupt::exit(),
            Err(ReadlineError::Interrupted) => {
                self.pressed = true;
                say("Ctrl-C once more, Ctrl-D or /exit ends");
                Ok(Turn::Text(String::new()))
            }
            // The window has another size.
            Err(ReadlineError::Signal(_)) => Ok(Turn::Text(String::new())),
            Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Ok(Turn::Refused(NOT_UTF_8.to_string()))
            }
            Err(error) => Err(failed(&error.to_string())),
        }
    }
}

const NOT_UTF_8: &str = "what was typed is not UTF-8: this line is left out";

fn failed(what: &str) -> CliError {
    CliError::File(PathBuf::from("standard input"), what.to_string())
}

/// A turn without an editor, which may be the first.
fn plain_turn(mut is_first: bool) -> Result<Turn, CliError> {
    let mut stdin = io::stdin().lock().take(LONGEST_TURN + 1);
    let mut text = String::new();
    loop {
        let before = text.len();
        let mut line = Vec::new();
        let read = stdin.read_until(b'\n', &mut line);
        let read = read.map_err(|error| failed(&error.to_string()))?;
        if stdin.limit() == 0 {
            let what = format!("what is said is longer than {}", bytes(LONGEST_TURN));
            return Err(failed(&what));
        }
        if read == 0 {
            return Ok(match before {
                0 => Turn::End,
                _ => Turn::Text(unwrapped(&text)),
            });
        }
        if std::mem::take(&mut is_first) {
            line = without_mark(line);
        }
        match String::from_utf8(line) {
            Ok(line) => text.push_str(&line),
            Err(_) => return Ok(Turn::Refused(NOT_UTF_8.to_string())),
        }
        text = without_last_newline(text);
        if !goes_on(&text) {
            return Ok(Turn::Text(unwrapped(&text)));
        }
        text.push('\n');
    }
}

/// Whether a turn that reads so far like this goes on in the next line.
fn goes_on(text: &str) -> bool {
    match text.strip_prefix(QUOTES) {
        Some(rest) => !rest.ends_with(QUOTES),
        None => text.ends_with('\\'),
    }
}

/// What a turn says: without the quotes around it, or the backslashes at the ends of its lines.
fn unwrapped(text: &str) -> String {
    let quoted = text.strip_prefix(QUOTES);
    match quoted.and_then(|rest| rest.strip_suffix(QUOTES)) {
        // The lines that the quotes stand on end where they do.
        Some(inner) => {
            let inner = inner.strip_prefix('\n').unwrap_or(inner);
            inner.strip_suffix('\n').unwrap_or(inner).to_string()
        }
        None => text.replace("\\\n", "\n"),
    }
}

/// What the editor knows of this program: names of commands, and when a turn goes on.
struct Completions;

impl Helper for Completions {}
impl Highlighter for Completions {}

impl Hinter for Completions {
    type Hint = String;
}

impl Completer for Completions {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let begun = &line[..at];
        let fitting = COMMANDS.iter().filter(|name| name.starts_with(begun));
        let fitting = fitting.filter(|_| begun.starts_with('/'));
        Ok((0, fitting.map(|name| (*name).to_string()).collect()))
    }
}

impl Validator for Completions {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match goes_on(context.input()) {
            true => ValidationResult::Incomplete,
            false => ValidationResult::Valid(None),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{goes_on, unwrapped};

    #[test]
    fn a_turn_may_have_several_lines() {
        for (text, goes, says) in [
            ("one line", false, "one line"),
            ("one\\", true, "one\\"),
            ("one\\\ntwo", false, "one\ntwo"),
            ("\"\"\"", true, "\"\"\""),
            ("\"\"\"\none", true, "\"\"\"\none"),
            ("\"\"\"\none\n\ntwo\n\"\"\"", false, "one\n\ntwo"),
            ("\"\"\"\n\n one \n\n\"\"\"", false, "\n one \n"),
            ("\"\"\"one\"\"\"", false, "one"),
            ("\"quoted\" word", false, "\"quoted\" word"),
        ] {
            assert_eq!(
                (goes_on(text), unwrapped(text).as_str()),
                (goes, says),
                "{text}"
            );
        }
    }
}
