//! Some heads of some rows that meet pages of keys, and what they have seen so far.

use super::super::run::StepContext;
use super::scratch::{Room, Scratch, most_queries};
use crate::graph::op::{RowBiases, Summaries};
use crate::graph::{Attention, Keys, PositionScheme, Value};
use crate::kernels::{Attend, Running};
use crate::state::{KvType, PAGE};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Chunks below which a tile is cut more finely.
const FEW_CHUNKS: usize = 8;

/// Heads that share keys and are not parted for that: each part reads all of the keys again.
const LEAST_HEADS: usize = 8;

/// How attention is cut: some rows, and some of the query heads that share a head of keys.
pub(super) struct AttentionCut {
    /// Of one head of keys.
    pub heads: usize,
    pub rows: usize,
    /// Into how many parts the query heads of a head of keys fall.
    pub parts: usize,
}

impl AttentionCut {
    pub(super) fn of(cx: &StepContext<'_>, attention: &Attention) -> AttentionCut {
        let most = most_queries(attention);
        let group = attention.heads / attention.kv_heads;
        let rows = cx.tile.len();
        let fair = |count: usize| (rows * count).div_ceil(FEW_CHUNKS);
        let heads = most.min(group).min(fair(attention.heads).max(LEAST_HEADS));
        // Rows of several sequences have no pages in common.
        let alike = cx.rows.facts.len() / cx.rows.groups.len().max(1);
        AttentionCut {
            heads,
            rows: (most / heads)
                .min(alike)
                .min(fair(attention.kv_heads))
                .max(1),
            parts: group.div_ceil(heads),
        }
    }
}

impl AttentionCut {
    /// Which rows and which head of keys a chunk is, its parts left out. Keys that are rows of the run
    /// lie a whole width apart, in more memory than the second cache holds: one head of them stays
    /// there for all rows of a text.
    pub(super) fn order(
        &self,
        cx: &StepContext<'_>,
        attention: &Attention,
        chunk: usize,
    ) -> (usize, usize) {
        let spans = cx.tile.len().div_ceil(self.rows);
        let alike = cx.rows.facts.len() / cx.rows.groups.len().max(1);
        match attention.keys {
            Keys::Rows if alike > self.rows => (chunk % spans, chunk / spans),
            Keys::Rows | Keys::Cache(_) | Keys::Cross(_) => {
                (chunk / attention.kv_heads, chunk % attention.kv_heads)
            }
        }
    }
}

/// Neighbours that are alike.
pub(super) fn alike<K: PartialEq>(
    rows: Range<usize>,
    of: impl Fn(usize) -> K,
) -> impl Iterator<Item = Range<usize>> {
    let mut first = rows.start;
    std::iter::from_fn(move || {
        let same = (first..rows.end).take_while(|&row| of(row) == of(first));
        let found = first..first + same.count();
        first = found.end;
        (!found.is_empty()).then_some(found)
    })
}

/// The shade of a page that all rows see.
pub(super) const ALL_SEEN: (bool, fn(usize, &mut [f32])) = (false, |_, _| {});

/// Some heads of some rows.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    pub cx: &'a StepContext<'a>,
    pub attention: &'a Attention,
    pub rows: &'a Range<usize>,
    pub heads: &'a Range<usize>,
    /// Whether rows that are global are seen by all.
    pub has_globals: bool,
    /// What is seen of blocks, beside rows.
    pub summaries: Option<&'a Summaries>,
    /// What rows themselves add to their scores.
    pub biases: Option<&'a RowBiases>,
}

/// Some heads of some rows, of each row its heads, and what they have seen so far.
pub(super) struct Queries<'a> {
    pub about: About<'a>,
    pub room: Room<'a>,
}

/// A page of keys and values.
pub(super) struct Page<'a> {
    pub kv_type: KvType,
    pub keys: &'a [u8],
    pub values: &'a [u8],
    pub value_stride: usize,
    pub value_in_key: Option<usize>,
    /// Entries that are there.
    pub count: usize,
    /// Where the page lies that comes next.
    pub next: Option<[*const u8; 2]>,
}

