//! BitNet b1.58 (Ma et al. 2024, 2025): LLaMA with norms before the last product of each layer's
//! parts, whose weights have three values.

use super::tables::{self, names};
use super::{Architecture, DECODER};
use crate::graph::blocks::{Heads, activation};
use crate::graph::decoder::PreNormDecoder;
use crate::graph::{
    Attention, BuildError, Builder, Keys, KvCache, Net, Pairing, PositionScheme, Rope, Value,
};
use rillm_formats::manifest::{Container, Metadata, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "BitNet b1.58",
    gguf: &["bitnet", AUTHORS_NAME],
    hugging_face: &["bitnet"],
    recognises: |config| is_first(config),
    off: tables::BIASES,
    keys: &[tables::SIZES, tables::ROPE],
    names: &[
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        tables::GATED_MLP,
        names! {
            in "model.layers.{i}." => "blk.{i}." {
                "self_attn.attn_sub_norm.weight" => "attn_sub_norm.weight",
                "mlp.ffn_sub_norm.weight" => "ffn_sub_norm.weight",
                // Of the first models.
                "self_attn.inner_attn_ln.weight" => "attn_sub_norm.weight",
                "mlp.ffn_layernorm.weight" => "ffn_sub_norm.weight",
            }
        },
    ],
    build,
    ..DECODER
};

/// Whether a folder is of the first models, which others than the authors trained and which say that
/// they are a LLaMA.
fn is_first(config: &Metadata) -> bool {
    let classes = config
        .array("architectures")
        .and_then(|list| list.strings());
    classes.is_some_and(|list| list.iter().any(|name| name == b"BitnetForCausalLM"))
}

/// What GGUF files of the authors' own runtime say.
const AUTHORS_NAME: &str = "bitnet-b1.58";

/// Tokens of the model that the authors published: LLaMA 3's.
const PUBLISHED_VOCABULARY: usize = 128_256;

/// x ← x + W_o RMS(Attention(RMS(x))); x ← x + down RMS(f(gate h) ⊙ up h) where h = RMS(x).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let decoder = PreNormDecoder::read(config, 1e-5)?;
    let heads = Heads::read(config, decoder.width)?;
    let rope = Rope::read_from(model, Pairing::Halves, heads.head_dim, 5e5)?;
    let hidden = config.count("feed_forward_length")?;
    let usual = usual_activation(model)?;
    config.grant("hidden_act", MetadataValue::String(usual.to_string()));
    let function = activation(config, "hidden_act", usual)?;
    let causal = heads.causal(PositionScheme::Rope(rope));
    decoder.wire(
        model,
        &|net, h, layer, _| {
            let rows = heads.kv_heads * heads.head_dim;
            let q = scaled(net, h, &format!("{layer}.attn_q"), decoder.width)?;
            let k = scaled(net, h, &format!("{layer}.attn_k"), rows)?;
            let v = scaled(net, h, &format!("{layer}.attn_v"), rows)?;
            let cache = KvCache::new(heads.kv_heads, heads.head_dim);
            let attention = Attention {
                keys: Keys::Cache(model.state(cache)),
                ..causal.clone()
            };
            let a = net.attention(q, Some((k, v)), attention);
            let a = net.rms_norm(a, &format!("{layer}.attn_sub_norm"), decoder.eps)?;
            scaled(net, a, &format!("{layer}.attn_output"), decoder.width)
        },
        &|net, h, layer, _| {
            let gate = scaled(net, h, &format!("{layer}.ffn_gate"), hidden)?;
            let up = scaled(net, h, &format!("{layer}.ffn_up"), hidden)?;
            let inner = net.mul(net.apply(gate, function), up);
            let inner = net.rms_norm(inner, &format!("{layer}.ffn_sub_norm"), decoder.eps)?;
            scaled(net, inner, &format!("{layer}.ffn_down"), decoder.width)
        },
    )
}

/// x Wᵀ, times the number that some GGUF files keep beside weights of −1, 0 and 1.
fn scaled(net: &Net<'_, '_>, x: Value, name: &str, out: usize) -> Result<Value, BuildError> {
    let (product, scale) = (net.linear(x, name, out)?, format!("{name}.scale"));
    Ok(match net.builder.has(&scale) {
        true => net.weigh(product, net.builder.vector_repeated(&scale, 1, out)?),
        false => product,
    })
}

/// GGUF's keys do not tell the first models from that which the authors published.
fn usual_activation(model: &Builder<'_>) -> Result<&'static str, BuildError> {
    let config = model.config();
    let published = config.container == Container::HuggingFace
        || config.architecture == AUTHORS_NAME
        || model.rows("token_embd.weight")? == PUBLISHED_VOCABULARY;
    Ok(if published { "relu2" } else { "silu" })
}
