//! `rillm embed`: a vector for each text.

use super::against::{self, AgainstArguments};
use super::interrupt::{self, Unfinished};
use super::memory::MemoryArguments;
use super::output::{self, is_stdout, warn};
use super::progress::Progress;
use super::terminal::Out;
use super::texts::TaskTexts;
use super::{CliError, ModelArguments};
use clap::Args;
use rillm::Model;
use rillm::tasks::{EmbedOptions, Embedder, Pooling};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Texts whose vectors are held at a time.
const TEXTS: usize = 8192;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    texts: TaskTexts,
    #[command(flatten)]
    embedding: EmbedArguments,
    #[command(flatten)]
    against: AgainstArguments,
    #[command(flatten)]
    memory: MemoryArguments,
    /// A line of JSON for each text
    #[arg(long)]
    json: bool,
    /// Where the vectors go: a NumPy array if the name ends in .npy, else as to standard output
    #[arg(short, long, value_name = "FILE", conflicts_with = "against")]
    output: Option<PathBuf>,
}

/// How texts become vectors. Options are called as in sentence-transformers.
#[derive(Args, Clone, Debug)]
pub struct EmbedArguments {
    /// Which of the model's prompts is put before each text: query, document, … [default: as the
    /// model's files say]
    #[arg(long, value_name = "NAME", conflicts_with = "prompt")]
    prompt_name: Option<String>,
    /// What is put before each text instead
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// How tokens' vectors become the text's: cls, mean, max, mean_sqrt_len_tokens, weightedmean or
    /// lasttoken [default: as the model's files say, or mean]
    #[arg(long, value_name = "MODE")]
    pooling: Option<Pooling>,
    /// Make each vector's length 1, whatever the model's files say
    #[arg(long, visible_alias = "normalize")]
    normalize_embeddings: bool,
    /// Keep so many dimensions, of a model that was trained for that
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    truncate_dim: Option<u32>,
    #[command(flatten)]
    length: LengthArguments,
}

/// How much of texts is read, and how much of it at a time.
#[derive(Args, Clone, Copy, Debug)]
pub struct LengthArguments {
    /// Most tokens of a text, the rest is cut off [default: as many as the model's files say]
    #[arg(long, visible_alias = "max-length", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_seq_length: Option<u32>,
    /// Tokens that are run at a time: fewer take less memory
    #[arg(long, value_name = "N", default_value_t = rillm::tasks::BATCH_TOKENS as u32, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub batch_tokens: u32,
}

impl LengthArguments {
    /// Most tokens of a text, if that is said.
    pub fn most(self) -> Option<usize> {
        self.max_seq_length.map(|most| most as usize)
    }
}

impl EmbedArguments {
    /// Opens a model for embedding.
    pub fn open(&self, model: &ModelArguments) -> Result<Embedder, CliError> {
        let model_opened = model.open_headless()?;
        self.over(&model_opened).map_err(|error| model.blame(error))
    }

    /// The task over a model.
    pub fn over(&self, model: &Model) -> Result<Embedder, CliError> {
        let number = |value: Option<u32>| value.map(|value| value as usize);
        let options = EmbedOptions::default()
            .prompt(self.prompt.clone())
            .prompt_name(self.prompt_name.clone())
            .pooling(self.pooling)
            .normalize_embeddings(self.normalize_embeddings)
            .truncate_dim(number(self.truncate_dim))
            .max_seq_length(self.length.most())
            .batch_tokens(self.length.batch_tokens as usize);
        Ok(Embedder::new(model, options)?)
    }
}

/// Says that texts were cut, as nobody would see it.
pub fn warn_truncated(truncated: usize, texts: usize, most: usize) {
    if truncated > 0 {
        warn(&format!(
            "{truncated} of {texts} texts had more than {most} tokens, what is beyond was left out"
        ));
    }
}

/// Vectors as they are written.
enum VectorForm {
    Text,
    Json,
    Numpy,
}

