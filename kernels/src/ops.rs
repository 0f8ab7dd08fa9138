//! Arguments of the operations that take more than a few.

use super::{KvType, PAGE};

/// Queries that share a head of keys, against a page of them, with an online softmax.
///
/// The kernel adds to each key's bias the product `query · key`, soft-capped if asked, and folds
/// `exp(score) · value` into `out` and `exp(score)` into the running sum, both relative to the
/// running maximum. The caller divides `out` by the sum after the last page. What is hidden may
/// be anything: it leaves no trace.
#[derive(Clone, Copy, Debug)]
pub struct Attend<'a> {
    /// What keys and values are made of.
    pub kv_type: KvType,
    /// [`PAGE`] keys, laid out as [`KvType::parts`] has it.
    pub keys: &'a [u8],
    /// As many values. Floats may stand further apart: see `value_stride`.
    pub values: &'a [u8],
    /// Elements from one value to the next; other types than floats have no gaps.
    pub value_stride: usize,
    /// Elements of a head.
    pub dim: usize,
    /// Of so many elements is a value that is the end of its key: then nobody looks at `values`.
    pub value_in_key: Option<usize>,
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
        let row = self.kv_type.row_len(self.dim).unwrap_or(usize::MAX);
        let values = match (self.kv_type, self.count) {
            (_, 0) => Some(0),
            _ if self.value_in_key.is_some() => Some(0),
            (KvType::F32, count) => (count - 1)
                .checked_mul(self.value_stride)
                .and_then(|floats| floats.checked_add(self.dim)?.checked_mul(4)),
            _ => row.checked_mul(PAGE),
        };
        self.dim > 0
            && self.value_in_key.is_none_or(|dim| dim <= self.dim)
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
    /// exp(x)
    Exp,
    /// max(x, 0)²
    SquaredRelu,
    /// x · sigmoid(1.702 x)
    QuickGelu,
    /// x · Φ(x), at most 10
    ClippedGelu,
    /// min(max(x, 0), 6)
    Relu6,
    /// x below 0 a hundredth of itself
    LeakyRelu,
    /// x · min(max(x + 3, 0), 6) / 6
    HardSwish,
    /// x · tanh(softplus(x))
    Mish,
    /// Φ of a normal distribution with mean √½ and variance 1/(4π) (Ma et al. 2023)
    Laplace,
    /// √softplus(x)
    RootSoftplus,
    /// x
    Identity,
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
        Pointwise::Exp,
        Pointwise::SquaredRelu,
        Pointwise::QuickGelu,
        Pointwise::ClippedGelu,
        Pointwise::Relu6,
        Pointwise::LeakyRelu,
        Pointwise::HardSwish,
        Pointwise::Mish,
        Pointwise::Laplace,
        Pointwise::RootSoftplus,
        Pointwise::Identity,
    ];
}

/// Channels that a scan or a convolution works on together, one in each lane. What belongs to
/// channels and to something else beside (states, taps) lies
/// `[block of so many channels][state or tap][channel]`, the last block being narrower.
pub const SCAN_LANES: usize = 16;

/// Most rows of one call of a scan or a convolution.
pub const SCAN_ROWS: usize = 32;

/// Some columns of some rows: row r begins `r · stride` floats behind the first.
#[derive(Clone, Copy, Debug)]
pub struct Strided<'a> {
    /// From the first row's first column to the last row's last.
    pub values: &'a [f32],
    /// Floats from one row to the next.
    pub stride: usize,
}

impl<'a> Strided<'a> {
    /// `width` columns of row `row`, or as many of them as there are.
    pub fn row(&self, row: usize, width: usize) -> &'a [f32] {
        let rest = self.values.get(row * self.stride..).unwrap_or_default();
        &rest[..width.min(rest.len())]
    }
}

/// At most [`SCAN_ROWS`] rows of one sequence through a depthwise causal convolution, for a
/// range of channels.
///
/// `out[c] = bias[c] + Σ_j weight[c][j] · window[c][j]`, where the window is the state followed
/// by the input; the state then moves on by one.
#[derive(Debug)]
pub struct Conv1d<'a> {
    /// The last `width − 1` inputs of each channel, oldest first, in blocks of [`SCAN_LANES`];
    /// updated.
    pub state: &'a mut [f32],
    /// `width` taps for each channel, oldest first, in blocks of [`SCAN_LANES`].
    pub weight: &'a [f32],
    /// `[channels]`
    pub bias: Option<&'a [f32]>,
    /// `[rows][channels]`
    pub input: Strided<'a>,
    /// `[rows][channels]`
    pub out: &'a mut [f32],
    /// Channels.
    pub channels: usize,
    /// Taps, at least one.
    pub width: usize,
}

