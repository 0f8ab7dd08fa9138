//! Attention whose scores know distances by content: a query meets a key that stands for the
//! distance, and a key such a query. Both products are made for a page of keys and the buckets that
//! its distances fall into, so that no buffer grows with a text.

use super::queries::{About, AttentionCut, Queries, alike};
use super::rows::{Head, PageRoom};
use super::scratch::QUERIES;
use super::scratch::{LONGEST_HEAD, Scratch};
use crate::exec::run::{Handles, Step, StepContext, row_chunks};
use crate::graph::op::{ApartQueries, ColumnWindow, DisentangledAttention};
use crate::graph::state::Reads;
use crate::graph::{DistanceBuckets, SessionTable};
use crate::kernels::{Attend, Layout, MatMul, MatMulKernel};
use crate::state::Handle;
use crate::state::PAGE;
use rillm_formats::manifest::DType;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Buckets whose products are made at a time.
const BUCKETS: usize = 128;

/// What stands for distances.
#[derive(Clone, Copy)]
struct DistanceTables<'a> {
    /// A key for each bucket.
    keys: Option<Handle<'a, Reads<SessionTable>>>,
    /// A query for each bucket.
    queries: Option<Handle<'a, Reads<SessionTable>>>,
    buckets: &'a DistanceBuckets,
    /// What meets the keys, and segments, where that is not what meets the rows' keys.
    apart: Option<ApartQueries>,
}

/// A page's biases, and the products that they are made of.
struct Biases {
    of_pairs: [f32; QUERIES * PAGE],
    of_queries: [f32; QUERIES * BUCKETS],
    of_keys: [f32; PAGE * BUCKETS],
}

impl Step for DisentangledAttention {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        let cut = AttentionCut::of(cx, &self.attention);
        cx.tile.len().div_ceil(cut.rows) * self.attention.heads
    }

    /// Some rows of one head.
    fn run(&self, cx: &StepContext<'_>, (keys, queries): Handles<'_, Self>, chunk: usize) {
        let attention = &self.attention;
        let number = chunk % attention.heads;
        let cut = AttentionCut::of(cx, attention);
        let rows = cx.tile.chunk(chunk / attention.heads, cut.rows);
        let about = About {
            cx,
            attention,
            rows: &rows,
            heads: &(number..number + 1),
            has_globals: false,
            summaries: None,
            biases: None,
        };
        let tables = DistanceTables {
            keys,
            queries,
            buckets: &self.buckets,
            apart: self.apart,
        };
        let (k, v) = (self.k, self.v);
        let mut scratch = MaybeUninit::<Scratch>::uninit();
        let mut queries = Queries::begin(about, self.q, &mut scratch);
        let facts = &cx.rows.facts;
        for rows in alike(rows.clone(), |row| facts[row].group) {
            queries.over_distances(rows, Head { k, v, number }, tables);
        }
        queries.finish();
    }
}

