//! Why bytes are not a message, and why a message has no bytes.

use std::fmt;

/// Bytes that are not a message of the expected type and version. The peer that sent them is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} version {version}: {fault} at byte {position}")]
pub struct DecodeError {
    /// The expected message.
    pub message: &'static str,
    /// Its expected version.
    pub version: i16,
    /// Where reading stopped, from the start of the reader's bytes.
    pub position: usize,
    /// What is wrong there.
    pub fault: DecodeFault,
}

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeFault {
    /// Version that this message does not have.
    UnsupportedVersion,
    /// The bytes end before the message does.
    Truncated,
    /// A length or count of more than the bytes that follow can hold.
    LengthBeyondEnd,
    /// Arrays that would take many times the message's bytes in memory.
    TooManyElements,
    /// A string longer than 32767 bytes.
    StringTooLong,
    /// A variable-length integer of more than 32 bits.
    BadVarint,
    /// Null where the version does not allow it.
    UnexpectedNull,
    /// A tagged field whose value does not fill its declared size.
    BadTagSize,
    /// A known tagged field in a version that does not have it.
    MisplacedTag,
    /// Bytes after the end of the message.
    TrailingBytes,
    /// API key that Kafka 4.4 does not know.
    UnknownApiKey(i16),
    /// Record type that Kafka 4.4 does not know, or a metadata frame of an unknown version.
    UnknownRecordType(i16),
    /// Frame version of a metadata record other than 1.
    BadFrameVersion(u32),
}

/// A message that cannot be written in the wanted version. Our code is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} version {version}: {fault}")]
pub struct EncodeError {
    /// The message.
    pub message: &'static str,
    /// The version it was to be written in.
    pub version: i16,
    /// What cannot be written.
    pub fault: EncodeFault,
}

/// What cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeFault {
    /// Version that this message does not have.
    UnsupportedVersion,
    /// A field that the version does not have holds more than its default, and may not be dropped silently.
    FieldNotInVersion(&'static str),
    /// Null where the version does not allow it.
    UnexpectedNull,
    /// A string of more than 32767 bytes, or bytes, an array or a tagged field beyond 2 GiB.
    TooLong,
    /// Record data that lives outside memory, where contiguous bytes are wanted.
    ExternalRecords,
}

impl DecodeError {
    pub(crate) fn unknown_record_type(message: &'static str, record_type: i16, version: i16) -> Self {
        let fault = DecodeFault::UnknownRecordType(record_type);
        Self { message, version, position: 0, fault }
    }
}

impl fmt::Display for DecodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsupportedVersion => f.write_str("unsupported version"),
            Self::Truncated => f.write_str("message is cut off"),
            Self::LengthBeyondEnd => f.write_str("length exceeds the bytes that follow"),
            Self::TooManyElements => {
                f.write_str("arrays would take more than 32 MiB and four times the message's bytes")
            }
            Self::StringTooLong => f.write_str("string of more than 32767 bytes"),
            Self::BadVarint => f.write_str("malformed varint"),
            Self::UnexpectedNull => f.write_str("null in a field that is not nullable"),
            Self::BadTagSize => f.write_str("tagged field does not fill its size"),
            Self::MisplacedTag => f.write_str("tagged field of another version"),
            Self::TrailingBytes => f.write_str("bytes after the message"),
            Self::UnknownApiKey(key) => write!(f, "unknown API key {key}"),
            Self::UnknownRecordType(record_type) => write!(f, "unknown record type {record_type}"),
            Self::BadFrameVersion(version) => write!(f, "unknown frame version {version}"),
        }
    }
}

impl fmt::Display for EncodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsupportedVersion => f.write_str("unsupported version"),
            Self::FieldNotInVersion(name) => write!(f, "field {name} is set, but the version lacks it"),
            Self::UnexpectedNull => f.write_str("null in a field that is not nullable"),
            Self::TooLong => f.write_str("value too long"),
            Self::ExternalRecords => f.write_str("record data outside memory"),
        }
    }
}
