//! T5 (Raffel et al. 2020), its version 1.1, Flan-T5, UL2 (Tay et al. 2022) and MADLAD (Kudugunta et
//! al. 2023): an encoder, and a decoder that attends to it. mT5 (Xue et al. 2021) and UMT5 (Chung et
//! al. 2023), which has a table of position biases in every layer.

use super::beginnings::{BEGINNINGS, begins_and_ends, single_tokens};
use super::encoder_decoder::{attend_source, project_source, self_attention};
use super::known_shape::ENDLESS;
use super::switch::SwitchExperts;
use super::t5_heads::{emit, emit_encoded};
use super::tables::{keys, names};
use super::{Architecture, Conversion, DECODER, Family, GgufKeys, Only};
use crate::graph::blocks::{Heads, activation, function_named, gated_mlp, is_tied, mlp};
use crate::graph::{
    Attention, Buckets, BuildError, Builder, Config, CrossCache, Index, Key, Keys, KvCache, Mask,
    Name, Net, Piece, Pointwise, PositionScheme, Role, Summaries, Value,
};
use rillm_formats::manifest::{Container, MetadataValue};

pub(super) const T5: Architecture = Architecture {
    title: "T5, Flan-T5, UL2, MADLAD",
    gguf: &["t5", "t5encoder"],
    hugging_face: &["t5"],
    family: Family::EncoderDecoder,
    keys: &[KEYS, BEGINNINGS],
    ties: true,
    names: &[NAMES],
    unused: &["dec.blk.{i}.cross_attn_rel_b.weight"],
    // Cross-attention has no positions.
    unused_in_checkpoints: &[
        "decoder.block.{i}.layer.1.EncDecAttention.relative_attention_bias.weight",
    ],
    conversion: Conversion {
        keys: |keys| {
            // Where it does not say so, the head is the embedding.
            let tied = keys.config.bool("tie_word_embeddings").unwrap_or(true);
            in_gguf(keys, tied);
        },
        ..Conversion::PLAIN
    },
    build: |model| build(model, Variant::T5),
    ..DECODER
};

/// What all of them are configured by.
pub(super) const KEYS: &[Key] = keys! {
    "d_model" => "embedding_length",
    "hidden_size" => "embedding_length",
    "num_layers" => "block_count",
    "num_hidden_layers" => "block_count",
    "num_decoder_layers" => "decoder_block_count",
    "d_ff" => "feed_forward_length",
    "feed_forward_proj" => "feed_forward_proj",
    "dense_act_fn" => "dense_act_fn",
    "is_gated_act" => "is_gated_act",
    "n_positions" => "context_length",
    "num_heads" => "attention.head_count",
    "num_attention_heads" => "attention.head_count",
    "d_kv" => "attention.key_length",
    "head_dim" => "attention.key_length",
    "relative_attention_num_buckets" => "attention.relative_buckets_count",
    "relative_attention_max_distance" => "attention.relative_max_distance",
    "layer_norm_epsilon" => "attention.layer_norm_rms_epsilon",
    "scale_decoder_outputs" => "scale_decoder_outputs",
    "is_decoder" => "is_decoder",
    "eos_token_id" => "eos_token_id",
};

