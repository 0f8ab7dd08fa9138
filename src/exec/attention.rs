//! Softmax attention: history, cross and in-run keys through one loop over tiles of keys.

use super::rows::Facts;
use super::{Run, Tile};
use crate::graph::{Attention, Keys, Mask, PositionScheme, StateId, Value};
use crate::kernels::{Attend, Running};
use crate::state::PAGE;

/// Query rows that a worker claims at a time, for one head of keys.
const QUERY_CHUNK: usize = 8;

/// Into how many chunks a tile's queries fall.
pub fn chunks(attention: &Attention, tile: &Tile) -> usize {
    tile.range.len().div_ceil(QUERY_CHUNK) * attention.kv_heads
}

/// Writes one row's keys and values to its page.
pub fn store(run: &Run<'_>, tile: &Tile, row: usize, (k, v): (Value, Value), state: StateId) {
    let facts = &run.rows.facts[row];
    let base = run.state.page_ptr(state.0 as usize, facts.page);
    let head_dim = kv_head_dim(run, state);
    let heads = run.plan.graph.info(k).width / head_dim;
    write_heads(
        run,
        tile,
        row,
        (k, v),
        base,
        (heads, head_dim, PAGE, facts.place as usize),
    );
}

/// Writes one encoder row's projected keys and values to its sequence's slot.
pub fn store_cross(run: &Run<'_>, tile: &Tile, row: usize, (k, v): (Value, Value), state: StateId) {
    let facts = &run.rows.facts[row];
    let base = run.state.cross_ptr(state.0 as usize, facts.row.sequence);
    let head_dim = kv_head_dim(run, state);
    let heads = run.plan.graph.info(k).width / head_dim;
    let layout = (heads, head_dim, run.state.source(), facts.slot);
    write_heads(run, tile, row, (k, v), base, layout);
}

/// Order: `[k or v][head][position][head_dim]`.
fn write_heads(
    run: &Run<'_>,
    tile: &Tile,
    row: usize,
    (k, v): (Value, Value),
    base: *mut f32,
    (heads, head_dim, positions, place): (usize, usize, usize, usize),
) {
    for (half, value) in [k, v].into_iter().enumerate() {
        let from = run.row(value, tile, row);
        for (head, from) in from.chunks_exact(head_dim).enumerate() {
            let offset = ((half * heads + head) * positions + place) * head_dim;
            // SAFETY: a page or slot holds 2 × heads × positions × head_dim floats, and this
            // row's place in it is nobody else's.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), base.add(offset), head_dim) }
        }
    }
}

fn kv_head_dim(run: &Run<'_>, state: StateId) -> usize {
    match run.state.layout().kind(state.0 as usize) {
        crate::graph::StateKind::Kv { head_dim, .. }
        | crate::graph::StateKind::Cross { head_dim, .. } => head_dim,
        _ => 1,
    }
}

/// Queries `QUERY_CHUNK` at a time, all the query heads that share one head of keys.
pub fn run(
    run: &Run<'_>,
    node: usize,
    tile: &Tile,
    chunk: usize,
    (q, kv, out): (Value, Option<(Value, Value)>, Value),
    attention: &Attention,
) {
    let kv_head = chunk % attention.kv_heads;
    let queries = super::step::range(chunk / attention.kv_heads, QUERY_CHUNK, tile.range.len());
    let group = attention.heads / attention.kv_heads;
    for row in queries.start + tile.range.start..queries.end + tile.range.start {
        for head in kv_head * group..(kv_head + 1) * group {
            let columns = head * attention.head_dim..(head + 1) * attention.head_dim;
            // SAFETY: this row's columns of this head are this chunk's alone; a query is never
            // overwritten by its result (the plan inherits element-wise results only).
            let into = unsafe { run.row_mut(out, tile, row, columns.clone()) };
            into.fill(0.0);
            let mut query = Query {
                run,
                tile,
                node,
                attention,
                facts: &run.rows.facts[row],
                head,
                vector: &run.row(q, tile, row)[columns],
                running: Running::START,
                out: into,
            };
            match (attention.keys, kv) {
                (Keys::History(state), _) => query.over_history(state, kv_head),
                (Keys::Cross(state), _) => query.over_cross(state, kv_head),
                (Keys::Rows, Some(kv)) => query.over_rows(kv, kv_head),
                (Keys::Rows, None) => {}
            }
            let sum = query.running.sum;
            if sum > 0.0 {
                into_scaled(query.out, 1.0 / sum);
            }
        }
    }
}

fn into_scaled(out: &mut [f32], factor: f32) {
    out.iter_mut().for_each(|x| *x *= factor);
}

/// One head of one row, and what it has seen so far.
struct Query<'a> {
    run: &'a Run<'a>,
    tile: &'a Tile,
    node: usize,
    attention: &'a Attention,
    facts: &'a Facts,
    head: usize,
    vector: &'a [f32],
    running: Running,
    out: &'a mut [f32],
}

