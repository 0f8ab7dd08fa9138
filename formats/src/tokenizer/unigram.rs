//! Unigram language models: the most likely way to cut a text (Kudo 2018).

use super::error::TokenizerError;
use super::merge::{Merger, NONE};
use super::model::Fallback;
use super::trie::Trie;
use super::vocabulary::Vocabulary;
use alloc::vec::Vec;

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

/// The best segmentation up to a place in the text: its score and its last piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct BestPath {
    score: f64,
    start: u32,
    token: u32,
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
        let paths = &mut merger.paths;
        paths.clear();
        let nowhere = BestPath {
            score: f64::NEG_INFINITY,
            start: 0,
            token: NONE,
        };
        paths.resize(word.len() + 1, nowhere);
        if let Some(first) = paths.first_mut() {
            first.score = 0.0;
        }
        for (start, character) in word.char_indices() {
            let Some(here) = paths.get(start).map(|path| path.score) else {
                break;
            };
            let mut reach = |len: usize, token: u32, score: f64| {
                if let Some(path) = paths.get_mut(start + len)
                    && here + score > path.score
                {
                    *path = BestPath {
                        score: here + score,
                        // Words are cut at `limits::WORD_LEN`, so places fit.
                        start: start as u32,
                        token,
                    };
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
        self.collect(word, vocabulary, paths, ids);
    }

    /// Collects the pieces of the best segmentation, from its end back to its beginning. Unknown
    /// characters that follow each other are one, as is the unknown piece where a text has it.
    fn collect(&self, word: &str, vocabulary: &Vocabulary, paths: &[BestPath], ids: &mut Vec<u32>) {
        let text = (word, vocabulary);
        let before = ids.len();
        let mut end = word.len();
        // The end of the unknown stretch that begins at `end`.
        let mut unknown_end = None;
        while let Some(path) = paths.get(end).filter(|_| end > 0) {
            let is_unknown = path.token == NONE || Some(path.token) == self.fallback.unknown;
            if !is_unknown {
                self.unknown(text, end, &mut unknown_end, ids);
                ids.push(path.token);
            } else if unknown_end.is_none() || !self.fallback.fuses_unknown {
                self.unknown(text, end, &mut unknown_end, ids);
                unknown_end = Some(end);
            }
            end = path.start as usize;
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
