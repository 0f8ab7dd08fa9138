//! Memories of earlier segments: what is written to them, attention over them, and the outputs
//! of the models that have them.

use super::step::range;
use super::{Run, Tile};
use crate::graph::{
    Distances, HiddenMemory, MemoryOp, MemorySource, Op, SegmentMemory, SegmentRange, Segments,
    SinusoidFrequencies, StateId, StateKind, Value,
};
use crate::state::{HiddenLayout, MemoryLayout, PAGE, Ring};
use std::ops::Range;

/// Query rows that a worker claims at a time, for one head.
const QUERY_CHUNK: usize = 8;

/// Rows of an element-wise step that a worker claims at a time.
const ROW_CHUNK: usize = 4;

/// Into how many chunks an operation falls for this tile.
pub fn chunks(run: &Run<'_>, op: &MemoryOp, tile: &Tile) -> usize {
    let rows = tile.range.len();
    match op {
        MemoryOp::Recall { state, .. } => match run.state.layout().kind(state.0 as usize) {
            StateKind::SegmentMemory(memory) => rows.div_ceil(QUERY_CHUNK) * memory.heads,
            _ => 0,
        },
        _ => rows.div_ceil(ROW_CHUNK),
    }
}

/// Computes chunk `chunk` of what has a result.
pub fn run(run: &Run<'_>, node: usize, tile: &Tile, chunk: usize, out: Value) {
    let Op::Memory(op) = &run.plan.graph.nodes[node].op else {
        return;
    };
    if let MemoryOp::Recall { .. } = op {
        return recall(run, op, tile, chunk, out);
    }
    let width = run.plan.graph.info(out).width;
    for row in rows(tile, chunk) {
        // SAFETY: this row is this chunk's, and no operand of these operations lies in its bytes.
        let into = unsafe { run.row_mut(out, tile, row, 0..width) };
        match op {
            MemoryOp::Sinusoids { frequencies } => sinusoids(run, *frequencies, row, into),
            MemoryOp::Offset { x, vector } => {
                (run.kernels.add)(run.row(*x, tile, row), run.weights.vector(*vector), into);
            }
            MemoryOp::Leaving { layer, state } => leaving(run, (*layer, *state), row, into),
            MemoryOp::Remembered { layer, state } => {
                remembered(run, (*layer, *state), row, into);
            }
            MemoryOp::AdaptiveSoftmax {
                head,
                clusters,
                tails,
            } => {
                let get = |value: Value| run.row(value, tile, row);
                let clusters = clusters.map_or(&[][..], get);
                adaptive_softmax(get(*head), clusters, tails.iter().copied().map(get), into);
            }
            _ => {}
        }
    }
}

/// Computes chunk `chunk` of what only writes to state.
pub fn effect(run: &Run<'_>, op: &MemoryOp, tile: &Tile, chunk: usize) {
    for row in rows(tile, chunk) {
        match *op {
            MemoryOp::StoreTable { x, state } => store_table(run, tile, row, x, state),
            MemoryOp::Remember { k, v, state } => remember(run, tile, row, (k, v), state),
            MemoryOp::RememberHidden { x, layer, state } => {
                remember_hidden(run, tile, row, x, (layer, state));
            }
            MemoryOp::StoreCompressed { x, layer, state } => {
                store_compressed(run, tile, row, x, (layer, state));
            }
            MemoryOp::StoreRemembered { k, v, state } => {
                store_remembered(run, tile, row, (k, v), state);
            }
            _ => {}
        }
    }
}

fn rows(tile: &Tile, chunk: usize) -> Range<usize> {
    let rows = range(chunk, ROW_CHUNK, tile.range.len());
    rows.start + tile.range.start..rows.end + tile.range.start
}

fn sinusoids(run: &Run<'_>, frequencies: SinusoidFrequencies, row: usize, into: &mut [f32]) {
    // SinusoidFrequencies and products are rounded to f32 as the reference rounds them.
    let position = run.rows.facts[row].row.position as f32;
    let pairs = frequencies.pairs();
    let (sin, cos) = into.split_at_mut(pairs);
    for (pair, (sin, cos)) in sin.iter_mut().zip(cos).enumerate() {
        let frequency = match frequencies {
            SinusoidFrequencies::Usual { pairs } => {
                let exponent = (2 * pair) as f32 / (2 * pairs) as f32;
                1.0 / 10000f64.powf(f64::from(exponent)) as f32
            }
            SinusoidFrequencies::Stored(vector) => run.weights.vector(vector)[pair],
        };
        let (s, c) = f64::from(position * frequency).sin_cos();
        (*sin, *cos) = (s as f32, c as f32);
    }
}

