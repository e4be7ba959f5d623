//! A Markdown table of medians with spread and ratio to the first column.

use std::fmt::Write as _;

pub(super) struct Table {
    text: String,
}

fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

impl Table {
    pub(super) fn new(names: &[&str]) -> Self {
        let mut text =
            format!("| |{}|\n|---|", names.iter().map(|n| format!(" {n} ")).collect::<Vec<_>>().join("|"));
        names.iter().for_each(|_| text.push_str("---|"));
        text.push('\n');
        Self { text }
    }

    /// One measure; `columns` holds the repetitions of each system.
    pub(super) fn row(&mut self, label: &str, columns: Vec<Vec<f64>>) {
        let mut base = None;
        let _ = write!(self.text, "| {label} |");
        for mut runs in columns {
            runs.sort_by(f64::total_cmp);
            let median = runs[runs.len() / 2];
            let spread = match runs[..] {
                [_] => String::new(),
                _ => format!(" ({}–{})", number(runs[0]), number(runs[runs.len() - 1])),
            };
            let ratio = base.map(|base: f64| format!(" ×{:.2}", median / base)).unwrap_or_default();
            base = base.or(Some(median));
            let _ = write!(self.text, " {}{spread}{ratio} |", number(median));
        }
        self.text.push('\n');
    }

    pub(super) fn render(self) -> String {
        self.text
    }
}
