//! Shapes of Gemma 3n that people know.

use super::known_shape::{KnownShape, Outline, TINY, shapes};
use rillm_formats::manifest::{Array, MetadataValue};

pub(super) const SHAPES: &[KnownShape] = shapes! {
    "gemma-3n-e2b", "Gemma 3n E2B", [262_400, 2048, 30, 32_768] => tied
        outline(&NestedShape { every: 5, heads: [8, 2], head_dim: 256, hidden: 8192, own: 256, sparse: 10, shared: 10 });
    "tiny-gemma-3n", "streams and embeddings of layers to try things out with", TINY => tied
        outline(&NestedShape { every: 2, heads: [4, 2], head_dim: 64, hidden: 512, own: 32, sparse: 1, shared: 0 });
};

/// Sizes of a model of known shape.
struct NestedShape {
    /// The last of so many layers sees everything.
    every: u64,
    heads: [u64; 2],
    head_dim: u64,
    hidden: u64,
    /// Of a layer's own embedding.
    own: u64,
    /// The first layers, whose gates are open above some deviations.
    sparse: u64,
    /// The last layers, which read the keys of others.
    shared: u64,
}

/// Streams between layers, and elements of a learned residual.
const STREAMS: u64 = 4;
const RANK: u64 = 64;

/// Above how many deviations a twentieth of a normal distribution lies.
const DEVIATIONS: f32 = 1.644_853_6;

fn outline(model: &mut Outline, sizes: &NestedShape) {
    let &NestedShape {
        every,
        heads: [heads, kv_heads],
        head_dim: dim,
        hidden,
        own,
        sparse,
        shared,
    } = sizes;
    let (width, layers) = (model.shape.width, model.shape.layers);
    model.counts(&[
        ("feed_forward_length", hidden),
        ("attention.head_count", heads),
        ("attention.head_count_kv", kv_heads),
        ("attention.key_length", dim),
        ("attention.value_length", dim),
        ("attention.shared_kv_layers", shared),
        ("attention.sliding_window", 512),
        ("altup.active_idx", 0),
        ("altup.num_inputs", STREAMS),
        ("embedding_length_per_layer_input", own),
    ]);
    model.put("rope.freq_base", MetadataValue::F32(1e6));
    let slides = (0..layers).map(|layer| !(layer + 1).is_multiple_of(every));
    let slides = MetadataValue::Array(Array::Bool(slides.collect()));
    model.put("attention.sliding_window_pattern", slides);
    let open = |layer| {
        if layer < sparse {
            DEVIATIONS
        } else {
            f32::NEG_INFINITY
        }
    };
    let open = MetadataValue::Array(Array::F32((0..layers).map(open).collect()));
    model.put("activation_sparsity_scale", open);
    for part in ["altup_proj", "altup_unembd_proj"] {
        model.matrix(&format!("{part}.weight"), &[STREAMS - 1, width, width]);
    }
    let all = layers * own;
    model.matrix(
        "per_layer_token_embd.weight",
        &[model.shape.vocabulary, all],
    );
    model.matrix("per_layer_model_proj.weight", &[all, width]);
    model.norm("per_layer_proj_norm.weight", own);
    for layer in 0..layers {
        let name = |name: &str| format!("blk.{layer}.{name}.weight");
        for norm in [
            "attn_norm",
            "post_attention_norm",
            "ffn_norm",
            "post_ffw_norm",
            "post_norm",
            "altup_correct_scale",
            "altup_router_norm",
            "laurel_post_norm",
        ] {
            model.norm(&name(norm), width);
        }
        model.matrix(&name("attn_q"), &[heads * dim, width]);
        model.matrix(&name("attn_k"), &[kv_heads * dim, width]);
        model.matrix(&name("attn_v"), &[kv_heads * dim, width]);
        model.norm(&name("attn_q_norm"), dim);
        model.norm(&name("attn_k_norm"), dim);
        model.matrix(&name("attn_output"), &[width, heads * dim]);
        model.matrix(&name("laurel_l"), &[RANK, width]);
        model.matrix(&name("laurel_r"), &[width, RANK]);
        model.matrix(&name("altup_router"), &[STREAMS, width]);
        model.matrix(&name("altup_predict_coef"), &[STREAMS * STREAMS, STREAMS]);
        model.matrix(&name("altup_correct_coef"), &[STREAMS, STREAMS]);
        model.matrix(&name("inp_gate"), &[own, width]);
        model.matrix(&name("proj"), &[width, own]);
        model.gated_mlp(layer, hidden);
    }
}
