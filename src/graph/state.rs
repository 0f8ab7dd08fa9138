//! What a model keeps of its sequences from run to run: pieces of state, and how operations
//! declare those that they read or write.

use super::TableRows;
pub use super::op::LinearState;
pub use super::segments::{HiddenMemory, SegmentMemory};

/// The number of a piece of a model's state, which all its graphs share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateId(pub(crate) u32);

impl StateId {
    /// Its place in [`super::Wiring::states`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A piece of a model's state that holds a `K`: [`super::Builder::state`] makes them, so that
/// number and kind belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<K> {
    id: StateId,
    kind: K,
}

impl<K: Copy> Piece<K> {
    pub(super) fn new(id: StateId, kind: K) -> Piece<K> {
        Piece { id, kind }
    }

    /// Its number.
    pub fn id(&self) -> StateId {
        self.id
    }

    /// What it holds of each sequence.
    pub fn kind(&self) -> K {
        self.kind
    }
}

/// Keys and values of every position, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvCache {
    /// Heads stored.
    pub kv_heads: usize,
    /// Floats per head.
    pub head_dim: usize,
    /// Where values are.
    pub values: CachedValues,
}

/// Where a KV cache has its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachedValues {
    /// Beside the keys, as long as they are.
    BesideKeys,
    /// In the keys: a value is the last so many floats of its key.
    InKeys(usize),
}

impl KvCache {
    /// Keys and values side by side.
    pub fn new(kv_heads: usize, head_dim: usize) -> KvCache {
        KvCache {
            kv_heads,
            head_dim,
            values: CachedValues::BesideKeys,
        }
    }

    /// Floats of a value.
    pub fn value_dim(&self) -> usize {
        match self.values {
            CachedValues::BesideKeys => self.head_dim,
            CachedValues::InKeys(dim) => dim,
        }
    }

    /// What a page holds of each head: keys, or keys and values.
    pub fn halves(&self) -> usize {
        match self.values {
            CachedValues::BesideKeys => 2,
            CachedValues::InKeys(_) => 1,
        }
    }
}

/// Keys and values projected once from an encoder's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrossCache {
    /// Heads stored.
    pub kv_heads: usize,
    /// Floats per head.
    pub head_dim: usize,
}

/// The last `width - 1` inputs of a causal convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvState {
    /// Independent channels.
    pub channels: usize,
    /// Taps of the filter.
    pub width: usize,
}

/// A selective scan's hidden state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanState {
    /// Channels, each of which decays at its own rate unless there are heads.
    pub channels: usize,
    /// State elements per channel.
    pub states: usize,
    /// Heads, whose channels decay alike (Mamba-2). Behind the state stands, for each
    /// [`SCAN_CHANNELS`] channels of a head, its deferred decay: what that state has yet to be
    /// multiplied by.
    pub heads: Option<usize>,
}

/// Weighted means over the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeansState {
    /// Independent channels.
    pub channels: usize,
}

/// Rows that a session works out once, when it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTable {
    /// Floats of a row.
    pub width: usize,
    /// Rows.
    pub rows: TableRows,
}

/// Most channels of a head that a scan takes at a time.
pub const SCAN_CHANNELS: usize = 64;

/// What a piece of state holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// Keys and values of every position.
    KvCache(KvCache),
    /// Keys and values of an encoder's output.
    Cross(CrossCache),
    /// A convolution's last inputs.
    Conv(ConvState),
    /// A selective scan's hidden state.
    Scan(ScanState),
    /// Weighted means over the past.
    Means(MeansState),
    /// Sums of outer products k ⊗ v.
    Linear(LinearState),
    /// Keys and values of earlier segments.
    SegmentMemory(SegmentMemory),
    /// Rows of earlier segments before their projection.
    HiddenMemory(HiddenMemory),
    /// Rows worked out for the whole session.
    Table(SessionTable),
}

macro_rules! kinds {
    ($($kind:ident($shape:ty)),* $(,)?) => {$(
        impl From<$shape> for StateKind {
            fn from(shape: $shape) -> StateKind {
                StateKind::$kind(shape)
            }
        }
    )*};
}

