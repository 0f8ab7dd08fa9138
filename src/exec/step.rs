//! One chunk of one step: find the rows, call a kernel.

use super::{Output, Run, Sink, Tile, attention, experts, linear_attention, rwkv, scan, segments};
use crate::graph::rope::Divisors;
use crate::graph::{Activation, Among, Index, NormKind, Op, RowSpace, Share, Value, Vector};
use crate::kernels::{MatMul, Pointwise};
use crate::weights::Weight;
use std::ops::Range;
use std::sync::Mutex;

/// Weight rows that a worker claims at a time.
const MATRIX_CHUNK: usize = 64;

/// The same of a large matrix where there is a single input: each call begins with memory that
/// nothing has fetched ahead, so there are fewer of them.
const LONG_CHUNK: usize = 128;

/// Rows of a matrix that is large: chunks enough for all workers.
const LARGE: usize = 2048;

/// Rows of an element-wise step that a worker claims at a time.
const ROW_CHUNK: usize = 4;

/// Into how many chunks of rows a tile falls.
pub fn row_chunks(tile: &Tile) -> usize {
    tile.range.len().div_ceil(ROW_CHUNK)
}

/// Weight rows of a chunk of a product. No result depends on how they are cut.
fn matrix_chunk(rows: usize, tile: &Tile) -> usize {
    match (tile.range.len(), rows) {
        (1, LARGE..) => LONG_CHUNK,
        _ => MATRIX_CHUNK,
    }
}

/// Into how many chunks a step falls for this tile. Those that go row by row all fall into the
/// same ones.
pub fn chunks(run: &Run<'_>, node: usize, tile: &Tile) -> usize {
    match &run.plan.graph.nodes[node].op {
        Op::Slice { .. } => 0,
        // One worker hands all of a tile's outputs over, in order.
        Op::Emit { .. } => 1,
        Op::MatMul { weight, .. } => weight.rows.div_ceil(matrix_chunk(weight.rows, tile)),
        Op::ExpertMatMul { route, experts, .. } => experts::chunks(run, (*route, *experts), tile),
        Op::Attention { attention, .. } => attention::chunks(run, attention, tile),
        Op::StoreKv { state, .. } | Op::StoreCross { state, .. } => {
            attention::store_chunks(run, tile, *state)
        }
        Op::Conv { .. } | Op::Scan { .. } => scan::chunks(run, node, tile),
        Op::Memory(op) => segments::chunks(run, op, tile),
        Op::LinearAttention { retention, .. }
        | Op::LinearWrite { retention, .. }
        | Op::LinearRead { retention, .. } => linear_attention::chunks(retention),
        Op::TokenShift { x, .. } => rwkv::chunks(run.plan.graph.info(*x).width),
        Op::Wkv { decay, .. } => rwkv::chunks(decay.len),
        _ => row_chunks(tile),
    }
}

