//! Products of float weights with float activations, by tiles of bf16.
//!
//! A float is the sum of three bf16, each of which takes eight bits of it and leaves the rest: nothing
//! is rounded. A BF16 weight is one, an F16 weight two. Of their products those are left out that are
//! beyond a float's precision. Their sums over a step of columns are added to a tile, in one order,
//! and those of a block of columns to what there is; so a result depends on its row and its input
//! alone. Few inputs: rows are A, BF16's as they lie in the file, and an input is a B of one column.
//! Many inputs: these are A, and a panel of weights is B. What is multiplied is the same, and the
//! results agree bit for bit.
//!
//! A part that is smaller than a normal float counts as zero: that is below 2⁻¹²⁶ of one. An infinity
//! makes a result NaN, if not infinite.

use core::arch::x86_64::*;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

use rillm_formats::manifest::DType;

use super::float_gemv::OF_ONE_INPUT;
use super::unit::{TILE_ROW_LEN, TILE_ROWS, TileShapes, TileUnit};
use crate::avx512::packed::{fetch, gemm, gemv, write};
use crate::avx512::register::{Lanes16, ROWS, load, load_floats, store, transpose};
use crate::generic::{Gemm, Operands, Strip, Tiles, packing_pays};
use crate::{MatMul, MatMulFn};

/// Columns of a tile of bf16.
pub(super) const STEP: usize = 32;

/// Columns whose products are summed by themselves: errors grow more slowly, and a panel of so many
/// is in a cache.
pub(super) const BLOCK: usize = 128;

/// Steps of a whole block.
const STEPS: usize = BLOCK / STEP;

/// Tiles of weight rows that are worked on side by side: a product takes longer than until the next
/// can begin.
pub(super) const WIDTH: usize = 4;

/// Inputs of a tile.
const INPUTS: usize = TILE_ROWS;

/// Parts of a float.
pub(super) const FLOAT_PARTS: usize = 3;

/// The product of a type of floats.
pub(super) fn of<T: TileUnit>(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::F32 => product::<SplitF32, T, 3>,
        DType::F16 => product::<SplitF16, T, 2>,
        DType::BF16 => product::<SplitBf16, T, 1>,
        _ => return None,
    })
}

/// # Safety
///
/// As for [`crate::MatMulFn`]; the CPU has the instructions of the AVX-512 table and of the unit.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn product<W, T, const PARTS: usize>(call: &MatMul)
where
    W: SplitFloats<PARTS>,
    T: TileUnit,
{
    // SAFETY: the caller's promise, handed on, with tiles as the products want them.
    unsafe {
        if packing_pays::<ByParts<W, T, PARTS>>(call) {
            let _configured = T::configure(&TileShapes::WHOLE);
            gemm::<ByParts<W, T, PARTS>>(call);
        } else {
            let _configured = T::configure(&OF_ONE_INPUT);
            gemv::<ByParts<W, T, PARTS>>(call);
        }
    }
}

/// A type of weights, each a sum of so many bf16.
///
/// # Safety
///
/// Of the function: the CPU has the AVX-512 table's instructions, and the weights that are there can
/// be read. The others are zero, and are not read.
pub(super) trait SplitFloats<const PARTS: usize> {
    /// One of them.
    type Weight;
    /// Bytes of one.
    const LEN: usize = size_of::<Self::Weight>();
    /// The parts of a step's weights, in pairs as they follow each other.
    unsafe fn parts(from: *const u8, there: __mmask32) -> [__m512i; PARTS];
}

struct SplitF32;
struct SplitF16;
struct SplitBf16;

impl SplitFloats<3> for SplitF32 {
    type Weight = [u8; 4];
    #[inline(always)]
    unsafe fn parts(from: *const u8, there: __mmask32) -> [__m512i; 3] {
        // SAFETY: the caller's promise.
        unsafe { parts(floats(from, there)) }
    }
}

impl SplitFloats<2> for SplitF16 {
    type Weight = [u8; 2];
    #[inline(always)]
    unsafe fn parts(from: *const u8, there: __mmask32) -> [__m512i; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let halves = _mm512_maskz_loadu_epi16(there, from.cast());
            let first = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
            let second = _mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(halves));
            let [high, low, _] = parts([first, second]);
            [high, low]
        }
    }
}

impl SplitFloats<1> for SplitBf16 {
    type Weight = [u8; 2];
    #[inline(always)]
    unsafe fn parts(from: *const u8, there: __mmask32) -> [__m512i; 1] {
        // SAFETY: the caller's promise.
        [unsafe { _mm512_maskz_loadu_epi16(there, from.cast()) }]
    }
}

/// A step's floats.
///
/// # Safety
///
/// Those that are there can be read, at any address.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn floats(from: *const u8, there: __mmask32) -> [__m512; 2] {
    let second = from.wrapping_add(STEP / 2 * size_of::<f32>());
    // SAFETY: the caller's promise; the masks leave out the others.
    unsafe {
        [
            _mm512_maskz_loadu_ps(there as u16, from.cast()),
            _mm512_maskz_loadu_ps((there >> 16) as u16, second.cast()),
        ]
    }
}

