//! RWKV-4's weighted mean.

use super::F32xN;
use crate::{SCAN_LANES, Strided, Wkv, scalar};

/// Rows through the weighted mean. Blocks of fewer channels are left to the scalar version.
///
/// # Safety
///
/// The CPU has the register's instructions.
#[inline(always)]
pub(crate) unsafe fn wkv<V: F32xN>(mut call: Wkv<'_>) {
    const { assert!(SCAN_LANES.is_multiple_of(V::LANES)) }
    let channels = call.decay.len();
    let rows = call.out.len().checked_div(channels).unwrap_or(0);
    let whole = |of: Strided<'_>| of.values.len() >= (rows - 1) * of.stride + channels;
    let fits = rows > 0
        && call.state.len() >= 3 * channels
        && call.first.len() >= channels
        && whole(call.key)
        && whole(call.value);
    for first in (0..channels).step_by(SCAN_LANES) {
        if !fits || channels - first < SCAN_LANES {
            scalar::wkv_block(&mut call, first);
            continue;
        }
        for part in (0..SCAN_LANES).step_by(V::LANES) {
            // SAFETY: a whole block's channels are in every row and every vector, and three times
            // as many floats in the state.
            unsafe { some_channels::<V>(&mut call, rows, (first, part)) }
        }
    }
}

/// As many channels as a register has lanes, through all rows.
///
/// # Safety
///
/// The CPU has the register's instructions. `first` begins a whole block of channels, of which
/// `part` and as many lanes are some; all is as long as there are channels and rows.
#[inline(always)]
unsafe fn some_channels<V: F32xN>(call: &mut Wkv<'_>, rows: usize, (first, part): (usize, usize)) {
    let (channels, at) = (call.decay.len(), first + part);
    // SAFETY: the caller vouches for all of these places and for the instructions.
    unsafe {
        let state = call.state.as_mut_ptr().add(3 * first + part);
        let mut sum = V::load(state);
        let mut weights = V::load(state.add(SCAN_LANES));
        let past = V::load(state.add(2 * SCAN_LANES));
        // Weights are never less than one where there is a past.
        let least = V::splat(f32::NEG_INFINITY);
        let mut past = weights.where_less(V::splat(f32::MIN_POSITIVE), least, past);
        let decay = V::load(call.decay.as_ptr().add(at));
        let bonus = V::load(call.first.as_ptr().add(at));
        for row in 0..rows {
            let k = V::load(call.key.values.as_ptr().add(row * call.key.stride + at));
            let v = V::load(call.value.values.as_ptr().add(row * call.value.stride + at));
            let (old, new) = shares(past, k.add(bonus));
            let mean = old.fma(sum, new.mul(v)).div(old.fma(weights, new));
            mean.store(call.out.as_mut_ptr().add(row * channels + at));
            past = past.add(decay);
            let (old, new) = shares(past, k);
            sum = old.fma(sum, new.mul(v));
            weights = old.fma(weights, new);
            past = past.max(k);
        }
        sum.store(state);
        weights.store(state.add(SCAN_LANES));
        past.store(state.add(2 * SCAN_LANES));
    }
}

/// e^a and e^b, both over the greater of them.
///
/// # Safety
///
/// The CPU has the register's instructions.
#[inline(always)]
unsafe fn shares<V: F32xN>(a: V, b: V) -> (V, V) {
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        let one = V::splat(1.0);
        let less = a.sub(b).minus_abs().exp_below_one();
        (a.where_less(b, less, one), a.where_less(b, one, less))
    }
}
