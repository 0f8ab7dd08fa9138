//! `.format` of Python's texts, and how numbers are written for it and for `%`.

use super::budget::{Bounded, TextWriter, fault, look_closely, walk};
use super::python::defined;
use super::strings::padded;
use super::value::PyValue;
use super::write::type_name;
use super::{lookup, percent};
use std::rc::Rc;

/// How a value is to be written.
pub(super) struct Spec {
    pub(super) fill: char,
    /// `<`, `>`, `^`, or `=`, which fills behind a sign.
    pub(super) align: Option<char>,
    /// `+`, ` `, or `-`, which writes that of negative numbers alone.
    pub(super) sign: char,
    /// `#`
    pub(super) alternate: bool,
    /// A width that begins with 0, without an alignment.
    pub(super) zeros: bool,
    pub(super) grouping: Option<char>,
    pub(super) width: usize,
    pub(super) precision: Option<usize>,
    pub(super) kind: Option<char>,
}

pub(super) const PLAIN: Spec = Spec {
    fill: ' ',
    align: None,
    sign: '-',
    alternate: false,
    zeros: false,
    grouping: None,
    width: 0,
    precision: None,
    kind: None,
};

/// Digits behind a point that are of use: a float has fewer.
const PRECISION: usize = 1100;

/// A digit behind a point takes as long as so many characters.
const DIGIT: usize = 8;

/// A text that is read from its front.
pub(super) struct FormatCursor<'a>(pub(super) &'a str);

impl FormatCursor<'_> {
    pub(super) fn next_if(&mut self, wanted: impl FnOnce(char) -> bool) -> Option<char> {
        let mut chars = self.0.chars();
        let char = chars.next().filter(|char| wanted(*char))?;
        self.0 = chars.as_str();
        Some(char)
    }

    pub(super) fn takes(&mut self, wanted: char) -> bool {
        self.next_if(|char| char == wanted).is_some()
    }

    pub(super) fn number(&mut self) -> Option<usize> {
        let mut value = None;
        while let Some(digit) = self.next_if(|char| char.is_ascii_digit()) {
            let digit = digit.to_digit(10).unwrap_or_default() as usize;
            let so_far: usize = value.unwrap_or_default();
            value = Some(so_far.saturating_mul(10).saturating_add(digit));
        }
        value
    }
}

/// `format.format(…)`
pub(super) fn braces(
    format: &str,
    plain: &[PyValue],
    named: &[(Rc<str>, PyValue)],
) -> Bounded<PyValue> {
    let mut writer = TextWriter::new();
    let mut next = 0;
    fill_in(&mut writer, format, plain, named, &mut next, true)?;
    writer.finish()
}

fn fill_in(
    writer: &mut TextWriter,
    format: &str,
    plain: &[PyValue],
    named: &[(Rc<str>, PyValue)],
    next: &mut usize,
    nests: bool,
) -> Bounded<()> {
    let mut rest = format;
    while let Some(at) = rest.find(['{', '}']) {
        writer.push(rest.get(..at).unwrap_or_default())?;
        let tag = rest.get(at..).unwrap_or_default();
        if tag.starts_with("{{") || tag.starts_with("}}") {
            writer.push(tag.get(..1).unwrap_or_default())?;
            rest = tag.get(2..).unwrap_or_default();
            continue;
        }
        if tag.starts_with('}') {
            return fault("a format has a \"}\" without its \"{\"");
        }
        let mut open = 0;
        let end = tag.char_indices().find(|(_, char)| {
            open += i32::from(*char == '{') - i32::from(*char == '}');
            open == 0
        });
        let Some((end, _)) = end else {
            return fault("a format has a \"{\" without its \"}\"");
        };
        let field = tag.get(1..end).unwrap_or_default();
        rest = tag.get(end + 1..).unwrap_or_default();
        let (field, spec) = field.split_once(':').unwrap_or((field, ""));
        let (field, conversion) = field.split_once('!').unwrap_or((field, ""));
        let mut value = value_of(field, plain, named, next)?;
        value = match conversion {
            "" => value,
            "s" => value.to_text()?,
            "r" | "a" => percent::repr(&value, conversion == "a")?,
            _ => return fault(format!("a format has no conversion {conversion:?}")),
        };
        let spec = match spec.contains('{') && nests {
            true => {
                let mut inner = TextWriter::new();
                fill_in(&mut inner, spec, plain, named, next, false)?;
                parse(inner.as_str())?
            }
            false => parse(spec)?,
        };
        write_field(writer, &value, &spec)?;
    }
    writer.push(rest)
}

