//! What people see: a terminal of so many columns, emulated, and what stands on it at the end.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use rillm_formats::manifest::MetadataValue;

use crate::stop::reciting;
use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::support::to_gguf::Gguf;
use crate::text::DEMO;
use crate::{path, talking};

/// Nothing here takes as long.
const PATIENCE: Duration = Duration::from_secs(300);

/// Ctrl-C, which is no letter: without a shell nobody makes a signal of it.
const INTERRUPT: &str = "";

/// A key of a terminal that does not speak UTF-8, and Enter.
const LATIN_1: &str = "é in Latin-1";

/// What the editor of lines writes before a prompt: from here on, what is pasted is marked.
const BEGIN: &[u8] = b"\x1b[?2004h";

/// A program on a terminal, what it wrote there and what of that is to be seen.
pub struct Seen {
    raw: String,
    screen: String,
    code: Option<i32>,
    took: Duration,
}

impl Seen {
    /// The lines that are not empty.
    pub fn lines(&self) -> Vec<&str> {
        let lines = self.screen.lines().map(str::trim_end);
        lines.filter(|line| !line.is_empty()).collect()
    }
}

/// Runs rillm in a terminal of so many columns. Whenever the screen ends with the first of a pair,
/// the second is typed; [`INTERRUPT`] is sent.
pub fn seen(columns: u16, arguments: &[&str], home: &Path, typed: &[(&str, &str)]) -> Seen {
    const ROWS: u16 = 100;
    let size = Winsize {
        ws_row: ROWS,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = openpty(Some(&size), None).expect("a terminal");
    let end = || Stdio::from(pty.slave.try_clone().expect("a handle"));
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_rillm"))
        .args(arguments)
        .env("RILLM_ISA", "scalar")
        .env("TERM", "xterm")
        .env("XDG_STATE_HOME", home)
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .spawn()
        .expect("rillm runs");
    drop(pty.slave);
    // If it waits for what nobody types, it is ended.
    let (done, waiting) = channel::<()>();
    let child_id = child.id().to_string();
    let id = child_id.clone();
    let watchdog = std::thread::spawn(move || {
        if waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-KILL", &id]).status();
        }
    });
    let mut terminal = File::from(pty.master);
    let [rows, wide] = [ROWS, columns].map(|count| NonZero::new(count).expect("some"));
    let mut parser = vt100::Parser::new(rows, wide, 0);
    let (mut raw, mut answered, mut bytes) = (Vec::new(), 0, [0; 4096]);
    let mut typed = typed.iter().peekable();
    // At the end of the other side some systems report an error.
    while let Ok(count @ 1..) = terminal.read(&mut bytes) {
        raw.extend(&bytes[..count]);
        parser.process(&bytes[..count]);
        // The line is drawn anew at every letter, and may be read up to its prompt alone: it is a
        // new one only after the editor has turned to the terminal once more.
        let asks = raw[answered..]
            .windows(BEGIN.len())
            .any(|seen| seen == BEGIN);
        let contents = parser.screen().contents();
        let ready = |text: &str| asks || text == INTERRUPT;
        let ends = |waits: &str| contents.trim_end().ends_with(waits);
        match typed.next_if(|(waits, text)| ready(text) && ends(waits)) {
            Some((_, INTERRUPT)) => {
                let sent = Command::new("kill").args(["-INT", &child_id]).status();
                assert!(sent.expect("kill").success());
            }
            Some((_, text)) => {
                answered = raw.len();
                let bytes = match *text {
                    LATIN_1 => b"\xe9\r",
                    text => text.as_bytes(),
                };
                terminal.write_all(bytes).expect("it listens");
            }
            None => {}
        }
    }
    let code = child.wait().expect("it ends").code();
    drop(done);
    watchdog.join().expect("a watchdog");
    let screen = parser.screen().contents();
    let raw = String::from_utf8_lossy(&raw).into_owned();
    assert!(typed.next().is_none(), "nobody asked for more: {screen}");
    Seen {
        raw,
        screen,
        code,
        took: began.elapsed(),
    }
}

/// A story that takes the plain kernels some seconds.
fn story(folder: &Path, times: usize) -> String {
    let file = folder.join("story.txt");
    let story = "One day, Lily found a tiny bean seed in the garden. ".repeat(times);
    std::fs::write(&file, story.trim_end()).expect("a file");
    path(&file).to_string()
}

/// The figures at the end of a run, which tell the time.
fn is_figures(line: &str) -> bool {
    line.starts_with("prompt ") && line.contains("tokens/s")
}

