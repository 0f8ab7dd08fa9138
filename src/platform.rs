//! What this machine offers: cores, nodes of memory, and how much is in use.

mod cores;
mod numa;

pub use cores::{default_threads, fast_cores};
pub use numa::{MemoryNode, Numa, nodes, place};

use std::collections::BTreeSet;

/// Beyond any machine's number of processors.
const MOST_PROCESSORS: usize = 1 << 12;

/// A list of numbers as Linux writes them: `0-3,8`. What is none is left out.
fn processors(list: &str) -> BTreeSet<usize> {
    let mut all = BTreeSet::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse(), last.trim().parse::<usize>()) {
            all.extend(first..=last.min(MOST_PROCESSORS - 1));
        }
    }
    all
}

/// Bytes of this process that are in memory, where the system tells.
#[cfg(target_os = "linux")]
pub fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// Bytes of this process that are in memory, where the system tells.
#[cfg(not(target_os = "linux"))]
pub fn resident() -> Option<u64> {
    None
}
