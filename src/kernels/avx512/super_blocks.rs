//! Blocks of 256 weights whose parts have integer factors.

use core::arch::x86_64::*;

use super::panel::{Panel, Rows, fetch_ahead, product};
use super::register::{
    Lanes, ROWS, half_to_float, halves, load, load_floats, load_half, load_quarter, load_twice,
    store, sum_half_rows, sum_rows, transpose, transpose_quarters,
};
use crate::kernels::{MatMul, MatMulFn};
use crate::quant::*;
use rillm_formats::manifest::DType;

/// The product of a type.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::Q2_K => q2_k,
        DType::Q3_K => q3_k,
        DType::Q4_K => q4_k,
        DType::Q5_K => q5_k,
        DType::Q6_K => q6_k,
        DType::IQ4_XS => iq4_xs,
        DType::TQ1_0 => tq1_0,
        DType::TQ2_0 => tq2_0,
        _ => return None,
    })
}

macro_rules! kernel {
    ($name:ident, $block:ty, $parts:literal, $mins:literal, $unpack:ident, $direct:ident) => {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        unsafe fn $name(call: &MatMul) {
            // SAFETY: the caller's promise, handed on; rows are whole blocks.
            unsafe {
                product::<$block, ActivationQ8K>(
                    call,
                    256,
                    |rows, _, panel| $unpack(rows, panel),
                    (
                        |panel, x, sums| tile::<$parts, $mins, _>(panel, x, sums),
                        |panel, x, sums| tile::<$parts, $mins, _>(panel, x, sums),
                        |panel, x, sums| tile::<$parts, $mins, _>(panel, x, sums),
                    ),
                    |rows, x, panel, sum| $direct(rows, x, panel, sum),
                )
            }
        }
    };
}

/// The same for a type known by its integers alone.
macro_rules! general {
    ($name:ident, $block:ident, |$b:ident, $out:ident| $integers:expr) => {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        unsafe fn $name(call: &MatMul) {
            const MINS: bool = $block::MINS;
            let integers = |$b: &$block, $out: &mut Integers256| $integers;
            // SAFETY: the caller's promise, handed on; rows are whole blocks.
            unsafe {
                product::<$block, ActivationQ8K>(
                    call,
                    256,
                    |rows, _, panel| unpack(rows, panel, integers),
                    (
                        |panel, x, sums| tile::<16, MINS, _>(panel, x, sums),
                        |panel, x, sums| tile::<16, MINS, _>(panel, x, sums),
                        |panel, x, sums| tile::<16, MINS, _>(panel, x, sums),
                    ),
                    |rows, x, _, sum| direct(rows, x, sum, integers),
                )
            }
        }
    };
}

general!(q2_k, BlockQ2K, |block, out| block.integers(out));
general!(q3_k, BlockQ3K, |block, out| block.integers(out));
general!(q5_k, BlockQ5K, |block, out| block.integers(out));
general!(tq1_0, BlockTQ1_0, |block, out| block.integers(out));
general!(tq2_0, BlockTQ2_0, |block, out| block.integers(out));
general!(iq4_xs, BlockIQ4XS, |block, out| iq4_xs_integers(block, out));
kernel!(q4_k, BlockQ4K, 8, true, unpack_q4_k, direct_q4_k);
kernel!(q6_k, BlockQ6K, 16, false, unpack_q6_k, direct_q6_k);

/// Four bytes of a block's activations in every lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn spread(x: &ActivationQ8K, group: usize) -> __m512i {
    const { assert!(size_of::<[i8; 256]>() == 64 * size_of::<i32>()) }
    assert!(group < 64);
    // SAFETY: the group lies within the block's quants; the read wants no alignment.
    _mm512_set1_epi32(unsafe { x.quants.as_ptr().cast::<i32>().add(group).read_unaligned() })
}

