//! Queries against a page of keys: scores, weights and sums of values, each for all queries.
//!
//! Keys and values are widened in registers, once for six queries; nothing is written but
//! scores. What is computed for a query is the same whatever others there are.
//!
//! Loops over a page are functions of their own: [`AttendParts`].

use super::{AttendParts, Element, F16, F32, F32xN, I8, fetch, tile, tile_of};
use crate::kv_cache::BLOCK;
use crate::{Attend, KvType, PAGE, Running};

/// Queries of a tile.
const ROWS: usize = 6;

/// Queries for each of which one number is kept on the stack at a time.
const GROUP: usize = 4 * ROWS;

/// Registers of which exponentials are computed side by side.
const AT_ONCE: usize = 4;

/// Most floats in a register.
const MOST_LANES: usize = 16;

/// What hides the entries from the `count`th on: from element `PAGE − count`.
static HIDDEN: [f32; 2 * PAGE] = {
    let mut hidden = [0.0; 2 * PAGE];
    let mut at = PAGE;
    while at < 2 * PAGE {
        hidden[at] = f32::NEG_INFINITY;
        at += 1;
    }
    hidden
};

/// As [`crate::Kernels::attend`] has it. W registers side by side in a tile that is six
/// rows high fill the register file, together with what they are made of.
///
/// # Safety
///
/// As for [`F32xN`], whose pointers come from slices.
#[inline(always)]
pub(crate) unsafe fn attend<V: AttendParts, const W: usize>(
    call: &Attend<'_>,
    scores: &mut [f32],
    running: &mut [Running],
    out: &mut [f32],
) {
    assert!(call.checked(scores, running.len(), out), "slices too short");
    let stride = Attend::stride(call.dim);
    let mut first = 0;
    while first < running.len() {
        let group = first..running.len().min(first + GROUP);
        let part = Attend {
            queries: &call.queries[group.start * stride..group.end * stride],
            biases: call
                .biases
                .map(|all| &all[group.start * PAGE..group.end * PAGE]),
            next: call.next.filter(|_| first == 0),
            ..*call
        };
        let scores = &mut scores[group.start * PAGE..group.end * PAGE];
        let out = &mut out[group.start * stride..group.end * stride];
        // SAFETY: the caller's promise, and the check above.
        unsafe {
            match call.kv_type {
                KvType::F32 => part_of::<V, F32, W>(&part, scores, &mut running[group], out),
                KvType::F16 => part_of::<V, F16, W>(&part, scores, &mut running[group], out),
                KvType::Q8_0 => part_of::<V, I8, W>(&part, scores, &mut running[group], out),
            }
        }
        first += GROUP;
    }
}

/// For up to [`GROUP`] queries.
///
/// # Safety
///
/// As for [`attend`], the lengths having been checked.
#[inline(always)]
unsafe fn part_of<V: AttendParts, E: Element, const W: usize>(
    call: &Attend<'_>,
    scores: &mut [f32],
    running: &mut [Running],
    out: &mut [f32],
) {
    let mut origins = [0.0; GROUP];
    let mut corrections = [0.0; GROUP.next_multiple_of(MOST_LANES)];
    // SAFETY: the caller's promise, for queries that there are.
    unsafe {
        let mut n = 0;
        while n < running.len() {
            n += match running.len() - n {
                4 | 5 | 8 => V::products::<E, 4, W>(call, n, scores),
                ROWS.. => V::products::<E, ROWS, W>(call, n, scores),
                2 | 3 => V::products::<E, 2, 4>(call, n, scores),
                _ => V::products::<E, 1, 4>(call, n, scores),
            };
        }
        // Scales, which the tiles do not come by.
        for half in call.next.into_iter().flatten() {
            for line in (0..scales_len::<E>(call.dim)).step_by(64) {
                fetch(half.wrapping_add(line));
            }
        }
        // One after the other for all queries, for each is a long chain of dependent steps.
        let mut hides = false;
        for n in 0..running.len() {
            let scores = scores[n * PAGE..].as_mut_ptr();
            (origins[n], corrections[n]) =
                scores_of::<V>(call, n, scores, &mut running[n], &mut hides);
        }
        for at in (0..running.len()).step_by(V::LANES) {
            let corrections = corrections.as_mut_ptr().add(at);
            V::load(corrections).exp_below_one().store(corrections);
        }
        for n in 0..running.len() {
            let sum = weights::<V>(scores[n * PAGE..].as_mut_ptr(), origins[n]);
            running[n].sum = running[n].sum * corrections[n] + sum;
        }
        if let Some(value_dim) = call.value_in_key {
            let sizes = (running.len(), value_dim, hides);
            let all = (&*scores, &corrections[..]);
            V::sums_in_keys::<E, W>(call, sizes, all, out);
            return;
        }
        if hides && !finite::<V, E>(call) {
            for n in 0..running.len() {
                seen_alone::<V, E>(call, n, (scores, &mut corrections), out);
            }
            return;
        }
        let all = (&*scores, &corrections[..]);
        let mut n = 0;
        while n < running.len() {
            n += match running.len() - n {
                4 | 5 | 8 => V::sums::<E, 4, W>(call, n, 0..call.count, all, out),
                ROWS.. => V::sums::<E, ROWS, W>(call, n, 0..call.count, all, out),
                2 | 3 => V::sums::<E, 2, 4>(call, n, 0..call.count, all, out),
                _ => V::sums::<E, 1, 4>(call, n, 0..call.count, all, out),
            };
        }
    }
}

