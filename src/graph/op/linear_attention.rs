//! Linear attention: a state S of outer products for each head, which plain linear attention,
//! retention, gated linear attention and the delta rules write and read.

#![allow(missing_docs)] // operands are named as in the formula above them

use super::{Facts, Lower, Operand, Operation, Reach, Work, operands};
use crate::graph::state::{Piece, Reads, Writes};
use crate::graph::{Rope, Value, Vector};

/// One matrix S for each head, written and read row by row:
///
/// S ← decay ⊙ S + write ⊗ (read·S) + k ⊗ v, then q·S,
///
/// where a family says how S decays, what is taken back before a value is added, which S is read and
/// what the reading is divided by.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearAttention {
    /// Matrices. Operands may have fewer heads: a divisor, each shared by neighbours.
    pub heads: usize,
    /// Whether heads take such operands' by turns instead: the first again after the last.
    pub in_turn: bool,
    /// Floats of a query and of a key.
    pub key_dim: usize,
    /// Floats of a value.
    pub value_dim: usize,
    /// How S decays.
    pub decay: Decay,
    /// What is taken back.
    pub delta: DeltaRule,
    /// What the reading is divided by.
    pub divisor: Divisor,
    /// Whether a row reads S as the one before it left it (RWKV-6).
    pub before: bool,
    /// Turns queries and keys by their positions.
    pub rope: Option<Rope>,
}

/// What becomes of S from row to row.
#[derive(Clone, Debug, PartialEq)]
pub enum Decay {
    /// It stays.
    None,
    /// It shrinks by a number that each head has for good, not far below one: for each head that
    /// number's powers from 0 to [`DECAY_ROWS`].
    Fixed(Vector),
    /// It shrinks by a number that each row gives for each head.
    Heads(Value),
    /// It shrinks by numbers that each row gives for each element of a key.
    Keys(Value),
}

/// What is taken out of S before a value is added.
#[derive(Clone, Debug, PartialEq)]
pub enum DeltaRule {
    /// Nothing.
    None,
    /// β of what the key reads, so that v takes its place: k ⊗ β (v − k·S), for each head's β of
    /// this row (Yang et al. 2024, Gated Delta Networks, equation 10).
    Delta(Value),
    /// write ⊗ (read·S), S being that of the row before (Peng et al. 2025, RWKV-7, equation 17).
    Pair {
        /// As wide as a key.
        read: Value,
        /// As wide as a key.
        write: Value,
    },
}

/// What a reading q·S is divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Divisor {
    /// One.
    None,
    /// q·z + eps, z being the sum of keys, which decays as S does (Katharopoulos et al. 2020).
    Sum(f32),
    /// max(|q·z|, √n), n being the sum of decays: torchscale's scaling of rows, which divides by √n
    /// and keeps |Σ| below one (Sun et al. 2023, section 2.2).
    Clamp,
}

impl LinearAttention {
    /// S ← S + k ⊗ v, read by q·S; to be altered where a family differs.
    pub fn plain(heads: usize, key_dim: usize, value_dim: usize) -> LinearAttention {
        LinearAttention {
            heads,
            in_turn: false,
            key_dim,
            value_dim,
            decay: Decay::None,
            delta: DeltaRule::None,
            divisor: Divisor::None,
            before: false,
            rope: None,
        }
    }

    /// The state that it needs.
    pub fn state(&self) -> LinearState {
        LinearState {
            heads: self.heads,
            key_dim: self.key_dim,
            value_dim: self.value_dim,
            sums: match (self.divisor, &self.decay) {
                (Divisor::None, _) => LinearSums::None,
                (Divisor::Sum(_), Decay::None) => LinearSums::Exact,
                _ => LinearSums::Counted,
            },
        }
    }
}

/// The values read beside q, k and v.
impl Operand for LinearAttention {
    fn visit(&self, visit: &mut dyn FnMut(Value)) {
        match self.decay {
            Decay::None | Decay::Fixed(_) => {}
            Decay::Heads(value) | Decay::Keys(value) => visit(value),
        }
        match self.delta {
            DeltaRule::None => {}
            DeltaRule::Delta(beta) => visit(beta),
            DeltaRule::Pair { read, write } => [read, write].into_iter().for_each(visit),
        }
    }

