//! Blocks of 256 weights whose parts have factors, themselves integers.

use super::intrinsics::*;

use super::block256::{NeonBlock256, NeonDecoded, NeonKQuant, sixteen_words};
use super::legacy_quants::values;
use super::packed::{FourRows, product};
use super::register::DotSigned;
use super::register::{ROWS, halves, load, load_unsigned, mapped, nibbles};
use crate::MatMulFn;
use crate::quant::*;
use rillm_formats::manifest::DType;

/// The product of a type.
pub(super) fn of<D: DotSigned>(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::Q2_K => product::<FourRows<NeonKQuant<BlockQ2K, D>>>,
        DType::Q3_K => product::<FourRows<NeonKQuant<BlockQ3K, D>>>,
        DType::Q4_K => product::<FourRows<NeonKQuant<BlockQ4K, D>>>,
        DType::Q5_K => product::<FourRows<NeonKQuant<BlockQ5K, D>>>,
        DType::Q6_K => product::<FourRows<NeonKQuant<BlockQ6K, D>>>,
        DType::IQ4_XS => product::<FourRows<NeonKQuant<BlockIQ4XS, D>>>,
        DType::TQ2_0 => product::<FourRows<NeonKQuant<BlockTQ2_0, D>>>,
        DType::TQ1_0 => product::<FourRows<NeonDecoded<BlockTQ1_0, D>>>,
        DType::IQ2_XXS => product::<FourRows<NeonDecoded<BlockIQ2XXS, D>>>,
        DType::IQ2_XS => product::<FourRows<NeonDecoded<BlockIQ2XS, D>>>,
        DType::IQ2_S => product::<FourRows<NeonDecoded<BlockIQ2S, D>>>,
        DType::IQ3_XXS => product::<FourRows<NeonDecoded<BlockIQ3XXS, D>>>,
        DType::IQ3_S => product::<FourRows<NeonDecoded<BlockIQ3S, D>>>,
        DType::IQ1_S => product::<FourRows<NeonDecoded<BlockIQ1S, D>>>,
        DType::IQ1_M => product::<FourRows<NeonDecoded<BlockIQ1M, D>>>,
        _ => return None,
    })
}

impl NeonBlock256 for BlockQ4K {
    const PARTS: usize = 8;
    const MINS: bool = true;
    #[inline(always)]
    fn quants(&self, half: usize) -> [int8x16_t; 8] {
        signed(runs_of_nibbles(&self.quants, half))
    }
    #[inline(always)]
    fn scales(&self) -> [int32x4_t; 4] {
        eight_words(scales_of_eight(&self.scales))
    }
    #[inline(always)]
    fn mins(&self) -> [int32x4_t; 4] {
        eight_words(mins_of_eight(&self.scales))
    }
    #[inline(always)]
    fn factors(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.scale))
    }
    #[inline(always)]
    fn min_factors(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.min_scale))
    }
}

impl NeonBlock256 for BlockQ5K {
    const PARTS: usize = 8;
    const MINS: bool = true;
    #[inline(always)]
    fn quants(&self, half: usize) -> [int8x16_t; 8] {
        let mut quants = runs_of_nibbles(&self.quants, half);
        let (high, _) = self.high.as_chunks::<16>();
        let high = [load_unsigned(&high[0]), load_unsigned(&high[1])];
        for part in 0..4 {
            // Bit p of byte i is the fifth of weight i of part p: to the place of 16.
            let shift = vdupq_n_s8(4 - (4 * half + part) as i8);
            for side in 0..2 {
                let fifth = vandq_u8(vshlq_u8(high[side], shift), vdupq_n_u8(16));
                let quants = &mut quants[2 * part + side];
                *quants = vorrq_u8(*quants, fifth);
            }
        }
        signed(quants)
    }
    #[inline(always)]
    fn scales(&self) -> [int32x4_t; 4] {
        eight_words(scales_of_eight(&self.scales))
    }
    #[inline(always)]
    fn mins(&self) -> [int32x4_t; 4] {
        eight_words(mins_of_eight(&self.scales))
    }
    #[inline(always)]
    fn factors(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.scale))
    }
    #[inline(always)]
    fn min_factors(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.min_scale))
    }
}

