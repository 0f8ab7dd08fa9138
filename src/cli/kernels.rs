//! `rillm bench --kernels`: every kernel of every table on one core.

use super::CliError;
use rillm::formats::manifest::DType;
use rillm::kernels::{Isa, Kernels, Pointwise, Trial};
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Columns of a typical matrix.
const COLUMNS: usize = 2048;

/// Weights that no cache holds, for one input; of the scalar table fewer, which is slow anyway.
const STREAMED: usize = 64 << 20;

/// Weight rows and inputs of a prompt's product.
const PROMPT: (usize, usize) = (512, 64);

/// How long each kernel is timed.
const PATIENCE: Duration = Duration::from_millis(25);

/// Seconds of a call: the least of as many as fit into [`PATIENCE`], after one that does not
/// count.
fn seconds(mut call: impl FnMut()) -> f64 {
    call();
    let begin = Instant::now();
    let mut least = Duration::MAX;
    while least == Duration::MAX || begin.elapsed() < PATIENCE {
        let start = Instant::now();
        call();
        least = least.min(start.elapsed());
    }
    least.as_secs_f64().max(1e-9)
}

/// Writes the table: a `*` marks what this CPU uses unless told otherwise.
pub fn kernels() -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let tables: Vec<&Kernels> = Isa::available()
        .filter_map(|isa| Kernels::select(Some(isa)).ok())
        .collect();
    let chosen = tables.last().map_or(Isa::Scalar, |table| table.isa);
    writeln!(
        out,
        "| kernel | table | one input, GB/s | {} inputs, GOP/s |",
        PROMPT.1
    )?;
    writeln!(out, "|:--|:--|--:|--:|")?;
    let mark = |isa: Isa| if isa == chosen { "*" } else { "" };
    for &dtype in DType::ALL {
        for table in &tables {
            let row_len = dtype.row_len(COLUMNS as u64).unwrap_or(0).max(1) as usize;
            let streamed = match table.isa {
                Isa::Scalar => STREAMED / 64,
                Isa::Portable => STREAMED / 8,
                _ => STREAMED,
            };
            let one = Trial::new(table, dtype, (streamed / row_len, COLUMNS), 1);
            let many = Trial::new(table, dtype, (PROMPT.0, COLUMNS), PROMPT.1);
            let (Some(mut one), Some(mut many)) = (one, many) else {
                continue;
            };
            let read = one.bytes() as f64 / seconds(|| one.run()) / 1e9;
            let computed = many.operations() as f64 / seconds(|| many.run()) / 1e9;
            let (name, isa) = (dtype.name(), table.isa);
            writeln!(
                out,
                "| matmul {name} | {isa}{} | {read:.2} | {computed:.1} |",
                mark(isa)
            )?;
        }
    }
    writeln!(
        out,
        "\n| kernel, rows of {} | table | elements/ns |",
        4 * COLUMNS
    )?;
    writeln!(out, "|:--|:--|--:|")?;
    let x: Vec<f32> = (0..4 * COLUMNS)
        .map(|at| (at as f32 * 0.37).sin())
        .collect();
    let mut y = x.clone();
    let mut bytes = vec![0; 2 * x.len()];
    type Call<'a> = Box<dyn FnMut(&Kernels, &mut [f32], &mut [u8]) + 'a>;
    let mut calls: Vec<(String, Call<'_>)> = vec![
        (
            "rms_norm".into(),
            Box::new(|table, y, _| (table.rms_norm)(&x, &x, 1e-5, y)),
        ),
        (
            "layer_norm".into(),
            Box::new(|table, y, _| (table.layer_norm)(&x, &x, None, 1e-5, y)),
        ),
        ("add".into(), Box::new(|table, y, _| (table.add)(&x, &x, y))),
        ("mul".into(), Box::new(|table, y, _| (table.mul)(&x, &x, y))),
        (
            "axpy".into(),
            Box::new(|table, y, _| (table.axpy)(0.5, &x, y)),
        ),
        (
            "dot".into(),
            Box::new(|table, _, _| _ = std::hint::black_box((table.dot)(&x, &x))),
        ),
        ("softmax".into(), Box::new(|table, y, _| (table.softmax)(y))),
        (
            "quantize_q8_0".into(),
            Box::new(|table, _, bytes| (table.quantize_q8_0)(&x, &mut bytes[..x.len() / 32 * 40])),
        ),
        (
            "quantize_q8_k".into(),
            Box::new(|table, _, bytes| {
                (table.quantize_q8_k)(&x, &mut bytes[..x.len() / 256 * 292])
            }),
        ),
    ];
    for &function in Pointwise::ALL {
        let call: Call<'_> = Box::new(move |table, y, _| (table.pointwise)(function, y));
        calls.push((format!("{function:?}").to_lowercase(), call));
    }
    for (name, call) in &mut calls {
        for table in &tables {
            y.copy_from_slice(&x);
            let rate = x.len() as f64 / seconds(|| call(table, &mut y, &mut bytes)) / 1e9;
            writeln!(
                out,
                "| {name} | {}{} | {rate:.3} |",
                table.isa,
                mark(table.isa)
            )?;
        }
    }
    writeln!(out, "\n* what this CPU uses")?;
    Ok(out.flush()?)
}
