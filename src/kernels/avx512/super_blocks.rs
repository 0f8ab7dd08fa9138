//! Blocks of 256 weights whose parts have integer factors.

use core::arch::x86_64::*;

use super::direct::Group;
use super::panel::{Panel, Rows, Sums, WIDTH, fetch_ahead, product};
use super::register::{
    Lanes, ROWS, half_to_float, load, load_floats, load_half, load_quarter, store, sum_half_rows,
    sum_rows, transpose,
};
use crate::kernels::{MatMul, MatMulFn};
use crate::quant::*;
use rillm_formats::manifest::DType;

/// The product of a type.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::Q2_K => q2_k,
        DType::Q3_K => q3_k,
        DType::IQ4_XS => iq4_xs,
        DType::TQ1_0 => tq1_0,
        DType::TQ2_0 => tq2_0,
        _ => return None,
    })
}

/// The product of a type known by its integers alone.
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
                    |group, x| direct(group, x, integers),
                )
            }
        }
    };
}

general!(q2_k, BlockQ2K, |block, out| block.integers(out));
general!(q3_k, BlockQ3K, |block, out| block.integers(out));
general!(tq1_0, BlockTQ1_0, |block, out| block.integers(out));
general!(tq2_0, BlockTQ2_0, |block, out| block.integers(out));
general!(iq4_xs, BlockIQ4XS, |block, out| iq4_xs_integers(block, out));

/// Four bytes of a block's activations in every lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn spread(x: &ActivationQ8K, group: usize) -> __m512i {
    const { assert!(size_of::<[i8; 256]>() == 64 * size_of::<i32>()) }
    assert!(group < 64);
    // SAFETY: the group lies within the block's quants; the read wants no alignment.
    _mm512_set1_epi32(unsafe { x.quants.as_ptr().cast::<i32>().add(group).read_unaligned() })
}

/// Sums of the activations of each of `PARTS` parts of a block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn part_sums<const PARTS: usize>(x: &ActivationQ8K) -> __m512i {
    const { assert!(PARTS == 8 || PARTS == 16) }
    let sixteens = load_half(&x.sums);
    match PARTS {
        16 => _mm512_cvtepi16_epi32(sixteens),
        _ => _mm512_zextsi256_si512(_mm256_madd_epi16(sixteens, _mm256_set1_epi16(1))),
    }
}

/// sum + factor · products − min_factor · min_products, in this order wherever it is needed.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn finish<const MINS: bool>(
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

/// Panels of one block against `N` inputs. `PARTS` parts of a block have factors of their own.
/// With minima weights are without sign; without, they are 128 above themselves.
#[inline(never)] // so that the registers are all for its sums
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn tile<const PARTS: usize, const MINS: bool, const N: usize>(
    panels: &[Panel; WIDTH],
    x: [&[ActivationQ8K]; N],
    sums: &mut [Sums; N],
) {
    let groups = 64 / PARTS;
    // With minima, what they are multiplied by, two to a lane; without, what the dots of a part
    // begin with, so that its weights count as themselves.
    let mut beside = [Lanes([0; ROWS]); N];
    for n in 0..N {
        let sums = part_sums::<PARTS>(&x[n][0]);
        let words = match MINS {
            true => _mm512_zextsi256_si512(_mm512_cvtepi32_epi16(sums)),
            false => _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32::<7>(sums)),
        };
        store(&mut beside[n], words);
    }
    let mut products = [[_mm512_setzero_si512(); WIDTH]; N];
    for part in 0..PARTS {
        let mut dots = [[_mm512_setzero_si512(); WIDTH]; N];
        if !MINS {
            for n in 0..N {
                dots[n] = [_mm512_set1_epi32(beside[n].0[part]); WIDTH];
            }
        }
        for group in part * groups..(part + 1) * groups {
            let mut weights = [_mm512_setzero_si512(); WIDTH];
            for side in 0..WIDTH {
                weights[side] = load(&panels[side].quants[group]);
            }
            for n in 0..N {
                let four = spread(&x[n][0], group);
                for side in 0..WIDTH {
                    dots[n][side] = _mm512_dpbusd_epi32(dots[n][side], weights[side], four);
                }
            }
        }
        for side in 0..WIDTH {
            let scale = load(&panels[side].scales[part]);
            for n in 0..N {
                let scaled = _mm512_mullo_epi32(dots[n][side], scale);
                products[n][side] = _mm512_add_epi32(products[n][side], scaled);
            }
        }
    }
    for n in 0..N {
        for side in 0..WIDTH {
            let panel = &panels[side];
            let mut mins = _mm512_setzero_si512();
            if MINS {
                for pair in 0..PARTS / 2 {
                    let sums = _mm512_set1_epi32(beside[n].0[pair]);
                    mins = _mm512_dpwssd_epi32(mins, sums, load(&panel.mins[pair]));
                }
            }
            let factors = (
                load_floats(&panel.factors[0]),
                load_floats(&panel.min_factor),
            );
            let both = (products[n][side], mins);
            sums[n][side] = finish::<MINS>(sums[n][side], both, factors, &x[n][0]);
        }
    }
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
        if B::MINS {
            mins[row] = _mm512_castsi256_si512(load_half(&all[row].mins));
        }
        panel.factors[0].0[row] = all[row].scale;
        panel.min_factor.0[row] = all[row].min_scale;
    }
    let scales = transpose(scales);
    for part in 0..16 {
        store(&mut panel.scales[part], scales[part]);
    }
    if B::MINS {
        let mins = transpose(mins);
        for pair in 0..8 {
            store(&mut panel.mins[pair], mins[pair]);
        }
    }
}

#[inline(never)] // so that the sixteen addresses are read where they are, not spilled
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn direct<B: SuperBlock>(
    group: &Group,
    x: &[ActivationQ8K],
    integers: impl Fn(&B, &mut Integers256),
) -> __m512 {
    let mut sum = _mm512_setzero_ps();
    let mut unpacked = Integers256::ZERO;
    for (index, x) in x.iter().enumerate() {
        let inputs: &[[i8; 64]] = x.quants.as_chunks().0;
        let mut all = [_mm512_setzero_si512(); ROWS];
        let mut all_mins = [_mm256_setzero_si256(); ROWS];
        let (mut factors, mut min_factors) = (Lanes([0.0; ROWS]), Lanes([0.0; ROWS]));
        for row in 0..ROWS {
            fetch_ahead(group.next, index, B::LEN, row);
            // SAFETY: as in `unpack`; all blocks of a row are there.
            let block = unsafe { &*group.rows[row].wrapping_add(index * B::LEN).cast::<B>() };
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
        sum = if B::MINS {
            finish::<true>(sum, products, factors, x)
        } else {
            finish::<false>(sum, products, factors, x)
        };
    }
    sum
}
