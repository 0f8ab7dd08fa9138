//! What depends on how a CPU is built and changes no result: which of several equal forms of a
//! kernel runs.
//!
//! One token's product reads each weight once, so what counts is how the next ones are asked for.
//! CPUs differ: a Zen 5 reads fastest when they go past its outer caches, a Xeon drops such lines
//! before they are used and then reads at a third. Known makers have what was measured on theirs;
//! on any other CPU the candidates are timed on the model's own rows ([`time_tunings`]).

use crate::{Isa, Kernels, Layout, Maker, MatMul, MatMulKernel, ThreadReady, ThreadSetup};
use rillm_formats::manifest::DType;
use std::iter::Cycle;
use std::slice::ChunksExact;
use std::time::{Duration, Instant};

/// How a product asks for the weights that come next, in which form it is computed, and how threads
/// share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Whether weights that are read but once go past the outer caches (x86: `NTA`, else `T0`).
    pub past_caches: bool,
    /// Bytes between what is read and what is asked for meanwhile.
    pub ahead: usize,
    /// The most that is asked for, beyond that, while sums are added up and nothing is read.
    pub meanwhile: usize,
    /// Inputs from which on rows are packed once, rather than read as they lie for each input.
    pub pack_from: PackFrom,
    /// Rows of a large matrix that a thread claims at a time when there are few inputs.
    pub chunk: usize,
    /// Microseconds that a thread spins at a barrier before it sleeps.
    pub spin: usize,
}

/// Numbers of inputs, by what a weight takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackFrom {
    /// Two bytes and more.
    pub floats: usize,
    /// A byte.
    pub bytes: usize,
    /// Less: its bits are put together anew for each input, where rows are not packed.
    pub parts: usize,
}

impl PackFrom {
    /// That of a type.
    pub fn of(&mut self, dtype: DType) -> &mut usize {
        match dtype.block_len() / dtype.block_elements() {
            0 => &mut self.parts,
            1 => &mut self.bytes,
            _ => &mut self.floats,
        }
    }

    const fn all(inputs: usize) -> PackFrom {
        PackFrom {
            floats: inputs,
            bytes: inputs,
            parts: inputs,
        }
    }
}

/// Nearer, into the nearest cache: AVX-512 on Intel, and a safe choice elsewhere.
const NEAR: Tuning = Tuning {
    past_caches: false,
    ahead: 2048,
    meanwhile: 0,
    pack_from: PackFrom::all(3),
    // Each call begins with memory that nothing has fetched ahead, so there are fewer than a small
    // matrix's.
    chunk: 128,
    // Longer than a calm barrier takes. Who waits longer waits for a worker whose processor a stranger
    // has, and that one may run where the waiting one makes room.
    spin: 20,
};

/// AVX-512 on Zen 4 and 5: what a core has on its way when memory is far, past the outer caches.
const PAST_CACHES: Tuning = Tuning {
    past_caches: true,
    ahead: 8192,
    meanwhile: 8192,
    ..NEAR
};

/// AVX2 on Intel, and a safe choice elsewhere. What has to be put together anew for each input gains up
/// to half from being packed for two of them, floats lose a third.
const HALFWAY: Tuning = Tuning {
    ahead: 4096,
    pack_from: PackFrom {
        parts: 2,
        ..PackFrom::all(4)
    },
    ..NEAR
};

/// AVX2 on Zen 5.
const FAR: Tuning = Tuning {
    ahead: 8192,
    ..HALFWAY
};

