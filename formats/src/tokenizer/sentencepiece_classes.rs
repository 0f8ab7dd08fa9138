//! How the classes of tokenizers with a SentencePiece model number its pieces.

use super::HfFiles;
use super::error::{Shown, TokenizerError, failure};
use super::hf_settings::Settings;
use super::hf_slow::{model_config, names, unknown_class};
use super::language_codes::{M2M_100, MBART, MBART_50, NLLB, WMT_21};
use super::sentencepiece::SentencePiece;
use super::sentencepiece_ids::{NumberedPieces, Numbering, around, language_id, listed_ids};
use super::vocabulary::TokenKind;
use alloc::format;
use alloc::string::ToString;
use serde_json::Value;

/// The names of special tokens by their roles, where the files do not say.
pub(super) type Roles = &'static [(&'static str, &'static str)];

pub(super) const FAIRSEQ: Roles = &[
    ("bos_token", "<s>"),
    ("eos_token", "</s>"),
    ("sep_token", "</s>"),
    ("cls_token", "<s>"),
    ("unk_token", "<unk>"),
    ("pad_token", "<pad>"),
    ("mask_token", "<mask>"),
];
const MARIAN: Roles = &[
    ("unk_token", "<unk>"),
    ("eos_token", "</s>"),
    ("pad_token", "<pad>"),
];
const M2M: Roles = &[
    ("bos_token", "<s>"),
    ("eos_token", "</s>"),
    ("unk_token", "<unk>"),
    ("pad_token", "<pad>"),
];
pub(super) const DEBERTA: Roles = &[
    ("bos_token", "[CLS]"),
    ("eos_token", "[SEP]"),
    ("sep_token", "[SEP]"),
    ("cls_token", "[CLS]"),
    ("unk_token", "[UNK]"),
    ("pad_token", "[PAD]"),
    ("mask_token", "[MASK]"),
];
const BIG_BIRD: Roles = &[
    ("bos_token", "<s>"),
    ("eos_token", "</s>"),
    ("sep_token", "[SEP]"),
    ("cls_token", "[CLS]"),
    ("unk_token", "<unk>"),
    ("pad_token", "<pad>"),
    ("mask_token", "[MASK]"),
];
const PEGASUS: Roles = &[
    ("eos_token", "</s>"),
    ("unk_token", "<unk>"),
    ("pad_token", "<pad>"),
    ("mask_token", "<mask_2>"),
];

/// The pieces under the ids that the class of the folder's tokenizer gives them.
pub(super) fn numbered(
    pieces: SentencePiece,
    files: &HfFiles<'_>,
    settings: &mut Settings,
) -> Result<NumberedPieces, TokenizerError> {
    let config = Settings::config(files)?;
    if files.source_spm.is_some() {
        return marian(&pieces, files, &config, settings);
    }
    let model = model_config(files);
    let mbart50 = [MBART, MBART_50].join(" ");
    let names = names(&config, &model);
    match names {
        (Some("M2M100Tokenizer"), _) => m2m_100(&pieces, files, &config, settings),
        (None, Some("m2m_100")) if files.vocab_json.is_some() => {
            m2m_100(&pieces, files, &config, settings)
        }
        (Some("XLMRobertaTokenizer"), _)
        | (None, Some("xlm-roberta" | "xlm-roberta-xl" | "xmod")) => {
            const HEAD: &[&str] = &["<s>", "<pad>", "</s>", "<unk>"];
            let made = fairseq(&pieces, (HEAD, 3), "", settings)?;
            around(made, &["cls_token"], &["sep_token"], settings)
        }
        (Some("CamembertTokenizer"), _) | (None, Some("camembert")) => {
            const HEAD: &[&str] = &[
                "<s>NOTUSED",
                "<pad>",
                "</s>NOTUSED",
                "<unk>",
                "<unk>NOTUSED",
            ];
            let made = fairseq(&pieces, (HEAD, 1), "", settings)?;
            around(made, &["cls_token"], &["sep_token"], settings)
        }
        (Some("MBartTokenizer"), _) | (None, Some("mbart")) => translator(
            &pieces,
            MBART,
            ("en_XX", LanguagePlace::AtTheEnd),
            &config,
            settings,
        ),
        (Some("MBart50Tokenizer"), _) => translator(
            &pieces,
            &mbart50,
            ("en_XX", LanguagePlace::Before),
            &config,
            settings,
        ),
        (Some("NllbTokenizer"), _) | (None, Some("m2m_100")) => {
            let is_legacy = config.get("legacy_behaviour").and_then(Value::as_bool);
            let place = match is_legacy {
                Some(true) => LanguagePlace::AtTheEnd,
                _ => LanguagePlace::Before,
            };
            translator(&pieces, NLLB, ("eng_Latn", place), &config, settings)
        }
        (Some("DebertaV2Tokenizer"), _) | (None, Some("deberta-v2")) => {
            deberta(pieces, &config, settings)
        }
        (Some("BigBirdTokenizer"), _) | (None, Some("big_bird")) => {
            settings.all_unsaid(BIG_BIRD);
            settings.strips_left("mask_token");
            around(pieces, &["cls_token"], &["sep_token"], settings)
        }
        (Some("PegasusTokenizer"), _) | (None, Some("pegasus" | "bigbird_pegasus")) => {
            pegasus(&pieces, &config, settings)
        }
        (
            Some(
                "AlbertTokenizer" | "XLNetTokenizer" | "FNetTokenizer" | "RemBertTokenizer"
                | "CpmTokenizer" | "XGLMTokenizer" | "BarthezTokenizer",
            ),
            _,
        )
        | (None, Some("albert" | "xlnet" | "fnet" | "rembert" | "xglm")) => {
            Err(unknown_class("SentencePiece model", names))
        }
        _ => Ok(NumberedPieces::new(pieces, None)),
    }
}

