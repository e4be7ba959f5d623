//! Configuration of a topic: its overrides over the broker's values (`LogConfig` in Kafka).

use std::collections::BTreeMap;

use crate::broker::BrokerConfig;
use crate::error::ConfigError;
use crate::key::Scope;
use crate::synonyms::broker_keys_of_topic;
use crate::table;
use crate::value::Value;
use crate::values::{Props, Values};

/// The defaults that a broker gives to its topics (`KafkaConfig.extractLogConfigMap`).
pub fn topic_defaults(broker: &Values) -> BTreeMap<&'static str, Value> {
    let default = |key: &'static crate::ConfigKey| {
        let synonyms = broker_keys_of_topic(key.name);
        let found = synonyms.iter().find(|(name, _)| *broker.get(name) != Value::Null);
        let (name, unit) = found.or(synonyms.last())?;
        let value = match (broker.get(name), key.kind) {
            (Value::Int(number), crate::Kind::Long) => Value::Long(unit.to_topic((*number).into())),
            (Value::Long(number), _) => Value::Long(unit.to_topic(*number)),
            (other, _) => other.clone(),
        };
        // Every negative retention of a broker means "no limit"; for a topic that is -1 only.
        let value = match value {
            Value::Long(..0) if key.name == "retention.ms" => Value::Long(-1),
            other => other,
        };
        Some((key.name, value))
    };
    table::keys(Scope::Topic).iter().filter_map(|key| default(key)).collect()
}

/// Checks the complete overrides that a topic would have after a change, as the controller does before it writes them
/// (`LogConfig.validate`). `existing` are the overrides before the change; empty for a new topic.
///
/// # Errors
/// The first thing that is wrong, with Kafka's text.
pub fn validate_topic(broker: &BrokerConfig, existing: &Props, new: &Props) -> Result<(), ConfigError> {
    if let Some(name) = new.keys().find(|name| table::find(Scope::Topic, name).is_none()) {
        return Err(ConfigError::config(format!("Unknown topic config name: {name}")));
    }
    let values = parse(broker, new)?;
    check_compaction_lag(&values)?;
    if values.boolean("remote.storage.enable") {
        if !broker.values().boolean("remote.log.storage.system.enable") {
            return Err(ConfigError::config(
                "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log \
                 storage.",
            ));
        }
        return check_tiered(&values);
    }
    let was_remote = existing.get("remote.storage.enable").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    if was_remote && !values.boolean("remote.log.delete.on.disable") {
        return Err(ConfigError::config(
            "It is invalid to disable remote storage without deleting remote data. If you want to keep the remote data \
             and turn to read only, please set `remote.storage.enable=true,remote.log.copy.disable=true`. If you want \
             to disable remote storage and delete all remote data, please set \
             `remote.storage.enable=false,remote.log.delete.on.disable=true`.",
        ));
    }
    Ok(())
}

/// Every topic key with its effective value.
///
/// # Errors
/// An override does not parse. That cannot come from a controller, which checked it.
pub fn topic_values(broker: &BrokerConfig, overrides: &Props) -> Result<Values, ConfigError> {
    parse(broker, overrides)
}

fn parse(broker: &BrokerConfig, overrides: &Props) -> Result<Values, ConfigError> {
    let parsed = Values::parse(Scope::Topic, overrides, &topic_defaults(broker.values()));
    parsed.map_err(|mut errors| errors.swap_remove(0))
}

fn check_compaction_lag(values: &Values) -> Result<(), ConfigError> {
    let (min, max) = (values.long("min.compaction.lag.ms"), values.long("max.compaction.lag.ms"));
    if min > max {
        return Err(ConfigError::config(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        )));
    }
    Ok(())
}

