//! Sets of characters as regular expressions name them: nested, intersected, folded.

use super::class;
use alloc::boxed::Box;
use alloc::vec::Vec;
use unicode_script::{Script, UnicodeScript};

/// A set of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set {
    /// A mask of general categories, and [`SPACE`].
    categories: u32,
    /// Disjoint, in order.
    ranges: Vec<(char, char)>,
    /// What is neither.
    others: Vec<Member>,
    /// Characters must be in all of these as well.
    within: Vec<Set>,
    negated: bool,
    /// Whether letters stand for their other case too.
    folds: bool,
    /// Whether categories and ranges say all that is in the set before `within` and `negated`.
    is_simple: bool,
    /// Which of the first characters are in the set: most that are looked up. Those of ASCII are at
    /// hand as well.
    low: Box<[u64; LOW / 64]>,
    ascii: u128,
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

/// Characters that two bytes write: those of most alphabets.
const LOW: usize = 0x800;

/// White space, which no general category is, takes the first bit above them.
const SPACE: u32 = 1 << 31;

/// Chinese characters: the script Han of Unicode 17, the one that published patterns name. Looking up
/// the script of each character takes longer.
const HAN: &[(char, char)] = &[
    ('\u{2E80}', '\u{2E99}'),
    ('\u{2E9B}', '\u{2EF3}'),
    ('\u{2F00}', '\u{2FD5}'),
    ('\u{3005}', '\u{3005}'),
    ('\u{3007}', '\u{3007}'),
    ('\u{3021}', '\u{3029}'),
    ('\u{3038}', '\u{303B}'),
    ('\u{3400}', '\u{4DBF}'),
    ('\u{4E00}', '\u{9FFF}'),
    ('\u{F900}', '\u{FA6D}'),
    ('\u{FA70}', '\u{FAD9}'),
    ('\u{16FE2}', '\u{16FE3}'),
    ('\u{16FF0}', '\u{16FF6}'),
    ('\u{20000}', '\u{2A6DF}'),
    ('\u{2A700}', '\u{2B81D}'),
    ('\u{2B820}', '\u{2CEAD}'),
    ('\u{2CEB0}', '\u{2EBE0}'),
    ('\u{2EBF0}', '\u{2EE5D}'),
    ('\u{2F800}', '\u{2FA1D}'),
    ('\u{30000}', '\u{3134A}'),
    ('\u{31350}', '\u{33479}'),
];

/// What is no ASCII character, but a case of one.
const CASES_OF_ASCII: [char; 3] = ['\u{131}', '\u{17F}', '\u{212A}'];

impl Set {
    pub(super) fn new(members: Vec<Member>, negated: bool, folds: bool) -> Set {
        Set::made(members, Vec::new(), negated, folds)
    }

    /// The characters in all these sets, or their complement.
    pub(super) fn intersection(sets: Vec<Set>, negated: bool) -> Set {
        let mut sets = sets.into_iter();
        let members = sets.next().map(Member::Set).into_iter().collect();
        Set::made(members, sets.collect(), negated, false)
    }

    /// White space (`\s`).
    pub(super) fn space() -> Set {
        Set::new(alloc::vec![Member::Space], false, false)
    }

    /// The characters of any of these sets.
    pub(super) fn union(sets: Vec<Set>) -> Set {
        Set::new(sets.into_iter().map(Member::Set).collect(), false, false)
    }

    fn made(members: Vec<Member>, within: Vec<Set>, negated: bool, folds: bool) -> Set {
        let mut set = Set {
            categories: 0,
            ranges: Vec::new(),
            others: Vec::new(),
            within,
            negated,
            folds,
            is_simple: false,
            low: Box::new([0; LOW / 64]),
            ascii: 0,
        };
        for member in members {
            set.add(member);
        }
        set.order();
        set.fold_ascii();
        set.completed()
    }

    /// With what is worked out once for all look-ups.
    fn completed(mut self) -> Set {
        self.is_simple = self.others.is_empty() && !self.folds;
        let mut low = Box::new([0; LOW / 64]);
        for (code, character) in ('\0'..).take(LOW).enumerate() {
            if self.search(character)
                && let Some(bits) = low.get_mut(code / 64)
            {
                *bits |= 1 << (code % 64);
            }
        }
        let [first, second, ..] = *low;
        self.ascii = u128::from(second) << 64 | u128::from(first);
        self.low = low;
        self
    }

    fn add(&mut self, member: Member) {
        match member {
            Member::Range(first, last) => self.ranges.push((first, last)),
            Member::Categories(mask) => self.categories |= mask,
            Member::Space => self.categories |= SPACE,
            Member::Set(set) if set.is_simple && set.within.is_empty() && !set.negated => {
                self.categories |= set.categories;
                self.ranges.extend(set.ranges);
            }
            other => self.others.push(other),
        }
    }

    /// Puts the ranges in order and joins those that overlap, so that a search looks at one of them.
    fn order(&mut self) {
        self.ranges.sort_unstable();
        self.ranges.dedup_by(|next, kept| {
            let overlaps = next.0 <= kept.1;
            if overlaps {
                kept.1 = kept.1.max(next.1);
            }
            overlaps
        });
    }

