//! What the small files of a Hugging Face folder say of BOS, EOS, added and end-of-generation tokens.

use super::added::Added;
use super::error::{TokenizerError, failure};
use super::gguf_keys as key;
use super::gguf_vocabulary::{token_id, token_ids, truth};
use super::hf::JSON;
use super::hf_class::TokenizerClass;
use super::json::AddedTokenJson;
use super::json_tree::JsonTree;
use super::vocabulary::TokenKind;
use super::{HfFiles, Tokenizer, end_of_generation, hf_component, limits};
use crate::json::other_text;
use crate::json::without_python_numbers;
use crate::manifest::{Metadata, MetadataValue};
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use hashbrown::HashSet;
use serde_json::Value;

/// What `tokenizer_config.json`, `special_tokens_map.json`, `generation_config.json` and
/// `config.json` say.
#[derive(Default)]
pub(super) struct Settings {
    /// Special tokens by their role, the first that names it; `added_tokens` are all others.
    special: Vec<(&'static str, AddedTokenJson)>,
    /// The names of all those.
    named: HashSet<String>,
    pub(super) class: TokenizerClass,
    pub(super) adds_bos: Option<bool>,
    pub(super) adds_eos: Option<bool>,
    pub(super) added: Vec<AddedTokenJson>,
    /// Whether `added` is `added_tokens_decoder`, which says how tokens are searched for.
    pub(super) says_flags: bool,
    /// `split_special_tokens`
    splits_special: bool,
    ends: Vec<u32>,
    /// What a GGUF file says instead of all that.
    pub(super) gguf: Option<GgufSettings>,
}

/// What a GGUF file says of a `tokenizer.json` that it holds.
pub(super) struct GgufSettings {
    /// In place of those in `tokenizer.json`.
    pub(super) added: Option<Vec<AddedTokenJson>>,
    prefix: Option<Vec<u32>>,
    suffix: Option<Vec<u32>>,
    ends: Option<Vec<u32>>,
    bos: Option<u32>,
    eos: Option<u32>,
    mask: Option<u32>,
}

/// What special tokens are for.
const ROLES: &[&str] = &[
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// Whether masked models call so what stands for a hidden token.
pub(super) fn is_mask_name(text: &[u8]) -> bool {
    matches!(text, b"[MASK]" | b"<mask>")
}

impl Settings {
    pub(super) fn read(files: &HfFiles<'_>) -> Result<Settings, TokenizerError> {
        let mut settings = Settings::default();
        let config = Settings::config(files)?;
        settings.class = TokenizerClass::read(files, &config);
        settings.adds_bos = config.get("add_bos_token").and_then(Value::as_bool);
        settings.adds_eos = config.get("add_eos_token").and_then(Value::as_bool);
        let splits = config.get("split_special_tokens").and_then(Value::as_bool);
        settings.splits_special = splits.unwrap_or(false);
        let map = match files.special_tokens_map {
            Some(bytes) => parse_tree(bytes, "special_tokens_map.json")?,
            None => Value::Null,
        };
        let listed = config
            .get("added_tokens_decoder")
            .and_then(Value::as_object);
        // The map is from before the list: where there is one, it does not change what is said.
        match listed {
            Some(_) => settings.names_roles(&[&config, &map]),
            None => settings.names_roles(&[&map, &config]),
        }
        settings.names_more(&[&config, &map]);
        settings.says_flags = listed.is_some();
        for (key, token) in listed.into_iter().flatten() {
            let id = key.parse::<u32>().ok();
            let token = serde::Deserialize::deserialize(token).ok();
            let Some((id, token)) = id.zip(token) else {
                return Err(failure!(
                    Malformed,
                    "tokenizer_config.json: added_tokens_decoder has an entry that is no id and token"
                ));
            };
            settings.added.push(AddedTokenJson { id, ..token });
        }
        if let (None, Some(_), Some(bytes)) = (listed, files.tokenizer_json, files.added_tokens) {
            settings.added = settings.older_list(bytes)?;
        }
        settings.ends = match files.generation_config {
            Some(bytes) => end_tokens(bytes, "generation_config.json")?,
            None => None,
        }
        .or(match files.config {
            Some(bytes) => end_tokens(bytes, "config.json")?,
            None => None,
        })
        .unwrap_or_default();
        Ok(settings)
    }

    /// `tokenizer_config.json`, if it is there.
    pub(super) fn config(files: &HfFiles<'_>) -> Result<Value, TokenizerError> {
        match files.tokenizer_config {
            Some(bytes) => parse_tree(bytes, "tokenizer_config.json"),
            None => Ok(Value::Null),
        }
    }

    /// What a GGUF file says of the `tokenizer.json` that it holds.
    pub(super) fn from_gguf(metadata: &Metadata) -> Result<Settings, TokenizerError> {
        let added = match metadata.value(key::ADDED) {
            Some(MetadataValue::String(text)) => Some(parse_json(text.as_bytes(), key::ADDED)?),
            _ => None,
        };
        let id = |name: &str| token_id(metadata, name, limits::TOKENS);
        let ids = |name: &str| token_ids(metadata, name, limits::TOKENS);
        let adds = |name: &str| truth(metadata, name);
        Ok(Settings {
            // Files of other programs have no lists.
            adds_bos: adds(key::ADD_BOS)?.filter(|_| metadata.value(key::PREFIX).is_none()),
            adds_eos: adds(key::ADD_EOS)?.filter(|_| metadata.value(key::SUFFIX).is_none()),
            splits_special: adds(key::SPLITS_SPECIAL)?.unwrap_or(false),
            gguf: Some(GgufSettings {
                added,
                prefix: ids(key::PREFIX)?,
                suffix: ids(key::SUFFIX)?,
                ends: ids(key::ENDS)?,
                bos: id(key::BOS)?,
                eos: id(key::EOS)?,
                mask: id(key::MASK)?,
            }),
            ..Settings::default()
        })
    }

    /// Takes the special tokens by their roles, each from the first that names it.
    fn names_roles(&mut self, said: &[&Value]) {
        for role in ROLES {
            let mut said = said.iter().filter_map(|said| said.get(*role));
            if let Some(token) = said.find_map(special_token) {
                self.push(role, token);
            }
        }
    }

    fn push(&mut self, role: &'static str, token: AddedTokenJson) {
        self.named.insert(token.content.clone());
        self.special.push((role, token));
    }

    /// Takes the special tokens that have no role.
    fn names_more(&mut self, said: &[&Value]) {
        let keys = ["additional_special_tokens", "extra_special_tokens"];
        for value in said.iter().flat_map(|said| keys.map(|key| said.get(key))) {
            let more: Vec<AddedTokenJson> = match value {
                Some(Value::Array(tokens)) => tokens.iter().filter_map(special_token).collect(),
                Some(Value::Object(tokens)) => tokens.values().filter_map(special_token).collect(),
                _ => continue,
            };
            for token in more {
                self.push("additional_special_tokens", token);
            }
        }
    }

    /// `added_tokens.json`: what was there before `added_tokens_decoder`.
    fn older_list(&self, bytes: &[u8]) -> Result<Vec<AddedTokenJson>, TokenizerError> {
        let ids: BTreeMap<String, u32> = parse_json(bytes, "added_tokens.json")?;
        let tokens = ids.into_iter().map(|(name, id)| {
            let is_special = self.is_named(&name);
            AddedTokenJson {
                normalized: Some(!is_special),
                special: is_special,
                ..AddedTokenJson::special(id, name)
            }
        });
        Ok(tokens.collect())
    }

    /// The special token with this role.
    pub(super) fn named(&self, role: &str) -> Option<&AddedTokenJson> {
        let mut special = self.special.iter();
        special
            .find(|(other, _)| *other == role)
            .map(|(_, token)| token)
    }

    /// Names a token where the files do not.
    pub(super) fn unsaid(&mut self, role: &'static str, name: &str) {
        if self.named(role).is_none() {
            let token = AddedTokenJson::special(0, name.to_string());
            self.push(role, token);
        }
    }

    /// Names tokens where the files do not.
    pub(super) fn all_unsaid(&mut self, roles: &[(&'static str, &str)]) {
        for (role, name) in roles {
            self.unsaid(role, name);
        }
    }

    /// How a special piece of a SentencePiece model is searched for.
    pub(super) fn special_piece(&self, text: &[u8], id: u32) -> Added {
        let is_mask = core::str::from_utf8(text).is_ok_and(|text| self.is_mask(text));
        let is_it = |token: &&AddedTokenJson| is_mask && token.content.as_bytes() == text;
        let listed = self.added.iter().find(is_it);
        let said = listed.or_else(|| self.special().find(is_it));
        Added {
            strips_left: said.is_some_and(|token| token.lstrip),
            strips_right: said.is_some_and(|token| token.rstrip),
            ..Added::plain(text, id, !is_mask)
        }
    }

    /// Lets a token that the files only name take the white space before it.
    pub(super) fn strips_left(&mut self, role: &str) {
        let named = self.special.iter_mut().find(|(other, _)| *other == role);
        if let Some((_, token)) = named {
            token.lstrip = true;
        }
    }

    /// All special tokens that are named.
    pub(super) fn special(&self) -> impl Iterator<Item = &AddedTokenJson> {
        self.special.iter().map(|(_, token)| token)
    }

    fn is_named(&self, text: &str) -> bool {
        self.named.contains(text)
    }

    /// Whether this is the token that stands for a hidden one: it has a meaning in every text.
    fn is_mask(&self, text: &str) -> bool {
        match self.named("mask_token") {
            Some(token) => token.content == text,
            None => is_mask_name(text.as_bytes()),
        }
    }

    /// The kind of an added token: named ones are control tokens whatever else is said.
    pub(super) fn kind_of(&self, token: &AddedTokenJson) -> TokenKind {
        match token.special || self.is_named(&token.content) {
            true => TokenKind::Control,
            false => TokenKind::UserDefined,
        }
    }

    /// What the two kinds of file have in common, last.
    pub(super) fn finish(&self, mut tokenizer: Tokenizer) -> Result<Tokenizer, TokenizerError> {
        let [bos, eos, mask] = ["bos_token", "eos_token", "mask_token"].map(|role| {
            let token = self.named(role)?;
            tokenizer.token(&token.content)
        });
        let gguf = self.gguf.as_ref();
        let bos = bos.or(gguf.and_then(|gguf| gguf.bos)).or(tokenizer.bos);
        let eos = eos.or(gguf.and_then(|gguf| gguf.eos)).or(tokenizer.eos);
        let mask = mask.or(gguf.and_then(|gguf| gguf.mask));
        let wanted = |said: Option<bool>, id: Option<u32>, what: &str| match (said, id) {
            (Some(true), None) => Err(failure!(
                Missing,
                "tokenizer_config.json: add_{what}_token is true, but {what}_token names no \
                 token of the vocabulary"
            )),
            (Some(true), Some(id)) => Ok(Some(vec![id])),
            (Some(false), _) => Ok(Some(Vec::new())),
            (None, _) => Ok(None),
        };
        if let Some(prefix) = wanted(self.adds_bos, bos, "bos")? {
            tokenizer.prefix = prefix;
        }
        if let Some(suffix) = wanted(self.adds_eos, eos, "eos")? {
            tokenizer.suffix = suffix;
        }
        if let Some(prefix) = gguf.and_then(|gguf| gguf.prefix.clone()) {
            tokenizer.prefix = prefix;
        }
        if let Some(suffix) = gguf.and_then(|gguf| gguf.suffix.clone()) {
            tokenizer.suffix = suffix;
        }
        for &id in tokenizer.prefix.iter().chain(&tokenizer.suffix) {
            if tokenizer.piece(id).is_none() {
                return Err(failure!(
                    Malformed,
                    "{JSON} post_processor adds token {id}, which is not in the vocabulary"
                ));
            }
        }
        let listed = eos.into_iter().chain(self.ends.iter().copied());
        tokenizer.mask = mask.or(tokenizer.mask).or_else(|| {
            let mut named = ["[MASK]", "<mask>"].into_iter();
            named.find_map(|name| tokenizer.vocabulary.find_control(name.as_bytes()))
        });
        tokenizer.end_tokens = match gguf.and_then(|gguf| gguf.ends.clone()) {
            Some(ends) => ends,
            None => end_of_generation::tokens(&tokenizer.vocabulary, listed),
        };
        tokenizer.splits_special = self.splits_special;
        tokenizer.eos = eos;
        tokenizer.bos = bos.or(match tokenizer.prefix.as_slice() {
            [only] => Some(*only),
            _ => None,
        });
        Ok(tokenizer)
    }
}

/// A special token: a name, or an object that says how it is matched.
fn special_token(value: &Value) -> Option<AddedTokenJson> {
    match value {
        Value::String(name) => Some(AddedTokenJson::special(0, name.clone())),
        Value::Object(_) => {
            let token: AddedTokenJson = serde::Deserialize::deserialize(value).ok()?;
            let normalized = token.normalized.or(Some(false));
            Some(AddedTokenJson {
                normalized,
                special: true,
                ..token
            })
        }
        _ => None,
    }
}

/// The tokens that a configuration says end a text, if it says; those of the model that writes,
/// where it describes several. Negative ids stand for none.
fn end_tokens(bytes: &[u8], file: &str) -> Result<Option<Vec<u32>>, TokenizerError> {
    const KEY: &str = "eos_token_id";
    let config = parse_tree(&without_python_numbers(bytes), file)?;
    let said = |config: &Value| config.get(KEY).filter(|value| !value.is_null()).cloned();
    let nested = || config.get("text_config").and_then(said);
    let ids = match said(&config).or_else(nested) {
        None => return Ok(None),
        Some(Value::Array(ids)) => ids,
        Some(id) => vec![id],
    };
    let ids = ids.iter().filter(|id| id.as_i64().is_none_or(|id| id >= 0));
    let ids = ids.map(|id| {
        hf_component::id_of(id)
            .ok_or_else(|| failure!(Malformed, "{file}: {KEY} has {id}, expected token ids"))
    });
    ids.collect::<Result<_, _>>().map(Some)
}

/// How the added token is searched for, written as `text`.
pub(super) fn added_token(
    settings: &Settings,
    token: &AddedTokenJson,
    text: &str,
) -> Result<Added, TokenizerError> {
    let is_mask = settings.is_mask(&token.content);
    if text.len() > limits::SEARCHED_LEN {
        return Err(failure!(
            Limit,
            "{JSON} added token {} has {} bytes, expected at most {}",
            token.id,
            text.len(),
            limits::SEARCHED_LEN
        ));
    }
    Ok(Added {
        text: text.as_bytes().to_vec(),
        id: token.id,
        is_control: settings.kind_of(token).is_control() && (!is_mask || settings.splits_special),
        strips_left: token.lstrip,
        strips_right: token.rstrip,
        is_word: token.single_word,
    })
}

/// As [`parse_json`], of a text that may be of any kind.
pub(super) fn parse_tree(bytes: &[u8], file: &str) -> Result<Value, TokenizerError> {
    parse_json::<JsonTree>(bytes, file).map(|tree| tree.0)
}

pub(super) fn parse_json<'a, T: serde::Deserialize<'a>>(
    bytes: &'a [u8],
    file: &str,
) -> Result<T, TokenizerError> {
    match other_text(bytes) {
        Some(what) => Err(failure!(Malformed, "{file}: {what}")),
        None => {
            serde_json::from_slice(bytes).map_err(|error| failure!(Malformed, "{file}: {error}"))
        }
    }
}
