//! Byte-pair merging: always the best pair next, the leftmost of equals.
//!
//! Symbols are a linked list in one vector and pairs wait in a heap, so that a word costs
//! O(n log n) in its length. (The obvious rescan after each merge takes hours on a megabyte
//! of one letter, but it is the faster way for words as texts have them.)
//!
//! A long word is merged a stretch at a time, or it would take many times its length of memory. Which
//! pair merges when depends on nothing but the symbols there, so that a boundary which no merge crosses
//! parts two texts that have nothing to do with each other. Whether one crosses it is for its two
//! neighbours alone to say: if these, merged together, become themselves again, and those at every other
//! boundary do, the word as a whole becomes them.

use super::word_cache::WordCache;
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::Range;

/// No symbol, or no token.
pub(super) const NONE: u32 = u32::MAX;

/// A stretch of the word that is one token, or is not a token yet (`id` is [`NONE`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol {
    pub(super) start: u32,
    pub(super) len: u32,
    pub(super) id: u32,
}

/// A symbol, as many of the word's first ones as it is made of, and its neighbours. One that was merged
/// into the one before it is made of none.
#[derive(Clone, Copy, Debug)]
struct Linked {
    symbol: Symbol,
    count: u32,
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

/// Of longer ones, so many symbols are merged at a time.
const STRETCH: usize = 1 << 16;

/// A pair that waits: order, then place, then what it looked like when it was seen.
type Waiting = Reverse<(u32, u32, u32, u32)>;

/// The working memory of merging, kept between words.
#[derive(Default)]
pub(super) struct Merger {
    /// Of the word, or of a stretch and of what was before it: those that it begins as.
    symbols: Vec<Symbol>,
    /// Those that it becomes, each with as many of the first as it is made of.
    merged: Vec<(Symbol, u32)>,
    /// Those of a stretch.
    linked: Vec<Linked>,
    waiting: BinaryHeap<Waiting>,
    /// For short words: what each symbol and the next would become.
    pairs: Vec<Merged>,
    /// The words of this text encoded so far.
    pub(super) known: WordCache,
    /// Of unigram models.
    pub(super) paths: super::unigram::BestPaths,
}

impl Merger {
    /// For a text of this length.
    pub(super) fn for_text(len: usize) -> Merger {
        Merger {
            known: WordCache::for_text(len),
            ..Merger::default()
        }
    }

