//! The tools against brokers: the one at `OTTLA_TEST_BOOTSTRAP` if it is set; otherwise ottla, and Apache Kafka, started from the
//! jars in the directory `OTTLA_KAFKA_CLASSPATH`. Kafka's own tools (`OTTLA_KAFKA_TOOLS_CLASSPATH`) must say the same of the
//! same cluster.

mod admin;
mod broker;
mod kafka_tools;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::broker::Broker;

/// A name that earlier runs have not used.
fn unique(name: &str) -> String {
    format!("{name}-{}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos())
}

#[test]
fn the_tools_work_with_ottla() {
    let broker = match Broker::named() {
        Some(broker) => broker,
        None => Broker::start_ottla(),
    };
    work_together(&broker);
}

#[test]
fn the_tools_work_with_apache_kafka() {
    let Some(broker) = Broker::start_kafka() else { return };
    work_together(&broker);
}

fn work_together(broker: &Broker) {
    topics(broker);
    records_in_every_codec(broker);
    keys_headers_and_formats(broker);
    starting_points(broker);
    groups(broker);
    interrupted_consumer_commits_and_leaves(broker);
    closed_output_is_quiet(broker);
    admin::check(broker);
    kafka_tools::check(broker);
}

fn topics(broker: &Broker) {
    let name = &unique("topics");
    broker.ok(&["topic", "create", name, "--partitions", "2", "--config", "retention.ms=12345"]);
    let error = broker.failed(&["topic", "create", name]);
    assert!(error.contains("already exists"), "{error}");
    broker.ok(&["topic", "create", name, "--if-not-exists"]);
    let described = &broker.json(&["topic", "describe", name])[0];
    assert_eq!(described["partitions"].as_array().unwrap().len(), 2);
    assert_eq!(described["configs"]["retention.ms"], "12345");
    assert!(described["partitions"][1]["leader"].as_i64().unwrap() >= 0);

    broker.ok(&["topic", "add-partitions", name, "--partitions", "4"]);
    broker.ok(&[
        "topic",
        "configure",
        name,
        "--add-config",
        "cleanup.policy=compact",
        "--delete-config",
        "retention.ms",
    ]);
    let text = broker.ok(&["topic", "describe", name]);
    assert!(text.contains("cleanup.policy=compact") && !text.contains("12345"), "{text}");
    assert_eq!(text.lines().count(), 2 + 4, "{text}");
    let listed = broker.json(&["topic", "list"]);
    let listed = listed.as_array().unwrap().iter().find(|topic| topic["name"] == **name).unwrap();
    assert_eq!(listed["partitions"], 4);
    assert!(broker.ok(&["topic", "list"]).lines().any(|line| line.starts_with(name.as_str())));

    broker.ok(&["topic", "delete", name]);
    let error = broker.failed(&["topic", "delete", name]);
    assert!(error.contains("does not exist") && error.contains("ottla topic list"), "{error}");
    broker.ok(&["topic", "delete", name, "--if-exists"]);
    let error = broker.failed(&["topic", "describe", name]);
    assert!(error.contains("ottla topic create"), "{error}");
}

fn records_in_every_codec(broker: &Broker) {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let name = &unique(codec);
        broker.ok(&["topic", "create", name, "--partitions", "1"]);
        let input: String = (0..1000).map(|i| format!("line {i} {}\n", "x".repeat(i % 90))).collect();
        let done = broker.ok_with(&["produce", name, "--compression", codec, "--json"], &input);
        assert_eq!(serde_json::from_str::<Value>(&done).unwrap()["records"], 1000);
        let output = broker.ok(&["consume", name, "--from-beginning", "--max-messages", "1000"]);
        assert_eq!(output, input, "{codec}");
    }
}

