//! The fuzzers of folders, of tasks, of inputs to models, of what is written, of plans, of normalizers and of
//! templates. That of the C interface is replayed where its functions are, in `capi/tests`.

use rillm::Model;

use super::seeds::{self, files, small_seeds};
use crate::support::damage::{Planned, damage};
use crate::support::evaluate::open_bytes;
use crate::support::evaluated::evaluated;
use crate::support::folder::TempFolder;
use crate::support::normalized::normalized;
use crate::support::open_folder::open_folder;
use crate::support::render::{conversation, render};
use crate::support::requantize::requantize;
use crate::support::run_tasks::run_tasks;

/// Those that inputs are evaluated by; the fuzzer has the same list.
const EVALUATED: [&str; 4] = ["ok-llama", "ok-bert", "ok-t5", "ok-transformer-xl"];

/// Those whose plans are damaged; the fuzzer has the same list.
const PLANNED: [&str; 8] = [
    "ok-llama",
    "ok-mamba",
    "ok-hybrid",
    "ok-bert",
    "ok-t5",
    "ok-transformer-xl",
    "ok-rwkv7",
    "ok-mixtral",
];

fn models(names: &[&str]) -> Vec<Model> {
    let mut seeds = seeds::all();
    let open = |name: &&str| open_bytes(seeds.remove(*name).expect("a seed")).expect("a model");
    names.iter().map(open).collect()
}

/// Runs a target's seeds and regressions; a seed's name says how it comes out.
fn replay(target: &str, run: impl Fn(&[u8]) -> bool) {
    for (name, bytes) in files("seeds", target) {
        assert_eq!(run(&bytes), name.starts_with("ok-"), "{target}: {name}");
    }
    for bytes in files("regressions", target).values() {
        run(bytes);
    }
}

#[test]
fn small_seeds_are_what_their_generator_makes() {
    for (target, made) in small_seeds() {
        let held = files("seeds", target);
        assert!(
            held == made,
            "{target}: run the ignored test write_small_seeds"
        );
    }
}

#[test]
fn folders() {
    let open = |bytes: &[u8]| open_folder(bytes, &TempFolder::new("fuzz-folder"));
    replay("folder", open);
    // What its files end in is cut off, one byte of each is changed.
    for (_, bytes) in seeds::folders::all() {
        for at in (0..bytes.len()).step_by(13) {
            let mut lying = bytes.clone();
            lying[at] ^= 1 << (at % 8);
            open(&lying);
            open(&bytes[..at]);
        }
    }
}

#[test]
fn tasks() {
    let run = |bytes: &[u8]| run_tasks(bytes, &TempFolder::new("fuzz-tasks"));
    replay("tasks", |bytes| run(bytes) > 0);
    // What files say of a task stands before and behind the weights.
    for (_, bytes) in seeds::tasks::all() {
        for at in (0..bytes.len()).step_by(11) {
            let mut lying = bytes.clone();
            lying[at] ^= 1 << (at % 8);
            run(&lying);
        }
    }
}

#[test]
fn inputs_to_models() {
    let models = models(&EVALUATED);
    replay("eval_input", |bytes| evaluated(&models, bytes));
    for (_, bytes) in seeds::small::evaluations() {
        for at in 0..bytes.len() {
            for byte in *b"0-9e[]{}:,\"" {
                let mut lying = bytes.clone();
                lying[at] = byte;
                evaluated(&models, &lying);
            }
        }
    }
}

#[test]
fn what_is_written() {
    let write = |bytes: &[u8]| requantize(bytes, &TempFolder::new("fuzz-quantize"));
    replay("quantize", write);
    for (_, model) in seeds::all() {
        for mix in 0..rillm::quantize::MIXES.len() {
            let options = (mix % 4) as u8;
            write(&[&[mix as u8, options], model.as_slice()].concat());
        }
    }
}

/// Each change of a plan by itself, and some in a row.
#[test]
fn damaged_plans() {
    let models: Vec<Planned> = models(&PLANNED).into_iter().map(Planned::new).collect();
    let run = |bytes: &[u8]| {
        let (which, rest) = bytes.split_first().expect("a model");
        damage(&models[usize::from(*which) % models.len()], rest)
    };
    replay("plan", run);
    let mut accepted = 0;
    for model in 0..models.len() as u8 {
        for plan in 0..2 {
            for what in 0..18 {
                for at in (0..40).step_by(3) {
                    for by in [1, 2, 5, 33, 65, 130, 255] {
                        accepted += usize::from(run(&[model, plan, what, at, by]));
                        run(&[model, plan, what, at, by, by, at, what]);
                    }
                }
            }
        }
    }
    assert!(accepted > 100, "{accepted} were taken");
}

#[test]
fn normalizers() {
    replay("normalizer", normalized);
}

#[test]
fn chat_templates() {
    replay("chat_template", |bytes| {
        let (source, turns) = conversation(bytes);
        render(&source, &turns)
    });
}
