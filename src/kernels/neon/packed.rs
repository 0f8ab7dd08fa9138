//! Four rows against any number of inputs.
//!
//! The sums of four rows stand side by side in a register: the integers that a block's products
//! come to, then the floats. Few inputs are multiplied with the rows as they lie in memory; for
//! many, some rows are unpacked into [`Panel`]s, which then meet all inputs. Both come to the same
//! integers and add them up in the same order.

use super::intrinsics::*;
use core::marker::PhantomData;
use core::ops::Range;

use super::register::{ROWS, Step, bytes, floats, load, load_floats, mapped, transpose, words};
use crate::kernels::MatMul;

/// Columns of a panel.
pub(super) const COLUMNS: usize = 256;

/// Panels that a step of the product takes.
pub(super) const SIDES: usize = 2;

/// Panels side by side for many inputs: what is read of an input serves all of them.
const WIDTH: usize = 2 * SIDES;

/// Inputs that a step of the product takes: with so many panels, their sums are half of the
/// registers.
const INPUTS: usize = 4;

/// Inputs for which panels are unpacked once.
const GROUP: usize = 512;

/// Four rows of up to 256 columns.
#[repr(C, align(64))]
pub(super) struct Panel {
    /// Weights, as [`Panel::put`] leaves them: with the dot product four neighbouring columns,
    /// row by row, `[columns / 4][row][4]`; otherwise one row after the other.
    pub quants: [[i8; 16]; ROWS * COLUMNS / 16],
    /// Factors of the parts of a block, likewise: with the dot product `[part][row]`, otherwise
    /// `[row][part]`.
    pub scales: [[i32; 4]; ROWS * 4],
    /// What is taken off for the sums of the activations of the parts, likewise.
    pub mins: [[i32; 4]; ROWS * 4],
    /// Factors of the blocks.
    pub factors: [[f32; ROWS]; 8],
    /// What is added to the weights of the blocks; of a single one, the factor of `mins`.
    pub offsets: [[f32; ROWS]; 8],
}

impl Panel {
    const EMPTY: Panel = Panel {
        quants: [[0; 16]; ROWS * COLUMNS / 16],
        scales: [[0; 4]; ROWS * 4],
        mins: [[0; 4]; ROWS * 4],
        factors: [[0.0; ROWS]; 8],
        offsets: [[0.0; ROWS]; 8],
    };

    /// Puts the `at`-th sixteen weights of each row in their place.
    #[inline(always)]
    pub fn put<D: Step>(&mut self, at: usize, rows: [int8x16_t; ROWS]) {
        if D::FOURS {
            let fours = transpose(mapped(rows, vreinterpretq_s32_s8));
            for k in 0..4 {
                self.quants[4 * at + k] = bytes(vreinterpretq_s8_s32(fours[k]));
            }
            return;
        }
        for row in 0..ROWS {
            self.quants[row * (COLUMNS / 16) + at] = bytes(rows[row]);
        }
    }

    /// The `at`-th sixteen weights of a row, without the dot product.
    #[inline(always)]
    pub fn sixteen(&self, row: usize, at: usize) -> int8x16_t {
        load(&self.quants[row * (COLUMNS / 16) + at])
    }

    /// Factors and offsets of a block of each row.
    #[inline(always)]
    pub fn factors_of(&self, block: usize) -> (float32x4_t, float32x4_t) {
        (
            load_floats(&self.factors[block]),
            load_floats(&self.offsets[block]),
        )
    }

    /// Keeps them.
    #[inline(always)]
    pub fn put_factors(&mut self, block: usize, (factors, offsets): (float32x4_t, float32x4_t)) {
        self.factors[block] = floats(factors);
        self.offsets[block] = floats(offsets);
    }
}

