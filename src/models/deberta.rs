//! DeBERTa (He et al. 2021) and what followed it, DeBERTa-v2 and -v3 (He et al. 2023): BERT whose
//! attention keeps apart what a token is and how far it stands from another.

use super::bert::{self, PostNormLayers};
use super::tables::{keys, names};
use super::task_heads::{Scores, TaskHeads};
use super::{Architecture, Conversion, DECODER, Family, Only, conversion};
use crate::graph::blocks::{activation, interleaved_projections, projections};
use crate::graph::{
    Attention, BuildError, Builder, Config, DistanceBuckets, Index, Key, Mask, Name, Net, Piece,
    Role, SessionTable, TableRows, Value,
};
use rillm_formats::manifest::MetadataValue;

pub(super) const DEBERTA_2: Architecture = Architecture {
    title: "DeBERTa-v2, DeBERTa-v3",
    gguf: &["deberta-v2"],
    hugging_face: &["deberta-v2"],
    family: Family::Encoder,
    keys: &[KEYS],
    settled: SETTLED,
    ties: true,
    names: &[
        NAMES,
        names! {
            in "deberta.encoder.layer.{i}.attention.self." => "blk.{i}." {
                "query_proj.*" => "attn_q.*",
                "key_proj.*" => "attn_k.*",
                "value_proj.*" => "attn_v.*",
                "pos_key_proj.*" => "attn_distance_k.*",
                "pos_query_proj.*" => "attn_distance_q.*",
            }
            in "deberta.encoder.conv." => "conv" {
                "conv.*" => ".*",
                "LayerNorm.*" => "_norm.*",
            }
        },
    ],
    conversion: bert::CONVERSION,
    build: |model| build(model, DebertaVersion::Second),
    ..DECODER
};

pub(super) const DEBERTA: Architecture = Architecture {
    title: "DeBERTa",
    gguf: &["deberta"],
    hugging_face: &["deberta"],
    names: &[
        NAMES,
        names! {
            in "deberta.encoder.layer.{i}.attention.self." => "blk.{i}." {
                "in_proj.weight" => "attn_qkv.weight",
                "q_bias" => "attn_q.bias",
                "v_bias" => "attn_v.bias",
                "pos_proj.weight" => "attn_distance_k.weight",
                "pos_q_proj.*" => "attn_distance_q.*",
            }
        },
    ],
    conversion: Conversion {
        tensor: conversion::queries_first,
        ..bert::CONVERSION
    },
    build: |model| build(model, DebertaVersion::First),
    ..DEBERTA_2
};

const KEYS: &[Key] = keys! {
    "hidden_size" => "embedding_length",
    "embedding_size" => "token_embedding_length",
    "num_hidden_layers" => "block_count",
    "intermediate_size" => "feed_forward_length",
    "num_attention_heads" => "attention.head_count",
    "attention_head_size" => "attention.key_length",
    "layer_norm_eps" => "attention.layer_norm_epsilon",
    "hidden_act" => "hidden_act",
    "max_position_embeddings" => "context_length",
    "position_biased_input" => "position_biased_input",
    "type_vocab_size" => "token_type_count",
    "relative_attention" => "attention.relative",
    "pos_att_type" => "attention.relative_types",
    "position_buckets" => "attention.relative_buckets_count",
    "max_relative_positions" => "attention.relative_max_distance",
    "norm_rel_ebd" => "attention.relative_norm",
    "share_att_key" => "attention.relative_shares_weights",
    "conv_kernel_size" => "conv.taps",
    "conv_act" => "conv.act",
    "pooler_hidden_act" => "pooler_hidden_act",
};

/// What its configurations say beside that.
const SETTLED: &[super::known_keys::Settled] = &[
    ("conv_groups", Only::Number(1.0)),
    ("pooler_dropout", Only::Any),
    // The tensors tell.
    ("pooler_hidden_size", Only::Any),
    ("talking_head", Only::Is(false)),
];

