//! Rotary positions: a table of angles for a run's rows, and heads turned by it.

use super::run::{RowStep, StepContext};
use crate::graph::Divisors;
use crate::graph::op::{RopeTable, Rotate};

impl RowStep for RopeTable {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        let (rope, length) = (&self.rope, cx.rows.length);
        let divisors = rope.divisors(length).map(|found| match found {
            Divisors::Numbers(numbers) => &numbers[..],
            Divisors::Tensor(vector) => cx.weights.vector(*vector),
        });
        let pairs = rope.dims() / 2;
        let (cos, sin) = out.split_at_mut(pairs);
        let position = cx.rows.facts[row].row.position;
        for pair in 0..pairs {
            let divisor = divisors.map_or(1.0, |divisors| divisors[pair]);
            let frequency = rope.frequency(pair, length) / divisor;
            let (s, c) = rope.angle(frequency, position).sin_cos();
            cos[pair] = c as f32 * rope.magnitude;
            sin[pair] = s as f32 * rope.magnitude;
        }
    }
}

impl RowStep for Rotate {
    fn row(&self, cx: &StepContext<'_>, row: usize, out: &mut [f32]) {
        cx.copy_row(self.x, row, out);
        let table = cx.row(self.table, row);
        let (cos, sin) = table.split_at(table.len() / 2);
        for head in out.chunks_exact_mut(self.head_dim) {
            (cx.kernels.rotate)(head, cos, sin, self.pairing);
        }
    }
}
