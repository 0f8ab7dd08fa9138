//! Transformer-XL (Dai et al. 2019): attention over a memory of earlier segments, positions that
//! are distances, and words by frequency: rare ones have narrow embeddings (Baevski & Auli 2019)
//! and share what the softmax gives their cluster (Grave et al. 2017).

use super::tables::{keys, names};
use super::{Architecture, DECODER, Family, Only, Quantization};
use crate::graph::blocks::mlp;
use crate::graph::{
    ABSENT_ROWS, BuildError, Builder, Config, Distances, Index, Matrix, MemorySource, Net,
    Pointwise, Role, SegmentMemory, Segments, SinusoidFrequencies, TableRows, Value, Vector,
};
use rillm_formats::manifest::{Array, Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Transformer-XL",
    gguf: &["transfo-xl"],
    hugging_face: &["transfo-xl"],
    family: Family::Recurrent,
    keys: &[keys! {
        "d_model" => "embedding_length",
        "hidden_size" => "embedding_length",
        "d_embed" => "embedding_length_table",
        "n_layer" => "block_count",
        "num_hidden_layers" => "block_count",
        "d_inner" => "feed_forward_length",
        "n_head" => "attention.head_count",
        "num_attention_heads" => "attention.head_count",
        "d_head" => "attention.key_length",
        "layer_norm_epsilon" => "attention.layer_norm_epsilon",
        "attn_type" => "attention.type",
        "same_length" => "attention.same_length",
        "pre_lnorm" => "attention.norm_first",
        "untie_r" => "attention.own_biases",
        "mem_len" => "memory.length",
        "clamp_len" => "memory.distances",
        "cutoffs" => "vocabulary.cutoffs",
        "div_val" => "vocabulary.divisor",
        "tie_projs" => "vocabulary.tied_projections",
        "proj_share_all_but_first" => "vocabulary.tied_tails",
        "vocab_size" => "vocabulary.size",
        "n_token" => "vocabulary.size",
    }],
    settled: &[
        ("sample_softmax", Only::Any),
        ("tie_weight", Only::Any),
        ("tgt_len", Only::Any),
        ("ext_len", Only::Any),
        ("init", Only::Any),
        ("proj_init_std", Only::Any),
        ("adaptive", Only::Is(true)),
    ],
    names: &[names! {
        "transformer.word_emb.emb_layers.{i}.weight" => "token_embd.{i}.weight",
        "transformer.word_emb.emb_projs.{i}" => "token_proj.{i}.weight",
        "transformer.pos_emb.inv_freq" => "position_freqs.weight",
        "transformer.r_w_bias" => "attn_key_bias",
        "transformer.r_r_bias" => "attn_distance_bias",
        "crit.out_layers.{i}.*" => "output.{i}.*",
        "crit.out_projs.{i}" => "output_proj.{i}.weight",
        "crit.cluster_weight" => "output_clusters.weight",
        "crit.cluster_bias" => "output_clusters.bias",
        in "transformer.layers.{i}." => "blk.{i}." {
            "dec_attn.qkv_net.weight" => "attn_qkv.weight",
            "dec_attn.r_net.weight" => "attn_distance.weight",
            "dec_attn.r_w_bias" => "attn_key_bias",
            "dec_attn.r_r_bias" => "attn_distance_bias",
            "dec_attn.o_net.weight" => "attn_output.weight",
            "dec_attn.layer_norm.*" => "attn_norm.*",
            "pos_ff.CoreNet.0.*" => "ffn_up.*",
            "pos_ff.CoreNet.3.*" => "ffn_down.*",
            "pos_ff.layer_norm.*" => "ffn_norm.*",
        }
    }],
    quantization: Quantization {
        // Also used the other way round, which blocks do not allow.
        kept: &["token_proj.", "output_proj."],
        ..Quantization::USUAL
    },
    build,
    ..DECODER
};

/// Most rows of a memory: nothing in the weights bounds what a configuration may claim.
const LONGEST: usize = 1 << 16;

