//! What this machine could do at best, measured in less than a second.

use super::CliError;
use rillm::RunError;
use rillm::internals::kernels::{Isa, PeakBench};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Bytes read by all threads: several times what the largest caches hold.
const BYTES: usize = 256 << 20;

/// Turns of a loop of products: a few milliseconds.
const TURNS: u64 = 1 << 20;

/// Attempts, of which the best counts: in some a thread shares its core with a stranger, or for
/// a while with another of these.
const ATTEMPTS: usize = 12;

/// Limits of the machine at a number of threads.
#[derive(Clone, Copy, Debug)]
pub struct Roofline {
    /// Bytes read from memory per second.
    pub read: f64,
    /// int8 operations per second: two for each product.
    pub int8: f64,
    /// f32 operations per second.
    pub f32: f64,
    /// bf16 operations per second, where the CPU has such.
    pub bf16: Option<f64>,
}

impl Roofline {
    /// Measures with these instructions on so many threads.
    ///
    /// # Errors
    /// If the system refuses the memory that is read.
    pub fn measure(isa: Isa, threads: usize) -> Result<Roofline, CliError> {
        let peak = PeakBench::of(isa);
        let bytes = written(BYTES, "--no-roofline does without")?;
        let each = BYTES / threads;
        let parts: Vec<&[u8]> = bytes.chunks(each).take(threads).collect();
        let fewer = match isa {
            Isa::Scalar | Isa::Portable => 4,
            _ => 1,
        };
        let turns = TURNS / fewer;
        let rate = |work: f64, loop_: &(dyn Fn(usize) -> u64 + Sync)| {
            let (time, threads) = together(threads, loop_);
            work * threads as f64 / time.as_secs_f64().max(1e-9)
        };
        Ok(Roofline {
            read: rate(each as f64, &|worker| (peak.read)(parts[worker])),
            int8: rate((turns * peak.int8_operations) as f64, &|_| {
                (peak.int8)(turns)
            }),
            f32: rate((turns * peak.f32_operations) as f64, &|_| (peak.f32)(turns)),
            bf16: peak
                .bf16
                .map(|(loop_, operations)| rate((turns * operations) as f64, &|_| loop_(turns))),
        })
    }

    /// For `--json`.
    pub fn json(&self) -> Value {
        // What was read back is written as it was.
        let billions = |rate: f64| (rate / 1e6).round() / 1e3;
        json!({
            "read_gb_per_second": billions(self.read),
            "int8_gop_per_second": billions(self.int8),
            "f32_gflop_per_second": billions(self.f32),
            "bf16_gflop_per_second": self.bf16.map(billions),
        })
    }
}

/// Bytes to be read, which were written so that each page has memory of its own.
///
/// # Errors
/// If the system refuses them; `way_out` ends what is said then.
pub fn written(len: usize, way_out: &str) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| {
        let mib = len >> 20;
        let what = format!("cannot reserve {mib} MiB to measure memory with, {way_out}");
        RunError::Input(what)
    })?;
    bytes.resize(len, 1);
    Ok(bytes)
}

/// How long `work` takes on all threads that begin at once, at best, and how many those are: fewer
/// than `threads` where the system refuses some.
fn together(threads: usize, work: &(dyn Fn(usize) -> u64 + Sync)) -> (Duration, usize) {
    let arrived = AtomicUsize::new(0);
    // Known when all have been started.
    let started = AtomicUsize::new(0);
    // Threads that sleep at a barrier may wake on one core: these stay awake between attempts.
    let attempts = |worker: usize| {
        let attempt = |attempt: usize| {
            arrived.fetch_add(1, Ordering::AcqRel);
            while match started.load(Ordering::Acquire) {
                0 => true,
                started => arrived.load(Ordering::Acquire) < started * (attempt + 1),
            } {
                std::thread::yield_now();
            }
            let begin = Instant::now();
            std::hint::black_box(work(worker));
            begin.elapsed()
        };
        std::array::from_fn::<Duration, ATTEMPTS, _>(attempt)
    };
    let all: Vec<[Duration; ATTEMPTS]> = std::thread::scope(|scope| {
        let attempts = &attempts;
        let start = |worker| {
            let builder = std::thread::Builder::new();
            builder.spawn_scoped(scope, move || attempts(worker)).ok()
        };
        let workers: Vec<_> = (1..threads).map_while(start).collect();
        started.store(workers.len() + 1, Ordering::Release);
        let own = attempts(0);
        let times = workers.into_iter().map(|worker| worker.join());
        // No thread panics: they do nothing but arithmetic.
        times.filter_map(Result::ok).chain([own]).collect()
    });
    let longest = |attempt: usize| all.iter().map(|times| times[attempt]).max();
    let best = (0..ATTEMPTS).filter_map(longest).min();
    (best.unwrap_or_default(), all.len())
}
