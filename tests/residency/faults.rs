//! Files that change while weights come from them: an error that names the file and the tensor, or
//! what was opened; never a signal, never other numbers.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use rillm::{Model, ModelOptions, RunError, Session};

use super::{hold, least, options};
use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::support::setup::{feed, forced, same_bits};
use crate::support::to_gguf::Gguf;

/// A model in the least memory, and its file.
struct Held {
    path: PathBuf,
    model: Model,
    _folder: TempFolder,
}

/// Layers that pass through buffers, and experts besides.
const MODELS: [&str; 2] = ["exaone4", "deepseek_v2_lite"];

impl Held {
    fn open(name: &str) -> Held {
        let folder = TempFolder::new("faults");
        let path = folder.join("model.gguf");
        fs::write(&path, Gguf::of(&Fixture::load(name)).bytes()).expect("a file");
        let options = ModelOptions::default().isa(forced()).threads(2);
        let model = Model::open(&path, options).expect("a model");
        hold(&model, least(&model));
        Held {
            path,
            model,
            _folder: folder,
        }
    }

    fn logits(&self) -> Result<Vec<Vec<f32>>, RunError> {
        let mut session = Session::new(&self.model, options())?;
        let rows: Vec<_> = (0..20)
            .map(|at| rillm::Row {
                token: at % 7,
                position: at.into(),
                emit: true,
                ..rillm::Row::default()
            })
            .collect();
        feed(&mut session, &rows)
    }

    fn fault(&self) -> String {
        match self.logits() {
            Err(RunError::Weights(what)) => what,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("weights of another file were computed with"),
        }
    }
}

#[test]
fn a_file_cut_short_is_an_error_that_names_the_tensor() {
    for name in MODELS {
        let held = Held::open(name);
        held.logits().expect("a whole file");
        let file = OpenOptions::new()
            .write(true)
            .open(&held.path)
            .expect("a file");
        file.set_len(4096).expect("a shorter file");
        // The next run is one of the same file.
        for _ in 0..2 {
            let what = held.fault();
            let named = what.contains("model.gguf: tensor blk.") && what.contains("changed");
            assert!(named && !what.contains('\n'), "{name}: {what}");
        }
    }
}

#[test]
fn a_file_that_was_written_to_is_an_error() {
    for name in MODELS {
        let held = Held::open(name);
        let expected = held.logits().expect("a whole file");
        let bytes = fs::read(&held.path).expect("a file");
        let mut file = OpenOptions::new()
            .write(true)
            .open(&held.path)
            .expect("a file");
        file.seek(SeekFrom::Start(bytes.len() as u64 - 1))
            .expect("its end");
        file.write_all(&bytes[bytes.len() - 1..])
            .expect("the same byte");
        // Its times tell, if only in steps of the system's clock.
        let later = file.metadata().expect("facts").modified().expect("a time");
        file.set_modified(later + std::time::Duration::from_secs(1))
            .expect("a time");
        let what = held.fault();
        assert!(what.contains("was changed after it was opened"), "{what}");
        assert_eq!(expected.len(), 20);
    }
}

#[test]
fn a_file_in_whose_place_another_came_is_read_on() {
    for name in MODELS {
        let held = Held::open(name);
        let expected = held.logits().expect("a whole file");
        let other = held.path.with_extension("other");
        File::create(&other)
            .expect("a file")
            .set_len(100)
            .expect("bytes");
        fs::rename(&other, &held.path).expect("another file in its place");
        same_bits(name, &held.logits().expect("the old file"), &expected);
    }
}

#[test]
fn an_abort_while_weights_come_leaves_all_in_order() {
    for name in MODELS {
        let held = Held::open(name);
        let expected = held.logits().expect("logits");
        let mut session = Session::new(&held.model, options()).expect("a session");
        session.abort_flag().store(true, Ordering::Relaxed);
        assert_eq!(session.prefill(0, &[1, 2, 3]), Err(RunError::Aborted));
        same_bits(name, &held.logits().expect("logits"), &expected);
    }
}
