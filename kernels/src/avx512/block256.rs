//! What products of all types of 256 weights to a block share.

use core::arch::x86_64::*;
use core::mem::MaybeUninit;

use super::gemv::{Kept, RowGroup};
use super::packed::{Avx512Product, Panel16, Sums16, WIDTH};
use super::register::{
    Lanes16, ROWS, load, load_floats, load_half, store, sum_in_quarters, sum_quarters,
};
use crate::quant::{ActivationQ8K, Block256};

/// How the panels of a type hold its weights.
pub(crate) trait Panel256:
    Avx512Product<Weights = Self, Inputs = ActivationQ8K> + Sized
{
    /// Parts of a block that have factors of their own, which stand beside the weights; none where
    /// weights have been multiplied by them.
    const PARTS: usize;
    /// By how much weights are raised.
    const ZERO_POINT: i32;
    /// Whether parts have minima.
    const MINS: bool;
}

/// What tiles of a type say of its panels.
macro_rules! panel256 {
    ($block:ty, tile::<$parts:expr, $zero_point:expr, $mins:literal>) => {
        impl $crate::avx512::block256::Panel256 for $block {
            const PARTS: usize = $parts;
            const ZERO_POINT: i32 = $zero_point;
            const MINS: bool = $mins;
        }
    };
    ($block:ty, tile_scaled::<$zero_point:literal, $mins:literal>) => {
        impl $crate::avx512::block256::Panel256 for $block {
            const PARTS: usize = 0;
            const ZERO_POINT: i32 = $zero_point;
            const MINS: bool = $mins;
        }
    };
}
pub(super) use panel256;

/// The arithmetic of a type: these tiles of what `$unpack` makes of sixteen rows, or `$gemv`. Both
/// are compiled with this table's instructions.
macro_rules! products256 {
    (
        $block:ty, $tile:ident::<$($how:literal),*>,
        |$rows:ident, $panel:ident| $unpack:expr, |$group:ident, $x:ident| $gemv:expr $(,)?
    ) => {
        $crate::avx512::block256::panel256!($block, $tile::<$($how),*>);

        impl Avx512Product for $block {
            type Weights = Self;
            type Inputs = ActivationQ8K;
            const ELEMENTS: usize = 256;

            #[inline(always)]
            unsafe fn unpack(rows: &Addresses16, _: usize, panel: &mut Panel16) {
                #[inline]
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
                fn unpack($rows: &Addresses16, $panel: &mut Panel16) {
                    $unpack
                }
                // SAFETY: the caller's promise, handed on.
                unsafe { unpack(rows, panel) }
            }

            #[inline(always)]
            unsafe fn tile<const N: usize>(
                panels: &[Panel16; WIDTH],
                x: [&[ActivationQ8K]; N],
                sums: &mut [Sums16; N],
            ) {
                // SAFETY: the caller's promise, handed on.
                unsafe { $tile::<$($how,)* N>(panels, x, sums) }
            }

            #[inline(always)]
            unsafe fn gemv(group: &RowGroup, x: &[ActivationQ8K]) -> __m512 {
                #[inline]
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
                fn gemv($group: &RowGroup, $x: &[ActivationQ8K]) -> __m512 {
                    $gemv
                }
                // SAFETY: the caller's promise, handed on.
                unsafe { gemv(group, x) }
            }
        }
    };
}
pub(super) use products256;

/// Four bytes of a block's activations in every lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn spread(x: &ActivationQ8K, group: usize) -> __m512i {
    const { assert!(size_of::<[i8; 256]>() == 64 * size_of::<i32>()) }
    assert!(group < 64);
    // SAFETY: the group lies within the block's quants; the read wants no alignment.
    _mm512_set1_epi32(unsafe { x.quants.as_ptr().cast::<i32>().add(group).read_unaligned() })
}

/// Sums of the activations of each of `PARTS` parts of a block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) fn part_sums<const PARTS: usize>(x: &ActivationQ8K) -> __m512i {
    const { assert!(PARTS == 8 || PARTS == 16) }
    let sixteens = load_half(&x.sums);
    match PARTS {
        16 => _mm512_cvtepi16_epi32(sixteens),
        _ => _mm512_zextsi256_si512(_mm256_madd_epi16(sixteens, _mm256_set1_epi16(1))),
    }
}

/// sum + factor · products − min_factor · min_products, in this order wherever it is needed.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) fn finish<const MINS: bool>(
    sum: __m512,
    (products, min_products): (__m512i, __m512i),
    (factor, min_factor): (__m512, __m512),
    x: &ActivationQ8K,
) -> __m512 {
    let scale = _mm512_set1_ps(x.scale());
    let products = _mm512_cvtepi32_ps(products);
    let sum = _mm512_fmadd_ps(products, _mm512_mul_ps(factor, scale), sum);
    if !MINS {
        return sum;
    }
    let products = _mm512_cvtepi32_ps(min_products);
    _mm512_fnmadd_ps(products, _mm512_mul_ps(min_factor, scale), sum)
}

