//! Where a segment memory keeps what.
//!
//! Keys and values stand by the number of their row in the sequence, modulo a capacity that is
//! a multiple of attention's tile: a tile of rows is never cut, wherever the sequence is. Rows
//! before the first are the zeros that a fresh state consists of.

use super::{PAGE, State, StateCapacity, StateError, StateLayout};
use crate::graph::{
    HiddenMemory, MemorySource, SegmentMemory, SegmentRange, Segments, SessionTable, StateKind,
    TableRows,
};
use std::ops::Range;

/// Rows by their number: `[capacity][width]`, as often as its owner says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    /// First float.
    pub start: usize,
    /// Rows, a multiple of [`PAGE`]; 0 if there are none.
    pub capacity: usize,
}

/// Where the parts of a segment memory lie, in floats from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryLayout {
    /// Rows kept and, unless they are kept apart, those of the open segment:
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
    /// Rows kept and those of the open segment, `[layer]`.
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
            Segments::Sliding { .. } | Segments::Feed { .. } => (0, 0),
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
        let (open, past, compressed) = match (memory.segments, memory.source) {
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
                MemorySource::Kept | MemorySource::Projected,
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

/// What was found to fit when it was reserved.
const RESERVED: &str = "laid out when the state was reserved";

impl StateLayout {
    /// Where a segment memory keeps what.
    pub(super) fn memory(&self, memory: SegmentMemory) -> MemoryLayout {
        MemoryLayout::new(&memory, self.capacity).expect(RESERVED)
    }

    /// Where rows before their projection are kept.
    pub(super) fn hidden(&self, hidden: HiddenMemory) -> HiddenLayout {
        HiddenLayout::new(&hidden).expect(RESERVED)
    }

    /// Rows of a table.
    pub(super) fn rows_of(&self, table: SessionTable) -> usize {
        table.rows.count(self.capacity.context).expect(RESERVED)
    }

    /// Most rows of any table.
    pub(crate) fn table_rows(&self) -> usize {
        let rows = self.kinds.iter().map(|kind| match *kind {
            StateKind::Table(table) => self.rows_of(table),
            StateKind::KvCache(_)
            | StateKind::Cross(_)
            | StateKind::Conv(_)
            | StateKind::Scan(_)
            | StateKind::Means(_)
            | StateKind::Linear(_)
            | StateKind::SegmentMemory(_)
            | StateKind::HiddenMemory(_) => 0,
        });
        rows.max().unwrap_or(0)
    }

    /// Pieces that hold rows before their projection.
    fn hiddens(&self) -> Vec<(usize, HiddenMemory)> {
        let kinds = self.kinds.iter().enumerate();
        let hiddens = kinds.filter_map(|(id, kind)| match *kind {
            StateKind::HiddenMemory(hidden) => Some((id, hidden)),
            StateKind::KvCache(_)
            | StateKind::Cross(_)
            | StateKind::Conv(_)
            | StateKind::Scan(_)
            | StateKind::Means(_)
            | StateKind::Linear(_)
            | StateKind::SegmentMemory(_)
            | StateKind::Table(_) => None,
        });
        hiddens.collect()
    }

    fn segments(&self) -> Option<Segments> {
        self.kinds.iter().find_map(|kind| match kind {
            StateKind::SegmentMemory(memory) => Some(memory.segments),
            StateKind::KvCache(_)
            | StateKind::Cross(_)
            | StateKind::Conv(_)
            | StateKind::Scan(_)
            | StateKind::Means(_)
            | StateKind::Linear(_)
            | StateKind::HiddenMemory(_)
            | StateKind::Table(_) => None,
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

    /// How many segments of a sequence were ended early, as far as it matters, by what piece `id`
    /// holds.
    pub(super) fn early(&self, id: usize, layout: HiddenLayout, sequence: u32) -> usize {
        // SAFETY: the layout reserved a float there; it is written with nobody else about.
        let early = unsafe {
            self.unit_ptr(id, sequence as usize)
                .add(layout.early)
                .read()
        };
        // A snapshot's may be anything.
        early as usize
    }

    /// Ends a sequence's open segment before it is full: its rows are forgotten. Says whether
    /// layers have other memories than before.
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
        for (id, hidden) in self.layout.hiddens() {
            let layout = self.layout.hidden(hidden);
            let early = (self.early(id, layout, sequence) % hidden.layers + 1) % hidden.layers;
            // SAFETY: as in `early`, and the borrow is exclusive.
            unsafe {
                let to = self.unit_ptr(id, sequence as usize).add(layout.early);
                to.write(early as f32);
            }
            turned |= hidden.rotates;
        }
        Ok(turned)
    }

    /// Ranges of the state's bytes that hold what a sequence of `len` rows keeps in a segment
    /// memory, in an order that does not depend on capacities.
    pub(super) fn memory_ranges(
        &self,
        (id, memory): (usize, SegmentMemory),
        sequence: u32,
        len: usize,
        ranges: &mut Vec<Range<usize>>,
    ) {
        let layout = self.layout.memory(memory);
        let (start, kept) = kept_at(memory.segments, len);
        let unit = self.unit_offset(id, sequence as usize);
        let width = (2 * memory.heads, memory.head_dim);
        // Unless the open segment is kept apart, it stands with the others.
        layout
            .past
            .ranges(unit, width, kept.rows.start..start, ranges);
        layout.open.ranges(unit, width, 0..len - start, ranges);
        layout
            .compressed
            .ranges(unit, width, kept.compressed, ranges);
    }

    /// The same of rows before their projection.
    pub(super) fn hidden_ranges(
        &self,
        (id, hidden): (usize, HiddenMemory),
        sequence: u32,
        len: usize,
        ranges: &mut Vec<Range<usize>>,
    ) {
        let layout = self.layout.hidden(hidden);
        let (_, kept) = kept_at(hidden.segments, len);
        let unit = self.unit_offset(id, sequence as usize);
        let width = (hidden.layers, hidden.width);
        layout
            .past
            .ranges(unit, width, kept.rows.start..len, ranges);
        layout
            .compressed
            .ranges(unit, width, kept.compressed, ranges);
        let early = unit + layout.early * size_of::<f32>();
        ranges.push(early..early + size_of::<f32>());
    }
}

/// Where the open segment of a sequence of `len` rows began, and what is kept before it.
fn kept_at(segments: Segments, len: usize) -> (usize, SegmentRange) {
    let start = segments.rows().map_or(len, |rows| len - len % rows);
    (start, segments.kept(start))
}

impl Ring {
    /// Bytes of rows `rows` of each of `parts` rings of `width` floats a row, which begin behind
    /// byte `unit`.
    fn ranges(
        self,
        unit: usize,
        (parts, width): (usize, usize),
        rows: Range<usize>,
        ranges: &mut Vec<Range<usize>>,
    ) {
        if self.capacity == 0 {
            return;
        }
        for part in 0..parts {
            let base = self.start + part * self.capacity * width;
            let mut next = rows.start;
            while next < rows.end {
                let place = next % self.capacity;
                let many = (rows.end - next).min(self.capacity - place);
                let first = unit + (base + place * width) * size_of::<f32>();
                ranges.push(first..first + many * width * size_of::<f32>());
                next += many;
            }
        }
    }
}
