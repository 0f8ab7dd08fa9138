//! Decoders that are asked in words whether a text answers a query, and answer with a token: what
//! they are asked, and which tokens mean yes and no.

use super::run::TokenInput;
use super::settings::{ModuleSettings, default_prompt};
use super::texts::input;
use crate::error::{LoadError, LoadErrorKind, RunError};
use crate::model::Model;
use rillm_formats::manifest::Container;
use rillm_formats::tokenizer::{EncodeOptions, Tokenizer};

/// A question about a pair of texts.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    question: Vec<QuestionPart>,
    /// What it is told that queries are for.
    instruction: String,
    /// Where among the model's values the one stands that means yes.
    yes: usize,
    /// Where the one stands that means no, if it counts.
    no: Option<usize>,
}

#[derive(Clone, Debug)]
enum QuestionPart {
    Control(u32),
    /// Names in braces stand for the instruction and the two texts.
    Text(String),
}

/// As Qwen3-Reranker is asked (Zhang et al. 2025).
const QUESTION: &str = "<|im_start|>system\nJudge whether the Document meets the requirements based on the \
     Query and the Instruct provided. Note that the answer can only be \"yes\" or \
     \"no\".<|im_end|>\n<|im_start|>user\n<Instruct>: {instruction}\n<Query>: {query}\n<Document>: \
     {document}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
const INSTRUCTION: &str =
    "Given a web search query, retrieve relevant passages that answer the query";

/// What stands in a question for the document.
const DOCUMENT: &str = "{document}";

impl Judge {
    /// What a decoder is asked whose `width` values for the last token are logits: as its files say,
    /// or as Qwen3-Reranker, whose files say nothing, if it knows the words.
    ///
    /// # Errors
    /// Files that are malformed; a model that no pairs of texts are put to.
    pub(super) fn of(
        model: &Model,
        width: usize,
        prompt: Option<&str>,
    ) -> Result<Judge, LoadError> {
        let tokenizer = model.tokenizer()?;
        if let Some(found) = said(model, width, prompt)? {
            return Ok(found);
        }
        let metadata = &model.manifest().metadata;
        let question = metadata.str("tokenizer.chat_template.rerank");
        let question = question.unwrap_or(QUESTION).to_string();
        let token = |text: &str| match model.read_at() {
            // A head of two labels.
            Some(_) if width == 2 => Some(usize::from(text == "no")),
            Some(_) => None,
            None => only_token(tokenizer, text).filter(|id| *id < width),
        };
        let knows = ["<|im_start|>", "<|im_end|>", "<think>", "</think>"];
        let is_asked =
            model.read_at().is_some() || knows.iter().all(|text| is_control(tokenizer, text));
        match (token("yes"), token("no")) {
            (Some(yes), Some(no)) if is_asked => Ok(Judge {
                question: parts(tokenizer, &question),
                instruction: prompt.unwrap_or(INSTRUCTION).to_string(),
                yes,
                no: Some(no),
            }),
            _ => {
                let what = format!(
                    "this {} predicts tokens, and nothing says how it is asked whether a text answers \
                     a query: a reranker has one logit for each pair of texts, a 1_LogitScore beside \
                     it, or is a Qwen3-Reranker",
                    model.title()
                );
                Err(LoadError::new(LoadErrorKind::Unsupported, what))
            }
        }
    }

    /// The tokens of the question about two texts, the document cut so that all are no more than so
    /// many; whether it was longer. Names of control tokens are those only where the question has them.
    pub(super) fn tokens(
        &self,
        tokenizer: &Tokenizer,
        (query, document): (&str, &str),
        max_length: usize,
    ) -> Result<(TokenInput, bool), RunError> {
        let encode = |text: &str| tokenizer.encode(text, EncodeOptions::new()).map_err(input);
        let filled = |text: &str| {
            let text = text.replace("{instruction}", &self.instruction);
            text.replace("{query}", query)
        };
        let mut ids = Vec::new();
        let mut body = None;
        for part in &self.question {
            match part {
                QuestionPart::Control(id) => ids.push(*id),
                QuestionPart::Text(text) => match text.split_once(DOCUMENT) {
                    None => ids.extend(encode(&filled(text))?),
                    Some((before, after)) => {
                        // Words may reach from what is before into the document.
                        let before = filled(before);
                        let first = ids.len() + encode(&before)?.len();
                        ids.extend(encode(&[&before, document].concat())?);
                        body = Some(first.min(ids.len())..ids.len());
                        ids.extend(encode(&filled(after))?);
                    }
                },
            }
        }
        let Some(body) = body else {
            let what = "the template of a question has no place for its document";
            return Err(RunError::Input(what.to_string()));
        };
        let over = ids.len().saturating_sub(max_length);
        ids.drain(body.end - over.min(body.len())..body.end);
        let types = Vec::new();
        Ok((TokenInput { ids, types }, over > 0))
    }

