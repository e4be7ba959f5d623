//! Plots as SVG: latency by percentile, bars of cost.

use std::fmt::Write as _;

use super::super::results::{Curve, Figure, median, spread};
use super::table::number;

/// Of the systems, in the order of the columns: told apart by people with any colour vision.
const COLOURS: [&str; 5] = ["#7f7f7f", "#e69f00", "#0072b2", "#009e73", "#cc79a7"];

const WIDTH: f64 = 760.0;

/// What is drawn so far.
struct Svg {
    body: String,
    height: f64,
}

impl Svg {
    fn new(title: &str, height: f64) -> Self {
        let mut svg = Self { body: String::new(), height };
        svg.text(16.0, 26.0, "start", "font-size=\"15\" font-weight=\"bold\"", title);
        svg
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, more: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {more}>{text}</text>"
        );
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), style: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.body,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>"
        );
    }

    fn legend(&mut self, systems: &[String]) {
        let mut x = 70.0;
        for (system, colour) in systems.iter().zip(COLOURS.iter().cycle()) {
            let _ = writeln!(
                self.body,
                "<rect x=\"{x:.1}\" y=\"38\" width=\"12\" height=\"12\" fill=\"{colour}\"/>"
            );
            self.text(x + 17.0, 48.5, "start", "", system);
            x += 50.0 + 6.6 * system.chars().count() as f64;
        }
    }

    fn render(self) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n{STYLE}\
             <rect class=\"paper\" width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n",
            height = self.height,
            body = self.body
        )
    }
}

/// In dark mode; the attributes of the elements are for all others.
const STYLE: &str = "<style>@media (prefers-color-scheme: dark) { text { fill: #ddd } .paper { fill: #161b22 } .grid { stroke: #3a414a } \
                     .spread { stroke: #ddd } }</style>\n";
const GRID: &str = "class=\"grid\" stroke=\"#ddd\"";
/// Around what says how far the repetitions lie apart.
const SPREAD: &str = "class=\"spread\" stroke=\"#222\"";
const LEFT: f64 = 70.0;
const RIGHT: f64 = WIDTH - 30.0;
const TOP: f64 = 66.0;
const BOTTOM: f64 = 360.0;

/// Percentiles with a mark below the axis; the last is the longest of all.
const MARKS: [(f64, &str); 6] =
    [(0.0, "0"), (90.0, "90"), (99.0, "99"), (99.9, "99.9"), (99.99, "99.99"), (100.0, "max")];

