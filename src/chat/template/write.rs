//! Values as text: Python's `str` and `repr`, and JSON as its `json.dumps` writes it.

use super::budget::{Bounded, TextWriter, fault, spend};
use super::value::{ListKind, PyValue};

/// What Python calls a value's type.
pub(super) fn type_name(value: &PyValue) -> &'static str {
    match value {
        PyValue::Undefined(_) => "Undefined",
        PyValue::None => "None",
        PyValue::Bool(_) => "bool",
        PyValue::Int(_) => "int",
        PyValue::Float(_) => "float",
        PyValue::Str(_) => "str",
        PyValue::List(list) => match list.kind {
            ListKind::List => "list",
            ListKind::Tuple | ListKind::Group => "tuple",
            ListKind::Range => "range",
            ListKind::Keys => "dict_keys",
            ListKind::Values => "dict_values",
            ListKind::Items => "dict_items",
        },
        PyValue::Dict(_) => "dict",
        PyValue::Iterator(_) => "generator",
        PyValue::Cycler(_) => "Cycler",
        PyValue::Joiner(_) => "Joiner",
        PyValue::Namespace(_) => "Namespace",
        PyValue::Loop(_) => "LoopContext",
        PyValue::Macro(_) => "Macro",
        PyValue::Method(_) => "method",
        PyValue::Function(_) => "function",
    }
}

/// A float as Python writes it: as few digits as tell it from its neighbours.
pub(super) fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_string();
    }
    if value.is_infinite() {
        return if value < 0.0 { "-inf" } else { "inf" }.to_string();
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    let text = value.to_string();
    match text.contains('.') {
        true => text,
        false => format!("{text}.0"),
    }
}

/// How JSON is to look.
pub(super) struct JsonStyle<'a> {
    pub(super) ascii: bool,
    pub(super) indent: Option<&'a str>,
    pub(super) item_separator: &'a str,
    pub(super) key_separator: &'a str,
    pub(super) sort_keys: bool,
}

impl TextWriter {
    /// A value's `str`.
    pub(super) fn push_value(&mut self, value: &PyValue) -> Bounded<()> {
        match value {
            PyValue::Undefined(_) => Ok(()),
            _ => match value.as_str() {
                Some(text) => self.push(text),
                None => self.push_repr(value),
            },
        }
    }

    /// A value's `repr`.
    pub(super) fn push_repr(&mut self, value: &PyValue) -> Bounded<()> {
        match value {
            PyValue::None => self.push("None"),
            PyValue::Bool(true) => self.push("True"),
            PyValue::Bool(false) => self.push("False"),
            PyValue::Int(value) => self.push(&value.to_string()),
            PyValue::Float(value) => self.push(&float(*value)),
            PyValue::Str(_) if value.is_safe() => {
                self.push("Markup(")?;
                self.push_quoted(value.as_str().unwrap_or_default())?;
                self.push(")")
            }
            PyValue::Str(_) => self.push_quoted(value.as_str().unwrap_or_default()),
            PyValue::List(list) => {
                let (open, close) = match list.kind {
                    ListKind::List => ("[", "]"),
                    ListKind::Tuple | ListKind::Group if list.items.len() == 1 => ("(", ",)"),
                    ListKind::Tuple | ListKind::Group => ("(", ")"),
                    ListKind::Range => return self.push_range(&list.items),
                    ListKind::Keys => ("dict_keys([", "])"),
                    ListKind::Values => ("dict_values([", "])"),
                    ListKind::Items => ("dict_items([", "])"),
                };
                self.push(open)?;
                for (place, item) in list.items.iter().enumerate() {
                    if place > 0 {
                        self.push(", ")?;
                    }
                    self.push_repr(item)?;
                }
                self.push(close)
            }
            PyValue::Dict(dict) => {
                self.push("{")?;
                for (place, (key, value)) in dict.entries.iter().enumerate() {
                    if place > 0 {
                        self.push(", ")?;
                    }
                    self.push_repr(key)?;
                    self.push(": ")?;
                    self.push_repr(value)?;
                }
                self.push("}")
            }
            PyValue::Macro(found) => {
                self.push("<Macro ")?;
                self.push_quoted(&found.node.name)?;
                self.push(">")
            }
            PyValue::Namespace(namespace) => self.deeper(|writer| {
                writer.push("<Namespace {")?;
                for (place, (name, value)) in namespace.attributes.borrow().iter().enumerate() {
                    if place > 0 {
                        writer.push(", ")?;
                    }
                    writer.push_quoted(name)?;
                    writer.push(": ")?;
                    writer.push_repr(value)?;
                }
                writer.push("}>")
            }),
            PyValue::Undefined(_) => self.push("Undefined"),
            _ => fault(format!("a value of type {} has no text", type_name(value))),
        }
    }

    fn push_range(&mut self, items: &[PyValue]) -> Bounded<()> {
        let at = |place: usize| items.get(place).and_then(PyValue::int);
        let first = at(0).unwrap_or_default();
        let step = at(1).map_or(1, |second| second.saturating_sub(first));
        let end = first.saturating_add(step.saturating_mul(items.len() as i128));
        match step {
            1 => self.push(&format!("range({first}, {end})")),
            _ => self.push(&format!("range({first}, {end}, {step})")),
        }
    }

    /// A text with HTML's own characters written as HTML has them.
    pub(super) fn push_escaped(&mut self, text: &str) -> Bounded<()> {
        for char in text.chars() {
            match char {
                '&' => self.push("&amp;")?,
                '<' => self.push("&lt;")?,
                '>' => self.push("&gt;")?,
                '\'' => self.push("&#39;")?,
                '"' => self.push("&#34;")?,
                _ => self.push_char(char)?,
            }
        }
        Ok(())
    }

