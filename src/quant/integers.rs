//! Every block as integers and a few floats: what kernels multiply, and what decoding and the
//! scalar products are made of.
//!
//! Written as loops over runs of bytes, so that a table compiled for a wider instruction set
//! gets vector code from the same source.

#![allow(clippy::needless_range_loop)] // indices say best where in a block something stands

use super::blocks::*;
use super::grids;

/// 32 weights: `scale · quants[i] + offset`.
#[derive(Clone, Copy, Debug)]
pub struct Integers32 {
    /// Signed quants.
    pub quants: [i8; 32],
    /// What they are multiplied with.
    pub scale: f32,
    /// What is added; zero unless the type [has offsets](Block32::OFFSETS).
    pub offset: f32,
}

/// 256 weights in sixteen groups: `scale · scales[g] · quants[i] − min_scale · mins[g]`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Integers256 {
    /// Signed quants; from zero on if the type [has minima](Block256::MINS).
    pub quants: [i8; 256],
    /// Factors of sixteen weights each, within a byte's range.
    pub scales: [i16; 16],
    /// Minima of sixteen weights each; zero unless the type has any.
    pub mins: [i16; 16],
    /// Factor of `scales`.
    pub scale: f32,
    /// Factor of `mins`.
    pub min_scale: f32,
}

impl Integers256 {
    /// Nothing yet.
    pub const ZERO: Integers256 = Integers256 {
        quants: [0; 256],
        scales: [0; 16],
        mins: [0; 16],
        scale: 0.0,
        min_scale: 0.0,
    };
}

/// A block of one or more groups of 32 weights, a float scale for each.
pub trait Block32: Block {
    /// Groups in one block.
    const GROUPS: usize = Self::ELEMENTS / 32;
    /// Whether weights have an offset beside their scale.
    const OFFSETS: bool = false;

    /// One group as integers.
    fn integers(&self, group: usize) -> Integers32;
}

/// A block of 256 weights whose groups have integer scales.
pub trait Block256: Block {
    /// Whether groups have minima beside their scales.
    const MINS: bool = false;

    /// The block as integers. What the type does not have stays as it is in `out`: start from
    /// [`Integers256::ZERO`].
    fn integers(&self, out: &mut Integers256);
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

/// Low halves of sixteen bytes, then their high halves.
#[inline(always)]
fn halves(bytes: &[u8; 16]) -> [u8; 32] {
    let mut quants = [0; 32];
    for i in 0..16 {
        quants[i] = bytes[i] & 15;
        quants[i + 16] = bytes[i] >> 4;
    }
    quants
}

/// [`halves`] with a fifth bit, bit i of a u32 for weight i.
#[inline(always)]
fn halves_and_fifth(bytes: &[u8; 16], high: [u8; 4]) -> [u8; 32] {
    let mut quants = halves(bytes);
    for (i, quant) in quants.iter_mut().enumerate() {
        *quant |= ((high[i / 8] >> (i % 8)) & 1) << 4;
    }
    quants
}

/// Quants `above` themselves.
#[inline(always)]
fn lowered(quants: [u8; 32], above: u8) -> [i8; 32] {
    let mut lowered = [0; 32];
    for i in 0..32 {
        lowered[i] = quants[i].wrapping_sub(above).cast_signed();
    }
    lowered
}

/// What quants stand for.
#[inline(always)]
fn looked_up(quants: [u8; 32], values: &[i8; 16]) -> [i8; 32] {
    let mut found = [0; 32];
    for i in 0..32 {
        found[i] = values[usize::from(quants[i] & 15)];
    }
    found
}

impl Block32 for BlockQ4_0 {
    #[inline(always)]
    fn integers(&self, _: usize) -> Integers32 {
        Integers32 {
            quants: lowered(halves(&self.quants), 8),
            scale: half(self.scale),
            offset: 0.0,
        }
    }
}

impl Block32 for BlockQ4_1 {
    const OFFSETS: bool = true;