impl NeonBlock256 for BlockQ6K {
    const PARTS: usize = 16;
    const ZERO_POINT: i32 = 32;
    #[inline(always)]
    fn quants(&self, half: usize) -> [int8x16_t; 8] {
        let (low, _) = self.low.as_chunks::<16>();
        let pairs = pairs_of_bits(&self.high, half);
        let mut quants = [vdupq_n_u8(0); 8];
        for piece in 0..4 {
            let [first, second] = nibbles(load_unsigned(&low[4 * half + piece]));
            quants[piece] = vsliq_n_u8::<4>(first, pairs[piece]);
            quants[4 + piece] = vsliq_n_u8::<4>(second, pairs[4 + piece]);
        }
        signed(quants)
    }
    #[inline(always)]
    fn scales(&self) -> [int32x4_t; 4] {
        sixteen_bytes(load(&self.scales))
    }
    #[inline(always)]
    fn factors(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.scale))
    }
}

impl NeonBlock256 for BlockQ3K {
    const PARTS: usize = 16;
    const ZERO_POINT: i32 = 4;
    #[inline(always)]
    fn quants(&self, half: usize) -> [int8x16_t; 8] {
        let mut quants = pairs_of_bits(&self.quants, half);
        let (high, _) = self.high.as_chunks::<16>();
        let high = [load_unsigned(&high[0]), load_unsigned(&high[1])];
        for part in 0..4 {
            // Bit p of byte i is the third of weight i of part p: to the place of 4.
            let shift = vdupq_n_s8(2 - (4 * half + part) as i8);
            for side in 0..2 {
                let third = vandq_u8(vshlq_u8(high[side], shift), vdupq_n_u8(4));
                let quants = &mut quants[2 * part + side];
                *quants = vorrq_u8(*quants, third);
            }
        }
        signed(quants)
    }
    #[inline(always)]
    fn scales(&self) -> [int32x4_t; 4] {
        // What `group_scales` does one by one.
        let (words, _) = self.scales.as_chunks::<4>();
        let [first, second, third] = mapped([0, 1, 2], |at| u32::from_le_bytes(words[at]));
        let low = u64::from(first) | u64::from(second) << 32;
        let low = vcreate_u8(low);
        let low = vcombine_u8(vand_u8(low, vdup_n_u8(15)), vshr_n_u8::<4>(low));
        // Two bits of each byte for four scales, then the next two.
        let shifts = in_lanes([0, -2, -4, -6]);
        let high = vshlq_u8(vreinterpretq_u8_u32(vdupq_n_u32(third)), shifts);
        let scales = vorrq_u8(low, vshlq_n_u8::<4>(vandq_u8(high, vdupq_n_u8(3))));
        let scales = vsubq_s8(vreinterpretq_s8_u8(scales), vdupq_n_s8(32));
        sixteen_bytes(scales)
    }
    #[inline(always)]
    fn factors(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.scale))
    }
}

impl NeonBlock256 for BlockQ2K {
    const PARTS: usize = 16;
    const MINS: bool = true;
    #[inline(always)]
    fn quants(&self, half: usize) -> [int8x16_t; 8] {
        signed(pairs_of_bits(&self.quants, half))
    }
    #[inline(always)]
    fn scales(&self) -> [int32x4_t; 4] {
        let [scales, _] = nibbles(load_unsigned(&self.scales));
        sixteen_bytes(vreinterpretq_s8_u8(scales))
    }
    #[inline(always)]
    fn mins(&self) -> [int32x4_t; 4] {
        let [_, mins] = nibbles(load_unsigned(&self.scales));
        sixteen_bytes(vreinterpretq_s8_u8(mins))
    }
    #[inline(always)]
    fn factors(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.scale))
    }
    #[inline(always)]
    fn min_factors(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.min_scale))
    }
}

impl NeonBlock256 for BlockIQ4XS {
    const PARTS: usize = 8;
    const SMALL: bool = false;
    #[inline(always)]
    fn quants(&self, half: usize) -> [int8x16_t; 8] {
        let (groups, _) = self.quants.as_chunks::<16>();
        let mut quants = [vdupq_n_s8(0); 8];
        for group in 0..4 {
            let [low, high] = values(&IQ4_VALUES, &groups[4 * half + group]);
            quants[2 * group] = low;
            quants[2 * group + 1] = high;
        }
        quants
    }
    #[inline(always)]
    fn scales(&self) -> [int32x4_t; 4] {
        let scales = vreinterpretq_s16_s8(load(&self.group_scales()));
        let none = vdupq_n_s32(0);
        [
            vmovl_s16(vget_low_s16(scales)),
            vmovl_high_s16(scales),
            none,
            none,
        ]
    }
    #[inline(always)]
    fn factors(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.scale))
    }
}

