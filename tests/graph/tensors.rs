//! Tensors that are missing, misshapen or of a type nobody computes with: one line that names
//! the tensor.

use std::collections::BTreeSet;

use rillm::error::LoadErrorKind;
use rillm_formats::gguf::write::{TensorSpec, to_bytes};
use rillm_formats::manifest::{DType, Shape};

use crate::support::evaluate::{check_all, open, open_bytes, runnable};
use crate::support::exercise::exercise;
use crate::support::fixture::{Fixture, Weight};
use crate::support::survives::survives;
use crate::support::to_gguf::{Floats, Gguf};

/// Tensors that not every checkpoint has: without them a model opens and means another thing.
fn is_optional(name: &str) -> bool {
    name.ends_with(".bias")
        || name.ends_with(".compress.weight")
        || name.ends_with(".layer_output_scale.weight")
        || matches!(
            name,
            "output.weight"
                | "output.0.weight"
                // Sinusoids are worked out where no table of them is stored.
                | "enc.position_embd.weight"
                | "dec.position_embd.weight"
                | "position_freqs.weight"
                | "rope_freqs.weight"
                | "pooler.weight"
        )
}

/// Tensors of a file, one of every kind and shape: layers that are the same are read the same.
fn kinds(gguf: &Gguf) -> Vec<(&String, &Floats)> {
    let mut known = BTreeSet::new();
    let kind = |name: &str| -> Vec<String> {
        let parts = name.split('.').filter(|part| part.parse::<u32>().is_err());
        parts.map(str::to_owned).collect()
    };
    let tensors = gguf.tensors.iter();
    tensors
        .filter(|(name, floats)| known.insert((kind(name), &floats.shape)))
        .collect()
}

#[test]
fn a_missing_tensor_is_named() {
    for fixture in runnable() {
        let gguf = Gguf::of(&fixture);
        for (name, _) in kinds(&gguf) {
            let mut less = gguf.clone();
            less.tensors.remove(name);
            let label = format!("{} without {name}", fixture.name);
            match survives(&label, || open_bytes(less.bytes())) {
                None => {
                    // Layers without values make them of what keys are made of.
                    let of_keys = fixture.name == "gemma4" && name.ends_with(".attn_v.weight");
                    assert!(is_optional(name) || of_keys, "{label} opens");
                }
                // Of a pair whose weight is gone, the bias that is left may be named.
                Some(error) => {
                    let pair = name.strip_suffix("weight").unwrap_or(name);
                    // What is in one may stand apart: the first of its parts is missed.
                    let apart = pair.replace("attn_qkv.", "attn_q.");
                    let apart = apart.replace("ffn_gate_up_exps.", "ffn_gate_exps.");
                    let is_named = error.contains(pair) || error.contains(&apart);
                    assert!(is_named, "{label}: {error}");
                }
            }
        }
    }
}

/// Other extents of the same number of elements, and of fewer and more.
fn misshapen(floats: &Floats) -> Vec<Floats> {
    let shape = &floats.shape;
    let mut shapes = vec![shape.iter().rev().copied().collect::<Vec<_>>()];
    for axis in 0..shape.len() {
        for delta in [-1i64, 1] {
            let mut other = shape.clone();
            other[axis] = other[axis].saturating_add_signed(delta);
            shapes.push(other);
        }
    }
    shapes.push([shape.as_slice(), &[2]].concat());
    shapes.push(vec![1]);
    let of = |shape: Vec<u64>| {
        let count = shape.iter().product::<u64>() as usize;
        let values = floats.values.iter().copied().cycle().take(count).collect();
        Floats { shape, values }
    };
    let fits = |shape: &Vec<u64>| {
        let plain = |shape: &[u64]| -> Vec<u64> {
            shape
                .iter()
                .copied()
                .filter(|&extent| extent != 1)
                .collect()
        };
        shape.len() <= 4 && !shape.contains(&0) && plain(shape) != plain(&floats.shape)
    };
    shapes.into_iter().filter(fits).map(of).collect()
}

/// Tables may have any number of rows; that of the vocabulary must match its bias and head.
fn rows_are_free(name: &str) -> bool {
    matches!(
        name,
        "token_embd.weight"
            | "enc.token_embd.weight"
            | "dec.token_embd.weight"
            | "position_embd.weight"
            | "token_types.weight"
            | "task_types.weight"
            | "classifier.weight"
            | "cls.output.weight"
            | "per_layer_token_embd.weight"
    ) || name.ends_with(".laurel_l.weight")
}

#[test]
fn a_misshapen_tensor_is_named() {
    for fixture in runnable() {
        let gguf = Gguf::of(&fixture);
        for (name, floats) in kinds(&gguf) {
            for other in misshapen(floats) {
                let label = format!(
                    "{}: {name} {:?} for {:?}",
                    fixture.name, other.shape, floats.shape
                );
                let columns_kept = other.shape.last() == floats.shape.last();
                let mut wrong = gguf.clone();
                wrong.tensors.insert(name.clone(), other);
                match survives(&label, || open_bytes(wrong.bytes())) {
                    None => assert!(rows_are_free(name) && columns_kept, "{label} opens"),
                    // A table of other rows disagrees with what has a row per token.
                    Some(error) if rows_are_free(name) => {
                        assert!(error.contains("tensor "), "{label}: {error}")
                    }
                    // Of a pair whose weight is gone, the bias that is left may be named.
                    Some(error) => {
                        let pair = name.strip_suffix("weight").unwrap_or(name);
                        assert!(error.contains(pair), "{label}: {error}");
                    }
                }
            }
        }
    }
}

