//! Fixtures as GGUF files, laid out as the usual converters do it: canonical names and keys,
//! GPT-2's matrices turned round, A instead of `A_log`, LLaMA's Q and K rows permuted so that
//! neighbours rotate together, experts stacked, llama3's scaling as a tensor of divisors.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use rillm::internals::graph::View;
use rillm::internals::models::{ARCHITECTURES, Architecture, Family, canonical};
use rillm::internals::quant;
use rillm_formats::gguf::write::{TensorSpec, to_bytes};
use rillm_formats::hf_config;
use rillm_formats::manifest::{Array, DType, Metadata, MetadataValue, Shape};

use super::fixture::Fixture;
use super::latent_attention::latent_attention;
use super::recent;
use super::turns::turns_apart;

/// A tensor in floats.
#[derive(Clone, Debug, PartialEq)]
pub struct Floats {
    /// Extents, outermost first.
    pub shape: Vec<u64>,
    /// Row-major values.
    pub values: Vec<f32>,
}

/// A model on its way into a GGUF file.
#[derive(Clone, Debug)]
pub struct Gguf {
    /// Keys with their architecture's prefix.
    pub metadata: Metadata,
    /// Tensors under canonical names.
    pub tensors: BTreeMap<String, Floats>,
}

/// Keys that converters drop, because GGUF says it in another way or not at all.
const NOT_WRITTEN: &[&str] = &["feed_forward_proj", "rope.scaling.attn_factor_long"];

impl Gguf {
    /// Converts a fixture.
    pub fn of(fixture: &Fixture) -> Gguf {
        let config = fixture.config().to_string();
        let config = hf_config::parse(config.as_bytes()).expect("a fixture's config.json");
        let model_type = config.model_type.clone().unwrap_or_else(|| {
            // The authors of Mamba do not write one.
            let layer = config.metadata.str("ssm_cfg.layer").unwrap_or("Mamba");
            layer.to_lowercase()
        });
        let model_type = match config.metadata.str("position_embedding_type") {
            // JinaBERT's folders say BERT.
            Some("alibi") => "jina_bert".to_string(),
            // EmbeddingGemma's say Gemma 3.
            None if config.metadata.bool("use_bidirectional_attention") == Some(true) => {
                "gemma_embedding".to_string()
            }
            _ => model_type,
        };
        let table = ARCHITECTURES
            .iter()
            .find(|found| found.hugging_face.contains(&model_type.as_str()))
            .expect("a known model_type");
        let stated = fixture.gguf();
        let name = stated["architecture"].as_str().unwrap_or(&model_type);
        let mut gguf = Gguf {
            metadata: metadata(name, table, &config.metadata),
            tensors: tensors(fixture, table),
        };
        for name in stated["left_out"].as_array().into_iter().flatten() {
            gguf.tensors.remove(name.as_str().expect("a name"));
        }
        match stated["rows"].as_str() {
            None => {}
            Some("paired") => gguf.pair_neighbours(),
            Some("queries first") => gguf.queries_first(),
            Some(other) => panic!("{}: rows {other:?}", fixture.name),
        }
        if name == "deepseek2" || name == "kimi-linear" {
            latent_attention(&config.metadata, &mut gguf);
        }
        if name == "gpt-oss" {
            turns_apart(&mut gguf);
        }
        gguf.scaling_as_divisors();
        gguf.as_of_2026(&model_type, &config.metadata);
        let in_one = ["jina_bert", "llama4_text"].contains(&model_type.as_str());
        if model_type.starts_with("granitemoe") || in_one {
            gguf.gates_apart();
        }
        gguf.rotated_elements();
        gguf.long_rope_as_tensors();
        gguf.groups_in_rows();
        if model_type == "rwkv6" {
            gguf.ranks_as_keys();
        }
        if model_type == "rwkv7" {
            gguf.bonus_without_heads();
        }
        gguf
    }

