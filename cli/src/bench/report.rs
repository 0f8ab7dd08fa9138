//! Results as llama-bench writes them, in every form.

use super::{Arguments, Measured, ReportForm, Test};
use crate::roofline::Roofline;
use crate::terminal::{Out, is_too_narrow, one_line};
use rillm::Model;
use serde_json::{Value, json};
use std::io::{self, Write};

/// Mean and standard deviation of a sample.
fn mean(rates: &[f64]) -> (f64, f64) {
    let count = rates.len() as f64;
    let mean = rates.iter().sum::<f64>() / count;
    let squares: f64 = rates.iter().map(|rate| (rate - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0).max(1.0)).sqrt())
}

/// Names and values of a result, in the order of the columns.
fn fields(
    arguments: &Arguments,
    model: &Model,
    roofline: Option<Roofline>,
    measured: &Measured,
) -> Vec<(&'static str, Value)> {
    let Measured { test, rates, limit } = measured;
    let (mean, deviation) = mean(rates);
    let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let most = rates.iter().copied().fold(0.0, f64::max);
    let mut sorted = rates.clone();
    sorted.sort_by(f64::total_cmp);
    let median = f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    vec![
        ("model", json!(arguments.model.path().display().to_string())),
        ("architecture", json!(model.manifest().architecture)),
        ("isa", json!(model.isa().name())),
        ("tuning", crate::tune::written(model.isa(), model.tuning())),
        ("precision", json!(model.precision().name())),
        ("threads", json!(model.threads())),
        ("batch", json!(arguments.rows())),
        ("kv_type", json!(arguments.kv_type.kv_type.name())),
        ("test", json!(test.name())),
        ("n_prompt", json!(test.prompt)),
        ("n_gen", json!(test.generated)),
        ("n_depth", json!(test.depth)),
        ("texts", json!(test.texts)),
        ("repetitions", json!(rates.len())),
        ("tokens_per_second", json!(mean)),
        ("stddev", json!(deviation)),
        ("median", json!(median)),
        ("min", json!(least)),
        ("max", json!(most)),
        ("limit", json!(limit)),
        ("share", json!(limit.map(|limit| mean / limit))),
        ("roofline", json!(roofline.map(|roofline| roofline.json()))),
    ]
}

/// Results as they come in: what is known is shown, whatever becomes of the rest.
pub(super) struct Results<'a> {
    arguments: &'a Arguments,
    model: &'a Model,
    roofline: Option<Roofline>,
    form: ReportForm,
    /// Of a table's columns.
    widths: [usize; COLUMNS],
    /// How many there were.
    count: usize,
    /// Of a list, which is written as a whole.
    list: Vec<Value>,
}

impl<'a> Results<'a> {
    pub(super) fn new(
        arguments: &'a Arguments,
        model: &'a Model,
        roofline: Option<Roofline>,
        tests: &[Test],
    ) -> Results<'a> {
        let names = tests.iter().map(|test| test.name().chars().count());
        let mut widths = HEADS.map(|head| head.chars().count());
        let known = [
            model.manifest().architecture.chars().count(),
            model.isa().name().len(),
            model.threads().to_string().len(),
            names.max().unwrap_or(0),
            // Room for figures that are not known yet: 123456.78 ± 12345.67.
            20,
            9,
            5,
        ];
        for (width, known) in widths.iter_mut().zip(known) {
            *width = known.max(*width);
        }
        Results {
            arguments,
            model,
            roofline,
            form: match arguments.json {
                true => ReportForm::Jsonl,
                false => arguments.output,
            },
            widths,
            count: 0,
            list: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, measured: &Measured) -> io::Result<()> {
        let mut out = Out::new();
        let row = fields(self.arguments, self.model, self.roofline, measured);
        let object = || -> Value {
            let pairs = row.iter();
            Value::Object(pairs.map(|(k, v)| (k.to_string(), v.clone())).collect())
        };
        let first = self.count == 0;
        self.count += 1;
        match self.form {
            ReportForm::Md if is_too_narrow(table_width(&self.widths)) => {
                let [model, isa, threads, test, rate, limit, share] = cells(self.model, measured);
                if first {
                    writeln!(out, "{model}, {isa}, threads: {threads}")?;
                }
                writeln!(out, "{test}: {rate} t/s")?;
                if measured.limit.is_some() {
                    writeln!(out, "  limit {limit}, share {share}")?;
                }
            }
            ReportForm::Md => {
                if first {
                    line(&mut out, &HEADS.map(str::to_string), &self.widths)?;
                    rule(&mut out, &self.widths)?;
                }
                line(&mut out, &cells(self.model, measured), &self.widths)?;
            }
            ReportForm::Csv => {
                if first {
                    let names: Vec<&str> = row.iter().map(|(name, _)| *name).collect();
                    writeln!(out, "{}", names.join(","))?;
                }
                let values: Vec<String> = row.iter().map(|(_, value)| quoted(value)).collect();
                writeln!(out, "{}", values.join(","))?;
            }
            ReportForm::Json => self.list.push(object()),
            ReportForm::Jsonl => writeln!(out, "{}", object())?,
        }
        out.flush()
    }

