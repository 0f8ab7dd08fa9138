//! What transformers' classes make of the rows of T5 and its kin.

use crate::graph::blocks::head;
use crate::graph::{BuildError, Config, Net, Pointwise, ReadAt, SecondReading, Value};

/// What stands in a class's name behind the family's.
fn task<'a>(config: &Config<'a>) -> &'a str {
    match config.class() {
        None => "ConditionalGeneration",
        // As the class was called up to version 3.
        Some(class) if class.ends_with("LMHeadModel") => "ConditionalGeneration",
        Some(class) => match class.split_once("For") {
            Some((_, task)) => task,
            None if class.ends_with("Model") => "Model",
            None => class,
        },
    }
}

/// Hands over what the class makes of the decoder's rows x, which are `scaled` before they predict
/// tokens; `start` is the token that stands before what it reads again.
pub(super) fn emit(net: &Net<'_, '_>, x: Value, scaled: f32, start: u32) -> Result<(), BuildError> {
    let model = net.builder;
    let config = model.config();
    let task = task(config);
    match task {
        "ConditionalGeneration" => {
            let x = if scaled == 1.0 {
                x
            } else {
                net.scale(x, scaled)
            };
            net.emit(head(net, x)?, "logits");
            return Ok(());
        }
        "Model" => {
            net.emit(x, "last_hidden_state");
            model.class_counts();
            return Ok(());
        }
        "SequenceClassification" => {
            // V tanh(W x) of the row at the place of the text's end.
            let h = net.apply(net.linear(x, "cls", net.width(x))?, Pointwise::Tanh);
            let labels = model.rows("cls.output.weight")?;
            net.emit(net.linear(h, "cls.output", labels)?, "logits");
            model.reads_at(ReadAt::LastOf(config.token("eos_token_id")?.unwrap_or(1)));
        }
        "QuestionAnswering" => {
            let ends = net.linear(x, "qa_outputs", 2)?;
            net.emit_numbers(net.slice(ends, 0, 1), "start_logits");
            net.emit_numbers(net.slice(ends, 1, 1), "end_logits");
        }
        _ => {
            let known = "the model, its encoder, or a class for ConditionalGeneration, \
                         SequenceClassification, QuestionAnswering or TokenClassification";
            return Err(config.invalid_class(known));
        }
    }
    model.class_counts();
    model.reads_again(SecondReading::From(start));
    Ok(())
}

/// The same of the encoder's rows, where there is no decoder.
pub(super) fn emit_encoded(net: &Net<'_, '_>, x: Value) -> Result<(), BuildError> {
    let model = net.builder;
    match task(model.config()) {
        "TokenClassification" => {
            let labels = model.rows("cls.output.weight")?;
            net.emit(net.linear(x, "cls.output", labels)?, "logits");
            model.class_counts();
        }
        _ => net.emit(x, "last_hidden_state"),
    }
    Ok(())
}
