//! The ids under which tokenizers use the pieces of a SentencePiece model, where those are others
//! than their places in it.

use super::HfFiles;
use super::error::{Shown, TokenizerError, failure};
use super::hf_settings::{Settings, parse_json};
use super::limits;
use super::sentencepiece::SentencePiece;
use super::vocabulary::TokenKind;
use crate::manifest::Strings;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use hashbrown::{HashMap, HashSet};

const FILE: &str = "vocab.json";

/// A SentencePiece model whose pieces stand by their ids.
pub(super) struct NumberedPieces {
    pub(super) pieces: SentencePiece,
    /// So many pieces at the end have no id: what they cover is unknown.
    pub(super) unlisted: usize,
    /// The tokens around a text, if the class says.
    pub(super) around: Option<(Vec<u32>, Vec<u32>)>,
    /// Whether `>>…<<` at the beginning of a text is a token.
    pub(super) takes_language_code: bool,
    pub(super) lowercases: bool,
    /// Other texts of the ids, for decoding.
    pub(super) targets: Option<Vec<(u32, String)>>,
}

impl NumberedPieces {
    pub(super) fn new(
        pieces: SentencePiece,
        around: Option<(Vec<u32>, Vec<u32>)>,
    ) -> NumberedPieces {
        NumberedPieces {
            pieces,
            unlisted: 0,
            around,
            takes_language_code: false,
            lowercases: false,
            targets: None,
        }
    }
}

/// The pieces with the tokens of these roles before and after a text.
pub(super) fn around(
    mut pieces: SentencePiece,
    before: &[&str],
    after: &[&str],
    settings: &Settings,
) -> Result<NumberedPieces, TokenizerError> {
    let name = |role: &str| settings.named(role).map(|token| token.content.clone());
    let special: HashSet<&[u8]> = settings
        .special()
        .map(|token| token.content.as_bytes())
        .collect();
    for (kind, text) in pieces.kinds.iter_mut().zip(pieces.texts.iter()) {
        let is_text = !kind.is_control() && *kind != TokenKind::Absent;
        if is_text && special.contains(text) {
            *kind = TokenKind::Control;
        }
    }
    let find = |role: &str| id_of(&pieces, &name(role)?, settings);
    let missing = |role: &str| {
        let name = name(role).unwrap_or_default();
        failure!(
            Missing,
            "the {role} {} is not in the vocabulary",
            Shown(name.as_bytes())
        )
    };
    let ids = |roles: &[&str]| -> Result<Vec<u32>, TokenizerError> {
        let ids = roles
            .iter()
            .map(|role| find(role).ok_or_else(|| missing(role)));
        ids.collect()
    };
    let around = (ids(before)?, ids(after)?);
    let unknown = find("unk_token").ok_or_else(|| missing("unk_token"))?;
    let (bos, eos) = (find("bos_token"), find("eos_token"));
    for (id, kind) in (0..).zip(&mut pieces.kinds) {
        *kind = match *kind {
            _ if id == unknown => TokenKind::Unknown,
            TokenKind::Unknown => TokenKind::Control,
            kind => kind,
        };
    }
    pieces.unknown = Some(unknown);
    pieces.bos = bos;
    pieces.eos = eos;
    Ok(NumberedPieces::new(pieces, Some(around)))
}

/// The id of the token with this text, the first if there are several.
fn id_of(pieces: &SentencePiece, text: &str, settings: &Settings) -> Option<u32> {
    let place = pieces
        .texts
        .iter()
        .position(|piece| piece == text.as_bytes());
    let listed = settings.added.iter().find(|token| token.content == text);
    let place = place.and_then(|place| u32::try_from(place).ok());
    place.or(listed.map(|token| token.id))
}

pub(super) fn language_id(
    pieces: &SentencePiece,
    language: &str,
    settings: &Settings,
) -> Result<u32, TokenizerError> {
    id_of(pieces, language, settings).ok_or_else(|| {
        failure!(
            Malformed,
            "tokenizer_config.json: src_lang says that texts are in {}, for which there is no token",
            Shown(language.as_bytes())
        )
    })
}

