//! NLLB-MoE (Costa-jussà et al. 2022, section 6.2): NLLB in which every so many layers are mixtures of
//! experts of which a row meets two, as far as those have not taken as many rows as they can.

use super::bart_tables::{KEYS, NAMES, SCALED, converted};
use super::beginnings::BEGINNINGS;
use super::encoder_decoder::{build_with, written_logits};
use super::m2m_100::ARRANGEMENT;
use super::tables::{keys, names};
use super::{Architecture, Conversion, DECODER, Family, Only, Settled};
use crate::graph::experts::{Router, RouterScores, Weighed};
use crate::graph::op::ExpertCapacity;
use crate::graph::{BuildError, Config, ExpertWeight, Net, Pointwise, Value};
use rillm_formats::manifest::{Container, MetadataValue};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "NLLB-MoE",
    gguf: &["nllb-moe"],
    hugging_face: &["nllb-moe"],
    family: Family::EncoderDecoder,
    keys: &[
        KEYS,
        BEGINNINGS,
        SCALED,
        keys! {
            "num_experts" => "expert_count",
            "expert_capacity" => "expert_capacity",
            "moe_eval_capacity_token_fraction" => "expert_capacity_part",
            "encoder_sparse_step" => "moe_every_n_layers",
            "decoder_sparse_step" => "decoder_moe_every_n_layers",
            "normalize_router_prob_before_dropping" => "expert_weights_norm_first",
            "batch_prioritized_routing" => "expert_priority",
            "second_expert_policy" => "second_expert_policy",
            "moe_token_dropout" => "expert_dropout",
        },
    ],
    settled: SETTLED,
    ties: true,
    names: &[
        names! {
            in "model.encoder.layers.{i}." => "enc.blk.{i}." {
                "ff_layer_norm.*" => "ffn_norm.*",
                "ffn.fc1.*" => "ffn_up.*",
                "ffn.fc2.*" => "ffn_down.*",
                "ffn.router.classifier.*" => "ffn_gate_inp.*",
                "ffn.experts.expert_{e}.fc1.*" => "ffn_up_exps.*",
                "ffn.experts.expert_{e}.fc2.*" => "ffn_down_exps.*",
            }
            in "model.decoder.layers.{i}." => "dec.blk.{i}." {
                "cross_attention.q_proj.*" => "cross_attn_q.*",
                "cross_attention.k_proj.*" => "cross_attn_k.*",
                "cross_attention.v_proj.*" => "cross_attn_v.*",
                "cross_attention.out_proj.*" => "cross_attn_o.*",
                "cross_attention_layer_norm.*" => "cross_attn_norm.*",
                "ff_layer_norm.*" => "ffn_norm.*",
                "ffn.fc1.*" => "ffn_up.*",
                "ffn.fc2.*" => "ffn_down.*",
                "ffn.router.classifier.*" => "ffn_gate_inp.*",
                "ffn.experts.expert_{e}.fc1.*" => "ffn_up_exps.*",
                "ffn.experts.expert_{e}.fc2.*" => "ffn_down_exps.*",
            }
        },
        NAMES,
    ],
    conversion: Conversion {
        keys: converted,
        ..Conversion::PLAIN
    },
    build: |model| {
        let experts = TopTwo::read(model.config())?;
        build_with(
            model,
            &ARRANGEMENT,
            &|net, h, layer, sizes| experts.wire(net, h, layer, sizes),
            &|net, x| written_logits(net, x, "NllbMoe"),
        )
    },
    ..DECODER
};

const SETTLED: &[Settled] = &[
    ("encoder_layerdrop", Only::Any),
    ("decoder_layerdrop", Only::Any),
    // Routers of fewer bits would choose others.
    ("router_dtype", Only::Text(&["float32"])),
    ("router_type", Only::Text(&["tokens_masked"])),
    // Of training.
    ("router_z_loss_coef", Only::Any),
    ("router_aux_loss_coef", Only::Any),
    ("output_router_logits", Only::Any),
    // Tensors tell; padding is no row.
    ("router_bias", Only::Any),
    ("router_ignore_padding_tokens", Only::Any),
];

