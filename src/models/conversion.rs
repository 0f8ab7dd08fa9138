//! How an architecture is told in GGUF where that differs from what its checkpoints say in more
//! than names: keys that follow from others, tensors that are cut or arranged anew.

use crate::graph::Catalog;
use rillm_formats::manifest::{Array, Metadata, MetadataValue};

/// What becomes of a Hugging Face folder's keys and tensors beside their names.
#[derive(Clone, Copy, Debug)]
pub struct Conversion {
    /// `general.architecture` of the file; `None` for the first name that the architecture
    /// answers to.
    pub architecture: Option<&'static str>,
    /// Says in GGUF's keys what `config.json` says in others or leaves to be known.
    pub keys: fn(&mut GgufKeys<'_>),
    /// What a tensor that graphs use is written as, and keys that follow from its extents.
    pub tensor: fn(&mut GgufKeys<'_>, Written) -> Result<Vec<Written>, String>,
    /// Keys that follow from the tensors that are written.
    pub complete: fn(&mut GgufKeys<'_>, &dyn Catalog),
    /// Tensors that no graph uses and readers of GGUF insist on, and those they are copies of.
    pub copies: &'static [(&'static str, &'static str)],
    /// Parts of layers of one number each that become a list, and its key.
    pub listed: &'static [(&'static str, &'static str)],
}

impl Conversion {
    /// Every key and every tensor as it is stored.
    pub const PLAIN: Conversion = Conversion {
        architecture: None,
        keys: |_| {},
        tensor: |_, tensor| Ok(vec![tensor]),
        complete: |_, _| {},
        copies: &[],
        listed: &[],
    };
}

/// A tensor on its way into a GGUF file.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Its canonical name.
    pub name: String,
    /// Extents, outermost first.
    pub shape: Vec<u64>,
    /// Which stored row stands where.
    pub rows: WrittenRows,
    /// What they are multiplied by: of how many rows each, from the first, by what; none by
    /// anything else.
    pub factors: Vec<(usize, f32)>,
}

impl Written {
    /// `attn_q` of `blk.7.attn_q.weight`.
    pub fn part(&self) -> &str {
        self.name.split('.').nth(2).unwrap_or_default()
    }

    /// The same, every value times this.
    pub fn times(mut self, factor: f32) -> Written {
        if factor != 1.0 {
            self.factors = vec![(usize::MAX, factor)];
        }
        self
    }
}

/// The order of a written tensor's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrittenRows {
    /// As they are stored.
    AsStored,
    /// Of heads of `dim` rows: the halves' rows by turns, so that rows that rotate together are
    /// neighbours.
    Paired {
        /// Rows of a head.
        dim: usize,
    },
    /// A part: `block` of every `stride` rows, from row `offset` on.
    Part {
        /// Rows that lie together.
        block: usize,
        /// From one block to the next.
        stride: usize,
        /// The first one's first row.
        offset: usize,
        /// Of heads of how many rows each the halves' rows stand by turns, if of any.
        paired: Option<usize>,
    },
    /// Of groups of heads of `dim` rows (queries, then one of keys and one of values): all
    /// queries, all keys, all values.
    QueriesFirst {
        /// Rows of a head.
        dim: usize,
        /// Heads of queries in a group.
        queries: usize,
    },
    /// Every other row.
    Turns {
        /// Whether it is the second of two.
        second: bool,
    },
    /// Of heads of `dim` rows the last `end` as in [`WrittenRows::Paired`], the others as stored.
    EndsPaired {
        /// Rows of a head.
        dim: usize,
        /// Those of its end.
        end: usize,
    },
    /// A part of every `stride` rows.
    HeadParts {
        /// Rows of a part.
        rows: usize,
        /// Stored rows from one part to the next.
        stride: usize,
        /// Stored rows before the first.
        offset: usize,
    },
    /// Of every `stride` stored rows the first, as many as a written row has elements, turned: an
    /// element stands in the row, and at the place, that was its place and its row.
    HeadsTurned {
        /// Stored rows from one head to the next.
        stride: usize,
    },
    /// After `before` rows, groups of `shared` heads of `dim` rows: the first head of each group,
    /// then the second ones.
    InTurn {
        /// Rows that stay where they are.
        before: usize,
        /// Rows of a head.
        dim: usize,
        /// Heads of a group.
        shared: usize,
        /// How many groups.
        groups: usize,
    },
    /// The same of columns.
    ColumnsInTurn {
        /// Columns of a head.
        dim: usize,
        /// Heads of a group.
        shared: usize,
        /// How many groups.
        groups: usize,
    },
}

impl WrittenRows {
    /// Of how many stored rows `count` rows are written.
    pub fn of_stored(self, count: usize) -> usize {
        match self {
            WrittenRows::Turns { .. } => 2 * count,
            WrittenRows::HeadParts { rows, stride, .. } => count / rows * stride,
            WrittenRows::Part { block, stride, .. } => count / block * stride,
            WrittenRows::AsStored
            | WrittenRows::Paired { .. }
            | WrittenRows::EndsPaired { .. }
            | WrittenRows::QueriesFirst { .. }
            | WrittenRows::InTurn { .. }
            | WrittenRows::ColumnsInTurn { .. }
            | WrittenRows::HeadsTurned { .. } => count,
        }
    }

