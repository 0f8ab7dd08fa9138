//! Segment memory (Dai et al. 2019, Transformer-XL; Rae et al. 2020, Compressive Transformer): what
//! is kept of earlier segments, and which of it a query sees.
//!
//! Everything here follows from a sequence's length and from where its open segment began, so
//! that nothing else has to be saved with a state.

use super::op::{
    AdaptiveSoftmax, AddVector, SegmentAttention, SegmentEvict, SegmentRead, SegmentWrite,
    SegmentWriteCompressed, SegmentWriteHidden, SegmentWriteReprojected, SinusoidalPositions,
    StoreTable,
};
use super::{
    BuildError, Builder, Distances, Net, Op, Piece, Role, RowSpace, SessionTable,
    SinusoidFrequencies, Value, Vector,
};
use std::ops::Range;

/// How a sequence falls into segments, and what each leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segments {
    /// Every query sees the last `len` rows, itself among them, wherever segments begin. Rows
    /// before the first are there from the beginning.
    Sliding {
        /// Rows seen.
        len: usize,
    },
    /// A segment is what one feed brings. A query sees `len` rows before its segment, and the
    /// segment up to itself. Rows before the first are there from the beginning.
    Feed {
        /// Rows kept.
        len: usize,
    },
    /// Segments of so many rows. What no longer fits into `len` kept rows at a segment's
    /// end is compressed, `ratio` rows into one, of which the last `compressed` are kept. A
    /// segment that is ended before it is full leaves nothing behind.
    Rows {
        /// Rows of a segment.
        rows: usize,
        /// Rows kept, at least a segment's.
        len: usize,
        /// Compressed rows kept; 0 if nothing is compressed.
        compressed: usize,
        /// Rows that become one.
        ratio: usize,
    },
}

/// What the segment memory of a sequence of a given length holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRange {
    /// Rows before the open segment.
    pub rows: Range<usize>,
    /// Compressed rows, counted from the first that was ever made.
    pub compressed: Range<usize>,
}

impl Segments {
    /// Rows in which nothing changes: a run must not go past the end of a segment.
    pub fn rows(self) -> Option<usize> {
        match self {
            Segments::Rows { rows, .. } => Some(rows),
            Segments::Sliding { .. } | Segments::Feed { .. } => None,
        }
    }

    /// Kept and compressed rows when the open segment began at row `start`.
    pub fn kept(self, start: usize) -> SegmentRange {
        let first = match self {
            Segments::Sliding { len } | Segments::Feed { len } | Segments::Rows { len, .. } => {
                start.saturating_sub(len)
            }
        };
        let made = self.compressed_by(start);
        let kept = match self {
            Segments::Rows { compressed, .. } => compressed,
            Segments::Sliding { .. } | Segments::Feed { .. } => 0,
        };
        SegmentRange {
            rows: first..start,
            compressed: made.saturating_sub(kept)..made,
        }
    }

    /// Compressed rows ever made when `start` rows have been through whole segments.
    fn compressed_by(self, start: usize) -> usize {
        let Segments::Rows {
            rows,
            len,
            compressed: 1..,
            ..
        } = self
        else {
            return 0;
        };
        // The first segment after which rows must go leaves fewer of them than later ones.
        let ends = start / rows;
        let first = len / rows + 1;
        if ends < first {
            return 0;
        }
        let (_, some) = self.compression(first * rows - len);
        let (_, all) = self.compression(rows);
        some + (ends - first) * all
    }

    /// The rows that leave when the segment that began at `start` ends.
    pub fn evicted(self, start: usize) -> Range<usize> {
        let end = start + self.rows().unwrap_or(0);
        self.kept(start).rows.start..self.kept(end).rows.start
    }

    /// Zeros before so many evicted rows, and what they are compressed to. The reference pads by
    /// the remainder, not to a multiple: rows of the last incomplete group are lost.
    pub fn compression(self, evicted: usize) -> (usize, usize) {
        match self {
            Segments::Rows { ratio, .. } => {
                let padding = evicted % ratio;
                (padding, (evicted + padding) / ratio)
            }
            Segments::Sliding { .. } | Segments::Feed { .. } => (0, 0),
        }
    }
}

