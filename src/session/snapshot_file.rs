//! A snapshot in a file, which also notes what the model's files were like: as long as they are the
//! same, nobody needs to read all weights again to know it.
//!
//! Behind the snapshot, as little-endian as that:
//!
//! | bytes | what |
//! |---|---|
//! | 16 | the digest of the weights |
//! | 40 each | of each of the model's files device, inode, length and two times |
//! | 4 | their number |
//! | 8 | `RILLFILE` |
//! | 8 | FNV-1a of all that came since the snapshot |

use super::Session;
use super::snapshot::SnapshotError;
use crate::checksum::Checksum;
use crate::replace::Replacement;
use crate::weights::FileStamp;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

const MAGIC: &[u8; 8] = b"RILLFILE";

/// Bytes of a digest.
const DIGEST: usize = 16;

/// Bytes behind the stamps.
const END: usize = 4 + 8 + 8;

impl Session {
    /// As [`Session::snapshot`], to a file. A file that is there is replaced once the new one is
    /// whole; through symbolic links as well, which stay; devices and pipes are written to.
    ///
    /// The file notes lengths and times of the model's files beside the digest of their weights. As
    /// long as all of them are the same, [`Session::restore_file`] does not read the weights for
    /// their digest.
    ///
    /// # Errors
    /// As [`Session::snapshot`]; those of the system, which do not name the file.
    pub fn snapshot_file(
        &self,
        sequence: u32,
        tokens: &[u32],
        path: impl AsRef<Path>,
    ) -> Result<(), SnapshotError> {
        let mut new = Replacement::new(path.as_ref())?;
        let mut out = BufWriter::new(new.file());
        self.snapshot(sequence, tokens, &mut out)?;
        if let Some(stamps) = self.model.file_stamps() {
            out.write_all(&note(self.model.weights_digest(), &stamps))?;
        }
        out.flush()?;
        drop(out);
        Ok(new.finish()?)
    }

    /// As [`Session::restore`], from a file.
    ///
    /// # Errors
    /// As [`Session::restore`]; those of the system, which do not name the file.
    pub fn restore_file(
        &mut self,
        sequence: u32,
        path: impl AsRef<Path>,
    ) -> Result<Vec<u32>, SnapshotError> {
        let mut file = File::open(path)?;
        // What has no length has no note at its end.
        if file.metadata()?.is_file() {
            if let Some(stamps) = self.model.file_stamps()
                && let Some(digest) = noted(&mut file, &stamps)?
            {
                self.model.know_weights_digest(digest);
            }
            file.rewind()?;
        }
        self.restore(sequence, &mut BufReader::new(file))
    }
}

/// The note of a digest of files that are like this.
fn note(digest: u128, stamps: &[FileStamp]) -> Vec<u8> {
    let mut bytes = digest.to_le_bytes().to_vec();
    bytes.extend(stamps.iter().flat_map(|stamp| stamp.bytes()));
    bytes.extend((stamps.len() as u32).to_le_bytes());
    bytes.extend(MAGIC);
    let mut sum = Checksum::START;
    sum.add(&bytes);
    bytes.extend(sum.0.to_le_bytes());
    bytes
}

/// The digest that a file notes, if it is that of files that are like this.
fn noted(file: &mut File, stamps: &[FileStamp]) -> io::Result<Option<u128>> {
    let len = DIGEST + stamps.len() * FileStamp::LEN + END;
    if file.metadata()?.len() < len as u64 {
        return Ok(None);
    }
    file.seek(SeekFrom::End(-(len as i64)))?;
    let mut found = vec![0; len];
    file.read_exact(&mut found)?;
    let mut digest = [0; DIGEST];
    digest.copy_from_slice(&found[..DIGEST]);
    let digest = u128::from_le_bytes(digest);
    Ok((note(digest, stamps) == found).then_some(digest))
}
