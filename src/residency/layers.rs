//! Layers that pass through buffers.

use super::placement::BUFFERS;
use super::{Slot, Store};
use crate::weights::Weights;
use std::sync::atomic::AtomicBool;

/// The buffers. Without any, all layers stay.
#[derive(Debug, Default)]
pub(super) struct LayerStream {
    buffers: Vec<LayerBuffer>,
    /// The one that is computed with.
    current: Option<usize>,
    /// The layer from which on the next one has been looked for.
    ahead: Option<u32>,
}

#[derive(Debug)]
struct LayerBuffer {
    slot: Slot,
    /// The layer that is in it, or on its way.
    layer: Option<u32>,
    /// Whether its matrices are found there.
    placed: bool,
}

impl LayerStream {
    pub(super) fn new(slots: [Slot; BUFFERS]) -> LayerStream {
        let buffers = slots.map(|slot| LayerBuffer {
            slot,
            layer: None,
            placed: false,
        });
        LayerStream {
            buffers: buffers.into(),
            current: None,
            ahead: None,
        }
    }

    /// Waits for a layer, which is read now unless it was before. `false`: it will not come.
    pub(super) fn bring(
        &mut self,
        store: &Store,
        weights: &Weights,
        layer: u32,
        abort: &AtomicBool,
    ) -> bool {
        let found = match self.holding(layer) {
            Some(found) => found,
            None => {
                let other = self.other();
                let slot = self.buffers[other].slot.number;
                // What was read ahead in vain.
                let free = || store.reader.is_there(slot);
                if !store.reader.wait(abort, free) {
                    return false;
                }
                self.buffers[other].fetch(store, weights, layer);
                other
            }
        };
        let buffer = &mut self.buffers[found];
        let slot = buffer.slot;
        if !store
            .reader
            .wait(abort, || store.reader.is_there(slot.number))
        {
            return false;
        }
        if !buffer.placed {
            store.place(weights, layer as usize, Some(slot.at), u64::MAX);
            buffer.placed = true;
        }
        if self.current != Some(found) {
            self.current = Some(found);
            self.ahead = None;
        }
        true
    }

    /// Begins to read the layer that comes after this one, into a buffer that has been computed with.
    pub(super) fn look_ahead(
        &mut self,
        store: &Store,
        weights: &Weights,
        layer: u32,
        next: impl FnOnce() -> Option<u32>,
    ) -> bool {
        if self.ahead == Some(layer) {
            return true;
        }
        self.ahead = Some(layer);
        let other = self.other();
        if let Some(next) = next().filter(|&next| self.holding(next).is_none())
            && store.reader.is_there(self.buffers[other].slot.number)
        {
            self.buffers[other].fetch(store, weights, next);
        }
        true
    }

    /// Has nothing in memory any more.
    pub(super) fn forget(&mut self, store: &Store, weights: &Weights) {
        for buffer in &mut self.buffers {
            store.drain(buffer.slot.number);
            buffer.leave(store, weights);
        }
        (self.current, self.ahead) = (None, None);
    }

    fn holding(&self, layer: u32) -> Option<usize> {
        let mut buffers = self.buffers.iter();
        buffers.position(|buffer| buffer.layer == Some(layer))
    }

    /// A buffer that is not computed with.
    fn other(&self) -> usize {
        self.current.map_or(0, |current| (current + 1) % BUFFERS)
    }
}

impl LayerBuffer {
    fn fetch(&mut self, store: &Store, weights: &Weights, layer: u32) {
        self.leave(store, weights);
        self.layer = Some(layer);
        // SAFETY: the slot is this buffer's, nothing is on its way there, and no matrix is found
        // there any more.
        unsafe {
            store
                .reader
                .fetch((self.slot.number, self.slot.at), layer, u64::MAX)
        };
    }

    fn leave(&mut self, store: &Store, weights: &Weights) {
        if let Some(layer) = self.layer.take() {
            store.place(weights, layer as usize, None, u64::MAX);
        }
        self.placed = false;
    }
}
