//! What a template is: statements, and expressions in them.

use super::value::PyValue;
use std::rc::Rc;

pub(super) struct Expr {
    pub(super) kind: Kind,
    /// How deep expressions stand in this one.
    pub(super) depth: usize,
}

pub(super) enum Kind {
    Constant(PyValue),
    Name(Rc<str>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    /// Its name is a text.
    Attribute(Box<Expr>, PyValue),
    Item(Box<Expr>, Box<Expr>),
    /// From, to, step.
    Slice(Box<Expr>, Box<[Option<Expr>; 3]>),
    Call(Box<Expr>, CallArguments),
    Filter(Box<Expr>, Rc<str>, CallArguments),
    Test(Box<Expr>, Rc<str>, CallArguments),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Positive(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Arithmetic(&'static str, Box<Expr>, Box<Expr>),
    Concat(Vec<Expr>),
    Compare(Box<Expr>, Vec<(&'static str, Expr)>),
    /// Condition, value, value else.
    If(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
    /// What a filter block's or a set block's filters are given.
    Body,
}

#[derive(Default)]
pub(super) struct CallArguments {
    pub(super) plain: Vec<Expr>,
    pub(super) named: Vec<(Rc<str>, Expr)>,
    /// `*more`
    pub(super) more: Option<Box<Expr>>,
    /// `**more`
    pub(super) more_named: Option<Box<Expr>>,
}

pub(super) struct Statement {
    pub(super) kind: StatementKind,
    pub(super) line: u32,
}

pub(super) type Statements = Vec<Statement>;

pub(super) enum StatementKind {
    Text(String),
    Print(Vec<Expr>),
    If(Vec<(Expr, Statements)>, Statements),
    For(Rc<For>),
    Set(Target, Expr),
    /// The text of the block, through the filters.
    SetBlock(Target, Expr, Statements),
    Filter(Expr, Statements),
    With(Vec<(Target, Expr)>, Statements),
    Macro(Rc<MacroNode>),
    /// The call, and the block as its `caller`.
    Call(Expr, Rc<MacroNode>),
    /// A block with variables of its own; with `true`, it sees those of the template alone.
    Scope(Statements, bool),
    Break,
    Continue,
    /// A statement that asks for another template.
    Other(&'static str),
}

pub(super) struct For {
    pub(super) target: Target,
    pub(super) over: Expr,
    pub(super) only: Option<Expr>,
    pub(super) recursive: bool,
    pub(super) body: Statements,
    pub(super) otherwise: Statements,
    pub(super) line: u32,
}

pub(super) struct MacroNode {
    pub(super) name: Rc<str>,
    pub(super) parameters: Vec<(Rc<str>, Option<Expr>)>,
    pub(super) body: Statements,
    pub(super) uses: MacroUses,
}

/// Names that a macro is given only if it has them.
#[derive(Clone, Copy, Default)]
pub(super) struct MacroUses {
    pub(super) caller: bool,
    pub(super) varargs: bool,
    pub(super) kwargs: bool,
}

pub(super) enum Target {
    Name(Rc<str>),
    Attribute(Rc<str>, Rc<str>),
    Tuple(Vec<Target>),
}
