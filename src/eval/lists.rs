//! Lists of lists of numbers, as inputs hold them.

use crate::error::RunError;
use serde_json::Value as Json;

/// The length of the first list of a list of lists of lists.
pub(super) fn choices_of(value: &Json) -> Option<usize> {
    let first = value.as_array()?.first()?.as_array()?;
    first.first()?.as_array().map(|_| first.len())
}

/// Lists of `choices` lists each, as one list of all of them.
pub(super) fn joined(key: &str, value: &Json, choices: usize) -> Result<Json, RunError> {
    let lists = value.as_array().map_or(&[][..], Vec::as_slice);
    let lists = lists.iter().map(|list| {
        let list = list.as_array().filter(|list| list.len() == choices);
        list.map(Vec::as_slice)
    });
    let lists: Option<Vec<&[Json]>> = lists.collect();
    match lists {
        Some(lists) => Ok(lists.concat().into()),
        None => Err(RunError::Input(format!(
            "key {key:?}: expected lists of {choices} lists each, as the first of input_ids"
        ))),
    }
}

/// A list of equally long lists of numbers; a flat list counts as one of them.
pub(super) fn matrix(key: &str, value: &Json) -> Result<Vec<Vec<u32>>, RunError> {
    let bad = |what: String| RunError::Input(format!("key {key:?}: {what}"));
    let Json::Array(outer) = value else {
        return Err(bad("expected a list of lists of numbers".into()));
    };
    let number = |value: &Json| {
        let number = value.as_u64().or_else(|| value.as_bool().map(u64::from));
        number.and_then(|number| u32::try_from(number).ok())
    };
    let line = |values: &[Json]| -> Result<Vec<u32>, RunError> {
        let numbers = values.iter().map(|value| {
            number(value).ok_or_else(|| bad(format!("found {value}, expected a number from 0 on")))
        });
        numbers.collect()
    };
    let lines = if outer.iter().any(Json::is_array) {
        let lines = outer.iter().map(|value| match value {
            Json::Array(values) => line(values),
            other => Err(bad(format!("found {other} among lists"))),
        });
        lines.collect::<Result<Vec<_>, _>>()?
    } else {
        vec![line(outer)?]
    };
    let width = lines.first().map_or(0, Vec::len);
    if width == 0 {
        return Err(bad("is empty".into()));
    }
    match lines.iter().position(|line| line.len() != width) {
        Some(odd) => Err(bad(format!(
            "row {odd} has {} numbers, row 0 has {width}: pad them and give attention_mask",
            lines[odd].len()
        ))),
        None => Ok(lines),
    }
}

/// Lengths that cut `width` positions.
pub(super) fn segments(lines: &[Vec<u32>], width: usize) -> Result<Vec<usize>, RunError> {
    let bad = |what: String| Err(RunError::Input(format!("key \"segment_lengths\": {what}")));
    let [lengths] = lines else {
        return bad("expected one list, the same for all sequences".to_string());
    };
    if lengths.contains(&0) {
        return bad("found 0, expected numbers from 1 on".to_string());
    }
    let sum: u64 = lengths.iter().copied().map(u64::from).sum();
    if sum != width as u64 {
        return bad(format!(
            "they add up to {sum}, the input has {width} positions"
        ));
    }
    Ok(lengths.iter().map(|&length| length as usize).collect())
}

/// That a list of lists has the shape of another.
pub(super) fn same_shape(
    key: &str,
    found: &[Vec<u32>],
    expected: &[Vec<u32>],
) -> Result<(), RunError> {
    let shape = |of: &[Vec<u32>]| (of.len(), of.first().map_or(0, Vec::len));
    if shape(found) == shape(expected) {
        return Ok(());
    }
    let what = format!(
        "key {key:?} has shape {:?}, expected {:?}",
        shape(found),
        shape(expected)
    );
    Err(RunError::Input(what))
}