fn keys_headers_and_formats(broker: &Broker) {
    let name = &unique("keys");
    broker.ok(&["topic", "create", name, "--partitions", "3"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("input");
    std::fs::write(&file, "a:1\r\nb::2\na:3").unwrap();
    let file = file.to_str().unwrap();
    let mut produce = vec!["produce", name, "--key-separator", ":", "--file", file, "--progress"];
    produce.extend(["--header", "h=v", "--header", "i="]);
    let progress = broker.run(&produce);
    assert!(progress.status.success() && progress.stdout.is_empty());

    let text = broker.ok(&["consume", name, "--from-beginning", "-n", "3", "--print-key", "--print-headers"]);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["h:v,i:\ta\t1", "h:v,i:\ta\t3", "h:v,i:\tb\t:2"]);
    let text = broker.ok(&["consume", name, "--from-beginning", "-n", "3", "--format", r"%k=%s(%S)\n"]);
    assert!(text.contains("a=1(1)\n") && text.contains("b=:2(2)\n"), "{text}");
    let text = broker.ok(&["consume", name, "--from-beginning", "-n", "3", "--json"]);
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_a: Vec<&Value> = records.iter().filter(|record| record["key"] == "a").collect();
    assert_eq!(of_a.len(), 2);
    assert_eq!(of_a[0]["partition"], of_a[1]["partition"]);
    assert_eq!(of_a[0]["headers"][0]["value"], "v");

    let mut missing = broker
        .command(&["produce", name, "--key-separator", ":"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    missing.stdin.take().unwrap().write_all(b"a:1\nnothing\n").unwrap();
    let output = missing.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("line 2"));
}

fn starting_points(broker: &Broker) {
    let name = &unique("starts");
    broker.ok(&["topic", "create", name, "--partitions", "2"]);
    let input: String = (0..10).map(|i| format!("{i}\n")).collect();
    broker.ok_with(&["produce", name, "--partition", "1"], &input);
    // What it waits for ends the reading; where nothing is to come, a time does.
    let from = |offset: &str, count: &str| {
        broker.ok(&["consume", name, "--partition", "1", "--offset", offset, "--max-messages", count])
    };
    assert_eq!(from("8", "2"), "8\n9\n");
    assert_eq!(from("-3", "3"), "7\n8\n9\n");
    assert_eq!(from("@1000", "10"), input);
    for nothing in ["latest", "@2200-01-01T00:00:00Z"] {
        let arguments = ["consume", name, "--partition", "1", "--offset", nothing, "--timeout-ms", "1500"];
        assert_eq!(broker.ok(&arguments), "", "{nothing}");
    }
    let output = broker.run(&["consume", name, "--partition", "7"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("partitions 0 to 1"));
    let error = broker.failed(&["consume", "missing-topic"]);
    assert!(error.contains("missing-topic"), "{error}");
}

fn groups(broker: &Broker) {
    let (name, group) = (&unique("groups"), &unique("group"));
    broker.ok(&["topic", "create", name, "--partitions", "2"]);
    let input: String = (0..20).map(|i| format!("{i}\n")).collect();
    broker.ok_with(&["produce", name, "--partition", "0"], &input);
    let consume = |count: &str| {
        broker.ok(&["consume", name, "--group", group, "--from-beginning", "--max-messages", count])
    };
    assert_eq!(consume("5"), "0\n1\n2\n3\n4\n");
    let described = broker.json(&["group", "describe", group]);
    assert_eq!((&described["state"], &described["lag"]), (&"Empty".into(), &15.into()), "{described}");
    assert_eq!(consume("3"), "5\n6\n7\n");
    let text = broker.ok(&["group", "describe", group]);
    assert!(text.contains("lag 12"), "{text}");
    let listed = broker.json(&["group", "list"]);
    assert!(listed.as_array().unwrap().iter().any(|listed| listed["group"] == **group), "{listed}");
    assert!(broker.ok(&["group", "list"]).contains(group.as_str()));
    broker.ok(&["group", "delete", group]);
    let error = broker.failed(&["group", "describe", group]);
    assert!(error.contains("ottla group list"), "{error}");
}

fn interrupted_consumer_commits_and_leaves(broker: &Broker) {
    let (name, group) = (&unique("interrupt"), &unique("interrupt"));
    broker.ok(&["topic", "create", name, "--partitions", "1"]);
    broker.ok_with(&["produce", name], "a\nb\n");
    let mut consumer = broker
        .command(&["consume", name, "--group", group, "--from-beginning"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(consumer.stdout.take().unwrap());
    for expected in ["a\n", "b\n"] {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, expected);
    }
    let described = broker.json(&["group", "describe", group]);
    assert_eq!(described["state"], "Stable");
    assert_eq!(described["members"].as_array().unwrap().len(), 1);
    let error = broker.failed(&["group", "delete", group]);
    assert!(error.contains("stop its consumers first"), "{error}");

    let id = consumer.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert!(consumer.wait().unwrap().success());
    let described = broker.json(&["group", "describe", group]);
    assert_eq!((&described["state"], &described["lag"]), (&"Empty".into(), &0.into()), "{described}");
}

fn closed_output_is_quiet(broker: &Broker) {
    let name = &unique("closed");
    broker.ok(&["topic", "create", name, "--partitions", "1"]);
    let input: String = (0..20_000).map(|i| format!("a rather long line {i}\n")).collect();
    broker.ok_with(&["produce", name], &input);
    let mut consumer = broker
        .command(&["consume", name, "--from-beginning"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    consumer.stdout.take().unwrap().read_exact(&mut first).unwrap();
    // The pipe is closed now; the consumer finds out when it prints more.
    let output = consumer.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
