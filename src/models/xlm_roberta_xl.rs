//! XLM-R XL and XXL (Goyal et al. 2021): XLM-R whose norms come first.

use super::bert::{PostNormLayers, encoder_names};
use super::megatron_bert::{embedded, pre_norm_layers};
use super::roberta::{self, HEADS, PADDING, padded_positions};
use super::tables::names;
use super::task_heads::{POOLED, RANKED, TaskHeads};
use super::{Architecture, Family};
use crate::graph::{BuildError, Builder, Pointwise, Role};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "XLM-R XL",
    gguf: &["xlm-roberta-xl"],
    hugging_face: &["xlm-roberta-xl"],
    family: Family::Encoder,
    names: &[
        HEADS,
        names! {
            "roberta.encoder.LayerNorm.*" => "output_norm.*",
            in "roberta.encoder.layer.{i}." => "blk.{i}." {
                "attention.self_attn_layer_norm.*" => "attn_norm.*",
                "LayerNorm.*" => "ffn_norm.*",
            }
        },
        encoder_names!("", "roberta."),
    ],
    build,
    ..roberta::ARCHITECTURE
};

fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    // Its class takes another epsilon for granted than XLM-R's.
    let encoder = PostNormLayers::read(config, width, 1e-5)?;
    let padding = config.token("padding_token_id")?.unwrap_or(PADDING);
    let position = padded_positions(model, width, padding)?;

    let net = model.graph(Role::Encode);
    let x = embedded(&net, width, position)?;
    let x = pre_norm_layers(&net, x, &encoder)?;
    let heads = TaskHeads {
        classes: &["XLMRobertaXL"],
        masked: (Pointwise::GeluErf, encoder.eps),
        sequence: RANKED,
        choice: POOLED,
    };
    heads.emit(&net, x)?;
    net.finish();
    Ok(())
}
