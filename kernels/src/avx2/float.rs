//! Products of float weights with float activations.
//!
//! The columns of a block go to [`CLASSES`] sums in turn, each one chain of fused multiplications
//! and additions; these are added up in order, and so are the blocks. Few inputs: rows are read as
//! they lie in the file, so that a register holds the sums of all classes. Many inputs: a panel of
//! weights is turned, so that eight rows' elements of one column stand in a register, and is
//! multiplied with a few inputs at a time, class after class. The results agree bit for bit.

use core::arch::x86_64::*;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

use half::{bf16, f16};

use super::gemv;
use super::packed::{Addresses8, fetch, product, write};
use super::register::{LANES, Lanes8, ROWS, load_floats, load_half, store, transpose, turn};
use crate::generic::{Gemm, Gemv, Operands, Strip, Tiles};
use crate::{MatMul, MatMulFn};
use rillm_formats::manifest::DType;

/// Columns whose products are summed by themselves: a panel of so many fits the nearest cache,
/// and errors grow more slowly.
const BLOCK: usize = 256;

/// Sums of a block, to which its columns go in turn: one to a lane.
const CLASSES: usize = LANES;

/// Columns of a whole block in each of them.
const DEPTH: usize = BLOCK / CLASSES;

/// Blocks of which eight rows' sums are kept.
const KEPT: usize = 32;

/// Registers of rows in a panel.
const WIDTH: usize = 2;

/// Inputs that a step of the product by panels takes: with so many registers of rows, their sums
/// leave just enough of the sixteen for what is multiplied.
const INPUTS: usize = 6;

/// The product of a type of floats.
pub(super) fn of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::F32 => product::<Turned8<Avx2F32>>,
        DType::F16 => product::<Turned8<Avx2F16>>,
        DType::BF16 => product::<Turned8<Avx2Bf16>>,
        _ => return None,
    })
}

/// The product of a type of floats stored `[columns][weight_rows]`.
pub(super) fn transposed_of(dtype: DType) -> Option<MatMulFn> {
    Some(match dtype {
        DType::F32 => transposed_f32,
        DType::F16 => transposed_f16,
        DType::BF16 => transposed_bf16,
        _ => return None,
    })
}

/// A type of weights.
///
/// # Safety
///
/// Of all functions: the CPU has this table's instructions, and the row, which begins with a block
/// of the type, has these columns.
pub(super) trait Avx2Floats {
    /// A block.
    type Weights;
    /// Columns of one.
    const ELEMENTS: usize;
    /// Bytes of so many columns, which are whole blocks.
    #[inline(always)]
    fn bytes(columns: usize) -> usize {
        columns / Self::ELEMENTS * size_of::<Self::Weights>()
    }
    /// Eight columns as floats, a multiple of them behind where the row begins.
    unsafe fn eight(row: *const u8, column: usize) -> __m256;
    /// The same where there are fewer, the others zero.
    unsafe fn some_of_eight(row: *const u8, column: usize, there: usize) -> __m256;
}

struct Avx2F32;
struct Avx2F16;
struct Avx2Bf16;

macro_rules! weights {
    ($($type:ident = $bytes:literal, $load:ident;)*) => {$(
        impl Avx2Floats for $type {
            type Weights = [u8; $bytes];
            const ELEMENTS: usize = 1;
            #[inline(always)]
            unsafe fn eight(row: *const u8, column: usize) -> __m256 {
                // SAFETY: the caller's promise; the array has alignment 1.
                unsafe { $load(&*row.wrapping_add(column * $bytes).cast()) }
            }
            #[inline(always)]
            unsafe fn some_of_eight(row: *const u8, column: usize, there: usize) -> __m256 {
                let mut padded = [[0; $bytes]; LANES];
                let from = row.wrapping_add(column * $bytes);
                // SAFETY: the caller's promise.
                unsafe {
                    let len = there.min(LANES) * $bytes;
                    core::ptr::copy_nonoverlapping(from, padded.as_mut_ptr().cast(), len);
                    $load(&padded)
                }
            }
        }
    )*};
}

