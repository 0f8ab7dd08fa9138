//! Blocks of 32 weights with a factor each.

use core::arch::x86_64::*;

use super::panel::{Panel, Rows, fetch_ahead, product};
use super::register::{
    ROWS, halves, load, load_floats, load_half, load_quarter, store, sum_half_rows, transpose,
};
use crate::kernels::MatMul;
use crate::quant::{ActivationQ8_0, BlockQ4_0, BlockQ8_0};

/// A block whose weights are stored so much above themselves.
trait Block {
    /// Bytes.
    const LEN: usize;
    /// What a stored weight is above itself.
    const ABOVE: i32;

    /// The factor.
    fn factor(&self) -> [u8; 2];
}

impl Block for BlockQ8_0 {
    const LEN: usize = BlockQ8_0::LEN;
    const ABOVE: i32 = 128;

    fn factor(&self) -> [u8; 2] {
        self.scale
    }
}

impl Block for BlockQ4_0 {
    const LEN: usize = BlockQ4_0::LEN;
    const ABOVE: i32 = 8;

    fn factor(&self) -> [u8; 2] {
        self.scale
    }
}

macro_rules! kernel {
    ($name:ident, $block:ty, $quants:ident) => {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        pub(super) unsafe fn $name(call: &MatMul) {
            let quants = |block: &$block| $quants(block);
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
    };
}

kernel!(q8_0, BlockQ8_0, q8_0_quants);
kernel!(q4_0, BlockQ4_0, q4_0_quants);

/// The stored bytes are signed: turning the highest bit adds 128.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn q8_0_quants(block: &BlockQ8_0) -> __m256i {
    _mm256_xor_si256(load_half(&block.quants), _mm256_set1_epi8(-128))
}

/// Low halves of sixteen bytes, then their high halves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn q4_0_quants(block: &BlockQ4_0) -> __m256i {
    let bytes = _mm256_broadcastsi128_si256(load_quarter(&block.quants));
    let shifts = _mm256_inserti128_si256::<1>(_mm256_setzero_si256(), _mm_set1_epi16(4));
    _mm256_and_si256(_mm256_srlv_epi16(bytes, shifts), _mm256_set1_epi8(15))
}

/// What the products of a block are to begin with, so that its weights count as themselves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn start<W: Block>(x: &ActivationQ8_0) -> __m512i {
    _mm512_set1_epi32(-W::ABOVE * x.sum())
}

/// sum + factor · products, in this order wherever it is needed.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn finish(sum: __m512, products: __m512i, factor: __m512, x: &ActivationQ8_0) -> __m512 {
    let factor = _mm512_mul_ps(factor, _mm512_set1_ps(x.scale()));
    _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), factor, sum)
}

/// A panel of some blocks against `N` inputs.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn tile<W: Block, const N: usize>(
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
        let factor = load_floats(&panel.factors[block]);
        for n in 0..N {
            sums[n] = finish(sums[n], products[n], factor, &x[n][block]);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn unpack<W: Block>(rows: &Rows, blocks: usize, panel: &mut Panel, quants: impl Fn(&W) -> __m256i) {
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
        let factors = halves(|row| block(row, index).factor());
        store(&mut panel.factors[index], _mm512_castps_si512(factors));
    }
}

#[inline(never)] // so that the sixteen addresses are read where they are, not spilled
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn direct<W: Block>(
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
        *sum = finish(*sum, products, halves(|row| block(row).factor()), x);
    }
}
