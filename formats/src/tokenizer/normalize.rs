//! Normalization: changes to text before it is cut into words.

use super::charsmap::Charsmap;
use super::class;
use alloc::borrow::Cow;
use alloc::string::String;
use unicode_normalization::UnicodeNormalization;

/// One step of a normalizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NormalizerStep {
    /// Text put before any text that is not empty.
    Prepend(String),
    /// Text put before any text that neither is empty nor starts with it.
    Begin(String),
    /// As [`NormalizerStep::Begin`], but only for text at the very start of the input.
    BeginFirst(String),
    Replace {
        from: String,
        to: String,
    },
    /// Runs of at least two of a character.
    ReplaceRuns {
        of: char,
        to: String,
    },
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Lowercase,
    /// SentencePiece's precompiled map; by grapheme as Hugging Face's tokenizers use it.
    Charsmap {
        map: Charsmap,
        by_grapheme: bool,
    },
    /// Drops combining marks: all of them, or those without a width.
    DropMarks {
        all: bool,
    },
    /// BERT's cleaning: drops control characters, turns white space into spaces.
    Clean,
    /// Spaces around each Chinese character.
    SpaceChinese,
    Strip {
        left: bool,
        right: bool,
    },
    /// SentencePiece's `remove_extra_whitespaces`: no spaces at the ends, single ones inside.
    CollapseSpaces,
}

/// Where a stretch of text stands in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextPlace {
    Start,
    Later,
}

/// `text` after all `steps`.
pub(super) fn normalize<'a>(
    steps: &[NormalizerStep],
    text: &'a str,
    place: TextPlace,
) -> Cow<'a, str> {
    let mut text = Cow::Borrowed(text);
    for step in steps {
        if let Some(changed) = step.apply(&text, place) {
            text = Cow::Owned(changed);
        }
    }
    text
}

impl NormalizerStep {
    /// The changed text, or `None` if nothing changes.
    fn apply(&self, text: &str, place: TextPlace) -> Option<String> {
        let put_before = |prefix: &str| {
            (!text.is_empty()).then(|| {
                let mut changed = String::with_capacity(prefix.len() + text.len());
                changed.push_str(prefix);
                changed.push_str(text);
                changed
            })
        };
        match self {
            NormalizerStep::Prepend(prefix) => put_before(prefix),
            NormalizerStep::Begin(prefix) if text.starts_with(prefix.as_str()) => None,
            NormalizerStep::Begin(prefix) => put_before(prefix),
            NormalizerStep::BeginFirst(_) if place == TextPlace::Later => None,
            NormalizerStep::BeginFirst(prefix) if text.starts_with(prefix.as_str()) => None,
            NormalizerStep::BeginFirst(prefix) => put_before(prefix),
            NormalizerStep::Replace { from, to } => text
                .contains(from.as_str())
                .then(|| text.replace(from.as_str(), to)),
            NormalizerStep::ReplaceRuns { of, to } => {
                let mut changed = String::with_capacity(text.len());
                let mut rest = text;
                while let Some(character) = rest.chars().next() {
                    let after = rest.trim_start_matches(*of);
                    let run = rest.len() - after.len();
                    if run > of.len_utf8() {
                        changed.push_str(to);
                        rest = after;
                    } else {
                        changed.push(character);
                        rest = rest.get(character.len_utf8()..).unwrap_or_default();
                    }
                }
                Some(changed)
            }
            NormalizerStep::Nfc if text.is_ascii() => None,
            NormalizerStep::Nfd if text.is_ascii() => None,
            NormalizerStep::Nfkc if text.is_ascii() => None,
            NormalizerStep::Nfkd if text.is_ascii() => None,
            NormalizerStep::Nfc => Some(text.nfc().collect()),
            NormalizerStep::Nfd => Some(text.nfd().collect()),
            NormalizerStep::Nfkc => Some(text.nfkc().collect()),
            NormalizerStep::Nfkd => Some(text.nfkd().collect()),
            NormalizerStep::Lowercase => Some(text.chars().flat_map(char::to_lowercase).collect()),
            NormalizerStep::Charsmap { map, by_grapheme } => Some(match by_grapheme {
                true => map.apply_by_grapheme(text),
                false => map.apply(text),
            }),
            NormalizerStep::DropMarks { .. } if text.is_ascii() => None,
            NormalizerStep::DropMarks { all: true } => {
                Some(text.chars().filter(|c| !class::is_mark(*c)).collect())
            }
            NormalizerStep::DropMarks { all: false } => {
                let kept = text.chars().filter(|c| !class::is_nonspacing_mark(*c));
                Some(kept.collect())
            }
            NormalizerStep::Clean => {
                let kept = text.chars().filter(|c| {
                    matches!(c, '\t' | '\n' | '\r')
                        || !(matches!(c, '\0' | '\u{fffd}') || class::is_other(*c))
                });
                Some(
                    kept.map(|c| if c.is_whitespace() { ' ' } else { c })
                        .collect(),
                )
            }
            NormalizerStep::SpaceChinese if text.is_ascii() => None,
            NormalizerStep::SpaceChinese => {
                let mut changed = String::with_capacity(text.len());
                for character in text.chars() {
                    if is_chinese(character) {
                        changed.extend([' ', character, ' ']);
                    } else {
                        changed.push(character);
                    }
                }
                Some(changed)
            }
            NormalizerStep::Strip { left, right } => {
                let text = if *left { text.trim_start() } else { text };
                let text = if *right { text.trim_end() } else { text };
                Some(text.into())
            }
            NormalizerStep::CollapseSpaces => {
                let mut changed = String::with_capacity(text.len());
                for word in text.split(' ').filter(|word| !word.is_empty()) {
                    if !changed.is_empty() {
                        changed.push(' ');
                    }
                    changed.push_str(word);
                }
                Some(changed)
            }
        }
    }
}

/// What BERT takes for Chinese: the unified ideographs and their extensions.
fn is_chinese(character: char) -> bool {
    matches!(
        u32::from(character),
        0x4E00..=0x9FFF
            | 0x3400..=0x4DBF
            | 0x20000..=0x2A6DF
            | 0x2A700..=0x2B73F
            | 0x2B740..=0x2B81F
            | 0x2B920..=0x2CEAF
            | 0xF900..=0xFAFF
            | 0x2F800..=0x2FA1F
    )
}
