//! What RWKV keeps of the past beside memories: the row before, and weighted means. Chunks are
//! channels, and each takes its rows in order.

use super::recurrent::state_mut;
use super::{Run, Tile};
use crate::graph::{Op, Value};
use crate::kernels::Wkv;

/// Channels that a worker claims at a time.
const CHANNEL_CHUNK: usize = 64;

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
    for row in tile.range.clone() {
        // SAFETY: these channels of state and output are this chunk's.
        let (state, out) = unsafe {
            (
                state_mut(run, node, row, held.clone()),
                run.row_mut(out, tile, row, channels.clone()),
            )
        };
        (run.kernels.wkv)(Wkv {
            state,
            key: &run.row(*k, tile, row)[channels.clone()],
            value: &run.row(*v, tile, row)[channels.clone()],
            decay,
            first,
            out,
        });
    }
}
