//! Worker threads that walk one plan together.
//!
//! A task is run by every worker at once, the caller being worker 0. Work is claimed in chunks
//! from atomic counters, so a core that a stranger occupies costs no more than its share;
//! workers meet at barriers, where waiting spins first and then parks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::plan::PHASE_STEPS;

/// Turns of the spin loop before a waiting worker parks: some tens of microseconds, longer than
/// a calm barrier takes.
const SPINS: usize = 4096;

/// Most workers of one pool.
pub const MAX_THREADS: usize = 256;

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every worker reached the end.
    Finished,
    /// The abort flag was seen at a barrier.
    Aborted,
    /// A worker panicked.
    Panicked,
}

/// Who runs a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crew {
    /// Every worker.
    All,
    /// The caller: meeting at barriers would cost more than the work between them.
    Caller,
}

/// A fixed set of workers.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    /// For tasks that the caller runs alone.
    alone: Shared,
    workers: Vec<JoinHandle<()>>,
    /// Held while a task runs: the pool serves its sessions in turn.
    turn: Mutex<()>,
}

/// A counter on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Counter(AtomicUsize);

#[derive(Debug)]
struct Shared {
    threads: usize,
    /// Turns of the spin loop before parking: none where workers outnumber processors, since
    /// a spinning one then keeps the one it waits for from running.
    spins: usize,
    /// Claim counters of the current phase.
    claims: [Counter; PHASE_STEPS],
    arrived: Counter,
    epoch: Counter,
    /// Workers asleep at a barrier or between tasks.
    parked: AtomicUsize,
    stop: AtomicBool,
    panicked: AtomicBool,
    quit: AtomicBool,
    /// Counts the tasks begun; workers wait for the next.
    round: Counter,
    finished: Counter,
    task: Mutex<Option<Task>>,
    sleep: Mutex<()>,
    wake: Condvar,
}

/// A borrowed task whose lifetime `Pool::run` upholds by waiting for every worker.
#[derive(Clone, Copy)]
struct Task {
    run: *const (dyn Fn(&Worker<'_>) + Sync),
    abort: *const AtomicBool,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Task")
    }
}

// SAFETY: the pointees are Sync and outlive the task: `Pool::run` returns only after every
// worker has finished with them.
unsafe impl Send for Task {}

/// One worker's view of a running task.
#[derive(Debug)]
pub struct Worker<'a> {
    /// 0 is the caller.
    pub index: usize,
    shared: &'a Shared,
    abort: &'a AtomicBool,
}

impl Pool {
    /// A pool of `threads` workers, the caller included. Fewer if the system refuses threads.
    pub fn new(threads: usize) -> Pool {
        let wanted = threads.clamp(1, MAX_THREADS);
        let mut threads = wanted;
        loop {
            let shared = Arc::new(Shared::new(threads));
            let mut workers = Vec::with_capacity(threads - 1);
            for index in 1..threads {
                let shared = Arc::clone(&shared);
                let name = format!("rillm-{index}");
                let spawned = std::thread::Builder::new()
                    .name(name)
                    .spawn(move || work(&shared, index));
                match spawned {
                    Ok(handle) => workers.push(handle),
                    Err(_) => break,
                }
            }
            let pool = Pool {
                shared,
                alone: Shared::new(1),
                workers,
                turn: Mutex::new(()),
            };
            if pool.workers.len() + 1 == threads {
                return pool;
            }
            // A barrier counts every worker: start over with as many as could be had.
            threads = pool.workers.len() + 1;
        }
    }

    /// Number of workers, the caller included.
    pub fn threads(&self) -> usize {
        self.shared.threads
    }

