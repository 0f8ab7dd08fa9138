//! Kernels that go over a session's KV cache and states: attention, and the steps of states.

use super::{Tables, in_turn, streamed};
use rillm::internals::kernels::{AttentionBench, Isa, KvType, SCAN_ROWS, StateBench, StateKernel};
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
        let page = AttentionBench::new(kv_type, HEAD, 1, 1);
        let page = page.map_or(1, |page| page.bytes().max(1) as usize);
        let pages = |isa| streamed(isa) / page;
        let token = |isa| AttentionBench::new(kv_type, HEAD, GROUP, pages(isa));
        let prompt = AttentionBench::new(kv_type, HEAD, PROMPT, PAGES);
        let (Some(slow), Some(token), Some(mut prompt)) =
            (token(Isa::Scalar), token(Isa::Portable), prompt)
        else {
            continue;
        };
        let name = format!("attend {kv_type}");
        let mut both = [slow, token];
        let read = in_turn(&mut tables.all.clone(), |table| {
            both[usize::from(table.isa != Isa::Scalar)].run(table);
        });
        let computed = in_turn(&mut tables.all.clone(), |table| prompt.run(table));
        for ((table, read), computed) in tables.all.iter().zip(read).zip(computed) {
            let bytes = both[usize::from(table.isa != Isa::Scalar)].bytes();
            let read = bytes as f64 / read / 1e9;
            let computed = prompt.operations() as f64 / computed / 1e9;
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
        let token = |isa| StateBench::new(kernel, streamed(isa), 1);
        let mut both = [token(Isa::Scalar), token(Isa::Portable)];
        let read = in_turn(&mut tables.all.clone(), |table| {
            both[usize::from(table.isa != Isa::Scalar)].run(table);
        });
        // One state, which stays in a cache from row to row.
        let mut prompt = StateBench::new(kernel, 1, SCAN_ROWS);
        let rows = in_turn(&mut tables.all.clone(), |table| prompt.run(table));
        for ((table, read), rows) in tables.all.iter().zip(read).zip(rows) {
            let bytes = both[usize::from(table.isa != Isa::Scalar)].bytes();
            let read = bytes as f64 / read / 1e9;
            let rate = prompt.elements() as f64 / rows / 1e9;
            let rates = [("one row", read), ("many rows", rate)];
            let isa = tables.note(kernel.name(), table.isa, &rates);
            writeln!(out, "| {} | {isa} | {read:.2} | {rate:.3} |", kernel.name())?;
        }
    }
    Ok(())
}