fn store_table(run: &Run<'_>, tile: &Tile, row: usize, x: Value, state: StateId) {
    let from = run.row(x, tile, row);
    let place = run.rows.facts[row].row.position as usize;
    if place < run.state.layout().table_rows(state.0 as usize) {
        // SAFETY: the table has that many rows of this width, and this one is nobody else's.
        unsafe {
            let to = run.state.table_ptr(state.0 as usize);
            let to = to.add(place * from.len());
            std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len());
        }
    }
}

/// Writes one row's keys and values to their place.
fn remember(run: &Run<'_>, tile: &Tile, row: usize, kv: (Value, Value), state: StateId) {
    let facts = &run.rows.facts[row];
    let Some((memory, layout)) = run.state.layout().memory(state.0 as usize) else {
        return;
    };
    let (ring, place) = match memory.remembers {
        MemorySource::Kept => (layout.past, facts.slot),
        MemorySource::Projected | MemorySource::Nothing => {
            (layout.open, facts.slot - facts.segment)
        }
    };
    let to = (&memory, ring, place);
    write_pair(run, tile, row, kv, (state, facts.row.sequence), to);
}

/// Writes the keys and values of what a sequence remembers to their places.
fn store_remembered(run: &Run<'_>, tile: &Tile, row: usize, kv: (Value, Value), state: StateId) {
    let facts = &run.rows.facts[row];
    let sequence = facts.row.sequence;
    let Some((memory, layout)) = run.state.layout().memory(state.0 as usize) else {
        return;
    };
    let start = run.state.segment(sequence);
    let (ring, place) = match nth(memory.segments.remembered(start), facts.slot) {
        (true, place) => (layout.compressed, place),
        (false, place) => (layout.past, place),
    };
    write_pair(
        run,
        tile,
        row,
        kv,
        (state, sequence),
        (&memory, ring, place),
    );
}

/// Whether row `index` of what is remembered is a compressed one, and its number.
fn nth(remembered: SegmentRange, index: usize) -> (bool, usize) {
    let SegmentRange { rows, compressed } = remembered;
    match index.checked_sub(compressed.len()) {
        None => (true, compressed.start + index),
        Some(index) => (false, rows.start + index),
    }
}

/// Writes one row's keys and values into row `place` of a ring.
fn write_pair(
    run: &Run<'_>,
    tile: &Tile,
    row: usize,
    (k, v): (Value, Value),
    (state, sequence): (StateId, u32),
    (memory, ring, place): (&SegmentMemory, Ring, usize),
) {
    if ring.capacity == 0 {
        return;
    }
    let base = run.state.recurrent_ptr(state.0 as usize, sequence);
    let place = place % ring.capacity;
    for (half, value) in [k, v].into_iter().enumerate() {
        let heads = run.row(value, tile, row).chunks_exact(memory.head_dim);
        for (head, from) in heads.enumerate().take(memory.heads) {
            let to = (half * memory.heads + head) * ring.capacity + place;
            let to = ring.start + to * memory.head_dim;
            // SAFETY: a ring is 2 × heads × capacity rows of head_dim floats, and this row's
            // place in it is nobody else's.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), base.add(to), memory.head_dim) }
        }
    }
}

/// One layer's rows before their projection, in a sequence's state.
struct HiddenRows<'a> {
    run: &'a Run<'a>,
    hidden: HiddenMemory,
    layout: HiddenLayout,
    base: *mut f32,
    /// Whose memory they are now.
    memory: usize,
}

impl<'a> HiddenRows<'a> {
    /// Those of `layer` in the segment that begins at row `start`.
    fn of(
        run: &'a Run<'_>,
        state: StateId,
        sequence: u32,
        (layer, start): (usize, usize),
    ) -> Option<HiddenRows<'a>> {
        let (hidden, layout) = run.state.layout().hidden(state.0 as usize)?;
        let early = run.state.early(state.0 as usize, sequence);
        Some(HiddenRows {
            run,
            hidden,
            layout,
            base: run.state.recurrent_ptr(state.0 as usize, sequence),
            memory: hidden.memory(layer, start, early),
        })
    }

    fn place(&self, compressed: bool, row: usize) -> *mut f32 {
        let ring = match compressed {
            true => self.layout.compressed,
            false => self.layout.past,
        };
        let place = self.memory * ring.capacity + row % ring.capacity.max(1);
        // SAFETY: a ring is `capacity` rows of this width for each layer.
        unsafe { self.base.add(ring.start + place * self.hidden.width) }
    }

    fn read(&self, compressed: bool, row: usize) -> &'a [f32] {
        // SAFETY: one row; nobody writes to it during this step.
        unsafe { std::slice::from_raw_parts(self.place(compressed, row), self.hidden.width) }
    }

    fn write(&self, compressed: bool, row: usize, tile: &Tile, (x, from): (Value, usize)) {
        let from = self.run.row(x, tile, from);
        // SAFETY: one row, which is nobody else's.
        unsafe {
            let to = self.place(compressed, row);
            std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len());
        }
    }
}

