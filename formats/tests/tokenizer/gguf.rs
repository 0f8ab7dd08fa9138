//! Tokenizers from GGUF metadata: the small vocabularies of the other tests, written as a
//! converter writes them, and what is wrong with hostile ones.

use rillm_formats::gguf;
use rillm_formats::manifest::{Array, Metadata, MetadataValue, Strings};
use rillm_formats::tokenizer::{DecodeOptions, EncodeOptions, Tokenizer, TokenizerErrorKind};
use serde_json::Value as Json;

const SPM: &[u8] = include_bytes!("../data/tokenizer/spm.tokenizer.json");
const LLAMA3: &[u8] = include_bytes!("../data/tokenizer/llama3.tokenizer.json");
const CASES: &[u8] = include_bytes!("../data/tokenizer/cases.json");

fn strings<'a>(texts: impl IntoIterator<Item = &'a str>) -> MetadataValue {
    let mut strings = Strings::default();
    for text in texts {
        strings.push(text.as_bytes());
    }
    MetadataValue::Array(Array::String(strings))
}

fn put(metadata: &mut Metadata, key: &str, value: MetadataValue) {
    metadata.0.insert(format!("tokenizer.ggml.{key}"), value);
}

fn text(value: &str) -> MetadataValue {
    MetadataValue::String(value.into())
}

/// The tokens of a `tokenizer.json` by id, and GGUF's type of each.
fn tokens(file: &Json) -> (Vec<String>, Vec<i32>) {
    let vocabulary = file["model"]["vocab"].as_object().expect("a map");
    let byte_fallback = file["model"]["byte_fallback"].as_bool() == Some(true);
    let mut tokens = vec![String::new(); vocabulary.len()];
    for (text, id) in vocabulary {
        tokens[id.as_u64().expect("an id") as usize] = text.clone();
    }
    let mut types: Vec<i32> = tokens
        .iter()
        .map(|text| match byte_fallback && text.starts_with("<0x") {
            true => 6,
            false => 1,
        })
        .collect();
    for token in file["added_tokens"].as_array().expect("a list") {
        let id = token["id"].as_u64().expect("an id") as usize;
        types[id] = match (token["content"].as_str(), token["special"].as_bool()) {
            (Some("<unk>"), _) => 2,
            (_, Some(true)) => 3,
            _ => 4,
        };
    }
    (tokens, types)
}

fn spm() -> Metadata {
    let file: Json = serde_json::from_slice(SPM).expect("json");
    let (tokens, types) = tokens(&file);
    let mut metadata = Metadata::default();
    put(&mut metadata, "model", text("llama"));
    // SentencePiece's trainer scores merged pieces by their order, others 0.
    let scores = types.iter().zip(0u16..);
    let scores = scores.map(|(&kind, id)| if kind == 1 { -f32::from(id) } else { 0.0 });
    put(
        &mut metadata,
        "scores",
        MetadataValue::Array(Array::F32(scores.collect())),
    );
    put(
        &mut metadata,
        "tokens",
        strings(tokens.iter().map(String::as_str)),
    );
    put(
        &mut metadata,
        "token_type",
        MetadataValue::Array(Array::I32(types)),
    );
    put(&mut metadata, "unknown_token_id", MetadataValue::U32(0));
    put(&mut metadata, "bos_token_id", MetadataValue::U32(1));
    put(&mut metadata, "eos_token_id", MetadataValue::U32(2));
    metadata
}

fn llama3() -> Metadata {
    let file: Json = serde_json::from_slice(LLAMA3).expect("json");
    let (tokens, types) = tokens(&file);
    let merges = file["model"]["merges"].as_array().expect("a list");
    let merges: Vec<String> = merges
        .iter()
        .map(|pair| {
            format!(
                "{} {}",
                pair[0].as_str().expect("a"),
                pair[1].as_str().expect("b")
            )
        })
        .collect();
    let mut metadata = Metadata::default();
    put(&mut metadata, "model", text("gpt2"));
    put(&mut metadata, "pre", text("llama-bpe"));
    put(
        &mut metadata,
        "tokens",
        strings(tokens.iter().map(String::as_str)),
    );
    put(
        &mut metadata,
        "token_type",
        MetadataValue::Array(Array::I32(types)),
    );
    put(
        &mut metadata,
        "merges",
        strings(merges.iter().map(String::as_str)),
    );
    put(&mut metadata, "bos_token_id", MetadataValue::U32(0));
    put(&mut metadata, "eos_token_id", MetadataValue::U32(1));
    put(&mut metadata, "add_eos_token", MetadataValue::Bool(true));
    metadata
}