    /// The file, all tensors in float32.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes_as(DType::F32)
    }

    /// The file with its matrices in `dtype`; vectors, and matrices whose rows are not whole
    /// blocks, stay in float32.
    pub fn bytes_as(&self, dtype: DType) -> Vec<u8> {
        self.bytes_with(|_, floats| {
            let columns = *floats.shape.last().unwrap_or(&1);
            if floats.shape.len() > 1 && dtype.row_len(columns).is_some() {
                dtype
            } else {
                DType::F32
            }
        })
    }

    /// The file with each tensor in the type that `choose` gives.
    pub fn bytes_with(&self, choose: impl Fn(&str, &Floats) -> DType) -> Vec<u8> {
        let encoded: Vec<(TensorSpec, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, floats)| {
                let dtype = choose(name, floats);
                let spec = TensorSpec {
                    name: name.clone(),
                    dtype,
                    shape: Shape(floats.shape.clone()),
                };
                (spec, encode(dtype, floats))
            })
            .collect();
        let tensors: Vec<(TensorSpec, &[u8])> = encoded
            .iter()
            .map(|(spec, bytes)| (spec.clone(), bytes.as_slice()))
            .collect();
        to_bytes(&self.metadata, &tensors).expect("a GGUF file of the fixture's tensors")
    }

    /// The same model whose matrices went through `dtype`: what its quantized file means.
    pub fn rounded(&self, dtype: DType) -> Gguf {
        let mut rounded = self.clone();
        let decode = quant::decode(dtype).expect("a decoder");
        for floats in rounded.tensors.values_mut() {
            let columns = *floats.shape.last().unwrap_or(&1);
            if floats.shape.len() > 1 && dtype.row_len(columns).is_some() {
                let bytes = encode(dtype, floats);
                decode(&bytes, &mut floats.values);
            }
        }
        rounded
    }

    /// A key's value under `general.architecture`'s prefix.
    pub fn key(&self, canonical: &str) -> String {
        let architecture = self.metadata.str("general.architecture");
        format!("{}.{canonical}", architecture.expect("an architecture"))
    }

    pub(super) fn count(&self, canonical: &str) -> Option<u64> {
        self.metadata.u64(&self.key(canonical))
    }

    /// What RWKV-6's mixtures and decays go through on their way.
    fn ranks_as_keys(&mut self) {
        for (key, name, parts) in [
            ("time_mix_extra_dim", "time_mix_w1", 5),
            ("time_decay_extra_dim", "time_mix_decay_w1", 1),
        ] {
            let rows = self.tensors[&format!("blk.0.{name}.weight")].shape[0];
            let key = self.key(key);
            let rank = MetadataValue::U32(rows as u32 / parts);
            self.metadata.0.insert(key, rank);
        }
    }

    /// RWKV-7's heads are not told apart.
    fn bonus_without_heads(&mut self) {
        for (name, floats) in &mut self.tensors {
            if name.ends_with(".time_mix_r_k.weight") {
                floats.shape = vec![floats.shape.iter().product()];
            }
        }
    }

    /// A part of a head becomes a number of elements.
    fn rotated_elements(&mut self) {
        let key = self.key("rope.partial_factor");
        let Some(part) = self.metadata.f64(&key) else {
            return;
        };
        let usual = || Some(self.count("embedding_length")? / self.count("attention.head_count")?);
        let dim = self.count("attention.key_length").or_else(usual);
        let dims = MetadataValue::U32((dim.expect("a head's size") as f64 * part) as u32);
        self.metadata.0.remove(&key);
        self.metadata
            .0
            .insert(self.key("rope.dimension_count"), dims);
    }

    /// Row h·d + 2j + s of the result is row h·d + s·d/2 + j of the original, s = 0, 1: of whole
    /// heads, whatever part of them rotates.
    pub(super) fn pair_neighbours(&mut self) {
        let heads = self.count("attention.head_count").expect("heads");
        let kv_heads = match self.metadata.value(&self.key("attention.head_count_kv")) {
            Some(MetadataValue::Array(list)) => (0..list.len()).filter_map(|i| list.u64(i)).max(),
            _ => self.count("attention.head_count_kv"),
        };
        let kv_heads = kv_heads.unwrap_or(heads);
        for (name, floats) in &mut self.tensors {
            let heads = match name.split('.').nth(2) {
                Some("attn_q") => heads,
                Some("attn_k") => kv_heads,
                _ => continue,
            };
            let row = floats.shape.iter().skip(1).product::<u64>() as usize;
            let dim = (floats.shape[0] / heads) as usize;
            let rows: Vec<&[f32]> = floats.values.chunks(row).collect();
            let from = |to: usize| {
                let within = to % dim;
                to / dim * dim + within % 2 * (dim / 2) + within / 2
            };
            floats.values = (0..rows.len())
                .flat_map(|to| rows[from(to)])
                .copied()
                .collect();
        }
    }

    /// Gates and what they let through are two tensors; without experts beside it, what all rows
    /// share is called as everywhere.
    fn gates_apart(&mut self) {
        let routed = self.count("expert_count").is_some();
        for (mut name, floats) in std::mem::take(&mut self.tensors) {
            if !routed {
                name = name.replace("_shexp.", ".");
            }
            let place = floats.shape.len().saturating_sub(2);
            let fused = [".ffn_gate_up", ".ffn_up_gate"];
            let Some(fused) = fused.into_iter().find(|fused| name.contains(fused)) else {
                self.tensors.insert(name, floats);
                continue;
            };
            let order = match fused {
                ".ffn_up_gate" => ["ffn_up", "ffn_gate"],
                _ => ["ffn_gate", "ffn_up"],
            };
            let mut shape = floats.shape.clone();
            shape[place] /= 2;
            let half = shape[place..].iter().product::<u64>() as usize;
            for (kind, from) in [(order[0], 0), (order[1], half)] {
                let both = floats.values.chunks(2 * half);
                let values = both.flat_map(|both| &both[from..from + half]).copied();
                let floats = Floats {
                    shape: shape.clone(),
                    values: values.collect(),
                };
                let name = name.replace(&fused[1..], kind);
                self.tensors.insert(name, floats);
            }
        }
    }

    /// Rows of projections that are fused head by head: all queries, all keys, all values.
    fn queries_first(&mut self) {
        let heads = self.count("attention.head_count").expect("heads") as usize;
        let width = self.count("embedding_length").expect("a width") as usize;
        let dim = width / heads;
        let fused = self
            .tensors
            .iter_mut()
            .filter(|(name, _)| name.contains("attn_qkv"));
        let mut kv_heads = heads;
        for (_, floats) in fused {
            let rows = floats.shape[0] as usize;
            kv_heads = (rows / dim - heads) / 2;
            let group = heads / kv_heads;
            let row = floats.values.len() / rows;
            let heads: Vec<&[f32]> = floats.values.chunks(dim * row).collect();
            let of_group = |from: usize, to: usize| {
                let groups = heads.chunks(group + 2);
                groups.flat_map(move |parts| parts[from..to].iter().copied().flatten().copied())
            };
            let parts = of_group(0, group).chain(of_group(group, group + 1));
            floats.values = parts.chain(of_group(group + 1, group + 2)).collect();
        }
        let key = self.key("attention.head_count_kv");
        self.metadata
            .0
            .insert(key, MetadataValue::U32(kv_heads as u32));
    }

    /// Mamba-2: numbers of heads stand in a column, and a norm has a row for each group.
    fn groups_in_rows(&mut self) {
        let groups = self.count("ssm.group_count");
        // What Qwen3-Next calls groups are heads of keys.
        let heads_of_keys =
            ["qwen3next.", "qwen35.", "qwen35moe."].contains(&self.key("").as_str());
        let Some(groups) = groups.filter(|_| !heads_of_keys) else {
            return;
        };
        for (name, floats) in &mut self.tensors {
            match name.split('.').nth(2) {
                Some("ssm_a" | "ssm_d") => floats.shape.push(1),
                Some("ssm_norm") => floats.shape = vec![groups, floats.shape[0] / groups],
                _ => {}
            }
        }
    }

    /// LongRoPE's tables go into tensors, and what the stretch makes of cos and sin into a key
    /// (Ding et al. 2024, section 4).
    fn long_rope_as_tensors(&mut self) {
        for which in ["short", "long"] {
            let key = self.key(&format!("rope.scaling.{which}_factor"));
            let Some(MetadataValue::Array(table)) = self.metadata.0.remove(&key) else {
                return;
            };
            let numbers = (0..table.len()).map(|index| table.f64(index).expect("a number") as f32);
            let values: Vec<f32> = numbers.collect();
            let shape = vec![values.len() as u64];
            let name = format!("rope_factors_{which}.weight");
            self.tensors.insert(name, Floats { shape, values });
        }
        let trained = self.count("rope.scaling.original_context_length");
        let trained = trained.expect("the trained length") as f64;
        let stretch = self.count("context_length").expect("a context") as f64 / trained;
        let magnitude = (1.0 + stretch.ln() / trained.ln()).sqrt();
        let key = self.key("rope.scaling.attn_factor");
        let magnitude = MetadataValue::F32(magnitude as f32);
        self.metadata.0.entry(key).or_insert(magnitude);
    }

    /// llama3's scaling (Dubey et al. 2024) goes into a tensor that divides the frequencies.
    fn scaling_as_divisors(&mut self) {
        if self.metadata.str(&self.key("rope.scaling.type")) != Some("llama3") {
            return;
        }
        let float = |key: &str| self.metadata.f64(&self.key(key)).expect(key);
        let (factor, trained) = (
            float("rope.scaling.factor"),
            float("rope.scaling.original_context_length"),
        );
        let (low, high) = (
            float("rope.scaling.low_freq_factor"),
            float("rope.scaling.high_freq_factor"),
        );
        let usual = || {
            self.count("embedding_length")?
                .checked_div(self.count("attention.head_count")?)
        };
        let dims = self.count("attention.key_length").or_else(usual);
        let (base, dims) = (float("rope.freq_base"), dims.expect("a head's size") as f64);
        let divisors = (0..dims as usize / 2).map(|pair| {
            let wave = 2.0 * PI * base.powf(2.0 * pair as f64 / dims);
            if wave < trained / high {
                1.0
            } else if wave > trained / low {
                factor
            } else {
                let smooth = (trained / wave - low) / (high - low);
                1.0 / ((1.0 - smooth) / factor + smooth)
            }
        });
        let values: Vec<f32> = divisors.map(|divisor| divisor as f32).collect();
        let shape = vec![values.len() as u64];
        self.metadata
            .0
            .retain(|key, _| !key.contains(".rope.scaling."));
        self.tensors
            .insert("rope_freqs.weight".into(), Floats { shape, values });
    }
}

