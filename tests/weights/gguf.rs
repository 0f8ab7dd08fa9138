//! The same model from a GGUF file in memory, mapped, of another converter, split.

use std::fs;
use std::path::Path;

use rillm::error::LoadErrorKind;
use rillm_formats::gguf::write::{TensorSpec, to_bytes};
use rillm_formats::manifest::{DType, Metadata, MetadataValue, Shape};

use crate::support::evaluate::{all_outputs, check_all, open, open_bytes, runnable};
use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::support::to_gguf::{Floats, Gguf, encode};

#[test]
fn a_gguf_in_memory_computes_what_the_reference_does() {
    for fixture in runnable() {
        let model = open_bytes(Gguf::of(&fixture).bytes())
            .unwrap_or_else(|error| panic!("{}: {error}", fixture.name));
        check_all(&fixture, &model);
    }
}

/// Whatever this project's own converters have in common, this file has not: see its README.
#[test]
fn a_file_of_the_usual_converter_computes_what_the_reference_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bamba.gguf");
    let fixture = Fixture::load("bamba");
    let ours = Gguf::of(&fixture);
    let theirs = rillm::internals::weights::open(&path).unwrap();
    let names: Vec<&String> = theirs.manifest.tensors.keys().collect();
    assert_eq!(names, ours.tensors.keys().collect::<Vec<_>>());
    for (name, info) in &theirs.manifest.tensors {
        let floats = &ours.tensors[name];
        assert_eq!(
            (info.dtype, &info.shape.0),
            (DType::F32, &floats.shape),
            "{name}"
        );
        let range = info.range.start as usize..info.range.end as usize;
        let (stored, _) = theirs.sources[0].bytes()[range].as_chunks();
        for (&bytes, &value) in stored.iter().zip(&floats.values) {
            // A is an exponential, whose last bit is nobody's business.
            let error = (f32::from_le_bytes(bytes) - value).abs();
            assert!(error <= 1e-6 * value.abs(), "{name}");
        }
    }
    for key in [
        "rope.dimension_count",
        "attention.head_count",
        "ssm.inner_size",
    ] {
        let key = ours.key(key);
        let (ours, theirs) = (&ours.metadata, &theirs.manifest.metadata);
        assert_eq!(theirs.u64(&key), ours.u64(&key), "{key}");
    }
    check_all(&fixture, &open(&path).unwrap());
}

#[test]
fn a_mapped_gguf_is_the_gguf_in_memory() {
    let folder = TempFolder::new("mapped");
    for fixture in runnable() {
        let bytes = Gguf::of(&fixture).bytes();
        let path = folder.join(format!("{}.gguf", fixture.name));
        fs::write(&path, &bytes).unwrap();
        let (mapped, owned) = (open(&path).unwrap(), open_bytes(bytes).unwrap());
        assert_eq!(
            all_outputs(&fixture, &mapped),
            all_outputs(&fixture, &owned),
            "{}",
            fixture.name
        );
    }
}

/// A file of a split model: its number, how many there are, how many tensors in all.
fn split_keys(keys: &mut Metadata, number: u16, files: u16, tensors: usize) {
    let tensors = MetadataValue::I32(i32::try_from(tensors).unwrap());
    keys.0.insert("split.no".into(), MetadataValue::U16(number));
    keys.0
        .insert("split.count".into(), MetadataValue::U16(files));
    keys.0.insert("split.tensors.count".into(), tensors);
}

pub(crate) fn write_split(folder: &Path, gguf: &Gguf, files: u16) {
    let names: Vec<&String> = gguf.tensors.keys().collect();
    for number in 0..files {
        // Only the first file says what the model is.
        let mut keys = match number {
            0 => gguf.metadata.clone(),
            _ => Metadata::default(),
        };
        split_keys(&mut keys, number, files, names.len());
        let mine = names.iter().skip(number.into()).step_by(files.into());
        let encoded: Vec<(TensorSpec, Vec<u8>)> = mine
            .map(|name| {
                let floats = &gguf.tensors[*name];
                let spec = TensorSpec {
                    name: (*name).clone(),
                    dtype: DType::F32,
                    shape: Shape(floats.shape.clone()),
                };
                (spec, encode(DType::F32, floats))
            })
            .collect();
        let tensors: Vec<(TensorSpec, &[u8])> = encoded
            .iter()
            .map(|(spec, bytes)| (spec.clone(), bytes.as_slice()))
            .collect();
        let path = folder.join(format!("model-{:05}-of-{files:05}.gguf", number + 1));
        fs::write(path, to_bytes(&keys, &tensors).unwrap()).unwrap();
    }
}

