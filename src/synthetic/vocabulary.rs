//! A vocabulary for models that no tokenizer was trained for.

use rillm_formats::manifest::{Array, Metadata, MetadataValue, Strings};

/// A SentencePiece vocabulary of `count` pieces that any text can be written in: letters, bytes
/// for what has none, and words that mean nothing.
pub(super) fn fill(metadata: &mut Metadata, count: u64) {
    const NORMAL: i32 = 1;
    const UNKNOWN: i32 = 2;
    const CONTROL: i32 = 3;
    const BYTE: i32 = 6;
    let mut tokens = Strings::default();
    let mut kinds = Vec::with_capacity(count as usize);
    let mut add = |piece: &str, kind: i32| {
        if (kinds.len() as u64) < count {
            tokens.push(piece.as_bytes());
            kinds.push(kind);
        }
    };
    for (piece, kind) in [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)] {
        add(piece, kind);
    }
    for byte in 0..=255 {
        add(&format!("<0x{byte:02X}>"), BYTE);
    }
    add("\u{2581}", NORMAL);
    for letter in '!'..='~' {
        add(letter.encode_utf8(&mut [0; 4]), NORMAL);
    }
    let mut word = String::new();
    // As many as are left of the count.
    for number in 0..count {
        spell(number, &mut word);
        add(&word, NORMAL);
    }
    let mut list = |name: &str, array: Array| {
        let key = format!("tokenizer.ggml.{name}");
        metadata.0.insert(key, MetadataValue::Array(array));
    };
    list(
        "scores",
        Array::F32((0..count).map(|id| -(id as f32)).collect()),
    );
    list("token_type", Array::I32(kinds));
    list("tokens", Array::String(tokens));
    let mut put = |name: &str, value: MetadataValue| {
        metadata.0.insert(format!("tokenizer.ggml.{name}"), value);
    };
    put("model", MetadataValue::String("llama".into()));
    put("pre", MetadataValue::String("default".into()));
    put("unknown_token_id", MetadataValue::U32(0));
    put("bos_token_id", MetadataValue::U32(1));
    put("eos_token_id", MetadataValue::U32(2));
    put("add_bos_token", MetadataValue::Bool(true));
}

/// Word `number`: its digits to the base of 80, each a syllable.
pub fn word(number: u64) -> String {
    let mut word = String::new();
    spell(number, &mut word);
    word
}

/// Writes that word in place of what there was.
fn spell(mut number: u64, word: &mut String) {
    const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
    const VOWELS: &[u8; 5] = b"aeiou";
    word.clear();
    word.push('\u{2581}');
    // Words of two syllables come first; the first syllable tells how many there are.
    number += 80;
    while number > 0 {
        let syllable = (number % 80) as usize;
        word.push(char::from(CONSONANTS[syllable / 5]));
        word.push(char::from(VOWELS[syllable % 5]));
        number /= 80;
    }
}
