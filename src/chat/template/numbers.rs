//! Python's numbers: their arithmetic, their texts, and the filters that make them.

use super::arguments::{Given, int};
use super::budget::{Bounded, Charge, fault, look_closely};
use super::lexer::is_space;
use super::python::defined;
use super::value::PyValue;
use super::write::type_name;

/// A number for arithmetic: Python's bool is an int.
pub(super) enum PyNumber {
    Int(i128),
    Float(f64),
}

impl PyNumber {
    pub(super) fn of(value: &PyValue) -> Option<PyNumber> {
        match value {
            PyValue::Bool(value) => Some(PyNumber::Int(i128::from(*value))),
            PyValue::Int(value) => Some(PyNumber::Int(*value)),
            PyValue::Float(value) => Some(PyNumber::Float(*value)),
            _ => None,
        }
    }

    pub(super) fn float(&self) -> f64 {
        match self {
            PyNumber::Int(value) => *value as f64,
            PyNumber::Float(value) => *value,
        }
    }
}

pub(super) fn integers(operator: &str, left: i128, right: i128) -> Bounded<PyValue> {
    if right == 0 && matches!(operator, "/" | "//" | "%") {
        return fault("division by zero");
    }
    let floor = |left: i128, right: i128| {
        let quotient = left.checked_div(right)?;
        let inexact = left.checked_rem(right)? != 0;
        Some(quotient - i128::from(inexact && (left < 0) != (right < 0)))
    };
    let result = match operator {
        "+" => left.checked_add(right),
        "-" => left.checked_sub(right),
        "*" => left.checked_mul(right),
        "/" => return floats("/", left as f64, right as f64),
        "//" => floor(left, right),
        "%" => {
            floor(left, right).and_then(|quotient| left.checked_sub(quotient.checked_mul(right)?))
        }
        _ if right < 0 => return floats("**", left as f64, right as f64),
        _ => u32::try_from(right)
            .ok()
            .and_then(|right| left.checked_pow(right)),
    };
    match result {
        Some(value) => Ok(PyValue::Int(value)),
        None => fault(format!("{left} {operator} {right} is too large a number")),
    }
}

pub(super) fn floats(operator: &str, left: f64, right: f64) -> Bounded<PyValue> {
    if right == 0.0 && matches!(operator, "/" | "//" | "%")
        || operator == "**" && left == 0.0 && right < 0.0
    {
        return fault("division by zero");
    }
    let modulo = || {
        let rest = left % right;
        match rest != 0.0 && (rest < 0.0) != (right < 0.0) {
            true => rest + right,
            false if rest == 0.0 => f64::copysign(0.0, right),
            false => rest,
        }
    };
    Ok(PyValue::Float(match operator {
        "+" => left + right,
        "-" => left - right,
        "*" => left * right,
        "/" => left / right,
        "//" => ((left - modulo()) / right).round(),
        "%" => modulo(),
        _ => match left.powf(right) {
            power if power.is_infinite() && left.is_finite() && right.is_finite() => {
                return fault(format!("{left} ** {right} is too large a number"));
            }
            power => power,
        },
    }))
}

/// `value | int(given)`
pub(super) fn to_int(value: &PyValue, given: Given) -> Bounded<PyValue> {
    let [default, base] = given.of("int", ["default", "base"])?;
    defined(value)?;
    let truncated = |value: f64| (value.is_finite() && value.abs() < 1e36).then_some(value as i128);
    let parsed = match value {
        PyValue::Float(value) => truncated(*value),
        _ => match value.as_str() {
            Some(text) => {
                look_closely(text.len())?;
                let _charge = Charge::new(text.len().saturating_mul(3))?;
                let base = u32::try_from(int(&base, 10)?).unwrap_or(10);
                parse_int(text, base).or_else(|| parse_float(text).and_then(truncated))
            }
            None => value.int(),
        },
    };
    Ok(parsed.map_or_else(|| default.unwrap_or(PyValue::Int(0)), PyValue::Int))
}

fn parse_int(text: &str, base: u32) -> Option<i128> {
    let text = text.trim_matches(is_space);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let prefix = match base {
        16 => "0x",
        8 => "0o",
        2 => "0b",
        _ => "",
    };
    let digits = lower.strip_prefix(prefix).unwrap_or(&lower);
    if digits.starts_with(['_', '+', '-'])
        || digits.ends_with('_')
        || digits.contains("__")
        || !(2..=36).contains(&base)
    {
        return None;
    }
    let value = i128::from_str_radix(&digits.replace('_', ""), base).ok()?;
    Some(if negative { -value } else { value })
}

pub(super) fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim_matches(is_space);
    match text.starts_with('_') || text.ends_with('_') || text.contains("__") {
        true => None,
        false => text.replace('_', "").parse().ok(),
    }
}

/// `value | round(given)`
pub(super) fn round(value: &PyValue, given: Given) -> Bounded<PyValue> {
    let [precision, method] = given.of("round", ["precision", "method"])?;
    defined(value)?;
    let precision = int(&precision, 0)?.clamp(-400, 400) as i32;
    let method = method
        .as_ref()
        .and_then(PyValue::as_str)
        .unwrap_or("common");
    if let (Some(_), "common", 0..) = (value.int(), method, precision) {
        return Ok(PyValue::Int(value.index()?));
    }
    let Some(number) = value.float() else {
        return fault(format!("round does not take {}", type_name(value)));
    };
    let scale = 10f64.powi(precision);
    if let (Some(whole), "common") = (value.int(), method) {
        // Below the point, and as a whole number; half goes to the even one.
        let Some(unit) = 10i128.checked_pow(precision.unsigned_abs()) else {
            return Ok(PyValue::Int(0));
        };
        let (down, rest) = (whole.div_euclid(unit), whole.rem_euclid(unit));
        let up = 2 * rest > unit || 2 * rest == unit && down % 2 != 0;
        let rounded = (down + i128::from(up)).checked_mul(unit);
        return rounded.map_or_else(|| fault("a number is too large"), |it| Ok(PyValue::Int(it)));
    }
    Ok(PyValue::Float(match method {
        "common" if precision >= 0 => {
            let places = precision as usize;
            format!("{number:.places$}").parse().unwrap_or(number)
        }
        "common" => (number * scale).round_ties_even() / scale,
        // They make an integer, which has no negative zero.
        "ceil" => ((number * scale).ceil() + 0.0) / scale,
        "floor" => ((number * scale).floor() + 0.0) / scale,
        _ => return fault("round goes by \"common\", \"ceil\" or \"floor\""),
    }))
}
