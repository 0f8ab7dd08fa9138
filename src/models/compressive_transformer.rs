//! Compressive Transformer (Rae et al. 2020): what no longer fits into the memory of earlier
//! segments is compressed into a second, coarser one. As compressive-transformer-pytorch has it,
//! with its gates (Parisotto et al. 2020; Melis et al. 2020, the mogrifier) and its enhanced
//! recurrence (a layer's memory holds what the next one saw; Ding et al. 2021).

use super::tables::{keys, names};
use super::{Architecture, DECODER, Family, Quantization};
use crate::graph::{
    BuildError, Builder, Config, Distances, HiddenMemory, Index, MemorySource, Net, Piece,
    Pointwise, Role, SegmentMemory, Segments, Value,
};
use rillm_formats::manifest::MetadataValue;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Compressive Transformer",
    gguf: &["compressive_transformer"],
    hugging_face: &["compressive_transformer"],
    family: Family::Recurrent,
    keys: &[keys! {
        "num_tokens" => "vocabulary.size",
        "dim" => "embedding_length",
        "emb_dim" => "embedding_length_table",
        "depth" => "block_count",
        "heads" => "attention.head_count",
        "seq_len" => "memory.segment",
        "mem_len" => "memory.length",
        "cmem_len" => "memory.compressed",
        "cmem_ratio" => "memory.ratio",
        "memory_layers" => "memory.layers",
        "enhanced_recurrence" => "memory.enhanced",
        "gru_gated_residual" => "residual.gated",
        "mogrify_gru" => "residual.mogrified",
        "ff_glu" => "feed_forward.gated",
    }],
    names: &[
        names! {
            "token_emb.weight" => "token_embd.weight",
            "pos_emb" => "position_embd.weight",
            "to_model_dim.*" => "token_proj.*",
            "to_logits.0.*" => "output_proj.*",
            "to_logits.1.*" => "output.*",
        },
        names! {
            in "attn_layers.{i}." => "blk.{i}." {
                "fn.norm.*" => "attn_norm.*",
                "fn.fn.to_q.weight" => "attn_q.weight",
                "fn.fn.to_kv.weight" => "attn_kv.weight",
                "fn.fn.to_out.*" => "attn_output.*",
                "fn.fn.compress_mem_fn.conv.*" => "compress.*",
            }
            in "ff_layers.{i}." => "blk.{i}." {
                "fn.norm.*" => "ffn_norm.*",
                "fn.fn.w1.*" => "ffn_up.*",
                "fn.fn.w2.*" => "ffn_down.*",
            }
        },
        names! {
            in "attn_layers.{i}." => "blk.{i}." {
                "gru.weight_ih" => "attn_gate_in.weight",
                "gru.bias_ih" => "attn_gate_in.bias",
                "gru.weight_hh" => "attn_gate_past.weight",
                "gru.bias_hh" => "attn_gate_past.bias",
            }
            in "ff_layers.{i}." => "blk.{i}." {
                "gru.weight_ih" => "ffn_gate_in.weight",
                "gru.bias_ih" => "ffn_gate_in.bias",
                "gru.weight_hh" => "ffn_gate_past.weight",
                "gru.bias_hh" => "ffn_gate_past.bias",
            }
        },
        names! {
            in "attn_layers.{i}." => "blk.{i}." {
                "mogrify.Q.0.0.*" => "attn_mogrify_q_down.*",
                "mogrify.Q.0.1.*" => "attn_mogrify_q_up.*",
                "mogrify.R.0.0.*" => "attn_mogrify_r_down.*",
                "mogrify.R.0.1.*" => "attn_mogrify_r_up.*",
            }
            in "ff_layers.{i}." => "blk.{i}." {
                "mogrify.Q.0.0.*" => "ffn_mogrify_q_down.*",
                "mogrify.Q.0.1.*" => "ffn_mogrify_q_up.*",
                "mogrify.R.0.0.*" => "ffn_mogrify_r_down.*",
                "mogrify.R.0.1.*" => "ffn_mogrify_r_up.*",
            }
        },
    ],
    quantization: Quantization {
        kept: &["token_proj.", "output_proj.", ".compress.weight"],
        ..Quantization::USUAL
    },
    build,
    ..DECODER
};

/// PyTorch's for a layer norm.
const NORM_EPS: f32 = 1e-5;

/// The mogrifier's rounds: the package's only ones.
const ROUNDS: usize = 5;

/// Hyperparameters.
struct CompressiveSizes {
    width: usize,
    heads: usize,
    head_dim: usize,
    segments: Segments,
    compressed: usize,
    ratio: usize,
    layers: usize,
    gated: bool,
    mogrified: bool,
    glu: bool,
    /// Layers with a segment memory, in order; all, if there is no list.
    memories: Option<Vec<usize>>,
    enhanced: bool,
    positions: usize,
}

