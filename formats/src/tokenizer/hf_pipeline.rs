//! The parts of `tokenizer.json` around its model: normalizer, pre-tokenizer, post-processor, decoder.

use super::charsmap::Charsmap;
use super::decode::Decoding;
use super::decoder_chain::DecoderStep;
use super::error::{Shown, TokenizerError, failure};
use super::gguf_pre_tokenizers::GPT2;
use super::limits;
use super::normalize::NormalizerStep;
use super::pattern::Pattern;
use super::pre_tokenizer::{PreTokenizerStep, Prepends};
use super::split::{Behavior, Matcher, SplitStep};
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use serde_json::Value;

/// The parts of a component: itself, or those in the list under `key` if it is a sequence.
fn parts<'a>(
    component: &'a Value,
    key: &str,
    what: &str,
) -> Result<Vec<&'a Value>, TokenizerError> {
    let mut found = Vec::new();
    // Sequences may hold sequences; depth-first, the next on top.
    let mut waiting = vec![(component, 0)];
    while let Some((component, depth)) = waiting.pop() {
        if component.is_null() {
            continue;
        }
        if kind_of(component) != "Sequence" {
            found.push(component);
        } else {
            let list = component.get(key).and_then(Value::as_array);
            let list = list.ok_or_else(|| {
                failure!(Malformed, "tokenizer.json {what}: a sequence without {key}")
            })?;
            waiting.extend(list.iter().rev().map(|part| (part, depth + 1)));
        }
        if depth > limits::STEPS || found.len() + waiting.len() > limits::STEPS {
            return Err(failure!(
                Limit,
                "tokenizer.json {what} has more than {} steps or levels",
                limits::STEPS
            ));
        }
    }
    Ok(found)
}

fn kind_of(component: &Value) -> &str {
    component.get("type").and_then(Value::as_str).unwrap_or("")
}

/// A truth value, or `unsaid` where there is none.
fn flag(component: &Value, key: &str, unsaid: bool) -> Result<bool, TokenizerError> {
    match component.get(key) {
        None | Some(Value::Null) => Ok(unsaid),
        Some(Value::Bool(truth)) => Ok(*truth),
        Some(_) => Err(failure!(
            Malformed,
            "tokenizer.json {}: {key} is no truth value",
            kind_of(component)
        )),
    }
}

/// A count, or `unsaid` where there is none.
fn count(component: &Value, key: &str, unsaid: usize) -> Result<usize, TokenizerError> {
    let count = match component.get(key) {
        None | Some(Value::Null) => Some(unsaid),
        Some(value) => value.as_u64().and_then(|count| usize::try_from(count).ok()),
    };
    count.ok_or_else(|| {
        failure!(
            Malformed,
            "tokenizer.json {}: {key} is no count",
            kind_of(component)
        )
    })
}

/// One character.
fn character(component: &Value, key: &str, unsaid: Option<char>) -> Result<char, TokenizerError> {
    let found = match component.get(key) {
        None => unsaid,
        Some(value) => value.as_str().and_then(|text| {
            let mut characters = text.chars();
            characters.next().filter(|_| characters.next().is_none())
        }),
    };
    found.ok_or_else(|| {
        failure!(
            Malformed,
            "tokenizer.json {}: {key} is not one character",
            kind_of(component)
        )
    })
}

fn unsupported(what: &str, found: &str) -> TokenizerError {
    failure!(
        Unsupported,
        "tokenizer.json {what} {} is not supported; the model runs on token ids without it",
        Shown(found.as_bytes())
    )
}

/// A piece of text that a step inserts or looks for.
fn text(component: &Value, key: &str, what: &str) -> Result<String, TokenizerError> {
    let text = component.get(key).and_then(Value::as_str).ok_or_else(|| {
        failure!(
            Malformed,
            "tokenizer.json {what}: {key} is missing or is no string"
        )
    })?;
    if text.len() > limits::INSERTED_LEN {
        return Err(failure!(
            Limit,
            "tokenizer.json {what}: {key} has {} bytes, expected at most {}",
            text.len(),
            limits::INSERTED_LEN
        ));
    }
    Ok(text.to_string())
}

/// What `{"Regex": …}` or `{"String": …}` under `pattern` looks for.
fn matcher(component: &Value, what: &str) -> Result<Matcher, TokenizerError> {
    let pattern = component.get("pattern").unwrap_or(&Value::Null);
    match (pattern.get("Regex"), pattern.get("String")) {
        (Some(Value::String(regex)), None) => Matcher::parse(regex).ok_or_else(|| {
            failure!(
                Unsupported,
                "tokenizer.json {what}: the expression {} is not supported; the model runs on \
                 token ids without it",
                Shown(regex.as_bytes())
            )
        }),
        (None, Some(Value::String(_))) => match text(pattern, "String", what)? {
            text if text.is_empty() => Ok(Matcher::Everywhere),
            text => Ok(Matcher::Text(text)),
        },
        _ => Err(failure!(
            Malformed,
            "tokenizer.json {what}: {} without a pattern that is a Regex or a String",
            kind_of(component)
        )),
    }
}

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

/// How BERT cuts text: at whitespace, and around each punctuation mark.
pub(super) fn bert_splits() -> Vec<PreTokenizerStep> {
    let punctuation = pattern(PUNCTUATION).map(SplitStep::isolated);
    // A test checks that both patterns can be read.
    let mut splits = white_space_splits();
    splits.extend(punctuation.map(PreTokenizerStep::Split));
    splits
}

/// At white space, which is dropped.
pub(super) fn white_space_splits() -> Vec<PreTokenizerStep> {
    let white_space = pattern(r"\s+").map(|pattern| SplitStep {
        behavior: Behavior::Removed,
        ..SplitStep::isolated(pattern)
    });
    let white_space = white_space.map(PreTokenizerStep::Split);
    white_space.into_iter().collect()
}

