//! A prompt cache: the KV cache and recurrent state after a prompt, in a file.

use super::generation::keep_shared;
use super::{CliError, warn};
use rillm::SnapshotError;
use rillm::{RunError, Session};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

/// Brings sequence 0 to the last token but one of `ids`, from the state in `path` as far as
/// that is of the same tokens, and writes the new state there unless `keep`. Returns how many
/// of `ids` came from the file. The last one is left to be fed for its logits.
pub fn advance(
    session: &mut Session,
    ids: &[u32],
    path: &Path,
    keep: bool,
) -> Result<usize, CliError> {
    let wanted = &ids[..ids.len().saturating_sub(1)];
    let held = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(CliError::File(path.to_path_buf(), error.to_string())),
        // As mktemp makes them: nothing is kept there yet.
        Ok(file)
            if file
                .metadata()
                .is_ok_and(|of| of.is_file() && of.len() == 0) =>
        {
            0
        }
        Ok(file) => begin(session, wanted, path, file)?,
    };
    session.prefill(0, &wanted[held..])?;
    if !keep && held < wanted.len() {
        write(session, wanted, path)
            .map_err(|error| CliError::File(path.to_path_buf(), error.to_string()))?;
    }
    Ok(held)
}

/// Restores what the file holds and cuts it to what it shares with `wanted`.
fn begin(
    session: &mut Session,
    wanted: &[u32],
    path: &Path,
    file: File,
) -> Result<usize, CliError> {
    let held = match session.restore(0, &mut BufReader::new(file)) {
        Ok(tokens) if session.len(0)? == tokens.len() => tokens,
        // A longer prompt than this context has room for: of no use here, but no mistake.
        Err(SnapshotError::Run(RunError::State(_))) | Ok(_) => {
            session.reset(0)?;
            Vec::new()
        }
        Err(error) => {
            let advice = match error {
                SnapshotError::Other(_) => "remove the file, or name another --prompt-cache",
                // It may be anything: a text, or the model itself.
                _ => "name another --prompt-cache",
            };
            let what = format!("{error}; {advice}");
            return Err(CliError::File(path.to_path_buf(), what));
        }
    };
    if !wanted.starts_with(&held) && !session.can_rewind() {
        warn("the prompt does not begin with the cached one, and a recurrent state cannot go back");
    }
    Ok(keep_shared(session, &held, wanted)?)
}

/// Beside the file until it is whole.
fn write(session: &Session, tokens: &[u32], path: &Path) -> Result<(), SnapshotError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.{}.partial", std::process::id()));
    let written = File::create(&partial)
        .map_err(SnapshotError::Io)
        .and_then(|file| {
            let mut out = BufWriter::new(file);
            session.snapshot(0, tokens, &mut out)?;
            Ok(out.flush()?)
        })
        .and_then(|()| Ok(std::fs::rename(&partial, path)?));
    if written.is_err() {
        // If it cannot be removed, the error still shows.
        let _ = std::fs::remove_file(&partial);
    }
    written
}
