//! The picture: speed and memory over length, side by side.

use super::report::{QUOTED_AT, quoted, reaches_quoted, reads, short};
use super::{MeasuredAs, Series};
use std::fmt::Write;

const COLOURS: [&str; 8] = [
    "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2", "#9c755f", "#edc948",
];

/// Where a panel lies: left edge, top edge, width, height.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 260.0;
const TOP: f64 = 56.0;

/// One panel: its title and what it shows of each point.
struct Chart<'a> {
    left: f64,
    title: &'a str,
    scale: AxisScale,
    value: &'a dyn Fn(&Series, usize) -> f64,
}

/// How heights go with values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AxisScale {
    Even,
    Powers,
}

/// An SVG document.
pub fn svg(all: &[Series]) -> String {
    let legend = TOP + HEIGHT + 56.0;
    let quoted_at = legend + 20.0 * all.len() as f64 + 8.0;
    let quotes = reaches_quoted(all);
    let height = if quotes { quoted_at + 28.0 } else { quoted_at };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 920 {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let texts = all
        .iter()
        .all(|series| series.measured == MeasuredAs::Encodes || series.points.is_empty());
    let speed = match texts && reads(all) {
        // Of texts that double, half as many are read at best.
        true => Chart {
            left: 70.0,
            title: "texts per second",
            scale: AxisScale::Powers,
            value: &|series, point| {
                let reader = series.points[point].reader;
                reader.map_or(0.0, |reader| reader.texts)
            },
        },
        false => Chart {
            left: 70.0,
            title: match reads(all) {
                true => "tokens per second: decoders write, encoders read",
                false => "tokens per second while decoding",
            },
            scale: AxisScale::Even,
            value: &|series, point| series.points[point].rate,
        },
    };
    let memory = Chart {
        left: 530.0,
        title: "memory in MiB: weights, state, arena",
        scale: AxisScale::Even,
        value: &|series, point| series.memory(&series.points[point]) as f64 / f64::from(1 << 20),
    };
    let panels = [speed, memory];
    for panel in &panels {
        draw(&mut out, panel, all);
    }
    for (index, (series, colour)) in all.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let y = legend + 20.0 * index as f64;
        let mut name = series.name.replace('&', "&amp;").replace('<', "&lt;");
        if series.failure.is_some() {
            name += " (failed)";
        }
        out += &format!(
            "<rect x=\"70\" y=\"{}\" width=\"22\" height=\"4\" fill=\"{colour}\"/>\
             <text x=\"100\" y=\"{y}\">{name}</text>\n",
            y - 6.0
        );
    }
    if quotes {
        out += &format!(
            "<text x=\"70\" y=\"{quoted_at}\" fill=\"#555\">Quoted for models of one size on a GPU at \
             {}, not measured here (in brackets: beside the first)</text>\n\
             <text x=\"70\" y=\"{}\" fill=\"#555\">{}</text>\n",
            short(QUOTED_AT),
            quoted_at + 16.0,
            quoted()
        );
    }
    out + "</svg>\n"
}

fn draw(out: &mut String, panel: &Chart<'_>, all: &[Series]) {
    let Chart {
        left,
        title,
        scale,
        value,
    } = panel;
    let contexts = all.iter().flat_map(|series| &series.points);
    let mut contexts: Vec<usize> = contexts.map(|point| point.context).collect();
    contexts.sort_unstable();
    contexts.dedup();
    let (Some(&first), Some(&last)) = (contexts.first(), contexts.last()) else {
        return;
    };
    let values = all.iter().flat_map(|series| {
        let points = 0..series.points.len();
        points.map(move |point| value(series, point))
    });
    let values: Vec<f64> = values.collect();
    let axis = Axis::of(*scale, &values);
    let span = (last as f64 / first as f64).log2().max(1.0);
    let x = |context: usize| left + WIDTH * (context as f64 / first as f64).log2() / span;
    let y = |value: f64| TOP + HEIGHT * (1.0 - axis.height(value));
    let bottom = TOP + HEIGHT;
    // Writing into a String cannot fail.
    let mut put = |text: String| _ = writeln!(out, "{text}");
    put(format!(
        "<text x=\"{left}\" y=\"{}\" font-size=\"14\" font-weight=\"bold\">{title}</text>",
        TOP - 20.0
    ));
    for level in axis.levels() {
        let (at, right) = (y(level), left + WIDTH);
        put(format!(
            "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{level}</text>",
            left - 6.0,
            at + 4.0
        ));
    }
    for &context in &contexts {
        put(format!(
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            x(context),
            bottom + 18.0,
            short(context)
        ));
    }
    put(format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">tokens in the context</text>",
        left + WIDTH / 2.0,
        bottom + 36.0
    ));
    for (series, colour) in all.iter().zip(COLOURS.iter().cycle()) {
        let places = series.points.iter().enumerate();
        let places = places.map(|(at, point)| (x(point.context), y(value(series, at))));
        let places: Vec<(f64, f64)> = places.collect();
        if places.is_empty() {
            continue;
        }
        let line: Vec<String> = places
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        put(format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\"/>",
            line.join(" ")
        ));
        for (x, y) in places {
            put(format!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>"
            ));
        }
    }
}

/// What values lie between.
struct Axis {
    scale: AxisScale,
    least: f64,
    most: f64,
}

impl Axis {
    fn of(scale: AxisScale, values: &[f64]) -> Axis {
        let most = values.iter().copied().fold(0.0, f64::max);
        let least = values.iter().copied().fold(most, f64::min);
        let power = |value: f64| value.max(1e-9).log10();
        match scale {
            AxisScale::Even => Axis {
                scale,
                least: 0.0,
                most: ceiling(most),
            },
            AxisScale::Powers => Axis {
                scale,
                least: power(least).floor(),
                most: power(most).ceil().max(power(least).floor() + 1.0),
            },
        }
    }

    /// From zero at the bottom to one at the top.
    fn height(&self, value: f64) -> f64 {
        let value = match self.scale {
            AxisScale::Even => value,
            AxisScale::Powers => value.max(1e-9).log10(),
        };
        (value - self.least) / (self.most - self.least)
    }

    /// Values at which there is a line.
    fn levels(&self) -> Vec<f64> {
        match self.scale {
            AxisScale::Even => (0..=4)
                .map(|step| self.most * f64::from(step) / 4.0)
                .collect(),
            AxisScale::Powers => {
                let powers = self.least as i32..=self.most as i32;
                powers.map(|power| 10f64.powi(power)).collect()
            }
        }
    }
}

/// The next number above that reads well and divides by four: 1, 2, 4 or 8 times a power of ten.
fn ceiling(value: f64) -> f64 {
    let power = 10f64.powf(value.max(1e-9).log10().floor());
    let digits = [1.0, 2.0, 4.0, 8.0, 10.0].map(|digit| digit * power);
    digits
        .into_iter()
        .find(|&digit| digit >= value)
        .unwrap_or(10.0 * power)
}
