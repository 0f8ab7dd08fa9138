//! The recorder of one graph that architectures talk to. It records behind `&self`, so that
//! calls nest as formulas do.

mod attention;
mod experts;
mod norms;
mod recurrence;

use super::{
    Activation, BuildError, Builder, Graph, Index, Matrix, Op, Pointwise, Role, RowSpace, Value,
    ValueInfo, Vector, Wanted, op,
};
use std::cell::RefCell;

/// Records one graph.
pub struct Net<'b, 'a> {
    /// The model this graph belongs to.
    pub builder: &'b Builder<'a>,
    pub(super) graph: RefCell<Graph>,
}

impl Net<'_, '_> {
    /// Ends the recording: the graph becomes part of the model.
    pub fn finish(self) {
        self.builder
            .wiring
            .borrow_mut()
            .graphs
            .push(self.graph.into_inner());
    }

    /// Whether the graph is that of a decoder's rows.
    pub fn decodes(&self) -> bool {
        self.graph.borrow().role == Role::Decode
    }

    /// Elements per row of `x`.
    pub fn width(&self, x: Value) -> usize {
        self.graph.borrow().info(x).width
    }

    /// The row of `table` that each row's `index` picks.
    pub fn embed(&self, table: Matrix, index: Index) -> Value {
        let space = self.graph.borrow().role.rows();
        self.push_in(space, table.columns, op::Embed { table, index })
    }

    /// x Wᵀ + b with `{name}.weight` and, if the files hold one, `{name}.bias`.
    pub fn linear(&self, x: Value, name: &str, out: usize) -> Result<Value, BuildError> {
        self.linear_where(x, name, out, Wanted::All)
    }

    /// The same where not all rows are wanted.
    pub fn linear_where(
        &self,
        x: Value,
        name: &str,
        out: usize,
        wanted: Wanted,
    ) -> Result<Value, BuildError> {
        let weight = self
            .builder
            .matrix(&format!("{name}.weight"), out, self.width(x))?;
        let bias = self
            .builder
            .optional_vector(&format!("{name}.bias"), &[out])?;
        Ok(self.matmul_where(x, weight, bias, wanted))
    }

    /// x, or what layers see of it that were trained on int8.
    fn layer_input(&self, x: Value, weight: Matrix) -> Value {
        if !self.builder.rounds_inputs(weight) {
            return x;
        }
        let op = op::RoundToInt8 { x };
        // Queries, keys and values are made of one.
        let made = self.graph.borrow().find(&op.clone().into());
        made.unwrap_or_else(|| self.push(x, self.width(x), op))
    }

    /// x Wᵀ + b.
    pub fn matmul(&self, x: Value, weight: Matrix, bias: Option<Vector>) -> Value {
        self.matmul_where(x, weight, bias, Wanted::All)
    }

    fn matmul_where(
        &self,
        x: Value,
        weight: Matrix,
        bias: Option<Vector>,
        wanted: Wanted,
    ) -> Value {
        assert_eq!(
            self.width(x),
            weight.columns,
            "architecture: matmul of unequal widths"
        );
        let op = op::DenseMatMul {
            x: self.layer_input(x, weight),
            weight,
            bias,
            wanted,
        };
        self.push(x, weight.rows, op)
    }

    /// a + b.
    pub fn add(&self, a: Value, b: Value) -> Value {
        self.pair(a, b);
        self.push(a, self.width(a), op::Add { a, b })
    }

    /// a ⊙ b.
    pub fn mul(&self, a: Value, b: Value) -> Value {
        self.pair(a, b);
        self.push(a, self.width(a), op::Mul { a, b })
    }

    /// factor · x.
    pub fn scale(&self, x: Value, factor: f32) -> Value {
        if factor == 1.0 {
            return x;
        }
        self.push(x, self.width(x), op::Scale { x, factor })
    }

    /// (1 + slope · ln(1 + ⌊(position + first) / length⌋)) · x.
    pub fn scale_by_position(&self, x: Value, slope: f32, (first, length): (u32, u32)) -> Value {
        let op = op::ScaleByPosition {
            x,
            slope,
            first,
            length,
        };
        self.push(x, self.width(x), op)
    }

