//! What `run` writes: a text, or lines of JSON.

use crate::generation::WrittenToken;
use crate::line::Line;
use rillm::formats::tokenizer::{DecodeOptions, Position, Tokenizer};
use rillm::sample::{log_probability, most_likely};
use serde_json::json;
use std::io::{self, Write};

/// A text as long as it is short: a stream without end must not grow.
pub struct Whole(Option<String>);

impl Whole {
    const LONGEST: usize = 1 << 20;

    fn push(&mut self, more: &str) {
        match &mut self.0 {
            Some(text) if text.len() + more.len() <= Whole::LONGEST => text.push_str(more),
            _ => self.0 = None,
        }
    }
}

impl Default for Whole {
    fn default() -> Self {
        Whole(Some(String::new()))
    }
}

/// How a token that was not written is shown.
const ALONE: DecodeOptions = DecodeOptions::new().position(Position::Continued);

/// Puts out what is written, as text or as lines of JSON.
pub struct Writer<'a> {
    pub out: Line,
    pub tokenizer: &'a Tokenizer,
    /// All of it, where it is written as JSON.
    pub json: Option<Whole>,
    pub top: Vec<(u32, f64)>,
    pub logprobs: bool,
}

impl Writer<'_> {
    pub fn token(&mut self, written: &WrittenToken<'_>) -> io::Result<()> {
        let &WrittenToken {
            token,
            logits,
            text,
        } = written;
        match &mut self.json {
            None => self.out.write_all(text.as_bytes())?,
            Some(all) => {
                all.push(text);
                let mut line = json!({ "token": token, "text": text });
                if self.logprobs {
                    most_likely(logits, &mut self.top);
                    let top = self.top.iter().take(logits.len());
                    let top = top.map(|&(token, p)| {
                        let text = self.tokenizer.decode_text(&[token], ALONE);
                        json!({ "token": token, "text": text, "logprob": p })
                    });
                    line["logprob"] = json!(log_probability(logits, token));
                    line["top"] = top.collect();
                }
                writeln!(self.out, "{line}")?;
            }
        }
        self.out.flush()
    }

    /// Shows what was held back, and the whole.
    pub fn finish(
        mut self,
        rest: &str,
        whole: impl FnOnce(Option<&str>) -> serde_json::Value,
    ) -> io::Result<()> {
        match self.json.take() {
            None => writeln!(self.out, "{rest}")?,
            Some(mut all) => {
                all.push(rest);
                writeln!(self.out, "{}", whole(all.0.as_deref()))?;
            }
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::Whole;

    #[test]
    fn a_text_is_given_up_when_it_grows_too_long() {
        let mut whole = Whole::default();
        let half = "x".repeat(Whole::LONGEST / 2);
        whole.push(&half);
        whole.push(&half);
        assert_eq!(whole.0.as_ref().map(String::len), Some(Whole::LONGEST));
        whole.push("");
        assert!(whole.0.is_some());
        whole.push("x");
        assert_eq!(whole.0, None);
        whole.push("y");
        assert_eq!(whole.0, None);
    }
}
