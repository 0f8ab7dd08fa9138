//! Attention over pages of keys, against one softmax in double precision.

use rillm::internals::kernels::{Attend, Kernels, KvHalf, KvType, PAGE, Running};

use super::guarded::guarded;
use super::ops::near;
use super::{Random, tables};

/// Queries that share keys, and what they see of them.
struct Attention {
    kv_type: KvType,
    dim: usize,
    queries: Vec<Vec<f32>>,
    /// As they are kept.
    pages: Vec<[Vec<u8>; 2]>,
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
    /// `[query][key]`
    biases: Option<Vec<Vec<f32>>>,
    softcap: Option<f32>,
    value_in_key: Option<usize>,
}

impl Attention {
    fn new(
        kv_type: KvType,
        dim: usize,
        (queries, count): (usize, usize),
        hides: bool,
        softcap: Option<f32>,
    ) -> Self {
        let mut random = Random((count * dim + queries) as u64);
        let scaled = |random: &mut Random| random.floats(dim).iter().map(|q| q * 1.2).collect();
        let row = kv_type.row_len(dim).expect("a length");
        // What was never written may be anything.
        let empty = || [vec![0xff; row * PAGE], vec![0xff; row * PAGE]];
        let mut this = Self {
            kv_type,
            dim,
            queries: (0..queries).map(|_| scaled(&mut random)).collect(),
            pages: (0..count.div_ceil(PAGE)).map(|_| empty()).collect(),
            keys: (0..count).map(|_| random.floats(dim)).collect(),
            values: (0..count).map(|_| random.floats(dim)).collect(),
            biases: None,
            softcap,
            value_in_key: None,
        };
        if hides {
            let biases = (0..queries).map(|query| {
                let mut biases = random.floats(count);
                for key in (0..count).filter(|key| key % 5 == 1 || *key < query * count / 9) {
                    biases[key] = f32::NEG_INFINITY;
                }
                biases
            });
            this.biases = Some(biases.collect());
        }
        this.keep();
        this
    }

    /// The same whose values are the last `dim` elements of their keys.
    fn in_keys(mut self, dim: usize) -> Self {
        self.value_in_key = Some(dim);
        self.keep();
        self
    }

    /// Elements of a value.
    fn value_dim(&self) -> usize {
        self.value_in_key.unwrap_or(self.dim)
    }

    /// Writes the pages, and takes what was written for what is meant.
    fn keep(&mut self) {
        let (kv_type, dim) = (self.kv_type, self.dim);
        for (half, rows) in [
            (KvHalf::Keys, &mut self.keys),
            (KvHalf::Values, &mut self.values),
        ] {
            for (at, row) in rows.iter_mut().enumerate() {
                let page = &mut self.pages[at / PAGE][half as usize];
                // SAFETY: a page of rows of this type and length.
                unsafe { kv_type.store(half, row, page.as_mut_ptr(), at % PAGE) };
                let scales: Vec<f32> = kv_type
                    .parts(half, dim)
                    .filter(|&(first, _)| kv_type == KvType::Q8_0 && first < 2 * dim.div_ceil(32))
                    .map(|(first, _)| {
                        let at = PAGE * first + 2 * (at % PAGE);
                        half_precision(&page[at..at + 2])
                    })
                    .collect();
                let (width, skip) = match kv_type {
                    KvType::F32 => (4, 0),
                    KvType::F16 => (2, 0),
                    _ => (1, 2 * scales.len() * PAGE),
                };
                for (i, value) in row.iter_mut().enumerate() {
                    let index = match half {
                        KvHalf::Keys => i * PAGE + at % PAGE,
                        KvHalf::Values => at % PAGE * dim + i,
                    };
                    let bytes = &page[skip + index * width..][..width];
                    *value = match kv_type {
                        KvType::F32 => f32::from_le_bytes(bytes.try_into().expect("four")),
                        KvType::F16 => half_precision(bytes),
                        _ => scales[i / 32] * f32::from(bytes[0].cast_signed()),
                    };
                }
            }
        }
        if let Some(value_dim) = self.value_in_key {
            let ends = self.keys.iter().map(|key| key[dim - value_dim..].to_vec());
            self.values = ends.collect();
        }
    }

