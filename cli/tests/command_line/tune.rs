//! `rillm tune`, and the file that it writes.

use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::{command, failure, path, rillm, text};
use serde_json::{Value, json};

#[test]
fn small_models_have_nothing_to_choose() {
    let folder = Fixture::load("llama_mqa").folder();
    let output = rillm(&["tune", path(&folder)]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("nothing to choose"));
    let place = TempFolder::new("tune");
    let file = place.join("tuning.json");
    let output = rillm(&["tune", path(&folder), "--json", "-o", path(&file)]);
    assert_eq!(output.status.code(), Some(2));
    assert!(!file.exists());
    let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(shown["fastest"], Value::Null);
    assert_eq!(shown["uses"]["isa"], shown["isa"]);
}

/// What a file says is used, and what is no such file is refused by name.
#[test]
fn a_tuning_file_is_used_or_refused() {
    let folder = Fixture::load("llama_mqa").folder();
    let place = TempFolder::new("tuning");
    let file = place.join("tuning.json");
    let bench = || {
        let line = [
            "bench",
            path(&folder),
            "-p",
            "4",
            "-n",
            "0",
            "-r",
            "1",
            "--json",
        ];
        let mut command = command(&line);
        command
            .env("RILLM_TUNING", &file)
            .env("RILLM_ISA", "portable");
        command.output().expect("rillm runs")
    };
    let good = json!({
        "isa": "portable", "past_caches": true, "ahead": 512, "meanwhile": 64,
        "pack_from_floats": 2, "pack_from_bytes": 0, "pack_from_parts": 9, "chunk": 96, "spin": 1,
    });
    std::fs::write(&file, good.to_string()).unwrap();
    let output = bench();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(shown["tuning"], good);
    let refused = |what: &str| {
        failure(&bench(), 1, &[what, "RILLM_TUNING"]);
    };
    let mut other = good.clone();
    other["isa"] = json!("scalar");
    std::fs::write(&file, other.to_string()).unwrap();
    refused("is for instruction set \"scalar\", and this run uses portable");
    for (key, value) in [
        ("past_caches", json!(1)),
        ("ahead", json!(-1)),
        ("ahead", json!(1u64 << 40)),
        ("meanwhile", json!("far")),
        ("pack_from_parts", json!(null)),
        ("spin", json!(1.5)),
    ] {
        let mut wrong = good.clone();
        wrong[key] = value;
        std::fs::write(&file, wrong.to_string()).unwrap();
        refused(key);
    }
    for bad in ["", "[]", "{", "\u{0}"] {
        std::fs::write(&file, bad).unwrap();
        refused("tuning.json");
    }
    std::fs::remove_file(&file).unwrap();
    refused("tuning.json");
}
