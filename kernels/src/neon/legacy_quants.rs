//! Groups of 32 weights with a factor each, one or several to a block.

use super::intrinsics::*;
use core::marker::PhantomData;

use super::packed::{COLUMNS, FourRows, NeonProduct, Panel4, SIDES, product};
use super::register::{
    DotSigned, ROWS, add_fours_of, add_two_by_two, eights, halves, load, load_floats,
    load_unsigned, mapped, nibbles, products_of_two, sums_of_lanes,
};
use crate::MatMulFn;
use crate::quant::*;
use rillm_formats::manifest::DType;

/// The product of a type.
pub(super) fn of<D: DotSigned>(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::Q1_0 => product::<FourRows<NeonLegacy<BlockQ1_0, D>>>,
        DType::Q2_0 => product::<FourRows<NeonLegacy<BlockQ2_0, D>>>,
        DType::Q4_0 => product::<FourRows<NeonLegacy<BlockQ4_0, D>>>,
        DType::Q4_1 => product::<FourRows<NeonLegacy<BlockQ4_1, D>>>,
        DType::Q5_0 => product::<FourRows<NeonLegacy<BlockQ5_0, D>>>,
        DType::Q5_1 => product::<FourRows<NeonLegacy<BlockQ5_1, D>>>,
        DType::Q8_0 => product::<FourRows<NeonLegacy<BlockQ8_0, D>>>,
        DType::IQ4_NL => product::<FourRows<NeonLegacy<BlockIQ4NL, D>>>,
        DType::MXFP4 => product::<FourRows<NeonLegacy<BlockMXFP4, D>>>,
        _ => return None,
    })
}

/// A block as it is multiplied.
trait NeonBlock32: Block32 {
    /// What a byte is above its weight.
    const ZERO_POINT: i32 = 0;

    /// Whether bytes are so small that four products fit in sixteen bits.
    const SMALL: bool = true;

    /// The columns of a group in order.
    fn quants(&self, group: usize) -> [int8x16_t; 2];

    /// The factors of four blocks.
    fn factors(blocks: [&Self; ROWS]) -> float32x4_t;

    /// Their offsets.
    fn offsets(_: [&Self; ROWS]) -> float32x4_t {
        vdupq_n_f32(0.0)
    }
}

impl NeonBlock32 for BlockQ1_0 {
    const ZERO_POINT: i32 = 1;
    #[inline(always)]
    fn quants(&self, group: usize) -> [int8x16_t; 2] {
        let bits = self.bits.as_chunks().0[group];
        with_bit([vdupq_n_u8(0); 2], bits, 2)
    }
    #[inline(always)]
    fn factors(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.scale))
    }
}

impl NeonBlock32 for BlockQ2_0 {
    const ZERO_POINT: i32 = 1;
    #[inline(always)]
    fn quants(&self, group: usize) -> [int8x16_t; 2] {
        crumbs(self.quants.as_chunks().0[group])
    }
    #[inline(always)]
    fn factors(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.scale))
    }
}

impl NeonBlock32 for BlockQ4_0 {
    const ZERO_POINT: i32 = 8;
    #[inline(always)]
    fn quants(&self, _: usize) -> [int8x16_t; 2] {
        two_nibbles(&self.quants)
    }
    #[inline(always)]
    fn factors(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.scale))
    }
}

impl NeonBlock32 for BlockQ4_1 {
    #[inline(always)]
    fn quants(&self, _: usize) -> [int8x16_t; 2] {
        two_nibbles(&self.quants)
    }
    #[inline(always)]
    fn factors(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.scale))
    }
    #[inline(always)]
    fn offsets(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.min))
    }
}

impl NeonBlock32 for BlockQ5_0 {
    const ZERO_POINT: i32 = 16;
    #[inline(always)]
    fn quants(&self, _: usize) -> [int8x16_t; 2] {
        with_fifth(&self.quants, self.high)
    }
    #[inline(always)]
    fn factors(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.scale))
    }
}

impl NeonBlock32 for BlockQ5_1 {
    #[inline(always)]
    fn quants(&self, _: usize) -> [int8x16_t; 2] {
        with_fifth(&self.quants, self.high)
    }
    #[inline(always)]
    fn factors(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.scale))
    }
    #[inline(always)]
    fn offsets(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.min))
    }
}

impl NeonBlock32 for BlockQ8_0 {
    const SMALL: bool = false;
    #[inline(always)]
    fn quants(&self, _: usize) -> [int8x16_t; 2] {
        in_order(&self.quants)
    }
    #[inline(always)]
    fn factors(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.scale))
    }
}

impl NeonBlock32 for BlockIQ4NL {
    const SMALL: bool = false;
    #[inline(always)]
    fn quants(&self, _: usize) -> [int8x16_t; 2] {
        values(&IQ4_VALUES, &self.quants)
    }
    #[inline(always)]
    fn factors(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.scale))
    }
}

