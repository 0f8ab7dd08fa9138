//! Where weights lie, and how fast one input's product reads them: on a cache line or half a line
//! further (GGUF aligns tensors to 32 bytes), in small pages and in large ones, copied or mapped.
//! docs/limits.md says what came of it.

use criterion::{BenchmarkId, Criterion, Throughput};
use memmap2::{Mmap, MmapMut};
use rillm::internals::kernels::{Isa, Kernels, Layout, MatMul};
use rillm_formats::manifest::DType;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Deref;
use std::time::Duration;

const COLUMNS: usize = 2048;

/// Bytes of weights: more than caches hold.
const LEN: usize = 128 << 20;

/// Bytes from a cache line to where weights begin.
const OFFSETS: [usize; 3] = [0, 32, 2];

/// Room for them.
const SPARE: usize = 64;

const TYPES: [DType; 4] = [DType::F16, DType::Q8_0, DType::Q4_0, DType::Q4_K];

/// Bytes that any type has for weights: of a factor that lacks this bit a number becomes, below two.
fn bytes() -> Vec<u8> {
    let byte = |at: usize| {
        let [.., high] = (at as u32).wrapping_mul(0x9e37_79b1).to_le_bytes();
        high & !0x40
    };
    (0..LEN + SPARE).map(byte).collect()
}

/// Memory of the process's own, in large pages or in small ones, where the system lets one choose.
fn copied(bytes: &[u8], large: bool) -> io::Result<Box<dyn Deref<Target = [u8]>>> {
    let mut map = MmapMut::map_anon(bytes.len())?;
    #[cfg(target_os = "linux")]
    map.advise(match large {
        true => memmap2::Advice::HugePage,
        false => memmap2::Advice::NoHugePage,
    })?;
    let _ = large;
    map.copy_from_slice(bytes);
    Ok(Box::new(map))
}

/// A file that the system has in its cache.
fn mapped(bytes: &[u8]) -> io::Result<Box<dyn Deref<Target = [u8]>>> {
    let path = std::env::temp_dir().join(format!("rillm-bench-{}", std::process::id()));
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    let written = file.write_all(bytes).and_then(|()| file.flush());
    std::fs::remove_file(&path)?;
    written?;
    // SAFETY: the file has no name any more, and nobody else has it open.
    Ok(Box::new(unsafe { Mmap::map(&file)? }))
}

/// One input's product with all rows that there are.
struct Product<'a> {
    weights: &'a [u8],
    row_len: usize,
    inputs: Vec<u8>,
    out: Vec<f32>,
}

impl Product<'_> {
    fn run(&mut self, table: &Kernels, dtype: DType) {
        let kernel = table.matmul(dtype, Layout::Rows).expect("a product");
        let call = MatMul {
            weights: self.weights.as_ptr(),
            weight_stride: self.row_len,
            weight_rows: self.out.len(),
            columns: COLUMNS,
            inputs: self.inputs.as_ptr(),
            input_stride: self.inputs.len(),
            inputs_len: 1,
            out: self.out.as_mut_ptr(),
            out_stride: self.out.len(),
            picks: std::ptr::null(),
            tuning: kernel.tuning,
        };
        let _ready = table.thread_setup.map(|setup| setup.enter());
        // SAFETY: there are as many rows of weights as results, and an input of zeros, which are
        // activations of every form.
        unsafe { (kernel.run)(&call) }
    }
}

fn main() -> io::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let bytes = bytes();
    let places = [
        ("small pages", copied(&bytes, false)?),
        ("large pages", copied(&bytes, true)?),
        ("mapped", mapped(&bytes)?),
    ];
    for isa in Isa::available() {
        let Ok(table) = Kernels::select(Some(isa)) else {
            continue;
        };
        if matches!(isa, Isa::Scalar | Isa::Portable) {
            continue;
        }
        for dtype in TYPES {
            let mut group = criterion.benchmark_group(format!("memory/{isa}/{}", dtype.name()));
            group.sample_size(10);
            group.warm_up_time(Duration::from_millis(50));
            group.measurement_time(Duration::from_millis(200));
            let row_len = dtype.row_len(COLUMNS as u64).expect("whole blocks") as usize;
            let form = table
                .matmul(dtype, Layout::Rows)
                .expect("a product")
                .activation;
            let rows = LEN / row_len;
            group.throughput(Throughput::Bytes((rows * row_len) as u64));
            for (place, memory) in &places {
                for offset in OFFSETS {
                    let mut product = Product {
                        weights: &memory[offset..],
                        row_len,
                        inputs: vec![0; form.row_len(COLUMNS).expect("whole blocks")],
                        out: vec![0.0; rows],
                    };
                    group.bench_function(BenchmarkId::new(*place, offset), |bencher| {
                        bencher.iter(|| product.run(table, dtype));
                    });
                }
            }
        }
    }
    criterion.final_summary();
    Ok(())
}
