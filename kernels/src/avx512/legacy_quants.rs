//! Groups of 32 weights with a factor each, one or several to a block.

use core::arch::x86_64::*;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

use super::gemv::{Kept, RowGroup};
use super::legacy_columns::SixteenGroups;
use super::legacy_groups::{Avx512Block32, RowGroups, bytes};
use super::packed::{Addresses16, Avx512Product, Panel16, SixteenRows, Sums16, WIDTH, product};
use super::register::{
    Lanes16, ROWS, halves, load, load_floats, load_quarter, store, sum_in_quarters, transpose,
    turn_quarters,
};
use crate::MatMulFn;
use crate::quant::*;
use rillm_formats::manifest::DType;

/// The product of a type.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::Q4_0 => product::<SixteenRows<Avx512Legacy<BlockQ4_0>>>,
        DType::Q4_1 => product::<SixteenRows<Avx512Legacy<BlockQ4_1>>>,
        DType::Q5_0 => product::<SixteenRows<Avx512Legacy<BlockQ5_0>>>,
        DType::Q5_1 => product::<SixteenRows<Avx512Legacy<BlockQ5_1>>>,
        DType::Q8_0 => product::<SixteenRows<Avx512Legacy<BlockQ8_0>>>,
        DType::IQ4_NL => product::<SixteenRows<Avx512Legacy<BlockIQ4NL>>>,
        DType::Q1_0 => product::<SixteenRows<Avx512Legacy<BlockQ1_0>>>,
        DType::Q2_0 => product::<SixteenRows<Avx512Legacy<BlockQ2_0>>>,
        DType::MXFP4 => product::<SixteenRows<Avx512Legacy<BlockMXFP4>>>,
        _ => return None,
    })
}

/// Legacy quants, and what else has groups of 32, with [int8 activations](ActivationQ8_0).
struct Avx512Legacy<W>(PhantomData<W>);

impl<W: Avx512Block32> Avx512Product for Avx512Legacy<W> {
    type Weights = W;
    type Inputs = ActivationQ8_0;
    const ELEMENTS: usize = 32;
    const WEIGHTS: usize = 32 * W::GROUPS;

    #[inline(always)]
    unsafe fn unpack(rows: &Addresses16, blocks: usize, panel: &mut Panel16) {
        // SAFETY: the caller's promise, handed on.
        unsafe { unpack::<W>(rows, blocks, panel) }
    }

    #[inline(always)]
    unsafe fn tile<const N: usize>(
        panels: &[Panel16; WIDTH],
        x: [&[ActivationQ8_0]; N],
        sums: &mut [Sums16; N],
    ) {
        // SAFETY: the caller's promise, handed on.
        unsafe { tile::<W, N>(panels, x, sums) }
    }

    #[inline(always)]
    unsafe fn gemv(group: &RowGroup, x: &[ActivationQ8_0]) -> __m512 {
        // SAFETY: the caller's promise, handed on.
        unsafe { gemv::<W>(group, x) }
    }
}

/// Factors of sixteen rows' blocks of a type that has none in half precision.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn factors<'a, W: Avx512Block32 + 'a>(block: impl Fn(usize) -> &'a W) -> __m512 {
    let mut factors = Lanes16([0.0; ROWS]);
    for row in 0..ROWS {
        factors.0[row] = block(row).integers(0).scale;
    }
    load_floats(&factors)
}

/// What the products of a block are to begin with, so that its weights count as themselves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn start<W: Avx512Block32>(x: &ActivationQ8_0) -> __m512i {
    _mm512_set1_epi32(-W::ZERO_POINT * x.sum())
}

