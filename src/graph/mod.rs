//! What an architecture says: values over rows, and the closed set of operations between them
//! ([`op`]).
//!
//! A [`Graph`] is in static single assignment form and knows neither bytes nor threads. Its
//! values are `[rows, width]` matrices of floats whose row count is a run-time fact named by a
//! [`RowSpace`].

// What treats operations, or kinds of state, one by one names them all.
#![deny(clippy::wildcard_enum_match_arm)]

pub mod blocks;
mod builder;
mod config;
pub mod decoder;
mod disentangled;
pub mod experts;
pub mod latent_attention;
mod names;
mod net;
pub mod op;
mod read_at;
pub mod rope;
mod second_reading;
mod segments;
mod sparse;
pub mod state;
mod wiring;

pub use builder::{BuildError, Builder, Catalog, transpose};
pub use config::{Bounds, Config, INPUT_BITS, Key, three_valued};
pub use names::{Name, View, fits, spelling};
pub use net::Net;
pub use op::{
    ABSENT_ROWS, Alibi, ApartQueries, Attention, Buckets, DECAY_ROWS, Decay, DeltaRule,
    DistanceBuckets, Distances, Divisor, ExpertGroups, ExpertWeight, GroupScore, HeadSide, Index,
    Keys, LinearAttention, LinearState, LinearSums, Mask, NormKind, Op, PositionScheme, Routing,
    RowBiases, STATE_COLUMNS, Share, SinusoidFrequencies, Summaries, Wanted,
};
pub use read_at::ReadAt;
pub use rope::{DYNAMIC, Divisors, Rope};
pub use second_reading::SecondReading;
pub use segments::{HiddenMemory, MemorySource, SegmentMemory, SegmentRange, Segments, TableRows};
pub use sparse::{BlockSparse, GlobalRows};
pub use state::{
    CachedValues, ConvState, CrossCache, KvCache, MeansState, Piece, SCAN_CHANNELS, ScanState,
    SessionTable, StateId, StateKind,
};

pub use crate::kernels::{Activation, Pairing, Pointwise};
pub use wiring::{Counting, Forced, MatrixSpec, RowOrder, VectorSpec, Wiring};

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
    /// After that: a row for each that a segment memory holds.
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
    /// How they are held (`F32` but for what [`op::QuantizeActivation`] yields).
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
    pub fn push(&mut self, op: impl Into<Op>, info: ValueInfo) -> Value {
        let op = op.into();
        let out = Value(self.values.len() as u32);
        self.values.push(info);
        self.nodes.push(Node { op, out: Some(out) });
        out
    }

    /// What the latest operation that is this one has made.
    pub fn find(&self, op: &Op) -> Option<Value> {
        let mut latest = self.nodes.iter().rev();
        latest.find(|node| node.op == *op)?.out
    }

    /// Appends an operation without a result.
    pub fn push_effect(&mut self, op: impl Into<Op>) {
        let op = op.into();
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
