//! The arithmetic: one table of function pointers per instruction set.
//!
//! [`Kernels::select`] picks a table once, when a model is opened; from there on nobody asks
//! what the CPU can do. Every table is a plainer one (in the end the scalar one) with some entries
//! replaced, so a new operation needs only its scalar version, and one test suite holds every entry
//! of every table against the scalar one.
//!
//! **Bit rule.** What a kernel computes for one (weight row, input row) pair, or for one row of
//! an element-wise operation, never depends on how many rows the call carries: each has one
//! fixed order of operations. Any way of cutting work among threads gives the same bits.
//!
//! A crate of its own, so that work on models and files compiles none of it anew. Programs use
//! `rillm`; what stands here is free to change.

mod bench;
mod generic;
mod isa;
mod kv_cache;
mod matmul;
mod ops;
mod portable;
mod precision;
pub mod quant;
mod scalar;
mod table;
mod thread;
mod tuning;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(all(
    target_arch = "aarch64",
    target_feature = "neon",
    target_endian = "little"
))]
mod neon;

pub use crate::quant::Activation;
pub use isa::{Isa, IsaError, Maker};
pub use kv_cache::{KvHalf, KvType, PAGE, UnknownKvType};
pub use matmul::{Layout, MatMul, MatMulFn, MatMulKernel, Pick};
pub use ops::{
    Attend, Conv1d, LinearAttend, LinearAttendRow, Pairing, Pointwise, RowDecay, RowDelta, Running,
    SCAN_LANES, SCAN_ROWS, Scan, Strided, Wkv,
};

pub use bench::{AttentionBench, KernelBench, PeakBench, STREAMS, StateBench, StateKernel};
pub use generic::fetch;
pub use precision::{Precision, UnknownPrecision};
pub use table::{Kernels, LayerNorm, Quantize};
pub use thread::{ThreadReady, ThreadSetup};
pub use tuning::{PackFrom, TunedRate, Tuning, fastest, time_packing, time_tunings};
