//! The same model from a GGUF file, a split one, a sharded folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rillm::error::LoadErrorKind;
use rillm_formats::gguf::write::{TensorSpec, to_bytes};
use rillm_formats::manifest::{Array, DType, Metadata, Shape, Value};
use rillm_formats::safetensors::write::header;

use crate::support::evaluate::{all_outputs, check_all, open, open_bytes, runnable};
use crate::support::fixture::{Fixture, Weight};
use crate::support::folder::TempFolder;
use crate::support::to_gguf::{Floats, Gguf, encode};

#[test]
fn a_gguf_in_memory_computes_what_the_reference_does() {
    for fixture in runnable() {
        let model = open_bytes(Gguf::of(&fixture).bytes())
            .unwrap_or_else(|error| panic!("{}: {error}", fixture.name));
        check_all(&fixture, &model);
    }
}

/// Whatever this project's own converters have in common, this file has not: see its README.
#[test]
fn a_file_of_the_usual_converter_computes_what_the_reference_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bamba.gguf");
    let fixture = Fixture::load("bamba");
    let ours = Gguf::of(&fixture);
    let theirs = rillm::internals::weights::open(&path).unwrap();
    let names: Vec<&String> = theirs.manifest.tensors.keys().collect();
    assert_eq!(names, ours.tensors.keys().collect::<Vec<_>>());
    for (name, info) in &theirs.manifest.tensors {
        let floats = &ours.tensors[name];
        assert_eq!(
            (info.dtype, &info.shape.0),
            (DType::F32, &floats.shape),
            "{name}"
        );
        let range = info.range.start as usize..info.range.end as usize;
        let (stored, _) = theirs.sources[0].bytes()[range].as_chunks();
        for (&bytes, &value) in stored.iter().zip(&floats.values) {
            // A is an exponential, whose last bit is nobody's business.
            let error = (f32::from_le_bytes(bytes) - value).abs();
            assert!(error <= 1e-6 * value.abs(), "{name}");
        }
    }
    for key in [
        "rope.dimension_count",
        "attention.head_count",
        "ssm.inner_size",
    ] {
        let key = ours.key(key);
        let (ours, theirs) = (&ours.metadata, &theirs.manifest.metadata);
        assert_eq!(theirs.u64(&key), ours.u64(&key), "{key}");
    }
    check_all(&fixture, &open(&path).unwrap());
}

#[test]
fn a_mapped_gguf_is_the_gguf_in_memory() {
    let folder = TempFolder::new("mapped");
    for fixture in runnable() {
        let bytes = Gguf::of(&fixture).bytes();
        let path = folder.join(format!("{}.gguf", fixture.name));
        fs::write(&path, &bytes).unwrap();
        let (mapped, owned) = (open(&path).unwrap(), open_bytes(bytes).unwrap());
        assert_eq!(
            all_outputs(&fixture, &mapped),
            all_outputs(&fixture, &owned),
            "{}",
            fixture.name
        );
    }
}

#[test]
fn a_folder_computes_what_the_reference_does() {
    for fixture in runnable() {
        let folder = fixture.folder();
        check_all(&fixture, &open(&folder).unwrap());
    }
}

