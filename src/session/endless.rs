//! Going on when the context is full.

use super::Session;
use crate::error::RunError;
use crate::graph::{Decay, Divisors, Index, Keys, Op, PositionScheme, Role, Rope, StateKind};
use crate::model::Model;
use std::ops::Range;

impl Session {
    /// Whether this model's sequences have a KV cache, which a context bounds.
    pub fn has_kv_cache(&self) -> bool {
        self.model.has_kv_cache()
    }

    /// Whether the middle of a KV cache can be forgotten.
    ///
    /// # Errors
    /// Why not: positions that embeddings have are inside what is kept, and cannot be changed; nor
    /// can those that a state of constant size has taken in.
    pub fn can_discard(&self) -> Result<(), RunError> {
        let title = self.model.architecture().title;
        let embedded = |op: &Op| match op {
            Op::Embed(embed) => match embed.index {
                Index::Position | Index::PositionPast(_) => Some("learned positions"),
                _ => None,
            },
            Op::SinusoidalPositions(_) => Some("positions in its embeddings"),
            _ => None,
        };
        let decoder = self.model.graph(Role::Decode);
        let mut nodes = decoder.into_iter().flat_map(|graph| &graph.nodes);
        if let Some(what) = nodes.find_map(|node| embedded(&node.op)) {
            return Err(RunError::Input(format!(
                "{title} has {what}, its KV cache cannot be moved: it ends where the context does"
            )));
        }
        let turned = |op: &Op| matches!(op, Op::Rotate(_));
        let mut graphs = self.model.graph(Role::Decode).into_iter();
        if graphs.any(|graph| graph.nodes.iter().any(|node| turned(&node.op))) {
            return Err(RunError::Input(format!(
                "{title} does more to its keys after it has rotated them, its KV cache cannot be moved: it ends \
                 where the context does"
            )));
        }
        // A memory's rows stand, and are compressed, by their number in the sequence.
        let by_number = |kind: &StateKind| {
            matches!(
                kind,
                StateKind::SegmentMemory(_) | StateKind::HiddenMemory(_)
            )
        };
        // Keys are inside S as they were rotated; when S decays next follows from the number.
        let by_place = |op: &Op| match op {
            Op::LinearRecurrence(step) => {
                step.attention.rope.is_some() || matches!(step.attention.decay, Decay::Fixed(_))
            }
            _ => false,
        };
        let mut graphs = self.model.graph(Role::Decode).into_iter();
        if self.model.states().iter().any(by_number)
            || graphs.any(|graph| graph.nodes.iter().any(|node| by_place(&node.op)))
        {
            return Err(RunError::Input(format!(
                "{title} has taken every row's place into a state of constant size, from which none \
                 can be forgotten: it needs no room, and can be rewound to a checkpoint"
            )));
        }
        Ok(())
    }

    /// Forgets the entries `range` of a sequence's KV cache and moves those behind them up, in
    /// place and in position: rotated keys are turned back by as many positions (and rounded
    /// again to the type they are kept in). What the later entries took from the forgotten ones
    /// stays in them. Returns how many positions less the next row has.
    ///
    /// # Errors
    /// No such sequence; a range that is empty, or behind which there is nothing (see
    /// [`Session::rewind`]); whatever [`Session::can_discard`] says. Recurrent states that know no
    /// positions stay as they are: only the count of their rows goes down.
    pub fn discard(&mut self, sequence: u32, range: Range<usize>) -> Result<u64, RunError> {
        let len = self.state.len(sequence)?;
        if range.start >= range.end || range.end >= len {
            let Range { start, end } = range;
            return Err(RunError::Input(format!(
                "cannot discard entries {start} to {end} of {len}: expected a range with an end above its \
                 start and below {len}"
            )));
        }
        self.can_discard()?;
        let model = self.model.clone();
        let turns: Vec<Option<(&Rope, usize)>> = (0..model.states().len())
            .map(|id| rotation(&model, id))
            .collect();
        let kv_type = self.options.kv_type;
        let kernels = model.kernels();
        let mut floats = Vec::new();
        let mut table: (usize, u64, Vec<f32>, Vec<f32>) = (usize::MAX, 0, Vec::new(), Vec::new());
        let mut turn = |id: usize, back: u64, key: &mut [u8]| {
            let Some((rope, dim)) = turns[id] else { return };
            let (made_for, made_back, cos, sin) = &mut table;
            if (*made_for, *made_back) != (id, back) {
                (*made_for, *made_back) = (id, back);
                let pairs = rope.dims() / 2;
                let divisors = rope.divisors(len as u64).map(|found| match found {
                    Divisors::Numbers(numbers) => &numbers[..],
                    Divisors::Tensor(vector) => model.weights().vector(*vector),
                });
                cos.clear();
                sin.clear();
                for pair in 0..pairs {
                    let divisor = divisors.map_or(1.0, |divisors| divisors[pair]);
                    let frequency = f64::from(rope.frequency(pair, len as u64) / divisor);
                    let (s, c) = (-(back as f64) * frequency).sin_cos();
                    cos.push(c as f32);
                    sin.push(s as f32);
                }
            }
            floats.resize(dim, 0.0);
            kv_type.read(kernels, key, dim, &mut floats);
            (kernels.rotate)(&mut floats, cos, sin, rope.pairing);
            kv_type.write(&floats, key);
        };
        Ok(self.state.discard(sequence, range, &mut turn)?)
    }
}

/// How the keys of piece `id` of the state were rotated, and the elements of each.
fn rotation(model: &Model, id: usize) -> Option<(&Rope, usize)> {
    let graph = model.graph(Role::Decode)?;
    graph.nodes.iter().find_map(|node| match &node.op {
        Op::SoftmaxAttention(step) => match (&step.attention.keys, &step.attention.position) {
            (Keys::Cache(cache), PositionScheme::Rope(rope)) if cache.id().index() == id => {
                Some((rope, step.attention.head_dim))
            }
            _ => None,
        },
        _ => None,
    })
}
