//! Gemma 3n (Gemma Team 2025), the part that reads and writes texts: several streams of which each
//! layer computes with one and predicts the others (Baykal et al. 2023, "Alternating Updates"), an
//! embedding for each layer, and layers that read the keys of earlier ones.

use super::tables::{self, keys, names};
use super::{Architecture, Conversion, DECODER, GgufKeys, Only, gemma3n_shape};
use crate::graph::blocks::{
    Heads, WindowPattern, Windows, activation, cap, embedding, head, soft_cap,
};
use crate::graph::decoder::answer;
use crate::graph::{
    Attention, BuildError, Builder, Config, Index, Keys, KvCache, Mask, Name, Net, Pairing, Piece,
    Pointwise, PositionScheme, Role, Rope, Value, Vector,
};
use rillm_formats::manifest::{Array, Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Gemma 3n (text)",
    gguf: &["gemma3n"],
    hugging_face: &["gemma3n_text"],
    off: tables::BIASES,
    keys: &[
        tables::SIZES,
        tables::ROPE_OF_EACH,
        tables::WINDOWS,
        keys! {
            "hidden_activation" => "hidden_activation",
            "final_logit_softcapping" => "final_logit_softcapping",
            "rope_local_base_freq" => "rope.freq_base_swa",
            "hidden_size_per_layer_input" => "embedding_length_per_layer_input",
            "num_kv_shared_layers" => "attention.shared_kv_layers",
            "altup_active_idx" => "altup.active_idx",
            "altup_num_inputs" => "altup.num_inputs",
            "altup_correct_scale" => "altup.correct_scale",
            "activation_sparsity_pattern" => "activation_sparsity",
        },
    ],
    settled: &[
        // Of training.
        ("altup_coef_clip", Only::Any),
        ("altup_lr_multiplier", Only::Any),
        // The authors' code takes one for it.
        ("query_pre_attn_scalar", Only::Any),
        // Tensors tell.
        ("laurel_rank", Only::Any),
        ("vocab_size_per_layer_input", Only::Any),
    ],
    ties: true,
    names: &[
        tables::ENDS,
        tables::ATTENTION,
        tables::HEAD_NORMS,
        tables::GATED_MLP,
        PER_LAYER,
        names! {
            "model.altup_projections.{e}.weight" => "altup_proj.weight",
            "model.altup_unembed_projections.{e}.weight" => "altup_unembd_proj.weight",
            in "model.layers.{i}." => "blk.{i}." {
                "altup.correction_coefs.weight" => "altup_correct_coef.weight",
                "altup.correct_output_scale" => "altup_correct_scale.weight",
                "altup.prediction_coefs.weight" => "altup_predict_coef.weight",
                "altup.modality_router.weight" => "altup_router.weight",
                "altup.router_norm.weight" => "altup_router_norm.weight",
                "laurel.linear_left.weight" => "laurel_l.weight",
                "laurel.linear_right.weight" => "laurel_r.weight",
                "laurel.post_laurel_norm.weight" => "laurel_post_norm.weight",
            }
        },
    ],
    unused: UNUSED,
    conversion: Conversion {
        keys: gguf_keys,
        ..Conversion::PLAIN
    },
    shapes: gemma3n_shape::SHAPES,
    build,
    ..DECODER
};

/// Layers that read the keys of others may have projections of their own all the same.
pub(super) const UNUSED: &[&str] = &[
    "blk.{i}.attn_k.weight",
    "blk.{i}.attn_v.weight",
    "blk.{i}.attn_k_norm.weight",
];

/// Norms on both sides of sublayers, and what puts an embedding into each layer.
pub(super) const PER_LAYER: &[Name] = names! {
    "model.embed_tokens_per_layer.weight" => "per_layer_token_embd.weight",
    "model.per_layer_model_projection.weight" => "per_layer_model_proj.weight",
    "model.per_layer_projection_norm.weight" => "per_layer_proj_norm.weight",
    in "model.layers.{i}." => "blk.{i}." {
        "input_layernorm.weight" => "attn_norm.weight",
        "post_attention_layernorm.weight" => "post_attention_norm.weight",
        "pre_feedforward_layernorm.weight" => "ffn_norm.weight",
        "post_feedforward_layernorm.weight" => "post_ffw_norm.weight",
        "per_layer_input_gate.weight" => "inp_gate.weight",
        "per_layer_projection.weight" => "proj.weight",
        "post_per_layer_input_norm.weight" => "post_norm.weight",
    }
};

