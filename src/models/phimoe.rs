//! Phi-3.5-MoE (Abdin et al. 2024): LayerNorms and biases everywhere, and two experts, the second
//! chosen without the first, each weighed among those that are near it.

use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, Family, Only};
use crate::graph::blocks::{
    Heads, WindowPattern, Windows, activation, attend, embedding, head, projections,
};
use crate::graph::decoder::answer;
use crate::graph::experts::{Gating, Router, gated_experts};
use crate::graph::{
    Attention, BuildError, Builder, ExpertWeight, Mask, Pairing, PositionScheme, Role, Rope,
};
use rillm_formats::manifest::{Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Phi-3.5-MoE",
    gguf: &["phimoe"],
    hugging_face: &["phimoe"],
    off: tables::BIASES,
    family: Family::MixtureOfExperts,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        keys! {
            "sliding_window" => "attention.sliding_window",
            "num_local_experts" => "expert_count",
            "num_experts_per_tok" => "expert_used_count",
            "router_jitter_noise" => "expert_jitter",
            "rope_scaling.short_mscale" => "rope.scaling.attn_factor",
            "rope_parameters.short_mscale" => "rope.scaling.attn_factor",
            "rope_scaling.long_mscale" => "rope.scaling.attn_factor_long",
            "rope_parameters.long_mscale" => "rope.scaling.attn_factor_long",
        },
    ],
    // Of training.
    settled: &[
        ("expert_dropout", Only::Any),
        ("ffn_dropout", Only::Any),
        ("input_jitter_noise", Only::Any),
        ("lm_head_bias", Only::Any),
    ],
    names: &[
        names! {
            "model.norm.bias" => "output_norm.bias",
            "lm_head.bias" => "output.bias",
            in "model.layers.{i}." => "blk.{i}." {
                "input_layernorm.bias" => "attn_norm.bias",
                "post_attention_layernorm.bias" => "ffn_norm.bias",
                "block_sparse_moe.gate.weight" => "ffn_gate_inp.weight",
                "block_sparse_moe.experts.{e}.w1.weight" => "ffn_gate_exps.weight",
                "block_sparse_moe.experts.{e}.w3.weight" => "ffn_up_exps.weight",
                "block_sparse_moe.experts.{e}.w2.weight" => "ffn_down_exps.weight",
            }
        },
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
    ],
    conversion: Conversion {
        keys: |keys| {
            keys.put_usual("rope.freq_base", MetadataValue::F32(BASE));
            keys.remove(&["rope.scaling.attn_factor_long"]);
        },
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

const BASE: f32 = 1e6;

/// x ← x + Attention(LN(x)); x ← x + experts(LN(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-5)?;
    let function = activation(config, "hidden_act", "silu")?;
    let heads = Heads::read(config, width)?;
    let key = "rope.scaling.attn_factor_long";
    if config.value(key).is_some()
        && config.float(key, 1.0)? != config.float("rope.scaling.attn_factor", 1.0)?
    {
        return Err(config.invalid(key, "the same as for short texts"));
    }
    let base = match config.container {
        Container::Gguf => 10_000.0,
        Container::HuggingFace => BASE,
    };
    let rope = Rope::read_from(model, Pairing::Halves, heads.head_dim, base)?;
    let windows = Windows::read(config, layers, None, WindowPattern::From(0))?;
    let causal = heads.causal(PositionScheme::Rope(rope));
    let router = router(model)?;
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.layer_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let window = windows.of(i);
        let attention = Attention {
            mask: Mask::Causal { window },
            ..causal.clone()
        };
        let qkv = projections(&net, h, &layer, heads)?;
        x = net.add(x, attend(&net, qkv, &layer, width, attention)?);
        let h = net.layer_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        x = net.add(
            x,
            gated_experts(&net, h, &layer, (hidden, function), &router)?,
        );
    }
    let x = net.layer_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

/// Of the two there always are, each is weighed among those that are nearer than twice the noise of
/// training.
fn router(model: &Builder<'_>) -> Result<Router, BuildError> {
    let config = model.config();
    let router = Router::read(config, &Gating::CHOSEN_SOFTMAX)?;
    if router.used != 2 {
        return Err(config.invalid("expert_used_count", "2"));
    }
    let noise = config.epsilon("expert_jitter", 0.01)?;
    Ok(Router {
        weight: ExpertWeight::SparseMixer(2.0 * noise),
        ..router
    })
}
