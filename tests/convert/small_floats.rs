//! FP8 and MXFP4 checkpoints become GGUF files that hold what the reference makes of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::evaluate::{all_outputs, check_all, open};
use crate::support::fixture::{Fixture, Weight};
use crate::support::folder::TempFolder;
use crate::support::rewrite::{options, run};
use crate::support::tensors;
use rillm::internals::draft;
use rillm::internals::{quant, weights};
use rillm_formats::safetensors;

const FILE: &str = "tests/data/small_floats.safetensors";

/// A tensor of any type as a checkpoint holds it.
#[derive(Clone)]
struct Raw {
    dtype: &'static str,
    shape: Vec<u64>,
    bytes: Vec<u8>,
}

type Checkpoint = BTreeMap<String, Raw>;

fn floats(shape: &[u64], values: impl IntoIterator<Item = f32>) -> Raw {
    Raw {
        dtype: "F32",
        shape: shape.to_vec(),
        bytes: values.into_iter().flat_map(f32::to_le_bytes).collect(),
    }
}

fn write(checkpoint: &Checkpoint, config: &Value) -> TempFolder {
    let (folder, mut header) = (TempFolder::new("floats"), json!({}));
    let mut data: Vec<u8> = Vec::new();
    for (name, raw) in checkpoint {
        let start = data.len();
        data.extend(&raw.bytes);
        header[name] = json!({
            "dtype": raw.dtype, "shape": raw.shape, "data_offsets": [start, data.len()],
        });
    }
    let header = header.to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    fs::write(folder.join("model.safetensors"), file).unwrap();
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    folder
}

/// A tensor of the file that the script has made, as it is stored.
fn stored(name: &str) -> Raw {
    let bytes = fs::read(FILE).unwrap();
    let file = safetensors::parse(&bytes, 0).unwrap();
    let foreign = file.unsupported.into_iter();
    let foreign = foreign.map(|(name, it)| (name, it.dtype, it.shape, it.range));
    let typed = file.tensors.into_iter();
    let typed = typed.map(|(name, it)| (name, "F32".to_string(), it.shape, it.range));
    let (_, dtype, shape, range) = foreign.chain(typed).find(|it| it.0 == name).expect(name);
    let dtype = match dtype.as_str() {
        "F8_E4M3" => "F8_E4M3",
        "U8" => "U8",
        _ => "F32",
    };
    Raw {
        dtype,
        shape: shape.0,
        bytes: bytes[range.start as usize..range.end as usize].to_vec(),
    }
}

/// A decoder of one layer whose tensors are zeros but for these.
fn decoder(width: u64, hidden: u64, given: Vec<(&str, Raw)>, more: &Value) -> TempFolder {
    let mut config = json!({
        "model_type": "llama", "hidden_size": width, "intermediate_size": hidden,
        "num_hidden_layers": 1, "num_attention_heads": 1, "max_position_embeddings": 8,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
    });
    let object = config.as_object_mut().unwrap();
    object.extend(more.as_object().unwrap().clone());
    let mut checkpoint: Checkpoint = BTreeMap::new();
    for (name, shape) in [
        ("embed_tokens", vec![5, width]),
        ("norm", vec![width]),
        ("layers.0.input_layernorm", vec![width]),
        ("layers.0.post_attention_layernorm", vec![width]),
        ("layers.0.self_attn.q_proj", vec![width, width]),
        ("layers.0.self_attn.k_proj", vec![width, width]),
        ("layers.0.self_attn.v_proj", vec![width, width]),
        ("layers.0.self_attn.o_proj", vec![width, width]),
        ("layers.0.mlp.gate_proj", vec![hidden, width]),
        ("layers.0.mlp.up_proj", vec![hidden, width]),
        ("layers.0.mlp.down_proj", vec![width, hidden]),
    ] {
        let zeros = vec![0.0; shape.iter().product::<u64>() as usize];
        checkpoint.insert(format!("model.{name}.weight"), floats(&shape, zeros));
    }
    for (name, raw) in given {
        let whole = name.trim_end_matches("_blocks").to_string();
        checkpoint.remove(&whole);
        checkpoint.insert(name.to_string(), raw);
    }
    write(&checkpoint, &config)
}

