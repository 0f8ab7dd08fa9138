//! A bounded cache of whole experts.

use super::placement::SizeClass;
use super::policy::{Policy, PolicyUses};
use super::units::Unit;
use super::{Slot, Store};
use crate::weights::Weights;
use std::sync::atomic::{AtomicBool, Ordering};

/// Experts in memory, and those that a phase asks for.
#[derive(Debug, Default)]
pub(super) struct ExpertCache {
    /// The first expert's number among all units.
    first: u32,
    classes: Vec<ClassPlaces>,
    /// By expert.
    experts: Vec<Expert>,
    /// What the phase asks for and has not been computed with.
    asked: Vec<usize>,
    /// Those of the wave.
    opened: Vec<usize>,
}

/// The places of one size.
#[derive(Debug)]
struct ClassPlaces {
    places: Vec<ExpertPlace>,
    uses: PolicyUses,
    /// Experts of this size that the phase asks for.
    asked: usize,
}

#[derive(Clone, Copy, Debug)]
struct ExpertPlace {
    slot: Slot,
    expert: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Expert {
    class: usize,
    /// The place that it has.
    place: Option<usize>,
    /// Its pieces that are there, or on their way.
    pieces: u64,
    /// The pieces that are found in memory.
    placed: u64,
    /// The pieces that the phase asks for; none if it does not.
    asked: u64,
}

impl ExpertCache {
    pub(super) fn new(
        units: &[Unit],
        first: u32,
        classes: &[SizeClass],
        slot: &mut impl FnMut(usize) -> Slot,
    ) -> ExpertCache {
        let class_of = |len: usize| classes.iter().position(|class| class.len == len);
        let experts = units.iter().map(|unit| Expert {
            class: class_of(unit.len).unwrap_or(0),
            place: None,
            pieces: 0,
            placed: 0,
            asked: 0,
        });
        let places = classes.iter().map(|class| {
            let empty = (0..class.slots).map(|_| ExpertPlace {
                slot: slot(class.len),
                expert: None,
            });
            ClassPlaces {
                places: empty.collect(),
                uses: PolicyUses::new(
                    Policy::fit(class.slots, class.demand),
                    class.slots,
                    units.len(),
                ),
                asked: 0,
            }
        });
        ExpertCache {
            first,
            classes: places.collect(),
            experts: experts.collect(),
            asked: Vec::with_capacity(units.len()),
            opened: Vec::with_capacity(units.len()),
        }
    }

    /// Begins a phase.
    pub(super) fn begin(&mut self, open: &[AtomicBool]) {
        self.close(open);
        for expert in self.asked.drain(..) {
            self.experts[expert].asked = 0;
        }
        self.classes.iter_mut().for_each(|class| class.asked = 0);
    }

    /// The phase asks for pieces of an expert.
    pub(super) fn ask(&mut self, index: usize, pieces: u64) {
        let expert = &mut self.experts[index];
        if expert.asked == 0 {
            self.asked.push(index);
            let class = &mut self.classes[expert.class];
            class.asked += 1;
            if let Some(place) = expert.place {
                class.uses.touch(place);
            }
        }
        expert.asked |= pieces;
    }

    /// How many the phase asks for, and how many of them are there.
    pub(super) fn asked(&self) -> (u64, u64) {
        let there = |index: &&usize| {
            let expert = &self.experts[**index];
            expert.asked & !expert.pieces == 0
        };
        let hits = self.asked.iter().filter(there).count();
        (self.asked.len() as u64, hits as u64)
    }

