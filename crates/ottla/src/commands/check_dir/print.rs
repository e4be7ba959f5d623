//! The report for people.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use indicatif::HumanBytes;

use super::report::{Dir, Metadata, Partition, Report, Verdict, Weight};
use crate::output::table;

/// The whole report; the last line sums it up.
pub(super) fn text(report: &Report, verbose: bool) -> String {
    let mut text = String::new();
    for dir in &report.dirs {
        text.push_str(&of_dir(dir));
    }
    if let Some(metadata) = &report.metadata {
        text.push_str(&of_metadata(metadata));
        text.push_str(&of_contents(report));
    }
    let shown: Vec<&Partition> =
        report.partitions.iter().filter(|partition| verbose || partition.recovery.is_needed()).collect();
    if !shown.is_empty() {
        let rows = shown.iter().map(|partition| row(partition));
        let headings = ["PARTITION", "OFFSETS", "SEGMENTS", "SIZE", "AT THE START"];
        writeln!(text, "\n{}", table(&headings, rows)).expect("a string takes everything");
    }
    for (weight, heading) in [
        (Weight::Blocks, "In the way"),
        (Weight::Repairs, "Repaired by a start"),
        (Weight::Note, "Good to know"),
    ] {
        let found: Vec<_> = report.findings.iter().filter(|finding| finding.weight == weight).collect();
        if !found.is_empty() {
            writeln!(text, "\n{heading}:").expect("a string takes everything");
        }
        for finding in found {
            writeln!(text, "  - {}", finding.what).expect("a string takes everything");
            if let Some(next) = &finding.next {
                writeln!(text, "    {next}").expect("a string takes everything");
            }
        }
    }
    writeln!(text, "\n{}", summary(report)).expect("a string takes everything");
    text
}

fn line(text: &mut String, name: &str, value: impl Display) {
    writeln!(text, "  {name:<17} {value}").expect("a string takes everything");
}

fn of_dir(dir: &Dir) -> String {
    let mut text = format!("{}\n", dir.path.display());
    if let (Some(cluster), Some(node)) = (&dir.cluster_id, dir.node_id) {
        let id = dir.directory_id.as_deref().unwrap_or("none yet");
        line(&mut text, "belongs to", format_args!("cluster {cluster}, node {node}; directory id {id}"));
    }
    if let Some(clean) = dir.clean {
        let state = match (clean, dir.logs, dir.broker_epoch) {
            (true, _, Some(epoch)) => format!("clean, by the broker of epoch {epoch}"),
            (true, ..) => "clean".to_owned(),
            (false, 0, _) => "none: it holds no logs".to_owned(),
            (false, ..) => "not clean".to_owned(),
        };
        line(&mut text, "last stop", state);
        let mut holds = format!("{}, {}", counted(dir.logs, "log"), HumanBytes(dir.bytes));
        for (count, what) in
            [(dir.deleted, "being deleted"), (dir.stray.len(), "stray"), (dir.future, "moving here")]
        {
            if count > 0 {
                write!(holds, ", {count} {what}").expect("a string takes everything");
            }
        }
        line(&mut text, "holds", holds);
    }
    text
}

fn of_metadata(metadata: &Metadata) -> String {
    let mut text = "metadata\n".to_owned();
    let version = metadata.metadata_version.as_deref().unwrap_or("unknown");
    line(&mut text, "metadata.version", format_args!("{version} (level {})", metadata.metadata_level));
    line(&mut text, "features", listed(&metadata.features, "="));
    let voters = if metadata.voters.is_empty() {
        "voters as configured".to_owned()
    } else {
        format!("voters {:?}", metadata.voters)
    };
    let (version, epoch) = (metadata.kraft_version, metadata.leader_epoch);
    line(&mut text, "quorum", format_args!("kraft.version {version}, epoch {epoch}, {voters}"));
    let snapshot = metadata.newest_snapshot.as_deref().unwrap_or("none");
    let (start, end, bytes) = (metadata.log_start, metadata.log_end, HumanBytes(metadata.bytes));
    line(&mut text, "log", format_args!("offsets {start} to {end}, {bytes}; newest snapshot {snapshot}"));
    let (topics, partitions) = (metadata.topics, metadata.partitions);
    line(
        &mut text,
        "cluster",
        format_args!("{topics} topics, {partitions} partitions, brokers {:?}", metadata.brokers),
    );
    if metadata.client_quotas > 0 {
        line(&mut text, "client quotas", metadata.client_quotas);
    }
    text
}

fn of_contents(report: &Report) -> String {
    let contents = &report.contents;
    let mut text = "contents\n".to_owned();
    if !contents.formats.is_empty() {
        line(&mut text, "batches", listed(&contents.formats, " "));
        line(&mut text, "codecs", listed(&contents.codecs, " "));
    }
    if !contents.groups.is_empty() || contents.committed_offsets > 0 {
        let offsets = contents.committed_offsets;
        line(
            &mut text,
            "groups",
            format_args!("{}; {offsets} committed offsets", listed(&contents.groups, " ")),
        );
    }
    if !contents.transactions.is_empty() {
        line(&mut text, "transactional ids", listed(&contents.transactions, " "));
    }
    if text == "contents\n" { String::new() } else { text }
}

fn listed(map: &BTreeMap<String, impl Display>, joint: &str) -> String {
    let all: Vec<String> = map.iter().map(|(name, value)| format!("{name}{joint}{value}")).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// `1 segment`, `2 segments`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn row(partition: &Partition) -> Vec<String> {
    let recovery = &partition.recovery;
    let mut start = Vec::new();
    if recovery.rebuilt_segments > 0 {
        let (segments, bytes) = (recovery.rebuilt_segments, HumanBytes(recovery.scanned_bytes));
        start.push(format!("reads {} ({bytes}) again", counted(segments, "segment")));
    }
    start.extend(recovery.cut.iter().map(|cut| format!("cuts {} bytes", cut.bytes)));
    start.extend(recovery.other.iter().cloned());
    if start.is_empty() {
        start.push("opens as it is".to_owned());
    }
    vec![
        format!(
            "{}-{}{}",
            partition.topic,
            partition.partition,
            if partition.future { " (moving)" } else { "" }
        ),
        format!("{}..{}", partition.log_start, partition.log_end),
        partition.segments.to_string(),
        HumanBytes(partition.bytes).to_string(),
        start.join(", "),
    ]
}

fn summary(report: &Report) -> String {
    let bytes: u64 = report.partitions.iter().map(|partition| partition.bytes).sum();
    let count = |weight| report.findings.iter().filter(|finding| finding.weight == weight).count();
    let logs = format!("{}, {}", counted(report.partitions.len(), "log"), HumanBytes(bytes));
    match report.verdict() {
        Verdict::OpensCleanly => format!("opens cleanly: {logs}"),
        Verdict::OpensWithRepairs => {
            let scanned: u64 =
                report.partitions.iter().map(|partition| partition.recovery.scanned_bytes).sum();
            format!(
                "opens with repairs: {logs}; {}, {} to read again",
                counted(count(Weight::Repairs), "repair"),
                HumanBytes(scanned)
            )
        }
        Verdict::CannotBeOpened => {
            format!("cannot be opened: {}, see above", counted(count(Weight::Blocks), "reason"))
        }
    }
}
