//! Linear attention: several rows without a delta rule pass through a piece of the state that stays
//! in registers meanwhile, then through the next; what they read of each adds up in the same order
//! as in [`linear_attend_row`], which takes rows one by one.

use core::arch::x86_64::*;

use super::f32x16::F32x16;
use crate::generic::{fetch, linear_attend_row};
use crate::{LinearAttend, LinearAttendRow, RowDecay};

/// Floats in a register.
const LANES: usize = 16;

/// Elements of keys, and registers of columns, of a piece.
const PIECE_KEYS: usize = 8;
const PIECE_GROUP: usize = 2;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn linear_attend(call: LinearAttend<'_, '_>) {
    let LinearAttend { state, rows } = call;
    if together(state, rows) {
        return;
    }
    for index in 0..rows.len() {
        if let Some(next) = rows.get(index + 1) {
            next_row(next);
        }
        one(state, &mut rows[index]);
    }
}

/// Brings a row nearer: rows lie too far apart for the CPU to foresee.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn next_row(row: &LinearAttendRow<'_>) {
    lines(row.query);
    lines(row.key);
    lines(row.value);
    lines(row.out);
    if let RowDecay::Keys(decays) = row.decay {
        lines(decays);
    }
    if let Some(delta) = &row.delta {
        lines(delta.read);
        lines(delta.write);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn lines(of: &[f32]) {
    for line in of.iter().step_by(LANES) {
        // SAFETY: a hint, which any address may be given to.
        unsafe { fetch((&raw const *line).cast()) };
    }
}

/// All rows in one go; `false`, and nothing done, if they do not allow it.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn together(state: &mut [f32], rows: &mut [LinearAttendRow<'_>]) -> bool {
    let [first, _, ..] = &rows[..] else {
        return false;
    };
    let (keys, stride) = (first.key_dim(), first.value.len());
    let alike = |row: &LinearAttendRow<'_>| {
        row.value.len() == stride && row.out.len() == stride && row.key_dim() == keys
    };
    let before = first.before;
    let plain = |row: &LinearAttendRow<'_>| row.delta.is_none() && row.before == before;
    let whole =
        keys > 0 && keys.is_multiple_of(PIECE_KEYS) && stride.is_multiple_of(PIECE_GROUP * LANES);
    if !(whole && keys * stride <= state.len() && rows.iter().all(|row| alike(row) && plain(row))) {
        return false;
    }
    for column in (0..stride).step_by(PIECE_GROUP * LANES) {
        for key in (0..keys).step_by(PIECE_KEYS) {
            // SAFETY: all rows have `stride` columns and `keys` elements of keys, multiples of a
            // piece's, and the state as many rows of as many columns.
            unsafe {
                match before {
                    false => piece::<false>(state.as_mut_ptr(), stride, rows, (key, column)),
                    true => piece::<true>(state.as_mut_ptr(), stride, rows, (key, column)),
                }
            }
        }
    }
    true
}

/// All rows through one piece of the state.
///
/// # Safety
///
/// The state has rows of `stride` columns, and the piece from `key` and `column` on lies inside
/// both; so do its keys and columns in each of the rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn piece<const BEFORE: bool>(
    state: *mut f32,
    stride: usize,
    rows: &mut [LinearAttendRow<'_>],
    (key, column): (usize, usize),
) {
    let mut s = [[_mm512_setzero_ps(); PIECE_GROUP]; PIECE_KEYS];
    // SAFETY: the caller vouches for all of these places.
    unsafe {
        let state = state.add(key * stride + column);
        for k in 0..PIECE_KEYS {
            for g in 0..PIECE_GROUP {
                s[k][g] = _mm512_loadu_ps(state.add(k * stride + g * LANES));
            }
        }
        for row in rows {
            let (keys, queries) = (row.key.as_ptr().add(key), row.query.as_ptr().add(key));
            // What the piece after the next wants of this row.
            fetch(keys.wrapping_add(2 * PIECE_KEYS).cast());
            fetch(queries.wrapping_add(2 * PIECE_KEYS).cast());
            let (value, out) = (
                row.value.as_ptr().add(column),
                row.out.as_mut_ptr().add(column),
            );
            let mut values = [_mm512_setzero_ps(); PIECE_GROUP];
            let mut sums = [_mm512_setzero_ps(); PIECE_GROUP];
            for g in 0..PIECE_GROUP {
                let value = _mm512_loadu_ps(value.add(g * LANES));
                values[g] = _mm512_mul_ps(_mm512_set1_ps(row.gain), value);
                if key > 0 {
                    sums[g] = _mm512_loadu_ps(out.add(g * LANES));
                }
            }
            if BEFORE {
                for k in 0..PIECE_KEYS {
                    for g in 0..PIECE_GROUP {
                        let query = _mm512_set1_ps(*queries.add(k));
                        sums[g] = _mm512_fmadd_ps(query, s[k][g], sums[g]);
                    }
                }
            }
            match row.decay {
                RowDecay::All(1.0) => {}
                RowDecay::All(decay) => {
                    for k in 0..PIECE_KEYS {
                        for g in 0..PIECE_GROUP {
                            s[k][g] = _mm512_mul_ps(_mm512_set1_ps(decay), s[k][g]);
                        }
                    }
                }
                RowDecay::Keys(decays) => {
                    let decays = decays.as_ptr().add(key);
                    fetch(decays.wrapping_add(2 * PIECE_KEYS).cast());
                    for k in 0..PIECE_KEYS {
                        for g in 0..PIECE_GROUP {
                            s[k][g] = _mm512_mul_ps(_mm512_set1_ps(*decays.add(k)), s[k][g]);
                        }
                    }
                }
            }
            for k in 0..PIECE_KEYS {
                let (key, query) = (
                    _mm512_set1_ps(*keys.add(k)),
                    _mm512_set1_ps(*queries.add(k)),
                );
                for g in 0..PIECE_GROUP {
                    s[k][g] = _mm512_fmadd_ps(key, values[g], s[k][g]);
                    if !BEFORE {
                        sums[g] = _mm512_fmadd_ps(query, s[k][g], sums[g]);
                    }
                }
            }
            for g in 0..PIECE_GROUP {
                _mm512_storeu_ps(out.add(g * LANES), sums[g]);
            }
        }
        for k in 0..PIECE_KEYS {
            for g in 0..PIECE_GROUP {
                _mm512_storeu_ps(state.add(k * stride + g * LANES), s[k][g]);
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn one(state: &mut [f32], row: &mut LinearAttendRow<'_>) {
    // SAFETY: this function has the instructions.
    unsafe { linear_attend_row::<F32x16>(state, row) }
}
