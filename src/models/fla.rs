//! What models of flash-linear-attention share: names, hyperparameters, and layers of linear
//! attention that differ in the decay of its state alone.

use super::tables::{keys, names};
use super::{Only, Settled};
use crate::graph::blocks::{activation, embedding, gated_mlp, head};
use crate::graph::decoder::answer;
use crate::graph::{
    BuildError, Builder, Config, Counting, Key, LinearAttention, Name, Net, Pointwise, Role,
    RowOrder, Value,
};

/// Hyperparameters of a folder.
pub(super) const KEYS: &[Key] = keys! {
    "hidden_size" => "embedding_length",
    "num_hidden_layers" => "block_count",
    "intermediate_size" => "feed_forward_length",
    "hidden_ratio" => "feed_forward_ratio",
    "num_heads" => "attention.head_count",
    "num_kv_heads" => "attention.head_count_kv",
    "expand_k" => "retention.expand_k",
    "expand_v" => "retention.expand_v",
    "feature_map" => "retention.feature_map",
    "use_output_gate" => "retention.output_gate",
    "elementwise_affine" => "retention.norm_weights",
    "attn.layers" => "retention.layers_of_attention",
    "use_short_conv" => "retention.short_conv",
    "use_gk" => "retention.decay_of_keys",
    "use_gv" => "retention.decay_of_values",
    "clamp_min" => "retention.least_decay",
    "attnres_block_size" => "residual_attention",
    "norm_eps" => "attention.layer_norm_rms_epsilon",
    "hidden_act" => "hidden_act",
};

/// Keys that change nothing: what short convolutions would be like, and how gates are computed.
pub(super) const SETTLED: &[Settled] = &[
    ("conv_size", Only::Any),
    ("fused_gate", Only::Any),
    // Read in the library's first versions, and what its classes now take for granted.
    ("rms_norm_eps", Only::Number(1e-6)),
    ("share_conv_kernel", Only::Any),
];

/// Tensors of a folder.
pub(super) const NAMES: &[Name] = names! {
    "model.embeddings.weight" => "token_embd.weight",
    "model.norm.weight" => "output_norm.weight",
    "lm_head.weight" => "output.weight",
    in "model.layers.{i}." => "blk.{i}." {
        "attn_norm.weight" => "attn_norm.weight",
        "attn.q_proj.weight" => "attn_q.weight",
        "attn.k_proj.weight" => "attn_k.weight",
        "attn.v_proj.weight" => "attn_v.weight",
        "attn.g_proj.weight" => "attn_gate.weight",
        "attn.o_proj.weight" => "attn_output.weight",
        "attn.gk_proj.0.weight" => "attn_decay_a.weight",
        "attn.gk_proj.1.*" => "attn_decay_b.*",
        "attn.g_norm_swish_gate.weight" => "attn_sub_norm.weight",
        "attn.g_norm.weight" => "attn_sub_norm.weight",
        "mlp_norm.weight" => "ffn_norm.weight",
        "mlp.gate_proj.weight" => "ffn_gate.weight",
        "mlp.up_proj.weight" => "ffn_up.weight",
        "mlp.down_proj.weight" => "ffn_down.weight",
    }
};

/// Longest key of a head: what depends on it is worked out before any tensor has confirmed it.
pub(super) const LONGEST_KEY: usize = 1 << 16;

/// Sizes of the layers.
pub(super) struct FlaSizes {
    pub width: usize,
    /// States of a layer.
    pub heads: usize,
    /// Heads of keys and values, each shared by neighbours.
    pub kv_heads: usize,
    /// Elements of a head's key.
    pub key_dim: usize,
    /// Elements of a head's value.
    pub value_dim: usize,
    hidden: usize,
    eps: f32,
}

