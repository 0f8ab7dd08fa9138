//! What a row costs beside its products: what it reads of a cache, how many numbers pass through it.

use super::Blueprint;
use crate::graph::{Keys, Mask, Op, PositionScheme, Role, Segments, StateKind};
use crate::kernels::KvType;

/// Arithmetic of each number of a recurrent state for a row: decayed, added to, read.
const STATE_OPERATIONS: u64 = 6;

/// The same of each number of a key and a value that segment attention sees: a score by content, one
/// by distance, a sum.
const SEGMENT_OPERATIONS: u64 = 6;

/// What looking up a score's bias takes, as arithmetic of attention.
const BIAS_OPERATIONS: u64 = 200;

/// What a row of a graph costs beside its products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowWork {
    /// Numbers that its steps write.
    pub elements: u64,
    /// Bytes of keys and values that it reads.
    pub cache: u64,
    /// Bytes of recurrent states that it reads and writes.
    pub states: u64,
    /// Floating-point operations of attention.
    pub attention: u64,
    /// The same of states that decay number by number: an exponential each.
    pub scans: u64,
    /// The same of sums of outer products, which chunks of rows reach as products of matrices: also
    /// Mamba-2's states, whose heads decay alike.
    pub outer_products: u64,
}

impl Blueprint {
    /// What a row costs that has `position` rows before it; for an encoder: of a text so long.
    pub(crate) fn row_work(&self, role: Role, position: u64, kv_type: KvType) -> RowWork {
        let mut work = RowWork::default();
        let Some(graph) = self.wiring.graph(role) else {
            return work;
        };
        for node in &graph.nodes {
            if let Some(out) = node.out {
                work.elements += graph.info(out).width as u64;
            }
            let attention = match &node.op {
                Op::SoftmaxAttention(step) => &step.attention,
                Op::DisentangledAttention(step) => &step.attention,
                Op::SegmentAttention(step) => {
                    let memory = step.state.kind();
                    let width = (memory.heads * memory.head_dim) as u64;
                    let seen = kept(memory.segments, position);
                    work.attention += SEGMENT_OPERATIONS * width * seen;
                    work.cache += (2 * size_of::<f32>()) as u64 * width * seen;
                    continue;
                }
                _ => continue,
            };
            let seen = match attention.keys {
                Keys::Cross(_) => position,
                _ => seen(&attention.mask, position),
            };
            let heads = (attention.heads * attention.head_dim) as u64;
            work.attention += 4 * heads * seen;
            match attention.position {
                PositionScheme::None | PositionScheme::Rope(_) => {}
                PositionScheme::Buckets(_) | PositionScheme::Alibi(_) => {
                    work.attention += BIAS_OPERATIONS * attention.heads as u64 * seen;
                }
            }
            if let Keys::Cache(cache) = attention.keys {
                let kind = cache.kind();
                let row = kv_type.row_len(kind.head_dim).unwrap_or(0) * kind.kv_heads;
                work.cache += (row * kind.halves()) as u64 * seen;
            }
        }
        if role == Role::Decode {
            self.add_states(&mut work);
        }
        work
    }

    /// What a row does to a sequence's recurrent states.
    fn add_states(&self, work: &mut RowWork) {
        let (mut scans, mut outer_products) = (0, 0);
        for state in &self.wiring.states {
            match state {
                StateKind::Conv(conv) => scans += conv.channels * conv.width.saturating_sub(1),
                StateKind::Scan(scan) => match scan.heads {
                    None => scans += scan.channels * scan.states,
                    Some(_) => outer_products += scan.channels * scan.states,
                },
                StateKind::Means(means) => scans += 3 * means.channels,
                StateKind::Linear(linear) => outer_products += linear.len().unwrap_or(0),
                // What attention sees of the past, and what a session works out once.
                StateKind::KvCache(_)
                | StateKind::Cross(_)
                | StateKind::SegmentMemory(_)
                | StateKind::HiddenMemory(_)
                | StateKind::Table(_) => {}
            }
        }
        work.scans = STATE_OPERATIONS * scans as u64;
        work.outer_products = STATE_OPERATIONS * outer_products as u64;
        // Read and written in 4 bytes each.
        work.states = 8 * (scans + outer_products) as u64;
    }
}

/// Rows that segment attention sees from a row with so many before it.
fn kept(segments: Segments, position: u64) -> u64 {
    let position = usize::try_from(position).unwrap_or(usize::MAX);
    let own = segments.rows().map_or(0, |rows| position % rows.max(1));
    let kept = segments.kept(position - own);
    (own + kept.rows.len() + kept.compressed.len()) as u64
}

/// Keys that a row sees of so many.
fn seen(mask: &Mask, position: u64) -> u64 {
    let most = match *mask {
        Mask::Causal { window } => window.unwrap_or(u64::MAX),
        Mask::Chunked { length } => length / 2,
        Mask::Bidirectional => u64::MAX,
        Mask::Local { radius } => 2 * u64::from(radius) + 1,
        // Its own block and those beside it, the first and the last, and some at random.
        Mask::Blocks(blocks) => u64::from(blocks.columns) * (5 + u64::from(blocks.random)),
    };
    position.min(most)
}
