//! Which lines of a conversation are commands, and which are said.

use crate::usage::nearest;

/// Lines that begin with one of these words are commands.
pub const COMMANDS: &[&str] = &[
    "/bye", "/clear", "/exit", "/help", "/load", "/new", "/quit", "/reset", "/save", "/set",
    "/show", "/system", "/undo", "/?",
];

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// One of [`COMMANDS`], and the rest of the line.
    Command(&'a str, &'a str),
    /// What looks like a command, and is none.
    Unknown(&'a str),
    Text,
}

/// A line that begins with a path, or with any other word that is no command, is a text: only a
/// word alone, and a slip of a command's name, are taken for mistakes.
pub fn said(line: &str) -> Said<'_> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    if COMMANDS.contains(&word) {
        return Said::Command(word, rest.trim());
    }
    let letters = word.strip_prefix('/').filter(|letters| {
        !letters.is_empty() && letters.chars().all(|letter| letter.is_ascii_alphabetic())
    });
    match letters {
        Some(_) if rest.is_empty() || nearest(word, COMMANDS.iter().copied()).is_some() => {
            Said::Unknown(word)
        }
        _ => Said::Text,
    }
}

/// What /help says.
pub const HELP: &str = "\
/reset          begin a new conversation
/system TEXT    begin a new one in which the model is told this
/undo           take back the last turn and its reply
/save FILE      write the conversation as JSON
/load FILE      go on with one
/exit           end (or end of input)
Other lines are said to the model, also those that begin with a path or with a space before a /.
A line that ends in \\ goes on with the next one, and so do all between two lines of \"\"\".
Ctrl-C stops a reply.";

#[cfg(test)]
mod tests {
    use super::{Said, said};

    #[test]
    fn only_commands_are_commands() {
        for text in [
            "/etc/hosts is missing, what now?",
            "/usr/bin/env",
            "/tmp",
            "/",
            "/ alone",
            "// a comment",
            "/* another */",
            "/home/me/a.txt says this: …",
            "/s means sarcasm",
            "/dev/null",
            "/v1/chat/completions returns 404",
            "/imagine a horse",
            " /reset",
            "what does /reset do?",
            "/12 of them",
            "/schön und gut",
            "",
        ] {
            let expected = match text {
                "/tmp" => Said::Unknown("/tmp"),
                _ => Said::Text,
            };
            assert_eq!(said(text), expected, "{text}");
        }
        assert_eq!(said("/save a b.json "), Said::Command("/save", "a b.json"));
        assert_eq!(said("/?"), Said::Command("/?", ""));
        assert_eq!(
            said("/system\tBe brief."),
            Said::Command("/system", "Be brief.")
        );
        assert_eq!(said("/nope"), Said::Unknown("/nope"));
        assert_eq!(said("/rest"), Said::Unknown("/rest"));
        assert_eq!(said("/sytem Be brief."), Said::Unknown("/sytem"));
    }
}
