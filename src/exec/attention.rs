//! Softmax attention: the KV cache, an encoder's keys and those of the run go through one loop over
//! pages of keys.

mod blocks;
mod disentangled;
mod rows;
mod scratch;
mod summaries;

use super::run::{Handles, Step, StepContext, range};
use crate::graph::op::{SoftmaxAttention, StoreCross, StoreKv, Summaries};
use crate::graph::state::Reads;
use crate::graph::{Attention, CachedValues, CrossCache, KvCache, PositionScheme, Value};
use crate::kernels::{Attend, KvHalf, Running};
use crate::state::{Handle, KvType, PAGE};
use scratch::{Room, Scratch};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Elements of the longest head there may be. Keys in rows are turned into pages of so many.
pub(crate) const LONGEST_HEAD: usize = 1024;

/// Chunks below which a tile is cut more finely.
const FEW_CHUNKS: usize = 8;

/// Heads that share keys and are not parted for that: each part reads all of the keys again.
const LEAST_HEADS: usize = 8;

/// Rows whose keys and values a worker stores at a time, for one head: a page's worth, for
/// neighbours share cache lines.
const STORE_CHUNK: usize = PAGE;

/// How attention is cut: some rows, and some of the query heads that share a head of keys.
struct AttentionCut {
    /// Of one head of keys.
    heads: usize,
    rows: usize,
    /// Into how many parts the query heads of a head of keys fall.
    parts: usize,
}

impl AttentionCut {
    fn of(cx: &StepContext<'_>, attention: &Attention) -> AttentionCut {
        let most = scratch::most_queries(attention);
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

/// Into how many chunks the storing of a tile's keys and values falls.
fn store_chunks(cx: &StepContext<'_>, kv_heads: usize) -> usize {
    match cx.tile.len() {
        // So little that a second worker would only have to be waited for.
        1 => 1,
        rows => rows.div_ceil(STORE_CHUNK) * kv_heads,
    }
}

/// Writes some rows' keys and values of one head to their pages; those of all heads, of a single
/// row. `place` says where the page of a row begins, and which of its places is the row's.
fn store(
    cx: &StepContext<'_>,
    chunk: usize,
    (k, v): (Value, Option<Value>),
    (kv_type, kv_heads, head_dim): (KvType, usize, usize),
    place: impl Fn(usize) -> (*mut u8, usize),
) {
    let (heads, rows) = match cx.tile.len() {
        1 => (0..kv_heads, 0),
        _ => (chunk % kv_heads..chunk % kv_heads + 1, chunk / kv_heads),
    };
    let len = kv_type.row_len(head_dim).unwrap_or(0) * PAGE;
    for row in cx.tile.chunk(rows, STORE_CHUNK) {
        let (page, place) = place(row);
        for head in heads.clone() {
            let values = v.map(|v| (KvHalf::Values, v, kv_heads + head));
            for (half, value, index) in [(KvHalf::Keys, k, head)].into_iter().chain(values) {
                let values = &cx.row(value, row)[head * head_dim..(head + 1) * head_dim];
                // SAFETY: a page holds kv_heads blocks of PAGE keys, and as many of values if there
                // are some; this row's place in it is nobody else's.
                unsafe { kv_type.store(half, values, page.add(index * len), place) };
            }
        }
    }
}

impl Step for StoreKv {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        store_chunks(cx, self.state.kind().kv_heads)
    }

    fn run(&self, cx: &StepContext<'_>, cache: Handles<'_, Self>, chunk: usize) {
        let KvCache {
            kv_heads, head_dim, ..
        } = cache.kind();
        let heads = (cache.kv_type(), kv_heads, head_dim);
        store(cx, chunk, (self.k, self.v), heads, |row| {
            let facts = &cx.rows.facts[row];
            (cache.page(facts.page), facts.place as usize)
        });
    }
}

impl Step for StoreCross {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        store_chunks(cx, self.state.kind().kv_heads)
    }

