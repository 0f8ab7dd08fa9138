//! Texts that a task is done for: words of the command line, lines of files, or whole files.

use super::input::{LONGEST, file_text};
use super::{CliError, ModelArguments};
use clap::Args;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

/// Which texts.
#[derive(Args, Clone, Debug)]
pub struct TaskTexts {
    /// Texts, one a word: quote those with spaces
    #[arg(value_name = "TEXT")]
    words: Vec<String>,
    /// The same, as an option; may be given several times
    #[arg(
        short = 'p',
        long = "text",
        value_name = "TEXT",
        allow_hyphen_values = true
    )]
    texts: Vec<String>,
    /// A file with a text on each line (- for standard input); may be given several times
    #[arg(short, long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Each file is one text, and not its lines
    #[arg(long)]
    whole: bool,
}

impl TaskTexts {
    /// The words behind the model: all of them.
    pub fn words<'a>(&'a self, model: &'a ModelArguments) -> Result<Vec<&'a str>, CliError> {
        let words = model.words(&self.words)?;
        let texts = self.texts.iter().map(String::as_str);
        Ok(words.into_iter().chain(texts).collect())
    }

    /// All texts, in the order of words, options and files; piped in where there are none.
    pub fn read(&self, model: &ModelArguments) -> Result<Vec<String>, CliError> {
        let words = self.words(model)?;
        let words = words.into_iter().map(str::to_string).collect();
        self.with_files(words, "texts")
    }

    /// These and those of the files; piped in where there are none.
    pub fn with_files(&self, texts: Vec<String>, what: &str) -> Result<Vec<String>, CliError> {
        self.joined(texts, what, self.whole)
    }

    /// The same where a file is one text, whether that is asked for or not.
    pub fn with_whole_files(
        &self,
        texts: Vec<String>,
        what: &str,
    ) -> Result<Vec<String>, CliError> {
        self.joined(texts, what, true)
    }

    fn joined(
        &self,
        mut texts: Vec<String>,
        what: &str,
        whole: bool,
    ) -> Result<Vec<String>, CliError> {
        let stdin = PathBuf::from("-");
        let mut files: Vec<&Path> = self.file.iter().map(PathBuf::as_path).collect();
        if files.is_empty() && texts.is_empty() {
            if io::stdin().is_terminal() {
                let what = format!("no {what}: give them as words or by -f FILE, or pipe lines in");
                return Err(CliError::Usage(what));
            }
            files.push(&stdin);
        }
        for file in files {
            let text = file_text(file, LONGEST)?;
            match whole {
                true => texts.push(text),
                false => texts.extend(text.lines().map(str::to_string)),
            }
        }
        Ok(texts)
    }
}
