//! The same model from a folder: whole, sharded, with the authors' own names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rillm::Blueprint;
use rillm::error::LoadErrorKind;
use rillm_formats::gguf::write::TensorSpec;
use rillm_formats::manifest::{Array, DType, MetadataValue, Shape};
use rillm_formats::safetensors::write::header;

use crate::support::evaluate::{all_outputs, check_all, open, open_bytes, options, runnable};
use crate::support::fixture::{Fixture, Weight};
use crate::support::folder::TempFolder;
use crate::support::to_gguf::{Floats, Gguf};

#[test]
fn a_folder_computes_what_the_reference_does() {
    for fixture in runnable() {
        let folder = fixture.folder();
        check_all(&fixture, &open(&folder).unwrap());
    }
}

/// The authors' own names for what transformers calls otherwise: RWKV-4's, and Mamba-2's as
/// Codestral Mamba has them.
#[test]
fn names_of_the_authors_are_known() {
    let blink: &[(&str, &str)] = &[
        ("rwkv.embeddings.", "emb."),
        ("rwkv.blocks.0.pre_ln.", "blocks.0.ln0."),
        ("rwkv.", ""),
        (".attention.", ".att."),
        (".feed_forward.", ".ffn."),
        ("time_mix_key", "time_mix_k"),
        ("time_mix_value", "time_mix_v"),
        ("time_mix_receptance", "time_mix_r"),
    ];
    let codestral: &[(&str, &str)] = &[
        ("backbone.", "model.backbone."),
        ("lm_head", "model.lm_head"),
    ];
    for (name, changes) in [("rwkv4", blink), ("mamba2", codestral)] {
        let fixture = Fixture::load(name);
        let mut weights = fixture.weights();
        for weight in &mut weights {
            for (theirs, own) in changes {
                weight.name = weight.name.replace(theirs, own);
            }
        }
        let folder = TempFolder::new(name);
        write_folder(&folder, &fixture, &weights);
        let model = open(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
        check_all(&fixture, &model);
    }
}

pub(super) fn write_folder(folder: &Path, fixture: &Fixture, weights: &[Weight]) {
    let specs: Vec<TensorSpec> = weights
        .iter()
        .map(|weight| TensorSpec {
            name: weight.name.clone(),
            dtype: DType::F32,
            shape: Shape(weight.shape.clone()),
        })
        .collect();
    let mut bytes = header(&specs).unwrap();
    let values = weights.iter().flat_map(|weight| &weight.values);
    bytes.extend(values.flat_map(|value| value.to_le_bytes()));
    fs::write(folder.join("model.safetensors"), bytes).unwrap();
    fs::write(folder.join("config.json"), fixture.config().to_string()).unwrap();
}

/// Converters put layers that guess tokens after the next one behind the others.
#[test]
fn layers_that_guess_further_tokens_are_left_out() {
    for name in ["qwen3_next", "exaone4", "glm4_moe"] {
        guessing_layers(name);
    }
}

fn guessing_layers(name: &str) {
    let fixture = Fixture::load(name);
    let mut gguf = Gguf::of(&fixture);
    let (blocks, kinds, guessing) = (
        gguf.key("block_count"),
        [
            "attention.recurrent_layers",
            "attention.sliding_window_pattern",
        ]
        .map(|key| gguf.key(key)),
        gguf.key("nextn_predict_layers"),
    );
    let layers = gguf.metadata.u64(&blocks).expect("layers");
    let more: Vec<(String, Floats)> = gguf
        .tensors
        .iter()
        .filter(|(name, _)| name.contains("norm"))
        .flat_map(|(_, floats)| {
            let name = |part: &str| format!("blk.{layers}.{part}.weight");
            ["attn_norm", "nextn.eh_proj"].map(|part| (name(part), floats.clone()))
        })
        .collect();
    gguf.tensors.extend(more);
    let error = open_bytes(gguf.bytes()).unwrap_err();
    assert_eq!(error.kind(), LoadErrorKind::Unsupported, "{error}");
    gguf.metadata
        .0
        .insert(blocks, MetadataValue::U32(layers as u32 + 1));
    gguf.metadata
        .0
        .insert(guessing.clone(), MetadataValue::U32(1));
    for kinds in kinds {
        if let Some(MetadataValue::Array(Array::Bool(kinds))) = gguf.metadata.0.get_mut(&kinds) {
            kinds.push(false);
        }
    }
    check_all(&fixture, &open_bytes(gguf.bytes()).expect("a file"));
    let all = MetadataValue::U32(layers as u32 + 1);
    gguf.metadata.0.insert(guessing, all);
    let error = open_bytes(gguf.bytes()).unwrap_err().to_string();
    assert!(error.contains("nextn_predict_layers"), "{error}");
}

/// Checkpoints have them in a module of their own, or behind the layers that are counted.
#[test]
fn modules_that_guess_further_tokens_are_left_out() {
    for (name, key, tensor) in [
        (
            "ernie4_5_moe",
            "num_nextn_predict_layers",
            "model.mtp_emb_norm.0.weight",
        ),
        (
            "qwen2",
            "num_nextn_predict_layers",
            "model.mtp_layers.0.input_layernorm.weight",
        ),
        (
            "qwen3_next",
            "num_nextn_predict_layers",
            "mtp.layers.0.input_layernorm.weight",
        ),
        ("qwen3_5", "mtp_num_hidden_layers", "mtp.norm.weight"),
        (
            "deepseek_v3",
            "num_nextn_predict_layers",
            "model.layers.7.enorm.weight",
        ),
        (
            "glm4_moe",
            "num_nextn_predict_layers",
            "model.layers.7.enorm.weight",
        ),
    ] {
        let fixture = Fixture::load(name);
        let mut config = fixture.config();
        config[key] = 1.into();
        let more = Weight {
            name: tensor.to_string(),
            shape: vec![4],
            values: vec![1.0; 4],
        };
        let folder = fixture.folder_with(&config, vec![more]);
        let model = open(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
        let notes = model.notes().join("\n");
        assert!(
            notes.contains("guess tokens after the next one"),
            "{name}: {notes}"
        );
        check_all(&fixture, &model);
    }
}

/// Layers that the configuration does not count are none of the model's.
#[test]
fn layers_that_are_not_counted_are_left_out() {
    let fixture = Fixture::load("llama_mqa");
    let mut config = fixture.config();
    let layers = config["num_hidden_layers"].as_u64().unwrap();
    config["num_hidden_layers"] = (layers - 1).into();
    let folder = fixture.folder();
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let more = open(&folder).expect("a model of fewer layers");
    let [note] = more.notes() else {
        panic!("{:?}", more.notes())
    };
    assert!(note.contains("left out"), "{note}");

    let mut weights = fixture.weights();
    let last = format!("model.layers.{}.", layers - 1);
    weights.retain(|weight| !weight.name.starts_with(&last));
    let bare = TempFolder::new("fewer");
    write_folder(&bare, &fixture, &weights);
    fs::write(bare.join("config.json"), config.to_string()).unwrap();
    let fewer = open(&bare).expect("a model of fewer layers");
    assert_eq!(fewer.notes(), [""; 0]);
    let (more, fewer) = (all_outputs(&fixture, &more), all_outputs(&fixture, &fewer));
    assert_eq!(more, fewer);
}

/// A folder that names no class writes texts, whatever else it was trained for.
#[test]
fn a_head_that_is_not_read_is_noted() {
    let fixture = Fixture::load("llama_tied");
    let mut weights = fixture.weights();
    let values = weights[0].values.clone();
    let width = fixture.config()["hidden_size"].as_u64().unwrap();
    let values = values
        .into_iter()
        .cycle()
        .take(2 * width as usize)
        .collect();
    weights.push(Weight {
        name: "score.weight".to_string(),
        shape: vec![2, width],
        values,
    });
    let folder = TempFolder::new("unread");
    write_folder(&folder, &fixture, &weights);
    let model = open(&folder).expect("a folder");
    let [note] = model.notes() else {
        panic!("{:?}", model.notes())
    };
    assert!(note.contains("score.weight"), "{note}");
    check_all(&fixture, &model);
}

/// Files are known by what they begin with, folders by what lies in them.
#[test]
fn what_is_called_otherwise_is_recognised() {
    let fixture = Fixture::load("llama_mqa");
    let folder = TempFolder::new("called");
    let path = folder.join("model.safetensors");
    fs::write(&path, Gguf::of(&fixture).bytes()).unwrap();
    check_all(&fixture, &open(&path).expect("a GGUF file"));
    fs::remove_file(path).unwrap();
    fs::write(folder.join("model_index.json"), "{}").unwrap();
    let error = open(&folder).expect_err("no model").to_string();
    assert!(error.contains("diffusers"), "{error}");

    let folder = fixture.folder();
    let config = fixture.config().to_string();
    let wide: Vec<u8> = config.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (begin, rest, says) in [
        (&b"\xef\xbb\xbf"[..], config.as_bytes(), "byte order mark"),
        (b"\xff\xfe", &wide, "UTF-16"),
    ] {
        fs::write(folder.join("config.json"), [begin, rest].concat()).unwrap();
        let error = open(&folder).expect_err(says).to_string();
        assert!(
            error.contains(says) && error.contains("config.json"),
            "{error}"
        );
        let path = folder.join("other.json");
        fs::write(&path, [begin, rest].concat()).unwrap();
        let error = Blueprint::open(&path, options())
            .expect_err(says)
            .to_string();
        let begin = format!("{}: ", path.display());
        assert!(error.starts_with(&begin) && error.contains(says), "{error}");
        assert!(!error.contains("config.json"), "{error}");
    }
}

/// JSON that Windows' editors write: refused by what it is, or done without with that word.
#[test]
fn other_texts_than_utf8_are_named() {
    let folder = Fixture::load("llama_mqa").folder();
    let json = r#"{"bos_token_id": 1}"#;
    let wide = |to: fn(u16) -> [u8; 2]| json.encode_utf16().flat_map(to).collect::<Vec<u8>>();
    let texts = [
        (
            [&b"\xef\xbb\xbf"[..], json.as_bytes()].concat(),
            "byte order mark",
        ),
        (
            [&b"\xff\xfe"[..], &wide(u16::to_le_bytes)].concat(),
            "UTF-16",
        ),
        (wide(u16::to_le_bytes), "UTF-16"),
        (wide(u16::to_be_bytes), "UTF-16"),
        (b"\xff\xfe\0\0{\0\0\0".to_vec(), "UTF-32"),
    ];
    for (text, says) in &texts {
        for file in ["generation_config.json", "special_tokens_map.json"] {
            let path = folder.join(file);
            fs::write(&path, text).unwrap();
            let model = open(&folder).expect("done without");
            let notes = model.notes().join("; ");
            assert!(notes.contains(file) && notes.contains(says), "{notes}");
            fs::remove_file(path).unwrap();
        }
        let path = folder.join("tokenizer.json");
        fs::write(&path, text).unwrap();
        let model = open(&folder).expect("a model without a tokenizer");
        let error = model.tokenizer().expect_err(says).to_string();
        assert!(
            error.contains("tokenizer.json") && error.contains(says),
            "{error}"
        );
        fs::remove_file(path).unwrap();
    }
}

/// transformers applies an adapter that lies beside a model. Here it is not, which is said.
#[test]
fn an_adapter_beside_a_model_is_noted() {
    let folder = Fixture::load("llama_mqa").folder();
    assert_eq!(open(&folder).unwrap().notes().len(), 0);
    let config = r#"{"peft_type": "LORA", "base_model_name_or_path": "meta/tiny"}"#;
    fs::write(folder.join("adapter_config.json"), config).unwrap();
    fs::write(folder.join("adapter_model.safetensors"), "").unwrap();
    let notes = open(&folder).unwrap().notes().join("; ");
    for part in ["adapter_config.json is not applied", "LoRA", "meta/tiny"] {
        assert!(notes.contains(part), "{notes}");
    }
}

/// Writes a fixture as a folder of `shards` safetensors files and their index.
pub(crate) fn write_shards(folder: &Path, fixture: &Fixture, shards: usize) {
    let weights = fixture.weights();
    let mut map = BTreeMap::new();
    for shard in 0..shards {
        let file_name = format!("model-{:05}-of-{shards:05}.safetensors", shard + 1);
        let mine: Vec<_> = weights.iter().skip(shard).step_by(shards).collect();
        let specs: Vec<TensorSpec> = mine
            .iter()
            .map(|weight| TensorSpec {
                name: weight.name.clone(),
                dtype: DType::F32,
                shape: Shape(weight.shape.clone()),
            })
            .collect();
        let mut bytes = header(&specs).unwrap();
        for weight in &mine {
            bytes.extend(weight.values.iter().flat_map(|value| value.to_le_bytes()));
            map.insert(weight.name.clone(), file_name.clone());
        }
        fs::write(folder.join(file_name), bytes).unwrap();
    }
    let index = serde_json::json!({ "metadata": { "total_size": 0 }, "weight_map": map });
    fs::write(
        folder.join("model.safetensors.index.json"),
        index.to_string(),
    )
    .unwrap();
    fs::write(folder.join("config.json"), fixture.config().to_string()).unwrap();
}

#[test]
fn a_sharded_folder_is_the_whole_one() {
    for name in ["gpt2", "mixtral", "bert_masked_lm"] {
        let fixture = Fixture::load(name);
        let (folder, whole) = (TempFolder::new("shards"), fixture.folder());
        write_shards(&folder, &fixture, 3);
        let (sharded, whole) = (open(&folder).unwrap(), open(&whole).unwrap());
        assert_eq!(
            all_outputs(&fixture, &sharded),
            all_outputs(&fixture, &whole)
        );

        let missing = "model-00003-of-00003.safetensors";
        fs::remove_file(folder.join(missing)).unwrap();
        let error = open(&folder).unwrap_err();
        assert!(error.to_string().contains(missing), "{error}");
    }
}

#[test]
fn the_path_of_the_weights_opens_their_folder() {
    let fixture = Fixture::load("llama_mqa");
    let folder = fixture.folder();
    check_all(&fixture, &open(&folder.join("model.safetensors")).unwrap());
}

/// An unknown tensor of a folder's layer means a variant as well; buffers that PyTorch used to save are fine.
#[test]
fn an_unknown_tensor_of_a_layer_is_refused_by_name() {
    let with = |name: &str, tensor: &str, shape: &[u64]| {
        let fixture = Fixture::load(name);
        let more = Weight {
            name: tensor.to_string(),
            shape: shape.to_vec(),
            values: vec![0.5; shape.iter().product::<u64>() as usize],
        };
        open(&fixture.folder_with(&fixture.config(), vec![more]))
    };
    for (name, tensor) in [
        ("llama", "model.layers.1.self_attn.q_norm.weight"),
        ("bamba", "model.layers.0.feed_forward.norm.weight"),
        ("gpt2", "h.0.attn.bias"),
    ] {
        let error = with(name, tensor, &[4]).unwrap_err();
        assert_eq!(error.kind(), LoadErrorKind::Unsupported);
        assert!(error.to_string().contains(tensor), "{error}");
    }
    for (name, tensor, shape) in [
        (
            "llama",
            "model.layers.1.self_attn.rotary_emb.inv_freq",
            &[4][..],
        ),
        ("llama", "mtp.layers.0.norm.weight", &[4]),
        ("gpt2", "h.0.attn.bias", &[1, 1, 8, 8]),
        ("gpt2", "h.0.attn.masked_bias", &[]),
        ("gptj", "transformer.h.0.attn.bias", &[1, 1, 8, 8]),
        ("codegen", "transformer.h.0.attn.causal_mask", &[1, 1, 8, 8]),
        (
            "baichuan",
            "model.layers.0.self_attn.rotary_emb.inv_freq",
            &[4],
        ),
        ("minimax", "model.layers.0.self_attn.slope_rate", &[4, 1, 1]),
        (
            "minimax",
            "model.layers.0.self_attn.diagonal_decay",
            &[1, 4, 8, 8],
        ),
        (
            "gpt_neox",
            "gpt_neox.layers.0.attention.bias",
            &[1, 1, 8, 8],
        ),
    ] {
        with(name, tensor, shape).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Weights that PyTorch pickled are named for what they are, with the way out.
#[test]
fn a_pickle_is_told_from_other_files() {
    let folder = TempFolder::new("pickle");
    let zip = folder.join("RWKV-x070.pth");
    fs::write(&zip, b"PK\x03\x04rest").unwrap();
    let refused = |path: &Path| open(path).unwrap_err().to_string();
    for path in [&zip, folder.as_ref()] {
        let error = refused(path);
        assert!(error.contains("RWKV-x070.pth"), "{error}");
        assert!(error.contains("save_file"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    fs::write(folder.join("config.json"), r#"{"model_type": "llama"}"#).unwrap();
    assert!(refused(&folder).contains("a pickle of PyTorch"));
    let old = folder.join("pytorch_model.bin");
    fs::write(&old, b"\x80\x02}q\x00").unwrap();
    assert!(refused(&old).contains("a pickle of PyTorch"));
}

/// Whoever brings a model that is not known hears its nearest relatives in a line, and not all of them.
#[test]
fn a_model_that_is_not_known_is_refused_in_a_line() {
    let fixture = Fixture::load("qwen2");
    let refused = |name: &str| {
        let folder = TempFolder::new("unknown");
        write_folder(&folder, &fixture, &fixture.weights());
        let path = folder.join("config.json");
        let mut config: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["model_type"] = name.into();
        config["architectures"] = serde_json::json!(["NewForCausalLM"]);
        fs::write(&path, config.to_string()).unwrap();
        let error = open(&folder).expect_err("not known");
        assert_eq!(error.kind(), LoadErrorKind::Architecture);
        error.to_string()
    };
    for (name, near) in [
        ("qwen9_moe", "qwen2"),
        ("gpt_oss_2", "gpt_oss"),
        ("Deep-Seek_v9", "deepseek"),
    ] {
        let error = refused(name);
        assert!(error.contains(name) && error.contains(near), "{error}");
        assert!(error.contains("class NewForCausalLM"), "{error}");
        assert!(error.len() < 300, "{error}");
    }
    let error = refused("zamba2");
    assert!(error.contains("a GGUF file of the model"), "{error}");
    assert!(error.contains("README.md"), "{error}");
    assert!(!error.contains("llama"), "{error}");
}
