//! The time of day, as Python's `datetime.now().strftime` writes it.

use super::budget::{Bounded, TextWriter};
use super::value::PyValue;
use chrono::format::StrftimeItems;
use chrono::{DateTime, Local};

/// The time now, in this format.
pub(super) fn now(format: &str) -> Bounded<PyValue> {
    write(format, Local::now())
}

fn write(format: &str, time: DateTime<Local>) -> Bounded<PyValue> {
    let mut writer = TextWriter::new();
    let mut rest = format;
    while let Some((text, directive)) = rest.split_once('%') {
        writer.push(text)?;
        let letter = directive.trim_start_matches(['-', '_', '0', '^', '#']);
        let flags = directive
            .get(..directive.len() - letter.len())
            .unwrap_or_default();
        let kind = letter.chars().next();
        rest = letter
            .get(kind.map_or(0, char::len_utf8)..)
            .unwrap_or_default();
        match kind {
            Some('%') => writer.push("%")?,
            Some('f') => writer.push(&format!("{:06}", time.timestamp_subsec_micros()))?,
            // A time without a zone, which `now` returns, has no text for it.
            Some('z' | 'Z') => {}
            Some(kind) if "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyY".contains(kind) => {
                let pad: String = flags
                    .chars()
                    .filter(|flag| "-_0".contains(*flag))
                    .take(1)
                    .collect();
                let item = format!("%{pad}{kind}");
                let text = time
                    .format_with_items(StrftimeItems::new(&item))
                    .to_string();
                match flags.contains('^') {
                    true => writer.push(&text.to_uppercase())?,
                    false => writer.push(&text)?,
                }
            }
            // What C's library does not know, it copies.
            _ => {
                writer.push("%")?;
                writer.push(flags)?;
                kind.map_or(Ok(()), |kind| writer.push_char(kind))?;
            }
        }
    }
    writer.push(rest)?;
    writer.finish()
}
