//! What this CPU could do at best: loops that do nothing but read, or nothing but multiply, to
//! hold the kernels' figures against.

use crate::Isa;
use wide::{f32x4, i16x8, i32x4};

/// So many turns of a loop, and the operations of one.
pub type PeakLoop = (fn(u64) -> u64, u64);

/// The fastest loops of one instruction set.
#[derive(Clone, Copy, Debug)]
pub struct PeakBench {
    /// Reads every byte, several streams at a time; what it returns depends on all of them.
    pub read: fn(&[u8]) -> u64,
    /// Turns of a loop of int8 products summed in 32 bits.
    pub int8: fn(u64) -> u64,
    /// Operations of one of its turns, an addition and a multiplication for each product.
    pub int8_operations: u64,
    /// Turns of a loop of f32 products and sums.
    pub f32: fn(u64) -> u64,
    /// Operations of one of its turns.
    pub f32_operations: u64,
    /// A loop of bf16 products summed in f32, where the CPU has instructions for them.
    pub bf16: Option<PeakLoop>,
}

/// Independent sums: as many as hide the latency of one.
pub(crate) const CHAINS: usize = 12;

/// Streams read side by side: one alone does not keep as many lines on their way as a core can.
pub const STREAMS: usize = 8;

impl PeakBench {
    /// The loops of an instruction set that this CPU has; those of plain Rust otherwise.
    pub fn of(isa: Isa) -> PeakBench {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx if isa.is_available() => crate::amx::bench::peak(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if isa.is_available() => PeakBench {
                bf16: crate::isa::multiplies_bf16().then_some(x86::BF16),
                ..x86::AVX512
            },
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni if isa.is_available() => x86::AVX_VNNI,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 if isa.is_available() => x86::AVX2,
            #[cfg(all(
                target_arch = "aarch64",
                target_feature = "neon",
                target_endian = "little"
            ))]
            Isa::DotProd if isa.is_available() => crate::neon::bench::DOT_PEAK,
            #[cfg(all(
                target_arch = "aarch64",
                target_feature = "neon",
                target_endian = "little"
            ))]
            Isa::I8mm if isa.is_available() => crate::neon::bench::MATRIX_PEAK,
            #[cfg(all(
                target_arch = "aarch64",
                target_feature = "neon",
                target_endian = "little"
            ))]
            Isa::Neon => crate::neon::bench::PEAK,
            Isa::Scalar => SCALAR,
            _ => PORTABLE,
        }
    }
}

/// Vectors of four, as the kernels that know no instruction set have them.
const PORTABLE: PeakBench = PeakBench {
    read: |bytes| {
        let (lines, _) = bytes.as_chunks::<32>();
        let each = lines.len() / STREAMS;
        let mut sums = [[0u64; 4]; STREAMS];
        for line in 0..each {
            for (stream, sums) in sums.iter_mut().enumerate() {
                let (words, _) = lines[stream * each + line].as_chunks::<8>();
                for (sum, word) in sums.iter_mut().zip(words) {
                    *sum ^= u64::from_ne_bytes(*word);
                }
            }
        }
        sums.as_flattened().iter().fold(0, |all, sum| all ^ sum)
    },
    int8: |turns| {
        // Bytes are multiplied in sixteen bits, each chain by another factor: no product is that
        // of its neighbour.
        let factors: [i16x8; CHAINS] = std::array::from_fn(|chain| i16x8::splat(chain as i16));
        let factors = std::hint::black_box(factors);
        let mut sums = [i32x4::ZERO; CHAINS];
        for _ in 0..turns {
            let a = std::hint::black_box(i16x8::splat(5));
            for (sum, factor) in sums.iter_mut().zip(&factors) {
                *sum += a.dot(*factor);
            }
        }
        let lanes = sums.iter().flat_map(|sum| sum.to_array());
        lanes.fold(0, |all, lane| all ^ u64::from(lane.cast_unsigned()))
    },
    int8_operations: 2 * 8 * CHAINS as u64,
    f32: |turns| {
        let factors: [f32x4; CHAINS] = std::array::from_fn(|chain| f32x4::splat(chain as f32));
        let factors = std::hint::black_box(factors);
        let mut sums = [f32x4::ZERO; CHAINS];
        for _ in 0..turns {
            let a = std::hint::black_box(f32x4::splat(0.5));
            for (sum, factor) in sums.iter_mut().zip(&factors) {
                *sum = a.mul_add(*factor, *sum);
            }
        }
        let lanes = sums.iter().flat_map(|sum| sum.to_array());
        lanes.fold(0, |all, lane| all ^ u64::from(lane.to_bits()))
    },
    f32_operations: 2 * 4 * CHAINS as u64,
    bf16: None,
};

