//! After the first feed nothing is allocated any more: no thread of the process asks the
//! allocator for anything while rows go through, sequences fork and rewind, or text is written.
//! Before it, whatever grows with a caller's numbers or a file's may be refused: an error comes back,
//! whichever of the allocations it is, and the process goes on.
//!
//! One test alone in its program, without the harness, whose own thread allocates now and then:
//! the counter counts every thread.

#[path = "support/mod.rs"]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Display;
use std::ops::ControlFlow;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

use rillm::generate::{GenerateOptions, generate};
use rillm::sample::{DryOptions, SampleOptions, Sampler};
use rillm::{KvType, Model, ModelOptions, Row, Session, SessionOptions};
use support::fixture::Fixture;

/// Calls that asked for memory, on any thread.
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// Large allocations that are still granted; what is large is refused from there on.
static GRANTED: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Bytes from which on an allocation is large: what a small model takes whatever it is asked for is
/// below.
const LARGE: usize = 64 << 10;

struct Counting;

/// Counts a call, and says whether the bytes are granted.
fn asked(len: usize) -> bool {
    CALLS.fetch_add(1, Ordering::SeqCst);
    let granted = |left: usize| match left {
        usize::MAX => Some(left),
        _ => left.checked_sub(1),
    };
    len < LARGE
        || GRANTED
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, granted)
            .is_ok()
}

// SAFETY: every call goes to the system's allocator as it came, or is refused.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !asked(layout.size()) {
            return null_mut();
        }
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !asked(layout.size()) {
            return null_mut();
        }
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        if !asked(len) {
            return null_mut();
        }
        // SAFETY: the caller's promise, handed on.
        unsafe { System.realloc(at, layout, len) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One fixture of every family.
const FAMILIES: [&str; 22] = [
    "gpt2",
    "llama",
    "mistral",
    "mixtral",
    "bert",
    "longformer",
    "big_bird",
    "t5",
    "mamba",
    "mamba2",
    "linear_transformer",
    "transfo_xl",
    "compressive_transformer_gated",
    "retnet_deepnorm",
    "rwkv4",
    "rwkv6",
    "rwkv7",
    "jamba",
    "granite_hybrid",
    "gla",
    "falcon_mamba",
    "qwen3_next",
];

/// Rows of a prefill: more than a page of the KV cache, than a tile of an encoder and than a tile of
/// logits.
const PREFILL: usize = 100;

/// Steps of a stream without end.
const STEPS: usize = 5000;

fn main() {
    the_counter_counts_every_thread();
    for name in FAMILIES {
        for threads in [1, 2] {
            let label = format!("{name}, {threads} threads");
            let model = open(name, threads);
            if model.decodes() {
                feeds(&label, &model);
                sequences(&label, &model);
                text(&label, &model);
            } else {
                encodings(&label, &model);
            }
        }
    }
    for name in ["mixtral", "qwen3_moe", "exaone4"] {
        let label = format!("{name} in the least memory");
        let model = open(name, 2);
        hold_least(&model);
        feeds(&label, &model);
        text(&label, &model);
    }
    memory_of_streams();
    what_is_refused_is_an_error();
    println!("nothing is allocated after the first feed: ok");
}

fn the_counter_counts_every_thread() {
    let found = calls(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| std::hint::black_box(vec![1u8; 100]));
        });
    });
    assert!(found > 1, "{found} calls for a thread and a list");
}

fn feeds(label: &str, model: &Model) {
    let mut session = open_session(model, 2, PREFILL + 60);
    let prefill = rows(model, 0..PREFILL, 0);
    let steps = rows(model, PREFILL..PREFILL + 60, 0);
    let round = |session: &mut Session| {
        session.rewind(0, 0).expect("the beginning");
        feed(session, &prefill);
        for step in &steps {
            feed(session, std::slice::from_ref(step));
        }
    };
    round(&mut session);
    let found = calls(|| round(&mut session));
    assert_eq!(found, 0, "{label}: calls in a prefill and 60 steps");
}

/// From now on what does not stay in the least memory is read when it is needed.
fn hold_least(model: &Model) {
    let within = |bytes| Session::new(model, SessionOptions::new().context(64).memory(Some(bytes)));
    let least = match within(0) {
        Err(rillm::RunError::OverBudget { least, .. }) => least,
        other => panic!("{other:?}"),
    };
    within(least).expect("a session in the least memory");
}

