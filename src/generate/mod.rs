//! Text generation: prompt in, tokens out, for decoders and encoder–decoders alike.
//!
//! [`Generator`] is an iterator over the tokens that a model writes; [`generate`] hands them to a
//! function. Both do the same, token by token, without an allocation.
//!
//! A model that writes a story, as it comes:
//!
//! ```
//! use rillm::formats::tokenizer::{DecodeOptions, EncodeOptions};
//! use rillm::generate::{GenerateOptions, Generator};
//! use rillm::sample::{SampleOptions, Sampler};
//! use rillm::{Model, ModelOptions, Session, SessionOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = Model::open("assets/demo.gguf", ModelOptions::default())?;
//! let tokenizer = model.tokenizer()?;
//! let mut session = Session::new(&model, SessionOptions::default())?;
//! let mut sampler = Sampler::new(SampleOptions::greedy(), tokenizer.vocabulary_len(), 4096);
//!
//! let prompt = tokenizer.encode("Once upon a time", EncodeOptions::default().add_special(true))?;
//! let options = GenerateOptions::default()
//!     .end_tokens(tokenizer.end_tokens())
//!     .max_tokens(20);
//! let mut decoder = tokenizer.decoder(DecodeOptions::default());
//! let mut text = String::new();
//! for token in Generator::new(&mut session, &prompt, options, &mut sampler)? {
//!     // Bytes of an unfinished character wait in the decoder.
//!     decoder.push(token?, &mut text);
//! }
//! decoder.finish(&mut text);
//! assert!(text.starts_with(", there was a "), "{text}");
//! # Ok(())
//! # }
//! ```
//!
//! Several continuations of one prompt: the prompt is computed once, and forks of its sequence
//! share its KV cache until they write.
//!
//! ```
//! # use rillm::formats::tokenizer::{DecodeOptions, EncodeOptions};
//! use rillm::generate::{GenerateOptions, Generator};
//! # use rillm::sample::{SampleOptions, Sampler};
//! # use rillm::{Model, ModelOptions, RunError, Session, SessionOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let model = Model::open("assets/demo.gguf", ModelOptions::default())?;
//! # let tokenizer = model.tokenizer()?;
//! # let prompt = tokenizer.encode("Once upon a time", EncodeOptions::default().add_special(true))?;
//! let mut session = Session::new(&model, SessionOptions::default().sequences(3))?;
//! let (last, before) = prompt.split_last().expect("a prompt");
//! session.prefill(0, before)?;
//! for sequence in [1, 2] {
//!     session.fork(0, sequence)?;
//!     let options = GenerateOptions::default().sequence(sequence).max_tokens(10);
//!     let seeded = SampleOptions::default().seed(u64::from(sequence));
//!     let mut sampler = Sampler::new(seeded, tokenizer.vocabulary_len(), 4096);
//!     let written = Generator::new(&mut session, &[*last], options, &mut sampler)?;
//!     let tokens: Vec<u32> = written.collect::<Result<_, RunError>>()?;
//!     println!("{}", tokenizer.decode_text(&tokens, DecodeOptions::default()));
//!     # assert_eq!(tokens.len(), 10);
//! }
//! # Ok(())
//! # }
//! ```

mod beam;
mod config;
mod keys;
mod processors;
mod stop;

pub use beam::{Hypothesis, beam_search, beam_sequences};
pub use config::{EarlyStopping, GenerationConfig};
pub use stop::StopStrings;

use crate::error::RunError;
use crate::exec::Row;
use crate::graph::{Forced, Role};
use crate::reserve::{filled, list};
use crate::sample::Sampler;
use crate::session::Session;
use crate::setters::setters;
use crate::state::StateError;
use processors::{LogitsProcessors, RESERVED};
use rillm_formats::tokenizer::{DecodeOptions, EncodeOptions, Tokenizer};
use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model wrote an end-of-generation token.
    End,
    /// As many tokens as asked for.
    Length,
    /// The context is full.
    Context,
    /// The caller said so.
    Caller,
}

/// A token just chosen.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Chosen<'a> {
    /// Which.
    pub token: u32,
    /// What it was chosen from, as the model gave it.
    pub logits: &'a [f32],
}

/// What a generation did.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Generated {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Time until the first token was chosen.
    pub prompt_time: Duration,
    /// Tokens written.
    pub tokens: usize,
    /// Time after the first token.
    pub time: Duration,
    /// Why it ended.
    pub stop: Stop,
    /// Entries of the KV cache that were forgotten to make room.
    pub discarded: usize,
}

