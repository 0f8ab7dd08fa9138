//! Brings back a snapshot that may be hostile. Uses nothing but the library, so that the fuzz
//! target shares it.

use rillm::SnapshotError;
use rillm::error::RunErrorKind;
use rillm::{KvType, Model, Row, Session, SessionOptions};

/// Small: what a snapshot claims must not decide what a session reserves.
pub const OPTIONS: SessionOptions = SessionOptions::new()
    .context(8)
    .sequences(2)
    .batch(4)
    .source(4)
    .checkpoints(0)
    .kv_type(KvType::F32);

/// Bytes of a snapshot before the model's fingerprint.
const BEFORE_FINGERPRINT: usize = 12;

/// The same bytes with this model's fingerprint and digest and a checksum that fits: what lies between is
/// then all that can be wrong, and no fuzzer guesses either.
pub fn signed(model: &Model, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let digest = BEFORE_FINGERPRINT + 8;
    let end = digest + 16;
    let Some(sum_at) = bytes.len().checked_sub(8).filter(|&at| at >= end) else {
        return bytes;
    };
    bytes[BEFORE_FINGERPRINT..digest].copy_from_slice(&model.fingerprint().to_le_bytes());
    bytes[digest..end].copy_from_slice(&model.weights_digest().to_le_bytes());
    let sum = fnv(&bytes[..sum_at]);
    bytes[sum_at..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// What ends a snapshot of these bytes: FNV-1a.
pub fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Restores, goes on for a token, and saves what was restored. Errors in one line are fine;
/// panics if there is a defect. Returns whether the snapshot was accepted.
pub fn restore(model: &Model, bytes: &[u8]) -> bool {
    let mut session = Session::new(model, OPTIONS).expect("a session");
    match session.restore(1, &mut &bytes[..]) {
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "{error}");
            if let SnapshotError::Run(error) = &error {
                assert_ne!(error.kind(), RunErrorKind::Internal, "{error}");
            }
            // A refused snapshot leaves a sequence that can be used.
            assert_eq!(session.len(1).expect("a sequence"), 0);
            false
        }
        Ok(tokens) => {
            let mut again = Vec::new();
            let saved = session.snapshot(1, &tokens, &mut again);
            saved.expect("what was restored can be saved");
            assert_eq!(again[..], bytes[..again.len()], "saved as it was");
            if model.decodes() {
                let row = Row {
                    position: session.len(1).expect("a sequence") as u64,
                    sequence: 1,
                    emit: true,
                    ..Row::default()
                };
                if let Err(error) = session.feed(&[row], &mut |_| {}) {
                    assert_ne!(error.kind(), RunErrorKind::Internal, "{error}");
                }
            }
            true
        }
    }
}
