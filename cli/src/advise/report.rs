//! What was decided, as text and as JSON.

use super::estimate::ERRORS;
use super::figures::{CONTEXT, QUOTED, planned};
use super::{Advice, RankedModel, Standing};
use crate::arguments::ThreadArguments;
use crate::inspect::large;
use crate::memory::placement_json;
use crate::plan::presumption;
use crate::terminal::{Out, one_line};
use crate::{CliError, bytes};
use rillm::KvType;
use rillm::internals::BlueprintParts;
use serde_json::{Value, json};
use std::io::Write;

/// Columns of text.
const WIDTH: usize = 96;

/// What is to be known of speeds that a disk bounds.
const FROM_DISK: &str = "Where weights come from a disk, memory holds what it can. Speeds are those of a text that asks for \
     all experts evenly, the least there is, and beside them those of one that keeps to the experts in \
     memory: where between them a text lies depends on it, so that no error can be said.";

pub fn as_text(advice: &Advice, figures: bool) -> Result<(), CliError> {
    let mut out = Out::new();
    let machine = &advice.machine;
    writeln!(
        out,
        "machine   {}, {} threads of {}: reads {:.1} GB/s, {:.0} int8 and {:.0} float operations/ns, {}",
        one_line(&machine.cpu),
        machine.threads,
        machine.isa,
        machine.limits.read / 1e9,
        machine.limits.int8 / 1e9,
        machine.limits.f32 / 1e9,
        machine.disk.map_or(String::new(), |rate| format!(
            "disk {:.1} GB/s, ",
            rate / 1e9
        )) + &machine.from
    )?;
    let options = advice.options;
    let sequences = match options.sequences {
        1 => String::new(),
        count => format!(" in each of {count} sequences"),
    };
    writeln!(
        out,
        "asked     {} tokens{sequences}, in {} of memory",
        options.context,
        bytes(advice.memory)
    )?;
    if let Some(path) = &advice.path {
        let steps = path.steps.iter();
        let steps: Vec<&str> = steps
            .map(|(question, at)| question.answers[*at].label)
            .collect();
        writeln!(
            out,
            "path      {} → {}\n",
            steps.join(" → "),
            path.leaf.name
        )?;
        wrapped(&mut out, path.leaf.reason)?;
    }
    writeln!(
        out,
        "\n{:<18} {:>6} {:>7} {:>10} {:>10} {:>10} {:>10} {:>8} {:>8}",
        "model", "size", "type", "weights", "state", "arena", "all", "read/s", "write/s"
    )?;
    for candidate in &advice.candidates {
        line(&mut out, candidate)?;
    }
    writeln!(out)?;
    wrapped(&mut out, &recommendation(advice))?;
    let (generation, prompt) = ERRORS;
    wrapped(
        &mut out,
        &format!(
            "Bytes are those that a session reserves. Tokens per second are estimates: half of those for \
             writing are off by less than {:.0}%, of those for reading by less than {:.0}%.",
            100.0 * generation,
            100.0 * prompt
        ),
    )?;
    if advice
        .candidates
        .iter()
        .any(|one| one.estimate.disk.is_some())
    {
        wrapped(&mut out, FROM_DISK)?;
    }
    for candidate in &advice.candidates {
        if let Some(what) = presumption(candidate.planned.presumed()) {
            writeln!(out, "{}: {what}", one_line(&candidate.name))?;
        }
    }
    if figures {
        quoted(&mut out)?;
    }
    Ok(())
}

fn line(out: &mut Out, candidate: &RankedModel) -> Result<(), CliError> {
    let estimate = &candidate.estimate;
    let rate = |rate: Option<f64>| rate.map_or("–".to_string(), rounded);
    writeln!(
        out,
        "{:<18} {:>6} {:>7} {:>10} {:>10} {:>10} {:>10} {:>8} {:>8}{}",
        one_line(&candidate.name),
        large(candidate.planned.parameters().all),
        candidate.mix.map_or("as is", |mix| mix.name),
        bytes(estimate.weights),
        bytes(estimate.state),
        bytes(estimate.arena),
        bytes(estimate.total()),
        rate(Some(estimate.prompt)),
        rate(estimate.generation),
        remark(candidate)
    )?;
    Ok(())
}