/// At most [`SCAN_ROWS`] rows of one sequence through a selective scan, for a range of channels.
///
/// `h[c][n] ← exp(dt[c] · a[c][n]) · h[c][n] + dt[c] · x[c] · b[n]`, then
/// `out[c] = Σ_n h[c][n] · c[n] + d[c] · x[c]`. In Mamba-2 the channels are of one head, and
/// `dt`, `a` and `d` are one number for all of them. So is the decay exp(dt · a), which a kernel
/// may therefore defer: h is then `state` times `deferred` (see `DeferredDecay`).
#[derive(Debug)]
pub struct Scan<'a> {
    /// h in blocks of [`SCAN_LANES`] channels; updated.
    pub state: &'a mut [f32],
    /// Of a head: the decay that is not yet in the state, zero standing for one; updated.
    pub deferred: &'a mut [f32],
    /// A, negative: in blocks as `state`, or one number.
    pub a: &'a [f32],
    /// B, `[rows][states]`
    pub b: Strided<'a>,
    /// C, `[rows][states]`
    pub c: Strided<'a>,
    /// D, `[channels]`, or one number.
    pub d: &'a [f32],
    /// Step size after softplus, `[rows][channels]`, or one number a row.
    pub dt: Strided<'a>,
    /// `[rows][channels]`
    pub x: Strided<'a>,
    /// `[rows][channels]`
    pub out: &'a mut [f32],
    /// Channels.
    pub channels: usize,
    /// States of a channel.
    pub states: usize,
}

/// How many Δ, A and D a [`Scan`] has.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScanRates {
    /// One for each channel (of A: for each state of each channel).
    PerChannel,
    /// One for the head that all channels are of.
    PerHead,
}

#[cfg(target_arch = "x86_64")]
impl Scan<'_> {
    /// Rows asked for.
    pub(super) fn rows(&self) -> usize {
        self.out.len().checked_div(self.channels).unwrap_or(0)
    }

    /// Whether everything is as long as the fields say.
    pub(super) fn fits(&self, rates: ScanRates) -> bool {
        let (rows, all) = (self.rows(), self.channels * self.states);
        let (steps, decays) = match rates {
            ScanRates::PerChannel => (self.channels, all),
            ScanRates::PerHead => (1, 1),
        };
        let whole = |of: &Strided<'_>, width: usize| {
            rows > 0 && of.values.len() >= (rows - 1) * of.stride + width
        };
        rows <= SCAN_ROWS
            && (rates == ScanRates::PerChannel || !self.deferred.is_empty())
            && self.state.len() >= all
            && self.a.len() >= decays
            && self.d.len() >= steps
            && whole(&self.dt, steps)
            && whole(&self.x, self.channels)
            && whole(&self.b, self.states)
            && whole(&self.c, self.states)
    }
}

/// The smallest decay that is deferred: rarely reached, and what is divided by it stays far within
/// a float's range.
#[cfg(target_arch = "x86_64")]
pub(super) const LEAST_DEFERRED: f32 = 1.0 / (1u64 << 32) as f32;

/// The decays of a head's state over some rows, applied at once or deferred.
///
/// Applying a decay multiplies the whole state. Deferring it multiplies one number that stands
/// beside the state instead: what a row writes is divided by that number, and what a row reads is
/// multiplied by it. When the number falls below a limit, the state is multiplied by it, and it
/// becomes one. At which rows that happens depends on the decays of the rows so far alone, not on
/// how they are cut into calls.
#[derive(Debug)]
pub(super) struct DeferredDecay {
    /// What the state is multiplied by before each row writes to it.
    pub applied: [f32; SCAN_ROWS],
    /// What is left deferred when each row writes and reads.
    pub deferred: [f32; SCAN_ROWS],
}

