//! Blocks of 32 weights with a factor each.

use core::arch::x86_64::*;
use core::mem::MaybeUninit;

use super::direct::{Group, Kept};
use super::panel::{Panel, Rows, Sums, WIDTH, product};
use super::register::{
    Lanes, ROWS, halves, load, load_floats, load_halves, load_quarter, store, sum_in_quarters,
    transpose,
};
use crate::kernels::{MatMul, MatMulFn};
use crate::quant::*;
use rillm_formats::manifest::DType;

/// The product of a type.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::Q4_0 => q4_0,
        DType::Q4_1 => q4_1,
        DType::Q5_0 => q5_0,
        DType::Q5_1 => q5_1,
        DType::Q8_0 => q8_0,
        DType::IQ4_NL => iq4_nl,
        DType::MXFP4 => mxfp4,
        _ => return None,
    })
}

/// A block whose weights are multiplied as bytes without sign.
trait Stored: SmallBlock {
    /// What such a byte is above its weight.
    const ABOVE: i32;

    /// The half-precision factor.
    const FACTOR: fn(&Self) -> Option<[u8; 2]>;

    /// The half-precision offset.
    const OFFSET: fn(&Self) -> [u8; 2];
}

macro_rules! kernels {
    ($(
        $name:ident: $block:ident, $above:literal, $factor:expr, $offset:expr,
        |$b:ident| $quants:expr;
    )*) => {$(
        impl Stored for $block {
            const ABOVE: i32 = $above;
            const FACTOR: fn(&Self) -> Option<[u8; 2]> = $factor;
            const OFFSET: fn(&Self) -> [u8; 2] = $offset;
        }

        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        unsafe fn $name(call: &MatMul) {
            let quants = |$b: [&$block; 4]| $quants;
            // SAFETY: the caller's promise, handed on; rows are whole blocks.
            unsafe {
                product::<$block, ActivationQ8_0>(
                    call,
                    32,
                    |rows, blocks, panel| unpack(rows, blocks, panel, quants),
                    (
                        |panel, x, sums| tile::<$block, _>(panel, x, sums),
                        |panel, x, sums| tile::<$block, _>(panel, x, sums),
                        |panel, x, sums| tile::<$block, _>(panel, x, sums),
                    ),
                    |group, x| direct(group, x, quants),
                )
            }
        }
    )*};
}

/// A field of each of four blocks. Not by `map`: what it calls may be left a call, and what a
/// call returns goes through memory.
macro_rules! of {
    ($blocks:ident.$field:ident) => {
        [
            &$blocks[0].$field,
            &$blocks[1].$field,
            &$blocks[2].$field,
            &$blocks[3].$field,
        ]
    };
}

kernels! {
    q4_0: BlockQ4_0, 8, |b| Some(b.scale), |_| [0; 2],
        |b| nibbles(of!(b.quants));
    q4_1: BlockQ4_1, 0, |b| Some(b.scale), |b| b.min,
        |b| nibbles(of!(b.quants));
    q5_0: BlockQ5_0, 16, |b| Some(b.scale), |_| [0; 2],
        |b| with_fifth(of!(b.quants), of!(b.high));
    q5_1: BlockQ5_1, 0, |b| Some(b.scale), |b| b.min,
        |b| with_fifth(of!(b.quants), of!(b.high));
    q8_0: BlockQ8_0, 128, |b| Some(b.scale), |_| [0; 2],
        |b| above_128(halves_of(of!(b.quants)));
    iq4_nl: BlockIQ4NL, 128, |b| Some(b.scale), |_| [0; 2],
        |b| values(&IQ4_VALUES, of!(b.quants));
    mxfp4: BlockMXFP4, 128, |_| None, |_| [0; 2],
        |b| values(&FP4_VALUES, of!(b.quants));
}

/// Sixteen bytes of each of four blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn quarters<T: Copy>(of: [&T; 4]) -> __m512i {
    let bytes = _mm512_castsi128_si512(load_quarter(of[0]));
    let bytes = _mm512_inserti32x4::<1>(bytes, load_quarter(of[1]));
    let bytes = _mm512_inserti32x4::<2>(bytes, load_quarter(of[2]));
    _mm512_inserti32x4::<3>(bytes, load_quarter(of[3]))
}

/// The first sixteen numbers of each of four blocks, then the others.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn halves_of(of: [&[i8; 32]; 4]) -> [__m512i; 2] {
    let half = |which: usize| {
        let half = |block: usize| -> &[i8; 16] { &of[block].as_chunks().0[which] };
        quarters([half(0), half(1), half(2), half(3)])
    };
    [half(0), half(1)]
}

