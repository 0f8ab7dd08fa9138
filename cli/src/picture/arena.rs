//! A plan's memory: bytes of the arena downward, steps to the right.

use super::svg::{Anchor, Svg};
use super::{MARGIN, colour, shape};
use crate::bytes;
use rillm::Model;
use rillm::internals::ModelParts;
use rillm::internals::graph::op::Reach;
use rillm::internals::plan::Plan;

const HEIGHT: f64 = 260.0;
const WIDTH: f64 = 1100.0;
/// Where the axis stands.
const AXIS: f64 = 70.0;

/// Draws a plan below `top` and says where it ends.
pub fn draw(svg: &mut Svg, model: &Model, name: &str, plan: &Plan, top: f64) -> f64 {
    let steps = plan.graph.nodes.len();
    let title = format!(
        "Arena of plan {name}: {}, {steps} steps, {} barriers, {}",
        match plan.capacity.rows {
            1 => "one row".to_string(),
            rows => format!("{rows} rows"),
        },
        plan.barriers(),
        bytes(plan.arena_len as u64)
    );
    svg.heading(MARGIN, top, &title);
    let (left, y) = (MARGIN + AXIS, top + 16.0);
    // As wide as a few steps need, and no wider than a screen for many.
    let unit = (WIDTH / steps.max(1) as f64).clamp(0.5, 14.0);
    let across = |step: usize| left + unit * step as f64;
    let down = |byte: usize| y + HEIGHT * byte as f64 / plan.arena_len.max(1) as f64;
    svg.rectangle((left, y, unit * steps as f64, HEIGHT), "#fafafa", "");
    for part in 0..=4 {
        let byte = plan.arena_len / 4 * part;
        svg.note(
            left - 6.0,
            down(byte) + 4.0,
            &bytes(byte as u64),
            Anchor::End,
        );
    }
    for life in lives(plan) {
        let node = &plan.graph.nodes[life.made];
        let Some((out, span)) = node
            .out
            .and_then(|out| Some((out, plan.spans[out.index()]?)))
        else {
            continue;
        };
        let tensor = model.tensor_of(&node.op).unwrap_or_default();
        let title = format!(
            "{} {tensor} {}, {} at {}, steps {} to {}",
            node.op.name(),
            shape(&plan.graph, out),
            bytes(span.len as u64),
            span.start,
            life.made,
            life.last
        );
        let (from, to) = (across(life.made), across(life.last + 1));
        let (high, low) = (down(span.start), down(span.start + span.len));
        svg.rectangle(
            (from, high, to - from, low - high),
            colour(&node.op),
            &title,
        );
    }
    for stage in &plan.stages {
        for phase in &stage.phases {
            let x = across(phase.nodes.end);
            svg.path(
                &format!("M{x:.1} {y}V{}", y + HEIGHT),
                "stroke=\"#000\" stroke-opacity=\"0.15\"",
            );
        }
        let x = across(stage.nodes.end);
        let line = format!("M{x:.1} {}V{}", y - 4.0, y + HEIGHT + 4.0);
        svg.path(&line, "stroke=\"#c33\" stroke-dasharray=\"4 3\"");
    }
    let bottom = y + HEIGHT + 18.0;
    svg.note(
        left,
        bottom,
        "each box is a value from the step that makes it to the last that reads it; grey lines \
         are barriers, red ones end a stage; boxes have tooltips",
        Anchor::Start,
    );
    bottom
}

struct Life {
    made: usize,
    last: usize,
}

/// When each value that owns memory is made and last read.
fn lives(plan: &Plan) -> Vec<Life> {
    let graph = &plan.graph;
    let mut of = vec![usize::MAX; graph.values.len()];
    let mut lives: Vec<Life> = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        for input in node.op.inputs() {
            let root = graph.root(input).0;
            if let Some(life) = lives.get_mut(of[root.index()]) {
                life.last = index;
            }
        }
        if let (Some(out), false) = (node.out, node.op.reach() == Reach::View) {
            of[out.index()] = lives.len();
            lives.push(Life {
                made: index,
                last: index,
            });
        }
    }
    lives
}
