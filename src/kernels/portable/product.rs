//! Rows of weights and rows of inputs, a few of each at a time.

use crate::kernels::MatMul;

/// How rows are multiplied.
pub(in crate::kernels) trait Product {
    /// A block of a weight row, of alignment 1 and without invalid bytes.
    type Weights;
    /// A block of an input row, likewise.
    type Inputs;
    /// Weights in the one and activations in the other.
    const ELEMENTS: [usize; 2];
    /// Rows at a time against one input, and against four.
    const ROWS: [usize; 2];

    /// The sum of the products of each pair: the same bits whatever R and N are.
    fn dot<const R: usize, const N: usize>(
        weights: [&[Self::Weights]; R],
        inputs: [&[Self::Inputs]; N],
    ) -> [[f32; N]; R];
}

/// Rows of weights that stay in the nearest cache while the inputs pass.
const NEAR: usize = 16;

/// # Safety
///
/// As for [`crate::kernels::MatMulFn`], a row being `columns` elements in blocks of so many.
pub(in crate::kernels) unsafe fn matmul<P: Product>(call: &MatMul) {
    // SAFETY: the caller's promise, handed on for rows and inputs that there are.
    unsafe {
        for first in (0..call.weight_rows).step_by(NEAR) {
            let end = call.weight_rows.min(first + NEAR);
            let mut index = 0;
            while index + 4 <= call.inputs_len {
                match P::ROWS[1] {
                    8 => rows::<P, 8, 4>(call, first..end, index),
                    2 => rows::<P, 2, 4>(call, first..end, index),
                    _ => rows::<P, 1, 4>(call, first..end, index),
                }
                index += 4;
            }
            for index in index..call.inputs_len {
                match P::ROWS[0] {
                    8 => rows::<P, 8, 1>(call, first..end, index),
                    _ => rows::<P, 4, 1>(call, first..end, index),
                }
            }
        }
    }
}

/// These rows, R at a time while there are as many, against N inputs from `index` on.
#[inline(always)]
unsafe fn rows<P: Product, const R: usize, const N: usize>(
    call: &MatMul,
    rows: core::ops::Range<usize>,
    index: usize,
) {
    let mut row = rows.start;
    // SAFETY: the caller's promise, handed on.
    unsafe {
        while row + R <= rows.end {
            tile::<P, R, N>(call, row, index);
            row += R;
        }
        for row in row..rows.end {
            tile::<P, 1, N>(call, row, index);
        }
    }
}

#[inline(always)]
unsafe fn tile<P: Product, const R: usize, const N: usize>(
    call: &MatMul,
    row: usize,
    index: usize,
) {
    const { assert!(align_of::<P::Weights>() == 1 && align_of::<P::Inputs>() == 1) }
    let [weights_len, input_len] = P::ELEMENTS.map(|elements| call.columns / elements);
    // SAFETY: the caller promises that each row can be read and each result written; blocks
    // have alignment 1, and the write wants none.
    unsafe {
        let weights: [&[P::Weights]; R] = core::array::from_fn(|r| {
            let start = call.weights.add((row + r) * call.weight_stride);
            core::slice::from_raw_parts(start.cast(), weights_len)
        });
        let inputs: [&[P::Inputs]; N] = core::array::from_fn(|n| {
            let start = call.input(index + n);
            core::slice::from_raw_parts(start.cast(), input_len)
        });
        let sums = P::dot(weights, inputs);
        for r in 0..R {
            for n in 0..N {
                let at = call.results(index + n).wrapping_add(row + r);
                at.write_unaligned(sums[r][n]);
            }
        }
    }
}