/// What the usual converters call the tensors, written down from their lists and not from ours.
#[test]
fn converted_names_are_the_converters_names() {
    let llama: &[&str] = &[
        "attn_norm.weight",
        "attn_q.weight",
        "attn_k.weight",
        "attn_v.weight",
        "attn_output.weight",
        "ffn_norm.weight",
        "ffn_gate.weight",
        "ffn_up.weight",
        "ffn_down.weight",
    ];
    let gpt2: &[&str] = &[
        "attn_norm.weight",
        "attn_norm.bias",
        "attn_qkv.weight",
        "attn_qkv.bias",
        "attn_output.weight",
        "attn_output.bias",
        "ffn_norm.weight",
        "ffn_norm.bias",
        "ffn_up.weight",
        "ffn_up.bias",
        "ffn_down.weight",
        "ffn_down.bias",
    ];
    let mixtral: &[&str] = &[
        "attn_norm.weight",
        "attn_q.weight",
        "attn_k.weight",
        "attn_v.weight",
        "attn_output.weight",
        "ffn_norm.weight",
        "ffn_gate_inp.weight",
        "ffn_gate_exps.weight",
        "ffn_up_exps.weight",
        "ffn_down_exps.weight",
    ];
    let bert: &[&str] = &[
        "attn_q.weight",
        "attn_q.bias",
        "attn_k.weight",
        "attn_k.bias",
        "attn_v.weight",
        "attn_v.bias",
        "attn_output.weight",
        "attn_output.bias",
        "attn_output_norm.weight",
        "attn_output_norm.bias",
        "ffn_up.weight",
        "ffn_up.bias",
        "ffn_down.weight",
        "ffn_down.bias",
        "layer_output_norm.weight",
        "layer_output_norm.bias",
    ];
    let mamba: &[&str] = &[
        "attn_norm.weight",
        "ssm_in.weight",
        "ssm_conv1d.weight",
        "ssm_conv1d.bias",
        "ssm_x.weight",
        "ssm_dt.weight",
        "ssm_dt.bias",
        "ssm_a",
        "ssm_d",
        "ssm_out.weight",
    ];
    let decoder = &[
        "attn_norm.weight",
        "attn_q.weight",
        "attn_k.weight",
        "attn_v.weight",
        "attn_o.weight",
        "cross_attn_norm.weight",
        "cross_attn_q.weight",
        "cross_attn_k.weight",
        "cross_attn_v.weight",
        "cross_attn_o.weight",
        "ffn_norm.weight",
        "ffn_up.weight",
        "ffn_down.weight",
    ];
    for (name, prefix, expected) in [
        ("llama_mqa", "blk.1.", llama),
        ("gpt2", "blk.1.", gpt2),
        ("mixtral", "blk.1.", mixtral),
        ("bert", "blk.1.", bert),
        ("mamba", "blk.1.", mamba),
        ("t5", "dec.blk.1.", decoder),
    ] {
        let gguf = Gguf::of(&Fixture::load(name));
        let mut found: Vec<&str> = gguf
            .tensors
            .keys()
            .filter_map(|name| name.strip_prefix(prefix))
            .filter(|name| !(name.ends_with(".bias") && prefix == "blk.1." && expected == llama))
            .collect();
        let mut expected = expected.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{name}");
    }
    let t5 = Gguf::of(&Fixture::load("t5"));
    for name in [
        "token_embd.weight",
        "enc.output_norm.weight",
        "dec.output_norm.weight",
        "enc.blk.0.attn_rel_b.weight",
        "dec.blk.0.attn_rel_b.weight",
    ] {
        assert!(t5.tensors.contains_key(name), "{name}");
    }
}

/// A file of a split model: its number, how many there are, how many tensors in all.
fn split_keys(keys: &mut Metadata, number: u16, files: u16, tensors: usize) {
    let tensors = Value::I32(i32::try_from(tensors).unwrap());
    keys.0.insert("split.no".into(), Value::U16(number));
    keys.0.insert("split.count".into(), Value::U16(files));
    keys.0.insert("split.tensors.count".into(), tensors);
}

fn write_split(folder: &Path, gguf: &Gguf, files: u16) {
    let names: Vec<&String> = gguf.tensors.keys().collect();
    for number in 0..files {
        // Only the first file says what the model is.
        let mut keys = match number {
            0 => gguf.metadata.clone(),
            _ => Metadata::default(),
        };
        split_keys(&mut keys, number, files, names.len());
        let mine = names.iter().skip(number.into()).step_by(files.into());
        let encoded: Vec<(TensorSpec, Vec<u8>)> = mine
            .map(|name| {
                let floats = &gguf.tensors[*name];
                let spec = TensorSpec {
                    name: (*name).clone(),
                    dtype: DType::F32,
                    shape: Shape(floats.shape.clone()),
                };
                (spec, encode(DType::F32, floats))
            })
            .collect();
        let tensors: Vec<(TensorSpec, &[u8])> = encoded
            .iter()
            .map(|(spec, bytes)| (spec.clone(), bytes.as_slice()))
            .collect();
        let path = folder.join(format!("model-{:05}-of-{files:05}.gguf", number + 1));
        fs::write(path, to_bytes(&keys, &tensors).unwrap()).unwrap();
    }
}

