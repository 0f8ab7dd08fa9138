//! Convolutions and scans against their recurrences in double precision, in any cut of the rows.

use rillm::internals::kernels::{Conv1d, SCAN_LANES, SCAN_ROWS, Scan, Strided};

use super::ops::{near, wide};
use super::{Random, tables};

const EPSILON: f64 = f32::EPSILON as f64;

/// A few lanes, whole blocks, and blocks with a rest.
const CHANNELS: [usize; 6] = [1, 5, 13, 16, 21, 64];

/// Rows fed in all.
const ROWS: usize = 41;

/// Rows of `width` numbers, `stride` apart.
struct Table {
    values: Vec<f32>,
    width: usize,
    stride: usize,
}

impl Table {
    fn new(width: usize, mut value: impl FnMut() -> f32) -> Table {
        let stride = width + 3;
        Table {
            values: (0..ROWS * stride).map(|_| value()).collect(),
            width,
            stride,
        }
    }

    fn from(&self, row: usize, rows: usize) -> Strided<'_> {
        let start = row * self.stride;
        Strided {
            values: &self.values[start..start + (rows - 1) * self.stride + self.width],
            stride: self.stride,
        }
    }

    fn at(&self, row: usize, column: usize) -> f64 {
        f64::from(self.values[row * self.stride + column])
    }
}

/// Where the number of (channel, column) stands among blocks of channels.
fn place(channels: usize, columns: usize, channel: usize, column: usize) -> usize {
    let first = channel / SCAN_LANES * SCAN_LANES;
    let lanes = SCAN_LANES.min(channels - first);
    first * columns + column * lanes + channel - first
}

/// Rows at a time, first and then over and over.
const CUTS: [(usize, usize); 4] = [(1, 1), (SCAN_ROWS, SCAN_ROWS), (7, 5), (2, SCAN_ROWS)];

/// Feeds all rows in a cut.
fn in_cut((first, then): (usize, usize), mut feed: impl FnMut(usize, usize)) {
    let (mut row, mut step) = (0, first);
    while row < ROWS {
        let rows = step.min(ROWS - row);
        feed(row, rows);
        (row, step) = (row + rows, then);
    }
}

#[test]
fn convolution_slides() {
    for table in tables() {
        for (channels, width) in CHANNELS
            .iter()
            .flat_map(|&channels| (1..6).map(move |width| (channels, width)))
        {
            let mut random = Random((channels * 8 + width) as u64);
            let weight = random.floats(channels * width);
            let biases = random.floats(channels);
            let input = Table::new(channels, || random.float());
            for bias in [None, Some(&biases[..])] {
                let mut expected = Vec::new();
                for row in 0..ROWS {
                    for channel in 0..channels {
                        let taps = (0..width.min(row + 1)).map(|back| {
                            let tap = place(channels, width, channel, width - 1 - back);
                            f64::from(weight[tap]) * input.at(row - back, channel)
                        });
                        let bias = bias.map_or(0.0, |bias| f64::from(bias[channel]));
                        expected.push(bias + taps.sum::<f64>());
                    }
                }
                let mut whole: Option<(Vec<f32>, Vec<f32>)> = None;
                for cut in CUTS {
                    let mut state = vec![0.0; channels * (width - 1)];
                    let mut found = vec![f32::NAN; ROWS * channels];
                    in_cut(cut, |row, rows| {
                        (table.conv1d)(Conv1d {
                            state: &mut state,
                            weight: &weight,
                            bias,
                            input: input.from(row, rows),
                            out: &mut found[row * channels..(row + rows) * channels],
                            channels,
                            width,
                        });
                    });
                    let name = format!("{} conv1d of {channels}, {width} taps", table.isa);
                    near(&name, &found, &expected, |_| 8.0 * EPSILON);
                    let first = whole.get_or_insert((found.clone(), state.clone()));
                    assert_eq!(*first, (found, state), "{name}, {cut:?}");
                }
            }
        }
    }
}

/// A scan's parameters and inputs, and what double precision makes of them.
struct Case {
    channels: usize,
    states: usize,
    shared: bool,
    a: Vec<f32>,
    d: Vec<f32>,
    dt: Table,
    x: Table,
    b: Table,
    c: Table,
}

