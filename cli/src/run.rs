//! `rillm run`, and `rillm` alone.

mod beams;
mod writer;

use super::generation::Writing;
use super::interrupt::Interrupt;
use super::line::Line;
use super::memory::{self, MemoryArguments};
use super::profile::{ProfileArguments, Profiles};
use super::progress::{Progress, shares_the_screen};
use super::prompt_cache;
use super::sampling::SampleArguments;
use super::terminal::say;
use super::writing::RuleArguments;
use super::{
    BatchArguments, CliError, EndlessArguments, KvCacheArguments, ModelArguments,
    PrecisionArguments, TextArguments, context, threads, warn,
};
use clap::Args;
use rillm::chat::ChatTemplate;
use rillm::formats::tokenizer::{EncodeOptions, Position, Tokenizer};
use rillm::generate::{GenerateOptions, Generated, Stop, beam_sequences};
use rillm::sample::{SampleOptions, Sampler};
use rillm::{KvType, Model, RunError, SessionOptions};
use serde_json::json;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;
use writer::{Whole, Writer};

#[derive(Args, Debug)]
#[command(mut_arg("words", |words| words.help("The text to continue")))]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    kv_type: KvCacheArguments,
    #[command(flatten)]
    precision: PrecisionArguments,
    #[command(flatten)]
    text: TextArguments,
    /// Most tokens to write; -1 and -2 go on until the model ends the text or the context is full,
    /// which that of recurrent models never is [default: -1, of recurrent models as many as their
    /// context]
    #[arg(short = 'n', long, alias = "n-predict", value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-2..))]
    predict: Option<i64>,
    /// End where the model writes this text, which is left out; may be given several times
    #[arg(
        short = 'r',
        long = "reverse-prompt",
        visible_alias = "stop",
        value_name = "TEXT",
        allow_hyphen_values = true
    )]
    stop: Vec<String>,
    /// Read \n, \t, \\, \" and \' in PROMPT and stop texts as they are, not as the characters that
    /// they stand for
    #[arg(long, overrides_with = "escape")]
    no_escape: bool,
    /// The opposite, which is the default
    #[arg(short, long, hide = true)]
    escape: bool,
    /// Positions to reserve; 0 for all that the model has [default: the model's, at most 4096]
    #[arg(short, long, value_name = "N")]
    ctx_size: Option<usize>,
    /// Let the names of control tokens in the prompt become those tokens
    #[arg(long)]
    special: bool,
    /// Keep the KV cache and recurrent state after the prompt in this file, and begin from it next
    /// time: only what the new prompt does not share with the old one is computed
    #[arg(long, value_name = "FILE", conflicts_with = "endless")]
    prompt_cache: Option<PathBuf>,
    /// Use the prompt cache, but leave its file as it is
    #[arg(long, requires = "prompt_cache")]
    prompt_cache_ro: bool,
    #[command(flatten)]
    batch: BatchArguments,
    #[command(flatten)]
    endless: EndlessArguments,
    /// Write only what the model adds
    #[arg(long)]
    no_display_prompt: bool,
    /// Write a line of JSON for each token, and one for the whole at the end; its text is null if
    /// that is longer than 1 MiB: then the tokens' texts are the text
    #[arg(long)]
    json: bool,
    /// With --json: the N most likely tokens at each place, with the logarithms of their
    /// probabilities
    #[arg(long, value_name = "N", requires = "json", value_parser = clap::value_parser!(u16).range(..=1000))]
    logprobs: Option<u16>,
    #[command(flatten)]
    memory: MemoryArguments,
    #[command(flatten)]
    profile: ProfileArguments,
    #[command(flatten)]
    sample: SampleArguments,
    #[command(flatten)]
    rules: RuleArguments,
}

pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    let escaped = |text: &str| match arguments.no_escape {
        true => text.to_string(),
        false => unescaped(text),
    };
    let prompt = match arguments.text.given(&arguments.model)? {
        Some(prompt) => escaped(&prompt),
        None => {
            let file = arguments.text.file();
            super::text(None, file, "prompt", TextArguments::WAYS)?
        }
    };
    arguments.profile.check()?;
    let model = arguments.model.open_at(arguments.precision)?;
    let job = Job {
        prompt: &prompt,
        special: arguments.special,
        talks: ChatTemplate::of(&model).is_some() && !arguments.special,
        echo: !arguments.no_display_prompt && !arguments.json,
        limit: match arguments.predict {
            Some(most) => Limit::Asked(usize::try_from(most).ok()),
            // Whoever asks for no end gets none.
            None if arguments.endless.endless => Limit::Asked(None),
            None => Limit::Usual,
        },
        context: arguments.ctx_size,
        kv_type: arguments.kv_type.kv_type()?,
        endless: arguments.endless,
        batch: arguments.batch.rows(),
        stop: arguments.stop.iter().map(|stop| escaped(stop)).collect(),
        json: arguments.json,
        logprobs: arguments.logprobs.map(usize::from),
        cache: arguments.prompt_cache.as_deref(),
        keep_cache: arguments.prompt_cache_ro,
        memory: arguments.memory,
        profile: Some(&arguments.profile),
        rules: Some(&arguments.rules),
        sample: Some(&arguments.sample),
    };
    let choice = |tokenizer: &Tokenizer| arguments.sample.options(&model, tokenizer);
    job.run(&model, choice)
        .map_err(|error| arguments.model.blame(error))
}

/// C's escapes for what is hard to type.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some(known @ ('\\' | '"' | '\'')) => out.push(known),
            other => {
                out.push('\\');
                out.extend(other);
            }
        }
    }
    out
}

/// `rillm` alone: the embedded model tells a story.
#[cfg(feature = "demo")]
pub fn demo() -> Result<(), CliError> {
    let options = super::ThreadArguments::default().model_options()?;
    let model = super::demo::Demo::Llama.open(options)?;
    let job = Job {
        prompt: "One day, Lily found a tiny bean seed",
        special: false,
        talks: false,
        echo: true,
        limit: Limit::Usual,
        context: None,
        kv_type: KvType::F16,
        endless: EndlessArguments {
            endless: false,
            keep: 0,
        },
        batch: SessionOptions::default().batch,
        stop: Vec::new(),
        json: false,
        logprobs: None,
        cache: None,
        keep_cache: false,
        memory: MemoryArguments::UNBOUNDED,
        profile: None,
        rules: None,
        sample: None,
    };
    let choice = |_: &Tokenizer| {
        Ok(SampleOptions::default()
            .temperature(0.6)
            .seed(fastrand::u64(..)))
    };
    job.run(&model, choice)
}

#[cfg(not(feature = "demo"))]
pub fn demo() -> Result<(), CliError> {
    let what = "built without the demonstration model, try: rillm run MODEL -p TEXT (see --help)";
    Err(CliError::Usage(what.to_string()))
}

/// Most tokens to write.
#[derive(Clone, Copy)]
enum Limit {
    /// None, or a number.
    Asked(Option<usize>),
    /// Where no context ends a text, as many as one would have.
    Usual,
}

/// One text to continue.
struct Job<'a> {
    prompt: &'a str,
    special: bool,
    /// Whether the model was made to talk, and what is said looks as if that was not known.
    talks: bool,
    echo: bool,
    limit: Limit,
    context: Option<usize>,
    kv_type: KvType,
    endless: EndlessArguments,
    batch: usize,
    stop: Vec<String>,
    json: bool,
    logprobs: Option<usize>,
    cache: Option<&'a Path>,
    keep_cache: bool,
    memory: MemoryArguments,
    profile: Option<&'a ProfileArguments>,
    rules: Option<&'a RuleArguments>,
    sample: Option<&'a SampleArguments>,
}

/// Bytes of a prompt that are cut into tokens, of however few: what a vocabulary lacks may become one,
/// and a normalizer may leave out the most.
const ALWAYS_CUT: usize = 1 << 20;

