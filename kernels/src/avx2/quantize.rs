//! Activations rounded to int8: the same bits as the scalar version.

use core::arch::x86_64::*;

use super::register::{LANES, load_floats, store};
use crate::quant::{ActivationQ8_0, ActivationQ8K, scale_of};

#[target_feature(enable = "avx2,f16c")]
pub(super) fn quantize_q8_0(values: &[f32], out: &mut [u8]) {
    let (values, _) = values.as_chunks::<{ ActivationQ8_0::ELEMENTS }>();
    let (out, _) = out.as_chunks_mut::<{ ActivationQ8_0::LEN }>();
    debug_assert_eq!(values.len(), out.len());
    for (values, out) in values.iter().zip(out) {
        let (scale, inverse) = scale_of(largest(values));
        let quants = round(values, inverse);
        let (first, second) = sums_of_sixteen(quants);
        out[..4].copy_from_slice(&half_scale(scale).to_le_bytes());
        out[4..8].copy_from_slice(&(first + second).to_le_bytes());
        if let Some(out) = out.last_chunk_mut::<32>() {
            store(out, quants);
        }
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn quantize_q8_k(values: &[f32], out: &mut [u8]) {
    let (values, _) = values.as_chunks::<{ ActivationQ8K::ELEMENTS }>();
    let (out, _) = out.as_chunks_mut::<{ ActivationQ8K::LEN }>();
    debug_assert_eq!(values.len(), out.len());
    for (values, out) in values.iter().zip(out) {
        let (scale, inverse) = scale_of(largest(values));
        let (head, quants_out) = out.split_at_mut(36);
        head[..4].copy_from_slice(&scale.to_le_bytes());
        let (sums_out, _) = head[4..].as_chunks_mut::<4>();
        let (groups, _) = values.as_chunks::<32>();
        let (quants_out, _) = quants_out.as_chunks_mut::<32>();
        for ((group, out), sums_out) in groups.iter().zip(quants_out).zip(sums_out) {
            let quants = round(group, inverse);
            store(out, quants);
            let (first, second) = sums_of_sixteen(quants);
            // Sixteen quants add up to 2032 at most: the low halves are the whole sums.
            sums_out[..2].copy_from_slice(&(first as i16).to_le_bytes());
            sums_out[2..].copy_from_slice(&(second as i16).to_le_bytes());
        }
    }
}

/// The largest magnitude, compared as integers so that NaN, the largest of all, is not lost.
#[inline]
#[target_feature(enable = "avx2")]
fn largest(values: &[f32]) -> f32 {
    let magnitude = _mm256_set1_epi32(i32::MAX);
    let mut lanes = _mm256_setzero_si256();
    let (chunks, _) = values.as_chunks::<LANES>();
    for values in chunks {
        let bits = _mm256_castps_si256(load_floats(values));
        lanes = _mm256_max_epi32(lanes, _mm256_and_si256(bits, magnitude));
    }
    let half = _mm_max_epi32(
        _mm256_castsi256_si128(lanes),
        _mm256_extracti128_si256::<1>(lanes),
    );
    let quarter = _mm_max_epi32(half, _mm_shuffle_epi32::<0b01_00_11_10>(half));
    let single = _mm_max_epi32(quarter, _mm_shuffle_epi32::<0b10_11_00_01>(quarter));
    f32::from_bits(_mm_cvtsi128_si32(single).cast_unsigned())
}

/// 32 values over their scale, to the nearest integer, ties to even. An inverse of zero gives
/// zeros, whatever the values.
#[inline]
#[target_feature(enable = "avx2")]
fn round(values: &[f32; 32], inverse: f32) -> __m256i {
    if inverse == 0.0 {
        return _mm256_setzero_si256();
    }
    let (chunks, _) = values.as_chunks::<LANES>();
    let mut words = [_mm256_setzero_si256(); 4];
    for (words, values) in words.iter_mut().zip(chunks) {
        let scaled = _mm256_mul_ps(load_floats(values), _mm256_set1_ps(inverse));
        *words = _mm256_cvtps_epi32(scaled);
    }
    let [a, b, c, d] = words;
    // Packing works within halves of registers: the last step puts groups of four in order.
    let bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
}

/// The sums of the first and of the last sixteen quants.
#[inline]
#[target_feature(enable = "avx2")]
fn sums_of_sixteen(quants: __m256i) -> (i32, i32) {
    let pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), quants);
    let fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    // Adds neighbours within halves of the register: twice, and each half holds its sum.
    let eights = _mm256_hadd_epi32(fours, fours);
    let sums = _mm256_hadd_epi32(eights, eights);
    (
        _mm256_extract_epi32::<0>(sums),
        _mm256_extract_epi32::<4>(sums),
    )
}

/// `quant::half_scale`, by the CPU's own conversion.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn half_scale(scale: f32) -> f32 {
    const EXPONENT: i32 = 0x7c00;
    let half = _mm_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm_set_ss(scale));
    match _mm_extract_epi16::<0>(half) & EXPONENT {
        0 | EXPONENT => scale,
        _ => _mm_cvtss_f32(_mm_cvtph_ps(half)),
    }
}
