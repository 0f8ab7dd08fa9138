//! Products of float weights with float activations.

use core::marker::PhantomData;

use wide::f32x4;

use super::f32x4::{LANES, from_bits, from_halves, sum, words};
use super::product::PortableProduct;

/// A float as it lies in memory.
pub(crate) trait StoredFloat: Copy {
    const ZERO: Self;
    fn four(stored: &[Self; LANES]) -> f32x4;
}

pub(crate) type PortableF32 = [u8; 4];

/// Half precision.
pub(super) type PortableF16 = [u8; 2];

/// The upper half of a float.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct PortableBf16([u8; 2]);

impl StoredFloat for PortableF32 {
    const ZERO: Self = [0; 4];
    #[inline(always)]
    fn four(stored: &[Self; LANES]) -> f32x4 {
        let [a, b, c, d] = *stored;
        let float = f32::from_le_bytes;
        f32x4::new([float(a), float(b), float(c), float(d)])
    }
}

impl StoredFloat for PortableF16 {
    const ZERO: Self = [0; 2];
    #[inline(always)]
    fn four(stored: &[Self; LANES]) -> f32x4 {
        from_halves(stored)
    }
}

impl StoredFloat for PortableBf16 {
    const ZERO: Self = PortableBf16([0; 2]);
    #[inline(always)]
    fn four(stored: &[Self; LANES]) -> f32x4 {
        let [a, b, c, d] = *stored;
        from_bits(words(&[a.0, b.0, c.0, d.0]) << 16u32)
    }
}

/// Σ of products in two registers of partial sums; a ragged end is filled with zeros. So many rows
/// meet four inputs at a time.
pub(crate) struct PortableFloats<W, const INPUT_ROWS: usize>(PhantomData<W>);

/// Columns at a time.
const WIDTH: usize = 2 * LANES;

impl<W: StoredFloat, const INPUT_ROWS: usize> PortableProduct for PortableFloats<W, INPUT_ROWS> {
    type Weights = W;
    type Inputs = PortableF32;
    const ELEMENTS: [usize; 2] = [1, 1];
    const ROWS: [usize; 2] = [4, INPUT_ROWS];

    #[inline(always)]
    fn dot<const R: usize, const N: usize>(
        weights: [&[W]; R],
        inputs: [&[PortableF32]; N],
    ) -> [[f32; N]; R] {
        let mut sums = [[[f32x4::ZERO; 2]; N]; R];
        let columns = weights.first().map_or(0, |row| row.len());
        let whole = columns / WIDTH;
        let rows = weights.map(|row| &row.as_chunks::<WIDTH>().0[..whole]);
        let xs = inputs.map(|row| &row.as_chunks::<WIDTH>().0[..whole]);
        for at in 0..whole {
            let (mut eights, mut x_eights) =
                ([[W::ZERO; WIDTH]; R], [[PortableF32::ZERO; WIDTH]; N]);
            for r in 0..R {
                eights[r] = rows[r][at];
            }
            for n in 0..N {
                x_eights[n] = xs[n][at];
            }
            add_products(&mut sums, &eights, &x_eights);
        }
        if columns > whole * WIDTH {
            let rows = weights.map(|row| padded(&row[whole * WIDTH..]));
            let xs = inputs.map(|row| padded(&row[whole * WIDTH..]));
            add_products(&mut sums, &rows, &xs);
        }
        let mut totals = [[0.0; N]; R];
        for r in 0..R {
            for n in 0..N {
                let [even, odd] = sums[r][n];
                totals[r][n] = sum(even + odd);
            }
        }
        totals
    }
}

#[inline(always)]
fn add_products<W: StoredFloat, const R: usize, const N: usize>(
    sums: &mut [[[f32x4; 2]; N]; R],
    rows: &[[W; WIDTH]; R],
    inputs: &[[PortableF32; WIDTH]; N],
) {
    for half in 0..2 {
        let mut weights = [f32x4::ZERO; R];
        for r in 0..R {
            weights[r] = W::four(&rows[r].as_chunks().0[half]);
        }
        for n in 0..N {
            let x = PortableF32::four(&inputs[n].as_chunks().0[half]);
            for r in 0..R {
                sums[r][n][half] = weights[r].mul_add(x, sums[r][n][half]);
            }
        }
    }
}

fn padded<W: StoredFloat>(rest: &[W]) -> [W; WIDTH] {
    let mut padded = [W::ZERO; WIDTH];
    for (padded, rest) in padded.iter_mut().zip(rest) {
        *padded = *rest;
    }
    padded
}

pub(super) fn widen(halves: &[u8], out: &mut [f32]) {
    let (halves, _) = halves.as_chunks::<2>();
    let (fours, halves) = halves.as_chunks::<LANES>();
    let len = fours.len();
    let (whole, rest) = out.as_chunks_mut::<LANES>();
    for (from, to) in fours.iter().zip(whole.iter_mut()) {
        *to = from_halves(from).to_array();
    }
    let mut last = [[0; 2]; LANES];
    for (to, from) in last.iter_mut().zip(halves) {
        *to = *from;
    }
    let rest = match whole.get_mut(len) {
        Some(whole) => whole,
        None => rest,
    };
    let floats = from_halves(&last).to_array();
    for (to, from) in rest.iter_mut().zip(&floats[..halves.len()]) {
        *to = *from;
    }
}
