//! A folder's GGUF file does what the folder does.

use super::{expected, folder, open, options, texts, written};
use crate::support::folder::TempFolder;
use rillm::Model;
use rillm::tasks::{Classifier, ClassifyOptions, EmbedOptions, Embedder, RerankOptions, Reranker};

#[test]
fn labels_and_scores_are_kept() {
    let texts = texts(&expected("classify"), "texts");
    let out = TempFolder::new("tasks-gguf");
    let file = out.join("classify.gguf");
    written(&folder("classify"), "f16", &file);
    let scored = |model: &Model| {
        let mut classifier = Classifier::new(model, ClassifyOptions::default()).unwrap();
        assert_eq!(classifier.max_length(), 48);
        classifier.classify(&texts).unwrap()
    };
    assert_eq!(scored(&open(&file)), scored(&open(&folder("classify"))));
}

#[test]
fn prompts_pooling_and_lengths_are_kept() {
    let texts = texts(&expected("embed"), "texts");
    let out = TempFolder::new("tasks-gguf");
    let file = out.join("embed.gguf");
    written(&folder("embed"), "f16", &file);
    let vectors = |model: &Model| {
        let mut embedder = Embedder::new(model, EmbedOptions::default()).unwrap();
        assert_eq!(embedder.max_seq_length(), 24);
        embedder.encode_query(&texts).unwrap()
    };
    let of_folder = Model::open(folder("embed"), options()).unwrap();
    assert_eq!(vectors(&open(&file)), vectors(&of_folder));
    // What its vectors go through is not rounded with the rest.
    let small = out.join("small.gguf");
    written(&file, "q8_0", &small);
    let matrix = |path: &std::path::Path| {
        let model = open(path);
        let tensors = &model.manifest().tensors;
        let dense = &tensors["sentence_transformers.2_Dense.linear.weight"];
        (dense.dtype, dense.shape.clone())
    };
    assert_eq!(matrix(&small), matrix(&file));
    vectors(&open(&small));
}

#[test]
fn decoders_embed_and_rank_from_their_files_as_well() {
    let out = TempFolder::new("tasks-gguf");
    let file = out.join("decoder.gguf");
    written(&folder("embed_last"), "f16", &file);
    let vectors = |path: &std::path::Path| {
        let model = Model::open(path, options().headless(true)).unwrap();
        let mut embedder = Embedder::new(&model, EmbedOptions::default()).unwrap();
        embedder.encode_query(&["the king"]).unwrap().remove(0)
    };
    let (of_file, of_folder) = (vectors(&file), vectors(&folder("embed_last")));
    for (a, b) in of_file.iter().zip(&of_folder) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
    written(&folder("rerank_asked"), "f16", &file);
    let scores = |path: &std::path::Path| {
        let mut reranker = Reranker::new(&open(path), RerankOptions::default()).unwrap();
        reranker.predict(&[("who", "the king")]).unwrap()[0]
    };
    assert!((scores(&file) - scores(&folder("rerank_asked"))).abs() < 1e-6);
}

#[test]
fn models_with_heads_embed_from_their_files_as_well() {
    let out = TempFolder::new("tasks-gguf");
    let file = out.join("headed.gguf");
    let vectors = |path: &std::path::Path| {
        let model = Model::open(path, options().headless(true)).unwrap();
        let options = EmbedOptions::default().normalize_embeddings(true);
        let mut embedder = Embedder::new(&model, options).unwrap();
        embedder.encode(&["the king"]).unwrap().remove(0)
    };
    for name in ["fill-mask", "classify", "rerank", "tag", "answer"] {
        written(&folder(name), "f16", &file);
        let (of_file, of_folder) = (vectors(&file), vectors(&folder(name)));
        assert_eq!(of_file.len(), of_folder.len());
        for (a, b) in of_file.iter().zip(&of_folder) {
            assert!((a - b).abs() < 1e-6, "{name}: {a} {b}");
        }
    }
}
