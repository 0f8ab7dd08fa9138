//! `rillm fill-mask`: what may stand where texts have a mask.

use super::embed::{LengthArguments, warn_truncated};
use super::memory::MemoryArguments;
use super::progress::Progress;
use super::similar::{float, one_line};
use super::terminal::Out;
use super::texts::TaskTexts;
use super::{CliError, ModelArguments};
use clap::Args;
use rillm::Model;
use rillm::tasks::{FillMaskOptions, FilledMask, MaskFiller};
use serde_json::{Value, json};
use std::io::Write;

/// Texts that are filled at a time.
const TEXTS: usize = 1024;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Texts with the model's mask in them: [MASK] or <mask>
    #[command(flatten)]
    texts: TaskTexts,
    /// How many tokens for each mask
    #[arg(short = 'k', long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top_k: u32,
    /// The only tokens that may stand there, separated by commas
    #[arg(long, value_name = "TOKENS", value_delimiter = ',')]
    targets: Vec<String>,
    /// A line of JSON for each text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    length: LengthArguments,
    #[command(flatten)]
    memory: MemoryArguments,
}

pub fn fill_mask(arguments: &Arguments) -> Result<(), CliError> {
    let texts = arguments.texts.read(&arguments.model)?;
    let model = arguments.model.open()?;
    let work = |model: &Model| fill(arguments, model, &texts);
    arguments.memory.task(model, texts.len(), work)
}

fn fill(arguments: &Arguments, model: &Model, texts: &[String]) -> Result<(), CliError> {
    let options = FillMaskOptions::default()
        .top_k(arguments.top_k as usize)
        .targets(arguments.targets.clone())
        .max_length(arguments.length.most())
        .batch_tokens(arguments.length.batch_tokens as usize);
    let blame = |error: CliError| arguments.model.blame(error);
    let mut filler = MaskFiller::new(model, options).map_err(|error| blame(error.into()))?;
    let progress = Progress::watch(filler.progress(), texts.len() as u64, "filling", "texts");
    let mut out = Out::new();
    for texts in texts.chunks(TEXTS) {
        for masks in filler.fill(texts).map_err(|error| blame(error.into()))? {
            let json = |filled: &Vec<FilledMask>| filled.iter().map(token).collect::<Value>();
            match (arguments.json, &masks[..]) {
                (true, [only]) => writeln!(out, "{}", json(only))?,
                (true, all) => writeln!(out, "{}", all.iter().map(json).collect::<Value>())?,
                (false, all) => {
                    for filled in all.iter().flatten() {
                        let (score, token) = (filled.score, &filled.token_str);
                        let text = one_line(&filled.sequence);
                        writeln!(out, "{score:.4}  {token:<12} {text}")?;
                    }
                }
            }
        }
    }
    out.flush()?;
    drop(progress);
    warn_truncated(filler.truncated(), texts.len(), filler.max_length());
    Ok(())
}

fn token(filled: &FilledMask) -> Value {
    json!({
        "score": float(filled.score),
        "token": filled.token,
        "token_str": filled.token_str,
        "sequence": filled.sequence,
    })
}
