//! Mixtures of experts: a row's experts are values, chosen at run time inside a static plan.

#![allow(missing_docs)] // operands are named as in the formula above them

use super::{Facts, Lower, Operation, Work, operands};
use crate::graph::{Matrix, Value};

/// Among which experts the weights of the chosen ones add up to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// The chosen ones.
    Chosen,
    /// All.
    All,
}

/// Top-k of softmax(logits) → `[rows, 2k]`: k weights, then k expert numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub logits: Value,
    pub top_k: usize,
    pub among: Among,
}

impl Operation for Route {
    const NAME: &'static str = "route";
    type States = ();
    operands!(logits; top_k, among);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Slot s of a row: x W[expert s]ᵀ → `[rows, k · out]`; `x` is `[rows, in]` or `[rows, k · in]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertMatMul {
    pub x: Value,
    pub route: Value,
    pub experts: Matrix,
}

impl Operation for ExpertMatMul {
    const NAME: &'static str = "expert_matmul";
    type States = ();
    operands!(x, route; experts);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::by_columns(Work::Experts {
            experts: self.experts,
            route: self.route,
        })
    }

    fn lower(&mut self, plan: &mut dyn Lower) {
        self.x = plan.rounded(self.x, self.experts);
    }
}

/// Σ over slots of weight · x → `[rows, out]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertSum {
    pub x: Value,
    pub route: Value,
}

impl Operation for ExpertSum {
    const NAME: &'static str = "expert_sum";
    type States = ();
    operands!(x, route;);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}
