//! What a session keeps of its sequences from run to run.
//!
//! One allocation, laid out before the first token. The KV cache lives in pages of [`PAGE`]
//! positions that a sequence reaches through its table: forking shares pages, writing to a shared
//! page copies it first, rewinding drops pages. The states of convolutions, scans and linear
//! attention are a fixed number of bytes a sequence, whatever its length; they cannot be truncated,
//! only checkpointed.

// What treats operations, or kinds of state, one by one names them all.
#![deny(clippy::wildcard_enum_match_arm)]

mod discard;
mod error;
mod handles;
mod layout;
mod saved;
mod segments;

pub use crate::kernels::{KvType, PAGE, UnknownKvType};
pub use error::StateError;
pub(crate) use handles::{Handle, Open};
pub use layout::{StateCapacity, StateLayout};
pub(crate) use segments::{HiddenLayout, MemoryLayout, Ring};

use crate::arena::Arena;
use crate::graph::StateKind;
use crate::graph::state::Lifetime;
use crate::reserve::{OutOfMemory, filled, list};
use layout::unit_len;

/// One sequence's place in the state.
#[derive(Clone, Debug)]
struct Sequence {
    len: usize,
    /// Page of each run of [`PAGE`] positions.
    pages: Vec<u32>,
    /// Where the cross cache of its encoder input is.
    cross_unit: usize,
    cross_len: usize,
    /// Where its open segment began.
    segment: usize,
    interrupted: bool,
}

/// A state saved at one length, behind those of the sequences.
#[derive(Clone, Copy, Debug)]
struct Checkpoint {
    sequence: u32,
    len: usize,
}

/// The state of one session.
#[derive(Debug)]
pub struct State {
    memory: Arena,
    layout: StateLayout,
    sequences: Vec<Sequence>,
    checkpoints: Vec<Option<Checkpoint>>,
    /// How many tables hold each page.
    holders: Vec<u32>,
    free: Vec<u32>,
    cross_holders: Vec<u32>,
}

impl State {
    /// Reserves everything; nothing is touched until it is used.
    pub fn new(layout: StateLayout) -> Result<State, OutOfMemory> {
        let capacity = layout.capacity;
        let memory = Arena::new(layout.len())?;
        let per_sequence = layout.pages.checked_div(capacity.sequences).unwrap_or(0);
        let mut sequences = list(capacity.sequences)?;
        for cross_unit in 0..capacity.sequences {
            sequences.push(Sequence {
                len: 0,
                pages: list(per_sequence)?,
                cross_unit,
                cross_len: 0,
                segment: 0,
                interrupted: false,
            });
        }
        let mut free = list(layout.pages)?;
        free.extend((0..layout.pages as u32).rev());
        Ok(State {
            memory,
            sequences,
            checkpoints: filled(None, capacity.checkpoints)?,
            holders: filled(0, layout.pages)?,
            free,
            cross_holders: filled(1, capacity.sequences)?,
            layout,
        })
    }

    /// Bytes that are reserved.
    pub fn reserved(&self) -> usize {
        self.memory.len()
    }

    /// The layout, for figures.
    pub fn layout(&self) -> &StateLayout {
        &self.layout
    }

    /// Positions that a sequence holds.
    pub fn len(&self, sequence: u32) -> Result<usize, StateError> {
        Ok(self.sequence(sequence)?.len)
    }

    /// Whether a sequence is empty.
    pub fn is_empty(&self, sequence: u32) -> Result<bool, StateError> {
        Ok(self.len(sequence)? == 0)
    }

    /// Forgets a sequence, its checkpoints included.
    pub fn reset(&mut self, sequence: u32) -> Result<(), StateError> {
        self.sequence(sequence)?;
        self.truncate(sequence, 0);
        self.drop_checkpoints(sequence, |_| true);
        self.clear_recurrent(sequence);
        let sequence = &mut self.sequences[sequence as usize];
        sequence.cross_len = 0;
        sequence.interrupted = false;
        Ok(())
    }

