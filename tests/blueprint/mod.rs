//! What is planned before a model is there is what it takes once it is.

mod fit;
mod hostile;
mod published;

use rillm::internals::BlueprintParts;
use rillm::internals::ModelParts;
use rillm::internals::SessionParts;
use std::fs;

use rillm::internals::synthetic::{RandomModel, shapes};
use rillm::quantize::{Draft, Mix, QuantizeOptions, QuantizePlan};
use rillm::{Blueprint, Model, ModelOptions, Session, SessionOptions};
use rillm_formats::gguf;
use serde_json::json;

use crate::support::evaluate::{options, runnable};
use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::support::to_gguf::Gguf;

const ASKED: [SessionOptions; 2] = [
    SessionOptions::new()
        .context(200)
        .sequences(2)
        .batch(24)
        .source(40)
        .checkpoints(1),
    SessionOptions::new()
        .context(70)
        .batch(3)
        .source(9)
        .checkpoints(0)
        .kv_type(rillm::KvType::Q8_0),
];

/// Of models as tiny as fixtures are, biases, which a configuration may not tell of, are a part that
/// counts; of real ones they are less than a hundredth.
const PRESUMED_WEIGHTS: f64 = 0.16;

/// What follows of it for activations.
const PRESUMED_ARENA: f64 = 0.06;

/// Configurations that leave to their class what changes the graph, or to their weights ranks.
const NOT_SAID: &[&str] = &["mt5", "rwkv6", "rwkv6_halved"];

fn check(label: &str, planned: &Blueprint, model: &Model) {
    let (weights, loaded) = (planned.weights(), model.weights());
    assert_eq!(
        weights.vectors,
        loaded.vectors_len() as u64,
        "{label}: vectors"
    );
    check_session(label, planned, model);
}

/// Asked of what the session really reserves, to the byte.
fn check_session(label: &str, planned: &Blueprint, model: &Model) {
    for asked in ASKED {
        let Ok(session) = Session::new(model, asked) else {
            // Sparse attention at random, say, is not for all.
            assert!(planned.memory_plan(asked).is_err(), "{label}");
            continue;
        };
        let plan = planned.memory_plan(asked).unwrap();
        assert_eq!((plan.arena, plan.state), session.reserved(), "{label}");
        let pieces: usize = plan.states.iter().map(|of_kind| of_kind.bytes).sum();
        let lines = 64
            * plan
                .states
                .iter()
                .map(|of_kind| of_kind.pieces)
                .sum::<usize>();
        assert!(
            pieces <= plan.state && plan.state <= pieces + 200 * lines,
            "{label}"
        );
    }
}

fn used(planned: &Blueprint) -> u64 {
    let weights = planned.weights();
    let types: u64 = weights.types.iter().map(|of_type| of_type.bytes).sum();
    let layers: u64 = weights.layers.iter().map(|layer| layer.bytes).sum();
    assert_eq!((types, layers), (weights.mapped, weights.mapped));
    weights.mapped
}

#[test]
fn folders_are_planned_from_headers() {
    for fixture in runnable() {
        let folder = fixture.folder();
        let model = Model::open(&*folder, options()).unwrap();
        let tensors = model.manifest().tensors.values();
        let all: u64 = tensors.map(|info| info.range.end - info.range.start).sum();
        let headers = TempFolder::new("headers");
        fs::copy(folder.join("config.json"), headers.join("config.json")).unwrap();
        let weights = fs::read(folder.join("model.safetensors")).unwrap();
        let header = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
        fs::write(headers.join("model.safetensors"), &weights[..header]).unwrap();
        assert!(Model::open(&*headers, options()).is_err());
        let planned = Blueprint::open(&*headers, options()).unwrap();
        assert!(planned.presumed().is_nothing());
        check(&fixture.name, &planned, &model);
        assert!(used(&planned) <= all, "{}", fixture.name);
    }
}

