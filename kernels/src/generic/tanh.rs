//! The hyperbolic tangent.

use super::F32xN;

/// Of each element of a slice, in place; a ragged end is filled with zeros. A register has N lanes.
///
/// # Safety
///
/// The CPU has the register's instructions.
#[inline(always)]
pub(crate) unsafe fn tanh<V: F32xN, const N: usize>(x: &mut [f32]) {
    const { assert!(V::LANES == N) }
    let (chunks, tail) = x.as_chunks_mut::<N>();
    for x in chunks {
        // SAFETY: the array is a register's floats; the caller vouches for the instructions.
        unsafe { of(V::load(x.as_ptr())).store(x.as_mut_ptr()) };
    }
    let mut padded = [0.0; N];
    padded[..tail.len()].copy_from_slice(tail);
    // SAFETY: as above.
    unsafe { of(V::load(padded.as_ptr())).store(padded.as_mut_ptr()) };
    tail.copy_from_slice(&padded[..tail.len()]);
}

/// With e = exp(−2|x|) that is (1 − e) / (1 + e) and x's sign, where that does not cancel; below,
/// x and a polynomial in x², which is wrong by 4·10⁻⁸ of it at most.
///
/// # Safety
///
/// The CPU has the register's instructions.
#[inline(always)]
unsafe fn of<V: F32xN>(x: V) -> V {
    /// −|x| from where on the polynomial holds.
    const NEAR: f32 = -0.55;
    const SERIES: [f32; 4] = [-0.333_329_47, 0.133_207_25, -0.052_671_81, 0.016_437_57];
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        let size = x.minus_abs();
        let small = size.add(size).exp_below_one();
        let one = V::splat(1.0);
        let far = one.sub(small).div(one.add(small)).with_sign(x);
        let square = x.mul(x);
        let mut series = V::splat(SERIES[3]);
        for factor in [SERIES[2], SERIES[1], SERIES[0]] {
            series = series.fma(square, V::splat(factor));
        }
        let near = series.mul(square).fma(x, x);
        size.where_less(V::splat(NEAR), far, near)
    }
}
