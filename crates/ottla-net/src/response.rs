//! Responses as lists of parts, so that file contents need not pass through memory.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smallvec::{SmallVec, smallvec};

/// An open file whose ranges can be sent.
pub trait FileSource: Send + Sync {
    /// The descriptor for `sendfile`; `None` where there is no real file, then [`FileSource::read_at`] is used.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Reads up to `buf.len()` bytes at `offset`; may block.
    ///
    /// # Errors
    /// As `pread`.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl FileSource for File {
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(std::os::fd::AsFd::as_fd(self))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buf, offset)
    }
}

/// A piece of a response.
#[derive(Clone)]
pub enum Part {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes of a file. They must exist when the response is handed over and not be changed or cut off until it is sent;
    /// if they are gone nevertheless, the connection is closed, as the length is already promised.
    File {
        /// The file.
        file: Arc<dyn FileSource>,
        /// Position of the first byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
    },
}

impl Part {
    /// Size in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::File { offset, len, .. } => write!(f, "File({offset}+{len})"),
        }
    }
}

/// A response frame without its length, which the connection puts in front.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub(crate) parts: SmallVec<[Part; 1]>,
    pub(crate) last: bool,
    pub(crate) mute: Duration,
}

impl Response {
    /// A response of these parts, one after the other.
    pub fn from_parts(parts: impl IntoIterator<Item = Part>) -> Self {
        Self { parts: parts.into_iter().filter(|part| !part.is_empty()).collect(), ..Self::default() }
    }

    /// Appends a part.
    pub fn push(&mut self, part: Part) {
        if !part.is_empty() {
            self.parts.push(part);
        }
    }

    /// Closes the connection once this response is sent (a failed authentication).
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.last = true;
        self
    }

    /// No request of the connection is read for this time, from when the response is on its way (KIP-219).
    #[must_use]
    pub fn muting(mut self, time: Duration) -> Self {
        self.mute = time;
        self
    }

    /// Size in bytes, without the length in front.
    pub fn len(&self) -> u64 {
        self.parts.iter().map(Part::len).sum()
    }

    /// Bytes that it takes in memory: all but the ranges of files.
    pub(crate) fn memory_bytes(&self) -> usize {
        let bytes = |part: &Part| match part {
            Part::Bytes(bytes) => bytes.len(),
            Part::File { .. } => 0,
        };
        self.parts.iter().map(bytes).sum()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The parts.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }
}

impl From<Bytes> for Response {
    fn from(bytes: Bytes) -> Self {
        Self { parts: smallvec![Part::Bytes(bytes)], ..Self::default() }
    }
}

impl From<Vec<u8>> for Response {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}
