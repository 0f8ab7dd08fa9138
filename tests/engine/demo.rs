//! The embedded model tells, token for token, the story that transformers tells with its weights
//! (`tools/demo/export.py` writes the golden; every token leads the next by 0.2 at least, far
//! more than rounding activations to int8 can move a logit of this model).

use rillm::formats::tokenizer::{DecodeOptions, EncodeOptions, Position};
use rillm::generate::{GenerateOptions, generate};
use rillm::sample::{SampleOptions, Sampler};
use rillm::{Isa, Model, ModelOptions, Row, Session, SessionOptions};
use serde_json::Value;
use std::ops::ControlFlow;

static DEMO: &[u8] = include_bytes!("../../assets/demo.gguf");
static GOLDEN: &[u8] = include_bytes!("../../assets/demo-greedy.json");

fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().expect("a list").iter();
    ids.map(|id| id.as_u64().expect("an id") as u32).collect()
}

#[test]
fn the_demo_tells_the_references_story() {
    let golden: Value = serde_json::from_slice(GOLDEN).expect("the golden is JSON");
    let expected = ids(&golden["greedy_ids"]);
    for isa in Isa::available() {
        let options = ModelOptions::default().isa(isa);
        let model = Model::from_bytes(DEMO, options).expect("the demo opens");
        let tokenizer = model.tokenizer().expect("the demo has a vocabulary");
        let prompt = golden["prompt"].as_str().expect("a prompt");
        let encode = EncodeOptions::default().add_special(true);
        let prompt = tokenizer.encode(prompt, encode).expect("tokens");
        assert_eq!(prompt, ids(&golden["ids"]));

        let mut session = Session::new(&model, SessionOptions::default()).expect("a session");
        let greedy = SampleOptions::greedy();
        let mut sampler = Sampler::new(greedy, tokenizer.vocabulary_len(), 0);
        let mut written = Vec::new();
        generate(
            &mut session,
            &prompt,
            GenerateOptions::default().max_tokens(expected.len()),
            &mut sampler,
            &mut |chosen| {
                written.push(chosen.token);
                ControlFlow::Continue(())
            },
        )
        .expect("it generates");
        assert_eq!(written, expected, "{isa}");
        let options = DecodeOptions::default().position(Position::Continued);
        let text = tokenizer.decode_text(&written, options);
        assert_eq!(text, golden["greedy_text"].as_str().expect("a text"));
    }
}

/// What rounding activations to int8 may move a logit of models this small, on either side of a
/// choice between two.
const CLEAR_LEAD: f64 = 0.2;

/// The siblings choose what the references choose, wherever the choice is clear, given the same
/// text so far (`tools/demo/siblings.py` writes the goldens).
#[test]
fn the_siblings_choose_the_references_words() {
    let files: [(&[u8], &[u8]); 3] = [
        (
            include_bytes!("../../assets/demo-mamba.gguf"),
            include_bytes!("../../assets/demo-mamba-greedy.json"),
        ),
        (
            include_bytes!("../../assets/demo-retnet.gguf"),
            include_bytes!("../../assets/demo-retnet-greedy.json"),
        ),
        (
            include_bytes!("../../assets/demo-moe.gguf"),
            include_bytes!("../../assets/demo-moe-greedy.json"),
        ),
    ];
    for (file, golden) in files {
        let golden: Value = serde_json::from_slice(golden).expect("the golden is JSON");
        let (prompt, chosen) = (ids(&golden["ids"]), ids(&golden["greedy_ids"]));
        let leads = golden["top_margin"].as_array().expect("a list");
        for isa in Isa::available() {
            let options = ModelOptions::default().isa(isa);
            let model = Model::from_bytes(file, options).expect("it opens");
            let tokenizer = model.tokenizer().expect("a vocabulary");
            let encode = EncodeOptions::default().add_special(true);
            let text = golden["prompt"].as_str().expect("a prompt");
            assert_eq!(tokenizer.encode(text, encode).as_ref(), Ok(&prompt));

            let mut session = Session::new(&model, SessionOptions::default()).expect("a session");
            let tokens = prompt.iter().chain(&chosen[..chosen.len() - 1]);
            let rows: Vec<Row> = tokens
                .enumerate()
                .map(|(at, &token)| Row {
                    token,
                    position: at as u64,
                    emit: at + 1 >= prompt.len(),
                    ..Row::default()
                })
                .collect();
            let mut best = Vec::new();
            session
                .feed(&rows, &mut |output| {
                    let ranked = output.values.iter().enumerate();
                    best.push(
                        ranked
                            .max_by(|a, b| a.1.total_cmp(b.1))
                            .map(|(id, _)| id as u32),
                    );
                })
                .expect("it runs");
            assert_eq!(best.len(), chosen.len());
            let clear = |at: &usize| leads[*at].as_f64().expect("a lead") >= CLEAR_LEAD;
            let clear: Vec<usize> = (0..chosen.len()).filter(clear).collect();
            assert!(clear.len() * 4 >= chosen.len() * 3, "too few clear choices");
            for at in clear {
                assert_eq!(best[at], Some(chosen[at]), "{isa}, token {at}");
            }
        }
    }
}
