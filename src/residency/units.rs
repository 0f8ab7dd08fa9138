//! What is fetched together, and how it lies in memory.

use crate::graph::op::Work;
use crate::graph::{Op, Wiring};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Direct reads begin and end at multiples of this, in files and in memory.
pub const PAGE: usize = 4096;

/// Whether a mask of pieces asks for one: those beyond its bits are always asked for.
pub fn asks(pieces: u64, piece: usize) -> bool {
    piece >= u64::BITS as usize || pieces >> piece & 1 == 1
}

/// Parts of matrices that are brought into memory together.
#[derive(Clone, Debug, Default)]
pub struct Unit {
    /// What is read.
    pub pieces: Vec<FilePiece>,
    /// What is in it.
    pub parts: Vec<UnitPart>,
    /// Bytes in memory, whole pages.
    pub len: usize,
}

/// Neighbouring bytes of a file, whole pages of it.
#[derive(Clone, Debug)]
pub struct FilePiece {
    /// Which file.
    pub file: usize,
    /// First byte of the first page.
    pub start: u64,
    /// Bytes of all pages.
    pub len: usize,
    /// Bytes up to the end of the last part.
    pub needed: usize,
    /// Where in the unit it begins.
    pub at: usize,
}

/// A part of a matrix.
#[derive(Clone, Copy, Debug)]
pub struct UnitPart {
    /// The matrix's number.
    pub matrix: u32,
    /// The part's.
    pub part: u32,
    /// In which piece.
    pub piece: usize,
    /// Where in the unit it begins.
    pub at: usize,
}

/// A part of a matrix, and where a file has it.
struct FilePart {
    matrix: u32,
    part: u32,
    file: usize,
    bytes: Range<u64>,
}

impl Unit {
    fn of(mut parts: Vec<FilePart>) -> Unit {
        parts.sort_by_key(|part| (part.file, part.bytes.start));
        let mut unit = Unit::default();
        for FilePart {
            matrix,
            part,
            file,
            bytes,
        } in parts
        {
            let page = PAGE as u64;
            let joins = unit.pieces.last_mut().filter(|piece| {
                piece.file == file && bytes.start <= piece.start + (piece.len + PAGE) as u64
            });
            match joins {
                Some(piece) => {
                    let needed = (bytes.end - piece.start) as usize;
                    piece.needed = piece.needed.max(needed);
                }
                None => {
                    let start = bytes.start / page * page;
                    unit.pieces.push(FilePiece {
                        file,
                        start,
                        len: 0,
                        needed: (bytes.end - start) as usize,
                        at: unit.len,
                    });
                }
            }
            let last = unit.pieces.len() - 1;
            let piece = &mut unit.pieces[last];
            piece.len = piece.needed.next_multiple_of(PAGE);
            unit.len = piece.at + piece.len;
            unit.parts.push(UnitPart {
                matrix,
                part,
                piece: last,
                at: piece.at + (bytes.start - piece.start) as usize,
            });
        }
        unit
    }

    /// Bytes of some of its pieces.
    pub fn bytes(&self, pieces: u64) -> usize {
        let all = self.pieces.iter().enumerate();
        let asked = all.filter(|(index, _)| asks(pieces, *index));
        asked.map(|(_, piece)| piece.len).sum()
    }

    /// The pieces in which a matrix has parts.
    pub fn pieces_of(&self, matrix: u32) -> u64 {
        let parts = self.parts.iter().filter(|part| part.matrix == matrix);
        let bit = |piece: usize| 1u64.checked_shl(piece as u32).unwrap_or(0);
        parts.fold(0, |pieces, part| pieces | bit(part.piece))
    }
}

/// The experts of a layer, of which a row meets some.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Their matrices.
    pub matrices: Vec<u32>,
    /// One by one.
    pub experts: Vec<Unit>,
    /// The one that a layer meets first.
    pub first: u32,
    /// How many of them a token asks for.
    pub used: usize,
}

/// All matrices of a model, by what moves together.
#[derive(Clone, Debug, Default)]
pub struct Units {
    /// What every token needs or what is looked up row by row.
    pub fixed: Unit,
    /// The matrices of each layer but for its experts, in the order of names.
    pub layers: Vec<(Vec<u32>, Unit)>,
    /// The experts of each layer that has some.
    pub stacks: Vec<Stack>,
}

