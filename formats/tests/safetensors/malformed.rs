//! Hostile and broken safetensors files and indexes of shards: each is refused in one line that
//! names what is wrong, and nothing ever panics.

use rillm_formats::ErrorKind::{self, *};
use rillm_formats::safetensors;

use crate::support::{Raw, SAFETENSORS_HEADER, expect, walk};

#[track_caller]
fn refused(header: &str, data_len: usize, kind: ErrorKind, words: &[&str]) {
    let bytes = crate::support::safetensors(header, data_len);
    expect(
        safetensors::parse(&bytes, 0).expect_err("accepted"),
        kind,
        words,
    );
}

/// A tensor's part of a header.
fn tensor(name: &str, dtype: &str, shape: &str, start: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
}

fn one(dtype: &str, shape: &str, start: u64, end: u64) -> String {
    format!("{{{}}}", tensor("w", dtype, shape, start, end))
}

fn two(first: (u64, u64), second: (u64, u64)) -> String {
    let shape = |range: (u64, u64)| format!("[{}]", range.1.saturating_sub(range.0));
    let one = tensor("one", "I8", &shape(first), first.0, first.1);
    let two = tensor("two", "I8", &shape(second), second.0, second.1);
    format!("{{{one},{two}}}")
}

#[test]
fn safetensors_truncated_at_every_byte() {
    let sample = crate::support::safetensors(SAFETENSORS_HEADER, 36);
    assert!(walk::safetensors(&sample));
    for len in 0..sample.len() {
        let error = safetensors::parse(&sample[..len], 0).expect_err("accepted a torn file");
        assert!(matches!(error.kind(), Truncated | Range), "{len}: {error}");
    }
}

#[test]
fn safetensors_with_flipped_bits() {
    let mut bytes = crate::support::safetensors(SAFETENSORS_HEADER, 36);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            walk::safetensors(&bytes);
            bytes[at] ^= 1 << bit;
        }
    }
}

#[test]
fn headers_larger_than_they_may_be() {
    let bytes = Raw::default().u64(u64::MAX).bytes(b"{}").0;
    expect(
        safetensors::parse(&bytes, 0).unwrap_err(),
        Limit,
        &["18446744073709551615", "byte 0"],
    );
    let bytes = Raw::default().u64(100_000_001).bytes(b"{}").0;
    expect(
        safetensors::parse(&bytes, 0).unwrap_err(),
        Limit,
        &["100000001"],
    );
    let bytes = Raw::default().u64(3).bytes(b"{}").0;
    expect(
        safetensors::parse(&bytes, 0).unwrap_err(),
        Truncated,
        &["needs 3 bytes", "byte 8"],
    );
}

#[test]
fn headers_that_are_no_header() {
    expect(
        safetensors::parse(b"", 0).unwrap_err(),
        Truncated,
        &["byte 0"],
    );
    refused("", 0, Foreign, &["begin with", "byte 8"]);
    refused(" {}", 0, Foreign, &["begin with"]);
    refused("{\"a\":", 0, Truncated, &["safetensors header"]);
    refused("{}x", 0, Syntax, &["trailing", "byte 10"]);
    refused("{'a':1}", 0, Syntax, &["byte 9"]);
    refused(
        &format!("{{\"a\":{}", "[".repeat(100_000)),
        0,
        Type,
        &["tensor \"a\""],
    );
    let bytes = Raw::default().string(b"{\"\xff\":1}").0;
    expect(
        safetensors::parse(&bytes, 0).unwrap_err(),
        Syntax,
        &["byte"],
    );
}

#[test]
fn safetensors_names_twice() {
    let w = tensor("w", "I8", "[1]", 0, 1);
    refused(&format!("{{{w},{w}}}"), 1, Duplicate, &["\"w\"", "twice"]);
    let escaped = tensor("\\u0077", "I8", "[1]", 1, 2);
    refused(
        &format!("{{{w},{escaped}}}"),
        2,
        Duplicate,
        &["\"w\"", "twice"],
    );
    let metadata = r#""__metadata__":{"a":"b"}"#;
    refused(
        &format!("{{{metadata},{metadata}}}"),
        0,
        Duplicate,
        &["__metadata__"],
    );
    refused(
        r#"{"__metadata__":{"a":"b","a":"c"}}"#,
        0,
        Duplicate,
        &["\"a\"", "twice"],
    );
    let twice = r#"{"w":{"dtype":"I8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}"#;
    refused(twice, 1, Duplicate, &["\"w\"", "\"dtype\" twice"]);
}

#[test]
fn holes_overlaps_and_leftovers() {
    let fine = crate::support::safetensors(&two((0, 4), (4, 8)), 8);
    assert!(safetensors::parse(&fine, 0).is_ok());
    refused(
        &two((0, 4), (5, 8)),
        8,
        Range,
        &["\"two\"", "[5, 8]", "hole after 4"],
    );
    refused(&two((1, 4), (4, 8)), 8, Range, &["\"one\"", "hole after 0"]);
    refused(
        &two((0, 4), (3, 8)),
        8,
        Range,
        &["\"two\"", "overlapping", "ends at 4"],
    );
    refused(&two((0, 4), (0, 4)), 8, Range, &["\"", "overlapping"]);
    refused(&two((0, 4), (4, 8)), 9, Range, &["cover 8 bytes", "has 9"]);
    refused(
        &two((0, 4), (4, 8)),
        7,
        Range,
        &["\"two\"", "only 7 bytes", "cut short"],
    );
    refused("{}", 1, Range, &["cover 0 bytes", "has 1"]);
}