/// A tensor's bytes in `dtype`.
pub fn encode(dtype: DType, floats: &Floats) -> Vec<u8> {
    let len = dtype
        .row_len(floats.values.len() as u64)
        .expect("whole blocks");
    let mut bytes = vec![0; len as usize];
    quant::encode(dtype).expect("an encoder")(&floats.values, &mut bytes);
    bytes
}

fn metadata(name: &str, table: &Architecture, config: &Metadata) -> Metadata {
    let mut keys = BTreeMap::new();
    keys.insert(
        "general.architecture".into(),
        MetadataValue::String(name.into()),
    );
    for &(canonical, theirs) in table.keys.iter().copied().flatten() {
        let narrow = match config.value(theirs) {
            None => continue,
            Some(MetadataValue::F64(float)) => MetadataValue::F32(*float as f32),
            Some(MetadataValue::Array(Array::String(kinds))) if theirs.ends_with("layer_types") => {
                let special: [&[u8]; 3] = [
                    b"sliding_attention",
                    b"linear_attention",
                    b"chunked_attention",
                ];
                let slides = |kind: &[u8]| special.contains(&kind);
                let slides = (0..kinds.len()).filter_map(|i| kinds.get(i)).map(slides);
                MetadataValue::Array(Array::Bool(slides.collect()))
            }
            Some(other) => match config.u64(theirs) {
                Some(count) => MetadataValue::U32(u32::try_from(count).expect("a small number")),
                None => other.clone(),
            },
        };
        if !NOT_WRITTEN.contains(&canonical) {
            keys.entry(format!("{name}.{canonical}")).or_insert(narrow);
        }
    }
    let classes = config.value("architectures");
    let class = config.array("architectures").and_then(Array::strings);
    let class = class.and_then(|classes| classes.get(0)).unwrap_or_default();
    let judges = [b"Classification" as &[u8], b"QuestionAnswering"]
        .iter()
        .any(|end| class.ends_with(end));
    let is_bare = class.ends_with(b"Model") && !class.ends_with(b"LMHeadModel");
    let t5s = [b"T5Model" as &[u8], b"T5GemmaModel"];
    let judges =
        judges || is_bare && (table.family != Family::EncoderDecoder || t5s.contains(&class));
    if table.family == Family::Encoder || matches!(name, "bart" | "mbart") || judges {
        // Which head a checkpoint has is known by its class alone.
        let classes = classes.expect("a class");
        let padding = config.u64("pad_token_id");
        let pads = class.ends_with(b"SequenceClassification") && judges;
        let halves = matches!(table.family, Family::Encoder | Family::EncoderDecoder);
        if let (true, Some(padding)) = (pads && !halves, padding) {
            let padding = MetadataValue::U32(u32::try_from(padding).expect("a token"));
            keys.insert(format!("{name}.padding_token_id"), padding);
        }
        keys.insert("architectures".into(), classes.clone());
    }
    let mut keys = Metadata(keys);
    match name {
        "mamba" => mamba(config, &mut keys),
        "mamba2" => mamba2(&mut keys),
        "jamba" => jamba(config, &mut keys),
        "granitehybrid" => granite_hybrid(config, &mut keys),
        "glm4moe" => {
            // Tensors tell.
            keys.0.remove("glm4moe.attention.head_norms");
        }
        "dbrx" => {
            // As null says.
            let power = "dbrx.expert_weights_power".to_string();
            keys.0.entry(power).or_insert(MetadataValue::F32(0.0));
        }
        "minimax-m2" => {
            let sigmoid = MetadataValue::U32(2);
            keys.0
                .insert("minimax-m2.expert_gating_func".into(), sigmoid);
        }
        "gpt-oss" => {
            let hidden = keys.value("gpt-oss.feed_forward_length").expect("a length");
            let hidden = hidden.clone();
            let key = "gpt-oss.expert_feed_forward_length";
            keys.0.insert(key.into(), hidden);
        }
        "deepseek" | "deepseek2" => deepseek(config, &mut keys),
        _ => recent::keys(name, config, &mut keys),
    }
    keys
}

