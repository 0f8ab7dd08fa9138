//! Memories of outer products: eight columns to a register, 32 at a time.

#![allow(clippy::needless_range_loop)]

use core::arch::x86_64::*;

use super::register::{LANES, lanes_below};
use crate::kernels::{LinearAttend, LinearAttendRow, RowDecay};

/// Registers of columns that a row takes: as many sums as hide the latency of one.
const GROUP: usize = 4;

#[target_feature(enable = "avx2,fma")]
pub(super) fn linear_attend(call: LinearAttend<'_, '_>) {
    for row in call.rows {
        one(call.state, row);
    }
}

/// A row whose lengths agree with the state's.
struct Checked<'s, 'a, 'r> {
    state: &'s mut [f32],
    row: &'a mut LinearAttendRow<'r>,
    /// Rows of the state, elements of keys.
    keys: usize,
    /// Floats from one row of the state to the next.
    stride: usize,
}

#[target_feature(enable = "avx2,fma")]
fn one(state: &mut [f32], row: &mut LinearAttendRow<'_>) {
    let stride = row.value.len().max(1);
    let checked = Checked {
        keys: row.key_dim().min(state.len() / stride),
        stride,
        state,
        row,
    };
    match checked.row.before {
        false => fading::<false>(checked),
        true => fading::<true>(checked),
    }
}

#[target_feature(enable = "avx2,fma")]
fn fading<const BEFORE: bool>(checked: Checked<'_, '_, '_>) {
    match (checked.row.delta.is_some(), checked.row.decay) {
        (true, _) => columns::<BEFORE, true, true>(checked),
        (false, RowDecay::All(1.0)) => columns::<BEFORE, false, false>(checked),
        (false, _) => columns::<BEFORE, false, true>(checked),
    }
}

#[target_feature(enable = "avx2,fma")]
fn columns<const BEFORE: bool, const ERASE: bool, const FADE: bool>(
    mut checked: Checked<'_, '_, '_>,
) {
    let columns = checked.row.value.len().min(checked.row.out.len());
    let mut first = 0;
    while first + GROUP * LANES <= columns {
        // SAFETY: these columns are there.
        unsafe { group::<GROUP, BEFORE, ERASE, FADE>(&mut checked, first, lanes_below(LANES)) };
        first += GROUP * LANES;
    }
    while first < columns {
        let mask = lanes_below((columns - first).min(LANES));
        // SAFETY: the mask has as many lanes as there are columns left.
        unsafe { group::<1, BEFORE, ERASE, FADE>(&mut checked, first, mask) };
        first += LANES;
    }
}

/// `G` registers of columns from `first` on.
///
/// # Safety
///
/// There are at least `first + G · LANES` columns, or, if `G` is one, `first` and as many as
/// `mask` has lanes.
#[target_feature(enable = "avx2,fma")]
unsafe fn group<const G: usize, const BEFORE: bool, const ERASE: bool, const FADE: bool>(
    checked: &mut Checked<'_, '_, '_>,
    first: usize,
    mask: __m256i,
) {
    let (keys, stride) = (checked.keys, checked.stride);
    let row = &mut *checked.row;
    let state = checked.state.as_mut_ptr().wrapping_add(first);
    let mut value = [_mm256_setzero_ps(); G];
    let mut sums = [_mm256_setzero_ps(); G];
    let mut erased = [_mm256_setzero_ps(); G];
    // SAFETY: rows, columns and lengths agree: `one` and the caller have seen to it. Elements of
    // keys are read below `keys`, which is no greater than any of their lengths. A masked load or
    // store touches no lane beyond its mask.
    unsafe {
        if let (true, Some(delta)) = (ERASE, &row.delta) {
            for key in 0..keys {
                let read = _mm256_set1_ps(*delta.read.get_unchecked(key));
                for g in 0..G {
                    let s = load::<G>(state.wrapping_add(key * stride + g * LANES), mask);
                    erased[g] = _mm256_fmadd_ps(read, s, erased[g]);
                }
            }
            for erased in &mut erased {
                *erased = _mm256_mul_ps(*erased, _mm256_set1_ps(delta.factor));
            }
        }
        for g in 0..G {
            let at = row.value.as_ptr().wrapping_add(first + g * LANES);
            value[g] = _mm256_mul_ps(_mm256_set1_ps(row.gain), load::<G>(at, mask));
        }
        for key in 0..keys {
            let decay = _mm256_set1_ps(match row.decay {
                RowDecay::All(decay) => decay,
                RowDecay::Keys(decays) => *decays.get_unchecked(key),
            });
            let q = _mm256_set1_ps(*row.query.get_unchecked(key));
            let k = _mm256_set1_ps(*row.key.get_unchecked(key));
            let write = match (ERASE, &row.delta) {
                (true, Some(delta)) => _mm256_set1_ps(*delta.write.get_unchecked(key)),
                _ => _mm256_setzero_ps(),
            };
            for g in 0..G {
                let at = state.wrapping_add(key * stride + g * LANES);
                let mut s = load::<G>(at, mask);
                if BEFORE {
                    sums[g] = _mm256_fmadd_ps(q, s, sums[g]);
                }
                if FADE {
                    s = _mm256_mul_ps(decay, s);
                }
                if ERASE {
                    s = _mm256_fmadd_ps(write, erased[g], s);
                }
                s = _mm256_fmadd_ps(k, value[g], s);
                store::<G>(at, mask, s);
                if !BEFORE {
                    sums[g] = _mm256_fmadd_ps(q, s, sums[g]);
                }
            }
        }
        for g in 0..G {
            let at = row.out.as_mut_ptr().wrapping_add(first + g * LANES);
            store::<G>(at, mask, sums[g]);
        }
    }
}

/// # Safety
///
/// A register's floats are there; if `G` is one, those that the mask names.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load<const G: usize>(from: *const f32, mask: __m256i) -> __m256 {
    // SAFETY: the caller vouches for it.
    unsafe {
        if G == 1 {
            _mm256_maskload_ps(from, mask)
        } else {
            _mm256_loadu_ps(from)
        }
    }
}

/// # Safety
///
/// As for [`load`].
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn store<const G: usize>(to: *mut f32, mask: __m256i, value: __m256) {
    // SAFETY: the caller vouches for it.
    unsafe {
        if G == 1 {
            _mm256_maskstore_ps(to, mask, value);
        } else {
            _mm256_storeu_ps(to, value);
        }
    }
}