/// Where a layer's keys and values of earlier segments come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemorySource {
    /// They stay as they were in their segment.
    Kept,
    /// They are projected anew after each segment, from [`HiddenMemory`] rows.
    Projected,
    /// There are none: it sees its segment.
    Nothing,
}

/// A layer's memory of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentMemory {
    /// Heads.
    pub heads: usize,
    /// Floats of a head.
    pub head_dim: usize,
    /// What is kept of the past.
    pub segments: Segments,
    /// Where they come from.
    pub source: MemorySource,
}

/// Rows of a sequence's earlier segments before their projection, for all layers that have a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HiddenMemory {
    /// Layers that have a memory.
    pub layers: usize,
    /// Floats of a row.
    pub width: usize,
    /// What is kept of the past.
    pub segments: Segments,
    /// Whether each segment's end, early or not, hands every layer the memory of the next one,
    /// and the last one that of the first (Ding et al. 2021, enhanced recurrence).
    pub rotates: bool,
}

impl HiddenMemory {
    /// Which of the kept memories is `layer`'s in the segment that begins at row `start` after
    /// so many that were ended early: they stay where they are, and layers move on.
    pub fn memory(&self, layer: usize, start: usize, early: usize) -> usize {
        match (self.rotates, self.segments.rows()) {
            (true, Some(rows)) => {
                let turns = start / rows % self.layers + early % self.layers;
                (layer + turns) % self.layers
            }
            _ => layer,
        }
    }
}

impl SegmentMemory {
    /// All that tells this memory from others.
    pub(crate) fn numbers(&self) -> [usize; 8] {
        let whose = match self.source {
            MemorySource::Kept => 0,
            MemorySource::Projected => 1,
            MemorySource::Nothing => 2,
        };
        let [a, b, c, d, e] = self.segments.numbers();
        [self.heads, self.head_dim, whose, a, b, c, d, e]
    }
}

impl Segments {
    pub(crate) fn numbers(self) -> [usize; 5] {
        let (kind, rows, len, compressed, ratio) = match self {
            Segments::Sliding { len } => (0, 0, len, 0, 0),
            Segments::Feed { len } => (1, 0, len, 0, 0),
            Segments::Rows {
                rows,
                len,
                compressed,
                ratio,
            } => (2, rows, len, compressed, ratio),
        };
        [kind, rows, len, compressed, ratio]
    }
}

/// Rows of a table that a session works out when it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableRows {
    /// So many.
    Fixed(usize),
    /// One for each position of the session's context, and so many more.
    Context(usize),
}

impl Builder<'_> {
    /// Says how sequences fall into segments.
    pub fn segments(&self, segments: Segments) {
        self.wiring.borrow_mut().segments = Some(segments);
    }

    /// A convolution whose windows do not overlap, `[out, in, taps]`, as a matrix over windows.
    pub fn window_matrix(
        &self,
        name: &str,
        out: usize,
        (inputs, taps): (usize, usize),
    ) -> Result<super::Matrix, BuildError> {
        self.expect(name, &[out, inputs, taps])?;
        Ok(self.add_matrix(name, out, inputs * taps, 1, super::RowOrder::All))
    }

    /// A stored `[columns, rows]` matrix as its transpose.
    pub fn transposed(
        &self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<super::Matrix, BuildError> {
        self.expect(name, &[columns, rows])?;
        Ok(self.add_matrix(name, rows, columns, 1, super::RowOrder::Transposed))
    }

    /// Rows `first..first + rows` of a stored matrix of `stored` rows.
    pub fn row_range(
        &self,
        name: &str,
        stored: (usize, usize),
        (first, rows): (usize, usize),
    ) -> Result<super::Matrix, BuildError> {
        self.matrix_rows(name, stored, rows, range(first, rows))
    }

    /// Numbers `first..first + len` of a stored vector of `stored`, if there is one.
    pub fn optional_vector_range(
        &self,
        name: &str,
        stored: usize,
        (first, len): (usize, usize),
    ) -> Result<Option<Vector>, BuildError> {
        self.optional_vector_rows(name, stored, len, range(first, len))
    }
}

fn range(first: usize, rows: usize) -> super::RowOrder {
    super::RowOrder::Blocks {
        block: rows,
        stride: rows,
        offset: first,
    }
}

