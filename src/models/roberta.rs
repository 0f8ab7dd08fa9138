//! RoBERTa (Liu et al. 2019), and CamemBERT, XLM-R and data2vec (Baevski et al. 2022), which differ from
//! it in what they have read and how they learned: BERT whose positions begin behind padding's.

use super::bert::{self, PostNormLayers, embeddings, encoder_names};
use super::tables::{keys, names};
use super::task_heads::{self, POOLED, RANKED, TaskHeads};
use super::{Architecture, Conversion, DECODER, Family, conversion};
use crate::graph::{BuildError, Builder, Counting, Index, Name, Pointwise};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "RoBERTa, CamemBERT, XLM-R, data2vec (text)",
    gguf: &["roberta"],
    hugging_face: &["roberta", "camembert", "xlm-roberta", "data2vec-text"],
    family: Family::Encoder,
    keys: &[bert::KEYS, keys! { "pad_token_id" => "padding_token_id", }],
    ties: true,
    names: &[HEADS, encoder_names!("", "roberta.", "data2vec_text.")],
    conversion: CONVERSION,
    build,
    ..DECODER
};

/// Hugging Face names of the heads.
pub(super) const HEADS: &[Name] = names! {
    "lm_head.dense.*" => "mlm_dense.*",
    "lm_head.layer_norm.*" => "mlm_norm.*",
    "lm_head.decoder.weight" => "output.weight",
    "lm_head.bias" => "output.bias",
    "lm_head.decoder.bias" => "output_copy.bias",
    "classifier.dense.*" => "cls.*",
    "classifier.out_proj.*" => "cls.output.*",
    "classifier.*" => "classifier.*",
    "qa_outputs.*" => "qa_outputs.*",
};

/// Texts may be as long as there are positions behind padding's.
pub(super) const CONVERSION: Conversion = Conversion {
    keys: task_heads::keys,
    complete: |keys, tensors| {
        let rows = conversion::rows(tensors, "position_embd.weight");
        let padding = keys.count("padding_token_id").unwrap_or(PADDING.into());
        let before = u32::try_from(padding.saturating_add(1)).ok();
        let positions = before.and_then(|before| rows?.checked_sub(before));
        if let Some(positions) = positions {
            keys.put_usual_context(positions);
        }
    },
    ..Conversion::PLAIN
};

/// The padding token where `config.json` does not say it.
pub(super) const PADDING: u32 = 1;

fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let encoder = PostNormLayers::read(config, width, 1e-12)?;
    let padding = config.token("padding_token_id")?.unwrap_or(PADDING);
    let position = padded_positions(model, width, padding)?;

    let net = model.graph(encoder.role());
    let tables = [
        ("token_types.weight", Index::TokenType),
        ("position_embd.weight", position),
    ];
    let x = embeddings(&net, width, &tables, encoder.eps)?;
    let x = encoder.run(&net, x)?;
    let heads = TaskHeads {
        classes: &["Roberta", "Camembert", "XLMRoberta", "Data2VecText"],
        masked: (Pointwise::GeluErf, encoder.eps),
        sequence: RANKED,
        choice: POOLED,
    };
    heads.emit(&net, x)?;
    net.finish();
    Ok(())
}

/// Positions that count the tokens which are no padding, from behind the padding's row on.
pub(super) fn padded_positions(
    model: &Builder<'_>,
    width: usize,
    padding: u32,
) -> Result<Index, BuildError> {
    let rows = model.rows("position_embd.weight")?;
    model.matrix("position_embd.weight", rows, width)?;
    match rows.checked_sub((padding as usize).saturating_add(1)) {
        Some(positions) if positions > 0 => model.context(positions),
        _ => {
            let key = "padding_token_id";
            let expected = format!("a token before the last of {rows} positions");
            return Err(model.config().invalid(key, &expected));
        }
    }
    model.counts_positions(Counting::Unpadded(padding));
    Ok(Index::PositionPast(padding))
}
