//! How blocks of 256 weights with factors for their parts are multiplied: the integers of each
//! part times its factor, added up before anything is a float.

use super::intrinsics::*;
use core::marker::PhantomData;

use super::legacy_quants::{add_sixteen, by_input};
use super::packed::{NeonProduct, Panel4, SIDES, put_parts};
use super::register::{
    DotSigned, ROWS, load, load_floats, load_words, mapped, products_of_one, products_of_two,
    sums_of_lanes, words,
};
use crate::quant::*;

/// A block as it is multiplied.
pub(super) trait NeonBlock256: Copy {
    /// Parts with a factor each: eight or sixteen.
    const PARTS: usize;

    /// Whether parts have minima beside their factors.
    const MINS: bool = false;

    /// What a byte is above its weight.
    const ZERO_POINT: i32 = 0;

    /// Whether bytes are so small that four products fit in sixteen bits.
    const SMALL: bool = true;

    /// Half of the columns, in order.
    fn quants(&self, half: usize) -> [int8x16_t; 8];

    /// The factors of the parts, four at a time, as many as there are.
    fn scales(&self) -> [int32x4_t; 4];

    /// Their minima likewise.
    fn mins(&self) -> [int32x4_t; 4] {
        [vdupq_n_s32(0); 4]
    }

    /// The factors of four blocks.
    fn factors(blocks: [&Self; ROWS]) -> float32x4_t;

    /// The factors of their minima.
    fn min_factors(_: [&Self; ROWS]) -> float32x4_t {
        vdupq_n_f32(0.0)
    }
}

/// Blocks with [int8 activations](ActivationQ8K).
pub(super) struct NeonKQuant<B, D>(PhantomData<(B, D)>);

impl<B: NeonBlock256, D: DotSigned> NeonProduct for NeonKQuant<B, D> {
    type Weights = B;
    type Inputs = ActivationQ8K;
    const ELEMENTS: usize = 256;

    #[inline(always)]
    fn add(sum: float32x4_t, rows: [&B; ROWS], x: &[ActivationQ8K]) -> float32x4_t {
        add::<B, D>(sum, rows, &x[0])
    }

    #[inline(always)]
    fn unpack(rows: [&[B]; ROWS], panel: &mut Panel4) {
        unpack::<B, D>(mapped(rows, |row| &row[0]), panel)
    }

    #[inline(always)]
    fn tile<const N: usize>(
        panels: &[Panel4; SIDES],
        x: [&[ActivationQ8K]; N],
        sums: &mut [[float32x4_t; SIDES]; N],
    ) {
        let x = mapped(x, |x| &x[0]);
        if D::PAIRS && N == 1 {
            // Beside itself, for want of another.
            let mut twice = [sums[0]; 2];
            fours_tile::<B, D, 2>(panels, [x[0]; 2], &mut twice);
            sums[0] = twice[0];
            return;
        }
        match D::FOURS {
            true => fours_tile::<B, D, N>(panels, x, sums),
            false => pairs_tile::<B, D, N>(panels, x, sums),
        }
    }
}

/// Half of 256 bytes.
#[inline(always)]
fn sixteens(bytes: &[i8; 256], half: usize) -> [int8x16_t; 8] {
    let (pieces, _) = bytes.as_chunks::<16>();
    let mut quants = [vdupq_n_s8(0); 8];
    for at in 0..8 {
        quants[at] = load(&pieces[8 * half + at]);
    }
    quants
}

/// The sums of the activations of a block's parts, four at a time.
#[inline(always)]
fn parts<B: NeonBlock256>(x: &ActivationQ8K) -> [int32x4_t; 4] {
    let (halves, _) = x.sums.as_chunks::<8>();
    let halves = mapped([0, 1], |half| vreinterpretq_s16_s8(load(&halves[half])));
    let none = vdupq_n_s32(0);
    match B::PARTS {
        8 => [vpaddlq_s16(halves[0]), vpaddlq_s16(halves[1]), none, none],
        _ => sixteen_words(halves),
    }
}

/// Sixteen integers, four at a time.
#[inline(always)]
pub(super) fn sixteen_words([low, high]: [int16x8_t; 2]) -> [int32x4_t; 4] {
    [
        vmovl_s16(vget_low_s16(low)),
        vmovl_high_s16(low),
        vmovl_s16(vget_low_s16(high)),
        vmovl_high_s16(high),
    ]
}

