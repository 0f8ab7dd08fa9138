//! The closed set of operations: one struct each, grouped by topic, which says everything that a
//! plan, its checker and the executor go by.
//!
//! [`Operation`] has no default bodies and [`Op`] forwards by one exhaustive match that is made
//! of the same list as its variants: a new operation does not compile until it says everything.

mod attention;
mod disentangled;
mod elementwise;
mod experts;
mod linear_attention;
mod output;
mod product;
mod segments;
mod state_space;
mod wkv;

pub use attention::{
    Alibi, Attention, BlockSums, Buckets, DistanceBuckets, Keys, Mask, PositionScheme, RopeTable,
    Rotate, RowBiases, SoftmaxAttention, StoreCross, StoreKv, Summaries,
};
pub use disentangled::{ApartQueries, ColumnWindow, DisentangledAttention};
pub use elementwise::{
    AboveDeviations, Add, AddVector, Apply, Clamp, JoinHeads, Lerp, MatchMagnitude, Mul, Norm,
    NormKind, RoundToInt8, Scale, ScaleByPosition, ScaleHeads, Share, SinusoidFrequencies,
    SinusoidalPositions, Weigh, Xielu,
};
pub use experts::{
    ExpertCapacity, ExpertGroups, ExpertInputs, ExpertMatMul, ExpertSum, ExpertWeight, GroupScore,
    LimitCapacity, LimitGroups, Route, Routing, Softmax,
};
pub use linear_attention::{
    DECAY_ROWS, Decay, DeltaRule, Divisor, LinearAttention, LinearRead, LinearRecurrence,
    LinearState, LinearSums, LinearWrite, STATE_COLUMNS,
};
pub use output::{AdaptiveSoftmax, Emit, MeanRows, Select, Slice};
pub use product::{DenseMatMul, Embed, HeadMatMul, HeadSide, Index, QuantizeActivation, Wanted};
pub use segments::{
    ABSENT_ROWS, Distances, SegmentAttention, SegmentEvict, SegmentRead, SegmentWrite,
    SegmentWriteCompressed, SegmentWriteHidden, SegmentWriteReprojected, StoreTable,
};
pub use state_space::{Conv, SelectiveScan, StepSize};
pub use wkv::{Bonus, TokenShift, WkvMean};

use super::state::{Access, Declares, StateId};
use super::{Matrix, Rope, Value};

/// What an operation says of itself. The planner decides by it, its checker proves by it, and a
/// step is handed no state but what it declares here.
pub trait Operation: Clone {
    /// Its name in drawings, profiles and messages.
    const NAME: &'static str;

    /// The pieces of state that it touches, and how.
    type States: Declares;

    /// Visits the values that it reads, in the order of its fields.
    fn inputs(&self, visit: &mut dyn FnMut(Value));

    /// Replaces each of them.
    fn map_inputs(&mut self, to: &mut dyn FnMut(Value) -> Value);

    /// Those pieces.
    fn states(&self) -> Self::States;

    /// Everything else.
    fn facts(&self) -> Facts;

    /// Asks for the steps that a plan must insert before it, and reads their results instead.
    fn lower(&mut self, plan: &mut dyn Lower);
}

/// What the planner and its checker go by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// Whether it makes a value. What does not writes state or hands rows out.
    pub result: bool,
    /// Which rows of its inputs a row depends on.
    pub reach: Reach,
    /// Inputs whose bytes the result may take over: of them each element of the result reads its
    /// own alone.
    pub in_place: [Option<Value>; 2],
    /// Products of each row.
    pub work: Work,
}

impl Facts {
    /// A result whose rows depend on the same row alone; it may lie in the bytes of these inputs.
    const fn row_by_row(in_place: [Option<Value>; 2]) -> Facts {
        Facts {
            result: true,
            reach: Reach::OwnRow,
            in_place,
            work: Work::Elements,
        }
    }

    /// A result whose columns, heads or channels are shared out; it lies in bytes of its own.
    const fn by_columns(work: Work) -> Facts {
        Facts {
            result: true,
            reach: Reach::Columns,
            in_place: [None; 2],
            work,
        }
    }

    /// No result: what is read is written to state, or handed out.
    const fn effect() -> Facts {
        Facts {
            result: false,
            reach: Reach::Columns,
            in_place: [None; 2],
            work: Work::Elements,
        }
    }
}