impl Queries<'_> {
    /// Rows of one group see all of it.
    // Kept apart, so that the others' frames have no room for this one's.
    #[inline(never)]
    fn over_distances(&mut self, rows: Range<usize>, head: Head, tables: DistanceTables<'_>) {
        let about = self.about;
        let cx = about.cx;
        let group = &cx.rows.groups[cx.rows.facts[rows.start].group as usize];
        let mut room: PageRoom = [const { MaybeUninit::uninit() }; LONGEST_HEAD * PAGE];
        let mut biases = Biases {
            of_pairs: [0.0; QUERIES * PAGE],
            of_queries: [0.0; QUERIES * BUCKETS],
            of_keys: [0.0; PAGE * BUCKETS],
        };
        let end = group.first + group.len;
        for start in (group.first..end).step_by(PAGE) {
            let keys = start..end.min(start + PAGE);
            self.weigh_distances(&mut biases, (rows.clone(), keys.clone()), head, tables);
            let page = about.page(head, keys, &mut room);
            let shade = |row: usize, shades: &mut [f32]| {
                let of_row = &biases.of_pairs[(row - rows.start) * PAGE..];
                for (shade, bias) in shades.iter_mut().zip(of_row) {
                    *shade += bias;
                }
            };
            self.fold(rows.clone(), &page, (true, shade), |_| 0);
        }
    }

    /// What distances add to the scores of some rows and a page of keys, whose products are made
    /// for as many buckets at a time as there is room for.
    fn weigh_distances(
        &self,
        biases: &mut Biases,
        (rows, keys): (Range<usize>, Range<usize>),
        head: Head,
        tables: DistanceTables<'_>,
    ) {
        let About { cx, attention, .. } = self.about;
        let position = |row: usize| i128::from(cx.rows.facts[row].row.position);
        let ends = |rows: Range<usize>| {
            let positions = rows.map(position);
            positions.fold((i128::MAX, i128::MIN), |(low, high), at| {
                (low.min(at), high.max(at))
            })
        };
        let (of_rows, of_keys) = (ends(rows.clone()), ends(keys.clone()));
        let buckets = tables.buckets;
        let (a, b) = (
            buckets.of(of_keys.0 - of_rows.1),
            buckets.of(of_keys.1 - of_rows.0),
        );
        let all = a.min(b)..a.max(b) + 1;
        let (Some(product), dim) = (product(cx), attention.head_dim) else {
            return;
        };
        biases.of_pairs[..rows.len() * PAGE].fill(0.0);
        // Queries that meet keys have been scaled, others and keys have not.
        let scale = match tables.apart {
            Some(_) => attention.scale,
            None => 1.0,
        };
        let stride = Attend::stride(dim);
        let queries = &self.room.queries[(rows.start - self.about.rows.start) * stride..];
        for first in all.clone().step_by(BUCKETS) {
            let some = first..all.end.min(first + BUCKETS);
            let columns = head.number * dim * size_of::<f32>();
            if let Some(table) = tables.keys {
                let (first, stride) = match tables.apart {
                    None => (queries.as_ptr().cast(), stride * size_of::<f32>()),
                    Some(ApartQueries { distances, .. }) => {
                        let first = cx.row_ptr(distances, rows.start);
                        (
                            first.wrapping_add(columns).cast_const(),
                            cx.stride(distances),
                        )
                    }
                };
                let inputs = Inputs {
                    first,
                    stride,
                    len: rows.len(),
                };
                meet(
                    product,
                    (table, head.number),
                    (dim, &some),
                    inputs,
                    &mut biases.of_queries,
                );
            }
            if let Some(table) = tables.queries {
                let inputs = Inputs {
                    first: cx.row_ptr(head.k, keys.start).wrapping_add(columns),
                    stride: cx.stride(head.k),
                    len: keys.len(),
                };
                meet(
                    product,
                    (table, head.number),
                    (dim, &some),
                    inputs,
                    &mut biases.of_keys,
                );
            }
            for (at, row) in rows.clone().enumerate() {
                let here = position(row);
                let pairs = &mut biases.of_pairs[at * PAGE..][..keys.len()];
                let of_query = &biases.of_queries[at * BUCKETS..][..BUCKETS];
                let of_keys = biases.of_keys.chunks_exact(BUCKETS);
                for ((key, pair), of_key) in keys.clone().zip(pairs).zip(of_keys) {
                    let bucket = buckets.of(position(key) - here);
                    if some.contains(&bucket) {
                        let bucket = bucket - some.start;
                        *pair = scale * of_query[bucket] + attention.scale * of_key[bucket];
                    }
                }
            }
        }
        if let Some(apart) = tables.apart {
            self.weigh_segments(biases, (rows, keys), head.number, apart);
        }
    }

    /// What is added for keys in other segments than a row's. What all keys have in common is nothing to
    /// a softmax: that the segment is the same is what others' is measured by.
    fn weigh_segments(
        &self,
        biases: &mut Biases,
        (rows, keys): (Range<usize>, Range<usize>),
        head: usize,
        apart: ApartQueries,
    ) {
        let About { cx, attention, .. } = self.about;
        let dim = attention.head_dim;
        let segment = |row: usize| cx.rows.facts[row].row.token_type;
        let all = cx.weights.vector(apart.segment_keys);
        let (same, other) = all.split_at(attention.heads * dim);
        let of_head = head * dim..(head + 1) * dim;
        let (same, other) = (&same[of_head.clone()], &other[of_head.clone()]);
        for (at, row) in rows.enumerate() {
            let here = segment(row);
            if keys.clone().all(|key| segment(key) == here) {
                continue;
            }
            let query = &cx.row(apart.segments, row)[of_head.clone()];
            let ends = other.iter().zip(same);
            let products = query
                .iter()
                .zip(ends)
                .map(|(q, (other, same))| q * (other - same));
            let added = attention.scale * products.sum::<f32>();
            let pairs = &mut biases.of_pairs[at * PAGE..][..keys.len()];
            for (key, pair) in keys.clone().zip(pairs) {
                if segment(key) != here {
                    *pair += added;
                }
            }
        }
    }
}

