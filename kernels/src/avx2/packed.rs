//! Packed GEMM: sixteen rows against many inputs.
//!
//! Rows are unpacked into [`Panel8`]s, in which four columns of eight rows stand in a register;
//! what is read of an input, four columns of it in every lane, then serves eight rows, and the
//! results stand side by side.

use core::arch::x86_64::*;
use core::marker::PhantomData;

use super::register::{Lanes8, ROWS, lanes_below, load_floats};
use crate::generic::{Gemm, Operands, Strip, Tiles, products};

/// Columns of a panel.
pub(super) const COLUMNS: usize = 256;

/// Panels side by side: what is read of an input serves all of them.
pub(super) const SIDES: usize = 2;

/// Inputs of a tile: with so many panels, as many sums as half of the registers hold.
const INPUTS: usize = 4;

/// Eight rows of up to 256 columns.
#[repr(C, align(64))]
pub(super) struct Panel8 {
    /// Weights as bytes without sign, of four neighbouring columns, row by row:
    /// `[columns / 4][row][4]`. Or as sixteen-bit integers, of columns 0 and 2 of four, then of
    /// 1 and 3: `[columns / 4][2][row][2]`.
    pub quants: [[u8; 32]; COLUMNS / 2],
    /// Factor of each part of a block, twice in sixteen bits.
    pub scales: [Lanes8<i32>; 16],
    /// What is taken off for the sums of the activations of two neighbouring parts, as a pair.
    pub mins: [Lanes8<i32>; 8],
    /// Factors of the blocks.
    pub factors: [Lanes8<f32>; 8],
    /// What is added to the weights of the blocks.
    pub offsets: [Lanes8<f32>; 8],
    /// Factor of `mins`.
    pub min_factor: Lanes8<f32>,
}

impl Panel8 {
    pub const EMPTY: Panel8 = Panel8 {
        quants: [[0; 32]; COLUMNS / 2],
        scales: [Lanes8([0; ROWS]); 16],
        mins: [Lanes8([0; ROWS]); 8],
        factors: [Lanes8([0.0; ROWS]); 8],
        offsets: [Lanes8([0.0; ROWS]); 8],
        min_factor: Lanes8([0.0; ROWS]),
    };

    /// Factors and offsets of a block of each row.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub fn factors_of(&self, block: usize) -> (__m256, __m256) {
        (
            load_floats(&self.factors[block]),
            load_floats(&self.offsets[block]),
        )
    }
}

/// Where eight rows' blocks stand. Fewer rows are filled up with the last one, whose further
/// results are dropped.
pub(super) type Addresses8 = [*const u8; ROWS];

/// How bytes without sign are multiplied with signed ones.
pub(super) trait DotBytes {
    /// Whether four products are added to a sum of 32 bits at once.
    const FOURS: bool;
}

/// By AVX2: two products add up in sixteen bits.
pub(super) struct Maddubs;

/// By AVX-VNNI. Its functions run only where the CPU has that.
pub(super) struct Vnni;

impl DotBytes for Maddubs {
    const FOURS: bool = false;
}

impl DotBytes for Vnni {
    const FOURS: bool = true;
}

/// The arithmetic of a type of weights.
///
/// # Safety
///
/// Of all functions: the CPU has this table's instructions.
pub(super) trait Avx2Product {
    /// A block of a weight row, of alignment 1 and without invalid bytes.
    type Weights;
    /// A block of an input row, likewise.
    type Inputs;
    /// Activations in a block, and weights of one in what is walked at a time.
    const ELEMENTS: usize;
    /// Weights in a block.
    const WEIGHTS: usize = Self::ELEMENTS;

    /// Bytes of so many times [`ELEMENTS`](Self::ELEMENTS) weights, whole blocks; of others, of those
    /// before the block in which they end.
    #[inline(always)]
    fn bytes(count: usize) -> usize {
        count * Self::ELEMENTS / Self::WEIGHTS * size_of::<Self::Weights>()
    }

    /// Fills a panel from so many times [`ELEMENTS`](Self::ELEMENTS) weights of each row, which are there.
    unsafe fn unpack(rows: &Addresses8, blocks: usize, panel: &mut Panel8);

    /// What [`Avx2Product::sums`] wants to know of 256 columns of an input beside its blocks.
    type Prepared;

