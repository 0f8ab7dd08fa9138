//! A hostile vocabulary in GGUF metadata.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rillm_formats::gguf;
use rillm_formats::tokenizer::{DecodeOptions, EncodeOptions, Tokenizer};

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = gguf::parse(bytes, 0) else {
        return;
    };
    let Ok(Some(tokenizer)) = Tokenizer::from_gguf(&file.metadata) else {
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
});
