//! Which of a kernel's equal forms this CPU runs fastest, timed on the model's own rows.

use super::{Weight, Weights};
use crate::graph::RowOrder;
use crate::kernels::{Kernels, Layout, TunedRate, Tuning, time_packing, time_tunings};
use rillm_formats::manifest::DType;
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

    /// What is fastest with numbers of inputs at which packing begins to pay, timed on the largest
    /// matrix of each kind; `tuning`'s own where there is none that a cache would not hold, `None` if
    /// there is none of any kind.
    pub fn time_packing(&self, kernels: &Kernels, mut tuning: Tuning) -> Option<Tuning> {
        let mut largest: Vec<(&Weight, &[u8])> = Vec::new();
        for weight in &self.matrices {
            let Some(rows) = self.stored_rows(weight) else {
                continue;
            };
            // Floats of two and of four bytes are of one kind, as `PackFrom` has it.
            let kind = |dtype: DType| (dtype.block_len() / dtype.block_elements()).min(2);
            let same = |other: &&mut (&Weight, _)| kind(other.0.dtype) == kind(weight.dtype);
            match largest.iter_mut().find(same) {
                Some(other) if other.1.len() < rows.len() => *other = (weight, rows),
                Some(_) => {}
                None => largest.push((weight, rows)),
            }
        }
        let mut timed = None;
        for (weight, rows) in largest {
            let rows = (rows, weight.columns);
            if let Some(inputs) = time_packing(kernels, weight.dtype, rows, tuning) {
                *tuning.pack_from.of(weight.dtype) = inputs;
                timed = Some(tuning);
            }
        }
        timed
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
