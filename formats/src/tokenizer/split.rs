//! Splits: they cut a text at what they look for.

use super::budget::TextBudget;
use super::class;
use super::expression::Expression;
use super::expression_text;
use super::pattern::Pattern;
use alloc::string::String;
use core::ops::Range;

/// One split; each cuts the pieces that the one before left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SplitStep {
    pub(super) matcher: Matcher,
    pub(super) behavior: Behavior,
    /// Whether the text between matches counts as matched, and the matches do not.
    pub(super) invert: bool,
}

/// What a split looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Matcher {
    Pattern(Pattern),
    Expression(Expression),
    Text(String),
    /// The empty places before, between and after all characters.
    Everywhere,
    /// All but words and runs of signs, which are what `\w+|[^\w\s]+` finds: white space, and the
    /// places between the two.
    Words,
    /// The empty places in front of the last three digits of each number, of the three before
    /// those, and so on. Every [`Behavior`] cuts at an empty match alike.
    Thousands,
}

/// What [`Matcher::Thousands`] is in regular expressions.
const THOUSANDS: &str = r"(?=(\d{3})+(?!\d))";

impl Matcher {
    /// What this expression looks for, or `None` if that cannot be said.
    pub(super) fn parse(regex: &str) -> Option<Matcher> {
        let node = expression_text::parsed(regex)?;
        if node == expression_text::parsed(THOUSANDS)? {
            return Some(Matcher::Thousands);
        }
        match Pattern::recognised(&node) {
            Some(pattern) => Some(Matcher::Pattern(pattern)),
            None => Expression::compiled(regex, &node).map(Matcher::Expression),
        }
    }
}

impl From<Pattern> for Matcher {
    fn from(pattern: Pattern) -> Matcher {
        Matcher::Pattern(pattern)
    }
}

/// What becomes of a match (the names are those of `tokenizer.json`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behavior {
    /// A piece of its own.
    Isolated,
    /// Dropped.
    Removed,
    /// Glued to the unmatched text before it.
    MergedWithPrevious,
    /// Glued to the unmatched text after it.
    MergedWithNext,
    /// Adjacent matches make one piece.
    Contiguous,
}

impl SplitStep {
    /// A split whose matches stand alone.
    pub(super) fn isolated(matcher: impl Into<Matcher>) -> SplitStep {
        SplitStep {
            matcher: matcher.into(),
            behavior: Behavior::Isolated,
            invert: false,
        }
    }

    /// Hands the pieces of `text` to `piece`, in order.
    pub(super) fn apply(
        &self,
        text: &str,
        budget: &TextBudget,
        piece: &mut dyn FnMut(Range<usize>),
    ) {
        let mut joiner = Joiner {
            behavior: self.behavior,
            held: None,
            piece,
        };
        self.matcher.segments(text, budget, &mut |range, is_match| {
            if range.is_empty() && is_match {
                joiner.flush();
            } else if !range.is_empty() {
                joiner.add(range, is_match != self.invert);
            }
        });
        joiner.flush();
    }
}

impl Matcher {
    /// Hands over the matches and what lies between them.
    pub(super) fn segments(
        &self,
        text: &str,
        budget: &TextBudget,
        segment: &mut dyn FnMut(Range<usize>, bool),
    ) {
        let mut gap = 0;
        match self {
            Matcher::Pattern(pattern) => {
                let mut search = pattern.search(text);
                let mut at = 0;
                while let Some(character) = text.get(at..).and_then(|rest| rest.chars().next()) {
                    match search.match_at(at) {
                        Some(end) if end > at => {
                            segment(gap..at, false);
                            segment(at..end, true);
                            at = end;
                            gap = end;
                        }
                        _ => at += character.len_utf8(),
                    }
                }
            }
            Matcher::Expression(expression) => expression.matches(text, budget, &mut |range| {
                segment(gap..range.start, false);
                gap = range.end;
                segment(range, true);
            }),
            Matcher::Everywhere => {
                for (at, _) in text.char_indices() {
                    segment(gap..at, false);
                    segment(at..at, true);
                    gap = at;
                }
                segment(gap..text.len(), false);
                gap = text.len();
                segment(gap..gap, true);
            }
            Matcher::Words => {
                let kind = |character: char| match character {
                    c if c.is_whitespace() => None,
                    c => Some(class::is_unicode_word(c)),
                };
                let mut before = None;
                for (at, character) in text.char_indices() {
                    let kind = kind(character);
                    match (before, kind) {
                        (_, None) => {
                            segment(gap..at, false);
                            gap = at + character.len_utf8();
                            segment(at..gap, true);
                        }
                        (Some(Some(before)), Some(kind)) if before != kind => {
                            segment(gap..at, false);
                            segment(at..at, true);
                            gap = at;
                        }
                        _ => {}
                    }
                    before = Some(kind);
                }
            }
            Matcher::Text(wanted) => {
                for (at, found) in text.match_indices(wanted.as_str()) {
                    segment(gap..at, false);
                    gap = at + found.len();
                    segment(at..gap, true);
                }
            }
            Matcher::Thousands => thousands(text, &mut |place| {
                segment(gap..place, false);
                segment(place..place, true);
                gap = place;
            }),
        }
        segment(gap..text.len(), false);
    }
}

/// The places that [`Matcher::Thousands`] finds.
fn thousands(text: &str, found: &mut dyn FnMut(usize)) {
    let mut at = 0;
    while let Some(rest) = text.get(at..)
        && let Some(first) = rest.find(class::is_decimal)
    {
        let number = rest.get(first..).unwrap_or_default();
        let end = number.find(|c| !class::is_decimal(c));
        let number = number.get(..end.unwrap_or(number.len()));
        let number = number.unwrap_or_default();
        let count = number.chars().count();
        let places = number.char_indices().enumerate();
        for (_, (offset, _)) in places.filter(|(index, _)| (count - index) % 3 == 0) {
            found(at + first + offset);
        }
        at += first + number.len();
    }
}

/// Joins matches to their neighbours as a [`Behavior`] says.
struct Joiner<'a> {
    behavior: Behavior,
    held: Option<(Range<usize>, bool)>,
    piece: &'a mut dyn FnMut(Range<usize>),
}

impl Joiner<'_> {
    fn add(&mut self, range: Range<usize>, is_match: bool) {
        if self.behavior == Behavior::Removed && is_match {
            return;
        }
        if let Some((held, held_is_match)) = self.held.take() {
            let joins = match self.behavior {
                Behavior::Isolated | Behavior::Removed => false,
                Behavior::MergedWithPrevious => is_match && !held_is_match,
                Behavior::MergedWithNext => held_is_match && !is_match,
                Behavior::Contiguous => is_match == held_is_match,
            };
            if joins {
                // A joined piece takes part in no further join, except a contiguous one.
                let joined = held.start..range.end;
                match self.behavior {
                    Behavior::Contiguous => self.held = Some((joined, is_match)),
                    _ => (self.piece)(joined),
                }
                return;
            }
            (self.piece)(held);
        }
        self.held = Some((range, is_match));
    }

    fn flush(&mut self) {
        if let Some((range, _)) = self.held.take() {
            (self.piece)(range);
        }
    }
}
