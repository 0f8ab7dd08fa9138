//! `rillm bench --kernels`: every kernel of every table on one core.

mod state;

use super::CliError;
use super::output::warn;
use super::roofline::written;
use super::terminal::Out;
use rillm::formats::manifest::DType;
use rillm::internals::kernels::{Isa, KernelBench, Kernels, Pairing, PeakBench, Pointwise};
use std::cell::RefCell;
use std::hint::black_box;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Columns of a typical matrix.
const COLUMNS: usize = 2048;

/// Weights that no cache holds, for one input; of the scalar table fewer, which is slow anyway.
const STREAMED: usize = 64 << 20;

/// Weight rows and inputs of a prompt's product.
const PROMPT: (usize, usize) = (512, 64);

/// Turns of a loop of products that has nothing else to do.
const TURNS: u64 = 1 << 16;

/// How long each kernel is timed.
const PATIENCE: Duration = Duration::from_millis(25);

/// Seconds of a call: the least of as many as fit into [`PATIENCE`], after one that does not
/// count.
fn seconds(mut call: impl FnMut()) -> f64 {
    in_turn(&mut [()], |()| call())[0]
}

/// The same of calls that are to be compared: one after the other in turn, so that what comes
/// and goes on a machine meets all of them.
fn in_turn<T>(each: &mut [T], mut call: impl FnMut(&mut T)) -> Vec<f64> {
    each.iter_mut().for_each(&mut call);
    let mut timed = vec![(Duration::MAX, Duration::ZERO); each.len()];
    while timed.iter().any(|(_, spent)| *spent < PATIENCE) {
        for (one, (least, spent)) in each.iter_mut().zip(&mut timed) {
            if *spent < PATIENCE {
                let start = Instant::now();
                call(one);
                let took = start.elapsed();
                *least = took.min(*least);
                // A call that takes no time the clock can tell is not timed for ever.
                *spent += took.max(Duration::from_nanos(100));
            }
        }
    }
    let least = timed.iter().map(|(least, _)| least.as_secs_f64().max(1e-9));
    least.collect()
}

/// The tables that this CPU can run, of which it uses the last unless told otherwise, and what they
/// came to.
struct Tables {
    all: Vec<&'static Kernels>,
    figures: RefCell<Vec<Figure>>,
}

/// Work in a unit of time by a kernel of a table.
struct Figure {
    kernel: String,
    /// What work, as the column's head says.
    what: String,
    isa: Isa,
    rate: f64,
}

/// What the chosen table may be behind another: less is noise.
const BEHIND: f64 = 0.9;

impl Tables {
    fn chosen(&self) -> Option<Isa> {
        self.all.last().map(|table| table.isa)
    }

    /// Keeps what a kernel came to, for a head and its rates, and gives the table's name, marked if it
    /// is the chosen one.
    fn note(&self, kernel: &str, isa: Isa, rates: &[(&str, f64)]) -> String {
        for &(what, rate) in rates {
            let (kernel, what) = (kernel.to_string(), what.to_string());
            let figure = Figure {
                kernel,
                what,
                isa,
                rate,
            };
            self.figures.borrow_mut().push(figure);
        }
        let mark = if self.chosen() == Some(isa) { "*" } else { "" };
        format!("{isa}{mark}")
    }

    /// A line for each kernel in which the chosen table is behind another one.
    fn behind(&self) -> Vec<String> {
        let figures = self.figures.borrow();
        let chosen = figures
            .iter()
            .filter(|figure| Some(figure.isa) == self.chosen());
        let behind = chosen.filter_map(|chosen| {
            // The plain table reads from a cache what others read from memory.
            let others = figures.iter().filter(|other| {
                let alike = other.kernel == chosen.kernel && other.what == chosen.what;
                alike && streamed(other.isa) == streamed(chosen.isa)
            });
            let best = others.max_by(|a, b| a.rate.total_cmp(&b.rate))?;
            let share = chosen.rate / best.rate;
            (share < BEHIND).then(|| {
                format!(
                    "{}, {}: {} is {:.0}% behind {}",
                    chosen.kernel,
                    chosen.what,
                    chosen.isa,
                    100.0 * (1.0 - share),
                    best.isa
                )
            })
        });
        behind.collect()
    }
}