/// Signed bytes: turning the highest bit adds 128.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn above_128([first, second]: [__m512i; 2]) -> [__m512i; 2] {
    let highest = _mm512_set1_epi8(-128);
    [
        _mm512_xor_si512(first, highest),
        _mm512_xor_si512(second, highest),
    ]
}

/// Low halves of sixteen bytes of each of four blocks, then their high halves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn nibbles(of: [&[u8; 16]; 4]) -> [__m512i; 2] {
    let (bytes, mask) = (quarters(of), _mm512_set1_epi8(15));
    let high = _mm512_srli_epi16::<4>(bytes);
    [_mm512_and_si512(bytes, mask), _mm512_and_si512(high, mask)]
}

/// [`nibbles`] with a fifth bit, bit i of a u32 for weight i of a block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn with_fifth(of: [&[u8; 16]; 4], high: [&[u8; 4]; 4]) -> [__m512i; 2] {
    let [low_quants, high_quants] = nibbles(of);
    let (mut low, mut top) = (0, 0);
    for (block, high) in high.into_iter().enumerate() {
        let bits = u64::from(u32::from_le_bytes(*high));
        low |= (bits & 0xffff) << (16 * block);
        top |= (bits >> 16) << (16 * block);
    }
    let fifth = _mm512_set1_epi8(16);
    [
        _mm512_mask_add_epi8(low_quants, low, low_quants, fifth),
        _mm512_mask_add_epi8(high_quants, top, high_quants, fifth),
    ]
}

/// What [`nibbles`] stand for, 128 above themselves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn values(values: &[i8; 16], of: [&[u8; 16]; 4]) -> [__m512i; 2] {
    let values = _mm512_broadcast_i32x4(load_quarter(values));
    let [low, high] = nibbles(of);
    above_128([
        _mm512_shuffle_epi8(values, low),
        _mm512_shuffle_epi8(values, high),
    ])
}

/// Factors of sixteen rows' blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn factors<'a, W: Stored + 'a>(block: impl Fn(usize) -> &'a W) -> __m512 {
    if (W::FACTOR)(block(0)).is_some() {
        return halves(|row| (W::FACTOR)(block(row)).unwrap_or_default());
    }
    let mut factors = Lanes([0.0; ROWS]);
    for row in 0..ROWS {
        factors.0[row] = block(row).integers().scale;
    }
    load_floats(&factors)
}

/// What the products of a block are to begin with, so that its weights count as themselves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn start<W: Stored>(x: &ActivationQ8_0) -> __m512i {
    _mm512_set1_epi32(-W::ABOVE * x.sum())
}

/// sum + factor · products + offset · (sum of the activations), in this order wherever it is
/// needed.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn finish<W: Stored>(
    sum: __m512,
    products: __m512i,
    (factor, offset): (__m512, __m512),
    x: &ActivationQ8_0,
) -> __m512 {
    let factor = _mm512_mul_ps(factor, _mm512_set1_ps(x.scale()));
    let sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), factor, sum);
    if !W::OFFSETS {
        return sum;
    }
    _mm512_fmadd_ps(offset, _mm512_set1_ps(x.scale() * x.sum() as f32), sum)
}

/// Panels of some blocks against `N` inputs.
#[inline(never)] // so that the registers are all for its sums
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn tile<W: Stored, const N: usize>(
    panels: &[Panel; WIDTH],
    x: [&[ActivationQ8_0]; N],
    sums: &mut [Sums; N],
) {
    for block in 0..x[0].len().min(panels[0].factors.len()) {
        let mut products = [[_mm512_setzero_si512(); WIDTH]; N];
        for n in 0..N {
            products[n] = [start::<W>(&x[n][block]); WIDTH];
        }
        for group in 0..8 {
            let mut weights = [_mm512_setzero_si512(); WIDTH];
            for side in 0..WIDTH {
                weights[side] = load(&panels[side].quants[8 * block + group]);
            }
            for n in 0..N {
                // SAFETY: eight groups of four lie in a block's quants; the read wants no
                // alignment.
                let four = unsafe {
                    let quants = x[n][block].quants.as_ptr();
                    quants.cast::<i32>().add(group).read_unaligned()
                };
                let four = _mm512_set1_epi32(four);
                for side in 0..WIDTH {
                    let sum = products[n][side];
                    products[n][side] = _mm512_dpbusd_epi32(sum, weights[side], four);
                }
            }
        }
        for side in 0..WIDTH {
            let factors = (
                load_floats(&panels[side].factors[block]),
                load_floats(&panels[side].offsets[block]),
            );
            for n in 0..N {
                let (sum, products) = (sums[n][side], products[n][side]);
                sums[n][side] = finish::<W>(sum, products, factors, &x[n][block]);
            }
        }
    }
}

