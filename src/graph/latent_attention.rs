//! Multi-head latent attention (DeepSeek-AI 2024, "DeepSeek-V2", section 2.1), absorbed.
//!
//! A position's keys and values are made of a latent c that all heads share, and of a key k that
//! knows positions: `q_c · W_uk c + q_r · k = (W_ukᵀ q_c) · c + q_r · k`, and sums of `W_uv c` are
//! `W_uv` of sums of c. So the KV cache holds [k | c] and nothing else, in one head of keys whose
//! ends are its values, and what is computed of a row does not depend on how many come at once.

use super::rope::yarn_score_factor;
use super::{
    Attention, BuildError, Builder, CachedValues, Config, HeadSide, Keys, KvCache, Mask, Matrix,
    Net, Pairing, PositionScheme, Rope, RowOrder, Value,
};
use rillm_formats::manifest::{Container, MetadataValue};

/// The epsilon of the latents' norms, which no file says.
const LATENT_EPSILON: f32 = 1e-6;

/// Sizes, scale and rotation of latent attention.
#[derive(Clone, Debug)]
pub struct LatentAttention {
    heads: usize,
    /// Of the latent that queries are made of, if they are.
    query_rank: Option<usize>,
    /// Of the latent that keys and values are made of.
    rank: usize,
    /// Elements of a head's query and key that know no positions.
    plain_dim: usize,
    /// Elements that do.
    rotated_dim: usize,
    /// Elements of a head's value.
    value_dim: usize,
    scale: f32,
    /// None where heads know no positions at all.
    rope: Option<Rope>,
}

impl LatentAttention {
    /// Reads the hyperparameters, which GGUF has had in two forms: of the heads as they would be
    /// if they were made, and of the one that is kept. Without a `pairing` nothing rotates.
    pub fn read(
        model: &Builder<'_>,
        pairing: Option<Pairing>,
    ) -> Result<LatentAttention, BuildError> {
        let config = model.config();
        let heads = config.count("attention.head_count")?;
        let rank = config.count("attention.kv_lora_rank")?;
        let rotated_dim = config.count("rope.dimension_count")?;
        let (plain_dim, value_dim) = match config.container {
            Container::HuggingFace => (
                config.count("attention.key_length_plain")?,
                config.count("attention.value_length_mla")?,
            ),
            Container::Gguf => of_heads(config, rank, rotated_dim)?,
        };
        check_kv_heads(config, heads)?;
        let part = "rope.partial_factor";
        if config.value(part).is_some() && config.double(part, 1.0)? != 1.0 {
            return Err(config.invalid(part, "1"));
        }
        let key_dim = (plain_dim + rotated_dim) as f32;
        Ok(LatentAttention {
            heads,
            query_rank: config.feature("attention.q_lora_rank")?,
            rank,
            plain_dim,
            rotated_dim,
            value_dim,
            scale: yarn_score_factor(config)? / key_dim.sqrt(),
            rope: pairing
                .map(|pairing| Rope::read(model, pairing, rotated_dim))
                .transpose()?,
        })
    }

    /// W_o of all heads' W_uv Σ softmax(scale · q · [k | c]) c.
    pub fn wire(&self, net: &Net<'_, '_>, x: Value, layer: &str) -> Result<Value, BuildError> {
        let model = net.builder;
        let [plain, rotated] = self.queries(net, x, layer)?;
        let (keys, side) = self.key_weights(model, layer)?;
        let q = net.join_heads(rotated, net.head_matmul(plain, keys, side), self.heads);

        let both = self.rank + self.rotated_dim;
        let both = net.linear(x, &format!("{layer}.attn_kv_a_mqa"), both)?;
        let latent = net.slice(both, 0, self.rank);
        let latent = net.rms_norm(latent, &format!("{layer}.attn_kv_a_norm"), LATENT_EPSILON)?;
        let k = net.slice(both, self.rank, self.rotated_dim);
        let k = net.join_heads(k, latent, 1);

        let cache = model.state(KvCache {
            kv_heads: 1,
            head_dim: self.rotated_dim + self.rank,
            values: CachedValues::InKeys(self.rank),
        });
        let sums = net.latent_attention(q, k, self.attention(Keys::Cache(cache)));
        let values = net.head_matmul(sums, self.value_weights(model, layer)?, HeadSide::Columns);
        net.linear(values, &format!("{layer}.attn_output"), net.width(x))
    }

    fn attention(&self, keys: Keys) -> Attention {
        Attention {
            heads: self.heads,
            kv_heads: 1,
            head_dim: self.rotated_dim + self.rank,
            scale: self.scale,
            softcap: None,
            mask: Mask::Causal { window: None },
            position: match &self.rope {
                Some(rope) => PositionScheme::Rope(rope.clone()),
                None => PositionScheme::None,
            },
            keys,
            sinks: None,
        }
    }