fn tokenizer(metadata: &Metadata) -> Tokenizer {
    Tokenizer::from_gguf(metadata)
        .expect("valid")
        .expect("there")
}

/// The same vocabulary gives the same ids whichever container it comes in.
fn agrees(metadata: &Metadata, file: &str) {
    let tokenizer = tokenizer(metadata);
    let all: Json = serde_json::from_slice(CASES).expect("json");
    let texts = all["texts"].as_array().expect("texts").iter();
    for (text, case) in texts.zip(all["cases"][file].as_array().expect(file)) {
        let text = text.as_str().expect("text");
        let plain = tokenizer
            .encode(text, EncodeOptions::default())
            .expect("within bounds");
        assert_eq!(Json::from(plain.clone()), case[0], "{file}: {text:?}");
        let back = tokenizer.decode_text(&plain, DecodeOptions::default());
        assert_eq!(back, case[2].as_str().expect("text"), "{file}: {text:?}");
        let options = EncodeOptions::default()
            .add_special(true)
            .parse_special(true);
        if !text.starts_with("<s>") {
            let special = tokenizer.encode(text, options).expect("within bounds");
            assert_eq!(Json::from(special), case[1], "{file}: {text:?}");
        }
    }
}

#[test]
fn sentencepiece() {
    agrees(&spm(), "spm.tokenizer.json");
}

#[test]
fn byte_level() {
    agrees(&llama3(), "llama3.tokenizer.json");
}

#[test]
fn a_model_may_have_no_vocabulary() {
    let mut metadata = Metadata::default();
    assert!(matches!(Tokenizer::from_gguf(&metadata), Ok(None)));
    for name in ["none", "no_vocab"] {
        put(&mut metadata, "model", text(name));
        assert!(matches!(Tokenizer::from_gguf(&metadata), Ok(None)));
    }
}

#[test]
fn end_tokens_are_what_the_file_names_and_what_is_known() {
    let mut metadata = llama3();
    assert_eq!(tokenizer(&metadata).end_tokens(), [1]);
    assert_eq!(tokenizer(&metadata).bos(), Some(0));
    put(&mut metadata, "eot_token_id", MetadataValue::U32(7));
    // Rename a control token and an ordinary one to texts that end turns.
    if let Some(MetadataValue::Array(Array::String(texts))) =
        metadata.value("tokenizer.ggml.tokens")
    {
        let last = texts.len() - 1;
        let renamed: Vec<&str> = texts
            .iter()
            .zip(0..)
            .map(|(text, id)| match id {
                0 => "<|im_end|>",
                id if id == last => "<|eot_id|>",
                _ => std::str::from_utf8(text).expect("text"),
            })
            .collect();
        let renamed = strings(renamed);
        put(&mut metadata, "tokens", renamed);
    }
    // Converters have said that the ordinary one is: as in llama.cpp its name counts for more.
    let tokenizer = tokenizer(&metadata);
    let last = tokenizer.vocabulary_len() as u32 - 1;
    assert_eq!(tokenizer.end_tokens(), [0, 1, 7, last]);
    assert!(tokenizer.is_control(last));
}

#[test]
fn minus_one_means_no_token() {
    let mut metadata = spm();
    put(&mut metadata, "eot_token_id", MetadataValue::U32(u32::MAX));
    put(&mut metadata, "eom_token_id", MetadataValue::I32(-1));
    assert_eq!(tokenizer(&metadata).end_tokens(), [2]);
}

/// Each defect is one line that names the key and, where there is one, the index.
fn refused(mut metadata: Metadata, key: &str, value: Option<MetadataValue>, words: &[&str]) {
    match value {
        Some(value) => put(&mut metadata, key, value),
        None => {
            metadata.0.remove(&format!("tokenizer.ggml.{key}"));
        }
    }
    let error = Tokenizer::from_gguf(&metadata).expect_err(key).to_string();
    assert!(error.contains(&format!("tokenizer.ggml.{key}")), "{error}");
    for word in words {
        assert!(error.contains(word), "{error}");
    }
    assert!(!error.contains('\n') && error.len() < 400, "{error}");
}

