//! The framing of the records that Kafka keeps in its own logs: the message alone does not say what it is.
//!
//! | log | key | value |
//! |---|---|---|
//! | metadata, remote log metadata | none | uvarint frame version 1, uvarint type, uvarint version, message |
//! | control records of any log | i16 version 0, i16 type | message; for transaction markers an i16 version before it |
//! | coordinators | i16 type, message version 0 | i16 version, message |

mod control;
mod coordinator;

pub use control::ControlRecord;
pub use coordinator::{
    CoordinatorKey, CoordinatorValue, decode_key, decode_value, encode_key, encode_value, split_prefix,
};

pub use crate::messages::{MetadataRecord, RemoteLogRecord};
use crate::wire::{DecodeError, DecodeFault, EncodeError, Reader, VersionRange, Writer};

/// The only frame version (`AbstractApiMessageSerde`).
const FRAME_VERSION: u32 = 1;

/// A record whose value begins with frame version, type and message version: [`MetadataRecord`], [`RemoteLogRecord`].
pub trait FramedRecord<'a>: Sized {
    /// The record type in the frame.
    fn record_type(&self) -> i16;

    /// Kafka's name of the record.
    fn name(&self) -> &'static str;

    /// The versions of the record's message.
    fn versions(&self) -> VersionRange;

    /// Writes the message without the frame.
    ///
    /// # Errors
    /// When the record cannot be expressed in that version.
    fn write_body(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError>;

    /// Reads the message behind a frame.
    ///
    /// # Errors
    /// When the type is unknown or the bytes are not such a message.
    fn read_body(r: &mut Reader<'a>, record_type: i16, version: i16) -> Result<Self, DecodeError>;

    /// Reads the value of a record: the record and the version it was written in.
    ///
    /// # Errors
    /// When the frame or the type is unknown, or the bytes are not one message of that type and version.
    fn decode(value: &'a [u8]) -> Result<(Self, i16), DecodeError> {
        Self::read(&mut Reader::new(value))
    }

    /// As [`decode`](Self::decode), from all that the reader has: over shared bytes the record outlives them.
    ///
    /// # Errors
    /// As those of `decode`.
    fn read(r: &mut Reader<'a>) -> Result<(Self, i16), DecodeError> {
        let (frame_version, record_type, version) = (r.uvarint(), r.uvarint(), r.uvarint());
        let error = |fault, position| DecodeError { message: "record frame", version: 0, position, fault };
        if let Some((fault, position)) = r.fault() {
            return Err(error(fault, position));
        }
        if frame_version != FRAME_VERSION {
            return Err(error(DecodeFault::BadFrameVersion(frame_version), 0));
        }
        let (Ok(record_type), Ok(version)) = (i16::try_from(record_type), i16::try_from(version)) else {
            return Err(error(DecodeFault::UnknownRecordType(-1), r.position()));
        };
        let record = Self::read_body(r, record_type, version)?;
        if r.remaining() > 0 {
            let (message, position, fault) = (record.name(), r.position(), DecodeFault::TrailingBytes);
            return Err(DecodeError { message, version, position, fault });
        }
        Ok((record, version))
    }

    /// Counts or writes the value of a record.
    ///
    /// # Errors
    /// When the record cannot be expressed in that version.
    fn write(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.uvarint(FRAME_VERSION);
        w.uvarint(u32::from(self.record_type().unsigned_abs()));
        w.uvarint(u32::from(version.unsigned_abs()));
        self.write_body(w, version)
    }

    /// The value of a record, in one allocation of the exact size.
    ///
    /// # Errors
    /// When the record cannot be expressed in that version.
    fn encode(&self, version: i16) -> Result<Vec<u8>, EncodeError> {
        let mut counter = Writer::counting();
        self.write(&mut counter, version)?;
        let mut w = Writer::with_capacity(counter.len());
        self.write(&mut w, version)?;
        Ok(w.into_vec())
    }
}

#[cfg(test)]
mod tests;