/// What speaks against a candidate.
fn remark(candidate: &RankedModel) -> String {
    let mut what = Vec::new();
    match candidate.standing {
        Standing::Fits | Standing::FromDisk => {}
        Standing::Slow => what.push("slower than asked".to_string()),
        Standing::TooLong => {
            let reach = candidate.reach.unwrap_or_default();
            what.push(format!("knows texts of {reach} tokens at most"));
        }
        Standing::DoesNotFit => what.push("does not fit".to_string()),
    }
    if let Some(disk) = &candidate.estimate.disk {
        let read = bytes(disk.per_token as u64);
        what.push(match (disk.is_timed, disk.at_most) {
            (true, None) => format!("reads {read} for each token"),
            (true, Some(most)) => {
                let most = rounded(most);
                format!("reads up to {read} for each token, {most}/s where it keeps to experts in memory")
            }
            (false, _) => format!("reads up to {read} for each token, slower by what that takes"),
        });
    }
    match what.is_empty() {
        true => String::new(),
        false => format!("  {}", what.join("; ")),
    }
}

fn rounded(rate: f64) -> String {
    match rate {
        rate if rate >= 100.0 => format!("{rate:.0}"),
        rate if rate < 1.0 => format!("{rate:.2}"),
        rate => format!("{rate:.1}"),
    }
}

/// The best, and why.
fn recommendation(advice: &Advice) -> String {
    let best = advice.candidates.first();
    let Some(best) = best.filter(|best| best.standing < Standing::TooLong) else {
        return way_out(advice);
    };
    let mix = best
        .mix
        .map_or(String::new(), |mix| format!(" in {}", mix.name));
    let speed = match (best.estimate.generation, advice.options.sequences) {
        (Some(rate), 1) => format!(", and writes some {} tokens a second", rounded(rate)),
        (Some(rate), _) => format!(", and writes some {} tokens a second in all", rounded(rate)),
        (None, _) => format!(
            ", and reads some {} tokens a second",
            rounded(best.estimate.prompt)
        ),
    };
    let slow = match best.standing {
        Standing::Slow => ". That is less than asked for: nothing that fits is fast enough",
        _ => "",
    };
    format!(
        "Take {}{mix}: it takes {} of {}{speed}{slow}.",
        best.name,
        bytes(best.estimate.held()),
        bytes(advice.memory)
    )
}

/// What would help where nothing can be recommended.
fn way_out(advice: &Advice) -> String {
    let candidates = || advice.candidates.iter();
    let reaches = candidates().filter(|one| one.standing == Standing::TooLong);
    if let Some(furthest) = reaches.max_by_key(|one| one.reach) {
        return format!(
            "Nothing of this kind that fits knows texts of {} tokens: cut them into parts, of {} for {}, or \
             take another kind of model.",
            advice.options.context,
            furthest.reach.unwrap_or_default(),
            furthest.name
        );
    }
    let options = advice.options;
    let mut help = Vec::new();
    if options.context > 512 {
        help.push("shorter texts");
    }
    if options.sequences > 1 {
        help.push("fewer streams");
    }
    let caches = candidates().any(|one| one.planned.decodes() && one.estimate.state > 0);
    if caches && options.kv_type != KvType::Q8_0 {
        help.push("a smaller KV cache (--kv-type q8_0)");
    }
    help.push("more memory");
    let help = match help.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => help.concat(),
    };
    let least = candidates().min_by_key(|one| one.estimate.total());
    let least = least.map_or(String::new(), |least| {
        let mix = least
            .mix
            .map_or(String::new(), |mix| format!(" in {}", mix.name));
        let total = bytes(least.estimate.total());
        format!(" The least takes {total}: {}{mix}.", least.name)
    });
    format!(
        "Nothing of this kind fits into {}: {help} would help.{least}",
        bytes(advice.memory)
    )
}

