//! The one place where errors of the storage and replica layers become Kafka's error codes.

use ottla_protocol::ErrorCode;
use ottla_record::validate::InvalidBatch;
use ottla_replica::ReplicaError;
use ottla_storage::log::{AppendError, LogError, ReadError};

/// The code of a replica that does not serve.
pub(crate) fn of_replica(error: &ReplicaError) -> ErrorCode {
    match error {
        ReplicaError::NotLeader => ErrorCode::NotLeaderOrFollower,
        ReplicaError::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
        ReplicaError::UnknownLeaderEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
        ReplicaError::Offline(_) => ErrorCode::KafkaStorageError,
    }
}

/// The code of a failing disk or damaged file.
pub(crate) fn of_log(error: &LogError) -> ErrorCode {
    match error {
        LogError::InconsistentTopicId { .. } => ErrorCode::InconsistentTopicId,
        _ => ErrorCode::KafkaStorageError,
    }
}

/// The code of a refused append.
pub(crate) fn of_append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Log(error) => of_log(error),
        AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        AppendError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        AppendError::InvalidTxnState { .. } => ErrorCode::InvalidTxnState,
        AppendError::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
        AppendError::RecordListTooLarge { .. } => ErrorCode::RecordListTooLarge,
        AppendError::CorruptBatch { .. } => ErrorCode::CorruptMessage,
        AppendError::InvalidBatch(_) => ErrorCode::InvalidRecord,
        AppendError::OffsetsOutOfOrder { .. }
        | AppendError::UnexpectedOffset { .. }
        | AppendError::WrongLeaderEpoch { .. } => ErrorCode::UnknownServerError,
    }
}

/// The code of a refused read.
pub(crate) fn of_read(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::Log(error) => of_log(error),
        ReadError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
    }
}

/// The code of a batch that fails validation.
pub(crate) fn of_batch(error: &InvalidBatch) -> ErrorCode {
    match error {
        InvalidBatch::Corrupt(_) => ErrorCode::CorruptMessage,
        InvalidBatch::TooLarge { .. } => ErrorCode::MessageTooLarge,
        InvalidBatch::Refused(_) | InvalidBatch::Records { .. } => ErrorCode::InvalidRecord,
        InvalidBatch::Timestamps { .. } => ErrorCode::InvalidTimestamp,
        InvalidBatch::Undecodable(_) => ErrorCode::UnknownServerError,
    }
}
