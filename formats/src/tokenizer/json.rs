//! The fields of `tokenizer.json`. Its two long parts, vocabulary and merges, are read into flat
//! buffers.

use super::gguf::split_merge;
use super::json_tree::component;
use crate::manifest::Strings;
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

#[derive(Deserialize)]
pub(super) struct TokenizerJson {
    #[serde(default)]
    pub(super) added_tokens: Vec<AddedTokenJson>,
    #[serde(default, deserialize_with = "component")]
    pub(super) normalizer: Value,
    #[serde(default, deserialize_with = "component")]
    pub(super) pre_tokenizer: Value,
    #[serde(default, deserialize_with = "component")]
    pub(super) post_processor: Value,
    #[serde(default, deserialize_with = "component")]
    pub(super) decoder: Value,
    pub(super) model: ModelJson,
}

#[derive(Clone, Deserialize)]
pub(super) struct AddedTokenJson {
    /// Absent where the id is the key, in `tokenizer_config.json`.
    #[serde(default)]
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    pub(super) single_word: bool,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
    /// Where it is not said: if the token is not special.
    #[serde(default)]
    pub(super) normalized: Option<bool>,
    #[serde(default)]
    pub(super) special: bool,
}

#[derive(Deserialize)]
pub(super) struct ModelJson {
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) vocab: VocabularyJson,
    #[serde(default)]
    pub(super) merges: MergesJson,
    #[serde(default)]
    pub(super) unk_token: Option<String>,
    #[serde(default)]
    pub(super) unk_id: Option<u32>,
    #[serde(default)]
    pub(super) max_input_chars_per_word: Option<usize>,
    #[serde(default)]
    pub(super) continuing_subword_prefix: Option<String>,
    #[serde(default)]
    pub(super) end_of_word_suffix: Option<String>,
    #[serde(default)]
    pub(super) dropout: Option<f64>,
    #[serde(default)]
    pub(super) fuse_unk: bool,
    #[serde(default)]
    pub(super) byte_fallback: bool,
    #[serde(default)]
    pub(super) ignore_merges: bool,
}

impl AddedTokenJson {
    /// A special token, matched as it is written.
    pub(super) fn special(id: u32, content: String) -> AddedTokenJson {
        AddedTokenJson {
            id,
            content,
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: Some(false),
            special: true,
        }
    }
}

/// Tokens and their ids, in the order of the file.
#[derive(Default)]
pub(super) struct VocabularyJson {
    pub(super) texts: Strings,
    pub(super) ids: Vec<u32>,
    /// Logarithms of probabilities, where tokens are listed with them.
    pub(super) scores: Vec<f64>,
}

/// The two sides of each merge, one after the other.
#[derive(Default)]
pub(super) struct MergesJson {
    pub(super) sides: Strings,
}

impl<'de> Deserialize<'de> for VocabularyJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VocabularyVisitor;
        impl<'de> Visitor<'de> for VocabularyVisitor {
            type Value = VocabularyJson;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map from tokens to ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut vocabulary = VocabularyJson::default();
                while let Some((text, id)) = map.next_entry::<String, u32>()? {
                    vocabulary.texts.push(text.as_bytes());
                    vocabulary.ids.push(id);
                }
                Ok(vocabulary)
            }

            // Unigram models list tokens with their scores.
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut vocabulary = VocabularyJson::default();
                while let Some((text, score)) = list.next_element::<(String, f64)>()? {
                    let id = u32::try_from(vocabulary.ids.len()).map_err(Error::custom)?;
                    vocabulary.texts.push(text.as_bytes());
                    vocabulary.ids.push(id);
                    vocabulary.scores.push(score);
                }
                Ok(vocabulary)
            }
        }
        deserializer.deserialize_any(VocabularyVisitor)
    }
}

impl<'de> Deserialize<'de> for MergesJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MergesVisitor;
        impl<'de> Visitor<'de> for MergesVisitor {
            type Value = MergesJson;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of merges")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut merges = MergesJson::default();
                while list.next_element_seed(Merge(&mut merges.sides))?.is_some() {}
                Ok(merges)
            }
        }
        deserializer.deserialize_seq(MergesVisitor)
    }
}

/// One merge: `"a b"` or `["a", "b"]`.
struct Merge<'a>(&'a mut Strings);

impl<'de> DeserializeSeed<'de> for Merge<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Merge<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a merge, \"a b\" or [\"a\", \"b\"]")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let (left, right) = split_merge(text.as_bytes())
            .ok_or_else(|| E::custom("merge is not two tokens with a space between"))?;
        self.0.push(left);
        self.0.push(right);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        for side in 0..2 {
            let text: Cow<'_, str> = list
                .next_element()?
                .ok_or_else(|| A::Error::invalid_length(side, &"two tokens"))?;
            self.0.push(text.as_bytes());
        }
        match list.next_element::<IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(A::Error::invalid_length(3, &"two tokens")),
        }
    }
}
