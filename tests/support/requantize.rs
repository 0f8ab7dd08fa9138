//! Writes a model that may be hostile anew, in other types. Uses nothing but the library, so that
//! the fuzz target shares it.

use std::path::Path;
use std::sync::atomic::AtomicU64;

use rillm::internals::weights::{Source, open_source};
use rillm::quantize::{Draft, MIXES, QuantizeOptions, QuantizePlan, write};
use rillm::{Model, ModelOptions};

use super::exercise::{exercise, one_line};

/// Longer files than a small model can become are not written.
const LONGEST: u64 = 1 << 20;

/// A byte for the mix and one for the options, then the file. What was written opens, and as a model
/// if the file did. Panics if there is a defect; returns whether something was written.
pub fn requantize(bytes: &[u8], folder: &Path) -> bool {
    let Some((&[mix, options], file)) = bytes.split_first_chunk() else {
        return false;
    };
    let is_set = |bit: u32| options >> bit & 1 == 1;
    let mix = MIXES[usize::from(mix) % MIXES.len()];
    let mut options = QuantizeOptions::new(mix)
        .pure(is_set(0))
        .keep_output(is_set(1))
        .requantize(!is_set(2));
    if let Some(base) = mix.base.filter(|_| is_set(3)) {
        options = options
            .embedding(base)
            .tensors(vec![("attn".to_owned(), base)]);
    }
    let draft = open_source(Source::Owned(file.to_vec())).and_then(rillm::internals::draft);
    let draft = match draft {
        Ok(draft) => draft,
        Err(error) => {
            one_line(&error);
            return false;
        }
    };
    let plan = match QuantizePlan::new(&draft, &options) {
        Ok(plan) if plan.file_len() <= LONGEST => plan,
        Ok(_) => return false,
        Err(error) => {
            one_line(&error);
            return false;
        }
    };
    let path = folder.join("written.gguf");
    let threads = if is_set(4) { 3 } else { 1 };
    if let Err(error) = write(&draft, &plan, &path, threads, &AtomicU64::new(0)) {
        one_line(&error);
        return false;
    }
    let len = std::fs::metadata(&path).expect("the file").len();
    assert_eq!(len, plan.file_len(), "as long as planned");
    if let Err(error) = Draft::open(&path) {
        panic!("{}: what was written does not open: {error}", mix.name);
    }
    let options = ModelOptions::default().threads(1);
    if Model::from_bytes(file.to_vec(), options).is_ok() {
        match Model::open(&path, options) {
            Ok(model) => exercise(&model),
            Err(error) => panic!(
                "{}: a model was written that does not open: {error}",
                mix.name
            ),
        }
    }
    true
}
