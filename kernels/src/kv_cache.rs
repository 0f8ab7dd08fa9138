//! The KV cache's types: how keys and values lie in a page, and what they are as floats.
//!
//! [`PAGE`] keys of a head stand together, as do as many values. Values stand one after the
//! other, for a softmax weighs and adds them. Keys stand element by element, the first of all
//! keys before the second of all: so a product of a query's element with a register's worth of
//! keys needs no sum over lanes.

use super::Kernels;
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::fmt;
use std::str::FromStr;

/// Positions in one page. Attention takes a page at a time, so this is also its tile along the
/// sequence: a constant, on which results depend.
pub const PAGE: usize = 64;

/// Which half of the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvHalf {
    /// Element by element.
    Keys,
    /// One after the other.
    Values,
}

/// The type that the KV cache keeps keys and values in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
#[allow(non_camel_case_types)] // the names of the formats
pub enum KvType {
    /// As they are computed.
    #[default]
    F32,
    /// Half precision.
    F16,
    /// Bytes with a half-precision scale for each 32 of a head (fewer at its end).
    Q8_0,
}

/// Elements that share a scale.
pub(super) const BLOCK: usize = 32;

impl KvType {
    /// Every type, from the largest to the smallest.
    pub const ALL: &'static [KvType] = &[KvType::F32, KvType::F16, KvType::Q8_0];

    /// The number that stands for it in files.
    pub const fn number(self) -> usize {
        match self {
            KvType::F32 => 0,
            KvType::F16 => 1,
            KvType::Q8_0 => 2,
        }
    }

