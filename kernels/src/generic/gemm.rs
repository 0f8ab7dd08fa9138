//! The matrix product, once for all instruction sets.
//!
//! A set supplies the arithmetic of each type of weights as [`Gemv`] and [`Gemm`]; the loops over
//! rows, columns and inputs stand here, with their tails, strides and picks. Two ways lead to the
//! same bits:
//!
//! - **GEMV**, for few inputs: rows meet one input after the other as they lie in memory
//!   ([`Gemv::gemv`]).
//! - **packed GEMM**, for many: some columns of M rows are packed into a panel ([`Gemm::pack`]),
//!   which then meets all inputs, N at a time: a micro-tile of M × N ([`Gemm::tile`]).
//!
//! What a panel looks like, M, and which N there are belong to the set, so that a matrix unit's
//! tiles are one more implementation. The panel and the sums of its products are the driver's: they
//! lie on the stack of the thread that runs the product, and their sizes are known to the compiler.
//!
//! A set compiles the drivers with its instructions by [`products`].

use core::mem::MaybeUninit;
use core::ops::Range;

use super::{LINE, fetch_lines};
use crate::MatMul;

/// Inputs for which a panel is packed once: beyond that, their sums would leave the second cache.
const GROUP: usize = 512;

/// What a product reads.
pub(crate) trait Operands {
    /// A block of a weight row, of alignment 1 and without invalid bytes.
    type Weights;
    /// A block of an input row, likewise.
    type Inputs;
    /// Weights in the one and activations in the other.
    const ELEMENTS: [usize; 2];
}

/// Rows against few inputs.
///
/// # Safety
///
/// Of the functions: the CPU has the set's instructions, and what is pointed to is there.
pub(crate) trait Gemv: Operands {
    /// Rows that meet an input together.
    const ROWS: usize;

    /// What is made of an input once for all rows.
    type Prepared;

    /// Nothing made yet.
    fn prepared() -> Self::Prepared;

    /// Writes the results of [`Gemv::ROWS`] rows, or as many as are left, with an input.
    unsafe fn gemv(
        rows: &Strip<'_>,
        x: &[Self::Inputs],
        prepared: &mut Self::Prepared,
        out: *mut f32,
    );
}

/// Rows against many inputs.
///
/// # Safety
///
/// Of the functions: the CPU has the set's instructions, and what is pointed to is there.
pub(crate) trait Gemm: Operands {
    /// Rows of a panel: M.
    const ROWS: usize;

    /// Columns of a panel: whole blocks of weights and of inputs.
    const COLUMNS: usize;

    /// Inputs of the largest tile.
    const INPUTS: usize;

    /// Times that [`Gemm::pack`] asks for a share of the next strip ([`Strip::fetch`]); none for
    /// those whose rows are not one after the other, or who see to it by themselves.
    const PACK_STEPS: usize = 0;

    /// Some columns of M rows, as the micro-tile wants them.
    type Panel;

    /// A panel before anything is packed.
    const EMPTY: Self::Panel;

    /// The sums of an input with M rows.
    type Sums: Copy;

    /// What sums begin with.
    unsafe fn zero() -> Self::Sums;

    /// Packs a strip. What there is of a panel beyond the rows that are left is not written as a
    /// result.
    unsafe fn pack(strip: &Strip<'_>, panel: &mut Self::Panel);

    /// Takes the next inputs: chooses N by how many are left, and calls [`Tiles::tile`].
    unsafe fn step(tiles: &mut Tiles<'_, Self>)
    where
        Self: Sized;

    /// The micro-tile: adds the products of a panel with N inputs to their sums. `ahead` is where
    /// the same columns of the inputs after these stand, for those who bring them nearer.
    unsafe fn tile<const N: usize>(
        panel: &Self::Panel,
        x: [&[Self::Inputs]; N],
        ahead: [*const u8; N],
        sums: &mut [Self::Sums; N],
    );

    /// Writes the sums of the first `rows` rows, or of all M if there are more.
    unsafe fn write(sums: &Self::Sums, out: *mut f32, rows: usize);
}

/// Some columns of weight rows, from the `first` row on.
pub(crate) struct Strip<'a> {
    pub call: &'a MatMul,
    pub first: usize,
    pub columns: Range<usize>,
    /// Bytes from where a row begins to the columns.
    offset: usize,
    /// Cache lines of the next strip that each step asks for, and that those of the columns before
    /// have asked for.
    share: usize,
    asked: usize,
}

impl<'a> Strip<'a> {
    #[inline(always)]
    fn new<G: Operands>(call: &'a MatMul, first: usize, columns: Range<usize>) -> Self {
        let offset = columns.start / G::ELEMENTS[0] * size_of::<G::Weights>();
        Strip {
            call,
            first,
            columns,
            offset,
            share: 0,
            asked: 0,
        }
    }

