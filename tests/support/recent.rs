//! What converters make of the models of 2025 and 2026, for [`Gguf`].

use std::collections::BTreeMap;

use rillm_formats::manifest::{Array, Metadata, MetadataValue};

use super::to_gguf::{Floats, Gguf};

impl Gguf {
    /// Tensors in the order and in the parts that converters write.
    pub(super) fn as_of_2026(&mut self, model_type: &str, config: &Metadata) {
        match model_type {
            "qwen3_5_text" | "qwen3_5_moe_text" => self.value_heads_in_turn(),
            "lfm2" => self.feed_forward_as_it_is(),
            "falcon_h1" => self.factors_in_weights(config),
            "gemma4_text" => self.proportion_as_divisors(config),
            "apertus" => self.numbers_as_lists(),
            "codegen" => self.blocks_apart(),
            "internlm2" => self.groups_apart(),
            "baichuan" => self.thirds_apart(),
            "kimi_linear" => self.convolutions_in_columns(),
            _ => {}
        }
    }

    /// Of heads of values that share one of keys: the first of each, then the second ones.
    fn value_heads_in_turn(&mut self) {
        let count = |key: &str| self.count(key).expect(key) as usize;
        let (groups, dim) = (count("ssm.group_count"), count("ssm.value_head_size"));
        let (shared, first) = (
            count("ssm.time_step_rank") / groups,
            2 * groups * count("ssm.state_size"),
        );
        let turned = |values: &[f32], unit: usize| -> Vec<f32> {
            let heads: Vec<&[f32]> = values.chunks(unit).collect();
            assert_eq!(heads.len(), groups * shared);
            let places = (0..shared).flat_map(|s| (0..groups).map(move |g| g * shared + s));
            places.flat_map(|head| heads[head]).copied().collect()
        };
        for (name, floats) in &mut self.tensors {
            let row: usize = floats.shape[1..].iter().product::<u64>() as usize;
            match name.split('.').nth(2) {
                Some("ssm_alpha" | "ssm_beta" | "ssm_dt" | "ssm_a") => {
                    floats.values = turned(&floats.values, row);
                }
                Some("attn_gate") => floats.values = turned(&floats.values, dim * row),
                Some("attn_qkv" | "ssm_conv1d") => {
                    let values = turned(&floats.values[first * row..], dim * row);
                    floats.values.splice(first * row.., values);
                }
                Some("ssm_out") => {
                    let rows = floats.values.chunks(row);
                    floats.values = rows.flat_map(|row| turned(row, dim)).collect();
                }
                _ => {}
            }
        }
    }

    /// The width of feed-forward layers, not what it follows from.
    fn feed_forward_as_it_is(&mut self) {
        let rows = self.tensors["blk.0.ffn_gate.weight"].shape[0] as u32;
        let key = self.key("feed_forward_length");
        self.metadata.0.insert(key, MetadataValue::U32(rows));
    }

    /// What results are multiplied by becomes a part of the weights.
    fn factors_in_weights(&mut self, config: &Metadata) {
        let one = |key: &str| config.f64(key).expect(key) as f32;
        let listed = |key: &str, place| config.array(key).expect(key).f64(place).expect(key) as f32;
        let count = |key: &str| config.u64(key).expect(key) as usize;
        let selected = count("mamba_n_groups") * count("mamba_d_state");
        let lengths = [
            count("mamba_d_ssm"),
            count("mamba_d_ssm"),
            selected,
            selected,
            count("mamba_n_heads"),
        ];
        if config.bool("tie_word_embeddings") == Some(true) {
            let head = self.tensors["token_embd.weight"].clone();
            self.tensors.insert("output.weight".into(), head);
        }
        let attention_in = one("attention_in_multiplier");
        for (name, floats) in &mut self.tensors {
            let weight = name.ends_with(".weight");
            let input = |factor: f32| if weight { factor } else { 1.0 };
            let factor = match (name.as_str(), name.split('.').nth(2)) {
                ("token_embd.weight", _) => one("embedding_multiplier"),
                ("output.weight", _) => one("lm_head_multiplier"),
                (_, Some("attn_q" | "attn_v")) => input(attention_in),
                (_, Some("attn_k")) => input(attention_in) * one("key_multiplier"),
                (_, Some("attn_output")) => one("attention_out_multiplier"),
                (_, Some("ssm_out")) => one("ssm_out_multiplier"),
                (_, Some("ffn_gate")) => listed("mlp_multipliers", 0),
                (_, Some("ffn_down")) => listed("mlp_multipliers", 1),
                (_, Some("ssm_in")) => {
                    let row = floats.shape[1..].iter().product::<u64>() as usize;
                    let all = input(one("ssm_in_multiplier"));
                    let mut values = floats.values.iter_mut();
                    for (place, len) in lengths.into_iter().enumerate() {
                        let factor = all * listed("ssm_multipliers", place);
                        (&mut values)
                            .take(len * row)
                            .for_each(|value| *value *= factor);
                    }
                    continue;
                }
                _ => continue,
            };
            floats.values.iter_mut().for_each(|value| *value *= factor);
        }
    }

