//! For every table: matrix products in bytes of weights per second, with one input (decoding a
//! token) and sixteen (a prompt), on weights too large for the caches; attention over pages that
//! memory holds in bytes, and over those that caches hold in operations; states in bytes.

use criterion::{BenchmarkId, Criterion, Throughput};
use rillm::internals::kernels::{
    AttentionBench, Isa, KernelBench, Kernels, KvType, StateBench, StateKernel,
};
use rillm_formats::manifest::DType;

const COLUMNS: usize = 4096;

fn matmul(criterion: &mut Criterion) {
    for isa in Isa::available() {
        let Ok(table) = Kernels::select(Some(isa)) else {
            continue;
        };
        for inputs_len in [1, 16] {
            let mut group = criterion.benchmark_group(format!("matmul/{isa}/{inputs_len}"));
            // A decoded token should find its weights in memory, not in a cache.
            let weight_rows = match (isa, inputs_len) {
                (Isa::Scalar | Isa::Portable, _) => 1024,
                (_, 1) => 32768,
                _ => 2048,
            };
            for dtype in DType::ALL.iter().copied() {
                let bench = KernelBench::new(table, dtype, (weight_rows, COLUMNS), inputs_len);
                let Some(mut bench) = bench else {
                    continue;
                };
                group.throughput(Throughput::Bytes(bench.bytes()));
                group.sample_size(10);
                group.bench_function(BenchmarkId::from_parameter(dtype.name()), |bencher| {
                    bencher.iter(|| bench.run());
                });
            }
        }
    }
}

/// Queries of four heads that share their keys on many pages, and those of a prompt on a few.
fn attention(criterion: &mut Criterion) {
    for isa in Isa::available() {
        let Ok(table) = Kernels::select(Some(isa)) else {
            continue;
        };
        let pages = match isa {
            Isa::Scalar | Isa::Portable => 64,
            _ => 4096,
        };
        for (queries, pages) in [(4, pages), (128, 4)] {
            let mut group = criterion.benchmark_group(format!("attend/{isa}/{queries}"));
            group.sample_size(10);
            for &kv_type in KvType::ALL {
                let Some(mut bench) = AttentionBench::new(kv_type, 64, queries, pages) else {
                    continue;
                };
                group.throughput(match queries {
                    4 => Throughput::Bytes(bench.bytes()),
                    _ => Throughput::Elements(bench.operations()),
                });
                group.bench_function(BenchmarkId::from_parameter(kv_type), |bencher| {
                    bencher.iter(|| bench.run(table));
                });
            }
        }
    }
}

/// One row through states that memory holds, and many through one.
fn states(criterion: &mut Criterion) {
    for isa in Isa::available() {
        let Ok(table) = Kernels::select(Some(isa)) else {
            continue;
        };
        for rows in [1, 32] {
            let mut group = criterion.benchmark_group(format!("state/{isa}/{rows}"));
            group.sample_size(10);
            for &kernel in StateKernel::ALL {
                let bytes = match (isa, rows) {
                    (_, 32) => 1,
                    (Isa::Scalar | Isa::Portable, _) => 1 << 20,
                    _ => 64 << 20,
                };
                let mut bench = StateBench::new(kernel, bytes, rows);
                group.throughput(match rows {
                    1 => Throughput::Bytes(bench.bytes()),
                    _ => Throughput::Elements(bench.elements()),
                });
                group.bench_function(BenchmarkId::from_parameter(kernel.name()), |bencher| {
                    bencher.iter(|| bench.run(table));
                });
            }
        }
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    matmul(&mut criterion);
    attention(&mut criterion);
    states(&mut criterion);
    criterion.final_summary();
}
