//! Models of well-known shapes with random weights: as fast and as large as the real ones.

mod linear;
mod shapes;

use crate::convert::{Draft, DraftTensor, TensorSource, Values};
use linear::{Gla, Linear, RetNet, Rwkv4, Rwkv6, Rwkv7};
use rillm_formats::manifest::{Array, DType, Metadata, Value};
pub use shapes::SHAPES;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A model's shape under a name people know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// The name.
    pub name: &'static str,
    /// What it is the shape of.
    pub about: &'static str,
    vocabulary: u64,
    width: u64,
    layers: u64,
    context: u32,
    /// Whether the output layer has weights of its own.
    untied: bool,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Transformer {
        architecture: &'static str,
        heads: u64,
        kv_heads: u64,
        head_dim: u64,
        hidden: u64,
        base: f32,
        /// Norms of each head of queries and keys.
        head_norms: bool,
        /// Instead of one feed-forward layer: how many there are, and how many a token takes.
        experts: Option<(u64, u64)>,
    },
    Mamba {
        inner: u64,
        states: u64,
        width: u64,
        rank: u64,
    },
    RetNet(RetNet),
    Linear(Linear),
    Gla(Gla),
    Rwkv4(Rwkv4),
    Rwkv6(Rwkv6),
    Rwkv7(Rwkv7),
    Mamba2 {
        inner: u64,
        heads: u64,
        groups: u64,
        states: u64,
        width: u64,
    },
}

/// No shape has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownShape;

impl fmt::Display for UnknownShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no such shape; known are ")?;
        let names: Vec<&str> = SHAPES.iter().map(|shape| shape.name).collect();
        f.write_str(&names.join(", "))
    }
}

impl std::error::Error for UnknownShape {}

impl FromStr for Shape {
    type Err = UnknownShape;

    fn from_str(name: &str) -> Result<Shape, UnknownShape> {
        let mut all = SHAPES.iter();
        let found = all.find(|shape| shape.name.eq_ignore_ascii_case(name));
        found.copied().ok_or(UnknownShape)
    }
}

/// The values of one tensor: a normal distribution, nearly, each value from its place alone.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Draw {
    seed: u64,
    mean: f32,
    deviation: f32,
}

impl Values for Draw {
    fn fill(&self, first: usize, out: &mut [f32]) {
        // A sum of four uniform 16-bit numbers has a deviation of √(4/12) · 2¹⁶.
        let unit = self.deviation / (65536.0 * (4.0f32 / 12.0).sqrt());
        for (index, out) in out.iter_mut().enumerate() {
            let bits = mixed(self.seed ^ mixed((first + index) as u64));
            let sum: u32 = (0..4)
                .map(|part| (bits >> (16 * part)) as u32 & 0xffff)
                .sum();
            *out = self.mean + unit * (sum as f32 - 2.0 * 65535.0);
        }
    }
}

