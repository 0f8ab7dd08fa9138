//! Any CPU, by four floats or eight 16-bit integers at a time: SSE2 on x86-64, NEON on AArch64,
//! and what the compiler makes of arrays elsewhere.
//!
//! No instruction beyond the target's baseline is used, so there is nothing to ask the CPU for.
//! What the compiler makes vectors of by itself is left to the scalar table.

#![allow(clippy::needless_range_loop)] // indices say best which row and which input is meant

mod f32x4;
pub(super) mod float;
pub(super) mod nvfp4;
pub(super) mod product;
mod quantized;
mod vector;

use super::{Isa, Kernels, MatMulFn, scalar};
use crate::quant::types::{Float, Visitor, visit};
use crate::quant::{Block32, Block256};

/// The scalar table with what registers do better.
pub(super) const TABLE: Kernels = Kernels {
    isa: Isa::Portable,
    matmul: |dtype| visit(dtype, PortableProducts),
    widen: float::widen,
    dot: vector::dot,
    attend: f32x4::attend,
    rms_norm: vector::rms_norm,
    layer_norm: vector::layer_norm,
    softmax: vector::softmax,
    pointwise: vector::pointwise,
    wkv: f32x4::wkv,
    ..scalar::TABLE
};

/// The products of every type that no instruction set has better ones of.
struct PortableProducts;

impl Visitor for PortableProducts {
    type Output = MatMulFn;

    fn floats(self, float: Float) -> MatMulFn {
        match float {
            Float::F32 => product::matmul::<float::PortableFloats<float::PortableF32, 1>>,
            Float::F16 => product::matmul::<float::PortableFloats<float::PortableF16, 1>>,
            Float::BF16 => product::matmul::<float::PortableFloats<float::PortableBf16, 1>>,
        }
    }

    fn block32<B: Block32>(self) -> MatMulFn {
        product::matmul::<quantized::PortableBlock32<B>>
    }

    fn block256<B: Block256>(self) -> MatMulFn {
        product::matmul::<quantized::PortableBlock256<B>>
    }

    fn nvfp4(self) -> MatMulFn {
        product::matmul::<nvfp4::PortableNvfp4<nvfp4::InTable>>
    }
}