/// sum + (products of half a block of a row with half a block of an input, each part's times its
/// factor), in four lanes.
#[inline(always)]
fn add_half<B: NeonBlock256, D: DotSigned>(
    mut sum: int32x4_t,
    quants: [int8x16_t; 8],
    x: &[int8x16_t; 8],
    scales: impl Fn(usize) -> int32x4_t,
    half: usize,
) -> int32x4_t {
    if B::PARTS == 8 {
        let two = |part: usize| {
            let (first, second) = (2 * part, 2 * part + 1);
            let (quants, x) = ([quants[first], quants[second]], [x[first], x[second]]);
            match B::SMALL {
                true => products_of_two::<D, true>(quants, x),
                false => products_of_two::<D, false>(quants, x),
            }
        };
        let four = sums_of_lanes([two(0), two(1), two(2), two(3)]);
        return vmlaq_s32(sum, four, scales(half));
    }
    for four in 0..2 {
        let one = |part: usize| {
            let at = 4 * four + part;
            products_of_one::<D>(quants[at], x[at])
        };
        let products = sums_of_lanes([one(0), one(1), one(2), one(3)]);
        sum = vmlaq_s32(sum, products, scales(2 * half + four));
    }
    sum
}

/// What a block of each row comes to with one of an input.
#[inline(always)]
pub(super) fn add<B: NeonBlock256, D: DotSigned>(
    sum: float32x4_t,
    rows: [&B; ROWS],
    x: &ActivationQ8K,
) -> float32x4_t {
    let scales = mapped(rows, |row| row.scales());
    let mut products = [vdupq_n_s32(0); ROWS];
    for half in 0..2 {
        let x = sixteens(&x.quants, half);
        for row in 0..ROWS {
            let quants = rows[row].quants(half);
            let scales = |four: usize| scales[row][four];
            products[row] = add_half::<B, D>(products[row], quants, &x, scales, half);
        }
    }
    let parts = parts::<B>(x);
    let mut mins = [vdupq_n_s32(0); ROWS];
    for row in 0..ROWS {
        for four in 0..B::PARTS / 4 {
            if B::ZERO_POINT > 0 {
                let above = vmulq_n_s32(parts[four], B::ZERO_POINT);
                products[row] = vmlsq_s32(products[row], scales[row][four], above);
            }
            if B::MINS {
                mins[row] = vmlaq_s32(mins[row], rows[row].mins()[four], parts[four]);
            }
        }
    }
    let sum = add_products(sum, sums_of_lanes(products), B::factors(rows), x);
    match B::MINS {
        true => take_mins(sum, sums_of_lanes(mins), B::min_factors(rows), x),
        false => sum,
    }
}

/// sum + factor · products
#[inline(always)]
fn add_products(
    sum: float32x4_t,
    products: int32x4_t,
    factors: float32x4_t,
    x: &ActivationQ8K,
) -> float32x4_t {
    vfmaq_f32(
        sum,
        vcvtq_f32_s32(products),
        vmulq_n_f32(factors, x.scale()),
    )
}

/// sum − factor · mins
#[inline(always)]
fn take_mins(
    sum: float32x4_t,
    mins: int32x4_t,
    factors: float32x4_t,
    x: &ActivationQ8K,
) -> float32x4_t {
    vfmsq_f32(sum, vcvtq_f32_s32(mins), vmulq_n_f32(factors, x.scale()))
}

/// Fills a panel from a block of each row.
#[inline(always)]
pub(super) fn unpack<B: NeonBlock256, D: DotSigned>(rows: [&B; ROWS], panel: &mut Panel4) {
    let above = vdupq_n_s8(B::ZERO_POINT as i8);
    for half in 0..2 {
        let quants = mapped(rows, |row| row.quants(half));
        for at in 0..8 {
            let quants = mapped(quants, |quants| vsubq_s8(quants[at], above));
            panel.put::<D>(8 * half + at, quants);
        }
    }
    let (scales, mins) = (
        mapped(rows, |row| row.scales()),
        mapped(rows, |row| row.mins()),
    );
    for four in 0..B::PARTS / 4 {
        put_parts::<D>(&mut panel.scales, four, mapped(scales, |row| row[four]));
        if B::MINS {
            put_parts::<D>(&mut panel.mins, four, mapped(mins, |row| row[four]));
        }
    }
    panel.put_factors(0, (B::factors(rows), B::min_factors(rows)));
}

/// Panels of one block against `N` inputs.
#[inline(never)] // so that the registers are all for its sums
fn pairs_tile<B: NeonBlock256, D: DotSigned, const N: usize>(
    panels: &[Panel4; SIDES],
    x: [&ActivationQ8K; N],
    sums: &mut [[float32x4_t; SIDES]; N],
) {
    for n in 0..N {
        let x = x[n];
        for (panel, sum) in panels.iter().zip(&mut sums[n]) {
            let mut products = [vdupq_n_s32(0); ROWS];
            for half in 0..2 {
                let x = sixteens(&x.quants, half);
                for row in 0..ROWS {
                    let mut quants = [vdupq_n_s8(0); 8];
                    for at in 0..8 {
                        quants[at] = panel.sixteen(row, 8 * half + at);
                    }
                    let scales = |four: usize| load_words(&panel.scales[4 * row + four]);
                    products[row] = add_half::<B, D>(products[row], quants, &x, scales, half);
                }
            }
            let (factors, min_factors) = panel.factors_of(0);
            *sum = add_products(*sum, sums_of_lanes(products), factors, x);
            if B::MINS {
                let parts = parts::<B>(x);
                let mut mins = [vdupq_n_s32(0); ROWS];
                for row in 0..ROWS {
                    for four in 0..B::PARTS / 4 {
                        let all = load_words(&panel.mins[4 * row + four]);
                        mins[row] = vmlaq_s32(mins[row], all, parts[four]);
                    }
                }
                *sum = take_mins(*sum, sums_of_lanes(mins), min_factors, x);
            }
        }
    }
}

