//! What depends on how a CPU is built and changes no result: which of several equal forms of a
//! kernel runs.
//!
//! One token's product reads each weight once, so what counts is how the next ones are asked for.
//! CPUs differ: a Zen 5 reads fastest when they go past its outer caches, a Xeon drops such lines
//! before they are used and then reads at a third. Known makers have what was measured on theirs;
//! on any other CPU the candidates are timed on the model's own rows ([`time_tunings`]).

use crate::{Isa, Kernels, Layout, Maker, MatMul, ThreadSetup};
use rillm_formats::manifest::DType;
use std::time::{Duration, Instant};

/// How a product with few inputs asks for the weights that come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Whether weights that are read but once go past the outer caches (x86: `NTA`, else `T0`).
    pub past_caches: bool,
    /// Bytes between what is read and what is asked for meanwhile.
    pub ahead: usize,
    /// The most that is asked for, beyond that, while sums are added up and nothing is read.
    pub meanwhile: usize,
}

/// AVX-512 on Zen 4 and 5: what a core has on its way when memory is far, past the outer caches.
const PAST_CACHES: Tuning = Tuning {
    past_caches: true,
    ahead: 8192,
    meanwhile: 8192,
};

/// Nearer, into the nearest cache: AVX-512 on Intel, and a safe choice elsewhere.
const NEAR: Tuning = Tuning {
    past_caches: false,
    ahead: 2048,
    meanwhile: 0,
};

/// AVX2 on Intel, and a safe choice elsewhere.
const HALFWAY: Tuning = Tuning {
    ahead: 4096,
    ..NEAR
};

/// AVX2 on Zen 5.
const FAR: Tuning = Tuning {
    ahead: 8192,
    ..NEAR
};

impl Tuning {
    /// The largest distance that a kernel takes; a larger one brings what is gone when it is due.
    pub const MAX_AHEAD: usize = 1 << 16;

    /// What a table of kernels may be given, the plainest first. Tables that ask for nothing, or
    /// leave it to the hardware, have one.
    pub fn candidates(isa: Isa) -> &'static [Tuning] {
        const AVX512: [Tuning; 5] = [
            NEAR,
            Tuning {
                ahead: 1024,
                ..NEAR
            },
            HALFWAY,
            Tuning {
                past_caches: false,
                ..PAST_CACHES
            },
            PAST_CACHES,
        ];
        const AVX2: [Tuning; 3] = [HALFWAY, NEAR, FAR];
        match isa {
            Isa::Avx512 | Isa::Amx => &AVX512,
            Isa::Avx2 | Isa::AvxVnni => &AVX2,
            Isa::Scalar | Isa::Portable | Isa::Neon | Isa::DotProd | Isa::I8mm => &[NEAR],
        }
    }

    /// What was measured on CPUs of this maker and family; `None` if nobody has.
    pub fn known(isa: Isa) -> Option<Tuning> {
        Tuning::of_maker(isa, Maker::of_this_cpu())
    }

    /// The same for CPUs of some maker.
    pub fn of_maker(isa: Isa, maker: Maker) -> Option<Tuning> {
        match (isa, maker) {
            (Isa::Scalar | Isa::Portable | Isa::Neon | Isa::DotProd | Isa::I8mm, _) => Some(NEAR),
            (Isa::Avx2 | Isa::AvxVnni, Maker::Amd { family: 0x1a }) => Some(FAR),
            (Isa::Avx2 | Isa::AvxVnni, Maker::Amd { .. } | Maker::Intel) => Some(HALFWAY),
            // Zen 4 and 5.
            (
                Isa::Avx512 | Isa::Amx,
                Maker::Amd {
                    family: 0x19 | 0x1a,
                },
            ) => Some(PAST_CACHES),
            (Isa::Avx512 | Isa::Amx, Maker::Intel) => Some(NEAR),
            (
                Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 | Isa::Amx,
                Maker::Amd { .. } | Maker::Other,
            ) => None,
        }
    }

    /// What is known, or else does no harm.
    pub fn of(isa: Isa) -> Tuning {
        Tuning::known(isa).unwrap_or(match isa {
            Isa::Avx2 | Isa::AvxVnni => HALFWAY,
            _ => NEAR,
        })
    }
}

