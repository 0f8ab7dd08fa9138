//! I-quants, IQ1 to IQ3: weights are points of a grid, four or eight at a time, which indices and
//! signs choose.

#![allow(clippy::needless_range_loop)] // indices say best where in a block something stands

use super::blocks::*;
use super::grids;

blocks! {
    /// 256 weights in eight groups of 32: `scale/8 · (2 · scales[g] + 1) · ±grid`.
    BlockIQ2XXS, IQ2_XXS {
        /// Half-precision scale.
        scale: [u8; 2],
        /// For each group four indices of eight weights each, and a u32: four times seven bits
        /// of signs (an eighth makes their number even) and the group's scale.
        quants: [u8; 64],
    }
    /// 256 weights in sixteen groups of 16: `scale/8 · (2 · scales[g] + 1) · ±grid`.
    BlockIQ2XS, IQ2_XS {
        /// Half-precision scale.
        scale: [u8; 2],
        /// For each eight weights a u16: nine bits of index, seven of signs.
        quants: [u8; 64],
        /// Four bits for each group.
        scales: [u8; 8],
    }
    /// 256 weights in sixteen groups of 16: `scale/8 · (2 · scales[g] + 1) · ±grid`.
    BlockIQ2S, IQ2_S {
        /// Half-precision scale.
        scale: [u8; 2],
        /// Eight bits of index for each eight weights.
        quants: [u8; 32],
        /// A bit for each weight.
        signs: [u8; 32],
        /// Two high bits of each index.
        high: [u8; 8],
        /// Four bits for each group.
        scales: [u8; 8],
    }
    /// 256 weights in eight groups of 32: `scale/4 · (2 · scales[g] + 1) · ±grid`.
    BlockIQ3XXS, IQ3_XXS {
        /// Half-precision scale.
        scale: [u8; 2],
        /// An index for each four weights.
        quants: [u8; 64],
        /// Signs and scale of each group, as in [`BlockIQ2XXS`].
        signs_and_scales: [u8; 32],
    }
    /// 256 weights in eight groups of 32: `scale · (2 · scales[g] + 1) · ±grid`.
    BlockIQ3S, IQ3_S {
        /// Half-precision scale.
        scale: [u8; 2],
        /// Eight bits of index for each four weights.
        quants: [u8; 64],
        /// The ninth bit of each index.
        high: [u8; 8],
        /// A bit for each weight.
        signs: [u8; 32],
        /// Four bits for each group.
        scales: [u8; 4],
    }
    /// 256 weights in eight groups of 32: `scale/8 · (2 · scales[g] + 1) · (8 · grid ± 1)`.
    BlockIQ1S, IQ1_S {
        /// Half-precision scale.
        scale: [u8; 2],
        /// Eight bits of index for each eight weights.
        quants: [u8; 32],
        /// A u16 for each group: four times three high bits of indices, three bits of scale,
        /// one for the sign of the offset.
        high: [u8; 16],
    }
    /// 256 weights in sixteen groups of 16: `scale/8 · (2 · scales[g] + 1) · (8 · grid ± 1)`,
    /// the offset's sign being one for each eight weights.
    BlockIQ1M, IQ1_M {
        /// Eight bits of index for each eight weights.
        quants: [u8; 32],
        /// For each eight weights, four bits: three high bits of the index, the offset's sign.
        high: [u8; 16],
        /// Four u16, each of four times three bits of scale; their top four bits together are
        /// the half-precision scale.
        scales: [u8; 8],
    }
}

/// A block whose weights are points of a grid.
pub trait IQuantBlock: Block256 {
    /// What its scale is multiplied with.
    const UNIT: f32;

    /// Its scale, a number in half precision.
    fn stored_scale(&self) -> [u8; 2];

    /// The scale of its integers.
    #[inline(always)]
    fn factor(&self) -> f32 {
        half(self.stored_scale()) * Self::UNIT
    }
}

/// One whose weights' signs stand apart.
pub trait SignedGrid: IQuantBlock {
    /// Magnitudes in place of weights, and a bit for each that is below zero.
    fn points(&self, out: &mut Integers256, signs: &mut [u8; 32]);
}

/// Its weights.
#[inline(always)]
fn turned(block: &impl SignedGrid, out: &mut Integers256) {
    let mut signs = [0; 32];
    block.points(out, &mut signs);
    for (eight, signs) in out.quants.as_chunks_mut::<8>().0.iter_mut().zip(signs) {
        *eight = with_signs(*eight, signs);
    }
}

