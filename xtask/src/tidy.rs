//! `cargo xtask tidy`: the rules of ARCHITECTURE.md that no compiler checks.
//!
//! Crates use lower levels only; pure crates use no clock, randomness, threads, sockets or files of their own; source files
//! say what they are and stay below their size limit; nothing is left for later. A crate without examples in its documentation
//! says so (`doctest = false`), since looking for them takes seconds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Longest source file in lines; tests and generated code are exempt.
const MAX_LINES: usize = 800;

/// Crate, level, whether it must be pure. A crate may depend on crates of lower levels only.
const CRATES: &[(&str, u8, bool)] = &[
    ("ottla-types", 0, true),
    ("ottla-protocol", 1, true),
    ("ottla-record", 1, true),
    ("ottla-config", 1, true),
    ("ottla-storage", 2, true),
    ("ottla-security", 2, true),
    ("ottla-quorum", 3, true),
    ("ottla-metadata", 3, true),
    ("ottla-coordinator", 3, true),
    ("ottla-replica", 3, true),
    ("ottla-net", 4, false),
    ("ottla-client", 5, false),
    ("ottla-broker", 6, false),
    ("ottla-console", 6, false),
    ("ottla", 7, false),
    ("xtask", 8, false),
];

/// What pure crates must not mention outside tests.
const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::env",
    "thread::spawn",
    "tokio::",
    "getrandom",
    "rand::",
];

/// The one pure module that may touch files: the real file system behind the `Fs` trait.
const FILE_SYSTEM: &str = "crates/ottla-storage/src/fs/";

/// Checks the whole tree.
///
/// # Errors
/// Lists every violation found.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut faults = Vec::new();
    check_levels(root, &mut faults)?;
    for krate in fs::read_dir(root.join("crates"))?.flatten().map(|e| e.path()).chain([root.join("xtask")]) {
        let name = krate.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        let pure = CRATES.iter().any(|(n, _, pure)| *n == name && *pure);
        let is_untested = fs::read_to_string(krate.join("Cargo.toml"))?.contains("doctest = false");
        for file in rust_files(&krate)? {
            check_file(root, &file, pure, &mut faults)?;
            let text = fs::read_to_string(&file)?;
            let is_code =
                |line: &str| line.trim_start_matches([' ', '/', '!']) == "```" && line.contains("//");
            if is_untested && text.lines().any(is_code) {
                faults.push(format!(
                    "{}: an example nobody runs: its crate has `doctest = false`",
                    file.display()
                ));
            }
        }
    }
    if faults.is_empty() {
        println!("tidy: ok");
        return Ok(());
    }
    for fault in &faults {
        eprintln!("tidy: {fault}");
    }
    bail!("{} tidy violation(s)", faults.len())
}

fn check_levels(root: &Path, faults: &mut Vec<String>) -> Result<()> {
    let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root)
        .output()
        .context("running cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
    let levels: BTreeMap<&str, u8> = CRATES.iter().map(|(name, level, _)| (*name, *level)).collect();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(level) = levels.get(name) else {
            faults.push(format!("crate {name} has no level in xtask/src/tidy.rs"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let dependency_name = dependency["name"].as_str().unwrap_or_default();
            let is_dev = dependency["kind"].as_str() == Some("dev");
            if let Some(other) = levels.get(dependency_name)
                && other >= level
                && !is_dev
            {
                faults.push(format!("{name} (level {level}) depends on {dependency_name} (level {other})"));
            }
        }
    }
    Ok(())
}

fn rust_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir)?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn check_file(root: &Path, path: &Path, pure: bool, faults: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(path)?;
    let shown = path.strip_prefix(root).unwrap_or(path).display().to_string();
    if text.lines().take(3).any(|line| line.contains("@generated")) {
        return Ok(());
    }
    let is_test = shown.contains("/tests/")
        || shown.ends_with("tests.rs")
        || shown.contains("/benches/")
        || shown.contains("/examples/");
    if !text.starts_with("//!") {
        faults.push(format!("{shown}: must begin with `//!` and say what it is"));
    }
    // Unit tests sit at the end of a file; the rules for code stop there.
    let code: Vec<&str> = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).collect();
    if !is_test && code.len() > MAX_LINES {
        faults.push(format!("{shown}: {} lines of code, the limit is {MAX_LINES}", code.len()));
    }
    for (number, line) in text.lines().enumerate() {
        if line.ends_with(' ') || line.contains('\t') {
            faults.push(format!("{shown}:{}: trailing blank or tab", number + 1));
        }
    }
    if is_test || shown.starts_with("xtask/") {
        return Ok(());
    }
    for (number, line) in code.iter().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
        if pure && !shown.starts_with(FILE_SYSTEM) {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                faults.push(format!("{shown}:{}: `{word}` in a pure crate", number + 1));
            }
        }
        for word in ["todo!", "unimplemented!", "dbg!("].iter().filter(|word| line.contains(**word)) {
            faults.push(format!("{shown}:{}: `{word}`", number + 1));
        }
    }
    Ok(())
}
