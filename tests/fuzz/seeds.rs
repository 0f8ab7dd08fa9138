//! What the fuzzers start from: the smallest file of every architecture, and a snapshot of most.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rillm_formats::manifest::{Array, DType, Metadata, Strings, Value};

use crate::snapshot;
use crate::support::generator;
use crate::support::to_gguf::{Floats, Gguf};

/// A model under construction.
struct Seed {
    name: &'static str,
    gguf: Gguf,
    dtype: DType,
}

impl Seed {
    fn new(name: &'static str, architecture: &str, keys: &[(&str, u32)]) -> Seed {
        let mut metadata = Metadata::default();
        let value = Value::String(architecture.into());
        metadata.0.insert("general.architecture".into(), value);
        for &(key, value) in keys {
            let key = format!("{architecture}.{key}");
            metadata.0.insert(key, Value::U32(value));
        }
        let tensors = BTreeMap::new();
        let gguf = Gguf { metadata, tensors };
        Seed {
            name,
            gguf,
            dtype: DType::F32,
        }
    }

    fn key(mut self, key: &str, value: Value) -> Seed {
        self.gguf.metadata.0.insert(key.into(), value);
        self
    }

    fn stored(mut self, dtype: DType) -> Seed {
        self.dtype = dtype;
        self
    }

    fn tensors(mut self, prefix: &str, tensors: &[(&str, &[u64])]) -> Seed {
        for &(name, shape) in tensors {
            let name = format!("{prefix}{name}");
            let shift = if name.contains("norm") { 1.0 } else { 0.0 };
            let count = shape.iter().product::<u64>() as usize;
            let values = generator::tensor(1, &name, count, 0.5, shift);
            let shape = shape.to_vec();
            self.gguf.tensors.insert(name, Floats { shape, values });
        }
        self
    }
}

fn llama(name: &'static str, width: u64) -> Seed {
    let keys = [
        ("embedding_length", width as u32),
        ("block_count", 1),
        ("feed_forward_length", width as u32),
        ("context_length", 16),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
    ];
    let kv = width / 2;
    Seed::new(name, "llama", &keys)
        .tensors(
            "",
            &[
                ("token_embd.weight", &[5, width]),
                ("output_norm.weight", &[width]),
            ],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_norm.weight", &[width]),
                ("attn_q.weight", &[width, width]),
                ("attn_k.weight", &[kv, width]),
                ("attn_v.weight", &[kv, width]),
                ("attn_output.weight", &[width, width]),
                ("ffn_norm.weight", &[width]),
                ("ffn_gate.weight", &[width, width]),
                ("ffn_up.weight", &[width, width]),
                ("ffn_down.weight", &[width, width]),
            ],
        )
}

fn scaled(name: &'static str, kind: &str) -> Seed {
    llama(name, 4)
        .key("llama.rope.scaling.type", Value::String(kind.into()))
        .key("llama.rope.scaling.factor", Value::F32(4.0))
        .key("llama.rope.scaling.original_context_length", Value::U32(4))
        .key("llama.attention.sliding_window", Value::U32(2))
        .tensors(
            "",
            &[("rope_freqs.weight", &[1]), ("output.weight", &[5, 4])],
        )
}

fn mixtral() -> Seed {
    let mut seed = llama("ok-mixtral", 4)
        .key("llama.expert_count", Value::U32(3))
        .key("llama.expert_used_count", Value::U32(2))
        .tensors(
            "blk.0.",
            &[
                ("ffn_gate_inp.weight", &[3, 4]),
                ("ffn_gate_exps.weight", &[3, 4, 4]),
                ("ffn_up_exps.weight", &[3, 4, 4]),
                ("ffn_down_exps.weight", &[3, 4, 4]),
            ],
        );
    let dense = ["ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"];
    let is_dense = |name: &str| dense.iter().any(|dense| name.ends_with(dense));
    seed.gguf.tensors.retain(|name, _| !is_dense(name));
    seed
}