/// The same with the dot product.
#[inline(never)] // so that the registers are all for its sums
fn fours_tile<B: NeonBlock256, D: DotSigned, const N: usize>(
    panels: &[Panel4; SIDES],
    x: [&ActivationQ8K; N],
    sums: &mut [[float32x4_t; SIDES]; N],
) {
    let sixteens = 16 / B::PARTS;
    let mut products = [[vdupq_n_s32(0); SIDES]; N];
    for part in 0..B::PARTS {
        let mut four = [[vdupq_n_s32(0); SIDES]; N];
        for at in part * sixteens..(part + 1) * sixteens {
            let x = mapped(x, |x| load(&x.quants.as_chunks::<16>().0[at]));
            add_sixteen::<D, N>(panels, at, x, &mut four);
        }
        for side in 0..SIDES {
            let scales = load_words(&panels[side].scales[part]);
            // As the products stand.
            let scales = match D::PAIRS {
                true => [vzip1q_s32(scales, scales), vzip2q_s32(scales, scales)],
                false => [scales; 2],
            };
            for n in 0..N {
                let scales = scales[n % 2];
                products[n][side] = vmlaq_s32(products[n][side], four[n][side], scales);
            }
        }
    }
    let products = by_input::<D, N>(products);
    for n in 0..N {
        let x = x[n];
        let parts = mapped(parts::<B>(x), words);
        for side in 0..SIDES {
            let panel = &panels[side];
            let (factors, min_factors) = panel.factors_of(0);
            let mut sum = add_products(sums[n][side], products[n][side], factors, x);
            if B::MINS {
                let mut mins = vdupq_n_s32(0);
                for part in 0..B::PARTS {
                    let all = load_words(&panel.mins[part]);
                    mins = vmlaq_n_s32(mins, all, parts[part / 4][part % 4]);
                }
                sum = take_mins(sum, mins, min_factors, x);
            }
            sums[n][side] = sum;
        }
    }
}

/// Blocks without instructions of their own: as [`Block256`] has them.
pub(super) struct NeonDecoded<B, D>(PhantomData<(B, D)>);

impl<B: Block256, D: DotSigned> NeonProduct for NeonDecoded<B, D> {
    type Weights = B;
    type Inputs = ActivationQ8K;
    const ELEMENTS: usize = 256;

    #[inline(always)]
    fn add(sum: float32x4_t, rows: [&B; ROWS], x: &[ActivationQ8K]) -> float32x4_t {
        add::<Integers256, D>(sum, decoded(rows).each_ref(), &x[0])
    }

    #[inline(always)]
    fn unpack(rows: [&[B]; ROWS], panel: &mut Panel4) {
        let rows = decoded(mapped(rows, |row| &row[0]));
        unpack::<Integers256, D>(rows.each_ref(), panel);
    }

    #[inline(always)]
    fn tile<const N: usize>(
        panels: &[Panel4; SIDES],
        x: [&[ActivationQ8K]; N],
        sums: &mut [[float32x4_t; SIDES]; N],
    ) {
        NeonKQuant::<Integers256, D>::tile(panels, x, sums);
    }
}

/// Four blocks as integers.
#[inline(always)]
fn decoded<B: Block256>(rows: [&B; ROWS]) -> [Integers256; ROWS] {
    const { assert!(!B::MINS) }
    let mut all = [Integers256::ZERO; ROWS];
    for row in 0..ROWS {
        rows[row].integers(&mut all[row]);
    }
    all
}

impl NeonBlock256 for Integers256 {
    const PARTS: usize = 16;
    const SMALL: bool = false;
    #[inline(always)]
    fn quants(&self, half: usize) -> [int8x16_t; 8] {
        sixteens(&self.quants, half)
    }
    #[inline(always)]
    fn scales(&self) -> [int32x4_t; 4] {
        let (halves, _) = self.scales.as_chunks::<8>();
        sixteen_words(mapped([0, 1], |half| {
            vreinterpretq_s16_s8(load(&halves[half]))
        }))
    }
    #[inline(always)]
    fn factors(blocks: [&Self; ROWS]) -> float32x4_t {
        load_floats(&mapped(blocks, |block| block.scale))
    }
}