pub(super) const NAMES: &[Name] = names! {
    "shared.weight" => "token_embd.weight",
    "encoder.embed_tokens.weight" => "enc.token_embd.weight",
    "decoder.embed_tokens.weight" => "dec.token_embd.weight",
    "lm_head.weight" => "output.weight",
    "encoder.final_layer_norm.weight" => "enc.output_norm.weight",
    "decoder.final_layer_norm.weight" => "dec.output_norm.weight",
    in "encoder.block.{i}." => "enc.blk.{i}." {
        "layer.0.layer_norm.weight" => "attn_norm.weight",
        "layer.0.SelfAttention.q.weight" => "attn_q.weight",
        "layer.0.SelfAttention.k.weight" => "attn_k.weight",
        "layer.0.SelfAttention.v.weight" => "attn_v.weight",
        "layer.0.SelfAttention.o.weight" => "attn_o.weight",
        "layer.0.SelfAttention.relative_attention_bias.weight" => "attn_rel_b.weight",
        "layer.1.layer_norm.weight" => "ffn_norm.weight",
        "layer.1.DenseReluDense.wi.weight" => "ffn_up.weight",
        "layer.1.DenseReluDense.wi_0.weight" => "ffn_gate.weight",
        "layer.1.DenseReluDense.wi_1.weight" => "ffn_up.weight",
        "layer.1.DenseReluDense.wo.weight" => "ffn_down.weight",
    }
    in "decoder.block.{i}." => "dec.blk.{i}." {
        "layer.0.layer_norm.weight" => "attn_norm.weight",
        "layer.0.SelfAttention.q.weight" => "attn_q.weight",
        "layer.0.SelfAttention.k.weight" => "attn_k.weight",
        "layer.0.SelfAttention.v.weight" => "attn_v.weight",
        "layer.0.SelfAttention.o.weight" => "attn_o.weight",
        "layer.0.SelfAttention.relative_attention_bias.weight" => "attn_rel_b.weight",
        "layer.1.layer_norm.weight" => "cross_attn_norm.weight",
        "layer.1.EncDecAttention.q.weight" => "cross_attn_q.weight",
        "layer.1.EncDecAttention.k.weight" => "cross_attn_k.weight",
        "layer.1.EncDecAttention.v.weight" => "cross_attn_v.weight",
        "layer.1.EncDecAttention.o.weight" => "cross_attn_o.weight",
        "layer.2.layer_norm.weight" => "ffn_norm.weight",
        "layer.2.DenseReluDense.wi.weight" => "ffn_up.weight",
        "layer.2.DenseReluDense.wi_0.weight" => "ffn_gate.weight",
        "layer.2.DenseReluDense.wi_1.weight" => "ffn_up.weight",
        "layer.2.DenseReluDense.wo.weight" => "ffn_down.weight",
    }
};

pub(super) const MT5: Architecture = Architecture {
    title: "mT5",
    gguf: &[],
    hugging_face: &["mt5"],
    conversion: Conversion {
        architecture: Some("t5"),
        keys: |keys| in_gguf(keys, false),
        ..Conversion::PLAIN
    },
    build: |model| build(model, Variant::MT5),
    ..T5
};

pub(super) const UMT5: Architecture = Architecture {
    title: "UMT5",
    gguf: &[],
    hugging_face: &["umt5"],
    // No code reads it.
    settled: &[("scalable_attention", Only::Any)],
    conversion: Conversion {
        architecture: Some("t5"),
        ..T5.conversion
    },
    build: |model| build(model, Variant::UMT5),
    ..T5
};

/// Which of them a folder holds. A GGUF file does not say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Variant {
    T5,
    /// Its outputs are not scaled, whatever is said of its head.
    MT5,
    /// Each layer has a table of position biases.
    UMT5,
    /// Its encoder's rows see those nearby.
    LongT5,
    /// Some layers are mixtures of experts.
    Switch,
}

/// Hyperparameters that both halves share.
struct T5Sizes {
    width: usize,
    hidden: usize,
    heads: Heads,
    buckets: usize,
    max_distance: usize,
    eps: f32,
    function: Pointwise,
    gated: bool,
    variant: Variant,
    /// What the encoder's rows see.
    source: Mask,
    /// Which experts layers have, if there are any.
    experts: Option<SwitchExperts>,
    /// Columns of the blocks whose summaries they see as well.
    summarised: Option<u32>,
}

