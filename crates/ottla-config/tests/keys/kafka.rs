//! Our table and our answers against the classes of Apache Kafka 4.4.0. Set `OTTLA_KAFKA_CLASSPATH` to a directory with its
//! jars; without it the tests say so and pass.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use ottla_config::{
    AlterOp, BrokerConfig, Change, ConfigEntry, Importance, Kind, Origin, Preset, Props, Scope, Sources,
    Update, apply_broker_changes, describe_broker, describe_client_metrics, describe_cluster, describe_group,
    describe_topic, find, keys, parse_properties, validate_broker_change, validate_client_metrics,
    validate_group, validate_topic,
};

const ORACLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/jvm/ConfigOracle.java");

/// Output lines of the oracle, or `None` without Kafka's classes.
fn oracle(mode: &str, questions: &[Vec<String>]) -> Option<Vec<Vec<String>>> {
    let Some(jars) = std::env::var_os("OTTLA_KAFKA_CLASSPATH") else {
        // Not `eprintln!`: the test harness would swallow it.
        let skipped = "SKIPPED: OTTLA_KAFKA_CLASSPATH is not set, nothing was compared with Apache Kafka";
        writeln!(std::io::stderr(), "{skipped}").expect("stderr takes a line");
        return None;
    };
    let mut classpath = jars;
    classpath.push("/*");
    let mut java = Command::new("java")
        .args(["-Xmx400m", "-cp"])
        .arg(classpath)
        .args([ORACLE, mode])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("java starts");
    let lines: Vec<String> = questions
        .iter()
        .map(|fields| fields.iter().map(|f| escape(f)).collect::<Vec<_>>().join("\t"))
        .collect();
    let mut stdin = java.stdin.take().expect("stdin is piped");
    let writer = std::thread::spawn(move || {
        for line in lines {
            writeln!(stdin, "{line}").expect("java reads its questions");
        }
    });
    let output = java.wait_with_output().expect("java ends");
    writer.join().expect("all questions are written");
    assert!(output.status.success(), "the oracle failed");
    let text = String::from_utf8(output.stdout).expect("the oracle writes UTF-8");
    Some(text.lines().map(|line| line.split('\t').map(unescape).collect()).collect())
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                other => other.expect("an escape has a letter"),
            },
            other => other,
        });
    }
    out
}

fn field(props: &Props) -> String {
    let entries: Vec<String> = props.iter().map(|(key, value)| format!("{key}\u{1f}{value}")).collect();
    entries.join("\u{1e}")
}

