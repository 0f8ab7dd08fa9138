//! The tree as a picture, with the path that was taken.

use super::tree::{Next, Question, TREE, TreePath};
use crate::picture::{Anchor, MARGIN, Svg};

/// From one question to the next.
const COLUMN: f64 = 250.0;
/// From one leaf to the next.
const ROW: f64 = 46.0;
const BOX: (f64, f64) = (170.0, 30.0);

/// Draws all of it.
pub fn tree(path: Option<&TreePath>) -> String {
    let mut svg = Svg::default();
    svg.heading(MARGIN, 28.0, "Which kind of model?");
    let mut top = 48.0;
    question(&mut svg, &TREE, (MARGIN, &mut top), path, true);
    svg.finish(top + MARGIN)
}

/// Draws what stands behind a question, and says at what height it is itself.
fn question(
    svg: &mut Svg,
    asked: &'static Question,
    (left, top): (f64, &mut f64),
    path: Option<&TreePath>,
    reached: bool,
) -> f64 {
    let taken = path
        .filter(|_| reached)
        .and_then(|path| path.steps.iter().find(|(step, _)| step.text == asked.text))
        .map(|(_, number)| *number);
    let mut ends = Vec::new();
    for (number, answer) in asked.answers.iter().enumerate() {
        let reached = taken == Some(number);
        let right = left + COLUMN;
        let middle = match answer.next {
            Next::Question(next) => question(svg, next, (right, &mut *top), path, reached),
            Next::Leaf(leaf) => {
                let middle = *top + BOX.1 / 2.0;
                label(svg, (right, *top), leaf.name, reached, "#e3f1e0");
                *top += ROW;
                middle
            }
        };
        ends.push((middle, answer.label, reached));
    }
    let middle = (ends[0].0 + ends[ends.len() - 1].0) / 2.0;
    label(
        svg,
        (left, middle - BOX.1 / 2.0),
        asked.text,
        reached,
        "#e8eef7",
    );
    for (end, answer, reached) in ends {
        let (from, to) = (left + BOX.0, left + COLUMN);
        let style = match reached {
            true => "stroke=\"#c03020\" stroke-width=\"2.5\"",
            false => "stroke=\"#888\"",
        };
        let bend = from + 26.0;
        svg.path(
            &format!("M{from:.1} {middle:.1}L{bend:.1} {end:.1}L{to:.1} {end:.1}"),
            style,
        );
        svg.note(to - 4.0, end - 4.0, answer, Anchor::End);
    }
    middle
}

fn label(svg: &mut Svg, (x, y): (f64, f64), text: &str, reached: bool, fill: &str) {
    let fill = if reached { "#f7d7ce" } else { fill };
    svg.rectangle((x, y, BOX.0, BOX.1), fill, text);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < 28 => {
                line.push_str(if line.is_empty() { "" } else { " " });
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    let first = y + BOX.1 / 2.0 + 4.0 - 6.5 * (lines.len() - 1) as f64;
    for (number, line) in lines.iter().enumerate() {
        svg.text(x + 8.0, first + 13.0 * number as f64, line, Anchor::Start);
    }
}