    /// Which stored row of `count` stands at `row`; for what is turned, itself.
    pub fn stored(self, row: usize, count: usize) -> usize {
        match self {
            WrittenRows::AsStored
            | WrittenRows::HeadsTurned { .. }
            | WrittenRows::ColumnsInTurn { .. } => row,
            WrittenRows::Turns { second } => 2 * row + usize::from(second),
            WrittenRows::EndsPaired { dim, end } => {
                let (head, within) = (row - row % dim, row % dim);
                let start = dim - end;
                match within.checked_sub(start) {
                    None => row,
                    Some(place) => head + start + place % 2 * (end / 2) + place / 2,
                }
            }
            WrittenRows::HeadParts {
                rows,
                stride,
                offset,
            } => row / rows * stride + offset + row % rows,
            WrittenRows::InTurn { before, .. } if row < before => row,
            WrittenRows::InTurn {
                before,
                dim,
                shared,
                groups,
            } => before + in_turn(row - before, dim, (shared, groups)),
            WrittenRows::Paired { dim } => paired(row, dim),
            WrittenRows::Part {
                block,
                stride,
                offset,
                paired: heads,
            } => {
                let row = heads.map_or(row, |dim| paired(row, dim));
                row / block * stride + offset + row % block
            }
            WrittenRows::QueriesFirst { dim, queries } => {
                let group = (queries + 2) * dim;
                let (groups, block) = (count / group, queries * dim);
                let (row, block, offset) = if row < groups * block {
                    (row, block, 0)
                } else if row < groups * (block + dim) {
                    (row - groups * block, dim, block)
                } else {
                    (row - groups * (block + dim), dim, block + dim)
                };
                row / block * group + offset + row % block
            }
        }
    }

    /// Puts the elements of a row in their order.
    pub fn arrange(self, values: &mut [f32]) {
        if let WrittenRows::ColumnsInTurn {
            dim,
            shared,
            groups,
        } = self
        {
            let stored = values.to_vec();
            for (place, value) in values.iter_mut().enumerate() {
                let from = in_turn(place, dim, (shared, groups));
                *value = stored.get(from).copied().unwrap_or_default();
            }
        }
    }
}

/// Where a row of a head's halves stood before they were put by turns.
fn paired(row: usize, dim: usize) -> usize {
    let within = row % dim;
    row - within + within % 2 * (dim / 2) + within / 2
}

/// Where element `place` stood before heads of so many were taken by turns.
fn in_turn(place: usize, dim: usize, (shared, groups): (usize, usize)) -> usize {
    let (head, within) = (place / dim, place % dim);
    (head % groups * shared + head / groups) * dim + within
}

/// The keys of a GGUF file under their canonical names: its architecture's prefix comes before
/// them when they are written.
#[derive(Debug)]
pub struct GgufKeys<'a> {
    /// `general.architecture`.
    pub architecture: &'static str,
    /// What `config.json` says.
    pub config: &'a Metadata,
    /// Values by canonical name.
    pub values: Metadata,
    /// Keys that have no prefix.
    pub bare: Metadata,
}

