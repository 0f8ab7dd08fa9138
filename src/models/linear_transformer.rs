//! Linear attention with the elu + 1 feature map (Katharopoulos et al. 2020), causal or not.

use super::known_shape::{TINY, shapes};
use super::tables::{keys, names};
use super::{Architecture, DECODER, Family, Only, Outline};
use crate::graph::blocks::{head, mlp};
use crate::graph::{BuildError, Builder, Divisor, Index, LinearAttention, Pointwise, Role};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Linear transformer",
    gguf: &["linear_transformer"],
    hugging_face: &["linear_transformer"],
    family: Family::Recurrent,
    keys: &[keys! {
        "hidden_size" => "embedding_length",
        "num_layers" => "block_count",
        "intermediate_size" => "feed_forward_length",
        "max_position_embeddings" => "context_length",
        "num_heads" => "attention.head_count",
        "layer_norm_eps" => "attention.layer_norm_epsilon",
        "eps" => "attention.epsilon",
        "causal" => "attention.causal",
        "feature_map" => "feature_map",
    }],
    settled: &[
        ("activation", Only::Text(&["gelu (erf)", "gelu"])),
        (
            "scale",
            Only::Text(&["none (q is not divided by sqrt(d))", "none"]),
        ),
    ],
    names: &[names! {
        "wte.weight" => "token_embd.weight",
        "wpe.weight" => "position_embd.weight",
        "ln_f.*" => "output_norm.*",
        "lm_head.weight" => "output.weight",
        in "h.{i}." => "blk.{i}." {
            "ln_1.*" => "attn_norm.*",
            "q_proj.*" => "attn_q.*",
            "k_proj.*" => "attn_k.*",
            "v_proj.*" => "attn_v.*",
            "o_proj.*" => "attn_output.*",
            "ln_2.*" => "ffn_norm.*",
            "fc_in.*" => "ffn_up.*",
            "fc_out.*" => "ffn_down.*",
        }
    }],
    shapes: shapes! {
        "linear-370m", "a linear transformer of that size", [50_280, 1024, 24, 65_536] => tied
            outline(16, 4096);
        "tiny-linear", "a linear transformer to try things out with", TINY => tied outline(4, 512);
    },
    build,
    ..DECODER
};

/// x ← x + o(φ(q) Σ φ(k) vᵀ / (φ(q) Σ φ(k) + eps)); x ← x + MLP(LN(x)); learned positions.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let heads = config.count("attention.head_count")?;
    if !width.is_multiple_of(heads) {
        return Err(config.invalid("attention.head_count", "a divisor of the width"));
    }
    let causal = config.flag("attention.causal", true)?;
    if config.text("feature_map")?.unwrap_or("elu+1") != "elu+1" {
        return Err(config.invalid("feature_map", "elu+1"));
    }
    let norm_eps = config.epsilon("attention.layer_norm_epsilon", 1e-5)?;
    let eps = config.epsilon("attention.epsilon", 1e-6)?;
    let positions = model.rows("position_embd.weight")?;
    model.context(positions);

    let net = model.graph(if causal { Role::Decode } else { Role::Encode });
    let vocabulary = model.rows("token_embd.weight")?;
    let mut x = net.add(
        net.embed(
            model.matrix("token_embd.weight", vocabulary, width)?,
            Index::Token,
        ),
        net.embed(
            model.matrix("position_embd.weight", positions, width)?,
            Index::Position,
        ),
    );
    let attention = LinearAttention {
        divisor: Divisor::Sum(eps),
        ..LinearAttention::plain(heads, width / heads, width / heads)
    };
    for i in 0..config.count("block_count")? {
        let layer = format!("blk.{i}");
        let h = net.layer_norm(x, &format!("{layer}.attn_norm"), norm_eps)?;
        let q = net.linear(h, &format!("{layer}.attn_q"), width)?;
        let k = net.linear(h, &format!("{layer}.attn_k"), width)?;
        let v = net.linear(h, &format!("{layer}.attn_v"), width)?;
        let [q, k] = [q, k].map(|x| net.apply(x, Pointwise::EluPlusOne));
        let a = match causal {
            true => net.linear_attention([q, k, v], attention.clone()),
            false => net.bidirectional_linear_attention([q, k, v], attention.clone()),
        };
        x = net.add(x, net.linear(a, &format!("{layer}.attn_output"), width)?);
        let h = net.layer_norm(x, &format!("{layer}.ffn_norm"), norm_eps)?;
        x = net.add(x, mlp(&net, h, &layer, hidden, Pointwise::GeluErf)?);
    }
    let x = if causal { net.selected(x) } else { x };
    let x = net.layer_norm(x, "output_norm", norm_eps)?;
    net.emit(head(&net, x)?, "logits");
    net.finish();
    Ok(())
}

/// Keys and layers of a model of known shape.
fn outline(model: &mut Outline, heads: u64, hidden: u64) {
    model.counts(&[
        ("feed_forward_length", hidden),
        ("attention.head_count", heads),
    ]);
    let (width, positions) = (model.shape.width, model.shape.context);
    model.matrix("position_embd.weight", &[positions, width]);
    model.normal("output_norm.bias", &[width], 0.0, 0.1);
    for layer in 0..model.shape.layers {
        let name = |name: &str| format!("blk.{layer}.{name}");
        for norm in ["attn_norm", "ffn_norm"] {
            model.norm(&name(&format!("{norm}.weight")), width);
            model.normal(&name(&format!("{norm}.bias")), &[width], 0.0, 0.1);
        }
        for (part, rows, columns) in [
            ("attn_q", width, width),
            ("attn_k", width, width),
            ("attn_v", width, width),
            ("attn_output", width, width),
            ("ffn_up", hidden, width),
            ("ffn_down", width, hidden),
        ] {
            model.matrix(&name(&format!("{part}.weight")), &[rows, columns]);
            model.normal(&name(&format!("{part}.bias")), &[rows], 0.0, 0.1);
        }
    }
}
