//! Kafka's own tools and ours say the same of the same cluster.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::broker::Broker;
use crate::unique;

pub(crate) fn check(broker: &Broker) {
    let Ok(jars) = std::env::var("OTTLA_KAFKA_TOOLS_CLASSPATH") else {
        eprintln!("SKIPPED: OTTLA_KAFKA_TOOLS_CLASSPATH is not set; nothing was compared with Kafka's tools");
        return;
    };
    let tools = Tools { jars, address: broker.address.clone() };
    let (topic, group) = (&unique("compared"), &unique("compared-group"));
    broker.ok(&["topic", "create", topic, "--partitions", "3", "--config", "retention.ms=999999"]);
    let input: String = (0..30).map(|i| format!("k{i}:v{i}\n")).collect();
    broker.ok_with(&["produce", topic, "--key-separator", ":"], &input);
    broker.ok(&["consume", topic, "--group", group, "--from-beginning", "-n", "20"]);

    topics(broker, &tools, topic);
    groups(broker, &tools, group);
    api_versions(broker, &tools);
    if broker.serves(&["DescribeLogDirs"]) {
        directories(broker, &tools, topic);
    }
    if broker.serves(&["DescribeQuorum"]) {
        quorum(broker, &tools);
    }
    if broker.serves(&["ListTransactions"]) {
        transactions(broker, &tools);
    }
}

struct Tools {
    jars: String,
    address: String,
}

impl Tools {
    /// What a tool prints, line by line.
    fn run(&self, class: &str, arguments: &[&str]) -> Vec<String> {
        let output = Command::new("java")
            .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(Path::new(&self.jars).join("*"))
            .arg(format!("org.apache.kafka.tools.{class}"))
            .args(["--bootstrap-server", &self.address])
            .args(arguments)
            .output()
            .expect("java runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{class} {arguments:?}: {text}{errors}");
        text.lines().map(str::to_owned).collect()
    }
}

/// `Key: value` pairs of a line with tabs between them.
fn field<'a>(line: &'a str, key: &str) -> &'a str {
    let mut fields = line.split('\t').map(str::trim);
    fields.find_map(|field| field.strip_prefix(key)?.strip_prefix(':')).unwrap_or_default().trim()
}

fn topics(broker: &Broker, tools: &Tools, topic: &str) {
    let lines = tools.run("TopicCommand", &["--describe", "--topic", topic]);
    let ours = &broker.json(&["topic", "describe", topic])[0];
    assert_eq!(field(&lines[0], "TopicId"), ours["id"].as_str().unwrap());
    assert!(field(&lines[0], "Configs").contains("retention.ms=999999"));
    assert_eq!(ours["configs"]["retention.ms"], "999999");
    let partitions = ours["partitions"].as_array().unwrap();
    assert_eq!(lines.iter().filter(|line| !field(line, "Leader").is_empty()).count(), partitions.len());
    let ids =
        |value: &Value| value.as_array().unwrap().iter().map(Value::to_string).collect::<Vec<_>>().join(",");
    for (line, partition) in lines[1..].iter().zip(partitions) {
        assert_eq!(field(line, "Partition"), partition["partition"].to_string());
        assert_eq!(field(line, "Leader"), partition["leader"].to_string());
        assert_eq!(field(line, "Replicas"), ids(&partition["replicas"]));
        assert_eq!(field(line, "Isr"), ids(&partition["isr"]));
    }
    let theirs = tools.run("GetOffsetShell", &["--topic", topic]);
    let ends = partitions.iter().map(|it| format!("{topic}:{}:{}", it["partition"], it["endOffset"]));
    assert_eq!(theirs, ends.collect::<Vec<_>>());
    let mut listed = tools.run("TopicCommand", &["--list"]);
    listed.sort();
    let ours = broker.json(&["topic", "list"]);
    let ours: Vec<_> = ours.as_array().unwrap().iter().map(|topic| topic["name"].as_str().unwrap()).collect();
    assert_eq!(listed, ours);
}

