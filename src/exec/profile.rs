//! Where a run's time goes: each worker notes on a sheet of its own how long it worked at each
//! step and how long it waited at each barrier.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How often something was timed and how long it took in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Times.
    pub count: u64,
    /// Nanoseconds in all.
    pub nanos: u64,
}

/// A stretch of one worker's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Number of the plan.
    pub plan: u8,
    /// Whether it waited after this node, rather than worked at it.
    pub waited: bool,
    /// Node of the plan's graph.
    pub node: u32,
    /// Nanoseconds from the profile's beginning.
    pub start: u64,
    /// How long.
    pub nanos: u64,
}

/// What one worker has noted.
#[derive(Debug, Default)]
struct Sheet {
    /// By plan and node.
    work: Vec<Vec<Tally>>,
    /// Likewise, by the first node before the barrier.
    waits: Vec<Vec<Tally>>,
    events: Vec<Event>,
    /// Events beyond as many as were asked for.
    lost: u64,
}

/// Times of all workers at all plans of a session.
#[derive(Debug)]
pub struct Profile {
    begin: Instant,
    most_events: usize,
    sheets: Vec<Mutex<Sheet>>,
}

impl Profile {
    /// Empty sheets for `threads` workers and for plans of so many nodes; each worker keeps up
    /// to `most_events` single events as well.
    pub fn new(threads: usize, nodes: &[usize], most_events: usize) -> Profile {
        let blank = || -> Vec<Vec<Tally>> {
            let plans = nodes.iter();
            plans.map(|&nodes| vec![Tally::default(); nodes]).collect()
        };
        let sheet = || Sheet {
            work: blank(),
            waits: blank(),
            ..Sheet::default()
        };
        Profile {
            begin: Instant::now(),
            most_events,
            sheets: (0..threads).map(|_| Mutex::new(sheet())).collect(),
        }
    }

    /// When it began.
    pub fn begin(&self) -> Instant {
        self.begin
    }

    /// Work and waiting of all workers at one node of one plan.
    pub fn totals(&self, plan: usize, node: usize) -> (Tally, Tally) {
        let mut totals = (Tally::default(), Tally::default());
        for sheet in &self.sheets {
            let sheet = lock(sheet);
            for (total, found) in [
                (&mut totals.0, sheet.work[plan][node]),
                (&mut totals.1, sheet.waits[plan][node]),
            ] {
                total.count += found.count;
                total.nanos += found.nanos;
            }
        }
        totals
    }

    /// Events by worker, and how many there was no room for.
    pub fn events(&self) -> (Vec<Vec<Event>>, u64) {
        let lost = self.sheets.iter().map(|sheet| lock(sheet).lost).sum();
        let events = self.sheets.iter().map(|sheet| lock(sheet).events.clone());
        (events.collect(), lost)
    }

    /// A worker's clock for one run of one plan.
    pub(super) fn clock(&self, plan: usize, worker: usize) -> Clock<'_> {
        Clock {
            profile: self,
            plan,
            sheet: lock(&self.sheets[worker % self.sheets.len()]),
        }
    }
}

/// Notes one worker's times.
pub(super) struct Clock<'a> {
    profile: &'a Profile,
    plan: usize,
    sheet: MutexGuard<'a, Sheet>,
}

impl Clock<'_> {
    /// Nanoseconds since the profile's beginning.
    pub fn now(&self) -> u64 {
        self.profile.begin.elapsed().as_nanos() as u64
    }

    /// Notes work at a node; yields how long it took.
    pub fn worked(&mut self, node: usize, since: u64) -> u64 {
        self.note(node, since, 0, false)
    }

    /// Notes waiting, of which `busy` nanoseconds were work of other nodes.
    pub fn waited(&mut self, node: usize, since: u64, busy: u64) {
        self.note(node, since, busy, true);
    }

    fn note(&mut self, node: usize, since: u64, busy: u64, waited: bool) -> u64 {
        let nanos = self.now().saturating_sub(since + busy);
        let sheet = &mut *self.sheet;
        let tallies = match waited {
            true => &mut sheet.waits,
            false => &mut sheet.work,
        };
        let tally = &mut tallies[self.plan][node];
        tally.count += 1;
        tally.nanos += nanos;
        if sheet.events.len() < self.profile.most_events {
            sheet.events.push(Event {
                plan: self.plan as u8,
                waited,
                node: node as u32,
                // The last to arrive waits for nobody: what it does alone comes first.
                start: since + busy,
                nanos,
            });
        } else {
            sheet.lost += 1;
        }
        nanos
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