fn props(pairs: &[(&str, &str)]) -> Props {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The node that the oracle starts from, with changes; a value of NUL takes a key away.
fn config(extra: &Props) -> Result<BrokerConfig, String> {
    let mut all = props(&[
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("controller.quorum.bootstrap.servers", "localhost:9093"),
        ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
        ("advertised.listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"),
        ("controller.listener.names", "CONTROLLER"),
        ("log.dirs", "data"),
    ]);
    all.extend(extra.clone());
    all.retain(|_, value| value != "\0");
    let overrides: Vec<_> = all.into_iter().collect();
    let loaded = BrokerConfig::load(Sources { properties: Some(""), overrides: &overrides });
    loaded.map(|(config, _)| config).map_err(|errors| errors[0].message.clone())
}

fn scope_of(name: &str) -> Scope {
    match name {
        "topic" => Scope::Topic,
        "group" => Scope::Group,
        "metrics" => Scope::ClientMetrics,
        _ => Scope::Broker,
    }
}

#[test]
fn table_has_exactly_the_keys_and_facts_of_kafka() {
    let Some(lines) = oracle("dump", &[]) else { return };
    let mut seen = BTreeSet::new();
    for line in lines.iter().filter(|line| line[0] == "key") {
        let [_, scope, name, kind, preset, importance, visibility, mode] = &line[..] else {
            panic!("{line:?}")
        };
        let key = find(scope_of(scope), name).unwrap_or_else(|| panic!("{scope} key {name} is missing"));
        seen.insert((key.scope, key.name));
        let ours = match key.preset {
            Preset::Required => "required".to_owned(),
            Preset::Null => "null".to_owned(),
            Preset::Text(text) => format!("={text}"),
        };
        // Kafka builds this default from a map without order.
        if name == "listener.security.protocol.map" {
            let set = |text: &str| text[1..].split(',').map(str::to_owned).collect::<BTreeSet<_>>();
            assert_eq!(set(&ours), set(preset));
        } else {
            assert_eq!(ours, *preset, "default of {name}");
        }
        assert_eq!(key.kind.name(), kind, "type of {name}");
        let ours = match key.importance {
            Importance::High => "HIGH",
            Importance::Medium => "MEDIUM",
            Importance::Low => "LOW",
        };
        assert_eq!(ours, importance, "importance of {name}");
        assert_eq!(key.is_internal(), visibility == "internal", "{name}");
        let ours = match key.update {
            Update::ReadOnly => "read-only",
            Update::PerBroker => "per-broker",
            Update::ClusterWide | Update::DynamicOnly => "cluster-wide",
            Update::Always => "-",
        };
        assert_eq!(ours, mode, "update mode of {name}");
        assert_eq!(key.update == Update::DynamicOnly, scope == "dynamic", "{name}");
    }
    for scope in [Scope::Broker, Scope::Topic, Scope::Group, Scope::ClientMetrics] {
        for key in keys(scope).iter().filter(|key| key.origin != Origin::Ottla) {
            assert!(seen.contains(&(scope, key.name)), "Kafka has no {scope:?} key {}", key.name);
        }
    }
}

#[test]
fn synonyms_are_those_of_kafka() {
    use ottla_config::synonyms::{Unit, broker_key_of_group, broker_keys_of_topic, broker_synonyms};
    let Some(lines) = oracle("dump", &[]) else { return };
    let mut topics = 0;
    for line in &lines {
        match line[0].as_str() {
            "topic-synonyms" => {
                topics += 1;
                let unit = |unit: &Unit| unit.to_topic(1).to_string();
                let ours: Vec<String> = broker_keys_of_topic(&line[1])
                    .iter()
                    .map(|(name, u)| format!("{name}*{}", unit(u)))
                    .collect();
                assert_eq!(ours.join(","), line[2], "{}", line[1]);
            }
            "group-synonym" => {
                let ours = broker_key_of_group(&line[1]).unwrap_or_else(|| "-".to_owned());
                assert_eq!(ours, line[2], "{}", line[1]);
            }
            "broker-synonyms" => assert_eq!(broker_synonyms(&line[1], true).join(","), line[2]),
            _ => {}
        }
    }
    let ours = keys(Scope::Topic).iter().filter(|key| !broker_keys_of_topic(key.name).is_empty()).count();
    assert_eq!(ours, topics + 1, "one more for durability.policy");
}

/// Values worth trying for a key: valid ones, malformed ones and those around the bounds that occur in the table.
const VALUES: &[&str] = &[
    "",
    " ",
    "0",
    "1",
    "-1",
    "-2",
    "-3",
    "+5",
    " 7 ",
    "\t8",
    "2",
    "3",
    "4",
    "9",
    "10",
    "11",
    "17",
    "18",
    "22",
    "23",
    "99",
    "100",
    "1000",
    "1023",
    "1024",
    "4096",
    "1048575",
    "1048576",
    "8388607",
    "8388608",
    "2147483639",
    "2147483640",
    "2147483647",
    "2147483648",
    "-131072",
    "-131073",
    "32767",
    "32768",
    "9223372036854775807",
    "9223372036854775808",
    "1.5",
    "0.5",
    "0.51",
    "1e3",
    "1E400",
    "1.0f",
    "NaN",
    "nan",
    "Infinity",
    "inf",
    "-Infinity",
    ".5",
    "5.",
    "1e7",
    "12345678.9",
    "0.001",
    "0.00012",
    "0x10",
    "1_000",
    "abc",
    "true",
    "TRUE",
    " False ",
    "yes",
    "a,b",
    "a,,b",
    "a , b",
    "a,a",
    ",",
    "*",
    "1:2",
    "1:2,3:4",
    "1:2,x",
    "1:2,",
    "delete",
    "compact,delete",
    "delete,delete",
    " delete ",
    "Delete",
    "gzip",
    "zstd",
    "none",
    "producer",
    "uncompressed",
    "CreateTime",
    "LogAppendTime",
    "earliest",
    "latest",
    "by_duration:PT1H",
    "by_duration:P1DT2H3M4.5S",
    "by_duration:-PT1H",
    "by_duration:PT-1H",
    "by_duration:P",
    "by_duration:PT",
    "by_duration:",
    "by_duration",
    "by_duration:P1W",
    "by_duration:pt1s",
    "by_duration:PT0.123456789S",
    "by_duration:PT1.S",
    "by_duration:PT0.1234567891S",
    "by_duration:P1DT",
    "read_committed",
    "READ_COMMITTED",
    "rs256",
    "RS256",
    "disabled",
    "1@localhost:9093",
    "1@localhost:9093,2@[::1]:9094",
    "localhost:9093",
    "x@localhost:1",
    "1@localhost",
    "1@:9",
    "h:1,g:2",
    "http://h:1",
    "broker",
    "broker,controller",
    "broker,x",
    "required",
    "SSL",
    "ssl",
    "PLAINTEXT",
    "classic,share",
];

#[test]
fn values_are_accepted_and_refused_as_by_kafka() {
    let mut questions = Vec::new();
    for (name, scope) in [
        ("broker", Scope::Broker),
        ("topic", Scope::Topic),
        ("group", Scope::Group),
        ("metrics", Scope::ClientMetrics),
    ] {
        // Classes are not loaded here, so that every name is accepted; our own keys are unknown there.
        let compared = |key: &&&ottla_config::ConfigKey| {
            key.kind != Kind::Class && key.origin != Origin::Ottla && key.update != Update::DynamicOnly
        };
        for key in keys(scope).iter().filter(compared) {
            for value in VALUES {
                questions.push(vec![
                    "parse".to_owned(),
                    name.to_owned(),
                    key.name.to_owned(),
                    (*value).to_owned(),
                ]);
            }
        }
    }
    compare(&questions, |fields| {
        let key = find(scope_of(&fields[1]), &fields[2]).expect("the key is in the table");
        let parsed = key.parse(&fields[3]).map_err(|error| error.message)?;
        Ok(format!("={}", parsed.to_text().expect("a text never parses to null")))
    });
}

/// Asks both and demands the same answers.
fn compare(questions: &[Vec<String>], ours: impl Fn(&[String]) -> Result<String, String>) {
    let Some(answers) = oracle("answer", questions) else { return };
    assert_eq!(answers.len(), questions.len());
    let mut differences = Vec::new();
    for (question, answer) in questions.iter().zip(&answers) {
        let ours = match ours(question) {
            Ok(text) => vec!["ok".to_owned(), text],
            Err(text) => vec!["err".to_owned(), text],
        };
        if ours != *answer {
            differences.push(format!("{question:?}\n  Kafka: {answer:?}\n  ottla: {ours:?}"));
        }
    }
    let shown: Vec<&str> = differences.iter().take(20).map(String::as_str).collect();
    assert!(differences.is_empty(), "{} differences, among them:\n{}", differences.len(), shown.join("\n"));
}

/// Deterministic choices (a linear congruential generator), so that a failure can be repeated.
struct Choice(u64);

impl Choice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits fit") % n
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let index = self.below(items.len());
        &items[index]
    }

    /// Up to `most` different keys with values.
    fn props(&mut self, from: &[(&str, &[&str])], most: usize) -> Props {
        let count = self.below(most + 1);
        let pairs = (0..count).map(|_| {
            let (key, values) = self.of(from);
            ((*key).to_owned(), (*self.of(values)).to_owned())
        });
        pairs.collect()
    }
}

