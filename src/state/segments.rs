//! Where a memory of earlier segments keeps what.
//!
//! Keys and values stand by the number of their row in the sequence, modulo a capacity that is
//! a multiple of attention's tile: a tile of rows is never cut, wherever the sequence is. Rows
//! before the first are the zeros that a fresh state consists of.

use super::{PAGE, State, StateCapacity, StateError, StateLayout};
use crate::graph::{HiddenMemory, MemorySource, SegmentMemory, Segments, StateKind, TableRows};
use std::ops::Range;

/// Rows by their number: `[capacity][width]`, as often as its owner says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    /// First float.
    pub start: usize,
    /// Rows, a multiple of [`PAGE`]; 0 if there are none.
    pub capacity: usize,
}

/// Where the parts of a memory lie, in floats from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryLayout {
    /// Rows remembered and, unless they are kept apart, those of the open segment:
    /// `[k|v][head]`.
    pub past: Ring,
    /// Rows of the open segment, counted from its beginning, where they are kept apart.
    pub open: Ring,
    /// Compressed rows: `[k|v][head]`.
    pub compressed: Ring,
    /// Floats in all.
    pub len: usize,
}

/// Where rows before their projection lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HiddenLayout {
    /// Rows remembered and those of the open segment, `[layer]`.
    pub past: Ring,
    /// Compressed rows, `[layer]`.
    pub compressed: Ring,
    /// A float: how many segments were ended early, modulo the layers.
    pub early: usize,
    /// Floats in all.
    pub len: usize,
}

/// Rings one behind the other.
#[derive(Default)]
struct Rings {
    len: usize,
}

impl Rings {
    /// A ring for `rows` rows of `width` floats each, of all its parts.
    fn add(&mut self, rows: usize, width: usize) -> Option<Ring> {
        let capacity = rows.checked_next_multiple_of(PAGE)?;
        let start = self.len;
        self.len = self.len.checked_add(capacity.checked_mul(width)?)?;
        Some(Ring { start, capacity })
    }
}

impl HiddenLayout {
    /// Lays them out; `None` if the sizes overflow.
    pub(crate) fn new(hidden: &HiddenMemory) -> Option<HiddenLayout> {
        let (past, compressed) = match hidden.segments {
            Segments::Rows {
                rows,
                len,
                compressed,
                ..
            } => (len.checked_add(rows)?, compressed),
            _ => (0, 0),
        };
        let width = hidden.layers.checked_mul(hidden.width)?;
        let mut rings = Rings::default();
        Some(HiddenLayout {
            past: rings.add(past, width)?,
            compressed: rings.add(compressed, width)?,
            early: rings.len,
            len: rings.len.checked_add(PAGE)?,
        })
    }
}

impl MemoryLayout {
    /// Lays out a memory; `None` if the sizes overflow.
    pub(crate) fn new(memory: &SegmentMemory, capacity: StateCapacity) -> Option<MemoryLayout> {
        let row = memory.heads.checked_mul(memory.head_dim)?.checked_mul(2)?;
        let (open, past, compressed) = match (memory.segments, memory.remembers) {
            // What a batch writes must not fall on what its first row still sees.
            (Segments::Sliding { len }, _) => (0, len.checked_add(capacity.batch)?, 0),
            (Segments::Feed { len }, _) => (0, len.checked_add(capacity.context)?, 0),
            (Segments::Rows { rows, .. }, MemorySource::Nothing) => (rows, 0, 0),
            (
                Segments::Rows {
                    rows,
                    len,
                    compressed,
                    ..
                },
                _,
            ) => (rows, len, compressed),
        };
        let mut rings = Rings::default();
        Some(MemoryLayout {
            past: rings.add(past, row)?,
            open: rings.add(open, row)?,
            compressed: rings.add(compressed, row)?,
            len: rings.len,
        })
    }
}

impl TableRows {
    /// How many there are in a session.
    pub(crate) fn count(self, context: usize) -> Option<usize> {
        match self {
            TableRows::Fixed(rows) => Some(rows),
            TableRows::Context(more) => context.checked_add(more),
        }
    }
}

impl StateLayout {
    /// Where a piece of state that is a memory keeps what.
    pub(crate) fn memory(&self, id: usize) -> Option<(SegmentMemory, MemoryLayout)> {
        match self.kinds[id] {
            StateKind::SegmentMemory(memory) => {
                Some((memory, MemoryLayout::new(&memory, self.capacity)?))
            }
            _ => None,
        }
    }

    /// Where a piece of state that holds rows before their projection keeps what.
    pub(crate) fn hidden(&self, id: usize) -> Option<(HiddenMemory, HiddenLayout)> {
        match self.kinds[id] {
            StateKind::HiddenMemory(hidden) => Some((hidden, HiddenLayout::new(&hidden)?)),
            _ => None,
        }
    }

