//! What is the same for every width of registers: a tile of products, attention made of it,
//! weighted means, linear attention, the hyperbolic tangent; and the loops of the matrix product,
//! [`Gemm`] and [`Gemv`].
//!
//! Loops over registers are written with indices, for closures handed to library functions are
//! compiled without these instructions.

#![allow(clippy::needless_range_loop)]
// Where the portable table is the only one, it packs nothing and needs less.
#![cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code, unused_imports)
)]

mod attend;
mod attend_parts;
mod gemm;
mod latents;
#[cfg(target_arch = "x86_64")]
mod linear_attention;
mod means;
mod tanh;
mod tile;

pub(super) use attend::{attend, products as attend_products, sums as attend_sums};
pub(super) use attend_parts::{AttendParts, attend_parts};
pub(super) use gemm::{Gemm, Gemv, Operands, Strip, Tiles, gemm, gemv, packing_pays, products};
pub(super) use latents::sums_in_keys;
#[cfg(target_arch = "x86_64")]
pub(super) use linear_attention::linear_attend_row;
pub(super) use means::wkv;
pub(super) use tanh::tanh;
pub(super) use tile::{Element, F16, F32, I8, tile, tile_of};

/// A register of floats. Everything is inlined into functions that have the instructions.
///
/// # Safety
///
/// Of every function: the CPU has this register's instructions, and what is pointed to can be
/// read or written, at any address, for as many elements as a register has lanes or as are named.
pub(super) trait F32xN: Copy {
    /// Floats.
    const LANES: usize;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// From half precision.
    unsafe fn load_halves(from: *const u8) -> Self;
    /// From signed bytes.
    unsafe fn load_bytes(from: *const u8) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// self · factor + term
    unsafe fn fma(self, factor: Self, term: Self) -> Self;
    unsafe fn max(self, other: Self) -> Self;
    /// exp(x) for x ≤ 0, to two units in the last place; zero far below, NaN for NaN.
    unsafe fn exp_below_one(self) -> Self;
    /// −|x|
    unsafe fn minus_abs(self) -> Self;
    /// |self| with the sign of `other`
    unsafe fn with_sign(self, other: Self) -> Self;
    /// self + bias, and −∞ where that is −∞, whatever self is.
    unsafe fn biased(self, bias: Self) -> Self;
    /// Of lanes that are less than the other's `then`, of the rest `otherwise`.
    unsafe fn where_less(self, other: Self, then: Self, otherwise: Self) -> Self;
    /// Turns a square of LANES × LANES floats: `to[j · to_stride + i] = from[i · from_stride + j]`.
    #[inline(always)]
    unsafe fn turn(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for j in 0..Self::LANES {
            for i in 0..Self::LANES {
                // SAFETY: the caller promises both squares.
                unsafe { *to.add(j * to_stride + i) = *from.add(i * from_stride + j) };
            }
        }
    }
    /// The largest lane, NaN aside.
    unsafe fn largest(self) -> f32;
    /// The sum of all lanes, halving: one fixed order.
    unsafe fn sum(self) -> f32;
}

/// A register of which some lanes can be read or written by themselves.
///
/// # Safety
///
/// As for [`F32xN`], of the first `count` lanes, of which a register has so many.
#[cfg(target_arch = "x86_64")]
pub(super) trait MaskedF32xN: F32xN {
    /// The first lanes, the others zero.
    unsafe fn load_first(from: *const f32, count: usize) -> Self;
    /// Writes the first lanes.
    unsafe fn store_first(self, to: *mut f32, count: usize);
}

/// Brings a cache line nearer, where the target has an instruction for it.
///
/// # Safety
///
/// None: a hint, which any address may be given to.
#[inline(always)]
pub unsafe fn fetch(line: *const u8) {
    // SAFETY: as above.
    #[cfg(target_arch = "x86_64")]
    #[allow(unused_unsafe)]
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(line.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint, as above.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{line}]", line = in(reg) line,
            options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = line;
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// Brings cache lines nearer, one at a time: asked for as fast as an unrolled loop does, they come
/// more slowly.
#[inline(never)]
fn fetch_lines(start: *const u8, count: usize) {
    // Unknown to the compiler, which would unroll the loop.
    let step = core::hint::black_box(LINE);
    let mut at = 0;
    while at < LINE * count {
        // SAFETY: a hint.
        unsafe { fetch(start.wrapping_add(at)) };
        at += step;
    }
}
