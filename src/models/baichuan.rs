//! Baichuan (Yang et al. 2023): LLaMA whose queries, keys and values are one matrix; the larger one
//! knows positions by ALiBi. The rows of Baichuan 2's head are normalised.

use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, Only, Written, WrittenRows, llama};
use crate::graph::blocks::{Heads, activation, alibi, attend, gated_mlp, head, projections};
use crate::graph::decoder::PreNormDecoder;
use crate::graph::{BuildError, Builder, Config, PositionScheme};
use rillm_formats::manifest::{Container, Metadata, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Baichuan, Baichuan 2",
    gguf: &["baichuan"],
    hugging_face: &["baichuan"],
    keys: &[
        tables::SIZES,
        tables::ROPE,
        keys! { "model_max_length" => "context_length", },
    ],
    settled: &[(OF_SECOND, Only::Any)],
    names: &[
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        tables::GATED_MLP,
        names! {
            in "model.layers.{i}." => "blk.{i}." {
                "self_attn.W_pack.weight" => "attn_qkv.weight",
            }
        },
    ],
    conversion: Conversion {
        keys: |keys| {
            if keys.config.value(OF_ROPE).is_none() {
                keys.put(ALIBI, MetadataValue::F32(MAX_BIAS));
            }
            if is_second(keys.config) {
                keys.put(NORMALISED, MetadataValue::Bool(true));
            }
        },
        tensor: |keys, tensor| Ok(apart(tensor, keys.heads())),
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

/// What the configuration of the one that rotates says, and that of the other does not.
const OF_ROPE: &str = "max_position_embeddings";

const ALIBI: &str = "attention.max_alibi_bias";

const MAX_BIAS: f32 = 8.0;

/// Layers of the one with ALiBi, by which readers of GGUF know it.
const LARGE_LAYERS: usize = 40;

/// What was added to the loss of Baichuan 2, and stands in its configurations.
const OF_SECOND: &str = "z_loss_weight";

/// Its tokens, by which it is known in GGUF files that others wrote, where rows are as they were
/// trained, or normalised already.
const SECOND_VOCABULARY: usize = 125_696;

const NORMALISED: &str = "normalised_head";

/// x ← x + Attention(RMS(x)); x ← x + FFN(RMS(x)); of Baichuan 2, logits are RMS(x) · w / ‖w‖ of each
/// row w of the head.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let decoder = PreNormDecoder::read(config, 1e-6)?;
    let heads = Heads::read(config, decoder.width)?;
    let hidden = config.count("feed_forward_length")?;
    let function = activation(config, "hidden_act", "silu")?;
    let position = match has_alibi(config, decoder.layers)? {
        true => PositionScheme::Alibi(alibi(heads.heads, MAX_BIAS)),
        false => PositionScheme::Rope(llama::rotation(model, heads.head_dim, (1.0, 1e4))?),
    };
    let causal = heads.causal(position);
    let second = match config.container {
        Container::HuggingFace => is_second(config.metadata),
        Container::Gguf => {
            let published = model.rows("token_embd.weight")? == SECOND_VOCABULARY;
            config.flag(NORMALISED, published)?
        }
    };
    decoder.wire_to(
        model,
        &|net, h, layer, _| {
            let qkv = projections(net, h, layer, heads)?;
            attend(net, qkv, layer, decoder.width, causal.clone())
        },
        &|net, h, layer, _| gated_mlp(net, h, layer, hidden, function),
        &|net, x| {
            let logits = head(net, x)?;
            if !second {
                return Ok(logits);
            }
            let shape = (net.width(logits), decoder.width);
            let lengths = model.inverse_lengths("output.weight", shape)?;
            Ok(net.weigh(logits, lengths))
        },
    )
}

/// Whether a folder is of Baichuan 2.
fn is_second(config: &Metadata) -> bool {
    config.value(OF_SECOND).is_some()
}

fn has_alibi(config: &Config<'_>, layers: usize) -> Result<bool, BuildError> {
    match config.container {
        Container::HuggingFace => Ok(config.metadata.value(OF_ROPE).is_none()),
        Container::Gguf if config.value(ALIBI).is_none() => Ok(layers == LARGE_LAYERS),
        Container::Gguf => match config.float(ALIBI, 0.0)? {
            0.0 => Ok(false),
            MAX_BIAS => Ok(true),
            _ => Err(config.invalid(ALIBI, "8, or 0 for none")),
        },
    }
}

/// Queries, keys and values, of which neighbours rotate together, whether or not anything rotates.
fn apart(tensor: Written, heads: u64) -> Vec<Written> {
    let &[rows, columns] = tensor.shape.as_slice() else {
        return vec![tensor];
    };
    if tensor.part() != "attn_qkv" {
        return vec![tensor];
    }
    let count = (rows / 3) as usize;
    let part = |(place, part): (usize, &str)| Written {
        name: tensor.name.replace("attn_qkv", part),
        shape: vec![rows / 3, columns],
        rows: WrittenRows::Part {
            block: count,
            stride: 3 * count,
            offset: place * count,
            paired: (place < 2).then_some(count / heads as usize),
        },
        factors: Vec::new(),
    };
    let parts = ["attn_q", "attn_k", "attn_v"];
    parts.into_iter().enumerate().map(part).collect()
}