    pub(super) fn end(self) -> io::Result<()> {
        let mut out = Out::new();
        match (self.form, self.roofline) {
            (ReportForm::Json, _) => writeln!(out, "{:#}", Value::Array(self.list))?,
            (ReportForm::Md, Some(roofline)) => writeln!(
                out,
                "\nThis machine with {}, {}: {:.1} GB/s read, {:.0} GOP/s in int8, {:.0} GFLOP/s in \
                 f32{}; limit is what they would allow. Precision: {}.",
                crate::threads(self.model),
                self.model.isa(),
                roofline.read / 1e9,
                roofline.int8 / 1e9,
                roofline.f32 / 1e9,
                match roofline.bf16 {
                    Some(bf16) => format!(", {:.0} in bf16", bf16 / 1e9),
                    None => String::new(),
                },
                self.model.precision(),
            )?,
            _ => {}
        }
        out.flush()
    }
}

/// A value as RFC 4180 writes it: text in quotation marks, those inside doubled.
fn quoted(value: &Value) -> String {
    match value.as_str() {
        Some(text) => format!("\"{}\"", text.replace('"', "\"\"")),
        None if value.is_object() => quoted(&Value::String(value.to_string())),
        None => value.to_string(),
    }
}

const COLUMNS: usize = 7;

const HEADS: [&str; COLUMNS] = ["model", "isa", "threads", "test", "t/s", "limit", "share"];

/// A result in a table.
fn cells(model: &Model, measured: &Measured) -> [String; COLUMNS] {
    let (mean, deviation) = mean(&measured.rates);
    let limit = measured.limit;
    [
        one_line(&model.manifest().architecture).into_owned(),
        model.isa().to_string(),
        model.threads().to_string(),
        measured.test.name(),
        format!("{mean:.2} ± {deviation:.2}"),
        limit.map_or("–".to_string(), |limit| format!("{limit:.1}")),
        limit.map_or("–".to_string(), |limit| {
            format!("{:.0}%", 100.0 * mean / limit)
        }),
    ]
}

/// Characters of a table's line.
fn table_width(widths: &[usize; COLUMNS]) -> usize {
    widths.iter().map(|width| width + 3).sum::<usize>() + 1
}

/// Whether a column is of numbers.
fn is_number(column: usize) -> bool {
    matches!(column, 2 | 4..)
}

fn line(
    out: &mut impl Write,
    cells: &[String; COLUMNS],
    widths: &[usize; COLUMNS],
) -> io::Result<()> {
    let cells = cells.iter().zip(widths).enumerate();
    let cells: Vec<String> = cells
        .map(|(column, (cell, &width))| match is_number(column) {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        })
        .collect();
    writeln!(out, "| {} |", cells.join(" | "))
}

/// What stands between a table's heads and its lines.
fn rule(out: &mut impl Write, widths: &[usize; COLUMNS]) -> io::Result<()> {
    let rules = widths.iter().enumerate().map(|(column, &width)| {
        let dashes = "-".repeat(width.saturating_sub(1));
        match is_number(column) {
            true => format!("{dashes}:"),
            false => format!(":{dashes}"),
        }
    });
    writeln!(out, "| {} |", rules.collect::<Vec<_>>().join(" | "))
}
