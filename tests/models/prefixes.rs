//! Names of tensors without the modules that wrap a model.

use rillm::internals::graph::Name;
use rillm::internals::models::{ARCHITECTURES, bare};

#[test]
fn wrappers_are_taken_off_and_nothing_else() {
    for (name, expected) in [
        (
            "model.layers.0.mlp.up_proj.weight",
            "layers.0.mlp.up_proj.weight",
        ),
        ("layers.0.mlp.up_proj.weight", "layers.0.mlp.up_proj.weight"),
        ("model.language_model.norm.weight", "norm.weight"),
        ("language_model.model.norm.weight", "norm.weight"),
        ("language_model.lm_head.weight", "lm_head.weight"),
        ("_orig_mod.transformer.h.1.ln_1.bias", "h.1.ln_1.bias"),
        (
            "0.auto_model.embeddings.LayerNorm.weight",
            "embeddings.LayerNorm.weight",
        ),
        (
            "model.vision_tower.layers.0.norm.weight",
            "vision_tower.layers.0.norm.weight",
        ),
        ("mtp.layers.0.norm.weight", "mtp.layers.0.norm.weight"),
        ("layers.0.model.x", "layers.0.model.x"),
    ] {
        assert_eq!(bare(name), expected);
    }
}

/// Or a name without its modules would mean one thing or another.
#[test]
fn lines_that_differ_in_modules_alone_mean_the_same() {
    for architecture in ARCHITECTURES {
        let mut lines: Vec<&Name> = Vec::new();
        for line in architecture.names.iter().copied().flatten() {
            // Of lines for one name the first counts.
            if lines.iter().all(|other| other.from != line.from) {
                lines.push(line);
            }
        }
        for (index, line) in lines.iter().enumerate() {
            for other in &lines[..index] {
                let facts = |line: &Name| (line.to, line.view, line.part);
                let same = bare(line.from) != bare(other.from) || facts(line) == facts(other);
                assert!(
                    same,
                    "{}: {} and {}",
                    architecture.title, line.from, other.from
                );
            }
        }
    }
}
