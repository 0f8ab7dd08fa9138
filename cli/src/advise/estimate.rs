//! How fast a model will be, from its plan and a machine's limits.
//!
//! A token that is generated reads all weights that it needs, the keys and values of its sequence or
//! its state; each step and each product take some time besides. A prompt's rows are products, and what
//! passes through their steps. `docs/estimates.md` holds estimates against measurements.
//!
//! Of weights for which there is no room, layers are read from a disk while others are computed with, and
//! experts when a token is sent to them: of those, the share that memory does not hold.

use crate::machine::MachineFacts;
use rillm::internals::BlueprintParts;
use rillm::internals::blueprint::RowWork;
use rillm::internals::graph::Role;
use rillm::internals::model::Cost;
use rillm::{Blueprint, Placement, RunError, SessionOptions};

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
#[derive(Clone, Debug)]
pub struct Estimate {
    pub weights: u64,
    pub state: u64,
    pub arena: u64,
    /// Tokens of a prompt (or of texts) per second.
    pub prompt: f64,
    /// Tokens per second of all sequences together; `None` of what only reads.
    pub generation: Option<f64>,
    /// What comes from a disk, if memory does not hold all.
    pub disk: Option<FromDisk>,
}

/// Weights that do not stay in memory.
#[derive(Clone, Debug)]
pub struct FromDisk {
    pub placement: Placement,
    /// Bytes that are read for each token that is written, or that an encoder reads, at most: experts
    /// asked for evenly.
    pub per_token: f64,
    /// Tokens per second of a text that stays with the experts that memory holds, where there are some.
    pub at_most: Option<f64>,
    /// Whether it is known how fast they come: if not, speeds are those without them.
    pub is_timed: bool,
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
            state: plan.state as u64,
            arena: plan.arena as u64,
            prompt: 1.0 / row_of_many(planned, options, machine, reader),
            generation: steps.map(|steps| generated(planned, options, machine, steps)),
            disk: None,
        })
    }

    /// The same within so much memory, where weights for which there is no room are read when they are
    /// needed.
    ///
    /// # Errors
    /// Less memory than works.
    pub fn within(
        self,
        planned: &Blueprint,
        options: SessionOptions,
        machine: &MachineFacts,
        memory: u64,
    ) -> Result<Estimate, RunError> {
        let placement = planned.placement(options.memory(Some(memory)))?;
        let Some(placement) = placement.filter(|placement| !placement.is_whole()) else {
            return Ok(self);
        };
        let (reader, rows) = match planned.encodes() {
            true => (Role::Encode, options.source as f64),
            false => (Role::Decode, options.batch as f64),
        };
        let sequences = options.sequences as f64;
        let written = missing(planned, &placement, Role::Decode, sequences);
        let read = missing(planned, &placement, reader, rows);
        let generation = self.generation.map(|rate| match machine.disk {
            Some(disk) => sequences / written.seconds(sequences / rate, disk),
            None => rate,
        });
        let met = Missing {
            experts: 0.0,
            ..written
        };
        let at_most = self
            .generation
            .zip(machine.disk)
            .map(|(rate, disk)| sequences / met.seconds(sequences / rate, disk));
        let prompt = match machine.disk {
            Some(disk) => rows / read.seconds(rows / self.prompt, disk),
            None => self.prompt,
        };
        let (of, tokens) = match generation {
            Some(_) => (written, sequences),
            None => (read, rows),
        };
        let disk = FromDisk {
            per_token: (of.layers + of.experts) / tokens,
            at_most: at_most.filter(|_| written.experts > 0.0),
            is_timed: machine.disk.is_some(),
            placement,
        };
        Ok(Estimate {
            generation,
            prompt,
            disk: Some(disk),
            ..self
        })
    }

    /// Bytes of memory that it holds at a time.
    pub fn held(&self) -> u64 {
        match &self.disk {
            Some(disk) => disk.placement.held() + self.state + self.arena,
            None => self.total(),
        }
    }

    pub fn total(&self) -> u64 {
        self.weights + self.state + self.arena
    }
}

/// Bytes that a run reads from a disk.
#[derive(Clone, Copy, Debug)]
struct Missing {
    layers: f64,
    experts: f64,
}

impl Missing {
    /// Seconds of a run that takes so many without them: layers come while others are computed with, and
    /// experts are waited for.
    fn seconds(&self, computed: f64, disk: f64) -> f64 {
        computed.max(self.layers / disk) + self.experts / disk
    }
}

/// What a run of so many rows reads, as if experts were chosen evenly and rows chose apart.
fn missing(planned: &Blueprint, placement: &Placement, role: Role, rows: f64) -> Missing {
    let cost = planned.cost(role);
    // A run reads the layers of its own graph.
    let layers = |role| {
        let cost = planned.cost(role);
        (cost.bytes - cost.experts) as f64
    };
    let both = layers(Role::Encode) + layers(Role::Decode);
    let all = placement.expert_bytes as f64;
    let chosen = (cost.experts as f64 / all.max(1.0)).min(1.0);
    let met = 1.0 - (1.0 - chosen).powf(rows);
    let absent = 1.0 - placement.slots as f64 / placement.experts.max(1) as f64;
    Missing {
        layers: placement.streamed_bytes as f64 * layers(role) / both.max(1.0),
        experts: all * met * absent,
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