weights! {
    Avx2F32 = 4, load_f32;
    Avx2F16 = 2, load_f16;
    Avx2Bf16 = 2, load_bf16;
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_f32(from: &[[u8; 4]; LANES]) -> __m256 {
    load_floats(from)
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn load_f16(from: &[[u8; 2]; LANES]) -> __m256 {
    _mm256_cvtph_ps(load_half(from))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_bf16(from: &[[u8; 2]; LANES]) -> __m256 {
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(load_half(
        from,
    ))))
}

/// Products of a type whose panels are turned.
pub(super) struct Turned8<W>(PhantomData<W>);

impl<W: Avx2Floats> Operands for Turned8<W> {
    type Weights = W::Weights;
    type Inputs = [u8; 4];
    const ELEMENTS: [usize; 2] = [W::ELEMENTS, 1];
}

impl<W: Avx2Floats> Gemv for Turned8<W> {
    const ROWS: usize = ROWS;
    type Prepared = ();

    #[inline(always)]
    fn prepared() {}

    #[inline(always)]
    unsafe fn gemv(rows: &Strip<'_>, x: &[[u8; 4]], _: &mut (), out: *mut f32) {
        // SAFETY: the caller's promise, handed on.
        unsafe { write(out, rows.left(), eight::<W>(rows, x)) }
    }
}

/// The results of eight rows with an input, each row read in the order of memory.
///
/// # Safety
///
/// Each row is as long as the input.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn eight<W: Avx2Floats>(strip: &Strip<'_>, x: &[[u8; 4]]) -> __m256 {
    let (rows, ahead): (Addresses8, _) = (strip.rows(0), strip.call.tuning.ahead);
    // Not cleared beforehand: that would take as long as a good part of the walk.
    let mut kept = [const { [const { MaybeUninit::<Lanes8<f32>>::uninit() }; ROWS] }; KEPT];
    let (columns, x) = (x.len(), x.as_ptr().cast::<u8>());
    let whole = columns / BLOCK * BLOCK;
    let mut total = _mm256_setzero_ps();
    for part in (0..whole).step_by(KEPT * BLOCK) {
        let blocks = (whole - part).min(KEPT * BLOCK) / BLOCK;
        for row in 0..ROWS {
            for block in 0..blocks {
                let start = part + block * BLOCK;
                let weights = rows[row].wrapping_add(W::bytes(start));
                let x = x.wrapping_add(start * size_of::<f32>());
                gemv::fetch(weights.wrapping_add(ahead), W::bytes(BLOCK));
                // SAFETY: the row and the input have these columns.
                let sums = unsafe { sums::<W>(weights, x) };
                let mut lanes = Lanes8([0.0; ROWS]);
                store(&mut lanes, _mm256_castps_si256(sums));
                kept[block][row].write(lanes);
            }
        }
        for block in 0..blocks {
            let half = |which: usize| {
                transpose(|row| {
                    // SAFETY: written above for all rows.
                    let lanes = unsafe { kept[block][row].assume_init_ref() };
                    load_half(&lanes.0.as_chunks::<4>().0[which])
                })
            };
            let sums = [half(0), half(1)];
            let mut sum = _mm256_castsi256_ps(sums[0][0]);
            for class in 1..CLASSES {
                let next = _mm256_castsi256_ps(sums[class / 4][class % 4]);
                sum = _mm256_add_ps(sum, next);
            }
            total = match part + block {
                0 => sum,
                _ => _mm256_add_ps(total, sum),
            };
        }
    }
    if whole < columns {
        let rest = rows.map(|row| row.wrapping_add(W::bytes(whole)));
        let x = x.wrapping_add(whole * size_of::<f32>());
        // SAFETY: the rows and the input have these columns.
        let sum = unsafe { last::<W>(&rest, x, columns - whole, ahead) };
        total = match whole {
            0 => sum,
            _ => _mm256_add_ps(total, sum),
        };
    }
    total
}

