//! Folders that have a vocabulary and no `tokenizer.json`: what one would say, as the reference
//! converts them, by the class of the tokenizer.

use super::HfFiles;
use super::error::{Shown, TokenizerError, failure};
use super::hf_settings::{Settings, parse_json, parse_tree};
use super::sentencepiece_classes::{DEBERTA, FAIRSEQ, Roles};
use crate::json::without_python_numbers;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde_json::{Value, json};

/// What cuts Qwen's text.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// BERT's special tokens, where the files do not say.
const BERT: Roles = &[
    ("unk_token", "[UNK]"),
    ("sep_token", "[SEP]"),
    ("pad_token", "[PAD]"),
    ("cls_token", "[CLS]"),
    ("mask_token", "[MASK]"),
];

/// The families of `vocab.json` and `merges.txt`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SlowClass {
    Gpt2,
    GptNeoX,
    Roberta,
    Deberta,
    Qwen2,
    Blenderbot,
    Herbert,
}

/// The `tokenizer.json` that these files amount to; what they leave unsaid of special tokens goes
/// into the settings.
pub(super) fn converted(
    files: &HfFiles<'_>,
    settings: &mut Settings,
) -> Result<Option<Vec<u8>>, TokenizerError> {
    let config = Settings::config(files)?;
    if let Some(vocabulary) = files.vocab_json {
        let Some(merges) = files.merges_txt else {
            return Err(failure!(
                Missing,
                "there is a vocab.json and no merges.txt, copy it from where the checkpoint came \
                 from"
            ));
        };
        return byte_level(files, &config, vocabulary, merges, settings).map(Some);
    }
    match files.vocab_txt {
        Some(lines) => word_piece(files, &config, lines, settings).map(Some),
        None => Ok(None),
    }
}

/// The class of the tokenizer, and the type of the model, as far as they are said.
pub(super) fn names<'a>(config: &'a Value, model: &'a Value) -> (Option<&'a str>, Option<&'a str>) {
    let class = config.get("tokenizer_class").and_then(Value::as_str);
    let class = class.map(|class| class.strip_suffix("Fast").unwrap_or(class));
    let is_said = |class: &&str| !matches!(*class, "PreTrainedTokenizer" | "TokenizersBackend");
    let model = model.get("model_type").and_then(Value::as_str);
    (class.filter(is_said), model)
}

/// What `config.json` says.
pub(super) fn model_config(files: &HfFiles<'_>) -> Value {
    let config = files.config.map(without_python_numbers);
    let config = config.and_then(|bytes| parse_tree(&bytes, "config.json").ok());
    config.unwrap_or(Value::Null)
}

/// What to say of a file that a class of which nothing is known has a use of its own for.
pub(super) fn unknown_class(
    file: &str,
    (class, model): (Option<&str>, Option<&str>),
) -> TokenizerError {
    let (what, name) = match (class, model) {
        (Some(class), _) => ("tokenizer_class", class),
        (None, Some(model)) => ("model_type", model),
        (None, None) => ("tokenizer_class", "(none)"),
    };
    failure!(
        Unsupported,
        "there is a {file} and no tokenizer.json, and how a tokenizer with the {what} {} cuts text \
         is not known here; save it with AutoTokenizer.from_pretrained(…).save_pretrained(…)",
        Shown(name.as_bytes())
    )
}

