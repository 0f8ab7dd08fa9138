//! Weights in fewer bits: what they mean, and how far they are from floats.

use rillm::internals::eval::Cut;
use rillm_formats::manifest::DType;

use crate::support::compare::compare;
use crate::support::evaluate::{all_outputs, open, open_bytes, runnable};
use crate::support::folder::TempFolder;
use crate::support::wide_llama::{self, logits, logits_cut};

/// RMS of the difference over RMS of the expected.
fn rms_error(actual: &[f32], expected: &[f32]) -> f64 {
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let pairs = actual.iter().zip(expected);
    let error = squares(&mut pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)));
    (error / squares(&mut expected.iter().map(|v| f64::from(*v)))).sqrt()
}

/// A block of 32 (256) activations is rounded to int8 of its largest: at about 2.1 (2.9)
/// deviations, a step is 1/60 (1/44) of a deviation and the RMS of the rounding 1/√12 of that,
/// 0.5% (0.7%) of a product. Seven products follow each other in every layer, their errors
/// independent; 0.7% · √15 = 2.7%, and half as much again for the growth from layer to layer.
const ACTIVATION_BOUND: f64 = 0.04;

/// The RMS of a uniform weight's own rounding: s/127 is a step of Q8_0 (0.45% of the weight's
/// RMS), s/32 of Q6_K (1.6%), s/8 of Q4_0 (6.3%), 2s/15 of Q4_K (6.7%), the last one more
/// through the rounding of its scales. Times √15 and half as much again as above.
const TYPE_BOUNDS: [(DType, f64); 4] = [
    (DType::Q8_0, 0.045),
    (DType::Q6_K, 0.12),
    (DType::Q4_0, 0.40),
    (DType::Q4_K, 0.45),
];

/// The types of [`TYPE_BOUNDS`], and two that lose too much of weights for a bound to say anything.
fn types() -> impl Iterator<Item = DType> {
    let bounded = TYPE_BOUNDS.into_iter().map(|(dtype, _)| dtype);
    bounded.chain([DType::Q1_0, DType::Q2_0])
}

#[test]
fn quantized_is_near_float() {
    let float = logits(&open_bytes(wide_llama::gguf().bytes()).unwrap());
    for (dtype, bound) in TYPE_BOUNDS {
        let quantized = logits(&open_bytes(wide_llama::gguf().bytes_as(dtype)).unwrap());
        let error = rms_error(&quantized.values, &float.values);
        println!("{}: {error:.4} of float's RMS", dtype.name());
        assert!(
            error <= bound,
            "{}: {error:.4}, {bound} allowed",
            dtype.name()
        );
        // A type that silently fell back to floats would be too good.
        assert!(error >= bound / 100.0, "{}: {error:.6}", dtype.name());
    }
}

/// Against floats of the very same weights only the activations are rounded.
#[test]
fn quantized_is_its_own_floats_but_for_activations() {
    for dtype in types() {
        let quantized = logits(&open_bytes(wide_llama::gguf().bytes_as(dtype)).unwrap());
        let float = logits(&open_bytes(wide_llama::gguf().rounded(dtype).bytes()).unwrap());
        let error = rms_error(&quantized.values, &float.values);
        println!("{}: {error:.4} of the same weights' RMS", dtype.name());
        assert!(error <= ACTIVATION_BOUND, "{}: {error:.4}", dtype.name());
    }
}

/// One row is computed as in a batch, so a cut changes nothing at all.
const CUT_BOUND: f64 = 0.0;

#[test]
fn quantized_whole_is_quantized_step_by_step() {
    for dtype in types() {
        let model = open_bytes(wide_llama::gguf().bytes_as(dtype)).unwrap();
        let whole = logits_cut(&model, Cut::Whole);
        for step in [1, 5] {
            let cut = logits_cut(&model, Cut::Batch(step));
            let error = compare(&cut.values, &whole.values, None);
            assert!(error <= CUT_BOUND, "{}: {error:.2e}", dtype.name());
        }
    }
}

/// Halves are widened exactly, so only the order of sums may differ from their float twin's.
const HALVES_BOUND: f64 = 1e-5;

#[test]
fn halves_are_their_float_twins() {
    for fixture in runnable() {
        for dtype in [DType::F16, DType::BF16] {
            let (stored, twin) = (TempFolder::new("stored"), TempFolder::new("twin"));
            fixture.write_folder_as(&stored, dtype);
            fixture.write_folder_rounded(&twin, dtype);
            let stored = all_outputs(&fixture, &open(&stored).unwrap());
            let twin = all_outputs(&fixture, &open(&twin).unwrap());
            for (stored, twin) in stored.iter().zip(&twin) {
                for (name, expected) in twin {
                    let error = compare(&stored[name].values, &expected.values, None);
                    let label = format!("{} as {}: {name}", fixture.name, dtype.name());
                    assert!(error <= HALVES_BOUND, "{label}: {error:.2e}");
                }
            }
        }
    }
}

/// Files mix types: what is large is quantized, the rest is not.
#[test]
fn types_mix_in_one_file() {
    let mixed = wide_llama::gguf().bytes_with(|name, floats| match (floats.shape.len(), name) {
        (1, _) => DType::F32,
        (_, "token_embd.weight") => DType::Q4_K,
        (_, "output.weight") => DType::Q6_K,
        (_, name) if name.contains("ffn_down") => DType::Q8_0,
        (_, name) if name.contains("attn_v") => DType::F16,
        (_, name) if name.contains("attn_k") => DType::BF16,
        _ => DType::Q4_0,
    });
    let float = logits(&open_bytes(wide_llama::gguf().bytes()).unwrap());
    let error = rms_error(&logits(&open_bytes(mixed).unwrap()).values, &float.values);
    assert!(error <= 0.45, "{error}");
}

/// Vectors may be stored in any type that can be decoded.
#[test]
fn vectors_decode_from_halves_and_blocks() {
    let norms = |dtype| {
        let file = wide_llama::gguf().bytes_with(|_, floats| match floats.shape.len() {
            1 => dtype,
            _ => DType::F32,
        });
        logits(&open_bytes(file).unwrap()).values
    };
    let float = norms(DType::F32);
    // Half a unit in the last place of 11 and 8 bits, and of 8 bits of the largest of a block;
    // five norms one after the other.
    for (dtype, bound) in [
        (DType::F16, 0.003),
        (DType::BF16, 0.02),
        (DType::Q8_0, 0.03),
    ] {
        let error = rms_error(&norms(dtype), &float);
        assert!(error > 0.0 && error <= bound, "{}: {error}", dtype.name());
    }
}
