//! Loads, stores and sums of one register.

use core::arch::x86_64::*;

/// Floats in a register.
pub(super) const LANES: usize = 8;

/// Any 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load<T: Copy>(from: &T) -> __m256i {
    const { assert!(size_of::<T>() == 32) }
    // SAFETY: the reference is to 32 readable bytes; the load wants no alignment.
    unsafe { _mm256_loadu_si256((&raw const *from).cast()) }
}

/// Any 16 bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_half<T: Copy>(from: &T) -> __m128i {
    const { assert!(size_of::<T>() == 16) }
    // SAFETY: the reference is to 16 readable bytes; the load wants no alignment.
    unsafe { _mm_loadu_si128((&raw const *from).cast()) }
}

/// Any 32 bytes, as floats.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_floats<T: Copy>(from: &T) -> __m256 {
    _mm256_castsi256_ps(load(from))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store_floats(to: &mut [f32; LANES], value: __m256) {
    // SAFETY: the reference is to 32 writable bytes; the store wants no alignment.
    unsafe { _mm256_storeu_ps(to.as_mut_ptr(), value) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store<T: Copy>(to: &mut T, value: __m256i) {
    const { assert!(size_of::<T>() == 32) }
    // SAFETY: the reference is to 32 writable bytes; the store wants no alignment.
    unsafe { _mm256_storeu_si256((&raw mut *to).cast(), value) }
}

/// Up to eight floats, the rest zero.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_tail(from: &[f32]) -> __m256 {
    let mut padded = [0.0; LANES];
    for (padded, from) in padded.iter_mut().zip(from) {
        *padded = *from;
    }
    load_floats(&padded)
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store_tail(to: &mut [f32], value: __m256) {
    let mut padded = [0.0; LANES];
    store_floats(&mut padded, value);
    for (to, padded) in to.iter_mut().zip(padded) {
        *to = padded;
    }
}

/// All bits of the first `count` lanes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn lanes_below(count: usize) -> __m256i {
    let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lane)
}

/// The sum of eight floats, halving: one fixed order.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sum(value: __m256) -> f32 {
    let low = _mm256_castps256_ps128(value);
    let quarter = _mm_add_ps(low, _mm256_extractf128_ps::<1>(value));
    let pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
    _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)))
}

/// exp(x) for x ≤ 0, to two units in the last place; zero below −87.3, NaN for NaN.
///
/// x = n·ln 2 + r, and a polynomial for exp(r): Taylor's to the seventh power, whose remainder
/// on |r| ≤ ln 2 / 2 is below 6·10⁻⁹.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn exp_below_one(x: __m256) -> __m256 {
    const LOWEST: f32 = -87.3;
    // ln 2 in two parts, the first short enough for n times it to be exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // With x second, NaN comes through.
    let clamped = _mm256_max_ps(_mm256_set1_ps(LOWEST), x);
    let n = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(_mm256_mul_ps(
        clamped,
        _mm256_set1_ps(core::f32::consts::LOG2_E),
    ));
    let r = _mm256_fnmadd_ps(n, _mm256_set1_ps(LN_2_HIGH), clamped);
    let r = _mm256_fnmadd_ps(n, _mm256_set1_ps(LN_2_LOW), r);
    let mut power = _mm256_set1_ps(1.0 / 5040.0);
    for factor in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        power = _mm256_fmadd_ps(power, r, _mm256_set1_ps(factor));
    }
    let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    let scale = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent));
    let underflow = _mm256_cmp_ps::<_CMP_LT_OQ>(x, _mm256_set1_ps(LOWEST));
    _mm256_andnot_ps(underflow, _mm256_mul_ps(power, scale))
}

/// Weight rows worked on together: one per 32-bit lane.
pub(super) const ROWS: usize = 8;

/// A value for each of eight rows.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Lanes8<T>(pub [T; ROWS]);

/// Half-precision numbers of eight rows.
#[inline]
#[target_feature(enable = "avx2,f16c")]
pub(super) fn halves(of: impl Fn(usize) -> [u8; 2]) -> __m256 {
    let h = |row| i16::from_le_bytes(of(row));
    _mm256_cvtph_ps(_mm_setr_epi16(
        h(0),
        h(1),
        h(2),
        h(3),
        h(4),
        h(5),
        h(6),
        h(7),
    ))
}

/// Word k of row r's sixteen bytes → lane r of result k.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn transpose(of: impl Fn(usize) -> __m128i) -> [__m256i; 4] {
    let two = |row: usize| _mm256_set_m128i(of(row + 4), of(row));
    let [a, b, c, d] = [two(0), two(1), two(2), two(3)];
    let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
    let (ab_high, cd_high) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
    [
        _mm256_unpacklo_epi64(ab, cd),
        _mm256_unpackhi_epi64(ab, cd),
        _mm256_unpacklo_epi64(ab_high, cd_high),
        _mm256_unpackhi_epi64(ab_high, cd_high),
    ]
}

