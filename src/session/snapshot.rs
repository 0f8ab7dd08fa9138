//! A sequence as bytes: written by one session, brought back by another one of the same model,
//! whatever its size, machine or instruction set.
//!
//! Little-endian throughout:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `RILLSNAP` |
//! | 4 | version, 4 |
//! | 8 | the model's fingerprint |
//! | 16 | the digest of its weights, all of them |
//! | 4, then 16 each | pieces of state: their number; of each a kind and three sizes |
//! | 8, 8, 8 | positions held; rows of the encoder's output; tokens noted |
//! | 4 each | the tokens |
//! | | 8 for each position in a KV cache, then the floats, piece by piece |
//! | 8 | FNV-1a of all that came before |

use super::Session;
use crate::checksum::Checksum;
use crate::error::RunError;
use crate::graph::{
    CachedValues, ConvState, CrossCache, KvCache, LinearSums, MeansState, ScanState, SessionTable,
    StateKind,
};
use crate::model::Precision;
use crate::state::KvType;
use crate::state::StateError;
use std::fmt;
use std::io::{self, Read, Write};

const MAGIC: &[u8; 8] = b"RILLSNAP";
const VERSION: u32 = 4;

/// Why a snapshot could not be written or brought back.
#[derive(Debug)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Reading or writing failed.
    Io(io::Error),
    /// The bytes are no snapshot, or damaged.
    Damaged(String),
    /// A snapshot of another model or of another version of the format.
    Other(String),
    /// The session cannot hold it, or the sequence cannot be saved.
    Run(RunError),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("snapshot ends early")
            }
            SnapshotError::Io(error) => error.fmt(f),
            SnapshotError::Damaged(what) | SnapshotError::Other(what) => f.write_str(what),
            SnapshotError::Run(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SnapshotError {}

impl From<io::Error> for SnapshotError {
    fn from(error: io::Error) -> SnapshotError {
        SnapshotError::Io(error)
    }
}

impl From<StateError> for SnapshotError {
    fn from(error: StateError) -> SnapshotError {
        SnapshotError::Run(error.into())
    }
}

/// What passes through, and its checksum.
struct Summed<T> {
    inner: T,
    sum: Checksum,
}

impl<T> Summed<T> {
    fn new(inner: T) -> Summed<T> {
        Summed {
            inner,
            sum: Checksum::START,
        }
    }
}

impl Summed<&mut dyn Write> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.add(bytes);
        self.inner.write_all(bytes)
    }
}

impl Summed<&mut dyn Read> {
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(bytes)?;
        self.sum.add(bytes);
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn u128(&mut self) -> io::Result<u128> {
        Ok(u128::from_le_bytes(self.array()?))
    }
}

/// A piece of state in four numbers.
fn numbers(kind: &StateKind, kv_type: KvType) -> [u32; 4] {
    let of = |tag, a: usize, b: usize, c: usize| [tag, a as u32, b as u32, c as u32];
    match *kind {
        StateKind::KvCache(KvCache {
            kv_heads,
            head_dim,
            values,
        }) => match values {
            CachedValues::BesideKeys => of(1, kv_heads, head_dim, kv_type.number()),
            // Where a value begins in its key no byte depends on.
            CachedValues::InKeys(_) => of(16, kv_heads, head_dim, kv_type.number()),
        },
        StateKind::Cross(CrossCache { kv_heads, head_dim }) => of(2, kv_heads, head_dim, 0),
        // 3, 4 and 5 are retired: snapshots with them hold their states in another order.
        StateKind::Conv(ConvState { channels, width }) => of(8, channels, width, 0),
        StateKind::Scan(ScanState {
            channels,
            states,
            heads,
        }) => match heads {
            None => of(9, 1, channels, states),
            Some(heads) => of(14, heads, channels, states),
        },
        StateKind::Means(MeansState { channels }) => of(15, channels, 0, 0),
        StateKind::Linear(state) => {
            let tag = match state.sums {
                LinearSums::Counted => 10,
                LinearSums::None => 11,
                LinearSums::Exact => 12,
            };
            of(tag, state.heads, state.key_dim, state.value_dim)
        }
        StateKind::SegmentMemory(ref memory) => {
            let mut sum = Checksum::START;
            for number in memory.numbers() {
                sum.add(&(number as u64).to_le_bytes());
            }
            of(6, memory.heads, memory.head_dim, sum.0 as u32 as usize)
        }
        StateKind::Table(SessionTable { width, .. }) => of(7, width, 0, 0),
        StateKind::HiddenMemory(ref hidden) => {
            let mut sum = Checksum::START;
            for number in hidden.segments.numbers() {
                sum.add(&(number as u64).to_le_bytes());
            }
            let layers = 2 * hidden.layers + usize::from(hidden.rotates);
            of(13, layers, hidden.width, sum.0 as u32 as usize)
        }
    }
}

