//! Apache Kafka's administration tools, on Apache Kafka and on a node: what they print must be the same.
//!
//! The scripts in `tests/clients/tools` are run by one JVM per server (`Tools.java`). Compared is what is left when everything
//! that no two servers share (ids, ports, directories, times) or that each says in its own words (messages of errors) is taken
//! out. The transcripts stay in `target/tools` to be looked at.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::node::Node;
use super::{Context, Outcome, output_of, setup};
use crate::kafka::{Kafka, QUICK_GROUPS, SINGLE_NODE};

const SCRIPTS: &[&str] = &["configs", "cluster"];

pub(super) fn lane(context: &Context) -> Result<Outcome> {
    let (Some(kafka), Some(tools), Some(configs)) =
        (setup::kafka_jars(context)?, setup::tools_jars(context)?, setup::config_jars(context)?)
    else {
        return Ok(Outcome::Skipped("java or mvn is missing".into()));
    };
    let jars = Jars { tools, configs, source: context.root.join("tests/clients/tools") };
    let dir = context.target.join("tools");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    // One after the other in the same place: the tools print directories in the order of the hashes of their names.
    let of_kafka = {
        let place = Place::below(&dir)?;
        let server = Kafka::start_with(&kafka, &place.dir, &place.options())?;
        play(&jars, &place, "kafka", &server.bootstrap)?
    };
    let of_ottla = {
        let place = Place::below(&dir)?;
        let mut node = Node::start_with(&context.ottla()?, &dir, &place.options())?;
        let said = play(&jars, &place, "ottla", &node.bootstrap)?;
        node.stop()?;
        said
    };
    let mut different = 0;
    for (script, (theirs, ours)) in SCRIPTS.iter().zip(of_kafka.iter().zip(&of_ottla)) {
        different += compare(script, theirs, ours)?;
    }
    ensure!(different == 0, "{different} commands say something else of ottla than of Apache Kafka");
    Ok(Outcome::Passed)
}

/// Where the tools are.
struct Jars {
    tools: PathBuf,
    /// Of the last release that has ConfigCommand in a published jar.
    configs: PathBuf,
    source: PathBuf,
}

/// The directories of a server.
struct Place {
    dir: PathBuf,
    logs: [PathBuf; 2],
    log_dirs: String,
}

impl Place {
    fn below(scratch: &Path) -> Result<Self> {
        let dir = scratch.join("server");
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        let logs = [dir.join("one"), dir.join("two")];
        let log_dirs = format!("log.dirs={},{}", logs[0].display(), logs[1].display());
        Ok(Self { dir, logs, log_dirs })
    }

    fn options(&self) -> Vec<&str> {
        // A node without a file of properties decides the last four itself; then they are not defaults.
        let more = [
            &*self.log_dirs,
            "transaction.state.log.num.partitions=5",
            "inter.broker.listener.name=PLAINTEXT",
            "num.partitions=1",
            "share.coordinator.state.topic.min.isr=1",
            "share.coordinator.state.topic.replication.factor=1",
        ];
        SINGLE_NODE.iter().chain(QUICK_GROUPS).copied().chain(more).collect()
    }
}

/// Runs all scripts and returns what was said, a block of lines for each command.
fn play(jars: &Jars, place: &Place, who: &str, bootstrap: &str) -> Result<Vec<Vec<Block>>> {
    let mut all = Vec::new();
    for script in SCRIPTS {
        let mut command = Command::new("java");
        command
            .args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"])
            .arg(jars.tools.join("*"))
            .arg(jars.source.join("Tools.java"))
            .arg(jars.source.join(format!("{script}.txt")))
            .arg(bootstrap)
            .args([&place.dir, &place.logs[0], &place.logs[1], &jars.configs])
            .stdin(Stdio::null());
        let said = output_of(&mut command).with_context(|| format!("the tools of {script}.txt"))?;
        fs::write(place.dir.with_file_name(format!("{script}.{who}")), &said)?;
        let said = said.replace(bootstrap, "SERVER");
        all.push(blocks(&said));
    }
    Ok(all)
}

/// A command and what it printed.
struct Block {
    command: String,
    lines: Vec<String>,
}

