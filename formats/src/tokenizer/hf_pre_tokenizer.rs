//! The pre-tokenizer of `tokenizer.json`.

use super::error::{TokenizerError, failure};
use super::gguf_pre_tokenizers::GPT2;
use super::hf_component::{
    character, count, flag, kind_of, matcher, metaspace, parts, unsupported,
};
use super::pattern::Pattern;
use super::pre_tokenizer::PreTokenizerStep;
use super::split::{Behavior, Matcher, SplitStep};
use alloc::string::ToString;
use alloc::vec::Vec;
use serde_json::Value;

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

fn pattern(text: &str) -> Result<Pattern, TokenizerError> {
    Pattern::parse(text).ok_or_else(|| unsupported("pre_tokenizer pattern", text))
}
