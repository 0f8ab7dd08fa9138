//! Memories of outer products: chunks are blocks of a head's columns, and each takes its rows in
//! order.

use super::recurrent::state_mut;
use super::{Run, Tile};
use crate::graph::{
    DECAY_ROWS, Decay, DeltaRule, Divisor, LinearAttention, Op, STATE_COLUMNS, Sums, Value,
};
use crate::kernels::{LinearAttend, LinearAttendRow, RowDecay, RowDelta};
use std::ops::Range;

/// Most rows handed to a kernel at a time.
const TOGETHER: usize = 32;

/// Nothing fades.
const ADDED: DecayedRow<'static> = DecayedRow {
    decay: RowDecay::All(1.0),
    gain: 1.0,
    step: 1.0,
};

/// Blocks of columns of all heads.
pub fn chunks(retention: &LinearAttention) -> usize {
    retention.heads * retention.memory().blocks()
}

/// A block of a head's columns: what a chunk works on.
struct Block<'a> {
    retention: &'a LinearAttention,
    head: usize,
    /// Its columns of the head's.
    columns: Range<usize>,
    /// Its floats of the state.
    held: Range<usize>,
}

impl<'a> Block<'a> {
    fn new(retention: &'a LinearAttention, chunk: usize) -> Block<'a> {
        let memory = retention.memory();
        // The layout of the state has been counted when it was reserved.
        let len = memory.block_len().unwrap_or(0);
        Block {
            retention,
            head: chunk / memory.blocks(),
            columns: super::step::range(chunk % memory.blocks(), STATE_COLUMNS, memory.value_dim),
            held: chunk * len..(chunk + 1) * len,
        }
    }

    /// Its columns of a row of results.
    fn place(&self) -> Range<usize> {
        let first = self.head * self.retention.value_dim;
        first + self.columns.start..first + self.columns.end
    }

    /// Its part of the state.
    fn split<'s>(&self, held: &'s mut [f32]) -> Held<'s> {
        let len = self.retention.key_dim * self.columns.len();
        let (state, rest) = held.split_at_mut(len);
        let (whole, sums) = match self.retention.memory().sums {
            Sums::Exact => rest.split_at_mut(len),
            Sums::Counted | Sums::None => rest.split_at_mut(0),
        };
        let (z, rest) = sums.split_at_mut(self.retention.key_dim.min(sums.len()));
        Held {
            state,
            whole,
            z,
            rest,
        }
    }

    /// The part of a row that is this head's, of an operand of so many elements to a head.
    fn of<'r>(
        &self,
        run: &'r Run<'_>,
        tile: &Tile,
        row: usize,
        (value, dim): (Value, usize),
    ) -> &'r [f32] {
        let heads = run.plan.graph.info(value).width / dim;
        let first = self.head * heads / self.retention.heads * dim;
        &run.row(value, tile, row)[first..first + dim]
    }
}

/// A block's part of the state.
struct Held<'a> {
    /// S, or what came to it lately.
    state: &'a mut [f32],
    /// S before that, where it is kept apart.
    whole: &'a mut [f32],
    /// The sum of keys, where readings are divided.
    z: &'a mut [f32],
    /// n, or what rounding took from z.
    rest: &'a mut [f32],
}

impl Held<'_> {
    /// Whether sums are kept in two parts.
    fn is_exact(&self) -> bool {
        !self.whole.is_empty()
    }

    /// Before row number `slot`: what came lately becomes part of the whole, but for what rounding
    /// leaves over.
    fn fold(&mut self, slot: usize) {
        if slot.is_multiple_of(DECAY_ROWS) {
            for (whole, late) in self.whole.iter_mut().zip(self.state.iter_mut()) {
                (*whole, *late) = sum_of(*whole, *late);
            }
        }
    }

    /// Adds what a query reads of the whole.
    fn read_whole(&self, run: &Run<'_>, query: &[f32], out: &mut [f32]) {
        for (whole, query) in self.whole.chunks_exact(out.len()).zip(query) {
            (run.kernels.axpy)(*query, whole, out);
        }
    }
}

/// How a memory shrinks at one row.
struct DecayedRow<'a> {
    decay: RowDecay<'a>,
    /// What S holds is as many times what it stands for, this row's k ⊗ v included.
    gain: f32,
    /// What n shrinks by.
    step: f32,
}

