//! `rillm completions` as a user meets it.

use std::process::{Command, Output, Stdio};

fn completions(shell: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rillm"))
        .args(["completions", shell])
        .output()
        .expect("the program starts")
}

#[test]
fn every_shell_learns_the_commands_and_options() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = completions(shell);
        assert!(output.status.success(), "{shell}");
        assert!(output.stderr.is_empty(), "{shell}");
        let script = String::from_utf8(output.stdout).expect("scripts are text");
        for word in ["inspect", "completions", "temp"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
}

#[test]
fn an_unknown_shell_is_a_wrong_command_line() {
    let output = completions("dos");
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rillm"))
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the program ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked"), "{errors}");
}
