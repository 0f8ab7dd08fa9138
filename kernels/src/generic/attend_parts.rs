//! Loops over a page of keys or values, compiled apart: all of their forms in one function take the
//! compiler longer than the rest of this crate.

use super::{Element, F32xN};
use crate::Attend;

/// What [`attend`](super::attend) consists of, each a function of its own that has the register's
/// instructions.
///
/// # Safety
///
/// As for [`attend`](super::attend), the lengths having been checked.
pub(crate) trait AttendParts: F32xN {
    unsafe fn products<E: Element, const M: usize, const R: usize>(
        call: &Attend<'_>,
        n: usize,
        scores: &mut [f32],
    ) -> usize;
    unsafe fn sums<E: Element, const M: usize, const R: usize>(
        call: &Attend<'_>,
        n: usize,
        places: core::ops::Range<usize>,
        all: (&[f32], &[f32]),
        out: &mut [f32],
    ) -> usize;
    unsafe fn sums_in_keys<E: Element, const W: usize>(
        call: &Attend<'_>,
        sizes: (usize, usize, bool),
        all: (&[f32], &[f32]),
        out: &mut [f32],
    );
}

/// Compiles the parts of attention for a register, with its instructions.
macro_rules! attend_parts {
    ($register:ty $(, $instructions:literal)?) => {
        // Each function's promise is its caller's, and the instructions are there.
        impl $crate::generic::AttendParts for $register {
            $(#[target_feature(enable = $instructions)])?
            #[inline(never)]
            unsafe fn products<E: $crate::generic::Element, const M: usize, const R: usize>(
                call: &$crate::Attend<'_>,
                n: usize,
                scores: &mut [f32],
            ) -> usize {
                // SAFETY: as said above.
                unsafe { $crate::generic::attend_products::<Self, E, M, R>(call, n, scores) }
            }
            $(#[target_feature(enable = $instructions)])?
            #[inline(never)]
            unsafe fn sums<E: $crate::generic::Element, const M: usize, const R: usize>(
                call: &$crate::Attend<'_>,
                n: usize,
                places: core::ops::Range<usize>,
                all: (&[f32], &[f32]),
                out: &mut [f32],
            ) -> usize {
                // SAFETY: as said above.
                unsafe { $crate::generic::attend_sums::<Self, E, M, R>(call, n, places, all, out) }
            }
            $(#[target_feature(enable = $instructions)])?
            #[inline(never)]
            unsafe fn sums_in_keys<E: $crate::generic::Element, const W: usize>(
                call: &$crate::Attend<'_>,
                sizes: (usize, usize, bool),
                all: (&[f32], &[f32]),
                out: &mut [f32],
            ) {
                // SAFETY: as said above.
                unsafe { $crate::generic::sums_in_keys::<Self, E, W>(call, sizes, all, out) }
            }
        }
    };
}
pub(crate) use attend_parts;
