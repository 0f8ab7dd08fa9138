//! Texts written as a `generation_config.json` asks, against those of transformers' `generate`
//! (`tools/generation/make.py`).

use std::collections::HashSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use rillm::generate::{
    EarlyStopping, GenerateOptions, GenerationConfig, Hypothesis, beam_search, beam_sequences,
    generate,
};
use rillm::internals::draft;
use rillm::internals::weights::open as files;
use rillm::sample::{SampleOptions, Sampler};
use rillm::{LoadError, Model, ModelOptions, RunError, Session, SessionOptions};
use serde_json::{Value, json};

use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::support::rewrite::{options, run};

/// Of a score's size, about 4: the reference's sums are of single precision.
const SCORE_TOLERANCE: f64 = 2e-4;

fn read(file: &str) -> Vec<Value> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    serde_json::from_slice(&fs::read(data.join(file)).unwrap()).unwrap()
}

fn cases() -> Vec<Value> {
    let files = [
        "generation.json",
        "generation_long.json",
        "generation_beams.json",
        "generation_more.json",
        "generation_routed.json",
    ];
    files.map(read).concat()
}

fn tokens(value: &Value) -> Vec<u32> {
    match value {
        Value::Array(list) => list.iter().map(|id| id.as_u64().unwrap() as u32).collect(),
        one => vec![one.as_u64().unwrap() as u32],
    }
}

/// A fixture's folder with this `generation_config.json`.
fn folder(fixture: &str, config: &Value) -> TempFolder {
    let folder = Fixture::load(fixture).folder();
    let path = folder.join("generation_config.json");
    fs::write(path, config.to_string()).unwrap();
    folder
}

fn open(path: &Path) -> Result<Model, LoadError> {
    Model::open(path, ModelOptions::default().threads(1))
}

fn session(model: &Model, config: &GenerationConfig) -> Session {
    let options = SessionOptions::default()
        .context(64)
        .source(48)
        .sequences(beam_sequences(config.num_beams));
    Session::new(model, options).unwrap()
}

fn on() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// What is written greedily, token by token.
fn greedy(model: &Model, source: &[u32], config: &GenerationConfig, ends: &[u32]) -> Vec<u32> {
    let vocabulary = model.limits().vocabulary as usize;
    let mut sampler = Sampler::new(SampleOptions::greedy(), vocabulary, 0);
    let options = GenerateOptions::default().end_tokens(ends).config(config);
    let mut written = Vec::new();
    let mut session = session(model, config);
    generate(&mut session, source, options, &mut sampler, &mut |chosen| {
        written.push(chosen.token);
        on()
    })
    .unwrap();
    written
}

fn check(model: &Model, case: &Value) {
    let (source, ends) = (
        tokens(&case["source"]),
        tokens(&case["config"]["eos_token_id"]),
    );
    let written: Vec<Vec<u32>> = case["written"]
        .as_array()
        .unwrap()
        .iter()
        .map(tokens)
        .collect();
    let config = GenerationConfig::of(model).unwrap();
    let label = format!("{} {}", case["fixture"], case["config"]);
    let scores = case["scores"].as_array().unwrap();
    if scores.is_empty() {
        let found = greedy(model, &source, &config, &ends);
        assert_eq!(found, written[0], "{label}");
        // One beam is greedy, where nothing asks for more than an order.
        let keys = case["config"].as_object().unwrap().keys();
        if keys
            .clone()
            .any(|key| key.contains("penalty") || key.contains("suppress"))
        {
            return;
        }
        let mut session = session(model, &config);
        let found = beam_search(&mut session, &source, &config, &ends, &mut on).unwrap();
        assert_eq!(found[0].tokens, written[0], "{label}, as a beam");
        return;
    }
    let mut session = session(model, &config);
    let found = beam_search(&mut session, &source, &config, &ends, &mut on).unwrap();
    let texts: Vec<&Vec<u32>> = found.iter().map(|found| &found.tokens).collect();
    assert_eq!(texts, written.iter().collect::<Vec<_>>(), "{label}");
    for (found, score) in found.iter().zip(scores) {
        let score = score.as_f64().unwrap();
        let off = (f64::from(found.score) - score).abs();
        assert!(
            off <= SCORE_TOLERANCE * score.abs().max(1.0),
            "{label}: {} for {score}",
            found.score
        );
    }
    // The session is as good as new.
    let again = beam_search(&mut session, &source, &config, &ends, &mut on).unwrap();
    assert_eq!(again, found, "{label}, again");
}

