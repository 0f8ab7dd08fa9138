//! Options that say how texts are written, named as in transformers' `generate`.

use super::output::warn;
use clap::Args;
use rillm::generate::{EarlyStopping, GenerationConfig};

/// Beams and rules; what is not given is as `generation_config.json` says.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Beams and rules, by default the model's")]
pub struct RuleArguments {
    /// Beams of beam search; 1 goes on from one token to the next
    #[arg(long = "num-beams", visible_alias = "beams", alias = "beam-width", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    num_beams: Option<u16>,
    /// So many of the best texts that beam search finds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    num_return_sequences: Option<u16>,
    /// Divide a text's score by its length to this power: more makes longer texts
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = finite)]
    length_penalty: Option<f32>,
    /// Whether beam search stops when as many texts as beams are finished: true; false when no running
    /// one is better as it is; never while one could become so. Alone it means true
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = early_stopping)]
    early_stopping: Option<EarlyStopping>,
    /// Let no run of N tokens come twice; 0 for any
    #[arg(long, value_name = "N")]
    no_repeat_ngram_size: Option<usize>,
    /// Let no run of N tokens of the source, or of the prompt, come; 0 for any
    #[arg(long, value_name = "N")]
    encoder_no_repeat_ngram_size: Option<usize>,
    /// Make tokens that were written less likely by this factor; 1 does nothing
    #[arg(long, value_name = "X", value_parser = above_zero)]
    repetition_penalty: Option<f32>,
    /// Make tokens of the source, or of the prompt, likelier by this factor; 1 does nothing
    #[arg(long, value_name = "X", value_parser = above_zero)]
    encoder_repetition_penalty: Option<f32>,
    /// No end before so many tokens, with those that a text begins from
    #[arg(long, value_name = "N")]
    min_length: Option<usize>,
    /// No end before so many tokens are written
    #[arg(long, visible_alias = "min-predict", value_name = "N")]
    min_new_tokens: Option<usize>,
    /// Most tokens of a text, with those that it begins from
    #[arg(long, value_name = "N", conflicts_with = "predict")]
    max_length: Option<usize>,
    /// The token that the decoder begins from
    #[arg(long, value_name = "TOKEN")]
    decoder_start_token_id: Option<u32>,
    /// The first token of a text; of many translators, the language
    #[arg(long, value_name = "TOKEN")]
    forced_bos_token_id: Option<u32>,
    /// The last token of a text that is as long as it may become, or several
    #[arg(long, value_name = "TOKENS", value_parser = tokens)]
    forced_eos_token_id: Option<TokenList>,
    /// Tokens that are not written, as in 5,17
    #[arg(long, value_name = "TOKENS", value_parser = tokens)]
    suppress_tokens: Option<TokenList>,
    /// Tokens that are not written first
    #[arg(long, value_name = "TOKENS", value_parser = tokens)]
    begin_suppress_tokens: Option<TokenList>,
    /// Tokens that are not written one behind the other, as in 5,17; may be given several times
    #[arg(long, value_name = "TOKENS", value_parser = tokens)]
    bad_words_ids: Vec<TokenList>,
    /// From so many written tokens on make the end likelier by a factor with each, as in 20,1.2
    #[arg(long, value_name = "START,FACTOR", value_parser = decay)]
    exponential_decay_length_penalty: Option<(usize, f32)>,
    /// Make probabilities of the scores that these rules leave
    #[arg(long)]
    renormalize_logits: bool,
    /// Take what is not finite for the least or the largest number
    #[arg(long)]
    remove_invalid_values: bool,
}

/// How tokens are drawn; what is not given is as `generation_config.json` says.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Choice of tokens, by default the model's")]
pub struct DrawArguments {
    /// Draw tokens instead of taking the most likely ones
    #[arg(long)]
    do_sample: bool,
    /// Randomness
    #[arg(long, alias = "temp", value_name = "T", value_parser = above_zero)]
    temperature: Option<f32>,
    /// Keep so many of the most likely tokens; 0 keeps all
    #[arg(long, value_name = "N")]
    top_k: Option<usize>,
    /// Keep the most likely tokens that reach this probability together
    #[arg(long, value_name = "P", value_parser = share)]
    top_p: Option<f32>,
    /// Keep tokens with this share of the highest probability
    #[arg(long, value_name = "P", value_parser = share)]
    min_p: Option<f32>,
    /// Keep the tokens that surprise as expected, up to this probability
    #[arg(long, value_name = "P", value_parser = share)]
    typical_p: Option<f32>,
    /// Makes the choices repeatable
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// A list, which clap would otherwise take for an option given several times.
#[derive(Clone, Debug)]
struct TokenList(Vec<u32>);

impl RuleArguments {
    /// Whether none is given.
    pub fn are_silent(&self) -> bool {
        let unchanged = GenerationConfig::default();
        self.over(unchanged.clone()) == unchanged
    }

    /// The option that says what a text begins from, if one does.
    pub fn beginning(&self) -> Option<&'static str> {
        match (self.decoder_start_token_id, self.forced_bos_token_id) {
            (Some(_), _) => Some("--decoder-start-token-id"),
            (None, Some(_)) => Some("--forced-bos-token-id"),
            (None, None) => None,
        }
    }

