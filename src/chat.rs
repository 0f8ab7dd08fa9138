//! Conversations as the text a model was trained on: its chat template, which is a Jinja
//! program that comes with its files.
//!
//! ```
//! use rillm::chat::{ChatTemplate, Message};
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
//! let template = ChatTemplate::new(source, "<s>", "</s>")?;
//!
//! let mut messages = vec![Message::new("user", "Tell me of a dog and a ball.")];
//! let text = template.render(&messages, true)?;
//! // The template writes control tokens by their names.
//! let prompt = tokenizer.encode(&text, EncodeOptions::default().add_special(true).parse_special(true))?;
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

use crate::model::Model;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use rillm_formats::manifest::Container;
use std::fmt;

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user`, `assistant`, or what else a template knows.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl Message {
    /// Somebody said something.
    pub fn new(role: &str, content: impl Into<String>) -> Message {
        Message {
            role: role.to_string(),
            content: content.into(),
        }
    }
}

/// A chat template, ready to be used.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

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

/// Templates by name, for models that come without one.
pub const NAMED: &[(&str, &str)] = &[
    (
        "chatml",
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
         {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    ),
    (
        "llama3",
        "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n\
         {{ m.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}\
         <|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
    ),
    (
        "llama2",
        "{% set ns = namespace(system='') %}{% for m in messages %}{% if m.role == 'system' %}\
         {% set ns.system = '<<SYS>>\n' ~ m.content ~ '\n<</SYS>>\n\n' %}{% elif m.role == 'user' %}\
         {{ bos_token }}[INST] {{ ns.system }}{{ m.content }} [/INST]{% set ns.system = '' %}\
         {% else %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}",
    ),
    (
        "mistral",
        "{{ bos_token }}{% set ns = namespace(system='') %}{% for m in messages %}\
         {% if m.role == 'system' %}{% set ns.system = m.content ~ '\n\n' %}\
         {% elif m.role == 'user' %}[INST] {{ ns.system }}{{ m.content }} [/INST]\
         {% set ns.system = '' %}{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}",
    ),
    (
        "gemma",
        "{{ bos_token }}{% set ns = namespace(system='') %}{% for m in messages %}\
         {% if m.role == 'system' %}{% set ns.system = m.content ~ '\n\n' %}{% else %}\
         <start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ ns.system }}\
         {{ m.content | trim }}<end_of_turn>\n{% set ns.system = '' %}{% endif %}{% endfor %}\
         {% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
    ),
    (
        "phi3",
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}\
         {% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    ),
    (
        "zephyr",
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{{ eos_token }}\n{% endfor %}\
         {% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    ),
    (
        "vicuna",
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}\n\n\
         {% elif m.role == 'user' %}USER: {{ m.content }}\n{% else %}ASSISTANT: {{ m.content }}\
         {{ eos_token }}\n{% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}",
    ),
    (
        "alpaca",
        "{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}\n\n\
         {% elif m.role == 'user' %}### Instruction:\n{{ m.content }}\n\n{% else %}### Response:\n\
         {{ m.content }}\n\n{% endif %}{% endfor %}{% if add_generation_prompt %}### Response:\n\
         {% endif %}",
    ),
    (
        "plain",
        "{{ bos_token }}{% for m in messages %}{% if m.role != 'assistant' %}{{ m.content }}\n\
         {% else %}{{ m.content }}\n{% endif %}{% endfor %}",
    ),
];

const NAME: &str = "chat";

impl ChatTemplate {
    /// Reads a template; `bos` and `eos` are the texts of the tokens that begin and end a text.
    ///
    /// # Errors
    /// If it is no Jinja program.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<ChatTemplate, ChatError> {
        let mut environment = Environment::new();
        // As Hugging Face's users know it.
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        let syntax = syntax.build();
        environment.set_syntax(syntax.map_err(|error| ChatError::Template(one_line(&error)))?);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |what: String| -> Result<Value, Error> {
            Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("{REFUSED}{what}"),
            ))
        });
        environment.add_function("strftime_now", |format: String| {
            let now = chrono::Local::now();
            // A format that chrono does not know would panic while it is written.
            let items = chrono::format::StrftimeItems::new(&format);
            match items.parse() {
                Ok(items) => Ok(now.format_with_items(items.iter()).to_string()),
                Err(_) => Err(Error::new(
                    ErrorKind::InvalidOperation,
                    format!("{format:?} is no format of a date"),
                )),
            }
        });
        environment.set_fuel(Some(FUEL));
        environment
            .add_template_owned(NAME, source.to_string())
            .map_err(|error| ChatError::Template(one_line(&error)))?;
        Ok(ChatTemplate {
            environment,
            bos: bos.to_string(),
            eos: eos.to_string(),
        })
    }

    /// The template of this name, of [`NAMED`].
    pub fn named(name: &str) -> Option<&'static str> {
        let found = NAMED.iter().find(|(known, _)| *known == name);
        found.map(|(_, source)| *source)
    }

    /// The template that came with a model, as far as its files have one.
    pub fn of(model: &Model) -> Option<String> {
        if model.manifest().container == Container::Gguf {
            let found = model.manifest().metadata.str("tokenizer.chat_template");
            return found.map(str::to_string);
        }
        model.tokenizer_files().chat_template()
    }

    /// The text of a conversation; with `reply`, up to where the model's next turn begins.
    ///
    /// # Errors
    /// What the template says against it, or what is wrong with the template.
    pub fn render(&self, messages: &[Message], reply: bool) -> Result<String, ChatError> {
        let failed = |error: Error| {
            let what = one_line(&error);
            match what.split_once(REFUSED) {
                Some((_, why)) => ChatError::Refused(why.to_string()),
                None => ChatError::Template(what),
            }
        };
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| {
                context! { role => message.role.as_str(), content => message.content.as_str() }
            })
            .collect();
        let template = self.environment.get_template(NAME).map_err(failed)?;
        let text = template.render(context! {
            messages,
            add_generation_prompt => reply,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
        });
        text.map_err(failed)
    }
}

/// Stands before what a template says with `raise_exception`.
const REFUSED: &str = "refused: ";

/// Steps a template may take: a hostile one must end as well.
const FUEL: u64 = 5_000_000;

fn one_line(error: &Error) -> String {
    let text = error.to_string();
    let detail = error.detail().map_or(text.as_str(), |detail| detail);
    let line = error
        .line()
        .map_or(String::new(), |line| format!("line {line}: "));
    format!("{line}{}", detail.lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk() -> Vec<Message> {
        vec![
            Message::new("system", "Be brief."),
            Message::new("user", "Hi"),
            Message::new("assistant", "Hello!"),
            Message::new("user", "Who are you?"),
        ]
    }

    fn rendered(source: &str, messages: &[Message]) -> Result<String, ChatError> {
        ChatTemplate::new(source, "<s>", "</s>")?.render(messages, true)
    }

    #[test]
    fn named_templates_write_what_their_models_know() {
        let of = |name: &str| {
            let source = ChatTemplate::named(name).expect("a template");
            rendered(source, &talk()).expect("a text")
        };
        assert_eq!(
            of("chatml"),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n\
             <|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nWho are you?<|im_end|>\n\
             <|im_start|>assistant\n"
        );
        assert_eq!(
            of("llama2"),
            "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello! </s><s>[INST] Who are \
             you? [/INST]"
        );
        assert_eq!(
            of("gemma"),
            "<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello!\
             <end_of_turn>\n<start_of_turn>user\nWho are you?<end_of_turn>\n<start_of_turn>model\n"
        );
        for (name, _) in NAMED {
            assert!(of(name).contains("Who are you?"), "{name}");
        }
    }

    #[test]
    fn what_templates_of_published_models_use_works() {
        let source = "{%- if not date_string is defined %}\n    {%- set date_string = \
            strftime_now('%d %b %Y') %}\n{%- endif %}\n{%- if messages[0]['role'] == 'system' %}\n\
            {%- set system = messages[0]['content'] | trim %}\n{%- set messages = messages[1:] %}\n\
            {%- else %}{%- set system = '' %}{%- endif %}\n\
            {{- bos_token + system.strip().upper() }}\n\
            {%- for message in messages %}\n\
            {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\n\
            {{- raise_exception('roles must alternate') }}\n{%- endif %}\n\
            {{- '|' ~ message.role ~ ':' ~ message['content'].split(' ')[-1] | tojson }}\n\
            {%- endfor %}\n{%- if add_generation_prompt and not tools %}\n{{- '|reply' }}\n\
            {%- endif %}";
        assert_eq!(
            rendered(source, &talk()).expect("a text"),
            "<s>BE BRIEF.|user:\"Hi\"|assistant:\"Hello!\"|user:\"you?\"|reply"
        );
        let wrong = [Message::new("user", "a"), Message::new("user", "b")];
        let error = rendered(source, &wrong).expect_err("not alternating");
        assert!(
            matches!(&error, ChatError::Refused(why) if why == "roles must alternate"),
            "{error}"
        );
    }

    #[test]
    fn a_bad_template_is_an_error_of_one_line() {
        for source in [
            "{% if %}",
            "{{ nothing.at.all }}",
            "{{ strftime_now('%!') }}",
            "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
            "{{ messages | nosuchfilter }}",
        ] {
            let error = rendered(source, &talk()).expect_err(source).to_string();
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
