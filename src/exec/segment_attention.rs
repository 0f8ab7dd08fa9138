//! Attention over a segment memory and the open segment.

use super::run::{Handles, Step, StepContext};
use crate::graph::op::SegmentAttention;
use crate::graph::state::Reads;
use crate::graph::{Distances, MemorySource, SegmentMemory, SegmentRange, Segments, SessionTable};
use crate::state::{Handle, MemoryLayout, PAGE, Ring};
use std::ops::Range;

/// Query rows that a worker claims at a time, for one head.
const QUERY_CHUNK: usize = 8;

impl Step for SegmentAttention {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        cx.tile.len().div_ceil(QUERY_CHUNK) * self.state.kind().heads
    }

    /// One head of some rows against their sequences' memories.
    fn run(&self, cx: &StepContext<'_>, states: Handles<'_, Self>, chunk: usize) {
        let (state, distances, absent) = states;
        let (memory, layout) = (state.kind(), state.layout());
        let (head, dim) = (chunk % memory.heads, memory.head_dim);
        let columns = head * dim..(head + 1) * dim;
        for row in cx.tile.chunk(chunk / memory.heads, QUERY_CHUNK) {
            let facts = &cx.rows.facts[row];
            let mut query = Query {
                cx,
                step: self,
                memory: &memory,
                head,
                base: state.base(facts.row.sequence),
                query: &cx.row(self.q, row)[columns.clone()],
                place: &cx.row(self.p, row)[columns.clone()],
                distances,
                absent,
                last: 0,
                largest: f32::NEG_INFINITY,
                sum: 0.0,
                // SAFETY: this row's columns of this head are this chunk's alone, and a query is
                // never overwritten by its result.
                out: unsafe { cx.row_mut(cx.out(), row, columns.clone()) },
            };
            query.out.fill(0.0);
            query.over(&layout, (facts.number, facts.segment));
            if query.sum > 0.0 {
                let factor = 1.0 / query.sum;
                query.out.iter_mut().for_each(|x| *x *= factor);
            }
        }
    }
}

/// One head of one row, and what it has seen so far.
struct Query<'a> {
    cx: &'a StepContext<'a>,
    step: &'a SegmentAttention,
    memory: &'a SegmentMemory,
    head: usize,
    /// The sequence's memory.
    base: *const f32,
    query: &'a [f32],
    place: &'a [f32],
    /// A row for each distance, if they are not learned.
    distances: Option<Handle<'a, Reads<SessionTable>>>,
    /// Keys and values of rows before the first, if those are not zeros.
    absent: Option<Handle<'a, Reads<SessionTable>>>,
    /// Learned position of distance 0.
    last: usize,
    /// Largest score so far.
    largest: f32,
    /// Σ exp(score − largest) so far.
    sum: f32,
    out: &'a mut [f32],
}

impl<'a> Query<'a> {
    /// Rows are numbered by their sequence, compressed ones among themselves; those before the
    /// first have negative numbers.
    fn over(&mut self, layout: &MemoryLayout, (number, segment): (usize, usize)) {
        let here = number as i64;
        let behind = move |row: i64| (here - row) as usize;
        match self.memory.segments {
            Segments::Sliding { len } => {
                self.over_ring(layout.past, here + 1 - len as i64..here + 1, behind);
            }
            Segments::Feed { len } => {
                self.over_ring(layout.past, segment as i64 - len as i64..here + 1, behind);
            }
            Segments::Rows { rows, .. } => {
                let SegmentRange {
                    rows: past,
                    compressed,
                } = self.memory.segments.kept(segment);
                self.last = (rows + past.len() + compressed.len()).saturating_sub(1);
                let signed = |range: &Range<usize>| range.start as i64..range.end as i64;
                if layout.compressed.capacity > 0 {
                    let before = number - past.start;
                    let end = compressed.end as i64;
                    let behind = move |row: i64| before + (end - row) as usize;
                    self.over_ring(layout.compressed, signed(&compressed), behind);
                }
                if self.memory.source != MemorySource::Nothing {
                    self.over_ring(layout.past, signed(&past), behind);
                }
                let place = here - segment as i64;
                let behind = move |row: i64| (place - row) as usize;
                self.over_ring(layout.open, 0..place + 1, behind);
            }
        }
    }

