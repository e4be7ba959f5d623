//! Java programs of `tests/compat/java`, compiled against the jars of what they check.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::test::node::Node;
use crate::test::{Context, Outcome, run_command, setup};

/// A compiled program with its class path.
pub(super) struct Program {
    class_path: String,
    main: &'static str,
}

impl Program {
    /// Fetches `artifacts` into `target/{name}` and compiles `main` with what the programs share; `None` without a JDK.
    pub(super) fn build(
        context: &Context,
        name: &str,
        main: &'static str,
        artifacts: &[&str],
    ) -> Result<Option<Self>> {
        let Some(jars) = setup::jars(context, &format!("compat/{name}"), artifacts)? else { return Ok(None) };
        if !setup::has("javac", "-version") {
            return Ok(None);
        }
        let classes = context.target.join("compat/classes").join(name);
        fs::create_dir_all(&classes)?;
        let sources = context.root.join("tests/compat/java");
        run_command(
            Command::new("javac")
                .args(["-nowarn", "-d"])
                .arg(&classes)
                .arg("-cp")
                .arg(jars.join("*"))
                .arg(sources.join("Kit.java"))
                .arg(sources.join(format!("{main}.java"))),
        )?;
        Ok(Some(Self { class_path: format!("{}:{}/*", classes.display(), jars.display()), main }))
    }

    /// A command that runs it.
    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = java(&self.class_path);
        command.args(OPENED.map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED")));
        command.arg(self.main).args(args);
        command
    }

    /// Runs it to its end; what it printed goes to a file that the error names.
    pub(super) fn run(&self, args: &[&str], log: &Path) -> Result<()> {
        let status = logged(&mut self.command(args), log)?.wait()?;
        if !status.success() {
            let text = fs::read_to_string(log)?;
            let tail: Vec<&str> = text.lines().rev().take(40).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            bail!("{} {args:?}: {status}; the end of {}:\n{}", self.main, log.display(), tail.join("\n"));
        }
        Ok(())
    }
}

/// What Spark and Flink reach into.
const OPENED: [&str; 13] = [
    "java.lang",
    "java.lang.invoke",
    "java.lang.reflect",
    "java.io",
    "java.net",
    "java.nio",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "sun.nio.ch",
    "sun.nio.cs",
    "sun.security.action",
    "sun.util.calendar",
];

/// A JVM that is small and starts fast.
pub(super) fn java(class_path: &str) -> Command {
    let mut command = Command::new("java");
    command.args(["-Xmx1g", "-XX:TieredStopAtLevel=1", "-cp", class_path]).stdin(Stdio::null());
    command
}

/// Starts a command whose output goes to a file.
pub(super) fn logged(command: &mut Command, log: &Path) -> Result<Child> {
    if let Some(dir) = log.parent() {
        fs::create_dir_all(dir)?;
    }
    let file = File::create(log)?;
    command.stdout(file.try_clone()?).stderr(file);
    command.spawn().with_context(|| format!("starting {command:?}"))
}

/// A child that is ended when dropped.
pub(super) struct Guard(pub(super) Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `holds`, or fails with `what` after `limit`.
pub(super) fn until(limit: Duration, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !holds()? {
        ensure!(Instant::now() < deadline, "not within {} s: {what}", limit.as_secs());
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

pub(super) fn no_jdk() -> Result<Outcome> {
    Ok(Outcome::Skipped("a JDK or mvn is missing".into()))
}

/// An empty directory of a lane's own.
pub(super) fn fresh_dir(context: &Context, name: &str) -> Result<PathBuf> {
    let dir = context.target.join("compat/scratch").join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Runs a program that does all of its lane by itself: `Main BOOTSTRAP DIR`.
fn single(context: &Context, name: &str, main: &'static str, artifacts: &[&str]) -> Result<Outcome> {
    let Some(program) = Program::build(context, name, main, artifacts)? else { return no_jdk() };
    let dir = fresh_dir(context, name)?;
    let mut node = Node::start(&context.ottla()?, &context.target)?;
    program.run(
        &[&node.bootstrap, dir.to_str().context("a path in UTF-8")?],
        &context.target.join(format!("compat/{name}.log")),
    )?;
    node.stop()?;
    Ok(Outcome::Passed)
}

pub(crate) fn flink(context: &Context) -> Result<Outcome> {
    const ARTIFACTS: &[&str] = &[
        "org.apache.flink:flink-streaming-java:2.2.1",
        "org.apache.flink:flink-clients:2.2.1",
        "org.apache.flink:flink-connector-base:2.2.1",
        "org.apache.flink:flink-connector-kafka:5.0.0-2.2",
    ];
    single(context, "flink", "FlinkCheck", ARTIFACTS)
}

pub(crate) fn spark(context: &Context) -> Result<Outcome> {
    const ARTIFACTS: &[&str] =
        &["org.apache.spark:spark-sql_2.13:4.1.1", "org.apache.spark:spark-sql-kafka-0-10_2.13:4.1.1"];
    single(context, "spark", "SparkCheck", ARTIFACTS)
}

pub(crate) fn schemas(context: &Context) -> Result<Outcome> {
    single(context, "connect", "SchemasCheck", super::connect::ARTIFACTS)
}

pub(crate) fn verifiable(context: &Context) -> Result<Outcome> {
    const RECORDS: usize = 20_000;
    let Some(jars) = setup::tools_jars(context)? else { return no_jdk() };
    let dir = fresh_dir(context, "verifiable")?;
    let class_path = jars.join("*").display().to_string();
    for protocol in ["classic", "consumer"] {
        let mut node = Node::start(&context.ottla()?, &context.target)?;
        let sent = dir.join(format!("{protocol}-producer.log"));
        let count = RECORDS.to_string();
        let args = ["--max-messages", &*count, "--throughput", "3000", "--acks", "-1"];
        let server = ["--bootstrap-server", &*node.bootstrap, "--topic", "verifiable"];
        let mut producer = Guard(logged(
            java(&class_path).arg("org.apache.kafka.tools.VerifiableProducer").args(server).args(args),
            &sent,
        )?);
        let consumers = ["a", "b"].map(|name| dir.join(format!("{protocol}-consumer-{name}.log")));
        let mut members = Vec::new();
        for log in &consumers {
            let mut command = java(&class_path);
            command.arg("org.apache.kafka.tools.VerifiableConsumer").args(server);
            command.args(["--group-id", "verifiable", "--group-protocol", protocol, "--verbose"]);
            command.args(["--reset-policy", "earliest"]);
            members.push(Guard(logged(&mut command, log)?));
        }
        std::thread::sleep(Duration::from_secs(4));
        node.crash_and_restart()?;
        ensure!(producer.0.wait()?.success(), "the producer failed; see {}", sent.display());
        let acked = values(&sent, "producer_send_success")?;
        // It does not send again what was under way when the broker died.
        ensure!(acked.len() > RECORDS * 9 / 10, "{} of {RECORDS} records were acknowledged", acked.len());
        until(Duration::from_secs(60), "all acknowledged records are read", || {
            let mut read = Vec::new();
            for log in &consumers {
                read.extend(values(log, "record_data")?);
            }
            read.sort_unstable();
            read.dedup();
            Ok(acked.iter().all(|value| read.binary_search(value).is_ok()))
        })?;
        drop(members);
        node.stop()?;
    }
    Ok(Outcome::Passed)
}

/// The values in the JSON lines of one event; a line that is still being written is passed over.
fn values(log: &Path, event: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(log)?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    Ok(lines
        .filter(|line| line["name"] == event)
        .filter_map(|line| line["value"].as_str().map(str::to_owned))
        .collect())
}
