//! What an architecture says: values over rows, and the closed set of operations between them.
//!
//! A [`Graph`] is in static single assignment form and knows neither bytes nor threads. Its
//! values are `[rows, width]` matrices of floats whose row count is a run-time fact named by a
//! [`RowSpace`].

pub mod blocks;
mod builder;
mod config;
mod linear_attention;
mod names;
mod net;
pub mod rope;
mod segments;

pub use builder::{
    BuildError, Builder, Catalog, MatrixSpec, RowOrder, VectorSpec, Wiring, transpose,
};
pub use config::{Config, Key};
pub use linear_attention::{
    DECAY_ROWS, Decay, DeltaRule, Divisor, LinearAttention, LinearState, STATE_COLUMNS, Sums,
};
pub use names::{Name, View, fits, spelling};
pub use net::Net;
pub use rope::{Divisors, Rope};
pub use segments::{
    ABSENT_ROWS, Distances, HiddenMemory, MemoryOp, MemorySource, SegmentMemory, SegmentRange,
    Segments, SinusoidFrequencies, TableRows,
};

pub use crate::kernels::{Activation, Pairing, Pointwise};

/// Among which experts the weights of the chosen ones add up to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// The chosen ones.
    Chosen,
    /// All.
    All,
}

/// Which rows a value has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowSpace {
    /// The rows of this run of a decoding graph.
    Step,
    /// The rows of an encoder's input.
    Source,
    /// One row per sequence of the run (a pooled output).
    Sequence,
    /// The rows whose outputs are asked for.
    Selected,
}

/// What a graph is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Causal: rows extend a sequence held in state.
    Decode,
    /// Bidirectional: a run holds every row of each of its sequences.
    Encode,
    /// Once, when a session opens: a row for each entry of the session's tables.
    Table,
    /// When a sequence's segment ends: a row for each row that its memory is compressed to.
    Compress,
    /// After that: a row for each that the sequence remembers.
    Reproject,
}

impl Role {
    /// The rows such a graph runs over.
    pub fn rows(self) -> RowSpace {
        match self {
            Role::Decode => RowSpace::Step,
            Role::Encode | Role::Table | Role::Compress | Role::Reproject => RowSpace::Source,
        }
    }
}

/// A value of one graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub(crate) u32);

impl Value {
    /// Its place in [`Graph::values`] and in a plan's tables.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A weight matrix: `rows` outputs by `columns` inputs, each row contiguous in the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Matrix {
    /// Index into [`Wiring::matrices`].
    pub(crate) id: u32,
    /// Outputs (for a stack of experts: of one expert).
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    /// Matrices stacked in it: 1, or the number of experts.
    pub stack: usize,
}

/// A small parameter, materialised as floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vector {
    /// Index into [`Wiring::vectors`].
    pub(crate) id: u32,
    /// Number of floats.
    pub len: usize,
}

/// One piece of a model's state, shared by its graphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateId(pub(crate) u32);

/// What a piece of state holds for each sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// Keys and values of every position, in pages. Truncates.
    KvCache {
        /// Heads stored.
        kv_heads: usize,
        /// Floats per head.
        head_dim: usize,
    },
    /// Keys and values projected once from an encoder's output.
    Cross {
        /// Heads stored.
        kv_heads: usize,
        /// Floats per head.
        head_dim: usize,
    },
    /// The last `width - 1` inputs of a causal convolution. Can only be checkpointed.
    Conv {
        /// Independent channels.
        channels: usize,
        /// Taps of the filter.
        width: usize,
    },
    /// A selective scan's hidden state. Can only be checkpointed.
    Scan {
        /// Channels, each of which forgets at its own rate.
        channels: usize,
        /// State elements per channel.
        states: usize,
    },
    /// The same of heads, whose channels forget alike; and of each [`SCAN_CHANNELS`] of a head
    /// what the state has yet to be multiplied by. Can only be checkpointed.
    Heads {
        /// Heads.
        heads: usize,
        /// Channels of all heads.
        channels: usize,
        /// State elements per channel.
        states: usize,
    },
    /// Weighted means over the past. Can only be checkpointed.
    Means {
        /// Independent channels.
        channels: usize,
    },
    /// Sums of outer products k ⊗ v. Can only be checkpointed.
    Linear(LinearState),
    /// Keys and values of earlier segments. Can only be checkpointed.
    SegmentMemory(SegmentMemory),
    /// Rows of earlier segments before their projection. Can only be checkpointed.
    HiddenMemory(HiddenMemory),
    /// Worked out once for the whole session.
    Table {
        /// Floats of a row.
        width: usize,
        /// Rows.
        rows: TableRows,
    },
}

