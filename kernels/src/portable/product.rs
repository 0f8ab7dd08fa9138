//! Rows of weights and rows of inputs, a few of each at a time, as they lie in memory.

use core::marker::PhantomData;

use crate::MatMul;
use crate::generic::{Gemm, Operands, Strip, Tiles, gemm};

/// How rows are multiplied.
pub(crate) trait PortableProduct {
    /// A block of a weight row, of alignment 1 and without invalid bytes.
    type Weights;
    /// A block of an input row, likewise.
    type Inputs;
    /// Weights in the one and activations in the other.
    const ELEMENTS: [usize; 2];
    /// Rows at a time against one input, and against four: 8, 4, 2 or 1.
    const ROWS: [usize; 2];

    /// The sum of the products of each pair: the same bits whatever R and N are.
    fn dot<const R: usize, const N: usize>(
        weights: [&[Self::Weights]; R],
        inputs: [&[Self::Inputs]; N],
    ) -> [[f32; N]; R];
}

/// The product of a type. Nothing is packed, so that few inputs need no way of their own.
///
/// # Safety
///
/// As for [`crate::MatMulFn`], rows being whole blocks.
pub(crate) unsafe fn matmul<P: PortableProduct>(call: &MatMul) {
    // SAFETY: the caller's promise, handed on; the set is what any CPU has.
    unsafe { gemm::<InPlace<P>>(call) }
}

/// Rows that stay in the nearest cache while the inputs pass.
const NEAR: usize = 16;

/// Inputs at a time.
const INPUTS: usize = 4;

/// Products of a type whose rows are multiplied where they stand: nothing is packed.
struct InPlace<P>(PhantomData<P>);

/// Some whole rows: this table's panel.
struct RowsInPlace {
    at: [*const u8; NEAR],
    count: usize,
    /// Blocks of a row.
    len: usize,
}

impl RowsInPlace {
    /// Their results with N inputs, R rows at a time. Where fewer are left, the last one stands in
    /// for those that are not there: a form for a row alone would double the code of each type.
    ///
    /// # Safety
    ///
    /// The rows are there.
    #[inline(always)]
    unsafe fn results<P: PortableProduct, const R: usize, const N: usize>(
        &self,
        inputs: [&[P::Inputs]; N],
        results: &mut [[f32; NEAR]; N],
    ) {
        for first in (0..self.count).step_by(R) {
            let row = |r: usize| (first + r).min(self.count - 1);
            let mut weights: [&[P::Weights]; R] = [&[]; R];
            for r in 0..R {
                // SAFETY: the caller's promise; blocks have alignment 1.
                weights[r] =
                    unsafe { core::slice::from_raw_parts(self.at[row(r)].cast(), self.len) };
            }
            let sums = P::dot(weights, inputs);
            for r in 0..R {
                for n in 0..N {
                    results[n][row(r)] = sums[r][n];
                }
            }
        }
    }
}

impl<P: PortableProduct> Operands for InPlace<P> {
    type Weights = P::Weights;
    type Inputs = P::Inputs;
    const ELEMENTS: [usize; 2] = P::ELEMENTS;
}

impl<P: PortableProduct> Gemm for InPlace<P> {
    const ROWS: usize = NEAR;
    const COLUMNS: usize = usize::MAX;
    const INPUTS: usize = INPUTS;
    type Panel = RowsInPlace;
    const EMPTY: RowsInPlace = RowsInPlace {
        at: [core::ptr::null(); NEAR],
        count: 0,
        len: 0,
    };
    type Sums = [f32; NEAR];

    #[inline(always)]
    unsafe fn zero() -> Self::Sums {
        [0.0; NEAR]
    }

    #[inline(always)]
    unsafe fn pack(strip: &Strip<'_>, panel: &mut RowsInPlace) {
        *panel = RowsInPlace {
            at: strip.rows(0),
            count: strip.left().min(NEAR),
            len: strip.columns.len() / P::ELEMENTS[0],
        };
    }

    #[inline(always)]
    unsafe fn step(tiles: &mut Tiles<'_, Self>) {
        // SAFETY: so many inputs are left.
        unsafe {
            match tiles.left() {
                INPUTS.. => tiles.tile::<INPUTS>(),
                _ => tiles.tile::<1>(),
            }
        }
    }

    /// A panel holds whole rows: what there is of sums is all of them.
    #[inline(always)]
    unsafe fn tile<const N: usize>(
        panel: &RowsInPlace,
        x: [&[P::Inputs]; N],
        _: [*const u8; N],
        sums: &mut [Self::Sums; N],
    ) {
        // SAFETY: the caller's promise, handed on.
        unsafe {
            match const { if N == 1 { P::ROWS[0] } else { P::ROWS[1] } } {
                8 => panel.results::<P, 8, N>(x, sums),
                4 => panel.results::<P, 4, N>(x, sums),
                2 => panel.results::<P, 2, N>(x, sums),
                _ => panel.results::<P, 1, N>(x, sums),
            }
        }
    }

    #[inline(always)]
    unsafe fn write(sums: &Self::Sums, out: *mut f32, rows: usize) {
        for (row, sum) in sums.iter().take(rows).enumerate() {
            // SAFETY: the caller's promise; the write wants no alignment.
            unsafe { out.wrapping_add(row).write_unaligned(*sum) };
        }
    }
}