    fn run(&self, cx: &StepContext<'_>, cache: Handles<'_, Self>, chunk: usize) {
        let CrossCache { kv_heads, head_dim } = cache.kind();
        let heads = (KvType::F32, kv_heads, head_dim);
        store(cx, chunk, (self.k, Some(self.v)), heads, |row| {
            let facts = &cx.rows.facts[row];
            let page = cache.page(facts.row.sequence, facts.number / PAGE);
            (page, facts.number % PAGE)
        });
    }
}

impl Step for SoftmaxAttention {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        let cut = AttentionCut::of(cx, &self.attention);
        cx.tile.len().div_ceil(cut.rows) * self.attention.kv_heads * cut.parts
    }

    /// Some rows, and query heads that share one head of keys: each page is fetched once for all
    /// of them.
    fn run(&self, cx: &StepContext<'_>, caches: Handles<'_, Self>, chunk: usize) {
        let attention = &self.attention;
        let cut = AttentionCut::of(cx, attention);
        let (chunk, part) = (chunk / cut.parts, chunk % cut.parts);
        let kv_head = chunk % attention.kv_heads;
        let rows = cx.tile.chunk(chunk / attention.kv_heads, cut.rows);
        let group = attention.heads / attention.kv_heads;
        let of_group = range(part, cut.heads, group);
        let heads = kv_head * group + of_group.start..kv_head * group + of_group.end;
        let about = About {
            cx,
            attention,
            rows: &rows,
            heads: &heads,
            has_globals: self.global.is_some(),
            summaries: self.summaries.as_ref(),
        };
        // Not touched but where it is used.
        let mut scratch = MaybeUninit::<Scratch>::uninit();
        let is_global = |row: usize| self.global.is_some() && cx.rows.facts[row].is_global;
        if !rows.clone().all(is_global) {
            let mut queries = Queries::begin(about, self.q, &mut scratch);
            match (caches, self.kv) {
                ((Some(cache), _), _) => queries.over_cache(cache, kv_head),
                ((None, Some(cache)), _) => queries.over_cross(cache, kv_head),
                ((None, None), Some((k, Some(v)))) => queries.over_rows((k, v), kv_head),
                // Nothing is seen.
                ((None, None), Some((_, None)) | None) => {}
            }
            queries.finish();
        }
        // Over what they have just been given with the others.
        let Some([q, k, v]) = self.global else {
            return;
        };
        for rows in alike(rows.clone(), is_global).filter(|rows| is_global(rows.start)) {
            let about = About {
                rows: &rows,
                ..about
            };
            let mut queries = Queries::begin(about, q, &mut scratch);
            queries.over_all_rows((k, v), kv_head);
            queries.finish();
        }
    }
}

/// Neighbours that are alike.
fn alike<K: PartialEq>(
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
const ALL_SEEN: (bool, fn(usize, &mut [f32])) = (false, |_, _| {});

/// Some heads of some rows.
#[derive(Clone, Copy)]
struct About<'a> {
    cx: &'a StepContext<'a>,
    attention: &'a Attention,
    rows: &'a Range<usize>,
    heads: &'a Range<usize>,
    /// Whether rows that are global are seen by all.
    has_globals: bool,
    /// What is seen of blocks, beside rows.
    summaries: Option<&'a Summaries>,
}

/// Some heads of some rows, of each row its heads, and what they have seen so far.
struct Queries<'a> {
    about: About<'a>,
    room: Room<'a>,
}

/// A page of keys and values.
struct Page<'a> {
    kv_type: KvType,
    keys: &'a [u8],
    values: &'a [u8],
    value_stride: usize,
    value_in_key: Option<usize>,
    /// Entries that are there.
    count: usize,
    /// Where the page lies that comes next.
    next: Option<[*const u8; 2]>,
}

impl<'a> Queries<'a> {
    fn begin(about: About<'a>, q: Value, scratch: &'a mut MaybeUninit<Scratch>) -> Queries<'a> {
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

