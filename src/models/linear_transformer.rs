//! Linear attention with the elu + 1 feature map (Katharopoulos et al. 2020), causal or not.

use super::{Architecture, DECODER, Family};
use crate::graph::blocks::{Tied, head, mlp};
use crate::graph::{BuildError, Builder, Divisor, Index, LinearAttention, Name, Pointwise, Role};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Linear transformer",
    gguf: &["linear_transformer"],
    hugging_face: &["linear_transformer"],
    family: Family::Recurrent,
    keys: &[&[
        ("embedding_length", "hidden_size"),
        ("block_count", "num_layers"),
        ("feed_forward_length", "intermediate_size"),
        ("context_length", "max_position_embeddings"),
        ("attention.head_count", "num_heads"),
        ("attention.layer_norm_epsilon", "layer_norm_eps"),
        ("attention.epsilon", "eps"),
        ("attention.causal", "causal"),
        ("feature_map", "feature_map"),
    ]],
    names: &[&[
        Name::plain("wte.weight", "token_embd.weight"),
        Name::plain("wpe.weight", "position_embd.weight"),
        Name::plain("ln_f.weight", "output_norm.weight"),
        Name::plain("ln_f.bias", "output_norm.bias"),
        Name::plain("lm_head.weight", "output.weight"),
        Name::plain("h.{i}.ln_1.weight", "blk.{i}.attn_norm.weight"),
        Name::plain("h.{i}.ln_1.bias", "blk.{i}.attn_norm.bias"),
        Name::plain("h.{i}.q_proj.weight", "blk.{i}.attn_q.weight"),
        Name::plain("h.{i}.q_proj.bias", "blk.{i}.attn_q.bias"),
        Name::plain("h.{i}.k_proj.weight", "blk.{i}.attn_k.weight"),
        Name::plain("h.{i}.k_proj.bias", "blk.{i}.attn_k.bias"),
        Name::plain("h.{i}.v_proj.weight", "blk.{i}.attn_v.weight"),
        Name::plain("h.{i}.v_proj.bias", "blk.{i}.attn_v.bias"),
        Name::plain("h.{i}.o_proj.weight", "blk.{i}.attn_output.weight"),
        Name::plain("h.{i}.o_proj.bias", "blk.{i}.attn_output.bias"),
        Name::plain("h.{i}.ln_2.weight", "blk.{i}.ffn_norm.weight"),
        Name::plain("h.{i}.ln_2.bias", "blk.{i}.ffn_norm.bias"),
        Name::plain("h.{i}.fc_in.weight", "blk.{i}.ffn_up.weight"),
        Name::plain("h.{i}.fc_in.bias", "blk.{i}.ffn_up.bias"),
        Name::plain("h.{i}.fc_out.weight", "blk.{i}.ffn_down.weight"),
        Name::plain("h.{i}.fc_out.bias", "blk.{i}.ffn_down.bias"),
    ]],
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
    let norm_eps = config.float("attention.layer_norm_epsilon", 1e-5)?;
    let eps = config.float("attention.epsilon", 1e-6)?;
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
    net.emit(head(&net, x, Tied::OnRequest)?, "logits");
    net.finish();
    Ok(())
}
