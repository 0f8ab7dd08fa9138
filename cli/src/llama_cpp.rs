//! Command lines that were written for llama.cpp.
//!
//! Its options of several letters behind one dash are given the names that they have here, and
//! what has no meaning on plain CPUs, or happens anyway, is left out with a word; what cannot be
//! done is refused with one.

mod options;

pub use options::CONVERSATION;

use super::CliError;
use clap::{Command, CommandFactory};
use options::{EFFECT_IN, MAPPING, REFUSED, RENAMED, TEXTS, Takes, WITHOUT_EFFECT};
use std::borrow::Cow;
use std::ffi::OsString;

const SWITCH: &[&str] = &["on", "off", "auto", "0", "1"];

/// One of the words that switches take, or several by commas, as llama-bench reads them.
fn is_switch(text: &str) -> bool {
    text.split(',').all(|word| SWITCH.contains(&word))
}

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
        if std::mem::take(&mut text_follows) {
            kept.push(argument);
            continue;
        }
        let name = &*with_dashes(name);
        text_follows = TEXTS.contains(&name);
        let (option, value) = match name.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (name, None),
        };
        let attached = value.is_some();
        let command = kept.get(1).and_then(|command| command.to_str());
        let refused = REFUSED.iter().find(|(commands, names, _)| {
            let here = command.is_some_and(|command| commands.contains(&command));
            names.contains(&option) && (commands.is_empty() || here)
        });
        if let Some((_, _, what)) = refused {
            return Err(CliError::Usage(format!("{option}: {what}")));
        }
        if MAPPING.contains(&option) {
            let value = match value {
                Some(value) => Some(value.to_string()),
                None => {
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
        let theirs = option;
        let option = match RENAMED.iter().find(|(name, _)| *name == theirs) {
            Some((_, ours)) if !is_own(command, theirs) => ours,
            _ => option,
        };
        let elsewhere = EFFECT_IN.iter().find(|(_, name, commands)| {
            *name == option && command.is_some_and(|command| !commands.contains(&command))
        });
        let known = WITHOUT_EFFECT
            .iter()
            .find(|(_, names)| names.contains(&option));
        let takes = match known {
            Some((takes, _)) => *takes,
            None => match elsewhere {
                Some((takes, ..)) => *takes,
                None if option.starts_with('-') => {
                    check_dashes(option)?;
                    kept.push(match value {
                        Some(value) => format!("{option}={value}").into(),
                        None => option.into(),
                    });
                    continue;
                }
                None => {
                    kept.push(argument);
                    continue;
                }
            },
        };
        dropped.push(theirs.to_string());
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

/// Whether a command has an option of this name itself.
fn is_own(command: Option<&str>, option: &str) -> bool {
    let all = super::Cli::command();
    let command = command.and_then(|command| all.find_subcommand(command));
    let options = command.into_iter().flat_map(Command::get_arguments);
    let mut names = options.flat_map(|option| option.get_long_and_visible_aliases());
    let name = option.strip_prefix("--");
    name.is_some_and(|name| names.any(|names| names.contains(&name)))
}

/// Refuses the name of a long option behind one dash: its letters would be options of their own.
fn check_dashes(option: &str) -> Result<(), CliError> {
    let name = option.strip_prefix('-');
    let Some(name) = name.filter(|name| name.len() > 1 && !name.starts_with('-')) else {
        return Ok(());
    };
    let command = super::Cli::command();
    let commands = command.get_subcommands().flat_map(Command::get_arguments);
    let mut names = commands.flat_map(|option| option.get_long_and_visible_aliases());
    // As in -topk.
    let same = |one: &str| one.replace('-', "") == name.replace(['-', '_'], "");
    match names.find_map(|names| names.into_iter().find(|one| same(one))) {
        Some(found) => Err(CliError::Usage(format!(
            "{option}: options of several letters have two dashes: --{found}"
        ))),
        None => Ok(()),
    }
}

/// A long option as it is written here: `--top_k` is `--top-k`.
fn with_dashes(argument: &str) -> Cow<'_, str> {
    let (name, value) = argument.split_at(argument.find('=').unwrap_or(argument.len()));
    match name.starts_with("--") && name.contains('_') {
        true => Cow::Owned(name.replace('_', "-") + value),
        false => Cow::Borrowed(argument),
    }
}

#[cfg(test)]
mod tests {
    use super::translated;
    use clap::CommandFactory;

    fn of(line: &str) -> (String, String) {
        let words = line.split(' ').map(Into::into);
        let (kept, dropped) = translated(words).expect("nothing that is refused");
        let kept: Vec<&str> = kept.iter().filter_map(|word| word.to_str()).collect();
        (kept.join(" "), dropped.join(" "))
    }

    /// None of a command's own options is taken for another program's.
    #[test]
    fn own_options_are_kept() {
        let command = super::super::Cli::command();
        for (command, option) in command.get_subcommands().flat_map(|command| {
            let options = command
                .get_arguments()
                .filter(|option| !option.is_positional());
            options.map(move |option| (command.get_name(), option))
        }) {
            let longs = option.get_long_and_visible_aliases().into_iter().flatten();
            let longs = longs.map(|name| format!("--{name}"));
            let shorts = option.get_short_and_visible_aliases().into_iter().flatten();
            for name in longs.chain(shorts.map(|letter| format!("-{letter}"))) {
                let line = format!("rillm {command} {name} 7");
                assert_eq!(of(&line), (line.clone(), String::new()));
            }
        }
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
