//! Weights within a bounded memory: what stays, what is brought when it is needed, and by whom.
//!
//! Matrices fall into [`Unit`]s: what always stays, the matrices of a layer, an expert. As many
//! layers as fit stay; the others pass through two buffers, one of which fills while the other is
//! computed with. Experts have a bounded cache. Who walks a plan says, while all workers are at rest,
//! what the next phase needs ([`Residency::bring`], [`Residency::open`]); threads of the
//! [`reader`](Reader) fetch it. Where there are fewer places than experts that a phase needs, or
//! while some are on their way, it is walked in waves, each with the experts that are there.

mod cache;
mod layers;
mod placement;
mod policy;
mod reader;
mod speed;
mod trace;
mod units;

pub use placement::Placement;
pub use policy::{Policy, PolicyUses};
pub use speed::disk_rate;
pub use trace::{ExpertTrace, Recorder, Replayed};
pub(crate) use units::layer_of;

use crate::arena::Arena;
use crate::graph::{Matrix, Wiring};
use crate::pool::lock;
use crate::reserve::OutOfMemory;
use crate::weights::Weights;
use cache::ExpertCache;
use layers::LayerStream;
use placement::{BUFFERS, HeldLayout};
use reader::{DirectFile, Fault, Reader};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use units::{PAGE, Unit, Units};

/// Where weights will be kept within `bytes`, `vectors` of which are for vectors, given the file and
/// the bytes of every part of each matrix; the files need not be there.
///
/// # Errors
/// Too few bytes.
pub fn placement(
    wiring: &Wiring,
    parts: &[Vec<(usize, Range<u64>)>],
    vectors: u64,
    bytes: u64,
) -> Result<Placement, HoldError> {
    let (units, layout) = laid_out_within(wiring, parts, vectors, bytes)?;
    Ok(layout.figures(&units, vectors))
}

fn laid_out_within(
    wiring: &Wiring,
    parts: &[Vec<(usize, Range<u64>)>],
    vectors: u64,
    bytes: u64,
) -> Result<(Units, HeldLayout), HoldError> {
    let units = Units::of(wiring, parts);
    let layout = HeldLayout::within(&units, bytes.saturating_sub(vectors));
    let layout = layout.map_err(|least| HoldError::Least(least + vectors))?;
    Ok((units, layout))
}

/// Why weights cannot be held.
#[derive(Debug)]
pub enum HoldError {
    /// So many bytes are needed at least.
    Least(u64),
    /// They are no file's.
    NoFile,
    /// The system refuses memory.
    OutOfMemory(OutOfMemory),
    /// The system refuses threads, or handles of files.
    System(io::Error),
    /// A weight could not be read: one line.
    Read(String),
}

/// What a run has cost beside its arithmetic, since the model was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Experts that rows' routes asked for, each counted once for a phase.
    pub experts: u64,
    /// Those of them that were in memory.
    pub hits: u64,
    /// Bytes read, those left out that stay.
    pub bytes: u64,
    /// Nanoseconds for which a run waited for bytes.
    pub stalled: u64,
}

/// Weights of which some are in memory.
#[derive(Debug)]
pub struct Residency {
    placement: Placement,
    /// Bytes that were read of what stays.
    loaded: u64,
    /// Units that stay, and where.
    stay: Vec<(usize, usize)>,
    /// By matrix: the layer that it moves with.
    layer_of: Vec<Option<u32>>,
    /// By matrix: the experts that it is of.
    stack_of: Vec<Option<StackPlace>>,
    /// By expert: whether it takes part in the wave.
    open: Vec<AtomicBool>,
    /// Whether the phase has another wave.
    again: AtomicBool,
    moving: Mutex<Moving>,
    store: Store,
    experts: AtomicU64,
    hits: AtomicU64,
    stalled: AtomicU64,
}

/// What a run moves.
#[derive(Debug)]
struct Moving {
    layers: LayerStream,
    cache: ExpertCache,
}

/// Memory, what is to be in it, and who brings that.
#[derive(Debug)]
struct Store {
    memory: Arc<Arena>,
    units: Arc<[Unit]>,
    reader: Reader,
}

/// Where the experts of a matrix are among all.
#[derive(Clone, Copy, Debug)]
struct StackPlace {
    /// The first one's number.
    first: usize,
    /// Whether a layer meets it before the others: there its experts are counted.
    leads: bool,
    /// The pieces of each that the matrix is in.
    pieces: u64,
}

/// A place in memory that a unit can be in.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Its number with the reader.
    number: usize,
    /// Where it begins.
    at: usize,
}

impl Residency {
    /// Reads what is to stay within `bytes`, vectors included.
    ///
    /// # Errors
    /// Too few bytes, weights that are no file's, a file that cannot be read.
    pub fn new(wiring: &Wiring, weights: &Weights, bytes: u64) -> Result<Residency, HoldError> {
        let vectors = weights.vectors_len() as u64;
        let matrices = 0..wiring.matrices.len() as u32;
        let parts = matrices.map(|matrix| weights.parts(matrix).collect());
        let parts: Vec<_> = parts.collect();
        let (units, layout) = laid_out_within(wiring, &parts, vectors, bytes)?;
        let files = weights.sources().iter().map(|source| source.file());
        let files = files.map(|file| file.ok_or(HoldError::NoFile));
        let files: Vec<_> = files.collect::<Result<_, _>>()?;
        let files = files.into_iter().map(|source| DirectFile::of(&source.file));
        let files = files.collect::<Result<_, _>>().map_err(HoldError::System)?;
        let placement = layout.figures(&units, vectors);
        Residency::laid_out(wiring, units, (layout, placement), files, weights)
    }

