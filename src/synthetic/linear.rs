//! Shapes of models whose memory is a sum of outer products.

use super::Made;
use rillm_formats::manifest::Value;

/// RetNet, in torchscale's form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RetNet {
    pub heads: u64,
    /// Values of all heads together.
    pub values: u64,
    pub hidden: u64,
}

impl RetNet {
    pub fn fill(self, made: &mut Made, (layers, width): (u64, u64), key: &dyn Fn(&str) -> String) {
        let Self {
            heads,
            values,
            hidden,
        } = self;
        for (name, value) in [
            ("feed_forward_length", hidden),
            ("retention.head_count", heads),
            ("retention.value_length", values),
        ] {
            made.put(&key(name), Value::U32(value as u32));
        }
        made.put(&key("hidden_act"), Value::String("gelu".into()));
        for layer in 0..layers {
            let name = |name: &str| format!("blk.{layer}.{name}.weight");
            made.norm(&name("attn_norm"), width);
            made.matrix(&name("attn_q"), &[width, width]);
            made.matrix(&name("attn_k"), &[width, width]);
            made.matrix(&name("attn_v"), &[values, width]);
            made.matrix(&name("attn_gate"), &[values, width]);
            made.matrix(&name("attn_output"), &[width, values]);
            made.norm(&name("ffn_norm"), width);
            made.matrix(&name("ffn_gate"), &[hidden, width]);
            made.matrix(&name("ffn_up"), &[hidden, width]);
            made.matrix(&name("ffn_down"), &[width, hidden]);
        }
    }
}

/// The kernel linear transformer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Linear {
    pub heads: u64,
    pub hidden: u64,
    /// Positions that are learned.
    pub positions: u64,
}

impl Linear {
    pub fn fill(self, made: &mut Made, (layers, width): (u64, u64), key: &dyn Fn(&str) -> String) {
        let Self {
            heads,
            hidden,
            positions,
        } = self;
        made.put(&key("feed_forward_length"), Value::U32(hidden as u32));
        made.put(&key("attention.head_count"), Value::U32(heads as u32));
        made.matrix("position_embd.weight", &[positions, width]);
        made.drawn("output_norm.bias", &[width], 0.0, 0.1);
        for layer in 0..layers {
            let name = |name: &str| format!("blk.{layer}.{name}");
            for norm in ["attn_norm", "ffn_norm"] {
                made.norm(&name(&format!("{norm}.weight")), width);
                made.drawn(&name(&format!("{norm}.bias")), &[width], 0.0, 0.1);
            }
            for (part, rows, columns) in [
                ("attn_q", width, width),
                ("attn_k", width, width),
                ("attn_v", width, width),
                ("attn_output", width, width),
                ("ffn_up", hidden, width),
                ("ffn_down", width, hidden),
            ] {
                made.matrix(&name(&format!("{part}.weight")), &[rows, columns]);
                made.drawn(&name(&format!("{part}.bias")), &[rows], 0.0, 0.1);
            }
        }
    }
}

/// Gated linear attention, in flash-linear-attention's layout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Gla {
    pub heads: u64,
    pub hidden: u64,
}

impl Gla {
    pub fn fill(self, made: &mut Made, (layers, width): (u64, u64), key: &dyn Fn(&str) -> String) {
        const RANK: u64 = 16;
        let Self { heads, hidden } = self;
        let keys = width / 2;
        made.put(&key("feed_forward_length"), Value::U32(hidden as u32));
        made.put(&key("attention.head_count"), Value::U32(heads as u32));
        for layer in 0..layers {
            let name = |name: &str| format!("blk.{layer}.{name}.weight");
            made.norm(&name("attn_norm"), width);
            made.matrix(&name("attn_q"), &[keys, width]);
            made.matrix(&name("attn_k"), &[keys, width]);
            made.matrix(&name("attn_v"), &[width, width]);
            made.matrix(&name("attn_gate"), &[width, width]);
            made.matrix(&name("attn_output"), &[width, width]);
            made.matrix(&name("attn_decay_a"), &[RANK, width]);
            made.matrix(&name("attn_decay_b"), &[keys, RANK]);
            let bias = format!("blk.{layer}.attn_decay_b.bias");
            made.drawn(&bias, &[keys], 0.0, 0.5);
            made.norm(&name("attn_sub_norm"), width / heads);
            made.norm(&name("ffn_norm"), width);
            made.matrix(&name("ffn_gate"), &[hidden, width]);
            made.matrix(&name("ffn_up"), &[hidden, width]);
            made.matrix(&name("ffn_down"), &[width, hidden]);
        }
    }
}

