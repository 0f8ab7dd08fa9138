//! What the small files of a Hugging Face folder change, and hostile `tokenizer.json` and
//! `tokenizer.model` files.

use rillm_formats::tokenizer::{
    DecodeOptions, EncodeOptions, HfFiles, Tokenizer, TokenizerError, TokenizerErrorKind,
};

const SPM_MODEL: &[u8] = include_bytes!("../data/tokenizer/spm.model");
const SPM: &[u8] = include_bytes!("../data/tokenizer/spm.tokenizer.json");
const GPT2: &[u8] = include_bytes!("../data/tokenizer/gpt2.tokenizer.json");

const ADD: EncodeOptions = EncodeOptions::new().add_special(true).parse_special(true);

fn json(bytes: &[u8]) -> HfFiles<'_> {
    HfFiles {
        tokenizer_json: Some(bytes),
        ..HfFiles::default()
    }
}

fn model(bytes: &[u8]) -> HfFiles<'_> {
    HfFiles {
        tokenizer_model: Some(bytes),
        ..HfFiles::default()
    }
}

fn open(files: HfFiles<'_>) -> Tokenizer {
    Tokenizer::from_hf(files).expect("valid").expect("there")
}

fn refused(files: HfFiles<'_>) -> TokenizerError {
    let error = Tokenizer::from_hf(files).expect_err("refused");
    let text = error.to_string();
    assert!(!text.contains('\n') && text.len() < 400, "{text}");
    error
}

#[test]
fn a_folder_may_have_no_tokenizer() {
    assert!(matches!(Tokenizer::from_hf(HfFiles::default()), Ok(None)));
}

