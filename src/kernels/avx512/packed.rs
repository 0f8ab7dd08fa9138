//! Sixteen rows against any number of inputs.

use core::arch::x86_64::*;
use core::mem::MaybeUninit;
use core::ops::Range;

use super::gemv::{Group, few};
use super::register::{Lanes, ROWS};
use crate::kernels::MatMul;

/// Columns of a panel.
pub(super) const COLUMNS: usize = 256;

/// Panels side by side: what is read of an input serves all of them.
pub(super) const WIDTH: usize = 2;

/// Inputs that a step of the product takes: with so many panels, as many independent sums as
/// hide the latency of one, and registers for them and for what they add up to.
const INPUTS: usize = 6;

/// Inputs for which panels are unpacked once.
const GROUP: usize = 512;

/// Inputs from which on unpacking pays.
const MANY: usize = 4;

/// Sixteen rows of up to 256 columns.
#[repr(C, align(64))]
pub(super) struct Panel {
    /// Of four neighbouring columns, row by row: `[columns / 4][row][4]`, without sign.
    pub quants: [[u8; 64]; COLUMNS / 4],
    /// Factor of each part of a block, as the type has it.
    pub scales: [Lanes<i32>; 16],
    /// What is taken off for the sums of activations of two neighbouring parts, as a pair.
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

/// Sums of an input with the rows of panels side by side.
pub(super) type Sums = [__m512; WIDTH];

/// The rows from the `first` on, at a block of `len` bytes. Fewer than sixteen rows are filled up
/// with the last one.
#[inline]
pub(super) fn rows_at(call: &MatMul, first: usize, block: usize, len: usize) -> Rows {
    let count = ROWS.min(call.weight_rows - first);
    let mut rows = [call.weights; ROWS];
    for (row, at) in rows.iter_mut().enumerate() {
        let row = first + row.min(count - 1);
        // In range: the caller promises whole rows, and `block` is below their length.
        *at = at.wrapping_add(row * call.weight_stride + block * len);
    }
    rows
}

/// Some blocks of an input.
///
/// # Safety
///
/// As for [`crate::kernels::MatMulFn`]: the input has these blocks, of alignment 1.
#[inline]
pub(super) unsafe fn input<'a, X>(call: &MatMul, index: usize, blocks: Range<usize>) -> &'a [X] {
    // SAFETY: the caller's promise.
    unsafe {
        let start = call.input(index).cast::<X>();
        core::slice::from_raw_parts(start.add(blocks.start), blocks.len())
    }
}

/// Writes an input's results with the rows from the `first` on, as far as there are any.
///
/// # Safety
///
/// As for [`crate::kernels::MatMulFn`]: these results can be written, at any address.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn write(call: &MatMul, (index, first): (usize, usize), sums: __m512) {
    let mask = match call.weight_rows - first {
        ROWS.. => !0,
        rows => (1 << rows) - 1,
    };
    // SAFETY: the caller's promise; the mask leaves out what is beyond the rows.
    unsafe { _mm512_mask_storeu_ps(call.results(index).wrapping_add(first), mask, sums) }
}

/// Runs a product: `W` and `X` are blocks of weights and of activations of `elements` elements.
///
/// `unpack` fills a panel from so many blocks of each row; `tiles` add the products of panels
/// with inputs to their sums, for six, four or one input; `direct` yields the same for one
/// input from the rows themselves.
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
    tiles: (
        impl Fn(&[Panel; WIDTH], [&[X]; INPUTS], &mut [Sums; INPUTS]),
        impl Fn(&[Panel; WIDTH], [&[X]; 4], &mut [Sums; 4]),
        impl Fn(&[Panel; WIDTH], [&[X]; 1], &mut [Sums; 1]),
    ),
    direct: impl Fn(&Group, &[X]) -> __m512,
) {
    const { assert!(align_of::<W>() == 1 && align_of::<X>() == 1) }
    if call.inputs_len < MANY {
        // SAFETY: the caller's promise, handed on.
        return unsafe { few(call, elements, direct) };
    }
    // SAFETY: the caller's promise, handed on.
    unsafe { many::<W, X>(call, elements, unpack, tiles) };
}