    /// Brings nearer a share of the next strip, all columns of its rows in the order of memory: of
    /// rows side by side the hardware foresees nothing. Each step of packing this strip's columns asks
    /// for a share, and each tile of them, so that memory neither rests nor is asked for more at once
    /// than can be on its way.
    #[inline(always)]
    pub fn fetch<G: Gemm>(&self, step: usize) {
        let call = self.call;
        let all = lines_of::<G>(call);
        let from = all.min(self.asked + step * self.share);
        let next = (self.first + G::ROWS) * call.weight_stride + LINE * from;
        fetch_lines(call.weights.wrapping_add(next), self.share.min(all - from));
    }

    /// The same of this strip's own columns, which nobody has asked for while another was worked on.
    #[inline(always)]
    fn fetch_own<G: Gemm>(&self) {
        let len = self.columns.len() / G::ELEMENTS[0] * size_of::<G::Weights>();
        for row in self.first..self.call.weight_rows.min(self.first + G::ROWS) {
            let row = row * self.call.weight_stride + self.offset;
            fetch_lines(self.call.weights.wrapping_add(row), len.div_ceil(LINE));
        }
    }

    /// Rows from the first on.
    #[inline(always)]
    pub fn left(&self) -> usize {
        self.call.weight_rows - self.first
    }

    /// Where the columns of R rows stand, from the `skip`-th on. What there is less is filled up
    /// with the last row, whose further results are dropped.
    #[inline(always)]
    pub fn rows<const R: usize>(&self, skip: usize) -> [*const u8; R] {
        let last = self.call.weight_rows - 1;
        let mut rows = [self.call.weights; R];
        for r in 0..R {
            // In range: the caller promises whole rows, and the offset is below their length.
            let row = (self.first + skip + r).min(last);
            rows[r] = rows[r].wrapping_add(row * self.call.weight_stride + self.offset);
        }
        rows
    }
}

/// A panel and the inputs that it is to meet.
pub(crate) struct Tiles<'a, G: Gemm> {
    pub strip: &'a Strip<'a>,
    /// The inputs for which the panel has been packed.
    pub inputs: Range<usize>,
    /// The next of them.
    pub index: usize,
    /// Tiles so far.
    pub done: usize,
    panel: &'a G::Panel,
    sums: &'a mut [G::Sums],
}

