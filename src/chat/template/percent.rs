//! `%` of Python's texts.

use super::budget::{Bounded, TextWriter, fault};
use super::format::{FormatCursor, PLAIN, write};
use super::value::PyValue;

/// `format % value`
pub(super) fn percent(format: &str, value: &PyValue) -> Bounded<PyValue> {
    let plain = match value {
        PyValue::List(list) if list.kind.is_tuple() => &list.items[..],
        _ => std::slice::from_ref(value),
    };
    let mut plain = plain.iter();
    let mut writer = TextWriter::new();
    let mut cursor = FormatCursor(format);
    let mut named = false;
    while let Some((text, rest)) = cursor.0.split_once('%') {
        writer.push(text)?;
        cursor.0 = rest;
        let mut found = None;
        if cursor.takes('(') {
            let (name, rest) = cursor.0.split_once(')').unwrap_or((cursor.0, ""));
            cursor.0 = rest;
            named = true;
            found = value.item(&PyValue::text(name)?)?;
            if found.is_none() {
                return fault(format!("the format asks for {name:?}, which is not there"));
            }
        }
        let mut spec = PLAIN;
        spec.align = Some('>');
        while let Some(flag) = cursor.next_if(|char| "-+ #0".contains(char)) {
            match flag {
                '-' => spec.align = Some('<'),
                '+' => spec.sign = '+',
                ' ' if spec.sign == '-' => spec.sign = ' ',
                '0' => spec.fill = '0',
                '#' => spec.alternate = true,
                _ => {}
            }
        }
        let mut number = |cursor: &mut FormatCursor<'_>| match cursor.takes('*') {
            true => super::arguments::count(&plain.next().cloned(), 0),
            false => Ok(cursor.number().unwrap_or_default()),
        };
        spec.width = number(&mut cursor)?;
        if cursor.takes('.') {
            spec.precision = Some(number(&mut cursor)?);
        }
        while cursor
            .next_if(|char| matches!(char, 'l' | 'h' | 'L'))
            .is_some()
        {}
        let Some(kind) = cursor.next_if(|_| true) else {
            return fault("a format ends within \"%\"");
        };
        if kind == '%' {
            writer.push("%")?;
            continue;
        }
        let Some(value) = found.or_else(|| plain.next().cloned()) else {
            return fault("the format asks for more values than there are");
        };
        if spec.align == Some('<') || !"diouxXeEfFgG".contains(kind) {
            spec.fill = ' ';
        } else if spec.fill == '0' {
            spec.align = Some('=');
        }
        let (value, kind) = match (kind, value) {
            ('s', value) => (value.to_text()?, 's'),
            ('r' | 'a', value) => (repr(&value, kind == 'a')?, 's'),
            ('c', value @ PyValue::Str(_)) if value.len()? == 1 => (value, 's'),
            ('d' | 'i' | 'u', PyValue::Float(value)) if value.is_finite() => {
                (PyValue::Int(value as i128), 'd')
            }
            ('i' | 'u', value) => (value, 'd'),
            (kind, value) => (value, kind),
        };
        spec.kind = Some(kind);
        write(&mut writer, &value, &spec)?;
    }
    writer.push(cursor.0)?;
    // What has entries may be a format's only value and go unused.
    let entries = match value {
        PyValue::List(list) => list.kind.is_indexed() && !list.kind.is_tuple(),
        PyValue::Dict(_) | PyValue::Undefined(_) => true,
        _ => false,
    };
    if !named && !entries && plain.next().is_some() {
        return fault("not all values were used by the format");
    }
    writer.finish()
}

/// A value's `repr`, in ASCII alone if asked for.
pub(super) fn repr(value: &PyValue, ascii: bool) -> Bounded<PyValue> {
    let mut writer = TextWriter::new();
    writer.push_repr(value)?;
    if !ascii {
        return writer.finish();
    }
    let mut escaped = TextWriter::new();
    for char in writer.as_str().chars() {
        match u32::from(char) {
            ..0x80 => escaped.push_char(char)?,
            code @ ..0x100 => escaped.push(&format!("\\x{code:02x}"))?,
            code @ ..0x10000 => escaped.push(&format!("\\u{code:04x}"))?,
            code => escaped.push(&format!("\\U{code:08x}"))?,
        }
    }
    escaped.finish()
}
