//! The decoders of `tokenizer.json`: from the texts of tokens to text, token by token.

use super::budget::TextBudget;
use super::byte_level;
use super::split::Matcher;
use super::vocabulary::byte_of;
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// One step; each takes what the one before made of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DecoderStep {
    /// A space between tokens, as where there is no decoder.
    Spaces,
    /// Characters of byte-level's alphabet as bytes.
    Bytes,
    Replace {
        from: Matcher,
        to: String,
    },
    /// `<0xHH>` as a byte.
    ByteTokens,
    /// All tokens as one.
    Fuse,
    /// So many of a character from the beginning and the end.
    Strip {
        of: char,
        start: usize,
        stop: usize,
    },
    /// A sign as a space; none in the first token if `drops_first`.
    Metaspace {
        sign: char,
        drops_first: bool,
    },
    /// A space before tokens that do not go on with a word.
    WordPiece {
        continues: String,
        cleans: bool,
    },
    /// A text that ends words as a space, but not at the end.
    Suffix(String),
}

/// A decoding that goes on.
#[derive(Clone)]
pub(super) struct Chain {
    states: Vec<ChainState>,
}

#[derive(Clone, Default)]
struct ChainState {
    /// Tokens seen by this step.
    seen: usize,
    /// Characters that a fused [`DecoderStep::Strip`] may still take away.
    left: usize,
    /// What depends on whether more comes.
    held: Vec<u8>,
    /// Whether what comes is all one token.
    is_fused: bool,
}

impl Chain {
    /// At the beginning of a text, or after some of it.
    pub(super) fn new(steps: &[DecoderStep], starts: bool) -> Chain {
        let mut is_fused = false;
        let states = steps.iter().map(|step| {
            let left = match step {
                DecoderStep::Strip { start, .. } if starts => *start,
                _ => 0,
            };
            let state = ChainState {
                seen: usize::from(!starts),
                left,
                held: Vec::new(),
                is_fused,
            };
            is_fused |= matches!(step, DecoderStep::Fuse | DecoderStep::Bytes);
            state
        });
        Chain {
            states: states.collect(),
        }
    }

    /// Appends what a token shows, as far as the budget lasts.
    pub(super) fn push(
        &mut self,
        steps: &[DecoderStep],
        token: &[u8],
        budget: &TextBudget,
        out: &mut Vec<u8>,
    ) {
        self.pass(steps, 0, token, budget, out);
    }

    /// Ends the text, or as if more came if it `goes_on`.
    pub(super) fn finish(&mut self, steps: &[DecoderStep], goes_on: bool, out: &mut Vec<u8>) {
        let budget = TextBudget::for_text(0);
        for index in 0..steps.len() {
            let Some(state) = self.states.get_mut(index) else {
                return;
            };
            let held = core::mem::take(&mut state.held);
            if held.is_empty() {
                continue;
            }
            if goes_on {
                self.pass(steps, index + 1, &held, &budget, out);
            }
        }
    }

    fn pass(
        &mut self,
        steps: &[DecoderStep],
        index: usize,
        token: &[u8],
        budget: &TextBudget,
        out: &mut Vec<u8>,
    ) {
        let Some((step, state)) = steps.get(index).zip(self.states.get_mut(index)) else {
            out.extend_from_slice(token);
            return;
        };
        if token.is_empty() && state.is_fused {
            return;
        }
        let text = step.apply(state, token, budget);
        state.seen += 1;
        self.pass(steps, index + 1, &text, budget, out);
    }
}

