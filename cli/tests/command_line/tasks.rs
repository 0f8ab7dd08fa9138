//! Tasks of encoders, on the tiny models that the library's tests hold against the reference.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::folder::TempFolder;
use crate::support::translation::{TEXTS, cases, folder};
use crate::text::{DEMO, fed, well};
use crate::{failure, path, rillm, text};

pub fn model(name: &str) -> PathBuf {
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
        &["choose a pooling"],
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
fn pairs_of_texts_get_labels() {
    let model = model("classify");
    let texts = ["classify", path(&model), "the king", "a film", "--json"];
    let with = |others: &[&str]| {
        let others = others.iter().flat_map(|other| ["--text-pair", other]);
        rillm(&[&texts[..], &others.collect::<Vec<_>>()].concat())
    };
    let alone = lines(&well(&texts));
    let one = lines(&well(&[&texts[..], &["--text-pair", "the queen"]].concat()));
    assert_eq!((alone.len(), one.len()), (2, 2));
    assert_ne!(alone, one);
    let apart = [
        &texts[..],
        &["--text-pair", "the river", "--text-pair", "the queen"],
    ];
    let apart = lines(&well(&apart.concat()));
    assert_eq!(apart[1], one[1]);
    assert_ne!(apart[0], one[0]);
    failure(&with(&["a", "b", "c"]), 2, &["3 texts by --text-pair"]);
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

#[test]
fn texts_are_translated_line_by_line() {
    let case = &cases()[1];
    let folder = folder(case);
    let model = path(&folder);
    let expected: Vec<&str> = case["written"]
        .as_array()
        .expect("texts")
        .iter()
        .map(|text| text.as_str().expect("a text"))
        .collect();
    let file = folder.join("texts.txt");
    fs::write(
        &file,
        format!("{}\n{}\n\n{}\n", TEXTS[0], TEXTS[1], TEXTS[2]),
    )
    .expect("a file");
    let languages = ["--from", "srp_Cyrl", "--to", "deu_Latn"];
    let translated = [&["translate", model, "-f", path(&file)], &languages[..]].concat();
    let found = well(&translated);
    assert_eq!(
        found.lines().collect::<Vec<_>>(),
        [expected[0], expected[1], "", expected[2]]
    );
    let json = lines(&well(&[&translated[..], &["--json"]].concat()));
    assert_eq!(json[1]["translation_text"], expected[1]);
    assert!(json[1]["score"].as_f64().is_some_and(|score| score < 0.0));
    assert_eq!(json[2]["translation_text"], "");
    // The other spellings, a word, and a length of one's own.
    let short = well(&[
        "translate",
        model,
        TEXTS[0],
        "--src-lang",
        "srp_Cyrl",
        "--tgt-lang",
        "deu_Latn",
        "-n",
        "3",
        "--num-beams",
        "1",
    ]);
    assert!(
        (1..=3).contains(&short.split_whitespace().count()),
        "{short}"
    );
    let unsaid = rillm(&["translate", model, TEXTS[0]]);
    failure(&unsaid, 1, &["say into which: eng_Latn"]);
    let decoder = rillm(&["translate", DEMO, "a text"]);
    failure(&decoder, 1, &["encoder–decoder models do"]);
}

/// A translator's folder that says nothing of how texts are written, and the options that do, by
/// transformers' names.
fn said_by_options(case: &Value) -> (TempFolder, Vec<String>) {
    let folder = folder(case);
    let file = folder.join("config.json");
    let mut config: Value =
        serde_json::from_slice(&fs::read(&file).expect("a file")).expect("JSON");
    let mut options = Vec::new();
    for key in [
        "num_beams",
        "max_length",
        "no_repeat_ngram_size",
        "forced_eos_token_id",
        "bad_words_ids",
    ] {
        let said = case["config"].get(key).filter(|said| !said.is_null());
        if let Some(said) = said {
            let text = said.to_string().replace(['[', ']'], "");
            options.extend([format!("--{}", key.replace('_', "-")), text]);
        }
        config.as_object_mut().expect("keys").remove(key);
    }
    fs::write(&file, config.to_string()).expect("a file");
    (folder, options)
}

#[test]
fn options_of_generate_have_their_names() {
    for at in [0, 1, 2] {
        let case = &cases()[at];
        let (folder, options) = said_by_options(case);
        let mut arguments = vec!["translate", path(&folder), TEXTS[0]];
        for (name, key) in [("--from", "from"), ("--to", "to")] {
            arguments.extend(case[key].as_str().iter().flat_map(|said| [name, said]));
        }
        arguments.extend(options.iter().map(String::as_str));
        assert_eq!(
            well(&arguments).trim_end(),
            case["written"][0],
            "{arguments:?}"
        );
        // Several texts, the best first.
        let more = [
            "--num-return-sequences",
            "2",
            "--early-stopping=never",
            "--json",
        ];
        let found = lines(&well(&[&arguments[..], &more].concat()));
        let score = |line: &Value| line["score"].as_f64().expect("a score");
        assert_eq!(found.len(), 2);
        assert!(score(&found[0]) >= score(&found[1]));
        assert_ne!(found[0]["translation_text"], found[1]["translation_text"]);
    }
    let folder = folder(&cases()[2]);
    let model = path(&folder);
    for (option, why) in [
        ("--early-stopping=soon", "true, false or never"),
        ("--suppress-tokens=a", "as in 5,17"),
        ("--exponential-decay-length-penalty=5", "as in 20,1.2"),
        ("--num-return-sequences=300", "1 to 256"),
    ] {
        let refused = rillm(&["translate", model, TEXTS[0], "--to", "fra", option]);
        failure(&refused, 2, &[why]);
    }
    let warned = rillm(&["translate", model, TEXTS[0], "--to", "fra", "--top-k=5"]);
    assert!(warned.status.success(), "{}", text(&warned.stderr));
    assert!(text(&warned.stderr).contains("--top-k does nothing without --do-sample"));
}

#[test]
fn run_writes_as_generate_does_where_it_is_asked_to() {
    // Of a model that is told its task before the text, and of one that is told the language.
    let task = [
        "--max-length",
        "16",
        "--no-repeat-ngram-size",
        "1",
        "--temp",
        "0",
    ];
    let language = [
        "--max-length",
        "16",
        "--num-beams",
        "4",
        "--bad-words-ids",
        "4",
    ];
    for (at, before, options) in [(4, "w60 w61 : ", task), (2, ">>fra<< ", language)] {
        let case = &cases()[at];
        let (folder, _) = said_by_options(case);
        let prompt = format!("{before}{}", TEXTS[0]);
        let asked = ["run", path(&folder), "-p", &prompt, "--special"];
        let written = well(&[&asked[..], &options].concat());
        assert_eq!(written.trim_end(), case["written"][0], "{options:?}");
    }
    let stops = ["run", DEMO, "-p", "Once", "--num-beams", "2", "--stop", "x"];
    failure(
        &rillm(&stops),
        2,
        &["--reverse-prompt", "when they are found"],
    );
    let beams = [
        "--num-beams",
        "3",
        "--num-return-sequences",
        "2",
        "-n",
        "4",
        "--json",
    ];
    let found = lines(&well(&[&["run", DEMO, "-p", "Once"], &beams[..]].concat()));
    assert_eq!(found.len(), 2);
    assert!(found[0]["score"].as_f64() >= found[1]["score"].as_f64());
    assert_eq!(
        (&found[0]["tokens"], &found[0]["prompt_tokens"]),
        (&json!(4), &json!(2))
    );
}

#[test]
fn a_file_is_summarized_as_a_whole() {
    let case = &cases()[4];
    let folder = folder(case);
    let model = path(&folder);
    let file = folder.join("text.txt");
    fs::write(&file, format!("{}\n{}\n", TEXTS[0], TEXTS[1])).expect("a file");
    let written = well(&["summarize", model, "-f", path(&file), "-n", "5"]);
    assert_eq!(written.lines().count(), 1);
    assert_eq!(written.split_whitespace().count(), 5);
    let whole = format!("{} {}", TEXTS[0], TEXTS[1]);
    assert_eq!(well(&["summarize", model, &whole, "-n", "5"]), written);
    let json = lines(&well(&["summarize", model, &whole, "-n", "5", "--json"]));
    assert_eq!(json[0]["summary_text"], written.trim_end());
}