/// Blocks `first` to `first + 3` of a row of `len`. Those beyond its end are its last one again:
/// what comes of them is dropped.
///
/// # Safety
///
/// So many blocks are at `row`, and stay there; they have alignment 1 and no invalid bytes.
#[inline]
unsafe fn four<'a, W>(row: *const u8, first: usize, len: usize) -> [&'a W; 4] {
    let at = |index: usize| -> *const W {
        let index = (first + index).min(len - 1);
        row.wrapping_add(index * size_of::<W>()).cast()
    };
    // SAFETY: the caller's promise, for each block up to the row's end.
    unsafe { [&*at(0), &*at(1), &*at(2), &*at(3)] }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn unpack<W: Stored>(
    rows: &Rows,
    blocks: usize,
    panel: &mut Panel,
    quants: impl Fn([&W; 4]) -> [__m512i; 2],
) {
    for first in (0..blocks).step_by(4) {
        let mut low = [_mm512_setzero_si512(); ROWS];
        let mut high = [_mm512_setzero_si512(); ROWS];
        for row in 0..ROWS {
            // SAFETY: so many blocks are at each row's address; they have alignment 1 and no
            // invalid bytes.
            let four = unsafe { four::<W>(rows[row], first, blocks) };
            [low[row], high[row]] = quants(four);
        }
        let count = 4.min(blocks - first);
        for (half, rows) in [low, high].into_iter().enumerate() {
            // Four words of each block.
            let words = transpose(rows);
            for word in 0..4 * count {
                let group = 8 * (first + word / 4) + 4 * half + word % 4;
                store(&mut panel.quants[group], words[word]);
            }
        }
    }
    for index in 0..blocks {
        // SAFETY: as above.
        let block = |row: usize| unsafe { &*rows[row].wrapping_add(index * W::LEN).cast::<W>() };
        let factors = factors(block);
        store(&mut panel.factors[index], _mm512_castps_si512(factors));
        if W::OFFSETS {
            let offsets = halves(|row| (W::OFFSET)(block(row)));
            store(&mut panel.offsets[index], _mm512_castps_si512(offsets));
        }
    }
}

/// Blocks of a row that are walked before the next row's: what is kept of them stays in the
/// nearest cache.
const RUN: usize = 256;

/// Activations of four blocks: the first sixteen of each, the others, and what the sums of their
/// products are to begin with.
type Four = [__m512i; 3];

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn four_inputs<W: Stored>(x: &[ActivationQ8_0]) -> Four {
    // Those beyond the end meet weights whose products are dropped.
    let at = |index: usize| &x[index.min(x.len() - 1)].quants;
    let [low, high] = halves_of([at(0), at(1), at(2), at(3)]);
    // What the weights' bytes have too much is taken off beforehand.
    let (zero, above) = (_mm512_setzero_si512(), _mm512_set1_epi8(W::ABOVE as i8));
    let excess = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(zero, above, low), above, high);
    [low, high, _mm512_sub_epi32(zero, excess)]
}

/// The sums of the products of up to sixteen blocks, of block 4l + k in lane l of quarter k;
/// keeps their factors and offsets. `FULL`: there are sixteen.
///
/// # Safety
///
/// `count` blocks of a row are at `at` and stay there; they have alignment 1 and no invalid
/// bytes. The inputs of all fours that begin before their end have been written.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn sums<W: Stored, const FULL: bool>(
    (at, count): (*const u8, usize),
    inputs: &[MaybeUninit<Four>; 4],
    (factors, offsets): (&mut Kept<[u8; 2], RUN>, &mut Kept<[u8; 2], RUN>),
    (first, row): (usize, usize),
    quants: impl Fn([&W; 4]) -> [__m512i; 2],
) -> __m512i {
    let count = if FULL { 16 } else { count };
    let mut dots = [_mm512_setzero_si512(); 4];
    for k in 0..4 {
        if 4 * k < count {
            // SAFETY: the caller's promise.
            let (blocks, [low, high, start]) = unsafe {
                let blocks = four::<W>(at, 4 * k, count);
                (blocks, inputs[k].assume_init_ref())
            };
            let quants = quants(blocks);
            let dot = _mm512_dpbusd_epi32(*start, quants[0], *low);
            dots[k] = _mm512_dpbusd_epi32(dot, quants[1], *high);
            for l in 0..4 {
                if 4 * k + l < count {
                    if let Some(factor) = (W::FACTOR)(blocks[l]) {
                        factors.keep(first + 4 * k + l, row, factor);
                    }
                    if W::OFFSETS {
                        offsets.keep(first + 4 * k + l, row, (W::OFFSET)(blocks[l]));
                    }
                }
            }
        }
    }
    sum_in_quarters(dots)
}

