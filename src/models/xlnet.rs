//! XLNet (Yang et al. 2019): an encoder whose queries meet each distance by its content, as in
//! Transformer-XL, and what stands in another segment by that.

use super::bert::PostNormLayers;
use super::tables::{keys, names};
use super::task_heads::{self, emit_choice, emit_ends};
use super::{Architecture, Conversion, DECODER, Family, Only};
use crate::graph::blocks::{Heads, activation, embedding, head};
use crate::graph::{
    ApartQueries, BuildError, Builder, Config, DistanceBuckets, Mask, Net, Pointwise,
    PositionScheme, ReadAt, Role, SinusoidFrequencies, TableRows, Value,
};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "XLNet",
    gguf: &["xlnet"],
    hugging_face: &["xlnet"],
    family: Family::Encoder,
    keys: &[keys! {
        "d_model" => "embedding_length",
        "hidden_size" => "embedding_length",
        "n_layer" => "block_count",
        "num_hidden_layers" => "block_count",
        "d_inner" => "feed_forward_length",
        "n_head" => "attention.head_count",
        "num_attention_heads" => "attention.head_count",
        "d_head" => "attention.key_length",
        "ff_activation" => "hidden_act",
        "layer_norm_eps" => "attention.layer_norm_epsilon",
        "attn_type" => "attention.type",
        "bi_data" => "attention.both_directions",
        "clamp_len" => "attention.relative_max_distance",
        "summary_type" => "summary.type",
        "summary_use_proj" => "summary.projects",
        "summary_activation" => "summary.act",
    }],
    settled: &[
        // What a text leaves behind for the next, which none follows here.
        ("mem_len", Only::Any),
        ("reuse_len", Only::Any),
        ("use_mems_eval", Only::Any),
        ("use_mems_train", Only::Any),
        ("mems", Only::Any),
        // Of rows that see those before them alone.
        ("same_length", Only::Any),
        // Transformers' class has biases in each layer, whatever is said.
        ("untie_r", Only::Any),
        ("summary_last_dropout", Only::Any),
        ("summary_first_dropout", Only::Any),
        ("start_n_top", Only::Any),
        ("end_n_top", Only::Any),
    ],
    ties: true,
    names: &[names! {
        "transformer.word_embedding.weight" => "token_embd.weight",
        "lm_loss.weight" => "output.weight",
        "lm_loss.bias" => "output.bias",
        "sequence_summary.summary.*" => "cls.*",
        "logits_proj.*" => "cls.output.*",
        "classifier.*" => "classifier.*",
        "qa_outputs.*" => "qa_outputs.*",
        in "transformer.layer.{i}." => "blk.{i}." {
            "rel_attn.q" => "attn_q.weight" as HeadsTransposed,
            "rel_attn.k" => "attn_k.weight" as HeadsTransposed,
            "rel_attn.v" => "attn_v.weight" as HeadsTransposed,
            "rel_attn.r" => "attn_distance.weight" as HeadsTransposed,
            "rel_attn.o" => "attn_output.weight" as HeadsJoined,
            "rel_attn.r_w_bias" => "attn_key_bias",
            "rel_attn.r_r_bias" => "attn_distance_bias",
            "rel_attn.r_s_bias" => "attn_segment_bias",
            "rel_attn.seg_embed" => "attn_segments",
            "rel_attn.layer_norm.*" => "attn_output_norm.*",
            "ff.layer_1.*" => "ffn_up.*",
            "ff.layer_2.*" => "ffn_down.*",
            "ff.layer_norm.*" => "layer_output_norm.*",
        }
    }],
    // What stands for a token that is to be guessed.
    unused_in_checkpoints: &["transformer.mask_emb"],
    conversion: Conversion {
        keys: task_heads::keys,
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

/// Positions of a text: each distance takes a row of a table in each layer, and no configuration
/// bounds them.
const LONGEST: usize = 1024;

/// x ← LN(x + Attention(x)); x ← LN(x + MLP(x)).
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let encoder = PostNormLayers {
        heads: Heads::read(config, width)?,
        hidden: config.count("feed_forward_length")?,
        function: activation(config, "hidden_act", "gelu")?,
        gated: false,
        eps: config.epsilon("attention.layer_norm_epsilon", 1e-12)?,
        position: PositionScheme::None,
        decodes: false,
    };
    if config.text("attention.type")?.unwrap_or("bi") != "bi" {
        return Err(config.invalid("attention.type", "bi: each row sees all"));
    }
    if config.flag("attention.both_directions", false)? {
        let expected = "false: half of a batch read backwards is for training";
        return Err(config.invalid("attention.both_directions", expected));
    }
    model.context(LONGEST);
    let tables = model.graph(Role::Table);
    let net = model.graph(Role::Encode);
    let distances = DistanceKeys::read(&tables, width)?;
    let mut x = embedding(&net, width)?;
    for i in 0..config.count("block_count")? {
        let layer = format!("blk.{i}");
        let a = distances.attend(&net, x, &encoder, &layer)?;
        x = encoder.behind_attention(&net, [x, a], &layer)?;
    }
    emit(&net, x)?;
    tables.finish();
    net.finish();
    Ok(())
}

