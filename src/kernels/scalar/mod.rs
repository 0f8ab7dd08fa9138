//! Plain Rust: complete, and the oracle for every other table.

mod attend;
mod matmul;
mod norm;
mod pointwise;
mod recurrent;
mod vector;

use super::{Isa, Kernels};
use crate::quant;

/// Every kernel there is.
pub(super) const TABLE: Kernels = Kernels {
    isa: Isa::Scalar,
    matmul_f32: matmul::f32,
    matmul_f16: matmul::f16,
    matmul_bf16: matmul::bf16,
    matmul_q8_0: matmul::q8_0,
    matmul_q4_0: matmul::q4_0,
    matmul_q4_k: matmul::q4_k,
    matmul_q6_k: matmul::q6_k,
    matmul_transposed_f32: matmul::transposed_f32,
    matmul_transposed_f16: matmul::transposed_f16,
    matmul_transposed_bf16: matmul::transposed_bf16,
    dequantize_f32: quant::decode_f32,
    dequantize_f16: quant::decode_f16,
    dequantize_bf16: quant::decode_bf16,
    dequantize_q8_0: quant::decode_q8_0,
    dequantize_q4_0: quant::decode_q4_0,
    dequantize_q4_k: quant::decode_q4_k,
    dequantize_q6_k: quant::decode_q6_k,
    quantize_q8_0: quant::quantize_q8_0,
    quantize_q8_k: quant::quantize_q8_k,
    dot: vector::dot,
    axpy: vector::axpy,
    attend: attend::attend,
    rms_norm: norm::rms_norm,
    layer_norm: norm::layer_norm,
    add: vector::add,
    mul: vector::mul,
    softmax: norm::softmax,
    pointwise: pointwise::pointwise,
    conv1d: recurrent::conv1d,
    scan: recurrent::scan,
    linear_attend: recurrent::linear_attend,
    rotate: vector::rotate,
};
