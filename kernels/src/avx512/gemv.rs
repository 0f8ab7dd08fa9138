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
use crate::Tuning;
use crate::generic::{Gemv, Strip};

/// Sixteen rows, and what lies behind them.
pub(crate) struct RowGroup {
    /// Where the rows stand. Fewer are filled up with the last one, whose further results are
    /// dropped.
    pub rows: Addresses16,
    /// Where the next group's rows stand.
    pub next: *const u8,
    /// How the CPU likes to be asked for what comes next.
    tuning: Tuning,
}

/// Part of a row, and where the walk goes on behind it.
pub(crate) struct Stretch {
    /// Its beginning.
    pub at: *const u8,
    len: usize,
    next: *const u8,
    ahead: usize,
    past_caches: bool,
}

impl RowGroup {
    /// The rows that begin a strip.
    #[inline(always)]
    pub fn of(strip: &Strip<'_>) -> Self {
        let (rows, call): (Addresses16, _) = (strip.rows(0), strip.call);
        RowGroup {
            rows,
            next: rows[0].wrapping_add(ROWS * call.weight_stride),
            tuning: Tuning {
                // What several inputs meet is read again.
                past_caches: call.tuning.past_caches && call.inputs_len == 1,
                ..call.tuning
            },
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
            true => self.tuning.ahead + self.meanwhile(len) / ROWS * (ROWS - row),
            false => self.tuning.ahead.min(to - from),
        };
        Stretch {
            at: self.rows[row].wrapping_add(from),
            len: to - from,
            next,
            ahead,
            past_caches: self.tuning.past_caches,
        }
    }

    /// Bytes of the next rows of `len` that are fetched while floats are added up: memory would
    /// rest meanwhile. The walk through them fetches that much less.
    #[inline]
    fn meanwhile(&self, len: usize) -> usize {
        (ROWS * len / 8).min(self.tuning.meanwhile)
    }

    /// Brings nearer some of the next rows of `len`, when bytes `from..to` of these have been
    /// walked: step `index` of `steps` through what has been kept of them.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub fn fetch(&self, (index, steps): (usize, usize), (from, to): (usize, usize), len: usize) {
        if to - from == len {
            let share = self.meanwhile(len) / steps;
            fetch(
                self.next.wrapping_add(self.tuning.ahead + index * share),
                share,
                self.tuning.past_caches,
            );
        }
    }
}

impl Stretch {
    /// Brings nearer what will be read when the walk is as far behind byte `at` as it fetches
    /// ahead: `len` bytes, past the other caches where the CPU likes that. What the hardware
    /// foresees ends with each page, and comes no nearer than the second cache.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub fn fetch(&self, at: usize, len: usize) {
        let at = at + self.ahead;
        let start = match at < self.len {
            true => self.at.wrapping_add(at),
            false => self.next.wrapping_add(at - self.len),
        };
        fetch(start, len, self.past_caches);
    }
}

/// Brings bytes nearer, past the other caches or not.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn fetch(start: *const u8, len: usize, past_caches: bool) {
    for line in 0..len.div_ceil(64) {
        let line = start.wrapping_add(64 * line).cast();
        // SAFETY: a hint, which any address may be given to (older compilers want the block).
        #[allow(unused_unsafe)]
        unsafe {
            match past_caches {
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
