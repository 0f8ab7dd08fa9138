//! The fastest loops: see [`PeakBench`].

use super::intrinsics::*;
use super::register::{add_fours, add_low_products, add_two_by_two, bytes, floats, load, words};
use crate::bench::peak::{CHAINS, PeakBench, STREAMS};

pub(crate) const PEAK: PeakBench = PeakBench {
    read,
    int8: |turns| {
        let mut sums = [vreinterpretq_s16_s8(vdupq_n_s8(0)); CHAINS];
        let (a, b) = std::hint::black_box((vdupq_n_s8(5), vdupq_n_s8(3)));
        for _ in 0..turns {
            for sum in &mut sums {
                *sum = add_low_products(*sum, a, b);
            }
        }
        let mut all = 0;
        for sum in sums {
            all ^= any_bits(vreinterpretq_s8_s16(sum));
        }
        all
    },
    int8_operations: 2 * 8 * CHAINS as u64,
    f32: |turns| {
        let mut sums = [vdupq_n_f32(0.0); CHAINS];
        let (a, b) = std::hint::black_box((vdupq_n_f32(0.5), vdupq_n_f32(0.25)));
        for _ in 0..turns {
            for sum in &mut sums {
                *sum = vfmaq_f32(*sum, a, b);
            }
        }
        sums.into_iter().fold(0, |all, sum| {
            let [first, ..] = floats(sum);
            all ^ u64::from(first.to_bits())
        })
    },
    f32_operations: 2 * 4 * CHAINS as u64,
    bf16: None,
};

pub(crate) const DOT_PEAK: PeakBench = PeakBench {
    int8: |turns| int8(turns, add_fours),
    int8_operations: 2 * 16 * CHAINS as u64,
    ..PEAK
};

pub(crate) const MATRIX_PEAK: PeakBench = PeakBench {
    int8: |turns| int8(turns, add_two_by_two),
    int8_operations: 2 * 32 * CHAINS as u64,
    ..PEAK
};

#[inline(always)]
fn int8(turns: u64, add: impl Fn(int32x4_t, int8x16_t, int8x16_t) -> int32x4_t) -> u64 {
    let mut sums = [vdupq_n_s32(0); CHAINS];
    let (a, b) = std::hint::black_box((vdupq_n_s8(5), vdupq_n_s8(3)));
    for _ in 0..turns {
        for sum in &mut sums {
            *sum = add(*sum, a, b);
        }
    }
    sums.into_iter().fold(0, |all, sum| {
        let [first, ..] = words(sum);
        all ^ u64::from(first.cast_unsigned())
    })
}

fn read(bytes: &[u8]) -> u64 {
    let (lines, _) = bytes.as_chunks::<64>();
    let each = lines.len() / STREAMS;
    let mut sums = [vdupq_n_s8(0); STREAMS];
    for line in 0..each {
        for stream in 0..STREAMS {
            let (parts, _) = lines[stream * each + line].as_chunks::<16>();
            for part in parts {
                sums[stream] = veorq_s8(sums[stream], load(part));
            }
        }
    }
    sums.into_iter().fold(0, |all, sum| all ^ any_bits(sum))
}

fn any_bits(register: int8x16_t) -> u64 {
    let bytes = bytes(register);
    let (halves, _) = bytes.as_chunks::<8>();
    halves.iter().fold(0, |all, half| {
        all ^ u64::from_le_bytes(half.map(i8::cast_unsigned))
    })
}
