//! The digest of all weights, and what tells that a file is still the same.

use rillm::internals::model::digest_of;

/// Bytes of a piece, which a thread takes at a time.
const PIECE: usize = 4 << 20;

fn digest(tensors: &[&[u8]], threads: usize) -> u128 {
    digest_of(tensors.iter().copied(), threads)
}

/// By the package xxhash of Python: xxh3_128 of the digests of all pieces, each in little-endian.
#[test]
fn digests_are_xxh3_s() {
    let long: Vec<u8> = (0..PIECE + 5).map(|at| (at * 7 % 251) as u8).collect();
    for (tensors, expected) in [
        (
            &[&b"abc"[..]][..],
            0x1bc2_3150_d25a_2ad3_534a_7395_b269_b9fe,
        ),
        (&[&long], 0x49b6_d86d_e55c_54da_2dec_db26_54e9_56c4),
    ] {
        assert_eq!(digest(tensors, 1), expected);
        assert_eq!(digest(tensors, 3), expected);
    }
}

#[test]
fn every_byte_counts_and_no_thread_does() {
    let mut bytes = vec![7; 2 * PIECE + 5];
    let whole = digest(&[&bytes], 1);
    assert_eq!(digest(&[&bytes], 3), whole);
    for at in [0, 1, PIECE - 1, PIECE, PIECE + PIECE / 2, 2 * PIECE + 4] {
        bytes[at] ^= 0x80;
        assert_ne!(digest(&[&bytes], 2), whole, "{at}");
        bytes[at] ^= 0x80;
    }
    let (one, other) = bytes.split_at(3);
    assert_ne!(digest(&[one, other], 1), whole);
    assert_eq!(digest(&[], 2), digest(&[&[]], 1));
}

#[cfg(unix)]
#[test]
fn a_file_that_is_still_being_changed_has_no_stamp() {
    use rillm::internals::weights::FileStamp;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};
    let folder = crate::support::folder::TempFolder::new("stamp");
    let path = folder.join("file");
    std::fs::write(&path, "x").expect("a file");
    let facts = std::fs::metadata(&path).expect("facts");
    let at = |later: u64| {
        let now = SystemTime::now() + Duration::from_secs(later);
        let now = now.duration_since(UNIX_EPOCH).expect("after 1970");
        FileStamp::of(&facts, now.as_nanos() as u64)
    };
    assert_eq!(at(0), None);
    assert!(at(60).is_some());
    // A clock that was set back tells nothing.
    assert_eq!(FileStamp::of(&facts, 5), None);
}
