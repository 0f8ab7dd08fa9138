//! What transformers' classes put on top of an encoder, a head for each task. Encoders differ in
//! what they call their parts, and in the functions between these.

use super::GgufKeys;
use crate::graph::blocks::head;
use crate::graph::{BuildError, Config, Net, Pointwise, Value};

/// How the heads of an encoder are made.
pub(super) struct TaskHeads {
    /// What the names of its classes begin with: `Bert` of `BertForMaskedLM`.
    pub classes: &'static [&'static str],
    /// The function of what predicts masked tokens, and the epsilon of its norm.
    pub masked: (Pointwise, f32),
    /// What scores sequences.
    pub sequence: Scores,
    /// What scores sequences of which one is to be chosen.
    pub choice: Scores,
}

/// V f(W x) of the first row x of each sequence.
#[derive(Clone, Copy)]
pub(super) struct Scores {
    /// W, if there is one.
    pub dense: Option<&'static str>,
    /// f.
    pub function: Pointwise,
    /// V.
    pub scores: &'static str,
}

/// V tanh(W x), as BERT has it.
pub(super) const POOLED: Scores = Scores {
    dense: Some("pooler"),
    function: Pointwise::Tanh,
    scores: "classifier",
};

/// The same under names that GGUF has for rerankers, and without a pooler's part in it.
pub(super) const RANKED: Scores = Scores {
    dense: Some("cls"),
    function: Pointwise::Tanh,
    scores: "cls.output",
};

impl TaskHeads {
    /// Emits what the checkpoint's class answers; the base model's, if none is said.
    pub(super) fn emit(&self, net: &Net<'_, '_>, x: Value) -> Result<(), BuildError> {
        let model = net.builder;
        let parts = ["mlm_dense.weight", "mlm_norm.weight"];
        let task = match task(model.config(), self.classes) {
            // Encoders of sentences keep the name of the class that they were trained from.
            "ForMaskedLM" if !parts.iter().any(|part| model.has(part)) => "Model",
            task => task,
        };
        match task {
            "ForMaskedLM" => net.emit(self.masked_tokens(net, x)?, "logits"),
            "ForCausalLM" | "LMHeadModel" if net.decodes() => {
                net.emit(self.masked_tokens(net, net.selected(x))?, "logits");
            }
            "ForSequenceClassification" => net.emit(self.sequence.of(net, x)?, "logits"),
            "ForMultipleChoice" => {
                emit_choice(net, self.choice.of(net, x)?, self.choice.scores)?;
            }
            "ForTokenClassification" => {
                let labels = model.rows("classifier.weight")?;
                net.emit(net.linear(x, "classifier", labels)?, "logits");
            }
            "ForQuestionAnswering" => {
                emit_ends(net, net.linear(x, "qa_outputs", 2)?);
            }
            "Model" => {
                net.emit(x, "last_hidden_state");
                if model.has("pooler.weight") {
                    net.emit(POOLED.hidden(net, x)?, "pooler_output");
                }
            }
            _ => return Err(unknown_task(model.config(), self.classes)),
        }
        Ok(())
    }

    /// Emits masked tokens, and whether the second sentence follows the first.
    pub(super) fn emit_pretraining(&self, net: &Net<'_, '_>, x: Value) -> Result<(), BuildError> {
        net.emit(self.masked_tokens(net, x)?, "prediction_logits");
        net.emit(follows(net, x)?, "seq_relationship_logits");
        Ok(())
    }

    /// E LN(f(W x)) + b, where E is the embedding unless there is a head of its own.
    pub(super) fn masked_tokens(&self, net: &Net<'_, '_>, x: Value) -> Result<Value, BuildError> {
        let (function, eps) = self.masked;
        // As wide as the embedding, which is not everywhere as wide as the model.
        let width = net.builder.rows("mlm_dense.weight")?;
        let h = net.apply(net.linear(x, "mlm_dense", width)?, function);
        head(net, net.layer_norm(h, "mlm_norm", eps)?)
    }
}

impl Scores {
    /// V f(W x).
    pub(super) fn of(&self, net: &Net<'_, '_>, x: Value) -> Result<Value, BuildError> {
        let h = self.hidden(net, x)?;
        let labels = net.builder.rows(&format!("{}.weight", self.scores))?;
        net.linear(h, self.scores, labels)
    }

    /// f(W x).
    pub(super) fn hidden(&self, net: &Net<'_, '_>, x: Value) -> Result<Value, BuildError> {
        let first = net.first_rows(x);
        Ok(match self.dense {
            Some(dense) => net.apply(net.linear(first, dense, net.width(x))?, self.function),
            None => first,
        })
    }
}

/// What stands in the name of a checkpoint's class behind what all classes of its kind begin with:
/// `ForMaskedLM`, or `Model`, which is also the task of a checkpoint that does not say it.
pub(super) fn task<'a>(config: &Config<'a>, classes: &[&str]) -> &'a str {
    let Some(class) = config.class() else {
        return "Model";
    };
    let mut classes = classes.iter();
    let task = classes.find_map(|begin| class.strip_prefix(begin));
    task.unwrap_or_default()
}

/// Whether a checkpoint's class predicts the next token, where its configuration says that it decodes.
pub(super) fn predicts_next(config: &Config<'_>) -> bool {
    let class = config.class().unwrap_or_default();
    class.ends_with("ForCausalLM") || class.ends_with("LMHeadModel")
}

/// An error about a class with another head than those of [`TaskHeads`].
pub(super) fn unknown_task(config: &Config<'_>, classes: &[&str]) -> BuildError {
    let begin = classes.first().copied().unwrap_or_default();
    config.invalid_class(&format!(
        "{begin}Model, or {begin}For and MaskedLM, SequenceClassification, \
         TokenClassification, QuestionAnswering or MultipleChoice"
    ))
}

/// Whether the second sentence follows the first.
pub(super) fn follows(net: &Net<'_, '_>, x: Value) -> Result<Value, BuildError> {
    net.linear(POOLED.hidden(net, x)?, "sentence_order", 2)
}

/// Hands over where an answer starts and where it ends.
pub(super) fn emit_ends(net: &Net<'_, '_>, ends: Value) {
    net.emit_numbers(net.slice(ends, 0, 1), "start_logits");
    net.emit_numbers(net.slice(ends, 1, 1), "end_logits");
}

/// Hands over the one score of each sequence of which one is to be chosen; `name` is that of the
/// matrix which yields it.
pub(super) fn emit_choice(net: &Net<'_, '_>, scores: Value, name: &str) -> Result<(), BuildError> {
    if net.width(scores) != 1 {
        return Err(BuildError::Shape {
            name: format!("{name}.weight"),
            found: vec![net.width(scores) as u64],
            expected: vec![1],
        });
    }
    net.emit_numbers(scores, "logits");
    Ok(())
}

/// Which head a checkpoint has is known by its class alone.
pub(super) fn keys(keys: &mut GgufKeys<'_>) {
    if let Some(classes) = keys.config.value("architectures") {
        keys.bare.0.insert("architectures".into(), classes.clone());
    }
}