    /// Names what does nothing in texts that are written like this, as the reference's warnings do.
    pub fn name_ineffective(&self, config: &GenerationConfig) {
        let of_beams = [
            ("--length-penalty", self.length_penalty.is_some()),
            ("--early-stopping", self.early_stopping.is_some()),
        ];
        for (name, is_given) in of_beams {
            if is_given && config.num_beams == 1 {
                warn(&format!(
                    "{name} does nothing without --num-beams, with more than 1"
                ));
            }
        }
        let lengths = [
            (
                "--min-length",
                self.min_length,
                "--max-length",
                self.max_length,
            ),
            (
                "--min-new-tokens",
                self.min_new_tokens,
                "the most that may be written",
                config.max_new_tokens,
            ),
        ];
        for (least, at_least, most, at_most) in lengths {
            if let (Some(at_least), Some(at_most)) = (at_least, at_most)
                && at_least > at_most
            {
                warn(&format!(
                    "{least} is {at_least}, above {most}, {at_most}: more than {at_most} are not written"
                ));
            }
        }
    }

    /// What the model's files say, where the options say nothing.
    pub fn over(&self, mut config: GenerationConfig) -> GenerationConfig {
        fn set<T: Clone>(given: &Option<T>, value: &mut T) {
            if let Some(given) = given {
                value.clone_from(given);
            }
        }
        if let Some(beams) = self.num_beams {
            config.num_beams = usize::from(beams);
            config.num_return_sequences = 1;
        }
        if let Some(texts) = self.num_return_sequences {
            config.num_return_sequences = usize::from(texts);
        }
        set(&self.length_penalty, &mut config.length_penalty);
        set(&self.early_stopping, &mut config.early_stopping);
        set(&self.no_repeat_ngram_size, &mut config.no_repeat_ngram_size);
        set(
            &self.encoder_no_repeat_ngram_size,
            &mut config.encoder_no_repeat_ngram_size,
        );
        set(&self.repetition_penalty, &mut config.repetition_penalty);
        set(
            &self.encoder_repetition_penalty,
            &mut config.encoder_repetition_penalty,
        );
        set(&self.min_length, &mut config.min_length);
        set(&self.min_new_tokens, &mut config.min_new_tokens);
        if self.max_length.is_some() {
            config.max_length = self.max_length;
            config.max_new_tokens = None;
        }
        config.decoder_start_token_id = self
            .decoder_start_token_id
            .or(config.decoder_start_token_id);
        config.forced_bos_token_id = self.forced_bos_token_id.or(config.forced_bos_token_id);
        let list = |given: &Option<TokenList>| given.as_ref().map(|tokens| tokens.0.clone());
        set(
            &list(&self.forced_eos_token_id),
            &mut config.forced_eos_token_id,
        );
        set(&list(&self.suppress_tokens), &mut config.suppress_tokens);
        set(
            &list(&self.begin_suppress_tokens),
            &mut config.begin_suppress_tokens,
        );
        if !self.bad_words_ids.is_empty() {
            let words = self.bad_words_ids.iter().map(|tokens| tokens.0.clone());
            config.bad_words_ids = words.collect();
        }
        config.exponential_decay_length_penalty = self
            .exponential_decay_length_penalty
            .or(config.exponential_decay_length_penalty);
        config.renormalize_logits |= self.renormalize_logits;
        config.remove_invalid_values |= self.remove_invalid_values;
        config
    }
}

impl DrawArguments {
    /// What the model's files say, where the options say nothing. A way to draw where the most likely
    /// token is taken is named.
    pub fn over(&self, mut config: GenerationConfig) -> GenerationConfig {
        config.do_sample |= self.do_sample;
        let shares = [
            ("--top-p", self.top_p, &mut config.top_p),
            ("--min-p", self.min_p, &mut config.min_p),
            ("--typical-p", self.typical_p, &mut config.typical_p),
            ("--temperature", self.temperature, &mut config.temperature),
        ];
        let mut given = self.top_k.map(|_| "--top-k");
        config.top_k = self.top_k.unwrap_or(config.top_k);
        for (name, share, value) in shares {
            if let Some(share) = share {
                given = Some(name);
                *value = share;
            }
        }
        if let Some(name) = given.filter(|_| !config.do_sample) {
            warn(&format!("{name} does nothing without --do-sample"));
        }
        config
    }
}

fn early_stopping(text: &str) -> Result<EarlyStopping, String> {
    match text {
        "true" => Ok(EarlyStopping::Always),
        "false" => Ok(EarlyStopping::Likely),
        "never" => Ok(EarlyStopping::Never),
        _ => Err("expected true, false or never".to_string()),
    }
}

fn tokens(text: &str) -> Result<TokenList, String> {
    let ids = text.split(',').map(|id| id.trim().parse());
    let ids: Result<Vec<u32>, _> = ids.collect();
    let wrong = |_| "expected tokens' ids with commas between them, as in 5,17".to_string();
    ids.map(TokenList).map_err(wrong)
}

fn decay(text: &str) -> Result<(usize, f32), String> {
    let parts = text.split_once(',');
    let parts = parts.and_then(|(start, factor)| {
        let factor = above_zero(factor.trim()).ok()?;
        Some((start.trim().parse().ok()?, factor))
    });
    parts.ok_or_else(|| "expected a count and a factor, as in 20,1.2".to_string())
}

fn finite(text: &str) -> Result<f32, String> {
    let number = text.parse::<f32>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| "expected a number".to_string())
}

fn above_zero(text: &str) -> Result<f32, String> {
    let number = finite(text).ok().filter(|&number| number > 0.0);
    number.ok_or_else(|| "expected a number above 0".to_string())
}

fn share(text: &str) -> Result<f32, String> {
    let number = finite(text).ok().filter(|it| (0.0..=1.0).contains(it));
    number.ok_or_else(|| "expected a number from 0 to 1".to_string())
}
