//! What a checkpoint usually holds, where its files are not there to say: whether there is a tensor that
//! not every checkpoint has, and how many rows a table has. Configurations tell most of it, and what is
//! left is custom, which changes a plan by little.

use super::known_keys::DENIED;
use super::tables::HEADS;
use super::{Architecture, Family};
use crate::graph::Name;
use rillm_formats::manifest::{Array, Metadata};

/// What a layer of a model is, whose layers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LayerKind {
    Attention,
    Mixer,
    FeedForward,
    Experts,
}

/// A tensor's canonical name, in parts.
struct NameParts<'a> {
    /// Of which half of a model with two, `enc` or `dec`.
    half: &'a str,
    layer: Option<u64>,
    /// The module: `attn_q`.
    module: &'a str,
    /// `weight` or `bias`.
    parameter: &'a str,
}

impl<'a> NameParts<'a> {
    fn of(name: &'a str) -> NameParts<'a> {
        let (path, parameter) = name.rsplit_once('.').unwrap_or((name, ""));
        let half = ["enc", "dec"];
        let half = half.into_iter().find(|half| {
            let rest = path.strip_prefix(half);
            rest.is_some_and(|rest| rest.starts_with('.'))
        });
        let half = half.unwrap_or("");
        let path = path[half.len()..].trim_start_matches('.');
        let (layer, module) = match path.strip_prefix("blk.").and_then(|it| it.split_once('.')) {
            Some((layer, module)) => (layer.parse().ok(), module),
            None => (None, path),
        };
        NameParts {
            half,
            layer,
            module,
            parameter,
        }
    }
}

impl NameParts<'_> {
    /// Where the half of a model that it is of has its hyperparameters by itself, if it has.
    fn object(&self) -> &'static str {
        match self.half {
            "dec" => "decoder",
            _ => "encoder",
        }
    }

    /// Whether halves have hyperparameters of their own.
    fn is_apart(&self, config: &Metadata) -> bool {
        let width = format!("{}.hidden_size", self.object());
        !self.half.is_empty() && config.value(&width).is_some()
    }

    /// A hyperparameter's key: the half's own, if it has some.
    fn key(&self, config: &Metadata, key: &str) -> String {
        match self.is_apart(config) {
            true => format!("{}.{key}", self.object()),
            false => key.to_string(),
        }
    }
}

impl Architecture {
    /// What checkpoints may call the tensor of a canonical name, heads' among them, with `{e}` where an
    /// expert's number stands.
    pub fn spellings(&self, canonical: &str) -> Vec<(String, &'static Name)> {
        let own = self.names.iter().copied();
        let lines = own.chain([HEADS]).flatten();
        lines
            .filter_map(|line| Some((line.spelled(canonical)?, line)))
            .collect()
    }

    /// Whether a checkpoint with this configuration is likely to hold a tensor that not every one of
    /// the architecture does.
    pub fn usually_holds(&self, config: &Metadata, name: &str) -> bool {
        let spelled = |name: &str| Some(self.spellings(name).into_iter().next()?.0);
        let Some(theirs) = spelled(name) else {
            return false;
        };
        // What may be stored as one or as several is stored as several.
        let apart = |both: &str, one: &str| {
            name.contains(both) && spelled(&name.replace(both, one)).is_some()
        };
        if apart("attn_qkv", "attn_q") || apart("ffn_gate_up", "ffn_gate") {
            return false;
        }
        let parts = NameParts::of(name);
        let alone = match parts.is_apart(config) {
            true => config.bool("is_encoder_decoder") == Some(false),
            false => is_class(config, reads_alone),
        };
        if parts.half == "dec" && alone {
            return false;
        }
        if let Some(kind) = parts.layer.and_then(|layer| layer_kind(config, layer)) {
            let expected = match parts.module {
                it if it.starts_with("attn_") && it != "attn_norm" => Some(LayerKind::Attention),
                "ffn_gate_inp" => Some(LayerKind::Experts),
                it if it.ends_with("_exps") => Some(LayerKind::Experts),
                "ffn_up" | "ffn_down" if parts.parameter == "weight" => {
                    Some(LayerKind::FeedForward)
                }
                _ => None,
            };
            if expected.is_some_and(|expected| !kind.contains(&expected)) {
                return false;
            }
        }
        let flag = |key: &str| config.bool(key);
        match (parts.module, parts.parameter) {
            ("output", "weight") => flag("tie_word_embeddings") == Some(false),
            ("position_embd" | "position_freqs", _) => false,
            ("attn_q_norm" | "attn_k_norm", "weight") => {
                let said = flag("use_qk_norm").or(flag("qk_layernorm"));
                said.unwrap_or(false)
            }
            ("attn_norm_2", "weight") => flag("new_decoder_architecture").unwrap_or(false),
            ("ffn_gate", "weight") if self.family == Family::EncoderDecoder => {
                let said = config.str("feed_forward_proj").unwrap_or_default();
                parts.is_apart(config) || said.starts_with("gated")
            }
            (_, "bias") => self.usually_has_bias(config, &theirs, &parts),
            _ => true,
        }
    }

