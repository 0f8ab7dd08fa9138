//! What the components of `tokenizer.json` are written in: sequences, flags, counts, texts, patterns.

use super::error::{Shown, TokenizerError, failure};
use super::limits;
use super::pre_tokenizer::Prepends;
use super::split::Matcher;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use serde_json::Value;

/// The parts of a component: itself, or those in the list under `key` if it is a sequence.
pub(super) fn parts<'a>(
    component: &'a Value,
    key: &str,
    what: &str,
) -> Result<Vec<&'a Value>, TokenizerError> {
    let mut found = Vec::new();
    // Sequences may hold sequences; depth-first, the next on top.
    let mut waiting = vec![(component, 0)];
    while let Some((component, depth)) = waiting.pop() {
        if component.is_null() {
            continue;
        }
        if kind_of(component) != "Sequence" {
            found.push(component);
        } else {
            let list = component.get(key).and_then(Value::as_array);
            let list = list.ok_or_else(|| {
                failure!(Malformed, "tokenizer.json {what}: a sequence without {key}")
            })?;
            waiting.extend(list.iter().rev().map(|part| (part, depth + 1)));
        }
        if depth > limits::STEPS || found.len() + waiting.len() > limits::STEPS {
            return Err(failure!(
                Limit,
                "tokenizer.json {what} has more than {} steps or levels",
                limits::STEPS
            ));
        }
    }
    Ok(found)
}

pub(super) fn kind_of(component: &Value) -> &str {
    component.get("type").and_then(Value::as_str).unwrap_or("")
}

/// A truth value, or `unsaid` where there is none.
pub(super) fn flag(component: &Value, key: &str, unsaid: bool) -> Result<bool, TokenizerError> {
    match component.get(key) {
        None | Some(Value::Null) => Ok(unsaid),
        Some(Value::Bool(truth)) => Ok(*truth),
        Some(_) => Err(failure!(
            Malformed,
            "tokenizer.json {}: {key} is no truth value",
            kind_of(component)
        )),
    }
}

/// A count, or `unsaid` where there is none.
pub(super) fn count(component: &Value, key: &str, unsaid: usize) -> Result<usize, TokenizerError> {
    let count = match component.get(key) {
        None | Some(Value::Null) => Some(unsaid),
        Some(value) => value.as_u64().and_then(|count| usize::try_from(count).ok()),
    };
    count.ok_or_else(|| {
        failure!(
            Malformed,
            "tokenizer.json {}: {key} is no count",
            kind_of(component)
        )
    })
}

/// One character.
pub(super) fn character(
    component: &Value,
    key: &str,
    unsaid: Option<char>,
) -> Result<char, TokenizerError> {
    let found = match component.get(key) {
        None => unsaid,
        Some(value) => value.as_str().and_then(|text| {
            let mut characters = text.chars();
            characters.next().filter(|_| characters.next().is_none())
        }),
    };
    found.ok_or_else(|| {
        failure!(
            Malformed,
            "tokenizer.json {}: {key} is not one character",
            kind_of(component)
        )
    })
}

pub(super) fn unsupported(what: &str, found: &str) -> TokenizerError {
    failure!(
        Unsupported,
        "tokenizer.json {what} {} is not supported; the model runs on token ids without it",
        Shown(found.as_bytes())
    )
}

/// A piece of text that a step inserts or looks for.
pub(super) fn text(component: &Value, key: &str, what: &str) -> Result<String, TokenizerError> {
    let text = component.get(key).and_then(Value::as_str).ok_or_else(|| {
        failure!(
            Malformed,
            "tokenizer.json {what}: {key} is missing or is no string"
        )
    })?;
    if text.len() > limits::INSERTED_LEN {
        return Err(failure!(
            Limit,
            "tokenizer.json {what}: {key} has {} bytes, expected at most {}",
            text.len(),
            limits::INSERTED_LEN
        ));
    }
    Ok(text.to_string())
}

/// What `{"Regex": …}` or `{"String": …}` under `pattern` looks for.
pub(super) fn matcher(component: &Value, what: &str) -> Result<Matcher, TokenizerError> {
    let pattern = component.get("pattern").unwrap_or(&Value::Null);
    match (pattern.get("Regex"), pattern.get("String")) {
        (Some(Value::String(regex)), None) => Matcher::parse(regex).ok_or_else(|| {
            failure!(
                Unsupported,
                "tokenizer.json {what}: the expression {} is not supported; the model runs on \
                 token ids without it",
                Shown(regex.as_bytes())
            )
        }),
        (None, Some(Value::String(_))) => match text(pattern, "String", what)? {
            text if text.is_empty() => Ok(Matcher::Everywhere),
            text => Ok(Matcher::Text(text)),
        },
        _ => Err(failure!(
            Malformed,
            "tokenizer.json {what}: {} without a pattern that is a Regex or a String",
            kind_of(component)
        )),
    }
}

/// The sign of a Metaspace, and where it is put.
pub(super) fn metaspace(component: &Value) -> Result<(char, Prepends), TokenizerError> {
    let sign = character(component, "replacement", Some('▁'))?;
    let unsaid = flag(component, "add_prefix_space", true)?;
    let prepends = match component.get("prepend_scheme") {
        None => match unsaid {
            true => Prepends::All,
            false => Prepends::None,
        },
        Some(Value::String(scheme)) if scheme == "never" => Prepends::None,
        Some(_) if !unsaid => {
            return Err(failure!(
                Malformed,
                "tokenizer.json Metaspace: add_prefix_space is false, but prepend_scheme is not \
                 \"never\""
            ));
        }
        Some(Value::String(scheme)) if scheme == "always" => Prepends::All,
        Some(Value::String(scheme)) if scheme == "first" => Prepends::First,
        Some(other) => {
            let other = other.to_string();
            return Err(unsupported("Metaspace prepend_scheme", &other));
        }
    };
    Ok((sign, prepends))
}

pub(super) fn id_of(value: &Value) -> Option<u32> {
    value
        .as_u64()
        .and_then(|id| u32::try_from(id).ok())
        .filter(|&id| usize::try_from(id).is_ok_and(|id| id < limits::TOKENS))
}
