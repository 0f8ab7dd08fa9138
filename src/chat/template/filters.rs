//! jinja2's filters, and transformers' `tojson`.

use super::arguments::{Given, count, flag, text};
use super::budget::{Bounded, Charge, TextWriter, fault, look_closely};
use super::python::defined;
use super::value::{ListKind, PyValue};
use super::write::type_name;
use super::{lookup, methods, numbers, predicates};
use std::cmp::Ordering;

/// All that [`apply`] knows.
pub(super) const NAMES: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "filesizeformat",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "random",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "striptags",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "urlize",
    "wordcount",
    "wordwrap",
    "xmlattr",
];

/// A filter and its arguments, for `map`: more than any takes.
const MAP_ARGUMENTS: usize = 20;

/// `value | name(given)`
pub(super) fn apply(name: &str, value: PyValue, given: Given) -> Bounded<PyValue> {
    match name {
        "default" | "d" => {
            let [default, boolean] = given.of(name, ["default_value", "boolean"])?;
            let absent =
                matches!(value, PyValue::Undefined(_)) || flag(&boolean, false) && !value.is_true();
            match absent {
                true => default.map_or_else(|| PyValue::text(""), Ok),
                false => Ok(value),
            }
        }
        "tojson" => super::text_filters::to_json(&value, given),
        "length" | "count" => Ok(PyValue::Int(value.len()? as i128)),
        "first" => match &value {
            PyValue::Iterator(iterator) => Ok(iterator.next().unwrap_or_else(none_first)),
            _ => Ok(value
                .items()?
                .items
                .first()
                .cloned()
                .unwrap_or_else(none_first)),
        },
        "last" => match &value {
            PyValue::Iterator(_) => fault("a generator has no last value"),
            _ => {
                let last = value.items()?.items.last().cloned();
                Ok(last.unwrap_or_else(|| {
                    PyValue::undefined("the sequence is empty, it has no last value")
                }))
            }
        },
        "list" => PyValue::list(ListKind::List, value.items()?.items.clone()),
        "items" => match value {
            PyValue::Undefined(_) => PyValue::iterator(Vec::new()),
            _ => PyValue::iterator(methods::items(&value)?.items()?.items.clone()),
        },
        "map" => map(&value, given),
        "select" | "reject" | "selectattr" | "rejectattr" => select(name, &value, given),
        "attr" => {
            let [attribute] = given.of(name, ["name"])?;
            lookup::own(&value, text(&attribute, name)?)
        }
        "join" => {
            let [separator, attribute] = given.of(name, ["d", "attribute"])?;
            let separator =
                separator.map_or_else(|| PyValue::text(""), |separator| separator.to_text())?;
            let path = Path::of(attribute);
            let mut writer = TextWriter::new();
            for (place, item) in value.items()?.items.iter().enumerate() {
                if place > 0 {
                    writer.push_value(&separator)?;
                }
                writer.push_value(&path.follow(item)?)?;
            }
            writer.finish()
        }
        "dictsort" => {
            let [case, by, reverse] = given.of(name, ["case_sensitive", "by", "reverse"])?;
            let place = match by.as_ref().and_then(PyValue::as_str) {
                None | Some("key") => 0,
                Some("value") => 1,
                Some(_) => return fault("dictsort goes by \"key\" or \"value\""),
            };
            let mut items = methods::items(&value)?.items()?.items.clone();
            let case = flag(&case, false);
            sort_values(&mut items, flag(&reverse, false), |item| {
                folded(
                    item.item(&PyValue::Int(place))?.unwrap_or(PyValue::None),
                    case,
                )
            })?;
            PyValue::list(ListKind::List, items)
        }
        "sort" => {
            let [reverse, case, attribute] =
                given.of(name, ["reverse", "case_sensitive", "attribute"])?;
            let case = flag(&case, false);
            let paths: Vec<Path> = match attribute.as_ref().and_then(PyValue::as_str) {
                Some(several) => several
                    .split(',')
                    .map(|path| Path::parse(path.trim()))
                    .collect(),
                None => vec![Path::of(attribute)],
            };
            let mut items = value.items()?.items.clone();
            sort_values(&mut items, flag(&reverse, false), |item| {
                let keys = paths.iter().map(|path| folded(path.follow(item)?, case));
                PyValue::list(ListKind::Tuple, keys.collect::<Bounded<Vec<PyValue>>>()?)
            })?;
            PyValue::list(ListKind::List, items)
        }
        "unique" => {
            let [case, attribute] = given.of(name, ["case_sensitive", "attribute"])?;
            let path = Path::of(attribute);
            let (mut seen, mut kept) = (Vec::new(), Vec::new());
            for item in &value.items()?.items {
                let key = folded(path.follow(item)?, flag(&case, false))?;
                if !key.is_hashable() {
                    return fault(format!("unique does not take {}", type_name(&key)));
                }
                if !contains(&seen, &key)? {
                    seen.push(key);
                    kept.push(item.clone());
                }
            }
            PyValue::iterator(kept)
        }
        "groupby" => {
            let [attribute, default, case] =
                given.of(name, ["attribute", "default", "case_sensitive"])?;
            let case = flag(&case, false);
            let path = Path {
                default,
                ..Path::of(attribute)
            };
            let mut items = value.items()?.items.clone();
            sort_values(&mut items, false, |item| folded(path.follow(item)?, case))?;
            let mut groups: Vec<(PyValue, Vec<PyValue>)> = Vec::new();
            for item in items {
                let key = path.follow(&item)?;
                match groups.last_mut() {
                    Some((last, group))
                        if folded(last.clone(), case)?.equals(&folded(key.clone(), case)?)? =>
                    {
                        group.push(item)
                    }
                    _ => groups.push((key, vec![item])),
                }
            }
            let groups = groups.into_iter().map(|(key, group)| {
                PyValue::list(
                    ListKind::Group,
                    vec![key, PyValue::list(ListKind::List, group)?],
                )
            });
            PyValue::list(ListKind::List, groups.collect::<Bounded<Vec<PyValue>>>()?)
        }
        "min" | "max" => {
            let [case, attribute] = given.of(name, ["case_sensitive", "attribute"])?;
            let path = Path::of(attribute);
            let mut best: Option<(PyValue, PyValue)> = None;
            for item in &value.items()?.items {
                let key = folded(path.follow(item)?, flag(&case, false))?;
                let wanted = if name == "min" {
                    Ordering::Less
                } else {
                    Ordering::Greater
                };
                let better = match &best {
                    Some((known, _)) => {
                        key.order(known, if name == "min" { "<" } else { ">" })? == Some(wanted)
                    }
                    None => true,
                };
                if better {
                    best = Some((key, item.clone()));
                }
            }
            Ok(best.map_or_else(
                || PyValue::undefined("the sequence is empty"),
                |(_, item)| item,
            ))
        }
        "sum" => {
            let [attribute, start] = given.of(name, ["attribute", "start"])?;
            let path = Path::of(attribute);
            let mut sum = start.unwrap_or(PyValue::Int(0));
            for item in &value.items()?.items {
                sum = sum.arithmetic("+", &path.follow(item)?)?;
            }
            Ok(sum)
        }
        "reverse" => match &value {
            PyValue::Str(_) => value.slice([None, None, Some(-1)]),
            _ => PyValue::iterator(value.items()?.items.iter().rev().cloned().collect()),
        },
        "batch" => {
            let [size, filling] = given.of(name, ["linecount", "fill_with"])?;
            let size = count(&size, 0)?;
            let mut batches = Vec::new();
            let items = value.items()?;
            for chunk in items.items.chunks(size.max(1)) {
                let mut chunk = chunk.to_vec();
                if let Some(filling) = filling
                    .as_ref()
                    .filter(|value| !matches!(value, PyValue::None))
                {
                    drop(Charge::new(size.saturating_mul(96))?);
                    chunk.resize(size, filling.clone());
                }
                batches.push(PyValue::list(ListKind::List, chunk)?);
            }
            PyValue::iterator(batches)
        }
        "slice" => {
            let [slices, filling] = given.of(name, ["slices", "fill_with"])?;
            let slices = count(&slices, 0)?;
            drop(Charge::new(slices.saturating_mul(96))?);
            let items = value.items()?;
            let mut rest = &items.items[..];
            let (each, extra) = match slices {
                0 => (0, 0),
                _ => (rest.len() / slices, rest.len() % slices),
            };
            let mut parts = Vec::new();
            for place in 0..slices {
                let len = each + usize::from(place < extra);
                let (part, others) = rest.split_at_checked(len).unwrap_or((rest, &[]));
                rest = others;
                let mut part = part.to_vec();
                if place >= extra {
                    part.extend(
                        filling
                            .clone()
                            .filter(|value| !matches!(value, PyValue::None)),
                    );
                }
                parts.push(PyValue::list(ListKind::List, part)?);
            }
            PyValue::iterator(parts)
        }
        "abs" => match &value {
            PyValue::Float(value) => Ok(PyValue::Float(value.abs())),
            _ if value.index()? < 0 => value.negated(),
            _ => Ok(PyValue::Int(value.index()?)),
        },
        "int" => numbers::to_int(&value, given),
        "float" => {
            let [default] = given.of(name, ["default"])?;
            defined(&value)?;
            let len = value.as_str().map_or(0, str::len);
            look_closely(len)?;
            let _charge = Charge::new(len)?;
            let parsed = value
                .as_str()
                .and_then(numbers::parse_float)
                .or(value.float());
            Ok(parsed.map_or_else(|| default.unwrap_or(PyValue::Float(0.0)), PyValue::Float))
        }
        "round" => numbers::round(&value, given),
        _ => super::text_filters::apply(name, value, given),
    }
}