/// Puts the `four`-th four numbers of each row in the place that [`Panel::scales`] has for them.
#[inline(always)]
pub(super) fn put_parts<D: Step>(
    parts: &mut [[i32; 4]; ROWS * 4],
    four: usize,
    rows: [int32x4_t; ROWS],
) {
    let rows = match D::FOURS {
        true => transpose(rows),
        false => rows,
    };
    for n in 0..ROWS {
        let at = match D::FOURS {
            true => 4 * four + n,
            false => 4 * n + four,
        };
        parts[at] = words(rows[n]);
    }
}

/// A type of weights.
pub(super) trait Kind {
    /// A block of a weight row, of alignment 1 and without invalid bytes.
    type Weights: Copy;
    /// A block of an input row, likewise.
    type Inputs;
    /// Weights in the one and activations in the other.
    const ELEMENTS: usize;

    /// Adds the products of a block of each row with one of an input to their sums.
    fn add(sum: float32x4_t, rows: [&Self::Weights; ROWS], x: &Self::Inputs) -> float32x4_t;

    /// Fills a panel from as many blocks of each row.
    fn unpack(rows: [&[Self::Weights]; ROWS], panel: &mut Panel);

    /// Adds the products of panels with `N` inputs to their sums, block by block as
    /// [`Kind::add`] does.
    fn tile<const N: usize>(
        panels: &[Panel; SIDES],
        x: [&[Self::Inputs]; N],
        sums: &mut [[float32x4_t; SIDES]; N],
    );
}

/// Runs a product.
///
/// # Safety
///
/// As for [`crate::kernels::MatMulFn`], a row being `columns / ELEMENTS` blocks.
pub(super) unsafe fn product<K: Kind>(call: &MatMul) {
    const { assert!(align_of::<K::Weights>() == 1 && align_of::<K::Inputs>() == 1) }
    // SAFETY: the caller's promise, handed on.
    unsafe {
        match call.inputs_len {
            0..INPUTS => few::<K>(call),
            _ => many::<K>(call),
        }
    }
}

/// What a product reads and writes.
struct Ends<'a, K>(&'a MatMul, PhantomData<K>);

impl<'a, K: Kind> Ends<'a, K> {
    /// Some blocks of an input.
    ///
    /// # Safety
    ///
    /// As for [`product`]: the input has these blocks.
    #[inline(always)]
    unsafe fn input(&self, index: usize, blocks: Range<usize>) -> &'a [K::Inputs] {
        // SAFETY: the caller's promise.
        unsafe {
            let start = self.0.input(index).cast::<K::Inputs>();
            core::slice::from_raw_parts(start.add(blocks.start), blocks.len())
        }
    }

    /// Some blocks of four rows, from the `first` on. Fewer rows are filled up with the last one,
    /// whose further results are dropped.
    ///
    /// # Safety
    ///
    /// As for [`product`]: there is this row, and rows have these blocks.
    #[inline(always)]
    unsafe fn rows(&self, first: usize, blocks: Range<usize>) -> [&'a [K::Weights]; ROWS] {
        let last = self.0.weight_rows - 1;
        let mut rows: [&[K::Weights]; ROWS] = [&[]; ROWS];
        for (n, row) in rows.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *row = unsafe {
                let at = (first + n).min(last) * self.0.weight_stride;
                let start = self.0.weights.add(at).cast::<K::Weights>();
                core::slice::from_raw_parts(start.add(blocks.start), blocks.len())
            };
        }
        rows
    }

    /// Writes an input's results with the rows from the `first` on, as far as there are any.
    ///
    /// # Safety
    ///
    /// As for [`product`]: these results can be written, at any address.
    #[inline(always)]
    unsafe fn write(&self, index: usize, first: usize, sums: float32x4_t) {
        let sums = floats(sums);
        // SAFETY: the caller's promise.
        unsafe {
            let to = self.0.results(index).wrapping_add(first);
            match self.0.weight_rows - first {
                ROWS.. => to.cast::<[f32; ROWS]>().write_unaligned(sums),
                rows => {
                    for (row, sum) in sums[..rows].iter().enumerate() {
                        to.wrapping_add(row).write_unaligned(*sum);
                    }
                }
            }
        }
    }
}

