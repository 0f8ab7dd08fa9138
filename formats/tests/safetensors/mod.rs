//! safetensors files, indexes and whole folders that are fine.

mod malformed;

use rillm_formats::ErrorKind;
use rillm_formats::hf_config::HfConfig;
use rillm_formats::manifest::{Container, DType, Metadata, Shape};
use rillm_formats::safetensors::{self, ShardIndex, write};

use crate::support::SAFETENSORS_HEADER;

fn config() -> HfConfig {
    HfConfig {
        model_type: Some("llama".into()),
        metadata: Metadata::default(),
        blanks: Default::default(),
    }
}

#[test]
fn a_header_is_read_and_foreign_types_are_set_aside() {
    let bytes = crate::support::safetensors(SAFETENSORS_HEADER, 36);
    let file = safetensors::parse(&bytes, 5).expect("valid");
    let start = 8 + SAFETENSORS_HEADER.len() as u64;
    assert_eq!(file.data_offset, start);
    assert_eq!(file.metadata.get("format").map(String::as_str), Some("pt"));
    let [(name, mask)] = &file.unsupported[..] else {
        panic!("{:?}", file.unsupported)
    };
    assert_eq!(
        (name.as_str(), mask.dtype.as_str(), mask.file),
        ("mask", "BOOL", 5)
    );
    assert_eq!(mask.range, start + 24..start + 28);
    let (name, info) = &file.tensors[0];
    assert_eq!((name.as_str(), info.dtype, info.file), ("b", DType::F32, 5));
    assert_eq!(info.shape, Shape(vec![2, 3]));
    assert_eq!(info.range, start..start + 24);
    let (name, info) = &file.tensors[1];
    assert_eq!((name.as_str(), info.dtype), ("a", DType::BF16));
    assert_eq!(info.range, start + 28..start + 36);
}

#[test]
fn every_type_has_its_width() {
    for (name, dtype, width) in [
        ("F64", Some(DType::F64), 8u64),
        ("F32", Some(DType::F32), 4),
        ("F16", Some(DType::F16), 2),
        ("BF16", Some(DType::BF16), 2),
        ("I64", Some(DType::I64), 8),
        ("I32", Some(DType::I32), 4),
        ("I16", Some(DType::I16), 2),
        ("I8", Some(DType::I8), 1),
        ("U8", None, 1),
        ("U64", None, 8),
        ("F8_E4M3", None, 1),
    ] {
        let len = 3 * width;
        let header =
            format!(r#"{{"w":{{"dtype":"{name}","shape":[3],"data_offsets":[0,{len}]}}}}   "#);
        let file = safetensors::parse(&crate::support::safetensors(&header, len as usize), 0);
        let file = file.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(file.tensors.first().map(|(_, info)| info.dtype), dtype);
        assert_eq!(dtype.and_then(DType::safetensors_name), dtype.map(|_| name));
    }
}

#[test]
fn empty_tensors_are_legal_and_overflow_is_not_hidden_by_them() {
    let header = r#"{"e":{"dtype":"F32","shape":[0,9223372036854775808,4],"data_offsets":[0,0]},
        "w":{"dtype":"I8","shape":[],"data_offsets":[0,1]}}"#;
    let file = safetensors::parse(&crate::support::safetensors(header, 1), 0).expect("valid");
    assert_eq!(file.tensors.len(), 2);
    assert_eq!(file.tensors[0].1.range, file.data_offset..file.data_offset);
}

#[test]
fn floats_are_written_as_the_format_says() {
    let bytes = write::floats(&[("a", &[2, 1], &[1.0, -2.5]), ("q\"\n", &[], &[0.0])]);
    let bytes = bytes.expect("valid");
    let header = concat!(
        r#"{"a":{"dtype":"F32","shape":[2, 1],"data_offsets":[0,8]},"#,
        r#""q\"\u000a":{"dtype":"F32","shape":[],"data_offsets":[8,12]}}"#,
    );
    let padded = header.len().next_multiple_of(8);
    let mut expected = (padded as u64).to_le_bytes().to_vec();
    expected.extend(format!("{header:padded$}").as_bytes());
    expected.extend([0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0, 0, 0, 0, 0]);
    assert_eq!(bytes, expected);
    let file = safetensors::parse(&bytes, 0).expect("valid");
    assert_eq!(file.tensors[1].0, "q\"\n");
    assert_eq!(file.tensors[0].1.shape, Shape(vec![2, 1]));
}

