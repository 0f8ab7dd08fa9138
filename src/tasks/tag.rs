//! Labels for the parts of a text: names of people, of places.

use super::BATCH_TOKENS;
use super::labels::{labels, softmax};
use super::run::{TaskRunner, TokenInput, width_of};
use super::texts::{TextWindow, input, max_length, windows};
use crate::error::{LoadError, LoadErrorKind, RunError};
use crate::graph::RowSpace;
use crate::model::Model;
use crate::setters::setters;
use rillm_formats::tokenizer::{DecodeOptions, TokenOffset, Tokenizer, TokenizerKind};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The output that holds a number for each class.
const OUTPUT: &str = "logits";

/// How tokens become entities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AggregationStrategy {
    /// Not: each token is one.
    #[default]
    None,
    /// Neighbours of one label are one.
    Simple,
    /// So are neighbouring words, which have the label of their first token.
    First,
    /// So are neighbouring words, which have the label that their tokens have on average.
    Average,
    /// So are neighbouring words, which have the label of their surest token.
    Max,
}

impl AggregationStrategy {
    /// All of them.
    pub const ALL: [AggregationStrategy; 5] = [
        AggregationStrategy::None,
        AggregationStrategy::Simple,
        AggregationStrategy::First,
        AggregationStrategy::Average,
        AggregationStrategy::Max,
    ];

    /// transformers' name of it.
    pub fn name(self) -> &'static str {
        match self {
            AggregationStrategy::None => "none",
            AggregationStrategy::Simple => "simple",
            AggregationStrategy::First => "first",
            AggregationStrategy::Average => "average",
            AggregationStrategy::Max => "max",
        }
    }
}

impl fmt::Display for AggregationStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no strategy has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownStrategy(String);

impl fmt::Display for UnknownStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = AggregationStrategy::ALL.map(AggregationStrategy::name);
        let names = names.join(", ");
        write!(
            f,
            "there is no strategy {:?}, expected one of {names}",
            self.0
        )
    }
}

impl std::error::Error for UnknownStrategy {}

impl FromStr for AggregationStrategy {
    type Err = UnknownStrategy;

    fn from_str(name: &str) -> Result<AggregationStrategy, UnknownStrategy> {
        let mut all = AggregationStrategy::ALL.into_iter();
        let found = all.find(|strategy| strategy.name() == name);
        found.ok_or_else(|| UnknownStrategy(name.to_string()))
    }
}

/// How texts are tagged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TagOptions {
    /// How tokens become entities.
    pub aggregation_strategy: AggregationStrategy,
    /// Labels of what is no entity.
    pub ignore_labels: Vec<String>,
    /// Texts that are too long are read in windows, which have so many tokens in common; without it
    /// they are cut. Only for entities of several tokens.
    pub stride: Option<usize>,
    /// The most tokens of a text, or of a window.
    pub max_length: Option<usize>,
    /// Tokens that are run at a time.
    pub batch_tokens: Option<usize>,
}

impl Default for TagOptions {
    fn default() -> TagOptions {
        TagOptions {
            aggregation_strategy: AggregationStrategy::None,
            ignore_labels: vec!["O".to_string()],
            stride: None,
            max_length: None,
            batch_tokens: None,
        }
    }
}

setters! {
    TagOptions {
        aggregation_strategy: AggregationStrategy,
        ignore_labels: impl Into<Vec<String>>,
        stride: impl Into<Option<usize>>,
        max_length: impl Into<Option<usize>>,
        batch_tokens: impl Into<Option<usize>>,
    }
}

/// A part of a text that has a label.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Entity {
    /// Its label; of a group without `B-` and `I-` (transformers' `entity_group`).
    pub entity: String,
    /// How likely that is.
    pub score: f32,
    /// Of a single token, which of the text's it is, those around it counted.
    pub index: Option<usize>,
    /// Its tokens' text, which is not always what the text has.
    pub word: String,
    /// Its first byte in the text.
    pub start: usize,
    /// The byte behind its last.
    pub end: usize,
}

