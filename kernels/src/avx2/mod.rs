//! x86-64 with AVX2, FMA and F16C; and the same with AVX-VNNI.
//!
//! Loops over registers are written with indices, for closures handed to library functions are
//! compiled without these instructions.

#![allow(clippy::needless_range_loop)]

mod f32x8;
mod float;
mod gemv;
mod i_quants;
mod k_quants;
mod k_quants_low;
mod legacy_groups;
mod legacy_quants;
mod nvfp4;
mod packed;
mod quantize;
mod register;
mod scan;
mod vector;

use super::{
    Attend, Conv1d, Isa, Kernels, LinearAttend, MatMulFn, Pointwise, Running, Scan, Wkv, portable,
};
use packed::DotBytes;
use rillm_formats::manifest::DType;

/// The portable table with what AVX2 does better.
pub(super) const TABLE: Kernels = Kernels {
    isa: Isa::Avx2,
    matmul: matmul::<packed::Maddubs>,
    matmul_transposed: |dtype| {
        float::transposed_of(dtype).or_else(|| (portable::TABLE.matmul_transposed)(dtype))
    },
    quantize_q8_0,
    quantize_q8_k,
    widen,
    dot,
    axpy,
    attend,
    rms_norm,
    pointwise,
    conv1d,
    scan,
    head_scan,
    linear_attend,
    wkv,
    ..portable::TABLE
};

/// The same with AVX-VNNI for the products of many inputs.
pub(super) const VNNI_TABLE: Kernels = Kernels {
    isa: Isa::AvxVnni,
    matmul: matmul::<packed::Vnni>,
    ..TABLE
};

fn matmul<D: DotBytes>(dtype: DType) -> Option<MatMulFn> {
    let better = float::of(dtype).or_else(|| nvfp4::of(dtype));
    let better = better.or_else(|| legacy_quants::of::<D>(dtype));
    let better = better.or_else(|| k_quants::of::<D>(dtype));
    let better = better.or_else(|| k_quants_low::of::<D>(dtype));
    let better = better.or_else(|| i_quants::of(dtype));
    better.or_else(|| (portable::TABLE.matmul)(dtype))
}

macro_rules! entries {
    ($(fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)? = $module:ident;)*) => {$(
        fn $name($($arg: $type),*) $(-> $result)? {
            // SAFETY: these functions are reached through the table alone, which
            // `Kernels::select` hands out only where the CPU has what they need.
            unsafe { $module::$name($($arg),*) }
        }
    )*};
}

entries! {
    fn quantize_q8_0(values: &[f32], out: &mut [u8]) = quantize;
    fn quantize_q8_k(values: &[f32], out: &mut [u8]) = quantize;
    fn widen(halves: &[u8], out: &mut [f32]) = vector;
    fn dot(a: &[f32], b: &[f32]) -> f32 = vector;
    fn axpy(a: f32, x: &[f32], y: &mut [f32]) = vector;
    fn attend(call: &Attend<'_>, scores: &mut [f32], running: &mut [Running], out: &mut [f32]) = f32x8;
    fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) = vector;
    fn conv1d(call: Conv1d<'_>) = scan;
    fn scan(call: Scan<'_>) = scan;
    fn head_scan(call: Scan<'_>) = scan;
    fn linear_attend(call: LinearAttend<'_, '_>) = f32x8;
    fn wkv(call: Wkv<'_>) = f32x8;
}

fn pointwise(function: Pointwise, x: &mut [f32]) {
    if function == Pointwise::Tanh {
        // SAFETY: as for the entries above.
        return unsafe { f32x8::tanh(x) };
    }
    // SAFETY: as for the entries above.
    if !unsafe { vector::pointwise(function, x) } {
        (portable::TABLE.pointwise)(function, x);
    }
}