#[test]
fn texts_are_those_that_the_reference_writes() {
    let mut kinds = HashSet::new();
    for case in cases() {
        let folder = folder(case["fixture"].as_str().unwrap(), &case["config"]);
        check(&open(&folder).unwrap(), &case);
        kinds.extend(case["config"].as_object().unwrap().keys().cloned());
    }
    assert!(kinds.len() > 15, "{kinds:?}");
}

/// Files of a time when `config.json` said it.
#[test]
fn an_old_configuration_says_it_itself() {
    let cases = cases();
    let of_t5 = cases.iter().filter(|case| case["fixture"] == "t5");
    for case in of_t5.filter(|case| case["config"]["num_beams"] == json!(4)) {
        let folder = Fixture::load("t5").folder();
        let path = folder.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for (key, value) in case["config"].as_object().unwrap() {
            config[key] = value.clone();
        }
        fs::write(&path, config.to_string()).unwrap();
        check(&open(&folder).unwrap(), case);
    }
}

/// Which of the two files counts, and that no class does (`tools/generation/folders.py`); GGUF files made of
/// them say the same.
#[test]
fn folders_are_read_as_the_reference_reads_them() {
    let cases = read("generation_folders.json");
    let said: HashSet<&String> = cases
        .iter()
        .flat_map(|case| case["said"].as_object().unwrap().keys())
        .collect();
    for case in &cases {
        let fixture = Fixture::load(case["fixture"].as_str().unwrap());
        let mut config = fixture.config();
        let object = config.as_object_mut().unwrap();
        object.retain(|key, _| !said.contains(key));
        object.extend(case["said"].as_object().unwrap().clone());
        let folder = fixture.folder_with(&config, Vec::new());
        if !case["generation"].is_null() {
            let path = folder.join("generation_config.json");
            fs::write(path, case["generation"].to_string()).unwrap();
        }
        let gguf = folder.join("model.gguf");
        let draft = draft(files(&folder).unwrap()).unwrap();
        run(&draft, &options("f32"), &gguf, 1).unwrap();
        for path in [&*folder, &gguf] {
            let model = open(path).unwrap();
            let config = GenerationConfig::of(&model).unwrap();
            let (source, ends) = (tokens(&case["source"]), tokens(&case["end"]));
            let written = match config.num_beams {
                1 => greedy(&model, &source, &config, &ends),
                _ => {
                    let mut session = session(&model, &config);
                    let found = beam_search(&mut session, &source, &config, &ends, &mut on);
                    found.unwrap().remove(0).tokens
                }
            };
            let label = format!("{} {}", case["said"], case["generation"]);
            assert_eq!(
                written,
                tokens(&case["written"]),
                "{} {path:?} {label}",
                case["fixture"]
            );
        }
    }
    assert_eq!(cases.len(), 14 * 15);
}

/// GGUF files say it under the same keys.
#[test]
fn a_conversion_keeps_how_texts_are_written() {
    let mut compared = 0;
    for case in cases().iter().filter(|case| case["fixture"] == "t5") {
        let folder = folder("t5", &case["config"]);
        let path = folder.join("model.gguf");
        let draft = draft(files(&folder).unwrap()).unwrap();
        run(&draft, &options("f32"), &path, 1).unwrap();
        let (from, to) = (open(&folder).unwrap(), open(&path).unwrap());
        let config = GenerationConfig::of(&from).unwrap();
        assert_eq!(GenerationConfig::of(&to).unwrap(), config);
        compared += usize::from(config != GenerationConfig::default());
    }
    assert!(compared > 30, "{compared}");
}

#[test]
fn a_task_has_parameters_of_its_own() {
    let folder = Fixture::load("t5").folder();
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["num_beams"] = json!(2);
    config["length_penalty"] = json!(0.5);
    config["task_specific_params"] = json!({
        "summarization": {"num_beams": 4, "early_stopping": true, "prefix": "summarize: "},
        "translation_en_to_de": {"max_length": 300},
    });
    fs::write(&path, config.to_string()).unwrap();
    let gguf = folder.join("model.gguf");
    let draft = draft(files(&folder).unwrap()).unwrap();
    run(&draft, &options("f32"), &gguf, 1).unwrap();
    for path in [&*folder, &gguf] {
        let model = open(path).unwrap();
        let of = |task| GenerationConfig::of_task(&model, task).unwrap();
        let plain = GenerationConfig::of(&model).unwrap();
        assert_eq!((plain.num_beams, plain.length_penalty), (2, 0.5));
        let summary = of("summarization");
        assert_eq!(summary.early_stopping, EarlyStopping::Always);
        assert_eq!((summary.num_beams, summary.length_penalty), (4, 0.5));
        assert_eq!(of("translation_en_to_de").max_length, Some(300));
        assert_eq!(of("translation_en_to_fr"), plain);
    }
}