#[test]
fn other_kinds_are_refused_by_name() {
    let mut metadata = spm();
    put(&mut metadata, "model", text("plamo2"));
    let error = Tokenizer::from_gguf(&metadata).expect_err("not known");
    assert_eq!(error.kind(), TokenizerErrorKind::Unsupported);
    assert!(error.to_string().contains("plamo2"), "{error}");
    refused(llama3(), "pre", Some(text("no\nsuch")), &["no\\nsuch"]);
}

#[test]
fn values_of_other_types_are_refused() {
    refused(spm(), "model", Some(MetadataValue::U32(1)), &["string"]);
    refused(
        llama3(),
        "pre",
        Some(MetadataValue::Bool(true)),
        &["string"],
    );
    refused(
        spm(),
        "tokens",
        Some(MetadataValue::U32(1)),
        &["list of strings"],
    );
    refused(spm(), "tokens", None, &["missing"]);
    refused(spm(), "tokens", Some(strings([])), &["0 entries"]);
    refused(
        llama3(),
        "merges",
        Some(MetadataValue::U32(1)),
        &["list of strings"],
    );
    refused(llama3(), "merges", None, &["missing"]);
    refused(spm(), "scores", None, &["missing"]);
    refused(
        spm(),
        "add_bos_token",
        Some(MetadataValue::U32(1)),
        &["truth value"],
    );
    refused(spm(), "token_type", Some(text("x")), &["I32"]);
    refused(spm(), "bos_token_id", Some(text("x")), &["token id"]);
}

#[test]
fn lengths_and_ids_are_checked() {
    let list = |count| MetadataValue::Array(Array::F32(vec![0.0; count]));
    refused(spm(), "scores", Some(list(3)), &["3 entries", "440"]);
    refused(spm(), "scores", Some(list(441)), &["441 entries"]);
    let not_numbers = MetadataValue::Array(Array::F32(vec![f32::NAN; 440]));
    refused(spm(), "scores", Some(not_numbers), &["[0]", "number"]);
    let types = |kind, count| MetadataValue::Array(Array::I32(vec![kind; count]));
    refused(spm(), "token_type", Some(types(1, 2)), &["2 entries"]);
    refused(spm(), "token_type", Some(types(9, 440)), &["[0] is 9"]);
    refused(spm(), "token_type", Some(types(-1, 440)), &["[0] is -1"]);
    refused(spm(), "tokens", Some(strings(["x"; 440])), &["[4]", "byte"]);
    for key in ["bos", "eos", "eot", "eom", "unknown"] {
        let key = format!("{key}_token_id");
        refused(spm(), &key, Some(MetadataValue::U32(440)), &["440 tokens"]);
        refused(spm(), &key, Some(MetadataValue::I32(-2)), &["token id"]);
        refused(
            spm(),
            &key,
            Some(MetadataValue::U64(1 << 40)),
            &["440 tokens"],
        );
    }
}

#[test]
fn merges_are_checked() {
    for (line, word) in [("", "[0]"), ("a", "[0]"), ("a ", "[0]"), (" a", "[0]")] {
        refused(
            llama3(),
            "merges",
            Some(strings([line])),
            &[word, "two tokens"],
        );
    }
    let mut metadata = llama3();
    put(&mut metadata, "merges", strings(["t h", "q qq"]));
    let error = Tokenizer::from_gguf(&metadata).expect_err("no such token");
    assert!(error.to_string().contains("merge 1 "), "{error}");
    assert!(error.to_string().contains("\"qq\""), "{error}");
}

#[test]
fn a_promised_token_must_exist() {
    let mut metadata = spm();
    metadata.0.remove("tokenizer.ggml.bos_token_id");
    put(&mut metadata, "add_bos_token", MetadataValue::Bool(true));
    let error = Tokenizer::from_gguf(&metadata)
        .expect_err("no BOS")
        .to_string();
    assert!(error.contains("bos_token_id is missing"), "{error}");
}

#[test]
fn endless_special_tokens_are_refused() {
    let metadata = spm();
    let long = "x".repeat(2000);
    if let Some(MetadataValue::Array(Array::String(texts))) =
        metadata.value("tokenizer.ggml.tokens")
    {
        let texts: Vec<&str> = texts
            .iter()
            .zip(0..)
            .map(|(text, id)| match id {
                1 => long.as_str(),
                _ => std::str::from_utf8(text).expect("text"),
            })
            .collect();
        let texts = strings(texts);
        refused(
            metadata.clone(),
            "tokens",
            Some(texts),
            &["[1]", "2000 bytes"],
        );
    }
}

