//! Where results are written to: nothing but a regular file is ever replaced, and half of one
//! never passes for a whole.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::text::{DEMO, fed};
use crate::{command, failure, path, rillm, text};

/// Every command that writes a file, and what it is called with.
struct Writers {
    folder: TempFolder,
    model: String,
    input: String,
}

impl Writers {
    fn new() -> Writers {
        let folder = TempFolder::new("places");
        let model = folder.join("model");
        fs::create_dir(&model).expect("a folder");
        Fixture::load("gpt2").write_folder(&model);
        let input = folder.join("in.json");
        fs::write(&input, r#"{"input_ids": [[1, 2]]}"#).expect("a file");
        Writers {
            model: path(&model).to_string(),
            input: path(&input).to_string(),
            folder,
        }
    }

    /// How many there are.
    const ALL: usize = 9;

    /// The one that wants a name of its own.
    const GRAPH: usize = 7;

    /// One of them, writing to `place`.
    fn one(&self, at: usize, place: &str) -> (&'static str, Output) {
        let (model, input) = (self.model.as_str(), self.input.as_str());
        let base = ["run", DEMO, "-p", "One day, Lily", "-n", "1", "--temp", "0"];
        let compare = ["compare", DEMO, "-c", "8", "-n", "1"];
        match at {
            0 => (
                "eval",
                rillm(&["eval", model, "--input", input, "--output", place]),
            ),
            1 => (
                "cache",
                rillm(&[&base[..], &["--prompt-cache", place]].concat()),
            ),
            2 => ("trace", rillm(&[&base[..], &["--trace", place]].concat())),
            3 => ("json", rillm(&[&compare[..], &["--json", place]].concat())),
            4 => ("svg", rillm(&[&compare[..], &["--svg", place]].concat())),
            5 => ("synth", rillm(&["synth", "tiny-llama", place, "-f"])),
            6 => ("quantize", rillm(&["quantize", model, place, "q8_0", "-f"])),
            7 => ("graph", rillm(&["inspect", model, "--graph", place])),
            _ => {
                let chat = ["chat", DEMO, "--chat-template", "plain", "-n", "1"];
                ("save", fed(&chat, format!("/save {place}\n")))
            }
        }
    }
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    names.sort();
    names
}

#[test]
fn a_device_stays_a_device() {
    if !Path::new("/dev/full").exists() {
        println!("skipped: there is no /dev/full");
        return;
    }
    let writers = Writers::new();
    for at in (0..Writers::ALL).filter(|at| *at != Writers::GRAPH) {
        let (name, output) = writers.one(at, "/dev/full");
        let facts = fs::metadata("/dev/full").expect("a device");
        assert!(facts.file_type().is_char_device(), "{name} replaced it");
        let error = text(&output.stderr);
        assert!(error.contains("/dev/full: "), "{name}: {error}");
        // A conversation goes on.
        assert_eq!(
            output.status.code(),
            Some(i32::from(name != "save")),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_link_stays_a_link() {
    let writers = Writers::new();
    let folder = &writers.folder;
    let (link, file) = (folder.join("link.svg"), folder.join("file.svg"));
    for exists in [false, true] {
        for at in 0..Writers::ALL {
            let _ = fs::remove_file(&file);
            let _ = fs::remove_file(&link);
            symlink("file.svg", &link).expect("a link");
            if exists {
                fs::write(&file, "").expect("a file");
            }
            // One after the other, each to a place that is as it was.
            let (name, output) = writers.one(at, path(&link));
            assert!(output.status.success(), "{name}: {}", text(&output.stderr));
            let facts = fs::symlink_metadata(&link).expect("a link");
            assert!(facts.is_symlink(), "{name} replaced it");
            let facts = fs::symlink_metadata(&file).expect("a file");
            assert!(facts.is_file() && facts.len() > 0, "{name} wrote nothing");
        }
    }
    let left = names(folder);
    assert_eq!(left.len(), 4, "{left:?}");
}

#[test]
fn a_pipe_and_a_folder_stay_as_they_are() {
    let writers = Writers::new();
    let folder = &writers.folder;
    let place = folder.join("place.svg");
    fs::create_dir(&place).expect("a folder");
    for at in 0..Writers::ALL {
        let (name, output) = writers.one(at, path(&place));
        let error = text(&output.stderr);
        assert!(error.contains("place.svg: "), "{name}: {error}");
        assert!(names(&place).is_empty(), "{name}");
    }
    let pipe = folder.join("pipe.svg");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    // What is read again, or is a model, is no business of a pipe.
    for at in [1, 5, 6] {
        let (name, output) = writers.one(at, path(&pipe));
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {error}");
        assert!(error.contains("no regular file"), "{name}: {error}");
    }
    // The rest goes to whoever reads it.
    for at in [2, 3, 4, 7, 8] {
        let reader = Command::new("cat")
            .arg(&pipe)
            .stdout(Stdio::piped())
            .spawn();
        let reader = reader.expect("cat");
        let (name, output) = writers.one(at, path(&pipe));
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        let read = reader.wait_with_output().expect("it ends").stdout;
        assert!(!read.is_empty(), "{name}");
        let facts = fs::symlink_metadata(&pipe).expect("a pipe");
        assert!(facts.file_type().is_fifo(), "{name} replaced it");
    }
    // A model that nobody writes is not waited for.
    let output = rillm(&["run", path(&pipe), "-p", "x"]);
    failure(&output, 1, &["pipe.svg: is no regular file"]);
    assert_eq!(names(folder).len(), 4, "{:?}", names(folder));
}

#[test]
fn what_was_there_keeps_its_permissions_and_its_place() {
    use std::os::unix::fs::PermissionsExt;
    let writers = Writers::new();
    let file = writers.folder.join("file.svg");
    for at in 0..Writers::ALL {
        fs::write(&file, "").expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("permissions");
        let (name, output) = writers.one(at, path(&file));
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{name}");
        fs::remove_file(&file).expect("a file");
    }
    // Standard output by its name is where it leads, even to a file.
    let (model, input) = (writers.model.as_str(), writers.input.as_str());
    let mut eval = command(&["eval", model, "--input", input, "--output", "/dev/stdout"]);
    let out = fs::File::create(&file).expect("a file");
    assert!(eval.stdout(out).status().expect("rillm runs").success());
    let written = fs::read(&file).expect("a file");
    assert!(written.windows(6).any(|bytes| bytes == b"logits"));
}
