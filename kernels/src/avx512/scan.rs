//! Convolutions and scans of state-space layers: sixteen channels in the lanes of a register.
//!
//! A few states are taken through all rows of a call before the next few, so that they stay in
//! registers meanwhile; the outputs' sums wait in cache. Blocks of fewer channels are left to the
//! scalar version.

use core::arch::x86_64::*;

use super::register::Lanes16;
use crate::ops::{DeferredDecay, LEAST_DEFERRED, ScanRates};
use crate::{Conv1d, SCAN_LANES, SCAN_ROWS, Scan, Strided, scalar};

/// States at a time where each has a decay of its own, which takes registers.
const OWN: usize = 4;

/// Where all share one: blocks of channels, and states, at a time.
const WIDE: usize = 4;
const SHARED: usize = 4;

/// States at a time of a block by itself.
const ALONE: usize = 16;

/// A number for each row of a call.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct ByRow([f32; SCAN_ROWS]);

/// What belongs to each row of a call, for the channels of one block.
struct ScanRows16<const R: usize> {
    /// Step sizes in units of ln 2.
    steps: [Lanes16<f32>; R],
    /// Δ · x.
    inputs: [Lanes16<f32>; R],
    sums: [Lanes16<f32>; R],
}

impl<const R: usize> ScanRows16<R> {
    const NONE: ScanRows16<R> = ScanRows16 {
        steps: [Lanes16([0.0; SCAN_LANES]); R],
        inputs: [Lanes16([0.0; SCAN_LANES]); R],
        sums: [Lanes16([0.0; SCAN_LANES]); R],
    };
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn scan(call: Scan<'_>) {
    // A single row is not worth clearing room for many.
    match call.rows() {
        1 => scan_rows::<1>(call),
        _ => scan_rows::<SCAN_ROWS>(call),
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn scan_rows<const R: usize>(mut call: Scan<'_>) {
    let mut rows = ScanRows16::<R>::NONE;
    for first in (0..call.channels).step_by(SCAN_LANES) {
        if call.channels - first < SCAN_LANES || !call.fits(ScanRates::PerChannel) {
            scalar::scan_block(&mut call, first);
        } else {
            scan_block(&mut call, first, &mut rows);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn head_scan(mut call: Scan<'_>) {
    let count = call.rows();
    if call.channels < SCAN_LANES || !call.fits(ScanRates::PerHead) {
        return (scalar::TABLE.head_scan)(call);
    }
    // exp(Δ A) of every row, sixteen rows in a register.
    let mut decays = ByRow([0.0; SCAN_ROWS]);
    let a = _mm512_set1_ps(call.a[0] * core::f32::consts::LOG2_E);
    for row in 0..count {
        decays.0[row] = call.dt.values[row * call.dt.stride];
    }
    let mut gains = decays;
    for decays in decays.0[..count.next_multiple_of(SCAN_LANES)].chunks_exact_mut(SCAN_LANES) {
        put(decays, exp2(_mm512_mul_ps(lanes(decays), a)));
    }
    let decay = DeferredDecay::new(&mut call.deferred[0], &decays.0[..count], LEAST_DEFERRED);
    for row in (0..count).step_by(SCAN_LANES) {
        let gains = &mut gains.0[row..];
        put(
            gains,
            _mm512_div_ps(lanes(gains), lanes(&decay.deferred[row..])),
        );
    }
    let mut first = 0;
    match count {
        // A single row goes through the state in the order of memory.
        1 => {
            while first + SCAN_LANES <= call.channels {
                head_blocks::<1, ALONE, 1>(&mut call, first, &gains.0, &decay);
                first += SCAN_LANES;
            }
        }
        _ => {
            while first + WIDE * SCAN_LANES <= call.channels {
                head_blocks::<WIDE, SHARED, SCAN_ROWS>(&mut call, first, &gains.0, &decay);
                first += WIDE * SCAN_LANES;
            }
            while first + SCAN_LANES <= call.channels {
                head_blocks::<1, ALONE, SCAN_ROWS>(&mut call, first, &gains.0, &decay);
                first += SCAN_LANES;
            }
        }
    }
    if first < call.channels {
        scalar::head_block(&mut call, first, &decay);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn scan_block<const R: usize>(call: &mut Scan<'_>, first: usize, rows: &mut ScanRows16<R>) {
    let (count, states, channels) = (call.rows(), call.states, call.channels);
    let d = lanes(&call.d[first..]);
    for row in 0..count {
        let dt = lanes(&call.dt.values[row * call.dt.stride + first..]);
        let x = lanes(&call.x.values[row * call.x.stride + first..]);
        rows.steps[row] = keep(_mm512_mul_ps(dt, _mm512_set1_ps(core::f32::consts::LOG2_E)));
        rows.inputs[row] = keep(_mm512_mul_ps(dt, x));
        rows.sums[row] = keep(_mm512_mul_ps(d, x));
    }
    let held = first * states..(first + SCAN_LANES) * states;
    let (a, state) = (&call.a[held.clone()], &mut call.state[held]);
    let whole = states / OWN * OWN;
    for n in (0..whole).step_by(OWN) {
        let own = n * SCAN_LANES..(n + OWN) * SCAN_LANES;
        own_states::<OWN, R>(
            (call.b, call.c, n),
            &a[own.clone()],
            &mut state[own],
            count,
            rows,
        );
    }
    for n in whole..states {
        let own = n * SCAN_LANES..(n + 1) * SCAN_LANES;
        own_states::<1, R>(
            (call.b, call.c, n),
            &a[own.clone()],
            &mut state[own],
            count,
            rows,
        );
    }
    for (out, sum) in call.out.chunks_exact_mut(channels).zip(&rows.sums) {
        out[first..first + SCAN_LANES].copy_from_slice(&sum.0);
    }
}

/// States `n..n + N` of sixteen channels through all rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn own_states<const N: usize, const R: usize>(
    (b, c, n): (Strided<'_>, Strided<'_>, usize),
    a: &[f32],
    state: &mut [f32],
    count: usize,
    rows: &mut ScanRows16<R>,
) {
    let mut h = [_mm512_setzero_ps(); N];
    let mut rates = [_mm512_setzero_ps(); N];
    for k in 0..N {
        h[k] = lanes(&state[k * SCAN_LANES..]);
        rates[k] = lanes(&a[k * SCAN_LANES..]);
    }
    for row in 0..count {
        let (b, c) = (some::<N>(b, row, n), some::<N>(c, row, n));
        let (step, input) = (lanes(&rows.steps[row].0), lanes(&rows.inputs[row].0));
        let mut sum = lanes(&rows.sums[row].0);
        for k in 0..N {
            let decay = exp2(_mm512_mul_ps(step, rates[k]));
            let new = _mm512_mul_ps(input, _mm512_set1_ps(b[k]));
            h[k] = _mm512_fmadd_ps(decay, h[k], new);
            sum = _mm512_fmadd_ps(h[k], _mm512_set1_ps(c[k]), sum);
        }
        rows.sums[row] = keep(sum);
    }
    for k in 0..N {
        put(&mut state[k * SCAN_LANES..], h[k]);
    }
}

/// C blocks of a head's channels, from `first` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn head_blocks<const C: usize, const N: usize, const R: usize>(
    call: &mut Scan<'_>,
    first: usize,
    gains: &[f32; SCAN_ROWS],
    decay: &DeferredDecay,
) {
    let (count, states, channels) = (call.rows(), call.states, call.channels);
    let mut inputs = [[Lanes16([0.0; SCAN_LANES]); C]; R];
    for row in 0..count {
        let gain = _mm512_set1_ps(gains[row]);
        for i in 0..C {
            let at = first + i * SCAN_LANES;
            let x = lanes(&call.x.values[row * call.x.stride + at..]);
            inputs[row][i] = keep(_mm512_mul_ps(gain, x));
            put(&mut call.out[row * channels + at..], _mm512_setzero_ps());
        }
    }
    let whole = states / N * N;
    for n in (0..whole).step_by(N) {
        shared_states::<C, N, R>(call, (first, n), &inputs, &decay.applied, count);
    }
    for n in whole..states {
        shared_states::<C, 1, R>(call, (first, n), &inputs, &decay.applied, count);
    }
    let d = _mm512_set1_ps(call.d[0]);
    for row in 0..count {
        let deferred = _mm512_set1_ps(decay.deferred[row]);
        for i in 0..C {
            let at = first + i * SCAN_LANES;
            let own = _mm512_mul_ps(d, lanes(&call.x.values[row * call.x.stride + at..]));
            let out = &mut call.out[row * channels + at..];
            put(out, _mm512_fmadd_ps(deferred, lanes(out), own));
        }
    }
}

/// States `n..n + N` of C blocks of a head's channels through all rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn shared_states<const C: usize, const N: usize, const R: usize>(
    call: &mut Scan<'_>,
    (first, n): (usize, usize),
    inputs: &[[Lanes16<f32>; C]; R],
    applied: &[f32; SCAN_ROWS],
    count: usize,
) {
    let (states, channels) = (call.states, call.channels);
    let mut h = [[_mm512_setzero_ps(); C]; N];
    for k in 0..N {
        for i in 0..C {
            h[k][i] =
                lanes(&call.state[(first + i * SCAN_LANES) * states + (n + k) * SCAN_LANES..]);
        }
    }
    for row in 0..count {
        let (b, c) = (some::<N>(call.b, row, n), some::<N>(call.c, row, n));
        if applied[row] != 1.0 {
            let fold = _mm512_set1_ps(applied[row]);
            for k in 0..N {
                for i in 0..C {
                    h[k][i] = _mm512_mul_ps(fold, h[k][i]);
                }
            }
        }
        let out = &mut call.out[row * channels + first..][..C * SCAN_LANES];
        let mut sums = [_mm512_setzero_ps(); C];
        for i in 0..C {
            sums[i] = lanes(&out[i * SCAN_LANES..]);
        }
        for k in 0..N {
            let (b, c) = (_mm512_set1_ps(b[k]), _mm512_set1_ps(c[k]));
            for i in 0..C {
                h[k][i] = _mm512_fmadd_ps(lanes(&inputs[row][i].0), b, h[k][i]);
                sums[i] = _mm512_fmadd_ps(h[k][i], c, sums[i]);
            }
        }
        for i in 0..C {
            put(&mut out[i * SCAN_LANES..], sums[i]);
        }
    }
    for k in 0..N {
        for i in 0..C {
            let at = (first + i * SCAN_LANES) * states + (n + k) * SCAN_LANES;
            put(&mut call.state[at..], h[k][i]);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn conv1d(mut call: Conv1d<'_>) {
    for first in (0..call.channels).step_by(SCAN_LANES) {
        if call.channels - first < SCAN_LANES || !conv_block(&mut call, first) {
            scalar::conv_block(&mut call, first);
        }
    }
}

/// Sixteen channels; `false`, and nothing done, if something is too short.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
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
    let bias = match bias.flatten() {
        Some(bias) => lanes(bias),
        None => _mm512_setzero_ps(),
    };
    let values = &input.values[first..];
    let outs = call.out.chunks_exact_mut(channels);
    // Most models have four taps: the window stays in registers.
    if let [a, b, c, d] = weight.as_chunks::<SCAN_LANES>().0 {
        let taps = [lanes(a), lanes(b), lanes(c), lanes(d)];
        let mut window = [
            lanes(state),
            lanes(&state[SCAN_LANES..]),
            lanes(&state[2 * SCAN_LANES..]),
        ];
        for (row, out) in outs.enumerate() {
            let new = lanes(&values[row * input.stride..]);
            let mut sum = bias;
            for tap in 0..3 {
                sum = _mm512_fmadd_ps(taps[tap], window[tap], sum);
            }
            put(&mut out[first..], _mm512_fmadd_ps(taps[3], new, sum));
            window = [window[1], window[2], new];
        }
        for index in 0..3 {
            put(&mut state[index * SCAN_LANES..], window[index]);
        }
        return true;
    }
    // What was there before the first row, and then the rows.
    let past = |state: &[f32], index: usize| match index.checked_sub(held) {
        Some(row) => lanes(&values[row * input.stride..]),
        None => lanes(&state[index * SCAN_LANES..]),
    };
    for (row, out) in outs.enumerate() {
        let mut sum = bias;
        for tap in 0..width {
            let weight = lanes(&weight[tap * SCAN_LANES..]);
            sum = _mm512_fmadd_ps(weight, past(state, row + tap), sum);
        }
        put(&mut out[first..], sum);
    }
    for index in 0..held {
        let value = past(state, rows + index);
        put(&mut state[index * SCAN_LANES..], value);
    }
    true
}

/// Sixteen floats to the start of a slice.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn put(to: &mut [f32], value: __m512) {
    let to = &mut to[..SCAN_LANES];
    // SAFETY: the slice is sixteen writable floats; the store wants no alignment.
    unsafe { _mm512_storeu_ps(to.as_mut_ptr(), value) };
}

/// Sixteen floats from the start of a slice.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn lanes(from: &[f32]) -> __m512 {
    let from = &from[..SCAN_LANES];
    // SAFETY: the slice is sixteen readable floats; the load wants no alignment.
    unsafe { _mm512_loadu_ps(from.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn keep(value: __m512) -> Lanes16<f32> {
    let mut lanes = Lanes16([0.0; SCAN_LANES]);
    super::register::store(&mut lanes, _mm512_castps_si512(value));
    lanes
}

/// Columns `n..n + N` of a row.
#[inline]
fn some<'a, const N: usize>(of: Strided<'a>, row: usize, n: usize) -> &'a [f32; N] {
    let start = row * of.stride + n;
    let (columns, _) = of.values[start..start + N].as_chunks::<N>();
    &columns[0]
}

/// 2ˣ for x ≤ 0, to two units in the last place.
///
/// x = n + f with |f| ≤ ½, and a polynomial of the fifth degree for 2ᶠ: the one that is least
/// wrong, by 1.6·10⁻⁷ at most, among those that are 1 at 0. What never decays must not grow.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn exp2(x: __m512) -> __m512 {
    // Not ln 2 itself: all coefficients were fitted together.
    #[allow(clippy::approx_constant)]
    const SERIES: [f32; 6] = [
        1.0,
        0.693_147,
        0.240_222_42,
        0.055_507_336,
        0.009_671_513,
        0.001_326_472_7,
    ];
    let n = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
    let f = _mm512_sub_ps(x, n);
    let mut power = _mm512_set1_ps(SERIES[5]);
    for factor in [SERIES[4], SERIES[3], SERIES[2], SERIES[1], SERIES[0]] {
        power = _mm512_fmadd_ps(power, f, _mm512_set1_ps(factor));
    }
    _mm512_scalef_ps(power, n)
}
