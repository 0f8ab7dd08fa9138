//! FNV-1a.

use rillm::internals::checksum::Checksum;

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
