//! `rillm tune`: how this CPU likes to be asked for weights, measured on a model's own rows.

use super::ModelArguments;
use super::error::CliError;
use super::output;
use super::terminal::Out;
use clap::Args;
use rillm::Tuning;
use rillm::internals::ModelParts;
use rillm::internals::kernels::{Isa, Kernels, PackFrom, TunedRate, fastest};
use rillm::internals::knobs;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long candidates are timed.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Write what is fastest to a file, which RILLM_TUNING=FILE then makes every command use
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Times what the chosen table of kernels may be given.
pub fn tune(arguments: &Arguments) -> Result<(), CliError> {
    if let Some(path) = &arguments.output {
        output::check(path)?;
    }
    let model = arguments.model.open_alone()?;
    let isa = model.isa();
    let kernels = Kernels::select(Some(isa)).map_err(CliError::Isa)?;
    let rates = model.weights().time_tunings(kernels, PATIENCE);
    let packing_timed = |tuning| model.weights().time_packing(kernels, tuning);
    let chosen = match (rates.as_deref().and_then(fastest), Tuning::candidates(isa)) {
        (Some(tuning), _) => Some(packing_timed(tuning).unwrap_or(tuning)),
        // Kernels that leave fetching to the hardware still pack rows, sooner or later.
        (None, [_]) => packing_timed(Tuning::of(isa)),
        (None, _) => None,
    };
    let mut out = Out::new();
    match (&rates, arguments.json) {
        (_, true) => {
            let rates = rates.iter().flatten();
            let rates = rates.map(|TunedRate { tuning, rate }| {
                let mut timed = written(isa, *tuning);
                timed["gb_per_second"] = json!(rate / 1e9);
                timed
            });
            let all = json!({
                "isa": isa.name(),
                "uses": written(isa, model.tuning()),
                "fastest": chosen.map(|tuning| written(isa, tuning)),
                "rates": rates.collect::<Vec<_>>(),
            });
            writeln!(out, "{all:#}")?;
        }
        (Some(rates), false) => {
            fetching(&mut out, rates, model.tuning(), chosen)?;
            packing(&mut out, model.tuning(), chosen)?;
        }
        (None, false) if chosen.is_some() => {
            writeln!(out, "{isa} leaves fetching to the hardware")?;
            packing(&mut out, model.tuning(), chosen)?;
        }
        (None, false) => writeln!(
            out,
            "{isa}: nothing to choose, as no matrix of this model is much larger than caches are"
        )?,
    }
    out.flush()?;
    match (&arguments.output, chosen) {
        (Some(path), Some(tuning)) => {
            output::replace(path, |file| writeln!(file, "{:#}", written(isa, tuning)))
        }
        (Some(_), None) => {
            let what = "nothing was measured, so no file is written: take a larger model";
            Err(CliError::Usage(what.to_string()))
        }
        (None, _) => Ok(()),
    }
}

/// How fast rows are read with each candidate.
fn fetching(
    out: &mut impl Write,
    rates: &[TunedRate],
    used: Tuning,
    chosen: Option<Tuning>,
) -> Result<(), CliError> {
    writeln!(
        out,
        "| lines go | bytes ahead | meanwhile | GB/s of a core | |"
    )?;
    writeln!(out, "|:--|--:|--:|--:|:--|")?;
    for TunedRate { tuning, rate } in rates {
        let same = |other: Tuning| other.fetching() == tuning.fetching();
        let notes = [(chosen.is_some_and(same), "fastest"), (same(used), "used")];
        let notes: Vec<_> = notes
            .iter()
            .filter(|note| note.0)
            .map(|note| note.1)
            .collect();
        writeln!(
            out,
            "| {} | {} | {} | {:.1} | {} |",
            match tuning.past_caches {
                true => "past the outer caches",
                false => "into the nearest",
            },
            tuning.ahead,
            tuning.meanwhile,
            rate / 1e9,
            notes.join(", ")
        )?;
    }
    Ok(())
}

/// From how many inputs on rows are packed.
fn packing(out: &mut impl Write, used: Tuning, chosen: Option<Tuning>) -> Result<(), CliError> {
    writeln!(
        out,
        "\n| rows are packed from so many inputs on | two bytes a weight and more | a byte | less |"
    )?;
    writeln!(out, "|:--|--:|--:|--:|")?;
    for (name, tuning) in [("fastest", chosen), ("used", Some(used))] {
        if let Some(PackFrom {
            floats,
            bytes,
            parts,
        }) = tuning.map(|tuning| tuning.pack_from)
        {
            writeln!(out, "| {name} | {floats} | {bytes} | {parts} |")?;
        }
    }
    Ok(())
}

/// As a file holds it.
pub fn written(isa: Isa, tuning: Tuning) -> Value {
    json!({
        "isa": isa.name(),
        "past_caches": tuning.past_caches,
        "ahead": tuning.ahead,
        "meanwhile": tuning.meanwhile,
        "pack_from_floats": tuning.pack_from.floats,
        "pack_from_bytes": tuning.pack_from.bytes,
        "pack_from_parts": tuning.pack_from.parts,
        "chunk": tuning.chunk,
        "spin": tuning.spin,
    })
}

/// What the file that RILLM_TUNING names says, for models that run on `isa`, or on the best there is.
pub fn from_environment(isa: Option<Isa>) -> Result<Option<Tuning>, CliError> {
    let Some(path) = knobs::tuning_file() else {
        return Ok(None);
    };
    let isa = isa.or_else(|| Isa::available().next_back());
    let read = read(&path, isa);
    let read = read.map_err(|what| {
        let what = format!(
            "{}: {what} (rillm tune MODEL -o FILE writes one)",
            knobs::TUNING
        );
        CliError::File(path, what)
    });
    read.map(Some)
}

fn read(path: &Path, isa: Option<Isa>) -> Result<Tuning, String> {
    /// A file of this kind has some lines.
    const MOST: u64 = 1 << 16;
    let facts = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !facts.is_file() || facts.len() > MOST {
        return Err("is no file that rillm tune wrote".to_string());
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let file: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    // What an older file does not say is as without it.
    let usual = Tuning::of(isa.unwrap_or(Isa::Scalar));
    let number = |key: &str, usual: usize| {
        if file.get(key).is_none() {
            return Ok(usual);
        }
        let number = file[key].as_u64().and_then(|n| usize::try_from(n).ok());
        let number = number.filter(|&number| number <= Tuning::MAX_AHEAD);
        number.ok_or_else(|| {
            let most = Tuning::MAX_AHEAD;
            format!("{key}: expected a number up to {most}, found {}", file[key])
        })
    };
    let name = isa.map_or("", Isa::name);
    if file["isa"] != name {
        let found = &file["isa"];
        return Err(format!(
            "is for instruction set {found}, and this run uses {name}"
        ));
    }
    let past_caches = file["past_caches"].as_bool();
    Ok(Tuning {
        past_caches: past_caches.ok_or_else(|| {
            format!(
                "past_caches: expected true or false, found {}",
                file["past_caches"]
            )
        })?,
        ahead: number("ahead", usual.ahead)?,
        meanwhile: number("meanwhile", usual.meanwhile)?,
        pack_from: PackFrom {
            floats: number("pack_from_floats", usual.pack_from.floats)?,
            bytes: number("pack_from_bytes", usual.pack_from.bytes)?,
            parts: number("pack_from_parts", usual.pack_from.parts)?,
        },
        chunk: number("chunk", usual.chunk)?,
        spin: number("spin", usual.spin)?,
    })
}
