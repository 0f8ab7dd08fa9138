//! Products of rows with the experts that they have chosen.

use super::{Run, Tile, step::range};
use crate::graph::{Matrix, Value};
use crate::kernels::{MatMul, Pick};

/// An expert's weight rows that a worker claims at a time, where few rows come at once.
const CHUNK: usize = 64;

/// The same where many do: each chunk looks through all their choices first, and what it
/// unpacks of the weights serves several of them.
const LONG_CHUNK: usize = 256;

/// Inputs of one call.
const GROUP: usize = 128;

/// How a step is cut. An expert's rows fall into `parts` chunks. With few rows, each choice is
/// a candidate to begin with: most experts have been chosen by nobody. With many, each expert is.
struct Cut {
    slots: usize,
    by_choice: bool,
    candidates: usize,
    rows: usize,
}

impl Cut {
    fn of(run: &Run<'_>, (route, experts): (Value, Matrix), tile: &Tile) -> Cut {
        let slots = run.plan.graph.info(route).width / 2;
        let choices = tile.range.len() * slots;
        let by_choice = choices < experts.stack;
        Cut {
            slots,
            by_choice,
            candidates: if by_choice { choices } else { experts.stack },
            rows: if by_choice { CHUNK } else { LONG_CHUNK },
        }
    }
}

/// Into how many chunks a product falls.
pub fn chunks(run: &Run<'_>, (route, experts): (Value, Matrix), tile: &Tile) -> usize {
    let cut = Cut::of(run, (route, experts), tile);
    cut.candidates * experts.rows.div_ceil(cut.rows)
}

/// Some rows of one expert against every input of which a slot chose it.
pub fn run(
    run: &Run<'_>,
    tile: &Tile,
    chunk: usize,
    (x, route, experts): (Value, Value, Matrix),
    out: Value,
) {
    let cut = Cut::of(run, (route, experts), tile);
    let first = tile.range.start;
    let choices = |row: usize| &run.row(route, tile, row)[cut.slots..];
    let parts = experts.rows.div_ceil(cut.rows);
    let (candidate, rows) = (chunk / parts, range(chunk % parts, cut.rows, experts.rows));
    // Numbers of experts are kept as floats, as everything of a row is.
    let expert = match cut.by_choice {
        false => candidate,
        true => {
            let (row, slot) = (first + candidate / cut.slots, candidate % cut.slots);
            let expert = choices(row)[slot];
            // The first to choose it stands for all.
            if (first..row).any(|row| choices(row).contains(&expert)) {
                return;
            }
            expert as usize
        }
    };

    let weight = run.weights.matrix(experts);
    let info = run.plan.graph.info(x);
    let per_slot = match info.width == weight.columns {
        true => 0,
        false => info.form.row_len(weight.columns).unwrap_or(0),
    };
    let (from, to) = (run.plan.place(x).stride, run.plan.place(out).stride);
    let call = |picks: &[Pick]| {
        let stored = expert * experts.rows + rows.start..expert * experts.rows + rows.end;
        for (part, weights) in run.weights.runs(weight, stored) {
            let skipped = part.start - expert * experts.rows;
            // SAFETY: `runs` yields valid rows of this weight; each pick names an input and a
            // result of a row and slot of the tile, and these columns of a slot that chose this
            // expert are this chunk's.
            unsafe {
                (weight.kernel.run)(&MatMul {
                    weights,
                    weight_stride: weight.stride,
                    weight_rows: part.len(),
                    columns: weight.columns,
                    inputs: run.row_ptr(x, tile, first),
                    input_stride: 0,
                    inputs_len: picks.len(),
                    out: run.row_ptr(out, tile, first).cast::<f32>().add(skipped),
                    out_stride: 0,
                    picks: picks.as_ptr(),
                });
            }
        }
    };
    let mut picks = [Pick::default(); GROUP];
    let mut count = 0;
    for (index, row) in tile.range.clone().enumerate() {
        for (slot, &chosen) in choices(row).iter().enumerate() {
            if chosen as usize == expert {
                picks[count] = Pick {
                    input: index * from + slot * per_slot,
                    out: index * to / size_of::<f32>() + slot * experts.rows,
                };
                count += 1;
                if count == GROUP {
                    call(&picks);
                    count = 0;
                }
            }
        }
    }
    if count > 0 {
        call(&picks[..count]);
    }
}
