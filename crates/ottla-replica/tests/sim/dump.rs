//! What a node leaves after crashes and recoveries passes Kafka's own DumpLogSegments.
//!
//! Runs when `OTTLA_KAFKA_TOOLS_CLASSPATH` names a directory with the jars of Kafka's tools and there is a JDK; says SKIPPED
//! otherwise.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ottla_storage::fs::{Fs, MemFs, read_file};

use crate::life::Life;
use crate::world::{DIRS, Rules};

const DUMP: &str = "org.apache.kafka.tools.DumpLogSegments";
const COMPLAINTS: [&str; 6] =
    ["Mismatches in", "Non-consecutive", "isvalid: false", "Exception", "corrupt", "Could not"];
const SEEDS: u64 = 6;

/// Writes what is in memory to real files.
fn copy(from: &MemFs, dir: &Path, to: &Path, files: &mut Vec<PathBuf>) {
    fs::create_dir_all(to).unwrap();
    for (name, info) in from.list(dir).unwrap() {
        let (from_path, to_path) = (dir.join(&name), to.join(&name));
        if name.ends_with("-delete") {
            // A crash may have torn what is in it; nobody reads it any more.
        } else if info.is_dir {
            copy(from, &from_path, &to_path, files);
        } else {
            fs::write(&to_path, read_file(from, &from_path, 1 << 24).unwrap()).unwrap();
            if info.len > 0 {
                files.push(to_path);
            }
        }
    }
}

#[test]
fn kafka_reads_what_crashes_and_recoveries_leave() {
    let Some(jars) = std::env::var_os("OTTLA_KAFKA_TOOLS_CLASSPATH").map(PathBuf::from) else {
        eprintln!("SKIPPED: OTTLA_KAFKA_TOOLS_CLASSPATH (directory of the jars of Kafka's tools) is not set");
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for seed in 0..SEEDS {
        let left = Life::new(seed, Rules::default()).live_to_clean_end();
        for dir in DIRS {
            let to = scratch.path().join(format!("{seed}{dir}"));
            copy(&left, dir.as_ref(), &to, &mut files);
        }
    }
    let with = |extensions: &[&str]| -> Vec<String> {
        let is_one = |path: &&PathBuf| {
            path.extension().is_some_and(|own| extensions.iter().any(|other| own == *other))
        };
        files.iter().filter(is_one).map(|path| path.display().to_string()).collect()
    };
    for (option, extensions) in [
        ("--deep-iteration", &["log"][..]),
        ("--index-sanity-check", &["index", "timeindex", "txnindex", "snapshot"]),
    ] {
        let files = with(extensions);
        assert!(files.len() > 10, "{files:?}");
        let output = Command::new("java")
            .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp"])
            .arg(jars.join("*"))
            .args([DUMP, option, "--files", &files.join(",")])
            .output();
        let output = match output {
            Ok(output) => output,
            Err(error) => return eprintln!("SKIPPED: java cannot be run: {error}"),
        };
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{option}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(printed.lines().count() >= files.len(), "{printed}");
        for line in printed.lines() {
            // Retention and compaction leave gaps between segments, which are files of their own to the tool.
            assert!(!COMPLAINTS.iter().any(|words| line.contains(words)), "{option}: {line}");
        }
    }
}
