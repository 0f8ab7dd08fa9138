//! Blocks of 32 weights with a factor each.

use core::arch::x86_64::*;

use super::panel::{Panel, Rows, fetch_ahead, product};
use super::register::{
    Lanes, ROWS, halves, load, load_floats, load_half, load_quarter, store, sum_half_rows,
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
            let quants = |$b: &$block| $quants;
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
                    |rows, x, _, sum| direct(rows, x, sum, quants),
                )
            }
        }
    )*};
}

kernels! {
    q4_0: BlockQ4_0, 8, |b| Some(b.scale), |_| [0; 2],
        |b| nibbles(&b.quants);
    q4_1: BlockQ4_1, 0, |b| Some(b.scale), |b| b.min,
        |b| nibbles(&b.quants);
    q5_0: BlockQ5_0, 16, |b| Some(b.scale), |_| [0; 2],
        |b| with_fifth(&b.quants, b.high);
    q5_1: BlockQ5_1, 0, |b| Some(b.scale), |b| b.min,
        |b| with_fifth(&b.quants, b.high);
    q8_0: BlockQ8_0, 128, |b| Some(b.scale), |_| [0; 2],
        |b| above_128(load_half(&b.quants));
    iq4_nl: BlockIQ4NL, 128, |b| Some(b.scale), |_| [0; 2],
        |b| above_128(values(&IQ4_VALUES, &b.quants));
    mxfp4: BlockMXFP4, 128, |_| None, |_| [0; 2],
        |b| above_128(values(&FP4_VALUES, &b.quants));
}

/// Signed bytes: turning the highest bit adds 128.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn above_128(quants: __m256i) -> __m256i {
    _mm256_xor_si256(quants, _mm256_set1_epi8(-128))
}

/// Low halves of sixteen bytes, then their high halves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn nibbles(bytes: &[u8; 16]) -> __m256i {
    let bytes = _mm256_broadcastsi128_si256(load_quarter(bytes));
    let shifts = _mm256_inserti128_si256::<1>(_mm256_setzero_si256(), _mm_set1_epi16(4));
    _mm256_and_si256(_mm256_srlv_epi16(bytes, shifts), _mm256_set1_epi8(15))
}

/// [`nibbles`] with a fifth bit, bit i of a u32 for weight i.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn with_fifth(bytes: &[u8; 16], high: [u8; 4]) -> __m256i {
    let nibbles = nibbles(bytes);
    let set = u32::from_le_bytes(high);
    _mm256_mask_add_epi8(nibbles, set, nibbles, _mm256_set1_epi8(16))
}

/// What [`nibbles`] stand for.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn values(values: &[i8; 16], bytes: &[u8; 16]) -> __m256i {
    let values = _mm256_broadcastsi128_si256(load_quarter(values));
    _mm256_shuffle_epi8(values, nibbles(bytes))
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

/// A panel of some blocks against `N` inputs.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn tile<W: Stored, const N: usize>(
    panel: &Panel,
    x: [&[ActivationQ8_0]; N],
    sums: &mut [__m512; N],
) {
    for block in 0..x[0].len().min(panel.factors.len()) {
        let mut products = [_mm512_setzero_si512(); N];
        for n in 0..N {
            products[n] = start::<W>(&x[n][block]);
        }
        for group in 0..8 {
            let weights = load(&panel.quants[8 * block + group]);
            for n in 0..N {
                // SAFETY: eight groups of four lie in a block's quants; the read wants no
                // alignment.
                let four = unsafe {
                    let quants = x[n][block].quants.as_ptr();
                    quants.cast::<i32>().add(group).read_unaligned()
                };
                products[n] = _mm512_dpbusd_epi32(products[n], weights, _mm512_set1_epi32(four));
            }
        }
        let factors = (
            load_floats(&panel.factors[block]),
            load_floats(&panel.offsets[block]),
        );
        for n in 0..N {
            sums[n] = finish::<W>(sums[n], products[n], factors, &x[n][block]);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn unpack<W: Stored>(
    rows: &Rows,
    blocks: usize,
    panel: &mut Panel,
    quants: impl Fn(&W) -> __m256i,
) {
    // SAFETY: so many blocks are at each row's address; they have alignment 1 and no invalid
    // bytes.
    let block =
        |row: usize, index: usize| unsafe { &*rows[row].wrapping_add(index * W::LEN).cast::<W>() };
    for index in (0..blocks).step_by(2) {
        // A last one without a neighbour stands twice: what it leaves behind is not read.
        let second = (index + 1).min(blocks - 1);
        let mut pair = [_mm512_setzero_si512(); ROWS];
        for (row, pair) in pair.iter_mut().enumerate() {
            let first = _mm512_castsi256_si512(quants(block(row, index)));
            *pair = _mm512_inserti64x4::<1>(first, quants(block(row, second)));
        }
        let words = transpose(pair);
        // The second block of an odd last one has no place in the panel.
        for group in 0..words.len().min(panel.quants.len() - 8 * index) {
            store(&mut panel.quants[8 * index + group], words[group]);
        }
    }
    for index in 0..blocks {
        let factors = factors(|row| block(row, index));
        store(&mut panel.factors[index], _mm512_castps_si512(factors));
        if W::OFFSETS {
            let offsets = halves(|row| (W::OFFSET)(block(row, index)));
            store(&mut panel.offsets[index], _mm512_castps_si512(offsets));
        }
    }
}

#[inline(never)] // so that the sixteen addresses are read where they are, not spilled
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn direct<W: Stored>(
    (rows, next): (&Rows, *const u8),
    x: &[ActivationQ8_0],
    sum: &mut __m512,
    quants: impl Fn(&W) -> __m256i,
) {
    for (index, x) in x.iter().enumerate() {
        fetch_ahead(next, index, W::LEN);
        // SAFETY: as in `unpack`; all blocks of a row are there.
        let block = |row: usize| unsafe { &*rows[row].wrapping_add(index * W::LEN).cast::<W>() };
        let activations = load_half(&x.quants);
        let mut products = [_mm256_setzero_si256(); ROWS];
        for (row, products) in products.iter_mut().enumerate() {
            *products = _mm256_dpbusd_epi32(*products, quants(block(row)), activations);
        }
        let products = _mm512_add_epi32(sum_half_rows(products), start::<W>(x));
        let offset = if W::OFFSETS {
            halves(|row| (W::OFFSET)(block(row)))
        } else {
            _mm512_setzero_ps()
        };
        *sum = finish::<W>(*sum, products, (factors(block), offset), x);
    }
}