    #[inline(always)]
    fn integers(&self, _: usize) -> Integers32 {
        Integers32 {
            quants: lowered(halves(&self.quants), 0),
            scale: half(self.scale),
            offset: half(self.min),
        }
    }
}

impl Block32 for BlockQ5_0 {
    #[inline(always)]
    fn integers(&self, _: usize) -> Integers32 {
        Integers32 {
            quants: lowered(halves_and_fifth(&self.quants, self.high), 16),
            scale: half(self.scale),
            offset: 0.0,
        }
    }
}

impl Block32 for BlockQ5_1 {
    const OFFSETS: bool = true;

    #[inline(always)]
    fn integers(&self, _: usize) -> Integers32 {
        Integers32 {
            quants: lowered(halves_and_fifth(&self.quants, self.high), 0),
            scale: half(self.scale),
            offset: half(self.min),
        }
    }
}

impl Block32 for BlockQ8_0 {
    #[inline(always)]
    fn integers(&self, _: usize) -> Integers32 {
        Integers32 {
            quants: self.quants,
            scale: half(self.scale),
            offset: 0.0,
        }
    }
}

impl Block32 for BlockIQ4NL {
    #[inline(always)]
    fn integers(&self, _: usize) -> Integers32 {
        Integers32 {
            quants: looked_up(halves(&self.quants), &IQ4_VALUES),
            scale: half(self.scale),
            offset: 0.0,
        }
    }
}

impl BlockMXFP4 {
    /// Half of 2^(exponent − 127): the values are doubled.
    #[inline(always)]
    pub fn scale(&self) -> f32 {
        let [exponent] = self.exponent;
        f32::from_bits(match exponent {
            0..2 => 0x0020_0000 << exponent,
            _ => u32::from(exponent - 1) << 23,
        })
    }
}

impl Block32 for BlockMXFP4 {
    #[inline(always)]
    fn integers(&self, _: usize) -> Integers32 {
        Integers32 {
            quants: looked_up(halves(&self.quants), &FP4_VALUES),
            scale: self.scale(),
            offset: 0.0,
        }
    }
}

/// Half of what each bit pattern of a [`BlockNVFP4`]'s scale means.
pub static NVFP4_SCALES: [f32; 256] = {
    let mut scales = [0.0; 256];
    let mut bits = 0;
    while bits < 256 {
        scales[bits] = nvfp4_scale(bits as u8);
        bits += 1;
    }
    scales
};

/// Half of an unsigned E4M3 float.
const fn nvfp4_scale(bits: u8) -> f32 {
    let (exponent, mantissa) = (bits >> 3 & 15, (bits & 7) as f32);
    let value = match exponent {
        _ if bits == 0x7f => 0.0,
        0 => mantissa / 512.0,
        _ => (1.0 + mantissa / 8.0) * f32::from_bits((exponent as u32 + 120) << 23),
    };
    value * 0.5
}

impl BlockNVFP4 {
    /// Half of each group's scale: the values are doubled.
    pub fn group_scales(&self) -> [f32; 4] {
        self.scales.map(|bits| NVFP4_SCALES[usize::from(bits)])
    }

    /// The weights over their group's scale.
    pub fn values(&self) -> [i8; 64] {
        core::array::from_fn(|i| {
            let byte = self.quants[i / 16 * 8 + i % 8];
            let quant = if i % 16 < 8 { byte & 15 } else { byte >> 4 };
            FP4_VALUES[usize::from(quant)]
        })
    }
}

/// Pairs of bits: byte i of each half of the block holds quants i, i + 32, i + 64 and i + 96.
#[inline(always)]
fn pairs_of_bits(bytes: &[u8; 64], quants: &mut [i8; 256]) {
    for half in 0..2 {
        for quarter in 0..4 {
            for i in 0..32 {
                let quant = (bytes[32 * half + i] >> (2 * quarter)) & 3;
                quants[128 * half + 32 * quarter + i] = quant.cast_signed();
            }
        }
    }
}

impl Block256 for BlockQ2K {
    const MINS: bool = true;

