//! A prompt cache: the KV cache and recurrent state after a prompt, in a file.

use super::generation::keep_shared;
use super::{CliError, warn};
use rillm::SnapshotError;
use rillm::{RunError, Session};
use std::io;
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
    let wrong = |what: String| CliError::File(path.to_path_buf(), what);
    let held = match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(wrong(error.to_string())),
        // Reading a pipe or a device may take for ever, and neither keeps anything.
        Ok(facts) if !facts.is_file() => {
            let what = "is no regular file, --prompt-cache needs one".to_string();
            return Err(wrong(what));
        }
        // As mktemp makes them: nothing is kept there yet.
        Ok(facts) if facts.len() == 0 => 0,
        Ok(_) => begin(session, wanted, path)?,
    };
    session.prefill(0, &wanted[held..])?;
    if !keep && held < wanted.len() {
        let written = session.snapshot_file(0, wanted, path);
        written.map_err(|error| wrong(error.to_string()))?;
    }
    Ok(held)
}

/// Restores what the file holds and cuts it to what it shares with `wanted`.
fn begin(session: &mut Session, wanted: &[u32], path: &Path) -> Result<usize, CliError> {
    let held = match session.restore_file(0, path) {
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
