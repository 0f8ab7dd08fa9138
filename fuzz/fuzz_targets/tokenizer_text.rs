//! Hostile text for honest vocabularies: bytes come back, control tokens stay away.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rillm_formats::tokenizer::{DecodeOptions, EncodeOptions, HfFiles, Tokenizer};
use std::sync::LazyLock;

static TOKENIZERS: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
    let json = |bytes| HfFiles {
        tokenizer_json: Some(bytes),
        ..HfFiles::default()
    };
    [
        json(include_bytes!("../../formats/tests/data/tokenizer/gpt2.tokenizer.json")),
        json(include_bytes!("../../formats/tests/data/tokenizer/llama3.tokenizer.json")),
        json(include_bytes!("../../formats/tests/data/tokenizer/spm.tokenizer.json")),
        HfFiles {
            tokenizer_model: Some(include_bytes!("../../formats/tests/data/tokenizer/spm.model")),
            ..HfFiles::default()
        },
    ]
    .into_iter()
    .map(|files| Tokenizer::from_hf(files).unwrap().unwrap())
    .collect()
});

fuzz_target!(|text: &str| {
    // A text that writes ▁ gets a space back, and so does one that goes on after <sep>.
    let is_exact = !text.contains('▁') && !text.contains("<sep>");
    for tokenizer in TOKENIZERS.iter() {
        let ids = tokenizer.encode(text, EncodeOptions::default()).expect("within bounds");
        assert!(ids.iter().all(|&id| !tokenizer.is_control(id)));
        if is_exact {
            let back = tokenizer.decode(&ids, DecodeOptions::default());
            assert_eq!(back, text.as_bytes());
        }
        let options = EncodeOptions::default().add_special(true).parse_special(true);
        let ids = tokenizer.encode(text, options).expect("within bounds");
        tokenizer.decode_text(&ids, DecodeOptions::default());
    }
});
