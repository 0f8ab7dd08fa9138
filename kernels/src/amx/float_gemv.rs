//! Products of floats with one input: rows as they lie are A, and the input's parts a B of one column
//! each.

use core::arch::x86_64::*;
use core::mem::MaybeUninit;

use super::float::{
    BLOCK, ByParts, FLOAT_PARTS, PRODUCTS, STEP, SplitFloats, WIDTH, floats, parts, there,
};
use super::unit::{TILE_ROW_LEN, TileShapes, TileUnit};
use crate::avx512::packed::{fetch, write};
use crate::avx512::register::{Lanes16, ROWS, load_floats, store};
use crate::generic::{Gemv, Strip};

/// Tiles 0 to 3 are C of the rows side by side, of one column, tile 4 is of weights, and those after
/// it are an input's parts.
pub(super) const OF_ONE_INPUT: TileShapes = TileShapes::new([4, 4, 4, 4, 64, 4, 4, 4]);

/// Columns that are fetched of a strip's rows while those before are multiplied, one row after the
/// other, as memory likes it.
const AHEAD: usize = 1024;

impl<W, T, const PARTS: usize> Gemv for ByParts<W, T, PARTS>
where
    W: SplitFloats<PARTS>,
    T: TileUnit,
{
    const ROWS: usize = WIDTH * ROWS;
    type Prepared = ();

    #[inline(always)]
    fn prepared() {}

    #[inline(always)]
    unsafe fn gemv(rows: &Strip<'_>, x: &[[u8; 4]], _: &mut (), out: *mut f32) {
        // SAFETY: the caller's promise, handed on.
        unsafe { write(&one_input::<W, T, PARTS>(rows, x), out, rows.left()) }
    }
}

/// The results of sixty-four rows with an input.
///
/// # Safety
///
/// The thread's tiles are configured for one input; the rows are as long as it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn one_input<W, T, const PARTS: usize>(strip: &Strip<'_>, x: &[[u8; 4]]) -> [__m512; WIDTH]
where
    W: SplitFloats<PARTS>,
    T: TileUnit,
{
    let rows: [*const u8; WIDTH * ROWS] = strip.rows(0);
    let mut sums = [_mm512_setzero_ps(); WIDTH];
    for start in (0..x.len()).step_by(BLOCK) {
        fetch_rows::<W, PARTS>(strip, start);
        let x = &x[start..x.len().min(start + BLOCK)];
        let rows = rows.map(|row| row.wrapping_add(start * W::LEN));
        // SAFETY: the caller's promise.
        let block = unsafe { one_block::<W, T, PARTS>(strip, &rows, x) };
        for side in 0..WIDTH {
            sums[side] = _mm512_add_ps(sums[side], load_floats(&block[side]));
        }
    }
    sums
}

/// Brings nearer a share of what follows the columns from `start` on: the strip's next ones, or the
/// next strip's first.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn fetch_rows<W: SplitFloats<PARTS>, const PARTS: usize>(strip: &Strip<'_>, start: usize) {
    const SHARE: usize = WIDTH * ROWS / (AHEAD / BLOCK);
    let call = strip.call;
    let (next, share) = (start / AHEAD * AHEAD + AHEAD, start % AHEAD / BLOCK);
    let (first, column) = match next < call.columns {
        true => (strip.first, next),
        false => (strip.first + WIDTH * ROWS, 0),
    };
    for row in share * SHARE..(share + 1) * SHARE {
        let at = (first + row) * call.weight_stride + column * W::LEN;
        fetch::<_MM_HINT_T1>(call.weights.wrapping_add(at), AHEAD * W::LEN);
    }
}