/// `query · key` for M queries from the `n`th on and all keys of the page. Returns M.
#[inline(always)]
pub(crate) unsafe fn products<V: F32xN, E: Element, const M: usize, const R: usize>(
    call: &Attend<'_>,
    n: usize,
    scores: &mut [f32],
) -> usize {
    let stride = Attend::stride(call.dim);
    let scales_len = scales_len::<E>(call.dim);
    // SAFETY: the caller promises M queries and scores from the `n`th on, and a page of keys.
    unsafe {
        let queries = call.queries.as_ptr().add(n * stride);
        let keys = call.keys.as_ptr();
        let next = call.next.map_or(keys, |[keys, _]| keys);
        let scores = scores.as_mut_ptr().add(n * PAGE);
        let mut column = 0;
        while column < PAGE {
            let mut block = 0;
            while block < call.dim {
                // Bytes have a scale for each block; what has none is all one block.
                let depth = match scales_len {
                    0 => call.dim,
                    _ => BLOCK.min(call.dim - block),
                };
                let skip = scales_len + (block * PAGE + column) * E::LEN;
                let mut tile_sums = [[V::splat(0.0); R]; M];
                tile::<V, E, M, R>(
                    &mut tile_sums,
                    (queries.add(block).cast(), stride * size_of::<f32>()),
                    (keys.add(skip), PAGE * E::LEN),
                    next.wrapping_add(skip),
                    depth,
                );
                for m in 0..M {
                    for r in 0..R {
                        let to = scores.add(m * PAGE + column + r * V::LANES);
                        let mut sum = tile_sums[m][r];
                        if scales_len > 0 {
                            let at = 2 * (block / BLOCK * PAGE + column + r * V::LANES);
                            let before = match block {
                                0 => V::splat(0.0),
                                _ => V::load(to),
                            };
                            sum = sum.fma(V::load_halves(keys.add(at)), before);
                        }
                        sum.store(to);
                    }
                }
                block += depth;
            }
            column += R * V::LANES;
        }
    }
    M
}

/// Makes a query's products scores, and notes their maximum; −∞ for what is hidden. Returns what
/// the scores are relative to, and the maximum of earlier ones, relative to that.
#[inline(always)]
unsafe fn scores_of<V: F32xN>(
    call: &Attend<'_>,
    n: usize,
    scores: *mut f32,
    running: &mut Running,
    hides: &mut bool,
) -> (f32, f32) {
    // SAFETY: the caller promises a page of scores, and of biases if there are any.
    unsafe {
        let hidden = HIDDEN.as_ptr().add(PAGE - call.count);
        let biases = call.biases.map(|biases| biases.as_ptr().add(n * PAGE));
        let plain = call.softcap.is_none() && biases.is_none() && call.count == PAGE;
        let mut largest = V::splat(running.max);
        for at in (0..PAGE).step_by(V::LANES) {
            let mut score = V::load(scores.add(at));
            if !plain {
                if let Some(cap) = call.softcap {
                    score = capped(score, cap);
                }
                if let Some(biases) = biases {
                    score = score.biased(V::load(biases.add(at)));
                }
                if call.count < PAGE {
                    score = score.biased(V::load(hidden.add(at)));
                }
                score.store(scores.add(at));
            }
            largest = score.max(largest);
        }
        if let Some(biases) = call.biases {
            let biases = &biases[n * PAGE..][..call.count];
            *hides |= biases.contains(&f32::NEG_INFINITY);
        }
        let largest = largest.largest();
        // Nothing seen so far: −∞ − (−∞) would be NaN, and −∞ − 0 has weight zero.
        let origin = match largest {
            f32::NEG_INFINITY => 0.0,
            seen => seen,
        };
        let before = running.max - origin;
        running.max = largest;
        (origin, before)
    }
}

