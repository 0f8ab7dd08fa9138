//! What a template's expressions come to, and the functions they may call.

use super::arguments::{Given, text};
use super::budget::{Bounded, Halt, TextWriter, fault, shown, spend};
use super::python::defined;
use super::render::Renderer;
use super::syntax::{Expr, Kind};
use super::value::{Iterator as PyIterator, ListKind, PyValue};
use super::write::type_name;
use super::{clock, filters, lookup, methods, predicates};
use std::rc::Rc;

/// The largest range, as in jinja2's sandbox.
const RANGE: i128 = 100_000;

const FUNCTIONS: &[&str] = &[
    "range",
    "dict",
    "namespace",
    "raise_exception",
    "strftime_now",
    "cycler",
    "joiner",
    "lipsum",
];

impl Renderer {
    pub(super) fn evaluate(&mut self, expression: &Expr) -> Bounded<PyValue> {
        spend(1)?;
        match &expression.kind {
            Kind::Constant(value) => Ok(value.clone()),
            Kind::Name(name) => Ok(self.variable(name)?.unwrap_or_else(|| {
                let function = FUNCTIONS.iter().find(|known| ***known == **name);
                let undefined = || PyValue::undefined(format!("{:?} is undefined", shown(name)));
                function.map_or_else(undefined, |name| PyValue::Function(name))
            })),
            Kind::Body => Ok(self.filtered.clone().unwrap_or(PyValue::None)),
            _ => self.nested(|renderer| renderer.compute(&expression.kind)),
        }
    }

    fn all(&mut self, expressions: &[Expr]) -> Bounded<Vec<PyValue>> {
        expressions
            .iter()
            .map(|expression| self.evaluate(expression))
            .collect()
    }

    fn compute(&mut self, kind: &Kind) -> Bounded<PyValue> {
        match kind {
            Kind::List(items) => PyValue::list(ListKind::List, self.all(items)?),
            Kind::Tuple(items) => PyValue::list(ListKind::Tuple, self.all(items)?),
            Kind::Dict(pairs) => {
                let mut entries = Vec::new();
                for (key, value) in pairs {
                    let key = self.evaluate(key)?;
                    insert(&mut entries, key, self.evaluate(value)?)?;
                }
                PyValue::dict(entries)
            }
            Kind::Attribute(value, name) => lookup::attribute(&self.evaluate(value)?, name),
            Kind::Item(value, key) => {
                let value = self.evaluate(value)?;
                lookup::item(&value, &self.evaluate(key)?)
            }
            Kind::Slice(value, bounds) => {
                let value = self.evaluate(value)?;
                let mut places = [None; 3];
                for (place, bound) in places.iter_mut().zip(bounds.iter()) {
                    if let Some(bound) = bound {
                        *place = match self.evaluate(bound)? {
                            PyValue::None => None,
                            bound => Some(bound.index()?),
                        };
                    }
                }
                value.slice(places)
            }
            Kind::Call(..) => self.call(kind, None),
            Kind::Filter(value, name, arguments) => {
                let value = self.evaluate(value)?;
                let given = self.given(arguments)?;
                filters::apply(name, value, given)
            }
            Kind::Test(value, name, arguments) => {
                let value = self.evaluate(value)?;
                let given = self.given(arguments)?;
                predicates::test(name, &value, given).map(PyValue::Bool)
            }
            Kind::Not(value) => Ok(PyValue::Bool(!self.evaluate(value)?.is_true())),
            Kind::Negative(value) => self.evaluate(value)?.negated(),
            Kind::Positive(value) => match self.evaluate(value)? {
                value @ PyValue::Float(_) => Ok(value),
                value => PyValue::Int(0).arithmetic("+", &value),
            },
            Kind::And(left, right) => {
                let left = self.evaluate(left)?;
                if left.is_true() {
                    self.evaluate(right)
                } else {
                    Ok(left)
                }
            }
            Kind::Or(left, right) => {
                let left = self.evaluate(left)?;
                if left.is_true() {
                    Ok(left)
                } else {
                    self.evaluate(right)
                }
            }
            Kind::Arithmetic(operator, left, right) => {
                let left = self.evaluate(left)?;
                left.arithmetic(operator, &self.evaluate(right)?)
            }
            Kind::Concat(parts) => {
                let mut writer = TextWriter::new();
                for part in self.all(parts)? {
                    writer.push_value(&part)?;
                }
                writer.finish()
            }
            Kind::Compare(first, others) => {
                let mut left = self.evaluate(first)?;
                for (operator, other) in others {
                    let right = self.evaluate(other)?;
                    if !left.compare(operator, &right)? {
                        return Ok(PyValue::Bool(false));
                    }
                    left = right;
                }
                Ok(PyValue::Bool(true))
            }
            Kind::If(condition, value, otherwise) => match self.evaluate(condition)?.is_true() {
                true => self.evaluate(value),
                false => match otherwise {
                    Some(otherwise) => self.evaluate(otherwise),
                    None => Ok(PyValue::undefined(
                        "an if without an else has no value here",
                    )),
                },
            },
            Kind::Constant(_) | Kind::Name(_) | Kind::Body => fault("an expression of no kind"),
        }
    }

