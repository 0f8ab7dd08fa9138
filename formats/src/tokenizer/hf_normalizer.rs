//! The normalizer of `tokenizer.json`.

use super::charsmap::Charsmap;
use super::error::{TokenizerError, failure};
use super::hf_component::{flag, kind_of, matcher, parts, text, unsupported};
use super::normalize::NormalizerStep;
use alloc::vec::Vec;
use serde_json::Value;

pub(super) fn normalizer(component: &Value) -> Result<Vec<NormalizerStep>, TokenizerError> {
    const WHAT: &str = "normalizer";
    let mut steps = Vec::new();
    for part in parts(component, "normalizers", WHAT)? {
        steps.push(match kind_of(part) {
            "BertNormalizer" => {
                let lowercase = flag(part, "lowercase", true)?;
                steps.extend(bert_normalizer(
                    flag(part, "clean_text", true)?,
                    flag(part, "handle_chinese_chars", true)?,
                    flag(part, "strip_accents", lowercase)?,
                    lowercase,
                ));
                continue;
            }
            "NFC" => NormalizerStep::Nfc,
            "NFD" => NormalizerStep::Nfd,
            "NFKC" => NormalizerStep::Nfkc,
            "NFKD" => NormalizerStep::Nfkd,
            "Lowercase" => NormalizerStep::Lowercase,
            "StripAccents" => NormalizerStep::DropMarks { all: true },
            "Nmt" => NormalizerStep::CleanForTranslation,
            "ByteLevel" => NormalizerStep::Bytes,
            "Precompiled" => {
                let map = part.get("precompiled_charsmap").and_then(Value::as_str);
                let map = map.and_then(base64).and_then(|map| Charsmap::parse(&map));
                let map = map.ok_or_else(|| {
                    failure!(Malformed, "tokenizer.json {WHAT}: no precompiled map")
                })?;
                NormalizerStep::Charsmap {
                    map,
                    by_grapheme: true,
                }
            }
            "Strip" => NormalizerStep::Strip {
                left: flag(part, "strip_left", true)?,
                right: flag(part, "strip_right", true)?,
            },
            "Prepend" => NormalizerStep::Prepend(text(part, "prepend", WHAT)?),
            "Replace" => NormalizerStep::Replace {
                from: matcher(part, WHAT)?,
                to: text(part, "content", WHAT)?,
            },
            other => return Err(unsupported(WHAT, other)),
        });
    }
    Ok(steps)
}

/// What BERT does to text before cutting it.
pub(super) fn bert_normalizer(
    cleans: bool,
    spaces_chinese: bool,
    strips_accents: bool,
    lowercases: bool,
) -> Vec<NormalizerStep> {
    [
        (cleans, NormalizerStep::Clean),
        (spaces_chinese, NormalizerStep::SpaceChinese),
        (strips_accents, NormalizerStep::Nfd),
        (strips_accents, NormalizerStep::DropMarks { all: false }),
        (lowercases, NormalizerStep::Lowercase),
    ]
    .into_iter()
    .filter_map(|(wanted, step)| wanted.then_some(step))
    .collect()
}

/// Bytes written as text (RFC 4648, section 4).
fn base64(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| {
        Some(u32::from(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        }))
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let digits = text.trim_end_matches('=').as_bytes();
    for group in digits.chunks(4) {
        let mut bits = 0;
        for &digit in group {
            bits = bits << 6 | value(digit)?;
        }
        bits <<= 6 * (4 - group.len() as u32);
        let [_, whole @ ..] = bits.to_be_bytes();
        bytes.extend(whole.get(..group.len().checked_sub(1)?)?);
    }
    Some(bytes)
}