/// A model that labels tokens: transformers' `token-classification`.
///
/// ```
/// use rillm::tasks::{AggregationStrategy, TagOptions, Tagger};
/// use rillm::{Model, ModelOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = Model::open("tests/data/tasks/tag", ModelOptions::default())?;
/// let options = TagOptions::default().aggregation_strategy(AggregationStrategy::Simple);
/// let mut tagger = Tagger::new(&model, options)?;
/// let text = "Mary went to London";
/// for entity in &tagger.tag(&[text])?[0] {
///     println!("{} {:.2} {}", entity.entity, entity.score, &text[entity.start..entity.end]);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Tagger {
    runner: TaskRunner,
    labels: Vec<String>,
    options: TagOptions,
    max_length: usize,
    truncated: usize,
}

/// A token with its scores, or a word with those of its tokens.
#[derive(Clone, Debug)]
struct ScoredToken {
    places: Vec<TokenOffset>,
    scores: Vec<f32>,
    label: usize,
    score: f32,
    index: usize,
    start: usize,
    end: usize,
    is_subword: bool,
}

impl Tagger {
    /// A model with a logit of each token for each label.
    ///
    /// # Errors
    /// A model with other outputs, or without a tokenizer; a stride that leaves no room, or that is
    /// asked for without a strategy.
    pub fn new(model: &Model, options: TagOptions) -> Result<Tagger, LoadError> {
        let tokenizer = model.tokenizer()?;
        let count = width_of(model, OUTPUT, RowSpace::Source)?;
        let unfit = |what: String| LoadError::new(LoadErrorKind::Unsupported, what);
        if !model.encodes() {
            let what = format!(
                "{} predicts what comes next, it labels no tokens",
                model.title()
            );
            return Err(unfit(what));
        }
        let asked = options.max_length.unwrap_or(usize::MAX);
        let most = asked.min(max_length(model));
        let around = tokenizer.prefix().len() + tokenizer.suffix().len();
        if let Some(stride) = options.stride {
            if options.aggregation_strategy == AggregationStrategy::None {
                return Err(unfit(
                    "stride joins entities of windows, which needs another aggregation_strategy \
                     than none"
                        .to_string(),
                ));
            }
            if stride >= most.saturating_sub(around) {
                return Err(unfit(format!(
                    "stride is {stride}, expected fewer than the {} tokens of a window",
                    most.saturating_sub(around)
                )));
            }
        }
        let budget = options.batch_tokens.unwrap_or(BATCH_TOKENS);
        Ok(Tagger {
            runner: TaskRunner::new(model, budget, OUTPUT, RowSpace::Source)?,
            labels: labels(model, count)?,
            options,
            max_length: most,
            truncated: 0,
        })
    }

    /// The entities of each text, in its order.
    ///
    /// # Errors
    /// Whatever [`Session::encode`](crate::Session::encode) refuses.
    pub fn tag<T: AsRef<str>>(&mut self, texts: &[T]) -> Result<Vec<Vec<Entity>>, RunError> {
        let model = self.runner.model().clone();
        let tokenizer = model.tokenizer().map_err(input)?;
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        let mut parts: Vec<(usize, TextWindow)> = Vec::new();
        for (number, text) in texts.iter().enumerate() {
            let stride = self.options.stride;
            let mut found = windows(&model, text, self.max_length, stride.unwrap_or(0))?;
            if stride.is_none() {
                self.truncated += usize::from(found.len() > 1);
                found.truncate(1);
            }
            parts.extend(found.into_iter().map(|window| (number, window)));
        }
        let inputs: Vec<TokenInput> = parts.iter().map(|(_, one)| one.input.clone()).collect();
        let mut scored: Vec<Vec<ScoredToken>> = inputs.iter().map(|_| Vec::new()).collect();
        self.runner.run(&inputs, &mut |output| {
            let (number, window) = &parts[output.input];
            let Some(place) = window.places[output.token].filter(|_| output.name == OUTPUT) else {
                return;
            };
            let mut scores = output.values.to_vec();
            softmax(&mut scores);
            let (label, score) = likeliest(&scores);
            scored[output.input].push(ScoredToken {
                places: vec![place],
                scores,
                label,
                score,
                index: output.token,
                start: place.start,
                end: place.end,
                is_subword: is_subword(tokenizer, texts[*number], place),
            });
        })?;
        let mut entities: Vec<Vec<Entity>> = texts.iter().map(|_| Vec::new()).collect();
        let mut windows = vec![0usize; texts.len()];
        for ((number, _), scored) in parts.iter().zip(scored) {
            let text = texts[*number];
            let found = self.entities(tokenizer, text, scored);
            let ignored = &self.options.ignore_labels;
            let kept = found
                .into_iter()
                .filter(|one| !ignored.contains(&one.entity));
            entities[*number].extend(kept);
            windows[*number] += 1;
        }
        let all = entities.into_iter().zip(windows);
        let all = all.map(|(entities, windows)| match windows {
            0 | 1 => entities,
            _ => without_overlaps(entities),
        });
        Ok(all.collect())
    }

