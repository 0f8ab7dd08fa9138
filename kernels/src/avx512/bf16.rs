//! Products of F16 and BF16 weights with activations rounded to bf16, for CPUs that multiply pairs
//! of such numbers (AVX-512 BF16: Zen 4, Sapphire Rapids and later).
//!
//! F16 weights are rounded to bf16 as well: in two parts, which are exact, they would take as many
//! instructions as float32 does.
//!
//! The pairs of a block of columns go to [`CLASSES`] sums in turn, each one chain of the instruction;
//! these are added up in order, and so are the blocks. Few inputs: rows are read as they lie in the
//! file, so that a register holds the sums of all classes. Many inputs: a panel of weights is turned,
//! so that sixteen rows' pairs of the same columns stand in a register, and is multiplied with a few
//! inputs at a time, class after class. The results agree bit for bit.

use core::arch::x86_64::*;
use core::marker::PhantomData;

use rillm_formats::manifest::DType;

use super::gemv::{Kept, RowGroup};
use super::packed::{Addresses16, fetch, write};
use super::register::{Lanes16, ROWS, load, store, transpose};
use crate::MatMulFn;
use crate::generic::{Gemm, Gemv, Operands, Strip, Tiles, products};

/// Sums of a block, to which its pairs go in turn: one to a lane.
const CLASSES: usize = 16;

/// Columns of a register.
const STEP: usize = 2 * CLASSES;

/// Columns whose products are summed by themselves: a panel of so many fits the nearest cache, and
/// errors grow more slowly.
const BLOCK: usize = 256;

/// Pairs of a whole block in each class.
const DEPTH: usize = BLOCK / STEP;

/// Blocks of which sixteen rows' sums are kept.
const KEPT: usize = 16;

/// Registers of rows in a panel.
const WIDTH: usize = 4;

/// Inputs of a tile: with so many registers of rows, as many independent sums as hide the latency of
/// one.
const INPUTS: usize = 4;

/// Bytes of a weight, and of an activation.
const LEN: usize = 2;

/// The product of a type of floats of 16 bits.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::F16 => product::<TurnedPairs<RoundedF16>>,
        DType::BF16 => product::<TurnedPairs<StoredBf16>>,
        _ => return None,
    })
}

products!("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16");

/// A type of weights.
trait Bf16Weights {
    /// Thirty-two of them as bf16; zero in place of those that are not there.
    ///
    /// # Safety
    ///
    /// The CPU has this file's instructions, and the weights that are there can be read.
    unsafe fn register(from: *const u8, there: __mmask32) -> __m512i;
}

struct StoredBf16;
struct RoundedF16;

impl Bf16Weights for StoredBf16 {
    #[inline(always)]
    unsafe fn register(from: *const u8, there: __mmask32) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe { _mm512_maskz_loadu_epi16(there, from.cast()) }
    }
}

impl Bf16Weights for RoundedF16 {
    #[inline(always)]
    unsafe fn register(from: *const u8, there: __mmask32) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe { rounded(_mm512_maskz_loadu_epi16(there, from.cast())) }
    }
}

/// Half-precision numbers as bf16.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")]
fn rounded(halves: __m512i) -> __m512i {
    let low = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
    let high = _mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(halves));
    let pairs = _mm512_cvtne2ps_pbh(high, low);
    // SAFETY: both are 64 bytes, of which any are a value.
    unsafe { core::mem::transmute::<__m512bh, __m512i>(pairs) }
}

/// Registers as the instruction takes them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")]
fn pairs(register: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes, of which any are a value.
    unsafe { core::mem::transmute::<__m512i, __m512bh>(register) }
}

/// Products of a type whose panels are turned.
struct TurnedPairs<W>(PhantomData<W>);

impl<W: Bf16Weights> Operands for TurnedPairs<W> {
    type Weights = [u8; LEN];
    type Inputs = [u8; LEN];
    const ELEMENTS: [usize; 2] = [1, 1];
}

impl<W: Bf16Weights> Gemv for TurnedPairs<W> {
    const ROWS: usize = ROWS;
    type Prepared = ();

    #[inline(always)]
    fn prepared() {}

    #[inline(always)]
    unsafe fn gemv(rows: &Strip<'_>, x: &[[u8; LEN]], _: &mut (), out: *mut f32) {
        // SAFETY: the caller's promise, handed on.
        unsafe {
            let sums = sixteen_rows::<W>(&RowGroup::of(rows), x);
            write(&[sums], out, rows.left());
        }
    }
}

