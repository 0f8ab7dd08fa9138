//! Products of F16 and BF16 weights with activations rounded to bf16, for CPUs that multiply matrices
//! of such numbers (BF16: Neoverse V1 and N2, Cortex-A510, Apple M2 and later).
//!
//! F16 weights are rounded to bf16 as well: in two parts, which are exact, they would take half the
//! instructions of float32, and who wants that precision asks for the reference's. Two rows meet two
//! inputs, four columns at a time; the sums of a row and an input are two chains of the instruction,
//! the same whatever stands beside them.

use core::arch::asm;
use core::marker::PhantomData;

use rillm_formats::manifest::DType;

use super::intrinsics::*;
use super::register::{ROWS, eights, floats, from_halves, load};
use crate::MatMulFn;
use crate::portable::product::{PortableProduct, matmul};

/// Columns at a time: a register of them.
const WIDTH: usize = 8;

/// The product of a type of floats of 16 bits, where the CPU has the instructions.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::F16 => matmul::<TwoByTwo<RoundedNeonF16>>,
        DType::BF16 => matmul::<TwoByTwo<NeonBf16>>,
        _ => return None,
    })
}

/// A weight as it lies in memory.
trait Bf16Weight: Copy {
    const ZERO: Self;
    /// Eight of them as bf16.
    fn eight(stored: &[Self; WIDTH]) -> int8x16_t;
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct NeonBf16([u8; 2]);

#[derive(Clone, Copy)]
#[repr(transparent)]
struct RoundedNeonF16([u8; 2]);

impl Bf16Weight for NeonBf16 {
    const ZERO: Self = NeonBf16([0; 2]);
    #[inline(always)]
    fn eight(stored: &[Self; WIDTH]) -> int8x16_t {
        load(stored)
    }
}

impl Bf16Weight for RoundedNeonF16 {
    const ZERO: Self = RoundedNeonF16([0; 2]);
    #[inline(always)]
    fn eight(stored: &[Self; WIDTH]) -> int8x16_t {
        let (fours, _) = stored.as_chunks::<4>();
        let four = |four: [Self; 4]| {
            let [a, b, c, d] = four.map(|half| u64::from(u16::from_le_bytes(half.0)));
            from_halves(vcreate_u16(a | b << 16 | c << 32 | d << 48))
        };
        rounded([four(fours[0]), four(fours[1])])
    }
}

/// Floats as bf16.
#[inline(always)]
fn rounded([first, second]: [float32x4_t; 2]) -> int8x16_t {
    let all;
    // SAFETY: arithmetic on registers, with instructions that are there: only products of this file
    // come here.
    unsafe {
        asm!(
            ".arch_extension bf16",
            "bfcvtn {all:v}.4h, {first:v}.4s",
            "bfcvtn2 {all:v}.8h, {second:v}.4s",
            first = in(vreg) first,
            second = in(vreg) second,
            all = out(vreg) all,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    all
}

/// sum + products of two rows of four bf16 with two of x: those of the first row come first.
#[inline(always)]
fn add_two_by_two(mut sum: float32x4_t, weights: int8x16_t, x: int8x16_t) -> float32x4_t {
    // SAFETY: as above.
    unsafe {
        asm!(
            ".arch_extension bf16",
            "bfmmla {sum:v}.4s, {weights:v}.8h, {x:v}.8h",
            sum = inout(vreg) sum,
            weights = in(vreg) weights,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// Two rows with two inputs at once. What has no other beside it stands beside itself.
struct TwoByTwo<W>(PhantomData<W>);

impl<W: Bf16Weight> PortableProduct for TwoByTwo<W> {
    type Weights = W;
    type Inputs = NeonBf16;
    const ELEMENTS: [usize; 2] = [1, 1];
    const ROWS: [usize; 2] = [8, 8];

    #[inline(always)]
    fn dot<const R: usize, const N: usize>(
        weights: [&[W]; R],
        inputs: [&[NeonBf16]; N],
    ) -> [[f32; N]; R] {
        // Of each two rows and inputs; the other halves are not used.
        let mut sums = [[[vdupq_n_f32(0.0); 2]; N]; R];
        let columns = weights.first().map_or(0, |row| row.len());
        let whole = columns / WIDTH;
        let rows = weights.map(|row| &row.as_chunks::<WIDTH>().0[..whole]);
        let xs = inputs.map(|row| &row.as_chunks::<WIDTH>().0[..whole]);
        for at in 0..whole {
            add_products(&mut sums, |r| rows[r][at], |n| xs[n][at]);
        }
        if columns > whole * WIDTH {
            let rest = whole * WIDTH..;
            let row = |r: usize| padded(&weights[r][rest.clone()]);
            add_products(&mut sums, row, |n| padded(&inputs[n][rest.clone()]));
        }
        let mut totals = [[0.0; N]; R];
        for r in 0..R {
            for n in 0..N {
                let [first, second] = sums[r / 2][n / 2];
                let all: [f32; ROWS] = floats(vaddq_f32(first, second));
                totals[r][n] = all[r % 2 * 2 + n % 2];
            }
        }
        totals
    }
}

#[inline(always)]
fn add_products<W: Bf16Weight, const R: usize, const N: usize>(
    sums: &mut [[[float32x4_t; 2]; N]; R],
    row: impl Fn(usize) -> [W; WIDTH],
    input: impl Fn(usize) -> [NeonBf16; WIDTH],
) {
    let mut xs = [[vdupq_n_s8(0); 2]; N];
    for n in (0..N).step_by(2) {
        let other = NeonBf16::eight(&input((n + 1).min(N - 1)));
        xs[n / 2] = eights(NeonBf16::eight(&input(n)), other);
    }
    for r in (0..R).step_by(2) {
        let weights = eights(W::eight(&row(r)), W::eight(&row((r + 1).min(R - 1))));
        for n in 0..N.div_ceil(2) {
            for half in 0..2 {
                let sum = &mut sums[r / 2][n][half];
                *sum = add_two_by_two(*sum, weights[half], xs[n][half]);
            }
        }
    }
}

fn padded<W: Bf16Weight>(rest: &[W]) -> [W; WIDTH] {
    let mut padded = [W::ZERO; WIDTH];
    padded[..rest.len()].copy_from_slice(rest);
    padded
}
