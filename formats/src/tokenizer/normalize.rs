//! What is done to text before it is cut into words.

use alloc::borrow::Cow;
use alloc::string::String;
use unicode_normalization::UnicodeNormalization;

/// One step of a normalizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Text put before any text that is not empty.
    Prepend(String),
    /// Text put before any text that neither is empty nor starts with it.
    Begin(String),
    /// As [`Step::Begin`], but only for text at the very start of the input.
    BeginFirst(String),
    Replace {
        from: String,
        to: String,
    },
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Lowercase,
    Strip {
        left: bool,
        right: bool,
    },
    /// SentencePiece's `remove_extra_whitespaces`: no spaces at the ends, single ones inside.
    CollapseSpaces,
}

/// Where a stretch of text stands in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Start,
    Later,
}

/// `text` after all `steps`.
pub(super) fn normalize<'a>(steps: &[Step], text: &'a str, place: Place) -> Cow<'a, str> {
    let mut text = Cow::Borrowed(text);
    for step in steps {
        if let Some(changed) = step.apply(&text, place) {
            text = Cow::Owned(changed);
        }
    }
    text
}

impl Step {
    /// The changed text, or `None` if nothing changes.
    fn apply(&self, text: &str, place: Place) -> Option<String> {
        let put_before = |prefix: &str| {
            (!text.is_empty()).then(|| {
                let mut changed = String::with_capacity(prefix.len() + text.len());
                changed.push_str(prefix);
                changed.push_str(text);
                changed
            })
        };
        match self {
            Step::Prepend(prefix) => put_before(prefix),
            Step::Begin(prefix) if text.starts_with(prefix.as_str()) => None,
            Step::Begin(prefix) => put_before(prefix),
            Step::BeginFirst(_) if place == Place::Later => None,
            Step::BeginFirst(prefix) if text.starts_with(prefix.as_str()) => None,
            Step::BeginFirst(prefix) => put_before(prefix),
            Step::Replace { from, to } => text
                .contains(from.as_str())
                .then(|| text.replace(from.as_str(), to)),
            Step::Nfc if text.is_ascii() => None,
            Step::Nfd if text.is_ascii() => None,
            Step::Nfkc if text.is_ascii() => None,
            Step::Nfkd if text.is_ascii() => None,
            Step::Nfc => Some(text.nfc().collect()),
            Step::Nfd => Some(text.nfd().collect()),
            Step::Nfkc => Some(text.nfkc().collect()),
            Step::Nfkd => Some(text.nfkd().collect()),
            Step::Lowercase => Some(text.chars().flat_map(char::to_lowercase).collect()),
            Step::Strip { left, right } => {
                let text = if *left { text.trim_start() } else { text };
                let text = if *right { text.trim_end() } else { text };
                Some(text.into())
            }
            Step::CollapseSpaces => {
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
