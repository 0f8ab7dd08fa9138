//! Sums and element-wise arithmetic on rows of floats.

use half::f16;

use crate::Pairing;

/// Partial sums kept side by side: enough for the compiler to use the baseline's vectors, and
/// an error that grows with an eighth of the length.
pub(super) const LANES: usize = 8;

/// Adds up the lanes, halving: one fixed order.
pub(super) fn sum_lanes(lanes: [f32; LANES]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let len = a.len().min(b.len());
    let (a, a_tail) = a[..len].as_chunks::<LANES>();
    let (b, b_tail) = b[..len].as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(a_tail.iter().zip(b_tail)) {
        *lane += a * b;
    }
    sum_lanes(lanes)
}

pub(super) fn axpy(a: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

pub(super) fn add(a: &[f32], b: &[f32], out: &mut [f32]) {
    for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
        *out = a + b;
    }
}

pub(super) fn mul(a: &[f32], b: &[f32], out: &mut [f32]) {
    for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
        *out = a * b;
    }
}

pub(super) fn rotate(head: &mut [f32], cos: &[f32], sin: &[f32], pairing: Pairing) {
    let turns = cos.iter().zip(sin);
    let turn = |a: &mut f32, b: &mut f32, cos: f32, sin: f32| {
        (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
    };
    match pairing {
        Pairing::Interleaved => {
            let (pairs, _) = head.as_chunks_mut::<2>();
            for ([a, b], (&cos, &sin)) in pairs.iter_mut().zip(turns) {
                turn(a, b, cos, sin);
            }
        }
        Pairing::Halves => {
            let (first, second) = head.split_at_mut(cos.len().min(head.len()));
            for ((a, b), (&cos, &sin)) in first.iter_mut().zip(second).zip(turns) {
                turn(a, b, cos, sin);
            }
        }
        Pairing::Woven => {
            let (pairs, half) = (cos.len(), head.len() / 2);
            let place = |i: usize| if i < half { 2 * i } else { 2 * (i - half) + 1 };
            for (i, (&cos, &sin)) in turns.enumerate() {
                let (first, second) = (place(i), place(i + pairs));
                let (mut a, mut b) = (head[first], head[second]);
                turn(&mut a, &mut b, cos, sin);
                (head[first], head[second]) = (a, b);
            }
        }
    }
}

pub(super) fn widen(halves: &[u8], out: &mut [f32]) {
    for (half, out) in halves.as_chunks().0.iter().zip(out) {
        *out = f16::from_le_bytes(*half).to_f32();
    }
}
