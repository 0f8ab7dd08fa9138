//! Products of floats that are stored `[columns][weight_rows]` with float activations.
//!
//! Sixteen results stand in the lanes of a register, and a stored row serves them as it lies in
//! the file. Each is a chain of fused multiplications and additions for each block of columns, and
//! the blocks are added up in order. Few inputs: stored rows are read once, a strip of each, while
//! what follows is fetched. Many inputs: a panel of the strip's floats meets all of them. The
//! results agree bit for bit.

use core::arch::x86_64::*;

use rillm_formats::manifest::DType;

use super::float::{Brain, Half, Single, Weights};
use super::packed::fetch;
use super::register::{Lanes, ROWS, load_floats, store};
use crate::kernels::{MatMul, MatMulFn};

/// Columns whose products are summed by themselves: a panel of so many fits the nearest cache,
/// and errors grow more slowly.
const BLOCK: usize = 128;

/// Registers of results in a panel.
const WIDTH: usize = 4;

/// Inputs that a step of the product by panels takes: with so many registers of results, their
/// sums leave just enough of the thirty-two for what is multiplied.
const INPUTS: usize = 6;

/// Bytes of a strip between what is read and what is fetched meanwhile.
const AHEAD: usize = 8192;

/// The product of a type of floats.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::F32 => f32,
        DType::F16 => f16,
        DType::BF16 => bf16,
        _ => return None,
    })
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn f32(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { product::<Single>(call) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn f16(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { product::<Half>(call) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn bf16(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe { product::<Brain>(call) }
}

/// # Safety
///
/// As for a transposed [`crate::kernels::MatMulFn`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn product<W: Weights>(call: &MatMul) {
    // SAFETY: the caller's promise, handed on for as many inputs as there are.
    unsafe {
        match call.inputs_len {
            0 => {}
            1 => direct::<W, 1>(call),
            2 => direct::<W, 2>(call),
            3 => direct::<W, 3>(call),
            _ => many::<W>(call),
        }
    }
}

/// All results of N inputs.
///
/// # Safety
///
/// As for `product`, with N inputs.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn direct<W: Weights, const N: usize>(call: &MatMul) {
    const WIDE: usize = 8 * ROWS;
    const NARROW: usize = 4 * ROWS;
    let mut first = 0;
    while first < call.weight_rows {
        // SAFETY: there are so many results from here on.
        first += unsafe {
            match call.weight_rows - first {
                WIDE.. => strip::<W, N, 8>(call, first),
                NARROW.. => strip::<W, N, 4>(call, first),
                _ => strip::<W, N, 1>(call, first),
            }
        };
    }
}

/// V registers of results from the `first` on, of a single one as many as there are. Returns
/// their number.
///
/// # Safety
///
/// As for `direct`, with these results.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn strip<W: Weights, const N: usize, const V: usize>(call: &MatMul, first: usize) -> usize {
    let there = match V {
        1 => there(call, first),
        _ => !0,
    };
    let len = V * ROWS * W::LEN;
    let weights = call.weights.wrapping_add(first * W::LEN);
    let ahead = (AHEAD / len).min(call.columns);
    let mut inputs = [call.inputs.cast::<f32>(); N];
    for n in 0..N {
        // SAFETY: the caller promises these inputs.
        inputs[n] = unsafe { call.input(n) }.cast();
    }
    for start in (0..call.columns).step_by(BLOCK) {
        let mut sums = [[_mm512_setzero_ps(); V]; N];
        for column in start..call.columns.min(start + BLOCK) {
            let next = match column + ahead {
                next if next < call.columns => weights.wrapping_add(next * call.weight_stride),
                next => weights.wrapping_add(len + (next - call.columns) * call.weight_stride),
            };
            bring(next, len, N == 1);
            let row = weights.wrapping_add(column * call.weight_stride);
            let mut x = [_mm512_setzero_ps(); N];
            for n in 0..N {
                // SAFETY: the caller promises so many columns.
                let input = unsafe { inputs[n].byte_add(column * size_of::<f32>()) };
                // SAFETY: as above.
                x[n] = _mm512_set1_ps(unsafe { input.read_unaligned() });
            }
            for v in 0..V {
                // SAFETY: the caller promises these weights of each stored row.
                let weights = unsafe { W::sixteen(row.wrapping_add(v * ROWS * W::LEN), there) };
                for n in 0..N {
                    sums[n][v] = _mm512_fmadd_ps(x[n], weights, sums[n][v]);
                }
            }
        }
        for n in 0..N {
            for v in 0..V {
                // SAFETY: the caller promises these results.
                unsafe { add(call, (n, first + v * ROWS), there, (start, sums[n][v])) };
            }
        }
    }
    call.weight_rows.min(first + V * ROWS) - first
}

/// Brings nearer a strip of a stored row, which may begin anywhere in a cache line: past the other
/// caches if it is read `once`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn bring(start: *const u8, len: usize, once: bool) {
    for line in 0..len.div_ceil(64) + 1 {
        let line = start.wrapping_add((64 * line).min(len - 1)).cast();
        // SAFETY: a hint, which any address may be given to (older compilers want the block).
        #[allow(unused_unsafe)]
        unsafe {
            match once {
                true => _mm_prefetch::<_MM_HINT_NTA>(line),
                false => _mm_prefetch::<_MM_HINT_T0>(line),
            }
        }
    }
}

/// Which of sixteen results from the `first` on there are.
#[inline]
fn there(call: &MatMul, first: usize) -> __mmask16 {
    match call.weight_rows.saturating_sub(first) {
        ROWS.. => !0,
        rows => !(!0 << rows),
    }
}

