//! Tokens → statements, with jinja2's grammar: blocks. Expressions are in `expressions`.

use super::budget::{Bounded, Halt, fault};
use super::lexer::{Lexeme, Token, lex};
use super::syntax::{
    Expr, For, Kind, MacroNode, MacroUses, Statement, StatementKind, Statements, Target,
};
use super::value::PyValue;
use std::collections::HashSet;
use std::rc::Rc;

/// Blocks in blocks, brackets in brackets.
const NESTING: usize = 100;

pub(super) struct TemplateParser {
    lexemes: Vec<Lexeme>,
    at: usize,
    nesting: usize,
    /// Loops that `break` could end.
    loops: usize,
    /// Names of blocks so far.
    blocks: HashSet<Rc<str>>,
    /// Of the macros that are being read.
    pub(super) uses: Vec<MacroUses>,
}

/// The statements of a template, or an error and its line.
pub(super) fn parse(source: &str) -> Result<Statements, (Halt, u32)> {
    let mut parser = TemplateParser {
        lexemes: lex(source)?,
        at: 0,
        nesting: 0,
        loops: 0,
        blocks: HashSet::new(),
        uses: Vec::new(),
    };
    let block = parser.block(&[]).and_then(|block| match parser.peek() {
        Token::End => Ok(block),
        _ => fault(format!("unexpected {}", parser.found())),
    });
    block.map_err(|halt| (halt, parser.line()))
}

impl TemplateParser {
    pub(super) fn peek(&self) -> &Token {
        self.ahead(0)
    }

    pub(super) fn ahead(&self, by: usize) -> &Token {
        let lexeme = self.lexemes.get(self.at + by);
        lexeme.map_or(&Token::End, |lexeme| &lexeme.token)
    }

    fn line(&self) -> u32 {
        let lexeme = self.lexemes.get(self.at).or(self.lexemes.last());
        lexeme.map_or(1, |lexeme| lexeme.line)
    }

    pub(super) fn skip(&mut self) {
        self.at += 1;
    }