impl<G: Gemm> Tiles<'_, G> {
    /// Inputs that the panel has not met.
    #[inline(always)]
    pub fn left(&self) -> usize {
        self.inputs.end - self.index
    }

    /// The panel and the next N inputs.
    ///
    /// # Safety
    ///
    /// There are N.
    #[inline(always)]
    pub unsafe fn tile<const N: usize>(&mut self) {
        let (call, columns) = (self.strip.call, &self.strip.columns);
        let offset = columns.start / G::ELEMENTS[1] * size_of::<G::Inputs>();
        let mut x: [&[G::Inputs]; N] = [&[]; N];
        let mut ahead = [call.inputs; N];
        for n in 0..N {
            let next = (self.index + n + N).min(self.inputs.end - 1);
            // SAFETY: there are these inputs, and they have these columns.
            unsafe {
                x[n] = input::<G>(call, self.index + n, columns);
                ahead[n] = call.input(next).wrapping_add(offset);
            }
        }
        let (sums, _) = self.sums[self.index - self.inputs.start..].as_chunks_mut::<N>();
        let sums: *mut [G::Sums; N] = &mut sums[0];
        // SAFETY: whoever calls the driver has the instructions; nobody else uses these sums.
        unsafe {
            if G::PACK_STEPS > 0 {
                self.fetch(N);
            }
            G::tile(self.panel, x, ahead, &mut *sums);
        }
        self.index += N;
        self.done += 1;
    }

    /// Brings nearer what is packed next and, when there is nothing left of this strip, where so many
    /// inputs' results go.
    ///
    /// # Safety
    ///
    /// There are these inputs.
    #[inline(never)]
    unsafe fn fetch(&self, inputs: usize) {
        let (strip, call) = (self.strip, self.strip.call);
        strip.fetch::<G>(G::PACK_STEPS + self.done);
        if strip.columns.end == call.columns {
            for n in 0..inputs {
                // SAFETY: the caller's promise.
                let results = unsafe { call.results(self.index + n) }.wrapping_add(strip.first);
                // They may begin anywhere in a line.
                fetch_lines(results.cast(), G::ROWS * size_of::<f32>() / LINE + 1);
            }
        }
    }

    /// The panel and all inputs that are left, fewer than N: a tile of N, filled up with the last
    /// one, whose further sums are dropped.
    ///
    /// # Safety
    ///
    /// There is one at least, and there are fewer than N.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // tiles of a fixed size
    #[inline(always)]
    pub unsafe fn fewer_than<const N: usize>(&mut self) {
        let (call, columns) = (self.strip.call, &self.strip.columns);
        let (from, left) = (self.index - self.inputs.start, self.left());
        let mut x: [&[G::Inputs]; N] = [&[]; N];
        for n in 0..N {
            // SAFETY: there are these inputs, and they have these columns.
            x[n] = unsafe { input::<G>(call, self.index + n.min(left - 1), columns) };
        }
        // SAFETY: whoever calls the driver has the instructions.
        let mut sums = [unsafe { G::zero() }; N];
        sums[..left].copy_from_slice(&self.sums[from..]);
        let ahead = x.map(|x| x.as_ptr().cast());
        // SAFETY: as above.
        unsafe {
            if G::PACK_STEPS > 0 {
                self.fetch(left);
            }
            G::tile(self.panel, x, ahead, &mut sums);
        }
        self.sums[from..].copy_from_slice(&sums[..left]);
        self.index += left;
        self.done += 1;
    }
}

/// Some columns of an input.
///
/// # Safety
///
/// There are these, whole blocks.
#[inline(always)]
unsafe fn input<'a, G: Operands>(
    call: &MatMul,
    index: usize,
    columns: &Range<usize>,
) -> &'a [G::Inputs] {
    // SAFETY: the caller's promise; blocks have alignment 1.
    unsafe {
        let start = call.input(index).cast::<G::Inputs>();
        let len = columns.len() / G::ELEMENTS[1];
        core::slice::from_raw_parts(start.add(columns.start / G::ELEMENTS[1]), len)
    }
}

/// Cache lines of a whole strip.
#[inline(always)]
fn lines_of<G: Gemm>(call: &MatMul) -> usize {
    G::ROWS * call.weight_stride / LINE
}

/// The product with few inputs.
///
/// # Safety
///
/// As for [`crate::MatMulFn`], rows being whole blocks; the CPU has the set's
/// instructions.
#[inline(always)]
pub(crate) unsafe fn gemv<G: Gemv>(call: &MatMul) {
    const { assert!(align_of::<G::Weights>() == 1 && align_of::<G::Inputs>() == 1) }
    let mut prepared = G::prepared();
    let mut first = 0;
    while first < call.weight_rows {
        let strip = Strip::new::<G>(call, first, 0..call.columns);
        for index in 0..call.inputs_len {
            // SAFETY: the caller promises these inputs and results.
            unsafe {
                let x = input::<G>(call, index, &strip.columns);
                let out = call.results(index).wrapping_add(first);
                G::gemv(&strip, x, &mut prepared, out);
            }
        }
        first += G::ROWS;
    }
}

