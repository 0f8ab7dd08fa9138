//! Why a sequence could not be changed.

use std::fmt;

/// Why a sequence could not be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// No such sequence.
    NoSequence {
        /// Number asked for.
        sequence: u32,
        /// How many there are.
        sequences: usize,
    },
    /// The sequence would outgrow the context.
    ContextFull {
        /// Positions per sequence.
        context: usize,
    },
    /// A feed that is one segment is longer than was reserved.
    SegmentFull {
        /// Rows of the feed.
        rows: usize,
        /// Rows reserved.
        context: usize,
    },
    /// The encoder's output is longer than was reserved.
    SourceFull {
        /// Rows per sequence.
        source: usize,
    },
    /// Recurrent state cannot be truncated, and no checkpoint was taken at that length.
    NoCheckpoint {
        /// Length asked for.
        len: usize,
    },
    /// Every reserved checkpoint is in use.
    CheckpointsFull {
        /// How many were reserved.
        checkpoints: usize,
    },
    /// A rewind forward.
    Ahead {
        /// Length asked for.
        len: usize,
        /// Present length.
        current: usize,
    },
    /// An aborted run left the recurrent state between two positions.
    Interrupted,
    /// The decoder of an encoder–decoder model has nothing to attend to: no input was encoded
    /// for this sequence, or encoding it was aborted.
    NoSource {
        /// Whose.
        sequence: u32,
    },
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::NoSequence { sequence, sequences } => {
                write!(f, "sequence {sequence} does not exist, the session has {sequences}")
            }
            StateError::ContextFull { context } => write!(
                f,
                "context of {context} positions is full, open the session with a larger one or rewind"
            ),
            StateError::SegmentFull { rows, context } => write!(
                f,
                "segment of {rows} rows exceeds the context of {context}, open the session with a larger one or feed it in parts"
            ),
            StateError::SourceFull { source } => write!(
                f,
                "encoder input exceeds the {source} rows reserved, open the session with more"
            ),
            StateError::NoCheckpoint { len } => write!(
                f,
                "recurrent state cannot be rewound to {len} without a checkpoint taken there"
            ),
            StateError::CheckpointsFull { checkpoints } => write!(
                f,
                "all {checkpoints} checkpoints are in use, drop one or open the session with more"
            ),
            StateError::Ahead { len, current } => {
                write!(f, "cannot rewind to {len}: the sequence has {current} positions")
            }
            StateError::Interrupted => f.write_str(
                "an aborted run left this sequence's recurrent state incomplete, reset it or rewind to a checkpoint",
            ),
            StateError::NoSource { sequence } => {
                write!(f, "sequence {sequence} has no source, encode its input first")
            }
        }
    }
}

impl std::error::Error for StateError {}
