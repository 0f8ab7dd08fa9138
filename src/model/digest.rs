//! A digest of all weights.

use super::Model;
use crate::weights::{FileStamp, Source};
use std::sync::Mutex;
use twox_hash::XxHash3_128;

/// Bytes that a thread takes at a time. They are part of what the digest is.
const PIECE: usize = 4 << 20;

impl Model {
    /// A digest of every byte of every tensor, the same on every machine. The first call reads all
    /// weights, which takes seconds for some GiB; further ones know it. It finds accidents, not
    /// forgeries.
    pub fn weights_digest(&self) -> u128 {
        let digest = &self.inner.weights_digest;
        *digest.get_or_init(|| {
            let tensors = self.manifest().tensors.values();
            let bytes = tensors.map(|info| self.weights().bytes(info));
            // Within a budget what was read of a map must not stay in memory.
            let release = || self.weights().sources().iter().for_each(Source::release);
            match self.placement() {
                None => digest_of(bytes, self.threads()),
                Some(_) => digest_releasing(bytes, self.threads(), &release),
            }
        })
    }

    /// Stamps of the files that the weights are mapped from, if each has one.
    pub(crate) fn file_stamps(&self) -> Option<Vec<FileStamp>> {
        let mut sources = self.weights().sources().iter();
        let stamps: Option<Vec<FileStamp>> = sources.by_ref().map(|one| one.stamp()).collect();
        stamps.filter(|stamps| !stamps.is_empty())
    }

    /// Takes a digest that was computed of these very files; without effect where it is known.
    pub(crate) fn know_weights_digest(&self, digest: u128) {
        // Known already: the same.
        let _ = self.inner.weights_digest.set(digest);
    }
}

/// Digest of the digests of all pieces, in their order, whatever thread took which.
pub fn digest_of<'a>(tensors: impl Iterator<Item = &'a [u8]>, threads: usize) -> u128 {
    digest_releasing(tensors, threads, &|| {})
}

/// The same; `release` is called after each piece.
fn digest_releasing<'a>(
    tensors: impl Iterator<Item = &'a [u8]>,
    threads: usize,
    release: &(dyn Fn() + Sync),
) -> u128 {
    let pieces: Vec<&[u8]> = tensors.flat_map(|bytes| bytes.chunks(PIECE)).collect();
    let mut digests = vec![[0; 16]; pieces.len()];
    let left = Mutex::new(pieces.iter().zip(&mut digests));
    let next = || left.lock().ok()?.next();
    std::thread::scope(|scope| {
        let work = || {
            while let Some((piece, digest)) = next() {
                *digest = XxHash3_128::oneshot(piece).to_le_bytes();
                release();
            }
        };
        for _ in 1..threads {
            // Without another thread this one does it all.
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    XxHash3_128::oneshot(digests.as_flattened())
}
