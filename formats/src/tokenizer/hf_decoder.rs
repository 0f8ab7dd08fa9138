//! How `tokenizer.json` puts tokens around a text, and makes text of tokens.

use super::decode::Decoding;
use super::decoder_chain::DecoderStep;
use super::error::{TokenizerError, failure};
use super::hf_component::{
    character, count, flag, id_of, kind_of, matcher, metaspace, parts, text, unsupported,
};
use super::limits;
use super::pre_tokenizer::Prepends;
use super::split::Matcher;
use alloc::string::ToString;
use alloc::vec::Vec;
use serde_json::Value;

/// The tokens before and after a text.
pub(super) fn post_processor(component: &Value) -> Result<(Vec<u32>, Vec<u32>), TokenizerError> {
    const WHAT: &str = "post_processor";
    let (mut prefix, mut suffix) = (Vec::new(), Vec::new());
    for part in parts(component, "processors", WHAT)? {
        match kind_of(part) {
            // Moves offsets only.
            "ByteLevel" => {}
            "TemplateProcessing" => template(part, &mut prefix, &mut suffix)?,
            "RobertaProcessing" | "BertProcessing" => {
                let id = |key: &str| {
                    let id = part.get(key).and_then(|pair| pair.get(1)).and_then(id_of);
                    id.ok_or_else(|| {
                        failure!(Malformed, "tokenizer.json {WHAT}: {key} is no token and id")
                    })
                };
                prefix.push(id("cls")?);
                suffix.push(id("sep")?);
            }
            other => return Err(unsupported(WHAT, other)),
        }
        fits(prefix.len())?;
        fits(suffix.len())?;
    }
    Ok((prefix, suffix))
}

/// Checks that so many tokens may stand on one side of a text.
fn fits(count: usize) -> Result<(), TokenizerError> {
    match count <= limits::TEMPLATE_TOKENS {
        true => Ok(()),
        false => Err(failure!(
            Limit,
            "tokenizer.json post_processor puts more than {} tokens around a text",
            limits::TEMPLATE_TOKENS
        )),
    }
}

fn template(
    component: &Value,
    prefix: &mut Vec<u32>,
    suffix: &mut Vec<u32>,
) -> Result<(), TokenizerError> {
    let malformed = |what: &str| failure!(Malformed, "tokenizer.json post_processor: {what}");
    let single = component.get("single").and_then(Value::as_array);
    let single = single.ok_or_else(|| malformed("a template without single"))?;
    let (mut before, mut after, mut has_text) = (Vec::new(), Vec::new(), false);
    for item in single {
        if item.get("Sequence").is_some() {
            has_text = true;
            continue;
        }
        let name = item.get("SpecialToken").and_then(|token| token.get("id"));
        let name = name
            .and_then(Value::as_str)
            .ok_or_else(|| malformed("a template item that is neither token nor text"))?;
        let ids = component
            .get("special_tokens")
            .and_then(|tokens| tokens.get(name))
            .and_then(|token| token.get("ids"))
            .and_then(Value::as_array)
            .ok_or_else(|| malformed("a template token without ids"))?;
        let side = match has_text {
            false => &mut before,
            true => &mut after,
        };
        // A short template may name a long list of ids many times.
        fits(side.len().saturating_add(ids.len()))?;
        for id in ids {
            side.push(id_of(id).ok_or_else(|| malformed("a template token without ids"))?);
        }
    }
    // Processors wrap what the ones before made.
    before.append(prefix);
    *prefix = before;
    suffix.append(&mut after);
    Ok(())
}

/// How tokens become text.
pub(super) fn decoder(component: &Value) -> Result<Decoding, TokenizerError> {
    const WHAT: &str = "decoder";
    let mut steps = Vec::new();
    let mut is_fused = false;
    for part in parts(component, "decoders", WHAT)? {
        let step = match kind_of(part) {
            "ByteLevel" => DecoderStep::Bytes,
            "Replace" => DecoderStep::Replace {
                from: matcher(part, WHAT)?,
                to: text(part, "content", WHAT)?,
            },
            "ByteFallback" => DecoderStep::ByteTokens,
            "Fuse" => DecoderStep::Fuse,
            "Strip" => DecoderStep::Strip {
                of: character(part, "content", Some(' '))?,
                start: count(part, "start", 0)?,
                stop: count(part, "stop", 0)?,
            },
            "Metaspace" => {
                let (sign, prepends) = metaspace(part)?;
                DecoderStep::Metaspace {
                    sign,
                    drops_first: prepends != Prepends::None,
                }
            }
            "WordPiece" => DecoderStep::WordPiece {
                continues: match part.get("prefix") {
                    None => "##".to_string(),
                    Some(_) => text(part, "prefix", WHAT)?,
                },
                cleans: flag(part, "cleanup", true)?,
            },
            "BPEDecoder" => DecoderStep::Suffix(match part.get("suffix") {
                None => "</w>".to_string(),
                Some(_) => text(part, "suffix", WHAT)?,
            }),
            other => return Err(unsupported(WHAT, other)),
        };
        let goes_on = match &step {
            DecoderStep::Fuse | DecoderStep::Strip { .. } | DecoderStep::Metaspace { .. } => true,
            DecoderStep::Replace { from, .. } => {
                matches!(from, Matcher::Text(text) if text.chars().count() == 1)
            }
            _ => false,
        };
        if is_fused && !goes_on {
            // It would have to wait for the end of the text.
            return Err(unsupported(
                "decoder after Fuse or ByteLevel,",
                kind_of(part),
            ));
        }
        is_fused |= matches!(step, DecoderStep::Fuse | DecoderStep::Bytes);
        steps.push(step);
    }
    if steps.is_empty() {
        steps.push(DecoderStep::Spaces);
    }
    Ok(Decoding::Steps(steps))
}