/// Adds the sums of the columns from `start` on to an input's results from the `first` on.
///
/// # Safety
///
/// The caller promises these results, and has had those of the columns before.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn add(
    call: &MatMul,
    (index, first): (usize, usize),
    there: __mmask16,
    (start, sums): (usize, __m512),
) {
    // SAFETY: the caller's promise.
    unsafe {
        let out = call.results(index).wrapping_add(first);
        let total = match start {
            0 => sums,
            _ => _mm512_add_ps(_mm512_maskz_loadu_ps(there, out), sums),
        };
        _mm512_mask_storeu_ps(out, there, total);
    }
}

/// Floats of so many stored rows, four registers of each.
type Panel = [Lanes<f32>; WIDTH * BLOCK];

/// By panels: all inputs with some columns of the results, then with the next columns.
///
/// # Safety
///
/// As for `product`.
#[inline(never)] // so that its scratch is none of a product with few inputs
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn many<W: Weights>(call: &MatMul) {
    let mut panel = [Lanes([0.0; ROWS]); WIDTH * BLOCK];
    for first in (0..call.weight_rows).step_by(WIDTH * ROWS) {
        for start in (0..call.columns).step_by(BLOCK) {
            let columns = BLOCK.min(call.columns - start);
            // SAFETY: the caller's promise, handed on for results and inputs that there are.
            unsafe {
                unpack::<W>(call, first, (start, columns), &mut panel);
                multiply(call, first, (start, columns), &panel);
            }
        }
    }
}

/// Fills a panel: `[column][result]`, with zeros in place of results that are not there.
///
/// # Safety
///
/// There are these columns, and results from the `first` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn unpack<W: Weights>(
    call: &MatMul,
    first: usize,
    (start, columns): (usize, usize),
    panel: &mut Panel,
) {
    let mut there = [0; WIDTH];
    for r in 0..WIDTH {
        there[r] = self::there(call, first + r * ROWS);
    }
    for column in 0..columns {
        let row = (start + column) * call.weight_stride + first * W::LEN;
        let row = call.weights.wrapping_add(row);
        for r in 0..WIDTH {
            let at = row.wrapping_add(r * ROWS * W::LEN);
            // SAFETY: the caller promises these columns; the mask leaves out what is beyond them.
            let weights = unsafe { W::sixteen(at, there[r]) };
            store(&mut panel[column * WIDTH + r], _mm512_castps_si512(weights));
        }
        // The hardware does not foresee what stands so far apart.
        let next = row.wrapping_add(BLOCK * call.weight_stride);
        fetch::<_MM_HINT_T1>(next, WIDTH * ROWS * W::LEN);
    }
}

/// Adds a panel's products with all inputs to the results.
///
/// # Safety
///
/// As for `product`; the panel is of these results and columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn multiply(call: &MatMul, first: usize, (start, columns): (usize, usize), panel: &Panel) {
    let mut index = 0;
    while index < call.inputs_len {
        // SAFETY: the caller promises these inputs and results.
        index += unsafe {
            match call.inputs_len - index {
                1 => some::<1>(call, (index, first), (start, columns), panel),
                2 => some::<2>(call, (index, first), (start, columns), panel),
                3 => some::<3>(call, (index, first), (start, columns), panel),
                4 | 8 => some::<4>(call, (index, first), (start, columns), panel),
                5 | 10 => some::<5>(call, (index, first), (start, columns), panel),
                _ => some::<INPUTS>(call, (index, first), (start, columns), panel),
            }
        };
    }
}

/// The same for M inputs. Returns M.
///
/// # Safety
///
/// As for `multiply`.
#[inline(never)] // so that the registers are all for its sums
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn some<const M: usize>(
    call: &MatMul,
    (index, first): (usize, usize),
    (start, columns): (usize, usize),
    panel: &Panel,
) -> usize {
    let mut inputs = [call.inputs; M];
    for m in 0..M {
        // SAFETY: the caller promises these inputs.
        let input = unsafe { call.input(index + m) };
        inputs[m] = input.wrapping_add(start * size_of::<f32>());
        // Of an input that follows, the same columns: the hardware does not foresee them.
        let next = (index + M + m).min(call.inputs_len - 1);
        // SAFETY: there is such an input.
        let next = unsafe { call.input(next) }.wrapping_add(start * size_of::<f32>());
        fetch::<_MM_HINT_T0>(next, BLOCK * size_of::<f32>());
    }
    let mut sums = [[_mm512_setzero_ps(); WIDTH]; M];
    for column in 0..columns {
        let mut weights = [_mm512_setzero_ps(); WIDTH];
        for r in 0..WIDTH {
            weights[r] = load_floats(&panel[column * WIDTH + r]);
        }
        for m in 0..M {
            let x = inputs[m].wrapping_add(column * size_of::<f32>());
            // SAFETY: the caller promises so many columns.
            let x = _mm512_set1_ps(unsafe { x.cast::<f32>().read_unaligned() });
            for r in 0..WIDTH {
                sums[m][r] = _mm512_fmadd_ps(x, weights[r], sums[m][r]);
            }
        }
    }
    for m in 0..M {
        for r in 0..WIDTH {
            let first = first + r * ROWS;
            // SAFETY: the caller promises these results, and has had those of the columns before.
            unsafe {
                add(
                    call,
                    (index + m, first),
                    there(call, first),
                    (start, sums[m][r]),
                )
            };
        }
    }
    M
}
