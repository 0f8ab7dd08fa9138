//! Tiles in plain Rust, by Intel's description of the instructions, step by step: what the others are
//! held to. What the CPU would refuse ends the test.

use super::unit::{TILE_ROW_LEN, TILE_ROWS, TILES, TileShapes, TileUnit};

type SoftwareTile = [[u8; TILE_ROW_LEN]; TILE_ROWS];

/// Eight tiles and their shapes.
pub(super) struct Software {
    shapes: TileShapes,
    tiles: [SoftwareTile; TILES],
}

impl Software {
    /// Rows, and bytes of each.
    fn shape(&self, tile: usize) -> (usize, usize) {
        let row_len = usize::from(self.shapes.row_lens[tile]);
        (usize::from(self.shapes.rows[tile]), row_len)
    }

    /// Adds to each element of C what `dot` makes of a row of A and what of B's rows belongs to the
    /// element's column.
    fn multiply(
        &mut self,
        (c, a, b): (usize, usize, usize),
        dot: impl Fn([u8; 4], &[[[u8; 4]; 2]]) -> [u8; 4],
    ) {
        let ((rows, row_len), (depth, _)) = (self.shape(c), self.shape(b));
        assert!(c != a && a != b && b != c);
        assert_eq!(self.shape(a), (rows, 4 * depth));
        assert_eq!(self.shape(b).1, row_len);
        let mut product = [[0; TILE_ROW_LEN]; TILE_ROWS];
        for row in 0..rows {
            let element = |tile: usize, row: usize, at: usize| {
                let (elements, _) = self.tiles[tile][row].as_chunks::<4>();
                elements[at]
            };
            for column in 0..row_len / 4 {
                let mut pairs = [[[0; 4]; 2]; TILE_ROWS];
                for (k, pair) in pairs[..depth].iter_mut().enumerate() {
                    *pair = [element(a, row, k), element(b, k, column)];
                }
                let sum = dot(element(c, row, column), &pairs[..depth]);
                product[row][4 * column..][..4].copy_from_slice(&sum);
            }
        }
        self.tiles[c] = product;
    }

    /// The same of bytes, in 32 bits.
    fn multiply_bytes(&mut self, tiles: (usize, usize, usize), of_b: impl Fn(u8) -> i32) {
        self.multiply(tiles, |sum, pairs| {
            let sum = i32::from_le_bytes(sum);
            let sum = pairs.iter().fold(sum, |sum, [a, b]| {
                let products = a.iter().zip(b);
                let products = products.map(|(a, &b)| i32::from(a.cast_signed()) * of_b(b));
                products.fold(sum, i32::wrapping_add)
            });
            sum.to_le_bytes()
        });
    }
}

impl TileUnit for Software {
    type Configured = ();

    unsafe fn configure(_: &TileShapes) {}

    unsafe fn tiles(shapes: &TileShapes) -> Software {
        // What is not known is better not zero.
        let tiles = [[[0xa5; TILE_ROW_LEN]; TILE_ROWS]; TILES];
        Software {
            shapes: *shapes,
            tiles,
        }
    }

    unsafe fn tilezero<const TILE: usize>(&mut self) {
        self.tiles[TILE] = [[0; TILE_ROW_LEN]; TILE_ROWS];
    }

    unsafe fn tileloadd<const TILE: usize>(&mut self, from: *const u8, stride: isize) {
        let (rows, row_len) = self.shape(TILE);
        let mut tile = [[0; TILE_ROW_LEN]; TILE_ROWS];
        for (row, to) in tile[..rows].iter_mut().enumerate() {
            let from = from.wrapping_offset(row as isize * stride);
            // SAFETY: the caller's promise.
            unsafe { from.copy_to_nonoverlapping(to.as_mut_ptr(), row_len) };
        }
        self.tiles[TILE] = tile;
    }

    unsafe fn tilestored<const TILE: usize>(&self, to: *mut u8, stride: isize) {
        let (rows, row_len) = self.shape(TILE);
        for (row, from) in self.tiles[TILE][..rows].iter().enumerate() {
            let to = to.wrapping_offset(row as isize * stride);
            // SAFETY: the caller's promise.
            unsafe { to.copy_from_nonoverlapping(from.as_ptr(), row_len) };
        }
    }

    unsafe fn tdpbssd<const C: usize, const A: usize, const B: usize>(&mut self) {
        self.multiply_bytes((C, A, B), |b| i32::from(b.cast_signed()));
    }

    unsafe fn tdpbsud<const C: usize, const A: usize, const B: usize>(&mut self) {
        self.multiply_bytes((C, A, B), i32::from);
    }

    unsafe fn tdpbf16ps<const C: usize, const A: usize, const B: usize>(&mut self) {
        self.multiply((C, A, B), |sum, pairs| {
            let (mut even, mut odd) = (0.0, 0.0);
            for &[a, b] in pairs {
                let ([a0, a1], [b0, b1]) = (two(a), two(b));
                even = flushed(a0.mul_add(b0, even));
                odd = flushed(a1.mul_add(b1, odd));
            }
            let sum = flushed(f32::from_le_bytes(sum)) + flushed(even + odd);
            flushed(sum).to_le_bytes()
        });
    }
}

/// A pair of bf16, the upper halves of floats.
fn two([a, b, c, d]: [u8; 4]) -> [f32; 2] {
    [[0, 0, a, b], [0, 0, c, d]].map(|bytes| flushed(f32::from_le_bytes(bytes)))
}

/// Zero, with its sign, in place of what is not normal.
fn flushed(x: f32) -> f32 {
    match x.is_subnormal() {
        true => 0f32.copysign(x),
        false => x,
    }
}
