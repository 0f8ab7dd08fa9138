//! What tiles could do at best.

use super::instructions::Instructions;
use super::unit::{TILE_ROW_LEN, TILE_ROWS, TileShapes, TileUnit};
use crate::{Isa, PeakBench};

/// Products of tiles that do nothing else; the rest is AVX-512's. The CPU has tiles.
pub fn peak() -> PeakBench {
    PeakBench {
        // SAFETY: as said above.
        int8: |turns| unsafe { int8::<Instructions>(turns) },
        int8_operations: (2 * SUMS * TILE_ROWS * TILE_ROWS * TILE_ROW_LEN) as u64,
        ..PeakBench::of(Isa::Avx512)
    }
}

/// Independent sums: as many as hide the latency of one.
const SUMS: usize = 4;

/// # Safety
///
/// The CPU has the unit's instructions, and the system lets us use them.
unsafe fn int8<T: TileUnit>(turns: u64) -> u64 {
    let factors = core::hint::black_box([[3u8; TILE_ROW_LEN]; TILE_ROWS]);
    let mut sums = [[0u8; TILE_ROW_LEN]; TILE_ROWS];
    // SAFETY: the caller's promise; tiles have as many rows of as many bytes.
    unsafe {
        let _configured = T::configure(&TileShapes::WHOLE);
        let mut tiles = T::tiles(&TileShapes::WHOLE);
        tiles.tilezero::<0>();
        tiles.tilezero::<1>();
        tiles.tilezero::<2>();
        tiles.tilezero::<3>();
        tiles.tileloadd::<4>(factors.as_ptr().cast(), TILE_ROW_LEN as isize);
        tiles.tileloadd::<5>(factors.as_ptr().cast(), TILE_ROW_LEN as isize);
        for _ in 0..turns {
            tiles.tdpbssd::<0, 4, 5>();
            tiles.tdpbssd::<1, 4, 5>();
            tiles.tdpbssd::<2, 4, 5>();
            tiles.tdpbssd::<3, 4, 5>();
        }
        tiles.tilestored::<0>(sums.as_mut_ptr().cast(), TILE_ROW_LEN as isize);
    }
    sums.as_flattened()
        .iter()
        .fold(0, |all, &byte| all ^ u64::from(byte))
}