/// The finaliser of SplitMix64 (Steele et al. 2014).
fn mixed(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Shape {
    /// A model of this shape, the same one for the same seed.
    pub fn draft(&self, seed: u64) -> Draft {
        let mut made = Made {
            seed,
            metadata: Metadata::default(),
            tensors: Vec::new(),
        };
        let architecture = match self.kind {
            Kind::Transformer { architecture, .. } => architecture,
            Kind::Mamba { .. } => "mamba",
            Kind::RetNet(_) => "retnet",
            Kind::Linear(_) => "linear_transformer",
            Kind::Gla(_) => "gla",
            Kind::Rwkv4(_) => "rwkv4",
            Kind::Rwkv6(_) => "rwkv6",
            Kind::Rwkv7(_) => "rwkv7",
            Kind::Mamba2 { .. } => "mamba2",
        };
        let text = |text: &str| Value::String(text.to_string());
        made.put("general.architecture", text(architecture));
        made.put(
            "general.name",
            text(&format!("{} (random weights)", self.about)),
        );
        let key = |name: &str| format!("{architecture}.{name}");
        let count = |count: u64| Value::U32(count as u32);
        made.put(&key("block_count"), count(self.layers));
        made.put(&key("context_length"), Value::U32(self.context));
        made.put(&key("embedding_length"), count(self.width));
        made.put(&key("vocab_size"), count(self.vocabulary));
        made.put(&key("attention.layer_norm_rms_epsilon"), Value::F32(1e-5));
        made.matrix("token_embd.weight", &[self.vocabulary, self.width]);
        match self.kind {
            Kind::Transformer { .. } => self.transformer(&mut made, &key),
            Kind::Mamba { .. } => self.mamba(&mut made, &key),
            Kind::RetNet(retnet) => retnet.fill(&mut made, (self.layers, self.width), &key),
            Kind::Linear(linear) => linear.fill(&mut made, (self.layers, self.width), &key),
            Kind::Gla(gla) => gla.fill(&mut made, (self.layers, self.width), &key),
            Kind::Rwkv4(rwkv) => rwkv.fill(&mut made, (self.layers, self.width), &key),
            Kind::Rwkv6(rwkv) => rwkv.fill(&mut made, (self.layers, self.width), &key),
            Kind::Rwkv7(rwkv) => rwkv.fill(&mut made, (self.layers, self.width), &key),
            Kind::Mamba2 { .. } => self.mamba2(&mut made, &key),
        }
        made.norm("output_norm.weight", self.width);
        if self.untied {
            made.matrix("output.weight", &[self.vocabulary, self.width]);
        }
        vocabulary(&mut made.metadata, self.vocabulary);
        Draft::made(made.metadata, made.tensors)
    }

    fn transformer(&self, made: &mut Made, key: &dyn Fn(&str) -> String) {
        let Kind::Transformer {
            heads,
            kv_heads,
            head_dim,
            hidden,
            base,
            head_norms,
            experts,
            ..
        } = self.kind
        else {
            return;
        };
        for (name, value) in [
            ("feed_forward_length", hidden),
            ("attention.head_count", heads),
            ("attention.head_count_kv", kv_heads),
            ("attention.key_length", head_dim),
            ("attention.value_length", head_dim),
            ("rope.dimension_count", head_dim),
        ] {
            made.put(&key(name), Value::U32(value as u32));
        }
        made.put(&key("rope.freq_base"), Value::F32(base));
        if let Some((count, used)) = experts {
            made.put(&key("expert_count"), Value::U32(count as u32));
            made.put(&key("expert_used_count"), Value::U32(used as u32));
        }
        let width = self.width;
        for layer in 0..self.layers {
            let name = |name: &str| format!("blk.{layer}.{name}.weight");
            made.norm(&name("attn_norm"), width);
            made.matrix(&name("attn_q"), &[heads * head_dim, width]);
            made.matrix(&name("attn_k"), &[kv_heads * head_dim, width]);
            made.matrix(&name("attn_v"), &[kv_heads * head_dim, width]);
            if head_norms {
                made.norm(&name("attn_q_norm"), head_dim);
                made.norm(&name("attn_k_norm"), head_dim);
            }
            made.matrix(&name("attn_output"), &[width, heads * head_dim]);
            made.norm(&name("ffn_norm"), width);
            match experts {
                None => {
                    made.matrix(&name("ffn_gate"), &[hidden, width]);
                    made.matrix(&name("ffn_up"), &[hidden, width]);
                    made.matrix(&name("ffn_down"), &[width, hidden]);
                }
                Some((count, _)) => {
                    made.matrix(&name("ffn_gate_inp"), &[count, width]);
                    made.matrix(&name("ffn_gate_exps"), &[count, hidden, width]);
                    made.matrix(&name("ffn_up_exps"), &[count, hidden, width]);
                    made.matrix(&name("ffn_down_exps"), &[count, width, hidden]);
                }
            }
        }
    }

    fn mamba(&self, made: &mut Made, key: &dyn Fn(&str) -> String) {
        let Kind::Mamba {
            inner,
            states,
            width: taps,
            rank,
        } = self.kind
        else {
            return;
        };
        for (name, value) in [
            ("feed_forward_length", 0),
            ("attention.head_count", 0),
            ("ssm.conv_kernel", taps),
            ("ssm.inner_size", inner),
            ("ssm.state_size", states),
            ("ssm.time_step_rank", rank),
        ] {
            made.put(&key(name), Value::U32(value as u32));
        }
        // A = −1, −2 … for each channel, as real ones begin (Gu & Dao 2023, section 3.6).
        let a = (0..inner * states).map(|index| -((index % states + 1) as f32));
        let a: Vec<f32> = a.collect();
        for layer in 0..self.layers {
            let name = |name: &str| format!("blk.{layer}.{name}");
            made.norm(&name("attn_norm.weight"), self.width);
            made.matrix(&name("ssm_in.weight"), &[2 * inner, self.width]);
            made.drawn(&name("ssm_conv1d.weight"), &[inner, taps], 0.0, 0.3);
            made.drawn(&name("ssm_conv1d.bias"), &[inner], 0.0, 0.1);
            made.matrix(&name("ssm_x.weight"), &[rank + 2 * states, inner]);
            made.matrix(&name("ssm_dt.weight"), &[inner, rank]);
            // softplus(−4.6) is 0.01, in the middle of where steps begin.
            made.drawn(&name("ssm_dt.bias"), &[inner], -4.6, 0.7);
            made.push(&name("ssm_a"), &[inner, states], Arc::new(a.clone()));
            made.drawn(&name("ssm_d"), &[inner], 1.0, 0.1);
            made.matrix(&name("ssm_out.weight"), &[self.width, inner]);
        }
    }

    fn mamba2(&self, made: &mut Made, key: &dyn Fn(&str) -> String) {
        let Kind::Mamba2 {
            inner,
            heads,
            groups,
            states,
            width: taps,
        } = self.kind
        else {
            return;
        };
        for (name, value) in [
            ("feed_forward_length", 0),
            ("attention.head_count", 0),
            ("ssm.conv_kernel", taps),
            ("ssm.inner_size", inner),
            ("ssm.state_size", states),
            ("ssm.time_step_rank", heads),
            ("ssm.group_count", groups),
        ] {
            made.put(&key(name), Value::U32(value as u32));
        }
        let mixed = inner + 2 * groups * states;
        // A between −1 and −16, as real ones begin (Dao & Gu 2024, section 9).
        let a = (0..heads).map(|head| -1.0 - 15.0 * head as f32 / heads as f32);
        let a: Vec<f32> = a.collect();
        for layer in 0..self.layers {
            let name = |name: &str| format!("blk.{layer}.{name}");
            made.norm(&name("attn_norm.weight"), self.width);
            made.matrix(&name("ssm_in.weight"), &[inner + mixed + heads, self.width]);
            made.drawn(&name("ssm_conv1d.weight"), &[mixed, taps], 0.0, 0.3);
            made.drawn(&name("ssm_conv1d.bias"), &[mixed], 0.0, 0.1);
            made.drawn(&name("ssm_dt.bias"), &[heads], -4.6, 0.7);
            made.push(&name("ssm_a"), &[heads, 1], Arc::new(a.clone()));
            made.drawn(&name("ssm_d"), &[heads, 1], 1.0, 0.1);
            let parts = [groups, inner / groups];
            made.drawn(&name("ssm_norm.weight"), &parts, 1.0, 0.1);
            made.matrix(&name("ssm_out.weight"), &[self.width, inner]);
        }
    }
}

struct Made {
    seed: u64,
    metadata: Metadata,
    tensors: Vec<DraftTensor>,
}

impl Made {
    fn put(&mut self, key: &str, value: Value) {
        self.metadata.0.insert(key.to_string(), value);
    }

    fn push(&mut self, name: &str, shape: &[u64], values: Arc<dyn Values>) {
        self.tensors.push(DraftTensor {
            name: name.to_string(),
            shape: shape.to_vec(),
            dtype: DType::F32,
            from: TensorSource::Made(values),
        });
    }

    fn drawn(&mut self, name: &str, shape: &[u64], mean: f32, deviation: f32) {
        let seed = mixed(self.seed ^ mixed(self.tensors.len() as u64));
        let draw = Draw {
            seed,
            mean,
            deviation,
        };
        self.push(name, shape, Arc::new(draw));
    }

    fn matrix(&mut self, name: &str, shape: &[u64]) {
        self.drawn(name, shape, 0.0, 0.02);
    }

    fn norm(&mut self, name: &str, width: u64) {
        self.drawn(name, &[width], 1.0, 0.1);
    }
}

/// A SentencePiece vocabulary of `count` pieces that any text can be written in: letters, bytes
/// for what has none, and words that mean nothing.
fn vocabulary(metadata: &mut Metadata, count: u64) {
    const NORMAL: i32 = 1;
    const UNKNOWN: i32 = 2;
    const CONTROL: i32 = 3;
    const BYTE: i32 = 6;
    let mut pieces: Vec<(String, i32)> = vec![
        ("<unk>".into(), UNKNOWN),
        ("<s>".into(), CONTROL),
        ("</s>".into(), CONTROL),
    ];
    pieces.extend((0..=255).map(|byte| (format!("<0x{byte:02X}>"), BYTE)));
    pieces.push(("\u{2581}".into(), NORMAL));
    pieces.extend(('!'..='~').map(|letter| (letter.to_string(), NORMAL)));
    let words = (0u64..).map(|number| (word(number), NORMAL));
    let more = (count as usize).saturating_sub(pieces.len());
    pieces.extend(words.take(more));
    pieces.truncate(count as usize);

    let mut list = |name: &str, array: Array| {
        let key = format!("tokenizer.ggml.{name}");
        metadata.0.insert(key, Value::Array(array));
    };
    list(
        "scores",
        Array::F32((0..count).map(|id| -(id as f32)).collect()),
    );
    list(
        "token_type",
        Array::I32(pieces.iter().map(|(_, kind)| *kind).collect()),
    );
    let mut tokens = rillm_formats::manifest::Strings::default();
    for (piece, _) in &pieces {
        tokens.push(piece.as_bytes());
    }
    list("tokens", Array::String(tokens));
    let mut put = |name: &str, value: Value| {
        metadata.0.insert(format!("tokenizer.ggml.{name}"), value);
    };
    put("model", Value::String("llama".into()));
    put("pre", Value::String("default".into()));
    put("unknown_token_id", Value::U32(0));
    put("bos_token_id", Value::U32(1));
    put("eos_token_id", Value::U32(2));
    put("add_bos_token", Value::Bool(true));
}

/// Word `number`: its digits to the base of 80, each a syllable.
fn word(mut number: u64) -> String {
    const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
    const VOWELS: &[u8; 5] = b"aeiou";
    let mut word = String::from("\u{2581}");
    // Words of two syllables come first; the first syllable tells how many there are.
    number += 80;
    while number > 0 {
        let syllable = (number % 80) as usize;
        word.push(char::from(CONSONANTS[syllable / 5]));
        word.push(char::from(VOWELS[syllable % 5]));
        number /= 80;
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_their_places() {
        let draw = Draw {
            seed: 7,
            mean: 0.5,
            deviation: 0.02,
        };
        let mut all = vec![0.0; 100_000];
        draw.fill(0, &mut all);
        let mut part = vec![0.0; 500];
        draw.fill(700, &mut part);
        assert_eq!(part, all[700..1200]);
        let count = all.len() as f64;
        let mean = all.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
        let squares: f64 = all.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum();
        // Five standard errors.
        assert!((mean - 0.5).abs() < 5.0 * 0.02 / count.sqrt(), "{mean}");
        assert!(((squares / count).sqrt() - 0.02).abs() < 5.0 * 0.02 / (2.0 * count).sqrt());
    }

    #[test]
    fn words_differ() {
        let words: std::collections::BTreeSet<String> = (0..160_000).map(word).collect();
        assert_eq!(words.len(), 160_000);
    }
}