/// x ← G(x, o(softmax(q (k + p)ᵀ) v)) over compressed rows, those of the memory and the segment;
/// x ← G(x, FF(LN(x))), where G adds or is a gated recurrent unit.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let shape = CompressiveSizes::read(model)?;
    let CompressiveSizes {
        width,
        heads,
        head_dim,
        segments,
        ..
    } = shape;
    model.segments(segments);
    let table = model.vector("position_embd.weight", &[heads, shape.positions, head_dim])?;
    let distances = Distances::Learned {
        table,
        positions: shape.positions,
    };
    let hidden = model.state(HiddenMemory {
        layers: shape.memories.as_ref().map_or(shape.layers, Vec::len),
        width,
        segments,
        rotates: shape.enhanced,
    });

    let net = model.graph(Role::Decode);
    let vocabulary = config.count("vocabulary.size")?;
    let narrow = config
        .optional_count("embedding_length_table")?
        .unwrap_or(width);
    let tokens = model.matrix("token_embd.weight", vocabulary, narrow)?;
    let mut x = net.embed(tokens, Index::Token);
    if narrow != width {
        x = net.linear(x, "token_proj", width)?;
    }
    // Layer by layer: a count that no tensors bear out ends at the first that is missing.
    let mut states: Vec<Piece<SegmentMemory>> = Vec::new();
    for i in 0..shape.layers {
        let layer = format!("blk.{i}");
        let h = net.layer_norm(x, &format!("{layer}.attn_norm"), NORM_EPS)?;
        let q = net.linear(h, &format!("{layer}.attn_q"), width)?;
        let (k, v) = keys(&net, h, i)?;
        let state = model.state(shape.memory(i));
        states.push(state);
        net.segment_write(k, v, state);
        if let Some(memory) = shape.place(i) {
            net.segment_write_hidden(h, memory, hidden);
        }
        let scale = 1.0 / (head_dim as f32).sqrt();
        let a = net.segment_attention((q, q), scale, distances, None, state);
        let a = net.linear(a, &format!("{layer}.attn_output"), width)?;
        x = shape.joined(&net, x, a, &format!("{layer}.attn"))?;

        let h = net.layer_norm(x, &format!("{layer}.ffn_norm"), NORM_EPS)?;
        let h = shape.feed_forward(&net, h, &layer)?;
        x = shape.joined(&net, x, h, &format!("{layer}.ffn"))?;
    }
    let mut x = net.selected(x);
    if narrow != width {
        x = net.linear(x, "output_proj", narrow)?;
    }
    net.emit(net.linear(x, "output", vocabulary)?, "logits");
    net.finish();
    compress(model, &shape, hidden)?;
    // k, v ← kv(memory), for each layer that has one.
    let net = model.graph(Role::Reproject);
    for (i, &state) in states.iter().enumerate() {
        if let Some(memory) = shape.place(i) {
            let (k, v) = keys(&net, net.segment_read(memory, hidden, width), i)?;
            net.segment_write_reprojected(k, v, state);
        }
    }
    net.finish();
    Ok(())
}

/// conv(rows that leave), for each layer that has a segment memory, if anything is kept of it.
fn compress(
    model: &Builder<'_>,
    shape: &CompressiveSizes,
    hidden: Piece<HiddenMemory>,
) -> Result<(), BuildError> {
    let net = model.graph(Role::Compress);
    let window = (shape.width, shape.ratio);
    for i in 0..shape.layers {
        let memory = shape.place(i).filter(|_| shape.compressed > 0);
        let name = format!("blk.{i}.compress");
        // Layers that need none have one nevertheless.
        if memory.is_none() && !model.has(&format!("{name}.weight")) {
            continue;
        }
        let weight = model.window_matrix(&format!("{name}.weight"), shape.width, window)?;
        let bias = model.optional_vector(&format!("{name}.bias"), &[shape.width])?;
        if let Some(memory) = memory {
            let rows = net.segment_evict(memory, hidden, window);
            net.segment_write_compressed(net.matmul(rows, weight, bias), memory, hidden);
        }
    }
    if shape.compressed > 0 {
        net.finish();
    }
    Ok(())
}

/// Keys and values as layer `i` makes them.
fn keys(net: &Net<'_, '_>, x: Value, i: usize) -> Result<(Value, Value), BuildError> {
    let width = net.width(x);
    let kv = net.linear(x, &format!("blk.{i}.attn_kv"), 2 * width)?;
    Ok((net.slice(kv, 0, width), net.slice(kv, width, width)))
}

