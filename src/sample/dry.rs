//! Repetitions: how long a piece of text each token would go on with.

use super::DryOptions;
use super::recent::RESERVED;
use std::collections::VecDeque;

/// Measures the last tokens against themselves.
#[derive(Clone, Debug)]
pub struct Dry {
    multiplier: f32,
    base: f32,
    allowed: usize,
    window: usize,
    breakers: Vec<Vec<u32>>,
    /// Newest first.
    tokens: VecDeque<u32>,
    /// How many of the newest tokens stand, in the same order, from each place on as well.
    repeats: Vec<usize>,
    /// The longest repetition that a token would go on with; zero for most.
    lengths: Vec<u32>,
    /// Tokens with a length.
    touched: Vec<u32>,
}

impl Dry {
    /// For a vocabulary of so many tokens and texts of up to `context`.
    pub fn new(options: &DryOptions, vocabulary: usize, context: usize) -> Dry {
        let on = options.multiplier > 0.0 && options.last_n > 0;
        let window = if on { options.last_n.min(context) } else { 0 };
        Dry {
            multiplier: options.multiplier,
            base: options.base.max(1.0),
            allowed: options.allowed_length,
            window,
            breakers: options.breakers.clone(),
            tokens: VecDeque::with_capacity(window.min(RESERVED)),
            repeats: Vec::with_capacity(window.min(RESERVED)),
            lengths: vec![0; if on { vocabulary } else { 0 }],
            touched: Vec::with_capacity(window.min(RESERVED)),
        }
    }

    /// Whether it penalises nothing.
    pub fn is_off(&self) -> bool {
        self.window == 0
    }

    /// Takes note of a token of the text.
    pub fn push(&mut self, token: u32) {
        if self.is_off() {
            return;
        }
        if self.tokens.len() == self.window {
            self.tokens.pop_back();
        }
        self.tokens.push_front(token);
    }

    /// Forgets the text.
    pub fn clear(&mut self) {
        self.tokens.clear();
    }

    /// Finds what each token would go on with.
    pub fn measure(&mut self) {
        for token in self.touched.drain(..) {
            self.lengths[token as usize] = 0;
        }
        let limit = self.since_breaker();
        if self.tokens.len() <= self.allowed || limit < self.allowed {
            return;
        }
        self.find_repeats();
        // What stands after a place's run is what followed the same text before.
        for place in 1..self.tokens.len() {
            let length = self.repeats[place].min(limit);
            let next = self.tokens[place - 1];
            let is_breaker = || {
                self.breakers
                    .iter()
                    .any(|breaker| breaker.as_slice() == [next])
            };
            if length == 0 || length < self.allowed || is_breaker() {
                continue;
            }
            if let Some(longest) = self.lengths.get_mut(next as usize) {
                if *longest == 0 {
                    self.touched.push(next);
                }
                *longest = (*longest).max(length as u32);
            }
        }
    }

    /// Tokens since the last breaker: no repetition is longer.
    fn since_breaker(&self) -> usize {
        (0..self.tokens.len())
            .find_map(|place| {
                // The breaker that begins `place` tokens from the end and is there in full.
                let stands = |breaker: &&Vec<u32>| {
                    let there = breaker.len() <= place + 1;
                    let mut pairs = breaker.iter().enumerate();
                    there && pairs.all(|(i, token)| self.tokens[place - i] == *token)
                };
                let breakers = self.breakers.iter().filter(|breaker| !breaker.is_empty());
                let longest = breakers.filter(stands).map(Vec::len).max()?;
                Some(place + 1 - longest)
            })
            .unwrap_or(self.tokens.len())
    }

    /// The Z-function of the tokens, newest first: linear, since a run that was compared once
    /// tells about the places within it (Gusfield 1997, section 1.3).
    fn find_repeats(&mut self) {
        let tokens = &self.tokens;
        self.repeats.clear();
        self.repeats.resize(tokens.len(), 0);
        let (mut start, mut end) = (0, 0);
        for place in 1..tokens.len() {
            let mut length = 0;
            if place < end {
                length = self.repeats[place - start].min(end - place);
            }
            while place + length < tokens.len() && tokens[length] == tokens[place + length] {
                length += 1;
            }
            if place + length > end {
                (start, end) = (place, place + length);
            }
            self.repeats[place] = length;
        }
    }

    /// What is taken off a token's logit.
    pub fn penalty(&self, token: u32) -> f32 {
        match self.lengths.get(token as usize) {
            None | Some(0) => 0.0,
            Some(&length) => {
                let beyond = (length as usize).saturating_sub(self.allowed) as f32;
                (self.multiplier * self.base.powf(beyond)).min(f32::MAX)
            }
        }
    }
}
