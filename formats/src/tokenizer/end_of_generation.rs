//! Which tokens end a generated text.

use super::vocabulary::Vocabulary;
use alloc::vec::Vec;

/// Names of tokens that end a turn or a text in some family of models, whatever else the
/// files say.
const NAMES: &[&str] = &[
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "<end_of_turn>",
    "<turn|>",
    "<|tool_response>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "[e~[",
    "<｜end▁of▁sentence｜>",
];

/// Those that end a text where control tokens have them: what code models put
/// around files.
const OF_CONTROL: &[&str] = &[
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
];

/// Whether a token of this name is an end whatever kind the file says it is of.
pub(super) fn is_end(text: &[u8]) -> bool {
    NAMES.iter().any(|name| name.as_bytes() == text)
}

/// The listed tokens and the well-known ones, each once, by id.
pub(super) fn end_tokens(
    vocabulary: &Vocabulary,
    listed: impl IntoIterator<Item = u32>,
) -> Vec<u32> {
    let control = |text: &str| vocabulary.find_control(text.as_bytes());
    // Where messages have channels, `<|end|>` closes one message of several, and these two
    // close the turn.
    let has = |text: &str| control(text).is_some();
    let has_channels = has("<|call|>") && has("<|return|>")
        || (has("<|call|>") || has("<|calls|>")) && has("<|flush|>");
    let known = NAMES
        .iter()
        .chain(OF_CONTROL)
        .filter(|&&text| !(has_channels && text == "<|end|>"))
        .filter_map(|text| control(text));
    let mut ends: Vec<u32> = known.chain(listed).collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}
