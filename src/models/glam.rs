//! GLaM (Du et al. 2022): a decoder whose every other layer is a mixture of experts, of which a row
//! meets two; gates in the others; a table of position biases in each layer (section 4).
//!
//! There is neither code nor a checkpoint of its authors: what the paper leaves open is taken from those
//! that it builds on. Norms come first and are RMS, and distances fall into buckets, as in T5 (Raffel
//! et al. 2020); the two experts' weights are shares of their sum, as in GShard (Lepikhin et al. 2021,
//! algorithm 1), whose limit to what an expert takes is one of training.

use super::tables::{self, keys, names};
use super::{Architecture, DECODER, Family};
use crate::graph::blocks::{Heads, activation, attend, gated_mlp, projections};
use crate::graph::decoder::PreNormDecoder;
use crate::graph::experts::{Gating, Router};
use crate::graph::{Buckets, BuildError, Builder, Net, Pointwise, PositionScheme, Value};
use rillm_formats::manifest::MetadataValue;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "GLaM",
    gguf: &["glam"],
    hugging_face: &["glam"],
    family: Family::MixtureOfExperts,
    keys: &[
        tables::SIZES,
        keys! {
            "num_experts" => "expert_count",
            "num_experts_per_tok" => "expert_used_count",
            "moe_intermediate_size" => "expert_feed_forward_length",
            "decoder_sparse_step" => "expert_every_n_layers",
            "relative_attention_num_buckets" => "attention.relative_buckets_count",
            "relative_attention_max_distance" => "attention.relative_max_distance",
        },
    ],
    ties: true,
    names: &[
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        tables::GATED_MLP,
        tables::EXPERTS,
        names! {
            in "model.layers.{i}." => "blk.{i}." {
                "self_attn.relative_attention_bias.weight" => "attn_rel_b.weight",
            }
        },
    ],
    build,
    ..DECODER
};

/// x ← x + Attention(RMS(x)); x ← x + FFN(RMS(x)), or Σ p · expert(RMS(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let decoder = PreNormDecoder::read(config, 1e-6)?;
    let heads = Heads::read(config, decoder.width)?;
    let hidden = config.count("feed_forward_length")?;
    let expert_hidden = config.optional_count("expert_feed_forward_length")?;
    let expert_hidden = expert_hidden.unwrap_or(hidden);
    let function = activation(config, "hidden_act", "gelu")?;
    let router = Router::read(config, &Gating::CHOSEN_SOFTMAX)?;
    let key = "expert_every_n_layers";
    config.grant(key, MetadataValue::U32(2));
    let every = config.optional_count(key)?.unwrap_or(2);
    let key = "attention.relative_buckets_count";
    let buckets = config.optional_count(key)?.unwrap_or(32);
    let distance = config.optional_count("attention.relative_max_distance")?;
    let distance = distance.unwrap_or(128);
    if buckets < 4 || !buckets.is_multiple_of(2) || distance <= buckets / 2 || distance > 1 << 20 {
        let expected = "an even number from 4 on, less than twice the maximum distance";
        return Err(config.invalid(key, expected));
    }
    decoder.wire(
        model,
        &|net, h, layer, _| {
            let table = format!("{layer}.attn_rel_b.weight");
            let table = model.vector(&table, &[buckets, heads.heads])?;
            let biases = Buckets::new(table, buckets, distance, false);
            let qkv = projections(net, h, layer, heads)?;
            let causal = heads.causal(PositionScheme::Buckets(biases));
            attend(net, qkv, layer, decoder.width, causal)
        },
        &|net, h, layer, i| match (i + 1).is_multiple_of(every) {
            true => experts(net, h, layer, (expert_hidden, function), &router),
            false => gated_mlp(net, h, layer, hidden, function),
        },
    )
}

/// Σ p · down(f(up x)) over the experts that are chosen.
fn experts(
    net: &Net<'_, '_>,
    x: Value,
    layer: &str,
    (hidden, function): (usize, Pointwise),
    router: &Router,
) -> Result<Value, BuildError> {
    let (model, width) = (net.builder, net.width(x));
    let stack = |part: &str, rows, columns| {
        let name = format!("{layer}.ffn_{part}_exps.weight");
        model.experts(&name, router.experts, rows, columns)
    };
    let route = router.route(net, x, layer)?;
    let up = net.expert_matmul(x, route, (stack("up", hidden, width)?, None));
    let down = (stack("down", width, hidden)?, None);
    let down = net.expert_matmul(net.apply(up, function), route, down);
    Ok(net.expert_sum(down, route))
}
