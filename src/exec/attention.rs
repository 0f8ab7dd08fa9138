//! Softmax attention: history, cross and in-run keys through one loop over tiles of keys.

use super::{Run, Tile};
use crate::graph::{Attention, Keys, Mask, PositionScheme, StateId, Value};
use crate::kernels::{Attend, Running};
use crate::state::{HistoryType, PAGE};
use std::mem::MaybeUninit;
use std::ops::Range;

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
    let history = run.state.history();
    let len = history.row_len(head_dim).unwrap_or(0);
    for (half, value) in [k, v].into_iter().enumerate() {
        let from = run.row(value, tile, row);
        let heads = from.len() / head_dim;
        for (head, from) in from.chunks_exact(head_dim).enumerate() {
            let place = (half * heads + head) * PAGE + facts.place as usize;
            // SAFETY: a page holds 2 × heads × PAGE rows of `len` bytes, and this row's place in
            // it is nobody else's.
            let to = unsafe { std::slice::from_raw_parts_mut(base.add(place * len), len) };
            history.write(from, to);
        }
    }
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
            // SAFETY: a slot holds 2 × heads × positions × head_dim floats, and this row's place
            // in it is nobody else's.
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

/// Query heads whose running sums are kept side by side; of more that share a head of keys, so
/// many at a time.
const HEADS: usize = 16;

/// Queries `QUERY_CHUNK` at a time, all the query heads that share one head of keys: a tile of
/// keys and values is fetched once for all of them.
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
    let queries = queries.start + tile.range.start..queries.end + tile.range.start;
    let group = attention.heads / attention.kv_heads;
    let all = kv_head * group..(kv_head + 1) * group;
    for first in all.clone().step_by(HEADS) {
        let mut queries = Queries {
            run,
            tile,
            node,
            attention,
            q,
            out,
            rows: queries.clone(),
            heads: first..all.end.min(first + HEADS),
            running: [[Running::START; HEADS]; QUERY_CHUNK],
        };
        queries.clear();
        match (attention.keys, kv) {
            (Keys::History(state), _) => queries.over_history(state, kv_head),
            (Keys::Cross(state), _) => queries.over_cross(state, kv_head),
            (Keys::Rows, Some(kv)) => queries.over_rows(kv, kv_head),
            (Keys::Rows, None) => {}
        }
        queries.finish();
    }
}

fn into_scaled(out: &mut [f32], factor: f32) {
    out.iter_mut().for_each(|x| *x *= factor);
}

/// Some heads of some rows, and what they have seen so far.
struct Queries<'a> {
    run: &'a Run<'a>,
    tile: &'a Tile,
    node: usize,
    attention: &'a Attention,
    q: Value,
    out: Value,
    rows: Range<usize>,
    heads: Range<usize>,
    running: [[Running; HEADS]; QUERY_CHUNK],
}

/// Floats of keys and as many of values that are made of a history in smaller types at a time:
/// a page of heads as long as any published, in the nearest caches.
const WIDENED: usize = PAGE * 256;

/// Elements of a head that fit: longer ones cannot be kept in smaller types.
pub(crate) const LONGEST_HEAD: usize = WIDENED;

/// A tile of keys and values, and which of a sequence's they are.
#[derive(Clone, Copy)]
struct Keyed<'a> {
    keys: &'a [f32],
    values: &'a [f32],
    stride: usize,
    count: usize,
}

