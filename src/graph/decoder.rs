//! The frame that most decoders have in common.

use super::blocks::{embedding, head};
use super::{BuildError, Builder, Config, Net, Role, Value};
use rillm_formats::manifest::Container;

/// How many layers there are without those that guess tokens after the next one: converters to
/// GGUF count them as well, and put them behind the others, as checkpoints do without counting them.
pub fn nextn_layers(model: &Builder<'_>) -> Result<usize, BuildError> {
    let (config, key) = (model.config(), "nextn_predict_layers");
    let all = config.count("block_count")?;
    let Some(guessing) = config.feature(key)? else {
        return Ok(all);
    };
    let among = match config.container {
        Container::Gguf => all.checked_sub(guessing),
        Container::HuggingFace => Some(all),
    };
    match among {
        Some(layers) if layers > 0 => {
            model.leaves_out_layers(layers);
            Ok(layers)
        }
        _ => Err(config.invalid(key, &format!("fewer than the {all} layers there are"))),
    }
}

/// A decoder of the usual kind: x ← x + mix(RMS(x)); x ← x + feed_forward(RMS(x)); logits of
/// RMS(x).
#[derive(Clone, Copy, Debug)]
pub struct PreNormDecoder {
    /// Elements of a row.
    pub width: usize,
    /// How many layers there are.
    pub layers: usize,
    /// The norms' epsilon.
    pub eps: f32,
    /// What the norm before the feed-forward layer is called.
    pub second_norm: &'static str,
}

/// A part of layer `i`, whose tensors' names begin as the text says.
type Part<'a, 'b, 'c> = &'a dyn Fn(&Net<'b, 'c>, Value, &str, usize) -> Result<Value, BuildError>;

impl PreNormDecoder {
    /// Reads the sizes; `eps` where no file says it.
    pub fn read(config: &Config<'_>, eps: f32) -> Result<PreNormDecoder, BuildError> {
        Ok(PreNormDecoder {
            width: config.count("embedding_length")?,
            layers: config.count("block_count")?,
            eps: config.epsilon("attention.layer_norm_rms_epsilon", eps)?,
            second_norm: "ffn_norm",
        })
    }

    /// Records the graph.
    pub fn wire<'b, 'c>(
        self,
        model: &'b Builder<'c>,
        mix: Part<'_, 'b, 'c>,
        feed_forward: Part<'_, 'b, 'c>,
    ) -> Result<(), BuildError> {
        model.context(model.config().count("context_length")?);
        let net = model.graph(Role::Decode);
        let mut x = embedding(&net, self.width)?;
        for i in 0..self.layers {
            let layer = format!("blk.{i}");
            let h = net.rms_norm(x, &format!("{layer}.attn_norm"), self.eps)?;
            x = net.add(x, mix(&net, h, &layer, i)?);
            let h = net.rms_norm(x, &format!("{layer}.{}", self.second_norm), self.eps)?;
            x = net.add(x, feed_forward(&net, h, &layer, i)?);
        }
        let x = net.rms_norm(net.selected(x), "output_norm", self.eps)?;
        net.emit(head(&net, x)?, "logits");
        net.finish();
        Ok(())
    }
}