impl NeonBlock32 for BlockMXFP4 {
    #[inline(always)]
    fn quants(&self, _: usize) -> [int8x16_t; 2] {
        values(&FP4_VALUES, &self.quants)
    }
    #[inline(always)]
    fn factors(blocks: [&Self; ROWS]) -> float32x4_t {
        load_floats(&mapped(blocks, |block| block.scale()))
    }
}

/// 32 bytes.
#[inline(always)]
fn in_order(bytes: &[i8; 32]) -> [int8x16_t; 2] {
    let (halves, _) = bytes.as_chunks::<16>();
    [load(&halves[0]), load(&halves[1])]
}

/// Low halves of sixteen bytes, then their high halves.
#[inline(always)]
fn two_nibbles(bytes: &[u8; 16]) -> [int8x16_t; 2] {
    let [low, high] = nibbles(load_unsigned(bytes));
    [vreinterpretq_s8_u8(low), vreinterpretq_s8_u8(high)]
}

/// [`two_nibbles`] with a fifth bit, bit i of a u32 for weight i.
#[inline(always)]
fn with_fifth(bytes: &[u8; 16], high: [u8; 4]) -> [int8x16_t; 2] {
    with_bit(nibbles(load_unsigned(bytes)), high, 16)
}

/// Parts of two bits, from the lowest up.
#[inline(always)]
fn crumbs(bytes: [u8; 8]) -> [int8x16_t; 2] {
    /// Which of four bytes a part stands in, and how far up.
    const BYTES: [u8; 16] = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3];
    const SHIFTS: [i8; 16] = [0, -2, -4, -6, 0, -2, -4, -6, 0, -2, -4, -6, 0, -2, -4, -6];
    let words = bytes.as_chunks().0;
    mapped([words[0], words[1]], |word: [u8; 4]| {
        let word = vreinterpretq_u8_u32(vdupq_n_u32(u32::from_le_bytes(word)));
        let parts = vshlq_u8(vqtbl1q_u8(word, load_unsigned(&BYTES)), load(&SHIFTS));
        vreinterpretq_s8_u8(vandq_u8(parts, vdupq_n_u8(3)))
    })
}

/// Bytes, and so much more where a bit is set: bit i of a u32 for weight i.
#[inline(always)]
fn with_bit(mut quants: [uint8x16_t; 2], high: [u8; 4], worth: u8) -> [int8x16_t; 2] {
    const BITS: [u8; 16] = {
        let mut bits = [0; 16];
        let mut at = 0;
        while at < 16 {
            bits[at] = 1 << (at % 8);
            at += 1;
        }
        bits
    };
    let words = vreinterpretq_u8_u32(vdupq_n_u32(u32::from_le_bytes(high)));
    // Each of two bytes eight times.
    let first = vextq_u8::<8>(vdupq_n_u8(0), vdupq_n_u8(1));
    for half in 0..2 {
        let byte = vaddq_u8(first, vdupq_n_u8(2 * half as u8));
        let set = vtstq_u8(vqtbl1q_u8(words, byte), load_unsigned(&BITS));
        quants[half] = vorrq_u8(quants[half], vandq_u8(set, vdupq_n_u8(worth)));
    }
    mapped(quants, vreinterpretq_s8_u8)
}

/// What [`two_nibbles`] stand for.
#[inline(always)]
pub(super) fn values(values: &[i8; 16], bytes: &[u8; 16]) -> [int8x16_t; 2] {
    mapped(nibbles(load_unsigned(bytes)), |quants| {
        vqtbl1q_s8(load(values), quants)
    })
}

/// Blocks with [int8 activations](ActivationQ8_0).
struct NeonLegacy<W, D>(PhantomData<(W, D)>);

impl<W: NeonBlock32, D: DotSigned> NeonProduct for NeonLegacy<W, D> {
    type Weights = W;
    type Inputs = ActivationQ8_0;
    const ELEMENTS: usize = 32;
    const WEIGHTS: usize = 32 * W::GROUPS;

    #[inline(always)]
    fn add(mut sum: float32x4_t, rows: [&W; ROWS], x: &[ActivationQ8_0]) -> float32x4_t {
        let factors = (W::factors(rows), W::offsets(rows));
        for (group, x) in x.iter().enumerate() {
            let products = products::<W, D>(mapped(rows, |row| row.quants(group)), x);
            sum = finish::<W>(W::ZERO_POINT, sum, products, factors, x);
        }
        sum
    }

    #[inline(always)]
    fn unpack(rows: [&[W]; ROWS], panel: &mut Panel4) {
        for block in 0..(rows[0].len() * W::GROUPS).min(COLUMNS / 32) {
            let rows = mapped(rows, |row| &row[block / W::GROUPS]);
            let quants = mapped(rows, |row| row.quants(block % W::GROUPS));
            let above = vdupq_n_s8(W::ZERO_POINT as i8);
            for half in 0..2 {
                let quants = mapped(quants, |quants| vsubq_s8(quants[half], above));
                panel.put::<D>(2 * block + half, quants);
            }
            panel.put_factors(block, (W::factors(rows), W::offsets(rows)));
        }
    }