impl Query<'_> {
    fn over_history(&mut self, state: StateId, kv_head: usize) {
        let head_dim = self.attention.head_dim;
        let half = self.attention.kv_heads * PAGE * head_dim;
        let seen = self.facts.slot + 1;
        let pages = self.run.state.pages(self.facts.row.sequence);
        for (index, &page) in pages.iter().enumerate().take(seen.div_ceil(PAGE)) {
            let count = PAGE.min(seen - index * PAGE);
            let base = self.run.state.page_ptr(state.0 as usize, page);
            // SAFETY: a page holds [k, v][head][PAGE][head_dim] floats and PAGE positions; rows
            // up to this one were written before the last barrier.
            let (keys, values, positions) = unsafe {
                let keys = base.add(kv_head * PAGE * head_dim);
                (
                    std::slice::from_raw_parts(keys, count * head_dim),
                    std::slice::from_raw_parts(keys.add(half), count * head_dim),
                    std::slice::from_raw_parts(self.run.state.positions_ptr(page), count),
                )
            };
            self.attend(keys, values, head_dim, count, |key| positions[key]);
        }
    }

    fn over_cross(&mut self, state: StateId, kv_head: usize) {
        let head_dim = self.attention.head_dim;
        let source = self.run.state.source();
        let count = self.run.state.cross_len(self.facts.row.sequence);
        let base = self
            .run
            .state
            .cross_ptr(state.0 as usize, self.facts.row.sequence);
        // SAFETY: a slot holds [k, v][head][source][head_dim] floats, of which the encoder's
        // run wrote `count` ≤ source.
        let (keys, values) = unsafe {
            let keys = base.add(kv_head * source * head_dim);
            let half = self.attention.kv_heads * source * head_dim;
            (
                std::slice::from_raw_parts(keys, count * head_dim),
                std::slice::from_raw_parts(keys.add(half), count * head_dim),
            )
        };
        for start in (0..count).step_by(PAGE) {
            let floats = start * head_dim..count.min(start + PAGE) * head_dim;
            let tile = floats.len() / head_dim;
            self.attend(
                &keys[floats.clone()],
                &values[floats],
                head_dim,
                tile,
                |key| (start + key) as u64,
            );
        }
    }

    fn over_rows(&mut self, (k, v): (Value, Value), kv_head: usize) {
        let head_dim = self.attention.head_dim;
        let run = self.run;
        let group = run.rows.groups[self.facts.group as usize];
        let stride = |value: Value| run.plan.place(value).stride / size_of::<f32>();
        for start in (0..group.len).step_by(PAGE) {
            let count = PAGE.min(group.len - start);
            let first = group.first + start;
            let floats = |value: Value| {
                let from = run.row_ptr(value, self.tile, first).cast::<f32>();
                // SAFETY: the value holds every row of the run (the checker insists), so `count`
                // rows from `first` on, of which this head's columns are read.
                unsafe {
                    let len = (count - 1) * stride(value) + head_dim;
                    std::slice::from_raw_parts(from.add(kv_head * head_dim), len)
                }
            };
            // Both halves of a fused projection have the same stride.
            let (keys, values) = (floats(k), floats(v));
            debug_assert_eq!(stride(k), stride(v));
            self.attend(keys, values, stride(k), count, |key| {
                run.rows.facts[first + key].row.position
            });
        }
    }

    /// Folds `count` keys into the running softmax.
    fn attend(
        &mut self,
        keys: &[f32],
        values: &[f32],
        stride: usize,
        count: usize,
        position: impl Fn(usize) -> u64,
    ) {
        let mut scores = [0.0; PAGE];
        let scores = &mut scores[..count];
        let here = self.facts.row.position;
        if let PositionScheme::Buckets(buckets) = &self.attention.position {
            let table = self.run.weights.vector(buckets.table);
            let lookup = &self.run.plan.buckets[self.node];
            let far = buckets.max_distance as i128;
            for (key, score) in scores.iter_mut().enumerate() {
                let distance = i128::from(position(key)) - i128::from(here);
                let bucket = lookup[(distance.clamp(-far, far) + far) as usize];
                *score = table[bucket as usize * self.attention.heads + self.head];
            }
        }
        if let PositionScheme::Alibi(slopes) = &self.attention.position {
            let slope = slopes[self.head];
            for (key, score) in scores.iter_mut().enumerate() {
                *score = slope * (position(key) as f32 - here as f32);
            }
        }
        if let Mask::Causal {
            window: Some(window),
        } = self.attention.mask
        {
            let mut seen = false;
            for (key, score) in scores.iter_mut().enumerate() {
                if here.saturating_sub(position(key)) >= window {
                    *score = f32::NEG_INFINITY;
                } else {
                    seen = true;
                }
            }
            if !seen {
                return;
            }
        }
        let tile = Attend {
            query: self.vector,
            keys,
            values,
            key_stride: stride,
            value_stride: stride,
            scale: self.attention.scale,
            softcap: self.attention.softcap,
        };
        (self.run.kernels.attend)(&tile, scores, &mut self.running, self.out);
    }
}
