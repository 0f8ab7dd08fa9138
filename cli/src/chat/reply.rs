//! A reply as it is shown: on a terminal what the model thinks stands before its answer, dimmed;
//! elsewhere the answer alone.

use crate::line::Line;
use rillm::chat::{Message, ReplyPart, ReplyReader};
use std::io::{self, IsTerminal, Write};

pub struct ShownReply {
    reader: ReplyReader,
    shown: ReplyOutput,
}

struct ReplyOutput {
    out: Line,
    terminal: bool,
    thinking: String,
    answer: String,
    /// What has been shown last.
    last: Option<ReplyPart>,
}

impl ShownReply {
    pub fn new(reader: ReplyReader) -> ShownReply {
        ShownReply {
            reader,
            shown: ReplyOutput {
                out: Line::stdout(),
                terminal: io::stdout().is_terminal(),
                thinking: String::new(),
                answer: String::new(),
                last: None,
            },
        }
    }

    /// Shows what has come.
    pub fn push(&mut self, text: &str) -> io::Result<()> {
        let (shown, mut done) = (&mut self.shown, Ok(()));
        self.reader.push(text, &mut |part, text: &str| {
            if done.is_ok() {
                done = shown.show(part, text);
            }
        });
        done?;
        self.shown.out.flush()
    }

    /// Shows the last of it, and says what was thought and what was said.
    pub fn finish(mut self, rest: &str) -> io::Result<Message> {
        self.push(rest)?;
        let (mut shown, mut done) = (self.shown, Ok(()));
        self.reader.finish(&mut |part, text: &str| {
            if done.is_ok() {
                done = shown.show(part, text);
            }
        });
        done?;
        shown.ends_thinking()?;
        writeln!(shown.out)?;
        shown.out.flush()?;
        let message = Message::new("assistant", std::mem::take(&mut shown.answer));
        Ok(message.thinking(shown.thinking.trim()))
    }
}

impl ReplyOutput {
    fn show(&mut self, part: ReplyPart, text: &str) -> io::Result<()> {
        match part {
            ReplyPart::Thinking => {
                self.thinking.push_str(text);
                if !self.terminal {
                    return Ok(());
                }
                if self.last != Some(part) {
                    self.out.style(DIM)?;
                }
            }
            ReplyPart::Answer => {
                self.answer.push_str(text);
                if self.ends_thinking()? {
                    write!(self.out, "\n\n")?;
                }
            }
        }
        self.last = Some(part);
        self.out.write_all(text.as_bytes())
    }

    /// Whether what stands on the terminal was dimmed until now.
    fn ends_thinking(&mut self) -> io::Result<bool> {
        let dimmed = self.terminal && self.last == Some(ReplyPart::Thinking);
        if dimmed {
            self.last = None;
            self.out.style(PLAIN)?;
        }
        Ok(dimmed)
    }
}

impl Drop for ReplyOutput {
    fn drop(&mut self) {
        // Whoever closed standard output sees nothing of it.
        let _ = self.ends_thinking();
    }
}

const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[m";