/// Keeps streams of nearly nothing from becoming infinitely long.
const LEAST_MAGNITUDE: f32 = 1e-5;

/// The sizes of a layer, and the functions in it.
struct Gemma3nSizes {
    width: usize,
    hidden: usize,
    layers: usize,
    streams: usize,
    active: usize,
    /// Elements of a layer's own embedding.
    own: usize,
    corrects_scale: bool,
    /// For each layer, above how many deviations gates are open, if they are not all.
    deviations: Vec<Option<f32>>,
    function: Pointwise,
    eps: f32,
}

impl Gemma3nSizes {
    fn read(config: &Config<'_>) -> Result<Gemma3nSizes, BuildError> {
        let layers = config.count("block_count")?;
        let streams = config.optional_count("altup.num_inputs")?.unwrap_or(4);
        let active = config.feature("altup.active_idx")?.unwrap_or(0);
        if active >= streams || streams > 64 {
            return Err(config.invalid("altup.active_idx", "the number of one of up to 64 streams"));
        }
        Ok(Gemma3nSizes {
            width: config.count("embedding_length")?,
            hidden: config.count("feed_forward_length")?,
            layers,
            streams,
            active,
            own: config.count("embedding_length_per_layer_input")?,
            corrects_scale: config.flag("altup.correct_scale", true)?,
            deviations: deviations(config, layers)?,
            function: activation(config, "hidden_activation", "gelu_pytorch_tanh")?,
            eps: config.epsilon("attention.layer_norm_rms_epsilon", 1e-6)?,
        })
    }
}

/// Each layer predicts all streams, computes with one of them, x ← x + RMS(Attention(RMS(x))),
/// x ← (x + LAuReL) / √2, x ← x + RMS(FFN(RMS(x))), and corrects all by what it found.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let sizes = Gemma3nSizes::read(config)?;
    let (width, layers) = (sizes.width, sizes.layers);
    let heads = Heads::read_wide(config, width, Some(256))?;
    let [rope, local] = Rope::read_both(model, Pairing::Halves, heads.head_dim, [1e6, 1e4])?;
    let pattern = WindowPattern::AllButEvery(5);
    let windows = Windows::read(config, layers, Some(512), pattern)?;
    let of_logits = cap(config, "final_logit_softcapping", Some(30.0))?;
    let mut shared = SharedKeys::read(config, layers, 15)?;
    model.context(config.count("context_length")?);

    let net = model.graph(Role::Decode);
    let x = net.scale(embedding(&net, width)?, (width as f32).sqrt());
    let own = own_embeddings(&net, x, (layers, sizes.own), sizes.eps)?;
    let mut x = streams(&net, x, sizes.streams)?;
    for i in 0..layers {
        let layer = format!("blk.{i}");
        let norm = |x, name: &str| net.rms_norm(x, &format!("{layer}.{name}"), sizes.eps);
        let predicted = predict(&net, &x, &layer, &sizes)?;
        let active = predicted[sizes.active];
        let h = norm(active, "attn_norm")?;
        let laurel = laurel(&net, h, &layer, &sizes)?;
        let window = windows.of(i);
        let rope = if window.is_some() { &local } else { &rope };
        let attention = Attention {
            scale: 1.0,
            mask: Mask::Causal { window },
            ..heads.causal(PositionScheme::Rope(rope.clone()))
        };
        let kind = (i, usize::from(window.is_some()));
        let a = shared.attend(
            &net,
            h,
            &layer,
            kind,
            (attention, sizes.eps, ValuesFrom::Apart),
        )?;
        let a = net.add(active, norm(a, "post_attention_norm")?);
        let a = net.scale(net.add(a, laurel), 0.5f32.sqrt());
        let f = sparse_mlp(&net, norm(a, "ffn_norm")?, &layer, (&sizes, i))?;
        let y = net.add(a, norm(f, "post_ffw_norm")?);
        x = correct(&net, &predicted, y, &layer, &sizes)?;
        let mut first = x[sizes.active];
        if sizes.corrects_scale {
            let name = format!("{layer}.altup_correct_scale.weight");
            first = net.weigh(first, model.vector(&name, &[width])?);
        }
        let own = net.slice(own, i * sizes.own, sizes.own);
        let more = with_own_embedding(&net, first, own, &layer, (sizes.function, sizes.eps))?;
        for stream in &mut x[1..] {
            *stream = net.add(*stream, more);
        }
    }
    let x = net.rms_norm(merged(&net, &x)?, "output_norm", sizes.eps)?;
    answer(&net, x, |x| Ok(soft_cap(&net, head(&net, x)?, of_logits)))?;
    net.finish();
    Ok(())
}

