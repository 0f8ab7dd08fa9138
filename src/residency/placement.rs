//! What a budget holds, and the least one that works.

use super::units::{PAGE, Units};

/// Buffers through which layers pass that do not stay: one computes while the other fills.
pub const BUFFERS: usize = 2;

/// Where a model's weights are kept, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placement {
    /// Bytes of what always stays beside layers: embeddings, the head.
    pub fixed: u64,
    /// Layers, their experts left out.
    pub layers: usize,
    /// Those of them that stay, and their bytes.
    pub pinned: usize,
    /// Bytes of those.
    pub pinned_bytes: u64,
    /// Bytes of layers that are read anew at each run.
    pub streamed_bytes: u64,
    /// Bytes of the buffers that they pass through.
    pub buffers: u64,
    /// Experts of all layers.
    pub experts: usize,
    /// Bytes of all experts.
    pub expert_bytes: u64,
    /// Experts that memory holds.
    pub slots: usize,
    /// Bytes of those.
    pub slot_bytes: u64,
    /// Bytes of vectors, which are kept as floats.
    pub vectors: u64,
}

impl Placement {
    /// Bytes of memory that it takes.
    pub fn held(&self) -> u64 {
        self.fixed + self.pinned_bytes + self.buffers + self.slot_bytes + self.vectors
    }

    /// Whether nothing is read any more once all is there.
    pub fn is_whole(&self) -> bool {
        self.streamed_bytes == 0 && self.slots == self.experts
    }
}

/// Experts of one size, whose places in memory serve any of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct SizeClass {
    pub len: usize,
    pub experts: usize,
    pub slots: usize,
    /// Experts of this size that a token asks for.
    pub demand: usize,
}

/// How units are laid out.
#[derive(Clone, Debug)]
pub(super) struct HeldLayout {
    /// Whether each layer stays.
    pub pinned: Vec<bool>,
    /// Bytes of a buffer, if there are some.
    pub buffer: usize,
    pub classes: Vec<SizeClass>,
}

impl HeldLayout {
    /// The best one within `bytes`; the least number of bytes that works, if that is more.
    pub fn within(units: &Units, bytes: u64) -> Result<HeldLayout, u64> {
        let layers: Vec<u64> = units
            .layers
            .iter()
            .map(|(_, unit)| unit.len as u64)
            .collect();
        let mut classes = classes(units);
        let experts = |classes: &[SizeClass]| -> u64 {
            let slots = classes.iter().map(|class| (class.len * class.slots) as u64);
            slots.sum()
        };
        let all: u64 = classes
            .iter()
            .map(|class| (class.len * class.experts) as u64)
            .sum();
        let fixed = fixed(units);
        if fixed + layers.iter().sum::<u64>() + all <= bytes {
            for class in &mut classes {
                class.slots = class.experts;
            }
            return Ok(HeldLayout {
                pinned: vec![true; layers.len()],
                buffer: 0,
                classes,
            });
        }
        let least = fixed + experts(&classes);
        // As many layers as fit. What every token needs comes before what it may need.
        let choice = (0..=layers.len())
            .rev()
            .map(|count| spread(layers.len(), count));
        let taken = |pinned: &[bool]| least + held(&layers, pinned);
        let fits = choice.clone().find(|pinned| taken(pinned) <= bytes);
        let Some(pinned) = fits else {
            return Err(choice.map(|pinned| taken(&pinned)).min().unwrap_or(least));
        };
        share(&mut classes, bytes - taken(&pinned));
        Ok(HeldLayout {
            buffer: largest(&layers, &pinned) as usize,
            pinned,
            classes,
        })
    }

    /// Its figures.
    pub fn figures(&self, units: &Units, vectors: u64) -> Placement {
        let layers = || units.layers.iter().zip(&self.pinned);
        let bytes = |stays: bool| {
            let some = layers().filter(|(_, pinned)| **pinned == stays);
            some.map(|((_, unit), _)| unit.len as u64).sum()
        };
        let sum = |of: fn(&SizeClass) -> usize| self.classes.iter().map(of).sum::<usize>();
        Placement {
            fixed: fixed(units),
            layers: units.layers.len(),
            pinned: layers().filter(|(_, pinned)| **pinned).count(),
            pinned_bytes: bytes(true),
            streamed_bytes: bytes(false),
            buffers: (BUFFERS * self.buffer) as u64,
            experts: sum(|class| class.experts),
            expert_bytes: sum(|class| class.experts * class.len) as u64,
            slots: sum(|class| class.slots),
            slot_bytes: sum(|class| class.slots * class.len) as u64,
            vectors,
        }
    }
}

/// Bytes of what always stays, and those before the first whole page.
fn fixed(units: &Units) -> u64 {
    (units.fixed.len + PAGE) as u64
}

/// The sizes of experts, each with the fewest slots that work.
fn classes(units: &Units) -> Vec<SizeClass> {
    let mut classes: Vec<SizeClass> = Vec::new();
    let stacks = units.stacks.iter();
    let all = stacks.flat_map(|stack| stack.experts.iter().zip(0..).map(|unit| (stack.used, unit)));
    for (used, (unit, expert)) in all {
        // As if a token asked for the first ones: their sizes are those of all.
        let asked = usize::from(expert < used);
        match classes.iter_mut().find(|class| class.len == unit.len) {
            Some(class) => {
                class.experts += 1;
                class.demand += asked;
            }
            None => classes.push(SizeClass {
                len: unit.len,
                experts: 1,
                slots: 1,
                demand: asked,
            }),
        }
    }
    classes
}

/// Gives all classes the same share of their experts, and what is left to whom it makes whole.
fn share(classes: &mut [SizeClass], bytes: u64) {
    let wanted = |class: &SizeClass| (class.len * (class.experts - class.slots)) as u64;
    let all: u64 = classes.iter().map(wanted).sum();
    let mut left = bytes;
    for class in &mut *classes {
        let part = u128::from(bytes) * u128::from(wanted(class)) / u128::from(all.max(1));
        let more = (part as u64 / class.len.max(1) as u64) as usize;
        let more = more.min(class.experts - class.slots);
        class.slots += more;
        left -= (more * class.len) as u64;
    }
    for class in classes {
        let more = (left / class.len.max(1) as u64) as usize;
        let more = more.min(class.experts - class.slots);
        class.slots += more;
        left -= (more * class.len) as u64;
    }
}

/// `count` of `layers` layers, evenly spread, so that those that stay are computed while others are
/// read.
fn spread(layers: usize, count: usize) -> Vec<bool> {
    let before = |layer: usize| layer * count / layers.max(1);
    (0..layers)
        .map(|layer| before(layer) < before(layer + 1))
        .collect()
}

/// Bytes of layers that stay and of the buffers for others.
fn held(layers: &[u64], pinned: &[bool]) -> u64 {
    let stay = layers.iter().zip(pinned).filter(|(_, pinned)| **pinned);
    let stay: u64 = stay.map(|(len, _)| len).sum();
    stay + BUFFERS as u64 * largest(layers, pinned)
}

/// Bytes of the largest layer that does not stay.
fn largest(layers: &[u64], pinned: &[bool]) -> u64 {
    let stream = layers.iter().zip(pinned).filter(|(_, pinned)| !**pinned);
    stream.map(|(len, _)| *len).max().unwrap_or(0)
}
