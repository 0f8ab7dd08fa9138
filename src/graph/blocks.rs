//! Blocks that several architectures share.

use super::{
    Alibi, Attention, BuildError, Builder, Config, Index, Keys, KvCache, Mask, Net, Pointwise,
    PositionScheme, Role, RowOrder, Value,
};
use rillm_formats::manifest::{Array, Container, MetadataValue};

/// The function that `key` names in transformers' terms, or `default`.
pub fn activation(config: &Config<'_>, key: &str, default: &str) -> Result<Pointwise, BuildError> {
    let found = function_named(config.text(key)?.unwrap_or(default));
    // What is left of transformers' list has parameters of its own.
    found
        .ok_or_else(|| config.invalid(key, "a function without parameters of transformers' ACT2FN"))
}

/// Functions by their names in transformers' `ACT2FN`.
pub fn function_named(name: &str) -> Option<Pointwise> {
    Some(match name {
        "silu" | "swish" => Pointwise::Silu,
        "gelu" | "gelu_python" => Pointwise::GeluErf,
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_fast" | "gelu_accurate" => {
            Pointwise::GeluTanh
        }
        "gelu_10" => Pointwise::ClippedGelu,
        "quick_gelu" => Pointwise::QuickGelu,
        "relu" => Pointwise::Relu,
        "relu2" => Pointwise::SquaredRelu,
        "relu6" => Pointwise::Relu6,
        "leaky_relu" => Pointwise::LeakyRelu,
        "hardswish" => Pointwise::HardSwish,
        "mish" => Pointwise::Mish,
        "laplace" => Pointwise::Laplace,
        "sqrtsoftplus" => Pointwise::RootSoftplus,
        "linear" => Pointwise::Identity,
        "tanh" => Pointwise::Tanh,
        "sigmoid" => Pointwise::Sigmoid,
        _ => return None,
    })
}

/// The row of `token_embd.weight` that each token names.
pub fn embedding(net: &Net<'_, '_>, width: usize) -> Result<Value, BuildError> {
    let vocabulary = net.builder.rows("token_embd.weight")?;
    let tokens = net.builder.matrix("token_embd.weight", vocabulary, width)?;
    Ok(net.embed(tokens, Index::Token))
}

/// How a projection is cut into heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; a divisor of `heads`.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
}

impl Heads {
    /// Reads `attention.head_count` and what goes with it; heads that share no keys, and as
    /// wide as they fit into `width`, unless the files say otherwise.
    pub fn read(config: &Config<'_>, width: usize) -> Result<Heads, BuildError> {
        Heads::read_wide(config, width, None)
    }

    /// The same where a class's heads have a width of their own if `config.json` does not say it.
    pub fn read_wide(
        config: &Config<'_>,
        width: usize,
        usual: Option<usize>,
    ) -> Result<Heads, BuildError> {
        let heads = config.count("attention.head_count")?;
        let kv_heads = config.optional_count("attention.head_count_kv")?;
        let kv_heads = kv_heads.unwrap_or(heads);
        if !heads.is_multiple_of(kv_heads) {
            return Err(config.invalid("attention.head_count_kv", "a divisor of the head count"));
        }
        let key = "attention.key_length";
        let usual =
            usual.filter(|_| config.container == Container::HuggingFace && !config.is_null(key));
        let said = config.optional_count(key)?;
        if let (None, Some(usual)) = (said, usual) {
            config.grant(key, number(usual));
        }
        let head_dim = match said.or(usual) {
            Some(head_dim) => head_dim,
            None if width.is_multiple_of(heads) => width / heads,
            None => return Err(config.invalid("attention.head_count", "a divisor of the width")),
        };
        Ok(Heads {
            heads,
            kv_heads,
            head_dim,
        })
    }

