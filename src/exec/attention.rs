//! Softmax attention: history, cross and in-run keys through one loop over pages of keys.

use super::{Run, Tile};
use crate::graph::{Attention, Keys, Mask, PositionScheme, StateId, StateKind, Value};
use crate::kernels::{Attend, KvHalf, Running};
use crate::state::{KvType, PAGE};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Queries (one head of one row each) that are worked on together at most: a page of keys is
/// fetched once for all of them.
const QUERIES: usize = 128;

/// Floats of such queries, and as many of their results, in the nearer caches.
const QUERY_FLOATS: usize = 8192;

/// Elements of the longest head there may be. Keys in rows are turned into pages of so many.
pub(crate) const LONGEST_HEAD: usize = 1024;

/// Chunks below which a tile is cut more finely.
const FEW_CHUNKS: usize = 8;

/// Rows whose keys and values a worker stores at a time, for one head: a page's worth, for
/// neighbours share cache lines.
const STORE_CHUNK: usize = PAGE;

/// Query heads that are worked on together, and rows that a worker claims at a time.
fn shape(run: &Run<'_>, attention: &Attention, tile: &Tile) -> (usize, usize) {
    let stride = Attend::stride(attention.head_dim);
    let most = (QUERY_FLOATS / stride).clamp(1, QUERIES);
    let heads = most.min(attention.heads / attention.kv_heads);
    let rows = tile.range.len();
    // Rows of several sequences have no pages in common.
    let alike = run.rows.facts.len() / run.rows.groups.len().max(1);
    let fair = (rows * attention.kv_heads).div_ceil(FEW_CHUNKS);
    (heads, (most / heads).min(alike).min(fair).max(1))
}

/// Into how many chunks a tile's queries fall.
pub fn chunks(run: &Run<'_>, attention: &Attention, tile: &Tile) -> usize {
    let (_, rows) = shape(run, attention, tile);
    tile.range.len().div_ceil(rows) * attention.kv_heads
}

/// Into how many chunks the storing of a tile's keys and values falls.
pub fn store_chunks(run: &Run<'_>, tile: &Tile, state: StateId) -> usize {
    match tile.range.len() {
        // So little that a second worker would only have to be waited for.
        1 => 1,
        rows => rows.div_ceil(STORE_CHUNK) * kv_heads(run, state).0,
    }
}

/// Writes some rows' keys and values of one head to their pages; those of all heads, of a single
/// row.
pub fn store(run: &Run<'_>, tile: &Tile, chunk: usize, (k, v): (Value, Value), state: StateId) {
    let (kv_heads, head_dim) = kv_heads(run, state);
    let cross = matches!(
        run.state.layout().kind(state.0 as usize),
        StateKind::Cross { .. }
    );
    let kv_type = match cross {
        true => KvType::F32,
        false => run.state.kv_type(),
    };
    let (heads, rows) = match tile.range.len() {
        1 => (0..kv_heads, 0),
        _ => (chunk % kv_heads..chunk % kv_heads + 1, chunk / kv_heads),
    };
    let rows = super::step::range(rows, STORE_CHUNK, tile.range.len());
    let len = kv_type.row_len(head_dim).unwrap_or(0) * PAGE;
    for row in rows.start + tile.range.start..rows.end + tile.range.start {
        let facts = &run.rows.facts[row];
        let id = state.0 as usize;
        let (page, place) = match cross {
            true => {
                let index = facts.slot / PAGE;
                let page = run.state.cross_page_ptr(id, facts.row.sequence, index);
                (page, facts.slot % PAGE)
            }
            false => (run.state.page_ptr(id, facts.page), facts.place as usize),
        };
        for head in heads.clone() {
            let halves = [
                (KvHalf::Keys, k, head),
                (KvHalf::Values, v, kv_heads + head),
            ];
            for (half, value, index) in halves {
                let values = &run.row(value, tile, row)[head * head_dim..(head + 1) * head_dim];
                // SAFETY: a page holds 2 × kv_heads blocks of PAGE rows, and this row's place in
                // it is nobody else's.
                unsafe { kv_type.store(half, values, page.add(index * len), place) };
            }
        }
    }
}

/// Heads of keys of a piece of state, and their length.
fn kv_heads(run: &Run<'_>, state: StateId) -> (usize, usize) {
    match run.state.layout().kind(state.0 as usize) {
        StateKind::KvCache { kv_heads, head_dim } | StateKind::Cross { kv_heads, head_dim } => {
            (kv_heads, head_dim)
        }
        _ => (1, 1),
    }
}