impl DeferredDecay {
    /// For rows with these decays. Nothing below `least` is deferred: with infinity, each decay is
    /// applied at its row. `deferred` is what the rows before left, and is updated.
    pub(super) fn new(deferred: &mut f32, decays: &[f32], least: f32) -> DeferredDecay {
        let mut rows = DeferredDecay {
            applied: [1.0; SCAN_ROWS],
            deferred: [1.0; SCAN_ROWS],
        };
        if *deferred == 0.0 {
            *deferred = 1.0;
        }
        let each = rows.applied.iter_mut().zip(&mut rows.deferred);
        for ((applied, left), decay) in each.zip(decays) {
            *deferred *= decay;
            if *deferred < least {
                (*applied, *deferred) = (*deferred, 1.0);
            }
            *left = *deferred;
        }
        rows
    }
}

/// Rows of one head through linear attention's state S, for a range of its columns.
///
/// For each row in turn
/// `S ← decay ⊙ S + factor · write ⊗ (read · S) + gain · key ⊗ value`, then `out = query · S`;
/// `read · S` is of S as it was before, and so is `query · S` of rows that say so. A row's result
/// does not depend on which others the call carries.
#[derive(Debug)]
pub struct LinearAttend<'s, 'r> {
    /// S, `[key_dim][columns]`, `columns` being the length of a value; updated.
    pub state: &'s mut [f32],
    /// In order; their values are equally long.
    pub rows: &'s mut [LinearAttendRow<'r>],
}

/// One row of a [`LinearAttend`].
#[derive(Debug)]
pub struct LinearAttendRow<'a> {
    /// `[key_dim]`
    pub query: &'a [f32],
    /// `[key_dim]`
    pub key: &'a [f32],
    /// `[columns]`
    pub value: &'a [f32],
    /// Factor on `value`.
    pub gain: f32,
    /// What S is multiplied by.
    pub decay: RowDecay<'a>,
    /// The delta rule, if the model has it.
    pub delta: Option<RowDelta<'a>>,
    /// Whether `query` reads S as it was before this row.
    pub before: bool,
    /// `[columns]`
    pub out: &'a mut [f32],
}

impl LinearAttendRow<'_> {
    /// A row without elements.
    pub fn empty() -> LinearAttendRow<'static> {
        LinearAttendRow {
            query: &[],
            key: &[],
            value: &[],
            gain: 1.0,
            decay: RowDecay::All(1.0),
            delta: None,
            before: false,
            out: &mut [],
        }
    }

    /// Elements of keys that all of a row's parts have.
    pub(super) fn key_dim(&self) -> usize {
        let mut len = self.query.len().min(self.key.len());
        if let RowDecay::Keys(decays) = self.decay {
            len = len.min(decays.len());
        }
        if let Some(delta) = &self.delta {
            len = len.min(delta.read.len()).min(delta.write.len());
        }
        len
    }
}

/// What S is multiplied by before a row writes to it.
#[derive(Clone, Copy, Debug)]
pub enum RowDecay<'a> {
    /// One decay for all of it.
    All(f32),
    /// One for each of its rows, which an element of the keys wrote: `[key_dim]`.
    Keys(&'a [f32]),
}

/// The delta rule: what S holds under the key `read` is taken out, or in part.
#[derive(Clone, Copy, Debug)]
pub struct RowDelta<'a> {
    /// `[key_dim]`
    pub read: &'a [f32],
    /// `[key_dim]`
    pub write: &'a [f32],
    /// Factor on `write`.
    pub factor: f32,
}

/// Rows of one sequence through RWKV-4's weighted mean, for a range of channels.
///
/// With weights e^kᵢ that decay by e^decay from row to row, and e^(k + first) for the row's own:
/// `out` = Σ weight · value / Σ weight. The state holds both sums over the past, relative to the
/// largest exponent, and that exponent.
#[derive(Debug)]
pub struct Wkv<'a> {
    /// Σ weight · value, Σ weight and exponent, in blocks of [`SCAN_LANES`] channels; zeros say
    /// that there is no past.
    pub state: &'a mut [f32],
    /// `[rows][channels]`
    pub key: Strided<'a>,
    /// `[rows][channels]`
    pub value: Strided<'a>,
    /// `[channels]`, negative.
    pub decay: &'a [f32],
    /// `[channels]`
    pub first: &'a [f32],
    /// `[rows][channels]`
    pub out: &'a mut [f32],
}

/// Which elements a rotary embedding turns together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pairing {
    /// `(x[2i], x[2i + 1])`
    Interleaved,
    /// `(x[i], x[i + n])`, where n is the number of pairs
    Halves,
    /// The same of a head of even length whose two halves' elements stand by turns: `x[i]` at 2i
    /// if it is of the first half, at 2i + 1 − d if it is of the second of d elements
    Woven,
}
