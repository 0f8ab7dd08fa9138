//! Sums that never decay.

use rillm::internals::exec::{ADDED, Held, grow};

/// Rows, beyond which a plain sum of these keys no longer takes in another.
const ROWS: usize = 1 << 25;

/// Sums that never decay, over more rows than a float can count, against floats of 64 bits.
#[test]
fn what_never_decays_does_not_drift() {
    let mut parts = [[0.0f32; 1]; 4];
    let [state, whole, z, rest] = &mut parts;
    let mut held = Held {
        state: &mut state[..],
        whole: &mut whole[..],
        z: &mut z[..],
        rest: &mut rest[..],
    };
    let (mut keys, mut products, mut plain) = (0f64, 0f64, 0f32);
    let mut seed = 1u64;
    for number in 0..ROWS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // Positive as what elu + 1 gives, and values that are not zero on average.
        let key = 0.4375 * ((seed >> 40) as f32 / (1 << 23) as f32);
        let value = 0.6 - key / 4.0;
        held.fold(number);
        held.state[0] += key * value;
        grow((&[key][..], 1.0), &ADDED, &mut held);
        keys += f64::from(key);
        products += f64::from(key * value);
        plain += key;
    }
    let off = |sum: f64, exact: f64| ((sum - exact) / exact).abs();
    assert!(off(f64::from(held.z[0]), keys) < 1e-7, "z");
    let sum = f64::from(held.whole[0]) + f64::from(held.state[0]);
    assert!(off(sum, products) < 1e-7, "S: {}", off(sum, products));
    // Which is what the second parts are for.
    assert!(
        off(f64::from(plain), keys) > 1e-4,
        "{}",
        off(f64::from(plain), keys)
    );
}
