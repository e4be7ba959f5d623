//! Messages of magic 0 and 1, which old segments still hold: read, never written.
//!
//! A compressed message wraps others. The wrapper's offset is that of the last inner message; inner offsets are absolute
//! in magic 0 and count from the first in magic 1 (KIP-31), so that the last one must be known before the first is.

use ottla_types::{NO_TIMESTAMP, Offset, Sequence, TimestampMs};

use crate::batch::{MIN_SIZE_V0, at};
use crate::cursor::{Cursor, i32_at, i64_at};
use crate::record::BAD_STRUCTURE;
use crate::stream::Stream;
use crate::{BatchView, Compression, Headers, LOG_OVERHEAD, Limits, RecordError, RecordView, TimestampType};

/// What a wrapper decides for its inner messages of magic 1.
type TimestampOverride = Option<TimestampMs>;

/// The record of a message that is not compressed.
pub(crate) fn message<'a>(batch: &BatchView<'a>) -> Result<RecordView<'a>, RecordError> {
    parse(batch.bytes(), batch.base_offset(), None)
}

/// Reads `bytes`, one whole message with its 12 bytes of overhead, as the record at `offset`.
fn parse(bytes: &[u8], offset: Offset, timestamp: TimestampOverride) -> Result<RecordView<'_>, RecordError> {
    let mut cursor = Cursor::new(bytes);
    let fixed = cursor.take(at::LEGACY_TIMESTAMP).ok_or(BAD_STRUCTURE)?;
    let timestamp = if fixed[at::MAGIC] == 0 {
        NO_TIMESTAMP
    } else {
        let own = i64_at(cursor.take(8).ok_or(BAD_STRUCTURE)?, 0);
        timestamp.unwrap_or(own)
    };
    let key = sized(&mut cursor)?;
    let value = sized(&mut cursor)?;
    let size_in_bytes = bytes.len();
    let (sequence, headers) = (Sequence::NONE, Headers::default());
    Ok(RecordView { offset, timestamp, sequence, key, value, headers, size_in_bytes })
}

/// A 32-bit length and that many bytes; a negative length is null.
fn sized<'a>(cursor: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, RecordError> {
    let len = i32_at(cursor.take(4).ok_or(BAD_STRUCTURE)?, 0);
    match usize::try_from(len) {
        Err(_) => Ok(None),
        Ok(len) => cursor.take(len).map(Some).ok_or(BAD_STRUCTURE),
    }
}

/// The messages inside a compressed one (`AbstractLegacyRecordBatch.DeepRecordsIterator`).
///
/// Instead of keeping them all, magic 1 is decompressed twice: once for the last offset, once to read.
pub(crate) struct InnerMessages<'a> {
    stream: Stream<'a>,
    /// What is added to inner offsets.
    base: i64,
    timestamp: TimestampOverride,
    max_message_bytes: usize,
    ended: bool,
}

impl<'a> InnerMessages<'a> {
    pub(crate) fn new(wrapper: &BatchView<'a>, limits: Limits) -> Result<Self, RecordError> {
        let magic = wrapper.magic();
        let compression = wrapper.attributes().compression()?;
        if compression == Compression::Zstd {
            return Err(RecordError::InvalidRecord("zstd is no codec of magic 0 and 1"));
        }
        let value = message(wrapper)?
            .value
            .ok_or(RecordError::InvalidRecord("Found invalid compressed record set with null value"))?;
        let open = || Stream::new(compression, value, magic, limits);
        let timestamp =
            (wrapper.timestamp_type() == TimestampType::LogAppendTime).then(|| wrapper.base_timestamp());
        let max_message_bytes = limits.max_record_bytes;
        let mut messages = Self { stream: open()?, base: 0, timestamp, max_message_bytes, ended: false };
        let last = messages
            .last_offset()?
            .ok_or(RecordError::InvalidRecord("Found invalid compressed record set with no inner records"))?;
        // Some versions of librdkafka left the wrapper's offset 0 in what they produced.
        if magic == 1 && wrapper.base_offset() != Offset::ZERO {
            messages.base = wrapper.base_offset().0.wrapping_sub(last);
            if wrapper.base_offset().0 < last {
                return Err(RecordError::InvalidRecord(
                    "Found invalid wrapper offset in compressed v1 message set: it is less than the last inner offset",
                ));
            }
        }
        messages.stream = open()?;
        Ok(messages)
    }

    /// The last inner offset, consuming the stream.
    fn last_offset(&mut self) -> Result<Option<i64>, RecordError> {
        let mut last = None;
        while let Some((offset, size)) = self.peek()? {
            last = Some(offset);
            self.stream.consume(size);
        }
        Ok(last)
    }

    /// Offset and size of the next message, which is then buffered whole. `None` at the end, a cut message included.
    fn peek(&mut self) -> Result<Option<(i64, usize)>, RecordError> {
        if !self.stream.ensure(LOG_OVERHEAD)? {
            return Ok(None);
        }
        let overhead = self.stream.buffered();
        let offset = i64_at(overhead, at::BASE_OFFSET);
        let size = i64::from(i32_at(overhead, at::LENGTH)) + LOG_OVERHEAD as i64;
        if size < MIN_SIZE_V0 as i64 {
            return Err(RecordError::TooSmall { size, min: MIN_SIZE_V0 });
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size - LOG_OVERHEAD > self.max_message_bytes {
            let need = size - LOG_OVERHEAD;
            return Err(RecordError::DecompressedTooLarge { need, limit: self.max_message_bytes });
        }
        Ok(self.stream.ensure(size)?.then_some((offset, size)))
    }

    pub(crate) fn try_next(&mut self) -> Result<Option<RecordView<'_>>, RecordError> {
        if self.ended {
            return Ok(None);
        }
        self.ended = true;
        let Some((offset, size)) = self.peek()? else { return Ok(None) };
        let offset = Offset(self.base.wrapping_add(offset));
        let bytes = self.stream.take(size);
        if bytes[at::LEGACY_ATTRIBUTES] & 0x07 != 0 {
            return Err(RecordError::InvalidRecord("Inner messages must not be compressed"));
        }
        let record = parse(bytes, offset, self.timestamp)?;
        self.ended = false;
        Ok(Some(record))
    }
}
