//! Which type each tensor of a file gets: the mixes that users know by name, and what to do
//! with rows that a type's blocks do not divide. The rules are those of llama-quantize, so that
//! a name promises the same size and quality here and there.

use crate::models::{Quantization, find};
use crate::quant;
use rillm_formats::manifest::{Container, DType, Metadata};
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// A target that users name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// The name, as users write it in upper case.
    pub name: &'static str,
    /// The type of most matrices; `None` leaves every tensor as it is.
    pub base: Option<DType>,
    /// `general.file_type` of the result.
    pub file_type: u32,
    /// What it is good for, in a few words.
    pub about: &'static str,
    rules: Rules,
}

/// What a mix does differently for tensors that matter more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    /// Nothing but the output.
    Even,
    Q2K,
    Q2KSmall,
    Q3KMedium,
    Q3KLarge,
    Q4KSmall,
    Q4KMedium,
    Q5KMedium,
    Iq4,
    Trits,
    /// Experts in the base type, all else in Q8_0.
    Experts,
}

macro_rules! mixes {
    ($($name:literal, $base:expr, $file_type:literal, $rules:ident, $about:literal;)*) => {
        /// Every mix there is, from the smallest to the largest kinds.
        pub const MIXES: &[Mix] = &[$(Mix {
            name: $name,
            base: $base,
            file_type: $file_type,
            about: $about,
            rules: Rules::$rules,
        },)*];
    };
}

mixes! {
    "Q1_0", Some(DType::Q1_0), 40, Trits, "models trained with two values, 1.1 bits each";
    "TQ1_0", Some(DType::TQ1_0), 36, Trits, "models trained with three values, 1.7 bits each";
    "TQ2_0", Some(DType::TQ2_0), 37, Trits, "models trained with three values, 2.1 bits each";
    "Q2_0", Some(DType::Q2_0), 41, Trits, "models trained with three values, 2.3 bits each";
    "Q2_K_S", Some(DType::Q2_K), 21, Q2KSmall, "the smallest, with a marked loss";
    "Q2_K", Some(DType::Q2_K), 10, Q2K, "very small, with a marked loss";
    "Q3_K_S", Some(DType::Q3_K), 11, Even, "small, with a noticeable loss";
    "Q3_K_M", Some(DType::Q3_K), 12, Q3KMedium, "small, with some loss";
    "Q3_K_L", Some(DType::Q3_K), 13, Q3KLarge, "small, with less loss";
    "IQ4_XS", Some(DType::IQ4_XS), 30, Iq4, "4.3 bits on a grid that suits weights";
    "IQ4_NL", Some(DType::IQ4_NL), 25, Iq4, "4.5 bits on a grid that suits weights";
    "MXFP4", Some(DType::MXFP4), 38, Even, "4.3 bits as small floats, everywhere";
    "MXFP4_MOE", Some(DType::MXFP4), 38, Experts, "experts as small floats, all else Q8_0";
    "Q4_0", Some(DType::Q4_0), 2, Even, "4.5 bits, the simplest and fastest to decode";
    "Q4_1", Some(DType::Q4_1), 3, Even, "5 bits with offsets";
    "Q4_K_S", Some(DType::Q4_K), 14, Q4KSmall, "4.5 bits, a little smaller than Q4_K_M";
    "Q4_K_M", Some(DType::Q4_K), 15, Q4KMedium, "the usual choice: little loss, small";
    "Q5_0", Some(DType::Q5_0), 8, Even, "5.5 bits";
    "Q5_1", Some(DType::Q5_1), 9, Even, "6 bits with offsets";
    "Q5_K_S", Some(DType::Q5_K), 16, Even, "5.5 bits, hardly any loss";
    "Q5_K_M", Some(DType::Q5_K), 17, Q5KMedium, "5.7 bits, hardly any loss";
    "Q6_K", Some(DType::Q6_K), 18, Even, "6.6 bits, next to no loss";
    "Q8_0", Some(DType::Q8_0), 7, Even, "8.5 bits, as good as the original";
    "F16", Some(DType::F16), 1, Even, "half precision";
    "BF16", Some(DType::BF16), 32, Even, "half precision with the range of floats";
    "F32", Some(DType::F32), 0, Even, "single precision";
    "COPY", None, 0, Even, "every tensor as it is, in a new file";
}

