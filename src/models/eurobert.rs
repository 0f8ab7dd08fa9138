//! EuroBERT (Boizard et al. 2025): LLaMA's layers, of which each row sees all others.

use super::tables::{self, keys, names};
use super::task_heads;
use super::{Architecture, Conversion, DECODER, Family, Only};
use crate::graph::blocks::{Heads, activation, embedding, gated_mlp, head, projections};
use crate::graph::{
    Attention, BuildError, Builder, Mask, Net, Pairing, Pointwise, PositionScheme, Role, Rope,
    Value,
};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "EuroBERT",
    gguf: &["eurobert"],
    hugging_face: &["eurobert"],
    off: tables::BIASES,
    family: Family::Encoder,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        keys! {
            "classifier_pooling" => "classifier_pooling",
            "clf_pooling" => "classifier_pooling",
        },
    ],
    settled: &[("pretraining_tp", Only::Any)],
    names: &[
        names! {
            "lm_head.bias" => "output.bias",
            "dense.*" => "cls.*",
            "classifier.*" => "cls.output.*",
        },
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        tables::GATED_MLP,
    ],
    conversion: Conversion {
        keys: task_heads::keys,
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

/// Whose classes have these heads.
const CLASSES: &[&str] = &["EuroBert"];

/// x ← x + Attention(RMS(x)); x ← x + FFN(RMS(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let eps = config.epsilon("attention.layer_norm_rms_epsilon", 1e-5)?;
    let function = activation(config, "hidden_act", "silu")?;
    let heads = Heads::read(config, width)?;
    let rope = Rope::read(model, Pairing::Halves, heads.head_dim)?;
    let attention = Attention {
        mask: Mask::Bidirectional,
        ..heads.causal(PositionScheme::Rope(rope))
    };
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Encode);
    let mut x = embedding(&net, width)?;
    for i in 0..config.count("block_count")? {
        let layer = format!("blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let [q, k, v] = projections(&net, h, &layer, heads)?;
        let a = net.attention(q, Some((k, v)), attention.clone());
        x = net.add(x, net.linear(a, &format!("{layer}.attn_output"), width)?);
        let h = net.rms_norm(x, &format!("{layer}.ffn_norm"), eps)?;
        x = net.add(x, gated_mlp(&net, h, &layer, hidden, function)?);
    }
    let x = net.rms_norm(x, "output_norm", eps)?;
    emit(&net, x)?;
    net.finish();
    Ok(())
}

/// What the checkpoint's class answers.
fn emit(net: &Net<'_, '_>, x: Value) -> Result<(), BuildError> {
    let model = net.builder;
    let config = model.config();
    let labels = |x| net.linear(x, "cls.output", model.rows("cls.output.weight")?);
    match task_heads::task(config, CLASSES) {
        "ForMaskedLM" => net.emit(head(net, x)?, "logits"),
        "ForTokenClassification" => net.emit(labels(x)?, "logits"),
        "ForSequenceClassification" => {
            // V f(W x).
            let scores = |x| {
                let h = net.linear(x, "cls", net.width(x))?;
                labels(net.apply(h, Pointwise::GeluErf))
            };
            // Of the first row, of the mean of all rows, or the mean of what they score.
            let scores = match config.text("classifier_pooling")?.unwrap_or("late") {
                "bos" => scores(net.first_rows(x))?,
                "mean" => scores(net.mean_rows(x))?,
                "late" => net.mean_rows(scores(x)?),
                _ => return Err(config.invalid("classifier_pooling", "bos, mean or late")),
            };
            net.emit(scores, "logits");
        }
        "Model" => net.emit(x, "last_hidden_state"),
        _ => {
            let known = "EuroBertModel, or EuroBertFor and MaskedLM, SequenceClassification or \
                         TokenClassification";
            return Err(config.invalid_class(known));
        }
    }
    Ok(())
}