    /// Runs `task` on a crew and returns when all have left it. `abort` is polled at each
    /// barrier.
    pub fn run(
        &self,
        crew: Crew,
        abort: &AtomicBool,
        task: &(dyn Fn(&Worker<'_>) + Sync),
    ) -> Outcome {
        let _turn = lock(&self.turn);
        let shared = match crew {
            Crew::All => &*self.shared,
            Crew::Caller => &self.alone,
        };
        shared.begin();
        if shared.threads > 1 {
            let task: *const (dyn Fn(&Worker<'_>) + Sync + '_) = task;
            // SAFETY: only the lifetime changes; the pointer is dropped below, after every
            // worker has reported that it is done with it.
            let run: *const (dyn Fn(&Worker<'_>) + Sync + 'static) =
                unsafe { std::mem::transmute(task) };
            *lock(&shared.task) = Some(Task { run, abort });
            shared.round.0.fetch_add(1, Ordering::SeqCst);
            shared.wake_parked();
        }
        let worker = Worker {
            index: 0,
            shared,
            abort,
        };
        if catch_unwind(AssertUnwindSafe(|| task(&worker))).is_err() {
            shared.panicked.store(true, Ordering::SeqCst);
            shared.wake_parked();
        }
        shared.wait_until(|| shared.finished.0.load(Ordering::SeqCst) == shared.threads - 1);
        *lock(&shared.task) = None;
        if shared.panicked.load(Ordering::SeqCst) {
            Outcome::Panicked
        } else if shared.stop.load(Ordering::SeqCst) {
            Outcome::Aborted
        } else {
            Outcome::Finished
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.quit.store(true, Ordering::SeqCst);
        self.shared.wake_parked();
        for worker in self.workers.drain(..) {
            // A worker catches its tasks' panics, so it ends in order.
            let _ = worker.join();
        }
    }
}

impl Worker<'_> {
    /// Takes the next chunk of the phase's step `step`; chunks count up from 0 without end.
    pub fn claim(&self, step: usize) -> usize {
        if self.shared.threads == 1 {
            // Alone: no need for the bus lock.
            let counter = &self.shared.claims[step].0;
            let chunk = counter.load(Ordering::Relaxed);
            counter.store(chunk + 1, Ordering::Relaxed);
            return chunk;
        }
        self.shared.claims[step].0.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits for all workers, then makes the claim counters zero. `false`: leave the task, it
    /// was aborted (the same answer for every worker).
    pub fn barrier(&self) -> bool {
        let shared = self.shared;
        let epoch = shared.epoch.0.load(Ordering::SeqCst);
        if shared.arrived.0.fetch_add(1, Ordering::SeqCst) + 1 == shared.threads {
            for claim in &shared.claims {
                claim.0.store(0, Ordering::Relaxed);
            }
            shared.arrived.0.store(0, Ordering::SeqCst);
            if self.abort.load(Ordering::Relaxed) {
                shared.stop.store(true, Ordering::SeqCst);
            }
            shared.epoch.0.store(epoch + 1, Ordering::SeqCst);
            shared.wake_parked();
        } else {
            shared.wait_until(|| {
                shared.epoch.0.load(Ordering::SeqCst) != epoch
                    || shared.panicked.load(Ordering::SeqCst)
            });
        }
        !shared.stop.load(Ordering::SeqCst) && !shared.panicked.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn new(threads: usize) -> Shared {
        Shared {
            threads,
            spins: match std::thread::available_parallelism() {
                Ok(processors) if threads > processors.get() => 0,
                _ => SPINS,
            },
            claims: std::array::from_fn(|_| Counter::default()),
            arrived: Counter::default(),
            epoch: Counter::default(),
            parked: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            quit: AtomicBool::new(false),
            round: Counter::default(),
            finished: Counter::default(),
            task: Mutex::new(None),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
        }
    }

    /// Clears what a former task (perhaps one that panicked) has left.
    fn begin(&self) {
        for claim in &self.claims {
            claim.0.store(0, Ordering::Relaxed);
        }
        self.arrived.0.store(0, Ordering::SeqCst);
        self.finished.0.store(0, Ordering::SeqCst);
        self.stop.store(false, Ordering::SeqCst);
        self.panicked.store(false, Ordering::SeqCst);
    }

    /// Spins until `done`, then parks between looks.
    fn wait_until(&self, done: impl Fn() -> bool) {
        for _ in 0..self.spins {
            if done() {
                return;
            }
            std::hint::spin_loop();
        }
        self.parked.fetch_add(1, Ordering::SeqCst);
        let mut sleep = lock(&self.sleep);
        // `done` is looked at after `parked` was raised and under the lock that a waker takes:
        // no wake-up can fall in between.
        while !done() {
            sleep = self
                .wake
                .wait(sleep)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(sleep);
        self.parked.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake_parked(&self) {
        if self.parked.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.sleep));
            self.wake.notify_all();
        }
    }
}

fn work(shared: &Shared, index: usize) {
    let mut round = 0;
    loop {
        shared.wait_until(|| {
            shared.round.0.load(Ordering::SeqCst) != round || shared.quit.load(Ordering::SeqCst)
        });
        if shared.quit.load(Ordering::SeqCst) {
            return;
        }
        round += 1;
        let task = *lock(&shared.task);
        if let Some(task) = task {
            // SAFETY: `Pool::run` keeps both alive until this worker has raised `finished`.
            let (run, abort) = unsafe { (&*task.run, &*task.abort) };
            let worker = Worker {
                index,
                shared,
                abort,
            };
            if catch_unwind(AssertUnwindSafe(|| run(&worker))).is_err() {
                shared.panicked.store(true, Ordering::SeqCst);
                shared.wake_parked();
            }
        }
        shared.finished.0.fetch_add(1, Ordering::SeqCst);
        shared.wake_parked();
    }
}

/// A lock that a panicking holder does not take away from the others: what these protect is
/// valid at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every worker adds each claimed chunk once, in two phases, many times over.
    #[test]
    fn every_chunk_is_claimed_once_and_barriers_hold() {
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(threads);
            let never = AtomicBool::new(false);
            for _ in 0..200 {
                let first: Vec<AtomicUsize> = (0..57).map(|_| AtomicUsize::new(0)).collect();
                let wrong = AtomicUsize::new(0);
                let outcome = pool.run(Crew::All, &never, &|worker| {
                    while let Some(cell) = first.get(worker.claim(0)) {
                        cell.fetch_add(1, Ordering::Relaxed);
                    }
                    assert!(worker.barrier());
                    let seen = first
                        .iter()
                        .filter(|c| c.load(Ordering::Relaxed) != 1)
                        .count();
                    wrong.fetch_add(seen, Ordering::Relaxed);
                    if worker.claim(0) >= threads {
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
        let pool = Pool::new(3);
        let seen = Mutex::new(Vec::new());
        let outcome = pool.run(Crew::Caller, &AtomicBool::new(false), &|worker| {
            for _ in 0..2 {
                let chunk = worker.claim(0);
                lock(&seen).push((worker.index, chunk));
            }
            assert!(worker.barrier());
            let chunk = worker.claim(0);
            lock(&seen).push((worker.index, chunk));
        });
        assert_eq!(outcome, Outcome::Finished);
        assert_eq!(*lock(&seen), [(0, 0), (0, 1), (0, 0)]);
    }

    #[test]
    fn an_abort_stops_every_worker_at_the_same_barrier() {
        let pool = Pool::new(3);
        let abort = AtomicBool::new(false);
        let turns: Vec<AtomicUsize> = (0..3).map(|_| AtomicUsize::new(0)).collect();
        let outcome = pool.run(Crew::All, &abort, &|worker| {
            loop {
                let turn = turns[worker.index].fetch_add(1, Ordering::Relaxed);
                if worker.index == 1 && turn == 10 {
                    abort.store(true, Ordering::Relaxed);
                }
                if !worker.barrier() {
                    break;
                }
            }
        });
        assert_eq!(outcome, Outcome::Aborted);
        let turns: Vec<usize> = turns.iter().map(|t| t.load(Ordering::Relaxed)).collect();
        assert!(turns.iter().all(|&t| t == turns[0]), "{turns:?}");
    }

    #[test]
    fn a_panic_ends_the_task_and_the_pool_lives_on() {
        for guilty in [0, 1] {
            let pool = Pool::new(2);
            let never = AtomicBool::new(false);
            let outcome = pool.run(Crew::All, &never, &|worker| {
                if worker.index == guilty {
                    panic!("on purpose");
                }
                while worker.barrier() {}
            });
            assert_eq!(outcome, Outcome::Panicked);
            let outcome = pool.run(Crew::All, &never, &|worker| {
                worker.barrier();
            });
            assert_eq!(outcome, Outcome::Finished);
        }
    }
}
