//! Linear attention, against its recurrence in double precision.

use rillm::internals::kernels::{LinearAttend, LinearAttendRow, RowDecay, RowDelta, Strided, Wkv};

use super::ops::{near, wide};
use super::{Random, tables};

/// Rounding errors of the rows so far, each of a few operations; they decay as the state does.
const TOLERANCE: f64 = 256.0 * f32::EPSILON as f64;

#[derive(Clone, Copy, Debug)]
enum Form {
    Sum,
    RowDecay,
    KeyDecay,
    Delta,
    Pair,
    Before,
}

#[test]
fn states_follow_their_recurrence() {
    let forms = [
        Form::Sum,
        Form::RowDecay,
        Form::KeyDecay,
        Form::Delta,
        Form::Pair,
        Form::Before,
    ];
    for table in tables() {
        for form in forms {
            for (key_dim, columns) in [
                (1, 1),
                (4, 9),
                (6, 64),
                (16, 16),
                (3, 70),
                (12, 48),
                (8, 33),
            ] {
                follows(table, form, key_dim, columns);
            }
        }
    }
}

fn follows(table: &rillm::internals::kernels::Kernels, form: Form, key_dim: usize, columns: usize) {
    let name = format!("{} {form:?} {key_dim} × {columns}", table.isa);
    let mut random = Random((key_dim * 100 + columns) as u64);
    let mut state = vec![0.0; key_dim * columns];
    let mut exact = vec![0.0; key_dim * columns];
    for _ in 0..20 {
        let [query, mut key, read, write] = [0; 4].map(|_| random.floats(key_dim));
        // A key of length one, for the delta rule to hold still.
        let length = key.iter().map(|k| k * k).sum::<f32>().sqrt().max(1e-3);
        key.iter_mut().for_each(|k| *k /= length);
        let decays: Vec<f32> = random.floats(key_dim).iter().map(|d| d.abs()).collect();
        let value = random.floats(columns);
        let (gain, decay) = (random.float().abs(), random.float().abs());
        let factor = 0.3 / key_dim as f32;
        let pair = RowDelta {
            read: &read,
            write: &write,
            factor,
        };
        let delta = RowDelta {
            read: &key,
            write: &key,
            factor: -gain * decay,
        };
        let (decay, delta) = match form {
            Form::Sum => (RowDecay::All(1.0), None),
            Form::RowDecay => (RowDecay::All(decay), None),
            Form::KeyDecay => (RowDecay::Keys(&decays), None),
            Form::Delta => (RowDecay::All(decay), Some(delta)),
            Form::Pair => (RowDecay::Keys(&decays), Some(pair)),
            Form::Before => (RowDecay::Keys(&decays), None),
        };
        let reads_before = matches!(form, Form::Before);
        let mut out = vec![f32::NAN; columns];
        (table.linear_attend)(LinearAttend {
            state: &mut state,
            rows: &mut [LinearAttendRow {
                query: &query,
                key: &key,
                value: &value,
                gain,
                decay,
                delta,
                before: reads_before,
                out: &mut out,
            }],
        });
        let before = exact.clone();
        let mut expected = vec![0.0; columns];
        for (index, row) in exact.chunks_exact_mut(columns).enumerate() {
            let decay = match decay {
                RowDecay::All(decay) => f64::from(decay),
                RowDecay::Keys(decays) => f64::from(decays[index]),
            };
            for (column, s) in row.iter_mut().enumerate() {
                let read = before[index * columns + column];
                *s = decay * *s + f64::from(gain * key[index]) * f64::from(value[column]);
                if let Some(delta) = &delta {
                    let reads = wide(delta.read).into_iter().enumerate();
                    let seen: f64 = reads.map(|(k, r)| r * before[k * columns + column]).sum();
                    *s += f64::from(delta.factor) * f64::from(delta.write[index]) * seen;
                }
                let read = if reads_before { read } else { *s };
                expected[column] += f64::from(query[index]) * read;
            }
        }
        near(&name, &out, &expected, |_| TOLERANCE * key_dim as f64);
        near(&format!("{name}, state"), &state, &exact, |_| TOLERANCE);
    }
}

#[test]
fn what_does_not_fit_is_left_alone() {
    for table in tables() {
        let mut state = [1.0; 11];
        let mut out = [7.0; 3];
        // Five columns to a row, of which three are asked for; rows for two keys alone.
        (table.linear_attend)(LinearAttend {
            state: &mut state,
            rows: &mut [LinearAttendRow {
                query: &[1.0; 4],
                key: &[1.0; 3],
                value: &[1.0; 5],
                gain: 1.0,
                decay: RowDecay::All(0.5),
                delta: None,
                before: false,
                out: &mut out,
            }],
        });
        assert_eq!(out, [3.0; 3], "{}", table.isa);
        assert_eq!(state[3..5], [1.0; 2], "{}", table.isa);
        assert_eq!(state[10], 1.0, "{}", table.isa);
    }
}

