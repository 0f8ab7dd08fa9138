//! The methods of Python's texts.

use super::arguments::{Given, count, flag, int, text};
use super::budget::{Bounded, Charge, TextWriter, fault, look, look_closely, walk};
use super::lexer::is_space;
use super::python::defined;
use super::value::{ListKind, PyValue};
use std::rc::Rc;

/// What `strip` and its kin take away: of these characters, or white space.
pub(super) fn strip<'a>(
    text: &'a str,
    chars: &Option<PyValue>,
    left: bool,
    right: bool,
) -> Bounded<&'a str> {
    let chars = match chars {
        None | Some(PyValue::None) => None,
        Some(_) => Some(self::text(chars, "strip")?),
    };
    look(text.len().saturating_mul(1 + chars.map_or(0, str::len)))?;
    let strips = |char: char| chars.map_or_else(|| is_space(char), |chars| chars.contains(char));
    let text = if left {
        text.trim_start_matches(strips)
    } else {
        text
    };
    Ok(if right {
        text.trim_end_matches(strips)
    } else {
        text
    })
}

/// A text between others: Python puts the odd one to the right, or the left.
pub(super) fn padded(
    text: &str,
    width: usize,
    fill: &str,
    left: bool,
    right: bool,
) -> Bounded<PyValue> {
    let missing = width.saturating_sub(text.chars().count());
    let before = match (left, right) {
        (true, true) => missing / 2 + (missing & width & 1),
        (true, false) => missing,
        _ => 0,
    };
    let mut writer = TextWriter::new();
    writer.repeat(fill, before)?;
    writer.push(text)?;
    writer.repeat(fill, missing - before)?;
    writer.finish()
}

/// Text for text, as often as said.
pub(super) fn replace(text: &str, from: &str, to: &str, times: i128) -> Bounded<PyValue> {
    look(text.len())?;
    let times = usize::try_from(times).unwrap_or(usize::MAX);
    let mut writer = TextWriter::new();
    let mut done = 0;
    for (at, found) in text.match_indices(from).take(times) {
        writer.push(text.get(done..at).unwrap_or_default())?;
        writer.push(to)?;
        done = at + found.len();
    }
    writer.push(text.get(done..).unwrap_or_default())?;
    writer.finish()
}

