//! Where a session's state lies: one allocation, laid out before the first token.

use super::{HiddenLayout, KvType, MemoryLayout, PAGE};
use crate::graph::state::Lifetime;
use crate::graph::{
    ConvState, CrossCache, KvCache, MeansState, SCAN_CHANNELS, ScanState, SessionTable, StateKind,
};

/// How much a session's state must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateCapacity {
    /// Positions per sequence.
    pub context: usize,
    /// Sequences.
    pub sequences: usize,
    /// Rows of one run.
    pub batch: usize,
    /// Rows of an encoder's output that one sequence can attend to.
    pub source: usize,
    /// Checkpoints that can be held at a time.
    pub checkpoints: usize,
    /// How the KV cache keeps keys and values.
    pub kv_type: KvType,
}

/// Where each piece of state lies, in bytes.
#[derive(Clone, Debug)]
pub struct StateLayout {
    pub(super) kinds: Vec<StateKind>,
    /// First byte of each piece's first unit.
    pub(super) offsets: Vec<usize>,
    /// Bytes from one unit to the next: a page holds all layers' keys and values, so what a KV
    /// cache takes of memory is in one place.
    pub(super) strides: Vec<usize>,
    pub(super) positions: usize,
    pub(super) pages: usize,
    pub(super) capacity: StateCapacity,
    len: usize,
}

impl StateLayout {
    /// Lays out `kinds`; `None` if the sizes overflow.
    pub fn new(kinds: &[StateKind], capacity: StateCapacity) -> Option<StateLayout> {
        let has_kv = kinds.iter().any(|kind| kind.lifetime().is_by_position());
        let per_sequence = if has_kv {
            capacity.context.div_ceil(PAGE)
        } else {
            0
        };
        let pages = per_sequence.checked_mul(capacity.sequences)?;
        u32::try_from(pages).ok()?;
        let units = capacity.sequences.checked_add(capacity.checkpoints)?;
        let mut len = 0usize;
        let mut reserve = |bytes: usize| -> Option<usize> {
            let start = len;
            len = len.checked_add(bytes)?.checked_next_multiple_of(64)?;
            (len <= isize::MAX as usize).then_some(start)
        };
        let mut offsets = Vec::with_capacity(kinds.len());
        let mut strides = Vec::with_capacity(kinds.len());
        let mut page = 0usize;
        for kind in kinds {
            let unit = unit_len(kind, capacity)?;
            let count = match kind.lifetime() {
                Lifetime::Positions => {
                    offsets.push(page);
                    strides.push(0);
                    page = page.checked_add(unit)?.checked_next_multiple_of(64)?;
                    continue;
                }
                Lifetime::Input => capacity.sequences,
                Lifetime::Session => 1,
                Lifetime::Sequence => units,
            };
            offsets.push(reserve(unit.checked_mul(count)?)?);
            strides.push(unit);
        }
        let kv_cache = reserve(page.checked_mul(pages)?)?;
        for (id, kind) in kinds.iter().enumerate() {
            if kind.lifetime().is_by_position() {
                offsets[id] += kv_cache;
                strides[id] = page;
            }
        }
        let positions = reserve(pages.checked_mul(PAGE * size_of::<u64>())?)?;
        Some(StateLayout {
            kinds: kinds.to_vec(),
            offsets,
            strides,
            positions,
            pages,
            capacity,
            len,
        })
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to hold.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that one sequence holds whatever its length.
    pub fn fixed_len(&self) -> usize {
        self.sum(|kind| !kind.lifetime().is_by_position())
    }

    /// Bytes that `positions` positions of one sequence take, in whole pages.
    pub fn kv_cache_len(&self, positions: usize) -> usize {
        if self.pages == 0 {
            return 0;
        }
        let page = self.sum(|kind| kind.lifetime().is_by_position()) + PAGE * size_of::<u64>();
        positions.div_ceil(PAGE) * page
    }

    /// What each piece is, and the bytes reserved for all that have one.
    pub fn pieces(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let units = self.capacity.sequences + self.capacity.checkpoints;
        let pieces = self.kinds.iter().map(move |kind| {
            let count = match kind.lifetime() {
                Lifetime::Positions => self.pages,
                Lifetime::Input => self.capacity.sequences,
                Lifetime::Session => 1,
                Lifetime::Sequence => units,
            };
            let unit = unit_len(kind, self.capacity).unwrap_or(0);
            (kind.name(), unit * count)
        });
        let positions = self.pages * PAGE * size_of::<u64>();
        pieces.chain((positions > 0).then_some(("positions", positions)))
    }

    fn sum(&self, of: impl Fn(&StateKind) -> bool) -> usize {
        let kinds = self.kinds.iter().filter(|kind| of(kind));
        kinds.filter_map(|kind| unit_len(kind, self.capacity)).sum()
    }
}

/// Bytes of one page (KV cache) or of what one sequence has (the others).
pub(super) fn unit_len(kind: &StateKind, capacity: StateCapacity) -> Option<usize> {
    let floats = match *kind {
        StateKind::KvCache(ref cache) => {
            let KvCache {
                kv_heads, head_dim, ..
            } = *cache;
            let row = capacity.kv_type.row_len(head_dim)?;
            return kv_heads
                .checked_mul(row)?
                .checked_mul(cache.halves() * PAGE);
        }
        StateKind::Cross(CrossCache { kv_heads, head_dim }) => kv_heads
            .checked_mul(head_dim)?
            .checked_mul(2)?
            .checked_mul(capacity.source.checked_next_multiple_of(PAGE)?)?,
        StateKind::Conv(ConvState { channels, width }) => {
            channels.checked_mul(width.saturating_sub(1))?
        }
        StateKind::Scan(ScanState {
            channels,
            states,
            heads,
        }) => {
            // Deferred decays lie behind the state, in whole lines.
            let deferred = match heads {
                Some(heads) => {
                    let parts = channels.checked_div(heads)?.div_ceil(SCAN_CHANNELS);
                    let deferred = heads.checked_mul(parts)?;
                    deferred.checked_next_multiple_of(64 / size_of::<f32>())?
                }
                None => 0,
            };
            channels.checked_mul(states)?.checked_add(deferred)?
        }
        StateKind::Means(MeansState { channels }) => channels.checked_mul(3)?,
        StateKind::Linear(ref linear) => linear.len()?,
        StateKind::SegmentMemory(ref memory) => MemoryLayout::new(memory, capacity)?.len,
        StateKind::HiddenMemory(ref hidden) => HiddenLayout::new(hidden)?.len,
        StateKind::Table(SessionTable { width, rows }) => {
            rows.count(capacity.context)?.checked_mul(width)?
        }
    };
    floats.checked_mul(size_of::<f32>())
}
