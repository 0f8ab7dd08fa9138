//! Finds an [`Expression`] in a text, by backtracking within a budget.

use super::budget::TextBudget;
use super::class;
use super::expression::{Assertion, Expression, Greed, Instruction};
use alloc::vec::Vec;
use core::ops::Range;

impl Expression {
    /// Hands over the matches, from left to right, empty ones too, but none that is empty and
    /// follows another at once.
    pub(super) fn matches(
        &self,
        text: &str,
        budget: &TextBudget,
        found: &mut dyn FnMut(Range<usize>),
    ) {
        let mut machine = Machine {
            expression: self,
            text,
            budget,
            stack: Vec::new(),
            marks: alloc::vec![0; self.marks],
        };
        if text.is_empty() {
            return;
        }
        let (mut at, mut last_end) = (0, None);
        while let Some(rest) = text.get(at..) {
            let Some(range) = machine.first(at) else {
                return;
            };
            if range.is_empty() && last_end == Some(range.end) {
                at += rest.chars().next().map_or(1, char::len_utf8);
                continue;
            }
            at = range.end;
            last_end = Some(range.end);
            found(range);
        }
    }
}

/// A way that was not taken.
enum Backtrack {
    Point {
        pc: usize,
        at: usize,
    },
    /// A greedy run, which may give back down to `low`.
    Shorter {
        pc: usize,
        low: usize,
        at: usize,
    },
    /// A lazy run, which may take so many more.
    Longer {
        pc: usize,
        set: usize,
        at: usize,
        left: u32,
    },
    Mark {
        mark: usize,
        was: usize,
    },
}

struct Machine<'a> {
    expression: &'a Expression,
    text: &'a str,
    budget: &'a TextBudget,
    stack: Vec<Backtrack>,
    marks: Vec<usize>,
}

