//! GGUF files that are fine: what is read is what the bytes say, what is written is what the
//! standard says, and splits come together.

mod malformed;

use rillm_formats::ErrorKind;
use rillm_formats::gguf::{self, write};
use rillm_formats::manifest::{Array, Container, DType, Metadata, MetadataValue, Shape, Strings};

use crate::support::{F32, Q8_0, Raw, gguf_sample, kind};

/// Two arrays in an array, as a file has them: of two bytes, and of a string.
fn nested() -> MetadataValue {
    let raw = Raw::gguf(3, 0, 1).array("a", kind::ARRAY, 2);
    let start = raw.0.len();
    let raw = raw.u32(kind::U8).u64(2).bytes(&[7, 8]);
    let raw = raw.u32(kind::STRING).u64(1).string("in");
    let file = gguf::parse(&raw.0, 0).expect("valid");
    let Some(Array::Array(arrays)) = file.metadata.array("a") else {
        panic!("{:?}", file.metadata);
    };
    assert_eq!((arrays.len(), arrays.bytes()), (2, &raw.0[start..]));
    MetadataValue::Array(Array::Array(arrays.clone()))
}

fn sample_metadata() -> Metadata {
    let mut strings = Strings::default();
    for text in [&b"ab"[..], b"", &[0xff, 0x00]] {
        strings.push(text);
    }
    let entries = [
        ("a.array", nested()),
        (
            "a.bools",
            MetadataValue::Array(Array::Bool(vec![true, false])),
        ),
        (
            "a.floats",
            MetadataValue::Array(Array::F32(vec![1.5, -2.0])),
        ),
        ("a.i16", MetadataValue::Array(Array::I16(vec![-2]))),
        ("a.strings", MetadataValue::Array(Array::String(strings))),
        (
            "general.architecture",
            MetadataValue::String("llama".into()),
        ),
        ("v.bool", MetadataValue::Bool(true)),
        ("v.f32", MetadataValue::F32(0.25)),
        ("v.f64", MetadataValue::F64(-0.5)),
        ("v.i16", MetadataValue::I16(i16::MIN)),
        ("v.i32", MetadataValue::I32(-1)),
        ("v.i64", MetadataValue::I64(i64::MIN)),
        ("v.i8", MetadataValue::I8(-128)),
        ("v.u16", MetadataValue::U16(u16::MAX)),
        ("v.u32", MetadataValue::U32(0x0102_0304)),
        ("v.u64", MetadataValue::U64(0x0102_0304_0506_0708)),
        ("v.u8", MetadataValue::U8(200)),
    ];
    Metadata(entries.map(|(key, value)| (key.to_owned(), value)).into())
}

fn spec(name: &str, dtype: DType, shape: &[u64]) -> write::TensorSpec {
    write::TensorSpec {
        name: name.to_owned(),
        dtype,
        shape: Shape(shape.to_vec()),
    }
}

#[test]
fn every_type_of_value_is_read() {
    let bytes = gguf_sample();
    let file = gguf::parse(&bytes, 3).expect("valid");
    assert_eq!((file.version, file.alignment, file.split), (3, 32, None));
    assert_eq!(file.metadata, sample_metadata());
    assert_eq!(file.tensors.len(), 2);

    let (name, info) = &file.tensors[0];
    assert_eq!(
        (name.as_str(), info.dtype, info.file),
        ("blk.0.weight", DType::Q8_0, 3)
    );
    assert_eq!(info.shape, Shape(vec![3, 32]), "outermost first");
    let (name, other) = &file.tensors[1];
    assert_eq!((name.as_str(), other.dtype), ("norm", DType::F32));
    // The file ends with 102 bytes, 26 of padding, 20 bytes.
    let len = bytes.len() as u64;
    assert_eq!(info.range, len - 148..len - 46);
    assert_eq!(other.range, len - 20..len);
    assert_eq!(file.data_offset, len - 148);
    assert_eq!(file.data_offset % 32, 0);
}

#[test]
fn numbers_are_found_whatever_their_width() {
    let file = gguf::parse(&gguf_sample(), 0).expect("valid");
    let metadata = &file.metadata;
    assert_eq!(metadata.u64("v.u8"), Some(200));
    assert_eq!(metadata.u64("v.u64"), Some(0x0102_0304_0506_0708));
    assert_eq!(metadata.u64("v.i32"), None, "negative");
    assert_eq!(metadata.u64("v.f32"), None, "not whole");
    assert_eq!(metadata.f64("v.i8"), Some(-128.0));
    assert_eq!(metadata.f64("v.f32"), Some(0.25));
    assert_eq!(metadata.bool("v.bool"), Some(true));
    assert_eq!(metadata.bool("v.u8"), None);
    let array = |key| metadata.array(key).expect("there");
    assert_eq!(array("a.floats").f64(1), Some(-2.0));
    assert_eq!(array("a.floats").f64(2), None);
    assert_eq!(array("a.i16").u64(0), None, "negative");
    let strings = array("a.strings").strings().expect("strings");
    assert_eq!(
        strings.iter().collect::<Vec<_>>(),
        [&b"ab"[..], b"", &[0xff, 0]]
    );
}