/// Computes chunk `chunk`.
pub fn run(run: &Run<'_>, node: usize, tile: &Tile, chunk: usize, sink: &Mutex<&mut Sink<'_>>) {
    let Some(out) = run.plan.graph.nodes[node].out else {
        return effect(run, node, tile, chunk, sink);
    };
    let kernels = run.kernels;
    match &run.plan.graph.nodes[node].op {
        Op::MatMul { x, bias, weight } => {
            let rows = range(chunk, matrix_chunk(weight.rows, tile), weight.rows);
            matmul(
                run,
                tile,
                *x,
                run.weights.matrix(*weight),
                rows.clone(),
                out,
            );
            if let Some(bias) = bias {
                let bias = &run.weights.vector(*bias)[rows.clone()];
                for row in tile.range.clone() {
                    // SAFETY: these columns are this chunk's.
                    let out = unsafe { run.row_mut(out, tile, row, rows.clone()) };
                    for (out, bias) in out.iter_mut().zip(bias) {
                        *out += bias;
                    }
                }
            }
        }
        Op::ExpertMatMul { x, route, experts } => {
            experts::run(run, tile, chunk, (*x, *route, *experts), out);
        }
        Op::Attention { q, kv, attention } => {
            attention::run(run, node, tile, chunk, (*q, *kv, out), attention);
        }
        Op::Conv { .. } => scan::conv(run, node, tile, chunk, out),
        Op::Scan { .. } => scan::scan(run, node, tile, chunk, out),
        Op::Memory(_) => segments::run(run, node, tile, chunk, out),
        Op::LinearAttention { .. } => linear_attention::run(run, node, tile, chunk, out),
        Op::LinearRead { .. } => linear_attention::recall(run, node, tile, chunk, out),
        Op::TokenShift { .. } => rwkv::token_shift(run, node, tile, chunk, out),
        Op::Wkv { .. } => rwkv::wkv(run, node, tile, chunk, out),
        op => {
            let rows = range(chunk, ROW_CHUNK, tile.range.len());
            for row in rows.start + tile.range.start..rows.end + tile.range.start {
                let width = run.plan.graph.info(out).width;
                if let Op::Quantize { x, to } = op {
                    quantize(run, tile, row, (*x, out), *to);
                    continue;
                }
                // SAFETY: this row is this chunk's. An operand may lie in the same bytes; such
                // operands are read through `out` below.
                let into = unsafe { run.row_mut(out, tile, row, 0..width) };
                let get = |value: Value| run.row(value, tile, row);
                let same = |value: Value| {
                    std::ptr::eq(run.row_ptr(value, tile, row), run.row_ptr(out, tile, row))
                };
                match op {
                    Op::Embed { table, index } => {
                        let facts = &run.rows.facts[row].row;
                        let index = match index {
                            Index::Token => facts.token as usize,
                            Index::Position => facts.position as usize,
                            Index::TokenType => facts.token_type as usize,
                            Index::TokenFrom(first) => match facts.token.checked_sub(*first) {
                                Some(index) if (index as usize) < table.rows => index as usize,
                                _ => {
                                    into.fill(0.0);
                                    continue;
                                }
                            },
                        };
                        run.weights.decode_row(*table, index, into);
                    }
                    Op::Norm {
                        x,
                        kind,
                        weight,
                        bias,
                        eps,
                        group,
                    } => {
                        let groups = get(*x).chunks_exact(*group);
                        for (index, (x, into)) in
                            groups.zip(into.chunks_exact_mut(*group)).enumerate()
                        {
                            let of = |vector: &Vector| {
                                let start = index * group % vector.len;
                                &run.weights.vector(*vector)[start..start + group]
                            };
                            let bias = bias.as_ref().map(of);
                            match kind {
                                NormKind::Rms => (kernels.rms_norm)(x, of(weight), *eps, into),
                                NormKind::Layer => {
                                    (kernels.layer_norm)(x, of(weight), bias, *eps, into);
                                }
                            }
                        }
                    }
                    Op::Add { a, b } => {
                        let operands = [*a, *b].map(|x| (!same(x)).then(|| get(x)));
                        in_place(operands, into, kernels.add, |x, y| x + y);
                    }
                    Op::Mul { a, b } => {
                        let operands = [*a, *b].map(|x| (!same(x)).then(|| get(x)));
                        in_place(operands, into, kernels.mul, |x, y| x * y);
                    }
                    Op::StepSize { x, bias, limits } => {
                        for (into, (x, bias)) in into
                            .iter_mut()
                            .zip(get(*x).iter().zip(run.weights.vector(*bias)))
                        {
                            *into = x + bias;
                        }
                        (kernels.pointwise)(Pointwise::Softplus, into);
                        for step in into {
                            *step = step.clamp(limits.0, limits.1);
                        }
                    }
                    Op::Scale { x, factor } => {
                        if !same(*x) {
                            into.copy_from_slice(get(*x));
                        }
                        into.iter_mut().for_each(|x| *x *= factor);
                    }
                    Op::Clamp { x, limit } => {
                        if !same(*x) {
                            into.copy_from_slice(get(*x));
                        }
                        into.iter_mut().for_each(|x| *x = x.clamp(-limit, *limit));
                    }
                    Op::Apply { x, function } => {
                        if !same(*x) {
                            into.copy_from_slice(get(*x));
                        }
                        (kernels.pointwise)(*function, into);
                    }
                    Op::Weigh { x, weight } => {
                        if !same(*x) {
                            into.copy_from_slice(get(*x));
                        }
                        let weight = run.weights.vector(*weight);
                        into.iter_mut().zip(weight).for_each(|(x, w)| *x *= w);
                    }
                    Op::ScaleHeads { x, by } => {
                        let by = get(*by);
                        let dim = (width / by.len()).max(1);
                        let heads = get(*x).chunks_exact(dim).zip(into.chunks_exact_mut(dim));
                        for ((x, into), by) in heads.zip(by) {
                            into.iter_mut().zip(x).for_each(|(into, x)| *into = x * by);
                        }
                    }
                    Op::Lerp { a, b, t } => {
                        let t = match t {
                            Share::Row(t) => get(*t),
                            Share::Fixed(t) => run.weights.vector(*t),
                        };
                        let ends = get(*a).iter().zip(get(*b));
                        for ((into, (a, b)), t) in into.iter_mut().zip(ends).zip(t) {
                            *into = a + (b - a) * t;
                        }
                    }
                    Op::Bonus {
                        a,
                        b,
                        v,
                        weight,
                        head_dim,
                    } => {
                        let weight = run.weights.vector(*weight);
                        let heads = |x| <[f32]>::chunks_exact(x, *head_dim);
                        let factors = heads(get(*a)).zip(heads(get(*b))).zip(heads(weight));
                        let heads = into.chunks_exact_mut(*head_dim).zip(heads(get(*v)));
                        for ((into, v), ((a, b), weight)) in heads.zip(factors) {
                            (kernels.mul)(a, b, into);
                            let sum = (kernels.dot)(into, weight);
                            into.iter_mut().zip(v).for_each(|(x, v)| *x = sum * v);
                        }
                    }
                    Op::RopeTable { rope } => {
                        let divisors = rope.divisors(run.rows.length);
                        let divisors = divisors.map(|found| match found {
                            Divisors::Numbers(numbers) => &numbers[..],
                            Divisors::Tensor(vector) => run.weights.vector(*vector),
                        });
                        let pairs = rope.dims() / 2;
                        let (cos, sin) = into.split_at_mut(pairs);
                        let position = run.rows.facts[row].row.position;
                        for pair in 0..pairs {
                            let divisor = divisors.map_or(1.0, |divisors| divisors[pair]);
                            let frequency = rope.frequency(pair, run.rows.length) / divisor;
                            let (s, c) = rope.angle(frequency, position).sin_cos();
                            cos[pair] = c as f32 * rope.magnitude;
                            sin[pair] = s as f32 * rope.magnitude;
                        }
                    }
                    Op::Rotate {
                        x,
                        table,
                        head_dim,
                        pairing,
                    } => {
                        if !same(*x) {
                            into.copy_from_slice(get(*x));
                        }
                        let table = get(*table);
                        let (cos, sin) = table.split_at(table.len() / 2);
                        for head in into.chunks_exact_mut(*head_dim) {
                            (kernels.rotate)(head, cos, sin, *pairing);
                        }
                    }
                    Op::Route {
                        logits,
                        top_k,
                        among,
                    } => route(run, get(*logits), (*top_k, *among), into),
                    Op::ExpertSum { x, route } => {
                        let route = get(*route);
                        into.fill(0.0);
                        let parts = get(*x).chunks_exact(into.len());
                        for (weight, part) in route[..route.len() / 2].iter().zip(parts) {
                            (kernels.axpy)(*weight, part, into);
                        }
                    }
                    Op::Select { x } => {
                        let from = match run.plan.graph.info(out).space {
                            RowSpace::Selected => run.rows.selected[row] as usize,
                            _ => run.rows.groups[row].first,
                        };
                        into.copy_from_slice(run.row(*x, tile, from));
                    }
                    // Handled above, or without a result.
                    _ => {}
                }
            }
        }
    }
}

