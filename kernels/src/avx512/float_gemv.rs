//! Few inputs against rows of floats, read as they lie in the file: a register holds the sums of all
//! classes of two blocks. An input is put in the order in which weights meet it once for many rows:
//! for each row anew, that took as many instructions as the products.

use core::arch::x86_64::*;
use core::mem::MaybeUninit;

use super::float::{Avx512Floats, BLOCK, CLASSES, DEPTH, FloatRow, PAIR, Turned16};
use super::gemv::{Kept, RowGroup};
use super::packed::write;
use super::register::{Lanes16, ROWS, load_floats, transpose};
use crate::generic::{Gemv, Strip};

/// Pairs of blocks of which sixteen rows' sums are kept.
const PAIRS: usize = 16;

impl<W: FloatRow> Gemv for Turned16<W> {
    const ROWS: usize = ROWS;
    type Prepared = PreparedPairs;

    #[inline(always)]
    fn prepared() -> PreparedPairs {
        PreparedPairs {
            pairs: [const { MaybeUninit::uninit() }; PAIRS],
            of: (core::ptr::null(), 0),
        }
    }

    #[inline(always)]
    unsafe fn gemv(rows: &Strip<'_>, x: &[[u8; 4]], prepared: &mut PreparedPairs, out: *mut f32) {
        // SAFETY: the caller's promise, handed on.
        unsafe {
            let sums = W::gemv(&RowGroup::of(rows), x, prepared);
            write(&[sums], out, rows.left());
        }
    }
}

/// Inputs of two blocks: eight of the one and eight of the other, which one register of weights
/// meets, after each other. In place of those that are not there stands what changes no sum, not
/// even a zero's sign.
pub(super) type PairOfInputs = [Lanes16<f32>; DEPTH];

/// A part of an input in the order in which weights meet it: put together once for many rows.
pub(super) struct PreparedPairs {
    pairs: [MaybeUninit<PairOfInputs>; PAIRS],
    /// Where the part begins that has been prepared, and its length.
    of: (*const [u8; 4], usize),
}

impl PreparedPairs {
    /// Those of a part of up to [`PAIRS`] pairs of blocks.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn of(&mut self, x: &[[u8; 4]]) -> &[PairOfInputs] {
        let pairs = &mut self.pairs[..x.len().div_ceil(PAIR)];
        if self.of != (x.as_ptr(), x.len()) {
            for (pair, x) in pairs.iter_mut().zip(x.chunks(PAIR)) {
                pair.write(pair_of_inputs(x));
            }
            self.of = (x.as_ptr(), x.len());
        }
        // SAFETY: so many have been prepared, now or for the rows before; what is written has the
        // layout of what may not be.
        unsafe { &*(&raw const *pairs as *const [PairOfInputs]) }
    }
}

/// Puts together the inputs of up to two blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn pair_of_inputs(x: &[[u8; 4]]) -> PairOfInputs {
    let mut pair = [Lanes16([-0.0; ROWS]); DEPTH];
    for (block, x) in x.chunks(BLOCK).enumerate() {
        for (lanes, x) in pair.iter_mut().zip(x.chunks(CLASSES)) {
            for (lane, x) in lanes.0[block * CLASSES..].iter_mut().zip(x) {
                *lane = f32::from_ne_bytes(*x);
            }
        }
    }
    pair
}

/// Sixteen rows against an input.
///
/// # Safety
///
/// The rows are as long as the input.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn sixteen_rows<W: FloatRow>(
    group: &RowGroup,
    x: &[[u8; 4]],
    prepared: &mut PreparedPairs,
) -> __m512 {
    let mut kept = Kept::<__m512i, PAIRS>::new();
    let mut total = _mm512_setzero_ps();
    for part in (0..x.len()).step_by(PAIRS * PAIR) {
        let columns = (x.len() - part).min(PAIRS * PAIR);
        let pairs = prepared.of(&x[part..part + columns]);
        for row in 0..ROWS {
            let bytes = (W::bytes(part), W::bytes(part + columns));
            let stretch = group.stretch(row, bytes, W::bytes(x.len()));
            for (pair, x) in pairs.iter().enumerate() {
                let start = pair * PAIR;
                let weights = stretch.at.wrapping_add(W::bytes(start));
                // SAFETY: the row and the input have these columns.
                let sums = unsafe {
                    match columns - start {
                        PAIR.. => {
                            stretch.fetch(W::bytes(start), W::bytes(PAIR));
                            W::pair(weights, x)
                        }
                        there => {
                            stretch.fetch(W::bytes(start), W::bytes(there));
                            W::last(weights, x, there)
                        }
                    }
                };
                kept.keep(pair, row, _mm512_castps_si512(sums));
            }
        }
        let bytes = (W::bytes(part), W::bytes(part + columns));
        for start in (0..columns).step_by(PAIR) {
            let step = (start / PAIR, columns.div_ceil(PAIR));
            group.fetch(step, bytes, W::bytes(x.len()));
            // SAFETY: all rows' sums of this pair have been kept.
            let sums = transpose(*unsafe { kept.all(start / PAIR) });
            for block in 0..2 {
                let there = (columns - start).saturating_sub(block * BLOCK);
                if there == 0 {
                    break;
                }
                let mut sum = _mm512_castsi512_ps(sums[block * CLASSES]);
                for class in 1..CLASSES {
                    if class < there {
                        let next = _mm512_castsi512_ps(sums[block * CLASSES + class]);
                        sum = _mm512_add_ps(sum, next);
                    }
                }
                total = match part + start + block {
                    0 => sum,
                    _ => _mm512_add_ps(total, sum),
                };
            }
        }
    }
    total
}

