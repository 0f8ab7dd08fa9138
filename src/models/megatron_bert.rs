//! Megatron-BERT (Shoeybi et al. 2019): BERT whose norms come first.

use super::bert::{self, PostNormLayers, encoder_names};
use super::tables::names;
use super::task_heads::{self, POOLED, TaskHeads};
use super::{Architecture, Family};
use crate::graph::blocks::{mlp, projections};
use crate::graph::{BuildError, Builder, Index, Mask, Net, Role, Value};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Megatron-BERT",
    gguf: &["megatron-bert"],
    hugging_face: &["megatron-bert"],
    family: Family::Encoder,
    names: &[
        bert::HEADS,
        names! {
            "bert.encoder.ln.*" => "output_norm.*",
            in "bert.encoder.layer.{i}." => "blk.{i}." {
                "attention.ln.*" => "attn_norm.*",
                "ln.*" => "ffn_norm.*",
            }
        },
        encoder_names!("", "bert."),
    ],
    settled: &[],
    harmless_in_gguf: &[],
    build,
    ..bert::ARCHITECTURE
};

fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let encoder = PostNormLayers::read(config, width, 1e-12)?;
    model.context(model.rows("position_embd.weight")?);

    let net = model.graph(Role::Encode);
    let x = embedded(&net, width, Index::Position)?;
    let x = pre_norm_layers(&net, x, &encoder)?;
    let heads = TaskHeads {
        classes: &["MegatronBert"],
        masked: (encoder.function, encoder.eps),
        sequence: POOLED,
        choice: POOLED,
    };
    match config.class() {
        Some("MegatronBertForPreTraining") => heads.emit_pretraining(&net, x)?,
        Some("MegatronBertForNextSentencePrediction") => {
            net.emit(task_heads::follows(&net, x)?, "logits");
        }
        _ => heads.emit(&net, x)?,
    }
    net.finish();
    Ok(())
}

/// Tokens, their types and positions, which the first layer normalises.
pub(super) fn embedded(
    net: &Net<'_, '_>,
    width: usize,
    position: Index,
) -> Result<Value, BuildError> {
    let model = net.builder;
    let table = |name: &str| model.matrix(name, model.rows(name)?, width);
    let x = net.embed(table("token_embd.weight")?, Index::Token);
    let x = net.add(x, net.embed(table("token_types.weight")?, Index::TokenType));
    Ok(net.add(x, net.embed(table("position_embd.weight")?, position)))
}

/// x ← x + Attention(LN(x)); x ← x + MLP(LN(x)); LN(x).
pub(super) fn pre_norm_layers(
    net: &Net<'_, '_>,
    mut x: Value,
    encoder: &PostNormLayers,
) -> Result<Value, BuildError> {
    for i in 0..net.builder.config().count("block_count")? {
        let layer = format!("blk.{i}");
        let h = net.layer_norm(x, &format!("{layer}.attn_norm"), encoder.eps)?;
        let [q, k, v] = projections(net, h, &layer, encoder.heads)?;
        let a = net.attention(q, Some((k, v)), encoder.attention(Mask::Bidirectional));
        x = net.add(
            x,
            net.linear(a, &format!("{layer}.attn_output"), net.width(x))?,
        );
        let h = net.layer_norm(x, &format!("{layer}.ffn_norm"), encoder.eps)?;
        x = net.add(x, mlp(net, h, &layer, encoder.hidden, encoder.function)?);
    }
    net.layer_norm(x, "output_norm", encoder.eps)
}
