//! Text → tokens, as jinja2's lexer with `trim_blocks` and `lstrip_blocks` cuts it.

use super::budget::{Bounded, Halt, fault};
use std::rc::Rc;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Data(String),
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name(Rc<str>),
    Str(String),
    Int(i128),
    Float(f64),
    Operator(&'static str),
    End,
}

/// A token and the line it begins in.
#[derive(Debug)]
pub(super) struct Lexeme {
    pub(super) token: Token,
    pub(super) line: u32,
}

const OPERATORS: [&str; 25] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|", ",",
];

/// What Python calls white space.
pub(super) fn is_space(char: char) -> bool {
    char.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&char)
}

/// The lexemes of a template, the last of which is [`Token::End`]; or an error and its line.
pub(super) fn lex(source: &str) -> Result<Vec<Lexeme>, (Halt, u32)> {
    let mut source = source.replace("\r\n", "\n").replace('\r', "\n");
    if source.ends_with('\n') {
        source.pop();
    }
    let mut lexer = Lexer {
        rest: &source,
        line: 1,
        line_starting: true,
        lexemes: Vec::new(),
    };
    match lexer.template() {
        Ok(()) => {
            lexer.push(Token::End);
            Ok(lexer.lexemes)
        }
        Err(halt) => Err((halt, lexer.line)),
    }
}

struct Lexer<'a> {
    rest: &'a str,
    line: u32,
    /// Whether what was read last ended a line.
    line_starting: bool,
    lexemes: Vec<Lexeme>,
}

/// How a tag treats the space beside it.
fn sign(text: &str) -> Option<char> {
    text.chars().next().filter(|sign| matches!(sign, '-' | '+'))
}

impl<'a> Lexer<'a> {
    fn push(&mut self, token: Token) {
        self.lexemes.push(Lexeme {
            token,
            line: self.line,
        });
    }

