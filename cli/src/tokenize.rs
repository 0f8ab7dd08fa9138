//! `rillm tokenize` and `rillm detokenize`: a model's vocabulary, both ways.

use super::terminal::Out;
use super::{CliError, ModelArguments, TextArguments, text, whole_text};
use clap::Args;
use rillm::formats::tokenizer::{DecodeOptions, EncodeOptions, Position, Tokenizer};
use serde_json::json;
use std::io::Write;

#[derive(Args, Debug)]
#[command(mut_arg("files", |file| file.help(
    "A file with the text, every byte of which counts (- for standard input)"
)))]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    text: TextArguments,
    /// Only the text's own tokens, not those that begin or end a text
    #[arg(long, visible_alias = "no-bos")]
    no_special: bool,
    /// Let the names of control tokens in the text become those tokens
    #[arg(long, visible_alias = "parse-special")]
    special: bool,
    /// Only the ids, on one line
    #[arg(long, conflicts_with = "json")]
    ids: bool,
    /// Only how many there are
    #[arg(long, conflicts_with_all = ["ids", "json"])]
    count: bool,
    /// A JSON list of ids and texts
    #[arg(long)]
    json: bool,
}

/// A line for each token: its id and its text.
pub fn tokenize(arguments: &Arguments) -> Result<(), CliError> {
    let given = arguments.text.given(&arguments.model)?;
    let file = arguments.text.file();
    let text = whole_text(given.as_deref(), file, "text", TextArguments::WAYS)?;
    let tokenizer = arguments.model.tokenizer()?;
    let options = EncodeOptions::default()
        .add_special(!arguments.no_special)
        .parse_special(arguments.special);
    let ids = tokenizer.encode(&text, options)?;
    let mut out = Out::new();
    if arguments.count {
        writeln!(out, "{}", ids.len())?;
    } else if arguments.ids {
        for (place, id) in ids.iter().enumerate() {
            write!(out, "{}{id}", between(place, "", " "))?;
        }
        writeln!(out)?;
    } else if arguments.json {
        for (place, &id) in ids.iter().enumerate() {
            let token = json!({ "id": id, "text": shown(&tokenizer, id) });
            write!(out, "{}{token}", between(place, "[", ","))?;
        }
        writeln!(out, "{}]", if ids.is_empty() { "[" } else { "" })?;
    } else {
        for id in ids {
            writeln!(out, "{id:>7}  {:?}", shown(&tokenizer, id))?;
        }
    }
    Ok(out.flush()?)
}

/// What stands before one of many.
fn between<'a>(place: usize, first: &'a str, next: &'a str) -> &'a str {
    if place == 0 { first } else { next }
}

/// A token's text; of bytes that are no character by themselves, replacement characters.
fn shown(tokenizer: &Tokenizer, id: u32) -> String {
    String::from_utf8_lossy(tokenizer.piece(id).unwrap_or_default()).into_owned()
}

#[derive(Args, Debug)]
pub struct Back {
    #[command(flatten)]
    model: ModelArguments,
    /// Token ids, separated by spaces, commas or lines [default: from standard input]
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Leave control tokens out instead of writing their names
    #[arg(long)]
    skip_special: bool,
    /// The tokens go on with a text: keep a space before the first word
    #[arg(long)]
    continued: bool,
    /// Write the text as JSON, with replacement characters for bytes that are none
    #[arg(long)]
    json: bool,
}

/// The tokens' bytes, exactly, and nothing else.
pub fn detokenize(arguments: &Back) -> Result<(), CliError> {
    let ids = match arguments.model.text(&arguments.ids)? {
        None => from_text(&text(
            None,
            None,
            "ids",
            "them behind MODEL, or pipe them in",
        )?)?,
        Some(given) => from_text(&given)?,
    };
    let tokenizer = arguments.model.tokenizer()?;
    let known = tokenizer.vocabulary_len();
    if let Some(id) = ids.iter().find(|id| **id as usize >= known) {
        let what = format!("there is no token {id}, the vocabulary has {known}");
        return Err(CliError::Usage(what));
    }
    let position = match arguments.continued {
        true => Position::Continued,
        false => Position::Start,
    };
    let options = DecodeOptions::new()
        .skip_special(arguments.skip_special)
        .position(position);
    if arguments.json {
        let mut out = Out::new();
        let text = tokenizer.decode_text(&ids, options);
        writeln!(out, "{}", json!({ "text": text }))?;
        return Ok(out.flush()?);
    }
    let mut out = Out::text();
    out.write_all(&tokenizer.decode(&ids, options))?;
    Ok(out.flush()?)
}

fn from_text(text: &str) -> Result<Vec<u32>, CliError> {
    let parts = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']'));
    let parts = parts.filter(|part| !part.is_empty());
    let ids = parts.map(|part| {
        let id = part.parse::<u32>();
        id.map_err(|_| CliError::Usage(format!("{part:?} is no token id")))
    });
    ids.collect()
}
