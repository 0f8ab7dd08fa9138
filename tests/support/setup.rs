//! Opening fixtures, running inputs, comparing bits.

use rillm::internals::ModelParts;
use rillm::internals::eval::{Cut, EvalInput, OutputShape};
use rillm::internals::graph::{Role, Segments, StateKind};
use rillm::{Isa, KvType, Model, ModelOptions, Row, RunError, Session, SessionOptions};
use serde_json::Value;

use super::fixture::{Case, Fixture};
use super::folder::TempFolder;

/// One fixture of every family that decodes; the first four have a KV cache alone, the others a
/// state of constant size, and some of those a KV cache beside it.
pub const DECODERS: [&str; 22] = [
    "gpt2",
    "llama",
    "mistral",
    "mixtral",
    "mamba",
    "mamba2",
    "linear_transformer",
    "transfo_xl",
    "compressive_transformer_gated",
    "retnet_deepnorm",
    "rwkv4",
    "rwkv6",
    "rwkv6_halved",
    "rwkv7",
    "jamba",
    "granite_hybrid",
    "bamba",
    "qwen3_next",
    "falcon_mamba",
    "retnet_fla",
    "rwkv7_fla",
    "gla",
];

/// Those of [`DECODERS`] whose KV cache can be cut at any length.
pub const WITH_KV_CACHE: [&str; 4] = ["gpt2", "llama", "mistral", "mixtral"];

/// Those of [`DECODERS`] whose state can only be checkpointed.
pub const RECURRENT: [&str; 18] = [
    "mamba",
    "mamba2",
    "linear_transformer",
    "transfo_xl",
    "compressive_transformer_gated",
    "retnet_deepnorm",
    "rwkv4",
    "rwkv6",
    "rwkv6_halved",
    "rwkv7",
    "jamba",
    "granite_hybrid",
    "bamba",
    "qwen3_next",
    "falcon_mamba",
    "retnet_fla",
    "rwkv7_fla",
    "gla",
];

/// An open fixture. The folder goes when this does.
pub struct Opened {
    pub model: Model,
    pub fixture: Fixture,
    _folder: TempFolder,
}

/// The instruction set that the environment forces.
pub fn forced() -> Option<Isa> {
    rillm::internals::knobs::isa().expect("RILLM_ISA names an instruction set")
}

/// The instruction sets to test: all that this CPU has, or the forced one.
pub fn instruction_sets() -> Vec<Isa> {
    match forced() {
        Some(isa) => vec![isa],
        None => Isa::available().collect(),
    }
}

/// The instruction sets to cut and split a fixture on: all for one of every family that decodes, for
/// the others one by turns. What each computes on each is held against the reference.
pub fn instruction_sets_for(name: &str) -> Vec<Isa> {
    let mut sets = instruction_sets();
    if !DECODERS.contains(&name) {
        let turn = name.bytes().map(usize::from).sum::<usize>() % sets.len();
        sets = vec![sets[turn]];
    }
    sets
}

/// Every fixture.
pub fn runnable() -> Vec<String> {
    Fixture::all()
}

pub fn open(name: &str) -> Opened {
    open_with(name, forced(), 1)
}

pub fn open_with(name: &str, isa: Option<Isa>, threads: usize) -> Opened {
    let fixture = Fixture::load(name);
    let folder = fixture.folder();
    let options = ModelOptions::default().isa(isa).threads(threads);
    let model = Model::open(&folder, options).unwrap_or_else(|error| panic!("{name}: {error}"));
    Opened {
        model,
        fixture,
        _folder: folder,
    }
}

impl Opened {
    pub fn name(&self) -> &str {
        &self.fixture.name
    }

    /// Whether it predicts tokens, and so may be fed in parts.
    pub fn decodes(&self) -> bool {
        self.model.decodes()
    }

    /// Whether some of its state cannot be truncated.
    pub fn is_recurrent(&self) -> bool {
        let kv_cache =
            |kind: &StateKind| matches!(kind, StateKind::KvCache { .. } | StateKind::Cross { .. });
        !self.model.states().iter().all(kv_cache)
    }

    pub fn session(&self, options: SessionOptions) -> Session {
        Session::new(&self.model, options)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name()))
    }

    /// `len` token ids: the fixture's longest input over and over, from `start` on.
    pub fn tokens(&self, start: usize, len: usize) -> Vec<u32> {
        let key = match self.model.graph(Role::Encode) {
            Some(_) if self.decodes() => "decoder_input_ids",
            _ => "input_ids",
        };
        let inputs = self.fixture.cases.iter().filter_map(|case| case.rows(key));
        let longest = inputs.flatten().max_by_key(Vec::len).expect("some input");
        longest
            .iter()
            .copied()
            .cycle()
            .skip(start)
            .take(len)
            .collect()
    }

    /// Rows of `tokens` as entries `start..` of `sequence`, every output asked for. Where
    /// positions are a table, they wrap around: sequences may be longer than it.
    pub fn rows(&self, tokens: &[u32], start: usize, sequence: u32) -> Vec<Row> {
        let positions = self.model.limits().positions;
        let row = |(index, &token): (usize, &u32)| Row {
            token,
            position: (start + index) as u64 % positions,
            sequence,
            emit: true,
            ..Row::default()
        };
        tokens.iter().enumerate().map(row).collect()
    }

    /// What a fresh session answers to `tokens` in one sequence, fed at once.
    pub fn replay(&self, tokens: &[u32]) -> Vec<Vec<f32>> {
        let mut session = self.session(small(1, tokens.len().max(2)));
        feed(&mut session, &self.rows(tokens, 0, 0)).expect("a replay")
    }
}

