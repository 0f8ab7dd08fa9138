//! Forgetting the middle of a sequence, so that it can go on.

use super::{PAGE, Sequence, State, StateError};
use crate::graph::{KvCache, StateKind};
use crate::kernels::KvHalf;
use std::ops::Range;

impl State {
    /// Forgets the entries `range` of a sequence's KV cache, which has more behind them, and
    /// moves those up: in place, and in positions by as many as the first of them was behind
    /// the first that is forgotten. Returns how many. `turn` is given each key that moved (its
    /// piece of state and its bytes) and makes it one of so many positions before.
    pub(crate) fn discard(
        &mut self,
        sequence: u32,
        range: Range<usize>,
        turn: &mut dyn FnMut(usize, u64, &mut [u8]),
    ) -> Result<u64, StateError> {
        let Sequence { len, .. } = *self.usable(sequence)?;
        let gap = self.position(sequence, range.end) - self.position(sequence, range.start);
        let moved = match self.layout.pages {
            0 => 0..0,
            _ => range.end..len,
        };
        let mut entry = Vec::new();
        let kinds = self.layout.kinds.iter().enumerate();
        let caches: Vec<(usize, KvCache)> = kinds.filter_map(kv_cache).collect();
        for from in moved {
            let position = self.position(sequence, from) - gap;
            let to = from - range.len();
            let (to_page, to_place) = self.make_writable(sequence, to, position);
            // Only now: making the other writable may have replaced this one's page.
            let from_page = self.pages(sequence)[from / PAGE];
            for &(id, cache) in &caches {
                let KvCache {
                    kv_heads, head_dim, ..
                } = cache;
                let kv_type = self.kv_type();
                let row = kv_type.row_len(head_dim).unwrap_or(0);
                entry.resize(row, 0);
                for head in 0..cache.halves() * kv_heads {
                    let half = match head < kv_heads {
                        true => KvHalf::Keys,
                        false => KvHalf::Values,
                    };
                    let part = |page: u32, place: usize, (first, len): (usize, usize)| {
                        let at = PAGE * (head * row + first) + place * len;
                        // SAFETY: a page holds halves × kv_heads × PAGE rows of `row` bytes,
                        // of which these are one's.
                        unsafe { self.unit_ptr(id, page as usize).cast::<u8>().add(at) }
                    };
                    for (first, len) in kv_type.parts(half, head_dim) {
                        let from = part(from_page, from % PAGE, (first, len));
                        // SAFETY: as above; parts lie inside a row.
                        let from = unsafe { std::slice::from_raw_parts(from, len) };
                        entry[first..first + len].copy_from_slice(from);
                    }
                    if half == KvHalf::Keys {
                        turn(id, gap, &mut entry);
                    }
                    for (first, len) in kv_type.parts(half, head_dim) {
                        let to = part(to_page, to_place as usize, (first, len));
                        // SAFETY: as above, and nobody else touches the state while it is
                        // borrowed mutably.
                        unsafe { to.copy_from_nonoverlapping(entry[first..].as_ptr(), len) };
                    }
                }
            }
        }
        self.truncate(sequence, len - range.len());
        // Checkpoints are known by lengths, and those now mean other places.
        self.drop_checkpoints(sequence, |held| held > range.start);
        Ok(gap)
    }

    /// Position of an entry of a sequence's KV cache; its number where there is none.
    fn position(&self, sequence: u32, entry: usize) -> u64 {
        match self.pages(sequence).get(entry / PAGE) {
            // SAFETY: a page has PAGE positions.
            Some(&page) => unsafe { self.positions_ptr(page).add(entry % PAGE).read() },
            None => entry as u64,
        }
    }
}

/// A piece of state that is a KV cache.
fn kv_cache((id, kind): (usize, &StateKind)) -> Option<(usize, KvCache)> {
    match *kind {
        StateKind::KvCache(cache) => Some((id, cache)),
        StateKind::Cross(_)
        | StateKind::Conv(_)
        | StateKind::Scan(_)
        | StateKind::Means(_)
        | StateKind::Linear(_)
        | StateKind::SegmentMemory(_)
        | StateKind::HiddenMemory(_)
        | StateKind::Table(_) => None,
    }
}