    /// The part of a head that does not rotate is divided by a large number.
    fn proportion_as_divisors(&mut self, config: &Metadata) {
        let part = config.f64("rope_parameters.full_attention.partial_rotary_factor");
        let dim = self.count("attention.key_length").expect("a head's size");
        let rotated = (dim as f64 * part.expect("a part") / 2.0) as u64;
        let divisors = (0..dim / 2).map(|pair| if pair < rotated { 1.0 } else { 1e30 });
        let values: Vec<f32> = divisors.collect();
        let shape = vec![values.len() as u64];
        let floats = Floats { shape, values };
        self.tensors.insert("rope_freqs.weight".into(), floats);
    }

    /// xIELU's numbers are lists, an entry for each layer.
    fn numbers_as_lists(&mut self) {
        let layers = self.count("block_count").expect("layers");
        for name in ["alpha_p", "alpha_n", "beta", "eps"] {
            let of = |layer| self.tensors.remove(&format!("blk.{layer}.xielu_{name}"));
            let numbers = (0..layers)
                .map(of)
                .map(|floats| floats.expect(name).values[0]);
            let numbers = MetadataValue::Array(Array::F32(numbers.collect()));
            self.metadata.0.insert(format!("xielu.{name}"), numbers);
        }
    }

    /// Of groups of heads (queries, keys, values): queries and keys whose neighbours rotate together.
    fn groups_apart(&mut self) {
        let heads = self.count("attention.head_count").expect("heads") as usize;
        let groups = self.count("attention.head_count_kv").expect("heads") as usize;
        for (name, floats) in std::mem::take(&mut self.tensors) {
            if !name.contains("attn_qkv") {
                self.tensors.insert(name, floats);
                continue;
            }
            let row = floats.shape[1] as usize;
            let dim = floats.shape[0] as usize / (heads + 2 * groups);
            let all: Vec<&[f32]> = floats.values.chunks(dim * row).collect();
            let each = heads / groups + 2;
            for (part, from, to) in [
                ("attn_q", 0, each - 2),
                ("attn_k", each - 2, each - 1),
                ("attn_v", each - 1, each),
            ] {
                let of_groups = all.chunks(each).flat_map(|group| &group[from..to]);
                let values: Vec<f32> = of_groups.copied().flatten().copied().collect();
                let shape = vec![(values.len() / row) as u64, row as u64];
                self.tensors
                    .insert(name.replace("attn_qkv", part), Floats { shape, values });
            }
        }
        self.pair_neighbours();
    }

    /// Queries, keys and values of one matrix.
    fn thirds_apart(&mut self) {
        for (name, floats) in std::mem::take(&mut self.tensors) {
            if !name.contains("attn_qkv") {
                self.tensors.insert(name, floats);
                continue;
            }
            let thirds = floats.values.chunks(floats.values.len() / 3);
            for (part, third) in ["attn_q", "attn_k", "attn_v"].into_iter().zip(thirds) {
                let floats = Floats {
                    shape: vec![floats.shape[0] / 3, floats.shape[1]],
                    values: third.to_vec(),
                };
                self.tensors.insert(name.replace("attn_qkv", part), floats);
            }
        }
        self.pair_neighbours();
    }

    /// Its converter leaves these as wide as they were stored.
    fn convolutions_in_columns(&mut self) {
        let convolutions = self.tensors.iter_mut();
        for (_, floats) in convolutions.filter(|(name, _)| name.contains(".ssm_conv1d_")) {
            floats.shape.insert(1, 1);
        }
    }

    /// Of four blocks of queries, values and keys: all queries, all keys, all values.
    fn blocks_apart(&mut self) {
        for (name, floats) in std::mem::take(&mut self.tensors) {
            if !name.contains("attn_qkv") {
                self.tensors.insert(name, floats);
                continue;
            }
            let blocks: Vec<&[f32]> = floats.values.chunks(floats.values.len() / 12).collect();
            for (part, place) in [("attn_q", 0), ("attn_v", 1), ("attn_k", 2)] {
                let values = blocks.chunks(3).flat_map(|block| block[place]).copied();
                let floats = Floats {
                    shape: vec![floats.shape[0] / 3, floats.shape[1]],
                    values: values.collect(),
                };
                self.tensors.insert(name.replace("attn_qkv", part), floats);
            }
        }
    }
}