/// Marian's: the ids of both languages' pieces are those of a list.
fn marian(
    pieces: &SentencePiece,
    files: &HfFiles<'_>,
    config: &Value,
    settings: &mut Settings,
) -> Result<NumberedPieces, TokenizerError> {
    settings.all_unsaid(MARIAN);
    let has_targets = config.get("separate_vocabs").and_then(Value::as_bool);
    let targets = match (has_targets, files.target_vocab_json) {
        (Some(true), Some(targets)) => Some(listed_ids(targets, "target_vocab.json")?),
        (Some(true), None) => {
            return Err(failure!(
                Missing,
                "tokenizer_config.json: separate_vocabs is true, but there is no target_vocab.json, \
                 copy it from where the checkpoint came from"
            ));
        }
        _ => None,
    };
    let mut numbering = Numbering::new(pieces);
    let is_listed = numbering.list(pieces, files)?;
    let unlisted = numbering.unlisted(pieces, &is_listed)?;
    let numbered = around(numbering.made, &[], &["eos_token"], settings)?;
    Ok(NumberedPieces {
        unlisted,
        takes_language_code: true,
        targets,
        ..numbered
    })
}

/// M2M-100's: a list, and the languages after it.
fn m2m_100(
    pieces: &SentencePiece,
    files: &HfFiles<'_>,
    config: &Value,
    settings: &mut Settings,
) -> Result<NumberedPieces, TokenizerError> {
    settings.all_unsaid(M2M);
    let said = |key: &str, unsaid| config.get(key).and_then(Value::as_str).unwrap_or(unsaid);
    let languages = match said("language_codes", "m2m100") {
        "m2m100" => M2M_100,
        "wmt21" => WMT_21,
        other => {
            return Err(failure!(
                Unsupported,
                "tokenizer_config.json: language_codes is {}, known are m2m100 and wmt21",
                Shown(other.as_bytes())
            ));
        }
    };
    let language = format!("__{}__", said("src_lang", "en"));
    let mut numbering = Numbering::new(pieces);
    let is_listed = numbering.list(pieces, files)?;
    for code in languages.split(' ') {
        numbering.push(format!("__{code}__").as_bytes(), TokenKind::Control, 0.0);
    }
    let unlisted = numbering.unlisted(pieces, &is_listed)?;
    let language = language_id(&numbering.made, &language, settings)?;
    let mut numbered = around(numbering.made, &[], &["eos_token"], settings)?;
    if let Some((prefix, _)) = &mut numbered.around {
        prefix.push(language);
    }
    Ok(NumberedPieces {
        unlisted,
        ..numbered
    })
}

/// Where a translator's texts name their language.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LanguagePlace {
    Before,
    AtTheEnd,
}

/// mBART's, mBART-50's and NLLB's: the languages after the pieces.
fn translator(
    pieces: &SentencePiece,
    languages: &str,
    (unsaid, place): (&str, LanguagePlace),
    config: &Value,
    settings: &mut Settings,
) -> Result<NumberedPieces, TokenizerError> {
    const HEAD: &[&str] = &["<s>", "<pad>", "</s>", "<unk>"];
    let made = fairseq(pieces, (HEAD, 3), languages, settings)?;
    let language = config.get("src_lang").and_then(Value::as_str);
    let language = language_id(&made, language.unwrap_or(unsaid), settings)?;
    let mut numbered = around(made, &[], &["eos_token"], settings)?;
    if let Some((prefix, suffix)) = &mut numbered.around {
        match place {
            LanguagePlace::Before => prefix.push(language),
            LanguagePlace::AtTheEnd => suffix.push(language),
        }
    }
    Ok(numbered)
}

