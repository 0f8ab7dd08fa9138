//! Eight rows against any number of inputs.
//!
//! Rows are unpacked into a [`Panel`], in which four columns of all eight stand in a register;
//! what is read of an input, four columns of it in every lane, then serves eight rows, and the
//! results stand side by side. Few inputs are multiplied with the rows themselves, in [`direct`].
//!
//! [`direct`]: super::gemv

use core::arch::x86_64::*;
use core::ops::Range;

use super::gemv::few;
use super::register::{Lanes, ROWS, lanes_below, load_floats, store};
use crate::kernels::MatMul;

/// Columns of a panel.
pub(super) const COLUMNS: usize = 256;

/// Panels side by side for many inputs: what is read of an input serves all of them.
const WIDTH: usize = 2;

/// Inputs that a step of the product takes: with so many panels, as many sums as half of the
/// registers hold.
const INPUTS: usize = 4;

/// Inputs for which panels are unpacked once.
const GROUP: usize = 512;

/// Eight rows of up to 256 columns.
#[repr(C, align(64))]
pub(super) struct Panel {
    /// Weights as bytes without sign, of four neighbouring columns, row by row:
    /// `[columns / 4][row][4]`. Or as sixteen-bit integers, of columns 0 and 2 of four, then of
    /// 1 and 3: `[columns / 4][2][row][2]`.
    pub quants: [[u8; 32]; COLUMNS / 2],
    /// Factor of each part of a block, twice in sixteen bits.
    pub scales: [Lanes<i32>; 16],
    /// What is taken off for the sums of the activations of two neighbouring parts, as a pair.
    pub mins: [Lanes<i32>; 8],
    /// Factors of the blocks.
    pub factors: [Lanes<f32>; 8],
    /// What is added to the weights of the blocks.
    pub offsets: [Lanes<f32>; 8],
    /// Factor of `mins`.
    pub min_factor: Lanes<f32>,
}

impl Panel {
    pub const EMPTY: Panel = Panel {
        quants: [[0; 32]; COLUMNS / 2],
        scales: [Lanes([0; ROWS]); 16],
        mins: [Lanes([0; ROWS]); 8],
        factors: [Lanes([0.0; ROWS]); 8],
        offsets: [Lanes([0.0; ROWS]); 8],
        min_factor: Lanes([0.0; ROWS]),
    };

    /// Factors and offsets of a block of each row.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub fn factors_of(&self, block: usize) -> (__m256, __m256) {
        (
            load_floats(&self.factors[block]),
            load_floats(&self.offsets[block]),
        )
    }
}

/// Where eight rows' blocks stand. Fewer rows are filled up with the last one, whose further
/// results are dropped.
pub(super) type Rows = [*const u8; ROWS];

/// How bytes without sign are multiplied with signed ones.
pub(super) trait Step {
    /// Whether four products are added to a sum of 32 bits at once.
    const FOURS: bool;
}

/// By AVX2: two products add up in sixteen bits.
pub(super) struct Pairs;

/// By AVX-VNNI. Its functions run only where the CPU has that.
pub(super) struct Fours;

impl Step for Pairs {
    const FOURS: bool = false;
}

impl Step for Fours {
    const FOURS: bool = true;
}

/// A type of weights.
///
/// # Safety
///
/// Of all functions: the CPU has this table's instructions.
pub(super) trait Kind {
    /// A block of a weight row, of alignment 1 and without invalid bytes.
    type Weights;
    /// A block of an input row, likewise.
    type Inputs;
    /// Weights in the one and activations in the other.
    const ELEMENTS: usize;

    /// Fills a panel from so many blocks of each row, which are there.
    unsafe fn unpack(rows: &Rows, blocks: usize, panel: &mut Panel);

    /// What [`Kind::sums`] wants to know of 256 columns of an input beside its blocks.
    type Ready;

    /// Works it out; fewer blocks end an input.
    unsafe fn ready(x: &[Self::Inputs]) -> Self::Ready;

    /// The sums of the products of up to eight blocks of a row, which are there, with as many of
    /// an input: one to a lane.
    unsafe fn sums(row: *const u8, x: &[Self::Inputs], ready: &[Self::Ready]) -> __m256i;

    /// Adds what a block of each row, which is there, comes to, given the sums of its products.
    unsafe fn add(sum: __m256, products: __m256i, rows: &Rows, x: &Self::Inputs) -> __m256;

    /// Adds the products of `S` panels with `N` inputs to their sums.
    unsafe fn tile<const S: usize, const N: usize>(
        panels: &[Panel; S],
        x: [&[Self::Inputs]; N],
        sums: &mut [[__m256; S]; N],
    );
}

/// Runs a product.
///
/// # Safety
///
/// As for [`crate::kernels::MatMulFn`], a row being `columns / ELEMENTS` blocks.
#[target_feature(enable = "avx2,fma,f16c")]
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

/// Some blocks of an input.
///
/// # Safety
///
/// As for [`product`]: the input has these blocks.
#[inline]
pub(super) unsafe fn input<'a, K: Kind>(
    call: &MatMul,
    index: usize,
    blocks: Range<usize>,
) -> &'a [K::Inputs] {
    // SAFETY: the caller's promise.
    unsafe {
        let start = call.input(index).cast::<K::Inputs>();
        core::slice::from_raw_parts(start.add(blocks.start), blocks.len())
    }
}

