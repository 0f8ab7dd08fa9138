//! Linear attention: chunks are blocks of a head's columns of S, and each takes its rows in order.

use super::run::{Handles, Step, StepContext, range};
use crate::graph::op::{LinearRead, LinearRecurrence, LinearWrite};
use crate::graph::{
    DECAY_ROWS, Decay, DeltaRule, Divisor, LinearAttention, LinearSums, STATE_COLUMNS, Value,
};
use crate::kernels::{LinearAttend, LinearAttendRow, RowDecay, RowDelta};
use std::ops::{Deref, Range};

/// Most rows handed to a kernel at a time.
const TOGETHER: usize = 32;

/// Nothing decays.
pub const ADDED: DecayedRow<'static> = DecayedRow {
    decay: RowDecay::All(1.0),
    gain: 1.0,
    step: 1.0,
};

/// Blocks of columns of all heads.
fn chunks(attention: &LinearAttention) -> usize {
    attention.heads * attention.state().blocks()
}

/// A block of a head's columns: what a chunk works on.
struct ColumnBlock<'a> {
    attention: &'a LinearAttention,
    head: usize,
    /// Its columns of the head's.
    columns: Range<usize>,
    /// Its floats of the state.
    held: Range<usize>,
}

impl<'a> ColumnBlock<'a> {
    fn new(attention: &'a LinearAttention, chunk: usize) -> ColumnBlock<'a> {
        let state = attention.state();
        // The layout of the state has been counted when it was reserved.
        let len = state.block_len().unwrap_or(0);
        ColumnBlock {
            attention,
            head: chunk / state.blocks(),
            columns: range(chunk % state.blocks(), STATE_COLUMNS, state.value_dim),
            held: chunk * len..(chunk + 1) * len,
        }
    }

    /// Its columns of a row of results.
    fn place(&self) -> Range<usize> {
        let first = self.head * self.attention.value_dim;
        first + self.columns.start..first + self.columns.end
    }

    /// Its part of the state, to be written.
    fn split_mut<'s>(&self, held: &'s mut [f32]) -> Held<&'s mut [f32]> {
        let [len, whole, z] = self.lengths(held.len());
        let (state, rest) = held.split_at_mut(len);
        let (whole, rest) = rest.split_at_mut(whole);
        let (z, rest) = rest.split_at_mut(z);
        Held {
            state,
            whole,
            z,
            rest,
        }
    }

    /// Its part of the state, to be read.
    fn split<'s>(&self, held: &'s [f32]) -> Held<&'s [f32]> {
        let [len, whole, z] = self.lengths(held.len());
        let (state, rest) = held.split_at(len);
        let (whole, rest) = rest.split_at(whole);
        let (z, rest) = rest.split_at(z);
        Held {
            state,
            whole,
            z,
            rest,
        }
    }

    /// Floats of the first three fields of [`Held`], of so many in all.
    fn lengths(&self, all: usize) -> [usize; 3] {
        let len = self.attention.key_dim * self.columns.len();
        let whole = match self.attention.state().sums {
            LinearSums::Exact => len,
            LinearSums::Counted | LinearSums::None => 0,
        };
        [len, whole, self.attention.key_dim.min(all - len - whole)]
    }

    /// The part of a row that is this head's, of an operand of so many elements to a head.
    fn of<'r>(&self, cx: &StepContext<'r>, row: usize, (value, dim): (Value, usize)) -> &'r [f32] {
        let heads = cx.width(value) / dim;
        let head = match self.attention.in_turn {
            true => self.head % heads,
            false => self.head * heads / self.attention.heads,
        };
        &cx.row(value, row)[head * dim..(head + 1) * dim]
    }
}

/// A block's part of the state.
pub struct Held<S> {
    /// S, or what came to it lately.
    pub state: S,
    /// S before that, where it is kept apart.
    pub whole: S,
    /// The sum of keys, where readings are divided.
    pub z: S,
    /// n, or what rounding took from z.
    pub rest: S,
}

impl<S: Deref<Target = [f32]>> Held<S> {
    /// Whether sums are kept in two parts.
    fn is_exact(&self) -> bool {
        !self.whole.is_empty()
    }

    /// Adds what a query reads of the whole.
    fn read_whole(&self, cx: &StepContext<'_>, query: &[f32], out: &mut [f32]) {
        for (whole, query) in self.whole.chunks_exact(out.len()).zip(query) {
            (cx.kernels.axpy)(*query, whole, out);
        }
    }
}