/// fairseq's: tokens of its own in place of the first pieces, then the others, languages and the mask,
/// if the folder does not list what comes after the pieces.
fn fairseq(
    pieces: &SentencePiece,
    (head, skipped): (&[&str], usize),
    languages: &str,
    settings: &mut Settings,
) -> Result<SentencePiece, TokenizerError> {
    // A folder of NLLB's that does not list them has the mask first.
    let mask_first = languages == NLLB;
    settings.all_unsaid(FAIRSEQ);
    settings.strips_left("mask_token");
    let mut numbering = Numbering::new(pieces);
    for name in head {
        numbering.push(name.as_bytes(), TokenKind::Control, 0.0);
    }
    let is_special = |kind: &TokenKind| kind.is_control();
    if !pieces.kinds.iter().take(3).all(is_special) {
        return Err(failure!(
            Malformed,
            "the first three pieces of the SentencePiece model are not all special ones, as its \
             class's are"
        ));
    }
    numbering.rest(pieces, skipped);
    let next = numbering.next();
    if !settings.added.iter().any(|token| token.id >= next) {
        let mask = settings.named("mask_token");
        let mask = mask.map(|mask| mask.content.as_str()).into_iter();
        let (first, last) = match mask_first {
            true => (Some(mask), None),
            false => (None, Some(mask)),
        };
        let codes = languages.split(' ').filter(|code| !code.is_empty());
        let names = first.into_iter().flatten().chain(codes);
        for name in names.chain(last.into_iter().flatten()) {
            numbering.push(name.as_bytes(), TokenKind::Control, 0.0);
        }
    }
    Ok(numbering.made)
}

/// DeBERTa's, version 2 and 3: the mask comes after the pieces.
fn deberta(
    pieces: SentencePiece,
    config: &Value,
    settings: &mut Settings,
) -> Result<NumberedPieces, TokenizerError> {
    let flag = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(false);
    if flag("split_by_punct") {
        return Err(failure!(
            Unsupported,
            "tokenizer_config.json: split_by_punct is true, which is not supported for a \
             SentencePiece model; save it with AutoTokenizer.from_pretrained(…).save_pretrained(…)"
        ));
    }
    settings.all_unsaid(DEBERTA);
    let mut numbering = Numbering::new(&pieces);
    numbering.rest(&pieces, 0);
    let next = numbering.next();
    let mask = settings
        .named("mask_token")
        .map(|mask| mask.content.clone());
    let mask = mask.unwrap_or_default();
    let is_there = pieces.texts.iter().any(|text| text == mask.as_bytes());
    if !is_there && !settings.added.iter().any(|token| token.id >= next) {
        numbering.push(mask.as_bytes(), TokenKind::Control, 0.0);
    }
    let numbered = around(numbering.made, &["cls_token"], &["sep_token"], settings)?;
    Ok(NumberedPieces {
        lowercases: flag("do_lower_case"),
        ..numbered
    })
}

/// Pegasus's: tokens that only its training knew before the pieces.
fn pegasus(
    pieces: &SentencePiece,
    config: &Value,
    settings: &mut Settings,
) -> Result<NumberedPieces, TokenizerError> {
    settings.all_unsaid(PEGASUS);
    let offset = config.get("offset").and_then(Value::as_u64).unwrap_or(103);
    let offset = usize::try_from(offset)
        .ok()
        .filter(|offset| (4..=1024).contains(offset));
    let Some(offset) = offset else {
        return Err(failure!(
            Unsupported,
            "tokenizer_config.json: offset is not between 4 and 1024; save it with \
             AutoTokenizer.from_pretrained(…).save_pretrained(…)"
        ));
    };
    let mut numbering = Numbering::new(pieces);
    let first = ["<pad>", "</s>", "<mask_1>", "<mask_2>"].map(ToString::to_string);
    let unknowns = (2..offset).map(|number| format!("<unk_{number}>"));
    for name in first.into_iter().chain(unknowns) {
        numbering.push(name.as_bytes(), TokenKind::Control, 0.0);
    }
    // Two of the names stand where the pieces already begin.
    numbering.rest(pieces, 2);
    around(numbering.made, &[], &["eos_token"], settings)
}
