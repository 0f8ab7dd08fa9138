//! What a row costs: the bytes and products that no engine can do without.

use super::Model;
use crate::graph::op::Work;
use crate::graph::{Activation, Role, RowSpace};

/// What a decoding run reads and multiplies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes of weights that a run of one row reads.
    pub bytes: u64,
    /// int8 products of each row, but for its outputs.
    pub int8: u64,
    /// Floating-point products of each row, but for its outputs.
    pub float: u64,
}

impl Model {
    /// What a row of the decoding graph costs, its KV cache left out.
    #[doc(hidden)]
    pub fn cost(&self) -> Cost {
        let mut cost = Cost::default();
        let Some(graph) = self.graph(Role::Decode) else {
            return cost;
        };
        for node in &graph.nodes {
            let (matrix, copies) = match node.op.facts().work {
                Work::Product(weight) => (weight, 1),
                // A route holds a weight and a number for each expert of a row.
                Work::Experts { experts, route } => (experts, graph.info(route).width / 2),
                Work::Elements | Work::State(_) => continue,
            };
            let weight = self.weights().matrix(matrix);
            let rows = (copies * matrix.rows) as u64;
            let products = rows * matrix.columns as u64;
            let row_len = weight.dtype.row_len(matrix.columns as u64).unwrap_or(0);
            cost.bytes += rows * row_len;
            let selected = node.out.map(|out| graph.info(out).space) == Some(RowSpace::Selected);
            match weight.kernel.activation {
                _ if selected => {}
                Activation::F32 => cost.float += products,
                _ => cost.int8 += products,
            }
        }
        cost
    }
}
