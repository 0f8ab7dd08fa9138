//! Operations on the elements of a row, and on groups of them.

#![allow(missing_docs)] // operands are named as in the formula above them

use super::{Facts, Lower, Operand, Operation, operands};
use crate::graph::{Pointwise, Value, Vector};

/// Normalisations of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// x / sqrt(mean(x²) + eps) · w (Zhang & Sennrich 2019).
    Rms,
    /// (x − mean) / sqrt(var + eps) · w + b (Ba et al. 2016).
    Layer,
}

/// Normalisation of each row, or of each `group` of neighbouring elements by itself. The weight
/// and bias are as long as a row, or as a group and then the same for all.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    pub x: Value,
    pub kind: NormKind,
    pub weight: Vector,
    pub bias: Option<Vector>,
    pub eps: f32,
    pub group: usize,
}

impl Operation for Norm {
    const NAME: &'static str = "norm";
    type States = ();
    operands!(x; kind, weight, bias, eps, group);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// a + b.
#[derive(Clone, Debug, PartialEq)]
pub struct Add {
    pub a: Value,
    pub b: Value,
}

impl Operation for Add {
    const NAME: &'static str = "add";
    type States = ();
    operands!(a, b;);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([Some(self.a), Some(self.b)])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// a ⊙ b.
#[derive(Clone, Debug, PartialEq)]
pub struct Mul {
    pub a: Value,
    pub b: Value,
}

impl Operation for Mul {
    const NAME: &'static str = "mul";
    type States = ();
    operands!(a, b;);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([Some(self.a), Some(self.b)])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// factor · x.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    pub x: Value,
    pub factor: f32,
}

impl Operation for Scale {
    const NAME: &'static str = "scale";
    type States = ();
    operands!(x; factor);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([Some(self.x), None])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// x rounded to whole multiples of max |x| / 127, as layers see it that were trained on int8.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundToInt8 {
    pub x: Value,
}

impl Operation for RoundToInt8 {
    const NAME: &'static str = "round_to_int8";
    type States = ();
    operands!(x;);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// (1 + slope · ln(1 + ⌊(position + first) / length⌋)) · x.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleByPosition {
    pub x: Value,
    pub slope: f32,
    pub first: u32,
    pub length: u32,
}

impl Operation for ScaleByPosition {
    const NAME: &'static str = "scale_by_position";
    type States = ();
    operands!(x; slope, first, length);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([Some(self.x), None])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// x as long as another: rms(like) / √(max(mean(x²), least)) · x.
#[derive(Clone, Debug, PartialEq)]
pub struct MatchMagnitude {
    pub x: Value,
    pub like: Value,
    pub least: f32,
}

impl Operation for MatchMagnitude {
    const NAME: &'static str = "match_magnitude";
    type States = ();
    operands!(x, like; least);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// What of a row lies above its mean by so many of its standard deviations: max(0, x − mean −
/// deviations · σ).
#[derive(Clone, Debug, PartialEq)]
pub struct AboveDeviations {
    pub x: Value,
    pub deviations: f32,
}

impl Operation for AboveDeviations {
    const NAME: &'static str = "above_deviations";
    type States = ();
    operands!(x; deviations);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// xIELU (Huang & Schlag 2025): α₊x² + βx above zero; α₋(exp(min(x, ε)) − 1 − x) + βx below, where
/// α₊ = softplus(a₊), α₋ = β + softplus(a₋).
#[derive(Clone, Debug, PartialEq)]
pub struct Xielu {
    pub x: Value,
    /// a₊, a₋, β and ε, a number each.
    pub parameters: [Vector; 4],
}

impl Operation for Xielu {
    const NAME: &'static str = "xielu";
    type States = ();
    operands!(x; parameters);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([Some(self.x), None])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// x within bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Clamp {
    pub x: Value,
    pub low: f32,
    pub high: f32,
}

impl Operation for Clamp {
    const NAME: &'static str = "clamp";
    type States = ();
    operands!(x; low, high);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([Some(self.x), None])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// f(x).
#[derive(Clone, Debug, PartialEq)]
pub struct Apply {
    pub x: Value,
    pub function: Pointwise,
}

impl Operation for Apply {
    const NAME: &'static str = "apply";
    type States = ();
    operands!(x; function);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([Some(self.x), None])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// x ⊙ w, the same w for every row.
#[derive(Clone, Debug, PartialEq)]
pub struct Weigh {
    pub x: Value,
    pub weight: Vector,
}

impl Operation for Weigh {
    const NAME: &'static str = "weigh";
    type States = ();
    operands!(x; weight);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([Some(self.x), None])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// x + b, the same b for every row.
#[derive(Clone, Debug, PartialEq)]
pub struct AddVector {
    pub x: Value,
    pub vector: Vector,
}

impl Operation for AddVector {
    const NAME: &'static str = "add_vector";
    type States = ();
    operands!(x; vector);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Of each head the elements of a, then those of b.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinHeads {
    pub a: Value,
    pub b: Value,
    pub heads: usize,
}

impl Operation for JoinHeads {
    const NAME: &'static str = "join_heads";
    type States = ();
    operands!(a, b; heads);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Each head of x times one element of `by`: as many heads as that has elements.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleHeads {
    pub x: Value,
    pub by: Value,
}

impl Operation for ScaleHeads {
    const NAME: &'static str = "scale_heads";
    type States = ();
    operands!(x, by;);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// How far an interpolation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// As each row says.
    Row(Value),
    /// The same in every row.
    Fixed(Vector),
}

impl Operand for Share {
    fn visit(&self, visit: &mut dyn FnMut(Value)) {
        match self {
            Share::Row(value) => visit(*value),
            Share::Fixed(_) => {}
        }
    }

    fn map(&mut self, to: &mut dyn FnMut(Value) -> Value) {
        match self {
            Share::Row(value) => *value = to(*value),
            Share::Fixed(_) => {}
        }
    }
}

/// a + (b − a) ⊙ t.
#[derive(Clone, Debug, PartialEq)]
pub struct Lerp {
    pub a: Value,
    pub b: Value,
    pub t: Share,
}

impl Operation for Lerp {
    const NAME: &'static str = "lerp";
    type States = ();
    operands!(a, b, t;);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Radians per position of a sinusoidal embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinusoidFrequencies {
    /// 10000^(−2i / width)
    Usual {
        /// Pairs of sine and cosine.
        pairs: usize,
    },
    /// As the files hold them, or as a reference rounds them.
    Stored(Vector),
    /// All of them as floats, and then what each lacks of the frequency: nothing is rounded before
    /// the sine.
    Exact(Vector),
}

impl SinusoidFrequencies {
    /// Pairs of sine and cosine.
    pub fn pairs(self) -> usize {
        match self {
            SinusoidFrequencies::Usual { pairs } => pairs,
            SinusoidFrequencies::Stored(vector) => vector.len,
            SinusoidFrequencies::Exact(vector) => vector.len / 2,
        }
    }
}

/// [sin(p f), cos(p f)] of each row's position p, counted from `first` on; zeros where the token is
/// `absent`, which has no position.
#[derive(Clone, Debug, PartialEq)]
pub struct SinusoidalPositions {
    pub frequencies: SinusoidFrequencies,
    pub first: u32,
    pub absent: Option<u32>,
}

impl Operation for SinusoidalPositions {
    const NAME: &'static str = "sinusoidal_positions";
    type States = ();
    operands!(; frequencies, first, absent);

    fn states(&self) {}

    fn facts(&self) -> Facts {
        Facts::row_by_row([None; 2])
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}
