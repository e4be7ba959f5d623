//! A metadata record with the version it is written at.

use ottla_protocol::messages::MetadataRecord;
use ottla_protocol::records::FramedRecord as _;

use crate::ReplayError;

/// A record to be appended to the metadata log or written to a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionedRecord {
    /// The record.
    pub record: MetadataRecord<'static>,
    /// Its version.
    pub version: i16,
}

impl VersionedRecord {
    /// Joins record and version.
    pub fn new(record: impl Into<MetadataRecord<'static>>, version: i16) -> Self {
        Self { record: record.into(), version }
    }

    /// The value of the log's record: frame version, type, version and message.
    ///
    /// # Panics
    /// When a field is set that the version lacks: whoever made the record chose the version for it.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.record
            .encode(self.version)
            .unwrap_or_else(|e| panic!("record and version were made for each other: {e}"))
    }
}

/// Reads the value of a record of the metadata log.
///
/// # Errors
/// When the bytes are no record, or of a type or version that this program does not know.
pub fn decode(value: &[u8]) -> Result<(MetadataRecord<'_>, i16), ReplayError> {
    MetadataRecord::decode(value).map_err(|e| ReplayError::Undecodable(e.to_string()))
}
