//! What is wrong with a command line, in one line and without guesses that mislead.

use super::{Cli, CliError};
use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use std::ffi::OsString;

/// The one of these names that a word is a slip of, if one is near.
pub fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    // One slip in four letters, and at most two.
    let most = (word.chars().count() / 4).min(2);
    let near = names.map(|name| (strsim::osa_distance(word, name), name));
    let found = near
        .filter(|(distance, _)| (1..=most).contains(distance))
        .min();
    found.map(|(_, name)| name.to_string())
}

/// What the parser found wrong; `None` for what it was asked to show.
pub fn explained(error: &Error, line: &[OsString]) -> Option<CliError> {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        return None;
    }
    let word = line.get(1).and_then(|word| word.to_str());
    let cli = Cli::command();
    let command = word.and_then(|word| cli.find_subcommand(word));
    let help = match command {
        Some(command) => format!("rillm {} --help lists its options", command.get_name()),
        None => "see rillm --help".to_string(),
    };
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.as_str(),
        _ => "",
    };
    let what = match error.kind() {
        ErrorKind::UnknownArgument if argument.parse::<f64>().is_ok_and(|number| number < 0.0) => {
            let at = line.iter().position(|word| word == argument);
            let before = at.and_then(|at| line.get(at.checked_sub(1)?)?.to_str());
            match before.filter(|before| before.starts_with('-')) {
                Some(before) => format!("{before} takes no {argument}: {help}"),
                None => format!("there is no option {argument}: {help}"),
            }
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            let mut options: Vec<String> = Vec::new();
            for option in command
                .into_iter()
                .flat_map(|command| command.get_arguments())
            {
                options.extend(
                    option
                        .get_long_and_visible_aliases()
                        .into_iter()
                        .flatten()
                        .map(String::from),
                );
            }
            let name = argument.trim_start_matches('-');
            let exact = options.iter().find(|option| *option == name).cloned();
            let near = exact.or_else(|| nearest(name, options.iter().map(String::as_str)));
            match near {
                Some(near) => {
                    format!("there is no option {argument}, did you mean --{near}? {help}")
                }
                None => format!("there is no option {argument}: {help}"),
            }
        }
        ErrorKind::InvalidUtf8 => {
            let word = line.iter().find(|word| word.to_str().is_none());
            let word = word.map_or(String::new(), |word| word.to_string_lossy().into_owned());
            format!("{word:?} is not UTF-8: {help}")
        }
        ErrorKind::UnknownArgument => format!("{argument:?} is one word too many: {help}"),
        _ => {
            let mut what = in_words(&first_paragraph(&error.to_string()));
            if error.kind() == ErrorKind::MissingRequiredArgument && what.contains("<MODEL>") {
                what += " (the path of a GGUF file, or of a folder with config.json)";
            }
            format!("{what}: {help}")
        }
    };
    Some(CliError::Usage(what))
}

/// A message whose reasons are the parser's own, in words that people use.
fn in_words(message: &str) -> String {
    const WORDS: [(&str, &str); 8] = [
        ("invalid digit found in string", "expected a whole number"),
        (
            "cannot parse integer from empty string",
            "expected a whole number",
        ),
        ("number too large to fit in target type", "that is too much"),
        (
            "number too small to fit in target type",
            "that is too little",
        ),
        ("invalid float literal", "expected a number"),
        ("cannot parse float from empty string", "expected a number"),
        ("..9223372036854775807", " or more"),
        ("..18446744073709551615", " or more"),
    ];
    let mut message = message.to_string();
    for (theirs, ours) in WORDS {
        message = message.replace(theirs, ours);
    }
    match message.split_once(" is not in ") {
        Some((before, range)) => match range.split_once("..=") {
            Some((least, most)) if least.starts_with("-9223372036854775808") => {
                format!("{before} is not at most {most}")
            }
            Some((least, most)) => format!("{before} is not from {least} to {most}"),
            None => format!("{before} is not {range}"),
        },
        None => message,
    }
}

/// A message without its advice on how such lines are written.
fn first_paragraph(message: &str) -> String {
    let lines = message.lines().map(str::trim);
    let lines =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let lines: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !line.starts_with("tip:"))
        .collect();
    lines.join(" ").trim_start_matches("error: ").to_string()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn only_slips_are_mended() {
        let names = [
            "run",
            "chat",
            "eval",
            "quantize",
            "perplexity",
            "temp",
            "top-k",
        ];
        let near = |word: &str| nearest(word, names.into_iter());
        assert_eq!(near("quantise").as_deref(), Some("quantize"));
        assert_eq!(near("preplexity").as_deref(), Some("perplexity"));
        assert_eq!(near("caht").as_deref(), Some("chat"));
        assert_eq!(near("tmep").as_deref(), Some("temp"));
        for other in [
            "serve", "rum", "cat", "pull", "list", "walk", "embed", "chat", "",
        ] {
            assert_eq!(near(other), None, "{other}");
        }
    }
}