fn remember_hidden(
    run: &Run<'_>,
    tile: &Tile,
    row: usize,
    x: Value,
    (layer, state): (usize, StateId),
) {
    let facts = &run.rows.facts[row];
    let of = (layer, facts.segment);
    if let Some(rows) = HiddenRows::of(run, state, facts.row.sequence, of) {
        rows.write(false, facts.slot, tile, (x, row));
    }
}

/// What becomes compressed row `row` of the segment that ends: as many rows as are compressed to
/// one, their elements side by side, as a convolution's weights are.
fn leaving(run: &Run<'_>, (layer, state): (usize, StateId), row: usize, into: &mut [f32]) {
    let facts = &run.rows.facts[row];
    let start = run.state.segment(facts.row.sequence);
    let Some(rows) = HiddenRows::of(run, state, facts.row.sequence, (layer, start)) else {
        return;
    };
    let ratio = into.len() / rows.hidden.width;
    let leaving = rows.hidden.segments.leaving(start);
    let (padding, _) = rows.hidden.segments.compression(leaving.len());
    for tap in 0..ratio {
        let from = (facts.slot * ratio + tap).checked_sub(padding);
        let from = from.map(|from| rows.read(false, leaving.start + from));
        for (element, into) in into.chunks_exact_mut(ratio).enumerate() {
            into[tap] = from.map_or(0.0, |from| from[element]);
        }
    }
}

fn store_compressed(
    run: &Run<'_>,
    tile: &Tile,
    row: usize,
    x: Value,
    (layer, state): (usize, StateId),
) {
    let facts = &run.rows.facts[row];
    let start = run.state.segment(facts.row.sequence);
    let Some(rows) = HiddenRows::of(run, state, facts.row.sequence, (layer, start)) else {
        return;
    };
    let segments = rows.hidden.segments;
    let place = segments.remembered(start).compressed.end + facts.slot;
    let end = start + segments.rows().unwrap_or(0);
    // Of more than are kept the first are not even written: they would fall on the last.
    if segments.remembered(end).compressed.contains(&place) {
        rows.write(true, place, tile, (x, row));
    }
}

/// Row `row` of what a layer remembers.
fn remembered(run: &Run<'_>, (layer, state): (usize, StateId), row: usize, into: &mut [f32]) {
    let facts = &run.rows.facts[row];
    let start = run.state.segment(facts.row.sequence);
    if let Some(rows) = HiddenRows::of(run, state, facts.row.sequence, (layer, start)) {
        let (compressed, place) = nth(rows.hidden.segments.remembered(start), facts.slot);
        into.copy_from_slice(rows.read(compressed, place));
    }
}

/// x − max − ln Σ exp(x − max) over the head's tokens and the clusters; a cluster's tokens the
/// same among themselves, plus the cluster's.
fn adaptive_softmax<'a>(
    head: &[f32],
    clusters: &[f32],
    tails: impl Iterator<Item = &'a [f32]>,
    out: &mut [f32],
) {
    let shift = log_sum(head.iter().chain(clusters));
    let (first, mut rest) = out.split_at_mut(head.len());
    for (out, x) in first.iter_mut().zip(head) {
        *out = shifted(*x, shift);
    }
    for (tail, cluster) in tails.zip(clusters) {
        let cluster = shifted(*cluster, shift);
        let shift = log_sum(tail.iter());
        let (part, more) = rest.split_at_mut(tail.len());
        for (out, x) in part.iter_mut().zip(tail) {
            *out = shifted(*x, shift) + cluster;
        }
        rest = more;
    }
}

fn shifted(x: f32, (largest, log): (f32, f32)) -> f32 {
    x - largest - log
}

/// The largest and ln Σ exp(x − largest).
fn log_sum<'a>(values: impl Iterator<Item = &'a f32> + Clone) -> (f32, f32) {
    let largest = values.clone().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = values.map(|x| f64::from((x - largest).exp())).sum();
    (largest, sum.ln() as f32)
}