const TOPIC_VALUES: &[(&str, &[&str])] = &[
    ("min.compaction.lag.ms", &["0", "5", "100"]),
    ("max.compaction.lag.ms", &["1", "50", "0"]),
    ("remote.storage.enable", &["true", "true", "false"]),
    ("cleanup.policy", &["delete", "compact", "delete,compact", ""]),
    ("retention.ms", &["-1", "0", "10", "1000", "-2"]),
    ("retention.bytes", &["-1", "0", "10", "1000", "-2"]),
    ("local.retention.ms", &["-2", "-1", "0", "10", "100", "2000"]),
    ("local.retention.bytes", &["-2", "-1", "0", "10", "100", "2000"]),
    ("remote.copy.lag.ms", &["-1", "0", "5", "50", "5000"]),
    ("remote.copy.lag.bytes", &["-1", "0", "5", "50", "5000"]),
    ("remote.log.copy.disable", &["true", "false"]),
    ("remote.log.delete.on.disable", &["true", "false"]),
    ("compression.type", &["gzip", "lz5"]),
    ("no.such.key", &["1"]),
];

const TOPIC_BROKER_VALUES: &[(&str, &[&str])] = &[
    ("remote.log.storage.system.enable", &["true", "true", "false"]),
    ("log.retention.hours", &["1", "-1"]),
    ("log.retention.minutes", &["2", "-5"]),
    ("log.retention.ms", &["500", "-1", "-7"]),
    ("log.retention.bytes", &["500", "-1"]),
    ("log.cleaner.min.compaction.lag.ms", &["0", "60"]),
    ("log.cleanup.policy", &["compact", "delete"]),
];

