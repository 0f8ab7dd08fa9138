//! How a checkpoint's tensor names become canonical ones.

/// How a stored tensor is to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// As stored.
    Plain,
    /// Stored `[in, out]` (GPT-2's Conv1D); seen as `[out, in]`. Of a stack, each matrix is.
    Transposed,
    /// Stored `[in, heads, dim]` (XLNet); seen as `[heads·dim, in]`.
    HeadsTransposed,
    /// Stored `[out, heads, dim]`; seen as `[out, heads·dim]`.
    HeadsJoined,
    /// A small parameter stored as ln(−A) (Mamba's `A_log`); seen as A = −eˣ.
    NegativeExp,
    /// A norm's weight stored as its distance from one (Gemma); seen as 1 + w.
    PlusOne,
    /// A share stored as what it leaves (RWKV-4's mixes); seen as 1 − w.
    OneMinus,
}

/// One line of an architecture's table. `{i}` stands for a layer's number; `{j}` for one within a
/// group of layers; `{e}` for an expert's, whose tensors become the parts of one stack, in order; `*`
/// at the end for `weight` and for `bias`.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// The checkpoint's name.
    pub from: &'static str,
    /// The canonical name.
    pub to: &'static str,
    /// How it is stored.
    pub view: View,
    /// Which part of the canonical tensor it is, where several make it up, in order.
    pub part: Option<u32>,
}

impl Name {
    /// A tensor that is stored as it is used.
    pub const fn plain(from: &'static str, to: &'static str) -> Name {
        Name {
            from,
            to,
            view: View::Plain,
            part: None,
        }
    }

    /// What it calls the tensor of a canonical name, if it is of this form, with `{e}` where an expert's
    /// number stands.
    pub fn spelled(&self, canonical: &str) -> Option<String> {
        Some(matches(self.to, canonical)?.fill(self.from))
    }

    /// If `name` is of this form: its canonical name and, where it is one of several parts, its
    /// number: the expert's, say.
    pub fn apply(&self, name: &str) -> Option<(String, Option<u32>)> {
        let found = matches(self.from, name)?;
        Some((found.fill(self.to), found.expert.or(self.part)))
    }
}

/// What a checkpoint calls the tensor of a canonical name and how it stores it, as far as the
/// table knows. Of several spellings, as they are or without what `bare` takes off, one that begins
/// as `known` says the checkpoint's names do.
pub fn spelling(
    names: &[&[Name]],
    canonical: &str,
    bare: impl Fn(&str) -> &str,
    known: impl Fn(&str) -> bool,
) -> Option<(String, View)> {
    let mut first = None;
    let lines = names.iter().copied().flatten();
    for (spelled, line) in lines.filter_map(|line| Some((line.spelled(canonical)?, line))) {
        let (spelled, view) = (spelled.replace("{e}", "0"), line.view);
        for spelled in [spelled.as_str(), bare(&spelled)] {
            if spelled.split('.').next().is_some_and(&known) {
                return Some((spelled.to_string(), view));
            }
        }
        first.get_or_insert((spelled, view));
    }
    first
}

/// Whether `name` is of the form `pattern`.
pub fn fits(pattern: &str, name: &str) -> bool {
    matches(pattern, name).is_some()
}

/// What stands in a name where its pattern has a place.
struct Places<'a> {
    layer: Option<u32>,
    inner: Option<u32>,
    expert: Option<u32>,
    parameter: &'a str,
}

impl Places<'_> {
    /// Another pattern with the same layers and parameter in its places.
    fn fill(&self, pattern: &str) -> String {
        let mut filled = pattern.replace('*', self.parameter);
        for (place, number) in [("{i}", self.layer), ("{j}", self.inner)] {
            if let Some(number) = number {
                filled = filled.replace(place, &number.to_string());
            }
        }
        filled
    }
}

/// The parameters of a module that `*` stands for.
const PARAMETERS: [&str; 2] = ["weight", "bias"];

/// What stands in the places of `pattern`, if `name` is of that form.
fn matches<'a>(pattern: &str, name: &'a str) -> Option<Places<'a>> {
    let mut places = Places {
        layer: None,
        inner: None,
        expert: None,
        parameter: "",
    };
    let (mut rest, mut pattern) = (name, pattern);
    if let Some(module) = pattern.strip_suffix('*') {
        let mut parameters = PARAMETERS.iter();
        let begin = parameters.find_map(|parameter| name.strip_suffix(parameter))?;
        places.parameter = &name[begin.len()..];
        (rest, pattern) = (begin, module);
    }
    while let Some(open) = pattern.find('{') {
        rest = rest.strip_prefix(&pattern[..open])?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        // One spelling per number: "007" would name the same layer twice.
        if number.len() > 1 && number.starts_with('0') {
            return None;
        }
        let number = number.parse().ok()?;
        match &pattern[open..open + 3] {
            "{i}" => places.layer = Some(number),
            "{j}" => places.inner = Some(number),
            _ => places.expert = Some(number),
        }
        rest = after;
        pattern = &pattern[open + 3..];
    }
    (rest == pattern).then_some(places)
}
