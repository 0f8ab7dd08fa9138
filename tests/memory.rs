//! Weights stay in their file: opening a model takes memory for its vectors, running it for
//! what the plan says, which for sparse attention grows with the text and not with its square.
//! Measured as the system counts it, so these tests have a process of their own, and take turns.
#![cfg(target_os = "linux")]

#[path = "support/mod.rs"]
mod support;

use rillm::internals::ModelParts;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rillm::{Model, Row, Session, SessionOptions};
use rillm_formats::gguf::write::{TensorSpec, layout};
use rillm_formats::manifest::{DType, Metadata, MetadataValue, Shape};
use support::evaluate::options;
use support::folder::TempFolder;
use support::generator;

const WIDTH: u64 = 1024;
const KV_WIDTH: u64 = 256;
const HIDDEN: u64 = 2816;
const LAYERS: u64 = 4;
const VOCABULARY: u64 = 8000;

/// Names, tables, plans, the allocator's own pages.
const SLACK: u64 = 2 << 20;

/// Who measures does so alone.
static TURN: Mutex<()> = Mutex::new(());

fn specs() -> Vec<TensorSpec> {
    let mut specs = Vec::new();
    let mut add = |name: String, shape: &[u64]| {
        let dtype = match (shape.len(), name.as_str()) {
            (1, _) => DType::F32,
            (_, "output.weight") => DType::F16,
            _ => DType::Q8_0,
        };
        let shape = Shape(shape.to_vec());
        specs.push(TensorSpec { name, dtype, shape });
    };
    add("token_embd.weight".into(), &[VOCABULARY, WIDTH]);
    for i in 0..LAYERS {
        let mut layer = |name: &str, shape: &[u64]| add(format!("blk.{i}.{name}.weight"), shape);
        layer("attn_norm", &[WIDTH]);
        layer("attn_q", &[WIDTH, WIDTH]);
        layer("attn_k", &[KV_WIDTH, WIDTH]);
        layer("attn_v", &[KV_WIDTH, WIDTH]);
        layer("attn_output", &[WIDTH, WIDTH]);
        layer("ffn_norm", &[WIDTH]);
        layer("ffn_gate", &[HIDDEN, WIDTH]);
        layer("ffn_up", &[HIDDEN, WIDTH]);
        layer("ffn_down", &[WIDTH, HIDDEN]);
    }
    add("output_norm.weight".into(), &[WIDTH]);
    add("output.weight".into(), &[VOCABULARY, WIDTH]);
    specs
}

/// Writes the model without ever holding a tensor of it; gives the file's length.
fn write_model(path: &Path) -> u64 {
    let number = |key: &str, value: u64| {
        let value = MetadataValue::U32(u32::try_from(value).unwrap());
        (format!("llama.{key}"), value)
    };
    let architecture = MetadataValue::String("llama".into());
    let keys = [
        ("general.architecture".to_owned(), architecture),
        number("embedding_length", WIDTH),
        number("feed_forward_length", HIDDEN),
        number("block_count", LAYERS),
        number("context_length", 4096),
        number("attention.head_count", 16),
        number("attention.head_count_kv", 4),
    ];
    write_file(path, Metadata(keys.into()), &specs())
}

/// Writes a file of such tensors.
fn write_file(path: &Path, metadata: Metadata, specs: &[TensorSpec]) -> u64 {
    let layout = layout(&metadata, specs).unwrap();
    let mut file = BufWriter::new(File::create(path).unwrap());
    file.write_all(&layout.header).unwrap();
    for (index, spec) in specs.iter().enumerate() {
        // One row of small numbers, again and again.
        let columns = *spec.shape.0.last().unwrap();
        let scale = if spec.shape.0.len() == 1 { 1.0 } else { 0.05 };
        let row = generator::tensor(3, &spec.name, columns as usize, scale, 0.0);
        let mut bytes = vec![0; spec.dtype.row_len(columns).unwrap() as usize];
        rillm::internals::quant::encode(spec.dtype).unwrap()(&row, &mut bytes);
        let range = &layout.ranges[index];
        for _ in 0..(range.end - range.start) / bytes.len() as u64 {
            file.write_all(&bytes).unwrap();
        }
        let padding = vec![0; layout.padding(index) as usize];
        file.write_all(&padding).unwrap();
    }
    file.into_inner().unwrap();
    layout.file_len
}

/// Bytes of resident memory of one kind.
fn resident(kind: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(kind));
    let line = line.unwrap_or_else(|| panic!("no {kind} in /proc/self/status"));
    let kilobytes: u64 = line
        .trim_start_matches(':')
        .trim_end_matches("kB")
        .trim()
        .parse()
        .unwrap();
    kilobytes << 10
}

fn anonymous() -> u64 {
    resident("RssAnon")
}

