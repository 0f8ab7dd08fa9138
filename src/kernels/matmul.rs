//! The matrix product's calling convention, shared by every table.

use crate::quant::{ActivationQ8_0, ActivationQ8K};
use rillm_formats::manifest::DType;

/// How a weight matrix's blocks are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// As in the file: one row after the other.
    Plain,
}

/// The form in which a weight type wants its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(non_camel_case_types)] // the names of the formats
pub enum Activation {
    /// Floats.
    F32,
    /// Blocks of 32 rounded to int8: [`ActivationQ8_0`].
    Q8_0,
    /// Blocks of 256 rounded to int8: [`ActivationQ8K`].
    Q8_K,
}

impl Activation {
    /// The form that a weight type is multiplied with, if it can be multiplied at all.
    pub const fn of(weights: DType) -> Option<Activation> {
        Some(match weights {
            DType::F32 | DType::F16 | DType::BF16 | DType::NVFP4 => Activation::F32,
            DType::Q4_0
            | DType::Q4_1
            | DType::Q5_0
            | DType::Q5_1
            | DType::Q8_0
            | DType::IQ4_NL
            | DType::MXFP4 => Activation::Q8_0,
            DType::Q2_K
            | DType::Q3_K
            | DType::Q4_K
            | DType::Q5_K
            | DType::Q6_K
            | DType::IQ1_S
            | DType::IQ1_M
            | DType::IQ2_XXS
            | DType::IQ2_XS
            | DType::IQ2_S
            | DType::IQ3_XXS
            | DType::IQ3_S
            | DType::IQ4_XS
            | DType::TQ1_0
            | DType::TQ2_0 => Activation::Q8_K,
            _ => return None,
        })
    }

    /// Activations in one block: a row's length is a multiple of it.
    pub const fn block_elements(self) -> usize {
        match self {
            Activation::F32 => 1,
            Activation::Q8_0 => ActivationQ8_0::ELEMENTS,
            Activation::Q8_K => ActivationQ8K::ELEMENTS,
        }
    }

    /// Bytes of one block.
    pub const fn block_len(self) -> usize {
        match self {
            Activation::F32 => size_of::<f32>(),
            Activation::Q8_0 => ActivationQ8_0::LEN,
            Activation::Q8_K => ActivationQ8K::LEN,
        }
    }

    /// Bytes of a row of `columns` activations: `None` if it is not whole blocks or the size
    /// overflows.
    pub const fn row_len(self, columns: usize) -> Option<usize> {
        if !columns.is_multiple_of(self.block_elements()) {
            return None;
        }
        (columns / self.block_elements()).checked_mul(self.block_len())
    }
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
/// `k < columns`. What is written overlaps nothing that is read. int8 activations are never −128.
pub type MatMulFn = unsafe fn(&MatMul);

/// A matrix product for one weight type and layout.
#[derive(Clone, Copy, Debug)]
pub struct MatMulKernel {
    /// The form in which it wants its input.
    pub activation: Activation,
    /// The product.
    pub run: MatMulFn,
}