impl DecoderStep {
    fn apply<'t>(
        &self,
        state: &mut ChainState,
        token: &'t [u8],
        budget: &TextBudget,
    ) -> Cow<'t, [u8]> {
        let is_first = state.seen == 0;
        let Ok(text) = core::str::from_utf8(token) else {
            // A byte of a character: there is nothing in it to change, but it has begun the text.
            state.left = 0;
            let mut shown = match self {
                DecoderStep::Strip { .. } => core::mem::take(&mut state.held),
                _ => Vec::new(),
            };
            shown.extend_from_slice(token);
            return Cow::Owned(shown);
        };
        match self {
            DecoderStep::Fuse => Cow::Borrowed(token),
            DecoderStep::Spaces if is_first => Cow::Borrowed(token),
            DecoderStep::Spaces => Cow::Owned([b" ", token].concat()),
            DecoderStep::Bytes => byte_level::raw(token),
            DecoderStep::ByteTokens => match byte_of(token) {
                Some(byte) => Cow::Owned(vec![byte]),
                None => Cow::Borrowed(token),
            },
            DecoderStep::Replace { from, to } => {
                let mut changed = String::new();
                let mut is_changed = false;
                from.segments(text, budget, &mut |range, is_match| {
                    is_changed |= is_match;
                    let part = match is_match {
                        true => to,
                        false => text.get(range).unwrap_or_default(),
                    };
                    if budget.makes(part.len()) {
                        changed.push_str(part);
                    }
                });
                match is_changed {
                    true => Cow::Owned(changed.into_bytes()),
                    false => Cow::Borrowed(token),
                }
            }
            DecoderStep::Strip { of, start, stop } => {
                if state.is_fused {
                    return Cow::Owned(state.stripped(text, *of, *stop));
                }
                let text = without(text, *start, |text| text.strip_prefix(*of));
                let text = without(text, *stop, |text| text.strip_suffix(*of));
                Cow::Borrowed(text.as_bytes())
            }
            DecoderStep::Metaspace { sign, drops_first } => {
                let drops = *drops_first && (is_first || state.is_fused);
                let plain = match drops {
                    true => "",
                    false => " ",
                };
                let mut buffer = [0; 4];
                let sign: &str = sign.encode_utf8(&mut buffer);
                match text.contains(sign) {
                    true => Cow::Owned(text.replace(sign, plain).into_bytes()),
                    false => Cow::Borrowed(token),
                }
            }
            DecoderStep::WordPiece { continues, cleans } => {
                let spaced = match text.strip_prefix(continues.as_str()) {
                    _ if is_first => Cow::Borrowed(text),
                    Some(rest) => Cow::Borrowed(rest),
                    None => Cow::Owned([" ", text].concat()),
                };
                match (cleans, spaced) {
                    (true, spaced) => Cow::Owned(cleaned(&spaced).into_bytes()),
                    (false, Cow::Borrowed(text)) => Cow::Borrowed(text.as_bytes()),
                    (false, Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
                }
            }
            DecoderStep::Suffix(suffix) => {
                let mut changed = core::mem::take(&mut state.held);
                let text = match text.strip_suffix(suffix.as_str()) {
                    Some(text) => {
                        state.held.push(b' ');
                        text
                    }
                    None => text,
                };
                changed.extend_from_slice(text.replace(suffix.as_str(), " ").as_bytes());
                Cow::Owned(changed)
            }
        }
    }
}

impl ChainState {
    /// Of a text in parts: without what is to go from its beginning, and with what may have to go
    /// from its end held back.
    fn stripped(&mut self, text: &str, of: char, stop: usize) -> Vec<u8> {
        let mut text = text;
        while self.left > 0 {
            match text.strip_prefix(of) {
                Some(rest) => {
                    text = rest;
                    self.left -= 1;
                }
                None if text.is_empty() => break,
                None => self.left = 0,
            }
        }
        let mut shown = core::mem::take(&mut self.held);
        shown.extend_from_slice(text.as_bytes());
        if stop > 0
            && let Ok(whole) = core::str::from_utf8(&shown)
        {
            let kept = without(whole, stop, |text| text.strip_suffix(of)).len();
            self.held = shown.split_off(kept);
        }
        shown
    }
}

/// Takes a character away up to `most` times.
fn without<'t>(text: &'t str, most: usize, once: impl Fn(&'t str) -> Option<&'t str>) -> &'t str {
    let mut text = text;
    for _ in 0..most {
        match once(text) {
            Some(rest) => text = rest,
            None => break,
        }
    }
    text
}

/// Without the spaces that English does not write.
fn cleaned(text: &str) -> String {
    const SPELLED: [(&str, &str); 11] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" do not", " don't"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    SPELLED.iter().fold(String::from(text), |text, (from, to)| {
        match text.contains(from) {
            true => text.replace(from, to),
            false => text,
        }
    })
}
