//! jinja2's tests: what may stand behind `is`.

use super::arguments::Given;
use super::budget::{Bounded, fault};
use super::filters;
use super::strings::is_cased;
use super::value::PyValue;
use std::rc::Rc;

const NAMES: &[&str] = &[
    "!=",
    "<",
    "<=",
    "==",
    ">",
    ">=",
    "boolean",
    "callable",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];

/// `value is name(given)`
pub(super) fn test(name: &str, value: &PyValue, given: Given) -> Bounded<bool> {
    let operator = match name {
        "eq" | "equalto" | "==" => Some("=="),
        "ne" | "!=" => Some("!="),
        "gt" | "greaterthan" | ">" => Some(">"),
        "ge" | ">=" => Some(">="),
        "lt" | "lessthan" | "<" => Some("<"),
        "le" | "<=" => Some("<="),
        "in" => Some("in"),
        _ => None,
    };
    if let Some(operator) = operator {
        let [other] = given.of(name, ["other"])?;
        return match other {
            Some(other) => value.compare(operator, &other),
            None => fault(format!("the test {name:?} lacks an argument")),
        };
    }
    let [other] = given.of(name, ["other"])?;
    let other = other.unwrap_or(PyValue::None);
    Ok(match name {
        "defined" => !matches!(value, PyValue::Undefined(_)),
        "undefined" => matches!(value, PyValue::Undefined(_)),
        "none" => matches!(value, PyValue::None),
        "boolean" => matches!(value, PyValue::Bool(_)),
        "true" => matches!(value, PyValue::Bool(true)),
        "false" => matches!(value, PyValue::Bool(false)),
        "integer" => matches!(value, PyValue::Int(_)),
        "float" => matches!(value, PyValue::Float(_)),
        "number" => value.float().is_some(),
        "string" => matches!(value, PyValue::Str(_)),
        "mapping" => matches!(value, PyValue::Dict(_)),
        "sequence" => match value {
            PyValue::List(list) => list.kind.is_indexed(),
            PyValue::Undefined(_) | PyValue::Str(_) | PyValue::Dict(_) => true,
            _ => false,
        },
        "iterable" => matches!(
            value,
            PyValue::Undefined(_)
                | PyValue::Str(_)
                | PyValue::Dict(_)
                | PyValue::List(_)
                | PyValue::Iterator(_)
                | PyValue::Loop(_)
        ),
        // An undefined value has Python's `__call__`, which fails.
        "callable" => matches!(
            value,
            PyValue::Undefined(_)
                | PyValue::Macro(_)
                | PyValue::Method(_)
                | PyValue::Function(_)
                | PyValue::Loop(_)
                | PyValue::Joiner(_)
        ),
        "odd" | "even" => {
            let rest = value.arithmetic("%", &PyValue::Int(2))?;
            rest.equals(&PyValue::Int(i128::from(name == "odd")))?
        }
        "divisibleby" => value.arithmetic("%", &other)?.equals(&PyValue::Int(0))?,
        "lower" | "upper" => is_cased(
            value.to_text()?.as_str().unwrap_or_default(),
            name == "upper",
        ),
        "sameas" => is_same(value, &other)?,
        "escaped" => value.is_safe(),
        "filter" => value
            .as_str()
            .is_some_and(|name| filters::NAMES.contains(&name)),
        "test" => value.as_str().is_some_and(|name| NAMES.contains(&name)),
        _ => return fault(format!("no test is named {name:?}")),
    })
}

/// Whether two values are one, as far as Python's `is` can be told.
fn is_same(left: &PyValue, right: &PyValue) -> Bounded<bool> {
    Ok(match (left, right) {
        (PyValue::List(left), PyValue::List(right)) => Rc::ptr_eq(left, right),
        (PyValue::Dict(left), PyValue::Dict(right)) => Rc::ptr_eq(left, right),
        (PyValue::Bool(_), PyValue::Bool(_))
        | (PyValue::Int(_), PyValue::Int(_))
        | (PyValue::Str(_), PyValue::Str(_)) => left.equals(right)?,
        (PyValue::None, PyValue::None) => true,
        (PyValue::Namespace(left), PyValue::Namespace(right)) => Rc::ptr_eq(left, right),
        _ => false,
    })
}
