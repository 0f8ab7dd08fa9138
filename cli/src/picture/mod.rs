//! A model as a picture: what it computes, layer by layer, and where its memory goes.
//!
//! One SVG of three parts, each as wide as it needs: the graphs as the architecture wired them
//! (layers of one form are drawn once), each plan's arena over its steps, the state's pieces.

mod arena;
mod layers;
mod state;
mod svg;

use rillm::SessionOptions;
use rillm::internals::ModelParts;
use rillm::internals::graph::{Graph, Op, Role, RowSpace, Value};
use rillm::internals::session::plans;
use rillm::{Model, RunError};
pub use svg::{Anchor, Svg};

/// Graphs in the order in which they are first walked.
const ROLES: [Role; 5] = [
    Role::Table,
    Role::Encode,
    Role::Decode,
    Role::Compress,
    Role::Reproject,
];

/// Space around everything.
pub const MARGIN: f64 = 24.0;

/// The whole picture.
pub fn draw(model: &Model, options: SessionOptions) -> Result<String, RunError> {
    let mut svg = Svg::default();
    let manifest = model.manifest();
    let title = format!("{} ({})", manifest.architecture, model.title());
    svg.heading(MARGIN, MARGIN + 16.0, &title);
    let mut y = MARGIN + 44.0;
    for role in ROLES {
        if let Some(graph) = model.graph(role) {
            y = layers::draw(&mut svg, model, graph, y) + 40.0;
        }
    }
    for (name, plan) in plans(model, options)? {
        y = arena::draw(&mut svg, model, name, &plan, y) + 40.0;
    }
    y = state::draw(&mut svg, model, options, y)?;
    Ok(svg.finish(y + MARGIN))
}

/// The letter for a number of rows.
fn letter(space: RowSpace) -> &'static str {
    match space {
        RowSpace::Step => "n",
        RowSpace::Source => "s",
        RowSpace::Sequence => "b",
        RowSpace::Selected => "m",
    }
}

/// "[n, 4096]".
fn shape(graph: &Graph, value: Value) -> String {
    let info = graph.info(value);
    format!("[{}, {}]", letter(info.space), info.width)
}

/// Operations of a kind share a colour.
fn colour(op: &Op) -> &'static str {
    match op {
        Op::Embed { .. } | Op::RopeTable { .. } => "#e6dcf5",
        Op::DenseMatMul { .. } | Op::ExpertMatMul { .. } => "#cfe2f7",
        Op::SoftmaxAttention { .. } | Op::LinearRecurrence { .. } | Op::LinearRead { .. } => {
            "#fbd9b5"
        }
        Op::DisentangledAttention { .. } => "#fbd9b5",
        Op::Conv { .. } | Op::SelectiveScan { .. } | Op::TokenShift { .. } | Op::WkvMean { .. } => {
            "#fbd9b5"
        }
        Op::StoreKv { .. } | Op::StoreCross { .. } | Op::LinearWrite { .. } => "#f7e3a1",
        Op::Norm { .. } => "#d5efd3",
        Op::QuantizeActivation { .. } => "#f6cfd6",
        Op::LimitGroups { .. } | Op::Route { .. } | Op::ExpertSum { .. } => "#d9d4f7",
        Op::Emit { .. } | Op::Select { .. } => "#d8d8d8",
        _ => "#efefef",
    }
}

/// The layer that a tensor belongs to, and the rest of its name: `blk.7.attn_q.weight` is
/// `attn_q` of layer `blk.7`.
fn place(tensor: &str) -> (Option<(&str, usize)>, &str) {
    let name = tensor.strip_suffix(".weight").unwrap_or(tensor);
    let Some(at) = name.find("blk.") else {
        return (None, name);
    };
    let rest = &name[at + 4..];
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    match rest[..digits].parse() {
        Ok(number) => {
            let part = rest[digits..].trim_start_matches('.');
            (Some((&name[..at + 3], number)), part)
        }
        Err(_) => (None, name),
    }
}
