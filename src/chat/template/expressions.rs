//! Tokens → expressions, with jinja2's precedences.

use super::budget::{Bounded, fault};
use super::lexer::Token;
use super::parser::TemplateParser;
use super::syntax::{CallArguments, Expr, Kind};
use super::value::PyValue;
use std::rc::Rc;

/// Terms of a sum, links of a chain: jinja2 ends about here too.
const DEPTH: usize = 300;

/// An expression over these.
fn over(kind: Kind, parts: usize) -> Bounded<Expr> {
    match parts + 1 {
        depth if depth > DEPTH => fault(format!("an expression of more than {DEPTH} levels")),
        depth => Ok(Expr { kind, depth }),
    }
}

fn deepest<'a>(parts: impl IntoIterator<Item = &'a Expr>) -> usize {
    let depths = parts.into_iter().map(|part| part.depth);
    depths.max().unwrap_or_default()
}

fn two(left: Expr, right: Expr, kind: impl FnOnce(Box<Expr>, Box<Expr>) -> Kind) -> Bounded<Expr> {
    let depth = left.depth.max(right.depth);
    over(kind(Box::new(left), Box::new(right)), depth)
}

fn one(inner: Expr, kind: impl FnOnce(Box<Expr>) -> Kind) -> Bounded<Expr> {
    let depth = inner.depth;
    over(kind(Box::new(inner)), depth)
}

impl CallArguments {
    fn depth(&self) -> usize {
        let named = self.named.iter().map(|(_, value)| value);
        let more = self.more.iter().chain(&self.more_named);
        deepest(
            self.plain
                .iter()
                .chain(named)
                .chain(more.map(|more| &**more)),
        )
    }
}