#[test]
fn gguf_files_are_planned_from_headers() {
    let folder = TempFolder::new("headers");
    for fixture in runnable() {
        let bytes = Gguf::of(&fixture).bytes();
        let model = Model::from_bytes(bytes.clone(), options()).unwrap();
        let header = gguf::parse(&bytes, 0).unwrap().data_offset as usize;
        let path = folder.join("model.gguf");
        fs::write(&path, &bytes[..header]).unwrap();
        let planned = Blueprint::open(&path, options()).unwrap();
        assert!(planned.presumed().is_nothing());
        check(&fixture.name, &planned, &model);
        // A header that is cut itself is an error.
        fs::write(&path, &bytes[..header / 2]).unwrap();
        assert!(Blueprint::open(&path, options()).is_err());
    }
}

/// An index names tensors, and says neither what they are like nor that nothing else is there.
#[test]
fn folders_are_planned_from_an_index() {
    for fixture in runnable() {
        let folder = fixture.folder();
        let model = Model::open(&*folder, options()).unwrap();
        let whole = Blueprint::open(&*folder, options()).unwrap();
        let names = model.manifest().tensors.keys();
        let map: serde_json::Map<_, _> = names
            .map(|name| (name.clone(), json!("model-00001-of-00001.safetensors")))
            .collect();
        fs::remove_file(folder.join("model.safetensors")).unwrap();
        let index = json!({ "metadata": {}, "weight_map": map }).to_string();
        fs::write(folder.join("model.safetensors.index.json"), index).unwrap();
        let planned = match Blueprint::open(&*folder, options()) {
            Ok(planned) => planned,
            Err(error) => panic!("{}: {error}", fixture.name),
        };
        assert!(!planned.presumed().is_nothing());
        if NOT_SAID.contains(&fixture.name.as_str()) {
            continue;
        }
        check(&fixture.name, &planned, &model);
        assert_eq!(used(&planned), used(&whole), "{}", fixture.name);
    }
}

#[test]
fn folders_are_planned_from_their_configuration() {
    for fixture in runnable() {
        let name = &fixture.name;
        let folder = fixture.folder();
        let model = Model::open(&*folder, options()).unwrap();
        let whole = used(&Blueprint::open(&*folder, options()).unwrap());
        let config = fs::read(folder.join("config.json")).unwrap();
        let planned = Blueprint::from_config(&config, options());
        let planned = planned.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(planned.presumed().tensors > 0);
        if NOT_SAID.contains(&name.as_str()) {
            continue;
        }
        let (plan, session) = (
            planned.memory_plan(ASKED[0]),
            Session::new(&model, ASKED[0]),
        );
        if let (Ok(plan), Ok(session)) = (plan, session) {
            let (arena, state) = session.reserved();
            assert_eq!(plan.state, state, "{name}: state");
            let off = plan.arena.abs_diff(arena) as f64 / arena as f64;
            assert!(
                off <= PRESUMED_ARENA,
                "{name}: arena {} for {arena}",
                plan.arena
            );
        }
        let off = used(&planned).abs_diff(whole) as f64 / whole as f64;
        assert!(off <= PRESUMED_WEIGHTS, "{name}: weights off by {off}");
    }
}