    /// Opens the experts that are there, after waiting for one if there are none. Whether others are
    /// left; `None` if they will not come.
    pub(super) fn wave(
        &mut self,
        store: &Store,
        weights: &Weights,
        open: &[AtomicBool],
        abort: &AtomicBool,
    ) -> Option<bool> {
        self.close(open);
        self.fetch_all(store, weights);
        let is_there = |cache: &ExpertCache, index: usize| {
            let expert = &cache.experts[index];
            let slot = expert
                .place
                .map(|place| cache.classes[expert.class].places[place].slot);
            expert.asked & !expert.pieces == 0
                && slot.is_some_and(|slot| store.reader.is_there(slot.number))
        };
        let some =
            || self.asked.is_empty() || self.asked.iter().any(|&index| is_there(self, index));
        if !store.reader.wait(abort, some) {
            return None;
        }
        let mut at = 0;
        while at < self.asked.len() {
            let index = self.asked[at];
            if !is_there(self, index) {
                at += 1;
                continue;
            }
            self.asked.swap_remove(at);
            self.opened.push(index);
            open[index].store(true, Ordering::Relaxed);
            self.place(store, weights, index);
        }
        Some(!self.asked.is_empty())
    }

    /// Ends a wave.
    fn close(&mut self, open: &[AtomicBool]) {
        for index in self.opened.drain(..) {
            open[index].store(false, Ordering::Relaxed);
            self.experts[index].asked = 0;
        }
    }

    /// Begins to read what the phase asks for, as far as there are places.
    fn fetch_all(&mut self, store: &Store, weights: &Weights) {
        for at in 0..self.asked.len() {
            let index = self.asked[at];
            let Expert {
                class,
                place,
                pieces,
                asked,
                ..
            } = self.experts[index];
            if asked & !pieces == 0 {
                continue;
            }
            let Some(place) = place.or_else(|| self.give_place(store, weights, index)) else {
                continue;
            };
            let places = &self.classes[class];
            // An expert comes whole where all of the phase's have room until the layer is done.
            let wanted = match places.asked <= places.places.len() {
                true => u64::MAX,
                false => asked,
            };
            let slot = places.places[place].slot;
            let unit = self.first + index as u32;
            // SAFETY: the slot is this expert's, none of these pieces is there or on its way, and
            // none of its matrices is found there.
            unsafe {
                store
                    .reader
                    .fetch((slot.number, slot.at), unit, wanted & !pieces)
            };
            self.experts[index].pieces |= wanted;
        }
    }

    /// A place for an expert, which another leaves that the phase does not ask for.
    fn give_place(&mut self, store: &Store, weights: &Weights, index: usize) -> Option<usize> {
        let class = &mut self.classes[self.experts[index].class];
        let experts = &self.experts;
        let may = |place: usize| {
            let place = &class.places[place];
            let is_free = |expert: usize| experts[expert].asked == 0;
            place.expert.is_none_or(is_free) && store.reader.is_there(place.slot.number)
        };
        let place = class.uses.victim(may)?;
        class.uses.replace(place, index);
        if let Some(old) = class.places[place].expert.replace(index) {
            self.leave(store, weights, old);
        }
        self.experts[index].place = Some(place);
        Some(place)
    }

    /// Has an expert's matrices found in memory.
    fn place(&mut self, store: &Store, weights: &Weights, index: usize) {
        let unit = self.first as usize + index;
        let expert = &mut self.experts[index];
        let new = expert.pieces & !expert.placed;
        if let (Some(place), true) = (expert.place, new != 0) {
            let slot = self.classes[expert.class].places[place].slot;
            store.place(weights, unit, Some(slot.at), new);
            expert.placed |= new;
        }
    }

    fn leave(&mut self, store: &Store, weights: &Weights, index: usize) {
        let unit = self.first as usize + index;
        store.place(weights, unit, None, u64::MAX);
        let expert = &mut self.experts[index];
        (expert.place, expert.pieces, expert.placed) = (None, 0, 0);
    }

    /// Has nothing in memory any more.
    pub(super) fn forget(&mut self, store: &Store, weights: &Weights) {
        for class in 0..self.classes.len() {
            for place in 0..self.classes[class].places.len() {
                store.drain(self.classes[class].places[place].slot.number);
                self.classes[class].uses.clear(place);
                if let Some(index) = self.classes[class].places[place].expert.take() {
                    self.leave(store, weights, index);
                }
            }
        }
    }
}
