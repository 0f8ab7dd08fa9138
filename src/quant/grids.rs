//! The points that the IQ1, IQ2 and IQ3 types choose from: four or eight weights at a time.
//!
//! `tools/quant/grids.py` writes `grids.bin`: for each point a u16 with two or three bits per
//! weight, the first in the lowest bits.

static POINTS: &[u8; 2 * (256 + 512 + 1024 + 256 + 512 + 2048)] = include_bytes!("grids.bin");

/// `LEN` points of `N` weights, each one of a few values.
pub(crate) struct Points<const N: usize, const VALUES: usize> {
    first: usize,
    len: usize,
    values: [i8; VALUES],
}

/// What a type's indices stand for.
pub(crate) trait Grid<const N: usize> {
    /// The weights of a point; indices wrap.
    fn values(&self, index: usize) -> [i8; N];
}

impl<const N: usize, const VALUES: usize> Grid<N> for Points<N, VALUES> {
    #[inline]
    fn values(&self, index: usize) -> [i8; N] {
        const { assert!(VALUES == 3 || VALUES == 8) }
        let point = self.stored(index);
        let bits = if VALUES == 8 { 3 } else { 2 };
        let mut values = [0; N];
        for (i, value) in values.iter_mut().enumerate() {
            let which = usize::from(point >> (bits * i)) & ((1 << bits) - 1);
            *value = self.values[which % VALUES];
        }
        values
    }
}

impl<const N: usize, const VALUES: usize> Points<N, VALUES> {
    /// A point as it is stored; indices wrap.
    #[inline]
    pub const fn stored(&self, index: usize) -> u16 {
        let at = 2 * (self.first + index % self.len);
        u16::from_le_bytes([POINTS[at], POINTS[at + 1]])
    }
}

pub(crate) const IQ2_XXS: Points<8, 3> = Points {
    first: 0,
    len: 256,
    values: [8, 25, 43],
};
pub(crate) const IQ2_XS: Points<8, 3> = Points {
    first: 256,
    len: 512,
    ..IQ2_XXS
};
pub(crate) const IQ2_S: Points<8, 3> = Points {
    first: 768,
    len: 1024,
    ..IQ2_XXS
};
pub(crate) const IQ3_XXS: Points<4, 8> = Points {
    first: 1792,
    len: 256,
    values: [4, 12, 20, 28, 36, 44, 52, 62],
};
pub(crate) const IQ3_S: Points<4, 8> = Points {
    first: 2048,
    len: 512,
    values: [1, 3, 5, 7, 9, 11, 13, 15],
};
pub(crate) const IQ1: Points<8, 3> = Points {
    first: 2560,
    len: 2048,
    values: [-1, 0, 1],
};
