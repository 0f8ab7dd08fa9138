//! What GGUF says about state-space layers in other words than `config.json`.

use rillm_formats::manifest::{Array, Metadata, Value};

/// Positions that a model without a longest length claims to take: readers want a number.
const ANY_LENGTH: u32 = 1 << 20;

/// Completes the keys of a file of architecture `name` that the folder with `config` becomes.
pub(super) fn complete(name: &str, config: &Metadata, metadata: &mut Metadata) {
    let full = |key: &str| format!("{name}.{key}");
    match name {
        "mamba" | "mamba2" => {}
        "jamba" => return jamba(config, metadata),
        "granitehybrid" => return granite_hybrid(config, metadata),
        _ => return,
    }
    let count = |metadata: &Metadata, key: &str| metadata.u64(&full(key));
    let width = count(metadata, "embedding_length").unwrap_or(0);
    let expand = metadata.f64(&full("ssm.expand")).unwrap_or(2.0);
    let expanded = (width as f64 * expand) as u64;
    let (heads, head_dim) = (
        count(metadata, "ssm.time_step_rank"),
        count(metadata, "ssm.head_dim"),
    );
    let head_dim = head_dim.unwrap_or(64);
    let (inner, rank, states) = match name {
        "mamba" => (expanded, width.div_ceil(16), 16),
        _ => (
            heads.map_or(expanded, |heads| heads.saturating_mul(head_dim)),
            expanded.checked_div(head_dim).unwrap_or(0),
            128,
        ),
    };
    let mut put = |key: &str, value: Value| {
        metadata.0.entry(full(key)).or_insert(value);
    };
    let number = |count: u64| Value::U32(u32::try_from(count).unwrap_or(0));
    put("ssm.inner_size", number(inner));
    put("ssm.time_step_rank", number(rank));
    put("ssm.state_size", number(states));
    put("ssm.conv_kernel", Value::U32(4));
    put("context_length", Value::U32(ANY_LENGTH));
    put("attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    // Without meaning, but readers insist on them.
    put("attention.head_count", Value::U32(0));
    put("feed_forward_length", Value::U32(0));
    if name == "mamba" {
        let normalized = config.str("model_type") == Some("falcon_mamba");
        put("ssm.dt_b_c_rms", Value::Bool(normalized));
    } else {
        put("ssm.group_count", Value::U32(1));
    }
    for key in ["ssm.expand", "ssm.head_dim", "rms_norm", "attention.layers"] {
        metadata.0.remove(&full(key));
    }
}

/// Which layers attend is said by their heads of keys.
fn jamba(config: &Metadata, metadata: &mut Metadata) {
    let count = |metadata: &Metadata, key: &str| metadata.u64(&format!("jamba.{key}"));
    let or = |key: &str, usual: u64| config.u64(key).unwrap_or(usual);
    let (period, offset) = (or("attn_layer_period", 8), or("attn_layer_offset", 4));
    let layers = count(metadata, "block_count").unwrap_or(0).min(1 << 16);
    let kv_heads = or("num_key_value_heads", or("num_attention_heads", 1));
    let heads = (0..layers).map(|layer| match layer.checked_rem(period) {
        Some(place) if place == offset => kv_heads as u32,
        _ => 0,
    });
    let heads = Value::Array(Array::U32(heads.collect()));
    let width = count(metadata, "embedding_length").unwrap_or(0);
    let inner = width.saturating_mul(or("mamba_expand", 2)) as u32;
    let full = |key: &str| format!("jamba.{key}");
    metadata.0.insert(full("attention.head_count_kv"), heads);
    metadata.0.insert(full("ssm.inner_size"), Value::U32(inner));
    metadata.0.remove(&full("ssm.expand"));
}

/// The same; whether they rotate what they compare is said by a flag.
fn granite_hybrid(config: &Metadata, metadata: &mut Metadata) {
    let full = |key: &str| format!("granitehybrid.{key}");
    let count = |metadata: &Metadata, key: &str| metadata.u64(&full(key));
    let layers = count(metadata, "block_count").unwrap_or(0).min(1 << 16);
    let attends = |layer: u64| match config.array("layer_types") {
        Some(Array::String(kinds)) => kinds.get(layer as usize) == Some(b"attention"),
        _ => config
            .array("attn_layer_indices")
            .is_some_and(|list| (0..list.len()).any(|index| list.u64(index) == Some(layer))),
    };
    let all = config.u64("num_attention_heads").unwrap_or(1);
    let kv_heads = config.u64("num_key_value_heads").unwrap_or(all) as u32;
    let heads = (0..layers).map(|layer| if attends(layer) { kv_heads } else { 0 });
    let heads = Value::Array(Array::U32(heads.collect()));
    let width = count(metadata, "embedding_length").unwrap_or(0);
    let expand = config.f64("mamba_expand").unwrap_or(2.0);
    let inner = Value::U32((width as f64 * expand) as u32);
    let bamba = config.str("model_type") == Some("bamba");
    let rotates = bamba || config.str("position_embedding_type") == Some("rope");
    metadata.0.insert(full("attention.head_count_kv"), heads);
    metadata.0.insert(full("ssm.inner_size"), inner);
    let rotates = Value::Bool(rotates);
    metadata.0.insert(full("rope.scaling.finetuned"), rotates);
    if bamba {
        let part = metadata.0.entry(full("rope.partial_factor"));
        part.or_insert(Value::F32(0.5));
    }
    let shared = "expert_shared_feed_forward_length";
    if count(metadata, "expert_count").unwrap_or(0) == 0 {
        if let Some(hidden) = metadata.0.remove(&full(shared)) {
            metadata.0.insert(full("feed_forward_length"), hidden);
        }
        metadata.0.remove(&full("expert_count"));
        metadata.0.remove(&full("expert_used_count"));
    }
    for key in ["ssm.expand", "position_embedding_type"] {
        metadata.0.remove(&full(key));
    }
}

/// The shape that converters give a tensor: heads' numbers stand in a column, a norm of groups
/// in a row for each.
pub(super) fn reshape(name: &str, shape: &mut Vec<u64>, groups: Option<u64>) {
    let part = name.split('.').nth(2).unwrap_or_default();
    match (part, shape.as_slice()) {
        // A convolution's [channels, 1, width].
        ("ssm_conv1d", &[channels, 1, width]) => *shape = vec![channels, width],
        ("ssm_a" | "ssm_d", &[heads]) if groups.is_some() => *shape = vec![heads, 1],
        ("ssm_norm", &[inner]) => {
            let groups = groups.unwrap_or(1).max(1);
            *shape = vec![groups, inner / groups];
        }
        _ => {}
    }
}