/// Of a split file the first part may be all that there is: layers are like those it has.
#[test]
fn a_first_part_is_enough() {
    let folder = TempFolder::new("parts");
    let shape: RandomModel = "tiny-llama".parse().unwrap();
    let draft = shape.draft(0).unwrap();
    let whole = QuantizePlan::new(&draft, &QuantizeOptions::new("q8_0".parse().unwrap())).unwrap();
    let path = folder.join("whole.gguf");
    rillm::quantize::write(&draft, &whole, &path, 1, &Default::default()).unwrap();
    let model = Model::open(&path, options()).unwrap();
    let mut metadata = model.manifest().metadata.clone();
    let number = rillm_formats::manifest::MetadataValue::U32;
    metadata.0.insert("split.no".into(), number(0));
    metadata.0.insert("split.count".into(), number(3));
    metadata.0.insert(
        "split.tensors.count".into(),
        number(whole.tensors.len() as u32),
    );
    let first = whole
        .tensors
        .iter()
        .filter(|tensor| !tensor.name.contains("blk.1."));
    let specs: Vec<gguf::write::TensorSpec> = first
        .map(|tensor| gguf::write::TensorSpec {
            name: tensor.name.clone(),
            dtype: tensor.to,
            shape: rillm_formats::manifest::Shape(tensor.shape.clone()),
        })
        .collect();
    let header = gguf::write::layout(&metadata, &specs).unwrap().header;
    let part = folder.join("part-00001-of-00003.gguf");
    fs::write(&part, header).unwrap();
    let planned = Blueprint::open(&part, options()).unwrap();
    assert_eq!(planned.presumed().tensors, 9);
    check("a first part", &planned, &model);
    assert_eq!(
        used(&planned),
        used(&Blueprint::open(&path, options()).unwrap())
    );
}

/// The plan of what `quantize` would write is that of what it writes.
#[test]
fn what_would_be_quantized_is_planned() {
    let folder = TempFolder::new("quantized");
    for shape in shapes().filter(|shape| shape.name.starts_with("tiny-")) {
        for mix in ["q4_k_m", "q8_0", "f16"] {
            let mix: Mix = mix.parse().unwrap();
            let draft = shape.draft(3).unwrap();
            let plan = QuantizePlan::new(&draft, &QuantizeOptions::new(mix)).unwrap();
            let path = folder.join("model.gguf");
            let _ = fs::remove_file(&path);
            rillm::quantize::write(&draft, &plan, &path, 1, &Default::default()).unwrap();
            let model = Model::open(&path, options()).unwrap();
            let planned = Blueprint::from_shape(&shape, mix, options()).unwrap();
            check(shape.name, &planned, &model);
            let written = Blueprint::open(&path, options()).unwrap();
            assert_eq!(used(&planned), used(&written), "{}", shape.name);
        }
    }
    for name in ["llama", "gpt2", "mamba", "mixtral", "bert", "t5", "rwkv7"] {
        let fixture = Fixture::load(name);
        let source = fixture.folder();
        let mix: Mix = "q8_0".parse().unwrap();
        let draft = Draft::open(&*source).unwrap();
        let plan = QuantizePlan::new(&draft, &QuantizeOptions::new(mix)).unwrap();
        let path = folder.join(format!("{name}.gguf"));
        rillm::quantize::write(&draft, &plan, &path, 1, &Default::default()).unwrap();
        let model = Model::open(&path, options()).unwrap();
        let planned = Blueprint::open(&*source, options()).unwrap();
        check(name, &planned.quantized(mix).unwrap(), &model);
    }
}

