//! Models that lie: every hyperparameter in turn takes values that nobody trained with. Each
//! is refused in one line or runs; none panics or reserves memory out of proportion.

use rillm::internals::ModelParts;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use rillm::error::{LoadErrorKind, RunErrorKind};
use rillm::internals::models::ARCHITECTURES;
use rillm::internals::weights::{Files, Source, TokenizerFiles};
use rillm::{LoadError, Model, Session, SessionOptions};
use rillm_formats::manifest::{Array, Metadata, MetadataValue, Strings};
use rillm_formats::{FormatError, gguf, hf_config, safetensors};
use serde_json::{Value as Json, json};

use crate::support::evaluate::{open_bytes, options, runnable};
use crate::support::exercise::OPTIONS;
use crate::support::fixture::Fixture;
use crate::support::survives::survives;
use crate::support::to_gguf::Gguf;

/// One fixture of every kind of wiring.
const KINDS: &[&str] = &[
    "albert_groups",
    "bert_masked_lm",
    "bert_question",
    "bert_sequence",
    "big_bird_question",
    "deberta2",
    "deberta2_conv",
    "gla_shared",
    "gpt2",
    "linear_transformer",
    "llama",
    "llama_dynamic",
    "llama_llama3",
    "llama_yarn_mscale",
    "longformer_question",
    "mamba_bias",
    "mistral",
    "mixtral",
    "qwen3_next",
    "retnet",
    "retnet_fla_shared",
    "rwkv4",
    "rwkv6_halved",
    "rwkv7",
    "t5",
    "t5_gated",
];

fn nasty_json() -> Vec<Json> {
    vec![
        json!(0),
        json!(-1),
        json!(1),
        json!(3),
        json!(7),
        json!(1u64 << 16),
        json!(1u64 << 31),
        json!((1u64 << 32) - 1),
        json!(1u64 << 63),
        json!(u64::MAX),
        json!(0.5),
        json!(1e-45),
        json!(-1e38),
        json!(1e308),
        json!("x"),
        json!("relu"),
        json!(""),
        json!([]),
        json!([1, 2]),
        json!({}),
        json!({"factor": 0, "rope_type": "yarn"}),
        json!(null),
        json!(true),
        json!(false),
    ]
}

/// A Hugging Face folder in memory: thousands of them are quicker than files.
struct Checkpoint {
    weights: Vec<u8>,
}

impl Checkpoint {
    fn of(fixture: &Fixture) -> Checkpoint {
        let weights = fs::read(fixture.folder().join("model.safetensors")).unwrap();
        Checkpoint { weights }
    }

    fn open(&self, config: &Json) -> Result<Model, LoadError> {
        let refused = |error: FormatError| LoadError::new(LoadErrorKind::Format, error.to_string());
        let config = hf_config::parse(config.to_string().as_bytes()).map_err(refused)?;
        let parsed = safetensors::parse(&self.weights, 0).map_err(refused)?;
        let files = Files {
            manifest: safetensors::merge(config, vec![parsed], None).map_err(refused)?,
            sources: vec![Source::Owned(self.weights.clone())],
            tokenizer: TokenizerFiles::default(),
            modules: Default::default(),
            path: PathBuf::new(),
            notes: Vec::new(),
        };
        Model::from_files(files, options())
    }
}

/// Every path to a value of a configuration, objects' own included.
fn paths(config: &Json) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (key, value) in config.as_object().into_iter().flatten() {
        found.push(vec![key.clone()]);
        for mut path in paths(value) {
            path.insert(0, key.clone());
            found.push(path);
        }
    }
    found
}

fn put(config: &mut Json, path: &[String], value: Option<Json>) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let mut at = config;
    for key in parents {
        at = &mut at[key];
    }
    let object = at.as_object_mut().expect("an object");
    match value {
        Some(value) => object.insert(last.clone(), value),
        None => object.remove(last),
    };
}

#[test]
fn every_key_of_a_config_may_lie() {
    for name in KINDS {
        let fixture = Fixture::load(name);
        let checkpoint = Checkpoint::of(&fixture);
        let config = fixture.config();
        let mut refused = 0;
        for path in paths(&config) {
            for value in nasty_json().into_iter().map(Some).chain([None]) {
                let label = format!("{name}: {path:?} = {value:?}");
                let mut config = config.clone();
                put(&mut config, &path, value);
                refused += usize::from(survives(&label, || checkpoint.open(&config)).is_some());
            }
        }
        // Half a dozen keys matter in every architecture, and most values are wrong for each.
        assert!(refused > 50, "{name} refused only {refused}");
    }
}

