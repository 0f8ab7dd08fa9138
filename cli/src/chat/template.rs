//! Which template a conversation is written in.

use super::Arguments;
use crate::error::CliError;
use crate::input::file_text;
use crate::output::warn;
use rillm::Model;
use rillm::chat::{ChatTemplate, Message, NAMED, ReplyReader, special_tokens};
use rillm::formats::tokenizer::{EncodeOptions, Tokenizer};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Bytes that are read of a template's file: more than any has.
const LONGEST: u64 = 4 << 20;

/// A template, and whether it is one of ours.
pub struct Template {
    template: ChatTemplate,
    ours: bool,
}

impl Template {
    /// The one asked for, or the model's own, or one that its tokens suggest.
    pub fn choose(
        arguments: &Arguments,
        model: &Model,
        tokenizer: &Tokenizer,
    ) -> Result<Template, CliError> {
        let (mut ours, mut path) = (false, arguments.model.path().to_path_buf());
        let named = arguments.chat_template.as_deref();
        let source = match (named, named.and_then(ChatTemplate::named)) {
            (_, Some(source)) => {
                ours = true;
                source.to_string()
            }
            (Some(name), None) => match ChatTemplate::of_name(model, name) {
                Some(source) => source,
                None => {
                    path = PathBuf::from(name);
                    read(&path)?
                }
            },
            (None, None) => match ChatTemplate::of(model) {
                Some(source) => source,
                None if !ChatTemplate::names_of(model).is_empty() => {
                    let what = format!(
                        "of the model's chat templates ({}) none is the default: --chat-template names one",
                        ChatTemplate::names_of(model).join(", ")
                    );
                    return Err(CliError::File(path, what));
                }
                None => {
                    let name = match tokenizer.token("<|im_start|>") {
                        Some(_) => "chatml",
                        None => "plain",
                    };
                    warn(&format!(
                        "the model has no chat template: using {name}, --chat-template names another"
                    ));
                    ours = true;
                    ChatTemplate::named(name).unwrap_or_default().to_string()
                }
            },
        };
        match ChatTemplate::new(&source, &special_tokens(model)) {
            Ok(mut template) => {
                template.set_variables(&variables(arguments, &template)?)?;
                Ok(Template { template, ours })
            }
            Err(error) => Err(CliError::File(path, error.to_string())),
        }
    }

    /// What parts the reply to a conversation.
    pub fn reader(&self, messages: &[Message]) -> Result<ReplyReader, CliError> {
        let prompt = self.template.render(messages, true)?;
        Ok(ReplyReader::new(&self.template, &prompt))
    }

    /// The tokens of a conversation up to the next reply. A model's own template writes all the
    /// special tokens that belong there, as in transformers; ours leave BOS to the tokenizer.
    /// Nothing stands behind the place where the reply begins.
    pub fn encode(
        &self,
        messages: &[Message],
        tokenizer: &Tokenizer,
    ) -> Result<Vec<u32>, CliError> {
        let text = self.template.render(messages, true)?;
        let options = EncodeOptions::default().parse_special(true);
        let mut ids = tokenizer.encode(&text, options)?;
        let around = tokenizer.encode("", EncodeOptions::default().add_special(true))?;
        let bos = tokenizer.bos().filter(|bos| around.first() == Some(bos));
        if self.ours && bos.is_some() && ids.first() != bos.as_ref() {
            ids.splice(0..0, bos);
        }
        Ok(ids)
    }
}

/// Variables of the template's own, by whose names it knows whether the model is to think.
fn variables(arguments: &Arguments, template: &ChatTemplate) -> Result<String, CliError> {
    let given = arguments.chat_template_kwargs.as_deref().unwrap_or("{}");
    let Ok(Value::Object(mut variables)) = serde_json::from_str(given) else {
        let what = format!("--chat-template-kwargs: {given} is no JSON object");
        return Err(CliError::Usage(what));
    };
    if arguments.think || arguments.no_think {
        let Some((name, value)) = template.thinking_variable(arguments.think) else {
            let what = "the chat template has no variable that says whether the model thinks: leave \
                        --think and --no-think out";
            return Err(CliError::Usage(what.to_string()));
        };
        let value = serde_json::from_str(value).unwrap_or_default();
        variables.entry(name).or_insert(value);
    }
    Ok(Value::Object(variables).to_string())
}

/// A file's, if there is one of that name.
fn read(path: &Path) -> Result<String, CliError> {
    file_text(path, LONGEST).map_err(|error| match error {
        CliError::File(path, what) => {
            let names: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
            let what = format!("{what}; templates by name: {}", names.join(", "));
            CliError::File(path, what)
        }
        other => other,
    })
}
