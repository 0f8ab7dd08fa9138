//! What a checkpoint says of how its texts are to be written: `generation_config.json`, or what an
//! older `config.json` says of it. Names and meanings are those of transformers' `GenerationConfig`.

use super::keys::GenerationKeys;
use crate::error::{LoadError, LoadErrorKind, RunError};
use crate::model::Model;
use crate::sample::{SampleOptions, SampleStage};
use crate::setters::setters;

/// When beam search has seen enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EarlyStopping {
    /// As soon as there are as many finished texts as beams.
    Always,
    /// When no running beam, as long as it is now, beats the worst finished text.
    #[default]
    Likely,
    /// When no running beam can beat the worst finished text at any length.
    Never,
}

/// How a model's texts are written.
///
/// ```
/// use rillm::generate::GenerationConfig;
/// use rillm::{Model, ModelOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = Model::open("assets/demo.gguf", ModelOptions::default())?;
/// let config = GenerationConfig::of(&model)?.num_beams(4usize).no_repeat_ngram_size(3usize);
/// assert_eq!(config.length_penalty, 1.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GenerationConfig {
    /// Beams of beam search; 1 is greedy.
    pub num_beams: usize,
    /// How many of the best texts beam search returns.
    pub num_return_sequences: usize,
    /// A finished text's score is Σ log p / lengthᵖ with this p.
    pub length_penalty: f32,
    /// When beam search ends.
    pub early_stopping: EarlyStopping,
    /// Whether tokens are drawn and not the most likely ones taken.
    pub do_sample: bool,
    /// Divides the logits of tokens that are drawn.
    pub temperature: f32,
    /// Of so many of the most likely tokens one is drawn; 0 for all.
    pub top_k: usize,
    /// Of the most likely tokens, whose probabilities reach this sum, one is drawn.
    pub top_p: f32,
    /// Of tokens with at least this share of the highest probability one is drawn.
    pub min_p: f32,
    /// Of the tokens whose surprise is nearest to the expected one, until their probabilities reach this
    /// sum, one is drawn.
    pub typical_p: f32,
    /// Most tokens of a text, with those that it begins from.
    pub max_length: Option<usize>,
    /// Most tokens that are written; goes before `max_length`.
    pub max_new_tokens: Option<usize>,
    /// No end before so many tokens, with those that it begins from.
    pub min_length: usize,
    /// No end before so many tokens are written.
    pub min_new_tokens: usize,
    /// No run of so many tokens comes twice; 0 for no such rule.
    pub no_repeat_ngram_size: usize,
    /// No run of so many tokens of the source comes at all; 0 for no such rule.
    pub encoder_no_repeat_ngram_size: usize,
    /// Scores of tokens that were written are divided by this if positive, else multiplied.
    pub repetition_penalty: f32,
    /// Scores of tokens of the source are multiplied by this if positive, else divided.
    pub encoder_repetition_penalty: f32,
    /// What is added to the score of a sequence's last token where the others stand before it.
    pub sequence_bias: Vec<(Vec<u32>, f32)>,
    /// Sequences of tokens that are not written.
    pub bad_words_ids: Vec<Vec<u32>>,
    /// Tokens that are not written.
    pub suppress_tokens: Vec<u32>,
    /// Tokens that are not written first.
    pub begin_suppress_tokens: Vec<u32>,
    /// What the decoder begins from, if it is not what the model's files say.
    pub decoder_start_token_id: Option<u32>,
    /// The first token of a text, whatever the model predicts: of many translators, the language.
    pub forced_bos_token_id: Option<u32>,
    /// The last tokens of a text that is as long as it may become.
    pub forced_eos_token_id: Vec<u32>,
    /// From so many written tokens on the end becomes likelier by this factor with each.
    pub exponential_decay_length_penalty: Option<(usize, f32)>,
    /// Take what is not finite for the least or the largest number.
    pub remove_invalid_values: bool,
    /// Make probabilities of the scores that these rules leave.
    pub renormalize_logits: bool,
}