/// Plain Rust, one value at a time.
const SCALAR: PeakBench = PeakBench {
    read: |bytes| {
        let (words, _) = bytes.as_chunks::<8>();
        let words = words.iter().map(|word| u64::from_ne_bytes(*word));
        words.fold(0, |sum, word| sum ^ word)
    },
    int8: |turns| {
        let mut sums = [0i32; CHAINS];
        for turn in 0..turns {
            let (a, b) = std::hint::black_box((turn as i8, 3i8));
            for sum in &mut sums {
                *sum = sum.wrapping_add(i32::from(a) * i32::from(b));
            }
        }
        sums.iter()
            .fold(0, |all, &sum| all ^ u64::from(sum.cast_unsigned()))
    },
    int8_operations: 2 * CHAINS as u64,
    f32: |turns| {
        let mut sums = [0f32; CHAINS];
        for turn in 0..turns {
            let (a, b) = std::hint::black_box((turn as f32, 0.5f32));
            for sum in &mut sums {
                *sum += a * b;
            }
        }
        sums.iter()
            .fold(0, |all, &sum| all ^ u64::from(sum.to_bits()))
    },
    f32_operations: 2 * CHAINS as u64,
    bf16: None,
};

#[cfg(target_arch = "x86_64")]
#[allow(clippy::needless_range_loop)] // closures are compiled without these instructions
mod x86 {
    use super::{CHAINS, PeakBench, PeakLoop, STREAMS};
    use core::arch::x86_64::*;

    macro_rules! safe {
        ($name:ident) => {
            |argument| {
                // SAFETY: `PeakBench::of` hands these out only where the CPU has what they need.
                unsafe { $name(argument) }
            }
        };
    }

    pub(super) const AVX512: PeakBench = PeakBench {
        read: safe!(read_512),
        int8: safe!(int8_512),
        int8_operations: 2 * 64 * CHAINS as u64,
        f32: safe!(f32_512),
        f32_operations: 2 * 16 * CHAINS as u64,
        bf16: None,
    };

    pub(super) const BF16: PeakLoop = (safe!(bf16_512), 2 * 32 * CHAINS as u64);

    pub(super) const AVX2: PeakBench = PeakBench {
        read: safe!(read_256),
        int8: safe!(int8_256),
        int8_operations: 2 * 32 * CHAINS as u64,
        f32: safe!(f32_256),
        f32_operations: 2 * 8 * CHAINS as u64,
        bf16: None,
    };

    pub(super) const AVX_VNNI: PeakBench = PeakBench {
        int8: safe!(int8_256_vnni),
        ..AVX2
    };

    /// Bytes that each stream fetches ahead.
    const AHEAD: usize = 1024;

    #[target_feature(enable = "avx512f")]
    fn read_512(bytes: &[u8]) -> u64 {
        let (lines, _) = bytes.as_chunks::<64>();
        let each = lines.len() / STREAMS;
        let mut sums = [_mm512_setzero_si512(); STREAMS];
        for line in 0..each {
            for stream in 0..STREAMS {
                let line = lines[stream * each + line].as_ptr();
                // SAFETY: the load is of 64 readable bytes; a prefetch may name any address.
                unsafe {
                    _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(AHEAD).cast());
                    let line = _mm512_loadu_si512(line.cast());
                    sums[stream] = _mm512_xor_si512(sums[stream], line);
                }
            }
        }
        let all = sums.into_iter();
        all.fold(0, |all, sum| {
            all ^ _mm512_reduce_add_epi64(sum).cast_unsigned()
        })
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    fn int8_512(turns: u64) -> u64 {
        let mut sums = [_mm512_setzero_si512(); CHAINS];
        let (a, b) = std::hint::black_box((_mm512_set1_epi8(5), _mm512_set1_epi8(3)));
        for _ in 0..turns {
            for chain in 0..CHAINS {
                sums[chain] = _mm512_dpbusd_epi32(sums[chain], a, b);
            }
        }
        let all = sums.into_iter();
        all.fold(0, |all, sum| {
            all ^ u64::from(_mm512_reduce_add_epi32(sum).cast_unsigned())
        })
    }

