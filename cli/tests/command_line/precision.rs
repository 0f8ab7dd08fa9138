//! `--precision`: which one was used is said, and `eval` knows but one.

use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::text::DEMO;
use crate::{failure, path, rillm, text};
use rillm::{Model, ModelOptions, Precision};
use rillm_formats::manifest::DType;
use serde_json::Value;
use std::path::Path;

/// What a model has where `native` was asked for, and what is said of it.
fn native(model: &Path) -> (&'static str, &'static str) {
    let options = ModelOptions::default().precision(Precision::Native);
    let model = Model::open(model, options).expect("a model");
    match model.precision() {
        Precision::Native => ("native", "rillm: precision native"),
        _ => (
            "reference",
            "rillm: precision reference, which native is as well: ",
        ),
    }
}

#[test]
fn run_and_bench_say_which_precision_they_used() {
    let folder = TempFolder::new("precision");
    Fixture::load("llama_mqa").write_folder_as(&folder, DType::F16);
    let bench = [
        "bench",
        path(&folder),
        "-p",
        "8",
        "-n",
        "2",
        "-r",
        "1",
        "--no-roofline",
    ];
    let run = ["run", DEMO, "-p", "One day", "-n", "2"];
    for (words, model) in [(&bench[..], folder.as_ref()), (&run, Path::new(DEMO))] {
        let (used, said) = native(model);
        for (more, used, said) in [
            (&["--precision", "native"][..], used, said),
            (
                &["--precision", "reference"],
                "reference",
                "rillm: precision reference\n",
            ),
            (&[], "reference", ""),
        ] {
            let output = rillm(&[words, &["--json"], more].concat());
            let stderr = text(&output.stderr);
            assert!(output.status.success(), "{stderr}");
            let last = text(&output.stdout).lines().last().expect("a line");
            let last: Value = serde_json::from_str(last).expect("JSON");
            assert_eq!(last["precision"], used, "{last}");
            assert!(stderr.contains(said), "{stderr}");
            assert_eq!(
                stderr.contains("rillm: precision"),
                !said.is_empty(),
                "{stderr}"
            );
        }
    }
}

#[test]
fn only_the_reference_is_evaluated() {
    let eval = rillm(&["eval", DEMO, "--precision", "native"]);
    failure(&eval, 2, &["--precision"]);
    let run = rillm(&["run", DEMO, "-p", "One", "--precision", "double"]);
    failure(&run, 2, &["expected reference or native"]);
}
