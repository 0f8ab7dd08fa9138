//! Packed GEMM: thirty-two rows against many inputs.

use core::arch::x86_64::*;
use core::marker::PhantomData;

use super::gemv::RowGroup;
use super::register::{Lanes16, ROWS};
use crate::generic::{Gemm, Operands, Strip, Tiles, products};

/// Columns of a panel.
pub(crate) const COLUMNS: usize = 256;

/// Panels side by side: what is read of an input serves all of them.
pub(crate) const WIDTH: usize = 2;

/// Inputs of a tile: with so many panels, as many independent sums as hide the latency of one, and
/// registers for them and for what they add up to.
const INPUTS: usize = 6;

/// Sixteen rows of up to 256 columns.
#[repr(C, align(64))]
pub(crate) struct Panel16 {
    /// Of four neighbouring columns, row by row: `[columns / 4][row][4]`, without sign.
    pub quants: [[u8; 64]; COLUMNS / 4],
    /// Factor of each part of a block, as the type has it.
    pub scales: [Lanes16<i32>; 16],
    /// What is taken off for the sums of activations of two neighbouring parts, as a pair.
    pub mins: [Lanes16<i32>; 8],
    /// Factors of the blocks.
    pub factors: [Lanes16<f32>; 8],
    /// What is added to the weights of the blocks.
    pub offsets: [Lanes16<f32>; 8],
    /// Factor of `mins`.
    pub min_factor: Lanes16<f32>,
}

impl Panel16 {
    const EMPTY: Panel16 = Panel16 {
        quants: [[0; 64]; COLUMNS / 4],
        scales: [Lanes16([0; ROWS]); 16],
        mins: [Lanes16([0; ROWS]); 8],
        factors: [Lanes16([0.0; ROWS]); 8],
        offsets: [Lanes16([0.0; ROWS]); 8],
        min_factor: Lanes16([0.0; ROWS]),
    };
}

/// Where sixteen rows' blocks stand. Fewer rows are filled up with the last one, whose further
/// results are dropped.
pub(crate) type Addresses16 = [*const u8; ROWS];

/// Sums of an input with the rows of panels side by side.
pub(crate) type Sums16 = [__m512; WIDTH];

/// The arithmetic of a type of weights.
///
/// # Safety
///
/// Of all functions: the CPU has this table's instructions, or those of the file.
pub(crate) trait Avx512Product {
    /// A block of a weight row, of alignment 1 and without invalid bytes.
    type Weights;
    /// A block of an input row, likewise.
    type Inputs;
    /// Activations in a block, and weights of one in what is walked at a time.
    const ELEMENTS: usize;
    /// Weights in a block.
    const WEIGHTS: usize = Self::ELEMENTS;

    /// Fills a panel from so many times [`ELEMENTS`](Self::ELEMENTS) weights of each row, which are there.
    unsafe fn unpack(rows: &Addresses16, blocks: usize, panel: &mut Panel16);

    /// Adds the products of panels with `N` inputs to their sums.
    unsafe fn tile<const N: usize>(
        panels: &[Panel16; WIDTH],
        x: [&[Self::Inputs]; N],
        sums: &mut [Sums16; N],
    );

    /// The results of sixteen rows, which are as long, with an input.
    unsafe fn gemv(group: &RowGroup, x: &[Self::Inputs]) -> __m512;
}

products!("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni");

/// Products of a type whose rows stand sixteen to a register.
pub(crate) struct SixteenRows<K>(PhantomData<K>);

impl<K: Avx512Product> Operands for SixteenRows<K> {
    type Weights = K::Weights;
    type Inputs = K::Inputs;
    const ELEMENTS: [usize; 2] = [K::WEIGHTS, K::ELEMENTS];
}

impl<K: Avx512Product> SixteenRows<K> {
    /// Packs the rows of panels side by side, for products by panels of this kind or what is made of
    /// them.
    ///
    /// # Safety
    ///
    /// The strip's columns are there; the CPU has this table's instructions.
    #[inline(always)]
    pub(crate) unsafe fn pack_for<G: Gemm>(strip: &Strip<'_>, panels: &mut [Panel16; WIDTH]) {
        let blocks = strip.columns.len() / K::ELEMENTS;
        for (side, panel) in panels.iter_mut().enumerate() {
            strip.fetch::<G>(side);
            // Without rows it stays as it is, and what comes of it is not written.
            if side * ROWS < strip.left() {
                // SAFETY: the caller's promise.
                unsafe { K::unpack(&strip.rows(side * ROWS), blocks, panel) };
            }
        }
    }
}

impl<K: Avx512Product> Gemm for SixteenRows<K> {
    const ROWS: usize = WIDTH * ROWS;
    const COLUMNS: usize = COLUMNS;
    const INPUTS: usize = INPUTS;
    const PACK_STEPS: usize = WIDTH;
    type Panel = [Panel16; WIDTH];
    const EMPTY: Self::Panel = [Panel16::EMPTY; WIDTH];
    type Sums = Sums16;

    #[inline(always)]
    unsafe fn zero() -> Sums16 {
        // SAFETY: the caller's promise.
        [unsafe { _mm512_setzero_ps() }; WIDTH]
    }

    #[inline(always)]
    unsafe fn pack(strip: &Strip<'_>, panel: &mut Self::Panel) {
        // SAFETY: the caller's promise, handed on.
        unsafe { Self::pack_for::<Self>(strip, panel) }
    }

    #[inline(always)]
    unsafe fn step(tiles: &mut Tiles<'_, Self>) {
        // SAFETY: so many inputs are left.
        unsafe {
            match tiles.left() {
                1 => tiles.tile::<1>(),
                2 | 3 => tiles.fewer_than::<4>(),
                // Two fours, rather than six and what is left of eight.
                4 | 8 => tiles.tile::<4>(),
                5 => tiles.fewer_than::<INPUTS>(),
                _ => tiles.tile::<INPUTS>(),
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<const N: usize>(
        panel: &Self::Panel,
        x: [&[K::Inputs]; N],
        _: [*const u8; N],
        sums: &mut [Sums16; N],
    ) {
        // SAFETY: the caller's promise, handed on.
        unsafe { K::tile(panel, x, sums) }
    }

    #[inline(always)]
    unsafe fn write(sums: &Sums16, out: *mut f32, rows: usize) {
        // SAFETY: the caller's promise.
        unsafe { write(sums, out, rows) }
    }
}

/// Writes the results of rows in several registers, as far as there are any.
///
/// # Safety
///
/// These results can be written, at any address.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) unsafe fn write<const R: usize>(sums: &[__m512; R], out: *mut f32, rows: usize) {
    for r in 0..R {
        if r * ROWS < rows {
            let mask = match rows - r * ROWS {
                ROWS.. => !0,
                rows => (1 << rows) - 1,
            };
            // SAFETY: the caller's promise; the mask leaves out what is beyond the rows.
            unsafe { _mm512_mask_storeu_ps(out.wrapping_add(r * ROWS), mask, sums[r]) }
        }
    }
}

/// Brings nearer some bytes, of a number known beforehand: what is left of it is no loop. What is
/// not whole cache lines may begin anywhere in one, and end in one more.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) fn fetch<const HINT: i32>(start: *const u8, len: usize) {
    let lines = match len % 64 {
        0 => len / 64,
        rest => (len - rest) / 64 + 1 + usize::from(rest > 1),
    };
    for line in 0..lines {
        // SAFETY: a hint, which any address may be given to (older compilers want the block).
        #[allow(unused_unsafe)]
        unsafe {
            _mm_prefetch::<HINT>(start.wrapping_add(64 * line).cast());
        }
    }
}
