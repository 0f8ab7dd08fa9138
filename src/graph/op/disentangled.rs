//! What DeBERTa has beside softmax attention: distances that queries and keys know by their
//! content, and windows of neighbouring rows.

#![allow(missing_docs)] // operands are named as in the formula above them

use super::{Attention, DistanceBuckets, Facts, Lower, Operation, Reach, Work, operands};
use crate::graph::Value;
use crate::graph::state::{Piece, Reads, SessionTable};

/// softmax(scale · (q kᵀ + q rᵀ + s kᵀ)) v among a run's rows, where r and s are the rows of two
/// tables that the distance of query and key picks (He et al. 2021, section 3.1); without a table
/// its term is absent.
#[derive(Clone, Debug, PartialEq)]
pub struct DisentangledAttention {
    pub q: Value,
    pub k: Value,
    pub v: Value,
    /// r: a key for each bucket.
    pub keys: Option<Piece<SessionTable>>,
    /// s: a query for each bucket.
    pub queries: Option<Piece<SessionTable>>,
    pub buckets: DistanceBuckets,
    pub attention: Attention,
}

impl Operation for DisentangledAttention {
    const NAME: &'static str = "disentangled_attention";
    type States = (Option<Reads<SessionTable>>, Option<Reads<SessionTable>>);
    operands!(q, k, v; keys, queries, buckets, attention);

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