    /// The same where only some layers attend: GGUF lists their heads of keys, and none for the
    /// others.
    pub fn read_some(config: &Config<'_>, width: usize) -> Result<Heads, BuildError> {
        let key = "attention.head_count_kv";
        let Some(MetadataValue::Array(list)) = config.value(key) else {
            return Heads::read(config, width);
        };
        let heads = config.count("attention.head_count")?;
        let listed = (0..list.len()).filter_map(|layer| list.u64(layer));
        let kv_heads = listed.max().and_then(|most| usize::try_from(most).ok());
        let shared = |of: usize, parts: usize| parts > 0 && of.is_multiple_of(parts);
        let head_dim = config.optional_count("attention.key_length")?;
        match kv_heads.filter(|&kv_heads| shared(heads, kv_heads)) {
            Some(kv_heads) if head_dim.is_some() || shared(width, heads) => Ok(Heads {
                heads,
                kv_heads,
                head_dim: head_dim.unwrap_or(width / heads),
            }),
            _ => Err(config.invalid(key, "divisors of the head count, itself one of the width")),
        }
    }

    /// softmax(q kᵀ / √d) v over all rows so far, to be altered where a model differs.
    pub fn causal(self, position: PositionScheme) -> Attention {
        Attention {
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            scale: 1.0 / (self.head_dim as f32).sqrt(),
            softcap: None,
            mask: Mask::Causal { window: None },
            position,
            keys: Keys::Rows,
            sinks: None,
        }
    }
}

/// q, k and v: three projections, or parts of the fused one that converters can make of them.
pub fn projections(
    net: &Net<'_, '_>,
    x: Value,
    layer: &str,
    heads: Heads,
) -> Result<[Value; 3], BuildError> {
    let (q, kv) = (
        heads.heads * heads.head_dim,
        heads.kv_heads * heads.head_dim,
    );
    if net.builder.has(&format!("{layer}.attn_qkv.weight")) {
        return fused_projections(net, x, layer, heads);
    }
    Ok([
        net.linear(x, &format!("{layer}.attn_q"), q)?,
        net.linear(x, &format!("{layer}.attn_k"), kv)?,
        net.linear(x, &format!("{layer}.attn_v"), kv)?,
    ])
}

/// q, k and v: parts of one projection.
pub fn fused_projections(
    net: &Net<'_, '_>,
    x: Value,
    layer: &str,
    heads: Heads,
) -> Result<[Value; 3], BuildError> {
    let (q, kv) = (
        heads.heads * heads.head_dim,
        heads.kv_heads * heads.head_dim,
    );
    let qkv = net.linear(x, &format!("{layer}.attn_qkv"), q + 2 * kv)?;
    Ok([
        net.slice(qkv, 0, q),
        net.slice(qkv, q, kv),
        net.slice(qkv, q + kv, kv),
    ])
}

/// q, k and v of a projection that is fused head by head: for each head of keys its queries, its
/// keys and its values. GGUF's converters put all queries first, then all keys, then all values.
pub fn interleaved_projections(
    net: &Net<'_, '_>,
    x: Value,
    layer: &str,
    heads: Heads,
) -> Result<[Value; 3], BuildError> {
    if net.builder.config().container == Container::Gguf {
        return fused_projections(net, x, layer, heads);
    }
    let (dim, group) = (heads.head_dim, heads.heads / heads.kv_heads);
    let stored = (heads.heads + 2 * heads.kv_heads) * dim;
    let part = |offset: usize, block: usize| -> Result<Value, BuildError> {
        let order = RowOrder::Blocks {
            block,
            stride: (group + 2) * dim,
            offset,
        };
        let (rows, name) = (heads.kv_heads * block, format!("{layer}.attn_qkv"));
        let weight = format!("{name}.weight");
        let weight = net
            .builder
            .matrix_rows(&weight, (stored, net.width(x)), rows, order)?;
        let bias = format!("{name}.bias");
        let bias = net
            .builder
            .optional_vector_rows(&bias, stored, rows, order)?;
        Ok(net.matmul(x, weight, bias))
    };
    Ok([
        part(0, group * dim)?,
        part(group * dim, dim)?,
        part((group + 1) * dim, dim)?,
    ])
}

/// Whether a layer normalises its queries and keys, where no key says so.
pub fn head_norms(model: &Builder<'_>, layer: &str) -> bool {
    let has = |name: &str| model.has(&format!("{layer}.{name}.weight"));
    has("attn_q_norm") || has("attn_k_norm")
}