/// The same by panels: all inputs of a group with some blocks of the rows, then with the next
/// blocks.
///
/// # Safety
///
/// As for [`product`].
#[inline(never)] // so that its scratch is none of a product with few inputs
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn many<W, X>(
    call: &MatMul,
    elements: usize,
    unpack: impl Fn(&Rows, usize, &mut Panel),
    (six, four, one): (
        impl Fn(&[Panel; WIDTH], [&[X]; INPUTS], &mut [Sums; INPUTS]),
        impl Fn(&[Panel; WIDTH], [&[X]; 4], &mut [Sums; 4]),
        impl Fn(&[Panel; WIDTH], [&[X]; 1], &mut [Sums; 1]),
    ),
) {
    let len = call.columns / elements;
    let per_panel = COLUMNS / elements;
    let mut panels = [Panel::EMPTY; WIDTH];
    let mut room = [const { MaybeUninit::<Sums>::uninit() }; GROUP];
    // The hardware foresees neither what so many rows hold next, nor the same blocks of an input
    // that follows, nor where results go. What there is less of at an end does no harm.
    let stored = |row: usize, block: usize| {
        let row = call.weights.wrapping_add(row * call.weight_stride);
        row.wrapping_add(block * size_of::<W>())
    };
    let fetch_rows = |first: usize, block: usize, part: Range<usize>| {
        for row in part {
            fetch::<_MM_HINT_T1>(stored(first + row, block), per_panel * size_of::<W>());
        }
    };
    fetch_rows(0, 0, 0..WIDTH * ROWS);
    for first in (0..call.weight_rows).step_by(WIDTH * ROWS) {
        let there = |side: usize| first + side * ROWS < call.weight_rows;
        for group in (0..call.inputs_len).step_by(GROUP) {
            let inputs = group..call.inputs_len.min(group + GROUP);
            let sums = zeros(&mut room[..inputs.len()]);
            for block in (0..len).step_by(per_panel) {
                let blocks = block..len.min(block + per_panel);
                for row in first..first + WIDTH * ROWS {
                    fetch::<_MM_HINT_T0>(stored(row, block), per_panel * size_of::<W>());
                }
                for (side, panel) in panels.iter_mut().enumerate() {
                    // Without rows it stays as it is, and what comes of it is not written.
                    if there(side) {
                        let rows = rows_at(call, first + side * ROWS, block, size_of::<W>());
                        unpack(&rows, blocks.len(), panel);
                    }
                }
                let last = blocks.end == len;
                let next = match last {
                    true => (first + WIDTH * ROWS, 0),
                    false => (first, blocks.end),
                };
                let share = (WIDTH * ROWS).div_ceil(inputs.len().div_ceil(INPUTS));
                let mut fetched = 0;
                let mut index = inputs.start;
                macro_rules! step {
                    ($count:expr, $tile:expr) => {{
                        let mut x: [&[X]; $count] = [&[]; $count];
                        for n in 0..$count {
                            // SAFETY: the caller promises these blocks of this input.
                            x[n] = unsafe { input(call, index + n, blocks.clone()) };
                        }
                        let to = (fetched + share).min(WIDTH * ROWS);
                        fetch_rows(next.0, next.1, fetched..to);
                        fetched = to;
                        if last {
                            for n in 0..$count {
                                // SAFETY: as above.
                                let at = unsafe { call.results(index + n) };
                                let at = at.wrapping_add(first).cast();
                                fetch::<_MM_HINT_T0>(at, WIDTH * size_of::<Lanes<f32>>());
                            }
                        }
                        let (tile, _) = sums[index - group..].as_chunks_mut();
                        $tile(&panels, x, &mut tile[0]);
                        index += $count;
                    }};
                }
                while index < inputs.end {
                    // Two fours, rather than six and two by themselves.
                    match inputs.end - index {
                        4 | 5 | 8 | 9 => step!(4, four),
                        INPUTS.. => step!(INPUTS, six),
                        _ => step!(1, one),
                    }
                }
            }
            for (index, sums) in inputs.zip(sums) {
                for side in (0..WIDTH).filter(|&side| there(side)) {
                    // SAFETY: the caller promises these results.
                    unsafe { write(call, (index, first + side * ROWS), sums[side]) };
                }
            }
        }
    }
}

/// Sums of nothing yet.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn zeros(room: &mut [MaybeUninit<Sums>]) -> &mut [Sums] {
    for sums in &mut *room {
        sums.write([_mm512_setzero_ps(); WIDTH]);
    }
    // SAFETY: all have just been written.
    unsafe { &mut *(&raw mut *room as *mut [Sums]) }
}

/// Brings nearer some bytes, of a number known beforehand: what is left of it is no loop. What is
/// not whole cache lines may begin anywhere in one, and end in one more.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn fetch<const HINT: i32>(start: *const u8, len: usize) {
    let lines = match len % 64 {
        0 => len / 64,
        rest => (len - rest) / 64 + 1 + usize::from(rest > 1),
    };
    for line in 0..lines {
        // SAFETY: a hint, which any address may be given to (older compilers want the block).
        #[allow(unused_unsafe)]
        unsafe {
            _mm_prefetch::<HINT>(start.wrapping_add(64 * line).cast());
        }
    }
}
