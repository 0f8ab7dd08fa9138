//! Which instruction sets there are, and which of them this CPU has. The only file that asks
//! the CPU.

use core::fmt;
use core::str::FromStr;
use std::sync::OnceLock;

/// An instruction set with a table of kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// Plain Rust, on any CPU: the oracle.
    Scalar,
    /// The registers that every CPU of this target has, through the crate `wide`.
    Portable,
    /// AArch64: NEON, which all such CPUs have.
    Neon,
    /// The same with the integer dot product (Cortex-A55, Cortex-A76 and later).
    DotProd,
    /// The same with products of matrices of bytes (Neoverse V1 and N2, Cortex-A510, Apple M2 and later).
    I8mm,
    /// x86-64 with AVX2, FMA and F16C (Haswell, Zen and later).
    Avx2,
    /// The same with AVX-VNNI (Alder Lake, Zen 5 and later).
    AvxVnni,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI (Ice Lake, Zen 4 and later).
    Avx512,
    /// The same with AMX's tiles of int8 and bf16 (Sapphire Rapids and later), where the system lets
    /// the process use them.
    Amx,
}

impl Isa {
    /// Every instruction set, from the plainest to the most capable.
    pub const ALL: &'static [Isa] = &[
        Isa::Scalar,
        Isa::Portable,
        Isa::Neon,
        Isa::DotProd,
        Isa::I8mm,
        Isa::Avx2,
        Isa::AvxVnni,
        Isa::Avx512,
        Isa::Amx,
    ];

    /// The name users know, as in `RILLM_ISA=avx2`.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Portable => "portable",
            Isa::Neon => "neon",
            Isa::DotProd => "dotprod",
            Isa::I8mm => "i8mm",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avxvnni",
            Isa::Avx512 => "avx512",
            Isa::Amx => "amx",
        }
    }

    /// Whether this CPU can run it.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Scalar | Isa::Portable => true,
            #[cfg(all(
                target_arch = "aarch64",
                target_feature = "neon",
                target_endian = "little"
            ))]
            Isa::Neon => true,
            #[cfg(all(
                target_arch = "aarch64",
                target_feature = "neon",
                target_endian = "little"
            ))]
            Isa::DotProd => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(all(
                target_arch = "aarch64",
                target_feature = "neon",
                target_endian = "little"
            ))]
            Isa::I8mm => {
                Isa::DotProd.is_available() && std::arch::is_aarch64_feature_detected!("i8mm")
            }
            #[cfg(not(all(
                target_arch = "aarch64",
                target_feature = "neon",
                target_endian = "little"
            )))]
            Isa::Neon | Isa::DotProd | Isa::I8mm => false,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                std::is_x86_feature_detected!("avx2")
                    && std::is_x86_feature_detected!("fma")
                    && std::is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => Isa::Avx2.is_available() && std::is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                Isa::Avx2.is_available()
                    && std::is_x86_feature_detected!("avx512f")
                    && std::is_x86_feature_detected!("avx512bw")
                    && std::is_x86_feature_detected!("avx512dq")
                    && std::is_x86_feature_detected!("avx512vl")
                    && std::is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => Isa::Avx512.is_available() && super::amx::is_available(),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 | Isa::Amx => false,
        }
    }

    /// What this CPU has, from the plainest to the most capable.
    pub fn available() -> impl DoubleEndedIterator<Item = Isa> {
        Isa::ALL.iter().copied().filter(|isa| isa.is_available())
    }
}

/// Who made a CPU, as far as what was measured on it depends on that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// AMD, with its family: Zen 4 is 0x19, Zen 5 0x1a.
    Amd {
        /// As `lscpu` shows it.
        family: u32,
    },
    /// Intel.
    Intel,
    /// Somebody else, or it does not say.
    Other,
}

impl Maker {
    /// Who made this one: asked once, for under a hypervisor the instruction takes as long as a
    /// small product.
    pub fn of_this_cpu() -> Maker {
        static MAKER: OnceLock<Maker> = OnceLock::new();
        *MAKER.get_or_init(Maker::ask)
    }

