//! Memories of outer products: sixteen columns to a register.
//!
//! A row by itself takes 64 columns at a time through the memory. Four rows that erase and shrink
//! nothing take 32 together: the memory is loaded and stored once for all of them.

use core::arch::x86_64::*;

use crate::kernels::{Fading, Retain, RetainRow};

/// Floats in a register.
const LANES: usize = 16;

/// Registers of columns that a row takes: as many sums as hide the latency of one.
const GROUP: usize = 4;

/// Rows taken together, and the registers of columns that they take.
const TOGETHER: usize = 4;
const TOGETHER_GROUP: usize = 2;

#[target_feature(enable = "avx512f")]
pub(super) fn retain(call: Retain<'_, '_>) {
    let Retain { state, rows } = call;
    let (fours, rest) = rows.as_chunks_mut::<TOGETHER>();
    for rows in fours {
        let only_adds =
            |row: &RetainRow<'_>| row.erase.is_none() && matches!(row.decay, Fading::All(1.0));
        if rows.iter().all(only_adds) {
            add(state, rows);
        } else {
            rows.iter_mut().for_each(|row| one(state, row));
        }
    }
    rest.iter_mut().for_each(|row| one(state, row));
}

/// Rows that only add to the memory.
#[target_feature(enable = "avx512f")]
fn add(state: &mut [f32], rows: &mut [RetainRow<'_>; TOGETHER]) {
    let stride = rows[0].value.len();
    let columns = |row: &RetainRow<'_>| row.value.len().min(row.out.len());
    let alike = |row: &RetainRow<'_>| row.value.len() == stride && columns(row) == stride;
    let keys = rows.iter().map(RetainRow::key_dim).min().unwrap_or(0);
    let whole = stride.is_multiple_of(TOGETHER_GROUP * LANES) && state.len() >= keys * stride;
    let alike = rows.iter().all(|row| alike(row) && row.key_dim() == keys);
    if !(whole && alike) {
        rows.iter_mut().for_each(|row| one(state, row));
        return;
    }
    for first in (0..stride).step_by(TOGETHER_GROUP * LANES) {
        let state = state.as_mut_ptr().wrapping_add(first);
        let mut values = [[_mm512_setzero_ps(); TOGETHER_GROUP]; TOGETHER];
        let mut sums = [[_mm512_setzero_ps(); TOGETHER_GROUP]; TOGETHER];
        // SAFETY: all rows have `stride` columns and `keys` elements of keys, and the state as
        // many rows of as many columns.
        unsafe {
            for (row, value) in rows.iter().zip(&mut values) {
                for g in 0..TOGETHER_GROUP {
                    let at = row.value.as_ptr().wrapping_add(first + g * LANES);
                    value[g] = _mm512_mul_ps(_mm512_set1_ps(row.gain), _mm512_loadu_ps(at));
                }
            }
            for key in 0..keys {
                let at = state.wrapping_add(key * stride);
                let mut s = [_mm512_setzero_ps(); TOGETHER_GROUP];
                for g in 0..TOGETHER_GROUP {
                    s[g] = _mm512_loadu_ps(at.wrapping_add(g * LANES));
                }
                for row in 0..TOGETHER {
                    let k = _mm512_set1_ps(*rows[row].key.get_unchecked(key));
                    let q = _mm512_set1_ps(*rows[row].query.get_unchecked(key));
                    for g in 0..TOGETHER_GROUP {
                        s[g] = _mm512_fmadd_ps(k, values[row][g], s[g]);
                        sums[row][g] = _mm512_fmadd_ps(q, s[g], sums[row][g]);
                    }
                }
                for g in 0..TOGETHER_GROUP {
                    _mm512_storeu_ps(at.wrapping_add(g * LANES), s[g]);
                }
            }
            for (row, sums) in rows.iter_mut().zip(&sums) {
                for g in 0..TOGETHER_GROUP {
                    let at = row.out.as_mut_ptr().wrapping_add(first + g * LANES);
                    _mm512_storeu_ps(at, sums[g]);
                }
            }
        }
    }
}

/// A row whose lengths agree with the state's.
struct Checked<'s, 'a, 'r> {
    state: &'s mut [f32],
    row: &'a mut RetainRow<'r>,
    /// Rows of the state, elements of keys.
    keys: usize,
    /// Floats from one row of the state to the next.
    stride: usize,
}

