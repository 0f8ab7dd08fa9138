//! Pieces of state in the hands of steps. Nothing but an operation's declaration opens one, and
//! what can be done with it follows from what was declared.

use super::{HiddenLayout, KvType, MemoryLayout, PAGE, State, StateLayout};
use crate::graph::state::{
    ConvState, CrossCache, Declares, HiddenMemory, KvCache, LinearState, MeansState, Piece, Reads,
    ScanState, SegmentMemory, SessionTable, Writes,
};
use std::ops::Range;

/// A piece of state, declared as `A`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handle<'a, A> {
    state: &'a State,
    declared: A,
}

/// Opens what an operation declares.
pub(crate) trait Open: Declares {
    /// A handle for each piece.
    type Handles<'a>;

    /// The handles, into `state`.
    fn open(self, state: &State) -> Self::Handles<'_>;
}

impl Open for () {
    type Handles<'a> = ();

    fn open(self, _: &State) {}
}

impl<K: Copy> Open for Reads<K> {
    type Handles<'a> = Handle<'a, Reads<K>>;

    fn open(self, state: &State) -> Handle<'_, Reads<K>> {
        Handle {
            state,
            declared: self,
        }
    }
}

impl<K: Copy> Open for Writes<K> {
    type Handles<'a> = Handle<'a, Writes<K>>;

    fn open(self, state: &State) -> Handle<'_, Writes<K>> {
        Handle {
            state,
            declared: self,
        }
    }
}

impl<D: Open> Open for Option<D> {
    type Handles<'a> = Option<D::Handles<'a>>;

    fn open(self, state: &State) -> Self::Handles<'_> {
        self.map(|declared| declared.open(state))
    }
}

impl<A: Open, B: Open> Open for (A, B) {
    type Handles<'a> = (A::Handles<'a>, B::Handles<'a>);

    fn open(self, state: &State) -> Self::Handles<'_> {
        (self.0.open(state), self.1.open(state))
    }
}

impl<A: Open, B: Open, C: Open> Open for (A, B, C) {
    type Handles<'a> = (A::Handles<'a>, B::Handles<'a>, C::Handles<'a>);

    fn open(self, state: &State) -> Self::Handles<'_> {
        let (a, b, c) = self;
        (a.open(state), b.open(state), c.open(state))
    }
}

/// A declaration of one piece.
pub(crate) trait Declared {
    /// What the piece holds.
    type Kind: Copy;

    /// The piece.
    fn piece(&self) -> &Piece<Self::Kind>;
}

impl<K: Copy> Declared for Reads<K> {
    type Kind = K;

    fn piece(&self) -> &Piece<K> {
        &self.0
    }
}

impl<K: Copy> Declared for Writes<K> {
    type Kind = K;

    fn piece(&self) -> &Piece<K> {
        &self.0
    }
}

impl<'a, A: Declared> Handle<'a, A> {
    /// What the piece holds of each sequence.
    pub(crate) fn kind(&self) -> A::Kind {
        self.declared.piece().kind()
    }

    /// Address of a page, or of a sequence's floats.
    fn unit(&self, unit: usize) -> *mut f32 {
        self.state
            .unit_ptr(self.declared.piece().id().index(), unit)
    }
}

impl<'a, A: Declared<Kind = KvCache>> Handle<'a, A> {
    /// How keys and values are kept.
    pub(crate) fn kv_type(&self) -> KvType {
        self.state.kv_type()
    }
}

impl<'a> Handle<'a, Reads<KvCache>> {
    /// Pages of a sequence, in order.
    pub(crate) fn pages(&self, sequence: u32) -> &'a [u32] {
        self.state.pages(sequence)
    }

    /// Positions of a page's first entries, at most [`PAGE`].
    pub(crate) fn positions(&self, page: u32, count: usize) -> &'a [u64] {
        assert!(count <= PAGE);
        // SAFETY: a page has PAGE positions, which are written with the state borrowed mutably.
        unsafe { std::slice::from_raw_parts(self.state.positions_ptr(page), count) }
    }

    /// Address of a page: `[k|v][head]`, or keys alone if values are in them, of each [`PAGE`] rows of [`KvType::row_len`] bytes in the
    /// order of [`KvType::parts`].
    pub(crate) fn page(&self, page: u32) -> *const u8 {
        self.unit(page as usize).cast()
    }
}

impl Handle<'_, Writes<KvCache>> {
    /// Address of a page, as the reader's handle has it.
    pub(crate) fn page(&self, page: u32) -> *mut u8 {
        self.unit(page as usize).cast()
    }
}

impl<A: Declared<Kind = CrossCache>> Handle<'_, A> {
    /// Address of a page of floats, as a KV cache has them, of a sequence's encoder input.
    fn cross_page(&self, sequence: u32, index: usize) -> *mut u8 {
        let CrossCache { kv_heads, head_dim } = self.kind();
        let page = 2 * kv_heads * head_dim * PAGE;
        debug_assert!(index * PAGE < self.state.layout().capacity.source);
        let unit = self.unit(self.state.cross_unit(sequence));
        // SAFETY: a unit holds as many pages as the source's rows fill.
        unsafe { unit.add(index * page).cast() }
    }
}