/// The results of sixteen rows with an input.
///
/// # Safety
///
/// The rows are as long as the input.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")]
unsafe fn sixteen_rows<W: Bf16Weights>(group: &RowGroup, x: &[[u8; LEN]]) -> __m512 {
    let mut kept = Kept::<__m512i, KEPT>::new();
    let mut total = _mm512_setzero_ps();
    for part in (0..x.len()).step_by(KEPT * BLOCK) {
        let columns = (x.len() - part).min(KEPT * BLOCK);
        let bytes = (LEN * part, LEN * (part + columns));
        for row in 0..ROWS {
            let stretch = group.stretch(row, bytes, LEN * x.len());
            for start in (0..columns).step_by(BLOCK) {
                let weights = stretch.at.wrapping_add(LEN * start);
                let x = x[part + start..].as_ptr().cast();
                // SAFETY: the row and the input have these columns.
                let sums = unsafe {
                    match columns - start {
                        BLOCK.. => {
                            stretch.fetch(LEN * start, LEN * BLOCK);
                            block::<W>(weights, x)
                        }
                        there => {
                            stretch.fetch(LEN * start, LEN * there);
                            last::<W>(weights, x, there)
                        }
                    }
                };
                kept.keep(start / BLOCK, row, _mm512_castps_si512(sums));
            }
        }
        for start in (0..columns).step_by(BLOCK) {
            let step = (start / BLOCK, columns.div_ceil(BLOCK));
            group.fetch(step, bytes, LEN * x.len());
            // SAFETY: all rows' sums of this block have been kept.
            let sums = transpose(*unsafe { kept.all(start / BLOCK) });
            let there = (columns - start).div_ceil(2);
            let mut sum = _mm512_castsi512_ps(sums[0]);
            for class in 1..CLASSES {
                if class < there {
                    sum = _mm512_add_ps(sum, _mm512_castsi512_ps(sums[class]));
                }
            }
            total = match part + start {
                0 => sum,
                _ => _mm512_add_ps(total, sum),
            };
        }
    }
    total
}

/// A row's sums of a block.
///
/// # Safety
///
/// There are as many weights and inputs.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")]
unsafe fn block<W: Bf16Weights>(weights: *const u8, x: *const u8) -> __m512 {
    let mut sums = _mm512_setzero_ps();
    for column in (0..BLOCK).step_by(STEP) {
        // SAFETY: the caller's promise.
        unsafe {
            let weights = W::register(weights.wrapping_add(LEN * column), !0);
            let x = _mm512_loadu_si512(x.wrapping_add(LEN * column).cast());
            sums = _mm512_dpbf16_ps(sums, pairs(weights), pairs(x));
        }
    }
    sums
}

/// The same of so many columns, which are fewer. Sums to which no pair goes stay as they are.
///
/// # Safety
///
/// There are as many weights and inputs.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")]
unsafe fn last<W: Bf16Weights>(weights: *const u8, x: *const u8, columns: usize) -> __m512 {
    let mut sums = _mm512_setzero_ps();
    for column in (0..columns).step_by(STEP) {
        let there = (columns - column).min(STEP) as u32;
        let (numbers, both) = (
            u32::MAX >> (32 - there),
            u16::MAX >> (16 - there.div_ceil(2)),
        );
        // SAFETY: the caller's promise.
        unsafe {
            let weights = W::register(weights.wrapping_add(LEN * column), numbers);
            let x = x.wrapping_add(LEN * column);
            let x = _mm512_maskz_loadu_epi16(numbers, x.cast());
            sums = _mm512_mask_dpbf16_ps(sums, both, pairs(weights), pairs(x));
        }
    }
    sums
}

/// A panel: `[class][pair of it][row]`.
type PairPanel = [Lanes16<u32>; WIDTH * BLOCK / 2];

impl<W: Bf16Weights> Gemm for TurnedPairs<W> {
    const ROWS: usize = WIDTH * ROWS;
    const COLUMNS: usize = BLOCK;
    const INPUTS: usize = INPUTS;
    const PACK_STEPS: usize = WIDTH * BLOCK / STEP;
    type Panel = PairPanel;
    const EMPTY: PairPanel = [Lanes16([0; ROWS]); WIDTH * BLOCK / 2];
    type Sums = [__m512; WIDTH];

    /// What changes no sum, not even a zero's sign.
    #[inline(always)]
    unsafe fn zero() -> Self::Sums {
        // SAFETY: the caller's promise.
        [unsafe { _mm512_set1_ps(-0.0) }; WIDTH]
    }