/// Most channels of a head that a scan takes at a time.
pub const SCAN_CHANNELS: usize = 64;

/// Which fact of a row picks the row of an embedding table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// The token's id.
    Token,
    /// The position.
    Position,
    /// The token type (BERT's segment).
    TokenType,
    /// The token's id counted from this one; tokens outside of the table get zeros.
    TokenFrom(u32),
}

/// Normalisations of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// x / sqrt(mean(x²) + eps) · w (Zhang & Sennrich 2019).
    Rms,
    /// (x − mean) / sqrt(var + eps) · w + b (Ba et al. 2016).
    Layer,
}

/// Which keys a query may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// Rows of its sequence up to itself; with a window w, only positions i − w < j ≤ i.
    Causal {
        /// Sliding window in positions.
        window: Option<u64>,
    },
    /// Every row of its sequence.
    Bidirectional,
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
    /// Each head's slope times the distance is taken off its scores (Press et al. 2022).
    Alibi(Vec<f32>),
}

/// T5's relative position bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    /// `[buckets, heads]`.
    pub table: Vector,
    /// Number of buckets.
    pub buckets: usize,
    /// Distance from which on all share the last bucket.
    pub max_distance: usize,
    /// Whether keys after the query have buckets of their own.
    pub bidirectional: bool,
}

/// Where attention's keys and values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// This run's are appended to a sequence's history.
    Cache(StateId),
    /// This run's alone.
    Rows,
    /// Projected from the encoder's output beforehand.
    Cross(StateId),
}

/// Softmax attention: one operation for every scheme.
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
}

/// Operations. Closed, so that the compiler lists every place that a new one must touch.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // operands are named as in the formula above them
pub enum Op {
    /// Row `index(row)` of a table → `[rows, columns]`.
    Embed { table: Matrix, index: Index },
    /// x Wᵀ + b.
    MatMul {
        x: Value,
        weight: Matrix,
        bias: Option<Vector>,
    },
    /// Normalisation of each row, or of each `group` of neighbouring elements by itself. The
    /// weight and bias are as long as a row, or as a group and then the same for all.
    Norm {
        x: Value,
        kind: NormKind,
        weight: Vector,
        bias: Option<Vector>,
        eps: f32,
        group: usize,
    },
    /// a + b.
    Add { a: Value, b: Value },
    /// a ⊙ b.
    Mul { a: Value, b: Value },
    /// c · x.
    Scale { x: Value, factor: f32 },
    /// x within ±limit.
    Clamp { x: Value, limit: f32 },
    /// f(x).
    Apply { x: Value, function: Pointwise },
    /// x ⊙ w, the same w for every row.
    Weigh { x: Value, weight: Vector },
    /// Each head of x times one element of `by`: as many heads as that has elements.
    ScaleHeads { x: Value, by: Value },
    /// a + (b − a) ⊙ t.
    Lerp { a: Value, b: Value, t: Share },
    /// For each head of `head_dim` elements: (Σ a ⊙ b ⊙ w) · v.
    Bonus {
        a: Value,
        b: Value,
        v: Value,
        weight: Vector,
        head_dim: usize,
    },
    /// Columns `offset..offset + width` of x: a view, never a copy.
    Slice { x: Value, offset: usize },
    /// softmax(scale · q kᵀ + bias) v; `k`, `v` are absent for cross-attention.
    Attention {
        q: Value,
        kv: Option<(Value, Value)>,
        attention: Attention,
    },
    /// Keeps an encoder's projected keys and values for a decoder's cross-attention.
    StoreCross { k: Value, v: Value, state: StateId },
    /// silu(depthwise causal convolution), weight `[channels, width]`.
    Conv {
        x: Value,
        weight: Vector,
        bias: Option<Vector>,
        state: StateId,
    },
    /// clamp(softplus(x + bias)), Δ of Mamba-2.
    StepSize {
        x: Value,
        bias: Vector,
        limits: (f32, f32),
    },
    /// hₜ = exp(Δₜ A) hₜ₋₁ + Δₜ Bₜ xₜ; yₜ = Cₜ hₜ + D xₜ (Gu & Dao 2023, eq. 2). In Mamba-2 Δ, A
    /// and D are numbers for each head, and groups of heads have B and C of their own (Dao & Gu
    /// 2024, section 7). Δ is dt or its softplus; the result is y ⊙ silu(z).
    Scan {
        x: Value,
        dt: Value,
        b: Value,
        c: Value,
        z: Value,
        softplus: bool,
        a: Vector,
        d: Vector,
        state: StateId,
    },
    /// For each vector m: x + (x of the row before − x) ⊙ m, side by side.
    TokenShift {
        x: Value,
        mixes: Vec<Vector>,
        state: StateId,
    },
    /// RWKV-4's weighted mean of values over the past, and of this row's, whose weight is
    /// e^(k + first); weights of old ones are e^k, and shrink by e^decay from row to row.
    Wkv {
        k: Value,
        v: Value,
        decay: Vector,
        first: Vector,
        state: StateId,
    },
    /// q·S, where S is a sum over the past of outer products k ⊗ v that fade.
    LinearAttention {
        q: Value,
        k: Value,
        v: Value,
        retention: LinearAttention,
        state: StateId,
    },
    /// Adds every row's k ⊗ v to a memory that is to be read when it holds them all.
    LinearWrite {
        k: Value,
        v: Value,
        retention: LinearAttention,
        state: StateId,
    },
    /// q·S of such a memory.
    LinearRead {
        q: Value,
        retention: LinearAttention,
        state: StateId,
    },
    /// Top-k of softmax(logits) → `[rows, 2k]`: k weights, then k expert numbers.
    Route {
        logits: Value,
        top_k: usize,
        among: Among,
    },
    /// Slot s of a row: x W[expert s]ᵀ → `[rows, k · out]`; `x` is `[rows, in]` or `[rows, k · in]`.
    ExpertMatMul {
        x: Value,
        route: Value,
        experts: Matrix,
    },
    /// Σ over slots of weight · x → `[rows, out]`.
    ExpertSum { x: Value, route: Value },
    /// Rows that are asked for (`Selected`), or the first of each sequence (`Sequence`).
    Select { x: Value },
    /// What is done with memories of earlier segments.
    Memory(MemoryOp),
    /// Hands each row of x to the caller under a name.
    Emit { x: Value, name: &'static str },

    // What follows is inserted by the plan.
    /// x rounded to blocks of int8, once for all its consumers.
    Quantize { x: Value, to: Activation },
    /// cos and sin of every row's position: `[rows, dims]`, first cosines.
    RopeTable { rope: Rope },
    /// Every head of x rotated by a table.
    Rotate {
        x: Value,
        table: Value,
        head_dim: usize,
        pairing: Pairing,
    },
    /// Appends keys and values to their sequences' histories.
    StoreKv { k: Value, v: Value, state: StateId },
}

/// How far an interpolation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// As each row says.
    Row(Value),
    /// The same in every row.
    Fixed(Vector),
}

