//! Normalization: changes to text before it is cut into words.

use super::budget::TextBudget;
use super::byte_level;
use super::charsmap::Charsmap;
use super::class;
use super::split::Matcher;
use alloc::borrow::Cow;
use alloc::string::String;
use unicode_normalization::UnicodeNormalization;

/// One step of a normalizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NormalizerStep {
    /// Text put before any text that is not empty.
    Prepend(String),
    /// What is found by a text or a pattern becomes another text.
    Replace {
        from: Matcher,
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
    /// SentencePiece's cleaning before neural translation: drops control characters, turns white
    /// space and what is invisible into spaces.
    CleanForTranslation,
    /// Each byte as a character of byte-level's alphabet.
    Bytes,
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

/// `text` after all `steps`. What is over the budget is left as it was. `beginning` is how many bytes of
/// it stand where the input's first character does.
pub(super) fn normalize<'a>(
    steps: &[NormalizerStep],
    text: &'a str,
    beginning: &mut usize,
    budget: &TextBudget,
) -> Cow<'a, str> {
    let mut text = Cow::Borrowed(text);
    for step in steps {
        if let Some(changed) = step.apply(&text, beginning, budget) {
            if !budget.makes(changed.len()) {
                break;
            }
            text = Cow::Owned(changed);
        }
    }
    text
}

impl NormalizerStep {
    /// The changed text, or `None` if nothing changes or it would be over the budget. Moves the
    /// beginning to where it reaches then.
    pub(super) fn apply(
        &self,
        text: &str,
        beginning: &mut usize,
        budget: &TextBudget,
    ) -> Option<String> {
        if let NormalizerStep::Replace { from, to } = self {
            return replaced(text, from, to, beginning, budget);
        }
        let changed = self.changed(text)?;
        *beginning = self.moved_beginning(text, *beginning);
        Some(changed)
    }

    /// The changed text, unless what changes it searches for something.
    pub(super) fn changed(&self, text: &str) -> Option<String> {
        match self {
            NormalizerStep::Prepend(prefix) => (!text.is_empty()).then(|| {
                let mut changed = String::with_capacity(prefix.len() + text.len());
                changed.push_str(prefix);
                changed.push_str(text);
                changed
            }),
            NormalizerStep::Replace { .. } => None,
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
                        || !(matches!(c, '\0' | '\u{fffd}') || class::is_control(*c))
                });
                Some(
                    kept.map(|c| if c.is_whitespace() { ' ' } else { c })
                        .collect(),
                )
            }
            NormalizerStep::CleanForTranslation => {
                let kept = text.chars().filter(
                    |c| !matches!(u32::from(*c), 1..=8 | 0xB | 0xE..=0x1F | 0x7F | 0x8F | 0x9F),
                );
                Some(kept.map(spaces).collect())
            }
            NormalizerStep::Bytes => Some(byte_level::mapped(text)),
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

/// A text with another one in the place of all that is found.
fn replaced(
    text: &str,
    from: &Matcher,
    to: &str,
    beginning: &mut usize,
    budget: &TextBudget,
) -> Option<String> {
    let mut changed = String::new();
    let mut is_changed = false;
    // What is written stands where the end of what was found did.
    let mut reached = 0;
    from.segments(text, budget, &mut |range, is_match| {
        is_changed |= is_match;
        let part = match is_match {
            true => to,
            false => text.get(range.clone()).unwrap_or_default(),
        };
        let counts = match is_match {
            true if range.end <= *beginning => part.len(),
            true => 0,
            false => beginning.saturating_sub(range.start).min(part.len()),
        };
        reached += counts;
        // What all of them make together is what the whole may be long.
        if budget.makes(part.len()) {
            changed.push_str(part);
        }
    });
    if !is_changed {
        return None;
    }
    *beginning = reached;
    Some(changed)
}

/// What [`NormalizerStep::CleanForTranslation`] writes as a space.
fn spaces(character: char) -> char {
    match u32::from(character) {
        0x9
        | 0xA
        | 0xC
        | 0xD
        | 0x1680
        | 0x200B..=0x200F
        | 0x2028
        | 0x2029
        | 0x2581
        | 0xFEFF
        | 0xFFFD => ' ',
        _ => character,
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