#[test]
fn rows_are_the_same_together_and_one_by_one() {
    const ROWS: usize = 11;
    for table in tables() {
        for ((key_dim, columns), form) in [(5, 64), (8, 32), (24, 64), (3, 96), (6, 41)]
            .into_iter()
            .flat_map(|size| {
                [Form::RowDecay, Form::KeyDecay, Form::Before].map(|form| (size, form))
            })
        {
            let mut random = Random(columns as u64);
            let mut all =
                |len: usize| -> Vec<Vec<f32>> { (0..ROWS).map(|_| random.floats(len)).collect() };
            let (queries, keys, values) = (all(key_dim), all(key_dim), all(columns));
            let decays = all(key_dim);
            let run = |together: usize| {
                let mut state = vec![0.5; key_dim * columns];
                let mut outs = vec![vec![f32::NAN; columns]; ROWS];
                let mut rows: Vec<LinearAttendRow<'_>> = outs
                    .iter_mut()
                    .enumerate()
                    .map(|(row, out)| LinearAttendRow {
                        query: &queries[row],
                        key: &keys[row],
                        value: &values[row],
                        gain: 1.0 + row as f32 / 8.0,
                        decay: match form {
                            // One of them decays.
                            Form::RowDecay => RowDecay::All(if row == 6 { 0.5 } else { 1.0 }),
                            _ => RowDecay::Keys(&decays[row]),
                        },
                        delta: None,
                        before: matches!(form, Form::Before),
                        out,
                    })
                    .collect();
                for rows in rows.chunks_mut(together) {
                    let state = &mut state;
                    (table.linear_attend)(LinearAttend { state, rows });
                }
                drop(rows);
                (state, outs)
            };
            for together in [4, 7, ROWS] {
                let name = format!("{} {form:?} {key_dim} × {columns}, {together}", table.isa);
                assert_eq!(run(together), run(1), "{name}");
            }
        }
    }
}

#[test]
fn weighted_means_follow_their_definition() {
    const ROWS: usize = 12;
    // A few lanes, a block, and blocks with a rest.
    for (table, channels) in
        tables().flat_map(|table| [7, 16, 53].map(|channels| (table, channels)))
    {
        // Large keys would overflow, small ones vanish, were the sums not kept relative to one.
        for shift in [0.0, 200.0, -200.0] {
            let mut random = Random(7);
            let decay: Vec<f32> = random.floats(channels).iter().map(|d| -d.abs()).collect();
            let first = random.floats(channels);
            let stride = channels + 3;
            let mut rows = || random.floats(ROWS * stride);
            let (keys, values) = (rows(), rows());
            let keys: Vec<f32> = keys.iter().map(|k| k + shift).collect();
            let mean = |row: usize, channel: usize| {
                let (mut sum, mut weights) = (0.0, 0.0);
                for back in 0..=row {
                    let exponent = match back {
                        0 => f64::from(first[channel]),
                        rows => (rows - 1) as f64 * f64::from(decay[channel]),
                    };
                    let at = (row - back) * stride + channel;
                    let weight = (f64::from(keys[at]) - f64::from(shift) + exponent).exp();
                    sum += weight * f64::from(values[at]);
                    weights += weight;
                }
                sum / weights
            };
            let all = (0..ROWS).flat_map(|row| (0..channels).map(move |channel| (row, channel)));
            let expected: Vec<f64> = all.map(|(row, channel)| mean(row, channel)).collect();
            let mut whole: Option<(Vec<f32>, Vec<f32>)> = None;
            for together in [1, 5, ROWS] {
                let mut state = vec![0.0; 3 * channels];
                let mut found = vec![f32::NAN; ROWS * channels];
                for (part, out) in found.chunks_mut(together * channels).enumerate() {
                    let start = part * together * stride;
                    let len = (out.len() / channels - 1) * stride + channels;
                    let of = |values| Strided {
                        values: <[f32]>::get(values, start..start + len).expect("rows"),
                        stride,
                    };
                    (table.wkv)(Wkv {
                        state: &mut state,
                        key: of(&keys),
                        value: of(&values),
                        decay: &decay,
                        first: &first,
                        out,
                    });
                }
                let name = format!("{} wkv of {channels}, keys by {shift}", table.isa);
                // Keys of that size are known to 200 · ε.
                near(&name, &found, &expected, |_| {
                    800.0 * f64::from(f32::EPSILON)
                });
                let first = whole.get_or_insert((found.clone(), state.clone()));
                assert_eq!(*first, (found, state), "{name}, {together} rows at a time");
            }
        }
    }
}
