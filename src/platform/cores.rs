//! Which of the machine's processors are worth a worker.

use super::processors;
use std::collections::BTreeMap;
use std::path::Path;

/// Workers to use by default: as many as this process may use processors, but no more than there are
/// fast cores among them. Two threads of one core share its arithmetic units, so a second worker
/// there only adds waiting; and so does a slow core's, whose last chunk the others wait for.
///
/// The process's affinity and its cgroup's quota count, as far as the standard library sees
/// them.
pub fn default_threads() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    match fast_cores(Path::new("/")) {
        Some(cores) => allowed.min(cores),
        None => allowed,
    }
}

/// Cores that this process may use and that are about as fast as the fastest of them, where the system
/// tells: Linux, whose files lie below `root` (`/`, but for tests).
///
/// It lists for each processor those that share its core. How fast that is, it says by a number where
/// it knows (`cpu_capacity`: ARM's big and little cores), and of Intel's mixed CPUs it lists which
/// processors are of which kind.
pub fn fast_cores(root: &Path) -> Option<usize> {
    /// Three fifths of the fastest's speed: above little and efficient cores, below middle ones.
    const FAST: (u64, u64) = (3, 5);
    let text = |path: String| std::fs::read_to_string(root.join(path)).ok();
    let status = text("proc/self/status".to_string())?;
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let performing = text("sys/devices/cpu_core/cpus".to_string());
    let performing = performing.map(|list| processors(&list));
    let speed = |processor: usize| match &performing {
        Some(performing) => 1 + u64::from(performing.contains(&processor)),
        None => {
            let path = format!("sys/devices/system/cpu/cpu{processor}/cpu_capacity");
            let number = text(path).and_then(|number| number.trim().parse().ok());
            number.unwrap_or(0)
        }
    };
    let mut cores = BTreeMap::new();
    for processor in processors(allowed) {
        let path = format!("sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list");
        // Processors that are off have no topology.
        if let Some(siblings) = text(path) {
            let core = cores.entry(siblings).or_insert(0);
            *core = speed(processor).max(*core);
        }
    }
    let fastest = cores.values().copied().max()?;
    let fast = |&&speed: &&u64| {
        u128::from(speed) * u128::from(FAST.1) >= u128::from(fastest) * u128::from(FAST.0)
    };
    Some(cores.values().filter(fast).count())
}
