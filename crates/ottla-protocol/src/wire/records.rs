//! Record data inside messages: opaque here.

use std::fmt;

use bytes::Bytes;

/// The record batches of a Produce request or a Fetch response. Nothing in this crate looks into them.
#[derive(Clone)]
pub enum RecordData<'a> {
    /// A part of the frame that was decoded, or other bytes in memory.
    Borrowed(&'a [u8]),
    /// Bytes in memory, shared.
    Owned(Bytes),
    /// So many bytes that the sender appends itself, for instance from a file: encoding leaves a gap for them.
    External(usize),
}

impl RecordData<'_> {
    /// Size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Borrowed(bytes) => bytes.len(),
            Self::Owned(bytes) => bytes.len(),
            Self::External(len) => *len,
        }
    }

    /// Whether there are no records at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, unless they are outside memory.
    pub fn as_slice(&self) -> Option<&[u8]> {
        match self {
            Self::Borrowed(bytes) => Some(bytes),
            Self::Owned(bytes) => Some(bytes),
            Self::External(_) => None,
        }
    }
}

/// Equal bytes are equal wherever they are kept; external data is equal when its size is.
impl PartialEq for RecordData<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice() && self.len() == other.len()
    }
}

impl fmt::Debug for RecordData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Borrowed(_) => "Borrowed",
            Self::Owned(_) => "Owned",
            Self::External(_) => "External",
        };
        write!(f, "{kind}({} bytes)", self.len())
    }
}

impl<'a> From<&'a [u8]> for RecordData<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl From<Bytes> for RecordData<'_> {
    fn from(bytes: Bytes) -> Self {
        Self::Owned(bytes)
    }
}

impl From<Vec<u8>> for RecordData<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Owned(bytes.into())
    }
}
