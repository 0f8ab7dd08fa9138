//! ELECTRA (Clark et al. 2020): BERT whose embedding may be narrower than the model, as a
//! generator, which predicts masked tokens, and a discriminator, which tells tokens that were put in.

use super::bert::{self, CONVERSION, PostNormLayers, embeddings, encoder_names};
use super::tables::{keys, names};
use super::task_heads::{RANKED, Scores, TaskHeads};
use super::{Architecture, DECODER, Family};
use crate::graph::blocks::activation;
use crate::graph::{BuildError, Builder, Config, Index, Pointwise};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "ELECTRA",
    gguf: &["electra"],
    hugging_face: &["electra"],
    family: Family::Encoder,
    keys: &[
        bert::KEYS,
        keys! {
            "embedding_size" => "token_embedding_length",
            "summary_type" => "summary.type",
            "summary_use_proj" => "summary.projects",
            "summary_activation" => "summary.activation",
        },
    ],
    ties: true,
    names: &[
        names! {
            "generator_predictions.dense.*" => "mlm_dense.*",
            "generator_predictions.LayerNorm.*" => "mlm_norm.*",
            "generator_predictions.LayerNorm.gamma" => "mlm_norm.weight",
            "generator_predictions.LayerNorm.beta" => "mlm_norm.bias",
            "generator_lm_head.*" => "output.*",
            "discriminator_predictions.dense.*" => "discriminator.*",
            "discriminator_predictions.dense_prediction.*" => "discriminator_output.*",
            "classifier.dense.*" => "cls.*",
            "classifier.out_proj.*" => "cls.output.*",
            "classifier.*" => "classifier.*",
            "qa_outputs.*" => "qa_outputs.*",
            "sequence_summary.summary.*" => "summary.*",
            in "" => "" { "embeddings_project.*" => "token_embd_project.*", }
            in "electra." => "" { "embeddings_project.*" => "token_embd_project.*", }
        },
        encoder_names!("", "electra."),
    ],
    conversion: CONVERSION,
    build,
    ..DECODER
};

fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let token_width = config.optional_count("token_embedding_length")?;
    let token_width = token_width.unwrap_or(128);
    let encoder = PostNormLayers::read(config, width, 1e-12)?;
    model.context(model.rows("position_embd.weight")?);

    let net = model.graph(encoder.role());
    let tables = [
        ("token_types.weight", Index::TokenType),
        ("position_embd.weight", Index::Position),
    ];
    let mut x = embeddings(&net, token_width, &tables, encoder.eps)?;
    if token_width != width {
        x = net.linear(x, "token_embd_project", width)?;
    }
    let x = encoder.run(&net, x)?;
    match config.class() {
        // Whether each token is one that the generator has put in.
        Some("ElectraForPreTraining") => {
            let h = net.apply(net.linear(x, "discriminator", width)?, encoder.function);
            net.emit_numbers(net.linear(h, "discriminator_output", 1)?, "logits");
        }
        class => {
            let choice = match class {
                Some("ElectraForMultipleChoice") => summary(config)?,
                _ => RANKED,
            };
            let heads = TaskHeads {
                classes: &["Electra"],
                masked: (Pointwise::GeluErf, encoder.eps),
                sequence: Scores {
                    function: Pointwise::GeluErf,
                    ..RANKED
                },
                choice,
            };
            heads.emit(&net, x)?;
        }
    }
    net.finish();
    Ok(())
}

/// What scores choices.
fn summary(config: &Config<'_>) -> Result<Scores, BuildError> {
    if config.text("summary.type")?.unwrap_or("first") != "first" {
        return Err(config.invalid("summary.type", "first"));
    }
    if !config.flag("summary.projects", true)? {
        return Err(config.invalid("summary.projects", "true"));
    }
    if config.is_null("summary.activation") {
        return Err(config.invalid("summary.activation", "a function"));
    }
    Ok(Scores {
        dense: Some("summary"),
        function: activation(config, "summary.activation", "gelu")?,
        scores: "classifier",
    })
}