/// Adds Σ min · (sum of sixteen activations) to `sum`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn add_mins(mut sum: __m512i, mins: &[Lanes<i32>; 8], x: &ActivationQ8K) -> __m512i {
    for pair in 0..mins.len() {
        // SAFETY: eight pairs of sums lie in the block; the read wants no alignment.
        let sums = unsafe { x.sums.as_ptr().cast::<i32>().add(pair).read_unaligned() };
        sum = _mm512_dpwssd_epi32(sum, _mm512_set1_epi32(sums), load(&mins[pair]));
    }
    sum
}

/// sum + factor · products − min_factor · min_products, in this order wherever it is needed.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn finish<const MINS: bool>(
    sum: __m512,
    (products, min_products): (__m512i, __m512i),
    (factor, min_factor): (__m512, __m512),
    x: &ActivationQ8K,
) -> __m512 {
    let scale = _mm512_set1_ps(x.scale());
    let products = _mm512_cvtepi32_ps(products);
    let sum = _mm512_fmadd_ps(products, _mm512_mul_ps(factor, scale), sum);
    if !MINS {
        return sum;
    }
    let products = _mm512_cvtepi32_ps(min_products);
    _mm512_fnmadd_ps(products, _mm512_mul_ps(min_factor, scale), sum)
}

/// A panel of one block against `N` inputs. `PARTS` parts of a block have factors of their own.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn tile<const PARTS: usize, const MINS: bool, const N: usize>(
    panel: &Panel,
    x: [&[ActivationQ8K]; N],
    sums: &mut [__m512; N],
) {
    let groups = 64 / PARTS;
    let mut products = [_mm512_setzero_si512(); N];
    for part in 0..PARTS {
        let mut dots = [_mm512_setzero_si512(); N];
        for group in part * groups..(part + 1) * groups {
            let weights = load(&panel.quants[group]);
            for n in 0..N {
                dots[n] = _mm512_dpbusd_epi32(dots[n], weights, spread(&x[n][0], group));
            }
        }
        let scale = load(&panel.scales[part]);
        for n in 0..N {
            let scaled = _mm512_mullo_epi32(dots[n], scale);
            products[n] = _mm512_add_epi32(products[n], scaled);
        }
    }
    let factors = (
        load_floats(&panel.factors[0]),
        load_floats(&panel.min_factor),
    );
    for n in 0..N {
        // Without a factor of their own they belong to the products.
        let start = if MINS {
            _mm512_setzero_si512()
        } else {
            products[n]
        };
        let mins = add_mins(start, &panel.mins, &x[n][0]);
        let both = if MINS {
            (products[n], mins)
        } else {
            (mins, mins)
        };
        sums[n] = finish::<MINS>(sums[n], both, factors, &x[n][0]);
    }
}

/// The same rows some bytes on.
#[inline]
fn behind(rows: &Rows, bytes: usize) -> Rows {
    let mut rows = *rows;
    for row in &mut rows {
        *row = row.wrapping_add(bytes);
    }
    rows
}

/// Sixteen rows of 256 bytes, four columns of all rows together.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn store_quants(panel: &mut Panel, quarter: usize, rows: [__m512i; ROWS]) {
    let words = transpose(rows);
    for group in 0..16 {
        store(&mut panel.quants[16 * quarter + group], words[group]);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn iq4_xs_integers(block: &BlockIQ4XS, out: &mut Integers256) {
    let values = _mm512_broadcast_i32x4(load_quarter(&IQ4_VALUES));
    let (pairs, _) = block.quants.as_chunks::<32>();
    let (quants, _) = out.quants.as_chunks_mut::<64>();
    for pair in 0..4 {
        // Two groups of sixteen bytes; each one's low halves, then its high ones.
        let bytes = _mm512_castsi256_si512(load_half(&pairs[pair]));
        let bytes = _mm512_permutex2var_epi64(
            bytes,
            _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11),
            _mm512_srli_epi16::<4>(bytes),
        );
        let bytes = _mm512_and_si512(bytes, _mm512_set1_epi8(15));
        store(&mut quants[pair], _mm512_shuffle_epi8(values, bytes));
    }
    let scales = block.group_scales();
    for group in 0..16 {
        out.scales[group] = scales[group / 2];
    }
    out.scale = half_to_float(block.scale);
}

