//! Convolutions and scans of state-space layers, a block of channels at a time.

use crate::ops::DeferredDecay;
use crate::{Conv1d, SCAN_LANES, SCAN_ROWS, Scan};

pub(super) fn conv1d(mut call: Conv1d<'_>) {
    for first in (0..call.channels).step_by(SCAN_LANES) {
        conv_block(&mut call, first);
    }
}

pub(super) fn scan(mut call: Scan<'_>) {
    for first in (0..call.channels).step_by(SCAN_LANES) {
        scan_block(&mut call, first);
    }
}

pub(super) fn head_scan(mut call: Scan<'_>) {
    let ([deferred, ..], [a, ..]) = (&mut *call.deferred, call.a) else {
        return;
    };
    let mut decays = [1.0; SCAN_ROWS];
    let rows = call.out.len().checked_div(call.channels).unwrap_or(0);
    let rows = rows.min(SCAN_ROWS);
    for (row, decay) in decays[..rows].iter_mut().enumerate() {
        if let [dt] = call.dt.row(row, 1) {
            *decay = (dt * a).exp();
        }
    }
    let decay = DeferredDecay::new(deferred, &decays[..rows], f32::INFINITY);
    for first in (0..call.channels).step_by(SCAN_LANES) {
        head_block(&mut call, first, &decay);
    }
}

/// The block of channels from `first` on.
pub(crate) fn conv_block(call: &mut Conv1d<'_>, first: usize) {
    let (channels, width) = (call.channels, call.width);
    let lanes = SCAN_LANES.min(channels - first);
    let Some(held) = width.checked_sub(1) else {
        return;
    };
    let state = call.state.get_mut(first * held..(first + lanes) * held);
    let weight = call.weight.get(first * width..(first + lanes) * width);
    let (Some(state), Some(weight)) = (state, weight) else {
        return;
    };
    for (row, out) in call.out.chunks_exact_mut(channels).enumerate() {
        let out = &mut out[first..first + lanes];
        let input = call.input.row(row, channels);
        let Some(input) = input.get(first..first + lanes) else {
            return;
        };
        match call.bias.and_then(|bias| bias.get(first..first + lanes)) {
            Some(bias) => out.copy_from_slice(bias),
            None => out.fill(0.0),
        }
        let window = state.chunks_exact(lanes).chain([input]);
        for (taps, values) in weight.chunks_exact(lanes).zip(window) {
            for (out, (tap, value)) in out.iter_mut().zip(taps.iter().zip(values)) {
                *out += tap * value;
            }
        }
        if let Some(last) = state.len().checked_sub(lanes) {
            state.copy_within(lanes.., 0);
            state[last..].copy_from_slice(input);
        }
    }
}

/// The block of channels from `first` on.
pub(crate) fn scan_block(call: &mut Scan<'_>, first: usize) {
    let (channels, states) = (call.channels, call.states);
    let lanes = SCAN_LANES.min(channels - first);
    let held = first * states..(first + lanes) * states;
    let (Some(state), Some(a), Some(d)) = (
        call.state.get_mut(held.clone()),
        call.a.get(held),
        call.d.get(first..first + lanes),
    ) else {
        return;
    };
    for (row, out) in call.out.chunks_exact_mut(channels).enumerate() {
        let out = &mut out[first..first + lanes];
        let (dt, x) = (call.dt.row(row, channels), call.x.row(row, channels));
        let (Some(dt), Some(x)) = (dt.get(first..first + lanes), x.get(first..first + lanes))
        else {
            return;
        };
        for (out, (d, x)) in out.iter_mut().zip(d.iter().zip(x)) {
            *out = d * x;
        }
        let (b, c) = (call.b.row(row, states), call.c.row(row, states));
        let rows = state.chunks_exact_mut(lanes).zip(a.chunks_exact(lanes));
        for ((h, a), (b, c)) in rows.zip(b.iter().zip(c)) {
            for lane in 0..lanes {
                h[lane] = (dt[lane] * a[lane]).exp() * h[lane] + dt[lane] * x[lane] * b;
                out[lane] += h[lane] * c;
            }
        }
    }
}

/// The block of a head's channels from `first` on.
pub(crate) fn head_block(call: &mut Scan<'_>, first: usize, decay: &DeferredDecay) {
    let (channels, states) = (call.channels, call.states);
    let lanes = SCAN_LANES.min(channels - first);
    let state = call.state.get_mut(first * states..(first + lanes) * states);
    let (Some(state), [d, ..]) = (state, call.d) else {
        return;
    };
    let rows = call.out.chunks_exact_mut(channels).enumerate();
    for ((row, out), (applied, deferred)) in rows.zip(decay.applied.iter().zip(&decay.deferred)) {
        let out = &mut out[first..first + lanes];
        let (dt, x) = (call.dt.row(row, 1), call.x.row(row, channels));
        let ([dt], Some(x)) = (dt, x.get(first..first + lanes)) else {
            return;
        };
        out.fill(0.0);
        let (b, c) = (call.b.row(row, states), call.c.row(row, states));
        for (h, (b, c)) in state.chunks_exact_mut(lanes).zip(b.iter().zip(c)) {
            for lane in 0..lanes {
                h[lane] = applied * h[lane] + dt / deferred * x[lane] * b;
                out[lane] += h[lane] * c;
            }
        }
        for (out, x) in out.iter_mut().zip(x) {
            *out = deferred * *out + d * x;
        }
    }
}