    #[inline(always)]
    unsafe fn pack(strip: &Strip<'_>, panel: &mut PairPanel) {
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
                // Fewer than three have too few sums to keep the multipliers busy.
                3 | 5 | 6 => tiles.tile::<3>(),
                _ => tiles.tile::<INPUTS>(),
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<const N: usize>(
        panel: &PairPanel,
        x: [&[[u8; LEN]]; N],
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

/// Turns up to sixty-four rows.
///
/// # Safety
///
/// The strip's columns are there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")]
unsafe fn pack<W: Bf16Weights>(strip: &Strip<'_>, panel: &mut PairPanel) {
    let columns = strip.columns.len();
    for r in 0..WIDTH {
        if r * ROWS >= strip.left() {
            break;
        }
        let rows: Addresses16 = strip.rows(r * ROWS);
        for column in (0..columns).step_by(STEP) {
            let there = u32::MAX >> (STEP - (columns - column).min(STEP));
            strip.fetch::<TurnedPairs<W>>((r * BLOCK + column) / STEP);
            let mut found = [_mm512_setzero_si512(); ROWS];
            for row in 0..ROWS {
                let weights = rows[row].wrapping_add(LEN * column);
                // SAFETY: the caller promises these columns.
                found[row] = unsafe { W::register(weights, there) };
            }
            let turned = transpose(found);
            for class in 0..CLASSES {
                let at = class * DEPTH + column / STEP;
                store(&mut panel[at * WIDTH + r], turned[class]);
            }
        }
    }
}

/// Adds a panel's products with M inputs to their sums.
///
/// # Safety
///
/// The inputs have as many columns as the panel.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")]
unsafe fn tile<const M: usize>(
    panel: &PairPanel,
    inputs: [&[[u8; LEN]]; M],
    ahead: &[*const u8; M],
    sums: &mut [[__m512; WIDTH]; M],
) {
    let columns = inputs[0].len();
    let whole = columns / 2;
    let mut totals = [[_mm512_setzero_ps(); WIDTH]; M];
    for class in 0..CLASSES.min(columns.div_ceil(2)) {
        if class < M {
            // The hardware does not foresee them.
            fetch::<_MM_HINT_T0>(ahead[class], LEN * BLOCK);
        }
        let mut sums = [[_mm512_setzero_ps(); WIDTH]; M];
        let panel = panel[class * DEPTH * WIDTH..].as_ptr();
        let steps = whole.saturating_sub(class).div_ceil(CLASSES);
        for step in 0..steps {
            // SAFETY: a class has no more pairs in a panel; the caller promises these inputs.
            unsafe {
                let mut x = [0; M];
                for m in 0..M {
                    let pairs = inputs[m].as_ptr().cast::<i32>();
                    x[m] = pairs.add(class + step * CLASSES).read_unaligned();
                }
                add_pair(panel.add(step * WIDTH), x, &mut sums);
            }
        }
        if columns % 2 == 1 && class == whole % CLASSES {
            // The last column has nothing beside it.
            let mut x = [0; M];
            for m in 0..M {
                x[m] = i32::from(u16::from_le_bytes(inputs[m][columns - 1]));
            }
            // SAFETY: the panel has this pair, whose second half is zero.
            unsafe { add_pair(panel.add(steps * WIDTH), x, &mut sums) };
        }
        for m in 0..M {
            for r in 0..WIDTH {
                totals[m][r] = match class {
                    0 => sums[m][r],
                    _ => _mm512_add_ps(totals[m][r], sums[m][r]),
                };
            }
        }
    }
    for m in 0..M {
        for r in 0..WIDTH {
            sums[m][r] = _mm512_add_ps(sums[m][r], totals[m][r]);
        }
    }
}

/// Adds the products of sixty-four rows' pairs with a pair of each input.
///
/// # Safety
///
/// There are as many weights.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")]
unsafe fn add_pair<const M: usize>(
    weights: *const Lanes16<u32>,
    x: [i32; M],
    sums: &mut [[__m512; WIDTH]; M],
) {
    let mut rows = [_mm512_setzero_si512(); WIDTH];
    for r in 0..WIDTH {
        // SAFETY: the caller's promise.
        rows[r] = load(unsafe { &*weights.add(r) });
    }
    for m in 0..M {
        let x = pairs(_mm512_set1_epi32(x[m]));
        for r in 0..WIDTH {
            sums[m][r] = _mm512_dpbf16_ps(sums[m][r], pairs(rows[r]), x);
        }
    }
}

/// Rounds floats to bf16, to nearest and ties to even: a row of [`crate::Activation::BF16`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn quantize_bf16(values: &[f32], out: &mut [u8]) {
    let (values, rest) = values.as_chunks::<16>();
    let (whole, _) = out.as_chunks_mut::<{ 16 * LEN }>();
    for (values, out) in values.iter().zip(whole) {
        // SAFETY: the array is 64 readable bytes.
        let x = unsafe { _mm512_loadu_ps(values.as_ptr()) };
        let bits = _mm512_castps_si512(x);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
        let near = _mm512_add_epi32(bits, half);
        // What is no number stays none.
        let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x40_0000));
        let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
        let near = _mm512_mask_mov_epi32(near, is_nan, quiet);
        let words = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(near));
        // SAFETY: the array is 32 writable bytes.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), words) };
    }
    let skipped = 16 * LEN * values.len();
    crate::quant::quantize_bf16(rest, out.get_mut(skipped..).unwrap_or_default());
}
