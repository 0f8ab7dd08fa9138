//! A text for a text: translations and summaries, by models that encode one and write another.

use super::languages::{LanguageForm, Languages, check_pair};
use super::texts::{input, max_length};
use crate::error::{LoadError, LoadErrorKind, RunError};
use crate::generate::{GenerateOptions, GenerationConfig, Generator, beam_search, beam_sequences};
use crate::model::Model;
use crate::sample::Sampler;
use crate::session::{Session, SessionOptions};
use rillm_formats::tokenizer::{DecodeOptions, EncodeOptions, Tokenizer};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A text that a model wrote for another.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OutputText {
    /// The text.
    pub text: String,
    /// Tokens of the source, as the model took it.
    pub source_tokens: usize,
    /// Whether the source was longer.
    pub truncated: bool,
    /// Tokens of the text.
    pub tokens: usize,
    /// Σ log p / lengthᵖ, if it was found by beam search.
    pub score: Option<f32>,
}

/// Translates or summarizes: an encoder–decoder model, how its texts are written, and what it wants
/// around a source.
///
/// Beams, lengths and what may not be repeated are the model's own
/// ([`GenerationConfig::of_task`]), unless other ones are set.
///
/// ```no_run
/// use rillm::tasks::TextToText;
/// use rillm::{Model, ModelOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = Model::open("opus-mt-en-de", ModelOptions::default())?;
/// let mut translator = TextToText::translator(&model, None, None)?;
/// println!("{}", translator.write("The house is wonderful.")?.text);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TextToText {
    model: Model,
    config: GenerationConfig,
    /// Before each source.
    prefix: String,
    /// What stands for the source's language around it.
    source_language: Option<u32>,
    seed: u64,
    session: Option<Session>,
    /// Of whichever session there is.
    abort: Arc<AtomicBool>,
}

/// Tokens of a text where neither the model nor the user says how long it may become.
const USUAL_LENGTH: usize = 512;

/// Tokens of a source for which memory is set aside where that is bounded.
const USUAL_SOURCE: usize = 1024;