    /// Makes `to` a copy of `from`; the KV cache is shared until one of them writes.
    pub fn fork(&mut self, from: u32, to: u32) -> Result<(), StateError> {
        self.usable(from)?;
        self.sequence(to)?;
        if from == to {
            return Ok(());
        }
        self.truncate(to, 0);
        self.drop_checkpoints(to, |_| true);
        for index in 0..self.sequences[from as usize].pages.len() {
            let page = self.sequences[from as usize].pages[index];
            self.holders[page as usize] += 1;
            self.sequences[to as usize].pages.push(page);
        }
        self.copy_recurrent(from as usize, to as usize);
        let (unit, cross_len, len) = {
            let from = &self.sequences[from as usize];
            (from.cross_unit, from.cross_len, from.len)
        };
        let to = &mut self.sequences[to as usize];
        self.cross_holders[to.cross_unit] -= 1;
        self.cross_holders[unit] += 1;
        to.cross_unit = unit;
        to.cross_len = cross_len;
        to.len = len;
        to.interrupted = false;
        Ok(())
    }

    /// Shortens a sequence to `len` positions: by truncation where state is a KV cache alone, else
    /// from the checkpoint taken at that length.
    pub fn rewind(&mut self, sequence: u32, len: usize) -> Result<(), StateError> {
        let Sequence {
            len: current,
            interrupted,
            ..
        } = *self.sequence(sequence)?;
        if len > current {
            return Err(StateError::Ahead { len, current });
        }
        if self.is_recurrent() && (len != current || interrupted) {
            let found = self.checkpoints.iter().position(|held| {
                held.is_some_and(|held| held.sequence == sequence && held.len == len)
            });
            match found {
                Some(index) => {
                    self.copy_recurrent(self.layout.capacity.sequences + index, sequence as usize)
                }
                None if len == 0 => self.clear_recurrent(sequence),
                None => return Err(StateError::NoCheckpoint { len }),
            }
        }
        // A checkpoint past the cut belongs to what is being dropped.
        self.drop_checkpoints(sequence, |held| held > len);
        self.truncate(sequence, len);
        self.sequences[sequence as usize].interrupted = false;
        Ok(())
    }

    /// Shortens a sequence to the longest length of at most `most` that it can be shortened to, and
    /// says which that is.
    pub fn rewind_within(&mut self, sequence: u32, most: usize) -> Result<usize, StateError> {
        let Sequence {
            len, interrupted, ..
        } = *self.sequence(sequence)?;
        let kept = match self.is_recurrent() {
            true if interrupted || len > most => self.checkpoints_of(sequence, most).max(),
            true | false => Some(len.min(most)),
        };
        let kept = kept.unwrap_or(0);
        self.rewind(sequence, kept)?;
        Ok(kept)
    }

    /// The lengths of at most `most` at which a sequence has been saved.
    fn checkpoints_of(&self, sequence: u32, most: usize) -> impl Iterator<Item = usize> {
        let of = self.checkpoints.iter().flatten();
        of.filter(move |held| held.sequence == sequence && held.len <= most)
            .map(|held| held.len)
    }

    /// Frees the shortest of a sequence's checkpoints, if all that are reserved are in use.
    pub fn make_room_for_checkpoint(&mut self, sequence: u32) {
        let shortest = self.checkpoints_of(sequence, usize::MAX).min();
        if let (Some(len), true) = (shortest, self.checkpoints.iter().all(Option::is_some)) {
            self.drop_checkpoints(sequence, |held| held == len);
        }
    }

    /// Saves a sequence at its present length, so that it can be rewound to it.
    pub fn checkpoint(&mut self, sequence: u32) -> Result<(), StateError> {
        let len = self.usable(sequence)?.len;
        let new = Checkpoint { sequence, len };
        let same = |held: &Option<Checkpoint>| {
            held.is_some_and(|held| held.sequence == sequence && held.len == len)
        };
        if !self.is_recurrent() || self.checkpoints.iter().any(same) {
            return Ok(());
        }
        let Some(index) = self.checkpoints.iter().position(Option::is_none) else {
            return Err(StateError::CheckpointsFull {
                checkpoints: self.checkpoints.len(),
            });
        };
        self.checkpoints[index] = Some(new);
        self.copy_recurrent(sequence as usize, self.layout.capacity.sequences + index);
        Ok(())
    }

    /// Frees the checkpoints of a sequence.
    pub fn forget_checkpoints(&mut self, sequence: u32) -> Result<(), StateError> {
        self.sequence(sequence)?;
        self.drop_checkpoints(sequence, |_| true);
        Ok(())
    }

