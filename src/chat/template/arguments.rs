//! What a function, filter, test or method is called with.

use super::budget::{Bounded, fault};
use super::value::PyValue;
use std::rc::Rc;

#[derive(Default)]
pub(super) struct Given {
    pub(super) plain: Vec<PyValue>,
    pub(super) named: Vec<(Rc<str>, PyValue)>,
}

impl Given {
    /// The arguments of these parameters, as far as they are given; `what` takes no others.
    pub(super) fn of<const N: usize>(
        self,
        what: &str,
        names: [&str; N],
    ) -> Bounded<[Option<PyValue>; N]> {
        if self.plain.len() > N {
            return fault(format!(
                "{what} takes {N} arguments, found {}",
                self.plain.len()
            ));
        }
        let mut plain = self.plain.into_iter();
        let mut values = names.map(|_| plain.next());
        for (name, value) in self.named {
            let place = names.iter().position(|known| **known == *name);
            match place.and_then(|place| values.get_mut(place)) {
                Some(slot @ None) => *slot = Some(value),
                Some(_) => return fault(format!("{what} has two values for {name:?}")),
                None => return fault(format!("{what} has no argument {name:?}")),
            }
        }
        Ok(values)
    }
}

/// A text that must be there.
pub(super) fn text<'a>(value: &'a Option<PyValue>, what: &str) -> Bounded<&'a str> {
    match value {
        Some(value) => {
            super::python::defined(value)?;
            match value.as_str() {
                Some(text) => Ok(text),
                None => fault(format!(
                    "{what} takes a text, not a value of type {}",
                    super::write::type_name(value)
                )),
            }
        }
        None => fault(format!("{what} lacks an argument")),
    }
}

/// An integer, or what stands for it where it is not given.
pub(super) fn int(value: &Option<PyValue>, default: i128) -> Bounded<i128> {
    value.as_ref().map_or(Ok(default), PyValue::index)
}

/// A number of places, at least none.
pub(super) fn count(value: &Option<PyValue>, default: usize) -> Bounded<usize> {
    let given = int(value, default as i128)?.max(0);
    Ok(usize::try_from(given).unwrap_or(usize::MAX))
}

pub(super) fn flag(value: &Option<PyValue>, default: bool) -> bool {
    value.as_ref().map_or(default, PyValue::is_true)
}