/// x ← LN(x + o(softmax((q + u) kᵀ + (q + w) Rᵀ) v)); x ← LN(x + FF(x)), where R is a projection
/// of each distance's sines and cosines; or the norms come first.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    if !matches!(config.class(), None | Some("TransfoXLLMHeadModel")) {
        return Err(config.invalid_class("TransfoXLLMHeadModel"));
    }
    if config.float("attention.type", 0.0)? != 0.0 {
        return Err(config.invalid("attention.type", "0: only relative positions run"));
    }
    let width = config.count("embedding_length")?;
    let heads = config.count("attention.head_count")?;
    let head_dim = config.count("attention.key_length")?;
    let hidden = config.count("feed_forward_length")?;
    let eps = config.epsilon("attention.layer_norm_epsilon", 1e-5)?;
    let norm_first = config.flag("attention.norm_first", false)?;
    let own_biases = config.flag("attention.own_biases", true)?;
    let all = heads.checked_mul(head_dim);
    let Some(all) = all.filter(|&all| all <= u32::MAX as usize) else {
        return Err(config.invalid("attention.key_length", "heads that fit side by side"));
    };
    let words = Words::read(model, width)?;
    let (segments, distances) = memory(config)?;
    model.segments(segments);

    let tables = model.graph(Role::Table);
    let net = model.graph(Role::Decode);
    let positions = tables.sinusoids(match width.is_multiple_of(2) {
        true => match model.optional_vector("position_freqs.weight", &[width / 2])? {
            Some(stored) => SinusoidFrequencies::Stored(stored),
            None => SinusoidFrequencies::Usual { pairs: width / 2 },
        },
        false => return Err(config.invalid("embedding_length", "an even number")),
    });
    let mut x = words.embed(&net)?;
    for i in 0..config.count("block_count")? {
        let layer = format!("blk.{i}");
        let qkv = model.matrix(&format!("{layer}.attn_qkv.weight"), 3 * all, width)?;
        let norm = |net: &Net<'_, '_>, x: Value, part: &str| {
            net.layer_norm(x, &format!("{layer}.{part}_norm"), eps)
        };
        let bias = |name: &str| match own_biases {
            true => model.vector(&format!("{layer}.{name}"), &[heads, head_dim]),
            false if model.has(name) => model.vector(name, &[heads, head_dim]),
            // Shared tensors may be stored with each layer.
            false => model.vector(&format!("blk.0.{name}"), &[heads, head_dim]),
        };
        let r = model.matrix(&format!("{layer}.attn_distance.weight"), all, width)?;
        let r = tables.session_table(tables.matmul(positions, r, None), distances);
        let absent = match norm_first {
            // What is not there is zeros, which a norm turns into its bias.
            true => {
                let zeros = norm(&tables, tables.scale(positions, 0.0), "attn")?;
                let kv = tables.slice(tables.matmul(zeros, qkv, None), all, 2 * all);
                Some(tables.session_table(kv, TableRows::Fixed(ABSENT_ROWS)))
            }
            false => None,
        };

        let h = if norm_first {
            norm(&net, x, "attn")?
        } else {
            x
        };
        let qkv = net.matmul(h, qkv, None);
        let [q, k, v] = [0, 1, 2].map(|part| net.slice(qkv, part * all, all));
        let state = model.state(SegmentMemory {
            heads,
            head_dim,
            segments,
            source: MemorySource::Kept,
        });
        net.segment_write(k, v, state);
        let (u, w) = (bias("attn_key_bias")?, bias("attn_distance_bias")?);
        let queries = (net.add_vector(q, u), net.add_vector(q, w));
        let scale = 1.0 / (head_dim as f32).sqrt();
        let a = net.segment_attention(queries, scale, Distances::Table(r), absent, state);
        let a = net.add(x, net.linear(a, &format!("{layer}.attn_output"), width)?);
        x = if norm_first {
            a
        } else {
            norm(&net, a, "attn")?
        };
        let h = if norm_first { norm(&net, x, "ffn")? } else { x };
        let h = net.add(x, mlp(&net, h, &layer, hidden, Pointwise::Relu)?);
        x = if norm_first { h } else { norm(&net, h, "ffn")? };
    }
    net.emit(words.head(&net, net.selected(x))?, "logits");
    tables.finish();
    net.finish();
    Ok(())
}

