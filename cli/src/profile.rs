//! `--profile` and `--trace`: where the time of a run goes.

use super::CliError;
use clap::Args;
use rillm::Session;
use rillm::internals::SessionParts;
use rillm::internals::session::{PlanReport, Report, StepReport};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Events that each worker keeps for a trace: a hundred megabytes of JSON at most.
const EVENTS: usize = 1 << 19;

#[derive(Args, Clone, Debug)]
pub struct ProfileArguments {
    /// Show on stderr where time goes: by kind of step and by layer
    #[arg(long)]
    profile: bool,
    /// Write every step of every thread to this file, for ui.perfetto.dev or chrome://tracing
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

/// Reports, each with the name of what was measured.
#[derive(Debug, Default)]
pub struct Profiles(Vec<(String, Report)>);

impl ProfileArguments {
    /// Whether anything of it is.
    pub fn wanted(&self) -> bool {
        self.profile || self.trace.is_some()
    }

    /// Refuses a trace that cannot be written, before there is one.
    pub fn check(&self) -> Result<(), CliError> {
        self.trace.as_deref().map_or(Ok(()), super::output::check)
    }

    /// Begins a profile if one is asked for.
    pub fn begin(&self, session: &mut Session) {
        if self.wanted() {
            session.begin_profile(if self.trace.is_some() { EVENTS } else { 0 });
        }
    }