impl<'a> Queries<'a> {
    pub(super) fn begin(
        about: About<'a>,
        q: Value,
        scratch: &'a mut MaybeUninit<Scratch>,
    ) -> Queries<'a> {
        let (dim, scale) = (about.attention.head_dim, about.attention.scale);
        let room = Scratch::claim(scratch, about.rows.len() * about.heads.len(), dim);
        let mut into = room.queries.chunks_exact_mut(Attend::stride(dim));
        for row in about.rows.clone() {
            let from = about.cx.row(q, row);
            let from = &from[about.heads.start * dim..about.heads.end * dim];
            for (from, into) in from.chunks_exact(dim).zip(&mut into) {
                for (from, into) in from.iter().zip(into) {
                    *into = from * scale;
                }
            }
        }
        Queries { about, room }
    }

    pub(super) fn finish(&self) {
        let cx = self.about.cx;
        let About {
            attention, heads, ..
        } = self.about;
        let dim = attention.value_dim();
        let columns = heads.start * dim..heads.end * dim;
        let sinks = attention.sinks.map(|sinks| cx.weights.vector(sinks));
        let stride = Attend::stride(attention.head_dim);
        let results = self.room.results.chunks_exact(stride);
        let queries = self.room.queries.chunks_exact(stride);
        let mut results = results.zip(queries).zip(self.room.running.iter());
        for row in self.about.rows.clone() {
            // SAFETY: this row's columns of these heads are this chunk's alone; a query is
            // never overwritten by its result (the plan inherits element-wise results only).
            let out = unsafe { cx.row_mut(cx.out(), row, columns.clone()) };
            let of_heads = out.chunks_exact_mut(dim).zip(heads.clone());
            for ((out, head), ((result, query), running)) in of_heads.zip(&mut results) {
                if let Some(own) = self.about.own(row, head, query) {
                    add_own(out, (*running, result), own);
                    continue;
                }
                let factor = share(*running, sinks.map(|sinks| sinks[head]));
                for (out, result) in out.iter_mut().zip(result) {
                    *out = result * factor;
                }
            }
        }
    }

    /// Folds a page into the running softmaxes of some rows. `shade` adds to what a row's scores
    /// of the page's entries have added, −∞ for those that it does not see; the flag says whether
    /// it does anything.
    pub(super) fn fold(
        &mut self,
        rows: Range<usize>,
        page: &Page<'_>,
        shade: (bool, impl Fn(usize, &mut [f32])),
        position: impl Fn(usize) -> u64,
    ) {
        let about = self.about;
        let (attention, here) = (about.attention, |row: usize| about.place(row));
        self.fold_at(rows, page, shade, (&attention.position, here, position));
    }

    /// The same where rows and keys stand at other positions than their own.
    pub(super) fn fold_at(
        &mut self,
        rows: Range<usize>,
        page: &Page<'_>,
        (shades, shade): (bool, impl Fn(usize, &mut [f32])),
        (scheme, here, position): (
            &PositionScheme,
            impl Fn(usize) -> u64,
            impl Fn(usize) -> u64,
        ),
    ) {
        let About {
            cx,
            heads,
            attention,
            ..
        } = self.about;
        let first = (rows.start - self.about.rows.start) * heads.len();
        let queries = first..first + rows.len() * heads.len();
        let stride = Attend::stride(attention.head_dim);
        let plain = match scheme {
            PositionScheme::None | PositionScheme::Rope(_) => true,
            PositionScheme::Buckets(_) | PositionScheme::Alibi(_) => false,
        };
        let biased = !plain || shades || self.about.biases.is_some();
        let biases = &mut self.room.biases[queries.start * PAGE..queries.end * PAGE];
        if biased {
            let each = biases.chunks_exact_mut(heads.len() * PAGE);
            for (row, biases) in rows.zip(each) {
                let (shaded, others) = biases.split_at_mut(PAGE);
                shaded[..page.count].fill(0.0);
                shaded[page.count..].fill(f32::NEG_INFINITY);
                shade(row, &mut shaded[..page.count]);
                for other in others.chunks_exact_mut(PAGE) {
                    other.copy_from_slice(shaded);
                }
                let here = here(row);
                for (head, biases) in heads.clone().zip(biases.chunks_exact_mut(PAGE)) {
                    let biases = &mut biases[..page.count];
                    self.about
                        .add_bias(scheme, biases, (row, head, here), &position);
                }
            }
        }
        let call = Attend {
            kv_type: page.kv_type,
            keys: page.keys,
            values: page.values,
            value_stride: page.value_stride,
            dim: attention.head_dim,
            value_in_key: page.value_in_key,
            count: page.count,
            queries: &self.room.queries[queries.start * stride..queries.end * stride],
            softcap: attention.softcap,
            biases: biased.then_some(&*biases),
            next: page.next,
        };
        let scores = &mut self.room.scores[queries.start * PAGE..queries.end * PAGE];
        let results = &mut self.room.results[queries.start * stride..queries.end * stride];
        (cx.kernels.attend)(&call, scores, &mut self.room.running[queries], results);
    }
}