/// A layer: the half of the model that it is of, and its number.
type LayerKey = (String, u64);

/// Which matrices belong together.
#[derive(Default)]
struct Sorting {
    layers: BTreeMap<LayerKey, BTreeSet<u32>>,
    /// By layer and number of experts: the matrices of a stack, and how many a row uses.
    stacks: BTreeMap<(LayerKey, usize), (Vec<u32>, usize)>,
    fixed: BTreeSet<u32>,
}

impl Units {
    /// Those of a model, given the file and the bytes of every part of each matrix.
    pub fn of(wiring: &Wiring, parts: &[Vec<(usize, Range<u64>)>]) -> Units {
        let sorting = Sorting::of(wiring, parts);
        let whole = |matrices: &BTreeSet<u32>| {
            let parts = matrices.iter().flat_map(|&matrix| {
                let parts = (0..).zip(&parts[matrix as usize]);
                parts.map(move |(part, (file, bytes))| FilePart {
                    matrix,
                    part,
                    file: *file,
                    bytes: bytes.clone(),
                })
            });
            Unit::of(parts.collect())
        };
        let layers = sorting.layers.values();
        let stacks = sorting.stacks.iter().map(|((_, count), (matrices, used))| {
            let expert = |expert: usize| {
                let parts = matrices.iter().filter_map(|&matrix| {
                    let (file, bytes) = parts[matrix as usize].get(expert)?;
                    Some(FilePart {
                        matrix,
                        part: expert as u32,
                        file: *file,
                        bytes: bytes.clone(),
                    })
                });
                Unit::of(parts.collect())
            };
            Stack {
                // A stack is there for a matrix.
                first: matrices[0],
                used: *used,
                matrices: matrices.clone(),
                experts: (0..*count).map(expert).collect(),
            }
        });
        Units {
            fixed: whole(&sorting.fixed),
            stacks: stacks.collect(),
            layers: layers
                .map(|matrices| (matrices.iter().copied().collect(), whole(matrices)))
                .collect(),
        }
    }
}

impl Sorting {
    fn of(wiring: &Wiring, parts: &[Vec<(usize, Range<u64>)>]) -> Sorting {
        let mut sorting = Sorting::default();
        let nodes = || wiring.graphs.iter().flat_map(|graph| &graph.nodes);
        let tables = nodes().filter_map(|node| match &node.op {
            Op::Embed(embed) => Some(embed.table.id),
            _ => None,
        });
        let tables: BTreeSet<u32> = tables.collect();
        for graph in &wiring.graphs {
            for node in &graph.nodes {
                let (matrix, used) = match node.op.facts().work {
                    Work::Product(matrix) => (matrix, 0),
                    Work::Experts { experts, route } => (experts, graph.info(route).width / 2),
                    Work::Elements | Work::State(_) => continue,
                };
                let name = &wiring.matrices[matrix.id as usize].name;
                let Some(layer) = layer_of(name).filter(|_| !tables.contains(&matrix.id)) else {
                    continue;
                };
                let parts = parts[matrix.id as usize].len();
                match used > 0 && parts == matrix.stack {
                    true => {
                        let stack = sorting.stacks.entry((layer, parts)).or_default();
                        if !stack.0.contains(&matrix.id) {
                            stack.0.push(matrix.id);
                        }
                        stack.1 = stack.1.max(used);
                    }
                    false => drop(sorting.layers.entry(layer).or_default().insert(matrix.id)),
                }
            }
        }
        let layers = sorting.layers.values().flatten();
        let stacks = sorting.stacks.values().flat_map(|(matrices, _)| matrices);
        let moving = layers.chain(stacks);
        let moving: BTreeSet<u32> = moving.copied().collect();
        let all = 0..wiring.matrices.len() as u32;
        sorting.fixed = all.filter(|matrix| !moving.contains(matrix)).collect();
        sorting
    }
}

/// What a name has up to its first number, and that: `("blk.", 3)` of `blk.3.attn_q.weight`.
pub(crate) fn layer_of(name: &str) -> Option<(String, u64)> {
    let mut before = 0;
    for part in name.split('.') {
        if let Ok(number) = part.parse() {
            return Some((name[..before].to_string(), number));
        }
        before += part.len() + 1;
    }
    None
}
