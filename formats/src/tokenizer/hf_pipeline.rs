//! The normalizer, pre-tokenizer, post-processor and decoder of `tokenizer.json`.

use super::charsmap::Charsmap;
use super::error::{Shown, TokenizerError, failure};
use super::limits;
use super::normalize::NormalizerStep;
use super::pattern::Pattern;
use super::pre_tokenizers::GPT2;
use super::split::{Behavior, Matcher, SplitStep};
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use serde_json::Value;

/// What `pre_tokenizer` in `tokenizer.json` says.
#[derive(Default)]
pub(super) struct HfPreTokenizer {
    /// Changes to text before it is cut.
    pub(super) metaspace: Vec<NormalizerStep>,
    pub(super) splits: Vec<SplitStep>,
    /// Whether words are made of bytes.
    pub(super) is_byte_level: bool,
    /// Whether words write spaces as `▁`.
    pub(super) writes_metaspace: bool,
    /// Whether each word gets a space in front.
    pub(super) spaces_words: bool,
}

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

fn flag(component: &Value, key: &str, unsaid: bool) -> bool {
    component
        .get(key)
        .and_then(Value::as_bool)
        .unwrap_or(unsaid)
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

pub(super) fn normalizer(component: &Value) -> Result<Vec<NormalizerStep>, TokenizerError> {
    const WHAT: &str = "normalizer";
    let mut steps = Vec::new();
    for part in parts(component, "normalizers", WHAT)? {
        if kind_of(part) == "BertNormalizer" {
            let lowercase = flag(part, "lowercase", true);
            steps.extend(bert_normalizer(
                flag(part, "clean_text", true),
                flag(part, "handle_chinese_chars", true),
                flag(part, "strip_accents", lowercase),
                lowercase,
            ));
            continue;
        }
        steps.push(match kind_of(part) {
            "NFC" => NormalizerStep::Nfc,
            "NFD" => NormalizerStep::Nfd,
            "NFKC" => NormalizerStep::Nfkc,
            "NFKD" => NormalizerStep::Nfkd,
            "Lowercase" => NormalizerStep::Lowercase,
            "StripAccents" => NormalizerStep::DropMarks { all: true },
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
                left: flag(part, "strip_left", true),
                right: flag(part, "strip_right", true),
            },
            "Prepend" => NormalizerStep::Prepend(text(part, "prepend", WHAT)?),
            "Replace" => {
                let from = part.get("pattern").unwrap_or(&Value::Null);
                if let Some(Value::String(regex)) = from.get("Regex") {
                    steps.push(runs(regex, text(part, "content", WHAT)?)?);
                    continue;
                }
                let from = text(from, "String", WHAT)?;
                if from.is_empty() {
                    return Err(failure!(
                        Malformed,
                        "tokenizer.json {WHAT}: Replace looks for nothing"
                    ));
                }
                let to = text(part, "content", WHAT)?;
                NormalizerStep::Replace { from, to }
            }
            other => return Err(unsupported(WHAT, other)),
        });
    }
    Ok(steps)
}

