//! Loads, and sums over lanes.

use core::arch::x86_64::*;

/// Weight rows worked on together: one per 32-bit lane.
pub(crate) const ROWS: usize = 16;

/// A ternary operation: bits of the second operand where the first has any, of the third
/// elsewhere.
pub(crate) const CHOOSE: i32 = 0xca;

/// A value for each of sixteen rows.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Lanes16<T>(pub [T; ROWS]);

/// Any 64 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) fn load<T: Copy>(from: &T) -> __m512i {
    const { assert!(size_of::<T>() == 64) }
    // SAFETY: the reference is to 64 readable bytes; the load wants no alignment.
    unsafe { _mm512_loadu_si512((&raw const *from).cast()) }
}

/// Any 64 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) fn store<T: Copy>(to: &mut T, value: __m512i) {
    const { assert!(size_of::<T>() == 64) }
    // SAFETY: the reference is to 64 writable bytes; the store wants no alignment.
    unsafe { _mm512_storeu_si512((&raw mut *to).cast(), value) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) fn load_floats(from: &Lanes16<f32>) -> __m512 {
    _mm512_castsi512_ps(load(from))
}

/// Any 32 bytes, twice.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn load_twice<T: Copy>(from: &T) -> __m512i {
    const { assert!(size_of::<T>() == 32) }
    // SAFETY: the reference is to 32 readable bytes; the load wants no alignment.
    _mm512_broadcast_i64x4(unsafe { _mm256_loadu_si256((&raw const *from).cast()) })
}

/// Any 32 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) fn load_half<T: Copy>(from: &T) -> __m256i {
    const { assert!(size_of::<T>() == 32) }
    // SAFETY: the reference is to 32 readable bytes; the load wants no alignment.
    unsafe { _mm256_loadu_si256((&raw const *from).cast()) }
}

/// Any 16 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn load_quarter<T: Copy>(from: &T) -> __m128i {
    const { assert!(size_of::<T>() == 16) }
    // SAFETY: the reference is to 16 readable bytes; the load wants no alignment.
    unsafe { _mm_loadu_si128((&raw const *from).cast()) }
}

/// Half-precision numbers of sixteen rows, side by side.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn load_halves(from: &[[u8; 2]; ROWS]) -> __m512 {
    _mm512_cvtph_ps(load_half(from))
}

/// Half-precision scales of sixteen rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn halves(of: impl Fn(usize) -> [u8; 2]) -> __m512 {
    let h = |row| i16::from_le_bytes(of(row));
    let halves = _mm256_setr_epi16(
        h(0),
        h(1),
        h(2),
        h(3),
        h(4),
        h(5),
        h(6),
        h(7),
        h(8),
        h(9),
        h(10),
        h(11),
        h(12),
        h(13),
        h(14),
        h(15),
    );
    _mm512_cvtph_ps(halves)
}

/// Word k of row r's sixteen bytes → lane r of result k.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn transpose_quarters(of: impl Fn(usize) -> __m128i) -> [__m512i; 4] {
    let four = |first: usize| {
        let x = _mm512_castsi128_si512(of(first));
        let x = _mm512_inserti32x4::<1>(x, of(first + 4));
        let x = _mm512_inserti32x4::<2>(x, of(first + 8));
        _mm512_inserti32x4::<3>(x, of(first + 12))
    };
    let [a, b, c, d] = [four(0), four(1), four(2), four(3)];
    let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
    let (ab_high, cd_high) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(ab, cd),
        _mm512_unpackhi_epi64(ab, cd),
        _mm512_unpacklo_epi64(ab_high, cd_high),
        _mm512_unpackhi_epi64(ab_high, cd_high),
    ]
}

/// Quarter k of register i → quarter i of result k.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn turn_quarters([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let ab = _mm512_shuffle_i32x4::<0x44>(a, b);
    let ab_high = _mm512_shuffle_i32x4::<0xee>(a, b);
    let cd = _mm512_shuffle_i32x4::<0x44>(c, d);
    let cd_high = _mm512_shuffle_i32x4::<0xee>(c, d);
    [
        _mm512_shuffle_i32x4::<0x88>(ab, cd),
        _mm512_shuffle_i32x4::<0xdd>(ab, cd),
        _mm512_shuffle_i32x4::<0x88>(ab_high, cd_high),
        _mm512_shuffle_i32x4::<0xdd>(ab_high, cd_high),
    ]
}

