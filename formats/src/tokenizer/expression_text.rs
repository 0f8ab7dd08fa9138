//! Reads regular expressions, in Oniguruma's syntax, as trees.

use super::class;
use super::expression::{Assertion, Greed};
use super::limits;
use super::set::{Member, Set};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// A part of an expression.
#[derive(PartialEq, Eq)]
pub(super) enum ExpressionNode {
    One(Set),
    Sequence(Vec<ExpressionNode>),
    Either(Vec<ExpressionNode>),
    Repeat {
        node: Box<ExpressionNode>,
        least: u32,
        most: u32,
        greed: Greed,
    },
    Atomic(Box<ExpressionNode>),
    Look {
        node: Box<ExpressionNode>,
        behind: bool,
        negated: bool,
    },
    Assert(Assertion),
}

/// The expression as a tree; `None` if it is malformed or too long, or has something that is not read
/// (back references, conditions, absent groups).
pub(super) fn parsed(source: &str) -> Option<ExpressionNode> {
    if source.len() > limits::PATTERN_LEN {
        return None;
    }
    let mut parser = ExpressionParser {
        rest: source,
        folds: false,
        dot_all: false,
        extended: false,
        depth: 0,
    };
    let node = parser.alternatives()?;
    parser.rest.is_empty().then_some(node)
}

struct ExpressionParser<'a> {
    rest: &'a str,
    folds: bool,
    dot_all: bool,
    extended: bool,
    depth: usize,
}