#[test]
fn what_cannot_be_written() {
    let error = |tensors: &[(&str, &[u64], &[f32])]| write::floats(tensors).unwrap_err();
    assert_eq!(error(&[("a", &[2], &[1.0])]).kind(), ErrorKind::Value);
    assert_eq!(
        error(&[("a", &[], &[1.0]), ("a", &[], &[1.0])]).kind(),
        ErrorKind::Duplicate
    );
    assert_eq!(error(&[("", &[], &[1.0])]).kind(), ErrorKind::Value);
    assert_eq!(
        error(&[("__metadata__", &[], &[1.0])]).kind(),
        ErrorKind::Value
    );
    assert_eq!(error(&[("a", &[1; 9], &[1.0])]).kind(), ErrorKind::Limit);
    let spec = write::TensorSpec {
        name: "q".into(),
        dtype: DType::Q4_K,
        shape: Shape(vec![256]),
    };
    let error = write::header(&[spec]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("\"q\" has type Q4_K"), "{error}");
}

const INDEX: &str = r#"{
  "metadata": {"total_size": 8, "deep": [[{}]]},
  "weight_map": {"b": "m-2.safetensors", "a": "m-1.safetensors", "mask": "m-2.safetensors"}
}"#;

fn shard(entries: &[(&str, &str)]) -> safetensors::Safetensors {
    let entries: Vec<String> = (0..)
        .zip(entries)
        .map(|(start, (name, dtype))| {
            let end = start + 1;
            format!(r#""{name}":{{"dtype":"{dtype}","shape":[1],"data_offsets":[{start},{end}]}}"#)
        })
        .collect();
    let header = format!("{{{}}}", entries.join(","));
    safetensors::parse(&crate::support::safetensors(&header, entries.len()), 99).expect("valid")
}

#[test]
fn an_index_names_its_shards_in_order() {
    let index = ShardIndex::parse(INDEX.as_bytes()).expect("valid");
    assert_eq!(index.files(), ["m-1.safetensors", "m-2.safetensors"]);
    assert_eq!(index.file_of("a"), Some(0));
    assert_eq!(index.file_of("b"), Some(1));
    assert_eq!(index.file_of("c"), None);
    assert_eq!(index.weight_map().len(), 3);
}

#[test]
fn a_folder_becomes_a_manifest() {
    let index = ShardIndex::parse(INDEX.as_bytes()).expect("valid");
    let shards = vec![
        shard(&[("a", "I8")]),
        shard(&[("b", "I8"), ("mask", "BOOL")]),
    ];
    let manifest = safetensors::merge(config(), shards, Some(&index)).expect("complete");
    assert_eq!(manifest.architecture, "llama");
    assert_eq!(manifest.container, Container::HuggingFace);
    let files = manifest.tensors.iter();
    let files: Vec<_> = files
        .map(|(name, info)| (name.as_str(), info.file))
        .collect();
    assert_eq!(files, [("a", 0), ("b", 1)]);
    let mask = manifest.unsupported.get("mask").expect("there");
    assert_eq!((mask.dtype.as_str(), mask.file), ("BOOL", 1));
    assert!(manifest.lacking.is_empty());
}

/// Indexes are left over from other files, and name what was left out when the shards were written.
#[test]
fn what_shards_hold_counts_and_not_what_their_index_says() {
    let index = ShardIndex::parse(INDEX.as_bytes()).expect("valid");
    let other_way_round = vec![
        shard(&[("b", "I8"), ("mask", "BOOL")]),
        shard(&[("a", "I8"), ("more", "I8")]),
    ];
    let manifest = safetensors::merge(config(), other_way_round, Some(&index)).expect("fine");
    assert_eq!(manifest.tensors["a"].file, 1);
    assert_eq!(manifest.tensors["b"].file, 0);
    assert_eq!(manifest.unsupported["mask"].file, 0);
    assert!(manifest.tensors.contains_key("more") && manifest.lacking.is_empty());

    let shards = vec![shard(&[("a", "I8")]), shard(&[("more", "I8")])];
    let manifest = safetensors::merge(config(), shards, Some(&index)).expect("fine");
    let lacking: Vec<_> = manifest.lacking.iter().collect();
    let file = "m-2.safetensors".to_owned();
    assert_eq!(
        lacking,
        [(&"b".to_owned(), &file), (&"mask".to_owned(), &file)]
    );
}

#[test]
fn folders_that_do_not_fit() {
    let refused = |shards, kind, words: &[&str]| {
        let error = safetensors::merge(config(), shards, None).expect_err("accepted");
        assert_eq!(error.kind(), kind, "{error}");
        for word in words {
            assert!(
                error.to_string().contains(word),
                "{word:?} is not in: {error}"
            );
        }
    };
    let a = || shard(&[("a", "I8")]);
    refused(
        vec![a(), a()],
        ErrorKind::Duplicate,
        &["\"a\"", "two shards"],
    );
    let mask = || shard(&[("mask", "BOOL")]);
    refused(vec![mask(), mask()], ErrorKind::Duplicate, &["\"mask\""]);
    let other = shard(&[("mask", "I8")]);
    refused(vec![mask(), other], ErrorKind::Duplicate, &["\"mask\""]);
    let error = safetensors::merge(HfConfig::default(), vec![], None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert!(error.to_string().contains("model_type"), "{error}");
}