/// The experts of some layers of both halves.
struct TopTwo {
    router: Router,
    /// How many rows of a sequence one of them takes in a run, if not all that come.
    capacity: Option<ExpertCapacity>,
    /// Whether the weights of a row's experts are shares of their sum before some are full.
    shares_first: bool,
    /// What was left of experts on average while they were trained.
    left: f32,
    /// Every how many layers of the encoder, and of the decoder, have some.
    every: [usize; 2],
}

impl TopTwo {
    fn read(config: &Config<'_>) -> Result<TopTwo, BuildError> {
        let key = "second_expert_policy";
        if !matches!(config.text(key)?, None | Some("all")) {
            return Err(config.invalid(key, "all: others draw lots"));
        }
        let capacity = capacity(config)?;
        let key = "expert_priority";
        if config.flag(key, false)? && capacity.is_some() {
            let expected = "false where experts can be full";
            return Err(config.invalid(key, expected));
        }
        let shares_first = config.flag("expert_weights_norm_first", false)?;
        let weight = match shares_first || capacity.is_none() {
            true => ExpertWeight::Share {
                added: 0.0,
                least: f32::EPSILON,
            },
            false => ExpertWeight::Score,
        };
        let experts = config.count("expert_count")?;
        if experts < 2 {
            return Err(config.invalid("expert_count", "two or more"));
        }
        Ok(TopTwo {
            router: Router {
                experts,
                used: 2,
                scores: RouterScores::Softmax,
                weight,
                scale: 1.0,
                groups: None,
                weighed: Weighed::Outputs,
            },
            capacity,
            shares_first,
            left: 1.0 - config.float("expert_dropout", 0.2)?,
            every: [
                step(config, "moe_every_n_layers")?,
                step(config, "decoder_moe_every_n_layers")?,
            ],
        })
    }

    /// Σ p · down(f(up x)) over the two experts with the largest probabilities p, in the layers that
    /// have some.
    fn wire(
        &self,
        net: &Net<'_, '_>,
        x: Value,
        (layer, i): (&str, usize),
        (hidden, function): (usize, Pointwise),
    ) -> Result<Option<Value>, BuildError> {
        let every = self.every[usize::from(layer.starts_with("dec."))];
        if every == 0 || !(i + 1).is_multiple_of(every) {
            return Ok(None);
        }
        let (model, width, experts) = (net.builder, net.width(x), self.router.experts);
        let stack = |part: &str, rows, columns| {
            let name = format!("{layer}.ffn_{part}_exps");
            let weight = model.experts(&format!("{name}.weight"), experts, rows, columns)?;
            let bias = model.vector(&format!("{name}.bias"), &[experts, rows])?;
            Ok::<_, BuildError>((weight, Some(bias)))
        };
        let mut route = self.router.route(net, x, layer)?;
        if let Some(capacity) = self.capacity {
            route = net.limit_capacity(route, capacity, !self.shares_first);
        }
        let up = net.expert_matmul(x, route, stack("up", hidden, width)?);
        let down = stack("down", width, hidden)?;
        let down = net.expert_matmul(net.apply(up, function), route, down);
        Ok(Some(net.scale(net.expert_sum(down, route), self.left)))
    }
}

/// All rows are a part of them as well.
fn capacity(config: &Config<'_>) -> Result<Option<ExpertCapacity>, BuildError> {
    let part = config.double("expert_capacity_part", 1.0)?;
    let part = match config.container {
        Container::HuggingFace => part,
        // The decimal that was meant: what is rounded up must not be above a whole number by a hair.
        Container::Gguf => (part as f32).to_string().parse().unwrap_or(part),
    };
    if part >= 1.0 {
        return Ok(None);
    }
    if part > 0.0 {
        return Ok(Some(ExpertCapacity::Part(part)));
    }
    let key = "expert_capacity";
    let rows = config.optional_count(key)?.unwrap_or(64);
    config.grant(key, MetadataValue::U32(64));
    Ok(Some(ExpertCapacity::Rows(rows)))
}

/// Every how many layers have experts; none for zero.
fn step(config: &Config<'_>, key: &str) -> Result<usize, BuildError> {
    if config.value(key).is_none() {
        config.grant(key, MetadataValue::U32(4));
        return Ok(4);
    }
    Ok(config.feature(key)?.unwrap_or(0))
}
