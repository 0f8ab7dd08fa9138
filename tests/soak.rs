//! A million tokens: recurrent state stays as large, as fast and as well-behaved as it was at
//! the first thousand. `cargo test --test soak -- --ignored --nocapture` takes some
//! minutes and prints what it found.
//!
//! One test alone in its program, since it counts allocations and resident memory.
#![cfg(target_os = "linux")]

#[path = "support/mod.rs"]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rillm::{KvType, Model, Row, Session, SessionOptions};
use support::evaluate::options;
use support::fixture::Fixture;

static CALLS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this thread's calls count: the test's does, which does all the work; what tells
    /// that a test runs for long does not.
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTED.try_with(Cell::get) == Ok(true) {
            CALLS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One fixture of every family whose state does not grow.
const FAMILIES: [&str; 11] = [
    "mamba",
    "mamba2",
    "linear_transformer",
    "retnet",
    "retnet_fla",
    "gla",
    "rwkv4",
    "rwkv6",
    "rwkv7",
    "transfo_xl",
    "compressive_transformer_gated",
];

/// Tokens in all.
const TOKENS: usize = 1_000_000;

/// Where the comparison starts.
const EARLY: usize = 1_000;

/// Windows timed at each end, in turns.
const WINDOWS: usize = 31;

/// Tokens of a window.
const WINDOW: usize = 2_000;

/// What a token may cost more at the end.
const SLOWER: f64 = 1.05;

/// Bytes that may become resident on the way.
const GROWTH: usize = 1 << 20;

#[test]
#[ignore = "takes minutes"]
fn a_million_tokens() {
    COUNTED.set(true);
    for name in FAMILIES {
        let fixture = Fixture::load(name);
        let folder = fixture.folder();
        let model = Model::open(&folder, options()).expect("a fixture");
        stream(name, &model);
    }
}

fn stream(name: &str, model: &Model) {
    let options = SessionOptions::new()
        .context(64)
        .sequences(3)
        .batch(1)
        .source(1)
        .checkpoints(0)
        .kv_type(KvType::F32);
    let mut session = Session::new(model, options).expect("a session");
    let mut outputs = Outputs::default();
    feed(&mut session, 0..EARLY, 1, &mut outputs);
    session.fork(1, 0).expect("a fork");
    let early = outputs.take();
    let resident = resident();
    let (mut first, mut last) = (Vec::with_capacity(WINDOWS), Vec::with_capacity(WINDOWS));
    let calls = CALLS.load(Ordering::Relaxed);
    let start = Instant::now();
    feed(&mut session, EARLY..TOKENS, 0, &mut outputs);
    let seconds = start.elapsed().as_secs_f64();
    let late = outputs.take();

    // The same tokens at both ends, in turns, so that noise falls on both.
    for window in 0..WINDOWS {
        session.fork(1, 2).expect("a fork");
        first.push(timed(&mut session, EARLY, 2, &mut outputs));
        let at = TOKENS + window * WINDOW;
        last.push(timed(&mut session, at, 0, &mut outputs));
    }
    let calls = CALLS.load(Ordering::Relaxed) - calls;
    let growth = self::resident().saturating_sub(resident);
    let ratio = median(&mut last) / median(&mut first);
    println!(
        "{name}: {:.0} tokens/s, time at {TOKENS} over time at {EARLY}: {ratio:.3}, \
         {calls} allocations, {growth} bytes more resident, \
         outputs' RMS {:.3} (largest {:.2}) up to {EARLY}, {:.3} ({:.2}) after",
        (TOKENS - EARLY) as f64 / seconds,
        early.rms(),
        early.largest,
        late.rms(),
        late.largest,
    );
    assert_eq!(calls, 0, "{name}: allocations");
    assert!(growth <= GROWTH, "{name}: {growth} bytes more");
    assert!(ratio <= SLOWER, "{name}: {ratio}");
    // Nothing grows or dies away: outputs stay of one size.
    let change = late.rms() / early.rms();
    assert!((0.7..1.5).contains(&change), "{name}: {change}");
    assert!(late.largest < 3.0 * early.largest, "{name}");
}

/// Sizes of the outputs that came.
#[derive(Default)]
struct Outputs {
    squares: f64,
    count: usize,
    largest: f32,
}

impl Outputs {
    fn rms(&self) -> f64 {
        (self.squares / self.count.max(1) as f64).sqrt()
    }

    fn take(&mut self) -> Outputs {
        std::mem::take(self)
    }
}

/// Seconds for a window of tokens.
fn timed(session: &mut Session, start: usize, sequence: u32, outputs: &mut Outputs) -> f64 {
    let clock = Instant::now();
    feed(session, start..start + WINDOW, sequence, outputs);
    clock.elapsed().as_secs_f64()
}

fn feed(
    session: &mut Session,
    slots: std::ops::Range<usize>,
    sequence: u32,
    outputs: &mut Outputs,
) {
    let limits = session.model().limits();
    // A period that no memory's length shares.
    for slot in slots {
        let row = Row {
            token: (slot * slot % 1009 % limits.vocabulary as usize) as u32,
            position: slot as u64 % limits.positions,
            sequence,
            emit: true,
            ..Row::default()
        };
        let mut finite = true;
        let fed = session.feed(&[row], &mut |output| {
            for value in output.values {
                finite &= value.is_finite();
                outputs.squares += f64::from(*value) * f64::from(*value);
                outputs.largest = outputs.largest.max(value.abs());
            }
            outputs.count += output.values.len();
        });
        fed.expect("a token");
        assert!(finite, "token {slot}");
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Bytes that the process holds in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("the system's figures");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    number.expect("a number of KiB") << 10
}
