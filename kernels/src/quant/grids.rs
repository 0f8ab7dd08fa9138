//! The points that the IQ1, IQ2 and IQ3 types choose from: four or eight weights at a time.
//!
//! `tools/quant/grids.py` writes `grids.bin`: for each point a u16 with two or three bits per
//! weight, the first in the lowest bits.

static POINTS: &[u8; 2 * (256 + 512 + 1024 + 256 + 512 + 2048)] = include_bytes!("grids.bin");

/// What a type's indices stand for: `LEN` points of `N` weights, each one of a few values.
pub(crate) struct Points<const N: usize, const LEN: usize> {
    first: usize,
    weights: [[i8; N]; LEN],
}

impl<const N: usize, const LEN: usize> Points<N, LEN> {
    /// The points from number `first` on, of these three or eight values.
    const fn new<const VALUES: usize>(first: usize, values: [i8; VALUES]) -> Self {
        const { assert!(VALUES == 3 || VALUES == 8) }
        let bits = if VALUES == 8 { 3 } else { 2 };
        let mut points = Points {
            first,
            weights: [[0; N]; LEN],
        };
        let mut index = 0;
        while index < LEN {
            let stored = points.stored(index);
            let mut i = 0;
            while i < N {
                let which = (stored >> (bits * i)) as usize & ((1 << bits) - 1);
                points.weights[index][i] = values[which % VALUES];
                i += 1;
            }
            index += 1;
        }
        points
    }

    /// The weights of a point; indices wrap.
    #[inline]
    pub fn weights(&self, index: usize) -> &[i8; N] {
        &self.weights[index % LEN]
    }

    /// A point as it is stored; indices wrap.
    #[inline]
    pub const fn stored(&self, index: usize) -> u16 {
        let at = 2 * (self.first + index % LEN);
        u16::from_le_bytes([POINTS[at], POINTS[at + 1]])
    }
}

const SMALL: [i8; 3] = [8, 25, 43];

pub(crate) static IQ2_XXS: Points<8, 256> = Points::new(0, SMALL);
pub(crate) static IQ2_XS: Points<8, 512> = Points::new(256, SMALL);
pub(crate) static IQ2_S: Points<8, 1024> = Points::new(768, SMALL);
pub(crate) static IQ3_XXS: Points<4, 256> = Points::new(1792, [4, 12, 20, 28, 36, 44, 52, 62]);
pub(crate) static IQ3_S: Points<4, 512> = Points::new(2048, [1, 3, 5, 7, 9, 11, 13, 15]);
pub(crate) static IQ1: Points<8, 2048> = Points::new(2560, [-1, 0, 1]);