    /// Of all heads the elements that know no positions, and those that do: of x, or of a latent.
    fn queries(&self, net: &Net<'_, '_>, x: Value, layer: &str) -> Result<[Value; 2], BuildError> {
        let (from, name) = match self.query_rank {
            None => (x, "attn_q"),
            Some(rank) => {
                let latent = net.linear(x, &format!("{layer}.attn_q_a"), rank)?;
                let norm = format!("{layer}.attn_q_a_norm");
                (net.rms_norm(latent, &norm, LATENT_EPSILON)?, "attn_q_b")
            }
        };
        let name = format!("{layer}.{name}.weight");
        let stride = self.plain_dim + self.rotated_dim;
        let stored = (self.heads.saturating_mul(stride), net.width(from));
        let part = |offset, block| {
            let order = RowOrder::Blocks {
                block,
                stride,
                offset,
            };
            let rows = self.heads * block;
            let weight = net.builder.matrix_rows(&name, stored, rows, order)?;
            Ok(net.matmul(from, weight, None))
        };
        Ok([
            part(0, self.plain_dim)?,
            part(self.plain_dim, self.rotated_dim)?,
        ])
    }

    /// Each head's W_uk: turned, in a stack, or the first of the rows of a matrix for both.
    fn key_weights(
        &self,
        model: &Builder<'_>,
        layer: &str,
    ) -> Result<(Matrix, HeadSide), BuildError> {
        if has_stacks(model, layer) {
            let name = format!("{layer}.attn_k_b.weight");
            let keys = model.experts(&name, self.heads, self.rank, self.plain_dim)?;
            return Ok((keys, HeadSide::Columns));
        }
        let keys = self.part_of_both(model, layer, (0, self.plain_dim))?;
        Ok((keys, HeadSide::Rows))
    }

    /// Each head's W_uv.
    fn value_weights(&self, model: &Builder<'_>, layer: &str) -> Result<Matrix, BuildError> {
        if has_stacks(model, layer) {
            let name = format!("{layer}.attn_v_b.weight");
            return model.experts(&name, self.heads, self.value_dim, self.rank);
        }
        self.part_of_both(model, layer, (self.plain_dim, self.value_dim))
    }

    fn part_of_both(
        &self,
        model: &Builder<'_>,
        layer: &str,
        part: (usize, usize),
    ) -> Result<Matrix, BuildError> {
        let both = self.plain_dim + self.value_dim;
        let name = format!("{layer}.attn_kv_b.weight");
        model.stack_part(&name, self.heads, (both, self.rank), part)
    }
}

/// As many heads of keys as of queries; of those that are kept in GGUF one, which may be listed for the
/// layers that attend.
fn check_kv_heads(config: &Config<'_>, heads: usize) -> Result<(), BuildError> {
    let key = "attention.head_count_kv";
    let gguf = config.container == Container::Gguf;
    let fits = match config.value(key) {
        Some(MetadataValue::Array(list)) if gguf => {
            let mut listed = (0..list.len()).map(|layer| list.u64(layer));
            listed.all(|heads| matches!(heads, Some(0 | 1)))
        }
        _ => {
            let kv_heads = config.optional_count(key)?.unwrap_or(heads);
            kv_heads == heads || gguf && kv_heads == 1
        }
    };
    match fits {
        true => Ok(()),
        false => Err(config.invalid(key, "as many as heads of queries")),
    }
}

/// Whether keys and values have a stack each, of which one may be missing.
fn has_stacks(model: &Builder<'_>, layer: &str) -> bool {
    let has = |part: &str| model.has(&format!("{layer}.{part}.weight"));
    has("attn_k_b") || has("attn_v_b")
}

/// The elements of a head that know no positions, and those of its value.
fn of_heads(
    config: &Config<'_>,
    rank: usize,
    rotated_dim: usize,
) -> Result<(usize, usize), BuildError> {
    let made = ["attention.key_length_mla", "attention.value_length_mla"];
    let key = config.count("attention.key_length")?;
    let key_dim = match config.optional_count(made[0])? {
        Some(_) if key != rank + rotated_dim => {
            let expected = (rank + rotated_dim).to_string();
            return Err(config.invalid("attention.key_length", &expected));
        }
        Some(length) => length,
        None => key,
    };
    // What is kept for a value is the latent, whatever else converters write of its length.
    let value_dim = match config.optional_count(made[1])? {
        Some(length) => length,
        None => config.count("attention.value_length")?,
    };
    match key_dim.checked_sub(rotated_dim) {
        Some(plain_dim) if plain_dim > 0 => Ok((plain_dim, value_dim)),
        _ => {
            let expected = format!("more than the {rotated_dim} elements that rotate");
            Err(config.invalid(made[0], &expected))
        }
    }
}
