//! Writes a plan's file: tensors are copied, or decoded and encoded again.

use super::{Draft, QuantizeError, QuantizePlan};
use crate::convert::DraftTensor;
use crate::quant;
use crate::replace::Replacement;
use crate::reserve::{OutOfMemory, filled, list};
use rillm_formats::manifest::DType;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How well a tensor came out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Quality {
    /// Σ (weight − decoded weight)²
    pub error: f64,
    /// Σ weight²
    pub power: f64,
    /// The largest difference.
    pub worst: f64,
}

impl Quality {
    /// Root of the mean squared error over the root of the mean squared weight; zero for zeros.
    pub fn relative(&self) -> f64 {
        if self.power > 0.0 {
            (self.error / self.power).sqrt()
        } else {
            0.0
        }
    }

    /// Of two sets of weights together.
    pub fn and(self, other: Quality) -> Quality {
        Quality {
            error: self.error + other.error,
            power: self.power + other.power,
            worst: self.worst.max(other.worst),
        }
    }
}

/// Weights worked on at a time.
const BATCH: usize = 1 << 21;

/// Writes the file; `done` counts weights. It appears under its name when it is complete.
///
/// # Errors
/// Weights that are not finite, and files that cannot be written.
pub fn write(
    input: &Draft,
    plan: &QuantizePlan,
    to: &Path,
    threads: usize,
    done: &AtomicU64,
) -> Result<Vec<Quality>, QuantizeError> {
    let failed = |error: io::Error| QuantizeError::Io(to.to_path_buf(), error);
    let mut new = Replacement::of_file(to).map_err(failed)?;
    let file = BufWriter::new(new.file());
    let qualities = write_to(input, plan, file, threads, done, &failed)?;
    new.finish().map_err(failed)?;
    Ok(qualities)
}

fn write_to(
    input: &Draft,
    plan: &QuantizePlan,
    mut file: BufWriter<&mut File>,
    threads: usize,
    done: &AtomicU64,
    failed: &impl Fn(io::Error) -> QuantizeError,
) -> Result<Vec<Quality>, QuantizeError> {
    file.write_all(&plan.layout.header).map_err(failed)?;
    let mut qualities = Vec::with_capacity(plan.tensors.len());
    for (index, (tensor, planned)) in input.tensors.iter().zip(&plan.tensors).enumerate() {
        let mut quality = Quality::default();
        if let Some(bytes) = input.stored(tensor).filter(|_| planned.from == planned.to) {
            check_finite(tensor, bytes)?;
            file.write_all(bytes).map_err(failed)?;
            done.fetch_add(planned.elements(), Ordering::Relaxed);
        } else {
            quality = recode(input, tensor, planned.to, threads, done, |bytes| {
                file.write_all(bytes).map_err(failed)
            })?;
        }
        qualities.push(quality);
        let padding = plan.layout.padding(index) as usize;
        file.write_all(&vec![0; padding]).map_err(failed)?;
    }
    file.flush().map_err(failed)?;
    file.get_ref().sync_all().map_err(failed)?;
    Ok(qualities)
}

/// Refuses a tensor that is copied and holds what is no number, or whose blocks do.
fn check_finite(tensor: &DraftTensor, bytes: &[u8]) -> Result<(), QuantizeError> {
    let all_are = match (tensor.dtype, quant::decode(tensor.dtype)) {
        (DType::F32, _) => bytes
            .as_chunks::<4>()
            .0
            .iter()
            .all(|value| f32::from_le_bytes(*value).is_finite()),
        (_, Some(decode)) => {
            let block_len = tensor.dtype.block_len() as usize;
            let weights = tensor.dtype.block_elements() as usize;
            let mut values = vec![0.0; BLOCKS * weights];
            bytes.chunks(BLOCKS * block_len.max(1)).all(|blocks| {
                let count = blocks.len() / block_len.max(1) * weights;
                let values = &mut values[..count];
                decode(blocks, values);
                values.iter().all(|value| value.is_finite())
            })
        }
        (_, None) => true,
    };
    match all_are {
        true => Ok(()),
        false => Err(QuantizeError::Tensor(
            tensor.name.clone(),
            NOT_FINITE.to_string(),
        )),
    }
}

const NOT_FINITE: &str = "has weights that are not finite numbers";

/// Blocks that are decoded at a time to be looked at.
const BLOCKS: usize = 1 << 8;

/// Scales are numbers of this type.
const F16_LARGEST: f32 = 65504.0;

/// Why a share of a tensor could not be encoded.
enum Unfit {
    NotFinite,
    /// A weight that the type cannot hold.
    TooLarge(f32),
}