/// The sums of a block of columns of sixty-four rows with an input.
///
/// # Safety
///
/// The thread's tiles are configured for one input; the rows have as many columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn one_block<W, T, const PARTS: usize>(
    strip: &Strip<'_>,
    rows: &[*const u8; WIDTH * ROWS],
    x: &[[u8; 4]],
) -> [Lanes16<f32>; WIDTH]
where
    W: SplitFloats<PARTS>,
    T: TileUnit,
{
    let mut copies = MaybeUninit::<[[Lanes16<i32>; WIDTH * ROWS]; PARTS]>::uninit();
    let mut sums = MaybeUninit::<[Lanes16<f32>; WIDTH]>::uninit();
    let to = sums.as_mut_ptr().cast::<Lanes16<f32>>();
    // SAFETY: the caller's promise; parts are there before they are multiplied, and all sums before
    // they are handed back.
    unsafe {
        let mut tiles = T::tiles(&OF_ONE_INPUT);
        tiles.tilezero::<0>();
        tiles.tilezero::<1>();
        tiles.tilezero::<2>();
        tiles.tilezero::<3>();
        for column in (0..x.len()).step_by(STEP) {
            let there = there(x.len() - column);
            let parts = parts(floats(x[column..].as_ptr().cast(), there));
            let mut inputs = [Lanes16([0; ROWS]); FLOAT_PARTS];
            for part in 0..FLOAT_PARTS {
                store(&mut inputs[part], parts[part]);
            }
            let as_they_lie = PARTS == 1 && there == !0 && strip.left() >= WIDTH * ROWS;
            let (start, stride) = match as_they_lie {
                true => {
                    let stride = strip.call.weight_stride.cast_signed();
                    (rows[0].wrapping_add(column * W::LEN), stride)
                }
                false => {
                    split_rows::<W, PARTS>((rows, column), there, &mut copies);
                    (copies.as_ptr().cast(), TILE_ROW_LEN as isize)
                }
            };
            tiles.tileloadd::<5>((&raw const inputs[0]).cast(), 4);
            tiles.tileloadd::<6>((&raw const inputs[1]).cast(), 4);
            tiles.tileloadd::<7>((&raw const inputs[2]).cast(), 4);
            let rows = |side: usize| start.wrapping_offset((side * ROWS) as isize * stride);
            sixteen_rows::<T, PARTS, 0>(&mut tiles, (rows(0), stride));
            sixteen_rows::<T, PARTS, 1>(&mut tiles, (rows(1), stride));
            sixteen_rows::<T, PARTS, 2>(&mut tiles, (rows(2), stride));
            sixteen_rows::<T, PARTS, 3>(&mut tiles, (rows(3), stride));
        }
        tiles.tilestored::<0>(to.cast(), 4);
        tiles.tilestored::<1>(to.add(1).cast(), 4);
        tiles.tilestored::<2>(to.add(2).cast(), 4);
        tiles.tilestored::<3>(to.add(3).cast(), 4);
        sums.assume_init()
    }
}

/// Adds the products of a step of sixteen rows with an input, whose parts are tiles 5 to 7. Rows are
/// read once: as far apart as they are, they would not stay in the nearest cache.
///
/// # Safety
///
/// The thread's tiles are configured for one input; the rows are there, and as long as sixty-four
/// rows take behind them their later parts.
#[inline(always)]
unsafe fn sixteen_rows<T: TileUnit, const PARTS: usize, const C: usize>(
    tiles: &mut T,
    (start, stride): (*const u8, isize),
) {
    // SAFETY: the caller's promise.
    unsafe {
        for (of_weight, of_input) in PRODUCTS {
            if of_weight >= PARTS {
                break;
            }
            if of_input == 0 {
                let part = of_weight * WIDTH * ROWS * TILE_ROW_LEN;
                tiles.tileloadd::<4>(start.wrapping_add(part), stride);
            }
            match of_input {
                0 => tiles.tdpbf16ps::<C, 4, 5>(),
                1 => tiles.tdpbf16ps::<C, 4, 6>(),
                _ => tiles.tdpbf16ps::<C, 4, 7>(),
            }
        }
    }
}

/// Parts of a step's columns of sixty-four rows: four A of each part.
///
/// # Safety
///
/// The rows have the columns that are said to be there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn split_rows<W: SplitFloats<PARTS>, const PARTS: usize>(
    (rows, column): (&[*const u8; WIDTH * ROWS], usize),
    there: __mmask32,
    to: &mut MaybeUninit<[[Lanes16<i32>; WIDTH * ROWS]; PARTS]>,
) {
    let to = to.as_mut_ptr().cast::<Lanes16<i32>>();
    for row in 0..WIDTH * ROWS {
        // SAFETY: the caller's promise; there is room for as many parts of as many rows.
        unsafe {
            let parts = W::parts(rows[row].wrapping_add(column * W::LEN), there);
            for part in 0..PARTS {
                let to = to.add(part * WIDTH * ROWS + row);
                _mm512_store_si512(to.cast(), parts[part]);
            }
        }
    }
}