const NAMES: &[Name] = names! {
    "cls.predictions.transform.dense.*" => "mlm_dense.*",
    "cls.predictions.transform.LayerNorm.*" => "mlm_norm.*",
    "cls.predictions.decoder.weight" => "output.weight",
    "cls.predictions.bias" => "output.bias",
    "cls.predictions.decoder.bias" => "output_copy.bias",
    "lm_predictions.lm_head.dense.*" => "mlm_dense.*",
    "lm_predictions.lm_head.LayerNorm.*" => "mlm_norm.*",
    "lm_predictions.lm_head.bias" => "output.bias",
    "pooler.dense.*" => "pooler.*",
    "classifier.*" => "classifier.*",
    "qa_outputs.*" => "qa_outputs.*",
    in "deberta." => "" {
        "embeddings.word_embeddings.weight" => "token_embd.weight",
        "embeddings.position_embeddings.weight" => "position_embd.weight",
        "embeddings.token_type_embeddings.weight" => "token_types.weight",
        "embeddings.embed_proj.weight" => "token_embd_project.weight",
        "embeddings.LayerNorm.*" => "token_embd_norm.*",
        "encoder.rel_embeddings.weight" => "distance_embd.weight",
        "encoder.LayerNorm.*" => "distance_embd_norm.*",
    }
    in "deberta.encoder.layer.{i}." => "blk.{i}." {
        "attention.output.dense.*" => "attn_output.*",
        "attention.output.LayerNorm.*" => "attn_output_norm.*",
        "intermediate.dense.*" => "ffn_up.*",
        "output.dense.*" => "ffn_down.*",
        "output.LayerNorm.*" => "layer_output_norm.*",
    }
};

/// Which of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DebertaVersion {
    /// One projection yields queries, keys and values, of which keys have no bias.
    First,
    /// Distances may share buckets, and the weights of tokens.
    Second,
}

/// Most distances that are told apart: nothing in the weights bounds what a configuration may claim.
const FARTHEST: f64 = (1 << 20) as f64;

fn build(model: &Builder<'_>, version: DebertaVersion) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let encoder = PostNormLayers::read(config, width, 1e-7)?;
    if encoder.heads.heads.checked_mul(encoder.heads.head_dim) != Some(width) {
        let what = "heads that are as wide as the model together";
        return Err(config.invalid("attention.key_length", what));
    }
    model.context(config.count("context_length")?);
    let tables = model.graph(Role::Table);
    let net = model.graph(Role::Encode);
    let distances = DistanceTerms::read(&tables, version, width, encoder.eps)?;

    let embedded = embeddings(&net, width, encoder.eps)?;
    let mut x = embedded;
    for i in 0..config.count("block_count")? {
        let layer = format!("blk.{i}");
        let a = distances.attend(&net, x, &encoder, &layer)?;
        x = encoder.behind_attention(&net, [x, a], &layer)?;
        if i == 0 {
            x = convolved(&net, [x, embedded], encoder.eps)?;
        }
    }
    let pooled = Scores {
        dense: Some("pooler"),
        function: activation(config, "pooler_hidden_act", "gelu")?,
        scores: "classifier",
    };
    let heads = TaskHeads {
        classes: match version {
            DebertaVersion::First => &["Deberta"],
            DebertaVersion::Second => &["DebertaV2"],
        },
        masked: (encoder.function, encoder.eps),
        sequence: pooled,
        choice: pooled,
    };
    heads.emit(&net, x)?;
    if distances.embedded.is_some() {
        tables.finish();
    }
    net.finish();
    Ok(())
}

/// LN(P Σ tables), where P widens what is narrower than the model.
fn embeddings(net: &Net<'_, '_>, width: usize, eps: f32) -> Result<Value, BuildError> {
    let model = net.builder;
    let config = model.config();
    let narrow = config.optional_count("token_embedding_length")?;
    let narrow = narrow.unwrap_or(width);
    let table = |name: &str| model.matrix(name, model.rows(name)?, narrow);
    let mut x = net.embed(table("token_embd.weight")?, Index::Token);
    if config.flag("position_biased_input", true)? {
        let positions = table("position_embd.weight")?;
        x = net.add(x, net.embed(positions, Index::Position));
    }
    if let Some(types) = config.feature("token_type_count")? {
        let types = model.matrix("token_types.weight", types, narrow)?;
        x = net.add(x, net.embed(types, Index::TokenType));
    }
    if narrow != width {
        x = net.linear(x, "token_embd_project", width)?;
    }
    net.layer_norm(x, "token_embd_norm", eps)
}