    /// A text as Python's source would have it.
    fn push_quoted(&mut self, text: &str) -> Bounded<()> {
        let quote = match text.contains('\'') && !text.contains('"') {
            true => '"',
            false => '\'',
        };
        self.push_char(quote)?;
        for char in text.chars() {
            match char {
                '\\' => self.push("\\\\")?,
                '\n' => self.push("\\n")?,
                '\r' => self.push("\\r")?,
                '\t' => self.push("\\t")?,
                _ if char == quote => {
                    self.push("\\")?;
                    self.push_char(char)?;
                }
                ' '..='~' => self.push_char(char)?,
                _ if is_printable(char)? => self.push_char(char)?,
                _ => match u32::from(char) {
                    code @ ..0x100 => self.push(&format!("\\x{code:02x}"))?,
                    code @ ..0x10000 => self.push(&format!("\\u{code:04x}"))?,
                    code => self.push(&format!("\\U{code:08x}"))?,
                },
            }
        }
        self.push_char(quote)
    }

    pub(super) fn push_json(
        &mut self,
        value: &PyValue,
        style: &JsonStyle<'_>,
        level: usize,
    ) -> Bounded<()> {
        match value {
            PyValue::None => self.push("null"),
            PyValue::Bool(true) => self.push("true"),
            PyValue::Bool(false) => self.push("false"),
            PyValue::Int(value) => self.push(&value.to_string()),
            PyValue::Float(value) if value.is_nan() => self.push("NaN"),
            PyValue::Float(value) if value.is_infinite() => self.push(if *value < 0.0 {
                "-Infinity"
            } else {
                "Infinity"
            }),
            PyValue::Float(value) => self.push(&float(*value)),
            PyValue::Str(_) => self.push_json_text(value.as_str().unwrap_or_default(), style.ascii),
            PyValue::List(list) if list.kind.is_sequence() => {
                self.push("[")?;
                for (place, item) in list.items.iter().enumerate() {
                    self.push_gap(style, level + 1, place)?;
                    self.push_json(item, style, level + 1)?;
                }
                self.push_end(style, level, list.items.is_empty())?;
                self.push("]")
            }
            PyValue::Dict(dict) => {
                self.push("{")?;
                let mut entries: Vec<&(PyValue, PyValue)> = dict.entries.iter().collect();
                if style.sort_keys {
                    super::filters::sort(&mut entries, |(key, _)| key.clone())?;
                }
                for (place, (key, value)) in entries.into_iter().enumerate() {
                    self.push_gap(style, level + 1, place)?;
                    match key {
                        PyValue::Str(_) => self.push_json(key, style, level)?,
                        PyValue::None | PyValue::Bool(_) | PyValue::Int(_) | PyValue::Float(_) => {
                            self.push("\"")?;
                            self.push_json(key, style, level)?;
                            self.push("\"")?;
                        }
                        _ => return fault(format!("JSON has no keys of type {}", type_name(key))),
                    }
                    self.push(style.key_separator)?;
                    self.push_json(value, style, level + 1)?;
                }
                self.push_end(style, level, dict.entries.is_empty())?;
                self.push("}")
            }
            PyValue::Undefined(what) => fault(format!("tojson: {what}")),
            _ => fault(format!("JSON has no values of type {}", type_name(value))),
        }
    }

    /// What stands before an entry.
    fn push_gap(&mut self, style: &JsonStyle<'_>, level: usize, place: usize) -> Bounded<()> {
        if place > 0 {
            self.push(style.item_separator)?;
        }
        self.push_line(style, level)
    }

    fn push_end(&mut self, style: &JsonStyle<'_>, level: usize, empty: bool) -> Bounded<()> {
        match empty {
            true => Ok(()),
            false => self.push_line(style, level),
        }
    }

    fn push_line(&mut self, style: &JsonStyle<'_>, level: usize) -> Bounded<()> {
        let Some(indent) = style.indent else {
            return Ok(());
        };
        self.push("\n")?;
        self.repeat(indent, level)
    }

    fn push_json_text(&mut self, text: &str, ascii: bool) -> Bounded<()> {
        self.push("\"")?;
        let mut rest = text;
        let plain = |char: char| match char {
            '"' | '\\' => false,
            ' '..='~' => true,
            _ => char > '~' && !ascii,
        };
        while let Some(at) = rest.find(|char| !plain(char)) {
            self.push(rest.get(..at).unwrap_or_default())?;
            let mut after = rest.get(at..).unwrap_or_default().chars();
            match after.next().unwrap_or_default() {
                '"' => self.push("\\\"")?,
                '\\' => self.push("\\\\")?,
                '\n' => self.push("\\n")?,
                '\r' => self.push("\\r")?,
                '\t' => self.push("\\t")?,
                '\u{8}' => self.push("\\b")?,
                '\u{c}' => self.push("\\f")?,
                char => {
                    spend(4)?;
                    for unit in char.encode_utf16(&mut [0; 2]) {
                        self.push(&format!("\\u{unit:04x}"))?;
                    }
                }
            }
            rest = after.as_str();
        }
        self.push(rest)?;
        self.push("\"")
    }
}

/// Whether `repr` writes a character as it is. Rust's `Debug` asks the same of Unicode, but for
/// marks at the beginning of a text.
fn is_printable(char: char) -> Bounded<bool> {
    spend(4)?;
    let text: String = ['x', char].into_iter().collect();
    Ok(text.escape_debug().eq(text.chars()))
}