#[test]
fn what_is_not_understood_is_refused_by_its_key() {
    let refusals = [
        (json!({"num_beams": "4"}), "num_beams"),
        (json!({"num_beams": 0}), "num_beams"),
        (json!({"num_beams": -1}), "num_beams"),
        (json!({"num_beams": 1.5}), "num_beams"),
        (json!({"num_beams": 257}), "num_beams"),
        (
            json!({"num_beams": 4, "num_return_sequences": 1000}),
            "num_return_sequences",
        ),
        (json!({"repetition_penalty": 0}), "repetition_penalty"),
        (json!({"repetition_penalty": -1.0}), "repetition_penalty"),
        (
            json!({"encoder_repetition_penalty": 0.0}),
            "encoder_repetition_penalty",
        ),
        (json!({"length_penalty": "long"}), "length_penalty"),
        (json!({"early_stopping": "soon"}), "early_stopping"),
        (json!({"do_sample": 1}), "do_sample"),
        (json!({"suppress_tokens": ["a"]}), "suppress_tokens"),
        (json!({"bad_words_ids": [1, 2]}), "bad_words_ids"),
        (
            json!({"exponential_decay_length_penalty": [1]}),
            "exponential_decay_length_penalty",
        ),
        (json!({"forced_bos_token_id": 103}), "forced_bos_token_id"),
        (
            json!({"decoder_start_token_id": 5000}),
            "decoder_start_token_id",
        ),
        // Also where nothing is drawn.
        (json!({"temperature": -1}), "temperature"),
        (json!({"temperature": "x"}), "temperature"),
        (json!({"top_k": -5}), "top_k"),
        (json!({"top_p": 1.5}), "top_p"),
        (json!({"num_return_sequences": 3}), "num_return_sequences"),
        (json!({"num_beam_groups": 2}), "num_beam_groups"),
        (json!({"penalty_alpha": 0.6}), "penalty_alpha"),
        (json!({"guidance_scale": 1.5}), "guidance_scale"),
        (json!({"sequence_bias": [[1, 2]]}), "sequence_bias"),
        (json!({"sequence_bias": [[[1], "x"]]}), "sequence_bias"),
        (json!({"sequence_bias": [[[1]]]}), "sequence_bias"),
        (json!({"sequence_bias": 2.0}), "sequence_bias"),
        (json!({"sequence_bias": {"7": 2.0}}), "sequence_bias"),
        (json!({"sequence_bias": [[[103], 2.0]]}), "sequence_bias"),
        (
            json!({"watermarking_config": {"bias": 2.0}}),
            "watermarking_config",
        ),
        (json!({"token_healing": true}), "token_healing"),
        (json!({"force_words_ids": [[1]]}), "force_words_ids"),
    ];
    for (config, key) in refusals {
        let folder = folder("t5", &config);
        let read = open(&folder).and_then(|model| GenerationConfig::of(&model));
        let error = read.expect_err(key);
        assert!(
            error.to_string().contains(&format!("generation.{key}")),
            "{error}"
        );
    }
    let unused = json!({"num_beam_groups": 1, "penalty_alpha": null, "guidance_scale": 1.0,
                        "sequence_bias": null, "force_words_ids": null, "bad_words_ids": []});
    let folder = folder("t5", &unused);
    let config = GenerationConfig::of(&open(&folder).unwrap()).unwrap();
    assert_eq!(config, GenerationConfig::default());
}

