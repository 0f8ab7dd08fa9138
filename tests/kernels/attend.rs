//! Attention over tiles of keys, against one softmax in double precision.

use rillm::kernels::{Attend, Kernels, Running};

use super::ops::{near, wide};
use super::{Random, tables};

struct Attention {
    query: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    biases: Vec<f32>,
    key_dim: usize,
    value_dim: usize,
    softcap: Option<f32>,
}

impl Attention {
    const SCALE: f32 = 0.3;
    /// Floats between the end of a key or value and the start of the next.
    const GAP: usize = 3;

    fn new(count: usize, key_dim: usize, value_dim: usize, softcap: Option<f32>) -> Self {
        let mut random = Random((count * key_dim + value_dim) as u64);
        let query = random.floats(key_dim).iter().map(|q| q * 4.0).collect();
        let mut keys = random.floats(count * (key_dim + Self::GAP));
        let mut values = random.floats(count * (value_dim + Self::GAP));
        let mut biases = random.floats(count);
        // Some keys are masked; what is stored there must not matter.
        for n in (0..count).filter(|n| n % 5 == 1 || *n < count / 3) {
            biases[n] = f32::NEG_INFINITY;
            keys[n * (key_dim + Self::GAP)..][..key_dim].fill(f32::NAN);
            values[n * (value_dim + Self::GAP)..][..value_dim].fill(f32::NAN);
        }
        Self {
            query,
            keys,
            values,
            biases,
            key_dim,
            value_dim,
            softcap,
        }
    }

    fn run(&self, table: &Kernels, tile: usize) -> (Running, Vec<f32>) {
        let (key_stride, value_stride) = (self.key_dim + Self::GAP, self.value_dim + Self::GAP);
        let mut running = Running::START;
        let mut out = vec![0.0; self.value_dim];
        let tiles = self
            .keys
            .chunks(tile * key_stride)
            .zip(self.values.chunks(tile * value_stride));
        for (biases, (keys, values)) in self.biases.chunks(tile).zip(tiles) {
            let mut scores = biases.to_vec();
            let call = Attend {
                query: &self.query,
                // Of the last row, what follows the key itself need not be there.
                keys: &keys[..keys.len() - Self::GAP],
                values: &values[..values.len() - Self::GAP],
                key_stride,
                value_stride,
                scale: Self::SCALE,
                softcap: self.softcap,
            };
            (table.attend)(&call, &mut scores, &mut running, &mut out);
        }
        (running, out)
    }

    /// The softmax in one piece: Σ exp(score − max)·value / Σ exp(score − max).
    fn reference(&self) -> Vec<f64> {
        let scores: Vec<f64> = (0..self.biases.len())
            .map(|n| {
                if self.biases[n] == f32::NEG_INFINITY {
                    return f64::NEG_INFINITY;
                }
                let key = &self.keys[n * (self.key_dim + Self::GAP)..][..self.key_dim];
                let product: f64 = wide(&self.query)
                    .iter()
                    .zip(wide(key))
                    .map(|(q, k)| q * k)
                    .sum();
                let score = f64::from(Self::SCALE) * product;
                let capped = self.softcap.map_or(score, |cap| {
                    let cap = f64::from(cap);
                    cap * (score / cap).tanh()
                });
                capped + f64::from(self.biases[n])
            })
            .collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let mut out = vec![0.0; self.value_dim];
        for (n, weight) in weights
            .iter()
            .enumerate()
            .filter(|(_, weight)| **weight > 0.0)
        {
            let value = &self.values[n * (self.value_dim + Self::GAP)..];
            for (out, value) in out.iter_mut().zip(value) {
                *out += weight / sum * f64::from(*value);
            }
        }
        out
    }
}

#[test]
fn attention_over_tiles_is_a_softmax() {
    // Scores of some ten units carry an error of k·ε·10, and the exponential passes it on.
    const TOLERANCE: f64 = 2e-5;
    for table in tables() {
        for (key_dim, value_dim) in [(1, 1), (5, 7), (8, 64), (64, 64), (80, 100), (128, 137)] {
            for softcap in [None, Some(2.0)] {
                for count in [1, 2, 7, 8, 9, 31, 64, 70] {
                    let attention = Attention::new(count, key_dim, value_dim, softcap);
                    if attention
                        .biases
                        .iter()
                        .all(|&bias| bias == f32::NEG_INFINITY)
                    {
                        continue;
                    }
                    let expected = attention.reference();
                    for tile in [1, 4, 16, 64, 100] {
                        let (running, mut out) = attention.run(table, tile);
                        for out in &mut out {
                            *out /= running.sum;
                        }
                        let name = format!(
                            "{} attend {key_dim}/{value_dim}, {count} keys by {tile}",
                            table.isa
                        );
                        near(&name, &out, &expected, |_| TOLERANCE);
                    }
                }
            }
        }
    }
}

#[test]
fn a_masked_tile_leaves_no_trace() {
    for table in tables() {
        let call = Attend {
            query: &[f32::NAN; 8],
            keys: &[f32::NAN; 80],
            values: &[f32::NAN; 80],
            key_stride: 8,
            value_stride: 8,
            scale: 1.0,
            softcap: None,
        };
        let mut running = Running::START;
        let mut out = [0.0; 8];
        (table.attend)(&call, &mut [f32::NEG_INFINITY; 10], &mut running, &mut out);
        assert_eq!((running, out), (Running::START, [0.0; 8]), "{}", table.isa);
        let mut running = Running { max: 2.0, sum: 3.0 };
        let mut out = [0.5; 8];
        (table.attend)(&call, &mut [f32::NEG_INFINITY; 10], &mut running, &mut out);
        assert_eq!(running, Running { max: 2.0, sum: 3.0 }, "{}", table.isa);
        assert_eq!(out, [0.5; 8], "{}", table.isa);
        // But a fault in a key that counts is passed on.
        (table.attend)(&call, &mut [0.0; 10], &mut running, &mut out);
        assert!(running.sum.is_nan() && out[0].is_nan(), "{}", table.isa);
    }
}
