//! Regular expressions at large, in Oniguruma's syntax, as `tokenizer.json` writes them: read into
//! a small program that `expression_run` runs. What published tokenizers cut text by is read into
//! a [`Pattern`](super::pattern::Pattern) instead, which needs no backtracking.

use super::expression_text::ExpressionNode;
use super::limits;
use super::set::Set;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// An expression and the program that finds it.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    source: String,
    pub(super) code: Vec<Instruction>,
    pub(super) sets: Vec<Set>,
    pub(super) marks: usize,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Expression) -> bool {
        self.source == other.source
    }
}

impl Eq for Expression {}

/// A step of the program. Places are indices into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Instruction {
    One(usize),
    /// So many characters of a set.
    Run {
        set: usize,
        least: u32,
        most: u32,
        greed: Greed,
    },
    /// Tries the first place, then the second.
    Either(usize, usize),
    Jump(usize),
    Assert(Assertion),
    /// Remembers where the text of a loop begins.
    Mark(usize),
    /// Leaves the loop if its text was empty: goes to the place.
    Moved(usize, usize),
    /// What follows, up to its `Match`, must be found here (or end here), or must not be.
    Look {
        behind: Option<(u32, u32)>,
        negated: bool,
        next: usize,
    },
    /// What follows, up to its `Match`, gives nothing back.
    Atomic(usize),
    Match,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greed {
    Greedy,
    Lazy,
    Possessive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assertion {
    LineStart,
    LineEnd,
    TextStart,
    TextEnd,
    /// At the end, or before a line end there.
    LastLineEnd,
    WordEdge,
    NoWordEdge,
}

impl Expression {
    /// The expression with this text, which was read as `node`; `None` if it is over a limit.
    pub(super) fn compiled(source: &str, node: &ExpressionNode) -> Option<Expression> {
        let mut compiler = Compiler {
            code: Vec::new(),
            sets: Vec::new(),
            marks: 0,
        };
        compiler.node(node)?;
        compiler.push(Instruction::Match)?;
        Some(Expression {
            source: source.to_string(),
            code: compiler.code,
            sets: compiler.sets,
            marks: compiler.marks,
        })
    }
}

struct Compiler {
    code: Vec<Instruction>,
    sets: Vec<Set>,
    marks: usize,
}

impl Compiler {
    fn push(&mut self, instruction: Instruction) -> Option<usize> {
        let place = self.code.len();
        self.code.push(instruction);
        (place < limits::PATTERN_STEPS).then_some(place)
    }

    fn put(&mut self, place: usize, instruction: Instruction) {
        if let Some(slot) = self.code.get_mut(place) {
            *slot = instruction;
        }
    }

    fn set(&mut self, set: &Set) -> usize {
        let known = self.sets.iter().position(|known| known == set);
        known.unwrap_or_else(|| {
            self.sets.push(set.clone());
            self.sets.len() - 1
        })
    }

    fn node(&mut self, node: &ExpressionNode) -> Option<()> {
        match node {
            ExpressionNode::One(set) => {
                let set = self.set(set);
                self.push(Instruction::One(set))?;
            }
            ExpressionNode::Sequence(nodes) => {
                for node in nodes {
                    self.node(node)?;
                }
            }
            ExpressionNode::Either(nodes) => {
                let mut ends = Vec::new();
                for (index, node) in nodes.iter().enumerate() {
                    if index + 1 == nodes.len() {
                        self.node(node)?;
                        break;
                    }
                    let fork = self.push(Instruction::Match)?;
                    self.node(node)?;
                    ends.push(self.push(Instruction::Match)?);
                    let next = self.code.len();
                    self.put(fork, Instruction::Either(fork + 1, next));
                }
                let end = self.code.len();
                for place in ends {
                    self.put(place, Instruction::Jump(end));
                }
            }
            ExpressionNode::Repeat {
                node,
                least,
                most,
                greed,
            } => self.repeat(node, *least, *most, *greed)?,
            ExpressionNode::Atomic(node) => {
                let place = self.push(Instruction::Match)?;
                self.node(node)?;
                self.push(Instruction::Match)?;
                let next = self.code.len();
                self.put(place, Instruction::Atomic(next));
            }
            ExpressionNode::Look {
                node,
                behind,
                negated,
            } => {
                let behind = match behind {
                    true => Some(length(node).filter(|(_, most)| *most <= 255)?),
                    false => None,
                };
                let place = self.push(Instruction::Match)?;
                self.node(node)?;
                self.push(Instruction::Match)?;
                let look = Instruction::Look {
                    behind,
                    negated: *negated,
                    next: self.code.len(),
                };
                self.put(place, look);
            }
            ExpressionNode::Assert(assertion) => {
                self.push(Instruction::Assert(*assertion))?;
            }
        }
        Some(())
    }

    fn repeat(&mut self, node: &ExpressionNode, least: u32, most: u32, greed: Greed) -> Option<()> {
        if let ExpressionNode::One(set) = node {
            let set = self.set(set);
            let run = Instruction::Run {
                set,
                least,
                most,
                greed,
            };
            self.push(run)?;
            return Some(());
        }
        if greed == Greed::Possessive {
            let place = self.push(Instruction::Match)?;
            self.repeat(node, least, most, Greed::Greedy)?;
            self.push(Instruction::Match)?;
            let next = self.code.len();
            self.put(place, Instruction::Atomic(next));
            return Some(());
        }
        for _ in 0..least {
            self.node(node)?;
            if self.code.len() >= limits::PATTERN_STEPS {
                return None;
            }
        }
        let either = |enters: usize, leaves: usize| match greed {
            Greed::Lazy => Instruction::Either(leaves, enters),
            _ => Instruction::Either(enters, leaves),
        };
        if most == u32::MAX {
            let mark = self.marks;
            self.marks += 1;
            let fork = self.push(Instruction::Match)?;
            self.push(Instruction::Mark(mark))?;
            self.node(node)?;
            let moved = self.push(Instruction::Match)?;
            self.push(Instruction::Jump(fork))?;
            let end = self.code.len();
            self.put(fork, either(fork + 1, end));
            self.put(moved, Instruction::Moved(mark, end));
            return Some(());
        }
        let mut forks = Vec::new();
        for _ in least..most {
            forks.push(self.push(Instruction::Match)?);
            self.node(node)?;
            if self.code.len() >= limits::PATTERN_STEPS {
                return None;
            }
        }
        let end = self.code.len();
        for fork in forks {
            self.put(fork, either(fork + 1, end));
        }
        Some(())
    }
}

/// The least and the most characters that it matches, if there is such a bound.
fn length(node: &ExpressionNode) -> Option<(u32, u32)> {
    match node {
        ExpressionNode::One(_) => Some((1, 1)),
        ExpressionNode::Sequence(nodes) => nodes.iter().try_fold((0u32, 0u32), |sum, node| {
            let len = length(node)?;
            Some((sum.0.checked_add(len.0)?, sum.1.checked_add(len.1)?))
        }),
        ExpressionNode::Either(nodes) => {
            let lens = nodes.iter().map(length).collect::<Option<Vec<_>>>()?;
            let least = lens.iter().map(|len| len.0).min()?;
            Some((least, lens.iter().map(|len| len.1).max()?))
        }
        ExpressionNode::Repeat {
            node, least, most, ..
        } => {
            let len = length(node)?;
            Some((len.0.checked_mul(*least)?, len.1.checked_mul(*most)?))
        }
        ExpressionNode::Atomic(node) => length(node),
        ExpressionNode::Look { .. } | ExpressionNode::Assert(_) => Some((0, 0)),
    }
}
