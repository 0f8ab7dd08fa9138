//! Sums of blocks of columns, of which attention sees each as one row (Guo et al. 2022).

use super::rows::RowFacts;
use super::run::{Step, StepContext, row_chunks};
use crate::graph::op::BlockSums;

/// The blocks in which a sequence's rows are summed: as many as have a row in their last column. Rows
/// behind them belong to the last one.
#[derive(Clone, Copy)]
pub(super) struct SummedBlocks {
    columns: u32,
    pub count: u32,
}

impl SummedBlocks {
    /// Those of the rows of a sequence.
    pub fn of(rows: &[RowFacts], columns: u32) -> SummedBlocks {
        let count = match rows {
            [first, .., last] if (last.column - first.column) as usize + 1 == rows.len() => {
                (last.column + 1) / columns - first.column / columns
            }
            _ => {
                let ends = rows
                    .iter()
                    .filter(|facts| (facts.column + 1) % columns == 0);
                ends.count() as u32
            }
        };
        SummedBlocks { columns, count }
    }

    /// The block that a column belongs to; none, if there are no blocks.
    pub fn block(self, column: u32) -> Option<u32> {
        Some((column / self.columns).min(self.count.checked_sub(1)?))
    }

    /// The row in which a block's sum stands, its first one, among the rows of the sequence; none of a
    /// block that is all padding.
    pub fn row(self, rows: &[RowFacts], block: u32) -> Option<usize> {
        let row = rows.partition_point(|facts| self.block(facts.column) < Some(block));
        let found = rows.get(row)?;
        (self.block(found.column) == Some(block)).then_some(row)
    }
}

impl Step for BlockSums {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        row_chunks(cx.tile)
    }

    fn run(&self, cx: &StepContext<'_>, (): (), chunk: usize) {
        let width = cx.info(cx.out()).width;
        let mut known: Option<(u32, SummedBlocks)> = None;
        for row in cx.rows_of(chunk) {
            let number = cx.rows.facts[row].group;
            let group = &cx.rows.groups[number as usize];
            let rows = &cx.rows.facts[group.first..group.first + group.len];
            let blocks = match known {
                Some((of, blocks)) if of == number => blocks,
                _ => SummedBlocks::of(rows, self.columns),
            };
            known = Some((number, blocks));
            let at = row - group.first;
            let block = blocks.block(rows[at].column);
            // SAFETY: this row is this chunk's, and `x` lies elsewhere: other rows of it are read.
            let out = unsafe { cx.row_mut(cx.out(), row, 0..width) };
            out.fill(0.0);
            let is_first = at == 0 || blocks.block(rows[at - 1].column) != block;
            if block.is_none() || !is_first {
                continue;
            }
            let same = |facts: &&RowFacts| blocks.block(facts.column) == block;
            let count = rows[at..].iter().take_while(same).count();
            for of in row..row + count {
                for (sum, x) in out.iter_mut().zip(cx.row(self.x, of)) {
                    *sum += x;
                }
            }
        }
    }
}