impl Block<'_> {
    /// A decay that never changes is left to add up for [`DECAY_ROWS`] rows: what comes in grows
    /// instead, and what is read is divided by as much. Which row that is follows from its place
    /// in the sequence alone.
    fn fading<'r>(&self, run: &'r Run<'_>, tile: &Tile, row: usize) -> DecayedRow<'r> {
        let plain = |decay| DecayedRow {
            decay,
            gain: 1.0,
            step: 1.0,
        };
        let of = |value: Value, dim: usize| self.of(run, tile, row, (value, dim));
        match &self.retention.decay {
            Decay::None => plain(RowDecay::All(1.0)),
            Decay::Heads(decay) => plain(RowDecay::All(of(*decay, 1)[0])),
            Decay::Keys(decay) => plain(RowDecay::Keys(of(*decay, self.retention.key_dim))),
            Decay::Fixed(powers) => {
                let powers = run.weights.vector(*powers);
                let powers = &powers[self.head * (DECAY_ROWS + 1)..][..=DECAY_ROWS];
                match run.rows.facts[row].slot % DECAY_ROWS {
                    0 => DecayedRow {
                        step: powers[1],
                        ..plain(RowDecay::All(powers[DECAY_ROWS]))
                    },
                    place => DecayedRow {
                        decay: RowDecay::All(1.0),
                        gain: 1.0 / powers[place],
                        step: powers[1],
                    },
                }
            }
        }
    }
}

/// One block of columns of one head.
pub fn run(run: &Run<'_>, node: usize, tile: &Tile, chunk: usize, out: Value) {
    // A single row is not worth clearing room for many.
    match tile.range.len() {
        1 => some_rows::<1>(run, node, tile, chunk, out),
        _ => some_rows::<TOGETHER>(run, node, tile, chunk, out),
    }
}

/// The same, so many rows at a time.
fn some_rows<const N: usize>(run: &Run<'_>, node: usize, tile: &Tile, chunk: usize, out: Value) {
    let Op::LinearAttention {
        q, k, v, retention, ..
    } = &run.plan.graph.nodes[node].op
    else {
        return;
    };
    let block = Block::new(retention, chunk);
    let (keys, values) = (retention.key_dim, retention.value_dim);
    let mut next = tile.range.start;
    while next < tile.range.end {
        let (sequence, slot) = (run.rows.facts[next].row.sequence, run.rows.facts[next].slot);
        // SAFETY: this block of the head's state is this chunk's.
        let held = unsafe { state_mut(run, node, next, block.held.clone()) };
        let mut held = block.split(held);
        held.fold(slot);
        let later = next + 1..tile.range.end.min(next + N);
        let same = |row: &usize| {
            let facts = &run.rows.facts[*row];
            let folds = held.is_exact() && facts.slot.is_multiple_of(DECAY_ROWS);
            facts.row.sequence == sequence && !folds
        };
        let taken = next..next + 1 + later.take_while(same).count();
        let mut divisors = [1.0; N];
        let mut rows: [_; N] = std::array::from_fn(|_| LinearAttendRow::empty());
        for ((row, divisor), into) in taken.clone().zip(&mut divisors).zip(&mut rows) {
            let of = |value: Value, dim: usize| block.of(run, tile, row, (value, dim));
            let (query, key) = (of(*q, keys), of(*k, keys));
            let fading = block.fading(run, tile, row);
            let (gain, delta) = match (&retention.delta, fading.decay) {
                (DeltaRule::None, _) => (fading.gain, None),
                (DeltaRule::Delta(beta), decay) => {
                    let beta = of(*beta, 1)[0];
                    // What the key reads has faded by then.
                    let faded = match decay {
                        RowDecay::All(decay) => decay,
                        RowDecay::Keys(_) => 1.0,
                    };
                    let erasure = RowDelta {
                        read: key,
                        write: key,
                        factor: -beta * faded,
                    };
                    (beta, Some(erasure))
                }
                (DeltaRule::Pair { read, write }, _) => {
                    let erasure = RowDelta {
                        read: of(*read, keys),
                        write: of(*write, keys),
                        factor: 1.0,
                    };
                    (1.0, Some(erasure))
                }
            };
            *divisor = fading.gain;
            if retention.divisor != Divisor::None {
                grow((key, gain), &fading, &mut held);
                *divisor = divide(run, (retention.divisor, fading.gain), query, &held);
            }
            *into = LinearAttendRow {
                query,
                key,
                value: &of(*v, values)[block.columns.clone()],
                gain,
                decay: fading.decay,
                delta,
                before: retention.before,
                // SAFETY: these columns are this chunk's.
                out: unsafe { run.row_mut(out, tile, row, block.place()) },
            };
        }
        let rows = &mut rows[..taken.len()];
        (run.kernels.linear_attend)(LinearAttend {
            state: &mut *held.state,
            rows: &mut *rows,
        });
        for (row, divisor) in rows.iter_mut().zip(divisors) {
            held.read_whole(run, row.query, row.out);
            if divisor != 1.0 {
                row.out.iter_mut().for_each(|out| *out /= divisor);
            }
        }
        next = taken.end;
    }
}

