//! Recognises in an expression the [`Rule`]s of a [`Pattern`].

use super::expression::{Assertion, Greed};
use super::expression_text::{self, ExpressionNode};
use super::limits;
use super::pattern::{DigitGroup, Lead, Literals, Pattern, Rule};
use super::set::Set;
use alloc::vec;
use alloc::vec::Vec;

/// The alternatives that look ahead over a whole number, their digits, and whether the number must
/// end where a word does.
const DIGIT_GROUPS: &[(&str, &str, bool)] = &[
    (r"\d{1,3}(?=(?:\d{3})*\b)", r"\d", true),
    (r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))", r"\p{N}", false),
];

/// Words with their marks, with single spaces between.
const PHRASE: &str = r"(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+";

/// Some characters of a set.
struct Repeated {
    set: Set,
    least: u32,
    most: u32,
    possessive: bool,
}

impl Repeated {
    fn is_single(&self) -> bool {
        (self.least, self.most) == (1, 1)
    }
}

impl Pattern {
    /// The pattern with this text, or `None` if it has an alternative that no [`Rule`]
    /// expresses.
    pub(super) fn parse(text: &str) -> Option<Pattern> {
        Pattern::recognised(&expression_text::parsed(text)?)
    }

    /// The pattern that finds what the expression does.
    pub(super) fn recognised(node: &ExpressionNode) -> Option<Pattern> {
        let mut alternatives = Vec::new();
        list_alternatives(node, &mut alternatives);
        let (mut rules, mut texts) = (Vec::new(), Vec::new());
        for alternative in alternatives {
            let mut items = Vec::new();
            list_items(alternative, &mut items);
            // Neighbours that are texts are one rule.
            match branches(alternative).filter(|_| !items.is_empty()) {
                Some(found) => texts.extend(found),
                None => {
                    rules.extend(literals_rule(&mut texts)?);
                    rules.push(rule(&items)?);
                }
            }
        }
        rules.extend(literals_rule(&mut texts)?);
        Some(Pattern { rules })
    }
}

/// What was gathered, if anything; `None` if that is too much to be tried at each place.
fn literals_rule(texts: &mut Vec<Vec<Set>>) -> Option<Option<Rule>> {
    let texts = core::mem::take(texts);
    let rule = |texts: Vec<Vec<Set>>| Rule::Literals(Literals::new(texts));
    is_countable(total(&texts)).then(|| (!texts.is_empty()).then(|| rule(texts)))
}

fn list_alternatives<'a>(node: &'a ExpressionNode, found: &mut Vec<&'a ExpressionNode>) {
    match node {
        ExpressionNode::Either(nodes) => {
            nodes.iter().for_each(|node| list_alternatives(node, found))
        }
        other => found.push(other),
    }
}

fn list_items<'a>(node: &'a ExpressionNode, found: &mut Vec<&'a ExpressionNode>) {
    match node {
        ExpressionNode::Sequence(nodes) => nodes.iter().for_each(|node| list_items(node, found)),
        other => found.push(other),
    }
}

/// The texts that the expression finds, in the order in which it tries them, if they are few and each
/// as long as it is written.
fn branches(node: &ExpressionNode) -> Option<Vec<Vec<Set>>> {
    let found = match node {
        ExpressionNode::One(set) => vec![vec![set.clone()]],
        ExpressionNode::Sequence(nodes) => {
            nodes.iter().try_fold(vec![Vec::new()], |before, node| {
                let after = branches(node)?;
                if !is_countable(total(&before) * after.len() + before.len() * total(&after)) {
                    return None;
                }
                let joined = before
                    .iter()
                    .flat_map(|before| after.iter().map(|after| [&before[..], after].concat()));
                Some(joined.collect())
            })?
        }
        ExpressionNode::Either(nodes) => nodes
            .iter()
            .map(branches)
            .collect::<Option<Vec<_>>>()?
            .concat(),
        _ => return None,
    };
    is_countable(total(&found)).then_some(found)
}

fn total(texts: &[Vec<Set>]) -> usize {
    texts.iter().map(Vec::len).sum()
}

/// Whether `count` is one a rule may demand.
fn is_countable(count: usize) -> bool {
    count <= limits::PATTERN_COUNT
}

fn rule(items: &[&ExpressionNode]) -> Option<Rule> {
    if let Some(rule) = digit_group(items).or_else(|| space(items)) {
        return Some(rule);
    }
    let (last, before) = items.split_last()?;
    if **last == expression_text::parsed(PHRASE)? {
        return phrase(before);
    }
    // What may follow, if it is more than a character.
    let ending = match last {
        ExpressionNode::Repeat {
            node,
            least: 0,
            most: 1,
            greed: Greed::Greedy,
        } if one_of(node).is_none() => Some(Literals::new(branches(node)?)),
        _ => None,
    };
    let items = if ending.is_some() { before } else { items };
    let items = items.iter().map(|item| repeated(item));
    let items = items.collect::<Option<Vec<_>>>()?;
    match ending {
        None => framed(&items).or_else(|| sequence(items, None)),
        Some(_) => sequence(items, ending),
    }
}

