//! The pre-tokenizers that GGUF files name in `tokenizer.ggml.pre`.

use super::pre_tokenizer::PreTokenizerStep;
use super::split::{Matcher, SplitStep};
use alloc::vec::Vec;

/// A pre-tokenizer by its name in GGUF.
pub(super) struct GgufPreTokenizer {
    /// One split for each pattern; each cuts what the one before left.
    patterns: &'static [&'static str],
    /// Whether a word that is a token is that token, without merging (`ignore_merges`).
    pub(super) whole_words_first: bool,
    /// Whether a text starts with BOS where the file does not say.
    pub(super) adds_bos: bool,
}

/// A name for each different pre-tokenizer.
const DISTINCT: &[&str] = &[
    "gpt-2",
    "llama-bpe",
    "qwen2",
    "starcoder",
    "falcon",
    "default",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3",
    "bloom",
    "viking",
    "tekken",
    "gpt-4o",
    "qwen35",
    "youtu",
    "bailingmoe",
    "seed-coder",
    "minicpm5",
    "laguna",
    "ufakzeka",
    "chatglm-bpe",
    "spark2_5",
    "jais-2",
    "tiny_aya",
    "exaone-moe",
    "chameleon",
    "superbpe",
    "afmoe",
    "kimi-k2",
];

impl GgufPreTokenizer {
    /// The name of the pre_tokenizer that cuts text so.
    pub(super) fn name_of(
        steps: &[PreTokenizerStep],
        whole_words_first: bool,
    ) -> Option<&'static str> {
        let splits = steps.iter().map(|step| match step {
            PreTokenizerStep::Split(split) => Some(split.clone()),
            _ => None,
        });
        let splits: Vec<SplitStep> = splits.collect::<Option<_>>()?;
        let same = |name: &&&str| {
            GgufPreTokenizer::named(name).is_some_and(|pre_tokenizer| {
                pre_tokenizer.whole_words_first == whole_words_first
                    && pre_tokenizer.splits().is_some_and(|found| found == splits)
            })
        };
        DISTINCT.iter().find(same).copied()
    }

    /// The pre_tokenizer with this name.
    pub(super) fn named(name: &str) -> Option<GgufPreTokenizer> {
        let patterns: &'static [&'static str] = match name {
            "gpt-2" | "gpt2" | "phi-2" | "jina-es" | "jina-de" | "gigachat" | "jina-v1-en"
            | "jina-v2-es" | "jina-v2-de" | "jina-v2-code" | "roberta-bpe" | "a.x-4.0"
            | "mellum" | "modern-bert" | "exaone4" | "mpt" | "olmo" | "jais" | "trillion"
            | "granite-docling" => &[GPT2],
            "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon-h1" | "pixtral"
            | "midm-2.0" | "lfm2" | "jina-v5-nano" | "dbrx" | "smaug-bpe" | "glm4" | "glm5"
            | "chatglm-bpe" => &[LLAMA3],
            "jais-2" => &[JAIS2],
            "qwen2" | "deepseek-r1-qwen" | "kormo" | "f2llmv2" | "megrez" | "stablelm2"
            | "hunyuan" | "solar-open" | "grok-2" => &[QWEN2],
            "qwen35" => &[QWEN35],
            "ufakzeka" => &[UFAKZEKA],
            "bailingmoe" | "bailingmoe2" | "llada-moe" => &[BAILING],
            "seed-coder" => &[SEED_CODER],
            "minicpm5" => &[r"\p{N}{1,3}", MINICPM5],
            "laguna" => &[r"[^\n]+|[\n]+", QWEN2],
            "deepseek-llm" => &[
                r"[\r\n]",
                DEEPSEEK_LLM_LETTERS,
                r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
                r"\s+$",
                r"[一-龥ࠀ-一가-퟿]+",
                r"\p{N}+",
            ],
            "deepseek-coder" => &[
                r"[\r\n]",
                r"\s?\p{L}+",
                r"\s?\p{P}+",
                r"[一-龥ࠀ-一가-퟿]+",
                r"\p{N}",
            ],
            "deepseek-v3" | "hunyuan-dense" | "joyai-llm" | "hy_v4" => {
                &[r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK3]
            }
            "spark2_5" => &[r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+", SPARK, r"\p{N}"],
            "tiny_aya" | "cohere2moe" => &[r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O],
            "falcon" => &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, r"[0-9][0-9][0-9]"],
            "starcoder" | "refact" | "command-r" | "smollm" | "codeshell" | "exaone"
            | "minerva-7b" | "mellum2" => &[r"\p{N}", GPT2],
            "default" => &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
            "poro-chat" | "bloom" | "gpt3-finnish" => &[BLOOM],
            "viking" => &[BLOOM, r"\p{N}"],
            "tekken" => &[TEKKEN],
            "gpt-4o"
            | "llama4"
            | "kanana2"
            | "talkie"
            | "minimax-m2"
            | "granite-embed-multi-97m" => &[GPT4O],
            "youtu" => &[YOUTU_SCRIPTS, YOUTU],
            "exaone-moe" => &[EXAONE_MOE],
            "chameleon" => &[
                "<sentinel:[0-9]+>",
                "IMGIMG[A-I]{1,4}Z",
                "[\t\n]|    |  ",
                r"\p{N}",
                r"[\p{P}!-/:-@\[-`{-~]",
                GPT2,
            ],
            "superbpe" => &[r"\p{N}+", r"(?=(\d{3})+(?!\d))"],
            "afmoe" => &[
                r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",
                AFMOE_SCRIPTS,
                DEEPSEEK3,
            ],
            "kimi-k2" => &[KIMI],
            _ => return None,
        };
        let llama3 = matches!(
            name,
            "llama3"
                | "llama-v3"
                | "llama-bpe"
                | "falcon3"
                | "falcon-h1"
                | "pixtral"
                | "midm-2.0"
                | "lfm2"
                | "jina-v5-nano"
        );
        Some(GgufPreTokenizer {
            patterns,
            whole_words_first: llama3
                || matches!(
                    name,
                    "tekken" | "minicpm5" | "youtu" | "granite-embed-multi-97m" | "glm4" | "glm5"
                ),
            adds_bos: llama3 || matches!(name, "tekken" | "chameleon"),
        })
    }

    /// The splits; `None` would mean that [`Matcher`] cannot read a pattern of this file.
    pub(super) fn splits(&self) -> Option<Vec<SplitStep>> {
        self.patterns
            .iter()
            .map(|text| Matcher::parse(text).map(SplitStep::isolated))
            .collect()
    }
}

