//! GEMV: sixteen rows against few inputs, read once and in the order of memory.
//!
//! What a core can fetch while it computes depends on how it asks. One stretch of memory after
//! the other is foreseen by the hardware and comes as fast as the bus allows; sixteen rows side
//! by side, a block of each, come at half of that. So a row's blocks are walked one after the
//! other, and what the results of sixteen rows need of them is kept in the nearest cache, until
//! the floats of all sixteen are added up side by side, block after block.

use core::arch::x86_64::*;
use core::mem::MaybeUninit;

use super::packed::{Addresses16, Avx512Product, SixteenRows, write};
use super::register::ROWS;
use crate::generic::{Gemv, Strip};

/// Bytes between what is read and what is fetched meanwhile: what a core has on its way when
/// memory is far, and little of the nearest cache.
const AHEAD: usize = 8192;

/// The most that is fetched, beyond that, while floats are added up and nothing is read: memory
/// would rest meanwhile. The walk through the next rows fetches that much less.
const MEANWHILE: usize = 8192;

/// Sixteen rows, and what lies behind them.
pub(super) struct RowGroup {
    /// Where the rows stand. Fewer are filled up with the last one, whose further results are
    /// dropped.
    pub rows: Addresses16,
    /// Where the next group's rows stand.
    pub next: *const u8,
    /// Whether there is but one input: then nothing is read again.
    once: bool,
}

/// Part of a row, and where the walk goes on behind it.
pub(super) struct Stretch {
    /// Its beginning.
    pub at: *const u8,
    len: usize,
    next: *const u8,
    ahead: usize,
    once: bool,
}

impl RowGroup {
    /// The rows that begin a strip.
    #[inline(always)]
    pub fn of(strip: &Strip<'_>) -> Self {
        let rows: Addresses16 = strip.rows(0);
        RowGroup {
            rows,
            next: rows[0].wrapping_add(ROWS * strip.call.weight_stride),
            once: strip.call.inputs_len == 1,
        }
    }

    /// Bytes `from..to` of a row of `len`, when of every row just these are walked.
    #[inline]
    pub fn stretch(&self, row: usize, (from, to): (usize, usize), len: usize) -> Stretch {
        let next = match self.rows.get(row + 1) {
            Some(next) => next.wrapping_add(from),
            None if to < len => self.rows[0].wrapping_add(to),
            None => self.next,
        };
        // Whole rows follow each other; of parts it is known where the next begins, no more.
        let ahead = match to - from == len {
            true => AHEAD + Self::meanwhile(len) / ROWS * (ROWS - row),
            false => AHEAD.min(to - from),
        };
        Stretch {
            at: self.rows[row].wrapping_add(from),
            len: to - from,
            next,
            ahead,
            once: self.once,
        }
    }

    /// Bytes of the next rows of `len` that are fetched while floats are added up.
    fn meanwhile(len: usize) -> usize {
        (ROWS * len / 8).min(MEANWHILE)
    }

    /// Brings nearer some of the next rows of `len`, when bytes `from..to` of these have been
    /// walked: step `index` of `steps` through what has been kept of them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub fn fetch(&self, (index, steps): (usize, usize), (from, to): (usize, usize), len: usize) {
        if to - from == len {
            let share = Self::meanwhile(len) / steps;
            fetch(
                self.next.wrapping_add(AHEAD + index * share),
                share,
                self.once,
            );
        }
    }
}

impl Stretch {
    /// Brings nearer what will be read when the walk is as far behind byte `at` as it fetches
    /// ahead: `len` bytes, past the other caches if they are read once. What the hardware
    /// foresees ends with each page, and comes no nearer than the second cache.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub fn fetch(&self, at: usize, len: usize) {
        let at = at + self.ahead;
        let start = match at < self.len {
            true => self.at.wrapping_add(at),
            false => self.next.wrapping_add(at - self.len),
        };
        fetch(start, len, self.once);
    }
}

/// Brings bytes nearer, past the other caches if they are read `once`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn fetch(start: *const u8, len: usize, once: bool) {
    for line in 0..len.div_ceil(64) {
        let line = start.wrapping_add(64 * line).cast();
        // SAFETY: a hint, which any address may be given to (older compilers want the block).
        #[allow(unused_unsafe)]
        unsafe {
            match once {
                true => _mm_prefetch::<_MM_HINT_NTA>(line),
                false => _mm_prefetch::<_MM_HINT_T0>(line),
            }
        }
    }
}

/// What is kept of `N` blocks or groups of blocks of each row. Not cleared beforehand: that
/// would take as long as a good part of the walk.
pub(super) struct Kept<T, const N: usize>([[MaybeUninit<T>; ROWS]; N]);

impl<T: Copy, const N: usize> Kept<T, N> {
    /// Room for it.
    #[inline]
    pub fn new() -> Self {
        Kept([const { [const { MaybeUninit::uninit() }; ROWS] }; N])
    }

    /// Keeps a row's value of block `at`.
    #[inline]
    pub fn keep(&mut self, at: usize, row: usize, value: T) {
        self.0[at][row].write(value);
    }

    /// All rows' values of block `at`.
    ///
    /// # Safety
    ///
    /// They have been kept.
    #[inline]
    pub unsafe fn all(&self, at: usize) -> &[T; ROWS] {
        // SAFETY: the caller's promise; an array of values has the layout of one of such as may
        // not be there yet.
        unsafe { &*(&raw const self.0[at]).cast() }
    }
}

impl<K: Avx512Product> Gemv for SixteenRows<K> {
    const ROWS: usize = ROWS;
    type Prepared = ();

    #[inline(always)]
    fn prepared() {}

    #[inline(always)]
    unsafe fn gemv(rows: &Strip<'_>, x: &[K::Inputs], _: &mut (), out: *mut f32) {
        // SAFETY: the caller's promise, handed on.
        unsafe { write(&[K::gemv(&RowGroup::of(rows), x)], out, rows.left()) }
    }
}
