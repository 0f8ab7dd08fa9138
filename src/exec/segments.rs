//! Segment memory: what is written to it, and what a segment's end reads, compresses and projects
//! anew.

use super::run::{Handles, Step, StepContext, row_chunks};
use crate::graph::op::{
    SegmentEvict, SegmentRead, SegmentWrite, SegmentWriteCompressed, SegmentWriteHidden,
    SegmentWriteReprojected, StoreTable,
};
use crate::graph::state::{Reads, Writes};
use crate::graph::{HiddenMemory, MemorySource, SegmentMemory, SegmentRange, Value};
use crate::state::{Handle, HiddenLayout, Ring};

impl Step for StoreTable {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        row_chunks(cx.tile)
    }

    fn run(&self, cx: &StepContext<'_>, table: Handles<'_, Self>, chunk: usize) {
        for row in cx.rows_of(chunk) {
            let place = cx.rows.facts[row].row.position as usize;
            // SAFETY: a run's positions differ, so this row of the table is nobody else's.
            if let Some(to) = unsafe { table.row_mut(place) } {
                to.copy_from_slice(cx.row(self.x, row));
            }
        }
    }
}

impl Step for SegmentWrite {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        row_chunks(cx.tile)
    }

    fn run(&self, cx: &StepContext<'_>, state: Handles<'_, Self>, chunk: usize) {
        let layout = state.layout();
        for row in cx.rows_of(chunk) {
            let facts = &cx.rows.facts[row];
            let (ring, place) = match state.kind().source {
                MemorySource::Kept => (layout.past, facts.number),
                MemorySource::Projected | MemorySource::Nothing => {
                    (layout.open, facts.number - facts.segment)
                }
            };
            write_pair(cx, row, (self.k, self.v), state, (ring, place));
        }
    }
}

impl Step for SegmentWriteReprojected {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        row_chunks(cx.tile)
    }

    fn run(&self, cx: &StepContext<'_>, state: Handles<'_, Self>, chunk: usize) {
        let layout = state.layout();
        for row in cx.rows_of(chunk) {
            let facts = &cx.rows.facts[row];
            let start = state.segment(facts.row.sequence);
            let to = match nth(state.kind().segments.kept(start), facts.number) {
                (true, place) => (layout.compressed, place),
                (false, place) => (layout.past, place),
            };
            write_pair(cx, row, (self.k, self.v), state, to);
        }
    }
}

/// Whether row `index` of what is kept is a compressed one, and its number.
fn nth(kept: SegmentRange, index: usize) -> (bool, usize) {
    let SegmentRange { rows, compressed } = kept;
    match index.checked_sub(compressed.len()) {
        None => (true, compressed.start + index),
        Some(index) => (false, rows.start + index),
    }
}

/// Writes one row's keys and values into row `place` of a ring.
fn write_pair(
    cx: &StepContext<'_>,
    row: usize,
    (k, v): (Value, Value),
    state: Handle<'_, Writes<SegmentMemory>>,
    (ring, place): (Ring, usize),
) {
    if ring.capacity == 0 {
        return;
    }
    let SegmentMemory {
        heads, head_dim, ..
    } = state.kind();
    let base = state.base(cx.rows.facts[row].row.sequence);
    let place = place % ring.capacity;
    for (half, value) in [k, v].into_iter().enumerate() {
        let parts = cx.row(value, row).chunks_exact(head_dim);
        for (head, from) in parts.enumerate().take(heads) {
            let to = (half * heads + head) * ring.capacity + place;
            let to = ring.start + to * head_dim;
            // SAFETY: a ring is 2 × heads × capacity rows of head_dim floats, and this row's
            // place in it is nobody else's.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), base.add(to), head_dim) }
        }
    }
}

/// Where one layer's rows before their projection stand in a sequence's state.
struct HiddenPlaces {
    hidden: HiddenMemory,
    layout: HiddenLayout,
    /// Whose memory they are now.
    memory: usize,
}

impl HiddenPlaces {
    /// Those of `layer` in the segment that begins at row `start`, after so many that were ended
    /// early.
    fn of(
        (hidden, layout): (HiddenMemory, HiddenLayout),
        (layer, start): (usize, usize),
        early: usize,
    ) -> HiddenPlaces {
        HiddenPlaces {
            hidden,
            layout,
            memory: hidden.memory(layer, start, early),
        }
    }

    /// The first float of a row.
    fn place(&self, compressed: bool, row: usize) -> usize {
        let ring = match compressed {
            true => self.layout.compressed,
            false => self.layout.past,
        };
        let place = self.memory * ring.capacity + row % ring.capacity.max(1);
        ring.start + place * self.hidden.width
    }
}

/// One layer's rows of a sequence, for reading.
struct HiddenRows<'a> {
    places: HiddenPlaces,
    /// Where the sequence's open segment began.
    start: usize,
    state: Handle<'a, Reads<HiddenMemory>>,
    sequence: u32,
}

