//! `rillm chat`: a conversation in a terminal.

mod commands;
mod input;
mod reply;
mod template;

use super::generation::{Writing, keep_shared};
use super::input::{LONGEST, file_bytes, file_text, without_last_newline, without_mark};
use super::interrupt::Interrupt;
use super::memory::MemoryArguments;
use super::progress::Progress;
use super::run::check_tokens;
use super::sampling::SampleArguments;
use super::terminal::say;
use super::{
    BatchArguments, CliError, EndlessArguments, KvCacheArguments, ModelArguments,
    PrecisionArguments, TextArguments, context, output, warn,
};
use clap::Args;
use commands::{HELP, Said, said};
use input::{Input, Turn};
use reply::ShownReply;
use rillm::chat::{ChatError, Message};
use rillm::formats::tokenizer::{Position, Tokenizer};
use rillm::generate::{GenerateOptions, GenerationConfig, Stop};
use rillm::sample::Sampler;
use rillm::{Model, RunError, Session, SessionOptions};
use serde_json::{Value, json};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use template::Template;

#[derive(Args, Debug)]
#[command(mut_arg("words", |words| words.help(
    "What is said first, before what is typed or piped in"
)))]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    kv_type: KvCacheArguments,
    #[command(flatten)]
    precision: PrecisionArguments,
    #[command(flatten)]
    batch: BatchArguments,
    #[command(flatten)]
    endless: EndlessArguments,
    #[command(flatten)]
    text: TextArguments,
    /// End after one reply
    #[arg(long)]
    single_turn: bool,
    /// Do not keep what is typed for the next conversation
    #[arg(long)]
    no_history: bool,
    /// What the model is told before the conversation
    #[arg(
        long,
        visible_alias = "system-prompt",
        alias = "sys",
        value_name = "TEXT",
        allow_hyphen_values = true
    )]
    system: Option<String>,
    /// The same in a file
    #[arg(
        long,
        alias = "system-prompt-file",
        value_name = "FILE",
        conflicts_with = "system"
    )]
    system_file: Option<PathBuf>,
    /// A file with a template, or the name of one: chatml, llama2, llama3, mistral, gemma, phi3,
    /// zephyr, vicuna, alpaca, plain [default: the model's own]
    #[arg(long, value_name = "NAME|FILE")]
    chat_template: Option<String>,
    /// Have the model think before it answers, if its template knows how
    #[arg(long, conflicts_with = "no_think")]
    think: bool,
    /// Have it answer at once
    #[arg(long)]
    no_think: bool,
    /// Variables of the template's own, as a JSON object
    #[arg(long, value_name = "JSON")]
    chat_template_kwargs: Option<String>,
    /// Positions to reserve; 0 for all that the model has [default: the model's, at most 4096]
    #[arg(short, long, value_name = "N")]
    ctx_size: Option<usize>,
    /// Most tokens of a reply; -1 goes on until the model ends it
    #[arg(short = 'n', long, alias = "n-predict", value_name = "N", default_value_t = -1, allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-2..))]
    predict: i64,
    /// End a reply where the model writes this text; may be given several times
    #[arg(
        short = 'r',
        long = "reverse-prompt",
        visible_alias = "stop",
        value_name = "TEXT",
        allow_hyphen_values = true
    )]
    stop: Vec<String>,
    #[command(flatten)]
    memory: MemoryArguments,
    #[command(flatten)]
    sample: SampleArguments,
}

/// Places of a conversation from which one that goes on otherwise can be read on, where states
/// cannot be cut: two of each turn.
const CHECKPOINTS: usize = 4;

/// Bytes that are read of a conversation.
const LONGEST_TALK: u64 = 64 << 20;

impl From<ChatError> for CliError {
    fn from(error: ChatError) -> CliError {
        CliError::Usage(error.to_string())
    }
}

pub fn chat(arguments: &Arguments) -> Result<(), CliError> {
    let first = match (
        arguments.text.given(&arguments.model)?,
        arguments.text.file(),
    ) {
        (None, Some(path)) => Some(without_last_newline(file_text(path, LONGEST)?)),
        (given, _) => given,
    };
    let model = arguments.model.open_at(arguments.precision)?;
    let talk = Chat::new(arguments, &model).and_then(|mut chat| chat.talk(first));
    talk.map_err(|error| arguments.model.blame(error))
}