fn check_tiered(values: &Values) -> Result<(), ConfigError> {
    let policy = values.list("cleanup.policy");
    if !policy.is_empty() && policy != ["delete"] {
        return Err(ConfigError::config(
            "Remote log storage only supports topics with cleanup.policy=delete or cleanup.policy being an empty list.",
        ));
    }
    for (local, whole) in
        [("local.retention.bytes", "retention.bytes"), ("local.retention.ms", "retention.ms")]
    {
        let (a, b) = (values.long(local), values.long(whole));
        // A retention in bytes below -1 is no limit either; one in milliseconds cannot be below -1.
        if b <= -1 || a == -2 {
            continue;
        }
        if a == -1 {
            let reason = format!("Value must not be -1 as {whole} value is set as {b}.");
            return Err(ConfigError::value(local, a, reason));
        }
        if a > b {
            let reason = format!("Value must not be more than {whole} property value: {b}");
            return Err(ConfigError::value(local, a, reason));
        }
    }
    for (lag, local, whole) in [
        ("remote.copy.lag.bytes", "local.retention.bytes", "retention.bytes"),
        ("remote.copy.lag.ms", "local.retention.ms", "retention.ms"),
    ] {
        let kept = match values.long(local) {
            -2 => values.long(whole),
            other => other,
        };
        let value = values.long(lag);
        if value > 0 && kept >= 0 && value > kept {
            let reason = format!("Value must not exceed {local} (effective value: {kept})");
            return Err(ConfigError::value(lag, value, reason));
        }
    }
    for (local, whole) in
        [("local.retention.bytes", "retention.bytes"), ("local.retention.ms", "retention.ms")]
    {
        let (a, b) = (values.long(local), values.long(whole));
        if values.boolean("remote.log.copy.disable") && a != -2 && a != b {
            return Err(ConfigError::config(format!(
                "When `remote.log.copy.disable` is set to true, the `{local}` and `{whole}` must be set to the \
                 identical value because there will be no more logs copied to the remote storage."
            )));
        }
    }
    Ok(())
}

/// When a write with acks=all is answered (`durability.policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The record is on disk on every in-sync replica.
    Sync,
    /// The record is in the memory of every in-sync replica, as in Kafka.
    PageCache,
}

/// Codec in which a topic stores batches (`compression.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicCompression {
    /// As the producer sent them.
    Producer,
    /// Not compressed.
    Uncompressed,
    /// gzip at this level; -1 is the codec's default.
    Gzip(i32),
    /// snappy.
    Snappy,
    /// lz4 at this level.
    Lz4(i32),
    /// zstd at this level.
    Zstd(i32),
}

/// Whose time a record carries (`message.timestamp.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicTimestamp {
    /// The producer's.
    CreateTime,
    /// The broker's, at the append.
    LogAppendTime,
}

/// The effective settings of one topic, for the log layer and for replication. Sizes in bytes, times in milliseconds; -1
/// is "no limit" where a limit can be absent.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each field is the key of the same name, documented in the table")]
pub struct LogSettings {
    pub segment_bytes: i32,
    pub segment_ms: i64,
    pub segment_jitter_ms: i64,
    pub segment_index_bytes: i32,
    pub index_interval_bytes: i32,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub retention_bytes: i64,
    pub retention_ms: i64,
    /// `cleanup.policy` has `delete`.
    pub delete: bool,
    /// `cleanup.policy` has `compact`.
    pub compact: bool,
    pub delete_retention_ms: i64,
    pub min_compaction_lag_ms: i64,
    pub max_compaction_lag_ms: i64,
    pub min_cleanable_dirty_ratio: f64,
    pub file_delete_delay_ms: i64,
    pub max_message_bytes: i32,
    pub max_decompressed_message_bytes: i32,
    pub compression: TopicCompression,
    pub timestamp_type: TopicTimestamp,
    pub timestamp_before_max_ms: i64,
    pub timestamp_after_max_ms: i64,
    pub min_insync_replicas: i32,
    pub unclean_leader_election_enable: bool,
    pub preallocate: bool,
    pub durability: Durability,
    pub remote_storage_enable: bool,
    pub remote_log_copy_disable: bool,
    /// `local.retention.bytes`, already replaced by `retention.bytes` where it is -2.
    pub local_retention_bytes: i64,
    /// `local.retention.ms`, already replaced by `retention.ms` where it is -2.
    pub local_retention_ms: i64,
    pub leader_throttled_replicas: Vec<String>,
    pub follower_throttled_replicas: Vec<String>,
}

