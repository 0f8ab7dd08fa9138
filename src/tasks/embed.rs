//! A vector for each text, as sentence-transformers computes it.

use super::BATCH_TOKENS;
use super::modules::{Modules, normalize};
use super::pooling::{PooledText, Pooling};
use super::run::{TaskRunner, TokenInput, width_of};
use super::similar::Similarity;
use super::texts::{input, max_length, single};
use crate::error::{LoadError, LoadErrorKind, RunError};
use crate::graph::{ReadAt, RowSpace};
use crate::model::Model;
use crate::setters::setters;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The output that is pooled.
const OUTPUT: &str = "last_hidden_state";

/// How texts become vectors, where it is not to be as the model's files say. Names are those of
/// `SentenceTransformer.encode`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmbedOptions {
    /// What is put before each text; counts before `prompt_name`.
    pub prompt: Option<String>,
    /// Which of the model's prompts is put there.
    pub prompt_name: Option<String>,
    /// How tokens' vectors become the text's, instead of how the files say.
    pub pooling: Option<Pooling>,
    /// Whether vectors get the length 1, whatever the files say.
    pub normalize_embeddings: bool,
    /// How many dimensions are kept, of models that were trained for that.
    pub truncate_dim: Option<usize>,
    /// The most tokens of a text: what is beyond is cut off.
    pub max_seq_length: Option<usize>,
    /// Tokens that are run at a time.
    pub batch_tokens: Option<usize>,
}

setters! {
    EmbedOptions {
        prompt: impl Into<Option<String>>,
        prompt_name: impl Into<Option<String>>,
        pooling: impl Into<Option<Pooling>>,
        normalize_embeddings: bool,
        truncate_dim: impl Into<Option<usize>>,
        max_seq_length: impl Into<Option<usize>>,
        batch_tokens: impl Into<Option<usize>>,
    }
}

/// A model that turns texts into vectors: sentence-transformers' `SentenceTransformer`.
///
/// ```
/// use rillm::tasks::{EmbedOptions, Embedder, semantic_search};
/// use rillm::{Model, ModelOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let options = ModelOptions::default().headless(true);
/// let model = Model::open("tests/data/tasks/embed", options)?;
/// let mut embedder = Embedder::new(&model, EmbedOptions::default())?;
/// let texts = ["the king of Paris", "a small river", "Mary lives in London"];
/// let vectors = embedder.encode_document(&texts)?;
/// assert_eq!(vectors[0].len(), embedder.dimensions());
///
/// let query = &embedder.encode_query(&["who is the queen?"])?[0];
/// let nearest = semantic_search(query, &vectors, 1, embedder.similarity())[0];
/// println!("{} {:.2}", texts[nearest.corpus_id], nearest.score);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Embedder {
    runner: TaskRunner,
    modules: Modules,
    options: EmbedOptions,
    /// Of what the model gives for a token.
    width: usize,
    max_seq_length: usize,
    truncated: usize,
}

impl Embedder {
    /// A model whose output for each token is pooled, as `modules.json` says or by their mean.
    ///
    /// # Errors
    /// A model without such an output or without a tokenizer; files of sentence-transformers that
    /// are malformed or ask for what is not known; a prompt that they do not have.
    pub fn new(model: &Model, options: EmbedOptions) -> Result<Embedder, LoadError> {
        model.tokenizer()?;
        let width = width_of(model, OUTPUT, RowSpace::Source)?;
        let mut modules = Modules::of(model, width)?;
        if let Some(pooling) = options.pooling {
            if modules.poolings.len() > 1 && !modules.layers.is_empty() {
                let what = "its layers expect the pooling that its files say";
                return Err(LoadError::new(LoadErrorKind::Unsupported, what));
            }
            modules.poolings = vec![pooling];
        }
        if modules.poolings.is_empty() {
            let what = format!(
                "nothing says how this {}, which predicts tokens, embeds texts: choose a pooling, for \
                 most lasttoken",
                model.title()
            );
            return Err(LoadError::new(LoadErrorKind::Unsupported, what));
        }
        let last = modules.poolings == [Pooling::LastToken];
        let budget = options.batch_tokens.unwrap_or(BATCH_TOKENS);
        let asked = options.max_seq_length.or(modules.max_seq_length);
        let embedder = Embedder {
            runner: TaskRunner::new(model, budget, OUTPUT, RowSpace::Source)?
                .read_at(last.then_some(ReadAt::End)),
            // What its tables hold bounds what may be asked.
            max_seq_length: asked.unwrap_or(usize::MAX).min(max_length(model)),
            modules,
            options,
            width,
            truncated: 0,
        };
        embedder.prompt(None)?;
        let dimensions = embedder.layered(embedder.zeros()).len();
        if let Some(kept) = embedder.kept()
            && !(1..=dimensions).contains(&kept)
        {
            let file = match embedder.options.truncate_dim {
                Some(_) => "",
                None => "config_sentence_transformers.json: ",
            };
            let what = format!("{file}truncate_dim is {kept}, expected 1 to {dimensions}");
            return Err(LoadError::new(LoadErrorKind::Unsupported, what));
        }
        Ok(embedder)
    }

    /// The vectors of these texts, each after the prompt that the options or the files say.
    ///
    /// # Errors
    /// A text without tokens, and whatever [`Session::encode`](crate::Session::encode) refuses.
    pub fn encode<T: AsRef<str>>(&mut self, sentences: &[T]) -> Result<Vec<Vec<f32>>, RunError> {
        self.encode_after(sentences, None)
    }

