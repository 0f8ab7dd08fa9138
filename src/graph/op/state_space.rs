//! Convolutions and selective scans of state-space layers.

#![allow(missing_docs)] // operands are named as in the formula above them

use super::{Facts, Lower, Operation, Work, operands};
use crate::graph::state::{ConvState, Piece, ScanState, Writes};
use crate::graph::{Pointwise, Value, Vector};

/// f(depthwise causal convolution), weight `[channels, width]`; without f where there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    pub x: Value,
    pub weight: Vector,
    pub bias: Option<Vector>,
    pub function: Option<Pointwise>,
    pub state: Piece<ConvState>,
}

impl Operation for Conv {
    const NAME: &'static str = "conv";
    type States = Writes<ConvState>;
    operands!(x; weight, bias, function, state);

    fn states(&self) -> Writes<ConvState> {
        Writes(self.state)
    }

    fn facts(&self) -> Facts {
        Facts::by_columns(Work::Elements)
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// clamp(softplus(x + bias)), Δ of Mamba-2.
#[derive(Clone, Debug, PartialEq)]
pub struct StepSize {
    pub x: Value,
    pub bias: Vector,
    pub limits: (f32, f32),
}

impl Operation for StepSize {
    const NAME: &'static str = "step_size";
    type States = ();
    operands!(x; bias, limits);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// hₜ = exp(Δₜ A) hₜ₋₁ + Δₜ Bₜ xₜ; yₜ = Cₜ hₜ + D xₜ (Gu & Dao 2023, eq. 2). In Mamba-2 Δ, A and D
/// are numbers for each head, and groups of heads have B and C of their own (Dao & Gu 2024,
/// section 7). Δ is dt or its softplus; the result is y ⊙ silu(z).
#[derive(Clone, Debug, PartialEq)]
pub struct SelectiveScan {
    pub x: Value,
    pub dt: Value,
    pub b: Value,
    pub c: Value,
    pub z: Value,
    pub softplus: bool,
    pub a: Vector,
    pub d: Vector,
    pub state: Piece<ScanState>,
}

impl Operation for SelectiveScan {
    const NAME: &'static str = "scan";
    type States = Writes<ScanState>;
    operands!(x, dt, b, c, z; softplus, a, d, state);

    fn states(&self) -> Writes<ScanState> {
        Writes(self.state)
    }

    fn facts(&self) -> Facts {
        Facts::by_columns(Work::Elements)
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}