/// Panels of one block against `N` inputs. `PARTS` parts of a block have factors of their own;
/// weights have a zero point of `ZERO_POINT`.
#[inline(never)] // so that the registers are all for its sums
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn tile<const PARTS: usize, const ZERO_POINT: i32, const MINS: bool, const N: usize>(
    panels: &[Panel16; WIDTH],
    x: [&[ActivationQ8K]; N],
    sums: &mut [Sums16; N],
) {
    const { assert!(ZERO_POINT == 0 || !MINS) }
    let groups = 64 / PARTS;
    // With minima, what they are multiplied by, two to a lane; without, what the dots of a part
    // begin with, so that its weights count as themselves.
    let mut beside = [Lanes16([0; ROWS]); N];
    for n in 0..N {
        let sums = part_sums::<PARTS>(&x[n][0]);
        let words = match MINS {
            true => _mm512_zextsi256_si512(_mm512_cvtepi32_epi16(sums)),
            false => _mm512_mullo_epi32(sums, _mm512_set1_epi32(-ZERO_POINT)),
        };
        store(&mut beside[n], words);
    }
    let mut products = [[_mm512_setzero_si512(); WIDTH]; N];
    for part in 0..PARTS {
        let mut dots = [[_mm512_setzero_si512(); WIDTH]; N];
        if !MINS {
            for n in 0..N {
                dots[n] = [_mm512_set1_epi32(beside[n].0[part]); WIDTH];
            }
        }
        for group in part * groups..(part + 1) * groups {
            let mut weights = [_mm512_setzero_si512(); WIDTH];
            for side in 0..WIDTH {
                weights[side] = load(&panels[side].quants[group]);
            }
            for n in 0..N {
                let four = spread(&x[n][0], group);
                for side in 0..WIDTH {
                    dots[n][side] = _mm512_dpbusd_epi32(dots[n][side], weights[side], four);
                }
            }
        }
        for side in 0..WIDTH {
            let scale = load(&panels[side].scales[part]);
            for n in 0..N {
                let scaled = _mm512_mullo_epi32(dots[n][side], scale);
                products[n][side] = _mm512_add_epi32(products[n][side], scaled);
            }
        }
    }
    for n in 0..N {
        for side in 0..WIDTH {
            let panel = &panels[side];
            let mut mins = _mm512_setzero_si512();
            if MINS {
                for pair in 0..PARTS / 2 {
                    let sums = _mm512_set1_epi32(beside[n].0[pair]);
                    mins = _mm512_dpwssd_epi32(mins, sums, load(&panel.mins[pair]));
                }
            }
            let factors = (
                load_floats(&panel.factors[0]),
                load_floats(&panel.min_factor),
            );
            let both = (products[n][side], mins);
            sums[n][side] = finish::<MINS>(sums[n][side], both, factors, &x[n][0]);
        }
    }
}

/// The same of panels whose weights have been multiplied by the factors of their parts, and
/// raised by `ZERO_POINT`.
#[inline(never)] // so that the registers are all for its sums
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn tile_scaled<const ZERO_POINT: i16, const MINS: bool, const N: usize>(
    panels: &[Panel16; WIDTH],
    x: [&[ActivationQ8K]; N],
    sums: &mut [Sums16; N],
) {
    let mut products = [[_mm512_setzero_si512(); WIDTH]; N];
    if ZERO_POINT != 0 {
        for n in 0..N {
            products[n] = [excess(&x[n][0], ZERO_POINT); WIDTH];
        }
    }
    for group in 0..64 {
        let mut weights = [_mm512_setzero_si512(); WIDTH];
        for side in 0..WIDTH {
            weights[side] = load(&panels[side].quants[group]);
        }
        for n in 0..N {
            let four = spread(&x[n][0], group);
            for side in 0..WIDTH {
                let sum = products[n][side];
                products[n][side] = _mm512_dpbusd_epi32(sum, weights[side], four);
            }
        }
    }
    for n in 0..N {
        for side in 0..WIDTH {
            let panel = &panels[side];
            let mut mins = _mm512_setzero_si512();
            if MINS {
                for pair in 0..panel.mins.len() {
                    let sums = &x[n][0].sums.as_chunks::<2>().0[pair];
                    let [[a, b], [c, d]] = *sums;
                    let sums = _mm512_set1_epi32(i32::from_le_bytes([a, b, c, d]));
                    mins = _mm512_dpwssd_epi32(mins, sums, load(&panel.mins[pair]));
                }
            }
            let factors = (
                load_floats(&panel.factors[0]),
                load_floats(&panel.min_factor),
            );
            let products = (products[n][side], mins);
            sums[n][side] = finish::<MINS>(sums[n][side], products, factors, &x[n][0]);
        }
    }
}

