//! The embedded model from end to end: opening, a prompt, one token.

// Criterion's macro makes a public function without a comment.
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rillm::{Model, ModelOptions, Row, Session, SessionOptions};
use std::hint::black_box;

static DEMO: &[u8] = include_bytes!("../assets/demo.gguf");

const PROMPT: u64 = 128;

fn rows(start: u64, count: u64) -> Vec<Row> {
    let row = |position| Row {
        token: (position * 37 % 1000) as u32,
        position,
        emit: position + 1 == start + count,
        ..Row::default()
    };
    (start..start + count).map(row).collect()
}

fn model(c: &mut Criterion) {
    let open = || Model::from_bytes(DEMO, ModelOptions::default()).expect("the demo opens");
    let model = open();
    let options = SessionOptions::default().context(256);
    let mut session = Session::new(&model, options).expect("a session");

    let mut group = c.benchmark_group("demo");
    group.bench_function("open", |b| b.iter(|| black_box(open())));
    let prompt = rows(0, PROMPT);
    group.throughput(Throughput::Elements(PROMPT));
    group.bench_function("prompt of 128", |b| {
        b.iter(|| {
            session.reset(0).expect("sequence 0");
            session
                .feed(&prompt, &mut |output| _ = black_box(output.values[0]))
                .expect("fed");
        })
    });
    let token = rows(PROMPT, 1);
    group.throughput(Throughput::Elements(1));
    group.bench_function("token after 128", |b| {
        b.iter(|| {
            session
                .rewind(0, PROMPT as usize)
                .expect("a KV cache truncates");
            session
                .feed(&token, &mut |output| _ = black_box(output.values[0]))
                .expect("fed");
        })
    });
    group.finish();
}

criterion_group!(benches, model);
criterion_main!(benches);
