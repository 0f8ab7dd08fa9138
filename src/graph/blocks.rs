//! Blocks that several architectures share.

use super::{BuildError, Builder, Net, Pointwise, Value};
use rillm_formats::manifest::Container;

/// Whether a class's head is its embedding where `config.json` does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tied {
    /// Yes: a head that is stored nevertheless is left alone, as the reference leaves it.
    ByDefault,
    /// No, unless none is stored.
    OnRequest,
}

/// Whether the head is the embedding. GGUF stores a head if and only if it is another matrix;
/// in a Hugging Face folder the configuration decides, whatever is stored.
pub fn is_tied(model: &Builder<'_>, default: Tied) -> Result<bool, BuildError> {
    let stored = model.has("output.weight");
    Ok(match (model.hyper().container, model.hyper().tied()?) {
        (Container::Gguf, _) => !stored,
        (Container::HuggingFace, Some(tied)) => tied,
        (Container::HuggingFace, None) => default == Tied::ByDefault || !stored,
    })
}

/// Logits: x Wᵀ + b, where W is `output.weight` or, if tied, `token_embd.weight`, and b is
/// `output.bias` if there is one. Normalising x is the caller's.
pub fn head(net: &Net<'_, '_>, x: Value, default: Tied) -> Result<Value, BuildError> {
    let model = net.builder;
    let vocabulary = model.rows("token_embd.weight")?;
    let name = if is_tied(model, default)? {
        "token_embd.weight"
    } else {
        "output.weight"
    };
    let weight = model.matrix(name, vocabulary, net.width(x))?;
    let bias = model.optional_vector("output.bias", &[vocabulary])?;
    Ok(net.matmul(x, weight, bias))
}

/// c · tanh(x / c), which keeps values within ±c (Gemma Team 2024, section 2); x itself without
/// a cap.
pub fn soft_cap(net: &Net<'_, '_>, x: Value, cap: Option<f32>) -> Value {
    match cap {
        Some(cap) => net.scale(net.apply(net.scale(x, 1.0 / cap), Pointwise::Tanh), cap),
        None => x,
    }
}

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
