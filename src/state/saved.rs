//! Which bytes hold a sequence, for writing them out and bringing them back.

use super::{KvType, PAGE, State, StateError, is_recurrent, unit_len};
use crate::graph::{CrossCache, KvCache, StateKind};
use crate::kernels::KvHalf;
use std::ops::Range;

impl State {
    /// Ranges of the memory that hold a sequence, in an order and of lengths that follow from
    /// its length, its source's length and the kinds of state alone.
    pub(crate) fn saved(&self, sequence: u32) -> Result<Vec<Range<usize>>, StateError> {
        let held = self.usable(sequence)?;
        let mut ranges = Vec::new();
        let used = |index: usize| PAGE.min(held.len - index * PAGE);
        for (index, &page) in held.pages.iter().enumerate() {
            let start = self.positions_offset(page);
            ranges.push(start..start + used(index) * size_of::<u64>());
        }
        for (id, kind) in self.layout.kinds.iter().enumerate() {
            match *kind {
                StateKind::KvCache(cache) => {
                    let kept = (self.kv_type(), cache);
                    for (index, &page) in held.pages.iter().enumerate() {
                        let unit = self.unit_offset(id, page as usize);
                        page_ranges(unit, kept, used(index), &mut ranges);
                    }
                }
                StateKind::Cross(CrossCache { kv_heads, head_dim }) => {
                    let unit = self.unit_offset(id, held.cross_unit);
                    let page = 2 * kv_heads * head_dim * PAGE * size_of::<f32>();
                    let kept = (KvType::F32, KvCache::new(kv_heads, head_dim));
                    for index in 0..held.cross_len.div_ceil(PAGE) {
                        let used = PAGE.min(held.cross_len - index * PAGE);
                        page_ranges(unit + index * page, kept, used, &mut ranges);
                    }
                }
                StateKind::SegmentMemory(memory) => {
                    self.memory_ranges((id, memory), sequence, held.len, &mut ranges);
                }
                StateKind::HiddenMemory(hidden) => {
                    self.hidden_ranges((id, hidden), sequence, held.len, &mut ranges);
                }
                StateKind::Table(_) => {}
                StateKind::Conv(_)
                | StateKind::Scan(_)
                | StateKind::Means(_)
                | StateKind::Linear(_) => {
                    let unit = self.unit_offset(id, sequence as usize);
                    ranges.push(unit..unit + unit_len(kind, self.layout.capacity).unwrap_or(0));
                }
            }
        }
        Ok(ranges)
    }

    /// Makes a sequence one of `len` positions and `source` rows of an encoder's output, whose
    /// saved bytes are then to be written.
    pub(crate) fn prepare(
        &mut self,
        sequence: u32,
        len: usize,
        source: usize,
    ) -> Result<(), StateError> {
        self.reset(sequence)?;
        let context = self.layout.capacity.context;
        if self.layout.pages > 0 && len > context {
            return Err(StateError::ContextFull { context });
        }
        self.begin_cross(sequence, source)?;
        if self.layout.pages > 0 {
            for _ in 0..len.div_ceil(PAGE) {
                let page = self.take_page();
                self.sequences[sequence as usize].pages.push(page);
            }
        }
        self.sequences[sequence as usize].len = len;
        Ok(())
    }

    /// Positions of a sequence's entries, if it has a KV cache.
    pub(crate) fn positions(&self, sequence: u32) -> impl Iterator<Item = u64> {
        let held = &self.sequences[sequence as usize];
        let ranges = held.pages.iter().enumerate().map(|(index, &page)| {
            let start = self.positions_offset(page);
            start..start + PAGE.min(held.len - index * PAGE) * size_of::<u64>()
        });
        ranges.flat_map(|range| {
            let (positions, _) = self.bytes(range).as_chunks::<8>();
            positions.iter().map(|bytes| u64::from_ne_bytes(*bytes))
        })
    }

    /// Bytes of the memory.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        assert!(range.start <= range.end && range.end <= self.memory.len());
        // SAFETY: inside the allocation, which is zeroed, and nobody writes to it while it is
        // borrowed.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(range.start), range.len()) }
    }

    /// Bytes of the memory, to be written.
    pub(crate) fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        assert!(range.start <= range.end && range.end <= self.memory.len());
        // SAFETY: as in `bytes`, and the borrow is exclusive.
        unsafe {
            std::slice::from_raw_parts_mut(self.memory.as_ptr().add(range.start), range.len())
        }
    }

    /// Whether some state cannot be cut, only checkpointed.
    pub(crate) fn is_recurrent(&self) -> bool {
        self.layout.kinds.iter().any(is_recurrent)
    }
}

/// Of a page of keys and values, the bytes of its first `used` entries.
fn page_ranges(
    unit: usize,
    (kv_type, cache): (KvType, KvCache),
    used: usize,
    ranges: &mut Vec<Range<usize>>,
) {
    let KvCache {
        kv_heads, head_dim, ..
    } = cache;
    let heads = cache.halves() * kv_heads;
    let head_len = PAGE * kv_type.row_len(head_dim).unwrap_or(0);
    if used == PAGE {
        ranges.push(unit..unit + heads * head_len);
        return;
    }
    for head in 0..heads {
        let half = match head < kv_heads {
            true => KvHalf::Keys,
            false => KvHalf::Values,
        };
        ranges.extend(kv_type.parts(half, head_dim).map(|(first, len)| {
            let start = unit + head * head_len + PAGE * first;
            start..start + used * len
        }));
    }
}
