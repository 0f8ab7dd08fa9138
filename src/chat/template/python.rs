//! What operators do with values, as Python's do.

use super::budget::{Bounded, Charge, TextWriter, fault, look, spend};
use super::numbers::{PyNumber, floats, integers};
use super::value::{List, ListKind, PyValue};
use super::write::type_name;
use std::cmp::Ordering;
use std::rc::Rc;

/// Refuses what is undefined, with what that says of itself.
pub(super) fn defined(value: &PyValue) -> Bounded<()> {
    match value {
        PyValue::Undefined(what) => fault(&**what),
        _ => Ok(()),
    }
}

impl PyValue {
    pub(super) fn is_true(&self) -> bool {
        match self {
            PyValue::Undefined(_) | PyValue::None => false,
            PyValue::Bool(value) => *value,
            PyValue::Int(value) => *value != 0,
            PyValue::Float(value) => *value != 0.0,
            PyValue::Str(_) => self.as_str().is_some_and(|text| !text.is_empty()),
            PyValue::List(list) => !list.items.is_empty(),
            PyValue::Dict(dict) => !dict.entries.is_empty(),
            _ => true,
        }
    }

    pub(super) fn int(&self) -> Option<i128> {
        match self {
            PyValue::Int(value) => Some(*value),
            PyValue::Bool(value) => Some(i128::from(*value)),
            _ => None,
        }
    }

    /// The integer that a filter or method is to be given.
    pub(super) fn index(&self) -> Bounded<i128> {
        defined(self)?;
        match self.int() {
            Some(value) => Ok(value),
            None => fault(format!("expected an integer, found {}", type_name(self))),
        }
    }

    pub(super) fn float(&self) -> Option<f64> {
        PyNumber::of(self).map(|number| number.float())
    }

    /// A copy, of a number or text or the like: its `str`.
    pub(super) fn to_text(&self) -> Bounded<PyValue> {
        if let PyValue::Str(_) = self {
            return Ok(self.clone());
        }
        let mut writer = TextWriter::new();
        writer.push_value(self)?;
        writer.finish()
    }

    /// How many entries or characters it has.
    pub(super) fn len(&self) -> Bounded<usize> {
        match self {
            PyValue::Undefined(_) => Ok(0),
            PyValue::List(list) => Ok(list.items.len()),
            PyValue::Dict(dict) => Ok(dict.entries.len()),
            PyValue::Loop(state) => Ok(state.items.items.len()),
            _ => match self.as_str() {
                Some(text) => {
                    look(text.len())?;
                    Ok(text.chars().count())
                }
                None => fault(format!("a value of type {} has no length", type_name(self))),
            },
        }
    }

    /// What a loop over it is given.
    pub(super) fn items(&self) -> Bounded<Rc<List>> {
        let items = match self {
            PyValue::List(list) => return Ok(list.clone()),
            PyValue::Undefined(_) => Vec::new(),
            PyValue::Dict(dict) => dict.entries.iter().map(|(key, _)| key.clone()).collect(),
            PyValue::Iterator(iterator) => iterator.take(),
            PyValue::Str(_) => {
                let text = self.as_str().unwrap_or_default();
                let mut characters = Vec::new();
                let mut buffer = [0; 4];
                for char in text.chars() {
                    characters.push(PyValue::text(char.encode_utf8(&mut buffer))?);
                }
                characters
            }
            _ => {
                return fault(format!(
                    "a value of type {} cannot be looped over",
                    type_name(self)
                ));
            }
        };
        List::new(ListKind::List, items)
    }

    /// What stands under a key, an index or, for dictionaries, any value.
    pub(super) fn item(&self, key: &PyValue) -> Bounded<Option<PyValue>> {
        match self {
            PyValue::Undefined(what) => fault(&**what),
            PyValue::Dict(dict) => {
                if !key.is_hashable() {
                    return Ok(None);
                }
                if let Some(name) = key.as_str() {
                    spend(1 + dict.entries.len() / 8)?;
                    let found = dict
                        .entries
                        .iter()
                        .find(|(key, _)| key.as_str() == Some(name));
                    return Ok(found.map(|(_, value)| value.clone()));
                }
                for (known, value) in &dict.entries {
                    if known.equals(key)? {
                        return Ok(Some(value.clone()));
                    }
                }
                Ok(None)
            }
            PyValue::List(list) if list.kind.is_indexed() => {
                let index = key.int().and_then(|index| place(index, list.items.len()));
                Ok(index.and_then(|index| list.items.get(index)).cloned())
            }
            PyValue::Str(_) => {
                let text = self.as_str().unwrap_or_default();
                let Some(index) = key.int() else {
                    return Ok(None);
                };
                let Some(index) = place(index, self.len()?) else {
                    return Ok(None);
                };
                let char = text.chars().nth(index);
                char.map(|char| PyValue::text(char.encode_utf8(&mut [0; 4])))
                    .transpose()
            }
            _ => Ok(None),
        }
    }

