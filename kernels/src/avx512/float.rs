//! Products of float weights with float activations.
//!
//! The columns of a block go to [`CLASSES`] sums in turn, each one chain of fused multiplications
//! and additions; these are added up in order, and so are the blocks. Few inputs: rows are read as
//! they lie in the file, so that a register holds the sums of all classes, of two blocks. Many
//! inputs: a panel of weights is turned, so that sixteen rows' elements of one column stand in a
//! register, and is multiplied with a few inputs at a time, class after class. The results agree
//! bit for bit.

use core::arch::x86_64::*;
use core::marker::PhantomData;

use rillm_formats::manifest::DType;

use super::float_gemv::{PairOfInputs, PreparedPairs, last, pair, short, sixteen_rows};
use super::gemv::RowGroup;
use super::packed::{Addresses16, fetch, product, write};
use super::register::{Lanes16, ROWS, load, load_floats, store, transpose};
use crate::MatMulFn;
use crate::generic::{Gemm, Operands, Strip, Tiles};

/// Columns whose products are summed by themselves: a panel of so many fits the nearest cache,
/// and errors grow more slowly.
pub(super) const BLOCK: usize = 128;

/// Sums of a block, to which its columns go in turn: more would cost many inputs time, which
/// change registers for each; fewer would have rows turned for few inputs.
pub(super) const CLASSES: usize = 8;

/// Columns of a whole block in each of them.
pub(super) const DEPTH: usize = BLOCK / CLASSES;

/// Two blocks, whose sums share a register.
pub(super) const PAIR: usize = 2 * BLOCK;

/// Registers of rows in a panel.
const WIDTH: usize = 4;

/// Inputs of a tile: with so many registers of rows, as many sums as hide the latency of one.
const INPUTS: usize = 3;

/// The product of a type of floats.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::F32 => product::<Turned16<Avx512F32>>,
        DType::F16 => product::<Turned16<Avx512F16>>,
        DType::BF16 => product::<Turned16<Avx512Bf16>>,
        _ => return None,
    })
}

/// A type of weights.
///
/// # Safety
///
/// Of all functions: the CPU has this table's instructions, and the weights that are there can be
/// read. The others are zero, and are not read.
pub(super) trait Avx512Floats {
    /// One of them.
    type Weight;
    /// Bytes of one.
    const LEN: usize = size_of::<Self::Weight>();
    /// Sixteen of them, as floats.
    unsafe fn sixteen(from: *const u8, there: __mmask16) -> __m512;
    /// Eight at each of two places, as floats.
    unsafe fn eights(from: [*const u8; 2], there: [__mmask8; 2]) -> __m512;
    /// Sixteen at each of two places, all of which are there: the first eight of both, and the
    /// others.
    unsafe fn sixteens(from: [*const u8; 2]) -> [__m512; 2];
}

pub(super) struct Avx512F32;
pub(super) struct Avx512F16;
pub(super) struct Avx512Bf16;

impl Avx512Floats for Avx512F32 {
    type Weight = [u8; 4];
    #[inline(always)]
    unsafe fn sixteen(from: *const u8, there: __mmask16) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_maskz_loadu_ps(there, from.cast()) }
    }
    #[inline(always)]
    unsafe fn eights(from: [*const u8; 2], there: [__mmask8; 2]) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe {
            let first = _mm256_maskz_loadu_ps(there[0], from[0].cast());
            let second = _mm256_maskz_loadu_ps(there[1], from[1].cast());
            _mm512_insertf32x8::<1>(_mm512_castps256_ps512(first), second)
        }
    }
    #[inline(always)]
    unsafe fn sixteens(from: [*const u8; 2]) -> [__m512; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let others = from.map(|from| from.wrapping_add(CLASSES * Self::LEN));
            [Self::eights(from, [!0; 2]), Self::eights(others, [!0; 2])]
        }
    }
}

impl Avx512Floats for Avx512F16 {
    type Weight = [u8; 2];
    #[inline(always)]
    unsafe fn sixteen(from: *const u8, there: __mmask16) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(there, from.cast())) }
    }
    #[inline(always)]
    unsafe fn eights(from: [*const u8; 2], there: [__mmask8; 2]) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_cvtph_ps(words(from, there)) }
    }
    #[inline(always)]
    unsafe fn sixteens(from: [*const u8; 2]) -> [__m512; 2] {
        // SAFETY: the caller's promise.
        unsafe { halves_by_eights(sixteen_words(from)) }
    }
}

