//! The same tensors under other names: with and without the modules around the base model, tied
//! ones under any of their names, and names that an index has and no shard.

use std::fs;
use std::path::Path;

use rillm::LoadError;
use rillm::internals::models::bare;

use super::folder::{write_folder, write_shards};
use crate::support::evaluate::{check_all, open, runnable};
use crate::support::fixture::{Fixture, Weight};
use crate::support::folder::TempFolder;

/// Checks the outputs of a fixture whose tensors are called as `rename` says.
fn renamed(fixture: &Fixture, rename: impl Fn(&str) -> String) -> Result<(), LoadError> {
    let folder = TempFolder::new("renamed");
    let mut weights = fixture.weights();
    for weight in &mut weights {
        weight.name = rename(&weight.name);
    }
    write_folder(&folder, fixture, &weights);
    open(&folder).map(|model| check_all(fixture, &model))
}

#[test]
fn modules_around_the_base_model_do_not_count() {
    for fixture in runnable() {
        for around in ["", "model.language_model."] {
            let name = |name: &str| format!("{around}{}", bare(name));
            renamed(&fixture, name).unwrap_or_else(|e| panic!("{} {around}: {e}", fixture.name));
        }
    }
}

/// What different publishers put around the same model.
#[test]
fn all_that_publishers_put_around_a_model_is_known() {
    for (name, around) in [
        ("qwen3", "language_model.model."),
        ("llama_mqa", "module.model."),
        ("llama_mqa", "_orig_mod.model."),
        ("llama_mqa", "base_model.model.model."),
        ("mistral", "llm.model."),
        ("gemma3", "text_model.model."),
        ("bert", "0.auto_model."),
        ("bert", "bert."),
        ("gpt2", "transformer."),
        ("mamba", "model.backbone."),
        ("rwkv4", "model.rwkv."),
        ("gpt_neox", "model.gpt_neox."),
    ] {
        let fixture = Fixture::load(name);
        let name = |name: &str| match bare(name).contains("head") {
            true => name.to_string(),
            false => format!("{around}{}", bare(name)),
        };
        renamed(&fixture, name).unwrap_or_else(|e| panic!("{} {around}: {e}", fixture.name));
    }
    // The vision's layers are not the text's.
    let fixture = Fixture::load("llama_mqa");
    let tower = |name: &str| match name.contains(".layers.1.") {
        true => name.replace("model.", "model.vision_tower."),
        false => name.to_string(),
    };
    let error = renamed(&fixture, tower).expect_err("a layer is missing");
    assert!(error.to_string().contains("model.layers.1."), "{error}");
}

#[test]
fn a_tensor_under_two_names_is_refused() {
    for (name, of, twice) in [
        (
            "llama_mqa",
            "model.layers.0.mlp.up_proj.weight",
            "layers.0.mlp.up_proj.weight",
        ),
        ("llama_mqa", "model.norm.weight", "transformer.norm.weight"),
        ("gpt2", "h.0.ln_1.bias", "transformer.h.0.ln_1.bias"),
        (
            "mixtral",
            "model.layers.0.block_sparse_moe.experts.1.w1.weight",
            "layers.0.block_sparse_moe.experts.1.w1.weight",
        ),
    ] {
        let fixture = Fixture::load(name);
        let weights = fixture.weights();
        let like = weights.iter().find(|weight| bare(&weight.name) == bare(of));
        let like = like.unwrap_or_else(|| panic!("{name} has no {of}"));
        let other = if like.name == twice { of } else { twice };
        let more = Weight {
            name: other.to_string(),
            shape: like.shape.clone(),
            values: like.values.clone(),
        };
        let error = open(&fixture.folder_with(&fixture.config(), vec![more])).unwrap_err();
        assert!(error.to_string().contains("twice"), "{error}");
    }
}

/// Whichever of the tensors that share their values is stored.
#[test]
fn tied_tensors_are_found_under_any_of_their_names() {
    let one = |from: &'static str, to: &'static str| {
        move |name: &str| match name == from {
            true => to.to_string(),
            false => name.to_string(),
        }
    };
    for (name, from, to) in [
        ("t5", "shared.weight", "encoder.embed_tokens.weight"),
        ("t5", "shared.weight", "decoder.embed_tokens.weight"),
        ("t5", "shared.weight", "lm_head.weight"),
        ("t5_encoder", "shared.weight", "encoder.embed_tokens.weight"),
        ("t5_gated", "shared.weight", "decoder.embed_tokens.weight"),
        ("llama_tied", "model.embed_tokens.weight", "lm_head.weight"),
        ("qwen2_tied", "model.embed_tokens.weight", "lm_head.weight"),
        ("gemma2", "model.embed_tokens.weight", "lm_head.weight"),
        ("gpt2", "transformer.wte.weight", "lm_head.weight"),
        ("mamba", "backbone.embeddings.weight", "lm_head.weight"),
        (
            "bert_masked_lm",
            "bert.embeddings.word_embeddings.weight",
            "cls.predictions.decoder.weight",
        ),
        (
            "bert_masked_lm",
            "cls.predictions.bias",
            "cls.predictions.decoder.bias",
        ),
        (
            "roberta_masked_lm",
            "roberta.embeddings.word_embeddings.weight",
            "lm_head.decoder.weight",
        ),
        ("roberta_masked_lm", "lm_head.bias", "lm_head.decoder.bias"),
        (
            "distilbert_masked_lm",
            "distilbert.embeddings.word_embeddings.weight",
            "vocab_projector.weight",
        ),
        (
            "electra_generator",
            "electra.embeddings.word_embeddings.weight",
            "generator_lm_head.weight",
        ),
    ] {
        let fixture = Fixture::load(name);
        let there = fixture.weights().iter().any(|weight| weight.name == from);
        assert!(there, "{name} has no {from}");
        renamed(&fixture, one(from, to)).unwrap_or_else(|e| panic!("{name}: {to}: {e}"));
    }
    // All of them at once: the first counts.
    let t5 = Fixture::load("t5");
    let weights = t5.weights();
    let shared = weights
        .iter()
        .find(|weight| weight.name == "shared.weight")
        .unwrap();
    let copies = [
        "encoder.embed_tokens.weight",
        "decoder.embed_tokens.weight",
        "lm_head.weight",
    ];
    let copies = copies.map(|name| Weight {
        name: name.to_string(),
        shape: shared.shape.clone(),
        values: shared.values.clone(),
    });
    let folder = t5.folder_with(&t5.config(), copies.into());
    check_all(&t5, &open(&folder).expect("a folder"));
    // A head of its own is no embedding.
    let error = renamed(&Fixture::load("llama_mqa"), |name| match name {
        "model.embed_tokens.weight" => "elsewhere.weight".to_string(),
        name => name.to_string(),
    });
    let error = error.expect_err("no embedding").to_string();
    assert!(error.contains("embed_tokens.weight"), "{error}");
}

