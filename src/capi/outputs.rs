//! What a feed leaves for C to read.

use super::error::Failure;
use super::session::OutputRow;
use crate::exec::{Output, Row};
use crate::graph::{Op, Role, RowSpace};
use crate::model::Model;
use std::ffi::CString;

/// Outputs of the last feed, end to end.
pub struct Outputs {
    names: Vec<(&'static str, CString)>,
    records: Vec<Record>,
    values: Vec<f32>,
}

struct Record {
    name: usize,
    start: usize,
    count: usize,
    row: usize,
    of_sequence: bool,
}

impl Outputs {
    pub fn new(model: &Model) -> Outputs {
        let mut names = Vec::new();
        for role in [Role::Decode, Role::Encode] {
            for (name, _, _) in emitted(model, role) {
                if let Ok(text) = CString::new(name) {
                    names.push((name, text));
                }
            }
        }
        Outputs {
            names,
            records: Vec::new(),
            values: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn get(&self, index: usize) -> Option<OutputRow> {
        Some(self.shown(self.records.get(index)?))
    }

    /// The last one of this name.
    pub fn last(&self, name: &str) -> Option<OutputRow> {
        let of_name = |record: &&Record| self.names[record.name].0 == name;
        Some(self.shown(self.records.iter().rev().find(of_name)?))
    }

    pub fn clear(&mut self) {
        self.records.clear();
        self.values.clear();
    }

    /// Makes room for all that `rows` can give, so that the run itself never asks for memory.
    pub fn reserve(&mut self, model: &Model, role: Role, rows: &[Row]) -> Result<(), Failure> {
        self.clear();
        let selected = rows.iter().filter(|row| row.emit).count();
        let (mut records, mut values) = (0usize, 0usize);
        for (_, space, width) in emitted(model, role) {
            let count = match space {
                RowSpace::Selected => selected,
                _ => rows.len(),
            };
            records = records.saturating_add(count);
            values = values.saturating_add(count.saturating_mul(width));
        }
        self.records.try_reserve(records)?;
        Ok(self.values.try_reserve(values)?)
    }

    pub fn push(&mut self, output: Output<'_>) {
        let Some(name) = self.names.iter().position(|(name, _)| *name == output.name) else {
            return;
        };
        self.records.push(Record {
            name,
            start: self.values.len(),
            count: output.values.len(),
            row: output.row,
            of_sequence: output.space == RowSpace::Sequence,
        });
        self.values.extend_from_slice(output.values);
    }

    fn shown(&self, record: &Record) -> OutputRow {
        OutputRow {
            name: self.names[record.name].1.as_ptr(),
            values: self.values[record.start..][..record.count].as_ptr(),
            count: record.count,
            row: record.row,
            of_sequence: u32::from(record.of_sequence),
        }
    }
}

/// The outputs of a graph: name, row space, width.
fn emitted(
    model: &Model,
    role: Role,
) -> impl Iterator<Item = (&'static str, RowSpace, usize)> + '_ {
    model.graph(role).into_iter().flat_map(|graph| {
        graph.nodes.iter().filter_map(|node| match &node.op {
            Op::Emit(emit) => {
                let info = graph.info(emit.x);
                Some((emit.name, info.space, info.width))
            }
            _ => None,
        })
    })
}