/// Lines of a paragraph.
fn wrapped(out: &mut Out, text: &str) -> Result<(), CliError> {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + word.chars().count() >= WIDTH {
            writeln!(out, "{line}")?;
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(out, "{line}")?;
    Ok(())
}

fn quoted(out: &mut Out) -> Result<(), CliError> {
    writeln!(
        out,
        "\nFigures that people quote, all for graphics cards, and plans for {CONTEXT} tokens:\n\n{:<22} {:>8} {:>10} {:>10}",
        "of", "quoted", "in f16", "in q4_k_m"
    )?;
    let threads = ThreadArguments::default();
    for figure in QUOTED {
        let [half, quarter] = planned(figure, &threads)?;
        let speed = figure
            .speed
            .map_or(String::new(), |speed| format!("{speed} tokens/s; "));
        writeln!(
            out,
            "{:<22} {:>5} GB {:>10} {:>10}",
            figure.what,
            figure.memory,
            bytes(half),
            bytes(quarter)
        )?;
        wrapped(out, &format!("    {speed}{}", figure.why))?;
    }
    Ok(())
}

pub fn as_json(advice: &Advice, figures: bool) -> Result<(), CliError> {
    let candidates: Vec<Value> = advice.candidates.iter().map(candidate).collect();
    let path = advice.path.as_ref().map(|path| {
        let steps = path.steps.iter().map(|(question, at)| {
            json!({ "question": question.text, "answer": question.answers[*at].label })
        });
        json!({
            "steps": steps.collect::<Vec<_>>(),
            "leaf": path.leaf.name,
            "reason": path.leaf.reason,
        })
    });
    let quoted = match figures {
        true => figures_json()?,
        false => Value::Null,
    };
    let all = json!({
        "machine": advice.machine.json(),
        "asked": {
            "context": advice.options.context,
            "streams": advice.options.sequences,
            "memory_bytes": advice.memory,
        },
        "path": path,
        "candidates": candidates,
        "recommendation": recommendation(advice),
        "errors": { "generation": ERRORS.0, "prompt": ERRORS.1 },
        "quoted": quoted,
    });
    writeln!(Out::new(), "{all}")?;
    Ok(())
}

fn candidate(candidate: &RankedModel) -> Value {
    let estimate = &candidate.estimate;
    let standing = match candidate.standing {
        Standing::Fits => "fits",
        Standing::FromDisk => "from disk",
        Standing::Slow => "slow",
        Standing::TooLong => "too long",
        Standing::DoesNotFit => "does not fit",
    };
    json!({
        "model": candidate.name,
        "title": candidate.planned.title(),
        "parameters": candidate.planned.parameters().all,
        "active_parameters": candidate.planned.parameters().active,
        "type": candidate.mix.map(|mix| mix.name),
        "weights_bytes": estimate.weights,
        "state_bytes": estimate.state,
        "arena_bytes": estimate.arena,
        "total_bytes": estimate.total(),
        "prompt_tokens_per_second": estimate.prompt,
        "generated_tokens_per_second": estimate.generation,
        "standing": standing,
        "held_bytes": estimate.held(),
        "disk": estimate.disk.as_ref().map(|disk| {
            let mut all = placement_json(&disk.placement);
            all["bytes_per_token"] = json!(disk.per_token.round());
            all["is_timed"] = json!(disk.is_timed);
            all["generated_tokens_per_second_at_most"] = json!(disk.at_most);
            all["error"] = Value::Null;
            all
        }),
    })
}

fn figures_json() -> Result<Value, CliError> {
    let threads = ThreadArguments::default();
    let mut all = Vec::new();
    for figure in QUOTED {
        let [half, quarter] = planned(figure, &threads)?;
        all.push(json!({
            "of": figure.what,
            "shape": figure.shape,
            "quoted_gb": figure.memory,
            "quoted_tokens_per_second": figure.speed,
            "f16_bytes": half,
            "q4_k_m_bytes": quarter,
            "why": figure.why,
        }));
    }
    Ok(json!(all))
}