impl Net<'_, '_> {
    /// [sin(p f), cos(p f)] of each row's position p.
    pub fn sinusoids(&self, frequencies: SinusoidFrequencies) -> Value {
        self.sinusoids_past(frequencies, 0, None)
    }

    /// The same where the first row's position is `first`, and a token has none.
    pub fn sinusoids_past(
        &self,
        frequencies: SinusoidFrequencies,
        first: u32,
        absent: Option<u32>,
    ) -> Value {
        let space = self.role().rows();
        let width = 2 * frequencies.pairs();
        let op = SinusoidalPositions {
            frequencies,
            first,
            absent,
        };
        self.push_in(space, width, op)
    }

    /// A table of the session: row p is what row p of `x` says.
    pub fn session_table(&self, x: Value, rows: TableRows) -> Piece<SessionTable> {
        let width = self.width(x);
        let state = self.builder.state(SessionTable { width, rows });
        self.push_effect(StoreTable { x, state });
        state
    }

    /// x + the vector, in every row.
    pub fn add_vector(&self, x: Value, vector: Vector) -> Value {
        assert_eq!(
            self.width(x),
            vector.len,
            "architecture: offset of another width"
        );
        self.push(x, self.width(x), AddVector { x, vector })
    }

    /// Keeps keys and values in a segment memory.
    pub fn segment_write(&self, k: Value, v: Value, state: Piece<SegmentMemory>) {
        self.push_effect(SegmentWrite { k, v, state });
    }

    /// Keeps rows of the `layer`th layer that has a memory.
    pub fn segment_write_hidden(&self, x: Value, layer: usize, state: Piece<HiddenMemory>) {
        self.push_effect(SegmentWriteHidden { x, layer, state });
    }

    /// Attention over a segment memory and the open segment; `q` meets keys, `p` meets distances.
    pub fn segment_attention(
        &self,
        (q, p): (Value, Value),
        scale: f32,
        distances: Distances,
        absent: Option<Piece<SessionTable>>,
        state: Piece<SegmentMemory>,
    ) -> Value {
        assert_eq!(
            self.width(q),
            self.width(p),
            "architecture: queries of unequal widths"
        );
        let op = SegmentAttention {
            q,
            p,
            scale,
            distances,
            absent,
            state,
        };
        self.push(q, self.width(q), op)
    }

    /// The rows that leave a layer's memory, `ratio` of `width` floats in each row.
    pub fn segment_evict(
        &self,
        layer: usize,
        state: Piece<HiddenMemory>,
        (width, ratio): (usize, usize),
    ) -> Value {
        let op = SegmentEvict { layer, state };
        self.push_in(RowSpace::Source, width * ratio, op)
    }

    /// Keeps compressed rows of a layer's memory.
    pub fn segment_write_compressed(&self, x: Value, layer: usize, state: Piece<HiddenMemory>) {
        self.push_effect(SegmentWriteCompressed { x, layer, state });
    }

    /// What a layer's memory holds.
    pub fn segment_read(&self, layer: usize, state: Piece<HiddenMemory>, width: usize) -> Value {
        self.push_in(RowSpace::Source, width, SegmentRead { layer, state })
    }

    /// Keeps keys and values of what a layer's memory holds.
    pub fn segment_write_reprojected(&self, k: Value, v: Value, state: Piece<SegmentMemory>) {
        self.push_effect(SegmentWriteReprojected { k, v, state });
    }

    /// Log-probabilities of all tokens: those of the head, then those of each cluster.
    pub fn adaptive_softmax(
        &self,
        head: Value,
        clusters: Option<Value>,
        tails: Vec<Value>,
    ) -> Value {
        assert_eq!(
            clusters.map_or(0, |clusters| self.width(clusters)),
            tails.len(),
            "architecture: clusters without tails"
        );
        let tokens = tails.iter().map(|&tail| self.width(tail));
        let width = self.width(head) + tokens.sum::<usize>();
        let op = AdaptiveSoftmax {
            head,
            clusters,
            tails,
        };
        self.push(head, width, op)
    }

    /// What the graph is for.
    pub fn role(&self) -> Role {
        self.graph.borrow().role
    }

    pub(super) fn push_effect(&self, op: impl Into<Op>) {
        self.graph.borrow_mut().push_effect(op);
    }
}
