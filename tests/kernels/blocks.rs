//! Rows of blocks to multiply, adversarial ones among them.

use half::{bf16, f16};
use rillm::internals::kernels::Activation;
use rillm::internals::quant::{ActivationQ8_0, ActivationQ8K};
use rillm_formats::manifest::DType;

use super::Random;

/// What a case is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pattern {
    /// Any bytes, moderate scales.
    Random,
    /// Quants at the ends of their ranges, scales one: every sum is a whole number.
    Extremes,
    /// As before, all products of one sign: the largest sums there can be.
    Aligned,
    /// Every scale zero, some of them negative.
    Zero,
    /// The largest finite half-precision scales.
    Huge,
}

pub(super) const PATTERNS: [Pattern; 5] = [
    Pattern::Random,
    Pattern::Extremes,
    Pattern::Aligned,
    Pattern::Zero,
    Pattern::Huge,
];

fn half_scale(pattern: Pattern, random: &mut Random) -> [u8; 2] {
    let value = match pattern {
        Pattern::Random => f16::from_f32(random.float()),
        Pattern::Extremes | Pattern::Aligned => f16::ONE,
        Pattern::Zero => [f16::ZERO, f16::NEG_ZERO][random.below(2) as usize],
        Pattern::Huge => [f16::MAX, f16::MIN][random.below(2) as usize],
    };
    value.to_le_bytes()
}

fn float(pattern: Pattern, random: &mut Random) -> f32 {
    match pattern {
        Pattern::Random => random.float(),
        Pattern::Extremes => [127.0, -127.0][random.below(2) as usize],
        Pattern::Aligned => 127.0,
        Pattern::Zero => [0.0, -0.0][random.below(2) as usize],
        Pattern::Huge => random.float() * 60000.0,
    }
}

/// Bytes of a byte-sized field: anything, or one of its two ends.
fn field(pattern: Pattern, ends: [u8; 2], out: &mut [u8], random: &mut Random) {
    for out in out {
        *out = match pattern {
            Pattern::Random | Pattern::Zero | Pattern::Huge => random.byte(),
            Pattern::Extremes => ends[random.below(2) as usize],
            Pattern::Aligned => ends[0],
        };
    }
}

pub(super) fn weight_row(
    dtype: DType,
    columns: usize,
    pattern: Pattern,
    random: &mut Random,
) -> Vec<u8> {
    let len = dtype.row_len(columns as u64).expect("whole blocks") as usize;
    let mut row = vec![0; len];
    for block in row.chunks_mut(dtype.block_len() as usize) {
        match dtype {
            DType::F32 => block.copy_from_slice(&float(pattern, random).to_le_bytes()),
            DType::F16 => {
                block.copy_from_slice(&f16::from_f32(float(pattern, random)).to_le_bytes());
            }
            DType::BF16 => {
                block.copy_from_slice(&bf16::from_f32(float(pattern, random)).to_le_bytes());
            }
            DType::Q8_0 => {
                block[..2].copy_from_slice(&half_scale(pattern, random));
                // −128 occurs in no encoder's output, but may in a file.
                field(pattern, [0x80, 0x7f], &mut block[2..], random);
            }
            DType::Q4_0 => {
                block[..2].copy_from_slice(&half_scale(pattern, random));
                field(pattern, [0x00, 0xff], &mut block[2..], random);
            }
            DType::Q4_K => {
                block[..2].copy_from_slice(&half_scale(pattern, random));
                block[2..4].copy_from_slice(&half_scale(pattern, random));
                field(pattern, [0xff, 0x00], &mut block[4..16], random);
                field(pattern, [0xff, 0xf0], &mut block[16..], random);
            }
            DType::Q6_K => {
                field(pattern, [0x00, 0xff], &mut block[..192], random);
                field(pattern, [0x80, 0x7f], &mut block[192..208], random);
                block[208..].copy_from_slice(&half_scale(pattern, random));
            }
            DType::MXFP4 => {
                block[0] = match pattern {
                    Pattern::Random => 120 + random.byte() % 16,
                    Pattern::Extremes | Pattern::Aligned => 128,
                    Pattern::Zero => random.byte() % 2,
                    Pattern::Huge => 150,
                };
                field(pattern, [0xff, 0x00], &mut block[1..], random);
            }
            DType::NVFP4 => {
                for scale in &mut block[..4] {
                    *scale = match pattern {
                        Pattern::Random => random.byte(),
                        Pattern::Extremes | Pattern::Aligned => 0x40, // two, halved
                        Pattern::Zero => [0x00, 0x7f][random.below(2) as usize],
                        Pattern::Huge => 0x7e,
                    };
                }
                field(pattern, [0xff, 0x00], &mut block[4..], random);
            }
            DType::IQ1_M => {
                field(pattern, [0xff, 0x00], block, random);
                let scale = u16::from_le_bytes(scaled(8.0, pattern, random));
                for part in 0..4 {
                    let top = (scale >> (4 * part)) as u8 & 15;
                    block[49 + 2 * part] = block[49 + 2 * part] & 15 | top << 4;
                }
            }
            _ => {
                // Where half-precision numbers stand, and what makes whole numbers of weights.
                let (scales, unit): (&[usize], _) = match dtype {
                    DType::Q4_1 | DType::Q5_1 | DType::Q5_K => (&[0, 2], 1.0),
                    DType::Q1_0
                    | DType::Q2_0
                    | DType::Q5_0
                    | DType::IQ4_NL
                    | DType::IQ4_XS
                    | DType::IQ3_S => (&[0], 1.0),
                    DType::IQ3_XXS => (&[0], 4.0),
                    DType::IQ2_XXS | DType::IQ2_XS | DType::IQ2_S | DType::IQ1_S => (&[0], 8.0),
                    DType::Q2_K => (&[80, 82], 1.0),
                    DType::Q3_K => (&[108], 1.0),
                    DType::TQ1_0 => (&[52], 1.0),
                    DType::TQ2_0 => (&[64], 1.0),
                    _ => unreachable!(),
                };
                field(pattern, [0xff, 0x00], block, random);
                for &at in scales {
                    block[at..at + 2].copy_from_slice(&scaled(unit, pattern, random));
                }
            }
        }
    }
    row
}

