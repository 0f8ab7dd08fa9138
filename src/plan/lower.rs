//! Makes explicit what a graph leaves unsaid: rotations, the writing of keys and values, and
//! one rounding of activations for all the matrices that want it.

use crate::graph::{
    Activation, Graph, Keys, Matrix, Node, Op, PositionScheme, Rope, RowSpace, Value, ValueInfo,
};
use std::collections::HashMap;

/// The graph with every implied step inserted.
pub fn lower(graph: &Graph, activation: &dyn Fn(Matrix) -> Activation) -> Graph {
    let mut lowering = Lowering {
        from: graph,
        to: Graph::new(graph.role),
        values: HashMap::new(),
        rounded: HashMap::new(),
        tables: Vec::new(),
    };
    for index in gathered(graph) {
        lowering.node(&graph.nodes[index], activation);
    }
    lowering.to
}

/// The nodes in an order that keeps products together: one that does not need what small steps
/// between it and the product before have made comes before them, so that workers meet once for
/// both (gate and up, which an architecture writes as one formula with what follows).
fn gathered(graph: &Graph) -> Vec<usize> {
    let product = |index: usize| matches!(graph.nodes[index].op, Op::MatMul { .. });
    let mut order: Vec<usize> = Vec::with_capacity(graph.nodes.len());
    for (index, node) in graph.nodes.iter().enumerate() {
        let needs = |earlier: usize| {
            let made = graph.nodes[earlier].out;
            // A slice is made with its root, but must be named before it is used.
            let mut inputs = node.op.inputs();
            made.is_some_and(|made| inputs.any(|x| x == made || graph.root(x).0 == made))
        };
        let passes = |&&earlier: &&usize| {
            let op = &graph.nodes[earlier].op;
            (op.row_by_row() || matches!(op, Op::Slice { .. })) && !needs(earlier)
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
    to: Graph,
    values: HashMap<Value, Value>,
    rounded: HashMap<(Value, Activation), Value>,
    tables: Vec<(Rope, Value)>,
}

impl Lowering<'_> {
    fn node(&mut self, node: &Node, activation: &dyn Fn(Matrix) -> Activation) {
        let mut op = node.op.map_inputs(|value| self.values[&value]);
        match &mut op {
            Op::MatMul { x, weight, .. }
            | Op::ExpertMatMul {
                x, experts: weight, ..
            } => {
                *x = self.round(*x, activation(*weight));
            }
            Op::Attention { q, kv, attention } => {
                let position = std::mem::replace(&mut attention.position, PositionScheme::None);
                match position {
                    PositionScheme::Rope(rope) => {
                        *q = self.rotated(*q, &rope, attention.head_dim);
                        if let Some((k, _)) = kv {
                            *k = self.rotated(*k, &rope, attention.head_dim);
                        }
                    }
                    other => attention.position = other,
                }
                if let Keys::Cache(state) = attention.keys
                    && let Some((k, v)) = kv.take()
                {
                    self.to.push_effect(Op::StoreKv { k, v, state });
                }
            }
            Op::LinearAttention {
                q, k, retention, ..
            } => {
                if let Some(rope) = retention.rope.take() {
                    *q = self.rotated(*q, &rope, retention.key_dim);
                    *k = self.rotated(*k, &rope, retention.key_dim);
                }
            }
            _ => {}
        }
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

    /// `x` in the form that a kernel wants.
    fn round(&mut self, x: Value, to: Activation) -> Value {
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
        let rounded = self.to.push(Op::Quantize { x, to }, info);
        self.rounded.insert((x, to), rounded);
        rounded
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
        let table = self.to.push(Op::RopeTable { rope: rope.clone() }, info);
        self.tables.push((rope.clone(), table));
        table
    }

    /// Every head of `x` turned.
    fn rotated(&mut self, x: Value, rope: &Rope, head_dim: usize) -> Value {
        let table = self.table(rope);
        let info = ValueInfo {
            base: None,
            ..self.to.info(x)
        };
        let rotate = Op::Rotate {
            x,
            table,
            head_dim,
            pairing: rope.pairing,
        };
        self.to.push(rotate, info)
    }
}