fn sequences(label: &str, model: &Model) {
    let mut session = open_session(model, 3, PREFILL);
    let prefill = rows(model, 0..PREFILL - 10, 0);
    let source = rows_of_source(0);
    let mut mixed = rows(model, PREFILL - 10..PREFILL, 0);
    mixed.extend(rows(model, PREFILL - 10..PREFILL, 1));
    let round = |session: &mut Session| {
        session.reset(0).expect("a reset");
        if session.model().encodes() {
            encode(session, &source);
        }
        feed(session, &prefill);
        session.checkpoint(0).expect("a checkpoint");
        session.fork(0, 1).expect("a fork");
        feed(session, &mixed);
        session.rewind(0, PREFILL - 10).expect("a rewind");
        session.forget_checkpoints(0).expect("forgetting");
    };
    round(&mut session);
    let found = calls(|| round(&mut session));
    assert_eq!(found, 0, "{label}: calls in a fork's life");
}

/// The calls between two tokens; what a text needs is reserved before the first.
fn text(label: &str, model: &Model) {
    let mut session = open_session(model, 1, 60);
    let vocabulary = model.limits().vocabulary as usize;
    // Everything that a sampler can be asked for.
    let options = SampleOptions::default()
        .top_k(0)
        .top_p(0.9)
        .typical_p(0.95)
        .top_n_sigma(3.0)
        .xtc_probability(0.5)
        .dynamic_temperature(0.2)
        .repeat_penalty(1.1)
        .frequency_penalty(0.1)
        .dry(
            DryOptions::default()
                .multiplier(0.8)
                .breakers(vec![vec![1]]),
        );
    let mut sampler = Sampler::new(options, vocabulary, 60);
    let (mut first, mut last, mut tokens) = (0, 0, 0);
    generate(
        &mut session,
        &[5, 7, 3],
        GenerateOptions::default().max_tokens(30),
        &mut sampler,
        &mut |_| {
            tokens += 1;
            last = CALLS.load(Ordering::SeqCst);
            if tokens == 1 {
                first = last;
            }
            ControlFlow::Continue(())
        },
    )
    .expect("text");
    assert_eq!(tokens, 30, "{label}");
    assert_eq!(
        last - first,
        0,
        "{label}: calls between the tokens of a text"
    );
}

fn encodings(label: &str, model: &Model) {
    let mut session = open_session(model, 2, PREFILL);
    let mut inputs = rows(model, 0..PREFILL, 0);
    inputs.extend(rows(model, 0..30, 1));
    encode(&mut session, &inputs);
    let found = calls(|| {
        for _ in 0..10 {
            encode(&mut session, &inputs);
        }
    });
    assert_eq!(found, 0, "{label}: calls in ten encodings");
}

/// A recurrent family needs as much memory for any length; activations never depend on it.
fn memory_of_streams() {
    let plan = |model: &Model, context| {
        let options = SessionOptions::default().context(context);
        Session::memory_plan(model, options).expect("a plan")
    };
    for name in [
        "mamba",
        "mamba2",
        "linear_transformer",
        "transfo_xl",
        "compressive_transformer_gated",
        "retnet_deepnorm",
        "rwkv4",
        "rwkv6",
        "rwkv7",
    ] {
        let model = open(name, 1);
        assert_eq!(plan(&model, 64).state_per_1k, 0, "{name}");
        assert!(plan(&model, 64).state_fixed > 0, "{name}");
        assert_eq!(
            plan(&model, 64),
            plan(&model, 1 << 30),
            "{name}: any context"
        );
        let mut session = open_session(&model, 1, 2);
        let steps = rows(&model, 0..STEPS, 0);
        feed(&mut session, &steps[..1]);
        let found = calls(|| {
            for step in &steps[1..] {
                feed(&mut session, std::slice::from_ref(step));
            }
        });
        assert_eq!(found, 0, "{name}: calls in {STEPS} steps");
        assert_eq!(session.len(0).expect("a sequence"), STEPS, "{name}");
    }
    let model = open("llama", 1);
    let (short, long) = (plan(&model, 64), plan(&model, 1 << 20));
    assert_eq!(
        short.arena, long.arena,
        "activations do not grow with the context"
    );
    assert_eq!(short.state_per_1k, long.state_per_1k);
    assert!(short.state_per_1k > 0 && short.state < long.state);
}