/// Adds tensors to the index of a sharded folder.
fn promise(folder: &Path, names: &[&str]) {
    let path = folder.join("model.safetensors.index.json");
    let mut index: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for name in names {
        index["weight_map"][*name] = "model-00002-of-00002.safetensors".into();
    }
    fs::write(path, index.to_string()).unwrap();
}

#[test]
fn what_an_index_promises_counts_where_it_is_needed() {
    for (name, promised) in [
        ("llama_tied", &["lm_head.weight", "mtp.fc.weight"][..]),
        (
            "llama_mqa",
            &["mtp.layers.0.norm.weight", "visual.patch_embed.weight"],
        ),
        (
            "llama_mqa",
            &["model.layers.0.self_attn.rotary_emb.inv_freq"],
        ),
        ("llama_mqa", &["model.layers.7.mlp.up_proj.weight"]),
        ("gpt2", &["h.0.attn.masked_bias", "lm_head.weight"]),
        ("t5", &["lm_head.weight", "encoder.embed_tokens.weight"]),
        ("bert_masked_lm", &["cls.predictions.decoder.weight"]),
    ] {
        let (fixture, folder) = (Fixture::load(name), TempFolder::new("promised"));
        write_shards(&folder, &fixture, 2);
        promise(&folder, promised);
        let model = open(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
        check_all(&fixture, &model);
    }
    let fixture = Fixture::load("llama_tied");
    let folder = TempFolder::new("promised");
    write_shards(&folder, &fixture, 2);
    // Biases are optional, but not where the index says that there are some.
    promise(&folder, &["model.layers.1.mlp.up_proj.bias"]);
    let error = open(&folder).expect_err("a bias is missing").to_string();
    assert!(error.contains("model.layers.1.mlp.up_proj.bias"), "{error}");
    assert!(
        error.contains("model-00002-of-00002.safetensors"),
        "{error}"
    );
}

/// What of a checkpoint was not fetched, and no graph asks for, is done without.
#[test]
fn a_shard_that_is_absent_counts_where_it_is_needed() {
    let (fixture, folder) = (Fixture::load("llama_mqa"), TempFolder::new("absent"));
    write_shards(&folder, &fixture, 2);
    let path = folder.join("model.safetensors.index.json");
    let mut index: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    index["weight_map"]["visual.patch_embed.weight"] = "model-00003-of-00003.safetensors".into();
    fs::write(path, index.to_string()).unwrap();
    check_all(&fixture, &open(&folder).expect("a folder"));
    fs::remove_file(folder.join("model-00001-of-00002.safetensors")).unwrap();
    let error = open(&folder).expect_err("a shard is missing").to_string();
    assert!(
        error.contains("model-00001-of-00002.safetensors"),
        "{error}"
    );
}

/// An index is left over from a checkpoint that has been merged into one file.
#[test]
fn one_file_counts_before_an_index() {
    let fixture = Fixture::load("llama_mqa");
    let folder = fixture.folder();
    let stale = r#"{"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}"#;
    fs::write(folder.join("model.safetensors.index.json"), stale).unwrap();
    check_all(&fixture, &open(&folder).expect("a folder"));
}

/// Shards that are numbered through need no index.
#[test]
fn a_complete_set_of_shards_needs_no_index() {
    let fixture = Fixture::load("llama_mqa");
    let folder = TempFolder::new("numbered");
    write_shards(&folder, &fixture, 3);
    fs::remove_file(folder.join("model.safetensors.index.json")).unwrap();
    fs::write(folder.join("consolidated.safetensors"), b"something else").unwrap();
    check_all(&fixture, &open(&folder).expect("a folder"));
    fs::remove_file(folder.join("model-00002-of-00003.safetensors")).unwrap();
    let error = open(&folder).expect_err("a shard is missing").to_string();
    assert!(error.contains("model.safetensors.index.json"), "{error}");
}
