//! A tokenizer as the `tokenizer.ggml.*` metadata of a GGUF file.

use super::added::Segment;
use super::decode::Decoding;
use super::gguf_keys as key;
use super::gguf_pre_tokenizers::GgufPreTokenizer;
use super::hf_normalizer::bert_normalizer;
use super::hf_pre_tokenizer::bert_splits;
use super::model::{Alphabet, TokenizerModel};
use super::normalize::NormalizerStep;
use super::pre_tokenizer::{PreTokenizerStep, Prepends};
use super::score_order::score_of;
use super::split::{Behavior, Matcher};
use super::vocabulary::TokenKind;
use super::{Tokenizer, TokenizerKind, byte_level, end_of_generation};
use crate::manifest::{Array, Metadata, MetadataValue, Strings};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// A tokenizer as the keys of a GGUF file say it.
#[derive(Clone, Debug)]
pub struct GgufTokenizer {
    /// The keys.
    pub metadata: Metadata,
    /// Whether they say all of it; otherwise they need
    /// [`add_tokenizer_json`](GgufTokenizer::add_tokenizer_json).
    pub is_exact: bool,
    /// What programs do not know that read nothing but the keys of all GGUF files.
    pub losses: Vec<&'static str>,
}

impl GgufTokenizer {
    /// Adds the `tokenizer.json` that it was built from, without the space between its parts.
    pub fn add_tokenizer_json(&mut self, text: &[u8]) {
        let mut plain = Vec::with_capacity(text.len());
        let (mut in_string, mut escaped) = (false, false);
        for &byte in text {
            if !in_string && byte.is_ascii_whitespace() {
                continue;
            }
            in_string = in_string != (byte == b'"' && !escaped);
            escaped = in_string && byte == b'\\' && !escaped;
            plain.push(byte);
        }
        let text = String::from_utf8_lossy(&plain).into_owned();
        self.put(key::JSON, MetadataValue::String(text));
    }

    fn put(&mut self, key: &str, value: MetadataValue) {
        self.metadata.0.insert(key.to_string(), value);
    }

    fn put_ids(&mut self, key: &str, ids: &[u32]) {
        self.put(key, MetadataValue::Array(Array::U32(ids.to_vec())));
    }

    fn loses(&mut self, what: &'static str) {
        self.is_exact = false;
        if !self.losses.contains(&what) {
            self.losses.push(what);
        }
    }
}

