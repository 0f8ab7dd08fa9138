//! How far a text's beginning reaches: so many bytes stand where its first character did, whatever
//! normalizers made of it. The reference keeps for each byte where it comes from, and a sign that is put
//! before what comes first asks for that; here one number says it, for what comes first stays first.

use super::charsmap::Charsmap;
use super::normalize::NormalizerStep;
use alloc::vec::Vec;
use unicode_normalization::char::{
    canonical_combining_class, compose, decompose_canonical, decompose_compatible,
};

/// A character that a normalizer writes: beside what was there (1), in the place of a character (0), or
/// of one and as many behind it as the number is below 0.
type WrittenChar = (char, isize);

/// How many characters that are no marks may follow one and become a part of it: Hangul has two.
const JOINING: usize = 4;

/// The beginning of `text`, if it has one of its own.
pub(super) fn of(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// How much of a piece that begins at `start` is of the beginning.
pub(super) fn within(beginning: usize, piece: &str, start: usize) -> usize {
    beginning.saturating_sub(start).min(piece.len())
}

impl NormalizerStep {
    /// How far the beginning reaches in what this step makes of `text`, where it reached up to `len`.
    pub(super) fn moved_beginning(&self, text: &str, len: usize) -> usize {
        let Some((before, after)) = text.split_at_checked(len).filter(|_| len > 0) else {
            return 0;
        };
        match self {
            NormalizerStep::Prepend(prefix) => prefix.len() + len,
            NormalizerStep::Nfd => reached(decomposed(before, after, false), text, len),
            NormalizerStep::Nfkd => reached(decomposed(before, after, true), text, len),
            NormalizerStep::Nfc => reached(composed(decomposed(before, after, false)), text, len),
            NormalizerStep::Nfkc => reached(composed(decomposed(before, after, true)), text, len),
            NormalizerStep::Charsmap {
                map,
                by_grapheme: true,
            } => reached(mapped(map, text, len), text, len),
            NormalizerStep::Strip { left, .. } => match left {
                true => len.saturating_sub(text.len() - text.trim_start().len()),
                false => len,
            },
            // What is found may reach beyond the beginning: `NormalizerStep::apply` sees it.
            NormalizerStep::Replace { .. } => len,
            // Character by character.
            NormalizerStep::Charsmap { .. }
            | NormalizerStep::CollapseSpaces
            | NormalizerStep::Lowercase
            | NormalizerStep::DropMarks { .. }
            | NormalizerStep::CleanForTranslation
            | NormalizerStep::Bytes
            | NormalizerStep::Clean
            | NormalizerStep::SpaceChinese => {
                self.changed(before).map_or(len, |changed| changed.len())
            }
        }
    }
}

/// How many bytes of what is written stand in the first `len` of `text`.
fn reached(written: impl IntoIterator<Item = WrittenChar>, text: &str, len: usize) -> usize {
    let mut characters = text.chars();
    let (mut place, mut reached) = (0_usize, 0);
    for (character, change) in written {
        // What is written beside something stands where that does.
        let at = place.saturating_sub(usize::from(change > 0));
        if at >= len {
            break;
        }
        reached += character.len_utf8();
        if change <= 0 {
            let replaced = characters.by_ref().take(1 + change.unsigned_abs());
            place += replaced.map(char::len_utf8).sum::<usize>();
        }
    }
    reached
}

/// The beginning taken apart, with as much behind it as can become a part of it.
fn decomposed(before: &str, after: &str, compatible: bool) -> Vec<WrittenChar> {
    let mut joining = JOINING;
    let behind = after.chars().take_while(|character| {
        joining -= usize::from(canonical_combining_class(*character) == 0);
        joining > 0
    });
    let mut written = Vec::<WrittenChar>::new();
    let mut marks = 0;
    for character in before.chars().chain(behind) {
        let mut change = 0;
        let mut write = |part: char| {
            if canonical_combining_class(part) == 0 {
                in_order(&mut written, marks);
                marks = written.len();
            }
            written.push((part, change));
            change = 1;
        };
        match compatible {
            true => decompose_compatible(character, &mut write),
            false => decompose_canonical(character, &mut write),
        }
    }
    in_order(&mut written, marks);
    written
}

/// Puts marks behind a character into their order.
fn in_order(written: &mut [WrittenChar], start: usize) {
    let marks = written.get_mut(start..).unwrap_or_default();
    marks.sort_by_key(|(mark, _)| canonical_combining_class(*mark));
}

/// Characters and the marks behind them put together.
fn composed(apart: Vec<WrittenChar>) -> Vec<WrittenChar> {
    let mut written = Vec::<WrittenChar>::with_capacity(apart.len());
    let (mut base, mut last_class) = (None::<usize>, None);
    for (character, change) in apart {
        let class = canonical_combining_class(character);
        let blocked = last_class.is_some_and(|last| last >= class);
        let joined = base
            .filter(|_| !blocked)
            .and_then(|base| written.get_mut(base));
        if let Some(base) = joined
            && let Some(whole) = compose(base.0, character)
        {
            *base = (whole, base.1 + change - 1);
            continue;
        }
        if class == 0 {
            (base, last_class) = (Some(written.len()), None);
        } else if base.is_some() {
            last_class = Some(class);
        }
        written.push((character, change));
    }
    written
}

/// What a map makes of the beginning.
fn mapped(map: &Charsmap, text: &str, len: usize) -> Vec<WrittenChar> {
    let mut written = Vec::<WrittenChar>::new();
    let (mut read, mut replacing) = (0, 0);
    for (part, to) in map.parts_by_grapheme(text) {
        // Each character that replaces another stands in one further on, so these are enough.
        if read >= len && replacing > len {
            break;
        }
        read += part.len();
        let (old, new) = (part.chars().count(), to.chars().count());
        replacing += new.min(old);
        let changes = (0..new).map(|index| isize::from(index >= old));
        written.extend(to.chars().zip(changes));
        if let Some((_, change)) = written.last_mut() {
            *change -= old.saturating_sub(new) as isize;
        }
    }
    written
}
