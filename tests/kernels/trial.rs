//! What `bench --kernels` times: made-up rows that every table can work on.

use rillm::kernels::{AttentionTrial, HistoryType, StateKernel, StateTrial};

use super::tables;

#[test]
fn every_table_runs_every_trial() {
    for table in tables() {
        for &history in HistoryType::ALL {
            let mut trial = AttentionTrial::new(history, 64, 5, 3).expect("it fits");
            trial.run(table);
            let row = history.row_len(64).expect("a length") as u64;
            assert_eq!(trial.bytes(), 3 * 64 * 2 * row);
            assert_eq!(trial.operations(), 5 * 3 * 64 * 64 * 4);
        }
        for &kernel in StateKernel::ALL {
            for rows in [1, 32] {
                // Several states.
                let mut trial = StateTrial::new(kernel, 1 << 17, rows);
                trial.run(table);
                assert!(trial.bytes() >= 1 << 17);
                assert_eq!(trial.elements(), trial.bytes() / 4 * rows as u64);
            }
        }
    }
}

#[test]
fn a_trial_too_large_is_refused() {
    assert!(AttentionTrial::new(HistoryType::F32, usize::MAX, 1, 1).is_none());
}
