//! Folders as they lie about: what is no folder of a model says what it is and what to do; what only
//! is optional and cannot be read is noted and done without.

use rillm::internals::ModelParts;
use std::fs;
use std::path::Path;

use serde_json::json;

use super::folder::write_shards;
use crate::support::evaluate::{check_all, open};
use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;

fn put(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn refused(path: &Path) -> String {
    let error = open(path).expect_err("refused").to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

const ADAPTER: &str = r#"{"peft_type": "LORA", "base_model_name_or_path": "org/base-7b"}"#;
const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";

#[test]
fn a_folder_without_a_model_says_what_it_is() {
    let config = r#"{"model_type": "llama"}"#;
    for (files, says) in [
        (&[][..], &["no config.json"][..]),
        (&[("config.json", config)], &["no model.safetensors"]),
        (
            &[
                ("adapter_config.json", ADAPTER),
                ("adapter_model.safetensors", ""),
            ],
            &["adapter (LoRA) of org/base-7b", "merge_and_unload"],
        ),
        (
            &[
                ("config.json", config),
                ("adapter_config.json", ADAPTER),
                ("adapter_model.safetensors", ""),
            ],
            &["adapter (LoRA) of org/base-7b"],
        ),
        (
            &[("adapter_config.json", "[")],
            &["adapter (LoRA) of another model"],
        ),
        (
            &[("params.json", "{}"), ("consolidated.safetensors", "")],
            &["params.json", "original format"],
        ),
        (
            &[("params.json", "{}"), ("consolidated.00.pth", "")],
            &["params.json", "original format"],
        ),
        (
            &[("README.md", ""), ("m-Q4_0.gguf", "")],
            &["did you mean", "m-Q4_0.gguf"],
        ),
        (
            &[("config.json", config), ("m-Q4_0.gguf", "")],
            &["no model.safetensors", "did you mean", "m-Q4_0.gguf"],
        ),
        (
            &[
                ("config.json", config),
                ("pytorch_model.bin", ""),
                ("optimizer.pt", ""),
                ("training_args.bin", ""),
            ],
            &["pytorch_model.bin", "save_file"],
        ),
        (
            &[
                ("config.json", config),
                ("pytorch_model-00001-of-00002.bin", ""),
                ("optimizer.pt", ""),
            ],
            &["pytorch_model-00001-of-00002.bin", "save_file"],
        ),
        (
            &[("config.json", config), ("tf_model.h5", "")],
            &["tf_model.h5", "TensorFlow"],
        ),
        (
            &[("config.json", config), ("flax_model.msgpack", "")],
            &["flax_model.msgpack", "Flax"],
        ),
        (
            &[("config.json", config), ("model.onnx", "")],
            &["model.onnx", "ONNX"],
        ),
        (
            &[("config.json", config), ("onnx/model.onnx", "")],
            &["no model.safetensors", "in onnx", "model.onnx", "ONNX"],
        ),
        (
            &[
                ("config.json", config),
                ("original/consolidated.00.pth", ""),
            ],
            &["no model.safetensors", "in original", "consolidated.00.pth"],
        ),
        (
            &[
                ("config.json", config),
                ("openvino_model.xml", ""),
                ("openvino_model.bin", ""),
            ],
            &["openvino_model.xml", "OpenVINO"],
        ),
        (
            &[
                ("config.json", config),
                ("model.safetensors.incomplete", ""),
            ],
            &["model.safetensors.incomplete", "did not end"],
        ),
        (
            &[
                ("config.json", config),
                ("a.safetensors", ""),
                ("b.safetensors", ""),
            ],
            &[
                "several safetensors files",
                "a.safetensors",
                "model.safetensors.index.json",
            ],
        ),
        (
            &[
                ("config.json", config),
                ("model-00001-of-00002.safetensors", ""),
            ],
            &["model-00001-of-00002.safetensors", "complete set"],
        ),
        (
            &[("0_Transformer/config.json", config)],
            &["did you mean", "0_Transformer"],
        ),
        (
            &[("config.json", config), ("model.safetensors", POINTER)],
            &["git lfs pull"],
        ),
        (
            &[("config.json", POINTER)],
            &["config.json", "git lfs pull"],
        ),
        (
            &[("config.json", "[1]")],
            &["config.json", "an object of settings"],
        ),
        (
            &[
                ("snapshots/a/config.json", config),
                ("snapshots/b/config.json", config),
            ],
            &["snapshots (a, b)"],
        ),
    ] {
        let folder = TempFolder::new("lying");
        for (name, text) in files {
            put(&folder, name, text);
        }
        let error = refused(&folder);
        for part in says {
            assert!(
                error.contains(part),
                "{files:?}: {error:?} does not say {part:?}"
            );
        }
    }
}

/// The weights' own path says no less than their folder's.
#[test]
fn an_adapter_s_weights_say_what_they_are() {
    let folder = TempFolder::new("adapter");
    put(&folder, "adapter_config.json", ADAPTER);
    put(&folder, "adapter_model.safetensors", "");
    let error = refused(&folder.join("adapter_model.safetensors"));
    assert!(error.contains("adapter (LoRA) of org/base-7b"), "{error}");
}

/// Weights of the authors' original format have other names, whatever their file is called.
#[test]
fn names_of_the_original_format_are_told() {
    let fixture = Fixture::load("llama_mqa");
    let mut weights = fixture.weights();
    for weight in &mut weights {
        for (here, there) in [
            ("model.embed_tokens", "tok_embeddings"),
            ("model.layers", "layers"),
            ("self_attn.q_proj", "attention.wq"),
        ] {
            weight.name = weight.name.replace(here, there);
        }
    }
    let folder = TempFolder::new("original");
    super::folder::write_folder(&folder, &fixture, &weights);
    fs::rename(
        folder.join("model.safetensors"),
        folder.join("consolidated.safetensors"),
    )
    .unwrap();
    assert!(refused(&folder).contains("original format"));
}

#[test]
fn every_path_into_a_folder_opens_it() {
    let fixture = Fixture::load("llama_mqa");
    let folder = fixture.folder();
    fs::write(
        folder.join("consolidated.safetensors"),
        b"the same in other words",
    )
    .unwrap();
    fs::write(folder.join("params.json"), "{}").unwrap();
    for name in [
        "",
        ".",
        "config.json",
        "model.safetensors",
        "consolidated.safetensors",
    ] {
        let model = open(&folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        check_all(&fixture, &model);
    }
    let shards = TempFolder::new("paths");
    write_shards(&shards, &fixture, 2);
    for name in [
        "model.safetensors.index.json",
        "model-00002-of-00002.safetensors",
    ] {
        let model = open(&shards.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        check_all(&fixture, &model);
    }
    // A file by itself says what it lacks.
    let alone = TempFolder::new("alone");
    fs::copy(folder.join("model.safetensors"), alone.join("4f2a")).unwrap();
    assert!(refused(&alone.join("4f2a")).contains("config.json"));
    put(&alone, "tokenizer.json", "{}");
    refused(&alone.join("tokenizer.json"));
}

/// The hub's cache keeps blobs and links to them, and folders call it by a model's name.
#[cfg(unix)]
#[test]
fn a_hub_s_cache_opens() {
    use std::os::unix::fs::symlink;
    let (fixture, cache) = (Fixture::load("llama_mqa"), TempFolder::new("hub"));
    let from = fixture.folder();
    let snapshot = cache.join("snapshots/0123abcd");
    fs::create_dir_all(&snapshot).unwrap();
    for name in ["config.json", "model.safetensors"] {
        put(
            &cache,
            &format!("blobs/{name}-etag"),
            fs::read(from.join(name)).unwrap(),
        );
        symlink(format!("../../blobs/{name}-etag"), snapshot.join(name)).unwrap();
    }
    let check = |path: &Path| {
        let model = open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        check_all(&fixture, &model);
    };
    check(&snapshot);
    check(&snapshot.join("model.safetensors"));
    check(&cache);
    // Of several, what the main branch is.
    put(&cache, "snapshots/ffff/config.json", "{}");
    assert!(refused(&cache).contains("snapshots (0123abcd, ffff)"));
    put(&cache, "refs/main", "0123abcd\n");
    check(&cache);
    put(&cache, "refs/main", "../../elsewhere");
    refused(&cache);
    let linked = TempFolder::new("link");
    symlink(&snapshot, linked.join("model")).unwrap();
    check(&linked.join("model"));
}

#[test]
fn what_is_optional_and_cannot_be_read_is_noted() {
    let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    for (name, text) in [
        (
            "generation_config.json",
            &br#"{"temperature": 0.15, "do_sample": true, }"#[..],
        ),
        ("generation_config.json", b""),
        ("generation_config.json", b"null"),
        ("generation_config.json", b"[]"),
        ("generation_config.json", b"{\"a\": 1"),
        ("generation_config.json", b"{\"a\": 1, \"a\": 2}"),
        ("generation_config.json", b"\xff\xfe{\x00"),
        ("generation_config.json", b"{\"eos_token_id\": 2} trailing"),
        ("generation_config.json", deep.as_bytes()),
        ("generation_config.json", POINTER.as_bytes()),
        ("special_tokens_map.json", b"{'bos_token': 1}"),
        ("special_tokens_map.json", b"[]"),
        ("chat_template.jinja", b"\xff\xff"),
    ] {
        let fixture = Fixture::load("llama_mqa");
        let folder = fixture.folder();
        put(&folder, name, text);
        let shown = String::from_utf8_lossy(text);
        let model = open(&folder).unwrap_or_else(|error| panic!("{name} {shown:?}: {error}"));
        let [note] = model.notes() else {
            panic!("{name} {shown:?}: {:?}", model.notes())
        };
        assert!(
            note.contains(name) && note.contains("done without"),
            "{note}"
        );
        assert_eq!(note.matches(name).count(), 1, "{note}");
    }
    // A folder of that name, and what is fine.
    let fixture = Fixture::load("llama_mqa");
    let folder = fixture.folder();
    fs::create_dir(folder.join("generation_config.json")).unwrap();
    assert_eq!(open(&folder).expect("a folder").notes().len(), 1);
    let folder = fixture.folder();
    let fine = r#"{"eos_token_id": [2, 7], "top_p": NaN, "max_length": Infinity}"#;
    put(&folder, "generation_config.json", fine);
    put(&folder, "special_tokens_map.json", "{}");
    assert_eq!(open(&folder).expect("a folder").notes(), [""; 0]);
}

/// Where transformers looks: `generation_config.json`, else `config.json`.
#[test]
fn a_decoder_starts_where_either_configuration_says() {
    let starts = |config: serde_json::Value, generation: &str| {
        let fixture = Fixture::load("t5");
        let mut all = fixture.config();
        let object = all.as_object_mut().unwrap();
        object.remove("decoder_start_token_id");
        object.extend(config.as_object().unwrap().clone());
        let folder = fixture.folder_with(&all, Vec::new());
        put(&folder, "generation_config.json", generation);
        open(&folder).map(|model| model.decoder_start())
    };
    for (config, generation, expected) in [
        (json!({}), "{}", 0),
        (json!({"decoder_start_token_id": 3}), "{}", 3),
        (
            json!({"decoder_start_token_id": 3}),
            r#"{"decoder_start_token_id": 5}"#,
            5,
        ),
        (
            json!({"decoder_start_token_id": 3}),
            r#"{"decoder_start_token_id": null}"#,
            3,
        ),
        (
            json!({"decoder_start_token_id": null}),
            r#"{"decoder_start_token_id": 5}"#,
            5,
        ),
        (
            json!({"decoder_start_token_id": 3}),
            r#"{"decoder_start_token_id": 0}"#,
            0,
        ),
        (json!({}), r#"{"decoder_start_token_id": [4]}"#, 4),
        (json!({"decoder_start_token_id": 3}), "no JSON", 3),
    ] {
        let found = starts(config.clone(), generation);
        assert_eq!(found.unwrap(), Some(expected), "{config} {generation}");
    }
    for wrong in ["-1", "\"five\"", "5000", "1.5", "[]"] {
        let error = starts(
            json!({ "decoder_start_token_id": 0 }),
            &format!(r#"{{"decoder_start_token_id": {wrong}}}"#),
        );
        let error = error.expect_err(wrong).to_string();
        assert!(
            error.contains("generation.decoder_start_token_id"),
            "{error}"
        );
    }
}

#[test]
fn quantized_checkpoints_are_refused_by_their_own_names() {
    let method = |method: &str| json!({ "quantization_config": { "quant_method": method } });
    for (config, says) in [
        (
            json!({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4"}}),
            "bitsandbytes (4 bits)",
        ),
        (
            json!({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": true}}),
            "bitsandbytes (8 bits)",
        ),
        (
            json!({"quantization_config": {"load_in_8bit": true}}),
            "bitsandbytes (8 bits)",
        ),
        (
            json!({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}),
            "GPTQ (4 bits)",
        ),
        (
            json!({"quantization_config": {"quant_method": "awq", "bits": 4, "version": "gemm"}}),
            "AWQ (4 bits)",
        ),
        (method("hqq"), "HQQ"),
        (method("eetq"), "EETQ"),
        (method("aqlm"), "AQLM"),
        (method("quanto"), "quanto"),
        (method("torchao"), "torchao"),
        (method("auto-round"), "auto-round"),
        (
            json!({"quantization_config": {"quant_method": "bitnet", "use_rms_norm": true}}),
            "BitNet (use_rms_norm)",
        ),
        (
            json!({"quantization_config": {"quant_method": "bitnet"}, "num_local_experts": 4}),
            "BitNet (experts)",
        ),
        (
            json!({"quantization_config": {"quant_method": "bitnet", "modules_to_not_convert": ["model.layers.0"]}}),
            "BitNet (modules_to_not_convert)",
        ),
        (
            json!({"quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized"}}),
            "compressed-tensors (pack-quantized)",
        ),
        (
            json!({"quantization_config": {"quant_method": "compressed-tensors", "format": "int-quantized"}}),
            "compressed-tensors (int-quantized)",
        ),
        (
            json!({"compression_config": {"format": "marlin-24"}}),
            "compressed-tensors (marlin-24)",
        ),
        (
            json!({"quantization_config": {"quant_method": "compressed-tensors", "format": "naive-quantized",
            "config_groups": {"group_0": {"weights": {"type": "int", "num_bits": 8}}}}}),
            "compressed-tensors (naive-quantized)",
        ),
        (
            json!({"quantization_config": {"quant_method": "compressed-tensors", "format": "dense",
                "sparsity_config": {"format": "sparse-24-bitmask"}}}),
            "compressed-tensors (sparse-24-bitmask)",
        ),
        (
            json!({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}),
            "ModelOpt (NVFP4)",
        ),
        (
            json!({"quantization": {"group_size": 64, "bits": 4}}),
            "MLX (4 bits)",
        ),
        (
            json!({"quantization": {"group_size": 64, "bits": 4},
            "quantization_config": {"group_size": 64, "bits": 4}}),
            "MLX (4 bits)",
        ),
        (
            json!({"quantization_config": {"bits": 3}}),
            "a method without a name",
        ),
    ] {
        let fixture = Fixture::load("llama_mqa");
        let mut all = fixture.config();
        all.as_object_mut()
            .unwrap()
            .extend(config.as_object().unwrap().clone());
        let error = refused(&fixture.folder_with(&all, Vec::new()));
        assert!(
            error.contains(says) && error.contains("rillm quantize"),
            "{config}: {error}"
        );
    }
    // Where config.json says nothing.
    for (name, says) in [
        ("quantize_config.json", "GPTQ"),
        ("quant_config.json", "AWQ"),
    ] {
        let folder = Fixture::load("llama_mqa").folder();
        put(&folder, name, r#"{"bits": 4}"#);
        assert!(refused(&folder).contains(says));
    }
    for (tensor, says) in [
        ("model.layers.0.mlp.up_proj.qweight", "GPTQ or AWQ"),
        ("model.layers.0.mlp.up_proj.SCB", "bitsandbytes (8 bits)"),
        (
            "model.layers.0.mlp.up_proj.weight.absmax",
            "bitsandbytes (4 bits)",
        ),
        ("model.layers.0.mlp.up_proj.W_q", "HQQ"),
        (
            "model.layers.0.mlp.up_proj.weight_packed",
            "compressed-tensors",
        ),
    ] {
        let fixture = Fixture::load("llama_mqa");
        let more = crate::support::fixture::Weight {
            name: tensor.to_string(),
            shape: vec![4],
            values: vec![0.5; 4],
        };
        let error = refused(&fixture.folder_with(&fixture.config(), vec![more]));
        assert!(error.contains(says), "{error}");
    }
}

/// What has a file's name and cannot be read is not taken for absent: what is needed is refused by its
/// name, what is optional is noted.
#[cfg(unix)]
#[test]
fn what_cannot_be_read_is_said_to_be_there() {
    use std::os::unix::{fs::symlink, net::UnixListener};
    let fixture = Fixture::load("bert");
    const KINDS: [&str; 4] = [
        "is a link to nothing",
        "symbolic links",
        "is a folder",
        "is no regular file",
    ];
    for says in KINDS {
        let make = |path: &Path| match says {
            "is a link to nothing" => symlink("gone", path).unwrap(),
            "symbolic links" => symlink(path, path).unwrap(),
            "is a folder" => fs::create_dir(path).unwrap(),
            _ => drop(UnixListener::bind(path).unwrap()),
        };
        for name in [
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer.model",
            "tokenizer_config.json",
            "vocab.json",
            "merges.txt",
            "vocab.txt",
            "added_tokens.json",
            "source.spm",
            "rwkv_vocab.txt",
            "modules.json",
            "config_sentence_transformers.json",
            "sentence_bert_config.json",
        ] {
            let folder = fixture.folder();
            let path = folder.join(name);
            let _ = fs::remove_file(&path);
            make(&path);
            let error = refused(&folder);
            assert!(error.contains(name) && error.contains(says), "{error}");
        }
        let folder = fixture.folder();
        fs::remove_file(folder.join("model.safetensors")).unwrap();
        make(&folder.join("model.safetensors.index.json"));
        assert!(refused(&folder).contains(says));
        for name in [
            "generation_config.json",
            "special_tokens_map.json",
            "chat_template.jinja",
        ] {
            let folder = fixture.folder();
            make(&folder.join(name));
            let model = open(&folder).unwrap_or_else(|error| panic!("{error}"));
            let [note] = model.notes() else {
                panic!("{name}: {:?}", model.notes());
            };
            assert!(note.contains(name) && note.contains(says), "{note}");
        }
    }
}

#[test]
fn weights_without_tensors_are_said_to_be_that() {
    let config = Fixture::load("bert").config().to_string();
    let empty = [&2u64.to_le_bytes()[..], b"{}"].concat();
    for (name, bytes) in [
        ("model.safetensors", empty.as_slice()),
        ("model.safetensors.index.json", br#"{"weight_map": {}}"#),
    ] {
        let folder = TempFolder::new("empty");
        put(&folder, "config.json", &config);
        put(&folder, name, bytes);
        assert!(refused(&folder).ends_with("has no tensors"), "{name}");
    }
}
