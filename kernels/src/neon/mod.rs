//! AArch64: NEON, which every such CPU has; the same with the integer dot product, and with products
//! of matrices of bytes.
//!
//! Functions need no feature beyond the target's, so closures and what is generic are compiled
//! with all of these instructions. Those that are not always there stand in assembly.

#![allow(clippy::needless_range_loop)] // indices say best which row and which input is meant

pub(super) mod bench;
mod bf16;
mod block256;
mod f32x4;
mod float;
mod intrinsics;
mod k_quants;
mod legacy_quants;
mod packed;
mod register;

use super::isa::multiplies_bf16;
use super::{Isa, Kernels, MatMulFn, Pointwise, portable};
use register::DotSigned;
use rillm_formats::manifest::DType;

/// The portable table with what NEON does better.
pub(super) const TABLE: Kernels = Kernels {
    isa: Isa::Neon,
    matmul: matmul::<register::Smull>,
    widen: float::widen,
    attend: f32x4::attend,
    pointwise: |function, x| match function {
        Pointwise::Tanh => f32x4::tanh(x),
        _ => (portable::TABLE.pointwise)(function, x),
    },
    wkv: f32x4::wkv,
    ..portable::TABLE
};

/// The same with the dot product for what is made of integers.
pub(super) const DOT_TABLE: Kernels = Kernels {
    isa: Isa::DotProd,
    matmul: matmul::<register::Sdot>,
    ..TABLE
};

/// The same with products of matrices, where there are many inputs.
pub(super) const MATRIX_TABLE: Kernels = Kernels {
    isa: Isa::I8mm,
    matmul: matmul::<register::Smmla>,
    matmul_native: |dtype| bf16::of(dtype).filter(|_| multiplies_bf16()),
    ..DOT_TABLE
};

fn matmul<D: DotSigned>(dtype: DType) -> Option<MatMulFn> {
    let better = float::of(dtype).or_else(|| legacy_quants::of::<D>(dtype));
    let better = better.or_else(|| k_quants::of::<D>(dtype));
    better.or_else(|| (portable::TABLE.matmul)(dtype))
}