    /// Takes so many bytes, and returns them.
    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.rest = rest;
        let lines = taken.bytes().filter(|byte| *byte == b'\n').count();
        self.line = self.line.saturating_add(lines as u32);
        self.line_starting = taken.ends_with('\n');
        taken
    }

    /// Takes a tag's end and the space that goes with it, if it stands here.
    fn take_end(&mut self, end: &str, trims: bool) -> bool {
        let after = |sign: &str| {
            let rest = self.rest.strip_prefix(sign)?;
            Some((self.rest.len(), rest.strip_prefix(end)?))
        };
        let rest = if let Some((_, rest)) = after("-") {
            rest.trim_start_matches(is_space)
        } else if let Some((_, rest)) = after("").or(after("+").filter(|_| trims)) {
            match rest.strip_prefix('\n') {
                Some(rest) if trims && !self.rest.starts_with('+') => rest,
                _ => rest,
            }
        } else {
            return false;
        };
        self.take(self.rest.len() - rest.len());
        true
    }

    /// What stands before a tag, without the space that the tag takes.
    fn data(&mut self, text: &'a str, sign: Option<char>, line_starting: bool, block: bool) {
        let kept = match sign {
            Some('-') => text.trim_end_matches(is_space),
            None if block => {
                let line = text.rfind('\n').map_or(0, |at| at + 1);
                let blank = text
                    .get(line..)
                    .is_some_and(|end| end.chars().all(is_space));
                match blank && (line > 0 || line_starting) && line < text.len() {
                    true => text.get(..line).unwrap_or_default(),
                    false => text,
                }
            }
            _ => text,
        };
        if !kept.is_empty() {
            self.lexemes.push(Lexeme {
                token: Token::Data(kept.to_string()),
                line: self.line,
            });
        }
    }

    fn template(&mut self) -> Bounded<()> {
        while !self.rest.is_empty() {
            let starts = |at: &usize| {
                let tag = self.rest.get(*at..*at + 2);
                tag.is_some_and(|tag| matches!(tag, "{{" | "{%" | "{#"))
            };
            let at = self.rest.match_indices('{').map(|(at, _)| at).find(starts);
            let line_starting = self.line_starting;
            let text = self.rest.get(..at.unwrap_or(self.rest.len()));
            let text = text.unwrap_or_default();
            let tag = self.rest.get(text.len()..).unwrap_or_default();
            let inner = tag.get(2..).unwrap_or_default();
            let sign = sign(inner);
            self.data(
                text,
                sign,
                line_starting,
                tag.starts_with("{%") || tag.starts_with("{#"),
            );
            self.take(text.len());
            let head = 2 + usize::from(sign.is_some());
            match tag.get(..2) {
                None => {}
                Some("{#") => self.comment(head)?,
                Some("{%") => match raw(inner) {
                    Some(len) => self.raw(2 + len)?,
                    None => {
                        self.push(Token::BlockBegin);
                        self.take(head);
                        self.expression("%}", true)?;
                        self.push(Token::BlockEnd);
                    }
                },
                Some(_) => {
                    self.push(Token::VariableBegin);
                    self.take(head);
                    self.expression("}}", false)?;
                    self.push(Token::VariableEnd);
                }
            }
        }
        Ok(())
    }

    fn comment(&mut self, head: usize) -> Bounded<()> {
        self.take(head);
        let Some(at) = self.rest.find("#}") else {
            return fault("a comment does not end");
        };
        // A sign before the end is part of it.
        let signed = self
            .rest
            .get(..at)
            .is_some_and(|text| text.ends_with(['-', '+']));
        self.take(at - usize::from(signed));
        self.take_end("#}", true);
        Ok(())
    }

    /// What stands between `{% raw %}` and `{% endraw %}`.
    fn raw(&mut self, head: usize) -> Bounded<()> {
        self.take(head);
        let line_starting = self.line_starting;
        for (at, _) in self.rest.match_indices("{%") {
            let inner = self.rest.get(at + 2..).unwrap_or_default();
            let sign = sign(inner);
            let end = inner
                .trim_start_matches(['-', '+'])
                .trim_start_matches(is_space);
            let Some(end) = end.strip_prefix("endraw") else {
                continue;
            };
            let end = end.trim_start_matches(is_space);
            if !["%}", "-%}", "+%}"]
                .iter()
                .any(|close| end.starts_with(close))
            {
                continue;
            }
            let text = self.rest.get(..at).unwrap_or_default();
            self.data(text, sign, line_starting, true);
            self.take(self.rest.len() - end.len());
            self.take_end("%}", true);
            return Ok(());
        }
        fault("a raw block does not end")
    }

    /// Tokens up to `end`, which is taken.
    fn expression(&mut self, end: &str, trims: bool) -> Bounded<()> {
        let mut open = Vec::new();
        loop {
            if open.is_empty() && self.take_end(end, trims) {
                return Ok(());
            }
            let Some(first) = self.rest.chars().next() else {
                return fault(format!("expected {end:?}, found the end of the template"));
            };
            if is_space(first) {
                let rest = self.rest.trim_start_matches(is_space);
                self.take(self.rest.len() - rest.len());
            } else if first.is_ascii_digit() {
                self.number()?;
            } else if first.is_alphanumeric() || first == '_' {
                let rest = self
                    .rest
                    .trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
                let name = self.rest.get(..self.rest.len() - rest.len());
                let name = Rc::from(name.unwrap_or_default());
                self.push(Token::Name(name));
                self.take(self.rest.len() - rest.len());
            } else if first == '\'' || first == '"' {
                self.string(first)?;
            } else {
                let found = OPERATORS.iter().find(|text| self.rest.starts_with(**text));
                let Some(operator) = found.copied() else {
                    return fault(format!("unexpected character {first:?}"));
                };
                match operator {
                    "(" | "[" | "{" => open.push(operator),
                    ")" | "]" | "}" => {
                        let opened = open.pop();
                        if !matches!(
                            (opened, operator),
                            (Some("("), ")") | (Some("["), "]") | (Some("{"), "}")
                        ) {
                            return fault(format!("unexpected {operator:?}"));
                        }
                    }
                    _ => {}
                }
                self.push(Token::Operator(operator));
                self.take(operator.len());
            }
        }
    }

    fn number(&mut self) -> Bounded<()> {
        let after_dot = matches!(
            self.lexemes.last(),
            Some(Lexeme {
                token: Token::Operator("."),
                ..
            })
        );
        let digits = |text: &str, from: usize, radix: u32| {
            let text = text.get(from..).unwrap_or_default().as_bytes();
            let digit = |at: usize| {
                text.get(at)
                    .is_some_and(|byte| (*byte as char).is_digit(radix))
            };
            let mut len = 0;
            while digit(len) || text.get(len) == Some(&b'_') && len > 0 && digit(len + 1) {
                len += 1;
            }
            from + len
        };
        let text = self.rest;
        let at = |at: usize| text.as_bytes().get(at).map(u8::to_ascii_lowercase);
        let radix = match (at(0), at(1)) {
            (Some(b'0'), Some(b'x')) => 16,
            (Some(b'0'), Some(b'o')) => 8,
            (Some(b'0'), Some(b'b')) => 2,
            _ => 10,
        };
        let start = if radix == 10 { 0 } else { 2 };
        let whole = digits(text, start, radix);
        let (mut end, mut float) = (whole, false);
        if radix == 10 && !after_dot {
            if at(end) == Some(b'.') && digits(text, end + 1, 10) > end + 1 {
                (end, float) = (digits(text, end + 1, 10), true);
            }
            if at(end) == Some(b'e') {
                let signed = end + 1 + usize::from(matches!(at(end + 1), Some(b'+' | b'-')));
                if digits(text, signed, 10) > signed {
                    (end, float) = (digits(text, signed, 10), true);
                }
            }
        }
        let plain = text.get(start..end).unwrap_or_default().replace('_', "");
        let token = match float {
            true => plain.parse().ok().map(Token::Float),
            false => i128::from_str_radix(&plain, radix).ok().map(Token::Int),
        };
        let Some(token) = token else {
            return fault(format!(
                "{} is too large a number",
                text.get(..end.min(40)).unwrap_or_default()
            ));
        };
        self.push(token);
        self.take(end);
        Ok(())
    }

    fn string(&mut self, quote: char) -> Bounded<()> {
        let mut escaped = false;
        let end = self.rest.char_indices().skip(1).find(|(_, char)| {
            let ends = *char == quote && !escaped;
            escaped = *char == '\\' && !escaped;
            ends
        });
        let Some((end, _)) = end else {
            return fault("a string does not end");
        };
        let text = unescape(self.rest.get(1..end).unwrap_or_default())?;
        self.push(Token::Str(text));
        self.take(end + 1);
        Ok(())
    }
}

