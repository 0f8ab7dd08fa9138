//! Profiles of a session: where time goes, by plan, step and layer.

use super::{Profile, Session};
use crate::exec::Event;
use crate::graph::op::Work;
use crate::graph::{Graph, Op};
use crate::model::Model;
use crate::plan::Plan;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A profile that is being taken.
#[derive(Debug)]
pub(super) struct ProfileInProgress {
    pub(super) profile: Profile,
    /// By plan: runs, their rows and their nanoseconds.
    runs: Vec<[AtomicU64; 3]>,
}

impl ProfileInProgress {
    /// Notes a run of a plan.
    pub(super) fn ran(&self, plan: usize, rows: usize, time: Duration) {
        let facts = [1, rows as u64, time.as_nanos() as u64];
        for (sum, fact) in self.runs[plan].iter().zip(facts) {
            sum.fetch_add(fact, Ordering::Relaxed);
        }
    }
}

/// Where time went.
#[derive(Clone, Debug)]
pub struct Report {
    /// From the beginning of the profile to its end.
    pub elapsed: Duration,
    /// Workers.
    pub threads: usize,
    /// The plans that ran.
    pub plans: Vec<PlanReport>,
    /// Single events of each worker, as many as were asked for; their plans are counted as in
    /// `plans`.
    pub events: Vec<Vec<Event>>,
    /// Events that there was no room for.
    pub lost: u64,
}

/// Where the time of one plan went.
#[derive(Clone, Debug)]
pub struct PlanReport {
    /// What the plan is for.
    pub name: &'static str,
    /// How often it ran.
    pub runs: u64,
    /// Rows of all runs.
    pub rows: u64,
    /// From the beginning of each run to its end, summed.
    pub time: Duration,
    /// Every step, in order.
    pub steps: Vec<StepReport>,
}

/// Where the time of one step went.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// The operation's name.
    pub op: &'static str,
    /// Canonical name of its weights, without the layer.
    pub weight: Option<String>,
    /// The layer it is in; `None` before the first and behind the last.
    pub layer: Option<usize>,
    /// Work of all workers together.
    pub work: Duration,
    /// What all workers together waited behind the phase that begins with it.
    pub wait: Duration,
    /// Bytes of weights that a run reads for it, if it reads them all: of experts, as many as its
    /// rows could choose.
    pub bytes: u64,
    /// Products that it computes for each row.
    pub products: u64,
}

impl Session {
    /// Begins a profile (anew, if there is one); each worker keeps up to `events` single events
    /// for a trace. Runs are a little slower as long as it lasts, and those events are the one
    /// thing that a run may allocate for.
    pub(crate) fn begin_profile(&mut self, events: usize) {
        let plans = self.plans.named();
        let nodes: Vec<usize> = plans.map(|(_, plan)| plan.graph.nodes.len()).collect();
        let threads = self.model.pool().threads();
        self.profile = Some(ProfileInProgress {
            profile: Profile::new(threads, &nodes, events),
            runs: nodes.iter().map(|_| Default::default()).collect(),
        });
    }

    /// Ends the profile; `None` if none was begun.
    pub(crate) fn end_profile(&mut self) -> Option<Report> {
        let running = self.profile.take()?;
        let elapsed = running.profile.begin().elapsed();
        let plans = self.plans.named().enumerate();
        let plans = plans.map(|(number, (name, plan))| {
            let [runs, rows, nanos] =
                [0, 1, 2].map(|at| running.runs[number][at].load(Ordering::Relaxed));
            PlanReport {
                name,
                runs,
                rows,
                time: Duration::from_nanos(nanos),
                steps: self.steps(&running.profile, number, plan),
            }
        });
        let plans = plans.collect();
        let (events, lost) = running.profile.events();
        Some(Report {
            elapsed,
            threads: self.model.pool().threads(),
            plans,
            events,
            lost,
        })
    }

    fn steps(&self, profile: &Profile, number: usize, plan: &Plan) -> Vec<StepReport> {
        let layers = layers(&plan.graph, &self.model);
        let nodes = plan.graph.nodes.iter().enumerate();
        let steps = nodes.map(|(index, node)| {
            let (work, wait) = profile.totals(number, index);
            let (bytes, products) = self.size(plan, &node.op);
            let name = self
                .model
                .tensor_of(&node.op)
                .map(|name| split(name).1.to_string());
            StepReport {
                op: node.op.name(),
                weight: name,
                layer: layers[index],
                work: Duration::from_nanos(work.nanos),
                wait: Duration::from_nanos(wait.nanos),
                bytes,
                products,
            }
        });
        steps.collect()
    }

    /// Bytes of weights, and products for each row.
    fn size(&self, plan: &Plan, op: &Op) -> (u64, u64) {
        let (matrix, chosen) = match op.facts().work {
            Work::Product(weight) => (weight, weight.stack),
            // A route holds a weight and a number for each expert of a row.
            Work::Experts { experts, route } => (experts, plan.graph.info(route).width / 2),
            Work::Elements | Work::State(_) => return (0, 0),
        };
        let read = (chosen * plan.capacity.rows).min(matrix.stack) * matrix.rows;
        let bytes = self.model.weights().matrix(matrix).stride * read;
        (bytes as u64, (chosen * matrix.rows * matrix.columns) as u64)
    }
}

/// The layer of each node: that of its own weights, or else of those named before it. What
/// comes before all weights belongs to none.
fn layers(graph: &Graph, model: &Model) -> Vec<Option<usize>> {
    let mut layer = None;
    let nodes = graph.nodes.iter();
    let layers = nodes.map(|node| {
        if let Some(name) = model.tensor_of(&node.op) {
            layer = split(name).0;
        }
        layer
    });
    layers.collect()
}

/// `blk.3.attn_q.weight` is `attn_q` of layer 3.
fn split(name: &str) -> (Option<usize>, &str) {
    let bare = name.strip_suffix(".weight").unwrap_or(name);
    let parts = bare
        .split_once("blk.")
        .and_then(|(_, rest)| rest.split_once('.'));
    match parts.and_then(|(layer, rest)| Some((layer.parse().ok()?, rest))) {
        Some((layer, rest)) => (Some(layer), rest),
        None => (None, bare),
    }
}
