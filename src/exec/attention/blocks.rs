//! Block-sparse attention among the rows of a run: pages that hold no block which a row sees are
//! never met, and what a row sees several times adds the logarithm of how often to its scores.

use super::queries::{Queries, alike};
use super::rows::{Head, PageRoom};
use super::scratch::LONGEST_HEAD;
use crate::exec::rows::SequenceRows;
use crate::graph::BlockSparse;
use crate::state::PAGE;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Which blocks one block of a sequence sees.
struct SeenBlocks<'a> {
    query: u32,
    last: u32,
    /// Without them the first block stands for each of so many random ones, as where the authors'
    /// code does not train.
    random: Result<&'a [u32], u32>,
}

impl SeenBlocks<'_> {
    /// How many times it sees a block.
    fn times(&self, key: u32) -> u32 {
        let near = key == 0 || key == self.last || key.abs_diff(self.query) <= 1;
        let random = match self.random {
            Ok(random) => random.iter().filter(|&&block| block == key).count() as u32,
            Err(random) if key == 0 => random,
            Err(_) => 0,
        };
        u32::from(near) + random
    }

    /// The first one that it sees from `key` on.
    fn next(&self, key: u32) -> Option<u32> {
        let query = self.query;
        let near = [0, query - 1, query, query + 1, self.last];
        let random = self.random.unwrap_or_default().iter().copied();
        near.into_iter()
            .chain(random)
            .filter(|&block| block >= key)
            .min()
    }
}

impl Queries<'_> {
    /// Rows of one group see the blocks that are theirs; those of the first and the last block, and
    /// of a group that is too short for it, all.
    pub(super) fn over_blocks(
        &mut self,
        rows: Range<usize>,
        group: &SequenceRows,
        head: Head,
        sparse: BlockSparse,
    ) {
        let cx = self.about.cx;
        let all = group.first..group.first + group.len;
        let Some(blocks) = sparse.blocks(group.width) else {
            return self.over_run(rows, all, head);
        };
        let block = |row: usize| cx.rows.facts[row].column / sparse.columns;
        for rows in alike(rows, block) {
            let (query, last) = (block(rows.start), blocks - 1);
            if query == 0 || query == last {
                self.over_run(rows, all.clone(), head);
                continue;
            }
            let plan = cx.rows.random_blocks.as_ref();
            let drawn = plan.and_then(|plan| plan.of(sparse, group.width, head.number, query));
            let random = drawn.ok_or(sparse.random);
            let seen = SeenBlocks {
                query,
                last,
                random,
            };
            self.over_seen(rows, group, head, (sparse, &seen));
        }
    }

    #[inline(never)]
    fn over_seen(
        &mut self,
        rows: Range<usize>,
        group: &SequenceRows,
        head: Head,
        (sparse, seen): (BlockSparse, &SeenBlocks<'_>),
    ) {
        let cx = self.about.cx;
        let facts = &cx.rows.facts[group.first..group.first + group.len];
        let mut room: PageRoom = [const { MaybeUninit::uninit() }; LONGEST_HEAD * PAGE];
        let mut at = 0;
        while let Some(here) = facts.get(at) {
            let block = here.column / sparse.columns;
            match seen.next(block) {
                None => break,
                Some(next) if next > block => {
                    let column = next.saturating_mul(sparse.columns);
                    at = facts.partition_point(|facts| facts.column < column);
                    continue;
                }
                Some(_) => {}
            }
            let start = at / PAGE * PAGE;
            let there = &facts[start..group.len.min(start + PAGE)];
            let mut added = [0.0; PAGE];
            for (added, facts) in added.iter_mut().zip(there) {
                // −∞ of what it does not see.
                *added = (seen.times(facts.column / sparse.columns) as f32).ln();
            }
            let shades = added.iter().any(|added| *added != 0.0);
            let shade =
                |_: usize, shades: &mut [f32]| shades.copy_from_slice(&added[..shades.len()]);
            let run = group.first + start..group.first + start + there.len();
            let page = self.about.page(head, run, &mut room);
            let position = |place: usize| there[place].row.position;
            self.fold(rows.clone(), &page, (shades, shade), position);
            at = start + PAGE;
        }
    }
}