    /// Rows `rows` of a ring, in tiles that begin at multiples of a page whatever is seen.
    fn over_ring(&mut self, ring: Ring, rows: Range<i64>, distance: impl Fn(i64) -> usize) {
        const TILE: i64 = PAGE as i64;
        let dim = self.memory.head_dim;
        let mut first = rows.start.div_euclid(TILE) * TILE;
        while first < rows.end {
            let count = (rows.end - first).min(TILE) as usize;
            let masked = (rows.start - first).max(0) as usize;
            let (keys, values, stride) = match self.absent {
                Some(table) if first < 0 => self.absent_rows(table, count),
                _ => {
                    let place = first.rem_euclid(ring.capacity as i64) as usize;
                    let of = |half: usize| {
                        let head = half * self.memory.heads + self.head;
                        let start = ring.start + (head * ring.capacity + place) * dim;
                        // SAFETY: a ring is [k|v][head][capacity] rows of `dim` floats; its
                        // capacity is a multiple of a tile, so `count` rows from the beginning
                        // of one on are inside; the last barrier came after their writing.
                        unsafe { std::slice::from_raw_parts(self.base.add(start), count * dim) }
                    };
                    (of(0), of(1), dim)
                }
            };
            let mut scores = [f32::NEG_INFINITY; PAGE];
            let scores = &mut scores[..count];
            for (key, score) in scores.iter_mut().enumerate().skip(masked) {
                let place = self.position(distance(first + key as i64));
                let key = &keys[key * stride..][..dim];
                let dot = self.cx.kernels.dot;
                *score = self.step.scale * (dot(self.query, key) + dot(self.place, place));
            }
            self.fold(scores, values, stride);
            first += TILE;
        }
    }

    /// Folds a tile's values into the running softmax (Milakov & Gimelshein 2018); −∞ hides.
    fn fold(&mut self, scores: &[f32], values: &[f32], stride: usize) {
        let largest = scores.iter().copied().fold(self.largest, f32::max);
        if largest == f32::NEG_INFINITY {
            return;
        }
        let correction = (self.largest - largest).exp();
        self.largest = largest;
        self.sum *= correction;
        self.out.iter_mut().for_each(|x| *x *= correction);
        for (key, score) in scores.iter().enumerate() {
            let share = (score - largest).exp();
            self.sum += share;
            // A hidden row may be anything, NaN included.
            if share != 0.0 {
                let value = &values[key * stride..][..self.memory.head_dim];
                (self.cx.kernels.axpy)(share, value, self.out);
            }
        }
    }

    /// Keys and values of rows before the first, and floats from one to the next.
    fn absent_rows(
        &self,
        table: Handle<'a, Reads<SessionTable>>,
        count: usize,
    ) -> (&'a [f32], &'a [f32], usize) {
        let (dim, heads) = (self.memory.head_dim, self.memory.heads);
        let width = 2 * heads * dim;
        let of = |half: usize| {
            let first = (half * heads + self.head) * dim;
            &table.floats()[first..][..(count - 1) * width + dim]
        };
        (of(0), of(1), width)
    }

    /// What stands for a distance.
    fn position(&self, distance: usize) -> &'a [f32] {
        let (dim, heads) = (self.memory.head_dim, self.memory.heads);
        match (self.step.distances, self.distances) {
            (Distances::Table(_), Some(table)) => {
                let row = distance.min(table.rows().saturating_sub(1));
                &table.floats()[(row * heads + self.head) * dim..][..dim]
            }
            (Distances::Learned { table, positions }, _) => {
                let row = self.head * positions + self.last.saturating_sub(distance);
                &self.cx.weights.vector(table)[row * dim..(row + 1) * dim]
            }
            (Distances::Table(_), None) => unreachable!("a table of distances is declared"),
        }
    }
}