impl<'a> Queries<'a> {
    /// This row's columns of this head in the result.
    fn result(&self, row: usize, head: usize) -> &'a mut [f32] {
        let dim = self.attention.head_dim;
        let columns = head * dim..(head + 1) * dim;
        // SAFETY: this row's columns of this head are this chunk's alone; a query is never
        // overwritten by its result (the plan inherits element-wise results only), and no two
        // of these are alive at a time.
        unsafe { self.run.row_mut(self.out, self.tile, row, columns) }
    }

    fn clear(&self) {
        for row in self.rows.clone() {
            for head in self.heads.clone() {
                self.result(row, head).fill(0.0);
            }
        }
    }

    fn finish(&self) {
        for (row, running) in self.rows.clone().zip(&self.running) {
            for (head, running) in self.heads.clone().zip(running) {
                if running.sum > 0.0 {
                    into_scaled(self.result(row, head), 1.0 / running.sum);
                }
            }
        }
    }

    /// Rows of one sequence that stand together share its pages.
    fn over_history(&mut self, state: StateId, kv_head: usize) {
        let sequence = |row: usize| self.run.rows.facts[row].row.sequence;
        let mut first = self.rows.start;
        while first < self.rows.end {
            let same = (first..self.rows.end).take_while(|&row| sequence(row) == sequence(first));
            let end = first + same.count();
            self.over_pages(first..end, state, kv_head);
            first = end;
        }
    }

    fn over_pages(&mut self, rows: Range<usize>, state: StateId, kv_head: usize) {
        let run = self.run;
        let (dim, history) = (self.attention.head_dim, run.state.history());
        let seen = |row: usize| run.rows.facts[row].slot + 1;
        let most = rows.clone().map(seen).max().unwrap_or(0);
        let len = history.row_len(dim).unwrap_or(0);
        let half = self.attention.kv_heads * PAGE * len;
        // Not touched but where it is written: tiles are read from the page itself if that is
        // possible.
        let mut widened = [const { MaybeUninit::<f32>::uninit() }; 2 * WIDENED];
        let at_a_time = match history {
            HistoryType::F32 => PAGE,
            _ => (WIDENED / dim).clamp(1, PAGE),
        };
        let pages = run.state.pages(run.rows.facts[rows.start].row.sequence);
        for (index, &page) in pages.iter().enumerate().take(most.div_ceil(PAGE)) {
            let count = PAGE.min(most - index * PAGE);
            let base = run.state.page_ptr(state.0 as usize, page);
            // SAFETY: a page holds [k, v][head][PAGE] rows of `len` bytes and PAGE positions;
            // rows up to this one were written before the last barrier.
            let (keys, values, positions) = unsafe {
                let keys = base.add(kv_head * PAGE * len).cast_const();
                (
                    std::slice::from_raw_parts(keys, count * len),
                    std::slice::from_raw_parts(keys.add(half), count * len),
                    std::slice::from_raw_parts(run.state.positions_ptr(page), count),
                )
            };
            if !rows.clone().any(|row| self.sees(row, positions)) {
                continue;
            }
            for start in (0..count).step_by(at_a_time) {
                let part = start..count.min(start + at_a_time);
                let bytes = part.start * len..part.end * len;
                let (keys, values) = match floats(&keys[bytes.clone()], &values[bytes.clone()]) {
                    Some(both) if history == HistoryType::F32 => both,
                    _ => {
                        let (k, v) = widened.split_at_mut(WIDENED);
                        let read = |from: &[u8], to: &mut [MaybeUninit<f32>]| {
                            let to = &mut to[..part.len() * dim];
                            to.fill(MaybeUninit::new(0.0));
                            // SAFETY: every element was just written.
                            let to = unsafe {
                                std::slice::from_raw_parts_mut(to.as_mut_ptr().cast(), to.len())
                            };
                            history.read(run.kernels, from, dim, to);
                            &*to
                        };
                        (read(&keys[bytes.clone()], k), read(&values[bytes], v))
                    }
                };
                for row in rows.clone() {
                    let seen = seen(row).saturating_sub(index * PAGE + part.start);
                    let count = part.len().min(seen);
                    let keyed = Keyed {
                        keys: &keys[..count * dim],
                        values: &values[..count * dim],
                        stride: dim,
                        count,
                    };
                    self.attend(row, keyed, |key| positions[part.start + key]);
                }
            }
        }
    }

    /// Whether a row looks at any of these positions.
    fn sees(&self, row: usize, positions: &[u64]) -> bool {
        let here = self.run.rows.facts[row].row.position;
        match self.attention.mask {
            Mask::Causal {
                window: Some(window),
            } => positions.iter().any(|at| here.saturating_sub(*at) < window),
            _ => true,
        }
    }

    fn over_cross(&mut self, state: StateId, kv_head: usize) {
        let head_dim = self.attention.head_dim;
        let source = self.run.state.source();
        for row in self.rows.clone() {
            let sequence = self.run.rows.facts[row].row.sequence;
            let count = self.run.state.cross_len(sequence);
            let base = self.run.state.cross_ptr(state.0 as usize, sequence);
            // SAFETY: a slot holds [k, v][head][source][head_dim] floats, of which the
            // encoder's run wrote `count` ≤ source.
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
                let keyed = Keyed {
                    keys: &keys[floats.clone()],
                    values: &values[floats.clone()],
                    stride: head_dim,
                    count: floats.len() / head_dim,
                };
                self.attend(row, keyed, |key| (start + key) as u64);
            }
        }
    }

    fn over_rows(&mut self, (k, v): (Value, Value), kv_head: usize) {
        let head_dim = self.attention.head_dim;
        let run = self.run;
        let stride = |value: Value| run.plan.place(value).stride / size_of::<f32>();
        for row in self.rows.clone() {
            let group = run.rows.groups[run.rows.facts[row].group as usize];
            for start in (0..group.len).step_by(PAGE) {
                let count = PAGE.min(group.len - start);
                let first = group.first + start;
                let floats = |value: Value| {
                    let from = run.row_ptr(value, self.tile, first).cast::<f32>();
                    // SAFETY: the value holds every row of the run (the checker insists), so
                    // `count` rows from `first` on, of which this head's columns are read.
                    unsafe {
                        let len = (count - 1) * stride(value) + head_dim;
                        std::slice::from_raw_parts(from.add(kv_head * head_dim), len)
                    }
                };
                // Both halves of a fused projection have the same stride.
                let (keys, values) = (floats(k), floats(v));
                debug_assert_eq!(stride(k), stride(v));
                let keyed = Keyed {
                    keys,
                    values,
                    stride: stride(k),
                    count,
                };
                self.attend(row, keyed, |key| run.rows.facts[first + key].row.position);
            }
        }
    }

    /// Folds a tile of keys into a row's running softmaxes.
    fn attend(&mut self, row: usize, tile: Keyed<'_>, position: impl Fn(usize) -> u64) {
        let here = self.run.rows.facts[row].row.position;
        let mut masked = [0.0; PAGE];
        let masked = &mut masked[..tile.count];
        if let Mask::Causal {
            window: Some(window),
        } = self.attention.mask
        {
            for (key, score) in masked.iter_mut().enumerate() {
                if here.saturating_sub(position(key)) >= window {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
        if masked.iter().all(|score| *score == f32::NEG_INFINITY) {
            return;
        }
        let dim = self.attention.head_dim;
        for head in self.heads.clone() {
            let mut scores = [0.0; PAGE];
            let scores = &mut scores[..tile.count];
            scores.copy_from_slice(masked);
            self.add_bias(scores, head, here, &position);
            let call = Attend {
                query: &self.run.row(self.q, self.tile, row)[head * dim..(head + 1) * dim],
                keys: tile.keys,
                values: tile.values,
                key_stride: tile.stride,
                value_stride: tile.stride,
                scale: self.attention.scale,
                softcap: self.attention.softcap,
            };
            let out = self.result(row, head);
            let running = &mut self.running[row - self.rows.start][head - self.heads.start];
            (self.run.kernels.attend)(&call, scores, running, out);
        }
    }

    /// What positions do to scores; −∞ stays.
    fn add_bias(
        &self,
        scores: &mut [f32],
        head: usize,
        here: u64,
        position: impl Fn(usize) -> u64,
    ) {
        match &self.attention.position {
            PositionScheme::Buckets(buckets) => {
                let table = self.run.weights.vector(buckets.table);
                let lookup = &self.run.plan.buckets[self.node];
                let far = buckets.max_distance as i128;
                for (key, score) in scores.iter_mut().enumerate() {
                    let distance = i128::from(position(key)) - i128::from(here);
                    let bucket = lookup[(distance.clamp(-far, far) + far) as usize];
                    *score += table[bucket as usize * self.attention.heads + head];
                }
            }
            PositionScheme::Alibi(slopes) => {
                for (key, score) in scores.iter_mut().enumerate() {
                    *score += slopes[head] * (position(key) as f32 - here as f32);
                }
            }
            PositionScheme::None | PositionScheme::Rope(_) => {}
        }
    }
}

/// Keys and values that are floats already and stand where floats may: as they lie.
fn floats<'a>(keys: &'a [u8], values: &'a [u8]) -> Option<(&'a [f32], &'a [f32])> {
    // SAFETY: every pattern of bits is a float; a history is written in little-endian order,
    // which is this machine's if the second condition holds.
    let view = |bytes: &'a [u8]| match unsafe { bytes.align_to::<f32>() } {
        ([], floats, []) if cfg!(target_endian = "little") => Some(floats),
        _ => None,
    };
    Some((view(keys)?, view(values)?))
}
