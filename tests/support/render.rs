//! Renders a chat template that may be hostile. Uses nothing but the library, so that the fuzz
//! targets share it.

use rillm::chat::{ChatTemplate, Message};

use super::exercise::one_line;

/// What cuts the fuzzer's bytes into a template and what was said, turn by turn.
const CUT: char = '\0';

/// A template and a conversation; a turn whose text says no role is the user's.
pub fn conversation(bytes: &[u8]) -> (String, Vec<Message>) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split(CUT);
    let source = parts.next().unwrap_or_default().to_owned();
    let turn = |part: &str| match part.split_once(':') {
        Some((role, content)) => Message::new(role, content),
        None => Message::new("user", part),
    };
    (source, parts.map(turn).collect())
}

/// Errors in one line are fine; panics if there is a defect. Returns whether there was a text.
pub fn render(source: &str, messages: &[Message]) -> bool {
    let template = match ChatTemplate::new(source, &[("bos_token", "<s>"), ("eos_token", "</s>")]) {
        Ok(template) => template,
        Err(error) => {
            one_line(&error);
            return false;
        }
    };
    let texts = [false, true].map(|reply| template.render(messages, reply));
    for error in texts.iter().filter_map(|text| text.as_ref().err()) {
        one_line(error);
    }
    texts.iter().all(Result::is_ok)
}