/// The product of floats.
fn product(cx: &StepContext<'_>) -> Option<MatMulKernel> {
    cx.kernels.matmul(DType::F32, Layout::Rows)
}

/// Rows of floats somewhere.
struct Inputs {
    first: *const u8,
    /// Bytes from one to the next.
    stride: usize,
    len: usize,
}

/// Products of rows with some buckets' rows of one head of a table.
fn meet(
    product: MatMulKernel,
    (table, head): (Handle<'_, Reads<SessionTable>>, usize),
    (dim, buckets): (usize, &Range<usize>),
    inputs: Inputs,
    out: &mut [f32],
) {
    let width = table.kind().width;
    let rows = &table.floats()[buckets.start * width..buckets.end * width];
    let columns = &rows[head * dim..];
    assert!(buckets.len() <= BUCKETS && inputs.len * BUCKETS <= out.len());
    let product_of = MatMul {
        weights: columns.as_ptr().cast(),
        weight_stride: width * size_of::<f32>(),
        weight_rows: buckets.len(),
        columns: dim,
        inputs: inputs.first,
        input_stride: inputs.stride,
        inputs_len: inputs.len,
        out: out.as_mut_ptr(),
        out_stride: BUCKETS,
        picks: std::ptr::null(),
        tuning: product.tuning,
    };
    // SAFETY: so many rows of the table and of the inputs have a head's floats each, which the
    // checker found whole and unwritten, or which the caller holds; `out` has room for each input's
    // results, as was just seen.
    unsafe { (product.run)(&product_of) }
}

impl Step for ColumnWindow {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        row_chunks(cx.tile)
    }

    fn run(&self, cx: &StepContext<'_>, (): (), chunk: usize) {
        let (before, width) = (self.taps / 2, cx.width(cx.out()));
        for row in cx.rows_of(chunk) {
            let group = &cx.rows.groups[cx.rows.facts[row].group as usize];
            let all = &cx.rows.facts[group.first..group.first + group.len];
            // SAFETY: this row is this chunk's, and nothing that is read lies in its bytes.
            let out = unsafe { cx.row_mut(cx.out(), row, 0..width) };
            let here = i64::from(cx.rows.facts[row].column);
            for tap in 0..self.taps {
                let column = here + tap as i64 - before as i64;
                let found = all.binary_search_by_key(&column, |facts| facts.column.into());
                let from = found.ok().map(|at| cx.row(self.x, group.first + at));
                for (element, out) in out.chunks_exact_mut(self.taps).enumerate() {
                    out[tap] = from.map_or(0.0, |from| from[element]);
                }
            }
        }
    }
}
