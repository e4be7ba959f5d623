//! `ottla check-dir` says beforehand what a start will do, and touches nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::server::Site;

fn run(site: &Site) -> (Output, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    let output = command.args(["check-dir", "--json", "--config"]).arg(site.properties()).output();
    let output = output.expect("ottla runs");
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output, report)
}

/// A node runs on it.
pub(crate) fn in_use(site: &Site) {
    let (output, report) = run(site);
    assert_eq!(output.status.code(), Some(2), "{report:#}");
    assert_eq!(report["verdict"], "cannot-be-opened");
    assert!(report["directories"][0]["locked_by"].as_i64().is_some_and(|pid| pid > 0), "{report:#}");
}

/// Nobody runs on it. `torn`: the partition whose log has so many bytes too many.
pub(crate) fn opens(site: &Site, clean: bool, torn: Option<(&str, usize)>) {
    let before = files(site);
    let (output, report) = run(site);
    assert_eq!(files(site), before, "the check changed something");
    let (code, verdict) = if clean { (0, "opens-cleanly") } else { (1, "opens-with-repairs") };
    assert_eq!((output.status.code(), &report["verdict"]), (Some(code), &Value::from(verdict)), "{report:#}");
    let partitions = report["partitions"].as_array().expect("partitions");
    assert!(partitions.len() > 15, "{report:#}");
    let cuts: Vec<(String, u64)> = partitions
        .iter()
        .flat_map(|partition| {
            let name =
                format!("{}-{}", partition["topic"].as_str().unwrap_or_default(), partition["partition"]);
            let cuts = partition["recovery"]["cut"].as_array().cloned().unwrap_or_default();
            cuts.into_iter().map(move |cut| (name.clone(), cut["bytes"].as_u64().unwrap_or_default()))
        })
        .collect();
    let expected: Vec<(String, u64)> =
        torn.into_iter().map(|(name, bytes)| (name.to_owned(), bytes as u64)).collect();
    assert_eq!(cuts, expected);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        assert!(report["contents"]["codecs"][codec].as_u64() > Some(0), "{codec}: {report:#}");
    }
}

/// Sizes and times of all files.
fn files(site: &Site) -> BTreeMap<PathBuf, (u64, std::time::SystemTime)> {
    fn add(dir: &Path, found: &mut BTreeMap<PathBuf, (u64, std::time::SystemTime)>) {
        for entry in fs::read_dir(dir).expect("a directory").flatten() {
            let about = entry.metadata().expect("it is there");
            found.insert(entry.path(), (about.len(), about.modified().expect("a time")));
            if about.is_dir() {
                add(&entry.path(), found);
            }
        }
    }
    let mut found = BTreeMap::new();
    for dir in site.dirs() {
        add(&dir, &mut found);
    }
    found
}
