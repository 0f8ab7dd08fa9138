//! Parts of values, rows of values, and what leaves a graph.

#![allow(missing_docs)] // operands are named as in the formula above them

use super::{Facts, Lower, Operation, Reach, Work, operands};
use crate::graph::Value;

/// Columns `offset..offset + width` of x: a view, never a copy.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    pub x: Value,
    pub offset: usize,
}

impl Operation for Slice {
    const NAME: &'static str = "slice";
    type States = ();
    operands!(x; offset);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts {
            result: true,
            reach: Reach::View,
            in_place: [None; 2],
            work: Work::Elements,
        }
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Rows that are asked for (`Selected`), or the first of each sequence (`Sequence`).
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    pub x: Value,
}

impl Operation for Select {
    const NAME: &'static str = "select";
    type States = ();
    operands!(x;);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts {
            result: true,
            reach: Reach::PickedRow,
            in_place: [None; 2],
            work: Work::Elements,
        }
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// The mean of the rows of each sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct MeanRows {
    pub x: Value,
}

impl Operation for MeanRows {
    const NAME: &'static str = "mean_rows";
    type States = ();
    operands!(x;);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts {
            result: true,
            reach: Reach::PickedRow,
            in_place: [None; 2],
            work: Work::Elements,
        }
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Log-probabilities of all tokens: log softmax of [head, clusters], and for the tokens of cluster
/// i their log softmax among themselves plus the cluster's (Grave et al. 2017).
#[derive(Clone, Debug, PartialEq)]
pub struct AdaptiveSoftmax {
    pub head: Value,
    pub clusters: Option<Value>,
    pub tails: Vec<Value>,
}

impl Operation for AdaptiveSoftmax {
    const NAME: &'static str = "adaptive_softmax";
    type States = ();
    operands!(head, clusters, tails;);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Hands each row of x to the caller under a name; where rows are numbers, squeezed, without an
/// extent for them.
#[derive(Clone, Debug, PartialEq)]
pub struct Emit {
    pub x: Value,
    pub name: &'static str,
    pub squeezed: bool,
}

impl Operation for Emit {
    const NAME: &'static str = "emit";
    type States = ();
    operands!(x; name, squeezed);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::effect()
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}