    /// rms(like) / √(max(mean(x²), least)) · x.
    pub fn match_magnitude(&self, x: Value, like: Value, least: f32) -> Value {
        self.pair(x, like);
        self.push(x, self.width(x), op::MatchMagnitude { x, like, least })
    }

    /// max(0, x − mean − deviations · σ).
    pub fn above_deviations(&self, x: Value, deviations: f32) -> Value {
        self.push(x, self.width(x), op::AboveDeviations { x, deviations })
    }

    /// xIELU, whose a₊, a₋, β and ε are a number each.
    pub fn xielu(&self, x: Value, parameters: [Vector; 4]) -> Value {
        assert!(
            parameters.iter().all(|number| number.len == 1),
            "architecture: parameters of more than a number"
        );
        self.push(x, self.width(x), op::Xielu { x, parameters })
    }

    /// x within ±limit; x itself without one.
    pub fn clamp(&self, x: Value, limit: Option<f32>) -> Value {
        match limit {
            Some(limit) => self.within(x, -limit, limit),
            None => x,
        }
    }

    /// x within bounds.
    pub fn within(&self, x: Value, low: f32, high: f32) -> Value {
        self.push(x, self.width(x), op::Clamp { x, low, high })
    }

    /// f(x).
    pub fn apply(&self, x: Value, function: Pointwise) -> Value {
        self.push(x, self.width(x), op::Apply { x, function })
    }

    /// x ⊙ w.
    pub fn weigh(&self, x: Value, weight: Vector) -> Value {
        assert_eq!(self.width(x), weight.len, "architecture: unequal operands");
        self.push(x, self.width(x), op::Weigh { x, weight })
    }

    /// Columns `offset..offset + width` of x.
    pub fn slice(&self, x: Value, offset: usize, width: usize) -> Value {
        assert!(
            offset + width <= self.width(x),
            "architecture: slice past the end"
        );
        let info = self.graph.borrow().info(x);
        let info = ValueInfo {
            width,
            base: Some((x, offset)),
            ..info
        };
        self.graph.borrow_mut().push(op::Slice { x, offset }, info)
    }

    /// Only the rows whose outputs are asked for: of an encoder's all.
    pub fn selected(&self, x: Value) -> Value {
        if self.role() == Role::Encode {
            return x;
        }
        self.push_in(RowSpace::Selected, self.width(x), op::Select { x })
    }

    /// The first row of each sequence.
    pub fn first_rows(&self, x: Value) -> Value {
        self.push_in(RowSpace::Sequence, self.width(x), op::Select { x })
    }

    /// The mean of the rows of each sequence.
    pub fn mean_rows(&self, x: Value) -> Value {
        self.push_in(RowSpace::Sequence, self.width(x), op::MeanRows { x })
    }

    /// Hands x to the caller.
    pub fn emit(&self, x: Value, name: &'static str) {
        let squeezed = false;
        self.push_effect(op::Emit { x, name, squeezed });
    }

    /// Hands the one number of each row of x to the caller.
    pub fn emit_numbers(&self, x: Value, name: &'static str) {
        assert_eq!(self.width(x), 1, "architecture: rows of more than a number");
        let squeezed = true;
        self.push_effect(op::Emit { x, name, squeezed });
    }

    fn pair(&self, a: Value, b: Value) {
        let graph = self.graph.borrow();
        let (a, b) = (graph.info(a), graph.info(b));
        assert_eq!(
            (a.space, a.width),
            (b.space, b.width),
            "architecture: unequal operands"
        );
    }

    pub(super) fn push(&self, like: Value, width: usize, op: impl Into<Op>) -> Value {
        let space = self.graph.borrow().info(like).space;
        self.push_op(space, width, op.into())
    }

    pub(super) fn push_in(&self, space: RowSpace, width: usize, op: impl Into<Op>) -> Value {
        self.push_op(space, width, op.into())
    }

    fn push_op(&self, space: RowSpace, width: usize, op: Op) -> Value {
        let info = ValueInfo {
            space,
            width,
            form: Activation::F32,
            base: None,
        };
        self.graph.borrow_mut().push(op, info)
    }
}