impl<'a> HiddenRows<'a> {
    fn of(state: Handle<'a, Reads<HiddenMemory>>, sequence: u32, layer: usize) -> HiddenRows<'a> {
        let start = state.segment(sequence);
        let kind = (state.kind(), state.layout());
        HiddenRows {
            places: HiddenPlaces::of(kind, (layer, start), state.early(sequence)),
            start,
            state,
            sequence,
        }
    }

    fn row(&self, compressed: bool, row: usize) -> &'a [f32] {
        let place = self.places.place(compressed, row);
        // SAFETY: one row: a ring is `capacity` rows of this width for each layer. Nobody writes to
        // it during this step.
        unsafe {
            let from = self.state.base(self.sequence).add(place);
            std::slice::from_raw_parts(from, self.places.hidden.width)
        }
    }
}

/// Writes row `row` of `x` to a place in a sequence's rows.
fn write_hidden(
    cx: &StepContext<'_>,
    state: Handle<'_, Writes<HiddenMemory>>,
    (x, row): (Value, usize),
    place: usize,
) {
    let from = cx.row(x, row);
    let base = state.base(cx.rows.facts[row].row.sequence);
    // SAFETY: one row (see `HiddenRows::row`), which is nobody else's.
    unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), base.add(place), from.len()) }
}

impl Step for SegmentWriteHidden {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        row_chunks(cx.tile)
    }

    fn run(&self, cx: &StepContext<'_>, state: Handles<'_, Self>, chunk: usize) {
        for row in cx.rows_of(chunk) {
            let facts = &cx.rows.facts[row];
            let (kind, early) = (
                (state.kind(), state.layout()),
                state.early(facts.row.sequence),
            );
            let places = HiddenPlaces::of(kind, (self.layer, facts.segment), early);
            let place = places.place(false, facts.number);
            write_hidden(cx, state, (self.x, row), place);
        }
    }
}

impl Step for SegmentEvict {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        row_chunks(cx.tile)
    }

    /// As many rows as are compressed to one, their elements side by side, as a convolution's
    /// weights are.
    fn run(&self, cx: &StepContext<'_>, state: Handles<'_, Self>, chunk: usize) {
        let width = cx.width(cx.out());
        for row in cx.rows_of(chunk) {
            let facts = &cx.rows.facts[row];
            let rows = HiddenRows::of(state, facts.row.sequence, self.layer);
            let HiddenMemory {
                width: part,
                segments,
                ..
            } = rows.places.hidden;
            let ratio = width / part;
            let evicted = segments.evicted(rows.start);
            let (padding, _) = segments.compression(evicted.len());
            // SAFETY: this row is this chunk's, and nothing that is read lies in its bytes.
            let out = unsafe { cx.row_mut(cx.out(), row, 0..width) };
            for tap in 0..ratio {
                let from = (facts.number * ratio + tap).checked_sub(padding);
                let from = from.map(|from| rows.row(false, evicted.start + from));
                for (element, out) in out.chunks_exact_mut(ratio).enumerate() {
                    out[tap] = from.map_or(0.0, |from| from[element]);
                }
            }
        }
    }
}

impl Step for SegmentWriteCompressed {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        row_chunks(cx.tile)
    }

    fn run(&self, cx: &StepContext<'_>, state: Handles<'_, Self>, chunk: usize) {
        let kind = (state.kind(), state.layout());
        let segments = state.kind().segments;
        for row in cx.rows_of(chunk) {
            let facts = &cx.rows.facts[row];
            let start = state.segment(facts.row.sequence);
            let number = segments.kept(start).compressed.end + facts.number;
            let end = start + segments.rows().unwrap_or(0);
            // Of more than are kept the first are not even written: they would fall on the last.
            if segments.kept(end).compressed.contains(&number) {
                let early = state.early(facts.row.sequence);
                let places = HiddenPlaces::of(kind, (self.layer, start), early);
                write_hidden(cx, state, (self.x, row), places.place(true, number));
            }
        }
    }
}

impl Step for SegmentRead {
    fn chunks(&self, cx: &StepContext<'_>) -> usize {
        row_chunks(cx.tile)
    }

    fn run(&self, cx: &StepContext<'_>, state: Handles<'_, Self>, chunk: usize) {
        let width = cx.width(cx.out());
        for row in cx.rows_of(chunk) {
            let facts = &cx.rows.facts[row];
            let rows = HiddenRows::of(state, facts.row.sequence, self.layer);
            let segments = rows.places.hidden.segments;
            let (compressed, number) = nth(segments.kept(rows.start), facts.number);
            // SAFETY: this row is this chunk's, and nothing that is read lies in its bytes.
            let out = unsafe { cx.row_mut(cx.out(), row, 0..width) };
            out.copy_from_slice(rows.row(compressed, number));
        }
    }
}
