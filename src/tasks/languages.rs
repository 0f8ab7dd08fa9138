//! The languages of translators: tokens that stand for them, tasks for pairs of them, or a pair.

use crate::error::{LoadError, LoadErrorKind};
use crate::model::Model;
use rillm_formats::tokenizer::Tokenizer;

/// Refuses languages that a model which has no tokens for them does not translate, or is not known to.
pub(super) fn check_pair(
    model: &Model,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<(), LoadError> {
    const TASKS: &str = "task_specific_params.";
    let refused = |what: String| Err(LoadError::new(LoadErrorKind::Unsupported, what));
    let said = match (from, to) {
        (None, None) => return Ok(()),
        (Some(from), Some(to)) => format!("from {from} to {to}"),
        (Some(from), None) => format!("from {from}"),
        (None, Some(to)) => format!("to {to}"),
    };
    let keys = model.manifest().metadata.0.range(TASKS.to_owned()..);
    let keys = keys.map_while(|(key, _)| key.strip_prefix(TASKS));
    let pairs = keys.filter_map(|key| key.split('.').next()?.strip_prefix("translation_"));
    let mut pairs: Vec<(&str, &str)> = pairs.filter_map(|pair| pair.split_once("_to_")).collect();
    pairs.dedup();
    if !pairs.is_empty() {
        if from.zip(to).is_some_and(|pair| pairs.contains(&pair)) {
            return Ok(());
        }
        let known: Vec<String> = pairs
            .iter()
            .map(|(a, b)| format!("from {a} to {b}"))
            .collect();
        return refused(format!(
            "the model does not translate {said}, but {}",
            known.join(", ")
        ));
    }
    let Some([source, target]) = model.tokenizer_files().language_pair() else {
        return refused(format!(
            "the model's files do not say that it translates {said}: leave that out"
        ));
    };
    if from.is_none_or(|from| from == source) && to.is_none_or(|to| to == target) {
        return Ok(());
    }
    refused(format!(
        "the model does not translate {said}, but from {source} to {target}"
    ))
}

/// Where a model wants the target language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LanguageForm {
    /// As a token around the texts: mBART, M2M-100, NLLB.
    Around,
    /// As a token before the source: Marian's models of many languages, MADLAD.
    Before,
}

/// The tokens that stand for languages.
#[derive(Debug)]
pub(super) struct Languages {
    tokens: Vec<u32>,
    pub form: LanguageForm,
}

impl Languages {
    pub fn of(tokenizer: &Tokenizer) -> Languages {
        let mut around = Vec::new();
        let mut before = Vec::new();
        for id in 0..u32::try_from(tokenizer.vocabulary_len()).unwrap_or(u32::MAX) {
            let piece = tokenizer.piece(id).unwrap_or_default();
            match form(piece) {
                Some(LanguageForm::Around) => around.push(id),
                Some(LanguageForm::Before) => before.push(id),
                None => {}
            }
        }
        match around.len() > before.len() {
            true => Languages {
                tokens: around,
                form: LanguageForm::Around,
            },
            false => Languages {
                tokens: before,
                form: LanguageForm::Before,
            },
        }
    }

    /// Whether there are none: a lone token that looks like one is a word.
    pub fn is_empty(&self) -> bool {
        self.tokens.len() < 2
    }

    pub fn has(&self, id: u32) -> bool {
        self.tokens.binary_search(&id).is_ok()
    }

    pub fn is_marked_in(&self, id: Option<u32>) -> bool {
        id.is_some_and(|id| self.has(id))
    }

    /// The token for a language's code.
    pub fn token(&self, tokenizer: &Tokenizer, code: &str) -> Result<u32, LoadError> {
        let whole = [
            code.to_owned(),
            format!("__{code}__"),
            format!(">>{code}<<"),
            format!("<2{code}>"),
        ];
        let known = |text: &String| tokenizer.token(text).filter(|id| self.has(*id));
        if let Some(id) = whole.iter().find_map(known) {
            return Ok(id);
        }
        // A language without its country or script.
        let begin = format!("{code}_");
        let begins = |id: &&u32| {
            let piece = tokenizer.piece(**id).unwrap_or_default();
            piece.starts_with(begin.as_bytes())
        };
        let mut found = self.tokens.iter().filter(begins);
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(*only),
            (first, _) => {
                let which = if first.is_some() { "several" } else { "none" };
                let what = format!(
                    "the model has {which} of language {code:?}, it knows {}",
                    self.listed(tokenizer)
                );
                Err(LoadError::new(LoadErrorKind::Unsupported, what))
            }
        }
    }

    pub fn unsaid(&self, tokenizer: &Tokenizer) -> LoadError {
        let what = format!(
            "the model translates into many languages, say into which: {}",
            self.listed(tokenizer)
        );
        LoadError::new(LoadErrorKind::Unsupported, what)
    }

    /// The first of them, for people.
    fn listed(&self, tokenizer: &Tokenizer) -> String {
        const MOST: usize = 24;
        let piece = |id: &u32| {
            let piece = tokenizer.piece(*id).unwrap_or_default();
            let text = String::from_utf8_lossy(piece).into_owned();
            let bare = text.trim_start_matches("__").trim_end_matches("__");
            let bare = bare.trim_start_matches(">>").trim_end_matches("<<");
            bare.trim_start_matches("<2")
                .trim_end_matches('>')
                .to_owned()
        };
        let names: Vec<String> = self.tokens.iter().take(MOST).map(piece).collect();
        let more = if self.tokens.len() > MOST { " …" } else { "" };
        format!("{}{more}", names.join(", "))
    }
}

/// Whether a token stands for a language: `de_DE`, `deu_Latn`, `__de__`, `>>deu<<`, `<2de>`.
fn form(piece: &[u8]) -> Option<LanguageForm> {
    let lower = |part: &[u8], lengths: &[usize]| {
        lengths.contains(&part.len()) && part.iter().all(u8::is_ascii_lowercase)
    };
    if let Some(inner) = piece
        .strip_prefix(b"__")
        .and_then(|p| p.strip_suffix(b"__"))
    {
        return lower(inner, &[2, 3]).then_some(LanguageForm::Around);
    }
    if let Some(inner) = piece
        .strip_prefix(b">>")
        .and_then(|p| p.strip_suffix(b"<<"))
    {
        let begins = inner.len() >= 2 && inner[..2].iter().all(u8::is_ascii_lowercase);
        return begins.then_some(LanguageForm::Before);
    }
    if let Some(inner) = piece.strip_prefix(b"<2").and_then(|p| p.strip_suffix(b">")) {
        let begins = inner.len() >= 2 && inner[..2].iter().all(u8::is_ascii_lowercase);
        return begins.then_some(LanguageForm::Before);
    }
    let (language, place) = match piece {
        [a, b, b'_', place @ ..] => (vec![*a, *b], place),
        [a, b, c, b'_', place @ ..] => (vec![*a, *b, *c], place),
        _ => return None,
    };
    let country = place.len() == 2 && place.iter().all(u8::is_ascii_uppercase);
    let script = place.len() == 4
        && place[0].is_ascii_uppercase()
        && place[1..].iter().all(u8::is_ascii_lowercase);
    (lower(&language, &[2, 3]) && (country || script)).then_some(LanguageForm::Around)
}