/// Makes a query's scores weights: exp(score − origin). Returns their sum.
#[inline(always)]
unsafe fn weights<V: F32xN>(scores: *mut f32, origin: f32) -> f32 {
    // SAFETY: the caller promises a page of scores.
    unsafe {
        let mut sum = V::splat(0.0);
        for at in (0..PAGE).step_by(AT_ONCE * V::LANES) {
            let mut all = [sum; AT_ONCE];
            for i in 0..AT_ONCE {
                let score = V::load(scores.add(at + i * V::LANES));
                all[i] = score.sub(V::splat(origin)).exp_below_one();
            }
            for i in 0..AT_ONCE {
                all[i].store(scores.add(at + i * V::LANES));
                sum = sum.add(all[i]);
            }
        }
        sum.sum()
    }
}

/// cap · tanh(x / cap): with e = exp(−2|x|/cap) that is (1 − e) / (1 + e) and x's sign.
#[inline(always)]
unsafe fn capped<V: F32xN>(x: V, cap: f32) -> V {
    // SAFETY: the caller's promise, handed on.
    unsafe {
        let small = x.minus_abs().mul(V::splat(2.0 / cap)).exp_below_one();
        let one = V::splat(1.0);
        let tanh = one.sub(small).div(one.add(small));
        tanh.mul(V::splat(cap)).with_sign(x)
    }
}

/// `out ← correction · out + Σ weight · value` for M queries from the `n`th on. Returns M.
#[inline(always)]
pub(crate) unsafe fn sums<V: F32xN, E: Element, const M: usize, const R: usize>(
    call: &Attend<'_>,
    n: usize,
    places: core::ops::Range<usize>,
    (weights, corrections): (&[f32], &[f32]),
    out: &mut [f32],
) -> usize {
    let weights = weights[n * PAGE..].as_ptr();
    let whole = 0..call.dim;
    if scales_len::<E>(call.dim) == 0 {
        // SAFETY: the caller promises M queries, weights and results from the `n`th on, and
        // `count` values.
        unsafe { block::<V, E, M, R, 1>(call, n, whole, &places, ([weights], corrections), out) };
        return M;
    }
    // Bytes have a scale for each block: it goes into the weights.
    let mut scaled = [[[0.0; PAGE]; M]; 2];
    let mut column = 0;
    while column < call.dim {
        // Few queries make few chains of sums, so two blocks' side by side.
        let pair = M <= 2 && R * V::LANES == 2 * BLOCK && call.dim - column >= 2 * BLOCK;
        // SAFETY: as above; there is a scale for each block and place.
        unsafe {
            for (block, scaled) in scaled.iter_mut().enumerate().take(1 + usize::from(pair)) {
                let scales = 2 * (column / BLOCK + block) * PAGE;
                let scales = call.values.as_ptr().add(scales);
                for at in (0..PAGE).step_by(V::LANES) {
                    let scale = V::load_halves(scales.add(2 * at));
                    for m in 0..M {
                        let weight = V::load(weights.add(m * PAGE + at));
                        weight.mul(scale).store(scaled[m].as_mut_ptr().add(at));
                    }
                }
            }
            let all = [scaled[0].as_ptr().cast(), scaled[1].as_ptr().cast()];
            if pair {
                let columns = column..column + 2 * BLOCK;
                block::<V, E, M, R, 2>(call, n, columns, &places, (all, corrections), out);
                column += 2 * BLOCK;
            } else {
                let columns = column..call.dim.min(column + BLOCK);
                let all = [all[0]];
                block::<V, E, M, 2, 1>(call, n, columns, &places, (all, corrections), out);
                column += BLOCK;
            }
        }
    }
    M
}

