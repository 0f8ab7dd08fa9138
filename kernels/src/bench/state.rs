//! Rows through the states of recurrent layers.

use super::CacheLines;
use crate::{
    Conv1d, Kernels, LinearAttend, LinearAttendRow, RowDecay, RowDelta, SCAN_ROWS, Scan, Strided,
    Wkv,
};

/// What brings a state from one row to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateKernel {
    /// A depthwise causal convolution of four taps.
    Conv1d,
    /// A selective scan, each channel by its own A: Mamba.
    Scan,
    /// The same with one number for a head: Mamba-2.
    HeadScan,
    /// Linear attention with one decay for a head: RetNet.
    LinearAttend,
    /// Linear attention with a decay for each element of a key: GLA, RWKV-6.
    LinearAttendByKey,
    /// The same with the delta rule: RWKV-7, DeltaNet.
    LinearAttendDelta,
    /// A weighted mean: RWKV-4.
    Wkv,
}

/// Elements of one call's state along both its sides, as usual models have them.
struct StateShape {
    channels: usize,
    depth: usize,
}

impl StateKernel {
    /// Every kernel.
    pub const ALL: &'static [StateKernel] = &[
        StateKernel::Conv1d,
        StateKernel::Scan,
        StateKernel::HeadScan,
        StateKernel::LinearAttend,
        StateKernel::LinearAttendByKey,
        StateKernel::LinearAttendDelta,
        StateKernel::Wkv,
    ];

    /// What to call it.
    pub const fn name(self) -> &'static str {
        match self {
            StateKernel::Conv1d => "conv1d",
            StateKernel::Scan => "scan",
            StateKernel::HeadScan => "head_scan",
            StateKernel::LinearAttend => "linear_attend",
            StateKernel::LinearAttendByKey => "linear_attend, by key",
            StateKernel::LinearAttendDelta => "linear_attend, delta rule",
            StateKernel::Wkv => "wkv",
        }
    }

    const fn shape(self) -> StateShape {
        let (channels, depth) = match self {
            StateKernel::Conv1d => (256, TAPS - 1),
            StateKernel::Scan => (128, 16),
            StateKernel::HeadScan => (64, 128),
            StateKernel::LinearAttend
            | StateKernel::LinearAttendByKey
            | StateKernel::LinearAttendDelta => (64, 64),
            StateKernel::Wkv => (256, 3),
        };
        StateShape { channels, depth }
    }
}

/// Taps of a convolution.
const TAPS: usize = 4;

/// States, and rows that go through each of them.
#[derive(Debug)]
pub struct StateBench {
    kernel: StateKernel,
    states: CacheLines<f32>,
    deferred: [f32; 1],
    rows: usize,
    /// Between −1/8 and 1/8.
    wave: Vec<f32>,
    /// Between 0 and 1.
    decays: Vec<f32>,
    out: Vec<f32>,
}

impl StateBench {
    /// States of together at least so many bytes, and rows, at most [`SCAN_ROWS`], for each.
    pub fn new(kernel: StateKernel, bytes: usize, rows: usize) -> StateBench {
        let StateShape { channels, depth } = kernel.shape();
        let states = bytes.div_ceil(channels * depth * size_of::<f32>()).max(1);
        let rows = rows.clamp(1, SCAN_ROWS);
        let len = SCAN_ROWS * channels.max(depth).max(TAPS * channels);
        let wave: Vec<f32> = (0..len).map(|at| (at as f32 * 0.37).sin() / 8.0).collect();
        StateBench {
            kernel,
            states: CacheLines::repeat(&[0.0], states * channels * depth),
            deferred: [0.0],
            rows,
            decays: wave.iter().map(|x| 0.9 + x / 2.0).collect(),
            wave,
            out: vec![0.0; rows * channels],
        }
    }

    /// Brings every state over its rows.
    pub fn run(&mut self, table: &Kernels) {
        let StateShape { channels, depth } = self.kernel.shape();
        for state in self.states.chunks_exact_mut(channels * depth) {
            let wave = |width: usize| Strided {
                values: &self.wave[..self.rows * width],
                stride: width,
            };
            let steps = |width: usize| Strided {
                values: &self.decays[..self.rows * width],
                stride: width,
            };
            match self.kernel {
                StateKernel::Conv1d => (table.conv1d)(Conv1d {
                    state,
                    weight: &self.wave[..channels * TAPS],
                    bias: Some(&self.wave[..channels]),
                    input: wave(channels),
                    out: &mut self.out,
                    channels,
                    width: TAPS,
                }),
                StateKernel::Scan | StateKernel::HeadScan => {
                    let (run, rates, width) = match self.kernel {
                        StateKernel::Scan => (table.scan, channels * depth, channels),
                        _ => (table.head_scan, 1, 1),
                    };
                    run(Scan {
                        state,
                        deferred: &mut self.deferred,
                        a: &RATES[..rates],
                        b: wave(depth),
                        c: wave(depth),
                        d: &self.wave[..width],
                        dt: steps(width),
                        x: wave(channels),
                        out: &mut self.out,
                        channels,
                        states: depth,
                    });
                }
                StateKernel::Wkv => (table.wkv)(Wkv {
                    state,
                    key: wave(channels),
                    value: steps(channels),
                    decay: &RATES[..channels],
                    first: &self.wave[..channels],
                    out: &mut self.out,
                }),
                StateKernel::LinearAttend
                | StateKernel::LinearAttendByKey
                | StateKernel::LinearAttendDelta => {
                    let mut rows: [LinearAttendRow<'_>; SCAN_ROWS] =
                        std::array::from_fn(|_| LinearAttendRow::empty());
                    let rows = &mut rows[..self.rows];
                    let outs = self.out.chunks_exact_mut(channels);
                    let keys = self.wave.chunks_exact(depth);
                    let decays = self.decays.chunks_exact(depth);
                    for (((row, out), key), decays) in
                        rows.iter_mut().zip(outs).zip(keys).zip(decays)
                    {
                        let decay = match self.kernel {
                            StateKernel::LinearAttend => RowDecay::All(0.9),
                            _ => RowDecay::Keys(decays),
                        };
                        let delta = self.kernel == StateKernel::LinearAttendDelta;
                        let delta = delta.then_some(RowDelta {
                            read: key,
                            write: key,
                            factor: -0.5,
                        });
                        *row = LinearAttendRow {
                            query: key,
                            key,
                            value: &self.wave[..channels],
                            gain: 1.0,
                            decay,
                            delta,
                            before: false,
                            out,
                        };
                    }
                    (table.linear_attend)(LinearAttend { state, rows });
                }
            }
        }
    }

    /// Bytes of states, which a run reads and writes.
    pub fn bytes(&self) -> u64 {
        size_of_val(&self.states[..]) as u64
    }

    /// Elements of states, counted for each row that they are brought over.
    pub fn elements(&self) -> u64 {
        (self.states.len() * self.rows) as u64
    }
}

/// Rates of decay: as many as the largest state wants.
static RATES: [f32; 128 * 16] = [-0.5; 128 * 16];