    #[inline(always)]
    fn integers(&self, out: &mut Integers256) {
        pairs_of_bits(&self.quants, &mut out.quants);
        for g in 0..16 {
            out.scales[g] = i16::from(self.scales[g] & 15);
            out.mins[g] = i16::from(self.scales[g] >> 4);
        }
        out.scale = half(self.scale);
        out.min_scale = half(self.min_scale);
    }
}

impl Block256 for BlockQ3K {
    #[inline(always)]
    fn integers(&self, out: &mut Integers256) {
        pairs_of_bits(&self.quants, &mut out.quants);
        for part in 0..8 {
            for i in 0..32 {
                let high = (self.high[i] >> part) & 1;
                out.quants[32 * part + i] += (high << 2).cast_signed() - 4;
            }
        }
        let scales = self.group_scales();
        for g in 0..16 {
            out.scales[g] = i16::from(scales[g]) - 32;
        }
        out.scale = half(self.scale);
    }
}

/// Four-bit quants: four runs of 32 bytes, low halves before high ones.
#[inline(always)]
fn runs_of_halves(bytes: &[u8; 128], quants: &mut [i8; 256]) {
    for run in 0..4 {
        for i in 0..32 {
            let byte = bytes[32 * run + i];
            quants[64 * run + i] = (byte & 15).cast_signed();
            quants[64 * run + 32 + i] = (byte >> 4).cast_signed();
        }
    }
}

/// Scales and minima of eight groups, each twice.
#[inline(always)]
fn scales_of_eight(packed: &[u8; 12], out: &mut Integers256) {
    let (scales, mins) = scales_and_mins(packed);
    for g in 0..16 {
        out.scales[g] = i16::from(scales[g / 2]);
        out.mins[g] = i16::from(mins[g / 2]);
    }
}

impl Block256 for BlockQ4K {
    const MINS: bool = true;

    #[inline(always)]
    fn integers(&self, out: &mut Integers256) {
        runs_of_halves(&self.quants, &mut out.quants);
        scales_of_eight(&self.scales, out);
        out.scale = half(self.scale);
        out.min_scale = half(self.min_scale);
    }
}

impl Block256 for BlockQ5K {
    const MINS: bool = true;

