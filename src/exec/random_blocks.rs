//! The random blocks of block-sparse attention: what the authors' code draws with NumPy's generator
//! where it trains, layer by layer. They depend on a text's length alone, so that a session draws
//! them once.

use crate::graph::BlockSparse;
use crate::reserve::{OutOfMemory, list};

/// Lengths, in columns, for which the paper's experiments drew blocks in another way, and up to
/// which of them these were drawn.
const PAPER_LENGTHS: [u32; 3] = [1024, 3072, 4096];
const PAPER_LAST: usize = 1024;

/// Most blocks that are drawn, or drawn among: above it, a configuration is a mistake.
const MOST: usize = 1 << 24;

/// Of each layer that has some, its random blocks.
#[derive(Debug)]
pub struct RandomBlocks {
    layers: Vec<LayerBlocks>,
}

/// One layer's.
#[derive(Debug)]
struct LayerBlocks {
    sparse: BlockSparse,
    heads: usize,
    /// `[blocks − 1][heads][random]`: the second block's come first.
    usual: Vec<u32>,
    /// `[heads][paper_rows][random]`, for texts of the paper's lengths; nothing where there is too
    /// little to draw from.
    paper: Vec<u32>,
    paper_rows: usize,
}

impl RandomBlocks {
    /// Draws for layers with these heads; texts have `positions` columns at most. Nothing, if that
    /// is more than can be meant.
    ///
    /// # Errors
    /// No memory.
    pub fn draw(
        layers: impl Iterator<Item = (BlockSparse, usize)>,
        positions: u64,
    ) -> Result<Option<RandomBlocks>, OutOfMemory> {
        let mut drawn = Vec::new();
        let Ok(positions) = u32::try_from(positions) else {
            return Ok(None);
        };
        for (sparse, heads) in layers {
            match LayerBlocks::draw(sparse, heads, positions)? {
                Some(layer) => drawn.push(layer),
                None => return Ok(None),
            }
        }
        Ok(Some(RandomBlocks { layers: drawn }))
    }

    /// Whether every layer has blocks for texts so many columns wide.
    pub fn serve(&self, width: u32) -> bool {
        self.layers.iter().all(|layer| {
            let blocks = layer.sparse.blocks(width);
            blocks.is_none_or(|blocks| {
                (0..layer.heads).all(|head| layer.of(width, head, blocks - 2).is_some())
            })
        })
    }

    /// The random blocks that block `query` of a text so many columns wide sees, in one head.
    pub fn of(&self, sparse: BlockSparse, width: u32, head: usize, query: u32) -> Option<&[u32]> {
        let layer = self.layers.iter().find(|layer| layer.sparse == sparse)?;
        layer.of(width, head, query)
    }
}

impl LayerBlocks {
    fn draw(
        sparse: BlockSparse,
        heads: usize,
        positions: u32,
    ) -> Result<Option<LayerBlocks>, OutOfMemory> {
        let blocks = positions.div_ceil(sparse.columns) as usize;
        let mut layer = LayerBlocks {
            sparse,
            heads,
            usual: Vec::new(),
            paper: Vec::new(),
            paper_rows: (positions / sparse.columns).saturating_sub(2) as usize,
        };
        let Some(widest) = positions.checked_next_multiple_of(sparse.columns) else {
            return Ok(None);
        };
        if sparse.random == 0 || sparse.blocks(widest).is_none() {
            return Ok(Some(layer));
        }
        let among = 2 * sparse.random as usize + 5;
        let most = blocks.saturating_mul(heads);
        if most.saturating_mul(among) > MOST {
            return Ok(None);
        }
        layer.usual = list(most * sparse.random as usize)?;
        layer.draw_usual(blocks, among);
        if positions >= PAPER_LENGTHS[0] && most.saturating_mul(blocks) <= MOST {
            layer.paper = list(most * sparse.random as usize)?;
            if layer.draw_paper(positions / sparse.columns).is_none() {
                layer.paper.clear();
            }
        }
        Ok(Some(layer))
    }