/// The product with many inputs: a panel of some columns meets all inputs of a group, then a panel
/// of the next columns.
///
/// # Safety
///
/// As for [`gemv`].
#[inline(always)]
pub(crate) unsafe fn gemm<G: Gemm>(call: &MatMul) {
    const { assert!(align_of::<G::Weights>() == 1 && align_of::<G::Inputs>() == 1) }
    let mut panel = G::EMPTY;
    let steps = G::PACK_STEPS + call.inputs_len.min(GROUP).div_ceil(G::INPUTS);
    let all_steps = call.columns.div_ceil(G::COLUMNS) * steps;
    let share = lines_of::<G>(call).div_ceil(all_steps.max(1));
    // Not cleared beforehand: most calls have far fewer inputs.
    let mut room = [const { MaybeUninit::<G::Sums>::uninit() }; GROUP];
    let mut first = 0;
    while first < call.weight_rows {
        let mut group = 0;
        while group < call.inputs_len {
            let inputs = group..call.inputs_len.min(group + GROUP);
            let room = &mut room[..inputs.len()];
            for sums in &mut *room {
                // SAFETY: whoever calls this has the instructions.
                sums.write(unsafe { G::zero() });
            }
            // SAFETY: all have just been written.
            let sums = unsafe { &mut *(&raw mut *room as *mut [G::Sums]) };
            let mut start = 0;
            while start < call.columns {
                let end = call.columns.min(start.saturating_add(G::COLUMNS));
                let strip = Strip {
                    share,
                    asked: start / G::COLUMNS * steps * share,
                    ..Strip::new::<G>(call, first, start..end)
                };
                if G::PACK_STEPS > 0 && first == 0 {
                    strip.fetch_own::<G>();
                }
                // SAFETY: the caller promises these columns.
                unsafe { G::pack(&strip, &mut panel) };
                let mut tiles = Tiles::<G> {
                    strip: &strip,
                    inputs: inputs.clone(),
                    index: inputs.start,
                    done: 0,
                    panel: &panel,
                    sums,
                };
                while tiles.left() > 0 {
                    // SAFETY: the caller promises these inputs.
                    unsafe { G::step(&mut tiles) };
                }
                start = end;
            }
            for (index, sums) in inputs.zip(&*sums) {
                // SAFETY: the caller promises these results.
                unsafe {
                    let out = call.results(index).wrapping_add(first);
                    G::write(sums, out, call.weight_rows - first);
                }
            }
            group += GROUP;
        }
        first += G::ROWS;
    }
}

/// Whether there are so many inputs that packing pays.
#[inline(always)]
pub(crate) fn packing_pays<G: Operands>(call: &MatMul) -> bool {
    let from = &call.tuning.pack_from;
    let from = match const { size_of::<G::Weights>() / G::ELEMENTS[0] } {
        0 => from.parts,
        1 => from.bytes,
        _ => from.floats,
    };
    call.inputs_len >= from
}

/// Compiles the drivers with a set's instructions, each with a frame of its own: what many inputs
/// take of the stack is none of a product with few.
// Elsewhere no set has instructions of its own.
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(unused_macros)
)]
macro_rules! products {
    ($($features:literal)?) => {
        /// The product of a type, by GEMV or packed GEMM.
        ///
        /// # Safety
        ///
        /// As for [`crate::MatMulFn`], rows being whole blocks of the type; the CPU has
        /// this set's instructions.
        $(#[target_feature(enable = $features)])?
        pub(crate) unsafe fn product<G>(call: &$crate::MatMul)
        where
            G: $crate::generic::Gemm + $crate::generic::Gemv,
        {
            // SAFETY: the caller's promise, handed on.
            unsafe {
                match $crate::generic::packing_pays::<G>(call) {
                    true => gemm::<G>(call),
                    false => gemv::<G>(call),
                }
            }
        }

        /// # Safety
        ///
        /// As for [`product`].
        #[inline(never)]
        $(#[target_feature(enable = $features)])?
        pub(crate) unsafe fn gemv<G>(call: &$crate::MatMul)
        where
            G: $crate::generic::Gemv,
        {
            // SAFETY: the caller's promise, handed on.
            unsafe { $crate::generic::gemv::<G>(call) }
        }

        /// # Safety
        ///
        /// As for [`product`].
        #[inline(never)]
        $(#[target_feature(enable = $features)])?
        pub(crate) unsafe fn gemm<G>(call: &$crate::MatMul)
        where
            G: $crate::generic::Gemm,
        {
            // SAFETY: the caller's promise, handed on.
            unsafe { $crate::generic::gemm::<G>(call) }
        }
    };
}
pub(crate) use products;
