//! Worker threads that walk one plan together.
//!
//! A task is run by every worker at once, the caller being worker 0. Each worker has a part of a
//! step's chunks, which lie side by side, and helps with the others' once its own are done: so a
//! core that a stranger occupies costs no more than its share, and a calm one streams through
//! memory without asking anybody. Workers meet at barriers, where waiting spins first and then
//! parks; what one worker can do alone, the last to arrive does before it lets the others go.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::kernels::ThreadSetup;
use crate::plan::PHASE_STEPS;

/// Turns of the spin loop that are timed: how long one takes is between one and fifty nanoseconds.
const TIMED_SPINS: u32 = 64;

/// Most turns.
const MAX_SPINS: usize = 1 << 20;

/// Into how many parts a step's chunks fall at most: beyond that workers share one, for whoever
/// is done looks through all of them.
const PARTS: usize = 8;

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

/// How far one part of each of the phase's steps has been claimed; nobody else's lines.
#[derive(Debug)]
#[repr(align(128))]
struct Claims([AtomicU32; PHASE_STEPS]);

/// Both on one line: who arrives last has it already when it lets the others go.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Meeting {
    arrived: AtomicUsize,
    epoch: AtomicUsize,
}

#[derive(Debug)]
struct Shared {
    threads: usize,
    /// Turns of the spin loop before parking: none where workers outnumber processors, since
    /// a spinning one then keeps the one it waits for from running.
    spins: usize,
    /// Claims of the current phase; as many of them count as there are workers.
    claims: [Claims; PARTS],
    meeting: Meeting,
    /// Workers asleep at a barrier or between tasks.
    parked: AtomicUsize,
    stop: AtomicBool,
    panicked: AtomicBool,
    quit: AtomicBool,
    /// Workers that have begun.
    begun: AtomicUsize,
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
    setup: Option<ThreadSetup>,
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
    /// Raised by whoever wants the task to end.
    pub abort: &'a AtomicBool,
}