/// A map from tokens to ids, by id.
pub(super) fn listed_ids(bytes: &[u8], file: &str) -> Result<Vec<(u32, String)>, TokenizerError> {
    let map: BTreeMap<String, u64> = parse_json(bytes, file)?;
    let most = map.len().saturating_mul(2).saturating_add(limits::ID_GAP);
    let most = most.min(limits::TOKENS);
    let mut list = Vec::with_capacity(map.len());
    for (text, id) in map {
        let id = usize::try_from(id).ok().filter(|id| *id < most);
        let Some(id) = id.and_then(|id| u32::try_from(id).ok()) else {
            return Err(failure!(
                Limit,
                "{file} gives {} an id beyond {most}, expected no large gaps between ids",
                Shown(text.as_bytes())
            ));
        };
        list.push((id, text));
    }
    list.sort_unstable();
    let twice = |pair: &&[(u32, String)]| matches!(pair, [left, right] if left.0 == right.0);
    match list.windows(2).find(twice) {
        Some([left, right]) => Err(failure!(
            Malformed,
            "{file} gives the id {} to {} and to {}",
            left.0,
            Shown(left.1.as_bytes()),
            Shown(right.1.as_bytes())
        )),
        _ => Ok(list),
    }
}

/// Pieces in a new order.
pub(super) struct Numbering {
    pub(super) made: SentencePiece,
}

impl Numbering {
    pub(super) fn new(pieces: &SentencePiece) -> Numbering {
        let made = SentencePiece {
            texts: Strings::default(),
            kinds: Vec::new(),
            scores: Vec::new(),
            unknown: None,
            bos: None,
            eos: None,
            charsmap: pieces.charsmap.clone(),
            ..*pieces
        };
        Numbering { made }
    }

    /// The id of the next token.
    pub(super) fn next(&self) -> u32 {
        u32::try_from(self.made.kinds.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn push(&mut self, text: &[u8], kind: TokenKind, score: f32) {
        self.made.texts.push(text);
        self.made.kinds.push(kind);
        self.made.scores.push(score);
    }

    /// All pieces but so many at the beginning.
    pub(super) fn rest(&mut self, pieces: &SentencePiece, skipped: usize) {
        let all = pieces.texts.iter().zip(&pieces.kinds).zip(&pieces.scores);
        for ((text, kind), score) in all.skip(skipped) {
            self.push(text, *kind, *score);
        }
    }

    /// The tokens of `vocab.json`; says which pieces are among them. What is no piece is never made
    /// from text, but by an unknown stretch of just that text.
    pub(super) fn list(
        &mut self,
        pieces: &SentencePiece,
        files: &HfFiles<'_>,
    ) -> Result<Vec<bool>, TokenizerError> {
        let Some(bytes) = files.vocab_json else {
            return Err(failure!(
                Missing,
                "there is a SentencePiece model and no {FILE} with the ids of its pieces, copy it \
                 from where the checkpoint came from"
            ));
        };
        let places: HashMap<&[u8], usize> = pieces.texts.iter().zip(0..).collect();
        let mut is_listed = vec![false; pieces.kinds.len()];
        for (id, text) in listed_ids(bytes, FILE)? {
            while self.next() < id {
                self.push(b"", TokenKind::Absent, 0.0);
            }
            let place = places.get(text.as_bytes()).copied();
            if let Some(flag) = place.and_then(|place| is_listed.get_mut(place)) {
                *flag = true;
            }
            let kind = place.and_then(|place| pieces.kinds.get(place));
            let score = place.and_then(|place| pieces.scores.get(place));
            let kind = match kind {
                Some(kind) => *kind,
                None => TokenKind::Unused,
            };
            self.push(text.as_bytes(), kind, score.copied().unwrap_or(0.0));
        }
        Ok(is_listed)
    }

    /// The pieces that a list lacks, which have no ids; says how many there are.
    pub(super) fn unlisted(
        &mut self,
        pieces: &SentencePiece,
        is_listed: &[bool],
    ) -> Result<usize, TokenizerError> {
        let before = self.made.kinds.len();
        let all = pieces.texts.iter().zip(&pieces.kinds).zip(&pieces.scores);
        for (((text, kind), score), _) in all.zip(is_listed).filter(|(_, is_listed)| !**is_listed) {
            match kind {
                TokenKind::Normal => self.push(text, *kind, *score),
                TokenKind::UserDefined => {
                    return Err(failure!(
                        Unsupported,
                        "{FILE} lacks the user-defined piece {}",
                        Shown(text)
                    ));
                }
                _ => {}
            }
        }
        Ok(self.made.kinds.len() - before)
    }
}
