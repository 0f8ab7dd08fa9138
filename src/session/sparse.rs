//! What sparse attention needs to know of an encoder's rows: their columns, and which are global.

use super::Session;
use crate::error::RunError;
use crate::exec::{Columns, RandomBlocks, Row, Stand};
use crate::graph::{BlockSparse, Mask, Op, Role};
use crate::model::Model;
use std::ops::Range;

/// The layers of a model that see blocks, and their heads.
fn block_sparse(model: &Model) -> impl Iterator<Item = (BlockSparse, usize)> {
    let graph = model.graph(Role::Encode).into_iter();
    let ops = graph.flat_map(|graph| &graph.nodes).map(|node| &node.op);
    ops.filter_map(|op| match op {
        Op::SoftmaxAttention(step) => match step.attention.mask {
            Mask::Blocks(sparse) => Some((sparse, step.attention.heads)),
            _ => None,
        },
        _ => None,
    })
}

/// The random blocks of a model's layers.
///
/// # Errors
/// There are none, or too many.
pub(super) fn random_blocks(model: &Model) -> Result<RandomBlocks, RunError> {
    let title = model.architecture().title;
    if block_sparse(model).next().is_none() {
        let what = format!("random attention is asked for, but {title} has none");
        return Err(RunError::Input(what));
    }
    let drawn = RandomBlocks::draw(block_sparse(model), model.limits().source_positions)?;
    drawn.ok_or_else(|| {
        let what = format!("this {title} has too many blocks to draw random ones");
        RunError::Input(what)
    })
}

impl Session {
    /// Makes `range` of these rows the run's; sequences stand in whole.
    pub(super) fn push_sources(
        &mut self,
        rows: &[Row],
        range: Range<usize>,
        columns: Option<Columns<'_>>,
    ) -> Result<(), RunError> {
        let mut start = range.start;
        while start < range.end {
            let sequence = rows[start].sequence;
            let same = rows[start..range.end].iter();
            let count = same.take_while(|row| row.sequence == sequence).count();
            let column =
                |at: usize| columns.map_or(at as u32, |columns| columns.of_rows[start + at]);
            let width = columns.map_or(count as u32, |columns| columns.width);
            let random = self.rows.random_blocks.as_ref();
            if random.is_some_and(|random| !random.serve(width)) {
                let what = format!("no random blocks can be drawn for {width} columns");
                return Err(RunError::Input(what));
            }
            let rows = &rows[start..start + count];
            let globals = self.globals(rows, column)?;
            for (at, &row) in rows.iter().enumerate() {
                let column = column(at);
                let is_global = row.global.unwrap_or(globals.contains(&column));
                self.rows.push_source_at(row, Stand { column, is_global });
            }
            self.rows.pad_to(width);
            start += count;
        }
        Ok(())
    }

    /// The columns of a sequence that are global unless its rows say otherwise.
    fn globals(&self, rows: &[Row], column: impl Fn(usize) -> u32) -> Result<Range<u32>, RunError> {
        let usual = self.model.global_rows();
        let Some(usual) = usual.filter(|_| rows.iter().any(|row| row.global.is_none())) else {
            return Ok(0..0);
        };
        let tokens = rows.iter().enumerate();
        let tokens = tokens.map(|(at, row)| (column(at), row.token));
        usual.columns(tokens).map_err(|(separator, count)| {
            let sequence = rows.first().map_or(0, |row| row.sequence);
            RunError::Input(format!(
                "sequence {sequence} has {count} separators (token {separator}), expected three, \
                 which tell question and text apart: say otherwise which rows are global"
            ))
        })
    }
}