/// The message is compared only when one thing is wrong: which of several comes first depends on a hash order in Kafka.
fn one_wrong_value(scope: Scope, new: &Props) -> bool {
    let wrong =
        new.iter().filter(|(key, value)| find(scope, key).is_some_and(|key| key.parse(value).is_err()));
    wrong.count() <= 1
}

#[test]
fn topics_are_validated_as_by_kafka() {
    let mut choice = Choice(1);
    let mut questions = Vec::new();
    while questions.len() < 4000 {
        let existing = choice.props(&[("remote.storage.enable", &["true", "false"])], 1);
        let (mut new, mut broker) = (choice.props(TOPIC_VALUES, 5), choice.props(TOPIC_BROKER_VALUES, 3));
        if choice.below(2) == 1 {
            new.extend(props(&[("remote.storage.enable", "true")]));
            new.remove("no.such.key");
            broker.extend(props(&[("remote.log.storage.system.enable", "true")]));
        }
        if one_wrong_value(Scope::Topic, &new) && config(&broker).is_ok() {
            questions.push(vec!["topic".into(), field(&existing), field(&new), field(&broker)]);
        }
    }
    compare(&questions, |fields| {
        let config = config(&map(&fields[3]))?;
        let checked = validate_topic(&config, &map(&fields[1]), &map(&fields[2]));
        checked.map(|()| String::new()).map_err(|error| error.message)
    });
}