#[test]
fn version_2_alignment_and_scalars() {
    let raw = Raw::gguf(2, 2, 1)
        .key("general.alignment", kind::U64)
        .u64(128);
    let raw = raw
        .tensor("s", &[], F32, 0)
        .tensor("t", &[2, 3, 4, 5], F32, 128);
    let raw = raw.pad(128).data(4).pad(128).data(480);
    let file = gguf::parse(&raw.0, 0).expect("valid");
    assert_eq!((file.version, file.alignment), (2, 128));
    assert_eq!(file.tensors[0].1.shape, Shape(vec![]));
    assert_eq!(file.tensors[1].1.shape, Shape(vec![5, 4, 3, 2]));
    assert_eq!(
        file.tensors[1].1.range.start - file.tensors[0].1.range.start,
        128
    );
}

#[test]
fn a_vocabulary_without_tensors_needs_no_padding() {
    let raw = Raw::gguf(3, 0, 1)
        .key("general.architecture", kind::STRING)
        .string("llama");
    assert_ne!(raw.0.len() % 32, 0);
    let file = gguf::parse(&raw.0, 0).expect("valid");
    assert_eq!(
        gguf::merge(vec![file]).expect("complete").architecture,
        "llama"
    );
}

#[test]
fn the_writer_makes_the_bytes_of_the_standard() {
    let sample = gguf_sample();
    let len = sample.len();
    let written = write::to_bytes(
        &sample_metadata(),
        &[
            (
                spec("blk.0.weight", DType::Q8_0, &[3, 32]),
                &sample[len - 148..len - 46],
            ),
            (spec("norm", DType::F32, &[5]), &sample[len - 20..]),
        ],
    )
    .expect("valid");
    // The writer pads after the last tensor too.
    let expected = Raw(sample).pad(32).0;
    assert_eq!(written, expected);
}

#[test]
fn the_layout_streams_files_larger_than_memory() {
    // 3 TiB in one tensor: only the header exists.
    let specs = [
        spec("small", DType::F32, &[1]),
        spec("huge", DType::F16, &[3, 1 << 39]),
        spec("last", DType::Q8_0, &[1, 32]),
    ];
    let layout = write::layout(&Metadata::default(), &specs).expect("valid");
    let start = layout.header.len() as u64;
    assert_eq!(layout.ranges[0], start..start + 4);
    assert_eq!(layout.padding(0), 28);
    assert_eq!(layout.ranges[1], start + 32..start + 32 + (3 << 40));
    assert_eq!(layout.padding(1), 0);
    assert_eq!(layout.padding(2), 30);
    assert_eq!(layout.file_len, layout.ranges[2].end + 30);
    let file = gguf::parse_header(&layout.header, Some(layout.file_len), 0).expect("valid");
    let ranges: Vec<_> = file
        .tensors
        .iter()
        .map(|(_, info)| info.range.clone())
        .collect();
    assert_eq!(ranges, layout.ranges);
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let none = Metadata::default();
    let refused = |metadata: &Metadata, specs: &[write::TensorSpec], word: &str| {
        let error = write::layout(metadata, specs).expect_err("accepted");
        assert!(error.to_string().contains(word), "{error}");
        error.kind()
    };
    let one = |shape: &[u64]| [spec("w", DType::Q8_0, shape)];
    assert_eq!(refused(&none, &one(&[33]), "rows of 33"), ErrorKind::Value);
    assert_eq!(refused(&none, &one(&[0, 32]), "zero"), ErrorKind::Value);
    assert_eq!(
        refused(&none, &one(&[1, 1, 1, 1, 32]), "dimensions"),
        ErrorKind::Limit
    );
    assert_eq!(
        refused(&none, &one(&[1 << 40, 1 << 40]), "2^64"),
        ErrorKind::Value
    );
    let twice = [spec("w", DType::F32, &[1]), spec("w", DType::F32, &[1])];
    assert_eq!(refused(&none, &twice, "twice"), ErrorKind::Duplicate);
    assert_eq!(
        refused(&none, &[spec("", DType::F32, &[1])], "0 bytes"),
        ErrorKind::Limit
    );
    let with = |key: &str, value| Metadata([(key.to_owned(), value)].into());
    let alignment = with("general.alignment", MetadataValue::U32(12));
    assert_eq!(refused(&alignment, &[], "power of two"), ErrorKind::Value);
    assert_eq!(
        refused(&with("", MetadataValue::U8(0)), &[], "key"),
        ErrorKind::Limit
    );
    let short = write::to_bytes(&none, &[(spec("w", DType::F32, &[2]), &[0; 4])]);
    assert!(
        short
            .unwrap_err()
            .to_string()
            .contains("takes 8 bytes, 4 were given")
    );
}

