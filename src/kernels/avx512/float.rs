//! Products of float weights with float activations.
//!
//! Weights are turned so that sixteen rows' elements of one column stand in a register, in which
//! each result is then one chain of fused multiplications and additions for each [`BLOCK`]
//! columns. One input: the chains follow as the rows are read. More inputs: a panel of turned
//! weights is written first, and six inputs are multiplied with it at a time. The results agree
//! bit for bit.

use core::arch::x86_64::*;

use rillm_formats::manifest::DType;

use super::panel::fetch_ahead;
use super::register::{Lanes, ROWS, store, transpose};
use super::wide::Sixteen;
use crate::kernels::wide::{F32, tile};
use crate::kernels::{MatMul, MatMulFn};

/// Columns whose products are summed by themselves: a panel of so many fits the nearest cache,
/// and errors grow more slowly.
const BLOCK: usize = 128;

/// Registers of rows in a panel.
const WIDTH: usize = 4;

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

/// Where sixteen rows stand.
type Rows = [*const u8; ROWS];

/// A type of weights.
///
/// # Safety
///
/// Of both functions: the CPU has this table's instructions.
trait Weights {
    /// Bytes of one.
    const LEN: usize;
    /// Columns in a register's worth of a row.
    const STEP: usize = 64 / Self::LEN;
    /// A register's worth of each row, turned in some order.
    unsafe fn turn(rows: [__m512i; ROWS]) -> [__m512i; ROWS];
    /// Column `c` of them, as floats.
    unsafe fn column(turned: &[__m512i; ROWS], c: usize) -> __m512;
}

struct Single;
struct Half;
struct Brain;

impl Weights for Single {
    const LEN: usize = 4;
    #[inline(always)]
    unsafe fn turn(rows: [__m512i; ROWS]) -> [__m512i; ROWS] {
        // SAFETY: the caller's promise.
        unsafe { transpose(rows) }
    }
    #[inline(always)]
    unsafe fn column(turned: &[__m512i; ROWS], c: usize) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_castsi512_ps(turned[c]) }
    }
}

impl Weights for Brain {
    const LEN: usize = 2;
    #[inline(always)]
    unsafe fn turn(rows: [__m512i; ROWS]) -> [__m512i; ROWS] {
        // SAFETY: the caller's promise.
        unsafe { transpose(rows) }
    }
    /// Two columns stand in a word; a float's upper half is all of it.
    #[inline(always)]
    unsafe fn column(turned: &[__m512i; ROWS], c: usize) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe {
            _mm512_castsi512_ps(match c % 2 {
                0 => _mm512_slli_epi32::<16>(turned[c / 2]),
                _ => _mm512_and_si512(turned[c / 2], _mm512_set1_epi32(-1 << 16)),
            })
        }
    }
}

