//! Kernels on made-up rows, for whoever wants to time them.

mod attention;
mod state;

pub use attention::AttentionTrial;
pub use state::{StateKernel, StateTrial};

use super::{Activation, Kernels, Layout, MatMul, MatMulKernel};
use crate::quant::encode;
use rillm_formats::manifest::DType;

/// A matrix product with all that it reads and writes.
#[derive(Debug)]
pub struct Trial {
    kernel: MatMulKernel,
    weights: Vec<u8>,
    weight_stride: usize,
    weight_rows: usize,
    columns: usize,
    inputs: Vec<u8>,
    input_stride: usize,
    inputs_len: usize,
    out: Vec<f32>,
}

impl Trial {
    /// The product of a type in a table, on so many weight rows of so many columns and so many
    /// inputs. `None` if there is no such product, its type cannot be encoded, or the columns
    /// are not whole blocks.
    pub fn new(
        table: &Kernels,
        dtype: DType,
        (weight_rows, columns): (usize, usize),
        inputs_len: usize,
    ) -> Option<Trial> {
        let kernel = table.matmul(dtype, Layout::Plain)?;
        let encode = encode(dtype)?;
        let weight_stride = usize::try_from(dtype.row_len(columns as u64)?).ok()?;
        let input_stride = kernel.activation.row_len(columns)?;
        let wave: Vec<f32> = (0..columns).map(|at| (at as f32 * 0.37).sin()).collect();
        let mut row = vec![0; weight_stride];
        encode(&wave, &mut row);
        let mut input = vec![0; input_stride];
        match table.quantize(kernel.activation) {
            Some(quantize) => quantize(&wave, &mut input),
            None => input = wave.iter().flat_map(|x| x.to_ne_bytes()).collect(),
        }
        Some(Trial {
            kernel,
            weights: row.repeat(weight_rows),
            weight_stride,
            weight_rows,
            columns,
            inputs: input.repeat(inputs_len),
            input_stride,
            inputs_len,
            out: vec![0.0; weight_rows * inputs_len],
        })
    }

    /// Computes it once.
    pub fn run(&mut self) {
        let call = MatMul {
            weights: self.weights.as_ptr(),
            weight_stride: self.weight_stride,
            weight_rows: self.weight_rows,
            columns: self.columns,
            inputs: self.inputs.as_ptr(),
            input_stride: self.input_stride,
            inputs_len: self.inputs_len,
            out: self.out.as_mut_ptr(),
            out_stride: self.weight_rows,
            picks: std::ptr::null(),
        };
        // SAFETY: `new` made as many rows of weights, inputs and results, of just these lengths;
        // the quantizers never yield −128.
        unsafe { (self.kernel.run)(&call) }
    }

    /// Bytes of weights that a run reads.
    pub fn bytes(&self) -> u64 {
        self.weights.len() as u64
    }

    /// Operations of a run: a product and a sum for each weight and input.
    pub fn operations(&self) -> u64 {
        2 * (self.weight_rows * self.columns * self.inputs_len) as u64
    }

    /// The form in which the kernel takes its inputs.
    pub fn activation(&self) -> Activation {
        self.kernel.activation
    }
}