fn digit_group(items: &[&ExpressionNode]) -> Option<Rule> {
    DIGIT_GROUPS.iter().find_map(|(text, digits, ends_word)| {
        let node = expression_text::parsed(text)?;
        let mut expected = Vec::new();
        list_items(&node, &mut expected);
        let digits = one_of(&expression_text::parsed(digits)?)?;
        (expected == items).then_some(Rule::DigitGroup(DigitGroup {
            digits,
            ends_word: *ends_word,
        }))
    })
}

/// White space before the end of a line, or before other white space.
fn space(items: &[&ExpressionNode]) -> Option<Rule> {
    let [space, end] = items else {
        return None;
    };
    let space = repeated(space)?;
    let (least, most) = (space.least, space.most);
    if space.set != Set::space() || space.possessive || least == 0 {
        return None;
    }
    match end {
        ExpressionNode::Assert(Assertion::LineEnd) if (least, most) == (1, u32::MAX) => {
            Some(Rule::SpaceAtEnd)
        }
        _ if **end == expression_text::parsed(r"(?!\S)")? => {
            is_countable(least as usize).then_some(Rule::SpaceBeforeSpace { least, most })
        }
        _ => None,
    }
}

/// The characters that the expression finds one of.
fn one_of(node: &ExpressionNode) -> Option<Set> {
    match node {
        ExpressionNode::One(set) => Some(set.clone()),
        ExpressionNode::Either(nodes) => {
            let sets = nodes.iter().map(one_of).collect::<Option<_>>()?;
            Some(Set::union(sets))
        }
        _ => None,
    }
}

fn repeated(node: &ExpressionNode) -> Option<Repeated> {
    let (node, least, most, greed) = match node {
        ExpressionNode::Repeat {
            node,
            least,
            most: most @ 1..,
            greed: greed @ (Greed::Greedy | Greed::Possessive),
        } => (&**node, *least, *most, *greed),
        node => (node, 1, 1, Greed::Greedy),
    };
    Some(Repeated {
        set: one_of(node)?,
        least,
        most,
        possessive: greed == Greed::Possessive,
    })
}

fn phrase(lead: &[&ExpressionNode]) -> Option<Rule> {
    let lead = match lead {
        [] => Lead::None,
        [lead] => match repeated(lead)? {
            Repeated {
                set,
                least: 0,
                most: 1,
                possessive: false,
            } => Lead::Optional(set),
            _ => return None,
        },
        _ => return None,
    };
    Some(Rule::Phrase(lead))
}

/// A run between two texts. The second begins with no character of the run, so that the run has
/// one end. Nor does the first, unless the run is short: otherwise a run would be searched again
/// from each of its characters.
fn framed(items: &[Repeated]) -> Option<Rule> {
    let place = items.iter().take_while(|item| item.is_single()).count();
    let (before, rest) = items.split_at_checked(place)?;
    let (body, after) = rest.split_first()?;
    let belongs = |item: Option<&Repeated>| Some(body.set.contains(item?.set.only()?));
    let fits = body.least > 0
        && is_countable(body.least as usize)
        && after.iter().all(Repeated::is_single)
        && is_countable(items.len())
        && !belongs(after.first())?
        && (is_countable(body.most as usize) || !belongs(before.first())?);
    let sets = |items: &[Repeated]| items.iter().map(|item| item.set.clone()).collect();
    fits.then(|| Rule::Framed {
        before: sets(before),
        body: body.set.clone(),
        least: body.least,
        most: body.most,
        after: sets(after),
    })
}

/// `[lead] body [tail]` or `[lead] first* last+`, and what may follow.
fn sequence(items: Vec<Repeated>, ending: Option<Literals>) -> Option<Rule> {
    // A lead alone could match nothing: `\p{L}?`.
    let leads = items.len() > 1;
    let mut items = items.into_iter().peekable();
    let lead = match items.next_if(|item| leads && item.most == 1) {
        None => Lead::None,
        Some(item) => match (item.least, item.possessive) {
            (0, false) => Lead::Optional(item.set),
            (0, true) => Lead::Possessive(item.set),
            _ => Lead::Required(item.set),
        },
    };
    let (body, second) = (items.next()?, items.next());
    if items.next().is_some() {
        return None;
    }
    match second {
        Some(last)
            if (body.least, body.most) == (0, u32::MAX)
                && !body.possessive
                && last.least == 1
                && matches!(last.most, 1 | u32::MAX) =>
        {
            Some(Rule::Ending {
                lead,
                first: body.set,
                last: last.set,
                most: last.most,
                ending,
            })
        }
        tail if body.least > 0
            && is_countable(body.least as usize)
            && tail.as_ref().is_none_or(|tail| tail.least == 0) =>
        {
            Some(Rule::Run {
                lead,
                body: body.set,
                least: body.least,
                most: body.most,
                tail: tail.map(|tail| (tail.set, tail.most)),
                ending,
            })
        }
        _ => None,
    }
}