    /// Its labels, by their numbers.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The most tokens of a text or a window, those around it among them.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// How many texts were longer than that, and cut, so far.
    pub fn truncated(&self) -> usize {
        self.truncated
    }

    /// Counts the windows tagged so far, for whoever shows progress.
    pub fn progress(&self) -> Arc<AtomicU64> {
        self.runner.done()
    }

    fn entities(&self, tokenizer: &Tokenizer, text: &str, tokens: Vec<ScoredToken>) -> Vec<Entity> {
        let strategy = self.options.aggregation_strategy;
        match strategy {
            AggregationStrategy::None => {
                let entity = |token: ScoredToken| Entity {
                    entity: self.labels[token.label].clone(),
                    score: token.score,
                    index: Some(token.index),
                    word: word_of(tokenizer, text, token.places[0]),
                    start: token.start,
                    end: token.end,
                };
                tokens.into_iter().map(entity).collect()
            }
            AggregationStrategy::Simple => self.groups(tokenizer, text, tokens),
            _ => {
                let mut words: Vec<Vec<ScoredToken>> = Vec::new();
                for token in tokens {
                    match words.last_mut().filter(|_| token.is_subword) {
                        Some(word) => word.push(token),
                        None => words.push(vec![token]),
                    }
                }
                let words = words.into_iter().map(|tokens| word(tokens, strategy));
                self.groups(tokenizer, text, words.collect())
            }
        }
    }

    /// Neighbours of one label together, unless one begins anew.
    fn groups(&self, tokenizer: &Tokenizer, text: &str, parts: Vec<ScoredToken>) -> Vec<Entity> {
        let mut groups: Vec<Vec<ScoredToken>> = Vec::new();
        for part in parts {
            let (begins, tag) = tag_of(&self.labels[part.label]);
            let fits = |group: &&mut Vec<ScoredToken>| {
                let last = group.last().map(|last| tag_of(&self.labels[last.label]).1);
                !begins && last == Some(tag)
            };
            match groups.last_mut().filter(fits) {
                Some(group) => group.push(part),
                None => groups.push(vec![part]),
            }
        }
        let entities = groups.iter().map(|group| {
            let label = &self.labels[group[0].label];
            let scores = group.iter().map(|part| f64::from(part.score));
            Entity {
                entity: label
                    .split_once('-')
                    .map_or(label.as_str(), |(_, tag)| tag)
                    .to_string(),
                score: (scores.sum::<f64>() / group.len() as f64) as f32,
                index: None,
                word: words_of(tokenizer, text, group),
                start: group[0].start,
                end: group[group.len() - 1].end,
            }
        });
        entities.collect()
    }
}

/// Whether a label begins an entity, and of what kind that is.
fn tag_of(label: &str) -> (bool, &str) {
    match label.split_at_checked(2) {
        Some(("B-", tag)) => (true, tag),
        Some(("I-", tag)) => (false, tag),
        _ => (false, label),
    }
}

/// The first of the largest scores.
fn likeliest(scores: &[f32]) -> (usize, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (label, &score) in scores.iter().enumerate() {
        if score > best.1 {
            best = (label, score);
        }
    }
    best
}

