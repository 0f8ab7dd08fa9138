//! Softmax attention, one operation for every scheme, and what a plan makes of it: rotations, and
//! the writing of the KV cache.

#![allow(missing_docs)] // operands are named as in the formula above them

use super::{Facts, Lower, Operand, Operation, Reach, Work, operands};
use crate::graph::state::{CrossCache, KvCache, Piece, Reads, Writes};
use crate::graph::{BlockSparse, Pairing, Rope, Value, Vector};
use std::sync::Arc;

/// Which keys a query may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// Rows of its sequence up to itself; with a window w, only positions i − w < j ≤ i.
    Causal {
        /// Sliding window in positions.
        window: Option<u64>,
    },
    /// Rows of its sequence up to itself, of the same chunk of so many positions, counted from the
    /// sequence's first.
    Chunked {
        /// How many.
        length: u64,
    },
    /// Every row of its sequence.
    Bidirectional,
    /// Rows of its sequence so many columns away at most, padding counted.
    Local {
        /// How many.
        radius: u32,
    },
    /// Rows of some blocks of its sequence.
    Blocks(BlockSparse),
}

impl Mask {
    /// How far back a row at position `here` sees, itself included, if not to the `first` position
    /// of its sequence.
    pub fn window(self, here: u64, first: u64) -> Option<u64> {
        match self {
            Mask::Causal { window } => window,
            Mask::Chunked { length } => Some(here.saturating_sub(first) % length.max(1) + 1),
            Mask::Bidirectional | Mask::Local { .. } | Mask::Blocks(_) => None,
        }
    }

    /// Rows so many columns away at most.
    pub fn within(columns: u64) -> Mask {
        Mask::Local {
            radius: u32::try_from(columns).unwrap_or(u32::MAX),
        }
    }
}

/// How positions enter attention.
#[derive(Clone, Debug, PartialEq)]
pub enum PositionScheme {
    /// They do not (they came with the embedding, or not at all).
    None,
    /// Queries and keys are rotated (Su et al. 2021).
    Rope(Rope),
    /// A learned bias per head and bucket of distance (Raffel et al. 2020).
    Buckets(Buckets),
    /// Each head's slope times the distance is taken off its scores.
    Alibi(Alibi),
}

impl PositionScheme {
    /// Whether distances are those of columns, padding counted, and not those of positions.
    pub fn counts_columns(&self) -> bool {
        match self {
            PositionScheme::Buckets(buckets) => buckets.columns,
            PositionScheme::None | PositionScheme::Rope(_) | PositionScheme::Alibi(_) => false,
        }
    }
}

/// Attention with linear biases (Press et al. 2022).
#[derive(Clone, Debug, PartialEq)]
pub struct Alibi {
    /// Of each head.
    pub slopes: Vec<f32>,
    /// Where slopes are multiplied by positions of keys in bfloat16, and scaled with the scores: that
    /// scale.
    pub rounded: Option<f32>,
}

impl Alibi {
    /// What a head's score of the key at a position gets, seen from `here`.
    #[inline]
    pub fn bias(&self, head: usize, here: u64, key: u64) -> f32 {
        let slope = self.slopes[head];
        match self.rounded {
            None => -slope * (key as f32 - here as f32).abs(),
            // What all keys of a query have in common is no matter to its softmax, but to precision.
            Some(scale) => {
                let bf16 = |x: f32| half::bf16::from_f32(x).to_f32();
                let at = |position: u64| bf16(bf16(slope) * bf16(position as f32));
                scale * (at(key) - at(here))
            }
        }
    }
}

/// T5's relative position bias: distances share buckets, half of them for exact small distances,
/// half logarithmic (Raffel et al. 2020, section 2.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    /// `[buckets, heads]`.
    pub table: Vector,
    /// Which row of it is whose.
    distances: DistanceBuckets,
    /// Whether distances are those of columns, padding counted, and not those of positions.
    columns: bool,
}

impl Buckets {
    /// The same distances in the buckets of another table.
    pub fn with(&self, table: Vector) -> Buckets {
        Buckets {
            table,
            ..self.clone()
        }
    }

