//! TQ1_0 and TQ2_0: weights of three values.

#![allow(clippy::needless_range_loop)] // indices say best where in a block something stands

use half::f16;

use super::bits::*;
use super::blocks::*;
use super::fit::*;

blocks! {
    /// 256 weights: `scale · (trit − 1)`.
    BlockTQ1_0, TQ1_0 {
        /// Five trits to a byte, 256/243 of their number rounded up: 32 bytes for the first 160
        /// weights, byte i holding weights i, i + 32 … i + 128; 16 bytes for the next 80.
        quants: [u8; 48],
        /// Four trits to a byte, for the last 16 weights.
        high: [u8; 4],
        /// Half-precision scale.
        scale: [u8; 2],
    }
    /// 256 weights: `scale · (quant − 1)`.
    BlockTQ2_0, TQ2_0 {
        /// As in [`BlockQ2K`](super::BlockQ2K).
        quants: [u8; 64],
        /// Half-precision scale.
        scale: [u8; 2],
    }
}

impl Block256 for BlockTQ1_0 {
    #[inline(always)]
    fn integers(&self, out: &mut Integers256) {
        /// Three to the power of a trit's place moves it to the top of its byte.
        const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
        let trit = |byte: u8, place: usize| {
            let moved = u16::from(byte.wrapping_mul(POWERS[place]));
            ((moved * 3) >> 8) as i8 - 1
        };
        for place in 0..5 {
            for i in 0..32 {
                out.quants[32 * place + i] = trit(self.quants[i], place);
            }
            for i in 0..16 {
                out.quants[160 + 16 * place + i] = trit(self.quants[32 + i], place);
            }
        }
        for place in 0..4 {
            for i in 0..4 {
                out.quants[240 + 4 * place + i] = trit(self.high[i], place);
            }
        }
        out.scales = [1; 16];
        out.scale = half(self.scale);
    }
}

impl Block256 for BlockTQ2_0 {
    #[inline(always)]
    fn integers(&self, out: &mut Integers256) {
        two_bits(&self.quants, &mut out.quants);
        for quant in &mut out.quants {
            *quant -= 1;
        }
        out.scales = [1; 16];
        out.scale = half(self.scale);
    }
}

/// Weights of −1, 0 and 1 times their largest magnitude: models that are made of these come out
/// exactly.
fn trits(values: &[f32; 256]) -> (f16, [u8; 256]) {
    let largest = extreme(values).abs();
    let quants = nearest(values, largest, 0.0, -1, 1);
    (
        f16::from_f32(largest),
        quants.map(|quant| (quant + 1).cast_unsigned()),
    )
}

pub(super) fn tq1_0(values: &[f32; 256]) -> BlockTQ1_0 {
    let (scale, trits) = trits(values);
    // Five trits as a number to base three, the first in the highest place, and that as a
    // fraction of 256, rounded up.
    let byte = |first: usize, apart: usize, count: usize| {
        let number = (0..5).fold(0u16, |number, place| {
            let trit = if place < count {
                trits[first + apart * place]
            } else {
                0
            };
            3 * number + u16::from(trit)
        });
        (number * 256).div_ceil(243) as u8
    };
    BlockTQ1_0 {
        quants: core::array::from_fn(|i| match i {
            0..32 => byte(i, 32, 5),
            _ => byte(160 + i - 32, 16, 5),
        }),
        high: core::array::from_fn(|i| byte(240 + i, 4, 4)),
        scale: scale.to_le_bytes(),
    }
}

pub(super) fn tq2_0(values: &[f32; 256]) -> BlockTQ2_0 {
    let (scale, trits) = trits(values);
    BlockTQ2_0 {
        quants: pack_two_bits(&trits),
        scale: scale.to_le_bytes(),
    }
}
