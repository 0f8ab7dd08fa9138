//! Hostile and broken GGUF files, one case per published class of attack: each is refused in one
//! line that names the key, tensor or offset, and nothing ever panics.

use rillm_formats::ErrorKind::{self, *};
use rillm_formats::gguf;

use crate::support::{F32, Q8_0, Raw, expect, gguf_sample, kind, walk};

/// Asserts that the file is refused, for this reason and in these words.
#[track_caller]
fn refused(bytes: &[u8], kind: ErrorKind, words: &[&str]) {
    expect(gguf::parse(bytes, 0).expect_err("accepted"), kind, words);
}

/// A file with one tensor of these extents (contiguous first) and `len` bytes of data.
fn one_tensor(extents: &[u64], dtype: u32, offset: u64, len: usize) -> Vec<u8> {
    let raw = Raw::gguf(3, 1, 0).tensor("w", extents, dtype, offset);
    raw.pad(32).data(len).0
}

#[test]
fn the_sample_itself_is_fine() {
    assert!(walk::gguf(&gguf_sample()));
}

#[test]
fn truncation_at_every_byte_is_refused() {
    let sample = gguf_sample();
    for len in 0..sample.len() {
        let error = gguf::parse(&sample[..len], 0).expect_err("accepted a torn file");
        let kind = error.kind();
        assert!(
            matches!(kind, Truncated | Range),
            "{len}: {kind:?}: {error}"
        );
        assert!(error.offset().is_some(), "{error}");
    }
}

#[test]
fn flipped_bits_never_panic() {
    let mut bytes = gguf_sample();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            walk::gguf(&bytes);
            bytes[at] ^= 1 << bit;
        }
    }
}

#[test]
fn extreme_words_at_every_place_never_panic() {
    let sample = gguf_sample();
    for at in 0..sample.len() - 8 {
        for word in [0, 1, 1 << 22, 1 << 31, 1 << 32, 1 << 61, 1 << 63, u64::MAX] {
            let mut bytes = sample.clone();
            bytes[at..at + 8].copy_from_slice(&u64::to_le_bytes(word));
            walk::gguf(&bytes);
        }
    }
}

#[test]
fn other_formats() {
    refused(b"", Truncated, &["magic", "byte 0"]);
    refused(
        b"PK\x03\x04zip",
        Foreign,
        &["GGUF", r"PK\x03\x04", "byte 0"],
    );
    refused(b"tjgg\x01\0\0\0", Foreign, &["older than GGUF", "convert"]);
    refused(b"GG\nF\x03\0\0\0", Foreign, &[r"GG\nF"]);
}

#[test]
fn version_1_by_name() {
    refused(
        &Raw::gguf(1, 0, 0).0,
        Version,
        &["version 1", "convert", "byte 4"],
    );
}

#[test]
fn unknown_versions() {
    refused(&Raw::gguf(0, 0, 0).0, Version, &["version 0"]);
    refused(&Raw::gguf(4, 0, 0).0, Version, &["version 4", "2 and 3"]);
    refused(&Raw::gguf(0x0101_0101, 0, 0).0, Version, &["16843009"]);
}

#[test]
fn big_endian_is_read_far_enough_to_help() {
    let key = "general.architecture";
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_be_bytes());
    bytes.extend(291u64.to_be_bytes());
    bytes.extend(1u64.to_be_bytes());
    bytes.extend((key.len() as u64).to_be_bytes());
    bytes.extend(key.as_bytes());
    let words = [
        "big-endian",
        "version 3",
        "291 tensors",
        key,
        "gguf-convert-endian FILE little",
    ];
    refused(&bytes, Version, &words);
    refused(&bytes[..30], Truncated, &["big-endian"]);
}

// CVE-2024-21802, -21825, -21836, -23496, -23605: counts and lengths beyond the file.