/// The product with few inputs: four rows at a time, as they lie in memory.
///
/// # Safety
///
/// As for [`product`].
unsafe fn few<K: Kind>(call: &MatMul) {
    let ends = Ends::<K>(call, PhantomData);
    let len = call.columns / K::ELEMENTS;
    for first in (0..call.weight_rows).step_by(ROWS) {
        // SAFETY: the caller promises these rows.
        let [a, b, c, d] = unsafe { ends.rows(first, 0..len) };
        for index in 0..call.inputs_len {
            // SAFETY: the caller promises this input.
            let x = unsafe { ends.input(index, 0..len) };
            let mut sum = vdupq_n_f32(0.0);
            let rows = a.iter().zip(b).zip(c).zip(d);
            for ((((a, b), c), d), x) in rows.zip(x) {
                sum = K::add(sum, [a, b, c, d], x);
            }
            // SAFETY: the caller promises this result.
            unsafe { ends.write(index, first, sum) };
        }
    }
}

/// The product by panels: all inputs of a group with some blocks of the rows, then with the next
/// blocks.
///
/// # Safety
///
/// As for [`product`].
#[inline(never)] // so that its scratch is none of a product with few inputs
unsafe fn many<K: Kind>(call: &MatMul) {
    let ends = Ends::<K>(call, PhantomData);
    let len = call.columns / K::ELEMENTS;
    let mut panels = [const { [Panel::EMPTY; SIDES] }; WIDTH / SIDES];
    let mut sums = [[[[0.0f32; ROWS]; SIDES]; WIDTH / SIDES]; GROUP];
    for first in (0..call.weight_rows).step_by(WIDTH * ROWS) {
        let rows = first..call.weight_rows.min(first + WIDTH * ROWS);
        // What has no row at all is neither unpacked nor multiplied nor written.
        let used = rows.len().div_ceil(SIDES * ROWS);
        for group in (0..call.inputs_len).step_by(GROUP) {
            let inputs = group..call.inputs_len.min(group + GROUP);
            for block in (0..len).step_by(COLUMNS / K::ELEMENTS) {
                let blocks = block..len.min(block + COLUMNS / K::ELEMENTS);
                for (side, panel) in panels.as_flattened_mut().iter_mut().enumerate() {
                    let first = first + side * ROWS;
                    if first < rows.end {
                        // SAFETY: the caller promises these blocks.
                        K::unpack(unsafe { ends.rows(first, blocks.clone()) }, panel);
                    }
                }
                let mut index = inputs.start;
                macro_rules! step {
                    ($count:expr) => {{
                        let mut x: [&[K::Inputs]; $count] = [&[]; $count];
                        for n in 0..$count {
                            // SAFETY: the caller promises these blocks of this input.
                            x[n] = unsafe { ends.input(index + n, blocks.clone()) };
                        }
                        for pair in 0..used {
                            let mut tile = [[vdupq_n_f32(0.0); SIDES]; $count];
                            for n in 0..$count {
                                for side in 0..SIDES {
                                    let sum = &sums[index - group + n][pair][side];
                                    if block > 0 {
                                        tile[n][side] = load_floats(sum);
                                    }
                                }
                            }
                            K::tile(&panels[pair], x, &mut tile);
                            for n in 0..$count {
                                for side in 0..SIDES {
                                    sums[index - group + n][pair][side] = floats(tile[n][side]);
                                }
                            }
                        }
                        index += $count;
                    }};
                }
                while index < inputs.end {
                    match inputs.end - index {
                        INPUTS.. => step!(INPUTS),
                        _ => step!(1),
                    }
                }
            }
            for index in inputs {
                for (side, sum) in sums[index - group].as_flattened().iter().enumerate() {
                    let first = first + side * ROWS;
                    if first < rows.end {
                        // SAFETY: the caller promises these results.
                        unsafe { ends.write(index, first, load_floats(sum)) };
                    }
                }
            }
        }
    }
}
