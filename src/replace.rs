//! Files that stand under their names once they are whole, and the care that nothing but a
//! regular file is ever replaced by one.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A file that is being written: beside the one that it is to replace, which stays as it is until
/// the new one is whole. Symbolic links are followed, and stay. What is a device or a pipe is
/// written as it is. If this is dropped unfinished, nothing is left.
#[derive(Debug)]
pub struct Replacement {
    file: File,
    /// Where it is until it is whole; `None` for what is written as it is.
    partial: Option<PathBuf>,
    /// The file itself, behind all links.
    to: PathBuf,
}

impl Replacement {
    /// Begins a file. Opening a pipe waits for its reader.
    ///
    /// # Errors
    /// The path leads to a folder, to a file that may not be written, or to no place for one.
    pub fn new(path: &Path) -> io::Result<Replacement> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        match Destination::of(path)? {
            Destination::AsItIs => Ok(Replacement {
                file: OpenOptions::new().write(true).open(path)?,
                partial: None,
                to: path.to_path_buf(),
            }),
            Destination::File(to, permissions) => loop {
                let number = COUNT.fetch_add(1, Ordering::Relaxed);
                // Of one length: beside a name as long as names can be there is room for it.
                let name = format!(".rillm-{}-{number}.partial", std::process::id());
                let partial = to.with_file_name(name);
                match Replacement::beside(partial, to.clone(), permissions.clone()) {
                    // Another process of this number, which was ended, has left its own.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    begun => return begun,
                }
            },
        }
    }

    /// Begins a file that is called as [`partial_name`] says until it is whole. What an earlier process
    /// has left there is written over.
    ///
    /// # Errors
    /// As [`Replacement::new`], and devices and pipes; somebody else is writing it.
    pub fn of_file(path: &Path) -> io::Result<Replacement> {
        match Destination::of(path)? {
            Destination::AsItIs => Err(io::Error::other(
                "is no regular file, and is not replaced by one",
            )),
            Destination::File(to, permissions) => {
                let partial = partial_name(path);
                let file = locked(&partial)?;
                Replacement::begun(file, partial, to, permissions)
            }
        }
    }

    fn beside(
        partial: PathBuf,
        to: PathBuf,
        permissions: Option<Permissions>,
    ) -> io::Result<Replacement> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&partial)?;
        Replacement::begun(file, partial, to, permissions)
    }

    fn begun(
        file: File,
        partial: PathBuf,
        to: PathBuf,
        permissions: Option<Permissions>,
    ) -> io::Result<Replacement> {
        let begun = Replacement {
            file,
            partial: Some(partial),
            to,
        };
        if let Some(permissions) = permissions {
            begun.file.set_permissions(permissions)?;
        }
        Ok(begun)
    }

    /// Where it is until it is whole, if that is another place.
    pub fn partial(&self) -> Option<&Path> {
        self.partial.as_deref()
    }

    /// To write to.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Puts the file, which is whole, under its name.
    ///
    /// # Errors
    /// It cannot be put there: it is removed, and what was there stays.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some(partial) = &self.partial {
            fs::rename(partial, &self.to)?;
            self.partial = None;
        }
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            // If it cannot be removed, the error that brought us here says more.
            let _ = fs::remove_file(partial);
        }
    }
}

/// What the file of a model is called until it is complete: beside the file itself, if the path is
/// a link.
pub fn partial_name(path: &Path) -> PathBuf {
    let to = behind_links(path).unwrap_or_else(|_| path.to_path_buf());
    let mut name = to.into_os_string();
    name.push(".partial");
    PathBuf::from(name)
}

/// An empty file at this place that nobody else holds.
fn locked(partial: &Path) -> io::Result<File> {
    /// Times in a row that it may go as it is opened. Beyond that the file system numbers files anew
    /// each time it is asked.
    const TIMES: usize = 16;
    let mut times = 0;
    loop {
        times += 1;
        match fs::symlink_metadata(partial) {
            // Of a link, the link alone.
            Ok(facts) if facts.is_symlink() => fs::remove_file(partial)?,
            Ok(facts) if !facts.is_file() => {
                let what = format!("{} is in the way", partial.display());
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
            }
            _ => {}
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false);
        let file = file.open(partial)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let what = "is being written by another process or thread";
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, what));
            }
            // There are file systems without locks.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        // Who held it may have put it under its name meanwhile, or removed it.
        if stands_at(&file, partial)? || times == TIMES {
            file.set_len(0)?;
            return Ok(file);
        }
    }
}

/// Whether an open file is the one at this place.
#[cfg(unix)]
fn stands_at(file: &File, place: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let own = file.metadata()?;
    Ok(fs::symlink_metadata(place)
        .is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino())))
}

/// An open file keeps its name.
#[cfg(not(unix))]
fn stands_at(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

/// What a path leads to.
enum Destination {
    /// A device, a pipe, or a file that this program was handed open: written as it is.
    AsItIs,
    /// A file, or where one can be; with the permissions of the one that is there.
    File(PathBuf, Option<Permissions>),
}

impl Destination {
    fn of(path: &Path) -> io::Result<Destination> {
        let facts = match fs::metadata(path) {
            Ok(facts) => facts,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Destination::File(behind_links(path)?, None));
            }
            Err(error) => return Err(error),
        };
        if facts.is_dir() {
            let what = "is a folder, give the path of a file";
            return Err(io::Error::new(io::ErrorKind::IsADirectory, what));
        }
        if !facts.is_file() || is_descriptor(path) {
            return Ok(Destination::AsItIs);
        }
        // A file that nobody may write is not replaced either.
        OpenOptions::new().write(true).open(path)?;
        Ok(Destination::File(
            fs::canonicalize(path)?,
            Some(facts.permissions()),
        ))
    }
}

/// Whether a path names what this program was handed open, which has a name of its own only by
/// chance.
fn is_descriptor(path: &Path) -> bool {
    let names = ["/dev/stdin", "/dev/stdout", "/dev/stderr"];
    let folders = ["/dev/fd", "/proc"];
    names.iter().any(|name| path == Path::new(name))
        || folders.iter().any(|folder| path.starts_with(folder))
}

/// Where a chain of links ends, whether or not there is something.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    /// As many as Linux follows.
    const LINKS: usize = 40;
    let mut at = path.to_path_buf();
    for _ in 0..LINKS {
        match fs::read_link(&at) {
            // A link is read from the folder that it stands in.
            Ok(next) => at = at.parent().unwrap_or(Path::new("")).join(next),
            Err(_) => return Ok(at),
        }
    }
    Err(io::Error::other("is a link in a circle"))
}