/// The upper half of a float is all of it.
impl Avx512Floats for Avx512Bf16 {
    type Weight = [u8; 2];
    #[inline(always)]
    unsafe fn sixteen(from: *const u8, there: __mmask16) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { upper_halves(_mm256_maskz_loadu_epi16(there, from.cast())) }
    }
    #[inline(always)]
    unsafe fn eights(from: [*const u8; 2], there: [__mmask8; 2]) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { upper_halves(words(from, there)) }
    }
    #[inline(always)]
    unsafe fn sixteens(from: [*const u8; 2]) -> [__m512; 2] {
        // SAFETY: the caller's promise.
        unsafe { upper_halves_by_eights(sixteen_words(from)) }
    }
}

/// Rows of a type, as the products below read them.
///
/// # Safety
///
/// Of all functions: the CPU has this table's instructions, and a row has these columns.
pub(super) trait FloatRow: Sized {
    /// A block.
    type Weights;
    /// Columns of one.
    const ELEMENTS: usize;
    /// Bytes of so many columns, which are whole blocks.
    #[inline(always)]
    fn bytes(columns: usize) -> usize {
        columns / Self::ELEMENTS * size_of::<Self::Weights>()
    }
    /// Sixteen columns, a multiple of them behind where a row or a part of it begins, as floats;
    /// zero in place of those that are not there.
    unsafe fn sixteen_at(row: *const u8, column: usize, there: __mmask16) -> __m512;
    /// A row's sums of two blocks: all classes of the one, then of the other.
    unsafe fn pair(weights: *const u8, x: &PairOfInputs) -> __m512;
    /// The same of so many columns, which are fewer.
    unsafe fn last(weights: *const u8, x: &PairOfInputs, columns: usize) -> __m512;
    /// The results of sixteen rows with an input that is as long.
    #[inline(always)]
    unsafe fn gemv(group: &RowGroup, x: &[[u8; 4]], prepared: &mut PreparedPairs) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { sixteen_rows::<Self>(group, x, prepared) }
    }
}

impl<W: Avx512Floats> FloatRow for W {
    type Weights = W::Weight;
    const ELEMENTS: usize = 1;
    #[inline(always)]
    unsafe fn sixteen_at(row: *const u8, column: usize, there: __mmask16) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { W::sixteen(row.wrapping_add(column * W::LEN), there) }
    }
    #[inline(always)]
    unsafe fn pair(weights: *const u8, x: &PairOfInputs) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { pair::<W>(weights, x) }
    }
    #[inline(always)]
    unsafe fn last(weights: *const u8, x: &PairOfInputs, columns: usize) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { last::<W>(weights, x, columns) }
    }
    #[inline(always)]
    unsafe fn gemv(group: &RowGroup, x: &[[u8; 4]], prepared: &mut PreparedPairs) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe {
            match x.len() <= BLOCK {
                true => short::<W>(group, x),
                false => sixteen_rows::<W>(group, x, prepared),
            }
        }
    }
}

/// Eight words at each of two places.
///
/// # Safety
///
/// As for [`Avx512Floats`].
#[inline(always)]
unsafe fn words(from: [*const u8; 2], there: [__mmask8; 2]) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        let first = _mm_maskz_loadu_epi16(there[0], from[0].cast());
        let second = _mm_maskz_loadu_epi16(there[1], from[1].cast());
        _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(first), second)
    }
}

/// Sixteen words at each of two places.
///
/// # Safety
///
/// As for [`Avx512Floats`].
#[inline(always)]
unsafe fn sixteen_words(from: [*const u8; 2]) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        let first = _mm512_castsi256_si512(_mm256_loadu_si256(from[0].cast()));
        _mm512_inserti64x4::<1>(first, _mm256_loadu_si256(from[1].cast()))
    }
}

/// Half-precision numbers as floats: the first eight of both halves of a register, and the others.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn halves_by_eights(words: __m512i) -> [__m512; 2] {
    let words = _mm512_shuffle_i64x2::<0b11_01_10_00>(words, words);
    [
        _mm512_cvtph_ps(_mm512_castsi512_si256(words)),
        _mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(words)),
    ]
}

/// Each word the upper half of a float: the first eight of both halves of a register, and the
/// others.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn upper_halves_by_eights(words: __m512i) -> [__m512; 2] {
    /// Where each float's upper half stands; the lower one is cleared.
    const PLACES: [Lanes16<[u16; 2]>; 2] = {
        let mut places = [Lanes16([[0; 2]; ROWS]); 2];
        let mut lane = 0;
        while lane < ROWS {
            let place = (lane / CLASSES * ROWS + lane % CLASSES) as u16;
            places[0].0[lane][1] = place;
            places[1].0[lane][1] = place + CLASSES as u16;
            lane += 1;
        }
        places
    };
    const UPPER: __mmask32 = 0xaaaa_aaaa;
    let halves = |places| _mm512_maskz_permutexvar_epi16(UPPER, load(places), words);
    [
        _mm512_castsi512_ps(halves(&PLACES[0])),
        _mm512_castsi512_ps(halves(&PLACES[1])),
    ]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn upper_halves(words: __m256i) -> __m512 {
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(words)))
}

