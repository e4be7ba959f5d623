//! Checks across keys of a node (`KafkaConfig.validateValues`, `GroupCoordinatorConfig`, `ShareGroupConfig`).

use crate::address;
use crate::error::ConfigError;
use crate::node::NodeConfig;
use crate::values::{Props, Values};

/// Pairs of keys of which the first may not be above the second.
const NOT_ABOVE: &[(&str, &str)] = &[
    ("group.consumer.min.heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms"),
    ("group.consumer.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
    ("group.consumer.min.session.timeout.ms", "group.consumer.session.timeout.ms"),
    ("group.consumer.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
    ("group.consumer.min.assignment.interval.ms", "group.consumer.assignment.interval.ms"),
    ("group.consumer.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"),
    ("group.share.min.heartbeat.interval.ms", "group.share.heartbeat.interval.ms"),
    ("group.share.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"),
    ("group.share.min.session.timeout.ms", "group.share.session.timeout.ms"),
    ("group.share.session.timeout.ms", "group.share.max.session.timeout.ms"),
    ("group.share.min.assignment.interval.ms", "group.share.assignment.interval.ms"),
    ("group.share.assignment.interval.ms", "group.share.max.assignment.interval.ms"),
    ("group.share.min.delivery.count.limit", "group.share.delivery.count.limit"),
    ("group.share.delivery.count.limit", "group.share.max.delivery.count.limit"),
    ("group.share.min.partition.max.record.locks", "group.share.partition.max.record.locks"),
    ("group.share.partition.max.record.locks", "group.share.max.partition.max.record.locks"),
    ("group.share.min.record.lock.duration.ms", "group.share.record.lock.duration.ms"),
    ("group.share.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"),
    ("group.share.max.size", "group.share.max.share.sessions"),
    ("group.streams.min.heartbeat.interval.ms", "group.streams.heartbeat.interval.ms"),
    ("group.streams.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"),
    ("group.streams.min.session.timeout.ms", "group.streams.session.timeout.ms"),
    ("group.streams.session.timeout.ms", "group.streams.max.session.timeout.ms"),
    ("group.streams.min.assignment.interval.ms", "group.streams.assignment.interval.ms"),
    ("group.streams.assignment.interval.ms", "group.streams.max.assignment.interval.ms"),
    ("group.streams.num.standby.replicas", "group.streams.max.standby.replicas"),
    ("group.streams.min.task.offset.interval.ms", "group.streams.task.offset.interval.ms"),
    ("group.streams.num.warmup.replicas", "group.streams.max.warmup.replicas"),
    ("log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
    ("replica.fetch.wait.max.ms", "replica.socket.timeout.ms"),
    ("replica.fetch.wait.max.ms", "replica.lag.time.max.ms"),
];

/// Pairs of keys of which the first must be below the second.
const BELOW: &[(&str, &str)] = &[
    ("group.consumer.heartbeat.interval.ms", "group.consumer.session.timeout.ms"),
    ("group.share.heartbeat.interval.ms", "group.share.session.timeout.ms"),
    ("group.streams.heartbeat.interval.ms", "group.streams.session.timeout.ms"),
];

/// Everything that does not fit together, apart from the node's own settings.
pub(crate) fn errors(values: &Values) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let mut fail = |message: String| errors.push(ConfigError::config(message));
    for (low, high) in NOT_ABOVE {
        let (a, b) = (values.long(low), values.long(high));
        if a > b {
            fail(format!("{low} is {a} and {high} is {b}: the first must not be above the second."));
        }
    }
    for (low, high) in BELOW {
        let (a, b) = (values.long(low), values.long(high));
        if a >= b {
            fail(format!("{low} is {a} and {high} is {b}: the first must be below the second."));
        }
    }
    for (key, min, what) in [("log.roll.ms", 1, "at least 1"), ("log.roll.jitter.ms", 0, "at least 0")] {
        if let Some(value) = values.opt_long(key).filter(|value| *value < min) {
            fail(format!("{key} is {value}: it must be {what}."));
        }
    }
    let retention_keys = ["log.retention.ms", "log.retention.minutes", "log.retention.hours"];
    let retention = retention_keys.iter().find_map(|key| Some((key, values.opt_long(key)?)));
    if let Some((key, 0)) = retention {
        fail(format!("{key} is 0: it must be at least 1, or negative for no limit."));
    }
    cleaner_errors(values, &mut fail);
    network_errors(values, &mut fail);
    if !values.list("group.coordinator.rebalance.protocols").iter().any(|protocol| protocol == "classic") {
        fail("group.coordinator.rebalance.protocols lacks classic: the classic protocol cannot be switched off.".into());
    }
    for key in ["offsets.topic.compression.codec", "share.coordinator.state.topic.compression.codec"] {
        let id = values.int(key);
        if !(0..=4).contains(&id) {
            fail(format!("{key} is {id}: it must be the id of a codec, 0 to 4."));
        }
    }
    let assignors = values.list("group.share.assignors").len();
    if assignors != 1 {
        fail(format!("group.share.assignors has {assignors} entries: it must have exactly one."));
    }
    errors
}

fn cleaner_errors(values: &Values, fail: &mut impl FnMut(String)) {
    let (buffer, threads) =
        (values.long("log.cleaner.dedupe.buffer.size"), values.long("log.cleaner.threads"));
    if buffer.checked_div(threads).is_none_or(|per_thread| per_thread <= 1 << 20) {
        fail(format!(
            "log.cleaner.dedupe.buffer.size is {buffer} with log.cleaner.threads {threads}: each thread needs more than \
             1 MiB, and there must be at least one thread."
        ));
    }
    if values.boolean("remote.log.storage.system.enable") {
        for (local, whole) in [
            ("log.local.retention.bytes", "log.retention.bytes"),
            ("log.local.retention.ms", "log.retention.ms"),
        ] {
            let (Some(a), Some(b)) = (values.opt_long(local), values.opt_long(whole)) else { continue };
            if b > -1 && a != -2 && (a == -1 || a > b) {
                fail(format!(
                    "{local} is {a} and {whole} is {b}: the local part must not be more than the whole."
                ));
            }
        }
    }
}

fn network_errors(values: &Values, fail: &mut impl FnMut(String)) {
    let (queued, request) =
        (values.long("queued.max.request.bytes"), values.long("socket.request.max.bytes"));
    if queued > 0 && queued < request {
        fail(format!(
            "queued.max.request.bytes is {queued} and socket.request.max.bytes is {request}: the first must not be below \
             the second."
        ));
    }
    let overrides = values.string("max.connections.per.ip.overrides").unwrap_or_default();
    let entries: Vec<&str> = overrides.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    for entry in &entries {
        let parsed = entry.rsplit_once(':').filter(|(host, _)| address::is_host(host.trim()));
        if parsed.and_then(|(_, count)| count.trim().parse::<i32>().ok()).is_none() {
            fail(format!(
                "max.connections.per.ip.overrides has the entry '{entry}': each entry must be host:count."
            ));
        }
    }
    if values.int("max.connections.per.ip") == 0 && entries.is_empty() {
        fail(
            "max.connections.per.ip is 0: that is allowed only with max.connections.per.ip.overrides.".into(),
        );
    }
    let delay = values.long("connection.failed.authentication.delay.ms");
    let idle = values.long("connections.max.idle.ms");
    if idle >= 0 && delay >= idle {
        fail(format!(
            "connection.failed.authentication.delay.ms is {delay} and connections.max.idle.ms is {idle}: the first must be \
             below the second."
        ));
    }
}

/// What does not fit together with the node's settings.
pub(crate) fn node_errors(values: &Values, node: &NodeConfig) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let mut fail = |message: String| errors.push(ConfigError::config(message));
    let broker_id = values.int("broker.id");
    if broker_id != node.node_id.0 {
        fail(format!("node.id is {} and broker.id is {broker_id}: they must be the same.", node.node_id));
    }
    let mechanism = values.string("sasl.mechanism.inter.broker.protocol").unwrap_or_default();
    let mechanisms = values.list("sasl.enabled.mechanisms");
    if node.inter_broker_protocol.is_sasl() && !mechanisms.iter().any(|enabled| enabled == mechanism) {
        fail(format!(
            "sasl.mechanism.inter.broker.protocol is {mechanism}: it must be one of sasl.enabled.mechanisms ({}), because \
             brokers talk over SASL.",
            mechanisms.join(",")
        ));
    }
    if node.roles.broker {
        let cordoned = values.list("cordoned.log.dirs");
        let all = cordoned.iter().any(|dir| dir == "*");
        if all && cordoned.len() > 1 {
            fail("cordoned.log.dirs has * and other entries: * must stand alone.".into());
        }
        for dir in cordoned.iter().filter(|dir| !all && !node.log_dirs.contains(dir)) {
            fail(format!("cordoned.log.dirs has '{dir}': it must be one of {}.", node.log_dirs.join(",")));
        }
    }
    errors
}

/// Combinations that work but are unwise.
pub(crate) fn warnings(values: &Values, node: &NodeConfig, explicit: &Props) -> Vec<String> {
    let mut warnings = Vec::new();
    let interval = values.long("broker.heartbeat.interval.ms");
    let session = values.long("broker.session.timeout.ms");
    if interval * 2 > session {
        warnings.push(format!(
            "broker.heartbeat.interval.ms is {interval} and broker.session.timeout.ms is {session}: with less than two \
             heartbeats in that time a broker is easily fenced."
        ));
    }
    if !node.roles.controller {
        for key in ["num.partitions", "default.replication.factor"] {
            if explicit.contains_key(key) {
                warnings.push(format!(
                    "{key} belongs to the controllers; a broker's own value will go out of use."
                ));
            }
        }
        if node.controller_listener_names.len() > 1 {
            warnings.push(format!(
                "controller.listener.names has {}: a broker uses only the first.",
                node.controller_listener_names.join(",")
            ));
        }
    }
    warnings
}

/// Assignment intervals outside their bounds are moved to the bound, not refused
/// (`GroupCoordinatorConfig.clampDynamicConfigs`).
pub(crate) fn clamp_assignment_intervals(props: &mut Props, warnings: &mut Vec<String>) {
    for kind in ["consumer", "share", "streams"] {
        let key = format!("group.{kind}.assignment.interval.ms");
        let number = |props: &Props, key: &str, default: i64| match props.get(key) {
            Some(text) => text.trim().parse::<i64>().ok(),
            None => Some(default),
        };
        let min = number(props, &format!("group.{kind}.min.assignment.interval.ms"), 0);
        let max = number(props, &format!("group.{kind}.max.assignment.interval.ms"), 15_000);
        let value = props.get(&key).and_then(|text| text.trim().parse::<i64>().ok());
        let (Some(min), Some(max), Some(value)) = (min, max, value) else { continue };
        if min <= max && value != value.clamp(min, max) && value >= 0 {
            let bound = value.clamp(min, max);
            warnings
                .push(format!("{key} is {value}: it counts as {bound}, the bound that this broker sets."));
            props.insert(key, bound.to_string());
        }
    }
}