impl Pool {
    /// A pool of `threads` workers, the caller included, who wait so long before they park. Fewer if
    /// the system refuses threads.
    pub fn new(threads: usize, patience: Duration) -> Pool {
        let mut threads = threads.clamp(1, MAX_THREADS);
        let spins = spins(patience);
        loop {
            let shared = Arc::new(Shared::new(threads, spins));
            let mut workers = Vec::with_capacity(threads - 1);
            for index in 1..threads {
                match worker(&shared, index) {
                    Some(handle) => workers.push(handle),
                    None => break,
                }
            }
            let pool = Pool {
                shared,
                alone: Shared::new(1, spins),
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

    /// Runs `task` on a crew and returns when all have left it. Each thread sets itself up first,
    /// and tears that down when it leaves. `abort` is polled at each barrier.
    pub fn run(
        &self,
        crew: Crew,
        abort: &AtomicBool,
        setup: Option<ThreadSetup>,
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
            *lock(&shared.task) = Some(Task { run, abort, setup });
            shared.round.0.fetch_add(1, Ordering::SeqCst);
            shared.wake_parked();
        }
        let worker = Worker {
            index: 0,
            shared,
            abort,
        };
        if !ended(setup, || task(&worker)) {
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
    /// Takes one of the `chunks` chunks of the phase's step `step`, from this worker's part as
    /// long as there are any: there they come in order.
    pub fn claim(&self, step: usize, chunks: usize) -> Option<usize> {
        let parts = self.shared.parts();
        if parts == 1 && self.shared.threads == 1 {
            // Alone: no need for the bus lock.
            let counter = &self.shared.claims[0].0[step];
            let chunk = counter.load(Ordering::Relaxed);
            counter.store(chunk + 1, Ordering::Relaxed);
            return Some(chunk as usize).filter(|&chunk| chunk < chunks);
        }
        for part in (self.index..self.index + parts).map(|part| part % parts) {
            let (start, end) = (chunks * part / parts, chunks * (part + 1) / parts);
            let counter = &self.shared.claims[part].0[step];
            // Looked at first: what is used up is not written any more.
            if (counter.load(Ordering::Relaxed) as usize) < end - start {
                let chunk = counter.fetch_add(1, Ordering::Relaxed) as usize;
                if chunk < end - start {
                    return Some(start + chunk);
                }
            }
        }
        None
    }

    /// Waits for all workers, then gives the claims of `steps` steps back. The last to arrive
    /// runs `alone` before anybody goes on, and says whether they shall. `false`: leave the task, it
    /// was aborted (the same answer for every worker).
    pub fn barrier(&self, steps: usize, alone: impl FnOnce() -> bool) -> bool {
        let shared = self.shared;
        // Nobody moves it before this worker has arrived.
        let epoch = shared.meeting.epoch.load(Ordering::Relaxed);
        if shared.meeting.arrived.fetch_add(1, Ordering::AcqRel) + 1 == shared.threads {
            for part in &shared.claims[..shared.parts()] {
                for claim in &part.0[..steps] {
                    claim.store(0, Ordering::Relaxed);
                }
            }
            let aborted = || self.abort.load(Ordering::Relaxed);
            // Whoever is handed outputs may raise the flag there.
            let stop = aborted() || !alone() || aborted();
            if stop {
                shared.stop.store(true, Ordering::Relaxed);
            }
            shared.meeting.arrived.store(0, Ordering::Relaxed);
            shared.meeting.epoch.store(epoch + 1, Ordering::Release);
            if shared.threads > 1 {
                shared.wake_parked();
            }
        } else {
            shared.wait_until(|| {
                shared.meeting.epoch.load(Ordering::Acquire) != epoch
                    || shared.panicked.load(Ordering::Relaxed)
            });
        }
        !shared.stop.load(Ordering::Relaxed) && !shared.panicked.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn new(threads: usize, spins: usize) -> Shared {
        Shared {
            threads,
            spins: match std::thread::available_parallelism() {
                Ok(processors) if threads > processors.get() => 0,
                _ => spins,
            },
            claims: std::array::from_fn(|_| Claims(Default::default())),
            meeting: Meeting::default(),
            parked: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            quit: AtomicBool::new(false),
            begun: AtomicUsize::new(0),
            round: Counter::default(),
            finished: Counter::default(),
            task: Mutex::new(None),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
        }
    }

    fn parts(&self) -> usize {
        self.threads.min(PARTS)
    }

    /// Clears what a former task (perhaps one that panicked) has left.
    fn begin(&self) {
        for claim in self.claims.iter().flat_map(|part| &part.0) {
            claim.store(0, Ordering::Relaxed);
        }
        self.meeting.arrived.store(0, Ordering::SeqCst);
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
        fence(Ordering::SeqCst);
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

    /// What was stored for sleepers to see is stored before `parked` is looked at: one side
    /// sees the other.
    fn wake_parked(&self) {
        fence(Ordering::SeqCst);
        if self.parked.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.sleep));
            self.wake.notify_all();
        }
    }
}

/// Turns of the spin loop that take so long: the least of some measurements, for a stranger may have
/// the processor meanwhile.
fn spins(patience: Duration) -> usize {
    let timed = || {
        let start = Instant::now();
        (0..TIMED_SPINS).for_each(|_| std::hint::spin_loop());
        start.elapsed()
    };
    let least = (0..4).map(|_| timed()).min().unwrap_or(patience);
    let turn = least.as_nanos().max(1);
    let turns = patience.as_nanos() * u128::from(TIMED_SPINS) / turn;
    usize::try_from(turns).map_or(MAX_SPINS, |turns| turns.min(MAX_SPINS))
}

/// More than a thread asks for when it begins, its stack included: where the system refuses a thread
/// its signal stack the standard library ends the process, or waits for itself for ever, so that none may
/// begin without. Threads ask the system; of 32 MiB and less glibc may hand out again what it was given
/// back, and the system have none left.
const THREAD_MEMORY: usize = 33 << 20;

/// A worker that has begun; `None` where the system refuses one, or memory for it.
fn worker(shared: &Arc<Shared>, index: usize) -> Option<JoinHandle<()>> {
    Vec::<u8>::new().try_reserve_exact(THREAD_MEMORY).ok()?;
    let of_worker = Arc::clone(shared);
    let handle = std::thread::Builder::new()
        .name(format!("rillm-{index}"))
        .spawn(move || {
            of_worker.begun.fetch_add(1, Ordering::SeqCst);
            work(&of_worker, index);
        });
    let handle = handle.ok()?;
    // What it takes is taken before the next one's is tried.
    while shared.begun.load(Ordering::SeqCst) < index && !handle.is_finished() {
        std::thread::yield_now();
    }
    Some(handle)
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
            if !ended(task.setup, || run(&worker)) {
                shared.panicked.store(true, Ordering::SeqCst);
                shared.wake_parked();
            }
        }
        shared.finished.0.fetch_add(1, Ordering::SeqCst);
        shared.wake_parked();
    }
}

/// Runs a task's share on this thread, set up for it. `false` if it panicked.
fn ended(setup: Option<ThreadSetup>, share: impl FnOnce()) -> bool {
    let share = || {
        let _ready = setup.map(ThreadSetup::enter);
        share();
    };
    catch_unwind(AssertUnwindSafe(share)).is_ok()
}

/// A lock that a panicking holder does not take away from the others: what these protect is
/// valid at every moment.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
