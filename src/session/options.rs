//! How much a session can hold.

use crate::error::RunError;
use crate::setters::setters;
use crate::state::{KvType, StateCapacity};

/// How much a session can hold. Everything is reserved when it is opened and touched only when
/// used.
///
/// ```
/// use rillm::{KvType, SessionOptions};
///
/// let options = SessionOptions::new().context(8192).kv_type(KvType::Q8_0);
/// assert_eq!(options.batch, 512);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionOptions {
    /// Positions of each sequence: the length of its KV cache.
    pub context: usize,
    /// Sequences.
    pub sequences: usize,
    /// Rows that a decoding graph takes at a time.
    pub batch: usize,
    /// Rows of the longest input to an encoder.
    pub source: usize,
    /// Checkpoints of recurrent state that all sequences have together.
    pub checkpoints: usize,
    /// The type in which the KV cache holds keys and values.
    pub kv_type: KvType,
    /// Whether sparse attention sees blocks at random, as where its authors' code trains; without,
    /// the first block stands for each of them, as where that does not.
    pub random_attention: bool,
    /// Bytes that the model's weights, the session's state and its activations may take together;
    /// without, and with a model that [has no bound](crate::Model::within), weights are mapped, and the system keeps of them what it has room for. The first
    /// session that says it decides for the model what of the weights stays in memory and what is
    /// read when it is needed; results are the same bits for any budget.
    pub memory: Option<u64>,
}

setters! {
    const SessionOptions {
        context: usize,
        sequences: usize,
        batch: usize,
        source: usize,
        checkpoints: usize,
        kv_type: KvType,
        random_attention: bool,
        memory: Option<u64>,
    }
}

impl Default for SessionOptions {
    fn default() -> SessionOptions {
        SessionOptions::new()
    }
}

impl SessionOptions {
    /// One sequence of 4096 positions, keys and values in f32.
    pub const fn new() -> SessionOptions {
        SessionOptions {
            context: 4096,
            sequences: 1,
            batch: 512,
            source: 512,
            checkpoints: 1,
            kv_type: KvType::F32,
            random_attention: false,
            memory: None,
        }
    }

    /// Most sequences, rows of a batch or a source, and checkpoints.
    pub const MOST: usize = 1 << 20;

    pub(super) fn checked(self) -> Result<(SessionOptions, StateCapacity), RunError> {
        let SessionOptions {
            context,
            sequences,
            batch,
            source,
            checkpoints,
            kv_type,
            random_attention: _,
            memory: _,
        } = self;
        // The planner and the state keep tables of rows and sequences: what is above these
        // bounds is a mistake, and must not cost memory before it is refused.
        for (name, value, least, most) in [
            ("context", context, 1, u32::MAX as usize),
            ("sequences", sequences, 1, Self::MOST),
            ("batch", batch, 1, Self::MOST),
            ("source", source, 1, Self::MOST),
            ("checkpoints", checkpoints, 0, Self::MOST),
        ] {
            if value < least || value > most {
                let what = format!("session option {name} is {value}, expected {least} to {most}");
                return Err(RunError::Input(what));
            }
        }
        Ok((
            self,
            StateCapacity {
                context,
                sequences,
                batch,
                source,
                checkpoints,
                kv_type,
            },
        ))
    }
}
