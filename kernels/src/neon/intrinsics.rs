//! The instructions used here, as functions that are safe to call: there is no AArch64 target
//! with `neon` whose CPUs are without it, but compilers want to hear that at each call.

use core::arch::aarch64 as arch;
pub(super) use core::arch::aarch64::{
    float32x4_t, int8x8_t, int8x16_t, int16x4_t, int16x8_t, int32x4_t, int64x2_t, uint8x8_t,
    uint8x16_t, uint16x4_t, uint16x8_t, uint32x4_t,
};

const _: () = assert!(cfg!(target_feature = "neon"));

macro_rules! intrinsics {
    ($(fn $name:ident$(<const $n:ident>)?($($arg:ident: $type:ty),*) -> $result:ty;)*) => {$(
        #[inline(always)]
        pub(super) fn $name$(<const $n: i32>)?($($arg: $type),*) -> $result {
            // SAFETY: arithmetic on registers, with an instruction that the target has.
            unsafe { arch::$name$(::<$n>)?($($arg),*) }
        }
    )*};
}

intrinsics! {
    fn vabsq_f32(a: float32x4_t) -> float32x4_t;
    fn vaddq_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t;
    fn vaddq_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t;
    fn vaddq_u8(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t;
    fn vand_u8(a: uint8x8_t, b: uint8x8_t) -> uint8x8_t;
    fn vandq_u8(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t;
    fn vbslq_f32(mask: uint32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t;
    fn vceqq_f32(a: float32x4_t, b: float32x4_t) -> uint32x4_t;
    fn vcltq_f32(a: float32x4_t, b: float32x4_t) -> uint32x4_t;
    fn vcombine_u8(low: uint8x8_t, high: uint8x8_t) -> uint8x16_t;
    fn vcreate_s8(bytes: u64) -> int8x8_t;
    fn vcreate_u16(bytes: u64) -> uint16x4_t;
    fn vcreate_u8(bytes: u64) -> uint8x8_t;
    fn vcvtq_f32_s32(a: int32x4_t) -> float32x4_t;
    fn vcvtq_s32_f32(a: float32x4_t) -> int32x4_t;
    fn vdivq_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t;
    fn vdup_n_u16(x: u16) -> uint16x4_t;
    fn vdup_n_u8(x: u8) -> uint8x8_t;
    fn vdupq_n_f32(x: f32) -> float32x4_t;
    fn vdupq_n_s32(x: i32) -> int32x4_t;
    fn vdupq_n_s8(x: i8) -> int8x16_t;
    fn vdupq_n_u32(x: u32) -> uint32x4_t;
    fn vdupq_n_u8(x: u8) -> uint8x16_t;
    fn veorq_s8(a: int8x16_t, b: int8x16_t) -> int8x16_t;
    fn vextq_u8<const N>(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t;
    fn vfmaq_f32(sum: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t;
    fn vfmaq_n_f32(sum: float32x4_t, a: float32x4_t, b: f32) -> float32x4_t;
    fn vfmsq_f32(sum: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t;
    fn vget_low_s16(a: int16x8_t) -> int16x4_t;
    fn vget_low_s8(a: int8x16_t) -> int8x8_t;
    fn vgetq_lane_f32<const N>(a: float32x4_t) -> f32;
    fn vmaxnmq_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t;
    fn vmaxnmvq_f32(a: float32x4_t) -> f32;
    fn vmaxq_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t;
    fn vmlaq_n_s32(sum: int32x4_t, a: int32x4_t, b: i32) -> int32x4_t;
    fn vmlaq_s32(sum: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t;
    fn vmlsq_s32(sum: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t;
    fn vmovl_high_s16(a: int16x8_t) -> int32x4_t;
    fn vmovl_high_s8(a: int8x16_t) -> int16x8_t;
    fn vmovl_s16(a: int16x4_t) -> int32x4_t;
    fn vmovl_s8(a: int8x8_t) -> int16x8_t;
    fn vmovl_u8(a: uint8x8_t) -> uint16x8_t;
    fn vmulq_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t;
    fn vmulq_n_f32(a: float32x4_t, b: f32) -> float32x4_t;
    fn vmulq_n_s32(a: int32x4_t, b: i32) -> int32x4_t;
    fn vnegq_f32(a: float32x4_t) -> float32x4_t;
    fn vorrq_u8(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t;
    fn vpadalq_s16(sum: int32x4_t, a: int16x8_t) -> int32x4_t;
    fn vpaddlq_s16(a: int16x8_t) -> int32x4_t;
    fn vpaddq_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t;
    fn vpaddq_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t;
    fn vqtbl1q_s8(table: int8x16_t, at: uint8x16_t) -> int8x16_t;
    fn vqtbl1q_u8(table: uint8x16_t, at: uint8x16_t) -> uint8x16_t;
    fn vreinterpretq_f32_s32(a: int32x4_t) -> float32x4_t;
    fn vreinterpretq_f32_s8(a: int8x16_t) -> float32x4_t;
    fn vreinterpretq_s16_s8(a: int8x16_t) -> int16x8_t;
    fn vreinterpretq_s16_u16(a: uint16x8_t) -> int16x8_t;
    fn vreinterpretq_s32_s64(a: int64x2_t) -> int32x4_t;
    fn vreinterpretq_s32_s8(a: int8x16_t) -> int32x4_t;
    fn vreinterpretq_s64_s32(a: int32x4_t) -> int64x2_t;
    fn vreinterpretq_s64_s8(a: int8x16_t) -> int64x2_t;
    fn vreinterpretq_s8_s16(a: int16x8_t) -> int8x16_t;
    fn vreinterpretq_s8_s32(a: int32x4_t) -> int8x16_t;
    fn vreinterpretq_s8_s64(a: int64x2_t) -> int8x16_t;
    fn vreinterpretq_s8_u8(a: uint8x16_t) -> int8x16_t;
    fn vreinterpretq_u8_s8(a: int8x16_t) -> uint8x16_t;
    fn vreinterpretq_u8_u32(a: uint32x4_t) -> uint8x16_t;
    fn vrndnq_f32(a: float32x4_t) -> float32x4_t;
    fn vset_lane_u16<const N>(x: u16, a: uint16x4_t) -> uint16x4_t;
    fn vshlq_n_s32<const N>(a: int32x4_t) -> int32x4_t;
    fn vshlq_n_u8<const N>(a: uint8x16_t) -> uint8x16_t;
    fn vshlq_u8(a: uint8x16_t, left: int8x16_t) -> uint8x16_t;
    fn vshr_n_u8<const N>(a: uint8x8_t) -> uint8x8_t;
    fn vshrq_n_u8<const N>(a: uint8x16_t) -> uint8x16_t;
    fn vsliq_n_u8<const N>(low: uint8x16_t, high: uint8x16_t) -> uint8x16_t;
    fn vsubq_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t;
    fn vsubq_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t;
    fn vsubq_s8(a: int8x16_t, b: int8x16_t) -> int8x16_t;
    fn vtrn1q_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t;
    fn vtrn1q_s64(a: int64x2_t, b: int64x2_t) -> int64x2_t;
    fn vtrn2q_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t;
    fn vtrn2q_s64(a: int64x2_t, b: int64x2_t) -> int64x2_t;
    fn vtstq_u8(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t;
    fn vuzp1q_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t;
    fn vuzp2q_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t;
    fn vzip1q_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t;
    fn vzip2q_s32(a: int32x4_t, b: int32x4_t) -> int32x4_t;
}
