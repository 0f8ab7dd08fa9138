//! ModernBERT (Warner et al. 2024): an encoder that normalises before its layers, rotates positions,
//! and looks through windows in all layers but every third.

use super::tables::{self, keys, names};
use super::task_heads::{self, emit_choice, emit_ends};
use super::{Architecture, Conversion, DECODER, Family, Only};
use crate::graph::blocks::{
    Heads, WindowPattern, Windows, activation, embedding, fused_gated_mlp, fused_projections, head,
};
use crate::graph::{
    Attention, BuildError, Builder, Mask, Net, Pairing, Pointwise, PositionScheme, Role, Rope,
    Value,
};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "ModernBERT",
    gguf: &["modern-bert"],
    hugging_face: &["modernbert"],
    // Said of bare encoders as well.
    harmless_in_gguf: &["classifier.pooling_type"],
    off: tables::BIASES,
    family: Family::Encoder,
    keys: &[
        keys! {
            "hidden_size" => "embedding_length",
            "num_hidden_layers" => "block_count",
            "intermediate_size" => "feed_forward_length",
            "max_position_embeddings" => "context_length",
            "num_attention_heads" => "attention.head_count",
            "norm_eps" => "attention.layer_norm_epsilon",
            "hidden_activation" => "hidden_activation",
            "local_attention" => "attention.sliding_window",
            "layer_types" => "attention.sliding_window_pattern",
            "global_attn_every_n_layers" => "attention.sliding_window_pattern",
            "global_rope_theta" => "rope.freq_base",
            "local_rope_theta" => "rope.freq_base_swa",
            "classifier_pooling" => "classifier_pooling",
            "classifier_activation" => "classifier_activation",
        },
        tables::ROPE_OF_EACH,
    ],
    // Whether there are biases, the tensors tell; the rest the authors' code does not read, or
    // reads when it trains.
    settled: &[
        ("classifier_bias", Only::Any),
        ("decoder_bias", Only::Any),
        ("deterministic_flash_attn", Only::Any),
        ("initializer_cutoff_factor", Only::Any),
        ("layer_norm_eps", Only::Any),
        ("mlp_dropout", Only::Any),
        ("norm_bias", Only::Any),
        ("position_embedding_type", Only::Any),
        ("repad_logits_with_grad", Only::Any),
        ("sparse_pred_ignore_index", Only::Any),
        ("sparse_prediction", Only::Any),
    ],
    ties: true,
    names: &[names! {
        "model.embeddings.tok_embeddings.weight" => "token_embd.weight",
        "model.embeddings.norm.*" => "token_embd_norm.*",
        "model.final_norm.*" => "output_norm.*",
        "head.dense.*" => "cls.*",
        "head.norm.*" => "cls.norm.*",
        "decoder.*" => "output.*",
        "classifier.*" => "cls.output.*",
        in "model.layers.{i}." => "blk.{i}." {
            "attn_norm.*" => "attn_norm.*",
            "attn.Wqkv.*" => "attn_qkv.*",
            "attn.Wo.*" => "attn_output.*",
            "mlp_norm.*" => "ffn_norm.*",
            "mlp.Wi.*" => "ffn_up.*",
            "mlp.Wo.*" => "ffn_down.*",
        }
    }],
    conversion: Conversion {
        keys: task_heads::keys,
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

/// Whose classes have these heads.
const CLASSES: &[&str] = &["ModernBert"];

/// x ← x + Attention(LN(x)), where the first layer has no norm: the embedding has just been
/// normalised; x ← x + W (f(gate LN(x)) ⊙ up LN(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let layers = config.count("block_count")?;
    let eps = config.epsilon("attention.layer_norm_epsilon", 1e-5)?;
    let function = activation(config, "hidden_activation", "gelu")?;
    let heads = Heads::read(config, width)?;
    // The authors' code up to 2025 does not read it, later ones scale all layers by it.
    let scales = |key: &String| key.starts_with("rope_scaling.");
    if config.metadata.0.keys().any(scales) {
        return Err(config.invalid("rope.scaling.type", "no rope_scaling"));
    }
    let bases = [160_000.0, 10_000.0];
    let [rope, local] = Rope::read_both(model, Pairing::Halves, heads.head_dim, bases)?;
    let pattern = WindowPattern::AllButFirstOf(3);
    let windows = Windows::read(config, layers, Some(128), pattern)?;
    Windows::check_width(config)?;
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Encode);
    let norm = |x, name: &str| net.layer_norm(x, name, eps);
    let mut x = norm(embedding(&net, width)?, "token_embd_norm")?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let h = match i {
            0 => x,
            _ => norm(x, &format!("{layer}.attn_norm"))?,
        };
        let [q, k, v] = fused_projections(&net, h, &layer, heads)?;
        // A window is as wide as both its sides.
        let (mask, rope) = match windows.of(i) {
            Some(window) => (Mask::within(window / 2), &local),
            None => (Mask::Bidirectional, &rope),
        };
        let attention = Attention {
            mask,
            ..heads.causal(PositionScheme::Rope(rope.clone()))
        };
        let a = net.attention(q, Some((k, v)), attention);
        x = net.add(x, net.linear(a, &format!("{layer}.attn_output"), width)?);
        let h = norm(x, &format!("{layer}.ffn_norm"))?;
        x = net.add(x, fused_gated_mlp(&net, h, &layer, hidden, function)?);
    }
    let x = norm(x, "output_norm")?;
    emit(&net, x, eps)?;
    net.finish();
    Ok(())
}