impl Machine<'_> {
    /// The first match that begins at `at` or later.
    fn first(&mut self, mut at: usize) -> Option<Range<usize>> {
        loop {
            if let Some(end) = self.run(0, at) {
                return Some(at..end);
            }
            if self.budget.is_spent() {
                return None;
            }
            at += self.text.get(at..)?.chars().next()?.len_utf8();
        }
    }

    /// Runs the program from `pc`; the end of the match.
    fn run(&mut self, mut pc: usize, mut at: usize) -> Option<usize> {
        let base = self.stack.len();
        loop {
            match self.step(&mut pc, &mut at) {
                MatchStep::On => {}
                MatchStep::Found => {
                    self.unwind(base);
                    return Some(at);
                }
                MatchStep::Failed => {
                    if !self.back(base, &mut pc, &mut at) {
                        return None;
                    }
                }
            }
            if !self.budget.step() || self.stack.len() > super::limits::BACKTRACKS {
                self.budget.exhaust();
                self.unwind(base);
                return None;
            }
        }
    }

    /// Drops the ways that were not taken; what marks were stays as it is.
    fn unwind(&mut self, base: usize) {
        self.stack.truncate(base);
    }

    /// Takes the last way that was not taken, if there is one.
    fn back(&mut self, base: usize, pc: &mut usize, at: &mut usize) -> bool {
        while self.stack.len() > base {
            match self.stack.pop() {
                Some(Backtrack::Point { pc: to, at: place }) => {
                    (*pc, *at) = (to, place);
                    return true;
                }
                Some(Backtrack::Shorter {
                    pc: to,
                    low,
                    at: place,
                }) => {
                    let before = self
                        .text
                        .get(..place)
                        .and_then(|text| text.chars().next_back());
                    let place = place - before.map_or(0, char::len_utf8);
                    if place > low {
                        self.stack.push(Backtrack::Shorter {
                            pc: to,
                            low,
                            at: place,
                        });
                    }
                    (*pc, *at) = (to, place);
                    return true;
                }
                Some(Backtrack::Longer {
                    pc: to,
                    set,
                    at: place,
                    left,
                }) => {
                    if let Some(next) = self.one(set, place) {
                        if left > 1 {
                            let left = left.saturating_sub(1);
                            self.stack.push(Backtrack::Longer {
                                pc: to,
                                set,
                                at: next,
                                left,
                            });
                        }
                        (*pc, *at) = (to, next);
                        return true;
                    }
                }
                Some(Backtrack::Mark { mark, was }) => {
                    if let Some(slot) = self.marks.get_mut(mark) {
                        *slot = was;
                    }
                }
                None => return false,
            }
        }
        false
    }

    /// The place after the character at `at`, if the set has it.
    fn one(&self, set: usize, at: usize) -> Option<usize> {
        let character = self.text.get(at..)?.chars().next()?;
        let set = self.expression.sets.get(set)?;
        set.contains(character).then(|| at + character.len_utf8())
    }

    fn step(&mut self, pc: &mut usize, at: &mut usize) -> MatchStep {
        let expression = self.expression;
        let Some(instruction) = expression.code.get(*pc) else {
            return MatchStep::Failed;
        };
        *pc += 1;
        match *instruction {
            Instruction::One(set) => match self.one(set, *at) {
                Some(next) => *at = next,
                None => return MatchStep::Failed,
            },
            Instruction::Run {
                set,
                least,
                most,
                greed,
            } => {
                let wanted = if greed == Greed::Lazy { least } else { most };
                let (mut count, mut low, mut end) = (0, *at, *at);
                while count < wanted
                    && let Some(next) = self.one(set, end)
                    && self.budget.step()
                {
                    end = next;
                    count += 1;
                    if count == least {
                        low = end;
                    }
                }
                if count < least {
                    return MatchStep::Failed;
                }
                match greed {
                    Greed::Greedy if end > low => self.stack.push(Backtrack::Shorter {
                        pc: *pc,
                        low,
                        at: end,
                    }),
                    Greed::Lazy if most > least => {
                        let left = most - least;
                        self.stack.push(Backtrack::Longer {
                            pc: *pc,
                            set,
                            at: end,
                            left,
                        });
                    }
                    _ => {}
                }
                *at = end;
            }
            Instruction::Either(first, second) => {
                self.stack.push(Backtrack::Point {
                    pc: second,
                    at: *at,
                });
                *pc = first;
            }
            Instruction::Jump(to) => *pc = to,
            Instruction::Assert(assertion) => {
                if !self.holds(assertion, *at) {
                    return MatchStep::Failed;
                }
            }
            Instruction::Mark(mark) => {
                if let Some(slot) = self.marks.get_mut(mark) {
                    self.stack.push(Backtrack::Mark { mark, was: *slot });
                    *slot = *at;
                }
            }
            Instruction::Moved(mark, end) => {
                if self.marks.get(mark) == Some(at) {
                    *pc = end;
                }
            }
            Instruction::Look {
                behind,
                negated,
                next,
            } => {
                let found = match behind {
                    None => self.run(*pc, *at).is_some(),
                    Some(lens) => self.behind(*pc, *at, lens),
                };
                if found == negated || self.budget.is_spent() {
                    return MatchStep::Failed;
                }
                *pc = next;
            }
            Instruction::Atomic(next) => match self.run(*pc, *at) {
                Some(end) => {
                    *at = end;
                    *pc = next;
                }
                None => return MatchStep::Failed,
            },
            Instruction::Match => return MatchStep::Found,
        }
        MatchStep::On
    }

    /// Whether what `pc` begins ends at `at`, after so many characters.
    fn behind(&mut self, pc: usize, at: usize, (least, most): (u32, u32)) -> bool {
        let before = self.text.get(..at).unwrap_or_default();
        let places = before.char_indices().rev().map(|(place, _)| place);
        let places = core::iter::once(at).chain(places).enumerate();
        let places = places.take(most as usize + 1).skip(least as usize);
        let places: Vec<usize> = places.map(|(_, place)| place).collect();
        places
            .into_iter()
            .any(|place| self.run(pc, place) == Some(at))
    }

    fn holds(&self, assertion: Assertion, at: usize) -> bool {
        let (before, after) = self.text.split_at_checked(at).unwrap_or_default();
        match assertion {
            Assertion::LineStart => {
                before.is_empty() || before.ends_with('\n') && !after.is_empty()
            }
            Assertion::LineEnd => after.is_empty() || after.starts_with('\n'),
            Assertion::TextStart => before.is_empty(),
            Assertion::TextEnd => after.is_empty(),
            Assertion::LastLineEnd => after.is_empty() || after == "\n",
            Assertion::WordEdge => {
                before.ends_with(class::is_word) != after.starts_with(class::is_word)
            }
            Assertion::NoWordEdge => {
                before.ends_with(class::is_word) == after.starts_with(class::is_word)
            }
        }
    }
}

enum MatchStep {
    On,
    Found,
    Failed,
}
