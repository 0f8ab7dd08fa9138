//! What RWKV keeps of the past beside memories: the row before, and weighted means. Chunks are
//! channels, and each takes its rows in order.

use super::recurrent::{fetch, state_mut};
use super::scan::{CHANNEL_CHUNK, each_run, strided, write};
use super::{Run, Tile};
use crate::graph::{Op, Value};
use crate::kernels::Wkv;

/// How many rows ahead those are that will be wanted by the time they are near.
const AHEAD: usize = 8;

/// Chunks of `channels` channels.
pub fn chunks(channels: usize) -> usize {
    channels.div_ceil(CHANNEL_CHUNK)
}

/// One chunk of channels mixed with the row before.
pub fn token_shift(run: &Run<'_>, node: usize, tile: &Tile, chunk: usize, out: Value) {
    let Op::TokenShift { x, mixes, .. } = &run.plan.graph.nodes[node].op else {
        return;
    };
    let width = run.plan.graph.info(*x).width;
    let channels = super::step::range(chunk, CHANNEL_CHUNK, width);
    for row in tile.range.clone() {
        let ahead = row + AHEAD..(row + AHEAD + 1).min(tile.range.end);
        fetch(run, *x, tile, (ahead.clone(), channels.clone()));
        for part in 0..mixes.len() {
            let place = part * width + channels.start..part * width + channels.end;
            fetch(run, out, tile, (ahead.clone(), place));
        }
        let input = &run.row(*x, tile, row)[channels.clone()];
        // SAFETY: these channels of the state are this chunk's.
        let before = unsafe { state_mut(run, node, row, channels.clone()) };
        for (part, mix) in mixes.iter().enumerate() {
            let mix = &run.weights.vector(*mix)[channels.clone()];
            let place = part * width + channels.start..part * width + channels.end;
            // SAFETY: these channels of each part are this chunk's, and no other reference to
            // them is held.
            let out = unsafe { run.row_mut(out, tile, row, place) };
            let ends = input.iter().zip(before.iter());
            for ((out, (x, before)), mix) in out.iter_mut().zip(ends).zip(mix) {
                *out = x + (before - x) * mix;
            }
        }
        before.copy_from_slice(input);
    }
}

/// One chunk of channels through the weighted mean.
pub fn wkv(run: &Run<'_>, node: usize, tile: &Tile, chunk: usize, out: Value) {
    let Op::Wkv {
        k, v, decay, first, ..
    } = &run.plan.graph.nodes[node].op
    else {
        return;
    };
    let channels = super::step::range(chunk, CHANNEL_CHUNK, decay.len);
    let held = channels.start * 3..channels.end * 3;
    let (decay, first) = (
        &run.weights.vector(*decay)[channels.clone()],
        &run.weights.vector(*first)[channels.clone()],
    );
    each_run(run, tile, |rows, next| {
        for value in [*k, *v] {
            fetch(run, value, tile, (next.clone(), channels.clone()));
        }
        write(run, tile, (out, rows.clone(), channels.clone()), |out| {
            let of = |value| strided(run, value, tile, (rows.clone(), channels.clone()));
            (run.kernels.wkv)(Wkv {
                // SAFETY: these channels of state are this chunk's.
                state: unsafe { state_mut(run, node, rows.start, held.clone()) },
                key: of(*k),
                value: of(*v),
                decay,
                first,
                out,
            });
        });
    });
}