    /// Works it out; fewer blocks end an input.
    unsafe fn prepare(x: &[Self::Inputs]) -> Self::Prepared;

    /// The sums of the products of up to eight blocks of a row, which are there, with as many of
    /// an input: one to a lane.
    unsafe fn sums(row: *const u8, x: &[Self::Inputs], prepared: &[Self::Prepared]) -> __m256i;

    /// Adds what a block of each row, which is there, comes to, given the sums of its products.
    unsafe fn add(sum: __m256, products: __m256i, rows: &Addresses8, x: &Self::Inputs) -> __m256;

    /// Adds the products of panels with `N` inputs to their sums.
    unsafe fn tile<const N: usize>(
        panels: &[Panel8; SIDES],
        x: [&[Self::Inputs]; N],
        sums: &mut [[__m256; SIDES]; N],
    );
}

products!("avx2,fma,f16c");

/// Products of a type whose rows stand eight to a register.
pub(super) struct EightRows<K>(PhantomData<K>);

impl<K: Avx2Product> Operands for EightRows<K> {
    type Weights = K::Weights;
    type Inputs = K::Inputs;
    const ELEMENTS: [usize; 2] = [K::WEIGHTS, K::ELEMENTS];
}

impl<K: Avx2Product> Gemm for EightRows<K> {
    const ROWS: usize = SIDES * ROWS;
    const COLUMNS: usize = COLUMNS;
    const INPUTS: usize = INPUTS;
    const PACK_STEPS: usize = SIDES;
    type Panel = [Panel8; SIDES];
    const EMPTY: Self::Panel = [Panel8::EMPTY; SIDES];
    type Sums = [__m256; SIDES];

    #[inline(always)]
    unsafe fn zero() -> Self::Sums {
        // SAFETY: the caller's promise.
        [unsafe { _mm256_setzero_ps() }; SIDES]
    }

    #[inline(always)]
    unsafe fn pack(strip: &Strip<'_>, panel: &mut Self::Panel) {
        let blocks = strip.columns.len() / K::ELEMENTS;
        for (side, panel) in panel.iter_mut().enumerate() {
            strip.fetch::<Self>(side);
            // Without rows it stays as it is, and what comes of it is not written.
            if side * ROWS < strip.left() {
                // SAFETY: the caller's promise.
                unsafe { K::unpack(&strip.rows(side * ROWS), blocks, panel) };
            }
        }
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

    #[inline(always)]
    unsafe fn tile<const N: usize>(
        panel: &Self::Panel,
        x: [&[K::Inputs]; N],
        ahead: [*const u8; N],
        sums: &mut [Self::Sums; N],
    ) {
        // SAFETY: the caller's promise, handed on.
        unsafe {
            for ahead in ahead {
                fetch::<_MM_HINT_T0>(ahead, COLUMNS / K::ELEMENTS * size_of::<K::Inputs>());
            }
            K::tile(panel, x, sums);
        }
    }

    #[inline(always)]
    unsafe fn write(sums: &Self::Sums, out: *mut f32, rows: usize) {
        for side in 0..SIDES {
            if side * ROWS < rows {
                let out = out.wrapping_add(side * ROWS);
                // SAFETY: the caller's promise.
                unsafe { write(out, rows - side * ROWS, sums[side]) };
            }
        }
    }
}

/// Writes the results of up to eight rows, as far as there are any.
///
/// # Safety
///
/// These results can be written, at any address.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn write(out: *mut f32, rows: usize, sums: __m256) {
    // SAFETY: the caller's promise; the mask leaves out what is beyond the rows.
    unsafe {
        match rows {
            ROWS.. => _mm256_storeu_ps(out, sums),
            _ => _mm256_maskstore_ps(out, lanes_below(rows), sums),
        }
    }
}

/// Brings nearer some bytes, of a number known beforehand: what is left of it is no loop.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn fetch<const HINT: i32>(start: *const u8, len: usize) {
    for line in 0..len.div_ceil(64) {
        // SAFETY: a hint, which any address may be given to (older compilers want the block).
        #[allow(unused_unsafe)]
        unsafe {
            _mm_prefetch::<HINT>(start.wrapping_add(64 * line).cast());
        }
    }
}