/// What a tensor of the converted folder holds.
fn converted(folder: &Path, name: &str) -> Vec<f32> {
    let draft = draft(weights::open(folder).expect("a folder"));
    let draft = draft.unwrap_or_else(|error| panic!("{error}"));
    let path = folder.join("converted.gguf");
    run(&draft, &options("f32"), &path, 2).unwrap_or_else(|error| panic!("{error}"));
    let files = weights::open(&path).expect("a file");
    let info = &files.manifest.tensors[name];
    let mut values = vec![0.0; info.shape.elements().unwrap() as usize];
    let bytes = &files.sources[0].bytes()[info.range.start as usize..info.range.end as usize];
    quant::decode(info.dtype).expect("floats")(bytes, &mut values);
    values
}

/// Double precision is read as single: a folder of it becomes the file that one of floats becomes.
#[test]
fn doubles_become_floats() {
    let fixture = Fixture::load("llama");
    let mut checkpoint = Checkpoint::new();
    for weight in fixture.weights() {
        let bytes = weight
            .values
            .iter()
            .flat_map(|&value| f64::from(value).to_le_bytes());
        let raw = Raw {
            dtype: "F64",
            shape: weight.shape.clone(),
            bytes: bytes.collect(),
        };
        checkpoint.insert(weight.name.clone(), raw);
    }
    let folder = write(&checkpoint, &fixture.config());
    let error = open(&folder).expect_err("doubles").to_string();
    assert!(
        error.contains("F64") && error.contains("rillm quantize"),
        "{error}"
    );
    let draft = draft(weights::open(&folder).expect("a folder"));
    let draft = draft.unwrap_or_else(|error| panic!("{error}"));
    let path = folder.join("converted.gguf");
    run(&draft, &options("f32"), &path, 2).unwrap_or_else(|error| panic!("{error}"));
    let model = open(&path).unwrap_or_else(|error| panic!("{error}"));
    check_all(&fixture, &model);
}

const UP: &str = "model.layers.0.mlp.up_proj.weight";

#[test]
fn every_byte_is_the_float_that_it_is_in_torch() {
    let expected = tensors::read(Path::new(FILE));
    for (dtype, name) in [("F8_E4M3", "e4m3"), ("F8_E5M2", "e5m2")] {
        let finite = |byte: &usize| expected[name].values[*byte].is_finite();
        let bytes: Vec<usize> = (0..256).filter(finite).collect();
        let raw = Raw {
            dtype,
            shape: vec![1, bytes.len() as u64],
            bytes: bytes.iter().map(|&byte| byte as u8).collect(),
        };
        let folder = decoder(bytes.len() as u64, 1, vec![(UP, raw)], &json!({}));
        let values = converted(&folder, "blk.0.ffn_up.weight");
        let wanted = bytes
            .iter()
            .map(|&byte| expected[name].values[byte].to_bits());
        assert!(
            values.iter().map(|value| value.to_bits()).eq(wanted),
            "{name}"
        );
    }
}

#[test]
fn blocks_are_scaled_as_the_reference_scales_them() {
    let expected = tensors::read(Path::new(FILE));
    let said = |block: Value| json!({ "quantization_config": { "quant_method": "fp8", "weight_block_size": block } });
    for (name, width, hidden, config) in [
        // What the extents say by themselves, and what has to be said.
        ("blocks", 36, 64, said(Value::Null)),
        ("blocks", 36, 64, said(json!([16, 12]))),
        ("ragged", 20, 70, said(json!([16, 16]))),
    ] {
        let scale = format!("{UP}_scale_inv");
        let given = vec![
            (UP, stored(&format!("{name}.weight"))),
            (scale.as_str(), stored(&format!("{name}.weight_scale_inv"))),
        ];
        let folder = decoder(width, hidden, given.clone(), &config);
        let values = converted(&folder, "blk.0.ffn_up.weight");
        assert!(
            values == expected[&format!("{name}.expected")].values,
            "{name} {config}"
        );
        // What cannot be run says how it can be.
        let error = open(&folder).expect_err("small floats").to_string();
        assert!(
            error.contains("FP8") && error.contains("rillm quantize"),
            "{error}"
        );
        // Scales of other extents, and none.
        let mut wrong = given.clone();
        wrong[1].1 = floats(&[3], [1.0; 3]);
        let folder = decoder(width, hidden, wrong, &config);
        let error = open(&folder).expect_err("wrong scales").to_string();
        assert!(error.contains(&scale) && error.contains("[3]"), "{error}");
        let folder = decoder(width, hidden, given[..1].to_vec(), &config);
        let error = open(&folder).expect_err("no scales").to_string();
        assert!(
            error.contains(&scale) && error.contains("missing"),
            "{error}"
        );
    }
}