/// The length of what makes a tag the beginning of a raw block, behind `{%`.
fn raw(inner: &str) -> Option<usize> {
    let rest = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    let rest = rest.trim_start_matches(is_space).strip_prefix("raw")?;
    let rest = rest.trim_start_matches(is_space);
    let rest = match rest.strip_prefix("-%}") {
        Some(rest) => rest.trim_start_matches(is_space),
        None => rest.strip_prefix("%}")?,
    };
    Some(inner.len() - rest.len())
}

/// A string as Python reads it.
fn unescape(text: &str) -> Bounded<String> {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        output.push_str(plain);
        let mut after = escape.chars();
        let number = |from: usize, len: usize, radix: u32| {
            let digits = escape.get(from..from + len).unwrap_or_default();
            // A half of a surrogate pair is no character here.
            let code = u32::from_str_radix(digits, radix).ok();
            match code.and_then(char::from_u32) {
                Some(char) => Ok((Some(char), from + len)),
                None => fault("a string has an escape that is no character"),
            }
        };
        let (char, len) = match after.next() {
            Some('\n') => (None, 1),
            Some('N') if escape.starts_with("N{") => {
                return fault("names of characters (\\N) are not supported");
            }
            Some(char @ ('\\' | '\'' | '"')) => (Some(char), 1),
            Some('n') => (Some('\n'), 1),
            Some('t') => (Some('\t'), 1),
            Some('r') => (Some('\r'), 1),
            Some('a') => (Some('\u{7}'), 1),
            Some('b') => (Some('\u{8}'), 1),
            Some('f') => (Some('\u{c}'), 1),
            Some('v') => (Some('\u{b}'), 1),
            Some('x') => number(1, 2, 16)?,
            Some('u') => number(1, 4, 16)?,
            Some('U') => number(1, 8, 16)?,
            Some('0'..='7') => {
                let octal = |char: &char| ('0'..='7').contains(char);
                number(0, escape.chars().take(3).take_while(octal).count(), 8)?
            }
            _ => (Some('\\'), 0),
        };
        output.extend(char);
        rest = escape.get(len..).unwrap_or_default();
    }
    output.push_str(rest);
    Ok(output)
}