/// Converters divide RWKV-6's weights by what x is halved by; older ones left its mixtures apart.
#[test]
fn divided_weights_are_left_as_they_are() {
    const EVERY: usize = 2;
    let fixture = Fixture::load("rwkv6_halved");
    let mut gguf = Gguf::of(&fixture);
    let (theirs, ours) = (
        gguf.key("rescale_every_n_layers"),
        gguf.key("rescale_undivided_every"),
    );
    gguf.metadata.0.remove(&ours).expect("a key");
    gguf.metadata.0.insert(theirs, Value::U32(EVERY as u32));
    for (name, mut floats) in std::mem::take(&mut gguf.tensors) {
        let layer = name.split('.').nth(1).and_then(|layer| layer.parse().ok());
        let halved = layer.unwrap_or(0usize) / EVERY;
        if ["time_mix_output.", "channel_mix_value."]
            .iter()
            .any(|divided| name.contains(divided))
        {
            let factor = (-(halved as f32)).exp2();
            floats.values.iter_mut().for_each(|value| *value *= factor);
        }
        if name.contains("time_mix_lerp_fused") {
            let width = floats.values.len() / 5;
            for (part, values) in ["w", "k", "v", "r", "g"]
                .iter()
                .zip(floats.values.chunks(width))
            {
                let floats = Floats {
                    shape: vec![1, 1, width as u64],
                    values: values.to_vec(),
                };
                let name = name.replace("fused", part);
                gguf.tensors.insert(name, floats);
            }
            continue;
        }
        gguf.tensors.insert(name, floats);
    }
    check_all(&fixture, &open_bytes(gguf.bytes()).expect("a file"));
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

fn write_folder(folder: &Path, fixture: &Fixture, weights: &[Weight]) {
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

/// Converters put Qwen3-Next's layers that guess tokens after the next one behind the others.
#[test]
fn layers_that_guess_further_tokens_are_left_out() {
    let fixture = Fixture::load("qwen3_next");
    let mut gguf = Gguf::of(&fixture);
    let (blocks, kinds, guessing) = (
        gguf.key("block_count"),
        gguf.key("attention.recurrent_layers"),
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
        .insert(blocks, Value::U32(layers as u32 + 1));
    gguf.metadata.0.insert(guessing.clone(), Value::U32(1));
    if let Some(Value::Array(Array::Bool(kinds))) = gguf.metadata.0.get_mut(&kinds) {
        kinds.push(false);
    }
    check_all(&fixture, &open_bytes(gguf.bytes()).expect("a file"));
    let all = Value::U32(layers as u32 + 1);
    gguf.metadata.0.insert(guessing, all);
    let error = open_bytes(gguf.bytes()).unwrap_err().to_string();
    assert!(error.contains("nextn_predict_layers"), "{error}");
}

#[test]
fn a_split_gguf_is_the_whole_one() {
    for name in ["gpt2", "mixtral", "t5"] {
        let fixture = Fixture::load(name);
        let gguf = Gguf::of(&fixture);
        let folder = TempFolder::new("split");
        write_split(&folder, &gguf, 3);
        let split = open(&folder.join("model-00001-of-00003.gguf")).unwrap();
        let whole = open_bytes(gguf.bytes()).unwrap();
        assert_eq!(
            split.manifest().tensors.values().map(|t| t.file).max(),
            Some(2)
        );
        assert_eq!(all_outputs(&fixture, &split), all_outputs(&fixture, &whole));

        let missing = folder.join("model-00002-of-00003.gguf");
        fs::remove_file(&missing).unwrap();
        let error = open(&folder.join("model-00001-of-00003.gguf")).unwrap_err();
        assert!(
            error.to_string().contains("model-00002-of-00003.gguf"),
            "{error}"
        );
    }
}

/// Writes a fixture as a folder of `shards` safetensors files and their index.
fn write_shards(folder: &Path, fixture: &Fixture, shards: usize) {
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

/// An unknown tensor means a variant whose results would be wrong; what converters are known to
/// leave behind is fine.
#[test]
fn an_unknown_tensor_is_refused_by_name() {
    let with = |name: &str, tensor: &str| {
        let mut gguf = Gguf::of(&Fixture::load(name));
        let floats = gguf.tensors.values().next().unwrap().clone();
        gguf.tensors.insert(tensor.into(), floats);
        open_bytes(gguf.bytes())
    };
    let error = with("llama", "blk.0.attn_q_norm.weight").unwrap_err();
    assert_eq!(error.kind(), LoadErrorKind::Unsupported);
    assert!(
        error.to_string().contains("blk.0.attn_q_norm.weight"),
        "{error}"
    );
    assert!(with("t5", "dec.blk.0.cross_attn_rel_b.weight").is_ok());
}

/// So does an unknown tensor of a folder's layer; buffers that PyTorch used to save are fine.
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

/// A vector may come as a row or as a column.
#[test]
fn extents_of_one_do_not_count() {
    let fixture = Fixture::load("mamba_bias");
    let plain = open_bytes(Gguf::of(&fixture).bytes()).unwrap();
    for shape in [|n: u64| vec![1, n], |n: u64| vec![n, 1]] {
        let mut gguf = Gguf::of(&fixture);
        for floats in gguf.tensors.values_mut() {
            if let &[n] = floats.shape.as_slice() {
                floats.shape = shape(n);
            }
        }
        let model = open_bytes(gguf.bytes()).unwrap();
        assert_eq!(all_outputs(&fixture, &model), all_outputs(&fixture, &plain));
    }
}