/// Every stored type for every kind of tensor: computed with or refused by name.
#[test]
fn a_type_without_arithmetic_is_named() {
    let fixture = Fixture::load("llama_tied");
    let gguf = Gguf::of(&fixture);
    for name in [
        "token_embd.weight",
        "blk.1.ffn_down.weight",
        "blk.0.attn_norm.weight",
    ] {
        for &dtype in DType::ALL {
            let zeros = |shape: &[u64], dtype: DType| {
                let columns = dtype.row_len(*shape.last()?)?;
                let rows: u64 = shape[..shape.len() - 1].iter().product();
                Some(vec![0; (rows * columns) as usize])
            };
            if zeros(&gguf.tensors[name].shape, dtype).is_none() {
                continue; // the writer refuses rows that are not whole blocks
            }
            let encoded: Vec<(TensorSpec, Vec<u8>)> = gguf
                .tensors
                .iter()
                .map(|(tensor, floats)| {
                    let dtype = if tensor == name { dtype } else { DType::F32 };
                    let spec = TensorSpec {
                        name: tensor.clone(),
                        dtype,
                        shape: Shape(floats.shape.clone()),
                    };
                    (spec, zeros(&floats.shape, dtype).unwrap())
                })
                .collect();
            let tensors: Vec<(TensorSpec, &[u8])> = encoded
                .iter()
                .map(|(spec, bytes)| (spec.clone(), bytes.as_slice()))
                .collect();
            let computed = matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
            match open_bytes(to_bytes(&gguf.metadata, &tensors).unwrap()) {
                Ok(model) => {
                    assert!(computed, "{name} as {}", dtype.name());
                    exercise(&model);
                }
                Err(error) => {
                    assert!(!computed, "{error}");
                    assert_eq!(error.kind(), LoadErrorKind::Unsupported);
                    let text = error.to_string();
                    assert!(text.contains(name) && text.contains(dtype.name()), "{text}");
                }
            }
        }
    }
}

/// GPT-2's matrices are stored turned round in a Hugging Face folder: a type without such a
/// kernel, or the wrong way round, says so.
#[test]
fn a_transposed_matrix_must_be_square_with_its_bias() {
    use rillm_formats::safetensors::write;
    let fixture = Fixture::load("gpt2");
    let folder = fixture.folder();
    for (turned, found) in [(false, true), (true, false)] {
        let weights = fixture.weights();
        let specs: Vec<TensorSpec> = weights
            .iter()
            .map(|weight| {
                let mut shape = weight.shape.clone();
                if turned && weight.name.ends_with("c_attn.weight") {
                    shape.reverse();
                }
                TensorSpec {
                    name: weight.name.clone(),
                    dtype: DType::F32,
                    shape: Shape(shape),
                }
            })
            .collect();
        let mut bytes = write::header(&specs).unwrap();
        bytes.extend(
            weights
                .iter()
                .flat_map(|w| &w.values)
                .flat_map(|v| v.to_le_bytes()),
        );
        std::fs::write(folder.join("model.safetensors"), bytes).unwrap();
        let opened = open(&folder);
        assert_eq!(opened.is_ok(), found);
        if let Err(error) = opened {
            assert!(
                error
                    .to_string()
                    .contains("c_attn.weight has shape [99, 33]"),
                "{error}"
            );
        }
    }
}

/// T5 with gates that its configuration does not know would compute another function.
#[test]
fn gates_nobody_asked_for_are_refused() {
    let fixture = Fixture::load("t5_gated");
    let folder = fixture.folder();
    let mut config = fixture.config();
    config["feed_forward_proj"] = "relu".into();
    config["is_gated_act"] = false.into();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let error = open(&folder).unwrap_err().to_string();
    assert!(
        error.contains("feed_forward_proj") && error.contains("enc.blk.0.ffn_gate"),
        "{error}"
    );
}

/// transformers saves a shared expert without one row where a configuration has none.
#[test]
fn a_tensor_without_elements_is_no_matter() {
    let fixture = Fixture::load("qwen3_moe");
    let opened = |rows: u64| {
        let more = Weight {
            name: "model.layers.0.mlp.shared_expert.up_proj.weight".to_string(),
            shape: vec![rows, 24],
            values: vec![0.5; rows as usize * 24],
        };
        open(&fixture.folder_with(&fixture.config(), vec![more]))
    };
    check_all(&fixture, &opened(0).expect("a model"));
    let error = opened(1).expect_err("a shared expert").to_string();
    assert!(error.contains("blk.0.ffn_up_shexp.weight"), "{error}");
}
