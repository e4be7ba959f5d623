//! Why a batch is refused, in the classes that Kafka's error codes make.

use crate::RecordError;

/// A refused batch. Each variant is one error code of a produce response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBatch {
    /// CORRUPT_MESSAGE: size, magic or checksum are wrong.
    #[error(transparent)]
    Corrupt(RecordError),
    /// MESSAGE_TOO_LARGE: beyond `max.message.bytes`, as it came or as it was rebuilt.
    #[error("the record batch has {size} bytes, at most {max} are allowed")]
    TooLarge {
        /// Bytes of the batch.
        size: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// INVALID_RECORD: the batch as a whole breaks a rule, or the structure of a record is broken.
    #[error("{0}")]
    Refused(String),
    /// INVALID_RECORD, with errors for single records.
    #[error("{}", rejected(*.count, .faults))]
    Records {
        /// Number of records in error.
        count: usize,
        /// The first of them, at most [`MAX_FAULTS`](Self::MAX_FAULTS).
        faults: Vec<RecordFault>,
    },
    /// INVALID_TIMESTAMP, with errors for single records, not all of them about the timestamp.
    #[error("One or more records have been rejected due to invalid timestamp")]
    Timestamps {
        /// Number of records in error.
        count: usize,
        /// The first of them, at most [`MAX_FAULTS`](Self::MAX_FAULTS).
        faults: Vec<RecordFault>,
    },
    /// The codec is unknown, or the bytes are not what it writes. Kafka answers UNKNOWN_SERVER_ERROR, because an
    /// exception that is not of its API escapes.
    #[error(transparent)]
    Undecodable(RecordError),
}

/// What is wrong with one record (`ProduceResponse.RecordError`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFault {
    /// Index of the record in the batch.
    pub index: i32,
    /// Kafka's text, which producers see.
    pub message: String,
}

impl InvalidBatch {
    /// Faults that are listed. Kafka lists all, which a hostile batch turns into a response larger than the request.
    pub const MAX_FAULTS: usize = 1000;

    pub(crate) fn from_record(error: RecordError) -> Self {
        match error {
            RecordError::Decompression { .. } | RecordError::UnknownCompression(_) => {
                Self::Undecodable(error)
            }
            error if error.is_corruption() => Self::Corrupt(error),
            error => Self::Refused(error.to_string()),
        }
    }

    /// `record_errors` of a produce response.
    pub fn record_faults(&self) -> &[RecordFault] {
        match self {
            Self::Records { faults, .. } | Self::Timestamps { faults, .. } => faults,
            _ => &[],
        }
    }

    /// `error_message` of a produce response. Kafka sends one with record errors only (`RecordValidationException`).
    pub fn wire_message(&self) -> Option<String> {
        matches!(self, Self::Records { .. } | Self::Timestamps { .. }).then(|| self.to_string())
    }
}

fn rejected(count: usize, faults: &[RecordFault]) -> String {
    let shown: Vec<_> = faults
        .iter()
        .take(3)
        .map(|fault| format!("RecordError(batchIndex={}, message='{}')", fault.index, fault.message))
        .collect();
    format!(
        "One or more records have been rejected due to {count} record errors in total, and only showing the first \
         three errors at most: [{}]",
        shown.join(", ")
    )
}

/// Collects the faults of a batch.
#[derive(Default)]
pub(super) struct Faults {
    count: usize,
    timestamp: bool,
    listed: Vec<RecordFault>,
}

impl Faults {
    pub(super) fn add(&mut self, index: i32, is_timestamp: bool, message: impl FnOnce() -> String) {
        self.count += 1;
        self.timestamp |= is_timestamp;
        if self.listed.len() < InvalidBatch::MAX_FAULTS {
            self.listed.push(RecordFault { index, message: message() });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn into_result(self) -> Result<(), InvalidBatch> {
        let Self { count, timestamp, listed: faults } = self;
        match (count, timestamp) {
            (0, _) => Ok(()),
            (_, true) => Err(InvalidBatch::Timestamps { count, faults }),
            (_, false) => Err(InvalidBatch::Records { count, faults }),
        }
    }
}
