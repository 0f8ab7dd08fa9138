//! Products of floats that are stored `[columns][weight_rows]` with float activations.
//!
//! Sixteen results stand in the lanes of a register, and a stored row serves them as it lies in
//! the file. Each is a chain of fused multiplications and additions for each block of columns, and
//! the blocks are added up in order. Few inputs: stored rows are read once, a strip of each, while
//! what follows is fetched. Many inputs: a panel of the strip's floats meets all of them. The
//! results agree bit for bit.

use core::arch::x86_64::*;
use core::marker::PhantomData;

use rillm_formats::manifest::DType;

use super::float::{Avx512Bf16, Avx512F16, Avx512F32, Avx512Floats};
use super::packed::{fetch, gemm, write};
use super::register::{Lanes16, ROWS, load_floats, store};
use crate::generic::{Gemm, Operands, Strip, Tiles};
use crate::{MatMul, MatMulFn};

/// Columns whose products are summed by themselves: a panel of so many fits the nearest cache,
/// and errors grow more slowly.
const BLOCK: usize = 128;

/// Registers of results in a panel.
const WIDTH: usize = 4;

/// Inputs that a step of the product by panels takes: with so many registers of results, their
/// sums leave just enough of the thirty-two for what is multiplied.
const INPUTS: usize = 6;

/// The product of a type of floats.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::F32 => product::<Avx512F32>,
        DType::F16 => product::<Avx512F16>,
        DType::BF16 => product::<Avx512Bf16>,
        _ => return None,
    })
}

/// # Safety
///
/// As for a transposed [`crate::MatMulFn`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn product<W: Avx512Floats>(call: &MatMul) {
    // SAFETY: the caller's promise, handed on for as many inputs as there are.
    unsafe {
        match call.inputs_len {
            0 => {}
            1 => gemv::<W, 1>(call),
            2 => gemv::<W, 2>(call),
            3 => gemv::<W, 3>(call),
            _ => gemm::<StoredByColumn<W>>(call),
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
unsafe fn gemv<W: Avx512Floats, const N: usize>(call: &MatMul) {
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
/// As for `gemv`, with these results.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn strip<W: Avx512Floats, const N: usize, const V: usize>(
    call: &MatMul,
    first: usize,
) -> usize {
    let there = match V {
        1 => there(call, first),
        _ => !0,
    };
    let len = V * ROWS * W::LEN;
    let weights = call.weights.wrapping_add(first * W::LEN);
    let ahead = (call.tuning.ahead / len).min(call.columns);
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
            bring(next, len, N == 1 && call.tuning.past_caches);
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
/// caches or not.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn bring(start: *const u8, len: usize, past_caches: bool) {
    for line in 0..len.div_ceil(64) + 1 {
        let line = start.wrapping_add((64 * line).min(len - 1)).cast();
        // SAFETY: a hint, which any address may be given to (older compilers want the block).
        #[allow(unused_unsafe)]
        unsafe {
            match past_caches {
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
type TransposedPanel = [Lanes16<f32>; WIDTH * BLOCK];

/// Products of a type whose stored rows are columns.
struct StoredByColumn<W>(PhantomData<W>);

impl<W: Avx512Floats> Operands for StoredByColumn<W> {
    type Weights = W::Weight;
    type Inputs = [u8; 4];
    const ELEMENTS: [usize; 2] = [1, 1];
}

impl<W: Avx512Floats> Gemm for StoredByColumn<W> {
    const ROWS: usize = WIDTH * ROWS;
    const COLUMNS: usize = BLOCK;
    const INPUTS: usize = INPUTS;
    type Panel = TransposedPanel;
    const EMPTY: TransposedPanel = [Lanes16([0.0; ROWS]); WIDTH * BLOCK];
    type Sums = [__m512; WIDTH];

    /// What changes no sum, not even a zero's sign.
    #[inline(always)]
    unsafe fn zero() -> Self::Sums {
        // SAFETY: the caller's promise.
        [unsafe { _mm512_set1_ps(-0.0) }; WIDTH]
    }

    #[inline(always)]
    unsafe fn pack(strip: &Strip<'_>, panel: &mut TransposedPanel) {
        // SAFETY: the caller's promise, handed on.
        unsafe { pack::<W>(strip, panel) }
    }

    #[inline(always)]
    unsafe fn step(tiles: &mut Tiles<'_, Self>) {
        // SAFETY: so many inputs are left.
        unsafe {
            match tiles.left() {
                1 => tiles.tile::<1>(),
                2 => tiles.tile::<2>(),
                3 => tiles.tile::<3>(),
                4 | 8 => tiles.tile::<4>(),
                5 | 10 => tiles.tile::<5>(),
                _ => tiles.tile::<INPUTS>(),
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<const N: usize>(
        panel: &TransposedPanel,
        x: [&[[u8; 4]]; N],
        ahead: [*const u8; N],
        sums: &mut [Self::Sums; N],
    ) {
        // SAFETY: the caller's promise, handed on.
        unsafe { tile(panel, x, &ahead, sums) }
    }

    #[inline(always)]
    unsafe fn write(sums: &Self::Sums, out: *mut f32, rows: usize) {
        // SAFETY: the caller's promise.
        unsafe { write(sums, out, rows) }
    }
}

/// Fills a panel: `[column][result]`, with zeros in place of results that are not there.
///
/// # Safety
///
/// There are these columns, and results from the strip's first on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn pack<W: Avx512Floats>(strip: &Strip<'_>, panel: &mut TransposedPanel) {
    let (call, first) = (strip.call, strip.first);
    let mut there = [0; WIDTH];
    for r in 0..WIDTH {
        there[r] = self::there(call, first + r * ROWS);
    }
    for column in 0..strip.columns.len() {
        let row = (strip.columns.start + column) * call.weight_stride + first * W::LEN;
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

/// Adds a panel's products with M inputs to their sums.
///
/// # Safety
///
/// The inputs have as many columns as the panel.
#[inline(never)] // so that the registers are all for its sums
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile<const M: usize>(
    panel: &TransposedPanel,
    x: [&[[u8; 4]]; M],
    ahead: &[*const u8; M],
    totals: &mut [[__m512; WIDTH]; M],
) {
    let mut inputs = *ahead;
    for m in 0..M {
        inputs[m] = x[m].as_ptr().cast();
        // The hardware does not foresee them.
        fetch::<_MM_HINT_T0>(ahead[m], BLOCK * size_of::<f32>());
    }
    let mut sums = [[_mm512_setzero_ps(); WIDTH]; M];
    for column in 0..x[0].len() {
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
            totals[m][r] = _mm512_add_ps(totals[m][r], sums[m][r]);
        }
    }
}
