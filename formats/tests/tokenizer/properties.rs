//! What holds for every text and every sequence of ids.

use rillm_formats::tokenizer::{DecodeOptions, EncodeOptions, HfFiles, Position, Tokenizer};

const PARSE: EncodeOptions = EncodeOptions::new().parse_special(true);
const ADD: EncodeOptions = EncodeOptions::new().add_special(true);
const BOTH: EncodeOptions = EncodeOptions::new().add_special(true).parse_special(true);

fn json(bytes: &[u8]) -> Tokenizer {
    let files = HfFiles {
        tokenizer_json: Some(bytes),
        ..HfFiles::default()
    };
    Tokenizer::from_hf(files).expect("valid").expect("there")
}

/// Place in the list of [`all`].
const METASPACE: usize = 3;

fn all() -> [Tokenizer; 5] {
    let files = HfFiles {
        tokenizer_model: Some(include_bytes!("../data/tokenizer/spm.model")),
        ..HfFiles::default()
    };
    [
        json(include_bytes!("../data/tokenizer/gpt2.tokenizer.json")),
        json(include_bytes!("../data/tokenizer/llama3.tokenizer.json")),
        json(include_bytes!("../data/tokenizer/spm.tokenizer.json")),
        json(include_bytes!("../data/tokenizer/metaspace.tokenizer.json")),
        Tokenizer::from_hf(files).expect("valid").expect("there"),
    ]
}

/// A small generator (xorshift), so that texts are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// Mostly characters that tokenizers treat specially, and sometimes any at all.
    fn text(&mut self) -> String {
        let common: Vec<char> = " \n\r\t\0'sStTlLrev019.,<|>()é中ßЖا\u{301}\u{200d}👍"
            .chars()
            .collect();
        (0..self.below(40))
            .map(|_| match self.below(10) {
                0 => char::from_u32(self.below(0x110000) as u32).unwrap_or('\u{fffd}'),
                _ => common[self.below(common.len() as u64) as usize],
            })
            .collect()
    }
}

/// A pre-tokenizer that only puts a space where there is none makes the same tokens of a
/// text with and without one; the other kinds lose nothing.
fn given_back(text: &str, index: usize) -> &str {
    match index {
        METASPACE => text.strip_prefix(' ').unwrap_or(text),
        _ => text,
    }
}

#[test]
fn decoding_gives_the_text_back() {
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    for (index, tokenizer) in all().into_iter().enumerate() {
        for _ in 0..2000 {
            let text = random.text();
            let ids = tokenizer
                .encode(&text, EncodeOptions::default())
                .expect("within bounds");
            let back = tokenizer.decode(&ids, DecodeOptions::default());
            assert_eq!(String::from_utf8_lossy(&back), given_back(&text, index));
            assert!(ids.iter().all(|&id| !tokenizer.is_control(id)), "{text:?}");
        }
    }
}

#[test]
fn token_by_token_is_the_same_text() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for tokenizer in all() {
        for _ in 0..500 {
            // Any ids: mostly not UTF-8 together.
            let len = tokenizer.vocabulary_len() as u64 + 2;
            let ids: Vec<u32> = (0..20).map(|_| random.below(len) as u32).collect();
            for position in [Position::Start, Position::Continued] {
                let options = DecodeOptions::default()
                    .skip_special(random.below(2) == 0)
                    .position(position);
                let whole = tokenizer.decode(&ids, options);
                let mut text = String::new();
                let mut decoder = tokenizer.decoder(options);
                for &id in &ids {
                    decoder.push(id, &mut text);
                }
                decoder.finish(&mut text);
                assert_eq!(text, String::from_utf8_lossy(&whole), "{ids:?}");
            }
        }
    }
}

#[test]
fn characters_wait_until_they_are_whole() {
    let tokenizer = json(include_bytes!("../data/tokenizer/gpt2.tokenizer.json"));
    let ids = tokenizer
        .encode("a👍é", EncodeOptions::default())
        .expect("within bounds");
    let mut decoder = tokenizer.decoder(DecodeOptions::default());
    let mut text = String::new();
    for &id in &ids {
        decoder.push(id, &mut text);
        assert!("a👍é".starts_with(&text), "{text:?}");
    }
    assert_eq!(text, "a👍é");

    // Stopped in the middle of the emoji.
    let mut decoder = tokenizer.decoder(DecodeOptions::default());
    let mut text = String::new();
    for &id in &tokenizer
        .encode("👍", EncodeOptions::default())
        .expect("within bounds")[..2]
    {
        decoder.push(id, &mut text);
    }
    assert_eq!(text, "");
    decoder.finish(&mut text);
    assert_eq!(text, "\u{fffd}");
}

