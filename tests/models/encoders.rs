//! Encoders after BERT: files that other converters write as BERT, positions that count from behind
//! padding's, and inputs with lists of choices.

use rillm::internals::eval::Cut;
use rillm_formats::manifest::MetadataValue;
use serde_json::{Value, json};

use crate::support::evaluate::{check_all, evaluate, open, open_bytes};
use crate::support::fixture::Fixture;
use crate::support::to_gguf::Gguf;

/// The fixture as llama.cpp's converter writes it: an architecture that is BERT, whose class is not
/// said, and a vocabulary of another kind, if it is.
fn as_bert(fixture: &Fixture, vocabulary: &str) -> Gguf {
    let mut gguf = Gguf::of(fixture);
    let name = gguf.metadata.str("general.architecture").unwrap();
    let begin = format!("{name}.");
    let keys = std::mem::take(&mut gguf.metadata.0);
    for (key, value) in keys {
        if let Some(canonical) = key.strip_prefix(&begin) {
            gguf.metadata.0.insert(format!("bert.{canonical}"), value);
        }
    }
    for key in ["bert.padding_token_id", "architectures"] {
        gguf.metadata.0.remove(key);
    }
    for (key, value) in [
        ("general.architecture", "bert"),
        ("tokenizer.ggml.model", vocabulary),
    ] {
        let value = MetadataValue::String(value.into());
        gguf.metadata.0.insert(key.into(), value);
    }
    gguf
}

/// Panics unless these cases come out as the reference says.
fn check(fixture: &Fixture, gguf: &Gguf, cases: &[&str]) {
    let model = open_bytes(gguf.bytes()).unwrap_or_else(|e| panic!("{}: {e}", fixture.name));
    for name in cases {
        let case = fixture.case(name);
        let outputs = evaluate(&model, &case.input, Cut::Whole).unwrap();
        for name in &case.outputs {
            let tensor = &outputs[name];
            fixture.check(case, name, &tensor.shape, &tensor.values);
        }
    }
}

/// Without the rows up to padding's, which no text needs: where padding stands between other tokens,
/// such a file does not say its position.
#[test]
fn positions_that_converters_cut_count_from_behind_padding() {
    for (name, vocabulary, cases) in [
        ("roberta_sequence", "gpt2", &["right", "hole"][..]),
        ("xlm_roberta", "t5", &["right", "left", "hole"]),
        ("xlm_roberta_reranker", "t5", &["right", "hole"]),
    ] {
        let fixture = Fixture::load(name);
        let mut gguf = as_bert(&fixture, vocabulary);
        let padding = MetadataValue::U32(1);
        let key = "tokenizer.ggml.padding_token_id".to_string();
        gguf.metadata.0.insert(key, padding);
        let positions = gguf.tensors.get_mut("position_embd.weight").unwrap();
        let width = positions.shape[1] as usize;
        positions.shape[0] -= 2;
        positions.values.drain(..2 * width);
        check(&fixture, &gguf, cases);
    }
}

#[test]
fn bert_in_gguf_may_lack_token_types() {
    let fixture = Fixture::load("distilbert");
    let gguf = as_bert(&fixture, "bert");
    check(&fixture, &gguf, &["single", "right", "left", "hole"]);
}

/// Files of other converters do not say a ModernBERT's class, and number the ways to pool, of which
/// the mean is the one they take for granted.
#[test]
fn modernberts_of_other_converters_are_told_by_their_tensors() {
    for (name, pooling) in [("modernbert_mean", None), ("modernbert_sequence", Some(2))] {
        let fixture = Fixture::load(name);
        let mut gguf = Gguf::of(&fixture);
        let (ours, theirs) = (
            gguf.key("classifier_pooling"),
            gguf.key("classifier.pooling_type"),
        );
        for key in ["architectures", &ours] {
            gguf.metadata.0.remove(key);
        }
        if let Some(pooling) = pooling {
            let pooling = MetadataValue::U32(pooling);
            gguf.metadata.0.insert(theirs, pooling);
        }
        check(&fixture, &gguf, &["single", "right", "hole"]);
    }
}

/// Positions that are given are transformers': the first one has padding's id plus one.
#[test]
fn given_positions_count_from_behind_padding() {
    let fixture = Fixture::load("roberta");
    let model = open(&fixture.folder()).unwrap();
    let given = |ids: &Value, positions: &Value| {
        let input = json!({"input_ids": [ids], "position_ids": [positions]});
        evaluate(&model, &input, Cut::Whole).map_err(|error| error.to_string())
    };
    let ids = json!([5, 1, 6, 7]);
    let usual = json!({"input_ids": [ids]});
    let usual = evaluate(&model, &usual, Cut::Whole).unwrap();
    let same = given(&ids, &json!([2, 1, 3, 4])).unwrap();
    assert_eq!(same, usual);
    assert_ne!(given(&ids, &json!([3, 1, 4, 5])).unwrap(), usual);
    for (positions, expected) in [
        (json!([1, 1, 3, 4]), "position_ids[0][0] is 1"),
        (json!([2, 3, 4, 5]), "position_ids[0][1] is 3"),
        (json!([2, 1, 3, 40]), "38 positions"),
    ] {
        let error = given(&ids, &positions).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn lists_of_choices_are_equally_long_and_for_models_that_choose() {
    let model = open(&Fixture::load("bert_sequence").folder()).unwrap();
    for (input, expected) in [
        (json!({"input_ids": [[[3, 4], [5, 6]]]}), "choices"),
        (
            json!({"input_ids": [[[3, 4], [5, 6]], [[7, 8]]]}),
            "lists of 2 lists",
        ),
        (
            json!({"input_ids": [[[3, 4], [5, 6]]], "attention_mask": [[1, 1], [1, 1]]}),
            "attention_mask",
        ),
    ] {
        let error = evaluate(&model, &input, Cut::Whole)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Encoders of sentences say the class that they were trained from, and hold nothing of its head.
#[test]
fn a_class_without_its_head_is_the_base_model() {
    for (name, class) in [
        ("mpnet", "MPNetForMaskedLM"),
        ("distilbert", "DistilBertForMaskedLM"),
        ("bert", "BertForMaskedLM"),
    ] {
        let fixture = Fixture::load(name);
        let mut config = fixture.config();
        config["architectures"] = json!([class]);
        let folder = fixture.folder_of(&config, &fixture.weights());
        let model = open(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
        check_all(&fixture, &model);
    }
}