/// How far a generation goes.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct GenerateOptions<'a> {
    /// The sequence that is continued.
    pub sequence: u32,
    /// End-of-generation tokens: the text ends where one is chosen, and none is written. Usually
    /// [`Tokenizer::end_tokens`].
    pub end_tokens: &'a [u32],
    /// Most tokens to write; where it is not set, as many as `config` says.
    pub max_tokens: Option<usize>,
    /// What of the text the sequence holds before the prompt: `config` looks back at it as well.
    pub held: &'a [u32],
    /// What changes the scores of tokens before the sampler sees them, and how long a text may
    /// become; usually [`GenerationConfig::of`] the model. Its beams are [`beam_search`]'s.
    pub config: Option<&'a GenerationConfig>,
    /// Go on when the context is full: keep so many tokens of its beginning (attention sinks,
    /// Xiao et al. 2023) and drop the eighth of the KV cache that comes after them.
    pub endless: Option<usize>,
}

setters! {
    GenerateOptions<'a> {
        sequence: u32,
        end_tokens: &'a [u32],
        max_tokens: impl Into<Option<usize>>,
        held: &'a [u32],
        config: impl Into<Option<&'a GenerationConfig>>,
        endless: impl Into<Option<usize>>,
    }
}

/// The tokens that a model writes after a prompt, one at a time. Nothing is computed ahead: a
/// token is fed when the one after it is asked for. After an error it is at its end.
#[derive(Debug)]
pub struct Generator<'a> {
    session: &'a mut Session,
    sampler: &'a mut Sampler,
    options: GenerateOptions<'a>,
    logits: Vec<f32>,
    rules: TokenRules<'a>,
    /// Chosen, and not yet handed out.
    next: u32,
    /// Of the row that was fed last.
    position: u64,
    prompt: usize,
    prompt_time: Duration,
    tokens: usize,
    discarded: usize,
    begin: Instant,
    /// Why it ended, and after what time.
    end: Option<(Stop, Duration)>,
}

/// What comes between logits and sampler.
#[derive(Debug)]
enum TokenRules<'a> {
    /// Tokens that the model's files force.
    Forced(Forced),
    /// A configuration's, with the tokens so far and room for their scores.
    Config {
        processors: LogitsProcessors<'a>,
        written: Vec<u32>,
        scores: Vec<f32>,
    },
}

impl<'a> TokenRules<'a> {
    fn of_config(
        config: &'a GenerationConfig,
        options: GenerateOptions<'a>,
        source: &[u32],
        beginning: &[u32],
        vocabulary: usize,
    ) -> Result<TokenRules<'a>, RunError> {
        let most = options.max_tokens.unwrap_or(usize::MAX);
        let bounds = (beginning.len(), beginning.len().saturating_add(most));
        let mut written = list(beginning.len() + most.min(RESERVED))?;
        written.extend_from_slice(beginning);
        Ok(TokenRules::Config {
            processors: LogitsProcessors::new(config, options.end_tokens, source, bounds)?,
            written,
            scores: filled(0.0, vocabulary)?,
        })
    }

    /// The token that follows so many written ones.
    fn choose(
        &mut self,
        tokens: usize,
        most: Option<usize>,
        logits: &[f32],
        sampler: &mut Sampler,
    ) -> u32 {
        match self {
            TokenRules::Forced(forced) => {
                let last = forced.last.filter(|_| most == Some(tokens + 1));
                let first = forced.first.filter(|_| tokens == 0);
                last.or(first).unwrap_or_else(|| sampler.sample(logits))
            }
            TokenRules::Config {
                processors,
                written,
                scores,
            } => {
                scores.copy_from_slice(logits);
                processors.apply(written, scores);
                sampler.sample(scores)
            }
        }
    }

    fn accept(&mut self, token: u32) -> Result<(), RunError> {
        if let TokenRules::Config { written, .. } = self {
            let bytes = size_of::<u32>();
            let reserved = written.try_reserve(1);
            reserved.map_err(|_| RunError::OutOfMemory { bytes })?;
            written.push(token);
        }
        Ok(())
    }
}

