//! BERT (Devlin et al. 2019) and its heads.

use super::tables::{keys, names};
use super::{Architecture, Conversion, DECODER, Family, Only, conversion};
use crate::graph::blocks::{activation, head, mlp};
use crate::graph::{
    Attention, BuildError, Builder, Index, Keys, Mask, Net, Pointwise, PositionScheme, Role, Value,
};

/// Hugging Face names: the bare model has no prefix.
macro_rules! table {
    ($($prefix:literal),*) => {
        names! {
            "cls.predictions.transform.dense.*" => "mlm_dense.*",
            "cls.predictions.transform.LayerNorm.*" => "mlm_norm.*",
            "cls.predictions.transform.LayerNorm.gamma" => "mlm_norm.weight",
            "cls.predictions.transform.LayerNorm.beta" => "mlm_norm.bias",
            "cls.predictions.decoder.weight" => "output.weight",
            "cls.predictions.bias" => "output.bias",
            "cls.predictions.decoder.bias" => "output_copy.bias",
            "classifier.*" => "classifier.*",
            "qa_outputs.*" => "qa_outputs.*",
            $(in $prefix => "" {
                "embeddings.word_embeddings.weight" => "token_embd.weight",
                "embeddings.position_embeddings.weight" => "position_embd.weight",
                "embeddings.token_type_embeddings.weight" => "token_types.weight",
                "embeddings.LayerNorm.*" => "token_embd_norm.*",
                "embeddings.LayerNorm.gamma" => "token_embd_norm.weight",
                "embeddings.LayerNorm.beta" => "token_embd_norm.bias",
                "encoder.layer.{i}.attention.self.query.*" => "blk.{i}.attn_q.*",
                "encoder.layer.{i}.attention.self.key.*" => "blk.{i}.attn_k.*",
                "encoder.layer.{i}.attention.self.value.*" => "blk.{i}.attn_v.*",
                "encoder.layer.{i}.attention.output.dense.*" => "blk.{i}.attn_output.*",
                "encoder.layer.{i}.attention.output.LayerNorm.*" => "blk.{i}.attn_output_norm.*",
                "encoder.layer.{i}.attention.output.LayerNorm.gamma" => "blk.{i}.attn_output_norm.weight",
                "encoder.layer.{i}.attention.output.LayerNorm.beta" => "blk.{i}.attn_output_norm.bias",
                "encoder.layer.{i}.intermediate.dense.*" => "blk.{i}.ffn_up.*",
                "encoder.layer.{i}.output.dense.*" => "blk.{i}.ffn_down.*",
                "encoder.layer.{i}.output.LayerNorm.*" => "blk.{i}.layer_output_norm.*",
                "encoder.layer.{i}.output.LayerNorm.gamma" => "blk.{i}.layer_output_norm.weight",
                "encoder.layer.{i}.output.LayerNorm.beta" => "blk.{i}.layer_output_norm.bias",
                "pooler.dense.*" => "pooler.*",
            })*
        }
    };
}

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "BERT",
    gguf: &["bert"],
    hugging_face: &["bert"],
    family: Family::Encoder,
    keys: &[keys! {
        "hidden_size" => "embedding_length",
        "num_hidden_layers" => "block_count",
        "intermediate_size" => "feed_forward_length",
        "num_attention_heads" => "attention.head_count",
        "layer_norm_eps" => "attention.layer_norm_epsilon",
        "hidden_act" => "hidden_act",
        "position_embedding_type" => "position_embedding_type",
        "is_decoder" => "is_decoder",
    }],
    settled: &[
        ("directionality", Only::Any),
        // Distilled models say their width twice.
        ("emb_size", Only::Any),
        ("pooler_fc_size", Only::Any),
        ("pooler_num_attention_heads", Only::Any),
        ("pooler_num_fc_layers", Only::Any),
        ("pooler_size_per_head", Only::Any),
        ("pooler_type", Only::Text(&["first_token_transform"])),
    ],
    ties: true,
    names: &[table!("", "bert.")],
    conversion: Conversion {
        keys: |keys| {
            // Which head a checkpoint has is known by its class alone.
            if let Some(classes) = keys.config.value("architectures") {
                keys.bare.0.insert("architectures".into(), classes.clone());
            }
        },
        complete: |keys, tensors| {
            let positions = conversion::rows(tensors, "position_embd.weight");
            if let Some(positions) = positions {
                keys.put_usual_context(positions);
            }
        },
        ..Conversion::PLAIN
    },
    build,
    ..DECODER
};