/// The one regular expression that normalizers replace: `X{2,}`.
fn runs(regex: &str, to: String) -> Result<NormalizerStep, TokenizerError> {
    let mut character = regex.strip_suffix("{2,}").unwrap_or_default().chars();
    match (character.next(), character.next()) {
        (Some(of), None) => Ok(NormalizerStep::ReplaceRuns { of, to }),
        _ => Err(unsupported("normalizer Replace by the expression", regex)),
    }
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
pub(super) fn bert_splits() -> Vec<SplitStep> {
    let punctuation = pattern(PUNCTUATION).map(SplitStep::isolated);
    // A test checks that both patterns can be read.
    let mut splits = white_space_splits();
    splits.extend(punctuation);
    splits
}

/// At white space, which is dropped.
pub(super) fn white_space_splits() -> Vec<SplitStep> {
    let white_space = pattern(r"\s+").map(|pattern| SplitStep {
        behavior: Behavior::Removed,
        ..SplitStep::isolated(pattern)
    });
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

pub(super) fn pre_tokenizer(component: &Value) -> Result<HfPreTokenizer, TokenizerError> {
    const WHAT: &str = "pre_tokenizer";
    let mut found = HfPreTokenizer::default();
    for part in parts(component, "pretokenizers", WHAT)? {
        match kind_of(part) {
            "ByteLevel" => {
                found.is_byte_level = true;
                if flag(part, "add_prefix_space", true) {
                    change(&mut found, NormalizerStep::Begin(" ".to_string()))?;
                }
                if flag(part, "use_regex", true) {
                    found.splits.push(SplitStep::isolated(pattern(GPT2)?));
                }
            }
            "Metaspace" => {
                found.writes_metaspace = true;
                if part.get("replacement").and_then(Value::as_str) != Some("▁") {
                    return Err(unsupported(WHAT, "Metaspace with another sign than ▁"));
                }
                let scheme = part.get("prepend_scheme").and_then(Value::as_str);
                if !found.splits.is_empty() && scheme.is_none_or(|scheme| scheme == "always") {
                    // The split before dropped all spaces: each word gets one in front.
                    found.spaces_words = true;
                    continue;
                }
                change(
                    &mut found,
                    NormalizerStep::Replace {
                        from: " ".to_string(),
                        to: "▁".to_string(),
                    },
                )?;
                let scheme = part.get("prepend_scheme").and_then(Value::as_str);
                match scheme {
                    Some("never") => {}
                    Some("first") => found
                        .metaspace
                        .push(NormalizerStep::BeginFirst("▁".to_string())),
                    None if !flag(part, "add_prefix_space", true) => {}
                    Some("always") | None => {
                        found.metaspace.push(NormalizerStep::Begin("▁".to_string()))
                    }
                    Some(other) => return Err(unsupported("Metaspace prepend_scheme", other)),
                }
                if flag(part, "split", true) {
                    found.splits.push(SplitStep {
                        matcher: Matcher::Text("▁".to_string()),
                        behavior: Behavior::MergedWithNext,
                        invert: false,
                    });
                }
            }
            "Split" => {
                let matcher = match part.get("pattern") {
                    Some(Value::Object(object)) => {
                        match (object.get("Regex"), object.get("String")) {
                            (Some(Value::String(regex)), None) => {
                                let matcher = Matcher::parse(regex);
                                matcher.ok_or_else(|| unsupported_pattern(regex))?
                            }
                            (None, Some(Value::String(text))) if !text.is_empty() => {
                                Matcher::Text(text.clone())
                            }
                            _ => {
                                return Err(unsupported(WHAT, "Split by neither Regex nor String"));
                            }
                        }
                    }
                    _ => return Err(unsupported(WHAT, "Split without a pattern")),
                };
                found.splits.push(SplitStep {
                    matcher,
                    behavior: behavior(part)?,
                    invert: flag(part, "invert", false),
                });
            }
            "Digits" => {
                let mut split = SplitStep::isolated(pattern(r"\p{N}")?);
                if !flag(part, "individual_digits", false) {
                    split.behavior = Behavior::Contiguous;
                }
                found.splits.push(split);
            }
            "Punctuation" => found.splits.push(SplitStep {
                behavior: behavior(part)?,
                ..SplitStep::isolated(pattern(PUNCTUATION)?)
            }),
            "BertPreTokenizer" => found.splits.extend(bert_splits()),
            "WhitespaceSplit" => found.splits.push(SplitStep {
                behavior: Behavior::Removed,
                ..SplitStep::isolated(pattern(r"\s+")?)
            }),
            other => return Err(unsupported(WHAT, other)),
        }
    }
    Ok(found)
}

/// Adds a change to text, which is possible before the first split alone.
fn change(found: &mut HfPreTokenizer, step: NormalizerStep) -> Result<(), TokenizerError> {
    if !found.splits.is_empty() {
        return Err(unsupported("pre_tokenizer", "prefix space after a split"));
    }
    found.metaspace.push(step);
    Ok(())
}

fn pattern(text: &str) -> Result<Pattern, TokenizerError> {
    Pattern::parse(text).ok_or_else(|| unsupported_pattern(text))
}

fn unsupported_pattern(text: &str) -> TokenizerError {
    unsupported("pre_tokenizer pattern", text)
}

fn behavior(component: &Value) -> Result<Behavior, TokenizerError> {
    match component.get("behavior").and_then(Value::as_str) {
        Some("Isolated") | None => Ok(Behavior::Isolated),
        Some("Removed") => Ok(Behavior::Removed),
        Some("MergedWithPrevious") => Ok(Behavior::MergedWithPrevious),
        Some("MergedWithNext") => Ok(Behavior::MergedWithNext),
        Some("Contiguous") => Ok(Behavior::Contiguous),
        Some(other) => Err(unsupported("pre_tokenizer behavior", other)),
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

/// Whether decoding takes one space away at the start of a text.
pub(super) fn strips_space(component: &Value) -> Result<bool, TokenizerError> {
    let parts = parts(component, "decoders", "decoder")?;
    Ok(parts.into_iter().any(|part| match kind_of(part) {
        "WordPiece" => true,
        "Strip" => part.get("start").and_then(Value::as_u64) != Some(0),
        "Metaspace" => match part.get("prepend_scheme").and_then(Value::as_str) {
            Some(scheme) => scheme != "never",
            None => flag(part, "add_prefix_space", true),
        },
        _ => false,
    }))
}
