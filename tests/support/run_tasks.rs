//! Opens a folder that may be hostile for each task there is, and gives it texts. Uses nothing but the
//! library, so that the fuzz target shares it.

use std::fmt::Display;
use std::path::Path;

use rillm::generate::GenerationConfig;
use rillm::tasks::{
    AnswerOptions, Classifier, ClassifyOptions, EmbedOptions, Embedder, FillMaskOptions,
    MaskFiller, QuestionAnswerer, RerankOptions, Reranker, TagOptions, Tagger, TextToText,
    ZeroShotClassifier, ZeroShotOptions,
};
use rillm::{Model, ModelOptions, RunError};

use super::exercise::{external, one_line};
use super::open_folder::unpack;

/// Texts with and without what a vocabulary knows, a mask, and nothing.
const TEXTS: [&str; 4] = ["a a b", "a [MASK] <mask> a", "", "\u{e9} 12 \u{1f600}"];

/// A file may let a model write until its context is full, several times.
const TOKENS: usize = 8;

/// Writes the files into `folder`, which is empty, and opens it. Panics if there is a defect;
/// returns how many tasks it could be opened for.
pub fn run_tasks(bytes: &[u8], folder: &Path) -> usize {
    unpack(bytes, folder);
    let options = ModelOptions::default().threads(1);
    [options, options.headless(true)]
        .into_iter()
        .filter_map(|options| told(Model::open(folder, options)))
        .map(|model| tasks(&model))
        .sum()
}

/// What came out, once an error has said why not.
fn told<T, E: Display>(outcome: Result<T, E>) -> Option<T> {
    outcome.inspect_err(|error| one_line(error)).ok()
}

fn ran<T>(outcome: Result<T, RunError>) {
    if let Err(error) = outcome {
        external(&error);
    }
}

fn tasks(model: &Model) -> usize {
    let mut opened = 0;
    if let Some(mut embedder) = told(Embedder::new(model, EmbedOptions::default())) {
        opened += 1;
        ran(embedder.encode(&TEXTS));
        ran(embedder.encode_query(&TEXTS));
        ran(embedder.encode_document(&TEXTS));
    }
    if let Some(mut reranker) = told(Reranker::new(model, RerankOptions::default())) {
        opened += 1;
        ran(reranker.rank("a b", &TEXTS));
    }
    if let Some(mut classifier) = told(Classifier::new(model, ClassifyOptions::default())) {
        opened += 1;
        ran(classifier.classify(&TEXTS));
    }
    let entails = ZeroShotClassifier::new(model, ZeroShotOptions::default());
    if let Some(mut classifier) = told(entails) {
        opened += 1;
        ran(classifier.classify(&TEXTS, &["a", "b"]));
    }
    if let Some(mut tagger) = told(Tagger::new(model, TagOptions::default())) {
        opened += 1;
        ran(tagger.tag(&TEXTS));
    }
    if let Some(mut answerer) = told(QuestionAnswerer::new(model, AnswerOptions::default())) {
        opened += 1;
        ran(answerer.answer("a b", "b a a b a"));
    }
    if let Some(mut filler) = told(MaskFiller::new(model, FillMaskOptions::default())) {
        opened += 1;
        ran(filler.fill(&TEXTS));
    }
    let writers = [
        TextToText::summarizer(model),
        TextToText::translator(model, None, None),
        TextToText::translator(model, Some("en"), Some("de")),
    ];
    for mut writer in writers.into_iter().filter_map(told) {
        opened += 1;
        let config: GenerationConfig = writer.config().clone();
        writer.set_config(config.max_new_tokens(TOKENS));
        for text in TEXTS {
            ran(writer.write_several(text));
        }
    }
    opened
}