/// Keys as converters write them.
pub(super) fn keys(name: &str, config: &Metadata, keys: &mut Metadata) {
    match name {
        "lfm2" | "lfm2moe" => lfm2(name, config, keys),
        "mistral3" => mistral3(keys),
        "hunyuan-dense" | "hunyuan-moe" => hunyuan(name, config, keys),
        "falcon-h1" => falcon_h1(keys),
        "nemotron_h" | "nemotron_h_moe" => nemotron_h(name, config, keys),
        "gemma3n" => gemma3n(config, keys),
        "gemma4" => gemma4(config, keys),
        "minicpm" => minicpm(config, keys),
        "kimi-linear" => kimi_linear(config, keys),
        "minimax" => minimax(config, keys),
        "baichuan" => baichuan(config, keys),
        "t5gemma" => {
            // As null says.
            for cap in [
                "attn_logit_softcapping",
                "decoder_attn_logit_softcapping",
                "decoder_final_logit_softcapping",
            ] {
                let off = MetadataValue::F32(0.0);
                keys.0.entry(format!("t5gemma.{cap}")).or_insert(off);
            }
        }
        _ => {}
    }
}

/// What others know by the numbers of layers and of tokens, which tiny models do not have.
fn baichuan(config: &Metadata, keys: &mut Metadata) {
    if config.value("max_position_embeddings").is_none() {
        let bias = MetadataValue::F32(8.0);
        let key = "baichuan.attention.max_alibi_bias";
        keys.0.insert(key.into(), bias);
    }
    if config.value("z_loss_weight").is_some() {
        let key = "baichuan.normalised_head";
        keys.0.insert(key.into(), MetadataValue::Bool(true));
    }
}

/// The same; how the width of feed-forward layers was found is not said.
fn lfm2(name: &str, config: &Metadata, keys: &mut Metadata) {
    let kv_heads = config.u64("num_key_value_heads").expect("heads") as u32;
    let layers = 0..config.u64("num_hidden_layers").expect("layers");
    let attends = |layer: u64| match config.array("layer_types") {
        Some(Array::String(kinds)) => kinds.get(layer as usize) == Some(b"full_attention"),
        _ => {
            let numbers = config.array("full_attn_idxs").expect("layers");
            (0..numbers.len()).any(|i| numbers.u64(i) == Some(layer))
        }
    };
    let heads: Vec<u32> = layers
        .map(|layer| if attends(layer) { kv_heads } else { 0 })
        .collect();
    let heads = MetadataValue::Array(Array::U32(heads));
    let key = |key: &str| format!("{name}.{key}");
    keys.0.insert(key("attention.head_count_kv"), heads);
    if name == "lfm2moe" {
        let sigmoid = MetadataValue::U32(2);
        keys.0.insert(key("expert_gating_func"), sigmoid);
    }
    for key in [
        "layer_types",
        "full_attention_layers",
        "feed_forward_adjusted",
        "feed_forward_multiplier",
        "feed_forward_multiple",
    ] {
        keys.0.remove(&format!("{name}.{key}"));
    }
}

/// One of two factors of the magnitude is written, under another name.
fn mistral3(keys: &mut Metadata) {
    let factor = keys.0.remove("mistral3.rope.scaling.mscale_all_dim");
    keys.0.remove("mistral3.rope.scaling.mscale");
    keys.0.insert(
        "mistral3.rope.scaling.yarn_log_multiplier".into(),
        factor.expect("a factor"),
    );
}

/// The base that an alpha stretches (NTK-aware scaling); of experts, widths and counts that may be listed.
fn hunyuan(name: &str, config: &Metadata, keys: &mut Metadata) {
    let key = |key: &str| format!("{name}.{key}");
    if name == "hunyuan-moe" {
        let first = |key: &str| match config.array(key) {
            Some(list) => list.u64(0),
            None => config.u64(key),
        };
        let hidden = first("intermediate_size").expect("a width");
        let shared = first("num_shared_expert").unwrap_or(1);
        let of_experts = first("moe_intermediate_size").unwrap_or(hidden);
        let chosen = first("moe_topk").expect("how many are chosen");
        for (of, count) in [
            ("expert_feed_forward_length", of_experts),
            ("expert_shared_feed_forward_length", shared * hidden),
            ("expert_shared_count", shared),
            ("expert_used_count", chosen),
        ] {
            keys.0.insert(key(of), MetadataValue::U32(count as u32));
        }
    }
    let Some(alpha) = config.f64("rope_parameters.alpha") else {
        return;
    };
    let dims = config.f64("head_dim").expect("a head's size");
    let base = config.f64("rope_parameters.rope_theta").expect("a base");
    keys.0.retain(|key, _| !key.contains(".rope.scaling."));
    let base = MetadataValue::F32((base * alpha.powf(dims / (dims - 2.0))) as f32);
    keys.0.insert(key("rope.freq_base"), base);
}

