//! Weights out of a seed and a name: the arithmetic that `tools/fixtures/README.md` defines, in
//! step with `tools/fixtures/generator.py` bit for bit.

/// FNV-1a, 64 bits, of the UTF-8 bytes.
pub fn fnv1a64(text: &str) -> u64 {
    fnv1a64_of(text.bytes())
}

/// FNV-1a, 64 bits.
pub fn fnv1a64_of(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xCBF2_9CE4_8422_2325, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// The stream of splitmix64 from the state `seed ^ fnv1a64(name)`.
pub fn stream(seed: u64, name: &str) -> impl Iterator<Item = u64> {
    let mut state = seed ^ fnv1a64(name);
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    })
}

/// `count` values, uniform on [shift − scale, shift + scale): row-major elements of a tensor.
pub fn tensor(seed: u64, name: &str, count: usize, scale: f32, shift: f32) -> Vec<f32> {
    const UNIT: f32 = 1.0 / 8_388_608.0; // 2^-23
    stream(seed, name)
        .take(count)
        .map(|z| {
            // 24 bits fit a float exactly, and so do the next two results.
            let unit = (z >> 40) as f32 * UNIT - 1.0;
            // Two roundings, as two operations: never fused.
            let scaled = unit * scale;
            scaled + shift
        })
        .collect()
}