impl Default for GenerationConfig {
    fn default() -> GenerationConfig {
        GenerationConfig {
            num_beams: 1,
            num_return_sequences: 1,
            length_penalty: 1.0,
            early_stopping: EarlyStopping::default(),
            do_sample: false,
            temperature: 1.0,
            top_k: 50,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            max_length: None,
            max_new_tokens: None,
            min_length: 0,
            min_new_tokens: 0,
            no_repeat_ngram_size: 0,
            encoder_no_repeat_ngram_size: 0,
            repetition_penalty: 1.0,
            encoder_repetition_penalty: 1.0,
            sequence_bias: Vec::new(),
            bad_words_ids: Vec::new(),
            suppress_tokens: Vec::new(),
            begin_suppress_tokens: Vec::new(),
            decoder_start_token_id: None,
            forced_bos_token_id: None,
            forced_eos_token_id: Vec::new(),
            exponential_decay_length_penalty: None,
            remove_invalid_values: false,
            renormalize_logits: false,
        }
    }
}

setters! {
    GenerationConfig {
        num_beams: usize,
        num_return_sequences: usize,
        length_penalty: f32,
        early_stopping: EarlyStopping,
        do_sample: bool,
        temperature: f32,
        top_k: usize,
        top_p: f32,
        min_p: f32,
        typical_p: f32,
        max_length: impl Into<Option<usize>>,
        max_new_tokens: impl Into<Option<usize>>,
        min_length: usize,
        min_new_tokens: usize,
        no_repeat_ngram_size: usize,
        encoder_no_repeat_ngram_size: usize,
        repetition_penalty: f32,
        encoder_repetition_penalty: f32,
        sequence_bias: Vec<(Vec<u32>, f32)>,
        bad_words_ids: Vec<Vec<u32>>,
        suppress_tokens: Vec<u32>,
        begin_suppress_tokens: Vec<u32>,
        decoder_start_token_id: impl Into<Option<u32>>,
        forced_bos_token_id: impl Into<Option<u32>>,
        forced_eos_token_id: Vec<u32>,
        exponential_decay_length_penalty: impl Into<Option<(usize, f32)>>,
        remove_invalid_values: bool,
        renormalize_logits: bool,
    }
}

/// Keys of other ways to write a text, and the values that leave them unused.
const OTHER_WAYS: &[(&str, f64)] = &[
    ("num_beam_groups", 1.0),
    ("diversity_penalty", 0.0),
    ("penalty_alpha", 0.0),
    ("guidance_scale", 1.0),
    ("token_healing", 0.0),
    ("watermarking_config", 0.0),
    ("constraints", 0.0),
    ("force_words_ids", 0.0),
    ("dola_layers", 0.0),
];

/// The same of ways to draw tokens.
const OTHER_DRAWS: &[(&str, f64)] = &[("epsilon_cutoff", 0.0), ("eta_cutoff", 0.0), ("top_h", 0.0)];

impl GenerationConfig {
    /// What the model's files say. Those without a `generation_config.json` may say it in
    /// `config.json`, as transformers before 4.26 did.
    ///
    /// # Errors
    /// A value of the wrong kind, or a way to write texts that is not known, by its key.
    pub fn of(model: &Model) -> Result<GenerationConfig, LoadError> {
        GenerationConfig::of_task(model, "")
    }

