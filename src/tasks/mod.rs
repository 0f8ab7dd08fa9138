//! What encoders and encoder–decoders are used for: embedding, comparing, reranking, classifying,
//! translating.
//!
//! Each task is a struct that is opened over a [`Model`](crate::Model) and holds its working memory. What
//! its options, fields and defaults are called, and what they mean, is as in transformers'
//! pipelines and in sentence-transformers. Texts come by the slice: they are run longest first, as
//! many at a time as a budget of tokens holds, and none of that changes a bit of what comes out.
//!
//! | task | see |
//! |---|---|
//! | a vector for each text | [`Embedder`] |
//! | how near vectors are, and which of many are nearest | [`Similarity`], [`semantic_search`] |
//! | which of many texts answer a query best | [`Reranker`] |
//! | which of a model's labels fit a text | [`Classifier`] |
//! | which labels of one's own fit it | [`ZeroShotClassifier`] |
//! | which parts of a text are names, places … | [`Tagger`] |
//! | where in a text the answer to a question stands | [`QuestionAnswerer`] |
//! | how far two models agree in their order | [`rank_correlation`] |
//! | what may stand where a text has a mask | [`MaskFiller`] |
//! | a translation or a summary of a text | [`TextToText`] |
//!
//! A [`Model`](crate::Model) for embedding is opened
//! [headless](crate::ModelOptions::headless): a checkpoint that was trained to fill masks embeds as
//! well.

mod agreement;
mod answer;
mod classify;
mod dense;
mod embed;
mod fill_mask;
mod judge;
mod labels;
mod languages;
mod modules;
mod pooling;
mod rerank;
mod run;
mod settings;
mod similar;
mod tag;
mod text_to_text;
mod texts;

pub use agreement::rank_correlation;
pub use answer::{Answer, AnswerOptions, QuestionAnswerer};
pub use classify::{Classifier, ClassifyOptions, LabelScore, ZeroShotClassifier, ZeroShotOptions};
pub use embed::{EmbedOptions, Embedder};
pub use fill_mask::{FillMaskOptions, FilledMask, MaskFiller};
pub use labels::ScoreFunction;
pub use pooling::Pooling;
pub use rerank::{RerankOptions, Reranker};
pub use similar::{SearchHit, Similarity, semantic_search};
pub use tag::{AggregationStrategy, Entity, TagOptions, Tagger};
pub use text_to_text::{OutputText, TextToText};

/// Tokens that are run at a time, where nobody says: enough for every core to have work.
pub const BATCH_TOKENS: usize = 4096;
