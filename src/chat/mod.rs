//! Conversations as the text a model was trained on: its chat template, which is a Jinja
//! program that comes with its files.
//!
//! ```
//! use rillm::chat::{ChatTemplate, Message, special_tokens};
//! use rillm::formats::tokenizer::EncodeOptions;
//! use rillm::generate::{GenerateOptions, Generator};
//! use rillm::sample::{SampleOptions, Sampler};
//! use rillm::{Model, ModelOptions, RunError, Session, SessionOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = Model::open("assets/demo.gguf", ModelOptions::default())?;
//! let tokenizer = model.tokenizer()?;
//! let source = ChatTemplate::of(&model);
//! let source = source.as_deref().or(ChatTemplate::named("plain")).expect("a template");
//! let template = ChatTemplate::new(source, &special_tokens(&model))?;
//!
//! let mut messages = vec![Message::new("user", "Tell me of a dog and a ball.")];
//! let text = template.render(&messages, true)?;
//! // The template writes control tokens by their names, BOS among them.
//! let prompt = tokenizer.encode(&text, EncodeOptions::default().parse_special(true))?;
//!
//! let mut session = Session::new(&model, SessionOptions::default().context(256))?;
//! let mut sampler = Sampler::new(SampleOptions::default(), tokenizer.vocabulary_len(), 256);
//! let options = GenerateOptions::default()
//!     .end_tokens(tokenizer.end_tokens())
//!     .max_tokens(30);
//! let reply = Generator::new(&mut session, &prompt, options, &mut sampler)?;
//! let reply: Vec<u32> = reply.collect::<Result<_, RunError>>()?;
//! messages.push(Message::new("assistant", tokenizer.decode_text(&reply, Default::default())));
//! # Ok(())
//! # }
//! ```

//!
//! A template is a program that comes with a file, which nobody may have read. It is rendered as
//! `transformers` renders it, on a thread of its own, and may neither nest too deep nor take too
//! long or too much memory: then that is the error.

mod named;
mod reply;
mod special_tokens;
mod template;

