//! Policies over traces, by hand.

use rillm::internals::residency::{ExpertTrace, Policy, Recorder, Replayed};

/// A layer of three experts of which each token chooses these.
fn trace(chosen: &[&[f32]]) -> ExpertTrace {
    let recorder = Recorder::default();
    for (position, experts) in (0..).zip(chosen) {
        recorder.note(position, 7, experts);
        // As the other matrices of the same experts do.
        recorder.note(position, 7, experts);
    }
    recorder.trace(3)
}

fn hits(trace: &ExpertTrace, policy: Replayed, places: usize) -> usize {
    (trace.hit_rate(policy, places) * trace.asked() as f64).round() as usize
}

#[test]
fn hits_are_those_counted_by_hand() {
    let one_by_one = trace(&[&[0.0], &[1.0], &[0.0], &[2.0], &[0.0], &[1.0]]);
    assert_eq!(one_by_one.counts(), [[3, 2, 1]]);
    assert_eq!((one_by_one.asked(), one_by_one.demand()), (6, 1));
    let lru = Replayed::Online(Policy::Lru);
    // 0 and 1 come, 0 is there; 2 pushes 1 out, 0 is there, 1 comes again.
    assert_eq!(hits(&one_by_one, lru, 2), 2);
    // 2 is not asked for again, so 1 stays.
    assert_eq!(hits(&one_by_one, Replayed::Belady, 2), 3);
    assert_eq!(hits(&one_by_one, Replayed::Pinned, 2), 3);
    for policy in Replayed::all() {
        assert_eq!(hits(&one_by_one, policy, 3), 3, "{}", policy.name());
    }
}

#[test]
fn what_is_used_in_turn_pushes_itself_out_unless_some_of_it_stays() {
    let in_turn: Vec<[f32; 1]> = (0..30).map(|at| [(at % 3) as f32]).collect();
    let in_turn: Vec<&[f32]> = in_turn.iter().map(<[f32; 1]>::as_slice).collect();
    let in_turn = trace(&in_turn);
    assert_eq!(hits(&in_turn, Replayed::Online(Policy::Lru), 2), 0);
    // 0 stays, 1 and 2 take turns: nine of thirty.
    assert_eq!(hits(&in_turn, Replayed::Online(Policy::Frequency), 2), 9);
    // 0 and 1 stay, and 2 goes as it came.
    assert_eq!(hits(&in_turn, Replayed::Belady, 2), 18);
}

#[test]
fn experts_of_one_token_do_not_push_each_other_out() {
    let pairs = trace(&[&[0.0, 1.0], &[1.0, 2.0], &[2.0, 0.0]]);
    assert_eq!(pairs.repeated(), 0.5);
    assert_eq!(hits(&pairs, Replayed::Online(Policy::Lru), 2), 2);
}