    #[inline(always)]
    fn integers(&self, out: &mut Integers256) {
        runs_of_halves(&self.quants, &mut out.quants);
        for group in 0..8 {
            for i in 0..32 {
                let high = (self.high[i] >> group) & 1;
                out.quants[32 * group + i] |= (high << 4).cast_signed();
            }
        }
        scales_of_eight(&self.scales, out);
        out.scale = half(self.scale);
        out.min_scale = half(self.min_scale);
    }
}

impl Block256 for BlockQ6K {
    #[inline(always)]
    fn integers(&self, out: &mut Integers256) {
        pairs_of_bits(&self.high, &mut out.quants);
        for half in 0..2 {
            for i in 0..64 {
                let low = self.low[64 * half + i];
                for (at, low) in [(128 * half + i, low & 15), (128 * half + 64 + i, low >> 4)] {
                    out.quants[at] = ((out.quants[at] << 4) | low.cast_signed()) - 32;
                }
            }
        }
        for g in 0..16 {
            out.scales[g] = i16::from(self.scales[g]);
        }
        out.scale = half(self.scale);
    }
}

impl BlockIQ4XS {
    /// The eight group scales.
    #[inline(always)]
    pub fn group_scales(&self) -> [i16; 8] {
        let high = u16::from_le_bytes(self.scales_high);
        let mut scales = [0; 8];
        for (g, scale) in scales.iter_mut().enumerate() {
            let low = (self.scales_low[g / 2] >> (g % 2 * 4)) & 15;
            let high = (high >> (2 * g)) & 3;
            *scale = i16::from(low) + (high << 4).cast_signed() - 32;
        }
        scales
    }
}

impl Block256 for BlockIQ4XS {
    #[inline(always)]
    fn integers(&self, out: &mut Integers256) {
        let (groups, _) = self.quants.as_chunks::<16>();
        let (quants, _) = out.quants.as_chunks_mut::<32>();
        for g in 0..8 {
            quants[g] = looked_up(halves(&groups[g]), &IQ4_VALUES);
        }
        let scales = self.group_scales();
        for g in 0..16 {
            out.scales[g] = scales[g / 2];
        }
        out.scale = half(self.scale);
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
        pairs_of_bits(&self.quants, &mut out.quants);
        for quant in &mut out.quants {
            *quant -= 1;
        }
        out.scales = [1; 16];
        out.scale = half(self.scale);
    }
}

/// Eight signs from seven: their number is even.
#[inline(always)]
fn even_signs(seven: u8) -> u8 {
    let seven = seven & 0x7f;
    seven | ((seven.count_ones() as u8 & 1) << 7)
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

impl Block256 for BlockIQ2XXS {
    #[inline(always)]
    fn integers(&self, out: &mut Integers256) {
        let (eights, _) = out.quants.as_chunks_mut::<8>();
        for g in 0..8 {
            let [a, b, c, d, s0, s1, s2, s3] = self.quants.as_chunks().0[g];
            let signs = u32::from_le_bytes([s0, s1, s2, s3]);
            for (n, index) in [a, b, c, d].into_iter().enumerate() {
                let weights = *grids::IQ2_XXS.weights(index.into());
                let signs = even_signs((signs >> (7 * n)) as u8);
                eights[4 * g + n] = with_signs(weights, signs);
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

impl Block256 for BlockIQ2XS {
    #[inline(always)]
    fn integers(&self, out: &mut Integers256) {
        let (eights, _) = out.quants.as_chunks_mut::<8>();
        let (words, _) = self.quants.as_chunks::<2>();
        for (n, word) in words.iter().enumerate() {
            let word = u16::from_le_bytes(*word);
            let weights = *grids::IQ2_XS.weights(usize::from(word & 511));
            let signs = even_signs((word >> 9) as u8);
            eights[n] = with_signs(weights, signs);
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

impl Block256 for BlockIQ2S {
    #[inline(always)]
    fn integers(&self, out: &mut Integers256) {
        let (eights, _) = out.quants.as_chunks_mut::<8>();
        for n in 0..32 {
            let high = (self.high[n / 4] >> (n % 4 * 2)) & 3;
            let index = usize::from(self.quants[n]) | usize::from(high) << 8;
            eights[n] = with_signs(*grids::IQ2_S.weights(index), self.signs[n]);
        }
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

impl Block256 for BlockIQ3XXS {
    #[inline(always)]
    fn integers(&self, out: &mut Integers256) {
        let (eights, _) = out.quants.as_chunks_mut::<8>();
        for g in 0..8 {
            let signs = u32::from_le_bytes(self.signs_and_scales.as_chunks().0[g]);
            for n in 0..4 {
                let four = |at: usize| *grids::IQ3_XXS.weights(self.quants[at].into());
                let at = 4 * g + n;
                let signs = even_signs((signs >> (7 * n)) as u8);
                eights[at] = with_signs(both(four(2 * at), four(2 * at + 1)), signs);
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

impl Block256 for BlockIQ3S {
    #[inline(always)]
    fn integers(&self, out: &mut Integers256) {
        let (eights, _) = out.quants.as_chunks_mut::<8>();
        for n in 0..32 {
            let four = |at: usize| {
                let high = (self.high[at / 8] >> (at % 8)) & 1;
                *grids::IQ3_S.weights(usize::from(self.quants[at]) | usize::from(high) << 8)
            };
            eights[n] = with_signs(both(four(2 * n), four(2 * n + 1)), self.signs[n]);
        }
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
