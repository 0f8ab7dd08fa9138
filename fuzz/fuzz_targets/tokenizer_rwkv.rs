//! A hostile `rwkv_vocab_*.txt`; what it builds must encode, decode and be written as GGUF without
//! panicking.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rillm_formats::tokenizer::{DecodeOptions, EncodeOptions, HfFiles, Tokenizer};

fuzz_target!(|bytes: &[u8]| {
    let files = HfFiles {
        rwkv_vocabulary: Some(bytes),
        ..HfFiles::default()
    };
    let Ok(Some(tokenizer)) = Tokenizer::from_hf(files) else {
        return;
    };
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(512)]);
    for parse_special in [false, true] {
        let options = EncodeOptions::default().add_special(true).parse_special(parse_special);
        // A file whose parts make the text grow without bound is told so.
        let Ok(ids) = tokenizer.encode(&text, options) else {
            continue;
        };
        tokenizer.decode_text(&ids, DecodeOptions::default());
    }
    let gguf = tokenizer.to_gguf().metadata;
    let again = Tokenizer::from_gguf(&gguf).expect("just written");
    let ids = tokenizer.encode(&text, EncodeOptions::default()).expect("within bounds");
    let others = again.expect("a vocabulary").encode(&text, EncodeOptions::default()).expect("within bounds");
    assert_eq!(ids, others);
});
