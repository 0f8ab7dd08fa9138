//! Command lines that were written for llama.cpp.
//!
//! Its options of several letters behind one dash are given the names that they have here, and
//! what has no meaning on plain CPUs, or happens anyway, is left out with a word; what cannot be
//! done is refused with one.

use super::CliError;
use std::ffi::OsString;

/// What follows an option.
#[derive(Clone, Copy)]
enum Takes {
    Nothing,
    Value,
    /// One of the words that switches take, if it is there.
    Switch,
}

/// Several letters behind one dash, and the option.
const RENAMED: &[(&str, &str)] = &[
    ("-ctk", "--cache-type-k"),
    ("-ctv", "--cache-type-v"),
    ("-sys", "--system-prompt"),
    ("-sysf", "--system-prompt-file"),
    ("-pg", "--pg"),
    ("-ub", "--ubatch-size"),
];

/// Options without effect.
const WITHOUT_EFFECT: &[(Takes, &[&str])] = &[
    (
        Takes::Value,
        &[
            "-ngl",
            "--gpu-layers",
            "--n-gpu-layers",
            "-tb",
            "--threads-batch",
            "-sm",
            "--split-mode",
            "-mg",
            "--main-gpu",
            "-ts",
            "--tensor-split",
            "-dev",
            "--device",
            "-ncmoe",
            "--n-cpu-moe",
            "-ot",
            "--override-tensor",
            "--numa",
            "--prio",
            "--poll",
            "-np",
            "--parallel",
            "-dt",
            "--defrag-thold",
            "-lm",
            "--load-mode",
            "-fitt",
            "--fit-target",
            "-fitc",
            "--fit-ctx",
            "-lv",
            "--verbosity",
            "--log-verbosity",
            "--log-file",
            "-C",
            "--cpu-mask",
            "--cpu-strict",
            "--delay",
        ],
    ),
    (
        Takes::Switch,
        &[
            "-fa",
            "--flash-attn",
            "-fit",
            "--fit",
            "-co",
            "--color",
            "--log-colors",
            // llama-bench and its kin give these a value, the others do not.
            "-kvo",
            "--kv-offload",
            "-nkvo",
            "--no-kv-offload",
            "--repack",
            "-nr",
            "--no-repack",
            "-rtr",
            "--run-time-repack",
            "--no-host",
            "-nopo",
            "--op-offload",
            "--no-op-offload",
            "-fmoe",
            "--fused-moe",
            "-embd",
            "--embeddings",
        ],
    ),
    (
        Takes::Nothing,
        &[
            "--mlock",
            "--perf",
            "--no-perf",
            "--warmup",
            "--swa-full",
            "-cmoe",
            "--cpu-moe",
            "-cb",
            "--cont-batching",
            "-nocb",
            "--no-cont-batching",
            "--progress",
            "--check-tensors",
            "--log-disable",
            "--log-prefix",
            "--log-timestamps",
            "-no-cnv",
            "--no-conversation",
            "--no-context-shift",
            "--display-prompt",
            "--simple-io",
            "--offline",
            "-v",
            "--verbose",
            "--log-verbose",
            "--verbose-prompt",
            "--jinja",
            "--no-jinja",
            "-st",
            "--single-turn",
            "-sp",
        ],
    ),
];

/// Options without a value that have an effect with these commands alone.
const EFFECT_IN: &[(&str, &[&str])] = &[
    ("-cnv", &["run"]),
    ("--conversation", &["run"]),
    ("--no-warmup", &["bench"]),
    ("--special", &["run", "tokenize"]),
];

/// Options that ask for what there is not, and what to do.
const REFUSED: &[(&[&str], &str)] = &[
    (
        &[
            "-hf",
            "-hfr",
            "--hf-repo",
            "-hff",
            "--hf-file",
            "-mu",
            "--model-url",
            "-dr",
            "--docker-repo",
        ],
        "nothing is downloaded here, give the path of a model's file: -m FILE",
    ),
    (
        &[
            "--grammar",
            "--grammar-file",
            "-j",
            "--json-schema",
            "-jf",
            "--json-schema-file",
        ],
        "grammars are not supported",
    ),
    (
        &["--rope-freq-base"],
        "give the model's key another value: --override-kv ARCHITECTURE.rope.freq_base=float:X, as \
         rillm inspect shows it",
    ),
    (
        &["--rope-freq-scale", "--rope-scale"],
        "give the model's keys other values: --override-kv \
         ARCHITECTURE.rope.scaling.type=str:linear,ARCHITECTURE.rope.scaling.factor=float:X, where \
         a frequency scale of 0.5 is a factor of 2",
    ),
];

const SWITCH: &[&str] = &["on", "off", "auto", "0", "1"];

/// One of the words that switches take, or several by commas, as llama-bench reads them.
fn is_switch(text: &str) -> bool {
    text.split(',').all(|word| SWITCH.contains(&word))
}

/// Whether a model's file is mapped, which it is unless told otherwise.
const MAPPING: &[&str] = &["-mmp", "--mmap"];

/// What makes `llama-cli` talk, where another command does that.
const CONVERSATION: &[&str] = &["-cnv", "--conversation"];

