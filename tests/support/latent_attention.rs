//! Latent attention as converters to GGUF write it, today's and those of before.

use rillm_formats::manifest::{Metadata, MetadataValue};

use super::to_gguf::{Floats, Gguf};

/// Sizes of heads.
struct Sizes {
    heads: usize,
    rank: usize,
    plain: usize,
    rotated: usize,
    value: usize,
}

impl Sizes {
    fn of(config: &Metadata) -> Sizes {
        let count = |key: &str| config.u64(key).expect(key) as usize;
        Sizes {
            heads: count("num_attention_heads"),
            rank: count("kv_lora_rank"),
            plain: count("qk_nope_head_dim"),
            rotated: count("qk_rope_head_dim"),
            value: count("v_head_dim"),
        }
    }
}

/// Heads' matrices for keys, turned, and for values, in a stack each; a single head of keys with
/// values in it; what rotates as neighbours.
pub fn latent_attention(config: &Metadata, gguf: &mut Gguf) {
    let sizes = Sizes::of(config);
    if config.bool("rope_interleave") == Some(false) {
        pair_ends(&sizes, gguf);
    }
    for (name, floats) in std::mem::take(&mut gguf.tensors) {
        if !name.contains(".attn_kv_b.") {
            gguf.tensors.insert(name, floats);
            continue;
        }
        let [keys, values] = parts(&sizes, &floats.values);
        let mut put = |part: &str, shape: [usize; 3], values: Vec<f32>| {
            let shape = shape.map(|extent| extent as u64).to_vec();
            let name = name.replace("attn_kv_b", part);
            gguf.tensors.insert(name, Floats { shape, values });
        };
        let Sizes { heads, rank, .. } = sizes;
        let turned = keys.chunks(sizes.plain * rank).flat_map(|keys| {
            let places = (0..rank).flat_map(|c| (0..sizes.plain).map(move |r| r * rank + c));
            places.map(|place| keys[place])
        });
        put("attn_k_b", [heads, rank, sizes.plain], turned.collect());
        put("attn_v_b", [heads, sizes.value, rank], values);
    }
    let kept = sizes.rank + sizes.rotated;
    let listed = gguf.metadata.value(&gguf.key("attention.head_count_kv"));
    let listed = listed.filter(|value| matches!(value, MetadataValue::Array(_)));
    let listed = listed.cloned();
    keys(config, &sizes, gguf, [1, kept, sizes.rank]);
    // Kimi Linear's, where most layers have none.
    if let Some(listed) = listed {
        let key = gguf.key("attention.head_count_kv");
        gguf.metadata.0.insert(key, listed);
    }
    let made = [
        ("attention.key_length_mla", sizes.plain + sizes.rotated),
        ("attention.value_length_mla", sizes.value),
    ];
    for (key, count) in made {
        let key = gguf.key(key);
        gguf.metadata
            .0
            .insert(key, MetadataValue::U32(count as u32));
    }
}

/// The same as converters wrote it until 2025: one matrix for keys and values, and heads as they
/// would be made of them.
pub fn expanded(config: &Metadata, gguf: &mut Gguf) {
    let sizes = Sizes::of(config);
    let names: Vec<String> = gguf.tensors.keys().cloned().collect();
    for name in names.iter().filter(|name| name.contains(".attn_k_b.")) {
        let turned = gguf.tensors.remove(name).expect("keys").values;
        let values = gguf.tensors.remove(&name.replace("attn_k_b", "attn_v_b"));
        let values = values.expect("values").values;
        let Sizes { rank, plain, .. } = sizes;
        let of_heads = turned
            .chunks(rank * plain)
            .zip(values.chunks(sizes.value * rank));
        let both = of_heads.flat_map(|(turned, values)| {
            let places = (0..plain).flat_map(move |r| (0..rank).map(move |c| c * plain + r));
            let keys = places.map(|place| turned[place]);
            keys.chain(values.iter().copied())
        });
        let rows = sizes.heads * (plain + sizes.value);
        let floats = Floats {
            shape: vec![rows as u64, rank as u64],
            values: both.collect(),
        };
        gguf.tensors
            .insert(name.replace("attn_k_b", "attn_kv_b"), floats);
    }
    for key in ["attention.key_length_mla", "attention.value_length_mla"] {
        let key = gguf.key(key);
        gguf.metadata.0.remove(&key);
    }
    let made = [sizes.heads, sizes.plain + sizes.rotated, sizes.value];
    keys(config, &sizes, gguf, made);
}

/// Heads of keys and their lengths, and the temperature of all elements.
fn keys(config: &Metadata, sizes: &Sizes, gguf: &mut Gguf, [heads, key, value]: [usize; 3]) {
    for (name, count) in [
        ("attention.head_count_kv", heads),
        ("attention.key_length", key),
        ("attention.value_length", value),
        ("rope.dimension_count", sizes.rotated),
    ] {
        let name = gguf.key(name);
        gguf.metadata
            .0
            .insert(name, MetadataValue::U32(count as u32));
    }
    let objects = ["rope_parameters", "rope_scaling"];
    let m_all = objects.map(|object| config.f64(&format!("{object}.mscale_all_dim")));
    if let Some(m_all) = m_all.into_iter().flatten().next() {
        let name = gguf.key("rope.scaling.yarn_log_multiplier");
        let tenth = MetadataValue::F32((0.1 * m_all) as f32);
        gguf.metadata.0.insert(name, tenth);
    }
    for unused in [
        "attention.key_length_plain",
        "nextn_predict_layers",
        "rope.interleave",
        "rope.scaling.mscale_all_dim",
    ] {
        let unused = gguf.key(unused);
        gguf.metadata.0.remove(&unused);
    }
}

/// Of each head the rows for its keys, and those for its values.
fn parts(sizes: &Sizes, both: &[f32]) -> [Vec<f32>; 2] {
    let head = (sizes.plain + sizes.value) * sizes.rank;
    let cut = sizes.plain * sizes.rank;
    let keys = both.chunks(head).flat_map(|head| &head[..cut]);
    let values = both.chunks(head).flat_map(|head| &head[cut..]);
    [keys.copied().collect(), values.copied().collect()]
}

/// Rows that rotate, at the end of each head, so that those that rotate together are neighbours.
fn pair_ends(sizes: &Sizes, gguf: &mut Gguf) {
    for (name, floats) in &mut gguf.tensors {
        let dim = match name.split('.').nth(2) {
            Some("attn_q" | "attn_q_b") => sizes.plain + sizes.rotated,
            Some("attn_kv_a_mqa") => sizes.rank + sizes.rotated,
            _ => continue,
        };
        let width = floats.shape.iter().skip(1).product::<u64>() as usize;
        for head in floats.values.chunks_mut(dim * width) {
            let end = &mut head[(dim - sizes.rotated) * width..];
            let (first, second) = end.split_at(end.len() / 2);
            let pairs = first.chunks(width).zip(second.chunks(width));
            let paired: Vec<f32> = pairs.flat_map(|(a, b)| [a, b].concat()).collect();
            end.copy_from_slice(&paired);
        }
    }
}
