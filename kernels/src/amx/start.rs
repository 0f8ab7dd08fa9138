//! Whether this process may use tiles, found out once: the CPU and the system have them, the system
//! lets the process, and they do what [`super::software`] does. Otherwise there are none, and that is
//! no error.

use std::sync::OnceLock;

use super::instructions::Instructions;
use super::software::Software;
use super::unit::{TILE_ROW_LEN, TILE_ROWS, TileShapes, TileUnit};

/// Whether tiles can be used. The CPU has what the AVX-512 table needs.
pub fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    // SAFETY: one follows the other: the instructions are there, and the system lets us use them.
    *AVAILABLE.get_or_init(|| crate::isa::has_tiles() && is_permitted() && unsafe { is_right() })
}

/// Asks the system to let this process, and all threads of it, keep something in tiles: signals
/// would need larger stacks for that, which is why nobody has it without asking.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let result: isize;
    // SAFETY: the system's convention for calls; this one touches none of the process's memory.
    unsafe {
        core::arch::asm!("syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _, lateout("r11") _,
            options(nostack));
    }
    result == 0
}

/// How others are asked is not known here.
#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

type TileBytes = [[u8; TILE_ROW_LEN]; TILE_ROWS];

/// Whether the instructions have the results of the software.
///
/// # Safety
///
/// The CPU has them, and the system lets us use them.
unsafe fn is_right() -> bool {
    // SAFETY: the caller's promise; the software needs nothing.
    unsafe { small_products::<Instructions>() == small_products::<Software>() }
}

/// Products of each kind, of numbers whose sums no order of additions rounds: of whole tiles, and
/// with a B of one column.
///
/// # Safety
///
/// The CPU has the unit's instructions, and the system lets us use them.
unsafe fn small_products<T: TileUnit>() -> [TileBytes; 6] {
    const NARROW: TileShapes = TileShapes::new([4, 4, 4, 64, 4, 64, 64, 64]);
    let bytes: [TileBytes; 2] = [37, 101].map(|factor: usize| {
        let byte = |at: usize| (at * factor + at / 7) as u8;
        core::array::from_fn(|row| core::array::from_fn(|at| byte(row * TILE_ROW_LEN + at)))
    });
    // Upper halves of whole numbers from −8 to 7.
    let halves: [TileBytes; 2] = bytes.map(|matrix| {
        matrix.map(|row| {
            let number = |at: usize| f32::from(i16::from(row[at] % 16) - 8);
            let half = |at: usize| number(at & !1).to_le_bytes()[2 + at % 2];
            core::array::from_fn(half)
        })
    });
    let mut products = [[[0; TILE_ROW_LEN]; TILE_ROWS]; 6];
    for (shapes, products) in [TileShapes::WHOLE, NARROW]
        .iter()
        .zip(products.as_chunks_mut::<3>().0)
    {
        // SAFETY: the caller's promise; matrices have as many rows of as many bytes as tiles have
        // at most, and the shapes of A, B and C fit each other.
        unsafe {
            let _configured = T::configure(shapes);
            let mut tiles = T::tiles(shapes);
            tiles.tileloadd::<3>(bytes[0].as_ptr().cast(), TILE_ROW_LEN as isize);
            tiles.tileloadd::<4>(bytes[1].as_ptr().cast(), TILE_ROW_LEN as isize);
            tiles.tilezero::<0>();
            tiles.tdpbssd::<0, 3, 4>();
            tiles.tilezero::<1>();
            tiles.tdpbsud::<1, 3, 4>();
            tiles.tdpbsud::<1, 3, 4>();
            tiles.tileloadd::<3>(halves[0].as_ptr().cast(), TILE_ROW_LEN as isize);
            tiles.tileloadd::<4>(halves[1].as_ptr().cast(), TILE_ROW_LEN as isize);
            tiles.tilezero::<2>();
            tiles.tdpbf16ps::<2, 3, 4>();
            tiles.tilestored::<0>(products[0].as_mut_ptr().cast(), TILE_ROW_LEN as isize);
            tiles.tilestored::<1>(products[1].as_mut_ptr().cast(), TILE_ROW_LEN as isize);
            tiles.tilestored::<2>(products[2].as_mut_ptr().cast(), TILE_ROW_LEN as isize);
        }
    }
    products
}