#[test]
fn counts_beyond_the_file() {
    refused(
        &Raw::gguf(3, u64::MAX, 0).0,
        Limit,
        &["18446744073709551615 tensors", "byte 8"],
    );
    refused(
        &Raw::gguf(3, 0, u64::MAX).0,
        Limit,
        &["18446744073709551615 keys", "byte 8"],
    );
    refused(
        &Raw::gguf(3, 1 << 18, 0).0,
        Truncated,
        &["tensor infos", "262144", "byte 24"],
    );
    refused(
        &Raw::gguf(3, 0, 1 << 16).0,
        Truncated,
        &["keys", "65536", "byte 24"],
    );
    // The product of count and size wraps to a small number.
    refused(&Raw::gguf(3, (1 << 63) + 1, 0).0, Limit, &["tensors"]);
}

#[test]
fn a_file_of_43_bytes_that_would_hang_a_reader() {
    let raw = Raw::gguf(3, 0, 1 << 16)
        .string("k")
        .u32(kind::STRING)
        .bytes(&[0; 6]);
    assert_eq!(raw.0.len(), 43);
    refused(&raw.0, Truncated, &["keys", "byte 24"]);
    let raw = Raw::gguf(3, 0, 1).bytes(&[0; 19]);
    assert_eq!(raw.0.len(), 43);
    refused(&raw.0, Value, &["key 0 is empty", "byte 24"]);
}

#[test]
fn string_lengths_beyond_the_file() {
    let raw = Raw::gguf(3, 0, 1).u64(u64::MAX).bytes(b"key__________");
    refused(&raw.0, Limit, &["key 0", "18446744073709551615", "byte 24"]);
    let raw = Raw::gguf(3, 0, 1).u64(65_535).bytes(b"key__________");
    refused(&raw.0, Truncated, &["key 0", "65535", "byte 32"]);
    let raw = Raw::gguf(3, 0, 1).key("name", kind::STRING).u64(u64::MAX);
    refused(&raw.0, Limit, &["\"name\"", "byte 40"]);
    let raw = Raw::gguf(3, 0, 1).key("name", kind::STRING).u64(1 << 20);
    refused(&raw.0, Truncated, &["\"name\"", "1048576", "byte 48"]);
    let raw = Raw::gguf(3, 1, 0).u64(1 << 40).bytes(&[b'w'; 30]);
    refused(&raw.0, Limit, &["name of tensor 0", "byte 24"]);
}

#[test]
fn arrays_beyond_the_file() {
    let raw = Raw::gguf(3, 0, 1).array("a", kind::U8, u64::MAX);
    refused(&raw.0, Limit, &["\"a\"", "18446744073709551615", "byte 37"]);
    // 2^61 elements of 8 bytes wrap to none.
    let raw = Raw::gguf(3, 0, 1).array("a", kind::U64, 1 << 61);
    refused(&raw.0, Limit, &["\"a\""]);
    for kind in [kind::U8, kind::F64, kind::BOOL, kind::STRING, kind::ARRAY] {
        let raw = Raw::gguf(3, 0, 1).array("a", kind, 1 << 28).bytes(&[0; 64]);
        refused(&raw.0, Truncated, &["\"a\"", "268435456", "byte 49"]);
    }
}

#[test]
fn a_string_in_an_array_beyond_the_file() {
    let raw = Raw::gguf(3, 0, 1)
        .array("tokens", kind::STRING, 2)
        .string("ok")
        .u64(99);
    refused(&raw.0, Truncated, &["string 1", "\"tokens\"", "99 bytes"]);
}

#[test]
fn arrays_nested_into_a_bomb() {
    let bomb = |depth: u32| {
        let raw = Raw::gguf(3, 0, 1).key("bomb", kind::ARRAY);
        let inner = (1..depth).fold(raw, |raw, _| raw.u32(kind::ARRAY).u64(1));
        inner.u32(kind::U8).u64(0).0
    };
    assert!(gguf::parse(&bomb(4), 0).is_ok());
    refused(&bomb(5), Limit, &["\"bomb\"", "deeper than 4"]);
    refused(&bomb(1_000_000), Limit, &["\"bomb\"", "deeper than 4"]);
}

