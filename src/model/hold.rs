//! A model's weights within a bounded memory.

use super::Model;
use crate::pool::{Crew, lock};
use crate::residency::{HoldError, Placement, Residency, Traffic};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, OnceLock};

impl Model {
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
    /// second call only sees whether what is held is within its bytes.
    pub(crate) fn hold(&self, bytes: u64) -> Result<(), HoldError> {
        let inner = &self.inner;
        let _one = lock(&inner.holding);
        if let Some(held) = inner.residency.get() {
            let taken = held.placement().held();
            return match taken <= bytes {
                true => Ok(()),
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
        Ok(())
    }
}