/// The lines of a text, without their ends.
pub(super) fn lines(text: &str, keep_ends: bool) -> Bounded<Vec<&str>> {
    let _charge = Charge::new(text.len())?;
    let ends = |char: char| {
        matches!(
            char,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'
                ..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(ends) {
        let end = rest.get(at..).unwrap_or_default();
        let len = match end.starts_with("\r\n") {
            true => 2,
            false => end.chars().next().map_or(0, char::len_utf8),
        };
        lines.extend(rest.get(..at + if keep_ends { len } else { 0 }));
        rest = rest.get(at + len..).unwrap_or_default();
    }
    lines.extend(Some(rest).filter(|rest| !rest.is_empty()));
    Ok(lines)
}

/// Every word with a capital; words end where `part` says so.
pub(super) fn title(text: &str, within: impl Fn(char) -> bool) -> Bounded<PyValue> {
    let mut writer = TextWriter::new();
    let mut begins = true;
    for char in text.chars() {
        match begins {
            true => push_title(char, &mut writer)?,
            false => char
                .to_lowercase()
                .try_for_each(|char| writer.push_char(char))?,
        }
        begins = !within(char);
    }
    writer.finish()
}

/// A letter as words begin with it, by Unicode's title case: of several letters one is large, and of
/// two that are one the first; Georgian has none.
fn push_title(char: char, writer: &mut TextWriter) -> Bounded<()> {
    let whole = match char {
        'Ǆ' | 'ǅ' | 'ǆ' => Some('ǅ'),
        'Ǉ' | 'ǈ' | 'ǉ' => Some('ǈ'),
        'Ǌ' | 'ǋ' | 'ǌ' => Some('ǋ'),
        'Ǳ' | 'ǲ' | 'ǳ' => Some('ǲ'),
        '\u{10d0}'..='\u{10ff}' => Some(char),
        _ => None,
    };
    if let Some(whole) = whole {
        return writer.push_char(whole);
    }
    let mut begun = false;
    for upper in char.to_uppercase() {
        match begun {
            false => writer.push_char(upper)?,
            true => upper
                .to_lowercase()
                .try_for_each(|char| writer.push_char(char))?,
        }
        begun |= upper.is_uppercase();
    }
    Ok(())
}

pub(super) fn capitalize(text: &str) -> Bounded<PyValue> {
    let mut chars = text.chars();
    let mut writer = TextWriter::new();
    if let Some(first) = chars.next() {
        push_title(first, &mut writer)?;
    }
    look(text.len().saturating_mul(4))?;
    writer.push(&chars.as_str().to_lowercase())?;
    writer.finish()
}

pub(super) fn is_cased(text: &str, upper: bool) -> bool {
    let mut cased = text
        .chars()
        .filter(|char| char.is_uppercase() || char.is_lowercase())
        .peekable();
    cased.peek().is_some() && cased.all(|char| char.is_uppercase() == upper)
}

fn texts(parts: Vec<&str>) -> Bounded<PyValue> {
    let parts: Bounded<Vec<PyValue>> = parts.into_iter().map(PyValue::text).collect();
    PyValue::list(ListKind::List, parts?)
}

fn split(text: &str, name: &str, given: Given) -> Bounded<PyValue> {
    let [separator, most] = given.of(name, ["sep", "maxsplit"])?;
    look(text.len())?;
    let _charge = Charge::new(text.len().saturating_mul(8))?;
    let most = usize::try_from(int(&most, -1)?).unwrap_or(usize::MAX);
    let right = name == "rsplit";
    let mut parts = Vec::new();
    if let Some(separator) = separator.filter(|separator| !matches!(separator, PyValue::None)) {
        let separator = Some(separator);
        let separator = self::text(&separator, name)?;
        if separator.is_empty() {
            return fault("split takes no empty separator");
        }
        let pieces = most.saturating_add(1);
        match right {
            true => parts.extend(text.rsplitn(pieces, separator)),
            false => parts.extend(text.splitn(pieces, separator)),
        }
    } else {
        let mut rest = strip(text, &None, !right, right)?;
        while !rest.is_empty() {
            let cut = match right {
                true => rest.char_indices().rfind(|(_, char)| is_space(*char)),
                false => rest.char_indices().find(|(_, char)| is_space(*char)),
            };
            let Some((at, char)) = cut.filter(|_| parts.len() < most) else {
                parts.push(rest);
                break;
            };
            let (before, after) = (
                rest.get(..at).unwrap_or_default(),
                rest.get(at + char.len_utf8()..).unwrap_or_default(),
            );
            let (part, others) = if right {
                (after, before)
            } else {
                (before, after)
            };
            parts.push(part);
            rest = if right {
                others.trim_end_matches(is_space)
            } else {
                others.trim_start_matches(is_space)
            };
        }
    }
    if right {
        parts.reverse();
    }
    texts(parts)
}

/// Where a part of a text begins and ends, in characters that may be counted from its end.
fn stretch<'a>(
    whole: &'a str,
    from: &Option<PyValue>,
    to: &Option<PyValue>,
) -> Bounded<(usize, &'a str)> {
    look(whole.len())?;
    let len = whole.chars().count() as i128;
    let place = |value: &Option<PyValue>, default: i128| -> Bounded<usize> {
        let at = match value {
            None | Some(PyValue::None) => default,
            Some(value) => value.index()?,
        };
        let at = if at < 0 { at.saturating_add(len) } else { at };
        Ok(at.clamp(0, len) as usize)
    };
    let (from, to) = (place(from, 0)?, place(to, len)?);
    let at = |place: usize| {
        whole
            .char_indices()
            .nth(place)
            .map_or(whole.len(), |(at, _)| at)
    };
    Ok((
        from,
        whole
            .get(at(from)..at(to).max(at(from)))
            .unwrap_or_default(),
    ))
}

/// `value.name(given)`
pub(super) fn call(value: &PyValue, name: &'static str, given: Given) -> Bounded<PyValue> {
    let this = value.as_str().unwrap_or_default();
    match name.starts_with("is") || matches!(name, "swapcase" | "title") {
        true => look_closely(this.len())?,
        false => look(this.len())?,
    }
    let all = |matches: fn(char) -> bool| {
        Ok(PyValue::Bool(!this.is_empty() && this.chars().all(matches)))
    };
    match name {
        "format" => return super::format::braces(this, &given.plain, &given.named),
        "split" | "rsplit" => return split(this, name, given),
        "format_map" => {
            let [map] = given.of(name, ["mapping"])?;
            let Some(PyValue::Dict(dict)) = map else {
                return fault("format_map takes a dict");
            };
            walk(dict.entries.len())?;
            let keys = dict.entries.iter().filter_map(|(key, _)| key.as_str());
            let _charge = Charge::new(keys.map(str::len).sum())?;
            let named =
                |(key, value): &(PyValue, PyValue)| Some((Rc::from(key.as_str()?), value.clone()));
            let named: Vec<(Rc<str>, PyValue)> = dict.entries.iter().filter_map(named).collect();
            return super::format::braces(this, &[], &named);
        }
        _ => {}
    }
    let [first, second, third] = match name {
        "replace" => given.of(name, ["old", "new", "count"])?,
        "splitlines" => given.of(name, ["keepends", "", " "])?,
        "expandtabs" => given.of(name, ["tabsize", "", " "])?,
        _ => given.of(name, ["", " ", "  "])?,
    };
    match name {
        "strip" => PyValue::text(strip(this, &first, true, true)?),
        "lstrip" => PyValue::text(strip(this, &first, true, false)?),
        "rstrip" => PyValue::text(strip(this, &first, false, true)?),
        "lower" | "casefold" | "upper" | "swapcase" => {
            // A letter may become three.
            let _charge = Charge::new(this.len().saturating_mul(3))?;
            PyValue::text(&match name {
                "lower" => this.to_lowercase(),
                "casefold" => this.replace('ß', "ss").to_lowercase(),
                "upper" => this.to_uppercase(),
                _ => {
                    let swapped = |char: char| -> Vec<char> {
                        match char.is_uppercase() {
                            true => char.to_lowercase().collect(),
                            false => char.to_uppercase().collect(),
                        }
                    };
                    this.chars().flat_map(swapped).collect()
                }
            })
        }
        "capitalize" => capitalize(this),
        "title" => title(this, char::is_alphabetic),
        "startswith" | "endswith" => {
            let (_, this) = stretch(this, &second, &third)?;
            let one = |wanted: &Option<PyValue>| -> Bounded<bool> {
                let wanted = text(wanted, name)?;
                look(wanted.len().min(this.len()))?;
                Ok(if name == "startswith" {
                    this.starts_with(wanted)
                } else {
                    this.ends_with(wanted)
                })
            };
            match &first {
                Some(PyValue::List(list)) if list.kind.is_tuple() => {
                    for wanted in &list.items {
                        if one(&Some(wanted.clone()))? {
                            return Ok(PyValue::Bool(true));
                        }
                    }
                    Ok(PyValue::Bool(false))
                }
                _ => Ok(PyValue::Bool(one(&first)?)),
            }
        }
        "find" | "rfind" | "index" | "rindex" => {
            let wanted = text(&first, name)?;
            let (from, this) = stretch(this, &second, &third)?;
            let found = match name.starts_with('r') {
                true => this.rfind(wanted),
                false => this.find(wanted),
            };
            match found {
                Some(at) => {
                    let before = this.get(..at).unwrap_or_default();
                    Ok(PyValue::Int((from + before.chars().count()) as i128))
                }
                None if name.ends_with("index") => fault("the text has no such part"),
                None => Ok(PyValue::Int(-1)),
            }
        }
        "count" => {
            let wanted = text(&first, name)?;
            let (_, this) = stretch(this, &second, &third)?;
            Ok(PyValue::Int(this.matches(wanted).count() as i128))
        }
        "replace" => replace(
            this,
            text(&first, name)?,
            text(&second, name)?,
            int(&third, -1)?,
        ),
        "removeprefix" => PyValue::text(this.strip_prefix(text(&first, name)?).unwrap_or(this)),
        "removesuffix" => PyValue::text(this.strip_suffix(text(&first, name)?).unwrap_or(this)),
        "join" => {
            let Some(parts) = first else {
                return fault("join lacks an argument");
            };
            defined(&parts)?;
            let mut writer = TextWriter::new();
            for (place, part) in parts.items()?.items.iter().enumerate() {
                if place > 0 {
                    writer.push(this)?;
                }
                writer.push(text(&Some(part.clone()), name)?)?;
            }
            writer.finish()
        }
        "partition" | "rpartition" => {
            let wanted = text(&first, name)?;
            let cut = match name {
                "partition" => this.split_once(wanted),
                _ => this.rsplit_once(wanted),
            };
            let parts = match (cut, name) {
                (Some((before, after)), _) => [before, wanted, after],
                (None, "partition") => [this, "", ""],
                (None, _) => ["", "", this],
            };
            let parts: Bounded<Vec<PyValue>> = parts.into_iter().map(PyValue::text).collect();
            PyValue::list(ListKind::Tuple, parts?)
        }
        "splitlines" => texts(lines(this, flag(&first, false))?),
        "center" | "ljust" | "rjust" => {
            let fill = match &second {
                None => " ",
                Some(_) => text(&second, name)?,
            };
            if fill.chars().count() != 1 {
                return fault(format!("{name} fills with one character"));
            }
            padded(
                this,
                count(&first, 0)?,
                fill,
                name != "ljust",
                name != "rjust",
            )
        }
        "zfill" => {
            let signed = this.starts_with(['+', '-']);
            let (sign, digits) = this
                .split_at_checked(usize::from(signed))
                .unwrap_or(("", this));
            let width = count(&first, 0)?.saturating_sub(sign.len());
            let digits = padded(digits, width, "0", true, false)?;
            PyValue::text(sign)?.arithmetic("+", &digits)
        }
        "expandtabs" => {
            let size = count(&first, 8)?;
            let mut writer = TextWriter::new();
            let mut column = 0;
            for char in this.chars() {
                match char {
                    '\t' if size > 0 => {
                        writer.repeat(" ", size - column % size)?;
                        column = 0;
                        continue;
                    }
                    '\t' => continue,
                    '\n' | '\r' => column = 0,
                    _ => column += 1,
                }
                writer.push_char(char)?;
            }
            writer.finish()
        }
        "isalnum" => all(char::is_alphanumeric),
        "isalpha" => all(char::is_alphabetic),
        "isascii" => Ok(PyValue::Bool(this.is_ascii())),
        "isdecimal" => all(|char| char.is_ascii_digit()),
        // Raised and lowered ones are digits as well.
        "isdigit" => all(|char| {
            let raised = matches!(char, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹' | '₀'..='₉');
            raised || char.is_ascii_digit()
        }),
        "isnumeric" => all(char::is_numeric),
        "isspace" => all(is_space),
        "isprintable" => Ok(PyValue::Bool(!this.chars().any(char::is_control))),
        "isidentifier" => Ok(PyValue::Bool(
            this.starts_with(|char: char| char.is_alphabetic() || char == '_')
                && this
                    .chars()
                    .all(|char| char.is_alphanumeric() || char == '_'),
        )),
        "islower" => Ok(PyValue::Bool(is_cased(this, false))),
        "isupper" => Ok(PyValue::Bool(is_cased(this, true))),
        _ => {
            let title = title(this, char::is_alphabetic)?;
            let cased = this
                .chars()
                .any(|char| char.is_uppercase() || char.is_lowercase());
            Ok(PyValue::Bool(cased && title.equals(value)?))
        }
    }
}