pub(super) fn build(model: &Builder<'_>, variant: Variant) -> Result<(), BuildError> {
    let config = model.config();
    if config.flag("is_decoder", false)? {
        return Err(config.invalid("is_decoder", "false: both halves run, or the encoder alone"));
    }
    // More than one place is asked, so that a file without one gate does not pass for version 1.0.
    let has_gates = ["enc.blk.0", "enc.blk.1", "dec.blk.0"]
        .iter()
        .any(|layer| model.has(&format!("{layer}.ffn_gate.weight")));
    let (gated, function) = match config.text("feed_forward_proj")? {
        // GGUF does not say: version 1.1 has gates and GELU, version 1.0 neither.
        None if has_gates => (true, Pointwise::GeluTanh),
        None => (false, Pointwise::Relu),
        // Behind a gate GELU is another.
        Some("gated-gelu") => (true, Pointwise::GeluTanh),
        Some(said) => {
            let behind_gate = said.strip_prefix("gated-");
            let function = function_named(behind_gate.unwrap_or(said));
            let expected =
                "a function that transformers' ACT2FN names, or one of them after gated-";
            let function = function.ok_or_else(|| config.invalid("feed_forward_proj", expected))?;
            (behind_gate.is_some(), function)
        }
    };
    // What follows from that key may be said once more, and comes before it then.
    let function = match config.text("dense_act_fn")? {
        Some(_) => activation(config, "dense_act_fn", "relu")?,
        None => function,
    };
    let gated = config.flag("is_gated_act", gated)?;
    let heads = config.count("attention.head_count")?;
    let sizes = T5Sizes {
        width: config.count("embedding_length")?,
        hidden: config.count("feed_forward_length")?,
        heads: Heads {
            heads,
            kv_heads: heads,
            head_dim: config.count("attention.key_length")?,
        },
        buckets: config
            .optional_count("attention.relative_buckets_count")?
            .unwrap_or(32),
        max_distance: config
            .optional_count("attention.relative_max_distance")?
            .unwrap_or(128),
        eps: config.epsilon("attention.layer_norm_rms_epsilon", 1e-6)?,
        function,
        gated,
        variant,
        source: source_mask(config, variant)?,
        experts: match variant {
            Variant::Switch => Some(SwitchExperts::read(config)?),
            Variant::T5 | Variant::MT5 | Variant::UMT5 | Variant::LongT5 => None,
        },
        summarised: summarised(config, variant)?,
    };
    if sizes.buckets < 4 || !sizes.buckets.is_multiple_of(2) || sizes.max_distance > 1 << 20 {
        let expected = "an even number from 4 on, with a maximum distance up to 2^20";
        return Err(config.invalid("attention.relative_buckets_count", expected));
    }
    // The logarithmic half must begin before the last bucket's distance.
    if sizes.max_distance <= sizes.buckets / 2 {
        return Err(config.invalid(
            "attention.relative_max_distance",
            "more than half the buckets",
        ));
    }
    if let Some(context) = config.optional_count("context_length")? {
        model.context(context);
    }
    let layers = config.count("block_count")?;
    let decodes = ["dec.output_norm.weight", "dec.blk.0.attn_q.weight"];
    if !decodes.iter().any(|name| model.has(name)) {
        let net = model.graph(Role::Encode);
        emit_encoded(&net, encoder(model, &net, &sizes, layers)?)?;
        net.finish();
        return Ok(());
    }

    let decoder_layers = config
        .optional_count("decoder_block_count")?
        .unwrap_or(layers);
    let net = model.graph(Role::Encode);
    let encoded = encoder(model, &net, &sizes, layers)?;
    net.emit(encoded, "encoder_last_hidden_state");
    // Every decoder layer's keys and values of the source are projected once, here.
    let mut cross = Vec::new();
    for i in 0..decoder_layers {
        let layer = format!("dec.blk.{i}");
        cross.push(project_source(&net, encoded, &layer, sizes.heads)?);
    }
    net.finish();
    decoder(model, &sizes, &cross)
}

/// What the encoder's rows see.
fn source_mask(config: &Config<'_>, variant: Variant) -> Result<Mask, BuildError> {
    if variant != Variant::LongT5 {
        return Ok(Mask::Bidirectional);
    }
    let radius = config.optional_count("attention.local_radius")?;
    Ok(Mask::within(radius.unwrap_or(127) as u64))
}

/// Columns of the blocks whose summaries the encoder's rows see.
fn summarised(config: &Config<'_>, variant: Variant) -> Result<Option<u32>, BuildError> {
    if variant != Variant::LongT5 {
        return Ok(None);
    }
    let key = "encoder_attention_type";
    match config.text(key)?.unwrap_or("local") {
        "local" => Ok(None),
        "transient-global" => {
            let columns = config.optional_count("attention.global_block_size")?;
            Ok(Some(columns.unwrap_or(16) as u32))
        }
        _ => Err(config.invalid(key, "local or transient-global")),
    }
}

