//! Products of float weights with float activations: as the portable table has them, with more
//! sums at a time, for there are more registers, and with the instructions for half precision and for
//! small tables.

use rillm_formats::manifest::DType;
use wide::f32x4;

use super::intrinsics::*;
use super::register::{floats, from_halves, load};
use crate::MatMulFn;
use crate::portable::float::{PortableBf16, PortableF32, PortableFloats, StoredFloat};
use crate::portable::nvfp4::{LookedUp, PortableNvfp4};
use crate::portable::product::matmul;
use crate::quant::FP4_VALUES;

/// The product of a type of floats.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::F32 => matmul::<PortableFloats<PortableF32, 2>>,
        DType::F16 => matmul::<PortableFloats<NeonF16, 2>>,
        DType::BF16 => matmul::<PortableFloats<PortableBf16, 2>>,
        DType::NVFP4 => matmul::<PortableNvfp4<InRegister>>,
        _ => return None,
    })
}

/// Half precision.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct NeonF16([u8; 2]);

impl StoredFloat for NeonF16 {
    const ZERO: Self = NeonF16([0; 2]);
    #[inline(always)]
    fn four([a, b, c, d]: &[Self; 4]) -> f32x4 {
        f32x4::new(floats(from_halves(four([a.0, b.0, c.0, d.0]))))
    }
}

/// Sixteen at once.
struct InRegister;

impl LookedUp for InRegister {
    #[inline(always)]
    fn values(quants: [u8; 8]) -> [f32x4; 4] {
        let bytes = vcreate_u8(u64::from_le_bytes(quants));
        let quants = vcombine_u8(vand_u8(bytes, vdup_n_u8(15)), vshr_n_u8::<4>(bytes));
        let values = vqtbl1q_s8(load(&FP4_VALUES), quants);
        let (low, high) = (vmovl_s8(vget_low_s8(values)), vmovl_high_s8(values));
        let four = |words| f32x4::new(floats(vcvtq_f32_s32(words)));
        [
            four(vmovl_s16(vget_low_s16(low))),
            four(vmovl_high_s16(low)),
            four(vmovl_s16(vget_low_s16(high))),
            four(vmovl_high_s16(high)),
        ]
    }
}

/// Four numbers of sixteen bits.
#[inline(always)]
fn four([a, b, c, d]: [[u8; 2]; 4]) -> uint16x4_t {
    let bytes = [a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]];
    vcreate_u16(u64::from_le_bytes(bytes))
}

/// Half-precision numbers to floats, exactly.
pub(super) fn widen(halves: &[u8], out: &mut [f32]) {
    let (halves, _) = halves.as_chunks::<2>();
    let len = halves.len().min(out.len());
    let (fours, rest) = halves[..len].as_chunks::<4>();
    let (whole, out) = out[..len].as_chunks_mut::<4>();
    for (from, to) in fours.iter().zip(whole) {
        *to = floats(from_halves(four(*from)));
    }
    let mut last = [[0; 2]; 4];
    last[..rest.len()].copy_from_slice(rest);
    let last = floats(from_halves(four(last)));
    out.copy_from_slice(&last[..out.len()]);
}