/// Bytes that stand for memory rather than for caches; fewer for what is slow anyway.
fn streamed(isa: Isa) -> usize {
    match isa {
        Isa::Scalar => STREAMED / 64,
        _ => STREAMED,
    }
}

/// Writes the tables: a `*` marks what this CPU uses unless told otherwise.
/// Says where another table would be faster; when asked to `check`, that is an error.
pub fn kernels(check: bool) -> Result<(), CliError> {
    let mut out = Out::new();
    let tables = Isa::available().filter_map(|isa| Kernels::select(Some(isa)).ok());
    let tables = Tables {
        all: tables.collect(),
        figures: RefCell::default(),
    };
    limits(&tables, &mut out)?;
    products(&tables, &mut out)?;
    state::attention(&tables, &mut out)?;
    state::states(&tables, &mut out)?;
    rows(&tables, &mut out)?;
    writeln!(
        out,
        "\n* what this CPU uses\n\
         What one input or a token reads is {} MiB, more than most caches hold; the scalar kernels' is \
         {} MiB, which they do hold. A prompt's products, rows and states are in a cache.",
        STREAMED >> 20,
        streamed(Isa::Scalar) >> 20
    )?;
    out.flush()?;
    let behind = tables.behind();
    for line in &behind {
        warn(line);
    }
    verdict(&behind, check)
}

/// Where a choice is slower than it could be, that is an error to who asked.
fn verdict(behind: &[String], check: bool) -> Result<(), CliError> {
    match behind.len() {
        count if check && count > 0 => {
            let what = format!("{count} kernels of the table that this CPU uses are behind others");
            Err(CliError::Check(what))
        }
        _ => Ok(()),
    }
}

/// What a core could do at best, to hold the others against.
fn limits(tables: &Tables, out: &mut impl Write) -> Result<(), CliError> {
    let bytes = written(4 * STREAMED, "give it more (ulimit -v)")?;
    writeln!(
        out,
        "| limit of a core | instruction set | read, GB/s | int8, GOP/s | f32, GFLOP/s |"
    )?;
    writeln!(out, "|:--|:--|--:|--:|--:|")?;
    for table in &tables.all {
        let peak = PeakBench::of(table.isa);
        let rate = |work: u64, seconds: f64| work as f64 / seconds / 1e9;
        let read = seconds(|| _ = black_box((peak.read)(&bytes)));
        let int8 = seconds(|| _ = black_box((peak.int8)(TURNS)));
        let f32 = seconds(|| _ = black_box((peak.f32)(TURNS)));
        writeln!(
            out,
            "| at best | {} | {:.2} | {:.1} | {:.1} |",
            // Loops of the machine, not kernels among which somebody chooses.
            tables.note("at best", table.isa, &[]),
            rate(bytes.len() as u64, read),
            rate(TURNS * peak.int8_operations, int8),
            rate(TURNS * peak.f32_operations, f32),
        )?;
    }
    Ok(())
}

/// What makes a product to time.
type Make = fn(&Kernels, DType, (usize, usize), usize) -> Option<KernelBench>;

/// A product of a table, with one input and with many.
struct TimedProduct {
    isa: Isa,
    one: KernelBench,
    many: KernelBench,
}

