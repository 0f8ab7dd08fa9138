//! `wordwrap`: lines of at most so many characters, cut where Python's `textwrap` cuts them.

use super::arguments::{Given, flag, int, text};
use super::budget::{Bounded, Charge, TextWriter, fault, look_closely};
use super::strings::lines;
use super::value::PyValue;

/// `text | wordwrap(given)`
pub(super) fn wrap(this: &str, given: Given) -> Bounded<PyValue> {
    let [width, long, end, hyphens] = given.of(
        "wordwrap",
        [
            "width",
            "break_long_words",
            "wrapstring",
            "break_on_hyphens",
        ],
    )?;
    let width = int(&width, 79)?;
    let Some(width) = usize::try_from(width).ok().filter(|width| *width > 0) else {
        return fault(format!("wordwrap to lines of {width} characters"));
    };
    let end = match &end {
        None | Some(PyValue::None) => "\n",
        Some(_) => text(&end, "wordwrap")?,
    };
    let style = Wrapping {
        width,
        long: flag(&long, true),
        hyphens: flag(&hyphens, true),
    };
    let mut writer = TextWriter::new();
    let mut first = true;
    for line in lines(this, false)? {
        look_closely(line.len())?;
        let _charge = Charge::new(line.len().saturating_mul(32))?;
        let wrapped = style.wrap(&line.chars().collect::<Vec<char>>());
        // An empty line stays one.
        let wrapped = if wrapped.is_empty() {
            vec![Vec::new()]
        } else {
            wrapped
        };
        for line in wrapped {
            if !std::mem::take(&mut first) {
                writer.push(end)?;
            }
            line.into_iter()
                .try_for_each(|char| writer.push_char(char))?;
        }
    }
    writer.finish()
}

struct Wrapping {
    width: usize,
    /// Whether words that are longer than a line are cut.
    long: bool,
    /// Whether words are cut behind their hyphens.
    hyphens: bool,
}

impl Wrapping {
    fn wrap(&self, line: &[char]) -> Vec<Vec<char>> {
        let mut rest = self.chunks(line).into_iter().peekable();
        let mut left: &[char] = &[];
        let mut wrapped: Vec<Vec<char>> = Vec::new();
        let mut now: Vec<char> = Vec::new();
        loop {
            if left.is_empty() {
                match rest.next() {
                    Some(chunk) => left = chunk,
                    None => break,
                }
            }
            if now.is_empty() && !wrapped.is_empty() && left.iter().all(|char| is_space(*char)) {
                left = &[];
                continue;
            }
            if now.len() + left.len() <= self.width {
                now.extend(std::mem::take(&mut left));
                continue;
            }
            if left.len() > self.width && self.long {
                let room = (self.width - now.len()).max(usize::from(now.is_empty()));
                let at = self.cut(left, room);
                now.extend(&left[..at]);
                left = &left[at..];
                if at == 0 {
                    // The space behind the last word stays where nothing fits behind it.
                    wrapped.push(std::mem::take(&mut now));
                    continue;
                }
            } else if now.is_empty() {
                now.extend(std::mem::take(&mut left));
            }
            finish(&mut now, &mut wrapped);
        }
        finish(&mut now, &mut wrapped);
        wrapped
    }

    /// Where a word that is longer than the room for it is cut.
    fn cut(&self, word: &[char], room: usize) -> usize {
        let hyphen = word[..room].iter().rposition(|char| *char == '-');
        match hyphen {
            Some(at) if self.hyphens && word[..at].iter().any(|char| *char != '-') => at + 1,
            _ => room,
        }
    }

    /// Words, their parts and the white space between them.
    fn chunks<'a>(&self, line: &'a [char]) -> Vec<&'a [char]> {
        let mut chunks = Vec::new();
        let mut from = 0;
        while from < line.len() {
            let to = self.end_of_chunk(line, from);
            chunks.extend(line.get(from..to));
            from = to;
        }
        chunks
    }

    fn end_of_chunk(&self, line: &[char], from: usize) -> usize {
        let is =
            |place: usize, kind: fn(char) -> bool| line.get(place).is_some_and(|char| kind(*char));
        if is(from, is_space) {
            let len = line[from..].iter().take_while(|char| is_space(**char));
            return from + len.count();
        }
        let ends = |place: usize| place >= line.len() || is(place, is_space);
        if !self.hyphens {
            return (from + 1..)
                .find(|place| ends(*place))
                .unwrap_or(line.len());
        }
        let before = |place: usize, back: usize, kind: fn(char) -> bool| {
            place.checked_sub(back).is_some_and(|place| is(place, kind))
        };
        // Two dashes or more between words.
        let dash = |at: usize| -> Option<usize> {
            let len = line
                .get(at..)?
                .iter()
                .take_while(|char| **char == '-')
                .count();
            let stands = before(at, 1, is_of_words) && len > 1 && is(at + len, is_word);
            stands.then_some(at + len)
        };
        if let Some(end) = dash(from) {
            return end;
        }
        let mut at = from + 1;
        while !ends(at) {
            if line[at] == '-' {
                let behind = before(at, 2, is_letter) && before(at, 1, is_letter)
                    || before(at, 3, is_letter)
                        && before(at, 2, |char| char == '-')
                        && before(at, 1, is_of_words);
                let next = at + 1 + usize::from(is(at + 2, |char| char == '-'));
                if behind && is(at + 1, is_letter) && is(next + 1, is_letter) {
                    return at + 1;
                }
                if dash(at).is_some() {
                    return at;
                }
            }
            at += 1;
        }
        at
    }
}

/// Ends a line, without the space behind its last word.
fn finish(now: &mut Vec<char>, wrapped: &mut Vec<Vec<char>>) {
    let words = now.iter().rposition(|char| !is_space(*char));
    // A line begins with white space where the text does.
    now.truncate(words.map_or(0, |place| place + 1));
    if !now.is_empty() {
        wrapped.push(std::mem::take(now));
    }
}

fn is_space(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

fn is_letter(char: char) -> bool {
    is_word(char) && !char.is_numeric()
}

/// What stands in words, and behind them.
fn is_of_words(char: char) -> bool {
    is_word(char) || "!\"'&.,?".contains(char)
}
