//! Machines whose memory belongs to some of their processors more than to others.

use super::processors;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// Where threads and memory are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numa {
    /// On one node: that on which the process runs.
    Local,
    /// Threads anywhere, pages of memory on all nodes in turn.
    Interleave,
}

/// Some processors and the memory near them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryNode {
    /// Its number.
    pub number: usize,
    /// Those processors.
    pub processors: BTreeSet<usize>,
}

/// The machine's nodes, where the system tells: Linux, whose files lie below `root` (`/`, but for
/// tests).
pub fn nodes(root: &Path) -> Vec<MemoryNode> {
    let folder = root.join("sys/devices/system/node");
    let text = |path: &str| std::fs::read_to_string(folder.join(path)).unwrap_or_default();
    let online = processors(&text("online"));
    let node = |number| MemoryNode {
        number,
        processors: processors(&text(&format!("node{number}/cpulist"))),
    };
    online.into_iter().map(node).collect()
}

/// Places the calling thread and its memory, and so the threads that it starts from now on and theirs.
/// Pages that are in memory already stay where they are, files' among them.
///
/// # Errors
/// The system does not know nodes, or does not let the process choose.
#[cfg(target_os = "linux")]
pub fn place(numa: Numa) -> io::Result<()> {
    let nodes = nodes(Path::new("/"));
    match numa {
        Numa::Local => stay(&nodes),
        Numa::Interleave => interleave(&nodes),
    }
}

/// Places the calling thread and its memory.
///
/// # Errors
/// Always: of this system's nodes nothing is known.
#[cfg(not(target_os = "linux"))]
pub fn place(_: Numa) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Keeps the thread on the node on which it runs: memory is taken there by itself.
#[cfg(target_os = "linux")]
fn stay(nodes: &[MemoryNode]) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
    let here = sched_getcpu();
    let home = nodes.iter().find(|node| node.processors.contains(&here));
    let home = home.ok_or(io::ErrorKind::Unsupported)?;
    let allowed = sched_getaffinity(None)?;
    let mut set = CpuSet::new();
    for &processor in &home.processors {
        if processor < CpuSet::MAX_CPU && allowed.is_set(processor) {
            set.set(processor);
        }
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// Has the thread's pages come from all nodes in turn.
#[cfg(target_os = "linux")]
fn interleave(nodes: &[MemoryNode]) -> io::Result<()> {
    const MPOL_INTERLEAVE: libc::c_long = 3;
    const BITS: usize = libc::c_ulong::BITS as usize;
    let mut mask = [0 as libc::c_ulong; super::MOST_PROCESSORS / BITS];
    for node in nodes {
        mask[node.number / BITS] |= 1 << (node.number % BITS);
    }
    // SAFETY: the call reads as many bits of the mask as it is told, and the kernel's headers count
    // one more than there are.
    let refused = unsafe {
        libc::syscall(
            libc::SYS_set_mempolicy,
            MPOL_INTERLEAVE,
            mask.as_ptr(),
            BITS * mask.len() + 1,
        )
    };
    match refused {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