/// Adds a tile's rows to one block of columns of one head.
pub fn memorise(run: &Run<'_>, node: usize, tile: &Tile, chunk: usize) {
    let Op::LinearWrite {
        k, v, retention, ..
    } = &run.plan.graph.nodes[node].op
    else {
        return;
    };
    let block = Block::new(retention, chunk);
    for row in tile.range.clone() {
        // SAFETY: this block of the head's state is this chunk's.
        let held = unsafe { state_mut(run, node, row, block.held.clone()) };
        let mut held = block.split(held);
        held.fold(run.rows.facts[row].slot);
        let key = block.of(run, tile, row, (*k, retention.key_dim));
        let value = block.of(run, tile, row, (*v, retention.value_dim));
        let value = &value[block.columns.clone()];
        for (state, key) in held.state.chunks_exact_mut(value.len()).zip(key) {
            (run.kernels.axpy)(*key, value, state);
        }
        if retention.divisor != Divisor::None {
            grow((key, 1.0), &ADDED, &mut held);
        }
    }
}

/// Reads one block of columns of one head for a tile's rows.
pub fn recall(run: &Run<'_>, node: usize, tile: &Tile, chunk: usize, out: Value) {
    let Op::LinearRead { q, retention, .. } = &run.plan.graph.nodes[node].op else {
        return;
    };
    let block = Block::new(retention, chunk);
    for row in tile.range.clone() {
        // SAFETY: this block of the head's state and these columns are this chunk's, which does
        // not write to the state.
        let (held, out) = unsafe {
            (
                state_mut(run, node, row, block.held.clone()),
                run.row_mut(out, tile, row, block.place()),
            )
        };
        let held = block.split(held);
        let query = block.of(run, tile, row, (*q, retention.key_dim));
        out.fill(0.0);
        for (state, query) in held.state.chunks_exact(out.len()).zip(query) {
            (run.kernels.axpy)(*query, state, out);
        }
        held.read_whole(run, query, out);
        if retention.divisor != Divisor::None {
            let divisor = divide(run, (retention.divisor, 1.0), query, &held);
            out.iter_mut().for_each(|out| *out /= divisor);
        }
    }
}

/// Takes a row into the sums z of keys and n of decays.
fn grow((key, gain): (&[f32], f32), fading: &DecayedRow<'_>, held: &mut Held<'_>) {
    if held.is_exact() {
        let kept = held.z.iter_mut().zip(held.rest.iter_mut());
        for ((z, lost), key) in kept.zip(key) {
            (*z, *lost) = sum_of(*z, *lost + gain * key);
        }
        return;
    }
    match fading.decay {
        RowDecay::All(decay) => {
            let keys = held.z.iter_mut().zip(key);
            keys.for_each(|(z, k)| *z = *z * decay + gain * k);
            let n = held.rest.iter_mut().take(1);
            n.for_each(|n| *n = *n * fading.step + 1.0);
        }
        RowDecay::Keys(decays) => {
            let faded = held.z.iter_mut().zip(decays);
            faded.zip(key).for_each(|((z, d), k)| *z = *z * d + k);
        }
    }
}

/// A sum and what rounding it lost, exactly (Knuth 1969, section 4.2.2).
fn sum_of(a: f32, b: f32) -> (f32, f32) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

/// What a reading is divided by, where S and z are `gain` times what they stand for.
fn divide(run: &Run<'_>, (divisor, gain): (Divisor, f32), query: &[f32], held: &Held<'_>) -> f32 {
    let sum = (run.kernels.dot)(query, held.z);
    match divisor {
        Divisor::None => gain,
        Divisor::Sum(eps) => sum + gain * eps,
        Divisor::Clamp => {
            let n = held.rest.first().copied().unwrap_or(0.0);
            sum.abs().max(gain * n.sqrt())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows, beyond which a plain sum of these keys no longer takes in another.
    const ROWS: usize = 1 << 25;

    /// Sums that never fade, over more rows than a float can count, against floats of 64 bits.
    #[test]
    fn what_never_fades_does_not_drift() {
        let mut parts = [[0.0f32; 1]; 4];
        let [state, whole, z, rest] = &mut parts;
        let mut held = Held {
            state,
            whole,
            z,
            rest,
        };
        let (mut keys, mut products, mut plain) = (0f64, 0f64, 0f32);
        let mut seed = 1u64;
        for slot in 0..ROWS {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Positive as what elu + 1 gives, and values that are not zero on average.
            let key = 0.4375 * ((seed >> 40) as f32 / (1 << 23) as f32);
            let value = 0.6 - key / 4.0;
            held.fold(slot);
            held.state[0] += key * value;
            grow((&[key][..], 1.0), &ADDED, &mut held);
            keys += f64::from(key);
            products += f64::from(key * value);
            plain += key;
        }
        let off = |sum: f64, exact: f64| ((sum - exact) / exact).abs();
        assert!(off(f64::from(held.z[0]), keys) < 1e-7, "z");
        let sum = f64::from(held.whole[0]) + f64::from(held.state[0]);
        assert!(off(sum, products) < 1e-7, "S: {}", off(sum, products));
        // Which is what the second parts are for.
        assert!(
            off(f64::from(plain), keys) > 1e-4,
            "{}",
            off(f64::from(plain), keys)
        );
    }
}
