//! Scenarios: files of commands with the controller's answers and records below them.
//!
//! A line that begins with `>` is a command; what follows it is what the controller answered and wrote. Run with `UPDATE=1` to
//! write the present behaviour into the files, and read the difference.

use std::fs;
use std::path::Path;

use crate::scenario::Cluster;

#[test]
fn scenarios_play_as_written() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let update = std::env::var_os("UPDATE").is_some();
    let mut files: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let mut failed = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let played = play(&text);
        if update {
            fs::write(&path, &played).unwrap();
        } else if played != text {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            failed.push(format!("{name}:\n{}", difference(&text, &played)));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn play(text: &str) -> String {
    let mut cluster = Cluster::new();
    let mut out = String::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix('>') {
            out.push_str(line);
            out.push('\n');
            for answer in cluster.run(command.trim()) {
                out.push_str(&answer);
                out.push('\n');
            }
            cluster.check();
        } else if line.is_empty() || line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

fn difference(expected: &str, got: &str) -> String {
    let (expected, got): (Vec<_>, Vec<_>) = (expected.lines().collect(), got.lines().collect());
    let mut lines = Vec::new();
    for at in 0..expected.len().max(got.len()) {
        let (a, b) = (expected.get(at), got.get(at));
        if a != b {
            lines.push(format!("  line {}:\n    expected {a:?}\n    got      {b:?}", at + 1));
        }
        if lines.len() == 5 {
            break;
        }
    }
    lines.join("\n")
}
