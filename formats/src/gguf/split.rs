//! Models split into several GGUF files: `name-00001-of-00003.gguf` and so on. The first has the
//! metadata; each has its number, the number of files, and the number of tensors of all files.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{ARCHITECTURE_KEY, Gguf, unexpected_type};
use crate::error::{ErrorKind, FormatError, Quoted};
use crate::limits;
use crate::manifest::{Container, Manifest, Metadata, by_name};

const NUMBER_KEY: &str = "split.no";
const COUNT_KEY: &str = "split.count";
const TENSORS_KEY: &str = "split.tensors.count";

/// A file's place in a split model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// This file's number, from zero.
    pub number: u32,
    /// Files in all.
    pub count: u32,
    /// Tensors in all files together, if this file says so.
    pub tensors: Option<u64>,
}

/// What the metadata says about splitting.
pub(super) fn split(metadata: &Metadata) -> Result<Option<Split>, FormatError> {
    let number = |key| match (metadata.value(key), metadata.u64(key)) {
        (None, _) => Ok(None),
        (_, Some(number)) => Ok(Some(number)),
        (Some(value), None) => {
            let found = value.type_name();
            Err(unexpected_type(
                key,
                found,
                "a count (an integer that is not negative)",
            ))
        }
    };
    let (no, count, tensors) = (
        number(NUMBER_KEY)?,
        number(COUNT_KEY)?,
        number(TENSORS_KEY)?,
    );
    let count = match count {
        // Files never split carry zero or one.
        None | Some(0 | 1) => return Ok(None),
        Some(count) => u32::try_from(count)
            .ok()
            .filter(|count| *count <= limits::FILES)
            .ok_or_else(|| {
                let limit = limits::FILES;
                FormatError::new(
                    ErrorKind::Limit,
                    None,
                    format!("key \"{COUNT_KEY}\" is {count}, at most {limit} files are accepted"),
                )
            })?,
    };
    let Some(no) = no else {
        return Err(FormatError::new(
            ErrorKind::Missing,
            None,
            format!("key \"{NUMBER_KEY}\" is missing in a file that has \"{COUNT_KEY}\""),
        ));
    };
    let number = u32::try_from(no)
        .ok()
        .filter(|number| *number < count)
        .ok_or_else(|| {
            FormatError::new(
                ErrorKind::Value,
                None,
                format!("key \"{NUMBER_KEY}\" is {no}, expected less than \"{COUNT_KEY}\" {count}"),
            )
        })?;
    Ok(Some(Split {
        number,
        count,
        tensors,
    }))
}

/// Joins the files of a model, in order, into one manifest; a model in one file is a list of one.
/// Each tensor's [`crate::manifest::TensorInfo::file`] becomes its file's place in the list.
///
/// # Errors
/// No files, one missing or out of order, a tensor in two files, another number of tensors than
/// announced, or no architecture.
pub fn merge(files: Vec<Gguf>) -> Result<Manifest, FormatError> {
    expect_sequence(&files)?;
    let announced = files.first().and_then(|first| first.split?.tensors);
    let mut metadata = Metadata::default();
    let mut tensors = Vec::new();
    for (number, file) in (0u32..).zip(files) {
        if number == 0 {
            metadata = file.metadata;
        }
        tensors.extend(file.tensors.into_iter().map(|(name, mut info)| {
            info.file = number;
            (name, info)
        }));
    }
    let tensors = by_name(tensors).map_err(|(name, infos)| {
        let [first, second] = infos.map(|info| u64::from(info.file) + 1);
        FormatError::new(
            ErrorKind::Duplicate,
            None,
            format!(
                "tensor {} is in split {} and again in split {}",
                Quoted(&name),
                first.min(second),
                first.max(second)
            ),
        )
    })?;
    if let Some(announced) = announced.filter(|announced| *announced != tensors.len() as u64) {
        return Err(FormatError::new(
            ErrorKind::Missing,
            None,
            format!(
                "key \"{TENSORS_KEY}\" announces {announced} tensors, the files hold {}",
                tensors.len()
            ),
        ));
    }
    // These keys describe the first file, not the model.
    for key in [NUMBER_KEY, COUNT_KEY, TENSORS_KEY] {
        metadata.0.remove(key);
    }
    Ok(Manifest {
        architecture: architecture(&metadata)?,
        container: Container::Gguf,
        metadata,
        blanks: BTreeMap::new(),
        tensors,
        unsupported: BTreeMap::new(),
        lacking: BTreeMap::new(),
    })
}

fn expect_sequence(files: &[Gguf]) -> Result<(), FormatError> {
    let missing = |what| Err(FormatError::new(ErrorKind::Missing, None, what));
    let Some(first) = files.first() else {
        return missing("no GGUF file was given".to_owned());
    };
    let count = first.split.map_or(1, |split| split.count);
    for (number, file) in (0u32..).zip(files) {
        let found = file
            .split
            .map_or((0, 1), |split| (split.number, split.count));
        if found != (number, count) {
            return Err(FormatError::new(
                ErrorKind::Value,
                None,
                format!(
                    "file {} of {count} says it is split {} of {} (keys \"{NUMBER_KEY}\" and \
                     \"{COUNT_KEY}\"): give all files of one model, in order",
                    u64::from(number) + 1,
                    u64::from(found.0) + 1,
                    found.1
                ),
            ));
        }
    }
    if files.len() as u64 != u64::from(count) {
        return missing(format!(
            "the model is split into {count} files (key \"{COUNT_KEY}\"), {} were given: those that \
             belong together are found by names that end in -00001-of-{count:05}.gguf",
            files.len()
        ));
    }
    Ok(())
}

fn architecture(metadata: &Metadata) -> Result<String, FormatError> {
    match (
        metadata.value(ARCHITECTURE_KEY),
        metadata.str(ARCHITECTURE_KEY),
    ) {
        (_, Some(name)) => Ok(name.to_owned()),
        (Some(value), None) => Err(unexpected_type(
            ARCHITECTURE_KEY,
            value.type_name(),
            "a string",
        )),
        (None, None) => Err(FormatError::new(
            ErrorKind::Missing,
            None,
            format!("key \"{ARCHITECTURE_KEY}\" is missing: the file does not say what it is"),
        )),
    }
}

/// The names of all files of a split model, in order, from the name (or path) of any of them;
/// `None` if the name is not of the form `…-00001-of-00003.gguf`.
pub fn split_names(name: &str) -> Option<Vec<String>> {
    let stem = name.strip_suffix(".gguf")?;
    let (stem, count) = stem.rsplit_once("-of-")?;
    let (prefix, number) = stem.rsplit_once('-')?;
    let (number, count) = (five_digits(number)?, five_digits(count)?);
    if number == 0 || number > count || count > limits::FILES {
        return None;
    }
    let name = |number| format!("{prefix}-{number:05}-of-{count:05}.gguf");
    Some((1..=count).map(name).collect())
}

fn five_digits(text: &str) -> Option<u32> {
    let digits = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}
