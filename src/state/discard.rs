//! Forgetting the middle of a sequence, so that it can go on.

use super::{PAGE, Sequence, State, StateError};
use crate::graph::StateKind;
use std::ops::Range;

impl State {
    /// Forgets the entries `range` of a sequence's history, which has more behind them, and
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
        for from in moved {
            let position = self.position(sequence, from) - gap;
            let to = from - range.len();
            let (to_page, to_place) = self.make_writable(sequence, to, position);
            // Only now: making the other writable may have replaced this one's page.
            let from_page = self.pages(sequence)[from / PAGE];
            for id in 0..self.layout.kinds.len() {
                let StateKind::Kv { kv_heads, head_dim } = self.layout.kinds[id] else {
                    continue;
                };
                let row = self.history().row_len(head_dim).unwrap_or(0);
                let place = |head: usize, place: usize| (head * PAGE + place) * row;
                for head in 0..2 * kv_heads {
                    // SAFETY: a page holds 2 × kv_heads × PAGE rows of `row` bytes; the two
                    // rows are distinct, and nobody else touches the state while it is borrowed
                    // mutably.
                    let moved = unsafe {
                        let from = self.page_ptr(id, from_page).add(place(head, from % PAGE));
                        let to = self.page_ptr(id, to_page);
                        let to = to.add(place(head, to_place as usize));
                        std::ptr::copy_nonoverlapping(from, to, row);
                        std::slice::from_raw_parts_mut(to, row)
                    };
                    if head < kv_heads {
                        turn(id, gap, moved);
                    }
                }
            }
        }
        self.truncate(sequence, len - range.len());
        // Checkpoints are known by lengths, and those now mean other places.
        self.drop_checkpoints(sequence, |held| held > range.start);
        Ok(gap)
    }

    /// Position of an entry of a sequence's history; its number where there is none.
    fn position(&self, sequence: u32, entry: usize) -> u64 {
        match self.pages(sequence).get(entry / PAGE) {
            // SAFETY: a page has PAGE positions.
            Some(&page) => unsafe { self.positions_ptr(page).add(entry % PAGE).read() },
            None => entry as u64,
        }
    }
}