    #[target_feature(enable = "avx512f")]
    fn f32_512(turns: u64) -> u64 {
        let mut sums = [_mm512_setzero_ps(); CHAINS];
        let (a, b) = std::hint::black_box((_mm512_set1_ps(0.5), _mm512_set1_ps(0.25)));
        for _ in 0..turns {
            for chain in 0..CHAINS {
                sums[chain] = _mm512_fmadd_ps(a, b, sums[chain]);
            }
        }
        let all = sums.into_iter();
        all.fold(0, |all, sum| {
            all ^ u64::from(_mm512_reduce_add_ps(sum).to_bits())
        })
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn bf16_512(turns: u64) -> u64 {
        let mut sums = [_mm512_setzero_ps(); CHAINS];
        let (a, b) = (_mm512_set1_ps(0.5), _mm512_set1_ps(0.25));
        let (a, b) = (_mm512_cvtne2ps_pbh(a, a), _mm512_cvtne2ps_pbh(b, b));
        let (a, b) = std::hint::black_box((a, b));
        for _ in 0..turns {
            for chain in 0..CHAINS {
                sums[chain] = _mm512_dpbf16_ps(sums[chain], a, b);
            }
        }
        let all = sums.into_iter();
        all.fold(0, |all, sum| {
            all ^ u64::from(_mm512_reduce_add_ps(sum).to_bits())
        })
    }

    #[target_feature(enable = "avx2")]
    fn read_256(bytes: &[u8]) -> u64 {
        let (lines, _) = bytes.as_chunks::<64>();
        let each = lines.len() / STREAMS;
        let mut sums = [_mm256_setzero_si256(); STREAMS];
        for line in 0..each {
            for stream in 0..STREAMS {
                let line = lines[stream * each + line].as_ptr();
                // SAFETY: the loads are of 32 readable bytes each; a prefetch may name any
                // address.
                unsafe {
                    _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(AHEAD).cast());
                    let low = _mm256_loadu_si256(line.cast());
                    let high = _mm256_loadu_si256(line.add(32).cast());
                    sums[stream] = _mm256_xor_si256(sums[stream], _mm256_xor_si256(low, high));
                }
            }
        }
        sums.into_iter().fold(0, |all, sum| all ^ any_bits(sum))
    }

    #[target_feature(enable = "avx2")]
    fn int8_256(turns: u64) -> u64 {
        let mut sums = [_mm256_setzero_si256(); CHAINS];
        let (a, b) = std::hint::black_box((_mm256_set1_epi8(5), _mm256_set1_epi8(3)));
        let ones = _mm256_set1_epi16(1);
        for _ in 0..turns {
            for chain in 0..CHAINS {
                let a = _mm256_xor_si256(a, sums[chain]);
                let words = _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones);
                sums[chain] = _mm256_add_epi32(sums[chain], words);
            }
        }
        sums.into_iter().fold(0, |all, sum| all ^ any_bits(sum))
    }

    #[target_feature(enable = "avx2,avxvnni")]
    fn int8_256_vnni(turns: u64) -> u64 {
        let mut sums = [_mm256_setzero_si256(); CHAINS];
        let (a, b) = std::hint::black_box((_mm256_set1_epi8(5), _mm256_set1_epi8(3)));
        for _ in 0..turns {
            for chain in 0..CHAINS {
                sums[chain] = _mm256_dpbusd_avx_epi32(sums[chain], a, b);
            }
        }
        sums.into_iter().fold(0, |all, sum| all ^ any_bits(sum))
    }

    #[target_feature(enable = "avx2,fma")]
    fn f32_256(turns: u64) -> u64 {
        let mut sums = [_mm256_setzero_ps(); CHAINS];
        let (a, b) = std::hint::black_box((_mm256_set1_ps(0.5), _mm256_set1_ps(0.25)));
        for _ in 0..turns {
            for chain in 0..CHAINS {
                sums[chain] = _mm256_fmadd_ps(a, b, sums[chain]);
            }
        }
        let all = sums.into_iter();
        all.fold(0, |all, sum| all ^ any_bits(_mm256_castps_si256(sum)))
    }

    #[target_feature(enable = "avx2")]
    fn any_bits(register: __m256i) -> u64 {
        let low = _mm256_extract_epi64::<0>(register) ^ _mm256_extract_epi64::<1>(register);
        let high = _mm256_extract_epi64::<2>(register) ^ _mm256_extract_epi64::<3>(register);
        (low ^ high).cast_unsigned()
    }
}