/// Products of a type whose panels are turned.
pub(super) struct Turned16<W>(PhantomData<W>);

impl<W: FloatRow> Operands for Turned16<W> {
    type Weights = W::Weights;
    type Inputs = [u8; 4];
    const ELEMENTS: [usize; 2] = [W::ELEMENTS, 1];
}

/// A panel: `[class][column of it][row]`.
type TurnedPanel = [Lanes16<f32>; WIDTH * BLOCK];

impl<W: FloatRow> Gemm for Turned16<W> {
    const ROWS: usize = WIDTH * ROWS;
    const COLUMNS: usize = BLOCK;
    const INPUTS: usize = INPUTS;
    const PACK_STEPS: usize = WIDTH * BLOCK / ROWS;
    type Panel = TurnedPanel;
    const EMPTY: TurnedPanel = [Lanes16([0.0; ROWS]); WIDTH * BLOCK];
    type Sums = [__m512; WIDTH];

    /// What changes no sum, not even a zero's sign.
    #[inline(always)]
    unsafe fn zero() -> Self::Sums {
        // SAFETY: the caller's promise.
        [unsafe { _mm512_set1_ps(-0.0) }; WIDTH]
    }

    #[inline(always)]
    unsafe fn pack(strip: &Strip<'_>, panel: &mut TurnedPanel) {
        // SAFETY: the caller's promise, handed on.
        unsafe { pack::<W>(strip, panel) }
    }

    #[inline(always)]
    unsafe fn step(tiles: &mut Tiles<'_, Self>) {
        // SAFETY: so many inputs are left.
        unsafe {
            match tiles.left() {
                1 => tiles.tile::<1>(),
                2 | 4 => tiles.tile::<2>(),
                _ => tiles.tile::<INPUTS>(),
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<const N: usize>(
        panel: &TurnedPanel,
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

/// Turns up to sixty-four rows.
///
/// # Safety
///
/// The strip's columns are there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn pack<W: FloatRow>(strip: &Strip<'_>, panel: &mut TurnedPanel) {
    let columns = strip.columns.len();
    for r in 0..WIDTH {
        if r * ROWS >= strip.left() {
            break;
        }
        let rows: Addresses16 = strip.rows(r * ROWS);
        for column in (0..columns).step_by(ROWS) {
            let there = match columns - column {
                ROWS.. => !0,
                rest => !(!0 << rest),
            };
            strip.fetch::<Turned16<W>>((r * BLOCK + column) / ROWS);
            let mut found = [_mm512_setzero_si512(); ROWS];
            for row in 0..ROWS {
                // SAFETY: the caller promises these columns.
                found[row] =
                    _mm512_castps_si512(unsafe { W::sixteen_at(rows[row], column, there) });
            }
            let turned = transpose(found);
            for c in 0..ROWS {
                let (class, at) = ((column + c) % CLASSES, (column + c) / CLASSES);
                store(&mut panel[(class * DEPTH + at) * WIDTH + r], turned[c]);
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
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile<const M: usize>(
    panel: &TurnedPanel,
    inputs: [&[[u8; 4]]; M],
    ahead: &[*const u8; M],
    sums: &mut [[__m512; WIDTH]; M],
) {
    let columns = inputs[0].len();
    let mut totals = [[_mm512_setzero_ps(); WIDTH]; M];
    for class in 0..CLASSES.min(columns) {
        if class < M {
            // The hardware does not foresee them.
            fetch::<_MM_HINT_T0>(ahead[class], BLOCK * size_of::<f32>());
        }
        let mut sums = [[_mm512_setzero_ps(); WIDTH]; M];
        let panel = panel[class * DEPTH * WIDTH..].as_ptr();
        for step in 0..(columns - class).div_ceil(CLASSES) {
            // SAFETY: a class has no more columns in a panel; the caller promises these inputs.
            unsafe {
                let mut weights = [_mm512_setzero_ps(); WIDTH];
                for r in 0..WIDTH {
                    weights[r] = load_floats(&*panel.add(step * WIDTH + r));
                }
                for m in 0..M {
                    let x = inputs[m].as_ptr().cast::<f32>();
                    let x = x.byte_add((class + step * CLASSES) * size_of::<f32>());
                    let x = _mm512_set1_ps(x.read_unaligned());
                    for r in 0..WIDTH {
                        sums[m][r] = _mm512_fmadd_ps(x, weights[r], sums[m][r]);
                    }
                }
            }
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