    /// Of the first `among` blocks, those that no block sees otherwise.
    fn draw_usual(&mut self, blocks: usize, among: usize) {
        let mut generator = Mt19937::new(self.sparse.layer);
        let end = among as u32;
        for block in 1..blocks as u32 {
            for _ in 0..self.heads {
                let drawn = generator.permutation((0..end).collect());
                let allowed = drawn.into_iter().filter(|&key| {
                    let seen = key.abs_diff(block) <= 1 || key == 0 || key + 1 == end;
                    // The second block and the last but one do not see each other.
                    let apart = (block == 1 && key + 2 == end) || (block + 2 == end && key == 1);
                    !seen && !apart
                });
                self.usual.extend(allowed.take(self.sparse.random as usize));
            }
        }
    }

    /// What the paper's experiments drew; nothing, where a block has too few to draw from.
    fn draw_paper(&mut self, blocks: u32) -> Option<()> {
        let mut generator = Mt19937::new(self.sparse.layer);
        let (random, columns) = (self.sparse.random as usize, self.sparse.columns as usize);
        let blocks = blocks as usize;
        let last = match PAPER_LAST > 2 * columns {
            true => PAPER_LAST / columns - 1,
            false => blocks - 1,
        };
        let middle: Vec<u32> = (1..blocks as u32 - 1).collect();
        let part = |from: usize, to: usize| {
            let to = to.min(middle.len());
            &middle[from.min(to)..to]
        };
        for _ in 0..self.heads {
            for block in 1..blocks - 1 {
                let among = match block {
                    1 => part(2, last).to_vec(),
                    2 => part(3, last).to_vec(),
                    _ if block + 3 >= blocks => part(0, last).to_vec(),
                    _ if block - 2 > last => part(0, last).to_vec(),
                    _ if block + 1 == last => part(0, block - 2).to_vec(),
                    _ => [part(0, block - 2), part(block + 1, last)].concat(),
                };
                let drawn = generator.permutation(among);
                self.paper.extend_from_slice(drawn.get(..random)?);
            }
        }
        Some(())
    }

    fn of(&self, width: u32, head: usize, query: u32) -> Option<&[u32]> {
        let padded = width.checked_next_multiple_of(self.sparse.columns)?;
        let row = query.checked_sub(1)? as usize;
        let (table, index) = match PAPER_LENGTHS.contains(&padded) {
            true if row >= self.paper_rows => return None,
            true => (&self.paper, head * self.paper_rows + row),
            false => (&self.usual, row * self.heads + head),
        };
        let random = self.sparse.random as usize;
        table.get(index * random..(index + 1) * random)
    }
}

/// The Mersenne Twister (Matsumoto & Nishimura 1998), seeded and asked as NumPy's `RandomState` is.
struct Mt19937 {
    state: [u32; 624],
    next: usize,
}

impl Mt19937 {
    fn new(seed: u32) -> Mt19937 {
        let mut state = [seed; 624];
        for i in 1..state.len() {
            let before = state[i - 1];
            let mixed = 1_812_433_253u32.wrapping_mul(before ^ (before >> 30));
            state[i] = mixed.wrapping_add(i as u32);
        }
        Mt19937 { state, next: 624 }
    }

    fn turn(&mut self) {
        let state = &mut self.state;
        for i in 0..624 {
            let joined = (state[i] & 0x8000_0000) | (state[(i + 1) % 624] & 0x7FFF_FFFF);
            let odd = match joined & 1 {
                0 => 0,
                _ => 0x9908_B0DF,
            };
            state[i] = state[(i + 397) % 624] ^ (joined >> 1) ^ odd;
        }
        self.next = 0;
    }

    fn number(&mut self) -> u32 {
        if self.next == self.state.len() {
            self.turn();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9D2C_5680;
        y ^= (y << 15) & 0xEFC6_0000;
        y ^ (y >> 18)
    }

    /// A number up to `most`: the first that is one of those whose bits suffice.
    fn up_to(&mut self, most: u32) -> u32 {
        let mask = u32::MAX.checked_shr(most.leading_zeros()).unwrap_or(0);
        loop {
            let number = self.number() & mask;
            if number <= most {
                return number;
            }
        }
    }

    /// Shuffled from the end (Knuth's algorithm P).
    fn permutation(&mut self, mut list: Vec<u32>) -> Vec<u32> {
        for i in (1..list.len()).rev() {
            let other = self.up_to(i as u32) as usize;
            list.swap(i, other);
        }
        list
    }
}
