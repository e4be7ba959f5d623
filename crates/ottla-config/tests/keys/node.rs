//! From properties to a node: sources, precedence, listeners, and sentences for what is wrong.

use ottla_config::{
    BrokerConfig, Durability, HostPort, LogSettings, Password, Props, SecurityProtocol, Sources,
    TopicCompression, embedded, parse_override,
};

fn props(pairs: &[(&str, &str)]) -> Props {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn load(file: Option<&str>, overrides: &[&str]) -> Result<(BrokerConfig, Vec<String>), Vec<String>> {
    let overrides: Vec<_> = overrides.iter().map(|o| parse_override(o).expect("key=value")).collect();
    let loaded = BrokerConfig::load(Sources { properties: file, overrides: &overrides });
    loaded.map_err(|errors| errors.into_iter().map(|error| error.message).collect())
}

const FILE: &str = "\
process.roles=broker,controller
node.id=7
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
advertised.listeners=PLAINTEXT://example.org:9092
controller.listener.names=CONTROLLER
";

#[test]
fn a_start_without_anything_is_one_node_with_both_roles() {
    let (config, warnings) = load(None, &[]).expect("the embedded properties are valid");
    assert_eq!(warnings, Vec::<String>::new());
    let node = config.node();
    assert!(node.roles.broker && node.roles.controller);
    assert_eq!(node.node_id.0, 1);
    assert_eq!(node.log_dirs, ["./ottla-data"]);
    assert_eq!(node.metadata_log_dir, "./ottla-data");
    let show = |endpoints: &[ottla_config::Endpoint]| {
        endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(show(&node.listeners), "PLAINTEXT://:9092 CONTROLLER://:9093");
    assert_eq!(show(&node.advertised_broker_listeners), "PLAINTEXT://localhost:9092");
    assert_eq!(show(&node.advertised_controller_listeners), "CONTROLLER://localhost:9093");
    assert_eq!(config.values().short("offsets.topic.replication.factor"), 1);
    assert_eq!(embedded::PROPERTIES.len(), config.static_props().len() - 1, "all are static, and broker.id");
}

#[test]
fn another_port_on_the_command_line_moves_advertised_and_quorum_addresses() {
    let (config, _) =
        load(None, &["listeners=PLAINTEXT://0.0.0.0:19092,CONTROLLER://:19093"]).expect("valid");
    let node = config.node();
    assert_eq!(node.advertised_broker_listeners[0].to_string(), "PLAINTEXT://localhost:19092");
    assert_eq!(node.bootstrap_servers, [HostPort { host: "localhost".to_owned(), port: 19093 }]);
}

#[test]
fn a_file_has_kafkas_defaults_for_what_it_leaves_out() {
    let (config, _) = load(Some(FILE), &[]).expect("valid");
    assert_eq!(config.values().short("offsets.topic.replication.factor"), 3);
    assert_eq!(config.node().log_dirs, ["/tmp/kafka-logs"]);
}

#[test]
fn overrides_win_over_the_file() {
    let (config, _) = load(Some(FILE), &["num.partitions = 9"]).expect("valid");
    assert_eq!(config.values().int("num.partitions"), 9);
}

#[test]
fn unknown_and_repeated_keys_are_warnings() {
    let text = format!("{FILE}no.such.key=1\nnode.id=8\nlistener.name.plaintext.max.connections=5\n");
    let (config, warnings) = load(Some(&text), &[]).expect("valid");
    assert_eq!(config.node().node_id.0, 8);
    assert_eq!(
        warnings,
        [
            "Line 8: node.id is set again; the last value counts.",
            "no.such.key is no configuration key; it is ignored.",
        ]
    );
}

#[test]
fn settings_without_effect_are_named_unless_they_are_defaults() {
    let text = format!(
        "{FILE}num.io.threads=16\nnum.network.threads=3\ncreate.topic.policy.class.name=a.B\nlog.retention.hours=5\n"
    );
    let (_, warnings) = load(Some(&text), &["replica.fetch.min.bytes=2"]).expect("valid");
    let named = "create.topic.policy.class.name, num.io.threads, replica.fetch.min.bytes";
    assert_eq!(
        warnings,
        [format!("Set, but without effect here (see \"Works\" in docs/configuration.md): {named}.")]
    );
}

#[test]
fn all_bad_values_are_reported_at_once() {
    let text =
        format!("{FILE}num.partitions=0\nlog.cleanup.policy=keep\nlistener.name.x.max.connections=-1\n");
    let errors = load(Some(&text), &[]).expect_err("three values are bad");
    assert_eq!(
        errors,
        [
            "Invalid value -1 for configuration max.connections: Value must be at least 0",
            "Invalid value keep for configuration log.cleanup.policy: String must be one of: compact, delete",
            "Invalid value 0 for configuration num.partitions: Value must be at least 1",
        ]
    );
}

#[test]
fn contradictions_name_keys_values_and_what_is_allowed() {
    for (change, sentence) in [
        (
            "inter.broker.listener.name=SSL",
            "Brokers talk to each other on listener SSL (inter.broker.listener.name or \
             security.inter.broker.protocol), which is not advertised: it must be one of PLAINTEXT.",
        ),
        (
            "listeners=PLAINTEXT://:9092,CONTROLLER://:9092",
            "listeners has PLAINTEXT://:9092 and CONTROLLER://:9092 on the same port: ports must differ, unless one host \
             is an IPv4 address and the other an IPv6 address.",
        ),
        (
            "listeners=PLAINTEXT://:99999,CONTROLLER://:9093",
            "listeners has the entry 'PLAINTEXT://:99999', but '99999' is no port: allowed are 0 to 65535.",
        ),
        (
            "controller.quorum.voters=3@h:1",
            "node.id is 7, but controller.quorum.voters has only 3: a node with the controller role must be one of the \
             voters.",
        ),
        (
            "group.consumer.session.timeout.ms=70000",
            "group.consumer.session.timeout.ms is 70000 and group.consumer.max.session.timeout.ms is 60000: the first \
             must not be above the second.",
        ),
        (
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:TLS",
            "listener.security.protocol.map has the entry 'CONTROLLER:TLS', but 'TLS' is no security protocol: allowed \
             are PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL.",
        ),
    ] {
        assert_eq!(load(Some(FILE), &[change]).expect_err(change), [sentence]);
    }
}

#[test]
fn a_voter_address_stands_in_for_a_controller_listener_without_host() {
    let change = ["controller.quorum.voters=7@c7.example.org:9093", "controller.quorum.bootstrap.servers="];
    let (config, _) = load(Some(FILE), &change).expect("valid");
    assert_eq!(
        config.node().advertised_controller_listeners[0].to_string(),
        "CONTROLLER://c7.example.org:9093"
    );
}

#[test]
fn listener_names_map_to_protocols_in_any_case() {
    let (config, _) = load(
        Some(FILE),
        &[
            "listeners=internal://:9092,CONTROLLER://:9093",
            "advertised.listeners=Internal://h:1",
            "listener.security.protocol.map=INTERNAL:ssl,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name=internal",
        ],
    )
    .expect("valid");
    assert_eq!(config.node().inter_broker_listener, "INTERNAL");
    assert_eq!(config.node().inter_broker_protocol, SecurityProtocol::Ssl);
}

#[test]
fn dynamic_changes_have_kafkas_precedence() {
    let (config, _) = load(Some(FILE), &["log.retention.hours=1", "log.roll.ms=5000"]).expect("valid");
    let cluster = props(&[("log.retention.ms", "10"), ("num.partitions", "5"), ("log.roll.hours", "2")]);
    let (config, warnings) =
        config.with_dynamic(&cluster, &props(&[("log.retention.ms", "20")])).expect("valid");
    let settings = LogSettings::resolve(&config, &Props::new()).expect("valid");
    assert_eq!(settings.retention_ms, 20);
    assert_eq!(config.values().int("num.partitions"), 1);
    assert_eq!(
        warnings,
        [
            "The cluster's dynamic setting of log.roll.hours is ignored: it cannot change at run time.",
            "The cluster's dynamic setting of num.partitions is ignored: it cannot change at run time.",
        ]
    );
    let (config, _) = config.with_dynamic(&Props::new(), &Props::new()).expect("valid");
    assert_eq!(LogSettings::resolve(&config, &Props::new()).expect("valid").retention_ms, 3_600_000);
}

#[test]
fn a_dynamic_change_that_contradicts_is_refused_as_a_whole() {
    let (config, _) = load(Some(FILE), &[]).expect("valid");
    let cluster = props(&[("log.cleaner.threads", "1000")]);
    assert!(config.with_dynamic(&cluster, &Props::new()).is_err());
    let message =
        ottla_config::validate_broker_change(&config, &cluster, false).expect_err("refused").message;
    assert!(message.starts_with("log.cleaner.dedupe.buffer.size is 134217728 with log.cleaner.threads 1000"));
}

#[test]
fn topic_settings_come_from_overrides_then_broker_then_default() {
    let (config, _) =
        load(Some(FILE), &["log.retention.minutes=3", "log.durability.policy=page-cache"]).expect("valid");
    let settings = LogSettings::resolve(
        &config,
        &props(&[("cleanup.policy", "compact"), ("compression.type", "zstd"), ("segment.bytes", "2000000")]),
    )
    .expect("valid");
    assert_eq!(settings.retention_ms, 180_000);
    assert_eq!(settings.segment_bytes, 2_000_000);
    assert!(settings.compact && !settings.delete);
    assert_eq!(settings.compression, TopicCompression::Zstd(3));
    assert_eq!(settings.durability, Durability::PageCache);
    assert_eq!(settings.local_retention_ms, 180_000);
    let own = LogSettings::resolve(&config, &props(&[("durability.policy", "sync")])).expect("valid");
    assert_eq!(own.durability, Durability::Sync);
}

#[test]
fn listener_settings_fall_back_to_the_plain_key() {
    let text = format!(
        "{FILE}listener.name.internal.ssl.keystore.location=a\nssl.keystore.location=b\n\
         listener.name.internal.scram-sha-256.sasl.jaas.config=c\n"
    );
    let (config, _) = load(Some(&text), &[]).expect("valid");
    let get = |listener, mechanism, key| config.listener_text(listener, mechanism, key);
    assert_eq!(get("INTERNAL", None, "ssl.keystore.location").as_deref(), Some("a"));
    assert_eq!(get("OTHER", None, "ssl.keystore.location").as_deref(), Some("b"));
    assert_eq!(get("INTERNAL", Some("SCRAM-SHA-256"), "sasl.jaas.config").as_deref(), Some("c"));
    assert_eq!(get("INTERNAL", None, "ssl.client.auth").as_deref(), Some("none"));
}

#[test]
fn passwords_are_never_shown() {
    let (config, _) = load(Some(FILE), &["ssl.key.password=hunter2"]).expect("valid");
    let values = config.values();
    assert_eq!(values.password("ssl.key.password").map(Password::reveal), Some("hunter2"));
    assert!(!format!("{values:?}").contains("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
    let entries = ottla_config::describe_broker(&config);
    assert!(!format!("{entries:?}").contains("hunter2"));
}
