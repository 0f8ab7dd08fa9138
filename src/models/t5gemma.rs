//! T5Gemma (Zhang et al. 2025): an encoder and a decoder of Gemma 2's layers, each of a size of its own.

use super::beginnings::{BEGINNINGS, begins_and_ends, single_tokens};
use super::encoder_decoder::{attend_source, project_source, self_attention};
use super::tables::{keys, names};
use super::{Architecture, Conversion, DECODER, Family, Only};
use crate::graph::blocks::{
    Heads, WindowPattern, Windows, activation, cap, gated_mlp, head_like, soft_cap,
};
use crate::graph::{
    Attention, BuildError, Builder, Index, Keys, KvCache, Mask, Net, Pairing, Pointwise,
    PositionScheme, ReadAt, Role, Rope, SecondReading, Value,
};
use rillm_formats::manifest::{Container, MetadataValue};

/// Hyperparameters of a half.
macro_rules! half_keys {
    ($object:literal => $begin:literal) => {
        keys! {
            in $object => $begin {
                "hidden_size" => "embedding_length",
                "num_hidden_layers" => "block_count",
                "intermediate_size" => "feed_forward_length",
                "max_position_embeddings" => "context_length",
                "num_attention_heads" => "attention.head_count",
                "num_key_value_heads" => "attention.head_count_kv",
                "head_dim" => "attention.key_length",
                "attention_bias" => "attention_bias",
                "rms_norm_eps" => "attention.layer_norm_rms_epsilon",
                "hidden_activation" => "hidden_activation",
                "query_pre_attn_scalar" => "query_pre_attn_scalar",
                "attn_logit_softcapping" => "attn_logit_softcapping",
                "final_logit_softcapping" => "final_logit_softcapping",
                "sliding_window" => "attention.sliding_window",
                "layer_types" => "attention.sliding_window_pattern",
                "rope_theta" => "rope.freq_base",
                "rope_parameters.rope_theta" => "rope.freq_base",
                "rope_parameters.rope_type" => "rope.scaling.type",
                "rope_scaling.rope_type" => "rope.scaling.type",
                "rope_scaling.type" => "rope.scaling.type",
            }
        }
    };
}