fn gpt2() -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("attention.head_count", 2),
    ];
    Seed::new("ok-gpt2", "gpt2", &keys)
        .tensors(
            "",
            &[
                ("token_embd.weight", &[5, 4]),
                ("position_embd.weight", &[8, 4]),
                ("output_norm.weight", &[4]),
                ("output_norm.bias", &[4]),
            ],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_norm.weight", &[4]),
                ("attn_norm.bias", &[4]),
                ("attn_qkv.weight", &[12, 4]),
                ("attn_qkv.bias", &[12]),
                ("attn_output.weight", &[4, 4]),
                ("ffn_norm.weight", &[4]),
                ("ffn_up.weight", &[16, 4]),
                ("ffn_down.weight", &[4, 16]),
                ("ffn_down.bias", &[4]),
            ],
        )
}

fn bert(name: &'static str, class: &str) -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("feed_forward_length", 4),
        ("attention.head_count", 2),
    ];
    let mut classes = Strings::default();
    classes.push(class.as_bytes());
    let head: &[(&str, &[u64])] = match class {
        "BertForMaskedLM" => &[
            ("mlm_dense.weight", &[4, 4]),
            ("mlm_norm.weight", &[4]),
            ("output.bias", &[5]),
        ],
        "BertForQuestionAnswering" => &[("qa_outputs.weight", &[2, 4])],
        "BertForSequenceClassification" => &[
            ("pooler.weight", &[4, 4]),
            ("pooler.bias", &[4]),
            ("classifier.weight", &[3, 4]),
        ],
        _ => &[("pooler.weight", &[4, 4]), ("pooler.bias", &[4])],
    };
    Seed::new(name, "bert", &keys)
        .key("architectures", Value::Array(Array::String(classes)))
        .tensors("", head)
        .tensors(
            "",
            &[
                ("token_embd.weight", &[5, 4]),
                ("token_types.weight", &[2, 4]),
                ("position_embd.weight", &[8, 4]),
                ("token_embd_norm.weight", &[4]),
                ("token_embd_norm.bias", &[4]),
            ],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_q.weight", &[4, 4]),
                ("attn_k.weight", &[4, 4]),
                ("attn_v.weight", &[4, 4]),
                ("attn_output.weight", &[4, 4]),
                ("attn_output_norm.weight", &[4]),
                ("ffn_up.weight", &[4, 4]),
                ("ffn_down.weight", &[4, 4]),
                ("layer_output_norm.weight", &[4]),
            ],
        )
}

fn t5(name: &'static str, architecture: &str) -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("feed_forward_length", 4),
        ("attention.head_count", 2),
        ("attention.key_length", 3),
        ("attention.relative_buckets_count", 4),
        ("attention.relative_max_distance", 6),
        ("decoder_start_token_id", 1),
    ];
    let layer: &[(&str, &[u64])] = &[
        ("attn_norm.weight", &[4]),
        ("attn_q.weight", &[6, 4]),
        ("attn_k.weight", &[6, 4]),
        ("attn_v.weight", &[6, 4]),
        ("attn_o.weight", &[4, 6]),
        ("attn_rel_b.weight", &[4, 2]),
        ("ffn_norm.weight", &[4]),
        ("ffn_up.weight", &[4, 4]),
        ("ffn_down.weight", &[4, 4]),
    ];
    let seed = Seed::new(name, architecture, &keys)
        .tensors(
            "",
            &[
                ("token_embd.weight", &[5, 4]),
                ("enc.output_norm.weight", &[4]),
            ],
        )
        .tensors("enc.blk.0.", layer);
    if architecture == "t5encoder" {
        return seed.tensors("enc.blk.0.", &[("ffn_gate.weight", &[4, 4])]);
    }
    seed.tensors("dec.blk.0.", layer)
        .tensors("", &[("dec.output_norm.weight", &[4])])
        .tensors(
            "dec.blk.0.",
            &[
                ("cross_attn_norm.weight", &[4]),
                ("cross_attn_q.weight", &[6, 4]),
                ("cross_attn_k.weight", &[6, 4]),
                ("cross_attn_v.weight", &[6, 4]),
                ("cross_attn_o.weight", &[4, 6]),
            ],
        )
}

