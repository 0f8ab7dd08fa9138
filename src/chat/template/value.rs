//! What a template computes with: Python's values, as far as templates see them. Lists and
//! dictionaries never change (transformers' sandbox forbids it), so they are shared, and contain
//! nothing that contains them. Namespaces do change: the renderer empties them at its end.

use super::budget::{Bounded, Charge, TextWriter, fault, walk};
use super::syntax::MacroNode;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Lists in lists: what walks a value recurses so deep.
const DEPTH: u16 = 200;
/// What a list's entry takes, with what it may own that is not charged by itself.
const ENTRY_LEN: usize = 96;

#[derive(Clone)]
pub(super) enum PyValue {
    /// With what is said when it is used.
    Undefined(Rc<str>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Rc<PyText>),
    List(Rc<List>),
    Dict(Rc<Dict>),
    /// A generator: its entries come once.
    Iterator(Rc<Iterator>),
    /// What `cycler(…)` makes: its entries come again and again.
    Cycler(Rc<Iterator>),
    /// What `joiner(…)` makes: its first entry, nothing, and ever after the second.
    Joiner(Rc<Iterator>),
    Namespace(Rc<Namespace>),
    Loop(Rc<Loop>),
    Macro(Rc<Macro>),
    /// Bound to its value.
    Method(Rc<(PyValue, &'static str)>),
    Function(&'static str),
}

pub(super) struct PyText {
    text: String,
    /// Whether `safe` or `escape` made it: what is added to it is escaped.
    safe: bool,
    _charge: Charge,
}

/// What Python knows a list as: they differ in how they are written, and compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ListKind {
    List,
    Tuple,
    /// A tuple whose parts have names as well: what `groupby` makes.
    Group,
    Range,
    Keys,
    Values,
    Items,
}

impl ListKind {
    pub(super) fn is_tuple(self) -> bool {
        matches!(self, ListKind::Tuple | ListKind::Group)
    }

    /// Whether its entries have numbers.
    pub(super) fn is_indexed(self) -> bool {
        self.is_sequence() || self == ListKind::Range
    }

    /// Whether it has an order by its entries.
    pub(super) fn is_sequence(self) -> bool {
        self == ListKind::List || self.is_tuple()
    }
}

pub(super) struct List {
    pub(super) kind: ListKind,
    pub(super) items: Vec<PyValue>,
    depth: u16,
    /// Whether it may be a key: seen once, when it is made, since parts may be shared many times.
    hashable: bool,
    _charge: Charge,
}

pub(super) struct Dict {
    pub(super) entries: Vec<(PyValue, PyValue)>,
    depth: u16,
    _charge: Charge,
}

pub(super) struct Iterator {
    items: Rc<List>,
    next: Cell<usize>,
}

/// What `namespace()` makes.
pub(super) struct Namespace {
    pub(super) attributes: RefCell<Vec<(Rc<str>, PyValue)>>,
    _charge: Charge,
}

/// The variable `loop`.
pub(super) struct Loop {
    pub(super) items: Rc<List>,
    pub(super) index: Cell<usize>,
    pub(super) level: usize,
    /// What `loop.changed` saw last.
    pub(super) seen: RefCell<Option<PyValue>>,
    /// Which recursive loop it is of.
    pub(super) recursive: Option<(Rc<super::syntax::For>, usize)>,
}

pub(super) struct Macro {
    pub(super) node: Rc<MacroNode>,
    /// The frame it was written in: its place and its number.
    pub(super) frame: (usize, u64),
}

impl PyValue {
    pub(super) fn text(text: &str) -> Bounded<PyValue> {
        let mut writer = TextWriter::new();
        writer.push(text)?;
        writer.finish()
    }

    pub(super) fn list(kind: ListKind, items: Vec<PyValue>) -> Bounded<PyValue> {
        Ok(PyValue::List(List::new(kind, items)?))
    }

    /// Of entries whose keys differ.
    pub(super) fn dict(entries: Vec<(PyValue, PyValue)>) -> Bounded<PyValue> {
        let depth = entries
            .iter()
            .map(|(key, value)| key.depth().max(value.depth()));
        Ok(PyValue::Dict(Rc::new(Dict {
            depth: deeper(depth)?,
            _charge: Charge::new((2 * entries.len() + 1) * ENTRY_LEN)?,
            entries,
        })))
    }

    pub(super) fn iterator(items: Vec<PyValue>) -> Bounded<PyValue> {
        Ok(PyValue::Iterator(Iterator::new(items)?))
    }

    pub(super) fn undefined(what: impl Into<String>) -> PyValue {
        PyValue::Undefined(Rc::from(what.into()))
    }

    pub(super) fn is_safe(&self) -> bool {
        matches!(self, PyValue::Str(text) if text.safe)
    }

    /// A text, as one that `safe` made.
    pub(super) fn into_safe(self) -> Bounded<PyValue> {
        match &self {
            PyValue::Str(text) if !text.safe => Ok(PyValue::Str(Rc::new(PyText {
                _charge: Charge::new(text.text.len() + ENTRY_LEN)?,
                text: text.text.clone(),
                safe: true,
            }))),
            _ => Ok(self),
        }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            PyValue::Str(text) => Some(&text.text),
            _ => None,
        }
    }

    pub(super) fn is_hashable(&self) -> bool {
        match self {
            PyValue::List(list) => list.hashable,
            PyValue::Dict(_) => false,
            _ => true,
        }
    }

    fn depth(&self) -> u16 {
        match self {
            PyValue::List(list) => list.depth,
            PyValue::Dict(dict) => dict.depth,
            PyValue::Iterator(iterator) | PyValue::Cycler(iterator) | PyValue::Joiner(iterator) => {
                iterator.items.depth.saturating_add(1)
            }
            PyValue::Loop(state) => state.items.depth.saturating_add(1),
            PyValue::Method(bound) => bound.0.depth().saturating_add(1),
            _ => 0,
        }
    }
}

fn deeper(of: impl std::iter::Iterator<Item = u16>) -> Bounded<u16> {
    match of.max().unwrap_or_default().saturating_add(1) {
        depth if depth > DEPTH => fault(format!("values are nested more than {DEPTH} deep")),
        depth => Ok(depth),
    }
}

impl Namespace {
    pub(super) fn new(attributes: Vec<(Rc<str>, PyValue)>) -> Bounded<Rc<Namespace>> {
        Ok(Rc::new(Namespace {
            _charge: Charge::new((2 * attributes.len() + 8) * ENTRY_LEN)?,
            attributes: RefCell::new(attributes),
        }))
    }