impl LogSettings {
    /// The settings of a topic with these overrides.
    ///
    /// # Errors
    /// An override does not parse. That cannot come from a controller, which checked it.
    pub fn resolve(broker: &BrokerConfig, overrides: &Props) -> Result<Self, ConfigError> {
        Ok(Self::from_values(&topic_values(broker, overrides)?))
    }

    /// The settings in parsed topic values.
    pub fn from_values(values: &Values) -> Self {
        let policy = values.list("cleanup.policy");
        let has = |wanted: &str| policy.iter().any(|policy| policy == wanted);
        let or_whole = |local: &str, whole: &str| match values.long(local) {
            -2 => values.long(whole),
            other => other,
        };
        Self {
            segment_bytes: values.opt_int("internal.segment.bytes").unwrap_or(values.int("segment.bytes")),
            segment_ms: values.long("segment.ms"),
            segment_jitter_ms: values.long("segment.jitter.ms"),
            segment_index_bytes: values.int("segment.index.bytes"),
            index_interval_bytes: values.int("index.interval.bytes"),
            flush_messages: values.long("flush.messages"),
            flush_ms: values.long("flush.ms"),
            retention_bytes: values.long("retention.bytes"),
            retention_ms: values.long("retention.ms"),
            delete: has("delete"),
            compact: has("compact"),
            delete_retention_ms: values.long("delete.retention.ms"),
            min_compaction_lag_ms: values.long("min.compaction.lag.ms"),
            max_compaction_lag_ms: values.long("max.compaction.lag.ms"),
            min_cleanable_dirty_ratio: values.double("min.cleanable.dirty.ratio"),
            file_delete_delay_ms: values.long("file.delete.delay.ms"),
            max_message_bytes: values.int("max.message.bytes"),
            max_decompressed_message_bytes: values.int("max.decompressed.message.bytes"),
            compression: compression(values),
            timestamp_type: match values.string("message.timestamp.type") {
                Some("LogAppendTime") => TopicTimestamp::LogAppendTime,
                _ => TopicTimestamp::CreateTime,
            },
            timestamp_before_max_ms: values.long("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: values.long("message.timestamp.after.max.ms"),
            min_insync_replicas: values.int("min.insync.replicas"),
            unclean_leader_election_enable: values.boolean("unclean.leader.election.enable"),
            preallocate: values.boolean("preallocate"),
            durability: match values.string("durability.policy") {
                Some("page-cache") => Durability::PageCache,
                _ => Durability::Sync,
            },
            remote_storage_enable: values.boolean("remote.storage.enable"),
            remote_log_copy_disable: values.boolean("remote.log.copy.disable"),
            local_retention_bytes: or_whole("local.retention.bytes", "retention.bytes"),
            local_retention_ms: or_whole("local.retention.ms", "retention.ms"),
            leader_throttled_replicas: values.list("leader.replication.throttled.replicas").to_vec(),
            follower_throttled_replicas: values.list("follower.replication.throttled.replicas").to_vec(),
        }
    }
}

fn compression(values: &Values) -> TopicCompression {
    match values.string("compression.type") {
        Some("gzip") => TopicCompression::Gzip(values.int("compression.gzip.level")),
        Some("snappy") => TopicCompression::Snappy,
        Some("lz4") => TopicCompression::Lz4(values.int("compression.lz4.level")),
        Some("zstd") => TopicCompression::Zstd(values.int("compression.zstd.level")),
        Some("uncompressed") => TopicCompression::Uncompressed,
        _ => TopicCompression::Producer,
    }
}