impl Case {
    fn new(channels: usize, states: usize, shared: bool) -> Case {
        let mut random = Random((channels * 64 + states) as u64);
        let of_channels = if shared { 1 } else { channels };
        let a = random.floats(if shared { 1 } else { channels * states });
        Case {
            channels,
            states,
            shared,
            // Some forget at once, to below what a float can hold.
            a: a.iter().map(|a| -0.01 - 40.0 * a.powi(4)).collect(),
            d: random.floats(of_channels),
            dt: Table::new(of_channels, || 5.0 * random.float().powi(6)),
            x: Table::new(channels, || random.float()),
            b: Table::new(states, || random.float()),
            c: Table::new(states, || random.float()),
        }
    }

    /// Outputs and last states.
    fn expected(&self) -> (Vec<f64>, Vec<f64>) {
        let mut state = vec![0.0; self.channels * self.states];
        let mut out = Vec::new();
        let (a, d) = (wide(&self.a), wide(&self.d));
        for row in 0..ROWS {
            for channel in 0..self.channels {
                let own = if self.shared { 0 } else { channel };
                let (dt, x) = (self.dt.at(row, own), self.x.at(row, channel));
                let mut sum = d[own] * x;
                for n in 0..self.states {
                    let place = place(self.channels, self.states, channel, n);
                    let a = a[if self.shared { 0 } else { place }];
                    let h = &mut state[place];
                    *h = (dt * a).exp() * *h + dt * x * self.b.at(row, n);
                    sum += *h * self.c.at(row, n);
                }
                out.push(sum);
            }
        }
        (out, state)
    }
}

#[test]
fn scans_follow_their_recurrence() {
    /// Per state that is summed up; each is rounded some four times a row, and old errors decay
    /// with it.
    const TOLERANCE: f64 = 16.0 * EPSILON;
    for table in tables() {
        for (channels, states, shared) in CHANNELS.iter().flat_map(|&channels| {
            [1, 3, 4, 16, 21, 128]
                .iter()
                .flat_map(move |&states| [false, true].map(|shared| (channels, states, shared)))
        }) {
            let case = Case::new(channels, states, shared);
            let (expected, expected_state) = case.expected();
            let kernel = if shared { table.head_scan } else { table.scan };
            let mut whole: Option<(Vec<f32>, Vec<f32>, [f32; 1])> = None;
            for cut in CUTS {
                let mut state = vec![0.0; channels * states];
                let mut deferred = [0.0];
                let mut found = vec![f32::NAN; ROWS * channels];
                in_cut(cut, |row, rows| {
                    kernel(Scan {
                        state: &mut state,
                        deferred: &mut deferred,
                        a: &case.a,
                        b: case.b.from(row, rows),
                        c: case.c.from(row, rows),
                        d: &case.d,
                        dt: case.dt.from(row, rows),
                        x: case.x.from(row, rows),
                        out: &mut found[row * channels..(row + rows) * channels],
                        channels,
                        states,
                    });
                });
                let name = format!(
                    "{} scan of {channels} by {states}, shared {shared}",
                    table.isa
                );
                let size = |size: usize| TOLERANCE * (8 + size) as f64;
                near(&name, &found, &expected, |_| size(states));
                let deferred_decay = if shared { deferred[0] } else { 1.0 };
                let worth: Vec<f32> = state.iter().map(|h| deferred_decay * h).collect();
                near(&name, &worth, &expected_state, |_| size(0) * 4.0);
                let first = whole.get_or_insert((found.clone(), state.clone(), deferred));
                assert_eq!(*first, (found, state, deferred), "{name}, {cut:?}");
            }
        }
    }
}

/// Slices that are too short are left alone.
#[test]
fn short_slices_are_not_left() {
    let numbers = [0.5; 16];
    let none = Strided {
        values: &numbers,
        stride: 9,
    };
    for table in tables() {
        for kernel in [table.scan, table.head_scan] {
            kernel(Scan {
                state: &mut [0.0; 16],
                deferred: &mut [],
                a: &numbers,
                b: none,
                c: none,
                d: &numbers,
                dt: none,
                x: none,
                out: &mut [0.0; 200],
                channels: 16,
                states: 7,
            });
        }
        (table.conv1d)(Conv1d {
            state: &mut [0.0; 16],
            weight: &numbers,
            bias: None,
            input: none,
            out: &mut [0.0; 200],
            channels: 16,
            width: 4,
        });
    }
}