/// Sixteen numbers of 16 bits, in 32 each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn widened(numbers: &[i16; 16]) -> __m512i {
    _mm512_cvtepi16_epi32(load_half(numbers))
}

/// A panel from sixteen rows' blocks as integers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn unpack<B: SuperBlock>(rows: &Rows, panel: &mut Panel, integers: impl Fn(&B, &mut Integers256)) {
    let mut all = [Integers256::ZERO; ROWS];
    for row in 0..ROWS {
        // SAFETY: a block is at each row's address; it has alignment 1 and no invalid bytes.
        integers(unsafe { &*rows[row].cast::<B>() }, &mut all[row]);
    }
    for quarter in 0..4 {
        let mut quants = [_mm512_setzero_si512(); ROWS];
        for row in 0..ROWS {
            let bytes: &[[i8; 64]] = all[row].quants.as_chunks().0;
            quants[row] = load(&bytes[quarter]);
            if !B::MINS {
                // Turning the highest bit of a signed byte adds 128.
                quants[row] = _mm512_xor_si512(quants[row], _mm512_set1_epi8(-128));
            }
        }
        store_quants(panel, quarter, quants);
    }
    let (mut scales, mut mins) = (
        [_mm512_setzero_si512(); ROWS],
        [_mm512_setzero_si512(); ROWS],
    );
    for row in 0..ROWS {
        scales[row] = widened(&all[row].scales);
        let offsets = if B::MINS {
            load_half(&all[row].mins)
        } else {
            // What 128 too much in every weight amounts to.
            let scales = _mm256_slli_epi16::<7>(load_half(&all[row].scales));
            _mm256_sub_epi16(_mm256_setzero_si256(), scales)
        };
        mins[row] = _mm512_castsi256_si512(offsets);
        panel.factors[0].0[row] = all[row].scale;
        panel.min_factor.0[row] = all[row].min_scale;
    }
    let (scales, mins) = (transpose(scales), transpose(mins));
    for part in 0..16 {
        store(&mut panel.scales[part], scales[part]);
    }
    for pair in 0..8 {
        store(&mut panel.mins[pair], mins[pair]);
    }
}

#[inline(never)] // so that the sixteen addresses are read where they are, not spilled
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn direct<B: SuperBlock>(
    (rows, next): (&Rows, *const u8),
    x: &[ActivationQ8K],
    sum: &mut __m512,
    integers: impl Fn(&B, &mut Integers256),
) {
    let mut unpacked = Integers256::ZERO;
    for (index, x) in x.iter().enumerate() {
        fetch_ahead(next, index, B::LEN);
        let inputs: &[[i8; 64]] = x.quants.as_chunks().0;
        let mut all = [_mm512_setzero_si512(); ROWS];
        let mut all_mins = [_mm256_setzero_si256(); ROWS];
        let (mut factors, mut min_factors) = (Lanes([0.0; ROWS]), Lanes([0.0; ROWS]));
        for row in 0..ROWS {
            // SAFETY: as in `unpack`; all blocks of a row are there.
            let block = unsafe { &*rows[row].wrapping_add(index * B::LEN).cast::<B>() };
            integers(block, &mut unpacked);
            let quants: &[[i8; 64]] = unpacked.quants.as_chunks().0;
            let scales = widened(&unpacked.scales);
            let mut products = _mm512_setzero_si512();
            for quarter in 0..4 {
                let (weights, input) = (load(&quants[quarter]), load(&inputs[quarter]));
                let dots = if B::MINS {
                    _mm512_dpbusd_epi32(_mm512_setzero_si512(), weights, input)
                } else {
                    let negative = _mm512_movepi8_mask(weights);
                    let turned =
                        _mm512_mask_sub_epi8(input, negative, _mm512_setzero_si512(), input);
                    let magnitudes = _mm512_abs_epi8(weights);
                    _mm512_dpbusd_epi32(_mm512_setzero_si512(), magnitudes, turned)
                };
                // Four parts of sixteen weights, four lanes each.
                let parts = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
                let which = _mm512_or_si512(parts, _mm512_set1_epi32(4 * quarter as i32));
                let scaled = _mm512_mullo_epi32(dots, _mm512_permutexvar_epi32(which, scales));
                products = _mm512_add_epi32(products, scaled);
            }
            all[row] = products;
            if B::MINS {
                all_mins[row] = _mm256_madd_epi16(load_half(&unpacked.mins), load_half(&x.sums));
            }
            factors.0[row] = unpacked.scale;
            min_factors.0[row] = unpacked.min_scale;
        }
        let products = (sum_rows(all), sum_half_rows(all_mins));
        let factors = (load_floats(&factors), load_floats(&min_factors));
        *sum = if B::MINS {
            finish::<true>(*sum, products, factors, x)
        } else {
            finish::<false>(*sum, products, factors, x)
        };
    }
}