/// The first stream is the embedding, the others are projections of it that are as long.
fn streams(net: &Net<'_, '_>, x: Value, count: usize) -> Result<Vec<Value>, BuildError> {
    let width = net.width(x);
    let mut all = vec![x];
    for index in 0..count - 1 {
        let shape = [count - 1, width, width];
        let weight = net.builder.matrix_of("altup_proj.weight", shape, index)?;
        let stream = net.matmul(x, weight, None);
        all.push(net.match_magnitude(stream, x, LEAST_MAGNITUDE));
    }
    Ok(all)
}

/// The mean of the first stream and of projections of the others that are as long.
fn merged(net: &Net<'_, '_>, streams: &[Value]) -> Result<Value, BuildError> {
    let count = streams.len();
    let first = net.selected(streams[0]);
    let width = net.width(first);
    let mut sum = first;
    for (index, stream) in streams[1..].iter().enumerate() {
        let shape = [count - 1, width, width];
        let weight = net
            .builder
            .matrix_of("altup_unembd_proj.weight", shape, index)?;
        let stream = net.matmul(net.selected(*stream), weight, None);
        sum = net.add(sum, net.match_magnitude(stream, first, LEAST_MAGNITUDE));
    }
    Ok(net.scale(sum, 1.0 / count as f32))
}

/// tanh(R(RMS(x) / d)): a number for each stream.
fn modalities(
    net: &Net<'_, '_>,
    x: Value,
    layer: &str,
    sizes: &Gemma3nSizes,
) -> Result<Value, BuildError> {
    let h = net.rms_norm(x, &format!("{layer}.altup_router_norm"), sizes.eps)?;
    let h = net.scale(h, 1.0 / sizes.width as f32);
    let routed = net.linear(h, &format!("{layer}.altup_router"), sizes.streams)?;
    Ok(net.apply(routed, Pointwise::Tanh))
}

/// Each stream, and a share of every one.
fn predict(
    net: &Net<'_, '_>,
    x: &[Value],
    layer: &str,
    sizes: &Gemma3nSizes,
) -> Result<Vec<Value>, BuildError> {
    let count = sizes.streams;
    let m = modalities(net, x[sizes.active], layer, sizes)?;
    let shares = net.linear(m, &format!("{layer}.altup_predict_coef"), count * count)?;
    let predicted = (0..count).map(|i| {
        (0..count).fold(x[i], |sum, j| {
            let share = net.slice(shares, i * count + j, 1);
            net.add(sum, net.scale_heads(x[j], share))
        })
    });
    Ok(predicted.collect())
}

/// Each predicted stream, and its share of what the one that was computed with is off by.
fn correct(
    net: &Net<'_, '_>,
    predicted: &[Value],
    y: Value,
    layer: &str,
    sizes: &Gemma3nSizes,
) -> Result<Vec<Value>, BuildError> {
    let (model, count) = (net.builder, sizes.streams);
    let m = modalities(net, y, layer, sizes)?;
    let weight = model.matrix(&format!("{layer}.altup_correct_coef.weight"), count, count)?;
    let ones: Vector = model.constant((0..count).map(|_| 1.0));
    let shares = net.matmul(m, weight, Some(ones));
    let innovation = net.add(y, net.scale(predicted[sizes.active], -1.0));
    let corrected = predicted.iter().enumerate().map(|(i, stream)| {
        let share = net.slice(shares, i, 1);
        net.add(*stream, net.scale_heads(innovation, share))
    });
    Ok(corrected.collect())
}

/// h + RMS(R L h): a residual that is learned (Menghani et al. 2024).
fn laurel(
    net: &Net<'_, '_>,
    h: Value,
    layer: &str,
    sizes: &Gemma3nSizes,
) -> Result<Value, BuildError> {
    let left = format!("{layer}.laurel_l");
    let rank = net.builder.rows(&format!("{left}.weight"))?;
    let low = net.linear(h, &left, rank)?;
    let y = net.linear(low, &format!("{layer}.laurel_r"), sizes.width)?;
    let y = net.rms_norm(y, &format!("{layer}.laurel_post_norm"), sizes.eps)?;
    Ok(net.add(h, y))
}

