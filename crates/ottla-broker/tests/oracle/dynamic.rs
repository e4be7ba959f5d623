//! Brokers reconfigured at run time: what counts afterwards, where it comes from, and what it does at once.

use std::thread::sleep;
use std::time::{Duration, Instant};

use ottla_protocol::messages::describe_configs_request::DescribeConfigsResource;
use ottla_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use ottla_record::BatchBuilder;

use crate::client::Peer;
use crate::requests::{create, fill, make_topic, new_topic, produce_to};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;

pub(crate) fn script(peer: &mut Peer) {
    make_topic(peer, "governed", 1, &[]);
    precedence(peer);
    refusals(peer);
    effects(peer);
    cordoned(peer);
}

/// Changes one key and says what the server thinks of it.
fn alter(
    peer: &mut Peer,
    case: &str,
    name: &'static str,
    key: &'static str,
    op: i8,
    value: Option<&'static str>,
) {
    let change = AlterableConfig { name: key.into(), config_operation: op, value: value.map(Into::into) };
    let resource =
        AlterConfigsResource { resource_type: BROKER, resource_name: name.into(), configs: vec![change] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    peer.call(1, case, &request);
    if op == DELETE {
        no_longer_says(peer, name, key);
    }
}

/// Waits until the broker has heard that a key was deleted for it, or for all: its value may stay the same.
fn no_longer_says(peer: &mut Peer, name: &str, key: &'static str) {
    const DYNAMIC_BROKER: i8 = 2;
    const DYNAMIC_DEFAULT_BROKER: i8 = 3;
    let source = if name.is_empty() { DYNAMIC_DEFAULT_BROKER } else { DYNAMIC_BROKER };
    let resource = DescribeConfigsResource {
        resource_type: BROKER,
        resource_name: "1".into(),
        configuration_keys: Some(vec![key.into()]),
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        ..DescribeConfigsRequest::default()
    };
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(5) {
        let answer = peer.ask(4, &request).expect("an answer");
        let configs = answer.results.iter().flat_map(|result| &result.configs);
        if !configs.flat_map(|config| &config.synonyms).any(|synonym| synonym.source == source) {
            break;
        }
        sleep(Duration::from_millis(20));
    }
    // What follows from the value is set a moment later.
    sleep(Duration::from_millis(50));
}

/// A key's value and where it comes from, once it is as wanted; at last as it is.
fn described(
    peer: &mut Peer,
    case: &str,
    (kind, name): (i8, &'static str),
    key: &'static str,
    wanted: Option<&str>,
) {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: Some(vec![key.into()]),
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        ..DescribeConfigsRequest::default()
    };
    let begin = Instant::now();
    let answer = loop {
        let answer = peer.ask(4, &request).expect("an answer");
        let value = answer.results[0].configs.first().and_then(|config| config.value.as_deref());
        if value == wanted || begin.elapsed() > Duration::from_secs(5) {
            break answer;
        }
        sleep(Duration::from_millis(20));
    };
    peer.note(4, case, &answer.results[0].configs);
}

fn precedence(peer: &mut Peer) {
    let topic = (TOPIC, "governed");
    for (key, topic_key, cluster, own, last) in [
        ("message.max.bytes", "max.message.bytes", "2000000", "1500000", "1048588"),
        ("log.retention.ms", "retention.ms", "700000000", "800000000", "-1"),
        ("compression.type", "compression.type", "gzip", "zstd", "producer"),
        ("log.message.timestamp.type", "message.timestamp.type", "LogAppendTime", "CreateTime", "CreateTime"),
        ("unclean.leader.election.enable", "unclean.leader.election.enable", "true", "false", "false"),
        ("log.segment.bytes", "segment.bytes", "2000000", "3000000", "1073741824"),
        ("log.cleanup.policy", "cleanup.policy", "compact", "compact,delete", "delete"),
    ] {
        alter(peer, &format!("{key} for all"), "", key, SET, Some(cluster));
        described(peer, &format!("{key} for all, broker"), (BROKER, "1"), key, Some(cluster));
        described(peer, &format!("{key} for all, cluster"), (BROKER, ""), key, Some(cluster));
        described(peer, &format!("{key} for all, topic"), topic, topic_key, Some(cluster));
        alter(peer, &format!("{key} for one"), "1", key, SET, Some(own));
        described(peer, &format!("{key} for one, broker"), (BROKER, "1"), key, Some(own));
        described(peer, &format!("{key} for one, cluster"), (BROKER, ""), key, Some(cluster));
        described(peer, &format!("{key} for one, topic"), topic, topic_key, Some(own));
        alter(peer, &format!("{key} not for all"), "", key, DELETE, None);
        described(peer, &format!("{key} not for all, broker"), (BROKER, "1"), key, Some(own));
        alter(peer, &format!("{key} not for one"), "1", key, DELETE, None);
        described(peer, &format!("{key} at last, broker"), (BROKER, "1"), key, Some(last));
        described(peer, &format!("{key} at last, topic"), topic, topic_key, Some(last));
    }
    for (key, value, last) in [
        ("num.io.threads", "9", "8"),
        ("num.network.threads", "4", "3"),
        ("background.threads", "11", "10"),
        ("max.connections.per.ip", "1000", "2147483647"),
        ("log.cleaner.backoff.ms", "10000", "15000"),
    ] {
        for name in ["", "1"] {
            alter(peer, &format!("{key} {name:?}"), name, key, SET, Some(value));
            described(peer, &format!("{key} {name:?}, broker"), (BROKER, "1"), key, Some(value));
            alter(peer, &format!("{key} {name:?} gone"), name, key, DELETE, None);
            described(peer, &format!("{key} {name:?} gone, broker"), (BROKER, "1"), key, Some(last));
        }
    }
}

fn refusals(peer: &mut Peer) {
    for (key, op, value) in [
        ("message.max.bytes", SET, Some("-1")),
        ("message.max.bytes", SET, Some("many")),
        ("message.max.bytes", SET, Some("")),
        ("message.max.bytes", APPEND, Some("1")),
        ("log.retention.ms", SET, Some("0")),
        ("log.retention.ms", SET, Some("-2")),
        ("num.io.threads", SET, Some("0")),
        ("num.io.threads", SET, Some("100")),
        ("num.io.threads", SET, Some("1")),
        ("num.network.threads", SET, Some("7")),
        ("num.replica.fetchers", SET, Some("3")),
        ("num.recovery.threads.per.data.dir", SET, Some("9")),
        ("log.cleaner.threads", SET, Some("5")),
        ("background.threads", SET, Some("1000")),
        ("compression.type", SET, Some("rar")),
        ("log.cleanup.policy", SET, Some("")),
        ("log.cleanup.policy", SET, Some("delete,delete")),
        ("log.cleanup.policy", SET, Some("archive")),
        ("log.retention.hours", SET, Some("1")),
        ("num.partitions", SET, Some("3")),
        ("auto.create.topics.enable", SET, Some("false")),
        ("node.id", SET, Some("1")),
        ("broker.id", SET, Some("1")),
        ("no.such.key", SET, Some("1")),
        ("log.cleaner.threads", SET, Some("x")),
        ("log.cleaner.dedupe.buffer.size", SET, Some("1")),
        ("ssl.keystore.location", SET, Some("/nowhere")),
        ("ssl.key.password", SET, Some("secret")),
        ("sasl.jaas.config", SET, Some("secret")),
        ("max.connections.per.ip.overrides", SET, Some("what:ever")),
        ("leader.replication.throttled.rate", SET, Some("5")),
        ("leader.replication.throttled.rate", DELETE, None),
        ("retention.ms", SET, Some("5")),
        ("cordoned.log.dirs", SET, Some("/nowhere")),
    ] {
        for name in ["", "1"] {
            let case = format!("refused or not: {key} {op} {value:?} {name:?}");
            alter(peer, &case, name, key, op, value);
        }
    }
    for key in
        ["num.io.threads", "message.max.bytes", "log.retention.ms", "no.such.key", "log.cleanup.policy"]
    {
        for name in ["", "1"] {
            alter(peer, &format!("cleared: {key} {name:?}"), name, key, DELETE, None);
        }
    }
    for name in ["", "1"] {
        described(peer, &format!("after refusals {name:?}"), (BROKER, name), "no.such.key", None);
    }
}

/// What counts at once for topics that say nothing themselves.
fn effects(peer: &mut Peer) {
    let send = |peer: &mut Peer, case: &str, records: Vec<u8>| {
        let request = produce_to("governed", ottla_types::Uuid::ZERO, 0, -1, Some(records));
        peer.call(9, case, &request);
    };
    let batch = |count| fill(BatchBuilder::new(), count, crate::requests::T0);
    for (key, value, case) in [
        ("message.max.bytes", "100", "too large"),
        ("min.insync.replicas", "2", "too few in sync"),
        ("log.message.timestamp.before.max.ms", "1000", "too old"),
        ("log.message.timestamp.type", "LogAppendTime", "times of the append"),
        ("log.cleanup.policy", "compact", "compacted, with keys"),
    ] {
        let topic_key = match key {
            "message.max.bytes" => "max.message.bytes",
            "log.cleanup.policy" => "cleanup.policy",
            "min.insync.replicas" => key,
            _ => key.strip_prefix("log.").expect("a log's key"),
        };
        let before = match key {
            "message.max.bytes" => "1048588",
            "min.insync.replicas" => "1",
            "log.message.timestamp.before.max.ms" => "9223372036854775807",
            "log.cleanup.policy" => "delete",
            _ => "CreateTime",
        };
        alter(peer, &format!("{case}: on"), "", key, SET, Some(value));
        described(peer, &format!("{case}: seen"), (TOPIC, "governed"), topic_key, Some(value));
        sleep(Duration::from_millis(100));
        send(peer, case, batch(3));
        alter(peer, &format!("{case}: off"), "", key, SET, Some(before));
        described(peer, &format!("{case}: back"), (TOPIC, "governed"), topic_key, Some(before));
        sleep(Duration::from_millis(100));
        send(peer, &format!("{case}: no more"), batch(3));
        if key != "min.insync.replicas" {
            alter(peer, &format!("{case}: gone"), "", key, DELETE, None);
        }
    }
}

fn cordoned(peer: &mut Peer) {
    let key = "cordoned.log.dirs";
    alter(peer, "cordoned for all", "", key, SET, Some("*"));
    alter(peer, "cordoned", "1", key, SET, Some("*"));
    described(peer, "cordoned, broker", (BROKER, "1"), key, Some("*"));
    sleep(Duration::from_millis(500));
    peer.call(7, "all directories are cordoned", &create(vec![new_topic("nowhere", 1, &[])]));
    alter(peer, "not cordoned", "1", key, DELETE, None);
    described(peer, "not cordoned, broker", (BROKER, "1"), key, Some(""));
    sleep(Duration::from_millis(500));
    peer.call(7, "no directory is cordoned", &create(vec![new_topic("somewhere", 1, &[])]));
}
