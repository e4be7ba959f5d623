//! Differences between two servers' answers, and the list of error codes that stands in for Kafka where there is none.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use crate::client::Entry;

/// Differences that stay: beginning of the case, part of the field's path, why. `docs/differences.md` has them too.
const ACCEPTED: &[(&str, &str, &str)] = &[
    ("", "durability.policy", "ottla's own key of topics and brokers"),
    ("", "[\"ottla.", "ottla's own keys of brokers"),
    (
        "Metadata: neither id nor name",
        "",
        "Kafka fails with UNKNOWN_SERVER_ERROR; here it is an invalid name",
    ),
    (
        "IncrementalAlterConfigs: operation unknown",
        "",
        "Kafka fails with UNKNOWN_SERVER_ERROR; here the request is invalid",
    ),
    (
        "Fetch: no such isolation level",
        "",
        "Kafka fails with UNKNOWN_SERVER_ERROR; here all that is not 1 reads uncommitted",
    ),
    ("Fetch: records of: no such isolation level", "", "as above"),
    (
        "ListOffsets: -1 deleted to ",
        "[\"w-txn-records\"].partitions[0].offset",
        "Kafka's last stable offset stays at the first record of the batch that was deleted in part",
    ),
    ("Fetch: deleted to 3, isolation 1", ".last_stable_offset", "as above"),
];

fn accepted(case: &str, field: &str) -> Option<&'static str> {
    let is_it = |(start, part, _): &&(&str, &str, &str)| case.starts_with(start) && field.contains(part);
    ACCEPTED.iter().find(is_it).map(|(_, _, why)| *why)
}

/// What differs, cases with the same difference in several versions together; empty when nothing does.
pub(crate) fn differences(ours: &[Entry], theirs: &[Entry]) -> String {
    let mut found: Vec<(String, String, Vec<i16>)> = Vec::new();
    for (own, their) in ours.iter().zip(theirs) {
        if (&own.case, own.version) != (&their.case, their.version) {
            let text = format!(
                "the scripts part: {} v{} / {} v{}\n",
                own.case, own.version, their.case, their.version
            );
            found.push((own.case.clone(), text, vec![own.version]));
            break;
        }
        let text = fields(own, their);
        if text.is_empty() {
            continue;
        }
        match found.iter_mut().find(|(case, other, _)| *case == own.case && *other == text) {
            Some((_, _, versions)) => versions.push(own.version),
            None => found.push((own.case.clone(), text, vec![own.version])),
        }
    }
    if ours.len() != theirs.len() {
        found.push((
            "end".to_owned(),
            format!("{} answers / {} of Kafka\n", ours.len(), theirs.len()),
            Vec::new(),
        ));
    }
    let mut report = String::new();
    for (case, text, versions) in found {
        writeln!(report, "{case} in versions {versions:?}\n{text}").expect("a string takes all");
    }
    report
}

fn fields(own: &Entry, their: &Entry) -> String {
    let split = |line: &String| {
        let (path, value) = line.split_once(" = ").unwrap_or((line, ""));
        (path.to_owned(), value.to_owned())
    };
    let mine: BTreeMap<String, String> = own.fields.iter().map(split).collect();
    let yours: BTreeMap<String, String> = their.fields.iter().map(split).collect();
    let paths: std::collections::BTreeSet<&String> = mine.keys().chain(yours.keys()).collect();
    let mut text = String::new();
    for path in paths {
        let (mine, yours) = (mine.get(path), yours.get(path));
        if mine != yours && accepted(&own.case, path).is_none() {
            let show = |value: Option<&String>| value.cloned().unwrap_or_else(|| "-".to_owned());
            writeln!(text, "    {path}: {}, Kafka: {}", show(mine), show(yours)).expect("a string takes all");
        }
    }
    text
}

/// Case, versions, error codes in the order of the response: one line for versions that agree.
pub(crate) fn codes(entries: &[Entry]) -> String {
    let mut lines: Vec<(String, i16, i16, String)> = Vec::new();
    for entry in entries.iter().filter(|entry| accepted(&entry.case, "error_code").is_none()) {
        let codes = entry.fields.iter().filter_map(|line| {
            let (path, value) = line.split_once(" = ")?;
            (path.ends_with("error_code") || path == "no answer").then_some(value)
        });
        let codes = codes.collect::<Vec<_>>().join(" ");
        match lines.iter_mut().rev().find(|(case, ..)| *case == entry.case) {
            Some((_, _, high, same))
                if *same == codes && (*high + 1 == entry.version || *high == entry.version) =>
            {
                *high = entry.version;
            }
            _ => lines.push((entry.case.clone(), entry.version, entry.version, codes)),
        }
    }
    let mut text = String::new();
    for (case, low, high, codes) in lines {
        writeln!(text, "{case} | {low}-{high} | {codes}").expect("a string takes all");
    }
    text
}

/// Checks the recorded error codes; `UPDATE=1` writes those of Kafka.
pub(crate) fn check_codes(own: &str, kafka: Option<&str>) -> Result<(), String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/codes.txt");
    if let (Some(kafka), Some(_)) = (kafka, std::env::var_os("UPDATE")) {
        std::fs::write(&path, kafka).map_err(|error| error.to_string())?;
    }
    let recorded = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    if kafka.is_some_and(|kafka| kafka != recorded) {
        return Err("codes.txt is not what Kafka answers now: run with UPDATE=1\n".to_owned());
    }
    let mut report = String::new();
    for line in own.lines().filter(|line| !recorded.lines().any(|other| other == *line)) {
        writeln!(report, "    got      {line}").expect("a string takes all");
    }
    for line in recorded.lines().filter(|line| !own.lines().any(|other| other == *line)) {
        writeln!(report, "    recorded {line}").expect("a string takes all");
    }
    if report.is_empty() {
        Ok(())
    } else {
        Err(format!("error codes differ from the recorded ones\n{report}"))
    }
}
