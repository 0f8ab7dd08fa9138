//! Softmax attention: the KV cache, an encoder's keys and those of the run go through one loop over
//! pages of keys.

mod blocks;
mod disentangled;
mod queries;
mod rows;
mod scratch;
mod summaries;

use super::run::{Handles, Step, StepContext, range};
use crate::graph::op::{SoftmaxAttention, StoreCross, StoreKv};
use crate::graph::state::Reads;
use crate::graph::{CachedValues, CrossCache, KvCache, Value};
use crate::kernels::KvHalf;
use crate::state::{Handle, KvType, PAGE};
use queries::{ALL_SEEN, About, AttentionCut, Page, Queries, alike};
use scratch::Scratch;

pub(crate) use scratch::LONGEST_HEAD;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Rows whose keys and values a worker stores at a time, for one head: a page's worth, for
/// neighbours share cache lines.
const STORE_CHUNK: usize = PAGE;

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
        let (span, kv_head) = cut.order(cx, attention, chunk);
        let rows = cx.tile.chunk(span, cut.rows);
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
            biases: self.biases.as_ref(),
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

impl Queries<'_> {
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
}

/// Where a head's keys and values begin in a page, whose blocks are `len` bytes long.
fn halves(page: *const u8, len: usize, (head, heads): (usize, usize)) -> [*const u8; 2] {
    // In range: a page holds twice as many blocks as heads.
    [head, heads + head].map(|block| page.wrapping_add(block * len))
}
