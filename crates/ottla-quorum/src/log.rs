//! The metadata log as the quorum uses it, and Kafka's log on disk behind that.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use ottla_record::Batches;
use ottla_storage::fs::Fs;
use ottla_storage::log::{CleanupPolicy, LoadReport, Log, LogConfig, LogOpen, ReadRequest};
use ottla_types::{LeaderEpoch, Offset, TimestampMs, Uuid};

use crate::QuorumError;

/// Name of the metadata partition's directory.
pub const METADATA_DIR: &str = "__cluster_metadata-0";

/// The log of the quorum. Offsets and epochs are in the batches: the log stores bytes.
pub trait RaftLog: Debug {
    /// First offset that can be read.
    fn start_offset(&self) -> Offset;
    /// Offset of the next record.
    fn end_offset(&self) -> Offset;
    /// The newest epoch in the log; `None` when it is empty.
    fn last_epoch(&self) -> Option<LeaderEpoch>;
    /// Bytes of all batches.
    fn size_bytes(&self) -> u64;

    /// Writes batches of this leader at the end; durable after the next [`RaftLog::flush`].
    ///
    /// # Errors
    /// When the log refuses them or the disk fails.
    fn append(&mut self, batches: &[u8], epoch: LeaderEpoch, now_ms: TimestampMs) -> Result<(), QuorumError>;

    /// Whole batches from the one that holds `from`, as many as `max_bytes` hold but at least one; empty at the end.
    ///
    /// # Errors
    /// When `from` is outside the log or the disk fails.
    fn read(&self, from: Offset, max_bytes: u32) -> Result<Vec<u8>, QuorumError>;

    /// Makes all durable and returns the end of what is.
    ///
    /// # Errors
    /// When the disk fails.
    fn flush(&mut self, now_ms: TimestampMs) -> Result<Offset, QuorumError>;

    /// Notes that `epoch` begins at the end of the log.
    fn begin_epoch(&mut self, epoch: LeaderEpoch);

    /// Notes up to where the log is committed.
    fn set_high_watermark(&mut self, offset: Offset);

    /// Drops everything and continues at `offset`, which a snapshot covers.
    ///
    /// # Errors
    /// When the disk fails.
    fn restart_at(&mut self, offset: Offset, now_ms: TimestampMs) -> Result<(), QuorumError>;

    /// Moves the start up to `offset`, which a snapshot covers, and removes segments below. Answers how many.
    ///
    /// # Errors
    /// When the disk fails.
    fn advance_start(&mut self, offset: Offset, now_ms: TimestampMs) -> Result<usize, QuorumError>;
}

/// Settings of the metadata log.
#[derive(Clone, Copy, Debug)]
pub struct MetadataLogConfig {
    /// `metadata.log.segment.bytes`.
    pub segment_bytes: u32,
    /// `metadata.log.segment.ms`.
    pub segment_ms: i64,
}

impl Default for MetadataLogConfig {
    fn default() -> Self {
        Self { segment_bytes: 1 << 30, segment_ms: 7 * 24 * 3_600_000 }
    }
}

/// Opens the metadata log below a log directory as Kafka does: without trust in an orderly stop, every segment scanned.
///
/// # Errors
/// As [`Log::open`].
pub fn open_metadata_log(
    fs: Arc<dyn Fs>,
    log_dir: &Path,
    config: MetadataLogConfig,
    now_ms: TimestampMs,
) -> Result<(Log, LoadReport), QuorumError> {
    let log_config = LogConfig {
        segment_bytes: config.segment_bytes,
        segment_ms: config.segment_ms,
        retention_bytes: -1,
        retention_ms: -1,
        max_message_bytes: u32::try_from(crate::batch::MAX_BATCH_BYTES).expect("8 MiB"),
        cleanup_policy: CleanupPolicy { delete: true, compact: false },
        ..LogConfig::default()
    };
    let open = LogOpen {
        clean_shutdown: false,
        recovery_point: Offset::ZERO,
        log_start_offset: Offset::ZERO,
        topic_id: Some(Uuid::METADATA_TOPIC),
        jitter_seed: 0,
        now_ms,
    };
    Ok(Log::open(fs, &log_dir.join(METADATA_DIR), log_config, open)?)
}

impl RaftLog for Log {
    fn start_offset(&self) -> Offset {
        self.log_start_offset()
    }

    fn end_offset(&self) -> Offset {
        self.log_end_offset()
    }

    fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.latest_epoch()
    }

    fn size_bytes(&self) -> u64 {
        Log::size_bytes(self)
    }

    fn append(&mut self, batches: &[u8], epoch: LeaderEpoch, now_ms: TimestampMs) -> Result<(), QuorumError> {
        // One batch at a time: a segment must not become larger than its bound because of several.
        for batch in Batches::new(batches) {
            let batch =
                batch.map_err(|source| QuorumError::Batch { offset: self.log_end_offset(), source })?;
            self.append_as_raft_leader(batch.bytes(), epoch, now_ms)?;
        }
        Ok(())
    }

    fn read(&self, from: Offset, max_bytes: u32) -> Result<Vec<u8>, QuorumError> {
        let request = ReadRequest {
            offset: from,
            max_bytes,
            min_one_batch: true,
            upper_bound: self.log_end_offset(),
            aborted_transactions: false,
        };
        let read = Log::read(self, request)?;
        let mut bytes = read.slice.map_or(Ok(Vec::new()), |slice| slice.read())?;
        let mut whole = Batches::new(&bytes);
        let end = loop {
            let position = whole.position();
            match whole.next() {
                Some(Ok(_)) => {}
                _ => break position,
            }
        };
        bytes.truncate(end);
        Ok(bytes)
    }

    fn flush(&mut self, now_ms: TimestampMs) -> Result<Offset, QuorumError> {
        Ok(Log::flush(self, now_ms)?)
    }

    fn begin_epoch(&mut self, epoch: LeaderEpoch) {
        self.assign_epoch_start(epoch, self.log_end_offset());
    }

    fn set_high_watermark(&mut self, offset: Offset) {
        Log::set_high_watermark(self, offset);
    }

    fn restart_at(&mut self, offset: Offset, now_ms: TimestampMs) -> Result<(), QuorumError> {
        Ok(self.truncate_fully_and_start_at(offset, None, now_ms)?)
    }

    fn advance_start(&mut self, offset: Offset, now_ms: TimestampMs) -> Result<usize, QuorumError> {
        self.delete_expired_files(now_ms)?;
        if !self.advance_log_start(offset)? {
            return Ok(0);
        }
        let mut removed = 0;
        loop {
            let outcome = self.delete_old_segments(now_ms, usize::MAX)?;
            removed += outcome.removed.len();
            if !outcome.more {
                return Ok(removed);
            }
        }
    }
}