impl<'a> Generator<'a> {
    /// Feeds `prompt` and chooses the first token. An encoder–decoder model encodes the prompt and
    /// decodes from its start token, forgetting what it decoded before; others continue what the
    /// sequence holds.
    ///
    /// # Errors
    /// An empty prompt, a configuration that names tokens which there are not, a model that does not
    /// generate, whatever [`Session::feed`] refuses.
    pub fn new(
        session: &'a mut Session,
        prompt: &[u32],
        options: GenerateOptions<'a>,
        sampler: &'a mut Sampler,
    ) -> Result<Generator<'a>, RunError> {
        let model = session.model().clone();
        if options.endless.is_some() && session.has_kv_cache() {
            session.can_discard()?;
        }
        let begin = Instant::now();
        if let Some(config) = options.config {
            config.check(&model)?;
        }
        let start = options
            .config
            .and_then(|config| config.decoder_start_token_id);
        let (rows, begun) = begin_rows(session, prompt, options.sequence, start)?;
        let mut beginning = list(options.held.len() + begun.len())?;
        beginning.extend_from_slice(options.held);
        beginning.extend_from_slice(&begun);
        let of_config = options
            .config
            .and_then(|config| config.longest(beginning.len()));
        let options = GenerateOptions {
            max_tokens: options.max_tokens.or(of_config),
            ..options
        };
        let translates = model.decoder_start().is_some() && model.graph(Role::Encode).is_some();
        let vocabulary = model.limits().vocabulary.min(1 << 32) as usize;
        let mut logits = filled(0.0, vocabulary)?;
        let mut rules = match options.config {
            Some(config) => {
                let source = match translates {
                    true => prompt,
                    false => &beginning,
                };
                TokenRules::of_config(config, options, source, &beginning, vocabulary)?
            }
            None => TokenRules::Forced(model.forced()),
        };
        feed_rows(session, &rows, &mut logits, vocabulary)?;
        // Of an encoder–decoder model, the text begins here.
        if !translates {
            for &id in prompt {
                sampler.accept(id);
            }
        }
        Ok(Generator {
            next: rules.choose(0, options.max_tokens, &logits, sampler),
            rules,
            position: rows.last().map_or(0, |row| row.position),
            prompt: prompt.len(),
            prompt_time: begin.elapsed(),
            tokens: 0,
            discarded: 0,
            begin: Instant::now(),
            end: None,
            session,
            sampler,
            options,
            logits,
        })
    }

    /// What the token handed out last was chosen from, as the model gave it.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// What was done; [`Stop::Caller`] if more tokens could be asked for.
    pub fn finish(&self) -> Generated {
        let (stop, time) = self.end.unwrap_or((Stop::Caller, self.begin.elapsed()));
        Generated {
            prompt: self.prompt,
            prompt_time: self.prompt_time,
            tokens: self.tokens,
            time,
            stop,
            discarded: self.discarded,
        }
    }

    /// The next token, or why there is none.
    fn choose(&mut self) -> Result<Result<u32, Stop>, RunError> {
        let full = self.options.max_tokens == Some(self.tokens);
        if self.tokens > 0 {
            if full {
                return Ok(Err(Stop::Length));
            }
            if !self.advance()? {
                return Ok(Err(Stop::Context));
            }
        }
        if self.options.end_tokens.contains(&self.next) {
            return Ok(Err(Stop::End));
        }
        if full {
            return Ok(Err(Stop::Length));
        }
        self.tokens += 1;
        self.sampler.accept(self.next);
        self.rules.accept(self.next)?;
        Ok(Ok(self.next))
    }

    /// Feeds the token handed out last and chooses the one after it; false if there is no room.
    fn advance(&mut self) -> Result<bool, RunError> {
        let sequence = self.options.sequence;
        self.position += 1;
        if let Some(keep) = self.options.endless
            && let Some(range) = overflow(self.session, sequence, keep)?
        {
            self.discarded += range.len();
            self.position -= self.session.discard(sequence, range)?;
        }
        let row = Row {
            token: self.next,
            position: self.position,
            sequence,
            emit: true,
            ..Row::default()
        };
        let vocabulary = self.logits.len();
        match feed_rows(self.session, &[row], &mut self.logits, vocabulary) {
            Ok(_) => {
                let most = self.options.max_tokens;
                let (logits, sampler) = (&self.logits, &mut *self.sampler);
                self.next = self.rules.choose(self.tokens, most, logits, sampler);
            }
            Err(RunError::State(StateError::ContextFull { .. })) => return Ok(false),
            Err(_) if self.position >= self.session.model().limits().positions => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }
}

impl Iterator for Generator<'_> {
    type Item = Result<u32, RunError>;

    fn next(&mut self) -> Option<Result<u32, RunError>> {
        if self.end.is_some() {
            return None;
        }
        let (stop, error) = match self.choose() {
            Ok(Ok(token)) => return Some(Ok(token)),
            Ok(Err(stop)) => (stop, None),
            Err(error) => (Stop::Caller, Some(Err(error))),
        };
        self.end = Some((stop, self.begin.elapsed()));
        error
    }
}

impl std::iter::FusedIterator for Generator<'_> {}

