//! Parsing holds at most `MEMORY_FACTOR` bytes per byte of input (plus `MEMORY_BASE`), whatever
//! the input: measured by an allocator that counts, on files made to cost as much as they can.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use rillm_formats::limits::{MEMORY_BASE, MEMORY_FACTOR};
use rillm_formats::manifest::Array;
use rillm_formats::tokenizer::{EncodeOptions, HfFiles, Tokenizer};
use rillm_formats::{gguf, hf_config, safetensors};

use crate::support::{Raw, kind};

thread_local! {
    /// Bytes held now and at most. Per thread: tests run side by side.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

struct Counting;

fn count(change: isize) {
    // A thread that is ending has no counter any more, and nothing to measure.
    let _ = HELD.try_with(|held| {
        let (now, peak) = held.get();
        let now = now + change;
        held.set((now, peak.max(now)));
    });
}

// SAFETY: every call goes to `System` unchanged, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps `GlobalAlloc`'s contract, which is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the pointer came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        // The worst case: old and new exist at once.
        count(len as isize);
        count(-(layout.size() as isize));
        // SAFETY: the pointer came from `System` with this layout.
        unsafe { System.realloc(pointer, layout, len) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Bytes held at most while `run` ran, beyond those held before.
fn peak<T>(run: impl FnOnce() -> T) -> (usize, T) {
    let before = HELD.get().0;
    HELD.set((before, before));
    let result = run();
    let peak = HELD.get().1 - before;
    (peak.max(0) as usize, result)
}

#[track_caller]
fn bounded<T>(name: &str, len: usize, run: impl FnOnce() -> T) -> T {
    let (peak, result) = peak(run);
    println!(
        "{name}: {len} bytes, {peak} held, {:.1}",
        peak as f64 / len.max(1) as f64
    );
    let bound = MEMORY_FACTOR * len + MEMORY_BASE;
    assert!(
        peak <= bound,
        "{name}: {len} bytes made it hold {peak}, at most {bound}"
    );
    result
}

#[track_caller]
fn gguf_bounded(name: &str, raw: Raw) -> bool {
    bounded(name, raw.0.len(), || {
        gguf::parse(&raw.0, 0).map(|file| gguf::merge(vec![file]))
    })
    .is_ok()
}

/// Different names, as short as they can be.
fn name(mut number: usize) -> String {
    let mut name = String::new();
    while number > 0 || name.is_empty() {
        name.push(char::from(b'!' + 2 + (number % 50) as u8));
        number /= 50;
    }
    name.replace('\\', "~")
}

#[test]
fn the_counter_counts() {
    let (held, kept) = peak(|| {
        drop(vec![0u8; 1000]);
        vec![0u8; 600]
    });
    assert_eq!((held, kept.len()), (1000, 600));
    let (held, _) = peak(|| {
        let mut vec = vec![0u8; 100];
        vec.reserve_exact(900);
    });
    assert_eq!(held, 1100);
}

#[test]
fn gguf_of_the_shortest_keys() {
    for keys in [0usize, 1, 2, 12, 1000, 1 << 16] {
        let raw = (0..keys).fold(Raw::gguf(3, 0, keys as u64), |raw, key| {
            raw.key(&name(key), kind::U8).u8(0)
        });
        assert!(gguf_bounded("keys", raw));
    }
    let raw = (0..1 << 16).fold(Raw::gguf(3, 0, 1 << 16), |raw, key| {
        raw.array(&name(key), kind::ARRAY, 0)
    });
    assert!(gguf_bounded("keys of empty arrays", raw));
}

#[test]
fn gguf_of_arrays() {
    let arrays = 100_000;
    let raw = Raw::gguf(3, 0, 1).array("a", kind::ARRAY, arrays);
    let raw = (0..arrays).fold(raw, |raw, _| raw.u32(kind::U8).u64(0));
    assert!(gguf_bounded("empty arrays in an array", raw));
    let raw = Raw::gguf(3, 0, 1).array("a", kind::ARRAY, arrays);
    let raw = (0..arrays).fold(raw, |raw, _| {
        raw.u32(kind::ARRAY)
            .u64(1)
            .u32(kind::ARRAY)
            .u64(1)
            .u32(kind::U8)
            .u64(0)
    });
    assert!(gguf_bounded("arrays of one array", raw));
    let raw = Raw::gguf(3, 0, 1).array("a", kind::STRING, arrays);
    let raw = (0..arrays).fold(raw, |raw, _| raw.u64(0));
    assert!(gguf_bounded("empty strings", raw));
    let raw = Raw::gguf(3, 0, 1)
        .array("a", kind::U8, 1 << 20)
        .data(1 << 20);
    assert!(gguf_bounded("bytes", raw));
}

#[test]
fn arrays_in_arrays_take_no_more_than_the_file() {
    let arrays = 100_000;
    let inner = |raw: Raw, len: u8| raw.u32(kind::U8).u64(len.into()).data(len.into());
    for len in [0, 1, 8] {
        let raw = Raw::gguf(3, 0, 1).array("a", kind::ARRAY, arrays);
        let raw = (0..arrays).fold(raw, |raw, _| inner(raw, len));
        let (held, file) = peak(|| gguf::parse(&raw.0, 0));
        assert_eq!(
            file.unwrap().metadata.array("a").map(Array::len),
            Some(100_000)
        );
        assert!(held <= raw.0.len() + MEMORY_BASE, "{len}: {held}");
    }
}

#[test]
fn gguf_of_the_shortest_tensors() {
    for tensors in [1usize, 2, 100_000] {
        let raw = Raw::gguf(3, tensors as u64, 0);
        let raw = (0..tensors).fold(raw, |raw, tensor| {
            raw.tensor(&name(tensor), &[], 24, 32 * tensor as u64)
        });
        // A file as long as its header, as far as memory goes: the data are not read.
        let len = raw.0.len();
        let file_len = (len + 32 * tensors + 32) as u64;
        let parse =
            || gguf::parse_header(&raw.0, Some(file_len), 0).map(|file| gguf::merge(vec![file]));
        assert!(bounded("tensors", len, parse).is_ok());
    }
}

#[test]
fn gguf_that_claims_more_than_it_has() {
    let filler = || Raw::default().bytes(&[0; 4096]).0;
    for kind in [kind::U8, kind::U64, kind::STRING, kind::ARRAY] {
        for count in [340, 512, 4096, 1 << 28, u64::MAX] {
            let raw = Raw::gguf(3, 0, 1).array("a", kind, count).bytes(&filler());
            gguf_bounded("claims", raw);
            // The same claim on every level.
            let raw = Raw::gguf(3, 0, 1).array("a", kind::ARRAY, count.min(300));
            let raw = raw.u32(kind::ARRAY).u64(count.min(300));
            let raw = raw.u32(kind::ARRAY).u64(count.min(300));
            gguf_bounded(
                "claims in claims",
                raw.u32(kind).u64(count).bytes(&filler()),
            );
        }
    }
    for (tensors, keys) in [
        (160, 0),
        (0, 290),
        (1 << 20, 0),
        (0, 1 << 16),
        (u64::MAX, u64::MAX),
    ] {
        gguf_bounded("counts", Raw::gguf(3, tensors, keys).bytes(&filler()));
    }
    for len in 0..32 {
        gguf_bounded("foreign", Raw::default().data(len));
    }
}

fn safetensors_bounded(name: &str, bytes: &[u8]) -> bool {
    let len = bytes.len();
    bounded(name, len, || {
        safetensors::ShardIndex::parse(bytes).map(drop)
    })
    .ok();
    bounded(name, len, || {
        let file = safetensors::parse(bytes, 0)?;
        let config = hf_config::HfConfig {
            model_type: Some(String::new()),
            ..Default::default()
        };
        safetensors::merge(config, vec![file], None)
    })
    .is_ok()
}

#[test]
fn safetensors_of_the_shortest_entries() {
    for dtype in ["I8", "?"] {
        let entry = |tensor| {
            format!(
                r#""{}":{{"dtype":"{dtype}","shape":[0],"data_offsets":[0,0]}}"#,
                name(tensor)
            )
        };
        let entries: Vec<String> = (0..50_000).map(entry).collect();
        let header = format!("{{{}}}", entries.join(","));
        assert!(safetensors_bounded(
            "tensors",
            &crate::support::safetensors(&header, 0)
        ));
    }
    let texts: Vec<String> = (0..50_000)
        .map(|key| format!(r#""{}":"""#, name(key)))
        .collect();
    let header = format!(r#"{{"__metadata__":{{{}}}}}"#, texts.join(","));
    assert!(safetensors_bounded(
        "texts",
        &crate::support::safetensors(&header, 0)
    ));
    safetensors_bounded(
        "no texts",
        &crate::support::safetensors(&"{".repeat(50_000), 0),
    );
}

#[test]
fn indexes_of_the_shortest_entries() {
    let entry = |tensor: usize| format!(r#""{}":"{}.safetensors""#, name(tensor), tensor % 4000);
    let entries: Vec<String> = (0..50_000).map(entry).collect();
    let text = format!(r#"{{"weight_map":{{{}}}}}"#, entries.join(","));
    let parse = || safetensors::ShardIndex::parse(text.as_bytes());
    assert!(bounded("index", text.len(), parse).is_ok());
    let skipped = format!(r#"{{"a":{},"weight_map":{{}}}}"#, "[".repeat(100_000));
    bounded("skipped", skipped.len(), || {
        safetensors::ShardIndex::parse(skipped.as_bytes())
    })
    .ok();
}

/// One more element than a power of two: a vector that has just doubled costs the most.
const ELEMENTS: usize = 1 << 16;

#[test]
fn configurations_that_multiply() {
    let many = |one: &str| format!("{{\"a\":[{one}{}]}}", format!(",{one}").repeat(ELEMENTS));
    let objects: Vec<String> = (0..50_000)
        .map(|key| format!("\"{}\":1", name(key)))
        .collect();
    let nested = format!("{{\"{}\":{{{}}}}}", "k".repeat(1000), objects.join(","));
    let mut texts = vec![
        ("numbers", many("1")),
        ("floats", many("1.5")),
        ("numbers, then a float", many("1").replace("]}", ",0.5]}")),
        ("truths", many("true")),
        ("strings", many("\"\"")),
        ("nulls", many("null")),
        ("not numbers", many("NaN")),
        ("empty arrays", many("[]")),
        ("pairs", many("[0,1]")),
        ("empty objects", many("{}")),
        ("numbers, then a null", many("1").replace("]}", ",null]}")),
        ("mixed", many("1,\"\"")),
        ("objects", format!("{{{}}}", objects.join(","))),
        ("long paths", nested),
        (
            "escapes",
            format!(
                "{{\"{}\":\"{}\"}}",
                "\\u0041".repeat(5000),
                "\\n".repeat(50_000)
            ),
        ),
    ];
    texts.extend((0..300).map(|len| ("short", format!("{{{}}}", objects[..len].join(",")))));
    // An eighth of the file uses up the memory that paths may take, arrays fill the rest.
    let leaves = objects[..400].join(",");
    let both = format!(
        "{{\"{}\":{{{leaves}}},{}",
        "k".repeat(1000),
        &many("1")[1..]
    );
    texts.push(("paths and numbers", both));
    for (name, text) in texts {
        bounded(name, text.len(), || hf_config::parse(text.as_bytes())).ok();
    }
}

/// However long a file is: what no configuration has so many of takes no more of them.
#[test]
fn configurations_end_somewhere() {
    const MOST: usize = 64 << 20;
    let many = |one: &str| format!("{{\"a\":[{one}{}]}}", format!(",{one}").repeat(2_000_000));
    let keys: Vec<String> = (0..1_000_000)
        .map(|key| format!("\"{}\":1", name(key)))
        .collect();
    for (text, what) in [
        (many("{\"a\":1}"), "more than 262144 keys"),
        (many("[1]"), "more than 262144 keys"),
        (many("null"), "more than 262144 keys"),
        (format!("{{{}}}", keys.join(",")), "more than 262144 keys"),
        (many("1"), "more than 1048576 elements"),
        (many("\"\""), "more than 1048576 elements"),
    ] {
        let (held, config) = peak(|| hf_config::parse(text.as_bytes()));
        let error = config.expect_err("too many").to_string();
        assert!(error.contains(what), "{error}");
        assert!(held <= MOST, "{what}: {held} bytes");
    }
    let header = format!(
        r#"{{"__metadata__":{{{}}}}}"#,
        keys.join(",").replace(":1", ":\"\"")
    );
    let file = crate::support::safetensors(&header, 0);
    let (held, parsed) = peak(|| safetensors::parse(&file, 0));
    assert!(parsed.is_err() && held <= MOST, "{held} bytes");
}

/// Lists of steps that are too long are not read to their end, and a vocabulary is held but a few times.
#[test]
fn tokenizers_hold_little_beside_their_files() {
    let held = |files: HfFiles<'_>, what: &str| {
        let (held, tokenizer) = peak(|| Tokenizer::from_hf(files).map(drop));
        match tokenizer {
            Ok(()) => assert_eq!(what, ""),
            Err(error) => assert!(error.to_string().contains(what), "{error}"),
        }
        held
    };
    let model = r#""model":{"type":"BPE","vocab":{"a":0},"merges":[]}"#;
    let list = |one: &str| vec![one; 600_000].join(",");
    for (key, parts, one) in [
        ("normalizer", "normalizers", r#"{"type":"NFC"}"#),
        ("pre_tokenizer", "pretokenizers", r#"{"type":"Digits"}"#),
        ("post_processor", "single", "{}"),
        ("decoder", "decoders", "[]"),
    ] {
        let steps = list(one);
        let file = format!(r#"{{{model},"{key}":{{"type":"Sequence","{parts}":[{steps}]}}}}"#);
        let files = HfFiles {
            tokenizer_json: Some(file.as_bytes()),
            ..HfFiles::default()
        };
        let held = held(files, "more than 65536 values");
        assert!(held <= 64 << 20, "{key}: {held} bytes");
    }
    let file = format!("{{{model}}}");
    let settings = format!(r#"{{"a":[{}]}}"#, list("{}"));
    let files = HfFiles {
        tokenizer_json: Some(file.as_bytes()),
        tokenizer_config: Some(settings.as_bytes()),
        ..HfFiles::default()
    };
    let of_settings = held(files, "tokenizer_config.json: more than 524288 values");
    assert!(of_settings <= 64 << 20, "{of_settings} bytes");
    let words = (0..300_000).map(|word| format!("w{word}\n"));
    let lines: String = ["[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n".to_string()]
        .into_iter()
        .chain(words)
        .collect();
    let files = HfFiles {
        vocab_txt: Some(lines.as_bytes()),
        config: Some(br#"{"model_type": "bert"}"#),
        ..HfFiles::default()
    };
    let of_words = held(files, "");
    println!("{of_words} bytes for {}", lines.len());
    assert!(
        of_words <= 30 * lines.len(),
        "{of_words} bytes for {}",
        lines.len()
    );
}

/// A word without an end is cut a stretch at a time: what is held is the text, its tokens and of unigram
/// models a number for each byte where no piece ends. (Lists double as they grow, and old and new are
/// there at once.)
#[test]
fn a_long_word_holds_little_beside_its_text() {
    const LEN: usize = 1 << 20;
    const TEXT: usize = 1;
    const LISTS: usize = 4 * 3;
    let pairs = ["a a", "aa aa", "aaaa aaaa", "b a", "ba b"];
    let mut tokens = vec!["a".to_string(), "b".to_string()];
    tokens.extend(pairs.iter().map(|pair| pair.replace(' ', "")));
    let bytes = (0..256).map(|byte| format!("<0x{byte:02X}>"));
    let with_bytes = ["<unk>".into()]
        .into_iter()
        .chain(tokens.clone())
        .chain(bytes);
    let with_bytes: Vec<String> = with_bytes.collect();
    let vocabulary = |tokens: &[String]| -> serde_json::Value {
        let ids = tokens.iter().zip(0..);
        let ids = ids.map(|(token, id): (_, u32)| (token.clone(), id.into()));
        ids.collect::<serde_json::Map<_, _>>().into()
    };
    let scores: Vec<_> = with_bytes.iter().map(|token| (token, -1.5)).collect();
    let no_doubles: Vec<_> = scores
        .iter()
        .filter(|(token, _)| token.len() != 2)
        .collect();
    let words = ["[UNK]", "a", "##a", "##ab", "##b", "b", "##ba"].map(String::from);
    let json = |mut model: serde_json::Value, key: &str, value: serde_json::Value| {
        model[key] = value;
        model
    };
    let bpe = serde_json::json!({"type": "BPE", "vocab": vocabulary(&tokens), "merges": pairs});
    let fallback = serde_json::json!({"type": "BPE", "vocab": vocabulary(&with_bytes),
        "merges": pairs, "byte_fallback": true, "fuse_unk": true, "unk_token": "<unk>"});
    let unigram = serde_json::json!({"type": "Unigram", "vocab": scores, "unk_id": 0,
        "byte_fallback": true});
    let word_piece = serde_json::json!({"type": "WordPiece", "vocab": vocabulary(&words),
        "max_input_chars_per_word": LEN * 2});
    let byte_level = serde_json::json!({"type": "ByteLevel", "use_regex": false,
        "add_prefix_space": false});
    let mut state = 1_u64;
    let mixed = (0..LEN).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        if state >> 63 == 0 { 'a' } else { 'b' }
    });
    let texts = ["a".repeat(LEN), mixed.collect(), "aç".repeat(LEN / 3)];
    for (name, model, pre_tokenizer, per_byte) in [
        ("BPE", bpe.clone(), serde_json::Value::Null, 0),
        ("bytes", bpe, byte_level, 0),
        ("byte fallback", fallback, serde_json::Value::Null, 0),
        ("Unigram", unigram.clone(), serde_json::Value::Null, LISTS),
        (
            "few pieces",
            json(unigram, "vocab", serde_json::json!(no_doubles)),
            serde_json::Value::Null,
            LISTS,
        ),
        ("WordPiece", word_piece, serde_json::Value::Null, 0),
    ] {
        let file = serde_json::json!({
            "added_tokens": [], "normalizer": null, "pre_tokenizer": pre_tokenizer,
            "post_processor": null, "decoder": null, "model": model,
        })
        .to_string();
        let files = HfFiles {
            tokenizer_json: Some(file.as_bytes()),
            ..HfFiles::default()
        };
        let tokenizer = Tokenizer::from_hf(files)
            .expect("a tokenizer")
            .expect("there");
        for text in &texts {
            let (held, ids) = peak(|| tokenizer.encode(text, EncodeOptions::default()));
            let ids = ids.expect("ids");
            let most = (TEXT + per_byte) * LEN + LISTS * ids.len() + (4 << 20);
            assert!(
                held <= most,
                "{name}: {held} bytes, {most} expected at most"
            );
        }
    }
    let file = serde_json::json!({"model": {"type": "BPE", "vocab": vocabulary(&tokens), "merges": pairs}});
    let tokenizer = Tokenizer::from_hf(HfFiles {
        tokenizer_json: Some(file.to_string().as_bytes()),
        ..HfFiles::default()
    });
    let tokenizer = tokenizer.expect("a tokenizer").expect("there");
    for text in &texts[..2] {
        let ids = tokenizer.encode(text, EncodeOptions::default());
        // Stretches stand where the word as a whole would have cut.
        let ids = ids.expect("ids");
        let pieces = ids.iter().filter_map(|&id| tokenizer.piece(id));
        // Without a decoder, tokens have spaces between them.
        let shown: usize = pieces.map(|piece| piece.trim_ascii().len()).sum();
        assert_eq!(shown, LEN);
    }
    let ids = tokenizer
        .encode(&"a".repeat(LEN + 3), EncodeOptions::default())
        .expect("ids");
    let eight = tokenizer.token("aaaaaaaa").expect("a token");
    assert!(ids[..LEN / 8].iter().all(|&id| id == eight));
    assert_eq!(ids.len(), LEN / 8 + 2);
}
