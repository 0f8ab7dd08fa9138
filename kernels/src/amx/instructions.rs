//! Tiles as instructions, in assembly: the compiler's own are not to be had on stable Rust. It never
//! uses a tile by itself, so what one block leaves in it the next one finds.

use core::arch::asm;

use super::unit::{TileShapes, TileUnit};

/// The tiles of the CPU.
pub(super) struct Instructions;

/// Configured tiles; dropped, they are released.
pub(super) struct ConfiguredTiles;

impl Drop for ConfiguredTiles {
    fn drop(&mut self) {
        // SAFETY: whoever configured tiles has the instruction. It touches nothing else.
        unsafe {
            asm!("tilerelease",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, preserves_flags, nomem));
        }
    }
}

/// An instruction that writes a tile, which has to be named as what the block changes.
macro_rules! into_tile {
    ($tile:expr, $name:literal, $operands:literal, $options:tt $(, $($argument:tt)*)?) => {
        into_tile!(@each $tile, $name, $operands, $options, [$($($argument)*)?],
            0 "tmm0", 1 "tmm1", 2 "tmm2", 3 "tmm3", 4 "tmm4", 5 "tmm5", 6 "tmm6", 7 "tmm7")
    };
    (@each $tile:expr, $name:literal, $operands:literal, $options:tt, $arguments:tt,
        $($number:literal $register:tt),*) => {
        match $tile {
            $($number => into_tile!(@one $register, $name, $operands, $options, $arguments),)*
            _ => const { assert!($tile < 8) },
        }
    };
    (@one $register:tt, $name:literal, $operands:literal, ($($option:ident),*), [$($argument:tt)*]) => {
        asm!(
            concat!($name, " ", $register, $operands),
            $($argument)*
            out($register) _,
            options($($option),*)
        )
    };
}

impl TileUnit for Instructions {
    type Configured = ConfiguredTiles;

    #[inline(always)]
    unsafe fn configure(shapes: &TileShapes) -> ConfiguredTiles {
        // SAFETY: the caller's promise; 64 bytes are read.
        unsafe {
            asm!("ldtilecfg [{shapes}]", shapes = in(reg) shapes,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, preserves_flags, readonly));
        }
        ConfiguredTiles
    }

    #[inline(always)]
    unsafe fn tiles(_: &TileShapes) -> Instructions {
        Instructions
    }

    #[inline(always)]
    unsafe fn tilezero<const TILE: usize>(&mut self) {
        // SAFETY: the caller's promise.
        unsafe { into_tile!(TILE, "tilezero", "", (nostack, preserves_flags, nomem)) }
    }

    #[inline(always)]
    unsafe fn tileloadd<const TILE: usize>(&mut self, from: *const u8, stride: isize) {
        // SAFETY: the caller's promise: sixteen rows can be read there.
        unsafe {
            into_tile!(TILE, "tileloadd", ", [{from} + {stride}*1]",
                (nostack, preserves_flags, readonly),
                from = in(reg) from, stride = in(reg) stride,)
        }
    }

    #[inline(always)]
    unsafe fn tilestored<const TILE: usize>(&self, to: *mut u8, stride: isize) {
        // SAFETY: the caller's promise: sixteen rows can be written there.
        unsafe {
            asm!("tilestored [{to} + {stride}*1], tmm{tile}",
                to = in(reg) to, stride = in(reg) stride, tile = const TILE,
                options(nostack, preserves_flags));
        }
    }

    #[inline(always)]
    unsafe fn tdpbssd<const C: usize, const A: usize, const B: usize>(&mut self) {
        // SAFETY: the caller's promise.
        unsafe {
            into_tile!(C, "tdpbssd", ", tmm{a}, tmm{b}", (nostack, preserves_flags, nomem),
                a = const A, b = const B,)
        }
    }

    #[inline(always)]
    unsafe fn tdpbsud<const C: usize, const A: usize, const B: usize>(&mut self) {
        // SAFETY: the caller's promise.
        unsafe {
            into_tile!(C, "tdpbsud", ", tmm{a}, tmm{b}", (nostack, preserves_flags, nomem),
                a = const A, b = const B,)
        }
    }

    #[inline(always)]
    unsafe fn tdpbf16ps<const C: usize, const A: usize, const B: usize>(&mut self) {
        // SAFETY: the caller's promise.
        unsafe {
            into_tile!(C, "tdpbf16ps", ", tmm{a}, tmm{b}", (nostack, preserves_flags, nomem),
                a = const A, b = const B,)
        }
    }
}