impl Tokenizer {
    /// What a GGUF file has to say for this tokenizer.
    pub fn to_gguf(&self) -> GgufTokenizer {
        let mut file = GgufTokenizer {
            metadata: Metadata::default(),
            is_exact: true,
            losses: Vec::new(),
        };
        let text = |name: &str| MetadataValue::String(name.to_string());
        let (name, pre) = self.gguf_kind(&mut file);
        file.put(key::MODEL, text(name));
        file.put(key::PRE, text(pre));
        let texts = MetadataValue::Array(Array::String(self.texts()));
        file.put(key::TOKENS, texts);
        let unknown = self.model.unknown();
        let ids = self.vocabulary.listed_ids();
        let types = ids.map(|id| match self.vocabulary.kind(id) {
            // It may be a control token as well, and is one to all readers.
            _ if unknown == Some(id) => 2,
            TokenKind::Normal => 1,
            TokenKind::Unknown => 2,
            TokenKind::Control => 3,
            TokenKind::UserDefined => 4,
            TokenKind::Unused | TokenKind::Foreign | TokenKind::Absent => 5,
            TokenKind::Byte => 6,
        });
        let types = MetadataValue::Array(Array::I32(types.collect()));
        file.put(key::TYPES, types);
        if let Some(mut scores) = self.scores() {
            let unlisted = scores.split_off(self.vocabulary.listed_len().min(scores.len()));
            self.put_unlisted(&mut file, unlisted);
            file.put(key::SCORES, MetadataValue::Array(Array::F32(scores)));
        }
        if let Some(merges) = self.merges() {
            file.put(key::MERGES, MetadataValue::Array(Array::String(merges)));
        }
        self.put_special(&mut file, unknown);
        if self.kind == TokenizerKind::WordPiece {
            let does = |step: NormalizerStep| MetadataValue::Bool(self.normalizer.contains(&step));
            file.put(key::LOWERCASE, does(NormalizerStep::Lowercase));
            let strips = does(NormalizerStep::DropMarks { all: false });
            file.put(key::STRIP_ACCENTS, strips);
        }
        if matches!(
            self.kind,
            TokenizerKind::SentencePieceBpe | TokenizerKind::Unigram
        ) {
            if self.reads_metaspace && self.normalizer.contains(&NormalizerStep::Lowercase) {
                file.put(key::LOWERCASE, MetadataValue::Bool(true));
                file.losses.push("that it lowercases");
            }
            file.put(key::ADD_SPACE, MetadataValue::Bool(self.adds_space()));
            // Words cut at white space, each with a space in front, encode alike.
            let collapses =
                self.normalizer.contains(&NormalizerStep::CollapseSpaces) || self.spaces_words();
            file.put(key::REMOVE_SPACES, MetadataValue::Bool(collapses));
        }
        let maps = self.normalizer.iter().find_map(|step| match step {
            NormalizerStep::Charsmap { map, .. } => Some(map.to_bytes()),
            _ => None,
        });
        if let Some(map) = maps {
            file.put(key::CHARSMAP, MetadataValue::Array(Array::U8(map)));
        }
        if self.splits_special {
            file.put(key::SPLITS_SPECIAL, MetadataValue::Bool(true));
            file.losses.push("that special tokens in a text are none");
        }
        if self.raw.has_flags() || self.normalized.has_flags() || self.matches_in_an_order() {
            file.loses("how its added tokens match");
        }
        if self.adds_what_merges_make() {
            file.loses("that an added token is one of its model's as well");
        }
        if !file.is_exact {
            file.put(key::ADDED, MetadataValue::String(self.added_tokens()));
            file.put_ids(key::PREFIX, &self.prefix);
            file.put_ids(key::SUFFIX, &self.suffix);
            file.put_ids(key::ENDS, &self.end_tokens);
        }
        file
    }

    /// Whether added tokens are cut out of others' texts, which are looked for after them.
    fn matches_in_an_order(&self) -> bool {
        /// Bytes that are looked through, at each of which a long token may begin. Of more nobody waits
        /// for the answer.
        const MOST: usize = 1 << 18;
        let mut walked = 0;
        self.normalized.entries().iter().any(|entry| {
            walked += entry.text.len();
            if walked > MOST {
                return true;
            }
            let text = core::str::from_utf8(&entry.text).unwrap_or_default();
            let mut cut = false;
            self.raw.segments(text, true, &mut |segment| {
                cut |= matches!(segment, Segment::Token(..));
            });
            cut
        })
    }

    /// Whether a token is added under the characters that its bytes are written in: what is added
    /// stands in GGUF as its text, and merges find it by that no more.
    fn adds_what_merges_make(&self) -> bool {
        self.kind == TokenizerKind::ByteLevelBpe
            && self.vocabulary.listed_ids().any(|id| {
                self.vocabulary.kind(id) == TokenKind::UserDefined
                    && self.vocabulary.key(id) != Some(&self.written(id))
            })
    }