    /// The same for questions: after the prompt named `query`, unless the options say another.
    ///
    /// # Errors
    /// As [`Embedder::encode`].
    pub fn encode_query<T: AsRef<str>>(
        &mut self,
        sentences: &[T],
    ) -> Result<Vec<Vec<f32>>, RunError> {
        self.encode_after(sentences, Some("query"))
    }

    /// The same for what is searched: after the prompt named `document`, unless the options say
    /// another.
    ///
    /// # Errors
    /// As [`Embedder::encode`].
    pub fn encode_document<T: AsRef<str>>(
        &mut self,
        sentences: &[T],
    ) -> Result<Vec<Vec<f32>>, RunError> {
        self.encode_after(sentences, Some("document"))
    }

    /// Dimensions of a vector.
    pub fn dimensions(&self) -> usize {
        self.finished(self.zeros()).len()
    }

    /// How the files say that its vectors are compared.
    pub fn similarity(&self) -> Similarity {
        self.modules.similarity
    }

    /// The most tokens of a text, those around it among them.
    pub fn max_seq_length(&self) -> usize {
        self.max_seq_length
    }

    /// How many texts were longer than that, and cut, so far.
    pub fn truncated(&self) -> usize {
        self.truncated
    }

    /// Counts the texts embedded so far, for whoever shows progress.
    pub fn progress(&self) -> Arc<AtomicU64> {
        self.runner.done()
    }

    fn encode_after<T: AsRef<str>>(
        &mut self,
        sentences: &[T],
        name: Option<&str>,
    ) -> Result<Vec<Vec<f32>>, RunError> {
        let model = self.runner.model().clone();
        let prompt = self.prompt(name).map_err(input)?;
        let first = match self.modules.includes_prompt || prompt.is_empty() {
            true => 0,
            false => self.prompt_len(&model, &prompt)?,
        };
        let mut inputs: Vec<TokenInput> = Vec::with_capacity(sentences.len());
        for sentence in sentences {
            let text = [&prompt, sentence.as_ref()].concat();
            let (input, is_cut) = single(&model, &self.written(&text), self.max_seq_length)?;
            self.truncated += usize::from(is_cut);
            inputs.push(input);
        }
        let pooled = || {
            let poolings = self.modules.poolings.iter();
            poolings
                .map(|pooling| PooledText::new(*pooling, first, self.width))
                .collect()
        };
        let mut texts: Vec<Vec<PooledText>> = inputs.iter().map(|_| pooled()).collect();
        self.runner.run(&inputs, &mut |output| {
            if output.name == OUTPUT {
                for pooled in &mut texts[output.input] {
                    pooled.push(output.token, output.values);
                }
            }
        })?;
        let vectors = texts.iter().map(|poolings| {
            let mut vector = Vec::with_capacity(self.width * poolings.len());
            poolings
                .iter()
                .for_each(|pooled| pooled.finish(&mut vector));
            self.finished(vector)
        });
        Ok(vectors.collect())
    }

    /// What is put before texts that have this prompt by themselves.
    fn prompt(&self, name: Option<&str>) -> Result<String, LoadError> {
        if let Some(prompt) = &self.options.prompt {
            return Ok(prompt.clone());
        }
        let named = self.options.prompt_name.as_deref().or(name);
        let Some(name) = named.or(self.modules.default_prompt_name.as_deref()) else {
            return Ok(String::new());
        };
        let prompts = &self.modules.prompts;
        prompts.get(name).cloned().ok_or_else(|| {
            let names: Vec<&str> = prompts.keys().map(String::as_str).collect();
            let what = format!(
                "there is no prompt {name:?}, the model has {}",
                names.join(", ")
            );
            LoadError::new(LoadErrorKind::Unsupported, what)
        })
    }

    /// A text as it is given to the tokenizer.
    fn written<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let text = text.trim();
        match self.modules.lowercases {
            true => Cow::Owned(text.to_lowercase()),
            false => Cow::Borrowed(text),
        }
    }

    /// The tokens of a prompt with what stands before it.
    fn prompt_len(&self, model: &Model, prompt: &str) -> Result<usize, RunError> {
        let (alone, _) = single(model, &self.written(prompt), self.max_seq_length)?;
        let tokenizer = model.tokenizer().map_err(input)?;
        let ends = alone.ids.last().is_some_and(|id| tokenizer.is_control(*id));
        Ok(alone.ids.len() - usize::from(ends))
    }

    /// A pooled vector that says nothing.
    fn zeros(&self) -> Vec<f32> {
        vec![0.0; self.width * self.modules.poolings.len()]
    }

    /// A pooled vector after the layers behind.
    fn layered(&self, mut vector: Vec<f32>) -> Vec<f32> {
        for layer in &self.modules.layers {
            layer.apply(&mut vector);
        }
        vector
    }

    /// How many dimensions the options or the files say to keep.
    fn kept(&self) -> Option<usize> {
        self.options.truncate_dim.or(self.modules.truncate_dim)
    }

    /// A pooled vector as it is handed out.
    fn finished(&self, pooled: Vec<f32>) -> Vec<f32> {
        let mut vector = self.layered(pooled);
        vector.truncate(self.kept().unwrap_or(usize::MAX));
        if self.options.normalize_embeddings {
            normalize(&mut vector);
        }
        vector
    }
}
