//! Kernels that go over a session's KV cache and states: attention, and the steps of states.

use super::{Tables, seconds, streamed};
use rillm::internals::kernels::{AttentionBench, KvType, SCAN_ROWS, StateBench, StateKernel};
use std::io::{self, Write};

/// Elements of a head.
const HEAD: usize = 64;

/// Query heads that share a head of keys, one of each for a token.
const GROUP: usize = 4;

/// Queries of a prompt that are worked on together.
const PROMPT: usize = 128;

/// Pages of a prompt's KV cache that stay in the processor's cache.
const PAGES: usize = 4;

pub(super) fn attention(tables: &Tables, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "\n| attention, heads of {HEAD} | instruction set | {GROUP} queries, GB/s | {PROMPT} queries, GFLOP/s |"
    )?;
    writeln!(out, "|:--|:--|--:|--:|")?;
    for &kv_type in KvType::ALL {
        for table in &tables.all {
            let page = AttentionBench::new(kv_type, HEAD, 1, 1);
            let page = page.map_or(1, |page| page.bytes().max(1) as usize);
            let pages = streamed(table.isa) / page;
            let token = AttentionBench::new(kv_type, HEAD, GROUP, pages);
            let prompt = AttentionBench::new(kv_type, HEAD, PROMPT, PAGES);
            let (Some(mut token), Some(mut prompt)) = (token, prompt) else {
                continue;
            };
            let read = token.bytes() as f64 / seconds(|| token.run(table)) / 1e9;
            let computed = prompt.operations() as f64 / seconds(|| prompt.run(table)) / 1e9;
            let name = format!("attend {kv_type}");
            let rates = [("few queries", read), ("many queries", computed)];
            let isa = tables.note(&name, table.isa, &rates);
            writeln!(out, "| {name} | {isa} | {read:.2} | {computed:.1} |")?;
        }
    }
    Ok(())
}

pub(super) fn states(tables: &Tables, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "\n| kernel of a state | instruction set | one row, GB/s | {SCAN_ROWS} rows, elements/ns |"
    )?;
    writeln!(out, "|:--|:--|--:|--:|")?;
    for &kernel in StateKernel::ALL {
        for table in &tables.all {
            let mut token = StateBench::new(kernel, streamed(table.isa), 1);
            let read = token.bytes() as f64 / seconds(|| token.run(table)) / 1e9;
            // One state, which stays in a cache from row to row.
            let mut prompt = StateBench::new(kernel, 1, SCAN_ROWS);
            let rate = prompt.elements() as f64 / seconds(|| prompt.run(table)) / 1e9;
            let rates = [("one row", read), ("many rows", rate)];
            let isa = tables.note(kernel.name(), table.isa, &rates);
            writeln!(out, "| {} | {isa} | {read:.2} | {rate:.3} |", kernel.name())?;
        }
    }
    Ok(())
}