/// Also what `tokenizer.json`'s `ByteLevel` means by `use_regex`.
pub(super) const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const UFAKZEKA: &str =
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const BAILING: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const SEED_CODER: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
const MINICPM5: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const SPARK: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+"##;
const JAIS2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}";
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const YOUTU_SCRIPTS: &str = "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+";
const YOUTU: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const EXAONE_MOE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";
const KIMI: &str = r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Scripts that are written without spaces, by their blocks (of Thai's, its second half): Chinese
/// and Japanese, Thai, Lao, Khmer, Burmese, Korean.
const AFMOE_SCRIPTS: &str = "[\u{4E00}-\u{9FFF}\u{3400}-\u{4DBF}\u{F900}-\u{FAFF}\u{3040}-\u{309F}\u{30A0}-\u{30FF}\u{FF65}-\u{FF9F}\u{2F00}-\u{2FDF}\u{E40}-\u{E7F}\u{E80}-\u{EFF}\u{1780}-\u{17FF}\u{1000}-\u{109F}\u{AA60}-\u{AA7F}\u{A9E0}-\u{A9FF}\u{AC00}-\u{D7AF}\u{1100}-\u{11FF}]+";
/// Cased letters as of Unicode 11. Characters that composition would replace are escaped.
const DEEPSEEK_LLM_LETTERS: &str = "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u{1F7D}ᾀ-ᾴᾶ-ᾼ\u{1FBE}ῂ-ῄῆ-ῌῐ-\u{1FD3}ῖ-\u{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";

#[cfg(test)]
mod tests {
    use super::super::budget::TextBudget;
    use super::super::pre_tokenizer::words;
    use super::*;
    use serde_json::Value;

    /// How Oniguruma cuts nasty and random texts by each model's own patterns; written by
    /// `tools/tokenizers/make.py`.
    const SPLITS: &[u8] = include_bytes!("../../tests/data/tokenizer/splits.json");

    #[test]
    fn words_are_those_of_the_reference() {
        let file: Value = serde_json::from_slice(SPLITS).expect("json");
        let texts = file["texts"].as_array().expect("texts");
        let splits = file["splits"].as_object().expect("splits");
        assert!(texts.len() > 60 && splits.len() >= 16);
        for (name, expected) in splits {
            let splits =
                GgufPreTokenizer::named(name).and_then(|pre_tokenizer| pre_tokenizer.splits());
            let splits = splits.unwrap_or_else(|| panic!("{name}"));
            let steps: Vec<_> = splits.into_iter().map(PreTokenizerStep::Split).collect();
            for (text, lengths) in texts.iter().zip(expected.as_array().expect("lists")) {
                let text = text.as_str().expect("text");
                let mut found = Vec::new();
                let budget = TextBudget::for_text(text.len());
                words(&steps, text, 0, &budget, &mut |word| {
                    found.push(Value::from(word.len()))
                });
                assert_eq!(&Value::from(found), lengths, "{name}: {text:?}");
            }
        }
    }

    #[test]
    fn patterns_without_a_reference_can_be_read() {
        for name in ["ufakzeka", "viking", "youtu"] {
            let pre_tokenizer = GgufPreTokenizer::named(name).expect(name);
            assert!(pre_tokenizer.splits().is_some(), "{name}");
        }
        assert!(GgufPreTokenizer::named("no-such-model").is_none());
    }
}
