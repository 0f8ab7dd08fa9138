//! The crate `gemm` beside the float products of every table, on one thread: operations per second
//! by the number of inputs. ARCHITECTURE.md says what follows from it.

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};
use gemm::Parallelism;
use rillm::internals::kernels::{Isa, KernelBench, Kernels};
use rillm_formats::manifest::DType;
use std::time::Duration;

/// Weight rows and columns: of a matrix that the second cache does not hold.
const SHAPE: (usize, usize) = (2048, 2048);

/// Fewer rows for what is slow anyway.
const SLOW_ROWS: usize = 64;

/// Inputs: a token, a few sequences, prompts.
const INPUTS: [usize; 5] = [1, 4, 16, 64, 512];

const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

/// How weights are stored, and what makes a product of such.
type Make = fn(&Kernels, DType, (usize, usize), usize) -> Option<KernelBench>;
const STORED: [(&str, Make); 2] = [
    ("rows", KernelBench::new),
    ("transposed", KernelBench::transposed),
];

/// A product of float32 by `gemm`, weights being one row after the other or one column.
struct GemmBench {
    weights: Vec<f32>,
    inputs: Vec<f32>,
    out: Vec<f32>,
    transposed: bool,
}

impl GemmBench {
    fn new(inputs_len: usize, transposed: bool) -> GemmBench {
        let (rows, columns) = SHAPE;
        let wave = |len: usize| (0..len).map(|at| (at as f32 * 0.37).sin()).collect();
        GemmBench {
            weights: wave(rows * columns),
            inputs: wave(columns * inputs_len),
            out: vec![0.0; rows * inputs_len],
            transposed,
        }
    }

    fn operations(&self) -> u64 {
        2 * (self.out.len() * SHAPE.1) as u64
    }

    fn run(&mut self) {
        let (rows, columns) = SHAPE;
        let (column, row) = match self.transposed {
            true => (rows, 1),
            false => (1, columns),
        };
        // SAFETY: weights are rows × columns floats by these strides, inputs follow each other, and
        // there is a result for each row and input.
        unsafe {
            gemm::gemm(
                rows,
                self.out.len() / rows,
                columns,
                self.out.as_mut_ptr(),
                rows as isize,
                1,
                false,
                self.weights.as_ptr(),
                column as isize,
                row as isize,
                self.inputs.as_ptr(),
                columns as isize,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }
}

/// Those of every table.
fn tables(group: &mut BenchmarkGroup<'_, WallTime>, make: Make, inputs_len: usize) {
    for isa in Isa::available() {
        let Ok(table) = Kernels::select(Some(isa)) else {
            continue;
        };
        let shape = match isa {
            Isa::Scalar => (SLOW_ROWS, SHAPE.1),
            _ => SHAPE,
        };
        for dtype in FLOATS {
            let Some(mut bench) = make(table, dtype, shape, inputs_len) else {
                continue;
            };
            group.throughput(Throughput::Elements(bench.operations()));
            group.bench_function(BenchmarkId::new(isa.name(), dtype.name()), |bencher| {
                bencher.iter(|| bench.run());
            });
        }
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (stored, make) in STORED {
        for inputs_len in INPUTS {
            let mut group = criterion.benchmark_group(format!("floats/{stored}/{inputs_len}"));
            group.sample_size(10);
            group.warm_up_time(Duration::from_millis(50));
            group.measurement_time(Duration::from_millis(200));
            let mut bench = GemmBench::new(inputs_len, stored == "transposed");
            group.throughput(Throughput::Elements(bench.operations()));
            group.bench_function("gemm/F32", |bencher| bencher.iter(|| bench.run()));
            tables(&mut group, make, inputs_len);
        }
    }
    criterion.final_summary();
}
