//! End-of-generation tokens: which tokens end a generated text.

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

/// Names that end a text only if they are control tokens: code models put them around files.
const CONTROL_NAMES: &[&str] = &[
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

/// Whether this is the name of an end-of-generation token, whatever type the file gives it.
pub(super) fn is_name(text: &[u8]) -> bool {
    NAMES.iter().any(|name| name.as_bytes() == text)
}

/// The tokens that the files list and those that have a well-known name, each once, by id.
pub(super) fn tokens(vocabulary: &Vocabulary, listed: impl IntoIterator<Item = u32>) -> Vec<u32> {
    let control = |text: &str| vocabulary.find_control(text.as_bytes());
    // Where messages have channels, `<|end|>` closes one message of several, and these two
    // close the turn.
    let has = |text: &str| control(text).is_some();
    let has_channels = has("<|call|>") && has("<|return|>")
        || (has("<|call|>") || has("<|calls|>")) && has("<|flush|>");
    let known = NAMES
        .iter()
        .chain(CONTROL_NAMES)
        .filter(|&&text| !(has_channels && text == "<|end|>"))
        .filter_map(|text| control(text));
    let mut ends: Vec<u32> = known.chain(listed).collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}
