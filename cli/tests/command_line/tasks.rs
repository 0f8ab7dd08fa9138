//! Tasks of encoders, on the tiny models that the library's tests hold against the reference.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::folder::TempFolder;
use crate::text::{DEMO, fed, well};
use crate::{failure, path, rillm, text};

fn model(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tasks");
    root.join(name)
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn vectors_are_the_same_in_every_form() {
    let model = model("embed");
    let model = path(&model);
    let folder = TempFolder::new("embed");
    let file = folder.join("texts.txt");
    fs::write(&file, "the king\nMary went to London\n\na city").expect("a file");
    let plain = well(&["embed", model, "-f", path(&file)]);
    let json = lines(&well(&["embed", model, "--json", "-f", path(&file)]));
    assert_eq!((plain.lines().count(), json.len()), (4, 4));
    let npy = folder.join("out.npy");
    assert_eq!(
        well(&["embed", model, "-f", path(&file), "-o", path(&npy)]),
        ""
    );
    let npy = fs::read(&npy).expect("vectors");
    let begin =
        b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (4, 20), }";
    assert!(npy.starts_with(begin));
    let (values, rest) = npy[128..].as_chunks::<4>();
    assert_eq!((values.len(), rest.len()), (80, 0));
    let mut values = values.iter().map(|bytes| f32::from_le_bytes(*bytes));
    for (line, json) in plain.lines().zip(&json) {
        let json = json["embedding"].as_array().expect("numbers");
        for (number, json) in line.split(' ').zip(json) {
            let value = values.next().expect("a number");
            assert_eq!(number.parse::<f32>().expect("a number"), value);
            assert_eq!(json.as_f64().expect("a number") as f32, value);
        }
    }
    // The same texts as words, as options, and piped in.
    let words = ["embed", model, "the king", "Mary went to London", "-p", ""];
    assert_eq!(
        well(&words).lines().collect::<Vec<_>>(),
        plain.lines().take(3).collect::<Vec<_>>()
    );
    let piped = fed(
        &["embed", model],
        "the king\nMary went to London\n\na city\n",
    );
    assert_eq!(text(&piped.stdout), plain);
    let whole = well(&["embed", model, "--whole", "-f", path(&file)]);
    assert_eq!(whole.lines().count(), 1);
    let short = well(&["embed", model, "the king", "--truncate-dim", "3"]);
    assert_eq!(short.split(' ').count(), 3);
    failure(
        &rillm(&["embed", model, "x", "--prompt-name", "y"]),
        1,
        &["document, query"],
    );
    failure(
        &rillm(&["embed", model, "x", "--pooling", "y"]),
        2,
        &["mean_sqrt_len_tokens"],
    );
    failure(
        &rillm(&["embed", model, "x", "--json", "-o", "x.npy"]),
        2,
        &[".npy"],
    );
    let long = rillm(&["embed", model, &"red ".repeat(40)]);
    assert!(text(&long.stderr).contains("1 of 1 texts had more than 24 tokens"));
}

#[test]
fn what_is_nearest_or_answers_best_comes_first() {
    let texts = ["the king of Paris", "a small river", "Mary lives in London"];
    for command in ["similar", "rerank"] {
        let model = model(if command == "similar" {
            "embed"
        } else {
            "rerank"
        });
        let begin = [command, path(&model), "who is the queen?"];
        let plain = well(&[&begin[..], &texts].concat());
        let json = lines(&well(&[&begin[..], &texts, &["--json"]].concat()));
        assert_eq!((plain.lines().count(), json.len()), (3, 3));
        let scores: Vec<f64> = json
            .iter()
            .map(|one| one["score"].as_f64().unwrap())
            .collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        for (line, one) in plain.lines().zip(&json) {
            let id = one["corpus_id"].as_u64().unwrap() as usize;
            assert_eq!(one["text"], texts[id]);
            assert!(line.ends_with(texts[id]), "{line}");
        }
        let best = well(&[&begin[..], &texts, &["-k", "1"]].concat());
        assert_eq!(best.lines().next(), plain.lines().next());
        assert_eq!(best.lines().count(), 1);
    }
    let model = model("rerank");
    failure(&rillm(&["rerank", path(&model)]), 2, &["no query"]);
    failure(
        &rillm(&["similar", DEMO, "a", "b"]),
        1,
        &["last_hidden_state"],
    );
}

