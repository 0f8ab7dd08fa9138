//! Entities against transformers' pipeline.

use super::{assert_near, expected, folder, open, texts};
use rillm::Model;
use rillm::tasks::{AggregationStrategy, Entity, TagOptions, Tagger};
use serde_json::Value;

/// Bytes before so many characters: the pipeline counts those.
pub(super) fn byte(text: &str, characters: &Value) -> usize {
    let characters = characters.as_u64().expect("a place") as usize;
    text.chars().take(characters).map(char::len_utf8).sum()
}

fn assert_entities(text: &str, found: &[Entity], expected: &Value, what: &str) {
    let expected = expected.as_array().expect("entities");
    assert_eq!(found.len(), expected.len(), "{what}: {text:?}");
    for (found, expected) in found.iter().zip(expected) {
        let label = expected.get("entity").or(expected.get("entity_group"));
        assert_eq!(
            Some(found.entity.as_str()),
            label.and_then(Value::as_str),
            "{what}"
        );
        let place = (byte(text, &expected["start"]), byte(text, &expected["end"]));
        assert_eq!((found.start, found.end), place, "{what}: {found:?}");
        assert_eq!(
            found.word,
            expected["word"].as_str().unwrap(),
            "{what}: {text:?}"
        );
        let index = expected.get("index").and_then(Value::as_u64);
        assert_eq!(found.index.map(|index| index as u64), index, "{what}");
        assert_near(found.score, &expected["score"], what);
    }
}

pub(super) fn tagged(model: &Model, texts: &[String], options: TagOptions) -> Vec<Vec<Entity>> {
    let mut tagger = Tagger::new(model, options).unwrap_or_else(|error| panic!("{error}"));
    tagger.tag(texts).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn entities_are_the_pipeline_s() {
    let expected = expected("tag");
    let texts = texts(&expected, "texts");
    let model = open(&folder("tag"));
    for strategy in AggregationStrategy::ALL {
        let name = strategy.name();
        let options = || TagOptions::default().aggregation_strategy(strategy);
        let mut cases = vec![
            (name.to_string(), options()),
            (
                format!("{name} without PER"),
                options().ignore_labels(["PER".to_string()]),
            ),
        ];
        if strategy != AggregationStrategy::None {
            cases.push((format!("{name} by strides"), options().stride(6)));
        }
        for (what, options) in cases {
            let found = tagged(&model, &texts, options);
            let expected = expected[&what].as_array().expect("a list of texts");
            for ((text, found), expected) in texts.iter().zip(&found).zip(expected) {
                assert_entities(text, found, expected, &what);
            }
        }
    }
}

#[test]
fn texts_that_are_cut_are_counted_and_strides_cut_none() {
    let model = open(&folder("tag"));
    let long = "Mary went to London. ".repeat(20);
    let mut tagger = Tagger::new(&model, TagOptions::default()).unwrap();
    let cut = tagger.tag(&[long.as_str(), "a"]).unwrap();
    assert_eq!(tagger.truncated(), 1);
    let simple = TagOptions::default()
        .aggregation_strategy(AggregationStrategy::Simple)
        .ignore_labels(Vec::new());
    let mut strided = Tagger::new(&model, simple.stride(4)).unwrap();
    let whole = strided.tag(&[long.as_str()]).unwrap();
    assert_eq!(strided.truncated(), 0);
    let end = |entities: &[Entity]| entities.last().map_or(0, |entity| entity.end);
    assert!(end(&cut[0]) < long.len() / 2);
    assert_eq!(end(&whole[0]), long.trim_end().len());
}

#[test]
fn a_stride_that_makes_no_sense_is_named() {
    let model = open(&folder("tag"));
    let error = Tagger::new(&model, TagOptions::default().stride(4)).unwrap_err();
    assert!(
        error.to_string().contains("aggregation_strategy"),
        "{error}"
    );
    let options = TagOptions::default()
        .aggregation_strategy(AggregationStrategy::Max)
        .stride(30);
    let error = Tagger::new(&model, options).unwrap_err();
    assert!(error.to_string().contains("fewer than the 30"), "{error}");
}
