//! What sparse attention needs to know of an encoder's rows: their columns, and which are global.

use super::Session;
use crate::error::RunError;
use crate::exec::{Row, Stand};
use std::ops::Range;

impl Session {
    /// Makes `range` of these rows the run's; sequences stand in whole.
    pub(super) fn push_sources(
        &mut self,
        rows: &[Row],
        range: Range<usize>,
        columns: Option<&[u32]>,
    ) -> Result<(), RunError> {
        let mut start = range.start;
        while start < range.end {
            let sequence = rows[start].sequence;
            let same = rows[start..range.end].iter();
            let count = same.take_while(|row| row.sequence == sequence).count();
            let column = |at: usize| columns.map_or(at as u32, |columns| columns[start + at]);
            let rows = &rows[start..start + count];
            let globals = self.globals(rows, column)?;
            for (at, &row) in rows.iter().enumerate() {
                let column = column(at);
                let is_global = row.global.unwrap_or(globals.contains(&column));
                self.rows.push_source_at(row, Stand { column, is_global });
            }
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
