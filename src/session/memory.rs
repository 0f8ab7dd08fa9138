//! What a session and its model's weights take together.

use super::{Session, SessionOptions};
use crate::error::RunError;
use crate::model::{Model, SessionBytes};
use crate::residency::{ExpertTrace, HoldError, Recorder, layer_of};

impl Session {
    /// From now on notes which experts the rows of a decoding graph choose.
    pub(crate) fn begin_trace(&mut self) {
        let matrices = self.model().wiring().matrices.iter();
        let layer = |name: &str| layer_of(name).map_or(0, |(_, layer)| layer);
        let layers = matrices.map(|matrix| layer(&matrix.name)).collect();
        self.recorder = Some(Recorder::of(layers));
    }

    /// Ends that. Nothing if it was not begun, or if the model has no experts.
    pub(crate) fn end_trace(&mut self) -> Option<ExpertTrace> {
        let recorder = self.recorder.take()?;
        let experts = self.model().parameters().experts?;
        Some(recorder.trace(experts.count))
    }
}

/// Holds a model's weights within what a session of these options leaves of a budget.
pub(super) fn hold(model: &Model, options: SessionOptions, budget: u64) -> Result<(), RunError> {
    let plan = Session::memory_plan(model, options)?;
    let own = (plan.arena as u64).saturating_add(plan.state as u64);
    let held = model.hold(budget.saturating_sub(own));
    if held.map_err(|error| over_budget(error, own, budget))? {
        model.tell_placement(SessionBytes {
            state: plan.state as u64,
            activations: plan.arena as u64,
        });
    }
    Ok(())
}

/// Why weights cannot be held within a budget, of which a session takes its `own` bytes.
pub(crate) fn over_budget(error: HoldError, own: u64, budget: u64) -> RunError {
    match error {
        HoldError::Least(weights) => RunError::OverBudget {
            budget,
            least: own.saturating_add(weights),
        },
        HoldError::OutOfMemory(error) => error.into(),
        HoldError::NoFile => RunError::Input(
            "weights that are in memory already cannot be held within a budget".to_string(),
        ),
        HoldError::System(error) => RunError::Weights(error.to_string()),
        HoldError::Read(what) => RunError::Weights(what),
    }
}
