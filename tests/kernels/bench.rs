//! What `bench --kernels` times: made-up rows that every table can work on.

use rillm::internals::kernels::{
    Activation, AttentionBench, Isa, KernelBench, KvType, Layout, PeakBench, STREAMS, StateBench,
    StateKernel,
};
use rillm_formats::manifest::DType;

use super::tables;

#[test]
fn every_product_of_every_table_has_a_bench() {
    for table in tables() {
        for &dtype in DType::ALL {
            let many = [
                (
                    Activation::of(dtype),
                    KernelBench::new as fn(_, _, _, _) -> _,
                ),
                (
                    table
                        .matmul(dtype, Layout::Transposed)
                        .map(|kernel| kernel.activation),
                    KernelBench::transposed,
                ),
                (
                    table
                        .native(dtype, Layout::Rows)
                        .map(|kernel| kernel.activation),
                    KernelBench::native,
                ),
            ];
            for (form, make) in many {
                let bench: Option<KernelBench> = make(table, dtype, (19, 512), 5);
                let Some(mut bench) = bench else {
                    assert_eq!(form, None, "{dtype:?}");
                    continue;
                };
                bench.run();
                assert_eq!(Some(bench.activation()), form, "{dtype:?}");
                assert_eq!(bench.operations(), 2 * 19 * 512 * 5);
                let elements = bench.bytes() / dtype.block_len() * dtype.block_elements();
                assert_eq!(elements, 19 * 512, "{dtype:?}");
                let mut same = bench.by(table).expect("the table has it");
                same.run();
                assert_eq!(same.bytes(), bench.bytes());
            }
        }
    }
}

#[test]
fn every_table_runs_every_bench() {
    for table in tables() {
        for &kv_type in KvType::ALL {
            let mut bench = AttentionBench::new(kv_type, 64, 5, 3).expect("it fits");
            bench.run(table);
            let row = kv_type.row_len(64).expect("a length") as u64;
            assert_eq!(bench.bytes(), 3 * 64 * 2 * row);
            assert_eq!(bench.operations(), 5 * 3 * 64 * 64 * 4);
        }
        for &kernel in StateKernel::ALL {
            for rows in [1, 32] {
                // Several states.
                let mut bench = StateBench::new(kernel, 1 << 17, rows);
                bench.run(table);
                assert!(bench.bytes() >= 1 << 17);
                assert_eq!(bench.elements(), bench.bytes() / 4 * rows as u64);
            }
        }
    }
}

#[test]
fn a_bench_too_large_is_refused() {
    assert!(AttentionBench::new(KvType::F32, usize::MAX, 1, 1).is_none());
}

#[test]
fn every_byte_is_read() {
    for &isa in Isa::ALL {
        let peak = PeakBench::of(isa);
        let mut bytes = vec![0; 64 * STREAMS * 5];
        assert_eq!((peak.read)(&bytes), 0);
        for at in (0..bytes.len()).step_by(67) {
            bytes[at] = 1;
            assert_ne!((peak.read)(&bytes), 0, "{isa} {at}");
            bytes[at] = 0;
        }
    }
}