fn none_first() -> PyValue {
    PyValue::undefined("the sequence is empty, it has no first value")
}

/// `"a.b.0"`: what to look up, one after the other.
struct Path {
    parts: Vec<PyValue>,
    default: Option<PyValue>,
}

impl Path {
    fn of(attribute: Option<PyValue>) -> Path {
        let parts = match attribute {
            None | Some(PyValue::None) => Vec::new(),
            Some(PyValue::Str(text)) => {
                return Path::parse(PyValue::Str(text).as_str().unwrap_or_default());
            }
            Some(other) => vec![other],
        };
        Path {
            parts,
            default: None,
        }
    }

    fn parse(text: &str) -> Path {
        let part = |part: &str| match part.bytes().all(|byte| byte.is_ascii_digit()) {
            true => part.parse().ok().map(PyValue::Int),
            false => PyValue::text(part).ok(),
        };
        Path {
            parts: text.split('.').filter_map(part).collect(),
            default: None,
        }
    }

    fn follow(&self, value: &PyValue) -> Bounded<PyValue> {
        let mut value = value.clone();
        for part in &self.parts {
            value = lookup::item(&value, part)?;
            if let (PyValue::Undefined(_), Some(default)) = (&value, &self.default) {
                value = default.clone();
            }
        }
        Ok(value)
    }
}

