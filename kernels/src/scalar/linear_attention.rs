//! Linear attention, and RWKV-4's weighted mean.

use super::vector::axpy;
use crate::{LinearAttend, LinearAttendRow, RowDecay, SCAN_LANES, Wkv};

/// Columns worked on at a time: what the delta rule takes out of them is kept aside.
const COLUMNS: usize = 64;

pub(super) fn linear_attend(call: LinearAttend<'_, '_>) {
    for row in call.rows {
        attend_row(call.state, row);
    }
}

fn attend_row(state: &mut [f32], row: &mut LinearAttendRow<'_>) {
    let (keys, stride) = (row.key_dim(), row.value.len().max(1));
    let all = row.value.len().min(row.out.len());
    for first in (0..all).step_by(COLUMNS) {
        let columns = first..all.min(first + COLUMNS);
        let mut removed = [0.0; COLUMNS];
        let removed = &mut removed[..columns.len()];
        if let Some(delta) = &row.delta {
            for (s, read) in state.chunks_exact(stride).zip(&delta.read[..keys]) {
                axpy(*read, &s[columns.clone()], removed);
            }
            removed.iter_mut().for_each(|x| *x *= delta.factor);
        }
        let mut value = [0.0; COLUMNS];
        for (scaled, value) in value.iter_mut().zip(&row.value[columns.clone()]) {
            *scaled = row.gain * value;
        }
        let out = &mut row.out[columns.clone()];
        out.fill(0.0);
        for (index, s) in state.chunks_exact_mut(stride).take(keys).enumerate() {
            let s = &mut s[columns.clone()];
            if row.before {
                axpy(row.query[index], s, out);
            }
            let decay = match row.decay {
                RowDecay::All(decay) => decay,
                RowDecay::Keys(decays) => decays[index],
            };
            s.iter_mut().for_each(|x| *x *= decay);
            if let Some(delta) = &row.delta {
                axpy(delta.write[index], removed, s);
            }
            axpy(row.key[index], &value, s);
            if !row.before {
                axpy(row.query[index], s, out);
            }
        }
    }
}

pub(super) fn wkv(mut call: Wkv<'_>) {
    for first in (0..call.decay.len()).step_by(SCAN_LANES) {
        wkv_block(&mut call, first);
    }
}

/// The block of channels from `first` on.
pub(crate) fn wkv_block(call: &mut Wkv<'_>, first: usize) {
    let channels = call.decay.len();
    let block = first..channels.min(first + SCAN_LANES);
    let state = call.state.get_mut(3 * block.start..3 * block.end);
    let (Some(state), Some(bonus)) = (state, call.first.get(block.clone())) else {
        return;
    };
    let lanes = block.len();
    let (sums, rest) = state.split_at_mut(lanes);
    let (weights, exponents) = rest.split_at_mut(lanes);
    for (weights, exponent) in weights.iter().zip(exponents.iter_mut()) {
        if *weights == 0.0 {
            *exponent = f32::NEG_INFINITY;
        }
    }
    let decay = &call.decay[block.clone()];
    for (row, out) in call.out.chunks_exact_mut(channels).enumerate() {
        let (key, value) = (call.key.row(row, channels), call.value.row(row, channels));
        let (Some(key), Some(value)) = (key.get(block.clone()), value.get(block.clone())) else {
            return;
        };
        let out = &mut out[block.clone()];
        for lane in 0..lanes {
            let (sum, weights) = (&mut sums[lane], &mut weights[lane]);
            let (k, v, past) = (key[lane], value[lane], exponents[lane]);
            let most = past.max(k + bonus[lane]);
            let (old, new) = ((past - most).exp(), (k + bonus[lane] - most).exp());
            out[lane] = (old * *sum + new * v) / (old * *weights + new);
            let past = past + decay[lane];
            let most = past.max(k);
            let (old, new) = ((past - most).exp(), (k - most).exp());
            (*sum, *weights) = (old * *sum + new * v, old * *weights + new);
            exponents[lane] = most;
        }
    }
}