/// sum + factor · products + offset · (sum of the activations), in this order wherever it is
/// needed.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn finish<W: Avx512Block32>(
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
fn tile<W: Avx512Block32, const N: usize>(
    panels: &[Panel16; WIDTH],
    x: [&[ActivationQ8_0]; N],
    sums: &mut [Sums16; N],
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

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn unpack<W: Avx512Block32>(rows: &Addresses16, blocks: usize, panel: &mut Panel16) {
    for index in 0..blocks {
        // SAFETY: so many groups are at each row's address.
        let columns = unsafe { W::columns(SixteenGroups::new(rows, index)) };
        for half in 0..2 {
            for four in 0..4 {
                store(
                    &mut panel.quants[8 * index + 4 * half + four],
                    columns[half][four],
                );
            }
        }
    }
    for index in 0..blocks {
        // SAFETY: as above; blocks have alignment 1 and no invalid bytes.
        let block = |row: usize| unsafe { rows[row].add(bytes::<W>(index)) };
        // SAFETY: such a block begins with them.
        let half = |row: usize, at: usize| unsafe { *block(row).add(at).cast::<[u8; 2]>() };
        let factors = match W::HALVES {
            true => halves(|row| half(row, 0)),
            // SAFETY: as above.
            false => factors(|row| unsafe { &*block(row).cast::<W>() }),
        };
        store(&mut panel.factors[index], _mm512_castps_si512(factors));
        if W::OFFSETS {
            let offsets = halves(|row| half(row, 2));
            store(&mut panel.offsets[index], _mm512_castps_si512(offsets));
        }
    }
}

/// Blocks of a row that are walked before the next row's: what is kept of them stays in the
/// nearest cache.
const RUN: usize = 256;

/// Activations of four blocks: the first sixteen of each, then the others.
type FourInputs = [__m512i; 2];

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn input(x: &[ActivationQ8_0]) -> FourInputs {
    let half = |which: usize| {
        // Those beyond the end meet weights whose products are dropped.
        let sixteen =
            |block: usize| -> &[i8; 16] { &x[block.min(x.len() - 1)].quants.as_chunks().0[which] };
        let bytes = _mm512_castsi128_si512(load_quarter(sixteen(0)));
        let bytes = _mm512_inserti32x4::<1>(bytes, load_quarter(sixteen(1)));
        let bytes = _mm512_inserti32x4::<2>(bytes, load_quarter(sixteen(2)));
        _mm512_inserti32x4::<3>(bytes, load_quarter(sixteen(3)))
    };
    [half(0), half(1)]
}

/// What is kept of sixteen blocks of a row: the sums of their products, as their bytes are,
/// of block 4l + k in lane l of quarter k; their factors; their offsets.
struct SixteenBlocks {
    products: __m512i,
    factors: __m256i,
    offsets: __m256i,
}

/// Up to sixteen blocks. `FULL`: there are sixteen.
///
/// # Safety
///
/// `count` blocks of a row are at `at`. The inputs of all fours that begin before their end
/// have been written.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn sixteen<W: Avx512Block32, const FULL: bool>(
    (at, count): (*const u8, usize),
    inputs: &[MaybeUninit<FourInputs>; 4],
) -> SixteenBlocks {
    let mut dots = [_mm512_setzero_si512(); 4];
    let mut factors = [_mm_setzero_si128(); 4];
    let mut offsets = [_mm_setzero_si128(); 4];
    for k in 0..4 {
        if FULL || 4 * k < count {
            let count = if FULL { 4 } else { (count - 4 * k).min(4) };
            // SAFETY: the caller's promise.
            let (four, [low, high]) = unsafe {
                let four = RowGroups::<W>::new(at.add(bytes::<W>(4 * k)), count);
                (four, inputs[k].assume_init_ref())
            };
            // SAFETY: this function has the instructions.
            let quants = unsafe { W::quants(four) };
            let dot = _mm512_dpbusd_epi32(dots[k], quants[0], *low);
            dots[k] = _mm512_dpbusd_epi32(dot, quants[1], *high);
            factors[k] = match W::HALVES {
                true => four.halves::<0>(),
                false => four.first_bytes(),
            };
            if W::OFFSETS {
                offsets[k] = four.halves::<2>();
            }
        }
    }
    let together = |[a, b, c, d]: [__m128i; 4]| {
        _mm256_set_m128i(_mm_unpacklo_epi64(c, d), _mm_unpacklo_epi64(a, b))
    };
    SixteenBlocks {
        products: sum_in_quarters(dots),
        factors: together(factors),
        offsets: together(offsets),
    }
}

/// Half-precision numbers of each row, turned: number k of all rows in result k.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn turned_halves(of: &[__m256i; ROWS]) -> [__m512i; ROWS] {
    let mut rows = [_mm512_setzero_si512(); ROWS];
    for row in 0..ROWS {
        rows[row] = _mm512_castps_si512(_mm512_cvtph_ps(of[row]));
    }
    transpose(rows)
}