impl TextToText {
    /// Translates from one language to another, each as the model calls it or by its code (`de`,
    /// `de_DE`, `deu_Latn`); `None` for what the model takes by itself.
    ///
    /// # Errors
    /// A model that does not write texts for texts, a language that it does not know, or that it
    /// must be told.
    pub fn translator(
        model: &Model,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<TextToText, LoadError> {
        let task = match (from, to) {
            (Some(from), Some(to)) => format!("translation_{from}_to_{to}"),
            _ => String::new(),
        };
        let mut writer = TextToText::new(model, &task)?;
        let languages = Languages::of(model.tokenizer()?);
        if languages.is_empty() {
            check_pair(model, from, to)?;
            return Ok(writer);
        }
        let tokenizer = model.tokenizer()?;
        writer.source_language = from
            .map(|from| languages.token(tokenizer, from))
            .transpose()?;
        let Some(to) = to else {
            return match languages.is_marked_in(writer.config.forced_bos_token_id) {
                true => Ok(writer),
                false => Err(languages.unsaid(tokenizer)),
            };
        };
        let token = languages.token(tokenizer, to)?;
        match languages.form {
            // The decoder begins from it, or writes it first.
            LanguageForm::Around if languages.is_marked_in(model.decoder_start()) => {
                writer.config.decoder_start_token_id = Some(token);
            }
            LanguageForm::Around => writer.config.forced_bos_token_id = Some(token),
            LanguageForm::Before => {
                let piece = tokenizer.piece(token).unwrap_or_default();
                writer.prefix = format!("{} ", String::from_utf8_lossy(piece));
                writer.source_language = None;
            }
        }
        Ok(writer)
    }

    /// Summarizes.
    ///
    /// # Errors
    /// A model that does not write texts for texts.
    pub fn summarizer(model: &Model) -> Result<TextToText, LoadError> {
        TextToText::new(model, "summarization")
    }

    fn new(model: &Model, task: &str) -> Result<TextToText, LoadError> {
        if !(model.encodes() && model.decodes()) {
            let what = format!(
                "{} does not write texts for texts, encoder–decoder models do",
                model.title()
            );
            return Err(LoadError::new(LoadErrorKind::Unsupported, what));
        }
        let mut config = GenerationConfig::of_task(model, task)?;
        // Of its own accord a text does not end in its middle.
        if config.longest(1).is_none() {
            config.max_new_tokens = Some(model.context().unwrap_or(USUAL_LENGTH));
        }
        let metadata = &model.manifest().metadata;
        let of_task = metadata.str(&format!("task_specific_params.{task}.prefix"));
        let prefix = of_task.or(metadata.str("prefix")).unwrap_or_default();
        Ok(TextToText {
            model: model.clone(),
            config,
            prefix: prefix.to_owned(),
            source_language: None,
            seed: 0,
            session: None,
            abort: Arc::default(),
        })
    }

    /// A flag that ends the running call with [`RunError::Aborted`] soon after it is raised, as
    /// [`Session::abort_flag`] does.
    pub fn abort_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.abort)
    }

    /// How its texts are written.
    pub fn config(&self) -> &GenerationConfig {
        &self.config
    }

    /// Writes them another way.
    pub fn set_config(&mut self, config: GenerationConfig) {
        self.config = config;
    }

    /// What is drawn with, where tokens are drawn.
    pub fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
    }

    /// What is put before each source.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Puts something else before each source.
    pub fn set_prefix(&mut self, prefix: impl Into<String>) {
        self.prefix = prefix.into();
    }

    /// The text for a source; of a source that is too long, for its beginning.
    ///
    /// # Errors
    /// A source without tokens, options that contradict each other, memory that the system refuses.
    pub fn write(&mut self, source: &str) -> Result<OutputText, RunError> {
        let texts = self.write_several(source)?;
        texts.into_iter().next().ok_or(RunError::Panicked)
    }

    /// As many texts for a source as the configuration says
    /// ([`num_return_sequences`](GenerationConfig::num_return_sequences)): the best that beam search
    /// finds, the best first, or several that are drawn.
    ///
    /// # Errors
    /// As [`TextToText::write`].
    pub fn write_several(&mut self, source: &str) -> Result<Vec<OutputText>, RunError> {
        let model = self.model.clone();
        let tokenizer = model.tokenizer().map_err(input)?;
        let (ids, truncated) = self.source(tokenizer, source)?;
        let ends = tokenizer.end_tokens();
        let longest = self.config.longest(1).unwrap_or(USUAL_LENGTH);
        let seed = self.seed;
        let config = self.config.clone();
        let session = self.session(ids.len(), longest)?;
        let written: Vec<(Vec<u32>, Option<f32>)> = if config.num_beams > 1 {
            let on = &mut || ControlFlow::Continue(());
            let best = beam_search(session, &ids, &config, ends, on)?;
            let scored = best.into_iter().map(|best| (best.tokens, Some(best.score)));
            scored.collect()
        } else {
            check_draws(&config)?;
            let mut sampler =
                Sampler::new(config.sampling(seed), tokenizer.vocabulary_len(), longest);
            let options = GenerateOptions::default().end_tokens(ends).config(&config);
            let draws = (0..config.num_return_sequences).map(|_| {
                let written = Generator::new(session, &ids, options, &mut sampler)?;
                Ok((written.collect::<Result<_, RunError>>()?, None))
            });
            draws.collect::<Result<_, RunError>>()?
        };
        let options = DecodeOptions::default().skip_special(true);
        let text = |(tokens, score): (Vec<u32>, Option<f32>)| OutputText {
            text: tokenizer.decode_text(&tokens, options),
            source_tokens: ids.len(),
            truncated,
            tokens: tokens.len(),
            score,
        };
        Ok(written.into_iter().map(text).collect())
    }

    /// A source as the model takes it, and whether it was longer.
    fn source(&self, tokenizer: &Tokenizer, source: &str) -> Result<(Vec<u32>, bool), RunError> {
        let text = format!("{}{source}", self.prefix);
        // Of what stands before a source a part may be a control token.
        let special = self.prefix.len() > 1 && tokenizer.token(self.prefix.trim_end()).is_some();
        let options = EncodeOptions::default().parse_special(special);
        let body = tokenizer.encode(&text, options).map_err(input)?;
        let languages = Languages::of(tokenizer);
        let placed = |ids: &[u32]| -> Vec<u32> {
            let replaced = |id: &u32| match self.source_language {
                Some(language) if languages.has(*id) => language,
                _ => *id,
            };
            ids.iter().map(replaced).collect()
        };
        let (before, after) = (placed(tokenizer.prefix()), placed(tokenizer.suffix()));
        let room = max_length(&self.model).saturating_sub(before.len() + after.len());
        let kept = &body[..body.len().min(room)];
        Ok(([&before, kept, &after].concat(), kept.len() < body.len()))
    }

    /// A session for a source and a text of so many tokens.
    fn session(&mut self, source: usize, longest: usize) -> Result<&mut Session, RunError> {
        let sequences = match self.config.num_beams {
            0 | 1 => 1,
            beams => beam_sequences(beams),
        };
        let context = longest.saturating_add(1).min(SessionOptions::MOST);
        let fits = |session: &&mut Session| {
            let options = session.options();
            options.source >= source && options.sequences >= sequences && options.context >= context
        };
        if self.session.as_mut().filter(fits).is_none() {
            // What of the weights stays in a bounded memory is decided by the first session: it takes
            // what the longest of the usual sources needs.
            let usual = match self.model.memory() {
                Some(_) => max_length(&self.model).min(USUAL_SOURCE),
                None => 1,
            };
            let options = SessionOptions::default()
                .context(context)
                .sequences(sequences)
                .source(source.max(usual).next_power_of_two())
                .checkpoints(0);
            self.session = None;
            let mut session = Session::new(&self.model, options)?;
            session.set_abort_flag(Arc::clone(&self.abort));
            self.session = Some(session);
        }
        match &mut self.session {
            Some(session) => Ok(session),
            // It was just made.
            None => Err(RunError::Panicked),
        }
    }
}

/// Refuses several texts that would all be the same, and none.
fn check_draws(config: &GenerationConfig) -> Result<(), RunError> {
    if config.num_beams == 0 {
        let what = "num_beams is 0, expected at least 1";
        return Err(RunError::Input(what.to_owned()));
    }
    match config.num_return_sequences {
        1 => Ok(()),
        count if count > 1 && config.do_sample => Ok(()),
        count => Err(RunError::Input(format!(
            "num_return_sequences is {count}: beams find several texts, and draws do; the most likely \
             tokens are one"
        ))),
    }
}
