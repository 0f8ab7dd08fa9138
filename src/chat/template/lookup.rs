//! What stands under a name in a value: attributes first or entries first, as jinja2 has it.

use super::budget::{Bounded, shown};
use super::methods;
use super::python::defined;
use super::syntax::MacroNode;
use super::value::{ListKind, Loop, PyValue};
use super::write::type_name;
use std::rc::Rc;

/// `value.name`
pub(super) fn attribute(value: &PyValue, name: &PyValue) -> Bounded<PyValue> {
    let text = name.as_str().unwrap_or_default();
    match of_type(value, text)? {
        Some(found) => Ok(found),
        None => Ok(value.item(name)?.unwrap_or_else(|| missing(value, text))),
    }
}

/// `value[key]`
pub(super) fn item(value: &PyValue, key: &PyValue) -> Bounded<PyValue> {
    match (value.item(key)?, key.as_str()) {
        (Some(found), _) => Ok(found),
        (None, Some(name)) => own(value, name),
        (None, None) => {
            let what = format!("a value of type {} has no such entry", type_name(value));
            Ok(PyValue::undefined(what))
        }
    }
}

/// `value | attr(name)`
pub(super) fn own(value: &PyValue, name: &str) -> Bounded<PyValue> {
    Ok(of_type(value, name)?.unwrap_or_else(|| missing(value, name)))
}

fn missing(value: &PyValue, name: &str) -> PyValue {
    let name = shown(name);
    PyValue::undefined(format!(
        "a value of type {} has no attribute {name:?}",
        type_name(value)
    ))
}

/// What a value's type gives it: a method, a loop's counters, what a namespace holds.
fn of_type(value: &PyValue, name: &str) -> Bounded<Option<PyValue>> {
    defined(value)?;
    Ok(match value {
        PyValue::Namespace(namespace) => namespace.attribute(name)?,
        PyValue::Loop(state) => of_loop(state, name),
        PyValue::Cycler(cycler) if name == "current" => cycler.current(),
        PyValue::List(list) if list.kind == ListKind::Group => match name {
            "grouper" => list.items.first().cloned(),
            "list" => list.items.get(1).cloned(),
            _ => methods::find(value, name),
        },
        PyValue::Macro(found) => of_macro(&found.node, name)?,
        PyValue::Float(_) | PyValue::Int(_) | PyValue::Bool(_) => match (name, value.int()) {
            ("real" | "numerator", Some(whole)) => Some(PyValue::Int(whole)),
            ("real", None) => Some(value.clone()),
            ("imag", Some(_)) => Some(PyValue::Int(0)),
            ("imag", None) => Some(PyValue::Float(0.0)),
            ("denominator", Some(_)) => Some(PyValue::Int(1)),
            _ => methods::find(value, name),
        },
        _ => methods::find(value, name),
    })
}

fn of_macro(node: &MacroNode, name: &str) -> Bounded<Option<PyValue>> {
    Ok(Some(match name {
        "name" => PyValue::text(&node.name)?,
        "arguments" => {
            let names = node.parameters.iter().map(|(name, _)| PyValue::text(name));
            PyValue::list(ListKind::Tuple, names.collect::<Bounded<Vec<PyValue>>>()?)?
        }
        "caller" => PyValue::Bool(node.uses.caller),
        "catch_kwargs" => PyValue::Bool(node.uses.kwargs),
        "catch_varargs" => PyValue::Bool(node.uses.varargs),
        _ => return Ok(None),
    }))
}

fn of_loop(state: &Rc<Loop>, name: &str) -> Option<PyValue> {
    let (index, len) = (state.index.get(), state.items.items.len());
    let number = |value: usize| Some(PyValue::Int(value as i128));
    let neighbour = |place: Option<usize>, what: &str| {
        let found = place
            .and_then(|place| state.items.items.get(place))
            .cloned();
        Some(found.unwrap_or_else(|| PyValue::undefined(format!("there is no {what} item"))))
    };
    match name {
        "index" => number(index + 1),
        "index0" => number(index),
        "revindex" => number(len.saturating_sub(index)),
        "revindex0" => number(len.saturating_sub(index + 1)),
        "first" => Some(PyValue::Bool(index == 0)),
        "last" => Some(PyValue::Bool(index + 1 == len)),
        "length" => number(len),
        "depth" => number(state.level + 1),
        "depth0" => number(state.level),
        "previtem" => neighbour(index.checked_sub(1), "previous"),
        "nextitem" => neighbour(index.checked_add(1), "next"),
        "cycle" | "changed" => {
            let name = if name == "cycle" { "cycle" } else { "changed" };
            Some(PyValue::Method(Rc::new((
                PyValue::Loop(state.clone()),
                name,
            ))))
        }
        _ => None,
    }
}