    #[cfg(target_arch = "x86_64")]
    fn ask() -> Maker {
        use core::arch::x86_64::__cpuid;
        // SAFETY: every CPU of 64 bits has the instruction and both leaves.
        #[allow(unused_unsafe)]
        let (first, version) = unsafe { (__cpuid(0), __cpuid(1).eax) };
        let family = match (version >> 8) & 0xf {
            0xf => 0xf + ((version >> 20) & 0xff),
            family => family,
        };
        match [first.ebx, first.edx, first.ecx]
            .map(u32::to_le_bytes)
            .as_flattened()
        {
            b"AuthenticAMD" => Maker::Amd { family },
            b"GenuineIntel" => Maker::Intel,
            _ => Maker::Other,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn ask() -> Maker {
        Maker::Other
    }
}

/// Whether this CPU permutes the bytes of a whole 512-bit register (AVX-512 VBMI). Of those that
/// can run the AVX-512 table only the oldest cannot.
#[cfg(target_arch = "x86_64")]
pub(super) fn moves_bytes() -> bool {
    Isa::Avx512.is_available() && std::is_x86_feature_detected!("avx512vbmi")
}

/// Whether this CPU has tiles of eight times sixteen rows of 64 bytes, and products of int8 and bf16
/// of them, and the system saves what they hold. Whether this process may use them is another
/// question. The CPU can run the AVX-512 table.
#[cfg(target_arch = "x86_64")]
pub(super) fn has_tiles() -> bool {
    use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
    /// The system's side of it, which tells it that registers of 512 bits are saved as well.
    #[target_feature(enable = "xsave")]
    fn saved() -> u64 {
        // SAFETY: there is a register 0 (older compilers want the block).
        #[allow(unused_unsafe)]
        unsafe {
            _xgetbv(0)
        }
    }
    const LEAF_FEATURES: u32 = 7;
    const LEAF_TILES: u32 = 0x1d;
    const BF16_TILES_INT8: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    const CONFIGURATION_AND_DATA: u64 = 1 << 17 | 1 << 18;
    const PALETTE: u32 = 1;
    // SAFETY: every CPU of 64 bits has the instruction, and leaves are asked for as far as there are
    // any. One that runs AVX-512 has the second instruction, and its system allows it.
    #[allow(unused_unsafe)]
    unsafe {
        if __cpuid(0).eax < LEAF_TILES
            || __cpuid_count(LEAF_FEATURES, 0).edx & BF16_TILES_INT8 != BF16_TILES_INT8
            || saved() & CONFIGURATION_AND_DATA != CONFIGURATION_AND_DATA
        {
            return false;
        }
        let palette = __cpuid_count(LEAF_TILES, PALETTE);
        let (tile_len, row_len) = (palette.eax >> 16, palette.ebx & 0xffff);
        let (tiles, rows) = (palette.ebx >> 16, palette.ecx & 0xffff);
        __cpuid(LEAF_TILES).eax >= PALETTE && [tile_len, row_len, tiles, rows] == [1024, 64, 8, 16]
    }
}

/// Whether this CPU multiplies matrices of bf16 numbers.
#[cfg(all(
    target_arch = "aarch64",
    target_feature = "neon",
    target_endian = "little"
))]
pub(super) fn multiplies_bf16() -> bool {
    std::arch::is_aarch64_feature_detected!("bf16")
}

/// Whether this CPU multiplies pairs of bf16 numbers in 512-bit registers (AVX-512 BF16).
#[cfg(target_arch = "x86_64")]
pub(super) fn multiplies_bf16() -> bool {
    Isa::Avx512.is_available() && std::is_x86_feature_detected!("avx512bf16")
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = IsaError;

    fn from_str(name: &str) -> Result<Isa, IsaError> {
        Isa::ALL
            .iter()
            .copied()
            .find(|isa| isa.name() == name)
            .ok_or_else(|| IsaError::Unknown {
                name: name.to_owned(),
            })
    }
}

/// Why an instruction set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IsaError {
    /// There is no instruction set of that name.
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// This CPU does not have it.
    Unavailable {
        /// What was asked for.
        isa: Isa,
    },
}

impl fmt::Display for IsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IsaError::Unknown { name } => write!(f, "unknown instruction set {name:?}")?,
            IsaError::Unavailable { isa } => {
                write!(f, "this CPU cannot run instruction set {isa}")?;
            }
        }
        f.write_str(": this CPU has ")?;
        for (index, isa) in Isa::available().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{isa}")?;
        }
        Ok(())
    }
}

impl core::error::Error for IsaError {}
