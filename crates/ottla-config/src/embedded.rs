//! What a start without a properties file uses: one node that is broker and controller, as in the
//! `config/server.properties` that Kafka ships, with its data beside the caller.

use crate::values::Props;

/// The embedded properties, as they would stand in a file. They apply only when no file is given; with a file, what it
/// does not set has Kafka's default.
pub const PROPERTIES: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("controller.quorum.bootstrap.servers", "localhost:9093"),
    ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
    ("advertised.listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"),
    ("inter.broker.listener.name", "PLAINTEXT"),
    ("controller.listener.names", "CONTROLLER"),
    (
        "listener.security.protocol.map",
        "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
    ),
    ("log.dirs", "./ottla-data"),
    ("num.partitions", "1"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
];

/// The embedded properties under these overrides. Addresses follow `listeners`: whoever changes a port on the command line
/// need not repeat it in `advertised.listeners` and in the quorum's addresses.
pub fn properties(overrides: &Props) -> Props {
    let mut props: Props =
        PROPERTIES.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    if let Some(listeners) = overrides.get("listeners") {
        let advertised: Vec<String> = listeners.split(',').map(|entry| reachable(entry.trim())).collect();
        let controller = overrides.get("controller.listener.names").map_or("CONTROLLER", |name| name.trim());
        let quorum = advertised.iter().filter_map(|entry| entry.split_once("://"));
        if let Some((_, address)) = quorum.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(controller))
        {
            props.insert("controller.quorum.bootstrap.servers".to_owned(), address.to_owned());
        }
        props.insert("advertised.listeners".to_owned(), advertised.join(","));
    }
    if overrides.contains_key("controller.quorum.voters") {
        props.remove("controller.quorum.bootstrap.servers");
    }
    if overrides.contains_key("security.inter.broker.protocol") {
        props.remove("inter.broker.listener.name");
    }
    props.extend(overrides.iter().map(|(key, value)| (key.clone(), value.clone())));
    props
}

/// The listener with `localhost` where it has no host or the wildcard.
fn reachable(entry: &str) -> String {
    let Some((name, address)) = entry.split_once("://") else { return entry.to_owned() };
    match address.rsplit_once(':') {
        Some(("" | "0.0.0.0" | "[::]", port)) => format!("{name}://localhost:{port}"),
        _ => entry.to_owned(),
    }
}