#[test]
fn offsets_reversed_or_beyond_all() {
    refused(
        &one("I8", "[4]", 4, 0),
        4,
        Range,
        &["\"w\"", "[4, 0]", "reversed"],
    );
    refused(&two((0, 4), (4, 2)), 4, Range, &["\"two\"", "reversed"]);
    refused(
        &one("I8", "[4]", 0, u64::MAX),
        4,
        Range,
        &["\"w\"", "only 4 bytes"],
    );
    let beyond = r#"{"w":{"dtype":"I8","shape":[1],"data_offsets":[0,18446744073709551616]}}"#;
    refused(beyond, 1, Type, &["data_offsets of tensor \"w\"", "2^64"]);
    let negative = r#"{"w":{"dtype":"I8","shape":[1],"data_offsets":[-1,0]}}"#;
    refused(negative, 1, Type, &["data_offsets of tensor \"w\""]);
    let three = r#"{"w":{"dtype":"I8","shape":[1],"data_offsets":[0,1,2]}}"#;
    refused(three, 1, Limit, &["data_offsets of tensor \"w\""]);
    let single = r#"{"w":{"dtype":"I8","shape":[1],"data_offsets":[0]}}"#;
    refused(single, 1, Missing, &["\"w\"", "data_offsets"]);
}

#[test]
fn shapes_at_odds_with_ranges() {
    let words = ["\"w\"", "F32 [4]", "takes 16 bytes", "hold 15"];
    refused(&one("F32", "[4]", 0, 15), 15, Range, &words);
    refused(
        &one("BOOL", "[4]", 0, 3),
        3,
        Range,
        &["\"w\"", "takes 4 bytes"],
    );
    refused(&one("F32", "[0, 4]", 0, 16), 16, Range, &["takes 0 bytes"]);
    let overflow = ["\"w\"", "more than 2^64 bytes"];
    refused(
        &one("F32", "[4294967296, 4294967296]", 0, 0),
        0,
        Value,
        &overflow,
    );
    refused(
        &one("F32", "[4194304, 2097152, 2097152]", 0, 0),
        0,
        Value,
        &overflow,
    );
    refused(
        &one("F64", "[2305843009213693952]", 0, 0),
        0,
        Value,
        &overflow,
    );
    refused(
        &one("F32", "[1,1,1,1,1,1,1,1,1]", 0, 4),
        4,
        Limit,
        &["shape of tensor \"w\"", "8"],
    );
    refused(
        &one("F32", "[1.5]", 0, 4),
        4,
        Type,
        &["shape of tensor \"w\""],
    );
    refused(
        &one("F32", "[-1]", 0, 4),
        4,
        Type,
        &["shape of tensor \"w\""],
    );
    refused(&one("F32", "4", 0, 4), 4, Type, &["shape of tensor \"w\""]);
}

#[test]
fn safetensors_types_confused() {
    refused(r#"{"w":5}"#, 0, Type, &["tensor \"w\"", "byte"]);
    refused(r#"{"w":null}"#, 0, Type, &["tensor \"w\""]);
    refused(r#"{"w":{}}"#, 0, Missing, &["tensor \"w\"", "dtype"]);
    refused(r#"{"w":{"dtype":1}}"#, 0, Type, &["dtype of tensor \"w\""]);
    refused(
        r#"{"w":{"kind":1}}"#,
        0,
        Value,
        &["tensor \"w\"", "\"kind\""],
    );
    refused(r#"{"__metadata__":{"a":1}}"#, 0, Type, &["\"a\"", "string"]);
    refused(r#"{"__metadata__":[]}"#, 0, Type, &["__metadata__"]);
    let name = "n".repeat(2000);
    refused(
        &format!("{{\"{name}\":{{}}}}"),
        0,
        Limit,
        &["name", "2000 bytes"],
    );
}

#[track_caller]
fn index_refused(text: &str, kind: ErrorKind, words: &[&str]) {
    let error = safetensors::ShardIndex::parse(text.as_bytes()).expect_err("accepted");
    expect(error, kind, words);
}

#[test]
fn shards_that_lead_elsewhere() {
    for file in [
        "../m.safetensors",
        "..",
        "a/m.safetensors",
        "/etc/m.safetensors",
        "a\\\\m.safetensors",
        "C:m.safetensors",
        "m\\u0000.safetensors",
        "m\\n.safetensors",
    ] {
        let text = format!(r#"{{"weight_map":{{"w":"{file}"}}}}"#);
        index_refused(&text, Value, &["tensor \"w\"", "plain file name"]);
    }
    let text = r#"{"weight_map":{"w":"pytorch_model.bin"}}"#;
    index_refused(
        text,
        Value,
        &["\"pytorch_model.bin\"", ".safetensors", "convert"],
    );
    let long = "m".repeat(300);
    let text = format!(r#"{{"weight_map":{{"w":"{long}.safetensors"}}}}"#);
    index_refused(&text, Value, &["tensor \"w\"", "too long"]);
}

#[test]
fn indexes_that_are_none() {
    index_refused("", Truncated, &["index.json"]);
    index_refused("[]", Type, &["weight_map"]);
    index_refused("{}", Missing, &["weight_map"]);
    index_refused(r#"{"weight_map":{"w":1}}"#, Type, &["tensor \"w\""]);
    let twice = r#"{"weight_map":{"w":"a.safetensors","w":"b.safetensors"}}"#;
    index_refused(twice, Duplicate, &["\"w\"", "twice"]);
    let bomb = format!(r#"{{"metadata":{}"#, "[".repeat(100_000));
    // What is skipped is skipped without recursion.
    index_refused(&bomb, Truncated, &["EOF"]);
}
