//! The same bits from files of all kinds: in parts, and of all families of types.

use super::bits::all_budgets;
use crate::support::fixture::Fixture;
use crate::support::folder::TempFolder;
use crate::support::rewrite::{options, run};
use crate::support::to_gguf::Gguf;
use crate::weights::folder::write_shards;
use crate::weights::gguf::write_split;
use rillm::internals::synthetic::RandomModel;

#[test]
fn files_in_parts_within_any_budget_compute_the_same_bits() {
    for name in ["qwen2_moe", "exaone4"] {
        let fixture = Fixture::load(name);
        let folder = TempFolder::new("budget-shards");
        write_shards(&folder, &fixture, 3);
        all_budgets(&fixture, &folder);
        let folder = TempFolder::new("budget-split");
        write_split(&folder, &Gguf::of(&fixture), 3);
        all_budgets(&fixture, &folder.join("model-00001-of-00003.gguf"));
    }
}

#[test]
fn types_of_all_families_within_any_budget_compute_the_same_bits() {
    // Its texts, and weights of shapes that blocks fit into.
    let mut fixture = Fixture::load("olmoe");
    fixture.cases.truncate(1);
    let drawn: RandomModel = "tiny-olmoe".parse().expect("a shape");
    let folder = TempFolder::new("budget-types");
    for mix in [
        "BF16",
        "Q5_1",
        "Q2_K",
        "Q4_K_M",
        "IQ4_XS",
        "MXFP4_MOE",
        "TQ2_0",
    ] {
        let path = folder.join(format!("{mix}.gguf"));
        run(&drawn.draft(0).expect("a draft"), &options(mix), &path, 2).expect("a file");
        all_budgets(&fixture, &path);
    }
}