/// Factors are in the weights.
fn falcon_h1(keys: &mut Metadata) {
    for key in [
        "embedding_scale",
        "logit_scale",
        "attention.in_scale",
        "attention.out_scale",
        "attention.key_scale",
        "ssm.in_scale",
        "ssm.out_scale",
        "ssm.scales",
        "feed_forward_scales",
        "ssm.expand",
        "ssm.head_dim",
        "ssm.norm",
        "ssm.norm_before_gate",
    ] {
        keys.0.remove(&format!("falcon-h1.{key}"));
    }
}

/// The kind of a layer is said by its heads of keys and its width.
fn nemotron_h(name: &str, config: &Metadata, keys: &mut Metadata) {
    let letters: Vec<u8> = match config.array("layers_block_type") {
        Some(Array::String(kinds)) => {
            let letter = |kind: &[u8]| match kind {
                b"full_attention" => b'*',
                b"mlp" => b'-',
                b"moe" => b'E',
                _ => b'M',
            };
            kinds.iter().map(letter).collect()
        }
        _ => config
            .str("hybrid_override_pattern")
            .expect("kinds")
            .bytes()
            .collect(),
    };
    let count = |key: &str| config.u64(key).expect(key) as u32;
    let of = |kind: u8, count: u32| {
        let counts = letters
            .iter()
            .map(|&letter| if letter == kind { count } else { 0 });
        MetadataValue::Array(Array::U32(counts.collect()))
    };
    let width = |&letter: &u8| match letter {
        b'-' => count("intermediate_size"),
        b'E' => count("moe_intermediate_size"),
        _ => 0,
    };
    let widths = MetadataValue::Array(Array::U32(letters.iter().map(width).collect()));
    let inner = count("mamba_num_heads") * count("mamba_head_dim");
    for (key, value) in [
        ("block_count", MetadataValue::U32(letters.len() as u32)),
        (
            "attention.head_count_kv",
            of(b'*', count("num_key_value_heads")),
        ),
        ("feed_forward_length", widths),
        ("ssm.inner_size", MetadataValue::U32(inner)),
    ] {
        keys.0.insert(format!("{name}.{key}"), value);
    }
    for key in ["layer_types", "mlp_hidden_act", "ssm.head_dim"] {
        keys.0.remove(&format!("{name}.{key}"));
    }
    if name == "nemotron_h" {
        let of_experts = |key: &String| key.contains(".expert_") || key.contains(".moe_");
        keys.0.retain(|key, _| !of_experts(key));
    }
}

/// How far above the mean gates are open, in deviations: numbers from tables of the normal
/// distribution.
fn gemma3n(config: &Metadata, keys: &mut Metadata) {
    let quantile = |part: f64| match (part * 100.0).round() as u32 {
        0 => f32::NEG_INFINITY,
        30 => -0.524_400_5,
        50 => 0.0,
        70 => 0.524_400_5,
        95 => 1.644_853_6,
        other => panic!("the quantile of {other} %"),
    };
    let parts = config.array("activation_sparsity_pattern").expect("parts");
    let parts = (0..parts.len()).map(|i| quantile(parts.f64(i).expect("a part")));
    let parts = MetadataValue::Array(Array::F32(parts.collect()));
    let hidden = config.array("intermediate_size").expect("widths").u64(0);
    let hidden = MetadataValue::U32(hidden.expect("a width") as u32);
    keys.0.remove("gemma3n.activation_sparsity");
    keys.0
        .insert("gemma3n.activation_sparsity_scale".into(), parts);
    keys.0.insert("gemma3n.feed_forward_length".into(), hidden);
}

