//! Kernels on made-up rows, for whoever wants to time them.

mod attention;
pub(super) mod peak;
mod state;

pub use attention::AttentionBench;
pub use peak::{PeakBench, STREAMS};
pub use state::{StateBench, StateKernel};

use super::{Activation, Kernels, Layout, MatMul, MatMulKernel, ThreadSetup, Tuning};
use crate::quant::encode;
use rillm_formats::manifest::DType;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Which product of a table is meant.
type Choose = fn(&Kernels, DType) -> Option<MatMulKernel>;

/// A matrix product with all that it reads and writes.
#[derive(Debug)]
pub struct KernelBench {
    choose: Choose,
    dtype: DType,
    kernel: MatMulKernel,
    thread_setup: Option<ThreadSetup>,
    weights: Arc<CacheLines<u8>>,
    weight_stride: usize,
    weight_rows: usize,
    columns: usize,
    inputs: CacheLines<u8>,
    input_stride: usize,
    inputs_len: usize,
    out: CacheLines<f32>,
}

impl KernelBench {
    /// The product of a type in a table, on so many weight rows of so many columns and so many
    /// inputs. `None` if there is no such product, or the columns are not whole blocks.
    pub fn new(
        table: &Kernels,
        dtype: DType,
        (weight_rows, columns): (usize, usize),
        inputs_len: usize,
    ) -> Option<KernelBench> {
        let choose: Choose = |table, dtype| table.matmul(dtype, Layout::Rows);
        choose(table, dtype)?;
        let weights = stored(dtype, (weight_rows, columns))?;
        let shape = (weight_rows, columns);
        KernelBench::of(table, (choose, dtype), weights, shape, inputs_len)
    }

    /// The same of the CPU's own 16-bit arithmetic.
    pub fn native(
        table: &Kernels,
        dtype: DType,
        (weight_rows, columns): (usize, usize),
        inputs_len: usize,
    ) -> Option<KernelBench> {
        let choose: Choose = |table, dtype| table.native(dtype, Layout::Rows);
        choose(table, dtype)?;
        let weights = stored(dtype, (weight_rows, columns))?;
        let shape = (weight_rows, columns);
        KernelBench::of(table, (choose, dtype), weights, shape, inputs_len)
    }

    /// The same of weights that are stored `[columns][weight_rows]`.
    pub fn transposed(
        table: &Kernels,
        dtype: DType,
        (weight_rows, columns): (usize, usize),
        inputs_len: usize,
    ) -> Option<KernelBench> {
        let choose: Choose = |table, dtype| table.matmul(dtype, Layout::Transposed);
        choose(table, dtype)?;
        let weights = stored(dtype, (columns, weight_rows))?;
        let shape = (weight_rows, columns);
        KernelBench::of(table, (choose, dtype), weights, shape, inputs_len)
    }

    /// The same product of another table, which reads the very same weights. `None` if there is
    /// none.
    pub fn by(&self, table: &Kernels) -> Option<KernelBench> {
        let weights = (Arc::clone(&self.weights), self.weight_stride);
        let shape = (self.weight_rows, self.columns);
        let product = (self.choose, self.dtype);
        KernelBench::of(table, product, weights, shape, self.inputs_len)
    }

    fn of(
        table: &Kernels,
        (choose, dtype): (Choose, DType),
        (weights, weight_stride): (Arc<CacheLines<u8>>, usize),
        (weight_rows, columns): (usize, usize),
        inputs_len: usize,
    ) -> Option<KernelBench> {
        let kernel = choose(table, dtype)?;
        let input_stride = kernel.activation.row_len(columns)?;
        let wave = wave(columns);
        let mut input = vec![0; input_stride];
        match table.quantize(kernel.activation) {
            Some(quantize) => quantize(&wave, &mut input),
            None => input = wave.iter().flat_map(|x| x.to_ne_bytes()).collect(),
        }
        Some(KernelBench {
            choose,
            dtype,
            kernel,
            thread_setup: table.thread_setup,
            weights,
            weight_stride,
            weight_rows,
            columns,
            inputs: CacheLines::repeat(&input, inputs_len),
            input_stride,
            inputs_len,
            out: CacheLines::repeat(&[0.0], weight_rows * inputs_len),
        })
    }

    /// The same with another tuning.
    #[must_use]
    pub fn tuned(mut self, tuning: Tuning) -> KernelBench {
        self.kernel.tuning = tuning;
        self
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
            tuning: self.kernel.tuning,
        };
        let _ready = self.thread_setup.map(ThreadSetup::enter);
        // SAFETY: as many rows of weights, inputs and results were made, of just these lengths;
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

fn wave(len: usize) -> Vec<f32> {
    (0..len).map(|at| (at as f32 * 0.37).sin()).collect()
}

/// So many rows of so many weights, all alike, and the length of one. `None` if they are not whole
/// blocks.
fn stored(dtype: DType, (rows, elements): (usize, usize)) -> Option<(Arc<CacheLines<u8>>, usize)> {
    let len = usize::try_from(dtype.row_len(elements as u64)?).ok()?;
    let mut row = vec![0; len];
    match encode(dtype) {
        Some(encode) => encode(&wave(elements), &mut row),
        // Any bytes are weights. A factor of such as lack this bit is a number, and below two.
        None => {
            for (at, byte) in row.iter_mut().enumerate() {
                let [.., high] = (at as u32).wrapping_mul(0x9e37_79b1).to_le_bytes();
                *byte = high & !0x40;
            }
        }
    }
    Some((Arc::new(CacheLines::repeat(&row, rows)), len))
}

/// Values that begin with a cache line, as the engine's own do: where an allocation begins by
/// chance, one table's loads would split lines and another's would not.
#[derive(Debug)]
struct CacheLines<T> {
    /// Of which the first ones are nobody's.
    all: Vec<T>,
    skip: usize,
}

impl<T: Copy + Default> CacheLines<T> {
    /// So many times the same ones.
    fn repeat(values: &[T], times: usize) -> CacheLines<T> {
        const LINE: usize = 64;
        let mut all: Vec<T> = Vec::with_capacity(values.len() * times + LINE / size_of::<T>());
        let skip = all.as_ptr().align_offset(LINE).min(LINE / size_of::<T>());
        all.resize(skip, T::default());
        for _ in 0..times {
            all.extend_from_slice(values);
        }
        CacheLines { all, skip }
    }
}

impl<T> Deref for CacheLines<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.all[self.skip..]
    }
}

impl<T> DerefMut for CacheLines<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.all[self.skip..]
    }
}
