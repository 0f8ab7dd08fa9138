//! Memories of outer products, and RWKV-4's of weighted means.

use super::vector::axpy;
use crate::kernels::{Fading, Retain, RetainRow, Wkv};

/// Columns worked on at a time: what is read of them is kept aside.
const COLUMNS: usize = 64;

pub(super) fn retain(call: Retain<'_, '_>) {
    for row in call.rows {
        retain_row(call.state, row);
    }
}

fn retain_row(state: &mut [f32], row: &mut RetainRow<'_>) {
    let (keys, stride) = (row.key_dim(), row.value.len().max(1));
    let all = row.value.len().min(row.out.len());
    for first in (0..all).step_by(COLUMNS) {
        let columns = first..all.min(first + COLUMNS);
        let mut erased = [0.0; COLUMNS];
        let erased = &mut erased[..columns.len()];
        if let Some(erase) = &row.erase {
            for (s, read) in state.chunks_exact(stride).zip(&erase.read[..keys]) {
                axpy(*read, &s[columns.clone()], erased);
            }
            erased.iter_mut().for_each(|x| *x *= erase.factor);
        }
        let mut value = [0.0; COLUMNS];
        for (gained, value) in value.iter_mut().zip(&row.value[columns.clone()]) {
            *gained = row.gain * value;
        }
        let out = &mut row.out[columns.clone()];
        out.fill(0.0);
        for (index, s) in state.chunks_exact_mut(stride).take(keys).enumerate() {
            let s = &mut s[columns.clone()];
            if row.before {
                axpy(row.query[index], s, out);
            }
            let decay = match row.decay {
                Fading::All(decay) => decay,
                Fading::Keys(decays) => decays[index],
            };
            s.iter_mut().for_each(|x| *x *= decay);
            if let Some(erase) = &row.erase {
                axpy(erase.write[index], erased, s);
            }
            axpy(row.key[index], &value, s);
            if !row.before {
                axpy(row.query[index], s, out);
            }
        }
    }
}

pub(super) fn wkv(call: Wkv<'_>) {
    let (states, _) = call.state.as_chunks_mut::<3>();
    let parameters = call.decay.iter().zip(call.first);
    let inputs = call.key.iter().zip(call.value).zip(parameters);
    for ((out, state), ((&k, &v), (&decay, &first))) in call.out.iter_mut().zip(states).zip(inputs)
    {
        let [sum, weights, exponent] = state;
        if *weights == 0.0 {
            *exponent = f32::NEG_INFINITY;
        }
        let most = exponent.max(k + first);
        let (old, new) = ((*exponent - most).exp(), (k + first - most).exp());
        *out = (old * *sum + new * v) / (old * *weights + new);
        let most = (*exponent + decay).max(k);
        let (old, new) = ((*exponent + decay - most).exp(), (k - most).exp());
        (*sum, *weights) = (old * *sum + new * v, old * *weights + new);
        *exponent = most;
    }
}
