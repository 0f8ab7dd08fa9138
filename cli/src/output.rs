//! Where results are written to, looked at before there is something to write.

use super::{CliError, terminal};
use rillm::Model;
use rillm::internals::replace::Replacement;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Whether standard output is meant.
pub fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Refuses places where a model's file, which is written beside its name and then renamed to it,
/// cannot stand: standard output, devices, pipes and folders; and other files unless they may be
/// replaced.
pub fn check_model(path: &Path, force: bool) -> Result<(), CliError> {
    let refuse = |what: &str| Err(CliError::File(path.to_path_buf(), what.to_string()));
    if is_stdout(path) {
        let what = "a model is not written to standard output, give the path of a file";
        return Err(CliError::Usage(what.to_string()));
    }
    match std::fs::metadata(path) {
        Ok(facts) if facts.is_dir() => refuse("is a folder, give the path of a file"),
        Ok(facts) if !facts.is_file() => refuse("is no regular file, and is not replaced by one"),
        Ok(_) if !force => refuse("exists, --force replaces it"),
        Ok(_) => Ok(()),
        Err(_) => match path.parent() {
            // Of a bare name it is the empty path: the folder one is in.
            Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
                refuse("its folder does not exist")
            }
            _ => Ok(()),
        },
    }
}

/// Refuses a file that cannot be written, before long work for what goes into it. Nothing is
/// left behind, and a file that is there stays as it is.
pub fn check(path: &Path) -> Result<(), CliError> {
    match std::fs::metadata(path) {
        // Opening a pipe waits for its reader.
        Ok(facts) if !facts.is_file() && !facts.is_dir() => Ok(()),
        _ => begin(path).map(|_| ()),
    }
}

/// Begins a file, which stands under its name once it is whole.
pub fn begin(path: &Path) -> Result<Replacement, CliError> {
    Replacement::new(path).map_err(|error| CliError::File(path.to_path_buf(), error.to_string()))
}

/// Writes a file as a whole.
pub fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> Result<(), CliError> {
    let mut new = begin(path)?;
    let mut out = BufWriter::new(new.file());
    let written = write(&mut out).and_then(|()| out.flush());
    drop(out);
    let written = written.and_then(|()| new.finish());
    written.map_err(|error| CliError::File(path.to_path_buf(), error.to_string()))
}

/// "1 thread", "2 threads".
pub fn threads(model: &Model) -> String {
    match model.threads() {
        1 => "1 thread".to_string(),
        count => format!("{count} threads"),
    }
}

/// Says on stderr what may not be meant, and goes on.
pub fn warn(what: &str) {
    terminal::say(&format!("rillm: warning: {what}"));
}

/// Bytes as people read them.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = None;
    for name in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = Some(name);
    }
    match unit {
        None => format!("{count} B"),
        Some(unit) if value < 10.0 => format!("{value:.2} {unit}"),
        Some(unit) => format!("{value:.1} {unit}"),
    }
}