/// Eight signs from seven: their number is even. Not counted, for which many CPUs have an instruction
/// that not all have.
#[inline(always)]
fn even_signs(seven: u8) -> u8 {
    /// Bit n: whether the number of n's bits is odd.
    const ODD: u16 = 0x6996;
    let seven = seven & 0x7f;
    let folded = (seven ^ (seven >> 4)) & 15;
    seven | (((ODD >> folded) as u8 & 1) << 7)
}

/// Turns what has its bit set; no magnitude is zero.
#[inline(always)]
fn with_signs(magnitudes: [i8; 8], signs: u8) -> [i8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const SEVEN: u64 = 0x7f * ONES;
    // A bit for each byte: where its own is set, seven ones carry it to the highest.
    let own = (u64::from(signs) * ONES) & 0x8040_2010_0804_0201;
    let set = ((((own & SEVEN) + SEVEN) | own) >> 7) & ONES;
    // Turned bits, and one: nothing is carried out of a byte that is not zero.
    let bytes = u64::from_le_bytes(magnitudes.map(i8::cast_unsigned));
    let turned = (bytes ^ (set * 0xff)) + set;
    turned.to_le_bytes().map(u8::cast_signed)
}

/// Two points of four weights, as one.
#[inline(always)]
fn both([a, b, c, d]: [i8; 4], [e, f, g, h]: [i8; 4]) -> [i8; 8] {
    [a, b, c, d, e, f, g, h]
}

/// An odd scale from one that counts from zero.
#[inline(always)]
fn odd(scale: u8) -> i16 {
    2 * i16::from(scale) + 1
}

impl SignedGrid for BlockIQ2XXS {
    #[inline(always)]
    fn points(&self, out: &mut Integers256, all_signs: &mut [u8; 32]) {
        let (eights, _) = out.quants.as_chunks_mut::<8>();
        for g in 0..8 {
            let [a, b, c, d, s0, s1, s2, s3] = self.quants.as_chunks().0[g];
            let signs = u32::from_le_bytes([s0, s1, s2, s3]);
            for (n, index) in [a, b, c, d].into_iter().enumerate() {
                eights[4 * g + n] = *grids::IQ2_XXS.weights(index.into());
                all_signs[4 * g + n] = even_signs((signs >> (7 * n)) as u8);
            }
            out.scales[2 * g] = odd((signs >> 28) as u8);
            out.scales[2 * g + 1] = out.scales[2 * g];
        }
        out.scale = self.factor();
    }
}

impl IQuantBlock for BlockIQ2XXS {
    const UNIT: f32 = 0.125;

    #[inline(always)]
    fn stored_scale(&self) -> [u8; 2] {
        self.scale
    }
}

impl SignedGrid for BlockIQ2XS {
    #[inline(always)]
    fn points(&self, out: &mut Integers256, signs: &mut [u8; 32]) {
        let (eights, _) = out.quants.as_chunks_mut::<8>();
        let (words, _) = self.quants.as_chunks::<2>();
        for (n, word) in words.iter().enumerate() {
            let word = u16::from_le_bytes(*word);
            eights[n] = *grids::IQ2_XS.weights(usize::from(word & 511));
            signs[n] = even_signs((word >> 9) as u8);
        }
        for g in 0..16 {
            out.scales[g] = odd((self.scales[g / 2] >> (g % 2 * 4)) & 15);
        }
        out.scale = self.factor();
    }
}

impl IQuantBlock for BlockIQ2XS {
    const UNIT: f32 = 0.125;

    #[inline(always)]
    fn stored_scale(&self) -> [u8; 2] {
        self.scale
    }
}

impl SignedGrid for BlockIQ2S {
    #[inline(always)]
    fn points(&self, out: &mut Integers256, signs: &mut [u8; 32]) {
        let (eights, _) = out.quants.as_chunks_mut::<8>();
        for n in 0..32 {
            let high = (self.high[n / 4] >> (n % 4 * 2)) & 3;
            let index = usize::from(self.quants[n]) | usize::from(high) << 8;
            eights[n] = *grids::IQ2_S.weights(index);
        }
        *signs = self.signs;
        for g in 0..16 {
            out.scales[g] = odd((self.scales[g / 2] >> (g % 2 * 4)) & 15);
        }
        out.scale = self.factor();
    }
}

impl IQuantBlock for BlockIQ2S {
    const UNIT: f32 = 0.125;

    #[inline(always)]
    fn stored_scale(&self) -> [u8; 2] {
        self.scale
    }
}