/// Factors and minima of sixteen Q4_K blocks. Scales of six bits: four low and the two high
/// bits of four others in each byte (see [`scales_and_mins`]).
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn q4_k_header(rows: &Rows, panel: &mut Panel, with_scales: bool) {
    let [halves, s0, s1, s2] = transpose_quarters(|row| {
        // SAFETY: a Q4_K block begins with 16 bytes of scales.
        load_quarter(unsafe { &*rows[row].cast::<[u8; 16]>() })
    });
    let (six, four, two) = (
        _mm512_set1_epi8(0x3f),
        _mm512_set1_epi8(0x0f),
        _mm512_set1_epi8(0x30),
    );
    let high = |bits: __m512i, s: __m512i| {
        let top = _mm512_and_si512(_mm512_srli_epi32::<2>(s), two);
        _mm512_or_si512(_mm512_and_si512(bits, four), top)
    };
    let byte = _mm512_set1_epi32(0xff);
    if with_scales {
        let scales = [_mm512_and_si512(s0, six), high(s2, s0)];
        for (half, mut word) in scales.into_iter().enumerate() {
            for part in 0..4 {
                store(
                    &mut panel.scales[4 * half + part],
                    _mm512_and_si512(word, byte),
                );
                word = _mm512_srli_epi32::<8>(word);
            }
        }
    }
    let mins = [
        _mm512_and_si512(s1, six),
        high(_mm512_srli_epi32::<4>(s2), s1),
    ];
    for (half, mut word) in mins.into_iter().enumerate() {
        for part in 0..4 {
            let min = _mm512_and_si512(word, byte);
            let pair = _mm512_or_si512(min, _mm512_slli_epi32::<16>(min));
            store(&mut panel.mins[4 * half + part], pair);
            word = _mm512_srli_epi32::<8>(word);
        }
    }
    let factor = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(halves));
    let min = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(halves)));
    store(&mut panel.factors[0], _mm512_castps_si512(factor));
    store(&mut panel.min_factor, _mm512_castps_si512(min));
}

/// 64 neighbouring weights of a Q4_K block: low halves of 32 bytes, then their high halves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn q4_k_quarter(block: &BlockQ4K, quarter: usize) -> __m512i {
    let bytes: &[[u8; 32]] = block.quants.as_chunks().0;
    let shifts = _mm512_inserti64x4::<1>(_mm512_setzero_si512(), _mm256_set1_epi16(4));
    let quants = _mm512_srlv_epi16(load_twice(&bytes[quarter]), shifts);
    _mm512_and_si512(quants, _mm512_set1_epi8(15))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn unpack_q4_k(rows: &Rows, panel: &mut Panel) {
    q4_k_header(rows, panel, true);
    for quarter in 0..4 {
        // SAFETY: a block is at each row's address; it has alignment 1 and no invalid bytes.
        let block = |row: usize| unsafe { &*rows[row].cast::<BlockQ4K>() };
        let mut quants = [_mm512_setzero_si512(); ROWS];
        for (row, quants) in quants.iter_mut().enumerate() {
            *quants = q4_k_quarter(block(row), quarter);
        }
        store_quants(panel, quarter, quants);
    }
}

