//! What a sequence's state takes: a bar for each kind.

use super::MARGIN;
use super::svg::{Anchor, Svg};
use crate::bytes;
use rillm::internals::ModelParts;
use rillm::internals::graph::StateKind;
use rillm::internals::state::{StateCapacity, StateLayout};
use rillm::{Model, RunError, Session, SessionOptions};

const WIDTH: f64 = 600.0;

/// A letter of a label, on the broad side.
const LETTER: f64 = 6.6;

/// Draws the memory's parts below `top` and says where they end.
pub fn draw(
    svg: &mut Svg,
    model: &Model,
    options: SessionOptions,
    top: f64,
) -> Result<f64, RunError> {
    let plan = Session::memory_plan(model, options)?;
    svg.heading(
        MARGIN,
        top,
        &format!("Memory for a context of {}", options.context),
    );
    let tensors = model.manifest().tensors.values();
    let weights: u64 = tensors.map(|info| info.range.end - info.range.start).sum();
    let vectors = model.weights().vectors_len() as u64;
    let mut bars = vec![
        ("weights, mapped".to_string(), weights, "#cfe2f7"),
        ("vectors as floats".to_string(), vectors, "#d5efd3"),
        ("arena".to_string(), plan.arena as u64, "#efefef"),
        ("state, reserved".to_string(), plan.state as u64, "#f7e3a1"),
    ];
    for (kind, count) in kinds(model) {
        bars.push((label(&kind, count), len(kind, count, options), "#fbd9b5"));
    }
    let longest = bars.iter().map(|bar| bar.1).max().unwrap_or(1).max(1);
    let letters = bars.iter().map(|bar| bar.0.chars().count()).max();
    let labels = LETTER * letters.unwrap_or(0) as f64 + 12.0;
    let mut y = top + 14.0;
    for (label, len, fill) in bars {
        svg.text(MARGIN, y + 13.0, &label, Anchor::Start);
        let width = WIDTH * len as f64 / longest as f64;
        svg.rectangle((MARGIN + labels, y, width.max(1.0), 17.0), fill, "");
        svg.text(
            MARGIN + labels + width + 8.0,
            y + 13.0,
            &bytes(len),
            Anchor::Start,
        );
        svg.reach(MARGIN + labels + width + 80.0);
        y += 24.0;
    }
    Ok(y)
}

/// Pieces of state that are alike, and how many.
fn kinds(model: &Model) -> Vec<(StateKind, usize)> {
    let mut kinds: Vec<(StateKind, usize)> = Vec::new();
    for &kind in model.states() {
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => kinds.push((kind, 1)),
        }
    }
    kinds
}

/// "4 × kv, kv_heads: 2, head_dim: 32".
fn label(kind: &StateKind, count: usize) -> String {
    // What a kind wraps says its name again.
    let kind = format!("{kind:?}").to_lowercase();
    let (name, inner) = kind.split_once('(').unwrap_or((&kind, ""));
    let (_, sizes) = inner.split_once(" {").unwrap_or(("", inner));
    let sizes = sizes.trim_end_matches(" })").replace(" {", ",");
    format!("{count} × {name},{}", sizes.replace(" }", ""))
}

/// Bytes that one sequence takes at full length, by the arithmetic that reserves them.
fn len(kind: StateKind, count: usize, options: SessionOptions) -> u64 {
    let capacity = StateCapacity {
        context: options.context,
        sequences: 1,
        batch: options.batch,
        source: options.source,
        checkpoints: 0,
        kv_type: options.kv_type,
    };
    let layout = StateLayout::new(&vec![kind; count], capacity);
    let len = layout.map(|layout| layout.fixed_len() + layout.kv_cache_len(options.context));
    len.unwrap_or(0) as u64
}