impl CompressiveSizes {
    fn read(model: &Builder<'_>) -> Result<CompressiveSizes, BuildError> {
        let config = model.config();
        let width = config.count("embedding_length")?;
        let layers = config.count("block_count")?;
        let heads = config.optional_count("attention.head_count")?.unwrap_or(8);
        if !width.is_multiple_of(heads) {
            return Err(config.invalid("attention.head_count", "a divisor of the width"));
        }
        let rows = config.count("memory.segment")?;
        let len = config.optional_count("memory.length")?.unwrap_or(rows);
        let ratio = config.optional_count("memory.ratio")?.unwrap_or(4);
        let compressed = match config.value("memory.compressed") {
            Some(_) => config.feature("memory.compressed")?.unwrap_or(0),
            None => len / ratio,
        };
        if len < rows {
            return Err(config.invalid("memory.length", "at least the segment's length"));
        }
        if compressed < len / ratio {
            let what = "at least the memory's length over the ratio";
            return Err(config.invalid("memory.compressed", what));
        }
        Ok(CompressiveSizes {
            width,
            heads,
            head_dim: width / heads,
            segments: Segments::Rows {
                rows,
                len,
                compressed,
                ratio,
            },
            compressed,
            ratio,
            layers,
            gated: config.flag("residual.gated", true)?,
            mogrified: config.flag("residual.mogrified", false)?,
            glu: config.flag("feed_forward.gated", false)?,
            memories: memories(config, layers)?,
            enhanced: config.flag("memory.enhanced", true)?,
            positions: rows + len + compressed,
        })
    }

    /// A layer's place among those with a memory.
    fn place(&self, layer: usize) -> Option<usize> {
        match &self.memories {
            None => Some(layer),
            Some(layers) => layers.binary_search(&layer).ok(),
        }
    }

    fn memory(&self, layer: usize) -> SegmentMemory {
        SegmentMemory {
            heads: self.heads,
            head_dim: self.head_dim,
            segments: self.segments,
            source: match self.place(layer) {
                Some(_) => MemorySource::Projected,
                None => MemorySource::Nothing,
            },
        }
    }

    /// x + y, or a gated recurrent unit that takes y in and has x for its past.
    fn joined(
        &self,
        net: &Net<'_, '_>,
        x: Value,
        y: Value,
        name: &str,
    ) -> Result<Value, BuildError> {
        if !self.gated {
            return Ok(net.add(y, x));
        }
        let (y, x) = match self.mogrified {
            true => self.mogrify(net, y, x, name)?,
            false => (y, x),
        };
        let width = self.width;
        let taken = net.linear(y, &format!("{name}_gate_in"), 3 * width)?;
        let past = net.linear(x, &format!("{name}_gate_past"), 3 * width)?;
        let part = |of: Value, index: usize| net.slice(of, index * width, width);
        let gate = |index: usize| {
            let sum = net.add(part(taken, index), part(past, index));
            net.apply(sum, Pointwise::Sigmoid)
        };
        let (r, z) = (gate(0), gate(1));
        let n = net.add(part(taken, 2), net.mul(r, part(past, 2)));
        let n = net.apply(n, Pointwise::Tanh);
        // (1 − z) n + z x
        Ok(net.add(n, net.mul(z, net.add(x, net.scale(n, -1.0)))))
    }

    /// In turns, each is scaled by 2 σ of a projection of the other.
    fn mogrify(
        &self,
        net: &Net<'_, '_>,
        mut y: Value,
        mut x: Value,
        name: &str,
    ) -> Result<(Value, Value), BuildError> {
        let gate = |from: Value, letter: char| -> Result<Value, BuildError> {
            let down = format!("{name}_mogrify_{letter}_down");
            let down = net.linear(from, &down, self.width / 4)?;
            let up = net.linear(down, &format!("{name}_mogrify_{letter}_up"), self.width)?;
            Ok(net.scale(net.apply(up, Pointwise::Sigmoid), 2.0))
        };
        for round in 0..ROUNDS {
            if round % 2 == 0 {
                y = net.mul(gate(x, 'q')?, y);
            } else {
                x = net.mul(gate(y, 'r')?, x);
            }
        }
        Ok((y, x))
    }

    /// down(gelu(up x)), or down(gelu(g) ⊙ u) with both halves of up x.
    fn feed_forward(&self, net: &Net<'_, '_>, x: Value, layer: &str) -> Result<Value, BuildError> {
        let inner = 4 * self.width;
        let up = format!("{layer}.ffn_up");
        let h = if self.glu {
            let both = net.linear(x, &up, 2 * inner)?;
            let gate = net.apply(net.slice(both, 0, inner), Pointwise::GeluErf);
            net.mul(gate, net.slice(both, inner, inner))
        } else {
            net.apply(net.linear(x, &up, inner)?, Pointwise::GeluErf)
        };
        net.linear(h, &format!("{layer}.ffn_down"), self.width)
    }
}

/// The layers with a memory: all, or those that are listed, counted from one.
fn memories(config: &Config<'_>, layers: usize) -> Result<Option<Vec<usize>>, BuildError> {
    let key = "memory.layers";
    let Some(value) = config.value(key) else {
        return Ok(None);
    };
    let mut found = Vec::new();
    if let MetadataValue::Array(list) = value {
        let number = |index| list.u64(index)?.checked_sub(1);
        found.extend((0..list.len()).map(|index| number(index).unwrap_or(u64::MAX)));
    }
    found.sort_unstable();
    found.dedup();
    if found.is_empty() || found.iter().any(|&layer| layer >= layers as u64) {
        return Err(config.invalid(key, &format!("a list of numbers from 1 to {layers}")));
    }
    let found = found.into_iter().map(|layer| layer as usize);
    Ok(Some(found.collect()))
}
