//! SmolLM3 (Hugging Face 2025): LLaMA of which every fourth layer knows no positions.

use super::{Architecture, Conversion, DECODER, Only, conversion, llama, tables};
use crate::graph::{BuildError, Builder};
use rillm_formats::manifest::MetadataValue;

pub(super) const ARCHITECTURE: Architecture = Architecture {
    title: "SmolLM3",
    gguf: &["smollm3"],
    hugging_face: &["smollm3"],
    off: tables::BIASES,
    keys: &[
        tables::SIZES,
        tables::ROPE,
        &[
            (ROTATED, "no_rope_layers"),
            (INTERVAL, "no_rope_layer_interval"),
            ("use_sliding_window", "use_sliding_window"),
        ],
    ],
    // Without a window it is no matter which layers would have it.
    settled: &[
        ("layer_types", Only::Any),
        ("max_window_layers", Only::Any),
        ("sliding_window", Only::Any),
    ],
    names: llama::NAMES,
    conversion: Conversion {
        keys: |keys| keys.put_usual("rope.freq_base", MetadataValue::F32(BASE)),
        ..conversion::NEIGHBOURS_PAIRED
    },
    build,
    ..DECODER
};

/// Base of the rotation if the configuration does not say it.
const BASE: f32 = 2e6;

/// A list in which 1 says that a layer rotates, whatever its name says.
const ROTATED: &str = "rope.rotated_layers";
const INTERVAL: &str = "rope.unrotated_interval";

fn build(model: &Builder<'_>) -> Result<(), BuildError> {
    let config = model.config();
    if config.flag("use_sliding_window", false)? {
        return Err(config.invalid("use_sliding_window", "false"));
    }
    let layers = config.count("block_count")?;
    let rotated: Vec<bool> = match config.value(ROTATED) {
        Some(MetadataValue::Array(list)) if list.len() == layers => {
            let rotates = |i| match list.u64(i) {
                Some(0) => Ok(false),
                Some(1) => Ok(true),
                _ => Err(config.invalid(ROTATED, "a list of ones and zeros")),
            };
            (0..layers).map(rotates).collect::<Result<_, _>>()?
        }
        Some(MetadataValue::Array(_)) => {
            let expected = format!("an entry for each of {layers} layers");
            return Err(config.invalid(ROTATED, &expected));
        }
        Some(_) => return Err(config.invalid(ROTATED, "a list of ones and zeros")),
        None => {
            let interval = config.optional_count(INTERVAL)?.unwrap_or(4);
            let rotates = |layer: usize| !(layer + 1).is_multiple_of(interval);
            (0..layers).map(rotates).collect()
        }
    };
    llama::wire(
        model,
        &llama::Usual {
            base: BASE,
            ..llama::USUAL
        },
        &|layer| rotated[layer],
    )
}