/// What the authors' configurations leave out, Falcon Mamba's norms, and what has no meaning but
/// readers of old insist on.
fn mamba(config: &Metadata, keys: &mut Metadata) {
    let width = keys.u64("mamba.embedding_length").expect("a width") as u32;
    let falcon = config.str("model_type") == Some("falcon_mamba");
    for (key, value) in [
        ("attention.head_count", MetadataValue::U32(0)),
        ("feed_forward_length", MetadataValue::U32(0)),
        ("ssm.dt_b_c_rms", MetadataValue::Bool(falcon)),
        ("ssm.inner_size", MetadataValue::U32(2 * width)),
        ("ssm.time_step_rank", MetadataValue::U32(width.div_ceil(16))),
        ("ssm.state_size", MetadataValue::U32(16)),
        ("ssm.conv_kernel", MetadataValue::U32(4)),
    ] {
        keys.0.entry(format!("mamba.{key}")).or_insert(value);
    }
}

/// Layers that attend are those with heads of keys.
fn jamba(config: &Metadata, keys: &mut Metadata) {
    let count = |key: &str| config.u64(key).expect(key);
    let attends = |layer| layer % count("attn_layer_period") == count("attn_layer_offset");
    let heads = |layer| {
        if attends(layer) {
            count("num_key_value_heads") as u32
        } else {
            0
        }
    };
    let heads: Vec<u32> = (0..count("num_hidden_layers")).map(heads).collect();
    let inner = count("mamba_expand") * count("hidden_size");
    for (key, value) in [
        (
            "attention.head_count_kv",
            MetadataValue::Array(Array::U32(heads)),
        ),
        ("ssm.inner_size", MetadataValue::U32(inner as u32)),
    ] {
        keys.0.insert(format!("jamba.{key}"), value);
    }
    keys.0.remove("jamba.ssm.expand");
}