impl About<'_> {
    /// Whether a row looks at any of these positions.
    pub(super) fn sees(&self, row: usize, positions: &[u64], first: u64) -> bool {
        let here = self.cx.rows.facts[row].row.position;
        match self.attention.mask.window(here, first) {
            Some(window) => positions.iter().any(|at| here.saturating_sub(*at) < window),
            None => true,
        }
    }

    /// Where a row stands, as distances count it.
    pub(super) fn place(&self, row: usize) -> u64 {
        let facts = &self.cx.rows.facts[row];
        match self.attention.position.counts_columns() {
            true => facts.column.into(),
            false => facts.row.position,
        }
    }

    /// What positions do to scores; −∞ stays.
    pub(super) fn add_bias(
        &self,
        scheme: &PositionScheme,
        scores: &mut [f32],
        (row, head, here): (usize, usize, u64),
        position: impl Fn(usize) -> u64,
    ) {
        match scheme {
            PositionScheme::Buckets(buckets) => {
                let table = self.cx.weights.vector(buckets.table);
                for (key, score) in scores.iter_mut().enumerate() {
                    let distance = i128::from(position(key)) - i128::from(here);
                    *score += table[buckets.of(distance) * self.attention.heads + head];
                }
            }
            PositionScheme::Alibi(alibi) => {
                for (key, score) in scores.iter_mut().enumerate() {
                    *score += alibi.bias(head, here, position(key));
                }
            }
            PositionScheme::None | PositionScheme::Rope(_) => {}
        }
        if let Some(RowBiases {
            table, distances, ..
        }) = self.biases
        {
            let table = self.cx.row(*table, row);
            for (key, score) in scores.iter_mut().enumerate() {
                let distance = i128::from(position(key)) - i128::from(here);
                *score += table[distances.of(distance) * self.attention.heads + head];
            }
        }
    }

    /// What a query's score of its row's own key is, and the value behind it.
    fn own(&self, row: usize, head: usize, query: &[f32]) -> Option<(f32, &[f32])> {
        let biases = self.biases?;
        let (k, v) = biases.own?;
        let dim = self.attention.head_dim;
        let of_head = |value: Value| &self.cx.row(value, row)[head * dim..(head + 1) * dim];
        let products = query.iter().zip(of_head(k)).map(|(q, k)| q * k);
        let bucket = biases.distances.of(1);
        let bias = self.cx.row(biases.table, row)[bucket * self.attention.heads + head];
        Some((products.sum::<f32>() + bias, of_head(v)))
    }
}

/// What a query's sum of weighted values is multiplied by: one over the sum of weights, to which
/// the weight of a sink belongs. Who has seen nothing gets nothing.
fn share(running: Running, sink: Option<f32>) -> f32 {
    if running.sum == 0.0 {
        return 0.0;
    }
    // Relative to the largest score: that of a sink may be larger by far, its weight infinite.
    let sink = sink.map_or(0.0, |sink| (sink - running.max).exp());
    1.0 / (running.sum + sink)
}

/// A query's mean of values, of which one more has this score.
fn add_own(out: &mut [f32], (running, result): (Running, &[f32]), (score, value): (f32, &[f32])) {
    let most = running.max.max(score);
    let (others, own) = ((running.max - most).exp(), (score - most).exp());
    let factor = 1.0 / (running.sum * others + own);
    for ((out, result), value) in out.iter_mut().zip(result).zip(value) {
        *out = (result * others + value * own) * factor;
    }
}

/// Floats as the bytes that they are kept as.
pub(super) fn bytes(floats: &[f32]) -> &[u8] {
    // SAFETY: a float is four bytes, none of them uninitialised.
    unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), size_of_val(floats)) }
}
