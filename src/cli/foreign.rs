//! Command lines that were written for llama.cpp.
//!
//! Its options of several letters behind one dash are given the names that they have here, and
//! what has no meaning on plain CPUs, or happens anyway, is left out with a word.

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
        ],
    ),
    (
        Takes::Nothing,
        &[
            "--mlock",
            "--mmap",
            "--perf",
            "--no-perf",
            "--warmup",
            "--swa-full",
            "-kvo",
            "--kv-offload",
            "-nkvo",
            "--no-kv-offload",
            "--repack",
            "-nr",
            "--no-repack",
            "--no-host",
            "-cmoe",
            "--cpu-moe",
            "--op-offload",
            "--no-op-offload",
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
        ],
    ),
];

const SWITCH: &[&str] = &["on", "off", "auto", "0", "1"];

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
pub fn translated(arguments: impl Iterator<Item = OsString>) -> (Vec<OsString>, Vec<String>) {
    let (mut kept, mut dropped) = (Vec::new(), Vec::new());
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
        let known = WITHOUT_EFFECT
            .iter()
            .find(|(_, names)| names.contains(&option));
        let Some(&(takes, _)) = known else {
            kept.push(argument);
            continue;
        };
        dropped.push(option.to_string());
        let next = arguments.peek().and_then(|next| next.to_str());
        let takes_next = match takes {
            Takes::Nothing => false,
            Takes::Value => true,
            Takes::Switch => next.is_some_and(|next| SWITCH.contains(&next)),
        };
        if takes_next && !attached {
            arguments.next();
        }
    }
    (kept, dropped)
}

#[cfg(test)]
mod tests {
    use super::translated;

    fn of(line: &str) -> (String, String) {
        let words = line.split(' ').map(Into::into);
        let (kept, dropped) = translated(words);
        let kept: Vec<&str> = kept.iter().filter_map(|word| word.to_str()).collect();
        (kept.join(" "), dropped.join(" "))
    }

    #[test]
    fn lines_for_another_program_are_understood() {
        let same = |line: &str| assert_eq!(of(line), (line.to_string(), String::new()));
        same("rillm run m.gguf -p -ngl -n 5");
        same("rillm run m.gguf --stop --mlock");
        same("rillm run -- -ngl 5");
        let (kept, dropped) = of("run -m m.gguf -ngl 99 -fa on -c 512 --no-repack -ctk q8_0 -p x");
        assert_eq!(kept, "run -m m.gguf -c 512 --cache-type-k q8_0 -p x");
        assert_eq!(dropped, "-ngl -fa --no-repack");
        let (kept, dropped) = of("run -fa m.gguf --n-gpu-layers=5 -p -p -no-cnv");
        assert_eq!(
            (kept.as_str(), dropped.as_str()),
            ("run m.gguf -p -p", "-fa --n-gpu-layers -no-cnv")
        );
    }
}
