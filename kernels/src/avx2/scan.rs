//! Convolutions and scans of state-space layers: eight channels in the lanes of a register, half
//! a block.
//!
//! A few states are taken through all rows of a call before the next few, so that they stay in
//! registers meanwhile; the outputs' sums wait in cache. Blocks of fewer channels are left to the
//! scalar version.

use core::arch::x86_64::*;

use super::register::{LANES, exp_below_one, load_floats, store_floats};
use crate::ops::{DeferredDecay, LEAST_DEFERRED, ScanRates};
use crate::{Conv1d, SCAN_LANES, SCAN_ROWS, Scan, Strided, scalar};

/// States at a time where each has a decay of its own, which takes registers.
const OWN: usize = 2;

/// States of a block at a time where all share one.
const SHARED: usize = 4;

/// What belongs to each row of a call, for the channels of one block.
struct ScanRows8 {
    /// Step sizes.
    steps: [[f32; LANES]; SCAN_ROWS],
    /// Δ · x.
    inputs: [[f32; LANES]; SCAN_ROWS],
    sums: [[f32; LANES]; SCAN_ROWS],
}

impl ScanRows8 {
    const NONE: ScanRows8 = ScanRows8 {
        steps: [[0.0; LANES]; SCAN_ROWS],
        inputs: [[0.0; LANES]; SCAN_ROWS],
        sums: [[0.0; LANES]; SCAN_ROWS],
    };
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn scan(mut call: Scan<'_>) {
    let mut rows = ScanRows8::NONE;
    for first in (0..call.channels).step_by(SCAN_LANES) {
        if call.channels - first < SCAN_LANES || !call.fits(ScanRates::PerChannel) {
            scalar::scan_block(&mut call, first);
        } else {
            for half in [0, LANES] {
                scan_block(&mut call, (first, half), &mut rows);
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn head_scan(mut call: Scan<'_>) {
    let count = call.rows();
    if call.channels < SCAN_LANES || !call.fits(ScanRates::PerHead) {
        return (scalar::TABLE.head_scan)(call);
    }
    // exp(Δ A) of every row, eight rows in a register.
    let mut gains = [0.0; SCAN_ROWS];
    for (row, dt) in gains[..count].iter_mut().enumerate() {
        *dt = call.dt.values[row * call.dt.stride];
    }
    let mut decays = [0.0; SCAN_ROWS];
    let a = _mm256_set1_ps(call.a[0]);
    for row in (0..count).step_by(LANES) {
        let exponents = _mm256_mul_ps(lanes(&gains[row..]), a);
        put(&mut decays[row..], exp_below_one(exponents));
    }
    let decay = DeferredDecay::new(&mut call.deferred[0], &decays[..count], LEAST_DEFERRED);
    for row in (0..count).step_by(LANES) {
        let deferred = lanes(&decay.deferred[row..]);
        let steps = lanes(&gains[row..]);
        put(&mut gains[row..], _mm256_div_ps(steps, deferred));
    }
    for first in (0..call.channels).step_by(SCAN_LANES) {
        if call.channels - first < SCAN_LANES {
            scalar::head_block(&mut call, first, &decay);
        } else {
            match count {
                1 => head_block::<1>(&mut call, first, &gains, &decay),
                _ => head_block::<SCAN_ROWS>(&mut call, first, &gains, &decay),
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn scan_block(call: &mut Scan<'_>, (first, half): (usize, usize), rows: &mut ScanRows8) {
    let from = first + half;
    let (count, states, channels) = (call.rows(), call.states, call.channels);
    let d = lanes(&call.d[from..]);
    for row in 0..count {
        let dt = lanes(&call.dt.values[row * call.dt.stride + from..]);
        let x = lanes(&call.x.values[row * call.x.stride + from..]);
        rows.steps[row] = keep(dt);
        rows.inputs[row] = keep(_mm256_mul_ps(dt, x));
        rows.sums[row] = keep(_mm256_mul_ps(d, x));
    }
    let held = first * states..(first + SCAN_LANES) * states;
    let (a, state) = (&call.a[held.clone()], &mut call.state[held]);
    let whole = states / OWN * OWN;
    for n in (0..whole).step_by(OWN) {
        let own = n * SCAN_LANES + half;
        own_states::<OWN>(
            (call.b, call.c, n),
            &a[own..],
            &mut state[own..],
            count,
            rows,
        );
    }
    for n in whole..states {
        let own = n * SCAN_LANES + half;
        own_states::<1>(
            (call.b, call.c, n),
            &a[own..],
            &mut state[own..],
            count,
            rows,
        );
    }
    for (out, sum) in call.out.chunks_exact_mut(channels).zip(&rows.sums) {
        out[from..from + LANES].copy_from_slice(sum);
    }
}

/// States `n..n + N` of eight channels through all rows.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn own_states<const N: usize>(
    (b, c, n): (Strided<'_>, Strided<'_>, usize),
    a: &[f32],
    state: &mut [f32],
    count: usize,
    rows: &mut ScanRows8,
) {
    let mut h = [_mm256_setzero_ps(); N];
    let mut rates = [_mm256_setzero_ps(); N];
    for k in 0..N {
        h[k] = lanes(&state[k * SCAN_LANES..]);
        rates[k] = lanes(&a[k * SCAN_LANES..]);
    }
    for row in 0..count {
        let (b, c) = (some::<N>(b, row, n), some::<N>(c, row, n));
        let (step, input) = (lanes(&rows.steps[row]), lanes(&rows.inputs[row]));
        let mut sum = lanes(&rows.sums[row]);
        for k in 0..N {
            let decay = exp_below_one(_mm256_mul_ps(step, rates[k]));
            let new = _mm256_mul_ps(input, _mm256_set1_ps(b[k]));
            h[k] = _mm256_fmadd_ps(decay, h[k], new);
            sum = _mm256_fmadd_ps(h[k], _mm256_set1_ps(c[k]), sum);
        }
        rows.sums[row] = keep(sum);
    }
    for k in 0..N {
        state[k * SCAN_LANES..][..LANES].copy_from_slice(&keep(h[k]));
    }
}

/// Sixteen channels of a head, two registers.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn head_block<const R: usize>(
    call: &mut Scan<'_>,
    first: usize,
    gains: &[f32; SCAN_ROWS],
    decay: &DeferredDecay,
) {
    let (count, states, channels) = (call.rows(), call.states, call.channels);
    let mut inputs = [[0.0; SCAN_LANES]; R];
    for row in 0..count {
        let gain = _mm256_set1_ps(gains[row]);
        for half in [0, LANES] {
            let x = lanes(&call.x.values[row * call.x.stride + first + half..]);
            put(&mut inputs[row][half..], _mm256_mul_ps(gain, x));
        }
        call.out[row * channels + first..][..SCAN_LANES].fill(0.0);
    }
    let whole = states / SHARED * SHARED;
    for n in (0..whole).step_by(SHARED) {
        shared_states::<SHARED, R>(call, (first, n), &inputs, &decay.applied);
    }
    for n in whole..states {
        shared_states::<1, R>(call, (first, n), &inputs, &decay.applied);
    }
    let d = _mm256_set1_ps(call.d[0]);
    for row in 0..count {
        let deferred = _mm256_set1_ps(decay.deferred[row]);
        for half in [0, LANES] {
            let x = lanes(&call.x.values[row * call.x.stride + first + half..]);
            let out = &mut call.out[row * channels + first + half..];
            put(
                out,
                _mm256_fmadd_ps(deferred, lanes(out), _mm256_mul_ps(d, x)),
            );
        }
    }
}

/// States `n..n + N` of sixteen channels of a head through all rows.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn shared_states<const N: usize, const R: usize>(
    call: &mut Scan<'_>,
    (first, n): (usize, usize),
    inputs: &[[f32; SCAN_LANES]; R],
    applied: &[f32; SCAN_ROWS],
) {
    let (count, states, channels) = (call.rows(), call.states, call.channels);
    let state = &mut call.state[first * states + n * SCAN_LANES..][..N * SCAN_LANES];
    let mut h = [[_mm256_setzero_ps(); 2]; N];
    for k in 0..N {
        for i in 0..2 {
            h[k][i] = lanes(&state[k * SCAN_LANES + i * LANES..]);
        }
    }
    for row in 0..count {
        let (b, c) = (some::<N>(call.b, row, n), some::<N>(call.c, row, n));
        if applied[row] != 1.0 {
            let fold = _mm256_set1_ps(applied[row]);
            for k in 0..N {
                for i in 0..2 {
                    h[k][i] = _mm256_mul_ps(fold, h[k][i]);
                }
            }
        }
        let out = &mut call.out[row * channels + first..][..SCAN_LANES];
        let mut sums = [lanes(out), lanes(&out[LANES..])];
        let input = [lanes(&inputs[row]), lanes(&inputs[row][LANES..])];
        for k in 0..N {
            let (b, c) = (_mm256_set1_ps(b[k]), _mm256_set1_ps(c[k]));
            for i in 0..2 {
                h[k][i] = _mm256_fmadd_ps(input[i], b, h[k][i]);
                sums[i] = _mm256_fmadd_ps(h[k][i], c, sums[i]);
            }
        }
        for i in 0..2 {
            put(&mut out[i * LANES..], sums[i]);
        }
    }
    for k in 0..N {
        for i in 0..2 {
            put(&mut state[k * SCAN_LANES + i * LANES..], h[k][i]);
        }
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn conv1d(mut call: Conv1d<'_>) {
    for first in (0..call.channels).step_by(SCAN_LANES) {
        if call.channels - first < SCAN_LANES || !conv_block(&mut call, first) {
            scalar::conv_block(&mut call, first);
        }
    }
}

/// Sixteen channels; `false`, and nothing done, if something is too short.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn conv_block(call: &mut Conv1d<'_>, first: usize) -> bool {
    let (channels, width) = (call.channels, call.width);
    let rows = call.out.len() / channels;
    let input = call.input;
    let last = first + SCAN_LANES;
    let Some(held) = width.checked_sub(1) else {
        return false;
    };
    let bias = call.bias.map(|bias| bias.get(first..last));
    let (Some(state), Some(weight), false) = (
        call.state.get_mut(first * held..last * held),
        call.weight.get(first * width..last * width),
        bias == Some(None) || rows == 0,
    ) else {
        return false;
    };
    if input.values.len() < (rows - 1) * input.stride + channels {
        return false;
    }
    for from in [0, LANES] {
        let bias = match bias.flatten() {
            Some(bias) => lanes(&bias[from..]),
            None => _mm256_setzero_ps(),
        };
        // What was there before the first row, and then the rows.
        let past = |state: &[f32], index: usize| match index.checked_sub(held) {
            Some(row) => lanes(&input.values[row * input.stride + first + from..]),
            None => lanes(&state[index * SCAN_LANES + from..]),
        };
        for (row, out) in call.out.chunks_exact_mut(channels).enumerate() {
            let mut sum = bias;
            for tap in 0..width {
                let weight = lanes(&weight[tap * SCAN_LANES + from..]);
                sum = _mm256_fmadd_ps(weight, past(state, row + tap), sum);
            }
            out[first + from..][..LANES].copy_from_slice(&keep(sum));
        }
        for index in 0..held {
            let value = keep(past(state, rows + index));
            state[index * SCAN_LANES + from..][..LANES].copy_from_slice(&value);
        }
    }
    true
}

/// Eight floats from the start of a slice.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn lanes(from: &[f32]) -> __m256 {
    let (whole, _) = from[..LANES].as_chunks::<LANES>();
    load_floats(&whole[0])
}

/// Eight floats to the start of a slice.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn put(to: &mut [f32], value: __m256) {
    let (whole, _) = to[..LANES].as_chunks_mut::<LANES>();
    store_floats(&mut whole[0], value);
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn keep(value: __m256) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    store_floats(&mut lanes, value);
    lanes
}

/// Columns `n..n + N` of a row.
#[inline]
fn some<'a, const N: usize>(of: Strided<'a>, row: usize, n: usize) -> &'a [f32; N] {
    let start = row * of.stride + n;
    let (columns, _) = of.values[start..start + N].as_chunks::<N>();
    &columns[0]
}
