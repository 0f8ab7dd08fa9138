//! The regular expressions that split text into words before merging, matched in time
//! linear in the text.
//!
//! Published tokenizers share a small stock of alternatives (an optional lead and a run of
//! one class, white space up to a line end, a word in mixed case, a contraction). Each
//! becomes a [`Rule`] whose matcher looks at a character a bounded number of times. A pattern
//! with any other alternative is refused rather than approximated.

use super::class;
use super::set::Set;
use alloc::vec;
use alloc::vec::Vec;

/// An ordered alternation: at each place the first rule that matches decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) rules: Vec<Rule>,
}

/// One alternative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Literals(Literals),
    /// `lead? body{least,most} tail*`, and one of some texts if there is one.
    Run {
        lead: Lead,
        body: Set,
        least: u32,
        most: u32,
        tail: Option<(Set, u32)>,
        ending: Option<Literals>,
    },
    /// `lead? first* last+`, where the two classes may overlap: `\s*[\r\n]+`, and words in
    /// mixed case whose uncased letters belong to both.
    Ending {
        lead: Lead,
        first: Set,
        last: Set,
        most: u32,
        ending: Option<Literals>,
    },
    /// `\s+(?!\S)`, `\s{8}(?!\S)`: white space, but not the last before something else.
    SpaceBeforeSpace {
        least: u32,
        most: u32,
    },
    /// `\d{1,3}(?=(?:\d{3})*\b)`: digits of a number in groups of three, counted from its end.
    DigitGroup(DigitGroup),
    /// A run between two texts, whose characters the second does not begin with:
    /// `<sentinel:[0-9]+>`.
    Framed {
        before: Vec<Set>,
        body: Set,
        least: u32,
        most: u32,
        after: Vec<Set>,
    },
    /// `lead? (?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+`: words of letters, with single spaces between.
    Phrase(Lead),
    /// `\s+$`, where `$` is the end of a line.
    SpaceAtEnd,
}

/// Which digits make a number, and how it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DigitGroup {
    pub(super) digits: Set,
    /// Whether the number must end where a word does.
    pub(super) ends_word: bool,
}

/// What may stand before a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    None,
    /// `c?`, given back if the run would then be empty.
    Optional(Set),
    /// `c?+`, never given back.
    Possessive(Set),
    /// `c`.
    Required(Set),
}

/// One of some texts, character by character: `[0-9][0-9][0-9]`, `'(?:[sdmt]|ll|ve|re)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Literals {
    /// What all of them begin with.
    before: Vec<Set>,
    /// What each goes on with, in the order in which they are tried.
    branches: Vec<Vec<Set>>,
}

/// A search through a text, which remembers where rules cannot match.
pub(super) struct Search<'a> {
    pattern: &'a Pattern,
    text: &'a str,
    /// For each rule, the end of the run in which it does not match. Without this, a long run
    /// without a match would be searched again from each of its characters.
    barren: Vec<usize>,
    number: Number,
}

/// The rest of the number that is being cut into groups, so that its digits are counted once.
#[derive(Default)]
struct Number {
    at: usize,
    digits: usize,
}

impl Pattern {
    pub(super) fn search<'a>(&'a self, text: &'a str) -> Search<'a> {
        Search {
            pattern: self,
            text,
            barren: vec![0; self.rules.len()],
            number: Number::default(),
        }
    }
}

impl Search<'_> {
    /// Where the match that starts at byte `at` ends, if there is one. Calls must come with
    /// `at` not going back.
    pub(super) fn match_at(&mut self, at: usize) -> Option<usize> {
        let text = self.text;
        let number = &mut self.number;
        self.pattern
            .rules
            .iter()
            .zip(&mut self.barren)
            .find_map(|(rule, barren)| {
                if at < *barren {
                    return None;
                }
                match rule {
                    Rule::DigitGroup(group) => number.group(group, text, at, barren),
                    _ => rule.match_at(text, at, barren),
                }
            })
    }
}