/// The scales of [MXFP4](BlockMXFP4) blocks, of which there are exponents: half of 2^(exponent − 127),
/// whose bits all stand in the upper half of a float.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn turned_exponents(of: &[__m256i; ROWS]) -> [__m512i; ROWS] {
    let one = _mm256_set1_epi16(1);
    let mut rows = [_mm512_setzero_si512(); ROWS];
    for row in 0..ROWS {
        let exponents = of[row];
        let normal = _mm256_slli_epi16::<7>(_mm256_sub_epi16(exponents, one));
        let subnormal = _mm256_slli_epi16::<5>(_mm256_add_epi16(exponents, one));
        let is_subnormal = _mm256_cmple_epu16_mask(exponents, one);
        let upper = _mm256_mask_blend_epi16(is_subnormal, normal, subnormal);
        rows[row] = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(upper));
    }
    transpose(rows)
}

/// Rows of up to four blocks: the sums of four rows' products meet in one register, and nothing
/// need be kept.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn short<W: Avx512Block32>(group: &RowGroup, x: &[ActivationQ8_0]) -> __m512 {
    let len = bytes::<W>(x.len());
    if let [first, second] = x
        && W::HALVES
        && group.rows[ROWS - 1] == group.rows[0].wrapping_add((ROWS - 1) * len)
    {
        return pairs::<W>(group, [first, second]);
    }
    let [low, high] = input(x);
    // Of rows 4i to 4i + 3 in register i, their block k in quarter k.
    let mut fours = [_mm512_setzero_si512(); 4];
    for first in 0..4 {
        let mut dots = [_mm512_setzero_si512(); 4];
        for index in 0..4 {
            let stretch = group.stretch(4 * first + index, (0, len), len);
            stretch.fetch(0, len);
            // SAFETY: so many blocks are at each row's address.
            let quants = unsafe { W::quants(RowGroups::new(stretch.at, x.len())) };
            let dot = _mm512_dpbusd_epi32(dots[index], quants[0], low);
            dots[index] = _mm512_dpbusd_epi32(dot, quants[1], high);
        }
        fours[first] = sum_in_quarters(dots);
    }
    group.fetch((0, 1), (0, len), len);
    let products = turn_quarters(fours);
    let mut sum = _mm512_setzero_ps();
    for (index, x) in x.iter().enumerate() {
        let at = |row: usize| group.rows[row].wrapping_add(bytes::<W>(index));
        // SAFETY: this block is there, and begins with them if its type has halves; blocks have
        // alignment 1 and no invalid bytes.
        let half = |row: usize, from: usize| unsafe { *at(row).wrapping_add(from).cast() };
        let factor = match W::HALVES {
            true => halves(|row| half(row, 0)),
            // SAFETY: as above.
            false => factors(|row| unsafe { &*at(row).cast::<W>() }),
        };
        let offset = match W::OFFSETS {
            true => halves(|row| half(row, 2)),
            false => _mm512_setzero_ps(),
        };
        let products = _mm512_add_epi32(products[index], start::<W>(x));
        sum = finish::<W>(sum, products, (factor, offset), x);
    }
    sum
}

/// Where the sums of a row's block stand in two registers of four dots each, when each dot is that
/// of two rows.
const fn of_pairs(block: usize) -> Lanes16<i32> {
    let mut lanes = Lanes16([0; ROWS]);
    let mut row = 0;
    while row < ROWS {
        let (four, part) = (row / 2, 2 * (row % 2) + block);
        lanes.0[row] = (four / 4 * 16 + 4 * part + four % 4) as i32;
        row += 1;
    }
    lanes
}

