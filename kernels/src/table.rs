//! The table of kernels, and the choice of one.

use rillm_formats::manifest::DType;

use super::{
    Activation, Attend, Conv1d, Isa, IsaError, Layout, LinearAttend, MatMulFn, MatMulKernel,
    Pairing, Pointwise, Running, Scan, ThreadSetup, Tuning, Wkv,
};
use super::{portable, scalar};

/// Rounds a row of floats to a form of activations.
pub type Quantize = fn(&[f32], &mut [u8]);

/// `layer_norm(x, weight, bias, epsilon, out)`.
pub type LayerNorm = fn(&[f32], &[f32], Option<&[f32]>, f32, &mut [f32]);

/// The kernels of one instruction set.
///
/// Slices that belong together have the lengths the entry names; where they do not, an entry
/// works on as much as they have in common and never reads or writes outside them.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    /// The instruction set.
    pub isa: Isa,
    /// What a thread must set up before it runs these kernels, if anything.
    pub thread_setup: Option<ThreadSetup>,
    /// The product of a weight type with the form of input that [`Activation::of`] names.
    pub matmul: fn(DType) -> Option<MatMulFn>,
    /// The product of weights stored `[columns][weight_rows]` with F32 input, summed over the
    /// columns in order.
    pub matmul_transposed: fn(DType) -> Option<MatMulFn>,
    /// The product of a weight type with [`Activation::BF16`] input, where the CPU multiplies such
    /// numbers faster than floats: see [`Precision::Native`](crate::Precision::Native).
    pub matmul_native: fn(DType) -> Option<MatMulFn>,
    /// Floats to [`Activation::BF16`]; the same bits from every table.
    pub quantize_bf16: Quantize,
    /// Floats to [`Activation::Q8_0`]; the same bits from every table.
    pub quantize_q8_0: Quantize,
    /// Floats to [`Activation::Q8_K`]; the same bits from every table.
    pub quantize_q8_k: Quantize,
    /// `widen(halves, out)`: half-precision numbers to floats, exactly.
    pub widen: fn(&[u8], &mut [f32]),
    /// `dot(a, b)` = Σ a·b
    pub dot: fn(&[f32], &[f32]) -> f32,
    /// `axpy(a, x, y)`: y ← y + a·x
    pub axpy: fn(f32, &[f32], &mut [f32]),
    /// `attend(call, scores, running, out)`: queries against a page of keys, see [`Attend`].
    /// There are as many as `running` has elements; `out` is laid out as they are, and `scores`
    /// holds [`PAGE`](super::PAGE) floats for each, of which nothing is asked before or after.
    ///
    /// # Panics
    /// If a slice is shorter than the numbers say.
    pub attend: fn(&Attend<'_>, &mut [f32], &mut [Running], &mut [f32]),
    /// `rms_norm(x, weight, epsilon, out)`: x / √(mean(x²) + epsilon) · weight
    pub rms_norm: fn(&[f32], &[f32], f32, &mut [f32]),
    /// `layer_norm(x, weight, bias, epsilon, out)`:
    /// (x − mean(x)) / √(variance(x) + epsilon) · weight + bias
    pub layer_norm: LayerNorm,
    /// `add(a, b, out)`: out = a + b
    pub add: fn(&[f32], &[f32], &mut [f32]),
    /// `mul(a, b, out)`: out = a · b
    pub mul: fn(&[f32], &[f32], &mut [f32]),
    /// Softmax in place. A row of nothing but −∞ becomes zeros.
    pub softmax: fn(&mut [f32]),
    /// A function of each element, in place.
    pub pointwise: fn(Pointwise, &mut [f32]),
    /// Rows of a depthwise causal convolution: see [`Conv1d`].
    pub conv1d: fn(Conv1d<'_>),
    /// Rows of a selective scan, each channel by its own A: see [`Scan`].
    pub scan: fn(Scan<'_>),
    /// The same for channels of one head, which share it: see [`Scan`].
    pub head_scan: fn(Scan<'_>),
    /// Rows through linear attention's state: see [`LinearAttend`].
    pub linear_attend: fn(LinearAttend<'_, '_>),
    /// Rows through RWKV-4's weighted mean: see [`Wkv`].
    pub wkv: fn(Wkv<'_>),
    /// `rotate(head, cos, sin, pairing)` turns the first `2 · cos.len()` elements of a head
    /// (or where those came from, of a woven one):
    /// (a, b) ← (a·cos − b·sin, a·sin + b·cos)
    pub rotate: fn(&mut [f32], &[f32], &[f32], Pairing),
}

impl Kernels {
    /// The table to use: the one asked for, or the most capable this CPU can run.
    ///
    /// # Errors
    ///
    /// [`IsaError::Unavailable`] if this CPU cannot run the one asked for.
    pub fn select(isa: Option<Isa>) -> Result<&'static Kernels, IsaError> {
        let isa = match isa {
            Some(isa) if !isa.is_available() => return Err(IsaError::Unavailable { isa }),
            Some(isa) => isa,
            None => Isa::available().next_back().unwrap_or(Isa::Portable),
        };
        // The check above is what makes the tables' functions safe to call.
        Ok(match isa {
            Isa::Scalar => &scalar::TABLE,
            Isa::Portable => &portable::TABLE,
            #[cfg(all(
                target_arch = "aarch64",
                target_feature = "neon",
                target_endian = "little"
            ))]
            Isa::Neon => &super::neon::TABLE,
            #[cfg(all(
                target_arch = "aarch64",
                target_feature = "neon",
                target_endian = "little"
            ))]
            Isa::DotProd => &super::neon::DOT_TABLE,
            #[cfg(all(
                target_arch = "aarch64",
                target_feature = "neon",
                target_endian = "little"
            ))]
            Isa::I8mm => &super::neon::MATRIX_TABLE,
            #[cfg(not(all(
                target_arch = "aarch64",
                target_feature = "neon",
                target_endian = "little"
            )))]
            Isa::Neon | Isa::DotProd | Isa::I8mm => return Err(IsaError::Unavailable { isa }),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &super::avx2::TABLE,
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => &super::avx2::VNNI_TABLE,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => &super::avx512::TABLE,
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => &super::amx::TABLE,
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 | Isa::Amx => {
                return Err(IsaError::Unavailable { isa });
            }
        })
    }

    /// The AMX table with its tiles in plain Rust, slow and with the same results: what can be tested
    /// of it where there are no tiles. `None` if this CPU lacks what it needs beside them.
    pub fn software_tiles() -> Option<&'static Kernels> {
        #[cfg(target_arch = "x86_64")]
        if Isa::Avx512.is_available() {
            return Some(&super::amx::SOFTWARE_TABLE);
        }
        None
    }

    /// The product for a weight type and layout, if there is one: that of the reference.
    pub fn matmul(&self, dtype: DType, layout: Layout) -> Option<MatMulKernel> {
        let (activation, run) = match layout {
            Layout::Rows => (Activation::of(dtype)?, (self.matmul)(dtype)?),
            Layout::Transposed => (Activation::F32, (self.matmul_transposed)(dtype)?),
        };
        Some(self.kernel(activation, run))
    }

    /// The product for a weight type and layout that the CPU's own 16-bit arithmetic makes faster,
    /// if there is one.
    pub fn native(&self, dtype: DType, layout: Layout) -> Option<MatMulKernel> {
        let run = match layout {
            Layout::Rows => (self.matmul_native)(dtype)?,
            Layout::Transposed => return None,
        };
        Some(self.kernel(Activation::BF16, run))
    }

    fn kernel(&self, activation: Activation, run: MatMulFn) -> MatMulKernel {
        MatMulKernel {
            activation,
            run,
            tuning: Tuning::of(self.isa),
        }
    }

    /// What turns floats into an activation form; `None` for floats themselves.
    pub fn quantize(&self, activation: Activation) -> Option<Quantize> {
        match activation {
            Activation::F32 => None,
            Activation::BF16 => Some(self.quantize_bf16),
            Activation::Q8_0 => Some(self.quantize_q8_0),
            Activation::Q8_K => Some(self.quantize_q8_k),
        }
    }
}