fn blocks(said: &str) -> Vec<Block> {
    let mut blocks = Vec::<Block>::new();
    for line in said.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            blocks.push(Block { command: command.to_owned(), lines: Vec::new() });
        } else if let Some(block) = blocks.last_mut() {
            let line = normal(line);
            block.lines.extend(line.map(|line| without(own_columns(&block.command), &line)));
        }
    }
    blocks
}

/// Prints where the two differ, and returns in how many commands.
fn compare(script: &str, theirs: &[Block], ours: &[Block]) -> Result<usize> {
    ensure!(theirs.len() > 50 && theirs.len() == ours.len(), "{script}.txt was not played to its end");
    let mut different = 0;
    for (theirs, ours) in theirs.iter().zip(ours) {
        if theirs.lines != ours.lines {
            different += 1;
            eprintln!("> {}", theirs.command);
            let only = |of: &[String], other: &[String], who: &str| {
                of.iter().filter(|line| !other.contains(line)).for_each(|line| eprintln!("  {who}: {line}"));
            };
            only(&theirs.lines, &ours.lines, "kafka");
            only(&ours.lines, &theirs.lines, "ottla");
        }
    }
    println!("{script}.txt: {} commands", theirs.len());
    Ok(different)
}

/// A line without what differs from server to server; `None` if nothing is left to compare.
fn normal(line: &str) -> Option<String> {
    let line = line.trim();
    if NOTHING.iter().any(|start| line.starts_with(start)) {
        return None;
    }
    let mut words: Vec<String> = line.split_whitespace().map(word).collect();
    if line.starts_with("Quota configs for ") {
        // In the order of Java's hash tables, which is that of insertion where hashes collide.
        words.iter_mut().for_each(|word| *word = word.trim_end_matches(',').to_owned());
        words.sort();
    }
    for at in 1..words.len() {
        if ["Epoch:", "HighWatermark:", "LeaderEpoch:"].contains(&&*words[at - 1]) {
            "NUMBER".clone_into(&mut words[at]);
        }
    }
    if words.last().is_some_and(|role| role == "Leader") {
        // The log's end and two times, in milliseconds or as "4 ms ago".
        words.drain(2..words.len() - 1);
    }
    let mut line = words.join(" ");
    // The class of an error is Kafka's, its message each server's own.
    let ends = ["org.apache.kafka.common.errors.", "had an error: "];
    if let Some(at) = ends.iter().filter_map(|end| line.find(end)).min() {
        let end = line[at..].find(|c: char| c == ':' || c.is_whitespace()).map_or(line.len(), |end| at + end);
        line.truncate(end);
    }
    Some(line).filter(|line| !line.is_empty())
}

/// Columns of tables with ids of producers, which come from blocks, and with durations.
fn own_columns(command: &str) -> &'static [usize] {
    match command {
        _ if command.contains("TransactionsCommand list") => &[2],
        _ if command.contains("TransactionsCommand describe-producers") => &[0],
        _ if command.contains("TransactionsCommand describe ") => &[2, 7],
        _ => &[],
    }
}

/// A line without the numbers in these columns.
fn without(columns: &[usize], line: &str) -> String {
    let number = |(at, word): (usize, _)| match word {
        text if columns.contains(&at) && str::parse::<i64>(text).is_ok() => "NUMBER",
        text => text,
    };
    line.split(' ').enumerate().map(number).collect::<Vec<_>>().join(" ")
}

/// Starts of lines that say nothing: traces of exceptions, a logging library that is missing, keys that only we have, and ports.
const NOTHING: &[&str] = &[
    "at ",
    "... ",
    "SLF4J",
    "durability.policy=",
    "log.durability.policy=",
    "ottla.",
    "advertised.listeners=",
    "controller.quorum.bootstrap.servers=",
    "listeners=",
    "CurrentVoters:",
];

/// A word, or what kind of word it is if each server has its own.
fn word(word: &str) -> String {
    let inner = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
    let of = |set: &str| inner.chars().all(|c| c.is_ascii_alphanumeric() || set.contains(c));
    let kind = if inner.len() == 22 && of("-_") && inner.chars().any(|c| c.is_ascii_uppercase()) {
        "ID"
    } else if inner.len() >= 36 && inner.matches('-').count() >= 4 && of("-") {
        "UUID"
    } else if inner.len() == 13 && inner.starts_with("17") && of("") {
        "TIME"
    } else {
        return word.to_owned();
    };
    word.replace(inner, kind)
}