/// Options for `sequences` sequences of up to `context` positions, fed up to as many rows at a
/// time.
pub fn small(sequences: usize, context: usize) -> SessionOptions {
    SessionOptions::new()
        .context(context)
        .sequences(sequences)
        .batch(context * sequences)
        .source(64)
        .checkpoints(2)
        .kv_type(KvType::F32)
}

/// Feeds rows and returns each row's output.
pub fn feed(session: &mut Session, rows: &[Row]) -> Result<Vec<Vec<f32>>, RunError> {
    let mut outputs = vec![Vec::new(); rows.len()];
    session.feed(rows, &mut |output| {
        assert!(
            outputs[output.row].is_empty(),
            "row {} came twice",
            output.row
        );
        outputs[output.row] = output.values.to_vec();
    })?;
    for (index, (row, output)) in rows.iter().zip(&outputs).enumerate() {
        assert_eq!(row.emit, !output.is_empty(), "output of row {index}");
        assert!(output.iter().all(|value| value.is_finite()), "row {index}");
    }
    Ok(outputs)
}

/// Encodes rows, dropping what comes out.
pub fn encode(session: &mut Session, rows: &[Row]) -> Result<(), RunError> {
    session.encode(rows, &mut |_| {})
}

/// Panics unless two lists of outputs are the same bit for bit.
pub fn same_bits(label: &str, actual: &[Vec<f32>], expected: &[Vec<f32>]) {
    assert_eq!(actual.len(), expected.len(), "{label}: outputs");
    for (row, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        assert!(!expected.is_empty(), "{label}: nothing to compare at {row}");
        assert_eq!(actual.len(), expected.len(), "{label}: width of {row}");
        let pairs = actual.iter().zip(expected);
        let unequal = pairs.filter(|(a, e)| a.to_bits() != e.to_bits()).count();
        let pairs = actual.iter().zip(expected);
        let worst = pairs.map(|(a, e)| (a - e).abs()).fold(0.0, f32::max);
        assert_eq!(
            unequal,
            0,
            "{label}: row {row}: {unequal} of {} values differ, by up to {worst:e}",
            actual.len()
        );
    }
}

/// One output of an evaluated input.
#[derive(Debug, PartialEq)]
pub struct Answer {
    pub shape: OutputShape,
    /// The flat tensor; zero where nothing came.
    pub values: Vec<f32>,
    /// Which floats came.
    pub came: Vec<bool>,
}

pub fn try_evaluate(model: &Model, input: &Value, cut: Cut) -> Result<Vec<Answer>, RunError> {
    let input = EvalInput::parse(input.to_string().as_bytes())?;
    let mut answers: Vec<Answer> = input
        .outputs(model)
        .into_iter()
        .map(|shape| {
            let count = shape.shape.iter().product::<u64>() as usize;
            Answer {
                shape,
                values: vec![0.0; count],
                came: vec![false; count],
            }
        })
        .collect();
    input.run(model, cut, &mut |row| {
        let place = row.start..row.start + row.values.len();
        let answer = &mut answers[row.output];
        answer.values[place.clone()].copy_from_slice(row.values);
        for came in &mut answer.came[place] {
            assert!(!*came, "{} came twice at {}", answer.shape.name, row.start);
            *came = true;
        }
    })?;
    Ok(answers)
}

pub fn evaluate(label: &str, model: &Model, input: &Value, cut: Cut) -> Vec<Answer> {
    try_evaluate(model, input, cut).unwrap_or_else(|error| panic!("{label}: {error}"))
}

/// Panics unless two evaluations gave the same outputs bit for bit.
pub fn same_answers(label: &str, actual: &[Answer], expected: &[Answer]) {
    assert_eq!(actual.len(), expected.len(), "{label}: outputs");
    for (actual, expected) in actual.iter().zip(expected) {
        let label = format!("{label}: {}", expected.shape.name);
        assert_eq!(actual.shape, expected.shape, "{label}");
        assert_eq!(actual.came, expected.came, "{label}: what came");
        same_bits(
            &label,
            std::slice::from_ref(&actual.values),
            std::slice::from_ref(&expected.values),
        );
    }
}

/// The input that one sequence of a case is by itself.
pub fn alone(case: &Case, sequence: usize) -> Value {
    let object = case.input.as_object().expect("an object of lists");
    let one = |(key, rows): (&String, &Value)| match key.as_str() {
        // The same for all.
        "segment_lengths" | "random_attention" => (key.clone(), rows.clone()),
        _ => (key.clone(), Value::from(vec![rows[sequence].clone()])),
    };
    Value::Object(object.iter().map(one).collect())
}

/// Number of sequences of a case.
pub fn sequences(case: &Case) -> usize {
    case.batch()
}

/// Why a case cannot be cut: memories of earlier segments; experts that take but so many of the rows that
/// come together; frequencies of the dynamic kind, and which of LongRoPE's tables is used, come from the length after the
/// feed (in the reference, too), so that past the trained length every cut is another model.
pub fn depends_on_cut(opened: &Opened, case: &Case) -> bool {
    match opened.model.segments() {
        None | Some(Segments::Sliding { .. }) => {}
        Some(_) => return true,
    }
    let config = opened.fixture.config();
    if let Some(most) = config["expert_capacity"].as_u64() {
        let written = case.rows("decoder_input_ids");
        return written.is_some_and(|rows| rows[0].len() as u64 > most);
    }
    let scaling = &config["rope_scaling"];
    let kind = scaling.get("rope_type").or(scaling.get("type"));
    let trained = match kind.and_then(Value::as_str) {
        Some("dynamic") => config["max_position_embeddings"].as_u64(),
        Some("longrope") => config["original_max_position_embeddings"].as_u64(),
        _ => return false,
    };
    let length = case
        .rows("input_ids")
        .map_or(0, |rows| rows[0].len() as u64);
    Some(length) > trained
}