/// How far apart rows stand, as sines and cosines.
struct DistanceKeys<'t, 'b, 'm> {
    tables: &'t Net<'b, 'm>,
    sinusoids: Value,
    rows: TableRows,
    buckets: DistanceBuckets,
    /// How many a text may have.
    positions: Option<u64>,
}

impl<'t, 'b, 'm> DistanceKeys<'t, 'b, 'm> {
    fn read(tables: &'t Net<'b, 'm>, width: usize) -> Result<DistanceKeys<'t, 'b, 'm>, BuildError> {
        let config = tables.builder.config();
        if !width.is_multiple_of(2) {
            let expected = "an even number, for half of its positions are sines";
            return Err(config.invalid("embedding_length", expected));
        }
        // Zero and less clamp nothing.
        let clamp = config.double("attention.relative_max_distance", -1.0)?;
        let clamp = (clamp >= 1.0 && clamp < LONGEST as f64).then_some(clamp as usize);
        let span = clamp.unwrap_or(LONGEST);
        let (rows, middle) = (2 * span + 1, span as i64);
        let bucket = |distance: i64| (middle - distance).clamp(0, 2 * middle) as u32;
        Ok(DistanceKeys {
            tables,
            sinusoids: sinusoids(tables, width, span),
            rows: TableRows::Fixed(rows),
            buckets: DistanceBuckets::new(span, bucket),
            positions: clamp.is_none().then_some(LONGEST as u64),
        })
    }

    /// softmax(((q + u) kᵀ + (q + w) rᵀ + (q + s) eᵀ) / √d) v, where r stands for the distance and e for
    /// whether the segment is the same.
    fn attend(
        &self,
        net: &Net<'_, '_>,
        x: Value,
        encoder: &PostNormLayers,
        layer: &str,
    ) -> Result<Value, BuildError> {
        let model = net.builder;
        let Heads {
            heads, head_dim, ..
        } = encoder.heads;
        let inner = heads * head_dim;
        let [q, k, v] = ["attn_q", "attn_k", "attn_v"];
        let project = |name: &str| net.linear(x, &format!("{layer}.{name}"), inner);
        let (q, k, v) = (project(q)?, project(k)?, project(v)?);
        let biased = |name: &str| -> Result<Value, BuildError> {
            let bias = model.vector(&format!("{layer}.{name}"), &[heads, head_dim])?;
            Ok(net.add_vector(q, bias))
        };
        let r = self
            .tables
            .linear(self.sinusoids, &format!("{layer}.attn_distance"), inner)?;
        let apart = ApartQueries {
            distances: biased("attn_distance_bias")?,
            segments: biased("attn_segment_bias")?,
            segment_keys: model.vector(&format!("{layer}.attn_segments"), &[2, heads, head_dim])?,
            positions: self.positions,
        };
        let table = self.tables.session_table(r, self.rows);
        Ok(net.relative_attention(
            [biased("attn_key_bias")?, k, v],
            apart,
            (table, self.buckets.clone()),
            encoder.attention(Mask::Bidirectional),
        ))
    }
}

/// Of row p the sines, then the cosines of p − `span` times 10000^(−2i / width): rows of a table have
/// no positions below zero, so that the angles are turned back.
fn sinusoids(tables: &Net<'_, '_>, width: usize, span: usize) -> Value {
    let model = tables.builder;
    let pairs = width / 2;
    let frequency = |pair: usize| 10000f64.powf((2 * pair) as f64 / -(width as f64));
    let floats = (0..pairs).map(|pair| frequency(pair) as f32);
    let rests = (0..pairs).map(|pair| (frequency(pair) - f64::from(frequency(pair) as f32)) as f32);
    let frequencies = SinusoidFrequencies::Exact(model.constant(floats.chain(rests)));
    let all = tables.sinusoids(frequencies);
    let (sines, cosines) = (tables.slice(all, 0, pairs), tables.slice(all, pairs, pairs));
    let turn = |of: fn(f64) -> f64, sign: f64| {
        let angles = (0..pairs).map(|pair| span as f64 * frequency(pair));
        model.constant(angles.map(|angle| (sign * of(angle)) as f32))
    };
    let cosine = turn(f64::cos, 1.0);
    let (sine, minus) = (turn(f64::sin, 1.0), turn(f64::sin, -1.0));
    let sum = |[a, b]: [Value; 2]| tables.add(a, b);
    let turned = sum([tables.weigh(sines, cosine), tables.weigh(cosines, minus)]);
    let other = sum([tables.weigh(cosines, cosine), tables.weigh(sines, sine)]);
    tables.join_heads(turned, other, 1)
}

/// Hands over what the class makes of the rows x.
fn emit(net: &Net<'_, '_>, x: Value) -> Result<(), BuildError> {
    let model = net.builder;
    let config = model.config();
    match task_heads::task(config, &["XLNet"]) {
        "LMHeadModel" => net.emit(head(net, x)?, "logits"),
        "Model" => net.emit(x, "last_hidden_state"),
        "ForSequenceClassification" => {
            let labels = model.rows("cls.output.weight")?;
            let summed = summary(net, x)?;
            net.emit(net.linear(summed, "cls.output", labels)?, "logits");
        }
        "ForMultipleChoice" => {
            let summed = summary(net, x)?;
            emit_choice(net, net.linear(summed, "cls.output", 1)?, "cls.output")?;
        }
        "ForTokenClassification" => {
            let labels = model.rows("classifier.weight")?;
            net.emit(net.linear(x, "classifier", labels)?, "logits");
        }
        "ForQuestionAnsweringSimple" => emit_ends(net, net.linear(x, "qa_outputs", 2)?),
        _ => {
            let known = "XLNetModel, XLNetLMHeadModel, or XLNetFor and SequenceClassification, \
                         MultipleChoice, TokenClassification or QuestionAnsweringSimple";
            return Err(config.invalid_class(known));
        }
    }
    Ok(())
}

/// f(W x) of one row of a text, or of their mean.
fn summary(net: &Net<'_, '_>, x: Value) -> Result<Value, BuildError> {
    let config = net.builder.config();
    let of_rows = match config.text("summary.type")?.unwrap_or("last") {
        // Without a place that is said, the last.
        "last" | "cls_index" => {
            net.builder.reads_at(ReadAt::End);
            x
        }
        "first" => net.first_rows(x),
        "mean" => net.mean_rows(x),
        _ => return Err(config.invalid("summary.type", "last, first, mean or cls_index")),
    };
    let projected = match config.flag("summary.projects", true)? {
        true => net.linear(of_rows, "cls", net.width(x))?,
        false => of_rows,
    };
    Ok(match summary_function(config)? {
        Some(function) => net.apply(projected, function),
        None => projected,
    })
}

fn summary_function(config: &Config<'_>) -> Result<Option<Pointwise>, BuildError> {
    let key = "summary.act";
    if config.is_null(key) || config.text(key)? == Some("") {
        return Ok(None);
    }
    activation(config, key, "tanh").map(Some)
}