/// What each head's scores lose per position of distance (Press et al. 2022, section 3): powers
/// of 2^(−max/n) for the first n heads, n being a power of two, and of its square root, every
/// other one, for those beyond.
pub fn alibi(heads: usize, max: f32) -> Alibi {
    let first = 1 << heads.max(1).ilog2();
    let slopes = (0..heads).map(|head| {
        let power = if head < first {
            (head + 1) as f64
        } else {
            (head - first) as f64 + 0.5
        };
        (-f64::from(max) / first as f64 * power).exp2() as f32
    });
    Alibi {
        slopes: slopes.collect(),
        rounded: None,
    }
}

/// Attention to a decoder's own past, kept in a state of its own, then `attn_output`; or, where the
/// decoder was made an encoder, to all of its rows.
pub fn attend(
    net: &Net<'_, '_>,
    [q, k, v]: [Value; 3],
    layer: &str,
    width: usize,
    attention: Attention,
) -> Result<Value, BuildError> {
    let (mask, keys) = if net.role() == Role::Encode {
        (both_ways(attention.mask), Keys::Rows)
    } else {
        let cache = KvCache::new(attention.kv_heads, attention.head_dim);
        (attention.mask, Keys::Cache(net.builder.state(cache)))
    };
    let attention = Attention {
        mask,
        keys,
        ..attention
    };
    let a = net.attention(q, Some((k, v)), attention);
    net.linear(a, &format!("{layer}.attn_output"), width)
}

/// What looks back looks as far ahead.
fn both_ways(mask: Mask) -> Mask {
    let Mask::Causal { window } = mask else {
        return mask;
    };
    window.map_or(Mask::Bidirectional, Mask::within)
}

/// Which layers look through a sliding window, and how wide it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// In positions; without one every layer sees everything.
    pub window: Option<u64>,
    /// Whose turn it is.
    pub pattern: WindowPattern,
}

/// Layers that look through the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowPattern {
    /// All from this one on.
    From(usize),
    /// All but the last of so many.
    AllButEvery(usize),
    /// All but the first of so many.
    AllButFirstOf(usize),
    /// Said for each layer.
    Listed(Vec<bool>),
}

impl Windows {
    /// Reads `attention.sliding_window` (`default` if there is none) and its pattern for
    /// `layers` layers.
    pub fn read(
        config: &Config<'_>,
        layers: usize,
        default: Option<usize>,
        pattern: WindowPattern,
    ) -> Result<Windows, BuildError> {
        let window = Windows::width(config, default)?;
        let key = "attention.sliding_window_pattern";
        let pattern = match config.value(key) {
            None => pattern,
            Some(MetadataValue::Array(list)) => {
                WindowPattern::Listed(listed(list, layers).ok_or_else(|| {
                    config.invalid(key, &format!("an entry for each of {layers} layers"))
                })?)
            }
            Some(_) => match pattern {
                WindowPattern::AllButFirstOf(_) => WindowPattern::AllButFirstOf(config.count(key)?),
                WindowPattern::From(_)
                | WindowPattern::AllButEvery(_)
                | WindowPattern::Listed(_) => WindowPattern::AllButEvery(config.count(key)?),
            },
        };
        Ok(Windows { window, pattern })
    }

    /// Reads `attention.sliding_window`; `default` if there is none, and it is not `null`.
    pub fn width(config: &Config<'_>, default: Option<usize>) -> Result<Option<u64>, BuildError> {
        let key = "attention.sliding_window";
        let window = match (config.value(key), default) {
            (Some(_), _) => config.feature(key)?,
            (None, None) => None,
            (None, Some(usual)) => {
                let usual = if config.is_null(key) { 0 } else { usual };
                config.grant(key, number(usual));
                (usual > 0).then_some(usual)
            }
        };
        Ok(window.map(|window| window as u64))
    }

    /// Refuses a folder's window of no width, which other readers take for every token by itself.
    ///
    /// # Errors
    /// If the width is 0.
    pub fn check_width(config: &Config<'_>) -> Result<(), BuildError> {
        match config.container {
            Container::Gguf => Ok(()),
            Container::HuggingFace => config
                .optional_count("attention.sliding_window")
                .map(|_| ()),
        }
    }

