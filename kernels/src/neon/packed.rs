//! Packed GEMM and GEMV: four rows of weights side by side.
//!
//! The sums of four rows stand side by side in a register: the integers that a block's products
//! come to, then the floats. Few inputs are multiplied with the rows as they lie in memory; for
//! many, some rows are unpacked into [`Panel4`]s, which then meet all inputs. Both come to the same
//! integers and add them up in the same order.

use super::intrinsics::*;
use core::marker::PhantomData;

use super::register::{
    DotSigned, ROWS, bytes, eights, floats, load, load_floats, mapped, transpose, words,
};
use crate::generic::{Gemm, Gemv, Operands, Strip, Tiles, products};

/// Columns of a panel.
pub(super) const COLUMNS: usize = 256;

/// Panels whose products are computed together.
pub(super) const SIDES: usize = 2;

/// Such pairs side by side: what is read of an input serves all of them.
const PAIRS: usize = 2;

/// Inputs of a tile: with so many panels, their sums are half of the registers.
const INPUTS: usize = 4;

/// Four rows of up to 256 columns.
#[repr(C, align(64))]
pub(super) struct Panel4 {
    /// Weights, as [`Panel4::put`] leaves them: with the dot product four neighbouring columns,
    /// row by row, `[columns / 4][row][4]`, or by products of matrices eight of two rows,
    /// `[columns / 8][pair of rows][row][8]`; otherwise one row after the other.
    pub quants: [[i8; 16]; ROWS * COLUMNS / 16],
    /// Factors of the parts of a block, likewise: with the dot product `[part][row]`, otherwise
    /// `[row][part]`.
    pub scales: [[i32; 4]; ROWS * 4],
    /// What is taken off for the sums of the activations of the parts, likewise.
    pub mins: [[i32; 4]; ROWS * 4],
    /// Factors of the blocks.
    pub factors: [[f32; ROWS]; 8],
    /// What is added to the weights of the blocks; of a single one, the factor of `mins`.
    pub offsets: [[f32; ROWS]; 8],
}

impl Panel4 {
    const EMPTY: Panel4 = Panel4 {
        quants: [[0; 16]; ROWS * COLUMNS / 16],
        scales: [[0; 4]; ROWS * 4],
        mins: [[0; 4]; ROWS * 4],
        factors: [[0.0; ROWS]; 8],
        offsets: [[0.0; ROWS]; 8],
    };

    /// Puts the `at`-th sixteen weights of each row in their place.
    #[inline(always)]
    pub fn put<D: DotSigned>(&mut self, at: usize, rows: [int8x16_t; ROWS]) {
        if D::PAIRS {
            let [a, b, c, d] = rows;
            let (first, second) = (eights(a, b), eights(c, d));
            for k in 0..2 {
                self.quants[4 * at + 2 * k] = bytes(first[k]);
                self.quants[4 * at + 2 * k + 1] = bytes(second[k]);
            }
            return;
        }
        if D::FOURS {
            let fours = transpose(mapped(rows, vreinterpretq_s32_s8));
            for k in 0..4 {
                self.quants[4 * at + k] = bytes(vreinterpretq_s8_s32(fours[k]));
            }
            return;
        }
        for row in 0..ROWS {
            self.quants[row * (COLUMNS / 16) + at] = bytes(rows[row]);
        }
    }

    /// The `at`-th sixteen weights of a row, without the dot product.
    #[inline(always)]
    pub fn sixteen(&self, row: usize, at: usize) -> int8x16_t {
        load(&self.quants[row * (COLUMNS / 16) + at])
    }

    /// Factors and offsets of a block of each row.
    #[inline(always)]
    pub fn factors_of(&self, block: usize) -> (float32x4_t, float32x4_t) {
        (
            load_floats(&self.factors[block]),
            load_floats(&self.offsets[block]),
        )
    }

    /// Keeps them.
    #[inline(always)]
    pub fn put_factors(&mut self, block: usize, (factors, offsets): (float32x4_t, float32x4_t)) {
        self.factors[block] = floats(factors);
        self.offsets[block] = floats(offsets);
    }
}

/// Puts the `four`-th four numbers of each row in the place that [`Panel4::scales`] has for them.
#[inline(always)]
pub(super) fn put_parts<D: DotSigned>(
    parts: &mut [[i32; 4]; ROWS * 4],
    four: usize,
    rows: [int32x4_t; ROWS],
) {
    let rows = match D::FOURS {
        true => transpose(rows),
        false => rows,
    };
    for n in 0..ROWS {
        let at = match D::FOURS {
            true => 4 * four + n,
            false => 4 * n + four,
        };
        parts[at] = words(rows[n]);
    }
}

/// The arithmetic of a type of weights.
pub(super) trait NeonProduct {
    /// A block of a weight row, of alignment 1 and without invalid bytes.
    type Weights: Copy;
    /// A block of an input row, likewise.
    type Inputs;
    /// Activations in a block.
    const ELEMENTS: usize;
    /// Weights in a block: that of so many activations, or several times as many.
    const WEIGHTS: usize = Self::ELEMENTS;

    /// Adds the products of a block of each row with as many blocks of an input to their sums.
    fn add(sum: float32x4_t, rows: [&Self::Weights; ROWS], x: &[Self::Inputs]) -> float32x4_t;

