//! What models with a segment memory need beside rows: tables when a session opens,
//! compression when a segment ends.

use super::Session;
use crate::error::RunError;
use crate::exec::Row;
use crate::graph::state::Lifetime;
use crate::graph::{Op, Role, Segments, Wiring};
use crate::model::Model;

/// Rows of a table that are worked out at a time.
const TABLE_ROWS: usize = 64;

/// Rows that a run of a model's table graph takes.
pub(super) fn table_rows(wiring: &Wiring) -> usize {
    let mut states = wiring.states.iter();
    match states.any(|kind| kind.lifetime() == Lifetime::Session) {
        true => TABLE_ROWS,
        false => 0,
    }
}

/// Most rows that a segment's end compresses a segment memory to.
pub(super) fn compressed_rows(wiring: &Wiring) -> usize {
    match wiring.segments {
        Some(Segments::Rows { rows, ratio, .. }) => rows.div_ceil(ratio) + 1,
        _ => 0,
    }
}

/// Most rows that a sequence's segment memory holds.
pub(super) fn kept_rows(wiring: &Wiring) -> usize {
    match wiring.segments {
        Some(Segments::Rows {
            len, compressed, ..
        }) => len + compressed,
        _ => 0,
    }
}

impl Session {
    /// Works out the session's tables.
    pub(super) fn fill_tables(&mut self) -> Result<(), RunError> {
        let Some(plan) = &self.plans.table else {
            return Ok(());
        };
        let count = self.state.layout().table_rows();
        for first in (0..count).step_by(TABLE_ROWS) {
            self.rows.clear(0, 0);
            for position in first..count.min(first + TABLE_ROWS) {
                self.rows.push_source(Row {
                    position: position as u64,
                    ..Row::default()
                });
            }
            self.walk(plan, &mut |_| {})?;
        }
        Ok(())
    }

    /// Refuses a feed of more rows than a batch, where batches would change what experts take.
    pub(super) fn check_together(&self, rows: usize) -> Result<(), RunError> {
        let batch = self.options.batch;
        if rows <= batch || !counts_together(&self.model) {
            return Ok(());
        }
        Err(RunError::Input(format!(
            "{} has experts that take but so many of the tokens that are fed together: {rows} are more than a \
             batch of {batch}, and cannot be cut",
            self.model.architecture().title
        )))
    }

    /// Where the batch that begins at row `start` ends: no sequence goes past the end of its
    /// segment.
    pub(super) fn batch_end(&mut self, rows: &[Row], start: usize) -> usize {
        let end = rows.len().min(start + self.options.batch);
        if self.model.segments().and_then(Segments::rows).is_none() {
            return end;
        }
        self.counts.fill(0);
        let full = |row: &Row| {
            let count = &mut self.counts[row.sequence as usize];
            *count += 1;
            let room = self.state.segment_room(row.sequence);
            room.is_some_and(|room| *count > room)
        };
        let cut = rows[start..end].iter().position(full);
        cut.map_or(end, |cut| start + cut)
    }

    /// Compresses the segment memory of the sequences whose segments a batch has filled.
    pub(super) fn end_full_segments(&mut self) -> Result<(), RunError> {
        if self.model.segments().and_then(Segments::rows).is_none() {
            return Ok(());
        }
        for sequence in 0..self.counts.len() {
            if self.counts[sequence] > 0 {
                self.end_full_segment(sequence as u32)?;
            }
        }
        Ok(())
    }

    fn end_full_segment(&mut self, sequence: u32) -> Result<(), RunError> {
        let start = self.state.segment(sequence);
        let Some(segments) = self.model.segments() else {
            return Ok(());
        };
        if segments.rows() != Some(self.state.len(sequence)? - start) {
            return Ok(());
        }
        let (_, compressed) = segments.compression(segments.evicted(start).len());
        self.push_numbered(sequence, compressed);
        let mut result = match &self.plans.compress {
            Some(plan) if compressed > 0 => self.walk(plan, &mut |_| {}),
            _ => Ok(()),
        };
        // From here on the segment's rows belong to the segment memory.
        self.state.begin_feed(sequence);
        if result.is_ok() {
            result = self.reproject(sequence);
        }
        if result.is_err() {
            self.state.interrupt(sequence);
        }
        result
    }

    /// Projects a sequence's segment memory with the weights of the layers that see it.
    fn reproject(&mut self, sequence: u32) -> Result<(), RunError> {
        let Some(segments) = self.model.segments() else {
            return Ok(());
        };
        let kept = segments.kept(self.state.segment(sequence));
        let count = kept.rows.len() + kept.compressed.len();
        self.push_numbered(sequence, count);
        match &self.plans.reproject {
            Some(plan) if count > 0 => self.walk(plan, &mut |_| {}),
            _ => Ok(()),
        }
    }

    /// Makes a run's rows so many of one sequence, which are told apart by their number.
    fn push_numbered(&mut self, sequence: u32, count: usize) {
        self.rows.clear(0, 0);
        for _ in 0..count {
            self.rows.push_source(Row {
                sequence,
                ..Row::default()
            });
        }
    }

    /// Ends a sequence's open segment before it is full, as the end of a feed does where a
    /// segment is what a feed brings. Where segments have a length, a shorter one leaves nothing
    /// behind: its rows are forgotten.
    ///
    /// # Errors
    /// No such sequence, or one that an abort has spoiled; an abort.
    pub fn end_segment(&mut self, sequence: u32) -> Result<(), RunError> {
        if self.state.drop_segment(sequence)? {
            let result = self.reproject(sequence);
            if result.is_err() {
                self.state.interrupt(sequence);
            }
            return result;
        }
        Ok(())
    }
}

/// Whether experts of a model's decoder take but so many of the rows that are fed together, as the
/// reference counts those of a call.
pub(crate) fn counts_together(model: &Model) -> bool {
    let mut nodes = model
        .graph(Role::Decode)
        .into_iter()
        .flat_map(|graph| &graph.nodes);
    nodes.any(|node| matches!(node.op, Op::LimitCapacity(_)))
}