/// The norms that all of RWKV have, at both ends and in every layer.
fn norms(made: &mut Made, (layers, width): (u64, u64), of_layers: &[&str]) {
    made.norm("token_embd_norm.weight", width);
    made.drawn("token_embd_norm.bias", &[width], 0.0, 0.1);
    made.drawn("output_norm.bias", &[width], 0.0, 0.1);
    for layer in 0..layers {
        for norm in of_layers {
            made.norm(&format!("blk.{layer}.{norm}.weight"), width);
            made.drawn(&format!("blk.{layer}.{norm}.bias"), &[width], 0.0, 0.1);
        }
    }
}

/// RWKV-4.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rwkv4 {
    pub hidden: u64,
}

impl Rwkv4 {
    pub fn fill(self, made: &mut Made, (layers, width): (u64, u64), key: &dyn Fn(&str) -> String) {
        let hidden = self.hidden;
        made.put(&key("feed_forward_length"), Value::U32(hidden as u32));
        made.put(&key("attention.layer_norm_epsilon"), Value::F32(1e-5));
        norms(made, (layers, width), &["attn_norm", "attn_norm_2"]);
        for layer in 0..layers {
            let name = |name: &str| format!("blk.{layer}.{name}.weight");
            for mix in ["time_mix_lerp_k", "time_mix_lerp_v", "time_mix_lerp_r"] {
                made.drawn(&name(mix), &[1, 1, width], 0.5, 0.2);
            }
            for mix in ["channel_mix_lerp_k", "channel_mix_lerp_r"] {
                made.drawn(&name(mix), &[1, 1, width], 0.5, 0.2);
            }
            made.drawn(&name("time_mix_decay"), &[width], -0.6, 0.2);
            made.drawn(&name("time_mix_first"), &[width], 0.0, 0.3);
            for part in ["receptance", "key", "value", "output"] {
                made.matrix(&name(&format!("time_mix_{part}")), &[width, width]);
            }
            made.matrix(&name("channel_mix_key"), &[hidden, width]);
            made.matrix(&name("channel_mix_value"), &[width, hidden]);
            made.matrix(&name("channel_mix_receptance"), &[width, width]);
        }
    }
}

/// RWKV-6.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rwkv6 {
    pub head_dim: u64,
    pub hidden: u64,
    /// Of mixtures and of decays.
    pub ranks: [u64; 2],
}

