//! A graph as columns: what comes before the layers, each form of layer once, what comes after.

use super::svg::{Anchor, Svg};
use super::{MARGIN, colour, place, shape};
use rillm::Model;
use rillm::internals::ModelParts;
use rillm::internals::graph::{Graph, Keys, Mask, Node, Op, PositionScheme, Role, Value, Vector};
use std::ops::Range;

const WIDTH: f64 = 220.0;
const HEIGHT: f64 = 36.0;
const STEP: f64 = 50.0;
/// Between the lines that pass steps by.
const LANE: f64 = 9.0;
const GAP: f64 = 40.0;

/// Neighbouring nodes of one layer, or of none.
struct NodeGroup {
    layer: Option<usize>,
    nodes: Range<usize>,
}

/// Layers of one form.
struct Column {
    nodes: Range<usize>,
    layers: Vec<usize>,
}

/// Where a node's input comes from, counted from the column's first node.
#[derive(PartialEq)]
enum Origin {
    Node(usize),
    Before,
}

/// Draws a graph below `top` and says where it ends.
pub fn draw(svg: &mut Svg, model: &Model, graph: &Graph, top: f64) -> f64 {
    let title = match graph.role {
        Role::Decode => "Graph: decoding, n rows of which m are asked for",
        Role::Encode => "Graph: encoding, s rows of b sequences",
        Role::Table => "Graph: the session's tables, s entries",
        Role::Compress => "Graph: compressing a sequence's memories to s rows",
        Role::Reproject => "Graph: projecting the s rows of a sequence's segment memory",
    };
    svg.heading(MARGIN, top, title);
    let makers = makers(graph);
    let mut x = MARGIN;
    let mut bottom = top;
    for column in columns(model, graph, &makers) {
        let sources = |node: &Node| sources(graph, &makers, node, column.nodes.start);
        let lanes = lanes(graph, &column, &sources);
        let count = lanes
            .iter()
            .map(|&(_, _, lane)| lane + 1)
            .max()
            .unwrap_or(0);
        x += LANE * count as f64;
        svg.text(x, top + 30.0, &heading(&column), Anchor::Start);
        let first = top + 44.0;
        for (at, index) in column.nodes.clone().enumerate() {
            let y = first + STEP * at as f64;
            box_of(svg, model, graph, &graph.nodes[index], (x, y));
            if at > 0 && sources(&graph.nodes[index]).contains(&Origin::Node(at - 1)) {
                let middle = x + WIDTH / 2.0;
                let path = format!("M{middle} {}V{}", y - STEP + HEIGHT, y - 1.0);
                svg.path(&path, "stroke=\"#555\" marker-end=\"url(#tip)\"");
            }
        }
        for (from, to, lane) in lanes {
            let side = x - 6.0 - LANE * lane as f64;
            let end = first + STEP * to as f64 + HEIGHT * 0.5;
            let path = match from {
                Some(from) => {
                    let start = first + STEP * from as f64 + HEIGHT * 0.75;
                    format!("M{x} {start}H{side}V{end}H{}", x - 1.0)
                }
                None => format!("M{side} {}V{end}H{}", first - 6.0, x - 1.0),
            };
            svg.path(&path, "stroke=\"#777\" marker-end=\"url(#tip)\"");
        }
        bottom = bottom.max(first + STEP * column.nodes.len() as f64);
        x += WIDTH + GAP;
    }
    svg.reach(x - GAP);
    bottom
}

/// The node that makes each value.
fn makers(graph: &Graph) -> Vec<usize> {
    let mut makers = vec![0; graph.values.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        if let Some(out) = node.out {
            makers[out.index()] = index;
        }
    }
    makers
}

/// Nodes without a tensor belong where the ones before them do; what selects rows begins what
/// comes after the layers.
fn groups(model: &Model, graph: &Graph) -> Vec<NodeGroup> {
    let mut groups: Vec<NodeGroup> = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let current = groups.last().map(|group| group.layer);
        let layer = match (&node.op, model.tensor_of(&node.op)) {
            (Op::Select { .. }, _) => None,
            (_, Some(tensor)) => place(tensor).0.map(|(_, layer)| layer),
            // Cross-attention's keys and values are projected in a graph of their own order.
            (_, None) => current.flatten(),
        };
        match groups.last_mut() {
            Some(group) if Some(layer) == current => group.nodes.end = index + 1,
            _ => groups.push(NodeGroup {
                layer,
                nodes: index..index + 1,
            }),
        }
    }
    groups
}