/// down(f(gate x) ⊙ up x), of whose gates some layers open only those far above the others.
fn sparse_mlp(
    net: &Net<'_, '_>,
    x: Value,
    layer: &str,
    (sizes, index): (&Gemma3nSizes, usize),
) -> Result<Value, BuildError> {
    let mut gate = net.linear(x, &format!("{layer}.ffn_gate"), sizes.hidden)?;
    if let Some(deviations) = sizes.deviations[index] {
        gate = net.above_deviations(gate, deviations);
    }
    let up = net.linear(x, &format!("{layer}.ffn_up"), sizes.hidden)?;
    let inner = net.mul(net.apply(gate, sizes.function), up);
    net.linear(inner, &format!("{layer}.ffn_down"), sizes.width)
}

/// For each of so many layers a row of so many elements: of the token, and of its embedding.
pub(super) fn own_embeddings(
    net: &Net<'_, '_>,
    x: Value,
    (layers, own): (usize, usize),
    eps: f32,
) -> Result<Value, BuildError> {
    let (model, all) = (net.builder, layers.saturating_mul(own));
    let table = "per_layer_token_embd.weight";
    let table = model.matrix(table, model.rows(table)?, all)?;
    let token = net.scale(net.embed(table, Index::TokenOrFirst), (own as f32).sqrt());
    let projected = net.linear(x, "per_layer_model_proj", all)?;
    let projected = net.scale(projected, 1.0 / (net.width(x) as f32).sqrt());
    let projected = net.rms_norm_by(projected, "per_layer_proj_norm", own, eps)?;
    Ok(net.scale(net.add(projected, token), 0.5f32.sqrt()))
}

/// RMS(P(f(G x) ⊙ own)).
pub(super) fn with_own_embedding(
    net: &Net<'_, '_>,
    x: Value,
    own: Value,
    layer: &str,
    (function, eps): (Pointwise, f32),
) -> Result<Value, BuildError> {
    let gate = net.linear(x, &format!("{layer}.inp_gate"), net.width(own))?;
    let gated = net.mul(net.apply(gate, function), own);
    let y = net.linear(gated, &format!("{layer}.proj"), net.width(x))?;
    net.rms_norm(y, &format!("{layer}.post_norm"), eps)
}

/// Where values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValuesFrom {
    /// A projection of their own.
    Apart,
    /// That of keys.
    OfKeys,
}

/// The last layers have no keys: they read those of the last one before them of their kind.
pub(super) struct SharedKeys {
    pub first: usize,
    /// By kind: layers that see everything, and those with a window.
    last: [Option<Piece<KvCache>>; 2],
}

impl SharedKeys {
    pub(super) fn read(
        config: &Config<'_>,
        layers: usize,
        usual: usize,
    ) -> Result<SharedKeys, BuildError> {
        let key = "attention.shared_kv_layers";
        let shared = match config.value(key) {
            Some(_) => config.feature(key)?.unwrap_or(0),
            None if config.container == Container::Gguf => 0,
            None => usual,
        };
        match layers.checked_sub(shared) {
            Some(first) => Ok(SharedKeys {
                first,
                last: [None; 2],
            }),
            None => Err(config.invalid(key, "at most the number of layers")),
        }
    }

