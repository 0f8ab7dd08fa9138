//! Sets of characters as expressions at large name them: nested, intersected, folded.

use super::class;
use alloc::vec::Vec;
use unicode_script::{Script, UnicodeScript};

/// A set of characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    members: Vec<Member>,
    /// Characters must be in all of these as well.
    within: Vec<Set>,
    negated: bool,
    /// Whether letters stand for their other case too.
    folds: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Member {
    Range(char, char),
    /// A mask of general categories.
    Categories(u32),
    Script(Script),
    Space,
    Word,
    Alphabetic,
    Uppercase,
    Lowercase,
    Set(Set),
}

impl Set {
    pub(super) fn new(members: Vec<Member>, negated: bool, folds: bool) -> Set {
        Set {
            members,
            within: Vec::new(),
            negated,
            folds,
        }
    }

    /// The characters in all these sets, or their complement.
    pub(super) fn intersection(sets: Vec<Set>, negated: bool) -> Set {
        Set {
            members: alloc::vec![Member::Range('\0', char::MAX)],
            within: sets,
            negated,
            folds: false,
        }
    }

    pub(super) fn contains(&self, character: char) -> bool {
        let found = self.has(character)
            || self.folds && others(character).iter().any(|other| self.has(*other));
        found != self.negated
    }

    fn has(&self, character: char) -> bool {
        self.members.iter().any(|member| member.has(character))
            && self.within.iter().all(|set| set.contains(character))
    }
}

impl Member {
    /// A property by its name between braces.
    pub(super) fn property(name: &str) -> Option<Member> {
        if let Some(mask) = class::categories(name) {
            return Some(Member::Categories(mask));
        }
        let lower = name.to_ascii_lowercase();
        if let Some(member) = Member::posix(&lower) {
            return Some(member);
        }
        match lower.as_str() {
            "any" => Some(Member::Range('\0', char::MAX)),
            "alphabetic" => Some(Member::Alphabetic),
            "uppercase" => Some(Member::Uppercase),
            "lowercase" => Some(Member::Lowercase),
            "white_space" => Some(Member::Space),
            _ => Script::from_full_name(name)
                .or_else(|| Script::from_short_name(name))
                .map(Member::Script),
        }
    }

    /// A class by POSIX's name of it, as it is for Unicode.
    pub(super) fn posix(name: &str) -> Option<Member> {
        let categories = |names: &[&str]| {
            let masks = names.iter().map(|name| class::categories(name));
            masks.sum::<Option<u32>>().map(Member::Categories)
        };
        Some(match name {
            "alpha" => Member::Alphabetic,
            "upper" => Member::Uppercase,
            "lower" => Member::Lowercase,
            "digit" => categories(&["Nd"])?,
            "punct" => categories(&["P", "S"])?,
            "cntrl" => categories(&["Cc"])?,
            "alnum" => {
                let members = alloc::vec![Member::Alphabetic, categories(&["Nd"])?];
                Member::Set(Set::new(members, false, false))
            }
            "blank" => {
                let members = alloc::vec![categories(&["Zs"])?, Member::Range('\t', '\t')];
                Member::Set(Set::new(members, false, false))
            }
            "xdigit" => {
                let ranges = [('0', '9'), ('a', 'f'), ('A', 'F')];
                let ranges = ranges.map(|(first, last)| Member::Range(first, last));
                Member::Set(Set::new(ranges.to_vec(), false, false))
            }
            "space" => Member::Space,
            "word" => Member::Word,
            "ascii" => Member::Range('\0', '\x7f'),
            _ => return None,
        })
    }

    fn has(&self, character: char) -> bool {
        match self {
            Member::Range(first, last) => (first..=last).contains(&&character),
            Member::Categories(mask) => class::is_in(character, *mask),
            Member::Script(script) => character.script() == *script,
            Member::Space => character.is_whitespace(),
            Member::Word => class::is_word(character),
            Member::Alphabetic => character.is_alphabetic(),
            Member::Uppercase => character.is_uppercase(),
            Member::Lowercase => character.is_lowercase(),
            Member::Set(set) => set.contains(character),
        }
    }
}

/// The character in its other cases, as far as they are single characters.
fn others(character: char) -> [char; 3] {
    let only = |mut found: core::iter::Take<alloc::vec::IntoIter<char>>| match (
        found.next(),
        found.next(),
    ) {
        (Some(only), None) => only,
        _ => character,
    };
    let lower: Vec<char> = character.to_lowercase().collect();
    let upper: Vec<char> = character.to_uppercase().collect();
    let again = match character {
        's' | 'S' => 'ſ',
        'k' | 'K' => '\u{212A}',
        'å' | 'Å' => '\u{212B}',
        'ſ' => 's',
        other => other,
    };
    [
        only(lower.into_iter().take(2)),
        only(upper.into_iter().take(2)),
        again,
    ]
}
