//! How often each of the last tokens occurs.

use std::collections::VecDeque;

/// Tokens that a window of any length reserves room for: what lies beyond comes with a text of that
/// length, since a window may be as long as a file says that a context is.
pub(super) const RESERVED: usize = 1 << 16;

/// The last tokens, counted.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    window: usize,
    tokens: VecDeque<u32>,
    counts: Vec<u32>,
}

impl Recent {
    /// Of the last `window` tokens; none if that is 0.
    pub fn new(window: usize, vocabulary: usize) -> Recent {
        Recent {
            window,
            tokens: VecDeque::with_capacity(window.min(RESERVED)),
            counts: vec![0; if window == 0 { 0 } else { vocabulary }],
        }
    }

    /// Whether it counts nothing.
    pub fn is_off(&self) -> bool {
        self.window == 0
    }

    pub fn push(&mut self, token: u32) {
        // Tokens that there are no logits for cannot be penalised.
        if self.is_off() || token as usize >= self.counts.len() {
            return;
        }
        if self.tokens.len() == self.window
            && let Some(oldest) = self.tokens.pop_front()
        {
            self.counts[oldest as usize] -= 1;
        }
        self.tokens.push_back(token);
        self.counts[token as usize] += 1;
    }

    pub fn count(&self, token: u32) -> u32 {
        self.counts.get(token as usize).copied().unwrap_or(0)
    }

    pub fn clear(&mut self) {
        self.tokens.clear();
        self.counts.fill(0);
    }
}
