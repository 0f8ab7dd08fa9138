//! What a model is wired of: its graphs, and the weights and states that they use.

use super::{GlobalRows, Graph, ReadAt, Role, SecondReading, Segments, StateKind};
use crate::kernels::SCAN_LANES;
use rillm_formats::manifest::Metadata;
use std::collections::BTreeSet;

/// Which stored rows a matrix shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowOrder {
    /// All, in order.
    All,
    /// Row r is stored row `r / block * stride + offset + r % block`: one part of a fused
    /// projection, or one that interleaves its parts head by head.
    Blocks {
        /// Rows that stay together.
        block: usize,
        /// Stored rows from one block to the next.
        stride: usize,
        /// Stored rows before the first.
        offset: usize,
    },
    /// Of a table `[rows][columns]` each [`SCAN_LANES`] rows are turned into
    /// `[columns][rows]`, as scans and convolutions want the numbers of their channels.
    Turned {
        /// Rows of the table.
        rows: usize,
        /// Columns of the table.
        columns: usize,
        /// Stored rows before the first.
        before: usize,
    },
    /// Row r is stored column r.
    Transposed,
    /// Each stored row so many times.
    Repeated {
        /// How many.
        times: usize,
    },
    /// Of a matrix the inverse of each row's length.
    InverseLengths,
}

impl RowOrder {
    /// Where row `row` is stored; `None` if the number overflows.
    pub fn stored(self, row: usize) -> Option<usize> {
        match self {
            RowOrder::All | RowOrder::Transposed | RowOrder::InverseLengths => Some(row),
            RowOrder::Repeated { times } => row.checked_div(times),
            RowOrder::Blocks {
                block,
                stride,
                offset,
            } => row
                .checked_div(block)?
                .checked_mul(stride)?
                .checked_add(offset)?
                .checked_add(row % block),
            RowOrder::Turned {
                rows,
                columns,
                before,
            } => {
                let first = row.checked_div(SCAN_LANES.checked_mul(columns)?)? * SCAN_LANES;
                let lanes = SCAN_LANES.min(rows.checked_sub(first)?);
                let rest = row - first * columns;
                let lane = first + rest.checked_rem(lanes)?;
                (before + lane)
                    .checked_mul(columns)?
                    .checked_add(rest / lanes)
            }
        }
    }

    /// Whether `rows` rows lie within `stored`. Later rows are stored further behind, or all
    /// rows are there.
    pub(super) fn fits(self, rows: usize, stored: usize) -> bool {
        let last = rows.checked_sub(1).and_then(|last| self.stored(last));
        last.is_some_and(|last| last < stored)
    }
}

/// A matrix that the graphs use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MatrixSpec {
    /// Canonical name of the tensor.
    pub name: String,
    /// Rows in all (a stack's: of every expert).
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Which stored rows.
    pub order: RowOrder,
}

/// A vector that the graphs use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VectorSpec {
    /// Canonical name of the tensor; none for constants.
    pub name: String,
    /// Number of floats.
    pub len: usize,
    /// Which of the stored ones they are.
    pub order: RowOrder,
    /// Bits of its floats, if they come from no file.
    pub constant: Option<Vec<u32>>,
}

/// Tokens that are not chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forced {
    /// The first one of a text.
    pub first: Option<u32>,
    /// The last one of a text that is as long as it may become.
    pub last: Option<u32>,
}

/// What the positions of a padded text count, where they are not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counting {
    /// Columns, padding or not.
    #[default]
    Columns,
    /// Tokens that are not masked.
    Unmasked,
    /// Tokens, masked or not, that are not this one, the padding.
    Unpadded(u32),
}

/// Everything an architecture's `build` leaves behind.
#[derive(Clone, Debug, Default)]
pub struct Wiring {
    /// The graphs, at most one per role.
    pub graphs: Vec<Graph>,
    /// Matrices by id.
    pub matrices: Vec<MatrixSpec>,
    /// Vectors by id.
    pub vectors: Vec<VectorSpec>,
    /// Pieces of state by id.
    pub states: Vec<StateKind>,
    /// Positions that the model was trained for.
    pub context: Option<usize>,
    /// The token a decoder of an encoder–decoder model starts from.
    pub decoder_start: Option<u32>,
    /// Tokens that its texts have whatever it predicts.
    pub forced: Forced,
    /// What a decoder reads that is given no text, if it reads its encoder's.
    pub second_reading: Option<SecondReading>,
    /// Whether what it answers is known by the name of its class alone.
    pub class_counts: bool,
    /// Where its only output for a text is, if there is not one for each token.
    pub read_at: Option<ReadAt>,
    /// What positions count.
    pub counting: Counting,
    /// How sequences fall into segments, if they do.
    pub segments: Option<Segments>,
    /// Which rows are global where nobody says, if some may be.
    pub global_rows: Option<GlobalRows>,
    /// The token that ends a question, if the model tells the tokens of one by it.
    pub question_separator: Option<u32>,
    /// The first layer of those that the files hold and no graph runs, if there are any.
    pub layers_left_out: Option<usize>,
    /// What of the files is done without, for people.
    pub notes: Vec<String>,
    /// Hyperparameters that the class of a folder takes for granted, by canonical name.
    pub granted: Metadata,
    /// Hyperparameters that are real numbers, however a configuration writes them.
    pub reals: BTreeSet<String>,
}

impl Wiring {
    /// The graph for a role, if there is one.
    pub fn graph(&self, role: Role) -> Option<&Graph> {
        self.graphs.iter().find(|graph| graph.role == role)
    }
}
