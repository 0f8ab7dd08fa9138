//! What may stand before a checkpoint's names. A class with a head wraps the base model in a module
//! of its own, whose name the base model's own checkpoint lacks; classes that read images wrap it
//! once more. Which of them a checkpoint was saved from says nothing of what it computes.

use super::tables::HEADS;
use crate::graph::{Name, View};

/// Names of modules around a base model.
const WRAPPERS: &[&str] = &[
    // transformers' base models.
    "model.",
    "transformer.",
    "backbone.",
    "bert.",
    "roberta.",
    "data2vec_text.",
    "ernie.",
    "distilbert.",
    "electra.",
    "longformer.",
    "led.",
    "nomic_bert.",
    "mpnet.",
    "albert.",
    "deberta.",
    "roformer.",
    "gpt_neox.",
    "rwkv.",
    // Around the text's part of a model for images.
    "language_model.",
    "text_model.",
    "llm.",
    // Left over from training, from a merged adapter, from a collection of modules.
    "module.",
    "_orig_mod.",
    "base_model.",
    "0.",
    "auto_model.",
];

/// A checkpoint's name without the modules around the base model.
pub fn bare(name: &str) -> &str {
    let wrapper = |name: &str| WRAPPERS.iter().find(|it| name.starts_with(**it));
    let mut name = name;
    while let Some(wrapper) = wrapper(name) {
        name = &name[wrapper.len()..];
    }
    name
}

/// What the tables make of a checkpoint's name: the canonical one, the number of the part that it
/// is, and how it is stored. A name that no line spells so is the one that a line spells with other
/// modules around the base model.
pub fn canonical(names: &[&[Name]], name: &str) -> Option<(String, Option<u32>, View)> {
    let lines = || names.iter().copied().flatten();
    let spelled = lines().find_map(|line| Some((line.apply(name)?, line)));
    let found = spelled.or_else(|| {
        let name = bare(name);
        lines().find_map(|line| {
            let from = bare(line.from);
            Some((Name { from, ..*line }.apply(name)?, line))
        })
    });
    // What none of an architecture's own lines is about.
    let found = found.or_else(|| {
        let (mut heads, name) = (HEADS.iter(), bare(name));
        heads.find_map(|line| Some((line.apply(name)?, line)))
    });
    found.map(|((to, part), line)| (to, part, line.view))
}

/// The number of the layer that a checkpoint's tensor is a part of.
pub fn layer_of(names: &[&[Name]], name: &str) -> Option<usize> {
    let name = bare(name);
    names.iter().copied().flatten().find_map(|line| {
        let (begin, _) = bare(line.from).split_once("{i}.")?;
        let (number, _) = name.strip_prefix(begin)?.split_once('.')?;
        number.parse().ok()
    })
}
