//! A comparison that one can publish: the tables and the picture, and what they were measured on.

use super::report::{foreseen, full_table};
use super::{Series, plot};
use crate::CliError;
use crate::arguments::ThreadArguments;
use crate::machine::MachineFacts;
use crate::terminal::one_line;
use std::fmt::Write as _;

/// The whole page.
pub fn report(all: &[Series], threads: &ThreadArguments) -> Result<String, CliError> {
    let facts = MachineFacts::unmeasured(threads.model_options()?)?;
    let mut out = String::from("# Models side by side\n\n");
    let command: Vec<String> = std::env::args().skip(1).map(|word| quoted(&word)).collect();
    let mut tables = Vec::new();
    full_table(&mut tables, all)?;
    foreseen(&mut tables, all)?;
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "- CPU: {}, {} ({} threads)\n- rillm {}, {}\n- `rillm {}`\n\n{}\n{}",
        one_line(&facts.cpu),
        facts.isa,
        facts.threads,
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        one_line(&command.join(" ")).replace('`', "'"),
        String::from_utf8_lossy(&tables),
        plot::svg(all)
    );
    Ok(out)
}

/// A word as a shell would take it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_string(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}