#[test]
fn every_pair_of_related_counts_may_disagree() {
    // Divisibility, halves and limits are properties of pairs.
    for (name, keys) in [
        ("gpt2", ["n_head", "n_embd"]),
        ("llama", ["num_attention_heads", "num_key_value_heads"]),
        ("llama", ["head_dim", "num_attention_heads"]),
        ("llama_tied", ["hidden_size", "num_attention_heads"]),
        ("mixtral", ["num_local_experts", "num_experts_per_tok"]),
        (
            "t5",
            [
                "relative_attention_num_buckets",
                "relative_attention_max_distance",
            ],
        ),
        ("t5", ["num_heads", "d_kv"]),
        ("mamba", ["time_step_rank", "state_size"]),
        ("mamba", ["conv_kernel", "intermediate_size"]),
        ("linear_transformer", ["num_heads", "hidden_size"]),
        ("bert", ["num_attention_heads", "hidden_size"]),
    ] {
        let fixture = Fixture::load(name);
        let checkpoint = Checkpoint::of(&fixture);
        let values = [
            0u64,
            1,
            2,
            3,
            4,
            5,
            6,
            8,
            9,
            31,
            33,
            36,
            64,
            1 << 20,
            (1 << 32) - 1,
        ];
        for first in values {
            for second in values {
                let mut config = fixture.config();
                config[keys[0]] = json!(first);
                config[keys[1]] = json!(second);
                let label = format!("{name}: {keys:?} = {first}, {second}");
                survives(&label, || checkpoint.open(&config));
            }
        }
    }
}

#[test]
fn a_checkpoint_may_claim_to_be_of_any_kind() {
    let types = ARCHITECTURES.iter().flat_map(|found| found.hugging_face);
    let types: Vec<&str> = types.copied().collect();
    let classes = [
        "BertForQuestionAnswering",
        "BertForPreTraining",
        "T5EncoderModel",
    ];
    for (turn, fixture) in runnable().into_iter().enumerate() {
        let checkpoint = Checkpoint::of(&fixture);
        // Each type meets each class with some fixtures, and each fixture a third of the types.
        let third = types.iter().skip(turn % 3).step_by(3);
        for (&model_type, class) in third.zip(classes.iter().cycle().skip(turn / 3 % 3)) {
            let mut config = fixture.config();
            config["model_type"] = json!(model_type);
            config["architectures"] = json!([class]);
            survives(&format!("{} as {model_type}", fixture.name), || {
                checkpoint.open(&config)
            });
        }
    }
}

fn nasty_values() -> Vec<MetadataValue> {
    let mut strings = Strings::default();
    strings.push(b"\xFF\xFE");
    vec![
        MetadataValue::U32(0),
        MetadataValue::U32(1),
        MetadataValue::U32(3),
        MetadataValue::U32(7),
        MetadataValue::U32(1 << 16),
        MetadataValue::U32(1 << 31),
        MetadataValue::U32(u32::MAX),
        MetadataValue::I8(-1),
        MetadataValue::I32(i32::MIN),
        MetadataValue::I64(i64::MIN),
        MetadataValue::U64(1 << 32),
        MetadataValue::U64(1 << 63),
        MetadataValue::U64(u64::MAX),
        MetadataValue::F32(f32::NAN),
        MetadataValue::F32(f32::INFINITY),
        MetadataValue::F32(-1e38),
        MetadataValue::F32(1e-45),
        MetadataValue::F32(0.5),
        MetadataValue::F64(1e308),
        MetadataValue::Bool(true),
        MetadataValue::Bool(false),
        MetadataValue::String("yarn".into()),
        MetadataValue::String("dynamic".into()),
        MetadataValue::String("two\nlines".into()),
        MetadataValue::String(String::new()),
        MetadataValue::Array(Array::U32(vec![])),
        MetadataValue::Array(Array::U32(vec![4, 4])),
        MetadataValue::Array(Array::String(strings)),
        nested(),
    ]
}