/// Options whose values are texts, which may look like options.
const TEXTS: &[&str] = &[
    "-p",
    "--prompt",
    "-r",
    "--reverse-prompt",
    "--stop",
    "--system",
    "--sys",
    "--system-prompt",
    "-sys",
    "--dry-sequence-breaker",
];

/// The command line in this program's terms, and the options that were left out.
pub fn translated(
    arguments: impl Iterator<Item = OsString>,
) -> Result<(Vec<OsString>, Vec<String>), CliError> {
    let (mut kept, mut dropped): (Vec<OsString>, Vec<String>) = (Vec::new(), Vec::new());
    let mut arguments = arguments.peekable();
    let mut text_follows = false;
    while let Some(argument) = arguments.next() {
        let name = argument.to_str().unwrap_or_default();
        if name == "--" {
            kept.push(argument);
            kept.extend(arguments);
            break;
        }
        if std::mem::replace(&mut text_follows, TEXTS.contains(&name)) {
            text_follows = false;
            kept.push(argument);
            continue;
        }
        if let Some((_, here)) = RENAMED.iter().find(|(theirs, _)| *theirs == name) {
            kept.push(here.into());
            continue;
        }
        let (option, attached) = match name.split_once('=') {
            Some((option, _)) => (option, true),
            None => (name, false),
        };
        if MAPPING.contains(&option) {
            let value = match attached {
                true => name.split_once('=').map(|(_, value)| value.to_string()),
                false => {
                    let next = arguments.next_if(|next| next.to_str().is_some_and(is_switch));
                    next.and_then(|next| next.into_string().ok())
                }
            };
            match value.as_deref() {
                Some("0" | "off") => kept.push("--no-mmap".into()),
                _ => dropped.push(option.to_string()),
            }
            continue;
        }
        let command = kept.get(1).and_then(|command| command.to_str());
        if command == Some("run") && CONVERSATION.contains(&option) {
            let what = format!("{option}: rillm chat talks with a model, run continues a text");
            return Err(CliError::Usage(what));
        }
        if let Some((_, what)) = REFUSED.iter().find(|(names, _)| names.contains(&option)) {
            return Err(CliError::Usage(format!("{option}: {what}")));
        }
        let elsewhere = EFFECT_IN.iter().any(|(name, commands)| {
            *name == option && command.is_some_and(|command| !commands.contains(&command))
        });
        let known = WITHOUT_EFFECT
            .iter()
            .find(|(_, names)| names.contains(&option));
        let takes = match known {
            Some((takes, _)) => *takes,
            None if elsewhere => Takes::Nothing,
            None => {
                kept.push(argument);
                continue;
            }
        };
        dropped.push(option.to_string());
        let next = arguments.peek().and_then(|next| next.to_str());
        let takes_next = match takes {
            Takes::Nothing => false,
            Takes::Value => true,
            Takes::Switch => next.is_some_and(is_switch),
        };
        if takes_next && !attached {
            arguments.next();
        }
    }
    Ok((kept, dropped))
}

#[cfg(test)]
mod tests {
    use super::translated;

    fn of(line: &str) -> (String, String) {
        let words = line.split(' ').map(Into::into);
        let (kept, dropped) = translated(words).expect("nothing that is refused");
        let kept: Vec<&str> = kept.iter().filter_map(|word| word.to_str()).collect();
        (kept.join(" "), dropped.join(" "))
    }

    #[test]
    fn lines_for_another_program_are_understood() {
        let same = |line: &str| assert_eq!(of(line), (line.to_string(), String::new()));
        same("rillm run m.gguf -p -ngl -n 5");
        same("rillm run m.gguf --stop --mlock");
        same("rillm run -- -ngl 5");
        same("rillm run m.gguf -p -hf");
        same("rillm bench m.gguf --no-warmup");
        let (kept, dropped) = of("run -m m.gguf -ngl 99 -fa on -c 512 --no-repack -ctk q8_0 -p x");
        assert_eq!(kept, "run -m m.gguf -c 512 --cache-type-k q8_0 -p x");
        assert_eq!(dropped, "-ngl -fa --no-repack");
        let (kept, dropped) =
            of("rillm bench -m F -mmp 0 --repack 0 -nkvo 1 -pg 8,2 -ub 64 -rtr 1");
        assert_eq!(kept, "rillm bench -m F --no-mmap --pg 8,2 --ubatch-size 64");
        assert_eq!(dropped, "--repack -nkvo -rtr");
        let (kept, dropped) = of("rillm bench -mmp 1 -fa 0,1 --mmap=0 --no-repack m.gguf");
        assert_eq!(kept, "rillm bench --no-mmap m.gguf");
        assert_eq!(dropped, "-mmp -fa --no-repack");
        let (kept, dropped) = of("rillm chat m.gguf -cnv -cb");
        assert_eq!(
            (kept.as_str(), dropped.as_str()),
            ("rillm chat m.gguf", "-cnv -cb")
        );
        let talk = "rillm run m.gguf -cnv".split(' ').map(Into::into);
        assert!(translated(talk).is_err());
        let (kept, dropped) = of("run -fa m.gguf --n-gpu-layers=5 -p -p -no-cnv");
        assert_eq!(
            (kept.as_str(), dropped.as_str()),
            ("run m.gguf -p -p", "-fa --n-gpu-layers -no-cnv")
        );
    }
}
