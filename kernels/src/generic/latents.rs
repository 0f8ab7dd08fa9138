//! Sums of values that are the last elements of their keys, as in multi-head latent attention
//! (DeepSeek-AI 2024, section 2.1): a page holds them once, element by element.
//!
//! Some columns at a time are turned, so that values stand one after the other in the nearest
//! cache, for all queries that follow.

use super::{Element, F32, F32xN, tile_of};
use crate::kv_cache::BLOCK;
use crate::{Attend, PAGE};

/// Most columns that are turned at a time.
const COLUMNS: usize = 64;

/// Most lanes of a register.
const MOST_LANES: usize = 16;

/// Columns of values, `[place][COLUMNS]`.
type TurnedColumns = [[f32; COLUMNS]; PAGE];

/// `out ← correction · out + Σ weight · value` for `queries` queries. With `hides`, a hidden
/// value may be anything.
///
/// # Safety
///
/// As for [`super::attend`], the lengths having been checked.
#[inline(always)]
pub(crate) unsafe fn sums_in_keys<V: F32xN, E: Element, const W: usize>(
    call: &Attend<'_>,
    (queries, value_dim, hides): (usize, usize, bool),
    (weights, corrections): (&[f32], &[f32]),
    out: &mut [f32],
) {
    let mut turned: TurnedColumns = [[0.0; COLUMNS]; PAGE];
    let width = (W * V::LANES).min(COLUMNS);
    let mut column = 0;
    while column < value_dim {
        let columns = width.min(value_dim - column);
        // SAFETY: the caller's promise, for columns that there are.
        unsafe {
            let first = call.dim - value_dim + column;
            let faulty = turn::<V, E>(call, first, columns, &mut turned);
            let all = (&turned, weights, corrections);
            let seen_alone = hides && faulty;
            let mut n = 0;
            while n < queries {
                n += match queries - n {
                    _ if seen_alone => seen::<V>(call, (n, column, columns), all, out),
                    6.. => slabs::<V, 6, W>(call, (n, column, columns), all, out),
                    4.. => slabs::<V, 4, W>(call, (n, column, columns), all, out),
                    2.. => slabs::<V, 2, W>(call, (n, column, columns), all, out),
                    _ => slabs::<V, 1, W>(call, (n, column, columns), all, out),
                };
            }
        }
        column += columns;
    }
}

/// Turns `columns` elements of all places, from element `first` of the keys on, to floats. Returns
/// whether any place that there is holds a fault among them.
#[inline(always)]
unsafe fn turn<V: F32xN, E: Element>(
    call: &Attend<'_>,
    first: usize,
    columns: usize,
    turned: &mut TurnedColumns,
) -> bool {
    let scales = match E::LEN {
        1 => 2 * call.dim.div_ceil(BLOCK) * PAGE,
        _ => 0,
    };
    let mut wide = [[0.0f32; PAGE]; MOST_LANES];
    // SAFETY: the caller promises a page of keys; both buffers are whole.
    unsafe {
        let mut faults = V::splat(0.0);
        let keys = call.keys.as_ptr();
        for from in (0..columns).step_by(V::LANES) {
            for lane in 0..V::LANES {
                // Beyond the last column, that one again: nobody asks for it.
                let element = first + (from + lane).min(columns - 1);
                let row = keys.add(scales + element * PAGE * E::LEN);
                for at in (0..PAGE).step_by(V::LANES) {
                    let mut values: V = E::load(row.add(at * E::LEN));
                    if scales > 0 {
                        let at = 2 * (element / BLOCK * PAGE + at);
                        values = values.mul(V::load_halves(keys.add(at)));
                    }
                    values.store(wide[lane].as_mut_ptr().add(at));
                }
            }
            for place in (0..PAGE).step_by(V::LANES) {
                let to = turned[place].as_mut_ptr().add(from);
                V::turn(wide[0].as_ptr().add(place), PAGE, to, COLUMNS);
            }
        }
        for place in 0..call.count {
            for at in (0..columns).step_by(V::LANES) {
                let values = V::load(turned[place].as_ptr().add(at));
                faults = values.fma(V::splat(0.0), faults);
            }
        }
        faults.sum().is_nan()
    }
}

/// Some columns of M queries from the `n`th on. Returns M.
#[inline(always)]
unsafe fn slabs<V: F32xN, const M: usize, const W: usize>(
    call: &Attend<'_>,
    (n, column, columns): (usize, usize, usize),
    (turned, weights, corrections): (&TurnedColumns, &[f32], &[f32]),
    out: &mut [f32],
) -> usize {
    let stride = Attend::stride(call.dim);
    let mut at = 0;
    macro_rules! slab {
        ($width:expr) => {{
            // SAFETY: the caller promises M queries, weights and results from the `n`th on;
            // results are whole registers.
            unsafe {
                let mut sums = [[V::splat(0.0); $width]; M];
                let out = out.as_mut_ptr().add(n * stride + column + at);
                for m in 0..M {
                    for r in 0..$width {
                        let before = V::load(out.add(m * stride + r * V::LANES));
                        sums[m][r] = before.mul(V::splat(corrections[n + m]));
                    }
                }
                let values = turned[0].as_ptr().add(at).cast::<u8>();
                tile_of::<V, F32, M, $width, 1>(
                    &mut sums,
                    (
                        [weights[n * PAGE..].as_ptr().cast()],
                        PAGE * size_of::<f32>(),
                    ),
                    (values, COLUMNS * size_of::<f32>()),
                    values,
                    call.count,
                );
                for m in 0..M {
                    for r in 0..$width {
                        sums[m][r].store(out.add(m * stride + r * V::LANES));
                    }
                }
            }
            at += $width * V::LANES;
        }};
    }
    while at < columns && columns - at >= W * V::LANES {
        slab!(W);
    }
    while at < columns {
        slab!(1);
    }
    M
}

/// The same for one query over the values that it sees, where others hold faults. Returns 1.
#[inline(always)]
unsafe fn seen<V: F32xN>(
    call: &Attend<'_>,
    (n, column, columns): (usize, usize, usize),
    (turned, weights, corrections): (&TurnedColumns, &[f32], &[f32]),
    out: &mut [f32],
) -> usize {
    let out = &mut out[n * Attend::stride(call.dim) + column..];
    for at in (0..columns).step_by(V::LANES) {
        // SAFETY: results are whole registers, and so are turned columns.
        unsafe {
            let to = out[at..].as_mut_ptr();
            let mut sum = V::load(to).mul(V::splat(corrections[n]));
            for place in 0..call.count {
                let weight = weights[n * PAGE + place];
                if weight != 0.0 {
                    let values = V::load(turned[place].as_ptr().add(at));
                    sum = V::splat(weight).fma(values, sum);
                }
            }
            sum.store(to);
        }
    }
    1
}
