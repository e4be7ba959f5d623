//! What the tools print: tables for people, JSON for programs.

use std::fmt;
use std::io::{self, Write as _};

use clap::{Args, ValueEnum};
use comfy_table::Table;
use serde_json::Value;

/// How lists and descriptions are printed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print JSON, the same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Print a table for people or JSON for programs
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: OutputFormat,
}

/// The values of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Columns
    Table,
    /// One JSON document
    Json,
}

impl OutputArgs {
    pub(crate) fn is_json(&self) -> bool {
        self.json || self.format == OutputFormat::Json
    }

    /// Prints rows under headings, or the same as JSON.
    pub(crate) fn print(
        &self,
        json: impl FnOnce() -> Value,
        headings: &[&str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> io::Result<()> {
        if self.is_json() { print_json(&json()) } else { print_table(headings, rows) }
    }

    /// Prints a line, or JSON instead of it.
    pub(crate) fn say(&self, json: impl FnOnce() -> Value, line: &str) -> io::Result<()> {
        if self.is_json() { print_json(&json()) } else { print_line(line) }
    }
}

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
    print_line(&table(headings, rows))
}

/// Rows under headings, as text.
pub(crate) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
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
    let mut lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    if let Some(first) = lines.first_mut().filter(|_| may_style(&io::stdout())) {
        *first = format!("\x1b[1m{first}\x1b[0m");
    }
    lines.join("\n")
}

/// Prints what went wrong.
pub(crate) fn print_error(text: &str) {
    if may_style(&io::stderr()) {
        eprintln!("\x1b[1;31merror:\x1b[0m {text}");
    } else {
        eprintln!("error: {text}");
    }
}

/// Whether a person looks who has not declined colours (<https://no-color.org>).
fn may_style(stream: &impl io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// `1 key`, `2 keys`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

/// `-` for nothing.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
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
