//! What can go wrong in a partition's log, classed by who has to act: the disk, the producer, the caller.

use std::io;
use std::path::{Path, PathBuf};

use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};
use rustix::io::Errno;

/// The disk or what is on it. It means that the log directory should go offline (`KafkaStorageException`).
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system refused; after this during a write or sync the log accepts no more writes.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was attempted: "write", "open", "sync", …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// An earlier write or sync failed, so the state on disk is unknown: writes are refused until the log is opened
    /// again and recovered.
    #[error("the log in {path} accepts no writes after an earlier failure: {reason}")]
    Poisoned {
        /// The partition directory.
        path: PathBuf,
        /// The first failure.
        reason: String,
    },
    /// A file's contents break the format where no recovery rule applies.
    #[error("{path} is corrupt: {what}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The broken rule.
        what: String,
    },
    /// `partition.metadata` names another topic than the one asked for (`InconsistentTopicIdException`).
    #[error("{path} belongs to topic id {found}, not {expected}")]
    InconsistentTopicId {
        /// The partition directory.
        path: PathBuf,
        /// The id on disk.
        found: ottla_types::Uuid,
        /// The id of the caller.
        expected: ottla_types::Uuid,
    },
}

impl LogError {
    /// Whether the disk refused: not when the process has too many files open, or no memory, which passes and says nothing of
    /// the disk.
    pub fn is_of_disk(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        let passing = [Errno::MFILE, Errno::NFILE, Errno::NOMEM].map(Errno::raw_os_error);
        source.raw_os_error().is_none_or(|code| !passing.contains(&code))
    }

    pub(crate) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.to_path_buf(), source }
    }

    pub(crate) fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_path_buf(), what: what.into() }
    }
}

/// Why an append was refused. Nothing was written, except after [`AppendError::Log`].
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The disk failed or the log is poisoned.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Sequence gap or reorder of an idempotent producer (`OutOfOrderSequenceException`).
    #[error("producer {producer_id}: sequence {found} where {expected} was due")]
    OutOfOrderSequence {
        /// The producer.
        producer_id: ProducerId,
        /// First sequence of the refused batch.
        found: Sequence,
        /// What would have been accepted.
        expected: Sequence,
    },
    /// The producer was fenced by a newer epoch (`InvalidProducerEpochException`).
    #[error("producer {producer_id}: epoch {found} is not valid after epoch {current}")]
    InvalidProducerEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// Epoch of the refused batch.
        found: ProducerEpoch,
        /// Epoch known to the log.
        current: ProducerEpoch,
    },
    /// A transactional batch without a verified transaction, or a plain batch inside one (`InvalidTxnStateException`).
    #[error("producer {producer_id}: {what}")]
    InvalidTxnState {
        /// The producer.
        producer_id: ProducerId,
        /// Which of the two.
        what: &'static str,
    },
    /// A marker from a coordinator that was replaced (`TransactionCoordinatorFencedException`).
    #[error("producer {producer_id}: marker of coordinator epoch {found}, already at {current}")]
    CoordinatorFenced {
        /// The producer.
        producer_id: ProducerId,
        /// Coordinator epoch in the marker.
        found: i32,
        /// Coordinator epoch known to the log.
        current: i32,
    },
    /// The records do not fit a segment (`RecordBatchTooLargeException`, RECORD_LIST_TOO_LARGE).
    #[error("{size} bytes of records exceed segment.bytes {limit}")]
    RecordListTooLarge {
        /// Bytes to append.
        size: usize,
        /// `segment.bytes`.
        limit: u32,
    },
    /// A batch fails its structure or checksum (`CorruptRecordException`).
    #[error("corrupt batch at byte {position} of the append: {what}")]
    CorruptBatch {
        /// Where in the appended bytes.
        position: usize,
        /// The broken rule.
        what: &'static str,
    },
    /// A batch is well formed but not acceptable here (`InvalidRecordException`).
    #[error("invalid batch: {0}")]
    InvalidBatch(&'static str),
    /// Replicated batches whose offsets do not increase (`OffsetsOutOfOrderException`).
    #[error("offset {found} after {previous} within one append")]
    OffsetsOutOfOrder {
        /// Last offset of the batch before.
        previous: Offset,
        /// Last offset of the refused batch.
        found: Offset,
    },
    /// Replicated batches that start below the log end (`UnexpectedAppendOffsetException`).
    #[error("append starts at {first}, below the log end {log_end}")]
    UnexpectedOffset {
        /// First offset of the append.
        first: Offset,
        /// Last offset of the append.
        last: Offset,
        /// The log end.
        log_end: Offset,
    },
    /// A quorum leader's batch that carries another epoch than the leader's.
    #[error("batch of epoch {found} appended by the leader of epoch {expected}")]
    WrongLeaderEpoch {
        /// Epoch in the batch.
        found: LeaderEpoch,
        /// Epoch of the leader.
        expected: LeaderEpoch,
    },
}

/// Why a read was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Below the log start or beyond the log end (`OffsetOutOfRangeException`).
    #[error("offset {offset} is outside {start}..{end}")]
    OffsetOutOfRange {
        /// What was asked for.
        offset: Offset,
        /// Log start offset.
        start: Offset,
        /// Log end offset (for a log-start move: the high watermark).
        end: Offset,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_descriptors_is_no_broken_disk() {
        let error = |errno: Errno| LogError::io("open", Path::new("/d/t-0/0.log"))(errno.into());
        for errno in [Errno::IO, Errno::ROFS, Errno::NOENT, Errno::NOSPC] {
            assert!(error(errno).is_of_disk(), "{errno:?}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            assert!(!error(errno).is_of_disk(), "{errno:?}");
        }
        assert!(!LogError::corrupt(Path::new("/d/t-0/0.log"), "odd").is_of_disk());
    }
}
