//! Regular files, which alone are opened: a pipe or a device may keep who opens it waiting for ever.

use rillm_formats::limits;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Opens a file for reading.
///
/// # Errors
/// It cannot be read, or is another thing, which is named.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let facts = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_there(path) => {
            return Err(io::Error::other("is a link to nothing"));
        }
        facts => facts?,
    };
    if facts.is_dir() {
        return Err(io::Error::other("is a folder, expected a file"));
    }
    if !facts.is_file() {
        let what = "is no regular file, and only those are read";
        return Err(io::Error::other(what));
    }
    File::open(path)
}

/// The bytes of one of the files that are read and not mapped: a file of holes costs nobody what it
/// would cost here.
///
/// # Errors
/// As [`open`], and one that is longer than such files are.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let (len, most) = (file.metadata()?.len(), limits::STRING_LEN);
    if len > most {
        let what = format!("has {len} bytes, at most {most} are read of such a file");
        return Err(io::Error::other(what));
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether something has this name, be it what cannot be read.
pub(super) fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