/// Other names for mixes.
const ALIASES: &[(&str, &str)] = &[
    ("Q3_K", "Q3_K_M"),
    ("Q4_K", "Q4_K_M"),
    ("Q5_K", "Q5_K_M"),
    ("FP16", "F16"),
    ("FP32", "F32"),
];

impl Mix {
    /// Whether it is for weights that were trained to be of two or three values: others lose in it what
    /// they say.
    pub(crate) fn is_of_trained_values(&self) -> bool {
        self.rules == Rules::Trits
    }
}

impl FromStr for Mix {
    type Err = UnknownMix;

    fn from_str(name: &str) -> Result<Mix, UnknownMix> {
        let upper = name.to_ascii_uppercase();
        let alias = ALIASES.iter().find(|(alias, _)| *alias == upper);
        let name = alias.map_or(upper.as_str(), |(_, name)| name);
        let found = MIXES.iter().find(|mix| mix.name == name).copied();
        found.ok_or(UnknownMix)
    }
}

/// No mix has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownMix;

impl fmt::Display for UnknownMix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no such type; known are ")?;
        for (index, mix) in MIXES.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { ", " }, mix.name)?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownMix {}

/// What a tensor is for, as far as mixes care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum TensorUse {
    Embedding,
    Output,
    /// Values, or queries, keys and values in one.
    Values,
    Fused,
    AttentionOutput,
    Down,
    Other,
}

fn part(name: &str) -> TensorUse {
    match name {
        "token_embd.weight" => return TensorUse::Embedding,
        "output.weight" => return TensorUse::Output,
        _ => {}
    }
    let of = |part: &str| name.contains(part);
    if of("attn_qkv.weight") {
        TensorUse::Fused
    } else if of("attn_v.weight") || of("attn_kv_b.weight") {
        TensorUse::Values
    } else if of("attn_output.weight") {
        TensorUse::AttentionOutput
    } else if of("ffn_down") {
        TensorUse::Down
    } else {
        TensorUse::Other
    }
}

/// Whether a tensor is a matrix to be quantized at all. What is small and delicate stays.
fn is_quantized(name: &str, extents: &[u64], kept: &[&str]) -> bool {
    /// Parts of names of tensors that llama-quantize does not touch.
    const KEPT: &[&str] = &[
        "_norm.weight",
        "ffn_gate_inp.weight",
        "altup",
        "laurel",
        "per_layer_model_proj",
        "ssm_conv1d",
        "shortconv.conv.weight",
        "time_mix_first.weight",
        "time_mix_w0.weight",
        "time_mix_w1.weight",
        "time_mix_w2.weight",
        "time_mix_v0.weight",
        "time_mix_v1.weight",
        "time_mix_v2.weight",
        "time_mix_a0.weight",
        "time_mix_a1.weight",
        "time_mix_a2.weight",
        "time_mix_g1.weight",
        "time_mix_g2.weight",
        "time_mix_decay_w1.weight",
        "time_mix_decay_w2.weight",
        "time_mix_lerp_fused.weight",
        "attn_rel_b.weight",
        "position_embd.weight",
        "token_types.weight",
        "task_types.weight",
        "sentence_transformers.",
    ];
    // Extents of one do not make a matrix of a vector.
    let dimensions = extents.iter().filter(|extent| **extent > 1).count();
    let matrix = extents.len() >= 2 && dimensions >= 2;
    matrix && name.ends_with("weight") && !KEPT.iter().chain(kept).any(|kept| name.contains(kept))
}