/// Rows of two blocks, one after the other: two rows are four blocks.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn pairs<W: Avx512Block32>(group: &RowGroup, x: [&ActivationQ8_0; 2]) -> __m512 {
    let len = bytes::<W>(2);
    let [low, high] = input(&[*x[0], *x[1], *x[0], *x[1]]);
    let mut dots = [_mm512_setzero_si512(); ROWS / 2];
    let mut factors = [_mm_setzero_si128(); ROWS / 2];
    let mut offsets = [_mm_setzero_si128(); ROWS / 2];
    for two in 0..ROWS / 2 {
        let stretch = group.stretch(2 * two, (0, len), len);
        stretch.fetch(0, 2 * len);
        // SAFETY: this row's two blocks and the next one's, which follow.
        let four = unsafe { RowGroups::<W>::new(stretch.at, 4) };
        // SAFETY: this function has the instructions.
        let quants = unsafe { W::quants(four) };
        let dot = _mm512_dpbusd_epi32(dots[two], quants[0], low);
        dots[two] = _mm512_dpbusd_epi32(dot, quants[1], high);
        factors[two] = four.halves::<0>();
        if W::OFFSETS {
            offsets[two] = four.halves::<2>();
        }
    }
    group.fetch((0, 1), (0, len), len);
    let [a, b, c, d, e, f, g, h] = dots;
    let products = [sum_in_quarters([a, b, c, d]), sum_in_quarters([e, f, g, h])];
    // Four half-words of each register, row by row.
    let together = |[a, b, c, d, e, f, g, h]: [__m128i; ROWS / 2]| {
        let four = |a: __m128i, b: __m128i, c: __m128i, d: __m128i| {
            _mm256_set_m128i(_mm_unpacklo_epi64(c, d), _mm_unpacklo_epi64(a, b))
        };
        let first = _mm512_castsi256_si512(four(a, b, c, d));
        _mm512_inserti64x4::<1>(first, four(e, f, g, h))
    };
    let (factors, offsets) = (together(factors), together(offsets));
    let every_second = |halves: __m512i| _mm512_cvtph_ps(_mm512_cvtepi32_epi16(halves));
    let mut sum = _mm512_setzero_ps();
    for (index, x) in x.into_iter().enumerate() {
        let of = match index {
            0 => load(const { &of_pairs(0) }),
            _ => load(const { &of_pairs(1) }),
        };
        let products = _mm512_permutex2var_epi32(products[0], of, products[1]);
        let products = _mm512_add_epi32(products, start::<W>(x));
        let at = |halves: __m512i| match index {
            0 => every_second(halves),
            _ => every_second(_mm512_srli_epi32::<16>(halves)),
        };
        sum = finish::<W>(sum, products, (at(factors), at(offsets)), x);
    }
    sum
}

#[inline(never)] // so that what is kept lies on a stack of its own
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn gemv<W: Avx512Block32>(group: &RowGroup, x: &[ActivationQ8_0]) -> __m512 {
    if x.len() <= 4 {
        return short::<W>(group, x);
    }
    let mut inputs = [const { MaybeUninit::<FourInputs>::uninit() }; RUN / 4];
    let mut products = Kept::<__m512i, { RUN / 16 }>::new();
    let mut factors = Kept::<__m256i, { RUN / 16 }>::new();
    let mut offsets = Kept::<__m256i, { RUN / 16 }>::new();
    let mut sum = _mm512_setzero_ps();
    for (run, part) in x.chunks(RUN).enumerate() {
        for (input, x) in inputs.iter_mut().zip(part.chunks(4)) {
            input.write(self::input(x));
        }
        let len = part.len();
        let from = bytes::<W>(run * RUN);
        let part_bytes = (from, from + bytes::<W>(len));
        for row in 0..ROWS {
            let stretch = group.stretch(row, part_bytes, bytes::<W>(x.len()));
            for first in (0..len).step_by(16) {
                stretch.fetch(bytes::<W>(first), bytes::<W>(16));
                let blocks = (
                    stretch.at.wrapping_add(bytes::<W>(first)),
                    (len - first).min(16),
                );
                let inputs = &inputs.as_chunks().0[first / 16];
                // SAFETY: so many blocks of the row are there, and their inputs.
                let found = unsafe {
                    match blocks.1 {
                        16 => sixteen::<W, true>(blocks, inputs),
                        _ => sixteen::<W, false>(blocks, inputs),
                    }
                };
                products.keep(first / 16, row, found.products);
                factors.keep(first / 16, row, found.factors);
                if W::OFFSETS {
                    offsets.keep(first / 16, row, found.offsets);
                }
            }
        }
        for (sixteen, inputs) in part.chunks(16).enumerate() {
            group.fetch((sixteen, len.div_ceil(16)), part_bytes, bytes::<W>(x.len()));
            // SAFETY: kept above for all rows.
            let products = transpose(*unsafe { products.all(sixteen) });
            // SAFETY: the same.
            let factors = unsafe { factors.all(sixteen) };
            let factors_of = match W::HALVES {
                true => turned_halves(factors),
                false => turned_exponents(factors),
            };
            let mut offsets_of = [_mm512_setzero_si512(); ROWS];
            if W::OFFSETS {
                // SAFETY: the same.
                offsets_of = turned_halves(unsafe { offsets.all(sixteen) });
            }
            for (index, x) in inputs.iter().enumerate() {
                let factor = _mm512_castsi512_ps(factors_of[index]);
                let offset = _mm512_castsi512_ps(offsets_of[index]);
                // A block's sum stands where its place among four and its four have met.
                let products = products[index % 4 * 4 + index / 4];
                let products = _mm512_add_epi32(products, start::<W>(x));
                sum = finish::<W>(sum, products, (factor, offset), x);
            }
        }
    }
    sum
}
