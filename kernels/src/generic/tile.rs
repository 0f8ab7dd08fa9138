//! A few rows times a few registers of columns.

use super::{F32xN, fetch};

/// How numbers are kept in memory.
pub(crate) trait Element {
    /// Bytes of one.
    const LEN: usize;
    /// A register's worth.
    ///
    /// # Safety
    ///
    /// As for [`F32xN`].
    unsafe fn load<V: F32xN>(from: *const u8) -> V;
}

pub(crate) struct F32;
pub(crate) struct F16;
pub(crate) struct I8;

impl Element for F32 {
    const LEN: usize = 4;
    #[inline(always)]
    unsafe fn load<V: F32xN>(from: *const u8) -> V {
        // SAFETY: the caller's promise, handed on.
        unsafe { V::load(from.cast()) }
    }
}

impl Element for F16 {
    const LEN: usize = 2;
    #[inline(always)]
    unsafe fn load<V: F32xN>(from: *const u8) -> V {
        // SAFETY: the caller's promise, handed on.
        unsafe { V::load_halves(from) }
    }
}

impl Element for I8 {
    const LEN: usize = 1;
    #[inline(always)]
    unsafe fn load<V: F32xN>(from: *const u8) -> V {
        // SAFETY: the caller's promise, handed on.
        unsafe { V::load_bytes(from) }
    }
}

/// `sums[m][r] += Σ_k a[m][k] · b[k][r]` over `depth` steps, each sum one chain of fused
/// multiplications and additions: the same whatever M and R are. Meanwhile `ahead`, which lies
/// as `b` does, is brought nearer.
///
/// # Safety
///
/// As for [`tile_of`].
#[inline(always)]
pub(crate) unsafe fn tile<V: F32xN, E: Element, const M: usize, const R: usize>(
    sums: &mut [[V; R]; M],
    (a, a_stride): (*const u8, usize),
    b: (*const u8, usize),
    ahead: *const u8,
    depth: usize,
) {
    // SAFETY: the caller's promise, handed on.
    unsafe { tile_of::<V, E, M, R, 1>(sums, ([a], a_stride), b, ahead, depth) }
}

/// The same where each Gth of the columns has an `a` of its own.
///
/// # Safety
///
/// As for [`F32xN`]: of each `a`, M rows `a_stride` bytes apart hold `depth` floats; of `b`,
/// `depth` rows `b_stride` bytes apart hold R registers' worth of `E`.
#[inline(always)]
pub(crate) unsafe fn tile_of<
    V: F32xN,
    E: Element,
    const M: usize,
    const R: usize,
    const G: usize,
>(
    sums: &mut [[V; R]; M],
    (a, a_stride): ([*const u8; G], usize),
    (b, b_stride): (*const u8, usize),
    ahead: *const u8,
    depth: usize,
) {
    let mut local = *sums;
    for k in 0..depth {
        // SAFETY: the caller's promise.
        unsafe {
            let row = b.add(k * b_stride);
            let mut columns = [V::splat(0.0); R];
            for r in 0..R {
                columns[r] = E::load(row.add(r * V::LANES * E::LEN));
            }
            for line in 0..(R * V::LANES * E::LEN).div_ceil(64) {
                fetch(ahead.wrapping_add(k * b_stride + line * 64));
            }
            for m in 0..M {
                for g in 0..G {
                    let factor = a[g].add(m * a_stride + k * 4).cast::<f32>();
                    let factor = V::splat(factor.read_unaligned());
                    for r in g * R / G..(g + 1) * R / G {
                        local[m][r] = factor.fma(columns[r], local[m][r]);
                    }
                }
            }
        }
    }
    *sums = local;
}