    /// What only this program's keys can say: pieces without an id, codes of languages, and the texts
    /// of another vocabulary.
    fn put_unlisted(&self, file: &mut GgufTokenizer, scores: Vec<f32>) {
        if self.vocabulary.has_unlisted() {
            let mut texts = Strings::default();
            for id in self.vocabulary.ids().skip(self.vocabulary.listed_len()) {
                texts.push(&marked(self.vocabulary.key(id).unwrap_or_default()));
            }
            let texts = MetadataValue::Array(Array::String(texts));
            file.put(key::PIECES, texts);
            file.put(key::PIECE_SCORES, MetadataValue::Array(Array::F32(scores)));
            file.losses.push("pieces of text that have no token");
        }
        if self.takes_language_code {
            file.put(key::LANGUAGE_CODE, MetadataValue::Bool(true));
            file.losses
                .push("that a text begins with the code of a language");
        }
        if let Some(targets) = &self.targets {
            let mut texts = Strings::default();
            for id in targets.ids() {
                let text = targets.key(id).unwrap_or_default();
                texts.push(&match targets.kind(id).is_control() {
                    true => text.to_vec(),
                    false => marked(text),
                });
            }
            file.put(key::TARGETS, MetadataValue::Array(Array::String(texts)));
            file.losses.push("the vocabulary of the language to write");
        }
    }

    /// The names of model and pre-tokenizer; notes what they leave out.
    fn gguf_kind(&self, file: &mut GgufTokenizer) -> (&'static str, &'static str) {
        let is_plain = matches!(self.decoding, Decoding::Pieces { .. });
        match (&self.model, self.kind) {
            (TokenizerModel::Ranked(model), TokenizerKind::ByteLevelBpe) => {
                if !self.normalizer.is_empty() {
                    file.loses("its normalizer");
                }
                if self.pre_tokenizer.contains(&PreTokenizerStep::Space) {
                    file.loses("the space before a text");
                }
                if model.merges.go_through_control() {
                    file.loses("merges that go through special tokens");
                }
                // Its decoder is another than byte-level's.
                file.is_exact &= is_plain && !self.unmaps_words;
                let found = GgufPreTokenizer::name_of(&self.pre_tokenizer, model.whole_words_first);
                let pre = found.unwrap_or_else(|| {
                    file.loses("the way in which it cuts text");
                    "default"
                });
                ("gpt2", pre)
            }
            (TokenizerModel::WordPiece(_), _) => {
                let does = |step: NormalizerStep| self.normalizer.contains(&step);
                let usual = bert_normalizer(
                    true,
                    true,
                    does(NormalizerStep::DropMarks { all: false }),
                    does(NormalizerStep::Lowercase),
                );
                if self.normalizer != usual {
                    file.loses("its normalizer");
                }
                if self.pre_tokenizer != bert_splits() {
                    file.loses("the way in which it cuts text");
                }
                // Its decoder takes away spaces that GGUF's leaves.
                file.is_exact = false;
                ("bert", "jina-v2-en")
            }
            (_, TokenizerKind::SentencePieceBpe) => {
                file.is_exact &= self.reads_metaspace;
                self.note_sentencepiece(file);
                ("llama", "default")
            }
            (_, TokenizerKind::Unigram) => {
                file.is_exact &= self.reads_metaspace;
                self.note_sentencepiece(file);
                ("t5", "default")
            }
            (_, TokenizerKind::Longest) => ("rwkv", "default"),
            _ => {
                file.loses("its model, for which GGUF has no name");
                ("none", "default")
            }
        }
    }

    /// Notes what SentencePiece's own files could not say either.
    fn note_sentencepiece(&self, file: &mut GgufTokenizer) {
        if self.reads_metaspace {
            return;
        }
        let usual = |step: &NormalizerStep| match step {
            NormalizerStep::Charsmap { .. } | NormalizerStep::CollapseSpaces => true,
            NormalizerStep::Prepend(text) => text == "▁",
            NormalizerStep::Replace { to, .. } => to == "▁",
            NormalizerStep::Strip { .. } => true,
            _ => false,
        };
        if !self.normalizer.iter().all(usual) {
            file.loses("its normalizer");
        }
        let usual = |step: &PreTokenizerStep| match step {
            PreTokenizerStep::Metaspace { sign: '▁', .. } => true,
            PreTokenizerStep::Split(split) => match &split.matcher {
                Matcher::Text(text) => text == "▁",
                Matcher::Pattern(_) => split.behavior == Behavior::Removed,
                _ => false,
            },
            _ => false,
        };
        if !self.pre_tokenizer.iter().all(usual) {
            file.loses("the way in which it cuts text");
        }
    }

