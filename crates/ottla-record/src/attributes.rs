//! The attribute bits of a batch.

use crate::{Compression, RecordError};

/// Whose clock a batch's timestamps come from (`message.timestamp.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// The producer's; every record has its own.
    #[default]
    CreateTime,
    /// The broker's at append; one for the whole batch, stored as its maximum timestamp.
    LogAppendTime,
}

/// Attribute bits of a batch header. Kafka reads the low byte only, and so does this type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attributes(u8);

const COMPRESSION: u8 = 0x07;
const LOG_APPEND_TIME: u8 = 0x08;
const TRANSACTIONAL: u8 = 0x10;
const CONTROL: u8 = 0x20;
const DELETE_HORIZON: u8 = 0x40;

impl Attributes {
    /// From the low byte of the header field.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The low byte of the header field.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Codec of the records. Ids 5, 6 and 7 are errors.
    pub fn compression(self) -> Result<Compression, RecordError> {
        Compression::from_id(self.compression_id())
    }

    /// The codec's id, known or not.
    pub const fn compression_id(self) -> u8 {
        self.0 & COMPRESSION
    }

    /// Whether a codec is set.
    pub const fn is_compressed(self) -> bool {
        self.compression_id() != 0
    }

    /// Whose clock the timestamps come from.
    pub const fn timestamp_type(self) -> TimestampType {
        if self.0 & LOG_APPEND_TIME == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    /// Whether the batch belongs to a transaction.
    pub const fn is_transactional(self) -> bool {
        self.0 & TRANSACTIONAL != 0
    }

    /// Whether the batch holds control records (markers, quorum records), which no consumer sees.
    pub const fn is_control(self) -> bool {
        self.0 & CONTROL != 0
    }

    /// Whether the base timestamp field holds a delete horizon (compaction of tombstones and markers, KIP-534).
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & DELETE_HORIZON != 0
    }

    /// With another codec.
    #[must_use]
    pub const fn with_compression(self, compression: Compression) -> Self {
        Self(self.0 & !COMPRESSION | compression.id())
    }

    /// With another timestamp type.
    #[must_use]
    pub const fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        self.with(LOG_APPEND_TIME, matches!(timestamp_type, TimestampType::LogAppendTime))
    }

    /// With the transactional bit as given.
    #[must_use]
    pub const fn with_transactional(self, on: bool) -> Self {
        self.with(TRANSACTIONAL, on)
    }

    /// With the control bit as given.
    #[must_use]
    pub const fn with_control(self, on: bool) -> Self {
        self.with(CONTROL, on)
    }

    /// With the delete horizon bit as given.
    #[must_use]
    pub const fn with_delete_horizon(self, on: bool) -> Self {
        self.with(DELETE_HORIZON, on)
    }

    const fn with(self, bit: u8, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }
}

impl std::fmt::Debug for Attributes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attributes")
            .field("compression_id", &self.compression_id())
            .field("timestamp_type", &self.timestamp_type())
            .field("is_transactional", &self.is_transactional())
            .field("is_control", &self.is_control())
            .field("has_delete_horizon", &self.has_delete_horizon())
            .finish()
    }
}