/// LN(x + f(conv(e))), if there is a convolution over what was embedded.
fn convolved(net: &Net<'_, '_>, [x, embedded]: [Value; 2], eps: f32) -> Result<Value, BuildError> {
    let config = net.builder.config();
    let Some(taps) = config.feature("conv.taps")? else {
        return Ok(x);
    };
    if taps.is_multiple_of(2) {
        return Err(config.invalid("conv.taps", "an odd number, which keeps a text's length"));
    }
    let function = activation(config, "conv.act", "tanh")?;
    let conv = net.column_conv(embedded, "conv", (net.width(x), taps))?;
    net.layer_norm(net.add(x, net.apply(conv, function)), "conv_norm", eps)
}

/// How attention takes distances.
struct DistanceTerms<'t, 'b, 'm> {
    tables: &'t Net<'b, 'm>,
    version: DebertaVersion,
    /// A row for each bucket, if attention looks at distances.
    embedded: Option<(Value, DistanceBuckets)>,
    rows: TableRows,
    /// Whether a query meets keys for distances, and a key queries for them.
    types: [bool; 2],
    /// Whether the projections are those of tokens.
    shared: bool,
}

impl<'t, 'b, 'm> DistanceTerms<'t, 'b, 'm> {
    fn read(
        tables: &'t Net<'b, 'm>,
        version: DebertaVersion,
        width: usize,
        eps: f32,
    ) -> Result<DistanceTerms<'t, 'b, 'm>, BuildError> {
        let model = tables.builder;
        let config = model.config();
        let types = types(config)?;
        let shared = config.flag("attention.relative_shares_weights", false)?;
        let mut distances = DistanceTerms {
            tables,
            version,
            embedded: None,
            rows: TableRows::Fixed(0),
            types,
            shared: shared && version == DebertaVersion::Second,
        };
        if !config.flag("attention.relative", false)? || types == [false; 2] {
            return Ok(distances);
        }
        let (span, buckets) = buckets(config, version)?;
        let table = model.matrix("distance_embd.weight", 2 * span, width)?;
        let mut embedded = tables.embed(table, Index::Position);
        let norms = config.text("attention.relative_norm")?.unwrap_or("none");
        let mut norms = norms.split('|').map(str::trim);
        if version == DebertaVersion::Second
            && norms.any(|norm| norm.eq_ignore_ascii_case("layer_norm"))
        {
            embedded = tables.layer_norm(embedded, "distance_embd_norm", eps)?;
        }
        distances.embedded = Some((embedded, buckets));
        distances.rows = TableRows::Fixed(2 * span);
        Ok(distances)
    }

    /// softmax((q kᵀ + q rᵀ + s kᵀ) / √(d · terms)) v, where r and s stand for distances.
    fn attend(
        &self,
        net: &Net<'_, '_>,
        x: Value,
        encoder: &PostNormLayers,
        layer: &str,
    ) -> Result<Value, BuildError> {
        let [q, k, v] = self.projections(net, x, encoder, layer)?;
        let terms = 1 + self.types.iter().filter(|has| **has).count();
        let attention = Attention {
            scale: 1.0 / ((encoder.heads.head_dim * terms) as f32).sqrt(),
            ..encoder.attention(Mask::Bidirectional)
        };
        let Some((_, buckets)) = &self.embedded else {
            return Ok(net.attention(q, Some((k, v)), attention));
        };
        let [keys, queries] = self.types;
        let tables = [
            self.table(
                keys,
                &format!("{layer}.attn_k"),
                &format!("{layer}.attn_distance_k"),
            )?,
            self.table(
                queries,
                &format!("{layer}.attn_q"),
                &format!("{layer}.attn_distance_q"),
            )?,
        ];
        Ok(net.disentangled_attention([q, k, v], tables, buckets.clone(), attention))
    }

    fn projections(
        &self,
        net: &Net<'_, '_>,
        x: Value,
        encoder: &PostNormLayers,
        layer: &str,
    ) -> Result<[Value; 3], BuildError> {
        if self.version == DebertaVersion::Second {
            return projections(net, x, layer, encoder.heads);
        }
        let [q, k, v] = interleaved_projections(net, x, layer, encoder.heads)?;
        let biased = |value: Value, name: &str| {
            let name = format!("{layer}.{name}.bias");
            let bias = net.builder.vector(&name, &[net.width(value)])?;
            Ok(net.add_vector(value, bias))
        };
        Ok([biased(q, "attn_q")?, k, biased(v, "attn_v")?])
    }

    /// What a projection makes of each bucket's row: the one of tokens, or one of its own.
    fn table(
        &self,
        is_there: bool,
        of_tokens: &str,
        own: &str,
    ) -> Result<Option<Piece<SessionTable>>, BuildError> {
        let Some((embedded, _)) = self.embedded.as_ref().filter(|_| is_there) else {
            return Ok(None);
        };
        let name = if self.shared { of_tokens } else { own };
        let width = self.tables.width(*embedded);
        let projected = self.tables.linear(*embedded, name, width)?;
        Ok(Some(self.tables.session_table(projected, self.rows)))
    }
}