/// Sizes of heads by kind of layer, heads of keys and widths layer by layer.
fn gemma4(config: &Metadata, keys: &mut Metadata) {
    let count = |key: &str| config.u64(key);
    let layers = count("num_hidden_layers").expect("layers");
    let Some(Array::String(kinds)) = config.array("layer_types") else {
        panic!("kinds of layers");
    };
    let slides = |layer: u64| kinds.get(layer as usize) == Some(b"sliding_attention");
    let full = (0..layers)
        .find(|&layer| !slides(layer))
        .expect("a layer that sees all");
    let own = |layer: u64, key: &str| count(&format!("per_layer_config.{layer}.{key}"));
    let full_dim = own(full, "head_dim")
        .or(count("global_head_dim"))
        .expect("a size");
    let heads = count("num_key_value_heads").expect("heads");
    let kv_heads = (0..layers).map(|layer| {
        let published = count("num_global_key_value_heads").filter(|_| !slides(layer));
        own(layer, "num_key_value_heads")
            .or(published)
            .unwrap_or(heads) as u32
    });
    let kv_heads: Vec<u32> = kv_heads.collect();
    let number = |count: u64| MetadataValue::U32(count as u32);
    let mut put = BTreeMap::from([
        ("attention.key_length", number(full_dim)),
        (
            "attention.key_length_swa",
            number(count("head_dim").expect("a size")),
        ),
        (
            "attention.head_count_kv",
            MetadataValue::Array(Array::U32(kv_heads)),
        ),
    ]);
    if config.bool("use_double_wide_mlp") == Some(true) {
        let (hidden, shared) = (count("intermediate_size"), count("num_kv_shared_layers"));
        let (hidden, shared) = (hidden.expect("a width"), shared.expect("layers"));
        let width = |layer| {
            if layer < layers - shared {
                hidden
            } else {
                2 * hidden
            }
        };
        let widths = (0..layers).map(|layer| width(layer) as u32);
        put.insert(
            "feed_forward_length",
            MetadataValue::Array(Array::U32(widths.collect())),
        );
    }
    for (key, value) in put {
        keys.0.insert(format!("gemma4.{key}"), value);
    }
    for key in [
        "attention.head_count_kv_full",
        "attention.key_length_full",
        "attention.values_of_keys",
        "feed_forward_doubled",
        "rope.full_type",
        "rope.proportion",
        "rope.sliding_type",
    ] {
        keys.0.remove(&format!("gemma4.{key}"));
    }
}

/// Factors instead of what they follow from.
fn minicpm(config: &Metadata, keys: &mut Metadata) {
    let number = |key: &str| config.f64(key).expect(key) as f32;
    let residual = number("scale_depth") / number("num_hidden_layers").sqrt();
    let logits = number("hidden_size") / number("dim_model_base");
    for (key, value) in [
        ("residual_scale", residual),
        ("logit_scale", logits),
        ("embedding_scale", number("scale_emb")),
    ] {
        keys.0
            .insert(format!("minicpm.{key}"), MetadataValue::F32(value));
    }
    for key in ["depth_scale", "embedding_length_base"] {
        keys.0.remove(&format!("minicpm.{key}"));
    }
}

/// Layers that attend have a head of keys; experts are chosen by σ, after layers without.
fn kimi_linear(config: &Metadata, keys: &mut Metadata) {
    let layers = 0..config.u64("num_hidden_layers").expect("layers");
    let attends = |layer: u64| match config.array("layer_types") {
        Some(Array::String(kinds)) => kinds.get(layer as usize) == Some(b"full_attention"),
        _ => {
            let key = "linear_attn_config.full_attn_layers";
            let numbers = config.array(key).expect("layers");
            (0..numbers.len()).any(|i| numbers.u64(i) == Some(layer + 1))
        }
    };
    let heads: Vec<u32> = layers.map(|layer| u32::from(attends(layer))).collect();
    for (key, value) in [
        (
            "attention.head_count_kv",
            MetadataValue::Array(Array::U32(heads)),
        ),
        ("expert_gating_func", MetadataValue::U32(2)),
        ("leading_dense_block_count", MetadataValue::U32(1)),
    ] {
        keys.0.insert(format!("kimi-linear.{key}"), value);
    }
    for key in ["feed_forward_kinds", "kda.head_count"] {
        keys.0.remove(&format!("kimi-linear.{key}"));
    }
}

/// Which layers are of lightning attention, the second of each two where nobody says it.
fn minimax(config: &Metadata, keys: &mut Metadata) {
    let layers = config.u64("num_hidden_layers").expect("layers");
    let softmax = config.array("attn_type_list");
    let recurrent = (0..layers).map(|layer| match softmax {
        Some(list) => list.u64(layer as usize) == Some(0),
        None => layer % 2 == 1,
    });
    let key = "minimax.attention.recurrent_layers".to_string();
    let recurrent = MetadataValue::Array(Array::Bool(recurrent.collect()));
    keys.0.entry(key).or_insert(recurrent);
    keys.0.remove("minimax.attention.softmax_layers");
}