/// Which rows of its inputs a row of an operation depends on, and so how rows may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// None: the operation is a view, which computes nothing and touches nothing.
    View,
    /// The same row. Rows are computed a few at a time and without state, and pass from one such
    /// operation to the next without a barrier.
    OwnRow,
    /// The same row, beside state. Work is shared by columns, heads or channels, and of those each
    /// takes its rows in order.
    Columns,
    /// Every row of the run: all must exist in whole, and all that is written to the state that is
    /// read, before it may start.
    AllRows,
    /// A row that the run's facts pick.
    PickedRow,
}

impl Reach {
    /// Whether it goes beyond the row that is computed.
    pub fn is_across(self) -> bool {
        match self {
            Reach::View | Reach::OwnRow | Reach::Columns => false,
            Reach::AllRows | Reach::PickedRow => true,
        }
    }

    /// Whether nothing is computed, and no bytes are touched.
    pub fn is_view(self) -> bool {
        match self {
            Reach::View => true,
            Reach::OwnRow | Reach::Columns | Reach::AllRows | Reach::PickedRow => false,
        }
    }

    /// Whether every row must exist, and all that is written to the state that is read.
    pub fn wants_all_rows(self) -> bool {
        match self {
            Reach::AllRows => true,
            Reach::View | Reach::OwnRow | Reach::Columns | Reach::PickedRow => false,
        }
    }

    /// Whether operands may have rows of another space.
    pub fn picks_rows(self) -> bool {
        match self {
            Reach::PickedRow => true,
            Reach::View | Reach::OwnRow | Reach::Columns | Reach::AllRows => false,
        }
    }
}

/// What a row is multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing that counts beside matrices.
    Elements,
    /// A matrix, or all of a stack.
    Product(Matrix),
    /// As many of the stacked matrices as the row's route has slots.
    Experts {
        /// The stack.
        experts: Matrix,
        /// The route: a weight and a number for each slot.
        route: Value,
    },
    /// So many floats of state.
    State(usize),
}

/// What a plan inserts before an operation that asks for it.
pub trait Lower {
    /// `x` in the form that the kernel of `matrix` wants.
    fn rounded(&mut self, x: Value, matrix: Matrix) -> Value;

    /// `x` with every head of `head_dim` elements rotated by its row's position.
    fn rotated(&mut self, x: Value, rope: &Rope, head_dim: usize) -> Value;

    /// An operation without a result.
    fn insert(&mut self, op: Op);
}

/// What an operation reads: a value, several, or what holds some.
trait Operand {
    fn visit(&self, visit: &mut dyn FnMut(Value));
    fn map(&mut self, to: &mut dyn FnMut(Value) -> Value);
}

impl Operand for Value {
    fn visit(&self, visit: &mut dyn FnMut(Value)) {
        visit(*self);
    }

    fn map(&mut self, to: &mut dyn FnMut(Value) -> Value) {
        *self = to(*self);
    }
}

impl<T: Operand> Operand for Option<T> {
    fn visit(&self, visit: &mut dyn FnMut(Value)) {
        self.iter().for_each(|operand| operand.visit(visit));
    }

    fn map(&mut self, to: &mut dyn FnMut(Value) -> Value) {
        self.iter_mut().for_each(|operand| operand.map(to));
    }
}

impl<T: Operand> Operand for Vec<T> {
    fn visit(&self, visit: &mut dyn FnMut(Value)) {
        self.iter().for_each(|operand| operand.visit(visit));
    }

    fn map(&mut self, to: &mut dyn FnMut(Value) -> Value) {
        self.iter_mut().for_each(|operand| operand.map(to));
    }
}

impl<A: Operand, B: Operand> Operand for (A, B) {
    fn visit(&self, visit: &mut dyn FnMut(Value)) {
        self.0.visit(visit);
        self.1.visit(visit);
    }

    fn map(&mut self, to: &mut dyn FnMut(Value) -> Value) {
        self.0.map(to);
        self.1.map(to);
    }
}

impl<const N: usize> Operand for [Value; N] {
    fn visit(&self, visit: &mut dyn FnMut(Value)) {
        self.iter().copied().for_each(visit);
    }

    fn map(&mut self, to: &mut dyn FnMut(Value) -> Value) {
        self.iter_mut().for_each(|operand| *operand = to(*operand));
    }
}