#[test]
fn blocks_of_four_bits_are_what_the_reference_makes_of_them() {
    let expected = tensors::read(Path::new(FILE));
    let (blocks, scales) = (stored("mxfp4_blocks"), stored("mxfp4_scales"));
    let half = |raw: &Raw, second: usize| Raw {
        dtype: "U8",
        shape: raw.shape[1..].to_vec(),
        bytes: raw.bytes[second * raw.bytes.len() / 2..][..raw.bytes.len() / 2].to_vec(),
    };
    let names = ["up", "gate"].map(|name| {
        let weight = format!("model.layers.0.mlp.{name}_proj.weight");
        (format!("{weight}_blocks"), format!("{weight}_scales"))
    });
    let mut given = Vec::new();
    for (index, (values, exponents)) in names.iter().enumerate() {
        given.push((values.as_str(), half(&blocks, index)));
        given.push((exponents.as_str(), half(&scales, index)));
    }
    let config = json!({ "quantization_config": { "quant_method": "mxfp4" } });
    let folder = decoder(64, 6, given, &config);
    let expected = &expected["mxfp4.expected"].values;
    let (first, second) = expected.split_at(expected.len() / 2);
    assert!(converted(&folder, "blk.0.ffn_up.weight") == first);
    assert!(converted(&folder, "blk.0.ffn_gate.weight") == second);
    let error = open(&folder).expect_err("small floats").to_string();
    assert!(
        error.contains("MXFP4") && error.contains("rillm quantize"),
        "{error}"
    );
}

