//! What RWKV has beside linear attention: the row before, and weighted means over the past.

#![allow(missing_docs)] // operands are named as in the formula above them

use super::{Facts, Lower, Operation, Work, operands};
use crate::graph::state::{ConvState, MeansState, Piece, Writes};
use crate::graph::{Value, Vector};

/// For each vector m: x + (x of the row before − x) ⊙ m, side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenShift {
    pub x: Value,
    pub mixes: Vec<Vector>,
    pub state: Piece<ConvState>,
}

impl Operation for TokenShift {
    const NAME: &'static str = "token_shift";
    type States = Writes<ConvState>;
    operands!(x; mixes, state);

    fn states(&self) -> Writes<ConvState> {
        Writes(self.state)
    }

    fn facts(&self) -> Facts {
        Facts::by_columns(Work::Elements)
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// RWKV-4's weighted mean of values over the past, and of this row's, whose weight is
/// e^(k + first); weights of old ones are e^k, and shrink by e^decay from row to row.
#[derive(Clone, Debug, PartialEq)]
pub struct WkvMean {
    pub k: Value,
    pub v: Value,
    pub decay: Vector,
    pub first: Vector,
    pub state: Piece<MeansState>,
}

impl Operation for WkvMean {
    const NAME: &'static str = "wkv";
    type States = Writes<MeansState>;
    operands!(k, v; decay, first, state);

    fn states(&self) -> Writes<MeansState> {
        Writes(self.state)
    }

    fn facts(&self) -> Facts {
        Facts::by_columns(Work::Elements)
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// For each head of `head_dim` elements: (Σ a ⊙ b ⊙ w) · v.
#[derive(Clone, Debug, PartialEq)]
pub struct Bonus {
    pub a: Value,
    pub b: Value,
    pub v: Value,
    pub weight: Vector,
    pub head_dim: usize,
}

impl Operation for Bonus {
    const NAME: &'static str = "bonus";
    type States = ();
    operands!(a, b, v; weight, head_dim);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}