/// [`Operation::inputs`] and [`Operation::map_inputs`]: the fields that hold values; all others. A
/// field that is in neither list does not compile: what a plan cannot see is a data race.
macro_rules! operands {
    ($($operand:ident),*; $($other:ident),*) => {
        fn inputs(&self, _visit: &mut dyn FnMut($crate::graph::Value)) {
            let Self { $($operand,)* $($other: _,)* } = self;
            $($crate::graph::op::Operand::visit($operand, _visit);)*
        }

        fn map_inputs(
            &mut self,
            _to: &mut dyn FnMut($crate::graph::Value) -> $crate::graph::Value,
        ) {
            let Self { $($operand,)* $($other: _,)* } = self;
            $($crate::graph::op::Operand::map($operand, _to);)*
        }
    };
}
use operands;

/// The enum, and what forwards from it: `with_operation!(op, it => body)` evaluates `body` with
/// `it` bound to the operation's struct, whichever it is.
macro_rules! operations {
    (($d:tt) $($operation:ident)*) => {
        /// An operation. Closed: who treats operations one by one goes through
        /// `with_operation!`, which knows them all.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Op {
            $(
                #[doc = concat!("See [`", stringify!($operation), "`].")]
                $operation($operation),
            )*
        }

        impl Op {
            /// The names of all operations.
            pub const NAMES: &'static [&'static str] = &[$($operation::NAME),*];
        }

        $(
            impl From<$operation> for Op {
                fn from(operation: $operation) -> Op {
                    Op::$operation(operation)
                }
            }
        )*

        macro_rules! with_operation {
            ($d op:expr, $d it:ident => $d body:expr) => {
                match $d op {
                    $($crate::graph::Op::$operation($d it) => $d body,)*
                }
            };
        }
        pub(crate) use with_operation;
    };
}

operations! {
    ($)
    // What architectures write.
    Embed DenseMatMul HeadMatMul Norm Add Mul Scale RoundToInt8 ScaleByPosition MatchMagnitude AboveDeviations
    Xielu Clamp Apply Weigh AddVector ScaleHeads JoinHeads Lerp Bonus Slice
    SinusoidalPositions BlockSums SoftmaxAttention DisentangledAttention ColumnWindow StoreCross
    Conv StepSize SelectiveScan TokenShift WkvMean LinearRecurrence LinearWrite LinearRead
    Softmax LimitGroups Route LimitCapacity ExpertInputs ExpertMatMul ExpertSum
    StoreTable SegmentWrite SegmentWriteHidden SegmentAttention SegmentEvict
    SegmentWriteCompressed SegmentRead SegmentWriteReprojected
    Select MeanRows AdaptiveSoftmax Emit
    // What a plan inserts.
    QuantizeActivation RopeTable Rotate StoreKv
}

impl Op {
    /// Its name in drawings, profiles and messages.
    pub fn name(&self) -> &'static str {
        fn of<T: Operation>(_: &T) -> &'static str {
            T::NAME
        }
        with_operation!(self, it => of(it))
    }

    /// Values read, in the order of the fields.
    pub fn inputs(&self) -> Vec<Value> {
        let mut found = Vec::new();
        with_operation!(self, it => it.inputs(&mut |value| found.push(value)));
        found
    }

    /// The same operation with every input replaced.
    pub fn map_inputs(&self, mut to: impl FnMut(Value) -> Value) -> Op {
        let mut op = self.clone();
        with_operation!(&mut op, it => it.map_inputs(&mut to));
        op
    }

    /// The pieces of state that it reads or writes.
    pub fn states(&self) -> Vec<(StateId, Access)> {
        let mut found = Vec::new();
        let mut visit = |state, access| found.push((state, access));
        fn of<T: Operation>(op: &T, visit: &mut dyn FnMut(StateId, Access)) {
            op.states().visit(visit);
        }
        with_operation!(self, it => of(it, &mut visit));
        found
    }

    /// What the planner and its checker go by.
    pub fn facts(&self) -> Facts {
        with_operation!(self, it => it.facts())
    }

    /// Which rows of its inputs a row depends on.
    pub fn reach(&self) -> Reach {
        self.facts().reach
    }

    /// Whether the result may overwrite `input`.
    pub fn may_overwrite(&self, input: Value) -> bool {
        self.facts().in_place.contains(&Some(input))
    }

    /// Asks for what a plan must insert before it.
    pub(crate) fn lower(&mut self, plan: &mut dyn Lower) {
        with_operation!(self, it => it.lower(plan));
    }
}
