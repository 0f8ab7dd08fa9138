//! The tokens with which an encoder–decoder's texts begin and end.

use super::GgufKeys;
use super::tables::keys;
use crate::graph::{BuildError, Builder, Forced, Key};
use rillm_formats::hf_config::HfConfig;
use rillm_formats::manifest::{Metadata, MetadataValue};

/// Where the tokens stand that begin and end what the decoder writes: in `generation_config.json`, else in
/// `config.json`. Classes have such tokens of their own, which transformers 5 does not hear.
pub(super) const BEGINNINGS: &[Key] = keys! {
    "generation.decoder_start_token_id" => "decoder_start_token_id",
    "generation.bos_token_id" => "decoder_start_token_id",
    "decoder_start_token_id" => "decoder_start_token_id",
    "bos_token_id" => "bos_token_id",
    "generation.forced_bos_token_id" => "forced_bos_token_id",
    "forced_bos_token_id" => "forced_bos_token_id",
    "generation.forced_eos_token_id" => "forced_eos_token_id",
    "forced_eos_token_id" => "forced_eos_token_id",
};

/// Tokens that begin and end what the decoder writes; the first of all, `usual` if nothing is said, is the
/// result.
pub(super) fn begins_and_ends(
    model: &Builder<'_>,
    vocabulary: usize,
    usual: u32,
) -> Result<u32, BuildError> {
    let token = |key: &str| token(model, key, vocabulary);
    let said = token("decoder_start_token_id")?.or(token("bos_token_id")?);
    let start = said.unwrap_or(usual);
    if start as usize >= vocabulary {
        return Err(model.config().missing("decoder_start_token_id"));
    }
    model.decoder_start(start);
    model.forces(Forced {
        first: token("forced_bos_token_id")?,
        last: token("forced_eos_token_id")?,
    });
    Ok(start)
}

/// What a text must begin and end with, wherever it is said.
const FORCED: [&str; 2] = ["forced_bos_token_id", "forced_eos_token_id"];

/// How early versions said that a text begins with the beginning of all texts.
const BEGINS_AS_ALL: &str = "force_bos_token_to_be_generated";

/// Leaves what a text must begin and end with in one place: a `generation_config.json`, if there is one,
/// is the only one that says it.
pub fn forced_once(config: &mut HfConfig, generation: &Metadata) {
    let said = &mut config.metadata;
    let begins_as_all = said.bool(BEGINS_AS_ALL);
    if begins_as_all.is_some() {
        said.0.remove(BEGINS_AS_ALL);
    }
    if !generation.0.is_empty() {
        said.0.retain(|key, _| !FORCED.contains(&key.as_str()));
    } else if begins_as_all == Some(true) {
        let [first, _] = FORCED;
        match said.value("bos_token_id").cloned() {
            Some(begin) => said.0.insert(first.to_owned(), begin),
            None => said.0.remove(first),
        };
    }
}

/// Readers of GGUF want one number where configurations may list several, of which the least is
/// taken.
pub(super) fn single_tokens(keys: &mut GgufKeys<'_>) {
    for key in [
        "decoder_start_token_id",
        "forced_bos_token_id",
        "forced_eos_token_id",
    ] {
        if let Some(MetadataValue::Array(list)) = keys.values.value(key) {
            let least = (0..list.len()).filter_map(|index| list.u64(index)).min();
            let least = least.and_then(|id| u32::try_from(id).ok());
            keys.put(key, MetadataValue::U32(least.unwrap_or(0)));
        }
    }
}

/// A token of the decoder's vocabulary; absent is fine.
fn token(model: &Builder<'_>, key: &str, vocabulary: usize) -> Result<Option<u32>, BuildError> {
    let config = model.config();
    match config.token(key)? {
        Some(id) if id as usize >= vocabulary => {
            Err(config.invalid(key, "a token of the vocabulary"))
        }
        id => Ok(id),
    }
}
