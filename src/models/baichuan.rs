//! Baichuan (Yang et al. 2023): LLaMA whose queries, keys and values are one matrix; the larger one
//! knows positions by ALiBi.

use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, Only, Written, WrittenRows, llama};
use crate::graph::blocks::{Heads, activation, alibi, attend, gated_mlp, projections};
use crate::graph::decoder::PreNormDecoder;
use crate::graph::{BuildError, Builder, Config, PositionScheme};
use rillm_formats::manifest::{Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Baichuan",
    gguf: &["baichuan"],
    hugging_face: &["baichuan"],
    keys: &[
        tables::SIZES,
        tables::ROPE,
        keys! { "model_max_length" => "context_length", },
    ],
    // What was added to the loss of its successor.
    settled: &[("z_loss_weight", Only::Any)],
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
    unused_in_checkpoints: &["self_attn.rotary_emb.inv_freq"],
    conversion: Conversion {
        keys: |keys| {
            if keys.config.value(OF_ROPE).is_none() {
                keys.put(ALIBI, MetadataValue::F32(MAX_BIAS));
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

/// Tokens of its successor, whose head is not the plain one.
const SECOND_VOCABULARY: u64 = 125_696;

/// x ← x + Attention(RMS(x)); x ← x + FFN(RMS(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let decoder = PreNormDecoder::read(config, 1e-6)?;
    let heads = Heads::read(config, decoder.width)?;
    let hidden = config.count("feed_forward_length")?;
    let function = activation(config, "hidden_act", "silu")?;
    let folder = config.container == Container::HuggingFace;
    if folder && config.metadata.u64("vocab_size") == Some(SECOND_VOCABULARY) {
        let expected = "that of Baichuan 1: Baichuan 2 normalises its head's rows";
        return Err(config.bad("vocab_size", expected));
    }
    let position = match has_alibi(config, decoder.layers)? {
        true => alibi(heads.heads, MAX_BIAS),
        false => PositionScheme::Rope(llama::rotation(model, heads.head_dim, (1.0, 1e4))?),
    };
    let causal = heads.causal(position);
    decoder.wire(
        model,
        &|net, h, layer, _| {
            let qkv = projections(net, h, layer, heads)?;
            attend(net, qkv, layer, decoder.width, causal.clone())
        },
        &|net, h, layer, _| gated_mlp(net, h, layer, hidden, function),
    )
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