    /// Results of the queries `which`, before the division, one after the other.
    fn run(&self, table: &Kernels, which: std::ops::Range<usize>) -> (Vec<Running>, Vec<f32>) {
        let stride = Attend::stride(self.dim);
        let mut running = vec![Running::START; which.len()];
        let mut out = vec![0.0; which.len() * stride];
        let mut queries = vec![f32::NAN; which.len() * stride];
        for (query, to) in self.queries[which.clone()]
            .iter()
            .zip(queries.chunks_mut(stride))
        {
            to[..self.dim].copy_from_slice(query);
        }
        let mut scores = vec![f32::NAN; which.len() * PAGE];
        for (index, [keys, values]) in self.pages.iter().enumerate() {
            let count = PAGE.min(self.keys.len() - index * PAGE);
            let biases: Option<Vec<f32>> = self.biases.as_ref().map(|biases| {
                let page = |biases: &Vec<f32>| {
                    let mut page = biases[index * PAGE..][..count].to_vec();
                    page.resize(PAGE, f32::NAN);
                    page
                };
                biases[which.clone()].iter().flat_map(page).collect()
            });
            let (keys, values) = match self.value_in_key {
                Some(_) => (guarded(keys), guarded(&[])),
                None => (guarded(keys), guarded(values)),
            };
            let call = Attend {
                kv_type: self.kv_type,
                keys: &keys,
                values: &values,
                value_stride: self.dim,
                dim: self.dim,
                value_in_key: self.value_in_key,
                count,
                queries: &queries,
                softcap: self.softcap,
                biases: biases.as_deref(),
                next: self
                    .pages
                    .get(index + 1)
                    .map(|[k, v]| [k.as_ptr(), v.as_ptr()]),
            };
            (table.attend)(&call, &mut scores, &mut running, &mut out);
        }
        let value_dim = self.value_dim();
        let out = out
            .chunks(stride)
            .flat_map(|out| &out[..value_dim])
            .copied();
        (running, out.collect())
    }

    /// The softmax in one piece: Σ exp(score − max)·value / Σ exp(score − max).
    fn reference(&self, query: usize) -> Vec<f64> {
        let score = |key: usize| {
            let bias = self
                .biases
                .as_ref()
                .map_or(0.0, |biases| biases[query][key]);
            if bias == f32::NEG_INFINITY {
                return f64::NEG_INFINITY;
            }
            let products = self.queries[query].iter().zip(&self.keys[key]);
            let product: f64 = products.map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
            let capped = self.softcap.map_or(product, |cap| {
                let cap = f64::from(cap);
                cap * (product / cap).tanh()
            });
            capped + f64::from(bias)
        };
        let scores: Vec<f64> = (0..self.keys.len()).map(score).collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let mut out = vec![0.0; self.value_dim()];
        for (weight, value) in weights.iter().zip(&self.values) {
            for (out, value) in out.iter_mut().zip(value) {
                *out += weight / sum * f64::from(*value);
            }
        }
        out
    }
}

