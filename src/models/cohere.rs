//! Command R and R+ (Cohere 2024), Aya, and Command R7B ("Cohere 2", Cohere 2025).

use super::tables::{self, keys};
use super::{Architecture, DECODER, Only, Settled};
use crate::graph::blocks::{
    Heads, WindowPattern, Windows, activation, attend, embedding, gated_mlp, head, head_norms,
    projections,
};
use crate::graph::decoder::answer;
use crate::graph::{Attention, BuildError, Builder, Mask, Pairing, PositionScheme, Role, Rope};
use rillm_formats::manifest::Container;

pub(super) const COMMAND_R: Architecture = Architecture {
    title: "Command R",
    gguf: &["command-r"],
    hugging_face: &["cohere"],
    off: &["attention_bias", "mlp_bias", "use_qk_norm"],
    keys: &[
        tables::SIZES,
        tables::ROPE,
        tables::WINDOWS,
        keys! {
            "layer_norm_eps" => "attention.layer_norm_epsilon",
            "logit_scale" => "logit_scale",
        },
    ],
    ties: true,
    names: &[
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        tables::HEAD_NORMS,
        tables::GATED_MLP,
    ],
    settled: SETTLED,
    build: |model| build(model, None),
    ..DECODER
};

pub(super) const COMMAND_R7B: Architecture = Architecture {
    title: "Command R7B",
    gguf: &["cohere2"],
    hugging_face: &["cohere2"],
    build: |model| build(model, Some(WindowPattern::AllButEvery(4))),
    ..COMMAND_R
};

/// What published configurations say beside what is read: the only form there is.
const SETTLED: &[Settled] = &[
    ("layer_switch", Only::Any),
    (
        "order_of_interleaved_layers",
        Only::Text(&["local_attn_first"]),
    ),
    (
        "position_embedding_type",
        Only::Text(&["rope_gptj", "rope"]),
    ),
    ("rotary_pct", Only::Number(1.0)),
    ("use_embedding_sharing", Only::Is(true)),
    ("use_gated_activation", Only::Is(true)),
    ("use_parallel_block", Only::Is(true)),
    ("use_parallel_embedding", Only::Any),
];

/// x ← x + Attention(LN(x)) + FFN(LN(x)), with one norm for both; logits are scaled. With
/// windows, only the layers that have one know positions.
fn build(model: &Builder<'_>, windows: Option<WindowPattern>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_epsilon", 1e-5)?;
    let logit_scale = config.float("logit_scale", 0.0625)?;
    let function = activation(config, "hidden_act", "silu")?;
    let heads = Heads::read(config, width)?;
    let everywhere = windows.is_none();
    let folder = config.container == Container::HuggingFace;
    let base = if folder && everywhere { 5e5 } else { 1e4 };
    let rope = Rope::read_from(model, Pairing::Interleaved, heads.head_dim, base)?;
    let pattern = windows.unwrap_or(WindowPattern::From(0));
    let usual = (folder && !everywhere).then_some(4096);
    let windows = Windows::read(config, layers, usual, pattern)?;
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, width)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = net.layer_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let [mut q, mut k, v] = projections(&net, h, &layer, heads)?;
        if head_norms(model, &layer) {
            // A weight for each element of every head.
            let norm = |x, name: &str, count| {
                let name = format!("{layer}.{name}");
                net.layer_norm_by(x, &name, &[count, heads.head_dim], eps)
            };
            q = norm(q, "attn_q_norm", heads.heads)?;
            k = norm(k, "attn_k_norm", heads.kv_heads)?;
        }
        let window = windows.of(i);
        let position = if everywhere || window.is_some() {
            PositionScheme::Rope(rope.clone())
        } else {
            PositionScheme::None
        };
        let attention = Attention {
            mask: Mask::Causal { window },
            ..heads.causal(position)
        };
        let a = attend(&net, [q, k, v], &layer, width, attention)?;
        let f = gated_mlp(&net, h, &layer, hidden, function)?;
        x = net.add(x, net.add(a, f));
    }
    let x = net.layer_norm(net.selected(x), "output_norm", eps)?;
    answer(&net, x, |x| Ok(net.scale(head(&net, x)?, logit_scale)))?;
    net.finish();
    Ok(())
}
