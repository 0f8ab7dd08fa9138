//! Products of blocks of 256 weights whose factors are whole numbers.
//!
//! A panel of the AVX-512 table is what B wants to be: four columns of sixteen rows side by side.
//! Where factors stand beside its weights, these are multiplied by them into sixteen bits, whose
//! halves are two planes of bytes, the lower one without a sign. So a block is four steps of 64
//! columns for each plane, and no factor is met before their sums: (H « 8) + L is the very integer
//! of the AVX-512 table, and from there on it is the same arithmetic. The results agree bit for bit.

use core::arch::x86_64::*;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

use rillm_formats::manifest::DType;

use super::unit::{TILE_ROW_LEN, TILE_ROWS, TileShapes, TileUnit};
use crate::avx512::block256::{Panel256, excess, finish, part_sums, quarters};
use crate::avx512::packed::{COLUMNS, Panel16, SixteenRows, Sums16, WIDTH, gemm, product};
use crate::avx512::register::{CHOOSE, Lanes16, ROWS, load, load_floats, load_half, store};
use crate::generic::{Gemm, Operands, Strip, Tiles};
use crate::quant::*;
use crate::{MatMul, MatMulFn};

/// Inputs of a tile.
const INPUTS: usize = TILE_ROWS;

/// Inputs from which on tiles pay, which take as long for fewer as for sixteen.
const TILES_FROM_INPUTS: usize = 8;

/// The product of a type.
pub(super) fn of<T: TileUnit>(dtype: DType) -> Option<MatMulFn> {
    let grids = crate::isa::moves_bytes();
    Some(match dtype {
        DType::Q2_K => planes::<BlockQ2K, T>,
        DType::Q3_K => planes::<BlockQ3K, T>,
        DType::Q4_K => planes::<BlockQ4K, T>,
        DType::Q5_K => planes::<BlockQ5K, T>,
        DType::Q6_K => planes::<BlockQ6K, T>,
        DType::IQ4_XS => planes::<BlockIQ4XS, T>,
        DType::TQ1_0 => planes::<BlockTQ1_0, T>,
        DType::TQ2_0 => planes::<BlockTQ2_0, T>,
        DType::IQ1_S if grids => planes::<BlockIQ1S, T>,
        DType::IQ1_M if grids => planes::<BlockIQ1M, T>,
        DType::IQ2_XXS if grids => planes::<BlockIQ2XXS, T>,
        DType::IQ2_XS if grids => planes::<BlockIQ2XS, T>,
        DType::IQ2_S if grids => planes::<BlockIQ2S, T>,
        DType::IQ3_XXS if grids => planes::<BlockIQ3XXS, T>,
        DType::IQ3_S if grids => planes::<BlockIQ3S, T>,
        _ => return None,
    })
}

/// # Safety
///
/// As for [`crate::MatMulFn`], rows being whole blocks of the type; the CPU has the instructions of
/// the AVX-512 table and of the unit.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn planes<K: Panel256, T: TileUnit>(call: &MatMul) {
    // SAFETY: the caller's promise, handed on.
    unsafe {
        if call.inputs_len < TILES_FROM_INPUTS {
            return product::<SixteenRows<K>>(call);
        }
        let _configured = T::configure(&TileShapes::WHOLE);
        gemm::<ByPlanes<K, T>>(call);
    }
}

/// Products of a type by planes.
struct ByPlanes<K, T>(PhantomData<(K, T)>);

/// Panels of the AVX-512 table, side by side. Where a type has two planes, its weights have become
/// the lower one.
struct PlanesPanel {
    panels: [Panel16; WIDTH],
    high: [[[u8; 64]; COLUMNS / 4]; WIDTH],
}

/// Sums of tiles: of each two, which add up to a panel's, an input's in each row.
type TileSums = [[Lanes16<i32>; TILE_ROWS]; 2 * WIDTH];

impl<K: Panel256, T> Operands for ByPlanes<K, T> {
    type Weights = K;
    type Inputs = ActivationQ8K;
    const ELEMENTS: [usize; 2] = [256; 2];
}