    /// A sequence that may be extended, or why not.
    fn usable(&self, sequence: u32) -> Result<&Sequence, StateError> {
        let found = self.sequence(sequence)?;
        if found.interrupted {
            Err(StateError::Interrupted)
        } else {
            Ok(found)
        }
    }

    /// Whether `more` positions may be appended.
    pub(crate) fn check_room(&self, sequence: u32, more: usize) -> Result<(), StateError> {
        let Sequence { len, cross_len, .. } = *self.usable(sequence)?;
        if cross_len == 0 && self.has_cross() {
            return Err(StateError::NoSource { sequence });
        }
        let context = self.layout.capacity.context;
        if self.layout.pages > 0 && more > context - len {
            return Err(StateError::ContextFull { context });
        }
        Ok(())
    }

    /// Makes entry `entry` of a sequence's KV cache writable, notes its position, and says where
    /// it lies: page and place inside it. The caller has checked that there is room.
    pub(crate) fn make_writable(
        &mut self,
        sequence: u32,
        entry: usize,
        position: u64,
    ) -> (u32, u32) {
        if self.layout.pages == 0 {
            return (0, 0);
        }
        let index = entry / PAGE;
        let table = &self.sequences[sequence as usize].pages;
        let page = match table.get(index) {
            None => {
                let page = self.take_page();
                self.sequences[sequence as usize].pages.push(page);
                page
            }
            Some(&page) if self.holders[page as usize] > 1 => {
                let copy = self.take_page();
                self.copy_page(page, copy);
                self.holders[page as usize] -= 1;
                self.sequences[sequence as usize].pages[index] = copy;
                copy
            }
            Some(&page) => page,
        };
        // SAFETY: a page has PAGE positions, and nobody else touches the state while it is
        // borrowed mutably.
        unsafe { self.positions_ptr(page).add(entry % PAGE).write(position) }
        (page, (entry % PAGE) as u32)
    }

    /// Records that a sequence has grown.
    pub(crate) fn advance(&mut self, sequence: u32, rows: usize) {
        self.sequences[sequence as usize].len += rows;
    }

    /// Records that a run ended half way: what the KV cache has past the length is simply not there, but
    /// recurrent state is spoiled.
    pub(crate) fn interrupt(&mut self, sequence: u32) {
        self.sequences[sequence as usize].interrupted = self.is_recurrent();
        let len = self.sequences[sequence as usize].len;
        self.truncate(sequence, len);
    }

    /// Gives a sequence a cross cache of its own for `rows` new rows.
    pub(crate) fn begin_cross(&mut self, sequence: u32, rows: usize) -> Result<(), StateError> {
        let source = self.layout.capacity.source;
        if rows > source {
            return Err(StateError::SourceFull { source });
        }
        let unit = self.sequence(sequence)?.cross_unit;
        if self.cross_holders[unit] > 1 {
            // As many as sequences: if this one is shared, another is free.
            if let Some(own) = self.cross_holders.iter().position(|&holders| holders == 0) {
                self.cross_holders[unit] -= 1;
                self.cross_holders[own] = 1;
                self.sequences[sequence as usize].cross_unit = own;
            }
        }
        self.sequences[sequence as usize].cross_len = rows;
        Ok(())
    }

    /// Records that an encoder's run ended half way: what it wrote is no source.
    pub(crate) fn interrupt_cross(&mut self, sequence: u32) {
        self.sequences[sequence as usize].cross_len = 0;
    }

    /// Pages of a sequence, in order.
    fn pages(&self, sequence: u32) -> &[u32] {
        &self.sequences[sequence as usize].pages
    }

    /// Rows of the encoder's output that a sequence sees.
    pub(crate) fn cross_len(&self, sequence: u32) -> usize {
        self.sequences[sequence as usize].cross_len
    }

    /// How keys and values are kept.
    fn kv_type(&self) -> KvType {
        self.layout.capacity.kv_type
    }

    /// Where the cross cache of a sequence's encoder input is.
    fn cross_unit(&self, sequence: u32) -> usize {
        self.sequences[sequence as usize].cross_unit
    }

    /// Address of the positions that a page's entries have.
    fn positions_ptr(&self, page: u32) -> *mut u64 {
        // SAFETY: a page's number is below `pages`, for which the layout reserved positions.
        unsafe {
            let start = self.memory.as_ptr().add(self.positions_offset(page));
            start.cast()
        }
    }