fn byte_level(
    files: &HfFiles<'_>,
    config: &Value,
    vocabulary: &[u8],
    merges: &[u8],
    settings: &mut Settings,
) -> Result<Vec<u8>, TokenizerError> {
    let model = model_config(files);
    let names = names(config, &model);
    let family = match names {
        (Some("GPT2Tokenizer" | "CodeGenTokenizer"), _) => SlowClass::Gpt2,
        (Some("GPTNeoXTokenizer"), _) => SlowClass::GptNeoX,
        (Some("DebertaTokenizer"), _) => SlowClass::Deberta,
        (Some("BlenderbotTokenizer"), _) => SlowClass::Blenderbot,
        (Some("HerbertTokenizer"), _) => SlowClass::Herbert,
        (
            Some(
                "RobertaTokenizer"
                | "BartTokenizer"
                | "LongformerTokenizer"
                | "LEDTokenizer"
                | "MvpTokenizer",
            ),
            _,
        ) => SlowClass::Roberta,
        (Some("Qwen2Tokenizer"), _) => SlowClass::Qwen2,
        (
            None,
            Some(
                "gpt2" | "gpt_neo" | "gptj" | "gpt_bigcode" | "codegen" | "opt" | "starcoder2"
                | "phi" | "dbrx",
            ),
        ) => SlowClass::Gpt2,
        (
            None,
            Some(
                "gpt_neox" | "falcon_mamba" | "mamba" | "mamba2" | "mpt" | "olmo" | "olmoe"
                | "rwkv",
            ),
        ) => SlowClass::GptNeoX,
        (None, Some("roberta" | "bart" | "longformer" | "led" | "mvp" | "data2vec-text")) => {
            SlowClass::Roberta
        }
        (None, Some("deberta")) => SlowClass::Deberta,
        (None, Some("blenderbot")) => SlowClass::Blenderbot,
        (None, Some("qwen2" | "qwen2_moe" | "qwen3" | "qwen3_moe" | "qwen3_next")) => {
            SlowClass::Qwen2
        }
        _ => return Err(unknown_class("vocab.json", names)),
    };
    let flag = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(false);
    let prefix_space = match family {
        // Its authors' texts begin so, and so they do in transformers 5.
        SlowClass::Blenderbot => {
            config.get("add_prefix_space").and_then(Value::as_bool) != Some(false)
        }
        _ => flag("add_prefix_space"),
    };
    let bytes = |regex: bool| {
        json!({"type": "ByteLevel", "add_prefix_space": prefix_space, "trim_offsets": true,
               "use_regex": regex})
    };
    let ends = "<|endoftext|>";
    let (normalizer, pre_tokenizer) = match family {
        SlowClass::Qwen2 => {
            settings.unsaid("eos_token", ends);
            settings.unsaid("pad_token", ends);
            let split = json!({"type": "Split", "pattern": {"Regex": QWEN2},
                               "behavior": "Isolated", "invert": false});
            let parts = json!({"type": "Sequence", "pretokenizers": [split, bytes(false)]});
            (json!({"type": "NFC"}), parts)
        }
        SlowClass::Gpt2 => {
            for role in ["bos_token", "eos_token", "unk_token"] {
                settings.unsaid(role, ends);
            }
            (Value::Null, bytes(true))
        }
        SlowClass::GptNeoX => {
            for role in ["bos_token", "eos_token", "unk_token"] {
                settings.unsaid(role, ends);
            }
            settings.unsaid("pad_token", "<|padding|>");
            (json!({"type": "NFC"}), bytes(true))
        }
        SlowClass::Herbert => {
            settings.all_unsaid(FAIRSEQ);
            let words = json!({"type": "BertNormalizer", "clean_text": true,
                "handle_chinese_chars": true, "strip_accents": false, "lowercase": false});
            (words, json!({"type": "BertPreTokenizer"}))
        }
        SlowClass::Roberta | SlowClass::Blenderbot => {
            settings.all_unsaid(FAIRSEQ);
            // Masks take the space before them, unless the files say how they match: so do the authors'
            // own, the published files and transformers 4, while version 5 forgets it.
            settings.strips_left("mask_token");
            (Value::Null, bytes(true))
        }
        SlowClass::Deberta => {
            settings.all_unsaid(DEBERTA);
            (Value::Null, bytes(true))
        }
    };
    let ids: Value = parse_json(vocabulary, "vocab.json")?;
    are_ids(&ids)?;
    let id = |role: &str| {
        let name = &settings.named(role)?.content;
        Some((name.clone(), ids.get(name)?.as_u64()?))
    };
    let post_processor = match (family, id("cls_token"), id("sep_token"), id("bos_token")) {
        (SlowClass::Roberta, Some(cls), Some(sep), _) => {
            json!({"type": "RobertaProcessing", "sep": [sep.0, sep.1], "cls": [cls.0, cls.1],
                   "trim_offsets": true, "add_prefix_space": prefix_space})
        }
        (SlowClass::Deberta | SlowClass::Herbert, Some((cls, cls_id)), Some((sep, sep_id)), _) => {
            template(&[(&cls, cls_id)], &[(&sep, sep_id)])
        }
        // As its published files and transformers 4 have it, while version 5 forgets it.
        (SlowClass::Blenderbot, _, Some((sep, id)), _) => template(&[], &[(&sep, id)]),
        (SlowClass::Gpt2 | SlowClass::GptNeoX, _, _, Some((name, id))) if flag("add_bos_token") => {
            template(&[(&name, id)], &[])
        }
        _ => Value::Null,
    };
    let merges = merge_list(merges, &ids)?;
    let (begins, decoder) = match family {
        SlowClass::Herbert => (
            r#"{"type":"BPE","unk_token":"<unk>","end_of_word_suffix":"</w>","merges":"#,
            json!({"type": "BPEDecoder", "suffix": "</w>"}),
        ),
        _ => (r#"{"type":"BPE","unk_token":null,"merges":"#, bytes(true)),
    };
    let model = [
        begins.as_bytes(),
        merges.as_bytes(),
        br#","vocab":"#,
        vocabulary,
        b"}",
    ];
    let parts = json!({"normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor, "decoder": decoder,
        "added_tokens": added_tokens(files, |name| ids.get(name)?.as_u64())?});
    Ok(assembled(&parts, &model.concat()))
}

/// BERT's, a token in each line.
fn word_piece(
    files: &HfFiles<'_>,
    config: &Value,
    lines: &[u8],
    settings: &mut Settings,
) -> Result<Vec<u8>, TokenizerError> {
    const CLASSES: &[&str] = &[
        "BertTokenizer",
        "DistilBertTokenizer",
        "ElectraTokenizer",
        "MobileBertTokenizer",
        "ConvBertTokenizer",
        "SqueezeBertTokenizer",
        "LayoutLMTokenizer",
        "RetriBertTokenizer",
        "RealmTokenizer",
        "DPRQuestionEncoderTokenizer",
        "DPRContextEncoderTokenizer",
        "RoFormerTokenizer",
        "MPNetTokenizer",
    ];
    const MODELS: &[&str] = &[
        "bert",
        "distilbert",
        "electra",
        "mobilebert",
        "convbert",
        "squeezebert",
        "layoutlm",
        "nomic_bert",
        "ernie",
        "megatron-bert",
        "mpnet",
    ];
    let model = model_config(files);
    let names = names(config, &model);
    let is_known = match names {
        // Chinese words are cut by a program of its own there.
        (Some("RoFormerTokenizer"), _) => false,
        (Some(class), _) => CLASSES.contains(&class),
        (None, Some(model)) => MODELS.contains(&model),
        (None, None) => false,
    };
    if !is_known {
        return Err(unknown_class("vocab.txt", names));
    }
    match names {
        (Some("MPNetTokenizer"), _) | (None, Some("mpnet")) => {
            settings.unsaid("unk_token", "[UNK]");
            settings.all_unsaid(FAIRSEQ);
            settings.strips_left("mask_token");
        }
        _ => settings.all_unsaid(BERT),
    }
    let text = core::str::from_utf8(lines)
        .map_err(|error| failure!(Malformed, "vocab.txt is not UTF-8: {error}"))?;
    // Of a line that comes twice, the last counts.
    let lines = (0u64..).zip(text.lines());
    let ids: BTreeMap<&str, u64> = lines.map(|(id, line)| (line.trim_end(), id)).collect();
    let flag = |key: &str, unsaid| config.get(key).and_then(Value::as_bool).unwrap_or(unsaid);
    let name = |role: &str| settings.named(role).map(|token| token.content.clone());
    let id = |role: &str| {
        let name = name(role)?;
        let id = *ids.get(name.as_str())?;
        Some((name, id))
    };
    let unknown = name("unk_token").unwrap_or_default();
    if !ids.contains_key(unknown.as_str()) {
        return Err(failure!(
            Malformed,
            "vocab.txt has no line {}, which stands for words that are not there",
            Shown(unknown.as_bytes())
        ));
    }
    let post_processor = match (id("cls_token"), id("sep_token")) {
        (Some((cls, cls_id)), Some((sep, sep_id))) => {
            template(&[(&cls, cls_id)], &[(&sep, sep_id)])
        }
        _ => Value::Null,
    };
    let parts = json!({
        "normalizer": {"type": "BertNormalizer", "clean_text": true,
            "handle_chinese_chars": flag("tokenize_chinese_chars", true),
            "strip_accents": config.get("strip_accents").and_then(Value::as_bool),
            "lowercase": flag("do_lower_case", true)},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": post_processor,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "added_tokens": added_tokens(files, |name| ids.get(name).copied())?,
    });
    let unknown = json!(unknown).to_string();
    let vocabulary = serde_json::to_vec(&ids)
        .map_err(|error| failure!(Malformed, "vocab.txt cannot be read: {error}"))?;
    let model = [
        &br###"{"type":"WordPiece","continuing_subword_prefix":"##","###[..],
        br#""max_input_chars_per_word":100,"unk_token":"#,
        unknown.as_bytes(),
        br#","vocab":"#,
        &vocabulary,
        b"}",
    ];
    Ok(assembled(&parts, &model.concat()))
}

/// The parts and the model as one file.
fn assembled(parts: &Value, model: &[u8]) -> Vec<u8> {
    let parts = parts.to_string();
    let parts = parts.strip_suffix('}').unwrap_or_default();
    [parts.as_bytes(), br#","model":"#, model, b"}"].concat()
}

/// A template of tokens before and after a text.
fn template(before: &[(&str, u64)], after: &[(&str, u64)]) -> Value {
    let token = |(name, _): &(&str, u64)| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let single = before.iter().map(token);
    let single: Vec<Value> = single
        .chain([text])
        .chain(after.iter().map(token))
        .collect();
    let special = before.iter().chain(after).map(|(name, id)| {
        let token = json!({"id": name, "ids": [id], "tokens": [name]});
        ((*name).to_string(), token)
    });
    let special: serde_json::Map<String, Value> = special.collect();
    json!({"type": "TemplateProcessing", "single": single, "special_tokens": special})
}

/// Refuses a `vocab.json` that gives a token something else than an id.
fn are_ids(ids: &Value) -> Result<(), TokenizerError> {
    let Some(ids) = ids.as_object() else {
        return Err(failure!(
            Malformed,
            "vocab.json is no map from tokens to ids"
        ));
    };
    let is_id = |id: &Value| id.as_u64().is_some_and(|id| u32::try_from(id).is_ok());
    match ids.iter().find(|(_, id)| !is_id(id)) {
        Some((name, id)) => Err(failure!(
            Malformed,
            "vocab.json: the id of {} is {}, expected a number",
            Shown(name.as_bytes()),
            Shown(id.to_string().as_bytes())
        )),
        None => Ok(()),
    }
}

/// The lines of `merges.txt` as a list; their tokens are those of the vocabulary.
fn merge_list(lines: &[u8], ids: &Value) -> Result<String, TokenizerError> {
    let text = core::str::from_utf8(lines)
        .map_err(|error| failure!(Malformed, "merges.txt is not UTF-8: {error}"))?;
    let mut list = String::from("[");
    // Some editors put a mark before the first line, which is a comment.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in (1usize..).zip(text.split('\n')) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() || line.starts_with("#version") {
            continue;
        }
        let sides = line.split_once(' ');
        let Some((left, right)) = sides
            .filter(|(left, right)| !left.is_empty() && !right.is_empty() && !right.contains(' '))
        else {
            return Err(failure!(
                Malformed,
                "merges.txt line {number} is {}, expected two tokens with a space between",
                Shown(line.as_bytes())
            ));
        };
        if let Some(side) = [left, right]
            .into_iter()
            .find(|side| ids.get(*side).is_none())
        {
            return Err(failure!(
                Malformed,
                "merges.txt line {number} has {}, which is not in vocab.json",
                Shown(side.as_bytes())
            ));
        }
        if list.len() > 1 {
            list.push(',');
        }
        list.push_str(&format!("{}", json!([left, right])));
    }
    list.push(']');
    Ok(list)
}

/// `added_tokens.json`: tokens beyond the vocabulary, and ids.
fn added_tokens(
    files: &HfFiles<'_>,
    known: impl Fn(&str) -> Option<u64>,
) -> Result<Value, TokenizerError> {
    const FILE: &str = "added_tokens.json";
    let Some(bytes) = files.added_tokens else {
        return Ok(json!([]));
    };
    let Value::Object(tokens) = parse_tree(bytes, FILE)? else {
        return Err(failure!(Malformed, "{FILE} is no map from tokens to ids"));
    };
    let added = tokens.iter().map(|(name, id)| {
        let id = id.as_u64().ok_or_else(|| {
            failure!(
                Malformed,
                "{FILE}: the id of {} is no number",
                Shown(name.as_bytes())
            )
        })?;
        let id = known(name).unwrap_or(id);
        Ok(json!({"id": id, "content": name, "special": false, "normalized": true}))
    });
    added
        .collect::<Result<Vec<Value>, TokenizerError>>()
        .map(Value::Array)
}
