//! `--memory` and `--stats`: weights within a bound, and what that costs.

use super::terminal::say;
use super::{CliError, bytes};
use clap::Args;
use rillm::internals::ModelParts;
use rillm::internals::platform::resident;
use rillm::{Model, Placement, RunError, Session, SessionOptions, Traffic};
use serde_json::{Value, json};

/// What a run takes beside what is counted when its session opens: texts, samplers, stacks of threads.
const BESIDE: u64 = 4 << 20;

/// Bytes of a token of the vocabulary that samplers keep.
const CANDIDATE: u64 = 16;

#[derive(Args, Clone, Copy, Debug)]
pub struct MemoryArguments {
    /// Bytes of memory that all may take, with K, M or G for powers of 1024: weights for which there
    /// is no room are read when they are needed, and nothing else changes
    #[arg(long, value_name = "BYTES", value_parser = size, conflicts_with = "no_mmap")]
    memory: Option<u64>,
    /// Show on stderr what was read and waited for
    #[arg(long)]
    stats: bool,
}

impl MemoryArguments {
    /// No bound: for the story that is told without a command.
    #[cfg(feature = "demo")]
    pub const UNBOUNDED: MemoryArguments = MemoryArguments {
        memory: None,
        stats: false,
    };

    /// So many bytes, if any, and no figures.
    pub fn of(memory: Option<u64>) -> MemoryArguments {
        MemoryArguments {
            memory,
            stats: false,
        }
    }

    /// Whether there is a bound.
    pub fn is_bounded(self) -> bool {
        self.memory.is_some()
    }

    /// A model whose sessions keep within the bound; the first of them says what is held and where,
    /// before anything runs.
    pub fn within(self, model: &Model) -> BoundedModel {
        self.within_called(model, None)
    }

    /// The same of one among several models, by its name.
    pub fn within_called(self, model: &Model, name: Option<&str>) -> BoundedModel {
        let Some(budget) = self.memory else {
            let (model, bound) = (model.clone(), None);
            return BoundedModel { model, bound };
        };
        let program = program(model);
        let model = model.within(budget.saturating_sub(program));
        let named = name.map_or(String::new(), |name| format!("{name} "));
        let model = model.on_placement(move |placement, session| {
            let (all, own) = (bytes(budget), bytes(program));
            let say = |line: &str| say(&format!("{named}{line}"));
            say(&format!("within {all}: program {own}"));
            lines(placement).iter().for_each(|line| say(line));
            let (state, activations) = (bytes(session.state), bytes(session.activations));
            say(&format!("state {state}, activations {activations}"));
        });
        BoundedModel {
            model,
            bound: Some((budget, program)),
        }
    }

    /// Opens a session within the bound.
    pub fn session(self, model: &Model, options: SessionOptions) -> Result<Session, CliError> {
        let bounded = self.within(model);
        Session::new(&bounded.model, options).map_err(|error| bounded.explain(error.into()))
    }

    /// Does a task on so many texts with a model whose sessions keep within the bound.
    pub fn task(
        self,
        model: Model,
        texts: usize,
        work: impl FnOnce(&Model) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        if self.memory.is_some() {
            // It is part of the program; a task that wants one says that there is none.
            let _ = model.tokenizer();
        }
        let bounded = self.within(&model);
        let done = work(&bounded.model).map_err(|error| bounded.explain(error));
        if let (true, Some(traffic)) = (self.stats, model.traffic()) {
            say(&told(&traffic, (texts, "text")));
        }
        done
    }

    /// Says what runs have read and waited for, if that is asked for.
    pub fn finish(self, model: &Model, tokens: usize) {
        if let (true, Some(traffic)) = (self.stats, model.traffic()) {
            say(&told(&traffic, (tokens, "token")));
        }
    }
}

/// A model whose sessions keep within a bound, if there is one.
pub struct BoundedModel {
    pub model: Model,
    /// Bytes of all, and those of them that the program takes.
    bound: Option<(u64, u64)>,
}

impl BoundedModel {
    /// An error of a session: a bound that is refused counts the program as well.
    pub fn explain(&self, error: CliError) -> CliError {
        match (error, self.bound) {
            (CliError::Run(error), Some((budget, program))) => {
                CliError::Run(with_program(error, budget, program))
            }
            (error, _) => error,
        }
    }
}