/// The same; a flag says whether heads are rotated.
fn granite_hybrid(config: &Metadata, keys: &mut Metadata) {
    let count = |key: &str| config.u64(key).expect(key);
    let kv_heads = count("num_key_value_heads") as u32;
    let heads: Vec<u32> = match config.array("layer_types") {
        Some(Array::String(kinds)) => kinds
            .iter()
            .map(|kind| if kind == b"attention" { kv_heads } else { 0 })
            .collect(),
        _ => {
            let attends = config.array("attn_layer_indices").expect("layers");
            let attends = |layer| (0..attends.len()).any(|i| attends.u64(i) == Some(layer));
            let layers = 0..count("num_hidden_layers");
            layers
                .map(|layer| if attends(layer) { kv_heads } else { 0 })
                .collect()
        }
    };
    let bamba = config.str("model_type") == Some("bamba");
    let rotates = bamba || config.str("position_embedding_type") == Some("rope");
    let inner = count("mamba_expand") * count("hidden_size");
    for (key, value) in [
        (
            "attention.head_count_kv",
            MetadataValue::Array(Array::U32(heads)),
        ),
        ("ssm.inner_size", MetadataValue::U32(inner as u32)),
        ("rope.scaling.finetuned", MetadataValue::Bool(rotates)),
    ] {
        keys.0.insert(format!("granitehybrid.{key}"), value);
    }
    if config.u64("num_local_experts") == Some(0) {
        for key in ["expert_count", "expert_used_count"] {
            keys.0.remove(&format!("granitehybrid.{key}"));
        }
        let key = "granitehybrid.expert_shared_feed_forward_length";
        let hidden = keys.0.remove(key).expect("a length");
        keys.0
            .insert("granitehybrid.feed_forward_length".into(), hidden);
    }
    for key in ["ssm.expand", "position_embedding_type"] {
        keys.0.remove(&format!("granitehybrid.{key}"));
    }
}