/// Tokens that there are not: transformers passes over them where it suppresses, and fails elsewhere.
#[test]
fn tokens_that_there_are_not_are_named() {
    let vocabulary = 103;
    let named: [(&str, Value); 9] = [
        ("decoder_start_token_id", json!(vocabulary)),
        ("forced_bos_token_id", json!(999_999)),
        ("forced_eos_token_id", json!(vocabulary)),
        ("forced_eos_token_id", json!([1, 999_999])),
        ("bad_words_ids", json!([[1], [2, vocabulary]])),
        ("bad_words_ids", json!([[u32::MAX]])),
        ("suppress_tokens", json!([1, vocabulary])),
        ("begin_suppress_tokens", json!([999_999, 2])),
        ("suppress_tokens", json!([-1, 5])),
    ];
    for (key, tokens) in named {
        let folder = folder("t5", &json!({ key: tokens }));
        let read = open(&folder).and_then(|model| GenerationConfig::of(&model));
        if key.ends_with("suppress_tokens") {
            let config = read.expect(key);
            let kept = [config.suppress_tokens, config.begin_suppress_tokens].concat();
            assert_eq!(kept.len(), 1, "{key}: {kept:?}");
        } else {
            let error = read.expect_err(key).to_string();
            assert!(error.contains(&format!("generation.{key}")), "{error}");
        }
    }
    let folder = folder("t5", &json!({}));
    let model = open(&folder).unwrap();
    assert_eq!(model.limits().vocabulary, vocabulary);
    let beyond = vocabulary as u32;
    let usual = GenerationConfig::default().max_new_tokens(2);
    for (key, config) in [
        (
            "decoder_start_token_id",
            usual.clone().decoder_start_token_id(beyond),
        ),
        (
            "forced_bos_token_id",
            usual.clone().forced_bos_token_id(beyond),
        ),
        (
            "forced_eos_token_id",
            usual.clone().forced_eos_token_id(vec![1, beyond]),
        ),
        (
            "suppress_tokens",
            usual.clone().suppress_tokens(vec![beyond]),
        ),
        (
            "begin_suppress_tokens",
            usual.clone().begin_suppress_tokens(vec![1, beyond]),
        ),
        (
            "bad_words_ids",
            usual.clone().bad_words_ids(vec![vec![1], vec![2, beyond]]),
        ),
    ] {
        let said = format!("{key} names token 103, expected one below 103");
        let mut session = session(&model, &config);
        let mut sampler = Sampler::new(SampleOptions::greedy(), vocabulary as usize, 0);
        let options = GenerateOptions::default().config(&config);
        let one = generate(&mut session, &[5], options, &mut sampler, &mut |_| on());
        assert_eq!(one.expect_err(key).to_string(), said);
        let beams = beam_search(&mut session, &[5], &config, &[1], &mut on);
        assert_eq!(beams.expect_err(key).to_string(), said);
    }
}

/// A prompt that is read in two calls is one text to the rules, whose prompt is its source as well.
#[test]
fn rules_look_back_at_what_is_held() {
    let folder = folder("llama", &json!({}));
    let model = open(&folder).unwrap();
    // Many of the tokens there are, or no rule would find any of them.
    let prompt: Vec<u32> = (0..40).map(|place| (3 + 37 * place) % 101).collect();
    let ways = [
        GenerationConfig::default().repetition_penalty(3.0),
        GenerationConfig::default().encoder_repetition_penalty(3.0),
        GenerationConfig::default().no_repeat_ngram_size(1usize),
        GenerationConfig::default().encoder_no_repeat_ngram_size(1usize),
        GenerationConfig::default().max_length(44),
    ];
    for config in ways {
        let write = |held: usize, told: &[u32]| {
            let vocabulary = model.limits().vocabulary as usize;
            let mut sampler = Sampler::new(SampleOptions::greedy(), vocabulary, 0);
            let mut session = session(&model, &config);
            if held > 0 {
                let none = GenerateOptions::default().max_tokens(0);
                let before = &prompt[..held];
                generate(&mut session, before, none, &mut sampler, &mut |_| on()).unwrap();
            }
            let most = config.max_length.is_none().then_some(16);
            let options = GenerateOptions::default()
                .config(&config)
                .held(told)
                .max_tokens(most);
            let mut written = Vec::new();
            let token = &mut |chosen: rillm::generate::Chosen<'_>| {
                written.push(chosen.token);
                on()
            };
            generate(&mut session, &prompt[held..], options, &mut sampler, token).unwrap();
            written
        };
        let whole = write(0, &[]);
        assert_eq!(write(39, &prompt[..39]), whole, "{config:?}");
        assert_ne!(write(39, &[]), whole, "{config:?}");
        assert!(whole.len() <= 16 && whole.len() >= 4);
    }
}

