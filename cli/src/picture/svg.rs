//! As much of SVG as the pictures need.

use std::fmt::Write;

/// A drawing that grows as wide as what is put into it.
#[derive(Default)]
pub struct Svg {
    body: String,
    width: f64,
}

/// How a text stands to its point.
#[derive(Clone, Copy)]
pub enum Anchor {
    Start,
    End,
}

impl Svg {
    /// A title of a part.
    pub fn heading(&mut self, x: f64, y: f64, text: &str) {
        self.styled(
            x,
            y,
            text,
            "font-size=\"16\" font-weight=\"bold\"",
            Anchor::Start,
        );
        self.reach(x + 9.0 * text.chars().count() as f64);
    }

    /// A line of text.
    pub fn text(&mut self, x: f64, y: f64, text: &str, anchor: Anchor) {
        self.styled(x, y, text, "", anchor);
    }

    /// A line of small grey text.
    pub fn note(&mut self, x: f64, y: f64, text: &str, anchor: Anchor) {
        self.styled(x, y, text, "fill=\"#666\" font-size=\"10\"", anchor);
    }

    fn styled(&mut self, x: f64, y: f64, text: &str, style: &str, anchor: Anchor) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::End => " text-anchor=\"end\"",
        };
        self.push(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\"{anchor} {style}>{}</text>",
            escaped(text)
        ));
    }

    /// A rectangle that says `title` when pointed at.
    pub fn rectangle(
        &mut self,
        (x, y, width, height): (f64, f64, f64, f64),
        fill: &str,
        title: &str,
    ) {
        let radius = if height > 20.0 { 4.0 } else { 0.0 };
        let title = match title {
            "" => String::new(),
            title => format!("<title>{}</title>", escaped(title)),
        };
        self.push(format_args!(
            "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\" \
             rx=\"{radius}\" fill=\"{fill}\" stroke=\"#888\" stroke-width=\"0.5\">{title}</rect>"
        ));
        self.reach(x + width);
    }

    /// A line along a path.
    pub fn path(&mut self, path: &str, style: &str) {
        self.push(format_args!("<path d=\"{path}\" fill=\"none\" {style}/>"));
    }

    /// The drawing is at least so wide.
    pub fn reach(&mut self, x: f64) {
        self.width = self.width.max(x);
    }

    /// The file.
    pub fn finish(self, height: f64) -> String {
        let width = self.width + super::MARGIN;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" \
             markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"#555\"/></marker>\
             </defs>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
            self.body
        )
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.body, "{element}");
    }
}

/// Names come from files: they may hold anything, also what XML forbids.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            control if control.is_control() => out.push('\u{fffd}'),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}
