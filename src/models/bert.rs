//! BERT (Devlin et al. 2019), and what encoders after it have in common with it.

use super::tables::{keys, names};
use super::task_heads::{self, POOLED, RANKED, TaskHeads};
use super::{Architecture, Conversion, DECODER, Family, Only, conversion};
use crate::graph::blocks::{Heads, activation, gated_mlp, mlp, projections};
use crate::graph::{
    Attention, BuildError, Builder, Config, Counting, Index, Key, Keys, KvCache, Mask, Name, Net,
    Pointwise, PositionScheme, Role, Value,
};
use rillm_formats::manifest::Container;

/// Hugging Face names of the encoder, under each of these prefixes: the bare model has none.
macro_rules! encoder_names {
    ($($prefix:literal),*) => {
        names! {
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
pub(super) use encoder_names;

/// The norm's epsilon, where nothing is said.
const EPS: f32 = 1e-12;

/// Sizes, heads and the norm's epsilon.
pub(super) const KEYS: &[Key] = keys! {
    "hidden_size" => "embedding_length",
    "num_hidden_layers" => "block_count",
    "intermediate_size" => "feed_forward_length",
    "num_attention_heads" => "attention.head_count",
    "layer_norm_eps" => "attention.layer_norm_epsilon",
    "hidden_act" => "hidden_act",
    "position_embedding_type" => "position_embedding_type",
    "is_decoder" => "is_decoder",
};

/// Hugging Face names of the heads.
pub(super) const HEADS: &[Name] = names! {
    "cls.predictions.transform.dense.*" => "mlm_dense.*",
    "cls.predictions.transform.LayerNorm.*" => "mlm_norm.*",
    "cls.predictions.transform.LayerNorm.gamma" => "mlm_norm.weight",
    "cls.predictions.transform.LayerNorm.beta" => "mlm_norm.bias",
    "cls.predictions.decoder.weight" => "output.weight",
    "cls.predictions.bias" => "output.bias",
    "cls.predictions.decoder.bias" => "output_copy.bias",
    "cls.seq_relationship.*" => "sentence_order.*",
    "classifier.*" => "classifier.*",
    "qa_outputs.*" => "qa_outputs.*",
};

/// Files say which head they have and how long texts may be.
pub(super) const CONVERSION: Conversion = Conversion {
    keys: task_heads::keys,
    complete: |keys, tensors| {
        let positions = conversion::rows(tensors, "position_embd.weight");
        if let Some(positions) = positions {
            keys.put_usual_context(positions);
        }
    },
    ..Conversion::PLAIN
};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "BERT",
    gguf: &["bert"],
    hugging_face: &["bert"],
    family: Family::Encoder,
    keys: &[KEYS],
    settled: &[
        ("directionality", Only::Any),
        // Distilled models say their width twice.
        ("emb_size", Only::Any),
        // DNABERT's authors tried other models with the same file.
        ("num_rnn_layer", Only::Any),
        ("pooler_fc_size", Only::Any),
        ("pooler_num_attention_heads", Only::Any),
        ("pooler_num_fc_layers", Only::Any),
        ("pooler_size_per_head", Only::Any),
        ("pooler_type", Only::Text(&["first_token_transform"])),
        ("rnn_hidden", Only::Any),
    ],
    harmless_in_gguf: &["classifier.output_labels"],
    ties: true,
    names: &[HEADS, encoder_names!("", "bert.")],
    conversion: CONVERSION,
    build,
    ..DECODER
};

/// Tables whose rows are added to tokens'.
const TABLES: [(&str, Index); 2] = [
    ("token_types.weight", Index::TokenType),
    ("position_embd.weight", Index::Position),
];

fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let width = config.count("embedding_length")?;
    model.context(model.rows("position_embd.weight")?);
    let encoder = PostNormLayers::read(config, width, EPS)?;
    let mut tables = TABLES.to_vec();
    if config.container == Container::Gguf && config.class().is_none() {
        // Other converters write encoders after BERT as such, of which some have no token types.
        if !model.has("token_types.weight") {
            tables.remove(0);
        }
        count_positions(model);
    }

    let net = model.graph(encoder.role());
    let x = embeddings(&net, width, &tables, encoder.eps)?;
    let x = encoder.run(&net, x)?;
    let heads = TaskHeads {
        classes: &["Bert"],
        masked: (encoder.function, encoder.eps),
        sequence: POOLED,
        choice: POOLED,
    };
    let ranks = ["cls.weight", "cls.output.weight"];
    match config.class() {
        None if ranks.iter().any(|name| model.has(name)) => net.emit(ranked(&net, x)?, "logits"),
        Some("BertForPreTraining") => heads.emit_pretraining(&net, x)?,
        Some("BertForNextSentencePrediction") => {
            net.emit(task_heads::follows(&net, x)?, "logits");
        }
        _ => heads.emit(&net, x)?,
    }
    net.finish();
    Ok(())
}

/// The positions of the encoders that converters write as BERT and that count those of tokens
/// which are no padding: their vocabularies are of another kind.
fn count_positions(model: &Builder<'_>) {
    let metadata = model.config().metadata;
    if matches!(metadata.str("tokenizer.ggml.model"), Some("gpt2" | "t5")) {
        let padding = metadata.u64("tokenizer.ggml.padding_token_id");
        let padding = padding.and_then(|id| u32::try_from(id).ok()?.checked_add(1));
        // 1 wherever RoBERTa's files do not say it.
        model.counts_positions(Counting::Unpadded(padding.map_or(1, |next| next - 1)));
    }
}

/// Scores of sequences in GGUF files of rerankers, of whose two layers either may be absent.
fn ranked(net: &Net<'_, '_>, x: Value) -> Result<Value, BuildError> {
    let model = net.builder;
    let dense = RANKED.dense.filter(|_| model.has("cls.weight"));
    let ranked = task_heads::Scores { dense, ..RANKED };
    match model.has("cls.output.weight") {
        true => ranked.of(net, x),
        false => ranked.hidden(net, x),
    }
}

/// LN(Σ tables): the token's row, and one of each other table.
pub(super) fn embeddings(
    net: &Net<'_, '_>,
    width: usize,
    tables: &[(&str, Index)],
    eps: f32,
) -> Result<Value, BuildError> {
    let model = net.builder;
    let table = |name: &str| model.matrix(name, model.rows(name)?, width);
    let mut x = net.embed(table("token_embd.weight")?, Index::Token);
    for &(name, index) in tables {
        x = net.add(x, net.embed(table(name)?, index));
    }
    net.layer_norm(x, "token_embd_norm", eps)
}

/// Layers that normalise after each sum.
pub(super) struct PostNormLayers {
    /// How attention is cut.
    pub heads: Heads,
    /// Between the matrices of the feed-forward layer.
    pub hidden: usize,
    /// Its function.
    pub function: Pointwise,
    /// Whether the function's values let others through.
    pub gated: bool,
    /// The norms'.
    pub eps: f32,
    /// How positions enter attention.
    pub position: PositionScheme,
    /// Whether rows see those before them alone, as in what predicts the next token.
    pub decodes: bool,
}

impl PostNormLayers {
    /// What configurations say of them, where positions enter with the embedding.
    pub(super) fn read(
        config: &Config<'_>,
        width: usize,
        eps: f32,
    ) -> Result<PostNormLayers, BuildError> {
        let decodes = config.flag("is_decoder", false)?;
        if decodes && !task_heads::predicts_next(config) {
            let expected = "false but for classes that predict the next token";
            return Err(config.invalid("is_decoder", expected));
        }
        let scheme = config.text("position_embedding_type")?;
        if scheme.unwrap_or("absolute") != "absolute" {
            return Err(config.invalid("position_embedding_type", "absolute"));
        }
        Ok(PostNormLayers {
            heads: Heads::read(config, width)?,
            hidden: config.count("feed_forward_length")?,
            function: activation(config, "hidden_act", "gelu")?,
            gated: false,
            eps: config.epsilon("attention.layer_norm_epsilon", eps)?,
            position: PositionScheme::None,
            decodes,
        })
    }

    /// The graph that they are of.
    pub(super) fn role(&self) -> Role {
        match self.decodes {
            true => Role::Decode,
            false => Role::Encode,
        }
    }

    /// x after all of them, each with weights of its own.
    pub(super) fn run(&self, net: &Net<'_, '_>, mut x: Value) -> Result<Value, BuildError> {
        for i in 0..net.builder.config().count("block_count")? {
            x = self.layer(net, x, &format!("blk.{i}"))?;
        }
        Ok(x)
    }

    /// x ← LN(x + Attention(x)); x ← LN(x + MLP(x)), which may be gated.
    pub(super) fn layer(
        &self,
        net: &Net<'_, '_>,
        x: Value,
        layer: &str,
    ) -> Result<Value, BuildError> {
        if !self.decodes {
            return self.masked_layer(net, x, layer, Mask::Bidirectional);
        }
        let [q, k, v] = projections(net, x, layer, self.heads)?;
        let past = KvCache::new(self.heads.kv_heads, self.heads.head_dim);
        let attention = Attention {
            keys: Keys::Cache(net.builder.state(past)),
            ..self.attention(Mask::Causal { window: None })
        };
        let a = net.attention(q, Some((k, v)), attention);
        self.behind_attention(net, [x, a], layer)
    }

    /// The same through a mask.
    pub(super) fn masked_layer(
        &self,
        net: &Net<'_, '_>,
        x: Value,
        layer: &str,
        mask: Mask,
    ) -> Result<Value, BuildError> {
        let [q, k, v] = projections(net, x, layer, self.heads)?;
        let a = net.attention(q, Some((k, v)), self.attention(mask));
        self.behind_attention(net, [x, a], layer)
    }

    /// Its attention, through a mask.
    pub(super) fn attention(&self, mask: Mask) -> Attention {
        Attention {
            mask,
            keys: Keys::Rows,
            ..self.heads.causal(self.position.clone())
        }
    }

    /// What becomes of x, and of what attention made of it.
    pub(super) fn behind_attention(
        &self,
        net: &Net<'_, '_>,
        [x, a]: [Value; 2],
        layer: &str,
    ) -> Result<Value, BuildError> {
        let x = self.attended(net, [x, a], layer)?;
        let f = match self.gated {
            true => gated_mlp(net, x, layer, self.hidden, self.function)?,
            false => mlp(net, x, layer, self.hidden, self.function)?,
        };
        self.fed_forward(net, [x, f], layer)
    }

    /// LN(x + attn_output(a)).
    pub(super) fn attended(
        &self,
        net: &Net<'_, '_>,
        [x, a]: [Value; 2],
        layer: &str,
    ) -> Result<Value, BuildError> {
        let a = net.linear(a, &format!("{layer}.attn_output"), net.width(x))?;
        net.layer_norm(
            net.add(x, a),
            &format!("{layer}.attn_output_norm"),
            self.eps,
        )
    }

    /// LN(x + f).
    pub(super) fn fed_forward(
        &self,
        net: &Net<'_, '_>,
        [x, f]: [Value; 2],
        layer: &str,
    ) -> Result<Value, BuildError> {
        net.layer_norm(
            net.add(x, f),
            &format!("{layer}.layer_output_norm"),
            self.eps,
        )
    }
}
