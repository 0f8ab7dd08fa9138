//! Queries of one head against the KV cache.

use super::CacheLines;
use crate::{Attend, Kernels, KvHalf, KvType, PAGE, Running};

/// Attention over pages that lie one behind the other, with all that it reads and writes.
#[derive(Debug)]
pub struct AttentionBench {
    kv_type: KvType,
    dim: usize,
    /// Of each page its keys and its values.
    pages: CacheLines<u8>,
    /// Bytes of a page's keys, and of its values.
    half: usize,
    queries: Vec<f32>,
    scores: Vec<f32>,
    running: Vec<Running>,
    out: Vec<f32>,
}

impl AttentionBench {
    /// So many queries of `dim` elements over so many pages. `None` if the sizes overflow.
    pub fn new(
        kv_type: KvType,
        dim: usize,
        queries: usize,
        pages: usize,
    ) -> Option<AttentionBench> {
        let half = kv_type.row_len(dim)?.checked_mul(PAGE)?;
        let wave: Vec<f32> = (0..dim * PAGE).map(|at| (at as f32 * 0.37).sin()).collect();
        let mut page = vec![0; half.checked_mul(2)?];
        let (keys, values) = page.split_at_mut(half);
        for (which, bytes) in [(KvHalf::Keys, keys), (KvHalf::Values, values)] {
            for (place, row) in wave.chunks_exact(dim).enumerate() {
                // SAFETY: `PAGE` rows of this type and length, all of them this function's own.
                unsafe { kv_type.store(which, row, bytes.as_mut_ptr(), place) };
            }
        }
        let floats = queries.checked_mul(Attend::stride(dim))?;
        Some(AttentionBench {
            kv_type,
            dim,
            pages: CacheLines::repeat(&page, pages),
            half,
            queries: (0..floats).map(|at| (at as f32 * 0.11).sin()).collect(),
            scores: vec![0.0; queries.checked_mul(PAGE)?],
            running: vec![Running::START; queries],
            out: vec![0.0; floats],
        })
    }

    /// Computes it once.
    pub fn run(&mut self, table: &Kernels) {
        self.running.fill(Running::START);
        let mut pages = self.pages.chunks_exact(2 * self.half).peekable();
        while let Some(page) = pages.next() {
            let (keys, values) = page.split_at(self.half);
            let next = pages.peek().map(|page| {
                let (keys, values) = page.split_at(self.half);
                [keys.as_ptr(), values.as_ptr()]
            });
            let call = Attend {
                kv_type: self.kv_type,
                keys,
                values,
                value_stride: self.dim,
                dim: self.dim,
                value_in_key: None,
                count: PAGE,
                queries: &self.queries,
                softcap: None,
                biases: None,
                next,
            };
            (table.attend)(&call, &mut self.scores, &mut self.running, &mut self.out);
        }
    }

    /// Bytes of keys and values that a run reads.
    pub fn bytes(&self) -> u64 {
        self.pages.len() as u64
    }

    /// Operations of a run: a product and a sum for each query and element of a key, and of a
    /// value.
    pub fn operations(&self) -> u64 {
        let keys = self.pages.len() / (2 * self.half) * PAGE;
        4 * (keys * self.dim * self.running.len()) as u64
    }
}