    /// The bias of `table`, whose `buckets` rows serve distances up to `max_distance`; with
    /// `bidirectional`, keys after the query have half of them for themselves.
    pub fn new(table: Vector, buckets: usize, max_distance: usize, bidirectional: bool) -> Buckets {
        let far = max_distance as i64;
        let bucket = |distance: i64| {
            let (count, offset, distance) = if bidirectional {
                let half = buckets / 2;
                (
                    half,
                    if distance > 0 { half } else { 0 },
                    distance.unsigned_abs(),
                )
            } else {
                (buckets, 0, (-distance).max(0).unsigned_abs())
            };
            let exact = (count / 2) as u64;
            let bucket = if distance < exact {
                distance as usize
            } else {
                // In f32, as the reference computes it: the result is truncated.
                let ratio = (distance as f32 / exact as f32).ln()
                    / (far as f64 / exact as f64).ln() as f32
                    * (count as u64 - exact) as f32;
                (exact as usize + ratio as usize).min(count - 1)
            };
            (offset + bucket) as u32
        };
        Buckets {
            table,
            distances: DistanceBuckets::new(max_distance, bucket),
            columns: false,
        }
    }

    /// The same where distances count padding, although positions do not.
    pub fn by_columns(self) -> Buckets {
        Buckets {
            columns: true,
            ..self
        }
    }

    /// The bucket of a key's distance from a query.
    pub fn of(&self, distance: i128) -> usize {
        self.distances.of(distance)
    }
}

/// Buckets that distances share.
#[derive(Clone, Debug, PartialEq)]
pub struct DistanceBuckets {
    /// Distance from which on all share the last bucket.
    far: usize,
    /// Entry `d + far` is the bucket of distance d = key − query.
    lookup: Arc<[u32]>,
}

impl DistanceBuckets {
    /// Those that `bucket` says, up to a distance.
    pub fn new(far: usize, bucket: impl Fn(i64) -> u32) -> DistanceBuckets {
        let distances = -(far as i64)..=far as i64;
        DistanceBuckets {
            far,
            lookup: distances.map(bucket).collect(),
        }
    }

    /// The bucket of a key's distance from a query.
    pub fn of(&self, distance: i128) -> usize {
        let far = self.far as i128;
        self.lookup[(distance.clamp(-far, far) + far) as usize] as usize
    }
}

/// Where attention's keys and values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// This run's are appended to a sequence's KV cache.
    Cache(Piece<KvCache>),
    /// This run's alone.
    Rows,
    /// Projected from the encoder's output beforehand.
    Cross(Piece<CrossCache>),
}

/// The parameters of softmax attention.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; a divisor of `heads`.
    pub kv_heads: usize,
    /// Floats per head.
    pub head_dim: usize,
    /// Factor on q·k.
    pub scale: f32,
    /// c: scores s become c · tanh(s / c) before the mask (Gemma Team 2024, section 2).
    pub softcap: Option<f32>,
    /// Which keys are seen.
    pub mask: Mask,
    /// How positions enter.
    pub position: PositionScheme,
    /// Source of keys and values.
    pub keys: Keys,
    /// A score for each head that every query sees beside its keys, with no value behind it
    /// (Xiao et al. 2024 and gpt-oss, "attention sinks").
    pub sinks: Option<Vector>,
}

impl Attention {
    /// Floats of a value, and so of each head of the result.
    pub fn value_dim(&self) -> usize {
        match self.keys {
            Keys::Cache(cache) => cache.kind().value_dim(),
            Keys::Rows | Keys::Cross(_) => self.head_dim,
        }
    }
}

/// Of each block of columns a key and a value, made of the sum of its rows ([`BlockSums`]), which all rows
/// of their sequence see (Guo et al. 2022, section 3.2).
#[derive(Clone, Debug, PartialEq)]
pub struct Summaries {
    pub k: Value,
    pub v: Value,
    /// Columns of a block.
    pub columns: u32,
    /// How distances between blocks enter.
    pub position: PositionScheme,
}

impl Operand for Summaries {
    fn visit(&self, visit: &mut dyn FnMut(Value)) {
        [self.k, self.v].into_iter().for_each(visit);
    }

    fn map(&mut self, to: &mut dyn FnMut(Value) -> Value) {
        (self.k, self.v) = (to(self.k), to(self.v));
    }
}

/// What distances add to a row's scores, of the row's own making, and what it alone sees (Qi et al.
/// 2020, section 2.2).
#[derive(Clone, Debug, PartialEq)]
pub struct RowBiases {
    /// `[rows, buckets · heads]`.
    pub table: Value,
    pub distances: DistanceBuckets,
    /// A key and a value of the row, which stand where the next one does.
    pub own: Option<(Value, Value)>,
}

impl Operand for RowBiases {
    fn visit(&self, visit: &mut dyn FnMut(Value)) {
        self.table.visit(visit);
        self.own.visit(visit);
    }