/// out ← f(a, b), where an operand that is absent lies in `out`. `kernel` is the same function of
/// operands that lie apart.
fn in_place(
    operands: [Option<&[f32]>; 2],
    out: &mut [f32],
    kernel: fn(&[f32], &[f32], &mut [f32]),
    f: impl Fn(f32, f32) -> f32,
) {
    match operands {
        [Some(a), Some(b)] => kernel(a, b, out),
        // Both functions commute.
        [Some(other), None] | [None, Some(other)] => {
            out.iter_mut().zip(other).for_each(|(x, y)| *x = f(*x, *y));
        }
        [None, None] => out.iter_mut().for_each(|x| *x = f(*x, *x)),
    }
}

fn effect(run: &Run<'_>, node: usize, tile: &Tile, chunk: usize, sink: &Mutex<&mut Sink<'_>>) {
    match &run.plan.graph.nodes[node].op {
        Op::Memory(op) => segments::effect(run, op, tile, chunk),
        Op::StoreKv { k, v, state } | Op::StoreCross { k, v, state } => {
            attention::store(run, tile, chunk, (*k, *v), *state);
        }
        Op::LinearWrite { .. } => linear_attention::memorise(run, node, tile, chunk),
        Op::Emit { x, name } => {
            let mut sink = sink
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            for row in tile.range.clone() {
                let space = run.plan.graph.info(*x).space;
                let index = match space {
                    RowSpace::Step | RowSpace::Source => row,
                    RowSpace::Selected => run.rows.selected[row] as usize,
                    RowSpace::Sequence => run.rows.groups[row].first,
                };
                let values = run.row(*x, tile, row);
                sink(Output {
                    name,
                    space,
                    row: run.rows.first + index,
                    values,
                });
            }
        }
        _ => {}
    }
}