    /// Writes out the other cases of a set of ASCII characters, which are few.
    fn fold_ascii(&mut self) {
        let is_ascii = self.ranges.iter().all(|(_, last)| last.is_ascii());
        let is_negated = core::mem::take(&mut self.negated);
        if self.folds && is_ascii && self.is_ranges() {
            let cases = (0..128u8).map(char::from).chain(CASES_OF_ASCII);
            let cases: Vec<char> = cases.filter(|c| self.search(*c)).collect();
            self.ranges = cases.into_iter().map(|c| (c, c)).collect();
            self.folds = false;
        }
        self.negated = is_negated;
    }

    /// Whether the ranges say all but for other cases.
    fn is_ranges(&self) -> bool {
        self.categories == 0 && self.others.is_empty() && self.within.is_empty() && !self.negated
    }

    /// The one character of the set, if it has one.
    pub(super) fn only(&self) -> Option<char> {
        match self.ranges.as_slice() {
            [(first, last)] if self.is_ranges() && self.is_simple && first == last => Some(*first),
            _ => None,
        }
    }

    /// All that is in the set, if it is disjoint from another.
    pub(super) fn ranges(&self) -> &[(char, char)] {
        &self.ranges
    }

    /// Whether they are seen to have no character in common.
    pub(super) fn is_disjoint(&self, other: &Set) -> bool {
        let listed = |set: &Set| set.is_ranges() && set.is_simple;
        let overlaps = |range: &(char, char)| {
            let mut others = other.ranges.iter();
            others.any(|other| range.0 <= other.1 && other.0 <= range.1)
        };
        listed(self) && listed(other) && !self.ranges.iter().any(overlaps)
    }

    // A call for each character of an English text would cost a tenth of all that is done with it.
    #[inline(always)]
    pub(super) fn contains(&self, character: char) -> bool {
        match character.is_ascii() {
            true => self.ascii >> u32::from(character) & 1 == 1,
            false => self.look_up(character),
        }
    }

    #[inline(never)]
    fn look_up(&self, character: char) -> bool {
        let code = u32::from(character);
        match self.low.get(code as usize / 64) {
            Some(bits) => bits >> (code % 64) & 1 == 1,
            None => self.search(character),
        }
    }

    fn search(&self, character: char) -> bool {
        let found = self.is_named(character) || !self.is_simple && self.has_other(character);
        let found = found && self.within.iter().all(|set| set.contains(character));
        found != self.negated
    }

    /// Whether it is in the set, but for its categories and ranges. Sets in this one fold by
    /// themselves: their members are not asked for all cases at each level.
    #[inline(never)]
    fn has_other(&self, character: char) -> bool {
        let has = |character: char| self.others.iter().any(|member| member.has(character));
        let folded = |other: &char| {
            *other != character
                && (self.is_named(*other)
                    || self.others.iter().any(|member| match member {
                        Member::Set(_) => false,
                        member => member.has(*other),
                    }))
        };
        has(character) || self.folds && others(character).iter().any(folded)
    }

    /// Whether it is of the categories, or in the ranges.
    #[inline]
    fn is_named(&self, character: char) -> bool {
        let categories = self.categories;
        categories != 0 && class::is_in(character, categories & !SPACE)
            || categories & SPACE != 0 && character.is_whitespace()
            || self.is_listed(character)
    }

    fn is_listed(&self, character: char) -> bool {
        // Most lists end among the ASCII characters.
        if self.ranges.last().is_none_or(|range| range.1 < character) {
            return false;
        }
        let before = self.ranges.partition_point(|range| range.0 <= character);
        let range = before
            .checked_sub(1)
            .and_then(|index| self.ranges.get(index));
        range.is_some_and(|range| character <= range.1)
    }

    /// How many bytes of `text` from `at` are characters of this set, `most` at the most,
    /// and how many characters that is.
    pub(super) fn run(&self, text: &str, at: usize, most: u32) -> (usize, u32) {
        let mut end = at;
        let mut count = 0;
        for character in text.get(at..).unwrap_or_default().chars() {
            if count == most || !self.contains(character) {
                break;
            }
            end += character.len_utf8();
            count += 1;
        }
        (end, count)
    }

    /// The byte after the character at `at`, if that is in the set.
    #[inline]
    pub(super) fn step(&self, text: &str, at: usize) -> Option<usize> {
        let character = text.get(at..)?.chars().next()?;
        self.contains(character)
            .then_some(at + character.len_utf8())
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
            "han" => {
                let ranges = HAN.iter().map(|(first, last)| Member::Range(*first, *last));
                Some(Member::Set(Set::new(ranges.collect(), false, false)))
            }
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
            Member::Space => character.is_whitespace(),
            Member::Script(script) => character.script() == *script,
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
    fn only(mut found: impl Iterator<Item = char>, character: char) -> char {
        match (found.next(), found.next()) {
            (Some(only), None) => only,
            _ => character,
        }
    }
    let again = match character {
        's' | 'S' => 'ſ',
        'k' | 'K' => '\u{212A}',
        'å' | 'Å' => '\u{212B}',
        'ſ' => 's',
        other => other,
    };
    [
        only(character.to_lowercase(), character),
        only(character.to_uppercase(), character),
        again,
    ]
}