    fn map(&mut self, to: &mut dyn FnMut(Value) -> Value) {
        self.table.map(to);
        Operand::map(&mut self.own, to);
    }
}

/// Of each block of columns, in its first row, the sum of its rows; zeros in the others.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockSums {
    pub x: Value,
    pub columns: u32,
}

impl Operation for BlockSums {
    const NAME: &'static str = "block_sums";
    type States = ();
    operands!(x; columns);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts {
            result: true,
            reach: Reach::AllRows,
            in_place: [None; 2],
            work: Work::Elements,
        }
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// softmax(scale · q kᵀ + bias) v. An architecture gives `kv` but for cross-attention; a plan
/// leaves it to attention among the run's rows alone, and has the KV cache written before. `v` is
/// absent where the cache has values in its keys.
///
/// With `global`, rows that are global are seen by all rows of their sequence, and see all of them
/// by these q, k and v (Beltagy et al. 2020, section 3.1).
#[derive(Clone, Debug, PartialEq)]
pub struct SoftmaxAttention {
    pub q: Value,
    pub kv: Option<(Value, Option<Value>)>,
    pub global: Option<[Value; 3]>,
    pub summaries: Option<Summaries>,
    pub biases: Option<RowBiases>,
    pub attention: Attention,
}

impl Operation for SoftmaxAttention {
    const NAME: &'static str = "attention";
    type States = (Option<Reads<KvCache>>, Option<Reads<CrossCache>>);
    operands!(q, kv, global, summaries, biases; attention);

    fn states(&self) -> Self::States {
        match self.attention.keys {
            Keys::Cache(cache) => (Some(Reads(cache)), None),
            Keys::Cross(cache) => (None, Some(Reads(cache))),
            Keys::Rows => (None, None),
        }
    }

    fn facts(&self) -> Facts {
        Facts {
            result: true,
            reach: match self.attention.keys {
                Keys::Cache(_) | Keys::Cross(_) => Reach::Columns,
                Keys::Rows => Reach::AllRows,
            },
            in_place: [None; 2],
            work: Work::Elements,
        }
    }

    fn lower(&mut self, plan: &mut dyn Lower) {
        let attention = &mut self.attention;
        match std::mem::replace(&mut attention.position, PositionScheme::None) {
            PositionScheme::Rope(rope) => {
                self.q = plan.rotated(self.q, &rope, attention.head_dim);
                if let Some((k, _)) = &mut self.kv {
                    *k = plan.rotated(*k, &rope, attention.head_dim);
                }
            }
            kept @ (PositionScheme::None
            | PositionScheme::Buckets(_)
            | PositionScheme::Alibi(_)) => attention.position = kept,
        }
        match attention.keys {
            Keys::Cache(state) => {
                if let Some((k, v)) = self.kv.take() {
                    plan.insert(StoreKv { k, v, state }.into());
                }
            }
            Keys::Rows | Keys::Cross(_) => {}
        }
    }
}

/// Appends keys and values to their sequences' KV caches.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreKv {
    pub k: Value,
    pub v: Option<Value>,
    pub state: Piece<KvCache>,
}

impl Operation for StoreKv {
    const NAME: &'static str = "store_kv";
    type States = Writes<KvCache>;
    operands!(k, v; state);

    fn states(&self) -> Writes<KvCache> {
        Writes(self.state)
    }

    fn facts(&self) -> Facts {
        Facts::effect()
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Keeps an encoder's projected keys and values for a decoder's cross-attention.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreCross {
    pub k: Value,
    pub v: Value,
    pub state: Piece<CrossCache>,
}

impl Operation for StoreCross {
    const NAME: &'static str = "store_cross";
    type States = Writes<CrossCache>;
    operands!(k, v; state);

    fn states(&self) -> Writes<CrossCache> {
        Writes(self.state)
    }

    fn facts(&self) -> Facts {
        Facts::effect()
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// cos and sin of every row's position: `[rows, dims]`, first cosines.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeTable {
    pub rope: Rope,
}

impl Operation for RopeTable {
    const NAME: &'static str = "rope_table";
    type States = ();
    operands!(; rope);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Every head of x rotated by a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotate {
    pub x: Value,
    pub table: Value,
    pub head_dim: usize,
    pub pairing: Pairing,
}

impl Operation for Rotate {
    const NAME: &'static str = "rotate";
    type States = ();
    operands!(x, table; head_dim, pairing);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([Some(self.x), None])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}
