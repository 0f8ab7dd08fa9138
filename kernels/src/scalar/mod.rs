//! Plain Rust: complete, and the oracle for every other table.

mod attend;
mod linear_attention;
mod matmul;
mod norm;
pub(super) mod pointwise;
mod scan;
mod vector;

use super::{Isa, Kernels};
use crate::quant;

pub(super) use linear_attention::wkv_block;
#[cfg(target_arch = "x86_64")]
pub(super) use scan::{conv_block, head_block, scan_block};

/// Every kernel there is.
pub(super) const TABLE: Kernels = Kernels {
    isa: Isa::Scalar,
    thread_setup: None,
    matmul: matmul::of,
    matmul_transposed: matmul::transposed_of,
    matmul_native: |_| None,
    quantize_bf16: quant::quantize_bf16,
    quantize_q8_0: quant::quantize_q8_0,
    quantize_q8_k: quant::quantize_q8_k,
    widen: vector::widen,
    dot: vector::dot,
    axpy: vector::axpy,
    attend: attend::attend,
    rms_norm: norm::rms_norm,
    layer_norm: norm::layer_norm,
    add: vector::add,
    mul: vector::mul,
    softmax: norm::softmax,
    pointwise: pointwise::pointwise,
    conv1d: scan::conv1d,
    scan: scan::scan,
    head_scan: scan::head_scan,
    linear_attend: linear_attention::linear_attend,
    wkv: linear_attention::wkv,
    rotate: vector::rotate,
};
