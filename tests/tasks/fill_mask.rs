//! Filled masks against transformers' pipeline.

use super::{assert_near, expected, folder, open, texts};
use rillm::tasks::{FillMaskOptions, FilledMask, MaskFiller};
use serde_json::Value;

fn assert_filled(found: &[Vec<Vec<FilledMask>>], expected: &Value, what: &str) {
    let expected = expected.as_array().expect("a list");
    assert_eq!(found.len(), expected.len(), "{what}");
    for (masks, expected) in found.iter().zip(expected) {
        for (mask, filled) in masks.iter().enumerate() {
            // The pipeline leaves out the list of masks where there is one.
            let expected = match masks.len() {
                1 => expected,
                _ => &expected[mask],
            };
            let expected = expected.as_array().expect("tokens");
            assert_eq!(filled.len(), expected.len(), "{what}");
            for (found, expected) in filled.iter().zip(expected) {
                assert_near(found.score, &expected["score"], what);
                assert_eq!(
                    u64::from(found.token),
                    expected["token"].as_u64().unwrap(),
                    "{what}"
                );
                assert_eq!(
                    found.token_str,
                    expected["token_str"].as_str().unwrap(),
                    "{what}"
                );
                assert_eq!(
                    found.sequence,
                    expected["sequence"].as_str().unwrap(),
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn masks_are_filled_as_the_pipeline_does() {
    let expected = expected("fill-mask");
    let targets = texts(&expected, "targets");
    let texts = texts(&expected, "texts");
    let model = open(&folder("fill-mask"));
    let filled = |options: FillMaskOptions| {
        let mut filler = MaskFiller::new(&model, options).unwrap();
        filler.fill(&texts).unwrap()
    };
    assert_filled(
        &filled(FillMaskOptions::default()),
        &expected["filled"],
        "filled",
    );
    assert_filled(
        &filled(FillMaskOptions::default().top_k(2)),
        &expected["top_k"],
        "top_k",
    );
    let targeted = FillMaskOptions::default().targets(targets);
    assert_filled(&filled(targeted), &expected["targeted"], "targets");
}

#[test]
fn a_text_without_a_mask_is_named() {
    let model = open(&folder("fill-mask"));
    let mut filler = MaskFiller::new(&model, FillMaskOptions::default()).unwrap();
    let error = filler.fill(&["[MASK]", "a king"]).unwrap_err().to_string();
    assert_eq!(
        error,
        "text 1 has no [MASK], which stands for what is to be found"
    );
}