/// Feeds `prompt` and hands each new token to `token` until it says to break: [`Generator`] as one
/// call.
///
/// # Errors
/// As [`Generator::new`].
pub fn generate(
    session: &mut Session,
    prompt: &[u32],
    options: GenerateOptions<'_>,
    sampler: &mut Sampler,
    token: &mut dyn FnMut(Chosen<'_>) -> ControlFlow<()>,
) -> Result<Generated, RunError> {
    let mut generator = Generator::new(session, prompt, options, sampler)?;
    while let Some(next) = generator.next() {
        let chosen = Chosen {
            token: next?,
            logits: generator.logits(),
        };
        if token(chosen).is_break() {
            break;
        }
    }
    Ok(generator.finish())
}

/// What to drop of a KV cache that is full: an eighth of the context, behind `keep` entries.
fn overflow(
    session: &Session,
    sequence: u32,
    keep: usize,
) -> Result<Option<Range<usize>>, RunError> {
    let (len, context) = (session.len(sequence)?, session.options().context);
    if !session.has_kv_cache() || len < context {
        return Ok(None);
    }
    // At least one entry goes and one, the newest, stays: its place tells the next position.
    let keep = keep.min(len.saturating_sub(2));
    let count = (context / 8).clamp(1, len.saturating_sub(keep + 1).max(1));
    Ok((keep + count < len).then_some(keep..keep + count))
}

/// Lower than any score: what beam search gives to what does not count.
const BEAM_WORST: f32 = -1.0e9;

/// The rows from which a text is written, and the tokens that it begins from: the prompt behind what
/// the sequence holds, or, of an encoder–decoder model, the start token, once the prompt is encoded.
fn begin_rows(
    session: &mut Session,
    prompt: &[u32],
    sequence: u32,
    other_start: Option<u32>,
) -> Result<(Vec<Row>, Vec<u32>), RunError> {
    let Some(last) = prompt.len().checked_sub(1) else {
        let what = "prompt is empty, give at least one token";
        return Err(RunError::Input(what.to_string()));
    };
    let row = |token, position, emit| Row {
        token,
        position,
        sequence,
        emit,
        ..Row::default()
    };
    let model = session.model();
    let start = model
        .decoder_start()
        .filter(|_| model.graph(Role::Encode).is_some());
    let mut rows: Vec<Row> = list(prompt.len())?;
    let mut beginning: Vec<u32> = list(prompt.len())?;
    match start {
        Some(first) => {
            let first = other_start.unwrap_or(first);
            let source = prompt.iter().zip(0..);
            rows.extend(source.map(|(&id, at)| row(id, at, false)));
            session.encode(&rows, &mut |_| {})?;
            rows.clear();
            rows.push(row(first, 0, true));
            beginning.push(first);
        }
        None => {
            let before = session.len(sequence)? as u64;
            let ids = prompt.iter().enumerate();
            rows.extend(ids.map(|(at, &id)| row(id, before + at as u64, at == last)));
            beginning.extend_from_slice(prompt);
        }
    }
    Ok((rows, beginning))
}

/// Feeds rows; the logits of those with `emit` go behind each other into `logits`. Says how many there
/// are.
fn feed_rows(
    session: &mut Session,
    rows: &[Row],
    logits: &mut [f32],
    vocabulary: usize,
) -> Result<usize, RunError> {
    let mut found = 0;
    let mut other = None;
    let mut places = logits.chunks_exact_mut(vocabulary.max(1));
    session.feed(rows, &mut |output| {
        if output.name != "logits" {
            return;
        }
        match places.next() {
            Some(place) if place.len() == output.values.len() => {
                place.copy_from_slice(output.values);
                found += 1;
            }
            _ => other = Some(output.values.len()),
        }
    })?;
    let title = session.model().architecture().title;
    match (other, found) {
        (None, 1..) => Ok(found),
        (Some(width), _) => Err(RunError::Input(format!(
            "{title} gives {width} values for a token, expected {vocabulary}, one for each of the \
             vocabulary"
        ))),
        (None, 0) => Err(RunError::Input(format!(
            "this {title} gives no logits of the next token: it embeds texts or judges them"
        ))),
    }
}

/// The sequences of tokens that break repetitions (see
/// [`crate::sample::DryOptions::breakers`]) at these texts: tokens that contain one, and tokens
/// whose end begins one, with those of the rest.
pub fn breakers(tokenizer: &Tokenizer, texts: &[&str]) -> Vec<Vec<u32>> {
    let mut found = Vec::new();
    for id in 0..tokenizer.vocabulary_len() as u32 {
        let word = tokenizer.decode_text(&[id], DecodeOptions::default());
        for text in texts.iter().filter(|text| !text.is_empty()) {
            if word.contains(text) {
                found.push(vec![id]);
                continue;
            }
            let begins = |len: &usize| text.is_char_boundary(*len) && word.ends_with(&text[..*len]);
            for len in (1..text.len()).filter(begins) {
                // A text that cannot be encoded breaks nothing.
                let rest = tokenizer.encode(&text[len..], EncodeOptions::default());
                let rest = rest.unwrap_or_default();
                found.push([&[id], rest.as_slice()].concat());
            }
        }
    }
    found
}