    fn laid_out(
        wiring: &Wiring,
        units: Units,
        (layout, placement): (HeldLayout, Placement),
        files: Vec<DirectFile>,
        weights: &Weights,
    ) -> Result<Residency, HoldError> {
        let held = (placement.held() - placement.vectors) as usize;
        let memory = Arc::new(Arena::new(held).map_err(HoldError::OutOfMemory)?);
        let mut next = memory.as_ptr().align_offset(PAGE);
        let mut take = |len: usize| {
            next += len;
            next - len
        };
        let (mut layer_of, mut stack_of) = (vec![None; wiring.matrices.len()], Vec::new());
        stack_of.resize(wiring.matrices.len(), None);
        let mut all = vec![units.fixed];
        let mut stay = vec![(0, take(all[0].len))];
        for ((matrices, unit), pinned) in units.layers.into_iter().zip(&layout.pinned) {
            let number = all.len();
            match pinned {
                true => stay.push((number, take(unit.len))),
                false => matrices
                    .iter()
                    .for_each(|&matrix| layer_of[matrix as usize] = Some(number as u32)),
            }
            all.push(unit);
        }
        // The first slot is for what stays.
        let mut slots = 1;
        let mut slot = |len: usize| {
            slots += 1;
            Slot {
                number: slots - 1,
                at: take(len),
            }
        };
        let layers = match layout.buffer {
            0 => LayerStream::default(),
            len => LayerStream::new([(); BUFFERS].map(|()| slot(len))),
        };
        let first_expert = all.len();
        let whole = placement.slots == placement.experts;
        for stack in units.stacks {
            if !whole {
                for &matrix in &stack.matrices {
                    stack_of[matrix as usize] = stack.experts.first().map(|unit| StackPlace {
                        first: all.len() - first_expert,
                        leads: matrix == stack.first,
                        pieces: unit.pieces_of(matrix),
                    });
                }
            }
            all.extend(stack.experts);
        }
        let experts = &all[first_expert..];
        let cache = match whole {
            true => {
                let places = experts.iter().map(|unit| take(unit.len));
                stay.extend((first_expert..).zip(places));
                ExpertCache::default()
            }
            false => ExpertCache::new(experts, first_expert as u32, &layout.classes, &mut slot),
        };
        let open = experts.iter().map(|_| AtomicBool::new(false)).collect();
        let units: Arc<[Unit]> = all.into();
        let reader = Reader::new(files, Arc::clone(&units), Arc::clone(&memory), slots);
        let store = Store {
            reader: reader.map_err(HoldError::System)?,
            memory,
            units,
        };
        store
            .read_all(&stay)
            .map_err(|fault| HoldError::Read(store.explain(&fault, wiring, weights)))?;
        for source in weights.sources() {
            source.release();
        }
        Ok(Residency {
            placement,
            loaded: store.reader.read(),
            stay,
            layer_of,
            stack_of,
            open,
            again: AtomicBool::new(false),
            moving: Mutex::new(Moving { layers, cache }),
            store,
            experts: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
        })
    }

    /// Has what stays found in memory. No run is under way.
    pub fn settle(&self, weights: &Weights) {
        for &(unit, at) in &self.stay {
            self.store.place(weights, unit, Some(at), u64::MAX);
        }
    }

