//! GEMV: eight rows against few inputs, read once and in the order of memory.
//!
//! What a core can fetch while it computes depends on how it asks: one stretch of memory after
//! the other comes as fast as the bus allows, eight rows side by side do not. So a row's blocks
//! are walked one after the other, and the integers that their products come to are kept in the
//! nearest cache, until the floats of all eight rows are added up side by side, block after
//! block: in the same order as panels do it. An input is put in the order in which a type's
//! weights are read beforehand, once for many rows.

use core::arch::x86_64::*;
use core::mem::MaybeUninit;

use super::packed::{Avx2Product, EightRows, write};
use super::register::{Lanes8, ROWS, load_half, store, transpose};
use crate::generic::{Gemv, Strip};

/// Columns of a row that are walked before the next row's: what is kept of them stays in the
/// nearest cache.
const RUN: usize = 8192;

/// Blocks whose integers are summed together, one to a lane.
pub(super) const BLOCKS: usize = 8;

/// What [`Avx2Product::prepare`] makes of a run of an input. Not cleared beforehand: that would
/// take as long as a good part of the walk.
pub(super) struct PreparedRun<P> {
    parts: [MaybeUninit<P>; RUN / 256],
    /// Where the run stands that has been prepared.
    of: *const u8,
}

impl<K: Avx2Product> Gemv for EightRows<K> {
    const ROWS: usize = ROWS;
    type Prepared = PreparedRun<K::Prepared>;

    #[inline(always)]
    fn prepared() -> Self::Prepared {
        PreparedRun {
            parts: [const { MaybeUninit::uninit() }; RUN / 256],
            of: core::ptr::null(),
        }
    }

    #[inline(always)]
    unsafe fn gemv(
        rows: &Strip<'_>,
        x: &[K::Inputs],
        prepared: &mut Self::Prepared,
        out: *mut f32,
    ) {
        // SAFETY: the caller's promise, handed on.
        unsafe { write(out, rows.left(), eight::<K>(rows, x, prepared)) }
    }
}

/// The results of eight rows with an input.
///
/// # Safety
///
/// Each row has as many blocks as the input.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn eight<K: Avx2Product>(
    strip: &Strip<'_>,
    x: &[K::Inputs],
    prepared: &mut PreparedRun<K::Prepared>,
) -> __m256 {
    let (rows, ahead): ([*const u8; ROWS], _) = (strip.rows(0), strip.call.tuning.ahead);
    // Not cleared beforehand either.
    let mut kept = [const { [const { MaybeUninit::<Lanes8<i32>>::uninit() }; ROWS] }; RUN / 256];
    let mut sum = _mm256_setzero_ps();
    for (run, x) in x.chunks(RUN / K::ELEMENTS).enumerate() {
        let start = run * (RUN / K::ELEMENTS);
        let (parts, per_part) = (x.len().div_ceil(256 / K::ELEMENTS), 256 / K::ELEMENTS);
        if prepared.of != x.as_ptr().cast() {
            for (part, x) in prepared.parts.iter_mut().zip(x.chunks(per_part)) {
                // SAFETY: this function has the instructions.
                part.write(unsafe { K::prepare(x) });
            }
            prepared.of = x.as_ptr().cast();
        }
        // SAFETY: so many parts of this run have been prepared, now or for the rows before.
        let prepared = unsafe {
            core::slice::from_raw_parts(prepared.parts.as_ptr().cast::<K::Prepared>(), parts)
        };
        for row in 0..ROWS {
            for (eight, x) in x.chunks(BLOCKS).enumerate() {
                let at = K::bytes(start + eight * BLOCKS);
                let at = rows[row].wrapping_add(at);
                fetch(at.wrapping_add(ahead), K::bytes(BLOCKS));
                // SAFETY: so many blocks of this row are there.
                let sums = unsafe { K::sums(at, x, &prepared[eight * BLOCKS / per_part..]) };
                let mut lanes = Lanes8([0; ROWS]);
                store(&mut lanes, sums);
                kept[eight][row].write(lanes);
            }
        }
        for (eight, x) in x.chunks(BLOCKS).enumerate() {
            let kept = &kept[eight];
            let half = |which: usize| {
                transpose(|row| {
                    // SAFETY: written above for all rows.
                    let lanes = unsafe { kept[row].assume_init_ref() };
                    load_half(&lanes.0.as_chunks::<4>().0[which])
                })
            };
            let products = [half(0), half(1)];
            for (block, x) in x.iter().enumerate() {
                let at = K::bytes(start + eight * BLOCKS + block);
                let rows = rows.map(|row| row.wrapping_add(at));
                let products = products[block / 4][block % 4];
                // SAFETY: the caller promises these blocks.
                sum = unsafe { K::add(sum, products, &rows, x) };
            }
        }
    }
    sum
}

/// Brings nearer what a walk through rows will read: so many bytes, a number known beforehand, for
/// what is left of it is no loop. What follows a row is the next one, as far as rows follow each
/// other.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn fetch(at: *const u8, len: usize) {
    super::packed::fetch::<_MM_HINT_T0>(at, len);
}