/// What changes scores is kept of a configuration, and the rest is not.
#[test]
fn rules_are_what_changes_scores() {
    let other = GenerationConfig::default()
        .num_beams(4usize)
        .do_sample(true)
        .temperature(0.5)
        .max_length(7)
        .decoder_start_token_id(1);
    assert_eq!(other.clone().rules(), None);
    let rules = other.suppress_tokens(vec![3]).rules();
    let expected = GenerationConfig::default().suppress_tokens(vec![3]);
    assert_eq!(rules, Some(expected));
}

/// A file cannot make a text go on for as long as it likes.
#[test]
fn lengths_that_files_say_are_bounded() {
    let long = json!({"max_length": 1_000_000_000_000_u64, "max_new_tokens": 10_000_000});
    let folder = folder("t5", &long);
    let config = GenerationConfig::of(&open(&folder).unwrap()).unwrap();
    assert_eq!(
        (config.max_length, config.max_new_tokens),
        (Some(4096), Some(4096))
    );
}

/// transformers draws as these say, from the 50 most likely tokens where they say nothing, and only where
/// it is to draw.
#[test]
fn how_tokens_are_drawn_is_read() {
    let sampling = |config: &Value| {
        let folder = folder("t5", config);
        let config = GenerationConfig::of(&open(&folder).unwrap()).unwrap();
        config.sampling(7)
    };
    let taken = json!({"temperature": 0.5, "top_k": 3, "epsilon_cutoff": 0.1});
    assert_eq!(sampling(&taken), SampleOptions::greedy());
    let usual = sampling(&json!({"do_sample": true}));
    assert_eq!((usual.temperature, usual.top_k), (1.0, 50));
    assert_eq!((usual.top_p, usual.min_p, usual.typical_p), (1.0, 0.0, 1.0));
    let said = json!({"do_sample": true, "temperature": 0.5, "top_k": 3, "top_p": 0.75,
                      "min_p": 0.25, "typical_p": 0.125});
    let said = sampling(&said);
    assert_eq!((said.seed, said.temperature, said.top_k), (7, 0.5, 3));
    assert_eq!(
        (said.top_p, said.min_p, said.typical_p),
        (0.75, 0.25, 0.125)
    );
    assert!(said.check().is_ok() && said.stages.len() == 9);
    for (key, value) in [
        ("temperature", json!(0.0)),
        ("temperature", json!("hot")),
        ("top_k", json!(-1)),
        ("top_p", json!(1.5)),
        ("min_p", json!(-0.5)),
        ("typical_p", json!(2)),
        ("epsilon_cutoff", json!(0.1)),
        ("eta_cutoff", json!(0.1)),
    ] {
        let folder = folder("t5", &json!({"do_sample": true, key: value}));
        let error = GenerationConfig::of(&open(&folder).unwrap()).expect_err(key);
        let key = format!("generation.{key}");
        assert!(error.to_string().contains(&key), "{error}");
    }
}

#[test]
fn beam_search_says_what_it_lacks() {
    let folder = folder("t5", &json!({}));
    let model = open(&folder).unwrap();
    let config = GenerationConfig::default()
        .num_beams(3usize)
        .max_new_tokens(4);
    let search =
        |session: &mut Session, config: &GenerationConfig| -> Result<Vec<Hypothesis>, RunError> {
            beam_search(session, &[5, 6], config, &[1], &mut on)
        };
    let mut enough = session(&model, &config);
    let said = |result: Result<Vec<Hypothesis>, RunError>| result.expect_err("refused").to_string();
    let more = config.clone().num_beams(4usize);
    assert!(said(search(&mut enough, &more)).contains("6 sequences, 4 beams need 8"));
    let drawn = config.clone().do_sample(true);
    assert!(said(search(&mut enough, &drawn)).contains("do_sample"));
    let many = config.clone().num_return_sequences(4usize);
    assert!(said(search(&mut enough, &many)).contains("num_return_sequences is 4"));
    let empty = beam_search(&mut enough, &[], &config, &[1], &mut on);
    assert!(said(empty).contains("empty"));
    let mut steps = 0;
    let ended = beam_search(&mut enough, &[5, 6], &config, &[], &mut || {
        steps += 1;
        if steps == 2 {
            ControlFlow::Break(())
        } else {
            on()
        }
    });
    assert!(matches!(ended, Err(RunError::Aborted)));
    assert_eq!(search(&mut enough, &config).unwrap().len(), 1);
    // Without a length, the context is one.
    let endless = config.max_new_tokens(None);
    let found = beam_search(&mut enough, &[5, 6], &endless, &[], &mut on).unwrap();
    assert_eq!((found[0].tokens.len(), found[0].ended), (64, false));
}
