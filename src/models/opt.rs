//! OPT (Zhang et al. 2022).

use super::tables::{keys, names};
use super::{Architecture, DECODER, Only};
use crate::graph::blocks::{Heads, activation, attend, embedding, head, mlp, projections};
use crate::graph::decoder::answer;
use crate::graph::{
    BuildError, Builder, Counting, Index, Net, PositionScheme, Role, RowOrder, Value,
};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "OPT",
    gguf: &["opt"],
    hugging_face: &["opt"],
    keys: &[keys! {
        "hidden_size" => "embedding_length",
        "num_hidden_layers" => "block_count",
        "ffn_dim" => "feed_forward_length",
        "max_position_embeddings" => "context_length",
        "num_attention_heads" => "attention.head_count",
        "activation_function" => "hidden_act",
        "word_embed_proj_dim" => "embedding_length_inner",
        "do_layer_norm_before" => "norms_first",
        "_remove_final_layer_norm" => "without_last_norm",
    }],
    settled: &[
        // Tensors tell.
        ("enable_bias", Only::Any),
        ("init_std", Only::Any),
        ("layer_norm_elementwise_affine", Only::Is(true)),
    ],
    ties: true,
    names: &[names! {
        "model.decoder.embed_tokens.weight" => "token_embd.weight",
        "model.decoder.embed_positions.weight" => "position_embd.weight",
        "model.decoder.project_in.weight" => "project_in.weight",
        "model.decoder.project_out.weight" => "project_out.weight",
        "model.decoder.final_layer_norm.*" => "output_norm.*",
        "lm_head.weight" => "output.weight",
        in "model.decoder.layers.{i}." => "blk.{i}." {
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

/// Rows of the table of positions before the first one's.
const BEFORE: usize = 2;

/// x ← x + Attention(LN(x)); x ← x + MLP(LN(x)), or norms after the sums; learned positions, which
/// count what is not masked.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let function = activation(config, "hidden_act", "relu")?;
    let heads = Heads::read(config, width)?;
    let attention = heads.causal(PositionScheme::None);
    let first = config.flag("norms_first", true)?;
    let last_norm = first && !config.flag("without_last_norm", false)?;
    let inner = config.optional_count("embedding_length_inner")?;
    let inner = inner.filter(|&inner| inner != width);
    model.counts_positions(Counting::Unmasked);

    let net = model.graph(Role::Decode);
    let mut x = embedding(&net, inner.unwrap_or(width))?;
    if inner.is_some() {
        x = net.linear(x, "project_in", width)?;
    }
    x = net.add(x, positions(&net, width)?);
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let norm = |x, name: &str| net.layer_norm(x, &format!("{layer}.{name}"), EPS);
        let h = if first { norm(x, "attn_norm")? } else { x };
        let qkv = projections(&net, h, &layer, heads)?;
        x = net.add(x, attend(&net, qkv, &layer, width, attention.clone())?);
        x = if first { x } else { norm(x, "attn_norm")? };
        let h = if first { norm(x, "ffn_norm")? } else { x };
        x = net.add(x, mlp(&net, h, &layer, hidden, function)?);
        x = if first { x } else { norm(x, "ffn_norm")? };
    }
    let mut x = net.selected(x);
    if last_norm {
        x = net.layer_norm(x, "output_norm", EPS)?;
    }
    if let Some(inner) = inner {
        x = net.linear(x, "project_out", inner)?;
    }
    answer(&net, x, |x| head(&net, x))?;
    net.finish();
    Ok(())
}

fn positions(net: &Net<'_, '_>, width: usize) -> Result<Value, BuildError> {
    let (model, name) = (net.builder, "position_embd.weight");
    let config = model.config();
    let rows = config.count("context_length")?;
    model.context(rows);
    let order = RowOrder::Blocks {
        block: rows,
        stride: rows,
        offset: BEFORE,
    };
    let stored = (rows.saturating_add(BEFORE), width);
    Ok(net.embed(
        model.matrix_rows(name, stored, rows, order)?,
        Index::Position,
    ))
}
