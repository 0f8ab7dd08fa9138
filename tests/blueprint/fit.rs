//! What fits into so much memory.

use rillm::internals::BlueprintParts;
use rillm::quantize::Mix;
use rillm::{Blueprint, Fitting, SessionOptions};
use serde_json::json;

use crate::support::evaluate::options;

fn of(shape: &str) -> Blueprint {
    let mix: Mix = "f16".parse().unwrap();
    Blueprint::from_shape(&shape.parse().unwrap(), mix, options()).unwrap()
}

#[test]
fn the_longest_context_fits_and_the_next_page_does_not() {
    let planned = of("tiny-llama");
    let asked = SessionOptions::new();
    for context in [64, 128, 640, 1984] {
        let memory = planned.total(asked.context(context)).unwrap();
        for (more, positions) in [(0, context), (1, context), (-1, context - 64)] {
            let memory = memory.saturating_add_signed(more);
            let expected = match positions {
                0 => Fitting::Nothing,
                positions => Fitting::Positions(positions),
            };
            assert_eq!(planned.longest_context(asked, memory).unwrap(), expected);
        }
    }
    let trained = planned.context().unwrap();
    let all = planned.longest_context(asked, 1 << 40).unwrap();
    assert_eq!(all, Fitting::Trained(trained));
}

#[test]
fn states_of_constant_size_fit_at_any_length() {
    let planned = of("tiny-mamba");
    let asked = SessionOptions::new();
    let memory = planned.total(asked).unwrap();
    let fitting = |memory| planned.longest_context(asked, memory).unwrap();
    assert_eq!(fitting(memory), Fitting::AnyLength);
    assert_eq!(fitting(memory - 1), Fitting::Nothing);
}

#[test]
fn the_best_mix_is_the_largest_that_fits() {
    let planned = of("tiny-llama");
    let asked = SessionOptions::new().context(256);
    let total = |mix: &str| {
        let quantized = planned.quantized(mix.parse().unwrap()).unwrap();
        quantized.total(asked).unwrap()
    };
    for (mix, expected) in [("q8_0", "Q8_0"), ("q6_k", "Q6_K"), ("q4_k_m", "Q4_K_M")] {
        let best = planned.best_mix(asked, total(mix)).unwrap().unwrap();
        assert_eq!(best.total, total(mix));
        assert_eq!(best.mix.name, expected);
    }
    // What is smaller than all that any model's weights can become is for none that was not trained for it.
    let smallest = total("q2_k_s");
    assert!(total("q1_0") < smallest && total("mxfp4") > smallest);
    let best = planned.best_mix(asked, smallest - 1).unwrap();
    assert!(best.is_none(), "{:?}", best.map(|best| best.mix.name));
    // No more than there is.
    let best = planned.best_mix(asked, 1 << 40).unwrap().unwrap();
    assert_eq!(best.blueprint.weights().mapped, planned.weights().mapped);
    assert!(planned.best_mix(asked, 1 << 10).unwrap().is_none());
}

/// What is stored in 16 bits stays as it is where there is room, though its vectors become floats.
#[test]
fn weights_of_sixteen_bits_stay_what_they_are() {
    for dtype in ["bfloat16", "float16"] {
        let config = json!({
            "model_type": "llama", "hidden_size": 512, "intermediate_size": 1024,
            "num_hidden_layers": 2, "num_attention_heads": 8, "vocab_size": 1024,
            "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "dtype": dtype,
        });
        let planned = Blueprint::from_config(config.to_string().as_bytes(), options()).unwrap();
        let best = planned
            .best_mix(SessionOptions::new(), 1 << 40)
            .unwrap()
            .unwrap();
        let expected = if dtype == "float16" { "F16" } else { "BF16" };
        assert_eq!(best.mix.name, expected);
    }
}
