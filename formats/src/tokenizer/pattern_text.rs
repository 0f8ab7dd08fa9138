//! Reads the text of a regular expression into the [`Rule`]s of a [`Pattern`].

use super::class::Class;
use super::limits;
use super::pattern::{DigitGroup, Lead, Letters, Pattern, Rule, is_countable};
use alloc::vec::Vec;

/// An atom and how often it is repeated.
struct Repeated {
    atom: Atom,
    least: u32,
    most: u32,
    possessive: bool,
}

/// A character class, or one of the groups that are read as a whole.
#[derive(PartialEq, Eq)]
enum Atom {
    Class(Class),
    Contraction(Letters),
    /// `(?!\S)`
    NotBeforeText,
    /// `$`
    End,
}

/// Groups that mean "the English contractions", as published patterns spell them.
const CONTRACTIONS: &[(&str, Letters)] = &[
    ("(?i:'s|'t|'re|'ve|'m|'ll|'d)", Letters::AnyCase),
    ("'(?i:[sdmt]|ll|ve|re)", Letters::AnyCase),
    (
        "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])",
        Letters::AsciiCase,
    ),
    (
        "'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])",
        Letters::AsciiCase,
    ),
    ("'(?:[sdmt]|ll|ve|re)", Letters::Lower),
    ("(?:'s|'t|'re|'ve|'m|'ll|'d)", Letters::Lower),
];

/// The alternatives that look ahead over a whole number: their text, the category of their digits,
/// and whether the number must end where a word does.
const DIGIT_GROUPS: &[(&str, &str, bool)] = &[
    (r"\d{1,3}(?=(?:\d{3})*\b)", "Nd", true),
    (r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))", "N", false),
];

/// Words with their marks, with single spaces between.
const PHRASE: &str = r"(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+";

/// Alternatives as some models spell them, and the equivalent that [`Pattern::parse`] reads.
const SPELLINGS: &[(&str, &str)] = &[
    ("(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "IMGIMG[A-I]{1,4}Z"),
    ("([\t\n]|    |  )", "[\t\n]|    |  "),
    (r"([\t\n]|    |  )", "[\t\n]|    |  "),
];

impl Pattern {
    /// The pattern with this text, or `None` if it has an alternative that no [`Rule`]
    /// expresses.
    pub(super) fn parse(text: &str) -> Option<Pattern> {
        if text.is_empty() || text.len() > limits::PATTERN_LEN {
            return None;
        }
        let spelled = SPELLINGS.iter().find(|(spelling, _)| *spelling == text);
        let text = spelled.map_or(text, |(_, read)| read);
        // `(?i:…)` around the alternation and a capturing group add nothing here, so only
        // the bare alternation is read.
        let rules = alternatives(text)?
            .into_iter()
            .map(|alternative| {
                let group = DIGIT_GROUPS.iter().find(|group| group.0 == alternative);
                if let Some((_, digits, ends_word)) = group {
                    return digit_group(digits, *ends_word);
                }
                match alternative.strip_suffix(PHRASE) {
                    Some(lead) => phrase(items(lead)?),
                    None => rule(items(alternative)?),
                }
            })
            .collect::<Option<Vec<Rule>>>()?;
        Some(Pattern { rules })
    }
}

/// Cuts at the `|` that are inside no group and no class.
fn alternatives(text: &str) -> Option<Vec<&str>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut depth, mut in_class, mut escaped) = (0u32, false, false);
    for (at, character) in text.char_indices() {
        if escaped {
            escaped = false;
            continue;
        }
        match character {
            '\\' => escaped = true,
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => depth += 1,
            ')' if !in_class => depth = depth.checked_sub(1)?,
            '|' if !in_class && depth == 0 => {
                parts.push(text.get(start..at)?);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..)?);
    Some(parts)
}

fn items(mut text: &str) -> Option<Vec<Repeated>> {
    let mut items = Vec::new();
    while !text.is_empty() {
        let (atom, rest) = atom(text)?;
        let (least, most, possessive, rest) = quantifier(rest)?;
        items.push(Repeated {
            atom,
            least,
            most,
            possessive,
        });
        text = rest;
    }
    Some(items)
}