/// The parts of a step's floats: the upper half of each float, of what it leaves, and what that
/// leaves. Every difference is exact.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn parts(mut floats: [__m512; 2]) -> [__m512i; FLOAT_PARTS] {
    const UPPER_HALVES: [u16; 32] = {
        let mut places = [0; 32];
        let mut at = 0;
        while at < 32 {
            places[at] = 2 * at as u16 + 1;
            at += 1;
        }
        places
    };
    let mut parts = [_mm512_setzero_si512(); FLOAT_PARTS];
    for part in 0..FLOAT_PARTS {
        let [first, second] = floats;
        let places = load(&UPPER_HALVES);
        let words = (_mm512_castps_si512(first), _mm512_castps_si512(second));
        parts[part] = _mm512_permutex2var_epi16(words.0, places, words.1);
        for half in 0..2 {
            let upper = _mm512_set1_epi32(!0xffff);
            let upper = _mm512_and_si512(_mm512_castps_si512(floats[half]), upper);
            floats[half] = _mm512_sub_ps(floats[half], _mm512_castsi512_ps(upper));
        }
    }
    parts
}

/// Which of a step's columns there are, of so many.
#[inline]
pub(super) fn there(columns: usize) -> __mmask32 {
    match columns {
        STEP.. => !0,
        columns => !(!0 << columns),
    }
}

/// The parts that are multiplied, first of a weight, then of an input: each is 2⁻⁷ of the one before
/// at most, and what is left out 2⁻²¹ of a product.
pub(super) const PRODUCTS: [(usize, usize); 6] = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)];

/// Products of a type by its parts.
pub(super) struct ByParts<W, T, const PARTS: usize>(PhantomData<(W, T)>);

impl<W: SplitFloats<PARTS>, T, const PARTS: usize> Operands for ByParts<W, T, PARTS> {
    type Weights = W::Weight;
    type Inputs = [u8; 4];
    const ELEMENTS: [usize; 2] = [1, 1];
}

/// Rows of bf16 as a tile has them.
type Rows16 = [[u8; TILE_ROW_LEN]; TILE_ROWS];

/// A panel: for each step B of each part, of the rows side by side.
type SplitPanel<const PARTS: usize> = [[[Lanes16<i32>; TILE_ROWS * WIDTH]; PARTS]; STEPS];

/// A step's parts of sixteen inputs.
type SplitInputs = [Lanes16<i32>; FLOAT_PARTS * INPUTS];