/// A scale that makes whole numbers where there should be any.
fn scaled(unit: f32, pattern: Pattern, random: &mut Random) -> [u8; 2] {
    match pattern {
        Pattern::Extremes | Pattern::Aligned => f16::from_f32(unit).to_le_bytes(),
        _ => half_scale(pattern, random),
    }
}

pub(super) fn input_row(
    form: Activation,
    columns: usize,
    pattern: Pattern,
    random: &mut Random,
) -> Vec<u8> {
    let scale = match pattern {
        Pattern::Extremes | Pattern::Aligned => 1.0,
        Pattern::Zero => 0.0,
        Pattern::Huge => 1e20,
        Pattern::Random => random.float(),
    };
    let mut quant = || match pattern {
        Pattern::Random | Pattern::Zero | Pattern::Huge => (random.below(255) as i16 - 127) as i8,
        Pattern::Extremes => [-127, 127][random.below(2) as usize],
        Pattern::Aligned => 127,
    };
    match form {
        Activation::F32 => (0..columns)
            .flat_map(|_| float(pattern, random).to_le_bytes())
            .collect(),
        Activation::BF16 => (0..columns)
            .flat_map(|_| bf16::from_f32(float(pattern, random)).to_le_bytes())
            .collect(),
        Activation::Q8_0 => (0..columns / 32)
            .flat_map(|_| {
                let quants: [i8; 32] = std::array::from_fn(|_| quant());
                let sum: i32 = quants.iter().map(|&q| i32::from(q)).sum();
                let scale = f32::to_le_bytes(scale);
                let sum = sum.to_le_bytes();
                ActivationQ8_0 { scale, sum, quants }.to_bytes()
            })
            .collect(),
        Activation::Q8_K => (0..columns / 256)
            .flat_map(|_| {
                let quants: [i8; 256] = std::array::from_fn(|_| quant());
                let sums = std::array::from_fn(|g| {
                    let group = &quants[16 * g..16 * (g + 1)];
                    group
                        .iter()
                        .map(|&q| i16::from(q))
                        .sum::<i16>()
                        .to_le_bytes()
                });
                let scale = f32::to_le_bytes(scale);
                ActivationQ8K {
                    scale,
                    sums,
                    quants,
                }
                .to_bytes()
            })
            .collect(),
        _ => unreachable!(),
    }
}