/// gpt-oss's experts: rows of gates and of what they let through by turns, as its publisher keeps
/// them, beside others as transformers keeps them, whose rows are columns.
#[test]
fn experts_of_four_bits_come_apart() {
    let expected = &tensors::read(Path::new(FILE))["mxfp4.expected"].values;
    let (experts, hidden, width) = (2, 3, 64);
    let config = json!({
        "model_type": "gpt_oss", "hidden_size": width, "intermediate_size": hidden,
        "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
        "num_local_experts": experts, "num_experts_per_tok": 1, "max_position_embeddings": 8,
        "tie_word_embeddings": true, "quantization_config": { "quant_method": "mxfp4" },
        "rope_scaling": {
            "rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 4,
        },
    });
    let mut checkpoint = Checkpoint::new();
    let mut put = |name: &str, shape: &[u64]| {
        let numbers = (0..shape.iter().product()).map(|index: u64| index as f32);
        checkpoint.insert(format!("model.{name}"), floats(shape, numbers));
    };
    put("embed_tokens.weight", &[5, width]);
    put("norm.weight", &[width]);
    put("layers.0.input_layernorm.weight", &[width]);
    put("layers.0.post_attention_layernorm.weight", &[width]);
    for part in ["q", "k", "v", "o"] {
        let name = format!("layers.0.self_attn.{part}_proj.weight");
        put(&name, &[width, width]);
    }
    put("layers.0.self_attn.sinks", &[1]);
    put("layers.0.mlp.router.weight", &[experts, width]);
    let part = |name: &str| format!("layers.0.mlp.experts.{name}");
    put(&part("gate_up_proj_bias"), &[experts, 2 * hidden]);
    put(&part("down_proj"), &[experts, hidden, width]);
    put(&part("down_proj_bias"), &[experts, width]);
    for end in ["blocks", "scales"] {
        let name = format!("model.{}_{end}", part("gate_up_proj"));
        checkpoint.insert(name, stored(&format!("mxfp4_{end}")));
    }
    let folder = write(&checkpoint, &config);
    for (name, turn) in [("gate", 0), ("up", 1)] {
        let rows = expected.chunks(width as usize).skip(turn).step_by(2);
        let rows: Vec<f32> = rows.flatten().copied().collect();
        let weight = converted(&folder, &format!("blk.0.ffn_{name}_exps.weight"));
        assert!(weight == rows, "{name}");
        let numbers = (0..2 * experts * hidden).skip(turn).step_by(2);
        let numbers: Vec<f32> = numbers.map(|number| number as f32).collect();
        let bias = converted(&folder, &format!("blk.0.ffn_{name}_exps.bias"));
        assert!(bias == numbers, "{name}");
    }
    let down = converted(&folder, "blk.0.ffn_down_exps.weight");
    let place = |row: u64, column| (row / width * hidden + column) * width + row % width;
    let turned = (0..experts * width).flat_map(|row| (0..hidden).map(move |c| place(row, c)));
    let turned: Vec<f32> = turned.map(|number| number as f32).collect();
    assert!(down == turned);
    let mix = folder.join("mxfp4.gguf");
    let draft = draft(weights::open(&folder).expect("a folder"));
    let draft = draft.unwrap_or_else(|error| panic!("{error}"));
    run(&draft, &options("mxfp4"), &mix, 1).unwrap_or_else(|error| panic!("{error}"));
    let files = weights::open(&mix).expect("a file");
    let info = &files.manifest.tensors["blk.0.ffn_gate_exps.weight"];
    let mut values = vec![0.0; (experts * hidden * width) as usize];
    let bytes = &files.sources[0].bytes()[info.range.start as usize..info.range.end as usize];
    quant::decode(info.dtype).expect("a type")(bytes, &mut values);
    // What four bits hold they hold again.
    let rows: Vec<f32> = expected.chunks(64).step_by(2).flatten().copied().collect();
    assert!(values == rows, "{}", info.dtype.name());
    open(&mix).unwrap_or_else(|error| panic!("{error}"));
}

/// How publishers keep scales.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kept {
    Blocks,
    Rows,
    RowsFlat,
    Tensor,
    TensorFlat,
    Halves,
}

