//! The document: targets, and a section for each scenario with its tables and plots.
//!
//! A section whose results are not kept here stays as the document has it, and so does the row of a target.

mod plot;
mod table;
mod targets;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use super::results::Outcome;
use super::scenarios::{self, Scenario};
use targets::Row;

/// Where results, document and plots are.
pub(super) struct Paths {
    pub(super) results: PathBuf,
    pub(super) document: PathBuf,
    pub(super) plots: PathBuf,
}

const INTRODUCTION: &str = "\
# Benchmarks

Written by `cargo xtask bench`; do not edit. In one run ottla and Apache Kafka take turns, each time on an empty directory, on the same machine as
the clients, so that what a client takes the server does not get: where the client is the limit, compare the server's CPU time, not the rate.

- A cell is the median of the repetitions (least–greatest); ×N is the ratio to the first column. With one repetition differences
  below about 10 % say nothing, nor do those of the highest percentiles.
- Apache Kafka runs with its shipped defaults and a 1 GiB heap and acknowledges from the page cache, as ottla's policy `page-cache` does;
  with `sync`, ottla's default, an acknowledged record is on the disk.
- GB are 10⁹ bytes of records before compression. Broker CPU seconds are the server's own user and system time, resident is its memory
  at the end of the case.
- Latency is from the time at which a record should be sent (open loop, so that a stall counts for all that waited) to its acknowledgement.
- Before each case, for each system alike, the run waits until what was written is on the disk and the disk rests, and fills the page
  cache by reading a sparse file, as it is full on a machine that has run for a while: a virtual machine may give free memory back to its
  host, and then the first use of a page costs several times as much ([what memory costs](performance.md#what-memory-costs-in-a-virtual-machine)).

`cargo xtask bench --list` names the scenarios, `cargo xtask bench NAME…` runs some and replaces their sections, `--resume` goes on with a run
that was cut off or adds repetitions to it, and `cargo xtask bench --quick` gives a first impression in five minutes without changing this document. What was
tried to get here is in [performance.md](performance.md).
";

/// Writes the document and the plots.
pub(super) fn write(paths: &Paths) -> Result<()> {
    let old = fs::read_to_string(&paths.document).unwrap_or_default();
    let outcomes = load(paths)?;
    let mut text = INTRODUCTION.to_owned();
    let rows = targets::rows(&outcomes);
    let _ = write!(text, "\n## Targets\n\n{}", targets_table(&rows, &old));
    for scenario in scenarios::ALL {
        let (begin, end) = marks(scenario);
        let section = match outcomes.iter().find(|outcome| outcome.scenario == scenario.name) {
            Some(outcome) => section(outcome, scenario) + &plots(outcome, scenario, paths)?,
            None => match between(&old, &begin, &end) {
                Some(kept) => kept.to_owned(),
                None => format!(
                    "## {}\n\nNot measured yet: `cargo xtask bench {}`.\n",
                    scenario.title, scenario.name
                ),
            },
        };
        let _ = write!(text, "\n{begin}{section}{end}");
    }
    fs::write(&paths.document, text)?;
    println!("written: {}", paths.document.display());
    Ok(())
}

/// The table of targets for the terminal.
pub(super) fn targets(paths: &Paths) -> Result<String> {
    Ok(targets_table(&targets::rows(&load(paths)?), ""))
}

fn load(paths: &Paths) -> Result<Vec<Outcome>> {
    let all = scenarios::ALL.iter().map(|scenario| Outcome::load(&paths.results, scenario.name));
    all.filter_map(Result::transpose).collect()
}

/// The section of a scenario, without its plots.
pub(super) fn section(outcome: &Outcome, scenario: &Scenario) -> String {
    let mut remarks = String::new();
    for failure in &outcome.failures {
        // The first line says what, the rest is a server's log.
        let _ = write!(remarks, "\n**Failed**: {}.\n", failure.lines().next().unwrap_or_default());
    }
    if outcome.restless > 0 {
        let _ = write!(
            remarks,
            "\nBefore {} measurement(s) the disk did not come to rest in time: other programs may have used it.\n",
            outcome.restless
        );
    }
    format!(
        "## {}\n\n{}\n\n{}\n`{}` on {}: {}, {}; {} repetition(s) in {:.1} min.\n{remarks}",
        scenario.title,
        scenario.about,
        table::render(outcome),
        outcome.command,
        outcome.date,
        outcome.machine,
        outcome.versions.join(", "),
        outcome.made(),
        outcome.seconds / 60.0
    )
}

/// Writes a scenario's plots and returns the lines that show them.
fn plots(outcome: &Outcome, scenario: &Scenario, paths: &Paths) -> Result<String> {
    let folder = paths.plots.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut files = Vec::new();
    for curve in &outcome.curves {
        let title = format!("{}: {}", scenario.title, curve.case);
        let file = format!("{}-{}.svg", scenario.name, slug(&curve.case));
        files.push((title.clone(), file, plot::latencies(&title, &outcome.systems, curve)));
    }
    // Small records cost ten times as much a gigabyte; beside them nothing else would be seen, and they are compared by the record.
    let costs: Vec<_> = outcome
        .figures
        .iter()
        .filter(|f| f.measure.starts_with("broker CPU-s per GB") && f.case != scenarios::throughput::SMALL)
        .collect();
    if !costs.is_empty() {
        let title = format!("{}: CPU seconds per GB, shorter is better", scenario.title);
        let file = format!("{}-cpu.svg", scenario.name);
        files.push((title.clone(), file, plot::bars(&title, &outcome.systems, &costs)));
    }
    fs::create_dir_all(&paths.plots)?;
    // A case that is no more has no plot.
    for old in fs::read_dir(&paths.plots)?.flatten() {
        let name = old.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(&format!("{}-", scenario.name))) {
            fs::remove_file(old.path())?;
        }
    }
    let mut lines = String::new();
    for (title, file, svg) in files {
        fs::write(paths.plots.join(&file), svg)?;
        let _ = write!(lines, "\n![{title}]({folder}/{file})\n");
    }
    Ok(lines)
}

const TARGETS_HEAD: &str = "| target | measured | | why |\n|---|---|---|---|\n";

fn targets_table(rows: &[Row], old: &str) -> String {
    let mut text = TARGETS_HEAD.to_owned();
    for row in rows {
        let begin = format!("| {} |", row.target);
        let line = match &row.verdict {
            Some(verdict) => {
                let (word, why) = if verdict.met { ("met", "") } else { ("**missed**", row.why) };
                format!("{begin} {} | {word} | {why} |", verdict.measured)
            }
            None => match old.lines().find(|line| line.starts_with(&begin)) {
                Some(kept) => kept.to_owned(),
                None => format!("{begin} | not measured | |"),
            },
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn marks(scenario: &Scenario) -> (String, String) {
    (format!("<!-- scenario {} -->\n", scenario.name), format!("<!-- end of {} -->\n", scenario.name))
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(begin)?;
    rest.split_once(end).map(|(inner, _)| inner)
}

/// A case as part of a file name.
fn slug(case: &str) -> String {
    let mut slug = String::new();
    for c in case.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => slug.push(c.to_ascii_lowercase()),
            _ if slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    slug.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::targets::{Row, Verdict};
    use super::{Outcome, Paths, between, slug, targets_table, write};

    #[test]
    fn a_case_becomes_a_file_name() {
        assert_eq!(slug("20 k records/s, 1 KiB"), "20-k-records-s-1-kib");
    }

    #[test]
    fn a_target_that_was_not_measured_keeps_its_row() {
        let row = |target: &str, verdict| Row { target: target.to_owned(), verdict, why: "because" };
        let old = "| one | 5 | met | |\n| two | 6 | met | |\n";
        let measured = Verdict { measured: "7".to_owned(), met: false };
        let text = targets_table(&[row("one", None), row("two", Some(measured)), row("three", None)], old);
        assert!(
            text.ends_with(
                "| one | 5 | met | |\n| two | 7 | **missed** | because |\n| three | | not measured | |\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_run_of_one_scenario_keeps_the_sections_of_others() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let paths = Paths {
            results: dir.path().join("results"),
            document: dir.path().join("document.md"),
            plots: dir.path().join("document"),
        };
        let mut outcome =
            Outcome { scenario: "size".into(), systems: vec!["a".into()], ..Outcome::default() };
        outcome.record("a", "case", "measure", 4.5);
        outcome.save(&paths.results)?;
        write(&paths)?;
        let first = std::fs::read_to_string(&paths.document)?;
        std::fs::remove_dir_all(&paths.results)?;
        write(&paths)?;
        let second = std::fs::read_to_string(&paths.document)?;
        assert_eq!(first, second);
        let section = between(&second, "<!-- scenario size -->\n", "<!-- end of size -->\n");
        assert!(section.is_some_and(|section| section.contains("| case | measure | 4.50 |")), "{second}");
        Ok(())
    }
}
