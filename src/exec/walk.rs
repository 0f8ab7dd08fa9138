//! Where a run stands in its plan.

use super::run::{Run, StepContext, Tile, row_chunks};
use super::step;
use crate::graph::RowSpace;
use crate::plan::{Order, Phase, Stage};

/// Whether a phase is one chunk, so that a second worker would find nothing to do.
pub(super) fn single(run: &Run<'_>, phase: &Phase, tile: &Tile) -> bool {
    match phase.order {
        Order::RowByRow => row_chunks(tile) <= 1,
        Order::Apart => {
            let chunks = phase.nodes.clone().map(|node| {
                let cx = StepContext::new(run, node, tile, &|_| {});
                step::chunks(&run.plan.graph.nodes[node].op, &cx)
            });
            chunks.sum::<usize>() <= 1
        }
    }
}

/// A place in a run: a phase of a tile of a stage.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    run: &'a Run<'a>,
    stage: usize,
    start: usize,
    phase: usize,
}

impl<'a> Walk<'a> {
    /// At the beginning of a run.
    pub(super) fn new(run: &'a Run<'a>) -> Walk<'a> {
        Walk {
            run,
            stage: 0,
            start: 0,
            phase: 0,
        }
    }

    /// The phase that is next and its tile; `None` at the end.
    pub(super) fn here(&mut self) -> Option<(&'a Phase, Tile)> {
        loop {
            let stage = self.run.plan.stages.get(self.stage)?;
            let rows = rows_in(self.run, stage);
            if self.start >= rows {
                (self.stage, self.start, self.phase) = (self.stage + 1, 0, 0);
                continue;
            }
            // Tiles of like size: a short last one would pack weights for few rows.
            let left = rows - self.start;
            let end = self.start + left.div_ceil(left.div_ceil(stage.tile.max(1)));
            match stage.phases.get(self.phase) {
                Some(phase) => {
                    let range = self.start..end;
                    return Some((phase, Tile { range }));
                }
                None => (self.start, self.phase) = (end, 0),
            }
        }
    }

    pub(super) fn step(&mut self) {
        self.phase += 1;
    }

    /// Goes on to the next phase that workers share.
    pub(super) fn pass_singles(&mut self) {
        while let Some((phase, tile)) = self.here()
            && single(self.run, phase, &tile)
        {
            self.step();
        }
    }

    /// Whether two ways have come equally far; `other` stands before a phase or at the end.
    pub(super) fn is_at(&mut self, other: &Walk<'_>) -> bool {
        self.here();
        (self.stage, self.start, self.phase) == (other.stage, other.start, other.phase)
    }
}

fn rows_in(run: &Run<'_>, stage: &Stage) -> usize {
    match stage.space {
        RowSpace::Step | RowSpace::Source => run.rows.facts.len(),
        RowSpace::Sequence => run.rows.groups.len(),
        RowSpace::Selected => run.rows.selected.len(),
    }
}
