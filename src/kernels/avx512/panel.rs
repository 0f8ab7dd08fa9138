//! Sixteen rows against any number of inputs.

use core::arch::x86_64::*;

use super::register::{Lanes, ROWS};
use crate::kernels::MatMul;

/// Columns of a panel.
pub(super) const COLUMNS: usize = 256;

/// Inputs that a step of the product takes: as many independent sums as hide the latency of one.
const INPUTS: usize = 12;

/// Inputs for which a panel is unpacked once: their sums stay in the nearest cache.
const GROUP: usize = 16 * INPUTS;

/// Inputs from which on unpacking pays.
const MANY: usize = 4;

/// Sixteen rows of up to 256 columns.
#[repr(C, align(64))]
pub(super) struct Panel {
    /// Of four neighbouring columns, row by row: `[columns / 4][row][4]`, without sign.
    pub quants: [[u8; 64]; COLUMNS / 4],
    /// Factor of each part of a block, as the type has it.
    pub scales: [Lanes<i32>; 16],
    /// What is taken off for the sums of two neighbouring sixteens of activations, as a pair.
    pub mins: [Lanes<i32>; 8],
    /// Factors of the blocks.
    pub factors: [Lanes<f32>; 8],
    /// What is added to the weights of the blocks.
    pub offsets: [Lanes<f32>; 8],
    /// Factor of `mins`.
    pub min_factor: Lanes<f32>,
}

impl Panel {
    const EMPTY: Panel = Panel {
        quants: [[0; 64]; COLUMNS / 4],
        scales: [Lanes([0; ROWS]); 16],
        mins: [Lanes([0; ROWS]); 8],
        factors: [Lanes([0.0; ROWS]); 8],
        offsets: [Lanes([0.0; ROWS]); 8],
        min_factor: Lanes([0.0; ROWS]),
    };
}

/// Where sixteen rows' blocks stand. Fewer rows are filled up with the last one, whose further
/// results are dropped.
pub(super) type Rows = [*const u8; ROWS];

/// Runs a product: `W` and `X` are blocks of weights and of activations of `elements` elements.
///
/// `unpack` fills a panel from so many blocks of each row; `tile` adds the products of a panel
/// with inputs to their sums, for twelve, four or one input; `direct` does the same for one
/// input from the rows themselves, with the panel's factors for scratch; the second address is
/// where the next rows stand, for fetching them ahead.
///
/// # Safety
///
/// As for [`crate::kernels::MatMulFn`], a row being `columns / elements` blocks of `W` or `X`,
/// which have alignment 1 and no invalid bytes. The closures read what they are given alone.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn product<W, X>(
    call: &MatMul,
    elements: usize,
    unpack: impl Fn(&Rows, usize, &mut Panel),
    (twelve, four, one): (
        impl Fn(&Panel, [&[X]; INPUTS], &mut [__m512; INPUTS]),
        impl Fn(&Panel, [&[X]; 4], &mut [__m512; 4]),
        impl Fn(&Panel, [&[X]; 1], &mut [__m512; 1]),
    ),
    direct: impl Fn((&Rows, *const u8), &[X], &mut Panel, &mut __m512),
) {
    const { assert!(align_of::<W>() == 1 && align_of::<X>() == 1) }
    let len = call.columns / elements;
    let per_panel = COLUMNS / elements;
    let mut panel = Panel::EMPTY;
    for first in (0..call.weight_rows).step_by(ROWS) {
        let count = ROWS.min(call.weight_rows - first);
        let rows_at = |block: usize| -> Rows {
            let mut rows = [call.weights; ROWS];
            for (row, at) in rows.iter_mut().enumerate() {
                let row = first + row.min(count - 1);
                // In range: the caller promises whole rows, and `block` is below their length.
                *at = at.wrapping_add(row * call.weight_stride + block * size_of::<W>());
            }
            rows
        };
        let input = |index: usize, blocks: core::ops::Range<usize>| -> &[X] {
            // SAFETY: the caller promises that each input row can be read; blocks have
            // alignment 1.
            unsafe {
                let start = call.inputs.add(index * call.input_stride).cast::<X>();
                core::slice::from_raw_parts(start.add(blocks.start), blocks.len())
            }
        };
        let write = |index: usize, sums: &Lanes<f32>| {
            for (row, sum) in sums.0.iter().enumerate().take(count) {
                // SAFETY: the caller promises that each result can be written, at any address.
                unsafe {
                    let offset = (index * call.out_stride + first + row) * size_of::<f32>();
                    call.out.byte_add(offset).write_unaligned(*sum);
                }
            }
        };
        if call.inputs_len < MANY {
            for index in 0..call.inputs_len {
                let mut sum = _mm512_setzero_ps();
                let rows = rows_at(0);
                let next = rows[0].wrapping_add(ROWS * call.weight_stride);
                direct((&rows, next), input(index, 0..len), &mut panel, &mut sum);
                let mut lanes = Lanes([0.0; ROWS]);
                super::register::store(&mut lanes, _mm512_castps_si512(sum));
                write(index, &lanes);
            }
            continue;
        }
        for group in (0..call.inputs_len).step_by(GROUP) {
            let inputs = group..call.inputs_len.min(group + GROUP);
            let mut sums = [Lanes([0.0f32; ROWS]); GROUP];
            for block in (0..len).step_by(per_panel) {
                let blocks = block..len.min(block + per_panel);
                unpack(&rows_at(block), blocks.len(), &mut panel);
                let mut index = inputs.start;
                macro_rules! step {
                    ($count:expr, $tile:expr) => {
                        while inputs.end - index >= $count {
                            let at = index - group;
                            let mut x = [input(index, blocks.clone()); $count];
                            for (n, x) in x.iter_mut().enumerate() {
                                *x = input(index + n, blocks.clone());
                            }
                            let mut tile = [_mm512_setzero_ps(); $count];
                            for n in 0..$count {
                                tile[n] = super::register::load_floats(&sums[at + n]);
                            }
                            $tile(&panel, x, &mut tile);
                            for n in 0..$count {
                                let sum = _mm512_castps_si512(tile[n]);
                                super::register::store(&mut sums[at + n], sum);
                            }
                            index += $count;
                        }
                    };
                }
                step!(INPUTS, twelve);
                step!(4, four);
                step!(1, one);
            }
            for index in inputs {
                write(index, &sums[index - group]);
            }
        }
    }
}

/// Brings nearer what the next sixteen rows hold in place of these rows' `index`th pieces of
/// `len` bytes: sixteen rows are too many streams for the hardware to foresee, but they follow
/// each other in memory. One sixteenth of it for each `row`, since a core has few lines on their
/// way at a time, and waits when asked for more.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn fetch_ahead(next: *const u8, index: usize, len: usize, row: usize) {
    let start = next.wrapping_add(index * ROWS * len);
    for line in (row * len).div_ceil(64)..((row + 1) * len).div_ceil(64) {
        // SAFETY: a hint, which any address may be given to (older compilers want the block).
        #[allow(unused_unsafe)]
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(start.wrapping_add(64 * line).cast());
        }
    }
}