/// What a mix's choices depend on beside the name of a tensor.
#[derive(Debug)]
pub struct Choice {
    mix: Mix,
    quantization: Quantization,
    tied: bool,
    layers: usize,
    experts: u64,
    /// Query heads to a head of keys and values.
    grouped: u64,
    /// So many layers that values which several heads share are few.
    large: bool,
    /// Place of each tensor of values among all of them, in the order of layers.
    values: HashMap<String, usize>,
}

impl Choice {
    /// Gathers it from a file's keys (as GGUF has them) and tensors.
    pub fn new<'a>(
        mix: Mix,
        metadata: &Metadata,
        names: impl Iterator<Item = &'a str> + Clone,
    ) -> Choice {
        let architecture = metadata.str("general.architecture").unwrap_or_default();
        let count = |key: &str| {
            let key = format!("{architecture}.{key}");
            // Heads may differ by layer.
            let first = |array: &rillm_formats::manifest::Array| array.u64(0);
            metadata
                .u64(&key)
                .or_else(|| metadata.array(&key).and_then(first))
        };
        let layers = count("block_count").unwrap_or(0);
        // Files of architectures that do not run can be quantized as well.
        let known = find(Container::Gguf, architecture);
        let quantization = known.map_or(Quantization::USUAL, |known| known.quantization);
        let heads = count("attention.head_count").unwrap_or(1).max(1);
        let kv_heads = count("attention.head_count_kv").unwrap_or(heads).max(1);
        let of_values = |name: &&str| matches!(part(name), TensorUse::Values | TensorUse::Fused);
        let mut values: Vec<&str> = names.clone().filter(of_values).collect();
        values.sort_by_key(|name| layer(name));
        let values = values.iter().enumerate();
        Choice {
            mix,
            quantization,
            tied: !names.clone().any(|name| part(name) == TensorUse::Output),
            layers: layers as usize,
            experts: count("expert_count").unwrap_or(0),
            grouped: heads / kv_heads,
            large: quantization.precise_values_at == Some(layers) && heads != kv_heads,
            values: values
                .map(|(place, name)| (name.to_string(), place))
                .collect(),
        }
    }

    /// Whether a tensor is a matrix to be quantized at all.
    pub fn is_quantized(&self, name: &str, extents: &[u64]) -> bool {
        is_quantized(name, extents, self.quantization.kept)
    }

    /// The type of a tensor that is to be quantized, and the one it would have had if its rows
    /// could be cut into that one's blocks.
    pub fn of(&self, name: &str, extents: &[u64]) -> (DType, Option<DType>) {
        let columns = extents.last().copied().unwrap_or(1);
        let wanted = self.wanted(name, extents);
        let fits = |dtype: DType| columns.is_multiple_of(dtype.block_elements());
        if fits(wanted) {
            return (wanted, None);
        }
        let found = quant::types::stand_in(wanted).filter(|&dtype| fits(dtype));
        (found.unwrap_or(DType::F16), Some(wanted))
    }

    fn wanted(&self, name: &str, extents: &[u64]) -> DType {
        let Some(base) = self.mix.base else {
            return DType::F32;
        };
        if base.block_elements() == 1 {
            return base;
        }
        let part = part(name);
        if part == TensorUse::Output || (part == TensorUse::Embedding && self.tied) {
            let columns = extents.last().copied().unwrap_or(1);
            let coarse = self.quantization.even || !columns.is_multiple_of(base.block_elements());
            return match base {
                DType::Q8_0 => DType::Q8_0,
                _ if coarse || self.mix.rules == Rules::Experts => DType::Q8_0,
                _ => DType::Q6_K,
            };
        }
        match self.mix.rules {
            Rules::Experts if extents.len() > 2 => return base,
            Rules::Experts => return DType::Q8_0,
            Rules::Trits if part == TensorUse::Embedding => return DType::Q4_K,
            _ => {}
        }
        match part {
            TensorUse::Values | TensorUse::Fused => self.values(name, base),
            TensorUse::Down => self.down(name, base),
            TensorUse::AttentionOutput => self.attention_output(base),
            TensorUse::Other if name.contains("attn_k.weight") && self.experts == 8 => DType::Q8_0,
            _ => base,
        }
    }

    fn values(&self, name: &str, base: DType) -> DType {
        let place = self.values.get(name).copied().unwrap_or(0);
        let of_all = self.values.len();
        let grouped = self.grouped >= 4;
        let mut wanted = match self.mix.rules {
            Rules::Q2K if grouped => DType::Q4_K,
            Rules::Q2K => DType::Q3_K,
            Rules::Q2KSmall if grouped => DType::Q4_K,
            Rules::Q3KMedium if place < 2 => DType::Q5_K,
            Rules::Q3KMedium => DType::Q4_K,
            Rules::Q3KLarge => DType::Q5_K,
            Rules::Iq4 if grouped => DType::Q5_K,
            Rules::Q4KMedium | Rules::Q5KMedium if matters_more(place, of_all) => DType::Q6_K,
            Rules::Q4KSmall if place < 4 => DType::Q5_K,
            _ => base,
        };
        // Values that eight heads share are few, and precise ones cost little.
        if self.large && matches!(wanted, DType::Q3_K | DType::Q4_K) {
            wanted = DType::Q5_K;
        }
        if self.experts == 8 {
            DType::Q8_0
        } else {
            wanted
        }
    }

    fn down(&self, name: &str, base: DType) -> DType {
        let (layer, layers) = (layer(name), self.layers);
        let more = matters_more(layer, layers);
        match self.mix.rules {
            Rules::Q2K => DType::Q3_K,
            Rules::Q2KSmall if layer < layers / 8 => DType::Q4_K,
            Rules::Q3KMedium if layer < layers / 16 => DType::Q5_K,
            Rules::Q3KMedium if !self.quantization.even || more => DType::Q4_K,
            Rules::Q3KLarge if self.quantization.even => DType::Q4_K,
            Rules::Q3KLarge => DType::Q5_K,
            Rules::Q4KMedium if self.quantization.even && layer < layers / 16 => DType::Q6_K,
            Rules::Q4KMedium if self.quantization.even && more => DType::Q5_K,
            Rules::Q4KMedium if !self.quantization.even && more => DType::Q6_K,
            Rules::Iq4 if layer < layers / 8 => DType::Q5_K,
            Rules::Q5KMedium if more => DType::Q6_K,
            Rules::Q4KSmall if !self.quantization.even && layer < layers / 8 => DType::Q5_K,
            _ => base,
        }
    }

    fn attention_output(&self, base: DType) -> DType {
        if self.quantization.even {
            return match self.mix.rules {
                Rules::Q3KLarge => DType::Q4_K,
                _ => base,
            };
        }
        let four_bits_or_less = matches!(
            base,
            DType::Q2_K | DType::Q3_K | DType::Q4_K | DType::IQ4_NL | DType::IQ4_XS
        );
        match self.mix.rules {
            Rules::Q2KSmall | Rules::Q3KLarge if self.experts == 8 => base,
            _ if self.experts == 8 && four_bits_or_less => DType::Q5_K,
            Rules::Q2K => DType::Q3_K,
            Rules::Q3KMedium => DType::Q4_K,
            Rules::Q3KLarge => DType::Q5_K,
            _ => base,
        }
    }
}

/// The first and the last eighth, and every third in between.
fn matters_more(place: usize, of_all: usize) -> bool {
    place < of_all / 8 || place >= 7 * of_all / 8 || (place - of_all / 8) % 3 == 2
}

/// N of `blk.N.…`, or zero.
fn layer(name: &str) -> usize {
    let number = name.split('.').nth(1);
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