impl Handle<'_, Reads<CrossCache>> {
    /// Rows of the encoder's output that a sequence sees.
    pub(crate) fn len(&self, sequence: u32) -> usize {
        self.state.cross_len(sequence)
    }

    /// Address of a page of them.
    pub(crate) fn page(&self, sequence: u32, index: usize) -> *const u8 {
        self.cross_page(sequence, index)
    }
}

impl Handle<'_, Writes<CrossCache>> {
    /// Address of a page of rows of the encoder's output.
    pub(crate) fn page(&self, sequence: u32, index: usize) -> *mut u8 {
        self.cross_page(sequence, index)
    }
}

/// Kinds that are plain floats, as many for each sequence.
pub(crate) trait FloatState: Copy {}

impl FloatState for ConvState {}
impl FloatState for ScanState {}
impl FloatState for MeansState {}
impl FloatState for LinearState {}

impl<'a, K: FloatState> Handle<'a, Writes<K>> {
    /// Floats `range` of a sequence's.
    ///
    /// # Safety
    ///
    /// `range` lies inside the piece and belongs to this chunk alone.
    #[allow(clippy::mut_from_ref)] // exclusiveness comes from chunks, not from a borrow
    pub(crate) unsafe fn floats_mut(&self, sequence: u32, range: Range<usize>) -> &'a mut [f32] {
        debug_assert!(range.end <= self.state.unit_floats(self.declared.0.id().index()));
        let base = self.unit(sequence as usize);
        // SAFETY: the caller vouches for range and exclusiveness.
        unsafe { std::slice::from_raw_parts_mut(base.add(range.start), range.len()) }
    }
}

impl<'a, K: FloatState> Handle<'a, Reads<K>> {
    /// Floats `range` of a sequence's.
    ///
    /// # Safety
    ///
    /// `range` lies inside the piece.
    pub(crate) unsafe fn floats(&self, sequence: u32, range: Range<usize>) -> &'a [f32] {
        debug_assert!(range.end <= self.state.unit_floats(self.declared.0.id().index()));
        let base = self.unit(sequence as usize);
        // SAFETY: the caller vouches for the range; nobody writes to what a step reads, so the
        // plan's checker found.
        unsafe { std::slice::from_raw_parts(base.add(range.start), range.len()) }
    }
}

/// Kinds that keep earlier segments.
pub(crate) trait Segmental: Copy {
    /// Where the parts of a sequence's lie.
    type Layout;

    fn layout(self, layout: &StateLayout) -> Self::Layout;
}

impl Segmental for SegmentMemory {
    type Layout = MemoryLayout;

    fn layout(self, layout: &StateLayout) -> MemoryLayout {
        layout.memory(self)
    }
}

impl Segmental for HiddenMemory {
    type Layout = HiddenLayout;

    fn layout(self, layout: &StateLayout) -> HiddenLayout {
        layout.hidden(self)
    }
}

impl<A: Declared<Kind: Segmental>> Handle<'_, A> {
    /// Where the parts of a sequence's memory lie.
    pub(crate) fn layout(&self) -> <A::Kind as Segmental>::Layout {
        self.kind().layout(self.state.layout())
    }

    /// The row at which a sequence's open segment began.
    pub(crate) fn segment(&self, sequence: u32) -> usize {
        self.state.segment(sequence)
    }
}

impl<A: Declared<Kind = HiddenMemory>> Handle<'_, A> {
    /// How many segments of a sequence were ended early, as far as it matters.
    pub(crate) fn early(&self, sequence: u32) -> usize {
        let id = self.declared.piece().id().index();
        self.state.early(id, self.layout(), sequence)
    }
}

impl<K: Segmental> Handle<'_, Reads<K>> {
    /// Address of a sequence's memory.
    pub(crate) fn base(&self, sequence: u32) -> *const f32 {
        self.unit(sequence as usize)
    }
}

impl<K: Segmental> Handle<'_, Writes<K>> {
    /// Address of a sequence's memory.
    pub(crate) fn base(&self, sequence: u32) -> *mut f32 {
        self.unit(sequence as usize)
    }
}

impl<A: Declared<Kind = SessionTable>> Handle<'_, A> {
    /// Rows of the table.
    pub(crate) fn rows(&self) -> usize {
        self.state.layout().rows_of(self.kind())
    }
}

impl<'a> Handle<'a, Reads<SessionTable>> {
    /// All rows, one behind the other.
    pub(crate) fn floats(&self) -> &'a [f32] {
        let len = self.rows() * self.kind().width;
        // SAFETY: so many were reserved; nobody writes to what a step reads, so the plan's checker
        // found.
        unsafe { std::slice::from_raw_parts(self.unit(0), len) }
    }
}

impl<'a> Handle<'a, Writes<SessionTable>> {
    /// A row, if there is such a one.
    ///
    /// # Safety
    ///
    /// The row belongs to this chunk alone.
    #[allow(clippy::mut_from_ref)] // exclusiveness comes from chunks, not from a borrow
    pub(crate) unsafe fn row_mut(&self, row: usize) -> Option<&'a mut [f32]> {
        let width = self.kind().width;
        // SAFETY: the row is one of the table's; the caller vouches for exclusiveness.
        (row < self.rows()).then(|| unsafe {
            std::slice::from_raw_parts_mut(self.unit(0).add(row * width), width)
        })
    }
}