/// Tensors of a half. Checkpoints store w where the weight of a norm is 1 + w; GGUF stores the weight.
macro_rules! half_names {
    ($whole:literal => $half:literal, $layers:literal => $blocks:literal) => {
        names! {
            in $whole => $half {
                "embed_tokens.weight" => "token_embd.weight",
                "norm.weight" => "output_norm.weight" as PlusOne,
            }
            in $layers => $blocks {
                "pre_self_attn_layernorm.weight" => "attn_norm.weight" as PlusOne,
                "post_self_attn_layernorm.weight" => "post_attention_norm.weight" as PlusOne,
                "pre_feedforward_layernorm.weight" => "ffn_norm.weight" as PlusOne,
                "post_feedforward_layernorm.weight" => "post_ffw_norm.weight" as PlusOne,
                "self_attn.q_proj.*" => "attn_q.*",
                "self_attn.k_proj.*" => "attn_k.*",
                "self_attn.v_proj.*" => "attn_v.*",
                "self_attn.o_proj.*" => "attn_o.*",
                "mlp.gate_proj.weight" => "ffn_gate.weight",
                "mlp.up_proj.weight" => "ffn_up.weight",
                "mlp.down_proj.weight" => "ffn_down.weight",
            }
        }
    };
}

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "T5Gemma",
    gguf: &["t5gemma"],
    hugging_face: &["t5gemma"],
    family: Family::EncoderDecoder,
    keys: &[
        half_keys!("encoder." => ""),
        half_keys!("decoder." => "decoder_"),
        BEGINNINGS,
        keys! {
            "decoder.bos_token_id" => "bos_token_id",
            "pad_token_id" => "padding_token_id",
            "decoder.pad_token_id" => "padding_token_id",
        },
    ],
    settled: &[
        // That of the encoder.
        ("cross_attention_hidden_size", Only::Any),
        ("classifier_dropout_rate", Only::Any),
        ("hidden_act", Only::Any),
        // The encoder predicts no tokens.
        ("encoder.final_logit_softcapping", Only::Any),
        // Heads and embeddings are tied by what stands around both.
        ("tie_word_embeddings", Only::Any),
    ],
    ties: true,
    names: &[
        half_names!("model.encoder." => "enc.", "model.encoder.layers.{i}." => "enc.blk.{i}."),
        half_names!("model.decoder." => "dec.", "model.decoder.layers.{i}." => "dec.blk.{i}."),
        names! {
            "lm_head.out_proj.weight" => "output.weight",
            "score.out_proj.*" => "cls.output.*",
            in "model.decoder.layers.{i}." => "dec.blk.{i}." {
                "pre_cross_attn_layernorm.weight" => "cross_attn_norm.weight" as PlusOne,
                "post_cross_attn_layernorm.weight" => "post_cross_attn_norm.weight" as PlusOne,
                "cross_attn.q_proj.*" => "cross_attn_q.*",
                "cross_attn.k_proj.*" => "cross_attn_k.*",
                "cross_attn.v_proj.*" => "cross_attn_v.*",
                "cross_attn.o_proj.*" => "cross_attn_o.*",
            }
        },
    ],
    conversion: Conversion {
        keys: single_tokens,
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

/// One half.
struct GemmaHalf {
    name: &'static str,
    width: usize,
    hidden: usize,
    layers: usize,
    eps: f32,
    function: Pointwise,
    heads: Heads,
    windows: Windows,
    /// Of its rows to one another, through no window.
    attention: Attention,
    context: usize,
    of_logits: Option<f32>,
}

/// x ← x + RMS(f(RMS(x))) for attention to the half's own rows, of the decoder to the source, and for the
/// feed-forward layer; embeddings times √d.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let encoder = GemmaHalf::read(model, "enc")?;
    let decodes = ["dec.output_norm.weight", "dec.blk.0.attn_q.weight"];
    if !decodes.iter().any(|name| model.has(name)) {
        let net = model.graph(Role::Encode);
        emit_encoded(&net, encoder.encode(&net)?)?;
        net.finish();
        model.context(encoder.context);
        return Ok(());
    }
    let decoder = config.of_part("decoder_", || GemmaHalf::read(model, "dec"))?;
    model.context(decoder.context);

    let net = model.graph(Role::Encode);
    let encoded = encoder.encode(&net)?;
    net.emit(encoded, "encoder_last_hidden_state");
    // Every decoder layer's keys and values of the source are projected once, here.
    let layer = |i| format!("dec.blk.{i}");
    let cross =
        (0..decoder.layers).map(|i| project_source(&net, encoded, &layer(i), decoder.heads));
    let cross = cross.collect::<Result<Vec<_>, _>>()?;
    net.finish();

    let net = model.graph(Role::Decode);
    let mut x = decoder.embed(&net)?;
    for (i, &cross) in cross.iter().enumerate() {
        let layer = layer(i);
        let heads = decoder.heads;
        let past = Attention {
            mask: Mask::Causal {
                window: decoder.windows.of(i),
            },
            keys: Keys::Cache(model.state(KvCache::new(heads.kv_heads, heads.head_dim))),
            ..decoder.attention.clone()
        };
        let norms = ["attn_norm", "post_attention_norm"];
        x = decoder.part(&net, x, &layer, norms, |h| {
            self_attention(&net, h, &layer, past)
        })?;
        let source = Attention {
            mask: Mask::Bidirectional,
            position: PositionScheme::None,
            keys: Keys::Cross(cross),
            ..decoder.attention.clone()
        };
        let norms = ["cross_attn_norm", "post_cross_attn_norm"];
        x = decoder.part(&net, x, &layer, norms, |h| {
            attend_source(&net, h, &layer, source)
        })?;
        x = decoder.feed_forward(&net, x, &layer)?;
    }
    let x = decoder.last_norm(&net, net.selected(x))?;
    let vocabulary = model.rows("dec.token_embd.weight")?;
    let start = begins_and_ends(model, vocabulary, 2)?;
    // A text that is read again is shifted behind the decoder's own, while generation begins by the whole's.
    let again = matches!(config.class(), Some("T5GemmaForTokenClassification"));
    let own = config
        .metadata
        .u64("decoder.bos_token_id")
        .filter(|_| again);
    let own = own.filter(|&id| id < vocabulary as u64);
    let start = own.map_or(start, |id| id as u32);
    config.grant("decoder_start_token_id", MetadataValue::U32(start));
    emit(&net, x, decoder.of_logits, start)?;
    net.finish();
    Ok(())
}

impl GemmaHalf {
    /// Reads the half's hyperparameters.
    fn read(model: &Builder<'_>, name: &'static str) -> Result<GemmaHalf, BuildError> {
        let config = model.config();
        let width = config.count("embedding_length")?;
        let layers = config.count("block_count")?;
        let heads = Heads::read_wide(config, width, Some(256))?;
        let rope = Rope::read(model, Pairing::Halves, heads.head_dim)?;
        let scalar = config.positive("query_pre_attn_scalar", 256.0)?;
        Windows::check_width(config)?;
        let biased = config.flag("attention_bias", false)?;
        if config.container == Container::HuggingFace
            && model.has(&format!("{name}.blk.0.attn_q.bias")) != biased
        {
            return Err(config.invalid(
                "attention_bias",
                &format!("{}, as the tensors say", !biased),
            ));
        }
        Ok(GemmaHalf {
            name,
            width,
            hidden: config.count("feed_forward_length")?,
            layers,
            eps: config.epsilon("attention.layer_norm_rms_epsilon", 1e-6)?,
            function: activation(config, "hidden_activation", "gelu_pytorch_tanh")?,
            heads,
            windows: Windows::read(config, layers, Some(4096), WindowPattern::AllButEvery(2))?,
            attention: Attention {
                scale: f64::from(scalar).powf(-0.5) as f32,
                softcap: cap(config, "attn_logit_softcapping", Some(50.0))?,
                ..heads.causal(PositionScheme::Rope(rope))
            },
            context: config.count("context_length")?,
            of_logits: cap(config, "final_logit_softcapping", Some(30.0))?,
        })
    }

