//! DescribeConfigs and IncrementalAlterConfigs.

use ottla_protocol::messages::describe_configs_request::DescribeConfigsResource;
use ottla_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};

use crate::client::{Peer, versions};
use crate::requests::make_topic;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

pub(crate) fn script(peer: &mut Peer) {
    make_topic(peer, "described", 1, &[("retention.ms", "60000"), ("cleanup.policy", "compact,delete")]);
    alter_configs(peer);
    describe_configs(peer);
    log_levels(peer);
}

fn resource(kind: i8, name: &str, keys: Option<&[&'static str]>) -> DescribeConfigsResource<'static> {
    DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned().into(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).into()).collect()),
    }
}

fn describe_configs(peer: &mut Peer) {
    for version in versions::<DescribeConfigsRequest<'_>>() {
        let request = |resources, include_synonyms| DescribeConfigsRequest {
            resources,
            include_synonyms,
            include_documentation: version >= 3 && include_synonyms,
        };
        for (case, resource) in [
            ("topic", resource(TOPIC, "described", None)),
            (
                "some of a topic",
                resource(TOPIC, "described", Some(&["retention.ms", "no.such", "segment.bytes"])),
            ),
            ("nothing of a topic", resource(TOPIC, "described", Some(&[]))),
            ("unknown topic", resource(TOPIC, "nobody", None)),
            ("invalid topic", resource(TOPIC, "a b", None)),
            ("empty topic", resource(TOPIC, "", None)),
            ("some of the broker", resource(BROKER, "1", Some(SHARED_BROKER_KEYS))),
            ("another broker", resource(BROKER, "2", None)),
            ("broker that is no number", resource(BROKER, "one", None)),
            ("cluster default", resource(BROKER, "", None)),
            ("type unknown", resource(0, "x", None)),
            ("no such type", resource(77, "x", None)),
            ("group", resource(GROUP, "some-group", None)),
            ("empty group", resource(GROUP, "", None)),
            ("client metrics", resource(CLIENT_METRICS, "subscription", None)),
            ("client metrics without name", resource(CLIENT_METRICS, "", None)),
            ("loggers of another broker", resource(BROKER_LOGGER, "2", None)),
            ("loggers of nobody", resource(BROKER_LOGGER, "", None)),
        ] {
            peer.call(version, case, &request(vec![resource.clone()], false));
            peer.call(version, &format!("{case} with synonyms"), &request(vec![resource], true));
        }
        let whole = request(vec![resource(BROKER, "1", None)], true);
        peer.call_edited(version, "whole broker", &whole, |answer| {
            for result in &mut answer.results {
                result.configs.retain(|config| !RUN_DEPENDENT.contains(&&*config.name));
            }
        });
        let several =
            vec![resource(TOPIC, "described", Some(&["retention.ms"])), resource(TOPIC, "nobody", None)];
        peer.call(version, "several", &request(several, false));
        let twice = vec![resource(TOPIC, "described", Some(&["retention.ms"])); 2];
        peer.call(version, "the same twice", &request(twice, false));
    }
}

const SHARED_BROKER_KEYS: &[&str] = &[
    "log.retention.ms",
    "log.retention.hours",
    "num.io.threads",
    "log.cleaner.threads",
    "node.id",
    "no.such",
];