fn mamba() -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("ssm.inner_size", 6),
        ("ssm.state_size", 2),
        ("ssm.conv_kernel", 3),
        ("ssm.time_step_rank", 1),
    ];
    Seed::new("ok-mamba", "mamba", &keys)
        .tensors(
            "",
            &[("token_embd.weight", &[5, 4]), ("output_norm.weight", &[4])],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_norm.weight", &[4]),
                ("ssm_in.weight", &[12, 4]),
                ("ssm_conv1d.weight", &[6, 3]),
                ("ssm_conv1d.bias", &[6]),
                ("ssm_x.weight", &[5, 6]),
                ("ssm_dt.weight", &[6, 1]),
                ("ssm_dt.bias", &[6]),
                ("ssm_a", &[6, 2]),
                ("ssm_d", &[6]),
                ("ssm_out.weight", &[4, 6]),
            ],
        )
}

fn mamba2() -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("ssm.inner_size", 8),
        ("ssm.state_size", 2),
        ("ssm.conv_kernel", 3),
        ("ssm.time_step_rank", 2),
        ("ssm.group_count", 1),
    ];
    Seed::new("ok-mamba2", "mamba2", &keys)
        .tensors(
            "",
            &[("token_embd.weight", &[5, 4]), ("output_norm.weight", &[4])],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_norm.weight", &[4]),
                ("ssm_in.weight", &[22, 4]),
                ("ssm_conv1d.weight", &[12, 3]),
                ("ssm_conv1d.bias", &[12]),
                ("ssm_dt.bias", &[2]),
                ("ssm_a", &[2, 1]),
                ("ssm_d", &[2, 1]),
                ("ssm_norm.weight", &[1, 8]),
                ("ssm_out.weight", &[4, 8]),
            ],
        )
}

/// A layer of Mamba-2, and one of attention that rotates half of a head.
fn hybrid() -> Seed {
    let keys = [
        ("embedding_length", 8),
        ("block_count", 2),
        ("feed_forward_length", 6),
        ("context_length", 16),
        ("attention.head_count", 2),
        ("rope.dimension_count", 2),
        ("ssm.inner_size", 16),
        ("ssm.state_size", 2),
        ("ssm.conv_kernel", 3),
        ("ssm.time_step_rank", 2),
        ("ssm.group_count", 1),
    ];
    let feed_forward: &[(&str, &[u64])] = &[
        ("attn_norm.weight", &[8]),
        ("ffn_norm.weight", &[8]),
        ("ffn_gate.weight", &[6, 8]),
        ("ffn_up.weight", &[6, 8]),
        ("ffn_down.weight", &[8, 6]),
    ];
    Seed::new("ok-hybrid", "granitehybrid", &keys)
        .key(
            "granitehybrid.attention.head_count_kv",
            Value::Array(Array::U32(vec![0, 1])),
        )
        .key("granitehybrid.rope.scaling.finetuned", Value::Bool(true))
        .tensors(
            "",
            &[
                ("token_embd.weight", &[5, 8]),
                ("output_norm.weight", &[8]),
                ("output.weight", &[5, 8]),
            ],
        )
        .tensors("blk.0.", feed_forward)
        .tensors(
            "blk.0.",
            &[
                ("ssm_in.weight", &[38, 8]),
                ("ssm_conv1d.weight", &[20, 3]),
                ("ssm_dt.bias", &[2]),
                ("ssm_a", &[2, 1]),
                ("ssm_d", &[2, 1]),
                ("ssm_norm.weight", &[1, 16]),
                ("ssm_out.weight", &[8, 16]),
            ],
        )
        .tensors("blk.1.", feed_forward)
        .tensors(
            "blk.1.",
            &[
                ("attn_q.weight", &[8, 8]),
                ("attn_k.weight", &[4, 8]),
                ("attn_v.weight", &[4, 8]),
                ("attn_output.weight", &[8, 8]),
            ],
        )
}

fn retnet() -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("feed_forward_length", 6),
        ("retention.head_count", 2),
        ("retention.value_length", 8),
    ];
    Seed::new("ok-retnet", "retnet", &keys)
        .tensors(
            "",
            &[
                ("token_embd.weight", &[5, 4]),
                ("output_norm.weight", &[4]),
                ("output.weight", &[5, 4]),
            ],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_norm.weight", &[4]),
                ("attn_q.weight", &[4, 4]),
                ("attn_k.weight", &[4, 4]),
                ("attn_v.weight", &[8, 4]),
                ("attn_gate.weight", &[8, 4]),
                ("attn_output.weight", &[4, 8]),
                ("ffn_norm.weight", &[4]),
                ("ffn_gate.weight", &[6, 4]),
                ("ffn_up.weight", &[6, 4]),
                ("ffn_down.weight", &[4, 6]),
            ],
        )
}