/// What a field names: an argument, and attributes or entries of it.
fn value_of(
    field: &str,
    plain: &[PyValue],
    named: &[(Rc<str>, PyValue)],
    next: &mut usize,
) -> Bounded<PyValue> {
    let name = field.split(['.', '[']).next().unwrap_or_default();
    let found = if name.is_empty() {
        *next += 1;
        plain.get(*next - 1)
    } else if let Ok(place) = name.parse::<usize>() {
        plain.get(place)
    } else {
        walk(named.len())?;
        named
            .iter()
            .find(|(known, _)| **known == *name)
            .map(|(_, value)| value)
    };
    let Some(mut value) = found.cloned() else {
        return fault(format!("the format asks for {name:?}, which is not there"));
    };
    let mut rest = field.get(name.len()..).unwrap_or_default();
    while !rest.is_empty() {
        let (key, after) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((key, after)) => (key, after),
            None => {
                let rest = rest.trim_start_matches('.');
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                rest.split_at_checked(end).unwrap_or((rest, ""))
            }
        };
        let item = rest.starts_with('[');
        let place = key.parse::<i128>().ok().filter(|_| item);
        let key = place.map_or_else(|| PyValue::text(key), |place| Ok(PyValue::Int(place)))?;
        value = match item {
            true => lookup::item(&value, &key)?,
            false => lookup::attribute(&value, &key)?,
        };
        rest = after;
    }
    Ok(value)
}

/// `[[fill]align][sign][#][0][width][grouping][.precision][type]`
fn parse(text: &str) -> Bounded<Spec> {
    let mut spec = PLAIN;
    let mut cursor = FormatCursor(text);
    let second = text.chars().nth(1);
    if second.is_some_and(|char| "<>^=".contains(char)) {
        spec.fill = cursor.next_if(|_| true).unwrap_or(' ');
    }
    spec.align = cursor.next_if(|char| "<>^=".contains(char));
    if let Some(sign) = cursor.next_if(|char| "+- ".contains(char)) {
        spec.sign = sign;
    }
    spec.alternate = cursor.takes('#');
    spec.zeros = cursor.takes('0') && spec.align.is_none();
    spec.width = cursor.number().unwrap_or_default();
    spec.grouping = cursor.next_if(|char| matches!(char, ',' | '_'));
    if cursor.takes('.') {
        spec.precision = cursor.number();
    }
    spec.kind = cursor.next_if(|_| true);
    match cursor.0 {
        "" => Ok(spec),
        _ => fault(format!("{text:?} is no format")),
    }
}

impl Spec {
    /// Whether it says nothing but how a text may be written as well.
    fn is_of_texts(&self) -> bool {
        let plain = self.sign == '-' && !self.alternate && self.grouping.is_none();
        plain && self.align != Some('=') && matches!(self.kind, None | Some('s'))
    }

    fn is_empty(&self) -> bool {
        let whole = self.is_of_texts() && self.kind.is_none() && self.align.is_none();
        whole && self.width == 0 && !self.zeros && self.precision.is_none()
    }
}

/// Writes a value as a specification of `.format` says: one that says anything is for texts and
/// numbers alone.
fn write_field(writer: &mut TextWriter, value: &PyValue, spec: &Spec) -> Bounded<()> {
    let mut spec = Spec { ..*spec };
    let takes = match value {
        _ if spec.is_empty() => return writer.push_value(value),
        PyValue::Str(_) => spec.is_of_texts(),
        PyValue::Bool(_) | PyValue::Int(_) => {
            spec.kind = spec.kind.or(Some('d'));
            spec.kind != Some('s')
                && (spec.precision.is_none()
                    || !spec.kind.is_some_and(|kind| "dxXobcn".contains(kind)))
        }
        PyValue::Float(_) => spec.kind != Some('s'),
        _ => false,
    };
    if !takes {
        defined(value)?;
        return fault(format!("the format does not take {}", type_name(value)));
    }
    if spec.zeros {
        spec.fill = '0';
        spec.align = match value {
            PyValue::Str(_) => None,
            _ => Some('='),
        };
    }
    write(writer, value, &spec)
}

/// Writes a value as a specification says.
pub(super) fn write(writer: &mut TextWriter, value: &PyValue, spec: &Spec) -> Bounded<()> {
    let number = value.float().is_some() && spec.kind != Some('s');
    let (sign, body) = match number {
        true => self::number(value, spec)?,
        false => {
            let text = match spec.kind {
                None | Some('s') => value.to_text()?,
                _ => {
                    defined(value)?;
                    return fault(format!("a format does not take {}", type_name(value)));
                }
            };
            let text = text.as_str().unwrap_or_default();
            let end = spec
                .precision
                .and_then(|precision| text.char_indices().nth(precision));
            let cut = end.and_then(|(at, _)| text.get(..at)).unwrap_or(text);
            (String::new(), cut.to_string())
        }
    };
    let fill = spec.fill.to_string();
    let align = spec.align.unwrap_or(if number { '>' } else { '<' });
    if align == '=' {
        let width = spec.width.saturating_sub(sign.chars().count());
        writer.push(&sign)?;
        return writer.push_value(&padded(&body, width, &fill, true, false)?);
    }
    let whole = sign + &body;
    let missing = spec.width.saturating_sub(whole.chars().count());
    let before = match align {
        '>' => missing,
        '^' => missing / 2,
        _ => 0,
    };
    writer.repeat(&fill, before)?;
    writer.push(&whole)?;
    writer.repeat(&fill, missing - before)
}

