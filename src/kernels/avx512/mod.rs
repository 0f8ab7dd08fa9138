//! x86-64 with AVX-512 (F, BW, DQ, VL) and its int8 products (VNNI): Ice Lake, Zen 4 and later.
//!
//! Loops over registers are written with indices, for closures handed to library functions are
//! compiled without these instructions.
//!
//! Sixteen rows of weights are worked on at a time and stand, once summed, in the sixteen lanes
//! of a register. Few inputs: each row is multiplied as it lies in the file, and the rows' lanes
//! are added up in integers. Many inputs: the rows are first unpacked into a [`panel::Panel`].
//! Both come to the same integers for each block of weights, and from there on it is the same
//! arithmetic: the results agree bit for bit. What looks points of a grid up moves bytes about
//! (VBMI); the few CPUs that do not do that have AVX2's products of those types.

#![allow(clippy::needless_range_loop)]

mod blocks;
mod direct;
mod float;
mod grid_blocks;
mod grid_points;
mod k_blocks;
mod low_blocks;
mod nvfp4;
mod panel;
mod register;
mod retention;
mod scan;
mod super_blocks;
mod ternary_blocks;
mod transposed;
mod vector;
mod wide;

use super::{Attend, Conv1d, Isa, Kernels, Pointwise, Retain, Running, Scan, Wkv, avx2};

/// The AVX2 table with what AVX-512 does better.
pub(super) const TABLE: Kernels = Kernels {
    isa: Isa::Avx512,
    matmul: |dtype| {
        let better = float::of(dtype).or_else(|| nvfp4::of(dtype));
        let better = better.or_else(|| blocks::of(dtype));
        let better = better.or_else(|| k_blocks::of(dtype));
        let better = better.or_else(|| low_blocks::of(dtype));
        let better = better.or_else(|| ternary_blocks::of(dtype));
        let better = better.or_else(|| grid_blocks::of(dtype));
        better.or_else(|| (avx2::TABLE.matmul)(dtype))
    },
    matmul_transposed: |dtype| {
        transposed::of(dtype).or_else(|| (avx2::TABLE.matmul_transposed)(dtype))
    },
    attend,
    layer_norm,
    pointwise,
    conv1d,
    scan,
    head_scan,
    retain,
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
    fn attend(call: &Attend<'_>, scores: &mut [f32], running: &mut [Running], out: &mut [f32]) = wide;
    fn layer_norm(x: &[f32], weight: &[f32], bias: Option<&[f32]>, epsilon: f32, out: &mut [f32]) = vector;
    fn conv1d(call: Conv1d<'_>) = scan;
    fn scan(call: Scan<'_>) = scan;
    fn head_scan(call: Scan<'_>) = scan;
    fn retain(call: Retain<'_, '_>) = retention;
    fn wkv(call: Wkv<'_>) = wide;
}

fn pointwise(function: Pointwise, x: &mut [f32]) {
    if function == Pointwise::Tanh {
        // SAFETY: as for the entries above.
        return unsafe { wide::tanh(x) };
    }
    // SAFETY: as for the entries above.
    if !unsafe { vector::pointwise(function, x) } {
        (avx2::TABLE.pointwise)(function, x);
    }
}