/// What the generations of RWKV have in common.
fn rwkv(name: &'static str, architecture: &str) -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("feed_forward_length", 6),
        ("wkv.head_size", 2),
    ];
    Seed::new(name, architecture, &keys)
        .tensors(
            "",
            &[
                ("token_embd.weight", &[5, 4]),
                ("token_embd_norm.weight", &[4]),
                ("token_embd_norm.bias", &[4]),
                ("output_norm.weight", &[4]),
                ("output_norm.bias", &[4]),
                ("output.weight", &[5, 4]),
            ],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_norm.weight", &[4]),
                ("attn_norm.bias", &[4]),
                ("attn_norm_2.weight", &[4]),
                ("attn_norm_2.bias", &[4]),
                ("time_mix_receptance.weight", &[4, 4]),
                ("time_mix_key.weight", &[4, 4]),
                ("time_mix_value.weight", &[4, 4]),
                ("time_mix_output.weight", &[4, 4]),
                ("channel_mix_lerp_k.weight", &[1, 1, 4]),
                ("channel_mix_key.weight", &[6, 4]),
                ("channel_mix_value.weight", &[4, 6]),
            ],
        )
}

fn rwkv4() -> Seed {
    rwkv("ok-rwkv4", "rwkv4").tensors(
        "blk.0.",
        &[
            ("time_mix_decay.weight", &[4]),
            ("time_mix_first.weight", &[4]),
            ("time_mix_lerp_k.weight", &[1, 1, 4]),
            ("time_mix_lerp_v.weight", &[1, 1, 4]),
            ("time_mix_lerp_r.weight", &[1, 1, 4]),
            ("channel_mix_lerp_r.weight", &[1, 1, 4]),
            ("channel_mix_receptance.weight", &[4, 4]),
        ],
    )
}

fn rwkv7() -> Seed {
    rwkv("ok-rwkv7", "rwkv7").tensors(
        "blk.0.",
        &[
            ("time_mix_lerp_fused.weight", &[6, 1, 1, 4]),
            ("time_mix_w0.weight", &[1, 1, 4]),
            ("time_mix_w1.weight", &[2, 4]),
            ("time_mix_w2.weight", &[4, 2]),
            ("time_mix_a0.weight", &[1, 1, 4]),
            ("time_mix_a1.weight", &[2, 4]),
            ("time_mix_a2.weight", &[4, 2]),
            ("time_mix_g1.weight", &[2, 4]),
            ("time_mix_g2.weight", &[4, 2]),
            ("time_mix_k_k.weight", &[1, 1, 4]),
            ("time_mix_k_a.weight", &[1, 1, 4]),
            ("time_mix_r_k.weight", &[4]),
            ("time_mix_ln.weight", &[4]),
            ("time_mix_ln.bias", &[4]),
        ],
    )
}

fn linear_transformer() -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("feed_forward_length", 6),
        ("attention.head_count", 2),
    ];
    Seed::new("ok-linear-transformer", "linear_transformer", &keys)
        .tensors(
            "",
            &[
                ("token_embd.weight", &[5, 4]),
                ("position_embd.weight", &[8, 4]),
                ("output_norm.weight", &[4]),
                ("output.weight", &[5, 4]),
            ],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_norm.weight", &[4]),
                ("attn_q.weight", &[4, 4]),
                ("attn_k.weight", &[4, 4]),
                ("attn_v.weight", &[4, 4]),
                ("attn_output.weight", &[4, 4]),
                ("ffn_norm.weight", &[4]),
                ("ffn_up.weight", &[6, 4]),
                ("ffn_down.weight", &[4, 6]),
            ],
        )
}