/// The same for some columns, of which each Gth has weights of its own: these.
#[inline(always)]
unsafe fn block<V: F32xN, E: Element, const M: usize, const R: usize, const G: usize>(
    call: &Attend<'_>,
    n: usize,
    columns: core::ops::Range<usize>,
    places: &core::ops::Range<usize>,
    (weights, corrections): ([*const f32; G], &[f32]),
    out: &mut [f32],
) {
    // SAFETY: as in `sums`.
    unsafe {
        let stride = call.value_stride * E::LEN;
        let skip = scales_len::<E>(call.dim) + places.start * stride;
        let values = call.values.as_ptr().wrapping_add(skip);
        let next = call
            .next
            .map_or(values, |[_, next]| next.wrapping_add(skip));
        let mut all = [core::ptr::null(); G];
        for g in 0..G {
            all[g] = weights[g].add(places.start).cast();
        }
        let one = [all[0]];
        let mut at = columns.start;
        macro_rules! slab {
            ($width:expr, $weights:expr, $values:expr, $ahead:expr) => {{
                let mut sums = [[V::splat(0.0); $width]; M];
                let out = out.as_mut_ptr().add(n * Attend::stride(call.dim) + at);
                let stride = Attend::stride(call.dim);
                for m in 0..M {
                    for r in 0..$width {
                        let before = V::load(out.add(m * stride + r * V::LANES));
                        sums[m][r] = before.mul(V::splat(corrections[n + m]));
                    }
                }
                let weights = ($weights, PAGE * size_of::<f32>());
                tile_of::<V, E, M, $width, _>(&mut sums, weights, $values, $ahead, places.len());
                for m in 0..M {
                    for r in 0..$width {
                        sums[m][r].store(out.add(m * stride + r * V::LANES));
                    }
                }
                at += $width * V::LANES;
            }};
        }
        while columns.end - at >= R * V::LANES {
            let skip = at * E::LEN;
            slab!(
                R,
                all,
                (values.wrapping_add(skip), stride),
                next.wrapping_add(skip)
            );
        }
        while columns.end > at && columns.end - at >= V::LANES {
            let skip = at * E::LEN;
            slab!(
                1,
                one,
                (values.wrapping_add(skip), stride),
                next.wrapping_add(skip)
            );
        }
        if columns.end > at {
            // The last few elements, filled up to a register with zeros.
            let mut padded = [[0u8; 4 * MOST_LANES]; PAGE];
            for (place, padded) in padded.iter_mut().enumerate().take(places.len()) {
                let from = values.add(place * stride + at * E::LEN);
                let len = (columns.end - at) * E::LEN;
                padded.as_mut_ptr().copy_from_nonoverlapping(from, len);
            }
            let padded = padded.as_ptr().cast();
            slab!(1, one, (padded, 4 * MOST_LANES), padded);
            let _ = at;
        }
    }
}

/// The sums of one query over the values that it sees, where others hold faults.
#[inline(always)]
unsafe fn seen_alone<V: AttendParts, E: Element>(
    call: &Attend<'_>,
    n: usize,
    (scores, corrections): (&[f32], &mut [f32]),
    out: &mut [f32],
) {
    // SAFETY: the caller's promise, handed on.
    unsafe {
        let none = 0..0;
        V::sums::<E, 1, 1>(call, n, none, (scores, corrections), out);
        corrections[n] = 1.0;
        for place in 0..call.count {
            if scores[n * PAGE + place] != 0.0 {
                let one = place..place + 1;
                V::sums::<E, 1, 1>(call, n, one, (scores, corrections), out);
            }
        }
    }
}

/// Whether no value of the page is a fault, so that zero times it is zero.
#[inline(always)]
unsafe fn finite<V: F32xN, E: Element>(call: &Attend<'_>) -> bool {
    // SAFETY: the caller promises `count` values.
    unsafe {
        let mut faults = V::splat(0.0);
        if scales_len::<E>(call.dim) > 0 {
            for block in 0..call.dim.div_ceil(BLOCK) {
                for at in (0..PAGE).step_by(V::LANES) {
                    let scales = call.values.as_ptr().add(2 * (block * PAGE + at));
                    faults = V::load_halves(scales).fma(V::splat(0.0), faults);
                }
            }
            return !faults.sum().is_nan();
        }
        for place in 0..call.count {
            let value = call.values.as_ptr().add(place * call.value_stride * E::LEN);
            let mut at = 0;
            while at < call.dim {
                let mut padded = [0u8; 4 * MOST_LANES];
                let mut from = value.add(at * E::LEN);
                if call.dim - at < V::LANES {
                    let len = (call.dim - at) * E::LEN;
                    padded.as_mut_ptr().copy_from_nonoverlapping(from, len);
                    from = padded.as_ptr();
                }
                faults = E::load::<V>(from).fma(V::splat(0.0), faults);
                at += V::LANES;
            }
        }
        !faults.sum().is_nan()
    }
}

/// Bytes before the elements of a page of so long keys or values.
#[inline(always)]
fn scales_len<E: Element>(dim: usize) -> usize {
    match E::LEN {
        1 => 2 * dim.div_ceil(BLOCK) * PAGE,
        _ => 0,
    }
}