    /// Rows of a piece of state that is a table.
    pub(crate) fn table_rows(&self, id: usize) -> usize {
        match self.kinds[id] {
            StateKind::Table { rows, .. } => rows.count(self.capacity.context).unwrap_or(0),
            _ => 0,
        }
    }

    fn segments(&self) -> Option<Segments> {
        self.kinds.iter().find_map(|kind| match kind {
            StateKind::SegmentMemory(memory) => Some(memory.segments),
            _ => None,
        })
    }
}

impl State {
    /// The row at which a sequence's open segment began.
    pub(crate) fn segment(&self, sequence: u32) -> usize {
        self.sequences[sequence as usize].segment
    }

    /// Records that a feed begins.
    pub(crate) fn begin_feed(&mut self, sequence: u32) {
        let rows = self.layout.segments().and_then(Segments::rows);
        let held = &mut self.sequences[sequence as usize];
        held.segment = match rows {
            Some(rows) => held.len - held.len % rows,
            None => held.len,
        };
    }

    /// Rows that a sequence's open segment still takes, if segments have a length.
    pub(crate) fn segment_room(&self, sequence: u32) -> Option<usize> {
        let rows = self.layout.segments()?.rows()?;
        Some(rows - self.sequences[sequence as usize].len % rows)
    }

    /// Whether one feed may bring so many rows: a segment that is what a feed brings is kept
    /// whole.
    pub(crate) fn check_segment(&self, rows: usize) -> Result<(), StateError> {
        let context = self.layout.capacity.context;
        match self.layout.segments() {
            Some(Segments::Feed { .. }) if rows > context => {
                Err(StateError::SegmentFull { rows, context })
            }
            _ => Ok(()),
        }
    }

    /// How many segments of a sequence were ended early, as far as it matters.
    pub(crate) fn early(&self, id: usize, sequence: u32) -> usize {
        let layout = self.layout.hidden(id);
        layout.map_or(0, |(_, layout)| {
            // SAFETY: the layout reserved a float there; it is written with nobody else about.
            let early = unsafe { self.recurrent_ptr(id, sequence).add(layout.early).read() };
            // A snapshot's may be anything.
            early as usize
        })
    }

    /// Ends a sequence's open segment before it is full: its rows are forgotten. Says whether
    /// layers remember others than before.
    pub(crate) fn drop_segment(&mut self, sequence: u32) -> Result<bool, StateError> {
        let len = self.usable(sequence)?.len;
        self.begin_feed(sequence);
        let start = self.segment(sequence);
        if start == len {
            return Ok(false);
        }
        self.drop_checkpoints(sequence, |held| held > start);
        self.sequences[sequence as usize].len = start;
        let mut turned = false;
        for id in 0..self.layout.kinds.len() {
            let Some((hidden, layout)) = self.layout.hidden(id) else {
                continue;
            };
            let early = (self.early(id, sequence) % hidden.layers + 1) % hidden.layers;
            // SAFETY: as in `early`, and the borrow is exclusive.
            unsafe {
                let to = self.recurrent_ptr(id, sequence).add(layout.early);
                to.write(early as f32);
            }
            turned |= hidden.rotates;
        }
        Ok(turned)
    }

    /// Ranges of the memory's bytes that hold what a sequence of `len` rows remembers, in an
    /// order that does not depend on capacities.
    pub(super) fn remembered(&self, id: usize, sequence: u32, len: usize) -> Vec<Range<usize>> {
        let Some(segments) = self.layout.segments() else {
            return Vec::new();
        };
        let start = segments.rows().map_or(len, |rows| len - len % rows);
        let kept = segments.remembered(start);
        let unit = self.unit_offset(id, sequence as usize);
        let mut ranges = Vec::new();
        let mut rows = |ring: Ring, count: usize, width: usize, rows: Range<usize>| {
            if ring.capacity == 0 {
                return;
            }
            for part in 0..count {
                let base = ring.start + part * ring.capacity * width;
                let mut next = rows.start;
                while next < rows.end {
                    let place = next % ring.capacity;
                    let many = (rows.end - next).min(ring.capacity - place);
                    let first = unit + (base + place * width) * size_of::<f32>();
                    ranges.push(first..first + many * width * size_of::<f32>());
                    next += many;
                }
            }
        };
        if let Some((memory, layout)) = self.layout.memory(id) {
            let (parts, dim) = (2 * memory.heads, memory.head_dim);
            // Unless the open segment is kept apart, it stands with the others.
            rows(layout.past, parts, dim, kept.rows.start..start);
            rows(layout.open, parts, dim, 0..len - start);
            rows(layout.compressed, parts, dim, kept.compressed.clone());
        }
        if let Some((hidden, layout)) = self.layout.hidden(id) {
            rows(
                layout.past,
                hidden.layers,
                hidden.width,
                kept.rows.start..len,
            );
            rows(
                layout.compressed,
                hidden.layers,
                hidden.width,
                kept.compressed,
            );
            let early = unit + layout.early * size_of::<f32>();
            ranges.push(early..early + size_of::<f32>());
        }
        ranges
    }
}
