//! Values as checkpoints hold them and nobody computes with them.

use crate::quant::{self, FP4_VALUES};

/// What a stored value is.
#[derive(Clone, Copy, Debug)]
pub(super) enum ReadFloat {
    /// Sign, four bits of exponent, three of mantissa; no infinities.
    E4M3,
    /// The upper half of half precision.
    E5M2,
    /// Two four-bit floats (E2M1) in a byte, the first one in its low half.
    E2M1,
    /// Double precision.
    F64,
    /// Four of −1, 0 and 1 in a byte, of rows that are a quarter of all rows apart.
    Trits,
    /// Of a type that is computed with, of so many bytes.
    Typed(quant::Decode, usize),
}

impl ReadFloat {
    /// Values from number `first` on.
    pub(super) fn read(self, bytes: &[u8], first: usize, out: &mut [f32]) {
        if let ReadFloat::Typed(decode, len) = self {
            let range = first * len..(first + out.len()) * len;
            return decode(bytes.get(range).unwrap_or_default(), out);
        }
        for (index, out) in (first..).zip(out) {
            *out = self.value(bytes, index);
        }
    }

    fn value(self, bytes: &[u8], index: usize) -> f32 {
        let byte = |index: usize| bytes.get(index).copied().unwrap_or(0);
        match self {
            ReadFloat::E4M3 => E4M3[usize::from(byte(index))],
            ReadFloat::E5M2 => half::f16::from_le_bytes([0, byte(index)]).to_f32(),
            ReadFloat::E2M1 => {
                let quant = byte(index / 2) >> (index % 2 * 4) & 15;
                f32::from(FP4_VALUES[usize::from(quant)]) * 0.5
            }
            ReadFloat::F64 => {
                let bytes = bytes.get(index * 8..).and_then(|rest| rest.first_chunk());
                f64::from_le_bytes(bytes.copied().unwrap_or_default()) as f32
            }
            ReadFloat::Trits => {
                let quarter = bytes.len().max(1);
                let bits = byte(index % quarter) >> (index / quarter * 2) & 3;
                f32::from(bits) - 1.0
            }
            ReadFloat::Typed(decode, len) => {
                let mut value = [0.0];
                decode(
                    bytes
                        .get(index * len..(index + 1) * len)
                        .unwrap_or_default(),
                    &mut value,
                );
                value[0]
            }
        }
    }
}

/// What each bit pattern of E4M3 (Micikevicius et al. 2022, the variant without infinities) means.
static E4M3: [f32; 256] = {
    let mut values = [0.0; 256];
    let mut bits = 0;
    while bits < 256 {
        let (exponent, mantissa) = (bits >> 3 & 15, (bits & 7) as f32);
        let size = match exponent {
            0 => mantissa / 512.0,
            _ if bits & 127 == 127 => f32::NAN,
            _ => (1.0 + mantissa / 8.0) * f32::from_bits((exponent as u32 + 120) << 23),
        };
        values[bits] = if bits >> 7 == 1 { -size } else { size };
        bits += 1;
    }
    values
};

/// 2^(exponent − 127); the last one is no number.
pub(super) fn power_of_two(exponent: u8) -> f32 {
    match exponent {
        0 => f32::from_bits(1 << 22),
        255 => f32::NAN,
        _ => f32::from_bits(u32::from(exponent) << 23),
    }
}
