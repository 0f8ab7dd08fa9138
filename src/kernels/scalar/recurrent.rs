//! Steps of recurrent layers.

use super::vector::{axpy, dot};
use crate::kernels::LinearAttend;

pub(super) fn linear_attend(call: LinearAttend<'_>) {
    axpy(1.0, call.key, call.normalizer);
    let divisor = dot(call.query, call.normalizer) + call.epsilon;
    call.out.fill(0.0);
    let rows = call.state.chunks_exact_mut(call.value.len().max(1));
    for (row, (&query, &key)) in rows.zip(call.query.iter().zip(call.key)) {
        axpy(key, call.value, row);
        axpy(query, row, call.out);
    }
    for out in call.out {
        *out /= divisor;
    }
}
