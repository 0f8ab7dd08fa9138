//! x86-64 with AVX-512 (F, BW, DQ, VL) and its int8 products (VNNI): Ice Lake, Zen 4 and later.
//!
//! Loops over registers are written with indices, for closures handed to library functions are
//! compiled without these instructions.
//!
//! Sixteen rows of weights are worked on at a time and stand, once summed, in the sixteen lanes
//! of a register. Few inputs: each row is multiplied as it lies in the file, and the rows' lanes
//! are added up in integers. Many inputs: the rows are first unpacked into a [`packed::Panel`].
//! Both come to the same integers for each block of weights, and from there on it is the same
//! arithmetic: the results agree bit for bit. What looks points of a grid up moves bytes about
//! (VBMI); the few CPUs that do not do that have AVX2's products of those types.

#![allow(clippy::needless_range_loop)]

mod bf16;
pub(super) mod block256;
mod f32x16;
mod float;
mod float_gemv;
mod gemv;
mod grid_lookup;
mod i_quants;
mod k_quants;
mod k_quants_low;
mod legacy_columns;
mod legacy_groups;
mod legacy_quants;
mod linear_attention;
mod nvfp4;
pub(super) mod packed;
pub(super) mod register;
mod scan;
mod ternary;
mod transposed;
mod vector;

use super::isa::multiplies_bf16;
use super::{Attend, Conv1d, Isa, Kernels, LinearAttend, Pointwise, Running, Scan, Wkv, avx2};

/// The AVX2 table with what AVX-512 does better.
pub(super) const TABLE: Kernels = Kernels {
    isa: Isa::Avx512,
    matmul: |dtype| {
        let better = float::of(dtype).or_else(|| nvfp4::of(dtype));
        let better = better.or_else(|| legacy_quants::of(dtype));
        let better = better.or_else(|| k_quants::of(dtype));
        let better = better.or_else(|| k_quants_low::of(dtype));
        let better = better.or_else(|| ternary::of(dtype));
        let better = better.or_else(|| i_quants::of(dtype));
        better.or_else(|| (avx2::TABLE.matmul)(dtype))
    },
    matmul_transposed: |dtype| {
        transposed::of(dtype).or_else(|| (avx2::TABLE.matmul_transposed)(dtype))
    },
    matmul_native: |dtype| bf16::of(dtype).filter(|_| multiplies_bf16()),
    quantize_bf16,
    attend,
    layer_norm,
    pointwise,
    conv1d,
    scan,
    head_scan,
    linear_attend,
    wkv,
    ..avx2::TABLE
};

macro_rules! entries {
    ($(fn $name:ident($($arg:ident: $type:ty),*) = $module:ident;)*) => {$(
        fn $name($($arg: $type),*) {
            // SAFETY: these functions are reached through the table alone, which
            // `Kernels::select` hands out only where the CPU has what they need.
            unsafe { $module::$name($($arg),*) }
        }
    )*};
}

entries! {
    fn attend(call: &Attend<'_>, scores: &mut [f32], running: &mut [Running], out: &mut [f32]) = f32x16;
    fn quantize_bf16(values: &[f32], out: &mut [u8]) = bf16;
    fn layer_norm(x: &[f32], weight: &[f32], bias: Option<&[f32]>, epsilon: f32, out: &mut [f32]) = vector;
    fn conv1d(call: Conv1d<'_>) = scan;
    fn scan(call: Scan<'_>) = scan;
    fn head_scan(call: Scan<'_>) = scan;
    fn linear_attend(call: LinearAttend<'_, '_>) = linear_attention;
    fn wkv(call: Wkv<'_>) = f32x16;
}

fn pointwise(function: Pointwise, x: &mut [f32]) {
    if function == Pointwise::Tanh {
        // SAFETY: as for the entries above.
        return unsafe { f32x16::tanh(x) };
    }
    // SAFETY: as for the entries above.
    if !unsafe { vector::pointwise(function, x) } {
        (avx2::TABLE.pointwise)(function, x);
    }
}