impl<K: Panel256, T: TileUnit> Gemm for ByPlanes<K, T> {
    const ROWS: usize = SixteenRows::<K>::ROWS;
    const COLUMNS: usize = COLUMNS;
    const INPUTS: usize = INPUTS;
    const PACK_STEPS: usize = WIDTH;
    type Panel = PlanesPanel;
    const EMPTY: PlanesPanel = PlanesPanel {
        panels: SixteenRows::<K>::EMPTY,
        high: [[[0; 64]; COLUMNS / 4]; WIDTH],
    };
    type Sums = Sums16;

    #[inline(always)]
    unsafe fn zero() -> Sums16 {
        // SAFETY: the caller's promise.
        unsafe { SixteenRows::<K>::zero() }
    }

    #[inline(always)]
    unsafe fn pack(strip: &Strip<'_>, panel: &mut PlanesPanel) {
        // SAFETY: the caller's promise.
        unsafe {
            SixteenRows::<K>::pack_for::<Self>(strip, &mut panel.panels);
            for side in 0..WIDTH {
                if K::PARTS > 0 && side * ROWS < strip.left() {
                    part::<K>(&mut panel.panels[side], &mut panel.high[side]);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn step(tiles: &mut Tiles<'_, Self>) {
        // SAFETY: so many inputs are left.
        unsafe {
            match tiles.left() {
                INPUTS.. => tiles.tile::<INPUTS>(),
                _ => tiles.fewer_than::<INPUTS>(),
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<const N: usize>(
        panel: &PlanesPanel,
        x: [&[ActivationQ8K]; N],
        _: [*const u8; N],
        sums: &mut [Sums16; N],
    ) {
        // SAFETY: the caller's promise, handed on.
        unsafe { tile::<K, T, N>(panel, x, sums) }
    }

    #[inline(always)]
    unsafe fn write(sums: &Sums16, out: *mut f32, rows: usize) {
        // SAFETY: the caller's promise.
        unsafe { SixteenRows::<K>::write(sums, out, rows) }
    }
}

/// Multiplies weights by the factors of their parts and parts the products: lower bytes in the place
/// of the weights, upper ones in `high`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn part<K: Panel256>(panel: &mut Panel16, high: &mut [[u8; 64]; COLUMNS / 4]) {
    let lower = _mm512_set1_epi16(0xff);
    let groups = COLUMNS / 4 / K::PARTS.max(1);
    for part in 0..K::PARTS {
        let scale = load(&panel.scales[part]);
        let scale = _mm512_mask_blend_epi16(0xaaaa_aaaa, scale, _mm512_slli_epi32::<16>(scale));
        let raised = _mm512_mullo_epi16(scale, _mm512_set1_epi16(K::ZERO_POINT as i16));
        for group in part * groups..(part + 1) * groups {
            let quants = load(&panel.quants[group]);
            let (even, odd) = (
                _mm512_and_si512(quants, lower),
                _mm512_srli_epi16::<8>(quants),
            );
            // Modulo 2^16, which holds the difference.
            let even = _mm512_sub_epi16(_mm512_mullo_epi16(even, scale), raised);
            let odd = _mm512_sub_epi16(_mm512_mullo_epi16(odd, scale), raised);
            let low = _mm512_ternarylogic_epi32::<CHOOSE>(lower, even, _mm512_slli_epi16::<8>(odd));
            let upper =
                _mm512_ternarylogic_epi32::<CHOOSE>(lower, _mm512_srli_epi16::<8>(even), odd);
            store(&mut panel.quants[group], low);
            store(&mut high[group], upper);
        }
    }
}

/// Panels of one block against `N` inputs, which are sixteen.
///
/// # Safety
///
/// The thread's tiles are configured, all of them whole.
#[inline(never)] // so that what it keeps lies on a stack of its own
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile<K: Panel256, T: TileUnit, const N: usize>(
    panel: &PlanesPanel,
    x: [&[ActivationQ8K]; N],
    sums: &mut [Sums16; N],
) {
    const { assert!(N == INPUTS) }
    let mut copies = MaybeUninit::uninit();
    let mut tile_sums = MaybeUninit::<TileSums>::uninit();
    let inputs = side_by_side(&x, &mut copies);
    // SAFETY: the caller's promise; the inputs have sixteen rows of 256 bytes. The sums have been
    // written when they are read.
    let tile_sums = unsafe {
        multiply::<K, T>(panel, inputs, &mut tile_sums);
        tile_sums.assume_init_ref()
    };
    for n in 0..N {
        let x = &x[n][0];
        let start = match K::PARTS {
            0 if K::ZERO_POINT != 0 => excess(x, K::ZERO_POINT as i16),
            _ => _mm512_setzero_si512(),
        };
        let mut pairs = Lanes16([0; ROWS]);
        if K::MINS {
            store(&mut pairs, pairs_of_sums::<K>(x));
        }
        for side in 0..WIDTH {
            let (low, high) = (
                load(&tile_sums[2 * side][n]),
                load(&tile_sums[2 * side + 1][n]),
            );
            let high = match K::PARTS {
                0 => high,
                _ => _mm512_slli_epi32::<8>(high),
            };
            let products = _mm512_add_epi32(_mm512_add_epi32(start, low), high);
            let panel = &panel.panels[side];
            let factors = (
                load_floats(&panel.factors[0]),
                load_floats(&panel.min_factor),
            );
            let sum = &mut sums[n][side];
            *sum = match K::MINS {
                true => {
                    let mins = min_products::<K>(panel, &pairs);
                    finish::<true>(*sum, (products, mins), factors, x)
                }
                false => finish::<false>(*sum, (products, products), factors, x),
            };
        }
    }
}

/// Where inputs' activations stand, and how far apart: where they are, if they follow each other as
/// rows do, or copied.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn side_by_side<const N: usize>(
    x: &[&[ActivationQ8K]; N],
    copies: &mut MaybeUninit<[[[u8; 64]; 4]; INPUTS]>,
) -> (*const u8, isize) {
    let address = |n: usize| x[n][0].quants.as_ptr().cast::<u8>();
    let stride = address(1)
        .addr()
        .wrapping_sub(address(0).addr())
        .cast_signed();
    let mut even = true;
    for n in 2..N {
        even &= address(n) == address(0).wrapping_offset(n as isize * stride);
    }
    if even {
        return (address(0), stride);
    }
    let start = copies.as_mut_ptr().cast::<[u8; 64]>();
    for n in 0..N {
        let quarters = quarters(&x[n][0]);
        for quarter in 0..4 {
            // SAFETY: there is room for four of each of sixteen inputs.
            unsafe {
                let to = start.add(4 * n + quarter);
                _mm512_storeu_si512(to.cast(), quarters[quarter]);
            }
        }
    }
    (start.cast(), 4 * TILE_ROW_LEN as isize)
}

/// All products of a block.
///
/// # Safety
///
/// The thread's tiles are configured, all of them whole; the inputs have sixteen rows of 256 bytes.
#[inline(always)]
unsafe fn multiply<K: Panel256, T: TileUnit>(
    panel: &PlanesPanel,
    (inputs, stride): (*const u8, isize),
    sums: &mut MaybeUninit<TileSums>,
) {
    const STEP: usize = TILE_ROW_LEN / 4;
    let [low, second] = &panel.panels;
    let (low, high) = ([&low.quants, &second.quants], &panel.high);
    // SAFETY: the caller's promise; a panel has sixteen rows of B for each of four steps.
    unsafe {
        let mut tiles = T::tiles(&TileShapes::WHOLE);
        tiles.tilezero::<0>();
        tiles.tilezero::<1>();
        tiles.tilezero::<2>();
        tiles.tilezero::<3>();
        if K::PARTS > 0 {
            for step in 0..4 {
                tiles.tileloadd::<4>(inputs.wrapping_add(step * TILE_ROW_LEN), stride);
                let rows = step * STEP..(step + 1) * STEP;
                two_planes::<T, 0, 1>(&mut tiles, &low[0][rows.clone()], &high[0][rows.clone()]);
                two_planes::<T, 2, 3>(&mut tiles, &low[1][rows.clone()], &high[1][rows]);
            }
        } else {
            // Two steps side by side: a product takes longer than until the next can begin.
            for step in [0, 2] {
                tiles.tileloadd::<4>(inputs.wrapping_add(step * TILE_ROW_LEN), stride);
                tiles.tileloadd::<5>(inputs.wrapping_add((step + 1) * TILE_ROW_LEN), stride);
                let rows = step * STEP..(step + 2) * STEP;
                two_steps::<T, 0, 1>(&mut tiles, &low[0][rows.clone()]);
                two_steps::<T, 2, 3>(&mut tiles, &low[1][rows]);
            }
        }
        let start = sums.as_mut_ptr().cast::<u8>();
        let to = |tile: usize| start.wrapping_add(tile * TILE_ROWS * TILE_ROW_LEN);
        let len = TILE_ROW_LEN as isize;
        tiles.tilestored::<0>(to(0), len);
        tiles.tilestored::<1>(to(1), len);
        tiles.tilestored::<2>(to(2), len);
        tiles.tilestored::<3>(to(3), len);
    }
}

/// Adds the products of tile 4 with a step of both planes.
///
/// # Safety
///
/// The thread's tiles are configured, all of them whole; there are sixteen rows.
#[inline(always)]
unsafe fn two_planes<T: TileUnit, const LOW: usize, const HIGH: usize>(
    tiles: &mut T,
    low: &[[u8; 64]],
    high: &[[u8; 64]],
) {
    // SAFETY: the caller's promise.
    unsafe {
        tiles.tileloadd::<6>(low.as_ptr().cast(), TILE_ROW_LEN as isize);
        tiles.tdpbsud::<LOW, 4, 6>();
        tiles.tileloadd::<7>(high.as_ptr().cast(), TILE_ROW_LEN as isize);
        tiles.tdpbssd::<HIGH, 4, 7>();
    }
}

/// Adds the products of tiles 4 and 5 with two steps.
///
/// # Safety
///
/// The thread's tiles are configured, all of them whole; there are two times sixteen rows.
#[inline(always)]
unsafe fn two_steps<T: TileUnit, const FIRST: usize, const SECOND: usize>(
    tiles: &mut T,
    rows: &[[u8; 64]],
) {
    // SAFETY: the caller's promise.
    unsafe {
        tiles.tileloadd::<6>(rows.as_ptr().cast(), TILE_ROW_LEN as isize);
        tiles.tdpbsud::<FIRST, 4, 6>();
        tiles.tileloadd::<7>(rows[TILE_ROWS..].as_ptr().cast(), TILE_ROW_LEN as isize);
        tiles.tdpbsud::<SECOND, 5, 7>();
    }
}

/// What minima are multiplied by: sums of the activations of two neighbouring parts in each lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn pairs_of_sums<K: Panel256>(x: &ActivationQ8K) -> __m512i {
    let words = match K::PARTS {
        8 => _mm512_cvtepi32_epi16(part_sums::<8>(x)),
        _ => load_half(&x.sums),
    };
    _mm512_zextsi256_si512(words)
}

/// Σ min · (sum of a part's activations).
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn min_products<K: Panel256>(panel: &Panel16, pairs: &Lanes16<i32>) -> __m512i {
    let mut products = _mm512_setzero_si512();
    let pairs_len = match K::PARTS {
        8 => 4,
        _ => 8,
    };
    for pair in 0..pairs_len {
        let sums = _mm512_set1_epi32(pairs.0[pair]);
        products = _mm512_dpwssd_epi32(products, sums, load(&panel.mins[pair]));
    }
    products
}
