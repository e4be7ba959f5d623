//! The decompressed bytes of a body, seen through a window that holds no more than it must.

use crate::compression::Decoder;
use crate::cursor::Cursor;
use crate::record::{BAD_STRUCTURE, MAX_VARINT_LEN, MAX_VARLONG_LEN};
use crate::{BatchView, Compression, RecordError};

/// Bounds of decompression. What one asks for beyond them is [`RecordError::DecompressedTooLarge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest body of a record in bytes (`max.decompressed.message.bytes`); it bounds the memory of reading.
    pub max_record_bytes: usize,
    /// Largest sum of a batch's decompressed bytes; it bounds the time.
    pub max_batch_bytes: usize,
}

impl Limits {
    /// Kafka's default: what a Java array holds.
    pub const DEFAULT: Self = Self { max_record_bytes: 2_147_483_639, max_batch_bytes: usize::MAX };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Decompresses on demand. Memory is the longest [`ensure`](Self::ensure) plus one piece of the decoder.
pub(crate) struct Stream<'a> {
    decoder: Decoder<'a>,
    window: Vec<u8>,
    /// Start of what is not consumed.
    start: usize,
    produced: usize,
    max_bytes: usize,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(
        compression: Compression,
        input: &'a [u8],
        magic: i8,
        limits: Limits,
    ) -> Result<Self, RecordError> {
        let decoder = Decoder::new(compression, input, magic)?;
        Ok(Self { decoder, window: Vec::new(), start: 0, produced: 0, max_bytes: limits.max_batch_bytes })
    }

    /// Over the body of a compressed batch of magic 2.
    pub(crate) fn of_batch(batch: &BatchView<'a>, limits: Limits) -> Result<Self, RecordError> {
        Self::new(batch.attributes().compression()?, batch.body(), batch.magic(), limits)
    }

    /// What is decompressed and not consumed.
    pub(crate) fn buffered(&self) -> &[u8] {
        self.window.get(self.start..).unwrap_or_default()
    }

    /// Consumes `len` of the buffered bytes.
    pub(crate) fn consume(&mut self, len: usize) {
        debug_assert!(len <= self.buffered().len(), "only buffered bytes are consumed");
        self.start += len;
    }

    /// Consumes `len` of the buffered bytes and lends them.
    pub(crate) fn take(&mut self, len: usize) -> &[u8] {
        self.consume(len);
        self.window.get(self.start - len..self.start).unwrap_or_default()
    }

    /// Decompresses until `len` bytes are buffered. False: the body ends before.
    pub(crate) fn ensure(&mut self, len: usize) -> Result<bool, RecordError> {
        while self.buffered().len() < len {
            if !self.fill()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn fill(&mut self) -> Result<bool, RecordError> {
        self.window.drain(..self.start);
        self.start = 0;
        let before = self.window.len();
        let more = self.decoder.fill(&mut self.window)?;
        self.produced = self.produced.saturating_add(self.window.len() - before);
        if self.produced > self.max_bytes {
            return Err(RecordError::DecompressedTooLarge { need: self.produced, limit: self.max_bytes });
        }
        Ok(more)
    }

    /// Whether nothing is left.
    pub(crate) fn is_at_end(&mut self) -> Result<bool, RecordError> {
        Ok(!self.ensure(1)?)
    }

    /// Skips `len` bytes without keeping them.
    pub(crate) fn skip(&mut self, mut len: usize) -> Result<(), RecordError> {
        loop {
            let step = len.min(self.buffered().len());
            self.consume(step);
            len -= step;
            if len == 0 {
                return Ok(());
            }
            if !self.ensure(1)? {
                return Err(RecordError::InvalidRecord(
                    "Reached end of input stream before skipping all bytes",
                ));
            }
        }
    }

    /// Reads a number at the front by `read`; it takes at most `max_len` bytes, fewer at the end of the body.
    fn number<T>(
        &mut self,
        max_len: usize,
        read: impl FnOnce(&mut Cursor<'_>) -> Option<T>,
    ) -> Result<(T, usize), RecordError> {
        self.ensure(max_len)?;
        let mut cursor = Cursor::new(self.buffered());
        let before = cursor.rest().len();
        let value = read(&mut cursor).ok_or(BAD_STRUCTURE)?;
        let len = before - cursor.rest().len();
        self.consume(len);
        Ok((value, len))
    }

    /// A byte, and its length, 1.
    pub(crate) fn u8(&mut self) -> Result<(u8, usize), RecordError> {
        self.number(1, |cursor| cursor.u8())
    }

    /// A number and its length.
    pub(crate) fn varint(&mut self) -> Result<(i32, usize), RecordError> {
        self.number(MAX_VARINT_LEN, |cursor| cursor.varint())
    }

    /// A number and its length.
    pub(crate) fn varlong(&mut self) -> Result<(i64, usize), RecordError> {
        self.number(MAX_VARLONG_LEN, |cursor| cursor.varlong())
    }
}