#[test]
fn of_a_bar_nothing_stays_in_a_text() {
    let folder = TempFolder::new("terminal-run");
    let file = story(&folder, 30);
    let options = ["-t", "1", "-c", "600", "-n", "3", "--temp", "0"];
    let arguments = [&["run", DEMO, "-f", &file][..], &options].concat();
    let shown = seen(200, &arguments, &folder, &[]);
    assert_eq!(shown.code, Some(0), "{}", shown.screen);
    let story = std::fs::read_to_string(&file).expect("a story");
    // Lines of the screen are cut in the middle of words.
    let text: String = shown.screen.replace('\n', "");
    let begin = text.find(&story[..100]).expect("the story is seen");
    assert!(text[begin..].starts_with(&story), "{}", shown.screen);
    assert!(!shown.screen.contains("prompt ["), "{}", shown.screen);
    let lines = shown.lines();
    assert!(is_figures(lines[lines.len() - 1]) || lines.iter().any(|line| is_figures(line)));
    if shown.took > Duration::from_secs(10) {
        assert!(
            shown.raw.contains("prompt ["),
            "no bar was drawn: {}",
            shown.raw
        );
    }
}

#[test]
fn of_a_bar_nothing_stays_among_figures() {
    let folder = TempFolder::new("terminal-perplexity");
    let file = story(&folder, 40);
    for columns in [120, 40] {
        let arguments = ["perplexity", DEMO, "-f", &file, "-c", "300", "-t", "1"];
        let shown = seen(columns, &arguments, &folder, &[]);
        assert_eq!(shown.code, Some(0), "{}", shown.screen);
        let text = shown.screen.replace('\n', "");
        assert!(text.starts_with("[1]") && text.contains(",[2]"), "{text}");
        assert!(text.contains("perplexity "), "{text}");
        assert!(!text.contains("scoring"), "{text}");
    }
}

/// A model that writes what a terminal obeys, in its text and its names.
#[test]
fn what_a_terminal_obeys_is_shown_and_not_done() {
    let folder = TempFolder::new("terminal-escapes");
    let hostile: [&[u8]; 6] = [
        b"a\x1b[2J",
        b"\x1b]0;title\x07",
        b"\x08\x08b",
        "\u{9b}31m".as_bytes(),
        b"\x7f\r",
        b"end\n",
    ];
    let model = reciting(&folder, &hostile);
    let base = ["run", path(&model), "-p", "$", "-n", "6", "--temp", "0"];
    let shown = seen(120, &base, &folder, &[]);
    assert_eq!(shown.code, Some(0), "{}", shown.screen);
    let said = shown.lines().join("|");
    let expected = r"$a\u001b[2J\u001b]0;title\u0007\u0008\u0008b\u009b31m\u007f\rend|";
    assert!(said.contains(expected), "{said}");
    assert!(
        !shown.raw.contains(['\u{1b}', '\u{7}', '\u{8}', '\u{9b}']),
        "{:?}",
        shown.raw
    );
    // A pipe gets every byte.
    let piped = crate::rillm(&base);
    let all = [b"$".as_slice(), &hostile.concat(), b"\n"].concat();
    assert_eq!(piped.stdout, all);
    // What a prompt brings along.
    let file = folder.join("prompt.txt");
    std::fs::write(&file, "x\u{1b}[31m$").expect("a file");
    let base = [
        "run",
        path(&model),
        "-f",
        path(&file),
        "-n",
        "1",
        "--temp",
        "0",
    ];
    let shown = seen(120, &base, &folder, &[]);
    assert!(!shown.raw.contains('\u{1b}'), "{:?}", shown.raw);

    let mut gguf = Gguf::of(&Fixture::load("llama_mqa"));
    for key in [
        "a\u{1b}[2J.key",
        "b\u{202e}yek",
        "c\nrillm: all is well",
        "d\u{9b}2J",
    ] {
        let value = MetadataValue::String("v\u{1b}[2J\u{202e}\u{9b}x\r".into());
        gguf.metadata.0.insert(key.into(), value);
    }
    let named = folder.join("named\u{1b}[2J\u{202e}.gguf");
    std::fs::write(&named, gguf.bytes()).expect("a file");
    let bad = folder.join("bad\u{1b}[2J\n\u{202e}.gguf");
    let mut stranger = gguf.clone();
    let architecture = MetadataValue::String("ll\u{1b}[2Jama\u{202e}".into());
    let key = "general.architecture".to_string();
    stranger.metadata.0.insert(key, architecture);
    std::fs::write(&bad, stranger.bytes()).expect("a file");
    let (named, bad) = (path(&named), path(&bad));
    let missing = format!("{named}.none");
    let out = folder.join("out.gguf");
    let wrong = format!("-\u{1b}[2J{named}");
    for arguments in [
        vec!["inspect", named, "--tensors"],
        vec!["inspect", named, "--json"],
        vec!["inspect", bad],
        vec!["run", bad, "-p", "x"],
        vec!["chat", bad],
        vec!["quantize", bad, path(&out), "q8_0"],
        vec!["compare", named, bad, "-c", "8", "-n", "1"],
        vec![
            "bench",
            named,
            "-p",
            "4",
            "-n",
            "1",
            "-r",
            "1",
            "--no-roofline",
        ],
        vec!["tokenize", named, "-p", "x"],
        vec!["run", &missing, "-p", "x"],
        vec!["run", named, &wrong],
        vec![&missing, "x"],
        vec!["\u{1b}[2Jwalk"],
        vec!["run", named, "-p", "x", "--override-kv", "\u{1b}[2J"],
        vec!["eval", named, "--input", bad, "--output", "\u{1b}/none"],
        vec!["run", named, "-f", "no\u{1b}[2J\u{9b}"],
    ] {
        let shown = seen(120, &arguments, &folder, &[]);
        let obeyed = ['\u{1b}', '\u{9b}', '\u{202e}', '\u{8}'];
        assert!(
            !shown.raw.contains(obeyed),
            "{arguments:?}: {:?}",
            shown.raw
        );
        assert!(
            !shown.raw.contains("\nrillm: all is well"),
            "{:?}",
            shown.raw
        );
    }
}

