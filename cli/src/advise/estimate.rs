//! How fast a model will be, from its plan and a machine's limits.
//!
//! A token that is generated reads all weights that it needs, the keys and values of its sequence or
//! its state; each step and each product take some time besides. A prompt's rows are products, and what
//! passes through their steps. `docs/estimates.md` holds estimates against measurements.

use crate::machine::MachineFacts;
use rillm::internals::BlueprintParts;
use rillm::internals::blueprint::RowWork;
use rillm::internals::graph::Role;
use rillm::internals::model::Cost;
use rillm::{Blueprint, RunError, SessionOptions};

/// Seconds of a step of a token: its barrier, and waking for it.
const STEP: f64 = 1e-6;

/// Of the time that products alone would take at the peak, what unpacking of weights adds to reading
/// them, where a token is alone.
const UNPACKING: f64 = 2.0;

/// Share of the int8 peak that products of many rows reach.
const INT8_SHARE: f64 = 0.66;

/// The same of floats.
const F32_SHARE: f64 = 0.88;

/// Share of the floats' peak that attention reaches.
const ATTENTION_SHARE: f64 = 0.3;

/// The same of an encoder: its pages of keys are seen whole by every row.
const ENCODER_ATTENTION_SHARE: f64 = 0.55;

/// The same that scans reach, whose exponentials take most of the time.
const SCAN_SHARE: f64 = 0.13;

/// The same that sums of outer products reach.
const OUTER_PRODUCT_SHARE: f64 = 0.75;

/// Floating-point operations that could be done while a number passes through a step.
const ELEMENT: f64 = 90.0;

/// What half of estimates of generated tokens are off by at most, and of prompts: `docs/estimates.md`
/// holds some that were measured.
pub const ERRORS: (f64, f64) = (0.15, 0.25);

/// What a model takes and gives.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    pub weights: u64,
    /// Of those, experts'.
    pub experts: u64,
    pub state: u64,
    pub arena: u64,
    /// Tokens of a prompt (or of texts) per second.
    pub prompt: f64,
    /// Tokens per second of all sequences together; `None` of what only reads.
    pub generation: Option<f64>,
}

impl Estimate {
    /// That of a session of these options whose sequences are as long as they may be.
    pub fn of(
        planned: &Blueprint,
        options: SessionOptions,
        machine: &MachineFacts,
    ) -> Result<Estimate, RunError> {
        let plan = planned.memory_plan(options)?;
        let weights = planned.weights();
        let reader = match planned.encodes() {
            true => (Role::Encode, options.source),
            false => (Role::Decode, options.context / 2),
        };
        let steps = plan.plans.iter().find(|figures| figures.name == "decode");
        let steps = steps.map(|figures| figures.steps);
        Ok(Estimate {
            weights: weights.mapped + weights.vectors,
            experts: weights.experts,
            state: plan.state as u64,
            arena: plan.arena as u64,
            prompt: 1.0 / row_of_many(planned, options, machine, reader),
            generation: steps.map(|steps| generated(planned, options, machine, steps)),
        })
    }

    pub fn total(&self) -> u64 {
        self.weights + self.state + self.arena
    }
}

/// Seconds of a row of a prompt, or of a text that an encoder reads.
fn row_of_many(
    planned: &Blueprint,
    options: SessionOptions,
    machine: &MachineFacts,
    (role, position): (Role, usize),
) -> f64 {
    let work = planned.row_work(role, position as u64, options.kv_type);
    let cost = planned.cost(role);
    let limits = &machine.limits;
    let int8 = 2.0 * cost.int8 as f64 / (limits.int8 * INT8_SHARE);
    let float = 2.0 * cost.float as f64 / (limits.f32 * F32_SHARE);
    // Weights are read once for a batch.
    let rows = match role {
        Role::Encode => options.source,
        _ => options.batch,
    };
    let read = cost.bytes as f64 / limits.read / rows as f64;
    let share = match role {
        Role::Encode => ENCODER_ATTENTION_SHARE,
        _ => ATTENTION_SHARE,
    };
    (int8 + float).max(read) + beside(work, machine, share)
}

/// Seconds of what is no product.
fn beside(work: RowWork, machine: &MachineFacts, attention_share: f64) -> f64 {
    let elements = work.elements as f64 * ELEMENT;
    let attention = work.attention as f64 / attention_share;
    let scans = work.scans as f64 / SCAN_SHARE;
    let outer_products = work.outer_products as f64 / OUTER_PRODUCT_SHARE;
    (elements + attention + scans + outer_products) / machine.limits.f32
}

/// Tokens per second that all sequences together generate.
fn generated(
    planned: &Blueprint,
    options: SessionOptions,
    machine: &MachineFacts,
    steps: usize,
) -> f64 {
    let limits = &machine.limits;
    let position = match planned.encodes() {
        true => options.source,
        false => options.context,
    };
    let work = planned.row_work(Role::Decode, position as u64, options.kv_type);
    let cost: Cost = planned.cost(Role::Decode);
    let sequences = options.sequences as f64;
    let own = (work.cache + work.states) as f64;
    let read = (cost.bytes as f64 + sequences * own) / limits.read;
    let products = 2.0 * cost.int8 as f64 / limits.int8 + 2.0 * cost.float as f64 / limits.f32;
    let shared = products * UNPACKING;
    // From some sequences on, products bound them and not the bus.
    let many = sequences * (products / INT8_SHARE + beside(work, machine, ATTENTION_SHARE));
    let seconds = (read + shared).max(many) + steps as f64 * STEP;
    sequences / seconds
}