fn map(value: &PyValue, mut given: Given) -> Bounded<PyValue> {
    if !value.is_true() {
        return PyValue::iterator(Vec::new());
    }
    let items = value.items()?;
    if given.plain.is_empty() {
        let [attribute, default] = given.of("map", ["attribute", "default"])?;
        if attribute.is_none() {
            return fault("map lacks a filter or an attribute");
        }
        let path = Path {
            default,
            ..Path::of(attribute)
        };
        let mapped = items.items.iter().map(|item| path.follow(item));
        return PyValue::iterator(mapped.collect::<Bounded<Vec<PyValue>>>()?);
    }
    // A filter may be `map` again, with the arguments behind it.
    few(&given, "map")?;
    let name = Some(given.plain.remove(0));
    let name = text(&name, "map")?;
    let mapped = items.items.iter().map(|item| {
        let given = Given {
            plain: given.plain.clone(),
            named: given.named.clone(),
        };
        apply(name, item.clone(), given)
    });
    PyValue::iterator(mapped.collect::<Bounded<Vec<PyValue>>>()?)
}

/// Refuses arguments that would be copied for each item, if they are many.
fn few(given: &Given, name: &str) -> Bounded<()> {
    match given.plain.len().max(given.named.len()) > MAP_ARGUMENTS {
        true => fault(format!("{name} takes at most {MAP_ARGUMENTS} arguments")),
        false => Ok(()),
    }
}

fn select(name: &str, value: &PyValue, mut given: Given) -> Bounded<PyValue> {
    if !value.is_true() {
        return PyValue::iterator(Vec::new());
    }
    few(&given, name)?;
    let path = match name.ends_with("attr") {
        true if given.plain.is_empty() => return fault(format!("{name} lacks an attribute")),
        true => Path::of(Some(given.plain.remove(0))),
        false => Path::of(None),
    };
    let test = match given.plain.is_empty() {
        true => None,
        false => Some(given.plain.remove(0)),
    };
    let mut kept = Vec::new();
    for item in &value.items()?.items {
        let tested = path.follow(item)?;
        let passes = match &test {
            None => tested.is_true(),
            Some(_) => {
                let given = Given {
                    plain: given.plain.clone(),
                    named: given.named.clone(),
                };
                predicates::test(text(&test, name)?, &tested, given)?
            }
        };
        if passes == name.starts_with("select") {
            kept.push(item.clone());
        }
    }
    PyValue::iterator(kept)
}

/// A key of sorting: of texts, upper and lower case are the same unless asked for.
fn folded(value: PyValue, case_sensitive: bool) -> Bounded<PyValue> {
    match &value {
        PyValue::Str(_) if !case_sensitive => methods::call(&value, "lower", Given::default()),
        _ => Ok(value),
    }
}

fn contains(values: &[PyValue], wanted: &PyValue) -> Bounded<bool> {
    for value in values {
        if value.equals(wanted)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Sorts by keys that may fail to compare.
pub(super) fn sort<T>(items: &mut [T], key: impl Fn(&T) -> PyValue) -> Bounded<()> {
    let mut failed = None;
    items.sort_by(|left, right| {
        if failed.is_some() {
            return Ordering::Equal;
        }
        let order = key(left).order(&key(right), "<");
        order
            .unwrap_or_else(|halt| {
                failed = Some(halt);
                None
            })
            .unwrap_or(Ordering::Equal)
    });
    failed.map_or(Ok(()), Err)
}

fn sort_values(
    items: &mut Vec<PyValue>,
    reverse: bool,
    key: impl Fn(&PyValue) -> Bounded<PyValue>,
) -> Bounded<()> {
    let keyed = items.drain(..).map(|item| Ok((key(&item)?, item)));
    let mut keyed = keyed.collect::<Bounded<Vec<(PyValue, PyValue)>>>()?;
    // What is equal keeps its order, also from behind.
    if reverse {
        keyed.reverse();
    }
    sort(&mut keyed, |(key, _)| key.clone())?;
    if reverse {
        keyed.reverse();
    }
    items.extend(keyed.into_iter().map(|(_, item)| item));
    Ok(())
}