    /// Fills a panel from as many blocks of each row.
    fn unpack(rows: [&[Self::Weights]; ROWS], panel: &mut Panel4);

    /// Adds the products of panels with `N` inputs to their sums, block by block as
    /// [`NeonProduct::add`] does.
    fn tile<const N: usize>(
        panels: &[Panel4; SIDES],
        x: [&[Self::Inputs]; N],
        sums: &mut [[float32x4_t; SIDES]; N],
    );
}

products!();

/// Products of a type whose rows stand four to a register.
pub(super) struct FourRows<K>(PhantomData<K>);

impl<K: NeonProduct> Operands for FourRows<K> {
    type Weights = K::Weights;
    type Inputs = K::Inputs;
    const ELEMENTS: [usize; 2] = [K::WEIGHTS, K::ELEMENTS];
}

/// So many blocks of four rows, from the strip's `skip`-th on.
///
/// # Safety
///
/// The strip has these blocks, of alignment 1.
#[inline(always)]
unsafe fn blocks<'a, K: NeonProduct>(strip: &Strip<'_>, skip: usize) -> [&'a [K::Weights]; ROWS] {
    let at: [*const u8; ROWS] = strip.rows(skip);
    let mut rows: [&[K::Weights]; ROWS] = [&[]; ROWS];
    for row in 0..ROWS {
        let len = strip.columns.len() / K::WEIGHTS;
        // SAFETY: the caller's promise.
        rows[row] = unsafe { core::slice::from_raw_parts(at[row].cast(), len) };
    }
    rows
}

/// Writes the results of four rows, as far as there are any.
///
/// # Safety
///
/// These results can be written, at any address.
#[inline(always)]
unsafe fn write(out: *mut f32, rows: usize, sums: [f32; ROWS]) {
    // SAFETY: the caller's promise.
    unsafe {
        match rows {
            ROWS.. => out.cast::<[f32; ROWS]>().write_unaligned(sums),
            _ => {
                for (row, sum) in sums[..rows].iter().enumerate() {
                    out.wrapping_add(row).write_unaligned(*sum);
                }
            }
        }
    }
}

impl<K: NeonProduct> Gemv for FourRows<K> {
    const ROWS: usize = ROWS;
    type Prepared = ();

    #[inline(always)]
    fn prepared() {}

    #[inline(always)]
    unsafe fn gemv(rows: &Strip<'_>, x: &[K::Inputs], _: &mut (), out: *mut f32) {
        // SAFETY: the caller promises these rows.
        let [a, b, c, d] = unsafe { blocks::<K>(rows, 0) };
        let mut sum = vdupq_n_f32(0.0);
        let x = x.chunks_exact(K::WEIGHTS / K::ELEMENTS);
        for ((((a, b), c), d), x) in a.iter().zip(b).zip(c).zip(d).zip(x) {
            sum = K::add(sum, [a, b, c, d], x);
        }
        // SAFETY: the caller promises these results.
        unsafe { write(out, rows.left(), floats(sum)) };
    }
}

/// Pairs of panels, of which so many have rows: the others are neither unpacked nor multiplied.
pub(super) struct PanelPairs {
    panels: [[Panel4; SIDES]; PAIRS],
    used: usize,
}

impl<K: NeonProduct> Gemm for FourRows<K> {
    const ROWS: usize = PAIRS * SIDES * ROWS;
    const COLUMNS: usize = COLUMNS;
    const INPUTS: usize = INPUTS;
    type Panel = PanelPairs;
    const EMPTY: PanelPairs = PanelPairs {
        panels: [const { [Panel4::EMPTY; SIDES] }; PAIRS],
        used: 0,
    };
    type Sums = [[float32x4_t; SIDES]; PAIRS];

    #[inline(always)]
    unsafe fn zero() -> Self::Sums {
        [[vdupq_n_f32(0.0); SIDES]; PAIRS]
    }

    #[inline(always)]
    unsafe fn pack(strip: &Strip<'_>, panel: &mut PanelPairs) {
        panel.used = strip.left().div_ceil(SIDES * ROWS).min(PAIRS);
        for (side, panel) in panel.panels.as_flattened_mut().iter_mut().enumerate() {
            if side * ROWS < strip.left() {
                // SAFETY: the caller promises these blocks.
                K::unpack(unsafe { blocks::<K>(strip, side * ROWS) }, panel);
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
        panel: &PanelPairs,
        x: [&[K::Inputs]; N],
        _: [*const u8; N],
        sums: &mut [Self::Sums; N],
    ) {
        for pair in 0..panel.used {
            let mut tile = [[vdupq_n_f32(0.0); SIDES]; N];
            for n in 0..N {
                tile[n] = sums[n][pair];
            }
            K::tile(&panel.panels[pair], x, &mut tile);
            for n in 0..N {
                sums[n][pair] = tile[n];
            }
        }
    }

    #[inline(always)]
    unsafe fn write(sums: &Self::Sums, out: *mut f32, rows: usize) {
        for (side, sums) in sums.as_flattened().iter().enumerate() {
            if side * ROWS < rows {
                let out = out.wrapping_add(side * ROWS);
                // SAFETY: the caller promises these results.
                unsafe { write(out, rows - side * ROWS, floats(*sums)) };
            }
        }
    }
}
