//! Mixtures of experts: a row's experts are values, chosen at run time inside a static plan.

#![allow(missing_docs)] // operands are named as in the formula above them

use super::{Facts, Lower, Operation, Reach, Work, operands};
use crate::graph::{Matrix, Value, Vector};

/// softmax(x) of each row.
#[derive(Clone, Debug, PartialEq)]
pub struct Softmax {
    pub x: Value,
}

impl Operation for Softmax {
    const NAME: &'static str = "softmax";
    type States = ();
    operands!(x;);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([Some(self.x), None])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Groups of neighbouring experts, of which a row chooses some before it chooses experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpertGroups {
    /// How many there are; a divisor of the number of experts.
    pub groups: usize,
    /// How many a row chooses.
    pub used: usize,
    /// What a group is chosen by.
    pub score: GroupScore,
}

/// What a group of experts is chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupScore {
    /// The largest of its experts' scores.
    Largest,
    /// The sum of the two largest.
    TopTwo,
}

/// x in the best groups of experts, −∞ in all others.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitGroups {
    pub x: Value,
    pub groups: ExpertGroups,
}

impl Operation for LimitGroups {
    const NAME: &'static str = "limit_groups";
    type States = ();
    operands!(x; groups);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// What the score of a chosen expert becomes as its weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ExpertWeight {
    /// Itself.
    Score,
    /// Its softmax among the chosen ones.
    Softmax,
    /// Itself / max(Σ + added, least), the sum being that of the chosen ones.
    Share { added: f32, least: f32 },
    /// Itself / (Σ |score|^p)^(1/p), the sum being that of the chosen ones.
    Norm(f32),
    /// Its softmax among the experts that are not chosen before it and that it does not exceed by
    /// more than this part of the larger of itself and their absolute score (SparseMixer, Liu et
    /// al. 2024, "GRIN", section 2).
    SparseMixer(f32),
}

/// How experts are chosen and weighed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Routing {
    /// How many experts a row chooses.
    pub top_k: usize,
    /// What their scores become.
    pub weight: ExpertWeight,
    /// What all weights are multiplied by.
    pub scale: f32,
}

/// The `top_k` experts of the largest `choice` → `[rows, 2k]`: k weights, made of their scores,
/// then k numbers. Where experts have weights of their own, theirs are multiplied by those.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub scores: Value,
    pub choice: Value,
    pub routing: Routing,
    pub expert_scales: Option<Vector>,
}

impl Operation for Route {
    const NAME: &'static str = "route";
    type States = ();
    operands!(scores, choice; routing, expert_scales);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// How many rows of a sequence an expert takes in a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ExpertCapacity {
    /// So many.
    Rows(usize),
    /// This part of them, rounded up.
    Part(f64),
}

/// A route in which an expert takes but so many rows of a sequence in a run, those first that chose it
/// first, in their order: with others its weight is zero. The weights of what a row is left with become
/// shares of their sum, if that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitCapacity {
    pub route: Value,
    pub capacity: ExpertCapacity,
    pub share: bool,
}

impl Operation for LimitCapacity {
    const NAME: &'static str = "limit_capacity";
    type States = ();
    operands!(route; capacity, share);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts {
            reach: Reach::AllRows,
            ..Facts::row_by_row([None; 2])
        }
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Slot s of a row: weight s · x → `[rows, k · in]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertInputs {
    pub x: Value,
    pub route: Value,
}

impl Operation for ExpertInputs {
    const NAME: &'static str = "expert_inputs";
    type States = ();
    operands!(x, route;);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Slot s of a row: x W[expert s]ᵀ + b[expert s] → `[rows, k · out]`; `x` is `[rows, in]` or
/// `[rows, k · in]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertMatMul {
    pub x: Value,
    pub route: Value,
    pub experts: Matrix,
    pub bias: Option<Vector>,
}

impl Operation for ExpertMatMul {
    const NAME: &'static str = "expert_matmul";
    type States = ();
    operands!(x, route; experts, bias);

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

/// Σ over slots of x, each times its weight in `route`, if that is there → `[rows, out]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertSum {
    pub x: Value,
    pub route: Option<Value>,
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