/// A split model's file: the first has the architecture.
fn part(number: u16, count: u16, total: u32, names: &[&str]) -> gguf::Gguf {
    let keys = 3 + u64::from(number == 0);
    let mut raw = Raw::gguf(3, names.len() as u64, keys)
        .key("split.no", kind::U16)
        .u16(number)
        .key("split.count", kind::U16)
        .u16(count)
        .key("split.tensors.count", kind::I32)
        .u32(total);
    if number == 0 {
        raw = raw
            .key("general.architecture", kind::STRING)
            .string("llama");
    }
    for (offset, name) in (0..).step_by(64).zip(names) {
        raw = raw.tensor(name, &[32], Q8_0, offset);
    }
    let raw = raw.pad(32).data(64 * names.len());
    gguf::parse(&raw.0, 99).expect("valid")
}

#[test]
fn splits_come_together() {
    let split = part(1, 2, 3, &["c"]).split.expect("a split");
    assert_eq!((split.number, split.count, split.tensors), (1, 2, Some(3)));

    let parts = vec![part(0, 2, 3, &["b", "a"]), part(1, 2, 3, &["c"])];
    let manifest = gguf::merge(parts).expect("complete");
    assert_eq!(manifest.architecture, "llama");
    assert_eq!(manifest.container, Container::Gguf);
    let files = manifest.tensors.iter();
    let files: Vec<_> = files
        .map(|(name, info)| (name.as_str(), info.file))
        .collect();
    assert_eq!(files, [("a", 0), ("b", 0), ("c", 1)]);
    assert_eq!(
        manifest.metadata.0.len(),
        1,
        "what a split says of itself is gone"
    );
}

#[test]
fn splits_that_do_not_fit() {
    let refused = |parts: Vec<gguf::Gguf>, kind, words: &[&str]| {
        let error = gguf::merge(parts).expect_err("accepted");
        assert_eq!(error.kind(), kind, "{error}");
        for word in words {
            assert!(
                error.to_string().contains(word),
                "{word:?} is not in: {error}"
            );
        }
    };
    let first = || part(0, 2, 2, &["a"]);
    let second = || part(1, 2, 2, &["b"]);
    refused(vec![], ErrorKind::Missing, &["no GGUF file"]);
    refused(
        vec![first()],
        ErrorKind::Missing,
        &["into 2 files", "1 were given"],
    );
    refused(
        vec![second(), first()],
        ErrorKind::Value,
        &["file 1 of 2", "split 2 of 2", "order"],
    );
    refused(
        vec![first(), first()],
        ErrorKind::Value,
        &["file 2 of 2", "split 1 of 2"],
    );
    refused(
        vec![first(), part(1, 3, 2, &["b"])],
        ErrorKind::Value,
        &["split 2 of 3"],
    );
    let again = part(1, 2, 2, &["a"]);
    refused(
        vec![first(), again],
        ErrorKind::Duplicate,
        &["\"a\"", "split 1", "split 2"],
    );
    let more = part(1, 2, 2, &["b", "c"]);
    refused(
        vec![first(), more],
        ErrorKind::Missing,
        &["split.tensors.count", "2", "hold 3"],
    );
    let nameless = gguf::parse(&Raw::gguf(3, 0, 0).0, 0).expect("valid");
    refused(
        vec![nameless],
        ErrorKind::Missing,
        &["general.architecture"],
    );
}

#[test]
fn names_of_splits() {
    let names = gguf::split_names("dir/my-of-1-00001-of-00003.gguf").expect("a split's name");
    assert_eq!(
        names,
        [
            "dir/my-of-1-00001-of-00003.gguf",
            "dir/my-of-1-00002-of-00003.gguf",
            "dir/my-of-1-00003-of-00003.gguf"
        ]
    );
    assert_eq!(
        gguf::split_names("m-00002-of-00003.gguf").map(|names| names.len()),
        Some(3)
    );
    for name in [
        "m.gguf",
        "m-00001-of-00003.bin",
        "m-1-of-3.gguf",
        "m-00000-of-00003.gguf",
        "m-00004-of-00003.gguf",
        "m-+0001-of-00003.gguf",
        "m-00001-of-99999.gguf",
        "-of-.gguf",
    ] {
        assert_eq!(gguf::split_names(name), None, "{name}");
    }
}