fn products(tables: &Tables, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "\n| kernel | instruction set | one input, GB/s | {} inputs, GOP/s |",
        PROMPT.1
    )?;
    writeln!(out, "|:--|:--|--:|--:|")?;
    for &dtype in DType::ALL {
        let row_len = dtype.row_len(COLUMNS as u64).unwrap_or(0).max(1) as usize;
        for (stored, make) in [
            ("", KernelBench::new as Make),
            (" transposed", KernelBench::transposed),
            (" native", KernelBench::native),
        ] {
            let mut timed: Vec<TimedProduct> = Vec::new();
            for table in &tables.all {
                let weight_rows = streamed(table.isa) / row_len;
                // Tables that are compared read the very same weights.
                let like = |other: &&TimedProduct| streamed(other.isa) == streamed(table.isa);
                let (one, many) = match timed.iter().find(like) {
                    Some(like) => (like.one.by(table), like.many.by(table)),
                    None => (
                        make(table, dtype, (weight_rows, COLUMNS), 1),
                        make(table, dtype, (PROMPT.0, COLUMNS), PROMPT.1),
                    ),
                };
                let (Some(one), Some(many)) = (one, many) else {
                    continue;
                };
                let isa = table.isa;
                timed.push(TimedProduct { isa, one, many });
            }
            let read = in_turn(&mut timed, |product| product.one.run());
            let computed = in_turn(&mut timed, |product| product.many.run());
            let name = format!("matmul {}{stored}", dtype.name());
            for ((product, read), computed) in timed.iter().zip(read).zip(computed) {
                let read = product.one.bytes() as f64 / read / 1e9;
                let computed = product.many.operations() as f64 / computed / 1e9;
                let rates = [("one input", read), ("many inputs", computed)];
                let isa = tables.note(&name, product.isa, &rates);
                writeln!(out, "| {name} | {isa} | {read:.2} | {computed:.1} |")?;
            }
        }
    }
    Ok(())
}

fn rows(tables: &Tables, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "\n| kernel, rows of {} | instruction set | elements/ns |",
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
            Box::new(|table, _, _| _ = black_box((table.dot)(&x, &x))),
        ),
        (
            "widen".into(),
            Box::new(|table, y, bytes| (table.widen)(bytes, y)),
        ),
        (
            "rotate".into(),
            Box::new(|table, y, _| {
                let (cos, sin) = x.split_at(x.len() / 2);
                (table.rotate)(y, cos, sin, Pairing::Halves);
            }),
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
        // Anew for each call: what works in place would meet its own results, which soon are zeros
        // or numbers too small for the fast way.
        let timed = in_turn(&mut tables.all.clone(), |table| {
            y.copy_from_slice(&x);
            call(table, &mut y, &mut bytes);
        });
        for (table, timed) in tables.all.iter().zip(timed) {
            let rate = x.len() as f64 / timed / 1e9;
            let isa = tables.note(name, table.isa, &[("rows", rate)]);
            writeln!(out, "| {name} | {isa} | {rate:.3} |")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables of which the chosen one is slower at one kernel by more than noise, at another by less.
    #[test]
    fn a_slower_choice_is_told() {
        let plain = Kernels::select(Some(Isa::Scalar)).expect("any CPU");
        let chosen = Kernels::select(Some(Isa::Portable)).expect("any CPU");
        let tables = Tables {
            all: vec![plain, chosen],
            figures: RefCell::default(),
        };
        assert_eq!(
            tables.note("rms_norm", Isa::Scalar, &[("rows", 10.0)]),
            "scalar"
        );
        assert_eq!(
            tables.note("rms_norm", Isa::Portable, &[("rows", 8.9)]),
            "portable*"
        );
        tables.note("softmax", Isa::Scalar, &[("rows", 10.0)]);
        tables.note("softmax", Isa::Portable, &[("rows", 9.1)]);
        tables.note("matmul Q8_0", Isa::Portable, &[("one input", 1.0)]);
        // Of the plain table less is read, which a cache holds: that is another figure.
        assert_eq!(tables.behind(), [""; 0]);
        tables.note("rms_norm", Isa::Avx2, &[("rows", 20.0)]);
        let told = tables.behind();
        assert_eq!(told, ["rms_norm, rows: portable is 55% behind avx2"]);
        assert!(verdict(&told, false).is_ok());
        assert!(matches!(verdict(&told, true), Err(CliError::Check(_))));
        assert!(verdict(&[], true).is_ok());
    }
}