/// Lane k of register r → lane r of register k.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn turn(of: [__m256; ROWS]) -> [__m256; ROWS] {
    let pairs = |a: __m256, b: __m256| {
        let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        (_mm256_castps_pd(low), _mm256_castps_pd(high))
    };
    let fours = |at: usize| {
        let ((a, c), (b, d)) = (pairs(of[at], of[at + 1]), pairs(of[at + 2], of[at + 3]));
        [
            _mm256_castpd_ps(_mm256_unpacklo_pd(a, b)),
            _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)),
            _mm256_castpd_ps(_mm256_unpacklo_pd(c, d)),
            _mm256_castpd_ps(_mm256_unpackhi_pd(c, d)),
        ]
    };
    let (low, high) = (fours(0), fours(4));
    let mut turned = [_mm256_setzero_ps(); ROWS];
    for k in 0..4 {
        turned[k] = _mm256_permute2f128_ps::<0x20>(low[k], high[k]);
        turned[4 + k] = _mm256_permute2f128_ps::<0x31>(low[k], high[k]);
    }
    turned
}

/// Four bytes in every lane.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn spread<T>(of: &T, four: usize) -> __m256i {
    assert!(4 * four + 4 <= size_of::<T>());
    // SAFETY: the four lie within what the reference is to; the read wants no alignment.
    _mm256_set1_epi32(unsafe { (&raw const *of).cast::<i32>().add(four).read_unaligned() })
}

/// sum + (products of bytes, `weights` without sign, added in pairs), in sixteen bits.
///
/// In assembly, for the compiler would turn a long sum into a tree of short ones and finish one
/// after the other, with everything that all of them need kept on the stack meanwhile.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn add_pairs(mut sum: __m256i, weights: __m256i, x: __m256i) -> __m256i {
    // SAFETY: arithmetic on registers, with instructions that this function has.
    unsafe {
        core::arch::asm!(
            "vpmaddubsw {products}, {weights}, {x}",
            "vpaddw {sum}, {sum}, {products}",
            sum = inout(ymm_reg) sum,
            weights = in(ymm_reg) weights,
            x = in(ymm_reg) x,
            products = out(ymm_reg) _,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// sum + (products of sixteen-bit integers, added in pairs), in assembly likewise.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn add_words(mut sum: __m256i, weights: __m256i, x: __m256i) -> __m256i {
    // SAFETY: as above.
    unsafe {
        core::arch::asm!(
            "vpmaddwd {products}, {weights}, {x}",
            "vpaddd {sum}, {sum}, {products}",
            sum = inout(ymm_reg) sum,
            weights = in(ymm_reg) weights,
            x = in(ymm_reg) x,
            products = out(ymm_reg) _,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// sum + (products of bytes, `weights` without sign, added in fours), by AVX-VNNI, in assembly
/// likewise: so one function serves with it and without.
///
/// # Safety
///
/// The CPU has it.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn add_fours(mut sum: __m256i, weights: __m256i, x: __m256i) -> __m256i {
    // SAFETY: arithmetic on registers, with an instruction that the caller promises.
    unsafe {
        core::arch::asm!(
            "{{vex}} vpdpbusd {sum}, {weights}, {x}",
            sum = inout(ymm_reg) sum,
            weights = in(ymm_reg) weights,
            x = in(ymm_reg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// The sums of four registers' sixteen-bit lanes: of their low halves, then of their high halves.
/// Two lanes fit in sixteen bits.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sums_of_half_words([a, b, c, d]: [__m256i; 4]) -> __m256i {
    let pair = |a: __m256i, b: __m256i| {
        let sums = _mm256_add_epi16(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
        _mm256_madd_epi16(sums, _mm256_set1_epi16(1))
    };
    let (ab, cd) = (pair(a, b), pair(c, d));
    _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd))
}

/// The sums of four registers' lanes: of their low halves, then of their high halves.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sums_of_half_lanes([a, b, c, d]: [__m256i; 4]) -> __m256i {
    let pair = |a: __m256i, b: __m256i| {
        _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b))
    };
    let (ab, cd) = (pair(a, b), pair(c, d));
    _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd))
}

/// The sums of eight registers' lanes, one to a lane.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sums_of_lanes([a, b, c, d, e, f, g, h]: [__m256i; 8]) -> __m256i {
    let low = sums_of_half_lanes([a, b, c, d]);
    let high = sums_of_half_lanes([e, f, g, h]);
    let [first, second] = sixteens(low, high);
    _mm256_add_epi32(first, second)
}

/// The low halves of two registers, and their high halves.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sixteens(a: __m256i, b: __m256i) -> [__m256i; 2] {
    [
        _mm256_permute2x128_si256::<0x20>(a, b),
        _mm256_permute2x128_si256::<0x31>(a, b),
    ]
}

/// 64 activations in the order of nibbles that stand in the low and in the high halves of 32
/// bytes, sixteen of which go with `a`; then their magnitudes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn as_nibbles(a: &[i8; 32], b: &[i8; 32]) -> [[__m256i; 2]; 2] {
    let x = sixteens(load(a), load(b));
    [x, [_mm256_abs_epi8(x[0]), _mm256_abs_epi8(x[1])]]
}

/// The nibbles in the low and in the high halves of 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn nibbles_of(bytes: __m256i) -> [__m256i; 2] {
    let mask = _mm256_set1_epi8(15);
    let high = _mm256_srli_epi16::<4>(bytes);
    [_mm256_and_si256(bytes, mask), _mm256_and_si256(high, mask)]
}
