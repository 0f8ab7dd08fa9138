//! A checksum that is the same on every machine and in every version.

/// Fowler, Noll and Vo's hash, form 1a, of 64 bits. It finds accidents, not forgeries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checksum(pub u64);

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

#[cfg(test)]
mod tests {
    use super::Checksum;

    /// Test vectors of the authors' page (isthe.com/chongo/tech/comp/fnv).
    #[test]
    fn published_values() {
        for (text, expected) in [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            let mut sum = Checksum::START;
            sum.add(text.as_bytes());
            assert_eq!(sum.0, expected, "{text:?}");
        }
    }
}
