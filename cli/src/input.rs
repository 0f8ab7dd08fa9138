//! Texts that are given on the command line, in files, or through a pipe.

use super::CliError;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

/// The text given on the command line, in a file, or piped in; without the newline that ends a
/// file.
pub fn text(
    given: Option<&str>,
    file: Option<&Path>,
    what: &str,
    option: &str,
) -> Result<String, CliError> {
    match given {
        Some(text) => Ok(text.to_string()),
        None => whole_text(None, file, what, option).map(without_last_newline),
    }
}

/// The same with every byte of a file.
pub fn whole_text(
    given: Option<&str>,
    file: Option<&Path>,
    what: &str,
    option: &str,
) -> Result<String, CliError> {
    let stdin = |path: &Path| {
        let mut text = String::new();
        let read = io::stdin().read_to_string(&mut text);
        read.map_err(|error| CliError::File(path.to_path_buf(), error.to_string()))?;
        Ok(text)
    };
    match (given, file) {
        (Some(text), _) => Ok(text.to_string()),
        (None, Some(path)) if path.as_os_str() == "-" => stdin(path),
        (None, Some(path)) => std::fs::read_to_string(path)
            .map_err(|error| CliError::File(path.to_path_buf(), error.to_string())),
        (None, None) if io::stdin().is_terminal() => {
            let what = format!("no {what}: give {option} or -f FILE, or pipe a text in");
            Err(CliError::Usage(what))
        }
        (None, None) => stdin(Path::new("standard input")),
    }
}

/// Editors and `echo` end a text with a newline that its author did not mean.
pub fn without_last_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}