/// Whether queries meet distances ("c2p"), and keys do ("p2c").
fn types(config: &Config<'_>) -> Result<[bool; 2], BuildError> {
    let key = "attention.relative_types";
    let invalid = || config.invalid(key, "c2p and p2c, or one of them");
    let listed: Vec<String> = match config.value(key) {
        None => Vec::new(),
        Some(MetadataValue::String(text)) => text.split('|').map(str::to_string).collect(),
        Some(MetadataValue::Array(list)) => {
            let texts = list.strings().ok_or_else(invalid)?;
            let texts = (0..list.len()).filter_map(|index| texts.get(index));
            let texts = texts.map(|text| String::from_utf8_lossy(text).into_owned());
            texts.collect()
        }
        Some(_) => return Err(invalid()),
    };
    let mut types = [false; 2];
    for text in &listed {
        match text.trim().to_ascii_lowercase().as_str() {
            "c2p" => types[0] = true,
            "p2c" => types[1] = true,
            "" => {}
            _ => return Err(invalid()),
        }
    }
    Ok(types)
}

/// How many buckets there are to each side, and which distance falls into which: each into its
/// own, or farther ones into ever wider ones.
fn buckets(
    config: &Config<'_>,
    version: DebertaVersion,
) -> Result<(usize, DistanceBuckets), BuildError> {
    let (buckets, farthest) = (
        "attention.relative_buckets_count",
        "attention.relative_max_distance",
    );
    let said = |key: &str| Ok(Some(config.double(key, -1.0)?).filter(|count| *count >= 1.0));
    let most = match said(farthest)? {
        Some(most) => most,
        None => config.count("context_length")? as f64,
    };
    if most > FARTHEST {
        return Err(config.invalid(farthest, "at most 2^20 positions that are told apart"));
    }
    let most = most as usize;
    let count = said(buckets)?.filter(|_| version == DebertaVersion::Second);
    let Some(count) = count else {
        let span = most as i64;
        let bucket = |distance: i64| (span - distance).clamp(0, 2 * span - 1) as u32;
        return Ok((most, DistanceBuckets::new(most, bucket)));
    };
    let (count, half) = (count as usize, count as usize / 2);
    if !count.is_multiple_of(2) || half + 1 >= most {
        let what = "an even number, less than twice the farthest distance";
        return Err(config.invalid(buckets, what));
    }
    let (span, half) = (count as i64, half as i64);
    let wide = ((most - 1) as f64 / half as f64).ln();
    let bucket = |distance: i64| {
        let behind = -distance;
        let bucket = match behind.abs() {
            near if near <= half => behind,
            far => {
                let place = (far as f64 / half as f64).ln() / wide * (half - 1) as f64;
                behind.signum() * (place.ceil() as i64 + half)
            }
        };
        (bucket + span).clamp(0, 2 * span - 1) as u32
    };
    // From twice the farthest distance on, all are in the last buckets.
    Ok((count, DistanceBuckets::new(2 * most, bucket)))
}