impl NeonBlock256 for BlockTQ2_0 {
    const PARTS: usize = 8;
    const ZERO_POINT: i32 = 1;
    #[inline(always)]
    fn quants(&self, half: usize) -> [int8x16_t; 8] {
        signed(pairs_of_bits(&self.quants, half))
    }
    #[inline(always)]
    fn scales(&self) -> [int32x4_t; 4] {
        [vdupq_n_s32(1); 4]
    }
    #[inline(always)]
    fn factors(blocks: [&Self; ROWS]) -> float32x4_t {
        halves(mapped(blocks, |block| block.scale))
    }
}

#[inline(always)]
fn signed(quants: [uint8x16_t; 8]) -> [int8x16_t; 8] {
    mapped(quants, vreinterpretq_s8_u8)
}

/// Half a block of four-bit quants: two runs of 32 bytes, low halves before high ones.
#[inline(always)]
fn runs_of_nibbles(bytes: &[u8; 128], half: usize) -> [uint8x16_t; 8] {
    let (pieces, _) = bytes.as_chunks::<16>();
    let mut quants = [vdupq_n_u8(0); 8];
    for run in 0..2 {
        for side in 0..2 {
            let piece = load_unsigned(&pieces[4 * half + 2 * run + side]);
            let [low, high] = nibbles(piece);
            quants[4 * run + side] = low;
            quants[4 * run + 2 + side] = high;
        }
    }
    quants
}

/// Half a block of two-bit quants: byte i holds quants i, i + 32, i + 64 and i + 96.
#[inline(always)]
fn pairs_of_bits(bytes: &[u8; 64], half: usize) -> [uint8x16_t; 8] {
    let (pieces, _) = bytes.as_chunks::<16>();
    let mask = vdupq_n_u8(3);
    let mut quants = [vdupq_n_u8(0); 8];
    for side in 0..2 {
        let piece = load_unsigned(&pieces[2 * half + side]);
        quants[side] = vandq_u8(piece, mask);
        quants[2 + side] = vandq_u8(vshrq_n_u8::<2>(piece), mask);
        quants[4 + side] = vandq_u8(vshrq_n_u8::<4>(piece), mask);
        quants[6 + side] = vshrq_n_u8::<6>(piece);
    }
    quants
}

/// The eight scales of a Q4_K or Q5_K block, a byte each: four at a time, what
/// [`scales_and_mins`] does one by one.
#[inline(always)]
fn scales_of_eight(packed: &[u8; 12]) -> u64 {
    let (words, _) = packed.as_chunks::<4>();
    let [first, third] = mapped([0, 2], |at| u32::from_le_bytes(words[at]));
    let high = (third & 0x0f0f_0f0f) | (((first >> 6) & 0x0303_0303) << 4);
    u64::from(first & 0x3f3f_3f3f) | u64::from(high) << 32
}

/// The eight minima likewise.
#[inline(always)]
fn mins_of_eight(packed: &[u8; 12]) -> u64 {
    let (words, _) = packed.as_chunks::<4>();
    let [second, third] = mapped([1, 2], |at| u32::from_le_bytes(words[at]));
    let high = ((third >> 4) & 0x0f0f_0f0f) | (((second >> 6) & 0x0303_0303) << 4);
    u64::from(second & 0x3f3f_3f3f) | u64::from(high) << 32
}

/// Eight bytes, none of which has a sign, as integers; the rest is not asked for.
#[inline(always)]
fn eight_words(bytes: u64) -> [int32x4_t; 4] {
    let halves = vreinterpretq_s16_u16(vmovl_u8(vcreate_u8(bytes)));
    let none = vdupq_n_s32(0);
    [
        vmovl_s16(vget_low_s16(halves)),
        vmovl_high_s16(halves),
        none,
        none,
    ]
}

/// Sixteen signed bytes as integers.
#[inline(always)]
fn sixteen_bytes(bytes: int8x16_t) -> [int32x4_t; 4] {
    sixteen_words([vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)])
}

/// Four bytes, each in all four of a lane.
#[inline(always)]
fn in_lanes(lanes: [i8; 4]) -> int8x16_t {
    let [a, b, c, d] = mapped(lanes, |lane| [lane; 4]);
    load(&[a, b, c, d])
}
