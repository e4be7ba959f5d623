//! From a topic's configuration to what the log, the validator and the replica want to know.

use ottla_config::{Durability as DurabilityKey, LogSettings, TopicCompression, TopicTimestamp, Values};
use ottla_record::validate::{Origin, Rules, TargetCompression};
use ottla_record::{Codec, Compression, Limits, TimestampType};
use ottla_replica::Durability;
use ottla_storage::log::{CleanupPolicy, LogConfig};
use ottla_types::TopicPartition;

/// Most bytes that one compressed batch may unfold to: a bound on the time that a request can take.
const MAX_DECOMPRESSED_BATCH_BYTES: usize = 4 << 30;

/// The settings of a topic in the forms in which they are used, made once per change of its configuration.
#[derive(Clone, Debug)]
pub(crate) struct TopicSettings {
    pub(crate) log: LogConfig,
    pub(crate) durability: Durability,
    pub(crate) min_insync_replicas: i32,
}

fn unsigned(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

fn codec(compression: Compression, level: i32) -> TargetCompression {
    TargetCompression::Fixed(Codec::new(compression, level).unwrap_or_else(|_| compression.into()))
}

fn compression(topic: TopicCompression) -> TargetCompression {
    match topic {
        TopicCompression::Producer => TargetCompression::Producer,
        TopicCompression::Uncompressed => TargetCompression::Fixed(Codec::NONE),
        TopicCompression::Gzip(level) => codec(Compression::Gzip, level),
        TopicCompression::Snappy => TargetCompression::Fixed(Compression::Snappy.into()),
        TopicCompression::Lz4(level) => codec(Compression::Lz4, level),
        TopicCompression::Zstd(level) => codec(Compression::Zstd, level),
    }
}

impl TopicSettings {
    /// Brings a topic's settings and the broker's own keys together.
    pub(crate) fn new(topic: &LogSettings, broker: &Values) -> Self {
        Self {
            log: LogConfig {
                segment_bytes: unsigned(topic.segment_bytes),
                segment_ms: topic.segment_ms,
                segment_jitter_ms: topic.segment_jitter_ms,
                segment_index_bytes: unsigned(topic.segment_index_bytes),
                index_interval_bytes: unsigned(topic.index_interval_bytes),
                retention_bytes: topic.retention_bytes,
                retention_ms: topic.retention_ms,
                cleanup_policy: CleanupPolicy { delete: topic.delete, compact: topic.compact },
                max_message_bytes: unsigned(topic.max_message_bytes),
                max_decompressed_message_bytes: usize::try_from(topic.max_decompressed_message_bytes)
                    .unwrap_or(0),
                compression: compression(topic.compression),
                timestamp_type: match topic.timestamp_type {
                    TopicTimestamp::CreateTime => TimestampType::CreateTime,
                    TopicTimestamp::LogAppendTime => TimestampType::LogAppendTime,
                },
                timestamp_before_max_ms: topic.timestamp_before_max_ms,
                timestamp_after_max_ms: topic.timestamp_after_max_ms,
                flush_messages: topic.flush_messages,
                flush_ms: topic.flush_ms,
                file_delete_delay_ms: topic.file_delete_delay_ms,
                delete_retention_ms: topic.delete_retention_ms,
                min_compaction_lag_ms: topic.min_compaction_lag_ms,
                max_compaction_lag_ms: topic.max_compaction_lag_ms,
                min_cleanable_dirty_ratio: topic.min_cleanable_dirty_ratio,
                preallocate: topic.preallocate,
                producer_id_expiration_ms: i64::from(broker.int("producer.id.expiration.ms")),
                transaction_verification: broker.boolean("transaction.partition.verification.enable"),
            },
            durability: match topic.durability {
                DurabilityKey::Sync => Durability::Sync,
                DurabilityKey::PageCache => Durability::PageCache,
            },
            min_insync_replicas: topic.min_insync_replicas,
        }
    }

    /// The rules for a produced batch.
    pub(crate) fn rules<'a>(&self, topic_partition: &'a TopicPartition, origin: Origin) -> Rules<'a> {
        Rules {
            topic_partition,
            origin,
            compression: self.log.compression,
            timestamp_type: self.log.timestamp_type,
            timestamp_before_max_ms: self.log.timestamp_before_max_ms,
            timestamp_after_max_ms: self.log.timestamp_after_max_ms,
            compacted: self.log.cleanup_policy.compact,
            max_message_bytes: self.log.max_message_bytes as usize,
            limits: Limits {
                max_record_bytes: self.log.max_decompressed_message_bytes,
                max_batch_bytes: MAX_DECOMPRESSED_BATCH_BYTES,
            },
        }
    }
}
