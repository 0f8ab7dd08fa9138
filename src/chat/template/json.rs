//! JSON as the values of a template: keys keep their order.

use super::budget::{Bounded, fault};
use super::evaluate::insert;
use super::value::{ListKind, PyValue};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

pub(super) fn parse(text: &str) -> Bounded<PyValue> {
    let parsed: Result<PyValue, serde_json::Error> = serde_json::from_str(text);
    parsed.or_else(|error| fault(format!("the conversation is no JSON: {error}")))
}

impl<'de> Deserialize<'de> for PyValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PyValue, D::Error> {
        deserializer.deserialize_any(Values)
    }
}

struct Values;

fn made<E: Error>(value: Bounded<PyValue>) -> Result<PyValue, E> {
    value.map_err(|halt| E::custom(halt.what))
}

impl<'de> Visitor<'de> for Values {
    type Value = PyValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<PyValue, E> {
        Ok(PyValue::None)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<PyValue, E> {
        Ok(PyValue::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<PyValue, E> {
        Ok(PyValue::Int(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<PyValue, E> {
        Ok(PyValue::Int(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<PyValue, E> {
        Ok(PyValue::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<PyValue, E> {
        made(PyValue::text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<PyValue, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = entries.next_element()? {
            items.push(item);
        }
        made(PyValue::list(ListKind::List, items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PyValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key()? {
            let value = map.next_value()?;
            insert(&mut entries, key, value).map_err(|halt| A::Error::custom(halt.what))?;
        }
        made(PyValue::dict(entries))
    }
}