#[inline(never)] // so that the sixteen addresses are read where they are, not spilled
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn direct_q4_k(
    (rows, next): (&Rows, *const u8),
    x: &[ActivationQ8K],
    panel: &mut Panel,
    sum: &mut __m512,
) {
    for (index, x) in x.iter().enumerate() {
        fetch_ahead(next, index, BlockQ4K::LEN);
        let rows = behind(rows, index * BlockQ4K::LEN);
        q4_k_header(&rows, panel, false);
        let quants: &[[i8; 64]] = x.quants.as_chunks().0;
        let mut all = [_mm512_setzero_si512(); ROWS];
        for row in 0..ROWS {
            // SAFETY: as in `unpack_q4_k`; all blocks of a row are there.
            let block = unsafe { &*rows[row].cast::<BlockQ4K>() };
            let (scales, _) = scales_and_mins(&block.scales);
            let scales = _mm512_castsi256_si512(_mm256_cvtepu8_epi32(_mm_set_epi64x(
                0,
                i64::from_le_bytes(scales),
            )));
            let mut products = _mm512_setzero_si512();
            for quarter in 0..4 {
                let weights = q4_k_quarter(block, quarter);
                // At most 4 · 15 · 127: sixteen bits hold it.
                let dots =
                    _mm512_dpbusd_epi32(_mm512_setzero_si512(), weights, load(&quants[quarter]));
                // Two parts of 32 weights, eight lanes each.
                let first = _mm512_set1_epi32(2 * quarter as i32);
                let second = _mm256_set1_epi32(2 * quarter as i32 + 1);
                let which = _mm512_inserti64x4::<1>(first, second);
                let scale = _mm512_permutexvar_epi32(which, scales);
                products = _mm512_dpwssd_epi32(products, dots, scale);
            }
            all[row] = products;
        }
        let products = sum_rows(all);
        let mins = add_mins(_mm512_setzero_si512(), &panel.mins, x);
        let factors = (
            load_floats(&panel.factors[0]),
            load_floats(&panel.min_factor),
        );
        *sum = finish::<true>(*sum, (products, mins), factors, x);
    }
}

/// Factors of sixteen Q6_K blocks, and 32 times those, negative, for what the weights are
/// stored above themselves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn q6_k_header(rows: &Rows, panel: &mut Panel, with_scales: bool) {
    // SAFETY: as in `unpack_q4_k`.
    let block = |row: usize| unsafe { &*rows[row].cast::<BlockQ6K>() };
    let words = transpose_quarters(|row| load_quarter(&block(row).scales));
    for (four, word) in words.into_iter().enumerate() {
        if with_scales {
            let scales = [
                _mm512_slli_epi32::<24>(word),
                _mm512_slli_epi32::<16>(word),
                _mm512_slli_epi32::<8>(word),
                word,
            ];
            for (part, scale) in scales.into_iter().enumerate() {
                store(
                    &mut panel.scales[4 * four + part],
                    _mm512_srai_epi32::<24>(scale),
                );
            }
        }
        for (pair, bytes) in [word, _mm512_srli_epi32::<16>(word)]
            .into_iter()
            .enumerate()
        {
            let first = _mm512_and_si512(bytes, _mm512_set1_epi32(0xff));
            let second = _mm512_and_si512(bytes, _mm512_set1_epi32(0xff00));
            let both = _mm512_or_si512(first, _mm512_slli_epi32::<8>(second));
            let times_32 = _mm512_srai_epi16::<3>(_mm512_slli_epi16::<8>(both));
            let negative = _mm512_sub_epi16(_mm512_setzero_si512(), times_32);
            store(&mut panel.mins[2 * four + pair], negative);
        }
    }
    let factors = halves(|row| block(row).scale);
    store(&mut panel.factors[0], _mm512_castps_si512(factors));
}

