//! `rillm bench`: llama-bench's terms, token ids that mean nothing.

mod measure;
mod report;

use super::memory::MemoryArguments;
use super::profile::{ProfileArguments, Profiles};
use super::roofline::Roofline;
use super::{CliError, KvCacheArguments, ModelArguments, PrecisionArguments, context};
use clap::{Args, ValueEnum};
use measure::{limit, measure};
use report::Results;
use rillm::Model;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    kv_type: KvCacheArguments,
    #[command(flatten)]
    precision: PrecisionArguments,
    /// Prompt tokens; several by commas, 0 for none
    #[arg(short = 'p', long, value_name = "N", default_value = "512", value_delimiter = ',', value_parser = tokens())]
    n_prompt: Vec<u32>,
    /// Generated tokens; several by commas, 0 for none
    #[arg(short = 'n', long, value_name = "N", default_value = "128", value_delimiter = ',', value_parser = tokens())]
    n_gen: Vec<u32>,
    /// A prompt and what is generated after it, timed as one; may be given several times
    #[arg(long, value_name = "PROMPT,GEN", value_parser = pair)]
    pg: Vec<(u32, u32)>,
    /// Tokens in the context beforehand; several by commas
    #[arg(short = 'd', long, value_name = "N", default_value = "0", value_delimiter = ',', value_parser = tokens())]
    n_depth: Vec<u32>,
    /// Texts of -p tokens that an encoder reads together; several by commas
    #[arg(long, value_name = "N", default_value = "1", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1024))]
    texts: Vec<u32>,
    /// Rows of a prompt that are fed at a time
    #[arg(short = 'b', long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    batch_size: u32,
    /// The same, and counts before it
    #[arg(long, value_name = "N", hide = true, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    ubatch_size: Option<u32>,
    /// Repetitions; their mean is reported, and its standard deviation
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: u32,
    /// Leave out the run before those that count
    #[arg(long)]
    no_warmup: bool,
    /// How results are written
    #[arg(short, long, value_enum, default_value_t = ReportForm::Md)]
    output: ReportForm,
    /// The same as --output jsonl
    #[arg(long, conflicts_with = "output")]
    json: bool,
    /// Time every kernel of every instruction set on one core instead, without a model: no other
    /// option goes with it, and it writes tables alone. With `check` it fails where the one that this
    /// CPU uses is more than 10% behind another
    #[arg(long, exclusive = true, value_name = "check", num_args = 0..=1, default_missing_value = "show")]
    kernels: Option<KernelTables>,
    /// Do not measure what the machine could do at best
    #[arg(long)]
    no_roofline: bool,
    #[command(flatten)]
    memory: MemoryArguments,
    #[command(flatten)]
    profile: ProfileArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KernelTables {
    /// Nothing but tables
    Show,
    /// An error where the chosen table is behind
    Check,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReportForm {
    /// A table
    Md,
    /// A line of comma-separated values for each test, after one of their names
    Csv,
    /// A list of objects
    Json,
    /// An object on a line of its own for each test
    Jsonl,
}

impl Arguments {
    /// Rows of a prompt that are fed at a time.
    fn rows(&self) -> u32 {
        self.ubatch_size.unwrap_or(self.batch_size)
    }
}

/// Every row of a run is made beforehand: some millions of them fit into a small machine.
fn tokens() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(..=1 << 22)
}

fn pair(text: &str) -> Result<(u32, u32), String> {
    let wrong = "expected two numbers from 1 to 4194304, as in 512,128";
    let (prompt, generated) = text.split_once(',').ok_or(wrong)?;
    let count = |text: &str| match text.trim().parse::<u32>() {
        Ok(count) if (1..=1 << 22).contains(&count) => Ok(count),
        _ => Err(wrong.to_string()),
    };
    Ok((count(prompt)?, count(generated)?))
}

/// What is timed: a prompt or texts, generation, or both, after other tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Test {
    prompt: usize,
    generated: usize,
    depth: usize,
    /// How many at a time.
    texts: usize,
    /// Whether an encoder reads the prompt, and what stands before what is generated.
    encoded: bool,
}

impl Test {
    /// Positions that it takes of a decoder.
    fn context(self) -> usize {
        self.depth + self.prompt + self.generated
    }

    /// Tokens that count.
    fn tokens(self) -> usize {
        self.texts * (self.prompt + self.generated)
    }