    /// Whether a module, which a checkpoint calls so, is likely to have a bias.
    fn usually_has_bias(&self, config: &Metadata, theirs: &str, parts: &NameParts<'_>) -> bool {
        let module = parts.module.strip_prefix("cross_").unwrap_or(parts.module);
        let flag = |key: &str| config.bool(&parts.key(config, key));
        let mut denied = DENIED.iter();
        let said = denied.find_map(|(key, _, parts)| flag(key).filter(|_| parts.contains(&module)));
        let said = said.or(flag("no_bias").map(|without| !without));
        let said = said.or(match module {
            "attn_qkv" => flag("qkv_proj_bias"),
            "attn_q" | "attn_k" | "attn_v" => flag("use_qkv_bias"),
            "ffn_up" => flag("mlp_fc1_bias"),
            "ffn_down" => flag("mlp_fc2_bias"),
            "ffn_gate_inp" => flag("router_bias"),
            "ssm_in" | "ssm_out" => Some(false),
            _ if module.starts_with("shortconv") => flag("conv_bias"),
            _ if module.ends_with("norm") => Some(flag("norm_bias").unwrap_or(true)),
            _ => None,
        });
        // Decoders of today say what has a bias, and have none where they do not.
        let of_today = theirs.starts_with("model.layers.")
            || parts.is_apart(config)
            || theirs == "lm_head.bias";
        let usual = !of_today && !module.ends_with("_exps");
        said.unwrap_or(usual || self.biased.contains(&module))
    }

    /// Rows of a table that no hyperparameter of the wiring says, for a checkpoint with this
    /// configuration; `has` tells of other tensors.
    pub fn usual_rows(
        &self,
        config: &Metadata,
        name: &str,
        has: impl Fn(&str) -> bool,
    ) -> Option<u64> {
        let parts = NameParts::of(name);
        let first = |keys: &[&str]| {
            let mut keys = keys.iter();
            keys.find_map(|key| config.u64(&parts.key(config, key)))
        };
        match parts.module {
            "token_embd" if parts.half == "dec" => first(&["decoder_vocab_size", "vocab_size"]),
            "token_embd" => first(&["vocab_size"]),
            "per_layer_token_embd" => first(&["vocab_size_per_layer_input", "vocab_size"]),
            "position_embd" => first(&["max_position_embeddings", "n_positions", "max_seq_len"]),
            "token_types" => first(&["type_vocab_size"]),
            "task_types" => first(&["task_type_vocab_size"]),
            "mlm_dense" => first(&[
                "output_embedding_size",
                "embedding_size",
                "hidden_size",
                "dim",
                "d_model",
            ]),
            "output" => first(&["vocab_size"]),
            "laurel_l" => first(&["laurel_rank"]),
            // What an earlier version has in one is in two, unless the second is missing.
            "ffn_gate" if has(&name.replace("ffn_gate", "ffn_up")) => Some(1),
            "ffn_gate" => first(&["intermediate_size"]).map(|hidden| 2 * hidden),
            "time_mix_decay_w1" => Some(64),
            // Five interpolations share a matrix of this rank each.
            "time_mix_w1" => Some(5 * first(&["time_mix_extra_dim"]).unwrap_or(32)),
            "classifier" | "cls.output" => Some(labels(config)),
            "sentence_order" => Some(2),
            _ => None,
        }
    }
}