fn groups(broker: &Broker, tools: &Tools, group: &str) {
    let lines = tools.run("consumer.group.ConsumerGroupCommand", &["--describe", "--group", group]);
    let mut theirs: Vec<Vec<String>> = lines
        .iter()
        .filter(|line| line.starts_with(group))
        .map(|line| line.split_whitespace().skip(1).take(5).map(str::to_owned).collect())
        .collect();
    theirs.sort();
    let ours = broker.json(&["group", "describe", group]);
    let shown = |value: &Value| if value.is_null() { "-".to_owned() } else { value.to_string() };
    let rows = ours["partitions"].as_array().unwrap().iter().map(|row| {
        let topic = row["topic"].as_str().unwrap().to_owned();
        let numbers = ["partition", "committedOffset", "endOffset", "lag"].map(|name| shown(&row[name]));
        [vec![topic], numbers.to_vec()].concat()
    });
    assert_eq!(theirs, rows.collect::<Vec<_>>());
    let mut listed = tools.run("consumer.group.ConsumerGroupCommand", &["--list"]);
    listed.sort();
    let ours = broker.json(&["group", "list"]);
    let ours: Vec<_> = ours.as_array().unwrap().iter().map(|it| it["group"].as_str().unwrap()).collect();
    assert_eq!(listed, ours);
}

fn api_versions(broker: &Broker, tools: &Tools) {
    let lines = tools.run("BrokerApiVersionsCommand", &[]);
    let ours = broker.json(&["broker", "api-versions"]);
    let mut compared = 0;
    for api in ours[0]["apis"].as_array().unwrap() {
        let start = format!("{}({}): ", api["name"].as_str().unwrap(), api["key"]);
        // The tools are of an older release, which lacks a few.
        let Some(line) = lines.iter().find(|line| line.trim().starts_with(&start)) else { continue };
        let range = if api["min"] == api["max"] {
            format!("{start}{} [", api["min"])
        } else {
            format!("{start}{} to {} [", api["min"], api["max"])
        };
        assert!(line.trim().starts_with(&range), "{line} for {api}");
        compared += 1;
    }
    assert!(compared > 15, "{compared}: {lines:?}");
}

fn directories(broker: &Broker, tools: &Tools, topic: &str) {
    let lines = tools.run("LogDirsCommand", &["--describe", "--topic-list", topic]);
    let theirs: Value = lines.iter().find_map(|line| serde_json::from_str(line).ok()).unwrap();
    let ours = broker.json(&["log-dirs", "describe", "--topic-list", topic]);
    let facts = |dirs: &Value, name: fn(&Value) -> String, size: &str| {
        let mut facts = Vec::new();
        for dir in dirs.as_array().unwrap() {
            for partition in dir["partitions"].as_array().unwrap() {
                facts.push((dir["logDir"].to_string(), name(partition), partition[size].to_string()));
            }
        }
        facts.sort();
        facts
    };
    let theirs =
        facts(&theirs["brokers"][0]["logDirs"], |it| it["partition"].as_str().unwrap().to_owned(), "size");
    let ours = facts(
        &ours[0]["logDirs"],
        |it| format!("{}-{}", it["topic"].as_str().unwrap(), it["partition"]),
        "sizeBytes",
    );
    assert_eq!(theirs.len(), 3);
    assert_eq!(theirs, ours);
}

fn quorum(broker: &Broker, tools: &Tools) {
    let lines = tools.run("MetadataQuorumCommand", &["describe", "--status"]);
    let of = |key: &str| {
        let line = lines.iter().find(|line| line.starts_with(key)).unwrap();
        line.split_once(':').unwrap().1.trim().to_owned()
    };
    let ours = broker.json(&["quorum", "status"]);
    assert_eq!(of("ClusterId"), ours["clusterId"].as_str().unwrap());
    assert_eq!(of("LeaderId"), ours["leaderId"].to_string());
    assert_eq!(of("LeaderEpoch"), ours["leaderEpoch"].to_string());
}

fn transactions(broker: &Broker, tools: &Tools) {
    let lines = tools.run("TransactionsCommand", &["list"]);
    let mut theirs: Vec<Vec<&str>> =
        lines.iter().skip(1).map(|line| line.split_whitespace().collect()).collect();
    theirs.sort();
    let ours = broker.json(&["transaction", "list"]);
    let ours = ours.as_array().unwrap().iter().map(|listed| {
        let (id, state) = (listed["transactionalId"].as_str().unwrap(), listed["state"].as_str().unwrap());
        [id.to_owned(), listed["coordinator"].to_string(), listed["producerId"].to_string(), state.to_owned()]
    });
    assert_eq!(theirs, ours.collect::<Vec<_>>());
}