/// A weight as FP8, its scales, and the floats that they stand for.
fn small(weight: &Weight, kept: Kept, table: &[f32]) -> (Raw, (&'static str, Raw), Vec<f32>) {
    let (rows, columns) = (weight.shape[0] as usize, weight.shape[1] as usize);
    let block = match kept {
        Kept::Blocks => [16, 16],
        Kept::Rows | Kept::RowsFlat | Kept::Halves => [1, columns],
        Kept::Tensor | Kept::TensorFlat => [rows, columns],
    };
    let grid = [rows.div_ceil(block[0]), columns.div_ceil(block[1])];
    let mut scales = vec![0f32; grid[0] * grid[1]];
    let place = |index: usize| {
        let (row, column) = (index / columns, index % columns);
        row / block[0] * grid[1] + column / block[1]
    };
    for (index, value) in weight.values.iter().enumerate() {
        let scale = &mut scales[place(index)];
        *scale = scale.max(value.abs() / 448.0).max(1e-8);
    }
    if kept == Kept::Halves {
        // The upper half of a float.
        for scale in &mut scales {
            *scale = f32::from_bits(((scale.to_bits() >> 16) + 1) << 16);
        }
    }
    let nearest = |value: f32| {
        let finite = (0..256usize).filter(|&byte| table[byte].is_finite());
        let error = |byte: &usize| (table[*byte] - value).abs();
        finite.min_by(|a, b| error(a).total_cmp(&error(b))).unwrap()
    };
    let values = weight.values.iter().enumerate();
    let bytes: Vec<usize> = values
        .map(|(i, value)| nearest(value / scales[place(i)]))
        .collect();
    let twin = bytes
        .iter()
        .enumerate()
        .map(|(i, &byte)| table[byte] * scales[place(i)]);
    let twin = twin.collect();
    let (rows, [r, c]) = (rows as u64, grid.map(|extent| extent as u64));
    let scales = match kept {
        Kept::Blocks => ("_scale_inv", floats(&[r, c], scales)),
        Kept::Rows => ("_scale", floats(&[rows, 1], scales)),
        Kept::RowsFlat => ("_scale", floats(&[rows], scales)),
        Kept::Tensor => ("_scale", floats(&[], scales)),
        Kept::TensorFlat => ("_scale", floats(&[1], scales)),
        Kept::Halves => {
            let halves = scales
                .iter()
                .flat_map(|scale| ((scale.to_bits() >> 16) as u16).to_le_bytes());
            let raw = Raw {
                dtype: "BF16",
                shape: vec![rows, 1],
                bytes: halves.collect(),
            };
            ("_scale", raw)
        }
    };
    let raw = Raw {
        dtype: "F8_E4M3",
        shape: weight.shape.clone(),
        bytes: bytes.into_iter().map(|byte| byte as u8).collect(),
    };
    (raw, scales, twin)
}

/// Whole models: experts, stored transposed, with scales of activations beside them.
#[test]
fn a_converted_checkpoint_computes_what_its_floats_do() {
    let table = &tensors::read(Path::new(FILE))["e4m3"].values;
    for (name, kept) in [
        ("llama_mqa", Kept::Blocks),
        ("llama_mqa", Kept::Rows),
        ("qwen3", Kept::RowsFlat),
        ("mistral", Kept::Tensor),
        ("qwen3", Kept::TensorFlat),
        ("llama_mqa", Kept::Halves),
        ("mixtral", Kept::Blocks),
        ("gpt2", Kept::Blocks),
    ] {
        let fixture = Fixture::load(name);
        let mut config = fixture.config();
        config["quantization_config"] = match kept {
            Kept::Blocks => json!({"quant_method": "fp8", "weight_block_size": [16, 16]}),
            Kept::Halves => json!({"quant_method": "fbgemm_fp8"}),
            Kept::TensorFlat => json!({"quant_method": "modelopt", "quant_algo": "FP8"}),
            _ => json!({"quant_method": "compressed-tensors", "format": "float-quantized",
                "config_groups": {"group_0": {"weights": {"type": "float", "num_bits": 8}}}}),
        };
        let (mut small_ones, mut twins): (Checkpoint, Checkpoint) = Default::default();
        for weight in fixture.weights() {
            let in_layer = weight
                .name
                .split('.')
                .any(|part| part.parse::<u32>().is_ok());
            let raw = floats(&weight.shape, weight.values.iter().copied());
            if weight.shape.len() != 2 || !in_layer {
                small_ones.insert(weight.name.clone(), raw.clone());
                twins.insert(weight.name, raw);
                continue;
            }
            let (raw, (end, scales), twin) = small(&weight, kept, table);
            small_ones.insert(format!("{}{end}", weight.name), scales);
            let module = weight.name.trim_end_matches(".weight");
            small_ones.insert(format!("{module}.input_scale"), floats(&[1], [0.5]));
            small_ones.insert(weight.name.clone(), raw);
            twins.insert(weight.name, floats(&weight.shape, twin));
        }
        let (from, twin) = (
            write(&small_ones, &config),
            write(&twins, &fixture.config()),
        );
        let path = from.join("converted.gguf");
        let small = draft(weights::open(&from).expect("a folder"));
        let small = small.unwrap_or_else(|error| panic!("{name} {kept:?}: {error}"));
        run(&small, &options("f32"), &path, 2).expect("a file");
        let twin_path = twin.join("converted.gguf");
        let whole = draft(weights::open(&twin).expect("a folder")).expect("a draft");
        run(&whole, &options("f32"), &twin_path, 2).expect("a file");
        let (model, twin) = (
            open(&path).expect("a file"),
            open(&twin_path).expect("a file"),
        );
        assert!(
            all_outputs(&fixture, &model) == all_outputs(&fixture, &twin),
            "{name} {kept:?}"
        );
    }
}