#[test]
fn weights_stay_in_their_file() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = TempFolder::new("memory");
    let path = folder.join("model.gguf");
    let file_len = write_model(&path);
    assert!(file_len > 64 << 20);

    let before = anonymous();
    let model = Model::open(&path, options()).unwrap();
    let asked = SessionOptions::default().context(4096);
    let plan = Session::memory_plan(&model, asked).unwrap();
    let vectors = model.weights().vectors_len() as u64;
    let grown = anonymous().saturating_sub(before);
    assert!(
        grown <= vectors + SLACK,
        "opening took {grown} bytes, vectors {vectors}"
    );

    // Reserving touches nothing.
    let before = anonymous();
    let mut session = Session::new(&model, asked).unwrap();
    let grown = anonymous().saturating_sub(before);
    assert!(
        grown <= SLACK,
        "a session took {grown} bytes before its first row"
    );

    // A page of positions is the unit of the KV cache: 100 rows touch at most 128 positions.
    let rows: Vec<Row> = (0..100)
        .map(|position| Row {
            token: (position * 79 % VOCABULARY) as u32,
            position,
            emit: position == 99,
            ..Row::default()
        })
        .collect();
    let (before, mapped) = (anonymous(), resident("RssFile"));
    session.feed(&rows, &mut |_| {}).unwrap();
    let touched = (plan.state_fixed + plan.state_per_1k / 8) as u64;
    let allowed = plan.arena as u64 + touched + SLACK;
    let grown = anonymous().saturating_sub(before);
    assert!(
        grown <= allowed,
        "a feed took {grown} bytes, {allowed} allowed"
    );
    // Far from what a copy of the weights would be, or the whole context.
    assert!(allowed < file_len, "{allowed} bytes prove nothing");
    assert!(touched < plan.state as u64 / 4);
    // And the weights were in fact read where they are.
    let read = resident("RssFile").saturating_sub(mapped);
    assert!(
        read > file_len / 2,
        "{read} of {file_len} bytes became resident"
    );
}

/// Tokens of a long text.
const TEXT: usize = 64 << 10;

/// Width, feed-forward width and layers of what reads it, and how many tokens a window holds.
const LONG: [u64; 4] = [64, 128, 2, 128];

/// A model as long as the text: with windows and global rows, or with blocks of rows.
fn write_long_model(path: &Path, architecture: &str) -> u64 {
    let [width, hidden, layers, window] = LONG;
    let number = |key: &str, value: u64| {
        let value = MetadataValue::U32(u32::try_from(value).unwrap());
        (format!("{architecture}.{key}"), value)
    };
    let has_windows = architecture == "longformer";
    let name = MetadataValue::String(architecture.into());
    let mut keys = vec![
        ("general.architecture".to_owned(), name),
        number("embedding_length", width),
        number("feed_forward_length", hidden),
        number("block_count", layers),
        number("attention.head_count", 4),
    ];
    if has_windows {
        keys.push(number("attention.sliding_window", window));
        keys.push(number("padding_token_id", 1));
    } else {
        keys.push(number("attention.block_size", window / 2));
        keys.push(number("attention.random_blocks", 3));
    }
    let mut specs = Vec::new();
    let mut add = |name: String, shape: &[u64]| {
        let (dtype, shape) = (DType::F32, Shape(shape.to_vec()));
        specs.push(TensorSpec { name, dtype, shape });
    };
    add("token_embd.weight".into(), &[256, width]);
    add("token_types.weight".into(), &[1, width]);
    add("position_embd.weight".into(), &[TEXT as u64 + 2, width]);
    add("token_embd_norm.weight".into(), &[width]);
    for i in 0..layers {
        let mut layer = |name: &str, shape: &[u64]| add(format!("blk.{i}.{name}.weight"), shape);
        for name in ["attn_q", "attn_k", "attn_v", "attn_output"] {
            layer(name, &[width, width]);
        }
        if has_windows {
            for name in ["attn_q_global", "attn_k_global", "attn_v_global"] {
                layer(name, &[width, width]);
            }
        }
        layer("attn_output_norm", &[width]);
        layer("ffn_up", &[hidden, width]);
        layer("ffn_down", &[width, hidden]);
        layer("layer_output_norm", &[width]);
    }
    write_file(path, Metadata(keys.into_iter().collect()), &specs)
}

/// No buffer is as long as the text is wide squared: one byte for each pair of tokens would be
/// four gigabytes.
#[test]
fn a_long_text_takes_memory_by_its_length() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for architecture in ["longformer", "big_bird"] {
        long_text_of(architecture);
    }
}

fn long_text_of(architecture: &str) {
    let folder = TempFolder::new("long");
    let path = folder.join("model.gguf");
    write_long_model(&path, architecture);
    let model = Model::open(&path, options()).unwrap();
    let asked = |rows: usize| SessionOptions::default().context(1).source(rows);
    let arena = |rows: usize| Session::memory_plan(&model, asked(rows)).unwrap().arena;
    let (whole, half) = (arena(TEXT), arena(TEXT / 2));
    assert!(
        whole <= 2 * half + SLACK as usize,
        "{architecture}: {whole} bytes, {half}"
    );
    // A stage holds what a layer's attention reads, seven values, and makes those of the next.
    let most = 15 * TEXT * 4 * LONG[0] as usize;
    assert!(whole <= most, "{architecture}: {whole} bytes");

    let mut session = Session::new(&model, asked(TEXT)).unwrap();
    let rows: Vec<Row> = (0..TEXT)
        .map(|at| Row {
            token: (2 + at * 79 % 250) as u32,
            position: at as u64,
            global: (architecture == "longformer").then_some(at % 8192 == 5),
            ..Row::default()
        })
        .collect();
    let before = anonymous();
    let mut came = 0;
    session.encode(&rows, &mut |_| came += 1).unwrap();
    assert_eq!(came, TEXT);
    // Beside its values a run keeps a few facts of each row.
    let allowed = (whole + 128 * TEXT) as u64 + SLACK;
    let grown = anonymous().saturating_sub(before);
    assert!(
        grown <= allowed,
        "{architecture}: a text took {grown} bytes, {allowed} allowed"
    );
}
