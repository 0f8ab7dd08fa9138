//! A model's weights within a bounded memory.

use super::Model;
use crate::pool::{Crew, lock};
use crate::residency::{HoldError, Placement, Residency, Traffic};
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};

impl Model {
    /// The same model, whose sessions have this [`memory`](crate::SessionOptions::memory) where their
    /// options do not say: those of [tasks](crate::tasks) as well.
    ///
    /// ```
    /// use rillm::tasks::{EmbedOptions, Embedder};
    /// use rillm::{Model, ModelOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let options = ModelOptions::default().headless(true);
    /// let model = Model::open("tests/data/tasks/embed", options)?.within(8 << 20);
    /// let mut embedder = Embedder::new(&model, EmbedOptions::default().batch_tokens(256))?;
    /// embedder.encode(&["a small river"])?;
    /// assert!(model.placement().is_some());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn within(&self, memory: u64) -> Model {
        Model {
            memory: Some(memory),
            ..self.clone()
        }
    }

    /// The same model, by which `tell` is called when a session of this handle has its weights held
    /// within a budget, before anything runs: with what is held, and what that session takes.
    #[must_use]
    pub fn on_placement(
        &self,
        tell: impl Fn(&Placement, SessionBytes) + Send + Sync + 'static,
    ) -> Model {
        Model {
            on_placement: Some(PlacementListener(Arc::new(tell))),
            ..self.clone()
        }
    }

    /// Calls who wants to know of it.
    pub(crate) fn tell_placement(&self, session: SessionBytes) {
        if let (Some(PlacementListener(tell)), Some(placement)) =
            (&self.on_placement, self.placement())
        {
            tell(placement, session);
        }
    }

    /// Bytes that its sessions keep within where their options do not say.
    pub(crate) fn memory(&self) -> Option<u64> {
        self.memory
    }

    /// What of its weights is held in memory, if a session was opened with a budget.
    pub fn placement(&self) -> Option<&Placement> {
        self.inner.residency.get().map(Residency::placement)
    }

    /// What its runs have read and waited for, if its weights are held within a budget.
    pub fn traffic(&self) -> Option<Traffic> {
        self.inner.residency.get().map(Residency::traffic)
    }

    pub(crate) fn residency(&self) -> &OnceLock<Residency> {
        &self.inner.residency
    }

    /// Why a run ended, if it was for want of a weight.
    pub(crate) fn take_fault(&self) -> Option<String> {
        let held = self.inner.residency.get()?;
        held.take_fault(&self.inner.wiring, &self.inner.weights)
    }

    /// Holds the weights within so many bytes from now on, whoever runs the model. Done once: a
    /// second call only sees whether what is held is within its bytes. Whether it was this one.
    pub(crate) fn hold(&self, bytes: u64) -> Result<bool, HoldError> {
        let inner = &self.inner;
        let _one = lock(&inner.holding);
        if let Some(held) = inner.residency.get() {
            let taken = held.placement().held();
            return match taken <= bytes {
                true => Ok(false),
                false => Err(HoldError::Least(taken)),
            };
        }
        let held = Residency::new(&inner.wiring, &inner.weights, bytes)?;
        // Between two runs: each goes by what it finds when it begins.
        let held = Mutex::new(Some(held));
        let never = AtomicBool::new(false);
        inner.pool.run(Crew::Caller, &never, None, &|_| {
            if let Some(held) = lock(&held).take() {
                held.settle(&inner.weights);
                let _ = inner.residency.set(held);
            }
        });
        Ok(true)
    }
}

/// What a session takes beside weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionBytes {
    /// Bytes of state.
    pub state: u64,
    /// Bytes of activations.
    pub activations: u64,
}

/// What is done with what is held.
type Tell = dyn Fn(&Placement, SessionBytes) + Send + Sync;

/// Who is told what is held.
#[derive(Clone)]
pub(super) struct PlacementListener(Arc<Tell>);

impl fmt::Debug for PlacementListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlacementListener")
    }
}