/// Bytes that this process takes already, and will beside what the library counts.
fn program(model: &Model) -> u64 {
    let vocabulary = model.limits().vocabulary;
    // What was read of mapped files to open the model is not needed any more.
    for source in model.weights().sources() {
        source.release();
    }
    let held = model.placement().map_or(0, Placement::held);
    let others = resident().unwrap_or(0).saturating_sub(held);
    others + BESIDE + CANDIDATE.saturating_mul(vocabulary)
}

/// The same before a model is loaded: what this process takes now, and what a run will beside what
/// the library counts.
pub fn foreseen_program(vocabulary: u64) -> u64 {
    resident().unwrap_or(0) + BESIDE + CANDIDATE.saturating_mul(vocabulary)
}

/// A bound that is refused counts the program as well, and by how much more of it may be in memory at
/// another time: what is named as the least is to work.
pub fn with_program(error: RunError, budget: u64, program: u64) -> RunError {
    const BETWEEN_RUNS: u64 = 2 << 20;
    match error {
        RunError::OverBudget { least, .. } => RunError::OverBudget {
            budget,
            least: least.saturating_add(program).saturating_add(BETWEEN_RUNS),
        },
        other => other,
    }
}

/// What is kept where, for people.
pub fn lines(placement: &Placement) -> Vec<String> {
    let mut lines = vec![format!(
        "weights in memory: embeddings and head {}, {} of {} layers {}, vectors {}",
        bytes(placement.fixed),
        placement.pinned,
        placement.layers,
        bytes(placement.pinned_bytes),
        bytes(placement.vectors)
    )];
    if placement.streamed_bytes > 0 {
        lines.push(format!(
            "read anew by each run: {} layers, {}, through buffers of {}",
            placement.layers - placement.pinned,
            bytes(placement.streamed_bytes),
            bytes(placement.buffers)
        ));
    }
    if placement.experts > 0 {
        lines.push(format!(
            "experts: {} of {} at a time, {} of {}",
            placement.slots,
            placement.experts,
            bytes(placement.slot_bytes),
            bytes(placement.expert_bytes)
        ));
    }
    lines
}

fn told(traffic: &Traffic, (count, of): (usize, &str)) -> String {
    let each = traffic.bytes / count.max(1) as u64;
    let waited = traffic.stalled as f64 / 1e9;
    let hits = match traffic.experts {
        0 => String::new(),
        experts => format!(
            ", {:.1}% of {experts} experts found in memory",
            100.0 * traffic.hits as f64 / experts as f64
        ),
    };
    format!(
        "weights read: {}, {} for each {of}{hits}, {waited:.2} s waited for",
        bytes(traffic.bytes),
        bytes(each)
    )
}

/// The same for machines; null where weights are mapped.
pub fn json(model: &Model) -> Value {
    let (Some(placement), Some(traffic)) = (model.placement(), model.traffic()) else {
        return Value::Null;
    };
    let mut all = placement_json(placement);
    all["expert_requests"] = json!(traffic.experts);
    all["expert_hits"] = json!(traffic.hits);
    all["bytes_read"] = json!(traffic.bytes);
    all["stalled_seconds"] = json!(traffic.stalled as f64 / 1e9);
    all
}

/// What is kept where.
pub fn placement_json(placement: &Placement) -> Value {
    json!({
        "resident_bytes": placement.held(),
        "pinned_layers": placement.pinned,
        "layers": placement.layers,
        "expert_slots": placement.slots,
        "experts": placement.experts,
    })
}

/// `4G`, `512M`, `1500000000`.
pub fn size(text: &str) -> Result<u64, String> {
    let what = || format!("{text:?} is no number of bytes, expected one such as 4G, 512M or 65536");
    let text = text.trim_end_matches(['B', 'b', 'i']);
    let unit = match text.chars().last().map(|unit| unit.to_ascii_uppercase()) {
        Some('K') => 1u64 << 10,
        Some('M') => 1 << 20,
        Some('G') => 1 << 30,
        Some('T') => 1 << 40,
        _ => 1,
    };
    let digits = match unit {
        1 => text,
        _ => &text[..text.len() - 1],
    };
    let value: f64 = digits.trim().parse().map_err(|_| what())?;
    let value = value * unit as f64;
    match value.is_finite() && value >= 1.0 && value < (1u64 << 62) as f64 {
        true => Ok(value as u64),
        false => Err(what()),
    }
}
