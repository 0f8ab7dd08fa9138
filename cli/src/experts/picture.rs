//! The heat map: layers down, experts across.

use rillm::internals::residency::ExpertTrace;
use std::fmt::Write;

/// Width and height of a cell.
const CELL: [usize; 2] = [12, 14];

/// Room for the line below, however few experts there are.
const LEAST_WIDTH: usize = 460;

/// An SVG document: the darker, the more often an expert was chosen.
pub fn svg(trace: &ExpertTrace, title: &str) -> String {
    let counts = trace.counts();
    let most = counts.iter().flatten().max().copied().unwrap_or(0).max(1);
    let [width, height] = [trace.experts * CELL[0] + 80, trace.layers * CELL[1] + 70];
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"50\" y=\"20\" font-size=\"13\">{title}</text>\n",
        width.max(LEAST_WIDTH)
    );
    for (layer, counts) in counts.iter().enumerate() {
        let y = 34 + layer * CELL[1];
        // What is written to memory does not fail.
        let _ = writeln!(out, "<text x=\"20\" y=\"{}\">{layer}</text>", y + 11);
        for (expert, &count) in counts.iter().enumerate() {
            let share = (count as f64 / most as f64).sqrt();
            let shade = |full: f64| (255.0 - (255.0 - full) * share).round();
            let _ = writeln!(
                out,
                "<rect x=\"{}\" y=\"{y}\" width=\"{}\" height=\"{}\" \
                 fill=\"rgb({},{},{})\"><title>layer {layer}, expert {expert}: {count}</title></rect>",
                50 + expert * CELL[0],
                CELL[0] - 1,
                CELL[1] - 1,
                shade(20.0),
                shade(60.0),
                shade(120.0)
            );
        }
    }
    let _ = writeln!(
        out,
        "<text x=\"50\" y=\"{}\" fill=\"#555\">layers down, experts 0 to {} across; the darkest was \
         chosen {most} times</text>\n</svg>",
        height - 14,
        trace.experts.saturating_sub(1)
    );
    out
}
