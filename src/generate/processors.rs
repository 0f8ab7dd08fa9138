//! Logits processors: what a [`GenerationConfig`] changes of a token's scores before one is chosen.
//! Rules and their order are those of transformers' `generate`.

use super::config::GenerationConfig;
use crate::reserve::{OutOfMemory, list};

/// Tokens of a text for which room is reserved ahead.
pub(super) const RESERVED: usize = 65_536;

/// The rules, for one source and a text that begins from so many tokens.
#[derive(Debug)]
pub struct LogitsProcessors<'a> {
    config: &'a GenerationConfig,
    end_tokens: &'a [u32],
    /// The encoder's tokens, or the prompt.
    source: Vec<u32>,
    /// The same, each once.
    source_tokens: Vec<u32>,
    /// Those written, each once; with room reserved.
    written_tokens: Vec<u32>,
    /// Tokens that a text begins from.
    beginning: usize,
    /// Most tokens of a text, with those.
    longest: usize,
}

impl<'a> LogitsProcessors<'a> {
    /// Rules for texts that begin from `beginning` tokens and have at most `longest`, with those.
    ///
    /// # Errors
    /// The system refuses memory.
    pub fn new(
        config: &'a GenerationConfig,
        end_tokens: &'a [u32],
        source: &[u32],
        (beginning, longest): (usize, usize),
    ) -> Result<LogitsProcessors<'a>, OutOfMemory> {
        let copy = || -> Result<Vec<u32>, OutOfMemory> {
            let mut copy = list(source.len())?;
            copy.extend_from_slice(source);
            Ok(copy)
        };
        let mut source_tokens = copy()?;
        source_tokens.sort_unstable();
        source_tokens.dedup();
        Ok(LogitsProcessors {
            config,
            end_tokens,
            source: copy()?,
            source_tokens,
            written_tokens: list(longest.min(RESERVED))?,
            beginning,
            longest,
        })
    }

    /// Changes the scores (logits, or their logarithms) of what follows `written`, which holds what the
    /// text began from.
    pub fn apply(&mut self, written: &[u32], scores: &mut [f32]) {
        let config = self.config;
        for (sequence, bias) in &config.sequence_bias {
            if let Some((&last, before)) = sequence.split_last()
                && written.ends_with(before)
                && let Some(score) = scores.get_mut(last as usize)
            {
                *score += bias;
            }
        }
        if config.encoder_repetition_penalty != 1.0 {
            penalize(
                scores,
                &self.source_tokens,
                1.0 / config.encoder_repetition_penalty,
            );
        }
        if config.repetition_penalty != 1.0 {
            self.written_tokens.clear();
            self.written_tokens.extend_from_slice(written);
            self.written_tokens.sort_unstable();
            self.written_tokens.dedup();
            penalize(scores, &self.written_tokens, config.repetition_penalty);
        }
        no_repeat(scores, written, written, config.no_repeat_ngram_size);
        no_repeat(
            scores,
            &self.source,
            written,
            config.encoder_no_repeat_ngram_size,
        );
        for words in &config.bad_words_ids {
            let is_end = |end: &u32| words.as_slice() == [*end];
            if let Some((&last, before)) = words.split_last()
                && written.ends_with(before)
                && !self.end_tokens.iter().any(is_end)
            {
                forbid(scores, &[last]);
            }
        }
        let len = written.len();
        if len < config.min_length || len - self.beginning < config.min_new_tokens {
            forbid(scores, self.end_tokens);
        }
        if let Some(first) = config.forced_bos_token_id
            && len == 1
        {
            force(scores, &[first]);
        }
        if !config.forced_eos_token_id.is_empty() && len + 1 == self.longest {
            force(scores, &config.forced_eos_token_id);
        }
        if config.remove_invalid_values {
            for score in scores.iter_mut() {
                *score = match score.is_nan() {
                    true => 0.0,
                    false => score.clamp(f32::MIN, f32::MAX),
                };
            }
        }
        if let Some((start, factor)) = config.exponential_decay_length_penalty {
            let start = start + self.beginning;
            if len > start {
                let growth = f64::from(factor).powi((len - start) as i32) - 1.0;
                for &end in self.end_tokens {
                    if let Some(score) = scores.get_mut(end as usize) {
                        *score += score.abs() * growth as f32;
                    }
                }
            }
        }
        forbid(scores, &config.suppress_tokens);
        // What is forced comes before what one begins with.
        let begins = match self.beginning == 1 && config.forced_bos_token_id.is_some() {
            true => self.beginning + 1,
            false => self.beginning,
        };
        if len == begins {
            forbid(scores, &config.begin_suppress_tokens);
        }
        if config.renormalize_logits {
            log_softmax(scores);
        }
    }
}

/// x ← x − ln Σ exp(x)
pub(super) fn log_softmax(scores: &mut [f32]) {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if most == f32::NEG_INFINITY {
        return;
    }
    let sum: f64 = scores.iter().map(|&x| f64::from(x - most).exp()).sum();
    let sum = sum.ln() as f32;
    for score in scores {
        *score = *score - most - sum;
    }
}

fn forbid(scores: &mut [f32], tokens: &[u32]) {
    for &token in tokens {
        if let Some(score) = scores.get_mut(token as usize) {
            *score = f32::NEG_INFINITY;
        }
    }
}

fn force(scores: &mut [f32], tokens: &[u32]) {
    scores.fill(f32::NEG_INFINITY);
    for &token in tokens {
        if let Some(score) = scores.get_mut(token as usize) {
            *score = 0.0;
        }
    }
}

/// Makes tokens less likely by a factor above 1, whatever the sign of their scores.
fn penalize(scores: &mut [f32], tokens: &[u32], penalty: f32) {
    for &token in tokens {
        if let Some(score) = scores.get_mut(token as usize) {
            *score = match *score < 0.0 {
                true => *score * penalty,
                false => *score / penalty,
            };
        }
    }
}

/// Forbids what would end a run of `size` tokens that `seen` holds.
fn no_repeat(scores: &mut [f32], seen: &[u32], written: &[u32], size: usize) {
    let Some(before) = size.checked_sub(1) else {
        return;
    };
    let Some(begin) = written.len().checked_sub(before) else {
        return;
    };
    for run in seen.windows(size) {
        if run[..before] == written[begin..] {
            forbid(scores, &run[before..]);
        }
    }
}
