//! What DeBERTa has beside softmax attention: distances that queries and keys know by their
//! content, and windows of neighbouring rows.

#![allow(missing_docs)] // operands are named as in the formula above them

use super::{Attention, DistanceBuckets, Facts, Lower, Operand, Operation, Reach, Work, operands};
use crate::graph::state::{Piece, Reads, SessionTable};
use crate::graph::{Value, Vector};

/// softmax(scale · (q kᵀ + q rᵀ + s kᵀ)) v among a run's rows, where r and s are the rows of two
/// tables that the distance of query and key picks (He et al. 2021, section 3.1); without a table
/// its term is absent.
#[derive(Clone, Debug, PartialEq)]
pub struct DisentangledAttention {
    pub q: Value,
    pub k: Value,
    pub v: Value,
    /// Queries for distances and segments, where they are not q.
    pub apart: Option<ApartQueries>,
    /// r: a key for each bucket.
    pub keys: Option<Piece<SessionTable>>,
    /// s: a query for each bucket.
    pub queries: Option<Piece<SessionTable>>,
    pub buckets: DistanceBuckets,
    pub attention: Attention,
}

/// Queries that are not those of keys: for r, and for what stands in the same segment or in another, of
/// which each has a key for each head (Yang et al. 2019, section 2.5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ApartQueries {
    pub distances: Value,
    pub segments: Value,
    /// `[2, heads, head_dim]`: of the same segment, and of another.
    pub segment_keys: Vector,
    /// Positions whose distances all have buckets of their own, if a text must not have more.
    pub positions: Option<u64>,
}

impl Operand for ApartQueries {
    fn visit(&self, visit: &mut dyn FnMut(Value)) {
        [self.distances, self.segments].into_iter().for_each(visit);
    }

    fn map(&mut self, to: &mut dyn FnMut(Value) -> Value) {
        (self.distances, self.segments) = (to(self.distances), to(self.segments));
    }
}

impl Operation for DisentangledAttention {
    const NAME: &'static str = "disentangled_attention";
    type States = (Option<Reads<SessionTable>>, Option<Reads<SessionTable>>);
    operands!(q, k, v, apart; keys, queries, buckets, attention);

    fn states(&self) -> Self::States {
        (self.keys.map(Reads), self.queries.map(Reads))
    }

    fn facts(&self) -> Facts {
        Facts {
            result: true,
            reach: Reach::AllRows,
            in_place: [None; 2],
            work: Work::Elements,
        }
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Of each row the rows of its sequence in `taps` columns around its own, side by side, element by
/// element; zeros where there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnWindow {
    pub x: Value,
    pub taps: usize,
}

impl Operation for ColumnWindow {
    const NAME: &'static str = "column_window";
    type States = ();
    operands!(x; taps);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts {
            result: true,
            reach: Reach::AllRows,
            in_place: [None; 2],
            work: Work::Elements,
        }
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}
