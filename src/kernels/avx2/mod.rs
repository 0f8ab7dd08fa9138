//! x86-64 with AVX2, FMA and F16C.

use super::{Isa, Kernels, scalar};

/// The scalar table with what AVX2 does better.
pub(super) const TABLE: Kernels = Kernels {
    isa: Isa::Avx2,
    ..scalar::TABLE
};