fn map(field: &str) -> Props {
    let entries = field.split('\u{1e}').filter_map(|entry| entry.split_once('\u{1f}'));
    entries.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn groups_are_validated_as_by_kafka() {
    let from: &[(&str, &[&str])] = &[
        ("consumer.session.timeout.ms", &["1", "45000", "50000", "60001", "x"]),
        ("consumer.heartbeat.interval.ms", &["4999", "5000", "15000", "15001"]),
        ("consumer.assignment.interval.ms", &["0", "15000", "15001"]),
        ("share.session.timeout.ms", &["1", "45000", "60001"]),
        ("share.heartbeat.interval.ms", &["4999", "5000", "15001"]),
        ("share.record.lock.duration.ms", &["999", "14999", "15000", "60001"]),
        ("share.delivery.count.limit", &["1", "2", "10", "11"]),
        ("share.partition.max.record.locks", &["99", "100", "4001"]),
        ("share.auto.offset.reset", &["earliest", "by_duration:PT1S", "soon"]),
        ("streams.num.standby.replicas", &["0", "2", "3"]),
        ("streams.num.warmup.replicas", &["20", "21"]),
        ("streams.task.offset.interval.ms", &["14999", "15000"]),
        ("streams.assignor.name", &["sticky", "other"]),
        ("streams.rack.aware.assignment.tags", &["a,b", "a,a", "a,,b", ""]),
        ("errors.deadletterqueue.topic.name", &["dlq.x", "__x", ""]),
        ("no.such.key", &["1"]),
    ];
    let broker: &[(&str, &[&str])] = &[
        ("group.consumer.max.heartbeat.interval.ms", &["50000"]),
        ("group.consumer.min.session.timeout.ms", &["10000", "45000"]),
    ];
    let mut choice = Choice(2);
    let mut questions = Vec::new();
    while questions.len() < 3000 {
        let (new, broker) = (choice.props(from, 3), choice.props(broker, 2));
        if one_wrong_value(Scope::Group, &new) {
            questions.push(vec!["group".into(), field(&new), field(&broker)]);
        }
    }
    compare(&questions, |fields| {
        let checked = validate_group(&config(&map(&fields[2]))?, &map(&fields[1]));
        checked.map(|()| String::new()).map_err(|error| error.message)
    });
}

#[test]
fn client_metrics_are_validated_as_by_kafka() {
    let from: &[(&str, &[&str])] = &[
        ("interval.ms", &["99", "100", "3600000", "3600001", "x"]),
        ("match", &["client_id=a.*", "client_id", "x=1", "client_id=[", "client_id=a=b", "client_id=", ""]),
        ("metrics", &["*", "a,b", "", "a,,b"]),
        ("no.such.key", &["1"]),
    ];
    let mut choice = Choice(3);
    let mut questions = Vec::new();
    while questions.len() < 500 {
        let new = choice.props(from, 2);
        if one_wrong_value(Scope::ClientMetrics, &new) {
            questions.push(vec!["metrics".into(), (*choice.of(&["s", "s", "s", ""])).into(), field(&new)]);
        }
    }
    compare(&questions, |fields| {
        let checked = validate_client_metrics(&fields[1], &map(&fields[2]));
        checked.map(|()| String::new()).map_err(|error| error.message)
    });
}

#[test]
fn changes_of_a_broker_are_refused_as_by_kafka() {
    let from: &[(&str, &[&str])] = &[
        ("log.retention.ms", &["1000", "x"]),
        ("num.partitions", &["3"]),
        ("cordoned.log.dirs", &["data"]),
        ("listener.name.plaintext.ssl.keystore.type", &["PEM"]),
        ("listener.name.plaintext.max.connections", &["5", "-1"]),
        ("ssl.keystore.type", &["PEM"]),
        ("max.connections", &["5", "-1"]),
        ("log.cleaner.threads", &["2"]),
        ("leader.replication.throttled.rate", &["5", "-1"]),
        ("some.plugin.key", &["x"]),
    ];
    let mut choice = Choice(4);
    let mut questions = Vec::new();
    while questions.len() < 500 {
        let new = choice.props(from, 2);
        let per_broker = choice.below(2) == 1;
        // Kafka takes a listener's key and the plain key for one key when it checks values.
        let both = new.contains_key("max.connections") && new.len() == 2;
        if both || !one_wrong_value(Scope::Broker, &new) {
            continue;
        }
        questions.push(vec!["dynamic".into(), per_broker.to_string(), field(&new)]);
    }
    compare(&questions, |fields| {
        let base = config(&Props::new()).expect("the base starts");
        let checked = validate_broker_change(&base, &map(&fields[2]), fields[1] == "true");
        checked.map(|()| String::new()).map_err(|error| error.message)
    });
}

#[test]
fn list_operations_give_what_kafka_gives() {
    let values: &[&str] = &[
        "0a",
        "0",
        "1",
        "2compact",
        "2delete,compact",
        "2x,,y",
        "2",
        "2,",
        "3delete",
        "3x,delete",
        "3",
        "3,",
    ];
    let keys: &[(&str, &[&str])] = &[
        ("log.cleanup.policy", values),
        ("log.dirs", values),
        ("ssl.cipher.suites", values),
        ("log.retention.ms", values),
        ("leader.replication.throttled.rate", values),
        ("no.such.key", values),
    ];
    let current: &[(&str, &[&str])] = &[
        ("log.cleanup.policy", &["", "x", "x,y", "delete,delete", "a,", ",a"]),
        ("ssl.cipher.suites", &["", "x,y", "compact"]),
        ("log.retention.ms", &["5"]),
    ];
    let mut choice = Choice(6);
    let questions: Vec<Vec<String>> = (0..2000)
        .map(|_| vec!["alter".into(), field(&choice.props(current, 2)), field(&choice.props(keys, 1))])
        .collect();
    compare(&questions, |fields| {
        let ops = map(&fields[2]);
        let mut changes = Vec::new();
        for (name, op) in &ops {
            let (id, value) = op.split_at(1);
            let op = AlterOp::from_id(id.parse().expect("an operation id")).expect("an operation");
            changes.push(Change { name, op, value: Some(value) });
        }
        let changed = apply_broker_changes(&map(&fields[1]), &changes);
        changed.map(|props| field(&props)).map_err(|error| error.message)
    });
}

#[test]
fn properties_files_are_read_as_by_java() {
    let texts = [
        "a=b",
        "a:b",
        "a b",
        "a  =  b ",
        "a",
        "a=",
        "=b",
        " a=b",
        "#c\na=b",
        "!c\na=b",
        "a=b\\\n  c",
        "a=b\\\\\nc=d",
        "a\\=b=c",
        "a\\ b=c",
        "a\\:b:c",
        "a==b",
        "a=:b",
        "a : = b",
        "a=\\u0041\\u00e9",
        "a=\\uD83D\\uDE00",
        "a=\\t\\n\\x",
        "a=b\r\nc=d\re=f",
        "a=1\na=2",
        "a=b\\",
        "# c\\\na=b",
        "\\#a=b",
        "a=b#c",
        "\ta\t=\tb",
        "a\\\n b=c",
        "é=ü",
        "a=\\",
        "\n\n a\x0C=\x0Cb",
        "a=x\\\n#y\nz=1",
    ];
    let questions: Vec<_> =
        texts.iter().map(|text| vec!["properties".to_owned(), (*text).to_owned()]).collect();
    compare(&questions, |fields| {
        let properties = parse_properties(&fields[1]).map_err(|error| error.message)?;
        Ok(field(&properties.into_iter().map(|p| (p.key, p.value)).collect()))
    });
}

/// Takes a key away.
const GONE: &str = "\0";
const BROKER_ONLY: (&str, &str) = ("process.roles", "broker");
const LISTENS: (&str, &str) = ("listeners", "PLAINTEXT://:9092");
const ADVERTISES: (&str, &str) = ("advertised.listeners", "PLAINTEXT://h:9092");
/// Starts that Kafka and we must agree on.
const STARTS: &[&[(&str, &str)]] = &[
    &[],
    &[("broker.id", "2")],
    &[("node.id", GONE), ("broker.id", "2")],
    &[("node.id", GONE)],
    &[("process.roles", GONE)],
    &[("controller.quorum.bootstrap.servers", GONE)],
    &[("controller.quorum.bootstrap.servers", GONE), ("controller.quorum.voters", "1@h:1")],
    &[("controller.quorum.bootstrap.servers", GONE), ("controller.quorum.voters", "2@h:1")],
    &[("listeners", "PLAINTEXT://:9092")],
    &[("listeners", "PLAINTEXT://:9092,CONTROLLER://:9092")],
    &[("listeners", "PLAINTEXT://:0,CONTROLLER://:0")],
    &[("listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://[::1]:9092")],
    &[("listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.2:9092")],
    &[("listeners", "PLAINTEXT://:9092,PLAINTEXT://:9094,CONTROLLER://:9093")],
    &[("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093,X://:9094")],
    &[("listeners", "PLAINTEXT:9092")],
    &[("listeners", "")],
    &[("advertised.listeners", "PLAINTEXT://0.0.0.0:9092")],
    &[("advertised.listeners", "PLAINTEXT://h:1,SSL://h:2")],
    &[("advertised.listeners", "CONTROLLER://h:1")],
    &[("advertised.listeners", GONE)],
    &[("inter.broker.listener.name", "SSL")],
    &[("inter.broker.listener.name", "X")],
    &[("inter.broker.listener.name", "PLAINTEXT"), ("security.inter.broker.protocol", "PLAINTEXT")],
    &[("security.inter.broker.protocol", "SASL_SSL")],
    &[("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT")],
    &[("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:SSL")],
    &[("listener.security.protocol.map", "PLAINTEXT:FOO,CONTROLLER:SSL")],
    &[BROKER_ONLY],
    &[BROKER_ONLY, LISTENS, ADVERTISES],
    &[BROKER_ONLY, LISTENS, ADVERTISES, ("controller.listener.names", "")],
    &[BROKER_ONLY, LISTENS, ADVERTISES, ("controller.quorum.voters", "1@h:1")],
    &[BROKER_ONLY, LISTENS, ADVERTISES, ("controller.quorum.voters", "2@h:1")],
    &[BROKER_ONLY, LISTENS, ADVERTISES, ("controller.quorum.auto.join.enable", "true")],
    &[BROKER_ONLY, LISTENS, ADVERTISES, ("controller.listener.names", "A,B")],
    &[BROKER_ONLY, LISTENS, ("advertised.listeners", GONE)],
    &[("process.roles", "controller")],
    &[("process.roles", "controller"), ("listeners", "CONTROLLER://:9093"), ("advertised.listeners", GONE)],
    &[
        ("process.roles", "controller"),
        ("listeners", "CONTROLLER://:9093"),
        ("advertised.listeners", "CONTROLLER://h:1"),
    ],
    &[("log.roll.ms", "0")],
    &[("log.roll.jitter.ms", "-1")],
    &[("log.retention.ms", "0")],
    &[("log.retention.hours", "0")],
    &[("log.retention.hours", "-3")],
    &[("log.dirs", "")],
    &[("log.dirs", GONE)],
    &[("log.cleaner.threads", "128")],
    &[("replica.fetch.wait.max.ms", "30001")],
    &[("replica.socket.timeout.ms", "400")],
    &[("queued.max.request.bytes", "5")],
    &[("max.connections.per.ip", "0")],
    &[("max.connections.per.ip", "0"), ("max.connections.per.ip.overrides", "127.0.0.1:5")],
    &[("max.connections.per.ip.overrides", "h_:5")],
    &[("max.connections.per.ip.overrides", "h$:5")],
    &[("connection.failed.authentication.delay.ms", "600000")],
    &[("group.consumer.session.timeout.ms", "60001")],
    &[("group.consumer.heartbeat.interval.ms", "16000")],
    &[("group.consumer.assignment.interval.ms", "16000")],
    &[("group.consumer.min.session.timeout.ms", "5000"), ("group.consumer.session.timeout.ms", "5000")],
    &[("group.share.max.size", "1000"), ("group.share.max.share.sessions", "999")],
    &[("group.share.assignors", "simple,simple2")],
    &[("group.streams.num.standby.replicas", "3")],
    &[("group.coordinator.rebalance.protocols", "consumer")],
    &[("offsets.topic.compression.codec", "4")],
    &[("offsets.topic.compression.codec", "5")],
    &[("offsets.topic.compression.codec", "-1")],
    &[("share.coordinator.state.topic.compression.codec", "5")],
    &[("cordoned.log.dirs", "*")],
    &[("cordoned.log.dirs", "*,data")],
    &[("cordoned.log.dirs", "other")],
    &[("no.such.key", "1")],
    &[("log.segment.bytes", "5")],
];

/// Messages differ on purpose: ours name values and what is allowed.
#[test]
fn starts_are_accepted_and_refused_as_by_kafka() {
    let questions: Vec<Vec<String>> =
        STARTS.iter().map(|case| vec!["broker".to_owned(), field(&props(case))]).collect();
    let Some(answers) = oracle("answer", &questions) else { return };
    for (case, answer) in STARTS.iter().zip(answers) {
        let ours = config(&props(case));
        assert_eq!(
            ours.is_ok(),
            answer[0] == "ok",
            "{case:?}\n  Kafka: {answer:?}\n  ottla: {:?}",
            ours.err()
        );
    }
}

fn described(entries: &[ConfigEntry]) -> String {
    let show = |name: &str, text: &Option<String>| match text {
        Some(text) if name == "listener.security.protocol.map" => {
            text.split(',').collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(",")
        }
        Some(text) => text.clone(),
        None => "null".to_owned(),
    };
    let ours = |name: &str| {
        name == "durability.policy" || name == "log.durability.policy" || name.starts_with("ottla.")
    };
    let mut lines = Vec::new();
    for entry in entries.iter().filter(|entry| !ours(&entry.name)) {
        let synonyms: Vec<String> = entry
            .synonyms
            .iter()
            .map(|s| format!("{}={}@{}", s.name, show(&s.name, &s.value), s.source.id()))
            .collect();
        lines.push(format!(
            "{}|{}|{}|{}|{}|{}|{}",
            entry.name,
            show(&entry.name, &entry.value),
            entry.source.id(),
            entry.read_only,
            entry.is_sensitive,
            entry.config_type,
            synonyms.join(";")
        ));
    }
    lines.sort();
    lines.join("\n")
}

type Pool = &'static [(&'static str, &'static [&'static str])];