impl Session {
    /// Writes a sequence to `out`, with the tokens that made it if the caller wants them back.
    ///
    /// It bears a digest of all of the model's weights. The first snapshot, or the first that is
    /// brought back, reads them for it, which takes seconds for some GiB; see
    /// [`Session::snapshot_file`].
    ///
    /// # Errors
    /// No such sequence, or one that an abort has spoiled; whatever `out` refuses.
    pub fn snapshot(
        &self,
        sequence: u32,
        tokens: &[u32],
        out: &mut dyn Write,
    ) -> Result<(), SnapshotError> {
        let ranges = self.state.saved(sequence)?;
        let mut out = Summed::new(out);
        out.put(MAGIC)?;
        out.put(&VERSION.to_le_bytes())?;
        out.put(&self.model.fingerprint().to_le_bytes())?;
        out.put(&self.model.weights_digest().to_le_bytes())?;
        let kinds = self.model.states();
        out.put(&(kinds.len() as u32).to_le_bytes())?;
        let kv_type = self.options.kv_type;
        for number in kinds.iter().flat_map(|kind| numbers(kind, kv_type)) {
            out.put(&number.to_le_bytes())?;
        }
        let lengths = [
            self.state.len(sequence)?,
            self.state.cross_len(sequence),
            tokens.len(),
        ];
        for length in lengths {
            out.put(&(length as u64).to_le_bytes())?;
        }
        for token in tokens {
            out.put(&token.to_le_bytes())?;
        }
        for range in ranges {
            out.put(self.state.bytes(range))?;
        }
        let sum = out.sum.0;
        out.put(&sum.to_le_bytes())?;
        Ok(out.inner.flush()?)
    }

    /// Makes a sequence what a snapshot holds, and returns the tokens noted in it.
    ///
    /// # Errors
    /// Bytes that are no whole snapshot of this model, every byte of its weights included, or more
    /// positions than the session has room for. Once the snapshot was seen to be of this model the
    /// sequence is empty after an error.
    pub fn restore(
        &mut self,
        sequence: u32,
        from: &mut dyn Read,
    ) -> Result<Vec<u32>, SnapshotError> {
        let mut from = Summed::new(from);
        if &from.array::<8>()? != MAGIC {
            let what = "not a snapshot: it does not begin with RILLSNAP";
            return Err(SnapshotError::Damaged(what.to_string()));
        }
        let version = from.u32()?;
        if version != VERSION {
            let why = match version {
                1..VERSION => ": it does not tell its model from one with other weights",
                _ => "",
            };
            let what = format!("snapshot is of version {version}, expected {VERSION}{why}");
            return Err(SnapshotError::Other(what));
        }
        let (theirs, ours) = (from.u64()?, self.model.fingerprint());
        if theirs != ours {
            let what = match self.other_precision(theirs) {
                Some(precision) => format!(
                    "snapshot was computed at precision {precision}, this model computes at {}",
                    self.model.precision()
                ),
                None => format!(
                    "snapshot is of another model: its fingerprint is {theirs:016x}, this one's {ours:016x}"
                ),
            };
            return Err(SnapshotError::Other(what));
        }
        let (theirs, ours) = (from.u128()?, self.model.weights_digest());
        if theirs != ours {
            let what = format!(
                "snapshot is of a model with other weights: their digest is {theirs:032x}, this one's {ours:032x}"
            );
            return Err(SnapshotError::Other(what));
        }
        let model = self.model.clone();
        let kinds = model.states();
        let mut alike = from.u32()? as usize == kinds.len();
        let kv_type = self.options.kv_type;
        for number in kinds.iter().flat_map(|kind| numbers(kind, kv_type)) {
            alike = alike && from.u32()? == number;
        }
        if !alike {
            let what =
                "snapshot holds other pieces of state, or of another type, than this session keeps";
            return Err(SnapshotError::Other(what.to_string()));
        }
        let read = self.fill(sequence, &mut from);
        if read.is_err() {
            self.state.reset(sequence)?;
        }
        read
    }

    /// At which other precision this model has that fingerprint.
    fn other_precision(&self, fingerprint: u64) -> Option<Precision> {
        let others = Precision::ALL.iter().copied();
        let mut others = others.filter(|&other| other != self.model.precision());
        others.find(|&other| self.model.fingerprint_at(other) == fingerprint)
    }

    /// Reads what stands behind the model's part, and returns the tokens.
    fn fill(
        &mut self,
        sequence: u32,
        from: &mut Summed<&mut dyn Read>,
    ) -> Result<Vec<u32>, SnapshotError> {
        let mut length = |what: &str| {
            let found = from.u64()?;
            let length = usize::try_from(found).ok().filter(|_| found >> 48 == 0);
            length.ok_or_else(|| SnapshotError::Damaged(format!("snapshot has {found} {what}")))
        };
        let (len, source) = (length("positions")?, length("source rows")?);
        let count = length("tokens")?;
        // Grown as they come: a count alone must not cost memory.
        let mut tokens = Vec::new();
        for _ in 0..count {
            let token = from.u32()?;
            tokens.try_reserve(1).map_err(io::Error::from)?;
            tokens.push(token);
        }
        self.state.prepare(sequence, len, source)?;
        for range in self.state.saved(sequence)? {
            from.fill(self.state.bytes_mut(range))?;
        }
        let sum = from.sum.0;
        if from.u64()? != sum {
            let what = "snapshot is damaged: its checksum does not fit";
            return Err(SnapshotError::Damaged(what.to_string()));
        }
        let limit = self.model.limits().positions;
        if self.state.positions(sequence).any(|at| at >= limit) {
            let what = format!("snapshot holds positions that are not below {limit}");
            return Err(SnapshotError::Damaged(what));
        }
        Ok(tokens)
    }

    /// Whether sequences can be rewound to any length, without a checkpoint.
    pub fn can_rewind(&self) -> bool {
        !self.state.is_recurrent()
    }
}