#[test]
fn users_cannot_type_control_tokens() {
    for tokenizer in all() {
        let names: Vec<String> = (0..tokenizer.vocabulary_len() as u32)
            .filter(|&id| tokenizer.is_control(id))
            .map(|id| String::from_utf8_lossy(tokenizer.piece(id).expect("there")).into_owned())
            .collect();
        assert!(!names.is_empty());
        for name in names {
            for text in [
                name.clone(),
                format!("x{name}"),
                format!(" {name} y"),
                name.repeat(3),
            ] {
                let ids = tokenizer
                    .encode(&text, EncodeOptions::default())
                    .expect("within bounds");
                assert!(ids.iter().all(|&id| !tokenizer.is_control(id)), "{text:?}");
                let ids = tokenizer.encode(&text, PARSE).expect("within bounds");
                assert!(ids.iter().any(|&id| tokenizer.is_control(id)), "{text:?}");
            }
        }
    }
}

#[test]
fn the_first_token_is_not_doubled() {
    let [_, llama3, spm, metaspace, model] = all();
    for (tokenizer, bos) in [
        (llama3, "<|begin|>"),
        (spm, "<s>"),
        (metaspace, "<s>"),
        (model, "<s>"),
    ] {
        let id = tokenizer.bos().expect("a BOS");
        assert_eq!(tokenizer.token(bos), Some(id));
        let count = |text: &str, options| {
            let ids = tokenizer.encode(text, options).expect("within bounds");
            ids.iter().filter(|&&other| other == id).count()
        };
        assert_eq!(count("lamp", ADD), 1);
        assert_eq!(count("lamp", BOTH), 1);
        assert_eq!(count(&format!("{bos}lamp"), BOTH), 1);
        assert_eq!(count(&format!("{bos}lamp"), ADD), 1);
        assert_eq!(count(&format!("{bos}lamp"), PARSE), 1);
        assert_eq!(count("", BOTH), 1);
        assert_eq!(count("lamp", PARSE), 0);
    }
}

#[test]
fn a_megabyte_of_one_letter_ends() {
    for (index, tokenizer) in all().into_iter().enumerate() {
        let megabyte = 1 << 20;
        for (letter, len) in [
            ("a", megabyte),
            (" ", megabyte),
            ("\n", megabyte / 8),
            ("'", megabyte / 8),
            ("\u{301}", megabyte / 8),
            ("中", megabyte / 8),
        ] {
            let text = letter.repeat(len / letter.len());
            let ids = tokenizer
                .encode(&text, EncodeOptions::default())
                .expect("within bounds");
            let back = tokenizer.decode(&ids, DecodeOptions::default());
            assert!(back == given_back(&text, index).as_bytes(), "{letter:?}");
        }
    }
}

/// A long word is cut a stretch at a time, which nobody sees: it becomes what its parts become, where
/// no piece crosses from one into the next.
#[test]
fn a_long_word_becomes_what_its_parts_do() {
    let unigram = serde_json::json!({"model": {"type": "Unigram", "unk_id": 0, "vocab": [
        ["<unk>", 0.0], ["a", -1.5], ["b", -2.25], ["c", -1.0], ["ab", -2.0], ["ba", -2.5],
        ["aab", -3.0], ["bbbb", -4.5],
    ]}});
    let pairs = ["a b", "b a", "a ab", "b b", "bb bb"];
    let bpe = serde_json::json!({"model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true,
        "merges": pairs, "vocab": {"<unk>": 0, "a": 1, "b": 2, "c": 3, "ab": 4, "ba": 5, "aab": 6,
            "bb": 7, "bbbb": 8}}});
    let mut random = Random(7);
    for (name, file) in [("Unigram", unigram), ("BPE", bpe)] {
        let tokenizer = json(file.to_string().as_bytes());
        let encoded = |text: &str| {
            let ids = tokenizer.encode(text, EncodeOptions::default());
            ids.expect("within bounds")
        };
        let part: String = (0..20_011)
            .map(|_| ["a", "b", "bb", "ab", "é", "éé"][random.below(6) as usize])
            .chain(["c"])
            .collect();
        let expected = encoded(&part).repeat(30);
        assert!(expected.len() > 1 << 17);
        assert!(encoded(&part.repeat(30)) == expected, "{name}");
    }
}