/// Some rows, all the query heads that share one head of keys: each page is fetched once for
/// all of them.
pub fn run(
    run: &Run<'_>,
    node: usize,
    tile: &Tile,
    chunk: usize,
    (q, kv, out): (Value, Option<(Value, Value)>, Value),
    attention: &Attention,
) {
    let kv_head = chunk % attention.kv_heads;
    let (heads, rows) = shape(run, attention, tile);
    let rows = super::step::range(chunk / attention.kv_heads, rows, tile.range.len());
    let rows = rows.start + tile.range.start..rows.end + tile.range.start;
    let group = attention.heads / attention.kv_heads;
    let all = kv_head * group..(kv_head + 1) * group;
    // Not touched but where it is used.
    let mut scratch = MaybeUninit::<Scratch>::uninit();
    for first in all.clone().step_by(heads) {
        let heads = first..all.end.min(first + heads);
        let mut queries = Queries {
            room: Scratch::claim(&mut scratch, rows.len() * heads.len(), attention.head_dim),
            about: About {
                run,
                tile,
                node,
                attention,
                rows: &rows,
                heads: &heads,
            },
        };
        queries.begin(q);
        match (attention.keys, kv) {
            (Keys::Cache(state), _) => queries.over_history(state, kv_head),
            (Keys::Cross(state), _) => queries.over_cross(state, kv_head),
            (Keys::Rows, Some(kv)) => queries.over_rows(kv, kv_head),
            (Keys::Rows, None) => {}
        }
        queries.finish(out);
    }
}

/// What a chunk works in.
struct Scratch {
    queries: [f32; QUERY_FLOATS],
    results: [f32; QUERY_FLOATS],
    scores: [f32; QUERIES * PAGE],
    biases: [f32; QUERIES * PAGE],
    running: [Running; QUERIES],
}

/// As much of it as some queries need.
struct Room<'a> {
    queries: &'a mut [f32],
    results: &'a mut [f32],
    scores: &'a mut [f32],
    biases: &'a mut [f32],
    running: &'a mut [Running],
}

impl Scratch {
    fn claim(scratch: &mut MaybeUninit<Scratch>, queries: usize, dim: usize) -> Room<'_> {
        let floats = queries * Attend::stride(dim);
        assert!(queries <= QUERIES && floats <= QUERY_FLOATS && dim <= LONGEST_HEAD);
        let scratch = scratch.as_mut_ptr();
        // SAFETY: the fields are distinct, of at least these lengths, and written here before
        // they are referred to; of any floats, zero is one pattern of bits.
        unsafe {
            macro_rules! zeroed {
                ($field:ident, $len:expr) => {{
                    let start = (&raw mut (*scratch).$field).cast::<f32>();
                    start.write_bytes(0, $len);
                    std::slice::from_raw_parts_mut(start, $len)
                }};
            }
            let running = (&raw mut (*scratch).running).cast::<Running>();
            for query in 0..queries {
                running.add(query).write(Running::START);
            }
            Room {
                queries: zeroed!(queries, floats),
                results: zeroed!(results, floats),
                scores: zeroed!(scores, queries * PAGE),
                biases: zeroed!(biases, queries * PAGE),
                running: std::slice::from_raw_parts_mut(running, queries),
            }
        }
    }
}

/// Some heads of some rows.
#[derive(Clone, Copy)]
struct About<'a> {
    run: &'a Run<'a>,
    tile: &'a Tile,
    node: usize,
    attention: &'a Attention,
    rows: &'a Range<usize>,
    heads: &'a Range<usize>,
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
    /// Entries that are there.
    count: usize,
    /// Where the page lies that comes next.
    next: Option<[*const u8; 2]>,
}