/// The sums of one class of `M` inputs with a panel.
///
/// # Safety
///
/// The class has so many columns in the panel and in each input, from the addresses on.
#[inline(always)]
unsafe fn class_sums<const M: usize>(
    panel: *const Lanes8<f32>,
    x: &[*const u8; M],
    columns: usize,
) -> [[__m256; WIDTH]; M] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); WIDTH]; M];
        for column in 0..columns {
            let mut weights = [_mm256_setzero_ps(); WIDTH];
            for r in 0..WIDTH {
                weights[r] = load_floats(&*panel.add(column * WIDTH + r));
            }
            for m in 0..M {
                let x = x[m].wrapping_add(column * CLASSES * size_of::<f32>());
                let x = _mm256_set1_ps(x.cast::<f32>().read_unaligned());
                for r in 0..WIDTH {
                    sums[m][r] = _mm256_fmadd_ps(weights[r], x, sums[m][r]);
                }
            }
        }
        sums
    }
}

/// A row's sums of a block, a class to a lane.
///
/// # Safety
///
/// There are as many weights and inputs.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn sums<W: Avx2Floats>(weights: *const u8, x: *const u8) -> __m256 {
    let mut sums = _mm256_setzero_ps();
    for column in (0..BLOCK).step_by(CLASSES) {
        // SAFETY: the caller's promise.
        unsafe {
            let weights = W::eight(weights, column);
            let x = _mm256_loadu_ps(x.cast::<f32>().wrapping_add(column));
            sums = _mm256_fmadd_ps(weights, x, sums);
        }
    }
    sums
}

/// What a last block of eight rows, which has fewer columns, comes to: side by side, for they are
/// near each other or at their rows' ends.
///
/// # Safety
///
/// There are as many weights in each row, and inputs.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn last<W: Avx2Floats>(
    rows: &Addresses8,
    x: *const u8,
    columns: usize,
    ahead: usize,
) -> __m256 {
    let mut sums = [_mm256_setzero_ps(); ROWS];
    let whole = columns / CLASSES * CLASSES;
    for column in (0..whole).step_by(CLASSES) {
        // SAFETY: the caller's promise.
        unsafe {
            let x = _mm256_loadu_ps(x.cast::<f32>().wrapping_add(column));
            for row in 0..ROWS {
                if W::bytes(column) % 64 == 0 {
                    gemv::fetch(rows[row].wrapping_add(W::bytes(column) + ahead), 64);
                }
                sums[row] = _mm256_fmadd_ps(W::eight(rows[row], column), x, sums[row]);
            }
        }
    }
    if whole < columns {
        let there = columns - whole;
        // In place of other inputs stands what changes no sum, not even a zero's sign.
        let mut padded = [-0.0f32; LANES];
        // SAFETY: the caller's promise.
        unsafe {
            let x = x.cast::<f32>().wrapping_add(whole).cast::<u8>();
            let len = there.min(LANES) * size_of::<f32>();
            core::ptr::copy_nonoverlapping(x, padded.as_mut_ptr().cast(), len);
            for row in 0..ROWS {
                let weights = W::some_of_eight(rows[row], whole, there);
                sums[row] = _mm256_fmadd_ps(weights, load_floats(&padded), sums[row]);
            }
        }
    }
    let turned = turn(sums);
    let mut sum = turned[0];
    for class in 1..CLASSES {
        if class < columns {
            sum = _mm256_add_ps(sum, turned[class]);
        }
    }
    sum
}

/// A panel: `[class][column of it][row]`.
type Turned = [Lanes8<f32>; WIDTH * BLOCK];

impl<W: Avx2Floats> Gemm for Turned8<W> {
    const ROWS: usize = WIDTH * ROWS;
    const COLUMNS: usize = BLOCK;
    const INPUTS: usize = INPUTS;
    const PACK_STEPS: usize = WIDTH * BLOCK / CLASSES;
    type Panel = Turned;
    const EMPTY: Turned = [Lanes8([0.0; ROWS]); WIDTH * BLOCK];
    type Sums = [__m256; WIDTH];

    /// What changes no sum, not even a zero's sign.
    #[inline(always)]
    unsafe fn zero() -> Self::Sums {
        // SAFETY: the caller's promise.
        [unsafe { _mm256_set1_ps(-0.0) }; WIDTH]
    }