impl ExpressionParser<'_> {
    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let character = characters.next()?;
        self.rest = characters.as_str();
        Some(character)
    }

    fn alternatives(&mut self) -> Option<ExpressionNode> {
        self.depth += 1;
        if self.depth > limits::STEPS {
            return None;
        }
        let mut found = vec![self.sequence()?];
        while self.take("|") {
            found.push(self.sequence()?);
        }
        self.depth -= 1;
        Some(match found.len() {
            1 => found.pop()?,
            _ => ExpressionNode::Either(found),
        })
    }

    fn sequence(&mut self) -> Option<ExpressionNode> {
        let mut items = Vec::new();
        while !self.rest.is_empty() && !self.rest.starts_with(['|', ')']) {
            if self.extended && self.skips() {
                continue;
            }
            // `(?i)` holds up to the end of its group.
            if let Some(options) = self.options() {
                let (folds, dot_all, extended) = (self.folds, self.dot_all, self.extended);
                (self.folds, self.dot_all, self.extended) = options;
                items.push(self.alternatives()?);
                (self.folds, self.dot_all, self.extended) = (folds, dot_all, extended);
                break;
            }
            let atom = self.atom()?;
            items.push(self.repeated(atom)?);
        }
        Some(match items.len() {
            1 => items.pop()?,
            _ => ExpressionNode::Sequence(items),
        })
    }

    /// White space and comments of an extended expression.
    fn skips(&mut self) -> bool {
        if self.rest.starts_with('#') {
            self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
            return true;
        }
        let rest = self.rest.trim_start();
        let skipped = rest.len() < self.rest.len();
        self.rest = rest;
        skipped
    }

    /// `(?i)`: the options from here on.
    fn options(&mut self) -> Option<(bool, bool, bool)> {
        let (letters, rest) = self.rest.strip_prefix("(?")?.split_once(')')?;
        let options = self.letters(letters)?;
        self.rest = rest;
        Some(options)
    }

    fn letters(&self, letters: &str) -> Option<(bool, bool, bool)> {
        let (mut folds, mut dot_all, mut extended, mut value) =
            (self.folds, self.dot_all, self.extended, true);
        if letters.is_empty() {
            return None;
        }
        for letter in letters.chars() {
            match letter {
                'i' => folds = value,
                'm' => dot_all = value,
                'x' => extended = value,
                '-' if value => value = false,
                _ => return None,
            }
        }
        Some((folds, dot_all, extended))
    }

    fn atom(&mut self) -> Option<ExpressionNode> {
        let set = |members: Vec<Member>, negated, folds| {
            ExpressionNode::One(Set::new(members, negated, folds))
        };
        Some(match self.next()? {
            '(' => return self.group(),
            '[' => ExpressionNode::One(self.bracketed()?),
            '.' => match self.dot_all {
                true => set(vec![Member::Range('\0', char::MAX)], false, false),
                false => set(vec![Member::Range('\n', '\n')], true, false),
            },
            '^' => ExpressionNode::Assert(Assertion::LineStart),
            '$' => ExpressionNode::Assert(Assertion::LineEnd),
            '\\' => match self.rest.chars().next()? {
                'b' => self.assertion(Assertion::WordEdge),
                'B' => self.assertion(Assertion::NoWordEdge),
                'A' => self.assertion(Assertion::TextStart),
                'z' => self.assertion(Assertion::TextEnd),
                'Z' => self.assertion(Assertion::LastLineEnd),
                _ => {
                    let (member, negated) = self.escape()?;
                    set(vec![member], negated, self.folds)
                }
            },
            '*' | '+' | '?' | ')' | '|' => return None,
            other => set(vec![Member::Range(other, other)], false, self.folds),
        })
    }

    fn assertion(&mut self, assertion: Assertion) -> ExpressionNode {
        let _ = self.next();
        ExpressionNode::Assert(assertion)
    }

    /// After the opening bracket.
    fn group(&mut self) -> Option<ExpressionNode> {
        let look = |behind, negated| {
            move |node| ExpressionNode::Look {
                node,
                behind,
                negated,
            }
        };
        let same = (self.folds, self.dot_all, self.extended);
        let mut inner = same;
        let wrap: Box<dyn Fn(Box<ExpressionNode>) -> ExpressionNode> = if self.take("?:") {
            Box::new(|node| *node)
        } else if self.take("?=") {
            Box::new(look(false, false))
        } else if self.take("?!") {
            Box::new(look(false, true))
        } else if self.take("?<=") {
            Box::new(look(true, false))
        } else if self.take("?<!") {
            Box::new(look(true, true))
        } else if self.take("?>") {
            Box::new(ExpressionNode::Atomic)
        } else if self.take("?#") {
            self.rest = self.rest.split_once(')')?.1;
            return Some(ExpressionNode::Sequence(Vec::new()));
        } else if self.take("?<") {
            let (name, rest) = self.rest.split_once('>')?;
            let named = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
            self.rest = rest;
            if !named {
                return None;
            }
            Box::new(|node| *node)
        } else if self.take("?") {
            let (letters, rest) = self.rest.split_once(':')?;
            inner = self.letters(letters)?;
            self.rest = rest;
            Box::new(|node| *node)
        } else if self.rest.starts_with('*') {
            return None;
        } else {
            Box::new(|node| *node)
        };
        (self.folds, self.dot_all, self.extended) = inner;
        let node = self.alternatives()?;
        (self.folds, self.dot_all, self.extended) = same;
        self.take(")").then(|| wrap(Box::new(node)))
    }

    fn repeated(&mut self, mut node: ExpressionNode) -> Option<ExpressionNode> {
        let mut times = 0;
        loop {
            if self.extended {
                while self.skips() {}
            }
            let (least, most, is_braced) = if self.take("?") {
                (0, 1, false)
            } else if self.take("*") {
                (0, u32::MAX, false)
            } else if self.take("+") {
                (1, u32::MAX, false)
            } else if let Some((least, most)) = self.braces()? {
                (least, most, true)
            } else {
                return Some(node);
            };
            times += 1;
            if least > most
                || times > 4
                || matches!(
                    node,
                    ExpressionNode::Assert(_) | ExpressionNode::Look { .. }
                )
            {
                return None;
            }
            let greed = if self.take("?") {
                // `{n}?` is a repeat that may be left out, not a lazy one.
                if is_braced && least == most {
                    return None;
                }
                Greed::Lazy
            } else if !is_braced && self.take("+") {
                Greed::Possessive
            } else {
                Greed::Greedy
            };
            node = ExpressionNode::Repeat {
                node: Box::new(node),
                least,
                most,
                greed,
            };
        }
    }

    /// `{n,m}`; braces that hold no counts are characters.
    fn braces(&mut self) -> Option<Option<(u32, u32)>> {
        let Some((counts, rest)) = self
            .rest
            .strip_prefix('{')
            .and_then(|rest| rest.split_once('}'))
        else {
            return Some(None);
        };
        let is_count = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (least, most) = counts.split_once(',').unwrap_or((counts, counts));
        if !is_count(least) || !is_count(most) || least.is_empty() && most.is_empty() {
            return Some(None);
        }
        self.rest = rest;
        let number = |text: &str, unsaid| match text {
            "" => Some(unsaid),
            text => text.parse::<u32>().ok().filter(|count| *count <= 100_000),
        };
        Some(Some((number(least, 0)?, number(most, u32::MAX)?)))
    }

    /// After a backslash: what it stands for, and whether its complement.
    fn escape(&mut self) -> Option<(Member, bool)> {
        let plain = |character| Some((Member::Range(character, character), false));
        match self.next()? {
            's' => Some((Member::Space, false)),
            'S' => Some((Member::Space, true)),
            'd' => Some((Member::Categories(class::categories("Nd")?), false)),
            'D' => Some((Member::Categories(class::categories("Nd")?), true)),
            'w' => Some((Member::Word, false)),
            'W' => Some((Member::Word, true)),
            letter @ ('h' | 'H') => {
                let digits = [('0', '9'), ('a', 'f'), ('A', 'F')];
                let digits = digits.map(|(first, last)| Member::Range(first, last));
                let set = Set::new(digits.to_vec(), false, false);
                Some((Member::Set(set), letter == 'H'))
            }
            letter @ ('p' | 'P') => {
                let (name, rest) = self.rest.strip_prefix('{')?.split_once('}')?;
                self.rest = rest;
                let (name, negated) = match name.strip_prefix('^') {
                    Some(name) => (name, true),
                    None => (name, false),
                };
                Some((Member::property(name)?, negated != (letter == 'P')))
            }
            'n' => plain('\n'),
            'r' => plain('\r'),
            't' => plain('\t'),
            'f' => plain('\x0c'),
            'v' => plain('\x0b'),
            'a' => plain('\x07'),
            'e' => plain('\x1b'),
            'x' if self.rest.starts_with('{') => {
                let (digits, rest) = self.rest.get(1..)?.split_once('}')?;
                self.rest = rest;
                plain(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?)
            }
            'x' => {
                let code = self.digits(2)?;
                // Above that they would be bytes.
                plain(char::from_u32(code).filter(char::is_ascii)?)
            }
            'u' => {
                let code = self.digits(4)?;
                plain(char::from_u32(code)?)
            }
            '0' => plain('\0'),
            other if other.is_ascii_alphanumeric() => None,
            other => plain(other),
        }
    }

    fn digits(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        u32::from_str_radix(digits, 16).ok()
    }

    /// After the opening bracket of a class.
    fn bracketed(&mut self) -> Option<Set> {
        self.depth += 1;
        if self.depth > limits::STEPS {
            return None;
        }
        let negated = self.take("^");
        let mut sets = Vec::new();
        let mut members: Vec<Member> = Vec::new();
        let mut is_first = true;
        loop {
            let begins_with = self.rest;
            let member = match self.next()? {
                ']' if !is_first => break,
                '[' => {
                    if let Some(rest) = self.rest.strip_prefix(':') {
                        let (name, rest) = rest.split_once(":]")?;
                        self.rest = rest;
                        let (name, negated) = match name.strip_prefix('^') {
                            Some(name) => (name, true),
                            None => (name, false),
                        };
                        let member = Member::posix(name)?;
                        Member::Set(Set::new(vec![member], negated, false))
                    } else {
                        Member::Set(self.bracketed()?)
                    }
                }
                '&' if self.take("&") => {
                    sets.push(Set::new(core::mem::take(&mut members), false, self.folds));
                    is_first = false;
                    continue;
                }
                '\\' if self.rest.starts_with('b') => {
                    let _ = self.next();
                    Member::Range('\x08', '\x08')
                }
                '\\' => match self.escape()? {
                    (member, false) => member,
                    (member, true) => Member::Set(Set::new(vec![member], true, false)),
                },
                other => Member::Range(other, other),
            };
            is_first = false;
            let mut member = member;
            if let Member::Range(first, same) = member
                && first == same
                && self.rest.starts_with('-')
                && !self.rest.starts_with("-]")
                && !begins_with.is_empty()
            {
                let rest = self.rest;
                let _ = self.next();
                let last = match self.next()? {
                    '\\' => match self.escape()? {
                        (Member::Range(last, same), false) if last == same => Some(last),
                        _ => None,
                    },
                    '[' => None,
                    other => Some(other),
                };
                match last {
                    Some(last) if first <= last => member = Member::Range(first, last),
                    Some(_) => return None,
                    // A hyphen before a class is a hyphen.
                    None => self.rest = rest,
                }
            }
            members.push(member);
        }
        self.depth -= 1;
        if sets.is_empty() {
            return Some(Set::new(members, negated, self.folds));
        }
        sets.push(Set::new(members, false, self.folds));
        Some(Set::intersection(sets, negated))
    }
}
