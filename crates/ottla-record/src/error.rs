//! What can be wrong with the bytes of a batch.

use crate::Compression;

/// Why bytes are not a batch or a record, or why a batch cannot be made of them.
///
/// Kafka's exception classes are named where the difference is visible to a client:
/// `CorruptRecordException` (error 2), `InvalidRecordException` (error 87), `KafkaException` (error -1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The buffer ends before the batch does. Not corruption: more bytes may follow.
    #[error("batch is incomplete: {have} bytes are there, at least {need} are needed")]
    Incomplete {
        /// Bytes needed to go on, counted from the start of the batch.
        need: usize,
        /// Bytes in the buffer.
        have: usize,
    },
    /// The length field is below the least size of the format. `CorruptRecordException`.
    #[error("batch is corrupt: its size {size} is smaller than the minimum {min}")]
    TooSmall {
        /// Size in bytes that the batch claims, with the 12 bytes before it.
        size: i64,
        /// Least size of a batch of this magic.
        min: usize,
    },
    /// Magic is not 0, 1 or 2. `CorruptRecordException`.
    #[error("batch has an unknown magic {0}")]
    UnknownMagic(i8),
    /// The stored checksum is not that of the bytes. `CorruptRecordException`.
    #[error("Record is corrupt (stored crc = {stored}, computed crc = {computed})")]
    CrcMismatch {
        /// Checksum in the header.
        stored: u32,
        /// Checksum of the bytes.
        computed: u32,
    },
    /// The attributes name a codec that does not exist, or that the format does not know.
    #[error("unknown compression type id {0}")]
    UnknownCompression(u8),
    /// A compression level is outside of the codec's range.
    #[error("level {level} is not a level of {compression}")]
    BadLevel {
        /// Codec.
        compression: Compression,
        /// The refused level.
        level: i32,
    },
    /// The compressed bytes are not what the codec writes. `KafkaException`.
    #[error("failed to decompress {compression} data: {message}")]
    Decompression {
        /// Codec.
        compression: Compression,
        /// What the codec says.
        message: String,
    },
    /// Decompression would exceed the caller's bound. `InvalidRecordException` (since 4.4).
    #[error("decompressed data needs {need} bytes, {limit} are allowed")]
    DecompressedTooLarge {
        /// Bytes needed (a lower bound).
        need: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The structure of a record is broken. `InvalidRecordException`.
    #[error("{0}")]
    InvalidRecord(&'static str),
    /// What is built does not fit the format: more than 2^31-1 bytes or records, or an offset out of order.
    #[error("batch cannot be built: {0}")]
    Unbuildable(&'static str),
}

impl RecordError {
    /// Whether Kafka answers CORRUPT_MESSAGE to it.
    pub fn is_corruption(&self) -> bool {
        matches!(
            self,
            Self::Incomplete { .. }
                | Self::TooSmall { .. }
                | Self::UnknownMagic(_)
                | Self::CrcMismatch { .. }
        )
    }
}
