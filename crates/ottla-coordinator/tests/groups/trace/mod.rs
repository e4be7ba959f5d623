//! Scenario files: blocks of commands, `----`, and the trace they must produce. `UPDATE=1` rewrites the traces.

use std::fmt::Write as _;
use std::path::Path;

/// Runs the commands of a file and returns the file with fresh traces.
fn replay(text: &str, mut run: impl FnMut(&str) -> String) -> String {
    let mut result = String::new();
    let mut in_trace = false;
    let mut pending: Vec<&str> = Vec::new();
    for line in text.lines().chain([""]) {
        if in_trace {
            in_trace = !line.is_empty();
            continue;
        }
        if line == "----" {
            result.push_str("----\n");
            for command in pending.drain(..) {
                result.push_str(&run(command));
            }
            result.push('\n');
            in_trace = true;
        } else if line.is_empty() || line.starts_with('#') {
            if !line.is_empty() {
                writeln!(result, "{line}").unwrap();
            }
        } else {
            pending.push(line);
            writeln!(result, "{line}").unwrap();
        }
    }
    assert!(pending.is_empty(), "commands without trace at the end");
    format!("{}\n", result.trim_end())
}

/// Checks every file of a directory below `tests/`, each with a scene of its own.
pub(crate) fn check<R: FnMut(&str) -> String>(directory: &str, mut scene: impl FnMut() -> R) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(directory);
    let update = std::env::var_os("UPDATE").is_some();
    let mut paths: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let mut failed = Vec::new();
    for path in paths {
        let expected = std::fs::read_to_string(&path).unwrap();
        let actual = replay(&expected, scene());
        if update {
            std::fs::write(&path, &actual).unwrap();
        } else if actual != expected {
            let at = actual.lines().zip(expected.lines()).position(|(a, e)| a != e);
            let at = at.unwrap_or(actual.lines().count().min(expected.lines().count()));
            let line = |text: &str| text.lines().nth(at).unwrap_or("<end>").to_owned();
            failed.push(format!(
                "{}:{}\n  expected {}\n  actual   {}",
                path.display(),
                at + 1,
                line(&expected),
                line(&actual)
            ));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
