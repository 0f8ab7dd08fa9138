//! Which tokens end a generated text.

use super::vocabulary::Vocabulary;
use alloc::vec::Vec;

/// Control tokens that end a turn or a text in some family of models, whatever else the
/// files say.
const KNOWN: &[&str] = &[
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<EOT>",
    "[EOT]",
    "<｜end▁of▁sentence｜>",
];

/// The listed tokens and the well-known ones, each once, by id.
pub(super) fn end_tokens(
    vocabulary: &Vocabulary,
    listed: impl IntoIterator<Item = u32>,
) -> Vec<u32> {
    let control = |text: &str| vocabulary.find_control(text.as_bytes());
    // Where messages have channels, `<|end|>` closes one message of several, and these two
    // close the turn.
    let has_channels = control("<|return|>").is_some() && control("<|call|>").is_some();
    let known = KNOWN
        .iter()
        .filter(|&&text| !(has_channels && text == "<|end|>"))
        .filter_map(|text| control(text));
    let mut ends: Vec<u32> = known.chain(listed).collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}
