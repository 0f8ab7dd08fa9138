//! Steps whose chunks are channels, each of which takes a sequence's rows in order.

use super::run::StepContext;
use crate::graph::{SCAN_CHANNELS, Value};
use crate::kernels::{self, SCAN_LANES, SCAN_ROWS, Strided};
use crate::plan::ALIGN;
use std::ops::Range;

/// Channels that a worker claims at a time.
pub const CHANNEL_CHUNK: usize = SCAN_CHANNELS;
const _: () = assert!(CHANNEL_CHUNK.is_multiple_of(SCAN_LANES));

/// Floats on the stack, from a cache line's start on.
#[repr(align(64))]
pub struct Lined<const N: usize>(pub [f32; N]);
const _: () = assert!(align_of::<Lined<1>>() == ALIGN);

/// Calls `run_rows` for the tile's rows in order, those of one sequence at a time, and no more than
/// a kernel takes; and says which come next.
pub fn each_run(cx: &StepContext<'_>, mut run_rows: impl FnMut(Range<usize>, Range<usize>)) {
    let mut start = cx.tile.range.start;
    while start < cx.tile.range.end {
        let facts = &cx.rows.facts[start];
        let group = cx.rows.groups[facts.group as usize];
        let end = cx.tile.range.end.min(group.first + group.len);
        let end = end.min(start + SCAN_ROWS);
        run_rows(start..end, end..cx.tile.range.end.min(end + SCAN_ROWS));
        start = end;
    }
}

/// Lets `fill` compute `[rows][columns]` and puts it into the result. A single row is computed
/// where it belongs.
pub fn write(
    cx: &StepContext<'_>,
    (rows, columns): (Range<usize>, Range<usize>),
    fill: impl FnOnce(&mut [f32]),
) {
    let out = cx.out();
    if rows.len() == 1 {
        // SAFETY: these columns are this chunk's.
        return fill(unsafe { cx.row_mut(out, rows.start, columns) });
    }
    fetch(cx, out, (rows.clone(), columns.clone()));
    let mut computed = Lined([0.0; SCAN_ROWS * CHANNEL_CHUNK]);
    let computed = &mut computed.0[..rows.len() * columns.len()];
    fill(computed);
    for (row, computed) in rows.zip(computed.chunks_exact(columns.len())) {
        // SAFETY: these columns are this chunk's.
        unsafe { cx.row_mut(out, row, columns.clone()) }.copy_from_slice(computed);
    }
}

/// Columns of some rows of a float value.
pub fn strided<'a>(
    cx: &StepContext<'a>,
    value: Value,
    (rows, columns): (Range<usize>, Range<usize>),
) -> Strided<'a> {
    let stride = cx.stride(value) / size_of::<f32>();
    let len = (rows.len() - 1) * stride + columns.len();
    debug_assert!(columns.end <= cx.width(value));
    // SAFETY: as in `StepContext::row`, of which these are neighbouring ones: from a column of the
    // first row to a column of the last, what lies between belongs to the same root value, which
    // nobody writes during this phase.
    let values = unsafe {
        let start = cx.row_ptr(value, rows.start).cast::<f32>();
        std::slice::from_raw_parts(start.add(columns.start), len)
    };
    Strided { values, stride }
}

/// Brings columns of some rows of a float value nearer: rows lie too far apart for the CPU to
/// foresee the next, and another worker may have written them.
pub fn fetch(cx: &StepContext<'_>, value: Value, (rows, columns): (Range<usize>, Range<usize>)) {
    for row in rows {
        let row = cx.row_ptr(value, row).cast::<f32>();
        fetch_floats(row.wrapping_add(columns.start), columns.len());
    }
}

/// Brings what follows `these` nearer, as much again: the next chunk, which will be this worker's.
pub fn fetch_next(these: &[f32]) {
    fetch_floats(these.as_ptr().wrapping_add(these.len()), these.len());
}

fn fetch_floats(from: *const f32, len: usize) {
    for line in (0..len).step_by(ALIGN / size_of::<f32>()) {
        // SAFETY: a hint, which any address may be given to.
        unsafe { kernels::fetch(from.wrapping_add(line).cast()) };
    }
}
