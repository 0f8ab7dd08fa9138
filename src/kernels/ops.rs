//! Arguments of the operations that take more than a few.

use super::{HistoryType, PAGE};

/// Queries that share a head of keys, against a page of them, with an online softmax.
///
/// The kernel adds to each key's bias the product `query · key`, soft-capped if asked, and folds
/// `exp(score) · value` into `out` and `exp(score)` into the running sum, both relative to the
/// running maximum. The caller divides `out` by the sum after the last page. What is hidden may
/// be anything: it leaves no trace.
#[derive(Clone, Copy, Debug)]
pub struct Attend<'a> {
    /// What keys and values are made of.
    pub history: HistoryType,
    /// [`PAGE`] keys, laid out as [`HistoryType::parts`] has it.
    pub keys: &'a [u8],
    /// As many values. Floats may stand further apart: see `value_stride`.
    pub values: &'a [u8],
    /// Elements from one value to the next; other types than floats have no gaps.
    pub value_stride: usize,
    /// Elements of a head.
    pub dim: usize,
    /// Entries that there are, the first of the page; the rest is hidden.
    pub count: usize,
    /// The scale already in them, `[queries][Attend::stride(dim)]`.
    pub queries: &'a [f32],
    /// c: products become c · tanh(product / c) before the bias is added.
    pub softcap: Option<f32>,
    /// What is added to each score, −∞ where a key is hidden: `[queries][PAGE]`.
    pub biases: Option<&'a [f32]>,
    /// Where the keys and values lie that will be asked for next, to be fetched ahead.
    pub next: Option<[*const u8; 2]>,
}

impl Attend<'_> {
    /// Floats from one query or result to the next: whole registers.
    pub const fn stride(dim: usize) -> usize {
        dim.next_multiple_of(16)
    }

    /// Whether what is pointed to is as long as the numbers say, for so many queries. Every
    /// kernel asks before it looks.
    pub(super) fn checked(&self, scores: &[f32], queries: usize, out: &[f32]) -> bool {
        let stride = Attend::stride(self.dim);
        let row = self.history.row_len(self.dim).unwrap_or(usize::MAX);
        let values = match (self.history, self.count) {
            (_, 0) => Some(0),
            (HistoryType::F32, count) => (count - 1)
                .checked_mul(self.value_stride)
                .and_then(|floats| floats.checked_add(self.dim)?.checked_mul(4)),
            _ => row.checked_mul(PAGE),
        };
        self.dim > 0
            && self.count <= PAGE
            && row
                .checked_mul(PAGE)
                .is_some_and(|len| len <= self.keys.len())
            && values.is_some_and(|len| len <= self.values.len())
            && self.queries.len() >= queries * stride
            && out.len() >= queries * stride
            && scores.len() >= queries * PAGE
            && self
                .biases
                .is_none_or(|biases| biases.len() >= queries * PAGE)
    }
}

/// The state of an online softmax.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Running {
    /// Largest score so far.
    pub max: f32,
    /// Σ exp(score − max) so far.
    pub sum: f32,
}

impl Running {
    /// No key seen yet.
    pub const START: Running = Running {
        max: f32::NEG_INFINITY,
        sum: 0.0,
    };
}

impl Default for Running {
    fn default() -> Self {
        Self::START
    }
}

/// Functions of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pointwise {
    /// x · sigmoid(x)
    Silu,
    /// x · Φ(x), by the error function
    GeluErf,
    /// x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))
    GeluTanh,
    /// max(x, 0)
    Relu,
    /// tanh(x)
    Tanh,
    /// 1 / (1 + exp(−x))
    Sigmoid,
    /// ln(1 + exp(x)), and x itself above 20
    Softplus,
    /// elu(x) + 1: x + 1 above 0, exp(x) below (linear attention's feature map)
    EluPlusOne,
}

impl Pointwise {
    /// Every function.
    pub const ALL: &'static [Pointwise] = &[
        Pointwise::Silu,
        Pointwise::GeluErf,
        Pointwise::GeluTanh,
        Pointwise::Relu,
        Pointwise::Tanh,
        Pointwise::Sigmoid,
        Pointwise::Softplus,
        Pointwise::EluPlusOne,
    ];
}

/// One row through a depthwise causal convolution, for a range of channels.
///
/// `out[c] = bias[c] + Σ_j weight[c][j] · window[c][j]`, where the window is the state followed
/// by the input; the state then moves on by one.
#[derive(Debug)]
pub struct Conv1d<'a> {
    /// `[channels][width − 1]`, oldest first; updated.
    pub state: &'a mut [f32],
    /// `[channels][width]`, oldest first.
    pub weight: &'a [f32],
    /// `[channels]`
    pub bias: Option<&'a [f32]>,
    /// `[channels]`
    pub input: &'a [f32],
    /// `[channels]`
    pub out: &'a mut [f32],
    /// Taps, at least one.
    pub width: usize,
}

/// One row through Mamba's selective scan, for a range of channels.
///
/// `h[c][n] ← exp(dt[c] · a[c][n]) · h[c][n] + dt[c] · b[n] · x[c]`, then
/// `out[c] = Σ_n h[c][n] · c[n] + d[c] · x[c]`. The number of states is `b.len()`.
#[derive(Debug)]
pub struct Scan<'a> {
    /// h, `[channels][states]`; updated.
    pub state: &'a mut [f32],
    /// A, `[channels][states]`, negative.
    pub a: &'a [f32],
    /// B, `[states]`
    pub b: &'a [f32],
    /// C, `[states]`
    pub c: &'a [f32],
    /// D, `[channels]`
    pub d: &'a [f32],
    /// Step size after softplus, `[channels]`
    pub dt: &'a [f32],
    /// `[channels]`
    pub x: &'a [f32],
    /// `[channels]`
    pub out: &'a mut [f32],
}

/// One row of one head through attention without a softmax, whose history is one matrix.
///
/// `S ← S + k ⊗ v`, `z ← z + k`, `out = (q · S) / (q · z + epsilon)`; queries and keys have
/// been through their feature map.
#[derive(Debug)]
pub struct LinearAttend<'a> {
    /// S, `[key_dim][value_dim]`; updated.
    pub state: &'a mut [f32],
    /// z, `[key_dim]`; updated.
    pub normalizer: &'a mut [f32],
    /// `[key_dim]`
    pub query: &'a [f32],
    /// `[key_dim]`
    pub key: &'a [f32],
    /// `[value_dim]`
    pub value: &'a [f32],
    /// Added to the divisor.
    pub epsilon: f32,
    /// `[value_dim]`
    pub out: &'a mut [f32],
}

/// Which elements a rotary embedding turns together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pairing {
    /// `(x[2i], x[2i + 1])`
    Interleaved,
    /// `(x[i], x[i + n])`, where n is the number of pairs
    Halves,
}