/// NEON, whose prefetching is left to the hardware.
const OF_NEON: Tuning = Tuning {
    pack_from: PackFrom::all(4),
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
            Tuning {
                ahead: 4096,
                ..NEAR
            },
            Tuning {
                past_caches: false,
                ..PAST_CACHES
            },
            PAST_CACHES,
        ];
        const AVX2: [Tuning; 3] = [
            HALFWAY,
            Tuning {
                ahead: 2048,
                ..HALFWAY
            },
            FAR,
        ];
        match isa {
            Isa::Avx512 | Isa::Amx => &AVX512,
            Isa::Avx2 | Isa::AvxVnni => &AVX2,
            Isa::Neon | Isa::DotProd | Isa::I8mm => &[OF_NEON],
            Isa::Scalar | Isa::Portable => &[NEAR],
        }
    }

    /// What was measured on CPUs of this maker and family; `None` if nobody has.
    pub fn known(isa: Isa) -> Option<Tuning> {
        Tuning::of_maker(isa, Maker::of_this_cpu())
    }

    /// The same for CPUs of some maker.
    pub fn of_maker(isa: Isa, maker: Maker) -> Option<Tuning> {
        match (isa, maker) {
            (Isa::Neon | Isa::DotProd | Isa::I8mm, _) => Some(OF_NEON),
            (Isa::Scalar | Isa::Portable, _) => Some(NEAR),
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

    /// What is timed with one input: how weights are asked for.
    pub fn fetching(&self) -> (bool, usize, usize) {
        (self.past_caches, self.ahead, self.meanwhile)
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

/// The most inputs for which it is looked whether packing pays.
const MOST_INPUTS: usize = 8;

/// Times a table's candidates on rows of `columns` weights with one input: each in turn on rows that
/// no other has just read, for as long as `patience` says, and at least three times. `None` where
/// there is nothing to choose, or the rows are too few: then they are in a cache.
pub fn time_tunings(
    table: &Kernels,
    dtype: DType,
    rows: (&[u8], usize),
    patience: Duration,
) -> Option<Vec<TunedRate>> {
    let candidates = Tuning::candidates(table.isa);
    let mut timer = KernelTimer::new(table, dtype, rows)?;
    if candidates.len() < 2 || timer.portions_len < candidates.len() * TURNS {
        return None;
    }
    let mut rates = vec![Vec::new(); candidates.len()];
    let begin = Instant::now();
    while rates[0].len() < TURNS || begin.elapsed() < patience {
        for (&tuning, rates) in candidates.iter().zip(&mut rates) {
            rates.push(timer.portion as f64 / timer.seconds(tuning, 1)?);
        }
    }
    let rated = |(&tuning, rates): (&Tuning, &mut Vec<f64>)| {
        let rate = median(rates);
        TunedRate { tuning, rate }
    };
    Some(candidates.iter().zip(&mut rates).map(rated).collect())
}

/// With how many inputs packing begins to pay, timed on the same kind of rows; `None` where there are
/// too few.
pub fn time_packing(
    table: &Kernels,
    dtype: DType,
    rows: (&[u8], usize),
    tuning: Tuning,
) -> Option<usize> {
    let mut timer = KernelTimer::new(table, dtype, rows)?;
    if timer.portions_len < 2 * TURNS {
        return None;
    }
    for inputs in 2..=MOST_INPUTS {
        let mut times = [[0.0; 2 * TURNS]; 2];
        for turn in 0..2 * TURNS {
            for (times, from) in times.iter_mut().zip([usize::MAX, 0]) {
                let pack_from = PackFrom::all(from);
                times[turn] = timer.seconds(
                    Tuning {
                        pack_from,
                        ..tuning
                    },
                    inputs,
                )?;
            }
        }
        let [lying, packed] = &mut times;
        if median(packed) < median(lying) {
            return Some(inputs);
        }
    }
    Some(MOST_INPUTS + 1)
}

fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Products with rows of a model, each with some that the last ones have not read.
struct KernelTimer<'a> {
    kernel: MatMulKernel,
    /// Bytes of weights that a product reads, and how often that is there.
    portion: usize,
    portions_len: usize,
    portions: Cycle<ChunksExact<'a, u8>>,
    rows: usize,
    columns: usize,
    inputs: Vec<u8>,
    input_len: usize,
    out: Vec<f32>,
    _ready: Option<ThreadReady>,
}

impl<'a> KernelTimer<'a> {
    fn new(
        table: &Kernels,
        dtype: DType,
        (weights, columns): (&'a [u8], usize),
    ) -> Option<KernelTimer<'a>> {
        let kernel = table.matmul(dtype, Layout::Rows)?;
        let row_len = usize::try_from(dtype.row_len(columns as u64)?).ok()?;
        let rows = (PORTION / row_len.max(1)).max(1);
        let portion = rows.checked_mul(row_len).filter(|&len| len > 0)?;
        let input_len = kernel.activation.row_len(columns)?;
        // Zeros are activations of every form.
        let mut inputs = Vec::new();
        let inputs_len = input_len.checked_mul(MOST_INPUTS)?;
        inputs.try_reserve_exact(inputs_len).ok()?;
        inputs.resize(inputs_len, 0u8);
        let mut out = Vec::new();
        out.try_reserve_exact(MOST_INPUTS * rows).ok()?;
        out.resize(MOST_INPUTS * rows, 0f32);
        Some(KernelTimer {
            kernel,
            portion,
            portions_len: weights.len() / portion,
            portions: weights.chunks_exact(portion).cycle(),
            rows,
            columns,
            inputs,
            input_len,
            out,
            _ready: table.thread_setup.map(ThreadSetup::enter),
        })
    }

    /// Seconds of a product with up to [`MOST_INPUTS`] inputs; `None` if there are no rows.
    fn seconds(&mut self, tuning: Tuning, inputs_len: usize) -> Option<f64> {
        assert!(inputs_len <= MOST_INPUTS);
        let weights = self.portions.next()?;
        touch(weights);
        let call = MatMul {
            weights: weights.as_ptr(),
            weight_stride: self.portion / self.rows,
            weight_rows: self.rows,
            columns: self.columns,
            inputs: self.inputs.as_ptr(),
            input_stride: self.input_len,
            inputs_len,
            out: self.out.as_mut_ptr(),
            out_stride: self.rows,
            picks: core::ptr::null(),
            tuning,
        };
        let start = Instant::now();
        // SAFETY: the portion is so many rows of this length, one after the other; the inputs have
        // as many columns, none of them −128; there is a result for each row and input. The table is
        // one that this CPU runs, and the thread is set up for it.
        unsafe { (self.kernel.run)(&call) };
        Some(start.elapsed().as_secs_f64().max(1e-9))
    }
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
