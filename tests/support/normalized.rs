//! Puts a normalizer that may be hostile into a tokenizer. Uses nothing but the library, so that the
//! fuzz target shares it.

use rillm::formats::tokenizer::{DecodeOptions, EncodeOptions, HfFiles, Tokenizer};

use super::exercise::one_line;

/// What cuts the fuzzer's bytes into a normalizer and a text.
const CUT: u8 = 0;

/// The ends of `tokenizer.json` behind a normalizer: words, pieces of them, and bytes.
const MODELS: [&str; 3] = [
    r#", "pre_tokenizer": {"type": "BertPreTokenizer"}, "model": {"type": "WordPiece", "unk_token":
     "[UNK]", "continuing_subword_prefix": "\u0023\u0023", "max_input_chars_per_word": 100,
     "vocab": {"[UNK]": 0, "a": 1, "\u0023\u0023b": 2, "b": 3}}}"#,
    r#", "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"},
     "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["▁", -1.0], ["a", -2.0],
     ["▁a", -1.5]]}}"#,
    r#", "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "vocab": {"<unk>": 0,
     "<0x41>": 1, "a": 2, "▁": 3, "▁a": 4}, "merges": [["▁", "a"]]}}"#,
];

/// A digit for the tokenizer, a normalizer and a text. Panics if there is a defect; returns whether
/// the tokenizer took it.
pub fn normalized(bytes: &[u8]) -> bool {
    let Some((&which, rest)) = bytes.split_first() else {
        return false;
    };
    let mut parts = rest.splitn(2, |&byte| byte == CUT);
    let [normalizer, text] = [(); 2].map(|()| parts.next().unwrap_or_default());
    let end = MODELS[usize::from(which.wrapping_sub(b'0')) % MODELS.len()];
    let json = [b"{\"normalizer\": ", normalizer, end.as_bytes()].concat();
    let files = HfFiles {
        tokenizer_json: Some(&json),
        ..HfFiles::default()
    };
    let tokenizer = match Tokenizer::from_hf(files) {
        Ok(Some(tokenizer)) => tokenizer,
        Ok(None) => return false,
        Err(error) => {
            one_line(&error);
            return false;
        }
    };
    let text = String::from_utf8_lossy(text);
    match tokenizer.encode(&text, EncodeOptions::default()) {
        Ok(ids) => drop(tokenizer.decode_text(&ids, DecodeOptions::default())),
        Err(error) => one_line(&error),
    }
    true
}