/// x ← x + Attention(RMS(x)); x ← x + FFN(RMS(x)); RMS(x).
fn encoder(
    model: &Builder<'_>,
    net: &Net<'_, '_>,
    sizes: &T5Sizes,
    layers: usize,
) -> Result<Value, BuildError> {
    let vocabulary = model.rows("token_embd.weight")?;
    let tokens = model.matrix("token_embd.weight", vocabulary, sizes.width)?;
    let mut x = net.embed(tokens, Index::Token);
    let positions = relative_biases(model, sizes, "enc", layers)?;
    for (i, position) in positions.iter().enumerate() {
        let layer = format!("enc.blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), sizes.eps)?;
        let attention = attention(sizes, sizes.source, position, Keys::Rows);
        let a = match sizes.summarised {
            None => self_attention(net, h, &layer, attention)?,
            Some(columns) => summarised_attention(net, h, &layer, (sizes, columns), attention)?,
        };
        x = net.add(x, a);
        x = net.add(x, feed_forward(net, x, ("enc", i), sizes)?);
    }
    net.rms_norm(x, "enc.output_norm", sizes.eps)
}

/// Attention to the rows nearby, and to a key and a value of each block's normalised sum.
fn summarised_attention(
    net: &Net<'_, '_>,
    h: Value,
    layer: &str,
    (sizes, columns): (&T5Sizes, u32),
    attention: Attention,
) -> Result<Value, BuildError> {
    let model = net.builder;
    let inner = attention.heads * attention.head_dim;
    let part = |x: Value, name: &str| net.linear(x, &format!("{layer}.{name}"), inner);
    let sums = net.block_sums(h, columns);
    let sums = net.rms_norm(sums, &format!("{layer}.attn_global_norm"), sizes.eps)?;
    let table = [sizes.buckets, attention.heads];
    let table = model.vector("enc.blk.0.attn_global_rel_b.weight", &table)?;
    let biases = Buckets::new(table, sizes.buckets, sizes.max_distance, true);
    let summaries = Summaries {
        k: part(sums, "attn_k")?,
        v: part(sums, "attn_v")?,
        columns,
        position: PositionScheme::Buckets(biases),
    };
    let rows = [part(h, "attn_q")?, part(h, "attn_k")?, part(h, "attn_v")?];
    let a = net.attention_with_summaries(rows, summaries, attention);
    net.linear(a, &format!("{layer}.attn_o"), net.width(h))
}

/// The same with attention to the past, then to the source, in each layer.
fn decoder(
    model: &Builder<'_>,
    sizes: &T5Sizes,
    cross: &[Piece<CrossCache>],
) -> Result<(), BuildError> {
    let &T5Sizes {
        width, heads, eps, ..
    } = sizes;
    let net = model.graph(Role::Decode);
    let vocabulary = model.rows("token_embd.weight")?;
    let mut x = net.embed(
        model.matrix("token_embd.weight", vocabulary, width)?,
        Index::Token,
    );
    let positions = relative_biases(model, sizes, "dec", cross.len())?;
    for (i, (&cross, position)) in cross.iter().zip(&positions).enumerate() {
        let layer = format!("dec.blk.{i}");
        let h = net.rms_norm(x, &format!("{layer}.attn_norm"), eps)?;
        let keys = Keys::Cache(model.state(KvCache::new(heads.kv_heads, heads.head_dim)));
        let mask = Mask::Causal { window: None };
        x = net.add(
            x,
            self_attention(&net, h, &layer, attention(sizes, mask, position, keys))?,
        );

        let h = net.rms_norm(x, &format!("{layer}.cross_attn_norm"), eps)?;
        let unbiased = PositionScheme::None;
        let source = attention(sizes, Mask::Bidirectional, &unbiased, Keys::Cross(cross));
        x = net.add(x, attend_source(&net, h, &layer, source)?);

        x = net.add(x, feed_forward(&net, x, ("dec", i), sizes)?);
    }
    // Token 0 is T5's padding and the usual start.
    let start = begins_and_ends(model, vocabulary, 0)?;
    let x = net.rms_norm(net.selected(x), "dec.output_norm", eps)?;
    let scaled = match scales_outputs(model, sizes.variant)? {
        true => 1.0 / (width as f32).sqrt(),
        false => 1.0,
    };
    emit(&net, x, scaled, start)?;
    net.finish();
    Ok(())
}

/// Version 1.0 divides by √width before the head, version 1.1 does not. Files before transformers 5
/// say so by whether the head is the embedding; those after it say it by itself, and take all heads
/// for the embedding, whatever is stored.
fn scales_outputs(model: &Builder<'_>, variant: Variant) -> Result<bool, BuildError> {
    let config = model.config();
    match config.container {
        Container::HuggingFace if variant == Variant::MT5 => Ok(false),
        // Other converters do not say.
        Container::Gguf => config.flag("scale_decoder_outputs", is_tied(model)?),
        Container::HuggingFace => {
            let tied = config.tied()?.unwrap_or(true);
            config.flag("scale_decoder_outputs", tied)
        }
    }
}

/// The position biases of a half's layers, of which the first one's serve all unless each has its own.
fn relative_biases(
    model: &Builder<'_>,
    sizes: &T5Sizes,
    half: &str,
    layers: usize,
) -> Result<Vec<PositionScheme>, BuildError> {
    let &T5Sizes {
        buckets,
        max_distance,
        heads,
        variant,
        ..
    } = sizes;
    let name = |layer: usize| format!("{half}.blk.{layer}.attn_rel_b.weight");
    let table = |layer: usize| model.vector(&name(layer), &[buckets, heads.heads]);
    let first = Buckets::new(table(0)?, buckets, max_distance, half == "enc");
    let second = |half: &str| model.has(&format!("{half}.blk.1.attn_rel_b.weight"));
    let each = match model.config().container {
        Container::HuggingFace => variant == Variant::UMT5,
        Container::Gguf if variant == Variant::Switch => false,
        Container::Gguf => second("enc") || second("dec"),
    };
    let biases = (0..layers).map(|layer| {
        let table = if each { table(layer)? } else { first.table };
        Ok(PositionScheme::Buckets(first.with(table)))
    });
    biases.collect()
}

/// T5 does not divide q·k by √d: its initialisation took care of that.
fn attention(sizes: &T5Sizes, mask: Mask, position: &PositionScheme, keys: Keys) -> Attention {
    Attention {
        scale: 1.0,
        mask,
        keys,
        ..sizes.heads.causal(position.clone())
    }
}

fn feed_forward(
    net: &Net<'_, '_>,
    x: Value,
    (half, i): (&str, usize),
    sizes: &T5Sizes,
) -> Result<Value, BuildError> {
    let layer = &format!("{half}.blk.{i}");
    let h = net.rms_norm(x, &format!("{layer}.ffn_norm"), sizes.eps)?;
    if let Some(experts) = sizes.experts.as_ref().filter(|it| it.are_in(half, i)) {
        return experts.wire(net, h, layer, (sizes.hidden, sizes.function));
    }
    let gate = format!("{layer}.ffn_gate.weight");
    if !sizes.gated && net.builder.has(&gate) {
        let expected = format!("a gated function, for there is {gate}");
        return Err(net.builder.config().invalid("feed_forward_proj", &expected));
    }
    if sizes.gated {
        gated_mlp(net, h, layer, sizes.hidden, sizes.function)
    } else {
        mlp(net, h, layer, sizes.hidden, sizes.function)
    }
}

/// GGUF says by its tensors whether there are gates, and an encoder alone by its name. Its readers take
/// GELU for granted with gates, and ReLU without: another function is said.
pub(super) fn in_gguf(keys: &mut GgufKeys<'_>, scales_outputs: bool) {
    let text = |key: &str| keys.values.str(key).map(str::to_string);
    let kind = text("feed_forward_proj").unwrap_or_default();
    let ungated = kind.strip_prefix("gated-");
    let gated = keys.values.bool("is_gated_act");
    let gated = gated.unwrap_or(ungated.is_some());
    // What this name stands for with gates.
    let named = match kind.as_str() {
        "gated-gelu" => "gelu_new",
        kind => ungated.unwrap_or(kind),
    };
    let function = text("dense_act_fn").unwrap_or(named.to_string());
    let usual = match gated {
        true => ["gelu_new", "gelu_pytorch_tanh", ""].contains(&function.as_str()),
        false => ["relu", ""].contains(&function.as_str()),
    };
    keys.remove(&[
        "feed_forward_proj",
        "dense_act_fn",
        "is_gated_act",
        "is_decoder",
    ]);
    if !usual {
        keys.put("dense_act_fn", MetadataValue::String(function));
    }
    let scales = MetadataValue::Bool(scales_outputs);
    keys.put_usual("scale_decoder_outputs", scales);
    let endless = MetadataValue::U32(ENDLESS as u32);
    keys.put_usual("context_length", endless);
    single_tokens(keys);
    if keys.class().ends_with(b"T5EncoderModel") {
        keys.architecture = "t5encoder";
    }
}
