//! Kafka Connect: a distributed worker, and MirrorMaker 2.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::http;
use super::jvm::{Guard, Program, fresh_dir, java, logged, no_jdk, until};
use crate::kafka::Kafka;
use crate::test::node::{Node, free_port};
use crate::test::{Context, Outcome, setup};

/// The worker, its file connectors, and MirrorMaker 2.
pub(super) const ARTIFACTS: &[&str] = &[
    "org.apache.kafka:connect-runtime:4.3.1",
    "org.apache.kafka:connect-file:4.3.1",
    "org.apache.kafka:connect-mirror:4.3.1",
    "org.slf4j:slf4j-simple:1.7.36",
];

fn lines(range: std::ops::Range<usize>) -> String {
    range.fold(String::new(), |mut text, i| {
        writeln!(text, "line {i}").expect("a string takes everything");
        text
    })
}

pub(crate) fn file(context: &Context) -> Result<Outcome> {
    let Some(jars) = setup::jars(context, "compat/connect", ARTIFACTS)? else { return no_jdk() };
    let dir = fresh_dir(context, "connect-file")?;
    let (input, output) = (dir.join("input"), dir.join("output"));
    fs::write(&input, lines(0..1000))?;
    let mut node = Node::start(&context.ottla()?, &context.target)?;
    let port = free_port()?;
    let properties = dir.join("worker.properties");
    fs::write(&properties, worker(&node.bootstrap, port))?;
    let mut command = java(&jars.join("*").display().to_string());
    command.arg("org.apache.kafka.connect.cli.ConnectDistributed").arg(&properties);
    let log = context.target.join("compat/connect.log");
    let worker_process = Guard(logged(&mut command, &log)?);
    until(Duration::from_secs(120), "the worker answers", || {
        Ok(http::call(port, "GET", "/connectors", None).is_ok())
    })?;
    let connector = |name: &str, class: &str, more: serde_json::Value| {
        let mut config = json!({ "connector.class": class, "tasks.max": "1" });
        let config = config.as_object_mut().expect("an object");
        config.extend(more.as_object().cloned().unwrap_or_default());
        let body = json!({ "name": name, "config": config });
        // While the worker joins its group it refuses with a conflict.
        until(Duration::from_secs(60), "a connector is created", || {
            Ok(http::call(port, "POST", "/connectors", Some(&body)).is_ok())
        })
    };
    connector(
        "source",
        "org.apache.kafka.connect.file.FileStreamSourceConnector",
        json!({ "file": input, "topic": "connect-lines" }),
    )?;
    connector(
        "sink",
        "org.apache.kafka.connect.file.FileStreamSinkConnector",
        json!({ "file": output, "topics": "connect-lines" }),
    )?;
    let written = |wanted: String| {
        until(Duration::from_secs(120), "the sink wrote all lines, each once", || {
            Ok(fs::read_to_string(&output).is_ok_and(|text| text == wanted))
        })
    };
    written(lines(0..1000))?;
    let offsets = http::call(port, "GET", "/connectors/source/offsets", None)?;
    ensure!(offsets["offsets"][0]["offset"]["position"].is_number(), "the source's offset: {offsets}");

    node.crash_and_restart()?;
    OpenOptions::new().append(true).open(&input)?.write_all(lines(1000..1500).as_bytes())?;
    let all = lines(0..1500);
    until(Duration::from_secs(120), "the sink wrote the lines after the crash", || {
        // At least once: a crash may bring lines again, but none is lost and the order of the first sight is kept.
        let text = fs::read_to_string(&output)?;
        let mut seen = std::collections::HashSet::new();
        Ok(text.lines().filter(|line| seen.insert(*line)).eq(all.lines()))
    })?;
    let status = http::call(port, "GET", "/connectors/sink/status", None)?;
    ensure!(status["tasks"][0]["state"] == "RUNNING", "the sink's status: {status}");
    http::call(port, "DELETE", "/connectors/source", None)?;
    http::call(port, "DELETE", "/connectors/sink", None)?;
    drop(worker_process);
    node.stop()?;
    Ok(Outcome::Passed)
}

fn worker(bootstrap: &str, port: u16) -> String {
    let converter = "org.apache.kafka.connect.storage.StringConverter";
    format!(
        "bootstrap.servers={bootstrap}\ngroup.id=connect\nkey.converter={converter}\nvalue.converter={converter}\n\
         offset.storage.topic=connect-offsets\noffset.storage.replication.factor=1\noffset.storage.partitions=5\n\
         config.storage.topic=connect-configs\nconfig.storage.replication.factor=1\n\
         status.storage.topic=connect-status\nstatus.storage.replication.factor=1\nstatus.storage.partitions=2\n\
         offset.flush.interval.ms=1000\nlisteners=HTTP://localhost:{port}\nplugin.discovery=service_load\n"
    )
}

pub(crate) fn mirror(context: &Context) -> Result<Outcome> {
    let Some(program) = Program::build(context, "connect", "MirrorCheck", ARTIFACTS)? else {
        return no_jdk();
    };
    let Some(jars) = setup::jars(context, "compat/connect", ARTIFACTS)? else { return no_jdk() };
    let Some(kafka_jars) = setup::kafka_jars(context)? else { return no_jdk() };
    let dir = fresh_dir(context, "mirror")?;
    let source = Kafka::start(&kafka_jars, &dir.join("kafka"))?;
    let mut node = Node::start(&context.ottla()?, &context.target)?;
    let log = |name: &str| context.target.join(format!("compat/mirror-{name}.log"));
    program.run(&["prepare", &source.bootstrap], &log("prepare"))?;
    let properties = dir.join("mirror.properties");
    fs::write(
        &properties,
        format!(
            "clusters=kafka,ottla\nkafka.bootstrap.servers={}\nottla.bootstrap.servers={}\nkafka->ottla.enabled=true\n\
             kafka->ottla.topics=mirrored.*\nkafka->ottla.groups=.*\nreplication.factor=1\n\
             checkpoints.topic.replication.factor=1\nheartbeats.topic.replication.factor=1\n\
             offset-syncs.topic.replication.factor=1\noffset.storage.replication.factor=1\n\
             status.storage.replication.factor=1\nconfig.storage.replication.factor=1\n\
             refresh.topics.interval.seconds=2\nrefresh.groups.interval.seconds=2\nsync.topic.configs.interval.seconds=2\n\
             emit.checkpoints.interval.seconds=1\nsync.group.offsets.enabled=true\nsync.group.offsets.interval.seconds=1\n\
             offset.lag.max=0\nemit.offset-syncs.interval.seconds=1\n",
            source.bootstrap, node.bootstrap
        ),
    )?;
    let mut command = java(&jars.join("*").display().to_string());
    command.arg("org.apache.kafka.connect.mirror.MirrorMaker").arg(&properties);
    let mirror = Guard(logged(&mut command, &log("maker"))?);
    program.run(&["verify", &node.bootstrap], &log("verify")).context("see also compat/mirror-maker.log")?;
    drop(mirror);
    node.stop()?;
    Ok(Outcome::Passed)
}
