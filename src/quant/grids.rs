//! The points that the IQ1, IQ2 and IQ3 types choose from: four or eight weights at a time.
//!
//! `tools/quant/grids.py` writes `grids.bin`: for each point a u16 with two or three bits per
//! weight, the first in the lowest bits.

static POINTS: Aligned<[u8; 2 * (256 + 512 + 1024 + 256 + 512 + 2048)]> =
    Aligned(*include_bytes!("grids.bin"));

/// So that what is read of it together lies in one cache line.
#[repr(C, align(64))]
struct Aligned<T>(T);

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
        let at = 2 * (self.first + index % self.len);
        let point = u16::from_le_bytes([POINTS.0[at], POINTS.0[at + 1]]);
        let bits = if VALUES == 8 { 3 } else { 2 };
        let mut values = [0; N];
        for (i, value) in values.iter_mut().enumerate() {
            let which = usize::from(point >> (bits * i)) & ((1 << bits) - 1);
            *value = self.values[which % VALUES];
        }
        values
    }
}

#[cfg(target_arch = "x86_64")]
impl<const N: usize, const VALUES: usize> Points<N, VALUES> {
    /// The points as they are stored, 32 at a time.
    #[inline]
    pub fn stored(&self) -> &'static [[u8; 64]] {
        &POINTS.0.as_chunks().0[self.first / 32..][..self.len / 32]
    }

    /// A point as it is stored.
    pub const fn point(&self, index: usize) -> u16 {
        let at = 2 * (self.first + index % self.len);
        u16::from_le_bytes([POINTS.0[at], POINTS.0[at + 1]])
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