/// Latency by percentile, each nine as wide as the last; both axes logarithmic. The area shows the spread of the repetitions.
pub(super) fn latencies(title: &str, systems: &[String], curve: &Curve) -> String {
    let mut svg = Svg::new(title, BOTTOM + 52.0);
    svg.legend(systems);
    let shown: Vec<usize> = (0..curve.percentiles.len())
        .filter(|i| curve.percentiles[*i] <= 99.99 || curve.percentiles[*i] >= 100.0)
        .collect();
    let all = curve.values.values().flatten().flatten().copied().filter(|ms| *ms > 0.0);
    let (least, greatest) = spread(&all.collect::<Vec<_>>()).unwrap_or((0.1, 10.0));
    let (low, high) = (least.log10().floor(), (greatest.log10().ceil()).max(least.log10().floor() + 1.0));
    let x = |percentile: f64| LEFT + (RIGHT - LEFT) * nines(percentile) / 4.6;
    let y = |ms: f64| BOTTOM - (BOTTOM - TOP) * (ms.log10().max(low) - low) / (high - low);
    for decade in low as i32..=high as i32 {
        let ms = 10_f64.powi(decade);
        svg.line((LEFT, y(ms)), (RIGHT, y(ms)), GRID);
        svg.text(LEFT - 8.0, y(ms) + 4.0, "end", "", &duration(ms));
    }
    for (percentile, label) in MARKS {
        svg.line((x(percentile), TOP), (x(percentile), BOTTOM), GRID);
        svg.text(x(percentile), BOTTOM + 18.0, "middle", "", label);
    }
    svg.text(f64::midpoint(LEFT, RIGHT), BOTTOM + 40.0, "middle", "", "percentile");
    for (system, colour) in systems.iter().zip(COLOURS.iter().cycle()) {
        let Some(runs) = curve.values.get(system) else { continue };
        let at = |i: usize| runs.iter().filter_map(|run| run.get(i).copied()).collect::<Vec<f64>>();
        let point = |i: usize, ms: Option<f64>| {
            format!("{:.1},{:.1} ", x(curve.percentiles[i]), y(ms.unwrap_or(least)))
        };
        let middle: String = shown.iter().map(|i| point(*i, median(&at(*i)))).collect();
        let upper = shown.iter().map(|i| point(*i, spread(&at(*i)).map(|(_, most)| most)));
        let lower = shown.iter().rev().map(|i| point(*i, spread(&at(*i)).map(|(least, _)| least)));
        let area: String = upper.chain(lower).collect();
        let _ = writeln!(svg.body, "<polygon points=\"{area}\" fill=\"{colour}\" fill-opacity=\"0.15\"/>");
        let _ = writeln!(
            svg.body,
            "<polyline points=\"{middle}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
    }
    svg.render()
}

/// A power of ten of milliseconds with its unit.
fn duration(ms: f64) -> String {
    if ms >= 1_000.0 { format!("{} s", ms / 1_000.0) } else { format!("{ms} ms") }
}

/// How many nines a percentile has; the longest of all comes a little after four.
fn nines(percentile: f64) -> f64 {
    if percentile >= 100.0 { 4.6 } else { -(1.0 - percentile / 100.0).log10() }
}

/// Bars of one figure after the other, a bar for each system with its spread.
pub(super) fn bars(title: &str, systems: &[String], figures: &[&Figure]) -> String {
    const BAR: f64 = 16.0;
    const BARS_LEFT: f64 = 270.0;
    let group = BAR * systems.len() as f64 + 14.0;
    let mut svg = Svg::new(title, TOP + group * figures.len() as f64 + 10.0);
    svg.legend(systems);
    let all: Vec<f64> = figures.iter().flat_map(|f| f.values.values().flatten().copied()).collect();
    let greatest = spread(&all).map_or(1.0, |(_, most)| most).max(f64::MIN_POSITIVE);
    let x = |value: f64| BARS_LEFT + (WIDTH - 60.0 - BARS_LEFT) * value / greatest;
    let mut y = TOP;
    for figure in figures {
        let direction = figure.measure.rsplit(' ').next().unwrap_or_default();
        let middle = y + (group - 14.0) / 2.0 + 4.0;
        svg.text(BARS_LEFT - 10.0, middle, "end", "", &format!("{}, {direction}", figure.case));
        for (system, colour) in systems.iter().zip(COLOURS.iter().cycle()) {
            let values = figure.values.get(system).map_or(&[][..], Vec::as_slice);
            if let (Some(value), Some((least, most))) = (median(values), spread(values)) {
                let width = x(value) - BARS_LEFT;
                let _ = writeln!(
                    svg.body,
                    "<rect x=\"{BARS_LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                    BAR - 2.0
                );
                let centre = y + BAR / 2.0 - 1.0;
                if most > least {
                    svg.line((x(least), centre), (x(most), centre), SPREAD);
                }
                svg.text(x(most) + 5.0, centre + 4.0, "start", "", &number(value));
            }
            y += BAR;
        }
        y += 14.0;
    }
    svg.render()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Curve, Figure, bars, latencies, nines};

    #[test]
    fn each_nine_is_as_wide_as_the_last() {
        assert!((nines(90.0) - 1.0).abs() < 1e-9);
        assert!((nines(99.9) - 3.0).abs() < 1e-9);
        assert!(nines(100.0) > nines(99.99));
    }

    #[test]
    fn every_system_has_a_line_and_a_bar() {
        let systems = ["a".to_owned(), "b <&".to_owned()];
        let curve = Curve {
            case: "case".into(),
            percentiles: vec![0.0, 99.0, 100.0],
            values: BTreeMap::from([
                ("a".to_owned(), vec![vec![0.1, 1.0, 20.0]]),
                ("b <&".to_owned(), vec![vec![0.2, 2.0, 30.0], vec![0.1, 3.0, 40.0]]),
            ]),
        };
        let svg = latencies("t", &systems, &curve);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!((super::duration(0.01), super::duration(10_000.0)), ("0.01 ms".into(), "10 s".into()));
        assert!(svg.contains("b &lt;&amp;") && svg.contains("10 ms"), "{svg}");
        let values = BTreeMap::from([("a".to_owned(), vec![1.0, 3.0, 2.0]), ("b <&".to_owned(), vec![0.5])]);
        let figure = Figure { case: "case".into(), measure: "per GB produced".into(), values };
        let svg = bars("t", &systems, &[&figure]);
        assert!(svg.contains(">2.00<") && svg.contains(">0.500<") && svg.contains("case, produced"), "{svg}");
    }
}
