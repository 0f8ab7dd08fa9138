//! Products of float weights with float activations.

use core::arch::x86_64::*;

use half::{bf16, f16};

use super::quantized::each_pair;
use super::register::{LANES, load_floats, load_half, sum};
use crate::kernels::{MatMul, MatMulFn};
use rillm_formats::manifest::DType;

/// The product of a type of floats.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::F32 => f32,
        DType::F16 => f16,
        DType::BF16 => bf16,
        _ => return None,
    })
}

/// The product of a type of floats stored `[columns][weight_rows]`.
pub(super) fn transposed_of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::F32 => transposed_f32,
        DType::F16 => transposed_f16,
        DType::BF16 => transposed_bf16,
        _ => return None,
    })
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_f32(from: &[[u8; 4]; LANES]) -> __m256 {
    load_floats(from)
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn load_f16(from: &[[u8; 2]; LANES]) -> __m256 {
    _mm256_cvtph_ps(load_half(from))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_bf16(from: &[[u8; 2]; LANES]) -> __m256 {
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(load_half(
        from,
    ))))
}

fn f16_to_f32(bytes: [u8; 2]) -> f32 {
    f16::from_le_bytes(bytes).to_f32()
}

fn bf16_to_f32(bytes: [u8; 2]) -> f32 {
    bf16::from_le_bytes(bytes).to_f32()
}

// A trait cannot name functions that need a CPU feature, so the three types share their
// products through a macro.
macro_rules! products {
    ($name:ident, $transposed:ident, $dot:ident, $columns:ident, $bytes:literal, $load:ident,
     $decode:path) => {
        #[target_feature(enable = "avx2,fma,f16c")]
        pub(super) unsafe fn $name(call: &MatMul) {
            // SAFETY: the caller's promise, handed on.
            unsafe { each_pair(call, 1, |w, x| $dot(w, x), |w, x| $dot(w, x)) }
        }

        /// Σ of products in two registers of partial sums; a ragged end is filled with zeros.
        #[inline]
        #[target_feature(enable = "avx2,fma,f16c")]
        fn $dot<const N: usize>(weights: &[[u8; $bytes]], x: [&[[u8; 4]]; N]) -> [f32; N] {
            let (weights, tail) = weights.as_chunks::<LANES>();
            let mut even = [_mm256_setzero_ps(); N];
            let mut odd = [_mm256_setzero_ps(); N];
            let (pairs, last) = weights.as_chunks::<2>();
            for (index, [first, second]) in pairs.iter().enumerate() {
                let (first, second) = ($load(first), $load(second));
                for n in 0..N {
                    let (x, _) = x[n].as_chunks::<LANES>();
                    even[n] = _mm256_fmadd_ps(first, load_floats(&x[2 * index]), even[n]);
                    odd[n] = _mm256_fmadd_ps(second, load_floats(&x[2 * index + 1]), odd[n]);
                }
            }
            for weights in last {
                for n in 0..N {
                    let (x, _) = x[n].as_chunks::<LANES>();
                    let x = load_floats(&x[2 * pairs.len()]);
                    even[n] = _mm256_fmadd_ps($load(weights), x, even[n]);
                }
            }
            if !tail.is_empty() {
                let mut padded = [[0; $bytes]; LANES];
                padded[..tail.len()].copy_from_slice(tail);
                for n in 0..N {
                    let (_, x) = x[n].as_chunks::<LANES>();
                    let mut x_padded = [[0; 4]; LANES];
                    x_padded[..x.len()].copy_from_slice(x);
                    odd[n] = _mm256_fmadd_ps($load(&padded), load_floats(&x_padded), odd[n]);
                }
            }
            let mut sums = [0.0; N];
            for n in 0..N {
                sums[n] = sum(_mm256_add_ps(even[n], odd[n]));
            }
            sums
        }

        #[target_feature(enable = "avx2,fma,f16c")]
        pub(super) unsafe fn $transposed(call: &MatMul) {
            let mut index = 0;
            // SAFETY: the caller's promise, for a range of its inputs.
            unsafe {
                while index + 4 <= call.inputs_len {
                    let rest = $columns::<4, 2>(call, index, 0);
                    let rest = $columns::<4, 1>(call, index, rest);
                    $columns::<4, 0>(call, index, rest);
                    index += 4;
                }
                for index in index..call.inputs_len {
                    let rest = $columns::<1, 8>(call, index, 0);
                    let rest = $columns::<1, 1>(call, index, rest);
                    $columns::<1, 0>(call, index, rest);
                }
            }
        }

        /// Results from the `first` on, `V` registers at a time (or one by one for `V` = 0)
        /// while there are as many; where the next would begin. However wide, each result is
        /// one chain of fused multiplications and additions.
        ///
        /// # Safety
        ///
        /// As for the product, with `N` inputs from `index` on.
        #[inline]
        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn $columns<const N: usize, const V: usize>(
            call: &MatMul,
            index: usize,
            first: usize,
        ) -> usize {
            let width = if V == 0 { 1 } else { V * LANES };
            let mut row = first;
            while row + width <= call.weight_rows {
                let mut wide = [[_mm256_setzero_ps(); V]; N];
                let mut narrow = [0.0f32; N];
                for column in 0..call.columns {
                    // SAFETY: the caller promises `weight_rows` weights in each stored row,
                    // and there are `width` of them from `row` on.
                    let weights: &[[u8; $bytes]] = unsafe {
                        let start = column * call.weight_stride + row * $bytes;
                        core::slice::from_raw_parts(call.weights.add(start).cast(), width)
                    };
                    let (chunks, rest) = weights.as_chunks::<LANES>();
                    for n in 0..N {
                        // SAFETY: the caller promises `columns` floats in each input row.
                        let x = unsafe {
                            let start = call.input(index + n).add(column * 4);
                            start.cast::<f32>().read_unaligned()
                        };
                        for v in 0..V {
                            let weights = $load(&chunks[v]);
                            wide[n][v] = _mm256_fmadd_ps(_mm256_set1_ps(x), weights, wide[n][v]);
                        }
                        if let [weight] = rest {
                            narrow[n] = x.mul_add($decode(*weight), narrow[n]);
                        }
                    }
                }
                for n in 0..N {
                    // SAFETY: the caller promises room for `weight_rows` results per input;
                    // the stores want no alignment.
                    unsafe {
                        let out = call.results(index + n).wrapping_add(row);
                        for v in 0..V {
                            _mm256_storeu_ps(out.byte_add(v * 32), wide[n][v]);
                        }
                        if V == 0 {
                            out.write_unaligned(narrow[n]);
                        }
                    }
                }
                row += width;
            }
            row
        }
    };
}

products!(
    f32,
    transposed_f32,
    dot_f32,
    columns_f32,
    4,
    load_f32,
    f32::from_le_bytes
);
products!(
    f16,
    transposed_f16,
    dot_f16,
    columns_f16,
    2,
    load_f16,
    f16_to_f32
);
products!(
    bf16,
    transposed_bf16,
    dot_bf16,
    columns_bf16,
    2,
    load_bf16,
    bf16_to_f32
);
