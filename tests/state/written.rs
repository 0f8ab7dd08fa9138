//! Files that an earlier build wrote: they open, compute what they did, and sequences go on where
//! they were. `tools/identity/record.py` makes them.

use rillm::internals::ModelParts;
use std::fs;
use std::path::{Path, PathBuf};

use rillm::formats::tokenizer::{DecodeOptions, EncodeOptions, Position};
use rillm::internals::eval::Cut;
use rillm::sample::log_probability;
use rillm::{Isa, KvType, Model, ModelOptions, Row, Session, SessionOptions};
use serde_json::{Value, json};

use crate::support::compare::{REFERENCE_TOLERANCE, compare};
use crate::support::evaluate::{evaluate, open};
use crate::support::fixture::Fixture;
use crate::support::restore::fnv;
use crate::support::setup::instruction_sets;
use crate::support::tensors;

/// Whether the scalar kernels answer what was recorded bit for bit: their exponentials are the
/// platform's.
const SAME_MATHEMATICS: bool = cfg!(all(
    target_arch = "x86_64",
    target_os = "linux",
    target_env = "gnu"
));

/// A logit's last bit is 1e-9 or more wherever the logit is above 0.01; probabilities' logarithms
/// are computed and written in float64.
const SAME_BITS: f64 = 1e-12;

/// Types of keys and values, and how far another table's logarithms of probabilities may be. Fewer
/// bits round the other way where tables differ in the last bit of a float: by 2^-11 of a value in
/// F16, by 1/127 of a block's largest in Q8_0, which a softmax and some hundred products average.
const KV_TYPES: [(&str, KvType, f64); 3] = [
    ("f32", KvType::F32, REFERENCE_TOLERANCE),
    ("f16", KvType::F16, 1e-3),
    ("q8_0", KvType::Q8_0, 5e-2),
];

/// A snapshot, and how far another table's continuation may be.
struct Saved<'a> {
    bytes: &'a [u8],
    kv_type: KvType,
    tolerance: f64,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/written")
}

