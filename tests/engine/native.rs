//! Products of the CPU's own 16-bit arithmetic: how near they are to the reference, that they are
//! chosen by name alone, and that no cut of the input changes a bit of them.

use rillm::internals::ModelParts;
use rillm::internals::eval::Cut;
use rillm::{Model, Precision, Session, SessionOptions};
use rillm_formats::manifest::DType;

use crate::support::compare::compare;
use crate::support::evaluate::{Outputs, all_outputs, open_bytes, options, runnable};
use crate::support::folder::TempFolder;
use crate::support::wide_llama::{self, logits, logits_cut};

const HALVES: [DType; 2] = [DType::F16, DType::BF16];

/// A LLaMA with weights of a type, at both precisions; `None` where the CPU has but one.
fn both(dtype: DType) -> Option<[Model; 2]> {
    let [reference, native] = Precision::ALL else {
        unreachable!("two of them");
    };
    let open = |&precision: &Precision| {
        let options = options().precision(precision);
        Model::from_bytes(wide_llama::gguf().bytes_as(dtype), options).expect("a model")
    };
    let both = [open(reference), open(native)];
    (both[1].precision() == *native).then_some(both)
}

#[test]
fn what_is_not_asked_for_is_the_reference() {
    for dtype in HALVES.into_iter().chain([DType::F32, DType::Q8_0]) {
        let bytes = wide_llama::gguf().bytes_as(dtype);
        let usual = open_bytes(bytes.clone()).expect("a model");
        assert_eq!(usual.precision(), Precision::Reference);
        let native = options().precision(Precision::Native);
        let native = Model::from_bytes(bytes, native).expect("a model");
        if !HALVES.contains(&dtype) {
            // Nothing is rounded that was not before.
            assert_eq!(native.precision(), Precision::Reference, "{dtype:?}");
            assert_eq!(native.fingerprint(), usual.fingerprint());
            assert_eq!(logits(&native).values, logits(&usual).values, "{dtype:?}");
        }
    }
}

#[test]
fn native_has_one_result_however_the_input_is_cut() {
    for dtype in HALVES {
        let Some([reference, native]) = both(dtype) else {
            continue;
        };
        let whole = logits(&native);
        assert_ne!(whole.values, logits(&reference).values, "{dtype:?}");
        for step in [1, 2, 5] {
            let cut = logits_cut(&native, Cut::Batch(step));
            assert_eq!(cut.values, whole.values, "{dtype:?}, {step} at a time");
        }
    }
}

/// What one precision has computed the other does not go on with.
#[test]
fn snapshots_of_one_precision_are_refused_by_the_other() {
    for dtype in HALVES {
        let Some(both) = both(dtype) else {
            continue;
        };
        let options = SessionOptions::new().context(32);
        for (of, to) in [(0, 1), (1, 0)] {
            let mut session = Session::new(&both[of], options).expect("a session");
            session.prefill(0, &[1, 2, 3]).expect("a prompt");
            let mut bytes = Vec::new();
            let written = session.snapshot(0, &[], &mut bytes);
            written.expect("a snapshot");
            let mut same = Session::new(&both[of], options).expect("a session");
            same.restore(0, &mut &bytes[..]).expect("its own");
            let mut other = Session::new(&both[to], options).expect("a session");
            let error = other.restore(0, &mut &bytes[..]).expect_err("the other's");
            let expected = format!(
                "snapshot was computed at precision {}, this model computes at {}",
                both[of].precision(),
                both[to].precision()
            );
            assert_eq!(error.to_string(), expected);
        }
    }
}

/// The root of the mean square of all differences, each of its output's scale, and the largest.
fn errors(found: &[Outputs], expected: &[Outputs]) -> (f64, f64) {
    let (mut squares, mut count, mut largest) = (0.0, 0, 0.0_f64);
    for (found, expected) in found.iter().zip(expected) {
        for (name, expected) in expected {
            let (found, expected) = (&found[name].values, &expected.values);
            let all = expected.iter().map(|&value| f64::from(value).powi(2));
            let scale = (all.sum::<f64>() / expected.len() as f64).sqrt();
            let pairs = found.iter().zip(expected);
            let wrong = pairs.map(|(a, b)| ((f64::from(*a) - f64::from(*b)) / scale).powi(2));
            squares += wrong.sum::<f64>();
            count += expected.len();
            largest = largest.max(compare(found, expected, None));
        }
    }
    ((squares / count as f64).sqrt(), largest)
}

/// How far `native` may be from the reference, in what a model's outputs change when its weights are
/// rounded to bf16: that errs by as much, in the same products, and grows alike from layer to layer.
/// Activations that are rounded with F16 weights make √2 of it, and a model is one sample of each.
const NATIVE_BOUND: f64 = 4.0;

#[test]
fn native_is_as_near_as_rounded_weights() {
    for fixture in runnable() {
        let outputs = |dtype, precision| {
            let folder = TempFolder::new("halves");
            fixture.write_folder_as(&folder, dtype);
            let model = Model::open(&folder, options().precision(precision));
            let model = model.expect("a model");
            (all_outputs(&fixture, &model), model)
        };
        let (exact, _) = outputs(DType::F32, Precision::Reference);
        let rounded = HALVES.map(|dtype| outputs(dtype, Precision::Reference).0);
        let (weights, _) = errors(&rounded[1], &exact);
        for (dtype, reference) in HALVES.into_iter().zip(&rounded) {
            let (found, native) = outputs(dtype, Precision::Native);
            if native.precision() != Precision::Native {
                continue;
            }
            let (error, largest) = errors(&found, reference);
            let label = format!("{} as {}", fixture.name, dtype.name());
            println!("{label}: {error:.5}, at most {largest:.5}; weights {weights:.5}");
            // Where rows choose experts, a choice that was near becomes another.
            let chooses = native.parameters().experts.is_some();
            assert!(
                chooses || error <= NATIVE_BOUND * weights,
                "{label}: {error:.5}"
            );
        }
    }
}
