//! Steps of recurrent layers.

use super::vector::{axpy, dot};
use crate::kernels::{Conv1d, LinearAttend, Scan};

pub(super) fn conv1d(call: Conv1d<'_>) {
    let Some(history) = call.width.checked_sub(1) else {
        return;
    };
    let weights = call.weight.chunks_exact(call.width);
    for (channel, ((out, &input), weight)) in
        call.out.iter_mut().zip(call.input).zip(weights).enumerate()
    {
        let Some(state) = call
            .state
            .get_mut(channel * history..(channel + 1) * history)
        else {
            return;
        };
        let bias = call.bias.and_then(|bias| bias.get(channel));
        let mut sum = bias.copied().unwrap_or(0.0);
        for (weight, value) in weight.iter().zip(state.iter().chain([&input])) {
            sum += weight * value;
        }
        *out = sum;
        if let Some(last) = history.checked_sub(1) {
            state.copy_within(1.., 0);
            state[last] = input;
        }
    }
}

pub(super) fn scan(call: Scan<'_>) {
    let states = call.b.len().max(1);
    let rows = call
        .state
        .chunks_exact_mut(states)
        .zip(call.a.chunks_exact(states));
    let inputs = call.dt.iter().zip(call.x).zip(call.d);
    for ((out, (h, a)), ((&dt, &x), &d)) in call.out.iter_mut().zip(rows).zip(inputs) {
        let mut sum = 0.0;
        let step = dt * x;
        for ((h, a), (b, c)) in h.iter_mut().zip(a).zip(call.b.iter().zip(call.c)) {
            *h = (dt * a).exp() * *h + step * b;
            sum += *h * c;
        }
        *out = sum + d * x;
    }
}

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
