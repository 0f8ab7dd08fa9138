//! x86-64 with AMX (tiles, int8 and bf16): Sapphire Rapids and later.
//!
//! A tile product multiplies sixteen rows by sixteen columns, 64 bytes deep, in the time of as many
//! instructions as a register of the AVX-512 table takes for one. What costs more than that by the
//! way would eat it up, so it serves where the inner loop has no scales of its own: blocks of 256
//! weights, whose scales are whole numbers ([`planes`]), and floats ([`float`]). All else is
//! AVX-512's.
//!
//! The instructions are behind a trait ([`unit::TileUnit`]), which [`software`] has as well: packing,
//! scaling and the order of instructions are tested on any CPU that has AVX-512, and where there are
//! tiles, they are held to it before they are used ([`start`]).

#![allow(clippy::needless_range_loop)] // closures are compiled without AVX-512's instructions

pub(super) mod bench;
mod float;
mod float_gemv;
mod instructions;
mod planes;
mod software;
mod start;
mod unit;

use super::{Isa, Kernels, avx512};
use instructions::Instructions;
use software::Software;

pub(super) use start::is_available;

/// The AVX-512 table with what tiles do better.
pub(super) const TABLE: Kernels = Kernels {
    isa: Isa::Amx,
    matmul: |dtype| {
        let better = planes::of::<Instructions>(dtype).or_else(|| float::of::<Instructions>(dtype));
        better.or_else(|| (avx512::TABLE.matmul)(dtype))
    },
    // Tiles sum up what the reference wants faster than AVX-512 multiplies what is rounded.
    matmul_native: |_| None,
    ..avx512::TABLE
};

/// The same with tiles in plain Rust.
pub(super) const SOFTWARE_TABLE: Kernels = Kernels {
    matmul: |dtype| {
        let better = planes::of::<Software>(dtype).or_else(|| float::of::<Software>(dtype));
        better.or_else(|| (avx512::TABLE.matmul)(dtype))
    },
    ..TABLE
};