/// Addresses and directories: each server has its own.
const RUN_DEPENDENT: &[&str] =
    &["log.dirs", "listeners", "advertised.listeners", "controller.quorum.bootstrap.servers"];

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// What is asked, type and name of a resource, and keys with operations and values.
type Changes = (&'static str, i8, &'static str, &'static [(&'static str, i8, Option<&'static str>)]);

/// Changes of loggers that fail or change nothing.
const LOGGER_CHANGES: &[Changes] = &[
    ("logger of another broker", BROKER_LOGGER, "2", &[("root", SET, Some("WARN"))]),
    ("logger of a broker that is no number", BROKER_LOGGER, "one", &[("root", SET, Some("WARN"))]),
    ("unknown logger", BROKER_LOGGER, "1", &[("no.such", SET, Some("WARN"))]),
    ("unknown logger, bad level", BROKER_LOGGER, "1", &[("no.such", SET, Some("LOUD"))]),
    ("unknown logger deleted", BROKER_LOGGER, "1", &[("no.such", DELETE, None)]),
    ("unknown logger appended to", BROKER_LOGGER, "1", &[("no.such", APPEND, Some("WARN"))]),
    ("logger appended to", BROKER_LOGGER, "1", &[("root", APPEND, Some("WARN"))]),
    ("logger subtracted from", BROKER_LOGGER, "1", &[("root", SUBTRACT, Some("WARN"))]),
    ("logger with an unknown operation", BROKER_LOGGER, "1", &[("root", 9, Some("WARN"))]),
    ("logger, bad level", BROKER_LOGGER, "1", &[("root", SET, Some("LOUD"))]),
    ("logger, level in lower case", BROKER_LOGGER, "1", &[("root", SET, Some("warn"))]),
    ("logger off", BROKER_LOGGER, "1", &[("root", SET, Some("OFF"))]),
    ("logger set to null", BROKER_LOGGER, "1", &[("root", SET, None)]),
    ("root logger deleted", BROKER_LOGGER, "1", &[("root", DELETE, None)]),
    ("loggers, nothing", BROKER_LOGGER, "1", &[]),
    ("logger twice", BROKER_LOGGER, "1", &[("root", SET, Some("WARN")), ("root", SET, Some("ERROR"))]),
];

fn alter_configs(peer: &mut Peer) {
    for version in versions::<IncrementalAlterConfigsRequest<'_>>() {
        let request =
            |kind, name: &str, changes: &[(&'static str, i8, Option<&'static str>)], validate_only| {
                let change =
                    |(name, operation, value): &(&'static str, i8, Option<&'static str>)| AlterableConfig {
                        name: (*name).into(),
                        config_operation: *operation,
                        value: value.map(Into::into),
                    };
                let resource = AlterConfigsResource {
                    resource_type: kind,
                    resource_name: name.to_owned().into(),
                    configs: changes.iter().map(change).collect(),
                };
                IncrementalAlterConfigsRequest { resources: vec![resource], validate_only }
            };
        for (case, kind, name, changes) in [
            ("set", TOPIC, "described", &[("retention.ms", SET, Some("70000"))][..]),
            ("delete", TOPIC, "described", &[("retention.ms", DELETE, None)]),
            ("delete what is not set", TOPIC, "described", &[("flush.ms", DELETE, None)]),
            ("append", TOPIC, "described", &[("cleanup.policy", APPEND, Some("compact"))]),
            ("subtract", TOPIC, "described", &[("cleanup.policy", SUBTRACT, Some("compact"))]),
            ("append to no list", TOPIC, "described", &[("retention.ms", APPEND, Some("1"))]),
            ("set to null", TOPIC, "described", &[("retention.ms", SET, None)]),
            ("operation unknown", TOPIC, "described", &[("retention.ms", 9, Some("1"))]),
            ("unknown key", TOPIC, "described", &[("no.such", SET, Some("1"))]),
            ("bad value", TOPIC, "described", &[("retention.ms", SET, Some("soon"))]),
            (
                "key twice",
                TOPIC,
                "described",
                &[("retention.ms", SET, Some("1")), ("retention.ms", SET, Some("2"))],
            ),
            ("no change", TOPIC, "described", &[]),
            ("unknown topic", TOPIC, "nobody", &[("retention.ms", SET, Some("1"))]),
            ("invalid topic", TOPIC, "a b", &[("retention.ms", SET, Some("1"))]),
            ("empty topic", TOPIC, "", &[("retention.ms", SET, Some("1"))]),
            ("broker", BROKER, "1", &[("log.cleaner.threads", SET, Some("2"))]),
            ("broker, read-only key", BROKER, "1", &[("log.dirs", SET, Some("/x"))]),
            ("broker, unknown key", BROKER, "1", &[("no.such", SET, Some("1"))]),
            ("broker, bad value", BROKER, "1", &[("log.cleaner.threads", SET, Some("0"))]),
            ("another broker", BROKER, "2", &[("log.cleaner.threads", SET, Some("2"))]),
            ("broker that is no number", BROKER, "one", &[("log.cleaner.threads", SET, Some("2"))]),
            // Long enough for records of long ago: a check of retention may come at any time.
            ("cluster default", BROKER, "", &[("log.retention.ms", SET, Some("9900000000000"))]),
            ("cluster default, one broker's key", BROKER, "", &[("listeners", SET, Some("PLAINTEXT://:1"))]),
            ("group", GROUP, "some-group", &[("consumer.session.timeout.ms", SET, Some("50000"))]),
            ("group, bad value", GROUP, "some-group", &[("consumer.session.timeout.ms", SET, Some("1"))]),
            ("client metrics", CLIENT_METRICS, "subscription", &[("interval.ms", SET, Some("1000"))]),
            ("client metrics, bad value", CLIENT_METRICS, "subscription", &[("interval.ms", SET, Some("1"))]),
            ("type unknown", 0, "x", &[("a", SET, Some("1"))]),
            ("no such type", 77, "x", &[("a", SET, Some("1"))]),
            ("logger of nobody", BROKER_LOGGER, "", &[("kafka", SET, Some("INFO"))]),
        ]
        .into_iter()
        .chain(LOGGER_CHANGES.iter().copied())
        {
            peer.call(version, &format!("{case}, checked"), &request(kind, name, changes, true));
            peer.call(version, case, &request(kind, name, changes, false));
        }
        let mut twice = request(TOPIC, "described", &[("retention.ms", SET, Some("80000"))], false);
        twice.resources.push(twice.resources[0].clone());
        peer.call(version, "resource twice", &twice);
        let cleaner = vec![resource(BROKER, "1", Some(&["log.cleaner.threads"]))];
        let describe = DescribeConfigsRequest { resources: cleaner, ..DescribeConfigsRequest::default() };
        peer.wait_for(4, &describe, |answer| answer.results[0].configs[0].value.as_deref() == Some("2"));
    }
}

/// The only logger that both servers have is the root of all; no level that makes a server chatty.
fn log_levels(peer: &mut Peer) {
    let change = |level: &'static str, validate_only| {
        let root = AlterableConfig { name: "root".into(), config_operation: 0, value: Some(level.into()) };
        let resource = AlterConfigsResource {
            resource_type: BROKER_LOGGER,
            resource_name: "1".into(),
            configs: vec![root],
        };
        IncrementalAlterConfigsRequest { resources: vec![resource], validate_only }
    };
    let described = |include_synonyms, include_documentation| DescribeConfigsRequest {
        resources: vec![resource(BROKER_LOGGER, "1", Some(&["root", "no.such"]))],
        include_synonyms,
        include_documentation,
    };
    for version in versions::<IncrementalAlterConfigsRequest<'_>>() {
        for level in ["FATAL", "WARN", "ERROR"] {
            peer.call(version, &format!("root logger to {level}"), &change(level, false));
            peer.call(version, "root logger, checked", &change("TRACE", true));
            for describing in versions::<DescribeConfigsRequest<'_>>() {
                let case = format!("root logger at {level}, set by version {version}");
                peer.call(describing, &case, &described(false, false));
                peer.call(describing, &format!("{case}, all of it"), &described(true, describing >= 3));
            }
        }
    }
}
