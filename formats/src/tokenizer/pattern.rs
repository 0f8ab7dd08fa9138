//! The regular expressions that split text into words before merging, matched in time
//! linear in the text.
//!
//! Published tokenizers share a small stock of alternatives (an optional lead and a run of
//! one class, white space up to a line end, a word in mixed case, a contraction). Each
//! becomes a [`Rule`] whose matcher looks at a character a bounded number of times. A pattern
//! with any other alternative is refused rather than approximated.

use super::class::{self, Class};
use super::limits;
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
    /// One character of each class in turn: `'s`, `[0-9][0-9][0-9]`.
    Fixed(Vec<Class>),
    /// `'s`, `'re` and so on as one group.
    Contraction(Letters),
    /// `lead? body{least,most} tail*`, and a contraction if there is one.
    Run {
        lead: Lead,
        body: Class,
        least: u32,
        most: u32,
        tail: Option<(Class, u32)>,
        contraction: Option<Letters>,
    },
    /// `lead? first* last+`, where the two classes may overlap: `\s*[\r\n]+`, and words in
    /// mixed case whose uncased letters belong to both.
    Ending {
        lead: Lead,
        first: Class,
        last: Class,
        most: u32,
        contraction: Option<Letters>,
    },
    /// `\s+(?!\S)`, `\s{8}(?!\S)`: white space, but not the last before something else.
    SpaceBeforeSpace { least: u32, most: u32 },
    /// `\d{1,3}(?=(?:\d{3})*\b)`: digits of a number in groups of three, counted from its end.
    DigitGroup(DigitGroup),
    /// A run between two texts, whose characters the second does not begin with:
    /// `<sentinel:[0-9]+>`.
    Framed {
        before: Vec<Class>,
        body: Class,
        least: u32,
        most: u32,
        after: Vec<Class>,
    },
    /// `lead? (?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+`: words of letters, with single spaces between.
    Phrase(Lead),
    /// `\s+$`, where `$` is the end of a line.
    SpaceAtEnd,
}

/// Which digits make a number, and how it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DigitGroup {
    pub(super) digits: Class,
    /// Whether the number must end where a word does.
    pub(super) ends_word: bool,
}

/// What may stand before a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    None,
    /// `c?`, given back if the run would then be empty.
    Optional(Class),
    /// `c?+`, never given back.
    Possessive(Class),
    /// `c`.
    Required(Class),
}

