//! The heat map: layers down, experts across.

use rillm::internals::residency::ExpertTrace;
use std::fmt::Write;

/// Height of a cell.
const HEIGHT: usize = 14;

/// Where cells begin: to the right of the layers' numbers, below those of experts.
const LEFT: usize = 60;
const TOP: usize = 48;

/// Room for what is written, however few experts there are.
const LEAST_WIDTH: usize = 600;

/// Width of a letter of the title, about.
const LETTER: usize = 8;

/// What was never chosen, which is no shade of what was.
const NEVER: &str = "#eee";

/// An SVG document: the darker, the more often an expert was chosen.
pub fn svg(trace: &ExpertTrace, title: &str) -> String {
    let counts = trace.counts();
    let most = counts.iter().flatten().max().copied().unwrap_or(0).max(1);
    let cell = if trace.experts > 128 { 6 } else { 12 };
    let width = (LEFT + trace.experts * cell + 20).max(LEAST_WIDTH);
    let below = TOP + trace.layers.len() * HEIGHT;
    let height = below + 50;
    let title = title.chars().filter(|character| !character.is_control());
    let title: String = title.take((width - LEFT) / LETTER).collect();
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"13\">{title}</text>\n"
    );
    // What is written to memory does not fail.
    for expert in (0..trace.experts).step_by(96 / cell) {
        let (x, y) = (LEFT + expert * cell, TOP - 5);
        let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\">{expert}</text>");
    }
    for (at, (layer, counts)) in trace.layers.iter().zip(&counts).enumerate() {
        let y = TOP + at * HEIGHT;
        let (x, line) = (LEFT - 8, y + 11);
        let _ = writeln!(
            out,
            "<text x=\"{x}\" y=\"{line}\" text-anchor=\"end\">{layer}</text>"
        );
        for (expert, &count) in counts.iter().enumerate() {
            let what = format!("layer {layer}, expert {expert}: {count}");
            let place = [LEFT + expert * cell, y, cell - 1];
            square(&mut out, place, &shade(count, most), Some(&what));
        }
    }
    legend(&mut out, below + 18, (trace.tokens, most));
    out + "</svg>\n"
}

/// What shades mean.
fn legend(out: &mut String, y: usize, (tokens, most): (usize, usize)) {
    square(out, [LEFT, y, 11], NEVER, None);
    for step in 0..5 {
        // Of a hundred, as the root has it.
        let count = [1, 6, 25, 56, 100][step];
        square(
            out,
            [LEFT + 60 + 12 * step, y, 11],
            &shade(count, 100),
            None,
        );
    }
    let line = y + 11;
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{line}\">never</text>\n\
         <text x=\"{}\" y=\"{line}\">once to {most} times, of {tokens} tokens; layers down, experts \
         across</text>",
        LEFT + 18,
        LEFT + 128
    );
}

fn square(out: &mut String, [x, y, width]: [usize; 3], fill: &str, what: Option<&str>) {
    let what = what.map_or(String::new(), |what| format!("<title>{what}</title>"));
    let height = HEIGHT - 1;
    let _ = writeln!(
        out,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{fill}\">{what}</rect>"
    );
}

/// From a light blue to a dark one by the root of the share, so that what is seldom chosen is seen.
fn shade(count: usize, most: usize) -> String {
    if count == 0 {
        return NEVER.to_string();
    }
    let share = (count as f64 / most as f64).sqrt();
    let [red, green, blue] = [(205.0, 15.0), (225.0, 50.0), (245.0, 110.0)]
        .map(|(light, dark)| (light + (dark - light) * share) as u8);
    format!("#{red:02x}{green:02x}{blue:02x}")
}