pub fn embed(arguments: &Arguments) -> Result<(), CliError> {
    let texts = arguments.texts.read(&arguments.model)?;
    if let Some(other) = &arguments.against.against {
        let (embedding, model) = (&arguments.embedding, &arguments.model);
        return against::vectors(embedding, model, other, &texts)?.write(arguments.json);
    }
    let target = arguments.output.as_deref().filter(|path| !is_stdout(path));
    let written = match target.and_then(|path| path.extension()) {
        Some(extension) if extension == "npy" && arguments.json => {
            let what = "--json writes lines, and a file that ends in .npy is none of lines";
            return Err(CliError::Usage(what.to_string()));
        }
        Some(extension) if extension == "npy" => VectorForm::Numpy,
        _ if arguments.json => VectorForm::Json,
        _ => VectorForm::Text,
    };
    if let Some(path) = target {
        output::check(path)?;
        interrupt::tidy();
    }
    let model = arguments.model.open_headless()?;
    arguments.memory.task(model, texts.len(), |model| {
        let embedder = arguments.embedding.over(model);
        let embedder = embedder.map_err(|error| arguments.model.blame(error))?;
        write(arguments, embedder, &texts, (target, &written))
    })
}

fn write(
    arguments: &Arguments,
    mut embedder: Embedder,
    texts: &[String],
    (target, written): (Option<&Path>, &VectorForm),
) -> Result<(), CliError> {
    let progress = Progress::watch(
        embedder.progress(),
        texts.len() as u64,
        "embedding",
        "texts",
    );
    let blame = |error: CliError| arguments.model.blame(error);
    match target {
        None => {
            let mut out = Out::new();
            vectors(&mut embedder, texts, written, &mut out).map_err(|error| match error {
                Failed::Run(error) => blame(error.into()),
                Failed::Write(error) => CliError::Output(error),
            })?;
            out.flush()?;
        }
        Some(path) => {
            let mut new = output::begin(path)?;
            let partial = new.partial().map(Path::to_path_buf);
            let _unfinished = partial.map(Unfinished::new);
            let mut out = BufWriter::new(new.file());
            let done = vectors(&mut embedder, texts, written, &mut out);
            let done = done.and_then(|()| Ok(out.flush()?));
            drop(out);
            let done = done.and_then(|()| Ok(new.finish()?));
            done.map_err(|error| match error {
                Failed::Run(error) => blame(error.into()),
                Failed::Write(error) => CliError::File(path.to_path_buf(), error.to_string()),
            })?;
        }
    }
    drop(progress);
    warn_truncated(embedder.truncated(), texts.len(), embedder.max_seq_length());
    Ok(())
}

/// Why vectors are not written.
enum Failed {
    Run(rillm::RunError),
    Write(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Write(error)
    }
}

fn vectors(
    embedder: &mut Embedder,
    texts: &[String],
    written: &VectorForm,
    out: &mut dyn Write,
) -> Result<(), Failed> {
    if matches!(written, VectorForm::Numpy) {
        out.write_all(&numpy_header(texts.len(), embedder.dimensions()))?;
    }
    for (part, texts) in texts.chunks(TEXTS).enumerate() {
        let vectors = embedder.encode(texts).map_err(Failed::Run)?;
        for (index, vector) in (part * TEXTS..).zip(vectors) {
            match written {
                VectorForm::Numpy => {
                    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                    out.write_all(&bytes)?;
                }
                VectorForm::Json => {
                    let values = serde_json::to_string(&vector).map_err(io::Error::other)?;
                    writeln!(out, "{{\"index\":{index},\"embedding\":{values}}}")?;
                }
                VectorForm::Text => {
                    let values: Vec<String> = vector.iter().map(f32::to_string).collect();
                    writeln!(out, "{}", values.join(" "))?;
                }
            }
        }
    }
    Ok(())
}

/// The beginning of a NumPy file of little-endian float32, a row for each text.
fn numpy_header(rows: usize, columns: usize) -> Vec<u8> {
    let mut text =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // Data begins at a multiple of 64 bytes, and the text ends in a newline.
    while !(10 + text.len() + 1).is_multiple_of(64) {
        text.push(' ');
    }
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((text.len() as u16).to_le_bytes());
    header.extend(text.as_bytes());
    header
}
