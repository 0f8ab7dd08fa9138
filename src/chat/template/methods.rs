//! The methods of Python's values, as far as they change nothing.

use super::arguments::Given;
use super::budget::{Bounded, fault};
use super::strings;
use super::value::{ListKind, PyValue};
use super::write::type_name;
use std::rc::Rc;

const OF_STR: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];
const OF_DICT: &[&str] = &["copy", "get", "items", "keys", "values"];
/// What would change a value, which the sandbox forbids.
const CHANGES: &[&str] = &[
    "append",
    "clear",
    "extend",
    "insert",
    "pop",
    "popitem",
    "remove",
    "reverse",
    "setdefault",
    "sort",
    "update",
];
const OF_LIST: &[&str] = &["copy", "count", "index"];

/// The method of this name, if the value's type has it.
pub(super) fn find(value: &PyValue, name: &str) -> Option<PyValue> {
    let known = match value {
        PyValue::Str(_) => OF_STR,
        PyValue::Dict(_) => OF_DICT,
        PyValue::List(list) if list.kind == ListKind::List => OF_LIST,
        PyValue::List(list) if list.kind.is_indexed() => &["count", "index"],
        PyValue::Cycler(_) => &["next", "reset"],
        PyValue::Float(_) => &["is_integer"],
        PyValue::Int(_) | PyValue::Bool(_) => &["bit_length"],
        _ => return None,
    };
    if let Some(name) = known.iter().find(|known| **known == name) {
        return Some(PyValue::Method(Rc::new((value.clone(), name))));
    }
    let changes = match value {
        PyValue::Dict(_) => matches!(name, "clear" | "pop" | "popitem" | "setdefault" | "update"),
        PyValue::List(list) if list.kind == ListKind::List => {
            CHANGES.contains(&name) && !matches!(name, "popitem" | "setdefault" | "update")
        }
        _ => false,
    };
    let what = || {
        format!(
            "{name:?} of a {} would change it, which templates may not",
            type_name(value)
        )
    };
    changes.then(|| PyValue::undefined(what()))
}

pub(super) fn call(value: &PyValue, name: &'static str, given: Given) -> Bounded<PyValue> {
    match value {
        PyValue::Str(_) => {
            let fills = value.as_str().is_some_and(|text| text.contains('{'));
            if value.is_safe() && fills && matches!(name, "format" | "format_map") {
                return fault("a format that is safe is not supported");
            }
            let made = strings::call(value, name, given)?;
            match (made, value.is_safe()) {
                (made @ PyValue::Str(_), true) => made.into_safe(),
                (PyValue::List(parts), true) => {
                    let parts_of = parts.items.iter().cloned().map(PyValue::into_safe);
                    PyValue::list(parts.kind, parts_of.collect::<Bounded<Vec<PyValue>>>()?)
                }
                (made, _) => Ok(made),
            }
        }
        PyValue::Dict(dict) => {
            let entries = dict.entries.iter();
            match name {
                "get" => {
                    let [key, default] = given.of(name, ["key", "default"])?;
                    let Some(key) = key else {
                        return fault("get lacks an argument");
                    };
                    let found = value.item(&key)?;
                    Ok(found.or(default).unwrap_or(PyValue::None))
                }
                "keys" => PyValue::list(
                    ListKind::Keys,
                    entries.map(|(key, _)| key.clone()).collect(),
                ),
                "values" => PyValue::list(
                    ListKind::Values,
                    entries.map(|(_, value)| value.clone()).collect(),
                ),
                "items" => items(value),
                _ => Ok(value.clone()),
            }
        }
        PyValue::List(list) => match name {
            "copy" => Ok(value.clone()),
            _ => {
                let several = name == "index" && list.kind != ListKind::Range;
                if given.plain.len() > if several { 3 } else { 1 } {
                    return fault(format!("{name} has too many arguments"));
                }
                let [wanted, from, to] = given.of(name, ["", " ", "  "])?;
                let Some(wanted) = wanted else {
                    return fault(format!("{name} lacks an argument"));
                };
                let len = list.items.len();
                let bound = |bound: &Option<PyValue>, default: usize| -> Bounded<usize> {
                    let at = super::arguments::int(bound, default as i128)?;
                    let at = if at < 0 {
                        at.saturating_add(len as i128)
                    } else {
                        at
                    };
                    Ok(at.clamp(0, len as i128) as usize)
                };
                let (from, to) = (bound(&from, 0)?, bound(&to, len)?);
                let mut found = 0;
                for (place, item) in list.items.iter().enumerate().take(to).skip(from) {
                    if item.equals(&wanted)? {
                        if name == "index" {
                            return Ok(PyValue::Int(place as i128));
                        }
                        found += 1;
                    }
                }
                match name {
                    "count" => Ok(PyValue::Int(found)),
                    _ => fault("the list has no such value"),
                }
            }
        },
        PyValue::Cycler(cycler) => match name {
            "next" => Ok(cycler.cycle().unwrap_or(PyValue::None)),
            _ => {
                cycler.reset();
                Ok(PyValue::None)
            }
        },
        PyValue::Float(value) => Ok(PyValue::Bool(value.fract() == 0.0)),
        _ => {
            let bits = value.int().unwrap_or_default().unsigned_abs();
            Ok(PyValue::Int(i128::from(u128::BITS - bits.leading_zeros())))
        }
    }
}

/// A dictionary's keys and values, in pairs.
pub(super) fn items(value: &PyValue) -> Bounded<PyValue> {
    let PyValue::Dict(dict) = value else {
        return fault(format!("a value of type {} has no items", type_name(value)));
    };
    let pair = |(key, value): &(PyValue, PyValue)| {
        PyValue::list(ListKind::Tuple, vec![key.clone(), value.clone()])
    };
    let pairs: Bounded<Vec<PyValue>> = dict.entries.iter().map(pair).collect();
    PyValue::list(ListKind::Items, pairs?)
}
