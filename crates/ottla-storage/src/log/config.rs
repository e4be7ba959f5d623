//! The topic settings that one log obeys, already resolved against the broker's defaults.

use ottla_record::validate::{Origin, Rules, TargetCompression};
use ottla_record::{Limits, TimestampType};
use ottla_types::TopicPartition;

/// What happens to old records (`cleanup.policy`). Both flags false: kept for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Old segments are removed by time and size.
    pub delete: bool,
    /// Older records of a key are removed.
    pub compact: bool,
}

/// Settings of one log. All may change at run time ([`super::Log::update_config`]); sizes in bytes, times in
/// milliseconds. `Default` is Kafka's default of each key (`LogConfig`).
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment does not grow beyond it.
    pub segment_bytes: u32,
    /// `segment.ms`: largest span of record time in one segment.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: each segment's `segment.ms` is shortened by a random part of this.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: largest size of an index file; decides when an index is full.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: an index entry is made after more than this many bytes.
    pub index_interval_bytes: u32,
    /// `retention.bytes`; -1 = no limit.
    pub retention_bytes: i64,
    /// `retention.ms`; -1 = no limit.
    pub retention_ms: i64,
    /// `cleanup.policy`.
    pub cleanup_policy: CleanupPolicy,
    /// `max.message.bytes`: limit of a produced batch; followers ignore it.
    pub max_message_bytes: u32,
    /// `max.decompressed.message.bytes`: limit of one record body.
    pub max_decompressed_message_bytes: usize,
    /// `compression.type` and the codec's level.
    pub compression: TargetCompression,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `flush.messages`: unflushed records that make a flush due.
    pub flush_messages: i64,
    /// `flush.ms`: age of the last flush that makes a flush due.
    pub flush_ms: i64,
    /// `file.delete.delay.ms`: how long a removed file stays as `.deleted`.
    pub file_delete_delay_ms: i64,
    /// `delete.retention.ms`: how long compaction keeps tombstones.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`; also bounds `segment.ms` of compacted logs.
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
    /// `preallocate`: kept for DescribeConfigs; files are never preallocated, which no reader can tell.
    pub preallocate: bool,
    /// `producer.id.expiration.ms` of the broker: idle producers without open transaction are forgotten after this.
    pub producer_id_expiration_ms: i64,
    /// `transaction.partition.verification.enable` of the broker.
    pub transaction_verification: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_bytes: -1,
            retention_ms: 7 * 24 * 3_600_000,
            cleanup_policy: CleanupPolicy { delete: true, compact: false },
            max_message_bytes: 1_048_588,
            max_decompressed_message_bytes: Limits::DEFAULT.max_record_bytes,
            compression: TargetCompression::Producer,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            file_delete_delay_ms: 60_000,
            delete_retention_ms: 86_400_000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
            preallocate: false,
            producer_id_expiration_ms: 86_400_000,
            transaction_verification: true,
        }
    }
}

impl LogConfig {
    /// The span after which a segment is rolled, before jitter: for compacted logs a segment must become cleanable
    /// within `max.compaction.lag.ms` (`LogConfig.maxSegmentMs`).
    pub fn roll_ms(&self) -> i64 {
        if self.cleanup_policy.compact {
            self.segment_ms.min(self.max_compaction_lag_ms.max(0))
        } else {
            self.segment_ms
        }
    }

    /// What `ottla_record::validate::check` is to check of a batch for this log; it runs before the log is locked, and
    /// [`super::Log::append_as_leader`] takes what it lets through.
    pub fn rules<'a>(&self, topic_partition: &'a TopicPartition, origin: Origin) -> Rules<'a> {
        Rules {
            topic_partition,
            origin,
            compression: self.compression,
            timestamp_type: self.timestamp_type,
            timestamp_before_max_ms: self.timestamp_before_max_ms,
            timestamp_after_max_ms: self.timestamp_after_max_ms,
            compacted: self.cleanup_policy.compact,
            max_message_bytes: self.max_message_bytes as usize,
            limits: Limits { max_record_bytes: self.max_decompressed_message_bytes, ..Limits::DEFAULT },
        }
    }

    /// The exclusive bound of the random jitter of a new segment; 0 = none (`LogConfig.randomSegmentJitter`).
    pub fn jitter_bound_ms(&self) -> i64 {
        self.segment_jitter_ms.min(self.segment_ms).max(0)
    }
}
