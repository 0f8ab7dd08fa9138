//! Runs a template's statements.

use super::arguments::Given;
use super::budget::{Bounded, TextWriter, fault, shown, spend, walk};
use super::syntax::{
    CallArguments, Expr, For, MacroNode, Statement, StatementKind, Statements, Target,
};
use super::value::{List, ListKind, Loop, Macro, Namespace, PyValue};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Variables of a block.
struct Frame {
    variables: Vec<(Rc<str>, PyValue)>,
    /// The place of the frame around it.
    outer: usize,
    /// Tells it from others that stood at its place.
    number: u64,
}

/// Where the template's own variables stand; at 0 are those it is given.
const TOP: usize = 1;
/// Names that are looked at in a step.
const VARIABLES_PER_STEP: usize = 8;

pub(super) struct Renderer {
    frames: Vec<Frame>,
    /// Where names are looked up first.
    frame: usize,
    frames_made: u64,
    /// Statements, expressions and calls within each other.
    depth: usize,
    depth_limit: usize,
    /// All there are: they may contain themselves.
    namespaces: Vec<Rc<Namespace>>,
    /// Of the statement that runs.
    pub(super) line: u32,
    /// What the filters of a block are given.
    pub(super) filtered: Option<PyValue>,
}

/// How a block ended.
#[derive(PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl Renderer {
    /// With these variables; it may nest so deep.
    pub(super) fn new(variables: Vec<(Rc<str>, PyValue)>, depth_limit: usize) -> Renderer {
        let mut renderer = Renderer {
            frames: Vec::new(),
            frame: 0,
            frames_made: 0,
            depth: 0,
            depth_limit,
            namespaces: Vec::new(),
            line: 1,
            filtered: None,
        };
        renderer.enter(0);
        if let Some(frame) = renderer.frames.first_mut() {
            frame.variables = variables;
        }
        renderer.enter(0);
        renderer
    }

    pub(super) fn template(&mut self, block: &Statements) -> Bounded<String> {
        let mut writer = TextWriter::new();
        self.block(block, &mut writer)?;
        Ok(writer.into_parts().0)
    }

    /// Begins a frame in the one at `outer`, and returns where names were looked up before.
    fn enter(&mut self, outer: usize) -> usize {
        self.frames_made += 1;
        self.frames.push(Frame {
            variables: Vec::new(),
            outer,
            number: self.frames_made,
        });
        std::mem::replace(&mut self.frame, self.frames.len() - 1)
    }

    /// Ends the frame that began last.
    fn leave(&mut self, before: usize) {
        self.frames.pop();
        self.frame = before;
    }

    pub(super) fn nested<T>(
        &mut self,
        what: impl FnOnce(&mut Renderer) -> Bounded<T>,
    ) -> Bounded<T> {
        if self.depth >= self.depth_limit {
            return fault("calls and expressions are nested too deep");
        }
        self.depth += 1;
        let done = what(self);
        self.depth -= 1;
        done
    }

    pub(super) fn variable(&self, name: &str) -> Bounded<Option<PyValue>> {
        let mut place = self.frame;
        while let Some(frame) = self.frames.get(place) {
            spend(frame.variables.len() / VARIABLES_PER_STEP)?;
            let found = frame
                .variables
                .iter()
                .rev()
                .find(|(known, _)| **known == *name);
            if let Some((_, value)) = found {
                return Ok(Some(value.clone()));
            }
            if place == 0 {
                break;
            }
            place = frame.outer;
        }
        Ok(None)
    }

    fn assign(&mut self, name: &Rc<str>, value: PyValue) -> Bounded<()> {
        if let Some(frame) = self.frames.get_mut(self.frame) {
            spend(frame.variables.len() / VARIABLES_PER_STEP)?;
            match frame.variables.iter_mut().find(|(known, _)| known == name) {
                Some((_, old)) => *old = value,
                None => frame.variables.push((name.clone(), value)),
            }
        }
        Ok(())
    }

    fn store(&mut self, target: &Target, value: PyValue) -> Bounded<()> {
        match target {
            Target::Name(name) => self.assign(name, value),
            Target::Attribute(name, attribute) => match self.variable(name)? {
                Some(PyValue::Namespace(_)) if attribute.starts_with('_') => {
                    fault(format!("a namespace takes no attribute {attribute:?}"))
                }
                Some(PyValue::Namespace(namespace)) => namespace.set(attribute, value),
                _ => fault(format!(
                    "{name:?} is no namespace, whose attributes could be set"
                )),
            },
            Target::Tuple(targets) => {
                let values = value.items()?;
                if values.items.len() != targets.len() {
                    return fault(format!(
                        "{} values for {} names",
                        values.items.len(),
                        targets.len()
                    ));
                }
                for (target, value) in targets.iter().zip(&values.items) {
                    self.store(target, value.clone())?;
                }
                Ok(())
            }
        }
    }

    pub(super) fn namespace(&mut self, attributes: Vec<(Rc<str>, PyValue)>) -> Bounded<PyValue> {
        if let Some((name, _)) = attributes.iter().find(|(name, _)| name.starts_with('_')) {
            return fault(format!("a namespace takes no attribute {name:?}"));
        }
        let namespace = Namespace::new(attributes)?;
        self.namespaces.push(namespace.clone());
        Ok(PyValue::Namespace(namespace))
    }

    fn block(&mut self, block: &Statements, writer: &mut TextWriter) -> Bounded<Flow> {
        for statement in block {
            spend(1)?;
            self.line = statement.line;
            let flow = self.nested(|renderer| renderer.statement(statement, writer))?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    /// A block with variables of its own.
    fn scope(
        &mut self,
        outer: usize,
        block: &Statements,
        writer: &mut TextWriter,
    ) -> Bounded<Flow> {
        let before = self.enter(outer);
        let flow = self.block(block, writer);
        self.leave(before);
        flow
    }

    /// A scope's text, through the filters behind it.
    fn filtered(&mut self, block: &Statements, filters: &Expr) -> Bounded<PyValue> {
        let mut writer = TextWriter::new();
        self.scope(self.frame, block, &mut writer)?;
        let text = writer.finish()?;
        let before = self.filtered.replace(text);
        let value = self.evaluate(filters);
        self.filtered = before;
        value
    }

    fn statement(&mut self, statement: &Statement, writer: &mut TextWriter) -> Bounded<Flow> {
        match &statement.kind {
            StatementKind::Text(text) => writer.push(text)?,
            StatementKind::Print(values) => {
                for value in values {
                    writer.push_value(&self.evaluate(value)?)?;
                }
            }
            StatementKind::If(branches, otherwise) => {
                for (condition, block) in branches {
                    if self.evaluate(condition)?.is_true() {
                        return self.block(block, writer);
                    }
                }
                return self.block(otherwise, writer);
            }
            StatementKind::For(node) => {
                let over = self.evaluate(&node.over)?;
                self.for_loop(node, &over, 0, writer)?;
            }
            StatementKind::Set(target, value) => {
                let value = self.evaluate(value)?;
                self.store(target, value)?;
            }
            StatementKind::SetBlock(target, filters, block) => {
                let value = self.filtered(block, filters)?;
                self.store(target, value)?;
            }
            StatementKind::Filter(filters, block) => {
                let value = self.filtered(block, filters)?;
                writer.push_value(&value)?;
            }
            StatementKind::With(variables, block) => {
                let values = variables.iter().map(|(_, value)| self.evaluate(value));
                let values = values.collect::<Bounded<Vec<PyValue>>>()?;
                let before = self.enter(self.frame);
                let stored = variables
                    .iter()
                    .zip(values)
                    .try_for_each(|((target, _), value)| self.store(target, value));
                let flow = stored.and_then(|()| self.block(block, writer));
                self.leave(before);
                return flow;
            }
            StatementKind::Macro(node) => {
                let made = self.macro_here(node);
                self.assign(&node.name, made)?;
            }
            StatementKind::Call(call, caller) => {
                let caller = self.macro_here(caller);
                let value = self.call_with(call, Some(caller))?;
                writer.push_value(&value)?;
            }
            StatementKind::Scope(block, top) => {
                let outer = if *top { TOP } else { self.frame };
                return self.scope(outer, block, writer);
            }
            StatementKind::Break => return Ok(Flow::Break),
            StatementKind::Continue => return Ok(Flow::Continue),
            StatementKind::Other(what) => {
                return fault(format!(
                    "{what:?} asks for another template, and there is none"
                ));
            }
        }
        Ok(Flow::Next)
    }

    fn macro_here(&self, node: &Rc<MacroNode>) -> PyValue {
        let number = self.frames.get(self.frame).map_or(0, |frame| frame.number);
        PyValue::Macro(Rc::new(Macro {
            node: node.clone(),
            frame: (self.frame, number),
        }))
    }

    pub(super) fn for_loop(
        &mut self,
        node: &Rc<For>,
        over: &PyValue,
        level: usize,
        writer: &mut TextWriter,
    ) -> Bounded<()> {
        let mut items = over.items()?;
        if let Some(only) = &node.only {
            let mut kept = Vec::new();
            for item in &items.items {
                spend(1)?;
                let before = self.enter(self.frame);
                let stored = self.store(&node.target, item.clone());
                let passes = stored.and_then(|()| self.evaluate(only));
                self.leave(before);
                if passes?.is_true() {
                    kept.push(item.clone());
                }
            }
            items = List::new(ListKind::List, kept)?;
        }
        let state = Rc::new(Loop {
            index: Cell::new(0),
            level,
            seen: RefCell::new(None),
            recursive: node.recursive.then(|| (node.clone(), self.frame)),
            items,
        });
        let any_ended = self.iterations(node, &state, writer);
        // It may have seen itself.
        state.seen.take();
        if !any_ended? {
            self.scope(self.frame, &node.otherwise, writer)?;
        }
        Ok(())
    }

    /// Whether any iteration came to its end: one that `break` or `continue` cuts short is none to
    /// jinja2, which renders what follows `else` after those alone.
    fn iterations(
        &mut self,
        node: &For,
        state: &Rc<Loop>,
        writer: &mut TextWriter,
    ) -> Bounded<bool> {
        let name: Rc<str> = "loop".into();
        let mut any_ended = false;
        for (index, item) in state.items.items.iter().enumerate() {
            spend(1)?;
            state.index.set(index);
            let before = self.enter(self.frame);
            let named = self.assign(&name, PyValue::Loop(state.clone()));
            let stored = named.and_then(|()| self.store(&node.target, item.clone()));
            let flow = stored.and_then(|()| self.block(&node.body, writer));
            self.leave(before);
            match flow? {
                Flow::Next => any_ended = true,
                Flow::Continue => {}
                Flow::Break => break,
            }
            self.line = node.line;
        }
        Ok(any_ended)
    }

    pub(super) fn given(&mut self, arguments: &CallArguments) -> Bounded<Given> {
        let mut given = Given::default();
        for argument in &arguments.plain {
            given.plain.push(self.evaluate(argument)?);
        }
        for (name, argument) in &arguments.named {
            given.named.push((name.clone(), self.evaluate(argument)?));
        }
        if let Some(more) = &arguments.more {
            let more = self.evaluate(more)?.items()?;
            walk(more.items.len())?;
            given.plain.extend(more.items.iter().cloned());
        }
        if let Some(more) = &arguments.more_named {
            let PyValue::Dict(dict) = self.evaluate(more)? else {
                return fault("what stands behind \"**\" is no dict");
            };
            walk(dict.entries.len())?;
            for (name, value) in &dict.entries {
                let name = Rc::from(name.as_str().unwrap_or_default());
                given.named.push((name, value.clone()));
            }
        }
        Ok(given)
    }

    pub(super) fn call_macro(&mut self, called: &Macro, mut given: Given) -> Bounded<PyValue> {
        let node = &called.node;
        let count = node.parameters.len();
        let name = &node.name;
        let varargs = given.plain.split_off(count.min(given.plain.len()));
        let mut plain = given.plain.into_iter();
        let mut values = Vec::new();
        for (parameter, _) in &node.parameters {
            let place = given.named.iter().position(|(name, _)| name == parameter);
            values.push(match (plain.next(), place) {
                (Some(_), Some(_)) if !node.uses.kwargs => {
                    return fault(format!("macro {name:?} has two values for {parameter:?}"));
                }
                (Some(value), _) => Some(value),
                (None, Some(place)) => Some(given.named.remove(place).1),
                (None, None) => None,
            });
        }
        let mut special: Vec<(Rc<str>, PyValue)> = Vec::new();
        if node.uses.caller && !node.parameters.iter().any(|(name, _)| &**name == "caller") {
            let place = given.named.iter().position(|(name, _)| &**name == "caller");
            let caller = place.map(|place| given.named.remove(place).1);
            let caller = caller.unwrap_or_else(|| PyValue::undefined("no caller is defined"));
            special.push(("caller".into(), caller));
        }
        if node.uses.kwargs {
            let named = given
                .named
                .into_iter()
                .map(|(name, value)| Ok((PyValue::text(&name)?, value)));
            let named = named.collect::<Bounded<Vec<_>>>()?;
            special.push(("kwargs".into(), PyValue::dict(named)?));
        } else if let Some((wrong, _)) = given.named.first() {
            return fault(format!("macro {name:?} takes no argument {wrong:?}"));
        }
        if node.uses.varargs {
            special.push(("varargs".into(), PyValue::list(ListKind::Tuple, varargs)?));
        } else if !varargs.is_empty() {
            return fault(format!(
                "macro {name:?} takes no more than {count} arguments"
            ));
        }
        // Where it was written; if that frame has ended, all it can see is the template's own.
        let (place, number) = called.frame;
        let alive = self
            .frames
            .get(place)
            .is_some_and(|frame| frame.number == number);
        let line = self.line;
        let before = self.enter(if alive { place } else { TOP });
        let mut writer = TextWriter::new();
        let done = self
            .parameters(node, values, special)
            .and_then(|()| self.block(&node.body, &mut writer));
        self.leave(before);
        done?;
        self.line = line;
        writer.finish()
    }

    fn parameters(
        &mut self,
        node: &MacroNode,
        values: Vec<Option<PyValue>>,
        special: Vec<(Rc<str>, PyValue)>,
    ) -> Bounded<()> {
        for (name, value) in special {
            self.assign(&name, value)?;
        }
        for ((name, default), value) in node.parameters.iter().zip(values) {
            let value = match (value, default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.evaluate(default)?,
                (None, None) => {
                    let name = shown(name);
                    PyValue::undefined(format!("parameter {name:?} was not provided"))
                }
            };
            self.assign(name, value)?;
        }
        Ok(())
    }

    /// A loop within its own body, over other items: its text.
    pub(super) fn call_loop(&mut self, state: &Loop, given: Given) -> Bounded<PyValue> {
        let Some((node, frame)) = &state.recursive else {
            return fault("the loop is not recursive, it cannot be called");
        };
        let [over] = given.of("loop", ["iterable"])?;
        let over = over.unwrap_or(PyValue::None);
        let mut writer = TextWriter::new();
        let before = std::mem::replace(&mut self.frame, *frame);
        let done = self.for_loop(node, &over, state.level + 1, &mut writer);
        self.frame = before;
        done?;
        writer.finish()
    }
}

impl Drop for Renderer {
    /// Ends what contains itself.
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            namespace.attributes.take();
        }
    }
}
