//! A Markdown table of medians with spread and ratio to the first column.

use std::fmt::Write as _;

use super::super::results::{Outcome, median, spread};

/// The table of a scenario: a row for each measure in each case, a column for each system.
pub(super) fn render(outcome: &Outcome) -> String {
    let mut text = format!("| | |{}\n|---|---|", column_heads(outcome));
    outcome.systems.iter().for_each(|_| text.push_str("---|"));
    text.push('\n');
    let mut last = None;
    for figure in &outcome.figures {
        // A case is named in its first row.
        let case = if last == Some(&figure.case) { "" } else { &figure.case };
        last = Some(&figure.case);
        let _ = write!(text, "| {case} | {} |", figure.measure);
        let mut base = None;
        for system in &outcome.systems {
            let values = figure.values.get(system).map_or(&[][..], Vec::as_slice);
            let _ = write!(text, " {} |", cell(values, base));
            base = base.or(median(values));
        }
        text.push('\n');
    }
    text
}

fn column_heads(outcome: &Outcome) -> String {
    outcome.systems.iter().map(|name| format!(" {name} |")).collect()
}

fn cell(values: &[f64], base: Option<f64>) -> String {
    let (Some(middle), Some((least, greatest))) = (median(values), spread(values)) else {
        return "–".to_owned();
    };
    let spread = match values.len() {
        1 => String::new(),
        _ => format!(" ({}–{})", number(least), number(greatest)),
    };
    let ratio =
        base.filter(|base| *base > 0.0).map(|base| format!(" ×{:.2}", middle / base)).unwrap_or_default();
    format!("{}{spread}{ratio}", number(middle))
}

/// Three digits that count.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 || v == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{cell, number};

    #[test]
    fn a_cell_has_median_spread_and_ratio() {
        assert_eq!(cell(&[], None), "–");
        assert_eq!(cell(&[2.5], None), "2.50");
        assert_eq!(cell(&[3.0, 1.0, 2.0], Some(4.0)), "2.00 (1.00–3.00) ×0.50");
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!([1234.5, 12.34, 1.234, 0.1234].map(number), ["1234", "12.3", "1.23", "0.123"]);
    }
}
