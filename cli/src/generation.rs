//! One text as it is generated, for `run` and `chat` alike: tokens in, text out, up to a stop
//! string or Ctrl-C.

use super::CliError;
use super::interrupt::Interrupt;
use rillm::formats::tokenizer::{DecodeOptions, Decoder, Position, Tokenizer};
use rillm::generate::{GenerateOptions, Generated, Generator, StopStrings};
use rillm::sample::Sampler;
use rillm::{RunError, Session};
use std::io;

/// What is written of a text that comes token by token.
pub struct Writing<'a> {
    decoder: Decoder<'a>,
    stops: StopStrings,
    /// Of one token.
    piece: String,
    /// What of it and of those before may be shown now.
    shown: String,
    /// Whether a stop string is complete: nothing behind it is shown.
    stopped: bool,
    /// Control tokens that are shown all the same, by number and name.
    marks: Vec<(u32, &'static str)>,
}

/// A token just chosen, and what may be shown since the one before.
pub struct WrittenToken<'a> {
    pub token: u32,
    /// What it was chosen from.
    pub logits: &'a [f32],
    pub text: &'a str,
}

impl<'a> Writing<'a> {
    /// A text at this place, which ends where one of `stops` begins.
    pub fn new(tokenizer: &'a Tokenizer, position: Position, stops: &[String]) -> Writing<'a> {
        let options = DecodeOptions::default()
            .skip_special(true)
            .position(position);
        Writing {
            decoder: tokenizer.decoder(options),
            stops: StopStrings::new(stops.iter().cloned()),
            piece: String::new(),
            shown: String::new(),
            stopped: false,
            marks: Vec::new(),
        }
    }

    /// Shows tokens of these names even if they are control tokens.
    pub fn showing(mut self, tokenizer: &Tokenizer, names: &[&'static str]) -> Writing<'a> {
        let found = names
            .iter()
            .filter_map(|name| Some((tokenizer.token(name)?, *name)));
        self.marks = found.collect();
        self
    }

    /// Generates until the options, a stop string or Ctrl-C end it; `show` is called for each
    /// token.
    pub fn generate(
        &mut self,
        session: &mut Session,
        prompt: &[u32],
        options: GenerateOptions<'_>,
        sampler: &mut Sampler,
        interrupt: &Interrupt,
        mut show: impl FnMut(WrittenToken<'_>) -> io::Result<()>,
    ) -> Result<Generated, CliError> {
        let mut tokens = Generator::new(session, prompt, options, sampler)?;
        while let Some(token) = tokens.next() {
            let token = token?;
            self.piece.clear();
            self.shown.clear();
            match self.marks.iter().find(|(mark, _)| *mark == token) {
                Some((_, name)) => {
                    self.decoder.finish(&mut self.piece);
                    self.piece.push_str(name);
                }
                None => self.decoder.push(token, &mut self.piece),
            }
            self.stopped = self.stops.push(&self.piece, &mut self.shown);
            show(WrittenToken {
                token,
                logits: tokens.logits(),
                text: &self.shown,
            })?;
            if self.stopped || interrupt.pressed() {
                break;
            }
        }
        Ok(tokens.finish())
    }

    /// Whether a stop string ended it.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// What was held back: bytes of an unfinished character, the beginning of a stop string.
    pub fn finish(mut self) -> String {
        self.piece.clear();
        self.shown.clear();
        self.decoder.finish(&mut self.piece);
        if !self.stopped && !self.stops.push(&self.piece, &mut self.shown) {
            self.stops.finish(&mut self.shown);
        }
        self.shown
    }
}

/// Cuts sequence 0, which holds `held`, to what it shares with `wanted`, or to the last checkpoint
/// before that if its state cannot be cut, and says how much is left.
pub fn keep_shared(session: &mut Session, held: &[u32], wanted: &[u32]) -> Result<usize, RunError> {
    let pairs = held.iter().zip(wanted);
    let shared = pairs.take_while(|(held, wanted)| held == wanted).count();
    match shared == held.len() {
        true => Ok(shared),
        false => session.rewind_within(0, shared),
    }
}