const DESCRIBED_FIXED: Pool = &[
    ("log.retention.ms", &["1000"]),
    ("log.retention.hours", &["5"]),
    ("log.roll.hours", &["3"]),
    ("log.segment.bytes", &["2000000"]),
    ("log.flush.scheduler.interval.ms", &["77"]),
    ("log.cleanup.policy", &["delete , compact"]),
    ("listener.name.plaintext.ssl.keystore.password", &["secret"]),
    ("ssl.keystore.password", &["secret"]),
    ("listener.name.plaintext.ssl.keystore.type", &["PEM"]),
    ("some.plugin.key", &["x"]),
    ("unstable.api.versions.enable", &["true"]),
    ("group.consumer.assignor.offload.enable", &["false"]),
    ("group.consumer.session.timeout.ms", &["46000"]),
];
const DESCRIBED_CLUSTER: Pool = &[
    ("log.retention.ms", &["2000"]),
    ("log.segment.bytes", &["3000000", "x"]),
    ("min.insync.replicas", &["2"]),
    ("log.cleanup.policy", &["compact"]),
    ("leader.replication.throttled.rate", &["9"]),
    ("group.consumer.assignment.interval.ms", &["99999", "2000"]),
    ("num.partitions", &["5"]),
    ("cordoned.log.dirs", &["data"]),
];
const DESCRIBED_BROKER: Pool = &[
    ("log.retention.ms", &["3000"]),
    ("log.roll.ms", &["4000"]),
    ("max.connections", &["10"]),
    ("listener.name.plaintext.ssl.keystore.location", &["file"]),
    ("listener.name.plaintext.max.connections", &["7"]),
    ("cordoned.log.dirs", &["data"]),
];
const DESCRIBED_TOPIC: Pool = &[
    ("retention.ms", &["7"]),
    ("cleanup.policy", &["compact", "delete, compact"]),
    ("internal.segment.bytes", &["100"]),
    ("min.cleanable.dirty.ratio", &["1", "0.25"]),
    ("segment.bytes", &["1048576"]),
];
const DESCRIBED_GROUP: Pool = &[
    ("consumer.session.timeout.ms", &["50000"]),
    ("share.auto.offset.reset", &["earliest"]),
    ("consumer.assignor.offload.enable", &["true"]),
];
const DESCRIBED_METRICS: Pool = &[("interval.ms", &["1000"]), ("metrics", &["a,b"])];

