//! ProphetNet (Qi et al. 2020): BART's arrangement, but for a second stream of the decoder that
//! foresees the next token. It sees the past of the first stream, and writes. Streams for tokens
//! further ahead are for training.
//!
//! What distances add to scores is as in the authors' code, and in transformers where a token is
//! decoded at a time: it mixes up heads and rows of the second stream where several are.

use super::bart_tables::converted;
use super::beginnings::BEGINNINGS;
use super::encoder_decoder::{
    Arrangement, ClassDefaults, EPS, EmbeddingNorm, Halves, NormPlace, Positions, SEES_ALL, past,
};
use super::tables::{keys, names};
use super::{Architecture, Conversion, DECODER, Family, Only};
use crate::graph::blocks::head;
use crate::graph::{
    Attention, BuildError, Builder, Config, DistanceBuckets, Net, Role, RowBiases, Value,
};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "ProphetNet",
    gguf: &["prophetnet"],
    hugging_face: &["prophetnet"],
    family: Family::EncoderDecoder,
    keys: &[
        keys! {
            "hidden_size" => "embedding_length",
            "num_encoder_layers" => "block_count",
            "num_decoder_layers" => "decoder_block_count",
            "encoder_ffn_dim" => "feed_forward_length",
            "decoder_ffn_dim" => "decoder_feed_forward_length",
            "num_encoder_attention_heads" => "attention.head_count",
            "num_attention_heads" => "attention.head_count",
            "num_decoder_attention_heads" => "decoder_attention.head_count",
            "max_position_embeddings" => "context_length",
            "activation_function" => "hidden_act",
            "num_buckets" => "attention.relative_buckets_count",
            "relative_max_distance" => "attention.relative_max_distance",
            "ngram" => "decoder_streams",
            "pad_token_id" => "padding_token_id",
            "eos_token_id" => "eos_token_id",
            "is_decoder" => "is_decoder",
        },
        BEGINNINGS,
    ],
    settled: &[
        ("add_cross_attention", Only::Is(true)),
        ("disable_ngram_loss", Only::Any),
        // Of labels' smoothing.
        ("eps", Only::Any),
    ],
    ties: true,
    names: &[names! {
        "prophetnet.word_embeddings.weight" => "token_embd.weight",
        "lm_head.weight" => "output.weight",
        in "prophetnet.encoder." => "enc." {
            "word_embeddings.weight" => "token_embd.weight",
            "position_embeddings.weight" => "position_embd.weight",
            "embeddings_layer_norm.*" => "token_embd_norm.*",
        }
        in "prophetnet.decoder." => "dec." {
            "word_embeddings.weight" => "token_embd.weight",
            "position_embeddings.weight" => "position_embd.weight",
            "ngram_embeddings.weight" => "stream_embd.weight",
            "embeddings_layer_norm.*" => "token_embd_norm.*",
        }
        in "prophetnet.encoder.layers.{i}." => "enc.blk.{i}." {
            "self_attn.query_proj.*" => "attn_q.*",
            "self_attn.key_proj.*" => "attn_k.*",
            "self_attn.value_proj.*" => "attn_v.*",
            "self_attn.out_proj.*" => "attn_o.*",
            "self_attn_layer_norm.*" => "attn_norm.*",
            "feed_forward.intermediate.*" => "ffn_up.*",
            "feed_forward.output.*" => "ffn_down.*",
            "feed_forward_layer_norm.*" => "ffn_norm.*",
        }
        in "prophetnet.decoder.layers.{i}." => "dec.blk.{i}." {
            "self_attn.query_proj.*" => "attn_q.*",
            "self_attn.key_proj.*" => "attn_k.*",
            "self_attn.value_proj.*" => "attn_v.*",
            "self_attn.out_proj.*" => "attn_o.*",
            "self_attn.relative_pos_embeddings.*" => "attn_distance.*",
            "self_attn_layer_norm.*" => "attn_norm.*",
            "cross_attn.query_proj.*" => "cross_attn_q.*",
            "cross_attn.key_proj.*" => "cross_attn_k.*",
            "cross_attn.value_proj.*" => "cross_attn_v.*",
            "cross_attn.out_proj.*" => "cross_attn_o.*",
            "cross_attn_layer_norm.*" => "cross_attn_norm.*",
            "feed_forward.intermediate.*" => "ffn_up.*",
            "feed_forward.output.*" => "ffn_down.*",
            "feed_forward_layer_norm.*" => "ffn_norm.*",
        }
    }],
    conversion: Conversion {
        keys: converted,
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

const ARRANGEMENT: Arrangement = Arrangement {
    norms: NormPlace::Last,
    positions: Positions::LearnedOf(BEFORE),
    embedding_norm: EmbeddingNorm::WithPositions,
    encoder_mask: SEES_ALL,
    usual: ClassDefaults {
        activation: "gelu",
        scales_embedding: false,
        padding: 0,
        start: Some(0),
        end: 2,
    },
};

/// Rows of the table of positions before the first one's: padding's, whose number is zero.
const BEFORE: usize = 1;

fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    if config.token("padding_token_id")?.unwrap_or(0) != 0 {
        let expected = "0, as the authors' code counts distances while it decodes";
        return Err(config.invalid("padding_token_id", expected));
    }
    let halves = Halves::read(model, &ARRANGEMENT, &|_, _, _, _| Ok(None))?;
    if let Some(rows) = config.optional_count("context_length")? {
        model.context(rows.saturating_sub(BEFORE + 1));
    }
    let cross = halves.encode(model)?;
    let heads = halves.decoder.heads;
    let distances = DistanceBiases::read(config, heads.heads)?;

    let net = model.graph(Role::Decode);
    let mut x = halves.embed(&net, &halves.decoder)?;
    let mut next = foreseen(&net, &halves)?;
    for (i, &cross) in cross.iter().enumerate() {
        let layer = format!("dec.blk.{i}");
        let past = past(model, heads);
        let sum = |x, a| net.layer_norm(net.add(x, a), &format!("{layer}.attn_norm"), EPS);
        let own = key_value(&net, next, &layer)?;
        let seen = key_value(&net, x, &layer)?;
        let a = distances.attend(&net, next, &layer, Some([own, seen]), past.clone())?;
        next = halves.behind_past(&net, sum(next, a)?, (&layer, i), cross)?;
        // Of the last layer, nobody sees the first stream.
        if i + 1 < halves.decoder.layers {
            let a = distances.attend(&net, x, &layer, None, past)?;
            x = halves.behind_past(&net, sum(x, a)?, (&layer, i), cross)?;
        }
    }
    match config.class() {
        None | Some("ProphetNetForConditionalGeneration") => {
            net.emit(head(&net, net.selected(next))?, "logits")
        }
        _ => return Err(config.invalid_class("ProphetNetForConditionalGeneration")),
    }
    net.finish();
    halves.begin_and_end(model)
}