#[test]
fn the_configuration_decides_about_first_and_last_token() {
    for files in [json(SPM), model(SPM_MODEL)] {
        let ids = |config: &str| {
            let files = HfFiles {
                tokenizer_config: Some(config.as_bytes()),
                ..files
            };
            open(files).encode("", ADD).expect("within bounds")
        };
        assert_eq!(ids("{}"), [1]);
        assert_eq!(
            ids(r#"{"bos_token":"<s>","add_bos_token":false}"#),
            [0u32; 0]
        );
        assert_eq!(
            ids(r#"{"bos_token":{"content":"<s>"},"add_bos_token":true}"#),
            [1]
        );
        let both =
            r#"{"bos_token":"<s>","eos_token":"</s>","add_bos_token":true,"add_eos_token":true}"#;
        assert_eq!(ids(both), [1, 2]);
    }
}

/// A file that gives an id another name is blamed, and no other.
#[test]
fn the_file_that_is_at_fault_is_named() {
    let config = r#"{"added_tokens_decoder":{"5":{"content":"<other>","special":true}}}"#;
    let files = HfFiles {
        tokenizer_config: Some(config.as_bytes()),
        ..json(GPT2)
    };
    let error = Tokenizer::from_hf(files)
        .expect_err("two names")
        .to_string();
    assert!(
        error.starts_with("tokenizer_config.json gives the id 5 to"),
        "{error}"
    );
}

#[test]
fn end_tokens_come_from_all_files() {
    let ends = |config: &str, generation: &str| {
        let files = HfFiles {
            tokenizer_config: Some(config.as_bytes()),
            generation_config: Some(generation.as_bytes()),
            ..json(SPM)
        };
        open(files).end_tokens().to_vec()
    };
    assert_eq!(ends("{}", "{}"), [0u32; 0]);
    assert_eq!(ends(r#"{"eos_token":"</s>"}"#, "{}"), [2]);
    assert_eq!(
        ends(r#"{"eos_token":"</s>"}"#, r#"{"eos_token_id":7}"#),
        [2, 7]
    );
    assert_eq!(ends("{}", r#"{"eos_token_id":[9,7,9]}"#), [7, 9]);
    assert_eq!(ends("{}", r#"{"eos_token_id":null}"#), [0u32; 0]);
    // GPT-2's is well known.
    assert_eq!(open(json(GPT2)).end_tokens(), [0]);

    let files = HfFiles {
        special_tokens_map: Some(br#"{"eos_token":{"content":"</s>"}}"#),
        ..json(SPM)
    };
    assert_eq!(open(files).end_tokens(), [2]);
    // No token, as in transformers, and what Python writes beside.
    assert_eq!(ends("{}", r#"{"eos_token_id":-1}"#), [0u32; 0]);
    assert_eq!(ends("{}", r#"{"eos_token_id":[-1,7],"top_p":NaN}"#), [7]);
    for wrong in [
        r#"{"eos_token_id":"x"}"#,
        r#"{"eos_token_id":["x"]}"#,
        r#"{"eos_token_id":1e30}"#,
    ] {
        let files = HfFiles {
            generation_config: Some(wrong.as_bytes()),
            ..json(SPM)
        };
        assert!(
            refused(files)
                .to_string()
                .contains("generation_config.json: eos_token_id")
        );
    }
}

/// As transformers does where there is no `generation_config.json`.
#[test]
fn end_tokens_come_from_the_configuration_where_no_other_file_says() {
    for (config, generation, expected) in [
        (r#"{"eos_token_id":[7,9]}"#, None, &[7, 9][..]),
        (r#"{"eos_token_id":7}"#, Some("{}"), &[7]),
        (
            r#"{"eos_token_id":7}"#,
            Some(r#"{"eos_token_id":null}"#),
            &[7],
        ),
        (r#"{"eos_token_id":7}"#, Some(r#"{"eos_token_id":9}"#), &[9]),
        (r#"{"eos_token_id":7}"#, Some(r#"{"eos_token_id":[]}"#), &[]),
        (r#"{"eos_token_id":null,"scale":Infinity}"#, None, &[]),
        (r#"{"eos_token_id":-1}"#, None, &[]),
        (r#"{"text_config":{"eos_token_id":[7]}}"#, None, &[7]),
        (
            r#"{"eos_token_id":9,"text_config":{"eos_token_id":[7]}}"#,
            None,
            &[9],
        ),
        ("{}", None, &[]),
    ] {
        let files = HfFiles {
            config: Some(config.as_bytes()),
            generation_config: generation.map(str::as_bytes),
            ..json(SPM)
        };
        assert_eq!(
            open(files).end_tokens(),
            expected,
            "{config} {generation:?}"
        );
    }
}

#[test]
fn tokens_can_be_added_to_a_sentencepiece_file() {
    let config = r#"{"added_tokens_decoder":{
        "2":{"content":"</s>","special":true},
        "440":{"content":"<|im_end|>","special":true},
        "441":{"content":"<box>","special":false}}}"#;
    let files = HfFiles {
        tokenizer_config: Some(config.as_bytes()),
        ..model(SPM_MODEL)
    };
    let tokenizer = open(files);
    assert_eq!(tokenizer.vocabulary_len(), 442);
    assert_eq!(tokenizer.end_tokens(), [2, 440]);
    let plain = tokenizer
        .encode("<box><|im_end|>", EncodeOptions::default())
        .expect("within bounds");
    assert_eq!(plain[0], 441);
    assert!(!plain.contains(&440));
    assert_eq!(
        tokenizer
            .encode("<box><|im_end|>", ADD)
            .expect("within bounds"),
        [1, 441, 440]
    );
}

#[test]
fn other_kinds_are_refused_by_name() {
    for (file, word) in [
        (r#"{"model":{"type":"Mystery","vocab":{"a":0}}}"#, "Mystery"),
        (
            r#"{"model":{"type":"BPE","dropout":0.1,"vocab":{"a":0},"merges":[]}}"#,
            "dropout is 0.1",
        ),
    ] {
        let error = refused(json(file.as_bytes()));
        assert_eq!(error.kind(), TokenizerErrorKind::Unsupported);
        assert!(error.to_string().contains(word), "{error}");
    }
    for (file, word) in [
        (r#"{"model":{"type":"WordPiece","vocab":{"a":0}}}"#, "[UNK]"),
        (r#"{"model":{"type":"WordLevel","vocab":{"a":0}}}"#, "<unk>"),
        (r#"{"model":{"type":"Unigram","vocab":{"a":0}}}"#, "scores"),
        (
            r#"{"model":{"type":"Unigram","unk_id":1,"vocab":[["a",0]]}}"#,
            "unk_id is 1",
        ),
        (
            r#"{"normalizer":{"type":"Precompiled","precompiled_charsmap":"AAA"},"model":{"type":"Unigram","vocab":[["a",0]]}}"#,
            "precompiled",
        ),
    ] {
        let error = refused(json(file.as_bytes())).to_string();
        assert!(error.contains(word), "{error}");
    }
}

/// A hostile file costs an error, not memory and not time.
#[test]
fn what_grows_or_searches_without_end_is_an_error() {
    let many = |part: &str, count: usize| vec![part; count].join(",");
    let sequence = |key: &str, list: &str, parts: &str| {
        format!(r#""{key}":{{"type":"Sequence","{list}":[{parts}]}}"#)
    };
    let replace =
        |from: &str, to: &str| format!(r#"{{"type":"Replace","pattern":{from},"content":"{to}"}}"#);
    let split = |regex: &str| {
        format!(
            r#""pre_tokenizer":{{"type":"Split","behavior":"Isolated","pattern":{{"Regex":"{regex}"}}}}"#
        )
    };
    let ten = replace(r#"{"String":"a"}"#, "aaaaaaaaaa");
    let any = replace(r#"{"Regex":"."}"#, &"x".repeat(1000));
    let nothing = replace(r#"{"Regex":""}"#, &"x".repeat(1000));
    let prepend = format!(r#"{{"type":"Prepend","prepend":"{}"}}"#, "a".repeat(1000));
    let bytes = r#"{"type":"ByteLevel","use_regex":false}"#;
    let pieces = r#"{"type":"FixedLength","length":1},{"type":"ByteLevel"}"#;
    for (part, text) in [
        (sequence("normalizer", "normalizers", &many(&ten, 14)), "a"),
        (sequence("normalizer", "normalizers", &many(&any, 6)), "a"),
        (
            sequence("normalizer", "normalizers", &many(&nothing, 6)),
            "a",
        ),
        (
            sequence(
                "normalizer",
                "normalizers",
                &[prepend, many(&ten, 8)].join(","),
            ),
            "b",
        ),
        (
            sequence(
                "normalizer",
                "normalizers",
                &many(r#"{"type":"ByteLevel"}"#, 31),
            ),
            "é",
        ),
        (
            sequence("pre_tokenizer", "pretokenizers", &many(bytes, 31)),
            "é",
        ),
        (
            sequence("pre_tokenizer", "pretokenizers", &many(pieces, 15)),
            "é",
        ),
        (split("(?:a+)+$"), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"),
        (
            split("(?:a|aa)*b"),
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac",
        ),
        (
            split("(?:.*){12}x"),
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac",
        ),
        (
            split("(?=(?:a?){30}a{30}$)b"),
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ),
    ] {
        let file =
            format!(r#"{{{part},"model":{{"type":"BPE","vocab":{VOCABULARY},"merges":[]}}}}"#);
        let tokenizer = open(json(file.as_bytes()));
        let error = tokenizer
            .encode(text, EncodeOptions::default())
            .expect_err(&part);
        assert_eq!(error.kind(), TokenizerErrorKind::Limit);
        assert!(!error.to_string().contains('\n'), "{error}");
        // A text that it does nothing to is encoded.
        let found = tokenizer.encode("", EncodeOptions::default());
        assert_eq!(found, Ok(Vec::new()), "{part}");
    }
    let nested = |count: usize| {
        let mut part = r#"{"type":"Lowercase"}"#.to_string();
        for _ in 0..count {
            part = format!(r#"{{"type":"Sequence","normalizers":[{part}]}}"#);
        }
        format!(
            r#"{{"normalizer":{part},"model":{{"type":"BPE","vocab":{VOCABULARY},"merges":[]}}}}"#
        )
    };
    for count in [40, 100, 1000] {
        refused(json(nested(count).as_bytes()));
    }
    let groups = format!(
        r#"{{{},"model":{{"type":"BPE","vocab":{VOCABULARY},"merges":[]}}}}"#,
        split(&["(".repeat(2000), ")".repeat(2000)].concat())
    );
    refused(json(groups.as_bytes()));
}

/// Merges may go through a token that is special; text makes it only where that is asked for.
#[test]
fn vocabulary_tokens_may_be_special() {
    let file = r#"{"added_tokens":[{"id":3,"content":"th","special":true,"normalized":false}],
        "model":{"type":"BPE","vocab":{"t":0,"h":1,"e":2,"th":3,"the":4},"merges":["t h","th e"]}}"#;
    let tokenizer = open(json(file.as_bytes()));
    let plain = EncodeOptions::default();
    let encode = |text, options| tokenizer.encode(text, options).expect("within bounds");
    assert_eq!(encode("the", plain), [4]);
    assert_eq!(encode("th", plain), [0, 1]);
    assert_eq!(encode("the", plain.parse_special(true)), [3, 2]);
}

/// A byte-level `tokenizer.json` with these parts.
fn file(pre_tokenizer: &str, rest: &str, vocabulary: &str, merges: &str) -> String {
    format!(
        r#"{{"pre_tokenizer":{pre_tokenizer}{rest},"model":{{"type":"BPE","vocab":{vocabulary},"merges":{merges}}}}}"#
    )
}

const BYTE_LEVEL: &str = r#"{"type":"ByteLevel"}"#;
const VOCABULARY: &str = r#"{"a":0,"b":1,"ab":2}"#;

#[test]
fn parts_that_are_not_there_yet_are_refused_by_name() {
    let cases = [
        (r#"{"type":"Mystery"}"#, "", "Mystery"),
        // A back reference, a group that is called, and a repeat of a repeat of a repeat.
        (
            r#"{"type":"Split","pattern":{"Regex":"(a)\\1"}}"#,
            "",
            "(a)",
        ),
        (
            r#"{"type":"Split","pattern":{"Regex":"(?<n>a)\\g<n>"}}"#,
            "",
            "(?<n>a)",
        ),
        (
            r#"{"type":"Split","pattern":{"Regex":"(?:(?:a{1000}b){1000}c){1000}"}}"#,
            "",
            "{1000}",
        ),
        (
            r#"{"type":"Split","pattern":{"Regex":"\\p{Klingon}+"}}"#,
            "",
            "Klingon",
        ),
        (BYTE_LEVEL, r#","normalizer":{"type":"Mystery"}"#, "Mystery"),
        (
            BYTE_LEVEL,
            r#","post_processor":{"type":"Mystery"}"#,
            "Mystery",
        ),
        (BYTE_LEVEL, r#","decoder":{"type":"CTC"}"#, "CTC"),
        (
            BYTE_LEVEL,
            r#","decoder":{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"WordPiece"}]}"#,
            "WordPiece",
        ),
    ];
    for (pre_tokenizer, rest, word) in cases {
        let file = file(pre_tokenizer, rest, VOCABULARY, "[]");
        let error = refused(json(file.as_bytes()));
        assert_eq!(error.kind(), TokenizerErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn ids_and_merges_are_checked() {
    let cases = [
        (r#"{"a":0,"b":0}"#, "[]", "the id 0"),
        (r#"{"a":0,"b":4294967295}"#, "[]", "4294967295"),
        (r#"{"a":0,"b":1000000}"#, "[]", "1000000"),
        (r#"{"a":-1}"#, "[]", "-1"),
        (r#"{"a":1.5}"#, "[]", "1.5"),
        ("{}", "[]", "0 tokens"),
        (VOCABULARY, r#"["ab"]"#, "merge"),
        (VOCABULARY, r#"[["a"]]"#, "two tokens"),
        (VOCABULARY, r#"[["a","b","c"]]"#, "two tokens"),
        (VOCABULARY, r#"[7]"#, "merge"),
        (VOCABULARY, r#"[["a","b"],["b","a"]]"#, "merge 1 "),
        (VOCABULARY, r#"["c a"]"#, "\"c\""),
    ];
    for (vocabulary, merges, word) in cases {
        let file = file(BYTE_LEVEL, "", vocabulary, merges);
        let error = refused(json(file.as_bytes())).to_string();
        assert!(
            error.contains("tokenizer.json") || error.contains("merge"),
            "{error}"
        );
        assert!(error.contains(word), "{error}");
    }
    let rest = r#","added_tokens":[{"id":1,"content":"x","special":true}]"#;
    let error = refused(json(file(BYTE_LEVEL, rest, VOCABULARY, "[]").as_bytes()));
    assert!(error.to_string().contains("the id 1"), "{error}");
    let rest = r#","post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}}],"special_tokens":{"x":{"ids":[99]}}}"#;
    let error = refused(json(file(BYTE_LEVEL, rest, VOCABULARY, "[]").as_bytes()));
    assert!(error.to_string().contains("token 99"), "{error}");
}

#[test]
fn nesting_and_lengths_are_bounded() {
    let deep = "[".repeat(100_000);
    assert_eq!(
        refused(json(deep.as_bytes())).kind(),
        TokenizerErrorKind::Malformed
    );
    let nested = (0..100).fold(BYTE_LEVEL.to_string(), |inner, _| {
        format!(r#"{{"type":"Sequence","pretokenizers":[{inner}]}}"#)
    });
    // 127 levels of JSON are read; 32 levels of sequences are enough.
    refused(json(file(&nested, "", VOCABULARY, "[]").as_bytes()));
    let many = vec![BYTE_LEVEL; 1000].join(",");
    let many = format!(r#"{{"type":"Sequence","pretokenizers":[{many}]}}"#);
    let error = refused(json(file(&many, "", VOCABULARY, "[]").as_bytes()));
    assert_eq!(error.kind(), TokenizerErrorKind::Limit);
    let long = "x".repeat(5000);
    let rest = format!(r#","added_tokens":[{{"id":3,"content":"{long}"}}]"#);
    let error = refused(json(file(BYTE_LEVEL, &rest, VOCABULARY, "[]").as_bytes()));
    assert_eq!(error.kind(), TokenizerErrorKind::Limit);
    let rest = format!(r#","normalizer":{{"type":"Prepend","prepend":"{long}"}}"#);
    let error = refused(json(file(BYTE_LEVEL, &rest, VOCABULARY, "[]").as_bytes()));
    assert_eq!(error.kind(), TokenizerErrorKind::Limit);
}

#[test]
fn a_file_cut_anywhere_is_refused_and_a_flipped_bit_never_panics() {
    for len in 0..SPM.len() - 2 {
        refused(json(&SPM[..len]));
    }
    for len in 0..SPM_MODEL.len() {
        // A cut between two messages is a file with fewer pieces.
        let _ = Tokenizer::from_hf(model(&SPM_MODEL[..len]));
    }
    for (bytes, is_json) in [(SPM, true), (SPM_MODEL, false), (GPT2, true)] {
        let mut bytes = bytes.to_vec();
        for at in 0..bytes.len() {
            let bit = 1 << (at % 8);
            bytes[at] ^= bit;
            let files = if is_json { json(&bytes) } else { model(&bytes) };
            if let Ok(Some(tokenizer)) = Tokenizer::from_hf(files) {
                tokenizer
                    .encode("<s>a lamp 👍\n", ADD)
                    .expect("within bounds");
            }
            bytes[at] ^= bit;
        }
    }
}

/// One field of a protocol buffer message.
fn field(number: u8, data: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, data.len() as u8], data].concat()
}

#[test]
fn sentencepiece_files_are_checked() {
    let bpe = field(2, &[3 << 3, 2]);
    let piece = |text: &[u8], score: f32, kind: u8| {
        let score = [&[2 << 3 | 5][..], &score.to_le_bytes()].concat();
        field(1, &[field(1, text), score, vec![3 << 3, kind]].concat())
    };
    let unknown = piece(b"<unk>", 0.0, 2);
    assert!(Tokenizer::from_hf(model(&[bpe.clone(), unknown.clone()].concat())).is_ok());
    let cases = [
        (field(2, &[3 << 3, 3]), "word"),
        ([bpe.clone(), piece(b"a", 0.0, 1)].concat(), "unknown piece"),
        ([bpe.clone(), piece(b"a", f32::NAN, 1)].concat(), "piece 0"),
        ([bpe.clone(), piece(b"a", 0.0, 9)].concat(), "type 9"),
        ([bpe.clone(), piece(b"", 0.0, 1)].concat(), "piece 0"),
        ([bpe.clone(), piece(b"a", 0.0, 6)].concat(), "piece 0"),
        (
            [bpe.clone(), field(3, &field(2, b"map"))].concat(),
            "precompiled_charsmap",
        ),
        (
            [bpe.clone(), field(3, &[5 << 3, 0])].concat(),
            "escape_whitespaces",
        ),
        (vec![0x0A, 0xFF], "broken"),
        (vec![0xFF; 20], "broken"),
        (
            vec![
                0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01,
            ],
            "broken",
        ),
        (vec![0x0B], "broken"),
    ];
    for (bytes, word) in cases {
        let error = refused(model(&bytes)).to_string();
        assert!(error.contains("tokenizer.model"), "{error}");
        assert!(error.contains(word), "{error}");
    }
}

/// RWKV's vocabulary as its authors publish it.
#[test]
fn rwkv_lines_are_python_literals() {
    let build = |lines: &str| {
        Tokenizer::from_hf(HfFiles {
            rwkv_vocabulary: Some(lines.as_bytes()),
            ..HfFiles::default()
        })
        .map(|tokenizer| tokenizer.expect("a vocabulary"))
    };
    let lines = [
        r"1 '\x00' 1",
        r"2 '\n' 1",
        r"3 'a' 1",
        r"4 'ab' 2",
        r#"5 "'" 1"#,
        r#"6 '"' 1"#,
        r"7 ' \\' 2",
        r"8 b'\xe6' 1",
        r"9 b'\x97\xa5' 2",
        r"10 'é' 2",
        r"11 '\xa0\u200b\U0001f600' 9",
        r"12 ' a b' 4",
        r#"13 '\'\"' 2"#,
    ];
    let tokenizer = build(&lines.join("\n")).expect("valid");
    let ids = |text: &str| {
        tokenizer
            .encode(text, EncodeOptions::default())
            .expect("within bounds")
    };
    assert_eq!(ids("ab\n'\"\0"), [4, 2, 13, 1]);
    assert_eq!(ids("a \\é日"), [3, 7, 10, 8, 9]);
    assert_eq!(ids("\u{a0}\u{200b}\u{1f600} a b"), [11, 12]);
    assert_eq!(
        tokenizer.decode_text(&[8, 9, 12], DecodeOptions::default()),
        "日 a b"
    );
    // The end of a text has no line.
    assert_eq!(tokenizer.eos(), Some(0));
    assert_eq!(tokenizer.end_tokens(), [0]);
    let special = EncodeOptions::default().parse_special(true);
    assert_eq!(
        tokenizer
            .encode("a<|endoftext|>", special)
            .expect("within bounds"),
        [3, 0]
    );
    // As a GGUF file holds it, it is the same.
    let again = Tokenizer::from_gguf(&tokenizer.to_gguf().metadata);
    let again = again.expect("valid").expect("a vocabulary");
    assert_eq!(
        again
            .encode("a \\é日", EncodeOptions::default())
            .expect("within bounds"),
        [3, 7, 10, 8, 9]
    );
    for wrong in [
        "1 'a'",
        "1 'a' 2",
        "x 'a' 1",
        "1 a 1",
        "1 'a\" 1",
        "1 ' 1",
        "1  1",
        r"1 '\' 1",
        r"1 '\q' 2",
        r"1 '\xg0' 1",
        r"1 '\ud800' 3",
        r"1 b'\u0041' 1",
        "1 b'é' 2",
        "1 'a' 1\n1 'b' 1",
        "4000000000 'a' 1",
        "1 'a'b' 3",
    ] {
        let error = build(wrong).expect_err(wrong).to_string();
        assert!(!error.contains('\n'), "{error}");
    }
    for end in 0..lines.join("\n").len() {
        let text = lines.join("\n");
        let _ = build(text.get(..end).unwrap_or_default());
    }
}
