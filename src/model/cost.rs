//! What a row costs: the bytes and products that no engine can do without.

use super::Model;
use crate::graph::op::Work;
use crate::graph::{Activation, Graph, Matrix, Role, RowSpace, Wiring};
use crate::weights::MatrixForm;
use rillm_formats::manifest::Manifest;
use std::collections::BTreeSet;

/// What a run reads and multiplies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes of weights that a run of one row reads.
    pub bytes: u64,
    /// Of those, the experts' that it is sent to.
    pub experts: u64,
    /// int8 products of each row, but for its outputs.
    pub int8: u64,
    /// Floating-point products of each row, but for its outputs.
    pub float: u64,
    /// Products of each row's numbers of 16 bits, but for its outputs.
    pub bf16: u64,
}

impl Model {
    /// What a row of the decoding graph costs, its KV cache left out.
    pub(crate) fn cost(&self) -> Cost {
        self.cost_of(Role::Decode)
    }

    /// What a row of a prompt costs: an encoder's if there is one.
    pub(crate) fn reading_cost(&self) -> Cost {
        match self.encodes() {
            true => self.cost_of(Role::Encode),
            false => self.cost(),
        }
    }

    fn cost_of(&self, role: Role) -> Cost {
        let graph = self.graph(role);
        graph.map_or(Cost::default(), |graph| {
            Cost::of(graph, &|matrix| self.weights().matrix(matrix).form())
        })
    }
}

impl Cost {
    /// What a row of a graph costs, whose matrices are stored so.
    pub(crate) fn of(graph: &Graph, form: &dyn Fn(Matrix) -> MatrixForm) -> Cost {
        let mut cost = Cost::default();
        for node in &graph.nodes {
            let (matrix, copies) = match node.op.facts().work {
                Work::Product(weight) => (weight, weight.stack),
                // A route holds a weight and a number for each expert of a row.
                Work::Experts { experts, route } => (experts, graph.info(route).width / 2),
                Work::Elements | Work::State(_) => continue,
            };
            let weight = form(matrix);
            let rows = (copies * matrix.rows) as u64;
            let products = rows * matrix.columns as u64;
            let row_len = weight.dtype.row_len(matrix.columns as u64).unwrap_or(0);
            cost.bytes += rows * row_len;
            if matches!(node.op.facts().work, Work::Experts { .. }) {
                cost.experts += rows * row_len;
            }
            let space = node.out.map(|out| graph.info(out).space);
            match weight.kernel.activation {
                _ if matches!(space, Some(RowSpace::Selected | RowSpace::Sequence)) => {}
                Activation::F32 => cost.float += products,
                Activation::BF16 => cost.bf16 += products,
                _ => cost.int8 += products,
            }
        }
        cost
    }
}

/// How many numbers a model is made of, and how many of them a token meets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// All that the files hold.
    pub all: u64,
    /// Those of all experts but for the ones that a token does not choose.
    pub active: u64,
    /// How its experts are, if it has some.
    pub experts: Option<ExpertCounts>,
}

/// The experts of a model, as most of its layers have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpertCounts {
    /// In a layer.
    pub count: usize,
    /// Of those, how many a token chooses.
    pub used: usize,
    /// Layers that have some.
    pub layers: usize,
}

impl Model {
    /// How many numbers it is made of.
    pub(crate) fn parameters(&self) -> Parameters {
        Parameters::of(self.manifest(), self.wiring())
    }
}

impl Parameters {
    /// How many numbers a model of these files is made of.
    pub(crate) fn of(manifest: &Manifest, wiring: &Wiring) -> Parameters {
        let tensors = manifest.tensors.values();
        let all = tensors.map(|info| info.shape.0.iter().product::<u64>());
        let all = all.sum::<u64>();
        let (mut idle, mut seen) = (0, BTreeSet::new());
        let (mut routes, mut experts) = (BTreeSet::new(), None);
        let rows = |graph: &&Graph| matches!(graph.role, Role::Decode | Role::Encode);
        for graph in wiring.graphs.iter().filter(rows) {
            for node in &graph.nodes {
                let Work::Experts { experts: of, route } = node.op.facts().work else {
                    continue;
                };
                let used = graph.info(route).width / 2;
                if seen.insert(of.id) {
                    idle += ((of.stack - used) * of.rows * of.columns) as u64;
                }
                routes.insert((graph.role.rows() as u8, route.index()));
                experts = Some((of.stack, used));
            }
        }
        Parameters {
            all,
            active: all.saturating_sub(idle),
            experts: experts.map(|(count, used)| ExpertCounts {
                count,
                used,
                layers: routes.len(),
            }),
        }
    }
}