    #[inline(never)] // so that the registers are all for its sums
    fn tile<const N: usize>(
        panels: &[Panel4; SIDES],
        x: [&[ActivationQ8_0]; N],
        sums: &mut [[float32x4_t; SIDES]; N],
    ) {
        if D::PAIRS && N == 1 {
            // Beside itself, for want of another.
            let mut twice = [sums[0]; 2];
            Self::tile(panels, [x[0]; 2], &mut twice);
            sums[0] = twice[0];
            return;
        }
        let mut local = *sums;
        for block in 0..x[0].len().min(COLUMNS / 32) {
            let x = mapped(x, |x| &x[block]);
            let products = match D::FOURS {
                true => fours::<D, N>(panels, block, x),
                false => mapped(x, |x| {
                    mapped([0, 1], |side| {
                        let panel = &panels[side];
                        let quants = mapped([0, 1, 2, 3], |row| {
                            mapped([0, 1], |half| panel.sixteen(row, 2 * block + half))
                        });
                        products::<W, D>(quants, x)
                    })
                }),
            };
            for n in 0..N {
                for side in 0..SIDES {
                    let factors = panels[side].factors_of(block);
                    let (sum, products) = (local[n][side], products[n][side]);
                    local[n][side] = finish::<W>(0, sum, products, factors, x[n]);
                }
            }
        }
        *sums = local;
    }
}

/// What a block of each row comes to with one of an input.
#[inline(always)]
fn products<W: NeonBlock32, D: DotSigned>(
    rows: [[int8x16_t; 2]; ROWS],
    x: &ActivationQ8_0,
) -> int32x4_t {
    let x = in_order(&x.quants);
    sums_of_lanes(mapped(rows, |row| match W::SMALL {
        true => products_of_two::<D, true>(row, x),
        false => products_of_two::<D, false>(row, x),
    }))
}

/// The same of panels and inputs, with the dot product.
#[inline(always)]
fn fours<D: DotSigned, const N: usize>(
    panels: &[Panel4; SIDES],
    block: usize,
    x: [&ActivationQ8_0; N],
) -> [[int32x4_t; SIDES]; N] {
    let mut products = [[vdupq_n_s32(0); SIDES]; N];
    for half in 0..2 {
        let x = mapped(x, |x| in_order(&x.quants)[half]);
        add_sixteen::<D, N>(panels, 2 * block + half, x, &mut products);
    }
    by_input::<D, N>(products)
}

/// Adds the products of the `at`-th sixteen columns: of two inputs' registers, by products of
/// matrices, the first holds those of both with two rows, the second those with the other two.
#[inline(always)]
pub(super) fn add_sixteen<D: DotSigned, const N: usize>(
    panels: &[Panel4; SIDES],
    at: usize,
    x: [int8x16_t; N],
    products: &mut [[int32x4_t; SIDES]; N],
) {
    if D::PAIRS {
        for n in (0..N).step_by(2) {
            let x = eights(x[n], x[n + 1]);
            for side in 0..SIDES {
                for k in 0..2 {
                    for pair in 0..2 {
                        let weights = load(&panels[side].quants[4 * at + 2 * k + pair]);
                        let sum = products[n + pair][side];
                        products[n + pair][side] = add_two_by_two(sum, weights, x[k]);
                    }
                }
            }
        }
        return;
    }
    macro_rules! column {
        ($four:literal) => {
            for side in 0..SIDES {
                let weights = load(&panels[side].quants[4 * at + $four]);
                for n in 0..N {
                    let sum = products[n][side];
                    products[n][side] = add_fours_of::<$four>(sum, weights, x[n]);
                }
            }
        };
    }
    column!(0);
    column!(1);
    column!(2);
    column!(3);
}

/// What [`add_sixteen`] has added up, each input's in a register of its own.
#[inline(always)]
pub(super) fn by_input<D: DotSigned, const N: usize>(
    mut products: [[int32x4_t; SIDES]; N],
) -> [[int32x4_t; SIDES]; N] {
    if D::PAIRS {
        for n in (0..N).step_by(2) {
            for side in 0..SIDES {
                let (a, b) = (products[n][side], products[n + 1][side]);
                products[n][side] = vuzp1q_s32(a, b);
                products[n + 1][side] = vuzp2q_s32(a, b);
            }
        }
    }
    products
}

/// sum + factor · products + offset · (sum of the activations), weights being bytes with a
/// zero point of `above`.
#[inline(always)]
fn finish<W: NeonBlock32>(
    above: i32,
    sum: float32x4_t,
    mut products: int32x4_t,
    (factors, offsets): (float32x4_t, float32x4_t),
    x: &ActivationQ8_0,
) -> float32x4_t {
    if above > 0 {
        products = vsubq_s32(products, vdupq_n_s32(above * x.sum()));
    }
    let factors = vmulq_n_f32(factors, x.scale());
    let sum = vfmaq_f32(sum, vcvtq_f32_s32(products), factors);
    match W::OFFSETS {
        true => vfmaq_n_f32(sum, offsets, x.scale() * x.sum() as f32),
        false => sum,
    }
}