/// The product by panels: all inputs of a group with some blocks of the rows, then with the next
/// blocks.
///
/// # Safety
///
/// As for [`product`].
#[inline(never)] // so that its scratch is none of a product with few inputs
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn many<K: Kind>(call: &MatMul) {
    let block_len = size_of::<K::Weights>();
    let len = call.columns / K::ELEMENTS;
    let per_panel = COLUMNS / K::ELEMENTS;
    let mut panels = [Panel::EMPTY; WIDTH];
    let mut sums = [[Lanes([0.0f32; ROWS]); WIDTH]; GROUP];
    for first in (0..call.weight_rows).step_by(WIDTH * ROWS) {
        let rows = first..call.weight_rows.min(first + WIDTH * ROWS);
        for group in (0..call.inputs_len).step_by(GROUP) {
            let inputs = group..call.inputs_len.min(group + GROUP);
            let share = rows.len().div_ceil(inputs.len());
            for block in (0..len).step_by(per_panel) {
                let blocks = block..len.min(block + per_panel);
                for (side, panel) in panels.iter_mut().enumerate() {
                    let first = first + side * ROWS;
                    // Without rows it stays as it is, and what comes of it is not written.
                    if first < rows.end {
                        let rows = rows_at(call, first, block * block_len);
                        // SAFETY: the caller promises these blocks.
                        unsafe { K::unpack(&rows, blocks.len(), panel) };
                    }
                }
                let mut index = inputs.start;
                macro_rules! step {
                    ($count:expr) => {{
                        let sums = &mut sums[index - group..][..$count];
                        let mut x: [&[K::Inputs]; $count] = [&[]; $count];
                        let mut tile = [[_mm256_setzero_ps(); WIDTH]; $count];
                        for n in 0..$count {
                            // SAFETY: the caller promises these blocks of this input.
                            x[n] = unsafe { input::<K>(call, index + n, blocks.clone()) };
                            // The hardware foresees neither of these: the same blocks of an
                            // input that follows, and in time all rows' next blocks. What
                            // there is less of at an end does no harm.
                            let ahead = (index + n + $count).min(inputs.end - 1);
                            // SAFETY: there is this input.
                            let at = unsafe { call.input(ahead) };
                            let len = size_of::<K::Inputs>();
                            let at = at.wrapping_add(blocks.start * len);
                            fetch::<_MM_HINT_T0>(at, per_panel * len);
                            let from = rows.start + (index + n - group) * share;
                            for row in from..rows.end.min(from + share) {
                                let at = call.weights.wrapping_add(row * call.weight_stride);
                                let at = at.wrapping_add(blocks.end * block_len);
                                fetch::<_MM_HINT_T1>(at, per_panel * block_len);
                            }
                            if block > 0 {
                                for side in 0..WIDTH {
                                    tile[n][side] = load_floats(&sums[n][side]);
                                }
                            }
                        }
                        // SAFETY: this function has the instructions.
                        unsafe { K::tile(&panels, x, &mut tile) };
                        for n in 0..$count {
                            for side in 0..WIDTH {
                                store(&mut sums[n][side], _mm256_castps_si256(tile[n][side]));
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
                for side in 0..WIDTH {
                    let first = first + side * ROWS;
                    if first < rows.end {
                        let sum = load_floats(&sums[index - group][side]);
                        // SAFETY: the caller promises these results.
                        unsafe { write(call, (index, first), sum) };
                    }
                }
            }
        }
    }
}

/// The rows from the `first` on, `offset` bytes into them.
#[inline]
pub(super) fn rows_at(call: &MatMul, first: usize, offset: usize) -> Rows {
    let count = ROWS.min(call.weight_rows - first);
    let mut rows = [call.weights; ROWS];
    for (row, at) in rows.iter_mut().enumerate() {
        let row = first + row.min(count - 1);
        // In range: the caller promises whole rows, and the offset is below their length.
        *at = at.wrapping_add(row * call.weight_stride + offset);
    }
    rows
}

/// Writes an input's results with the rows from the `first` on, as far as there are any.
///
/// # Safety
///
/// As for [`crate::kernels::MatMulFn`]: these results can be written, at any address.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn write(call: &MatMul, (index, first): (usize, usize), sums: __m256) {
    // SAFETY: the caller's promise; the mask leaves out what is beyond the rows.
    unsafe {
        let to = call.results(index).wrapping_add(first);
        match call.weight_rows - first {
            ROWS.. => _mm256_storeu_ps(to, sums),
            rows => _mm256_maskstore_ps(to, lanes_below(rows), sums),
        }
    }
}

/// Reads what [`write`] has written.
///
/// # Safety
///
/// These results have been written.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn read(call: &MatMul, (index, first): (usize, usize)) -> __m256 {
    // SAFETY: as above.
    unsafe {
        let from = call.results(index).wrapping_add(first);
        match call.weight_rows - first {
            ROWS.. => _mm256_loadu_ps(from),
            rows => _mm256_maskload_ps(from, lanes_below(rows)),
        }
    }
}

/// Brings nearer some bytes, of a number known beforehand: what is left of it is no loop.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn fetch<const HINT: i32>(start: *const u8, len: usize) {
    for line in 0..len.div_ceil(64) {
        // SAFETY: a hint, which any address may be given to (older compilers want the block).
        #[allow(unused_unsafe)]
        unsafe {
            _mm_prefetch::<HINT>(start.wrapping_add(64 * line).cast());
        }
    }
}
