//! Chat templates as transformers renders them: its Jinja, with Python's values, within bounds.
//!
//! A template comes with a file that nobody has read. It runs on a thread with a stack of its own
//! (a caller's may be small), is nested no deeper than that stack allows, and has a budget of
//! steps and one of bytes. What it reads never changes under it, and it reaches nothing outside
//! of what it is given.

mod arguments;
mod budget;
mod clock;
mod evaluate;
mod expressions;
mod filters;
mod format;
mod json;
mod lexer;
mod lookup;
mod methods;
mod numbers;
mod parser;
mod percent;
mod predicates;
mod python;
mod render;
mod strings;
mod syntax;
mod text_filters;
mod value;
mod wrap;
mod write;

pub(super) use budget::Halt;
use budget::{Bounded, fault};
use lexer::Token;
use render::Renderer;
use std::rc::Rc;
use value::{ListKind, PyValue};

/// The longest template; published ones have some ten thousand bytes.
const SOURCE: usize = 1 << 20;
/// The longest text that is made of a short conversation, and what a longer one adds: all of it is
/// to become tokens.
const OUTPUT: usize = 4 << 20;
const OUTPUT_PER_INPUT_BYTE: usize = 8;
/// What a rendering may use of stack: pages are taken as it grows.
const STACK: usize = 32 << 20;
/// Addresses that an allocator sets aside for a thread (glibc's arena, aligned to its length).
const ARENA: usize = 128 << 20;
/// Statements, expressions and calls within each other, on that stack.
const DEPTH: usize = 1500;
/// The same on a stack that is not our own.
const DEPTH_HERE: usize = 60;

/// What a template is rendered with.
pub(super) enum Conversation<'a> {
    /// Messages, whether the next turn is asked for, and more variables, as a JSON object.
    Messages(&'a [super::Message], bool, &'a str),
    /// All variables, as a JSON object.
    Json(&'a str),
}

/// Whether a template can be read at all.
pub(super) fn check(source: &str) -> Bounded<()> {
    apart(|_| {
        budget::begin(source.len())?;
        read(source).map(drop)
    })
}

/// Whether a template has a variable of this name.
pub(super) fn has_variable(source: &str, name: &str) -> bool {
    let found = apart(|_| {
        budget::begin(source.len())?;
        let lexemes = lexer::lex(source).map_err(|(halt, _)| halt)?;
        let mut of_something = false;
        Ok(lexemes.iter().any(|lexeme| {
            let named = matches!(&lexeme.token, Token::Name(other) if **other == *name);
            let found = named && !of_something;
            of_something = matches!(lexeme.token, Token::Operator("."));
            found
        }))
    });
    found.unwrap_or(false)
}

/// Whether variables can be read at all.
pub(super) fn check_variables(text: &str) -> Bounded<()> {
    apart(|_| {
        budget::begin(text.len())?;
        given(&mut Vec::new(), text)
    })
}

/// A template's text of a conversation. `tokens` are variables by name.
pub(super) fn render(
    source: &str,
    tokens: &[(String, String)],
    input: &Conversation<'_>,
) -> Bounded<String> {
    apart(|depth| {
        let given = match input {
            Conversation::Messages(messages, _, more) => {
                let thought =
                    |message: &super::Message| message.thinking.as_ref().map_or(0, String::len);
                let said = |message: &super::Message| message.role.len() + message.content.len();
                let lens = messages
                    .iter()
                    .map(|message| said(message) + thought(message));
                more.len() + lens.sum::<usize>()
            }
            Conversation::Json(text) => text.len(),
        };
        budget::begin(source.len() + given)?;
        let block = read(source)?;
        let mut renderer = Renderer::new(variables(tokens, input)?, depth);
        let text = renderer.template(&block);
        let text = text.map_err(|halt| at_line(halt, renderer.line))?;
        let most = OUTPUT.saturating_add(given.saturating_mul(OUTPUT_PER_INPUT_BYTE));
        match text.len() > most {
            true => fault(format!(
                "it writes {} bytes, expected at most {most}",
                text.len()
            )),
            false => Ok(text),
        }
    })
}

fn read(source: &str) -> Bounded<syntax::Statements> {
    if source.len() > SOURCE {
        return fault(format!(
            "it has {} bytes, expected at most {SOURCE}",
            source.len()
        ));
    }
    parser::parse(source).map_err(|(halt, line)| at_line(halt, line))
}

