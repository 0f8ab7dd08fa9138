//! The frame that most decoders have in common.

use super::blocks::{embedding, head, is_tied};
use super::{BuildError, Builder, Config, Net, ReadAt, Role, Value};
use rillm_formats::manifest::Container;

/// How many layers there are without those that guess tokens after the next one: converters to
/// GGUF count them as well, and put them behind the others, as checkpoints do without counting them.
pub fn nextn_layers(model: &Builder<'_>) -> Result<usize, BuildError> {
    let (config, key) = (model.config(), "nextn_predict_layers");
    let all = config.count("block_count")?;
    let Some(guessing) = config.feature(key)? else {
        return Ok(all);
    };
    let among = match config.container {
        Container::Gguf => all.checked_sub(guessing),
        Container::HuggingFace => Some(all),
    };
    match among {
        Some(layers) if layers > 0 => {
            model.leaves_out_layers(layers);
            Ok(layers)
        }
        _ => Err(config.invalid(key, &format!("fewer than the {all} layers there are"))),
    }
}

/// What the graph of a decoder is for: checkpoints that embed texts may be of one whose rows see those
/// behind them as well.
pub fn decoder_role(config: &Config<'_>) -> Result<Role, BuildError> {
    Ok(match config.flag("attention.causal", true)? {
        true => Role::Decode,
        false => Role::Encode,
    })
}

/// Hands over what the class of a checkpoint answers of a decoder's last hidden state x: `logits` of the
/// next token, where no class says otherwise; x itself, from which embeddings are made; or what a head
/// for a task makes of it.
pub fn answer(
    net: &Net<'_, '_>,
    x: Value,
    logits: impl Fn(Value) -> Result<Value, BuildError>,
) -> Result<(), BuildError> {
    answer_with(net, x, &logits)
}

/// The same, compiled once for all architectures.
fn answer_with(
    net: &Net<'_, '_>,
    x: Value,
    logits: &dyn Fn(Value) -> Result<Value, BuildError>,
) -> Result<(), BuildError> {
    let model = net.builder;
    let labels = || net.linear(x, "cls.output", model.rows("cls.output.weight")?);
    let class = class(model.config());
    if class != DecoderClass::CausalLM {
        model.class_counts();
    }
    match class {
        // Of an encoder that says nothing of tokens nobody wants them.
        DecoderClass::CausalLM
            if model.config().class().is_none() && net.role() == Role::Encode =>
        {
            net.emit(x, "last_hidden_state");
        }
        DecoderClass::CausalLM => net.emit(logits(x)?, "logits"),
        DecoderClass::Headless => net.emit(x, "last_hidden_state"),
        DecoderClass::Model => {
            net.emit(x, "last_hidden_state");
            // A base model that can write is asked to, whatever it was saved as.
            if net.role() == Role::Decode && has_head(model)? {
                net.emit(logits(x)?, "logits");
            }
        }
        DecoderClass::SequenceClassification => {
            net.emit(labels()?, "logits");
            let padding = model.config().padding()?;
            model.reads_at(padding.map_or(ReadAt::End, ReadAt::LastBut));
        }
        DecoderClass::TokenClassification => net.emit(labels()?, "logits"),
        DecoderClass::QuestionAnswering => {
            let ends = net.linear(x, "qa_outputs", 2)?;
            net.emit_numbers(net.slice(ends, 0, 1), "start_logits");
            net.emit_numbers(net.slice(ends, 1, 1), "end_logits");
        }
        DecoderClass::Other => {
            let known = "a class for CausalLM, SequenceClassification, TokenClassification or \
                         QuestionAnswering, or the model without a head";
            return Err(model.config().invalid_class(known));
        }
    }
    Ok(())
}

/// What a decoder's class was trained for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DecoderClass {
    CausalLM,
    /// As it is asked for, whatever there is.
    Headless,
    Model,
    SequenceClassification,
    TokenClassification,
    QuestionAnswering,
    Other,
}