/// Everything whose size a caller or a file says, with each of its large allocations refused in turn.
fn what_is_refused_is_an_error() {
    const LONG: usize = 30_000;
    let large = SessionOptions::new()
        .context(4096)
        .sequences(2000)
        .batch(4096)
        .source(64)
        .checkpoints(70_000);
    for name in ["llama", "t5", "mamba", "bert"] {
        let model = open(name, 1);
        refused(&format!("{name}: a session"), 3, || {
            Session::new(&model, large).map(drop)
        });
    }
    let model = open("llama", 1);
    let options = SessionOptions::new().context(LONG).batch(64);
    let mut session = Session::new(&model, options).expect("a session");
    let tokens: Vec<u32> = (0..LONG as u32).map(|token| token % 7).collect();
    refused("a prefill", 1, || {
        session.reset(0)?;
        session.prefill(0, &tokens[..LONG - 100])
    });
    let mut bytes = Vec::new();
    session
        .snapshot(0, &tokens, &mut bytes)
        .expect("a snapshot");
    refused("a snapshot", 1, || {
        session.restore(0, &mut bytes.as_slice()).map(drop)
    });
    let mut sampler = Sampler::new(SampleOptions::default(), 7, 60);
    refused("a text", 1, || {
        session.reset(0)?;
        let options = GenerateOptions::default().max_tokens(1);
        let prompt = &tokens[..LONG / 2];
        generate(&mut session, prompt, options, &mut sampler, &mut |_| {
            ControlFlow::Break(())
        })
        .map(drop)
    });
    // A context that no memory holds costs a sampler nothing before texts are so long.
    let everything = SampleOptions::default()
        .repeat_penalty(1.1)
        .penalty_last_n(usize::MAX)
        .dry(DryOptions::default().multiplier(0.8).last_n(usize::MAX));
    Sampler::new(everything, 7, usize::MAX);
}

/// Refuses each large allocation of `work`; there are `least` or more.
fn refused<E: Display>(label: &str, least: usize, mut work: impl FnMut() -> Result<(), E>) {
    for granted in 0.. {
        // Where the process ends, this says in what.
        println!("{label}, {granted} allocations granted");
        GRANTED.store(granted, Ordering::SeqCst);
        let result = work();
        let left = GRANTED.swap(usize::MAX, Ordering::SeqCst);
        match result {
            // Some may be left: then none was refused.
            Ok(()) if left > 0 => {
                assert!(granted > least, "{label} has {granted} large allocations");
                return;
            }
            Ok(()) => {}
            Err(error) if left > 0 => panic!("{label}: {error}"),
            Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
        }
    }
}

/// How often `work` makes any thread ask for memory.
fn calls(work: impl FnOnce()) -> usize {
    let before = CALLS.load(Ordering::SeqCst);
    work();
    CALLS.load(Ordering::SeqCst) - before
}

fn open(name: &str, threads: usize) -> Model {
    let fixture = Fixture::load(name);
    let folder = fixture.folder();
    let options = ModelOptions::default()
        .isa(rillm::internals::knobs::isa().expect("RILLM_ISA names an instruction set"))
        .threads(threads);
    Model::open(&folder, options).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn open_session(model: &Model, sequences: usize, context: usize) -> Session {
    let options = SessionOptions::new()
        .context(context)
        .sequences(sequences)
        .batch(PREFILL)
        .source(PREFILL)
        .checkpoints(1)
        // What is kept in a smaller type is read through floats.
        .kv_type(KvType::Q8_0);
    let mut session = Session::new(model, options).expect("a session");
    if model.encodes() && model.decodes() {
        encode(&mut session, &rows_of_source(0));
    }
    session
}

fn rows(model: &Model, slots: std::ops::Range<usize>, sequence: u32) -> Vec<Row> {
    let limits = model.limits();
    let row = |slot: usize| Row {
        token: (slot * 7 % limits.vocabulary as usize) as u32,
        position: slot as u64 % limits.positions,
        sequence,
        emit: true,
        ..Row::default()
    };
    slots.map(row).collect()
}

fn rows_of_source(sequence: u32) -> Vec<Row> {
    let row = |(token, position)| Row {
        token,
        position,
        sequence,
        ..Row::default()
    };
    (3..83).zip(0..).map(row).collect()
}

fn feed(session: &mut Session, rows: &[Row]) {
    let mut outputs = 0;
    session
        .feed(rows, &mut |_| outputs += 1)
        .expect("rows that the model takes");
    assert_eq!(outputs, rows.len());
}

fn encode(session: &mut Session, rows: &[Row]) {
    session
        .encode(rows, &mut |_| {})
        .expect("rows that the model takes");
}