    /// Whether a space is put before a text.
    fn adds_space(&self) -> bool {
        if let Decoding::Pieces { strips_space } = self.decoding {
            return strips_space;
        }
        let prepends = |step: &NormalizerStep| matches!(step, NormalizerStep::Prepend(_));
        let puts = |step: &PreTokenizerStep| matches!(step, PreTokenizerStep::Metaspace { prepends, .. } if *prepends != Prepends::None);
        self.normalizer.iter().any(prepends) || self.pre_tokenizer.iter().any(puts)
    }

    /// Whether each word between white space gets a space in front.
    fn spaces_words(&self) -> bool {
        let [
            PreTokenizerStep::Split(split),
            PreTokenizerStep::Metaspace { prepends, .. },
            ..,
        ] = self.pre_tokenizer.as_slice()
        else {
            return false;
        };
        split.behavior == Behavior::Removed && *prepends == Prepends::All
    }

    /// The ids of special tokens, and whether texts get them.
    fn put_special(&self, file: &mut GgufTokenizer, unknown: Option<u32>) {
        let (first, last) = (self.prefix.first().copied(), self.suffix.first().copied());
        let is_encoder = self.kind == TokenizerKind::WordPiece;
        let bos = self.bos.or(first.filter(|_| !is_encoder));
        let eos = self.eos.or(last.filter(|_| !is_encoder));
        for (key, id) in [
            (key::BOS, bos),
            (key::EOS, eos),
            (key::UNKNOWN, unknown),
            (key::MASK, self.mask),
        ] {
            if let Some(id) = id {
                file.put(key, MetadataValue::U32(id));
            }
        }
        if is_encoder {
            for (key, id) in [(key::CLS, first), (key::SEPARATOR, last)] {
                if let Some(id) = id {
                    file.put(key, MetadataValue::U32(id));
                }
            }
        }
        for (key, id) in [(key::ADD_BOS, first), (key::ADD_EOS, last)] {
            // Readers of GGUF add an encoder's tokens unless the file says otherwise.
            if !(is_encoder && id.is_some()) {
                file.put(key, MetadataValue::Bool(id.is_some()));
            }
        }
        // The keys name one token each.
        let (usual_prefix, usual_suffix) = match is_encoder {
            true => (first, last),
            false => (
                bos.filter(|_| first.is_some()),
                eos.filter(|_| last.is_some()),
            ),
        };
        if self.prefix != Vec::from_iter(usual_prefix) {
            file.put_ids(key::PREFIX, &self.prefix);
        }
        if self.suffix != Vec::from_iter(usual_suffix) {
            file.put_ids(key::SUFFIX, &self.suffix);
        }
        if end_of_generation::tokens(&self.vocabulary, eos) != self.end_tokens {
            file.put_ids(key::ENDS, &self.end_tokens);
            let known = end_of_generation::tokens(&self.vocabulary, None);
            let mut others = self.end_tokens.iter();
            // Others know of one more.
            let other = others.find(|id| eos != Some(**id) && !known.contains(id));
            if let Some(id) = other {
                file.put(key::EOT, MetadataValue::U32(*id));
            }
        }
    }