#[test]
fn unknown_value_types() {
    refused(
        &Raw::gguf(3, 0, 1).key("k", 13).u64(0).0,
        Type,
        &["\"k\"", "13", "byte 33"],
    );
    let raw = Raw::gguf(3, 0, 1).array("k", 99, 0);
    refused(&raw.0, Type, &["\"k\"", "99"]);
}

#[test]
fn truth_values_other_than_0_and_1() {
    refused(
        &Raw::gguf(3, 0, 1).key("k", kind::BOOL).u8(2).0,
        Value,
        &["\"k\"", "byte 37"],
    );
    let raw = Raw::gguf(3, 0, 1)
        .array("k", kind::BOOL, 3)
        .bytes(&[0, 1, 255]);
    refused(&raw.0, Value, &["\"k\"", "255", "byte 51"]);
}

#[test]
fn text_that_is_not_utf_8() {
    let raw = Raw::gguf(3, 0, 1)
        .string(b"ab\xff")
        .u32(kind::U8)
        .u8(0)
        .u64(0);
    refused(&raw.0, Syntax, &["key 0", "UTF-8", "\"ab\"", "byte 34"]);
    let raw = Raw::gguf(3, 0, 1)
        .key("name", kind::STRING)
        .string(b"\xc3\x28");
    refused(&raw.0, Syntax, &["\"name\"", "UTF-8", "byte 48"]);
    let raw = Raw::gguf(3, 1, 0).string(b"\x80").u32(0).u32(F32).u64(0);
    refused(&raw.0, Syntax, &["tensor 0", "UTF-8"]);
}

