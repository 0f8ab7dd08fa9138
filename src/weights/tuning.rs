//! Which of a kernel's equal forms this CPU runs fastest, timed on the model's own rows.

use super::{Weight, Weights};
use crate::graph::RowOrder;
use crate::kernels::{Kernels, Layout, TunedRate, Tuning, time_tunings};
use std::time::Duration;

impl Weights {
    /// Gives every product the same tuning.
    pub fn tune(&mut self, tuning: Tuning) {
        for weight in &mut self.matrices {
            weight.kernel.tuning = tuning;
        }
    }

    /// Times a table's candidates on the largest matrix; `None` if there is nothing to choose, or it
    /// would fit into a cache.
    pub fn time_tunings(&self, kernels: &Kernels, patience: Duration) -> Option<Vec<TunedRate>> {
        let stored = self.matrices.iter().filter_map(|weight| {
            let rows = self.stored_rows(weight)?;
            Some((weight, rows))
        });
        let (weight, rows) = stored.max_by_key(|(_, rows)| rows.len())?;
        time_tunings(kernels, weight.dtype, (rows, weight.columns), patience)
    }

    /// Rows that follow each other in one file, as they lie.
    fn stored_rows(&self, weight: &Weight) -> Option<&[u8]> {
        if weight.layout != Layout::Rows || weight.order != RowOrder::All {
            return None;
        }
        let part = weight.parts.first()?;
        let len = weight.part_rows.checked_mul(weight.stride)?;
        let bytes = self.sources.get(part.file)?.bytes();
        bytes.get(part.start..part.start.checked_add(len)?)
    }
}