/// What experts are chosen by is a number, and layers without experts are counted.
fn deepseek(config: &Metadata, keys: &mut Metadata) {
    let architecture = keys
        .str("general.architecture")
        .expect("a name")
        .to_string();
    let key = |key: &str| format!("{architecture}.{key}");
    let later = !matches!(config.str("model_type"), Some("deepseek" | "deepseek_v2"));
    let function = MetadataValue::U32(if later { 2 } else { 1 });
    keys.0.insert(key("expert_gating_func"), function);
    if let Some(Array::String(kinds)) = config.array("mlp_layer_types") {
        let dense = kinds.iter().filter(|kind| *kind == b"dense").count() as u32;
        let dense = MetadataValue::U32(dense);
        keys.0.insert(key("leading_dense_block_count"), dense);
    }
    let greedy = !later && config.str("topk_method") != Some("group_limited_greedy");
    let unused: &[&str] = match greedy {
        true => &["expert_group_count", "expert_group_used_count"],
        false => &[],
    };
    for unused in unused
        .iter()
        .chain(&["expert_group_method", "feed_forward_kinds"])
    {
        keys.0.remove(&key(unused));
    }
}

/// As for Mamba, and heads by their number and all their channels.
fn mamba2(keys: &mut Metadata) {
    let count = |key: &str| keys.u64(&format!("mamba2.{key}"));
    let inner = 2 * count("embedding_length").expect("a width");
    let head_dim = count("ssm.head_dim").unwrap_or(64);
    for (key, value) in [
        ("attention.head_count", 0),
        ("feed_forward_length", 0),
        ("ssm.inner_size", inner),
        ("ssm.time_step_rank", inner / head_dim),
        ("ssm.group_count", 1),
        ("ssm.conv_kernel", 4),
    ] {
        let value = MetadataValue::U32(value as u32);
        keys.0.entry(format!("mamba2.{key}")).or_insert(value);
    }
    keys.0.remove("mamba2.ssm.head_dim");
}

