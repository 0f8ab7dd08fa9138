//! Configurations as transformers 5 writes them: under those that it makes of the fixtures, every
//! output is the authors' still.

use serde_json::json;

use crate::support::evaluate::{check_all, open};
use crate::support::fixture::Fixture;

#[test]
fn every_fixture_runs_as_transformers_5_saves_it() {
    let mut found = 0;
    for name in Fixture::all() {
        let fixture = Fixture::load(&name);
        let Some((config, weights)) = fixture.saved_by_transformers_5() else {
            continue;
        };
        found += 1;
        let folder = fixture.folder_of(&config, &weights);
        match open(&folder) {
            Ok(model) => check_all(&fixture, &model),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    assert!(found > 70, "only {found} configurations");
}

/// Models that read images as well: their text part is a fixture's, and runs alone.
#[test]
fn the_text_part_of_a_model_that_reads_images_runs() {
    let wrapped = Fixture::wrapped_by_transformers_5();
    assert!(wrapped.len() > 5, "only {}", wrapped.len());
    for (label, fixture, config, weights) in wrapped {
        let folder = fixture.folder_of(&config, &weights);
        match open(&folder) {
            Ok(model) => check_all(&fixture, &model),
            Err(error) => panic!("{label}: {error}"),
        }
        let mut other = config;
        other["text_config"]["model_type"] = json!("whisper");
        let folder = fixture.folder_of(&other, &weights);
        let error = open(&folder).map(|_| ()).expect_err(&label).to_string();
        assert!(error.contains("whisper"), "{label}: {error}");
    }
}
