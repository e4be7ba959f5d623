//! Kafka's DumpLogSegments over every file of a site.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::server::Site;

const DUMP: &str = "org.apache.kafka.tools.DumpLogSegments";
const COMPLAINTS: [&str; 6] =
    ["Mismatches in", "Non-consecutive", "isvalid: false", "Exception", "corrupt", "Could not"];

fn ours(arguments: &[String]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ottla")).arg("dump-log").args(arguments).output();
    let output = output.expect("ottla runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `ottla dump-log` prints the same lines. Of decoded records it prints more fields: there only what is about them is compared.
fn compare(kafka: &str, ottla: &str, option: &str) {
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| match option {
            "--cluster-metadata-decoder" => line.split(" headerKeys").next().unwrap_or_default().to_owned(),
            _ => line.to_owned(),
        });
        lines.collect()
    };
    let (kafka, ottla) = (lines(kafka), lines(ottla));
    for (at, line) in kafka.iter().enumerate() {
        assert_eq!(ottla.get(at), Some(line), "dump-log {option}, line {at}");
    }
    assert_eq!(ottla.len(), kafka.len(), "dump-log {option}: {:?}", ottla.get(kafka.len()));
}

/// Insists that the tool has no complaint.
pub(crate) fn check(site: &Site) {
    let (mut logs, mut indexes, mut metadata) = (Vec::new(), Vec::new(), Vec::new());
    for dir in site.dirs() {
        let partitions = fs::read_dir(dir).expect("a directory").flatten().map(|entry| entry.path());
        for partition in partitions.filter(|path| path.is_dir()) {
            let name = partition.file_name().expect("a name").to_string_lossy().into_owned();
            let is_metadata = name == "__cluster_metadata-0";
            for file in fs::read_dir(&partition).expect("a directory").flatten().map(|entry| entry.path()) {
                let size = fs::metadata(&file).map_or(0, |found| found.len());
                match file.extension().and_then(|e| e.to_str()) {
                    Some("log" | "checkpoint") if is_metadata => metadata.push(file),
                    _ if size == 0 || is_metadata || name.contains("-delete") => {}
                    Some("log") => logs.push(file),
                    Some("index" | "timeindex" | "snapshot" | "txnindex") => indexes.push(file),
                    _ => {}
                }
            }
        }
    }
    assert!(logs.len() > 10 && metadata.len() > 1 && indexes.len() > 10, "{logs:?} {indexes:?} {metadata:?}");
    let join = |files: &[PathBuf]| -> String {
        files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(",")
    };
    for (files, option) in [
        (&logs, "--deep-iteration"),
        (&indexes, "--index-sanity-check"),
        (&metadata, "--cluster-metadata-decoder"),
    ] {
        let arguments = [option.to_owned(), "--files".to_owned(), join(files)];
        let printed = site.tool(DUMP, &arguments);
        compare(&printed, &ours(&arguments), option);
        for line in printed.lines() {
            assert!(!COMPLAINTS.iter().any(|words| line.contains(words)), "DumpLogSegments {option}: {line}");
        }
    }
}
