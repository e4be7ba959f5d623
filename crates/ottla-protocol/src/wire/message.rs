//! The traits of messages, and the ways in and out.

use std::fmt;

use bytes::Bytes;

use super::{DecodeError, DecodeFault, Element, EncodeError, EncodeFault, Encoded, Reader, Writer};
use crate::messages::ApiKey;

/// Inclusive range of message versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    /// The oldest version.
    pub low: i16,
    /// The newest version.
    pub high: i16,
}

impl VersionRange {
    /// From the oldest and the newest version.
    pub const fn new(low: i16, high: i16) -> Self {
        Self { low, high }
    }

    /// Whether `version` is in the range.
    pub const fn contains(self, version: i16) -> bool {
        self.low <= version && version <= self.high
    }

    /// All versions, oldest first.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = i16> {
        self.low..=self.high
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.low, self.high)
    }
}

/// A message of Kafka: one struct for all versions. Fields that a version lacks are read as their default; writing
/// such a field with another value is an error unless Kafka's schema calls it ignorable.
///
/// Unknown tagged fields are skipped, not kept: decoding and encoding again drops them.
pub trait Message<'a>: Element<'a> + Default {
    /// Kafka's name of the message.
    const NAME: &'static str;
    /// The versions that can be read and written, a not yet stable one included.
    const VERSIONS: VersionRange;
    /// The first version with compact lengths and tagged fields.
    const FIRST_FLEXIBLE: Option<i16>;

    /// Whether `version` has compact lengths and tagged fields.
    fn is_flexible(version: i16) -> bool {
        Self::FIRST_FLEXIBLE.is_some_and(|first| version >= first)
    }

    /// Reads one message and leaves the reader behind its end.
    ///
    /// # Errors
    /// When the bytes are not a message of that version.
    fn read(r: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        r.begin(Self::VERSIONS, version, Self::FIRST_FLEXIBLE);
        let message = Self::read_from(r);
        match r.fault() {
            None => Ok(message),
            Some((fault, position)) => Err(DecodeError { message: Self::NAME, version, position, fault }),
        }
    }

    /// Counts or writes the message, as the writer was made.
    ///
    /// # Errors
    /// When the message cannot be expressed in that version.
    fn write(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.begin(Self::VERSIONS, version, Self::FIRST_FLEXIBLE);
        self.write_to(w);
        match w.fault() {
            None => Ok(()),
            Some(fault) => Err(EncodeError { message: Self::NAME, version, fault }),
        }
    }

    /// Reads a message that fills `bytes`.
    ///
    /// # Errors
    /// When the bytes are not one message of that version, or go on after it.
    fn decode(bytes: &'a [u8], version: i16) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let message = Self::read(&mut r, version)?;
        finish::<Self>(&r, version).map(|()| message)
    }

    /// The exact encoded size in bytes, external record data included.
    ///
    /// # Errors
    /// When the message cannot be expressed in that version.
    fn size(&self, version: i16) -> Result<usize, EncodeError> {
        let mut w = Writer::counting();
        self.write(&mut w, version)?;
        Ok(w.len())
    }

    /// Writes the message into one allocation of the exact size.
    ///
    /// # Errors
    /// When the message cannot be expressed in that version or has external record data.
    fn encode(&self, version: i16) -> Result<Vec<u8>, EncodeError> {
        let encoded = self.encode_parts(version)?;
        let fault = EncodeFault::ExternalRecords;
        encoded.into_bytes().ok_or(EncodeError { message: Self::NAME, version, fault })
    }

    /// Writes the message as bytes with gaps for external record data.
    ///
    /// # Errors
    /// When the message cannot be expressed in that version.
    fn encode_parts(&self, version: i16) -> Result<Encoded, EncodeError> {
        let mut counter = Writer::counting();
        self.write(&mut counter, version)?;
        let mut w = Writer::with_capacity(counter.len_in_memory());
        self.write(&mut w, version)?;
        debug_assert_eq!(w.len(), counter.len(), "counting and writing agree");
        Ok(w.finish())
    }
}

/// A request, tied to its API key and its response.
pub trait Request<'a>: Message<'a> {
    /// The API key in the request header.
    const KEY: ApiKey;
    /// What answers it, in the version of the request.
    type Response<'r>: Message<'r>;
}

/// Reads a message that outlives its frame: strings and plain bytes are copied, record data stays a shared slice of `bytes`.
///
/// # Errors
/// When the bytes are not one message of that version, or go on after it.
pub fn decode_shared<T: Message<'static>>(bytes: &Bytes, version: i16) -> Result<T, DecodeError> {
    let mut r = Reader::shared(bytes.clone());
    let message = T::read(&mut r, version)?;
    finish::<T>(&r, version).map(|()| message)
}

fn finish<'a, T: Message<'a>>(r: &Reader<'_>, version: i16) -> Result<(), DecodeError> {
    if r.remaining() == 0 {
        return Ok(());
    }
    let fault = DecodeFault::TrailingBytes;
    Err(DecodeError { message: T::NAME, version, position: r.position(), fault })
}