    /// As llama-bench calls it.
    fn name(self) -> String {
        let reads = if self.encoded { "enc" } else { "pp" };
        let what = match (self.prompt, self.generated) {
            (prompt, 0) => format!("{reads}{prompt}"),
            (0, generated) => format!("tg{generated}"),
            (prompt, generated) => format!("{reads}{prompt}+tg{generated}"),
        };
        let what = match self.texts {
            1 => what,
            texts => format!("{what} x {texts}"),
        };
        match self.depth {
            0 => what,
            depth => format!("{what} @ d{depth}"),
        }
    }
}

/// The tests asked for: prompt tokens, generated tokens, and tokens beforehand.
fn asked(arguments: &Arguments) -> Vec<[usize; 3]> {
    let mut asked = Vec::new();
    for &depth in &arguments.n_depth {
        let prompts = arguments.n_prompt.iter().map(|&count| (count, 0));
        let generations = arguments.n_gen.iter().map(|&count| (0, count));
        let both = arguments.pg.iter().copied();
        for (prompt, generated) in prompts.chain(generations).chain(both) {
            if prompt + generated > 0 {
                asked.push([prompt, generated, depth].map(|count| count as usize));
            }
        }
    }
    asked
}

/// Those of them that this model can be put to.
fn tests(arguments: &Arguments, model: &Model) -> Result<Vec<Test>, CliError> {
    let asked = asked(arguments);
    let mut tests = Vec::new();
    for &[prompt, generated, depth] in &asked {
        let test = Test {
            prompt,
            generated,
            depth,
            texts: 1,
            encoded: false,
        };
        if !model.encodes() {
            tests.push(test);
            continue;
        }
        // What is generated has a source, if no other then one as long as the longest prompt.
        let longest = asked.iter().map(|[prompt, ..]| *prompt).max();
        let depth = match (prompt, depth) {
            (0, 0) => longest.filter(|&longest| longest > 0).unwrap_or(1),
            (0, depth) => depth,
            _ => 0,
        };
        if generated == 0 || model.decodes() {
            for &texts in &arguments.texts {
                let test = Test {
                    depth,
                    texts: texts as usize,
                    encoded: true,
                    ..test
                };
                if !tests.contains(&test) {
                    tests.push(test);
                }
            }
        }
    }
    match tests.is_empty() {
        false => Ok(tests),
        true => Err(CliError::Usage(format!(
            "{} generates nothing: give -p above 0",
            model.title()
        ))),
    }
}

pub fn bench(arguments: &Arguments) -> Result<(), CliError> {
    if let Some(tables) = arguments.kernels {
        return super::kernels::kernels(tables == KernelTables::Check);
    }
    if asked(arguments).is_empty() {
        let what = "nothing to measure: give -p, -n or --pg above 0";
        return Err(CliError::Usage(what.to_string()));
    }
    arguments.profile.check()?;
    let model = arguments.model.open_alone_at(arguments.precision)?;
    let tests = tests(arguments, &model)?;
    let most = model.limits().source_positions;
    let too_long = |test: &&Test| test.encoded && (test.depth + test.prompt) as u64 > most;
    if let Some(test) = tests.iter().find(too_long) {
        return Err(CliError::Usage(format!(
            "{} reads texts of at most {most} tokens, {} is longer: give -p up to {most}",
            model.title(),
            test.name()
        )));
    }
    // Warns of more than the model was trained for.
    let contexts = tests.iter().map(|test| match test.encoded {
        true => (test.depth + test.prompt).max(test.generated),
        false => test.context(),
    });
    context(contexts.max(), &model);
    // First of all, so that what is measured can be shown at once.
    let roofline =
        (!arguments.no_roofline).then(|| Roofline::measure(model.isa(), model.threads()));
    let roofline = roofline.transpose()?;
    let mut profiles = Profiles::default();
    let mut results = Results::new(arguments, &model, roofline, &tests);
    let measured = tests.iter().try_for_each(|&test| {
        let rates = measure(arguments, &model, test, &mut profiles)?;
        let limit = roofline.map(|roofline| limit(arguments, &model, test, &roofline));
        let limit = limit.transpose()?;
        Ok(results.add(&Measured { test, rates, limit })?)
    });
    arguments.profile.finish(&profiles)?;
    let runs = arguments.repetitions as usize + usize::from(!arguments.no_warmup);
    let tokens: usize = tests.iter().map(|test| test.tokens()).sum();
    arguments.memory.finish(&model, runs * tokens);
    measured.and_then(|()| Ok(results.end()?))
}

/// What was measured of one test.
struct Measured {
    test: Test,
    rates: Vec<f64>,
    /// Tokens per second that the machine would allow.
    limit: Option<f64>,
}
