//! Answers against transformers' pipeline.

use super::{assert_near, expected, folder, open};
use rillm::tasks::{AnswerOptions, QuestionAnswerer};
use serde_json::Value;

fn options(settings: &Value) -> AnswerOptions {
    let mut options = AnswerOptions::default();
    for (key, value) in settings.as_object().expect("settings") {
        let number = value.as_u64().map(|number| number as usize);
        let flag = value.as_bool();
        match key.as_str() {
            "top_k" => options.top_k = number.unwrap(),
            "max_answer_len" => options.max_answer_len = number.unwrap(),
            "max_seq_len" => options.max_seq_len = number,
            "doc_stride" => options.doc_stride = number,
            "handle_impossible_answer" => options.handle_impossible_answer = flag.unwrap(),
            "align_to_words" => options.align_to_words = flag.unwrap(),
            other => panic!("{other}"),
        }
    }
    options
}

#[test]
fn answers_are_the_pipeline_s() {
    let expected = expected("answer");
    let question = expected["question"].as_str().unwrap();
    let model = open(&folder("answer"));
    for case in expected["cases"].as_array().expect("cases") {
        let what = format!("{} {}", case["context"], case["settings"]);
        let context = case["context"].as_str().unwrap();
        let impossible = case["settings"].get("handle_impossible_answer").is_some();
        let mut answerer = QuestionAnswerer::new(&model, options(&case["settings"])).unwrap();
        let found = answerer.answer(question, context).unwrap();
        let answers = case["answers"].as_array().expect("answers").iter();
        // What cannot be an answer has a score of zero there, and is none here.
        let answers = answers.filter(|one| impossible || one["score"].as_f64() > Some(0.0));
        let answers: Vec<&Value> = answers.collect();
        assert_eq!(found.len(), answers.len(), "{what}: {found:?}");
        for (found, expected) in found.iter().zip(answers) {
            let place = |key: &str| -> usize {
                let characters = expected[key].as_u64().unwrap() as usize;
                context.chars().take(characters).map(char::len_utf8).sum()
            };
            assert_near(found.score, &expected["score"], &what);
            assert_eq!(found.answer, expected["answer"].as_str().unwrap(), "{what}");
            assert_eq!(
                (found.start, found.end),
                (place("start"), place("end")),
                "{what}"
            );
        }
    }
}

#[test]
fn a_question_that_leaves_no_room_is_named() {
    let model = open(&folder("answer"));
    let mut answerer = QuestionAnswerer::new(&model, AnswerOptions::default()).unwrap();
    let question = "who was the king of London ".repeat(9);
    let error = answerer
        .answer(&question, &"a city ".repeat(50))
        .unwrap_err();
    assert!(error.to_string().contains("leaves 0 of 48"), "{error}");
}
