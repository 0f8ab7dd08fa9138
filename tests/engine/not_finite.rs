//! What is no number is an error that names where it began, not a token for ever.

use rillm::formats::gguf;
use rillm::generate::{GenerateOptions, Generator};
use rillm::sample::{SampleOptions, Sampler};
use rillm::{Model, ModelOptions, Row, RunError, Session, SessionOptions};
use rillm_formats::manifest::DType;

static DEMO: &[u8] = include_bytes!("../../assets/demo.gguf");

/// The embedded model with one value of a tensor of floats replaced.
fn demo_with(tensor: &str, index: usize, value: f32) -> Model {
    let mut bytes = DEMO.to_vec();
    let file = gguf::parse(&bytes, 0).expect("the demo is a GGUF file");
    let mut named = file.tensors.iter();
    let (_, info) = named
        .find(|(name, _)| name == tensor)
        .expect("a tensor of the demo");
    assert_eq!(info.dtype, DType::F32, "{tensor}");
    let at = info.range.start as usize + 4 * index;
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    Model::from_bytes(bytes, ModelOptions::default().threads(2)).expect("it opens all the same")
}

fn row(position: u64) -> Row {
    Row {
        token: 5 + position as u32,
        position,
        emit: true,
        ..Row::default()
    }
}

#[test]
fn a_tensor_that_holds_none_is_named() {
    for value in [f32::NAN, f32::INFINITY] {
        let model = demo_with("blk.1.ffn_norm.weight", 3, value);
        let mut session = Session::new(&model, SessionOptions::default()).expect("a session");
        for rows in [vec![row(0)], (0..40).map(row).collect()] {
            let mut seen = 0;
            let error = session
                .feed(&rows, &mut |_| seen += 1)
                .expect_err("no numbers");
            let text = error.to_string();
            let expected = "logits are not finite numbers: tensor blk.1.ffn_norm.weight holds a value \
                            that is not finite";
            assert_eq!(text, expected);
            assert_eq!(seen, 0, "nothing of it is handed out");
            assert_eq!(session.len(0), Ok(0), "the KV cache is as it was");
        }
    }
}

#[test]
fn a_step_that_overflows_is_named() {
    let model = demo_with("blk.1.ffn_norm.weight", 3, 3e38);
    let mut session = Session::new(&model, SessionOptions::default()).expect("a session");
    let error = session
        .feed(&[row(0)], &mut |_| {})
        .expect_err("no numbers");
    let RunError::NotFinite { output, fault } = error else {
        panic!("{error:?}");
    };
    assert_eq!(output, "logits");
    // Which of them overflows first, the row decides.
    assert!(fault.starts_with("first in step "), "{fault}");
}

#[test]
fn generation_ends_with_the_error() {
    let model = demo_with("blk.0.attn_norm.weight", 0, f32::NAN);
    let mut session = Session::new(&model, SessionOptions::default()).expect("a session");
    let mut sampler = Sampler::new(SampleOptions::greedy(), 4096, 64);
    let options = GenerateOptions::default().max_tokens(8);
    let error =
        Generator::new(&mut session, &[1, 2, 3], options, &mut sampler).expect_err("no numbers");
    assert!(matches!(error, RunError::NotFinite { .. }), "{error:?}");
}