const PUNCTUATION: &str = r"[\p{P}!-/:-@\[-`{-~]";

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

pub(super) fn pre_tokenizer(component: &Value) -> Result<Vec<PreTokenizerStep>, TokenizerError> {
    const WHAT: &str = "pre_tokenizer";
    let mut steps = Vec::new();
    for part in parts(component, "pretokenizers", WHAT)? {
        let mut split = |matcher: Matcher, behavior: Behavior| {
            steps.push(PreTokenizerStep::Split(SplitStep {
                matcher,
                behavior,
                invert: false,
            }));
        };
        match kind_of(part) {
            "ByteLevel" => {
                if flag(part, "add_prefix_space", true)? {
                    steps.push(PreTokenizerStep::Space);
                }
                if flag(part, "use_regex", true)? {
                    let split = SplitStep::isolated(pattern(GPT2)?);
                    steps.push(PreTokenizerStep::Split(split));
                }
                steps.push(PreTokenizerStep::Bytes);
            }
            "Metaspace" => {
                let (sign, prepends) = metaspace(part)?;
                steps.push(PreTokenizerStep::Metaspace { sign, prepends });
                if flag(part, "split", true)? {
                    steps.push(PreTokenizerStep::Split(SplitStep {
                        matcher: Matcher::Text(sign.to_string()),
                        behavior: Behavior::MergedWithNext,
                        invert: false,
                    }));
                }
            }
            "Split" => steps.push(PreTokenizerStep::Split(SplitStep {
                matcher: matcher(part, WHAT)?,
                behavior: behavior(part)?,
                invert: flag(part, "invert", false)?,
            })),
            "Digits" => {
                let behavior = match flag(part, "individual_digits", false)? {
                    true => Behavior::Isolated,
                    false => Behavior::Contiguous,
                };
                split(pattern(r"\p{N}")?.into(), behavior);
            }
            "Punctuation" => split(pattern(PUNCTUATION)?.into(), behavior(part)?),
            "BertPreTokenizer" => steps.extend(bert_splits()),
            "Whitespace" => {
                split(Matcher::Words, Behavior::Removed);
            }
            "WhitespaceSplit" => split(pattern(r"\s+")?.into(), Behavior::Removed),
            "CharDelimiterSplit" => {
                let delimiter = character(part, "delimiter", None)?;
                split(Matcher::Text(delimiter.to_string()), Behavior::Removed);
            }
            "UnicodeScripts" => steps.push(PreTokenizerStep::Scripts),
            "FixedLength" => match count(part, "length", 5)? {
                0 => {
                    return Err(failure!(
                        Malformed,
                        "tokenizer.json {WHAT}: FixedLength has the length 0"
                    ));
                }
                length => steps.push(PreTokenizerStep::Length(length)),
            },
            other => return Err(unsupported(WHAT, other)),
        }
    }
    Ok(steps)
}

/// The sign of a Metaspace, and where it is put.
fn metaspace(component: &Value) -> Result<(char, Prepends), TokenizerError> {
    let sign = character(component, "replacement", Some('▁'))?;
    let unsaid = flag(component, "add_prefix_space", true)?;
    let prepends = match component.get("prepend_scheme") {
        None => match unsaid {
            true => Prepends::All,
            false => Prepends::None,
        },
        Some(Value::String(scheme)) if scheme == "never" => Prepends::None,
        Some(_) if !unsaid => {
            return Err(failure!(
                Malformed,
                "tokenizer.json Metaspace: add_prefix_space is false, but prepend_scheme is not \
                 \"never\""
            ));
        }
        Some(Value::String(scheme)) if scheme == "always" => Prepends::All,
        Some(Value::String(scheme)) if scheme == "first" => Prepends::First,
        Some(other) => {
            let other = other.to_string();
            return Err(unsupported("Metaspace prepend_scheme", &other));
        }
    };
    Ok((sign, prepends))
}

fn pattern(text: &str) -> Result<Pattern, TokenizerError> {
    Pattern::parse(text).ok_or_else(|| unsupported("pre_tokenizer pattern", text))
}

fn behavior(component: &Value) -> Result<Behavior, TokenizerError> {
    let found = match component.get("behavior") {
        None => return Ok(Behavior::Isolated),
        Some(found) => found.as_str().unwrap_or_default(),
    };
    match found {
        "Isolated" => Ok(Behavior::Isolated),
        "Removed" => Ok(Behavior::Removed),
        "MergedWithPrevious" => Ok(Behavior::MergedWithPrevious),
        "MergedWithNext" => Ok(Behavior::MergedWithNext),
        "Contiguous" => Ok(Behavior::Contiguous),
        other => Err(unsupported("pre_tokenizer behavior", other)),
    }
}

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
    }
    if prefix.len().max(suffix.len()) > limits::TEMPLATE_TOKENS {
        return Err(failure!(
            Limit,
            "tokenizer.json {WHAT} puts more than {} tokens around a text",
            limits::TEMPLATE_TOKENS
        ));
    }
    Ok((prefix, suffix))
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
            .and_then(|ids| ids.iter().map(id_of).collect::<Option<Vec<u32>>>())
            .ok_or_else(|| malformed("a template token without ids"))?;
        match has_text {
            false => before.extend(ids),
            true => after.extend(ids),
        }
    }
    // Processors wrap what the ones before made.
    before.append(prefix);
    *prefix = before;
    suffix.append(&mut after);
    Ok(())
}

pub(super) fn id_of(value: &Value) -> Option<u32> {
    value
        .as_u64()
        .and_then(|id| u32::try_from(id).ok())
        .filter(|&id| usize::try_from(id).is_ok_and(|id| id < limits::TOKENS))
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