impl TemplateParser {
    /// An expression, or several with commas between: a tuple.
    pub(super) fn tuple(&mut self, conditional: bool) -> Bounded<Expr> {
        let parse = |parser: &mut TemplateParser| match conditional {
            true => parser.expression(),
            false => parser.nested(TemplateParser::or),
        };
        let first = parse(self)?;
        if !self.is_operator(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.take_operator(",") {
            if matches!(self.peek(), Token::VariableEnd | Token::BlockEnd) || self.is_operator(")")
            {
                break;
            }
            items.push(parse(self)?);
        }
        let depth = deepest(&items);
        over(Kind::Tuple(items), depth)
    }

    pub(super) fn expression(&mut self) -> Bounded<Expr> {
        self.nested(TemplateParser::conditional)
    }

    fn conditional(&mut self) -> Bounded<Expr> {
        let mut value = self.or()?;
        while self.take_name("if") {
            let condition = self.or()?;
            let otherwise = match self.take_name("else") {
                true => Some(self.expression()?),
                false => None,
            };
            let depth = deepest([&value, &condition].into_iter().chain(&otherwise));
            let otherwise = otherwise.map(Box::new);
            value = over(
                Kind::If(Box::new(condition), Box::new(value), otherwise),
                depth,
            )?;
        }
        Ok(value)
    }

    fn or(&mut self) -> Bounded<Expr> {
        let mut left = self.and()?;
        while self.take_name("or") {
            left = two(left, self.and()?, Kind::Or)?;
        }
        Ok(left)
    }

    fn and(&mut self) -> Bounded<Expr> {
        let mut left = self.not()?;
        while self.take_name("and") {
            left = two(left, self.not()?, Kind::And)?;
        }
        Ok(left)
    }

    fn not(&mut self) -> Bounded<Expr> {
        if self.take_name("not") {
            return one(self.nested(TemplateParser::not)?, Kind::Not);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Bounded<Expr> {
        const OPERATORS: [&str; 6] = ["==", "!=", ">=", "<=", ">", "<"];
        let first = self.sum()?;
        let mut others = Vec::new();
        loop {
            let operator = match OPERATORS.iter().find(|operator| self.is_operator(operator)) {
                Some(operator) => *operator,
                None if self.is_name("in") => "in",
                None if self.is_name("not")
                    && matches!(self.ahead(1), Token::Name(name) if &**name == "in") =>
                {
                    self.skip();
                    "not in"
                }
                None if others.is_empty() => return Ok(first),
                None => break,
            };
            self.skip();
            others.push((operator, self.sum()?));
        }
        let depth = deepest(std::iter::once(&first).chain(others.iter().map(|(_, other)| other)));
        over(Kind::Compare(Box::new(first), others), depth)
    }

    /// What stands between operators of one precedence, from the left.
    fn chain(
        &mut self,
        operators: &[&'static str],
        part: fn(&mut TemplateParser) -> Bounded<Expr>,
    ) -> Bounded<Expr> {
        let mut left = part(self)?;
        while let Some(operator) = operators.iter().find(|operator| self.is_operator(operator)) {
            self.skip();
            left = two(left, part(self)?, |left, right| {
                Kind::Arithmetic(operator, left, right)
            })?;
        }
        Ok(left)
    }

    fn sum(&mut self) -> Bounded<Expr> {
        self.chain(&["+", "-"], TemplateParser::concat)
    }

    fn concat(&mut self) -> Bounded<Expr> {
        let first = self.product()?;
        if !self.is_operator("~") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take_operator("~") {
            parts.push(self.product()?);
        }
        let depth = deepest(&parts);
        over(Kind::Concat(parts), depth)
    }

    fn product(&mut self) -> Bounded<Expr> {
        self.chain(&["*", "/", "//", "%"], TemplateParser::power)
    }

    fn power(&mut self) -> Bounded<Expr> {
        self.chain(&["**"], |parser| parser.unary(true))
    }

    fn unary(&mut self, filters: bool) -> Bounded<Expr> {
        let inner = if self.take_operator("-") {
            one(self.nested(|parser| parser.unary(false))?, Kind::Negative)?
        } else if self.take_operator("+") {
            one(self.nested(|parser| parser.unary(false))?, Kind::Positive)?
        } else {
            self.primary()?
        };
        let value = self.postfix(inner)?;
        match filters {
            true => self.filter_chain(value),
            false => Ok(value),
        }
    }

    fn primary(&mut self) -> Bounded<Expr> {
        let constant = |value| over(Kind::Constant(value), 0);
        match self.peek() {
            Token::Name(name) => {
                let name = name.clone();
                self.skip();
                match &*name {
                    "true" | "True" => return constant(PyValue::Bool(true)),
                    "false" | "False" => return constant(PyValue::Bool(false)),
                    "none" | "None" => return constant(PyValue::None),
                    _ => {}
                }
                if let Some(uses) = self.uses.last_mut() {
                    uses.caller |= &*name == "caller";
                    uses.varargs |= &*name == "varargs";
                    uses.kwargs |= &*name == "kwargs";
                }
                over(Kind::Name(name), 0)
            }
            Token::Str(_) => {
                let mut joined = String::new();
                while let Token::Str(text) = self.peek() {
                    joined.push_str(text);
                    self.skip();
                }
                constant(PyValue::text(&joined)?)
            }
            Token::Int(value) => {
                let value = PyValue::Int(*value);
                self.skip();
                constant(value)
            }
            Token::Float(value) => {
                let value = PyValue::Float(*value);
                self.skip();
                constant(value)
            }
            Token::Operator("(") => {
                self.skip();
                if self.take_operator(")") {
                    return over(Kind::Tuple(Vec::new()), 0);
                }
                let inner = self.tuple(true)?;
                self.expect_operator(")")?;
                Ok(inner)
            }
            Token::Operator("[") => {
                self.skip();
                let mut items = Vec::new();
                while !self.is_operator("]") {
                    items.push(self.expression()?);
                    if !self.take_operator(",") {
                        break;
                    }
                }
                self.expect_operator("]")?;
                let depth = deepest(&items);
                over(Kind::List(items), depth)
            }
            Token::Operator("{") => {
                self.skip();
                let mut entries = Vec::new();
                while !self.is_operator("}") {
                    let key = self.expression()?;
                    self.expect_operator(":")?;
                    entries.push((key, self.expression()?));
                    if !self.take_operator(",") {
                        break;
                    }
                }
                self.expect_operator("}")?;
                let depth = deepest(entries.iter().flat_map(|(key, value)| [key, value]));
                over(Kind::Dict(entries), depth)
            }
            _ => fault(format!("expected an expression, found {}", self.found())),
        }
    }

    fn postfix(&mut self, mut value: Expr) -> Bounded<Expr> {
        loop {
            if self.take_operator(".") {
                value = match self.peek() {
                    Token::Int(index) => {
                        let index = over(Kind::Constant(PyValue::Int(*index)), 0)?;
                        self.skip();
                        two(value, index, Kind::Item)?
                    }
                    _ => {
                        let name = PyValue::text(&self.name()?)?;
                        one(value, |value| Kind::Attribute(value, name))?
                    }
                };
            } else if self.take_operator("[") {
                value = self.subscript(value)?;
            } else if self.is_operator("(") {
                value = self.call(value)?;
            } else {
                return Ok(value);
            }
        }
    }

    fn subscript(&mut self, value: Expr) -> Bounded<Expr> {
        let mut parts = [None, None, None];
        let mut colons = 0;
        while !self.take_operator("]") {
            if self.take_operator(":") {
                colons += 1;
                continue;
            }
            match parts.get_mut(colons) {
                Some(part @ None) => *part = Some(self.tuple(true)?),
                _ => return fault(format!("expected \"]\", found {}", self.found())),
            }
        }
        if colons == 0 {
            let [Some(index), ..] = parts else {
                return fault("expected an index, found \"]\"");
            };
            return two(value, index, Kind::Item);
        }
        let depth = value.depth.max(deepest(parts.iter().flatten()));
        over(Kind::Slice(Box::new(value), Box::new(parts)), depth)
    }

    fn call(&mut self, value: Expr) -> Bounded<Expr> {
        let arguments = self.arguments()?;
        let depth = value.depth.max(arguments.depth());
        over(Kind::Call(Box::new(value), arguments), depth)
    }

    fn arguments(&mut self) -> Bounded<CallArguments> {
        self.expect_operator("(")?;
        let mut arguments = CallArguments::default();
        while !self.is_operator(")") {
            if self.take_operator("*") {
                arguments.more = Some(Box::new(self.expression()?));
            } else if self.take_operator("**") {
                arguments.more_named = Some(Box::new(self.expression()?));
            } else if matches!(self.peek(), Token::Name(_))
                && *self.ahead(1) == Token::Operator("=")
            {
                let name = self.name()?;
                self.skip();
                arguments.named.push((name, self.expression()?));
            } else if arguments.named.is_empty() && arguments.more.is_none() {
                arguments.plain.push(self.expression()?);
            } else {
                return fault("an argument without a name stands behind one with");
            }
            if !self.take_operator(",") {
                break;
            }
        }
        self.expect_operator(")")?;
        Ok(arguments)
    }

    fn arguments_if_any(&mut self) -> Bounded<CallArguments> {
        match self.is_operator("(") {
            true => self.arguments(),
            false => Ok(CallArguments::default()),
        }
    }

    fn filter_chain(&mut self, mut value: Expr) -> Bounded<Expr> {
        loop {
            if self.is_operator("|") {
                value = self.filters(value, false)?;
            } else if self.take_name("is") {
                value = self.test(value)?;
            } else if self.is_operator("(") {
                value = self.call(value)?;
            } else {
                return Ok(value);
            }
        }
    }

    /// The filters that follow; `first` may stand without its `|`.
    pub(super) fn filters(&mut self, mut value: Expr, mut first: bool) -> Bounded<Expr> {
        while first || self.take_operator("|") {
            first = false;
            let name = self.dotted_name()?;
            let arguments = self.arguments_if_any()?;
            let depth = value.depth.max(arguments.depth());
            value = over(Kind::Filter(Box::new(value), name, arguments), depth)?;
        }
        Ok(value)
    }

    fn dotted_name(&mut self) -> Bounded<Rc<str>> {
        let first = self.name()?;
        if !self.is_operator(".") {
            return Ok(first);
        }
        let mut name = first.to_string();
        while self.take_operator(".") {
            name.push('.');
            name.push_str(&self.name()?);
        }
        Ok(name.into())
    }

    fn test(&mut self, value: Expr) -> Bounded<Expr> {
        let negated = self.take_name("not");
        let name = self.dotted_name()?;
        let bracketed = self.is_operator("(");
        let mut arguments = self.arguments_if_any()?;
        let argument = !bracketed
            && match self.peek() {
                Token::Name(name) => !matches!(&**name, "else" | "or" | "and"),
                Token::Str(_) | Token::Int(_) | Token::Float(_) => true,
                Token::Operator(operator) => matches!(*operator, "[" | "{"),
                _ => false,
            };
        // `x is a if b` asks for a test with an argument in jinja2 as well.
        if argument {
            if self.is_name("is") {
                return fault("tests with \"is\" do not chain");
            }
            let operand = self.primary()?;
            arguments.plain.push(self.postfix(operand)?);
        }
        let depth = value.depth.max(arguments.depth());
        let test = over(Kind::Test(Box::new(value), name, arguments), depth)?;
        match negated {
            true => one(test, Kind::Not),
            false => Ok(test),
        }
    }
}
