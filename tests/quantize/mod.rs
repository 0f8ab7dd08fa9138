//! Files written anew: which types their tensors get, and that nothing else changes.

mod mixes;

use crate::support::folder::TempFolder;
use crate::support::rewrite::{options, run};
use rillm::formats::gguf::write::{TensorSpec, to_bytes};
use rillm::formats::manifest::{DType, Metadata, MetadataValue, Shape};
use rillm::internals::draft;
use rillm::internals::quant;
use rillm::internals::weights::{Source, open, open_source};
use rillm::quantize::{Draft, QuantizePlan};

/// A file of these tensors, all in F32, filled with a wave.
fn file(metadata: Metadata, tensors: &[(&str, &[u64])]) -> Vec<u8> {
    let data: Vec<(TensorSpec, Vec<u8>)> = tensors
        .iter()
        .map(|(name, shape)| {
            let spec = TensorSpec {
                name: (*name).to_string(),
                dtype: DType::F32,
                shape: Shape(shape.to_vec()),
            };
            let values = (0..shape.iter().product::<u64>()).map(wave);
            (spec, values.flat_map(f32::to_le_bytes).collect())
        })
        .collect();
    let data: Vec<(TensorSpec, &[u8])> = data
        .iter()
        .map(|(s, d)| (s.clone(), d.as_slice()))
        .collect();
    to_bytes(&metadata, &data).expect("a GGUF file")
}

fn wave(index: u64) -> f32 {
    (index as f32 * 0.37).sin() * (1.0 + (index % 7) as f32)
}

fn llama() -> Metadata {
    let mut metadata = Metadata::default();
    let architecture = MetadataValue::String("llama".into());
    metadata
        .0
        .insert("general.architecture".into(), architecture);
    metadata
        .0
        .insert("llama.block_count".into(), MetadataValue::U32(1));
    metadata
}

fn input(bytes: Vec<u8>) -> Draft {
    draft(open_source(Source::Owned(bytes)).expect("a GGUF file")).expect("an input")
}

const TENSORS: &[(&str, &[u64])] = &[
    ("token_embd.weight", &[40, 512]),
    ("output.weight", &[40, 512]),
    ("output_norm.weight", &[512]),
    ("blk.0.attn_q.weight", &[300, 512]),
    ("blk.0.ffn_up.weight", &[70, 96]),
    ("blk.0.ffn_gate.weight", &[70, 20]),
    ("blk.0.ffn_gate_inp.weight", &[8, 512]),
    ("blk.0.attn_q.bias", &[300]),
];

#[test]
fn each_tensor_is_what_its_encoder_makes_of_it() {
    let folder = TempFolder::new("encoder");
    let input = input(file(llama(), TENSORS));
    let path = folder.join("out.gguf");
    let plan = run(&input, &options("q4_k_m"), &path, 2).expect("a file");
    let files = open(&path).expect("a GGUF file");
    assert_eq!(
        std::fs::metadata(&path).expect("a file").len(),
        plan.file_len()
    );
    assert_eq!(files.manifest.metadata.u64("general.file_type"), Some(15));
    assert_eq!(
        files.manifest.metadata.u64("general.quantization_version"),
        Some(2)
    );
    for (name, shape) in TENSORS {
        let found = &files.manifest.tensors[*name];
        assert_eq!(found.shape.0, *shape);
        let values: Vec<f32> = (0..shape.iter().product::<u64>()).map(wave).collect();
        let mut expected = vec![0; (found.range.end - found.range.start) as usize];
        quant::encode(found.dtype).expect("an encoder")(&values, &mut expected);
        let bytes = &files.sources[0].bytes()[found.range.start as usize..found.range.end as usize];
        assert!(bytes == expected, "{name}");
    }
    let types = |name: &str| files.manifest.tensors[name].dtype;
    assert_eq!(types("blk.0.attn_q.weight"), DType::Q4_K);
    assert_eq!(types("blk.0.ffn_up.weight"), DType::Q5_0);
    assert_eq!(types("blk.0.ffn_gate.weight"), DType::F16);
    assert_eq!(types("blk.0.ffn_gate_inp.weight"), DType::F32);
    assert_eq!(types("output_norm.weight"), DType::F32);
    assert_eq!(types("output.weight"), DType::Q6_K);
}

/// As llama-quant.cpp has it: what `mixes.txt` was made with did not know the type yet.
#[test]
fn q2_0_is_for_matrices_alone() {
    let plan = QuantizePlan::new(&input(file(llama(), TENSORS)), &options("q2_0")).expect("a plan");
    let found = plan.tensors.iter();
    let found = found.map(|tensor| (tensor.name.as_str(), tensor.to, tensor.wanted));
    let expected = [
        ("token_embd.weight", DType::Q4_K, None),
        ("output.weight", DType::Q6_K, None),
        ("output_norm.weight", DType::F32, None),
        ("blk.0.attn_q.weight", DType::Q2_0, None),
        // Rows of 96 are not whole blocks of 64, those of 20 of no type.
        ("blk.0.ffn_up.weight", DType::Q4_0, Some(DType::Q2_0)),
        ("blk.0.ffn_gate.weight", DType::F16, Some(DType::Q2_0)),
        ("blk.0.ffn_gate_inp.weight", DType::F32, None),
        ("blk.0.attn_q.bias", DType::F32, None),
    ];
    for tensor in expected {
        assert!(found.clone().any(|found| found == tensor), "{tensor:?}");
    }
    assert_eq!(options("q2_0").mix.file_type, 41);
}

