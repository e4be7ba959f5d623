//! What administrators do: offsets of groups, configurations, quotas, transactions, directories, measurements.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::unique;

pub(crate) fn check(broker: &Broker) {
    offsets_of_groups(broker);
    first_records(broker);
    configurations(broker);
    loggers(broker);
    live_views(broker);
    measurements(broker);
    cluster(broker);
    if broker.serves(&["DescribeClientQuotas", "AlterClientQuotas"]) {
        quotas(broker);
    }
    if broker.serves(&["DescribeLogDirs"]) {
        directories(broker);
    }
    if broker.serves(&["AlterPartitionReassignments", "ListPartitionReassignments", "AlterReplicaLogDirs"]) {
        reassignments(broker);
    }
    if broker.serves(&["ListTransactions", "DescribeTransactions", "InitProducerId"]) {
        transactions(broker);
    }
    if broker.serves(&["DescribeProducers"]) {
        producers(broker);
    }
    if broker.serves(&["ConsumerGroupHeartbeat", "ConsumerGroupDescribe"]) {
        groups_of_the_newer_protocol(broker);
    }
}

/// A topic of one partition with so many records, that a group has read half of.
fn half_read(broker: &Broker, records: usize) -> (String, String) {
    let (topic, group) = (unique("half"), unique("half-group"));
    broker.ok(&["topic", "create", &topic, "--partitions", "1"]);
    let input: String = (0..records).map(|i| format!("{i}\n")).collect();
    broker.ok_with(&["produce", &topic], &input);
    let count = (records / 2).to_string();
    broker.ok(&["consume", &topic, "--group", &group, "--from-beginning", "--max-messages", &count]);
    (topic, group)
}

fn committed(broker: &Broker, group: &str) -> Value {
    broker.json(&["group", "describe", group])["partitions"][0]["committedOffset"].clone()
}