impl SignedGrid for BlockIQ3XXS {
    #[inline(always)]
    fn points(&self, out: &mut Integers256, all_signs: &mut [u8; 32]) {
        let (eights, _) = out.quants.as_chunks_mut::<8>();
        for g in 0..8 {
            let signs = u32::from_le_bytes(self.signs_and_scales.as_chunks().0[g]);
            for n in 0..4 {
                let four = |at: usize| *grids::IQ3_XXS.weights(self.quants[at].into());
                let at = 4 * g + n;
                eights[at] = both(four(2 * at), four(2 * at + 1));
                all_signs[at] = even_signs((signs >> (7 * n)) as u8);
            }
            out.scales[2 * g] = odd((signs >> 28) as u8);
            out.scales[2 * g + 1] = out.scales[2 * g];
        }
        out.scale = self.factor();
    }
}

impl IQuantBlock for BlockIQ3XXS {
    const UNIT: f32 = 0.25;

    #[inline(always)]
    fn stored_scale(&self) -> [u8; 2] {
        self.scale
    }
}

impl SignedGrid for BlockIQ3S {
    #[inline(always)]
    fn points(&self, out: &mut Integers256, signs: &mut [u8; 32]) {
        let (eights, _) = out.quants.as_chunks_mut::<8>();
        for n in 0..32 {
            let four = |at: usize| {
                let high = (self.high[at / 8] >> (at % 8)) & 1;
                *grids::IQ3_S.weights(usize::from(self.quants[at]) | usize::from(high) << 8)
            };
            eights[n] = both(four(2 * n), four(2 * n + 1));
        }
        *signs = self.signs;
        for g in 0..16 {
            out.scales[g] = odd((self.scales[g / 4] >> (g / 2 % 2 * 4)) & 15);
        }
        out.scale = self.factor();
    }
}

impl IQuantBlock for BlockIQ3S {
    const UNIT: f32 = 1.0;

    #[inline(always)]
    fn stored_scale(&self) -> [u8; 2] {
        self.scale
    }
}

/// The weights of types whose signs stand apart.
macro_rules! turned {
    ($($block:ty),*) => {$(
        impl Block256 for $block {
            #[inline(always)]
            fn integers(&self, out: &mut Integers256) {
                turned(self, out);
            }
        }
    )*};
}

turned!(BlockIQ2XXS, BlockIQ2XS, BlockIQ2S, BlockIQ3XXS, BlockIQ3S);

/// Eight times a grid's values, an eighth of the distance between two of them up or down.
#[inline(always)]
fn shifted(index: usize, down: bool, out: &mut [i8]) {
    let weights = grids::IQ1.weights(index);
    let by = if down { -1 } else { 1 };
    for (out, weight) in out.iter_mut().zip(weights) {
        *out = 8 * weight + by;
    }
}

impl Block256 for BlockIQ1S {
    fn integers(&self, out: &mut Integers256) {
        let (words, _) = self.high.as_chunks::<2>();
        for (g, word) in words.iter().enumerate() {
            let word = u16::from_le_bytes(*word);
            for n in 0..4 {
                let high = usize::from((word >> (3 * n)) & 7);
                let index = usize::from(self.quants[4 * g + n]) | high << 8;
                shifted(
                    index,
                    word >> 15 == 1,
                    &mut out.quants[32 * g + 8 * n..][..8],
                );
            }
            out.scales[2 * g] = odd((word >> 12 & 7) as u8);
            out.scales[2 * g + 1] = out.scales[2 * g];
        }
        out.scale = self.factor();
    }
}

impl IQuantBlock for BlockIQ1S {
    const UNIT: f32 = 0.125;

    #[inline(always)]
    fn stored_scale(&self) -> [u8; 2] {
        self.scale
    }
}

impl Block256 for BlockIQ1M {
    fn integers(&self, out: &mut Integers256) {
        for n in 0..32 {
            let bits = self.high[n / 2] >> (n % 2 * 4);
            let index = usize::from(self.quants[n]) | usize::from(bits & 7) << 8;
            shifted(index, bits & 8 != 0, &mut out.quants[8 * n..][..8]);
        }
        let (words, _) = self.scales.as_chunks::<2>();
        for (w, word) in words.iter().enumerate() {
            let word = u16::from_le_bytes(*word);
            for part in 0..4 {
                out.scales[4 * w + part] = odd((word >> (3 * part) & 7) as u8);
            }
        }
        out.scale = self.factor();
    }
}

impl IQuantBlock for BlockIQ1M {
    const UNIT: f32 = 0.125;

    #[inline(always)]
    fn stored_scale(&self) -> [u8; 2] {
        // Four bits of it stand above each word's four scales.
        let words = u64::from_le_bytes(self.scales);
        let four = |word: u64| (words >> (16 * word + 12) & 15) << (4 * word);
        ((four(0) | four(1) | four(2) | four(3)) as u16).to_le_bytes()
    }
}
