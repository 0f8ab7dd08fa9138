//! DeepSeek-MoE (Dai et al. 2024): LLaMA whose later layers have many small experts beside some
//! that all rows pass. What follows attention in its successors is told here as well.

use super::tables::{self, keys, names};
use super::{
    Architecture, Conversion, DECODER, Family, GgufKeys, Only, Settled, conversion, llama,
};
use crate::graph::blocks::{Heads, activation, attend, gated_mlp, projections};
use crate::graph::decoder::PreNormDecoder;
use crate::graph::experts::{Gating, Router, gated_experts, has_experts, shared_expert};
use crate::graph::{BuildError, Builder, Config, Key, Name, Net, Pointwise, PositionScheme, Value};
use rillm_formats::manifest::MetadataValue;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "DeepSeek-MoE",
    gguf: &["deepseek"],
    hugging_face: &["deepseek"],
    off: tables::BIASES,
    family: Family::MixtureOfExperts,
    keys: &[tables::SIZES, tables::ROPE, EXPERT_KEYS],
    settled: SETTLED,
    names: &[
        tables::ENDS,
        tables::NORMS,
        tables::ATTENTION,
        tables::EXPERTS,
        tables::GATED_MLP,
        SHARED_EXPERTS,
    ],
    conversion: Conversion {
        keys: expert_keys,
        ..conversion::NEIGHBOURS_PAIRED
    },
    build,
    ..DECODER
};

pub(super) const EXPERT_KEYS: &[Key] = keys! {
    "n_routed_experts" => "expert_count",
    "num_experts_per_tok" => "expert_used_count",
    "n_shared_experts" => "expert_shared_count",
    "moe_intermediate_size" => "expert_feed_forward_length",
    "first_k_dense_replace" => "leading_dense_block_count",
    "moe_layer_freq" => "expert_every_nth_layer",
    "norm_topk_prob" => "expert_weights_norm",
    "routed_scaling_factor" => "expert_weights_scale",
    "scoring_func" => "expert_gating_func",
};

pub(super) const SETTLED: &[Settled] = &[
    // Training: losses, and on how many devices.
    ("aux_loss_alpha", Only::Any),
    ("ep_size", Only::Any),
    ("seq_aux", Only::Any),
];

pub(super) const SHARED_EXPERTS: &[Name] = names! {
    in "model.layers.{i}." => "blk.{i}." {
        "mlp.shared_experts.gate_proj.weight" => "ffn_gate_shexp.weight",
        "mlp.shared_experts.up_proj.weight" => "ffn_up_shexp.weight",
        "mlp.shared_experts.down_proj.weight" => "ffn_down_shexp.weight",
    }
};

/// x ← x + Attention(RMS(x)); x ← x + FFN(RMS(x)), or experts.
fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    let decoder = PreNormDecoder::read(config, 1e-6)?;
    let heads = Heads::read(config, decoder.width)?;
    let rope = llama::rotation(model, heads.head_dim, (1.0, 1e4))?;
    let causal = heads.causal(PositionScheme::Rope(rope));
    let feed_forward = SparseFeedForward::read(config, decoder.layers, (&Gating::SOFTMAX, 0))?;
    decoder.wire(
        model,
        &|net, h, layer, _| {
            let qkv = projections(net, h, layer, heads)?;
            attend(net, qkv, layer, decoder.width, causal.clone())
        },
        &|net, h, layer, i| feed_forward.wire(net, h, layer, i),
    )
}

/// A plain feed-forward layer in the first layers, and experts beside shared ones in others.
pub(super) struct SparseFeedForward {
    hidden: usize,
    function: Pointwise,
    router: Option<Router>,
    expert_hidden: usize,
    /// Of all shared experts together: they are one.
    shared_hidden: usize,
    /// Which layers have experts.
    sparse: Vec<bool>,
}

impl SparseFeedForward {
    /// Where nobody says how experts are chosen it is by `gating`, and so many layers are `plain`
    /// where nobody says it.
    pub(super) fn read(
        config: &Config<'_>,
        layers: usize,
        (gating, plain): (&Gating, usize),
    ) -> Result<SparseFeedForward, BuildError> {
        let router = Router::read_some(config, gating)?;
        let expert_hidden = match router {
            Some(_) => config.count("expert_feed_forward_length")?,
            None => 0,
        };
        let shared = config.feature("expert_shared_count")?.unwrap_or(0);
        Ok(SparseFeedForward {
            hidden: config.count("feed_forward_length")?,
            function: activation(config, "hidden_act", "silu")?,
            sparse: match router {
                Some(_) => sparse_layers(config, layers, plain)?,
                None => vec![false; layers],
            },
            router,
            expert_hidden,
            shared_hidden: expert_hidden.saturating_mul(shared),
        })
    }

    /// The same where a router chooses among all experts, whatever their groups.
    pub(super) fn without_groups(mut self) -> SparseFeedForward {
        self.router = self.router.map(|router| Router {
            groups: None,
            ..router
        });
        self
    }

    pub(super) fn wire(
        &self,
        net: &Net<'_, '_>,
        x: Value,
        layer: &str,
        index: usize,
    ) -> Result<Value, BuildError> {
        let sparse = has_experts(net.builder, layer, self.sparse[index]);
        let Some(router) = self.router.as_ref().filter(|_| sparse) else {
            return gated_mlp(net, x, layer, self.hidden, self.function);
        };
        let routed = gated_experts(net, x, layer, (self.expert_hidden, self.function), router)?;
        if self.shared_hidden == 0 {
            return Ok(routed);
        }
        let shared = shared_expert(net, x, layer, (self.shared_hidden, self.function))?;
        Ok(net.add(routed, shared))
    }
}

/// Layers with experts: each so many-th behind the first, which are plain.
fn sparse_layers(
    config: &Config<'_>,
    layers: usize,
    usual: usize,
) -> Result<Vec<bool>, BuildError> {
    let key = "leading_dense_block_count";
    let plain = match config.value(key) {
        Some(_) => config.feature(key)?.unwrap_or(0),
        None => {
            config.grant(key, MetadataValue::U32(usual as u32));
            usual
        }
    };
    let every = config
        .optional_count("expert_every_nth_layer")?
        .unwrap_or(1);
    let sparse = |layer: usize| layer >= plain && layer.is_multiple_of(every);
    Ok((0..layers).map(sparse).collect())
}

/// GGUF says by number what experts are chosen by.
pub(super) fn expert_keys(keys: &mut GgufKeys<'_>) {
    let number = match keys.values.str("expert_gating_func") {
        Some("sigmoid") => 2,
        _ => 1,
    };
    keys.put("expert_gating_func", MetadataValue::U32(number));
}
