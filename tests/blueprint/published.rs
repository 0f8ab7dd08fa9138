//! Weights that are published in FP8 or MXFP4 are converted before they run: what they become is planned
//! of the folder as it is published, of its shards' headers, of its index and of its configuration.

use std::fs;
use std::path::Path;

use rillm::quantize::Draft;
use rillm::{Blueprint, Model, SessionOptions};
use serde_json::{Value, json};

use super::check;
use crate::support::evaluate::options;
use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::support::rewrite;

/// A checkpoint's tensor: type, extents, bytes of an element.
type Stored = (String, &'static str, Vec<u64>, u64);

/// A fixture's configuration with widths that whole blocks fit into.
fn widened(fixture: &str, method: &Value) -> Value {
    let mut config = Fixture::load(fixture).config();
    for (key, width) in [
        ("hidden_size", 64),
        ("intermediate_size", 96),
        ("moe_intermediate_size", 32),
        ("q_lora_rank", 32),
        ("kv_lora_rank", 32),
    ] {
        if config.get(key).is_some_and(Value::is_u64) {
            config[key] = width.into();
        }
    }
    config["quantization_config"] = method.clone();
    config
}

/// What the tensors of such a configuration are, a matrix of a layer in FP8 with a scale for each
/// block of 32 rows and columns, and gpt-oss's experts in blocks of 32 values of four bits.
fn tensors(config: &Value) -> Vec<Stored> {
    let mut plain = config.clone();
    plain.as_object_mut().unwrap().remove("quantization_config");
    let whole = Blueprint::from_config(plain.to_string().as_bytes(), options()).unwrap();
    let method = config["quantization_config"]["quant_method"].as_str();
    let mut all = Vec::new();
    for (name, info) in &whole.manifest().tensors {
        let is_router = name.ends_with("mlp.gate.weight") || name.contains("router");
        match (method, &info.shape.0[..]) {
            (Some("mxfp4"), &[experts, columns, rows]) => {
                let blocks = vec![experts, rows, columns / 32];
                let bytes = [&blocks[..], &[16]].concat();
                all.push((format!("{name}_blocks"), "U8", bytes, 1));
                all.push((format!("{name}_scales"), "U8", blocks, 1));
            }
            (Some("fp8"), &[rows, columns]) if name.contains("layers.") && !is_router => {
                let scales = vec![rows.div_ceil(32), columns.div_ceil(32)];
                all.push((format!("{name}_scale_inv"), "F32", scales, 4));
                all.push((name.clone(), "F8_E4M3", vec![rows, columns], 1));
            }
            (_, extents) => all.push((name.clone(), "BF16", extents.to_vec(), 2)),
        }
    }
    all
}

/// Writes a folder of zeros, and gives the length of its shard's header.
fn write(folder: &Path, config: &Value, tensors: &[Stored]) -> usize {
    let (mut header, mut at) = (json!({}), 0);
    for (name, dtype, shape, len) in tensors {
        let end = at + len * shape.iter().product::<u64>();
        header[name] = json!({ "dtype": dtype, "shape": shape, "data_offsets": [at, end] });
        at = end;
    }
    let header = header.to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    let length = file.len();
    file.resize(length + at as usize, 0);
    fs::write(folder.join("model.safetensors"), file).unwrap();
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    length
}

fn used(planned: &Blueprint) -> (u64, Vec<(String, usize, u64)>) {
    let weights = planned.weights();
    let types = weights.types.iter();
    let types = types.map(|one| (one.dtype.name().to_string(), one.tensors, one.bytes));
    (weights.mapped, types.collect())
}

#[test]
fn what_conversion_makes_of_published_weights_is_planned() {
    let blocks = json!({ "quant_method": "fp8", "weight_block_size": [32, 32] });
    let four = json!({ "quant_method": "mxfp4" });
    for (fixture, method, form, mix) in [
        ("deepseek_v3", &blocks, "FP8 (F8_E4M3)", "Q8_0"),
        ("qwen3", &blocks, "FP8 (F8_E4M3)", "Q8_0"),
        ("qwen3_moe", &blocks, "FP8 (F8_E4M3)", "Q8_0"),
        ("gpt_oss", &four, "MXFP4", "MXFP4_MOE"),
    ] {
        let config = widened(fixture, method);
        let tensors = tensors(&config);
        let folder = TempFolder::new("published");
        let header = write(&folder, &config, &tensors);
        // What runs is what quantize makes.
        let error = Model::open(&*folder, options()).unwrap_err().to_string();
        assert!(error.contains("rillm quantize"), "{fixture}: {error}");
        let planned = Blueprint::open(&*folder, options()).unwrap();
        assert!(planned.presumed().is_nothing(), "{fixture}");
        let said = planned.published_as().map(|(form, mix)| (form, mix.name));
        assert_eq!(said, Some((form, mix)), "{fixture}");
        for other in [mix, "f16", "q4_0"] {
            let path = folder.join(format!("{other}.gguf"));
            let draft = Draft::open(&*folder).unwrap();
            rewrite::run(&draft, &rewrite::options(other), &path, 2).unwrap();
            let model = Model::open(&path, options()).unwrap();
            let written = Blueprint::open(&path, options()).unwrap();
            let asked = planned.quantized(other.parse().unwrap()).unwrap();
            check(fixture, &asked, &model);
            assert_eq!(used(&asked), used(&written), "{fixture} {other}");
            if other == mix {
                check(fixture, &planned, &model);
                assert_eq!(used(&planned), used(&written), "{fixture}");
            }
        }
        let shard = folder.join("model.safetensors");
        let weights = fs::read(&shard).unwrap();
        fs::write(&shard, &weights[..header]).unwrap();
        let of_header = Blueprint::open(&*folder, options()).unwrap();
        assert_eq!(used(&of_header), used(&planned), "{fixture}: header");
        fs::remove_file(&shard).unwrap();
        let map: serde_json::Map<_, _> = tensors
            .iter()
            .map(|(name, ..)| (name.clone(), json!("model-00001-of-00001.safetensors")))
            .collect();
        let index = json!({ "metadata": {}, "weight_map": map }).to_string();
        fs::write(folder.join("model.safetensors.index.json"), index).unwrap();
        let of_index = Blueprint::open(&*folder, options());
        let of_index = of_index.unwrap_or_else(|error| panic!("{fixture}: index: {error}"));
        assert!(of_index.presumed().shapes > 0, "{fixture}");
        assert_eq!(used(&of_index), used(&planned), "{fixture}: index");
        let alone = Blueprint::from_config(config.to_string().as_bytes(), options()).unwrap();
        assert!(alone.presumed().tensors > 0, "{fixture}");
        let asked = SessionOptions::new().context(64);
        let plans = [&planned, &alone].map(|one| one.memory_plan(asked).unwrap());
        assert_eq!(plans[0].state, plans[1].state, "{fixture}");
        let [all, of_config] = [&planned, &alone].map(|one| used(one).0);
        // Biases, which a configuration may not tell of.
        let off = all.abs_diff(of_config) as f64 / all as f64;
        assert!(off < 0.02, "{fixture}: {of_config} of {all}");
    }
}