/// Not a test: writes the fuzzer's seeds (`cargo test -p rillm-formats --test formats -- --ignored`).
#[test]
#[ignore = "writes files"]
fn write_seeds() {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/tokenizer_gguf");
    std::fs::create_dir_all(&folder).expect("a folder");
    for (name, metadata) in [("spm.gguf", spm()), ("llama3.gguf", llama3())] {
        let layout = gguf::write::layout(&metadata, &[]).expect("valid");
        std::fs::write(folder.join(name), layout.header).expect("written");
    }
}

/// A file of this kind with normal tokens.
fn of_kind(kind: &str, tokens: &[&str]) -> Metadata {
    let mut metadata = Metadata::default();
    put(&mut metadata, "model", text(kind));
    put(&mut metadata, "tokens", strings(tokens.iter().copied()));
    let types = vec![1; tokens.len()];
    put(
        &mut metadata,
        "token_type",
        MetadataValue::Array(Array::I32(types)),
    );
    metadata
}

fn encoded(metadata: &Metadata, text: &str) -> Vec<u32> {
    let tokenizer = Tokenizer::from_gguf(metadata)
        .expect("valid")
        .expect("there");
    tokenizer
        .encode(text, EncodeOptions::default())
        .expect("within bounds")
}

#[test]
fn rwkv_takes_the_longest_token() {
    let tokens = [
        "<s>",
        "\\x00",
        "\\n",
        "a",
        "ab",
        "abc",
        " a",
        "\\xe6",
        "\\x97\\xa5",
        "\\'",
        "\\\\",
    ];
    let metadata = of_kind("rwkv", &tokens);
    assert_eq!(encoded(&metadata, "abcab a\n"), [5, 4, 6, 2]);
    assert_eq!(encoded(&metadata, "日'\\"), [7, 8, 9, 10]);
    // What no token begins is left out.
    assert_eq!(encoded(&metadata, "azb\0"), [3, 1]);
    let tokenizer = Tokenizer::from_gguf(&metadata)
        .expect("valid")
        .expect("there");
    assert_eq!(
        tokenizer.decode_text(&[7, 8, 2], DecodeOptions::default()),
        "日\n"
    );
}

#[test]
fn wordpiece_needs_an_unknown_token() {
    let mut metadata = of_kind("bert", &["[UNK]", "▁the", "re", "▁re"]);
    refused(metadata.clone(), "unknown_token_id", None, &["missing"]);
    put(&mut metadata, "unknown_token_id", MetadataValue::U32(0));
    assert_eq!(encoded(&metadata, "The THERE ré x"), [1, 1, 2, 3, 0]);
}

#[test]
fn unigram_takes_the_likeliest_cut() {
    let mut metadata = of_kind("t5", &["<unk>", "▁", "▁a", "a", "b", "ab", "▁ab"]);
    let scores = vec![0.0, -3.0, -4.0, -2.0, -2.5, -4.0, -9.0];
    put(
        &mut metadata,
        "scores",
        MetadataValue::Array(Array::F32(scores)),
    );
    put(&mut metadata, "unknown_token_id", MetadataValue::U32(0));
    // ▁a b (−6.5) before ▁ ab (−7), ▁ a b (−7.5) and ▁ab (−9).
    assert_eq!(encoded(&metadata, "ab"), [2, 4]);
    assert_eq!(encoded(&metadata, "  ab   xyab "), [2, 4, 1, 0, 5]);
    refused(metadata.clone(), "scores", None, &["missing"]);
    let bytes = |bytes: &[u8]| Some(MetadataValue::Array(Array::U8(bytes.to_vec())));
    let map = "precompiled_charsmap";
    refused(
        metadata.clone(),
        map,
        bytes(b"map"),
        &["no precompiled map"],
    );
    refused(
        metadata.clone(),
        map,
        bytes(&[255, 255, 255, 255, 0]),
        &["no precompiled map"],
    );
    // A trie that points nowhere replaces nothing.
    let nowhere = [4, 0, 0, 0, 255, 255, 255, 255];
    put(&mut metadata, map, bytes(&nowhere).expect("bytes"));
    assert_eq!(encoded(&metadata, "ab"), [2, 4]);
}

