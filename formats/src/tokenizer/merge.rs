//! Byte-pair merging: always the best pair next, the leftmost of equals.
//!
//! Symbols are a linked list in one vector and pairs wait in a heap, so that a word costs
//! O(n log n) in its length. (The obvious rescan after each merge takes hours on a megabyte
//! of one letter, but it is the faster way for words as texts have them.)

use super::word_cache::WordCache;
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

/// No symbol, or no token.
pub(super) const NONE: u32 = u32::MAX;

/// A stretch of the word that is one token, or is not a token yet (`id` is [`NONE`]).
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbol {
    pub(super) start: u32,
    pub(super) len: u32,
    pub(super) id: u32,
    previous: u32,
    next: u32,
}

/// What two neighbours would become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Merged {
    /// Smaller is merged earlier.
    pub(super) order: u32,
    pub(super) id: u32,
}

/// Words of at most so many symbols are merged by scanning all pairs after each merge.
const FEW_SYMBOLS: usize = 24;

/// A pair that waits: order, then place, then what it looked like when it was seen.
type Waiting = Reverse<(u32, u32, u32, u32)>;

/// The working memory of merging, kept between words.
#[derive(Default)]
pub(super) struct Merger {
    symbols: Vec<Symbol>,
    waiting: BinaryHeap<Waiting>,
    /// For short words: what each symbol and the next would become.
    pairs: Vec<Merged>,
    /// The words of this text encoded so far.
    pub(super) known: WordCache,
    /// Of unigram models: the best segmentation up to each byte.
    pub(super) paths: Vec<super::unigram::BestPath>,
}

impl Merger {
    /// For a text of this length.
    pub(super) fn for_text(len: usize) -> Merger {
        Merger {
            known: WordCache::for_text(len),
            ..Merger::default()
        }
    }

    /// Starts a new word.
    pub(super) fn clear(&mut self) {
        self.symbols.clear();
        self.waiting.clear();
    }

    /// Appends a symbol of `len` bytes at `start`.
    pub(super) fn push(&mut self, start: u32, len: u32, id: u32) {
        // Words are cut at `limits::WORD_LEN`, so places fit.
        let place = self.symbols.len() as u32;
        if let Some(last) = self.symbols.last_mut() {
            last.next = place;
        }
        self.symbols.push(Symbol {
            start,
            len,
            id,
            previous: place.wrapping_sub(1),
            next: NONE,
        });
    }

    /// Merges until `pair` gives nothing for any pair; returns the symbols that remain, in order.
    pub(super) fn merge(
        &mut self,
        pair: impl Fn(&Symbol, &Symbol) -> Option<Merged>,
    ) -> impl Iterator<Item = Symbol> {
        match self.symbols.len() {
            0..=FEW_SYMBOLS => self.merge_few(&pair),
            _ => self.merge_many(&pair),
        }
        self.symbols.iter().filter(|symbol| symbol.len > 0).copied()
    }

    fn merge_few(&mut self, pair: &impl Fn(&Symbol, &Symbol) -> Option<Merged>) {
        const NEVER: Merged = Merged {
            order: u32::MAX,
            id: NONE,
        };
        let pair_at = |symbols: &[Symbol], place: usize| match symbols.get(place..) {
            Some([left, right, ..]) => pair(left, right).unwrap_or(NEVER),
            _ => NEVER,
        };
        self.pairs.clear();
        for place in 0..self.symbols.len() {
            self.pairs.push(pair_at(&self.symbols, place));
        }
        loop {
            // The first of equals is the leftmost.
            let pairs = self.pairs.iter().enumerate();
            let best = pairs.min_by_key(|(_, merged)| merged.order);
            let Some((place, merged)) = best.filter(|(_, merged)| **merged != NEVER) else {
                return;
            };
            let id = merged.id;
            let right = self.symbols.remove(place + 1);
            self.pairs.remove(place + 1);
            if let Some(left) = self.symbols.get_mut(place) {
                left.len += right.len;
                left.id = id;
            }
            for place in [place.checked_sub(1), Some(place)].into_iter().flatten() {
                if let Some(merged) = self.pairs.get_mut(place) {
                    *merged = pair_at(&self.symbols, place);
                }
            }
        }
    }

    fn merge_many(&mut self, pair: &impl Fn(&Symbol, &Symbol) -> Option<Merged>) {
        for place in 1..self.symbols.len() as u32 {
            self.consider(place - 1, place, pair);
        }
        while let Some(Reverse((_, place, len, id))) = self.waiting.pop() {
            let Some(left) = self.symbol(place) else {
                continue;
            };
            let Some(right) = self.symbol(left.next) else {
                continue;
            };
            // Symbols only grow, so an equal length means that the pair is unchanged.
            if left.len == 0 || left.len + right.len != len {
                continue;
            }
            if let Some(symbol) = self.symbol_mut(left.next) {
                symbol.len = 0;
            }
            if let Some(symbol) = self.symbol_mut(right.next) {
                symbol.previous = place;
            }
            if let Some(symbol) = self.symbol_mut(place) {
                symbol.len = len;
                symbol.id = id;
                symbol.next = right.next;
            }
            self.consider(left.previous, place, pair);
            self.consider(place, right.next, pair);
        }
    }

    fn consider(
        &mut self,
        left: u32,
        right: u32,
        pair: &impl Fn(&Symbol, &Symbol) -> Option<Merged>,
    ) {
        let (Some(first), Some(second)) = (self.symbol(left), self.symbol(right)) else {
            return;
        };
        if let Some(merged) = pair(&first, &second) {
            let len = first.len + second.len;
            self.waiting
                .push(Reverse((merged.order, left, len, merged.id)));
        }
    }

    fn symbol(&self, place: u32) -> Option<Symbol> {
        self.symbols.get(place as usize).copied()
    }

    fn symbol_mut(&mut self, place: u32) -> Option<&mut Symbol> {
        self.symbols.get_mut(place as usize)
    }
}