    fn positions_offset(&self, page: u32) -> usize {
        self.layout.positions + page as usize * PAGE * size_of::<u64>()
    }

    fn unit_ptr(&self, id: usize, unit: usize) -> *mut f32 {
        // SAFETY: pages and units are numbered below the counts that the layout reserved.
        unsafe {
            let start = self.memory.as_ptr().add(self.unit_offset(id, unit));
            start.cast()
        }
    }

    /// Floats of a sequence's unit.
    fn unit_floats(&self, id: usize) -> usize {
        self.layout.strides[id] / size_of::<f32>()
    }

    fn unit_offset(&self, id: usize, unit: usize) -> usize {
        self.layout.offsets[id] + unit * self.layout.strides[id]
    }

    fn sequence(&self, sequence: u32) -> Result<&Sequence, StateError> {
        let sequences = self.sequences.len();
        let found = self.sequences.get(sequence as usize);
        found.ok_or(StateError::NoSequence {
            sequence,
            sequences,
        })
    }

    fn has_cross(&self) -> bool {
        let mut kinds = self.layout.kinds.iter();
        kinds.any(|kind| kind.lifetime() == Lifetime::Input)
    }

    fn truncate(&mut self, sequence: u32, len: usize) {
        let keep = len.div_ceil(PAGE);
        while self.sequences[sequence as usize].pages.len() > keep {
            if let Some(page) = self.sequences[sequence as usize].pages.pop() {
                self.holders[page as usize] -= 1;
                if self.holders[page as usize] == 0 {
                    self.free.push(page);
                }
            }
        }
        self.sequences[sequence as usize].len = len;
    }

    fn drop_checkpoints(&mut self, sequence: u32, which: impl Fn(usize) -> bool) {
        for held in &mut self.checkpoints {
            if held.is_some_and(|held| held.sequence == sequence && which(held.len)) {
                *held = None;
            }
        }
    }

    /// A page that nobody holds. There is one: a sequence never holds more than its share, and
    /// a shared page counts for both holders.
    fn take_page(&mut self) -> u32 {
        let page = self
            .free
            .pop()
            .expect("every sequence's share of pages is reserved");
        self.holders[page as usize] = 1;
        page
    }

    fn copy_page(&mut self, from: u32, to: u32) {
        for id in 0..self.layout.kinds.len() {
            if self.layout.kinds[id].lifetime() == Lifetime::Positions {
                self.copy_unit(id, from as usize, to as usize);
            }
        }
        // SAFETY: distinct pages' positions are disjoint, PAGE entries each.
        unsafe {
            let (from, to) = (self.positions_ptr(from), self.positions_ptr(to));
            std::ptr::copy_nonoverlapping(from, to, PAGE);
        }
    }

    /// Copies all recurrent state from one unit to another.
    fn copy_recurrent(&mut self, from: usize, to: usize) {
        for id in 0..self.layout.kinds.len() {
            if is_recurrent(&self.layout.kinds[id]) {
                self.copy_unit(id, from, to);
            }
        }
    }

    fn copy_unit(&mut self, id: usize, from: usize, to: usize) {
        let len = unit_len(&self.layout.kinds[id], self.layout.capacity).unwrap_or(0);
        // SAFETY: distinct units of one piece are disjoint, `len` bytes each, and nobody else
        // touches the state while it is borrowed mutably.
        unsafe {
            let (from, to) = (self.unit_ptr(id, from), self.unit_ptr(id, to));
            std::ptr::copy_nonoverlapping(from.cast::<u8>(), to.cast::<u8>(), len);
        }
    }

    fn clear_recurrent(&mut self, sequence: u32) {
        for id in 0..self.layout.kinds.len() {
            let kind = &self.layout.kinds[id];
            if is_recurrent(kind) {
                let len = unit_len(kind, self.layout.capacity).unwrap_or(0);
                // SAFETY: as in `copy_unit`.
                unsafe {
                    self.unit_ptr(id, sequence as usize)
                        .cast::<u8>()
                        .write_bytes(0, len)
                }
            }
        }
    }
}

fn is_recurrent(kind: &StateKind) -> bool {
    kind.lifetime() == Lifetime::Sequence
}
