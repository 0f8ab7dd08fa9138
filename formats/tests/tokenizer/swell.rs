//! Small files that stand for much: they cost an error, not memory.

use rillm_formats::tokenizer::{HfFiles, Tokenizer, TokenizerErrorKind};
use serde_json::json;

/// Many items that each name a list of many ids are counted before they are multiplied out.
#[test]
fn templates_are_counted_before_they_are_expanded() {
    let opened = |items: usize, ids: usize| {
        let mut single = vec![json!({"SpecialToken": {"id": "a", "type_id": 0}}); items];
        single.push(json!({"Sequence": {"id": "A", "type_id": 0}}));
        let special = json!({"a": {"id": "a", "ids": vec![0; ids], "tokens": vec!["a"; ids]}});
        let file = json!({
            "pre_tokenizer": {"type": "ByteLevel"},
            "post_processor": {"type": "TemplateProcessing", "single": single,
                "special_tokens": special},
            "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
        });
        Tokenizer::from_hf(HfFiles {
            tokenizer_json: Some(file.to_string().as_bytes()),
            ..HfFiles::default()
        })
    };
    let fits = opened(4, 4).expect("valid").expect("there");
    assert_eq!(fits.prefix(), [0; 16]);
    for (items, ids) in [(17, 1), (1, 17), (5_000, 5_000)] {
        let error = opened(items, ids).expect_err("too many");
        assert_eq!(error.kind(), TokenizerErrorKind::Limit);
        assert!(error.to_string().contains("more than 16 tokens"), "{error}");
    }
}

/// A decoder whose steps each write more than they read, and added tokens that a normalizer searches
/// for long, each of them for little.
#[test]
fn what_all_tokens_cost_together_is_bounded() {
    let ten = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaa"});
    let search = r"(?=(?:a?){14}a{14}$)b";
    let slow = json!({"type": "Replace", "pattern": {"Regex": search}, "content": ""});
    let added: Vec<_> = (1..2000)
        .map(|id| json!({"id": id, "content": format!("{}{id}", "a".repeat(14)), "normalized": true}))
        .collect();
    let opened = |mut file: serde_json::Value| {
        file["model"] = json!({"type": "BPE", "vocab": {"a": 0}, "merges": []});
        Tokenizer::from_hf(HfFiles {
            tokenizer_json: Some(file.to_string().as_bytes()),
            ..HfFiles::default()
        })
    };
    let decoder = |steps: usize| json!({"decoder": {"type": "Sequence", "decoders": vec![ten.clone(); steps]}});
    let normalizer =
        |tokens: usize| json!({"normalizer": slow, "added_tokens": added[..tokens].to_vec()});
    for (little, much) in [(decoder(2), decoder(14)), (normalizer(1), normalizer(1999))] {
        assert!(opened(little).is_ok());
        let error = opened(much).expect_err("without bound");
        assert_eq!(error.kind(), TokenizerErrorKind::Limit, "{error}");
    }
}

/// What is looked for at each place of a text, or put around each of its characters, is short: else a
/// text would cost its length times that of a token.
#[test]
fn what_is_searched_for_everywhere_is_short() {
    let json = |model: serde_json::Value| {
        let file = json!({ "model": model }).to_string();
        Tokenizer::from_hf(HfFiles {
            tokenizer_json: Some(file.as_bytes()),
            ..HfFiles::default()
        })
    };
    let rwkv = |text: &str| {
        let file = format!("1 'a' 1\n2 '{text}' {}\n", text.len());
        Tokenizer::from_hf(HfFiles {
            rwkv_vocabulary: Some(file.as_bytes()),
            ..HfFiles::default()
        })
    };
    for (len, fits) in [(1024, true), (1025, false)] {
        let text = "a".repeat(len);
        let bpe = |key: &str| json!({"type": "BPE", "vocab": {"a": 0}, "merges": [], key: text});
        for (name, opened) in [
            (
                "unigram",
                json(json!({"type": "Unigram", "vocab": [["a", -1.0], [text, -1.0]], "unk_id": 0})),
            ),
            (
                "WordPiece",
                json(json!({"type": "WordPiece", "vocab": {"[UNK]": 0, text.as_str(): 1}})),
            ),
            ("prefix", json(bpe("continuing_subword_prefix"))),
            ("suffix", json(bpe("end_of_word_suffix"))),
            ("RWKV", rwkv(&text)),
        ] {
            assert_eq!(opened.is_ok(), fits, "{name}: {opened:?}");
            if let Err(error) = opened {
                assert_eq!(error.kind(), TokenizerErrorKind::Limit, "{error}");
                assert!(error.to_string().contains("1024"), "{error}");
            }
        }
    }
}
