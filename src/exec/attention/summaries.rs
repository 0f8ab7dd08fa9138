//! Attention to the summaries of blocks of columns. A block that is all padding is a zero, which is
//! seen all the same.

use super::queries::Queries;
use super::rows::Head;
use super::scratch::LONGEST_HEAD;
use crate::exec::block_sums::SummedBlocks;
use crate::exec::rows::SequenceRows;
use crate::state::PAGE;
use std::ops::Range;

impl Queries<'_> {
    /// Rows of one group see a summary of each of its blocks, if there are summaries.
    pub(super) fn over_summaries(
        &mut self,
        rows: Range<usize>,
        group: &SequenceRows,
        number: usize,
    ) {
        let about = self.about;
        let Some(summaries) = about.summaries else {
            return;
        };
        debug_assert!(about.attention.head_dim <= LONGEST_HEAD / 2);
        let head = Head {
            k: summaries.k,
            v: summaries.v,
            number,
        };
        let facts = &about.cx.rows.facts;
        let of_group = &facts[group.first..group.first + group.len];
        let blocks = SummedBlocks::of(of_group, summaries.columns);
        let block = |row: usize| u64::from(blocks.block(facts[row].column).unwrap_or(0));
        for first in (0..blocks.count).step_by(PAGE) {
            let count = (blocks.count - first).min(PAGE as u32) as usize;
            let key = |place: usize| {
                let row = blocks.row(of_group, first + place as u32);
                row.filter(|_| place < count).map(|row| group.first + row)
            };
            let position = |place: usize| u64::from(first) + place as u64;
            let at = (&summaries.position, block, position);
            self.over_scattered(rows.clone(), head, (count, key), at);
        }
    }
}