/// One head of some rows against what their sequences remember.
fn recall(run: &Run<'_>, op: &MemoryOp, tile: &Tile, chunk: usize, out: Value) {
    let &MemoryOp::Recall {
        q,
        p,
        scale,
        distances,
        absent,
        state,
    } = op
    else {
        return;
    };
    let Some((memory, layout)) = run.state.layout().memory(state.0 as usize) else {
        return;
    };
    let (head, dim) = (chunk % memory.heads, memory.head_dim);
    let columns = head * dim..(head + 1) * dim;
    let rows = range(chunk / memory.heads, QUERY_CHUNK, tile.range.len());
    for row in rows.start + tile.range.start..rows.end + tile.range.start {
        let facts = &run.rows.facts[row];
        let mut query = Query {
            run,
            memory: &memory,
            head,
            base: run
                .state
                .recurrent_ptr(state.0 as usize, facts.row.sequence),
            query: &run.row(q, tile, row)[columns.clone()],
            place: &run.row(p, tile, row)[columns.clone()],
            distances,
            absent,
            scale,
            last: 0,
            largest: f32::NEG_INFINITY,
            sum: 0.0,
            // SAFETY: this row's columns of this head are this chunk's alone, and a query is
            // never overwritten by its result.
            out: unsafe { run.row_mut(out, tile, row, columns.clone()) },
        };
        query.out.fill(0.0);
        query.over(&layout, (facts.slot, facts.segment));
        if query.sum > 0.0 {
            let factor = 1.0 / query.sum;
            query.out.iter_mut().for_each(|x| *x *= factor);
        }
    }
}

/// One head of one row, and what it has seen so far.
struct Query<'a> {
    run: &'a Run<'a>,
    memory: &'a SegmentMemory,
    head: usize,
    /// The sequence's memory.
    base: *mut f32,
    query: &'a [f32],
    place: &'a [f32],
    distances: Distances,
    absent: Option<StateId>,
    scale: f32,
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
    fn over(&mut self, layout: &MemoryLayout, (slot, segment): (usize, usize)) {
        let here = slot as i64;
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
                } = self.memory.segments.remembered(segment);
                self.last = (rows + past.len() + compressed.len()).saturating_sub(1);
                let signed = |range: &Range<usize>| range.start as i64..range.end as i64;
                if layout.compressed.capacity > 0 {
                    let before = slot - past.start;
                    let end = compressed.end as i64;
                    let behind = move |row: i64| before + (end - row) as usize;
                    self.over_ring(layout.compressed, signed(&compressed), behind);
                }
                if self.memory.remembers != MemorySource::Nothing {
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
                let dot = self.run.kernels.dot;
                *score = self.scale * (dot(self.query, key) + dot(self.place, place));
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
                (self.run.kernels.axpy)(share, value, self.out);
            }
        }
    }

    /// Keys and values of rows before the first, and floats from one to the next.
    fn absent_rows(&self, table: StateId, count: usize) -> (&'a [f32], &'a [f32], usize) {
        let (dim, heads) = (self.memory.head_dim, self.memory.heads);
        let (width, base) = (2 * heads * dim, self.run.state.table_ptr(table.0 as usize));
        let of = |half: usize| {
            // SAFETY: the table has a tile's rows of this width, written when the session was
            // opened.
            unsafe {
                let first = base.add((half * heads + self.head) * dim);
                std::slice::from_raw_parts(first, (count - 1) * width + dim)
            }
        };
        (of(0), of(1), width)
    }

    /// What stands for a distance.
    fn position(&self, distance: usize) -> &'a [f32] {
        let (dim, heads) = (self.memory.head_dim, self.memory.heads);
        match self.distances {
            Distances::Table(table) => {
                let id = table.0 as usize;
                let row = distance.min(self.run.state.layout().table_rows(id).saturating_sub(1));
                let start = (row * heads + self.head) * dim;
                // SAFETY: the row is one of the table's, each of a head's floats for every head.
                unsafe {
                    let base = self.run.state.table_ptr(id);
                    std::slice::from_raw_parts(base.add(start), dim)
                }
            }
            Distances::Learned { table, positions } => {
                let row = self.head * positions + self.last.saturating_sub(distance);
                &self.run.weights.vector(table)[row * dim..(row + 1) * dim]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_of_all_tokens_add_up_to_one() {
        let (head, clusters) = ([0.3, -2.0, 88.0], [87.5, -100.0]);
        let tails: [&[f32]; 2] = [&[1.0, 2.0], &[-3.0, 0.0, 5.0]];
        let mut out = [0.0; 8];
        adaptive_softmax(&head, &clusters, tails.into_iter(), &mut out);
        let sum: f64 = out.iter().map(|x| f64::from(*x).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        assert!(out.iter().all(|x| x.is_finite()));
        // p(cluster 0) · p(first of it)
        let cluster = 1.0 / (1.0 + 0.5f64.exp());
        let expected = (cluster / (1.0 + 1f64.exp())).ln();
        assert!((f64::from(out[3]) - expected).abs() < 1e-5);
    }
}