impl Rwkv6 {
    pub fn fill(self, made: &mut Made, (layers, width): (u64, u64), key: &dyn Fn(&str) -> String) {
        let (hidden, [mix, decay]) = (self.hidden, self.ranks);
        for (name, value) in [
            ("feed_forward_length", hidden),
            ("attention.head_count", 0),
            ("wkv.head_size", self.head_dim),
            ("time_mix_extra_dim", mix),
            ("time_decay_extra_dim", decay),
        ] {
            made.put(&key(name), Value::U32(value as u32));
        }
        made.put(&key("attention.layer_norm_epsilon"), Value::F32(1e-5));
        let of_layers = ["attn_norm", "attn_norm_2", "time_mix_ln"];
        norms(made, (layers, width), &of_layers);
        for layer in 0..layers {
            let name = |name: &str| format!("blk.{layer}.{name}.weight");
            made.drawn(&name("time_mix_lerp_x"), &[1, 1, width], 0.5, 0.2);
            made.drawn(&name("time_mix_lerp_fused"), &[5, 1, 1, width], 0.5, 0.2);
            made.matrix(&name("time_mix_w1"), &[5 * mix, width]);
            made.matrix(&name("time_mix_w2"), &[5, width, mix]);
            made.drawn(&name("time_mix_decay"), &[width], -2.0, 1.0);
            made.matrix(&name("time_mix_decay_w1"), &[decay, width]);
            made.matrix(&name("time_mix_decay_w2"), &[width, decay]);
            let heads = [width / self.head_dim, self.head_dim];
            made.drawn(&name("time_mix_first"), &heads, 0.0, 0.3);
            for part in ["receptance", "key", "value", "gate", "output"] {
                made.matrix(&name(&format!("time_mix_{part}")), &[width, width]);
            }
            for mix in ["channel_mix_lerp_k", "channel_mix_lerp_r"] {
                made.drawn(&name(mix), &[1, 1, width], 0.5, 0.2);
            }
            made.matrix(&name("channel_mix_key"), &[hidden, width]);
            made.matrix(&name("channel_mix_value"), &[width, hidden]);
            made.matrix(&name("channel_mix_receptance"), &[width, width]);
        }
    }
}

/// RWKV-7.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rwkv7 {
    pub head_dim: u64,
    pub hidden: u64,
    /// Of decay, learning rate, value mixing and gate.
    pub ranks: [u64; 4],
}

impl Rwkv7 {
    pub fn fill(self, made: &mut Made, (layers, width): (u64, u64), key: &dyn Fn(&str) -> String) {
        let [decay, rate, residual, gate] = self.ranks;
        for (name, value) in [
            ("feed_forward_length", self.hidden),
            ("attention.head_count", 0),
            ("wkv.head_size", self.head_dim),
            ("attention.decay_lora_rank", decay),
            ("attention.iclr_lora_rank", rate),
            ("attention.value_residual_mix_lora_rank", residual),
            ("attention.gate_lora_rank", gate),
        ] {
            made.put(&key(name), Value::U32(value as u32));
        }
        made.put(&key("attention.layer_norm_epsilon"), Value::F32(1e-5));
        let of_layers = ["attn_norm", "attn_norm_2", "time_mix_ln"];
        norms(made, (layers, width), &of_layers);
        for layer in 0..layers {
            let name = |name: &str| format!("blk.{layer}.{name}");
            let fused = name("time_mix_lerp_fused.weight");
            made.drawn(&fused, &[6, 1, 1, width], 0.5, 0.2);
            // The first layer has no values of an earlier one to mix with; readers ask for the
            // tensors, as large as those of the learning rate, and do not use them.
            let residual = if layer == 0 { rate } else { residual };
            for (part, rank) in [("w", decay), ("a", rate), ("v", residual), ("g", gate)] {
                let name = |index: u32| name(&format!("time_mix_{part}{index}.weight"));
                if part != "g" {
                    made.drawn(&name(0), &[width], 0.0, 0.5);
                }
                made.matrix(&name(1), &[rank, width]);
                made.matrix(&name(2), &[width, rank]);
            }
            made.drawn(&name("time_mix_k_k.weight"), &[width], 0.85, 0.1);
            made.drawn(&name("time_mix_k_a.weight"), &[width], 1.0, 0.1);
            made.drawn(&name("time_mix_r_k.weight"), &[width], 0.0, 0.1);
            for part in ["receptance", "key", "value", "output"] {
                made.matrix(&name(&format!("time_mix_{part}.weight")), &[width, width]);
            }
            let mix = name("channel_mix_lerp_k.weight");
            made.drawn(&mix, &[1, 1, width], 0.5, 0.2);
            made.matrix(&name("channel_mix_key.weight"), &[self.hidden, width]);
            made.matrix(&name("channel_mix_value.weight"), &[width, self.hidden]);
        }
    }
}
