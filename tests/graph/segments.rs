//! What a segment memory keeps.

use rillm::internals::graph::Segments;

/// The reference's bookkeeping, segment by segment.
#[test]
fn what_is_kept_follows_from_the_length() {
    for (rows, len, compressed, ratio) in [
        (12, 16, 6, 4),
        (3, 5, 2, 2),
        (7, 7, 9, 3),
        (4, 9, 3, 5),
        (5, 5, 0, 4),
        (1, 1, 1, 1),
    ] {
        let segments = Segments::Rows {
            rows,
            len,
            compressed,
            ratio,
        };
        let (mut memory, mut kept, mut made) = (0, 0, 0);
        for segment in 0..40 {
            let start = segment * rows;
            let found = segments.kept(start);
            let label = format!("{segments:?} at {start}");
            assert_eq!(found.rows, start - memory..start, "{label}");
            assert_eq!(found.compressed, made - kept..made, "{label}");
            let old = (memory + rows).saturating_sub(len);
            assert_eq!(segments.evicted(start).len(), old, "{label}");
            if compressed > 0 && old > 0 {
                let new = (old + old % ratio) / ratio;
                assert_eq!(segments.compression(old), (old % ratio, new), "{label}");
                made += new;
                kept = (kept + new).min(compressed);
            }
            memory = (memory + rows).min(len);
        }
    }
}