/// An array of an array, which is had of a file alone.
fn nested() -> MetadataValue {
    let numbers = |numbers: &[u32]| -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect()
    };
    // GGUF's numbers of the types.
    let (array, byte) = (9, 0);
    let header = [&b"GGUF"[..], &numbers(&[3, 0, 0, 1, 0, 1, 0]), b"a"].concat();
    let value = numbers(&[array, array, 1, 0, byte, 1, 0]);
    let file = gguf::parse(&[&header[..], &value, &[1]].concat(), 0);
    let metadata = file.expect("an array of an array").metadata;
    metadata.0["a"].clone()
}

/// Canonical keys of an architecture, present in the file or not.
fn keys_of(gguf: &Gguf) -> Vec<String> {
    let name = gguf.metadata.str("general.architecture").unwrap();
    let table = ARCHITECTURES
        .iter()
        .find(|found| found.gguf.contains(&name));
    let canonical = table
        .unwrap()
        .keys
        .iter()
        .copied()
        .flatten()
        .map(|(canonical, _)| gguf.key(canonical));
    let mut keys: Vec<String> = canonical
        .chain(gguf.metadata.0.keys().cloned())
        .chain(["general.alignment", "split.count", "split.no"].map(String::from))
        .chain([gguf.key("rope.dimension_count")])
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

#[test]
fn every_key_of_a_gguf_may_lie() {
    for name in KINDS {
        let fixture = Fixture::load(name);
        let gguf = Gguf::of(&fixture);
        // The tensors are encoded once, the keys again and again.
        let mut refused = 0;
        for key in keys_of(&gguf) {
            for value in nasty_values().into_iter().map(Some).chain([None]) {
                let label = format!("{name}: {key} = {value:?}");
                let mut lying = gguf.clone();
                match value {
                    Some(value) => lying.metadata.0.insert(key.clone(), value),
                    None => lying.metadata.0.remove(&key),
                };
                let Some(bytes) = bytes_of(&lying) else {
                    continue;
                };
                refused += usize::from(survives(&label, || open_bytes(bytes)).is_some());
            }
        }
        assert!(refused > 50, "{name} refused only {refused}");
    }
}

/// The file, unless the writer itself refuses the keys (an alignment, say).
fn bytes_of(gguf: &Gguf) -> Option<Vec<u8>> {
    use rillm_formats::gguf::write::layout;
    let alignment = Metadata(
        gguf.metadata
            .0
            .iter()
            .filter(|(key, _)| key.as_str() == "general.alignment")
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    );
    layout(&alignment, &[]).ok().map(|_| gguf.bytes())
}

/// Weights are not trusted either: no value of a float may send an index astray.
#[test]
fn weights_that_are_no_numbers_do_not_panic() {
    for name in KINDS {
        let fixture = Fixture::load(name);
        for (index, value) in [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            1e-45,
            0.0,
        ]
        .into_iter()
        .enumerate()
        {
            let mut gguf = Gguf::of(&fixture);
            for floats in gguf.tensors.values_mut() {
                // All of them, or every seventh.
                let stride = if index % 2 == 0 { 1 } else { 7 };
                floats
                    .values
                    .iter_mut()
                    .step_by(stride)
                    .for_each(|float| *float = value);
            }
            let refused = survives(&format!("{name}: weights of {value}"), || {
                open_bytes(gguf.bytes())
            });
            assert_eq!(refused, None, "{name}");
        }
    }
}

/// A context beyond all memory is an error of the session, not of the process.
#[test]
fn a_session_too_large_is_an_error() {
    let fixture = Fixture::load("llama");
    let model = open_bytes(Gguf::of(&fixture).bytes()).unwrap();
    for (context, sequences) in [
        (u32::MAX as usize, 1),
        (1 << 31, 1 << 31),
        (1 << 40, 1),
        (0, 1),
    ] {
        let options = OPTIONS.context(context).sequences(sequences);
        let outcome = catch_unwind(AssertUnwindSafe(|| Session::memory_plan(&model, options)));
        if let Err(error) = outcome.expect("no panic") {
            assert_ne!(error.kind(), RunErrorKind::Internal, "{error}");
        }
    }
    let bounds = [
        (SessionOptions::MOST, RunErrorKind::Memory),
        (SessionOptions::MOST + 1, RunErrorKind::Input),
        (u32::MAX as usize, RunErrorKind::Input),
    ];
    for (many, kind) in bounds {
        let huge = OPTIONS
            .batch(many)
            .context(u32::MAX as usize)
            .sequences(many);
        let error = catch_unwind(AssertUnwindSafe(|| {
            Session::memory_plan(&model, huge).map(|_| ())
        }));
        let error = error.expect("no panic").unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}