impl FlaSizes {
    /// As the configuration has them; `expand_k` and `expand_v` are what it leaves unsaid.
    pub fn of(
        config: &Config<'_>,
        (expand_k, expand_v): (f64, f64),
        eps: f32,
    ) -> Result<FlaSizes, BuildError> {
        let width = config.count("embedding_length")?;
        let heads = config.count("attention.head_count")?;
        let kv_heads = config.optional_count("attention.head_count_kv")?;
        let kv_heads = kv_heads.unwrap_or(heads);
        if !heads.is_multiple_of(kv_heads) {
            return Err(config.invalid("attention.head_count_kv", "a divisor of the head count"));
        }
        let expanded = |key: &str, default: f64| -> Result<usize, BuildError> {
            // Rounded down, as the reference does it.
            let width = (width as f64 * config.double(key, default)?) as usize;
            match width / heads {
                dim if dim > 0 && dim * heads == width => Ok(dim),
                _ => Err(config.invalid(key, &format!("a cut into {heads} heads"))),
            }
        };
        let key_dim = expanded("retention.expand_k", expand_k)?;
        if key_dim > LONGEST_KEY {
            let most = format!("keys of at most {LONGEST_KEY} elements");
            return Err(config.invalid("retention.expand_k", &most));
        }
        let hidden = match config.optional_count("feed_forward_length")? {
            Some(hidden) => hidden,
            None => {
                let ratio = config.double("feed_forward_ratio", 4.0)?;
                let hidden = (width as f64 * ratio * 2.0 / 3.0) as usize;
                hidden.div_ceil(256).saturating_mul(256)
            }
        };
        Ok(FlaSizes {
            width,
            heads,
            kv_heads,
            key_dim,
            value_dim: expanded("retention.expand_v", expand_v)?,
            hidden,
            eps: config.epsilon("attention.layer_norm_rms_epsilon", eps)?,
        })
    }
}

/// x ← x + out(silu(g) ⊙ RMS(retention(q, k, v))); x ← x + down(silu(gate x) ⊙ up x), each with a
/// norm before it. `attention` gives a layer's linear attention, whose decay may depend on the layer's
/// input.
pub(super) fn decoder(
    model: &Builder<'_>,
    sizes: &FlaSizes,
    attention: impl Fn(&Net<'_, '_>, Value, &str) -> Result<LinearAttention, BuildError>,
) -> Result<(), BuildError> {
    let config = model.config();
    for key in [
        "retention.feature_map",
        "retention.layers_of_attention",
        "residual_attention",
    ] {
        if config.value(key).is_some() {
            return Err(config.invalid(key, "null: only layers without it run"));
        }
    }
    if config.flag("retention.short_conv", false)? {
        return Err(config.invalid("retention.short_conv", "false: convolutions do not run"));
    }
    if activation(config, "hidden_act", "swish")? != Pointwise::Silu {
        return Err(config.invalid("hidden_act", "swish"));
    }
    // Padding is dropped before anything else happens.
    model.counts_positions(Counting::Unmasked);

    let &FlaSizes {
        width,
        heads,
        kv_heads,
        key_dim,
        value_dim,
        hidden,
        eps,
    } = sizes;
    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..config.count("block_count")? {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let q = net.linear(h, &format!("{layer}.attn_q"), heads * key_dim)?;
        let q = net.scale(q, 1.0 / (key_dim as f32).sqrt());
        let k = net.linear(h, &format!("{layer}.attn_k"), kv_heads * key_dim)?;
        let v = net.linear(h, &format!("{layer}.attn_v"), kv_heads * value_dim)?;
        let y = net.linear_attention([q, k, v], attention(&net, h, &layer)?);
        let name = format!("{layer}.attn_sub_norm");
        let y = match config.flag("retention.norm_weights", true)? {
            true => net.rms_norm_by(y, &name, value_dim, eps)?,
            false => net.rms_norm_plain(y, value_dim, eps),
        };
        let y = match config.flag("retention.output_gate", true)? {
            true => gated(&net, h, y, &layer)?,
            false => y,
        };
        x = net.add(x, net.linear(y, &format!("{layer}.attn_output"), width)?);
        let h = net.rms_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        x = net.add(x, mlp(&net, h, &layer, hidden)?);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

/// silu(g) ⊙ y.
pub(super) fn gated(
    net: &Net<'_, '_>,
    h: Value,
    y: Value,
    layer: &str,
) -> Result<Value, BuildError> {
    let g = net.linear(h, &format!("{layer}.attn_gate"), net.width(y))?;
    Ok(net.mul(net.apply(g, Pointwise::Silu), y))
}

/// The gated feed-forward layer; checkpoints of 2024 have both of its inner projections in one.
fn mlp(net: &Net<'_, '_>, h: Value, layer: &str, hidden: usize) -> Result<Value, BuildError> {
    let (name, width) = (format!("{layer}.ffn_gate.weight"), net.width(h));
    if net.builder.rows(&name)? != hidden.saturating_mul(2) {
        return gated_mlp(net, h, layer, hidden, Pointwise::Silu);
    }
    let part = |offset| {
        let order = RowOrder::Blocks {
            block: hidden,
            stride: hidden,
            offset,
        };
        let stored = (hidden.saturating_mul(2), width);
        let matrix = net.builder.matrix_rows(&name, stored, hidden, order)?;
        Ok(net.matmul(h, matrix, None))
    };
    let inner = net.mul(net.apply(part(0)?, Pointwise::Silu), part(hidden)?);
    net.linear(inner, &format!("{layer}.ffn_down"), width)
}