/// Chunk `chunk` of `0..len`.
pub fn range(chunk: usize, size: usize, len: usize) -> Range<usize> {
    let start = chunk * size;
    start..len.min(start + size)
}

fn matmul(run: &Run<'_>, tile: &Tile, x: Value, weight: &Weight, rows: Range<usize>, out: Value) {
    let first = tile.range.start;
    let product = MatMul {
        weights: std::ptr::null(),
        weight_stride: weight.stride,
        weight_rows: 0,
        columns: weight.columns,
        inputs: run.row_ptr(x, tile, first),
        input_stride: run.plan.place(x).stride,
        inputs_len: tile.range.len(),
        out: run.row_ptr(out, tile, first).cast(),
        out_stride: run.plan.place(out).stride / size_of::<f32>(),
        picks: std::ptr::null(),
    };
    for (part, weights) in run.weights.runs(weight, rows) {
        // SAFETY: `runs` yields valid rows of this weight; the inputs are as many rows of this
        // width as the tile has; these columns of `out` are this chunk's.
        unsafe {
            let out = product.out.add(part.start);
            (weight.kernel.run)(&MatMul {
                weights,
                weight_rows: part.len(),
                out,
                ..product
            });
        }
    }
}

fn quantize(run: &Run<'_>, tile: &Tile, row: usize, (x, out): (Value, Value), to: Activation) {
    let info = run.plan.graph.info(out);
    let len = info.form.row_len(info.width).unwrap_or(0);
    // SAFETY: the row has `len` bytes (see `row_ptr`) and is this chunk's.
    let into = unsafe { std::slice::from_raw_parts_mut(run.row_ptr(out, tile, row), len) };
    if let Some(quantize) = run.kernels.quantize(to) {
        quantize(run.row(x, tile, row), into);
    }
}

/// The `top_k` largest of softmax(logits), then their numbers. Ties go to the lower number.
fn route(run: &Run<'_>, logits: &[f32], (top_k, among): (usize, Among), out: &mut [f32]) {
    let (weights, experts) = out.split_at_mut(top_k);
    for slot in 0..top_k {
        let mut best: Option<usize> = None;
        for (expert, &logit) in logits.iter().enumerate() {
            let taken = experts[..slot]
                .iter()
                .any(|&other| other as usize == expert);
            if !taken && best.is_none_or(|best| logit > logits[best]) {
                best = Some(expert);
            }
        }
        let best = best.unwrap_or(0);
        experts[slot] = best as f32;
        weights[slot] = logits[best];
    }
    match among {
        // softmax over all, then over the chosen ones: the sum over all cancels
        Among::Chosen => (run.kernels.softmax)(weights),
        Among::All => {
            let largest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let exponential = |logit: f32| (logit - largest).exp();
            let sum: f64 = logits.iter().map(|&l| f64::from(exponential(l))).sum();
            for weight in weights {
                *weight = (f64::from(exponential(*weight)) / sum) as f32;
            }
        }
    }
}