/// What so much too much in every weight comes to, negative.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) fn excess(x: &ActivationQ8K, zero_point: i16) -> __m512i {
    let eight = _mm256_madd_epi16(load_half(&x.sums), _mm256_set1_epi16(-zero_point));
    let (low, high) = (
        _mm256_castsi256_si128(eight),
        _mm256_extracti128_si256::<1>(eight),
    );
    let four = _mm_add_epi32(low, high);
    let two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    _mm512_broadcastd_epi32(_mm_add_epi32(two, _mm_srli_epi64::<32>(two)))
}

/// A block's activations.
pub(crate) type Quarters = [__m512i; 4];

/// A block's activations as they are.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) fn quarters(x: &ActivationQ8K) -> Quarters {
    let quants: &[[i8; 64]] = x.quants.as_chunks().0;
    let mut quarters = [_mm512_setzero_si512(); 4];
    for quarter in 0..4 {
        quarters[quarter] = load(&quants[quarter]);
    }
    quarters
}

/// Blocks of a row that are walked before the next row's: what is kept of them stays in the
/// nearest cache.
const RUN: usize = 32;

/// Sixteen rows against one input, as they lie in memory.
///
/// `input` makes of a block's activations what `products` wants of them, once for all rows: they
/// had better not lie across cache lines, as they do where they come from. `products` multiplies
/// a block with that, to lanes that are to be summed, and hands on what `add` needs of the block:
/// that is given the same of all rows, and their sums, to add them to what there is.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn walk<B: Block256, I, H: Copy, F: Copy>(
    group: &RowGroup,
    x: &[ActivationQ8K],
    input: impl Fn(&ActivationQ8K) -> I,
    products: impl Fn(&B, &I) -> (__m512i, H, F),
    add: impl Fn(__m512, __m512i, (&[H; ROWS], &[F; ROWS]), &ActivationQ8K) -> __m512,
) -> __m512 {
    const { assert!(align_of::<B>() == 1) }
    let mut inputs = [const { MaybeUninit::<I>::uninit() }; RUN];
    // Of four blocks: the sums of a quarter of their products in each quarter.
    let mut kept = Kept::<Lanes16<i32>, { RUN / 4 }>::new();
    let mut headers = Kept::<H, RUN>::new();
    let mut factors = Kept::<F, RUN>::new();
    let mut sum = _mm512_setzero_ps();
    for (run, part) in x.chunks(RUN).enumerate() {
        for index in 0..part.len() {
            inputs[index].write(input(&part[index]));
        }
        let start = run * RUN * B::LEN;
        let bytes = (start, start + part.len() * B::LEN);
        for row in 0..ROWS {
            let stretch = group.stretch(row, bytes, x.len() * B::LEN);
            for four in 0..part.len().div_ceil(4) {
                stretch.fetch(4 * four * B::LEN, 4 * B::LEN);
                let mut parts = [_mm512_setzero_si512(); 4];
                for index in 0..4 {
                    let at = 4 * four + index;
                    if at >= part.len() {
                        break;
                    }
                    // SAFETY: all blocks of a row are there; they have alignment 1 and no
                    // invalid bytes.
                    let block = unsafe { &*stretch.at.wrapping_add(at * B::LEN).cast::<B>() };
                    // SAFETY: written above for every block of this part.
                    let input = unsafe { inputs[at].assume_init_ref() };
                    let (header, factor);
                    (parts[index], header, factor) = products(block, input);
                    headers.keep(at, row, header);
                    factors.keep(at, row, factor);
                }
                let mut sums = Lanes16([0; ROWS]);
                store(&mut sums, sum_in_quarters(parts));
                kept.keep(four, row, sums);
            }
        }
        for (four, inputs) in part.chunks(4).enumerate() {
            group.fetch((four, part.len().div_ceil(4)), bytes, x.len() * B::LEN);
            // SAFETY: kept above for all rows.
            let products = sum_quarters(unsafe { kept.all(four) });
            for (index, x) in inputs.iter().enumerate() {
                let at = 4 * four + index;
                // SAFETY: as above.
                let of = unsafe { (headers.all(at), factors.all(at)) };
                sum = add(sum, products[index], of, x);
            }
        }
    }
    sum
}
