//! Longformer (Beltagy et al. 2020): RoBERTa whose rows see those near them, and a few that are
//! global all of them, by projections of their own.

use super::bert::{self, PostNormLayers, embeddings, encoder_names};
use super::roberta::{self, padded_positions};
use super::tables::{keys, names};
use super::task_heads::{POOLED, RANKED, TaskHeads};
use super::{Architecture, DECODER, Family, Only};
use crate::graph::blocks::projections;
use crate::graph::{
    BuildError, Builder, Config, GlobalRows, Index, Mask, Net, Pointwise, Role, Value, Wanted,
};
use rillm_formats::manifest::MetadataValue;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Longformer",
    gguf: &["longformer"],
    hugging_face: &["longformer"],
    family: Family::Encoder,
    keys: &[
        bert::KEYS,
        keys! {
            "pad_token_id" => "padding_token_id",
            "sep_token_id" => "separator_token_id",
            "attention_window" => "attention.sliding_window",
        },
    ],
    settled: &[
        (
            "attention_mode",
            Only::Text(&["longformer", "sliding_chunks", "tvm"]),
        ),
        ("ignore_attention_mask", Only::Is(false)),
        ("onnx_export", Only::Any),
    ],
    ties: true,
    names: &[
        roberta::HEADS,
        names! {
            in "longformer.encoder.layer.{i}.attention.self." => "blk.{i}." {
                "query_global.*" => "attn_q_global.*",
                "key_global.*" => "attn_k_global.*",
                "value_global.*" => "attn_v_global.*",
            }
            in "encoder.layer.{i}.attention.self." => "blk.{i}." {
                "query_global.*" => "attn_q_global.*",
                "key_global.*" => "attn_k_global.*",
                "value_global.*" => "attn_v_global.*",
            }
        },
        encoder_names!("", "longformer."),
    ],
    conversion: roberta::CONVERSION,
    build,
    ..DECODER
};

/// The separator where `config.json` does not say it.
const SEPARATOR: u32 = 2;

fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let encoder = PostNormLayers::read(config, width, 1e-12)?;
    let layers = config.count("block_count")?;
    let padding = config.token("padding_token_id")?;
    let position = padded_positions(model, width, padding.unwrap_or(roberta::PADDING))?;
    let separator = config.token("separator_token_id")?.unwrap_or(SEPARATOR);
    model.global_rows(match config.class() {
        Some("LongformerForSequenceClassification") => GlobalRows::First,
        Some("LongformerForQuestionAnswering") => GlobalRows::BeforeSeparator(separator),
        Some("LongformerForMultipleChoice") => GlobalRows::AfterSeparators(separator),
        _ => GlobalRows::None,
    });

    let net = model.graph(Role::Encode);
    let tables = [
        ("token_types.weight", Index::TokenType),
        ("position_embd.weight", position),
    ];
    let mut x = embeddings(&net, width, &tables, encoder.eps)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let local = projections(&net, x, &layer, encoder.heads)?;
        let global = global_projections(&net, x, &layer)?;
        let attention = encoder.attention(window(config, i, layers)?);
        let a = net.attention_with_global(local, global, attention);
        x = encoder.behind_attention(&net, [x, a], &layer)?;
    }
    let heads = TaskHeads {
        classes: &["Longformer"],
        masked: (Pointwise::GeluErf, encoder.eps),
        sequence: RANKED,
        choice: POOLED,
    };
    heads.emit(&net, x)?;
    net.finish();
    Ok(())
}

/// q, k and v of global rows and of all rows to them.
pub(super) fn global_projections(
    net: &Net<'_, '_>,
    x: Value,
    layer: &str,
) -> Result<[Value; 3], BuildError> {
    let width = net.width(x);
    let part = |name: &str, wanted| net.linear_where(x, &format!("{layer}.{name}"), width, wanted);
    Ok([
        part("attn_q_global", Wanted::Global)?,
        part("attn_k_global", Wanted::BesideGlobal)?,
        part("attn_v_global", Wanted::BesideGlobal)?,
    ])
}

/// How far the rows of a layer see on either side: half of its window.
pub(super) fn window(config: &Config<'_>, layer: usize, layers: usize) -> Result<Mask, BuildError> {
    let key = "attention.sliding_window";
    let window = match config.value(key) {
        Some(MetadataValue::Array(list)) if list.len() == layers => list.u64(layer),
        Some(MetadataValue::Array(_)) => None,
        _ => Some(config.optional_count(key)?.unwrap_or(512) as u64),
    };
    let window = window.filter(|window| *window > 0 && window.is_multiple_of(2));
    let radius = window.and_then(|window| u32::try_from(window / 2).ok());
    radius.map(|radius| Mask::Local { radius }).ok_or_else(|| {
        let expected = format!("an even number, or one for each of {layers} layers");
        config.invalid(key, &expected)
    })
}
