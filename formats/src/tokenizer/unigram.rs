//! Unigram language models: the most likely way to cut a text (Kudo 2018).

use super::merge::{Merger, NONE};
use super::model::Fallback;
use super::trie::Trie;
use super::vocabulary::{Kind, Vocabulary};
use alloc::vec::Vec;

/// How much less likely than the least likely piece a character is that is none.
const UNKNOWN_PENALTY: f64 = 10.0;

#[derive(Clone)]
pub(super) struct Unigram {
    pieces: Trie,
    /// Logarithms of probabilities, by token.
    scores: Vec<f64>,
    unknown_score: f64,
    fallback: Fallback,
}

/// The best way to a place in the text: its score, and the last piece on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    score: f64,
    start: usize,
    token: u32,
}

impl Unigram {
    /// Pieces are the vocabulary's normal tokens.
    pub(super) fn new(vocabulary: &Vocabulary, scores: Vec<f64>, fallback: Fallback) -> Unigram {
        let normal = |id: &u32| vocabulary.kind(*id) == Kind::Normal;
        let pieces = vocabulary.ids().filter(normal);
        let pieces = pieces.filter_map(|id| Some((vocabulary.piece(id)?, id)));
        let pieces: Vec<(&[u8], u32)> = pieces.collect();
        let of = |&(_, id): &(&[u8], u32)| scores.get(id as usize).copied();
        let least = pieces.iter().filter_map(of).fold(0.0, f64::min);
        Unigram {
            pieces: Trie::new(pieces),
            scores,
            unknown_score: least - UNKNOWN_PENALTY,
            fallback,
        }
    }

    /// Logarithms of probabilities, by token.
    pub(super) fn scores(&self) -> &[f64] {
        &self.scores
    }

    /// Viterbi's algorithm: linear in the text, as pieces have a longest.
    pub(super) fn encode(&self, word: &str, merger: &mut Merger, ids: &mut Vec<u32>) {
        let steps = &mut merger.steps;
        steps.clear();
        let nowhere = Step {
            score: f64::NEG_INFINITY,
            start: 0,
            token: NONE,
        };
        steps.resize(word.len() + 1, nowhere);
        if let Some(first) = steps.first_mut() {
            first.score = 0.0;
        }
        for (start, character) in word.char_indices() {
            let Some(here) = steps.get(start).map(|step| step.score) else {
                break;
            };
            let mut reach = |len: usize, token: u32, score: f64| {
                if let Some(step) = steps.get_mut(start + len)
                    && here + score > step.score
                {
                    *step = Step {
                        score: here + score,
                        start,
                        token,
                    };
                }
            };
            let mut is_piece = false;
            let rest = word.as_bytes().get(start..).unwrap_or_default();
            self.pieces.prefixes(rest, |len, token| {
                is_piece |= len == character.len_utf8();
                reach(
                    len,
                    token,
                    self.scores.get(token as usize).copied().unwrap_or(0.0),
                );
            });
            if !is_piece {
                reach(character.len_utf8(), NONE, self.unknown_score);
            }
        }
        self.collect(word, steps, ids);
    }

    /// The pieces of the best way, from its end back to its beginning.
    fn collect(&self, word: &str, steps: &[Step], ids: &mut Vec<u32>) {
        let before = ids.len();
        let mut end = word.len();
        let mut was_unknown = false;
        while let Some(step) = steps.get(end).filter(|_| end > 0) {
            let text = word.as_bytes().get(step.start..end).unwrap_or_default();
            if step.token != NONE {
                ids.push(step.token);
                was_unknown = false;
            } else if let Some(tokens) = self.fallback.byte_tokens(text) {
                let at = ids.len();
                ids.extend(tokens);
                ids.get_mut(at..).unwrap_or_default().reverse();
                was_unknown = false;
            } else if let Some(unknown) = self.fallback.unknown {
                if !(was_unknown && self.fallback.fuses_unknown) {
                    ids.push(unknown);
                }
                was_unknown = true;
            }
            end = step.start;
        }
        ids.get_mut(before..).unwrap_or_default().reverse();
    }
}
