//! What the machine offers, and what other machines would.

use crate::support::folder::TempFolder;
use rillm::internals::platform::{MemoryNode, Numa, default_threads, fast_cores, nodes, place};
use std::path::Path;

#[test]
fn there_is_a_worker_and_no_more_than_processors() {
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    assert!((1..=allowed).contains(&default_threads()));
}

/// A machine's files, as Linux shows them.
struct Machine(TempFolder);

impl Machine {
    fn new(name: &str, allowed: &str) -> Machine {
        let machine = Machine(TempFolder::new(name));
        let status = format!("Name:\trillm\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\n");
        machine.with("proc/self/status", &status)
    }

    fn with(self, path: &str, text: &str) -> Machine {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// A processor that shares its core with these.
    fn processor(self, number: usize, siblings: &str) -> Machine {
        let path = format!("sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list");
        self.with(&path, &format!("{siblings}\n"))
    }

    fn capacity(self, number: usize, capacity: &str) -> Machine {
        let path = format!("sys/devices/system/cpu/cpu{number}/cpu_capacity");
        self.with(&path, capacity)
    }

    fn root(&self) -> &Path {
        &self.0
    }
}

/// Four cores of two threads each, of which a process may use some.
fn alike(name: &str, allowed: &str) -> Machine {
    let pairs = [(0, 4), (1, 5), (2, 6), (3, 7)];
    pairs
        .iter()
        .fold(Machine::new(name, allowed), |machine, (a, b)| {
            let siblings = format!("{a},{b}");
            machine.processor(*a, &siblings).processor(*b, &siblings)
        })
}

#[test]
fn threads_of_a_core_count_once() {
    for (allowed, cores) in [
        ("0-7", 4),
        ("0-3", 4),
        ("0,4", 1),
        ("1-2,5", 2),
        ("4-7", 4),
        // Processors that are off have no topology.
        ("0-4,64-99", 4),
        // More than any machine has are not looked for.
        ("0-18446744073709551615", 4),
    ] {
        let machine = alike("cores", allowed);
        assert_eq!(fast_cores(machine.root()), Some(cores), "{allowed}");
    }
}

/// Two performance cores of two threads, four efficient ones, as Intel's are listed.
#[test]
fn efficient_cores_do_not_count_beside_performing_ones() {
    let mixed = |allowed| {
        let machine = Machine::new("mixed", allowed)
            .with("sys/devices/cpu_core/cpus", "0-3\n")
            .with("sys/devices/cpu_atom/cpus", "4-7\n");
        let machine = [("0-1", 0), ("0-1", 1), ("2-3", 2), ("2-3", 3)]
            .iter()
            .fold(machine, |machine, (of, at)| machine.processor(*at, of));
        (4..8).fold(machine, |machine, at| {
            machine.processor(at, &at.to_string())
        })
    };
    for (allowed, cores) in [("0-7", 2), ("2-7", 1), ("0-3", 2), ("4-7", 4), ("1,5", 1)] {
        assert_eq!(fast_cores(mixed(allowed).root()), Some(cores), "{allowed}");
    }
}

/// Little, middle and large cores, as ARM's have a number each.
#[test]
fn little_cores_do_not_count_beside_larger_ones() {
    let mixed = |allowed| {
        let capacities = ["325", "325", "325", "325", "828", "828", "828\n", "1024\n"];
        let machine = Machine::new("little", allowed);
        let cores = capacities.iter().enumerate();
        cores.fold(machine, |machine, (at, capacity)| {
            machine
                .processor(at, &at.to_string())
                .capacity(at, capacity)
        })
    };
    for (allowed, cores) in [("0-7", 4), ("0-3", 4), ("0-4", 1), ("7", 1), ("3,7", 1)] {
        assert_eq!(fast_cores(mixed(allowed).root()), Some(cores), "{allowed}");
    }
    // One number alone is enough to tell.
    let one = alike("one", "0-7").capacity(0, "1024");
    assert_eq!(fast_cores(one.root()), Some(1));
}

#[test]
fn what_the_system_does_not_tell_is_not_guessed() {
    let empty = TempFolder::new("nothing");
    assert_eq!(fast_cores(&empty), None);
    assert_eq!(nodes(&empty), []);
    assert_eq!(fast_cores(Machine::new("untold", "0-3").root()), None);
    for list in ["", "x", "-", "3-1", ",,"] {
        assert_eq!(fast_cores(alike("none", list).root()), None, "{list}");
    }
}

#[test]
fn nodes_have_their_processors() {
    let machine = Machine::new("nodes", "0-7")
        .with("sys/devices/system/node/online", "0,2\n")
        .with("sys/devices/system/node/node0/cpulist", "0-1,4-5\n")
        // Memory alone.
        .with("sys/devices/system/node/node2/cpulist", "\n");
    let nodes = nodes(machine.root());
    let numbers: Vec<_> = nodes.iter().map(|node| node.number).collect();
    assert_eq!(numbers, [0, 2]);
    assert_eq!(Vec::from_iter(nodes[0].processors.clone()), [0, 1, 4, 5]);
    assert!(nodes[1].processors.is_empty());
}

/// A thread of its own, which alone is placed.
#[cfg(target_os = "linux")]
#[test]
fn a_thread_stays_on_its_node() {
    let home = nodes(Path::new("/"));
    let stayed = std::thread::spawn(|| {
        let placed = place(Numa::Local);
        placed.map(|()| rustix::thread::sched_getaffinity(None).expect("its own"))
    });
    match stayed.join().expect("no panic") {
        Ok(set) => {
            let on = |node: &&MemoryNode| node.processors.iter().any(|&at| set.is_set(at));
            let on: Vec<_> = home.iter().filter(on).collect();
            assert_eq!(on.len(), 1, "{on:?}");
            let inside = on[0].processors.iter().filter(|&&at| set.is_set(at));
            assert_eq!(inside.count() as u32, set.count());
        }
        // A system that shows no nodes, or lets nobody choose.
        Err(error) => assert!(home.is_empty() || error.raw_os_error().is_some(), "{error}"),
    }
}
