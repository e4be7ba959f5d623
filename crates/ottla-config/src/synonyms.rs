//! Keys that stand for the same setting: topic and group keys with the broker keys that give their defaults
//! (`ServerTopicConfigSynonyms`, `GroupConfig`), and broker keys in several units (`DynamicBrokerConfig`).

/// How a broker key's number becomes the topic key's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The same unit.
    Same,
    /// Minutes to milliseconds.
    Minutes,
    /// Hours to milliseconds.
    Hours,
}

impl Unit {
    /// The value in the topic key's unit; saturating.
    pub const fn to_topic(self, value: i64) -> i64 {
        match self {
            Self::Same => value,
            Self::Minutes => value.saturating_mul(60_000),
            Self::Hours => value.saturating_mul(3_600_000),
        }
    }
}

use Unit::{Hours, Minutes, Same};

/// Topic key → broker keys; the first one that is set gives the default.
const TOPIC: &[(&str, &[(&str, Unit)])] = &[
    ("cleanup.policy", &[("log.cleanup.policy", Same)]),
    ("compression.gzip.level", &[("compression.gzip.level", Same)]),
    ("compression.lz4.level", &[("compression.lz4.level", Same)]),
    ("compression.type", &[("compression.type", Same)]),
    ("compression.zstd.level", &[("compression.zstd.level", Same)]),
    ("delete.retention.ms", &[("log.cleaner.delete.retention.ms", Same)]),
    ("durability.policy", &[("log.durability.policy", Same)]),
    ("file.delete.delay.ms", &[("log.segment.delete.delay.ms", Same)]),
    ("flush.messages", &[("log.flush.interval.messages", Same)]),
    ("flush.ms", &[("log.flush.interval.ms", Same), ("log.flush.scheduler.interval.ms", Same)]),
    ("index.interval.bytes", &[("log.index.interval.bytes", Same)]),
    ("local.retention.bytes", &[("log.local.retention.bytes", Same)]),
    ("local.retention.ms", &[("log.local.retention.ms", Same)]),
    ("max.compaction.lag.ms", &[("log.cleaner.max.compaction.lag.ms", Same)]),
    ("max.decompressed.message.bytes", &[("max.decompressed.message.bytes", Same)]),
    ("max.message.bytes", &[("message.max.bytes", Same)]),
    ("message.timestamp.after.max.ms", &[("log.message.timestamp.after.max.ms", Same)]),
    ("message.timestamp.before.max.ms", &[("log.message.timestamp.before.max.ms", Same)]),
    ("message.timestamp.type", &[("log.message.timestamp.type", Same)]),
    ("min.cleanable.dirty.ratio", &[("log.cleaner.min.cleanable.ratio", Same)]),
    ("min.compaction.lag.ms", &[("log.cleaner.min.compaction.lag.ms", Same)]),
    ("min.insync.replicas", &[("min.insync.replicas", Same)]),
    ("preallocate", &[("log.preallocate", Same)]),
    ("remote.copy.lag.bytes", &[("log.remote.copy.lag.bytes", Same)]),
    ("remote.copy.lag.ms", &[("log.remote.copy.lag.ms", Same)]),
    ("retention.bytes", &[("log.retention.bytes", Same)]),
    (
        "retention.ms",
        &[("log.retention.ms", Same), ("log.retention.minutes", Minutes), ("log.retention.hours", Hours)],
    ),
    ("segment.bytes", &[("log.segment.bytes", Same)]),
    ("segment.index.bytes", &[("log.index.size.max.bytes", Same)]),
    ("segment.jitter.ms", &[("log.roll.jitter.ms", Same), ("log.roll.jitter.hours", Hours)]),
    ("segment.ms", &[("log.roll.ms", Same), ("log.roll.hours", Hours)]),
    ("unclean.leader.election.enable", &[("unclean.leader.election.enable", Same)]),
];

/// Group keys without a broker key (all others are the broker key without `group.`, but for the assignor).
const GROUP_ONLY: &[&str] = &[
    "errors.deadletterqueue.copy.record.enable",
    "errors.deadletterqueue.topic.name",
    "share.auto.offset.reset",
    "share.isolation.level",
    "share.renew.acknowledge.enable",
];

/// Broker keys that are one setting in several units, strongest first.
const BROKER: &[&[&str]] = &[
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
];

/// Parts of SASL settings that are written as `listener.name.{listener}.{mechanism}.{key}`.
const MECHANISM_KEYS: &[&str] = &[
    "connections.max.reauth.ms",
    "sasl.jaas.config",
    "sasl.login.callback.handler.class",
    "sasl.login.class",
    "sasl.server.callback.handler.class",
];

/// The broker keys that give a topic key its default, strongest first; empty if there is none.
pub fn broker_keys_of_topic(topic_key: &str) -> &'static [(&'static str, Unit)] {
    TOPIC.iter().find(|(name, _)| *name == topic_key).map_or(&[], |(_, keys)| keys)
}

/// The broker key that gives a group key its default.
pub fn broker_key_of_group(group_key: &str) -> Option<String> {
    match group_key {
        "streams.assignor.name" => Some("group.streams.assignors".to_owned()),
        name if GROUP_ONLY.contains(&name) => None,
        name => Some(format!("group.{name}")),
    }
}

/// All broker keys that decide the setting `name`, strongest first (`DynamicBrokerConfig.brokerConfigSynonyms`).
/// With `listener_overrides` a key `listener.name.{listener}.{key}` has `{key}` as its second name.
pub fn broker_synonyms(name: &str, listener_overrides: bool) -> Vec<&str> {
    if let Some(group) = BROKER.iter().find(|group| group.contains(&name)) {
        return group.to_vec();
    }
    // The scheduler interval is only the default of the other, so it is no synonym the other way round.
    if name == "log.flush.interval.ms" {
        return vec!["log.flush.interval.ms", "log.flush.scheduler.interval.ms"];
    }
    match listener_key(name).filter(|_| listener_overrides) {
        Some(base) => {
            vec![name, MECHANISM_KEYS.iter().find(|key| base.ends_with(*key)).copied().unwrap_or(base)]
        }
        None => vec![name],
    }
}

/// What follows `listener.name.{listener}.` in a key, if the key has that form.
pub fn listener_key(name: &str) -> Option<&str> {
    let (_listener, key) = name.strip_prefix("listener.name.")?.split_once('.')?;
    Some(key)
}

/// The key behind a listener override, without the listener and the SASL mechanism; `None` for other keys.
pub(crate) fn listener_base_key(name: &str) -> Option<&str> {
    let base = listener_key(name)?;
    Some(MECHANISM_KEYS.iter().find(|key| base.ends_with(*key)).copied().unwrap_or(base))
}