impl Rule {
    fn match_at(&self, text: &str, at: usize, barren: &mut usize) -> Option<usize> {
        match self {
            Rule::Literals(texts) => texts.match_at(text, at),
            Rule::Run {
                lead,
                body,
                least,
                most,
                tail,
                ending,
            } => lead.starts(text, at).find_map(|start| {
                let (mut end, count) = body.run(text, start, *most);
                if count < *least {
                    return None;
                }
                if let Some((set, most)) = tail {
                    end = set.run(text, end, *most).0;
                }
                Some(ended(ending.as_ref(), text, end))
            }),
            Rule::Ending {
                lead,
                first,
                last,
                most,
                ending,
            } => {
                let mut searched = at;
                let end = lead.starts(text, at).find_map(|start| {
                    let (run_end, _) = first.run(text, start, u32::MAX);
                    searched = searched.max(run_end);
                    let (end, count) = last.run(text, run_end, *most);
                    if count > 0 {
                        return Some(end);
                    }
                    // Give characters back until one of them can be the last.
                    text.get(start..run_end)?
                        .char_indices()
                        .rev()
                        .find(|&(_, character)| last.contains(character))
                        .map(|(offset, character)| start + offset + character.len_utf8())
                });
                match end {
                    Some(end) => Some(ended(ending.as_ref(), text, end)),
                    None => {
                        *barren = searched;
                        None
                    }
                }
            }
            Rule::SpaceBeforeSpace { least, most } => {
                let rest = text.get(at..)?;
                let (mut end, mut last, mut count) = (0, 0, 0);
                let mut characters = rest.chars();
                let mut next = characters.next();
                while let Some(character) = next.filter(|c| c.is_whitespace() && count < *most) {
                    last = end;
                    end += character.len_utf8();
                    count += 1;
                    next = characters.next();
                }
                if next.is_some_and(|character| !character.is_whitespace()) {
                    end = last;
                    count = count.checked_sub(1)?;
                }
                (count >= *least).then_some(at + end)
            }
            // `Search` matches it, since it keeps the number's rest.
            Rule::DigitGroup(_) => None,
            Rule::Framed {
                before,
                body,
                least,
                most,
                after,
            } => {
                let start = step_all(before, text, at)?;
                let (end, count) = body.run(text, start, *most);
                if count < *least {
                    return None;
                }
                step_all(after, text, end)
            }
            Rule::Phrase(lead) => {
                let is_letter = |c: char| class::is_letter(c);
                lead.starts(text, at).find_map(|start| {
                    let rest = text.get(start..)?;
                    rest.chars().next().filter(|first| is_letter(*first))?;
                    let mut characters = rest.char_indices().peekable();
                    while let Some((at, character)) = characters.next() {
                        let next = characters.peek().map(|next| next.1);
                        let goes_on = is_letter(character)
                            || class::is_mark(character)
                            || character == ' ' && next.is_some_and(is_letter);
                        if !goes_on {
                            return Some(start + at);
                        }
                    }
                    Some(text.len())
                })
            }
            Rule::SpaceAtEnd => {
                let rest = text.get(at..)?;
                let space = rest.len() - rest.trim_start().len();
                if space == rest.len() {
                    return (space > 0).then_some(text.len());
                }
                // The last line end among them, if it is not the first of them.
                match rest.get(..space)?.rfind('\n') {
                    Some(line @ 1..) => Some(at + line),
                    _ => {
                        *barren = at + space;
                        None
                    }
                }
            }
        }
    }
}

impl Number {
    /// Where the group ends that begins at `at`.
    fn group(
        &mut self,
        group: &DigitGroup,
        text: &str,
        at: usize,
        barren: &mut usize,
    ) -> Option<usize> {
        let is_digit = |c: &char| group.digits.contains(*c);
        if self.digits == 0 || self.at != at {
            let rest = text.get(at..)?;
            let digits = rest.chars().take_while(is_digit);
            let (count, len) =
                digits.fold((0, 0), |(count, len), c| (count + 1, len + c.len_utf8()));
            // Letters follow the digits, so the number does not end where a word does.
            if group.ends_word && rest.get(len..)?.chars().next().is_some_and(class::is_word) {
                *barren = at + len;
                return None;
            }
            *self = Number { at, digits: count };
        }
        let count = self.digits.checked_sub(1)? % 3 + 1;
        let digits = text.get(at..)?.chars().take(count);
        self.at = at + digits.map(char::len_utf8).sum::<usize>();
        self.digits -= count;
        Some(self.at)
    }
}

fn ended(ending: Option<&Literals>, text: &str, end: usize) -> usize {
    ending
        .and_then(|texts| texts.match_at(text, end))
        .unwrap_or(end)
}

/// One order and one spelling for branches of which no two are found at one place, so that patterns
/// that mean the same are equal: those of one character, joined, and then the others.
fn ordered(mut branches: Vec<Vec<Set>>) -> Vec<Vec<Set>> {
    let excludes = |a: &Vec<Set>, b: &Vec<Set>| a.iter().zip(b).any(|(a, b)| a.is_disjoint(b));
    let is_exclusive = branches.iter().enumerate().all(|(index, branch)| {
        let before = branches.iter().take(index);
        before.into_iter().all(|other| excludes(branch, other))
    });
    if !is_exclusive {
        return branches;
    }
    branches.sort_by(|a, b| {
        let ranges = a.iter().map(Set::ranges).cmp(b.iter().map(Set::ranges));
        a.len().cmp(&b.len()).then(ranges)
    });
    let singles = branches
        .iter()
        .take_while(|branch| branch.len() == 1)
        .count();
    if singles > 1 {
        let joined = Set::union(branches.drain(..singles).flatten().collect());
        branches.insert(0, vec![joined]);
    }
    branches
}

/// Behind a character of each set in turn.
fn step_all(sets: &[Set], text: &str, at: usize) -> Option<usize> {
    sets.iter().try_fold(at, |at, set| set.step(text, at))
}

impl Literals {
    /// The first of these that is found.
    pub(super) fn new(mut branches: Vec<Vec<Set>>) -> Literals {
        let first = branches.first().cloned().unwrap_or_default();
        let common = branches.iter().fold(first.len(), |common, branch| {
            let same = first.iter().zip(branch).take_while(|(a, b)| a == b);
            common.min(same.count())
        });
        for branch in &mut branches {
            branch.drain(..common);
        }
        let mut before = first;
        before.truncate(common);
        Literals {
            before,
            branches: ordered(branches),
        }
    }

    fn match_at(&self, text: &str, at: usize) -> Option<usize> {
        let at = step_all(&self.before, text, at)?;
        let mut branches = self.branches.iter();
        branches.find_map(|branch| step_all(branch, text, at))
    }
}

impl Lead {
    /// The places where a run may begin, in the order in which they are tried.
    fn starts(&self, text: &str, at: usize) -> impl Iterator<Item = usize> {
        let (with, without) = match self {
            Lead::None => (None, Some(at)),
            Lead::Optional(set) => (set.step(text, at), Some(at)),
            Lead::Possessive(set) => match set.step(text, at) {
                Some(start) => (Some(start), None),
                None => (None, Some(at)),
            },
            Lead::Required(set) => (set.step(text, at), None),
        };
        with.into_iter().chain(without)
    }
}
