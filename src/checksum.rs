//! A checksum that is the same on every machine and in every version.

/// Fowler, Noll and Vo's hash, form 1a, of 64 bits. It finds accidents, not forgeries.
#[derive(Clone, Copy, Debug)]
pub struct Checksum(pub u64);

impl Checksum {
    /// Of nothing yet.
    pub const START: Checksum = Checksum(0xcbf2_9ce4_8422_2325);

    /// Takes in more bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
