//! Folders whose weights have three values become files that compute as transformers' BitNet layers do.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::compare::{REFERENCE_TOLERANCE, compare};
use crate::support::evaluate::{evaluate, open};
use crate::support::folder::TempFolder;
use crate::support::rewrite::{options, run};
use crate::support::tensors;
use rillm::internals::eval::Cut;
use rillm::internals::{quant, weights};
use rillm::quantize::Draft;
use rillm_formats::safetensors;

/// What `tools/quant/three_values.py` has made.
fn folder(name: &str) -> PathBuf {
    Path::new("tests/data/three_values").join(name)
}

fn copied(name: &str, edit: impl FnOnce(&mut Value), rename: &[(&str, &str)]) -> TempFolder {
    let to = TempFolder::new(name);
    let mut config: Value =
        serde_json::from_slice(&fs::read(folder(name).join("config.json")).unwrap()).unwrap();
    edit(&mut config);
    fs::write(to.join("config.json"), config.to_string()).unwrap();
    let bytes = fs::read(folder(name).join("model.safetensors")).unwrap();
    let len = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let mut header = String::from_utf8(bytes[8..8 + len].to_vec()).unwrap();
    for (from, to) in rename {
        assert!(header.contains(from), "{from}");
        header = header.replace(from, to);
    }
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(&bytes[8 + len..]);
    fs::write(to.join("model.safetensors"), file).unwrap();
    to
}

fn converted(folder: &Path, mix: &str) -> PathBuf {
    let draft = Draft::open(folder);
    let draft = draft.unwrap_or_else(|error| panic!("{error}"));
    let path = folder.join(format!("{mix}.gguf"));
    run(&draft, &options(mix), &path, 2).unwrap_or_else(|error| panic!("{error}"));
    path
}

/// Panics unless a file answers as the reference does for one of its folders.
fn check(path: &Path, name: &str) {
    let model = open(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let inputs = fs::read(folder(name).join("inputs.json")).unwrap();
    let inputs: Vec<Value> = serde_json::from_slice(&inputs).unwrap();
    let expected = tensors::read(&folder(name).join("expected.safetensors"));
    for (index, input) in inputs.iter().enumerate() {
        let mask = input.get("attention_mask").map(|rows| -> Vec<bool> {
            let rows = rows.as_array().unwrap().iter();
            rows.flat_map(|row| row.as_array().unwrap().iter().map(|keep| keep == 1))
                .collect()
        });
        let outputs = evaluate(&model, input, Cut::Whole).unwrap();
        let expected = &expected[&index.to_string()].values;
        let error = compare(&outputs["logits"].values, expected, mask.as_deref());
        assert!(error <= REFERENCE_TOLERANCE, "{name} {index}: {error:.1e}");
        for cut in [Cut::Batch(1), Cut::Batch(3)] {
            let again = evaluate(&model, input, cut).unwrap();
            assert!(
                again["logits"].values == outputs["logits"].values,
                "{name} {index} {cut:?}"
            );
        }
    }
}

#[test]
fn files_answer_as_the_reference_does() {
    for name in ["packed", "unpacked", "online", "divided"] {
        let copy = copied(name, |_| {}, &[]);
        let error = open(&copy).expect_err("three values").to_string();
        assert!(
            error.contains("three values") && error.contains("rillm quantize FOLDER"),
            "{error}"
        );
        check(&converted(&copy, "f32"), name);
    }
}

/// The first models of the kind have a class of their own, names of their own for two norms, and no
/// object that says how weights are quantized.
#[test]
fn the_first_models_become_of_three_values_too() {
    let first = |config: &mut Value| {
        config["model_type"] = json!("llama");
        config["architectures"] = json!(["BitnetForCausalLM"]);
        config["weight_bits"] = json!(1);
        config["input_bits"] = json!(8);
        config
            .as_object_mut()
            .unwrap()
            .remove("quantization_config");
    };
    let names = [
        ("self_attn.attn_sub_norm", "self_attn.inner_attn_ln"),
        ("mlp.ffn_sub_norm", "mlp.ffn_layernorm"),
    ];
    let copy = copied("online", first, &names);
    check(&converted(&copy, "f32"), "online");
}

/// Rows of whole blocks keep their three values in the types that are made for them.
#[test]
fn types_of_three_values_hold_them() {
    let (width, scale) = (256usize, 0.296875f32);
    let trits = |index: usize| index * 7919 / 64 % 3;
    let bytes = (0..width / 4 * width).map(|index| {
        let of = |quarter: usize| trits(index + quarter * width * width / 4) << (2 * quarter);
        (0..4).map(of).sum::<usize>() as u8
    });
    let packed: Vec<u8> = bytes.collect();
    let copy = TempFolder::new("trits");
    let config = json!({
        "model_type": "llama", "hidden_size": width, "intermediate_size": width,
        "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 8,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
        "quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear"},
    });
    fs::write(copy.join("config.json"), config.to_string()).unwrap();
    let mut tensors: BTreeMap<String, (&str, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    let ones = |count: usize| {
        [1f32]
            .repeat(count)
            .into_iter()
            .flat_map(f32::to_le_bytes)
            .collect()
    };
    tensors.insert(
        "embed_tokens.weight".into(),
        ("F32", vec![3, width], ones(3 * width)),
    );
    for norm in [
        "norm",
        "layers.0.input_layernorm",
        "layers.0.post_attention_layernorm",
    ] {
        tensors.insert(format!("{norm}.weight"), ("F32", vec![width], ones(width)));
    }
    for part in [
        "self_attn.q",
        "self_attn.k",
        "self_attn.v",
        "self_attn.o",
        "mlp.gate",
        "mlp.up",
        "mlp.down",
    ] {
        let name = format!("layers.0.{part}_proj.weight");
        tensors.insert(
            format!("{name}_scale"),
            ("F32", vec![1], scale.to_le_bytes().to_vec()),
        );
        tensors.insert(name, ("U8", vec![width / 4, width], packed.clone()));
    }
    let (mut header, mut data) = (json!({}), Vec::new());
    for (name, (dtype, shape, bytes)) in tensors {
        let start = data.len();
        data.extend(bytes);
        header[format!("model.{name}")] =
            json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]});
    }
    let header = header.to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    assert!(safetensors::parse(&file, 0).is_ok());
    fs::write(copy.join("model.safetensors"), file).unwrap();
    let error = open(&copy).expect_err("three values").to_string();
    assert!(error.contains("tq2_0"), "{error}");
    let wanted: Vec<f32> = (0..width * width)
        .map(|index| (trits(index) as f32 - 1.0) * scale)
        .collect();
    for mix in ["tq1_0", "tq2_0", "q8_0"] {
        let path = converted(&copy, mix);
        let files = weights::open(&path).expect("a file");
        let info = &files.manifest.tensors["blk.0.ffn_down.weight"];
        let mut values = vec![0.0; width * width];
        let range = info.range.start as usize..info.range.end as usize;
        quant::decode(info.dtype).expect("a type")(&files.sources[0].bytes()[range], &mut values);
        let name = info.dtype.name();
        assert_eq!(name.to_lowercase(), mix);
        match mix {
            // Its scale is a 127th, as half precision has it.
            "q8_0" => assert!(
                values
                    .iter()
                    .zip(&wanted)
                    .all(|(a, b)| (a - b).abs() < 2e-4)
            ),
            _ => assert!(values == wanted, "{name}"),
        }
        assert!(open(&path).is_ok(), "{name}");
    }
}