    /// Attention of layer number `index`, of this kind, with norms of queries, keys and values.
    pub(super) fn attend(
        &mut self,
        net: &Net<'_, '_>,
        h: Value,
        layer: &str,
        (index, kind): (usize, usize),
        (attention, eps, values): (Attention, f32, ValuesFrom),
    ) -> Result<Value, BuildError> {
        let (model, width, dim) = (net.builder, net.width(h), attention.head_dim);
        let name = |part: &str| format!("{layer}.{part}");
        let q = net.linear(h, &name("attn_q"), attention.heads.saturating_mul(dim))?;
        let q = net.rms_norm_by(q, &name("attn_q_norm"), dim, eps)?;
        let kv_width = attention.kv_heads.saturating_mul(dim);
        let kv = match index < self.first {
            false => None,
            true => {
                let k = net.linear(h, &name("attn_k"), kv_width)?;
                let v = match values {
                    ValuesFrom::Apart => net.linear(h, &name("attn_v"), kv_width)?,
                    ValuesFrom::OfKeys => k,
                };
                let k = net.rms_norm_by(k, &name("attn_k_norm"), dim, eps)?;
                Some((k, net.rms_norm_plain(v, dim, eps)))
            }
        };
        let cache = KvCache::new(attention.kv_heads, dim);
        if kv.is_some() {
            self.last[kind] = Some(model.state(cache));
        }
        let keys = self.last[kind].filter(|piece| piece.kind() == cache);
        let Some(keys) = keys.map(Keys::Cache) else {
            let expected = "fewer: no layer before has keys for all kinds";
            let key = "attention.shared_kv_layers";
            return Err(model.config().invalid(key, expected));
        };
        let a = net.attention(q, kv, Attention { keys, ..attention });
        net.linear(a, &name("attn_output"), width)
    }
}

/// Above how many deviations gates are open: GGUF says it, a folder what part of them is closed.
fn deviations(config: &Config<'_>, layers: usize) -> Result<Vec<Option<f32>>, BuildError> {
    let (key, gguf) = match config.container {
        Container::Gguf => ("activation_sparsity_scale", true),
        Container::HuggingFace => ("activation_sparsity", false),
    };
    let of = |part: f64| match gguf {
        true => part.is_finite().then_some(part as f32),
        false => (part > 0.0).then(|| normal_quantile(part) as f32),
    };
    let known = |part: &f64| !part.is_nan() && (gguf || (0.0..1.0).contains(part));
    let expected = format!("a number for each of {layers} layers");
    match config.value(key) {
        // The first ten of the released sizes.
        None if layers > 10 && !gguf => Ok((0..layers)
            .map(|i| (i < 10).then(|| of(0.95)).flatten())
            .collect()),
        None => Ok(vec![None; layers]),
        Some(MetadataValue::Array(list)) if list.len() == layers => {
            let parts = (0..layers).map(|i| list.f64(i).filter(known).map(of));
            let parts: Option<Vec<_>> = parts.collect();
            parts.ok_or_else(|| config.invalid(key, &expected))
        }
        Some(_) => Err(config.invalid(key, &expected)),
    }
}

/// x such that a normal distribution has this part below it, by halving.
fn normal_quantile(part: f64) -> f64 {
    // ½ + φ(x) (x + x³/3 + x⁵/(3·5) + …)
    let below = |x: f64| {
        let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let terms = (1..200).scan(x, |term, n| {
            *term *= x * x / f64::from(2 * n + 1);
            Some(*term)
        });
        0.5 + density * (x + terms.sum::<f64>())
    };
    let (mut low, mut high) = (-6.0, 6.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        match below(middle) < part {
            true => low = middle,
            false => high = middle,
        }
    }
    low
}

fn gguf_keys(keys: &mut GgufKeys<'_>) {
    let layers = keys.count("block_count").unwrap_or(0).min(1 << 16);
    let listed = match keys.values.0.remove("activation_sparsity") {
        Some(MetadataValue::Array(list)) => (0..list.len()).map(|i| list.f64(i)).collect(),
        _ => (0..layers)
            .map(|i| (layers > 10 && i < 10).then_some(0.95))
            .collect::<Vec<_>>(),
    };
    let scale = listed.into_iter().map(|part| match part {
        Some(part) if part > 0.0 => normal_quantile(part) as f32,
        _ => f32::NEG_INFINITY,
    });
    let scale = MetadataValue::Array(Array::F32(scale.collect()));
    keys.put("activation_sparsity_scale", scale);
    keys.put_usual("altup.num_inputs", MetadataValue::U32(4));
    keys.put_usual("altup.active_idx", MetadataValue::U32(0));
    keys.put_usual("attention.shared_kv_layers", MetadataValue::U32(15));
    one_hidden_width(keys);
}

/// The width of feed-forward layers, if a list says the same of each.
fn one_hidden_width(keys: &mut GgufKeys<'_>) {
    let key = "feed_forward_length";
    if let Some(MetadataValue::Array(list)) = keys.values.value(key)
        && let Some(hidden) = list.u64(0)
    {
        keys.put(key, MetadataValue::U32(hidden as u32));
    }
}