fn tensors(fixture: &Fixture, table: &Architecture) -> BTreeMap<String, Floats> {
    let mut tensors = BTreeMap::new();
    let mut experts: BTreeMap<String, BTreeMap<u32, Floats>> = BTreeMap::new();
    // GPT-2 checkpoints carry their causal masks, XLNet's what stands for a token to be guessed.
    let left_out = [".attn.bias", ".attn.masked_bias", "mask_emb"];
    let kept = |name: &str| !left_out.iter().any(|end| name.ends_with(end));
    for weight in fixture
        .weights()
        .into_iter()
        .filter(|weight| kept(&weight.name))
    {
        let (to, expert, view) = canonical(table.names, &weight.name)
            .unwrap_or_else(|| panic!("{} of {} has no name", weight.name, fixture.name));
        let mut shape = weight.shape;
        // Matrices of several experts, one below the other.
        if to.ends_with("_exps.weight") && expert.is_none() && shape.len() == 2 {
            shape = vec![
                experts_of(fixture),
                shape[0] / experts_of(fixture),
                shape[1],
            ];
        }
        let floats = view_of(view, shape, weight.values);
        match expert {
            Some(expert) => {
                experts.entry(to).or_default().insert(expert, floats);
            }
            None => assert!(
                tensors.insert(to, floats).is_none(),
                "{} twice",
                weight.name
            ),
        }
    }
    for (name, parts) in experts {
        let first = parts.values().next().expect("an expert");
        let shape = [&[parts.len() as u64], first.shape.as_slice()].concat();
        let values = parts.into_values().flat_map(|part| part.values).collect();
        tensors.insert(name, Floats { shape, values });
    }
    tensors
}

/// How many experts a layer has.
fn experts_of(fixture: &Fixture) -> u64 {
    let config = fixture.config();
    let inner = &config["ffn_config"]["moe_num_experts"];
    let count = inner.as_u64().or(config["num_experts"].as_u64());
    count.expect("a number of experts")
}

fn view_of(view: View, mut shape: Vec<u64>, mut values: Vec<f32>) -> Floats {
    if let (View::HeadsTransposed | View::HeadsJoined, &[rows, heads, dim]) = (view, &shape[..]) {
        shape = vec![rows, heads * dim];
    }
    match view {
        View::Plain | View::HeadsJoined => {}
        View::Transposed | View::HeadsTransposed => {
            let (rows, columns) = match shape.as_mut_slice() {
                [.., rows, columns] => {
                    std::mem::swap(rows, columns);
                    (*columns as usize, *rows as usize)
                }
                other => panic!("no matrix: {other:?}"),
            };
            values = values
                .chunks(rows * columns)
                .flat_map(|matrix| {
                    let places = (0..columns).flat_map(|column| {
                        let rows = 0..rows;
                        rows.map(move |row| row * columns + column)
                    });
                    places.map(|place| matrix[place])
                })
                .collect();
        }
        View::NegativeExp => values.iter_mut().for_each(|value| *value = -value.exp()),
        View::PlusOne => values.iter_mut().for_each(|value| *value += 1.0),
        View::OneMinus => values.iter_mut().for_each(|value| *value = 1.0 - *value),
    }
    // A convolution's [channels, 1, width] is squeezed.
    if let &[channels, 1, width] = shape.as_slice()
        && channels > 1
    {
        shape = vec![channels, width];
    }
    Floats { shape, values }
}