impl<W, T, const PARTS: usize> Gemm for ByParts<W, T, PARTS>
where
    W: SplitFloats<PARTS>,
    T: TileUnit,
{
    const ROWS: usize = WIDTH * ROWS;
    const COLUMNS: usize = BLOCK;
    const INPUTS: usize = INPUTS;
    type Panel = SplitPanel<PARTS>;
    const EMPTY: SplitPanel<PARTS> = [[[Lanes16([0; ROWS]); TILE_ROWS * WIDTH]; PARTS]; STEPS];
    type Sums = [__m512; WIDTH];

    #[inline(always)]
    unsafe fn zero() -> Self::Sums {
        // SAFETY: the caller's promise.
        [unsafe { _mm512_setzero_ps() }; WIDTH]
    }

    #[inline(always)]
    unsafe fn pack(strip: &Strip<'_>, panel: &mut SplitPanel<PARTS>) {
        // SAFETY: the caller's promise, handed on.
        unsafe { pack::<W, PARTS>(strip, panel) }
    }

    #[inline(always)]
    unsafe fn step(tiles: &mut Tiles<'_, Self>) {
        // SAFETY: so many inputs are left.
        unsafe {
            match tiles.left() {
                INPUTS.. => tiles.tile::<INPUTS>(),
                _ => tiles.fewer_than::<INPUTS>(),
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<const N: usize>(
        panel: &SplitPanel<PARTS>,
        x: [&[[u8; 4]]; N],
        ahead: [*const u8; N],
        sums: &mut [Self::Sums; N],
    ) {
        // SAFETY: the caller's promise, handed on.
        unsafe { tile::<T, PARTS, N>(panel, (&x, &ahead), sums) }
    }

    #[inline(always)]
    unsafe fn write(sums: &Self::Sums, out: *mut f32, rows: usize) {
        // SAFETY: the caller's promise.
        unsafe { write(sums, out, rows) }
    }
}

/// Turns up to sixty-four rows' parts, so that a pair of columns of all rows stands side by side.
///
/// # Safety
///
/// The strip's columns are there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn pack<W, const PARTS: usize>(strip: &Strip<'_>, panel: &mut SplitPanel<PARTS>)
where
    W: SplitFloats<PARTS>,
{
    let columns = strip.columns.len();
    for side in 0..WIDTH {
        // Without rows it stays as it is, and what comes of it is not written.
        if side * ROWS >= strip.left() {
            break;
        }
        let rows: [*const u8; ROWS] = strip.rows(side * ROWS);
        for step in 0..columns.div_ceil(STEP) {
            let (column, there) = (step * STEP, there(columns - step * STEP));
            let mut found = [[_mm512_setzero_si512(); ROWS]; PARTS];
            for row in 0..ROWS {
                let at = rows[row].wrapping_add(column * W::LEN);
                // What comes next, of so many rows, is not foreseen by the hardware.
                if strip.columns.end < strip.call.columns {
                    fetch::<_MM_HINT_T1>(at.wrapping_add(BLOCK * W::LEN), 64);
                }
                // SAFETY: the caller promises these columns.
                let parts = unsafe { W::parts(at, there) };
                for part in 0..PARTS {
                    found[part][row] = parts[part];
                }
            }
            for part in 0..PARTS {
                let turned = transpose(found[part]);
                for k in 0..TILE_ROWS {
                    store(&mut panel[step][part][side * TILE_ROWS + k], turned[k]);
                }
            }
        }
    }
}

/// Adds a panel's products with `N` inputs, which are sixteen, to their sums.
///
/// # Safety
///
/// The thread's tiles are configured, all of them whole; the inputs have as many columns as the panel.
#[inline(never)] // so that what it keeps lies on a stack of its own
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile<T: TileUnit, const PARTS: usize, const N: usize>(
    panel: &SplitPanel<PARTS>,
    (x, ahead): (&[&[[u8; 4]]; N], &[*const u8; N]),
    sums: &mut [[__m512; WIDTH]; N],
) {
    const { assert!(N == INPUTS) }
    let columns = x[0].len();
    let mut inputs = [const { MaybeUninit::<SplitInputs>::uninit() }; STEPS];
    let mut tile_sums = MaybeUninit::<[Lanes16<f32>; WIDTH * INPUTS]>::uninit();
    let to = tile_sums.as_mut_ptr().cast::<Rows16>();
    let len = TILE_ROW_LEN as isize;
    // SAFETY: the caller's promise; a step's parts are there before they are multiplied, and all sums
    // before they are read.
    let tile_sums = unsafe {
        let mut tiles = T::tiles(&TileShapes::WHOLE);
        tiles.tilezero::<0>();
        tiles.tilezero::<1>();
        tiles.tilezero::<2>();
        tiles.tilezero::<3>();
        split_inputs(x, 0, &mut inputs[0]);
        for step in 0..columns.div_ceil(STEP) {
            // The next one's parts are made while tiles are multiplied.
            if (step + 1) * STEP < columns {
                split_inputs(x, (step + 1) * STEP, &mut inputs[step + 1]);
            }
            let parts = inputs[step].as_ptr().cast::<Rows16>();
            for (of_weight, of_input) in PRODUCTS {
                if of_weight >= PARTS {
                    break;
                }
                let weights = panel[step][of_weight].as_ptr().cast::<Rows16>();
                tiles.tileloadd::<4>(parts.add(of_input).cast(), len);
                tiles.tileloadd::<5>(weights.cast(), len);
                tiles.tdpbf16ps::<0, 4, 5>();
                tiles.tileloadd::<6>(weights.add(1).cast(), len);
                tiles.tdpbf16ps::<1, 4, 6>();
                tiles.tileloadd::<7>(weights.add(2).cast(), len);
                tiles.tdpbf16ps::<2, 4, 7>();
                tiles.tileloadd::<5>(weights.add(3).cast(), len);
                tiles.tdpbf16ps::<3, 4, 5>();
            }
        }
        tiles.tilestored::<0>(to.cast(), len);
        tiles.tilestored::<1>(to.add(1).cast(), len);
        tiles.tilestored::<2>(to.add(2).cast(), len);
        tiles.tilestored::<3>(to.add(3).cast(), len);
        tile_sums.assume_init_ref()
    };
    for n in 0..N {
        // The hardware does not foresee them.
        fetch::<_MM_HINT_T0>(ahead[n], BLOCK * size_of::<f32>());
        for side in 0..WIDTH {
            let sum = load_floats(&tile_sums[side * INPUTS + n]);
            sums[n][side] = _mm512_add_ps(sums[n][side], sum);
        }
    }
}

/// Parts of a step's columns of sixteen inputs: an A of each part.
///
/// # Safety
///
/// The inputs have columns from this one on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn split_inputs<const N: usize>(
    x: &[&[[u8; 4]]; N],
    column: usize,
    to: &mut MaybeUninit<SplitInputs>,
) {
    let to = to.as_mut_ptr().cast::<Lanes16<i32>>();
    for n in 0..N {
        let x = &x[n][column..];
        // SAFETY: so many columns are there; there is room for three parts of sixteen inputs.
        unsafe {
            let parts = parts(floats(x.as_ptr().cast(), there(x.len())));
            for part in 0..FLOAT_PARTS {
                _mm512_store_si512(to.add(part * INPUTS + n).cast(), parts[part]);
            }
        }
    }
}