/// One operation and what it yields.
#[derive(Clone, Debug)]
pub struct Node {
    /// The operation.
    pub op: Op,
    /// Its result, if it has one.
    pub out: Option<Value>,
}

/// Elements of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueInfo {
    /// Which rows it has.
    pub space: RowSpace,
    /// Elements per row.
    pub width: usize,
    /// How they are held (`F32` but for what [`Op::Quantize`] yields).
    pub form: Activation,
    /// For a slice: the value whose columns it shows, and from which on.
    pub base: Option<(Value, usize)>,
}

/// One graph of a model.
#[derive(Clone, Debug)]
pub struct Graph {
    /// What it is for.
    pub role: Role,
    /// Operations, each after those it reads.
    pub nodes: Vec<Node>,
    /// Facts of each value.
    pub values: Vec<ValueInfo>,
}

impl Graph {
    /// An empty graph.
    pub fn new(role: Role) -> Graph {
        Graph {
            role,
            nodes: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Facts of a value.
    pub fn info(&self, value: Value) -> ValueInfo {
        self.values[value.0 as usize]
    }

    /// Appends an operation with a result.
    pub fn push(&mut self, op: Op, info: ValueInfo) -> Value {
        let out = Value(self.values.len() as u32);
        self.values.push(info);
        self.nodes.push(Node { op, out: Some(out) });
        out
    }

    /// Appends an operation without a result.
    pub fn push_effect(&mut self, op: Op) {
        self.nodes.push(Node { op, out: None });
    }

    /// The value that owns the memory of `value` (itself, unless it is a slice) and the first
    /// column shown.
    pub fn root(&self, value: Value) -> (Value, usize) {
        match self.info(value).base {
            Some((base, offset)) => {
                let (root, more) = self.root(base);
                (root, more + offset)
            }
            None => (value, 0),
        }
    }
}

impl Op {
    /// Values read, in the order of the fields.
    pub fn inputs(&self) -> impl Iterator<Item = Value> {
        let mut found = [None; 6];
        let mut more: &[Value] = &[];
        match *self {
            Op::Memory(ref op) => {
                let (four, rest) = op.inputs();
                found[..4].copy_from_slice(&four);
                more = rest;
            }
            Op::Embed { .. } | Op::RopeTable { .. } => {}
            Op::MatMul { x, .. }
            | Op::Norm { x, .. }
            | Op::Scale { x, .. }
            | Op::Clamp { x, .. }
            | Op::Apply { x, .. }
            | Op::StepSize { x, .. }
            | Op::Slice { x, .. }
            | Op::Conv { x, .. }
            | Op::Weigh { x, .. }
            | Op::TokenShift { x, .. }
            | Op::Select { x }
            | Op::Emit { x, .. }
            | Op::Quantize { x, .. } => found[0] = Some(x),
            Op::Lerp { a, b, t } => {
                found[..2].copy_from_slice(&[Some(a), Some(b)]);
                if let Share::Row(t) = t {
                    found[2] = Some(t);
                }
            }
            Op::Bonus { a, b, v, .. } => {
                found[..3].copy_from_slice(&[Some(a), Some(b), Some(v)]);
            }
            Op::LinearRead { q, .. } => found[0] = Some(q),
            Op::Wkv { k, v, .. } | Op::LinearWrite { k, v, .. } => {
                found[..2].copy_from_slice(&[Some(k), Some(v)])
            }
            Op::ScaleHeads { x, by } => found[..2].copy_from_slice(&[Some(x), Some(by)]),
            Op::Add { a, b } | Op::Mul { a, b } => found[..2].copy_from_slice(&[Some(a), Some(b)]),
            Op::Attention { q, kv, .. } => {
                found[..3].copy_from_slice(&[Some(q), kv.map(|kv| kv.0), kv.map(|kv| kv.1)]);
            }
            Op::StoreCross { k, v, .. } | Op::StoreKv { k, v, .. } => {
                found[..2].copy_from_slice(&[Some(k), Some(v)]);
            }
            Op::Scan { x, dt, b, c, z, .. } => {
                found[..5].copy_from_slice(&[x, dt, b, c, z].map(Some));
            }
            Op::LinearAttention {
                q,
                k,
                v,
                ref retention,
                ..
            } => {
                found[..3].copy_from_slice(&[Some(q), Some(k), Some(v)]);
                found[3..].copy_from_slice(&retention.inputs());
            }
            Op::Route { logits, .. } => found[0] = Some(logits),
            Op::ExpertMatMul { x, route, .. } | Op::ExpertSum { x, route } => {
                found[..2].copy_from_slice(&[Some(x), Some(route)]);
            }
            Op::Rotate { x, table, .. } => found[..2].copy_from_slice(&[Some(x), Some(table)]),
        }
        found.into_iter().flatten().chain(more.iter().copied())
    }

    /// The same operation with every input replaced.
    pub fn map_inputs(&self, mut to: impl FnMut(Value) -> Value) -> Op {
        let mut op = self.clone();
        match &mut op {
            Op::Memory(op) => op.map_inputs(to),
            Op::Embed { .. } | Op::RopeTable { .. } => {}
            Op::MatMul { x, .. }
            | Op::Norm { x, .. }
            | Op::Scale { x, .. }
            | Op::Clamp { x, .. }
            | Op::Apply { x, .. }
            | Op::StepSize { x, .. }
            | Op::Slice { x, .. }
            | Op::Conv { x, .. }
            | Op::Weigh { x, .. }
            | Op::TokenShift { x, .. }
            | Op::Select { x }
            | Op::Emit { x, .. }
            | Op::LinearRead { q: x, .. }
            | Op::Route { logits: x, .. }
            | Op::Quantize { x, .. } => *x = to(*x),
            Op::Add { a: x, b: y }
            | Op::Mul { a: x, b: y }
            | Op::StoreCross { k: x, v: y, .. }
            | Op::StoreKv { k: x, v: y, .. }
            | Op::Wkv { k: x, v: y, .. }
            | Op::LinearWrite { k: x, v: y, .. }
            | Op::ScaleHeads { x, by: y }
            | Op::ExpertMatMul { x, route: y, .. }
            | Op::ExpertSum { x, route: y }
            | Op::Rotate { x, table: y, .. } => {
                *x = to(*x);
                *y = to(*y);
            }
            Op::Lerp { a, b, t } => {
                *a = to(*a);
                *b = to(*b);
                if let Share::Row(t) = t {
                    *t = to(*t);
                }
            }
            Op::Bonus { a, b, v, .. } => {
                for value in [a, b, v] {
                    *value = to(*value);
                }
            }
            Op::Attention { q, kv, .. } => {
                *q = to(*q);
                *kv = kv.map(|(k, v)| (to(k), to(v)));
            }
            Op::Scan { x, dt, b, c, z, .. } => {
                for value in [x, dt, b, c, z] {
                    *value = to(*value);
                }
            }
            Op::LinearAttention {
                q, k, v, retention, ..
            } => {
                for value in [q, k, v] {
                    *value = to(*value);
                }
                retention.map_inputs(to);
            }
        }
        op
    }

    /// The state read or written, and whether it is written.
    pub fn state(&self) -> Option<(StateId, bool)> {
        match self {
            Op::Attention { attention, .. } => match attention.keys {
                Keys::Cache(state) | Keys::Cross(state) => Some((state, false)),
                Keys::Rows => None,
            },
            Op::StoreKv { state, .. }
            | Op::StoreCross { state, .. }
            | Op::Conv { state, .. }
            | Op::Scan { state, .. }
            | Op::TokenShift { state, .. }
            | Op::Wkv { state, .. }
            | Op::LinearWrite { state, .. }
            | Op::LinearAttention { state, .. } => Some((*state, true)),
            Op::LinearRead { state, .. } => Some((*state, false)),
            Op::Memory(op) => op.state(),
            _ => None,
        }
    }

    /// Whether every row of the run must exist in whole before this may start.
    pub fn needs_all_rows(&self) -> bool {
        match self {
            Op::Attention { attention, .. } => attention.keys == Keys::Rows,
            Op::LinearRead { .. } => true,
            _ => false,
        }
    }

    /// Whether each row is computed by itself, a few rows at a time, from the same rows of
    /// other values: such operations pass rows on to each other without a barrier.
    pub fn row_by_row(&self) -> bool {
        matches!(
            self,
            Op::Embed { .. }
                | Op::Norm { .. }
                | Op::Add { .. }
                | Op::Mul { .. }
                | Op::Scale { .. }
                | Op::Clamp { .. }
                | Op::Apply { .. }
                | Op::StepSize { .. }
                | Op::Weigh { .. }
                | Op::ScaleHeads { .. }
                | Op::Lerp { .. }
                | Op::Bonus { .. }
                | Op::Route { .. }
                | Op::ExpertSum { .. }
                | Op::Quantize { .. }
                | Op::RopeTable { .. }
                | Op::Rotate { .. }
        )
    }

    /// Whether the result may overwrite `input`: it is computed in place, row by row.
    pub fn may_overwrite(&self, input: Value) -> bool {
        match *self {
            Op::Add { a, b } | Op::Mul { a, b } => input == a || input == b,
            Op::Scale { x, .. }
            | Op::Clamp { x, .. }
            | Op::Apply { x, .. }
            | Op::Rotate { x, .. }
            | Op::Weigh { x, .. } => input == x,
            _ => false,
        }
    }

    /// The operation's name in drawings and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Embed { .. } => "embed",
            Op::MatMul { .. } => "matmul",
            Op::Norm { .. } => "norm",
            Op::Add { .. } => "add",
            Op::Mul { .. } => "mul",
            Op::Scale { .. } => "scale",
            Op::Clamp { .. } => "clamp",
            Op::Apply { .. } => "apply",
            Op::Weigh { .. } => "weigh",
            Op::ScaleHeads { .. } => "scale_heads",
            Op::Lerp { .. } => "lerp",
            Op::Bonus { .. } => "bonus",
            Op::TokenShift { .. } => "token_shift",
            Op::Wkv { .. } => "wkv",
            Op::LinearWrite { .. } => "memorise",
            Op::LinearRead { .. } => "recall",
            Op::Slice { .. } => "slice",
            Op::Attention { .. } => "attention",
            Op::StoreCross { .. } => "store_cross",
            Op::Conv { .. } => "conv",
            Op::StepSize { .. } => "step_size",
            Op::Scan { .. } => "scan",
            Op::LinearAttention { .. } => "retention",
            Op::Route { .. } => "route",
            Op::ExpertMatMul { .. } => "expert_matmul",
            Op::ExpertSum { .. } => "expert_sum",
            Op::Select { .. } => "select",
            Op::Memory(op) => op.name(),
            Op::Emit { .. } => "emit",
            Op::Quantize { .. } => "quantize",
            Op::RopeTable { .. } => "rope_table",
            Op::Rotate { .. } => "rotate",
            Op::StoreKv { .. } => "store_kv",
        }
    }
}