    /// Merges the symbols of a word until `pair` gives nothing for any two; `append` writes those that
    /// remain, in order. It begins anew with the word's first symbol where no boundary is found at which
    /// the word can be parted.
    pub(super) fn merge<I: Iterator<Item = Symbol>>(
        &mut self,
        symbols: impl Fn() -> I,
        pair: impl Fn(&Symbol, &Symbol) -> Option<Merged>,
        ids: &mut Vec<u32>,
        mut append: impl FnMut(Symbol, &mut Vec<u32>),
    ) {
        self.symbols.clear();
        self.symbols.extend(symbols().take(FEW_SYMBOLS + 1));
        if self.symbols.len() <= FEW_SYMBOLS {
            self.merge_few(&pair);
            self.symbols.iter().for_each(|symbol| append(*symbol, ids));
            return;
        }
        let before = ids.len();
        let mut stretch = STRETCH;
        while !self.merge_many(symbols(), stretch, &pair, &mut |symbol| append(symbol, ids)) {
            ids.truncate(before);
            stretch = stretch.saturating_mul(4);
        }
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

    /// Merges a stretch at a time; false if a merge crosses where one was parted from the next.
    fn merge_many(
        &mut self,
        mut word: impl Iterator<Item = Symbol>,
        stretch: usize,
        pair: &impl Fn(&Symbol, &Symbol) -> Option<Merged>,
        append: &mut dyn FnMut(Symbol),
    ) -> bool {
        self.symbols.clear();
        self.merged.clear();
        // The first symbols are those of the last one before the boundary, if there is one.
        let mut at = 0;
        loop {
            let known = self.merged.len();
            let wanted = stretch.saturating_add(at);
            let missing = wanted.saturating_sub(self.symbols.len());
            self.symbols.extend(word.by_ref().take(missing));
            let ends = self.symbols.len() < wanted;
            self.merge_stretch(at..self.symbols.len(), pair);
            if !self.stays(known, at, pair) {
                return false;
            }
            if !ends {
                // What its end becomes depends most on what follows.
                let found = self.merged.len() - known;
                self.merged.truncate(known + found.div_ceil(2));
            }
            let last = self.merged.pop_if(|_| !ends);
            let merged = self.merged.drain(..);
            let done = merged.map(|(symbol, count)| {
                append(symbol);
                count as usize
            });
            let done: usize = done.sum();
            let Some(last) = last else {
                return true;
            };
            self.symbols.drain(..done);
            at = last.1 as usize;
            self.merged.push(last);
        }
    }

    /// Whether no merge crosses the boundary at a place, before which `known` symbols are merged.
    fn stays(
        &mut self,
        known: usize,
        at: usize,
        pair: &impl Fn(&Symbol, &Symbol) -> Option<Merged>,
    ) -> bool {
        let Some(&[left, right]) = known
            .checked_sub(1)
            .and_then(|last| self.merged.get(last..)?.first_chunk())
        else {
            return true;
        };
        let end = self.merged.len();
        self.merge_stretch(at - left.1 as usize..at + right.1 as usize, pair);
        let stays = self.merged.get(end..) == Some(&[left, right]);
        self.merged.truncate(end);
        stays
    }

    /// Appends what a stretch of the word becomes.
    fn merge_stretch(
        &mut self,
        stretch: Range<usize>,
        pair: &impl Fn(&Symbol, &Symbol) -> Option<Merged>,
    ) {
        self.linked.clear();
        self.waiting.clear();
        let symbols = self.symbols.get(stretch).unwrap_or_default();
        // Words are cut at `limits::WORD_LEN`, so places fit.
        let linked = symbols.iter().zip(0_u32..).map(|(&symbol, place)| Linked {
            symbol,
            count: 1,
            previous: place.wrapping_sub(1),
            next: place + 1,
        });
        self.linked.extend(linked);
        for place in 1..self.linked.len() as u32 {
            self.consider(place - 1, place, pair);
        }
        while let Some(Reverse((_, place, len, id))) = self.waiting.pop() {
            let Some(left) = self.linked(place) else {
                continue;
            };
            let Some(right) = self.linked(left.next) else {
                continue;
            };
            // Symbols only grow, so an equal length means that the pair is unchanged.
            if left.count == 0 || left.symbol.len + right.symbol.len != len {
                continue;
            }
            if let Some(merged) = self.linked.get_mut(left.next as usize) {
                merged.count = 0;
            }
            if let Some(after) = self.linked.get_mut(right.next as usize) {
                after.previous = place;
            }
            if let Some(merged) = self.linked.get_mut(place as usize) {
                merged.symbol.len = len;
                merged.symbol.id = id;
                merged.count += right.count;
                merged.next = right.next;
            }
            self.consider(left.previous, place, pair);
            self.consider(place, right.next, pair);
        }
        let left = self.linked.iter().filter(|linked| linked.count > 0);
        let left = left.map(|linked| (linked.symbol, linked.count));
        self.merged.extend(left);
    }

    fn consider(
        &mut self,
        left: u32,
        right: u32,
        pair: &impl Fn(&Symbol, &Symbol) -> Option<Merged>,
    ) {
        let (Some(first), Some(second)) = (self.linked(left), self.linked(right)) else {
            return;
        };
        if let Some(merged) = pair(&first.symbol, &second.symbol) {
            let len = first.symbol.len + second.symbol.len;
            self.waiting
                .push(Reverse((merged.order, left, len, merged.id)));
        }
    }

    fn linked(&self, place: u32) -> Option<Linked> {
        self.linked.get(place as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use hashbrown::HashMap;

    /// Words of few letters under random merges, some of which undo what others prepare: however long the
    /// stretches, they become the same.
    #[test]
    fn stretches_become_what_words_do() {
        let mut state = 1_u64;
        let mut random = |below: u32| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u32 % below
        };
        let mut moved = 0;
        for _ in 0..300 {
            let letters = 1 + random(4);
            let mut merges = HashMap::new();
            for new in 0..1 + random(12) {
                let known = letters + new;
                let order = random(20) * 16 + new;
                let pair = (random(known), random(known));
                merges.entry(pair).or_insert(Merged { order, id: known });
            }
            let pair = |left: &Symbol, right: &Symbol| merges.get(&(left.id, right.id)).copied();
            let word: Vec<u32> = (0..25 + random(200)).map(|_| random(letters)).collect();
            let symbols = || {
                let places = (0..).zip(&word);
                places.map(|(start, &id)| Symbol { start, len: 1, id })
            };
            let becomes = |mut stretch: usize| {
                let mut merger = Merger::default();
                loop {
                    let mut found = vec![];
                    let mut append = |symbol| found.push(symbol);
                    if merger.merge_many(symbols(), stretch, &pair, &mut append) {
                        return found;
                    }
                    stretch *= 2;
                }
            };
            let whole = becomes(usize::MAX);
            for stretch in [1, 2, 3, 7, 20] {
                assert_eq!(becomes(stretch), whole, "{word:?} {merges:?}");
            }
            moved += usize::from(whole.len() < word.len());
        }
        assert!(moved > 200, "{moved}");
        let mut none = |_| panic!("nothing becomes something");
        assert!(Merger::default().merge_many([].into_iter(), 1, &|_, _| None, &mut none));
    }
}
