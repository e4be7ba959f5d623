//! What the tools print: tables for people, JSON for programs.

use std::fmt;
use std::io::{self, Write as _};

use comfy_table::Table;
use serde_json::Value;

/// The command line makes no sense, which only became clear while working on it.
#[derive(Debug)]
pub(crate) struct BadUsage(pub(crate) String);

impl fmt::Display for BadUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadUsage {}

/// An error as one sentence: its causes follow, unless what came before says them already.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Whether standard output is gone.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints a line.
pub(crate) fn print_line(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Prints JSON.
pub(crate) fn print_json(value: &Value) -> io::Result<()> {
    print_line(&format!("{value:#}"))
}

/// Prints rows under headings, without lines, so that other tools can cut columns.
pub(crate) fn print_table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(headings.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    print_line(&lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn causes_are_said_once() {
        let cause = io::Error::other("disk on fire");
        let error =
            Err::<(), _>(cause).context("reading x").context("cannot start (disk on fire)").unwrap_err();
        assert_eq!(sentence(&error), "cannot start (disk on fire): reading x");
    }
}