fn atom(text: &str) -> Option<(Atom, &str)> {
    if let Some(rest) = text.strip_prefix(r"(?!\S)") {
        return Some((Atom::NotBeforeText, rest));
    }
    for (group, letters) in CONTRACTIONS {
        if let Some(rest) = text.strip_prefix(group) {
            return Some((Atom::Contraction(*letters), rest));
        }
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (class, rest) = bracketed(rest)?;
        return Some((Atom::Class(class), rest));
    }
    if let Some(rest) = text.strip_prefix('$') {
        return Some((Atom::End, rest));
    }
    let mut class = Class::default();
    let rest = match text.strip_prefix('\\') {
        Some(rest) => match rest.strip_prefix('S') {
            Some(rest) => {
                class.add_space();
                return Some((Atom::Class(class.finish(true)), rest));
            }
            None => escape(rest, &mut class)?.1,
        },
        None => {
            let mut characters = text.chars();
            let character = characters.next()?;
            if "()*+?.^|{}".contains(character) {
                return None;
            }
            class.add_range(character, character);
            characters.as_str()
        }
    };
    Some((Atom::Class(class.finish(false)), rest))
}

/// Reads what follows a backslash into `class`: the character, if it is one (only then may it begin
/// a range), and the rest of the text.
fn escape<'a>(text: &'a str, class: &mut Class) -> Option<(Option<char>, &'a str)> {
    let mut characters = text.chars();
    let character = match characters.next()? {
        's' => {
            class.add_space();
            return Some((None, characters.as_str()));
        }
        'd' => {
            class.add_category("Nd");
            return Some((None, characters.as_str()));
        }
        'p' => {
            let (name, rest) = characters.as_str().strip_prefix('{')?.split_once('}')?;
            return class.add_category(name).then_some((None, rest));
        }
        'r' => '\r',
        'n' => '\n',
        't' => '\t',
        other if other.is_ascii_punctuation() => other,
        _ => return None,
    };
    class.add_range(character, character);
    Some((Some(character), characters.as_str()))
}

/// The inside of `[…]`; `text` starts after the opening bracket.
fn bracketed(text: &str) -> Option<(Class, &str)> {
    let (negated, mut text) = match text.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    // As the first of a class it is a character.
    if text.starts_with(']') {
        return None;
    }
    let mut class = Class::default();
    loop {
        let mut characters = text.chars();
        let character = match characters.next()? {
            ']' => return Some((class.finish(negated), characters.as_str())),
            // Of nested classes, only an intersection that excludes ranges is read.
            '[' => return None,
            '&' if characters.as_str().starts_with('&') => {
                let (other, rest) = bracketed(characters.as_str().strip_prefix("&[")?)?;
                let rest = rest.strip_prefix(']')?;
                return (!negated && class.intersect(other)).then(|| (class.finish(false), rest));
            }
            '\\' => {
                let (character, rest) = escape(characters.as_str(), &mut class)?;
                characters = rest.chars();
                character
            }
            character => {
                class.add_range(character, character);
                Some(character)
            }
        };
        text = characters.as_str();
        let (Some(first), Some(rest)) = (character, text.strip_prefix('-')) else {
            continue;
        };
        let mut characters = rest.chars();
        let last = match characters.next()? {
            // A hyphen before the closing bracket is a hyphen.
            ']' => continue,
            '\\' => {
                let (last, rest) = escape(characters.as_str(), &mut class)?;
                characters = rest.chars();
                last?
            }
            last => last,
        };
        if last < first {
            return None;
        }
        class.add_range(first, last);
        text = characters.as_str();
    }
}

/// Least, most, whether possessive, and the rest of the text.
fn quantifier(text: &str) -> Option<(u32, u32, bool, &str)> {
    let (least, most, rest) = if let Some(rest) = text.strip_prefix('?') {
        (0, 1, rest)
    } else if let Some(rest) = text.strip_prefix('*') {
        (0, u32::MAX, rest)
    } else if let Some(rest) = text.strip_prefix('+') {
        (1, u32::MAX, rest)
    } else if let Some(rest) = text.strip_prefix('{') {
        let (counts, rest) = rest.split_once('}')?;
        let (least, most) = match counts.split_once(',') {
            Some((least, "")) => (least.parse().ok()?, u32::MAX),
            Some((least, most)) => (least.parse().ok()?, most.parse().ok()?),
            None => (counts.parse().ok()?, counts.parse().ok()?),
        };
        // In this engine `{…}+` is not possessive but a repeated group.
        if least > most || most == 0 || rest.starts_with(['+', '?', '*']) {
            return None;
        }
        (least, most, rest)
    } else {
        return Some((1, 1, false, text));
    };
    match rest.strip_prefix('+') {
        Some(rest) => Some((least, most, true, rest)),
        // Lazy and nested quantifiers are not read.
        None if rest.starts_with(['?', '*']) => None,
        None => Some((least, most, false, rest)),
    }
}

