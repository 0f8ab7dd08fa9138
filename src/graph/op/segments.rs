//! Segment memory: what is written to it, attention over it, and what a segment's end does.

#![allow(missing_docs)] // operands are named as in the formula above them

use super::{Facts, Lower, Operation, Work, operands};
use crate::graph::state::{HiddenMemory, Piece, Reads, SegmentMemory, SessionTable, Writes};
use crate::graph::{Value, Vector};

/// How often a row before the first stands in its table: as often as attention takes at a time.
pub const ABSENT_ROWS: usize = 64;

/// Keeps row p in a session's table, p being its position.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreTable {
    pub x: Value,
    pub state: Piece<SessionTable>,
}

impl Operation for StoreTable {
    const NAME: &'static str = "store_table";
    type States = Writes<SessionTable>;
    operands!(x; state);

    fn states(&self) -> Self::States {
        Writes(self.state)
    }

    fn facts(&self) -> Facts {
        Facts::effect()
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Writes rows' keys and values into a segment memory.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentWrite {
    pub k: Value,
    pub v: Value,
    pub state: Piece<SegmentMemory>,
}

impl Operation for SegmentWrite {
    const NAME: &'static str = "segment_write";
    type States = Writes<SegmentMemory>;
    operands!(k, v; state);

    fn states(&self) -> Self::States {
        Writes(self.state)
    }

    fn facts(&self) -> Facts {
        Facts::effect()
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Keeps rows for the projections of later segments.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentWriteHidden {
    pub x: Value,
    pub layer: usize,
    pub state: Piece<HiddenMemory>,
}

impl Operation for SegmentWriteHidden {
    const NAME: &'static str = "segment_write_hidden";
    type States = Writes<HiddenMemory>;
    operands!(x; layer, state);

    fn states(&self) -> Self::States {
        Writes(self.state)
    }

    fn facts(&self) -> Facts {
        Facts::effect()
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// What position a key at some distance has for a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distances {
    /// Row `distance` of a session's table, or its last.
    Table(Piece<SessionTable>),
    /// Learned, `[heads][positions][head_dim]`: counted back from the end of the segment
    /// memory and a whole segment.
    Learned {
        /// The table.
        table: Vector,
        /// Its positions.
        positions: usize,
    },
}

/// softmax(scale · (q kᵀ + p rᵀ)) v over a segment memory and the open segment, where r belongs to
/// the distance of key and query.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentAttention {
    pub q: Value,
    pub p: Value,
    pub scale: f32,
    pub distances: Distances,
    /// `[k, v]` of a row before the first, [`ABSENT_ROWS`] times; zeros without.
    pub absent: Option<Piece<SessionTable>>,
    pub state: Piece<SegmentMemory>,
}

impl Operation for SegmentAttention {
    const NAME: &'static str = "segment_attention";
    type States = (
        Reads<SegmentMemory>,
        Option<Reads<SessionTable>>,
        Option<Reads<SessionTable>>,
    );
    operands!(q, p; scale, distances, absent, state);

    /// The memory, the table of distances, and that of the row before the first.
    fn states(&self) -> Self::States {
        let distances = match self.distances {
            Distances::Table(table) => Some(Reads(table)),
            Distances::Learned { .. } => None,
        };
        (Reads(self.state), distances, self.absent.map(Reads))
    }

    fn facts(&self) -> Facts {
        Facts::by_columns(Work::Elements)
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Of a sequence whose segment ends: row i holds the rows that become compressed row i, side by
/// side, element by element.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentEvict {
    pub layer: usize,
    pub state: Piece<HiddenMemory>,
}

impl Operation for SegmentEvict {
    const NAME: &'static str = "segment_evict";
    type States = Reads<HiddenMemory>;
    operands!(; layer, state);

    fn states(&self) -> Self::States {
        Reads(self.state)
    }

    fn facts(&self) -> Facts {
        Facts::by_columns(Work::Elements)
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Keeps compressed rows.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentWriteCompressed {
    pub x: Value,
    pub layer: usize,
    pub state: Piece<HiddenMemory>,
}

impl Operation for SegmentWriteCompressed {
    const NAME: &'static str = "segment_write_compressed";
    type States = Writes<HiddenMemory>;
    operands!(x; layer, state);

    fn states(&self) -> Self::States {
        Writes(self.state)
    }

    fn facts(&self) -> Facts {
        Facts::effect()
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Row i of what a layer keeps: compressed rows, then the others.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentRead {
    pub layer: usize,
    pub state: Piece<HiddenMemory>,
}

impl Operation for SegmentRead {
    const NAME: &'static str = "segment_read";
    type States = Reads<HiddenMemory>;
    operands!(; layer, state);

    fn states(&self) -> Self::States {
        Reads(self.state)
    }

    fn facts(&self) -> Facts {
        Facts::by_columns(Work::Elements)
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Keeps the keys and values of row i of what a layer's memory holds.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentWriteReprojected {
    pub k: Value,
    pub v: Value,
    pub state: Piece<SegmentMemory>,
}

impl Operation for SegmentWriteReprojected {
    const NAME: &'static str = "segment_write_reprojected";
    type States = Writes<SegmentMemory>;
    operands!(k, v; state);

    fn states(&self) -> Self::States {
        Writes(self.state)
    }

    fn facts(&self) -> Facts {
        Facts::effect()
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}