fn columns(model: &Model, graph: &Graph, makers: &[usize]) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for group in groups(model, graph) {
        let same = |column: &&mut Column| {
            !column.layers.is_empty()
                && group.layer.is_some()
                && alike(model, graph, makers, &column.nodes, &group.nodes)
        };
        match (columns.iter_mut().find(same), group.layer) {
            (Some(column), Some(layer)) => column.layers.push(layer),
            (_, layer) => columns.push(Column {
                nodes: group.nodes,
                layers: layer.into_iter().collect(),
            }),
        }
    }
    columns
}

/// Whether two layers compute the same with weights of the same types and shapes.
fn alike(
    model: &Model,
    graph: &Graph,
    makers: &[usize],
    a: &Range<usize>,
    b: &Range<usize>,
) -> bool {
    let one = |index: usize, start: usize| {
        let node = &graph.nodes[index];
        let out = node.out.map(|out| graph.info(out).width);
        (
            describe(model, graph, node),
            out,
            sources(graph, makers, node, start),
        )
    };
    a.len() == b.len()
        && a.clone()
            .zip(b.clone())
            .all(|(i, j)| one(i, a.start) == one(j, b.start))
}

fn sources(graph: &Graph, makers: &[usize], node: &Node, start: usize) -> Vec<Origin> {
    let inputs = node.op.inputs();
    let from = |value: Value| match (makers[value.index()], graph.info(value).base) {
        (maker, _) if maker >= start => Origin::Node(maker - start),
        _ => Origin::Before,
    };
    inputs.into_iter().map(from).collect()
}

