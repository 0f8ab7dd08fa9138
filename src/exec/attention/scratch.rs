//! What a chunk of attention works in, and how many queries that has room for.

use crate::graph::{Attention, CachedValues, Keys};
use crate::kernels::{Attend, Running};
use crate::state::PAGE;
use std::mem::MaybeUninit;

/// Elements of the longest head there may be. Keys in rows are turned into pages of so many.
pub(crate) const LONGEST_HEAD: usize = 1024;

/// Queries (one head of one row each) that are worked on together at most: a page of keys is
/// fetched once for all of them.
pub(super) const QUERIES: usize = 128;

/// Floats of such queries, and as many of their results, in the nearer caches.
const QUERY_FLOATS: usize = 8192;

/// Floats that there is room for: where values are in keys, those are turned once for all queries
/// together, of which sixteen of DeepSeek's find room.
const ROOM: usize = 16 * 576;

const _: () = assert!(ROOM >= QUERY_FLOATS && ROOM >= LONGEST_HEAD);

/// How many queries are worked on together.
pub(super) fn most_queries(attention: &Attention) -> usize {
    let in_keys = match attention.keys {
        Keys::Cache(cache) => cache.kind().values != CachedValues::BesideKeys,
        Keys::Rows | Keys::Cross(_) => false,
    };
    let floats = if in_keys { ROOM } else { QUERY_FLOATS };
    (floats / Attend::stride(attention.head_dim)).clamp(1, QUERIES)
}

/// What a chunk works in.
pub(super) struct Scratch {
    queries: [f32; ROOM],
    results: [f32; ROOM],
    scores: [f32; QUERIES * PAGE],
    biases: [f32; QUERIES * PAGE],
    running: [Running; QUERIES],
}

/// As much of it as some queries need.
pub(super) struct Room<'a> {
    pub queries: &'a mut [f32],
    pub results: &'a mut [f32],
    pub scores: &'a mut [f32],
    pub biases: &'a mut [f32],
    pub running: &'a mut [Running],
}

impl Scratch {
    pub(super) fn claim(
        scratch: &mut MaybeUninit<Scratch>,
        queries: usize,
        dim: usize,
    ) -> Room<'_> {
        let floats = queries * Attend::stride(dim);
        assert!(queries <= QUERIES && floats <= ROOM && dim <= LONGEST_HEAD);
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