/// Word k of row r → lane r of result k.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) fn transpose(rows: [__m512i; ROWS]) -> [__m512i; ROWS] {
    let mut pairs = rows;
    for i in 0..8 {
        let (a, b) = (rows[2 * i], rows[2 * i + 1]);
        pairs[2 * i] = _mm512_unpacklo_epi32(a, b);
        pairs[2 * i + 1] = _mm512_unpackhi_epi32(a, b);
    }
    let mut fours = rows;
    for j in 0..4 {
        let [a, b, c, d] = [
            pairs[4 * j],
            pairs[4 * j + 1],
            pairs[4 * j + 2],
            pairs[4 * j + 3],
        ];
        fours[4 * j] = _mm512_unpacklo_epi64(a, c);
        fours[4 * j + 1] = _mm512_unpackhi_epi64(a, c);
        fours[4 * j + 2] = _mm512_unpacklo_epi64(b, d);
        fours[4 * j + 3] = _mm512_unpackhi_epi64(b, d);
    }
    let mut out = rows;
    for k in 0..4 {
        [out[k], out[4 + k], out[8 + k], out[12 + k]] =
            turn_quarters([fours[k], fours[4 + k], fours[8 + k], fours[12 + k]]);
    }
    out
}

/// 64 bytes of each of sixteen rows, turned: four neighbouring bytes of all rows in each result.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn turned<'a>(of: impl Fn(usize) -> &'a [u8; 64]) -> [__m512i; ROWS] {
    let mut rows = [_mm512_setzero_si512(); ROWS];
    for row in 0..ROWS {
        rows[row] = load(of(row));
    }
    transpose(rows)
}

/// The same of 32 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn turned_half<'a>(of: impl Fn(usize) -> &'a [u8; 32]) -> [__m512i; 8] {
    let mut rows = [_mm512_setzero_si512(); ROWS];
    for row in 0..ROWS {
        rows[row] = load_twice(of(row));
    }
    let [a, b, c, d, e, f, g, h, ..] = transpose(rows);
    [a, b, c, d, e, f, g, h]
}

/// Sums over the lanes of each quarter: that of quarter k of row l → lane l of quarter k.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn sum_in_quarters([a, b, c, d]: [__m512i; 4]) -> __m512i {
    let pair = |a: __m512i, b: __m512i| {
        _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b))
    };
    let (ab, cd) = (pair(a, b), pair(c, d));
    _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd))
}

/// Sums over quarters: that of lanes k of row r → lane r of result k.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn sum_quarters(rows: &[Lanes16<i32>; ROWS]) -> [__m512i; 4] {
    // Quarter k: lanes of row 4k + first.
    let four = |first: usize| {
        let row = |row: usize| load(&rows[first + row]);
        fold(fold(row(0), row(4)), fold(row(8), row(12)))
    };
    let [a, b, c, d] = [four(0), four(1), four(2), four(3)];
    let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
    let (ab_high, cd_high) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(ab, cd),
        _mm512_unpackhi_epi64(ab, cd),
        _mm512_unpacklo_epi64(ab_high, cd_high),
        _mm512_unpackhi_epi64(ab_high, cd_high),
    ]
}

/// Sums of neighbouring quarters: first those of `a`, then those of `b`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn fold(a: __m512i, b: __m512i) -> __m512i {
    let even = _mm512_shuffle_i32x4::<0x88>(a, b);
    _mm512_add_epi32(even, _mm512_shuffle_i32x4::<0xdd>(a, b))
}

/// exp(x) for x ≤ 0, to two units in the last place; zero below −87.3, NaN for NaN: as in the
/// AVX2 table.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn exp_below_one(x: __m512) -> __m512 {
    const LOWEST: f32 = -87.3;
    // ln 2 in two parts, the first short enough for n times it to be exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // With x second, NaN comes through.
    let clamped = _mm512_max_ps(_mm512_set1_ps(LOWEST), x);
    let log = _mm512_mul_ps(clamped, _mm512_set1_ps(core::f32::consts::LOG2_E));
    let n = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(log);
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(LN_2_HIGH), clamped);
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(LN_2_LOW), r);
    let mut power = _mm512_set1_ps(1.0 / 5040.0);
    for factor in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        power = _mm512_fmadd_ps(power, r, _mm512_set1_ps(factor));
    }
    let there = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x, _mm512_set1_ps(LOWEST));
    _mm512_maskz_scalef_ps(there, power, n)
}