use crate::model::Model;
use crate::weights::{DEFAULT_TEMPLATE, chat_templates_of};
pub use named::NAMED;
pub use reply::{ReplyPart, ReplyReader};
use rillm_formats::manifest::Container;
pub use special_tokens::special_tokens;
use std::collections::BTreeMap;
use std::fmt;
use template::{Conversation, Halt};

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user`, `assistant`, or what else a template knows.
    pub role: String,
    /// What was said.
    pub content: String,
    /// What the model thought before it said that, if anything: templates see it as
    /// `reasoning_content` and `thinking`, and leave it out of turns that are over.
    pub thinking: Option<String>,
}

impl Message {
    /// Somebody said something.
    pub fn new(role: &str, content: impl Into<String>) -> Message {
        Message {
            role: role.to_string(),
            content: content.into(),
            thinking: None,
        }
    }

    /// The same with what was thought before.
    #[must_use]
    pub fn thinking(mut self, thinking: impl Into<String>) -> Message {
        self.thinking = Some(thinking.into()).filter(|text| !text.is_empty());
        self
    }
}

/// A chat template, ready to be used.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    source: String,
    /// Names of variables and the tokens they stand for.
    special_tokens: Vec<(String, String)>,
    /// Variables beside those of a conversation, as a JSON object.
    variables: String,
}

/// Variables by which templates know whether the model is to think, and what they say then and
/// otherwise, as JSON.
const THINKING_VARIABLES: [(&str, [&str; 2]); 4] = [
    ("enable_thinking", ["true", "false"]),
    ("thinking", ["true", "false"]),
    ("reasoning_effort", ["\"high\"", "\"low\""]),
    ("thinking_budget", ["-1", "0"]),
];

/// Why a conversation could not be made a text.
#[derive(Debug)]
#[non_exhaustive]
pub enum ChatError {
    /// The template is no Jinja program, or uses what is not there.
    Template(String),
    /// The template does not accept this conversation, and says why.
    Refused(String),
}

impl fmt::Display for ChatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChatError::Template(what) => write!(f, "chat template: {what}"),
            ChatError::Refused(what) => write!(f, "the chat template refuses: {what}"),
        }
    }
}

impl std::error::Error for ChatError {}

/// A model's templates by their names.
fn templates(model: &Model) -> BTreeMap<String, String> {
    match model.manifest().container {
        Container::Gguf => chat_templates_of(&model.manifest().metadata),
        Container::HuggingFace => model.tokenizer_files().chat_templates(),
    }
}

impl ChatTemplate {
    /// Reads a template; `special_tokens` are the texts of tokens that it knows by names such as
    /// `bos_token`, as [`special_tokens`] finds them.
    ///
    /// # Errors
    /// If it is no Jinja program.
    pub fn new<N: AsRef<str>, T: AsRef<str>>(
        source: &str,
        special_tokens: &[(N, T)],
    ) -> Result<ChatTemplate, ChatError> {
        template::check(source)?;
        let owned =
            |(name, token): &(N, T)| (name.as_ref().to_string(), token.as_ref().to_string());
        Ok(ChatTemplate {
            source: source.to_string(),
            special_tokens: special_tokens.iter().map(owned).collect(),
            variables: "{}".to_string(),
        })
    }

    /// Hands the template variables beside those of a conversation: a JSON object.
    ///
    /// # Errors
    /// If it is none.
    pub fn set_variables(&mut self, variables: &str) -> Result<(), ChatError> {
        template::check_variables(variables)?;
        self.variables = variables.to_string();
        Ok(())
    }

    /// The variable by which the template knows whether the model is to think, if it asks, and its
    /// value for that, as JSON.
    pub fn thinking_variable(&self, on: bool) -> Option<(&'static str, &'static str)> {
        let asked = |(name, _): &&(&str, _)| template::has_variable(&self.source, name);
        let (name, values) = THINKING_VARIABLES.iter().find(asked)?;
        Some((name, values[usize::from(!on)]))
    }

    /// The template of this name, of [`NAMED`].
    pub fn named(name: &str) -> Option<&'static str> {
        let found = NAMED.iter().find(|(known, _)| *known == name);
        found.map(|(_, source)| *source)
    }

    /// The template that came with a model, as far as its files have one.
    pub fn of(model: &Model) -> Option<String> {
        templates(model).remove(DEFAULT_TEMPLATE)
    }

    /// The names of a model's templates where it has several: none of them may be the one that
    /// counts ([`of`](Self::of)).
    pub fn names_of(model: &Model) -> Vec<String> {
        templates(model).into_keys().collect()
    }

    /// The template that a model has under this name.
    pub fn of_name(model: &Model, name: &str) -> Option<String> {
        templates(model).remove(name)
    }

    /// The text of a conversation; with `reply`, up to where the model's next turn begins.
    ///
    /// # Errors
    /// What the template says against it, or what is wrong with the template.
    pub fn render(&self, messages: &[Message], reply: bool) -> Result<String, ChatError> {
        let input = Conversation::Messages(messages, reply, &self.variables);
        Ok(template::render(
            &self.source,
            &self.special_tokens,
            &input,
        )?)
    }

    /// The text of a conversation that has more than messages of one text each: a JSON object of
    /// the template's variables. `messages` are as OpenAI's interface has them, with tool calls,
    /// parts or what else the template knows; `tools`, `documents`, `add_generation_prompt` and
    /// others stand beside them.
    ///
    /// ```
    /// use rillm::chat::ChatTemplate;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let source = "{% for tool in tools %}{{ tool | tojson }}{% endfor %}{{ messages[0].content }}";
    /// let template = ChatTemplate::new(source, &[("bos_token", "<s>")])?;
    /// let text = template.render_json(
    ///     r#"{"messages": [{"role": "user", "content": "Hi"}], "tools": [{"name": "now"}]}"#,
    /// )?;
    /// assert_eq!(text, "{\"name\": \"now\"}Hi");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`ChatTemplate::render`], or if it is no such object.
    pub fn render_json(&self, variables: &str) -> Result<String, ChatError> {
        let input = Conversation::Json(variables);
        Ok(template::render(
            &self.source,
            &self.special_tokens,
            &input,
        )?)
    }
}

/// Characters of an error, which may have a template's words in it.
const LONGEST_ERROR: usize = 1000;

impl From<Halt> for ChatError {
    fn from(halt: Halt) -> ChatError {
        // An error is one line, whatever a template says.
        let line = halt.what.lines().next().unwrap_or_default();
        let what = line.chars().take(LONGEST_ERROR).collect();
        match halt.refused {
            true => ChatError::Refused(what),
            false => ChatError::Template(what),
        }
    }
}