/// What a candidate came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TunedRate {
    /// The candidate.
    pub tuning: Tuning,
    /// Bytes of weights read in a second: the median of the turns.
    pub rate: f64,
}

/// Turns that each candidate has, in the least.
const TURNS: usize = 3;

/// Bytes of a turn: a fraction of a millisecond.
const PORTION: usize = 2 << 20;

/// Times a table's candidates on rows of `columns` weights with one input: each in turn on rows that
/// no other has just read, for as long as `patience` says, and at least three times. `None` where
/// there is nothing to choose, or the rows are too few: then they are in a cache.
pub fn time_tunings(
    table: &Kernels,
    dtype: DType,
    (weights, columns): (&[u8], usize),
    patience: Duration,
) -> Option<Vec<TunedRate>> {
    let candidates = Tuning::candidates(table.isa);
    let kernel = table.matmul(dtype, Layout::Rows)?;
    let row_len = usize::try_from(dtype.row_len(columns as u64)?).ok()?;
    let rows = (PORTION / row_len.max(1)).max(1);
    let portion = rows.checked_mul(row_len).filter(|&len| len > 0)?;
    let mut portions = weights.chunks_exact(portion).cycle();
    if candidates.len() < 2 || weights.len() / portion < candidates.len() * TURNS {
        return None;
    }
    // Zeros are activations of every form.
    let mut input = Vec::new();
    let input_len = kernel.activation.row_len(columns)?;
    input.try_reserve_exact(input_len).ok()?;
    input.resize(input_len, 0u8);
    let mut out = Vec::new();
    out.try_reserve_exact(rows).ok()?;
    out.resize(rows, 0f32);
    let _ready = table.thread_setup.map(ThreadSetup::enter);
    let mut rates = vec![Vec::new(); candidates.len()];
    let begin = Instant::now();
    while rates[0].len() < TURNS || begin.elapsed() < patience {
        for (&tuning, rates) in candidates.iter().zip(&mut rates) {
            let weights = portions.next()?;
            touch(weights);
            let call = MatMul {
                weights: weights.as_ptr(),
                weight_stride: row_len,
                weight_rows: rows,
                columns,
                inputs: input.as_ptr(),
                input_stride: input_len,
                inputs_len: 1,
                out: out.as_mut_ptr(),
                out_stride: rows,
                picks: core::ptr::null(),
                tuning,
            };
            let start = Instant::now();
            // SAFETY: the portion is so many rows of this length, one after the other; the input has
            // as many columns, none of them −128; there is a result for each row. The table is one
            // that this CPU runs, and the thread is set up for it.
            unsafe { (kernel.run)(&call) };
            let seconds = start.elapsed().as_secs_f64().max(1e-9);
            rates.push(portion as f64 / seconds);
        }
    }
    let rated = |(&tuning, rates): (&Tuning, &mut Vec<f64>)| {
        rates.sort_by(f64::total_cmp);
        let rate = rates[rates.len() / 2];
        TunedRate { tuning, rate }
    };
    Some(candidates.iter().zip(&mut rates).map(rated).collect())
}

/// Reads a byte of each page, so that none has to be mapped while time is taken.
fn touch(bytes: &[u8]) {
    const PAGE: usize = 4096;
    for byte in bytes.iter().step_by(PAGE) {
        core::hint::black_box(*byte);
    }
}

/// The fastest: a candidate that is behind by less than what such a measurement can tell stands for
/// those after it.
pub fn fastest(rates: &[TunedRate]) -> Option<Tuning> {
    const NOISE: f64 = 1.03;
    let best = rates.iter().map(|rate| rate.rate).fold(0.0, f64::max);
    let chosen = rates.iter().find(|rate| rate.rate * NOISE >= best);
    chosen.map(|rate| rate.tuning)
}