    pub(super) fn attribute(&self, name: &str) -> Bounded<Option<PyValue>> {
        let attributes = self.attributes.borrow();
        walk(attributes.len())?;
        let found = attributes.iter().find(|(known, _)| **known == *name);
        Ok(found.map(|(_, value)| value.clone()))
    }

    pub(super) fn set(&self, name: &Rc<str>, value: PyValue) -> Bounded<()> {
        let mut attributes = self.attributes.borrow_mut();
        walk(attributes.len())?;
        match attributes.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => attributes.push((name.clone(), value)),
        }
        Ok(())
    }
}

impl List {
    pub(super) fn new(kind: ListKind, items: Vec<PyValue>) -> Bounded<Rc<List>> {
        Ok(Rc::new(List {
            kind,
            depth: deeper(items.iter().map(PyValue::depth))?,
            hashable: kind.is_indexed()
                && kind != ListKind::List
                && items.iter().all(PyValue::is_hashable),
            _charge: Charge::new((items.len() + 1) * ENTRY_LEN)?,
            items,
        }))
    }
}

impl Iterator {
    pub(super) fn new(items: Vec<PyValue>) -> Bounded<Rc<Iterator>> {
        Ok(Rc::new(Iterator {
            items: List::new(ListKind::List, items)?,
            next: Cell::new(0),
        }))
    }

    /// What comes next, without taking it.
    pub(super) fn current(&self) -> Option<PyValue> {
        self.items.items.get(self.next.get()).cloned()
    }

    pub(super) fn last(&self) -> Option<PyValue> {
        self.items.items.last().cloned()
    }

    /// What comes next, and after the last the first.
    pub(super) fn cycle(&self) -> Option<PyValue> {
        let value = self.next();
        if self.current().is_none() {
            self.reset();
        }
        value
    }

    pub(super) fn reset(&self) {
        self.next.set(0);
    }

    /// What has not come yet; from now on nothing does.
    pub(super) fn take(&self) -> Vec<PyValue> {
        let next = self.next.replace(usize::MAX);
        let rest = self.items.items.get(next..);
        rest.map(<[PyValue]>::to_vec).unwrap_or_default()
    }

    pub(super) fn next(&self) -> Option<PyValue> {
        let value = self.current()?;
        self.next.set(self.next.get() + 1);
        Some(value)
    }
}

impl TextWriter {
    pub(super) fn finish(self) -> Bounded<PyValue> {
        let (text, mut charge) = self.into_parts();
        charge.grow(ENTRY_LEN)?;
        Ok(PyValue::Str(Rc::new(PyText {
            text,
            safe: false,
            _charge: charge,
        })))
    }
}