fn class(config: &Config<'_>) -> DecoderClass {
    let Some(class) = config.class() else {
        return match ranks(config) {
            true => DecoderClass::SequenceClassification,
            false => DecoderClass::CausalLM,
        };
    };
    match class.split_once("For") {
        Some((_, "SequenceClassification")) => DecoderClass::SequenceClassification,
        Some((_, "TokenClassification")) => DecoderClass::TokenClassification,
        Some((_, "QuestionAnswering")) => DecoderClass::QuestionAnswering,
        Some((_, "MultipleChoice")) => DecoderClass::Other,
        Some(_) => DecoderClass::CausalLM,
        None if class == HEADLESS => DecoderClass::Headless,
        None if class.ends_with("DoubleHeadsModel") => DecoderClass::Other,
        None if class.ends_with("Model") && !class.ends_with("LMHeadModel") => DecoderClass::Model,
        None => DecoderClass::CausalLM,
    }
}

/// Whether a GGUF file says that its model ranks texts.
fn ranks(config: &Config<'_>) -> bool {
    const RANK: u64 = 4;
    let key = format!("{}.pooling_type", config.architecture);
    config.container == Container::Gguf && config.metadata.u64(&key) == Some(RANK)
}

/// The class of a decoder of which only the last hidden state is wanted.
pub const HEADLESS: &str = "Model";

/// Whether there is a head, or an embedding that is said to be one.
fn has_head(model: &Builder<'_>) -> Result<bool, BuildError> {
    let config = model.config();
    let ties = config.ties || config.tied()? == Some(true);
    Ok(model.holds("output.weight") || ties && is_tied(model)?)
}

/// A decoder of the usual kind: x ← x + mix(RMS(x)); x ← x + feed_forward(RMS(x)); logits of
/// RMS(x).
#[derive(Clone, Copy, Debug)]
pub struct PreNormDecoder {
    /// Elements of a row.
    pub width: usize,
    /// How many layers there are.
    pub layers: usize,
    /// The norms' epsilon.
    pub eps: f32,
    /// What the norm before the feed-forward layer is called.
    pub second_norm: &'static str,
    /// Whether rows see those behind them.
    pub role: Role,
}

/// A part of layer `i`, whose tensors' names begin as the text says.
type Part<'a, 'b, 'c> = &'a dyn Fn(&Net<'b, 'c>, Value, &str, usize) -> Result<Value, BuildError>;

/// What is made of the last norm's result.
type LogitsOf<'a, 'b, 'c> = &'a dyn Fn(&Net<'b, 'c>, Value) -> Result<Value, BuildError>;

impl PreNormDecoder {
    /// Reads the sizes; `eps` where no file says it.
    pub fn read(config: &Config<'_>, eps: f32) -> Result<PreNormDecoder, BuildError> {
        Ok(PreNormDecoder {
            width: config.count("embedding_length")?,
            layers: config.count("block_count")?,
            eps: config.epsilon("attention.layer_norm_rms_epsilon", eps)?,
            second_norm: "ffn_norm",
            role: Role::Decode,
        })
    }

    /// Records the graph.
    pub fn wire<'b, 'c>(
        self,
        model: &'b Builder<'c>,
        mix: Part<'_, 'b, 'c>,
        feed_forward: Part<'_, 'b, 'c>,
    ) -> Result<(), BuildError> {
        self.wire_to(model, mix, feed_forward, &head)
    }

    /// The same with a head of its own.
    pub fn wire_to<'b, 'c>(
        self,
        model: &'b Builder<'c>,
        mix: Part<'_, 'b, 'c>,
        feed_forward: Part<'_, 'b, 'c>,
        logits: LogitsOf<'_, 'b, 'c>,
    ) -> Result<(), BuildError> {
        model.context(model.config().count("context_length")?);
        let net = model.graph(self.role);
        let mut x = embedding(&net, self.width)?;
        for i in 0..self.layers {
            let layer = format!("blk.{i}");
            let h = net.rms_norm(x, &format!("{layer}.attn_norm"), self.eps)?;
            x = net.add(x, mix(&net, h, &layer, i)?);
            let h = net.rms_norm(x, &format!("{layer}.{}", self.second_norm), self.eps)?;
            x = net.add(x, feed_forward(&net, h, &layer, i)?);
        }
        let x = net.rms_norm(net.selected(x), "output_norm", self.eps)?;
        answer(&net, x, |x| logits(&net, x))?;
        net.finish();
        Ok(())
    }
}
