//! What encoding one text may cost: a hostile tokenizer file that makes texts grow, or searches
//! without end, meets this.

use super::error::{TokenizerError, failure};
use super::limits;
use core::cell::Cell;

/// The bytes that changes to one text may make of it, and the steps that searches in it may take.
pub(super) struct TextBudget {
    bytes: Cell<usize>,
    steps: Cell<u64>,
    spent: Cell<Option<Spent>>,
}

#[derive(Clone, Copy)]
enum Spent {
    Bytes,
    Steps,
}

impl TextBudget {
    pub(super) fn for_text(len: usize) -> TextBudget {
        let bytes = len.saturating_mul(limits::GROWTH);
        let steps = (len as u64).saturating_mul(limits::SEARCH_STEPS);
        TextBudget {
            bytes: Cell::new(bytes.saturating_add(limits::GROWTH_UNSAID)),
            steps: Cell::new(steps.saturating_add(limits::SEARCH_STEPS_UNSAID)),
            spent: Cell::new(None),
        }
    }

    /// Whether a change may make so many bytes.
    pub(super) fn makes(&self, len: usize) -> bool {
        match self.bytes.get().checked_sub(len) {
            Some(left) if self.spent.get().is_none() => self.bytes.set(left),
            Some(_) => return false,
            None => {
                self.spent.set(Some(Spent::Bytes));
                return false;
            }
        }
        true
    }

    /// Whether a search may take another step.
    pub(super) fn step(&self) -> bool {
        match self.steps.get().checked_sub(1) {
            Some(left) => {
                self.steps.set(left);
                true
            }
            None => {
                self.exhaust();
                false
            }
        }
    }

    /// Ends all searches.
    pub(super) fn exhaust(&self) {
        if self.spent.get().is_none() {
            self.spent.set(Some(Spent::Steps));
        }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.spent.get().is_some()
    }

    /// What was spent, as an error.
    pub(super) fn result(&self) -> Result<(), TokenizerError> {
        match self.spent.get() {
            None => Ok(()),
            Some(Spent::Bytes) => Err(failure!(
                Limit,
                "the tokenizer's normalizer, pre_tokenizer or decoder makes more than {} bytes \
                 of each byte of the text; its file is damaged or hostile",
                limits::GROWTH
            )),
            Some(Spent::Steps) => Err(failure!(
                Limit,
                "a pattern of the tokenizer takes more than {} steps for each byte of the text; \
                 its file is damaged or hostile",
                limits::SEARCH_STEPS
            )),
        }
    }
}
