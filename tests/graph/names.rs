//! Tables of tensor names.

use rillm::internals::graph::{Name, spelling};

fn bare(name: &str) -> &str {
    name.trim_start_matches("model.h.")
}

#[test]
fn a_star_is_a_weight_or_a_bias() {
    let names = [Name::plain("h.{i}.fc.*", "blk.{i}.ffn_up.*")];
    let to = |name: &str| names[0].apply(name).map(|(to, _)| to);
    assert_eq!(to("h.3.fc.weight").as_deref(), Some("blk.3.ffn_up.weight"));
    assert_eq!(to("h.3.fc.bias").as_deref(), Some("blk.3.ffn_up.bias"));
    for other in [
        "h.3.fc.scale",
        "h.3.fc.weights",
        "h.3.fc.",
        "h.3.weight",
        "h.3.fc",
    ] {
        assert_eq!(to(other), None, "{other}");
    }
    let from = spelling(&[&names], "blk.3.ffn_up.bias", bare, |_| true);
    assert_eq!(from.map(|(name, _)| name).as_deref(), Some("h.3.fc.bias"));
}

#[test]
fn a_checkpoint_s_own_spelling_is_found() {
    let names = [
        Name::plain("h.{i}.ln.weight", "blk.{i}.norm.weight"),
        Name::plain("model.h.{i}.ln.weight", "blk.{i}.norm.weight"),
    ];
    let found = |root: &str| {
        let known = |begin: &str| begin == root;
        spelling(&[&names], "blk.7.norm.weight", bare, known).map(|(name, _)| name)
    };
    assert_eq!(found("model").as_deref(), Some("model.h.7.ln.weight"));
    assert_eq!(found("other").as_deref(), Some("h.7.ln.weight"));
    assert_eq!(found("7").as_deref(), Some("7.ln.weight"));
    assert_eq!(spelling(&[&names], "blk.7.bias", bare, |_| true), None);
}

#[test]
fn layers_within_groups_have_numbers_of_their_own() {
    let names = [Name::plain("g.{i}.l.{j}.fc.*", "blk.{i}.{j}.ffn_up.*")];
    let (theirs, ours) = ("g.2.l.10.fc.bias", "blk.2.10.ffn_up.bias");
    assert_eq!(names[0].apply(theirs), Some((ours.into(), None)));
    let from = spelling(&[&names], ours, bare, |_| true);
    assert_eq!(from.map(|(name, _)| name).as_deref(), Some(theirs));
}

#[test]
fn numbers_are_read_and_placed() {
    let name = Name::plain(
        "model.layers.{i}.experts.{e}.w1.weight",
        "blk.{i}.gate.weight",
    );
    let got = name.apply("model.layers.12.experts.3.w1.weight");
    assert_eq!(got, Some(("blk.12.gate.weight".into(), Some(3))));
    for wrong in [
        "model.layers.x.experts.3.w1.weight",
        "model.layers.1.experts.3.w1.bias",
    ] {
        assert_eq!(name.apply(wrong), None);
    }
    assert_eq!(name.apply("model.layers.01.experts.3.w1.weight"), None);
    assert_eq!(
        name.apply("model.layers.99999999999.experts.3.w1.weight"),
        None
    );
}
