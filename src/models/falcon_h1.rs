//! Falcon-H1 (Falcon LLM Team 2025): Mamba-2 and attention side by side in each layer, and factors
//! on all that goes in and comes out (Yang et al. 2022, "Tensor Programs V").

use super::mamba2::{self, HYBRID_MIXER, Mamba2Mixer};
use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, Family, GgufKeys, Only, Written};
use crate::graph::blocks::{Heads, activation, attend, embedding, head, projections};
use crate::graph::decoder::answer;
use crate::graph::{
    BuildError, Builder, Net, Pairing, Pointwise, PositionScheme, Role, Rope, Value,
};
use rillm_formats::manifest::{Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Falcon-H1",
    gguf: &["falcon-h1"],
    hugging_face: &["falcon_h1"],
    off: &["attention_bias", "mlp_bias", "mamba_proj_bias"],
    family: Family::Recurrent,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        keys! {
            "mamba_d_ssm" => "ssm.inner_size",
            "mamba_expand" => "ssm.expand",
            "mamba_d_state" => "ssm.state_size",
            "mamba_d_conv" => "ssm.conv_kernel",
            "mamba_n_heads" => "ssm.time_step_rank",
            "mamba_n_groups" => "ssm.group_count",
            "mamba_d_head" => "ssm.head_dim",
            "time_step_limit" => "ssm.time_step_limit",
            "mamba_rms_norm" => "ssm.norm",
            "mamba_norm_before_gate" => "ssm.norm_before_gate",
            "embedding_multiplier" => "embedding_scale",
            "lm_head_multiplier" => "logit_scale",
            "attention_in_multiplier" => "attention.in_scale",
            "attention_out_multiplier" => "attention.out_scale",
            "key_multiplier" => "attention.key_scale",
            "ssm_in_multiplier" => "ssm.in_scale",
            "ssm_out_multiplier" => "ssm.out_scale",
            "ssm_multipliers" => "ssm.scales",
            "mlp_multipliers" => "feed_forward_scales",
        },
    ],
    settled: &[
        ("attn_layer_indices", Only::Nothing),
        ("layer_types", Only::Any),
        ("layers_block_type", Only::Any),
        // Tensors tell.
        ("projectors_bias", Only::Any),
        // What the authors write beside.
        ("mamba_use_mlp", Only::Is(true)),
        ("mlp_expansion_factor", Only::Any),
    ],
    names: &[
        tables::ENDS,
        tables::ATTENTION,
        HYBRID_MIXER,
        names! {
            "model.final_layernorm.weight" => "output_norm.weight",
            in "model.layers.{i}." => "blk.{i}." {
                "input_layernorm.weight" => "attn_norm.weight",
                // Converters write it so.
                "pre_ff_layernorm.weight" => "ffn_norm",
                "feed_forward.gate_proj.*" => "ffn_gate.*",
                "feed_forward.up_proj.*" => "ffn_up.*",
                "feed_forward.down_proj.*" => "ffn_down.*",
            }
        },
    ],
    conversion: Conversion {
        tensor: scaled,
        complete: |keys, _| {
            keys.put_usual("context_length", MetadataValue::U32(8192));
            keys.put_usual("rope.freq_base", MetadataValue::F32(1e4));
            let inner = mamba2_inner(keys);
            keys.put("ssm.inner_size", MetadataValue::U32(inner as u32));
            keys.remove(FACTORS);
            keys.remove(&[
                "ssm.expand",
                "ssm.head_dim",
                "ssm.norm",
                "ssm.norm_before_gate",
            ]);
        },
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

/// Keys of factors, which are in GGUF a part of the weights.
const FACTORS: &[&str] = &[
    "embedding_scale",
    "logit_scale",
    "attention.in_scale",
    "attention.out_scale",
    "attention.key_scale",
    "ssm.in_scale",
    "ssm.out_scale",
    "ssm.scales",
    "feed_forward_scales",
];

/// x ← x + Mamba-2(RMS(x)) + Attention(RMS(x)), with one norm for both; x ← x + FFN(RMS(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-5)?;
    let function = activation(config, "hidden_act", "silu")?;
    let heads = Heads::read(config, width)?;
    let rope = Rope::read(model, Pairing::Halves, heads.head_dim)?;
    let attention = heads.causal(PositionScheme::Rope(rope));
    let factor = |key: &str| config.float(key, 1.0);
    let (attention_in, attention_out) = (
        factor("attention.in_scale")?,
        factor("attention.out_scale")?,
    );
    let (of_keys, mixer_in) = (factor("attention.key_scale")?, factor("ssm.in_scale")?);
    let (mixer_out, of_embedding) = (factor("ssm.out_scale")?, factor("embedding_scale")?);
    let of_logits = factor("logit_scale")?;
    let of_mlp = pair(config.floats("feed_forward_scales", 2)?);
    let mixer = mixer(model, width)?;
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = net.scale(embedding(&net, width)?, of_embedding);
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let m = mixer.wire(&net, net.scale(h, mixer_in), &layer, eps)?;
        let [q, k, v] = projections(&net, net.scale(h, attention_in), &layer, heads)?;
        let qkv = [q, net.scale(k, of_keys), v];
        let a = attend(&net, qkv, &layer, width, attention.clone())?;
        let mixed = net.add(net.scale(m, mixer_out), net.scale(a, attention_out));
        x = net.add(x, mixed);
        let norm = model.vector(&format!("{layer}.ffn_norm"), &[width])?;
        let h = net.rms_norm_of(x, norm, eps);
        x = net.add(x, scaled_mlp(&net, h, &layer, hidden, (function, of_mlp))?);
    }
    let x = net.rms_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| Ok(net.scale(head(&net, x)?, of_logits)))?;
    net.finish();
    Ok(())
}