    fn finish(&self) {
        let cx = self.about.cx;
        let About {
            attention, heads, ..
        } = self.about;
        let dim = attention.value_dim();
        let columns = heads.start * dim..heads.end * dim;
        let sinks = attention.sinks.map(|sinks| cx.weights.vector(sinks));
        let stride = Attend::stride(attention.head_dim);
        let results = self.room.results.chunks_exact(stride);
        let mut results = results.zip(self.room.running.iter());
        for row in self.about.rows.clone() {
            // SAFETY: this row's columns of these heads are this chunk's alone; a query is
            // never overwritten by its result (the plan inherits element-wise results only).
            let out = unsafe { cx.row_mut(cx.out(), row, columns.clone()) };
            let of_heads = out.chunks_exact_mut(dim).zip(heads.clone());
            for ((out, head), (result, running)) in of_heads.zip(&mut results) {
                let factor = share(*running, sinks.map(|sinks| sinks[head]));
                for (out, result) in out.iter_mut().zip(result) {
                    *out = result * factor;
                }
            }
        }
    }

    /// Rows of one sequence that stand together share its pages.
    fn over_cache(&mut self, cache: Handle<'_, Reads<KvCache>>, kv_head: usize) {
        let facts = &self.about.cx.rows.facts;
        for rows in alike(self.about.rows.clone(), |row| facts[row].row.sequence) {
            self.over_pages(rows, cache, kv_head);
        }
    }

    fn over_pages(
        &mut self,
        rows: Range<usize>,
        cache: Handle<'_, Reads<KvCache>>,
        kv_head: usize,
    ) {
        let About { cx, attention, .. } = self.about;
        let kv_type = cache.kv_type();
        let seen = |row: usize| cx.rows.facts[row].number + 1;
        let most = rows.clone().map(seen).max().unwrap_or(0);
        let pages = cache.pages(cx.rows.facts[rows.start].row.sequence);
        let pages = &pages[..most.div_ceil(PAGE)];
        let positions = |index: usize| {
            let count = PAGE.min(most - index * PAGE);
            cache.positions(pages[index], count)
        };
        let kind = cache.kind();
        let len = kv_type.row_len(attention.head_dim).unwrap_or(0) * PAGE;
        let value_in_key = match kind.values {
            CachedValues::BesideKeys => None,
            CachedValues::InKeys(dim) => Some(dim),
        };
        let halves = |index: usize| {
            let page = cache.page(pages[index]);
            match value_in_key {
                None => halves(page, len, (kv_head, attention.kv_heads)),
                Some(_) => [page.wrapping_add(kv_head * len); 2],
            }
        };
        let about = self.about;
        let first = match pages.is_empty() {
            true => 0,
            false => positions(0).first().copied().unwrap_or(0),
        };
        let visible = |&index: &usize| {
            let mut rows = rows.clone();
            rows.any(|row| about.sees(row, positions(index), first))
        };
        let mut next = (0..pages.len()).find(visible);
        while let Some(index) = next {
            next = (index + 1..pages.len()).find(visible);
            let [keys, values] = halves(index);
            // SAFETY: blocks of PAGE rows of a page; entries up to these rows' were written
            // before the last barrier, and what others hold is never asked.
            let (keys, values) = unsafe {
                (
                    std::slice::from_raw_parts(keys, len),
                    std::slice::from_raw_parts(values, len),
                )
            };
            let positions = positions(index);
            let page = Page {
                kv_type,
                keys,
                values,
                value_stride: attention.head_dim,
                value_in_key,
                count: positions.len(),
                next: next.map(halves),
            };
            let seen = |row: usize| seen(row).saturating_sub(index * PAGE).min(page.count);
            let hide = |row: usize, shades: &mut [f32]| {
                shades[seen(row)..].fill(f32::NEG_INFINITY);
                let here = cx.rows.facts[row].row.position;
                let window = attention.mask.window(here, first);
                for (shade, at) in shades.iter_mut().zip(positions) {
                    if window.is_some_and(|window| here.saturating_sub(*at) >= window) {
                        *shade = f32::NEG_INFINITY;
                    }
                }
            };
            let windowed = attention.mask.window(first, first).is_some();
            let hides = windowed || rows.clone().any(|row| seen(row) < page.count);
            let position = |place: usize| positions[place];
            self.fold(rows.clone(), &page, (hides, hide), position);
        }
    }