/// Whether a class has the encoder alone of what may be a model with two halves.
fn reads_alone(class: &str) -> bool {
    class.contains("Encoder") || class.ends_with("TokenClassification")
}

/// Whether the class that a folder names is one of these.
fn is_class(config: &Metadata, test: impl Fn(&str) -> bool) -> bool {
    let Some(Array::String(classes)) = config.array("architectures") else {
        return false;
    };
    let class = classes
        .get(0)
        .and_then(|class| std::str::from_utf8(class).ok());
    class.is_some_and(test)
}

/// Labels of a class with a head: those that have names, or two; a choice has one score.
fn labels(config: &Metadata) -> u64 {
    if is_class(config, |class| class.ends_with("MultipleChoice")) {
        return 1;
    }
    let named = config.0.keys().filter(|key| key.starts_with("id2label."));
    match named.count() as u64 {
        0 => config.u64("num_labels").unwrap_or(2),
        labels => labels,
    }
}

/// What a layer is, as configurations of models say it whose layers differ.
fn layer_kind(config: &Metadata, layer: u64) -> Option<Vec<LayerKind>> {
    use LayerKind::{Attention, Experts, FeedForward, Mixer};
    let index = usize::try_from(layer).ok()?;
    let listed = ["layers_block_type", "layer_types"].into_iter();
    for list in listed.filter_map(|key| config.array(key)) {
        let Array::String(kinds) = list else { continue };
        let kinds: Vec<&[u8]> = (0..list.len()).filter_map(|at| kinds.get(at)).collect();
        let mixers: [&[u8]; 3] = [b"mamba", b"linear_attention", b"conv"];
        // Others tell how far attention sees.
        if !kinds.iter().any(|kind| mixers.contains(kind)) {
            continue;
        }
        let alone = kinds
            .iter()
            .any(|kind| [b"mlp" as &[u8], b"moe"].contains(kind));
        let kind = match *kinds.get(index)? {
            kind if mixers.contains(&kind) => Mixer,
            b"mlp" => FeedForward,
            b"moe" => Experts,
            _ => Attention,
        };
        return Some(match alone {
            true => vec![kind],
            false => vec![kind, FeedForward, Experts],
        });
    }
    if let Some(pattern) = config.str("hybrid_override_pattern") {
        return Some(match pattern.as_bytes().get(index)? {
            b'M' => vec![Mixer],
            b'*' => vec![Attention],
            b'E' => vec![Experts],
            _ => vec![FeedForward],
        });
    }
    if let Some(list) = config.array("attn_layer_indices") {
        let attends = (0..list.len()).any(|at| list.u64(at) == Some(layer));
        let kind = if attends { Attention } else { Mixer };
        return Some(vec![kind, FeedForward, Experts]);
    }
    // Numbered from one on.
    if let Some(list) = config.array("linear_attn_config.full_attn_layers") {
        let attends = (0..list.len()).any(|at| list.u64(at) == Some(layer + 1));
        let kind = if attends { Attention } else { Mixer };
        return Some(vec![kind, FeedForward, Experts]);
    }
    let every = |what: &str| {
        let period = config.u64(&format!("{what}_layer_period"))?;
        let offset = config.u64(&format!("{what}_layer_offset"))?;
        Some(layer.checked_rem(period)? == offset)
    };
    let attends = every("attn")?;
    let routed = every("expert").unwrap_or(false);
    Some(vec![
        if attends { Attention } else { Mixer },
        if routed { Experts } else { FeedForward },
    ])
}