/// Everything that is shown fits a narrow terminal, and what cannot is cut at its edge alone.
#[test]
fn a_narrow_terminal_is_enough() {
    let folder = TempFolder::new("terminal-narrow");
    let model = talking(&folder);
    for arguments in [
        vec!["--help"],
        vec!["run", "--help"],
        vec!["chat", "--help"],
        vec!["quantize", "--help"],
        vec!["bench", "-h"],
        vec!["inspect", path(&model)],
    ] {
        let shown = seen(40, &arguments, &folder, &[]);
        assert_eq!(shown.code, Some(0), "{}", shown.screen);
        if arguments[0] == "inspect" {
            continue;
        }
        // How a command is called stands in one line, however long that is, and so does an option.
        let is_name =
            |line: &str| line.starts_with("Usage:") || line.trim_start().starts_with("--");
        let lines = shown.raw.lines().filter(|line| !is_name(line));
        let longest = lines.map(|line| line.trim_end().chars().count()).max();
        assert!(
            longest <= Some(40),
            "{arguments:?}: {longest:?}\n{}",
            shown.raw
        );
    }
    let (model, small) = (path(&model), folder.join("small.gguf"));
    let bench = [
        "bench",
        model,
        "-p",
        "4",
        "-n",
        "2",
        "-r",
        "1",
        "--no-roofline",
    ];
    let compare = ["compare", model, "-c", "8", "-n", "1"];
    let quantize = ["quantize", model, path(&small), "q8_0"];
    for (arguments, says) in [
        (&bench[..], "pp4"),
        (&compare, "8: "),
        (&quantize, "bits  error"),
    ] {
        let shown = seen(40, arguments, &folder, &[]);
        // Warnings are as long as they are.
        let lines = shown
            .raw
            .lines()
            .filter(|line| !line.starts_with("rillm: warning"));
        let longest = lines.map(|line| line.trim_end().chars().count()).max();
        assert!(longest <= Some(40), "{arguments:?}: {}", shown.raw);
        assert!(shown.screen.contains(says), "{}", shown.screen);
    }
}

/// Reading a long text takes minutes: it shows how far it is, and can be stopped.
#[test]
fn ctrl_c_stops_what_is_read_before_a_reply() {
    let folder = TempFolder::new("terminal-long");
    let file = story(&folder, 20_000);
    let base = ["chat", DEMO, "-f", &file, "-c", "1000000", "-n", "4"];
    let base = [&base[..], &["--chat-template", "plain", "-t", "1"]].concat();
    let typed = [("left", INTERRUPT), (">", "Tom.\r"), (">", "\u{4}")];
    let shown = seen(100, &base, &folder, &typed);
    assert_eq!(shown.code, Some(0), "{}", shown.screen);
    let lines = shown.lines();
    let stopped = |line: &&str| line.contains("taken back");
    let at = lines.iter().position(stopped);
    let at = at.unwrap_or_else(|| panic!("{}", shown.screen));
    // Nothing stays of the bar, and the next turn gets its reply.
    assert!(!shown.screen.contains("prompt ["), "{}", shown.screen);
    assert_eq!(lines[at + 1], "> Tom.", "{}", shown.screen);
    assert!(!lines[at + 2].starts_with('>'), "{}", shown.screen);
}