impl Job<'_> {
    fn run(
        &self,
        model: &Model,
        choice: impl Fn(&Tokenizer) -> Result<SampleOptions, CliError>,
    ) -> Result<(), CliError> {
        if !model.decodes() {
            let title = model.title();
            let what = format!(
                "{title} encodes texts, it neither writes them nor fills masks in: rillm tokenize \
                 gives a text's ids, rillm eval what the model makes of them"
            );
            return Err(RunError::Input(what).into());
        }
        let tokenizer = model.tokenizer()?;
        let options = EncodeOptions::default()
            .add_special(true)
            .parse_special(self.special);
        let context = context(self.context, model);
        let is_bounded = model.has_kv_cache();
        // Cutting a text into tokens takes many times its length of memory.
        let holds = context.saturating_mul(tokenizer.longest_token());
        if is_bounded && self.prompt.len() > holds.max(ALWAYS_CUT) {
            let what = format!(
                "prompt has {} bytes, which {context} tokens, the context, cannot stand for: raise it \
                 with -c",
                self.prompt.len()
            );
            return Err(RunError::Input(what).into());
        }
        let ids = tokenizer.encode(self.prompt, options)?;
        warn_of_others_tokens(model, tokenizer);
        check_tokens(model, tokenizer, &ids)?;
        if ids.is_empty() {
            return Err(CliError::Usage(
                "prompt is empty, give some text".to_string(),
            ));
        }
        if is_bounded && ids.len() > context {
            let what = format!(
                "prompt has {} tokens, the context {context}: raise it with -c",
                ids.len()
            );
            return Err(RunError::Input(what).into());
        }
        let most = SessionOptions::MOST;
        if ids.len() > most && model.encodes() {
            let what = format!(
                "prompt has {} tokens, at most {most} are encoded",
                ids.len()
            );
            return Err(RunError::Input(what).into());
        }
        // Of a bounded memory, positions that nothing reaches would take what weights could have. A prompt
        // that is kept may be longer.
        let context = match (self.limit, self.context, &self.cache) {
            (Limit::Asked(Some(most)), None, None) if self.memory.is_bounded() => {
                context.min(ids.len().saturating_add(most))
            }
            _ => context,
        };
        let config = self.config(model)?;
        let beams = config.as_ref().map_or(1, |config| config.num_beams);
        let options = SessionOptions::new()
            .context(context)
            .sequences(if beams > 1 { beam_sequences(beams) } else { 1 })
            .batch(self.batch.min(ids.len()))
            .source(ids.len().min(most))
            .checkpoints(0)
            .kv_type(self.kv_type);
        let mut session = self.memory.session(model, options)?;
        if let Some(config) = config.as_ref().filter(|_| beams > 1) {
            self.check_beams()?;
            return self.search(&mut session, tokenizer, &ids, config.clone());
        }
        let mut sampler = Sampler::new(choice(tokenizer)?, tokenizer.vocabulary_len(), context);

        let translates = model.encodes();
        if self.cache.is_some() && translates {
            let what = "--prompt-cache is for models that continue a text, this one encodes it";
            return Err(CliError::Usage(what.to_string()));
        }
        if self.talks {
            say(
                "rillm: this model was made to talk: rillm chat answers, run only continues the text",
            );
        }
        let mut out = Line::stdout();
        let mut echo = (self.echo && !translates).then_some(self.prompt);
        // Where a bar is to stand no text can: it is shown together with what follows.
        if !shares_the_screen() {
            say_prompt(&mut out, &mut echo)?;
        }
        let limit = match self.limit {
            Limit::Asked(limit) => limit,
            Limit::Usual if model.has_kv_cache() => None,
            Limit::Usual => Some(context),
        };
        let position = if translates {
            Position::Start
        } else {
            Position::Continued
        };
        let mut writing = Writing::new(tokenizer, position, &self.stop);
        let interrupt = Interrupt::default();
        interrupt.watch();
        let mut writer = Writer {
            out,
            tokenizer,
            json: self.json.then(Whole::default),
            top: vec![(0, 0.0); self.logprobs.unwrap_or(0)],
            logprobs: self.logprobs.is_some(),
        };
        let mut progress = Some(Progress::watch(
            session.progress(),
            ids.len() as u64,
            "prompt",
            "tokens",
        ));
        let started = Instant::now();
        let (reused, left) = match self.cache {
            Some(path) => {
                let reused = prompt_cache::advance(&mut session, &ids, path, self.keep_cache)?;
                (Some(reused), &ids[ids.len() - 1..])
            }
            None => (None, &ids[..]),
        };
        let advancing = started.elapsed();
        for &id in &ids[..ids.len() - left.len()] {
            sampler.accept(id);
        }
        if let Some(profile) = self.profile {
            profile.begin(&mut session);
        }
        let done = writing.generate(
            &mut session,
            left,
            GenerateOptions::default()
                .end_tokens(tokenizer.end_tokens())
                .max_tokens(limit)
                .config(config.as_ref())
                .held(&ids[..ids.len() - left.len()])
                .endless(self.endless.keep(ids.len())),
            &mut sampler,
            &interrupt,
            |written| {
                progress = None;
                interrupt.begin();
                say_prompt(&mut writer.out, &mut echo)?;
                writer.token(&written)
            },
        );
        drop(progress);
        if let Some(profile) = self.profile {
            let mut profiles = Profiles::default();
            profiles.end("run", &mut session);
            profile.finish(&profiles)?;
        }
        let mut done = done?;
        say_prompt(&mut writer.out, &mut echo)?;
        if let Some(reused) = reused {
            // What was read or computed before its last token is the prompt's as well.
            done.prompt = ids.len() - reused;
            done.prompt_time += advancing;
        }
        let stop = match done.stop {
            Stop::Caller if writing.stopped() => "stop string",
            stop => reason(stop),
        };
        writer.finish(&writing.finish(), |text| {
            json!({
                "text": text,
                "stop": stop,
                "discarded_tokens": done.discarded,
                "prompt_tokens": done.prompt + reused.unwrap_or(0),
                "cached_tokens": reused.unwrap_or(0),
                "prompt_seconds": done.prompt_time.as_secs_f64(),
                "tokens": done.tokens,
                "seconds": done.time.as_secs_f64(),
                "seed": sampler.options().seed,
                "precision": model.precision().name(),
                "memory": memory::json(model),
            })
        })?;
        let unasked = matches!(self.limit, Limit::Usual) && limit.is_some();
        figures(model, &done, stop, unasked);
        self.memory.finish(model, done.prompt + done.tokens);
        if let Some(reused) = reused {
            say(&format!(
                "{reused} of {} prompt tokens from the cache",
                ids.len()
            ));
        }
        interrupt.obey();
        Ok(())
    }
}

