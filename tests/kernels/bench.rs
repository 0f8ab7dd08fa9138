//! What `bench --kernels` times: made-up rows that every table can work on.

use rillm::internals::kernels::{
    Activation, AttentionBench, KernelBench, KvType, Layout, StateBench, StateKernel,
};
use rillm_formats::manifest::DType;

use super::tables;

#[test]
fn every_product_of_every_table_has_a_trial() {
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
            ];
            for (form, make) in many {
                let trial: Option<KernelBench> = make(table, dtype, (19, 512), 5);
                let Some(mut trial) = trial else {
                    assert_eq!(form, None, "{dtype:?}");
                    continue;
                };
                trial.run();
                assert_eq!(Some(trial.activation()), form, "{dtype:?}");
                assert_eq!(trial.operations(), 2 * 19 * 512 * 5);
                let elements = trial.bytes() / dtype.block_len() * dtype.block_elements();
                assert_eq!(elements, 19 * 512, "{dtype:?}");
            }
        }
    }
}

#[test]
fn every_table_runs_every_trial() {
    for table in tables() {
        for &history in KvType::ALL {
            let mut trial = AttentionBench::new(history, 64, 5, 3).expect("it fits");
            trial.run(table);
            let row = history.row_len(64).expect("a length") as u64;
            assert_eq!(trial.bytes(), 3 * 64 * 2 * row);
            assert_eq!(trial.operations(), 5 * 3 * 64 * 64 * 4);
        }
        for &kernel in StateKernel::ALL {
            for rows in [1, 32] {
                // Several states.
                let mut trial = StateBench::new(kernel, 1 << 17, rows);
                trial.run(table);
                assert!(trial.bytes() >= 1 << 17);
                assert_eq!(trial.elements(), trial.bytes() / 4 * rows as u64);
            }
        }
    }
}

#[test]
fn a_trial_too_large_is_refused() {
    assert!(AttentionBench::new(KvType::F32, usize::MAX, 1, 1).is_none());
}