/// Decodes a tensor and encodes it again, batch by batch: what repeats, once.
fn recode(
    input: &Draft,
    tensor: &DraftTensor,
    to: DType,
    threads: usize,
    done: &AtomicU64,
    mut write: impl FnMut(&[u8]) -> Result<(), QuantizeError>,
) -> Result<Quality, QuantizeError> {
    let columns = tensor.shape.last().copied().unwrap_or(1).max(1) as usize;
    let rows = (tensor.shape.iter().product::<u64>() / columns as u64) as usize;
    let refuse = |what: &str| QuantizeError::Tensor(tensor.name.clone(), what.to_string());
    let (Some(encode), Some(decode), Some(row_len)) = (
        quant::encode(to),
        quant::decode(to),
        to.row_len(columns as u64),
    ) else {
        return Err(refuse(
            "its rows are not whole blocks of the type it is to have",
        ));
    };
    let row_len = row_len as usize;
    let batch = (BATCH / columns).clamp(1, rows.max(1));
    let reserved = |error: OutOfMemory| QuantizeError::Load(error.into());
    let mut values = filled(0.0, batch * columns).map_err(reserved)?;
    let mut again = filled(0.0, batch * columns).map_err(reserved)?;
    let mut bytes = filled(0, batch * row_len).map_err(reserved)?;
    let block = to.block_elements() as usize;
    let mut quality = Quality::default();
    let period = input.period(tensor).filter(|period| *period < rows);
    let fresh = period.unwrap_or(rows);
    let cycled = period.map_or(0, |period| period.saturating_mul(row_len));
    let mut cycle = list(cycled).map_err(reserved)?;
    for first in (0..fresh).step_by(batch) {
        let count = batch.min(fresh - first);
        let share = count.div_ceil(threads.max(1));
        let work = |first: usize, values: &mut [f32], bytes: &mut [u8], again: &mut [f32]| {
            input.read(tensor, first, values);
            if values.iter().any(|value| !value.is_finite()) {
                return Err(Unfit::NotFinite);
            }
            encode(values, bytes);
            decode(bytes, again);
            if again.iter().any(|value| !value.is_finite()) {
                // A scale that is too large spoils its whole block: the largest weight made it so.
                let pairs = values.iter().zip(&*again);
                let spoiled = pairs.filter(|(_, again)| !again.is_finite());
                let largest = spoiled.map(|(value, _)| *value);
                let largest = largest.max_by(|a, b| a.abs().total_cmp(&b.abs()));
                return Err(Unfit::TooLarge(largest.unwrap_or_default()));
            }
            // Or an encoder that finds no scale for it leaves zeros: the largest of a block is none.
            let blocks = values.chunks(block).zip(again.chunks(block));
            let largest = blocks.filter_map(|(values, again)| {
                let pairs = values.iter().zip(again);
                pairs.max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()))
            });
            let mut lost =
                largest.filter(|(value, again)| **again == 0.0 && value.abs() > F16_LARGEST);
            if let Some((&value, _)) = lost.next() {
                return Err(Unfit::TooLarge(value));
            }
            let pairs = values.iter().zip(&*again);
            let quality = pairs.fold(Quality::default(), |quality, (&value, &again)| {
                let (value, error) = (f64::from(value), f64::from(value) - f64::from(again));
                quality.and(Quality {
                    error: error * error,
                    power: value * value,
                    worst: error.abs(),
                })
            });
            done.fetch_add(values.len() as u64, Ordering::Relaxed);
            Ok(quality)
        };
        let shares = values[..count * columns]
            .chunks_mut(share * columns)
            .zip(bytes[..count * row_len].chunks_mut(share * row_len))
            .zip(again[..count * columns].chunks_mut(share * columns));
        let results = Mutex::new(Vec::new());
        let shares = Mutex::new(shares.enumerate());
        let worker = || {
            let next = || shares.lock().unwrap_or_else(PoisonError::into_inner).next();
            while let Some((index, ((values, bytes), again))) = next() {
                let result = work(first + index * share, values, bytes, again);
                let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                results.push((index, result));
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..count.div_ceil(share) {
                // With as many as the system grants; this thread takes what is left.
                let _ = std::thread::Builder::new().spawn_scoped(scope, worker);
            }
            worker();
        });
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Sums come out the same however the shares were taken.
        results.sort_unstable_by_key(|(index, _)| *index);
        for (_, result) in results {
            let share = result.map_err(|unfit| match unfit {
                Unfit::NotFinite => refuse(NOT_FINITE),
                Unfit::TooLarge(weight) => refuse(&format!(
                    "has the weight {weight:e}, which {} cannot hold; say --tensor-type {}={}",
                    to.name(),
                    tensor.name,
                    if to == DType::BF16 { "f32" } else { "bf16" }
                )),
            })?;
            quality = quality.and(share);
        }
        let bytes = &bytes[..count * row_len];
        if period.is_some() {
            cycle.extend_from_slice(bytes);
        }
        write(bytes)?;
    }
    for first in (fresh..rows).step_by(fresh.max(1)) {
        let count = fresh.min(rows - first);
        write(&cycle[..count * row_len])?;
        done.fetch_add((count * columns) as u64, Ordering::Relaxed);
    }
    Ok(quality)
}
