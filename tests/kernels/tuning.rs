//! How a CPU likes to be asked for weights: chosen by its maker, or by a clock, and without a trace in
//! the results (which `matmul` checks).

use super::tables;
use rillm::internals::kernels::{
    Isa, Kernels, Maker, PackFrom, TunedRate, Tuning, fastest, time_packing, time_tunings,
};
use rillm_formats::manifest::DType;
use std::time::Duration;

#[test]
fn known_makers_have_a_candidate_of_their_own() {
    let tuning = |maker| Tuning::of_maker(Isa::Avx512, maker);
    let zen = tuning(Maker::Amd { family: 0x1a }).expect("measured");
    let xeon = tuning(Maker::Intel).expect("measured");
    // Measured in November 2026: what a Zen 5 reads fastest, a Xeon reads at a third.
    assert!(zen.past_caches && !xeon.past_caches);
    assert_eq!(tuning(Maker::Amd { family: 0x1b }), None, "nobody has one");
    assert_eq!(tuning(Maker::Other), None);
    for &isa in Isa::ALL {
        let makers = [Maker::Intel, Maker::Amd { family: 0x19 }, Maker::Other];
        for known in makers.map(|maker| Tuning::of_maker(isa, maker)) {
            let listed = |known| Tuning::candidates(isa).contains(&known);
            assert!(known.is_none_or(listed), "{isa}: {known:?}");
        }
        assert!(Tuning::candidates(isa).contains(&Tuning::of(isa)), "{isa}");
    }
}

/// What a table's candidates come to on so many rows of zeros.
fn timed(table: &Kernels, rows: usize) -> Option<Vec<TunedRate>> {
    const COLUMNS: usize = 1024;
    let row_len = DType::Q8_0.row_len(COLUMNS as u64).expect("whole blocks") as usize;
    let weights = vec![0u8; rows * row_len];
    time_tunings(table, DType::Q8_0, (&weights, COLUMNS), Duration::ZERO)
}

#[test]
fn every_candidate_has_its_turns() {
    for table in tables() {
        let candidates = Tuning::candidates(table.isa);
        assert_eq!(timed(table, 64), None, "{}: rows in a cache", table.isa);
        let Some(rates) = timed(table, 40_000) else {
            assert_eq!(candidates.len(), 1, "{}", table.isa);
            continue;
        };
        let tunings: Vec<_> = rates.iter().map(|rate| rate.tuning).collect();
        assert_eq!(tunings, candidates, "{}", table.isa);
        assert!(rates.iter().all(|rate| rate.rate > 0.0));
        assert!(candidates.contains(&fastest(&rates).expect("some")));
    }
}

#[test]
fn packing_is_timed_on_rows_that_no_cache_holds() {
    let row_len = DType::Q8_0.row_len(1024).expect("whole blocks") as usize;
    let weights = vec![0u8; 20_000 * row_len];
    for table in tables() {
        let time = |weights| {
            let rows = (weights, 1024);
            time_packing(table, DType::Q8_0, rows, Tuning::of(table.isa))
        };
        let inputs = time(&weights[..]).expect("enough rows");
        assert!((2..=9).contains(&inputs), "{}: {inputs}", table.isa);
        assert_eq!(time(&weights[..1000 * row_len]), None, "{}", table.isa);
    }
}

/// A type's number is that of what its weights take.
#[test]
fn types_of_a_size_pack_alike() {
    let mut from = PackFrom {
        floats: 5,
        bytes: 6,
        parts: 7,
    };
    for (inputs, types) in [
        (5, &[DType::F32, DType::F16, DType::BF16][..]),
        (6, &[DType::Q8_0]),
        (7, &[DType::Q4_0, DType::Q6_K, DType::NVFP4, DType::IQ1_S]),
    ] {
        for &dtype in types {
            assert_eq!(*from.of(dtype), inputs, "{dtype:?}");
        }
    }
}

#[test]
fn rows_that_are_none_are_not_timed() {
    let table = tables().last().expect("some table");
    let weights = vec![0u8; 64 << 20];
    for (dtype, columns) in [
        (DType::Q8_0, 33),
        (DType::Q4_K, 0),
        (DType::F32, usize::MAX),
    ] {
        let weights = (&weights[..], columns);
        assert_eq!(time_tunings(table, dtype, weights, Duration::ZERO), None);
    }
}

#[test]
fn the_first_of_those_as_fast_as_the_fastest_is_taken() {
    let tunings = Tuning::candidates(Isa::Avx512);
    let rates = |rates: &[f64]| -> Vec<TunedRate> {
        let rates = tunings.iter().zip(rates);
        rates
            .map(|(&tuning, &rate)| TunedRate { tuning, rate })
            .collect()
    };
    assert_eq!(
        fastest(&rates(&[5.0, 9.9, 10.0, 6.0, 3.0])),
        Some(tunings[1])
    );
    assert_eq!(
        fastest(&rates(&[5.0, 9.0, 10.0, 6.0, 3.0])),
        Some(tunings[2])
    );
    assert_eq!(fastest(&[]), None);
}