#[test]
fn names_that_would_disturb_a_terminal() {
    let key = "a\u{1b}[2J\nb";
    let raw = Raw::gguf(3, 0, 1).key(key, 77).u64(0);
    refused(&raw.0, Type, &[r#""a\u{1b}[2J\nb""#]);
    let long = "x".repeat(60_000);
    let error = gguf::parse(&Raw::gguf(3, 0, 1).key(&long, 77).u64(0).0, 0).unwrap_err();
    assert!(error.to_string().len() < 300);
}

#[test]
fn keys_twice() {
    let raw = Raw::gguf(3, 0, 2)
        .key("k", kind::U8)
        .u8(0)
        .key("k", kind::U8)
        .u8(0);
    refused(&raw.0, Duplicate, &["\"k\"", "twice", "byte 38"]);
}

#[test]
fn tensors_twice() {
    let raw = Raw::gguf(3, 2, 0)
        .tensor("w", &[8], F32, 0)
        .tensor("w", &[8], F32, 32);
    refused(
        &raw.pad(32).data(64).0,
        Duplicate,
        &["\"w\"", "twice", "byte 57"],
    );
}

#[test]
fn empty_names() {
    let raw = Raw::gguf(3, 1, 0).tensor("", &[8], F32, 0).pad(32).data(32);
    refused(&raw.0, Value, &["tensor 0", "empty name", "byte 24"]);
}

// CVE-2025-66959, -66960: zero alignment and its kin.

#[test]
fn alignments_that_are_no_power_of_two() {
    for alignment in [0, 3, 33, 48] {
        let raw = Raw::gguf(3, 0, 1)
            .key("general.alignment", kind::U32)
            .u32(alignment);
        let words = ["general.alignment", &alignment.to_string(), "power of two"];
        refused(&raw.0, Value, &words);
    }
    let raw = Raw::gguf(3, 0, 1)
        .key("general.alignment", kind::U64)
        .u64(1 << 63);
    refused(&raw.0, Value, &["general.alignment", "up to 16777216"]);
}

#[test]
fn an_alignment_larger_than_the_file() {
    let raw = Raw::gguf(3, 1, 1)
        .key("general.alignment", kind::U32)
        .u32(1 << 24);
    let raw = raw.tensor("w", &[8], F32, 0).data(64);
    refused(&raw.0, Range, &["\"w\"", "16777216", "cut short"]);
}

// llama.cpp#26690: a value of another type than its key demands.

#[test]
fn types_confused() {
    let raw = Raw::gguf(3, 0, 1)
        .key("general.alignment", kind::STRING)
        .string("32");
    refused(&raw.0, Type, &["general.alignment", "a string", "integer"]);
    let raw = Raw::gguf(3, 0, 1)
        .array("general.alignment", kind::U32, 1)
        .u32(32);
    refused(&raw.0, Type, &["general.alignment", "an array"]);
    let raw = Raw::gguf(3, 0, 1)
        .key("general.alignment", kind::I32)
        .u32(-32i32 as u32);
    refused(&raw.0, Type, &["general.alignment"]);
    let raw = Raw::gguf(3, 0, 1).key("split.count", kind::F32).u32(0);
    refused(&raw.0, Type, &["split.count", "an f32"]);
    let raw = Raw::gguf(3, 0, 1)
        .key("general.architecture", kind::U32)
        .u32(1);
    let file = gguf::parse(&raw.0, 0).expect("read as it is");
    let error = gguf::merge(vec![file]).expect_err("no architecture");
    assert_eq!(error.kind(), Type);
    assert!(
        error
            .to_string()
            .contains("\"general.architecture\" is a u32, expected a string")
    );
}

#[test]
fn splits_that_cannot_be() {
    let split = |no: Option<u16>, count: u16| {
        let raw = Raw::gguf(3, 0, 1 + u64::from(no.is_some()));
        let raw = raw.key("split.count", kind::U16).u16(count);
        match no {
            Some(no) => raw.key("split.no", kind::U16).u16(no).0,
            None => raw.0,
        }
    };
    refused(
        &split(Some(2), 2),
        Value,
        &["\"split.no\" is 2", "less than"],
    );
    refused(&split(None, 2), Missing, &["split.no", "split.count"]);
    refused(&split(Some(0), 60_000), Limit, &["split.count", "60000"]);
}

// CVE-2025-53630, CVE-2026-27940, CVE-2026-33298: sizes that wrap.

#[test]
fn sizes_that_overflow() {
    for extents in [
        &[1u64 << 32, 1 << 32][..],
        &[1 << 22, 1 << 21, 1 << 21],
        &[1 << 63, 2],
        &[u64::MAX, u64::MAX, u64::MAX, u64::MAX],
    ] {
        let words = ["\"w\"", "more than 2^64 elements", "byte 24"];
        refused(&one_tensor(extents, F32, 0, 64), Value, &words);
    }
    // The elements can be counted, the bytes cannot.
    for extents in [&[1u64 << 62][..], &[1 << 31, 1 << 31, 1 << 1]] {
        refused(
            &one_tensor(extents, F32, 0, 64),
            Value,
            &["\"w\"", "more than 2^64 bytes"],
        );
    }
    let rows = one_tensor(&[32, (1 << 59) - 1], Q8_0, 0, 64);
    refused(&rows, Value, &["\"w\"", "Q8_0", "more than 2^64 bytes"]);
    let sum = one_tensor(&[8], F32, u64::MAX - 31, 64);
    refused(&sum, Range, &["\"w\"", "exceeds 2^64"]);
    // Offset and length can be added, the data's start cannot.
    let start = one_tensor(&[8], F32, u64::MAX - 63, 64);
    refused(&start, Range, &["\"w\"", "cut short"]);
}

#[test]
fn extents_of_zero() {
    refused(
        &one_tensor(&[0], F32, 0, 64),
        Value,
        &["\"w\"", "zero", "byte 24"],
    );
    refused(
        &one_tensor(&[8, 0, 8], F32, 0, 64),
        Value,
        &["\"w\"", "[8, 0, 8]", "zero"],
    );
    // A zero must not excuse what overflows.
    refused(
        &one_tensor(&[1 << 63, 1 << 63, 0], F32, 0, 64),
        Value,
        &["zero"],
    );
}

#[test]
fn too_many_dimensions() {
    refused(
        &one_tensor(&[1; 5], F32, 0, 64),
        Limit,
        &["\"w\"", "5 dimensions", "byte 24"],
    );
    let raw = Raw::gguf(3, 1, 0).string("w").u32(u32::MAX).bytes(&[0; 64]);
    refused(&raw.0, Limit, &["\"w\"", "4294967295"]);
}

#[test]
fn rows_that_are_not_whole_blocks() {
    let words = ["\"w\"", "Q8_0", "rows of 33", "block's 32"];
    refused(&one_tensor(&[33, 32], Q8_0, 0, 4096), Value, &words);
    // As many elements as 32 rows of a block, but no row is one.
    refused(
        &one_tensor(&[16, 64], Q8_0, 0, 4096),
        Value,
        &["rows of 16"],
    );
    refused(&one_tensor(&[], Q8_0, 0, 64), Value, &["rows of 1"]);
}

#[test]
fn types_removed_and_unknown() {
    for (id, name) in [
        (4, "Q4_2"),
        (5, "Q4_3"),
        (31, "Q4_0_4_4"),
        (32, "Q4_0_4_8"),
        (33, "Q4_0_8_8"),
        (36, "IQ4_NL_4_4"),
        (37, "IQ4_NL_4_8"),
        (38, "IQ4_NL_8_8"),
    ] {
        let words = [
            "\"w\"",
            &format!("type {id} ({name}"),
            "quantize",
            "byte 24",
        ];
        refused(&one_tensor(&[256], id, 0, 1024), Unsupported, &words);
    }
    for id in [43, 1000, u32::MAX] {
        let words = ["\"w\"", &format!("type {id},"), "known"];
        refused(&one_tensor(&[256], id, 0, 1024), Unsupported, &words);
    }
}

#[test]
fn offsets_that_are_not_aligned() {
    refused(
        &one_tensor(&[4], F32, 16, 64),
        Range,
        &["\"w\"", "offset 16", "multiple of 32"],
    );
}

// CVE-2026-7482: a range beyond the file.

#[test]
fn ranges_beyond_the_file() {
    assert!(gguf::parse(&one_tensor(&[16], F32, 0, 64), 0).is_ok());
    let words = ["\"w\"", "0..64", "cut short", "byte 24"];
    refused(&one_tensor(&[16], F32, 0, 63), Range, &words);
    refused(&one_tensor(&[16], F32, 32, 64), Range, &["\"w\"", "32..96"]);
    refused(&one_tensor(&[1 << 40], F32, 0, 64), Range, &["\"w\""]);
    refused(&one_tensor(&[4], F32, 1 << 40, 64), Range, &["\"w\""]);
}

#[test]
fn ranges_that_overlap() {
    let two = |first: u64, second: u64| {
        let raw = Raw::gguf(3, 2, 0).tensor("one", &[16], F32, first);
        raw.tensor("two", &[16], F32, second).pad(32).data(128).0
    };
    assert!(gguf::parse(&two(0, 64), 0).is_ok());
    assert!(gguf::parse(&two(64, 0), 0).is_ok());
    refused(
        &two(0, 32),
        Range,
        &["\"two\"", "overlaps", "\"one\"", "byte 59"],
    );
    refused(
        &two(32, 0),
        Range,
        &["\"one\"", "overlaps", "\"two\"", "byte 24"],
    );
    refused(&two(0, 0), Range, &["\"two\"", "overlaps", "\"one\""]);
}

#[test]
fn a_header_without_its_file() {
    let sample = gguf_sample();
    let whole = gguf::parse(&sample, 0).expect("valid");
    let header = &sample[..whole.data_offset as usize];
    let again =
        gguf::parse_header(header, Some(sample.len() as u64), 0).expect("the file is long enough");
    assert_eq!(whole, again);
    let error =
        gguf::parse_header(header, Some(sample.len() as u64 - 1), 0).expect_err("too short");
    assert_eq!(error.kind(), Range);
}
