//! Texts that are given on the command line, in files, or through a pipe.

use super::{CliError, bytes};
use rillm::formats::json::other_text;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

/// Bytes that are read of a file or a pipe at most: what has no end must not take all memory.
pub const LONGEST: u64 = 1 << 28;

/// The text given on the command line, in a file, or piped in; without the newline that ends a
/// file. `ways` say how there could be one.
pub fn text(
    given: Option<&str>,
    file: Option<&Path>,
    what: &str,
    ways: &str,
) -> Result<String, CliError> {
    match given {
        Some(text) => Ok(text.to_string()),
        None => whole_text(None, file, what, ways).map(without_last_newline),
    }
}

/// The same with every byte of a file.
pub fn whole_text(
    given: Option<&str>,
    file: Option<&Path>,
    what: &str,
    ways: &str,
) -> Result<String, CliError> {
    match (given, file) {
        (Some(text), _) => Ok(text.to_string()),
        (None, Some(path)) => file_text(path, LONGEST),
        (None, None) if io::stdin().is_terminal() => {
            Err(CliError::Usage(format!("no {what}: give {ways}")))
        }
        (None, None) => stdin_text(LONGEST),
    }
}

/// The text of a file; of `-`, of standard input. One that is longer than `most` bytes is refused.
pub fn file_text(path: &Path, most: u64) -> Result<String, CliError> {
    match path.as_os_str() == "-" {
        true => stdin_text(most),
        false => utf8(path, file_bytes(path, most)?),
    }
}

fn stdin_text(most: u64) -> Result<String, CliError> {
    let name = Path::new("standard input");
    let bytes = up_to(most, io::stdin().lock());
    utf8(name, bytes.map_err(|error| wrong(name, &error))?)
}

fn utf8(name: &Path, bytes: Vec<u8>) -> Result<String, CliError> {
    String::from_utf8(without_mark(bytes)).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let what = match other_text(error.as_bytes()) {
            Some(what) => what.to_string(),
            None => format!("is not UTF-8 from byte {at} on"),
        };
        CliError::File(name.to_path_buf(), what)
    })
}

/// A text without the byte order mark that editors put before it, which its author did not type.
pub fn without_mark(mut text: Vec<u8>) -> Vec<u8> {
    const MARK: &[u8] = "\u{feff}".as_bytes();
    if text.starts_with(MARK) {
        text.drain(..MARK.len());
    }
    text
}

/// What a file holds; one that is longer than `most` bytes is refused as well.
pub fn file_bytes(path: &Path, most: u64) -> Result<Vec<u8>, CliError> {
    let bytes = File::open(path).and_then(|file| up_to(most, file));
    bytes.map_err(|error| wrong(path, &error))
}

fn up_to(most: u64, from: impl Read) -> io::Result<Vec<u8>> {
    let mut found = Vec::new();
    from.take(most + 1).read_to_end(&mut found)?;
    match found.len() as u64 > most {
        true => Err(io::Error::other(format!("is longer than {}", bytes(most)))),
        false => Ok(found),
    }
}

fn wrong(path: &Path, error: &io::Error) -> CliError {
    CliError::File(path.to_path_buf(), error.to_string())
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