/// What gates may be normalised, or not.
fn mixer(model: &Builder<'_>, width: usize) -> Result<Mamba2Mixer, BuildError> {
    let config = model.config();
    let mut mixer = Mamba2Mixer::read(config, width)?;
    mixer.normed = match config.container {
        Container::Gguf => {
            let layers = config.count("block_count")?;
            (0..layers).any(|i| model.has(&format!("blk.{i}.ssm_norm.weight")))
        }
        Container::HuggingFace => config.flag("ssm.norm", false)?,
    };
    if mixer.normed && config.flag("ssm.norm_before_gate", false)? {
        return Err(config.invalid("ssm.norm_before_gate", "false"));
    }
    if let Some(factors) = config.floats("ssm.scales", 5)? {
        mixer.factors.copy_from_slice(&factors);
    }
    Ok(mixer)
}

/// d · down(f(g · gate x) ⊙ up x).
fn scaled_mlp(
    net: &Net<'_, '_>,
    x: Value,
    layer: &str,
    hidden: usize,
    (function, (of_gate, of_down)): (Pointwise, (f32, f32)),
) -> Result<Value, BuildError> {
    let gate = net.scale(
        net.linear(x, &format!("{layer}.ffn_gate"), hidden)?,
        of_gate,
    );
    let up = net.linear(x, &format!("{layer}.ffn_up"), hidden)?;
    let inner = net.mul(net.apply(gate, function), up);
    let down = net.linear(inner, &format!("{layer}.ffn_down"), net.width(x))?;
    Ok(net.scale(down, of_down))
}

fn pair(numbers: Option<Vec<f32>>) -> (f32, f32) {
    match numbers.as_deref() {
        Some(&[first, second]) => (first, second),
        _ => (1.0, 1.0),
    }
}

fn mamba2_inner(keys: &GgufKeys<'_>) -> u64 {
    let dim = keys.count("ssm.head_dim");
    let of_heads = dim.zip(keys.count("ssm.time_step_rank"));
    let of_heads = of_heads.map(|(dim, heads)| dim.saturating_mul(heads));
    let expanded = || super::mamba::expanded_width(keys);
    of_heads
        .or(keys.count("ssm.inner_size"))
        .unwrap_or_else(expanded)
}

/// In GGUF, what weights' results are multiplied by is a part of the weights.
fn scaled(keys: &mut GgufKeys<'_>, tensor: Written) -> Result<Vec<Written>, String> {
    let factor = |key: &str| keys.float(key).unwrap_or(1.0) as f32;
    let listed = |key: &str, place: usize| match keys.values.value(key) {
        Some(MetadataValue::Array(list)) => list.f64(place).unwrap_or(1.0) as f32,
        _ => 1.0,
    };
    let tied = keys.config.bool("tie_word_embeddings") == Some(true);
    let weight = tensor.name.ends_with(".weight");
    // Biases are added after what goes in is multiplied.
    let input = |key: &str| if weight { factor(key) } else { 1.0 };
    Ok(vec![match (tensor.name.as_str(), tensor.part()) {
        ("token_embd.weight", _) if tied => {
            let mut output = tensor.clone();
            output.name = "output.weight".to_string();
            let output = output.times(factor("logit_scale"));
            return Ok(vec![tensor.times(factor("embedding_scale")), output]);
        }
        ("token_embd.weight", _) => tensor.times(factor("embedding_scale")),
        ("output.weight", _) => tensor.times(factor("logit_scale")),
        (_, "attn_q" | "attn_v") => {
            let by = input("attention.in_scale");
            tensor.times(by)
        }
        (_, "attn_k") => {
            let by = input("attention.in_scale") * factor("attention.key_scale");
            tensor.times(by)
        }
        (_, "attn_output") => tensor.times(factor("attention.out_scale")),
        (_, "ssm_out") => tensor.times(factor("ssm.out_scale")),
        (_, "ffn_gate") => tensor.times(listed("feed_forward_scales", 0)),
        (_, "ffn_down") => tensor.times(listed("feed_forward_scales", 1)),
        (_, "ssm_in") => {
            let count = |key: &str| keys.count(key).unwrap_or(1) as usize;
            let selected = count("ssm.group_count").saturating_mul(count("ssm.state_size"));
            let inner = mamba2_inner(keys) as usize;
            let lengths = [
                inner,
                inner,
                selected,
                selected,
                count("ssm.time_step_rank"),
            ];
            let all = input("ssm.in_scale");
            let parts = lengths.into_iter().enumerate();
            let factors = parts.map(|(place, len)| (len, all * listed("ssm.scales", place)));
            Written {
                factors: factors.collect(),
                ..tensor
            }
        }
        _ => mamba2::heads_in_columns(keys, tensor),
    }])
}