    /// Added tokens as `tokenizer.json` lists them.
    fn added_tokens(&self) -> String {
        let raw = self.raw.entries().iter().map(|entry| (entry, false));
        let normalized = self.normalized.entries().iter().map(|entry| (entry, true));
        let tokens = raw.chain(normalized).map(|(entry, is_normalized)| {
            let text = self.written(entry.id);
            serde_json::json!({
                "id": entry.id,
                "content": String::from_utf8_lossy(&text),
                "single_word": entry.is_word,
                "lstrip": entry.strips_left,
                "rstrip": entry.strips_right,
                "normalized": is_normalized,
                "special": self.vocabulary.kind(entry.id).is_control(),
            })
        });
        tokens.collect::<serde_json::Value>().to_string()
    }

    /// Tokens as the format writes them.
    fn texts(&self) -> Strings {
        let mut texts = Strings::default();
        for id in self.vocabulary.listed_ids() {
            let kind = self.vocabulary.kind(id);
            let piece = self.vocabulary.piece(id).unwrap_or_default();
            let text = match (kind, &self.model, piece) {
                (TokenKind::Absent, ..) => Cow::Owned(format!("[PAD{id}]").into_bytes()),
                (TokenKind::Byte, _, [byte]) => Cow::Owned(format!("<0x{byte:02X}>").into_bytes()),
                (TokenKind::Control | TokenKind::Unknown | TokenKind::UserDefined, ..) => {
                    self.written(id)
                }
                (_, TokenizerModel::Longest(_), _) => Cow::Owned(escaped(piece)),
                (_, TokenizerModel::WordPiece(model), _) => {
                    let key = self.written(id);
                    match key.strip_prefix(model.continues().as_bytes()) {
                        Some(rest) if !rest.is_empty() => Cow::Owned(rest.to_vec()),
                        _ => Cow::Owned(["▁".as_bytes(), &key].concat()),
                    }
                }
                _ if self.reads_metaspace => Cow::Owned(marked(piece)),
                _ => self.written(id),
            };
            texts.push(&text);
        }
        texts
    }

    fn scores(&self) -> Option<Vec<f32>> {
        match &self.model {
            TokenizerModel::Scored(model) => {
                let scores = model.order.iter();
                Some(scores.map(|order| score_of(*order)).map(finite).collect())
            }
            TokenizerModel::Unigram(model) => {
                let mut scores: Vec<f32> = model
                    .scores()
                    .iter()
                    .map(|score| finite(*score as f32))
                    .collect();
                scores.resize(self.vocabulary.len(), 0.0);
                Some(scores)
            }
            // GGUF merges by score, the highest first.
            TokenizerModel::Ranked(model) if matches!(model.alphabet, Alphabet::Characters(_)) => {
                let mut scores = vec![0.0; self.vocabulary.len()];
                for (_, merged) in model.merges.in_order().into_iter().rev() {
                    if let Some(score) = scores.get_mut(merged.id as usize) {
                        *score = -1.0 - merged.order as f32;
                    }
                }
                Some(scores)
            }
            _ => None,
        }
    }

    fn merges(&self) -> Option<Strings> {
        let TokenizerModel::Ranked(model) = &self.model else {
            return None;
        };
        if !matches!(model.alphabet, Alphabet::Bytes(_)) {
            return None;
        }
        let mut merges = Strings::default();
        for ((left, right), _) in model.merges.in_order() {
            let text = |id| byte_level::text_of(self.vocabulary.piece(id).unwrap_or_default());
            merges.push(&[text(left), text(right)].join(&b' '));
        }
        Some(merges)
    }
}

/// Some readers refuse infinite scores.
fn finite(score: f32) -> f32 {
    score.clamp(f32::MIN, f32::MAX)
}

/// Spaces as ▁.
fn marked(piece: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(piece.len());
    for &byte in piece {
        match byte {
            b' ' => text.extend_from_slice("▁".as_bytes()),
            byte => text.push(byte),
        }
    }
    text
}

/// What is no printable ASCII as `\\xHH`.
fn escaped(piece: &[u8]) -> Vec<u8> {
    let mut text = String::with_capacity(piece.len());
    for &byte in piece {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(byte)),
            byte => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.into_bytes()
}