    /// Shows and writes what was asked for.
    pub fn finish(&self, profiles: &Profiles) -> Result<(), CliError> {
        if self.profile {
            let mut err = io::stderr().lock();
            for (name, report) in &profiles.0 {
                // A closed stderr is no failure.
                let _ = show(&mut err, name, report);
            }
        }
        match &self.trace {
            Some(path) => {
                let mut lost = 0;
                super::output::replace(path, |file| {
                    lost = write_trace(file, &profiles.0)?;
                    Ok(())
                })?;
                if lost > 0 {
                    super::warn(&format!(
                        "{lost} events did not fit into {}, the last ones are missing",
                        path.display()
                    ));
                }
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Profiles {
    /// Ends a session's profile, if there is one.
    pub fn end(&mut self, name: &str, session: &mut Session) {
        self.0.extend(
            session
                .end_profile()
                .map(|report| (name.to_string(), report)),
        );
    }
}

/// One line of a table.
#[derive(Clone, Copy, Default)]
struct Sum {
    work: Duration,
    bytes: u64,
    products: u64,
}

impl Sum {
    fn add(&mut self, step: &StepReport) {
        self.work += step.work;
        self.bytes += step.bytes;
        self.products += step.products;
    }
}

/// What the table calls a step.
fn kind(step: &StepReport) -> String {
    match &step.weight {
        Some(weight) => format!("{} {weight}", step.op),
        None => step.op.to_string(),
    }
}

fn show(out: &mut impl Write, name: &str, report: &Report) -> io::Result<()> {
    let mut inside = Duration::ZERO;
    for plan in report.plans.iter().filter(|plan| plan.runs > 0) {
        inside += plan.time;
        show_plan(out, name, plan, report.threads)?;
    }
    let outside = report.elapsed.saturating_sub(inside).as_secs_f64();
    writeln!(
        out,
        "between runs {:.3} ms, {:.1}% of {:.1} ms\n",
        1e3 * outside,
        100.0 * outside / report.elapsed.as_secs_f64().max(1e-9),
        1e3 * report.elapsed.as_secs_f64(),
    )
}

fn show_plan(
    out: &mut impl Write,
    name: &str,
    plan: &PlanReport,
    threads: usize,
) -> io::Result<()> {
    // Time of all workers, which is what steps and waits are parts of.
    let whole = plan.time.as_secs_f64() * threads as f64;
    let per_run = |time: f64| 1e3 * time / threads as f64 / plan.runs as f64;
    writeln!(
        out,
        "{name}, {}: {} runs of {:.1} rows, {:.3} ms each; times are of {threads} threads at once",
        plan.name,
        plan.runs,
        plan.rows as f64 / plan.runs as f64,
        1e3 * plan.time.as_secs_f64() / plan.runs as f64,
    )?;
    let mut kinds: BTreeMap<String, Sum> = BTreeMap::new();
    let mut layers: BTreeMap<(bool, usize), Sum> = BTreeMap::new();
    let (mut worked, mut waited) = (Duration::ZERO, Duration::ZERO);
    for step in &plan.steps {
        worked += step.work;
        waited += step.wait;
        kinds.entry(kind(step)).or_default().add(step);
        let layer = step.layer.map_or((true, 0), |layer| (false, layer));
        layers.entry(layer).or_default().add(step);
    }
    let line = |out: &mut dyn Write, time: f64, rates: [f64; 2], what: &str| {
        let rate = |rate: f64| match rate {
            0.0 => String::new(),
            rate => format!("{rate:.1}"),
        };
        let [bytes, products] = rates.map(rate);
        let (ms, share) = (per_run(time), 100.0 * time / whole.max(1e-12));
        writeln!(
            out,
            "{ms:>10.4} {share:>6.1}% {bytes:>8} {products:>9}  {what}"
        )
    };
    let rates = |sum: &Sum| {
        // Of all workers together, while they were at it.
        let seconds = sum.work.as_secs_f64() / threads as f64;
        let bytes = sum.bytes as f64 * plan.runs as f64;
        let operations = 2.0 * sum.products as f64 * plan.rows as f64;
        [bytes, operations].map(|sum| 1e-9 * sum / seconds.max(1e-12))
    };
    let head = |out: &mut dyn Write, what: &str| {
        writeln!(
            out,
            "{:>10} {:>7} {:>8} {:>9}  {what}",
            "ms/run", "share", "GB/s", "GOP/s"
        )
    };
    head(out, "step")?;
    let mut kinds: Vec<(String, Sum)> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.work));
    for (kind, sum) in kinds.iter().filter(|(_, sum)| !sum.work.is_zero()) {
        line(out, sum.work.as_secs_f64(), rates(sum), kind)?;
    }
    let waited = waited.as_secs_f64();
    line(out, waited, [0.0; 2], "waiting at barriers")?;
    let crowded = threads > 1 && waited > 0.5 * whole;
    let rest = (whole - worked.as_secs_f64() - waited).max(0.0);
    line(out, rest, [0.0; 2], "beginning, claiming, ending")?;
    head(out, "layer")?;
    for ((outside, layer), sum) in &layers {
        let what = match outside {
            true => "before and behind".to_string(),
            false => layer.to_string(),
        };
        line(out, sum.work.as_secs_f64(), rates(sum), &what)?;
    }
    if crowded {
        writeln!(
            out,
            "most of the time went into waiting: other programs may use these cores, or the model is \
             small; try -t 1"
        )?;
    }
    Ok(())
}

/// The trace event format: complete events, times in microseconds. Returns how many there was no
/// room for.
fn write_trace(out: &mut impl Write, profiles: &[(String, Report)]) -> io::Result<u64> {
    writeln!(out, "{{\"traceEvents\":[")?;
    let mut lost = 0;
    for (process, (name, report)) in profiles.iter().enumerate() {
        let named = json!({
            "name": "process_name", "ph": "M", "pid": process, "args": { "name": name },
        });
        writeln!(out, "{}{named}", if process == 0 { "" } else { "," })?;
        for (worker, events) in report.events.iter().enumerate() {
            for event in events {
                let plan = &report.plans[usize::from(event.plan)];
                let step = &plan.steps[event.node as usize];
                let what = match event.waited {
                    true => "wait".to_string(),
                    false => kind(step),
                };
                let event = json!({
                    "name": what, "cat": plan.name, "ph": "X", "pid": process, "tid": worker,
                    "ts": event.start as f64 / 1e3, "dur": event.nanos as f64 / 1e3,
                    "args": { "layer": step.layer, "node": event.node },
                });
                writeln!(out, ",{event}")?;
            }
        }
        lost += report.lost;
    }
    writeln!(out, "]}}")?;
    Ok(lost)
}
