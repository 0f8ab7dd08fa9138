//! Normalisation of a row. Statistics are gathered in double precision: rows are thousands of
//! elements long and some hold outliers a thousand times the rest.

pub(super) fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let squares: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let inverse = inverse_root(squares / x.len() as f64, epsilon);
    for (out, (x, weight)) in out.iter_mut().zip(x.iter().zip(weight)) {
        *out = x * inverse * weight;
    }
}

pub(super) fn layer_norm(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    epsilon: f32,
    out: &mut [f32],
) {
    let len = x.len() as f64;
    let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / len;
    let squares: f64 = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum();
    let inverse = inverse_root(squares / len, epsilon);
    for (out, (&x, weight)) in out.iter_mut().zip(x.iter().zip(weight)) {
        // The subtraction is where a large mean would cancel: it stays in double precision.
        *out = (f64::from(x) - mean) as f32 * inverse * weight;
    }
    if let Some(bias) = bias {
        for (out, bias) in out.iter_mut().zip(bias) {
            *out += bias;
        }
    }
}

fn inverse_root(mean_square: f64, epsilon: f32) -> f32 {
    (1.0 / (mean_square + f64::from(epsilon)).sqrt()) as f32
}

pub(super) fn softmax(x: &mut [f32]) {
    let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if largest == f32::NEG_INFINITY && !x.iter().any(|x| x.is_nan()) {
        // Nothing to attend to: −∞ − (−∞) would make every element NaN.
        x.fill(0.0);
        return;
    }
    let mut sum = 0.0;
    for x in x.iter_mut() {
        *x = (*x - largest).exp();
        sum += f64::from(*x);
    }
    let inverse = (1.0 / sum) as f32;
    for x in x {
        *x *= inverse;
    }
}
