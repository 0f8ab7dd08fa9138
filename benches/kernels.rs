//! Matrix products in bytes of weights per second: one input (decoding a token) and sixteen
//! (a prompt), for every table and type, on weights too large for the caches.

use criterion::{BenchmarkId, Criterion, Throughput};
use rillm::kernels::{Isa, Kernels, Layout, MatMul};
use rillm::quant::encode;
use rillm_formats::manifest::DType;

const COLUMNS: usize = 4096;
fn matmul(criterion: &mut Criterion) {
    let wave: Vec<f32> = (0..COLUMNS).map(|i| (i as f32 * 0.37).sin()).collect();
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
                let (Some(kernel), Some(encode), Some(weight_stride)) = (
                    table.matmul(dtype, Layout::Plain),
                    encode(dtype),
                    dtype.row_len(COLUMNS as u64),
                ) else {
                    continue;
                };
                let Some(input_stride) = kernel.activation.row_len(COLUMNS) else {
                    continue;
                };
                let mut row = vec![0; weight_stride as usize];
                encode(&wave, &mut row);
                let weights = row.repeat(weight_rows);
                let mut input = vec![0; input_stride];
                match table.quantize(kernel.activation) {
                    Some(quantize) => quantize(&wave, &mut input),
                    None => {
                        let bytes = wave.iter().flat_map(|x| x.to_le_bytes());
                        input = bytes.collect();
                    }
                }
                let inputs = input.repeat(inputs_len);
                let mut out = vec![0.0; weight_rows * inputs_len];
                let call = MatMul {
                    weights: weights.as_ptr(),
                    weight_stride: row.len(),
                    weight_rows,
                    columns: COLUMNS,
                    inputs: inputs.as_ptr(),
                    input_stride,
                    inputs_len,
                    out: out.as_mut_ptr(),
                    out_stride: weight_rows,
                    picks: std::ptr::null(),
                };
                group.throughput(Throughput::Bytes(weights.len() as u64));
                group.sample_size(10);
                group.bench_function(BenchmarkId::from_parameter(dtype.name()), |bencher| {
                    // SAFETY: the vectors outlive the call and have the sizes it names.
                    bencher.iter(|| unsafe { (kernel.run)(&call) });
                });
            }
        }
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    matmul(&mut criterion);
    criterion.final_summary();
}