    /// Python's slices.
    pub(super) fn slice(&self, bounds: [Option<i128>; 3]) -> Bounded<PyValue> {
        defined(self)?;
        let len = match self {
            PyValue::Str(_) => self.len()?,
            PyValue::List(list) if list.kind.is_indexed() => list.items.len(),
            _ => {
                return fault(format!(
                    "a value of type {} cannot be sliced",
                    type_name(self)
                ));
            }
        };
        let step = bounds[2].unwrap_or(1);
        if step == 0 {
            return fault("slice step cannot be zero");
        }
        let len = len as i128;
        let bound = |bound: Option<i128>, default: i128| match bound {
            None => default,
            Some(at) => {
                let at = if at < 0 { at.saturating_add(len) } else { at };
                let (least, most) = if step > 0 { (0, len) } else { (-1, len - 1) };
                at.clamp(least, most)
            }
        };
        let (first, last) = if step > 0 { (0, len) } else { (len - 1, -1) };
        let (from, to) = (bound(bounds[0], first), bound(bounds[1], last));
        // At most `len` places, and none outside of the value.
        let places = std::iter::successors(Some(from), |at| at.checked_add(step))
            .take_while(|at| if step > 0 { *at < to } else { *at > to });
        let sliced = match self {
            PyValue::List(list) => {
                let mut items = Vec::new();
                for at in places {
                    items.extend(list.items.get(at as usize).cloned());
                }
                let kind = match list.kind {
                    ListKind::Tuple | ListKind::Group => ListKind::Tuple,
                    _ => ListKind::List,
                };
                PyValue::list(kind, items)
            }
            _ => {
                let text = self.as_str().unwrap_or_default();
                let mut writer = TextWriter::new();
                if step == 1 {
                    let at = |place: i128| {
                        let mut starts = text.char_indices().map(|(start, _)| start);
                        starts.nth(place as usize).unwrap_or(text.len())
                    };
                    writer.push(text.get(at(from)..at(to.max(from))).unwrap_or_default())?;
                } else {
                    let _charge = Charge::new(text.len().saturating_mul(4))?;
                    let chars: Vec<char> = text.chars().collect();
                    for at in places {
                        writer.push_char(chars.get(at as usize).copied().unwrap_or_default())?;
                    }
                }
                writer.finish()
            }
        };
        if self.is_safe() {
            sliced?.into_safe()
        } else {
            sliced
        }
    }