fn rule(mut items: Vec<Repeated>) -> Option<Rule> {
    if let [space, end] = items.as_slice()
        && space.atom == Atom::Class(Class::space())
        && !space.possessive
        && (end.least, end.most) == (1, 1)
    {
        let (least, most) = (space.least, space.most);
        match end.atom {
            Atom::NotBeforeText if least > 0 && is_countable(least) => {
                return Some(Rule::SpaceBeforeSpace { least, most });
            }
            Atom::End if (least, most) == (1, u32::MAX) => return Some(Rule::SpaceAtEnd),
            _ => {}
        }
    }
    if let [only] = items.as_slice()
        && let (Atom::Contraction(letters), 1, 1) = (&only.atom, only.least, only.most)
    {
        return Some(Rule::Contraction(*letters));
    }
    let contraction = match items.last()? {
        Repeated {
            atom: Atom::Contraction(letters),
            least: 0,
            most: 1,
            ..
        } => {
            let letters = *letters;
            items.pop();
            Some(letters)
        }
        _ => None,
    };
    let classes = items
        .into_iter()
        .map(|item| match item.atom {
            Atom::Class(class) => Some((class, item.least, item.most, item.possessive)),
            _ => None,
        })
        .collect::<Option<Vec<_>>>()?;
    if contraction.is_none()
        && is_countable(u32::try_from(classes.len()).ok()?)
        && classes.iter().all(|item| (item.1, item.2) == (1, 1))
    {
        return Some(Rule::Fixed(
            classes.into_iter().map(|item| item.0).collect(),
        ));
    }
    if contraction.is_none()
        && let Some(rule) = framed(&classes)
    {
        return Some(rule);
    }
    sequence(classes, contraction)
}

fn digit_group(digits: &str, ends_word: bool) -> Option<Rule> {
    let mut class = Class::default();
    class.add_category(digits).then(|| {
        let digits = class.finish(false);
        Rule::DigitGroup(DigitGroup { digits, ends_word })
    })
}

fn phrase(lead: Vec<Repeated>) -> Option<Rule> {
    let mut lead = lead.into_iter();
    let kind = match (lead.next(), lead.next()) {
        (None, _) => Lead::None,
        (Some(item), None) if (item.least, item.most, item.possessive) == (0, 1, false) => {
            match item.atom {
                Atom::Class(class) => Lead::Optional(class),
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(Rule::Phrase(kind))
}

/// A run between two texts. The second begins with no character of the run, so that the run has
/// one end. Nor does the first, unless the run is short: otherwise a run would be searched again
/// from each of its characters.
fn framed(classes: &[(Class, u32, u32, bool)]) -> Option<Rule> {
    let is_single = |item: &&(Class, u32, u32, bool)| (item.1, item.2) == (1, 1);
    let place = classes.iter().take_while(is_single).count();
    let (before, rest) = classes.split_at_checked(place)?;
    let ((body, least, most, _), after) = rest.split_first()?;
    let belongs = |item: Option<&(Class, u32, u32, bool)>| {
        let character = item?.0.only()?;
        Some(body.contains(character))
    };
    let fits = *least > 0
        && is_countable(*least)
        && after.iter().all(|item| is_single(&item))
        && is_countable(u32::try_from(classes.len()).ok()?)
        && !belongs(after.first())?
        && (is_countable(*most) || !belongs(before.first())?);
    let texts =
        |items: &[(Class, u32, u32, bool)]| items.iter().map(|item| item.0.clone()).collect();
    fits.then(|| Rule::Framed {
        before: texts(before),
        body: body.clone(),
        least: *least,
        most: *most,
        after: texts(after),
    })
}

/// `[lead] body [tail]` or `[lead] first* last+`.
fn sequence(
    mut classes: Vec<(Class, u32, u32, bool)>,
    contraction: Option<Letters>,
) -> Option<Rule> {
    // A lead alone could match nothing: `\p{L}?`.
    let lead = match classes.first()? {
        (_, least, 1, possessive) if classes.len() > 1 => {
            let kind = match (least, possessive) {
                (0, false) => Lead::Optional as fn(Class) -> Lead,
                (0, true) => Lead::Possessive,
                _ => Lead::Required,
            };
            kind(classes.remove(0).0)
        }
        _ => Lead::None,
    };
    let mut classes = classes.into_iter();
    let (body, least, most, possessive) = classes.next()?;
    let second = classes.next();
    if classes.next().is_some() {
        return None;
    }
    match (least, most, second) {
        (0, u32::MAX, Some((last, 1, most @ (1 | u32::MAX), _))) if !possessive => {
            Some(Rule::Ending {
                lead,
                first: body,
                last,
                most,
                contraction,
            })
        }
        (1.., _, None) if is_countable(least) => Some(Rule::Run {
            lead,
            body,
            least,
            most,
            tail: None,
            contraction,
        }),
        (1.., _, Some((tail, 0, tail_most, _))) if is_countable(least) => Some(Rule::Run {
            lead,
            body,
            least,
            most,
            tail: Some((tail, tail_most)),
            contraction,
        }),
        _ => None,
    }
}