/// The segment memory, and how many distances have a row of their own.
fn memory(config: &Config<'_>) -> Result<(Segments, TableRows), BuildError> {
    let len = config.feature("memory.length")?.unwrap_or(0);
    if len > LONGEST {
        return Err(config.invalid("memory.length", &format!("at most {LONGEST}")));
    }
    // Zero and less clamp nothing.
    let clamp = config.double("memory.distances", 0.0)?;
    let clamp = (clamp >= 1.0 && clamp < LONGEST as f64).then_some(clamp as usize);
    if config.flag("attention.same_length", true)? {
        if len == 0 {
            let what = "above 0, or same_length false: without either a row sees nothing";
            return Err(config.invalid("memory.length", what));
        }
        let rows = TableRows::Fixed(clamp.map_or(len, |clamp| len.min(clamp + 1)));
        return Ok((Segments::Sliding { len }, rows));
    }
    let rows = match clamp {
        Some(clamp) => TableRows::Fixed(clamp + 1),
        None => TableRows::Context(len),
    };
    Ok((Segments::Feed { len }, rows))
}

/// The vocabulary, by frequency: a shortlist and clusters of ever rarer words.
struct Words<'a, 'm> {
    model: &'m Builder<'a>,
    width: usize,
    /// Floats of a frequent word's embedding.
    table_width: usize,
    /// Divides that width from cluster to cluster.
    divisor: usize,
    /// First word of each cluster, and their number at the end.
    ends: Vec<usize>,
    /// Whether the softmax has the embeddings' words.
    tied: bool,
    /// Whether the softmax has the embeddings' projection, by cluster.
    tied_projections: Vec<bool>,
}

impl<'a, 'm> Words<'a, 'm> {
    fn read(model: &'m Builder<'a>, width: usize) -> Result<Words<'a, 'm>, BuildError> {
        let config = model.config();
        let count = config.count("vocabulary.size")?;
        let mut ends = vec![0];
        match config.value("vocabulary.cutoffs") {
            None => {}
            Some(MetadataValue::Array(list)) => {
                let list = (0..list.len()).map(|index| list.u64(index));
                ends.extend(list.map(|end| end.map_or(0, |end| end as usize)));
            }
            Some(_) => return Err(config.invalid("vocabulary.cutoffs", "a list of numbers")),
        }
        ends.push(count);
        if !ends.is_sorted_by(|a, b| a < b) {
            let what = "a list of ever larger numbers between 0 and the vocabulary's size";
            return Err(config.invalid("vocabulary.cutoffs", what));
        }
        let clusters = ends.len() - 1;
        let tied_tails = config.flag("vocabulary.tied_tails", true)?;
        let tied_projections = match config.value("vocabulary.tied_projections") {
            None => (0..clusters)
                .map(|cluster| cluster > 0 && tied_tails)
                .collect(),
            Some(MetadataValue::Array(Array::Bool(list))) => {
                let listed = |cluster| list.get(cluster).copied().unwrap_or(false);
                (0..clusters).map(listed).collect()
            }
            Some(_) => {
                return Err(config.invalid("vocabulary.tied_projections", "a list of booleans"));
            }
        };
        let words = Words {
            model,
            width,
            table_width: config
                .optional_count("embedding_length_table")?
                .unwrap_or(width),
            divisor: config.optional_count("vocabulary.divisor")?.unwrap_or(1),
            ends,
            tied: match config.container {
                Container::Gguf => !model.has("output.0.weight"),
                Container::HuggingFace => config.tied()?.unwrap_or(true),
            },
            tied_projections,
        };
        if words.width_of(clusters - 1) == 0 {
            let what = "one that leaves the last cluster's embedding some width";
            return Err(config.invalid("vocabulary.divisor", what));
        }
        Ok(words)
    }

    fn clusters(&self) -> usize {
        self.ends.len() - 1
    }

    /// First word of a cluster and how many it has.
    fn range(&self, cluster: usize) -> (usize, usize) {
        (
            self.ends[cluster],
            self.ends[cluster + 1] - self.ends[cluster],
        )
    }

    /// Floats of an embedding.
    fn width_of(&self, cluster: usize) -> usize {
        let divisor = u32::try_from(cluster)
            .ok()
            .and_then(|cluster| self.divisor.checked_pow(cluster));
        divisor.map_or(0, |divisor| self.table_width / divisor)
    }

    /// Whether all clusters share one table.
    fn is_one_table(&self) -> bool {
        self.divisor == 1
    }

    /// Whether embeddings are as wide as the model and need no projection.
    fn is_plain(&self) -> bool {
        self.is_one_table() && self.width == self.table_width
    }

