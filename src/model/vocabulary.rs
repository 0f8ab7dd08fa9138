//! The tokenizer that stands beside the weights.

use crate::error::{LoadError, LoadErrorKind};
use crate::weights::{Files, TokenizerFiles};
use rillm_formats::manifest::{Container, Manifest};
use rillm_formats::tokenizer::{HfFiles, Tokenizer};

impl Files {
    /// The tokenizer, whether or not there are weights or an architecture that is known.
    ///
    /// # Errors
    /// The files hold none, or one that cannot be used.
    pub fn tokenizer(&self) -> Result<Tokenizer, LoadError> {
        open_tokenizer(&self.manifest, &self.tokenizer)?
            .ok_or_else(|| no_tokenizer(self.manifest.container))
    }
}

pub(super) fn no_tokenizer(container: Container) -> LoadError {
    let what = match container {
        Container::Gguf => {
            "model has no vocabulary, only token ids can be given to it (rillm eval)"
        }
        Container::HuggingFace => {
            "there is no tokenizer.json, nor another vocabulary (tokenizer.model, spiece.model, \
             vocab.json with merges.txt, vocab.txt, rwkv_vocab_*.txt), copy it from where the checkpoint came from; token ids alone can be run by rillm eval"
        }
    };
    LoadError::new(LoadErrorKind::Tokenizer, what)
}

/// The files that bear on text.
pub(crate) fn hf_files(files: &TokenizerFiles) -> HfFiles<'_> {
    HfFiles {
        tokenizer_json: files.tokenizer_json.as_deref(),
        tokenizer_model: files.tokenizer_model.as_deref(),
        source_spm: files.source_spm.as_deref(),
        target_vocab_json: files.target_vocab_json.as_deref(),
        vocab_json: files.vocab_json.as_deref(),
        merges_txt: files.merges_txt.as_deref(),
        vocab_txt: files.vocab_txt.as_deref(),
        added_tokens: files.added_tokens.as_deref(),
        rwkv_vocabulary: files.rwkv_vocabulary.as_deref(),
        tokenizer_config: files.tokenizer_config.as_deref(),
        generation_config: files.generation_config.as_deref(),
        special_tokens_map: files.special_tokens_map.as_deref(),
        config: files.config.as_deref(),
    }
}

pub(crate) fn open_tokenizer(
    manifest: &Manifest,
    files: &TokenizerFiles,
) -> Result<Option<Tokenizer>, LoadError> {
    let found = match manifest.container {
        Container::Gguf => Tokenizer::from_gguf(&manifest.metadata),
        Container::HuggingFace => Tokenizer::from_hf(hf_files(files)),
    };
    Ok(found?)
}