/// The same of rows of one block, which are near each other: side by side, two in a register.
///
/// # Safety
///
/// The rows are as long as the input.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn short<W: Avx512Floats>(group: &RowGroup, x: &[[u8; 4]]) -> __m512 {
    let columns = x.len();
    for row in 0..ROWS {
        let len = columns * W::LEN;
        group.stretch(row, (0, len), len).fetch(0, len);
    }
    // Rows in the order in which `turn` has them.
    let pair = |at: usize| [at + at / 4 * 4, at + at / 4 * 4 + 4].map(|row| group.rows[row]);
    let mut sums = [_mm512_setzero_ps(); CLASSES];
    for column in (0..columns).step_by(CLASSES) {
        let there = match columns - column {
            CLASSES.. => !0,
            rest => !(!0 << rest),
        };
        for at in 0..CLASSES {
            let weights = pair(at).map(|row| row.wrapping_add(column * W::LEN));
            // SAFETY: the caller's promise.
            unsafe {
                let x =
                    _mm256_mask_loadu_ps(_mm256_set1_ps(-0.0), there, x[column..].as_ptr().cast());
                let x = _mm512_broadcast_f32x8(x);
                sums[at] = _mm512_fmadd_ps(W::eights(weights, [there; 2]), x, sums[at]);
            }
        }
    }
    let turned = turn(sums);
    let mut sum = turned[0];
    for class in 1..CLASSES {
        if class < columns {
            sum = _mm512_add_ps(sum, turned[class]);
        }
    }
    sum
}

/// Lane k of half h of register r → lane r of register k: the first halves' of registers 0 to 3,
/// then the second halves', then the same of the others.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn turn(of: [__m512; CLASSES]) -> [__m512; CLASSES] {
    let pairs = |a: __m512, b: __m512| {
        let (low, high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        (_mm512_castps_pd(low), _mm512_castps_pd(high))
    };
    let fours = |at: usize| {
        let ((a, c), (b, d)) = (pairs(of[at], of[at + 1]), pairs(of[at + 2], of[at + 3]));
        [
            _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)),
            _mm512_castpd_ps(_mm512_unpacklo_pd(c, d)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(c, d)),
        ]
    };
    let (low, high) = (fours(0), fours(4));
    let mut turned = [_mm512_setzero_ps(); CLASSES];
    for k in 0..4 {
        turned[k] = _mm512_shuffle_f32x4::<0b10_00_10_00>(low[k], high[k]);
        turned[4 + k] = _mm512_shuffle_f32x4::<0b11_01_11_01>(low[k], high[k]);
    }
    turned
}

/// A row's sums of two blocks: all classes of the one, then of the other.
///
/// # Safety
///
/// There are as many weights.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn pair<W: Avx512Floats>(weights: *const u8, x: &PairOfInputs) -> __m512 {
    let mut sums = _mm512_setzero_ps();
    for (two, x) in x.as_chunks::<2>().0.iter().enumerate() {
        // SAFETY: the caller's promise.
        let weights = unsafe { W::sixteens(both::<W>(weights, two * 2 * CLASSES)) };
        for (weights, x) in weights.into_iter().zip(x) {
            sums = _mm512_fmadd_ps(weights, load_floats(x), sums);
        }
    }
    sums
}

/// The same of so many columns, which are fewer.
///
/// # Safety
///
/// There are as many weights.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn last<W: Avx512Floats>(
    weights: *const u8,
    x: &PairOfInputs,
    columns: usize,
) -> __m512 {
    let count = |column| columns.saturating_sub(column).min(CLASSES);
    let mut sums = _mm512_setzero_ps();
    for (column, x) in (0..BLOCK.min(columns)).step_by(CLASSES).zip(x) {
        let from = both::<W>(weights, column);
        // SAFETY: the caller's promise.
        let weights = unsafe {
            match (count(column), count(BLOCK + column)) {
                (CLASSES, CLASSES) => W::eights(from, [!0; 2]),
                (CLASSES, 0) => W::eights(from, [!0, 0]),
                (first, second) => {
                    let there = [!(!0 << first), !(!0 << second)].map(|mask: u16| mask as u8);
                    W::eights(from, there)
                }
            }
        };
        sums = _mm512_fmadd_ps(weights, load_floats(x), sums);
    }
    sums
}

/// Where this column stands in each of two blocks.
#[inline]
fn both<W: Avx512Floats>(start: *const u8, column: usize) -> [*const u8; 2] {
    [column, BLOCK + column].map(|column| start.wrapping_add(column * W::LEN))
}
