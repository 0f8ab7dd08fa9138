//! What the class of a tokenizer makes of a `tokenizer.json`: the reference's classes build parts of
//! it anew from `tokenizer_config.json`, and each obeys keys of its own.

use super::HfFiles;
use super::error::TokenizerError;
use super::hf::JSON;
use super::hf_component::kind_of;
use super::hf_settings::parse_json;
use super::hf_slow::model_config;
use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A class of the reference, and what the configuration says to it. Only what transformers 4 and 5
/// both do is done.
#[derive(Clone, Debug, Default)]
pub(super) struct TokenizerClass {
    /// Whether `add_bos_token` and `add_eos_token` mean nothing to it. Those of Llama, Gemma,
    /// Cohere and GPT-NeoX obey them in transformers 4 and not in 5: here they do.
    pub(super) keeps_post_processor: bool,
    bert: Option<BertKeys>,
    /// `add_prefix_space`, of those that cut text into words of bytes.
    prefix_space: Option<bool>,
}

/// What BERT's classes say of normalization, whether or not the file says otherwise.
#[derive(Clone, Debug)]
struct BertKeys {
    lowercase: Value,
    strip_accents: Value,
    handle_chinese_chars: Value,
}

/// The parts of `tokenizer.json` that a class may change.
#[derive(Deserialize)]
struct ChangedParts {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
}

impl TokenizerClass {
    pub(super) fn read(files: &HfFiles<'_>, config: &Value) -> TokenizerClass {
        let class = config.get("tokenizer_class").and_then(Value::as_str);
        let model = model_config(files);
        let class = match (class, model.get("model_type").and_then(Value::as_str)) {
            (Some(class), _) => class.strip_suffix("Fast").unwrap_or(class),
            (None, Some(model)) => class_of_model(model),
            (None, None) => "",
        };
        let truth = |key: &str, unsaid: bool| {
            let said = config.get(key).and_then(Value::as_bool);
            Value::Bool(said.unwrap_or(unsaid))
        };
        match class {
            "BertTokenizer"
            | "DistilBertTokenizer"
            | "ElectraTokenizer"
            | "LayoutLMTokenizer"
            | "LxmertTokenizer"
            | "MobileBertTokenizer"
            | "SqueezeBertTokenizer" => TokenizerClass {
                keeps_post_processor: true,
                bert: Some(BertKeys {
                    lowercase: truth("do_lower_case", true),
                    strip_accents: config.get("strip_accents").cloned().unwrap_or_default(),
                    handle_chinese_chars: truth("tokenize_chinese_chars", true),
                }),
                prefix_space: None,
            },
            "BartTokenizer"
            | "CodeGenTokenizer"
            | "CohereTokenizer"
            | "GPT2Tokenizer"
            | "GPTNeoXTokenizer"
            | "LEDTokenizer"
            | "LongformerTokenizer"
            | "MvpTokenizer"
            | "RobertaTokenizer" => TokenizerClass {
                keeps_post_processor: !matches!(class, "CohereTokenizer" | "GPTNeoXTokenizer"),
                bert: None,
                prefix_space: truth("add_prefix_space", false).as_bool(),
            },
            "BloomTokenizer" | "PreTrainedTokenizer" | "Qwen2Tokenizer" | "TokenizersBackend" => {
                TokenizerClass {
                    keeps_post_processor: true,
                    ..TokenizerClass::default()
                }
            }
            _ => TokenizerClass::default(),
        }
    }

    /// Changes these parts, if they are of the kind that the class makes.
    pub(super) fn change(&self, normalizer: &mut Value, pre_tokenizer: &mut Value) -> bool {
        let mut is_changed = false;
        let mut set = |component: &mut Value, key: &str, said: &Value| {
            if let Some(component) = component.as_object_mut()
                && component.get(key).unwrap_or(&Value::Null) != said
            {
                component.insert(String::from(key), said.clone());
                is_changed = true;
            }
        };
        if let Some(keys) = self.bert.as_ref()
            && kind_of(normalizer) == "BertNormalizer"
        {
            set(normalizer, "lowercase", &keys.lowercase);
            set(normalizer, "strip_accents", &keys.strip_accents);
            set(
                normalizer,
                "handle_chinese_chars",
                &keys.handle_chinese_chars,
            );
        }
        if let Some(space) = self.prefix_space
            && kind_of(pre_tokenizer) == "ByteLevel"
        {
            set(pre_tokenizer, "add_prefix_space", &Value::Bool(space));
        }
        is_changed
    }

    /// `tokenizer.json` as the class changes it.
    pub(super) fn changed<'a>(&self, json: &'a [u8]) -> Result<Cow<'a, [u8]>, TokenizerError> {
        let mut parts: ChangedParts = parse_json(json, JSON)?;
        if !self.change(&mut parts.normalizer, &mut parts.pre_tokenizer) {
            return Ok(Cow::Borrowed(json));
        }
        let mut file: Map<String, Value> = parse_json(json, JSON)?;
        file.insert(String::from("normalizer"), parts.normalizer);
        file.insert(String::from("pre_tokenizer"), parts.pre_tokenizer);
        Ok(Cow::Owned(Value::Object(file).to_string().into_bytes()))
    }
}

/// The class that the reference takes for a model where none is said.
fn class_of_model(model: &str) -> &'static str {
    match model {
        "bert" => "BertTokenizer",
        "distilbert" => "DistilBertTokenizer",
        "electra" => "ElectraTokenizer",
        "layoutlm" => "LayoutLMTokenizer",
        "lxmert" => "LxmertTokenizer",
        "mobilebert" => "MobileBertTokenizer",
        "squeezebert" => "SqueezeBertTokenizer",
        "bart" => "BartTokenizer",
        "codegen" => "CodeGenTokenizer",
        "gpt2" | "opt" => "GPT2Tokenizer",
        "led" => "LEDTokenizer",
        "longformer" => "LongformerTokenizer",
        "mvp" => "MvpTokenizer",
        "roberta" => "RobertaTokenizer",
        _ => "",
    }
}
