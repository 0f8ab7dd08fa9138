//! The matrix product's calling convention, shared by every table.

use crate::Tuning;
use crate::quant::Activation;

/// How a weight matrix lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// One weight row, which makes one output, after the other.
    Rows,
    /// One column after the other, `[columns][weight_rows]`: as GPT-2 stores its matrices.
    Transposed,
}

/// Where one input of a product and its results stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pick {
    /// Bytes from [`MatMul::inputs`] to the input.
    pub input: usize,
    /// Floats from [`MatMul::out`] to its first result.
    pub out: usize,
}

/// One matrix product: `weight_rows` rows of weights against `inputs_len` rows of input.
///
/// `out[i · out_stride + r] = Σ_k weights[r][k] · inputs[i][k]`, or, where inputs are picked, as
/// each [`Pick`] says. Every pointer to bytes or floats may have any address, odd ones included.
#[derive(Clone, Copy, Debug)]
pub struct MatMul {
    /// The first weight row.
    pub weights: *const u8,
    /// Bytes from one weight row to the next (for a transposed product: from one stored row
    /// to the next).
    pub weight_stride: usize,
    /// Weight rows, each of which is one output.
    pub weight_rows: usize,
    /// Length of a row in elements, a multiple of the weight type's block.
    pub columns: usize,
    /// The first input row, in the form the kernel's [`Activation`] names.
    pub inputs: *const u8,
    /// Bytes from one input row to the next.
    pub input_stride: usize,
    /// Input rows.
    pub inputs_len: usize,
    /// Where the first input's first result goes.
    pub out: *mut f32,
    /// Floats from one input's results to the next one's.
    pub out_stride: usize,
    /// Null, or the place of each input and its results, in place of the strides: as when the
    /// rows that chose an expert are not neighbours.
    pub picks: *const Pick,
    /// How the weights that come next are asked for; the results do not depend on it.
    pub tuning: Tuning,
}

impl MatMul {
    /// An input.
    ///
    /// # Safety
    ///
    /// `index < inputs_len`, and the promise of [`MatMulFn`].
    #[inline(always)]
    pub unsafe fn input(&self, index: usize) -> *const u8 {
        match self.picks.is_null() {
            true => self.inputs.wrapping_add(index * self.input_stride),
            // SAFETY: the caller promises as many picks as inputs.
            false => unsafe { self.inputs.wrapping_add((*self.picks.add(index)).input) },
        }
    }

    /// An input's result with the first row; the others follow it.
    ///
    /// # Safety
    ///
    /// As for [`MatMul::input`].
    #[inline(always)]
    pub unsafe fn results(&self, index: usize) -> *mut f32 {
        let offset = match self.picks.is_null() {
            true => index * self.out_stride,
            // SAFETY: the caller promises as many picks as inputs.
            false => unsafe { (*self.picks.add(index)).out },
        };
        self.out.wrapping_byte_add(offset * size_of::<f32>())
    }
}

/// A matrix product.
///
/// # Safety
///
/// For `r < weight_rows` and `i < inputs_len`: `weights + r · weight_stride` is valid for
/// reading one row of `columns` weights, `inputs + i · input_stride` for one row of `columns`
/// activations, and `out + i · out_stride + r` for writing one float, by no other thread at
/// the same time. If `picks` is not null, it is valid for reading `inputs_len` of them, and the
/// same holds of the places they name, in place of those by strides. For a transposed product:
/// `weights + k · weight_stride` is valid for reading `weight_rows` weights for each
/// `k < columns`. What is written overlaps nothing that is read. int8 activations are never −128. The
/// thread has set up what [`Kernels::thread_setup`](super::Kernels::thread_setup) says.
pub type MatMulFn = unsafe fn(&MatMul);

/// A matrix product for one weight type and layout.
#[derive(Clone, Copy, Debug)]
pub struct MatMulKernel {
    /// The form in which it wants its input.
    pub activation: Activation,
    /// The product.
    pub run: MatMulFn,
    /// What its calls are to say of the CPU.
    pub tuning: Tuning,
}
