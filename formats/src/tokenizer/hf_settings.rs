//! What the small files of a Hugging Face folder say of BOS, EOS, added and end-of-generation tokens.

use super::added::Added;
use super::error::{TokenizerError, failure};
use super::hf::JSON;
use super::json::AddedTokenJson;
use super::vocabulary::TokenKind;
use super::{HfFiles, Tokenizer, end_of_generation, hf_pipeline, limits};
use crate::json::without_python_numbers;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use serde_json::Value;

/// What `tokenizer_config.json`, `special_tokens_map.json`, `generation_config.json` and
/// `config.json` say.
#[derive(Default)]
pub(super) struct Settings {
    bos: Option<String>,
    eos: Option<String>,
    pub(super) adds_bos: Option<bool>,
    pub(super) adds_eos: Option<bool>,
    pub(super) added: Vec<AddedTokenJson>,
    ends: Vec<u32>,
}

impl Settings {
    pub(super) fn read(files: &HfFiles<'_>) -> Result<Settings, TokenizerError> {
        let mut settings = Settings::default();
        if let Some(bytes) = files.tokenizer_config {
            const FILE: &str = "tokenizer_config.json";
            let config: Value = parse_json(bytes, FILE)?;
            settings.names(&config);
            settings.adds_bos = config.get("add_bos_token").and_then(Value::as_bool);
            settings.adds_eos = config.get("add_eos_token").and_then(Value::as_bool);
            if let Some(Value::Object(tokens)) = config.get("added_tokens_decoder") {
                for (key, token) in tokens {
                    let id = key.parse::<u32>().ok();
                    let token = serde::Deserialize::deserialize(token).ok();
                    let Some((id, token)) = id.zip(token) else {
                        return Err(failure!(
                            Malformed,
                            "{FILE}: added_tokens_decoder has an entry that is no id and token"
                        ));
                    };
                    settings.added.push(AddedTokenJson { id, ..token });
                }
            }
        }
        if let Some(bytes) = files.special_tokens_map {
            let map: Value = parse_json(bytes, "special_tokens_map.json")?;
            settings.names(&map);
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

    /// Takes the names of BOS and EOS that are not known yet.
    fn names(&mut self, map: &Value) {
        // A name, or an object that says how the token is matched.
        let name = |key: &str| {
            let token = map.get(key)?;
            let name = token.as_str().or_else(|| token.get("content")?.as_str())?;
            Some(name.to_string())
        };
        self.bos = self.bos.take().or_else(|| name("bos_token"));
        self.eos = self.eos.take().or_else(|| name("eos_token"));
    }

    fn is_named(&self, text: &str) -> bool {
        [&self.bos, &self.eos]
            .into_iter()
            .any(|name| name.as_deref() == Some(text))
    }

    /// The kind of an added token: BOS and EOS are control tokens whatever else is said.
    pub(super) fn kind_of(&self, token: &AddedTokenJson) -> TokenKind {
        match token.special || self.is_named(&token.content) {
            true => TokenKind::Control,
            false => TokenKind::UserDefined,
        }
    }

    /// What the two kinds of file have in common, last.
    pub(super) fn finish(&self, mut tokenizer: Tokenizer) -> Result<Tokenizer, TokenizerError> {
        let find = |name: &Option<String>| name.as_deref().and_then(|name| tokenizer.token(name));
        let bos = find(&self.bos).or(tokenizer.bos);
        let eos = find(&self.eos).or(tokenizer.eos);
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
        for &id in tokenizer.prefix.iter().chain(&tokenizer.suffix) {
            if tokenizer.piece(id).is_none() {
                return Err(failure!(
                    Malformed,
                    "{JSON} post_processor adds token {id}, which is not in the vocabulary"
                ));
            }
        }
        let listed = eos.into_iter().chain(self.ends.iter().copied());
        tokenizer.end_tokens = end_of_generation::tokens(&tokenizer.vocabulary, listed);
        tokenizer.eos = eos;
        tokenizer.bos = bos.or(match tokenizer.prefix.as_slice() {
            [only] => Some(*only),
            _ => None,
        });
        Ok(tokenizer)
    }
}

/// The tokens that a configuration says end a text, if it says; those of the model that writes,
/// where it describes several. Negative ids stand for none.
fn end_tokens(bytes: &[u8], file: &str) -> Result<Option<Vec<u32>>, TokenizerError> {
    const KEY: &str = "eos_token_id";
    let config: Value = parse_json(&without_python_numbers(bytes), file)?;
    let said = |config: &Value| config.get(KEY).filter(|value| !value.is_null()).cloned();
    let nested = || config.get("text_config").and_then(said);
    let ids = match said(&config).or_else(nested) {
        None => return Ok(None),
        Some(Value::Array(ids)) => ids,
        Some(id) => vec![id],
    };
    let ids = ids
        .iter()
        .filter(|id| !id.as_i64().is_some_and(|id| id < 0));
    let ids = ids.map(|id| {
        hf_pipeline::id_of(id)
            .ok_or_else(|| failure!(Malformed, "{file}: {KEY} has {id}, expected token ids"))
    });
    ids.collect::<Result<_, _>>().map(Some)
}

pub(super) fn added_token(
    token: &AddedTokenJson,
    text: &str,
    kind: TokenKind,
) -> Result<Added, TokenizerError> {
    if text.len() > limits::ADDED_TOKEN_LEN {
        return Err(failure!(
            Limit,
            "{JSON} added token {} has {} bytes, expected at most {}",
            token.id,
            text.len(),
            limits::ADDED_TOKEN_LEN
        ));
    }
    Ok(Added {
        text: text.as_bytes().to_vec(),
        id: token.id,
        is_control: kind.is_control(),
        strips_left: token.lstrip,
        strips_right: token.rstrip,
        is_word: token.single_word,
    })
}

pub(super) fn parse_json<'a, T: serde::Deserialize<'a>>(
    bytes: &'a [u8],
    file: &str,
) -> Result<T, TokenizerError> {
    serde_json::from_slice(bytes).map_err(|error| failure!(Malformed, "{file}: {error}"))
}