fn half_precision(bytes: &[u8]) -> f32 {
    half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

#[test]
fn attention_over_pages_is_a_softmax() {
    // Scores of some ten units carry an error of k·ε·10, and the exponential passes it on.
    const TOLERANCE: f64 = 2e-5;
    for table in tables() {
        for &kv_type in KvType::ALL {
            for dim in [1, 5, 8, 16, 31, 33, 64, 80, 100, 128, 137, 256] {
                for softcap in [None, Some(2.0)] {
                    for (queries, count) in [(1, 1), (2, 7), (3, 64), (4, 65), (7, 31), (9, 150)] {
                        for hides in [false, true] {
                            let attention =
                                Attention::new(kv_type, dim, (queries, count), hides, softcap);
                            let (running, mut out) = attention.run(table, 0..queries);
                            for (n, out) in out.chunks_mut(dim).enumerate() {
                                if running[n].sum == 0.0 {
                                    assert!(hides && out.iter().all(|x| *x == 0.0));
                                    continue;
                                }
                                out.iter_mut().for_each(|x| *x /= running[n].sum);
                                let name = format!(
                                    "{} attend {kv_type} {dim}, {n} of {queries}, {count} keys",
                                    table.isa
                                );
                                near(&name, out, &attention.reference(n), |_| TOLERANCE);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Lengths of keys, and of the values that are their ends.
const IN_KEYS: [(usize, usize); 8] = [
    (3, 1),
    (12, 12),
    (28, 20),
    (40, 32),
    (57, 33),
    (72, 64),
    (100, 77),
    (192, 128),
];

#[test]
fn values_may_be_the_ends_of_their_keys() {
    const TOLERANCE: f64 = 2e-5;
    for table in tables() {
        for &kv_type in KvType::ALL {
            for (dim, value_dim) in IN_KEYS {
                for (queries, count) in [(1, 1), (3, 64), (5, 70), (9, 150), (30, 40)] {
                    for hides in [false, true] {
                        let attention = Attention::new(kv_type, dim, (queries, count), hides, None);
                        let attention = attention.in_keys(value_dim);
                        let (running, mut out) = attention.run(table, 0..queries);
                        for (n, out) in out.chunks_mut(value_dim).enumerate() {
                            if running[n].sum == 0.0 {
                                assert!(hides && out.iter().all(|x| *x == 0.0));
                                continue;
                            }
                            out.iter_mut().for_each(|x| *x /= running[n].sum);
                            let name = format!(
                                "{} attend {kv_type} {value_dim} of {dim}, {n} of {queries}, \
                                 {count} keys",
                                table.isa
                            );
                            near(&name, out, &attention.reference(n), |_| TOLERANCE);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_query_has_one_result_whatever_others_there_are() {
    for table in tables() {
        for &kv_type in KvType::ALL {
            let beside = [8, 64, 80, 100].map(|dim| (dim, None));
            let in_keys = IN_KEYS.map(|(dim, value_dim)| (dim, Some(value_dim)));
            for (dim, value_in_key) in beside.into_iter().chain(in_keys) {
                for hides in [false, true] {
                    let mut attention = Attention::new(kv_type, dim, (70, 100), hides, None);
                    if let Some(value_dim) = value_in_key {
                        attention = attention.in_keys(value_dim);
                    }
                    let value_dim = attention.value_dim();
                    let (running, whole) = attention.run(table, 0..70);
                    for part in [0..1, 3..5, 4..8, 10..16, 20..27, 1..9, 33..70] {
                        let (found, out) = attention.run(table, part.clone());
                        assert_eq!(found, running[part.clone()]);
                        let expected = &whole[part.start * value_dim..part.end * value_dim];
                        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                        assert_eq!(bits(&out), bits(expected), "{} {kv_type} {dim}", table.isa);
                    }
                }
            }
        }
    }
}

#[test]
fn a_fault_is_seen_by_those_who_see_its_key() {
    for table in tables() {
        for &kv_type in KvType::ALL {
            for half in [KvHalf::Keys, KvHalf::Values] {
                let mut attention = Attention::new(kv_type, 40, (7, 90), true, None);
                // The second key is hidden from all, the last one from none.
                for (faulty, seen) in [(1, false), (89, true)] {
                    let rows = match half {
                        KvHalf::Keys => &mut attention.keys,
                        KvHalf::Values => &mut attention.values,
                    };
                    let sound = std::mem::replace(&mut rows[faulty], vec![f32::NAN; 40]);
                    attention.keep();
                    let (running, out) = attention.run(table, 0..7);
                    let spoiled = |x: &f32| x.is_nan();
                    let found = out.iter().any(spoiled);
                    assert_eq!(found, seen, "{} {kv_type} {half:?}", table.isa);
                    if half == KvHalf::Keys {
                        assert_eq!(running.iter().any(|one| one.sum.is_nan()), seen);
                    }
                    match half {
                        KvHalf::Keys => attention.keys[faulty] = sound,
                        KvHalf::Values => attention.values[faulty] = sound,
                    }
                    attention.keep();
                }
            }
        }
    }
}

/// The same of a key that is a value as well.
#[test]
fn a_fault_in_a_key_with_a_value_is_seen_by_those_who_see_it() {
    for table in tables() {
        for &kv_type in KvType::ALL {
            let mut attention = Attention::new(kv_type, 40, (7, 90), true, None).in_keys(33);
            let (expected, whole) = attention.run(table, 0..7);
            for (faulty, seen) in [(1, false), (89, true)] {
                let sound = std::mem::replace(&mut attention.keys[faulty], vec![f32::NAN; 40]);
                attention.keep();
                let (running, out) = attention.run(table, 0..7);
                assert_eq!(
                    out.iter().any(|x| x.is_nan()),
                    seen,
                    "{} {kv_type}",
                    table.isa
                );
                if !seen {
                    assert_eq!(
                        (&running, &out),
                        (&expected, &whole),
                        "{} {kv_type}",
                        table.isa
                    );
                }
                attention.keys[faulty] = sound;
                attention.keep();
            }
        }
    }
}

/// As where they are columns of rows that hold other heads as well.
#[test]
fn values_may_stand_apart() {
    for table in tables() {
        for (dim, gap) in [(5, 3), (64, 11), (100, 28)] {
            let attention = Attention::new(KvType::F32, dim, (7, 41), false, None);
            let (running, expected) = attention.run(table, 0..7);
            let [keys, values] = &attention.pages[0];
            // As many values as there are.
            let mut apart = Vec::new();
            for value in values.chunks(4 * dim).take(41) {
                apart.extend_from_slice(value);
                apart.extend(vec![0xff; 4 * gap]);
            }
            let apart = guarded(&apart[..apart.len() - 4 * gap]);
            let stride = Attend::stride(dim);
            let mut queries = vec![0.0; 7 * stride];
            for (query, to) in attention.queries.iter().zip(queries.chunks_mut(stride)) {
                to[..dim].copy_from_slice(query);
            }
            let call = Attend {
                kv_type: KvType::F32,
                keys,
                values: &apart,
                value_stride: dim + gap,
                dim,
                value_in_key: None,
                count: 41,
                queries: &queries,
                softcap: None,
                biases: None,
                next: None,
            };
            let mut found = vec![Running::START; 7];
            let mut out = vec![0.0; 7 * stride];
            (table.attend)(&call, &mut vec![0.0; 7 * PAGE], &mut found, &mut out);
            let out: Vec<f32> = out
                .chunks(stride)
                .flat_map(|out| &out[..dim])
                .copied()
                .collect();
            assert_eq!(
                (found, out),
                (running, expected),
                "{}, heads of {dim}",
                table.isa
            );
        }
    }
}

#[test]
fn a_hidden_page_leaves_no_trace() {
    for table in tables() {
        let call = Attend {
            kv_type: KvType::F32,
            keys: &[0xff; 4 * 8 * PAGE],
            values: &[0xff; 4 * 8 * PAGE],
            value_stride: 8,
            dim: 8,
            value_in_key: None,
            count: 10,
            queries: &[f32::NAN; 16],
            softcap: None,
            biases: Some(&[f32::NEG_INFINITY; PAGE]),
            next: None,
        };
        let mut scores = [0.0; PAGE];
        let mut running = [Running::START];
        let mut out = [0.0; 16];
        (table.attend)(&call, &mut scores, &mut running, &mut out);
        assert_eq!(
            (running, out),
            ([Running::START], [0.0; 16]),
            "{}",
            table.isa
        );
        let before = [Running { max: 2.0, sum: 3.0 }];
        let mut running = before;
        let mut out = [0.5; 16];
        (table.attend)(&call, &mut scores, &mut running, &mut out);
        assert_eq!(running, before, "{}", table.isa);
        assert_eq!(out[..8], [0.5; 8], "{}", table.isa);
    }
}
