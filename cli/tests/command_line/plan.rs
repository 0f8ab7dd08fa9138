//! `rillm plan`: what it says, from what little, and that runs take what it says.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::folder::TempFolder;
use crate::{path, rillm, text};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.gguf");
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/fixtures");

fn said(arguments: &[&str]) -> String {
    let output = rillm(&[&["plan"], arguments].concat());
    let error = text(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    text(&output.stdout).to_owned()
}

fn planned(arguments: &[&str]) -> Value {
    let all = said(&[arguments, &["--json"]].concat());
    serde_json::from_str(&all).expect("JSON")
}

#[test]
fn a_header_is_enough() {
    let folder = TempFolder::new("plan");
    let bytes = fs::read(DEMO).expect("the demo");
    let cut = folder.join("cut.gguf");
    fs::write(&cut, &bytes[..200_000]).expect("a file");
    let mut whole = planned(&[DEMO]);
    let mut of_header = planned(&[path(&cut)]);
    assert_eq!(of_header["estimate"], false);
    of_header["model"] = whole["model"].clone();
    // The program's own varies.
    of_header["resident"] = Value::Null;
    whole["resident"] = Value::Null;
    assert_eq!(of_header, whole);
    let listed = whole["weights"]["layers"].as_array().expect("layers");
    let layers: u64 = listed
        .iter()
        .filter_map(|layer| layer["bytes"].as_u64())
        .sum();
    assert_eq!(whole["weights"]["mapped_bytes"], layers);
    let parts = ["mapped_bytes", "vectors_bytes"].map(|key| whole["weights"][key].as_u64());
    let parts: u64 = parts.into_iter().flatten().sum();
    let rest =
        whole["state"]["bytes"].as_u64().unwrap() + whole["arena"]["bytes"].as_u64().unwrap();
    assert_eq!(whole["total_bytes"], parts + rest);
}

#[test]
fn a_configuration_alone_is_an_estimate_and_says_so() {
    let folder = TempFolder::new("plan-config");
    let file = folder.join("config.json");
    fs::copy(format!("{FIXTURES}/llama/config.json"), &file).expect("a file");
    let llama = path(&file);
    let alone = planned(&[llama]);
    assert_eq!(alone["estimate"], true);
    assert_eq!(alone["presumed"]["type"], "F32");
    let text = said(&[llama, "--layers"]);
    assert!(text.contains("an estimate: no file names"), "{text}");
    assert!(text.contains("layer 1"), "{text}");
    // In another type it is smaller, and what it is asked for counts.
    let small = planned(&[llama, "-q", "f16", "-c", "64", "--kv-type", "q8_0"]);
    let weights = |plan: &Value| plan["weights"]["mapped_bytes"].as_u64().unwrap();
    assert!(weights(&small) < weights(&alone) * 6 / 10);
    assert_eq!(small["asked"]["kv_type"], "q8_0");
}

/// Weights that are published in few bits are converted before they run: what they become is planned.
#[test]
fn a_configuration_says_how_its_weights_are_quantized() {
    let folder = TempFolder::new("plan-quantized");
    for (fixture, method, types) in [
        ("gpt_oss", "mxfp4", &["MXFP4", "Q8_0"][..]),
        ("deepseek_v3", "fp8", &["Q8_0"]),
    ] {
        let file = fs::read(format!("{FIXTURES}/{fixture}/config.json")).expect("a file");
        let mut config: Value = serde_json::from_slice(&file).expect("JSON");
        // Whole blocks of every type.
        for width in ["hidden_size", "intermediate_size", "moe_intermediate_size"] {
            if config.get(width).is_some() {
                config[width] = 256.into();
            }
        }
        let plain = folder.join("plain.json");
        fs::write(&plain, config.to_string()).expect("a file");
        config["quantization_config"] = serde_json::json!({ "quant_method": method });
        let quantized = folder.join("quantized.json");
        fs::write(&quantized, config.to_string()).expect("a file");
        let weights = |plan: &Value| plan["weights"]["mapped_bytes"].as_u64().unwrap();
        let (plain, plan) = (planned(&[path(&plain)]), planned(&[path(&quantized)]));
        assert!(weights(&plan) * 2 < weights(&plain));
        assert_eq!(plan["estimate"], true);
        assert_eq!(plan["published"]["form"], method);
        let found = plan["weights"]["types"].as_array().expect("a list").iter();
        let found: Vec<&str> = found.filter_map(|one| one["type"].as_str()).collect();
        assert!(types.iter().all(|name| found.contains(name)), "{found:?}");
        let output = rillm(&["plan", path(&quantized)]);
        assert!(text(&output.stderr).contains(method), "{output:?}");
        // Whoever asks for a type gets that.
        let asked = planned(&[path(&quantized), "-q", "f16"]);
        assert!(weights(&asked) > weights(&plan));
    }
}

#[test]
fn what_fits_is_found() {
    let all = planned(&[DEMO]);
    let total = all["total_bytes"].as_u64().unwrap();
    let fit = &planned(&[DEMO, "--fit", &total.to_string()])["fit"];
    assert_eq!(fit["context"], all["asked"]["context"]);
    let nothing = said(&[DEMO, "--fit", "10K"]);
    assert!(nothing.contains("no context fits"), "{nothing}");
    let any = planned(&["mamba-370m", "--fit", "4G"]);
    assert_eq!(any["fit"]["any_length"], true);
    // A large one at its best.
    let best = planned(&["mistral-7b", "-q", "f16", "-c", "4096"]);
    assert_eq!(best["fit"], Value::Null);
    let sized = said(&["mistral-7b", "-c", "4096", "--fit", "8G"]);
    assert!(
        sized.contains("at that context the best type is"),
        "{sized}"
    );
}

#[test]
fn what_a_bound_keeps_is_said_before_anything_is_loaded() {
    let whole = &planned(&["olmoe-like", "--memory", "16G"])["within"];
    assert_eq!(whole["pinned_layers"], whole["layers"]);
    assert_eq!(whole["expert_slots"], whole["experts"]);
    let some = &planned(&["olmoe-like", "--memory", "1G"])["within"];
    let held = some["resident_bytes"].as_u64().unwrap();
    assert!(held < 1 << 30, "{some}");
    let slots = some["expert_slots"].as_u64().unwrap();
    assert!(
        0 < slots && slots < some["experts"].as_u64().unwrap(),
        "{some}"
    );
    let told = said(&["olmoe-like", "--memory", "1G"]);
    assert!(told.contains(&format!("experts: {slots} of")), "{told}");
    let output = rillm(&["plan", "olmoe-like", "--memory", "1M"]);
    let error = text(&output.stderr);
    assert!(!output.status.success());
    assert!(error.contains("the least that works is"), "{error}");
    // What a run within it then says.
    let bound = ["--memory", "100M", "--json"];
    let foreseen = &planned(&[DEMO, "--memory", "100M"])["within"];
    let ran = rillm(&[&["run", DEMO, "-p", "A", "-n", "1"], &bound[..]].concat());
    let ran = text(&ran.stdout)
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned();
    let ran: Value = serde_json::from_str(&ran).expect("JSON");
    for key in ["resident_bytes", "pinned_layers", "layers"] {
        assert_eq!(ran["memory"][key], foreseen[key], "{key}: {ran}");
    }
}

#[test]
fn what_is_no_model_is_an_error() {
    for (arguments, expected) in [
        (
            &["nowhere"][..],
            "nowhere: no such file or folder; models have no names",
        ),
        (&["/nowhere/model.gguf"], "nor is there /nowhere"),
        (&[DEMO, "--fit", "much"], "number of bytes"),
        (&[DEMO, "-q", "q9"], "no such type"),
        (&[DEMO, "--sequences", "0"], "sequences"),
    ] {
        let output = rillm(&[&["plan"], arguments].concat());
        assert!(!output.status.success(), "{arguments:?}");
        let error = text(&output.stderr);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

/// Peak of what a command has in memory, as the system counts it: in the end, it has been all.
#[cfg(target_os = "linux")]
fn peak(arguments: &[&str]) -> u64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rillm"));
    command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("the program");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().expect("a child").is_none() {
        let said = fs::read_to_string(Path::new(&status)).unwrap_or_default();
        let line = said.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok());
        peak = peak.max(kib.unwrap_or(0u64) << 10);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(child.wait().expect("a child").success(), "{arguments:?}");
    peak
}

/// Of models so large that it means something, within three hundredths, whatever their family. How much
/// of a table that is looked up comes into memory is the system's choice, which experts are met the
/// text's.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "draws models of 300 to 2200 MB, one by one"]
fn runs_take_what_was_planned() {
    let folder = TempFolder::new("plan-peak");
    for (shape, dtype) in [
        // Longformer's matrices for global tokens are read where there are such.
        ("big-bird-base", "q8_0"),
        ("flan-t5-large", "q4_0"),
        ("led-large", "q8_0"),
        ("llama-370m", "q8_0"),
        ("gemma3-1b", "q4_0"),
        ("olmoe-like", "q4_0"),
        ("deepseek-v2-lite-like", "q4_0"),
        ("mamba-370m", "q8_0"),
        ("mamba2-370m", "q8_0"),
        ("retnet-370m", "q8_0"),
        ("gla-370m", "q8_0"),
        ("linear-370m", "q8_0"),
        ("rwkv4-430m", "q8_0"),
        ("rwkv7-0.4b", "q8_0"),
        ("qwen3.5-0.8b", "q8_0"),
        ("lfm2-1.2b", "q4_0"),
        ("bert-large", "q8_0"),
        ("modernbert-large", "q8_0"),
    ] {
        let file = folder.join(format!("{shape}.gguf"));
        let made = rillm(&["synth", shape, path(&file), "-q", dtype]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        // Texts of 512 tokens, and what is written after them.
        let asked: &[&str] = match shape {
            "flan-t5-large" | "led-large" => &["-c", "64", "--source", "512"],
            _ => &["-c", "512", "-b", "512"],
        };
        let plan = planned(&[&[path(&file)], asked].concat());
        let [most, least] =
            ["bytes", "least_bytes"].map(|key| plan["resident"][key].as_u64().unwrap());
        let tests = ["-p", "512", "-n", "32", "-r", "1", "-t", "2"];
        let bench = [&["bench", path(&file), "--no-roofline"], &tests[..]].concat();
        let peak = peak(&bench);
        let off = peak.saturating_sub(most) + least.saturating_sub(peak);
        println!("{shape}: {peak} of {least} to {most}");
        assert!(
            off as f64 / (most as f64) < 0.03,
            "{shape}: {peak} of {least} to {most}"
        );
        fs::remove_file(&file).expect("a file");
    }
}