    /// √d times each word's embedding, projected to the model's width.
    fn embed(&self, net: &Net<'_, '_>) -> Result<Value, BuildError> {
        let projected = |x: Value, cluster: usize| -> Result<Value, BuildError> {
            let name = self.projection(cluster, self.tied_projections[cluster]);
            let proj = self.model.matrix(&name, self.width, net.width(x))?;
            Ok(net.matmul(x, proj, None))
        };
        let count = self.ends[self.clusters()];
        let x = if self.is_one_table() {
            let table = self.embeddings(0);
            let table = self.model.matrix(&table, count, self.table_width)?;
            let x = net.embed(table, Index::Token);
            if self.is_plain() { x } else { projected(x, 0)? }
        } else {
            // A word that is not of a cluster is zeros there.
            let mut sum = None;
            for cluster in 0..self.clusters() {
                let (first, words) = self.range(cluster);
                let table = self.embeddings(cluster);
                let table = self.model.matrix(&table, words, self.width_of(cluster))?;
                let x = net.embed(table, Index::TokenFrom(first as u32));
                let x = projected(x, cluster)?;
                sum = Some(sum.map_or(x, |sum| net.add(sum, x)));
            }
            match sum {
                Some(sum) => sum,
                None => return Err(self.model.config().invalid("vocabulary.cutoffs", "a list")),
            }
        };
        Ok(net.scale(x, (self.width as f32).sqrt()))
    }

    /// Log-probabilities of all words.
    fn head(&self, net: &Net<'_, '_>, x: Value) -> Result<Value, BuildError> {
        let mut head = None;
        let mut tails = Vec::new();
        for cluster in 0..self.clusters() {
            let h = if self.is_plain() {
                x
            } else {
                net.matmul(x, self.output_projection(cluster)?, None)
            };
            let (weight, bias) = self.output(cluster)?;
            let words = net.matmul(h, weight, bias);
            match head {
                None => head = Some((h, words)),
                Some(_) => tails.push(words),
            }
        }
        let Some((h, words)) = head else {
            return Err(self.model.config().invalid("vocabulary.cutoffs", "a list"));
        };
        let clusters = match tails.len() {
            0 => None,
            count => Some(net.linear(h, "output_clusters", count)?),
        };
        Ok(net.adaptive_softmax(words, clusters, tails))
    }

    /// What a cluster's hidden floats are multiplied by, word by word.
    fn output(&self, cluster: usize) -> Result<(Matrix, Option<Vector>), BuildError> {
        let (first, words) = self.range(cluster);
        let [own, other] = match self.tied {
            true => ["token_embd", "output"],
            false => ["output", "output"],
        };
        if self.is_one_table() {
            let count = self.ends[self.clusters()];
            let weight = self.table(own, other, 0);
            let stored = (count, self.table_width);
            let weight = self.model.row_range(&weight, stored, (first, words))?;
            let bias = "output.0.bias";
            let bias = self
                .model
                .optional_vector_range(bias, count, (first, words))?;
            return Ok((weight, bias));
        }
        let weight = self.table(own, other, cluster);
        let weight = self.model.matrix(&weight, words, self.width_of(cluster))?;
        let bias = format!("output.{cluster}.bias");
        Ok((weight, self.model.optional_vector(&bias, &[words])?))
    }

    /// x ↦ x P, P being stored as it is used for embeddings.
    fn output_projection(&self, cluster: usize) -> Result<Matrix, BuildError> {
        let name = match self.tied_projections[cluster] {
            true => self.projection(if self.is_one_table() { 0 } else { cluster }, true),
            false => format!("output_proj.{cluster}.weight"),
        };
        let columns = self.width;
        self.model
            .transposed(&name, self.width_of(cluster), columns)
    }

    /// The table of embeddings. Of tied tensors a checkpoint may hold either.
    fn embeddings(&self, cluster: usize) -> String {
        let other = if self.tied { "output" } else { "token_embd" };
        self.table("token_embd", other, cluster)
    }

    /// A projection of embeddings. Of tied tensors a checkpoint may hold either.
    fn projection(&self, cluster: usize, tied: bool) -> String {
        let other = if tied { "output_proj" } else { "token_proj" };
        self.table("token_proj", other, cluster)
    }

    fn table(&self, name: &str, other: &str, cluster: usize) -> String {
        let name = format!("{name}.{cluster}.weight");
        match self.model.has(&name) {
            true => name,
            false => {
                let other = format!("{other}.{cluster}.weight");
                if self.model.has(&other) { other } else { name }
            }
        }
    }
}