    pub(super) fn equals(&self, other: &PyValue) -> Bounded<bool> {
        spend(1)?;
        if let (Some(left), Some(right)) = (PyNumber::of(self), PyNumber::of(other)) {
            return Ok(match (left, right) {
                (PyNumber::Int(left), PyNumber::Int(right)) => left == right,
                (left, right) => left.float() == right.float(),
            });
        }
        Ok(match (self, other) {
            (PyValue::Undefined(_), PyValue::Undefined(_)) | (PyValue::None, PyValue::None) => true,
            (PyValue::Str(left), PyValue::Str(right)) if Rc::ptr_eq(left, right) => true,
            (PyValue::Str(_), PyValue::Str(_)) => {
                let text = self.as_str().unwrap_or_default();
                look(text.len())?;
                Some(text) == other.as_str()
            }
            (PyValue::List(left), PyValue::List(right)) => {
                if Rc::ptr_eq(left, right) {
                    return Ok(true);
                }
                if left.kind != right.kind && !(left.kind.is_tuple() && right.kind.is_tuple())
                    || left.items.len() != right.items.len()
                {
                    return Ok(false);
                }
                for (left, right) in left.items.iter().zip(&right.items) {
                    if !left.equals(right)? {
                        return Ok(false);
                    }
                }
                true
            }
            (PyValue::Dict(left), PyValue::Dict(right)) => {
                if Rc::ptr_eq(left, right) {
                    return Ok(true);
                }
                if left.entries.len() != right.entries.len() {
                    return Ok(false);
                }
                for (key, value) in &left.entries {
                    match other.item(key)? {
                        Some(found) if value.equals(&found)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (PyValue::Namespace(left), PyValue::Namespace(right)) => Rc::ptr_eq(left, right),
            (PyValue::Iterator(left), PyValue::Iterator(right)) => Rc::ptr_eq(left, right),
            (PyValue::Macro(left), PyValue::Macro(right)) => Rc::ptr_eq(left, right),
            (PyValue::Function(left), PyValue::Function(right)) => left == right,
            _ => false,
        })
    }

    /// Python's order; `operator` is named where there is none.
    pub(super) fn order(&self, other: &PyValue, operator: &str) -> Bounded<Option<Ordering>> {
        spend(1)?;
        if let (Some(left), Some(right)) = (PyNumber::of(self), PyNumber::of(other)) {
            return Ok(match (left, right) {
                (PyNumber::Int(left), PyNumber::Int(right)) => Some(left.cmp(&right)),
                (left, right) => left.float().partial_cmp(&right.float()),
            });
        }
        match (self, other) {
            (PyValue::Str(_), PyValue::Str(_)) => {
                let text = self.as_str().unwrap_or_default();
                look(text.len())?;
                Ok(Some(text.cmp(other.as_str().unwrap_or_default())))
            }
            (PyValue::List(left), PyValue::List(right))
                if left.kind == right.kind && left.kind.is_sequence() =>
            {
                for (left, right) in left.items.iter().zip(&right.items) {
                    if !left.equals(right)? {
                        return left.order(right, operator);
                    }
                }
                Ok(Some(left.items.len().cmp(&right.items.len())))
            }
            _ => {
                defined(self)?;
                defined(other)?;
                fault(format!(
                    "{operator:?} does not compare {} and {}",
                    type_name(self),
                    type_name(other)
                ))
            }
        }
    }

    /// Whether `value in self`.
    pub(super) fn contains(&self, value: &PyValue) -> Bounded<bool> {
        match self {
            PyValue::Str(_) => match value.as_str() {
                Some(part) => {
                    let text = self.as_str().unwrap_or_default();
                    look(text.len())?;
                    Ok(text.contains(part))
                }
                None => {
                    defined(value)?;
                    fault(format!(
                        "a text contains text, not a value of type {}",
                        type_name(value)
                    ))
                }
            },
            PyValue::Dict(_) if !value.is_hashable() => fault(format!(
                "a value of type {} is no key of a dict",
                type_name(value)
            )),
            PyValue::Dict(_) => Ok(self.item(value)?.is_some()),
            _ => {
                for item in &self.items()?.items {
                    if item.equals(value)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    pub(super) fn compare(&self, operator: &str, other: &PyValue) -> Bounded<bool> {
        match operator {
            "==" => self.equals(other),
            "!=" => Ok(!self.equals(other)?),
            "in" => other.contains(self),
            "not in" => Ok(!other.contains(self)?),
            _ => {
                let order = self.order(other, operator)?;
                Ok(match operator {
                    "<" => order == Some(Ordering::Less),
                    ">" => order == Some(Ordering::Greater),
                    "<=" => order.is_some_and(Ordering::is_le),
                    _ => order.is_some_and(Ordering::is_ge),
                })
            }
        }
    }

    pub(super) fn arithmetic(&self, operator: &str, other: &PyValue) -> Bounded<PyValue> {
        // A text may be a format, whatever follows.
        if let (Some(format), "%") = (self.as_str(), operator) {
            if self.is_safe() {
                return fault("a format that is safe is not supported");
            }
            return super::percent::percent(format, other);
        }
        defined(self)?;
        defined(other)?;
        if let (Some(left), Some(right)) = (PyNumber::of(self), PyNumber::of(other)) {
            return match (left, right) {
                (PyNumber::Int(left), PyNumber::Int(right)) => integers(operator, left, right),
                (left, right) => floats(operator, left.float(), right.float()),
            };
        }
        match (operator, self, other) {
            ("+", PyValue::Str(_), PyValue::Str(_)) => {
                let safe = self.is_safe() || other.is_safe();
                let mut writer = TextWriter::new();
                for part in [self, other] {
                    match safe && !part.is_safe() {
                        true => writer.push_escaped(part.as_str().unwrap_or_default())?,
                        false => writer.push_value(part)?,
                    }
                }
                let sum = writer.finish()?;
                if safe { sum.into_safe() } else { Ok(sum) }
            }
            ("+", PyValue::List(left), PyValue::List(right))
                if left.kind == right.kind && left.kind.is_sequence() =>
            {
                PyValue::list(left.kind, [&left.items[..], &right.items[..]].concat())
            }
            ("*", _, _) if self.is_repeated() && other.int().is_some() => self.repeated(other),
            ("*", _, _) if other.is_repeated() && self.int().is_some() => other.repeated(self),
            _ => fault(format!(
                "{operator:?} does not take {} and {}",
                type_name(self),
                type_name(other)
            )),
        }
    }

    fn is_repeated(&self) -> bool {
        match self {
            PyValue::Str(_) => true,
            PyValue::List(list) => list.kind.is_sequence(),
            _ => false,
        }
    }

    fn repeated(&self, times: &PyValue) -> Bounded<PyValue> {
        let times = usize::try_from(times.index()?.max(0)).unwrap_or(usize::MAX);
        match self {
            PyValue::List(list) => {
                // Refused before it is built.
                let len = list.items.len().saturating_mul(times);
                drop(Charge::new(len.saturating_mul(96))?);
                let items = std::iter::repeat_n(&list.items, if len == 0 { 0 } else { times });
                PyValue::list(list.kind, items.flatten().cloned().collect())
            }
            _ => {
                let mut writer = TextWriter::new();
                let text = self.as_str().unwrap_or_default();
                writer.repeat(text, if text.is_empty() { 0 } else { times })?;
                writer.finish()
            }
        }
    }

    pub(super) fn negated(&self) -> Bounded<PyValue> {
        defined(self)?;
        match PyNumber::of(self) {
            Some(PyNumber::Int(value)) => integers("-", 0, value),
            Some(PyNumber::Float(value)) => Ok(PyValue::Float(-value)),
            None => fault(format!("\"-\" does not take {}", type_name(self))),
        }
    }
}

/// An index from either end.
fn place(index: i128, len: usize) -> Option<usize> {
    let index = if index < 0 {
        index.checked_add(len as i128)?
    } else {
        index
    };
    usize::try_from(index).ok().filter(|index| *index < len)
}