    /// A call that hands over a block, if there is one.
    pub(super) fn call_with(&mut self, call: &Expr, caller: Option<PyValue>) -> Bounded<PyValue> {
        self.nested(|renderer| renderer.call(&call.kind, caller))
    }

    fn call(&mut self, kind: &Kind, caller: Option<PyValue>) -> Bounded<PyValue> {
        let Kind::Call(function, arguments) = kind else {
            return fault("expected a call");
        };
        let function = self.evaluate(function)?;
        let mut given = self.given(arguments)?;
        given
            .named
            .extend(caller.map(|caller| (Rc::from("caller"), caller)));
        match &function {
            PyValue::Macro(called) => self.call_macro(called, given),
            PyValue::Method(bound) => match (&bound.0, bound.1) {
                (PyValue::Loop(state), "cycle") => match given.plain.len() {
                    0 => fault("cycle takes values"),
                    len => Ok(given.plain.swap_remove(state.index.get() % len)),
                },
                (PyValue::Loop(state), _) => {
                    let now = PyValue::list(ListKind::Tuple, given.plain)?;
                    let before = state.seen.replace(Some(now.clone()));
                    let same = before.map_or(Ok(false), |before| before.equals(&now))?;
                    Ok(PyValue::Bool(!same))
                }
                (value, name) => methods::call(value, name, given),
            },
            PyValue::Loop(state) => self.call_loop(state, given),
            PyValue::Function(name) => self.function(name, given),
            PyValue::Joiner(joiner) => {
                let [] = given.of("a joiner", [])?;
                match joiner.next() {
                    Some(nothing) => Ok(nothing),
                    None => Ok(joiner.last().unwrap_or(PyValue::None)),
                }
            }
            PyValue::Undefined(what) => fault(&**what),
            _ => fault(format!(
                "a value of type {} cannot be called",
                type_name(&function)
            )),
        }
    }

    fn function(&mut self, name: &str, given: Given) -> Bounded<PyValue> {
        match name {
            "range" => range(given),
            "namespace" => {
                let mut attributes = Vec::new();
                for (name, value) in entries(given)? {
                    attributes.push((Rc::from(name.as_str().unwrap_or_default()), value));
                }
                self.namespace(attributes)
            }
            "dict" => PyValue::dict(entries(given)?),
            "raise_exception" => {
                let [message] = given.of(name, ["message"])?;
                let what = message.unwrap_or(PyValue::None).to_text()?;
                Err(Halt {
                    refused: true,
                    what: what.as_str().unwrap_or_default().to_string(),
                })
            }
            "cycler" if given.plain.is_empty() => fault("cycler takes values"),
            "cycler" => Ok(PyValue::Cycler(PyIterator::new(given.plain)?)),
            "joiner" => {
                let [separator] = given.of(name, ["sep"])?;
                let separator = separator.map_or_else(|| PyValue::text(", "), Ok)?;
                let items = vec![PyValue::text("")?, separator];
                Ok(PyValue::Joiner(PyIterator::new(items)?))
            }
            "lipsum" => fault("lipsum() is not supported: its text differs each time"),
            _ => {
                let [format] = given.of(name, ["format"])?;
                clock::now(text(&format, name)?)
            }
        }
    }
}

/// Puts a value under a key, in the place of one that was there.
pub(super) fn insert(
    entries: &mut Vec<(PyValue, PyValue)>,
    key: PyValue,
    value: PyValue,
) -> Bounded<()> {
    if !key.is_hashable() {
        return fault(format!(
            "a value of type {} is no key of a dict",
            type_name(&key)
        ));
    }
    for (known, old) in entries.iter_mut() {
        if known.equals(&key)? {
            *old = value;
            return Ok(());
        }
    }
    entries.push((key, value));
    Ok(())
}

/// What `dict(…)` is made of.
fn entries(given: Given) -> Bounded<Vec<(PyValue, PyValue)>> {
    let mut entries = Vec::new();
    match given.plain.first() {
        None => {}
        Some(PyValue::Dict(dict)) => entries.extend(dict.entries.iter().cloned()),
        Some(pairs) => {
            defined(pairs)?;
            for pair in &pairs.items()?.items {
                let pair = pair.items()?;
                let [key, value] = &pair.items[..] else {
                    return fault("dict takes pairs");
                };
                insert(&mut entries, key.clone(), value.clone())?;
            }
        }
    }
    for (name, value) in given.named {
        insert(&mut entries, PyValue::text(&name)?, value)?;
    }
    Ok(entries)
}

fn range(given: Given) -> Bounded<PyValue> {
    let bounds = given
        .plain
        .iter()
        .map(PyValue::index)
        .collect::<Bounded<Vec<i128>>>()?;
    let (from, to, step) = match bounds[..] {
        [to] => (0, to, 1),
        [from, to] => (from, to, 1),
        [from, to, step] if step != 0 => (from, to, step),
        _ => {
            return fault(
                "range takes an end; a start and an end; or a step that is not zero as well",
            );
        }
    };
    let mut values = Vec::new();
    let mut at = from;
    while if step > 0 { at < to } else { at > to } {
        if values.len() as i128 == RANGE {
            return fault(format!("a range of more than {RANGE}"));
        }
        values.push(PyValue::Int(at));
        at = at.saturating_add(step);
    }
    PyValue::list(ListKind::Range, values)
}