    /// The window of a layer, if it has one.
    pub fn of(&self, layer: usize) -> Option<u64> {
        let slides = match &self.pattern {
            WindowPattern::From(first) => layer >= *first,
            WindowPattern::AllButEvery(period) => !(layer + 1).is_multiple_of(*period),
            WindowPattern::AllButFirstOf(period) => !layer.is_multiple_of(*period),
            WindowPattern::Listed(list) => list[layer],
        };
        self.window.filter(|_| slides)
    }
}

/// GGUF lists truth values, Hugging Face kinds of attention.
#[allow(clippy::wildcard_enum_match_arm)] // every other list is one of numbers
fn listed(list: &Array, layers: usize) -> Option<Vec<bool>> {
    if list.len() != layers {
        return None;
    }
    let kind = |index| match list {
        Array::Bool(slides) => Some(slides[index]),
        Array::String(kinds) => match kinds.get(index)? {
            b"sliding_attention" => Some(true),
            b"full_attention" => Some(false),
            _ => None,
        },
        _ => list.u64(index).map(|slides| slides != 0),
    };
    (0..layers).map(kind).collect()
}

/// Whether the head is the embedding: unless a head is stored, which is used whatever the
/// configuration says of it, as transformers 5 does (one that is the same changes nothing).
pub fn is_tied(model: &Builder<'_>) -> Result<bool, BuildError> {
    let (name, config) = ("output.weight", model.config());
    Ok(match config.tied()?.or(config.ties.then_some(true)) {
        Some(false) => false,
        // Without asking for it: what an index promises and nobody needs is no error.
        Some(true) if config.container == Container::HuggingFace => !model.holds(name),
        _ => !model.has(name),
    })
}

/// Logits: x Wᵀ + b, where W is `output.weight` or, if tied, `token_embd.weight`, and b is
/// `output.bias` if there is one. Normalising x is the caller's.
pub fn head(net: &Net<'_, '_>, x: Value) -> Result<Value, BuildError> {
    head_like(net, x, "token_embd.weight")
}

/// The same of another embedding.
pub fn head_like(net: &Net<'_, '_>, x: Value, embedding: &str) -> Result<Value, BuildError> {
    let model = net.builder;
    let vocabulary = model.rows(embedding)?;
    let name = match is_tied(model)? {
        true => embedding,
        false => "output.weight",
    };
    let weight = model.matrix(name, vocabulary, net.width(x))?;
    let bias = model.optional_vector("output.bias", &[vocabulary])?;
    Ok(net.matmul(x, weight, bias))
}

/// A count as GGUF has it.
fn number(count: usize) -> MetadataValue {
    MetadataValue::U32(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The positive number under `key`, or `default` if there is no key; `null` says there is no cap,
/// or zero in GGUF.
pub fn cap(
    config: &Config<'_>,
    key: &str,
    default: Option<f32>,
) -> Result<Option<f32>, BuildError> {
    if config.value(key).is_none() {
        let cap = default.filter(|_| !config.is_null(key));
        if default.is_some() {
            config.grant(key, MetadataValue::F32(cap.unwrap_or(0.0)));
        }
        return Ok(cap);
    }
    match config.float(key, 0.0)? {
        cap if cap > 0.0 => Ok(Some(cap)),
        0.0 if config.container == Container::Gguf => Ok(None),
        _ => Err(config.invalid(key, "a positive number")),
    }
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

/// The same where one projection, called `ffn_up`, yields gates and then what they let through.
pub fn fused_gated_mlp(
    net: &Net<'_, '_>,
    x: Value,
    layer: &str,
    hidden: usize,
    function: Pointwise,
) -> Result<Value, BuildError> {
    let both = net.linear(x, &format!("{layer}.ffn_up"), 2 * hidden)?;
    let gate = net.apply(net.slice(both, 0, hidden), function);
    let inner = net.mul(gate, net.slice(both, hidden, hidden));
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
