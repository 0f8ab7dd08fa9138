//! Filters whose value is a text, or is made one.

use super::arguments::{Given, count, flag, int};
use super::budget::{Bounded, TextWriter, fault, look, look_closely};
use super::lexer::is_space;
use super::strings::{self, lines, padded, strip};
use super::value::{ListKind, PyValue};
use super::write::{JsonStyle, type_name};
use super::{methods, numbers};

/// `value | name(given)`
pub(super) fn apply(name: &str, value: PyValue, given: Given) -> Bounded<PyValue> {
    let whole = value.to_text()?;
    let this = whole.as_str().unwrap_or_default();
    look(this.len())?;
    if matches!(name, "indent" | "wordwrap") && value.as_str().is_none() {
        return fault(format!("{name} does not take {}", type_name(&value)));
    }
    match name {
        "string" => Ok(whole),
        "safe" => whole.into_safe(),
        "trim" => {
            let [chars] = given.of(name, ["chars"])?;
            let trimmed = PyValue::text(strip(this, &chars, true, true)?)?;
            if whole.is_safe() {
                trimmed.into_safe()
            } else {
                Ok(trimmed)
            }
        }
        "upper" => methods::call(&whole, "upper", Given::default()),
        "lower" => methods::call(&whole, "lower", Given::default()),
        "capitalize" => strings::capitalize(this),
        "title" => title(this),
        "replace" => {
            let [old, new, times] = given.of(name, ["old", "new", "count"])?;
            let text = |value: Option<PyValue>| value.unwrap_or(PyValue::None).to_text();
            let (old, new) = (text(old)?, text(new)?);
            let times = times.filter(|times| !matches!(times, PyValue::None));
            let part = |value: &PyValue| value.as_str().unwrap_or_default().to_string();
            strings::replace(this, &part(&old), &part(&new), int(&times, -1)?)
        }
        "center" => {
            let [width] = given.of(name, ["width"])?;
            padded(this, count(&width, 80)?, " ", true, true)
        }
        "indent" => {
            let [width, first, blank] = given.of(name, ["width", "first", "blank"])?;
            let indent = match &width {
                Some(text @ PyValue::Str(_)) => text.clone(),
                _ => padded("", count(&width, 4)?, " ", true, false)?,
            };
            let (first, blank) = (flag(&first, false), flag(&blank, false));
            let mut writer = TextWriter::new();
            // A text that ends with a line's end has an empty line behind it.
            let ended = [this, "\n"].concat();
            for (place, line) in lines(&ended, false)?.into_iter().enumerate() {
                if place > 0 {
                    writer.push("\n")?;
                }
                if if place == 0 {
                    first
                } else {
                    blank || !line.is_empty()
                } {
                    writer.push_value(&indent)?;
                }
                writer.push(line)?;
            }
            let made = writer.finish()?;
            if whole.is_safe() {
                made.into_safe()
            } else {
                Ok(made)
            }
        }
        "truncate" => {
            let [length, kill, end, leeway] =
                given.of(name, ["length", "killwords", "end", "leeway"])?;
            let (length, leeway) = (count(&length, 255)?, count(&leeway, 5)?);
            let end = end.map_or_else(|| PyValue::text("..."), Ok)?;
            if value.len()? <= length.saturating_add(leeway) {
                return Ok(value);
            }
            if value.as_str().is_none() {
                return fault(format!("truncate does not cut {}", type_name(&value)));
            }
            let Some(kept) = length.checked_sub(end.len()?) else {
                return fault("truncate to less than its own end");
            };
            let kept = whole.slice([None, Some(kept as i128), None])?;
            let kept = kept.as_str().unwrap_or_default();
            let cut = match flag(&kill, false) {
                true => kept,
                false => kept.rsplit_once(' ').map_or(kept, |(words, _)| words),
            };
            PyValue::text(cut)?.arithmetic("+", &end)
        }
        "format" if whole.is_safe() => fault("a format that is safe is not supported"),
        "format" => match given.named.is_empty() {
            true => super::percent::percent(this, &PyValue::list(ListKind::Tuple, given.plain)?),
            false => {
                let named = given
                    .named
                    .into_iter()
                    .map(|(name, value)| Ok((PyValue::text(&name)?, value)));
                super::percent::percent(this, &PyValue::dict(named.collect::<Bounded<Vec<_>>>()?)?)
            }
        },
        "escape" | "e" if whole.is_safe() => Ok(whole),
        "escape" | "e" | "forceescape" => {
            let mut writer = TextWriter::new();
            writer.push_escaped(this)?;
            writer.finish()?.into_safe()
        }
        "urlencode" => {
            let mut writer = TextWriter::new();
            let pairs = match &value {
                PyValue::Dict(_) => Some(methods::items(&value)?.items()?),
                PyValue::List(list) => Some(list.clone()),
                _ => None,
            };
            let Some(pairs) = pairs else {
                push_url(this, true, &mut writer)?;
                return writer.finish();
            };
            for (place, pair) in pairs.items.iter().enumerate() {
                let pair = pair.items()?;
                let [key, value] = &pair.items[..] else {
                    return fault("urlencode takes a text, a dict or pairs");
                };
                if place > 0 {
                    writer.push("&")?;
                }
                push_url(
                    key.to_text()?.as_str().unwrap_or_default(),
                    false,
                    &mut writer,
                )?;
                writer.push("=")?;
                push_url(
                    value.to_text()?.as_str().unwrap_or_default(),
                    false,
                    &mut writer,
                )?;
            }
            writer.finish()
        }
        "wordcount" => {
            look_closely(this.len())?;
            let words = this.split(|char: char| !char.is_alphanumeric() && char != '_');
            Ok(PyValue::Int(
                words.filter(|word| !word.is_empty()).count() as i128
            ))
        }
        "filesizeformat" => file_size(&value, given),
        "pprint" => {
            let [] = given.of(name, [])?;
            pretty(&value)
        }
        "wordwrap" => super::wrap::wrap(this, given),
        "xmlattr" => attributes(&value, given),
        "lipsum" | "random" | "striptags" | "urlize" => {
            fault(format!("the filter {name:?} is not supported"))
        }
        _ => fault(format!("no filter is named {name:?}")),
    }
}