#[test]
fn descriptions_are_those_of_kafka() {
    let mut choice = Choice(5);
    let mut questions = Vec::new();
    for _ in 0..60 {
        for (kind, overrides) in [
            ("topic", DESCRIBED_TOPIC),
            ("group", DESCRIBED_GROUP),
            ("metrics", DESCRIBED_METRICS),
            ("broker", &[]),
            ("cluster", &[]),
        ] {
            let fixed = choice.props(DESCRIBED_FIXED, 4);
            let overrides = if overrides.is_empty() { Props::new() } else { choice.props(overrides, 3) };
            let (cluster, broker) = (choice.props(DESCRIBED_CLUSTER, 3), choice.props(DESCRIBED_BROKER, 3));
            let maps = [&overrides, &fixed, &cluster, &broker].map(field);
            questions.push(["describe".to_owned(), kind.to_owned()].into_iter().chain(maps).collect());
        }
    }
    compare(&questions, |fields| {
        let started = config(&map(&fields[3]))?;
        let (config, _) = started
            .with_dynamic(&map(&fields[4]), &map(&fields[5]))
            .map_err(|errors| errors[0].message.clone())?;
        let overrides = map(&fields[2]);
        let entries = match fields[1].as_str() {
            "topic" => describe_topic(&config, &overrides),
            "group" => describe_group(&config, &overrides),
            "metrics" => describe_client_metrics(&overrides),
            "broker" => Ok(describe_broker(&config)),
            _ => Ok(describe_cluster(&config)),
        };
        Ok(described(&entries.map_err(|error| error.message)?))
    });
}
