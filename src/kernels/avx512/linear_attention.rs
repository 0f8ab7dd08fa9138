//! Memories of outer products: sixteen columns to a register.
//!
//! A row by itself takes 64 columns at a time through the memory. Several rows that erase nothing
//! pass through a piece of the memory that stays in registers meanwhile, then through the next;
//! what they read of each adds up in the same order.

use core::arch::x86_64::*;

use crate::kernels::generic::fetch;
use crate::kernels::{LinearAttend, LinearAttendRow, RowDecay};

/// Floats in a register.
const LANES: usize = 16;

/// Registers of columns that a row takes: as many sums as hide the latency of one.
const GROUP: usize = 4;

/// Elements of keys, and registers of columns, of a piece.
const PIECE_KEYS: usize = 8;
const PIECE_GROUP: usize = 2;

#[target_feature(enable = "avx512f")]
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
#[target_feature(enable = "avx512f")]
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
#[target_feature(enable = "avx512f")]
fn lines(of: &[f32]) {
    for line in of.iter().step_by(LANES) {
        // SAFETY: a hint, which any address may be given to.
        unsafe { fetch((&raw const *line).cast()) };
    }
}

/// All rows in one go; `false`, and nothing done, if they do not allow it.
#[target_feature(enable = "avx512f")]
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

/// All rows through one piece of the memory.
///
/// # Safety
///
/// The state has rows of `stride` columns, and the piece from `key` and `column` on lies inside
/// both; so do its keys and columns in each of the rows.
#[inline]
#[target_feature(enable = "avx512f")]
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

/// A row whose lengths agree with the state's.
struct Checked<'s, 'a, 'r> {
    state: &'s mut [f32],
    row: &'a mut LinearAttendRow<'r>,
    /// Rows of the state, elements of keys.
    keys: usize,
    /// Floats from one row of the state to the next.
    stride: usize,
}

#[target_feature(enable = "avx512f")]
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

#[target_feature(enable = "avx512f")]
fn fading<const BEFORE: bool>(checked: Checked<'_, '_, '_>) {
    match (checked.row.delta.is_some(), checked.row.decay) {
        (true, _) => columns::<BEFORE, true, true>(checked),
        (false, RowDecay::All(1.0)) => columns::<BEFORE, false, false>(checked),
        (false, _) => columns::<BEFORE, false, true>(checked),
    }
}

#[target_feature(enable = "avx512f")]
fn columns<const BEFORE: bool, const ERASE: bool, const FADE: bool>(
    mut checked: Checked<'_, '_, '_>,
) {
    let columns = checked.row.value.len().min(checked.row.out.len());
    let mut first = 0;
    while first + GROUP * LANES <= columns {
        // SAFETY: these columns are there.
        unsafe { group::<GROUP, BEFORE, ERASE, FADE>(&mut checked, first, __mmask16::MAX) };
        first += GROUP * LANES;
    }
    while first < columns {
        let left = (columns - first).min(LANES);
        let mask = __mmask16::MAX >> (LANES - left);
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
#[target_feature(enable = "avx512f")]
unsafe fn group<const G: usize, const BEFORE: bool, const ERASE: bool, const FADE: bool>(
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
        if let (true, Some(delta)) = (ERASE, &row.delta) {
            for key in 0..keys {
                let read = _mm512_set1_ps(*delta.read.get_unchecked(key));
                for g in 0..G {
                    let s = load::<G>(state.wrapping_add(key * stride + g * LANES), mask);
                    erased[g] = _mm512_fmadd_ps(read, s, erased[g]);
                }
            }
            for erased in &mut erased {
                *erased = _mm512_mul_ps(*erased, _mm512_set1_ps(delta.factor));
            }
        }
        for g in 0..G {
            let at = row.value.as_ptr().wrapping_add(first + g * LANES);
            value[g] = _mm512_mul_ps(_mm512_set1_ps(row.gain), load::<G>(at, mask));
        }
        for key in 0..keys {
            let decay = _mm512_set1_ps(match row.decay {
                RowDecay::All(decay) => decay,
                RowDecay::Keys(decays) => *decays.get_unchecked(key),
            });
            let q = _mm512_set1_ps(*row.query.get_unchecked(key));
            let k = _mm512_set1_ps(*row.key.get_unchecked(key));
            let write = match (ERASE, &row.delta) {
                (true, Some(delta)) => _mm512_set1_ps(*delta.write.get_unchecked(key)),
                _ => _mm512_setzero_ps(),
            };
            for g in 0..G {
                let at = state.wrapping_add(key * stride + g * LANES);
                let mut s = load::<G>(at, mask);
                if BEFORE {
                    sums[g] = _mm512_fmadd_ps(q, s, sums[g]);
                }
                if FADE {
                    s = _mm512_mul_ps(decay, s);
                }
                if ERASE {
                    s = _mm512_fmadd_ps(write, erased[g], s);
                }
                s = _mm512_fmadd_ps(k, value[g], s);
                store::<G>(at, mask, s);
                if !BEFORE {
                    sums[g] = _mm512_fmadd_ps(q, s, sums[g]);
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
