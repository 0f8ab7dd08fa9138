//! XGLM (Lin et al. 2021).

use super::tables::{keys, names};
use super::{Architecture, DECODER, Only};
use crate::graph::blocks::{Heads, activation, attend, embedding, head, mlp, projections};
use crate::graph::decoder::answer;
use crate::graph::{BuildError, Builder, Net, PositionScheme, Role, SinusoidFrequencies, Value};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "XGLM",
    gguf: &["xglm"],
    hugging_face: &["xglm"],
    biased: &[
        "attn_q",
        "attn_k",
        "attn_v",
        "attn_output",
        "ffn_up",
        "ffn_down",
    ],
    keys: &[keys! {
        "d_model" => "embedding_length",
        "num_layers" => "block_count",
        "ffn_dim" => "feed_forward_length",
        "max_position_embeddings" => "context_length",
        "attention_heads" => "attention.head_count",
        "activation_function" => "hidden_act",
        "scale_embedding" => "scale_embedding",
    }],
    settled: &[("init_std", Only::Any)],
    ties: true,
    names: &[names! {
        "model.embed_tokens.weight" => "token_embd.weight",
        "model.layer_norm.*" => "output_norm.*",
        "lm_head.weight" => "output.weight",
        in "model.layers.{i}." => "blk.{i}." {
            "self_attn.q_proj.*" => "attn_q.*",
            "self_attn.k_proj.*" => "attn_k.*",
            "self_attn.v_proj.*" => "attn_v.*",
            "self_attn.out_proj.*" => "attn_output.*",
            "self_attn_layer_norm.*" => "attn_norm.*",
            "final_layer_norm.*" => "ffn_norm.*",
            "fc1.*" => "ffn_up.*",
            "fc2.*" => "ffn_down.*",
        }
    }],
    build,
    ..DECODER
};

/// The authors' code takes it for granted.
const EPS: f32 = 1e-5;

/// Positions before the first one.
const BEFORE: u32 = 2;

/// x ← x + Attention(LN(x)); x ← x + MLP(LN(x)); sinusoids of positions.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let function = activation(config, "hidden_act", "gelu")?;
    let heads = Heads::read(config, width)?;
    let attention = heads.causal(PositionScheme::None);
    let scale = match config.flag("scale_embedding", true)? {
        true => (width as f32).sqrt(),
        false => 1.0,
    };
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let x = net.scale(embedding(&net, width)?, scale);
    let mut x = net.add(x, positions(&net, width)?);
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.layer_norm(x, &format!("{layer}.attn_norm"), EPS)?;
        let qkv = projections(&net, h, &layer, heads)?;
        x = net.add(x, attend(&net, qkv, &layer, width, attention.clone())?);
        let h = net.layer_norm(x, &format!("{layer}.ffn_norm"), EPS)?;
        x = net.add(x, mlp(&net, h, &layer, hidden, function)?);
    }
    let x = net.layer_norm(net.selected(x), "output_norm", EPS)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

/// 10000^(−k / (d/2 − 1)), worked out in floats as the reference does.
fn positions(net: &Net<'_, '_>, width: usize) -> Result<Value, BuildError> {
    let model = net.builder;
    if !width.is_multiple_of(2) {
        let expected = "an even number, for half of its positions are sines";
        return Err(model.config().invalid("embedding_length", expected));
    }
    let pairs = width / 2;
    let step = -(10000f64.ln() / (pairs.max(2) - 1) as f64) as f32;
    let floats = (0..pairs).map(|pair| (pair as f32 * step).exp());
    let frequencies = SinusoidFrequencies::Stored(model.constant(floats));
    Ok(net.sinusoids_past(frequencies, BEFORE, None))
}