/// Writes the prompt, if that is to be done still.
fn say_prompt(out: &mut Line, prompt: &mut Option<&str>) -> io::Result<()> {
    match prompt.take() {
        Some(prompt) => out.write_all(prompt.as_bytes()).and_then(|()| out.flush()),
        None => Ok(()),
    }
}

/// A tokenizer may have more tokens than the model, what was added to pad texts, say: they matter
/// where a text has them.
pub(super) fn check_tokens(
    model: &Model,
    tokenizer: &Tokenizer,
    ids: &[u32],
) -> Result<(), CliError> {
    let rows = model.limits().vocabulary;
    let Some(&id) = ids.iter().find(|&&id| u64::from(id) >= rows) else {
        return Ok(());
    };
    let piece = String::from_utf8_lossy(tokenizer.piece(id).unwrap_or_default()).into_owned();
    let what = format!(
        "the text has token {id} ({piece:?}), but the model's embedding has {rows} rows, the last \
         of token {}",
        rows.saturating_sub(1)
    );
    Err(RunError::Input(what).into())
}

/// Tokens beyond the model's that were not added are a sign that the two do not belong together.
fn warn_of_others_tokens(model: &Model, tokenizer: &Tokenizer) {
    let rows = model.limits().vocabulary;
    let all = u32::try_from(tokenizer.vocabulary_len()).unwrap_or(u32::MAX);
    let first = u32::try_from(rows).unwrap_or(u32::MAX);
    if (first..all).any(|id| !tokenizer.is_control(id)) {
        warn(&format!(
            "tokenizer has {all} tokens, the model's embedding {rows} rows: is it another model's?"
        ));
    }
}

fn reason(stop: Stop) -> &'static str {
    match stop {
        Stop::End => "end of text",
        Stop::Length => "length reached",
        Stop::Context => "context full",
        Stop::Caller => "interrupted",
    }
}

fn figures(model: &Model, done: &Generated, stop: &str, unasked: bool) {
    let rate = |tokens: usize, seconds: f64| tokens as f64 / seconds.max(1e-9);
    let tokens = |count: usize| match count {
        1 => "1 token".to_string(),
        count => format!("{count} tokens"),
    };
    // The first token's time belongs to the prompt.
    let generated = match done.tokens.saturating_sub(1) {
        0 => tokens(done.tokens),
        timed => {
            let rate = rate(timed, done.time.as_secs_f64());
            format!("{}, {rate:.1} tokens/s", tokens(done.tokens))
        }
    };
    let hint = match done.stop {
        Stop::Context => " (-c gives it more room, --endless forgets the oldest)",
        Stop::Length if unasked => " (-n -1 goes on without end)",
        _ => "",
    };
    say(&format!(
        "prompt {}, {:.1} tokens/s; generated {generated}; {stop}{hint}; {}, {}, {}",
        tokens(done.prompt),
        rate(done.prompt, done.prompt_time.as_secs_f64()),
        threads(model),
        model.isa(),
        model.precision(),
    ));
}
