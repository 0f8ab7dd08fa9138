//! Workers claim, meet at barriers, stop together and outlive a panic.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rillm::internals::kernels::ThreadSetup;
use rillm::internals::pool::{Crew, Outcome, Pool, lock};

/// How long a worker spins before it parks.
const PATIENCE: Duration = Duration::from_micros(20);

/// Every worker adds each claimed chunk once, in two phases, many times over.
#[test]
fn every_chunk_is_claimed_once_and_barriers_hold() {
    for threads in [1, 2, 3, 8, 11] {
        let pool = Pool::new(threads, PATIENCE);
        let never = AtomicBool::new(false);
        for _ in 0..200 {
            let first: Vec<AtomicUsize> = (0..57).map(|_| AtomicUsize::new(0)).collect();
            let wrong = AtomicUsize::new(0);
            let alone = AtomicUsize::new(0);
            let outcome = pool.run(Crew::All, &never, None, &|worker| {
                while let Some(chunk) = worker.claim(0, first.len()) {
                    first[chunk].fetch_add(1, Ordering::Relaxed);
                }
                assert!(worker.barrier(1, || {
                    alone.fetch_add(1, Ordering::Relaxed);
                    true
                }));
                let seen = first
                    .iter()
                    .filter(|c| c.load(Ordering::Relaxed) != 1)
                    .count();
                wrong.fetch_add(seen, Ordering::Relaxed);
                if worker.claim(0, threads).is_none() {
                    wrong.fetch_add(1, Ordering::Relaxed);
                }
                if alone.load(Ordering::Relaxed) != 1 {
                    wrong.fetch_add(1, Ordering::Relaxed);
                }
            });
            assert_eq!(outcome, Outcome::Finished);
            assert_eq!(wrong.load(Ordering::Relaxed), 0);
        }
    }
}

#[test]
fn the_caller_alone_claims_and_meets_nobody() {
    let pool = Pool::new(3, PATIENCE);
    let seen = Mutex::new(Vec::new());
    let outcome = pool.run(Crew::Caller, &AtomicBool::new(false), None, &|worker| {
        for _ in 0..2 {
            let chunk = worker.claim(0, 2);
            lock(&seen).push((worker.index, chunk));
        }
        assert_eq!(worker.claim(0, 2), None);
        assert!(worker.barrier(1, || true));
        let chunk = worker.claim(0, 2);
        lock(&seen).push((worker.index, chunk));
    });
    assert_eq!(outcome, Outcome::Finished);
    let chunks = [(0, Some(0)), (0, Some(1)), (0, Some(0))];
    assert_eq!(*lock(&seen), chunks);
}

#[test]
fn an_abort_stops_every_worker_at_the_same_barrier() {
    let pool = Pool::new(3, PATIENCE);
    let abort = AtomicBool::new(false);
    let turns: Vec<AtomicUsize> = (0..3).map(|_| AtomicUsize::new(0)).collect();
    let outcome = pool.run(Crew::All, &abort, None, &|worker| {
        loop {
            let turn = turns[worker.index].fetch_add(1, Ordering::Relaxed);
            if worker.index == 1 && turn == 10 {
                abort.store(true, Ordering::Relaxed);
            }
            if !worker.barrier(0, || true) {
                break;
            }
        }
    });
    assert_eq!(outcome, Outcome::Aborted);
    let turns: Vec<usize> = turns.iter().map(|t| t.load(Ordering::Relaxed)).collect();
    assert!(turns.iter().all(|&t| t == turns[0]), "{turns:?}");
}

#[test]
fn who_works_alone_at_a_barrier_may_end_the_task() {
    for threads in [1, 3] {
        let pool = Pool::new(threads, PATIENCE);
        let turns = AtomicUsize::new(0);
        let outcome = pool.run(Crew::All, &AtomicBool::new(false), None, &|worker| {
            while worker.barrier(0, || turns.fetch_add(1, Ordering::Relaxed) < 10) {}
        });
        assert_eq!(outcome, Outcome::Aborted);
        assert_eq!(turns.load(Ordering::Relaxed), 11);
    }
}

#[test]
fn a_panic_ends_the_task_and_the_pool_lives_on() {
    for guilty in [0, 1] {
        let pool = Pool::new(2, PATIENCE);
        let never = AtomicBool::new(false);
        let outcome = pool.run(Crew::All, &never, None, &|worker| {
            if worker.index == guilty {
                panic!("on purpose");
            }
            while worker.barrier(0, || true) {}
        });
        assert_eq!(outcome, Outcome::Panicked);
        let outcome = pool.run(Crew::All, &never, None, &|worker| {
            worker.barrier(0, || true);
        });
        assert_eq!(outcome, Outcome::Finished);
    }
}

/// Threads that have been set up, and how deep this one is.
static SET_UP: AtomicUsize = AtomicUsize::new(0);
static TORN_DOWN: AtomicUsize = AtomicUsize::new(0);

std::thread_local! {
    static READY: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[test]
fn every_thread_is_set_up_for_a_task_and_torn_down_after_it() {
    let counting = ThreadSetup {
        set_up: || {
            READY.set(READY.get() + 1);
            SET_UP.fetch_add(1, Ordering::SeqCst);
        },
        tear_down: || {
            READY.set(READY.get() - 1);
            TORN_DOWN.fetch_add(1, Ordering::SeqCst);
        },
    };
    let never = AtomicBool::new(false);
    let mut entered = 0;
    for threads in [1, 2, 5] {
        let pool = Pool::new(threads, PATIENCE);
        for (crew, each) in [(Crew::All, threads), (Crew::Caller, 1)] {
            for guilty in [None, Some(0), Some(each - 1)] {
                let unready = AtomicUsize::new(0);
                let outcome = pool.run(crew, &never, Some(counting), &|worker| {
                    if READY.get() != 1 {
                        unready.fetch_add(1, Ordering::SeqCst);
                    }
                    assert_ne!(Some(worker.index), guilty, "on purpose");
                });
                assert_eq!(outcome == Outcome::Panicked, guilty.is_some());
                entered += each;
                assert_eq!(unready.into_inner(), 0);
                assert_eq!(SET_UP.load(Ordering::SeqCst), entered);
                assert_eq!(TORN_DOWN.load(Ordering::SeqCst), entered);
                assert_eq!(READY.get(), 0);
            }
        }
    }
}
