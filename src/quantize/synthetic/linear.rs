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
        made.norm("token_embd_norm.weight", width);
        made.drawn("token_embd_norm.bias", &[width], 0.0, 0.1);
        made.drawn("output_norm.bias", &[width], 0.0, 0.1);
        for layer in 0..layers {
            let name = |name: &str| format!("blk.{layer}.{name}");
            for norm in ["attn_norm", "attn_norm_2", "time_mix_ln"] {
                made.norm(&name(&format!("{norm}.weight")), width);
                made.drawn(&name(&format!("{norm}.bias")), &[width], 0.0, 0.1);
            }
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
