//! How large the parts of a tokenizer may be: a hostile file meets one of these before it
//! costs memory or time out of proportion to its size.

/// Tokens in a vocabulary. The largest published ones have about 300,000.
pub(super) const TOKENS: usize = 1 << 24;

/// Ids that no token may leave unused, beyond as many as there are tokens.
pub(super) const ID_GAP: usize = 1 << 16;

/// Bytes of a token, or another text, that is searched for at every place of a text: the search costs
/// at most this much for each byte of it. Published pieces have up to a hundred.
pub(super) const SEARCHED_LEN: usize = 1024;

/// Values of settings that become a tree. Models that speak list some sixty thousand added tokens, with
/// seven values each.
pub(super) const SETTINGS_VALUES: usize = 1 << 19;

/// Values of a component of `tokenizer.json`.
pub(super) const COMPONENT_VALUES: usize = 1 << 16;

/// Tokens put before or after a text.
pub(super) const TEMPLATE_TOKENS: usize = 16;

/// Steps of a normalizer, splits of a pre-tokenizer, and how deep either is nested.
pub(super) const STEPS: usize = 32;

/// Bytes of text that a normalizer step inserts at a place.
pub(super) const INSERTED_LEN: usize = 1024;

/// Bytes that all changes together may make of each byte of a text, and of none. Compatibility
/// decomposition, the published step that adds most, makes eleven.
pub(super) const GROWTH: usize = 256;
pub(super) const GROWTH_UNSAID: usize = 1 << 16;

/// Steps that the search for expressions may take for each byte of a text, and for none.
pub(super) const SEARCH_STEPS: u64 = 2000;
pub(super) const SEARCH_STEPS_UNSAID: u64 = 1 << 20;

/// Instructions of one regular expression.
pub(super) const PATTERN_STEPS: usize = 1 << 14;

/// Ways that the search for one match may leave to be tried later.
pub(super) const BACKTRACKS: usize = 1 << 22;

/// Bytes of one regular expression.
pub(super) const PATTERN_LEN: usize = 8192;

/// Characters that one alternative of a regular expression may demand or count to.
pub(super) const PATTERN_COUNT: usize = 512;

/// Bytes merged at once: a longer word is cut, so that positions fit 32 bits.
pub(super) const WORD_LEN: usize = 1 << 30;