struct Chat<'a> {
    arguments: &'a Arguments,
    tokenizer: &'a Tokenizer,
    template: Template,
    session: Session,
    sampler: Sampler,
    /// What the model's files say of tokens' scores.
    rules: Option<GenerationConfig>,
    /// Tokens that a conversation may have: what has no KV cache is bounded by no context, but
    /// positions that were learned bound all.
    bound: usize,
    /// Said after advice to begin anew, where more context would be more room.
    more: &'static str,
    /// Tokens of the conversation before its first reply.
    begun: usize,
    messages: Vec<Message>,
    /// What the session holds.
    held: Vec<u32>,
    /// Whether people are at both ends.
    terminal: bool,
    interrupt: Interrupt,
}

impl<'a> Chat<'a> {
    fn new(arguments: &'a Arguments, model: &'a Model) -> Result<Chat<'a>, CliError> {
        if !model.decodes() || model.encodes() {
            let what = match model.decodes() {
                true => "does not talk: rillm run answers a text",
                false => "does not talk: rillm eval shows what it makes of a text",
            };
            return Err(RunError::Input(format!("{} {what}", model.title())).into());
        }
        // First of all: the thread that waits takes addresses when it begins, which a template that is
        // rendered meanwhile may have counted upon.
        let interrupt = Interrupt::default();
        interrupt.watch();
        let tokenizer = model.tokenizer()?;
        let template = Template::choose(arguments, model, tokenizer)?;
        let context = context(arguments.ctx_size, model);
        let options = SessionOptions::new()
            .checkpoints(CHECKPOINTS)
            .context(context)
            .batch(arguments.batch.rows().min(context))
            .kv_type(arguments.kv_type.kv_type()?);
        let session = arguments.memory.session(model, options)?;
        let learned = usize::try_from(model.limits().positions).unwrap_or(usize::MAX);
        let bound = match model.has_kv_cache() {
            true => learned.min(context),
            false => learned,
        };
        let more = match bound < learned {
            true => ", -c makes more room",
            false => "",
        };
        let options = arguments.sample.options(model, tokenizer)?;
        let sampler = Sampler::new(options, tokenizer.vocabulary_len(), context);
        let mut chat = Chat {
            arguments,
            tokenizer,
            template,
            session,
            sampler,
            rules: GenerationConfig::of(model)?.rules(),
            bound,
            more,
            begun: 0,
            messages: Vec::new(),
            held: Vec::new(),
            terminal: io::stdin().is_terminal() && io::stdout().is_terminal(),
            interrupt,
        };
        chat.restart(system(arguments)?);
        Ok(chat)
    }

    fn restart(&mut self, system: Option<String>) {
        let system = system.filter(|system| !system.is_empty());
        self.begun = 0;
        self.messages = system
            .map(|text| Message::new("system", text))
            .into_iter()
            .collect();
    }

    /// Turn after turn, until the input ends; the first of them may be given.
    fn talk(&mut self, mut first: Option<String>) -> Result<(), CliError> {
        // Whoever gives a text and sends the reply elsewhere is not about to type.
        let alone = first.is_some() && io::stdin().is_terminal() && !self.terminal;
        let once = self.arguments.single_turn || alone;
        if self.terminal && !once {
            say("/help lists commands, Ctrl-C stops a reply, Ctrl-D ends");
        }
        let mut input = Input::new(self.terminal, !self.arguments.no_history);
        let (mut answered, mut refused, mut left_out, mut read) = (false, false, false, false);
        while !(once && (answered || refused)) {
            let given = first.take();
            let typed = given.is_none();
            let line = match given.map_or_else(|| input.turn(), |line| Ok(Turn::Text(line)))? {
                Turn::Text(line) => {
                    read |= typed;
                    line
                }
                Turn::Refused(what) => {
                    (left_out, read) = (true, true);
                    warn(&what);
                    continue;
                }
                Turn::End => break,
            };
            match said(&line) {
                Said::Command(name, rest) if typed => match self.command(name, rest) {
                    Ok(true) => continue,
                    Ok(false) => break,
                    Err(error) => {
                        warn(&error.to_string());
                        continue;
                    }
                },
                Said::Unknown(name) if typed => {
                    warn(&format!(
                        "{name}: no such command, /help lists them; with a space before it, it is said"
                    ));
                    continue;
                }
                // Nobody types white space to say it.
                _ if line.is_empty() || typed && line.trim().is_empty() => continue,
                _ => {}
            }
            self.messages.push(Message::new("user", line));
            self.interrupt.begin();
            let reply = self.reply();
            self.interrupt.end();
            match reply {
                Ok(reply) => {
                    answered = true;
                    self.messages.push(reply);
                }
                Err(error @ CliError::Output(_)) => return Err(error),
                Err(CliError::Run(RunError::Aborted)) => {
                    refused = true;
                    self.messages.pop();
                    say("stopped before the reply began: what was said last is taken back");
                }
                // It was all that there was to say.
                Err(error) if once && !typed => return Err(error),
                Err(error) => {
                    refused = true;
                    self.messages.pop();
                    warn(&error.to_string());
                }
            }
        }
        // A script is to know; people have seen it.
        if (refused || left_out) && !answered && !self.terminal {
            let what = "no turn got a reply".to_string();
            return Err(match read {
                true => CliError::File(PathBuf::from("standard input"), what),
                false => RunError::Aborted.into(),
            });
        }
        Ok(())
    }

    /// Does what a command says; false to end.
    fn command(&mut self, name: &str, rest: &str) -> Result<bool, CliError> {
        match (name, rest) {
            ("/exit" | "/quit" | "/bye", _) => return Ok(false),
            ("/help" | "/?", _) => HELP.lines().for_each(say),
            ("/reset" | "/clear" | "/new", _) => self.restart(system(self.arguments)?),
            ("/system", text) => self.restart(Some(text.to_string())),
            ("/undo", _) => {
                let last = self
                    .messages
                    .iter()
                    .rposition(|message| message.role == "user");
                self.messages.truncate(last.unwrap_or(self.messages.len()));
            }
            ("/save", path) if !path.is_empty() => self.save(Path::new(path))?,
            ("/load", path) if !path.is_empty() => self.load(Path::new(path))?,
            ("/set" | "/show", _) => {
                let what = format!(
                    "{name}: options are given when a conversation begins (rillm chat --help), \
                     /system TEXT says what the model is told, and rillm inspect MODEL shows it"
                );
                return Err(CliError::Usage(what));
            }
            _ => return Err(CliError::Usage(format!("{name}: give the path of a FILE"))),
        }
        Ok(true)
    }

    fn save(&self, path: &Path) -> Result<(), CliError> {
        let messages = self.messages.iter();
        let entry = |message: &Message| match &message.thinking {
            Some(thinking) => json!({
                "role": message.role, "content": message.content, "reasoning_content": thinking,
            }),
            None => json!({ "role": message.role, "content": message.content }),
        };
        let messages: Value = messages.map(entry).collect();
        output::replace(path, |file| writeln!(file, "{messages:#}"))
    }

    fn load(&mut self, path: &Path) -> Result<(), CliError> {
        let wrong = |what: String| CliError::File(path.to_path_buf(), what);
        let bytes = without_mark(file_bytes(path, LONGEST_TALK)?);
        let list: Vec<Value> = serde_json::from_slice(&bytes)
            .map_err(|error| wrong(format!("expected a JSON list of messages: {error}")))?;
        let message = |entry: &Value| {
            let text = |key: &str| entry[key].as_str().map(str::to_string);
            let message = Message::new(&text("role")?, text("content")?);
            Some(message.thinking(text("reasoning_content").unwrap_or_default()))
        };
        let messages: Option<Vec<Message>> = list.iter().map(message).collect();
        let expected = "expected messages with \"role\" and \"content\"";
        self.messages = messages.ok_or_else(|| wrong(expected.to_string()))?;
        self.begun = 0;
        Ok(())
    }

    /// Writes the model's next turn as it comes, and returns it.
    fn reply(&mut self) -> Result<Message, CliError> {
        let reply = self.write_reply();
        if reply.is_err() {
            // A recurrent state that was left in the middle of a text is of no use.
            let kept = self.session.rewind_within(0, self.held.len())?;
            self.held.truncate(kept);
        }
        reply
    }

    fn write_reply(&mut self) -> Result<Message, CliError> {
        let ids = self.conversation()?;
        if self.begun == 0 {
            self.begun = ids.len();
        }
        let stays = self.stays(&ids);
        self.advance(&ids, stays)?;
        let reader = self.template.reader(&self.messages)?;
        let mut writing = Writing::new(self.tokenizer, Position::Continued, &self.arguments.stop)
            .showing(self.tokenizer, &reader.marks());
        let mut reply = ShownReply::new(reader);
        let held = &mut self.held;
        let done = writing.generate(
            &mut self.session,
            &ids[ids.len() - 1..],
            GenerateOptions::default()
                .end_tokens(self.tokenizer.end_tokens())
                .max_tokens(usize::try_from(self.arguments.predict).ok())
                .config(self.rules.as_ref())
                .held(&ids[..ids.len() - 1])
                .endless(self.arguments.endless.keep(self.begun)),
            &mut self.sampler,
            &self.interrupt,
            |written| {
                held.push(written.token);
                reply.push(written.text)
            },
        );
        // The last token that was chosen was not fed.
        let fed = self.session.len(0)?;
        self.held.truncate(fed);
        let done = done?;
        if done.discarded > 0 {
            // What is left is no beginning of any conversation.
            self.session.reset(0)?;
            self.held.clear();
        }
        let reply = reply.finish(&writing.finish())?;
        if done.stop == Stop::Context {
            warn(&format!(
                "the context is full: /reset begins a new conversation{}; begun with --endless, one forgets its oldest",
                self.more
            ));
        }
        Ok(reply)
    }

    /// The same error, with the way out where only what the model is told at first is in the way.
    fn without_system(&self, error: CliError) -> CliError {
        let rest = match self.messages.split_first() {
            Some((first, rest)) if first.role == "system" => rest,
            _ => return error,
        };
        match self.template.encode(rest, self.tokenizer) {
            Ok(_) => CliError::Usage(format!(
                "{error}: without --system (or after /system alone) it goes"
            )),
            Err(_) => error,
        }
    }

    /// The tokens of what was said, up to the reply; of an endless one, without the oldest
    /// messages where they do not fit.
    fn conversation(&mut self) -> Result<Vec<u32>, CliError> {
        loop {
            let ids = self.template.encode(&self.messages, self.tokenizer);
            let ids = ids.map_err(|error| self.without_system(error))?;
            if ids.is_empty() {
                let what = "the chat template makes no text of the conversation, --chat-template \
                            names another";
                return Err(CliError::Usage(what.to_string()));
            }
            check_tokens(self.session.model(), self.tokenizer, &ids)?;
            let room = match self.arguments.endless.keep(0) {
                Some(_) => self.bound - self.bound / 8,
                None => self.bound,
            };
            if ids.len() < room {
                return Ok(ids);
            }
            // A question goes with its answer; a system message stays, as does the last word.
            let first = usize::from(
                self.messages
                    .first()
                    .is_some_and(|first| first.role == "system"),
            );
            if self.arguments.endless.keep(0).is_some() && self.messages.len() > first + 2 {
                self.messages.drain(first..first + 2);
                continue;
            }
            let what = format!(
                "the conversation has {} tokens, the context {}: /reset begins a new one{}",
                ids.len(),
                self.bound,
                self.more
            );
            return Err(CliError::Usage(what));
        }
    }

    /// How many of the conversation's first tokens stay when it goes on: templates write a turn that
    /// is over otherwise than one that is to begin.
    fn stays(&self, ids: &[u32]) -> usize {
        let shared = |reply: &str| {
            let mut messages = self.messages.clone();
            messages.push(Message::new("assistant", reply));
            messages.push(Message::new("user", "a"));
            let later = self.template.encode(&messages, self.tokenizer);
            let later = later.unwrap_or_default();
            let pairs = ids.iter().zip(&later);
            pairs.take_while(|(now, later)| now == later).count()
        };
        // What a reply begins with may become one token with what is before it.
        let least = shared("a").min(shared("\n"));
        least.min(ids.len() - 1)
    }

    /// Brings the session to the last token but one of `ids`: what it holds already is not
    /// computed again. A checkpoint is kept where the first `stays` end, and where the turn begins.
    fn advance(&mut self, ids: &[u32], stays: usize) -> Result<(), CliError> {
        let wanted = &ids[..ids.len() - 1];
        let shared = keep_shared(&mut self.session, &self.held, wanted)?;
        self.held.truncate(shared);
        // Templates may drop or rewrite what was said before: penalties look at what is there.
        self.sampler.forget();
        for &id in wanted {
            self.sampler.accept(id);
        }
        let new = &wanted[shared..];
        let _bar = Progress::watch(
            self.session.progress(),
            new.len() as u64,
            "prompt",
            "tokens",
        );
        let flag = self.session.abort_flag();
        let session = &mut self.session;
        // What can be cut anywhere is read at once.
        let stays = match session.can_rewind() {
            true => 0,
            false => stays.saturating_sub(shared).min(new.len()),
        };
        let (first, rest) = new.split_at(stays);
        let fed = (self.interrupt).raising(&flag, || {
            for part in [first, rest].into_iter().filter(|part| !part.is_empty()) {
                session.prefill(0, part)?;
                session.checkpoint_newest(0)?;
            }
            Ok::<(), RunError>(())
        });
        let len = self.session.len(0)?;
        self.held
            .extend_from_slice(&ids[shared..len.clamp(shared, ids.len() - 1)]);
        fed?;
        // The last one is fed together with the choice of the first token of the reply.
        self.held.push(ids[ids.len() - 1]);
        Ok(())
    }
}

/// What the model is told first.
fn system(arguments: &Arguments) -> Result<Option<String>, CliError> {
    match &arguments.system_file {
        Some(path) => file_text(path, LONGEST).map(without_last_newline).map(Some),
        None => Ok(arguments.system.clone()),
    }
}