fn record() -> Value {
    let bytes = fs::read(folder().join("written.json")).expect("a record");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn open_as(path: &Path, isa: Isa) -> Model {
    let options = ModelOptions::default().isa(isa).threads(1);
    Model::open(path, options).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Paths of the files whose names end so.
fn files(extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_file_computes_what_it_did() {
    let input = json!({ "input_ids": [record()["ids"]] });
    let paths = files("gguf");
    assert_eq!(paths.len(), 10);
    for path in paths {
        let expected = &tensors::read(&path.with_extension("safetensors"))["logits"];
        for isa in instruction_sets() {
            let label = format!("{}, {isa}", path.display());
            let outputs = evaluate(&open_as(&path, isa), &input, Cut::Whole)
                .unwrap_or_else(|error| panic!("{label}: {error}"));
            let actual = &outputs["logits"];
            assert_eq!(actual.shape, expected.shape, "{label}");
            let error = compare(&actual.values, &expected.values, None);
            assert!(error <= REFERENCE_TOLERANCE, "{label}: {error}");
            if isa == Isa::Scalar && SAME_MATHEMATICS {
                assert_eq!(actual, expected, "{label}");
            }
        }
    }
}

#[test]
fn every_snapshot_goes_on_as_it_did() {
    let record = record();
    let snapshots = record["snapshots"].as_object().expect("snapshots");
    assert_eq!(files("snapshot").len(), snapshots.len());
    for (name, expected) in snapshots {
        let bytes = fs::read(folder().join(name)).expect("a snapshot");
        let [model, kv_type, _] = name.split('.').collect::<Vec<_>>()[..] else {
            panic!("{name} names no model and no type")
        };
        let path = match model {
            "demo" => Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo.gguf"),
            _ => folder().join(format!("{model}.gguf")),
        };
        let found = KV_TYPES.iter().find(|(name, ..)| *name == kv_type);
        let &(_, kv_type, tolerance) = found.unwrap_or_else(|| panic!("{name} names no type"));
        let saved = Saved {
            bytes: &bytes,
            kv_type,
            tolerance,
        };
        for isa in instruction_sets() {
            let label = format!("{name}, {isa}");
            goes_on(&label, &open_as(&path, isa), &saved, expected);
        }
    }
}

/// The same snapshot as version 4 has it, which says of all weights what they are: the recorded ones
/// are of version 3.
fn with_digest(model: &Model, snapshot: &[u8]) -> Vec<u8> {
    /// Bytes of the begin, the version and the fingerprint.
    const HEAD: usize = 8 + 4 + 8;
    let mut bytes = snapshot[..HEAD].to_vec();
    bytes[8..12].copy_from_slice(&4_u32.to_le_bytes());
    bytes.extend(model.weights_digest().to_le_bytes());
    bytes.extend(&snapshot[HEAD..snapshot.len() - 8]);
    bytes.extend(fnv(&bytes).to_le_bytes());
    bytes
}

/// Restores a snapshot and feeds what the recorded run chose.
fn goes_on(label: &str, model: &Model, saved: &Saved<'_>, expected: &Value) {
    let tokenizer = model.tokenizer().expect("a tokenizer");
    let encode = EncodeOptions::default().add_special(true);
    let prompt = tokenizer.encode(expected["prompt"].as_str().expect("a prompt"), encode);
    let prompt = prompt.expect("tokens");
    let (last, held) = prompt.split_last().expect("tokens");
    let options = SessionOptions::default().context(64).kv_type(saved.kv_type);
    let mut session = Session::new(model, options).expect("a session");
    let error = session.restore(0, &mut &saved.bytes[..]);
    let error = error.expect_err("a snapshot that may be of other weights");
    let error = error.to_string();
    assert!(
        error.contains("version 3, expected 4: it does not tell"),
        "{label}: {error}"
    );
    let bytes = with_digest(model, saved.bytes);
    let noted = session.restore(0, &mut &bytes[..]);
    assert_eq!(noted.expect("a snapshot"), held, "{label}");
    let mut again = Vec::new();
    let written = session.snapshot(0, held, &mut again);
    written.expect("what was restored can be saved");
    assert!(again == bytes, "{label}: saved as other bytes");

    let same = model.kernels().isa == Isa::Scalar && SAME_MATHEMATICS;
    let bound = if same { SAME_BITS } else { saved.tolerance };
    let tokens = expected["tokens"].as_array().expect("tokens").iter();
    let tokens: Vec<u32> = tokens
        .map(|token| token.as_u64().expect("a token") as u32)
        .collect();
    let steps = expected["top"].as_array().expect("probabilities").iter();
    let fed = [last].into_iter().chain(&tokens);
    for ((&token, position), step) in fed.zip(held.len() as u64..).zip(steps) {
        let row = Row {
            token,
            position,
            emit: true,
            ..Row::default()
        };
        let mut logits = Vec::new();
        let fed = session.feed(&[row], &mut |output| logits = output.values.to_vec());
        fed.expect("a token");
        for pair in step.as_array().expect("pairs") {
            let (token, expected) = (pair[0].as_u64(), pair[1].as_f64().expect("a number"));
            let found = log_probability(&logits, token.expect("a token") as u32);
            let error = (found - expected).abs();
            assert!(
                error <= bound,
                "{label}: {found} at {position}, not {expected}"
            );
        }
    }
    let options = DecodeOptions::default()
        .skip_special(true)
        .position(Position::Continued);
    let text = tokenizer.decode_text(&tokens, options);
    assert_eq!(text, expected["text"], "{label}");
}

/// A folder's snapshots bear its fingerprint: another one, and none of them is restored any more.
#[test]
fn folders_are_the_models_that_they_were() {
    let record = record();
    let fingerprints = record["fingerprints"].as_object().expect("fingerprints");
    assert!(fingerprints.len() > 80);
    for (name, expected) in fingerprints {
        let model = open(&Fixture::load(name).folder()).expect("a model");
        let found = format!("{:016x}", model.fingerprint());
        assert_eq!(found, expected.as_str().expect("a number"), "{name}");
    }
}