impl GgufKeys<'_> {
    /// `architectures[0]` of the configuration: tells which head was trained.
    pub fn class(&self) -> &[u8] {
        match self.config.array("architectures") {
            Some(Array::String(names)) => names.get(0).unwrap_or_default(),
            _ => b"",
        }
    }

    /// A whole number that is not negative.
    pub fn count(&self, key: &str) -> Option<u64> {
        self.values.u64(key)
    }

    /// A number.
    pub fn float(&self, key: &str) -> Option<f64> {
        self.values.f64(key)
    }

    /// Sets a key.
    pub fn put(&mut self, key: &str, value: MetadataValue) {
        self.values.0.insert(key.to_string(), value);
    }

    /// Sets a key that nobody has set.
    pub fn put_usual(&mut self, key: &str, value: MetadataValue) {
        self.values.0.entry(key.to_string()).or_insert(value);
    }

    /// Takes keys away.
    pub fn remove(&mut self, keys: &[&str]) {
        for key in keys {
            self.values.0.remove(*key);
        }
    }

    /// Sets the context of a model that has no limit, or does not say it.
    pub fn put_usual_context(&mut self, positions: u32) {
        if self.count("context_length").is_none() {
            self.put("context_length", MetadataValue::U32(positions));
        }
    }

    /// Sets heads of keys by layer: those of layers that do not attend are none.
    pub fn put_attending_layers(&mut self, heads: u64, attends: impl Fn(u64) -> bool) {
        let layers = self.count("block_count").unwrap_or(0).min(1 << 16);
        let heads = (0..layers).map(|layer| if attends(layer) { heads as u32 } else { 0 });
        let heads = MetadataValue::Array(Array::U32(heads.collect()));
        self.put("attention.head_count_kv", heads);
    }

    /// Heads of queries.
    pub fn heads(&self) -> u64 {
        self.count("attention.head_count").unwrap_or(1).max(1)
    }

    /// Heads of keys, of the layers that have some.
    pub fn kv_heads(&self) -> Option<u64> {
        let key = "attention.head_count_kv";
        match self.values.value(key) {
            Some(MetadataValue::Array(list)) => (0..list.len()).filter_map(|i| list.u64(i)).max(),
            _ => self.count(key),
        }
    }

    /// Elements of a head.
    pub fn head_dim(&self) -> Option<u64> {
        let heads = self.count("attention.head_count")?;
        let usual = || self.count("embedding_length")?.checked_div(heads);
        self.count("attention.key_length").or_else(usual)
    }
}

/// Positions that a model without a longest length claims to take: readers of GGUF want a number.
pub(super) const ANY_LENGTH: u32 = 1 << 20;

/// Queries and keys so that elements that rotate together are neighbours.
pub(super) const NEIGHBOURS_PAIRED: Conversion = Conversion {
    tensor: neighbours_paired,
    ..Conversion::PLAIN
};

/// Of a model whose state has one size for any length.
pub(super) const ENDLESS: Conversion = Conversion {
    complete: |keys, _| keys.put_usual_context(ANY_LENGTH),
    ..Conversion::PLAIN
};

/// The outermost extent of a tensor that is written.
pub(super) fn rows(tensors: &dyn Catalog, name: &str) -> Option<u32> {
    u32::try_from(*tensors.shape(name)?.first()?).ok()
}

/// Rows that make no heads.
fn no_heads(tensor: &Written, count: u64) -> String {
    let name = &tensor.name;
    format!("tensor {name} has {count} rows, which are not whole heads, or heads of odd size")
}