    /// The encoder's rows.
    fn encode(&self, net: &Net<'_, '_>) -> Result<Value, BuildError> {
        let mut x = self.embed(net)?;
        for i in 0..self.layers {
            let layer = format!("{}.blk.{i}", self.name);
            let attention = Attention {
                mask: (self.windows.of(i)).map_or(Mask::Bidirectional, Mask::within),
                ..self.attention.clone()
            };
            let norms = ["attn_norm", "post_attention_norm"];
            x = self.part(net, x, &layer, norms, |h| {
                self_attention(net, h, &layer, attention)
            })?;
            x = self.feed_forward(net, x, &layer)?;
        }
        self.last_norm(net, x)
    }

    fn embed(&self, net: &Net<'_, '_>) -> Result<Value, BuildError> {
        let name = format!("{}.token_embd.weight", self.name);
        let table = (net.builder).matrix(&name, net.builder.rows(&name)?, self.width)?;
        Ok(net.scale(net.embed(table, Index::Token), (self.width as f32).sqrt()))
    }

    /// One part of a layer between its norms.
    fn part(
        &self,
        net: &Net<'_, '_>,
        x: Value,
        layer: &str,
        [before, after]: [&str; 2],
        part: impl FnOnce(Value) -> Result<Value, BuildError>,
    ) -> Result<Value, BuildError> {
        let norm = |x, name: &str| net.rms_norm(x, &format!("{layer}.{name}"), self.eps);
        Ok(net.add(x, norm(part(norm(x, before)?)?, after)?))
    }

    fn feed_forward(&self, net: &Net<'_, '_>, x: Value, layer: &str) -> Result<Value, BuildError> {
        self.part(net, x, layer, ["ffn_norm", "post_ffw_norm"], |h| {
            gated_mlp(net, h, layer, self.hidden, self.function)
        })
    }

    fn last_norm(&self, net: &Net<'_, '_>, x: Value) -> Result<Value, BuildError> {
        net.rms_norm(x, &format!("{}.output_norm", self.name), self.eps)
    }
}

/// Hands over what the class makes of the decoder's rows x; `start` stands before a text that is read
/// again.
fn emit(net: &Net<'_, '_>, x: Value, of_logits: Option<f32>, start: u32) -> Result<(), BuildError> {
    let model = net.builder;
    let class = model.config().class().unwrap_or("ForConditionalGeneration");
    match class.strip_prefix("T5Gemma").unwrap_or(class) {
        "ForConditionalGeneration" => {
            let logits = head_like(net, x, "dec.token_embd.weight")?;
            net.emit(soft_cap(net, logits, of_logits), "logits");
            return Ok(());
        }
        "Model" => net.emit(x, "last_hidden_state"),
        "ForTokenClassification" => {
            let labels = model.rows("cls.output.weight")?;
            net.emit(net.linear(x, "cls.output", labels)?, "logits");
            model.reads_again(SecondReading::From(start));
        }
        _ => {
            let known = "the model, its encoder, or T5GemmaForConditionalGeneration or \
                         T5GemmaForTokenClassification; of the encoder alone also \
                         T5GemmaForSequenceClassification, whose answers would else depend on padding";
            return Err(model.config().invalid_class(known));
        }
    }
    model.class_counts();
    Ok(())
}

/// The same of the encoder's rows, where there is no decoder.
fn emit_encoded(net: &Net<'_, '_>, x: Value) -> Result<(), BuildError> {
    let model = net.builder;
    let labels = || net.linear(x, "cls.output", model.rows("cls.output.weight")?);
    match model.config().class() {
        Some("T5GemmaForTokenClassification") => net.emit(labels()?, "logits"),
        Some("T5GemmaForSequenceClassification") => {
            net.emit(labels()?, "logits");
            let padding = model.config().token("padding_token_id")?;
            model.reads_at(padding.map_or(ReadAt::End, ReadAt::LastBut));
        }
        _ => {
            net.emit(x, "last_hidden_state");
            return Ok(());
        }
    }
    model.class_counts();
    Ok(())
}