    #[inline(always)]
    unsafe fn pack(strip: &Strip<'_>, panel: &mut Turned) {
        // SAFETY: the caller's promise, handed on.
        unsafe { pack::<W>(strip, panel) }
    }

    #[inline(always)]
    unsafe fn step(tiles: &mut Tiles<'_, Self>) {
        // SAFETY: so many inputs are left.
        unsafe {
            match tiles.left() {
                1 => tiles.tile::<1>(),
                2 => tiles.tile::<2>(),
                3 => tiles.tile::<3>(),
                // Fewer than four have too few sums to keep the multipliers busy.
                4 | 7 | 8 => tiles.tile::<4>(),
                5 | 9 => tiles.tile::<5>(),
                _ => tiles.tile::<INPUTS>(),
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<const N: usize>(
        panel: &Turned,
        x: [&[[u8; 4]]; N],
        ahead: [*const u8; N],
        sums: &mut [Self::Sums; N],
    ) {
        let columns = x[0].len();
        let mut inputs = ahead;
        for n in 0..N {
            inputs[n] = x[n].as_ptr().cast();
        }
        // SAFETY: the caller's promise, handed on.
        unsafe { tile(panel, (&inputs, columns), &ahead, sums) }
    }

    #[inline(always)]
    unsafe fn write(sums: &Self::Sums, out: *mut f32, rows: usize) {
        for r in 0..WIDTH {
            if r * ROWS < rows {
                // SAFETY: the caller's promise.
                unsafe { write(out.wrapping_add(r * ROWS), rows - r * ROWS, sums[r]) };
            }
        }
    }
}

/// Turns up to sixteen rows.
///
/// # Safety
///
/// The strip's columns are there.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn pack<W: Avx2Floats>(strip: &Strip<'_>, panel: &mut Turned) {
    let columns = strip.columns.len();
    for r in 0..WIDTH {
        if r * ROWS >= strip.left() {
            break;
        }
        let rows: Addresses8 = strip.rows(r * ROWS);
        for column in (0..columns).step_by(CLASSES) {
            strip.fetch::<Turned8<W>>((r * BLOCK + column) / CLASSES);
            let mut found = [_mm256_setzero_ps(); ROWS];
            for row in 0..ROWS {
                // SAFETY: the caller promises these columns.
                found[row] = unsafe {
                    match columns - column {
                        CLASSES.. => W::eight(rows[row], column),
                        there => W::some_of_eight(rows[row], column, there),
                    }
                };
            }
            let turned = turn(found);
            for class in 0..CLASSES {
                let at = (class * DEPTH + column / CLASSES) * WIDTH + r;
                store(&mut panel[at], _mm256_castps_si256(turned[class]));
            }
        }
    }
}

/// Adds a panel's products with so many columns of M inputs to their sums.
///
/// # Safety
///
/// The inputs have these columns.
#[inline(never)] // so that the registers are all for its sums
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<const M: usize>(
    panel: &Turned,
    (inputs, columns): (&[*const u8; M], usize),
    ahead: &[*const u8; M],
    sums: &mut [[__m256; WIDTH]; M],
) {
    let mut totals = [[_mm256_setzero_ps(); WIDTH]; M];
    for class in 0..CLASSES.min(columns) {
        if class < M {
            // The hardware does not foresee them.
            fetch::<_MM_HINT_T0>(ahead[class], BLOCK * size_of::<f32>());
        }
        let panel = panel[class * DEPTH * WIDTH..].as_ptr();
        let x = inputs.map(|x| x.wrapping_add(class * size_of::<f32>()));
        // SAFETY: a class has no more columns in a panel; the caller promises these inputs. That a
        // whole block has a number of them known beforehand makes its end foreseeable.
        let sums = unsafe {
            match columns {
                BLOCK => class_sums(panel, &x, DEPTH),
                _ => class_sums(panel, &x, (columns - class).div_ceil(CLASSES)),
            }
        };
        for m in 0..M {
            for r in 0..WIDTH {
                totals[m][r] = match class {
                    0 => sums[m][r],
                    _ => _mm256_add_ps(totals[m][r], sums[m][r]),
                };
            }
        }
    }
    for m in 0..M {
        for r in 0..WIDTH {
            sums[m][r] = _mm256_add_ps(sums[m][r], totals[m][r]);
        }
    }
}

fn f16_to_f32(bytes: [u8; 2]) -> f32 {
    f16::from_le_bytes(bytes).to_f32()
}

fn bf16_to_f32(bytes: [u8; 2]) -> f32 {
    bf16::from_le_bytes(bytes).to_f32()
}

// A trait cannot name functions that need a CPU feature, so the three types share their
// products with stored columns through a macro.
macro_rules! products {
    ($transposed:ident, $columns:ident, $bytes:literal, $load:ident, $decode:path) => {
        #[target_feature(enable = "avx2,fma,f16c")]
        pub(super) unsafe fn $transposed(call: &MatMul) {
            let mut index = 0;
            // SAFETY: the caller's promise, for a range of its inputs.
            unsafe {
                while index + 4 <= call.inputs_len {
                    let rest = $columns::<4, 2>(call, index, 0);
                    let rest = $columns::<4, 1>(call, index, rest);
                    $columns::<4, 0>(call, index, rest);
                    index += 4;
                }
                for index in index..call.inputs_len {
                    let rest = $columns::<1, 8>(call, index, 0);
                    let rest = $columns::<1, 1>(call, index, rest);
                    $columns::<1, 0>(call, index, rest);
                }
            }
        }

        /// Results from the `first` on, `V` registers at a time (or one by one for `V` = 0)
        /// while there are as many; where the next would begin. However wide, each result is
        /// one chain of fused multiplications and additions.
        ///
        /// # Safety
        ///
        /// As for the product, with `N` inputs from `index` on.
        #[inline]
        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn $columns<const N: usize, const V: usize>(
            call: &MatMul,
            index: usize,
            first: usize,
        ) -> usize {
            let width = if V == 0 { 1 } else { V * LANES };
            let mut row = first;
            while row + width <= call.weight_rows {
                let mut wide = [[_mm256_setzero_ps(); V]; N];
                let mut narrow = [0.0f32; N];
                for column in 0..call.columns {
                    // SAFETY: the caller promises `weight_rows` weights in each stored row,
                    // and there are `width` of them from `row` on.
                    let weights: &[[u8; $bytes]] = unsafe {
                        let start = column * call.weight_stride + row * $bytes;
                        core::slice::from_raw_parts(call.weights.add(start).cast(), width)
                    };
                    let (chunks, rest) = weights.as_chunks::<LANES>();
                    for n in 0..N {
                        // SAFETY: the caller promises `columns` floats in each input row.
                        let x = unsafe {
                            let start = call.input(index + n).add(column * 4);
                            start.cast::<f32>().read_unaligned()
                        };
                        for v in 0..V {
                            let weights = $load(&chunks[v]);
                            wide[n][v] = _mm256_fmadd_ps(_mm256_set1_ps(x), weights, wide[n][v]);
                        }
                        if let [weight] = rest {
                            narrow[n] = x.mul_add($decode(*weight), narrow[n]);
                        }
                    }
                }
                for n in 0..N {
                    // SAFETY: the caller promises room for `weight_rows` results per input;
                    // the stores want no alignment.
                    unsafe {
                        let out = call.results(index + n).wrapping_add(row);
                        for v in 0..V {
                            _mm256_storeu_ps(out.byte_add(v * 32), wide[n][v]);
                        }
                        if V == 0 {
                            out.write_unaligned(narrow[n]);
                        }
                    }
                }
                row += width;
            }
            row
        }
    };
}

products!(transposed_f32, columns_f32, 4, load_f32, f32::from_le_bytes);
products!(transposed_f16, columns_f16, 2, load_f16, f16_to_f32);
products!(transposed_bf16, columns_bf16, 2, load_bf16, bf16_to_f32);