impl Weights for Half {
    const LEN: usize = 2;
    /// Each result holds sixteen rows of two columns: in `[2j]` columns j and 8 + j, in
    /// `[2j + 1]` columns 16 + j and 24 + j.
    #[inline(always)]
    unsafe fn turn(rows: [__m512i; ROWS]) -> [__m512i; ROWS] {
        // SAFETY: the caller's promise.
        unsafe {
            // Words of two rows: in each quarter, columns 0 to 3 and 4 to 7.
            let mut pairs = rows;
            for i in 0..8 {
                let (a, b) = (rows[2 * i], rows[2 * i + 1]);
                pairs[i] = _mm512_unpacklo_epi16(a, b);
                pairs[8 + i] = _mm512_unpackhi_epi16(a, b);
            }
            // Eight rows of one column in each quarter.
            let mut eights = rows;
            for half in 0..2 {
                for upper in 0..2 {
                    let at = 8 * half + 4 * upper;
                    let [a, b, c, d] = [pairs[at], pairs[at + 1], pairs[at + 2], pairs[at + 3]];
                    let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
                    let ab_high = _mm512_unpackhi_epi32(a, b);
                    let cd_high = _mm512_unpackhi_epi32(c, d);
                    let at = 4 * half + 8 * upper;
                    eights[at] = _mm512_unpacklo_epi64(ab, cd);
                    eights[at + 1] = _mm512_unpackhi_epi64(ab, cd);
                    eights[at + 2] = _mm512_unpacklo_epi64(ab_high, cd_high);
                    eights[at + 3] = _mm512_unpackhi_epi64(ab_high, cd_high);
                }
            }
            let low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
            let high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
            let mut out = rows;
            for j in 0..8 {
                let (first, second) = (eights[j], eights[8 + j]);
                out[2 * j] = _mm512_permutex2var_epi64(first, low, second);
                out[2 * j + 1] = _mm512_permutex2var_epi64(first, high, second);
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn column(turned: &[__m512i; ROWS], c: usize) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe {
            let both = turned[2 * (c % 8) + c / 16];
            _mm512_cvtph_ps(match c / 8 % 2 {
                0 => _mm512_castsi512_si256(both),
                _ => _mm512_extracti64x4_epi64::<1>(both),
            })
        }
    }
}

/// # Safety
///
/// As for [`crate::kernels::MatMulFn`].
#[inline(always)]
unsafe fn product<W: Weights>(call: &MatMul) {
    // SAFETY: the caller's promise, handed on for rows and inputs that there are.
    unsafe {
        match call.inputs_len {
            0 => {}
            1 => {
                for first in (0..call.weight_rows).step_by(ROWS) {
                    direct::<W>(call, first);
                }
            }
            _ => {
                let mut panel = [Lanes([0.0; ROWS]); WIDTH * BLOCK];
                for first in (0..call.weight_rows).step_by(WIDTH * ROWS) {
                    for start in (0..call.columns).step_by(BLOCK) {
                        let columns = BLOCK.min(call.columns - start);
                        unpack::<W>(call, first, (start, columns), &mut panel);
                        multiply(call, first, (start, columns), &panel);
                    }
                }
            }
        }
    }
}

/// The rows from the `first` on, filled up with the last one, whose further results are dropped.
fn rows_at(call: &MatMul, first: usize) -> Rows {
    let mut rows = [call.weights; ROWS];
    for (row, at) in rows.iter_mut().enumerate() {
        // In range: the caller promises whole rows.
        *at = at.wrapping_add((first + row).min(call.weight_rows - 1) * call.weight_stride);
    }
    rows
}

/// A register's worth of each row from `column` on, of which `count` columns are there: turned.
#[inline(always)]
unsafe fn turned<W: Weights>(rows: &Rows, column: usize, count: usize) -> [__m512i; ROWS] {
    // SAFETY: the caller promises `count` weights in each row.
    unsafe {
        let mut found = [_mm512_setzero_si512(); ROWS];
        for row in 0..ROWS {
            let at = rows[row].add(column * W::LEN);
            found[row] = match count == W::STEP {
                true => _mm512_loadu_si512(at.cast()),
                false => _mm512_maskz_loadu_epi16((1 << (count * W::LEN / 2)) - 1, at.cast()),
            };
        }
        W::turn(found)
    }
}

/// Sixteen rows against the only input.
#[inline(always)]
unsafe fn direct<W: Weights>(call: &MatMul, first: usize) {
    let rows = rows_at(call, first);
    // What another worker may have claimed is not fetched.
    let next = match first + ROWS < call.weight_rows {
        true => rows[0].wrapping_add(ROWS * call.weight_stride),
        false => rows[0],
    };
    // SAFETY: the caller promises these rows and this input.
    unsafe {
        let inputs = call.input(0).cast::<f32>();
        let mut total = _mm512_setzero_ps();
        for start in (0..call.columns).step_by(BLOCK) {
            let end = call.columns.min(start + BLOCK);
            let mut sum = _mm512_setzero_ps();
            let mut column = start;
            while column + W::STEP <= end {
                for row in 0..ROWS {
                    fetch_ahead(next, column / W::STEP, 64, row);
                }
                let weights = turned::<W>(&rows, column, W::STEP);
                for c in 0..W::STEP {
                    let x = _mm512_set1_ps(inputs.add(column + c).read_unaligned());
                    sum = _mm512_fmadd_ps(x, W::column(&weights, c), sum);
                }
                column += W::STEP;
            }
            if column < end {
                let weights = turned::<W>(&rows, column, end - column);
                let mut padded = [0.0f32; 32];
                let x = padded.as_mut_ptr();
                x.cast::<u8>().copy_from_nonoverlapping(
                    inputs.add(column).cast(),
                    (end - column) * size_of::<f32>(),
                );
                for c in 0..W::STEP {
                    let x = _mm512_set1_ps(padded[c]);
                    sum = _mm512_fmadd_ps(x, W::column(&weights, c), sum);
                }
            }
            total = match start {
                0 => sum,
                _ => _mm512_add_ps(total, sum),
            };
        }
        write(call, (0, first), total);
    }
}

/// Turns up to sixty-four rows: `[column][row]`.
#[inline(always)]
unsafe fn unpack<W: Weights>(
    call: &MatMul,
    first: usize,
    (start, columns): (usize, usize),
    panel: &mut [Lanes<f32>; WIDTH * BLOCK],
) {
    // SAFETY: the caller promises these rows.
    unsafe {
        for r in 0..WIDTH {
            if first + r * ROWS >= call.weight_rows {
                break;
            }
            let rows = rows_at(call, first + r * ROWS);
            let mut column = 0;
            while column < columns {
                let count = W::STEP.min(columns - column);
                let weights = turned::<W>(&rows, start + column, count);
                for c in 0..W::STEP {
                    // A last step's empty columns may lie behind the panel's end.
                    if let Some(to) = panel.get_mut((column + c) * WIDTH + r) {
                        store(to, _mm512_castps_si512(W::column(&weights, c)));
                    }
                }
                column += W::STEP;
            }
        }
    }
}

/// Adds a panel's products with all inputs to the results.
#[inline(always)]
unsafe fn multiply(
    call: &MatMul,
    first: usize,
    (start, columns): (usize, usize),
    panel: &[Lanes<f32>; WIDTH * BLOCK],
) {
    // SAFETY: the caller promises these inputs and results.
    unsafe {
        let mut index = 0;
        while index < call.inputs_len {
            index += match call.inputs_len - index {
                _ if !call.picks.is_null() => {
                    some::<1>(call, (index, first), (start, columns), panel)
                }
                4 | 5 | 8 => some::<4>(call, (index, first), (start, columns), panel),
                6.. => some::<6>(call, (index, first), (start, columns), panel),
                2 | 3 => some::<2>(call, (index, first), (start, columns), panel),
                _ => some::<1>(call, (index, first), (start, columns), panel),
            };
        }
    }
}

/// The same for M inputs. Returns M.
#[inline(always)]
unsafe fn some<const M: usize>(
    call: &MatMul,
    (index, first): (usize, usize),
    (start, columns): (usize, usize),
    panel: &[Lanes<f32>; WIDTH * BLOCK],
) -> usize {
    // SAFETY: as in `multiply`; the panel holds `columns` ≤ BLOCK columns.
    unsafe {
        let mut sums = [[Sixteen::ZERO; WIDTH]; M];
        let at = call.input(index).add(start * 4);
        let x = (at, call.input_stride);
        let weights = panel.as_ptr().cast::<u8>();
        tile::<Sixteen, F32, M, WIDTH>(&mut sums, x, (weights, WIDTH * 64), weights, columns);
        for m in 0..M {
            for r in 0..WIDTH {
                let row = first + r * ROWS;
                if row >= call.weight_rows {
                    break;
                }
                let mut sum = sums[m][r].0;
                if start > 0 {
                    let from = call.results(index + m).wrapping_add(row);
                    sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask(call, row), from), sum);
                }
                write(call, (index + m, row), sum);
            }
        }
    }
    M
}

/// Which of sixteen rows there are.
fn mask(call: &MatMul, row: usize) -> __mmask16 {
    match call.weight_rows - row {
        ROWS.. => !0,
        rows => (1 << rows) - 1,
    }
}

#[inline(always)]
unsafe fn write(call: &MatMul, (index, row): (usize, usize), sums: __m512) {
    // SAFETY: the caller promises that these results can be written, at any address.
    unsafe {
        let to = call.results(index).wrapping_add(row);
        _mm512_mask_storeu_ps(to, mask(call, row), sums);
    }
}
