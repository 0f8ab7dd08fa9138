//! Latent attention: what is kept of a position, and GGUF files of both layouts.

use rillm::internals::ModelParts;
use rillm::internals::kernels::{KvType, PAGE};
use rillm::internals::state::{StateCapacity, StateLayout};
use rillm_formats::hf_config;
use rillm_formats::manifest::{DType, Metadata};
use serde_json::json;

use crate::support::evaluate::{check_all, open, open_bytes};
use crate::support::fixture::{Fixture, Weight};
use crate::support::latent_attention::expanded;
use crate::support::to_gguf::Gguf;

const FIXTURES: [&str; 6] = [
    "deepseek_v2",
    "deepseek_v2_lite",
    "deepseek_v3",
    "deepseek_v3_halves",
    "deepseek_kimi",
    "deepseek_glm",
];

fn config(fixture: &Fixture) -> Metadata {
    let config = fixture.config().to_string();
    hf_config::parse(config.as_bytes())
        .expect("a config")
        .metadata
}

#[test]
fn files_with_one_matrix_for_keys_and_values_run() {
    for name in FIXTURES {
        let fixture = Fixture::load(name);
        let mut gguf = Gguf::of(&fixture);
        expanded(&config(&fixture), &mut gguf);
        assert!(gguf.tensors.contains_key("blk.0.attn_kv_b.weight"));
        check_all(&fixture, &open_bytes(gguf.bytes()).expect(name));
    }
}

/// Keys' rows are decoded one by one where the matrix is not turned: in any type.
#[test]
fn both_layouts_are_one_model_in_every_type() {
    for name in ["deepseek_v2_lite", "deepseek_v3"] {
        let fixture = Fixture::load(name);
        for dtype in [DType::F16, DType::BF16] {
            let rounded = Gguf::of(&fixture).rounded(dtype);
            let mut old = rounded.clone();
            expanded(&config(&fixture), &mut old);
            let [new, old] =
                [&rounded, &old].map(|gguf| open_bytes(gguf.bytes_as(dtype)).expect(name));
            let inputs = &fixture.cases[1].input;
            let run = |model| {
                let whole = rillm::internals::eval::Cut::Whole;
                crate::support::evaluate::evaluate(model, inputs, whole).expect(name)
            };
            let (new, old) = (run(&new), run(&old));
            for (output, tensor) in &new {
                let scale = tensor.values.iter().map(|x| x * x).sum::<f32>();
                let scale = (scale / tensor.values.len() as f32).sqrt();
                for (a, b) in tensor.values.iter().zip(&old[output].values) {
                    assert!(
                        (a - b).abs() <= 1e-4 * scale,
                        "{name} {dtype:?}: {a} and {b}"
                    );
                }
            }
        }
    }
}

/// DeepSeek-V2's table 1: (rank + rotated elements) for each layer, whatever the heads.
#[test]
fn a_position_takes_a_latent_and_a_key() {
    for name in FIXTURES {
        let fixture = Fixture::load(name);
        let (folder, config) = (fixture.folder(), fixture.config());
        let model = open(&folder).expect(name);
        let count = |key: &str| config[key].as_u64().expect(key) as usize;
        let kept = count("kv_lora_rank") + count("qk_rope_head_dim");
        let capacity = StateCapacity {
            context: 2 * PAGE,
            sequences: 1,
            batch: PAGE,
            checkpoints: 0,
            source: 0,
            kv_type: KvType::F16,
        };
        let layout = StateLayout::new(model.states(), capacity).expect(name);
        let positions = size_of::<u64>();
        let expected = PAGE * (count("num_hidden_layers") * kept * 2 + positions);
        assert_eq!(layout.kv_cache_len(PAGE), expected, "{name}");
    }
}

/// Layers behind the last guess tokens after the next one, and are left out.
#[test]
fn layers_that_guess_ahead_are_left_out() {
    let fixture = Fixture::load("deepseek_v3");
    let mut config = fixture.config();
    config["num_nextn_predict_layers"] = json!(1);
    let ahead = [
        "eh_proj.weight",
        "enorm.weight",
        "self_attn.q_a_proj.weight",
    ];
    let more = || {
        let more = ahead.map(|name| Weight {
            name: format!("model.layers.3.{name}"),
            shape: vec![4],
            values: vec![0.5; 4],
        });
        more.into()
    };
    let folder = fixture.folder_with(&config, more());
    let model = open(&folder).expect("a model");
    assert!(
        model
            .notes()
            .iter()
            .any(|note| note.contains("from number 3"))
    );
    check_all(&fixture, &model);
    config["num_nextn_predict_layers"] = json!(0);
    let folder = fixture.folder_with(&config, more());
    // More than are counted, which transformers leaves out as well.
    let model = open(&folder).expect("a model");
    let notes = model.notes();
    assert!(
        notes.iter().any(|note| note.contains("are more than")),
        "{notes:?}"
    );
    check_all(&fixture, &model);
}