/// A word of its tokens.
fn word(tokens: Vec<ScoredToken>, strategy: AggregationStrategy) -> ScoredToken {
    let scores = match strategy {
        AggregationStrategy::Max => {
            let mut surest = &tokens[0];
            for token in &tokens {
                if token.score > surest.score {
                    surest = token;
                }
            }
            surest.scores.clone()
        }
        AggregationStrategy::Average => {
            let mean = |label: usize| {
                let scores = tokens.iter().map(|token| f64::from(token.scores[label]));
                (scores.sum::<f64>() / tokens.len() as f64) as f32
            };
            (0..tokens[0].scores.len()).map(mean).collect()
        }
        _ => tokens[0].scores.clone(),
    };
    let (label, score) = likeliest(&scores);
    ScoredToken {
        places: tokens
            .iter()
            .flat_map(|token| token.places.clone())
            .collect(),
        scores,
        label,
        score,
        index: tokens[0].index,
        start: tokens[0].start,
        end: tokens[tokens.len() - 1].end,
        is_subword: false,
    }
}

/// Whether a token goes on with the word before it.
fn is_subword(tokenizer: &Tokenizer, text: &str, place: TokenOffset) -> bool {
    if tokenizer.unknown() == Some(place.id) {
        return false;
    }
    if tokenizer.kind() == TokenizerKind::WordPiece {
        let own = text.get(place.start..place.end).unwrap_or_default();
        return tokenizer.token_text(place.id).chars().count() != own.chars().count();
    }
    // Where tokens do not say it, words are what spaces stand between.
    let before = text
        .get(..place.start)
        .and_then(|text| text.chars().next_back());
    let first = text.get(place.start..).and_then(|text| text.chars().next());
    before.is_some_and(|before| before != ' ') && first != Some(' ')
}

/// A token as the vocabulary writes it; one that is unknown as the text does.
fn word_of(tokenizer: &Tokenizer, text: &str, place: TokenOffset) -> String {
    match tokenizer.unknown() == Some(place.id) {
        true => text
            .get(place.start..place.end)
            .unwrap_or_default()
            .to_string(),
        false => tokenizer.token_text(place.id),
    }
}

/// The text of several parts' tokens.
fn words_of(tokenizer: &Tokenizer, text: &str, parts: &[ScoredToken]) -> String {
    let places = || parts.iter().flat_map(|part| part.places.iter().copied());
    if places().all(|place| tokenizer.unknown() != Some(place.id)) {
        let ids: Vec<u32> = places().map(|place| place.id).collect();
        return tokenizer.decode_text(&ids, DecodeOptions::new());
    }
    let mut out = String::new();
    for piece in places().map(|place| word_of(tokenizer, text, place)) {
        let spaced = tokenizer.kind() == TokenizerKind::WordPiece && !out.is_empty();
        out.push_str(&match piece.strip_prefix("##").filter(|_| spaced) {
            Some(rest) => rest.to_string(),
            None if spaced => cleaned(&format!(" {piece}")),
            // SentencePiece's sign for a space.
            None => piece.replace('▁', " "),
        });
    }
    out.trim().to_string()
}

/// Without the spaces that English has not, as WordPiece's decoder takes them out.
fn cleaned(text: &str) -> String {
    const SPACED: [(&str, &str); 11] = [
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
    let mut text = text.to_string();
    for (spaced, plain) in SPACED {
        text = text.replace(spaced, plain);
    }
    text
}

/// Of entities that overlap, as those of neighbouring windows do, the longer, or the surer.
fn without_overlaps(mut entities: Vec<Entity>) -> Vec<Entity> {
    entities.sort_by_key(|entity| entity.start);
    let mut kept: Vec<Entity> = Vec::new();
    for entity in entities {
        match kept.last_mut() {
            Some(last) if last.start <= entity.start && entity.start < last.end => {
                let (len, last_len) = (entity.end - entity.start, last.end - last.start);
                if len > last_len || len == last_len && entity.score > last.score {
                    *last = entity;
                }
            }
            _ => kept.push(entity),
        }
    }
    kept
}
