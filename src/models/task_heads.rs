//! What transformers' classes put on top of an encoder, a head for each task. Encoders differ in
//! what they call their parts, and in the functions between these.

use super::GgufKeys;
use crate::graph::blocks::head;
use crate::graph::{BuildError, Net, Pointwise, Value};

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
        let class = model.config().class();
        let mut classes = self.classes.iter();
        let task = match class {
            None => Some("Model"),
            Some(class) => classes.find_map(|begin| class.strip_prefix(begin)),
        };
        match task.unwrap_or_default() {
            "ForMaskedLM" => net.emit(self.masked_tokens(net, x)?, "logits"),
            "ForSequenceClassification" => net.emit(self.sequence.of(net, x)?, "logits"),
            "ForMultipleChoice" => {
                let scores = self.choice.of(net, x)?;
                if net.width(scores) != 1 {
                    let found = vec![net.width(scores) as u64];
                    return Err(BuildError::Shape {
                        name: format!("{}.weight", self.choice.scores),
                        found,
                        expected: vec![1],
                    });
                }
                net.emit_numbers(scores, "logits");
            }
            "ForTokenClassification" => {
                let labels = model.rows("classifier.weight")?;
                net.emit(net.linear(x, "classifier", labels)?, "logits");
            }
            "ForQuestionAnswering" => {
                let ends = net.linear(x, "qa_outputs", 2)?;
                net.emit_numbers(net.slice(ends, 0, 1), "start_logits");
                net.emit_numbers(net.slice(ends, 1, 1), "end_logits");
            }
            "Model" => {
                net.emit(x, "last_hidden_state");
                if model.has("pooler.weight") {
                    net.emit(POOLED.hidden(net, x)?, "pooler_output");
                }
            }
            _ => {
                let begin = self.classes.first().copied().unwrap_or_default();
                let known = format!(
                    "{begin}Model, or {begin}For and MaskedLM, SequenceClassification, \
                     TokenClassification, QuestionAnswering or MultipleChoice"
                );
                return Err(model.config().invalid_class(&known));
            }
        }
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

/// Which head a checkpoint has is known by its class alone.
pub(super) fn keys(keys: &mut GgufKeys<'_>) {
    if let Some(classes) = keys.config.value("architectures") {
        keys.bare.0.insert("architectures".into(), classes.clone());
    }
}
