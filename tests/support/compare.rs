//! How far floats are from the reference's.

/// The largest error against the reference, over the RMS of the reference's values.
///
/// The references' own float32 noise, measured against themselves in float64 for every fixture
/// (`tools/fixtures/check.py` refuses more than 3e-5), is 1e-6 to 1.3e-5: the roundings of some
/// thousand products in another order. Two such computations differ by up to twice that; 1e-4
/// leaves a factor of about four for deeper layers, longer rows and faster `exp`. What a wrong
/// formula changes is 1e-3 and more: the same script zeroes every tensor and alters settings to
/// see it.
pub const REFERENCE_TOLERANCE: f64 = 1e-4;

/// Below it a reference hides a score, by taking a million off: such scores are no part of the scale, and
/// have one of their own.
const HIDDEN: f32 = -1e5;

/// Largest absolute error over the RMS of `expected`, at the positions that `mask` keeps.
///
/// Both slices hold the same number of floats for each of the mask's positions. Values at other
/// positions are unspecified but must be finite: an actual value that is not, anywhere, makes
/// the result infinite.
pub fn compare(actual: &[f32], expected: &[f32], mask: Option<&[bool]>) -> f64 {
    assert_eq!(
        actual.len(),
        expected.len(),
        "number of values, found and expected"
    );
    assert!(!expected.is_empty(), "nothing to compare");
    if actual.iter().any(|value| !value.is_finite()) {
        return f64::INFINITY;
    }
    let everything = [true];
    let mask = mask.unwrap_or(&everything);
    assert_eq!(
        expected.len() % mask.len(),
        0,
        "{} values for {} positions",
        expected.len(),
        mask.len()
    );
    let width = expected.len() / mask.len();
    let rows = actual.chunks_exact(width).zip(expected.chunks_exact(width));
    let (mut worst, mut squares, mut count) = (0.0f64, 0.0f64, 0usize);
    let mut hidden = 0.0f64;
    for ((actual, expected), _) in rows.zip(mask).filter(|(_, keep)| **keep) {
        for (&a, &e) in actual.iter().zip(expected) {
            let error = (f64::from(a) - f64::from(e)).abs();
            if e < HIDDEN {
                hidden = hidden.max(error / f64::from(e.abs()));
                continue;
            }
            worst = worst.max(error);
            squares += f64::from(e) * f64::from(e);
            count += 1;
        }
    }
    assert!(count > 0, "the mask hides every position");
    let rms = (squares / count as f64).sqrt();
    assert!(rms > 0.0, "the expected values are all zero");
    hidden.max(worst / rms)
}
