//! Replies of models that think before they answer: which part of a text is which.

use super::ChatTemplate;

/// A part of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyPart {
    /// What the model thinks before it answers.
    Thinking,
    /// What it answers.
    Answer,
}

/// Parts a reply that comes piece by piece into what was thought and what is answered.
#[derive(Clone, Debug)]
pub struct ReplyReader {
    form: ReplyForm,
    state: ReplyState,
    /// What has come and is not decided yet.
    held: String,
    /// The part that something was handed on of last.
    last: Option<ReplyPart>,
}

/// How a model marks the parts of its replies.
#[derive(Clone, Copy, Debug)]
enum ReplyForm {
    /// Thoughts come first, between two tags; the answer may have some of its own.
    Tags(TagPair),
    /// A reply is several messages, each on a channel, of which one is the answer (OpenAI's harmony).
    Channels,
}

type TagPair = (&'static str, &'static str);

/// The tags of published models; those of the first are looked for where a template has none.
const THINKING: [TagPair; 6] = [
    ("<think>", "</think>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("◁think▷", "◁/think▷"),
    ("<thinking>", "</thinking>"),
];

/// What stands around answers behind thoughts.
const ANSWER: [TagPair; 2] = [("<answer>", "</answer>"), ("<response>", "</response>")];

const START: &str = "<|start|>";
const CHANNEL: &str = "<|channel|>";
const MESSAGE: &str = "<|message|>";
const ENDS: [&str; 3] = ["<|end|>", "<|return|>", "<|call|>"];

/// The longest head of a message that is taken for one.
const HEAD: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReplyState {
    /// Nothing came but white space: thoughts may begin, if any do.
    Begin,
    Thinking,
    /// Nothing came behind the thoughts but white space.
    Thought,
    /// The answer, and the tag that ends it, if one began it.
    Answer(Option<&'static str>),
    /// The head of a message, which says its channel.
    Head,
    Message(ReplyPart),
    /// Between two messages.
    Between,
}

impl ReplyReader {
    /// A reader of the reply to a prompt that the template has written.
    pub fn new(template: &ChatTemplate, prompt: &str) -> ReplyReader {
        let source = &template.source;
        let mut reader = ReplyReader {
            form: ReplyForm::Channels,
            state: ReplyState::Head,
            held: String::new(),
            last: None,
        };
        if source.contains(CHANNEL) && source.contains(MESSAGE) {
            let begun = prompt.rsplit(START).next().unwrap_or_default();
            match begun.split_once(MESSAGE) {
                Some((head, _)) => reader.state = ReplyState::Message(part_of(head)),
                None => reader.held = begun.to_string(),
            }
            return reader;
        }
        let has = |(begin, end): &&TagPair| source.contains(begin) || source.contains(end);
        let tags = THINKING.iter().find(has).unwrap_or(&THINKING[0]);
        reader.form = ReplyForm::Tags(*tags);
        let prompt = prompt.trim_end();
        reader.state = match (prompt.ends_with(tags.0), prompt.ends_with(tags.1)) {
            (true, _) => ReplyState::Thinking,
            (_, true) => ReplyState::Thought,
            _ => ReplyState::Begin,
        };
        reader
    }

    /// What must reach it of a reply even where it is a control token, of which texts show nothing.
    pub fn marks(&self) -> Vec<&'static str> {
        match self.form {
            ReplyForm::Tags((begin, end)) => vec![begin, end],
            ReplyForm::Channels => [START, CHANNEL, MESSAGE].into_iter().chain(ENDS).collect(),
        }
    }

    /// Takes the next piece and hands on what is decided, part by part.
    pub fn push(&mut self, piece: &str, show: &mut impl FnMut(ReplyPart, &str)) {
        self.held.push_str(piece);
        while self.step(show) {}
    }

    /// Hands on what was held back.
    pub fn finish(mut self, show: &mut impl FnMut(ReplyPart, &str)) {
        let rest = std::mem::take(&mut self.held);
        match self.state {
            ReplyState::Thinking | ReplyState::Message(ReplyPart::Thinking) => {
                self.hand_on(ReplyPart::Thinking, rest.trim_end(), show);
            }
            ReplyState::Begin | ReplyState::Answer(_) | ReplyState::Message(ReplyPart::Answer) => {
                self.hand_on(ReplyPart::Answer, &rest, show);
            }
            ReplyState::Thought | ReplyState::Head | ReplyState::Between => {}
        }
    }

    /// Decides something, if what is held allows it.
    fn step(&mut self, show: &mut impl FnMut(ReplyPart, &str)) -> bool {
        match (self.state, self.form) {
            (ReplyState::Begin, ReplyForm::Tags((begin, _))) => {
                self.opened(begin, ReplyState::Thinking, ReplyState::Answer(None))
            }
            (ReplyState::Thinking, ReplyForm::Tags((_, end))) => {
                self.until(ReplyPart::Thinking, &[(end, ReplyState::Thought)], show)
            }
            (ReplyState::Thought, _) => {
                let opened = ANSWER.iter().find(|(begin, _)| self.may_begin(begin));
                match opened {
                    Some((begin, end)) => self.opened(
                        begin,
                        ReplyState::Answer(Some(end)),
                        ReplyState::Answer(None),
                    ),
                    None => {
                        self.held = self.held.trim_start().to_string();
                        self.state = ReplyState::Answer(None);
                        true
                    }
                }
            }
            (ReplyState::Answer(Some(end)), _) => {
                self.until(ReplyPart::Answer, &[(end, ReplyState::Answer(None))], show)
            }
            (ReplyState::Answer(None), _) => {
                let all = std::mem::take(&mut self.held);
                self.hand_on(ReplyPart::Answer, &all, show);
                false
            }
            (ReplyState::Head, _) => self.head(),
            (ReplyState::Message(part), _) => {
                let ends = ENDS.map(|end| (end, ReplyState::Between));
                let [a, b, c] = ends;
                self.until(part, &[a, b, c, (START, ReplyState::Head)], show)
            }
            (ReplyState::Between, _) => {
                let found = self.held.find(START);
                if let Some(at) = found {
                    self.held.drain(..at + START.len());
                    self.state = ReplyState::Head;
                }
                found.is_some()
            }
            (ReplyState::Begin | ReplyState::Thinking, ReplyForm::Channels) => false,
        }
    }

    /// Whether what is held, but for white space, begins as the tag does.
    fn may_begin(&self, tag: &str) -> bool {
        let held = self.held.trim_start();
        held.starts_with(tag) || tag.starts_with(held)
    }

    /// Goes on behind a tag, or where there is something else.
    fn opened(&mut self, tag: &str, behind: ReplyState, otherwise: ReplyState) -> bool {
        let held = self.held.trim_start();
        if let Some(rest) = held.strip_prefix(tag) {
            self.held = rest.trim_start().to_string();
            self.state = behind;
            return true;
        }
        if tag.starts_with(held) {
            return false;
        }
        self.state = otherwise;
        true
    }

    /// Hands on what comes before the first of these marks, and goes on as it says.
    fn until(
        &mut self,
        part: ReplyPart,
        marks: &[(&str, ReplyState)],
        show: &mut impl FnMut(ReplyPart, &str),
    ) -> bool {
        let found = marks.iter().filter_map(|&(mark, state)| {
            let at = self.held.find(mark)?;
            Some((at, mark.len(), state))
        });
        if let Some((at, len, state)) = found.min_by_key(|(at, ..)| *at) {
            let all = std::mem::take(&mut self.held);
            self.hand_on(part, all[..at].trim_end(), show);
            self.held = all[at + len..].to_string();
            self.state = state;
            return true;
        }
        let held = &self.held;
        // What may be the beginning of a mark stays, and white space that may be the last.
        let begun = |from: &usize| {
            marks
                .iter()
                .any(|(mark, _)| mark.starts_with(&held[*from..]))
        };
        let places = held.char_indices().map(|(place, _)| place);
        let decided = places
            .filter(|place| held.len() - place <= HEAD)
            .find(begun);
        let decided = held[..decided.unwrap_or(held.len())].trim_end().len();
        let rest = self.held.split_off(decided);
        let now = std::mem::replace(&mut self.held, rest);
        self.hand_on(part, &now, show);
        false
    }

    /// The head of a message, once it is whole.
    fn head(&mut self) -> bool {
        if let Some((head, rest)) = self.held.split_once(MESSAGE) {
            let part = part_of(head);
            self.held = rest.to_string();
            self.state = ReplyState::Message(part);
            return true;
        }
        // A model that writes no heads answers.
        let is_none = self.held.len() > HEAD;
        if is_none {
            self.state = ReplyState::Message(ReplyPart::Answer);
        }
        is_none
    }

    fn hand_on(&mut self, part: ReplyPart, text: &str, show: &mut impl FnMut(ReplyPart, &str)) {
        let text = match self.last == Some(part) {
            true => text,
            false => text.trim_start_matches(['\n', '\r']),
        };
        if !text.is_empty() {
            self.last = Some(part);
            show(part, text);
        }
    }
}

/// What is on a message's channel: the final one has the answer, as has none.
fn part_of(head: &str) -> ReplyPart {
    let channel = head.split_once(CHANNEL).map(|(_, name)| name.trim_start());
    match channel {
        None => ReplyPart::Answer,
        Some(name) if name.starts_with("final") => ReplyPart::Answer,
        Some(_) => ReplyPart::Thinking,
    }
}