/// Every word with a capital, or several where a letter has them.
fn title(text: &str) -> Bounded<PyValue> {
    let mut writer = TextWriter::new();
    let mut begins = true;
    for char in text.chars() {
        match begins {
            true => char
                .to_uppercase()
                .try_for_each(|char| writer.push_char(char))?,
            false => char
                .to_lowercase()
                .try_for_each(|char| writer.push_char(char))?,
        }
        begins = is_space(char) || "-({[<".contains(char);
    }
    writer.finish()
}

/// `value | filesizeformat(given)`
fn file_size(value: &PyValue, given: Given) -> Bounded<PyValue> {
    let [binary] = given.of("filesizeformat", ["binary"])?;
    let number = match value.as_str() {
        Some(text) => {
            look_closely(text.len())?;
            numbers::parse_float(text)
        }
        None => value.float(),
    };
    let Some(bytes) = number.filter(|bytes| !bytes.is_nan()) else {
        return fault(format!("filesizeformat does not take {}", type_name(value)));
    };
    let (base, letters) = match flag(&binary, false) {
        true => (1024.0, "KMGTPEZY"),
        false => (1000.0, "kMGTPEZY"),
    };
    if bytes == 1.0 {
        return PyValue::text("1 Byte");
    }
    if bytes < base {
        return PyValue::text(&format!("{} Bytes", bytes.trunc() as i128));
    }
    let infix = if base == 1024.0 { "i" } else { "" };
    let mut unit: f64 = base;
    let mut prefix = ' ';
    for letter in letters.chars() {
        (unit, prefix) = (unit * base, letter);
        if bytes < unit {
            break;
        }
    }
    PyValue::text(&format!("{:.1} {prefix}{infix}B", base * bytes / unit))
}

/// What Python's `pprint` writes in one line.
const PRETTY: usize = 80;