    /// How much more the model says yes than no.
    pub(super) fn score(&self, values: &[f32]) -> f32 {
        let value = |index: usize| values.get(index).copied().unwrap_or(0.0);
        value(self.yes) - self.no.map_or(0.0, value)
    }
}

/// What sentence-transformers' files ask: a template in which the texts are turns, and the tokens of
/// `LogitScore`.
fn said(model: &Model, width: usize, prompt: Option<&str>) -> Result<Option<Judge>, LoadError> {
    const FILE: &str = "LogitScore's config.json";
    let files = model.module_files();
    let mut configs = files.configs.iter();
    let Some((_, bytes)) = configs.find(|(path, _)| path.ends_with("LogitScore")) else {
        return Ok(None);
    };
    let config = ModuleSettings::read(bytes, FILE)?;
    let token = |key: &str| match config.count(key, 0)? {
        Some(id) if id >= width => Err(config.bad(format_args!(
            "{key} is {id}, expected a token below {width}"
        ))),
        found => Ok(found),
    };
    let yes = token("true_token_id")?;
    let yes = yes.ok_or_else(|| config.bad("true_token_id is missing"))?;
    let instruction = match prompt {
        Some(prompt) => prompt.to_string(),
        None => default_prompt(model)?.unwrap_or_default(),
    };
    let turns = [
        ("system", "{instruction}"),
        ("query", "{query}"),
        ("document", DOCUMENT),
    ];
    let question = rendered(model, &turns[usize::from(instruction.is_empty())..]);
    Ok(Some(Judge {
        question: parts(
            model.tokenizer()?,
            &question.map_err(|what| config.bad(format_args!("it is there, but {what}")))?,
        ),
        instruction,
        yes,
        no: token("false_token_id")?,
    }))
}

/// What a model's template makes of some roles' turns.
#[cfg(feature = "chat")]
fn rendered(model: &Model, turns: &[(&str, &str)]) -> Result<String, String> {
    use crate::chat::{ChatTemplate, Message, special_tokens};
    let source = ChatTemplate::of(model);
    let source = source.ok_or("no chat template that says how pairs are put")?;
    let turns = turns
        .iter()
        .map(|(role, place)| Message::new(role, (*place).to_string()));
    let turns: Vec<Message> = turns.collect();
    let template = ChatTemplate::new(&source, &special_tokens(model));
    let question = template.and_then(|template| template.render(&turns, true));
    question.map_err(|error| error.to_string())
}

/// Templates are what the feature `chat` renders.
#[cfg(not(feature = "chat"))]
fn rendered(_: &Model, _: &[(&str, &str)]) -> Result<String, String> {
    Err("this build renders no chat templates: the feature `chat` does".to_string())
}

/// A question's control tokens, and what is between them.
fn parts(tokenizer: &Tokenizer, question: &str) -> Vec<QuestionPart> {
    let ids = 0..u32::try_from(tokenizer.vocabulary_len()).unwrap_or(u32::MAX);
    let name = |id: u32| Some((std::str::from_utf8(tokenizer.piece(id)?).ok()?, id));
    let names = ids.filter(|id| tokenizer.is_control(*id)).filter_map(name);
    let names: Vec<(&str, u32)> = names
        .filter(|(name, _)| !name.is_empty() && question.contains(name))
        .collect();
    let mut parts = Vec::new();
    let mut rest = question;
    loop {
        let found = names
            .iter()
            .filter_map(|(name, id)| Some((rest.find(name)?, *name, *id)));
        // Of those that begin at one place, the longest.
        let next = found.min_by_key(|(at, name, _)| (*at, usize::MAX - name.len()));
        let (at, len) = next.map_or((rest.len(), 0), |(at, name, _)| (at, name.len()));
        if at > 0 {
            parts.push(QuestionPart::Text(rest[..at].to_string()));
        }
        let Some((.., id)) = next else {
            return parts;
        };
        parts.push(QuestionPart::Control(id));
        rest = &rest[at + len..];
    }
}

/// The token that is this text and nothing else.
fn only_token(tokenizer: &Tokenizer, text: &str) -> Option<usize> {
    match tokenizer.encode(text, EncodeOptions::new()).ok()?[..] {
        [only] => usize::try_from(only).ok(),
        _ => None,
    }
}

fn is_control(tokenizer: &Tokenizer, text: &str) -> bool {
    let options = EncodeOptions::new().parse_special(true);
    let ids = tokenizer.encode(text, options);
    matches!(ids.as_deref(), Ok([id]) if tokenizer.piece(*id) == Some(text.as_bytes()))
}

/// Whether a model is asked in words: a decoder that predicts tokens, or whose head is one for yes and no.
pub(super) fn is_asked(model: &Model, width: usize) -> bool {
    let in_gguf = model.manifest().container == Container::Gguf;
    match model.read_at() {
        None => model.decodes() && !model.encodes(),
        Some(_) => in_gguf && width == 2,
    }
}
