//! Memories of outer products: what linear attention, retention and the delta rules share.

use super::{Rope, Value, Vector};

/// One matrix S for each head, written and read row by row:
///
/// S ← decay ⊙ S + write ⊗ (read·S) + k ⊗ v, then q·S,
///
/// where a family says how S fades, what is taken back before a value is added, which S is read and
/// what the reading is divided by.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearAttention {
    /// Matrices. Operands may have fewer heads: a divisor, each shared by neighbours.
    pub heads: usize,
    /// Floats of a query and of a key.
    pub key_dim: usize,
    /// Floats of a value.
    pub value_dim: usize,
    /// How S fades.
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
    /// q·z + eps, z being the sum of keys that fades as S does (Katharopoulos et al. 2020).
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
            key_dim,
            value_dim,
            decay: Decay::None,
            delta: DeltaRule::None,
            divisor: Divisor::None,
            before: false,
            rope: None,
        }
    }

    /// Values read beside q, k and v.
    pub fn inputs(&self) -> [Option<Value>; 3] {
        let decay = match self.decay {
            Decay::None | Decay::Fixed(_) => None,
            Decay::Heads(value) | Decay::Keys(value) => Some(value),
        };
        let [first, second] = match self.delta {
            DeltaRule::None => [None; 2],
            DeltaRule::Delta(beta) => [Some(beta), None],
            DeltaRule::Pair { read, write } => [Some(read), Some(write)],
        };
        [decay, first, second]
    }

    /// Replaces the values read beside q, k and v.
    pub fn map_inputs(&mut self, mut to: impl FnMut(Value) -> Value) {
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

    /// How its state lies in memory.
    pub fn memory(&self) -> LinearState {
        LinearState {
            heads: self.heads,
            key_dim: self.key_dim,
            value_dim: self.value_dim,
            sums: match (self.divisor, &self.decay) {
                (Divisor::None, _) => Sums::None,
                (Divisor::Sum(_), Decay::None) => Sums::Exact,
                _ => Sums::Counted,
            },
        }
    }
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
pub enum Sums {
    /// Nothing.
    None,
    /// z and n. Both fade, and so does what rounding adds to them.
    Counted,
    /// Where nothing ever fades: S up to the last row whose number was a multiple of
    /// [`DECAY_ROWS`], the block itself then holding what came since; z; what rounding took from
    /// each of its elements. After 2²⁴ rows a plain sum would no longer take in another.
    Exact,
}

/// The state of one sequence: for each head, for each block of S's columns, `[key_dim][columns]`
/// and then what [`Sums`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearState {
    /// Matrices.
    pub heads: usize,
    /// Rows of each.
    pub key_dim: usize,
    /// Columns of each.
    pub value_dim: usize,
    /// What is kept beside each block.
    pub sums: Sums,
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
            Sums::None => 0,
            Sums::Counted => self.key_dim.checked_add(1)?,
            Sums::Exact => self.key_dim.checked_mul(2)?.checked_add(block)?,
        };
        let floats = block.checked_add(sums)?;
        floats.checked_next_multiple_of(LINE)
    }
}
