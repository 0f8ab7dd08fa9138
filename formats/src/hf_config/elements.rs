//! Scalars, and the arrays that they make.

use alloc::string::String;
use alloc::vec::Vec;

use crate::manifest::{Array, Strings};

/// A JSON value that is neither object nor array.
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    Float(f64),
    Text(String),
}

/// The elements of an array so far.
pub(super) enum Elements {
    Empty,
    Bools(Vec<bool>),
    Integers(Vec<i64>),
    Floats(Vec<f64>),
    Texts(Strings),
    /// Of several kinds: each has a key of its own.
    Apart,
}

impl Elements {
    /// Appends the scalar, or gives it back if it is of another kind.
    pub(super) fn push(&mut self, scalar: Scalar) -> Result<(), Scalar> {
        if let Elements::Empty = self {
            *self = match scalar {
                Scalar::Null => return Err(scalar),
                Scalar::Bool(_) => Elements::Bools(Vec::new()),
                Scalar::Unsigned(_) | Scalar::Negative(_) => Elements::Integers(Vec::new()),
                Scalar::Float(_) => Elements::Floats(Vec::new()),
                Scalar::Text(_) => Elements::Texts(Strings::default()),
            };
        }
        if let Elements::Integers(numbers) = self {
            let floats = match scalar {
                Scalar::Unsigned(v) => i64::try_from(v).is_err(),
                Scalar::Float(_) => true,
                _ => false,
            };
            if floats {
                *self = Elements::Floats(numbers.iter().map(|v| *v as f64).collect());
            }
        }
        match (self, scalar) {
            (Elements::Bools(values), Scalar::Bool(v)) => values.push(v),
            (Elements::Integers(values), Scalar::Unsigned(v)) => values.push(v.cast_signed()),
            (Elements::Integers(values), Scalar::Negative(v)) => values.push(v),
            (Elements::Floats(values), Scalar::Unsigned(v)) => values.push(v as f64),
            (Elements::Floats(values), Scalar::Negative(v)) => values.push(v as f64),
            (Elements::Floats(values), Scalar::Float(v)) => values.push(v),
            (Elements::Texts(values), Scalar::Text(v)) => values.push(v.as_bytes()),
            (_, scalar) => return Err(scalar),
        }
        Ok(())
    }

    pub(super) fn into_array(self) -> Option<Array> {
        Some(match self {
            Elements::Empty => Array::I64(Vec::new()),
            Elements::Bools(mut values) => {
                values.shrink_to_fit();
                Array::Bool(values)
            }
            Elements::Integers(mut values) => {
                values.shrink_to_fit();
                Array::I64(values)
            }
            Elements::Floats(mut values) => {
                values.shrink_to_fit();
                Array::F64(values)
            }
            Elements::Texts(values) => Array::String(values),
            Elements::Apart => return None,
        })
    }

    pub(super) fn into_scalars(self) -> alloc::boxed::Box<dyn Iterator<Item = Scalar>> {
        use alloc::boxed::Box;
        match self {
            Elements::Empty | Elements::Apart => Box::new(core::iter::empty()),
            Elements::Bools(values) => Box::new(values.into_iter().map(Scalar::Bool)),
            Elements::Integers(values) => Box::new(values.into_iter().map(integer)),
            Elements::Floats(values) => Box::new(values.into_iter().map(Scalar::Float)),
            Elements::Texts(values) => Box::new((0..values.len()).map(move |index| {
                let text = values.get(index).unwrap_or_default();
                Scalar::Text(String::from_utf8_lossy(text).into_owned())
            })),
        }
    }
}

pub(super) fn integer(number: i64) -> Scalar {
    match u64::try_from(number) {
        Ok(number) => Scalar::Unsigned(number),
        Err(_) => Scalar::Negative(number),
    }
}
