//! What the machine offers.

use rillm::internals::platform::default_threads;

#[test]
fn there_is_a_worker_and_no_more_than_processors() {
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    assert!((1..=allowed).contains(&default_threads()));
}