#[target_feature(enable = "avx512f")]
fn one(state: &mut [f32], row: &mut RetainRow<'_>) {
    let stride = row.value.len().max(1);
    let checked = Checked {
        keys: row.key_dim().min(state.len() / stride),
        stride,
        state,
        row,
    };
    match (checked.row.erase.is_some(), checked.row.decay) {
        (true, _) => columns::<true, true>(checked),
        (false, Fading::All(1.0)) => columns::<false, false>(checked),
        (false, _) => columns::<false, true>(checked),
    }
}

#[target_feature(enable = "avx512f")]
fn columns<const ERASE: bool, const FADE: bool>(mut checked: Checked<'_, '_, '_>) {
    let columns = checked.row.value.len().min(checked.row.out.len());
    let mut first = 0;
    while first + GROUP * LANES <= columns {
        // SAFETY: these columns are there.
        unsafe { group::<GROUP, ERASE, FADE>(&mut checked, first, __mmask16::MAX) };
        first += GROUP * LANES;
    }
    while first < columns {
        let left = (columns - first).min(LANES);
        let mask = __mmask16::MAX >> (LANES - left);
        // SAFETY: the mask has as many lanes as there are columns left.
        unsafe { group::<1, ERASE, FADE>(&mut checked, first, mask) };
        first += LANES;
    }
}

/// `G` registers of columns from `first` on.
///
/// # Safety
///
/// There are at least `first + G · LANES` columns, or, if `G` is one, `first` and as many as
/// `mask` has lanes.
#[target_feature(enable = "avx512f")]
unsafe fn group<const G: usize, const ERASE: bool, const FADE: bool>(
    checked: &mut Checked<'_, '_, '_>,
    first: usize,
    mask: __mmask16,
) {
    let (keys, stride) = (checked.keys, checked.stride);
    let row = &mut *checked.row;
    let state = checked.state.as_mut_ptr().wrapping_add(first);
    let mut value = [_mm512_setzero_ps(); G];
    let mut sums = [_mm512_setzero_ps(); G];
    let mut erased = [_mm512_setzero_ps(); G];
    // SAFETY: rows, columns and lengths agree: `one` and the caller have seen to it. Elements of
    // keys are read below `keys`, which is no greater than any of their lengths. A masked load or
    // store touches no lane beyond its mask.
    unsafe {
        if let (true, Some(erase)) = (ERASE, &row.erase) {
            for key in 0..keys {
                let read = _mm512_set1_ps(*erase.read.get_unchecked(key));
                for g in 0..G {
                    let s = load::<G>(state.wrapping_add(key * stride + g * LANES), mask);
                    erased[g] = _mm512_fmadd_ps(read, s, erased[g]);
                }
            }
            for erased in &mut erased {
                *erased = _mm512_mul_ps(*erased, _mm512_set1_ps(erase.factor));
            }
        }
        for g in 0..G {
            let at = row.value.as_ptr().wrapping_add(first + g * LANES);
            value[g] = _mm512_mul_ps(_mm512_set1_ps(row.gain), load::<G>(at, mask));
        }
        for key in 0..keys {
            let decay = _mm512_set1_ps(match row.decay {
                Fading::All(decay) => decay,
                Fading::Keys(decays) => *decays.get_unchecked(key),
            });
            let q = _mm512_set1_ps(*row.query.get_unchecked(key));
            let k = _mm512_set1_ps(*row.key.get_unchecked(key));
            let write = match (ERASE, &row.erase) {
                (true, Some(erase)) => _mm512_set1_ps(*erase.write.get_unchecked(key)),
                _ => _mm512_setzero_ps(),
            };
            for g in 0..G {
                let at = state.wrapping_add(key * stride + g * LANES);
                let mut s = load::<G>(at, mask);
                if FADE {
                    s = _mm512_mul_ps(decay, s);
                }
                if ERASE {
                    s = _mm512_fmadd_ps(write, erased[g], s);
                }
                s = _mm512_fmadd_ps(k, value[g], s);
                store::<G>(at, mask, s);
                sums[g] = _mm512_fmadd_ps(q, s, sums[g]);
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
#[target_feature(enable = "avx512f")]
unsafe fn load<const G: usize>(from: *const f32, mask: __mmask16) -> __m512 {
    // SAFETY: the caller vouches for it.
    unsafe {
        if G == 1 {
            _mm512_maskz_loadu_ps(mask, from)
        } else {
            _mm512_loadu_ps(from)
        }
    }
}

/// # Safety
///
/// As for [`load`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store<const G: usize>(to: *mut f32, mask: __mmask16, value: __m512) {
    // SAFETY: the caller vouches for it.
    unsafe {
        if G == 1 {
            _mm512_mask_storeu_ps(to, mask, value);
        } else {
            _mm512_storeu_ps(to, value);
        }
    }
}