/// A piece of the first two bytes of a character's three, likelier than any other.
#[test]
fn unigram_cuts_no_character() {
    let mut metadata = of_kind("t5", &["<unk>", "▁", "中"]);
    let mut tokens = Strings::default();
    for token in [
        "<unk>".as_bytes(),
        "▁".as_bytes(),
        "中".as_bytes(),
        &"中".as_bytes()[..2],
    ] {
        tokens.push(token);
    }
    put(
        &mut metadata,
        "tokens",
        MetadataValue::Array(Array::String(tokens)),
    );
    let types = MetadataValue::Array(Array::I32(vec![1; 4]));
    put(&mut metadata, "token_type", types);
    let scores = vec![0.0, -3.0, -2.0, -1.0];
    let scores = MetadataValue::Array(Array::F32(scores));
    put(&mut metadata, "scores", scores);
    put(&mut metadata, "unknown_token_id", MetadataValue::U32(0));
    // Longer than what is looked ahead.
    let found = encoded(&metadata, &"中".repeat(3000));
    assert_eq!(found.len(), 3001);
    assert!(found[0] == 1 && found[1..].iter().all(|&id| id == 2));
}

/// Gemma 4's form: merges in a list, spaces as ▁, newlines and spaces in runs.
#[test]
fn merges_of_text_with_marked_spaces() {
    let mut metadata = Metadata::default();
    let mut tokens = vec![
        "<pad>".to_string(),
        "<eos>".into(),
        "<bos>".into(),
        "<unk>".into(),
    ];
    tokens.extend((0..=255u8).map(|byte| format!("<0x{byte:02X}>")));
    tokens.extend(["▁", "a", "b", "\n", "▁▁", "ab", "▁ab", "\n\n"].map(String::from));
    let types = tokens.iter().enumerate().map(|(id, _)| match id {
        0..=2 => 3,
        3 => 2,
        4..260 => 6,
        _ => 1,
    });
    let types: Vec<i32> = types.collect();
    put(&mut metadata, "model", text("gemma4"));
    put(
        &mut metadata,
        "token_type",
        MetadataValue::Array(Array::I32(types)),
    );
    put(
        &mut metadata,
        "tokens",
        strings(tokens.iter().map(String::as_str)),
    );
    let merges = strings(vec!["a b", "▁ ab", "▁ ▁", "\n \n"]);
    put(&mut metadata, "merges", merges);
    put(&mut metadata, "bos_token_id", MetadataValue::U32(2));
    put(&mut metadata, "eos_token_id", MetadataValue::U32(1));
    let tokenizer = tokenizer(&metadata);
    let (space, a, newline, spaces, ab, space_ab, newlines) = (260, 261, 263, 264, 265, 266, 267);
    let encoded = tokenizer
        .encode("ab ab   a\n\n\né", EncodeOptions::default())
        .expect("within bounds");
    let expected = [
        ab,
        space_ab,
        spaces,
        space,
        a,
        newlines,
        newline,
        4 + 0xC3,
        4 + 0xA9,
    ];
    assert_eq!(encoded, expected);
    assert_eq!(
        tokenizer.decode_text(&encoded, DecodeOptions::default()),
        "ab ab   a\n\n\né"
    );
    assert_eq!(
        tokenizer
            .encode("", EncodeOptions::default().add_special(true))
            .expect("within bounds"),
        [2]
    );
}

/// Jina's Chinese form: merges in a list, white space dropped, bytes not written as characters.
#[test]
fn merges_between_white_space() {
    let mut metadata = of_kind("whitespace", &["<unk>", "a", "b", "ab", "中", "文", "中文"]);
    let types = MetadataValue::Array(Array::I32(vec![2, 1, 1, 1, 1, 1, 1]));
    put(&mut metadata, "token_type", types);
    put(&mut metadata, "pre", text("whitespace"));
    put(&mut metadata, "merges", strings(["a b", "中 文"]));
    put(&mut metadata, "unknown_token_id", MetadataValue::U32(0));
    assert_eq!(
        encoded(&metadata, " ab\t a b\n中文 中 文"),
        [3, 1, 2, 6, 4, 5]
    );
    assert_eq!(encoded(&metadata, "axxA\u{3000}"), [1, 0, 0, 0]);
    put(
        &mut metadata,
        "normalizer.lowercase",
        MetadataValue::Bool(true),
    );
    assert_eq!(encoded(&metadata, "AB"), [3]);
    // Files from before the kind had a name.
    put(&mut metadata, "model", text("gpt2"));
    assert_eq!(encoded(&metadata, "ab ab"), [3, 3]);
}
