//! Text generation: prompt in, tokens out, for decoders and encoder–decoders alike.

mod stop;

pub use stop::StopStrings;

use crate::error::RunError;
use crate::exec::Row;
use crate::graph::Role;
use crate::sample::Sampler;
use crate::session::Session;
use rillm_formats::tokenizer::{DecodeOptions, Encode, Tokenizer};
use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model wrote an end token.
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
pub struct Chosen<'a> {
    /// Which.
    pub token: u32,
    /// What it was chosen from, as the model gave it.
    pub logits: &'a [f32],
}

/// What a generation did.
#[derive(Clone, Copy, Debug)]
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
    /// Tokens of the history that were forgotten to make room.
    pub discarded: usize,
}

/// How far a generation goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits<'a> {
    /// Tokens that end the text.
    pub end_tokens: &'a [u32],
    /// Most tokens to write.
    pub tokens: Option<usize>,
    /// Go on when the context is full: keep so many tokens of its beginning (attention sinks,
    /// Xiao et al. 2023) and forget the eighth of the context that comes after them.
    pub endless: Option<usize>,
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
                let rest = tokenizer.encode(&text[len..], Encode::default());
                found.push([&[id], rest.as_slice()].concat());
            }
        }
    }
    found
}

/// Feeds `prompt` to sequence 0 and hands each new token to `token`, within `limits`.
/// An encoder–decoder model encodes the prompt and decodes from its start token, forgetting
/// what it decoded before; others continue what the sequence holds.
///
/// # Errors
/// An empty prompt, a model that does not generate, whatever [`Session::feed`] refuses.
pub fn generate(
    session: &mut Session,
    prompt: &[u32],
    limits: Limits<'_>,
    sampler: &mut Sampler,
    token: &mut dyn FnMut(Chosen<'_>) -> ControlFlow<()>,
) -> Result<Generated, RunError> {
    if prompt.is_empty() {
        return Err(RunError::Input(
            "prompt is empty, give at least one token".to_string(),
        ));
    }
    let model = session.model().clone();
    if limits.endless.is_some() && session.has_kv_cache() {
        session.can_discard()?;
    }
    let start = Instant::now();
    let mut logits = vec![0.0; model.limits().vocabulary.min(1 << 32) as usize];
    let row = |token, position, emit| Row {
        token,
        position,
        emit,
        ..Row::default()
    };
    let rows: Vec<Row> = match (model.graph(Role::Encode), model.decoder_start()) {
        (Some(_), Some(first)) => {
            let source: Vec<Row> = prompt
                .iter()
                .zip(0..)
                .map(|(&id, at)| row(id, at, false))
                .collect();
            session.encode(&source, &mut |_| {})?;
            vec![row(first, 0, true)]
        }
        _ => {
            let before = session.len(0)? as u64;
            let last = prompt.len() - 1;
            let ids = prompt.iter().enumerate();
            ids.map(|(index, &id)| row(id, before + index as u64, index == last))
                .collect()
        }
    };
    feed(session, &rows, &mut logits)?;
    // Of an encoder–decoder model, the text begins here.
    for &id in prompt
        .iter()
        .filter(|_| session.model().graph(Role::Encode).is_none())
    {
        sampler.accept(id);
    }
    let mut next = sampler.sample(&logits);
    let prompt_time = start.elapsed();
    let start = Instant::now();
    let mut tokens = 0;
    let mut discarded = 0;
    let mut position = rows.last().map_or(0, |row| row.position);
    let stop = loop {
        if limits.end_tokens.contains(&next) {
            break Stop::End;
        }
        if limits.tokens.is_some_and(|limit| tokens >= limit) {
            break Stop::Length;
        }
        tokens += 1;
        sampler.accept(next);
        let chosen = Chosen {
            token: next,
            logits: &logits,
        };
        if token(chosen).is_break() {
            break Stop::Caller;
        }
        if limits.tokens == Some(tokens) {
            break Stop::Length;
        }
        position += 1;
        if let Some(keep) = limits.endless
            && let Some(range) = overflow(session, keep)?
        {
            discarded += range.len();
            position -= session.discard(0, range)?;
        }
        match feed(session, &[row(next, position, true)], &mut logits) {
            Ok(()) => next = sampler.sample(&logits),
            Err(RunError::State(crate::state::StateError::ContextFull { .. })) => {
                break Stop::Context;
            }
            Err(_) if position >= model.limits().positions => break Stop::Context,
            Err(error) => return Err(error),
        }
    };
    Ok(Generated {
        prompt: prompt.len(),
        prompt_time,
        tokens,
        time: start.elapsed(),
        stop,
        discarded,
    })
}

/// What to forget of a history that is full: an eighth of the context, behind `keep` entries.
fn overflow(session: &Session, keep: usize) -> Result<Option<Range<usize>>, RunError> {
    let (len, context) = (session.len(0)?, session.options().context);
    if !session.has_kv_cache() || len < context {
        return Ok(None);
    }
    // At least one entry goes and one, the newest, stays: its place tells the next position.
    let keep = keep.min(len.saturating_sub(2));
    let count = (context / 8).clamp(1, len.saturating_sub(keep + 1).max(1));
    Ok((keep + count < len).then_some(keep..keep + count))
}

fn feed(session: &mut Session, rows: &[Row], logits: &mut [f32]) -> Result<(), RunError> {
    let mut width = None;
    session.feed(rows, &mut |output| {
        width = Some(output.values.len());
        if output.values.len() == logits.len() {
            logits.copy_from_slice(output.values);
        }
    })?;
    match width {
        Some(width) if width == logits.len() => Ok(()),
        width => Err(RunError::Input(format!(
            "{} gives {} values for a token, expected {}, one for each of the vocabulary",
            session.model().architecture().title,
            width.unwrap_or(0),
            logits.len()
        ))),
    }
}