    /// The same for one of the tasks that `config.json` has `task_specific_params` for:
    /// `summarization`, `translation_en_to_de`.
    ///
    /// # Errors
    /// As [`GenerationConfig::of`].
    pub fn of_task(model: &Model, task: &str) -> Result<GenerationConfig, LoadError> {
        let said = GenerationKeys::of_task(&model.manifest().metadata, task);
        said.none_of(OTHER_WAYS)?;
        let mut config = GenerationConfig::default();
        said.count("num_beams", &mut config.num_beams)?;
        said.count("num_return_sequences", &mut config.num_return_sequences)?;
        said.float("length_penalty", &mut config.length_penalty)?;
        config.early_stopping = said.early_stopping()?;
        said.flag("do_sample", &mut config.do_sample)?;
        let mut drawn = config.clone();
        said.share("top_p", &mut drawn.top_p)?;
        said.share("min_p", &mut drawn.min_p)?;
        said.share("typical_p", &mut drawn.typical_p)?;
        said.count("top_k", &mut drawn.top_k)?;
        said.float("temperature", &mut drawn.temperature)?;
        if drawn.temperature < 0.0 || config.do_sample && drawn.temperature == 0.0 {
            return Err(said.bad("temperature", "a number above 0"));
        }
        if config.do_sample {
            said.none_of(OTHER_DRAWS)?;
            config = drawn;
        } else if config.num_return_sequences > config.num_beams.max(1) {
            return Err(said.bad("num_return_sequences", "at most num_beams"));
        }
        config.max_length = said.optional_count("max_length")?;
        config.max_new_tokens = said.optional_count("max_new_tokens")?;
        said.count("min_length", &mut config.min_length)?;
        said.count("min_new_tokens", &mut config.min_new_tokens)?;
        said.count("no_repeat_ngram_size", &mut config.no_repeat_ngram_size)?;
        let of_source = &mut config.encoder_no_repeat_ngram_size;
        said.count("encoder_no_repeat_ngram_size", of_source)?;
        said.float("repetition_penalty", &mut config.repetition_penalty)?;
        let of_source = &mut config.encoder_repetition_penalty;
        said.float("encoder_repetition_penalty", of_source)?;
        config.sequence_bias = said.biases()?;
        config.bad_words_ids = said.sequences("bad_words_ids")?;
        config.suppress_tokens = said.suppressed("suppress_tokens")?;
        config.begin_suppress_tokens = said.suppressed("begin_suppress_tokens")?;
        config.decoder_start_token_id = said.tokens("decoder_start_token_id")?.first().copied();
        config.forced_bos_token_id = said.tokens("forced_bos_token_id")?.first().copied();
        config.forced_eos_token_id = said.tokens("forced_eos_token_id")?;
        config.exponential_decay_length_penalty = said.decay()?;
        said.flag("remove_invalid_values", &mut config.remove_invalid_values)?;
        said.flag("renormalize_logits", &mut config.renormalize_logits)?;
        let vocabulary = model.limits().vocabulary;
        // transformers passes over those of these two that there are not, and over no others.
        for tokens in [
            &mut config.suppress_tokens,
            &mut config.begin_suppress_tokens,
        ] {
            tokens.retain(|&id| u64::from(id) < vocabulary);
        }
        if let Some((key, token)) = config.beyond(vocabulary) {
            let key = said.full(key);
            let what = format!("key {key} names token {token}, expected one below {vocabulary}");
            return Err(LoadError::new(LoadErrorKind::Hyperparameter, what));
        }
        // GGUF files say these two under the architecture's name.
        let forced = model.forced();
        config.forced_bos_token_id = config.forced_bos_token_id.or(forced.first);
        if config.forced_eos_token_id.is_empty() {
            config.forced_eos_token_id = forced.last.into_iter().collect();
        }
        for (key, count) in [
            ("num_beams", config.num_beams),
            ("num_return_sequences", config.num_return_sequences),
        ] {
            if !(1..=MOST_BEAMS).contains(&count) {
                return Err(said.bad(key, &format!("1 to {MOST_BEAMS}")));
            }
        }
        for (key, penalty) in [
            ("repetition_penalty", config.repetition_penalty),
            (
                "encoder_repetition_penalty",
                config.encoder_repetition_penalty,
            ),
        ] {
            if penalty <= 0.0 {
                return Err(said.bad(key, "a number above 0"));
            }
        }
        // Files say lengths that nobody waits for; who asks for them may.
        let most = model.context().unwrap_or(0).max(LONGEST);
        for length in [&mut config.max_length, &mut config.max_new_tokens] {
            *length = length.map(|length| length.min(most));
        }
        Ok(config)
    }

