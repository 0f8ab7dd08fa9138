//! Quants of less than a byte: out of their bytes, and back into them.

#![allow(clippy::needless_range_loop)] // indices say best where in a block something stands

/// Low nibbles of sixteen bytes, then their high ones.
#[inline(always)]
pub(super) fn nibbles(bytes: &[u8; 16]) -> [u8; 32] {
    let mut quants = [0; 32];
    for i in 0..16 {
        quants[i] = bytes[i] & 15;
        quants[i + 16] = bytes[i] >> 4;
    }
    quants
}

/// The inverse of [`nibbles`].
pub(super) fn pack_nibbles(quants: &[u8; 32]) -> [u8; 16] {
    core::array::from_fn(|i| (quants[i] & 15) | (quants[i + 16] << 4))
}

/// Two bits each: byte i of each half of the block holds quants i, i + 32, i + 64 and i + 96.
#[inline(always)]
pub(super) fn two_bits(bytes: &[u8; 64], quants: &mut [i8; 256]) {
    for half in 0..2 {
        for quarter in 0..4 {
            for i in 0..32 {
                let quant = (bytes[32 * half + i] >> (2 * quarter)) & 3;
                quants[128 * half + 32 * quarter + i] = quant.cast_signed();
            }
        }
    }
}

/// The inverse of [`two_bits`].
pub(super) fn pack_two_bits(quants: &[u8; 256]) -> [u8; 64] {
    core::array::from_fn(|i| {
        let first = i / 32 * 128 + i % 32;
        (0..4).fold(0, |byte, part| {
            byte | (quants[first + 32 * part] & 3) << (2 * part)
        })
    })
}

/// The table's value of each quant.
#[inline(always)]
pub(super) fn looked_up(quants: [u8; 32], values: &[i8; 16]) -> [i8; 32] {
    let mut found = [0; 32];
    for i in 0..32 {
        found[i] = values[usize::from(quants[i] & 15)];
    }
    found
}