/// Shapes of published models, by what counts of their configurations: as many parameters as they say.
#[test]
fn published_shapes_are_planned() {
    for (name, billions) in [
        ("llama-2-7b", 6.74),
        ("llama-3-8b", 8.03),
        ("llama-3-70b", 70.6),
        ("llama-3.2-3b", 3.21),
        ("mixtral-8x7b", 46.7),
        ("mixtral-8x22b", 140.6),
        ("olmoe-1b-7b", 6.92),
        ("qwen3-4b", 4.02),
        ("qwen3-14b", 14.77),
        ("qwen3-32b", 32.76),
        ("qwen3-30b-a3b", 30.5),
        ("gemma3-270m", 0.268),
        ("gemma3-1b", 1.0),
        ("gemma3-4b", 3.88),
        ("gemma3-12b", 11.77),
        ("gemma3-27b", 27.0),
        ("mamba-130m", 0.129),
        ("mamba-1.4b", 1.37),
        ("mamba-2.8b", 2.77),
        ("mamba-7b", 7.27),
        ("retnet-1.3b", 1.34),
        ("retnet-2.7b", 2.7),
        ("retnet-6.7b", 6.7),
        ("rwkv4-169m", 0.169),
        ("rwkv4-1.5b", 1.515),
        ("lfm2-350m", 0.354),
        ("bert-tiny", 0.0044),
        ("bert-base", 0.1095),
        ("bert-large", 0.335),
        ("roberta-base", 0.1247),
        ("xlm-r-base", 0.278),
        ("xlm-r-large", 0.560),
        ("longformer-base", 0.1487),
        ("longformer-large", 0.4347),
        ("big-bird-base", 0.1275),
        ("modernbert-base", 0.149),
        ("modernbert-large", 0.395),
        ("t5-small", 0.0605),
        ("t5-base", 0.223),
        ("t5-large", 0.738),
        ("t5-3b", 2.85),
        ("flan-t5-small", 0.077),
        ("flan-t5-base", 0.248),
        ("flan-t5-large", 0.783),
        ("flan-t5-xl", 2.85),
        ("flan-t5-xxl", 11.14),
        ("longt5-base", 0.248),
        ("longt5-large", 0.783),
        ("led-base", 0.162),
        ("led-large", 0.460),
    ] {
        let shape: RandomModel = name.parse().unwrap();
        let planned = Blueprint::from_shape(&shape, "q4_0".parse().unwrap(), options());
        let planned = planned.unwrap_or_else(|error| panic!("{name}: {error}"));
        let parameters = planned.parameters().all as f64 / 1e9;
        let off = (parameters - billions).abs() / billions;
        assert!(
            off < 0.03,
            "{name}: {parameters:.4} billion, {billions} are published"
        );
        planned.memory_plan(ASKED[0]).unwrap();
    }
}

/// What sinusoids and tied vectors of a head make, which transformers counts otherwise.
const COUNTED: f64 = 0.006;

/// Configurations alone, of every family: as many parameters as the authors' classes have.
#[test]
fn configurations_alone_tell_how_many_parameters_there_are() {
    let file = fs::read("tests/data/parameters.json").unwrap();
    let all: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let all = all.as_object().unwrap();
    assert!(all.len() > 90);
    for (name, one) in all {
        let config = one["config"].to_string();
        let planned = Blueprint::from_config(config.as_bytes(), options());
        let planned = planned.unwrap_or_else(|error| panic!("{name}: {error}"));
        let (found, expected) = (
            planned.parameters().all,
            one["parameters"].as_u64().unwrap(),
        );
        let off = found.abs_diff(expected) as f64 / expected as f64;
        assert!(off < COUNTED, "{name}: {found}, {expected} by its class");
        planned
            .memory_plan(ASKED[0])
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// Models that read but so much are drawn for longer texts, to be compared over length.
#[test]
fn shapes_reach_as_far_as_asked() {
    for (name, own, asked) in [
        ("bert-base", 512, 65_536),
        ("roberta-base", 512, 65_536),
        ("longformer-base", 4096, 65_536),
        ("big-bird-base", 4096, 65_536),
        ("modernbert-base", 8192, 65_536),
        ("modernbert-base", 8192, 512),
    ] {
        let mix: Mix = "q8_0".parse().unwrap();
        let shape: RandomModel = name.parse().unwrap();
        let reach = |shape: RandomModel| {
            let planned = Blueprint::from_shape(&shape, mix, options()).unwrap();
            planned.context().unwrap()
        };
        assert_eq!(reach(shape), own, "{name}");
        assert_eq!(
            reach(shape.reaching(asked)),
            own.max(asked as usize),
            "{name}"
        );
    }
}

#[test]
fn an_instruction_set_is_asked_for() {
    let scalar = ModelOptions::default().isa(rillm::Isa::Scalar);
    let planned = Blueprint::open("assets/demo.gguf", scalar).unwrap();
    let model = Model::open("assets/demo.gguf", scalar.threads(1)).unwrap();
    check("scalar", &planned, &model);
}