fn at_line(halt: Halt, line: u32) -> Halt {
    match halt.refused {
        true => halt,
        false => Halt {
            what: format!("line {line}: {}", halt.what),
            ..halt
        },
    }
}

/// Does what is to be done on a thread of its own; it is told how deep it may nest.
fn apart<T: Send>(work: impl Fn(usize) -> Bounded<T> + Sync) -> Bounded<T> {
    // An allocator that has no room for a thread gives it a page for each value.
    if !budget::has_memory(STACK + ARENA) {
        return work(DEPTH_HERE);
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("chat template".to_string())
            .stack_size(STACK);
        match thread.spawn_scoped(scope, || work(DEPTH)) {
            Ok(running) => running
                .join()
                .unwrap_or_else(|_| fault("it could not be rendered")),
            // There may be no more threads.
            Err(_) => work(DEPTH_HERE),
        }
    })
}

fn variables(
    tokens: &[(String, String)],
    input: &Conversation<'_>,
) -> Bounded<Vec<(Rc<str>, PyValue)>> {
    let mut variables: Vec<(Rc<str>, PyValue)> = vec![
        ("tools".into(), PyValue::None),
        ("documents".into(), PyValue::None),
    ];
    for (name, token) in tokens {
        set(&mut variables, name, PyValue::text(token)?);
    }
    match input {
        Conversation::Messages(messages, reply, more) => {
            given(&mut variables, more)?;
            let message = |message: &super::Message| {
                let mut entries = vec![
                    (PyValue::text("role")?, PyValue::text(&message.role)?),
                    (PyValue::text("content")?, PyValue::text(&message.content)?),
                ];
                if let Some(thinking) = &message.thinking {
                    for name in ["thinking", "reasoning_content"] {
                        entries.push((PyValue::text(name)?, PyValue::text(thinking)?));
                    }
                }
                PyValue::dict(entries)
            };
            let messages = messages
                .iter()
                .map(message)
                .collect::<Bounded<Vec<PyValue>>>()?;
            set(
                &mut variables,
                "messages",
                PyValue::list(ListKind::List, messages)?,
            );
            set(
                &mut variables,
                "add_generation_prompt",
                PyValue::Bool(*reply),
            );
        }
        Conversation::Json(text) => {
            set(
                &mut variables,
                "add_generation_prompt",
                PyValue::Bool(false),
            );
            given(&mut variables, text)?;
        }
    }
    Ok(variables)
}

/// Sets what a JSON object says.
fn given(variables: &mut Vec<(Rc<str>, PyValue)>, text: &str) -> Bounded<()> {
    let PyValue::Dict(given) = json::parse(text)? else {
        return fault("a conversation is a JSON object, with \"messages\"");
    };
    for (name, value) in &given.entries {
        let name = name.as_str().unwrap_or_default();
        match name {
            "messages" => set(variables, name, messages(value)?),
            _ => set(variables, name, value.clone()),
        }
    }
    Ok(())
}

fn set(variables: &mut Vec<(Rc<str>, PyValue)>, name: &str, value: PyValue) {
    variables.retain(|(known, _)| **known != *name);
    variables.push((name.into(), value));
}

/// Messages as transformers hands them over: without what is null, and with a turn's reasoning
/// under the names that templates know it by.
fn messages(given: &PyValue) -> Bounded<PyValue> {
    let mut messages = Vec::new();
    for message in &given.items()?.items {
        let PyValue::Dict(message) = message else {
            return fault("a message is a JSON object, with \"role\" and \"content\"");
        };
        let mut entries: Vec<(PyValue, PyValue)> = Vec::new();
        let present = message
            .entries
            .iter()
            .filter(|(_, value)| !matches!(value, PyValue::None));
        let present: Vec<&(PyValue, PyValue)> = present.collect();
        let find = |name: &str| present.iter().find(|(key, _)| key.as_str() == Some(name));
        let reasoning = ["reasoning_content", "thinking", "reasoning"]
            .into_iter()
            .find_map(find);
        if let Some((_, reasoning)) = reasoning {
            evaluate::insert(&mut entries, PyValue::text("thinking")?, reasoning.clone())?;
        }
        for (key, value) in &present {
            evaluate::insert(&mut entries, key.clone(), value.clone())?;
        }
        if let Some((_, reasoning)) = reasoning {
            evaluate::insert(
                &mut entries,
                PyValue::text("reasoning_content")?,
                reasoning.clone(),
            )?;
        }
        messages.push(PyValue::dict(entries)?);
    }
    PyValue::list(ListKind::List, messages)
}