#[test]
fn threads_change_nothing() {
    let folder = TempFolder::new("threads");
    let input = input(file(llama(), TENSORS));
    let written = [1, 2, 3, 7].map(|threads| {
        let path = folder.join(format!("{threads}.gguf"));
        run(&input, &options("q5_k_m"), &path, threads).expect("a file");
        std::fs::read(path).expect("a file")
    });
    assert!(written.iter().all(|bytes| *bytes == written[0]));
}

#[test]
fn a_copy_is_the_same_file() {
    let folder = TempFolder::new("copy");
    let original = file(llama(), TENSORS);
    let path = folder.join("copy.gguf");
    run(&input(original.clone()), &options("copy"), &path, 1).expect("a file");
    assert!(std::fs::read(path).expect("a file") == original);
}

#[test]
fn what_is_asked_for_a_tensor_counts() {
    let input = input(file(llama(), TENSORS));
    let mut options = options("q4_k_m");
    options.output = Some(DType::Q8_0);
    options.embedding = Some(DType::Q2_K);
    options.tensors = vec![("attn_q".into(), DType::Q6_K)];
    let plan = QuantizePlan::new(&input, &options).expect("a plan");
    let to = |name: &str| {
        plan.tensors
            .iter()
            .find(|t| t.name == name)
            .expect("planned")
            .to
    };
    assert_eq!(to("output.weight"), DType::Q8_0);
    assert_eq!(to("token_embd.weight"), DType::Q2_K);
    assert_eq!(to("blk.0.attn_q.weight"), DType::Q6_K);
    options.output = None;
    options.keep_output = true;
    let plan = QuantizePlan::new(&input, &options).expect("a plan");
    let output = plan.tensors.iter().find(|t| t.name == "output.weight");
    assert_eq!(output.expect("planned").to, DType::F32);
    // Blocks that the rows are not made of: said, not done.
    options.tensors = vec![("ffn_gate.weight".into(), DType::Q8_0)];
    let error = QuantizePlan::new(&input, &options).expect_err("20 columns");
    assert!(
        error.to_string().contains("blk.0.ffn_gate.weight"),
        "{error}"
    );
}

#[test]
fn quantized_weights_are_quantized_again_on_request_alone() {
    let folder = TempFolder::new("again");
    let path = folder.join("q8_0.gguf");
    run(&input(file(llama(), TENSORS)), &options("q8_0"), &path, 2).expect("a file");
    let input = draft(open(&path).expect("a file")).expect("an input");
    let error = QuantizePlan::new(&input, &options("q4_0")).expect_err("quantized already");
    assert!(error.to_string().contains("is Q8_0 already"), "{error}");
    let mut options = options("q4_0");
    options.requantize = true;
    run(&input, &options, &folder.join("q4_0.gguf"), 2).expect("a file");
}

#[test]
fn weights_that_are_not_numbers_leave_no_file() {
    let folder = TempFolder::new("nan");
    for fault in [f32::NAN, f32::INFINITY] {
        let mut bytes = file(llama(), TENSORS);
        let at = bytes.len() - 4 * 300 - 4 * 8 * 512 - 20;
        bytes[at..at + 4].copy_from_slice(&fault.to_le_bytes());
        let path = folder.join("out.gguf");
        let error = run(&input(bytes), &options("q4_0"), &path, 2).expect_err("not finite");
        assert!(error.to_string().contains("not finite"), "{error}");
        let left = std::fs::read_dir(&*folder).expect("a folder").count();
        assert_eq!(left, 0);
    }
}

/// A weight that a type cannot hold is an error that names both, never an infinite weight.
#[test]
fn a_weight_beyond_the_type_is_an_error() {
    let tensor = "blk.0.ffn_down.weight";
    let spec = TensorSpec {
        name: tensor.to_string(),
        dtype: DType::F32,
        shape: Shape(vec![2, 256]),
    };
    let file = |weight: f32| {
        let mut values: Vec<f32> = (0..512).map(wave).collect();
        values[300] = weight;
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        to_bytes(&llama(), &[(spec.clone(), bytes.as_slice())]).expect("a GGUF file")
    };
    let folder = TempFolder::new("beyond");
    for (mix, weight, holds) in [
        ("f16", 65504.0, true),
        ("f16", 65520.0, false),
        ("f16", -1e9, false),
        ("bf16", 1e9, true),
        ("bf16", f32::MAX, false),
        ("f32", f32::MAX, true),
        ("f32", f32::NAN, false),
        ("f32", f32::INFINITY, false),
        ("q8_0", 1e9, false),
        ("q4_0", 1e9, false),
        ("q4_1", 1e9, false),
        ("q5_0", -1e9, false),
        ("q5_1", 1e9, false),
        ("q2_k", 1e9, false),
        ("q3_k_m", 1e9, false),
        ("q4_k_m", -1e9, false),
        ("q5_k_m", 1e9, false),
        ("q6_k", 1e9, false),
        ("iq4_nl", 1e9, false),
        ("iq4_xs", 1e9, false),
        // So large that the inverse of no scale is a number.
        ("iq4_nl", -1e30, false),
        ("iq4_xs", 1e30, false),
        ("iq4_nl", f32::MAX, false),
        ("q4_k_m", f32::MAX, false),
        ("q4_k_m", 1e3, true),
    ] {
        let draft = input(file(weight));
        let plan = QuantizePlan::new(&draft, &options(mix)).expect("a plan");
        let path = folder.join("out.gguf");
        let done = std::sync::atomic::AtomicU64::new(0);
        let written = rillm::quantize::write(&draft, &plan, &path, 1, &done);
        match written {
            Ok(_) => assert!(holds, "{mix} took {weight}"),
            Err(error) => {
                let error = error.to_string();
                assert!(!holds && error.contains(tensor), "{mix}, {weight}: {error}");
                assert!(!path.exists());
            }
        }
        let _ = std::fs::remove_file(&path);
    }
}