fn transformer_xl() -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("feed_forward_length", 6),
        ("attention.head_count", 2),
        ("attention.key_length", 2),
        ("memory.length", 3),
        ("vocabulary.size", 5),
    ];
    Seed::new("ok-transformer-xl", "transfo-xl", &keys)
        .tensors(
            "",
            &[("token_embd.0.weight", &[5, 4]), ("output.0.bias", &[5])],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_qkv.weight", &[12, 4]),
                ("attn_distance.weight", &[4, 4]),
                ("attn_key_bias", &[2, 2]),
                ("attn_distance_bias", &[2, 2]),
                ("attn_output.weight", &[4, 4]),
                ("attn_norm.weight", &[4]),
                ("ffn_up.weight", &[6, 4]),
                ("ffn_down.weight", &[4, 6]),
                ("ffn_norm.weight", &[4]),
            ],
        )
}

fn compressive_transformer() -> Seed {
    let keys = [
        ("embedding_length", 4),
        ("block_count", 1),
        ("attention.head_count", 2),
        ("memory.segment", 2),
        ("memory.length", 2),
        ("memory.ratio", 2),
        ("vocabulary.size", 5),
    ];
    let name = "compressive_transformer";
    Seed::new("ok-compressive-transformer", name, &keys)
        .key(&format!("{name}.residual.gated"), Value::Bool(false))
        .tensors(
            "",
            &[
                ("token_embd.weight", &[5, 4]),
                ("position_embd.weight", &[2, 5, 2]),
                ("output.weight", &[5, 4]),
            ],
        )
        .tensors(
            "blk.0.",
            &[
                ("attn_norm.weight", &[4]),
                ("attn_q.weight", &[4, 4]),
                ("attn_kv.weight", &[8, 4]),
                ("attn_output.weight", &[4, 4]),
                ("compress.weight", &[4, 4, 2]),
                ("ffn_norm.weight", &[4]),
                ("ffn_up.weight", &[16, 4]),
                ("ffn_down.weight", &[4, 16]),
            ],
        )
}

/// Every seed by file name.
pub fn all() -> BTreeMap<String, Vec<u8>> {
    let seeds = [
        llama("ok-llama", 4),
        llama("ok-llama-q8", 32).stored(DType::Q8_0),
        llama("ok-llama-q4", 32).stored(DType::Q4_0),
        llama("ok-llama-half", 4).stored(DType::BF16),
        scaled("ok-yarn", "yarn"),
        scaled("ok-dynamic", "dynamic"),
        scaled("ok-llama3", "llama3"),
        mixtral(),
        gpt2(),
        bert("ok-bert", "BertModel"),
        bert("ok-bert-masked", "BertForMaskedLM"),
        bert("ok-bert-question", "BertForQuestionAnswering"),
        bert("ok-bert-sequence", "BertForSequenceClassification"),
        t5("ok-t5", "t5"),
        t5("ok-t5-encoder", "t5encoder"),
        mamba(),
        linear_transformer(),
        transformer_xl(),
        compressive_transformer(),
        mamba2(),
        hybrid(),
        retnet(),
        rwkv4(),
        rwkv7(),
    ];
    let file = |seed: Seed| (seed.name.to_owned(), seed.gguf.bytes_as(seed.dtype));
    seeds.into_iter().map(file).collect()
}

/// A folder of a fuzzer's files: its seeds or its regressions.
fn folder(kind: &str, target: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    root.join(kind).join(target)
}

/// The files of such a folder by name.
pub fn files(kind: &str, target: &str) -> BTreeMap<String, Vec<u8>> {
    // Without regressions there is no folder.
    let Ok(entries) = fs::read_dir(folder(kind, target)) else {
        return BTreeMap::new();
    };
    let entries = entries.map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

fn write(target: &str, files: impl Iterator<Item = (String, Vec<u8>)>) {
    let folder = folder("seeds", target);
    fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

#[test]
#[ignore = "writes the seeds into fuzz/seeds/model"]
fn write_seeds() {
    write("model", all().into_iter());
}

#[test]
#[ignore = "writes the seeds into fuzz/seeds/snapshot"]
fn write_snapshot_seeds() {
    let saved = snapshot::models().map(|(name, model)| (name.to_owned(), snapshot::saved(&model)));
    write("snapshot", saved);
}