/// What the checkpoint's class answers: V LN(f(W x)) of each row, or of one for each sequence.
fn emit(net: &Net<'_, '_>, x: Value, eps: f32) -> Result<(), BuildError> {
    let model = net.builder;
    let config = model.config();
    let width = net.width(x);
    let function = activation(config, "classifier_activation", "gelu")?;
    let head_of = |x| transformed(net, x, (width, function, eps));
    let scores = |x, labels| net.linear(head_of(x)?, "cls.output", labels);
    let labels = || model.rows("cls.output.weight");
    match task_heads::task(config, CLASSES) {
        "ForMaskedLM" => net.emit(head(net, head_of(x)?)?, "logits"),
        "ForSequenceClassification" => {
            net.emit(scores(pooled(net, x)?, labels()?)?, "logits");
        }
        "ForMultipleChoice" => {
            emit_choice(net, scores(pooled(net, x)?, labels()?)?, "cls.output")?;
        }
        "ForTokenClassification" => net.emit(scores(x, labels()?)?, "logits"),
        "ForQuestionAnswering" => emit_ends(net, scores(x, 2)?),
        // Other converters tell rerankers by their tensors alone.
        "Model" if config.class().is_none() && model.has("cls.output.weight") => {
            net.emit(scores(pooled(net, x)?, labels()?)?, "logits");
        }
        "Model" => net.emit(x, "last_hidden_state"),
        _ => return Err(task_heads::unknown_task(config, CLASSES)),
    }
    Ok(())
}

/// LN(f(W x)).
fn transformed(
    net: &Net<'_, '_>,
    x: Value,
    (width, function, eps): (usize, Pointwise, f32),
) -> Result<Value, BuildError> {
    let h = net.apply(net.linear(x, "cls", width)?, function);
    net.layer_norm(h, "cls.norm", eps)
}

/// The first row of each sequence, or the mean of its rows. Other converters number the ways, and
/// mean the mean where they do not say it.
fn pooled(net: &Net<'_, '_>, x: Value) -> Result<Value, BuildError> {
    let config = net.builder.config();
    let numbered = "classifier.pooling_type";
    let is_mean = match (config.text("classifier_pooling")?, config.class()) {
        (Some("mean"), _) => true,
        (Some("cls"), _) | (None, Some(_)) => false,
        (None, None) => match config.optional_count(numbered)? {
            None | Some(1) => true,
            Some(2) => false,
            Some(_) => return Err(config.invalid(numbered, "1, the mean, or 2, the first row")),
        },
        (Some(_), _) => return Err(config.invalid("classifier_pooling", "cls or mean")),
    };
    Ok(match is_mean {
        true => net.mean_rows(x),
        false => net.first_rows(x),
    })
}