#[test]
fn a_split_gguf_is_the_whole_one() {
    for name in ["gpt2", "mixtral", "t5"] {
        let fixture = Fixture::load(name);
        let gguf = Gguf::of(&fixture);
        let folder = TempFolder::new("split");
        write_split(&folder, &gguf, 3);
        let split = open(&folder.join("model-00001-of-00003.gguf")).unwrap();
        let whole = open_bytes(gguf.bytes()).unwrap();
        assert_eq!(
            split.manifest().tensors.values().map(|t| t.file).max(),
            Some(2)
        );
        assert_eq!(all_outputs(&fixture, &split), all_outputs(&fixture, &whole));

        let missing = folder.join("model-00002-of-00003.gguf");
        fs::remove_file(&missing).unwrap();
        let error = open(&folder.join("model-00001-of-00003.gguf")).unwrap_err();
        assert!(
            error.to_string().contains("model-00002-of-00003.gguf"),
            "{error}"
        );
    }
}

/// Converters divide RWKV-6's weights by what x is halved by; older ones left its mixtures apart.
#[test]
fn divided_weights_are_left_as_they_are() {
    const EVERY: usize = 2;
    let fixture = Fixture::load("rwkv6_halved");
    let mut gguf = Gguf::of(&fixture);
    let (theirs, ours) = (
        gguf.key("rescale_every_n_layers"),
        gguf.key("rescale_undivided_every"),
    );
    gguf.metadata.0.remove(&ours).expect("a key");
    gguf.metadata
        .0
        .insert(theirs, MetadataValue::U32(EVERY as u32));
    for (name, mut floats) in std::mem::take(&mut gguf.tensors) {
        let layer = name.split('.').nth(1).and_then(|layer| layer.parse().ok());
        let halved = layer.unwrap_or(0usize) / EVERY;
        if ["time_mix_output.", "channel_mix_value."]
            .iter()
            .any(|divided| name.contains(divided))
        {
            let factor = (-(halved as f32)).exp2();
            floats.values.iter_mut().for_each(|value| *value *= factor);
        }
        if name.contains("time_mix_lerp_fused") {
            let width = floats.values.len() / 5;
            for (part, values) in ["w", "k", "v", "r", "g"]
                .iter()
                .zip(floats.values.chunks(width))
            {
                let floats = Floats {
                    shape: vec![1, 1, width as u64],
                    values: values.to_vec(),
                };
                let name = name.replace("fused", part);
                gguf.tensors.insert(name, floats);
            }
            continue;
        }
        gguf.tensors.insert(name, floats);
    }
    check_all(&fixture, &open_bytes(gguf.bytes()).expect("a file"));
}

/// An unknown tensor means a variant whose results would be wrong; what converters are known to
/// leave behind is fine.
#[test]
fn an_unknown_tensor_is_refused_by_name() {
    let with = |name: &str, tensor: &str| {
        let mut gguf = Gguf::of(&Fixture::load(name));
        let floats = gguf.tensors.values().next().unwrap().clone();
        gguf.tensors.insert(tensor.into(), floats);
        open_bytes(gguf.bytes())
    };
    let error = with("llama", "blk.0.attn_q_norm.weight").unwrap_err();
    assert_eq!(error.kind(), LoadErrorKind::Unsupported);
    assert!(
        error.to_string().contains("blk.0.attn_q_norm.weight"),
        "{error}"
    );
    assert!(with("t5", "dec.blk.0.cross_attn_rel_b.weight").is_ok());
}

/// A vector may come as a row or as a column.
#[test]
fn extents_of_one_do_not_count() {
    let fixture = Fixture::load("mamba_bias");
    let plain = open_bytes(Gguf::of(&fixture).bytes()).unwrap();
    for shape in [|n: u64| vec![1, n], |n: u64| vec![n, 1]] {
        let mut gguf = Gguf::of(&fixture);
        for floats in gguf.tensors.values_mut() {
            if let &[n] = floats.shape.as_slice() {
                floats.shape = shape(n);
            }
        }
        let model = open_bytes(gguf.bytes()).unwrap();
        assert_eq!(all_outputs(&fixture, &model), all_outputs(&fixture, &plain));
    }
}
