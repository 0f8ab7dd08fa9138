//! Linear attention: rows through a state of outer products, a few registers of its columns at a
//! time.

use super::MaskedF32xN;
use crate::{LinearAttendRow, RowDecay};

/// Registers of columns that a row takes: as many sums as hide the latency of one.
const GROUP: usize = 4;

/// A row whose lengths agree with the state's.
struct Checked<'s, 'a, 'r> {
    state: &'s mut [f32],
    row: &'a mut LinearAttendRow<'r>,
    /// Rows of the state, elements of keys.
    keys: usize,
    /// Floats from one row of the state to the next.
    stride: usize,
}

/// A row by itself.
///
/// # Safety
///
/// The CPU has the register's instructions.
#[inline(always)]
pub(crate) unsafe fn linear_attend_row<V: MaskedF32xN>(
    state: &mut [f32],
    row: &mut LinearAttendRow<'_>,
) {
    let stride = row.value.len().max(1);
    let checked = Checked {
        keys: row.key_dim().min(state.len() / stride),
        stride,
        state,
        row,
    };
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        match checked.row.before {
            false => by_decay::<V, false>(checked),
            true => by_decay::<V, true>(checked),
        }
    }
}

/// # Safety
///
/// The CPU has the register's instructions.
#[inline(always)]
unsafe fn by_decay<V: MaskedF32xN, const BEFORE: bool>(checked: Checked<'_, '_, '_>) {
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        match (checked.row.delta.is_some(), checked.row.decay) {
            (true, _) => columns::<V, BEFORE, true, true>(checked),
            (false, RowDecay::All(1.0)) => columns::<V, BEFORE, false, false>(checked),
            (false, _) => columns::<V, BEFORE, false, true>(checked),
        }
    }
}

/// # Safety
///
/// The CPU has the register's instructions.
#[inline(always)]
unsafe fn columns<V: MaskedF32xN, const BEFORE: bool, const DELTA: bool, const DECAY: bool>(
    mut checked: Checked<'_, '_, '_>,
) {
    let columns = checked.row.value.len().min(checked.row.out.len());
    let mut first = 0;
    while first + GROUP * V::LANES <= columns {
        // SAFETY: these columns are there.
        unsafe { group::<V, GROUP, BEFORE, DELTA, DECAY>(&mut checked, first, V::LANES) };
        first += GROUP * V::LANES;
    }
    while first < columns {
        let left = (columns - first).min(V::LANES);
        // SAFETY: so many columns are left.
        unsafe { group::<V, 1, BEFORE, DELTA, DECAY>(&mut checked, first, left) };
        first += V::LANES;
    }
}

/// `G` registers of columns from `first` on.
///
/// # Safety
///
/// The CPU has the register's instructions. There are at least `first + G · LANES` columns, or,
/// if `G` is one, `first + left`.
#[inline(always)]
unsafe fn group<
    V: MaskedF32xN,
    const G: usize,
    const BEFORE: bool,
    const DELTA: bool,
    const DECAY: bool,
>(
    checked: &mut Checked<'_, '_, '_>,
    first: usize,
    left: usize,
) {
    let (keys, stride) = (checked.keys, checked.stride);
    let row = &mut *checked.row;
    let state = checked.state.as_mut_ptr().wrapping_add(first);
    // SAFETY: rows, columns and lengths agree: `linear_attend_row` and the caller have seen to it.
    // Elements of keys are read below `keys`, which is no greater than any of their lengths. A
    // masked load or store touches no lane beyond those that are left.
    unsafe {
        let mut value = [V::splat(0.0); G];
        let mut sums = [V::splat(0.0); G];
        let mut erased = [V::splat(0.0); G];
        if let (true, Some(delta)) = (DELTA, &row.delta) {
            for key in 0..keys {
                let read = V::splat(*delta.read.get_unchecked(key));
                for g in 0..G {
                    let s = load::<V, G>(state.wrapping_add(key * stride + g * V::LANES), left);
                    erased[g] = read.fma(s, erased[g]);
                }
            }
            for g in 0..G {
                erased[g] = erased[g].mul(V::splat(delta.factor));
            }
        }
        for g in 0..G {
            let at = row.value.as_ptr().wrapping_add(first + g * V::LANES);
            value[g] = V::splat(row.gain).mul(load::<V, G>(at, left));
        }
        for key in 0..keys {
            let decay = V::splat(match row.decay {
                RowDecay::All(decay) => decay,
                RowDecay::Keys(decays) => *decays.get_unchecked(key),
            });
            let q = V::splat(*row.query.get_unchecked(key));
            let k = V::splat(*row.key.get_unchecked(key));
            let write = match (DELTA, &row.delta) {
                (true, Some(delta)) => V::splat(*delta.write.get_unchecked(key)),
                _ => V::splat(0.0),
            };
            for g in 0..G {
                let at = state.wrapping_add(key * stride + g * V::LANES);
                let mut s = load::<V, G>(at, left);
                if BEFORE {
                    sums[g] = q.fma(s, sums[g]);
                }
                if DECAY {
                    s = decay.mul(s);
                }
                if DELTA {
                    s = write.fma(erased[g], s);
                }
                s = k.fma(value[g], s);
                store::<V, G>(at, left, s);
                if !BEFORE {
                    sums[g] = q.fma(s, sums[g]);
                }
            }
        }
        for g in 0..G {
            let at = row.out.as_mut_ptr().wrapping_add(first + g * V::LANES);
            store::<V, G>(at, left, sums[g]);
        }
    }
}

/// # Safety
///
/// A register's floats are there; if `G` is one, so many as are left.
#[inline(always)]
unsafe fn load<V: MaskedF32xN, const G: usize>(from: *const f32, left: usize) -> V {
    // SAFETY: the caller vouches for it.
    unsafe {
        match G {
            1 => V::load_first(from, left),
            _ => V::load(from),
        }
    }
}

/// # Safety
///
/// As for [`load`].
#[inline(always)]
unsafe fn store<V: MaskedF32xN, const G: usize>(to: *mut f32, left: usize, value: V) {
    // SAFETY: the caller vouches for it.
    unsafe {
        match G {
            1 => value.store_first(to, left),
            _ => value.store(to),
        }
    }
}