/// How the letters of a contraction are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Letters {
    Lower,
    /// `[sS]`.
    AsciiCase,
    /// `(?i:s)`: full case folding, so that `ſ` is an `s` too.
    AnyCase,
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
            Rule::Fixed(classes) => classes
                .iter()
                .try_fold(at, |at, class| class.step(text, at)),
            Rule::Contraction(letters) => letters.match_at(text, at),
            Rule::Run {
                lead,
                body,
                least,
                most,
                tail,
                contraction,
            } => lead.starts(text, at).find_map(|start| {
                let (mut end, count) = body.run(text, start, *most);
                if count < *least {
                    return None;
                }
                if let Some((class, most)) = tail {
                    end = class.run(text, end, *most).0;
                }
                Some(contracted(*contraction, text, end))
            }),
            Rule::Ending {
                lead,
                first,
                last,
                most,
                contraction,
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
                    Some(end) => Some(contracted(*contraction, text, end)),
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
                let step = |at: usize, class: &Class| class.step(text, at);
                let start = before.iter().try_fold(at, step)?;
                let (end, count) = body.run(text, start, *most);
                if count < *least {
                    return None;
                }
                after.iter().try_fold(end, step)
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

fn contracted(letters: Option<Letters>, text: &str, end: usize) -> usize {
    letters
        .and_then(|letters| letters.match_at(text, end))
        .unwrap_or(end)
}

impl Lead {
    /// The places where a run may begin, in the order in which they are tried.
    fn starts(&self, text: &str, at: usize) -> impl Iterator<Item = usize> {
        let (with, without) = match self {
            Lead::None => (None, Some(at)),
            Lead::Optional(class) => (class.step(text, at), Some(at)),
            Lead::Possessive(class) => match class.step(text, at) {
                Some(start) => (Some(start), None),
                None => (None, Some(at)),
            },
            Lead::Required(class) => (class.step(text, at), None),
        };
        with.into_iter().chain(without)
    }
}

impl Letters {
    fn match_at(self, text: &str, at: usize) -> Option<usize> {
        let rest = text.get(at..)?.strip_prefix('\'')?;
        ["s", "t", "re", "ve", "m", "ll", "d"]
            .into_iter()
            .find_map(|letters| self.prefix_len(rest, letters))
            .map(|len| at + 1 + len)
    }

    fn prefix_len(self, text: &str, letters: &str) -> Option<usize> {
        let mut found = text.chars();
        letters.chars().try_fold(0, |len, expected| {
            let character = found.next()?;
            let equal = match self {
                Letters::Lower => character == expected,
                Letters::AsciiCase => character.eq_ignore_ascii_case(&expected),
                Letters::AnyCase => {
                    character.eq_ignore_ascii_case(&expected)
                        || (character == 'ſ' && expected == 's')
                }
            };
            equal.then_some(len + character.len_utf8())
        })
    }
}

/// Whether `count` is one a rule may demand.
pub(super) fn is_countable(count: u32) -> bool {
    count <= limits::PATTERN_COUNT
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};

    fn words(pattern: &str, text: &str) -> Vec<String> {
        let pattern = Pattern::parse(pattern).expect("a known pattern");
        let mut search = pattern.search(text);
        let (mut at, mut found) = (0, Vec::new());
        while at < text.len() {
            let end = search.match_at(at);
            let next =
                end.unwrap_or_else(|| at + text[at..].chars().next().map_or(1, char::len_utf8));
            found.push(text[at..next].to_string());
            at = next;
        }
        found
    }

    // Expected splits below were made with Oniguruma, the engine these patterns were
    // written for.
    const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    #[test]
    fn long_s_is_an_s_when_case_is_folded() {
        assert_eq!(words(CL100K, "a'ſ b"), ["a", "'ſ", " b"]);
    }

    #[test]
    fn the_last_space_belongs_to_the_word() {
        assert_eq!(words(CL100K, "  \u{200b} z"), [" ", " \u{200b}", " z"]);
        assert_eq!(
            words(CL100K, "\u{2028}\u{2028}a"),
            ["\u{2028}", "\u{2028}a"]
        );
    }

    #[test]
    fn separators_that_are_not_white_space_stay_together() {
        assert_eq!(words(CL100K, "\x1c\x1d a"), ["\x1c\x1d", " a"]);
    }

    #[test]
    fn digits_are_grouped_from_the_end() {
        const GROUPS: &str = r"\d{1,3}(?=(?:\d{3})*\b)|\p{N}{1,3}";
        assert_eq!(words(GROUPS, "1234567"), ["1", "234", "567"]);
        assert_eq!(words(GROUPS, "12٣4"), ["1", "2٣4"]);
        // A number that goes on as a word has no end to count from.
        assert_eq!(words(GROUPS, "1234_5"), ["123", "4", "_", "5"]);
        let text = "7".repeat(1 << 20);
        assert_eq!(words(GROUPS, &text).len(), (1 << 20) / 3 + 1);
        let text = ["7".repeat(1 << 20), "x".to_string()].concat();
        assert_eq!(words(GROUPS, &text).len(), (1 << 20) / 3 + 2);
    }

    #[test]
    fn a_run_may_stand_between_texts() {
        const FRAMED: &str = r"<sentinel:[0-9]+>|IMGIMG[A-I]{1,4}Z";
        assert_eq!(
            words(FRAMED, "<sentinel:12>IMGIMGABZIMGIMGZ").len(),
            2 + "IMGIMGZ".len()
        );
        assert_eq!(words(FRAMED, "<sentinel:>").len(), "<sentinel:>".len());
        let text = ["<sentinel:", "7".repeat(1 << 20).as_str()].concat();
        assert_eq!(words(FRAMED, &text).len(), text.len());
        // Here the run might have to give characters back, or be searched from within.
        for pattern in ["aa[a-z]+_", "_[a-z]+b", "ab[a-z]{2,}_"] {
            assert!(Pattern::parse(pattern).is_none(), "{pattern}");
        }
    }

    #[test]
    fn words_of_a_phrase_have_single_spaces_between() {
        const PHRASE: &str = r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\s";
        assert_eq!(
            words(PHRASE, "one two  three "),
            ["one two", " ", " three", " "]
        );
        assert_eq!(
            words(PHRASE, "e\u{301} e\u{301}\u{302}-x"),
            ["e\u{301} e\u{301}\u{302}", "-x"]
        );
        let text = "a ".repeat(1 << 19);
        assert_eq!(words(PHRASE, &text).len(), 2);
        assert_eq!(words(PHRASE, &" ".repeat(1 << 20)).len(), 1 << 20);
    }

    #[test]
    fn a_class_may_leave_characters_out() {
        const LETTERS: &str = r"[\p{Han}]+|[\p{L}\p{M}&&[^\p{Han}]]+";
        assert_eq!(
            words(LETTERS, "ab漢字cかな々〇"),
            ["ab", "漢字", "cかな", "々〇"]
        );
        for pattern in [
            r"[^\p{L}&&[^\p{Han}]]",
            r"[\p{L}&&\p{Han}]",
            r"[\p{L}&&[\p{Han}]]",
            r"[\p{L}&&[^\p{Lu}]]",
            r"[\p{L}&&[^a]b]",
        ] {
            assert!(Pattern::parse(pattern).is_none(), "{pattern}");
        }
    }

    #[test]
    fn spaces_are_counted() {
        const COUNTED: &str = r"\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}|x";
        let lengths = |spaces: usize, after: &str| -> Vec<usize> {
            let text = [" ".repeat(spaces).as_str(), after].concat();
            words(COUNTED, &text).iter().map(String::len).collect()
        };
        assert_eq!(lengths(17, ""), [8, 8, 1]);
        assert_eq!(lengths(8, "x"), [4, 2, 1, 1, 1]);
        assert_eq!(lengths(9, "x"), [8, 1, 1]);
        assert_eq!(lengths(1 << 20, "x").len(), (1 << 17) + 4);
    }

    #[test]
    fn fruitless_runs_are_searched_once() {
        // Each place of the run is refused by the first rule and passed by the second: with
        // a search from every place this would take hours.
        let text = " ".repeat(1 << 20);
        assert_eq!(words(r"\s*[\r\n]+|\s", &text).len(), 1 << 20);
        let text = "A".repeat(1 << 20);
        assert_eq!(words(r"[A-Z]*[a-z]+|[A-Z]", &text).len(), 1 << 20);
        let text = [" ".repeat(1 << 20), "x".to_string()].concat();
        assert_eq!(words(r"\s+$|\s|x", &text).len(), (1 << 20) + 1);
    }
}