    fn map(&mut self, to: &mut dyn FnMut(Value) -> Value) {
        match &mut self.decay {
            Decay::None | Decay::Fixed(_) => {}
            Decay::Heads(value) | Decay::Keys(value) => *value = to(*value),
        }
        match &mut self.delta {
            DeltaRule::None => {}
            DeltaRule::Delta(beta) => *beta = to(*beta),
            DeltaRule::Pair { read, write } => {
                *read = to(*read);
                *write = to(*write);
            }
        }
    }
}

/// Each row writes S and reads it: q·S.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearRecurrence {
    pub q: Value,
    pub k: Value,
    pub v: Value,
    pub attention: LinearAttention,
    pub state: Piece<LinearState>,
}

impl Operation for LinearRecurrence {
    const NAME: &'static str = "linear_attention";
    type States = Writes<LinearState>;
    operands!(q, k, v, attention; state);

    fn states(&self) -> Self::States {
        Writes(self.state)
    }

    fn facts(&self) -> Facts {
        Facts::by_columns(Work::State(self.attention.state().len().unwrap_or(0)))
    }

    fn lower(&mut self, plan: &mut dyn Lower) {
        if let Some(rope) = self.attention.rope.take() {
            self.q = plan.rotated(self.q, &rope, self.attention.key_dim);
            self.k = plan.rotated(self.k, &rope, self.attention.key_dim);
        }
    }
}

/// Adds every row's k ⊗ v to an S that is read once it holds them all.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearWrite {
    pub k: Value,
    pub v: Value,
    pub attention: LinearAttention,
    pub state: Piece<LinearState>,
}

impl Operation for LinearWrite {
    const NAME: &'static str = "linear_write";
    type States = Writes<LinearState>;
    operands!(k, v; attention, state);

    fn states(&self) -> Self::States {
        Writes(self.state)
    }

    fn facts(&self) -> Facts {
        Facts::effect()
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// q·S of an S that all rows have been written to.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearRead {
    pub q: Value,
    pub attention: LinearAttention,
    pub state: Piece<LinearState>,
}

impl Operation for LinearRead {
    const NAME: &'static str = "linear_read";
    type States = Reads<LinearState>;
    operands!(q; attention, state);

    fn states(&self) -> Self::States {
        Reads(self.state)
    }

    fn facts(&self) -> Facts {
        Facts {
            result: true,
            reach: Reach::AllRows,
            in_place: [None; 2],
            work: Work::Elements,
        }
    }

    fn lower(&mut self, _: &mut dyn Lower) {}
}

/// Columns of S that are worked on together. They depend on no others, and so many rows of them
/// as keys have elements stay in a core's first cache.
pub const STATE_COLUMNS: usize = 64;

/// Rows after which a decay that never changes is applied, all at once.
pub const DECAY_ROWS: usize = 64;

/// Floats of a cache line, at which blocks begin.
const LINE: usize = 16;

/// What is kept beside a block of S (in every block, so that blocks share nothing).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinearSums {
    /// Nothing.
    None,
    /// z and n. Both decay, and so does what rounding adds to them.
    Counted,
    /// Where nothing ever decays: S up to the last row whose number was a multiple of
    /// [`DECAY_ROWS`], the block itself then holding what came since; z; what rounding took from
    /// each of its elements. After 2²⁴ rows a plain sum would no longer take in another.
    Exact,
}

/// The state of one sequence: for each head, for each block of S's columns, `[key_dim][columns]`
/// and then what [`LinearSums`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearState {
    /// Matrices.
    pub heads: usize,
    /// Rows of each.
    pub key_dim: usize,
    /// Columns of each.
    pub value_dim: usize,
    /// What is kept beside each block.
    pub sums: LinearSums,
}

impl LinearState {
    /// Blocks of columns of a head.
    pub fn blocks(&self) -> usize {
        self.value_dim.div_ceil(STATE_COLUMNS)
    }

    /// Floats in all; `None` if there are too many to count.
    pub fn len(&self) -> Option<usize> {
        let blocks = self.heads.checked_mul(self.blocks())?;
        self.block_len()?.checked_mul(blocks)
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Floats from one block to the next.
    pub fn block_len(&self) -> Option<usize> {
        let columns = self.value_dim.min(STATE_COLUMNS);
        let block = self.key_dim.checked_mul(columns)?;
        let sums = match self.sums {
            LinearSums::None => 0,
            LinearSums::Counted => self.key_dim.checked_add(1)?,
            LinearSums::Exact => self.key_dim.checked_mul(2)?.checked_add(block)?,
        };
        let floats = block.checked_add(sums)?;
        floats.checked_next_multiple_of(LINE)
    }
}
