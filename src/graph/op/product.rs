//! Products with matrices, rows of tables, and the rounding that products ask for.

#![allow(missing_docs)] // operands are named as in the formula above them

use super::{Facts, Lower, Operation, Work, operands};
use crate::graph::{Activation, Matrix, Value, Vector};

/// Which fact of a row picks the row of an embedding table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// The token's id.
    Token,
    /// The position.
    Position,
    /// The position, counted from behind the row of the padding token, which is this one and has
    /// that row whatever its position (RoBERTa).
    PositionPast(u32),
    /// The token type (BERT's segment).
    TokenType,
    /// The token's id counted from this one; tokens outside of the table get zeros.
    TokenFrom(u32),
    /// The token's id; tokens outside of the table get its first row.
    TokenOrFirst,
}

/// Row `index(row)` of a table → `[rows, columns]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Embed {
    pub table: Matrix,
    pub index: Index,
}

impl Operation for Embed {
    const NAME: &'static str = "embed";
    type States = ();
    operands!(; table, index);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Which rows of a product anybody reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// All.
    #[default]
    All,
    /// Those that are global.
    Global,
    /// Those of sequences in which some are global.
    BesideGlobal,
}

/// x Wᵀ + b. Where none of its rows is wanted there is no product.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseMatMul {
    pub x: Value,
    pub weight: Matrix,
    pub bias: Option<Vector>,
    pub wanted: Wanted,
}

impl Operation for DenseMatMul {
    const NAME: &'static str = "matmul";
    type States = ();
    operands!(x; weight, bias, wanted);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::by_columns(Work::Product(self.weight))
    }

    fn lower(&mut self, plan: &mut dyn Lower) {
        self.x = plan.rounded(self.x, self.weight);
    }
}

/// Which side of its matrix a head stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadSide {
    /// x Wᵀ, as elsewhere.
    Columns,
    /// x W.
    Rows,
}

/// Each head of x through its own matrix of a stack.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadMatMul {
    pub x: Value,
    pub weights: Matrix,
    pub side: HeadSide,
}

impl Operation for HeadMatMul {
    const NAME: &'static str = "head_matmul";
    type States = ();
    operands!(x; weights, side);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::by_columns(Work::Product(self.weights))
    }

    fn lower(&mut self, plan: &mut dyn Lower) {
        match self.side {
            HeadSide::Columns => self.x = plan.rounded(self.x, self.weights),
            // Rows of the matrix are decoded, and weighted by floats.
            HeadSide::Rows => {}
        }
    }
}

/// x rounded to blocks of int8, once for all its consumers.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizeActivation {
    pub x: Value,
    pub to: Activation,
}

impl Operation for QuantizeActivation {
    const NAME: &'static str = "quantize";
    type States = ();
    operands!(x; to);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}