    /// What stands here, for errors.
    pub(super) fn found(&self) -> String {
        match self.peek() {
            Token::Data(_) => "text".to_string(),
            Token::VariableBegin => "\"{{\"".to_string(),
            Token::VariableEnd => "\"}}\"".to_string(),
            Token::BlockBegin => "\"{%\"".to_string(),
            Token::BlockEnd => "\"%}\"".to_string(),
            Token::Name(name) => format!("{:?}", &**name),
            Token::Str(_) => "a string".to_string(),
            Token::Int(_) | Token::Float(_) => "a number".to_string(),
            Token::Operator(operator) => format!("{operator:?}"),
            Token::End => "the end of the template".to_string(),
        }
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Token::Name(found) if **found == *name)
    }

    pub(super) fn take_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        self.at += usize::from(found);
        found
    }

    pub(super) fn is_operator(&self, operator: &str) -> bool {
        matches!(self.peek(), Token::Operator(found) if *found == operator)
    }

    pub(super) fn take_operator(&mut self, operator: &str) -> bool {
        let found = self.is_operator(operator);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect_operator(&mut self, operator: &str) -> Bounded<()> {
        match self.take_operator(operator) {
            true => Ok(()),
            false => fault(format!("expected {operator:?}, found {}", self.found())),
        }
    }

    pub(super) fn name(&mut self) -> Bounded<Rc<str>> {
        match self.peek() {
            Token::Name(name) => {
                let name = name.clone();
                self.skip();
                Ok(name)
            }
            _ => fault(format!("expected a name, found {}", self.found())),
        }
    }

    fn block_end(&mut self) -> Bounded<()> {
        match self.peek() {
            Token::BlockEnd => {
                self.skip();
                Ok(())
            }
            _ => fault(format!("expected \"%}}\", found {}", self.found())),
        }
    }

    /// Does what is nested here, unless too much is.
    pub(super) fn nested<T>(
        &mut self,
        what: impl FnOnce(&mut TemplateParser) -> Bounded<T>,
    ) -> Bounded<T> {
        if self.nesting == NESTING {
            return fault(format!("nested more than {NESTING} deep"));
        }
        self.nesting += 1;
        let done = what(self);
        self.nesting -= 1;
        done
    }

    /// Statements up to a tag of one of these names, before which it stops, inside the tag.
    fn block(&mut self, ends: &[&str]) -> Bounded<Statements> {
        let mut block = Vec::new();
        loop {
            let line = self.line();
            let kind = match self.peek() {
                Token::Data(text) => {
                    let text = text.clone();
                    self.skip();
                    StatementKind::Text(text)
                }
                Token::VariableBegin => {
                    self.skip();
                    let value = self.tuple(true)?;
                    match self.peek() {
                        Token::VariableEnd => self.skip(),
                        _ => return fault(format!("expected \"}}}}\", found {}", self.found())),
                    }
                    StatementKind::Print(vec![value])
                }
                Token::BlockBegin => {
                    self.skip();
                    if ends.iter().any(|end| self.is_name(end)) {
                        return Ok(block);
                    }
                    let kind = self.nested(TemplateParser::statement)?;
                    self.block_end()?;
                    kind
                }
                _ if ends.is_empty() => return Ok(block),
                _ => {
                    return fault(format!(
                        "expected \"{{% {} %}}\", found {}",
                        ends.join(" %}\" or \"{% "),
                        self.found()
                    ));
                }
            };
            block.push(Statement { kind, line });
        }
    }

    /// A block and its end, up to but without the end's `%}`.
    fn body(&mut self, end: &str) -> Bounded<Statements> {
        self.take_operator(":");
        self.block_end()?;
        let block = self.block(&[end])?;
        self.skip();
        Ok(block)
    }

    fn statement(&mut self) -> Bounded<StatementKind> {
        let line = self.line();
        let name = match self.peek() {
            Token::Name(name) => name.clone(),
            _ => {
                return fault(format!(
                    "expected the name of a statement, found {}",
                    self.found()
                ));
            }
        };
        self.skip();
        match &*name {
            "if" => self.branches(),
            "for" => self.for_loop(line),
            "set" => self.set(),
            "with" => self.with(),
            "macro" => {
                let name = self.name()?;
                let parameters = self.parameters()?;
                self.macro_body(name, parameters, "endmacro")
                    .map(StatementKind::Macro)
            }
            "call" => {
                let parameters = match self.is_operator("(") {
                    true => self.parameters()?,
                    false => Vec::new(),
                };
                let call = self.expression()?;
                if !matches!(call.kind, Kind::Call(..)) {
                    return fault("expected a call");
                }
                let caller = self.macro_body("caller".into(), parameters, "endcall")?;
                Ok(StatementKind::Call(call, caller))
            }
            "filter" => {
                let filters = self.filters(
                    Expr {
                        kind: Kind::Body,
                        depth: 0,
                    },
                    true,
                )?;
                Ok(StatementKind::Filter(filters, self.body("endfilter")?))
            }
            "generation" => self
                .body("endgeneration")
                .map(|block| StatementKind::Scope(block, false)),
            "autoescape" => match self.expression()?.kind {
                Kind::Constant(PyValue::Bool(false)) => self
                    .body("endautoescape")
                    .map(|block| StatementKind::Scope(block, false)),
                _ => fault("autoescape is not supported: a conversation is no HTML"),
            },
            "block" => {
                let name = self.name()?;
                if !self.blocks.insert(name.clone()) {
                    return fault(format!("there are two blocks of the name {:?}", &*name));
                }
                let scoped = self.take_name("scoped");
                self.take_name("required");
                let body = self.body("endblock")?;
                self.take_name(&name);
                Ok(StatementKind::Scope(body, !scoped))
            }
            "print" => {
                let mut values = Vec::new();
                while *self.peek() != Token::BlockEnd {
                    if !values.is_empty() {
                        self.expect_operator(",")?;
                    }
                    values.push(self.expression()?);
                }
                Ok(StatementKind::Print(values))
            }
            "break" | "continue" if self.loops == 0 => fault(format!("{name:?} outside of a loop")),
            "break" => Ok(StatementKind::Break),
            "continue" => Ok(StatementKind::Continue),
            "include" | "import" | "extends" | "from" => {
                while *self.peek() != Token::BlockEnd && *self.peek() != Token::End {
                    self.skip();
                }
                Ok(StatementKind::Other(match &*name {
                    "include" => "include",
                    "extends" => "extends",
                    _ => "import",
                }))
            }
            _ => {
                self.at -= 1;
                fault(format!("unknown statement {name:?}"))
            }
        }
    }

    fn branches(&mut self) -> Bounded<StatementKind> {
        let mut branches = Vec::new();
        loop {
            let condition = self.tuple(false)?;
            self.take_operator(":");
            self.block_end()?;
            let block = self.block(&["elif", "else", "endif"])?;
            branches.push((condition, block));
            if self.take_name("elif") {
                continue;
            }
            let otherwise = match self.take_name("else") {
                true => self.body("endif")?,
                false => {
                    self.skip();
                    Vec::new()
                }
            };
            return Ok(StatementKind::If(branches, otherwise));
        }
    }

    fn for_loop(&mut self, line: u32) -> Bounded<StatementKind> {
        self.loops += 1;
        let target = self.target(false);
        self.loops -= 1;
        let target = target?;
        if !self.take_name("in") {
            return fault(format!("expected \"in\", found {}", self.found()));
        }
        let over = self.tuple(false)?;
        let only = match self.take_name("if") {
            true => Some(self.expression()?),
            false => None,
        };
        let recursive = self.take_name("recursive");
        self.take_operator(":");
        self.block_end()?;
        self.loops += 1;
        let body = self.block(&["endfor", "else"]);
        self.loops -= 1;
        let body = body?;
        let otherwise = match self.take_name("else") {
            true => self.body("endfor")?,
            false => {
                self.skip();
                Vec::new()
            }
        };
        Ok(StatementKind::For(Rc::new(For {
            target,
            over,
            only,
            recursive,
            body,
            otherwise,
            line,
        })))
    }

    fn set(&mut self) -> Bounded<StatementKind> {
        let target = self.target(true)?;
        if self.take_operator("=") {
            return Ok(StatementKind::Set(target, self.tuple(true)?));
        }
        let filters = self.filters(
            Expr {
                kind: Kind::Body,
                depth: 0,
            },
            false,
        )?;
        Ok(StatementKind::SetBlock(
            target,
            filters,
            self.body("endset")?,
        ))
    }

    fn with(&mut self) -> Bounded<StatementKind> {
        let mut variables = Vec::new();
        while *self.peek() != Token::BlockEnd {
            if !variables.is_empty() {
                self.expect_operator(",")?;
            }
            let target = self.target(false)?;
            self.expect_operator("=")?;
            variables.push((target, self.expression()?));
        }
        Ok(StatementKind::With(variables, self.body("endwith")?))
    }

    /// What is assigned to: names, and attributes of namespaces where these may stand.
    fn target(&mut self, attributes: bool) -> Bounded<Target> {
        let mut targets = Vec::new();
        let mut tuple = false;
        while self.is_operator("(")
            || matches!(self.peek(), Token::Name(_)) && (attributes || !self.is_name("in"))
        {
            targets.push(match self.take_operator("(") {
                true => {
                    let inner = self.nested(|parser| parser.target(attributes))?;
                    self.expect_operator(")")?;
                    inner
                }
                false => {
                    let name = self.name()?;
                    if matches!(
                        &*name,
                        "true" | "false" | "none" | "True" | "False" | "None"
                    ) {
                        return fault(format!("cannot assign to {:?}", &*name));
                    }
                    if self.loops > 0 && &*name == "loop" {
                        return fault("cannot assign to \"loop\" within a loop");
                    }
                    match attributes && self.take_operator(".") {
                        true => Target::Attribute(name, self.name()?),
                        false => Target::Name(name),
                    }
                }
            });
            if !self.take_operator(",") {
                break;
            }
            tuple = true;
        }
        match targets.pop() {
            Some(only) if !tuple => Ok(only),
            Some(last) => {
                targets.push(last);
                Ok(Target::Tuple(targets))
            }
            None => fault(format!("expected a name, found {}", self.found())),
        }
    }

    fn parameters(&mut self) -> Bounded<Vec<(Rc<str>, Option<Expr>)>> {
        let mut parameters: Vec<(Rc<str>, Option<Expr>)> = Vec::new();
        self.expect_operator("(")?;
        while !self.take_operator(")") {
            if !parameters.is_empty() {
                self.expect_operator(",")?;
            }
            let name = self.name()?;
            let default = match self.take_operator("=") {
                true => Some(self.expression()?),
                false if parameters.iter().any(|(_, default)| default.is_some()) => {
                    return fault(format!(
                        "parameter {name:?} without a default behind one with"
                    ));
                }
                false => None,
            };
            parameters.push((name, default));
        }
        Ok(parameters)
    }

    fn macro_body(
        &mut self,
        name: Rc<str>,
        parameters: Vec<(Rc<str>, Option<Expr>)>,
        end: &str,
    ) -> Bounded<Rc<MacroNode>> {
        self.uses.push(MacroUses::default());
        let loops = std::mem::take(&mut self.loops);
        let body = self.body(end);
        self.loops = loops;
        let uses = self.uses.pop().unwrap_or_default();
        if let Some(outer) = self.uses.last_mut() {
            outer.caller |= uses.caller;
            outer.varargs |= uses.varargs;
            outer.kwargs |= uses.kwargs;
        }
        Ok(Rc::new(MacroNode {
            name,
            parameters,
            body: body?,
            uses,
        }))
    }
}