impl Queries<'_> {
    fn begin(&mut self, q: Value) {
        let About { attention, .. } = self.about;
        let dim = attention.head_dim;
        let mut into = self.room.queries.chunks_exact_mut(Attend::stride(dim));
        for row in self.about.rows.clone() {
            let from = self.about.run.row(q, self.about.tile, row);
            let from = &from[self.about.heads.start * dim..self.about.heads.end * dim];
            for (from, into) in from.chunks_exact(dim).zip(&mut into) {
                for (from, into) in from.iter().zip(into) {
                    *into = from * attention.scale;
                }
            }
        }
    }

    fn finish(&self, out: Value) {
        let About { run, tile, .. } = self.about;
        let dim = self.about.attention.head_dim;
        let columns = self.about.heads.start * dim..self.about.heads.end * dim;
        let results = self.room.results.chunks_exact(Attend::stride(dim));
        let mut results = results.zip(self.room.running.iter());
        for row in self.about.rows.clone() {
            // SAFETY: this row's columns of these heads are this chunk's alone; a query is
            // never overwritten by its result (the plan inherits element-wise results only).
            let out = unsafe { run.row_mut(out, tile, row, columns.clone()) };
            for (out, (result, running)) in out.chunks_exact_mut(dim).zip(&mut results) {
                // Who has seen nothing gets nothing.
                let factor = match running.sum {
                    0.0 => 0.0,
                    sum => 1.0 / sum,
                };
                for (out, result) in out.iter_mut().zip(result) {
                    *out = result * factor;
                }
            }
        }
    }

    /// Rows of one sequence that stand together share its pages.
    fn over_history(&mut self, state: StateId, kv_head: usize) {
        let run = self.about.run;
        self.by_sequence(
            |row| run.rows.facts[row].row.sequence,
            |queries, rows| {
                queries.over_pages(rows, state, kv_head);
            },
        );
    }

    /// Hands over neighbours that belong together.
    fn by_sequence(
        &mut self,
        of: impl Fn(usize) -> u32,
        mut each: impl FnMut(&mut Self, Range<usize>),
    ) {
        let rows = self.about.rows.clone();
        let mut first = rows.start;
        while first < rows.end {
            let same = (first..rows.end).take_while(|&row| of(row) == of(first));
            let end = first + same.count();
            each(self, first..end);
            first = end;
        }
    }

    fn over_pages(&mut self, rows: Range<usize>, state: StateId, kv_head: usize) {
        let About { run, attention, .. } = self.about;
        let kv_type = run.state.kv_type();
        let seen = |row: usize| run.rows.facts[row].slot + 1;
        let most = rows.clone().map(seen).max().unwrap_or(0);
        let pages = run.state.pages(run.rows.facts[rows.start].row.sequence);
        let pages = &pages[..most.div_ceil(PAGE)];
        let positions = |index: usize| {
            let count = PAGE.min(most - index * PAGE);
            // SAFETY: a page has PAGE positions, and those of its entries were written.
            unsafe { std::slice::from_raw_parts(run.state.positions_ptr(pages[index]), count) }
        };
        let len = kv_type.row_len(attention.head_dim).unwrap_or(0) * PAGE;
        let halves = |index: usize| {
            let page = run.state.page_ptr(state.0 as usize, pages[index]);
            halves(page, len, (kv_head, attention.kv_heads))
        };
        let about = self.about;
        let visible = |&index: &usize| rows.clone().any(|row| about.sees(row, positions(index)));
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
                count: positions.len(),
                next: next.map(halves),
            };
            let seen = |row: usize| seen(row).saturating_sub(index * PAGE);
            self.fold(rows.clone(), &page, seen, |place| positions[place]);
        }
    }

    /// Rows of one sequence share its source.
    fn over_cross(&mut self, state: StateId, kv_head: usize) {
        let run = self.about.run;
        self.by_sequence(
            |row| run.rows.facts[row].row.sequence,
            |queries, rows| {
                queries.over_source(rows, state, kv_head);
            },
        );
    }

    fn over_source(&mut self, rows: Range<usize>, state: StateId, kv_head: usize) {
        let About { run, attention, .. } = self.about;
        let sequence = run.rows.facts[rows.start].row.sequence;
        let total = run.state.cross_len(sequence);
        let kv_type = KvType::F32;
        let len = kv_type.row_len(attention.head_dim).unwrap_or(0) * PAGE;
        let halves = |index: usize| {
            let page = run.state.cross_page_ptr(state.0 as usize, sequence, index);
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
                count: PAGE.min(total - index * PAGE),
                next: ((index + 1) * PAGE < total).then(|| halves(index + 1)),
            };
            let position = |place: usize| (index * PAGE + place) as u64;
            self.fold(rows.clone(), &page, |_| PAGE, position);
        }
    }

    /// Rows of one group see each other: their keys are turned into pages as they are needed.
    // Kept apart, so that the others' frames have no room for such a page.
    #[inline(never)]
    fn over_rows(&mut self, (k, v): (Value, Value), kv_head: usize) {
        let About { run, tile, .. } = self.about;
        let dim = self.about.attention.head_dim;
        let mut turned = [const { MaybeUninit::<f32>::uninit() }; LONGEST_HEAD * PAGE];
        let stride = |value: Value| run.plan.place(value).stride / size_of::<f32>();
        self.by_sequence(
            |row| run.rows.facts[row].group,
            |queries, rows| {
                let group = run.rows.groups[run.rows.facts[rows.start].group as usize];
                for start in (0..group.len).step_by(PAGE) {
                    let count = PAGE.min(group.len - start);
                    let first = group.first + start;
                    let floats = |value: Value| {
                        let from = run.row_ptr(value, tile, first).cast::<f32>();
                        // SAFETY: the value holds every row of the run (the checker insists), so
                        // `count` rows from `first` on, of which this head's columns are read.
                        unsafe {
                            let len = (count - 1) * stride(value) + dim;
                            std::slice::from_raw_parts(from.add(kv_head * dim), len)
                        }
                    };
                    let keys = floats(k);
                    let turned = &mut turned[..dim * PAGE];
                    for (i, elements) in turned.chunks_exact_mut(PAGE).enumerate() {
                        let of = keys[i..].iter().step_by(stride(k));
                        let of = of.copied().chain(std::iter::repeat(0.0));
                        for (to, from) in elements.iter_mut().zip(of) {
                            to.write(from);
                        }
                    }
                    // SAFETY: every element was just written.
                    let turned = unsafe {
                        std::slice::from_raw_parts(turned.as_ptr().cast::<f32>(), dim * PAGE)
                    };
                    let page = Page {
                        kv_type: KvType::F32,
                        keys: bytes(turned),
                        values: bytes(floats(v)),
                        value_stride: stride(v),
                        count,
                        next: None,
                    };
                    let position = |place: usize| run.rows.facts[first + place].row.position;
                    queries.fold(rows.clone(), &page, |_| PAGE, position);
                }
            },
        );
    }

    /// Folds a page, of which a row sees no more than its first entries, into the running
    /// softmaxes of some rows.
    fn fold(
        &mut self,
        rows: Range<usize>,
        page: &Page<'_>,
        seen: impl Fn(usize) -> usize,
        position: impl Fn(usize) -> u64,
    ) {
        let About {
            run,
            heads,
            attention,
            ..
        } = self.about;
        let first = (rows.start - self.about.rows.start) * heads.len();
        let queries = first..first + rows.len() * heads.len();
        let stride = Attend::stride(attention.head_dim);
        let plain = matches!(
            attention.position,
            PositionScheme::None | PositionScheme::Rope(_)
        );
        let windowed = matches!(attention.mask, Mask::Causal { window: Some(_) });
        let biased = !plain || windowed || rows.clone().any(|row| seen(row) < page.count);
        let biases = &mut self.room.biases[queries.start * PAGE..queries.end * PAGE];
        if biased {
            let each = biases.chunks_exact_mut(heads.len() * PAGE);
            for (row, biases) in rows.zip(each) {
                let count = page.count.min(seen(row));
                self.about.biases(row, count, biases, &position);
            }
        }
        let call = Attend {
            kv_type: page.kv_type,
            keys: page.keys,
            values: page.values,
            value_stride: page.value_stride,
            dim: attention.head_dim,
            count: page.count,
            queries: &self.room.queries[queries.start * stride..queries.end * stride],
            softcap: attention.softcap,
            biases: biased.then_some(&*biases),
            next: page.next,
        };
        let scores = &mut self.room.scores[queries.start * PAGE..queries.end * PAGE];
        let results = &mut self.room.results[queries.start * stride..queries.end * stride];
        (run.kernels.attend)(&call, scores, &mut self.room.running[queries], results);
    }
}

impl About<'_> {
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

    /// What a row's heads add to the scores of a page: −∞ for what it does not see, that is
    /// beside the window or behind its first `count` entries.
    fn biases(
        &self,
        row: usize,
        count: usize,
        biases: &mut [f32],
        position: impl Fn(usize) -> u64,
    ) {
        let here = self.run.rows.facts[row].row.position;
        let (masked, others) = biases.split_at_mut(PAGE);
        masked[..count].fill(0.0);
        masked[count..].fill(f32::NEG_INFINITY);
        if let Mask::Causal {
            window: Some(window),
        } = self.attention.mask
        {
            for (place, bias) in masked[..count].iter_mut().enumerate() {
                if here.saturating_sub(position(place)) >= window {
                    *bias = f32::NEG_INFINITY;
                }
            }
        }
        for other in others.chunks_exact_mut(PAGE) {
            other.copy_from_slice(masked);
        }
        for (head, biases) in self.heads.clone().zip(biases.chunks_exact_mut(PAGE)) {
            self.add_bias(&mut biases[..count], head, here, &position);
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