    /// What is held, and where.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// What was read so far, and waited for.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            experts: self.experts.load(Ordering::Relaxed),
            hits: self.hits.load(Ordering::Relaxed),
            bytes: self.store.reader.read() - self.loaded,
            stalled: self.stalled.load(Ordering::Relaxed),
        }
    }

    /// The layer that a matrix moves with, if it moves.
    pub fn layer(&self, matrix: Matrix) -> Option<u32> {
        self.layer_of[matrix.id as usize]
    }

    /// Whether the experts of a stack come and go.
    pub fn moves(&self, experts: Matrix) -> bool {
        self.stack_of[experts.id as usize].is_some()
    }

    /// Whether an expert takes part in the wave.
    pub fn is_open(&self, experts: Matrix, expert: usize) -> bool {
        let place = self.stack_of[experts.id as usize];
        place.is_none_or(|place| self.open[place.first + expert].load(Ordering::Relaxed))
    }

    /// Whether the phase has another wave after this one.
    pub fn again(&self) -> bool {
        self.again.load(Ordering::Relaxed)
    }

    /// Brings a layer, and begins to read the one that `next` says comes after it. No worker is in a
    /// phase. `false`: it will not come.
    pub fn bring(
        &self,
        weights: &Weights,
        layer: u32,
        abort: &AtomicBool,
        next: impl FnOnce() -> Option<u32>,
    ) -> bool {
        let mut moving = lock(&self.moving);
        self.stalling(|| moving.layers.bring(&self.store, weights, layer, abort))
            && moving.layers.look_ahead(&self.store, weights, layer, next)
    }

    /// Begins a phase with the experts that `asked` names by matrix and number, and opens its first
    /// wave. No worker is in a phase. `false`: they will not come.
    pub fn open(
        &self,
        weights: &Weights,
        abort: &AtomicBool,
        asked: impl FnOnce(&mut dyn FnMut(Matrix, usize)),
    ) -> bool {
        let mut moving = lock(&self.moving);
        moving.cache.begin(&self.open);
        let mut leads = false;
        asked(&mut |matrix, expert| {
            if let Some(place) = self.stack_of[matrix.id as usize] {
                moving.cache.ask(place.first + expert, place.pieces);
                leads |= place.leads;
            }
        });
        let (experts, hits) = match leads {
            true => moving.cache.asked(),
            false => (0, 0),
        };
        self.experts.fetch_add(experts, Ordering::Relaxed);
        self.hits.fetch_add(hits, Ordering::Relaxed);
        self.wave(&mut moving, weights, abort)
    }

    /// Opens the next wave.
    pub fn go_on(&self, weights: &Weights, abort: &AtomicBool) -> bool {
        self.wave(&mut lock(&self.moving), weights, abort)
    }

    fn wave(&self, moving: &mut Moving, weights: &Weights, abort: &AtomicBool) -> bool {
        let opened = self.stalling(|| moving.cache.wave(&self.store, weights, &self.open, abort));
        self.again.store(opened == Some(true), Ordering::Relaxed);
        opened.is_some()
    }

    /// Why a run ended, if it was for want of a weight; the next one begins without what was read.
    pub fn take_fault(&self, wiring: &Wiring, weights: &Weights) -> Option<String> {
        let reader = &self.store.reader;
        if !reader.has_failed() {
            return None;
        }
        let mut moving = lock(&self.moving);
        moving.layers.forget(&self.store, weights);
        moving.cache.forget(&self.store, weights);
        let fault = reader.take_fault()?;
        Some(self.store.explain(&fault, wiring, weights))
    }

    /// Ends a run that cannot go on.
    pub fn refuse(&self, what: &str) {
        self.store.reader.fail(Fault {
            place: None,
            what: what.to_string(),
        });
    }

    fn stalling<T>(&self, work: impl FnOnce() -> T) -> T {
        let since = Instant::now();
        let done = work();
        let nanos = since.elapsed().as_nanos() as u64;
        self.stalled.fetch_add(nanos, Ordering::Relaxed);
        done
    }
}

impl Store {
    /// Reads units to stay at these places.
    fn read_all(&self, stay: &[(usize, usize)]) -> Result<(), Fault> {
        let never = AtomicBool::new(false);
        for &(unit, at) in stay {
            // SAFETY: each has bytes of its own, and nobody knows of them yet.
            unsafe { self.reader.fetch((0, at), unit as u32, u64::MAX) };
        }
        match self.reader.wait(&never, || self.reader.is_there(0)) {
            true => Ok(()),
            false => {
                self.drain(0);
                Err(self.reader.take_fault().unwrap_or(Fault {
                    place: None,
                    what: "weights were not read".to_string(),
                }))
            }
        }
    }

    /// Waits until nobody writes to a slot any more.
    fn drain(&self, slot: usize) {
        while !self.reader.is_there(slot) {
            std::thread::yield_now();
        }
    }

    /// Has those parts of a unit that are in `pieces` found from byte `at` of the memory on, or where
    /// the files have them.
    fn place(&self, weights: &Weights, unit: usize, at: Option<usize>, pieces: u64) {
        let parts = &self.units[unit].parts;
        for part in parts.iter().filter(|part| units::asks(pieces, part.piece)) {
            let address = at.map(|at| self.memory.as_ptr().wrapping_add(at + part.at));
            // SAFETY: called where no worker is in a phase, and for what has been read; the memory
            // lives as long as the weights' model, and a slot is written to only after what was in
            // it has been placed back.
            unsafe { weights.place((part.matrix, part.part), address) };
        }
    }

    /// Names the file and the tensor.
    fn explain(&self, fault: &Fault, wiring: &Wiring, weights: &Weights) -> String {
        let Some((file, offset)) = fault.place else {
            return fault.what.clone();
        };
        let source = weights.sources().get(file).and_then(|source| source.file());
        let path = source.map(|file| file.path.display().to_string());
        let found = (0..wiring.matrices.len() as u32)
            .flat_map(|matrix| weights.parts(matrix).map(move |part| (matrix, part)))
            .filter(|(_, (of, range))| *of == file && offset < range.end)
            .min_by_key(|(_, (_, range))| range.start);
        let name = found.map(|(matrix, _)| wiring.matrices[matrix as usize].name.as_str());
        format!(
            "{}: tensor {}: {}",
            path.unwrap_or_default(),
            name.unwrap_or("of its end"),
            fault.what
        )
    }
}