    /// Whether the model has the tokens that are named here.
    ///
    /// # Errors
    /// The first that it has not, and by what it is named.
    pub fn check(&self, model: &Model) -> Result<(), RunError> {
        let vocabulary = model.limits().vocabulary;
        match self.beyond(vocabulary) {
            None => Ok(()),
            Some((key, token)) => Err(RunError::Input(format!(
                "{key} names token {token}, expected one below {vocabulary}"
            ))),
        }
    }

    /// A token that a vocabulary of this size does not have, and what names it.
    fn beyond(&self, vocabulary: u64) -> Option<(&'static str, u32)> {
        let lists = [
            (
                "decoder_start_token_id",
                self.decoder_start_token_id.as_slice(),
            ),
            ("forced_bos_token_id", self.forced_bos_token_id.as_slice()),
            ("forced_eos_token_id", &self.forced_eos_token_id),
            ("suppress_tokens", &self.suppress_tokens),
            ("begin_suppress_tokens", &self.begin_suppress_tokens),
        ];
        let words = self.bad_words_ids.iter();
        let words = words.map(|words| ("bad_words_ids", words.as_slice()));
        let biased = self.sequence_bias.iter();
        let biased = biased.map(|(sequence, _)| ("sequence_bias", sequence.as_slice()));
        lists
            .into_iter()
            .chain(words)
            .chain(biased)
            .find_map(|(key, tokens)| {
                let beyond = tokens.iter().find(|&&id| u64::from(id) >= vocabulary);
                beyond.map(|&token| (key, token))
            })
    }

    /// What of it changes the scores of tokens, if anything does: neither how long a text becomes, nor
    /// how it is searched for or drawn.
    pub fn rules(self) -> Option<GenerationConfig> {
        let usual = GenerationConfig::default();
        let rules = GenerationConfig {
            num_beams: usual.num_beams,
            num_return_sequences: usual.num_return_sequences,
            length_penalty: usual.length_penalty,
            early_stopping: usual.early_stopping,
            do_sample: usual.do_sample,
            temperature: usual.temperature,
            top_k: usual.top_k,
            top_p: usual.top_p,
            min_p: usual.min_p,
            typical_p: usual.typical_p,
            max_length: usual.max_length,
            max_new_tokens: usual.max_new_tokens,
            decoder_start_token_id: usual.decoder_start_token_id,
            ..self
        };
        (rules != usual).then_some(rules)
    }

    /// What of it holds where tokens are handed out one by one, and chosen by somebody's sampler: its
    /// rules, and of a model that writes texts for texts how long those become.
    pub fn token_by_token(self, model: &Model) -> Option<GenerationConfig> {
        match model.encodes() {
            false => self.rules(),
            true => Some(GenerationConfig {
                num_beams: 1,
                num_return_sequences: 1,
                do_sample: false,
                ..self
            }),
        }
    }

    /// How tokens are chosen: the most likely one is taken, or one is drawn.
    pub fn sampling(&self, seed: u64) -> SampleOptions {
        if !self.do_sample {
            return SampleOptions::greedy();
        }
        // In transformers' order; what it does not have does nothing unless it is asked for.
        let stages = [
            SampleStage::Penalties,
            SampleStage::Dry,
            SampleStage::Temperature,
            SampleStage::TopK,
            SampleStage::TopP,
            SampleStage::MinP,
            SampleStage::TypicalP,
            SampleStage::TopNSigma,
            SampleStage::Xtc,
        ];
        SampleOptions::unchanged(seed)
            .stages(stages)
            .temperature(self.temperature)
            .top_k(self.top_k)
            .top_p(self.top_p)
            .min_p(self.min_p)
            .typical_p(self.typical_p)
    }

    /// Most tokens to write behind a beginning of so many, if it says.
    pub fn longest(&self, beginning: usize) -> Option<usize> {
        let rest = |most: usize| most.saturating_sub(beginning);
        self.max_new_tokens.or(self.max_length.map(rest))
    }
}

/// Most texts that are searched for at a time because a file says so.
const MOST_BEAMS: usize = 256;

/// Tokens that are written at most because a file says so, of a model that was trained for fewer.
const LONGEST: usize = 4096;
