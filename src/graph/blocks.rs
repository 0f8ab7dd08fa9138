//! Blocks that several architectures share.

use super::{BuildError, Net, Pointwise, Value};

/// down(f(gate x) ⊙ up x), the gated feed-forward layer (Shazeer 2020).
pub fn gated_mlp(
    net: &Net<'_, '_>,
    x: Value,
    layer: &str,
    hidden: usize,
    function: Pointwise,
) -> Result<Value, BuildError> {
    let gate = net.linear(x, &format!("{layer}.ffn_gate"), hidden)?;
    let up = net.linear(x, &format!("{layer}.ffn_up"), hidden)?;
    let inner = net.mul(net.apply(gate, function), up);
    net.linear(inner, &format!("{layer}.ffn_down"), net.width(x))
}

/// down(f(up x)), the plain feed-forward layer.
pub fn mlp(
    net: &Net<'_, '_>,
    x: Value,
    layer: &str,
    hidden: usize,
    function: Pointwise,
) -> Result<Value, BuildError> {
    let up = net.linear(x, &format!("{layer}.ffn_up"), hidden)?;
    net.linear(
        net.apply(up, function),
        &format!("{layer}.ffn_down"),
        net.width(x),
    )
}

/// A mixture of gated feed-forward experts: the `used` best of softmax(router x), their
/// weights renormalised (Jiang et al. 2024, equation 4).
pub fn gated_experts(
    net: &Net<'_, '_>,
    x: Value,
    layer: &str,
    hidden: usize,
    (experts, used): (usize, usize),
) -> Result<Value, BuildError> {
    let width = net.width(x);
    let stack = |part: &str, rows, columns| {
        net.builder.experts(
            &format!("{layer}.ffn_{part}_exps.weight"),
            experts,
            rows,
            columns,
        )
    };
    let route = net.route(
        net.linear(x, &format!("{layer}.ffn_gate_inp"), experts)?,
        used,
    );
    let gate = net.expert_matmul(x, route, stack("gate", hidden, width)?);
    let up = net.expert_matmul(x, route, stack("up", hidden, width)?);
    let inner = net.mul(net.apply(gate, Pointwise::Silu), up);
    let down = net.expert_matmul(inner, route, stack("down", width, hidden)?);
    Ok(net.expert_sum(down, route))
}
