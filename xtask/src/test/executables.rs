//! The lane of the workspace's own tests. Cargo builds the executables and runs one after the other; many of them wait for servers
//! and JVMs, so here they run side by side, as cargo would run them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::node::Node;
use super::{Context, Outcome, run_command, setup, side_by_side};

/// How many run at the same time.
const WORKERS: usize = 2;

/// These have lanes of their own.
const ELSEWHERE: &[&str] = &["ottla-interchange", "ottla-broker-differential"];

/// What takes longest begins first.
const LONGEST: &[&str] = &["ottla-cli_oracle", "ottla-broker-oracle", "ottla-broker-node"];

/// A test executable, named after its package and itself.
struct Executable {
    name: String,
    path: PathBuf,
    /// The directory of its package, in which it runs.
    dir: PathBuf,
}

pub(super) fn lane(context: &Context) -> Result<Outcome> {
    let kafka = setup::kafka_jars(context)?;
    if kafka.is_none() {
        eprintln!("SKIPPED: comparison with Apache Kafka's classes: java or mvn is missing");
    }
    let tools = setup::tools_jars(context)?;
    let mut executables = build(context)?;
    let rank = |name: &str| LONGEST.iter().position(|longest| *longest == name).unwrap_or(LONGEST.len());
    executables.sort_by_key(|executable| rank(&executable.name));
    let logs = context.target.join("lanes/rust");
    fs::create_dir_all(&logs)?;
    let mut node = Node::start(&context.ottla()?, &context.target)?;
    let failed = Mutex::new(Vec::new());
    side_by_side::each(executables, WORKERS, |executable| {
        let mut command = Command::new(&executable.path);
        command.arg("--quiet").current_dir(&executable.dir).env("CARGO_MANIFEST_DIR", &executable.dir);
        if let Some(jars) = &kafka {
            command.env("OTTLA_KAFKA_CLASSPATH", jars);
        }
        if let Some(jars) = &tools {
            command.env("OTTLA_KAFKA_TOOLS_CLASSPATH", jars);
        }
        if executable.name == "ottla-client-broker" {
            command.env("OTTLA_TEST_BOOTSTRAP", &node.bootstrap);
        }
        if !succeeds(&mut command, &executable.name, &logs) {
            failed.lock().unwrap_or_else(PoisonError::into_inner).push(executable.name);
        }
    });
    node.stop()?;
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    let documented = run_command(context.cargo().args(["test", "--workspace", "--doc", "--quiet"]));
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    documented?;
    Ok(Outcome::Passed)
}

/// Runs it and says how long that took; what it printed is told if it failed, else only what was skipped.
fn succeeds(command: &mut Command, name: &str, logs: &Path) -> bool {
    let begin = Instant::now();
    let (printed, succeeded) = side_by_side::logged(command, &logs.join(format!("{name}.log")))
        .unwrap_or_else(|error| (format!("{error:#}"), false));
    let told: Vec<&str> = printed.lines().filter(|line| !succeeded || line.starts_with("SKIPPED")).collect();
    let word = if succeeded { "ok" } else { "FAILED" };
    let seconds = begin.elapsed().as_secs_f64();
    println!("{}", [&[&*format!("{name:32} {seconds:>6.1} s  {word}")], &told[..]].concat().join("\n"));
    succeeded
}

/// Builds all test executables of the workspace.
fn build(context: &Context) -> Result<Vec<Executable>> {
    let mut command = context.cargo();
    command.args(["test", "--workspace", "--no-run", "--quiet", "--message-format=json-render-diagnostics"]);
    let output = command.stderr(Stdio::inherit()).output().context("starting cargo")?;
    if !output.status.success() {
        bail!("{}: {command:?}", output.status);
    }
    let mut found = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: Value = serde_json::from_str(line).context("reading what cargo says")?;
        if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
            continue;
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let Some(path) = text(&message["executable"]) else { continue };
        let manifest = text(&message["manifest_path"]).context("an executable without manifest")?;
        let dir = Path::new(&manifest).parent().context("a manifest's directory")?.to_owned();
        let package = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let target = text(&message["target"]["name"]).context("an executable without name")?;
        let name = if target.replace('_', "-") == package { package } else { format!("{package}-{target}") };
        if !ELSEWHERE.contains(&&*name) {
            found.push(Executable { name, path: path.into(), dir });
        }
    }
    ensure!(found.len() > 20, "only {} test executables", found.len());
    Ok(found)
}
