//! Angles far out.

use rillm::internals::graph::Pairing;
use rillm::internals::graph::rope::{Division, Rope, RopeFrequencies};

#[test]
fn endless_angles_tell_neighbours_apart_far_out() {
    let with = |frequencies| Rope {
        pairing: Pairing::Halves,
        frequencies,
        division: Division::None,
        magnitude: 1.0,
    };
    let rope = with(RopeFrequencies::Endless(vec![0.3]));
    let far = 1 << 40;
    let step = rope.angle(0.3, far + 1) - rope.angle(0.3, far);
    assert!((step - f64::from(0.3f32)).abs() < 1e-3, "{step}");
    // As references have it, positions run into one.
    let rope = with(RopeFrequencies::Fixed(vec![0.3]));
    assert_eq!(rope.angle(0.3, far + 1), rope.angle(0.3, far));
}
