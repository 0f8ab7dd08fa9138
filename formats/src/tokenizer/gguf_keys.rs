//! The keys of `tokenizer.ggml.*`.

pub(super) const MODEL: &str = "tokenizer.ggml.model";
pub(super) const PRE: &str = "tokenizer.ggml.pre";
pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
pub(super) const SCORES: &str = "tokenizer.ggml.scores";
pub(super) const TYPES: &str = "tokenizer.ggml.token_type";
pub(super) const MERGES: &str = "tokenizer.ggml.merges";
pub(super) const BOS: &str = "tokenizer.ggml.bos_token_id";
pub(super) const EOS: &str = "tokenizer.ggml.eos_token_id";
pub(super) const EOT: &str = "tokenizer.ggml.eot_token_id";
pub(super) const EOM: &str = "tokenizer.ggml.eom_token_id";
pub(super) const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
pub(super) const CLS: &str = "tokenizer.ggml.cls_token_id";
/// As the format spells it.
pub(super) const SEPARATOR: &str = "tokenizer.ggml.seperator_token_id";
pub(super) const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";
pub(super) const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
pub(super) const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
pub(super) const LOWERCASE: &str = "tokenizer.ggml.normalizer.lowercase";
pub(super) const STRIP_ACCENTS: &str = "tokenizer.ggml.normalizer.strip_accents";
pub(super) const ADD_SPACE: &str = "tokenizer.ggml.add_space_prefix";
pub(super) const REMOVE_SPACES: &str = "tokenizer.ggml.remove_extra_whitespaces";
pub(super) const MASK: &str = "tokenizer.ggml.mask_token_id";

/// The whole `tokenizer.json`, which says exactly what the keys above say as far as they can.
pub(super) const JSON: &str = "tokenizer.huggingface.json";

// What the small files of a folder change in that: this program's own keys.
/// The added tokens, in place of those in `tokenizer.json`.
pub(super) const ADDED: &str = "tokenizer.rillm.added_tokens";
/// The tokens before a text, after a text, and those that end one, where one id is not enough.
pub(super) const PREFIX: &str = "tokenizer.rillm.prefix_token_ids";
pub(super) const SUFFIX: &str = "tokenizer.rillm.suffix_token_ids";
pub(super) const ENDS: &str = "tokenizer.rillm.end_token_ids";
/// What GGUF has no place for of pieces that have no id, of what their classes take off a text, and of
/// languages with a vocabulary each.
pub(super) const PIECES: &str = "tokenizer.rillm.unlisted_pieces";
pub(super) const PIECE_SCORES: &str = "tokenizer.rillm.unlisted_piece_scores";
pub(super) const LANGUAGE_CODE: &str = "tokenizer.rillm.takes_language_code";
/// Whether text never has special tokens, whoever asks for them.
pub(super) const SPLITS_SPECIAL: &str = "tokenizer.rillm.split_special_tokens";
pub(super) const TARGETS: &str = "tokenizer.rillm.target_tokens";