/// x ← LN(x + Attention(x)); x ← LN(x + MLP(x)): normalisation comes after the sum.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    let hidden = config.count("feed_forward_length")?;
    let heads = config.count("attention.head_count")?;
    if !width.is_multiple_of(heads) {
        return Err(config.invalid("attention.head_count", "a divisor of the width"));
    }
    let head_dim = width / heads;
    let eps = config.epsilon("attention.layer_norm_epsilon", 1e-12)?;
    let function = activation(config, "hidden_act", "gelu")?;
    if config
        .text("position_embedding_type")?
        .unwrap_or("absolute")
        != "absolute"
    {
        return Err(config.invalid("position_embedding_type", "absolute"));
    }
    if config.flag("is_decoder", false)? {
        return Err(config.invalid("is_decoder", "false: BERT is run as an encoder"));
    }
    let positions = model.rows("position_embd.weight")?;
    model.context(positions);

    let net = model.graph(Role::Encode);
    let table = |name: &str| model.matrix(name, model.rows(name)?, width);
    let mut x = net.embed(table("token_embd.weight")?, Index::Token);
    x = net.add(x, net.embed(table("token_types.weight")?, Index::TokenType));
    x = net.add(
        x,
        net.embed(table("position_embd.weight")?, Index::Position),
    );
    x = net.layer_norm(x, "token_embd_norm", eps)?;
    for i in 0..config.count("block_count")? {
        let layer = format!("blk.{i}");
        let [q, k, v] = if model.has(&format!("{layer}.attn_qkv.weight")) {
            let qkv = net.linear(x, &format!("{layer}.attn_qkv"), 3 * width)?;
            [0, 1, 2].map(|part| net.slice(qkv, part * width, width))
        } else {
            [
                net.linear(x, &format!("{layer}.attn_q"), width)?,
                net.linear(x, &format!("{layer}.attn_k"), width)?,
                net.linear(x, &format!("{layer}.attn_v"), width)?,
            ]
        };
        let attention = Attention {
            heads,
            kv_heads: heads,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            softcap: None,
            mask: Mask::Bidirectional,
            position: PositionScheme::None,
            keys: Keys::Rows,
        };
        let a = net.attention(q, Some((k, v)), attention);
        let a = net.linear(a, &format!("{layer}.attn_output"), width)?;
        x = net.layer_norm(net.add(x, a), &format!("{layer}.attn_output_norm"), eps)?;
        let f = mlp(&net, x, &layer, hidden, function)?;
        x = net.layer_norm(net.add(x, f), &format!("{layer}.layer_output_norm"), eps)?;
    }
    heads_of(model, &net, x, (function, eps))?;
    net.finish();
    Ok(())
}

/// What the checkpoint's class puts on top of the encoder's output.
fn heads_of(
    model: &Builder<'_>,
    net: &Net<'_, '_>,
    x: Value,
    (function, eps): (Pointwise, f32),
) -> Result<(), BuildError> {
    let width = net.width(x);
    let pooled = || -> Result<Value, BuildError> {
        Ok(net.apply(
            net.linear(net.first_rows(x), "pooler", width)?,
            Pointwise::Tanh,
        ))
    };
    let classifier = |x| net.linear(x, "classifier", model.rows("classifier.weight")?);
    match model.config().class().unwrap_or("BertModel") {
        "BertForMaskedLM" => {
            let h = net.apply(net.linear(x, "mlm_dense", width)?, function);
            let h = net.layer_norm(h, "mlm_norm", eps)?;
            net.emit(head(net, h)?, "logits");
        }
        "BertForSequenceClassification" => net.emit(classifier(pooled()?)?, "logits"),
        "BertForTokenClassification" => net.emit(classifier(x)?, "logits"),
        "BertForQuestionAnswering" => {
            let ends = net.linear(x, "qa_outputs", 2)?;
            net.emit(net.slice(ends, 0, 1), "start_logits");
            net.emit(net.slice(ends, 1, 1), "end_logits");
        }
        "BertModel" => {
            net.emit(x, "last_hidden_state");
            if model.has("pooler.weight") {
                net.emit(pooled()?, "pooler_output");
            }
        }
        _ => {
            let known = "BertModel, BertForMaskedLM, BertForSequenceClassification, \
                         BertForTokenClassification or BertForQuestionAnswering";
            return Err(model.config().invalid_class(known));
        }
    }
    Ok(())
}