/// `value | pprint`
fn pretty(value: &PyValue) -> Bounded<PyValue> {
    let mut writer = TextWriter::new();
    writer.push_repr(&sorted(value)?)?;
    let text = writer.finish()?;
    match text.len()? > PRETTY {
        true => fault(format!(
            "pprint of more than {PRETTY} characters is not supported"
        )),
        false => Ok(text),
    }
}

/// A value whose dictionaries are in the order of their keys.
fn sorted(value: &PyValue) -> Bounded<PyValue> {
    match value {
        PyValue::Dict(dict) => {
            let entries = dict.entries.iter();
            let mut entries = entries
                .map(|(key, value)| Ok((key.clone(), sorted(value)?)))
                .collect::<Bounded<Vec<(PyValue, PyValue)>>>()?;
            super::filters::sort(&mut entries, |(key, _)| key.clone())?;
            PyValue::dict(entries)
        }
        PyValue::List(list) => {
            let items = list.items.iter().map(sorted);
            PyValue::list(list.kind, items.collect::<Bounded<Vec<PyValue>>>()?)
        }
        _ => Ok(value.clone()),
    }
}

/// `value | xmlattr(given)`
fn attributes(value: &PyValue, given: Given) -> Bounded<PyValue> {
    let [space] = given.of("xmlattr", ["autospace"])?;
    let mut writer = TextWriter::new();
    for pair in &methods::items(value)?.items()?.items {
        let pair = pair.items()?;
        let [key, value] = &pair.items[..] else {
            continue;
        };
        if matches!(value, PyValue::None | PyValue::Undefined(_)) {
            continue;
        }
        let name = key.to_text()?;
        let name = name.as_str().unwrap_or_default();
        if name.contains(|char: char| is_space(char) || "/>=".contains(char)) {
            return fault(format!("{name:?} is no name of an attribute"));
        }
        if flag(&space, true) || !writer.as_str().is_empty() {
            writer.push(" ")?;
        }
        writer.push_escaped(name)?;
        writer.push("=\"")?;
        match value.is_safe() {
            true => writer.push_value(value)?,
            false => writer.push_escaped(value.to_text()?.as_str().unwrap_or_default())?,
        }
        writer.push("\"")?;
    }
    writer.finish()
}

/// A text as a part of a URL has it: of a path with its slashes, of a query with + for a space.
fn push_url(text: &str, path: bool, writer: &mut TextWriter) -> Bounded<()> {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => {
                writer.push_char(char::from(byte))?;
            }
            b'/' if path => writer.push("/")?,
            b' ' if !path => writer.push("+")?,
            _ => writer.push(&format!("%{byte:02X}"))?,
        }
    }
    Ok(())
}

/// `value | tojson(given)`
pub(super) fn to_json(value: &PyValue, given: Given) -> Bounded<PyValue> {
    let [ascii, indent, separators, sort_keys] = given.of(
        "tojson",
        ["ensure_ascii", "indent", "separators", "sort_keys"],
    )?;
    let indent = match indent {
        None | Some(PyValue::None) => None,
        Some(text @ PyValue::Str(_)) => Some(text),
        width => Some(padded("", count(&width, 0)?, " ", true, false)?),
    };
    let separators = match separators {
        None | Some(PyValue::None) => None,
        Some(pair) => {
            let pair = pair.items()?;
            let at = |place: usize| {
                pair.items
                    .get(place)
                    .and_then(PyValue::as_str)
                    .map(str::to_string)
            };
            match (at(0), at(1), pair.items.len()) {
                (Some(item), Some(key), 2) => Some((item, key)),
                _ => return fault("tojson takes two separators"),
            }
        }
    };
    let (item, key) = match &separators {
        Some((item, key)) => (item.as_str(), key.as_str()),
        None if indent.is_some() => (",", ": "),
        None => (", ", ": "),
    };
    let style = JsonStyle {
        ascii: flag(&ascii, false),
        indent: indent.as_ref().and_then(PyValue::as_str),
        item_separator: item,
        key_separator: key,
        sort_keys: flag(&sort_keys, false),
    };
    let mut writer = TextWriter::new();
    writer.push_json(value, &style, 0)?;
    writer.finish()
}
