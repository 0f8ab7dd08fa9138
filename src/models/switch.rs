//! Switch Transformers (Fedus et al. 2022): T5 in which some layers are mixtures of experts of which
//! a row meets one, as long as that has not taken as many rows of the row's sequence as it can.

use super::beginnings::BEGINNINGS;
use super::t5::{self, Variant};
use super::tables::{keys, names};
use super::{Architecture, Conversion, DECODER, Family, Only};
use crate::graph::experts::{Gating, Router};
use crate::graph::op::ExpertCapacity;
use crate::graph::{BuildError, Config, Net, Pointwise, Value};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "Switch Transformers",
    gguf: &["switch"],
    hugging_face: &["switch_transformers"],
    family: Family::EncoderDecoder,
    keys: &[
        t5::KEYS,
        BEGINNINGS,
        keys! {
            "num_experts" => "expert_count",
            "expert_capacity" => "expert_capacity",
            "encoder_sparse_step" => "moe_every_n_layers",
            "decoder_sparse_step" => "decoder_moe_every_n_layers",
        },
    ],
    settled: &[
        // What the steps are made of.
        ("num_sparse_decoder_layers", Only::Any),
        ("num_sparse_encoder_layers", Only::Any),
        // Routers of fewer bits would choose others.
        ("router_dtype", Only::Text(&["float32"])),
        // Tensors tell.
        ("router_bias", Only::Any),
        ("router_ignore_padding_tokens", Only::Any),
        ("router_type", Only::Any),
        ("add_router_probs", Only::Any),
    ],
    ties: true,
    names: &[
        t5::NAMES,
        names! {
            in "encoder.block.{i}." => "enc.blk.{i}." {
                "layer.1.mlp.wi.weight" => "ffn_up.weight",
                "layer.1.mlp.wo.weight" => "ffn_down.weight",
                "layer.1.mlp.router.classifier.*" => "ffn_gate_inp.*",
                "layer.1.mlp.experts.expert_{e}.wi.weight" => "ffn_up_exps.weight",
                "layer.1.mlp.experts.expert_{e}.wo.weight" => "ffn_down_exps.weight",
            }
            in "decoder.block.{i}." => "dec.blk.{i}." {
                "layer.2.mlp.wi.weight" => "ffn_up.weight",
                "layer.2.mlp.wo.weight" => "ffn_down.weight",
                "layer.2.mlp.router.classifier.*" => "ffn_gate_inp.*",
                "layer.2.mlp.experts.expert_{e}.wi.weight" => "ffn_up_exps.weight",
                "layer.2.mlp.experts.expert_{e}.wo.weight" => "ffn_down_exps.weight",
            }
        },
    ],
    conversion: Conversion {
        keys: |keys| {
            let tied = keys.config.bool("tie_word_embeddings").unwrap_or(true);
            t5::in_gguf(keys, tied);
        },
        ..Conversion::PLAIN
    },
    build: |model| t5::build(model, Variant::Switch),
    ..DECODER
};

/// The experts of some layers of both halves.
pub(super) struct SwitchExperts {
    router: Router,
    /// Rows of a sequence that one of them takes in a run.
    capacity: usize,
    /// Every how many layers of the encoder, and of the decoder, have some.
    every: [usize; 2],
}

impl SwitchExperts {
    pub fn read(config: &Config<'_>) -> Result<SwitchExperts, BuildError> {
        let step = |key| Ok::<usize, BuildError>(config.feature(key)?.unwrap_or(0));
        Ok(SwitchExperts {
            router: Router::read_of(config, 1, &Gating::SOFTMAX)?,
            capacity: config.optional_count("expert_capacity")?.unwrap_or(64),
            every: [
                step("moe_every_n_layers")?,
                step("decoder_moe_every_n_layers")?,
            ],
        })
    }

    /// Whether layer `i` of a half has some.
    pub fn are_in(&self, half: &str, i: usize) -> bool {
        match self.every[usize::from(half == "dec")] {
            0 => false,
            every => every == 1 || i % every == 1,
        }
    }

    /// p · down(f(up x)) of the expert with the largest probability p.
    pub fn wire(
        &self,
        net: &Net<'_, '_>,
        x: Value,
        layer: &str,
        (hidden, function): (usize, Pointwise),
    ) -> Result<Value, BuildError> {
        let (width, experts) = (net.width(x), self.router.experts);
        let stack = |part: &str, rows, columns| {
            let name = format!("{layer}.ffn_{part}_exps.weight");
            net.builder.experts(&name, experts, rows, columns)
        };
        let route = self.router.route(net, x, layer)?;
        let route = net.limit_capacity(route, ExpertCapacity::Rows(self.capacity), false);
        let up = net.expert_matmul(x, route, (stack("up", hidden, width)?, None));
        let up = net.apply(up, function);
        let down = net.expert_matmul(up, route, (stack("down", width, hidden)?, None));
        Ok(net.expert_sum(down, route))
    }
}