#[test]
fn texts_get_labels() {
    let model = model("classify");
    let model = path(&model);
    let line = well(&["classify", model, "the king"]);
    assert!(
        line.ends_with("  the king\n") && line.contains(" 0."),
        "{line}"
    );
    let json = lines(&well(&["classify", model, "the king", "-k", "3", "--json"]));
    assert_eq!(json[0].as_array().expect("labels").len(), 3);
    let labels = [
        "classify",
        model,
        "the king",
        "--labels",
        "sport, politics",
        "--json",
    ];
    let found = lines(&well(&labels));
    assert_eq!(found[0]["sequence"], "the king");
    assert_eq!(found[0]["labels"].as_array().expect("labels").len(), 2);
    let template = [
        "classify",
        model,
        "x",
        "--labels",
        "a",
        "--hypothesis-template",
        "no",
    ];
    failure(&rillm(&template), 1, &["hypothesis_template"]);
}

#[test]
fn parts_of_texts_are_found() {
    let tag = model("tag");
    let given = "Mary went to Zürich";
    let found = lines(&well(&[
        "tag",
        path(&tag),
        given,
        "--json",
        "--strategy",
        "none",
    ]));
    for entity in found[0].as_array().expect("entities") {
        let place = |key: &str| entity[key].as_u64().expect("a place") as usize;
        assert!(
            given.get(place("start")..place("end")).is_some(),
            "{entity}"
        );
        assert!(entity["entity"].is_string() && entity["index"].is_u64());
    }
    let answer = model("answer");
    let found = lines(&well(&[
        "answer",
        path(&answer),
        "Who went?",
        given,
        "--json",
    ]));
    let place = |key: &str| found[0][key].as_u64().expect("a place") as usize;
    assert_eq!(found[0]["answer"], given[place("start")..place("end")]);
    failure(&rillm(&["answer", path(&answer)]), 2, &["no question"]);
    let fill = model("fill-mask");
    let found = well(&["fill-mask", path(&fill), "the [MASK] of Paris", "-k", "2"]);
    assert_eq!(found.lines().count(), 2);
    assert!(
        found.lines().all(|line| line.ends_with(" of paris")),
        "{found}"
    );
    failure(
        &rillm(&["fill-mask", path(&fill), "the king"]),
        1,
        &["[MASK]"],
    );
}

#[test]
fn what_quantizing_costs_is_printed() {
    let folder = TempFolder::new("against");
    for (task, arguments) in [
        (
            "embed",
            vec!["the king", "a river", "Mary went to London", "a city"],
        ),
        ("classify", vec!["the king", "a river", "a city"]),
        ("rerank", vec!["the king", "a river", "a city"]),
    ] {
        let model = model(task);
        let small = folder.join(format!("{task}.gguf"));
        if task == "embed" {
            // Its second module has weights, which GGUF has no place for.
            let itself = [
                &["embed", path(&model)],
                &arguments[..],
                &["--against", path(&model)],
            ];
            let same = well(&itself.concat());
            assert!(same.contains("mean 1.000000"), "{same}");
            assert!(
                same.contains("nearest text       4 of 4 (100.0%)"),
                "{same}"
            );
            continue;
        }
        well(&["quantize", path(&model), path(&small), "-q", "q8_0"]);
        let line = [
            &[task, path(&model)],
            &arguments[..],
            &["--against", path(&small)],
        ];
        let found = well(&line.concat());
        let says = if task == "classify" {
            "label agreement"
        } else {
            "rank correlation"
        };
        assert!(found.contains(says), "{found}");
        let json = lines(&well(&[&line.concat()[..], &["--json"]].concat()));
        assert_eq!(json.len(), 1);
    }
}