/// What the second stream begins with: the place behind each row, and that it is the second.
fn foreseen(net: &Net<'_, '_>, halves: &Halves<'_>) -> Result<Value, BuildError> {
    let (model, width) = (net.builder, halves.width);
    // As the authors' code has it, the first of the streams takes the last one's row.
    let streams = model
        .config()
        .optional_count("decoder_streams")?
        .unwrap_or(2);
    let last = (streams - 1).saturating_mul(width);
    let stream = model.vector_range("dec.stream_embd.weight", &[streams, width], (last, width))?;
    let behind = halves.position_rows(net, &halves.decoder, BEFORE + 1)?;
    net.layer_norm(net.add_vector(behind, stream), "dec.token_embd_norm", EPS)
}

fn key_value(net: &Net<'_, '_>, x: Value, layer: &str) -> Result<(Value, Value), BuildError> {
    let part = |name: &str| net.linear(x, &format!("{layer}.{name}"), net.width(x));
    Ok((part("attn_k")?, part("attn_v")?))
}

/// Buckets of distances, for which each row has biases.
struct DistanceBiases {
    biases: usize,
    /// From a row.
    here: DistanceBuckets,
    /// From where the next row stands.
    ahead: DistanceBuckets,
}

impl DistanceBiases {
    fn read(config: &Config<'_>, heads: usize) -> Result<DistanceBiases, BuildError> {
        let [count, far] = [
            "attention.relative_buckets_count",
            "attention.relative_max_distance",
        ];
        let buckets = config.optional_count(count)?.unwrap_or(32);
        let most = config.optional_count(far)?.unwrap_or(128);
        if buckets < 2 || most > 1 << 20 {
            let expected = "two at least, for distances up to 2^20";
            return Err(config.invalid(count, expected));
        }
        if most <= buckets / 2 {
            return Err(config.invalid(far, "more than half of the buckets"));
        }
        let exact = buckets / 2;
        let bucket = move |distance: i64| {
            let distance = distance.max(0);
            if distance < exact as i64 {
                return distance as u32;
            }
            // In floats, as the reference works it out.
            let ratio = (distance as f32 / exact as f32).ln()
                / (most as f64 / exact as f64).ln() as f32
                * (buckets - exact) as f32;
            (exact as f32 + ratio).min((buckets - 1) as f32) as u32
        };
        Ok(DistanceBiases {
            biases: buckets.saturating_mul(heads),
            here: DistanceBuckets::new(most, |key| bucket(-key)),
            ahead: DistanceBuckets::new(most, |key| bucket(1 - key)),
        })
    }

    /// softmax(q kᵀ / √d + b) v, where b is the row's bias for a key's distance. In the second stream a
    /// row has a key and a value of its own, and `past` gets the first stream's.
    fn attend(
        &self,
        net: &Net<'_, '_>,
        x: Value,
        layer: &str,
        ahead: Option<[(Value, Value); 2]>,
        past: Attention,
    ) -> Result<Value, BuildError> {
        let width = net.width(x);
        let (distances, own, seen) = match ahead {
            Some([own, seen]) => (&self.ahead, Some(own), Some(seen)),
            None => (&self.here, None, None),
        };
        let q = net.linear(x, &format!("{layer}.attn_q"), width)?;
        let biases = RowBiases {
            table: net.linear(x, &format!("{layer}.attn_distance"), self.biases)?,
            distances: distances.clone(),
            own,
        };
        let a = net.attention_with_biases(q, seen, biases, past);
        net.linear(a, &format!("{layer}.attn_o"), width)
    }
}
