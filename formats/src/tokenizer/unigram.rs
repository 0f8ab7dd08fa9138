//! Unigram language models: the most likely way to cut a text (Kudo 2018).

use super::characters::Fallback;
use super::error::TokenizerError;
use super::limits;
use super::merge::{Merger, NONE};
use super::trie::Trie;
use super::vocabulary::Vocabulary;
use alloc::vec::Vec;
use core::ops::Range;

/// The score of an unknown character is the least score of a piece minus this.
const UNKNOWN_PENALTY: f64 = 10.0;

#[derive(Clone)]
pub(super) struct Unigram {
    pieces: Trie,
    /// Logarithms of probabilities, by token.
    scores: Vec<f64>,
    unknown_score: f64,
    fallback: Fallback,
}

/// Bytes of a text after which its best segmentation is written, at the next place that all of them go
/// through.
const STRETCH: usize = 1 << 16;

/// Places that pieces reach from any other, and more.
const AHEAD: usize = (limits::SEARCHED_LEN + 1).next_power_of_two();

/// The best segmentations up to places in the text.
#[derive(Default)]
pub(super) struct BestPaths {
    /// Up to each byte of the stretch behind its first one: the last piece, or none for an unknown
    /// character.
    tokens: Vec<u32>,
    /// Their scores, as far as pieces reach, in a ring.
    scores: Vec<f64>,
}

impl Unigram {
    /// Pieces are these tokens of the vocabulary.
    pub(super) fn new(
        vocabulary: &Vocabulary,
        pieces: impl Iterator<Item = u32>,
        scores: Vec<f64>,
        fallback: Fallback,
    ) -> Result<Unigram, TokenizerError> {
        let pieces = pieces.filter_map(|id| Some((vocabulary.key(id)?, id)));
        let pieces: Vec<(&[u8], u32)> = pieces.collect();
        let of = |&(_, id): &(&[u8], u32)| scores.get(id as usize).copied();
        let least = pieces.iter().filter_map(of).reduce(f64::min);
        Ok(Unigram {
            pieces: Trie::new(pieces)?,
            scores,
            unknown_score: least.unwrap_or(0.0) - UNKNOWN_PENALTY,
            fallback,
        })
    }

    pub(super) fn unknown_token(&self) -> Option<u32> {
        self.fallback.unknown
    }

    /// Logarithms of probabilities, by token.
    pub(super) fn scores(&self) -> &[f64] {
        &self.scores
    }

    /// Viterbi's algorithm. Time is linear in the text, as the length of pieces is bounded.
    pub(super) fn encode(
        &self,
        word: &str,
        vocabulary: &Vocabulary,
        allows: &impl Fn(u32) -> bool,
        merger: &mut Merger,
        ids: &mut Vec<u32>,
    ) {
        let BestPaths { tokens, scores } = &mut merger.paths;
        tokens.clear();
        scores.clear();
        scores.resize(
            (word.len() + 1).next_power_of_two().min(AHEAD),
            f64::NEG_INFINITY,
        );
        let last = scores.len() - 1;
        let (mut from, mut furthest, mut score_here) = (0, 0, 0.0);
        for (start, character) in word.char_indices() {
            if let Some(score) = scores.get_mut(start & last).filter(|_| start > 0) {
                score_here = core::mem::replace(score, f64::NEG_INFINITY);
            }
            let is_known = tokens.last().is_some_and(|token| !self.is_unknown(*token));
            if start - from >= STRETCH && furthest == start && is_known {
                self.collect((word, vocabulary), from..start, tokens, ids);
                tokens.clear();
                from = start;
            }
            let mut reach = |len: usize, token: u32, score: f64| {
                let end = start + len;
                // A piece of bytes may end within a character, where no other begins.
                if !word.is_char_boundary(end) {
                    return;
                }
                let score = score_here + score;
                if let Some(best) = scores.get_mut(end & last)
                    && score > *best
                {
                    *best = score;
                    tokens.resize(tokens.len().max(end - from), NONE);
                    if let Some(best) = tokens.get_mut(end - from - 1) {
                        *best = token;
                    }
                    furthest = furthest.max(end);
                }
            };
            let mut is_piece = false;
            let rest = word.as_bytes().get(start..).unwrap_or_default();
            self.pieces.prefixes(rest, |len, token| {
                if !allows(token) {
                    return;
                }
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
        self.collect((word, vocabulary), from..word.len(), tokens, ids);
    }

    fn is_unknown(&self, token: u32) -> bool {
        token == NONE || Some(token) == self.fallback.unknown
    }

    /// Collects the pieces of the best segmentation, from its end back to its beginning. Unknown
    /// characters that follow each other are one, as is the unknown piece where a text has it.
    fn collect(
        &self,
        (word, vocabulary): (&str, &Vocabulary),
        stretch: Range<usize>,
        tokens: &[u32],
        ids: &mut Vec<u32>,
    ) {
        let text = (word, vocabulary);
        let before = ids.len();
        let mut end = stretch.end;
        // The end of the unknown stretch that begins at `end`.
        let mut unknown_end = None;
        while end > stretch.start {
            let token = tokens.get(end - stretch.start - 1).copied().unwrap_or(NONE);
            if !self.is_unknown(token) {
                self.unknown(text, end, &mut unknown_end, ids);
                ids.push(token);
            } else if unknown_end.is_none() || !self.fallback.fuses_unknown {
                self.unknown(text, end, &mut unknown_end, ids);
                unknown_end = Some(end);
            }
            let len = vocabulary
                .key(token)
                .map(<[u8]>::len)
                .filter(|len| *len > 0);
            end = match len {
                Some(len) => end.saturating_sub(len),
                None => before_last(word, end),
            };
        }
        self.unknown(text, end, &mut unknown_end, ids);
        ids.get_mut(before..).unwrap_or_default().reverse();
    }

    /// Appends an unknown stretch, its end first.
    fn unknown(
        &self,
        (word, vocabulary): (&str, &Vocabulary),
        start: usize,
        end: &mut Option<usize>,
        ids: &mut Vec<u32>,
    ) {
        let Some(end) = end.take() else {
            return;
        };
        let text = word.as_bytes().get(start..end).unwrap_or_default();
        // Tokens that no text is cut into are found so as well.
        if let Some(whole) = vocabulary.find(text) {
            ids.push(whole);
        } else if let Some(tokens) = self.fallback.byte_tokens(text) {
            let at = ids.len();
            ids.extend(tokens);
            ids.get_mut(at..).unwrap_or_default().reverse();
        } else {
            ids.extend(self.fallback.unknown);
        }
    }
}

/// Where the character begins that ends at a place.
fn before_last(text: &str, end: usize) -> usize {
    let last = text.get(..end).and_then(|text| text.chars().next_back());
    end.saturating_sub(last.map_or(1, char::len_utf8))
}