/// 64 neighbouring weights of a Q6_K block, 32 above themselves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn q6_k_quarter(block: &BlockQ6K, quarter: usize) -> __m512i {
    let low: &[[u8; 64]] = block.low.as_chunks().0;
    let high: &[[u8; 32]] = block.high.as_chunks().0;
    let (low, high) = (load(&low[quarter / 2]), load_twice(&high[quarter / 2]));
    let two = _mm256_set1_epi16(2);
    let (low, high) = if quarter.is_multiple_of(2) {
        // Bits 0 and 1 for the first 32, 2 and 3 for the others.
        let shifts = _mm512_inserti64x4::<1>(_mm512_set1_epi16(4), two);
        (low, _mm512_sllv_epi16(high, shifts))
    } else {
        let shifts = _mm512_inserti64x4::<1>(_mm512_setzero_si512(), two);
        (_mm512_srli_epi16::<4>(low), _mm512_srlv_epi16(high, shifts))
    };
    let low = _mm512_and_si512(low, _mm512_set1_epi8(0x0f));
    _mm512_or_si512(low, _mm512_and_si512(high, _mm512_set1_epi8(0x30)))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn unpack_q6_k(rows: &Rows, panel: &mut Panel) {
    q6_k_header(rows, panel, true);
    for quarter in 0..4 {
        // SAFETY: as in `unpack_q4_k`.
        let block = |row: usize| unsafe { &*rows[row].cast::<BlockQ6K>() };
        let mut quants = [_mm512_setzero_si512(); ROWS];
        for (row, quants) in quants.iter_mut().enumerate() {
            *quants = q6_k_quarter(block(row), quarter);
        }
        store_quants(panel, quarter, quants);
    }
}

#[inline(never)] // so that the sixteen addresses are read where they are, not spilled
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn direct_q6_k(
    (rows, next): (&Rows, *const u8),
    x: &[ActivationQ8K],
    panel: &mut Panel,
    sum: &mut __m512,
) {
    for (index, x) in x.iter().enumerate() {
        fetch_ahead(next, index, BlockQ6K::LEN);
        let rows = behind(rows, index * BlockQ6K::LEN);
        q6_k_header(&rows, panel, false);
        let quants: &[[i8; 64]] = x.quants.as_chunks().0;
        let mut all = [_mm512_setzero_si512(); ROWS];
        for row in 0..ROWS {
            // SAFETY: as in `unpack_q4_k`; all blocks of a row are there.
            let block = unsafe { &*rows[row].cast::<BlockQ6K>() };
            // Low halves alone: they meet the low halves of the dots.
            let scales = _mm512_cvtepi8_epi32(load_quarter(&block.scales));
            let scales = _mm512_and_si512(scales, _mm512_set1_epi32(0xffff));
            let mut products = _mm512_setzero_si512();
            for quarter in 0..4 {
                let weights = q6_k_quarter(block, quarter);
                // At most 4 · 63 · 127: sixteen bits hold it.
                let dots =
                    _mm512_dpbusd_epi32(_mm512_setzero_si512(), weights, load(&quants[quarter]));
                // Four parts of sixteen weights, four lanes each.
                let parts = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
                let which = _mm512_or_si512(parts, _mm512_set1_epi32(4 * quarter as i32));
                let scale = _mm512_permutexvar_epi32(which, scales);
                products = _mm512_dpwssd_epi32(products, dots, scale);
            }
            all[row] = products;
        }
        let products = add_mins(sum_rows(all), &panel.mins, x);
        let factors = load_floats(&panel.factors[0]);
        *sum = finish::<false>(*sum, (products, products), (factors, factors), x);
    }
}
