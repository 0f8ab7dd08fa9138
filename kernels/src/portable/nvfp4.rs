//! The product of NVFP4, whose weights become floats, for a group's scale has no integer that would
//! fit: once for a few rows or inputs.

use core::marker::PhantomData;

use wide::f32x4;

use super::f32x4::{LANES, sum};
use super::float::{PortableF32, StoredFloat};
use super::product::PortableProduct;
use crate::quant::{Block, BlockNVFP4, FP4_VALUES, NVFP4_SCALES};

/// Weights that share a scale.
const GROUP: usize = 16;

/// Registers of a group.
const FOURS: usize = GROUP / LANES;

/// Weights of a block.
const BLOCK: usize = BlockNVFP4::ELEMENTS;

/// How quants become what they stand for.
pub(crate) trait LookedUp {
    /// A group's, before it meets its scale: of eight bytes the low halves, then the high ones.
    fn values(quants: [u8; GROUP / 2]) -> [f32x4; FOURS];
}

/// One by one.
pub(super) struct InTable;

impl LookedUp for InTable {
    #[inline(always)]
    fn values(quants: [u8; GROUP / 2]) -> [f32x4; FOURS] {
        static VALUES: [f32; 16] = {
            let mut values = [0.0; 16];
            let mut at = 0;
            while at < 16 {
                values[at] = FP4_VALUES[at] as f32;
                at += 1;
            }
            values
        };
        let mut fours = [f32x4::ZERO; FOURS];
        for at in 0..FOURS {
            let four: [u8; LANES] = quants.as_chunks().0[at % 2];
            let value = |byte: u8| VALUES[usize::from((byte >> (at / 2 * 4)) & 15)];
            fours[at] = f32x4::new(four.map(value));
        }
        fours
    }
}

/// Σ of products in two registers of partial sums.
pub(crate) struct PortableNvfp4<L>(PhantomData<L>);

impl<L: LookedUp> PortableProduct for PortableNvfp4<L> {
    type Weights = BlockNVFP4;
    type Inputs = [PortableF32; BLOCK];
    const ELEMENTS: [usize; 2] = [BLOCK; 2];
    const ROWS: [usize; 2] = [4, 1];

    #[inline(always)]
    fn dot<const R: usize, const N: usize>(
        weights: [&[BlockNVFP4]; R],
        inputs: [&[[PortableF32; BLOCK]]; N],
    ) -> [[f32; N]; R] {
        let mut sums = [[[f32x4::ZERO; 2]; N]; R];
        let len = weights.first().map_or(0, |row| row.len());
        let weights = weights.map(|row| &row[..len]);
        let inputs = inputs.map(|row| &row[..len]);
        for at in 0..len {
            for group in 0..BLOCK / GROUP {
                let mut xs = [[f32x4::ZERO; FOURS]; N];
                for n in 0..N {
                    let x: &[[PortableF32; LANES]] = inputs[n][at].as_chunks().0;
                    for four in 0..FOURS {
                        xs[n][four] = PortableF32::four(&x[group * FOURS + four]);
                    }
                }
                for r in 0..R {
                    let block = &weights[r][at];
                    let scale = f32x4::splat(NVFP4_SCALES[usize::from(block.scales[group])]);
                    let values = L::values(block.quants.as_chunks().0[group]);
                    for four in 0..FOURS {
                        let weights = values[four] * scale;
                        for n in 0..N {
                            let sum = &mut sums[r][n][four % 2];
                            *sum = weights.mul_add(xs[n][four], *sum);
                        }
                    }
                }
            }
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
