//! `rillm answer`: where in texts the answer to a question stands.

use super::memory::MemoryArguments;
use super::progress::Progress;
use super::similar::{float, one_line};
use super::terminal::Out;
use super::texts::TaskTexts;
use super::{CliError, ModelArguments};
use clap::Args;
use rillm::Model;
use rillm::tasks::{Answer, AnswerOptions, QuestionAnswerer};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Args, Debug)]
#[command(override_usage = "rillm answer [OPTIONS] <MODEL> <QUESTION> [CONTEXT]...")]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    texts: TaskTexts,
    /// How many answers from each context
    #[arg(short = 'k', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    top_k: u32,
    /// Most tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    max_answer_len: u32,
    /// Most tokens of the question and a part of the context [default: 384, or as many as the model
    /// takes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_seq_len: Option<u32>,
    /// Tokens that parts of a long context have in common [default: 128, or half of --max-seq-len]
    #[arg(long, value_name = "N")]
    doc_stride: Option<u32>,
    /// Let there be no answer, which is shown as an empty one
    #[arg(long)]
    handle_impossible_answer: bool,
    /// Let answers begin and end inside words
    #[arg(long)]
    no_align_to_words: bool,
    /// Tokens that are run at a time: fewer take less memory
    #[arg(long, value_name = "N", default_value_t = rillm::tasks::BATCH_TOKENS as u32, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    batch_tokens: u32,
    /// A line of JSON for each context
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    memory: MemoryArguments,
}

pub fn answer(arguments: &Arguments) -> Result<(), CliError> {
    let mut words = arguments.texts.words(&arguments.model)?.into_iter();
    let Some(question) = words.next() else {
        let what = "no question: give it behind the model, and a context behind it or by -f FILE";
        return Err(CliError::Usage(what.to_string()));
    };
    let words = words.map(str::to_string).collect();
    // An answer stands in a text as a whole, not in one of its lines.
    let contexts = arguments.texts.with_whole_files(words, "context")?;
    let model = arguments.model.open()?;
    let work = |model: &Model| answer_all(arguments, model, question, &contexts);
    arguments.memory.task(model, contexts.len(), work)
}

fn answer_all(
    arguments: &Arguments,
    model: &Model,
    question: &str,
    contexts: &[String],
) -> Result<(), CliError> {
    let number = |value: Option<u32>| value.map(|value| value as usize);
    let options = AnswerOptions::default()
        .top_k(arguments.top_k as usize)
        .max_answer_len(arguments.max_answer_len as usize)
        .max_seq_len(number(arguments.max_seq_len))
        .doc_stride(number(arguments.doc_stride))
        .handle_impossible_answer(arguments.handle_impossible_answer)
        .align_to_words(!arguments.no_align_to_words)
        .batch_tokens(arguments.batch_tokens as usize);
    let blame = |error: CliError| arguments.model.blame(error);
    let mut answerer =
        QuestionAnswerer::new(model, options).map_err(|error| blame(error.into()))?;
    let done = Arc::new(AtomicU64::new(0));
    let all = contexts.len() as u64;
    let progress = Progress::watch(Arc::clone(&done), all, "answering", "contexts");
    let mut out = Out::new();
    for context in contexts {
        let answers = answerer.answer(question, context);
        let answers = answers.map_err(|error| blame(error.into()))?;
        done.fetch_add(1, Ordering::Relaxed);
        if arguments.json {
            match &answers[..] {
                [only] => writeln!(out, "{}", shown(only))?,
                all => writeln!(out, "{}", all.iter().map(shown).collect::<Value>())?,
            }
            continue;
        }
        for Answer {
            score,
            start,
            end,
            answer,
            ..
        } in &answers
        {
            writeln!(
                out,
                "{score:.4}  {:<12} {}",
                format!("{start}..{end}"),
                one_line(answer)
            )?;
        }
    }
    drop(progress);
    Ok(out.flush()?)
}

/// An answer as the pipeline has it, but that places are bytes.
fn shown(answer: &Answer) -> Value {
    json!({
        "score": float(answer.score),
        "start": answer.start,
        "end": answer.end,
        "answer": answer.answer,
    })
}
