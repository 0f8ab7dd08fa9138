//! The rows of one run, as the steps see them.

use super::random_blocks::RandomBlocks;
use crate::reserve::{OutOfMemory, filled, list};
use crate::state::{State, StateError};

/// One token entering a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Vocabulary id.
    pub token: u32,
    /// Position, as embeddings and distances count it. Padding is never a row, but it may leave
    /// gaps here.
    pub position: u64,
    /// Sequence that the row extends.
    pub sequence: u32,
    /// Whether this row's output is asked for.
    pub emit: bool,
    /// Token type (BERT's segment); 0 for models without.
    pub token_type: u32,
    /// Whether the row sees all rows of its sequence and is seen by all, in models whose attention
    /// is otherwise local; `None` leaves it to the model's task.
    pub global: Option<bool>,
}

/// Rows of one sequence that follow each other in a run.
#[derive(Clone, Copy, Debug)]
pub struct SequenceRows {
    /// Their sequence.
    pub sequence: u32,
    /// The first one's index in the run.
    pub first: usize,
    /// How many.
    pub len: usize,
    /// Columns of its sequence, padding counted.
    pub width: u32,
    /// Where those that are global begin, in [`Batch::globals`].
    pub first_global: usize,
    /// How many are.
    pub globals: usize,
}

/// Where a row of an encoder's run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand {
    /// Its column in its sequence, padding counted.
    pub column: u32,
    /// Whether it is global.
    pub is_global: bool,
}

/// Where the rows of a padded input stand.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    /// Each row's; they go up within a sequence.
    pub of_rows: &'a [u32],
    /// How many there are.
    pub width: u32,
}

/// What a step reads about a row beside [`Row`].
#[derive(Clone, Copy, Debug)]
pub struct RowFacts {
    /// The row itself.
    pub row: Row,
    /// Its number in its sequence.
    pub number: usize,
    /// The index at which its segment began, for models that have them.
    pub segment: usize,
    /// Page of the KV cache that it is written to, and the place in it.
    pub page: u32,
    /// Place in the page.
    pub place: u32,
    /// Index of its group.
    pub group: u32,
    /// Its column in its sequence, padding counted.
    pub column: u32,
    /// Whether it sees all rows, and all see it.
    pub is_global: bool,
}

/// The rows of a run. Reserved once, so that a run allocates nothing.
#[derive(Debug, Default)]
pub struct Batch {
    /// All rows, in order.
    pub facts: Vec<RowFacts>,
    /// Neighbours of one sequence.
    pub groups: Vec<SequenceRows>,
    /// Rows whose outputs are asked for.
    pub selected: Vec<u32>,
    /// Rows that are global.
    pub globals: Vec<u32>,
    /// The random blocks of sparse attention, if a session wants them drawn.
    pub random_blocks: Option<RandomBlocks>,
    /// Longest length (largest position + 1) after the feed that this run is a part of.
    pub length: u64,
    /// Index, in the feed, of the run's first row.
    pub first: usize,
    /// Rows of this run per sequence.
    counts: Vec<usize>,
}

impl Batch {
    /// Room for `rows` rows of `sequences` sequences.
    pub fn with_capacity(rows: usize, sequences: usize) -> Result<Batch, OutOfMemory> {
        Ok(Batch {
            facts: list(rows)?,
            groups: list(rows)?,
            selected: list(rows)?,
            globals: list(rows)?,
            random_blocks: None,
            length: 0,
            first: 0,
            counts: filled(0, sequences)?,
        })
    }

    /// Begins a run with no rows.
    pub fn clear(&mut self, first: usize, length: u64) {
        self.facts.clear();
        self.groups.clear();
        self.selected.clear();
        self.globals.clear();
        self.counts.fill(0);
        self.first = first;
        self.length = length;
    }

    /// Appends a row of a decoding run, making its place in the KV cache writable. The caller
    /// has checked that there is room.
    pub fn push_step(&mut self, row: Row, state: &mut State) -> Result<(), StateError> {
        let before = &mut self.counts[row.sequence as usize];
        let number = state.len(row.sequence)? + *before;
        *before += 1;
        let (page, place) = state.make_writable(row.sequence, number, row.position);
        let segment = state.segment(row.sequence);
        let stand = Stand {
            column: number as u32,
            is_global: false,
        };
        self.push(row, stand, (number, segment), (page, place));
        Ok(())
    }

    /// Appends a row of an encoder's run, in the column of its number.
    pub fn push_source(&mut self, row: Row) {
        let column = self.source_number(row.sequence) as u32;
        let is_global = false;
        self.push_source_at(row, Stand { column, is_global });
    }

    /// The same where it says where it stands; columns go up within a sequence.
    pub fn push_source_at(&mut self, row: Row, stand: Stand) {
        let number = self.source_number(row.sequence);
        self.push(row, stand, (number, 0), (0, 0));
    }

    /// Says how many columns the padded sequence has whose rows were pushed last.
    pub fn pad_to(&mut self, width: u32) {
        if let Some(group) = self.groups.last_mut() {
            group.width = group.width.max(width);
        }
    }

    /// The number of the next row of an encoder's run, if it is one of this sequence.
    fn source_number(&self, sequence: u32) -> usize {
        match self.groups.last() {
            Some(group) if group.sequence == sequence => group.len,
            _ => 0,
        }
    }

    /// The rows of a group that are global, as indices in the run.
    pub fn globals_of(&self, group: &SequenceRows) -> &[u32] {
        &self.globals[group.first_global..group.first_global + group.globals]
    }

    fn push(
        &mut self,
        row: Row,
        Stand { column, is_global }: Stand,
        (number, segment): (usize, usize),
        (page, place): (u32, u32),
    ) {
        let index = self.facts.len();
        match self.groups.last_mut() {
            Some(group) if group.sequence == row.sequence => group.len += 1,
            _ => self.groups.push(SequenceRows {
                sequence: row.sequence,
                first: index,
                len: 1,
                width: 0,
                first_global: self.globals.len(),
                globals: 0,
            }),
        }
        self.pad_to(column.saturating_add(1));
        if let Some(group) = self.groups.last_mut().filter(|_| is_global) {
            self.globals.push(index as u32);
            group.globals += 1;
        }
        if row.emit {
            self.selected.push(index as u32);
        }
        let group = self.groups.len() as u32 - 1;
        self.facts.push(RowFacts {
            row,
            number,
            segment,
            page,
            place,
            group,
            column,
            is_global,
        });
    }
}
