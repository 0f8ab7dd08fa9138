//! The tile instructions, as products see them.

/// Tiles of a thread.
pub(super) const TILES: usize = 8;

/// Rows of a tile.
pub(super) const TILE_ROWS: usize = 16;

/// Bytes of a tile's row.
pub(super) const TILE_ROW_LEN: usize = 64;

/// The shapes of a thread's tiles, as `ldtilecfg` reads them: the first palette.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct TileShapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// Bytes of a row.
    pub row_lens: [u16; 16],
    pub rows: [u8; 16],
}

const _: () = assert!(size_of::<TileShapes>() == 64);

impl TileShapes {
    /// Sixteen rows each, of so many bytes.
    pub const fn new(lens: [u16; TILES]) -> TileShapes {
        let (mut row_lens, mut rows) = ([0; 16], [0; 16]);
        let mut tile = 0;
        while tile < TILES {
            assert!(
                lens[tile] > 0
                    && lens[tile] as usize <= TILE_ROW_LEN
                    && lens[tile].is_multiple_of(4)
            );
            row_lens[tile] = lens[tile];
            rows[tile] = TILE_ROWS as u8;
            tile += 1;
        }
        TileShapes {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_lens,
            rows,
        }
    }

    /// All as large as they can be.
    pub const WHOLE: TileShapes = TileShapes::new([TILE_ROW_LEN as u16; TILES]);
}

/// The tiles of a thread, and what can be done with them. The methods have their instructions'
/// names, tiles are numbered, and a product's are (C, A, B): C += A · B, where a row of B holds for
/// each column of C the four bytes (of bf16, the two numbers) that meet those of a row of A.
///
/// # Safety
///
/// Of all functions: the CPU has the instructions; of those that do something with tiles, the thread
/// has [configured](TileUnit::configure) them, and they fit each other.
pub(super) trait TileUnit {
    /// Tiles that can be used, until it is dropped.
    type Configured;

    /// Gives the thread's tiles these shapes. A product does so by itself, at a cost that no prompt
    /// notices: no thread can meet a tile instruction unprepared, and none is left with tiles that
    /// the system would have to save.
    unsafe fn configure(shapes: &TileShapes) -> Self::Configured;

    /// The tiles of this thread, when it has given them these shapes; what they hold is not known.
    unsafe fn tiles(shapes: &TileShapes) -> Self;

    /// Zeros.
    unsafe fn tilezero<const TILE: usize>(&mut self);

    /// Reads a tile, whose rows stand `stride` bytes apart.
    unsafe fn tileloadd<const TILE: usize>(&mut self, from: *const u8, stride: isize);

    /// Writes a tile.
    unsafe fn tilestored<const TILE: usize>(&self, to: *mut u8, stride: isize);

    /// Adds products of signed bytes.
    unsafe fn tdpbssd<const C: usize, const A: usize, const B: usize>(&mut self);

    /// Adds products of signed bytes of A with bytes without a sign of B.
    unsafe fn tdpbsud<const C: usize, const A: usize, const B: usize>(&mut self);

    /// Adds products of bf16: those of each row's first numbers of a pair, by rows of B, and those
    /// of the second ones are two chains of fused multiplications and additions, whose sum is added
    /// to C. Whatever is too small to be normal counts as zero.
    unsafe fn tdpbf16ps<const C: usize, const A: usize, const B: usize>(&mut self);
}