    /// Rows of one sequence share its source.
    fn over_cross(&mut self, cache: Handle<'_, Reads<CrossCache>>, kv_head: usize) {
        let facts = &self.about.cx.rows.facts;
        for rows in alike(self.about.rows.clone(), |row| facts[row].row.sequence) {
            self.over_source(rows, cache, kv_head);
        }
    }

    fn over_source(
        &mut self,
        rows: Range<usize>,
        cache: Handle<'_, Reads<CrossCache>>,
        kv_head: usize,
    ) {
        let About { cx, attention, .. } = self.about;
        let sequence = cx.rows.facts[rows.start].row.sequence;
        let total = cache.len(sequence);
        let kv_type = KvType::F32;
        let len = kv_type.row_len(attention.head_dim).unwrap_or(0) * PAGE;
        let halves = |index: usize| {
            let page = cache.page(sequence, index);
            halves(page, len, (kv_head, attention.kv_heads))
        };
        for index in 0..total.div_ceil(PAGE) {
            let [keys, values] = halves(index);
            // SAFETY: as in `over_pages`; the encoder's run wrote `total` entries.
            let (keys, values) = unsafe {
                (
                    std::slice::from_raw_parts(keys, len),
                    std::slice::from_raw_parts(values, len),
                )
            };
            let page = Page {
                kv_type,
                keys,
                values,
                value_stride: attention.head_dim,
                value_in_key: None,
                count: PAGE.min(total - index * PAGE),
                next: ((index + 1) * PAGE < total).then(|| halves(index + 1)),
            };
            let position = |place: usize| (index * PAGE + place) as u64;
            self.fold(rows.clone(), &page, ALL_SEEN, position);
        }
    }

    /// Folds a page into the running softmaxes of some rows. `shade` adds to what a row's scores
    /// of the page's entries have added, −∞ for those that it does not see; the flag says whether
    /// it does anything.
    fn fold(
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
    fn fold_at(
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
        let biased = !plain || shades;
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
                    self.about.add_bias(scheme, biases, (head, here), &position);
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
    fn sees(&self, row: usize, positions: &[u64], first: u64) -> bool {
        let here = self.cx.rows.facts[row].row.position;
        match self.attention.mask.window(here, first) {
            Some(window) => positions.iter().any(|at| here.saturating_sub(*at) < window),
            None => true,
        }
    }

    /// Where a row stands, as distances count it.
    fn place(&self, row: usize) -> u64 {
        let facts = &self.cx.rows.facts[row];
        match self.attention.position.counts_columns() {
            true => facts.column.into(),
            false => facts.row.position,
        }
    }

    /// What positions do to scores; −∞ stays.
    fn add_bias(
        &self,
        scheme: &PositionScheme,
        scores: &mut [f32],
        (head, here): (usize, u64),
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
            PositionScheme::Alibi(slopes) => {
                for (key, score) in scores.iter_mut().enumerate() {
                    *score -= slopes[head] * (position(key) as f32 - here as f32).abs();
                }
            }
            PositionScheme::None | PositionScheme::Rope(_) => {}
        }
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

/// Where a head's keys and values begin in a page, whose blocks are `len` bytes long.
fn halves(page: *const u8, len: usize, (head, heads): (usize, usize)) -> [*const u8; 2] {
    // In range: a page holds twice as many blocks as heads.
    [head, heads + head].map(|block| page.wrapping_add(block * len))
}

/// Floats as the bytes that they are kept as.
fn bytes(floats: &[f32]) -> &[u8] {
    // SAFETY: a float is four bytes, none of them uninitialised.
    unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), size_of_val(floats)) }
}