#[test]
fn a_key_that_is_no_text_does_not_end_a_conversation() {
    let folder = TempFolder::new("terminal-latin");
    let base = ["chat", DEMO, "-n", "4", "--temp", "0", "-t", "1"];
    let base = [&base[..], &["--chat-template", "plain"]].concat();
    let typed = [(">", LATIN_1), (">", "Tom.\r"), (">", "/exit\r")];
    let shown = seen(100, &base, &folder, &typed);
    assert_eq!(shown.code, Some(0), "{}", shown.screen);
    assert!(shown.screen.contains("is not UTF-8"), "{}", shown.screen);
    let lines = shown.lines();
    let said = lines.iter().position(|line| *line == "> Tom.");
    let said = said.unwrap_or_else(|| panic!("{}", shown.screen));
    assert!(!lines[said + 1].starts_with('>'), "{}", shown.screen);
}

/// Lines are edited, come back, and may be several.
#[test]
fn what_is_typed_is_edited_and_kept() {
    let folder = TempFolder::new("terminal-chat");
    let base = [
        "chat",
        DEMO,
        "-n",
        "4",
        "--temp",
        "0",
        "--chat-template",
        "plain",
        "-t",
        "1",
    ];
    let saved = folder.join("talk.json");
    let save = format!("/save {}\r", path(&saved));
    // A letter too many, taken back by backspace; a turn of two lines; the line before, by
    // Ctrl-P, with something behind it.
    let typed = [
        (">", "Tom has a dogg\u{7f}.\r"),
        (">", "\"\"\"\rone\rtwo\r\"\"\"\r"),
        (">", "\u{10}\u{10}\u{5} Yes.\r"),
        (">", "/etc/hosts is a file\r"),
        (">", "/nope\r"),
        (">", &save),
        (">", "/exit\r"),
    ];
    let shown = seen(100, &base, &folder, &typed);
    assert_eq!(shown.code, Some(0), "{}", shown.screen);
    assert!(
        shown.screen.contains("/nope: no such command"),
        "{}",
        shown.screen
    );
    let said = |file: &Path| -> Vec<String> {
        let bytes = std::fs::read(file).expect("a file");
        let talk: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        let turns = talk.as_array().expect("a list").iter();
        let turns = turns.filter(|turn| turn["role"] == "user");
        turns
            .map(|turn| turn["content"].as_str().expect("text").to_string())
            .collect()
    };
    assert_eq!(
        said(&saved),
        [
            "Tom has a dog.",
            "one\ntwo",
            "Tom has a dog. Yes.",
            "/etc/hosts is a file"
        ]
    );
    let history = folder.join("rillm").join("chat_history");
    let kept = std::fs::read_to_string(&history).expect("a history");
    assert!(
        kept.starts_with("Tom has a dog.\n\"\"\"\\none\\ntwo\\n\"\"\"\n"),
        "{kept}"
    );
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&history)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0);
    // The next conversation knows it; what a terminal would obey is not brought back.
    std::fs::write(&history, format!("{kept}\u{1b}[2J\n")).expect("a file");
    let typed = [
        (">", "\u{10}\u{10}\u{10}\u{10}\r"),
        (">", &save),
        (">", "\u{4}"),
    ];
    let shown = seen(100, &base, &folder, &typed);
    assert_eq!(shown.code, Some(0), "{}", shown.screen);
    assert_eq!(said(&saved), ["/etc/hosts is a file"]);
    assert!(!shown.raw.contains("\u{1b}[2J"), "{:?}", shown.raw);
    // Nobody has to leave traces.
    std::fs::remove_file(&history).expect("a history");
    let quiet = [&base[..], &["--no-history"]].concat();
    let shown = seen(
        100,
        &quiet,
        &folder,
        &[(">", "Tom.\r"), (">", "\u{3}"), (">", "\u{3}")],
    );
    assert_eq!(shown.code, Some(130), "{}", shown.screen);
    assert!(!history.exists());
}