/// A lane on the left for each line that does not lead to the next node: from, to, lane.
fn lanes(
    graph: &Graph,
    column: &Column,
    sources: &dyn Fn(&Node) -> Vec<Origin>,
) -> Vec<(Option<usize>, usize, usize)> {
    let mut lines: Vec<(Option<usize>, usize)> = Vec::new();
    for (to, index) in column.nodes.clone().enumerate() {
        for source in sources(&graph.nodes[index]) {
            let line = match source {
                Origin::Node(from) if from + 1 == to => continue,
                Origin::Node(from) => (Some(from), to),
                Origin::Before => (None, to),
            };
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    // Short lines inside, long ones outside.
    lines.sort_by_key(|&(from, to)| to - from.unwrap_or(0));
    let mut placed: Vec<(Option<usize>, usize, usize)> = Vec::new();
    for (from, to) in lines {
        let start = from.map_or(-1, |from| from as i64);
        let free = |lane: usize| {
            placed.iter().all(|&(other, end, used)| {
                let begin = other.map_or(-1, |from| from as i64);
                used != lane || end as i64 <= start || to as i64 <= begin
            })
        };
        let lane = (0..).find(|&lane| free(lane)).unwrap_or(0);
        placed.push((from, to, lane));
    }
    placed
}

/// "blk 0–4, 6–10 (10 ×)".
fn heading(column: &Column) -> String {
    let Some(&first) = column.layers.first() else {
        return String::new();
    };
    let mut runs: Vec<(usize, usize)> = vec![(first, first)];
    for &layer in &column.layers[1..] {
        match runs.last_mut() {
            Some(run) if run.1 + 1 == layer => run.1 = layer,
            _ => runs.push((layer, layer)),
        }
    }
    let shown: Vec<String> = runs
        .iter()
        .take(6)
        .map(|&(from, to)| match to - from {
            0 => from.to_string(),
            _ => format!("{from}–{to}"),
        })
        .collect();
    let more = if runs.len() > 6 { " …" } else { "" };
    let times = match column.layers.len() {
        1 => String::new(),
        count => format!(" ({count} ×)"),
    };
    format!("layer {}{more}{times}", shown.join(", "))
}

fn box_of(svg: &mut Svg, model: &Model, graph: &Graph, node: &Node, (x, y): (f64, f64)) {
    let title = model.tensor_of(&node.op).unwrap_or_default();
    svg.rectangle((x, y, WIDTH, HEIGHT), colour(&node.op), title);
    let (what, detail) = describe(model, graph, node);
    svg.text(x + 8.0, y + 15.0, &what, Anchor::Start);
    svg.note(x + 8.0, y + 29.0, &detail, Anchor::Start);
    if let Some(out) = node.out {
        svg.note(x + WIDTH - 8.0, y + 29.0, &shape(graph, out), Anchor::End);
    }
}

fn bias(bias: Option<Vector>) -> &'static str {
    match bias {
        Some(_) => " + bias",
        None => "",
    }
}

/// The operation with its tensor, and what else tells it from others of its kind.
fn describe(model: &Model, graph: &Graph, node: &Node) -> (String, String) {
    let tensor = model.tensor_of(&node.op);
    let part = tensor.map(|tensor| place(tensor).1).unwrap_or_default();
    let dtype = tensor
        .and_then(|tensor| model.manifest().tensors.get(tensor))
        .map(|info| format!("{} ", info.dtype.name()))
        .unwrap_or_default();
    let name = node.op.name();
    match &node.op {
        Op::Embed(embed) => (
            format!("{name} {part}"),
            format!("{dtype}{}×{}", embed.table.rows, embed.table.columns),
        ),
        Op::DenseMatMul(product) => (
            format!("{name} {part}"),
            format!(
                "{dtype}{}×{}{}",
                product.weight.rows,
                product.weight.columns,
                bias(product.bias)
            ),
        ),
        Op::ExpertMatMul(product) => {
            let experts = product.experts;
            (
                format!("{name} {part}"),
                format!(
                    "{dtype}{} × {}×{}{}",
                    experts.stack,
                    experts.rows,
                    experts.columns,
                    bias(product.bias)
                ),
            )
        }
        Op::HeadMatMul(product) => {
            let heads = product.weights;
            (
                format!("{name} {part}"),
                format!("{dtype}{} × {}×{}", heads.stack, heads.rows, heads.columns),
            )
        }
        Op::Norm(norm) => (
            format!("{name} {part}"),
            match graph.info(norm.x).width {
                width if width == norm.group => format!("eps {}", norm.eps),
                _ => format!("by {}, eps {}", norm.group, norm.eps),
            },
        ),
        Op::SoftmaxAttention(step) => {
            let attention = &step.attention;
            let window = match attention.mask {
                Mask::Causal { window: None } => "causal".to_string(),
                Mask::Causal {
                    window: Some(window),
                } => format!("window {window}"),
                Mask::Chunked { length } => format!("chunks of {length}"),
                Mask::Bidirectional => "both ways".to_string(),
                Mask::Local { radius } => format!("{radius} both ways"),
                Mask::Blocks(sparse) => {
                    format!("blocks of {}, {} random", sparse.columns, sparse.random)
                }
            };
            let position = match &attention.position {
                PositionScheme::None => "",
                PositionScheme::Rope(_) => ", rope",
                PositionScheme::Buckets(_) => ", buckets",
                PositionScheme::Alibi(_) => ", alibi",
            };
            let cross = match attention.keys {
                Keys::Cross(_) => "cross-",
                _ => "",
            };
            (
                format!(
                    "{cross}{name} {}×{}, keys {}×{}",
                    attention.heads, attention.head_dim, attention.kv_heads, attention.head_dim
                ),
                format!("{window}{position}"),
            )
        }
        Op::Apply(apply) => (
            format!("{name} {:?}", apply.function).to_lowercase(),
            String::new(),
        ),
        Op::Scale(scale) => (format!("{name} {}", scale.factor), String::new()),
        Op::Clamp(clamp) => (
            format!("{name} {} to {}", clamp.low, clamp.high),
            String::new(),
        ),
        Op::Slice(slice) => (format!("{name} from {}", slice.offset), String::new()),
        Op::Route(route) => (
            format!("{name}, the best {}", route.routing.top_k),
            String::new(),
        ),
        Op::Emit(emit) => (format!("{name} {}", emit.name), String::new()),
        _ => (format!("{name} {part}"), String::new()),
    }
}
