//! Control records: transaction markers in partitions, leader changes and voters in the metadata log, and the frame of
//! metadata snapshots (Kafka's `ControlRecordType`).

use ottla_types::ControlType;

use super::coordinator::prefixed;
use crate::messages::{
    ControlRecordTypeSchema, EndTxnMarker, KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord,
    SnapshotHeaderRecord, VotersRecord,
};
use crate::wire::{DecodeError, EncodeError, Message, Reader};

/// The version in which keys, markers and KRaft's control records are written.
const VERSION: i16 = 0;

/// A control record with its value.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlRecord<'a> {
    /// Abort marker.
    Abort(EndTxnMarker),
    /// Commit marker.
    Commit(EndTxnMarker),
    /// Start of a leader epoch.
    LeaderChange(LeaderChangeMessage),
    /// Start of a metadata snapshot.
    SnapshotHeader(SnapshotHeaderRecord),
    /// End of a metadata snapshot.
    SnapshotFooter(SnapshotFooterRecord),
    /// Level of `kraft.version`.
    KRaftVersion(KRaftVersionRecord),
    /// Voters of the metadata quorum.
    KRaftVoters(VotersRecord<'a>),
}

/// Reads the key of a control record; `None` when its type is unknown and to be ignored. Keys of later versions are read
/// as the newest known one.
///
/// # Errors
/// When the key is cut off or its version is negative.
pub(super) fn decode_control_key(key: &[u8]) -> Result<Option<ControlType>, DecodeError> {
    let mut r = Reader::new(key);
    let version = r.i16().min(ControlRecordTypeSchema::VERSIONS.high);
    Ok(ControlType::from_code(ControlRecordTypeSchema::read(&mut r, version)?.r#type))
}

impl<'a> ControlRecord<'a> {
    /// Reads a control record; `None` when its type is unknown and to be ignored. Bytes after the value are ignored, and
    /// values of later versions are read as the newest known one, as in Kafka.
    ///
    /// # Errors
    /// When key or value are malformed.
    pub fn decode(key: &[u8], value: &'a [u8]) -> Result<Option<Self>, DecodeError> {
        let Some(control_type) = decode_control_key(key)? else { return Ok(None) };
        Ok(Some(match control_type {
            ControlType::Abort => Self::Abort(marker(value)?),
            ControlType::Commit => Self::Commit(marker(value)?),
            ControlType::LeaderChange => Self::LeaderChange(kraft(value)?),
            ControlType::SnapshotHeader => Self::SnapshotHeader(kraft(value)?),
            ControlType::SnapshotFooter => Self::SnapshotFooter(kraft(value)?),
            ControlType::KRaftVersion => Self::KRaftVersion(kraft(value)?),
            ControlType::KRaftVoters => Self::KRaftVoters(kraft(value)?),
        }))
    }

    /// What the record says.
    pub fn control_type(&self) -> ControlType {
        match self {
            Self::Abort(_) => ControlType::Abort,
            Self::Commit(_) => ControlType::Commit,
            Self::LeaderChange(_) => ControlType::LeaderChange,
            Self::SnapshotHeader(_) => ControlType::SnapshotHeader,
            Self::SnapshotFooter(_) => ControlType::SnapshotFooter,
            Self::KRaftVersion(_) => ControlType::KRaftVersion,
            Self::KRaftVoters(_) => ControlType::KRaftVoters,
        }
    }

    /// The key of the record.
    pub fn encode_key(&self) -> [u8; 4] {
        self.control_type().key()
    }

    /// The value of the record, in version 0, which Kafka writes.
    ///
    /// # Errors
    /// When the record holds what version 0 cannot express.
    pub fn encode_value(&self) -> Result<Vec<u8>, EncodeError> {
        match self {
            Self::Abort(marker) | Self::Commit(marker) => prefixed(VERSION, marker, VERSION),
            Self::LeaderChange(record) => record.encode(VERSION),
            Self::SnapshotHeader(record) => record.encode(VERSION),
            Self::SnapshotFooter(record) => record.encode(VERSION),
            Self::KRaftVersion(record) => record.encode(VERSION),
            Self::KRaftVoters(record) => record.encode(VERSION),
        }
    }
}

/// Transaction markers have their version before the message.
fn marker(value: &[u8]) -> Result<EndTxnMarker, DecodeError> {
    let mut r = Reader::new(value);
    let version = r.i16().min(EndTxnMarker::VERSIONS.high);
    EndTxnMarker::read(&mut r, version)
}

/// KRaft's control records have it as first field.
fn kraft<'a, M: Message<'a>>(value: &'a [u8]) -> Result<M, DecodeError> {
    let mut r = Reader::new(value);
    let (version, _) = r.peek_two_i16();
    M::read(&mut r, version.min(M::VERSIONS.high))
}