/// A number's sign (with its prefix) and digits.
fn number(value: &PyValue, spec: &Spec) -> Bounded<(String, String)> {
    let kind = spec.kind.unwrap_or(match value {
        PyValue::Float(_) => 'r',
        _ => 'd',
    });
    let precision = spec.precision;
    if precision.is_some_and(|precision| precision > PRECISION) {
        return fault(format!("a format asks for more than {PRECISION} digits"));
    }
    look_closely(precision.unwrap_or_default().saturating_mul(DIGIT))?;
    let negative = match value {
        PyValue::Float(value) => value.is_sign_negative() && !value.is_nan(),
        _ => value.int().unwrap_or_default() < 0,
    };
    let sign = match (negative, spec.sign) {
        (true, _) => "-",
        (false, '+') => "+",
        (false, ' ') => " ",
        _ => "",
    };
    let mut prefix = "";
    let whole = value.int().map(i128::unsigned_abs);
    let float = value.float().unwrap_or_default().abs();
    let mut body = match (kind, whole) {
        ('d' | 'n', Some(whole)) => whole.to_string(),
        ('x', Some(whole)) => {
            prefix = "0x";
            format!("{whole:x}")
        }
        ('X', Some(whole)) => {
            prefix = "0X";
            format!("{whole:X}")
        }
        ('o', Some(whole)) => {
            prefix = "0o";
            format!("{whole:o}")
        }
        ('b', Some(whole)) => {
            prefix = "0b";
            format!("{whole:b}")
        }
        ('c', Some(whole)) => {
            let char = u32::try_from(whole).ok().and_then(char::from_u32);
            match char.filter(|_| !negative) {
                Some(char) => char.to_string(),
                None => return fault("a format asks for a character that there is not"),
            }
        }
        ('f' | 'F', _) if float.is_finite() => format!("{float:.*}", precision.unwrap_or(6)),
        ('%', _) => format!("{:.*}%", precision.unwrap_or(6), float * 100.0),
        ('e' | 'E', _) if float.is_finite() => exponential(float, precision.unwrap_or(6), kind),
        ('g' | 'G' | 'n', _) if float.is_finite() => {
            general(float, precision.unwrap_or(6).max(1), kind)
        }
        ('r', _) if precision.is_some() && float.is_finite() => {
            let text = general(float, precision.unwrap_or(6).max(1), 'g');
            match text.contains(['.', 'e']) {
                true => text,
                false => format!("{text}.0"),
            }
        }
        ('r' | 'f' | 'F' | 'e' | 'E' | 'g' | 'G', _) => super::write::float(float),
        _ => {
            return fault(format!(
                "a format {kind:?} does not take {}",
                type_name(value)
            ));
        }
    };
    if let Some(separator) = spec.grouping {
        let end = body
            .find(|char: char| !char.is_ascii_digit())
            .unwrap_or(body.len());
        let (digits, rest) = body.split_at_checked(end).unwrap_or((&body, ""));
        let mut grouped = String::new();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place) % 3 == 0 {
                grouped.push(separator);
            }
            grouped.push(digit);
        }
        body = grouped + rest;
    }
    let prefix = if spec.alternate { prefix } else { "" };
    Ok((format!("{sign}{prefix}"), body))
}

fn exponential(value: f64, precision: usize, kind: char) -> String {
    let text = format!("{value:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}{kind}{sign}{:02}", exponent.unsigned_abs())
}

/// As few digits as say it, at most `precision`.
fn general(value: f64, precision: usize, kind: char) -> String {
    let text = exponential(value, precision - 1, 'e');
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let bare = |digits: &str| match digits.contains('.') {
        true => digits
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_string(),
        false => digits.to_string(),
    };
    if exponent < -4 || exponent >= precision as i32 {
        let kind = if kind == 'G' { 'E' } else { 'e' };
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}{kind}{sign}{:02}", bare(digits), exponent.unsigned_abs());
    }
    let places = (precision as i32 - 1 - exponent).max(0) as usize;
    bare(&format!("{value:.places$}"))
}