kinds! {
    KvCache(KvCache),
    Cross(CrossCache),
    Conv(ConvState),
    Scan(ScanState),
    Means(MeansState),
    Linear(LinearState),
    SegmentMemory(SegmentMemory),
    HiddenMemory(HiddenMemory),
    Table(SessionTable),
}

/// How long a kind of state is kept, for whom, and what can be undone of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// By position, in pages that sequences share: it can be truncated.
    Positions,
    /// By encoder's input, which forks of a sequence share.
    Input,
    /// By sequence, in a size that does not depend on its length: it can only be checkpointed.
    Sequence,
    /// By session: it never changes.
    Session,
}

impl Lifetime {
    /// Whether it grows with a sequence.
    pub fn is_by_position(self) -> bool {
        match self {
            Lifetime::Positions => true,
            Lifetime::Input | Lifetime::Sequence | Lifetime::Session => false,
        }
    }
}

impl StateKind {
    /// What it is, for people.
    pub fn name(&self) -> &'static str {
        match self {
            StateKind::KvCache(_) => "KV cache",
            StateKind::Cross(_) => "cross-attention",
            StateKind::Conv(_) => "convolutions",
            StateKind::Scan(_) => "selective scan",
            StateKind::Means(_) => "weighted means",
            StateKind::Linear(_) => "linear attention",
            StateKind::SegmentMemory(_) => "segment memory",
            StateKind::HiddenMemory(_) => "earlier rows",
            StateKind::Table(_) => "table of distances",
        }
    }

    /// How long it is kept.
    pub fn lifetime(&self) -> Lifetime {
        match self {
            StateKind::KvCache(_) => Lifetime::Positions,
            StateKind::Cross(_) => Lifetime::Input,
            StateKind::Conv(_)
            | StateKind::Scan(_)
            | StateKind::Means(_)
            | StateKind::Linear(_)
            | StateKind::SegmentMemory(_)
            | StateKind::HiddenMemory(_) => Lifetime::Sequence,
            StateKind::Table(_) => Lifetime::Session,
        }
    }
}

/// What an operation does with a piece of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads it.
    Read,
    /// Writes to it, and may read it.
    Write,
}

impl Access {
    /// Whether nobody else may touch it meanwhile.
    pub fn is_write(self) -> bool {
        match self {
            Access::Write => true,
            Access::Read => false,
        }
    }
}

/// Declares that an operation reads a piece of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reads<K>(pub Piece<K>);

/// Declares that an operation writes to a piece of state, and may read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writes<K>(pub Piece<K>);

/// All pieces of state that an operation declares.
pub trait Declares {
    /// Visits them.
    fn visit(&self, visit: &mut dyn FnMut(StateId, Access));
}

impl Declares for () {
    fn visit(&self, _: &mut dyn FnMut(StateId, Access)) {}
}

impl<K: Copy> Declares for Reads<K> {
    fn visit(&self, visit: &mut dyn FnMut(StateId, Access)) {
        visit(self.0.id(), Access::Read);
    }
}

impl<K: Copy> Declares for Writes<K> {
    fn visit(&self, visit: &mut dyn FnMut(StateId, Access)) {
        visit(self.0.id(), Access::Write);
    }
}

impl<D: Declares> Declares for Option<D> {
    fn visit(&self, visit: &mut dyn FnMut(StateId, Access)) {
        self.iter().for_each(|declared| declared.visit(visit));
    }
}

impl<A: Declares, B: Declares> Declares for (A, B) {
    fn visit(&self, visit: &mut dyn FnMut(StateId, Access)) {
        self.0.visit(visit);
        self.1.visit(visit);
    }
}

impl<A: Declares, B: Declares, C: Declares> Declares for (A, B, C) {
    fn visit(&self, visit: &mut dyn FnMut(StateId, Access)) {
        self.0.visit(visit);
        self.1.visit(visit);
        self.2.visit(visit);
    }
}