    /// The name users know.
    pub const fn name(self) -> &'static str {
        match self {
            KvType::F32 => "f32",
            KvType::F16 => "f16",
            KvType::Q8_0 => "q8_0",
        }
    }

    /// Bytes of one key or value of `dim` elements; `None` if the number overflows.
    #[doc(hidden)]
    pub fn row_len(self, dim: usize) -> Option<usize> {
        match self {
            KvType::F32 => dim.checked_mul(size_of::<f32>()),
            KvType::F16 => dim.checked_mul(size_of::<f16>()),
            KvType::Q8_0 => dim.checked_add(dim.div_ceil(BLOCK).checked_mul(2)?),
        }
    }

    /// Where the parts of one key or value lie in a page of them: for each part its first byte
    /// among a row's, and how many. The parts of all places follow each other, so a part of the
    /// entry at `place` begins `PAGE` · first + `place` · length bytes into the page.
    #[doc(hidden)]
    pub fn parts(self, half: KvHalf, dim: usize) -> impl Iterator<Item = (usize, usize)> {
        let (scales, width) = match self {
            KvType::F32 => (0, size_of::<f32>()),
            KvType::F16 => (0, size_of::<f16>()),
            KvType::Q8_0 => (dim.div_ceil(BLOCK), 1),
        };
        let (parts, len) = match half {
            KvHalf::Keys => (dim, width),
            KvHalf::Values => (1, dim * width),
        };
        let scale_parts = (0..scales).map(|index| (2 * index, 2));
        scale_parts.chain((0..parts).map(move |index| (2 * scales + index * len, len)))
    }

    /// Writes one key or value to its place in a page.
    ///
    /// # Safety
    ///
    /// `page` is the address of `PAGE` rows of [`KvType::row_len`] bytes, `place` is below
    /// `PAGE`, and nobody else touches this entry meanwhile.
    pub unsafe fn store(self, half: KvHalf, values: &[f32], page: *mut u8, place: usize) {
        let dim = values.len();
        let (skip, width) = match self {
            KvType::F32 => (0, size_of::<f32>()),
            KvType::F16 => (0, size_of::<f16>()),
            KvType::Q8_0 => (2 * dim.div_ceil(BLOCK) * PAGE, 1),
        };
        let (first, step) = match half {
            KvHalf::Keys => (skip + place * width, PAGE * width),
            KvHalf::Values => (skip + place * dim * width, width),
        };
        for (index, values) in values.chunks(BLOCK).enumerate() {
            let at = first + index * BLOCK * step;
            match self {
                KvType::F32 => {
                    for (i, value) in values.iter().enumerate() {
                        // SAFETY: inside the page, by the arithmetic above.
                        unsafe {
                            page.add(at + i * step)
                                .cast::<[u8; 4]>()
                                .write(value.to_ne_bytes())
                        }
                    }
                }
                KvType::F16 => {
                    let mut halves = [f16::ZERO; BLOCK];
                    let halves = &mut halves[..values.len()];
                    halves.convert_from_f32_slice(values);
                    for (i, value) in halves.iter().enumerate() {
                        // SAFETY: as above.
                        unsafe {
                            page.add(at + i * step)
                                .cast::<[u8; 2]>()
                                .write(value.to_le_bytes())
                        }
                    }
                }
                KvType::Q8_0 => {
                    let mut quants = [0; BLOCK];
                    let scale = round(values, &mut quants);
                    // SAFETY: as above.
                    unsafe {
                        let to = page.add(2 * (index * PAGE + place));
                        to.cast::<[u8; 2]>().write(scale.to_le_bytes());
                        for (i, quant) in quants.iter().take(values.len()).enumerate() {
                            page.add(at + i * step).write(*quant);
                        }
                    }
                }
            }
        }
    }

    /// Writes one key or value, its parts one after the other; `out` is
    /// [`KvType::row_len`] bytes long.
    pub fn write(self, values: &[f32], out: &mut [u8]) {
        match self {
            KvType::F32 => {
                for (value, out) in values.iter().zip(out.as_chunks_mut().0) {
                    *out = value.to_ne_bytes();
                }
            }
            KvType::F16 => {
                for (value, out) in values.iter().zip(out.as_chunks_mut().0) {
                    *out = f16::from_f32(*value).to_le_bytes();
                }
            }
            KvType::Q8_0 => {
                let blocks = values.chunks(BLOCK);
                let (scales, quants) = out.split_at_mut(2 * blocks.len());
                let (scales, _) = scales.as_chunks_mut::<2>();
                for ((values, quants), to) in blocks.zip(quants.chunks_mut(BLOCK)).zip(scales) {
                    *to = round(values, quants).to_le_bytes();
                }
            }
        }
    }

    /// Reads rows of `dim` elements into floats, side by side.
    pub fn read(self, kernels: &Kernels, rows: &[u8], dim: usize, out: &mut [f32]) {
        match self {
            KvType::F32 => {
                for (out, bytes) in out.iter_mut().zip(rows.as_chunks().0) {
                    *out = f32::from_ne_bytes(*bytes);
                }
            }
            KvType::F16 => (kernels.widen)(rows, out),
            KvType::Q8_0 => {
                let scales_len = 2 * dim.div_ceil(BLOCK);
                let rows = rows.chunks_exact(scales_len + dim);
                for (row, out) in rows.zip(out.chunks_exact_mut(dim)) {
                    let (scales, quants) = row.split_at(scales_len);
                    let blocks = quants.chunks(BLOCK).zip(out.chunks_mut(BLOCK));
                    for ((quants, out), scale) in blocks.zip(scales.as_chunks().0) {
                        let scale = f16::from_le_bytes(*scale).to_f32();
                        for (out, quant) in out.iter_mut().zip(quants) {
                            *out = scale * f32::from(quant.cast_signed());
                        }
                    }
                }
            }
        }
    }
}

/// Rounds up to [`BLOCK`] elements to bytes; their scale.
fn round(values: &[f32], quants: &mut [u8]) -> f16 {
    let largest = values.iter().fold(0.0f32, |a, x| a.max(x.abs()));
    // What is not finite spoils its block, as it would spoil the scores.
    let faulty = values.iter().any(|x| !x.is_finite());
    let scale = if faulty {
        f16::NAN
    } else {
        f16::from_f32(largest / 127.0)
    };
    let inverse = 1.0 / scale.to_f32();
    let inverse = if inverse.is_finite() { inverse } else { 0.0 };
    for (value, quant) in values.iter().zip(quants) {
        // A cast saturates: a scale rounded down does no harm.
        let rounded = (value * inverse).round_ties_even() as i8;
        *quant = rounded.max(-127).cast_unsigned();
    }
    scale
}

impl fmt::Display for KvType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KvType {
    type Err = UnknownKvType;

    fn from_str(name: &str) -> Result<KvType, UnknownKvType> {
        let mut all = KvType::ALL.iter().copied();
        let found = all.find(|known| known.name().eq_ignore_ascii_case(name));
        found.ok_or(UnknownKvType)
    }
}

/// No type of the KV cache has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownKvType;

impl fmt::Display for UnknownKvType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no such type, expected f32, f16 or q8_0")
    }
}

impl std::error::Error for UnknownKvType {}