/// Queries and keys so that elements that rotate together are neighbours.
pub(super) fn neighbours_paired(
    keys: &mut GgufKeys<'_>,
    mut tensor: Written,
) -> Result<Vec<Written>, String> {
    let heads = match tensor.part() {
        "attn_q" => keys.heads(),
        "attn_k" => keys.kv_heads().unwrap_or(keys.heads()).max(1),
        _ => return Ok(vec![tensor]),
    };
    let count = tensor.shape.first().copied().unwrap_or(1);
    // Converters make pairs of all of a head, even where only a part of it rotates.
    let dim = count / heads;
    if dim * heads != count || !dim.is_multiple_of(2) || dim == 0 {
        return Err(no_heads(&tensor, count));
    }
    tensor.rows = WrittenRows::Paired { dim: dim as usize };
    Ok(vec![tensor])
}

/// Projections that are fused head by head: all queries, all keys, all values. Notes how many
/// heads of keys there turn out to be.
pub(super) fn queries_first(
    keys: &mut GgufKeys<'_>,
    mut tensor: Written,
) -> Result<Vec<Written>, String> {
    if tensor.part() != "attn_qkv" {
        return Ok(vec![tensor]);
    }
    let heads = keys.heads();
    let count = tensor.shape.first().copied().unwrap_or(1);
    let dim = keys.count("embedding_length").unwrap_or(0) / heads;
    let all = count.checked_div(dim).unwrap_or(0);
    let kv_heads = all.saturating_sub(heads) / 2;
    if kv_heads == 0 || dim * (heads + 2 * kv_heads) != count || !heads.is_multiple_of(kv_heads) {
        return Err(no_heads(&tensor, count));
    }
    keys.put(
        "attention.head_count_kv",
        MetadataValue::U32(kv_heads as u32),
    );
    tensor.rows = WrittenRows::QueriesFirst {
        dim: dim as usize,
        queries: (heads / kv_heads) as usize,
    };
    Ok(vec![tensor])
}

/// Gates and what they let through, which some checkpoints keep in one matrix and converters do
/// not.
pub(super) fn gates_apart(tensor: Written) -> Result<Vec<Written>, String> {
    halves_apart(tensor, "ffn_gate_up", ["ffn_gate", "ffn_up"])
}

/// The halves of the matrix `fused`, each under a name of its own.
pub(super) fn halves_apart(
    tensor: Written,
    fused: &str,
    parts: [&str; 2],
) -> Result<Vec<Written>, String> {
    let Written {
        name,
        mut shape,
        factors,
        ..
    } = tensor;
    let place = shape.len().saturating_sub(2);
    let rows = match shape.get_mut(place) {
        Some(rows) if *rows >= 2 && rows.is_multiple_of(2) => {
            *rows /= 2;
            *rows as usize
        }
        _ => {
            return Err(format!(
                "tensor {name} of shape {shape:?} has no two halves"
            ));
        }
    };
    let half = |kind: &str, second| Written {
        name: name.replace(fused, kind),
        shape: shape.clone(),
        rows: WrittenRows::Part {
            block: rows,
            stride: 2 * rows,
            offset: if second { rows } else { 0 },
            paired: None,
        },
        factors: factors.clone(),
    };
    Ok(vec![half(parts[0], false), half(parts[1], true)])
}

/// Experts' matrices that stand in one, as stacks.
pub(super) fn expert_stacks(
    keys: &mut GgufKeys<'_>,
    mut tensor: Written,
) -> Result<Vec<Written>, String> {
    let experts = keys.count("expert_count").unwrap_or(1).max(1);
    if let (true, &[rows, columns]) = (tensor.part().ends_with("_exps"), &tensor.shape[..]) {
        tensor.shape = match tensor.part() {
            "ffn_down_exps" => vec![experts, rows, columns / experts],
            _ => vec![experts, rows / experts, columns],
        };
    }
    Ok(vec![tensor])
}
