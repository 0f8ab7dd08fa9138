//! Makes explicit what a graph leaves unsaid: rotations, the writing of keys and values, and
//! one rounding of activations for all the matrices that want it.

use crate::graph::op::{Lower, QuantizeActivation, Reach, RopeTable, Rotate, Work};
use crate::graph::{Activation, Graph, Matrix, Node, Op, Rope, RowSpace, Value, ValueInfo};
use std::collections::HashMap;

/// The graph with every implied step inserted.
pub fn lower(graph: &Graph, activation: &dyn Fn(Matrix) -> Activation) -> Graph {
    let mut lowering = Lowering {
        from: graph,
        activation,
        to: Graph::new(graph.role),
        values: HashMap::new(),
        rounded: HashMap::new(),
        tables: Vec::new(),
    };
    for index in gathered(graph) {
        lowering.node(&graph.nodes[index]);
    }
    lowering.to
}

/// The nodes in an order that keeps products together: one that does not need what small steps
/// between it and the product before have made comes before them, so that workers meet once for
/// both (gate and up, which an architecture writes as one formula with what follows).
fn gathered(graph: &Graph) -> Vec<usize> {
    let product = |index: usize| match graph.nodes[index].op.facts().work {
        Work::Product(_) => true,
        Work::Elements | Work::Experts { .. } | Work::State(_) => false,
    };
    let mut order: Vec<usize> = Vec::with_capacity(graph.nodes.len());
    for (index, node) in graph.nodes.iter().enumerate() {
        let needs = |earlier: usize| {
            let made = graph.nodes[earlier].out;
            // A slice is made with its root, but must be named before it is used.
            let inputs = node.op.inputs();
            let of = |made| move |&x: &Value| x == made || graph.root(x).0 == made;
            made.is_some_and(|made| inputs.iter().any(of(made)))
        };
        let passes = |&&earlier: &&usize| {
            let passes = match graph.nodes[earlier].op.reach() {
                Reach::View | Reach::OwnRow => true,
                Reach::Columns | Reach::AllRows | Reach::PickedRow => false,
            };
            passes && !needs(earlier)
        };
        let passed = order.iter().rev().take_while(passes).count();
        let at = order.len() - passed;
        let beside = at.checked_sub(1).map(|before| order[before]);
        match beside.filter(|&before| product(index) && product(before) && !needs(before)) {
            Some(_) => order.insert(at, index),
            None => order.push(index),
        }
    }
    order
}

struct Lowering<'a> {
    from: &'a Graph,
    activation: &'a dyn Fn(Matrix) -> Activation,
    to: Graph,
    values: HashMap<Value, Value>,
    rounded: HashMap<(Value, Activation), Value>,
    tables: Vec<(Rope, Value)>,
}

impl Lowering<'_> {
    fn node(&mut self, node: &Node) {
        let mut op = node.op.map_inputs(|value| self.values[&value]);
        op.lower(self);
        match node.out {
            Some(out) => {
                let mut info = self.from.info(out);
                info.base = info.base.map(|(base, column)| (self.values[&base], column));
                let lowered = self.to.push(op, info);
                self.values.insert(out, lowered);
            }
            None => self.to.push_effect(op),
        }
    }

    /// The table of a rotation, made once for all layers.
    fn table(&mut self, rope: &Rope) -> Value {
        if let Some((_, table)) = self.tables.iter().find(|(known, _)| known == rope) {
            return *table;
        }
        let space: RowSpace = self.to.role.rows();
        let info = ValueInfo {
            space,
            width: rope.dims(),
            form: Activation::F32,
            base: None,
        };
        let table = self.to.push(RopeTable { rope: rope.clone() }, info);
        self.tables.push((rope.clone(), table));
        table
    }
}

impl Lower for Lowering<'_> {
    fn rounded(&mut self, x: Value, matrix: Matrix) -> Value {
        let to = (self.activation)(matrix);
        if to == Activation::F32 {
            return x;
        }
        if let Some(&rounded) = self.rounded.get(&(x, to)) {
            return rounded;
        }
        let info = ValueInfo {
            form: to,
            base: None,
            ..self.to.info(x)
        };
        let rounded = self.to.push(QuantizeActivation { x, to }, info);
        self.rounded.insert((x, to), rounded);
        rounded
    }

    fn rotated(&mut self, x: Value, rope: &Rope, head_dim: usize) -> Value {
        let table = self.table(rope);
        let info = ValueInfo {
            base: None,
            ..self.to.info(x)
        };
        let rotate = Rotate {
            x,
            table,
            head_dim,
            pairing: rope.pairing,
        };
        self.to.push(rotate, info)
    }

    fn insert(&mut self, op: Op) {
        self.to.push_effect(op);
    }
}