fn offsets_of_groups(broker: &Broker) {
    let (topic, group) = &half_read(broker, 20);
    let reset = |arguments: &[&str]| {
        let all = [&["group", "reset-offsets", group, "--topic", topic], arguments].concat();
        broker.json(&all)[0]["newOffset"].clone()
    };
    assert_eq!(reset(&["--to-earliest"]), 0);
    assert_eq!(reset(&["--to-latest"]), 20);
    assert_eq!(reset(&["--shift-by", "-3", "--dry-run"]), 7);
    assert_eq!(committed(broker, group), 10, "nothing is done without --execute");
    assert_eq!(reset(&["--shift-by", "-3", "--execute"]), 7);
    assert_eq!(committed(broker, group), 7);
    assert_eq!(reset(&["--to-offset", "99", "--execute"]), 20);
    assert_eq!(reset(&["--to-datetime", "2000-01-01T00:00:00Z", "--execute"]), 0);
    assert_eq!(reset(&["--to-datetime", "2200-01-01T00:00:00Z"]), 20);
    assert_eq!(reset(&["--by-duration", "PT1H"]), 0);

    let export = broker.ok(&["group", "reset-offsets", group, "--all-topics", "--to-current", "--export"]);
    assert_eq!(export, format!("{topic},0,0\n"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("offsets.csv");
    std::fs::write(&file, format!("{topic},0,4\n")).unwrap();
    broker.ok(&["group", "reset-offsets", group, "--from-file", file.to_str().unwrap(), "--execute"]);
    assert_eq!(committed(broker, group), 4);

    let described = broker.json(&["group", "describe", "--group", group, "--state"]);
    assert_eq!(described["state"], "Empty");
    let listed = broker.json(&["group", "list", "--state", "empty", "--type", "classic"]);
    assert!(listed.as_array().unwrap().iter().any(|listed| listed["group"] == **group));
    let listed = broker.json(&["group", "list", "--state", "stable"]);
    assert!(!listed.as_array().unwrap().iter().any(|listed| listed["group"] == **group));
    if broker.serves(&["OffsetDelete"]) {
        broker.ok(&["group", "delete-offsets", group, "--topic", topic]);
        assert_eq!(broker.json(&["group", "describe", group])["partitions"], json!([]));
    }
}

fn first_records(broker: &Broker) {
    let (topic, _) = &half_read(broker, 10);
    let deleted = broker.json(&["delete-records", &format!("{topic}:0:4")]);
    assert_eq!(deleted[0]["lowWatermark"], 4);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("offsets.json");
    let text = json!({ "version": 1, "partitions": [{ "topic": topic, "partition": 0, "offset": -1 }] });
    std::fs::write(&file, text.to_string()).unwrap();
    broker.ok(&["delete-records", "--offset-json-file", file.to_str().unwrap()]);
    let described = broker.json(&["topic", "describe", topic]);
    assert_eq!(described[0]["partitions"][0]["startOffset"], 10);
    assert_eq!(described[0]["partitions"][0]["endOffset"], 10);
    let error = broker.failed(&["delete-records", &format!("{topic}:0:99")]);
    assert!(error.contains("offset 99 is beyond the end"), "{error}");
}

fn configurations(broker: &Broker) {
    let topic = &unique("configs");
    broker.ok(&["topic", "create", topic]);
    let described = |all: &[&str]| {
        let described = broker.json(&[&["config", "describe", "--topic", topic], all].concat());
        described["configs"].as_array().unwrap().clone()
    };
    assert_eq!(described(&[]), [] as [Value; 0]);
    let changes = "retention.ms=12345,cleanup.policy=[compact,delete]";
    broker.ok(&["config", "alter", "--topic", topic, "--add-config", changes]);
    let own = described(&[]);
    assert_eq!(own.len(), 2, "{own:?}");
    assert_eq!((&own[0]["value"], &own[1]["value"]), (&json!("compact,delete"), &json!("12345")));
    assert_eq!((&own[1]["source"], &own[1]["type"]), (&json!("DYNAMIC_TOPIC_CONFIG"), &json!("LONG")));
    assert_eq!(own[1]["synonyms"][0]["source"], "DYNAMIC_TOPIC_CONFIG");
    assert!(described(&["--all"]).len() > 20);
    broker.ok(&["config", "alter", "--topic", topic, "--subtract-config", "cleanup.policy=compact"]);
    assert_eq!(described(&[])[0]["value"], "delete");
    broker.ok(&["config", "delete", "--topic", topic, "retention.ms"]);
    broker.ok(&["config", "delete", "--topic", topic, "--all"]);
    assert_eq!(described(&[]), [] as [Value; 0]);
    let error = broker.failed(&["config", "alter", "--topic", topic, "--add-config", "no.such.key=1"]);
    assert!(error.contains("no.such.key"), "{error}");
    let entity = ["config", "--describe", "--entity-type", "brokers", "--entity-name", "1", "--all"];
    let of_broker = broker.json(&entity);
    let of_broker = of_broker["configs"].as_array().unwrap();
    let node_id = of_broker.iter().find(|config| config["name"] == "node.id").unwrap();
    assert_eq!((&node_id["value"], &node_id["source"]), (&json!("1"), &json!("STATIC_BROKER_CONFIG")));
}

fn loggers(broker: &Broker) {
    let loggers = || {
        let described = broker.json(&["config", "describe", "--broker-logger", "1"]);
        described["configs"].as_array().unwrap().clone()
    };
    let names: Vec<Value> = loggers().iter().map(|logger| logger["name"].clone()).collect();
    let Some(name) = names.iter().filter_map(Value::as_str).find(|name| *name != "root") else { return };
    broker.ok(&["config", "alter", "--broker-logger", "1", "--add-config", &format!("{name}=TRACE")]);
    let level = || {
        let all = loggers();
        let found = all.iter().find(|logger| logger["name"] == *name);
        found.map(|logger| logger["value"].clone())
    };
    assert_eq!(level(), Some(json!("TRACE")));
    broker.ok(&["config", "delete", "--broker-logger", "1", "--all"]);
    assert_ne!(level(), Some(json!("TRACE")), "it has the level of the root again");
    let error = broker.failed(&["config", "delete", "--broker-logger", "1", "root"]);
    assert!(error.contains("root"), "{error}");
    let error = broker.failed(&["config", "delete", "--broker-logger", "1", "no.such.logger"]);
    assert!(error.contains("no.such.logger"), "{error}");
}

fn reassignments(broker: &Broker) {
    let (topic, _) = &half_read(broker, 100);
    let first = &format!("{topic}:0");
    broker.ok(&["partition", "reassign", &format!("{first}=1")]);
    assert_eq!(broker.json(&["partition", "list-reassignments"]), json!([]));
    let error = broker.failed(&["partition", "cancel-reassignment", first]);
    assert!(error.contains(&format!("{topic}-0")), "{error}");
    let error = broker.failed(&["partition", "reassign", &format!("{first}=9")]);
    assert!(error.contains('9'), "{error}");
    let error = broker.failed(&["partition", "reassign", &format!("{topic}:7=1")]);
    assert!(error.contains(&format!("{topic}-7")), "{error}");
    let error = broker.failed(&["partition", "reassign", "no-such-topic:0=1"]);
    assert!(error.contains("no-such-topic-0"), "{error}");
    for bad in [format!("{first}=1,1"), first.clone()] {
        assert_eq!(broker.run(&["partition", "reassign", &bad]).status.code(), Some(2), "{bad}");
    }

    // Between directories, as a file says.
    let dirs = || {
        let described = broker.json(&["log-dirs", "describe", "--topic-list", topic]);
        described[0]["logDirs"].as_array().unwrap().clone()
    };
    let is_empty = |dir: &Value| dir["partitions"].as_array().unwrap().is_empty();
    let to = dirs().iter().find(|dir| is_empty(dir)).unwrap()["logDir"].clone();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plan.json");
    let write = |log_dir: &Value| {
        let entry = json!({ "topic": topic, "partition": 0, "replicas": [1], "log_dirs": [log_dir] });
        std::fs::write(&file, json!({ "version": 1, "partitions": [entry] }).to_string()).unwrap();
        ["partition", "reassign", "--reassignment-json-file", file.to_str().unwrap()]
    };
    broker.ok(&write(&json!("any")));
    assert!(
        dirs().iter().any(|dir| dir["logDir"] == to && is_empty(dir)),
        "any directory is the one it is in"
    );
    broker.ok(&write(&to));
    let moved = || dirs().iter().any(|dir| dir["logDir"] == to && dir["partitions"][0]["isFuture"] == false);
    wait_for("the replica is in the other directory", moved);
    let error = broker.failed(&write(&json!("/no/such/dir")));
    assert!(error.contains("/no/such/dir"), "{error}");
    assert_eq!(broker.ok(&["consume", topic, "--from-beginning", "-n", "100"]).lines().count(), 100);
}

fn live_views(broker: &Broker) {
    let (topic, group) = &half_read(broker, 10);
    let watch = |arguments: &[&str]| {
        let live = [arguments, &["--watch", "--interval", "300ms", "--count", "2", "--json"]].concat();
        let text = broker.ok(&live);
        let frames: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(frames.len(), 2, "{text}");
        frames
    };
    let frames = watch(&["topic", "describe", topic]);
    let groups = frames[1]["topics"][0]["groups"].as_array().unwrap();
    assert_eq!(frames[1]["topics"][0]["produceRate"], 0.0);
    assert_eq!((&groups[0]["group"], &groups[0]["lag"]), (&json!(group), &json!(5)), "{groups:?}");
    let frames = watch(&["group", "describe", group]);
    assert_eq!(frames[0]["groups"][0]["consumeRate"], Value::Null);
    assert_eq!(frames[1]["groups"][0]["partitions"][0]["consumeRate"], 0.0);
}

fn measurements(broker: &Broker) {
    let topic = &unique("perf");
    broker.ok(&["topic", "create", topic, "--partitions", "2"]);
    let produced = ["perf", "produce", topic, "--num-records", "2000", "--record-size", "50"];
    let produced = broker.json(&produced);
    assert_eq!((&produced["records"], &produced["bytes"]), (&json!(2000), &json!(100_000)));
    assert!(produced["latency"]["percentilesMs"]["p99"].as_f64().unwrap() > 0.0, "{produced}");
    let slow =
        ["perf", "produce", topic, "--num-records", "200", "--payload-monotonic", "--throughput", "400"];
    let slow = broker.json(&slow);
    assert!(slow["recordsPerSecond"].as_f64().unwrap() < 450.0, "{slow}");
    let group = &unique("perf-group");
    let consumed = broker.json(&["perf", "consume", topic, "--num-records", "2200", "--group", group]);
    assert_eq!(consumed["records"], 2200);
}

fn cluster(broker: &Broker) {
    let listed = broker.json(&["broker", "list"]);
    assert_eq!(listed["brokers"][0]["id"], 1);
    assert!(listed["clusterId"].as_str().unwrap().len() == 22, "{listed}");
    let features = broker.json(&["feature", "describe"]);
    let metadata = features["features"].as_array().unwrap();
    let metadata = metadata.iter().find(|feature| feature["feature"] == "metadata.version").unwrap();
    assert!(metadata["finalizedVersionLevel"].as_i64().unwrap() >= 7, "{metadata}");
    if broker.serves(&["DescribeQuorum"]) {
        let quorum = broker.json(&["quorum", "status"]);
        assert_eq!((&quorum["leaderId"], &quorum["voters"][0]["id"]), (&json!(1), &json!(1)));
    }
    if broker.serves(&["ElectLeaders"]) {
        let topic = &unique("elect");
        broker.ok(&["topic", "create", topic, "--partitions", "1"]);
        let elected = broker.json(&["partition", "elect-leaders", topic]);
        assert_eq!(elected[0]["outcome"], "not needed");
    }
}

fn quotas(broker: &Broker) {
    let user = &unique("user");
    broker.ok(&["quota", "set", "--user", user, "producer_byte_rate=1024", "request_percentage=50.5"]);
    broker.ok(&["quota", "set", "--user", user, "--client-defaults", "consumer_byte_rate=1"]);
    let found = broker.json(&["quota", "describe", "--user", user]);
    assert_eq!(found.as_array().unwrap().len(), 2, "{found}");
    let exact = broker.json(&["quota", "describe", "--user", user, "--exact"]);
    let quotas = json!({ "producer_byte_rate": 1024.0, "request_percentage": 50.5 });
    assert_eq!(exact, json!([{ "entity": { "user": user }, "quotas": quotas }]));
    broker.ok(&["quota", "delete", "--user", user]);
    broker.ok(&["quota", "delete", "--user", user, "--client-defaults", "consumer_byte_rate"]);
    assert_eq!(broker.json(&["quota", "describe", "--user", user]), json!([]));
    let error = broker.failed(&["quota", "set", "--user", user, "no_such_rate=1"]);
    assert!(error.contains("no_such_rate"), "{error}");
}

fn directories(broker: &Broker) {
    let (topic, _) = &half_read(broker, 1000);
    let dirs = || {
        let described = broker.json(&["log-dirs", "describe", "--topic-list", topic]);
        described[0]["logDirs"].as_array().unwrap().clone()
    };
    let holds = |dir: &Value| !dir["partitions"].as_array().unwrap().is_empty();
    let before = dirs();
    assert_eq!(before.iter().filter(|dir| holds(dir)).count(), 1, "{before:?}");
    let from = before.iter().find(|dir| holds(dir)).unwrap();
    assert!(from["partitions"][0]["sizeBytes"].as_i64().unwrap() > 0);
    assert!(from["usableBytes"].as_i64().unwrap() > 0);
    let other = before.iter().find(|dir| !holds(dir));
    let Some(to) = other.filter(|_| broker.serves(&["AlterReplicaLogDirs"])) else { return };
    let to = to["logDir"].as_str().unwrap();
    broker.ok(&["log-dirs", "move", topic, "--broker", "1", "--to", to]);
    let moved = || dirs().iter().any(|dir| dir["logDir"] == to && dir["partitions"][0]["isFuture"] == false);
    wait_for("the partition is moved", moved);
    assert_eq!(broker.ok(&["consume", topic, "--from-beginning", "-n", "1000"]).lines().count(), 1000);
    let error = broker.failed(&["log-dirs", "move", topic, "--broker", "1", "--to", "/no/such/dir"]);
    assert!(error.contains("/no/such/dir"), "{error}");
}

fn groups_of_the_newer_protocol(broker: &Broker) {
    let (topic, group) = (&unique("newer"), &unique("newer-group"));
    broker.ok(&["topic", "create", topic, "--partitions", "2"]);
    let input: String = (0..50).map(|i| format!("k{i}:{i}\n")).collect();
    broker.ok_with(&["produce", topic, "--key-separator", ":"], &input);
    let start = || {
        let arguments =
            ["consume", topic, "--group", group, "--group-protocol", "consumer", "--from-beginning"];
        broker.command(&arguments).stdout(Stdio::piped()).spawn().unwrap()
    };
    let members = || broker.json(&["group", "describe", group])["members"].as_array().unwrap().clone();
    let mut first = start();
    wait_for("a member reads all partitions", || {
        broker.run(&["group", "describe", group]).status.success()
            && members().iter().any(|member| member["partitions"] == 2)
    });
    let mut second = start();
    wait_for("two members share the partitions", || {
        let members = members();
        members.len() == 2 && members.iter().all(|member| member["partitions"] == 1)
    });
    let described = broker.json(&["group", "describe", group, "--members", "--verbose"]);
    assert_eq!(
        (&described["type"], &described["state"]),
        (&json!("consumer"), &json!("Stable")),
        "{described}"
    );
    assert!(described["groupEpoch"].as_i64().unwrap() > 1, "{described}");
    let listed = broker.json(&["group", "list", "--type", "consumer"]);
    assert!(listed.as_array().unwrap().iter().any(|listed| listed["group"] == **group), "{listed}");
    let mut output = String::new();
    for member in [&mut first, &mut second] {
        let id = member.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        assert!(member.wait().unwrap().success());
        std::io::Read::read_to_string(member.stdout.as_mut().unwrap(), &mut output).unwrap();
    }
    let mut numbers: Vec<i32> = output.lines().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    let described = broker.json(&["group", "describe", group]);
    assert_eq!((&described["state"], &described["lag"]), (&json!("Empty"), &json!(0)), "{described}");
}

fn producers(broker: &Broker) {
    let (topic, _) = &half_read(broker, 10);
    let found = broker.json(&["producer", "describe", topic]);
    assert_eq!((&found[0]["lastSequence"], &found[0]["transactionStartOffset"]), (&json!(9), &Value::Null));
    let of_partition = ["transaction", "describe-producers", "--topic", topic, "--partition", "0"];
    assert_eq!(broker.json(&of_partition), found);
}

fn transactions(broker: &Broker) {
    assert!(broker.failed(&["transaction", "describe", "no-such-id"]).contains("no-such-id"));
    assert!(broker.failed(&["transaction", "force-terminate", "no-such-id"]).contains("no-such-id"));
    let (topic, id) = (&unique("transactional"), &unique("id"));
    broker.ok(&["topic", "create", topic, "--partitions", "1"]);
    // Holds its transaction open until its input ends.
    let mut producer = broker
        .command(&["produce", topic, "--transactional-id", id])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = producer.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, b"a\nb\n").unwrap();
    let state = || broker.json(&["transaction", "list"]);
    let of_id = |listed: &Value| {
        let listed = listed.as_array().unwrap().iter().find(|listed| listed["transactionalId"] == **id);
        listed.map(|listed| listed["state"].clone())
    };
    wait_for("the transaction is open", || of_id(&state()) == Some(json!("Ongoing")));
    let described = broker.json(&["transaction", "describe", "--transactional-id", id]);
    assert_eq!(described["partitions"], json!([format!("{topic}-0")]));
    assert_eq!(broker.json(&["transaction", "list", "--state", "Ongoing"]).as_array().unwrap().len(), 1);
    let committed = ["consume", topic, "--from-beginning", "--isolation-level", "read_committed"];
    let read = || broker.ok(&[&committed[..], &["--timeout-ms", "1000"]].concat());
    assert_eq!(read(), "");
    if broker.serves(&["DescribeProducers"]) {
        let open = || broker.json(&["producer", "describe", topic])[0]["transactionStartOffset"].clone();
        wait_for("the partition has the transaction", || open() == 0);
        let hanging = ["transaction", "find-hanging", "--topic", topic, "--max-transaction-timeout", "0"];
        assert_eq!(broker.json(&hanging), json!([]), "its coordinator knows it");
    }
    drop(input);
    assert!(producer.wait().unwrap().success());
    wait_for("what is committed is read, and nothing else", || read() == "a\nb\n");

    let mut fenced = broker
        .command(&["produce", topic, "--transactional-id", id])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = fenced.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, b"c\n").unwrap();
    wait_for("the next transaction is open", || of_id(&state()) == Some(json!("Ongoing")));
    abort_in_partition(broker, topic);
    broker.ok(&["transaction", "force-terminate", id]);
    drop(input);
    let output = fenced.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    wait_for("what is committed is read, and nothing else", || read() == "a\nb\n");
}

/// `transaction abort` while the topic's only partition has a transaction open.
fn abort_in_partition(broker: &Broker, topic: &str) {
    if !broker.serves(&["DescribeProducers", "WriteTxnMarkers"]) {
        return;
    }
    let open = || {
        let described = broker.json(&["producer", "describe", topic]);
        let described = described.as_array().unwrap().clone();
        described.into_iter().find(|producer| !producer["transactionStartOffset"].is_null())
    };
    wait_for("the partition has the transaction", || open().is_some());
    let of = ["transaction", "abort", "--topic", topic, "--partition", "0", "--start-offset"];
    let error = broker.failed(&[&of[..], &["999"]].concat());
    assert!(error.contains("describe-producers"), "{error}");
    let producer = open().unwrap();
    let start = producer["transactionStartOffset"].to_string();
    let aborted = broker.json(&[&of[..], &[&start]].concat());
    assert_eq!(aborted["producerId"], producer["producerId"]);
    assert!(open().is_none(), "the partition's transaction is over");
}

fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !is_so() {
        assert!(started.elapsed().as_secs() < 30, "{what} within 30 s");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
