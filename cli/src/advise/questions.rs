//! What options do not say is asked, where people are at both ends.

use super::tree::Question;
use crate::CliError;
use crate::interrupt;
use crate::terminal::say;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};
use std::io::{IsTerminal, stderr, stdin};
use std::path::PathBuf;

/// Asks a question and gives the number of its answer.
pub fn asker() -> impl FnMut(&'static Question) -> Result<usize, CliError> {
    let people = stdin().is_terminal() && stderr().is_terminal();
    let mut editor: Option<Editor<(), MemHistory>> = None;
    move |question| {
        if !people {
            let what = format!("{} ({} says it)", question.text, question.option);
            return Err(CliError::Usage(what));
        }
        if editor.is_none() {
            let config = Config::builder().build();
            let made = Editor::with_history(config.clone(), MemHistory::with_config(&config));
            editor = Some(made.map_err(|error| failed(&error))?);
        }
        match &mut editor {
            Some(editor) => asked(editor, question),
            None => Ok(0),
        }
    }
}

fn asked(editor: &mut Editor<(), MemHistory>, question: &Question) -> Result<usize, CliError> {
    say(question.text);
    for (number, answer) in (1..).zip(question.answers) {
        say(&format!("  {number}  {}", answer.label));
    }
    loop {
        let line = editor.readline("> ").map_err(|error| failed(&error))?;
        let line = line.trim();
        let number = line
            .parse::<usize>()
            .ok()
            .and_then(|number| number.checked_sub(1));
        let of_label = |answer: &super::tree::Branch| {
            !line.is_empty() && answer.label.starts_with(&line.to_lowercase())
        };
        let found = number.or_else(|| question.answers.iter().position(of_label));
        match found.filter(|number| *number < question.answers.len()) {
            Some(number) => return Ok(number),
            None => say(&format!(
                "a number from 1 to {}, or a word",
                question.answers.len()
            )),
        }
    }
}

fn failed(error: &ReadlineError) -> CliError {
    let what = match error {
        ReadlineError::Interrupted => interrupt::exit(),
        ReadlineError::Eof => "no answer was given".to_string(),
        other => other.to_string(),
    };
    CliError::File(PathBuf::from("standard input"), what)
}