impl Held<&mut [f32]> {
    /// Before row number `number`: what came lately becomes part of the whole, but for what rounding
    /// leaves over.
    pub fn fold(&mut self, number: usize) {
        if number.is_multiple_of(DECAY_ROWS) {
            for (whole, late) in self.whole.iter_mut().zip(self.state.iter_mut()) {
                (*whole, *late) = sum_of(*whole, *late);
            }
        }
    }
}

/// How S decays at one row.
pub struct DecayedRow<'a> {
    /// What S is multiplied by.
    pub decay: RowDecay<'a>,
    /// What S holds is as many times what it stands for, this row's k ⊗ v included.
    pub gain: f32,
    /// What n shrinks by.
    pub step: f32,
}

impl ColumnBlock<'_> {
    /// A decay that never changes is left to add up for [`DECAY_ROWS`] rows: what comes in grows
    /// instead, and what is read is divided by as much. Which row that is follows from its place
    /// in the sequence alone.
    fn decayed<'r>(&self, cx: &StepContext<'r>, row: usize) -> DecayedRow<'r> {
        let plain = |decay| DecayedRow {
            decay,
            gain: 1.0,
            step: 1.0,
        };
        let of = |value: Value, dim: usize| self.of(cx, row, (value, dim));
        match &self.attention.decay {
            Decay::None => plain(RowDecay::All(1.0)),
            Decay::Heads(decay) => plain(RowDecay::All(of(*decay, 1)[0])),
            Decay::Keys(decay) => plain(RowDecay::Keys(of(*decay, self.attention.key_dim))),
            Decay::Fixed(powers) => {
                let powers = cx.weights.vector(*powers);
                let powers = &powers[self.head * (DECAY_ROWS + 1)..][..=DECAY_ROWS];
                match cx.rows.facts[row].number % DECAY_ROWS {
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

impl Step for LinearRecurrence {
    fn chunks(&self, _: &StepContext<'_>) -> usize {
        chunks(&self.attention)
    }

    fn run(&self, cx: &StepContext<'_>, state: Handles<'_, Self>, chunk: usize) {
        // A single row is not worth clearing room for many.
        match cx.tile.len() {
            1 => some_rows::<1>(self, cx, state, chunk),
            _ => some_rows::<TOGETHER>(self, cx, state, chunk),
        }
    }
}

/// One block of columns of one head, so many rows at a time.
fn some_rows<const N: usize>(
    step: &LinearRecurrence,
    cx: &StepContext<'_>,
    state: Handles<'_, LinearRecurrence>,
    chunk: usize,
) {
    let LinearRecurrence {
        q, k, v, attention, ..
    } = step;
    let block = ColumnBlock::new(attention, chunk);
    let (keys, values) = (attention.key_dim, attention.value_dim);
    let mut next = cx.tile.range.start;
    while next < cx.tile.range.end {
        let (sequence, number) = (cx.rows.facts[next].row.sequence, cx.rows.facts[next].number);
        // SAFETY: this block of the head's state is this chunk's.
        let held = unsafe { state.floats_mut(sequence, block.held.clone()) };
        let mut held = block.split_mut(held);
        held.fold(number);
        let later = next + 1..cx.tile.range.end.min(next + N);
        let same = |row: &usize| {
            let facts = &cx.rows.facts[*row];
            let folds = held.is_exact() && facts.number.is_multiple_of(DECAY_ROWS);
            facts.row.sequence == sequence && !folds
        };
        let taken = next..next + 1 + later.take_while(same).count();
        let mut divisors = [1.0; N];
        let mut rows: [_; N] = std::array::from_fn(|_| LinearAttendRow::empty());
        for ((row, divisor), into) in taken.clone().zip(&mut divisors).zip(&mut rows) {
            let of = |value: Value, dim: usize| block.of(cx, row, (value, dim));
            let (query, key) = (of(*q, keys), of(*k, keys));
            let decayed = block.decayed(cx, row);
            let (gain, delta) = match (&attention.delta, decayed.decay) {
                (DeltaRule::None, _) => (decayed.gain, None),
                (DeltaRule::Delta(beta), decay) => {
                    let beta = of(*beta, 1)[0];
                    // What the key reads has decayed by then.
                    let factor = match decay {
                        RowDecay::All(decay) => decay,
                        RowDecay::Keys(_) => 1.0,
                    };
                    let delta = RowDelta {
                        read: key,
                        write: key,
                        factor: -beta * factor,
                    };
                    (beta, Some(delta))
                }
                (DeltaRule::Pair { read, write }, _) => {
                    let delta = RowDelta {
                        read: of(*read, keys),
                        write: of(*write, keys),
                        factor: 1.0,
                    };
                    (1.0, Some(delta))
                }
            };
            *divisor = decayed.gain;
            if attention.divisor != Divisor::None {
                grow((key, gain), &decayed, &mut held);
                *divisor = divide(cx, (attention.divisor, decayed.gain), query, &held);
            }
            *into = LinearAttendRow {
                query,
                key,
                value: &of(*v, values)[block.columns.clone()],
                gain,
                decay: decayed.decay,
                delta,
                before: attention.before,
                // SAFETY: these columns are this chunk's.
                out: unsafe { cx.row_mut(cx.out(), row, block.place()) },
            };
        }
        let rows = &mut rows[..taken.len()];
        (cx.kernels.linear_attend)(LinearAttend {
            state: &mut *held.state,
            rows: &mut *rows,
        });
        for (row, divisor) in rows.iter_mut().zip(divisors) {
            held.read_whole(cx, row.query, row.out);
            if divisor != 1.0 {
                row.out.iter_mut().for_each(|out| *out /= divisor);
            }
        }
        next = taken.end;
    }
}

impl Step for LinearWrite {
    fn chunks(&self, _: &StepContext<'_>) -> usize {
        chunks(&self.attention)
    }

    fn run(&self, cx: &StepContext<'_>, state: Handles<'_, Self>, chunk: usize) {
        let attention = &self.attention;
        let block = ColumnBlock::new(attention, chunk);
        for row in cx.tile.range.clone() {
            let facts = &cx.rows.facts[row];
            // SAFETY: this block of the head's state is this chunk's.
            let held = unsafe { state.floats_mut(facts.row.sequence, block.held.clone()) };
            let mut held = block.split_mut(held);
            held.fold(facts.number);
            let key = block.of(cx, row, (self.k, attention.key_dim));
            let value = block.of(cx, row, (self.v, attention.value_dim));
            let value = &value[block.columns.clone()];
            for (state, key) in held.state.chunks_exact_mut(value.len()).zip(key) {
                (cx.kernels.axpy)(*key, value, state);
            }
            if attention.divisor != Divisor::None {
                grow((key, 1.0), &ADDED, &mut held);
            }
        }
    }
}

impl Step for LinearRead {
    fn chunks(&self, _: &StepContext<'_>) -> usize {
        chunks(&self.attention)
    }

    fn run(&self, cx: &StepContext<'_>, state: Handles<'_, Self>, chunk: usize) {
        let attention = &self.attention;
        let block = ColumnBlock::new(attention, chunk);
        for row in cx.tile.range.clone() {
            let sequence = cx.rows.facts[row].row.sequence;
            // SAFETY: this block lies in the state, and these columns are this chunk's.
            let (held, out) = unsafe {
                (
                    state.floats(sequence, block.held.clone()),
                    cx.row_mut(cx.out(), row, block.place()),
                )
            };
            let held = block.split(held);
            let query = block.of(cx, row, (self.q, attention.key_dim));
            out.fill(0.0);
            for (state, query) in held.state.chunks_exact(out.len()).zip(query) {
                (cx.kernels.axpy)(*query, state, out);
            }
            held.read_whole(cx, query, out);
            if attention.divisor != Divisor::None {
                let divisor = divide(cx, (attention.divisor, 1.0), query, &held);
                out.iter_mut().for_each(|out| *out /= divisor);
            }
        }
    }
}

/// Takes a row into the sums z of keys and n of decays.
pub fn grow((key, gain): (&[f32], f32), decayed: &DecayedRow<'_>, held: &mut Held<&mut [f32]>) {
    if held.is_exact() {
        let kept = held.z.iter_mut().zip(held.rest.iter_mut());
        for ((z, lost), key) in kept.zip(key) {
            (*z, *lost) = sum_of(*z, *lost + gain * key);
        }
        return;
    }
    match decayed.decay {
        RowDecay::All(decay) => {
            let keys = held.z.iter_mut().zip(key);
            keys.for_each(|(z, k)| *z = *z * decay + gain * k);
            let n = held.rest.iter_mut().take(1);
            n.for_each(|n| *n = *n * decayed.step + 1.0);
        }
        RowDecay::Keys(decays) => {
            let sums = held.z.iter_mut().zip(decays);
            sums.zip(key).for_each(|((z, d), k)| *z = *z * d + k);
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
fn divide(
    cx: &StepContext<'_>,
    (divisor, gain): (Divisor, f32),
    query: &[f32],
    held: &Held<impl Deref<Target = [f32]>>,
) -> f32 {
    let sum = (cx.kernels.dot)(query, &held.z);
    match divisor {
        Divisor::None => gain,
        Divisor::Sum(eps) => sum + gain * eps,
        Divisor::Clamp => {
            let n = held.rest.first().copied().unwrap_or(0.0);
            sum.abs().max(gain * n.sqrt())
        }
    }
}