/// [`sums`] of fewer than sixteen blocks.
///
/// # Safety
///
/// The same.
#[inline(never)] // so that finding the last block costs nothing where it is not asked for
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn last_sums<W: Stored>(
    blocks: (*const u8, usize),
    inputs: &[MaybeUninit<Four>; 4],
    kept: (&mut Kept<[u8; 2], RUN>, &mut Kept<[u8; 2], RUN>),
    at: (usize, usize),
    quants: impl Fn([&W; 4]) -> [__m512i; 2],
) -> __m512i {
    // SAFETY: the caller's promise, handed on.
    unsafe { sums::<W, false>(blocks, inputs, kept, at, quants) }
}

#[inline(never)] // so that what is kept lies on a stack of its own
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn direct<W: Stored>(
    group: &Group,
    x: &[ActivationQ8_0],
    quants: impl Fn([&W; 4]) -> [__m512i; 2],
) -> __m512 {
    let mut inputs = [const { MaybeUninit::<Four>::uninit() }; RUN / 4];
    // Of sixteen blocks: the sums of their products.
    let mut products = Kept::<Lanes<i32>, { RUN / 16 }>::new();
    let mut factors = Kept::<[u8; 2], RUN>::new();
    let mut offsets = Kept::<[u8; 2], RUN>::new();
    let mut sum = _mm512_setzero_ps();
    for (run, part) in x.chunks(RUN).enumerate() {
        for (input, x) in inputs.iter_mut().zip(part.chunks(4)) {
            input.write(four_inputs::<W>(x));
        }
        let len = part.len();
        let start = run * RUN * W::LEN;
        for row in 0..ROWS {
            let bytes = (start, start + len * W::LEN);
            let stretch = group.stretch(row, bytes, x.len() * W::LEN);
            for first in (0..len).step_by(16) {
                stretch.fetch(first * W::LEN, 16 * W::LEN);
                let sixteen = (
                    stretch.at.wrapping_add(first * W::LEN),
                    (len - first).min(16),
                );
                let inputs = &inputs.as_chunks().0[first / 16];
                let kept = (&mut factors, &mut offsets);
                // SAFETY: so many blocks of the row are there, and their inputs.
                let sums = unsafe {
                    match sixteen.1 {
                        16 => sums::<W, true>(sixteen, inputs, kept, (first, row), &quants),
                        _ => last_sums::<W>(sixteen, inputs, kept, (first, row), &quants),
                    }
                };
                let mut lanes = Lanes([0; ROWS]);
                store(&mut lanes, sums);
                products.keep(first / 16, row, lanes);
            }
        }
        for (sixteen, x) in part.chunks(16).enumerate() {
            // SAFETY: kept above for all rows, as is what follows.
            let sums = unsafe { products.all(sixteen) };
            let mut rows = [_mm512_setzero_si512(); ROWS];
            for row in 0..ROWS {
                rows[row] = load(&sums[row]);
            }
            let products = transpose(rows);
            for (index, x) in x.iter().enumerate() {
                let at = 16 * sixteen + index;
                // SAFETY: as in the walk.
                let block = |row: usize| unsafe {
                    let at = start + at * W::LEN;
                    &*group.rows[row].wrapping_add(at).cast::<W>()
                };
                let factor = match (W::FACTOR)(block(0)) {
                    // SAFETY: as above: a type has factors of this form in all blocks or none.
                    Some(_) => load_halves(unsafe { factors.all(at) }),
                    None => self::factors(block),
                };
                let offset = match W::OFFSETS {
                    // SAFETY: as above.
                    true => load_halves(unsafe { offsets.all(at) }),
                    false => _mm512_setzero_ps(),
                };
                // A block's sum stands where its place among four and its four have met.
                let products = products[index % 4 * 4 + index / 4];
                sum = finish::<W>(sum, products, (factor, offset), x);
            }
        }
    }
    sum
}
